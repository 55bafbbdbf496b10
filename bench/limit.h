/* limit.h - what this machine can do at best: multiply-adds that touch registers only, and a
   copy that touches memory only.                                                      */
#ifndef LIMIT_H
#define LIMIT_H

#include "measure.h"
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/* Twelve sums that don't wait for each other fill the pipes of two units with a latency of
   up to six cycles; they begin with different numbers, or a compiler would make them one.  */
#define FMA_LOOP(name, attribute, vector, lanes, set, fma, store)                        \
    attribute static float name(long rounds)                                             \
    {                                                                                    \
        vector x = set(.999f), y = set(1e-3f), a = set(.1f), b = set(.2f), c = set(.3f); \
        vector d = set(.4f), e = set(.5f), f = set(.6f), g = set(.7f), h = set(.8f);     \
        vector i = set(.9f), j = set(1.1f), k = set(1.2f), l = set(1.3f);                \
        float out[lanes], sum = 0;                                                       \
        for (long r = 0; r < rounds; r++) {                                              \
            a = fma(a, x, y); b = fma(b, x, y); c = fma(c, x, y); d = fma(d, x, y);      \
            e = fma(e, x, y); f = fma(f, x, y); g = fma(g, x, y); h = fma(h, x, y);      \
            i = fma(i, x, y); j = fma(j, x, y); k = fma(k, x, y); l = fma(l, x, y);      \
        }                                                                                \
        a = fma(fma(a, b, c), fma(d, e, f), fma(fma(g, h, i), j, fma(k, l, y)));         \
        store(out, a);                                                                   \
        for (int n = 0; n < lanes; n++) sum += out[n];                                   \
        return sum;                                                                      \
    }
#if defined(__x86_64__) || defined(__i386__)
FMA_LOOP(fma_avx512, __attribute__((target("avx512f"))), __m512, 16, _mm512_set1_ps,
         _mm512_fmadd_ps, _mm512_storeu_ps)
FMA_LOOP(fma_avx2, __attribute__((target("avx2,fma"))), __m256, 8, _mm256_set1_ps,
         _mm256_fmadd_ps, _mm256_storeu_ps)
#define SSE_FMA(a, x, y) _mm_add_ps(_mm_mul_ps(a, x), y)
FMA_LOOP(fma_portable, , __m128, 4, _mm_set1_ps, SSE_FMA, _mm_storeu_ps)
#elif defined(__aarch64__)
#define NEON_FMA(a, x, y) vfmaq_f32(y, a, x)
FMA_LOOP(fma_neon, , float32x4_t, 4, vdupq_n_f32, NEON_FMA, vst1q_f32)
#define fma_portable fma_neon
#else
#define ONE_SET(v) (v)
#define ONE_FMA(a, x, y) ((a) * (x) + (y))
#define ONE_STORE(out, v) ((out)[0] = (v))
FMA_LOOP(fma_portable, , float, 1, ONE_SET, ONE_FMA, ONE_STORE)
#endif

enum { FMA_ROUNDS = 1 << 20, COPY_BYTES = 96 << 20, MAX_WORKERS = 1024 };

typedef struct limit {
    lsnn_ctx *cx;
    float (*loop)(long rounds);
    int lanes;
    float sum[MAX_WORKERS];          /* so that no compiler leaves the loop out   */
    char *from, *to;                 /* COPY_BYTES a thread                       */
} limit;

static void limit_init(limit *l, lsnn_ctx *cx)
{
    memset(l, 0, sizeof *l);
    l->cx = cx;
    l->loop = fma_portable;
    l->lanes = 4;
    switch (lsnn_ctx_isa(cx)) {
#if defined(__x86_64__) || defined(__i386__)
    case LSNN_ISA_AVX512: l->loop = fma_avx512; l->lanes = 16; break;
    case LSNN_ISA_AVX2: l->loop = fma_avx2; l->lanes = 8; break;
#elif !defined(__aarch64__)
    case LSNN_ISA_PORTABLE: l->lanes = 1; break;
#endif
    default: break;
    }
}

static void limit_fma_task(void *user, int i, int worker)
{
    limit *l = (limit *)user;
    (void)worker;
    l->sum[i % MAX_WORKERS] = l->loop(FMA_ROUNDS);
}
static void limit_fma(void *user)
{
    limit *l = (limit *)user;
    lsnn_parallel(l->cx, lsnn_ctx_threads(l->cx), limit_fma_task, l);
}
/* As a side of a comparison, in GFLOPS.                                          */
static side limit_side(limit *l)
{
    side s = { limit_fma, l, 24e-9 * l->lanes * (double)FMA_ROUNDS * lsnn_ctx_threads(l->cx) };
    return s;
}

static void limit_copy_task(void *user, int i, int worker)
{
    limit *l = (limit *)user;
    size_t at = (size_t)i * COPY_BYTES;
    (void)worker;
    memcpy(l->to + at, l->from + at, COPY_BYTES);
}
static void limit_copy(void *user)
{
    limit *l = (limit *)user;
    lsnn_parallel(l->cx, lsnn_ctx_threads(l->cx), limit_copy_task, l);
}

/* As a side of a comparison, in GB/s, read and written; the caller frees `from`. */
static side limit_copy_side(limit *l)
{
    size_t bytes = (size_t)COPY_BYTES * (size_t)lsnn_ctx_threads(l->cx);
    side s = { limit_copy, l, 2e-9 * (double)bytes };
    must((l->from = (char *)malloc(2 * bytes)) != NULL, "memory to copy");
    l->to = l->from + bytes;
    memset(l->from, 1, bytes);
    return s;
}

/* A limit is the best that was ever seen, not what is usual.                     */
static double best_of(const bench *b, const side *s)
{
    double best = 0;
    for (int i = 0; i < 4 * b->pairs; i++) best = fmax(best, speed(s, b->seconds / 4));
    return best;
}

static void bench_limit(bench *b)
{
    static limit l;
    row fma = { "limit", "fma", "GFLOPS", 1, "" }, copy = { "limit", "copy", "GB/s", 1, "" };
    side compute, stream;
    limit_init(&l, &b->cx);
    compute = limit_side(&l);
    if (wanted(b, "limit", "fma", 1))
        report_one(b, &fma, best_of(b, &compute));
    if (!wanted(b, "limit", "copy", 1)) return;
    stream = limit_copy_side(&l);
    report_one(b, &copy, best_of(b, &stream));
    free(l.from);
}
#endif
