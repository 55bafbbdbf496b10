/* test_net.c - the net: gradients of whole nets by finite differences (double build), shapes
   and refusals, kept outputs, prediction by batches, threads and workspaces, counts, and a
   failure at every allocation in turn.

   modes: plain double | asan naive m32
   Build: cc -O2 -I. tests/test_net.c -o tests/test_net -lm                              */
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
#include "examples/models.h"
#include "check.h"
#include "nets.h"

/* LSNN_NAIVE builds layers that do no neighbour's work.                                  */
#ifdef LSNN_NAIVE
enum { FUSES = 0 };
#else
enum { FUSES = 1 };
#endif

/* ---- gradients -------------------------------------------------------------------------
   Central differences. A draw of the data that puts a parameter on a kink of relu or a tie
   of max pooling, seen by a difference that changes when its step is halved, is replaced by
   another for that parameter.                                                            */
enum { DRAWS = 20 };
static const double step_size = 1e-5;
#ifdef LSNN_DOUBLE
static const int can_differ = 1;
#else
static const int can_differ = 0;         /* floats are too coarse                         */
#endif

static double loss_of(lsnn_net *net, const lsnn_batch *b)
{
    double loss = NAN;
    CHECK(lsnn_forward(net, b, 1, &loss) == LSNN_OK);
    return loss;
}

static double difference(lsnn_net *net, const lsnn_batch *b, const char *name, lsnn_real *v,
                         size_t count, size_t i, double eps)
{
    lsnn_real was = v[i];
    double up, down;
    v[i] = (lsnn_real)((double)was + eps);
    lsnn_net_set(net, name, v, count);
    up = loss_of(net, b);
    v[i] = (lsnn_real)((double)was - eps);
    lsnn_net_set(net, name, v, count);
    down = loss_of(net, b);
    v[i] = was;
    lsnn_net_set(net, name, v, count);
    return (up - down) / (2 * eps);
}

/* Checks the elements of one tensor that are still pending; returns how many are on a kink. */
static int check_tensor(lsnn_net *net, const lsnn_batch *b, const char *name, size_t count,
                        char *pending, double *worst)
{
    lsnn_real *v = new_reals(count), *g = new_reals(count);
    char grad[128];
    double largest = 0;
    int left = 0;
    snprintf(grad, sizeof grad, "grad:%s", name);
    lsnn_zero_grad(net);
    loss_of(net, b);
    CHECK(lsnn_backward(net) == LSNN_OK);
    CHECK(lsnn_net_get(net, grad, g, count) == LSNN_OK);
    CHECK(lsnn_net_get(net, name, v, count) == LSNN_OK);
    for (size_t i = 0; i < count; i++) largest = fmax(largest, fabs((double)g[i]));
    if (!CHECK(largest > 1e-5)) printf("# all gradients of %s are about zero\n", name);
    for (size_t i = 0; i < count; i++) {
        double whole, half, error;
        if (!pending[i]) continue;
        whole = difference(net, b, name, v, count, i, step_size);
        half = difference(net, b, name, v, count, i, step_size / 2);
        if (fabs(whole - half) > 5e-7 * largest) { left++; continue; }
        pending[i] = 0;
        error = fabs(whole - (double)g[i]) / largest;
        if (!(error <= *worst)) *worst = error;
        if (!CHECK(error <= 1e-6))
            printf("# %s[%d]: %.10g, by differences %.10g\n", name, (int)i, (double)g[i],
                   whole);
    }
    free(v);
    free(g);
    return left;
}

static void check_gradients(lsnn_net *net, int n, int size, const char *what)
{
    static sample_batch s;
    double worst = 0;
    size_t count, total = 0;
    const char *name;
    int redrawn = 0;
    for (int i = 0; (name = lsnn_net_param_name(net, 0, i, &count)) != NULL; i++) {
        char *pending = (char *)malloc(count);
        int left = 1;
        memset(pending, 1, count);
        for (int draw = 0; left && draw < DRAWS; draw++) {
            left = check_tensor(net, draw_batch(&s, n, size, 7 + (uint64_t)draw), name, count,
                                pending, &worst);
            redrawn += left;
        }
        CHECK(left == 0);
        total += count;
        free(pending);
    }
    CHECK(redrawn < (int)total / 2);
    test_end("%s: %d gradients by differences, worst %.1e, %d redrawn", what, (int)total, worst,
             redrawn);
}

static void test_gradients(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net;
    if (!can_differ) {
        test_skip("gradients of whole nets by differences", "needs the double build");
        return;
    }
    net = small_net(&cx, "content", 14, 4, 5);
    check_gradients(net, 4, 14 * 14, "LSNN-Content, 14x14, 3 kernels");
    lsnn_net_free(net);
    net = all_net(&cx, 4, 6, 0);
    check_gradients(net, 4, ALL_IN, "a net of all layer types");
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
}

/* ---- shapes ---------------------------------------------------------------------------- */
static int shape_is(const lsnn_net *net, int node, int c, int h, int w)
{
    lsnn_shape s = lsnn_net_shape(net, node);
    if (s.c == c && s.h == h && s.w == w) return 1;
    printf("# node %d is %dx%dx%d, should be %dx%dx%d\n", node, s.c, s.h, s.w, c, h, w);
    return 0;
}

static void test_shapes(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options o = named(NULL), pad = named(NULL), s2 = named(NULL), rank = named(NULL);
    int in = lsnn_input(net, 3, 11, 7), x, both[2];
    CHECK(shape_is(net, in, 3, 11, 7));
    CHECK(shape_is(net, lsnn_conv2d(net, in, 5, 3, NULL), 5, 9, 5));
    o.padding = LSNN_SAME; o.stride_h = 2;
    CHECK(shape_is(net, lsnn_conv2d(net, in, 5, 4, &o), 5, 6, 4));
    pad.padding = LSNN_EXPLICIT; pad.kernel_w = 2; pad.pad_top = 2; pad.pad_right = 1;
    pad.stride_w = 3;
    x = lsnn_local2d(net, in, 4, 3, &pad);      /* rows 11+2-3+1, columns (7+1-2)/3+1     */
    CHECK(shape_is(net, x, 4, 11, 3));
    CHECK(shape_is(net, lsnn_max_pool(net, in, 2, NULL), 3, 5, 3));
    s2.stride_h = 1;
    CHECK(shape_is(net, lsnn_avg_pool(net, in, 3, &s2), 3, 9, 5));
    CHECK(shape_is(net, lsnn_sum_pool(net, in, 0, NULL), 3, 1, 1));
    CHECK(shape_is(net, lsnn_lp_pool(net, in, 3, &s2), 3, 9, 5));
    CHECK(shape_is(net, lsnn_table_conv2d(net, in, "0,2;1", 4, &o), 2, 6, 4));
    CHECK(shape_is(net, lsnn_rbf(net, in, 4, NULL), 4, 1, 1));
    CHECK(shape_is(net, lsnn_dense(net, in, 6, NULL), 6, 1, 1));
    CHECK(shape_is(net, lsnn_slice(net, in, 1, 2, NULL), 2, 11, 7));
    CHECK(shape_is(net, lsnn_flatten(net, in, NULL), 3 * 11 * 7, 1, 1));
    rank.rank = 3;
    CHECK(shape_is(net, lsnn_smooth(net, in, LSNN_FREE, &rank), 1, 11, 7));
    both[0] = both[1] = in;
    CHECK(shape_is(net, lsnn_concat(net, both, 2, NULL), 6, 11, 7));
    CHECK(shape_is(net, lsnn_add(net, in, in, NULL), 3, 11, 7));
    CHECK(shape_is(net, lsnn_batch_norm(net, in, NULL), 3, 11, 7));
    CHECK(shape_is(net, 999, 0, 0, 0) && shape_is(net, -1, 0, 0, 0));
    CHECK(cx.status == LSNN_OK);
    CHECK(lsnn_net_node(net, "conv2d2") == 2 && lsnn_net_node(net, "none") == -1);
    lsnn_net_free(net);
    CHECK(heap.live == 0);
    test_end("shapes of all layer types");
}

/* A net with an input of 3x8x8 that one call will fail in.                               */
static lsnn_net *fresh_net(lsnn_ctx *cx)
{
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_options first = named("first");
    lsnn_relu(net, lsnn_input(net, 3, 8, 8), &first);
    return net;
}

#define BAD_LAYER(call, want, needle)                                  \
    do {                                                               \
        lsnn_net *net = fresh_net(&cx);                                \
        REFUSED(&cx, (call) == -1, want, needle);                      \
        CHECK(lsnn_dense(net, 1, 4, NULL) == -1);                      \
        REFUSED(&cx, build_net(net, 4, 1, 0) == (want), want, "lsnn_net_build");       \
        lsnn_net_free(net);                                            \
    } while (0)

static void test_bad_layers(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_options big = named("big"), rank = named("ranked"), same = named("first");
    lsnn_options share = named("sharer"), bad = named("bad"), o = named("odd");
    int two[2] = { 1, 1 };
    BAD_LAYER(lsnn_conv2d(net, 1, 4, 9, &big), LSNN_ESHAPE, "'big'");
    BAD_LAYER(lsnn_conv2d(net, 1, 4, 9, &big), LSNN_ESHAPE, "9");
    BAD_LAYER(lsnn_conv2d(net, 1, -4, 3, &big), LSNN_ESHAPE, "'big'");
    BAD_LAYER(lsnn_conv2d(net, 1, 1 << 30, 3, &big), LSNN_ESHAPE, "'big'");
    BAD_LAYER(lsnn_dense(net, 1, 0, &big), LSNN_ESHAPE, "'big'");
    BAD_LAYER(lsnn_dense(net, 5, 4, NULL), LSNN_EVALUE, "node 5");
    BAD_LAYER(lsnn_dense(net, -7, 4, NULL), LSNN_EVALUE, "node -7");
    BAD_LAYER(lsnn_add(net, 1, lsnn_max_pool(net, 1, 2, NULL), &big), LSNN_ESHAPE,
              "3x8x8 and 3x4x4");
    BAD_LAYER((two[1] = lsnn_max_pool(net, 1, 2, NULL), lsnn_concat(net, two, 2, &big)),
              LSNN_ESHAPE, "4x4");
    BAD_LAYER(lsnn_concat(net, two, 0, NULL), LSNN_EVALUE, "inputs");
    BAD_LAYER(lsnn_slice(net, 1, 2, 2, &big), LSNN_ESHAPE, "[2, 2 + 2) of 3");
    BAD_LAYER(lsnn_smooth(net, 1, 1, &big), LSNN_ESHAPE, "192 features");
    rank.rank = 2;
    BAD_LAYER(lsnn_smooth(net, 1, LSNN_FREE, &rank), LSNN_ESHAPE, "rank 2");
    BAD_LAYER(lsnn_dropout(net, 1, 1.0, NULL), LSNN_EVALUE, "rate 1");
    BAD_LAYER(lsnn_dropout(net, 1, NAN, NULL), LSNN_EVALUE, "rate");
    o.slope = -1;
    BAD_LAYER(lsnn_leaky_relu(net, 1, &o), LSNN_EVALUE, "slope");
    o = named("odd"); o.eps = -1;
    BAD_LAYER(lsnn_batch_norm(net, 1, &o), LSNN_EVALUE, "eps");
    o = named("odd"); o.head = -1;
    BAD_LAYER(lsnn_cross_entropy(net, 1, &o), LSNN_EVALUE, "head -1");
    o = named("odd"); o.lr_factor = -1;
    BAD_LAYER(lsnn_dense(net, 1, 4, &o), LSNN_EVALUE, "lr_factor");
    o = named("odd"); o.init_scale = -1;
    BAD_LAYER(lsnn_dense(net, 1, 4, &o), LSNN_EVALUE, "init_scale");
    o = named("odd"); o.lr_factor = INFINITY;
    BAD_LAYER(lsnn_dense(net, 1, 4, &o), LSNN_EVALUE, "lr_factor");
    o = named("odd"); o.loss_weight = -1;
    BAD_LAYER(lsnn_cross_entropy(net, 1, &o), LSNN_EVALUE, "loss_weight");
    o = named("odd"); o.init = (lsnn_init)7;
    BAD_LAYER(lsnn_dense(net, 1, 4, &o), LSNN_EVALUE, "init");
    o = named("odd"); o.padding = (lsnn_padding)7;
    BAD_LAYER(lsnn_conv2d(net, 1, 4, 3, &o), LSNN_EVALUE, "padding");
    BAD_LAYER(lsnn_relu(net, lsnn_cross_entropy(net, 1, NULL), NULL), LSNN_EVALUE, "loss");
    BAD_LAYER(lsnn_input(net, 1, 1, 1), LSNN_ESTATE, "one input");
    BAD_LAYER(lsnn_relu(net, 1, &same), LSNN_ENAME, "'first'");
    share.share = "nobody";
    BAD_LAYER(lsnn_dense(net, 1, 4, &share), LSNN_ENAME, "'nobody'");
    share.share = "first";
    BAD_LAYER(lsnn_dense(net, 1, 4, &share), LSNN_ESHAPE, "relu");
    share.share = "dense1";
    BAD_LAYER((lsnn_dense(net, 1, 5, NULL), lsnn_dense(net, 1, 4, &share)), LSNN_ESHAPE,
              "is 5");
    o = named("free");
    share = named("sharer"); share.share = "free"; share.normalise = LSNN_NORMALISE_MEAN;
    BAD_LAYER((lsnn_smooth(net, 1, LSNN_FREE, &o), lsnn_smooth(net, 1, LSNN_FREE, &share)),
              LSNN_EVALUE, "means something else");
    share = named("sharer");
    BAD_LAYER(lsnn_local2d(net, lsnn_conv2d(net, 1, 4096, 3, NULL), 4096, 3, &share),
              LSNN_ESHAPE, "over 2^29");
    o = named("a"); bad.name = "a.weight";
    BAD_LAYER((lsnn_dense(net, 1, 4, &o), lsnn_relu(net, 1, &bad)), LSNN_ENAME, "a parameter");
    BAD_LAYER((lsnn_relu(net, 1, &bad), lsnn_dense(net, 1, 4, &o)), LSNN_ENAME, "'a.weight'");
    bad.name = "";
    BAD_LAYER(lsnn_relu(net, 1, &bad), LSNN_ENAME, "1 to 200");
    bad.name = "two words";
    BAD_LAYER(lsnn_relu(net, 1, &bad), LSNN_ENAME, "two words");
    bad.name = "a=b";
    BAD_LAYER(lsnn_relu(net, 1, &bad), LSNN_ENAME, "a=b");
    bad.name = "line\nbreak";
    BAD_LAYER(lsnn_relu(net, 1, &bad), LSNN_ENAME, "character");
    {
        char text[202];
        memset(text, 'x', 201);
        text[201] = 0;
        bad.name = text;
        BAD_LAYER(lsnn_relu(net, 1, &bad), LSNN_ENAME, "1 to 200");
    }
    CHECK(heap.live == 0);
    test_end("layers that do not fit are refused, by name and sizes; one check at the build");
}

static void test_bad_lecture(void)
{
    static const char *const table[][2] = {
        { "", "at its character 1" }, { "0,;1", "character 3" }, { "0;;1", "character 3" },
        { "0-", "character 3" }, { "-1", "character 1" }, { "1,0", "character 4" },
        { "1,1", "character 4" }, { "2-1", "character 4" }, { "0 1", "character 2" },
        { "0;1;", "character 5" }, { "99999999", "character 9" },
        { "0-2;1,3", "kernel 1 reads map 3, there are 3" }
    };
    lsnn_ctx cx = quiet_ctx();
    lsnn_options o, share;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        BAD_LAYER(lsnn_table_conv2d(net, 1, table[i][0], 3, NULL), LSNN_EVALUE, table[i][1]);
    BAD_LAYER(lsnn_table_conv2d(net, 1, NULL, 3, NULL), LSNN_EVALUE, "table");
    o = named("odd"); o.filters = 3;
    BAD_LAYER(lsnn_table_conv2d(net, 1, "0;1", 3, &o), LSNN_ESHAPE, "has 2 kernels");
    o = named("odd"); o.table = "0";
    BAD_LAYER(lsnn_conv2d(net, 1, 1, 3, &o), LSNN_EVALUE, "no option table");
    o = named("own"); share = named("sharer"); share.share = "own";
    BAD_LAYER((lsnn_table_conv2d(net, 1, "0;1", 3, &o),
               lsnn_table_conv2d(net, 1, "0;2", 3, &share)), LSNN_EVALUE, "another table");
    o = named("odd"); o.norm = 0.5;
    BAD_LAYER(lsnn_lp_pool(net, 1, 2, &o), LSNN_EVALUE, "norm is 0.5");
    o.norm = 1; o.learn_norm = LSNN_NORM_OF_LAYER;
    BAD_LAYER(lsnn_lp_pool(net, 1, 2, &o), LSNN_EVALUE, "above 1 to be learned");
    o.norm = 2; o.learn_norm = (lsnn_learn_norm)3;
    BAD_LAYER(lsnn_lp_pool(net, 1, 2, &o), LSNN_EVALUE, "learn_norm 3");
    o = named("odd"); o.rubbish = -1;
    BAD_LAYER(lsnn_cross_entropy(net, 1, &o), LSNN_EVALUE, "rubbish is -1");
    BAD_LAYER(lsnn_rbf(net, 1, 0, NULL), LSNN_ESHAPE, "rbf");
    o = named("odd");
    BAD_LAYER(lsnn_affine_grid(net, 1, 4, 4, NULL), LSNN_ESHAPE, "a theta has 6");
    BAD_LAYER(lsnn_affine_grid(net, lsnn_dense(net, 1, 6, NULL), 0, 4, NULL), LSNN_ESHAPE,
              "grid_h");
    o.align_corners = 2;
    BAD_LAYER(lsnn_affine_grid(net, lsnn_dense(net, 1, 6, NULL), 4, 4, &o), LSNN_EVALUE,
              "align_corners is 2");
    BAD_LAYER(lsnn_grid_sample(net, 1, lsnn_conv2d(net, 1, 2, 1, NULL), &o), LSNN_EVALUE,
              "align_corners is 2");
    BAD_LAYER(lsnn_grid_sample(net, 1, lsnn_conv2d(net, 1, 3, 1, NULL), NULL), LSNN_ESHAPE,
              "a grid has 2");
    o.align_corners = 0; o.grid_h = 3;
    BAD_LAYER(lsnn_grid_sample(net, 1, lsnn_conv2d(net, 1, 2, 1, NULL), &o), LSNN_EVALUE,
              "no option grid_h");
    CHECK(heap.live == 0);
    test_end("connection tables, norms, rubbish that make no sense are refused, by what is wrong");
}

static void test_foreign_options(void)
{
    lsnn_ctx cx = quiet_ctx();
    int cases = 0;
    for (size_t t = 1; t < sizeof lsnni_types / sizeof lsnni_types[0]; t++)
        for (int f = 0; f < LSNNI_FIELDS; f++) {
            const lsnn_layer_type *type = lsnni_types[t];
            lsnn_options o = named("odd");
            char needle[64];
            if (strcmp(lsnni_fields[f].name, "keep") == 0) continue;
            if (lsnni_listed(type->options, lsnni_fields[f].name)) continue;
            lsnni_field_set(&o, &lsnni_fields[f], 1);
            snprintf(needle, sizeof needle, "has no option %s ", lsnni_fields[f].name);
            {
                int x[2] = { 1, 1 };
                BAD_LAYER(lsnn_layer(net, type, x, type->min_inputs, &o), LSNN_EVALUE, needle);
            }
            cases++;
        }
    {
        lsnn_options o = named("odd");
        o.eps = NAN;
        BAD_LAYER(lsnn_relu(net, 1, &o), LSNN_EVALUE, "eps is not a finite number");
    }
    CHECK(cases > 400 && heap.live == 0);
    test_end("%d options that a type does not read are refused by name", cases);
}

static void test_wrong_times(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx);
    static sample_batch s;
    lsnn_real y[10 * 8];
    lsnn_batch b = *draw_batch(&s, 4, 14 * 14, 1);
    double loss;
    REFUSED(&cx, build_net(net, 4, 1, 0) != LSNN_OK, LSNN_ESTATE, "no layers");
    REFUSED(&cx, lsnn_dense(net, 0, 10, NULL) == -1, LSNN_ESTATE, "begins with lsnn_input");
    lsnn_net_free(net);
    net = lsnn_net_new(&cx);
    lsnn_input(net, 1, 14, 14);
    REFUSED(&cx, build_net(net, 4, 1, 0) != LSNN_OK, LSNN_ESTATE, "no layers");
    lsnn_cross_entropy(net, lsnn_dense(net, 0, 10, NULL), NULL);
    REFUSED(&cx, lsnn_forward(net, &b, 1, &loss) != LSNN_OK, LSNN_ESTATE, "lsnn_net_build");
    REFUSED(&cx, lsnn_predict(net, s.x, 1, y) != LSNN_OK, LSNN_ESTATE, "lsnn_net_build");
    REFUSED(&cx, lsnn_net_get(net, "dense1.bias", y, 10) != LSNN_OK, LSNN_ESTATE, "build");
    REFUSED(&cx, lsnn_work_new(&cx, net, 4) == NULL, LSNN_ESTATE, "not built");
    REFUSED(&cx, lsnn_work_new(&cx, NULL, 4) == NULL, LSNN_ESTATE, "NULL");
    REFUSED(&cx, lsnn_optimizer_new(net, NULL) == NULL, LSNN_ESTATE, "built");
    REFUSED(&cx, lsnn_net_save(net, "/nowhere/x") != LSNN_OK, LSNN_ESTATE, "build");
    REFUSED(&cx, build_net(net, -4, 1, 0) != LSNN_OK, LSNN_EVALUE, "batch -4");
    CHECK(build_net(net, 4, 1, 0) == LSNN_OK);
    REFUSED(&cx, build_net(net, 4, 1, 0) != LSNN_OK, LSNN_ESTATE, "built already");
    REFUSED(&cx, lsnn_backward(net) != LSNN_OK, LSNN_ESTATE, "training = 1");
    REFUSED(&cx, lsnn_net_get(net, "dense1", y, 40) != LSNN_OK, LSNN_ESTATE,
            "before a forward");
    CHECK(lsnn_forward(net, &b, 0, &loss) == LSNN_OK);
    REFUSED(&cx, lsnn_backward(net) != LSNN_OK, LSNN_ESTATE, "training = 1");
    CHECK(lsnn_forward(net, &b, 1, &loss) == LSNN_OK);
    CHECK(lsnn_predict(net, s.x, 2, y) == LSNN_OK);
    REFUSED(&cx, lsnn_backward(net) != LSNN_OK, LSNN_ESTATE, "training = 1");
    CHECK(lsnn_forward(net, &b, 1, &loss) == LSNN_OK);
    b.n = 5;
    REFUSED(&cx, lsnn_forward(net, &b, 1, &loss) != LSNN_OK, LSNN_ESHAPE, "5 images");
    REFUSED(&cx, lsnn_backward(net) != LSNN_OK, LSNN_ESTATE, "training = 1");
    b.n = 0;
    REFUSED(&cx, lsnn_forward(net, &b, 1, &loss) != LSNN_OK, LSNN_ESHAPE, "0 images");
    REFUSED(&cx, lsnn_predict(net, s.x, 0, y) != LSNN_OK, LSNN_ESHAPE, "0 images");
    REFUSED(&cx, lsnn_work_new(&cx, net, 0) == NULL, LSNN_EVALUE, "batch is 0");
    b.n = 4;
    s.labels[2] = 10;
    REFUSED(&cx, lsnn_forward(net, &b, 1, &loss) != LSNN_OK, LSNN_EVALUE, "10");
    s.labels[2] = -1;
    REFUSED(&cx, lsnn_forward(net, &b, 1, &loss) != LSNN_OK, LSNN_EVALUE, "cross_entropy1");
    s.labels[2] = 1;
    b.labels = NULL;
    REFUSED(&cx, lsnn_forward(net, &b, 1, &loss) != LSNN_OK, LSNN_ESHAPE, "label 0");
    REFUSED(&cx, lsnn_relu(net, 1, NULL) == -1, LSNN_ESTATE, "built");
    REFUSED(&cx, lsnn_input(net, 1, 1, 1) == -1, LSNN_ESTATE, "one input");
    REFUSED(&cx, build_net(net, 4, 1, 0) != LSNN_OK, LSNN_ESTATE, "built already");
    REFUSED(&cx, lsnn_net_get(net, "input", y, 80) != LSNN_OK, LSNN_ESTATE, "the caller's");
    lsnn_net_free(net);
    net = fresh_net(&cx);
    heap.refuse_all = 1;
    REFUSED(&cx, build_net(net, 4, 1, 0) != LSNN_OK, LSNN_ENOMEM, "refused");
    heap.refuse_all = 0;
    REFUSED(&cx, build_net(net, 4, 1, 0) != LSNN_OK, LSNN_ESTATE, "failed before");
    lsnn_net_free(net);
    net = small_net(&cx, "cnn", 14, 4, 1);
    lsnn_net_free(net);
    net = all_net(&cx, 4, 1, 1);
    b = *draw_batch(&s, 4, ALL_IN, 1);
    REFUSED(&cx, lsnn_forward(net, &b, 1, &loss) != LSNN_OK, LSNN_ESTATE, "predict only");
    CHECK(lsnn_forward(net, &b, 0, &loss) == LSNN_OK && loss > 0);
    b.targets = NULL;
    REFUSED(&cx, lsnn_forward(net, &b, 0, &loss) != LSNN_OK, LSNN_ESHAPE, "2 targets");
    lsnn_net_free(net);
    lsnn_net_free(NULL);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("calls at the wrong time and batches that do not fit");
}

/* ---- names ------------------------------------------------------------------------------ */
enum { KC = 3, KS = 10, KP = KS * KS };          /* conv1 of 14x14, kernel 5               */

/* conv1, smooth1, relu, pool, dense; keep 1: the first four are kept, 2: relu1 and pool1.   */
static lsnn_net *kept_net(lsnn_ctx *cx, int keep, int predict_only)
{
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_options conv = named("conv1"), smooth = named("smooth1"), relu = named("relu1");
    lsnn_options pool = named("pool1");
    int x = lsnn_input(net, 1, 14, 14);
    conv.keep = smooth.keep = keep == 1;
    relu.keep = pool.keep = keep > 0;
    smooth.normalise = LSNN_NORMALISE_MEAN;
    x = lsnn_conv2d(net, x, KC, 5, &conv);
    x = lsnn_relu(net, lsnn_smooth(net, x, LSNN_FREE, &smooth), &relu);
    x = lsnn_dropout(net, lsnn_flatten(net, lsnn_max_pool(net, x, 2, &pool), NULL), 0.25, NULL);
    lsnn_cross_entropy(net, lsnn_dense(net, x, 3, NULL), NULL);
    CHECK(build_net(net, 4, 3, predict_only) == LSNN_OK);
    return net;
}

/* The same by the ops: the outputs, and the gradients of conv1, smooth1 and relu1 from dp,
   the gradient of the pooled maps.                                                       */
typedef struct by_hand {
    lsnn_real conv[4 * KC * KP], map[KC * KP], smooth[4 * KC * KP], relu[4 * KC * KP];
    lsnn_real pool[KC * KP], drelu[4 * KC * KP], dsmooth[4 * KC * KP], dconv[4 * KC * KP];
    int32_t where[KC * KP];
} by_hand;

static void by_hand_run(lsnn_ctx *cx, lsnn_net *net, by_hand *h, const lsnn_batch *b)
{
    lsnn_real w[KC * 25], bias[KC], theta[KC * 5], sb[KC], dpool[4 * KC * 25];
    lsnn_shape in = { 1, 14, 14 }, maps = { KC, KS, KS };
    lsnn_window s, p;
    lsnn_smoother u;
    CHECK(lsnn_net_get(net, "conv1.weight", w, KC * 25) == LSNN_OK);
    CHECK(lsnn_net_get(net, "conv1.bias", bias, KC) == LSNN_OK);
    CHECK(lsnn_net_get(net, "smooth1.theta", theta, KC * 5) == LSNN_OK);
    CHECK(lsnn_net_get(net, "smooth1.bias", sb, KC) == LSNN_OK);
    CHECK(lsnn_net_get(net, "grad:pool1", dpool, (size_t)b->n * KC * 25) == LSNN_OK);
    memset(&u, 0, sizeof u);
    u.n = b->n; u.k = KC; u.h = u.w = KS;
    u.normalise = LSNN_NORMALISE_MEAN;
    lsnn_window_set(cx, &s, b->n, in, KC, 5, 5, 1, 1, LSNN_VALID, NULL);
    lsnn_window_set(cx, &p, b->n, maps, KC, 2, 2, 2, 2, LSNN_VALID, NULL);
    CHECK(lsnn_smoother_map(cx, h->map, theta, &u) == LSNN_OK);
    CHECK(lsnn_conv2d_forward(cx, h->conv, b->x, w, bias, &s) == LSNN_OK);
    CHECK(lsnn_smooth_forward(cx, h->smooth, h->map, h->conv, theta, sb, &u) == LSNN_OK);
    lsnn_activation_forward(cx, LSNN_RELU, h->relu, h->smooth, (size_t)b->n * KC * KP, 0);
    lsnn_max_pool_forward(cx, h->pool, h->where, h->relu, &p);
    lsnn_max_pool_backward(cx, h->drelu, dpool, h->where, &p, LSNN_SET);
    lsnn_activation_backward(cx, LSNN_RELU, h->dsmooth, h->drelu, h->relu,
                             (size_t)b->n * KC * KP, 0, LSNN_SET);
    CHECK(lsnn_smooth_backward(cx, h->dconv, NULL, NULL, h->dsmooth, h->conv, h->map, theta, sb,
                               &u, LSNN_SET, LSNN_SET) == LSNN_OK);
}

static void has_bits(lsnn_net *net, const char *name, const lsnn_real *want, size_t count)
{
    lsnn_real *got = new_reals(count);
    int good = lsnn_net_get(net, name, got, count) == LSNN_OK && same_bits(got, want, count);
    if (!CHECK(good)) printf("# %s is not what the ops give\n", name);
    free(got);
}

/* The images that lsnn_predict takes next of `left`: a prediction-only net takes whole blocks
   first and the rest along rows, a net for training takes its batches.                     */
static int piece(const lsnn_net *net, int batch, int left)
{
    int lanes = lsnn_lanes(net->cx), n = left < net->work->chunk ? left : net->work->chunk;
    CHECK(n >= 1 && n <= batch && (net->work->chunk == batch || net->work->chunk % lanes == 0));
    return net->work->train || n <= lanes ? n : n - n % lanes;
}

static void test_keep(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = kept_net(&cx, 1, 0);
    static sample_batch s;
    static by_hand h;
    lsnn_real y[4 * KC * KP], fused[KC * 25];
    lsnn_batch b = *draw_batch(&s, 3, 14 * 14, 1);
    size_t count = (size_t)b.n * KC * KP, from;
    int rank, dim[4], last;
    CHECK(lsnn_forward(net, &b, 1, NULL) == LSNN_OK);
    REFUSED(&cx, lsnn_net_get(net, "grad:conv1", y, count) != LSNN_OK, LSNN_ESTATE, "backward");
    CHECK(lsnn_backward(net) == LSNN_OK);
    by_hand_run(&cx, net, &h, &b);
    has_bits(net, "conv1", h.conv, count);
    has_bits(net, "smooth1", h.smooth, count);
    has_bits(net, "smooth1.map", h.map, KC * KP);
    has_bits(net, "relu1", h.relu, count);
    has_bits(net, "pool1", h.pool, (size_t)b.n * KC * 25);
    has_bits(net, "grad:relu1", h.drelu, count);
    has_bits(net, "grad:smooth1", h.dsmooth, count);
    has_bits(net, "grad:conv1", h.dconv, count);
    CHECK(lsnn_net_dims(net, "conv1", &rank, dim) == LSNN_OK);
    CHECK(rank == 4 && dim[0] == 3 && dim[1] == KC && dim[2] == KS && dim[3] == KS);
    CHECK(lsnn_net_dims(net, "smooth1.map", &rank, dim) == LSNN_OK);
    CHECK(rank == 3 && dim[0] == KC && dim[1] == KS && dim[2] == KS);
    REFUSED(&cx, lsnn_net_get(net, "grad:smooth1.map", y, KC * KP) != LSNN_OK, LSNN_ENAME,
            "smooth1.map");
    CHECK(lsnn_predict(net, s.x, 1, y) == LSNN_OK);
    has_bits(net, "conv1", h.conv, KC * KP);     /* of the last forward: one image         */
    REFUSED(&cx, lsnn_net_get(net, "cross_entropy1", y, 3) != LSNN_OK, LSNN_ESTATE,
            "cross_entropy1");
    REFUSED(&cx, lsnn_net_get(net, "grad:conv1", y, KC * KP) != LSNN_OK, LSNN_ESTATE, "conv1");
    lsnn_net_free(net);

    net = kept_net(&cx, 2, 0);
    CHECK(lsnn_forward(net, &b, 1, NULL) == LSNN_OK);
    CHECK(lsnn_net_get(net, "dense1", y, 9) == LSNN_OK);
    CHECK(lsnn_net_get(net, "cross_entropy1", y + 9, 9) == LSNN_OK);
    CHECK(lsnn_backward(net) == LSNN_OK);
    has_bits(net, "dense1", y, 9);               /* gradients leave the scores alone       */
    has_bits(net, "cross_entropy1", y + 9, 9);
    has_bits(net, "relu1", h.relu, count);
    has_bits(net, "grad:relu1", h.drelu, count);
    lsnn_net_free(net);
    net = kept_net(&cx, 0, 0);
    CHECK(lsnn_forward(net, &b, 1, NULL) == LSNN_OK && lsnn_backward(net) == LSNN_OK);
    REFUSED(&cx, lsnn_net_get(net, "smooth1", y, count) != LSNN_OK, LSNN_ESTATE, "keep");
    REFUSED(&cx, lsnn_net_dims(net, "smooth1", &rank, dim) != LSNN_OK, LSNN_ESTATE, "keep");
    REFUSED(&cx, lsnn_net_get(net, "grad:relu1", y, count) != LSNN_OK, LSNN_ESTATE, "keep");
    REFUSED(&cx, lsnn_net_get(net, "relu1", y, count) != LSNN_OK, LSNN_ESTATE, "keep");
    REFUSED(&cx, lsnn_net_get(net, "conv1", y, count) != LSNN_OK, LSNN_ESTATE, "keep");
    REFUSED(&cx, lsnn_backward(net) != LSNN_OK, LSNN_ESTATE, "lsnn_forward");  /* once only */
    CHECK(lsnn_forward(net, &b, 1, NULL) == LSNN_OK);
    REFUSED(&cx, lsnn_net_get(net, "conv1", y, count) != LSNN_OK, LSNN_ESTATE, "keep");
    CHECK(lsnn_net_get(net, "grad:conv1.weight", fused, KC * 25) == LSNN_OK);
    lsnn_net_free(net);
    net = kept_net(&cx, 1, 0);                   /* relu within the pooling changes no bit */
    CHECK(lsnn_forward(net, &b, 1, NULL) == LSNN_OK && lsnn_backward(net) == LSNN_OK);
    has_bits(net, "grad:conv1.weight", fused, KC * 25);
    lsnn_net_free(net);

    net = kept_net(&cx, 0, 1);                   /* predict only: arrays are used again    */
    CHECK(lsnn_predict(net, s.x, 3, y) == LSNN_OK);
    REFUSED(&cx, lsnn_net_get(net, "conv1", y, count) != LSNN_OK, LSNN_ESTATE, "keep");
    REFUSED(&cx, lsnn_net_get(net, "grad:conv1", y, count) != LSNN_OK, LSNN_ESTATE, "conv1");
    REFUSED(&cx, lsnn_net_get(net, "grad:conv1.weight", y, 75) != LSNN_OK, LSNN_ESTATE,
            "predict only");
    lsnn_net_free(net);
    net = kept_net(&cx, 1, 1);
    CHECK(lsnn_predict(net, s.x, 3, y) == LSNN_OK);
    last = piece(net, 4, 3) == 3 ? 3 : 1;        /* with 2 lanes a block, then the third   */
    from = (size_t)(3 - last) * KC * KP;
    has_bits(net, "conv1", h.conv + from, count - from);
    has_bits(net, "smooth1", h.smooth + from, count - from);
    has_bits(net, "relu1", h.relu + from, count - from);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("kept outputs and gradients are the ops' own, others are refused");
}

static void check_same_gradients(lsnn_net *net, lsnn_net *other, double near)
{
    size_t count;
    for (int i = 0; lsnn_net_param_name(net, 0, i, &count); i++) {
        char name[64];
        lsnn_real *g = new_reals(count), *want = new_reals(count);
        snprintf(name, sizeof name, "grad:%s", lsnn_net_param_name(net, 0, i, NULL));
        CHECK(lsnn_net_get(net, name, g, count) == LSNN_OK);
        CHECK(lsnn_net_get(other, name, want, count) == LSNN_OK);
        for (size_t j = 0; j < count; j++) NEAR(g[j], want[j], near);
        free(g);
        free(want);
    }
}

/* Loss, outputs and gradients of 16 images are the same on blocks of images as on plain
   arrays, on every instruction set.                                                      */
static void test_layouts(void)
{
    static sample_batch s;
    lsnn_batch b = *draw_batch(&s, 16, ALL_IN, 4);
    const double near = sizeof(lsnn_real) == 8 ? 1e-12 : 2e-4;
    for (int isa = LSNN_ISA_PORTABLE; isa < LSNN_ISA_COUNT_; isa++) {
        lsnn_ctx cx = quiet_ctx();
        lsnn_net *net, *plain;
        double loss[2];
        size_t count;
        if (!lsnn_isa_available((lsnn_isa)isa)) continue;
        cx.isa = (lsnn_isa)isa;
        net = all_net(&cx, 16, 2, 0);
        plain = all_net(&cx, 16, 2, 0);
        plain->max_lanes = 0;
        CHECK(lsnn_forward(net, &b, 1, &loss[0]) == LSNN_OK && lsnn_backward(net) == LSNN_OK);
        CHECK(lsnn_forward(plain, &b, 1, &loss[1]) == LSNN_OK);
        CHECK(lsnn_backward(plain) == LSNN_OK);
        CHECK(net->work->lanes == (lsnn_lanes(&cx) > 1 ? lsnn_lanes(&cx) : 0));
        NEAR(loss[0], loss[1], near);
        check_same_gradients(net, plain, near);
        for (int i = 1; i < net->nodes; i++) {   /* every output that can be read          */
            lsnn_shape o = lsnn_net_shape(net, i);
            lsnn_real *y, *want;
            count = (size_t)(16 * o.c * o.h * o.w);
            y = new_reals(count);
            want = new_reals(count);
            if (lsnn_net_get(plain, net->node[i].name, want, count) == LSNN_OK &&
                CHECK(lsnn_net_get(net, net->node[i].name, y, count) == LSNN_OK))
                for (size_t j = 0; j < count; j++) NEAR(y[j], want[j], near);
            lsnn_clear(&cx);
            free(y);
            free(want);
        }
        lsnn_net_free(net);
        lsnn_net_free(plain);
        lsnn_ctx_free(&cx);
    }
    CHECK(heap.live == 0);
    test_end("blocks of images and plain arrays give the same");
}

static void check_same_scores(lsnn_net *one, lsnn_net *apart, int inputs)
{
    static sample_batch s;
    const double near = sizeof(lsnn_real) == 8 ? 1e-12 : 2e-5;
    for (int n = 16; n > 0; n -= 11) {               /* in blocks, and along rows          */
        lsnn_real y[48], want[48];
        draw_batch(&s, n, inputs, 5);
        CHECK(lsnn_predict(one, s.x, n, y) == LSNN_OK);
        CHECK(lsnn_predict(apart, s.x, n, want) == LSNN_OK);
        for (int i = 0; i < 3 * n; i++) NEAR(y[i], want[i], near);
    }
}

/* Two ways to build the same net, and frees them: loss, gradients and predictions agree. */
static void check_same(lsnn_ctx *cx, lsnn_net *one, lsnn_net *apart, int inputs)
{
    static sample_batch s;
    const double near = sizeof(lsnn_real) == 8 ? 1e-12 : 2e-5;
    for (int n = 16; n > 0; n -= 11) {               /* in blocks, and along rows          */
        lsnn_batch b = *draw_batch(&s, n, inputs, 4);
        double loss[2];
        lsnn_zero_grad(one);
        lsnn_zero_grad(apart);
        CHECK(lsnn_forward(one, &b, 1, &loss[0]) == LSNN_OK && lsnn_backward(one) == LSNN_OK);
        CHECK(lsnn_forward(apart, &b, 1, &loss[1]) == LSNN_OK);
        CHECK(lsnn_backward(apart) == LSNN_OK);
        NEAR(loss[0], loss[1], near);
        check_same_gradients(one, apart, near);
    }
    check_same_scores(one, apart, inputs);
    CHECK(cx->status == LSNN_OK);
    lsnn_net_free(one);
    lsnn_net_free(apart);
}

/* conv2d, batch_norm, relu twice; kept relus are on their own.                            */
static lsnn_net *norm_net(lsnn_ctx *cx, int keep)
{
    lsnn_options o;
    lsnn_net *net = lsnn_net_new(cx);
    int x = lsnn_input(net, 2, 7, 6);
    memset(&o, 0, sizeof o);
    o.keep = keep;
    for (int i = 0; i < 2; i++)
        x = lsnn_relu(net, lsnn_batch_norm(net, lsnn_conv2d(net, x, 3 + i, 3, NULL), NULL), &o);
    lsnn_cross_entropy(net, lsnn_dense(net, x, 3, NULL), NULL);
    CHECK(build_net(net, 16, 3, 0) == LSNN_OK);
    return net;
}

/* relu after batch_norm is done by it: the same loss, gradients and predictions as apart. */
static void test_fused_norm(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *one = norm_net(&cx, 0), *apart = norm_net(&cx, 1);
    CHECK(!FUSES || (one->node[3].role.backward_by == 2 && one->node[6].role.backward_by == 5));
    CHECK(apart->node[3].role.backward_by == 3 && apart->node[6].role.backward_by == 6);
    check_same(&cx, one, apart, 2 * 7 * 6);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("relu done by the batch normalisation before it");
}

/* conv2d, relu, a pooling, dense; keep 1: all of relu's output is computed.               */
typedef struct crop_case {
    const char *pool;
    int kernel, stride, pad, h, w;               /* of the images, as are the maps         */
    int crop_h, crop_w, pooled;                  /* what is computed of them               */
} crop_case;
static lsnn_net *crop_net(lsnn_ctx *cx, const crop_case *c, int keep, int predict_only)
{
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_options conv = { 0 }, relu = { 0 }, pool = { 0 };
    int x = lsnn_input(net, 2, c->h, c->w);
    conv.filters = 5;
    conv.kernel_h = 3;
    conv.padding = LSNN_SAME;
    relu.keep = keep;
    pool.kernel_h = c->kernel;
    pool.stride_h = c->stride;
    pool.padding = LSNN_EXPLICIT;
    pool.pad_top = pool.pad_left = c->pad;
    x = lsnn_relu(net, lsnn_layer(net, lsnni_type("conv2d"), &x, 1, &conv), &relu);
    x = lsnn_layer(net, lsnni_type(c->pool), &x, 1, &pool);
    x = lsnn_relu(net, lsnn_layer(net, lsnni_type("conv2d"), &x, 1, &conv), &relu);
    x = lsnn_max_pool(net, x, 2, NULL);
    lsnn_cross_entropy(net, lsnn_dense(net, x, 3, NULL), NULL);
    CHECK(build_net(net, 16, 3, predict_only) == LSNN_OK);
    return net;
}

/* Pixels that no pooling window reads are left out, and 2 x 2 pooled by the convolution: the
   same numbers as without.                                                               */
static void test_cropped(void)
{
    static const crop_case cases[] = {
        { "max_pool", 2, 2, 0, 13, 12, 12, 12, 1 }, { "max_pool", 2, 2, 0, 21, 24, 20, 24, 1 },
        { "avg_pool", 2, 2, 0, 13, 12, 12, 12, 0 }, { "sum_pool", 5, 5, 0, 13, 12, 10, 10, 0 },
        { "max_pool", 3, 4, 1, 13, 12, 10, 10, 0 }, { "avg_pool", 2, 3, 0, 13, 12, 11, 11, 0 },
        { "max_pool", 3, 1, 0, 13, 12, 13, 12, 0 }, { "max_pool", 2, 2, 0, 6, 47, 6, 46, 1 } };
    lsnn_ctx cx = quiet_ctx();
    for (int isa = LSNN_ISA_PORTABLE; isa < LSNN_ISA_COUNT_; isa++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const crop_case *c = &cases[i];
            lsnn_net *one, *apart, *lean;
            if (!lsnn_isa_available((lsnn_isa)isa)) continue;
            cx.isa = (lsnn_isa)isa;
            one = crop_net(&cx, c, 0, 0);
            apart = crop_net(&cx, c, 1, 0);
            lean = crop_net(&cx, c, 0, 1);
            CHECK(one->node[1].plan.out.h == c->crop_h && one->node[1].plan.out.w == c->crop_w);
            CHECK(apart->node[1].plan.out.h == c->h && apart->node[1].plan.out.w == c->w);
            CHECK(one->node[1].role.writes == (c->pooled && FUSES ? 3 : 1));
            CHECK(apart->node[1].role.writes == 1 && lsnn_net_shape(one, 1).h == c->h);
            check_same_scores(lean, apart, 2 * c->h * c->w);
            check_same(&cx, one, apart, 2 * c->h * c->w);
            lsnn_net_free(lean);
        }
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("pixels that no pooling window reads, pooling by the convolution");
}

/* A densely connected block; kept concats are made: all (1), or the second (2).           */
static lsnn_net *dense_net(lsnn_ctx *cx, int layers, int keep)
{
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_options o = { 0 };
    int x = lsnn_conv2d(net, lsnn_input(net, 2, 7, 6), 3, 3, NULL), y[2];
    for (int i = 0; i < layers; i++) {
        o.keep = keep == 1 || (keep == 2 && i == 1);
        y[0] = x;
        y[1] = lsnn_conv2d(net, lsnn_relu(net, lsnn_batch_norm(net, x, NULL), NULL), 2 + i, 1,
                           NULL);
        x = lsnn_concat(net, y, 2, &o);
    }
    x = lsnn_relu(net, lsnn_batch_norm(net, x, NULL), NULL);
    lsnn_cross_entropy(net, lsnn_dense(net, x, 3, NULL), NULL);
    CHECK(build_net(net, 16, 3, 0) == LSNN_OK);
    return net;
}

/* Concats that only batch normalisations read are not made, and nothing else changes; one
   of more parts than a layer has inputs is made. Files say what the user said.           */
/* Layers of one's own that work in place, of which one changes the size: they give what
   they give otherwise. The first half of the channels, doubled in place or not.           */
static lsnn_status half_plan(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    (void)cx;
    p->out = p->in[0];
    p->out.c = p->in[0].c / 2;
    return LSNN_OK;
}
static lsnn_status half_forward(lsnn_ctx *cx, lsnn_call *c)
{
    int k = c->plan->out.c;
    (void)cx;
    for (int n = 0; n < c->n; n++) memmove(c->y + n * k, c->x[0] + 2 * n * k,
                                           (size_t)k * sizeof *c->y);
    return LSNN_OK;
}
static lsnn_status half_backward(lsnn_ctx *cx, lsnn_call *c)
{
    int k = c->plan->out.c;
    (void)cx;
    for (int n = c->n - 1; n >= 0; n--)
        for (int i = 2 * k - 1; i >= 0; i--)
            c->dx[0][2 * n * k + i] = (i < k ? c->dy[n * k + i] : 0) +
                (c->add[0] ? c->dx[0][2 * n * k + i] : 0);
    return LSNN_OK;
}

static void test_half(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_layer_type half, fake;
    lsnn_real g[2][16 * 40];
    static sample_batch s;
    lsnn_batch b = *draw_batch(&s, 8, 16, 2);
    memset(&half, 0, sizeof half);
    half.name = "half";
    half.min_inputs = half.max_inputs = 1;
    half.plan = half_plan; half.forward = half_forward; half.backward = half_backward;
    for (int in_place = 0; in_place < 2; in_place++) {
        half.traits = LSNN_X_FREE | LSNN_Y_FREE | (in_place ? LSNN_IN_PLACE : 0);
        lsnn_net *net = lsnn_net_new(&cx);
        int x = lsnn_dense(net, lsnn_input(net, 16, 1, 1), 40, NULL);
        x = lsnn_layer(net, &half, &x, 1, NULL);
        lsnn_cross_entropy(net, lsnn_dense(net, lsnn_tanh(net, x, NULL), 10, NULL), NULL);
        CHECK(build_net(net, 8, 1, 0) == LSNN_OK);
        loss_of(net, &b);
        CHECK(lsnn_backward(net) == LSNN_OK);
        CHECK(lsnn_net_get(net, "grad:dense1.weight", g[in_place], 16 * 40) == LSNN_OK);
        lsnn_net_free(net);
    }
    CHECK(same_bits(g[0], g[1], 16 * 40));
    fake = half;
    fake.name = "tanh";
    {
        int x = 1;
        BAD_LAYER(lsnn_layer(net, &fake, &x, 1, NULL), LSNN_ENAME, "of the library");
    }
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("layers of one's own: sizes that change in place, names that are taken");
}

/* A batch fed in parts has the dropout that it has as a whole.                             */
static void test_parts(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options keep = named("drop");
    lsnn_real whole[8 * 16], part[4 * 16];
    static sample_batch s;
    lsnn_batch b = *draw_batch(&s, 8, 16, 3);
    keep.keep = 1;
    lsnn_cross_entropy(net, lsnn_dense(net, lsnn_dropout(net, lsnn_input(net, 16, 1, 1), 0.5,
                                                         &keep), 10, NULL), NULL);
    CHECK(build_net(net, 8, 1, 0) == LSNN_OK);
    loss_of(net, &b);
    CHECK(lsnn_net_get(net, "drop", whole, 8 * 16) == LSNN_OK);
    b.n = 4;
    for (b.sample = 0; b.sample < 8; b.sample += 4) {
        b.x = s.x + b.sample * 16;
        b.labels = s.labels + b.sample;
        loss_of(net, &b);
        CHECK(lsnn_net_get(net, "drop", part, 4 * 16) == LSNN_OK);
        CHECK(same_bits(part, whole + b.sample * 16, 4 * 16));
    }
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("dropout of a batch in parts");
}

static void test_concats(void)
{
    const char *folder = getenv("TEST_TMP");
    char path[600];
    lsnn_ctx cx = quiet_ctx();
    snprintf(path, sizeof path, "%.500s/concats.tmp.safetensors", folder ? folder : ".");
    for (int layers = 1; layers <= LSNN_MAX_INPUTS; layers += 3) {
        lsnn_net *one = dense_net(&cx, layers, 0), *apart = dense_net(&cx, layers, 1), *again;
        int concat = lsnn_net_node(one, "concat1"), parts = FUSES && layers < LSNN_MAX_INPUTS;
        CHECK(one->node[concat].role.live == !parts && apart->node[concat].role.live);
        CHECK(one->node[one->nodes - 4].plan.inputs == (parts ? layers + 1 : 1));
        CHECK(lsnn_net_save(one, path) == LSNN_OK);
        again = lsnn_net_load(&cx, path, NULL, NULL, 0);
        if (CHECK(again != NULL)) check_same_scores(again, one, 2 * 7 * 6);
        lsnn_net_free(again);
        check_same(&cx, one, apart, 2 * 7 * 6);
        one = dense_net(&cx, layers, 2);
        apart = dense_net(&cx, layers, 1);
        CHECK(one->node[one->nodes - 4].plan.inputs == (layers == 1 && FUSES ? 2 : parts ? layers - 1
                                                                              : 1));
        check_same(&cx, one, apart, 2 * 7 * 6);
    }
    remove(path);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("concats read in parts");
}

static void test_names(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = all_net(&cx, 4, 2, 0);
    lsnn_real v[64], w[64];
    int rank, dim[4];
    size_t count = 0;
    CHECK(strcmp(lsnn_net_param_name(net, 0, 0, &count), "conv.weight") == 0 && count == 72);
    CHECK(strcmp(lsnn_net_param_name(net, 1, 1, NULL), "norm.variance") == 0);
    CHECK(!lsnn_net_param_name(net, 1, 2, NULL) && !lsnn_net_param_name(net, 0, -1, NULL));
    CHECK(lsnn_net_dims(net, "mix.weight", &rank, dim) == LSNN_OK);
    CHECK(rank == 4 && dim[0] == 8 && dim[1] == 4 && dim[2] == 3 && dim[3] == 2);
    REFUSED(&cx, lsnn_net_get(net, "norm.beta", v, 3) != LSNN_OK, LSNN_ESHAPE,
            "4 numbers, not 3");
    REFUSED(&cx, lsnn_net_set(net, "norm.beta", v, 5) != LSNN_OK, LSNN_ESHAPE,
            "4 numbers, not 5");
    REFUSED(&cx, lsnn_net_get(net, "conv.nothing", v, 4) != LSNN_OK, LSNN_ENAME,
            "conv.nothing");
    REFUSED(&cx, lsnn_net_get(net, "other.weight", v, 4) != LSNN_OK, LSNN_ENAME,
            "other.weight");
    REFUSED(&cx, lsnn_net_get(net, "grad:norm.mean", v, 4) != LSNN_OK, LSNN_ENAME, "norm.mean");
    REFUSED(&cx, lsnn_net_get(net, "", v, 4) != LSNN_OK, LSNN_ENAME, "''");
    REFUSED(&cx, lsnn_net_get(net, "conv.map", v, 4) != LSNN_OK, LSNN_ENAME, "conv.map");
    draw_reals(v, 8, 5, -1, 1);
    CHECK(lsnn_net_set(net, "norm.mean", v, 4) == LSNN_OK);
    CHECK(lsnn_net_set(net, "norm.beta", v + 4, 4) == LSNN_OK);
    CHECK(lsnn_net_set(net, "grad:norm.beta", v + 2, 4) == LSNN_OK);
    CHECK(lsnn_net_get(net, "norm.mean", w, 4) == LSNN_OK && same_bits(v, w, 4));
    CHECK(lsnn_net_get(net, "norm.beta", w, 4) == LSNN_OK && same_bits(v + 4, w, 4));
    CHECK(lsnn_net_get(net, "grad:norm.beta", w, 4) == LSNN_OK && same_bits(v + 2, w, 4));
    lsnn_zero_grad(net);
    CHECK(lsnn_net_get(net, "grad:norm.beta", w, 4) == LSNN_OK && fabs((double)w[0]) <= 0);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("parameters, buffers and gradients by name");
}

/* ---- prediction -------------------------------------------------------------------------- */
enum { BATCH = 5, LARGE = 18, MOST = LARGE + 3 };      /* no multiple of any lanes       */

/* Predicting n images with `net` is forward with `model`, which has the same parameters and
   outputs that can be read, on the same pieces: to the bit. Other pieces, each image alone
   too, give the same numbers but for rounding: blocks of images are another way of adding. */
static void predict_sizes(lsnn_net *net, lsnn_net *model, int batch, int size, int classes)
{
    static lsnn_real x[MOST * 15 * 15];
    lsnn_real y[MOST * 10], want[MOST * 10], one[10];
    const char *out = model->node[lsnn_net_output(model)].name;
    draw_reals(x, (size_t)((batch + 3) * size), 9, -1, 1);
    for (int n = 1; n <= batch + 3; n++) {
        lsnn_batch b;
        memset(&b, 0, sizeof b);
        for (int i = 0; i < n; i += b.n) {
            b.n = piece(net, batch, n - i);
            b.x = x + i * size;
            CHECK(lsnn_forward(model, &b, 0, NULL) == LSNN_OK);
            CHECK(lsnn_net_get(model, out, want + i * classes, (size_t)(b.n * classes)) ==
                  LSNN_OK);
        }
        memset(y, 0x55, sizeof y);
        CHECK(lsnn_predict(net, x, n, y) == LSNN_OK);
        CHECK(same_bits(y, want, (size_t)(n * classes)));
        CHECK(n == MOST || ((unsigned char *)y)[(size_t)(n * classes) * sizeof *y] == 0x55);
    }
    for (int i = 0; i < batch + 3; i++) {
        CHECK(lsnn_predict(net, x + i * size, 1, one) == LSNN_OK);
        for (int k = 0; k < classes; k++) NEAR(one[k], y[i * classes + k], 1e-5);
    }
}

/* The table names each call once, with the neighbours whose work it does, and its sum. */
static void test_profile(void)
{
    static sample_batch s;
    static char text[8000];
    const char *folder = getenv("TEST_TMP");
    char path[600];
    lsnn_ctx cx = quiet_ctx();
    lsnn_build_desc d;
    lsnn_batch b = *draw_batch(&s, 16, 12 * 12, 3);
    FILE *out;
    size_t used;
    snprintf(path, sizeof path, "%.500s/profile.tmp.txt", folder ? folder : ".");
    for (int on = 0; on < 2; on++) {
        lsnn_net *net = lsnn_net_new(&cx);
        int x = lsnn_relu(net, lsnn_conv2d(net, lsnn_input(net, 1, 12, 12), 4, 3, NULL), NULL);
        memset(&d, 0, sizeof d);
        d.batch = 16;
        d.profile = on;
        lsnn_cross_entropy(net, lsnn_dense(net, lsnn_max_pool(net, x, 2, NULL), 3, NULL), NULL);
        CHECK(lsnn_net_build(net, &d) == LSNN_OK);
        loss_of(net, &b);
        CHECK(lsnn_backward(net) == LSNN_OK);
        out = fopen(path, "w+");
        if (!CHECK(out != NULL)) return;
        CHECK(lsnn_net_profile(net, out) == (on ? LSNN_OK : LSNN_ESTATE));
        lsnn_clear(&cx);
        rewind(out);
        used = fread(text, 1, sizeof text - 1, out);
        text[used] = 0;
        fclose(out);
        CHECK(on || used == 0);
        lsnn_net_free(net);
    }
    CHECK(strstr(text, FUSES ? "conv2d1 relu1 max_pool1 " : "conv2d1 ") != NULL);
    CHECK(strstr(text, "dense1 ") && strstr(text, "\ntotal "));
    remove(path);
    lsnn_ctx_free(&cx);
    test_end("the profile names each call once");
}

static void predict_both(lsnn_net *net, lsnn_net *lean, int batch, int size, int classes)
{
    predict_sizes(net, net, batch, size, classes);
    predict_sizes(lean, net, batch, size, classes);
    lsnn_net_free(net);
    lsnn_net_free(lean);
}

static void test_predict(void)
{
    static const char *const model[] = { "cnn", "lc", "location", "content" };
    for (int isa = LSNN_ISA_PORTABLE; isa < LSNN_ISA_COUNT_; isa++)
        for (int batch = BATCH; batch <= LARGE; batch += LARGE - BATCH) {
            lsnn_ctx cx = quiet_ctx();
            if (!lsnn_isa_available((lsnn_isa)isa)) continue;
            cx.isa = (lsnn_isa)isa;
            for (int i = 0; i < 4; i++) {
                lsnn_net *net = small_net(&cx, model[i], 15, batch, 4);
                lsnn_net *lean = lsnn_net_new(&cx);
                lsnn_real bias[15];
                lsnn_cross_entropy(lean, small_scores(lean, model[i], 15), NULL);
                CHECK(build_net(lean, batch, 4, 1) == LSNN_OK);
                if (i == 3 && lsnn_net_get(net, "param3.bias", bias, 15) == LSNN_OK)
                    CHECK(lsnn_net_set(lean, "param3.bias", bias, 15) == LSNN_OK);
                predict_both(net, lean, batch, 15 * 15, 10);
            }
            predict_both(all_net(&cx, batch, 4, 0), all_net(&cx, batch, 4, 1), batch, ALL_IN,
                         3);
            lsnn_ctx_free(&cx);
            CHECK(heap.live == 0);
        }
    test_end("prediction of 1 to %d images by %d and %d, and by prediction-only nets: the bits "
             "of forward", (int)MOST, (int)BATCH, (int)LARGE);
}

/* A prediction-only net takes many images in chunks of whole blocks, then the rest.         */
static void test_chunks(void)
{
    enum { N = 43, SIZE = 15 * 15 };
    static lsnn_real x[N * SIZE];
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = small_net(&cx, "cnn", 15, N, 4), *lean = lsnn_net_new(&cx);
    lsnn_real y[N * 10], want[N * 10];
    lsnn_cross_entropy(lean, small_scores(lean, "cnn", 15), NULL);
    CHECK(build_net(lean, N, 4, 1) == LSNN_OK);
    CHECK(net->work->chunk == N && lean->work->chunk <= N);
    draw_reals(x, N * SIZE, 9, -1, 1);
    CHECK(lsnn_predict(net, x, N, want) == LSNN_OK);
    for (int chunk = 16; chunk <= N; chunk += 11) {
        lean->work->chunk = chunk;
        memset(y, 0x55, sizeof y);
        CHECK(lsnn_predict(lean, x, N, y) == LSNN_OK);
        for (int i = 0; i < N * 10; i++) NEAR(y[i], want[i], 1e-5);
    }
    lsnn_net_free(net);
    lsnn_net_free(lean);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("prediction in chunks of images");
}

/* Shared smoothers' maps are made anew when theta has changed, and only then.              */
static void test_shared_maps(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = small_net(&cx, "location", 15, 4, 4);
    lsnn_net *other = small_net(&cx, "location", 15, 4, 5);
    int numbers = 0, rank, dim[4];
    size_t count = 0;
    sample_batch s;
    lsnn_real first[40], y[40], *theta;
    draw_batch(&s, 4, 15 * 15, 9);
    CHECK(lsnn_predict(net, s.x, 4, first) == LSNN_OK);
    CHECK(lsnn_predict(net, s.x, 4, y) == LSNN_OK && same_bits(y, first, 40));
    CHECK(lsnn_net_dims(net, "smooth1.theta", &rank, dim) == LSNN_OK);
    numbers = dim[0] * dim[1];
    theta = new_reals((size_t)numbers);
    CHECK(lsnn_net_get(other, "smooth1.theta", theta, (size_t)numbers) == LSNN_OK);
    for (int i = 0; lsnn_net_param_name(net, 0, i, &count); i++) {
        lsnn_real *v = new_reals(count);                 /* all else as net has it         */
        const char *name = lsnn_net_param_name(net, 0, i, NULL);
        CHECK(lsnn_net_get(net, name, v, count) == LSNN_OK);
        if (strcmp(name, "smooth1.theta") != 0)
            CHECK(lsnn_net_set(other, name, v, count) == LSNN_OK);
        free(v);
    }
    CHECK(lsnn_net_set(net, "smooth1.theta", theta, (size_t)numbers) == LSNN_OK);
    CHECK(lsnn_predict(net, s.x, 4, y) == LSNN_OK && !same_bits(y, first, 40));
    CHECK(lsnn_predict(other, s.x, 4, first) == LSNN_OK && same_bits(y, first, 40));
    net->work->keep[lsnn_net_node(net, "smooth1")][0] += 1;     /* read, not made anew     */
    CHECK(lsnn_predict(net, s.x, 4, y) == LSNN_OK && !same_bits(y, first, 40));
    free(theta);
    lsnn_net_free(net);
    lsnn_net_free(other);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("shared smoothers' maps follow theta");
}

/* Several threads, one net that nobody changes, a context and a workspace each; and a net for
   prediction only, which cuts the images as a workspace does, whole blocks first.          */
enum { THREADS = 4, IMAGES = 40 };
typedef struct readers {
    const lsnn_net *net;
    const lsnn_real *x, *want;
    lsnn_real y[THREADS][IMAGES * 3];
    int bad[THREADS];
    lsnn_isa isa;
} readers;

static void read_task(void *user, int i, int worker)
{
    readers *r = (readers *)user;
    lsnn_ctx own;
    lsnn_work *w;
    (void)worker;
    memset(&own, 0, sizeof own);
    own.isa = r->isa;
    own.threads = 1 + i % 2;
    w = lsnn_work_new(&own, r->net, BATCH);
    for (int again = 0; again < 20; again++)
        r->bad[i] += !w || lsnn_work_predict(w, r->x, IMAGES, r->y[i]) != LSNN_OK ||
                     !same_bits(r->y[i], r->want, IMAGES * 3);
    lsnn_work_free(w);
    lsnn_ctx_free(&own);
}

static void test_workspaces(void)
{
    static lsnn_real x[IMAGES * ALL_IN], alone[IMAGES * 3];
    static readers r;
    draw_reals(x, IMAGES * ALL_IN, 3, -1, 1);
    for (int isa = LSNN_ISA_PORTABLE; isa < LSNN_ISA_COUNT_; isa++) {
        lsnn_ctx cx = quiet_ctx();
        lsnn_net *net, *lean;
        if (!lsnn_isa_available((lsnn_isa)isa)) continue;
        cx.isa = (lsnn_isa)isa;
        net = all_net(&cx, BATCH, 4, 0);
        lean = all_net(&cx, BATCH, 4, 1);
        CHECK(lsnn_predict(lean, x, IMAGES, alone) == LSNN_OK);
        memset(&r, 0, sizeof r);
        r.net = net;
        r.x = x;
        r.want = alone;
        r.isa = (lsnn_isa)isa;
        cx.threads = THREADS;
        lsnn_parallel(&cx, THREADS, read_task, &r);
        for (int i = 0; i < THREADS; i++) CHECK(r.bad[i] == 0);
        CHECK(lsnn_predict(net, x, IMAGES, r.y[0]) == LSNN_OK);
        for (int i = 0; i < IMAGES * 3; i++) NEAR(r.y[0][i], alone[i], 1e-5);
        if (lsnn_lanes(&cx) > BATCH || lsnn_lanes(&cx) == 1)       /* neither has blocks */
            CHECK(same_bits(r.y[0], alone, IMAGES * 3));
        lsnn_net_free(net);
        lsnn_net_free(lean);
        lsnn_ctx_free(&cx);
        CHECK(heap.live == 0);
    }
    test_end("%d threads with a workspace each predict the same bits as one", (int)THREADS);
}

/* ---- counts ----------------------------------------------------------------------------- */
/* The totals in the summary's last line.                                                   */
static void summary_totals(const lsnn_net *net, double *params, double *macs)
{
    char line[256];
    FILE *f = tmpfile();
    *params = *macs = -1;
    if (!CHECK(f != NULL)) return;
    lsnn_net_summary(net, f);
    rewind(f);
    while (fgets(line, sizeof line, f))
        if (strncmp(line, "total ", 6) == 0)
            CHECK(sscanf(line + 6, "%lf %lf", params, macs) == 2);
    fclose(f);
}

static void check_counts(lsnn_net *net, double want_params, double want_macs)
{
    double params, macs;
    summary_totals(net, &params, &macs);
    NEAR(params, want_params, 0);
    NEAR((double)lsnn_net_params(net), want_params, 0);
    NEAR(macs, lsnn_net_macs(net), 0);
    if (want_macs > 0) NEAR(macs, want_macs, 0);
    lsnn_net_free(net);
}

static void test_counts(void)
{
    static const char *const model[] = { "cnn", "lc", "lsnn-location", "lsnn-content" };
    static const double want[] = { 417482, 0, 417562, 556250 };
    lsnn_ctx cx = quiet_ctx();
    lsnn_options plain = named("c1");
    lsnn_net *net = lsnn_net_new(&cx);
    int x = lsnn_conv2d(net, lsnn_input(net, 1, 28, 28), 20, 5, NULL);
    x = lsnn_dense(net, lsnn_relu(net, lsnn_max_pool(net, x, 2, NULL), NULL), 100, NULL);
    lsnn_cross_entropy(net, lsnn_dense(net, lsnn_sigmoid(net, x, NULL), 10, NULL), NULL);
    check_counts(net, 289630, 25. * 20 * 24 * 24 + 2881. * 100 + 101. * 10);
    for (int i = 0; i < 4; i++) {
        net = lsnn_net_new(&cx);
        x = lsnn_input(net, 1, 42, 42);
        lsnn_cross_entropy(net, model_by_name(net, model[i], x, 10), NULL);
        if (i == 1)                              /* 1,444 positions of 25 weights and a bias  */
            check_counts(net, 417482 - 16 * 26 + 16. * 26 * 38 * 38, 0);
        else
            check_counts(net, want[i], 0);
    }
    plain.no_bias = 1;                           /* the blog's 256 filters on 128x128         */
    net = lsnn_net_new(&cx);
    lsnn_conv2d(net, lsnn_input(net, 1, 128, 128), 256, 5, &plain);
    check_counts(net, 6400, 6400. * 124 * 124);
    net = lsnn_net_new(&cx);
    lsnn_local2d(net, lsnn_input(net, 1, 128, 128), 256, 5, &plain);
    check_counts(net, 98406400, 98406400);
    net = lsnn_net_new(&cx);                     /* Keras' example: a bias a position */
    lsnn_local2d(net, lsnn_input(net, 3, 32, 32), 64, 3, NULL);
    check_counts(net, 1612800, 0);
    net = all_net(&cx, 4, 1, 0);                 /* shared parameters count once */
    {
        double params, macs;
        summary_totals(net, &params, &macs);
        NEAR(params, (double)lsnn_net_params(net), 0);
    }
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("the summary's totals are the papers' counts");
}

/* The connections in the summary's line of that layer, as text.                            */
static int connects(const lsnn_net *net, const char *layer, const char *want)
{
    char line[256];
    FILE *f = tmpfile();
    int good = 0, found = 0;
    if (!CHECK(f != NULL)) return 0;
    lsnn_net_summary(net, f);
    rewind(f);
    while (fgets(line, sizeof line, f)) {
        char *end = line + strlen(line);
        if (strncmp(line, layer, strlen(layer)) != 0 || line[strlen(layer)] != ' ') continue;
        while (end > line && (end[-1] == '\n' || end[-1] == ' ')) *--end = 0;
        found = 1;
        good = (size_t)(end - line) > strlen(want) && strstr(line, want) &&
               strncmp(strstr(line, want) - 2, "  ", 2) == 0;
        if (!good) printf("# %s\n", line);
    }
    fclose(f);
    return found && good;
}

/* The lecture's slide "Weights and Connections", and LeCun et al. 1998 of LeNet-5.          */
static void test_connections(void)
{
    static const char *const lenet[][2] = {
        { "c1", "117600 + 4704 by 150 + 6" },          /* 122,304 connections               */
        { "sum_pool1", "4704" }, { "s2", "0 + 1176 by 6 + 6" },                 /* 5,880     */
        { "c3", "150000 + 1600 by 1500 + 16" },        /* 151,600                           */
        { "sum_pool2", "1600" }, { "s4", "0 + 400 by 16 + 16" },                /* 2,000     */
        { "c5", "48000 + 120 by 48000 + 120" },        /* 48,120                            */
        { "f6", "10080 + 84 by 10080 + 84" }, { "output", "840" }, { "total", "340908" }
    };
    lsnn_ctx cx = quiet_ctx();
    lsnn_options second = named("second");
    lsnn_net *net = lsnn_net_new(&cx);
    int x = lsnn_input(net, 1, 28, 28), m;
    m = lsnn_conv2d(net, x, 20, 5, NULL);                /* conv2d1                          */
    lsnn_conv2d(net, lsnn_max_pool(net, m, 2, NULL), 1, 5, &second);
    lsnn_conv2d(net, x, 1, 5, NULL);                     /* conv2d3                          */
    lsnn_conv2d(net, x, 40, 5, NULL);                    /* conv2d4                          */
    lsnn_local2d(net, x, 1, 5, NULL);
    lsnn_dense(net, x, 800, NULL);
    CHECK(connects(net, "conv2d3", "14400 + 576 by 25 + 1"));
    CHECK(connects(net, "conv2d4", "576000 + 23040 by 1000 + 40"));
    CHECK(connects(net, "second", "32000 + 64 by 500 + 1"));
    CHECK(connects(net, "local2d1", "14400 + 576 by 14400 + 576"));
    CHECK(connects(net, "dense1", "627200 + 800 by 627200 + 800"));         /* 628,000       */
    lsnn_net_free(net);
    net = lsnn_net_new(&cx);
    lsnn_cross_entropy(net, model_by_name(net, "lenet5", lsnn_input(net, 1, 32, 32), 10), NULL);
    CHECK(build_net(net, 4, 1, 0) == LSNN_OK);
    for (size_t i = 0; i < sizeof lenet / sizeof lenet[0]; i++)
        CHECK(connects(net, lenet[i][0], lenet[i][1]));
    check_counts(net, 60000, 0);
    net = lsnn_net_new(&cx);
    x = lsnn_input(net, 1, 28, 28);
    lsnn_cross_entropy(net, model_by_name(net, "convnet", x, 10), NULL);
    check_counts(net, 289630, 25. * 20 * 24 * 24 + 2881. * 100 + 101. * 10);
    net = lsnn_net_new(&cx);
    x = lsnn_input(net, 1, 28, 28);
    lsnn_cross_entropy(net, model_by_name(net, "mlp", x, 10), NULL);
    check_counts(net, 628000 + 8010, 628000 + 8010);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("connections by weights: the lecture's numbers, and LeNet-5's 340,908");
}

/* ---- a failure at every allocation in turn ---------------------------------------------- */
/* What one try does; 0 if it said no, and then nothing may be left behind.                  */
static int try_build(lsnn_ctx *cx)
{
    lsnn_net *net = all_net(cx, 4, 1, 0);
    lsnn_net_free(net);
    return net != NULL;
}
static int try_content(lsnn_ctx *cx)
{
    lsnn_net *net = small_net(cx, "content", 14, 4, 1);
    lsnn_net_free(net);
    return net != NULL;
}

static lsnn_net *made;                           /* by a context that is not refused anything */
static char saved[600];

static int try_work(lsnn_ctx *cx)
{
    static sample_batch s;
    enum { MANY = BATCH + 3 };
    lsnn_real y[MANY * 3];
    lsnn_work *w = lsnn_work_new(cx, made, 4);
    int good = w != NULL;
    draw_batch(&s, MANY, ALL_IN, 9);
    good = good && lsnn_work_predict(w, s.x, MANY, y) == LSNN_OK;
    lsnn_work_free(w);
    return good;
}
static int try_save(lsnn_ctx *cx)
{
    lsnn_ctx *own = made->cx;
    int good;
    made->cx = cx;
    good = lsnn_net_save(made, saved) == LSNN_OK;
    made->cx = own;
    return good;
}
static int try_load(lsnn_ctx *cx)
{
    const lsnn_layer_type *types[1] = { &power_type };
    lsnn_net *net = lsnn_net_load(cx, saved, NULL, types, 1);
    lsnn_net_free(net);
    return net != NULL;
}
static int try_read(lsnn_ctx *cx)
{
    lsnn_ctx *own = made->cx;
    lsnn_real *before = net_values(made);
    int good;
    made->cx = cx;
    good = lsnn_net_read(made, saved) == LSNN_OK;
    made->cx = own;
    CHECK(net_is(made, before));                 /* the file's values are its own             */
    return good;
}
static int try_fit(lsnn_ctx *cx)
{
    static sample_batch s;
    lsnn_shape shape = { 1, 14, 14 };
    lsnn_fit_desc fit;
    lsnn_data data;
    lsnn_net *net;
    int good = 0;
    memset(&fit, 0, sizeof fit);
    fit.optimizer.method = LSNN_ADAM;
    fit.save = saved;
    draw_batch(&s, 8, 14 * 14, 2);
    if (lsnn_data_arrays(cx, &data, s.x, s.labels, 8, shape, 1, 10) != LSNN_OK) return 0;
    net = small_net(cx, "location", 14, 4, 1);
    if (net) good = lsnn_fit(net, &data, &fit) == LSNN_OK;
    lsnn_net_free(net);
    lsnn_data_free(&data);
    return good;
}

static long file_hash(const char *path)
{
    long h = 17;
    int c;
    FILE *f = fopen(path, "rb");
    while (f && (c = getc(f)) != EOF) h = (h * 31 + c) & 0xFFFFFFF;
    if (f) fclose(f);
    return f ? h : 0;
}

static void refuse_each(const char *what, int (*attempt)(lsnn_ctx *cx), int writes)
{
    long refuse = 0, before = heap.live, was = file_hash(saved), tried = 0;
    for (;;) {
        lsnn_ctx cx = quiet_ctx();
        int good;
        heap.calls = 0;
        heap.refuse = ++refuse;
        cx.threads = 1;
        good = attempt(&cx);
        heap.refuse = 0;
        if (!good) {
            tried++;
            CHECK(cx.status == LSNN_ENOMEM && strstr(cx.message, "allocator refused"));
            if (!CHECK(!writes || file_hash(saved) == was)) break;
        }
        lsnn_ctx_free(&cx);
        if (!CHECK(heap.live == before)) {
            printf("# %s leaks when call %ld is refused\n", what, refuse);
            break;
        }
        if (good || refuse > 5000) break;
    }
    CHECK(tried > 2);
    test_end("%s: refused at each of %ld allocations, nothing leaks or changes", what, tried);
}

static void test_refusals(void)
{
    lsnn_ctx cx = quiet_ctx();
    const char *folder = getenv("TEST_TMP");
    snprintf(saved, sizeof saved, "%.500s/test_net.tmp.safetensors", folder ? folder : ".");
    refuse_each("building", try_build, 0);
    refuse_each("building LSNN-Content", try_content, 0);
    made = all_net(&cx, 4, 1, 0);
    CHECK(lsnn_net_save(made, saved) == LSNN_OK);
    refuse_each("a workspace", try_work, 0);
    refuse_each("saving", try_save, 1);
    refuse_each("loading", try_load, 1);
    refuse_each("reading", try_read, 1);
    refuse_each("training with a checkpoint", try_fit, 1);
    lsnn_net_free(made);
    lsnn_ctx_free(&cx);
    remove(saved);
    CHECK(heap.live == 0);
    test_end("all is given back");
}

static const lsnn_layer_type wide_type = {
    "wide", "", 1, 64, LSNN_Y_FREE, power_plan, power_forward, power_backward, NULL, NULL,
    NULL, NULL, NULL
};
static const lsnn_layer_type spaced_type = {
    "my layer", "custom0", 1, 1, LSNN_Y_FREE, power_plan, power_forward, power_backward, NULL,
    NULL,
    NULL, NULL, NULL
};

/* Refuses to build, by `status` and a message with `needle`, what make added to an input. */
static void refuse_net(int (*make)(lsnn_net *net, int x), lsnn_status status,
                       const char *needle)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx);
    make(net, lsnn_input(net, 2, 4, 6));
    REFUSED(&cx, build_net(net, 4, 1, 0) != LSNN_OK, status, needle);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
}
/* ---- locally connected layers --------------------------------------------------------- */
/* conv2d, or local2d (kind 1), or a signal's, with `o`; then a dense layer.             */
static lsnn_net *local_net(lsnn_ctx *cx, int kind, const lsnn_options *o, int h)
{
    lsnn_net *net = lsnn_net_new(cx);
    int x = lsnn_input(net, 4, h, 9);
    x = kind == 0 ? lsnn_conv2d(net, x, 6, 3, o) : kind == 1 ? lsnn_local2d(net, x, 6, 3, o)
                                                             : lsnn_local1d(net, x, 6, 3, o);
    CHECK(x == 1 && build_net(net, 32, 7, 0) == LSNN_OK);
    return net;
}
static double outputs_apart(lsnn_net *one, lsnn_net *other, int size, int out)
{
    lsnn_real *x = new_reals((size_t)(32 * size)), *y = new_reals((size_t)(32 * out));
    lsnn_real *z = new_reals((size_t)(32 * out));
    double worst = 0, most = 0;
    draw_reals(x, (size_t)(32 * size), 3, -1, 1);
    CHECK(lsnn_predict(one, x, 32, y) == LSNN_OK && lsnn_predict(other, x, 32, z) == LSNN_OK);
    for (int i = 0; i < 32 * out; i++) {
        worst = fmax(worst, fabs((double)(y[i] - z[i])));
        most = fmax(most, fabs((double)y[i]));
    }
    free(x); free(y); free(z);
    return worst / most;
}
/* A local2d with a convolution's weights at all places is that convolution.              */
static void test_unshare(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_real b[6] = { 1, -2, 3, -4, 5, -6 };
    double worst = 0;
    for (int i = 0; i < 6; i++) {
        lsnn_options o = named("layer");
        lsnn_net *conv, *local;
        o.padding = i % 2 ? LSNN_SAME : LSNN_VALID;
        o.groups = i % 3 == 1 ? 2 : 1;
        o.dilation_w = i % 3 == 2 ? 2 : 1;
        conv = local_net(&cx, 0, &o, 7);
        lsnn_net_set(conv, "layer.bias", b, 6);
        o.bias = i < 3 ? LSNN_BIAS_OF_PLACE : LSNN_BIAS_OF_KERNEL;
        local = local_net(&cx, 1, &o, 7);
        CHECK(outputs_apart(conv, local, 4 * 7 * 9, (int)lsnn_net_shape(conv, 1).c *
                            lsnn_net_shape(conv, 1).h * lsnn_net_shape(conv, 1).w) > 0.1);
        CHECK(lsnn_net_unshare(local, "layer", conv, "layer") == LSNN_OK);
        worst = fmax(worst, outputs_apart(conv, local, 4 * 7 * 9, lsnn_net_shape(conv, 1).c *
                                          lsnn_net_shape(conv, 1).h * lsnn_net_shape(conv, 1).w));
        lsnn_net_free(conv);
        lsnn_net_free(local);
    }
    CHECK(worst < 1e-5);
    test_end("a local2d with a convolution's weights everywhere computes the same, to %.0e", worst);
    lsnn_ctx_free(&cx);
}
static void test_unshare_refused(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_options o = named("layer");
    lsnn_net *conv = local_net(&cx, 0, &o, 7), *local, *other;
    o.bias = LSNN_BIAS_NONE;
    local = local_net(&cx, 1, &o, 7);
    REFUSED(&cx, lsnn_net_unshare(local, "layer", conv, "layer") != LSNN_OK, LSNN_EVALUE,
            "'layer' has a bias, 'layer' has none");
    REFUSED(&cx, lsnn_net_unshare(conv, "layer", conv, "layer") != LSNN_OK, LSNN_ENAME,
            "'layer' is no local2d");
    REFUSED(&cx, lsnn_net_unshare(local, "layer", local, "layer") != LSNN_OK, LSNN_ENAME,
            "'layer' is no conv2d");
    REFUSED(&cx, lsnn_net_unshare(local, "lyer", conv, "layer") != LSNN_OK, LSNN_ENAME, "'lyer'");
    o.kernel_h = 2;
    other = local_net(&cx, 1, &o, 7);
    REFUSED(&cx, lsnn_net_unshare(other, "layer", conv, "layer") != LSNN_OK, LSNN_ESHAPE,
            "6 kernels of 2x3 on 4 channels in 1 groups, 'layer' 6 of 3x3");
    test_end("lsnn_net_unshare refuses what does not fit");
    lsnn_net_free(conv);
    lsnn_net_free(local);
    lsnn_net_free(other);
    lsnn_ctx_free(&cx);
}
/* bias: 6 x 7 places, 6, or none. start: the places' weights alike, or not. local1d: kernels of
   1 x 3.                                                                                */
static void test_local_options(void)
{
    lsnn_ctx cx = quiet_ctx();
    for (int i = 0; i < 6; i++) {
        lsnn_options o = named("local");
        lsnn_net *net;
        lsnn_real w[7 * 12 * 6 + 42];
        int kind = i < 3 ? i : LSNN_BIAS_OF_PLACE, alike;
        o.bias = (lsnn_bias)kind;
        o.no_bias = i == 5;
        o.start = i % 2 ? LSNN_START_ALIKE : LSNN_START_EACH;
        net = local_net(&cx, 2, &o, 1);
        CHECK(lsnn_net_params(net) == 7 * 12 * 6 + (size_t)(o.no_bias || kind == LSNN_BIAS_NONE ? 0
                                               : kind == LSNN_BIAS_OF_KERNEL ? 6 : 42));
        CHECK(lsnn_net_get(net, "local.weight", w, 7 * 12 * 6) == LSNN_OK);
        alike = same_bits(w, w + 72, 6 * 72);
        CHECK(alike == (i % 2) && !same_bits(w, w + 1, 71));
        lsnn_net_free(net);
    }
    test_end("local1d: a bias a place, a kernel or none; places that begin alike or not");
    lsnn_ctx_free(&cx);
}
/* One bank under a softmax is a convolution, bit for bit; names, shares, refusals.       */
static int make_lowrank(lsnn_net *net, int x)
{
    lsnn_options o = named("low");
    o.groups = 2;
    return lsnn_lowrank2d(net, x, 4, 3, 2, &o);
}
static int make_odd_banks(lsnn_net *net, int x) { return lsnn_blend(net, x, 3, NULL); }
static int make_blend_share(lsnn_net *net, int x)
{
    lsnn_options a = named("a"), b = named("b");
    b.share = "a";
    b.blend = LSNN_BLEND_FREE_ROWS;
    x = lsnn_lowrank2d(net, x, 2, 1, 2, &a);
    return lsnn_lowrank2d(net, x, 2, 1, 2, &b);
}
static int make_two_biases(lsnn_net *net, int x)
{
    lsnn_options o = { 0 };
    o.no_bias = 1;
    o.bias = LSNN_BIAS_OF_KERNEL;
    return lsnn_local2d(net, x, 4, 3, &o);
}
static void test_lowrank(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx), *conv = lsnn_net_new(&cx);
    lsnn_options low = named("low"), same = named("again"), plain = named("low-banks");
    lsnn_real g[2 * 7 * 9], image[4 * 7 * 9], y[4 * 7 * 9];
    int x = lsnn_lowrank2d(net, lsnn_input(net, 4, 7, 9), 6, 3, 1, &low);
    lsnn_conv2d(conv, lsnn_input(conv, 4, 7, 9), 6, 3, &plain);
    CHECK(lsnn_net_params(net) == lsnn_net_params(conv) + 5 + 7);
    low.name = "low2"; low.padding = same.padding = LSNN_SAME; same.share = "low2";
    CHECK(build_net(conv, 32, 7, 0) == LSNN_OK && x == 2);
    CHECK(build_net(net, 32, 7, 0) == LSNN_OK);
    CHECK(outputs_apart(net, conv, 4 * 7 * 9, 6 * 5 * 7) == 0);
    lsnn_net_free(net);
    net = lsnn_net_new(&cx);
    x = lsnn_lowrank2d(net, lsnn_input(net, 4, 7, 9), 4, 3, 2, &low);
    lsnn_lowrank2d(net, x, 4, 3, 2, &same);
    CHECK(build_net(net, 2, 7, 0) == LSNN_OK && lsnn_net_params(net) == 8 * 36 + 2 * 16 + 4);
    draw_reals(image, 4 * 7 * 9, 1, -1, 1);
    CHECK(lsnn_predict(net, image, 1, y) == LSNN_OK);
    CHECK(lsnn_net_get(net, "low2.weights", g, 2 * 7 * 9) == LSNN_OK);
    CHECK(fabs((double)g[0] - 0.5) < 1e-6 && same_bits(g, g + 1, 2 * 7 * 9 - 1));
    refuse_net(make_lowrank, LSNN_EVALUE, "blend has no option groups (it is 2)");
    refuse_net(make_odd_banks, LSNN_ESHAPE, "banks is 3, it must divide the 2 channels");
    refuse_net(make_blend_share, LSNN_EVALUE, "another blend");
    refuse_net(make_two_biases, LSNN_EVALUE, "bias asks for one a kernel, no_bias for none");
    test_end("lowrank2d: one bank is a convolution; names, shares, refusals");
    lsnn_net_free(net);
    lsnn_net_free(conv);
    lsnn_ctx_free(&cx);
}

static int make_pads(lsnn_net *net, int x)
{
    lsnn_options o = { 0 };
    o.pad_top = 1;
    return lsnn_conv2d(net, x, 2, 3, &o);
}
static int make_groups(lsnn_net *net, int x)
{
    lsnn_options o = { 0 };
    o.groups = 2;
    return lsnn_conv2d(net, x, 3, 3, &o);
}
static int make_far(lsnn_net *net, int x)
{
    lsnn_options o = { 0 };
    o.dilation_w = 3;
    return lsnn_local2d(net, x, 3, 3, &o);
}
static int make_dilated_pool(lsnn_net *net, int x)
{
    lsnn_options o = { 0 };
    o.dilation_h = 2;
    return lsnn_max_pool(net, x, 2, &o);
}
static int make_shared(lsnn_net *net, int x)
{
    lsnn_options a = { 0 }, b = { 0 };
    a.name = b.share = "a";
    b.freeze = 1;
    return lsnn_dense(net, lsnn_dense(net, lsnn_dense(net, x, 5, NULL), 5, &a), 5, &b);
}
static int make_output(lsnn_net *net, int x)
{
    x = lsnn_dense(net, x, 3, NULL);
    lsnn_net_set_output(net, lsnn_net_node(net, "typo"));
    return x;
}
static int make_wide(lsnn_net *net, int x)
{
    int many[64];
    for (int i = 0; i < 64; i++) many[i] = x;
    return lsnn_layer(net, &wide_type, many, 64, NULL);
}
static int make_spaced(lsnn_net *net, int x) { return lsnn_layer(net, &spaced_type, &x, 1, NULL); }
static int make_large(lsnn_net *net, int x)
{
    (void)x;
    return lsnn_input(net, 1024, 1024, 1024);
}

/* What is asked for in vain is refused by name; a net that could not be made passes on. */
static void test_vain(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net;
    lsnn_batch b = { 0 };
    lsnn_real x[48], y[48];
    double loss;
    refuse_net(make_pads, LSNN_EVALUE, "LSNN_EXPLICIT");
    refuse_net(make_groups, LSNN_ESHAPE, "groups is 2, which does not divide 2 channels and 3 k");
    refuse_net(make_far, LSNN_ESHAPE, "a kernel 7 wide does not fit an input 6 wide");
    refuse_net(make_dilated_pool, LSNN_EVALUE, "max_pool has no option dilation_h");
    refuse_net(make_shared, LSNN_EVALUE, "freeze");
    refuse_net(make_output, LSNN_EVALUE, "node -1");
    refuse_net(make_wide, LSNN_EVALUE, "1 to 16 inputs");
    refuse_net(make_spaced, LSNN_ENAME, "my layer");
    refuse_net(make_large, LSNN_ESTATE, "one input");
    net = lsnn_net_new(&cx);                     /* only the missing side is the map's       */
    {
        lsnn_options two = { 0 };
        two.kernel_w = 2;
        lsnn_avg_pool(net, lsnn_input(net, 2, 4, 6), 0, &two);
        CHECK(lsnn_net_shape(net, 1).h == 1 && lsnn_net_shape(net, 1).w == 3);
    }
    lsnn_net_free(net);
    net = lsnn_net_new(&cx);
    REFUSED(&cx, lsnn_input(net, 1024, 1024, 1024) < 0, LSNN_ESHAPE, "1024x1024x1024");
    lsnn_net_free(net);

    for (int i = 0; i < 48; i++) x[i] = (lsnn_real)i;
    net = lsnn_net_new(&cx);                     /* the input is the output                  */
    lsnn_cross_entropy(net, lsnn_dense(net, lsnn_input(net, 8, 1, 1), 2, NULL), NULL);
    lsnn_net_set_output(net, 0);
    CHECK(build_net(net, 4, 1, 0) == LSNN_OK);
    CHECK(lsnn_predict(net, x, 6, y) == LSNN_OK && same_bits(x, y, 48));
    b.n = 4;
    b.x = x;
    REFUSED(&cx, lsnn_forward(net, &b, 1, &loss) != LSNN_OK, LSNN_ESHAPE, "label");
    REFUSED(&cx, lsnn_backward(net) != LSNN_OK, LSNN_ESTATE, "lsnn_forward");
    lsnn_net_set_output(net, 1);
    CHECK(cx.status == LSNN_ESTATE);
    lsnn_clear(&cx);
    lsnn_net_free(net);

    net = small_net(&cx, "location", 14, 4, 1);  /* maps follow theta                        */
    {
        static const lsnn_real image[14 * 14];
        CHECK(lsnn_predict(net, image, 1, y) == LSNN_OK);
    }
    REFUSED(&cx, lsnn_net_set(net, "smooth1.map", x, 3 * 100) != LSNN_OK, LSNN_ESTATE,
            "computed");
    lsnn_net_free(net);

    CHECK(lsnn_forward(NULL, &b, 1, &loss) == LSNN_ENOMEM && lsnn_backward(NULL) != LSNN_OK);
    CHECK(lsnn_predict(NULL, x, 1, y) == LSNN_ENOMEM && lsnn_net_node(NULL, "a") == -1);
    CHECK(lsnn_net_get(NULL, "a", x, 1) == LSNN_ENOMEM && lsnn_net_save(NULL, "a") != LSNN_OK);
    CHECK(lsnn_net_output(NULL) == -1 && lsnn_work_new(&cx, NULL, 4) == NULL);
    lsnn_net_summary(NULL, stdout);
    lsnn_zero_grad(NULL);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("what is asked for in vain is refused, a net that was not made passes on");
}

int main(void)
{
    test_vain();
    test_unshare();
    test_unshare_refused();
    test_local_options();
    test_lowrank();
    test_shapes();
    test_bad_layers();
    test_bad_lecture();
    test_foreign_options();
    test_wrong_times();
    test_keep();
    test_layouts();
    test_fused_norm();
    test_cropped();
    test_concats();
    test_half();
    test_parts();
    test_names();
    test_profile();
    test_predict();
    test_chunks();
    test_shared_maps();
    test_workspaces();
    test_counts();
    test_connections();
    test_refusals();
    test_gradients();
    return test_finish();
}
