#!/bin/sh
# test_pages.sh - make report's page is whole, and the model of docs/scale.md says what the page
# prints. TAP.
cd "$(dirname "$0")/.." || exit 1
work=${TEST_TMP:-build/pages.tmp}
. tests/programs.sh
page=$work/report.html

sh tools/report.sh > "$page" 2> "$work/said" && [ ! -s "$work/said" ]
check 'the report is made, without a word on stderr' $?
# Each tag that is opened is closed, in order, but for those that have no end; an attribute has
# its quotes.
awk '
    BEGIN { RS = "<" }
    NR == 1 { next }
    {
        end = index($0, ">")
        if (!end) { print "# no end: <" substr($0, 1, 60); bad = 1; next }
        tag = substr($0, 1, end - 1)
        name = tag
        sub(/[ \n].*/, "", name)
        if (gsub(/"/, "\"", tag) % 2) { print "# quotes: " substr(tag, 1, 60); bad = 1 }
        if (tag ~ /^!|\/$/ || name ~ /^(meta|img|br)$/) next
        if (name !~ /^\//) { open[++depth] = name; next }
        if (open[depth] != substr(name, 2)) {
            print "# " name " after " open[depth]
            bad = 1
        }
        depth--
    }
    END { exit bad || depth != 0 }' "$page"
check 'its tags are closed in order' $?
! grep -qE '<script|<link|<iframe|(src|srcset)="http|@import|url\(' "$page"
check 'it loads nothing and runs nothing' $?
[ "$(grep -c 'src="data:image/png;base64,iVBOR' "$page")" -eq "$(find docs -maxdepth 1 -name '*.png' | wc -l)" ]
check 'all figures of docs/ are in it' $?
! grep -q '<figcaption>no text' "$page"
check 'and each has its text' $?
# every address within the page leads somewhere
grep -oE 'href="#[^"]*"' "$page" | sed 's/href="#//; s/"//' | sort -u > "$work/to"
grep -oE ' id="[^"]*"' "$page" | sed 's/ id="//; s/"//' | sort > "$work/at"
[ "$(wc -l < "$work/to")" -gt 5 ] && [ -z "$(sort -u "$work/at" | comm -23 "$work/to" -)" ] &&
    [ -z "$(uniq -d "$work/at")" ]
check 'its contents lead to its chapters' $?
cells=$(for log in $(grep -l '^epoch,' results/*.csv); do
            name=$(basename "$log" .csv)
            echo "${name%-s[0-9]*}"
        done | sort -u | wc -l)
[ "$(grep -c '<svg ' "$page")" -eq "$cells" ] && [ "$(grep -c '<polyline' "$page")" -ge "$cells" ]
check 'a curve of each cell' $?
[ "$(grep -c '<tr><td>.*</td><td><code>examples/' "$page")" -ge "$cells" ]
check 'and the command of each run' $?
! grep -qE 'points="[^"]*(nan|inf)' "$page"
check 'no curve leaves the numbers' $?
# headings go down by one at most
grep -oE '<h[1-6][ >]' "$page" | awk '{ l = substr($0, 3, 1) + 0; if (l > last + 1) bad = 1; last = l }
                                     END { exit bad || NR < 5 }'
check 'headings are in order' $?

# ---- The model -----------------------------------------------------------------------------
sh tools/scale.sh params=147146 image_us=154 batch=16384 > "$work/model"
while read -r line; do
    grep -qF -e "$line" docs/scale.md || echo "$line"
done < "$work/model" > "$work/missing"
[ "$(wc -l < "$work/model")" -eq 13 ] && [ "$(grep -vc '^fastest' "$work/missing")" -eq 0 ]
check "docs/scale.md has the model's table" $?
# by hand: 1 rank: 10 images of 1 ms and 1e6 numbers of 1 ns; 2 ranks: 5 ms, 2 sums of a delay of
# 1 ms, 16 chunks of 2 delays, 4e6 bytes at 1e9 a second, 5e5 additions at 1e9; nothing hidden
sh tools/scale.sh params=1000000 image_us=1000 batch=10 delay_us=1000 gbytes=1 adds=1 moved=0 \
    > "$work/hand"
awk '$1 == 1 && $3 == "11.000" { one = 1 } $1 == 2 && $3 == "44.500" { two = 1 }
     END { exit !(one && two) }' "$work/hand"
check 'the model, worked out by hand' $?
sh tools/scale.sh params=10 image_us=1 nonsense=1 2> "$work/said"
[ $? -eq 2 ] && grep -q 'nonsense=1' "$work/said"
check 'a wrong word is refused' $?
echo "1..$n"
exit "$failed"
