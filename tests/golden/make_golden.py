#!/usr/bin/python3
"""Writes the golden tensors: every op of lsnn.h as PyTorch computes it, in double.

    python3 make_golden.py [FOLDER]        writes FOLDER/*.safetensors (default: beside this file)

One file a family of ops. Each case has a name (conv01), a line of metadata under that name (its op
and sizes, "conv2d n=2 c=3 ...") and tensors "conv01.x", "conv01.y", "conv01.dx", ...; README.md
lists them. The gradients are those of L = sum(y * dy) for a random dy.
"""
import decimal
import json
import math
import os
import struct
import sys
import warnings

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
warnings.filterwarnings("ignore", message="The epoch parameter")     # SequentialLR's own affair
warnings.filterwarnings("ignore", message=".*affine_grid behavior")       # one pixel is 0 now


# ---- the file format, and a file of cases ----------------------------------------------------

def write_safetensors(path, tensors, meta):
    """u64 little-endian length, JSON padded with spaces to 8 bytes, then the data."""
    header, data = {"__metadata__": meta}, b""
    for name, t in tensors.items():
        raw = struct.pack("<%dd" % t.numel(), *t.detach().reshape(-1).tolist())
        header[name] = {"dtype": "F64", "shape": list(t.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


class Cases:
    def __init__(self, name):
        self.name, self.tensors, self.meta = name, {}, {}

    def add(self, op, sizes, **tensors):
        case = "%s%02d" % (self.name, len(self.meta) + 1)
        self.meta[case] = " ".join([op] + ["%s=%s" % (k, v) for k, v in sizes.items()])
        for key, t in tensors.items():
            if t is not None:
                self.tensors["%s.%s" % (case, key)] = torch.as_tensor(t, dtype=torch.float64)

    def last(self):
        return "%s%02d." % (self.name, len(self.meta))

    def add_op(self, op, sizes, function, inputs, fixed={}, dy=None):
        """Runs function(**inputs, **fixed); stores inputs, output and gradients of inputs."""
        leaves = {k: v.clone().requires_grad_() for k, v in inputs.items() if v is not None}
        y = function(**leaves, **fixed)
        dy = torch.randn(y.shape) if dy is None else dy
        grads = torch.autograd.grad((y * dy).sum(), list(leaves.values()))
        stored = dict(leaves, **fixed, y=y, dy=dy)
        for k, g in zip(leaves, grads):
            stored["d" + k] = g
        self.add(op, sizes, **stored)

    def write(self, folder):
        path = os.path.join(folder, self.name + ".safetensors")
        write_safetensors(path, self.tensors, self.meta)
        print("%-24s %3d cases %7d bytes" % (self.name, len(self.meta), os.path.getsize(path)))


# ---- windows -----------------------------------------------------------------------------------

def window(n, c, h, w, k, kernel, stride, padding):
    """padding: "valid", "same" (extra pixel bottom and right) or (top, left, bottom, right)."""
    (kh, kw), (sh, sw) = kernel, stride
    if padding == "valid":
        pads = (0, 0, 0, 0)
    elif padding == "same":
        th = max((-(-h // sh) - 1) * sh + kh - h, 0)
        tw = max((-(-w // sw) - 1) * sw + kw - w, 0)
        pads = (th // 2, tw // 2, th - th // 2, tw - tw // 2)
    else:
        pads = padding
    pt, pl, pb, pr = pads
    return dict(n=n, c=c, h=h, w=w, k=k, kh=kh, kw=kw, sh=sh, sw=sw, pt=pt, pl=pl, pb=pb, pr=pr,
                oh=(h + pt + pb - kh) // sh + 1, ow=(w + pl + pr - kw) // sw + 1,
                padding=padding if isinstance(padding, str) else "explicit")


def pad(x, s, value=0.0):
    return F.pad(x, (s["pl"], s["pr"], s["pt"], s["pb"]), value=value)


def patches(x, s, value=0.0):
    """N, C, kh*kw, OH*OW: what each window sees."""
    p = pad(x, s, value).unfold(2, s["kh"], s["sh"]).unfold(3, s["kw"], s["sw"])
    n, c, oh, ow, kh, kw = p.shape
    assert (oh, ow) == (s["oh"], s["ow"])
    return p.permute(0, 1, 4, 5, 2, 3).reshape(n, c, kh * kw, oh * ow)


WINDOWS = [  # n, c, h, w, k, kernel, stride, padding, bias
    (2, 3, 5, 6, 4, (3, 3), (1, 1), "valid", 1),
    (1, 2, 7, 6, 3, (3, 2), (2, 1), (1, 0, 2, 1), 1),
    (2, 1, 6, 5, 2, (2, 2), (1, 1), "same", 1),
    (1, 2, 7, 7, 2, (5, 5), (2, 2), "same", 0),
    (2, 3, 3, 4, 5, (1, 1), (1, 1), "valid", 1),
    (1, 2, 4, 7, 3, (4, 1), (1, 3), (0, 0, 3, 0), 0),
    (1, 1, 1, 1, 1, (1, 1), (1, 1), "valid", 1),
    (1, 2, 2, 2, 2, (3, 3), (1, 1), "same", 1),
    (3, 2, 5, 4, 2, (2, 3), (3, 2), (2, 0, 0, 1), 1),
    (1, 3, 6, 6, 2, (4, 4), (4, 4), "same", 0),
]


def conv_cases():
    cases = Cases("conv")
    for *size, bias in WINDOWS:
        s = window(*size)
        cases.add_op(
            "conv2d", s,
            lambda x, w, b=None: F.conv2d(pad(x, s), w, b, (s["sh"], s["sw"])),
            dict(x=torch.randn(s["n"], s["c"], s["h"], s["w"]),
                 w=torch.randn(s["k"], s["c"], s["kh"], s["kw"]),
                 b=torch.randn(s["k"]) if bias else None))
    return cases


def local_cases():
    cases = Cases("local")
    for *size, bias in WINDOWS:
        s = window(*size)
        p, q = s["oh"] * s["ow"], s["c"] * s["kh"] * s["kw"]

        def local(x, w, b=None):
            y = torch.einsum("nqp,pqk->nkp", patches(x, s).reshape(s["n"], q, p), w)
            y = y.reshape(s["n"], s["k"], s["oh"], s["ow"])
            return y if b is None else y + b

        cases.add_op("local2d", s, local,
                     dict(x=torch.randn(s["n"], s["c"], s["h"], s["w"]),
                          w=torch.randn(p, q, s["k"]),
                          b=torch.randn(s["k"], s["oh"], s["ow"]) if bias else None))
    return cases


def pool_cases():
    cases = Cases("pool")
    shapes = [
        (2, 3, 6, 4, (2, 2), (2, 2), "valid"),
        (1, 2, 7, 6, (3, 3), (2, 2), (1, 1, 1, 1)),      # overlap and padding
        (1, 2, 5, 7, (3, 2), (1, 3), (2, 0, 1, 1)),
        (2, 1, 5, 5, (2, 2), (2, 2), "same"),
        (1, 2, 4, 3, (4, 3), (1, 1), "valid"),           # the whole map
        (1, 2, 5, 5, (1, 1), (2, 2), "valid"),
    ]
    for n, c, *size in shapes:
        s = window(n, c, size[0], size[1], c, *size[2:])
        out = (n, c, s["oh"], s["ow"])
        seen = patches(torch.ones(n, c, s["h"], s["w"]), s).sum(2)
        functions = dict(
            max_pool=lambda x: patches(x, s, -1e300).max(2).values.reshape(out),
            avg_pool=lambda x: (patches(x, s).sum(2) / seen).reshape(out),
            sum_pool=lambda x: patches(x, s).sum(2).reshape(out))
        for op, function in functions.items():
            x = torch.randn(n, c, s["h"], s["w"])
            if s["padding"] == "valid" or (s["pt"], s["pl"]) == (s["pb"], s["pr"]) == (1, 1):
                size = ((s["kh"], s["kw"]), (s["sh"], s["sw"]), (s["pt"], s["pl"]))
                known = dict(max_pool=lambda: F.max_pool2d(x, *size),
                             avg_pool=lambda: F.avg_pool2d(x, *size, count_include_pad=False),
                             sum_pool=lambda: F.avg_pool2d(x, *size) * s["kh"] * s["kw"])
                assert torch.allclose(function(x), known[op](), rtol=1e-14)
            cases.add_op(op, s, function, dict(x=x))
    return cases


# ---- the lecture's layers, and LeNet-5's ------------------------------------------------------

def lp_pool(x, p, s):
    """(sum |x|^p)^(1/p), p one number or one a map."""
    y = patches(x.abs(), s).pow(p.reshape(-1, 1, 1)).sum(2).pow(1 / p.reshape(-1, 1))
    return y.reshape(s["n"], s["c"], s["oh"], s["ow"])


def lp_cases(cases):
    for n, c, h, w, kernel, stride, padding, norms in [
            (2, 3, 6, 4, (2, 2), (2, 2), "valid", [2.0]),
            (1, 2, 7, 6, (3, 3), (2, 2), "valid", [3.0]),            # overlap
            (2, 2, 5, 7, (3, 2), (1, 3), (2, 0, 1, 1), [1.0]),
            (1, 2, 5, 5, (2, 2), (2, 2), "same", [4.0]),
            (1, 2, 4, 3, (4, 3), (1, 1), "valid", [60.0]),           # the whole map
            (2, 3, 5, 5, (3, 3), (1, 1), (1, 1, 1, 1), [1.25, 2.5, 20.0])]:
        s = window(n, c, h, w, c, kernel, stride, padding)
        s["p_maps"] = int(len(norms) > 1)
        x, p = torch.randn(n, c, h, w), torch.tensor(norms)
        if padding == "valid":                           # PyTorch's own knows no padding
            known = F.lp_pool2d(x.abs(), norms[0], kernel, stride)
            assert torch.allclose(lp_pool(x, p, s), known, rtol=1e-13)
        cases.add_op("lp_pool", s, lambda x, p: lp_pool(x, p, s), dict(x=x, p=p))


C3 = "0,1,2;1,2,3;2,3,4;3,4,5;0,4,5;0,1,5;0,1,2,3;1,2,3,4;2,3,4,5;0,3,4,5;0,1,4,5;0,1,2,5;" \
     "0,1,3,4;1,2,4,5;0,2,3,5;0,1,2,3,4,5"


def table_cases(cases):
    for n, c, h, w, kernel, stride, padding, bias, table in [
            (1, 6, 6, 7, (5, 5), (1, 1), "valid", 1, C3),            # LeNet-5's
            (2, 3, 5, 6, (3, 2), (2, 1), "same", 0, "0,2;1"),
            (1, 2, 4, 4, (1, 1), (1, 1), "valid", 1, "1;0;0,1")]:
        rows = [[int(i) for i in row.split(",")] for row in table.split(";")]
        s = window(n, c, h, w, len(rows), kernel, stride, padding)
        s["table"] = table
        mask = torch.zeros(len(rows), c, dtype=torch.bool)
        for k, row in enumerate(rows):
            mask[k, row] = True

        def conv(x, w, b=None):                          # a convolution, masked
            full = torch.zeros(len(rows), c, *kernel)
            full[mask] = w
            return F.conv2d(pad(x, s), full, b, stride)

        cases.add_op("table_conv2d", s, conv, dict(
            x=torch.randn(n, c, h, w), w=torch.randn(int(mask.sum()), *kernel),
            b=torch.randn(len(rows)) if bias else None))


def lecture_cases():
    cases = Cases("lecture")
    lp_cases(cases)
    table_cases(cases)
    for n, c, k in [(3, 5, 4), (1, 1, 1), (2, 84, 10)]:
        cases.add_op("rbf", dict(n=n, c=c, k=k),
                     lambda x, w: -(x[:, None] - w).square().sum(2),
                     dict(x=torch.randn(n, c), w=torch.randn(k, c)))
    cases.add_op("scaled_tanh", dict(n=1, c=37), lambda x: 1.7159 * torch.tanh(2 * x / 3),
                 dict(x=3 * torch.randn(37)))
    for n, c, head, heads, weight in [(4, 5, 0, 1, 1.0), (3, 4, 1, 3, 0.7)]:
        label = torch.randint(0, c, (n, heads))          # j is c
        cases.add_op("cross_entropy_rubbish", dict(n=n, c=c, head=head, heads=heads),
                     lambda x, label: F.cross_entropy(torch.cat(
                         [x, torch.full((n, 1), -float(c))], 1), label[:, head]).reshape(1),
                     dict(x=2 * torch.randn(n, c)), dict(label=label), torch.tensor([weight]))
    return cases


# ---- spatial transformers -----------------------------------------------------------------------

def affine_grid(theta, oh, ow, corners):
    """N, 2, OH, OW: PyTorch's grid with its last axis in front."""
    grid = F.affine_grid(theta.reshape(-1, 2, 3), (theta.shape[0], 1, oh, ow), corners)
    return grid.permute(0, 3, 1, 2)


def transform_cases():
    cases = Cases("transform")
    for n, c, h, w, oh, ow in [(2, 3, 5, 6, 4, 7), (1, 1, 1, 1, 1, 1), (3, 2, 7, 4, 7, 4),
                               (2, 1, 1, 6, 3, 1), (1, 2, 9, 8, 6, 7)]:
        for corners in (0, 1):
            s = dict(n=n, c=c, h=h, w=w, oh=oh, ow=ow, align_corners=corners)
            theta = torch.tensor([1.0, 0, 0, 0, 1, 0]) + 0.4 * torch.randn(n, 6)
            cases.add_op("affine_grid", s, lambda theta: affine_grid(theta, oh, ow, bool(corners)),
                         dict(theta=theta))
            for grid in (affine_grid(theta, oh, ow, bool(corners)), 1.2 * torch.randn(n, 2, oh, ow)):
                cases.add_op("grid_sample", s, lambda x, grid: F.grid_sample(
                    x, grid.permute(0, 2, 3, 1), "bilinear", "zeros", bool(corners)),
                    dict(x=torch.randn(n, c, h, w), grid=grid))
    return cases


# ---- everything that is neither window nor smoother ------------------------------------------

def linear(x, w, b=None):
    return F.linear(x, w, b)


def plain_cases():
    cases = Cases("plain")
    for n, c, k, bias in [(3, 5, 4, 1), (1, 1, 1, 1), (4, 7, 2, 0)]:
        cases.add_op("dense", dict(n=n, c=c, k=k), linear, dict(
            x=torch.randn(n, c), w=torch.randn(k, c), b=torch.randn(k) if bias else None))
    for op, function, more in [
            ("relu", lambda x: torch.relu(x), {}),
            ("leaky_relu", lambda x: F.leaky_relu(x, 0.2), dict(slope=0.2)),
            ("sigmoid", lambda x: torch.sigmoid(x), {}),
            ("tanh", lambda x: torch.tanh(x), {})]:
        cases.add_op(op, dict(n=1, c=37, **more), function, dict(x=3 * torch.randn(37)))
    x = torch.tensor([-800.0, -40, -20, -1e-9, 1e-9, 20, 40, 800])
    cases.add_op("sigmoid", dict(n=1, c=8), lambda x: torch.sigmoid(x), dict(x=x))
    cases.add_op("tanh", dict(n=1, c=8), lambda x: torch.tanh(x), dict(x=x))
    for n, c, inner in [(2, 5, 1), (2, 3, 4), (1, 1, 3)]:
        cases.add_op("softmax", dict(n=n, c=c, inner=inner), lambda x: torch.softmax(x, 1),
                     dict(x=2 * torch.randn(n, c, inner)))
    cases.add_op("softmax", dict(n=1, c=4, inner=1), lambda x: torch.softmax(x, 1),
                 dict(x=torch.tensor([1000.0, 999, -1000, 998.5]).reshape(1, 4, 1)))
    for n, c, inner, bias in [(2, 3, 4, 1), (3, 1, 1, 0)]:
        cases.add_op("scale", dict(n=n, c=c, inner=inner),
                     lambda x, g, b=None: x * g[:, None] + (0 if b is None else b[:, None]),
                     dict(x=torch.randn(n, c, inner), g=torch.randn(c),
                          b=torch.randn(c) if bias else None))
    for n, c, k, inner in [(2, 3, 2, 4), (3, 1, 4, 1)]:
        cases.add_op("concat", dict(n=n, c=c, k=k, inner=inner),
                     lambda x, t: torch.cat([x, t], 1),
                     dict(x=torch.randn(n, c, inner), t=torch.randn(n, k, inner)))
    cases.add_op("slice", dict(n=2, c=5, k=2, first=1, inner=3), lambda x: x[:, 1:3],
                 dict(x=torch.randn(2, 5, 3)))
    cases.add_op("add", dict(n=2, c=5), lambda x, t: x + t,
                 dict(x=torch.randn(2, 5), t=torch.randn(2, 5)))
    batch_norm_cases(cases)
    loss_cases(cases)
    return cases


def batch_norm_cases(cases):
    for n, c, inner, momentum, eps in [(3, 2, 4, 0.1, 1e-5), (5, 3, 1, 0.1, 1e-5),
                                       (2, 1, 3, 0.3, 0.01)]:
        x = 2 * torch.randn(n, c, inner) + 1
        sizes = dict(n=n, c=c, inner=inner, momentum=momentum, eps=eps)
        old_mean, old_var = torch.randn(c), torch.rand(c) + 0.5
        new_mean, new_var = old_mean.clone(), old_var.clone()
        F.batch_norm(x, new_mean, new_var, None, None, True, momentum, eps)
        var = x.var((0, 2), unbiased=False)
        inputs = dict(x=x, gamma=torch.randn(c), beta=torch.randn(c))
        cases.add_op("batch_norm", sizes,
                     lambda x, gamma, beta: F.batch_norm(x, None, None, gamma, beta, True, 0, eps),
                     inputs)
        name = cases.last()
        cases.tensors.update({name + "mean": x.mean((0, 2)), name + "istd": (var + eps) ** -0.5,
                              name + "old_mean": old_mean, name + "old_var": old_var,
                              name + "new_mean": new_mean, name + "new_var": new_var})
        y = F.batch_norm(x, new_mean, new_var, inputs["gamma"], inputs["beta"], False, 0, eps)
        cases.add("batch_norm_predict", sizes, mean=new_mean, var=new_var, y=y, **inputs)


def loss_cases(cases):
    for n, c, head, heads, weight in [(4, 5, 0, 1, 1.0), (3, 4, 1, 3, 0.7), (1, 1, 0, 1, 2.0)]:
        label = torch.randint(0, c, (n, heads))
        cases.add_op("cross_entropy", dict(n=n, c=c, head=head, heads=heads),
                     lambda x, label: F.cross_entropy(x, label[:, head]).reshape(1),
                     dict(x=2 * torch.randn(n, c)), dict(label=label), torch.tensor([weight]))
    cases.add_op("cross_entropy", dict(n=2, c=3, head=0, heads=1),
                 lambda x, label: F.cross_entropy(x, label[:, 0]).reshape(1),
                 dict(x=torch.tensor([[1000.0, 0, -1000], [-1000, 3, 2.5]])),
                 dict(label=torch.tensor([[2], [1]])), torch.tensor([1.0]))
    for n, c, head, heads, weight in [(4, 3, 0, 3, 1.0), (3, 2, 1, 4, 0.3)]:
        cases.add_op("mse", dict(n=n, c=c, head=head, heads=heads),
                     lambda x, t: F.mse_loss(x, t[:, head:head + c]).reshape(1),
                     dict(x=torch.randn(n, c)), dict(t=torch.randn(n, heads)),
                     torch.tensor([weight]))


# ---- the smoother -----------------------------------------------------------------------------

def places(size):
    return torch.arange(size) / (size - 1) if size > 1 else torch.zeros(1)


def exponents(theta, h, w):
    """LSNN Eq. 6 without its exp: -(p - mu)' Phi' Phi (p - mu); theta ..., 5 -> ..., h*w."""
    mx, my, alpha, beta, gamma = (t[..., None, None] for t in theta.unbind(-1))
    d1 = places(w)[None, :] - mx                         # the column is the first coordinate
    d2 = places(h)[:, None] - my
    r1, r2 = alpha * d1 + gamma * d2, gamma * d1 + beta * d2
    return -(r1 * r1 + r2 * r2).flatten(-2)


def smoother_map(theta, s):
    if s["table"]:
        return theta
    e = exponents(theta, s["h"], s["w"])
    if s["normalise"] == "none":
        return torch.exp(e)
    u = torch.softmax(e, -1)                             # U / sum U, LSNN Eq. 8
    return u if s["normalise"] == "sum" else u * (s["h"] * s["w"])


def smooth_y(u, a, b, s):
    n, k, rank, p = s["n"], s["k"], s["rank"], s["h"] * s["w"]
    u = u.reshape(-1, k, rank, p)
    y = (u * a.reshape(n, k, rank, p)).sum(2)
    if b is not None:
        y = y + (u.sum(2) * b[:, None] if s["smooth_bias"] else b[:, None])
    return y.reshape(n, k, s["h"], s["w"])


def smoother_sizes(n, k, rank, h, w, table, normalise, per_image, smooth_bias, **more):
    return dict(n=n, k=k, rank=rank, h=h, w=w, table=table, normalise=normalise,
                per_image=per_image, smooth_bias=smooth_bias, **more)


def draw_theta(sets, s):
    if s["table"]:
        return torch.randn(sets, s["h"] * s["w"])
    return torch.cat([torch.rand(sets, 2), 0.5 + 1.5 * torch.rand(sets, 2),
                      0.5 * torch.randn(sets, 1)], 1)


def smooth_cases():
    cases = Cases("smooth")
    shapes = [  # n, k, rank, h, w, table, normalise, per_image, smooth_bias, bias
        (2, 2, 1, 3, 4, 0, "none", 0, 0, 1), (2, 2, 1, 3, 4, 0, "sum", 0, 0, 1),
        (2, 2, 1, 3, 4, 0, "mean", 0, 1, 1), (2, 2, 3, 2, 3, 0, "mean", 0, 0, 1),
        (2, 1, 3, 3, 2, 0, "none", 1, 1, 1), (3, 2, 1, 3, 3, 0, "sum", 1, 0, 0),
        (2, 2, 1, 4, 3, 0, "mean", 1, 0, 1), (2, 2, 1, 5, 1, 0, "mean", 0, 0, 1),
        (2, 2, 1, 1, 5, 0, "none", 1, 1, 1), (1, 2, 1, 1, 1, 0, "sum", 0, 0, 1),
        (2, 2, 1, 3, 2, 1, "none", 0, 0, 1), (2, 2, 3, 2, 3, 1, "none", 0, 1, 1),
        (2, 1, 2, 2, 3, 1, "none", 1, 0, 0),
    ]
    for *size, bias in shapes:
        s = smoother_sizes(*size)
        sets = s["k"] * s["rank"] * (s["n"] if s["per_image"] else 1)
        inputs = dict(a=torch.randn(s["n"], s["k"] * s["rank"], s["h"], s["w"]),
                      theta=draw_theta(sets, s), b=torch.randn(s["k"]) if bias else None)
        cases.add_op("smooth", s,
                     lambda a, theta, b=None: smooth_y(smoother_map(theta, s), a, b, s), inputs)
        cases.tensors[cases.last() + "u"] = smoother_map(inputs["theta"], s)
        if not s["table"]:
            check_exact(cases, s, inputs["b"])
    far_cases(cases)
    extension_cases(cases)
    return cases


# Far-away windows: exponents near -2.5e7, of which a double keeps 8 digits behind the point. They
# are computed in 60 decimal digits, derivatives by hand; check_exact holds that code to autograd.
decimal.getcontext().prec = 60


def exact_map(theta, h, w, normalise):
    """-> u (h*w) and de_p / dtheta_i, as Decimals."""
    mx, my, alpha, beta, gamma = (decimal.Decimal(float(t)) for t in theta)
    e, de = [], []
    for i in range(h):
        for j in range(w):
            d1 = decimal.Decimal(float(places(w)[j])) - mx
            d2 = decimal.Decimal(float(places(h)[i])) - my
            r1, r2 = alpha * d1 + gamma * d2, gamma * d1 + beta * d2
            e.append(-(r1 * r1 + r2 * r2))
            de.append((2 * (r1 * alpha + r2 * gamma), 2 * (r1 * gamma + r2 * beta),
                       -2 * r1 * d1, -2 * r2 * d2, -2 * (r1 * d2 + r2 * d1)))
    top = 0 if normalise == "none" else max(e)
    u = [(x - top).exp() for x in e]
    if normalise != "none":
        total = sum(u) / (len(u) if normalise == "mean" else 1)
        u = [x / total for x in u]
    return u, de


def exact_dtheta(u, de, du, normalise):
    du = [decimal.Decimal(float(x)) for x in du]
    middle = 0
    if normalise != "none":
        middle = sum(x * y for x, y in zip(u, du)) / sum(u)
    back = [x * (y - middle) for x, y in zip(u, du)]     # dL/de_p
    return [float(sum(x * y[i] for x, y in zip(back, de))) for i in range(5)]


def exact_smooth(theta, a, b, dy, s):
    """u, dtheta of the whole smoother."""
    n, k, rank, p = s["n"], s["k"], s["rank"], s["h"] * s["w"]
    du = dy.reshape(n, k, 1, p) * (a.reshape(n, k, rank, p)
                                   + (b.reshape(k, 1, 1) if s["smooth_bias"] else 0))
    du = (du if s["per_image"] else du.sum(0)).reshape(-1, p)
    us, dthetas = [], []
    for t, g in zip(theta, du):
        u, de = exact_map(t, s["h"], s["w"], s["normalise"])
        us.append([float(x) for x in u])
        dthetas.append(exact_dtheta(u, de, g, s["normalise"]))
    return torch.tensor(us), torch.tensor(dthetas)


def check_exact(cases, s, b):
    name = cases.last()
    t = cases.tensors
    u, dtheta = exact_smooth(t[name + "theta"], t[name + "a"], b, t[name + "dy"], s)
    assert torch.allclose(u, t[name + "u"].reshape(u.shape), rtol=1e-12, atol=1e-14)
    assert (dtheta - t[name + "dtheta"]).abs().max() <= 1e-12 * (1 + dtheta.abs().max())


def far_cases(cases):
    # mu_x, mu_y, alpha, beta, gamma: a tiny gamma lets r1 vary along a column too
    far = torch.tensor([[50, 0.3, 100, 1.5, 0], [-50, 0.6, 100, 1.0, 1e-4],
                        [0.4, 50, 0.8, 100, 0], [0.2, -50, 1.2, 100, -1e-4]])
    corner = torch.tensor([[50, 50, 100, 100, 0.5], [-50, 50, 100, 100, 0],
                           [50, -50, 100, 100, 0.5], [-50, -50, 100, 100, 0.0]])
    for theta, normalise, per_image, smooth_bias in [
            (far, "sum", 0, 0), (far, "mean", 0, 1), (far, "mean", 1, 0),
            (corner, "sum", 0, 0), (corner, "mean", 0, 0), (far, "none", 0, 0)]:
        n = 2 if not per_image else 4
        s = smoother_sizes(n, 4 // (n if per_image else 1), 1, 4, 5, 0, normalise, per_image,
                           smooth_bias, far=1)
        a, b = torch.randn(n, s["k"], s["h"], s["w"]), torch.randn(s["k"])
        dy = torch.randn(n, s["k"], s["h"], s["w"])
        u, dtheta = exact_smooth(theta, a, b, dy, s)
        leaf_a, leaf_b = a.clone().requires_grad_(), b.clone().requires_grad_()
        y = smooth_y(u, leaf_a, leaf_b, s)
        da, db = torch.autograd.grad((y * dy).sum(), [leaf_a, leaf_b])
        cases.add("smooth", s, a=a, theta=theta, b=b, u=u, y=y, dy=dy, da=da, dtheta=dtheta, db=db)


# Section 4.2.1: theta of a map is M groups, each a Gaussian's numbers and, if M > 1, a logit.
NUMBERS = {"full": [0, 1, 2, 3, 4], "separable": [0, 1, 2, 3], "line": [0, 2]}


def groups_of(theta, s):
    """The five numbers of each Gaussian (..., M, 5) and the weights (..., M)."""
    places_of = NUMBERS[s["shape"]]
    theta = theta.reshape(*theta.shape[:-1], s["mixture"], -1)
    columns = [torch.zeros(theta.shape[:-1])] * 5
    for i, number in enumerate(places_of):
        columns[number] = theta[..., i]
    weights = (torch.softmax(theta[..., -1], -1) if s["mixture"] > 1
               else torch.ones(theta.shape[:-1]))
    return torch.stack(columns, -1), weights


def mixture_map(theta, s):
    numbers, weights = groups_of(theta, s)
    each = smoother_map(numbers, s)                      # every Gaussian normalised by itself
    return (weights[..., None] * each).sum(-2)


def extension_cases(cases):
    for n, k, rank, h, w, shape, mixture, normalise, per_image, smooth_bias in [
            (2, 2, 1, 3, 4, "separable", 1, "none", 0, 0),
            (2, 1, 2, 4, 3, "separable", 1, "mean", 1, 1),
            (2, 2, 1, 1, 7, "line", 1, "sum", 0, 0), (2, 2, 1, 3, 4, "line", 1, "mean", 1, 0),
            (2, 2, 1, 3, 4, "full", 2, "none", 0, 0), (2, 2, 1, 4, 4, "full", 3, "sum", 0, 1),
            (2, 1, 2, 3, 4, "full", 3, "mean", 1, 1), (2, 1, 3, 1, 6, "line", 2, "mean", 0, 0),
            (2, 2, 1, 3, 3, "separable", 2, "sum", 1, 0)]:
        s = smoother_sizes(n, k, rank, h, w, 0, normalise, per_image, smooth_bias, shape=shape,
                           mixture=mixture)
        sets = k * rank * (n if per_image else 1)
        theta = draw_theta(sets * mixture, s)[:, NUMBERS[shape]]
        if mixture > 1:
            theta = torch.cat([theta, torch.randn(sets * mixture, 1)], 1)
        theta = theta.reshape(sets, -1)
        cases.add_op("smooth", s,
                     lambda a, theta, b=None: smooth_y(mixture_map(theta, s), a, b, s),
                     dict(a=torch.randn(n, k * rank, h, w), theta=theta, b=torch.randn(k)))
        cases.tensors[cases.last() + "u"] = mixture_map(theta, s)
    for normalise in ["sum", "mean"]:
        far_mixture_case(cases, normalise)


def far_mixture_case(cases, normalise):
    """Two maps of three Gaussians, two of them far away; in 60 digits but for the weights."""
    s = smoother_sizes(2, 2, 1, 4, 5, 0, normalise, 0, 0, far=1, shape="full", mixture=3)
    theta = torch.tensor([[[50, 0.3, 100, 1.5, 0, 0.5], [0.4, 0.5, 1.5, 1.2, 0.1, -0.5],
                           [-50, 50, 100, 100, 0, 0.1]],
                          [[0.4, 50, 0.8, 100, 0, -1], [0.2, -50, 1.2, 100, -1e-4, 0.7],
                           [0.7, 0.2, 2.0, 1.0, -0.2, 0.3]]])
    a, b, dy = torch.randn(2, 2, 4, 5), torch.randn(2), torch.randn(2, 2, 4, 5)
    weights = torch.softmax(theta[..., 5], -1)
    du = (dy * a).sum(0).reshape(2, 20)
    u, dtheta = torch.zeros(2, 20), torch.zeros(2, 3, 6)
    for i in range(2):
        each = []
        for m in range(3):
            g, de = exact_map(theta[i, m, :5], 4, 5, normalise)
            each.append(torch.tensor([float(x) for x in g]))
            dtheta[i, m, :5] = weights[i, m] * torch.tensor(exact_dtheta(g, de, du[i], normalise))
        u[i] = sum(weights[i, m] * each[m] for m in range(3))
        for m in range(3):
            dtheta[i, m, 5] = weights[i, m] * (du[i] * (each[m] - u[i])).sum()
    leaf_a, leaf_b = a.clone().requires_grad_(), b.clone().requires_grad_()
    y = smooth_y(u, leaf_a, leaf_b, s)
    da, db = torch.autograd.grad((y * dy).sum(), [leaf_a, leaf_b])
    cases.add("smooth", s, a=a, theta=theta.reshape(2, 18), b=b, u=u, y=y, dy=dy, da=da,
              dtheta=dtheta.reshape(2, 18), db=db)


# ---- dilation and groups ---------------------------------------------------------------------

def groups_cases():
    cases = Cases("groups")
    for n, c, h, w, k, kernel, stride, dilation, groups, padding, bias in [
            (2, 3, 7, 8, 4, (3, 3), (1, 1), (2, 2), 1, "valid", 1),
            (1, 2, 9, 7, 3, (3, 2), (2, 1), (3, 2), 1, (2, 1, 3, 0), 1),
            (2, 2, 6, 7, 2, (3, 3), (3, 2), (2, 3), 1, "same", 0),   # stride and dilation apart
            (1, 1, 9, 9, 2, (4, 3), (4, 4), (2, 2), 1, (3, 2, 3, 2), 1),     # and with 2 in common
            (2, 4, 4, 3, 6, (3, 3), (1, 1), (1, 1), 2, "same", 1),
            (1, 6, 5, 4, 9, (2, 3), (2, 1), (1, 1), 3, (1, 0, 0, 1), 0),
            (2, 5, 5, 4, 5, (3, 3), (1, 1), (1, 1), 5, "same", 1),   # depthwise
            (1, 3, 7, 7, 6, (3, 3), (2, 2), (1, 2), 3, "same", 1),   # with two kernels a channel
            (2, 4, 8, 7, 8, (3, 2), (1, 2), (2, 3), 4, "valid", 1),
            (1, 10, 2, 3, 20, (1, 1), (1, 1), (1, 1), 2, "valid", 1)]:
        high, wide = ((a - 1) * d + 1 for a, d in zip(kernel, dilation))
        s = dict(window(n, c, h, w, k, (high, wide), stride, padding), kh=kernel[0], kw=kernel[1],
                 dh=dilation[0], dw=dilation[1], groups=groups)
        q, p = c // groups * kernel[0] * kernel[1], s["oh"] * s["ow"]

        def local(x, w, b=None):
            seen = F.unfold(pad(x, s), kernel, dilation, 0, stride).reshape(n, groups, q, p)
            y = torch.einsum("ngqp,pqgk->ngkp", seen, w.reshape(p, q, groups, k // groups))
            y = y.reshape(n, k, s["oh"], s["ow"])
            return y if b is None else y + b

        x = torch.randn(n, c, h, w)
        cases.add_op("conv2d", s, lambda x, w, b=None:
                     F.conv2d(pad(x, s), w, b, stride, 0, dilation, groups),
                     dict(x=x, w=torch.randn(k, c // groups, *kernel),
                          b=torch.randn(k) if bias else None))
        cases.add_op("local2d", s, local,
                     dict(x=x, w=torch.randn(p, q, k),
                          b=torch.randn(k, s["oh"], s["ow"]) if bias else None))
    return cases


# ---- optimizers and schedules ----------------------------------------------------------------

def schedule(optimizer, o):
    warm, lr = o.get("warmup", 0), torch.optim.lr_scheduler
    if o["schedule"] == "cosine":
        after = lr.CosineAnnealingLR(optimizer, o["total"] - warm)
    elif o["schedule"] == "step":
        # counted from step 0, warm-up included, so it cannot be chained behind the warm-up
        return lr.LambdaLR(optimizer, lambda t: (t + 1) / warm if t < warm
                           else o["factor"] ** (t // o["every"]))
    else:
        after = lr.ConstantLR(optimizer, factor=1.0, total_iters=0)
    if not warm:
        return after
    first = lr.LinearLR(optimizer, 1 / warm, 1.0, max(warm - 1, 1)) if warm > 1 else \
        lr.ConstantLR(optimizer, factor=1.0, total_iters=0)
    return lr.SequentialLR(optimizer, [first, after], [warm])


def lr_by_formula(o, t):
    warm = o.get("warmup", 0)
    if t < warm:
        return o["lr"] * (t + 1) / warm
    if o["schedule"] == "cosine":
        return o["lr"] * 0.5 * (1 + math.cos(math.pi * (t - warm) / (o["total"] - warm)))
    return o["lr"] * (o["factor"] ** (t // o["every"]) if o["schedule"] == "step" else 1)


def optimizer_case(cases, method, steps=5, **o):
    o = dict(o, method=method, schedule=o.get("schedule", "constant"))
    weight, bias = (torch.randn(4, 3).requires_grad_(), torch.randn(4).requires_grad_())
    start = weight.detach().clone(), bias.detach().clone()
    groups = [dict(params=[weight], weight_decay=o.get("decay", 0.0)),   # a bias does not decay
              dict(params=[bias], weight_decay=0.0)]
    if method == "sgd":
        optimizer = torch.optim.SGD(groups, lr=o["lr"], momentum=o.get("momentum", 0.0),
                                    nesterov=bool(o.get("nesterov", 0)))
    else:
        kind = torch.optim.Adam if method == "adam" else torch.optim.AdamW
        betas = (1 - o.get("rest1", 0.1), 1 - o.get("rest2", 0.001))
        optimizer = kind(groups, lr=o["lr"], betas=betas, eps=o.get("eps", 1e-8))
    plan, rows = schedule(optimizer, o), []
    gw, gb = torch.randn(steps, 4, 3), torch.randn(steps, 4)
    for t in range(steps):
        weight.grad, bias.grad = gw[t].clone(), gb[t].clone()
        if "clip" in o:
            torch.nn.utils.clip_grad_norm_([weight, bias], o["clip"])
        lr = optimizer.param_groups[0]["lr"]
        optimizer.step()
        plan.step()
        assert abs(lr - lr_by_formula(o, t)) <= 1e-15
        rows.append((lr, weight.detach().clone(), bias.detach().clone()))
    cases.add("optimizer", o, w0=start[0], b0=start[1], gw=gw, gb=gb,
              lr=torch.tensor([r[0] for r in rows]), w=torch.stack([r[1] for r in rows]),
              b=torch.stack([r[2] for r in rows]))


def optimizer_cases():
    cases = Cases("optimizer")
    optimizer_case(cases, "sgd", lr=0.1)
    optimizer_case(cases, "sgd", lr=0.1, decay=0.05)
    optimizer_case(cases, "sgd", lr=0.1, momentum=0.9)
    optimizer_case(cases, "sgd", lr=0.1, momentum=0.9, nesterov=1, decay=0.01)
    optimizer_case(cases, "sgd", lr=0.1, momentum=0.5, clip=1.5)
    optimizer_case(cases, "sgd", lr=0.1, clip=100.0)
    optimizer_case(cases, "adam", lr=0.01)
    optimizer_case(cases, "adam", lr=0.01, decay=0.1, clip=2.0)
    optimizer_case(cases, "adam", lr=0.02, rest1=0.3, rest2=0.01, eps=1e-3)
    optimizer_case(cases, "adamw", lr=0.01, decay=0.1)
    optimizer_case(cases, "sgd", lr=0.2, warmup=3)
    optimizer_case(cases, "sgd", 8, lr=0.2, momentum=0.9, schedule="step", every=2, factor=0.3)
    optimizer_case(cases, "sgd", 6, lr=0.2, schedule="step", every=2, factor=0.5, warmup=3)
    optimizer_case(cases, "adamw", 9, lr=0.02, decay=0.1, schedule="cosine", total=9)
    optimizer_case(cases, "sgd", 10, lr=0.2, schedule="cosine", total=10, warmup=4)
    return cases


# ---- TKN's windows ----------------------------------------------------------------------------

def attention(kind, t, h, w):
    """TKN Eq. 2 to 14 as printed, with sigma = s L / 2: theta ..., numbers -> ..., h*w."""
    t = [x[..., None, None] for x in t.unbind(-1)]
    f = {"gauss": lambda z: torch.exp(-z ** 2 / 2), "cauchy": lambda z: 1 / (1 + z ** 2)}
    name = kind.split("_")[0]
    zx = (torch.arange(w)[None, :] - t[0] * w) / (t[1] * w / 2)
    if kind.endswith("line"):
        return (f[name](zx) * torch.ones(h, 1)).flatten(-2)
    zy = (torch.arange(h)[:, None] - t[2] * h) / (t[3] * h / 2)
    if kind.endswith("rho"):
        alpha = zx ** 2 - 2 * torch.tanh(t[4]) * zx * zy + zy ** 2
        return (torch.exp(-alpha) if name == "gauss" else 1 / (1 + alpha)).flatten(-2)
    return (f[name](zx) * f[name](zy)).flatten(-2)


def windows_map(theta, s):
    numbers = {"line": 2, "rho": 5}.get(s["shape"].split("_")[-1], 4)
    t = theta.reshape(theta.shape[0], s["mixture"], -1)
    u = attention(s["shape"], t[..., :numbers], s["h"], s["w"])
    if s["normalise"] != "none":
        u = u / (u.sum(-1, True) if s["normalise"] == "sum" else u.mean(-1, True))
    if s["mixture"] == 1:
        return u[:, 0]
    return (torch.softmax(t[..., numbers], -1)[..., None] * u).sum(1)


def attention_cases():
    cases = Cases("attention")
    for n, k, rank, h, w, shape, mixture, normalise, per_image, smooth_bias in [
            (2, 2, 1, 4, 6, "gauss", 1, "none", 0, 0), (2, 2, 1, 4, 6, "cauchy", 1, "none", 0, 0),
            (2, 1, 2, 3, 4, "gauss", 2, "mean", 1, 1), (2, 2, 1, 5, 3, "cauchy", 3, "sum", 0, 0),
            (2, 2, 1, 4, 5, "gauss_rho", 1, "none", 0, 0),
            (2, 2, 1, 4, 5, "cauchy_rho", 1, "none", 1, 0),
            (2, 1, 2, 3, 4, "gauss_rho", 2, "sum", 0, 1),
            (2, 2, 1, 3, 3, "cauchy_rho", 2, "mean", 0, 0),
            (2, 2, 1, 1, 7, "gauss_line", 1, "none", 0, 0),
            (2, 2, 1, 3, 5, "cauchy_line", 2, "mean", 1, 0)]:
        s = smoother_sizes(n, k, rank, h, w, 0, normalise, per_image, smooth_bias, shape=shape,
                           mixture=mixture)
        sets = k * rank * (n if per_image else 1) * mixture
        theta = torch.stack([torch.rand(sets), 0.3 + torch.rand(sets), torch.rand(sets),
                             -0.3 - torch.rand(sets), torch.randn(sets)], 1)
        theta = theta[:, :{"line": 2, "rho": 5}.get(shape.split("_")[-1], 4)]
        if mixture > 1:
            theta = torch.cat([theta, torch.randn(sets, 1)], 1)
        theta = theta.reshape(sets // mixture, -1)
        cases.add_op("smooth", s,
                     lambda a, theta, b=None: smooth_y(windows_map(theta, s), a, b, s),
                     dict(a=torch.randn(n, k * rank, h, w), theta=theta, b=torch.randn(k)))
        cases.tensors[cases.last() + "u"] = windows_map(theta, s)
    return cases


# ---- TKN's target layer -------------------------------------------------------------------------

def target_cases():
    """A convolution times its window, masked; ly and lx: log of the window's factors."""
    cases = Cases("target")
    for number, (*size, bias) in enumerate(WINDOWS):
        s = window(*size)
        k, oh, ow = s["k"], s["oh"], s["ow"]
        rows, columns = torch.arange(oh)[:, None], torch.arange(ow)[None, :]
        inside = torch.zeros(k, oh, ow)
        for i in range(k):                               # Eq. 15 to 17: within sqrt(2) sigma
            mu_y, mu_x = torch.rand(2)
            s_y, s_x = 0.2 + 0.8 * torch.rand(2)
            reach_y, reach_x = s_y / math.sqrt(2), s_x / math.sqrt(2)
            inside[i] = ((rows >= torch.floor((mu_y - reach_y) * oh)) &
                         (rows <= torch.floor((mu_y + reach_y) * oh)) &
                         (columns >= torch.floor((mu_x - reach_x) * ow)) &
                         (columns <= torch.floor((mu_x + reach_x) * ow)))
        if number % 3 == 1:                              # one of any form, one of nothing
            inside[0] = torch.rand(oh, ow) < 0.5
            inside[-1] = 0

        def target(x, w, ly, lx, inside, b=None):
            u = inside * torch.exp(ly[:, :, None] + lx[:, None, :])
            return F.conv2d(pad(x, s), w, b, (s["sh"], s["sw"])) * u

        cases.add_op("target2d", s, target,
                     dict(x=torch.randn(s["n"], s["c"], s["h"], s["w"]),
                          w=torch.randn(k, s["c"], s["kh"], s["kw"]),
                          b=torch.randn(k) if bias else None,
                          ly=-torch.rand(k, oh), lx=-torch.rand(k, ow)), dict(inside=inside))
    return cases


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    families = [conv_cases, local_cases, pool_cases, plain_cases, smooth_cases, optimizer_cases,
                lecture_cases]
    for seed, make in [*enumerate(families), (7, groups_cases), (7, transform_cases),
                       (7, attention_cases), (8, target_cases)]:
        torch.manual_seed(20170 + seed)
        make().write(folder)


if __name__ == "__main__":
    main()
