#!/bin/sh
# run.sh - builds and runs the tests, two at a time; make calls it.
#
#   make test                   what a contributor waits for: under 5 minutes on two cores
#   make test-all               everything
#   make test-all PART=rest     what make test leaves out, as .ci/run wants it
#   ONLY=net                    with each: the tests whose names contain "net"
#
# A line near the top of a test says in which ways it is run, modes: plain double | asan
# Those before the bar are for make test, those behind it for the rest. A program's:
#   plain   -O2                          double    the same with -DLSNN_DOUBLE
#   asan    AddressSanitizer and UBSan   tsan      ThreadSanitizer
#   omp     OpenMP's threads             single    -DLSNN_NO_THREADS
#   cblas   -DLSNN_USE_CBLAS             nosimd    -DLSNN_NO_SIMD, the portable kernels
#   naive   -DLSNN_NAIVE -DLSNN_DOUBLE, the plain loops of each layer
#   m32     32 bits, where the compiler has their C library (Debian: libc6-dev-i386 and
#           lib32gcc-VERSION-dev; gcc-multilib keeps compilers for ARM away). Where the kernel
#           runs no such programs, qemu-i386 does (qemu-user)
#   x87     32 bits without SSE          loose     -ffast-math but for NaN and infinities
#   long    as plain, with TEST_LONG=1 in its environment: what takes long
# A script's: short, and long with TEST_LONG=1. Without that line: plain, short.
#
# Plain is built from lsnn.h, as users do; the other modes from src/, so that what they say
# points to a line of the sources. A mode's implementation is compiled once, and the programs
# that know TEST_LINKED link with it; the others use private names and include it. A script
# that knows TEST_LINKED finds its name there when short, to link with.
#
# Each prints TAP. A test that crashes, prints no plan, or runs for more than 900 s (TEST_SECONDS) fails.
# Tests run in the project's folder; they may write into $TEST_TMP, a folder of their own.
# $MNIST_DIR is the folder of MNIST where one is known. The last line: N passed, N failed.
cd "$(dirname "$0")/.." || exit 1
[ -n "${TEST_LIBS+x}" ] || exec make test ONLY="${1:-}"
here=build/tests
seconds=${TEST_SECONDS:-900}                # that a test may take: more on a busy machine

# ---- One job: sh tests/run.sh --job MODE tests/test_x.c ------------------------------
have() { command -v "$1" > /dev/null 2>&1; }

mode_flags() {
    case $1 in
    plain | long) echo "-O2 -I." ;;
    double)   echo "-O2 -DLSNN_DOUBLE -Isrc -I." ;;
    omp)      echo "-O2 $OMP_FLAGS -DLSNN_USE_OPENMP -Isrc -I." ;;
    single)   echo "-O2 -DLSNN_NO_THREADS -Isrc -I." ;;
    tsan)     echo "-O1 -g1 -fsanitize=thread -Isrc -I." ;;
    cblas)    echo "-O2 -DLSNN_USE_CBLAS -Isrc -I." ;;
    # -g1: functions and lines, in three quarters of the time that -g takes
    asan)     echo "-O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all -Isrc -I." ;;
    nosimd)   echo "-O2 -DLSNN_NO_SIMD -Isrc -I." ;;
    naive)    echo "-O2 -DLSNN_NAIVE -DLSNN_DOUBLE -Isrc -I." ;;
    loose)    echo "-O2 -ffast-math -fno-finite-math-only -Isrc -I." ;;
    x87)      echo "-O1 -m32 -mno-sse -mfpmath=387 -Isrc -I." \
                   "-idirafter /usr/include/$($CC -print-multiarch 2> /dev/null)" ;;
    m32)      echo "-O1 -m32 -msse2 -mfpmath=sse -Isrc -I." \
                   "-idirafter /usr/include/$($CC -print-multiarch 2> /dev/null)" ;;
    *)        return 1 ;;
    esac
}

# What runs programs of mode $1; not every kernel takes those of 32 bits, but qemu does.
runner() { case $1 in m32 | x87) echo "$RUN32" ;; esac; }

# Why MODE cannot be had here, or nothing.
mode_fault() {
    probe=$here/probe.$$
    case $1 in
    cblas)
        printf '%s\n' '#include <cblas.h>' 'int main(void){return cblas_sgemm == 0;}' > "$probe.c"
        # shellcheck disable=SC2086
        $CC "$probe.c" -o "$probe" $CBLAS_LIBS > /dev/null 2>&1 || echo "no $CBLAS_LIBS" ;;
    asan | tsan | omp | m32 | x87)
        echo '#include <errno.h>
              int main(void){return 0;}' > "$probe.c"
        # shellcheck disable=SC2046
        { $CC "$probe.c" -o "$probe" $(mode_flags "$1") -lm && $(runner "$1") "./$probe"
        } > /dev/null 2>&1 || echo "$1 cannot be built and run" ;;
    esac
    rm -f "$probe" "$probe.c"
}

# Compiles the implementation for mode $1 where that is not done yet. 1: it cannot be.
implementation() {
    object=$here/lsnn.$1.o
    lock "$object.lock"
    if [ ! -f "$object" ] && [ ! -f "$object.bad" ]; then
        printf '#define LSNN_IMPLEMENTATION\n#include "lsnn.h"\n' > "$here/lsnn.$1.c"
        # shellcheck disable=SC2046,SC2086
        $CC $(mode_flags "$1") $WARNINGS $TEST_FLAGS -c "$here/lsnn.$1.c" -o "$object" ||
            : > "$object.bad"
    fi
    rmdir "$object.lock"
    [ -f "$object" ]
}

# Builds $1 for $2 as $3 and runs it. TAP on stdout.
build_and_run() {
    case $2 in long) export TEST_LONG=1 ;; esac
    case $1 in
    *.sh)
        case $2 in
        short)
            if grep -q TEST_LINKED "$1"; then
                implementation plain || { echo "not ok - $1 has no implementation"; return 1; }
                export TEST_LINKED="$here/lsnn.plain.o"
            fi
            limit sh "$1" ;;
        long) limit sh "$1" ;;
        *) echo "1..1"; echo "not ok 1 - unknown mode $2"; return 1 ;;
        esac
        return ;;
    esac
    flags=$(mode_flags "$2") || { echo "1..1"; echo "not ok 1 - unknown mode $2"; return 1; }
    libs=$TEST_LIBS
    if [ "$2" = m32 ] || [ "$2" = x87 ]; then          # the other libraries are of 64 bits
        libs=-lm
        TEST_FLAGS=$(echo " $TEST_FLAGS" | sed 's/ -DLSNN_USE_[A-Z]*//g')
    fi
    [ "$2" = cblas ] && libs="$CBLAS_LIBS $libs"
    if [ "$1" = lsnn.h ]; then
        if implementation "$2"; then echo "ok 1 - lsnn.h compiles in mode $2"
        else echo "not ok 1 - lsnn.h does not compile in mode $2"; fi
        echo "1..1"
        return
    fi
    linked=
    if grep -q TEST_LINKED "$1"; then
        mode=$2
        [ "$mode" = long ] && mode=plain
        implementation "$mode" || { echo "not ok - $1 has no implementation"; return 1; }
        linked="-DTEST_LINKED $here/lsnn.$mode.o"
    fi
    # shellcheck disable=SC2086
    if ! $CC $flags $WARNINGS $TEST_FLAGS "$1" -o "$3" $linked $libs; then
        echo "not ok - $1 does not compile"
        return 1
    fi
    [ -z "$(runner "$2")" ] || seconds=$((3 * seconds))          # an emulator is slow
    # shellcheck disable=SC2046
    limit $(runner "$2") "./$3"
}

limit() { if have timeout; then timeout -k 5 "$seconds" "$@"; else "$@"; fi; }

# Counts "passed failed skipped" in a TAP file, given the exit status; says what is wrong.
count() {
    awk -v status="$2" -v name="$3" '
        /^ok/ && /# [Ss][Kk][Ii][Pp]/ { skipped++; next }
        /^ok/                          { passed++; next }
        /^not ok/                      { failed++; next }
        /^1\.\.[0-9]+/                 { plan = substr($1, 4) + 0; planned = 1 }
        END {
            why = ""
            seen = passed + failed + skipped
            if (status == 124 || status == 137) why = "ran out of time or was killed"
            else if (status != 0 && failed == 0) why = "ended with status " status
            else if (!planned && failed == 0) why = "printed no plan"
            else if (planned && plan != seen) why = "planned " plan " tests, ran " seen
            if (why != "") { failed++; print "not ok - " name " " why > "/dev/stderr" }
            print passed + 0, failed + 0, skipped + 0
        }' "$1"
}

lock() { while ! mkdir "$1" 2> /dev/null; do sleep 0.2; done; }

run_job() {
    name=$(basename "$2")
    name=${name%.*}.$1
    log=$here/$name.log
    test_lock=$here/$(basename "$2").lock
    [ "$2" = lsnn.h ] && test_lock=$here/$name.lock
    began=$(date +%s)
    fault=$(mode_fault "$1")
    if [ -n "$fault" ]; then
        printf '1..1\nok 1 - %s # SKIP %s\n' "$name" "$fault" > "$log"
        status=0
    else
        lock "$test_lock"            # one test's modes may write the same files
        TEST_TMP=$here/$name.tmp
        mkdir -p "$TEST_TMP"
        export TEST_TMP
        build_and_run "$2" "$1" "$here/$name" > "$log" 2>&1 < /dev/null
        status=$?
        rm -rf "$TEST_TMP"
        rmdir "$test_lock"
    fi
    count "$log" "$status" "$name" > "$here/$name.count" 2> "$here/$name.why"
    cat "$here/$name.why" >> "$log"
    lock "$here/print.lock"
    echo "# ---- $name ($(($(date +%s) - began)) s)"
    cat "$log"
    rmdir "$here/print.lock"
}

if [ "${1:-}" = --job ]; then
    run_job "$2" "$3"
    exit 0
fi

# ---- All of them ---------------------------------------------------------------------
rm -rf "$here"
mkdir -p "$here" || exit 1
CC=${CC:-cc}
OMP_FLAGS=${OMP_FLAGS:--fopenmp}
PART=${PART:-quick}                  # quick, rest or all
case $PART in
quick | rest | all) ;;
*) echo "PART=$PART: quick, rest or all"; echo '0 passed, 1 failed'; exit 1 ;;
esac
WARNINGS='-Wall -Wextra -Wno-unused-function'
for folder in "${MNIST_DIR:-}" ../shared/data/mnist data/mnist; do
    if [ -n "$folder" ] && [ -d "$folder" ]; then
        MNIST_DIR=$(cd "$folder" && pwd)
        break
    fi
    MNIST_DIR=
done
if [ -n "$MNIST_DIR" ]; then export MNIST_DIR; else unset MNIST_DIR; fi
# malloc may say no: the library's answer to that is what is tested
ASAN_OPTIONS=allocator_may_return_null=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}
# see runner: found out once
RUN32=
echo 'int main(void){return 0;}' > "$here/probe.c"
if $CC -m32 "$here/probe.c" -o "$here/probe" > /dev/null 2>&1 &&
    ! "$here/probe" > /dev/null 2>&1 && have qemu-i386; then RUN32=qemu-i386; fi
# two programs share the cores: OpenMP's threads that wait must sleep, not spin
OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
export CC OMP_FLAGS RUN32 TEST_FLAGS TEST_LIBS CBLAS_LIBS WARNINGS ASAN_OPTIONS OMP_WAIT_POLICY

# test_modes FILE: "mode test" for each of its modes that are asked for
test_modes() {
    default=plain
    case $1 in *.sh) default=short ;; esac
    sed -n '1,40s/.*modes: *\([a-z0-9| ]*[a-z0-9]\).*/\1/p' "$1" | head -n 1 |
        awk -v part="$PART" -v test="$1" -v default="$default" '
            { line = $0 }
            END {
                n = split(line == "" ? default : line, word, " ")
                for (i = 1; i <= n; i++)
                    if (word[i] == "|") rest = 1
                    else if (part == "all" || part == (rest ? "rest" : "quick"))
                        print word[i], test
            }'
}

for test in tests/test_*.sh tests/test_*.c; do
    case $test in *"${ONLY:-}"*) [ -f "$test" ] && test_modes "$test" ;; esac
done > "$here/wanted"

# test_assembled.sh by itself: where lsnn.h is not what src/ says, all else is beside the point.
# Then implementations, which others wait for; then by mode, not by test: two modes of one
# test seldom wait for each other. What takes long comes first, so that it is not left alone
# at the end. A misspelt mode is a failure, not silence.
grep 'test_assembled' "$here/wanted" > "$here/first"
{ for mode in asan double plain omp single tsan nosimd cblas naive m32 x87 loose; do
      while read -r wanted test; do
          case $wanted$test in
          long*.sh) continue ;;
          long* | short*) wanted=plain ;;
          esac
          [ "$wanted" = "$mode" ] && grep -q TEST_LINKED "$test" && echo "$mode lsnn.h" && break
      done < "$here/wanted"
  done
  for mode in long short asan double plain omp single tsan nosimd cblas naive m32 x87 loose; do
      grep "^$mode " "$here/wanted"
  done
  grep -Ev '^(long|short|asan|double|plain|omp|single|tsan|nosimd|cblas|naive|m32|x87|loose) ' "$here/wanted"
} | grep -v test_assembled > "$here/others"
cat "$here/first" "$here/others" > "$here/jobs"

[ -s "$here/jobs" ] || echo "# no test named *${ONLY:-}* has a part in PART=$PART"
for jobs in first others; do
    [ -s "$here/$jobs" ] &&
        xargs -n 2 -P "${JOBS:-2}" sh tests/run.sh --job < "$here/$jobs"
done

cat "$here"/*.count 2> /dev/null | awk -v jobs="$(grep -c . "$here/jobs")" '
    { passed += $1; failed += $2; skipped += $3 }
    END {
        if (NR != jobs || jobs == 0) failed += jobs > NR ? jobs - NR : 1
        printf "%d passed, %d failed", passed, failed
        if (skipped) printf ", %d skipped", skipped
        print ""
    }' > "$here/summary"
grep -h '^not ok' "$here"/*.log 2> /dev/null | sed 's/^/# failed: /'
cat "$here/summary"
case $(cat "$here/summary") in *" passed, 0 failed"*) exit 0 ;; *) exit 1 ;; esac
