# shellcheck shell=sh disable=SC2034,SC2154
# programs.sh - what the tests of programs share; they read it from the project's folder, with
# the name of a folder of their own in $work. They end with: echo "1..$n"; exit $failed
mkdir -p "$work" || exit 1
CC=${CC:-cc}
n=0
failed=0

check() {                            # check TEXT STATUS: one TAP line
    n=$((n + 1))
    if [ "$2" -eq 0 ]; then echo "ok $n - $1"; else echo "not ok $n - $1"; failed=1; fi
}

# refused STATUS WORD COMMAND...: ends with that status, and its stderr has the word
refused() {
    want=$1
    word=$2
    shift 2
    "$@" > "$work/stdout" 2> "$work/stderr" < /dev/null
    status=$?
    [ "$status" -eq "$want" ] && grep -q -e "$word" "$work/stderr"
    check "refused: $(basename "$1") ... names $word" $?
    grep -q -e "$word" "$work/stderr" || sed 's/^/# /' "$work/stderr"
}

# compile FILE PROGRAM FLAG...
compile() {
    file=$1
    to=$2
    shift 2
    object=
    if [ -n "${TEST_LINKED:-}" ]; then
        sed 's/^#define LSNN_IMPLEMENTATION$//' "$file" > "$to.c"
        file=$to.c
        object="-include tests/linked.h $TEST_LINKED"
    fi
    # shellcheck disable=SC2086
    $CC "$@" -Iexamples -I. ${TEST_FLAGS:-} "$file" $object \
        -o "$to" ${TEST_LIBS:--lm}
}
# A program with a precision of its own cannot be linked.
build() {
    if [ -z "${TEST_LINKED:-}" ] || grep -q '^#define LSNN_DOUBLE' "$1"; then
        # shellcheck disable=SC2086
        $CC -O2 ${TEST_FLAGS:-} "$1" -o "$work/$(basename "$1" .c)" \
            ${TEST_LIBS:--lm}
        check "$1 compiles by one line" $?
    else
        compile "$1" "$work/$(basename "$1" .c)" -O1
        check "$1 links with the implementation" $?
    fi
}
