#!/bin/sh
# test_nvcc.sh - what nvcc says of the device part, warnings as errors: for sm_80, sm_90 and as
# PTX; the same joined with a program of cc; and a program that nvcc compiles whole. Where there
# is a GPU the program compares it with the cpu; where there is none it must say so.
# modes: | short
cd "$(dirname "$0")/.." || exit 1
work=${TEST_TMP:-build/tests/nvcc}
mkdir -p "$work"
cc=${CC:-cc}
if ! command -v nvcc > /dev/null 2>&1; then
    echo '1..1'
    echo 'ok 1 - nvcc # SKIP not installed'
    exit 0
fi
count=0
failed=0
# job NAME COMMAND: one TAP line
job() {
    count=$((count + 1))
    if sh -c "$2" > "$work/log" 2>&1; then echo "ok $count - $1"
    else
        echo "not ok $count - $1"
        sed 's/^/#   /' "$work/log" | cut -c1-200 | head -n 20
        failed=1
    fi
}
strict='-Werror all-warnings'
archs='-gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90 -gencode arch=compute_90,code=compute_90'
job 'the device part, for sm_80, sm_90 and as PTX' \
    "nvcc -O3 -x cu -DLSNN_CUDA_PART $archs $strict -c lsnn.h -o $work/part.o"
job 'the device part in double' \
    "nvcc -O1 -x cu -DLSNN_CUDA_PART -DLSNN_DOUBLE -arch=sm_80 $strict -c lsnn.h -o $work/double.o"
cat > "$work/here.c" << 'END'
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
/* 0: trained on the GPU as on the cpu, or there is none and it says so.       */
int main(void)
{
    static lsnn_ctx cx;
    static lsnn_real x[4 * 64], v[2][400];
    static int labels[4] = { 0, 1, 2, 1 };
    lsnn_real most = 0, apart = 0;
    lsnn_batch b;
    memset(&b, 0, sizeof b);
    for (int i = 0; i < 4 * 64; i++) x[i] = (lsnn_real)(i * 7 % 13) / 13;
    b.n = 4; b.x = x; b.labels = labels; b.heads = 1;
    for (int i = 0; i < 2; i++) {
        lsnn_build_desc d;
        lsnn_net *net = lsnn_net_new(&cx);
        lsnn_optimizer *o;
        int y = lsnn_relu(net, lsnn_conv2d(net, lsnn_input(net, 1, 8, 8), 4, 3, NULL), NULL);
        lsnn_cross_entropy(net, lsnn_dense(net, lsnn_max_pool(net, y, 2, NULL), 3, NULL), NULL);
        memset(&d, 0, sizeof d);
        d.batch = 4;
        d.device = i ? "cuda" : "cpu";
        if (lsnn_net_build(net, &d) != LSNN_OK) {
            int said = i && strncmp(cx.message, "CUDA: ", 6) == 0;
            lsnn_net_free(net);
            return said ? 0 : 1;
        }
        o = lsnn_optimizer_new(net, NULL);
        for (int step = 0; step < 5; step++)
            if (lsnn_forward(net, &b, 1, NULL) != LSNN_OK || lsnn_backward(net) != LSNN_OK ||
                lsnn_optimizer_step(o) != LSNN_OK) return 2;
        if (lsnn_net_get(net, "conv2d1.weight", v[i], 36) != LSNN_OK) return 3;
        lsnn_optimizer_free(o);
        lsnn_net_free(net);
    }
    for (int i = 0; i < 36; i++) {
        lsnn_real d = v[0][i] > v[1][i] ? v[0][i] - v[1][i] : v[1][i] - v[0][i];
        if (v[0][i] > most) most = v[0][i];
        if (d > apart) apart = d;
    }
    puts("trained on both");
    return !(apart <= most / 10000);
}
END
job 'a program of cc, joined with it: as on the cpu, or no GPU and said so' \
    "$cc -O1 -DLSNN_USE_CUDA -I. -c $work/here.c -o $work/here.o &&
     nvcc $work/here.o $work/part.o -o $work/here -lcublas && $work/here"
job 'float and double do not join' \
    "! nvcc $work/here.o $work/double.o -o $work/mixed -lcublas"
job 'a program that nvcc compiles whole' \
    "nvcc -O1 -Xcompiler -O0 -x cu -arch=sm_90 -DLSNN_USE_CUDA -I. $work/here.c -o $work/whole -lcublas &&
     $work/whole"
echo "1..$count"
exit $failed
