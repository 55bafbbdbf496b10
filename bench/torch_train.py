#!/usr/bin/env python3
"""torch_train.py - PyTorch as the peer of `make bench`: images/s of whole training steps.

The networks are those of examples/models.h on 42x42x1 images: forward, cross-entropy,
backward, SGD with momentum 0.9. Data are random and lie in memory before the clock starts.

    python3 bench/torch_train.py --net cnn --batch 64 --threads 2
        peer what=train net=cnn batch=64 threads=2 params=417482 images_per_s=3400 ...

With --serve it prints that line's first part with ` ready`, then answers each line "go" on
standard input by one line `images_per_s=...` measured over --seconds, so that another
program can interleave these runs with its own. Exit status 77: PyTorch is not here.
"""
import argparse
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
    print("peer skipped: PyTorch is missing (Debian: apt-get install python3-torch)")
    sys.exit(77)


def features():
    """Two convolutions with pooling: 1x42x42 -> 32x7x7."""
    return [nn.Conv2d(1, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]


def rest():
    """What follows the first layer in every network: 16x38x38 -> 10."""
    return nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 5), nn.ReLU(),
                         nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 7 * 7, 256),
                         nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10))


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
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 5)
        self.rest = rest()

    def forward(self, x):
        return self.rest(self.conv(x))


class Location(nn.Module):
    """One Gaussian map a kernel, the same for every image; the bias stays outside."""
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 5, bias=False)
        self.bias = nn.Parameter(torch.zeros(16, 1, 1))
        self.theta = nn.Parameter(first_theta())
        self.rest = rest()

    def forward(self, x):
        return self.rest(self.conv(x) * gaussian_maps(self.theta, 38) + self.bias)


class Content(nn.Module):
    """The maps of each image come from a parameter network that looks at it."""
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 5, bias=False)
        self.bias = nn.Parameter(torch.zeros(16, 1, 1))
        self.look = nn.Sequential(*features(), nn.Linear(32 * 7 * 7, 80))
        with torch.no_grad():
            self.look[-1].weight.mul_(0.1)
            self.look[-1].bias.copy_(first_theta().flatten())
        self.rest = rest()

    def forward(self, x):
        theta = self.look(x).view(-1, 16, 5)
        return self.rest(self.conv(x) * gaussian_maps(theta, 38) + self.bias)


class LocallyConnected(nn.Module):
    """A 5x5 kernel of its own at each of 38x38 positions: unfold and one batched product."""
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(38 * 38, 25, 16) * (2 / 25) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(16, 38, 38))
        self.rest = rest()

    def forward(self, x):
        patches = F.unfold(x, 5).permute(2, 0, 1)              # positions, images, 25
        y = torch.bmm(patches, self.weight).permute(1, 2, 0)   # images, 16, positions
        return self.rest(y.reshape(-1, 16, 38, 38) + self.bias)


NETS = {"cnn": Cnn, "lsnn-location": Location, "lsnn-content": Content,
        "lc": LocallyConnected}


class Trainer:
    def __init__(self, net, batch):
        self.net = NETS[net]().train()
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.01, momentum=0.9)
        self.batches = [(torch.rand(batch, 1, 42, 42), torch.randint(10, (batch,)))
                        for _ in range(8)]
        self.batch = batch

    def step(self, i):
        x, label = self.batches[i % len(self.batches)]
        self.optimizer.zero_grad(set_to_none=True)             # the faster way
        F.cross_entropy(self.net(x), label).backward()
        self.optimizer.step()

    def measure(self, seconds):
        """Images/s of as many whole steps as fill that time, at least three."""
        steps, start = 0, time.perf_counter()
        while True:
            self.step(steps)
            steps += 1
            spent = time.perf_counter() - start
            if spent >= seconds and steps >= 3:
                return steps * self.batch / spent


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
    a = p.parse_args()

    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    trainer = Trainer(a.net, a.batch)
    trainer.measure(min(0.5, a.seconds))                       # warm up
    params = sum(p.numel() for p in trainer.net.parameters())
    head = (f"peer what=train net={a.net} batch={a.batch} threads={torch.get_num_threads()} "
            f"params={params}")
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
