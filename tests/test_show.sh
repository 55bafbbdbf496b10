#!/bin/sh
# test_show.sh - tools/show on files written here byte by byte: what it lists, what it finds
# different, and its exit status. TAP.
cd "$(dirname "$0")/.." || exit 1
work=${TEST_TMP:-build/show.tmp}
. tests/programs.sh
compile tools/show.c "$work/show" -O1
check 'it compiles' $?
cd "$work" || exit 1
work=.

# safetensors FILE HEADER BYTES: the header is padded to 200 bytes
safetensors() { printf '\310\0\0\0\0\0\0\0%-200s%b' "$2" "$3" > "$1"; }
# npy FILE DESCR SHAPE BYTES
npy() { printf '\223NUMPY\1\0v\0%-117s\n%b' "{'descr': '$2', 'fortran_order': False, 'shape': $3, }" "$4" > "$1"; }

one='\0\0\0200\077'                  # floats: 1, 2, -3, NaN
two='\0\0\0\0100'
minus3='\0\0\0100\0300'
nan='\0\0\0300\0177'
eight='\01\0\0\0\0\0\0\0'
floats='"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}'
whole='"n":{"dtype":"I64","shape":[],"data_offsets":[16,24]}'
meta='"__metadata__":{"who":"me","graph":"a\nb"}'
safetensors a.st "{$meta,$floats,$whole}" "$one$two$minus3$nan$eight"
safetensors again.st "{$floats,$whole}" "$one$two$minus3$nan$eight"
safetensors other.st "{$floats,$whole}" "$one$one$minus3$nan$eight"
safetensors nan.st "{$floats,$whole}" "$one$two$nan$nan$eight"
safetensors shape.st '{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},'"$whole}" "$one$two$minus3$nan$eight"
safetensors type.st "{$floats,$(echo "$whole" | sed 's/I64/U64/')}" "$one$two$minus3$nan$eight"
safetensors less.st '{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}' "$one"
safetensors meta.st "{$(printf %s "$meta" | sed 's/"me"/"you"/'),$floats,$whole}" "$one$two$minus3$nan$eight"
npy w.npy '<f4' '(2, 2)' "$one$two$minus3$nan"
npy half.npy '<f2' '(2, 2)' '\0\074\0\0100\0\0302\0\0176'
npy integers.npy '<i8' '(1,)' "$eight"
printf '\0\0\010\01\0\0\0\03\01\02\011' > bytes.idx
printf '\0\0\010\01\0\0\0\03\01\02' > short.idx
printf 'a,b\n1,2\n' > words.csv

# says STATUS TEXT ARGUMENT...: ends so, and one line of what it prints is TEXT but for spaces
says() {
    want=$1
    text=$2
    shift 2
    ./show "$@" > out 2>&1 < /dev/null
    status=$?
    [ "$status" -eq "$want" ] && sed 's/  */ /g; s/^ //' out | grep -qxF -e "$text"
    good=$?
    check "show $*: $text" $good
    [ $good -eq 0 ] || sed "s/^/# status $status: /" out
}
says 0 'a.st: safetensors, 1 array, 4 values' a.st
says 0 'w F32 2x2 -3 2 0 1' a.st
says 0 'n I64, not read' a.st
says 0 'who: me' a.st
says 0 'b' a.st                                  # the second line of the graph
says 0 'w.npy: npy, 1 array, 4 values' w.npy
says 0 'half F16 2x2 -3 2 0 1' half.npy
says 0 'bytes.idx U8 3 1 9 4 0' bytes.idx
says 0 'equal, but for what was not read' a.st again.st
says 0 'n I64 in both, not read' a.st again.st
says 1 'w 1 of 4 values differ, by up to 1, relative 0.5' a.st other.st
says 1 'w 1 of 4 values differ, by up to inf, relative inf' a.st nan.st
says 1 'w shapes differ: 2x2 and 4' a.st shape.st
says 1 'n I64 and U64' a.st type.st
says 1 'w only in a.st' a.st less.st
says 1 'x only in less.st' a.st less.st
says 1 'n I64, only in a.st' less.st a.st
says 1 'metadata "who" differ' a.st meta.st
says 0 'w F32 and F16: equal' w.npy half.npy
says 0 'equal' w.npy half.npy
for file in words.csv nowhere short.idx integers.npy; do refused 2 "$file" ./show "$file"; done
refused 2 words.csv ./show a.st words.csv
refused 2 'needs FILE' ./show
refused 2 unexpected ./show a.st a.st a.st
head -c 150 a.st > cut.st
refused 2 cut.st ./show cut.st
if [ -c /dev/full ]; then
    for files in a.st 'a.st again.st' --help; do
        # shellcheck disable=SC2086
        ! ./show $files > /dev/full 2> stderr && grep -q 'standard output' stderr
        check "show $files: a full standard output is a failure" $?
    done
fi
echo "1..$n"
exit $failed
