#!/bin/sh
# cortex_m.sh - an exported net on a Cortex-M4: sizes, and instructions of one prediction.
#
#     sh tools/cortex_m.sh                           three small nets, trained here in seconds
#     sh tools/cortex_m.sh out/net.safetensors ...   your own
#     ONNX2C=path/to/onnx2c sh tools/cortex_m.sh     with a peer: see below
#     CROSS_CFLAGS='-O3 -ffast-math' sh ...          instead of -O2, for all rows
#
# Each net is exported as C (lsnn_net_export_c) in each storage, compiled by arm-none-eabi-gcc
# and run by qemu-system-arm as the board mps2-an386 (Cortex-M4 with FPU, no file system, no
# operating system). Its outputs must be lsnn_predict's of the rounded net. One instruction is one
# tick here (-icount): a real M4 takes 1 to 3 cycles for most, and waits for its flash.
# Flash: code and constants of the net's file, without libm; RAM: its buffers and stack.
# onnx2c (github.com/kraiskil/onnx2c, needs its option -f) turns the net as lsnn_net_export_onnx
# writes it into C; that is compiled, run and held to lsnn_predict's outputs in the same way.
# Exit status: 0 done, 1 something is wrong, 77 a tool is missing.
cd "$(dirname "$0")/.." || exit 1
root=$(pwd)
cross=arm-none-eabi-gcc
optimise=${CROSS_CFLAGS:--O2}
cpu='-mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16'
for tool in $cross arm-none-eabi-size qemu-system-arm; do
    command -v "$tool" > /dev/null 2>&1 || {
        echo "cortex_m: no $tool (gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm)" >&2
        exit 77
    }
done
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
CC=${CC:-cc}

# ---- on this machine: nets, their C files, and what they should answer ----------------------
cat > "$work/host.c" << 'C'
#define LSNN_IMPLEMENTATION
#include "lsnn.h"

static lsnn_ctx cx;

/* The net of README.md; with 's' a free smoother before its dense layer; or with '2' a net of
   two convolutions and three dense layers, whose functions serve several layers.       */
static int train(const char *path, char kind)
{
    static lsnn_recipe digits;
    static lsnn_fit_desc fit;
    lsnn_data data;
    lsnn_net *net = lsnn_net_new(&cx);
    int x = lsnn_input(net, 1, 28, 28);
    if (kind == '2') {
        for (int maps = 6; maps <= 16; maps += 10)
            x = lsnn_max_pool(net, lsnn_relu(net, lsnn_conv2d(net, x, maps, 5, NULL), NULL), 2,
                              NULL);
        x = lsnn_relu(net, lsnn_dense(net, x, 120, NULL), NULL);
        x = lsnn_relu(net, lsnn_dense(net, x, 84, NULL), NULL);
    } else
        x = lsnn_max_pool(net, lsnn_relu(net, lsnn_conv2d(net, x, 8, 5, NULL), NULL), 4, NULL);
    if (kind == 's') x = lsnn_smooth(net, x, LSNN_FREE, NULL);
    lsnn_cross_entropy(net, lsnn_dense(net, x, 10, NULL), NULL);
    lsnn_net_build(net, NULL);
    digits.count = 2000;
    fit.epochs = 2;
    fit.optimizer.lr = 0.02;
    fit.optimizer.momentum = 0.9;
    lsnn_data_recipe(&cx, &data, &digits);
    lsnn_fit(net, &data, &fit);
    lsnn_net_save(net, path);
    lsnn_data_free(&data);
    lsnn_net_free(net);
    return cx.status != LSNN_OK;
}

static void put(FILE *f, const char *name, const lsnn_real *v, int count)
{
    fprintf(f, "static const float %s[%d] = {", name, count);
    for (int i = 0; i < count; i++) fprintf(f, "%.9g,%s", (double)v[i], i % 8 == 7 ? "\n" : " ");
    fprintf(f, "};\n");
}

static int size_of(lsnn_shape s) { return s.c * s.h * s.w; }

/* A file as lsnn's C or as ONNX, and vectors.h: an input, and the output of the net with its
   weights so stored.                                                                   */
static int export_net(const char *path, const char *storage, const char *to, const char *vectors)
{
    lsnn_export_desc d;
    lsnn_build_desc build;
    lsnn_rng r = lsnn_rng_at(1, "cortex", "input", 0, 0);
    lsnn_net *net;
    FILE *f = fopen(vectors, "w");
    memset(&d, 0, sizeof d);
    memset(&build, 0, sizeof build);
    build.predict_only = 1;
    build.batch = 1;
    d.storage = *storage == 'i' ? LSNN_STORE_INT8 : *storage == 'h' ? LSNN_STORE_HALF
              : LSNN_STORE_FLOAT;
    net = lsnn_net_load(&cx, path, &build, NULL, 0);
    if (net && f && (*storage == 'o' ? lsnn_net_export_onnx(net, to)
                                     : lsnn_net_export_c(net, to, &d)) == LSNN_OK &&
        lsnn_net_round(net, d.storage) == LSNN_OK) {
        int in = size_of(lsnn_net_shape(net, 0)), count, out;
        lsnn_real *x, *y;
        out = size_of(lsnn_net_shape(net, lsnn_net_output(net)));
        x = (lsnn_real *)calloc((size_t)(in + out), sizeof *x);
        y = x + in;
        for (int i = 0; i < in; i++)
            x[i] = lsnn_rng_uniform(&r) < 0.7 ? 0 : (lsnn_real)lsnn_rng_uniform(&r);
        lsnn_predict(net, x, 1, y);
        put(f, "input", x, in);
        put(f, "expected", y, out);
        fprintf(f, "enum { OUTPUTS = %d };\n", out);
        count = 0;
        for (int kind = 0; kind < 2; kind++) {
            size_t n;
            for (int i = 0; lsnn_net_param_name(net, kind, i, &n); i++) count += (int)n;
        }
        printf("%d %.0f\n", count, (double)lsnn_net_macs(net));
        free(x);
    }
    if (f) fclose(f);
    lsnn_net_free(net);
    return cx.status != LSNN_OK;
}

int main(int argc, char **argv)
{
    if (argc == 4) return train(argv[2], argv[3][0]);
    return argc != 5 || export_net(argv[1], argv[2], argv[3], argv[4]);
}
C
$CC -O2 -I"$root" "$work/host.c" -o "$work/host" -lm -pthread || exit 1

# ---- on the board: from reset to the result ---------------------------------------------------
cat > "$work/board.ld" << 'LD'
MEMORY { code (rx) : ORIGIN = 0, LENGTH = 4M  data (rwx) : ORIGIN = 0x20000000, LENGTH = 4M }
ENTRY(reset)
SECTIONS {
  .text : { KEEP(*(.vectors)) *(.text*) *(.rodata*) } > code
  .ARM.exidx : { *(.ARM.exidx*) } > code
  .data : { *(.data*) } > data
  .bss : { *(.bss*) *(COMMON) } > data
  end = .;
}
LD
cat > "$work/board.c" << 'C'
#include <stdint.h>
#include "vectors.h"
void net_predict(const float *x, float *y);
static float y[OUTPUTS];

/* ARM's semihosting: the emulator does what a debugger would.                          */
static void semihost(uintptr_t what, const void *with)
{
    register uintptr_t r0 __asm__("r0") = what;
    register const void *r1 __asm__("r1") = with;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}
static void put_number(uint32_t n)
{
    char text[12], *p = text + 11;
    *p = 0;
    *--p = ' ';
    do *--p = (char)('0' + n % 10); while ((n /= 10) != 0);
    semihost(4, p);                                      /* SYS_WRITE0               */
}
#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

static __attribute__((noinline)) void measure(void)
{
    uint32_t before, ticks, parts = 0;
    REGISTER(0xE000E014) = 0xFFFFFF;                     /* SysTick, 25 MHz, down    */
    REGISTER(0xE000E018) = 0;
    REGISTER(0xE000E010) = 5;
    before = REGISTER(0xE000E018);
    net_predict(input, y);
    ticks = (before - REGISTER(0xE000E018)) & 0xFFFFFF;
    for (int i = 0; i < OUTPUTS; i++) {                  /* parts in 10^6            */
        float d = y[i] > expected[i] ? y[i] - expected[i] : expected[i] - y[i];
        float large = expected[i] < 0 ? -expected[i] : expected[i];
        float part = 1e6f * d / (1 + large);
        if (!(part <= (float)parts)) parts = part < 1e9f ? (uint32_t)part + 1 : 1000000000u;
    }
    put_number(ticks);
    put_number(parts);
}

void reset(void)
{
    REGISTER(0xE000ED88) |= 15u << 20;                   /* CPACR: the FPU           */
    __asm__ volatile("dsb\n isb");
    measure();
    semihost(0x18, (const void *)0x20026);               /* SYS_EXIT, done           */
    for (;;) { }
}
__attribute__((section(".vectors"), used))
static const uintptr_t vectors[16] = { 0x20400000, (uintptr_t)reset, (uintptr_t)reset,
                                       (uintptr_t)reset };
C

# measure NAME FILE: a line of the table for each storage
measure() {
    for storage in float ${ONNX2C:+onnx2c} half int8; do
        written=$work/net.c
        weights=$storage
        strict='-Wall -Wextra -Werror'
        if [ "$storage" = onnx2c ]; then
            written=$work/net.onnx
            weights='float, by onnx2c'
            strict=-w
        fi
        told=$("$work/host" "$2" "$storage" "$written" "$work/vectors.h") || return 1
        # shellcheck disable=SC2086
        { { [ "$storage" != onnx2c ] ||
            "$ONNX2C" -f net_predict -d N:1 "$work/net.onnx" > "$work/net.c"; } &&
          $cross -std=c99 $optimise $cpu $strict -ffreestanding -fstack-usage -c "$work/net.c" \
              -o "$work/net.o" &&
          $cross -std=gnu99 -O1 $cpu -c "$work/board.c" -I"$work" -o "$work/board.o" &&
          $cross $cpu -nostartfiles -T "$work/board.ld" "$work/board.o" "$work/net.o" -lm -lc \
              -lgcc --specs=nosys.specs -o "$work/board.elf"; } > "$work/log" 2>&1 ||
            { head -n 20 "$work/log" >&2; return 1; }
        # shellcheck disable=SC2046,SC2086
        set -- "$1" "$2" $told $(timeout 120 qemu-system-arm -M mps2-an386 -icount shift=0 \
            -semihosting -nographic -monitor none -serial none -kernel "$work/board.elf" 2>&1)
        if [ $# -ne 6 ] || ! [ "$6" -le 20 ]; then
            echo "cortex_m: $1 as $storage: the board says: $5 $6" >&2
            return 1
        fi
        stack=$(awk '$2 > most { most = $2 } { sum += $2 } END { print sum }' "$work/net.su")
        arm-none-eabi-size "$work/net.o" |
            awk -v name="$1" -v weights="$weights" -v stack="$stack" \
            -v ticks="$5" -v parts="$6" -v params="$3" -v macs="$4" 'NR == 2 {
                printf "| %s | %s | %d | %d | %d | %d | %.2f | %.1f | %d |\n", name, weights, params,
                    macs, $1, $2 + $3 + stack, ticks * 40 / 1e6, ticks * 40 / macs, parts }'
        set -- "$1" "$2"
    done
}
echo '| net | weights | parameters | multiply-adds | flash, bytes | RAM, bytes | instructions, 10^6 | a multiply-add | off, 10^-6 |'
echo '|---|---|---|---|---|---|---|---|---|'
if [ $# -eq 0 ]; then
    for kind in plain smoother 2; do "$work/host" train "$work/$kind.st" $kind || exit 1; done
    measure "README.md's" "$work/plain.st" && measure 'with a smoother' "$work/smoother.st" &&
        measure 'two convolutions' "$work/2.st"
else
    for net; do measure "$(basename "$net" .safetensors)" "$net" || exit 1; done
fi
