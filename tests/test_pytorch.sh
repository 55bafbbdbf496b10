#!/bin/sh
# test_pytorch.sh - docs/from-pytorch.md: its C program reads a file as PyTorch writes it, halves
# and an integer in it, predicts what an independent program computes, and writes what Python
# reads. With torch at hand the page's own Python runs, too. TAP. modes: short
#
# Python's package safetensors is replaced by a few lines where it is missing. The program links
# with TEST_LINKED.
cd "$(dirname "$0")/.." || exit 1
work=${TEST_TMP:-build/pytorch.tmp}
. tests/programs.sh

# block WORD N: the Nth block ```WORD of the page
block() {
    awk -v word="$1" -v want="$2" '
        $0 == "```" word { on = ++n == want; next }
        /^```/ { on = 0 }
        on' docs/from-pytorch.md
}
block c 1 > "$work/block.c"
block python 1 > "$work/to_lsnn.py"
block python 2 > "$work/from_lsnn.py"
compile "$work/block.c" "$work/page" -O1 -Wall -Wextra
check "the page's program compiles" $?

python=
for p in python3 /usr/bin/python3; do
    "$p" -c 'import json, struct' > /dev/null 2>&1 && python=${python:-$p}
    "$p" -c 'import torch' > /dev/null 2>&1 && python=$p torch=1
done
if [ -z "$python" ]; then
    n=$((n + 1))
    echo "ok $n - PyTorch's weights # SKIP no python3"
    echo "1..$n"
    exit $failed
fi
cd "$work" || exit 1

# The same net in loops over lists: writes the file, and prints the scores.
cat > plain.py << 'PY'
import json, math, random, struct, sys

def half(v): return struct.unpack("<e", struct.pack("<e", v))[0]

def draw(n, low, high): return [half(random.uniform(low, high)) for _ in range(n)]

def write(path, tensors):
    header, data = {}, b""
    for name, (kind, shape, v) in tensors.items():
        b = struct.pack("<%d%s" % (len(v), "e" if kind == "F16" else "q"), *v)
        header[name] = {"dtype": kind, "shape": shape,
                        "data_offsets": [len(data), len(data) + len(b)]}
        data += b
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)

def read(path):
    b = open(path, "rb").read()
    n = struct.unpack("<Q", b[:8])[0]
    header = json.loads(b[8:8 + n])
    header.pop("__metadata__", None)
    for name, t in header.items():
        first, end = (8 + n + k for k in t["data_offsets"])
        assert t["dtype"] == "F32"
        yield name, t["shape"], struct.unpack("<%df" % ((end - first) // 4), b[first:end])

def scores(w, b, g, beta, mean, var, dw, db):
    x = [[i * 12 + k for k in range(12)] for i in range(12)]
    at = lambda i, k: x[i][k] / 144 if 0 <= i < 12 and 0 <= k < 12 else 0
    flat = []
    for c in range(4):
        y = [[sum(w[9*c + 3*u + v] * at(i + u - 1, k + v - 1)
                  for u in range(3) for v in range(3)) + b[c]
              for k in range(12)] for i in range(12)]
        y = [[max(0, (v - mean[c]) / math.sqrt(var[c] + 1e-5) * g[c] + beta[c]) for v in row]
             for row in y]
        flat += [max(y[2*i][2*k], y[2*i][2*k + 1], y[2*i + 1][2*k], y[2*i + 1][2*k + 1])
                 for i in range(6) for k in range(6)]
    return [sum(dw[144*o + i] * flat[i] for i in range(144)) + db[o] for o in range(3)]

random.seed(3)
t = {"0.weight": [4, 1, 3, 3], "0.bias": [4], "1.weight": [4], "1.bias": [4],
     "1.running_mean": [4], "1.running_var": [4], "1.num_batches_tracked": [],
     "5.weight": [3, 144], "5.bias": [3]}
full = {}
for name, shape in t.items():
    low, high = (0.5, 1.5) if name in ("1.weight", "1.running_var") else (-0.4, 0.4)
    whole = name == "1.num_batches_tracked"
    full[name] = ("I64" if whole else "F16", shape,
                  [20] if whole else draw(math.prod(shape), low, high))
v = [full[name][2] for name in t if name != "1.num_batches_tracked"]
if sys.argv[1] == "write":
    write("pytorch.safetensors", full)
    print(*("%.4f" % y for y in scores(*v)))
else:
    got = dict((name, (shape, list(v))) for name, shape, v in read("lsnn.safetensors"))
    layer = {"conv2d1": "0", "batch_norm1": "1", "dense1": "5"}
    field = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}
    for name, (shape, v) in got.items():
        mine, kind = name.split(".")
        _, want_shape, want = full[layer[mine] + "." + field.get(kind, kind)]
        assert shape == want_shape and v == want, name
    assert len(got) == 8
PY

# alike ONE OTHER: three numbers each, no more than 0.0002 apart, and not all alike
alike() {
    paste -d ' ' "$1" "$2" | awk '
        { for (i = 1; i <= 3; i++) if ($i - $(i + 3) > 2e-4 || $(i + 3) - $i > 2e-4) bad = 1
          if ($1 == $2) bad = 1 }
        END { exit bad || NR != 1 || NF != 6 }' && return
    sed 's/^/# /' "$1" "$2"
    return 1
}
"$python" plain.py write > want.txt && ./page > got.txt
check 'a file as PyTorch writes it is read, halves and all' $?
alike want.txt got.txt
check 'the scores are those of plain loops in Python' $?
"$python" plain.py read
check "what it writes is read in Python, value by value" $?

if [ -z "${torch:-}" ]; then
    n=$((n + 1))
    echo "ok $n - the page's Python # SKIP no torch for $python"
else
    "$python" -c 'import safetensors.torch' > /dev/null 2>&1 || {
        mkdir -p safetensors
        : > safetensors/__init__.py
        cat > safetensors/torch.py << 'PY'
import json, struct, torch
kinds = {torch.float16: "F16", torch.float32: "F32", torch.int64: "I64"}
def save_file(tensors, path):
    header, data = {}, b""
    for name, t in tensors.items():
        b = bytes(t.contiguous().reshape(-1).view(torch.uint8).tolist() if t.dim() else
                  struct.pack("<q", int(t)))
        header[name] = {"dtype": kinds[t.dtype], "shape": list(t.shape),
                        "data_offsets": [len(data), len(data) + len(b)]}
        data += b
    text = json.dumps(header).encode()
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)
def load_file(path):
    b = open(path, "rb").read()
    n = struct.unpack("<Q", b[:8])[0]
    out = {}
    for name, t in json.loads(b[8:8 + n]).items():
        if name != "__metadata__":
            first, end = (8 + n + k for k in t["data_offsets"])
            out[name] = torch.tensor(struct.unpack("<%df" % ((end - first) // 4), b[first:end]))
            out[name] = out[name].reshape(t["shape"])
    return out
PY
    }
    "$python" to_lsnn.py > want.txt && ./page > got.txt && alike want.txt got.txt
    check "PyTorch's scores, and the page's program's" $?
    "$python" from_lsnn.py > back.txt && alike want.txt back.txt
    check 'and PyTorch has them back' $?
fi
echo "1..$n"
exit $failed
