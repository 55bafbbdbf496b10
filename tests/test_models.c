/* test_models.c - the networks of examples/models.h: parameters and multiply-adds as their
   papers print them.

   Build: cc -std=c99 -O2 -I. tests/test_models.c -o tests/test_models -lm
   Usage: test_models
   modes: plain */
#define LSNN_IMPLEMENTATION
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
   11.3 M, 45.2 M, 0.83 M and 357 M, 802 M. LSNN's models: the paper gives no counts.    */
static const expected table[] = {
    { "cnn6", { 1, 28, 28 }, 10, 4586642, 368407442 },
    { "cnn6", { 1, 56, 56 }, 10, 10758290, 1473433490 },
    { "dn10", { 1, 28, 28 }, 10, 44746, 11317030 },
    { "dn10", { 1, 56, 56 }, 10, 44746, 45265210 },
    { "dn40", { 3, 32, 32 }, 10, 832474, 356626306 },
    { "dn40", { 3, 48, 48 }, 1, 828901, 802400653 },
    { "cnn", { 1, 42, 42 }, 10, 417482, 3861834 },
    { "lc", { 1, 42, 42 }, 10, 1017770, 3861834 },
    { "lsnn-location", { 1, 42, 42 }, 10, 417562, 3861834 },
    { "lsnn-content", { 1, 42, 42 }, 10, 556250, 7444954 },
};

static void test_counts(const expected *e)
{
    lsnn_build_desc build = { 1, 1, 0 };
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

int main(void)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) test_counts(&table[i]);
    lsnn_ctx_free(&cx);
    return test_finish();
}
