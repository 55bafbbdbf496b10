#!/bin/sh
# run.sh MNIST - the main job, called by `make run`: draws the cluttered data set, trains the
# three networks for the same number of epochs, prints the table and draws the figures.
# MNIST is the folder of its four files; empty: the built-in digits take its place.
# EPOCHS=5 takes about two minutes on two cores. All it writes is in out/run (the data set in
# data/run); what an earlier run left there is kept as out/run.1, out/run.2, ...
cd "$(dirname "$0")/.." || exit 1
mnist=$1
epochs=${EPOCHS:-5}
out=out/run
data=data/run
if [ -n "$(ls $out/*.safetensors 2> /dev/null)" ]; then
    k=1
    while [ -e $out.$k ]; do k=$((k + 1)); done
    mv $out $out.$k || exit 1
    echo "lsnn: what an earlier run left is kept as $out.$k"
fi
mkdir -p $out || exit 1
if [ -n "$mnist" ]; then
    source="MNIST in $mnist"
else
    source="the built-in digits (MNIST could not be had)"
fi
echo "lsnn: cluttered digits from $source, $epochs epochs a network"
tools/gen_data cluttered ${mnist:+--mnist "$mnist"} --out $data --preview $out/cluttered.png ||
    tools/gen_data cluttered ${mnist:+--mnist "$mnist"} --out $data || exit 1

for model in cnn lsnn-location lsnn-content; do
    echo "lsnn: training $model"
    figure=
    case $model in lsnn-*) figure="--figure $out/figure6-$model.png" ;; esac
    # shellcheck disable=SC2086
    examples/lsnn_mnist --task cluttered --model $model --data $data --out $out --epochs "$epochs" \
        --holdout 5000 --log $out/$model.csv --overwrite $figure > $out/$model.txt
    status=$?
    [ $status -eq 0 ] || exit $status
    tail -n 1 $out/$model.txt
done
tools/plot --out $out/curves.png $out/cnn.csv $out/lsnn-location.csv $out/lsnn-content.csv ||
    echo "lsnn: no curves"

field() {                            # value of NAME= in a result line
    printf '%s\n' "$2" | tr ' ' '\n' | sed -n "s/^$1=//p"
}
full_run() {                         # the error of RESULTS.md's run, from results/
    line=$(grep -h "^result " "results/cluttered-$1-fixed-s1.txt" 2> /dev/null)
    [ -n "$line" ] && echo "$(field error "$line") ($(field epochs "$line") epochs)"
}
paper() {
    case $1 in cnn) echo 3.88 ;; lsnn-location) echo 3.08 ;; lsnn-content) echo 2.89 ;; esac
}
echo
echo "Error on the 10,000 test images of cluttered translated digits, %"
printf '%-16s %-18s %-22s %-8s %s\n' network 'this run' 'full run (RESULTS.md)' paper 'images/s'
for model in cnn lsnn-location lsnn-content; do
    line=$(tail -n 1 $out/$model.txt)
    full=$(full_run $model)
    printf '%-16s %-18s %-22s %-8s %s\n' $model "$(field error "$line") ($epochs epochs)" \
        "${full:--}" "$(paper $model)" "$(field images_per_s "$line")"
done
echo "(This run keeps 5,000 of the training images to watch; the full run learns from all.)"
[ -n "$mnist" ] || echo "The paper's and the full run's digits are MNIST's, these are the built-in ones."
echo
echo "Pictures, where PNG could be written:"
for f in cluttered figure6-lsnn-location figure6-lsnn-content curves; do
    [ -f $out/$f.png ] && echo "  $out/$f.png"
done
exit 0
