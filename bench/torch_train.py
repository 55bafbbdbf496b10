#!/usr/bin/env python3
"""torch_train.py - PyTorch as the peer of `make bench`: images/s of whole training steps.

The networks are those of examples/models.h: forward, cross-entropy, backward, SGD with
momentum 0.9. Data are random and lie in memory before the clock starts. lc-layer is one
locally connected layer, forward and backward for its parameters.

    python3 bench/torch_train.py --net cnn --batch 64 --threads 2
        peer what=train net=cnn batch=64 threads=2 params=417482 images_per_s=3400 ...

With --serve it prints that line's first part with ` ready`, then answers each line "go" on
standard input by one line `images_per_s=...` measured over --seconds, so that another
program can interleave these runs with its own. --check FOLDER names a folder whose
check.safetensors holds one step as lsnn does it: the parameters before, images, labels,
dropout's factors, loss, gradients, parameters and buffers after. The same step is done here
first. `worst=` is the largest difference beside what is tolerated, 1 is just equal, and `at=`
says where. A difference is measured as |here - there| / |there|, Euclidean lengths of whole
tensors, and what forward computes may differ by 1e-4. Gradients and updates by 2e-2: among
millions of relus some get an input that rounding puts on the other side of 0, and in a sum
of a thousand terms of either sign one such term is that much.
Exit status 77: PyTorch is not here.
"""
import argparse
import json
import os
import statistics
import sys
import time

# GNU OpenMP's threads wait for each other by spinning. Where other programs use the same
# cores that makes PyTorch five times slower; short spinning costs nothing elsewhere.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:
    # Debian's python3-torch belongs to /usr/bin/python3, which may not be the first one.
    other = "/usr/bin/python3"
    if os.environ.get("LSNN_TORCH_RETRY") is None and os.path.exists(other):
        os.environ["LSNN_TORCH_RETRY"] = "1"
        os.execv(other, [other] + sys.argv)
    print("peer skipped: PyTorch is missing (Debian: apt-get install python3-torch)",
          file=sys.stderr)
    sys.exit(77)


# ---- Networks. Parameters stand in the order of lsnn's table: they are matched by it. ----
class Dropout(nn.Module):
    """Dropout, or the factors that it is told."""
    def __init__(self, rate):
        super().__init__()
        self.rate = rate
        self.factors = None

    def forward(self, x):
        if self.factors is not None:
            return x * self.factors.view(x.shape)
        return F.dropout(x, self.rate, self.training)


def relu():
    return nn.ReLU(inplace=True)


def features():
    """Two convolutions with pooling: 1x42x42 -> 32x7x7."""
    return [nn.Conv2d(1, 16, 5), relu(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 5), relu(), nn.MaxPool2d(2), nn.Flatten()]


def rest():
    """What follows the first layer in every LSNN network: 16x38x38 -> 10."""
    return nn.Sequential(relu(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 5), relu(),
                         nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 7 * 7, 256),
                         relu(), Dropout(0.5), nn.Linear(256, 10))


def gaussian_maps(theta, size):
    """theta (..., 5) = mu_x, mu_y, alpha, beta, gamma -> maps (..., size, size).

    U(p) = exp(-|Phi (p - mu)|^2) / mean over p, Phi = [[alpha, gamma], [gamma, beta]];
    p runs over [0, 1] x [0, 1]. A softmax times the number of positions is that mean's
    quotient, with the largest exponent subtracted.
    """
    at = torch.linspace(0, 1, size)
    t = theta[..., None, None]
    mu_x, mu_y, alpha, beta, gamma = (t[..., i, :, :] for i in range(5))
    x, y = at[None, :] - mu_x, at[:, None] - mu_y
    exponent = -((alpha * x + gamma * y) ** 2 + (gamma * x + beta * y) ** 2)
    flat = torch.softmax(exponent.flatten(-2), -1) * (size * size)
    return flat.unflatten(-1, (size, size))


def first_theta():
    theta = torch.tensor([0.0, 0.0, 1.5, 1.5, 0.0]).repeat(16, 1)
    theta[:, :2].uniform_(0.2, 0.8)
    return theta


class Cnn(nn.Module):
    side, channels = 42, 1

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 5)
        self.rest = rest()

    def forward(self, x):
        return self.rest(self.conv(x))


class Smooth(nn.Module):
    """Free theta (LSNN-Location), or none; the bias stays outside of the maps."""
    def __init__(self, free):
        super().__init__()
        if free:
            self.theta = nn.Parameter(first_theta())
        self.bias = nn.Parameter(torch.zeros(16, 1, 1))

    def forward(self, a, theta):
        return a * gaussian_maps(theta, 38) + self.bias


class Location(nn.Module):
    """One Gaussian map a kernel, the same for every image."""
    side, channels = 42, 1

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 5, bias=False)
        self.smooth = Smooth(True)
        self.rest = rest()

    def slow(self):
        """What learns at a tenth of the rate."""
        return self.smooth.parameters()

    def forward(self, x):
        return self.rest(self.smooth(self.conv(x), self.smooth.theta))


class Content(nn.Module):
    """The maps of each image come from a parameter network that looks at it."""
    side, channels = 42, 1

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 5, bias=False)
        self.look = nn.Sequential(*features(), nn.Linear(32 * 7 * 7, 80))
        with torch.no_grad():
            self.look[-1].weight.mul_(0.1)
            self.look[-1].bias.copy_(first_theta().flatten())
        self.smooth = Smooth(False)
        self.rest = rest()

    def forward(self, x):
        return self.rest(self.smooth(self.conv(x), self.look(x).view(-1, 16, 5)))


class LocalLayer(nn.Module):
    """A 5x5 kernel of its own at each of 38x38 positions: unfold and one batched product."""
    side, channels = 42, 1

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(38 * 38, 25, 16) * (2 / 25) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(16, 38, 38))

    def forward(self, x):
        patches = F.unfold(x, 5).permute(2, 0, 1)              # positions, images, 25
        y = torch.bmm(patches, self.weight).permute(1, 2, 0)   # images, 16, positions
        return y.reshape(-1, 16, 38, 38) + self.bias


class LocallyConnected(nn.Module):
    side, channels = 42, 1

    def __init__(self):
        super().__init__()
        self.local = LocalLayer()
        self.rest = rest()

    def forward(self, x):
        return self.rest(self.local(x))


class Cnn6(nn.Sequential):
    side, channels = 28, 1

    def __init__(self):
        def conv(c, k):
            return nn.Conv2d(c, k, 5, padding=2, bias=False)
        super().__init__(conv(1, 256), relu(), nn.MaxPool2d(2), conv(256, 256), relu(),
                         nn.MaxPool2d(2), conv(256, 128), relu(), nn.Flatten(),
                         nn.Linear(128 * 7 * 7, 328), relu(), nn.Linear(328, 192), relu(),
                         Dropout(0.5), nn.Linear(192, 10))


def bn_conv(c, k, kernel, dropout):
    layers = [nn.BatchNorm2d(c), relu(),
              nn.Conv2d(c, k, kernel, padding=kernel // 2, bias=False)]
    return layers + [Dropout(dropout)] if dropout else layers


class DenseLayer(nn.Module):
    def __init__(self, c, growth, bottleneck, dropout):
        super().__init__()
        first = bn_conv(c, bottleneck, 1, dropout) if bottleneck else []
        self.layers = nn.Sequential(*first, *bn_conv(bottleneck or c, growth, 3, dropout))

    def forward(self, x):
        return torch.cat([x, self.layers(x)], 1)


class DenseNet(nn.Sequential):
    def __init__(self, channels, maps, depth, growth, bottleneck, theta, dropout):
        layers = [nn.Conv2d(channels, maps, 3, padding=1, bias=False)]
        for block in range(3):
            if block:
                layers += bn_conv(maps, int(theta * maps), 1, dropout) + [nn.AvgPool2d(2)]
                maps = int(theta * maps)
            for _ in range(depth):
                layers.append(DenseLayer(maps, growth, bottleneck, dropout))
                maps += growth
        super().__init__(*layers, nn.BatchNorm2d(maps), relu(), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(maps, 10))


class Dn10(DenseNet):
    side, channels = 28, 1

    def __init__(self):
        super().__init__(1, 24, 2, 12, 0, 1, 0)


class Dn40(DenseNet):
    side, channels = 32, 3

    def __init__(self):
        super().__init__(3, 72, 6, 36, 72, 0.5, 0.2)


NETS = {"cnn": Cnn, "lsnn-location": Location, "lsnn-content": Content,
        "lc": LocallyConnected, "lc-layer": LocalLayer, "cnn6": Cnn6, "dn10": Dn10,
        "dn40": Dn40}


# ---- Training ------------------------------------------------------------------------
class Trainer:
    def __init__(self, name, batch):
        self.layer_only = name == "lc-layer"
        self.net = NETS[name]().train()
        slow = list(self.net.slow()) if hasattr(self.net, "slow") else []
        rest_of = [p for p in self.net.parameters() if all(p is not q for q in slow)]
        groups = [{"params": rest_of}, {"params": slow, "lr": 0.001}]
        self.optimizer = torch.optim.SGD([g for g in groups if g["params"]], lr=0.01,
                                         momentum=0.9)
        side, channels = self.net.side, self.net.channels
        self.batches = [(torch.rand(batch, channels, side, side),
                         torch.rand(batch, 16, 38, 38) if self.layer_only else
                         torch.randint(10, (batch,))) for _ in range(8)]
        self.batch = batch

    def gradients(self, x, label):
        """Loss (lc-layer: its output; label is dy), and gradients in the parameters."""
        self.optimizer.zero_grad(set_to_none=True)             # the faster way
        y = self.net(x)
        if self.layer_only:
            y.backward(label)
            return y
        loss = F.cross_entropy(y, label)
        loss.backward()
        return loss

    def step(self, i):
        self.gradients(*self.batches[i % len(self.batches)])
        if not self.layer_only:
            self.optimizer.step()

    def measure(self, seconds):
        """Images/s of as many whole steps as fill that time, at least two, after one."""
        self.step(0)
        steps, start = 0, time.perf_counter()
        while True:
            self.step(steps)
            steps += 1
            spent = time.perf_counter() - start
            if spent >= seconds and steps >= 2:
                return steps * self.batch / spent


# ---- The same step as lsnn's -----------------------------------------------------------
def read_safetensors(path):
    """Name -> flat float tensor, in the file's order."""
    with open(path, "rb") as f:
        size = int.from_bytes(f.read(8), "little")
        header = json.loads(f.read(size))
        data = bytearray(f.read())
    header.pop("__metadata__", None)
    order = sorted(header.items(), key=lambda t: t[1]["data_offsets"])
    return {name: torch.frombuffer(data, dtype=torch.float32, offset=t["data_offsets"][0],
                                   count=(t["data_offsets"][1] - t["data_offsets"][0]) // 4)
            if t["data_offsets"][1] > t["data_offsets"][0] else torch.zeros(0)
            for name, t in order}


def worst_of(triples):
    """(worst, name) over (name, here, there): differences beside what is tolerated."""
    worst, at = 0.0, "-"
    for name, here, there in triples:
        here, there = here.detach().double().flatten(), there.double().flatten()
        if here.numel() != there.numel():
            return float("inf"), name
        tolerated = 2e-2 if name.startswith(("grad:", "after:")) else 1e-4
        difference = ((here - there).norm() / (there.norm() or 1.0)).item() / tolerated
        if not difference <= worst:                            # NaN counts
            worst, at = difference, name
    return worst, at


def check(trainer, folder):
    """Does the step of FOLDER's file; the net goes on from there."""
    t = read_safetensors(os.path.join(folder, "check.safetensors"))

    def named(prefix):
        return [(k, v) for k, v in t.items() if k.startswith(prefix)]
    net, parameters = trainer.net, list(trainer.net.parameters())
    before, drops = named("before:"), [m for m in net.modules() if isinstance(m, Dropout)]
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    buffers = [b for m in norms for b in (m.running_mean, m.running_var)]
    masks = named("mask:")
    if len(before) != len(parameters) or len(masks) != len(drops):
        return float("inf"), f"{len(before)}-parameters,{len(masks)}-dropouts"
    with torch.no_grad():
        for p, (name, v) in zip(parameters, before):
            if p.numel() != v.numel():
                return float("inf"), name
            p.copy_(v.view(p.shape))
    for drop, (_, v) in zip(drops, masks):
        drop.factors = v
    x = t["x"].view(-1, net.channels, net.side, net.side)
    label = t["dy"].view(-1, 16, 38, 38) if trainer.layer_only else t["labels"].long()
    result = trainer.gradients(x, label)
    pairs = [("y", result, t["y"])] if trainer.layer_only else [("loss", result, t["loss"])]
    pairs += [(name, p.grad, v) for p, (name, v) in zip(parameters, named("grad:"))]
    if not trainer.layer_only:
        trainer.optimizer.step()
        pairs += [(name, p.detach().flatten() - b, v - b)      # the updates
                  for p, (name, v), (_, b) in zip(parameters, named("after:"), before)]
        pairs += [(name, b, v) for b, (name, v) in zip(buffers, named("buffer:"))]
    worst = worst_of(pairs)
    for drop in drops:
        drop.factors = None
    return worst


def positive(kind):
    def read(text):
        value = kind(text)
        if not 0 < value < 1e6:
            raise argparse.ArgumentTypeError(f"{text} is not in (0, 1000000)")
        return value
    return read


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--net", choices=sorted(NETS), default="cnn")
    p.add_argument("--batch", type=positive(int), default=64)
    p.add_argument("--threads", type=positive(int), default=os.cpu_count() or 1)
    p.add_argument("--repeats", type=positive(int), default=7, help="runs; the median counts")
    p.add_argument("--seconds", type=positive(float), default=1.0, help="of one run")
    p.add_argument("--serve", action="store_true", help='one run for each line "go"')
    p.add_argument("--check", metavar="FOLDER", help="one step of lsnn's to do first")
    a = p.parse_args()

    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    trainer = Trainer(a.net, a.batch)
    worst, at = check(trainer, a.check) if a.check else (0.0, "-")
    trainer.measure(min(0.5, a.seconds))                       # warm up
    params = sum(p.numel() for p in trainer.net.parameters())
    head = (f"peer what=train net={a.net} batch={a.batch} threads={torch.get_num_threads()} "
            f"params={params} worst={worst:.3g} at={at}")
    name = f"peer_name=pytorch-{torch.__version__.split('a')[0]}"
    if not a.serve:
        speed = statistics.median(trainer.measure(a.seconds) for _ in range(a.repeats))
        print(f"{head} images_per_s={speed:.0f} {name}")
        return
    print(f"{head} {name} ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "go":
            print(f"images_per_s={trainer.measure(a.seconds):.1f}", flush=True)
        elif line.strip():
            print("error: the only command is go", flush=True)


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(130)
