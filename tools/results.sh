#!/bin/sh
# results.sh - the queue behind RESULTS.md: runs the cells that are still missing, in order.
#
# A cell is one training: its stdout goes to results/CELL.txt (command, commit, machine and
# date on top), its epochs to results/CELL.csv. A cell that was interrupted goes on from its
# checkpoint in build/. What has a log is not run; OUT=again runs it once more, with logs and
# checkpoints in the folder `again`. CELLS=1 make results runs one cell and stops;
# ONLY='arrow-*' only those whose names match.
cd "$(dirname "$0")/.." || exit 1
mnist=$(sh tools/get_mnist.sh) || { echo "results: needs MNIST"; exit 1; }
results=${OUT:-results}
work=${OUT:-build}
mkdir -p "$work" "$results" || exit 1
left=${CELLS:-1000}

machine() {
    cpu=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2> /dev/null | head -n 1)
    echo "${cpu:-$(uname -m)}, $(getconf _NPROCESSORS_ONLN) cores, $(${CC:-cc} --version | head -n 1)"
}

# shellcheck disable=SC2254
wanted() { case $1 in ${ONLY:-*}) ;; *) return 1 ;; esac; }

# cell_of PROGRAM NAME FLAGS...: one run of examples/PROGRAM
cell_of() {
    program=$1
    name=$2
    shift 2
    [ -f "$results/$name.txt" ] && return
    wanted "$name" || return
    [ "$left" -gt 0 ] || return
    left=$((left - 1))
    checkpoint=$work/$name.safetensors
    part=$work/$name.part            # of the log, until the cell is done
    resume=
    [ -f "$checkpoint" ] && [ -f "$part" ] && resume=$checkpoint
    case "$*" in *lsnn-*) set -- "$@" --focus ;; esac    # before training, too
    echo "results: $name: $program $*"
    commit=$(git rev-parse --short HEAD 2> /dev/null || echo unknown)
    if [ -n "$resume" ]; then
        echo "# went on at commit $commit, $(date -u +%Y-%m-%d)" >> "$part"
    else
        {
            echo "# examples/$program $*" | sed 's| --data [^ ]*| --data DIR|'
            echo "# commit $commit"
            echo "# $(machine)"
            echo "# $(date -u +%Y-%m-%d)"
        } > "$part"
    fi
    # what is there without its log was left by a cell that is run again
    if [ -n "$resume" ]; then set -- "$@" --resume "$resume"; else set -- "$@" --overwrite; fi
    if "examples/$program" "$@" --mnist "$mnist" --save "$checkpoint" \
        --log "$results/$name.csv" >> "$part"; then
        mv "$part" "$results/$name.txt"
        tail -n 1 "$results/$name.txt"
    else
        status=$?
        echo "results: $name ended with status $status; run it again to go on"
        exit $status
    fi
}
cell() { cell_of lsnn_mnist "$@"; }

# ---- Signals: three minutes in all. One file, a result line a run; CELLS counts it as one.
if [ ! -f "$results/signals.txt" ] && wanted signals && [ "$left" -gt 0 ]; then
    left=$((left - 1))
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
    } > "$work/signals.part" || exit 1
    mv "$work/signals.part" "$results/signals.txt"
fi
# ---- LSNN Tables 1 to 3, one seed of every cell before the second of any. Fixed regime:
# ---- 60,000 images drawn once; fresh: drawn anew in each epoch, where weight decay only costs and
# ---- padding (larger maps, twice the parameters) and larger kernels help.
# ---- Rates, kernels and the smoothers' start were chosen on 5,000 held-out training images,
# ---- the numbers of epochs by the time there was (RESULTS.md).
tasks="cluttered arrow rectangle sequence"
models="lsnn-content cnn lsnn-location lc"
for task in $tasks; do
    for model in $models; do
        cell "$task-$model-fixed-s1" --task "$task" --model "$model" --epochs 15 --seed 1
    done
done
for model in $models; do             # cluttered needs the longest; lc is far behind anyway
    for task in $tasks; do
        case $task-$model in
            cluttered-lc|arrow-*) epochs=40 ;;
            cluttered-*) epochs=150 ;;
            *) epochs=20 ;;
        esac
        cell "$task-$model-fresh-s1" --task "$task" --model "$model" --epochs $epochs --seed 1 \
            --fresh --padding same --kernel2 7 --lr 0.03 --weight-decay 0.00001
    done
done
# ---- The smoother's ablation: one thing changed at a time, seed 1, fixed regime.
for task in cluttered arrow; do
    for change in 'separable 1' 'bias inside' 'normalise none' 'normalise sum' 'alpha-start 1.5' \
        'mu-range 0.3' 'param-lr 0.3' 'param-lr 0.1' 'rank 2' 'rank 4' 'mixture 2' 'mixture 3'; do
        # shellcheck disable=SC2086
        cell "$task-content-$(echo "$change" | tr ' ' '-')-s1" --task "$task" \
            --model lsnn-content --epochs 15 --seed 1 --$change
    done
done
for seed in 2 3; do
    for task in cluttered arrow rectangle; do
        for model in $models; do
            cell "$task-$model-fixed-s$seed" --task $task --model "$model" --epochs 15 --seed $seed
        done
    done
done
# ---- The lecture's networks on MNIST.
for seed in 1 2 3; do
    for model in convnet lenet5-modern mlp lenet5; do
        cell_of convnet "lecture-$model-s$seed" --model $model --epochs 20 --seed $seed
    done
done
# ---- Where does place matter? GTSRB's signs, in the middle of their pictures, and digits at any
# ---- place. GTSRB=FOLDER holds gtsrb32_train.bin and gtsrb32_test.bin; without, no signs.
for seed in 1 2 3; do
    for model in conv local lowrank lsnn deepface; do
        [ -z "${GTSRB:-}" ] || cell_of locally_connected "local-signs-$model-s$seed" --task signs \
            --model $model --epochs 10 --seed $seed --data "$GTSRB"
    done
    for model in lowrank deepface; do      # the others are Table 1's cnn, lc, lsnn-location
        cell_of locally_connected "local-cluttered-$model-s$seed" --task cluttered --model $model \
            --epochs 15 --seed $seed
    done
done
# ---- TKN Tables 2 and 3. As in the paper, but for the epoch: chosen on 5,000 training images that
# ---- are held out.
tkn_cell() { name=$1; shift; cell_of tkn "tkn-$name" "$@"; }
for seed in 1 2 3; do
    tkn_cell "mnist-dn10-s$seed" --task mnist --model dn10 --seed $seed
    tkn_cell "mnist-tdn10-cauchy-s$seed" --task mnist --model tdn10 --attention cauchy --beta 4 \
        --seed $seed
    tkn_cell "mnist-tdn10-gaussian-s$seed" --task mnist --model tdn10 --attention gaussian \
        --beta 2 --seed $seed
done
# ---- tlMNIST's pictures are four times as large: half the epochs first, of each network, for what
# ---- can be had of its table in an afternoon.
tkn_cell tlmnist-tdn10-cauchy-short-s1 --task tlmnist --model tdn10 --attention cauchy --beta 2 \
    --epochs 10 --seed 1
tkn_cell tlmnist-dn10-short-s1 --task tlmnist --model dn10 --epochs 10 --seed 1
for seed in 1 2 3; do
    for attention in cauchy gaussian; do
        tkn_cell "tlmnist-tdn10-$attention-s$seed" --task tlmnist --model tdn10 \
            --attention $attention --beta 2 --seed $seed
    done
    tkn_cell "tlmnist-dn10-s$seed" --task tlmnist --model dn10 --seed $seed
done
tkn_cell mnist-tkn6-cauchy-s1 --task mnist --model tkn6 --attention cauchy --beta 4 --seed 1
tkn_cell mnist-tkn6-gaussian-s1 --task mnist --model tkn6 --attention gaussian --beta 2 --seed 1
tkn_cell mnist-cnn6-s1 --task mnist --model cnn6 --seed 1

sh tools/tables.sh "$results"
