#!/bin/sh
# test_programs.sh - the programs as people run them: end to end on little data, Ctrl-C and
# resume, bad flags, missing files, nothing overwritten; hello under valgrind. TAP.
# modes: short | long
#
# Without TEST_LONG, Ctrl-C and valgrind are left out. Where TEST_LINKED names an object of the
# implementation, programs are linked with it: so they use no private names. With TEST_LONG two
# are built as README says, and give the object for the others.
cd "$(dirname "$0")/.." || exit 1
work=${TEST_TMP:-build/programs.tmp}
. tests/programs.sh
long=${TEST_LONG:-}

if [ -n "$long" ]; then
    for p in examples/hello.c examples/lsnn_mnist.c; do build "$p"; done
    printf '#define LSNN_IMPLEMENTATION\n#include "lsnn.h"\n' > "$work/unit.c"
    # shellcheck disable=SC2086
    $CC -O2 -I. ${TEST_FLAGS:-} -c "$work/unit.c" -o "$work/unit.o" && TEST_LINKED=$work/unit.o
fi
for p in examples/*.c tools/*.c; do
    [ -x "$work/$(basename "$p" .c)" ] || build "$p"
done
mnist=$work/gen_data
train=$work/lsnn_mnist
predict=$work/predict
small='--train 640 --test 200 --batch 32 --threads 1'

"$work/custom_layer" > /dev/null
check 'custom_layer: its gradients are right' $?

# ---- generate, train, predict -----------------------------------------------------------
"$mnist" cluttered --out "$work/data" --train 640 --test 200 --seed 3 > /dev/null 2>&1
check 'gen_data writes the four files' $?
# shellcheck disable=SC2086
"$train" --model lsnn-content --data "$work/data" $small --epochs 1 --out "$work/out" --quiet \
    --log "$work/log.csv" --figure "$work/look.png" > "$work/result.txt"
check 'lsnn_mnist trains on them' $?
tail -n 1 "$work/result.txt" | grep -Eq '^result task=cluttered model=lsnn-content error=[0-9.]+ epochs=1 seed=1 train=640 test=200 fresh=0 params=556250 seconds=[0-9]+ images_per_s=[0-9]+$'
check 'its last line is the result line' $?
[ "$(wc -l < "$work/log.csv")" -eq 2 ]
check 'its log has a header and a line an epoch' $?
[ -s "$work/look.png" ]
check 'it draws the figure' $?
"$predict" "$work/out/cluttered-lsnn-content.safetensors" "$work/look.png" \
    --overlay "$work/overlay.png" > "$work/predict.txt"
check 'predict loads the net and reads a PNG' $?
grep -q '^prediction file=.* class=[0-9] probability=' "$work/predict.txt" && [ -s "$work/overlay.png" ]
check 'it prints a class and draws the overlay' $?
"$mnist" arrow --out "$work/one" --train 70 --test 1 --preview "$work/sheet.png" > "$work/sheet.txt" 2>&1
grep -q 'sheet.png: preview' "$work/sheet.txt" && [ "$(wc -c < "$work/sheet.png")" -gt 5000 ]
check 'gen_data draws a preview' $?
for line in 'cnn 417482 3861834' 'lc 1017770 3861834' 'lsnn-location 417562 3861834' \
            'lsnn-content 556250 7444954'; do
    # shellcheck disable=SC2086
    set -- $line
    "$train" --model "$1" --summary | tail -n 1 | grep -qx "summary model=$1 params=$2 macs=$3"
    check "--summary counts $1" $?
done

# ---- early stopping: 64 held-out images soon get no better ------------------------------------
early="$work/convnet --train 320 --test 100 --batch 32 --threads 1 --model mlp --epochs 30 --holdout 64"
early="$early --early-stop 2 --save $work/early.safetensors --log $work/early.csv"
$early > "$work/early.txt" 2> "$work/early.err"
epochs=$(sed -n 's/^result .* epochs=\([0-9]*\) .*/\1/p' "$work/early.txt")
[ "$epochs" -gt 2 ] && [ "$epochs" -lt 30 ] && [ "$(wc -l < "$work/early.csv")" -eq $((epochs + 1)) ] &&
    grep -q "^lsnn: lsnn_fit: $epochs of 30 epochs, the last 2 no better; .* in epoch $((epochs - 2)), kept" \
        "$work/early.err"
check '--early-stop ends two epochs after the best, and says so' $?
[ "$(grep -Ec '^epoch [0-9]+/30  loss .*  held out [0-9.]+% \([0-9.]+-[0-9.]+\)  [0-9:]+ left$' \
    "$work/early.err")" -eq "$epochs" ] &&
    grep -Eq '^convnet: error [0-9.]+% of 100 test images: [0-9.]+ to [0-9.]+% with 95% certainty$' \
        "$work/early.err"
check 'each epoch has the error with its interval and the time left' $?
$early --resume "$work/early.safetensors" > "$work/again.txt" 2> "$work/early.err" &&
    [ "$(sed 's/ seconds.*//' "$work/again.txt")" = "$(sed 's/ seconds.*//' "$work/early.txt")" ] &&
    grep -q 'nothing was left to do; best' "$work/early.err"
check 'a resume knows that it has ended' $?
refused 2 --holdout "$work/convnet" --early-stop 2
refused 2 --holdout "$train" --early-stop 2
refused 2 --holdout "$work/tkn" --holdout 0 --early-stop 2

# ---- the paper's other tasks ---------------------------------------------------------------
# digits DIR WHAT VALUE: 64 images that are squares of one value, and labels of 1
digits() {
    { printf '\000\000\010\003\000\000\000\100\000\000\000\034\000\000\000\034'
      head -c 50176 /dev/zero | LC_ALL=C tr '\000' "$3"; } > "$1/$2-images-idx3-ubyte"
    { printf '\000\000\010\001\000\000\000\100'
      head -c 64 /dev/zero | LC_ALL=C tr '\000' '\001'; } > "$1/$2-labels-idx1-ubyte"
}
ink() { tail -c +17 "$1" | LC_ALL=C tr -d '\000' | wc -c; }       # bytes that are not 0
mkdir -p "$work/black" "$work/white" "$work/other" "$work/one" "$work/two"
digits "$work/black" train '\000'; digits "$work/black" t10k '\310'
digits "$work/white" train '\310'; digits "$work/white" t10k '\000'
digits "$work/other" train '\000'; digits "$work/other" t10k '\000'
pictures() { "$mnist" "$1" --mnist "$2" --out "$3" --train 64 --test 64 > /dev/null; }
for task in cluttered sequence; do
    pictures $task "$work/black" "$work/one" &&
        [ "$(ink "$work/one/$task-train-images-idx3-ubyte")" -eq 0 ] &&
        [ "$(ink "$work/one/$task-t10k-images-idx3-ubyte")" -gt 5000 ]
    check "gen_data $task: no test digit in training pictures" $?
done
for task in arrow rectangle tlmnist; do
    pictures $task "$work/white" "$work/one" && pictures $task "$work/other" "$work/two" &&
        cmp "$work/one/$task-t10k-images-idx3-ubyte" "$work/two/$task-t10k-images-idx3-ubyte" &&
        ! cmp -s "$work/one/$task-train-images-idx3-ubyte" "$work/two/$task-train-images-idx3-ubyte"
    check "gen_data $task: no training digit in test pictures" $?
done
# MNIST's names, for digits that gen_data drew: 11 chunks of its threads' work
"$mnist" digits --out "$work/mnist" --train 700 --test 200 > /dev/null 2>&1
for file in "$work/mnist"/digits-*; do mv "$file" "$work/mnist/${file##*/digits-}"; done
drawn='--train 700 --test 200 --seed 4'
for task in cluttered arrow rectangle sequence; do
    # shellcheck disable=SC2086
    "$mnist" $task --mnist "$work/mnist" --out "$work/one" $drawn --threads 1 > /dev/null &&
        "$mnist" $task --mnist "$work/mnist" --out "$work/two" $drawn --threads 3 > /dev/null
    differ=0
    for file in "$work/one/$task"-*; do cmp "$file" "$work/two/${file##*/}" || differ=1; done
    check "gen_data $task: the same bytes for 1 and 3 threads" $differ
    for from in mnist data; do
        folder=$work/mnist
        [ $from = data ] && folder=$work/one
        # shellcheck disable=SC2086
        "$train" --task $task --model cnn $drawn --batch 20 --epochs 1 --threads 1 --quiet --$from "$folder" \
            --save "$work/$from.safetensors" --overwrite | sed 's/ seconds=.* images_per_s=[0-9]*//' > "$work/$from.txt"
    done
    cmp "$work/mnist.safetensors" "$work/data.safetensors" && [ -s "$work/mnist.txt" ] &&
        cmp "$work/mnist.txt" "$work/data.txt"
    check "lsnn_mnist --task $task: pictures drawn on the way are gen_data's: the same net and error" $?
done
[ "$("$train" --list)" = "tasks: digits cluttered arrow rectangle sequence
models: cnn lc lsnn-location lsnn-content" ]
check '--list names tasks and models' $?
tiny='--train 320 --test 100 --batch 32 --threads 1 --epochs 1 --quiet'
drawn="--figure $work/figure.png --strip $work/strip.png"
for task in arrow rectangle sequence; do
    rm -f "$work/figure.png" "$work/strip.png"
    # shellcheck disable=SC2086
    "$train" --task $task --model lsnn-content $tiny --focus $drawn --out "$work/out" \
        > "$work/result.txt" 2> /dev/null &&
        grep -Eq "^focus task=$task model=lsnn-content at=start share=[0-9.]+ area=0\\.1[0-9]* ratio=[0-9.]+( others=[0-9.]+)? next=[0-9.]+$" "$work/result.txt" &&
        grep -q "^focus task=$task model=lsnn-content at=end share=" "$work/result.txt" &&
        tail -n 1 "$work/result.txt" | grep -q "^result task=$task model=lsnn-content error=" &&
        [ -s "$work/figure.png" ] && [ -s "$work/strip.png" ]
    check "lsnn_mnist --task $task: focus, result and figures" $?
done
[ "$(grep -c '^focus .* at=end digit=[123] ' "$work/result.txt")" -eq 3 ] &&
    grep -Eq '^digits task=sequence model=lsnn-content error1=[0-9.]+ error2=[0-9.]+ error3=[0-9.]+$' "$work/result.txt" &&
    tail -n 1 "$work/result.txt" | grep -Eq ' params=1211546 .* whole_error=[0-9.]+$'
check 'sequence: each digit and the whole' $?
"$mnist" sequence --out "$work/data" --train 320 --test 100 > /dev/null 2>&1
for model in cnn lc lsnn-location; do
    # shellcheck disable=SC2086
    "$train" --task sequence --model $model --data "$work/data" $tiny --out "$work/out" |
        grep -q "^result task=sequence model=$model .* whole_error="
    check "lsnn_mnist --task sequence --model $model reads gen_data's labels" $?
done
"$predict" "$work/out/sequence-lsnn-location.safetensors" "$work/look.png" > "$work/predict.txt" &&
    [ "$(grep -c '^prediction file=.* head=[123] class=[0-9] probability=' "$work/predict.txt")" -eq 3 ]
check 'predict reads the three digits of a sequence' $?
printf '%s\n' '#define LSNN_IMPLEMENTATION' '#include "lsnn.h"' 'int main(int c, char **v) {' \
    'static lsnn_ctx cx; lsnn_net *net = lsnn_net_new(&cx); (void)c;' \
    'lsnn_conv2d(net, lsnn_input(net, 1, 42, 42), 8, 5, NULL); lsnn_net_build(net, NULL);' \
    'return lsnn_net_save(net, v[1]) != LSNN_OK; }' > "$work/maps.c"
compile "$work/maps.c" "$work/maps.program" -O0 && "$work/maps.program" "$work/maps.safetensors" &&
    "$predict" "$work/maps.safetensors" "$work/look.png" > "$work/predict.txt" &&
    [ "$(grep -c '%$' "$work/predict.txt")" -eq $((8 * 38 * 38)) ]
check 'predict reads a net that puts out maps' $?
# shellcheck disable=SC2086
"$train" --model lsnn-location $tiny --out "$work/out" --normalise none --bias inside --rank 2 \
    --mixture 3 --separable 1 --mu-range 0.1 --alpha-start 3 --param-lr 1 --holdout 64 --no-test \
    2> /dev/null | grep -q "^result .* train=256 test=0 .* params=$((417562 + 400 - 80 + 32 * 15)) "
check "lsnn_mnist: the smoother's choices as flags" $?
refused 2 smoothers "$train" --model lc --rank 2
refused 2 --normalise "$train" --normalise most
refused 2 --strip "$train" --model cnn --strip "$work/no.png"
refused 2 --strip "$train" --load "$work/no" --strip "$work/no.png"
refused 2 --fresh "$train" --load "$work/no" --fresh
refused 2 --optimizer "$train" --load "$work/no" --optimizer adamw
refused 2 --task "$train" --task line
for part in train t10k; do
    cp "$work/data/sequence-$part-images-idx3-ubyte" "$work/data/arrow-$part-images-idx3-ubyte"
    cp "$work/data/sequence-$part-labels-idx2-ubyte" "$work/data/arrow-$part-labels-idx1-ubyte"
done
refused 1 '3 labels a picture' "$train" --task arrow --data "$work/data" --out "$work/fresh"

# ---- signals: what each model can know and cannot ------------------------------------------
signals="$work/lsnn_1d --threads 1 --train 2000 --test 500 --epochs 20 --quiet"
signal_error() { $signals "$@" 2> /dev/null | sed -n 's/^result .* error=\([0-9]*\).*/\1/p'; }
[ "$(signal_error --task place --model cnn)" -gt 30 ] &&
    [ "$(signal_error --task place --model lsnn-location)" -lt 10 ]
check 'lsnn_1d: smoothers learn the place that a plain network cannot know' $?
[ "$(signal_error --task pointer --model lsnn-location)" -gt 30 ] &&
    [ "$(signal_error --task pointer --model lsnn-content)" -lt 10 ]
check 'lsnn_1d: smoothers computed from the signal follow a pointer' $?
$signals --task ends --model lsnn-content --mixture 3 --rank 2 --epochs 2 \
    --figure "$work/signals.png" > "$work/signals.txt"
tail -n 1 "$work/signals.txt" | grep -Eq '^result task=ends model=lsnn-content error=[0-9.]+ epochs=2 seed=1 train=2000 test=500 fresh=0 params=23036 seconds=[0-9]+ images_per_s=[0-9]+$'
check 'lsnn_1d: its last line is the result line' $?
refused 2 --figure "$work/lsnn_1d" --model cnn --figure "$work/no.png"
refused 1 --figure "$work/lsnn_1d" --figure "$work/nowhere/no.png"

# ---- data-driven sparse connections ----------------------------------------------------------
dsc=$work/dsc
sparse="$dsc --train 400 --test 100 --epochs 1 --threads 1 --quiet --out $work/dsc-out --overwrite"
for line in 'dsc 7841' 'dense 7850' 'conv 7192' 'dropout 7850'; do
    # shellcheck disable=SC2086
    set -- $line
    $sparse --model "$1" 2> /dev/null | tail -n 1 |
        grep -Eq "^result task=mnist model=$1 error=[0-9.]+ epochs=1 seed=1 train=400 test=100 fresh=0 params=$2 active=[01]\.[0-9]+ operations=[0-9]+ seconds=[0-9]+ images_per_s=[0-9]+$"
    check "dsc --model $1 trains, and has $2 parameters" $?
done
$sparse --filters 4 --levels 2 --fields 300 --hidden 20 --graph "$work/graph.png" > "$work/dsc.txt" 2> /dev/null &&
    grep -Eq '^graph lines=[0-9]+$' "$work/dsc.txt" && [ "$(wc -c < "$work/graph.png")" -gt 3000 ]
check 'dsc: two levels of filters, hidden neurons, and the graph of an image' $?
"$dsc" --compress "$work/signals.png" --figure "$work/colours.png" > "$work/dsc.txt" 2> /dev/null &&
    grep -Eq '^compress filters=8 levels=16 bits=7.00 psnr=[0-9.]+ palette=128 palette_psnr=[0-9.]+$' "$work/dsc.txt"
check 'dsc --compress: bits a pixel and PSNR beside a palette' $?
[ "$("$dsc" --list)" = 'tasks: mnist cifar10 cifar100
models: dsc dense conv dropout' ] && "$dsc" --summary | grep -q '^summary model=dsc params=7841 macs=8624$'
check 'dsc --list and --summary' $?
refused 2 --graph "$dsc" --model dense --graph "$work/no.png"
refused 2 --figure "$dsc" --compress "$work/signals.png"
refused 2 'one file' "$dsc" --compress "$work/signals.png" --figure "$work/signals.png"
refused 1 --data "$dsc" --task cifar100 --out "$work/dsc-out" --overwrite
refused 1 train.bin "$dsc" --task cifar100 --data "$work/nowhere" --out "$work/dsc-out" --overwrite
refused 1 'tau 0.9' "$dsc" --tau 0.95 --summary

# ---- targeted kernel networks ----------------------------------------------------------------
tkn=$work/tkn
targeted="$tkn --train 240 --test 60 --batch 24 --epochs 1 --threads 1 --quiet --out $work/tkn-out --overwrite"
for line in 'cnn6 4586642 368407442' 'tkn6 4589202 368407442' 'dn10 44746 11317030' \
    'tdn10 45034 11317030'; do
    # shellcheck disable=SC2086
    set -- $line
    [ "$("$tkn" --summary --model "$1" | tail -n 1)" = "summary model=$1 params=$2 macs=$3" ]
    check "tkn --model $1: the paper's counts" $?
done
[ "$("$tkn" --summary --task tlmnist | tail -n 1)" = 'summary model=tdn10 params=45034 macs=45265210' ] &&
    [ "$("$tkn" --summary --task svhn --model dn40 | tail -n 1)" = 'summary model=dn40 params=832474 macs=356626306' ] &&
    [ "$("$tkn" --summary --task pain --model dn40 | tail -n 1)" = 'summary model=dn40 params=828901 macs=802400653' ] &&
    [ "$("$tkn" --summary --task gtsrb --model stn | tail -n 1)" = 'summary model=stn params=1173185 macs=145334289' ]
check "tkn: the paper's counts on its other tasks" $?
$targeted --figure "$work/windows.png" 2> /dev/null > "$work/tkn.txt" &&
    tail -n 1 "$work/tkn.txt" | grep -Eq '^result task=mnist model=tdn10 error=[0-9.]+ epochs=1 seed=1 train=220 test=60 fresh=0 attention=cauchy l2=0.0001 beta=4 clip=code params=45034 macs=11317030 macs_learned=[0-9]+ macs_computed=[0-9]+ seconds=[0-9]+ images_per_s=[0-9]+$' &&
    grep -q '^epoch 1 of 1 was best on 20 images that were held out$' "$work/tkn.txt" &&
    [ "$(wc -c < "$work/windows.png")" -gt 1000 ]
check 'tkn trains, says which epoch was best, and draws its windows' $?
sized="$tkn --train 240 --test 60 --load $work/tkn-out/mnist-tdn10.safetensors"
for size in 28 56; do
    $sized --size $size --out "$work/none" > "$work/size-$size.txt" 2> /dev/null
done
value() { sed -n "s/^result .* $2=\\([0-9.]*\\) .*/\\1/p" "$1"; }
grep -q '^result task=mnist model=tdn10 error=[0-9.]* epochs=0 .* clip=code size=56 params=45034 macs=45265210 ' "$work/size-56.txt" &&
    [ "$(value "$work/size-28.txt" error)" = "$(value "$work/tkn.txt" error)" ] &&
    [ "$(value "$work/size-28.txt" macs_learned)" = "$(value "$work/tkn.txt" macs_learned)" ] &&
    [ ! -e "$work/none" ]
check 'tkn --size: at its own size a net is what it was; at another it has the same weights' $?
refused 1 'it has 41 of 53' $sized --size 56 --attention gaussian
refused 1 'it has 4 of 52' $sized --size 28 --model stn
refused 2 --size "$tkn" --load "$work/tkn-out/mnist-tdn10.safetensors"
refused 2 --size "$tkn" --size 56
for way in '--attention gaussian --rho' '--adaptive --task cluttered' '--clip paper --model dn10'; do
    # shellcheck disable=SC2086
    $targeted $way 2> /dev/null | grep -q '^result '
    check "tkn $way" $?
done
"$tkn" --load "$work/tkn-out/mnist-tdn10.safetensors" --slide "$work/windows.png" --stride 40 \
    --figure "$work/heat.png" 2> /dev/null | grep -Eq '^slide places=[0-9]+ class=[0-9] probability=[01]\.[0-9]+ column=[0-9]+ row=[0-9]+$'
check 'tkn --slide runs a trained net at each place of a picture' $?
for part in train test; do               # 64 signs that are one picture
    for i in $(seq 64); do printf '\003'; head -c 3072 "$tkn"; done > "$work/gtsrb32_$part.bin"
done
"$tkn" --task gtsrb --model stn --data "$work" --train 48 --holdout 16 --test 32 --batch 8 --epochs 1 \
    --threads 1 --quiet --out "$work/tkn-out" --figure "$work/signs.png" 2> /dev/null |
    grep -q '^result task=gtsrb model=stn ' && [ "$(wc -c < "$work/signs.png")" -gt 20000 ]
check 'tkn --model stn --figure: signs before and behind the transformer' $?
refused 1 --data "$tkn" --task svhn
refused 1 train_32x32.mat "$tkn" --task svhn --data "$work/nowhere" --out "$work/tkn-out" --overwrite
refused 1 frames.txt "$tkn" --task pain --data "$work/nowhere" --out "$work/tkn-out" --overwrite
refused 2 --slide "$tkn" --slide "$work/windows.png"
refused 2 'one file' "$tkn" --load "$work/tkn-out/mnist-tdn10.safetensors" \
    --slide "$work/windows.png" --figure "$work/windows.png"
refused 2 --figure "$tkn" --model dn10 --figure "$work/no.png"
refused 2 --rho "$tkn" --model dn10 --rho

# ---- the lecture: its networks, its image kernels, its exercise ------------------------------
convnet=$work/convnet
lecture="$convnet --train 320 --test 100 --batch 32 --epochs 1 --threads 1 --quiet --out $work/lecture --overwrite"
for line in 'mlp 636010' 'convnet 289630' 'lenet5 60000' 'lenet5-modern 61706'; do
    # shellcheck disable=SC2086
    set -- $line
    $lecture --model "$1" 2> /dev/null | tail -n 1 |
        grep -Eq "^result task=mnist model=$1 error=[0-9.]+ epochs=1 seed=1 train=320 test=100 fresh=0 params=$2 seconds=[0-9]+ images_per_s=[0-9]+$"
    check "convnet --model $1 trains, and has $2 parameters" $?
done
$lecture --mnist "$work/mnist" --model lenet5 > "$work/lenet.txt" && [ -s "$work/lenet.txt" ]
check 'convnet reads --mnist' $?
"$convnet" --summary --maps 40 | grep -q ' 576000 + 23040 by 1000 + 40 ' &&
    "$convnet" --summary --model mlp | grep -q ' 628000 *628000  627200 + 800 by 627200 + 800' &&
    "$convnet" --summary --model lenet5 | grep -Eq '^total +60000 +328180 +340908$' &&
    [ "$("$convnet" --summary | tail -n 1)" = 'summary model=convnet params=289630 macs=577110' ]
check "convnet --summary: the lecture's weights and connections" $?
[ "$("$convnet" --list)" = 'tasks: mnist
models: mlp convnet lenet5 lenet5-modern' ] && "$convnet" --help | grep -q 'Example: convnet --model'
check 'convnet --list and --help' $?
for pool in 'average' 'sum' 'lp --norm 3' 'max --pool-size 3 --pool-stride 2'; do
    # shellcheck disable=SC2086
    $lecture --pool $pool 2> /dev/null | grep -q '^result '
    check "convnet --pool $pool" $?
done
$lecture --pool lp --learn-norm map --maps 3 --holdout 64 --no-test 2> /dev/null > "$work/norms.txt" &&
    [ "$(sed -n 's/^norms//p' "$work/norms.txt" | wc -w)" -eq 3 ] &&
    grep -q ' train=256 test=0 ' "$work/norms.txt"
check 'convnet learns a norm for each map, and tells them' $?
"$convnet" --explain > "$work/explain.txt"
[ "$(grep -c '^  d\[[0-2],[0-2]\] x\[[1-3],[0-2]\] = ' "$work/explain.txt")" -eq 9 ] && awk '
    /^  d/ { terms += $NF }
    /^(w\[|b,)/ { rows++; for (i = 1; i < NF; i++) { if ($i == "sum") s = $(i + 1); if ($i == "lsnn_backward") g = $(i + 1) } }
    /^(w\[|b,)/ { if ((s - g)^2 > 1e-11 || (g - $NF)^2 > 1e-9 || s == 0) bad = 1 }
    /^w\[1,0\]/ { if ((terms - s)^2 > 1e-10) bad = 1 }
    END { exit bad || rows != 5 }' "$work/explain.txt"
check 'convnet --explain: nine terms make the sum, which is backward and the difference' $?
"$convnet" --kernels --figure "$work/kernels.png" 2> /dev/null && [ "$(wc -c < "$work/kernels.png")" -gt 5000 ]
check 'convnet --kernels draws the built-in picture' $?
"$convnet" --kernels "$work/kernels.png" --figure "$work/again.png" 2> /dev/null &&
    [ "$(wc -c < "$work/again.png")" -gt "$(wc -c < "$work/kernels.png")" ]
check 'convnet --kernels filters a picture that is given' $?
refused 1 "$work/log.csv" "$convnet" --kernels "$work/log.csv" --figure "$work/no.png"
"$convnet" --model lenet5 --train 6000 --test 100 --epochs 8 --threads 1 --quiet \
    --save "$work/lenet.safetensors" > /dev/null 2>&1
right=0
for seed in 1 2 3 4 5 6 7 8 9 10; do
    label=$("$mnist" digits --seed $seed --train 64 --test 8 --out "$work/first" \
        --first "$work/digit.png" 2> /dev/null | sed -n 's/.*its label \([0-9]\)$/\1/p')
    "$predict" "$work/lenet.safetensors" "$work/digit.png" 2> /dev/null |
        grep -q "class=$label " && right=$((right + 1))
done
[ $right -ge 8 ]
check "predict gives LeNet-5 the frame that it knows: $right of 10 digits read" $?
refused 1 "$work/nowhere.png" "$convnet" --kernels "$work/nowhere.png" --figure "$work/no.png"
refused 2 'one file' "$convnet" --kernels "$work/kernels.png" --figure "$work/kernels.png"
refused 2 --figure "$convnet" --kernels
refused 2 --kernels "$convnet" --figure "$work/no.png"
refused 2 --pool "$convnet" --model mlp --pool sum
refused 2 --maps "$convnet" --model lenet5 --maps 30
refused 2 --norm "$convnet" --pool max --norm 3
refused 2 --rubbish "$convnet" --rubbish 3
refused 2 --no-test "$convnet" --no-test
refused 2 --model "$convnet" --model lenet6
refused 1 'norm is 0.5' "$convnet" --pool lp --norm 0.5 --summary
refused 1 'replaces it' "$convnet" --train 320 --test 100 --epochs 1 --out "$work/lecture"
refused 1 --holdout "$convnet" --train 320 --test 100 --holdout 320 --out "$work/fresh"
[ ! -e "$work/no.png" ]
check 'what is refused draws nothing' $?

# ---- locally connected layers ----------------------------------------------------------------
local=$work/locally_connected
places="$local --train 320 --test 100 --batch 32 --epochs 1 --threads 1 --quiet --out $work/places --overwrite"
for line in 'conv 417482' 'local 1017770' 'lowrank 418986' 'lsnn 417562' 'deepface 1058218'; do
    # shellcheck disable=SC2086
    set -- $line
    $places --model "$1" --filters "$work/filters-$1.png" 2> /dev/null |
        grep -Eq "^result task=cluttered model=$1 error=[0-9.]+ epochs=1 .* params=$2 " &&
        [ "$(wc -c < "$work/filters-$1.png")" -gt 1000 ]
    check "locally_connected --model $1 trains, has $2 parameters, and draws its kernels" $?
done
$places --model local --from "$work/places/cluttered-conv.safetensors" > /dev/null 2>&1
check 'locally_connected: local goes on from a trained conv' $?
for part in train test; do               # 128 black signs of class 0
    dd if=/dev/zero of="$work/gtsrb32_$part.bin" bs=3073 count=128 2> /dev/null
done
"$local" --task signs --model local --start alike --data "$work" --train 64 --holdout 32 --no-test \
    --epochs 1 --batch 32 --quiet --out "$work/places" | grep -q ' error=0.00 epochs=1 seed=1 train=32 test=0 '
check 'locally_connected reads packed signs' $?
"$local" --counts > "$work/counts.txt"
grep -q '^counts layer=blog places=124x124 conv=6400 local=98406400$' "$work/counts.txt" &&
    grep -q '^counts layer=keras places=30x30 conv=1792 local=1612800$' "$work/counts.txt" &&
    grep -Eq '^local2 .* 16 x 25 x 25 .* 7840000 \+ 10000 by 7840000 \+ 10000' "$work/counts.txt" &&
    grep -q '^summary model=deepface-whole params=118923774 macs=517632574$' "$work/counts.txt" &&
    grep -Eq '^counts net=deepface-whole bytes=4[0-9]{8}$' "$work/counts.txt"
check "locally_connected --counts: the blog's, Keras's and DeepFace's" $?
refused 2 --data "$local" --task signs
refused 2 --start "$local" --model conv --start alike
refused 2 --from "$local" --model conv --from x
refused 2 'one file' "$local" --model local --from "$work/places/cluttered-conv.safetensors" \
    --filters "$work/places/cluttered-conv.safetensors" --out "$work/places" --overwrite
refused 2 --banks "$local" --banks 3
refused 2 --no-test "$local" --no-test
refused 1 "'conv1' is no conv2d" "$local" --from "$work/places/cluttered-local.safetensors" --summary

# ---- Ctrl-C saves and says how to resume; the resumed run ends with the same bits ---------
if [ -n "$long" ]; then
    many='--train 6000 --test 100 --batch 32 --threads 1 --epochs 6 --model cnn --seed 7'
    # shellcheck disable=SC2086
    "$train" $many --save "$work/whole.safetensors" --quiet > "$work/whole.txt" 2> /dev/null
    # shellcheck disable=SC2086
    "$train" $many --save "$work/cut.safetensors" > /dev/null 2> "$work/cut.txt" &
    i=0                              # until its second epoch, a minute at most
    while ! grep -q 'epoch 2' "$work/cut.txt" && [ $i -lt 600 ]; do sleep 0.1; i=$((i + 1)); done
    kill -INT $!
    wait $!
    status=$?
    if [ "$status" -ne 0 ]; then
        [ "$status" -eq 130 ] && grep -q -e '--resume' "$work/cut.txt"
        check 'Ctrl-C saves and prints the command that resumes' $?
        # shellcheck disable=SC2086
        "$train" $many --save "$work/cut.safetensors" --resume "$work/cut.safetensors" --quiet \
            > "$work/resumed.txt" 2> /dev/null
        cmp -s "$work/whole.safetensors" "$work/cut.safetensors"
        check 'the resumed run ends with the same file, bit for bit' $?
    else
        n=$((n + 1))
        echo "ok $n - Ctrl-C # SKIP the run was over before it came"
    fi
    # shellcheck disable=SC2086
    "$train" $many --resume "$work/whole.safetensors" --seed 99 --out "$work/fresh" --quiet > /dev/null \
        2> "$work/other.txt"
    [ $? -eq 1 ] && grep -q 'seed=99' "$work/other.txt"
    check 'a resume with another seed is refused, and says so' $?
    "$mnist" digits --out "$work/others" --train 320 --test 100 --seed 2 > /dev/null
    for file in "$work/others"/digits-*; do mv "$file" "$work/others/${file##*/digits-}"; done
    # shellcheck disable=SC2086
    "$train" --model cnn $tiny --mnist "$work/mnist" --save "$work/digits.safetensors" > /dev/null &&
        ! "$train" --model cnn $tiny --mnist "$work/others" --resume "$work/digits.safetensors" \
            --out "$work/fresh" > /dev/null 2> "$work/other.txt" && grep -q 'data=' "$work/other.txt"
    check 'a resume on other pictures is refused, and says so' $?
    echo precious > "$work/old.csv"
    "$train" --summary --log "$work/old.csv" > /dev/null 2>&1
    "$train" --load "$work/whole.safetensors" --log "$work/old.csv" > /dev/null 2>&1
    [ "$(cat "$work/old.csv")" = precious ]
    check 'a log is not touched by a run that does not train' $?
fi

# ---- bad input -------------------------------------------------------------------------
refused 2 --nonsense "$train" --nonsense
refused 2 --epochs "$train" --epochs many
refused 2 --epochs "$train" --epochs 0
refused 2 --batch "$train" --batch -4
refused 2 --lr "$train" --lr nan
refused 2 --model "$train" --model resnet
refused 2 --figure "$train" --model cnn --figure "$work/no.png"
refused 2 --data "$train" --data "$work/data" --fresh
refused 2 --focus "$train" --data "$work/data" --focus
refused 2 --mu-range "$train" --mu-range -0.5
refused 1 "$work/nowhere" "$train" --mnist "$work/nowhere" --out "$work/fresh"
refused 1 "$work/nowhere" "$train" --data "$work/nowhere" --out "$work/fresh"
refused 1 --save "$train" --save "$work/nowhere/net.safetensors"
refused 1 --figure "$train" --figure "$work/nowhere/look.png"
refused 2 --seed "$mnist" cluttered --seed x
refused 2 unknown "$mnist" cluttered --what
refused 2 --mnist "$mnist" digits --mnist "$work" --out "$work/data"
refused 1 "$work/nowhere" "$mnist" cluttered --mnist "$work/nowhere" --out "$work/data"
refused 2 usage "$predict"
refused 1 "$work/nowhere" "$predict" "$work/nowhere" x.png
refused 1 "$work/log.csv" "$predict" "$work/log.csv" x.png
if [ -c /dev/full ]; then
    ! "$train" --summary > /dev/full 2> /dev/null
    check 'a full standard output is a failure' $?
fi
# training pictures of another size than the test pictures'
mkdir -p "$work/other"
"$mnist" digits --out "$work/other" --train 64 --test 8 > /dev/null 2>&1
for file in images-idx3-ubyte labels-idx1-ubyte; do
    mv "$work/other/digits-train-$file" "$work/other/cluttered-train-$file"
    cp "$work/data/cluttered-t10k-$file" "$work/other"
done
refused 1 'train: 1 labels a picture of 28 x 28' "$train" --data "$work/other" --out "$work/fresh"
head -c 5000 "$work/data/cluttered-train-images-idx3-ubyte" > "$work/short"
cp "$work/short" "$work/data/cluttered-train-images-idx3-ubyte"
refused 1 cluttered-train-images "$train" --data "$work/data" --out "$work/fresh"
cmp -s "$work/short" "$work/data/cluttered-train-images-idx3-ubyte"
check 'a bad input file stays as it was' $?

# ---- the tables: seeds together, changes of the smoother apart -----------------------------
mkdir -p "$work/logs"
for seed in 1 2; do
    printf '%s\n' '# examples/lsnn_mnist --task arrow --model cnn' \
        "result task=arrow model=cnn error=$((2 * seed)).00 fresh=0" > "$work/logs/a-s$seed.txt"
done
printf '%s\n' '# examples/lsnn_mnist --task arrow --model lsnn-content --rank 2 --focus' \
    'focus task=arrow at=start share=0.1 ratio=1.10' 'focus task=arrow at=end ratio=2.50' \
    'result task=arrow model=lsnn-content error=1.50 fresh=0' > "$work/logs/b-s1.txt"
sh tools/tables.sh "$work/logs" > "$work/tables.md"
grep -qF '| arrow | cnn | 3.00 (2.00-4.00) | - | 2.05 | - | - |' "$work/tables.md" &&
    grep -qF '| arrow | lsnn-content | - | - | 1.25 | - | - |' "$work/tables.md" &&
    grep -qF '| --rank 2 | - | - | 1.50 | 1.10 > 2.50 |' "$work/tables.md"
check 'tables.sh: means and ranges of seeds, changes in a table of their own' $?

# ---- hello, with less to learn, under valgrind -------------------------------------------
if [ -n "$long" ] && command -v valgrind > /dev/null 2>&1; then
    sed 's/count = 40000/count = 96/; s/count = 2000/count = 32/; s|"../lsnn.h"|"lsnn.h"|' \
        examples/hello.c > "$work/hello_small.c"
    $CC -O1 -g -I. "$work/hello_small.c" -o "$work/hello_small" -lm
    valgrind -q --leak-check=full --errors-for-leak-kinds=all --error-exitcode=9 \
        "$work/hello_small" > "$work/valgrind.txt" 2>&1
    status=$?                        # 1: it has learned too little, as it must
    [ "$status" -le 1 ] && grep -q 'unseen digits' "$work/valgrind.txt"
    check 'valgrind finds nothing in hello' $?
    [ "$status" -le 1 ] || sed 's/^/# /' "$work/valgrind.txt"
fi
echo "1..$n"
exit $failed
