#!/bin/sh
# cuda.sh - make cuda-test and make cuda-bench: builds the device part by nvcc and the rest by cc,
# and runs the tests, or the measurements, on this machine's GPU.
#     sh tools/cuda.sh test | bench
# test: every device pair, networks and files against the cpu's (tests/test_cuda.c), then the same
# once more under compute-sanitizer, where it is installed. The last line: N passed, N failed.
cd "$(dirname "$0")/.." || exit 1
work=build/cuda
mkdir -p "$work" || exit 1
cc=${CC:-cc}
fail() { echo "cuda: $1"; echo '0 passed, 1 failed'; exit 1; }
command -v nvcc > /dev/null 2>&1 || fail 'nvcc is not installed: get the CUDA toolkit (docs/cuda.md)'
nvidia-smi > "$work/gpu" 2>&1 || fail 'nvidia-smi finds no GPU here'
arch=${CUDA_ARCH:-native}
echo "cuda: nvcc -arch=$arch"
# build NAME SOURCE FLAGS: $work/NAME
build() {
    nvcc -O3 -x cu -DLSNN_CUDA_PART -arch="$arch" $3 -c lsnn.h -o "$work/$1.part.o" &&
        $cc -O2 $3 -DTEST_GPU -DLSNN_USE_CUDA -I. -Itests "$2" -c -o "$work/$1.o" &&
        nvcc "$work/$1.o" "$work/$1.part.o" -o "$work/$1" -lcublas -lm -lpthread
}
if [ "${1:-test}" = bench ]; then
    build steps bench/cuda/steps.c '' || fail 'it does not compile'
    nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
    timeout 450 "$work/steps" || fail 'the measurement ended early'
    exit 0
fi
passed=0
failed=0
# run NAME COMMAND...: TAP, added up
run() {
    echo "# ---- $1"
    shift
    timeout 200 "$@" > "$work/log" 2>&1
    status=$?
    grep -E '^(ok|not ok|#|=+ )' "$work/log"
    passed=$((passed + $(grep -c '^ok' "$work/log")))
    bad=$(grep -c '^not ok' "$work/log")
    [ "$status" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
    failed=$((failed + bad))
}
build float tests/test_cuda.c '' || fail 'it does not compile'
build double tests/test_cuda.c -DLSNN_DOUBLE || fail 'it does not compile in double'
run 'float' "$work/float"
run 'double' "$work/double"
if command -v compute-sanitizer > /dev/null 2>&1; then
    for tool in memcheck racecheck; do
        TEST_FEW=1 run "$tool" compute-sanitizer --tool "$tool" --error-exitcode 3 "$work/float"
    done
else
    echo '# compute-sanitizer is not installed: left out'
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
