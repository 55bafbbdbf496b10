/* test_dsc.c - data-driven sparse connections: the rule against an oracle that keeps alpha and
   kind apart and is written from the draft's equations; each branch of Eq. 8, 13 and 15 by
   hand; what never happens (outputs and alphas out of bounds, a step without an error); the
   layers in nets: SGD is the rule, switching, first values, threads, files, resume.

   modes: plain double | asan naive nosimd
   Build: cc -O2 -I. tests/test_dsc.c -o tests/test_dsc -lm                              */
#ifndef TEST_LINKED
#define LSNN_IMPLEMENTATION
#endif
#include "lsnn.h"
#include "check.h"
#include "nets.h"

static const double tiny = sizeof(lsnn_real) == 8 ? 1e-12 : 3e-5;

static lsnn_dsc rule(double alpha_max, double tau, double xi, double eta)
{
    lsnn_dsc d;
    memset(&d, 0, sizeof d);
    d.alpha_max = alpha_max; d.tau = tau; d.xi = xi; d.eta = eta; d.share = 1;
    return d;
}

static lsnn_window window(int n, int c, int h, int w, int k, int kernel, int stride, int pad)
{
    static lsnn_ctx cx;
    lsnn_window s;
    lsnn_shape in;
    int around[4];
    in.c = c; in.h = h; in.w = w;
    for (int i = 0; i < 4; i++) around[i] = pad;
    CHECK(lsnn_window_set(&cx, &s, n, in, k, kernel, kernel, stride, stride, LSNN_EXPLICIT,
                          around) == LSNN_OK);
    return s;
}

/* ---- The oracle: Eq. 1-18 as they stand, with the holes closed as docs/dsc.md says ------- */
static double eq1(double x, double alpha)
{
    return fmin(fmax(0, (x - alpha) / (1 - alpha)), 1);
}
static double eq6(double alpha, double y, double wish, double x)
{
    return (1 - alpha) * (y + wish) + alpha - x;
}
static double eq8(double x, double y, double wish, double alpha, double alpha_max)
{
    double hat = y + wish >= 1 ? 0 : (x - y - wish) / (1 - y - wish);
    if (wish > 0) return fmax(0, hat) - alpha;
    return wish < 0 ? fmin(alpha_max, hat) - alpha : 0;
}
/* What is left of a wish when y + wish must lie in [0, 1].                                 */
static double possible(double y, double wish) { return fmin(1, fmax(0, y + wish)) - y; }

typedef struct oracle {
    double y[512], sum[512], dx[2048], dalpha[8192], dtheta[512];
} oracle;

/* alpha and kind: P,D,K. wish: N,K,OH,OW.                                                  */
static void ask(oracle *a, const lsnn_window *s, const lsnn_dsc *d, const double *x,
                const double *alpha, const int *kind, const double *theta, const double *wish)
{
    int depth = s->c * s->kernel_h * s->kernel_w, places = s->oh * s->ow;
    memset(a, 0, sizeof *a);
    for (int i = 0; i < s->n * places * s->k; i++) {
        int k = i % s->k, p = i / s->k % places, n = i / s->k / places;
        int unit = (d->unshared ? p : 0) * s->k + k, out = (n * s->k + k) * places + p;
        double active = 0, more, own = d->sums ? 0 : theta[unit], y;
        for (int pass = 0; pass < 2; pass++) {
            for (int q = 0; q < depth; q++) {
                int c = q / (s->kernel_h * s->kernel_w), u = q / s->kernel_w % s->kernel_h;
                int row = p / s->ow * s->stride_h - s->pad_top + u;
                int col = p % s->ow * s->stride_w - s->pad_left + q % s->kernel_w;
                int at = ((d->unshared ? p : 0) * depth + q) * s->k + k, in;
                double o, g, share, back;
                if (row < 0 || row >= s->h || col < 0 || col >= s->w) continue;
                in = ((n * s->c + c) * s->h + row) * s->w + col;
                o = fmin(1, fmax(0, x[in]));
                g = eq1(o, alpha[at]);
                if (pass == 0) {
                    a->sum[i] += kind[at] * g;
                    active += o;
                    continue;
                }
                if (o <= 0 || (d->silent && g <= 0)) continue;
                share = possible(g, kind[at] * o / active * more);          /* 11, 14       */
                if (!(fabs(share) > 0)) continue;
                a->dalpha[at] += d->xi * eq8(o, g, share, alpha[at], d->alpha_max);
                back = d->eta * eq6(alpha[at], g, share, o);                /* 16           */
                a->dx[in] += kind[at] * back;                               /* 17, 18       */
            }
            if (pass == 1) break;
            y = a->y[out] = d->sums ? a->sum[i] : eq1(a->sum[i], own);
            more = d->eta * wish[out];
            if (d->sums) continue;
            more = possible(y, wish[out]);
            a->dtheta[unit] += d->xi * eq8(a->sum[i], y, more, own, d->alpha_max);
            more = fabs(more) > 0 ? d->eta * eq6(own, y, more, a->sum[i]) : 0;
            if (active <= 0) break;
        }
    }
}

/* Random numbers into a problem, and the library's answers beside the oracle's.            */
static void against_oracle(const lsnn_window *s, const lsnn_dsc *d, uint64_t seed)
{
    static oracle a;
    static lsnn_real x[2048], y[512], sum[512], w[8192], theta[512], dy[512], dx[2048];
    static lsnn_real dw[8192], dtheta[512];
    static double ox[2048], alpha[8192], otheta[512], wish[512];
    static int kind[8192];
    lsnn_ctx cx = quiet_ctx();
    lsnn_rng r = lsnn_rng_at(seed, "test", "dsc", 0, 0);
    int depth = s->c * s->kernel_h * s->kernel_w, places = s->oh * s->ow;
    int in = s->n * s->c * s->h * s->w, out = s->n * s->k * places;
    int units = (d->unshared ? places : 1) * s->k, count = units * depth;
    for (int i = 0; i < in; i++)                 /* some 0, some below, some above          */
        x[i] = (lsnn_real)(lsnn_rng_int(&r, 3) ? 1.1 * lsnn_rng_uniform(&r) - 0.05 : 0);
    for (int i = 0; i < in; i++) ox[i] = (double)x[i];
    for (int i = 0; i < count; i++) {
        w[i] = (lsnn_real)(1 - d->alpha_max * lsnn_rng_uniform(&r));
        alpha[i] = 1 - (double)w[i];
        kind[i] = lsnn_rng_int(&r, 2) ? 1 : -1;
        if (kind[i] < 0) w[i] = -w[i];
    }
    for (int i = 0; i < units; i++)
        otheta[i] = (double)(theta[i] = (lsnn_real)(d->alpha_max * lsnn_rng_uniform(&r)));
    for (int i = 0; i < out; i++) {
        dy[i] = (lsnn_real)(lsnn_rng_int(&r, 4) ? 2 * lsnn_rng_uniform(&r) - 1 : 0);
        wish[i] = -(double)dy[i];
    }
    for (int i = 0; i < in; i++) dx[i] = 7;
    for (int i = 0; i < count; i++) dw[i] = 1;
    for (int i = 0; i < units; i++) dtheta[i] = 2;
    ask(&a, s, d, ox, alpha, kind, otheta, wish);
    CHECK(lsnn_dsc_forward(&cx, y, sum, x, w, d->sums ? NULL : theta, d, s) == LSNN_OK);
    CHECK(lsnn_dsc_backward(&cx, dx, dw, d->sums ? NULL : dtheta, dy, x, sum, w,
                            d->sums ? NULL : theta, d, s, LSNN_SET) == LSNN_OK);
    for (int i = 0; i < out; i++) NEAR(y[i], a.y[i], tiny);
    for (int i = 0; i < out; i++) NEAR(sum[i], a.sum[i], tiny);
    for (int i = 0; i < in; i++) NEAR(-dx[i], a.dx[i], tiny * depth);
    for (int i = 0; i < count; i++)              /* |w| = 1 - alpha                         */
        NEAR((double)dw[i] - 1, kind[i] * d->share * a.dalpha[i], tiny * places * s->n);
    for (int i = 0; i < units && !d->sums; i++)
        NEAR(2 - (double)dtheta[i], d->share * a.dtheta[i], tiny * places * s->n);
    for (int i = 0; i < in; i++) ox[i] = -(double)dx[i];
    CHECK(lsnn_dsc_backward(&cx, dx, NULL, NULL, dy, x, sum, w, d->sums ? NULL : theta, d, s,
                            LSNN_ADD) == LSNN_OK);
    for (int i = 0; i < in; i++) NEAR(-dx[i], 2 * ox[i], tiny);
    lsnn_ctx_free(&cx);
}

static void oracles(void)
{
    for (int i = 0; i < 48; i++) {
        lsnn_dsc d = rule(i % 3 ? 0.9 : 0.99, 0.01, 0.1 + 0.9 * (i % 2), i % 5 ? 0.5 : 1);
        lsnn_window s = i % 4 == 0 ? window(1 + i % 3, 1 + i, 1, 1, 3 + i % 20, 1, 1, 0) :
            window(1 + i % 3, 1 + i % 2, 4 + i % 3, 5, 1 + i % 7, 2 + i % 2, 1 + i % 2, i % 2);
        d.unshared = i % 8 > 4;
        d.silent = i % 6 == 5;
        d.sums = i % 7 == 3;
        if (i % 3 == 1) d.share = 0.125;
        against_oracle(&s, &d, (uint64_t)i);
    }
    test_end("dense, shared and unshared: the equations, with alpha and kind kept apart");
}

/* ---- By hand ------------------------------------------------------------------------------ */
/* One neuron of alpha `theta` on n inputs: returns its y; wish -> changes of alphas.       */
typedef struct small_case {
    double y, dalpha[2], dtheta, dx[2];
} small_case;

static small_case work(int n, const double *o, const double *alpha, const int *kind,
                       double theta, double wish, lsnn_dsc d)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_window s = window(1, n, 1, 1, 1, 1, 1, 0);
    lsnn_real x[2], w[2], t[1], y[1], sum[1], dy[1], dx[2], dw[2] = { 0, 0 }, dt[1] = { 0 };
    small_case r;
    memset(&r, 0, sizeof r);
    t[0] = (lsnn_real)theta;
    dy[0] = (lsnn_real)-wish;
    for (int i = 0; i < n; i++) {
        x[i] = (lsnn_real)o[i];
        w[i] = (lsnn_real)(kind[i] * (1 - alpha[i]));
    }
    CHECK(lsnn_dsc_forward(&cx, y, sum, x, w, t, &d, &s) == LSNN_OK);
    CHECK(lsnn_dsc_backward(&cx, dx, dw, dt, dy, x, sum, w, t, &d, &s, LSNN_SET) == LSNN_OK);
    r.y = (double)y[0];
    r.dtheta = -(double)dt[0];
    for (int i = 0; i < n; i++) r.dalpha[i] = kind[i] * (double)dw[i];
    for (int i = 0; i < n; i++) r.dx[i] = -(double)dx[i];
    lsnn_ctx_free(&cx);
    return r;
}

static small_case one(double o, double alpha, int kind, double theta, double wish)
{
    return work(1, &o, &alpha, &kind, theta, wish, rule(0.9, 0.1, 0.5, 1));
}

static void by_hand(void)
{
    small_case c = one(0.8, 0.5, 1, 0, 0.2);     /* g = 0.6, t = 0.8                        */
    double o[2] = { 0.9, 0.3 }, alpha[2] = { 0.8, 0.2 };
    int kind[2] = { 1, -1 };
    lsnn_dsc r = rule(0.9, 0.1, 0.5, 1);
    NEAR(c.y, 0.6, tiny);
    NEAR(c.dalpha[0], 0.5 * (0 - 0.5), tiny);    /* 13: hat = (0.8 - 0.8) / 0.2 = 0         */
    NEAR(c.dx[0], 0.1, tiny);                    /* 16: 0.5 * 0.8 + 0.5 - 0.8               */
    NEAR(c.dtheta, 0.5 * (0 - 0), tiny);         /* 8: hat = (0.6 - 0.8) / 0.2 = -1: max 0  */
    c = one(0.8, 0.5, 1, 0, 0.1);                /* hat = (0.8 - 0.7) / 0.3                 */
    NEAR(c.dalpha[0], 0.5 * (1.0 / 3 - 0.5), tiny);
    c = one(0.8, 0.5, 1, 0, -0.2);               /* t = 0.4, hat = 0.4 / 0.6                */
    NEAR(c.dalpha[0], 0.5 * (2.0 / 3 - 0.5), tiny);
    NEAR(c.dtheta, 0.5 * (1.0 / 3), tiny);       /* 8: (0.6 - 0.4) / 0.6                    */
    NEAR(c.dx[0], -0.1, tiny);
    c = one(0.95, 0.5, 1, 0, -1);                /* hat = o = 0.95: alpha_max               */
    NEAR(c.dalpha[0], 0.5 * (0.9 - 0.5), tiny);
    test_end("8 and 13 by hand: hat, max(0, hat), min(alpha_max, hat), up and down");

    /* y = 0.5 - 0.125: an inhibitory one closes for D > 0 (15).                            */
    c = work(2, o, alpha, kind, 0, 0.2, rule(0.9, 0.1, 0.5, 1));
    NEAR(c.y, 0.375, tiny);
    NEAR(c.dalpha[0], 0.5 * ((0.9 - 0.65) / 0.35 - 0.8), tiny);      /* t = 0.5 + 0.75 * 0.2 */
    NEAR(c.dalpha[1], 0.5 * ((0.3 - 0.075) / 0.925 - 0.2), tiny);    /* t = 0.125 - 0.05    */
    NEAR(c.dx[0], 0.2 * 0.65 + 0.8 - 0.9, tiny);
    NEAR(c.dx[1], -(0.8 * 0.075 + 0.2 - 0.3), tiny);                 /* 17: raised? no: lowered */
    c = work(2, o, alpha, kind, 0, -0.2, rule(0.9, 0.1, 0.5, 1));    /* and opens for D < 0 */
    NEAR(c.dalpha[0], 0.5 * ((0.9 - 0.35) / 0.65 - 0.8), tiny);
    NEAR(c.dalpha[1], 0.5 * ((0.3 - 0.175) / 0.825 - 0.2), tiny);
    alpha[1] = 0.29; o[1] = 0.95;
    c = work(2, o, alpha, kind, 0, -0.4, rule(0.9, 0.1, 0.5, 1));
    NEAR(c.y, 0, tiny);                          /* 0.5 - 0.93: nothing lower is possible   */
    NEAR(c.dalpha[0], 0, 0); NEAR(c.dalpha[1], 0, 0); NEAR(c.dx[1], 0, 0);
    c = work(2, o, alpha, kind, 0, 1, rule(0.9, 0.1, 0.5, 1));       /* min(alpha_max, hat) */
    CHECK(c.dalpha[1] > 0 && c.dalpha[1] <= 0.5 * (0.9 - 0.29) + tiny);
    c = one(0.95, 0.94 * 0.9, -1, 0, 1);         /* a full wish closes what it can          */
    NEAR(c.dalpha[0], 0.5 * (0.9 - 0.94 * 0.9), tiny);
    c = one(0.4, 0.5, 1, 0, 0.3);                /* closed: it is asked to open, and o to rise */
    NEAR(c.dalpha[0], 0.5 * (1.0 / 7 - 0.5), tiny);      /* t = 0.3, hat = 0.1 / 0.7        */
    NEAR(c.dx[0], 0.5 * 0.3 + 0.5 - 0.4, tiny);
    r.sums = 1;                                  /* 15: max(0, hat), hat = (0.6 - 0.7) / 0.3 */
    o[0] = 0.6; alpha[0] = 0.5; kind[0] = -1;
    c = work(1, o, alpha, kind, 0, -0.5, r);
    NEAR(c.dalpha[0], 0.5 * (0 - 0.5), tiny);
    NEAR(c.dx[0], -(0.5 * 0.7 + 0.5 - 0.6), tiny);
    test_end("11, 14, 15 and 17 by hand: two connections, an excitatory and an inhibitory one");
}

static void holes(void)
{
    double o[2] = { 0, 0 }, alpha[2] = { 0.5, 0.2 };
    int kind[2] = { 1, -1 };
    lsnn_dsc d = rule(0.9, 0.1, 0.5, 1);
    small_case c;
    for (double at = 0; at <= 1; at += 0.125) {          /* no error, no step: also below alpha */
        c = one(at, 0.5, 1, 0.3, 0);
        CHECK(!(fabs(c.dalpha[0]) > 0) && !(fabs(c.dtheta) > 0) && !(fabs(c.dx[0]) > 0));
    }
    c = work(2, o, alpha, kind, 0.25, 0.5, d);           /* no input: only the neuron moves     */
    NEAR(c.y, 0, 0);
    NEAR(c.dtheta, 0.5 * (0 - 0.25), tiny);
    CHECK(!(fabs(c.dalpha[0]) > 0) && !(fabs(c.dalpha[1]) > 0) && !(fabs(c.dx[0]) > 0));
    c = one(1, 0.5, 1, 0, -0.5);                         /* g(1) = 1 for any alpha              */
    NEAR(c.y, 1, 0);
    NEAR(c.dalpha[0], 0.5 * (0.9 - 0.5), tiny);
    c = one(0.6, 0.5, 1, 0, 5);                          /* t = 1: all open, no division by 0   */
    NEAR(c.dalpha[0], 0.5 * (0 - 0.5), tiny);
    d.silent = 1;
    o[0] = 0.4;
    c = work(1, o, alpha, kind, 0, 0.5, d);
    CHECK(!(fabs(c.dalpha[0]) > 0) && !(fabs(c.dx[0]) > 0));
    test_end("no error, no input, an input of 1, a wish for more than 1, silent: as documented");
}

/* ---- In a net ----------------------------------------------------------------------------- */
static lsnn_options named_rule(const char *name, double alpha_max, double tau)
{
    lsnn_options o = named(name);
    o.dsc_alpha_max = alpha_max;
    o.dsc_tau = tau;
    return o;
}

/* 8 x 8 pixels: shared, unshared and dense, to 3 classes.                                  */
static lsnn_net *three_net(lsnn_ctx *cx, int batch, uint64_t seed)
{
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_options a = named_rule("a", 0.95, 0.05), b = named("b"), c = named("c");
    int x;
    b.padding = LSNN_SAME;
    a.keep = b.keep = 1;
    c.dsc_silent = 1;
    x = lsnn_dsc_conv2d(net, lsnn_input(net, 1, 8, 8), 4, 3, &a);
    x = lsnn_max_pool(net, x, 2, NULL);
    x = lsnn_dsc_local2d(net, x, 3, 2, &b);
    lsnn_dsc_loss(net, lsnn_dsc_dense(net, x, 3, &c), NULL);
    CHECK(build_net(net, batch, seed, 0) == LSNN_OK);
    return net;
}

static lsnn_batch *three_batch(sample_batch *s, int n, uint64_t seed)
{
    lsnn_batch *b = draw_batch(s, n, 64, seed);
    for (int i = 0; i < n * 64; i++) s->x[i] = s->x[i] > 0 ? s->x[i] : 0;
    return b;
}

static int within(lsnn_net *net, const char *name, size_t count, double low, double high)
{
    lsnn_real v[4096];
    if (count > 4096 || lsnn_net_get(net, name, v, count) != LSNN_OK) return 0;
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)v[i]) >= low && fabs((double)v[i]) <= high)) return 0;
    return 1;
}

static void bounds(void)
{
    static sample_batch s;
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = three_net(&cx, 4, 1);
    lsnn_optimizer_desc d;
    lsnn_optimizer *o;
    memset(&d, 0, sizeof d);
    d.lr = 1;
    o = lsnn_optimizer_new(net, &d);
    for (int step = 0; step < 200; step++) {
        CHECK(lsnn_forward(net, three_batch(&s, 4, (uint64_t)step), 1, NULL) == LSNN_OK);
        CHECK(lsnn_backward(net) == LSNN_OK && lsnn_optimizer_step(o) == LSNN_OK);
        CHECK(within(net, "a", 4 * 4 * 36, 0, 1) && within(net, "b", 4 * 3 * 9, 0, 1));
        CHECK(within(net, "a.weight", 9 * 4, 0.1 - tiny, 1));       /* alpha in [0, 0.9]       */
        CHECK(within(net, "b.weight", 9 * 16 * 3, 0.6 - tiny, 1));  /* alpha in [0, 0.9 - 0.5] */
        CHECK(within(net, "b.theta", 9 * 3, 0, 0.9 + tiny));
    }
    lsnn_optimizer_free(o);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    test_end("200 steps: outputs in [0, 1], alphas in [0, alpha_max - tau] and [0, alpha_max]");
}

/* w after a step is w - dw, bit for bit, but where project has something to say.           */
static void sgd_is_the_rule(void)
{
    static sample_batch s;
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = three_net(&cx, 4, 2);
    lsnn_real w[432], dw[432], after[432];
    lsnn_optimizer_desc d;
    lsnn_optimizer *o;
    int moved = 0, bounded = 0;
    memset(&d, 0, sizeof d);
    d.lr = 1;
    o = lsnn_optimizer_new(net, &d);
    for (int step = 0; step < 20; step++) {
        lsnn_forward(net, three_batch(&s, 4, (uint64_t)step), 1, NULL);
        CHECK(lsnn_backward(net) == LSNN_OK);
        lsnn_net_get(net, "b.weight", w, 432);
        lsnn_net_get(net, "grad:b.weight", dw, 432);
        lsnn_optimizer_step(o);
        lsnn_net_get(net, "b.weight", after, 432);
        for (int i = 0; i < 432; i++) {
            lsnn_real want[1];
            lsnn_dsc r = rule(0.9, 0.5, 0.3, 0.5);
            want[0] = w[i] - dw[i];
            moved += want[0] < w[i] || want[0] > w[i];
            lsnn_dsc_project(&cx, want, 1, NULL, 0, &r);
            bounded += want[0] < w[i] - dw[i] || want[0] > w[i] - dw[i];
            CHECK(want[0] >= after[i] && want[0] <= after[i]);
        }
    }
    CHECK(moved > 100 && bounded > 0);
    lsnn_optimizer_free(o);
    for (int i = 0; i < 5; i++) {
        memset(&d, 0, sizeof d);
        d.method = i == 0 ? LSNN_ADAM : i == 1 ? LSNN_ADAMW : LSNN_SGD;
        d.momentum = i == 2 ? 0.9 : 0;
        d.clip_norm = i == 3 ? 1 : 0;
        d.lr = i == 4 ? 1.5 : 0.5;
        REFUSED(&cx, lsnn_optimizer_new(net, &d) == NULL, LSNN_EVALUE, "rule of its own");
    }
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    test_end("SGD with lr = 1 is the rule, to the bit; other optimizers are refused");
}

/* One pixel, one neuron: asked for less until its connection inhibits, then for more.      */
static void switching(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options o = named_rule("only", 0.9, 0.2);
    lsnn_real x[1] = { (lsnn_real)0.85 }, w[1] = { (lsnn_real)0.8 }, theta[1] = { 0 };
    lsnn_real target[1], none[2] = { 1, -1 };
    lsnn_optimizer_desc d;
    lsnn_optimizer *sgd;
    lsnn_batch b;
    lsnn_dsc r = rule(0.9, 0.2, 0.3, 0.5);
    int there = 0, back = 0;
    memset(&b, 0, sizeof b);
    memset(&d, 0, sizeof d);
    d.lr = 1;
    o.dsc_sums = 1;                              /* the sum may be negative: no neuron's alpha  */
    lsnn_mse(net, lsnn_dsc_dense(net, lsnn_input(net, 1, 1, 1), 1, &o), NULL);
    CHECK(build_net(net, 1, 1, 0) == LSNN_OK);
    CHECK(lsnn_net_set(net, "only.weight", w, 1) == LSNN_OK);
    sgd = lsnn_optimizer_new(net, &d);
    b.n = 1; b.x = x; b.targets = target; b.target_count = 1;
    for (int step = 0; step < 200; step++) {
        lsnn_real before = w[0];
        target[0] = (lsnn_real)(there ? 0.7 : -0.7);
        CHECK(lsnn_forward(net, &b, 1, NULL) == LSNN_OK && lsnn_backward(net) == LSNN_OK);
        CHECK(lsnn_optimizer_step(sgd) == LSNN_OK);
        lsnn_net_get(net, "only.weight", w, 1);
        if (before > 0 && w[0] < 0) { there++; NEAR(w[0], -0.3, tiny); }
        if (before < 0 && w[0] > 0) { back++; NEAR(w[0], 0.3, tiny); }
    }
    CHECK(there == 1 && back == 1 && w[0] > 0);
    lsnn_dsc_project(&cx, none, 2, theta, 1, &r);     /* what is inside stays                        */
    NEAR(none[0], 1, 0); NEAR(none[1], -1, 0);
    w[0] = (lsnn_real)1.5; theta[0] = (lsnn_real)0.95;
    lsnn_dsc_project(&cx, w, 1, theta, 1, &r);
    NEAR(w[0], 1, 0); NEAR(theta[0], 0.9, 1e-7);
    theta[0] = (lsnn_real)-0.1;
    lsnn_dsc_project(&cx, w, 1, theta, 1, &r);
    NEAR(theta[0], 0, 0);
    lsnn_optimizer_free(sgd);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    test_end("a connection switches to inhibitory and back, each time at alpha_max - tau");
}

/* ---- Filter alienation: no two alike, for any seed and count ------------------------------- */
static int by_size(const void *a, const void *b)
{
    double x = fabs((double)*(const lsnn_real *)a), y = fabs((double)*(const lsnn_real *)b);
    return x < y ? -1 : x > y;
}

static void first_values(void)
{
    static const int inputs[] = { 1, 2, 30, 784, 1000 }, outputs[] = { 1, 3, 10, 7, 400 };
    lsnn_ctx cx = quiet_ctx();
    lsnn_options o = named("dsc");
    lsnn_net *net;
    for (int i = 0; i < 15; i++) {
        size_t count = (size_t)inputs[i % 5] * (size_t)outputs[i % 5], alike = 0, minus = 0;
        lsnn_real *v = (lsnn_real *)malloc(count * sizeof *v);
        net = lsnn_net_new(&cx);
        lsnn_dsc_dense(net, lsnn_input(net, inputs[i % 5], 1, 1), outputs[i % 5], &o);
        CHECK(build_net(net, 1, (uint64_t)i * 77, 1) == LSNN_OK);
        CHECK(lsnn_net_get(net, "dsc.weight", v, count) == LSNN_OK);
        for (size_t j = 0; j < count; j++) minus += v[j] < 0;
        qsort(v, count, sizeof *v, by_size);
        for (size_t j = 1; j < count; j++) alike += !(fabs((double)v[j]) > fabs((double)v[j - 1]));
        CHECK(alike == 0);
        CHECK(count < 100 || (minus > count / 4 && minus < 3 * count / 4));
        CHECK(fabs((double)v[0]) >= 0.6 && fabs((double)v[count - 1]) <= 0.7);
        lsnn_net_free(net);
        free(v);
    }
    net = lsnn_net_new(&cx);
    o.dsc_spread = sizeof(lsnn_real) == 8 ? 1e-10 : 1e-2;
    REFUSED(&cx, lsnn_dsc_dense(net, lsnn_input(net, 1000, 1, 1), 1000, &o) < 0, LSNN_EVALUE,
            "raise dsc_spread");
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    test_end("first values: no two alike, both kinds; refused where floats cannot tell them apart");
}

/* ---- Corrections from labels and from winners ---------------------------------------------- */
static void losses(void)
{
    static const lsnn_real x[6] = { (lsnn_real)0.25, (lsnn_real)1.5, (lsnn_real)-0.5,
                                    0, 1, (lsnn_real)0.5 };
    static const int label[2] = { 0, 1 };
    lsnn_ctx cx = quiet_ctx();
    lsnn_real dx[6], won[8];
    lsnn_real y[8] = { (lsnn_real)0.9, (lsnn_real)0.2, (lsnn_real)0.5, (lsnn_real)0.5,
                       (lsnn_real)0.7, (lsnn_real)0.1, (lsnn_real)0.1, (lsnn_real)0.6 };
    lsnn_shape two = { 2, 2, 2 };
    lsnn_lateral l;
    double loss = 0;
    CHECK(lsnn_dsc_loss_forward(&cx, &loss, x, label, 1, 2, 3) == LSNN_OK);
    NEAR(loss, (0.5625 + 2.25 + 0.25) / 4, 1e-7);
    CHECK(lsnn_dsc_loss_backward(&cx, dx, x, label, 1, 2, 3, LSNN_SET) == LSNN_OK);
    NEAR(dx[0], -0.75, 0); NEAR(dx[1], 1.5, 0); NEAR(dx[2], 0, 0);
    NEAR(dx[3], 0, 0); NEAR(dx[4], 0, 0); NEAR(dx[5], 0.5, 0);
    memset(&l, 0, sizeof l);
    l.beta = 0.15;                               /* all maps of a place: 0.9 > 0.7, 0.5 > 0.1   */
    CHECK(lsnn_dsc_lateral_forward(&cx, won, y, 1, two, &l) == LSNN_OK);
    for (int i = 0; i < 8; i++) NEAR(won[i], i == 0 || i == 2, 0);
    l.beta = 0.1;                                /* 0.2 - 0.1, 0.6 - 0.5 are 0.1, give or take  */
    l.maps = -1;                                 /* the same map, all places: 0.9 and 0.7       */
    l.places = 1;
    l.beta = 0.05;
    CHECK(lsnn_dsc_lateral_forward(&cx, won, y, 1, two, &l) == LSNN_OK);
    for (int i = 0; i < 8; i++) NEAR(won[i], i == 0 || i == 4, 0);
    l.maps = 1;                                  /* everybody: one winner                       */
    CHECK(lsnn_dsc_lateral_forward(&cx, won, y, 1, two, &l) == LSNN_OK);
    for (int i = 0; i < 8; i++) NEAR(won[i], i == 0, 0);
    l.beta = 0.25;
    CHECK(lsnn_dsc_lateral_forward(&cx, won, y, 1, two, &l) == LSNN_OK);
    NEAR(won[0], 0, 0);                          /* 0.9 - 0.7 is not enough: nobody             */
    l.beta = -1;
    REFUSED(&cx, lsnn_dsc_lateral_forward(&cx, won, y, 1, two, &l) != LSNN_OK, LSNN_EVALUE,
            "beta -1");
    lsnn_ctx_free(&cx);
    test_end("corrections to labels; lateral depression by hand, in three neighbourhoods");
}

/* ---- Threads, files, resume ---------------------------------------------------------------- */
/* 64 x 40 inputs of a 3-layer net, trained; its parameters.                                */
static void train_digits(lsnn_ctx *cx, int batch, const char *save, const char *resume, int epochs,
                         lsnn_real *w, size_t count, double *error)
{
    lsnn_recipe seen;
    lsnn_data data;
    lsnn_fit_desc fit;
    lsnn_progress last;
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_options o = named("score"), conv = named("conv"), dim = named("dim");
    lsnn_real bright[1] = { (lsnn_real)0.9 };
    int x;
    memset(&seen, 0, sizeof seen);
    memset(&fit, 0, sizeof fit);
    memset(&last, 0, sizeof last);
    seen.count = 400;
    CHECK(lsnn_data_recipe(cx, &data, &seen) == LSNN_OK);
    o.dsc_sums = o.dsc_silent = 1;
    conv.stride_h = 3;
    dim.freeze = dim.no_bias = 1;                /* pixels up to 0.9: see docs/dsc.md           */
    x = lsnn_scale(net, lsnn_input(net, 1, 28, 28), &dim);
    if (batch > 1) x = lsnn_dsc_conv2d(net, x, 6, 4, &conv);
    lsnn_dsc_loss(net, lsnn_dsc_dense(net, x, 10, &o), NULL);
    CHECK(build_net(net, batch, 3, 0) == LSNN_OK);
    CHECK(lsnn_net_set(net, "dim.scale", bright, 1) == LSNN_OK);
    fit.epochs = epochs;
    fit.optimizer.lr = 1;
    fit.save = save;
    fit.resume = resume;
    fit.last = &last;
    CHECK(lsnn_fit(net, &data, &fit) == LSNN_OK);
    if (w) CHECK(lsnn_net_get(net, "score.weight", w, count) == LSNN_OK);
    if (error) *error = last.error;
    lsnn_net_free(net);
    lsnn_data_free(&data);
}

static void the_same_bits(void)
{
    enum { COUNT = 486 * 10 };
    static lsnn_real w[3][COUNT];
    const char *folder = getenv("TEST_TMP");
    char path[600];
    lsnn_ctx cx = quiet_ctx();
    for (int i = 0; i < 3; i++) {
        cx.threads = 1 + i;
        train_digits(&cx, 16, NULL, NULL, 1, w[i], COUNT, NULL);
        lsnn_ctx_free(&cx);
        CHECK(memcmp(w[0], w[i], sizeof w[0]) == 0);
    }
    test_end("1, 2 and 3 threads: the same bits");
    snprintf(path, sizeof path, "%s/dsc.safetensors", folder ? folder : ".");
    cx = quiet_ctx();
    train_digits(&cx, 16, NULL, NULL, 2, w[0], COUNT, NULL);
    train_digits(&cx, 16, path, NULL, 1, NULL, 0, NULL);
    train_digits(&cx, 16, NULL, path, 2, w[1], COUNT, NULL);
    CHECK(memcmp(w[0], w[1], sizeof w[0]) == 0);
    remove(path);
    lsnn_ctx_free(&cx);
    test_end("saved after an epoch and resumed: the same bits");
}

static void files(void)
{
    static sample_batch s;
    const char *folder = getenv("TEST_TMP");
    char path[600];
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = three_net(&cx, 4, 5), *again;
    lsnn_real y[12], z[12];
    lsnn_real w[36];
    snprintf(path, sizeof path, "%s/net.safetensors", folder ? folder : ".");
    three_batch(&s, 4, 9);
    CHECK(lsnn_predict(net, s.x, 4, y) == LSNN_OK && lsnn_net_save(net, path) == LSNN_OK);
    again = lsnn_net_load(&cx, path, NULL, NULL, 0);
    CHECK(again && lsnn_predict(again, s.x, 4, z) == LSNN_OK && memcmp(y, z, sizeof y) == 0);
    lsnn_net_get(net, "a.weight", w, 36);
    REFUSED(&cx, lsnn_net_export_c(net, path, NULL) != LSNN_OK, LSNN_EUNSUPPORTED, "dsc_conv2d");
    REFUSED(&cx, lsnn_net_export_onnx(net, path) != LSNN_OK, LSNN_EUNSUPPORTED, "dsc_conv2d");
    remove(path);
    lsnn_net_free(net);
    lsnn_net_free(again);
    lsnn_ctx_free(&cx);
    test_end("saved and loaded: the same answers; exports refuse by name");
}

static void refusals(void)
{
    lsnn_ctx cx = quiet_ctx();
    for (int i = 0; i < 7; i++) {
        static const char *const needle[] = { "alpha_max is 1", "tau 0.95", "xi is 2", "eta -1",
            "dsc_theta 0.95", "dsc_spread is 2", "dsc_places -1" };
        lsnn_net *net = lsnn_net_new(&cx);
        lsnn_options o = named("dsc");
        int x = lsnn_input(net, 4, 1, 1);
        if (i == 0) o.dsc_alpha_max = 1;
        if (i == 1) o.dsc_tau = 0.95;
        if (i == 2) o.dsc_xi = 2;
        if (i == 3) o.dsc_eta = -1;
        if (i == 4) o.dsc_theta = 0.95;
        if (i == 5) o.dsc_spread = 2;
        if (i == 6) o.dsc_places = -1;
        REFUSED(&cx, (i < 6 ? lsnn_dsc_dense(net, x, 2, &o) : lsnn_dsc_lateral(net, x, &o)) < 0,
                LSNN_EVALUE, needle[i]);
        lsnn_net_free(net);
    }
    lsnn_ctx_free(&cx);
    test_end("what is out of range is named");
}

static void learns(void)
{
    lsnn_ctx cx = quiet_ctx();
    double error = 100;
    train_digits(&cx, 1, NULL, NULL, 4, NULL, 0, &error);
    printf("# one layer, 400 digits: %.2f %% wrong in the last epoch\n", error);
    CHECK(error < 20);
    lsnn_ctx_free(&cx);
    test_end("one layer learns digits");
}

int main(void)
{
    oracles();
    by_hand();
    holes();
    bounds();
    sgd_is_the_rule();
    switching();
    first_values();
    losses();
    the_same_bits();
    files();
    refusals();
    learns();
    return test_finish();
}
