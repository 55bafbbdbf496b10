#!/bin/sh
# scale.sh - how long a step takes on P machines, by the model of docs/scale.md:
#     sh tools/scale.sh params=147146 image_us=154 batch=512
#
#   params    numbers of the net (lsnn_net_summary's last line)
#   image_us  microseconds that one rank takes for an image, forward and backward
#   batch     of all ranks together; share=16 in its place: images a rank, however many there are
#   norms     batch_norm layers               (0)
#   delay_us  of a message from rank to rank  (2: InfiniBand; 30: Ethernet)
#   gbytes    a second from rank to rank      (10: InfiniBand; 1: 10 Gbit Ethernet)
#   adds      numbers a rank adds in a nanosecond                               (2)
#   moved     part of backward in which gradients really move on                (0.5)
#   update_ns the optimizer's work on a number                                  (1)
#   real      bytes a number                                                    (4)
# Last line: where one rank more no longer makes a step shorter (of the powers of 2 shown).
awk '
function least(a, b) { return a < b ? a : b }
function most(a, b) { return a > b ? a : b }
function step(P,    rounds, k, bytes, chunk) {
    rounds = 0
    while (2 ^ rounds < P) rounds++
    images = v["share"] ? v["share"] : int((v["batch"] + P - 1) / P)
    compute = images * v["image_us"] * 1e-6
    bytes = v["params"] * v["real"]
    chunk = most(65536 * v["real"], bytes / 64)
    k = int((bytes + chunk - 1) / chunk)
    delay = v["delay_us"] * 1e-6
    small = (2 + 3 * v["norms"]) * rounds * delay
    sum = 2 * bytes / (v["gbytes"] * 1e9) + v["params"] / (v["adds"] * 1e9)
    sum = k * 2 * rounds * delay + (P - 1) / P * sum
    hidden = least(sum * (k - 1) / k, v["moved"] * compute * 2 / 3)
    return compute + small + sum - hidden + v["params"] * v["update_ns"] * 1e-9
}
BEGIN {
    v["norms"] = 0; v["delay_us"] = 2; v["gbytes"] = 10; v["adds"] = 2; v["moved"] = 0.5
    v["update_ns"] = 1; v["real"] = 4; v["params"] = v["image_us"] = v["batch"] = v["share"] = 0
    for (i = 1; i < ARGC; i++) {
        n = split(ARGV[i], word, "=")
        if (n != 2 || !(word[1] in v) || word[2] !~ /^[0-9.]+$/) {
            print "scale: " ARGV[i] " is no NAME=NUMBER that is known" > "/dev/stderr"
            exit 2
        }
        v[word[1]] = word[2] + 0
    }
    if (!v["params"] || !v["image_us"] || !v["batch"] == !v["share"]) {
        print "scale: needs params=, image_us=, and batch= or share=" > "/dev/stderr"
        exit 2
    }
    print " ranks  images  step ms  compute    sums   shown   images/s  speed-up  efficiency"
    best = 1
    for (P = 1; P <= 1024 && (v["share"] || P <= v["batch"]); P *= 2) {
        t = step(P)
        rate = (v["share"] ? v["share"] * P : v["batch"]) / t
        if (P == 1) first = rate
        if (P > 1 && rate > fastest) best = P
        fastest = most(rate, fastest)
        printf "%6d  %6d %8.3f %8.3f %7.3f %7.3f %10.0f %9.2f %10.0f%%\n", P, images, t * 1e3,
            compute * 1e3, (small + sum) * 1e3, (small + sum - hidden) * 1e3, rate,
            rate / first, 100 * rate / first / P
    }
    printf "fastest=%d\n", best
}' "$@"
