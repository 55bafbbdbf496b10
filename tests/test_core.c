/* test_core.c - context, errors, memory, threads, random numbers.
   modes: plain | double asan single */
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
#include "check.h"

/* An allocator that counts, and refuses when `left` reaches 0.                          */
typedef struct counter { int live, left; } counter;

static void *count_alloc(size_t n, void *user)
{
    counter *c = (counter *)user;
    void *p = c->left-- > 0 ? malloc(n) : NULL;
    c->live += p != NULL;
    return p;
}

static void count_free(void *p, void *user)
{
    ((counter *)user)->live--;
    free(p);
}

static void keep_message(const char *message, void *user)
{
    snprintf((char *)user, 400, "%s", message);
}

static void test_errors(void)
{
    char log[400] = "";
    lsnn_ctx cx;
    lsnn_window s;
    lsnn_shape in = { 3, 4, 4 };
    lsnn_real one = 1, y = 0;
    memset(&cx, 0, sizeof cx);
    cx.log_fn = keep_message;
    cx.log_user = log;
    CHECK(lsnn_window_set(&cx, &s, 1, in, 2, 5, 5, 1, 1, LSNN_VALID, NULL) == LSNN_ESHAPE);
    CHECK(cx.status == LSNN_ESHAPE && strcmp(log, cx.message) == 0);
    CHECK(strstr(cx.message, "5 high") && strstr(cx.message, "4 high"));
    CHECK(lsnn_gemm(&cx, 0, 0, 1, 1, -1, &one, 1, &one, 1, 0, &y, 1) == LSNN_ESHAPE);
    CHECK(strstr(cx.message, "5 high") != NULL);         /* the first failure stays     */
    lsnn_clear(&cx);
    CHECK(cx.status == LSNN_OK && cx.message[0] == 0);
    CHECK(lsnn_gemm(&cx, 0, 0, 1, 1, 1, &one, 1, &one, 1, 0, &y, 1) == LSNN_OK);
    NEAR(y, 1, 0);
    for (int code = -9; code <= 1; code++)
        CHECK(strcmp(lsnn_status_text((lsnn_status)code), "unknown status") != 0);
    CHECK(strcmp(lsnn_status_text((lsnn_status)77), "unknown status") == 0);
    lsnn_ctx_free(&cx);
    test_end("errors: first failure and its message stay until lsnn_clear");
}

static void test_overflow(void)
{
    char log[400];
    lsnn_ctx cx;
    lsnn_window s;
    lsnn_shape huge = { INT_MAX, INT_MAX, INT_MAX }, in = { 1, 30000, 30000 };
    int pad[4] = { INT_MAX, INT_MAX, INT_MAX, INT_MAX };
    lsnn_net *net;
    memset(&cx, 0, sizeof cx);
    cx.log_fn = keep_message;
    cx.log_user = log;
    CHECK(lsnn_window_set(&cx, &s, 1, huge, 1, 1, 1, 1, 1, LSNN_VALID, NULL) < 0);
    CHECK(lsnn_window_set(&cx, &s, 1, in, INT_MAX, 3, 3, 1, 1, LSNN_SAME, NULL) < 0);
    CHECK(lsnn_window_set(&cx, &s, 1, in, 1, 3, 3, 1, 1, LSNN_EXPLICIT, pad) < 0);
    lsnn_clear(&cx);
    CHECK(lsnn_window_set(&cx, &s, 1, in, 1, 3, 3, 0, 1, LSNN_VALID, NULL) < 0);
    CHECK(strstr(cx.message, "window: stride_h is 0"));
    CHECK(lsnn_window_set(&cx, &s, INT_MAX, in, 1, INT_MAX, 3, 1, 1, LSNN_SAME, NULL) < 0);
    lsnn_clear(&cx);
    net = lsnn_net_new(&cx);
    CHECK(lsnn_input(net, INT_MAX, INT_MAX, INT_MAX) < 0 && cx.status == LSNN_ESHAPE);
    lsnn_net_free(net);
    lsnn_clear(&cx);
    net = lsnn_net_new(&cx);
    CHECK(lsnn_dense(net, lsnn_input(net, 1 << 20, 1, 1), INT_MAX, NULL) >= 0 || cx.status < 0);
    CHECK(lsnn_net_build(net, NULL) < 0 && cx.status < 0);
    lsnn_net_free(net);
    lsnn_clear(&cx);
    net = lsnn_net_new(&cx);                    /* 2^20 numbers: a pooling has no weights */
    CHECK(lsnn_avg_pool(net, lsnn_input(net, 1024, 32, 32), 0, NULL) == 1);
    lsnn_net_free(net);
    net = lsnn_net_new(&cx);                    /* 2^30 weights                          */
    CHECK(lsnn_conv2d(net, lsnn_input(net, 1 << 20, 1, 1), 1024, 1, NULL) < 0);
    CHECK(cx.status == LSNN_ESHAPE);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    test_end("sizes: overflowing products are refused");
}

static void test_memory(void)
{
    counter c = { 0, 1000000 };
    char log[400];
    int refused = 0;
    for (int left = 0; left < 40; left++) {
        static lsnn_real a[64 * 64], b[64 * 64], y[64 * 64];
        lsnn_status s;
        lsnn_ctx cx;
        memset(&cx, 0, sizeof cx);
        cx.mem.alloc_fn = count_alloc;
        cx.mem.free_fn = count_free;
        cx.mem.user = &c;
        cx.log_fn = keep_message;
        cx.log_user = log;
        c.left = left;
        s = lsnn_gemm(&cx, 1, 1, 64, 64, 64, a, 64, b, 64, 0, y, 64);   /* turns B */
        CHECK(s == LSNN_OK || (s == LSNN_ENOMEM && cx.status == LSNN_ENOMEM));
        refused += s != LSNN_OK;
        lsnn_ctx_free(&cx);
        CHECK(c.live == 0);
    }
    CHECK(refused > 0 && refused < 40);
    test_end("memory: a refused allocation is a status, and nothing leaks");
}

/* Random123's known answers for philox4x32-10.                                           */
static void test_philox(void)
{
    static const uint32_t zero[4] = { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 };
    static const uint32_t ones[4] = { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd };
    static const uint32_t pi[4] = { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 };
    uint32_t counter[4] = { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 }, out[4];
    uint32_t key[2] = { 0xa4093822, 0x299f31d0 };
    lsnn_rng r;
    memset(&r, 0, sizeof r);
    for (int i = 0; i < 4; i++) CHECK(lsnn_rng_u32(&r) == zero[i]);
    for (int i = 3; i >= 0; i--) {                       /* any element, in any order   */
        r.element = 1000;
        CHECK(lsnn_rng_u32(&r) != zero[i]);
        r.element = (uint32_t)i;
        CHECK(lsnn_rng_u32(&r) == zero[i]);
    }
    lsnni_philox(key, counter, out);
    for (int i = 0; i < 4; i++) CHECK(out[i] == pi[i]);
    memset(counter, 255, sizeof counter);
    memset(key, 255, sizeof key);
    lsnni_philox(key, counter, out);
    for (int i = 0; i < 4; i++) CHECK(out[i] == ones[i]);
    test_end("philox4x32-10: the published known answers");
}

static void test_draws(void)
{
    enum { N = 200000, BINS = 7 };
    lsnn_rng r = lsnn_rng_at(5, "test", "draws", 1, 2);
    lsnn_rng other = lsnn_rng_at(5, "test", "draws", 1, 3);
    double sum = 0, square = 0, bins[BINS] = { 0 }, chi = 0, uniform = 0;
    int order[1000], seen[1000] = { 0 }, moved = 0;
    for (int i = 0; i < N; i++) {
        double v = lsnn_rng_normal(&r), u = lsnn_rng_uniform(&other);
        int k = lsnn_rng_int(&other, BINS);
        CHECK(u >= 0 && u < 1 && k >= 0 && k < BINS);
        sum += v;
        square += v * v;
        uniform += u;
        bins[k]++;
    }
    NEAR(sum / N, 0, 0.01);
    NEAR(square / N, 1, 0.01);
    NEAR(uniform / N, 0.5, 0.005);
    for (int k = 0; k < BINS; k++) chi += (bins[k] - N / 7.0) * (bins[k] - N / 7.0) / (N / 7.0);
    CHECK(chi < 25);                                     /* 6 degrees: p = 0.0003       */
    lsnn_rng_permutation(&r, order, 1000);
    for (int i = 0; i < 1000; i++) {
        CHECK(order[i] >= 0 && order[i] < 1000 && !seen[order[i]]);
        seen[order[i]] = 1;
        moved += order[i] != i;
    }
    CHECK(moved > 950);
    test_end("random numbers: moments, ranges, a fair permutation");
}

static void test_addresses(void)
{
    uint32_t first[6];
    lsnn_rng r;
    for (int i = 0; i < 6; i++) {
        r = lsnn_rng_at(i == 1 ? 2 : 1, i == 2 ? "p2" : "p", i == 3 ? "n2" : "n", i == 4,
                        i == 5);
        first[i] = lsnn_rng_u32(&r);
    }
    for (int i = 1; i < 6; i++) CHECK(first[i] != first[0]);
    r = lsnn_rng_at(1, "p", "n", 0, 0);
    CHECK(lsnn_rng_u32(&r) == first[0]);
    r = lsnn_rng_at(1, "pn", "", 0, 0);                  /* not the same as "p", "n"    */
    CHECK(lsnn_rng_u32(&r) != first[0]);
    test_end("random numbers: every part of the address counts");
}

static void mark(void *user, int i, int worker)
{
    (void)worker;
    ((int *)user)[i] += i + 1;
}

/* The instruction sets are those of the machine; one that does not run here means the best. */
static void test_isa(void)
{
    lsnn_ctx cx;
    lsnn_isa best;
    memset(&cx, 0, sizeof cx);
    best = lsnn_ctx_isa(&cx);
    CHECK(lsnn_isa_available(best) && lsnn_isa_available(LSNN_ISA_PORTABLE));
#if defined(__x86_64__) && defined(__GNUC__) && !defined(LSNN_NO_SIMD)
    CHECK(lsnn_isa_available(LSNN_ISA_AVX2) ==
          (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")));
    CHECK(lsnn_isa_available(LSNN_ISA_AVX512) ==
          (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl")));
    CHECK(!lsnn_isa_available(LSNN_ISA_NEON));
#endif
    for (int i = 1; i < LSNN_ISA_COUNT_; i++) {
        cx.isa = (lsnn_isa)i;
        CHECK(lsnn_ctx_isa(&cx) == (lsnn_isa_available(cx.isa) ? cx.isa : best));
    }
    test_end("instruction sets: what the machine has, else the best");
}

static void test_parallel(void)
{
    static int done[1000];
    lsnn_ctx cx;
    memset(&cx, 0, sizeof cx);
    for (cx.threads = 0; cx.threads < 4; cx.threads++) {
        memset(done, 0, sizeof done);
        lsnn_parallel(&cx, 1000, mark, done);
        for (int i = 0; i < 1000; i++) CHECK(done[i] == i + 1);
        lsnn_parallel(&cx, 0, mark, done);
        CHECK(lsnn_ctx_threads(&cx) >= 1);
    }
    for (int i = 0; i < LSNN_ISA_COUNT_; i++)
        CHECK(lsnn_isa_from_name(lsnn_isa_name((lsnn_isa)i)) == (lsnn_isa)i);
    CHECK(lsnn_isa_from_name("sse9") == LSNN_ISA_COUNT_);
    CHECK(lsnn_isa_available(lsnn_ctx_isa(&cx)));
    CHECK(strstr(lsnn_build_info(), LSNN_VERSION) != NULL);
    lsnn_ctx_free(&cx);
    test_end("parallel: every task once, for any number of threads");
}

int main(void)
{
    test_errors();
    test_overflow();
    test_memory();
    test_philox();
    test_draws();
    test_addresses();
    test_parallel();
    test_isa();
    return test_finish();
}
