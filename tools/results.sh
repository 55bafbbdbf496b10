#!/bin/sh
# results.sh - the queue behind RESULTS.md: runs the cells that are still missing, in order.
#
# A cell is one training: its stdout goes to results/CELL.txt (command, commit, machine and
# date on top), its epochs to results/CELL.csv. A cell that was interrupted goes on from its
# checkpoint in build/. CELLS=1 make results runs one cell and stops.
cd "$(dirname "$0")/.." || exit 1
mnist=$(sh tools/get_mnist.sh) || { echo "results: needs MNIST"; exit 1; }
mkdir -p build results
left=${CELLS:-1000}

machine() {
    cpu=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2> /dev/null | head -n 1)
    echo "${cpu:-$(uname -m)}, $(getconf _NPROCESSORS_ONLN) cores, $(${CC:-cc} --version | head -n 1)"
}

# cell NAME FLAGS...: one run of examples/lsnn_mnist
cell() {
    name=$1
    shift
    [ -f "results/$name.txt" ] && return
    [ "$left" -gt 0 ] || return
    left=$((left - 1))
    checkpoint=build/$name.safetensors
    resume=
    [ -f "$checkpoint" ] && resume="--resume $checkpoint"
    echo "results: $name: lsnn_mnist $*"
    {
        echo "# examples/lsnn_mnist $*"
        echo "# commit $(git rev-parse --short HEAD 2> /dev/null || echo unknown)"
        echo "# $(machine)"
        echo "# $(date -u +%Y-%m-%d)"
    } > "build/$name.txt"
    # shellcheck disable=SC2086
    if examples/lsnn_mnist "$@" --mnist "$mnist" --save "$checkpoint" $resume \
        --log "results/$name.csv" >> "build/$name.txt"; then
        mv "build/$name.txt" "results/$name.txt"
        tail -n 1 "results/$name.txt"
    else
        status=$?
        echo "results: $name ended with status $status; run it again to go on"
        exit $status
    fi
}

# ---- Signals: a minute or two in all. One file, a result line a run.
if [ ! -f results/signals.txt ]; then
    {
        echo "# examples/lsnn_1d --task TASK --model MODEL --mixture M --seed S"
        echo "# commit $(git rev-parse --short HEAD 2> /dev/null || echo unknown)"
        echo "# $(machine)"
        echo "# $(date -u +%Y-%m-%d)"
        for seed in 1 2 3 4 5; do
            for task in place pointer ends; do
                for model in cnn lsnn-location lsnn-content; do
                    examples/lsnn_1d --task $task --model $model --seed $seed --quiet || exit 1
                done
            done
            for mixture in 2 3; do
                echo "# --mixture $mixture"
                examples/lsnn_1d --task ends --model lsnn-location --mixture $mixture \
                    --seed $seed --quiet || exit 1
            done
        done
    } > build/signals.txt || exit 1
    mv build/signals.txt results/signals.txt
fi
# ---- LSNN Tables 1 to 3, one seed of every cell before the second of any. Fixed regime:
# ---- 60,000 images drawn once; fresh: drawn anew in each epoch. Epochs and learning rate
# ---- were chosen on 5,000 held-out training images.
tasks="cluttered arrow rectangle sequence"
for task in $tasks; do
    for model in lsnn-content cnn lsnn-location lc; do
        cell "$task-$model-fixed-s1" --task "$task" --model $model --epochs 15 --seed 1
    done
done
for task in $tasks; do
    for model in lsnn-content cnn lsnn-location lc; do
        cell "$task-$model-fresh-s1" --task "$task" --model $model --epochs 15 --seed 1 --fresh
    done
done
# ---- Four times as many new pictures.
for task in $tasks; do
    for model in lsnn-content cnn; do
        cell "$task-$model-fresh60-s1" --task "$task" --model $model --epochs 60 --seed 1 --fresh
    done
done
for seed in 2 3; do
    for task in cluttered arrow rectangle; do
        for model in lsnn-content cnn lsnn-location lc; do
            cell "$task-$model-fixed-s$seed" --task $task --model $model --epochs 15 --seed $seed
        done
    done
done
