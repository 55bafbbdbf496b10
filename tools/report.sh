#!/bin/sh
# report.sh - RESULTS.md, its logs and its figures as one page:
#     sh tools/report.sh > out/report.html       (make report does that)
#
# The page needs nothing but itself: curves are drawn from results/*.csv, figures are in it,
# there is no script. Runs are those of results/*.txt, each with its command.
cd "$(dirname "$0")/.." || exit 1

cat << 'END'
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>lsnn: results</title>
<style>
body { max-width: 72rem; margin: 0 auto; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif;
       color: #1a1a1a; background: #fff; }
h1, h2, h3 { line-height: 1.2; margin: 2rem 0 .6rem; }
h2 { border-bottom: 1px solid #999; }
p, li { max-width: 46rem; }
code { font-size: .9em; background: #f0f0f0; overflow-wrap: anywhere; }
pre { background: #f0f0f0; padding: .6rem; overflow-x: auto; }
pre code, td code { overflow-wrap: normal; }
td { min-width: 3rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .25rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid #bbb; }
th { border-bottom: 2px solid #444; }
img { max-width: 100%; height: auto; }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: 1rem; }
figure { margin: 0; break-inside: avoid; }
figcaption { font-size: .85rem; overflow-wrap: anywhere; }
svg { width: 100%; height: auto; }
svg text { font: 11px system-ui, sans-serif; fill: #333; }
nav li { display: inline-block; margin-right: 1.2rem; }
nav ul { padding: 0; }
a { color: #0645ad; }
@media print { nav { display: none; } body { max-width: none; font-size: 9pt; } .wide { overflow: visible; }
               table { font-size: 7pt; } pre { white-space: pre-wrap; }
               td code { overflow-wrap: anywhere; } }
</style>
</head>
<body>
END

# ---- Contents: RESULTS.md's chapters, and those of this page ---------------------------------
{ sed -n 's/^## //p' RESULTS.md; printf '%s\n' Curves Runs Figures; } | awk '
    BEGIN { print "<nav aria-label=\"Contents\"><ul>" }
    { id = tolower($0); gsub(/[^a-z0-9 _-]/, "", id); gsub(/ /, "-", id)
      print "<li><a href=\"#" id "\">" $0 "</a></li>" }
    END { print "</ul></nav>\n<main>" }'

# ---- RESULTS.md: headings, paragraphs, lists, tables, pictures -----------------------------
awk '
function safe(s) { gsub(/&/, "\\&amp;", s); gsub(/</, "\\&lt;", s); gsub(/>/, "\\&gt;", s); return s }
# **bold** and *slanted*, in what is no code
function marks(s,    out, word) {
    while (match(s, /\*\*[^*]+\*\*|\*[^* ][^*]*\*/)) {
        word = substr(s, RSTART, RLENGTH)
        out = out substr(s, 1, RSTART - 1)
        s = substr(s, RSTART + RLENGTH)
        if (word ~ /^\*\*/) out = out "<strong>" substr(word, 3, length(word) - 4) "</strong>"
        else out = out "<em>" substr(word, 2, length(word) - 2) "</em>"
    }
    return out s
}
# ![text](file) and [text](address)
function links(s,    out, word, text, to, picture, before) {
    while (match(s, /!?\[[^]]*\]\([^)]*\)/)) {
        word = substr(s, RSTART, RLENGTH)
        before = substr(s, 1, RSTART - 1)
        s = substr(s, RSTART + RLENGTH)
        out = out marks(before)                        # has a match of its own
        picture = sub(/^!/, "", word)
        text = to = word
        sub(/\].*/, "", text); text = substr(text, 2)
        sub(/.*\]\(/, "", to); sub(/\)$/, "", to); gsub(/"/, "\\&quot;", to)
        if (picture) out = out "<em>" text "</em>"             # the figures come below
        else if (to ~ /^(https?:|#)/) out = out "<a href=\"" to "\">" text "</a>"
        else out = out text
    }
    return out marks(s)
}
# what a heading is called in an address
function anchor(s) { s = tolower(s); gsub(/[^a-z0-9 _-]/, "", s); gsub(/ /, "-", s); return s }
function line(s,    n, i, part, out) {
    n = split(safe(s), part, "`")
    for (i = 1; i <= n; i++)
        out = out (i % 2 == 0 && i < n ? "<code>" part[i] "</code>" : links(part[i]))
    return out
}
function flush() {
    if (text != "") print "<" kind ">" line(text) "</" kind ">"
    text = ""
}
function close_all() {
    flush()
    if (list) print "</ul>"
    if (table) print "</tbody></table></div>"
    list = table = 0
}
/^```/ { close_all(); code = !code; print code ? "<pre><code>" : "</code></pre>"; next }
code { print safe($0); next }
/^ *$/ { close_all(); next }
/^#+ / { close_all(); level = index($0, " ") - 1
         print "<h" level " id=\"" anchor(substr($0, level + 2)) "\">" line(substr($0, level + 2)) \
               "</h" level ">"; next }
/^\|[-:| ]+\|$/ { next }
/^\|/ {
    flush()
    s = $0
    gsub(/\\\|/, "\001", s)
    cells = split(s, cell, "|")
    tag = table ? "td" : "th"
    if (!table) print "<div class=\"wide\"><table><thead>"
    printf "<tr>"
    for (i = 2; i < cells; i++) {
        gsub(/\001/, "|", cell[i]); gsub(/^ +| +$/, "", cell[i])
        printf "<%s>%s</%s>", tag (table ? "" : " scope=\"col\""), line(cell[i]), tag
    }
    print "</tr>"
    if (!table) print "</thead><tbody>"
    table = 1
    next
}
/^- / { flush(); if (!list) print "<ul>"; list = 1; kind = "li"; text = substr($0, 3); next }
{ if (text == "") { if (list && /^[^ ]/) close_all(); kind = "p" } text = text (text == "" ? "" : " ") $0 }
END { close_all() }' RESULTS.md

# ---- Curves: a picture a cell, a line a seed ------------------------------------------------
echo '<h2 id="curves">Curves</h2>'
echo '<p>Training error in % after each epoch, a line a seed; dashed: on held-out images. All on one scale, by powers of ten.</p>'
echo '<div class="curves">'
ls results/*.csv | awk '
# 100 % at 10, 0.1 % and less at 110
function height(y) { return y <= 0.1 ? 110 : 10 + (log(100) - log(y)) / log(1000) * 100 }
function points(seed, column,    i, s, y) {
    for (i = 1; i <= rows[seed]; i++) {
        y = value[seed, i, column]
        if (y == "") continue
        s = s sprintf("%.1f,%.1f ", 34 + 240 * value[seed, i, 1] / last, height(y))
    }
    return s
}
function draw(    i, s, y) {
    if (!seeds || !last) return
    print "<figure><svg viewBox=\"0 0 280 130\" role=\"img\" aria-label=\"error of " name \
          ", over " last " epochs\">"
    print "<path d=\"M34 10V110H274\" fill=\"none\" stroke=\"#444\"/>"
    for (y = 100; y > 0.05; y /= 10)
        printf "<text x=\"30\" y=\"%.1f\" text-anchor=\"end\">%g</text>" \
               "<path d=\"M34 %.1fH274\" stroke=\"#ccc\"/>", height(y) + 4, y, height(y)
    printf "<text x=\"274\" y=\"126\" text-anchor=\"end\">epoch %d</text>\n", last
    for (i = 1; i <= seeds; i++) {
        if ((s = points(i, 5)) != "")
            print "<polyline fill=\"none\" stroke=\"" colour[i] "\" stroke-width=\"1.5\" points=\"" s "\"/>"
        if ((s = points(i, 7)) != "")
            print "<polyline fill=\"none\" stroke=\"" colour[i] "\" stroke-dasharray=\"4 2\" points=\"" s "\"/>"
    }
    print "</svg><figcaption>" name "</figcaption></figure>"
}
BEGIN { split("#1f4e9c #b3361b #1d7a3a", colour, " ") }
{
    this = $0
    sub(/^results\//, "", this); sub(/\.csv$/, "", this); sub(/-s[0-9]+$/, "", this)
    if (this != name) { draw(); seeds = last = 0; name = this }
    if (seeds == 3) next
    rows[++seeds] = 0
    while ((getline text < $0) > 0) {
        if (split(text, field, ",") < 7 || field[1] !~ /^[0-9]+$/) continue
        rows[seeds]++
        for (i = 1; i <= 7; i++) value[seeds, rows[seeds], i] = field[i]
        if (field[1] > last) last = field[1] + 0
    }
    close($0)
}
END { draw() }'
echo '</div>'

# ---- Runs: what each log says of itself ------------------------------------------------------
echo '<h2 id="runs">Runs</h2>'
echo '<div class="wide"><table><thead><tr><th scope="col">log</th><th scope="col">command</th><th scope="col">error, %</th><th scope="col">commit</th><th scope="col">machine</th><th scope="col">date</th></tr></thead><tbody>'
for log in results/*-s[0-9]*.txt; do
    awk -v name="$(basename "$log" .txt)" '
    function safe(s) { gsub(/&/, "\\&amp;", s); gsub(/</, "\\&lt;", s); gsub(/>/, "\\&gt;", s); return s }
    /^# (examples|tools)\// && command == "" { command = substr($0, 3) }
    /^# commit / { commit = $3 }
    /^# [0-9-]+$/ { date = $2 }
    /^# .* cores/ { machine = substr($0, 3) }
    /^result / { for (i = 1; i <= NF; i++) if ($i ~ /^error=/) error = substr($i, 7) }
    END {
        print "<tr><td>" safe(name) "</td><td><code>" safe(command) "</code></td><td>" safe(error) \
              "</td><td>" safe(commit) "</td><td>" safe(machine) "</td><td>" safe(date) "</td></tr>"
    }' "$log"
done
echo '</tbody></table></div>'

# A figure's text is the one that README.md or a page of docs/ shows it with.
echo '<h2 id="figures">Figures</h2>'
for figure in docs/*.png; do
    name=$(basename "$figure")
    text=$(sed -n "s|^!\[\(.*\)\](\(docs/\)\{0,1\}$name)\$|\1|p" README.md docs/*.md | head -n 1 |
        sed 's/&/\&amp;/g; s/</\&lt;/g; s/"/\&quot;/g')
    printf '<figure><img alt="%s" src="data:image/png;base64,' "${text:-$name}"
    base64 < "$figure" | tr -d '\n'
    printf '"><figcaption>%s (%s)</figcaption></figure>\n' "${text:-no text}" "$name"
done
printf '</main>\n</body>\n</html>\n'
