/* test_effects.c - what options and promises of the manual do, by numbers worked out here:
   first values, draws with addresses, options that reach their op, a loss of your own with
   all that a layer type may have.

   modes: plain asan | double
   Build: cc -O2 -I. tests/test_effects.c -o tests/test_effects -lm                       */
#ifndef TEST_LINKED
#define LSNN_IMPLEMENTATION
#endif
#include "lsnn.h"
#include "check.h"
#include "nets.h"

static const double near = sizeof(lsnn_real) == 8 ? 1e-12 : 1e-5;

/* ---- first values ----------------------------------------------------------------------- */
/* The weight's variance is `want`; Glorot's are uniform. The bias begins at 0.           */
static void check_first(const char *what, int kind, int fan_in, int fan_out, double scale)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options o = named("layer");
    double want = kind == LSNN_INIT_HE ? 2.0 / fan_in
                : kind == LSNN_INIT_GLOROT ? 2.0 / (fan_in + fan_out) : 0, square = 0, most = 0;
    int x = lsnn_input(net, 16, 9, 9), bias = 0;
    lsnn_real *v;
    size_t count = 0, biases = 0;
    o.init = (lsnn_init)kind;
    o.init_scale = scale;
    if (what[0] == 'c') x = lsnn_conv2d(net, x, 60, 5, &o);
    else if (what[0] == 'l') x = lsnn_local2d(net, x, 10, 5, &o);
    else x = lsnn_dense(net, x, 30, &o);
    CHECK(build_net(net, 1, 3, 1) == LSNN_OK);
    lsnn_net_param_name(net, 0, 0, &count);
    lsnn_net_param_name(net, 0, 1, &biases);
    v = new_reals(count + biases);
    CHECK(lsnn_net_get(net, "layer.weight", v, count) == LSNN_OK);
    CHECK(lsnn_net_get(net, "layer.bias", v + count, biases) == LSNN_OK);
    for (size_t i = 0; i < count; i++) {
        square += (double)v[i] * (double)v[i] / (double)count;
        most = fmax(most, fabs((double)v[i]));
    }
    for (size_t i = 0; i < biases; i++) bias += fabs((double)v[count + i]) > 0;
    if (scale > 0) want *= scale * scale;
    if (!CHECK(fabs(square - want) <= 0.04 * want && bias == 0))
        printf("# %s, kind %d: variance %g, should be %g\n", what, kind, square, want);
    if (kind == LSNN_INIT_GLOROT) CHECK(most <= sqrt(3 * want) && most > 0.95 * sqrt(3 * want));
    free(v);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
}

static void test_first(void)
{
    for (int kind = LSNN_INIT_HE; kind <= LSNN_INIT_ZERO; kind++)
        for (int half = 0; half < 2; half++) {
            check_first("conv2d", kind, 16 * 25, 60 * 25, half * 0.5);
            check_first("local2d", kind, 16 * 25, 10 * 25, half * 0.5);
            check_first("dense", kind, 16 * 81, 30, half * 0.5);
        }
    CHECK(heap.live == 0);
    test_end("first weights: He's and Glorot's variance, init_scale, biases at 0");
}

/* ---- draws have addresses --------------------------------------------------------------- */
enum { WIDE = 400 };
/* Dropouts "a" and "b" of ones, one behind the other's input, and a dense layer "last"; more:
   another named layer in front. The masks and the weights.                               */
static void draw_masks(int more, uint64_t seed, uint32_t step, lsnn_real *a, lsnn_real *b,
                       lsnn_real *w)
{
    static lsnn_real ones[WIDE];
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options first = named("a"), second = named("b"), last = named("last");
    lsnn_options extra = named("extra");
    lsnn_batch batch;
    int x = lsnn_input(net, WIDE, 1, 1), label = 0, sum;
    first.keep = second.keep = 1;
    if (more) x = lsnn_dropout(net, x, 0, &extra);
    sum = lsnn_add(net, lsnn_dropout(net, x, 0.25, &first), lsnn_dropout(net, x, 0.25, &second),
                   NULL);
    lsnn_cross_entropy(net, lsnn_dense(net, sum, 2, &last), NULL);
    CHECK(build_net(net, 1, seed, 0) == LSNN_OK);
    for (int i = 0; i < WIDE; i++) ones[i] = 1;
    memset(&batch, 0, sizeof batch);
    batch.n = 1;
    batch.x = ones;
    batch.labels = &label; batch.heads = 1;
    batch.step = step;
    CHECK(lsnn_forward(net, &batch, 1, NULL) == LSNN_OK);
    CHECK(lsnn_net_get(net, "a", a, WIDE) == LSNN_OK);
    CHECK(lsnn_net_get(net, "b", b, WIDE) == LSNN_OK);
    CHECK(lsnn_net_get(net, "last.weight", w, 2 * WIDE) == LSNN_OK);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
}

static void test_draw_addresses(void)
{
    static lsnn_real a[4][WIDE], b[4][WIDE], w[4][2 * WIDE];
    int kept = 0;
    draw_masks(0, 1, 3, a[0], b[0], w[0]);
    draw_masks(0, 1, 4, a[1], b[1], w[1]);
    draw_masks(0, 2, 3, a[2], b[2], w[2]);
    draw_masks(1, 1, 3, a[3], b[3], w[3]);
    for (int i = 0; i < WIDE; i++) {
        double v = (double)a[0][i];
        CHECK(fabs(v) <= 0 || fabs(v - 4.0 / 3) <= 1e-6);        /* 1 / (1 - rate)           */
        kept += v > 0;
    }
    CHECK(kept > 0.68 * WIDE && kept < 0.82 * WIDE);
    CHECK(!same_bits(a[0], b[0], WIDE));         /* the layer's name                         */
    CHECK(!same_bits(a[0], a[1], WIDE));         /* the step                                 */
    CHECK(!same_bits(a[0], a[2], WIDE));         /* the seed                                 */
    CHECK(same_bits(w[0], w[1], 2 * WIDE) && !same_bits(w[0], w[2], 2 * WIDE));
    CHECK(same_bits(a[0], a[3], WIDE) && same_bits(b[0], b[3], WIDE));
    CHECK(same_bits(w[0], w[3], 2 * WIDE));      /* another layer changes no other's draws   */
    CHECK(heap.live == 0);
    test_end("a net's draws: seed, step and layer's name count, other layers don't");
}

/* ---- options that reach their op -------------------------------------------------------- */
static void test_options(void)
{
    static const lsnn_real x[4] = { 1, -1, 3, -5 };      /* 2 images of 2 channels          */
    lsnn_ctx cx = quiet_ctx();
    for (int given = 0; given < 2; given++) {
        double eps = given ? 0.5 : 1e-5, momentum = given ? 0.25 : 0.1, slope = given ? 0.3 : 0.01;
        lsnn_net *net = lsnn_net_new(&cx);
        lsnn_options norm = named("norm"), leaky = named("leaky");
        int in = lsnn_input(net, 2, 1, 1), label[2] = { 0, 1 };
        lsnn_real y[4], mean[2], var[2];
        lsnn_batch b;
        norm.keep = leaky.keep = 1;
        if (given) {
            norm.eps = eps;
            norm.momentum = momentum;
            leaky.slope = slope;
        }
        lsnn_cross_entropy(net, lsnn_add(net, lsnn_batch_norm(net, in, &norm),
                                         lsnn_leaky_relu(net, in, &leaky), NULL), NULL);
        CHECK(build_net(net, 2, 1, 0) == LSNN_OK);
        memset(&b, 0, sizeof b);
        b.n = 2;
        b.x = x;
        b.labels = label; b.heads = 1;
        CHECK(lsnn_forward(net, &b, 1, NULL) == LSNN_OK);
        CHECK(lsnn_net_get(net, "leaky", y, 4) == LSNN_OK);
        for (int i = 0; i < 4; i++)
            NEAR(y[i], (double)x[i] > 0 ? (double)x[i] : slope * (double)x[i], near);
        CHECK(lsnn_net_get(net, "norm", y, 4) == LSNN_OK);
        CHECK(lsnn_net_get(net, "norm.mean", mean, 2) == LSNN_OK);
        CHECK(lsnn_net_get(net, "norm.variance", var, 2) == LSNN_OK);
        for (int c = 0; c < 2; c++) {            /* means 2, -3; variances 1, 4              */
            double m = c ? -3 : 2, v = c ? 4 : 1;
            for (int i = 0; i < 2; i++)
                NEAR(y[2 * i + c], ((double)x[2 * i + c] - m) / sqrt(v + eps), near);
            NEAR(mean[c], momentum * m, near);
            NEAR(var[c], 1 - momentum + momentum * 2 * v, near); /* unbiased: of 2 values    */
        }
        lsnn_net_free(net);
    }
    {
        lsnn_real y[4], mean[2], istd[2], one[2] = { 1, 1 }, zero[2] = { 0, 0 };
        CHECK(lsnn_batch_norm_forward(&cx, y, mean, istd, NULL, NULL, x, one, zero, 2, 2, 1, 0.1,
                                      0.5) == LSNN_OK);          /* nothing runs along       */
        NEAR(y[0], -1 / sqrt(1.5), near);
        NEAR(istd[1], 1 / sqrt(4.5), near);
    }
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("slope, eps and momentum reach their layers, and so do their defaults");
}

/* ---- a loss of your own: a buffer, kept numbers, first values, save and load -------------- */
/* mean |x| * loss_weight * gain; counts its forwards; keeps the signs for backward.       */
static lsnn_status absolute_plan(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    int features = p->in[0].c * p->in[0].h * p->in[0].w;
    (void)cx;
    p->out = p->in[0];
    if (p->o.loss_weight <= 0) p->o.loss_weight = 1;
    p->params = 1;
    p->param[0].name = "gain";
    p->param[0].rank = 1;
    p->param[0].dim[0] = 1;
    p->param[0].count = 1;
    p->buffers = 1;
    p->buffer[0].name = "calls";
    p->buffer[0].rank = 1;
    p->buffer[0].dim[0] = 1;
    p->buffer[0].count = 1;
    p->keep_per_image = (size_t)features;
    p->keep_name = "sign";
    p->keep_shape = p->in[0];
    return LSNN_OK;
}
static lsnn_status absolute_forward(lsnn_ctx *cx, lsnn_call *c)
{
    int count = c->n * c->plan->in[0].c;
    double sum = 0;
    (void)cx;
    for (int i = 0; i < count; i++) {
        c->keep[i] = (lsnn_real)((double)c->x[0][i] < 0 ? -1 : 1);
        sum += fabs((double)c->x[0][i]);
        c->y[i] = c->x[0][i];
    }
    c->loss = c->plan->o.loss_weight * (double)c->param[0][0] * sum / count;
    if (c->training) c->buffer[0][0] += 1;
    return LSNN_OK;
}
static lsnn_status absolute_backward(lsnn_ctx *cx, lsnn_call *c)
{
    int count = c->n * c->plan->in[0].c;
    double sum = 0, w = c->plan->o.loss_weight / count;
    (void)cx;
    for (int i = 0; i < count; i++) sum += fabs((double)c->x[0][i]);
    for (int i = 0; c->dx[0] && i < count; i++)
        c->dx[0][i] = LSNN_ADD == c->add[0] ? c->dx[0][i] : 0;
    for (int i = 0; c->dx[0] && i < count; i++)
        c->dx[0][i] += (lsnn_real)(w * (double)c->param[0][0] * (double)c->keep[i]);
    if (c->dparam[0]) c->dparam[0][0] += (lsnn_real)(w * sum);
    return LSNN_OK;
}
static void absolute_init(const lsnn_layer_plan *p, int i, lsnn_real *v, lsnn_rng *rng)
{
    (void)p;
    (void)i;
    v[0] = (lsnn_real)(2 + lsnn_rng_uniform(rng));
}
static const lsnn_layer_type absolute_type = {
    "absolute", "loss_weight", 1, 1, LSNN_IS_LOSS, absolute_plan, absolute_forward,
    absolute_backward, absolute_init, NULL,
    NULL, NULL, NULL
};

static void test_own_loss(void)
{
    enum { N = 5, IN = 3, OUT = 4 };
    static const lsnn_layer_type *const types[] = { &absolute_type };
    const char *folder = getenv("TEST_TMP");
    const double step = sizeof(lsnn_real) == 8 ? 1e-6 : 1e-2;
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx), *again;
    lsnn_options dense = named("dense"), own = named("own");
    lsnn_real x[N * IN], y[N * OUT], got[N * OUT], sign[N * OUT], w[OUT * IN], g[OUT * IN];
    lsnn_real gain = 0, calls = 0, *before;
    double loss = 0, sum = 0, up, down;
    int scores = lsnn_dense(net, lsnn_input(net, IN, 1, 1), OUT, &dense);
    lsnn_build_desc d = { N, 1, 0, 0, NULL };
    int labels[N] = { 0 };               /* else a forward without training runs no loss     */
    char path[600];
    lsnn_batch b;
    snprintf(path, sizeof path, "%.500s/effects.tmp.safetensors", folder ? folder : ".");
    own.loss_weight = 0.5;
    CHECK(lsnn_layer(net, &absolute_type, &scores, 1, &own) > 0);
    CHECK(lsnn_net_build(net, &d) == LSNN_OK);
    draw_reals(x, N * IN, 9, -1, 1);
    memset(&b, 0, sizeof b);
    b.n = N;
    b.x = x;
    b.labels = labels; b.heads = 1;
    CHECK(lsnn_forward(net, &b, 1, &loss) == LSNN_OK && lsnn_backward(net) == LSNN_OK);
    CHECK(lsnn_net_get(net, "own.gain", &gain, 1) == LSNN_OK);
    CHECK((double)gain >= 2 && (double)gain < 3);
    CHECK(lsnn_net_get(net, "dense", y, N * OUT) == LSNN_OK);
    CHECK(lsnn_net_get(net, "own.sign", sign, N * OUT) == LSNN_OK);
    for (int i = 0; i < N * OUT; i++) {
        sum += fabs((double)y[i]) / (N * OUT);
        NEAR(sign[i], (double)y[i] < 0 ? -1 : 1, 0);
    }
    NEAR(loss, 0.5 * (double)gain * sum, near);
    CHECK(lsnn_net_get(net, "grad:own.gain", g, 1) == LSNN_OK);
    NEAR(g[0], 0.5 * sum, near);
    CHECK(lsnn_net_get(net, "grad:dense.weight", g, OUT * IN) == LSNN_OK);
    CHECK(lsnn_net_get(net, "dense.weight", w, OUT * IN) == LSNN_OK);
    for (int i = 0; i < OUT * IN; i++) {
        lsnn_real was = w[i];
        w[i] = (lsnn_real)((double)was + step);
        lsnn_net_set(net, "dense.weight", w, OUT * IN);
        CHECK(lsnn_forward(net, &b, 0, &up) == LSNN_OK);
        w[i] = (lsnn_real)((double)was - step);
        lsnn_net_set(net, "dense.weight", w, OUT * IN);
        CHECK(lsnn_forward(net, &b, 0, &down) == LSNN_OK);
        w[i] = was;
        NEAR(g[i], (up - down) / (2 * step), sizeof(lsnn_real) == 8 ? 1e-6 : 2e-2);
    }
    lsnn_net_set(net, "dense.weight", w, OUT * IN);
    CHECK(lsnn_net_get(net, "own.calls", &calls, 1) == LSNN_OK);
    NEAR(calls, 1, 0);                           /* the build's rehearsal is no forward      */
    CHECK(lsnn_net_save(net, path) == LSNN_OK);
    REFUSED(&cx, lsnn_net_load(&cx, path, &d, NULL, 0) == NULL, LSNN_EFORMAT, "absolute");
    again = lsnn_net_load(&cx, path, &d, types, 1);
    if (CHECK(again != NULL)) {
        before = net_values(net);
        CHECK(net_is(again, before));
        CHECK(lsnn_predict(net, x, N, y) == LSNN_OK && lsnn_predict(again, x, N, got) == LSNN_OK);
        CHECK(same_bits(y, got, N * OUT));
    }
    lsnn_net_free(again);
    lsnn_net_free(net);
    remove(path);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("a loss of one's own: parameter, buffer, kept numbers, first values, its file");
}

int main(void)
{
    test_first();
    test_draw_addresses();
    test_options();
    test_own_loss();
    return test_finish();
}
