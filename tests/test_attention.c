/* test_attention.c - TKN's windows: values by hand; what trains them, that is a penalty as a
   coefficient of a parameter, and `project`, which a layer runs after a step; options that are
   refused; files; threads. Their gradients: test_ops.c and test_smoother.c.

   modes: plain double asan | naive
   Build: cc -O2 -I. tests/test_attention.c -o tests/test_attention -lm                  */
#ifndef TEST_LINKED
#define LSNN_IMPLEMENTATION
#endif
#include "lsnn.h"
#include "check.h"
#include "nets.h"

#ifdef LSNN_DOUBLE
static const double tight = 1e-14;
#else
static const double tight = 1e-6;
#endif

static lsnn_ctx cx;

/* By hand. 8 columns, 4 rows, mu = 0.5, 0.25: in the middle at column 4, row 1. s = 0.5: sigma
   is 2 columns, 1 row. sqrt 2 sigma from the middle f is 1/e or 1/3, the border of a region. */
static void test_attention_by_hand(void)
{
    const double e = 2.718281828459045, root = sqrt(0.5);
    lsnn_real theta[5], u[32];
    lsnn_smoother s;
    memset(&s, 0, sizeof s);
    s.n = s.k = 1;
    s.h = 4; s.w = 8;
    s.shape = LSNN_ATTENTION_GAUSSIAN;
    theta[0] = (lsnn_real)0.5; theta[1] = (lsnn_real)0.5;
    theta[2] = (lsnn_real)0.25; theta[3] = (lsnn_real)0.5; theta[4] = 0;
    CHECK(lsnn_smoother_map(&cx, u, theta, &s) == LSNN_OK);
    NEAR(u[1 * 8 + 4], 1, 0);
    NEAR(u[1 * 8 + 6], exp(-0.5), 1e-6);                 /* sigma to the right           */
    NEAR(u[2 * 8 + 4], exp(-0.5), 1e-6);                 /* sigma down                   */
    NEAR(u[0 * 8 + 2], 1 / e, 1e-6);                     /* both                         */
    NEAR(u[3 * 8 + 0], exp(-4), 1e-6);                   /* two of each                  */
    s.shape = LSNN_ATTENTION_CAUCHY;
    CHECK(lsnn_smoother_map(&cx, u, theta, &s) == LSNN_OK);
    NEAR(u[1 * 8 + 6], 0.5, 1e-6);
    NEAR(u[0 * 8 + 2], 0.25, 1e-6);
    NEAR(u[3 * 8 + 0], 1.0 / 25, 1e-6);
    s.shape = LSNN_BIVARIATE_GAUSSIAN;                   /* no 1/2                       */
    CHECK(lsnn_smoother_map(&cx, u, theta, &s) == LSNN_OK);
    NEAR(u[1 * 8 + 6], 1 / e, 1e-6);
    theta[4] = (lsnn_real)0.5493061443340549;            /* rho = tanh of it = 0.5       */
    CHECK(lsnn_smoother_map(&cx, u, theta, &s) == LSNN_OK);
    NEAR(u[2 * 8 + 6], 1 / e, 1e-6);                     /* q = 1 - 1 + 1                */
    NEAR(u[0 * 8 + 6], exp(-3), 1e-6);                   /* q = 1 + 1 + 1                */
    s.shape = LSNN_BIVARIATE_CAUCHY;
    CHECK(lsnn_smoother_map(&cx, u, theta, &s) == LSNN_OK);
    NEAR(u[2 * 8 + 6], 0.5, 1e-6);
    NEAR(u[0 * 8 + 6], 0.25, 1e-6);
    theta[1] = theta[3] = (lsnn_real)(root / 2);         /* sqrt 2 sigma = 2 columns     */
    s.shape = LSNN_ATTENTION_GAUSSIAN;
    CHECK(lsnn_smoother_map(&cx, u, theta, &s) == LSNN_OK);
    NEAR(u[1 * 8 + 6], 1 / e, 1e-6);
    s.shape = LSNN_ATTENTION_CAUCHY;
    CHECK(lsnn_smoother_map(&cx, u, theta, &s) == LSNN_OK);
    NEAR(u[1 * 8 + 6], 1.0 / 3, 1e-6);
    s.shape = LSNN_ATTENTION_CAUCHY_1D;                  /* the same in each row         */
    CHECK(lsnn_smoother_map(&cx, u, theta, &s) == LSNN_OK);
    for (int i = 0; i < 4; i++) NEAR(u[i * 8 + 2], 1.0 / 3, 1e-6);
    theta[0] = theta[2] = (lsnn_real)0.5; theta[1] = theta[3] = 1;
    s.shape = LSNN_ATTENTION_GAUSSIAN;                   /* as it begins: f(sigma)^2 in the */
    CHECK(lsnn_smoother_map(&cx, u, theta, &s) == LSNN_OK);     /*   corner               */
    NEAR(u[0], 1 / e, 1e-6);
    test_end("TKN's windows by hand: e^-1 and 1/3 at sqrt 2 sigma, rho, 1-D, first values");
}

/* ---- nets ------------------------------------------------------------------------------ */
enum { H = 9, W = 14, MAPS = 3, BATCH = 16 };

/* A convolution and its windows, learned by squares.                                    */
static lsnn_net *window_net(const lsnn_options *smooth, int h)
{
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options conv = named("conv1");
    int x;
    conv.no_bias = 1;
    conv.padding = LSNN_SAME;
    x = lsnn_conv2d(net, lsnn_input(net, 1, h, W), MAPS, 3, &conv);
    x = lsnn_smooth(net, x, LSNN_FREE, smooth);
    lsnn_net_set_output(net, x);
    lsnn_mse(net, x, NULL);
    if (!CHECK(build_net(net, BATCH, 5, 0) == LSNN_OK)) printf("# %s\n", cx.message);
    return net;
}
static lsnn_options window(lsnn_smooth_shape shape)
{
    lsnn_options o = named("smooth1");
    o.smooth_shape = shape;
    return o;
}

static void run_batch(lsnn_net *net, int h, uint64_t seed, double *loss)
{
    static sample_batch s;
    static lsnn_real target[BATCH * MAPS * H * W];
    lsnn_batch *b = draw_batch(&s, BATCH, h * W, seed);
    draw_reals(target, (size_t)(BATCH * MAPS * h * W), seed, -1, 1);
    b->targets = target;
    b->target_count = MAPS * h * W;
    CHECK(lsnn_forward(net, b, 1, loss) == LSNN_OK && lsnn_backward(net) == LSNN_OK);
}
static lsnn_optimizer *sgd(lsnn_net *net, double lr, double clip_norm)
{
    lsnn_optimizer_desc d;
    memset(&d, 0, sizeof d);
    d.lr = lr;
    d.weight_decay = 0.25;
    d.clip_norm = clip_norm;
    return lsnn_optimizer_new(net, &d);
}

/* ---- clip ------------------------------------------------------------------------------ */
/* From where to where number i of a window may be, on a net's maps; 0: it is left alone.  */
static int bounds(const lsnn_options *o, int i, int each, int h, double limit[2])
{
    int line = o->smooth_shape >= LSNN_ATTENTION_GAUSSIAN_1D, part = i % each;
    int side = part < 2 ? W : h, kernel = part < 2 ? o->kernel_w : o->kernel_h;
    if (part > (line ? 1 : 3) || side == 1) return 0;
    if (part % 2 == 0) {
        limit[0] = o->clip == LSNN_CLIP_CODE ? 1.0 / side : 0;
        limit[1] = 1 - 1.0 / side;
    } else {
        limit[0] = o->clip == LSNN_CLIP_CODE ? 1.5 / side : kernel / (sqrt(2.0) * side);
        limit[1] = o->clip == LSNN_CLIP_CODE ? 1 : HUGE_VAL;
    }
    return 1;
}

static void test_clip(void)
{
    static const lsnn_smooth_shape shape[] = { LSNN_ATTENTION_GAUSSIAN, LSNN_ATTENTION_CAUCHY,
        LSNN_BIVARIATE_GAUSSIAN, LSNN_BIVARIATE_CAUCHY, LSNN_ATTENTION_GAUSSIAN_1D,
        LSNN_ATTENTION_CAUCHY_1D };
    static const int numbers[] = { 4, 4, 5, 5, 2, 2 };
    int touched = 0, inside = 0, nets = 0;
    for (int i = 0; i < 6 * 2 * 2 * 2; i++) {
        lsnn_options o = window(shape[i % 6]);
        int each = numbers[i % 6], parts = i / 12 % 2 + 1, h = i / 24 ? H : 1;
        int count = MAPS * parts * (each += parts > 1);
        lsnn_real t[MAPS * 2 * 6], was[MAPS * 2 * 6];
        lsnn_optimizer *step;
        lsnn_net *net;
        o.clip = i / 6 % 2 ? LSNN_CLIP_CODE : LSNN_CLIP_PAPER;
        o.mixture = parts;
        if (o.clip == LSNN_CLIP_PAPER) { o.kernel_h = 3; o.kernel_w = 5; }
        net = window_net(&o, h);
        step = sgd(net, 1e-30, 0);           /* nothing moves but what is brought back     */
        for (int round = 0; round < 12; round++) {
            if (round == 6) {                /* now they are thrown about by gradients     */
                lsnn_optimizer_free(step);
                step = sgd(net, 30, 0.1);
            }
            if (round < 6) {
                draw_reals(was, (size_t)count, 60 + (uint64_t)round, -0.7, 1.7);
                CHECK(lsnn_net_set(net, "smooth1.theta", was, (size_t)count) == LSNN_OK);
            } else run_batch(net, h, 9 + (uint64_t)round, NULL);
            CHECK(lsnn_optimizer_step(step) == LSNN_OK);
            CHECK(lsnn_net_get(net, "smooth1.theta", t, (size_t)count) == LSNN_OK);
            for (int j = 0; j < count; j++) {
                double b[2], v = (double)was[j];
                int free_of = !bounds(&o, j, each, h, b);
                if (!free_of) {
                    CHECK(t[j] >= (lsnn_real)b[0] && !((double)t[j] > b[1] * (1 + tight)));
                    if (round < 6) NEAR(t[j], fmin(fmax(v, b[0]), b[1]), tight);
                    touched += round < 6 && (v < b[0] || v > b[1]);
                    inside += round < 6 && v > b[0] && v < b[1];
                } else if (round < 6) CHECK(same_bits(&t[j], &was[j], 1));
            }
        }
        lsnn_optimizer_free(step);
        lsnn_net_free(net);
        nets++;
    }
    CHECK(touched > 500 && inside > 500);
    test_end("clip, as the paper and as its code have it: %d nets stay where they may, %d numbers "
             "brought back, %d left as they are", nets, touched, inside);
}

/* The paper's clip: mu +- s / sqrt 2 is never less than the kernel's width; the code's leaves
   about 3 pixels, under a kernel of 5.                                                   */
static void test_floor(void)
{
    for (int kernel = 1; kernel <= 7; kernel += 2)
        for (int code = 0; code < 2; code++) {
            lsnn_options o = window(LSNN_ATTENTION_CAUCHY);
            lsnn_real t[MAPS * 4];
            lsnn_net *net;
            lsnn_optimizer *step;
            double width;
            o.clip = code ? LSNN_CLIP_CODE : LSNN_CLIP_PAPER;
            if (!code) o.kernel_h = kernel;              /* kernel_w: the same           */
            net = window_net(&o, H);
            step = sgd(net, 1e-30, 0);
            for (int i = 0; i < MAPS * 4; i++) t[i] = (lsnn_real)(i % 2 ? 0 : 0.5);
            CHECK(lsnn_net_set(net, "smooth1.theta", t, MAPS * 4) == LSNN_OK);
            CHECK(lsnn_optimizer_step(step) == LSNN_OK);
            CHECK(lsnn_net_get(net, "smooth1.theta", t, MAPS * 4) == LSNN_OK);
            for (int i = 1; i < MAPS * 4; i += 2) {
                width = sqrt(2) * (double)t[i] * (i % 4 == 1 ? W : H);
                NEAR(width, code ? 1.5 * sqrt(2) : kernel, 1e-5);
            }
            lsnn_optimizer_free(step);
            lsnn_net_free(net);
        }
    test_end("clip: windows without a width get the kernel's (paper), or 2.1 pixels (code)");
}

/* ---- penalties ------------------------------------------------------------------------- */
static void test_penalty(void)
{
    static const lsnn_smooth_shape shape[] = { LSNN_ATTENTION_GAUSSIAN, LSNN_BIVARIATE_CAUCHY,
        LSNN_ATTENTION_CAUCHY_1D };
    static const int numbers[] = { 4, 5, 2 };
    for (int i = 0; i < 3 * 2 * 2; i++) {
        lsnn_options o = window(shape[i % 3]), none = o;
        int parts = i / 3 % 2 + 1, own = numbers[i % 3], each = own + (parts > 1), clipped = i / 6;
        size_t count = (size_t)(MAPS * parts * each), all;
        lsnn_real was[MAPS * 12], g[MAPS * 12], g0[MAPS * 12], now[MAPS * 12], w[MAPS * 9];
        double loss, loss0, norm = 0, scale = 1;
        lsnn_net *net, *plain;
        lsnn_optimizer *step;
        o.mixture = none.mixture = parts;
        o.l2 = 0.4;
        net = window_net(&o, H);
        plain = window_net(&none, H);
        CHECK(lsnn_net_get(net, "smooth1.theta", was, count) == LSNN_OK);
        run_batch(net, H, 3, &loss);
        run_batch(plain, H, 3, &loss0);
        CHECK(lsnn_net_get(net, "grad:smooth1.theta", g, count) == LSNN_OK);
        CHECK(lsnn_net_get(plain, "grad:smooth1.theta", g0, count) == LSNN_OK);
        NEAR(loss, loss0, 0);                            /* of the loss alone, both      */
        CHECK(same_bits(g, g0, count));
        for (size_t j = 0; j < count; j++) {
            int part = (int)j % each, width = part < own && part % 2 == 1;
            double want = (double)g[j] + (width ? 0.4 * (double)was[j] : 0);
            norm += want * want;
        }
        CHECK(lsnn_net_param_name(net, 0, 0, &all) && all == MAPS * 9);
        CHECK(lsnn_net_get(net, "grad:conv1.weight", w, all) == LSNN_OK);
        for (size_t j = 0; j < all; j++) norm += (double)w[j] * (double)w[j];
        CHECK(lsnn_net_get(net, "grad:smooth1.bias", w, MAPS) == LSNN_OK);
        for (size_t j = 0; j < MAPS; j++) norm += (double)w[j] * (double)w[j];
        if (clipped) scale = 0.01 / (sqrt(norm) + 1e-6);
        step = sgd(net, 0.5, clipped ? 0.01 : 0);
        CHECK(lsnn_optimizer_step(step) == LSNN_OK);
        CHECK(lsnn_net_get(net, "smooth1.theta", now, count) == LSNN_OK);
        for (size_t j = 0; j < count; j++) {
            int part = (int)j % each, width = part < own && part % 2 == 1;
            double add = width ? 0.4 * (double)was[j] : 0;
            NEAR(now[j], (double)was[j] - 0.5 * scale * ((double)g[j] + add), tight);
        }
        lsnn_optimizer_free(step);
        lsnn_net_free(net);
        lsnn_net_free(plain);
    }
    test_end("l2: a step adds l2 s to each s's gradient, to no other, before it is clipped; the "
             "loss leaves it out");
}

/* decay_factor, of a layer and of a parameter.                                          */
static void test_decay_factor(void)
{
    lsnn_options less = named("less"), none = named("none"), plain = named("plain");
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_optimizer *step;
    static const char *const name[] = { "plain.weight", "less.weight", "none.weight" };
    static const double factor[] = { 1, 0.125, 0 };
    lsnn_real was[3][16], now[16];
    int x = lsnn_input(net, 4, 1, 1);
    less.decay_factor = 0.125;
    none.decay_factor = LSNN_ZERO;
    x = lsnn_dense(net, x, 4, &plain);
    x = lsnn_dense(net, lsnn_dense(net, x, 4, &less), 4, &none);
    lsnn_mse(net, x, NULL);
    CHECK(build_net(net, 4, 2, 0) == LSNN_OK);
    for (int i = 0; i < 3; i++) CHECK(lsnn_net_get(net, name[i], was[i], 16) == LSNN_OK);
    step = sgd(net, 0.5, 0);
    CHECK(lsnn_optimizer_step(step) == LSNN_OK);         /* no gradient: decay alone     */
    for (int i = 0; i < 3; i++) {
        CHECK(lsnn_net_get(net, name[i], now, 16) == LSNN_OK);
        for (int j = 0; j < 16; j++)
            NEAR(now[j], (double)was[i][j] * (1 - 0.5 * 0.25 * factor[i]), tight);
    }
    lsnn_optimizer_free(step);
    lsnn_net_free(net);
    test_end("decay_factor: weight decay times a layer's factor");
}

/* ---- project: a layer of one's own --------------------------------------------------- */
static struct { int calls, frozen; uint32_t step; double lr; } seen;

static lsnn_status bounded_plan(lsnn_ctx *c, lsnn_layer_plan *p)
{
    (void)c;
    p->out = p->in[0];
    p->params = 1;
    p->param[0].name = "gain";
    p->param[0].rank = 1;
    p->param[0].dim[0] = 8;
    p->param[0].value = 1;
    p->param[0].l2 = 0.5;
    p->param[0].l2_every = 4;                            /* numbers 0, 3, 4, 7           */
    p->param[0].l2_mask = 9;
    p->param[0].decay_factor = 2;
    p->buffers = 1;
    p->buffer[0].name = "count";
    p->buffer[0].rank = 1;
    p->buffer[0].dim[0] = 1;
    return LSNN_OK;
}
static lsnn_status bounded_forward(lsnn_ctx *c, lsnn_call *call)
{
    lsnn_shape s = call->plan->in[0];
    (void)c;
    memcpy(call->y, call->x[0], (size_t)(call->n * s.c * s.h * s.w) * sizeof *call->y);
    return LSNN_OK;
}
static lsnn_status bounded_backward(lsnn_ctx *c, lsnn_call *call)
{
    lsnn_shape s = call->plan->in[0];
    (void)c;
    for (int i = 0; i < call->n * s.c * s.h * s.w && call->dx[0]; i++)
        call->dx[0][i] = call->dy[i] + (call->add[0] ? call->dx[0][i] : 0);
    return LSNN_OK;
}
/* No number above 0.9; counts in a buffer.                                              */
static lsnn_status bounded_project(lsnn_ctx *c, const lsnn_projection *p)
{
    (void)c;
    seen.calls++;
    seen.frozen += p->param[0] == NULL;
    seen.step = p->step;
    seen.lr = p->lr;
    p->buffer[0][0] += 1;
    for (int i = 0; i < 8 && p->param[0]; i++)
        if (p->param[0][i] > (lsnn_real)0.9) p->param[0][i] = (lsnn_real)0.9;
    return LSNN_OK;
}
static const lsnn_layer_type bounded_type = {
    "bounded", "lr_factor freeze", 1, 1, 0, bounded_plan, bounded_forward, bounded_backward,
    NULL, bounded_project,
    NULL, NULL, NULL
};

static void test_project(void)
{
    lsnn_options first = named("first"), shares = named("shares"), still = named("still");
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_optimizer *step;
    lsnn_real v[8], count = 0;
    int x = lsnn_dense(net, lsnn_input(net, 4, 1, 1), 4, NULL);
    shares.share = "first";
    still.freeze = 1;
    x = lsnn_layer(net, &bounded_type, &x, 1, &first);
    x = lsnn_layer(net, &bounded_type, &x, 1, &shares);
    x = lsnn_layer(net, &bounded_type, &x, 1, &still);
    lsnn_mse(net, x, NULL);
    CHECK(build_net(net, 4, 2, 0) == LSNN_OK);
    step = sgd(net, 0.125, 0);
    memset(&seen, 0, sizeof seen);
    for (int i = 0; i < 3; i++) CHECK(lsnn_optimizer_step(step) == LSNN_OK);
    CHECK(seen.calls == 2 * 3 && seen.frozen == 3 && seen.step == 3);
    NEAR(seen.lr, 0.125, 0);
    CHECK(lsnn_net_get(net, "first.count", &count, 1) == LSNN_OK);
    NEAR(count, 3, 0);
    CHECK(lsnn_net_get(net, "first.gain", v, 8) == LSNN_OK);
    for (int i = 0; i < 8; i++) {        /* decay 2 * 0.25, and 0.5 of those with a penalty */
        double want = 1, rate = 0.125 * (0.5 + (i % 4 == 0 || i % 4 == 3 ? 0.5 : 0));
        for (int t = 0; t < 3; t++) want = fmin(want * (1 - rate), 0.9);
        NEAR(v[i], want, tight);
    }
    CHECK(lsnn_net_get(net, "still.gain", v, 8) == LSNN_OK);
    for (int i = 0; i < 8; i++) NEAR(v[i], 1, 0);
    lsnn_optimizer_free(step);
    lsnn_net_free(net);
    test_end("project: once a step for each layer with parameters of its own, after the update; "
             "penalties of single numbers");
}

/* ---- refusals -------------------------------------------------------------------------- */
static void refuse(const lsnn_options *o, int from_node, const char *needle)
{
    lsnn_net *net = lsnn_net_new(&cx);
    int x = lsnn_input(net, 2, 5, 6), theta = LSNN_FREE;
    if (from_node) theta = lsnn_dense(net, x, 2 * 4, NULL);
    REFUSED(&cx, lsnn_smooth(net, x, theta, o) == -1, LSNN_EVALUE, needle);
    lsnn_net_free(net);
}

static void test_refusals(void)
{
    lsnn_options o = named("window"), good;
    lsnn_net *net;
    int x;
    o.l2 = 0.1;
    refuse(&o, 0, "layer 'window': smooth: l2 0.1 and clip 0 are for TKN's windows");
    o.l2 = 0;
    o.clip = LSNN_CLIP_CODE;
    refuse(&o, 0, "are for TKN's windows, smooth_shape is 0");
    o.smooth_shape = LSNN_ATTENTION_GAUSSIAN;
    good = o;
    refuse(&o, 1, "are for theta of the layer's own");
    o.clip = LSNN_CLIP_NONE;
    o.l2 = 0.1;
    refuse(&o, 1, "are for theta of the layer's own");
    o.l2 = -0.1;
    refuse(&o, 0, "l2 -0.1 is negative");
    o = good;
    o.clip = LSNN_CLIP_PAPER;
    refuse(&o, 0, "kernel_h 0, kernel_w 0");
    o.kernel_h = 3;
    o.kernel_w = -1;
    refuse(&o, 0, "kernel_h 3, kernel_w -1");
    o = good;
    o.kernel_h = 3;
    refuse(&o, 0, "go with LSNN_CLIP_PAPER");
    o = good;
    o.clip = (lsnn_clip)3;
    refuse(&o, 0, "clip 3 is unknown");
    o = good;
    o.decay_factor = 2;
    refuse(&o, 0, "has no option decay_factor");
    net = lsnn_net_new(&cx);
    x = lsnn_smooth(net, lsnn_input(net, 2, 5, 6), LSNN_FREE, &good);
    o = good;
    o.name = "other";
    o.share = "window";
    REFUSED(&cx, lsnn_smooth(net, x, LSNN_FREE, &o) == -1, LSNN_EVALUE, "l2 and clip are for");
    lsnn_net_free(net);
    test_end("refused by name: l2 and clip without a window of the layer's own, kernels without "
             "the paper's clip");
}

/* ---- files and threads ----------------------------------------------------------------- */
static lsnn_net *trained(int threads, lsnn_net *net, const lsnn_options *o)
{
    lsnn_optimizer *step;
    cx.threads = threads;
    if (!net) net = window_net(o, H);
    step = sgd(net, 0.5, 0);
    for (int i = 0; i < 5; i++) {
        run_batch(net, H, 20 + (uint64_t)i, NULL);
        CHECK(lsnn_optimizer_step(step) == LSNN_OK);
    }
    lsnn_optimizer_free(step);
    cx.threads = 1;
    return net;
}

/* Saved and loaded, a net learns on as if it had not been: the options came with it.    */
static void test_files(void)
{
    char path[600];
    const char *folder = getenv("TEST_TMP");
    snprintf(path, sizeof path, "%.500s/attention.safetensors", folder ? folder : ".");
    for (int shape = LSNN_ATTENTION_GAUSSIAN; shape <= LSNN_ATTENTION_CAUCHY_1D; shape++) {
        lsnn_options o = window((lsnn_smooth_shape)shape), other;
        lsnn_net *net, *twin, *loaded;
        lsnn_build_desc d;
        o.clip = shape % 2 ? LSNN_CLIP_CODE : LSNN_CLIP_PAPER;
        if (shape % 2 == 0) o.kernel_h = o.kernel_w = 3;
        o.l2 = 0.7;
        net = trained(1, NULL, &o);
        twin = trained(2, NULL, &o);
        CHECK(net_is(twin, net_values(net)));            /* any number of threads        */
        lsnn_net_free(twin);
        CHECK(lsnn_net_save(net, path) == LSNN_OK);
        memset(&d, 0, sizeof d);
        d.batch = BATCH;
        loaded = lsnn_net_load(&cx, path, &d, NULL, 0);
        if (CHECK(loaded != NULL)) {
            trained(1, net, NULL);
            trained(1, loaded, NULL);
            CHECK(net_is(loaded, net_values(net)));
        }
        lsnn_net_free(net);
        lsnn_net_free(loaded);
        other = o;
        other.l2 = 0;                                    /* only training differs        */
        net = window_net(&other, H);
        if (!CHECK(lsnn_net_read(net, path) == LSNN_OK)) printf("# %s\n", cx.message);
        lsnn_net_free(net);
        other.smooth_shape = (lsnn_smooth_shape)(shape ^ 1);
        net = window_net(&other, H);
        REFUSED(&cx, lsnn_net_read(net, path) != LSNN_OK, LSNN_ESTATE, "smooth_shape");
        lsnn_net_free(net);
    }
    remove(path);
    test_end("files: windows with their penalty and clip, which learn on with the same bits on "
             "any number of threads");
}

int main(void)
{
    cx = quiet_ctx();
    cx.threads = 1;
    test_attention_by_hand();
    test_clip();
    test_floor();
    test_penalty();
    test_decay_factor();
    test_project();
    test_refusals();
    test_files();
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("all is given back");
    return test_finish();
}
