#!/bin/sh
# tables.sh - prints RESULTS.md's tables of the LSNN paper from the logs in results/.
#
# Error in %, mean (lowest to highest) of the seeds there are, and for smoothed models the
# focus before and after training (means, too); what trained smoothers look at; the ablation.
# `make results` ends with it; sh tools/tables.sh [FOLDER].
cd "$(dirname "$0")/.." || exit 1

cat "${1:-results}"/*-s[0-9]*.txt 2> /dev/null | awk '
function of(key,    i) {                       # the value behind key= on this line
    for (i = 1; i <= NF; i++) if (index($i, key "=") == 1) return substr($i, length(key) + 2)
    return ""
}
function cell(k,    text) {
    if (!n[k]) return "-"
    text = sprintf("%.2f", sum[k] / n[k])
    if (n[k] > 1) text = text sprintf(" (%.2f-%.2f)", low[k], high[k])
    if (whole[k] != "") text = text sprintf(" / %.2f", whole[k] / n[k])
    return text
}
function look(k) {
    if (!ends[k]) return "-"
    return (starts[k] ? sprintf("%.2f", before[k] / starts[k]) : "-") " > " \
           sprintf("%.2f", after[k] / ends[k])
}
# examples/lsnn_mnist FLAGS: one with a change to the smoother goes to the ablation
/^# examples\/lsnn_mnist/ {
    change = ""
    regime = / --fresh/ ? "fresh" : "fixed"
    for (i = 3; i <= NF; i++)
        if ($i ~ /^--(separable|bias|normalise|alpha-start|mu-range|param-lr|rank|mixture)$/)
            change = substr($i, 3) " " $(i + 1)
    start = end = ""
}
/^focus .*at=start/ && of("digit") == "" { start = of("ratio") }
/^focus .*at=end/ && of("digit") == "" {
    end = of("ratio")
    if (change == "" && of("next") != "") {
        k = of("task") "," of("model") "," regime ","
        looks[k]++
        own[k] += end
        others[k] += of("others")
        following[k] += of("next")
    }
}
/^result / {
    k = of("task") "," of("model") "," (of("fresh") == 1 ? "fresh" : "fixed") "," change
    e = of("error") + 0
    if (!n[k] || e < low[k]) low[k] = e
    if (!n[k] || e > high[k]) high[k] = e
    n[k]++
    sum[k] += e
    if (of("whole_error") != "") whole[k] += of("whole_error")
    if (start != "") { starts[k]++; before[k] += start }
    if (end != "") { ends[k]++; after[k] += end }
    if (change != "" && !(change in known)) { known[change] = 1; changes[++many] = change }
    end = ""
}
END {
    split("cluttered arrow rectangle sequence", task, " ")
    split("cnn lc lsnn-location lsnn-content", model, " ")
    split("3.88 9.54 3.08 2.89 2.05 2.53 1.60 1.25 6.25 13.76 4.02 3.33 23.97 13.5 9.98 6.18",
          paper, " ")
    print "| task | model | fixed | fresh | paper | focus, fixed | focus, fresh |"
    print "|---|---|---|---|---|---|---|"
    for (t = 1; t <= 4; t++)
        for (m = 1; m <= 4; m++) {
            a = task[t] "," model[m] ",fixed,"
            b = task[t] "," model[m] ",fresh,"
            printf "| %s | %s | %s | %s | %s | %s | %s |\n", task[t], model[m], cell(a), cell(b),
                   paper[4 * (t - 1) + m], look(a), look(b)
        }
    print ""
    print "| trained smoothers | regime | seeds | own digit | other digits | own, next image |"
    print "|---|---|---|---|---|---|"
    for (t = 1; t <= 4; t++)
        for (m = 3; m <= 4; m++)
            for (i = 0; i < 2; i++) {
                k = task[t] "," model[m] "," (i ? "fresh" : "fixed") ","
                if (!looks[k]) continue
                printf "| %s, %s | %s | %d | %.2f | %s | %.2f |\n", task[t], model[m],
                       (i ? "fresh" : "fixed"), looks[k], own[k] / looks[k],
                       (others[k] ? sprintf("%.2f", others[k] / looks[k]) : "-"),
                       following[k] / looks[k]
            }
    if (!many) exit
    print ""
    print "| change to lsnn-content | cluttered | focus | arrow | focus |"
    print "|---|---|---|---|---|"
    changes[0] = ""
    for (i = 0; i <= many; i++) {
        a = "cluttered,lsnn-content,fixed," changes[i]
        b = "arrow,lsnn-content,fixed," changes[i]
        printf "| %s | %s | %s | %s | %s |\n", (i ? "--" changes[i] : "none"), cell(a),
               look(a), cell(b), look(b)
    }
}'
