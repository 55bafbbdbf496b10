#!/bin/sh
# test_header.sh - lsnn.h by itself: every dialect, switch and way of including it, and
# every snippet of its manual and of README.md compiled. TAP. modes: short | long
#
# With TEST_LONG all of it is compiled to the end, linked and run. Without, what needs no
# code, in the oldest dialects: a parser finds most of what goes wrong, in a tenth of the time.
#
# A snippet of the manual stands between a line "    /// name.c" and a line "    ///"; one of
# README.md between ```c and ```. With a main it is a program: it is linked, run, and must
# return 0 (not run when it says "compile only"). Without one it is a piece of a file or of
# a function; in a function it may use the variables that `prelude` below declares.
cd "$(dirname "$0")/.." || exit 1
work=build/header
rm -rf "$work"
mkdir -p "$work" || exit 1
strict='-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror'
jobs=0
long=${TEST_LONG:-}
code='-c -o /dev/null'
[ -n "$long" ] || code=-fsyntax-only

have() { command -v "$1" > /dev/null 2>&1; }
have timeout && limit='timeout 120' || limit=

# job NAME COMMAND: a later line of TAP
job() {
    jobs=$((jobs + 1))
    echo "$1" > "$work/$jobs.name"
    echo "$2" > "$work/$jobs.sh"
}
skip() {
    jobs=$((jobs + 1))
    echo "$1 # SKIP $2" > "$work/$jobs.name"
    echo : > "$work/$jobs.sh"
}

# compile COMPILER STANDARD FLAGS...: the implementation, thrown away. What switches and newer
# dialects may break is found by the parser; the rest, with TEST_LONG, is compiled to the end.
compile() {
    how=$code
    case $* in
    *-O2*) ;;
    *-D_* | *-DLSNN_NO* | *-DLSNN_USE* | *' c11'* | *' c++20'*) how=-fsyntax-only ;;
    esac
    job "$*" "$1 -std=$2 $strict $(shift 2; echo "$*") -I. $how $work/unit.c"
}

printf '#define LSNN_IMPLEMENTATION\n#include "lsnn.h"\n' > "$work/unit.c"

# ---- Dialects and switches -----------------------------------------------------------
dialects() {
    for compiler in gcc clang; do
        for std in c99 ${long:+c11}; do echo "$compiler $std"; done
    done
    for std in c++11 ${long:+c++20}; do
        echo "g++ $std -x c++"
        echo "clang++ $std -x c++"
    done
}
switches='-DLSNN_NO_SIMD|-DLSNN_NO_THREADS|-DLSNN_NO_TRAIN|-DLSNN_NO_DATA|-DLSNN_NO_PICTURES|
-DLSNN_NO_TRAIN -DLSNN_NO_DATA -DLSNN_NO_PICTURES'

dialects > "$work/dialects"
while read -r compiler std language; do
    if ! have "$compiler"; then
        skip "$compiler $std" 'not installed'
        continue
    fi
    for real in '' -DLSNN_DOUBLE; do
        # shellcheck disable=SC2086
        compile $compiler $std $language $real
        if echo 'int main(void){return 0;}' |
            $compiler -x c - -fopenmp -o /dev/null > /dev/null 2>&1; then
            # shellcheck disable=SC2086
            compile $compiler $std $language $real -fopenmp -DLSNN_USE_OPENMP
        fi
    done
    case $std in c99 | c++11)
        old=$IFS
        IFS='|'
        for switch in $switches; do
            IFS=$old
            # shellcheck disable=SC2086
            compile $compiler $std $language $switch
        done
        IFS=$old ;;
    esac
done < "$work/dialects"

cc=gcc
have gcc || cc=cc
if [ -n "$long" ]; then              # some warnings need the optimizer
    compile $cc c99 -O2
    compile $cc c99 -O2 -DLSNN_DOUBLE
    $cc -fopenmp -x c -fsyntax-only "$work/unit.c" -I. 2> /dev/null &&
        compile $cc c99 -O2 -DLSNN_DOUBLE -fopenmp
    have clang && compile clang c99 -O2
fi
if echo '#include <zlib.h>' | $cc -x c -fsyntax-only - > /dev/null 2>&1; then
    compile $cc c99 -DLSNN_USE_ZLIB
fi
if echo '#include <cblas.h>' | $cc -x c -fsyntax-only - > /dev/null 2>&1; then
    compile $cc c99 -DLSNN_USE_CBLAS
    compile $cc c99 -DLSNN_USE_CBLAS -DLSNN_DOUBLE
else
    skip 'LSNN_USE_CBLAS' 'no cblas.h'
fi
mpi=$(mpicc --showme:incdirs 2> /dev/null | sed 's/^/-isystem /; s/ / -isystem /2g')
if [ -n "$mpi" ]; then
    # shellcheck disable=SC2086
    compile $cc c99 $mpi -DLSNN_USE_MPI -DLSNN_DOUBLE
    # shellcheck disable=SC2086
    have g++ && compile g++ c++11 -x c++ $mpi -DLSNN_USE_MPI
else
    skip 'LSNN_USE_MPI' 'no mpicc that says where mpi.h is'
fi
cat > "$work/late.c" << 'END'
#include <stdio.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
END
job 'after the system headers, -std=c99' "$cc -std=c99 $strict -I. -fsyntax-only $work/late.c"

# ---- Headers around it: macros of other people's -----------------------------------------
# Words of windows.h, of Arduino's headers and of X11, and each capital letter: none may stand
# in the implementation. Those of tgmath.h and complex.h come from the real ones.
{ for word in A B C D E F G H I J K L M N O P Q R S T U V W X Y Z near far huge small hyper \
      interface pascal cdecl boolean IN OUT OPTIONAL CONST VOID TRUE FALSE ERROR DELETE NO_ERROR \
      OK FAIL HIGH LOW DONE COUNT HALF REST LANES WIDE STEP SHAPE SIZE BATCH LOSS EPSILON PI \
      THREADS WIDTH HEIGHT None Bool Status Success Always True False; do
      echo "#define $word ) this is a macro ("
  done
  for word in 'min(a, b)' 'max(a, b)' 'bit(b)' 'check(a)' 'verify(a)' 'square(a)' 'map(a, b)' \
      'swap(a, b)' 'clamp(a, b, c)' 'constrain(a, b, c)' 'isset(a, b)' 'word(a)'; do
      echo "#define $word ) this is a macro ("
  done
} > "$work/macros.h"
cat > "$work/around.c" << 'END'
#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>
#include "macros.h"
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
END
# And none of the kernels' own names is left to whoever includes it.
job "no macro of the kernels is left" \
    "$cc -I. -dM -E $work/unit.c > $work/left && ! grep -E 'define (K_|kvec|kints|LSNNI_KERNEL_PASS)' $work/left"
printf '#include <tgmath.h>\n#define LSNN_IMPLEMENTATION\n#include "lsnn.h"\n' > "$work/tgmath.c"
job "after other people's macros, C" "$cc -std=c99 $strict -I. -I$work -fsyntax-only $work/around.c"
job "after other people's macros, naive" \
    "$cc -std=c99 $strict -DLSNN_NAIVE -I. -I$work -fsyntax-only $work/around.c"
job 'after tgmath.h' "$cc -std=c99 $strict -I. -fsyntax-only $work/tgmath.c"
if have g++; then
    job "after other people's macros, C++" \
        "g++ -std=c++11 $strict -x c++ -I. -I$work -fsyntax-only $work/around.c"
    sed 's/tgmath.h/ctgmath/' "$work/tgmath.c" > "$work/ctgmath.cc"
    job 'after ctgmath, C++' "g++ -std=c++11 $strict -I. -fsyntax-only $work/ctgmath.cc"
fi
# A POSIX of before threads hides what masks signals; later ones, and X/Open's, have it.
for posix in -D_POSIX_SOURCE -D_POSIX_C_SOURCE=199309L ${long:+-D_POSIX_C_SOURCE=199506L \
    -D_POSIX_C_SOURCE=200809L -D_XOPEN_SOURCE=500 -D_XOPEN_SOURCE=700}; do
    compile $cc c99 "$posix"
done
# Where the linker has no threads (before glibc 2.34, without -pthread) there is one.
cat > "$work/weak.c" << 'END'
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
static void task(void *user, int i, int worker) { ((int *)user)[i] += worker == 0; }
int main(void)
{
    static lsnn_ctx cx;
    static int done[100];
    int good = 0;
    cx.threads = 4;
    lsnn_parallel(&cx, 100, task, done);
    lsnn_parallel(&cx, 100, task, done);
    for (int i = 0; i < 100; i++) good += done[i] == 2;
    lsnn_ctx_free(&cx);
    return good != 100;
}
END
[ "$(uname -s)" = Linux ] && {
    weak="$cc -std=gnu99 $strict '-DLSNNI_TEST_WEAK=\"no_\"' -I."
    if [ -n "$long" ]; then
        job 'no threads to be linked' "$weak -O1 $work/weak.c -o $work/weak -lm && $work/weak"
    else
        job 'no threads to be linked' "$weak $code $work/weak.c"
    fi
}
# Another implementation in the same file, before or behind.
if echo '#include <stb/stb_image_write.h>' | $cc -x c -fsyntax-only - > /dev/null 2>&1; then
    stb='#define STB_IMAGE_WRITE_IMPLEMENTATION\n#include <stb/stb_image_write.h>\n'
    us='#define LSNN_IMPLEMENTATION\n#include "lsnn.h"\n'
    printf '%b%b' "$us" "$stb" > "$work/stb_after.c"
    printf '%b%b' "$stb" "$us" > "$work/stb_before.c"
    job "before stb_image_write's implementation" "$cc -std=c99 -I. $code $work/stb_after.c"
    job "behind stb_image_write's implementation" "$cc -std=c99 -I. $code $work/stb_before.c"
else
    skip "around stb_image_write's implementation" 'not installed'
fi
# An old dialect gets one message, not a thousand.
for std in gnu89 c90; do
    job "-std=$std: one message" "$cc -std=$std -I. -fsyntax-only $work/unit.c 2>&1 |
        grep -c 'error: ' | grep -qx 1"
done
have g++ && job '-std=c++98: one message' "g++ -std=c++98 -x c++ -I. -fsyntax-only $work/unit.c 2>&1 |
    grep -c 'error: ' | grep -qx 1"
# Enums of one byte: they are of four all the same, so structs and files are as ever.
cat > "$work/enums.c" << 'END'
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
int main(int count, char **names)
{
    static lsnn_ctx cx;
    static lsnn_options o;
    lsnn_net *net = lsnn_net_new(&cx);
    static lsnn_options drawn;
    int x;
    drawn.init = LSNN_INIT_GLOROT;
    x = lsnn_conv2d(net, lsnn_input(net, 1, 8, 8), 2, 3, &drawn);
    o.normalise = LSNN_NORMALISE_MEAN;
    lsnn_smooth(net, x, LSNN_FREE, &o);
    return count < 2 || lsnn_net_build(net, NULL) != LSNN_OK || lsnn_net_save(net, names[1]) ||
        sizeof(lsnn_init) != sizeof(int) || sizeof o.padding != sizeof(int);
}
END
job '-fshort-enums' "$cc -std=c99 $strict -Wno-type-limits -fshort-enums -I. -fsyntax-only $work/unit.c"
# All of them that can stand in a struct: lsnn_act is only handed over.
{ echo '#include "lsnn.h"'
  sed -n 's/^typedef enum \(lsnn_[a-z_0-9]*\).*/\1/p' lsnn.h | grep -v '^lsnn_act$' |
      awk '{ print "typedef char of_four_" NR "[sizeof(" $1 ") == sizeof(int) ? 1 : -1];" }
           END { if (NR < 10) print "#error found only " NR }'
} > "$work/all_enums.c"
job '-fshort-enums: every enum is as wide as an int' \
    "$cc -std=c99 -fshort-enums -I. -fsyntax-only $work/all_enums.c"
[ -n "$long" ] && job '-fshort-enums writes the same file' \
    "$cc -O1 -fshort-enums -I. $work/enums.c -o $work/enums1 -lm && $work/enums1 $work/enums1.st &&
     $cc -O1 -I. $work/enums.c -o $work/enums4 -lm && $work/enums4 $work/enums4.st &&
     cmp $work/enums1.st $work/enums4.st"
cp lsnn.h "$work/renamed.h"
printf '#define LSNN_IMPLEMENTATION\n#include "renamed.h"\n' > "$work/renamed.c"
job 'renamed, with LSNN_FILENAME' "$cc -O2 -DLSNN_FILENAME='\"renamed.h\"' -I$work \
    $code $work/renamed.c"
job 'LSNN_API' "$cc '-DLSNN_API=__attribute__((visibility(\"hidden\")))' -I. \
    -fsyntax-only $work/unit.c"
job 'OpenMP that is not there is refused' "! $cc -DLSNN_USE_OPENMP -I. -fsyntax-only $work/unit.c"
job '-ffast-math is refused' "! $cc -ffast-math -I. -fsyntax-only $work/unit.c"
if [ -z "$long" ]; then
    :
elif have nvcc; then
    job 'nvcc -x cu' "nvcc -x cu -I. -c $work/unit.c -o $work/nvcc.o"
else
    skip 'nvcc -x cu' 'not installed'
fi

# ---- Ways of including ---------------------------------------------------------------
cat > "$work/user.c" << 'END'
#include "lsnn.h"
#include "lsnn.h"
#include <stdio.h>
int main(void)
{
    puts(lsnn_status_text(LSNN_OK));
    return lsnn_status_text(LSNN_ESHAPE)[0] == 0;
}
END
[ -n "$long" ] && job 'header and implementation in two units' \
    "$cc -std=c99 $strict -I. $work/user.c $work/unit.c -o $work/two -lm && $work/two"
if have g++; then
    job 'C++ program, C implementation' \
        "$cc -std=c99 -I. -c $work/unit.c -o $work/c.o &&
         g++ -std=c++11 $strict -I. -x c++ $work/user.c -x none $work/c.o -o $work/mixed -lm &&
         $work/mixed"
fi

# relu of -1, 2 in either precision: 0 if right, and the size of lsnn_real fits
cat > "$work/real.c" << 'END'
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
int ENTRY(void);
int ENTRY(void)
{
    static lsnn_ctx cx;
    lsnn_real x[2], y[2];
    lsnn_status s;
    x[0] = -1;
    x[1] = 2;
    s = lsnn_activation_forward(&cx, LSNN_RELU, y, x, 2, 0.0);
    lsnn_ctx_free(&cx);
    return !(s == LSNN_OK && y[0] == 0 && y[1] == 2 && sizeof x[0] == BYTES);
}
END
cat > "$work/both.c" << 'END'
int first(void);
int second(void);
int main(void) { return first() + 2 * second(); }
END
real() { echo "$cc -std=c99 -I. -DENTRY=$1 -DBYTES=$2 $3 -c $work/real.c -o $work/$4.o"; }
link() { echo "$cc $work/both.c $work/$1.o $work/$2.o -o $work/$1 -lm && $work/$1"; }
if [ -n "$long" ]; then
    job 'float and double units in one program' \
        "$(real first 4 '' f1) && $(real second 8 -DLSNN_DOUBLE d2) && $(link f1 d2)"
    job 'two units with LSNN_STATIC' \
        "$(real first 4 -DLSNN_STATIC s1) && $(real second 4 -DLSNN_STATIC s2) && $(link s1 s2)"
fi

# ---- Snippets ------------------------------------------------------------------------
awk -v to="$work/manual_" '
    /^ *\/\/\/ [A-Za-z0-9_]+\.c *$/ { file = to $2; printf "" > file; next }
    /^ *\/\/\/ *$/                  { if (file != "") close(file); file = ""; next }
    file != ""                      { print > file }' lsnn.h
[ -f README.md ] && awk -v to="$work/readme_" '
    /^```c *$/          { file = to (++n) ".c"; printf "" > file; next }
    /^```/ && file != "" { close(file); file = ""; next }
    file != ""          { print > file }' README.md

cat > "$work/prelude.h" << 'END'
#include "lsnn.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
END
cat > "$work/variables.h" << 'END'
static lsnn_ctx cx;
static lsnn_net *net;
static lsnn_data train, test;
static lsnn_fit_desc fit;
static lsnn_options o;
static lsnn_score score;
static lsnn_status status;
static lsnn_real x[4096], y[4096];
static int labels[4096], n;
END
for file in "$work"/manual_*.c "$work"/readme_*.c; do
    [ -f "$file" ] || continue
    base=${file%.c}
    name="snippet $(basename "$base")"
    lenient='-Wall -Wextra -Wno-unused -Wno-missing-field-initializers -Werror'
    if grep -q 'main *(' "$file"; then
        grep -q 'define LSNN_IMPLEMENTATION' "$file" && unit='' || unit=$work/unit.c
        run="&& cd $work && $limit ./$(basename "$base")"
        grep -q 'compile only' "$file" && run=''
        if [ -n "$long" ]; then
            job "$name" "$cc -O2 $lenient -I. $file $unit -o $base -lm $run"
        else
            job "$name" "$cc $lenient -I. $code $file"
        fi
    else
        { echo '#include "prelude.h"'; cat "$file"; } > "$base.file.c"
        { echo '#include "prelude.h"'; echo '#include "variables.h"'
          echo 'int snippet(void);'; echo 'int snippet(void)'; echo '{'; cat "$file"
          echo '    return 0;'; echo '}'; } > "$base.function.c"
        to="$lenient -I. -I$work $code"
        job "$name" "$cc $to $base.file.c > /dev/null 2>&1 || $cc $to $base.function.c"
    fi
done

# ---- Run them, two at a time -----------------------------------------------------------
echo 'TAP version 14'
i=0
# shellcheck disable=SC2016
while [ "$i" -lt "$jobs" ]; do i=$((i + 1)); echo "$i"; done |
    WORK=$work xargs -n 1 -P "${JOBS:-2}" sh -c \
        'sh "$WORK/$1.sh" > "$WORK/$1.out" 2>&1 < /dev/null; echo $? > "$WORK/$1.status"' job
failed=0
i=0
while [ "$i" -lt "$jobs" ]; do
    i=$((i + 1))
    if [ "$(cat "$work/$i.status")" = 0 ]; then
        echo "ok $i - $(cat "$work/$i.name")"
    else
        failed=1
        echo "not ok $i - $(cat "$work/$i.name")"
        head -n 8 "$work/$i.out" | sed 's/^/# /'
    fi
done
echo "1..$jobs"
exit "$failed"
