/* test_models.c - the networks of examples/models.h: parameters and multiply-adds as their
   papers print them.

   Build: cc -std=c99 -O2 -I. tests/test_models.c -o tests/test_models -lm
   Usage: test_models
   modes: plain */
#ifndef TEST_LINKED
#define LSNN_IMPLEMENTATION
#endif
#include "lsnn.h"
#include "examples/models.h"
#include "check.h"

static lsnn_ctx cx;                      /* zeroed: ready for use                        */

typedef struct expected {
    const char *model;
    lsnn_shape in;
    int classes;
    double params, macs;
} expected;

/* Targeted Kernel Networks, Tables 2 to 6: 4.59 M and 368 M, 10.76 M and 1470 M, 44.7 K and
   11.3 M, 45.2 M, 0.83 M and 357 M, 802 M, 1.18 M (with 1,824 running statistics) and 145 M.
   LSNN's models: the paper gives no counts. The
   lecture: 628,000 + 8,010 and 289,630; LeCun et al. 1998: 60,000.                      */
static const expected table[] = {
    { "cnn6", { 1, 28, 28 }, 10, 4586642, 368407442 },
    { "cnn6", { 1, 56, 56 }, 10, 10758290, 1473433490 },
    { "dn10", { 1, 28, 28 }, 10, 44746, 11317030 },
    { "dn10", { 1, 56, 56 }, 10, 44746, 45265210 },
    { "dn40", { 3, 32, 32 }, 10, 832474, 356626306 },
    { "dn40", { 3, 48, 48 }, 1, 828901, 802400653 },
    { "stn", { 3, 32, 32 }, 43, 1173185, 145334289 },
    { "cnn", { 1, 42, 42 }, 10, 417482, 3861834 },
    { "lc", { 1, 42, 42 }, 10, 1017770, 3861834 },
    { "lsnn-location", { 1, 42, 42 }, 10, 417562, 3861834 },
    { "lsnn-content", { 1, 42, 42 }, 10, 556250, 7444954 },
    { "mlp", { 1, 28, 28 }, 10, 636010, 636010 },
    { "convnet", { 1, 28, 28 }, 10, 289630, 577110 },
    { "lenet5", { 1, 32, 32 }, 10, 60000, 328180 },
    { "lenet5-modern", { 1, 32, 32 }, 10, 61706, 416614 },
};

static void test_counts(const expected *e)
{
    lsnn_build_desc build = { 1, 1, 0, 0, NULL };
    lsnn_net *net = lsnn_net_new(&cx);
    int scores = model_by_name(net, e->model, lsnn_input(net, e->in.c, e->in.h, e->in.w),
                               e->classes);
    CHECK(lsnn_net_build(net, &build) == LSNN_OK);
    CHECK(lsnn_net_shape(net, scores).c == e->classes);
    NEAR(lsnn_net_params(net), e->params, 0);
    NEAR(lsnn_net_macs(net), e->macs, 0);
    test_end("%s %dx%dx%d: %.0f parameters, %.0f multiply-adds", e->model, e->in.c, e->in.h,
             e->in.w, (double)lsnn_net_params(net), lsnn_net_macs(net));
    lsnn_net_free(net);
}

/* LSNN 5.3: three labels. The baselines' last layer is there three times, the first
   convolution's smoothers too, all else is shared: per smoothed group 32 x (400 + 1),
   512 x (1568 + 1), 10 x 513 multiply-adds more.                                        */
static const expected sequence[] = {
    { "cnn", { 1, 42, 42 }, 10, 400 + 16 + 12832 + 803328 + 3 * 5130, 0 },
    { "lc", { 1, 42, 42 }, 10, 38 * 38 * 416 + 12832 + 803328 + 3 * 5130, 0 },
    { "lsnn-location", { 1, 42, 42 }, 10, 400 + 12832 + 803328 + 5130 + 3 * 96,
      577600 + 3 * (2880000 + 803328 + 5130.0) },
    { "lsnn-content", { 1, 42, 42 }, 10,
      400 + 12832 + 803328 + 5130 + 3 * 16 + 416 + 12832 + 240 * 1569, 0 },
};

static void test_sequence(const expected *e)
{
    lsnn_build_desc build = { 1, 1, 0, 0, NULL };
    lsnn_net *net = lsnn_net_new(&cx);
    model_choice c = model_defaults();
    int scores[3] = { -1, -1, -1 };
    c.heads = 3;
    CHECK(model_of_lsnn(net, e->model, lsnn_input(net, 1, 42, 42), 10, &c, scores) ==
          scores[0]);
    for (int g = 0; g < 3; g++) {
        lsnn_options o = model_options(NULL);
        o.head = g;
        CHECK(scores[g] > 0 && (g == 0 || scores[g] > scores[g - 1]));
        lsnn_cross_entropy(net, scores[g], &o);
    }
    CHECK(lsnn_net_build(net, &build) == LSNN_OK);
    NEAR(lsnn_net_params(net), e->params, 0);
    if (e->macs > 0) NEAR(lsnn_net_macs(net), e->macs, 0);
    test_end("%s with three labels: %.0f parameters, %.0f multiply-adds", e->model,
             (double)lsnn_net_params(net), lsnn_net_macs(net));
    lsnn_net_free(net);
}

/* LSNN 5.3: the groups are independent. Each one's maps come from its own fifth of theta (the
   parameter network's output is a bias here), and its scores from no other's.           */
static void test_groups(void)
{
    enum { K = 16, THETA = K * 5, SIDE = 38, MAP = K * SIDE * SIDE };
    static lsnn_real weight[3 * THETA * 1568], start[3 * THETA], x[42 * 42], got[MAP], want[MAP];
    lsnn_build_desc build = { 1, 1, 0, 0, NULL };
    lsnn_net *net = lsnn_net_new(&cx);
    model_choice c = model_defaults();
    lsnn_real bias[3 * THETA], y[4][3][10];
    lsnn_smoother s;
    int scores[3];
    c.heads = 3;
    model_of_lsnn(net, "lsnn-content", lsnn_input(net, 1, 42, 42), 10, &c, scores);
    for (int g = 0; g < 3; g++) {
        lsnn_options o = model_options(NULL);
        o.head = g;
        lsnn_cross_entropy(net, scores[g], &o);
    }
    CHECK(lsnn_net_build(net, &build) == LSNN_OK);
    for (int i = 0; i < 42 * 42; i++) x[i] = (lsnn_real)(i % 11) / 11;
    for (int i = 0; i < 3 * THETA; i++)
        start[i] = (lsnn_real)(i % 5 < 2 ? 0.1 + 0.003 * i : i % 5 < 4 ? 1 + 0.01 * i : 0);
    CHECK(lsnn_net_set(net, "param3.weight", weight, 3 * THETA * 1568) == LSNN_OK);
    memset(&s, 0, sizeof s);
    s.n = 1; s.k = K; s.h = s.w = SIDE;
    s.normalise = c.normalise;
    for (int moved = 0; moved < 4; moved++) {            /* all in place, then each moved */
        int labels[3] = { 0 };
        lsnn_batch b;
        memset(&b, 0, sizeof b);
        b.n = 1;
        b.x = x;
        b.labels = labels;
        b.heads = 3;
        for (int i = 0; i < 3 * THETA; i++)
            bias[i] = start[i] * (lsnn_real)(i / THETA + 1 == moved ? 1.5 : 1);
        CHECK(lsnn_net_set(net, "param3.bias", bias, 3 * THETA) == LSNN_OK);
        CHECK(lsnn_forward(net, &b, 0, NULL) == LSNN_OK);
        for (int g = 0; g < 3; g++) {
            char name[32];
            snprintf(name, sizeof name, "smooth%d.map", g + 1);
            CHECK(lsnn_net_get(net, name, got, MAP) == LSNN_OK);
            CHECK(lsnn_smoother_map(&cx, want, bias + g * THETA, &s) == LSNN_OK);
            for (int i = 0; i < MAP; i++) NEAR(got[i], want[i], 1e-5);
            CHECK(lsnn_net_get(net, model_group(name, "dense2", g + 1), y[moved][g], 10) ==
                  LSNN_OK);
            CHECK((memcmp(y[moved][g], y[0][g], sizeof y[0][0]) != 0) == (g + 1 == moved));
        }
    }
    test_end("three groups: each has its own part of theta, and its own scores");
    lsnn_net_free(net);
}

/* Where smoothers begin: mu in 0.5 -+ mu_range, not all alike, alpha and beta, else 0.  */
static void test_start(int content, const model_choice *c)
{
    lsnn_build_desc build = { 1, 1, 0, 0, NULL };
    lsnn_net *net = lsnn_net_new(&cx);
    int scores[3], all, stride = (c->separable ? 4 : 5) + (c->mixture > 1);
    lsnn_real *v;
    double low = 9, high = -9;
    model_choice own = model_own(c, content);
    model_of_lsnn(net, content ? "lsnn-content" : "lsnn-location", lsnn_input(net, 1, 42, 42),
                  10, c, scores);
    CHECK(lsnn_net_build(net, &build) == LSNN_OK);
    CHECK(model_lsnn_start(net, 5, c) == LSNN_OK);
    all = 16 * c->rank * c->mixture * stride * (content ? c->heads : 1);
    v = (lsnn_real *)malloc((size_t)all * sizeof *v);
    for (int g = 1; g <= (content ? 1 : c->heads); g++) {
        char name[32] = "param3.bias";
        if (!content) snprintf(name, sizeof name, "smooth%d.theta", g);
        CHECK(lsnn_net_get(net, name, v, (size_t)all) == LSNN_OK);
        for (int i = 0; i < all; i++) {
            double x = (double)v[i];
            if (i % stride > 1) NEAR(x, i % stride < 4 ? own.alpha : 0, 1e-6);
            else CHECK(fabs(x - 0.5) <= own.mu_range + 1e-6);
            if (i % stride < 2 && x < low) low = x;
            if (i % stride < 2 && x > high) high = x;
        }
    }
    CHECK(high - low > 1.6 * own.mu_range || own.mu_range <= 0);
    free(v);
    lsnn_net_free(net);
}

static void test_starts(void)
{
    for (int k = 0; k < 32; k++) {
        model_choice c = model_defaults();
        if (k & 1) c.mu_range = 0.1;
        if (k & 2) c.alpha = 4;
        if (k & 4) c.mixture = 2;
        if (k & 8) c.separable = 1;
        if (k & 16) c.rank = 2;
        if (k % 3 == 0) c.heads = 3;
        test_start(0, &c);
        test_start(1, &c);
    }
    test_end("lsnn: smoothers begin as the choice says");
}

int main(void)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) test_counts(&table[i]);
    for (size_t i = 0; i < sizeof sequence / sizeof *sequence; i++) test_sequence(&sequence[i]);
    test_groups();
    test_starts();
    lsnn_ctx_free(&cx);
    return test_finish();
}
