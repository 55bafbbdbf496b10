/* test_numbers.c - no wrong number is silent: what is not finite is named and changes nothing;
   a batch in parts has the whole's gradient; drop-out draws anew each step; batch normalisation
   keeps its digits far from 0, and its statistics when it is frozen.

   Build: cc -std=c99 -O2 -I. tests/test_numbers.c -o tests/test_numbers -lm
   modes: plain | asan double naive x87 loose */
#ifndef TEST_LINKED
#define LSNN_IMPLEMENTATION
#endif
#include "lsnn.h"
#include "check.h"
#include "nets.h"

enum { BATCH = 6, SIDE = 14, PIXELS = SIDE * SIDE };

/* ---- e^x ------------------------------------------------------------------------------- */
/* Its rounding is by adding and taking off a constant, which some flags fold away.       */
static void test_exp(void)
{
    static lsnn_real x[4001], y[4001];
    double tol = sizeof(lsnn_real) == 4 ? 3e-7 : 1e-15;
    lsnn_ctx cx = quiet_ctx();
    for (int isa = 0; isa < LSNN_ISA_COUNT_; isa++) {
        cx.isa = (lsnn_isa)isa;
        for (int i = 0; i <= 4000; i++) x[i] = (lsnn_real)((i - 2000) / 100.0);
        CHECK(lsnn_activation_forward(&cx, LSNN_SIGMOID, y, x, 4001, 0) == LSNN_OK);
        for (int i = 0; i <= 4000; i++) {
            double right = 1 / (1 + exp(-(double)x[i]));
            CHECK(fabs((double)y[i] - right) <= tol * right);
        }
    }
    lsnn_ctx_free(&cx);
    test_end("sigmoid of 4001 numbers on every instruction set");
}

/* ---- what is not finite ------------------------------------------------------------------ */
/* A convolution, batch normalisation, and a relu behind which a NaN could hide.          */
static lsnn_net *norm_net(lsnn_ctx *cx)
{
    lsnn_options score = named("score"), norm = named("norm");
    lsnn_net *net = lsnn_net_new(cx);
    int x = lsnn_conv2d(net, lsnn_input(net, 1, SIDE, SIDE), 3, 3, NULL);
    x = lsnn_max_pool(net, lsnn_relu(net, lsnn_batch_norm(net, x, &norm), NULL), 2, NULL);
    lsnn_cross_entropy(net, lsnn_dense(net, x, 10, &score), NULL);
    CHECK(build_net(net, BATCH, 3, 0) == LSNN_OK);
    return net;
}

typedef struct pictures {
    lsnn_real x[20 * PIXELS];
    int labels[20];
} pictures;

static lsnn_batch batch_of(pictures *p, int n)
{
    lsnn_batch b;
    memset(&b, 0, sizeof b);
    draw_reals(p->x, 20 * PIXELS, 4, 0, 1);
    for (int i = 0; i < 20; i++) p->labels[i] = i % 10;
    b.n = n;
    b.x = p->x;
    b.labels = p->labels;
    b.heads = 1;
    return b;
}

static void test_inputs(void)
{
    static const double bad[] = { NAN, INFINITY, -INFINITY };
    static pictures p;
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = norm_net(&cx);
    lsnn_real y[20 * 10], *before;
    lsnn_shape shape = { 1, SIDE, SIDE };
    lsnn_data data;
    lsnn_score score;
    double loss;
    memset(&score, 0, sizeof score);
    for (int i = 0; i < 3; i++) {
        lsnn_batch b = batch_of(&p, BATCH);
        CHECK(lsnn_data_arrays(&cx, &data, p.x, p.labels, 20, shape, 1, 10) == LSNN_OK);
        CHECK(lsnn_forward(net, &b, 1, &loss) == LSNN_OK && lsnn_backward(net) == LSNN_OK);
        lsnn_zero_grad(net);
        before = net_values(net);
        p.x[4 * PIXELS + 17] = (lsnn_real)bad[i];
        REFUSED(&cx, lsnn_forward(net, &b, 1, &loss) == LSNN_EDIVERGED, LSNN_EDIVERGED,
                "the input of sample 4 of the batch");
        CHECK(cx.message[0] == 0);
        REFUSED(&cx, lsnn_predict(net, p.x, 20, y) == LSNN_EDIVERGED, LSNN_EDIVERGED, "sample 4");
        REFUSED(&cx, lsnn_evaluate(net, &data, &score) == LSNN_EDIVERGED, LSNN_EDIVERGED,
                "sample 4 of the data: number 17 of its input");
        REFUSED(&cx, lsnn_fit(net, &data, NULL) == LSNN_EDIVERGED, LSNN_EDIVERGED,
                "sample 4 of the data: number 17 of its input");
        lsnn_data_free(&data);
        if (i == 0) CHECK(net_is(net, before));          /* fit may have made a step since */
        else free(before);
    }
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("an input that is not finite is named by sample, and leaves the net as it was");
}

/* The same of a target: nothing has run, no statistics have moved.                       */
static void test_targets(void)
{
    static sample_batch s;
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_batch *b = draw_batch(&s, 10, 24, 6);
    lsnn_real *before;
    double loss;
    lsnn_mse(net, lsnn_dense(net, lsnn_batch_norm(net, lsnn_input(net, 2, 3, 4), NULL), 2, NULL),
             NULL);
    CHECK(build_net(net, 10, 3, 0) == LSNN_OK);
    CHECK(lsnn_forward(net, b, 1, &loss) == LSNN_OK);
    before = net_values(net);
    s.targets[7 * b->target_count + 1] = (lsnn_real)INFINITY;
    REFUSED(&cx, lsnn_forward(net, b, 1, &loss) == LSNN_EDIVERGED, LSNN_EDIVERGED,
            "the target of sample 7 of the batch holds inf, at place 1 of its ");
    CHECK(net_is(net, before));
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("a target that is not finite is named by sample, before anything is run");
}

static void test_weights(void)
{
    static pictures p;
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = norm_net(&cx);
    lsnn_batch b = batch_of(&p, BATCH);
    lsnn_shape shape = { 1, SIDE, SIDE };
    lsnn_real y[20 * 10], bias[10] = { 0 };
    lsnn_data data;
    lsnn_score score;
    double loss = 0;
    memset(&score, 0, sizeof score);
    CHECK(lsnn_data_arrays(&cx, &data, p.x, p.labels, 20, shape, 1, 10) == LSNN_OK);
    bias[7] = (lsnn_real)NAN;
    CHECK(lsnn_net_set(net, "score.bias", bias, 10) == LSNN_OK);
    REFUSED(&cx, lsnn_predict(net, p.x, 20, y) == LSNN_EDIVERGED, LSNN_EDIVERGED,
            "output 7 of sample 0 is nan");
    REFUSED(&cx, lsnn_forward(net, &b, 1, &loss) == LSNN_EDIVERGED, LSNN_EDIVERGED, "the loss is");
    REFUSED(&cx, lsnn_backward(net) == LSNN_ESTATE, LSNN_ESTATE, "");
    REFUSED(&cx, lsnn_evaluate(net, &data, &score) == LSNN_EDIVERGED, LSNN_EDIVERGED,
            "the net's answer to sample 0 is no number");
    lsnn_data_free(&data);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    test_end("an output that is not finite is no class: predict, forward and evaluate name it");
}

/* ---- classes, descriptions ------------------------------------------------------------- */
static void test_data(void)
{
    static pictures p;
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = norm_net(&cx);
    lsnn_shape shape = { 1, SIDE, SIDE };
    lsnn_score score;
    lsnn_data data;
    memset(&score, 0, sizeof score);
    batch_of(&p, BATCH);
    CHECK(lsnn_data_arrays(&cx, &data, p.x, p.labels, 20, shape, 1, 12) == LSNN_OK);
    REFUSED(&cx, lsnn_fit(net, &data, NULL) == LSNN_ESHAPE, LSNN_ESHAPE,
            "the data have 12 classes");
    REFUSED(&cx, lsnn_evaluate(net, &data, &score) == LSNN_ESHAPE, LSNN_ESHAPE, "12 classes");
    lsnn_data_free(&data);
    for (int i = 0; i < 20; i++) p.labels[i] %= 3;       /* fewer than outputs: they would  */
    CHECK(lsnn_data_arrays(&cx, &data, p.x, p.labels, 20, shape, 1, 3) == LSNN_OK);  /* fit */
    REFUSED(&cx, lsnn_fit(net, &data, NULL) == LSNN_ESHAPE, LSNN_ESHAPE,
            "the data have 3 classes");
    REFUSED(&cx, lsnn_evaluate(net, &data, &score) == LSNN_ESHAPE, LSNN_ESHAPE, "3 classes");
    lsnn_data_free(&data);
    CHECK(lsnn_data_arrays(&cx, &data, p.x, p.labels, 20, shape, 1, 10) == LSNN_OK);
    CHECK(lsnn_fit(net, &data, NULL) == LSNN_OK);
    lsnn_data_free(&data);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("data of other classes than the net's are refused; a fit without a description runs");
}

/* ---- batches in parts ------------------------------------------------------------------ */
static void test_parts(void)
{
    static sample_batch s;
    static const int parts[] = { 4, 1, 5 };
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options score = named("score"), half = named("half");
    lsnn_real whole[3 * 8], sum[3 * 8];
    double loss = 0, total = 0, part;
    lsnn_batch *b = draw_batch(&s, 10, 12, 6);
    int x = lsnn_dropout(net, lsnn_dense(net, lsnn_input(net, 12, 1, 1), 8, NULL), 0.5, NULL);
    half.loss_weight = 0.5;
    lsnn_cross_entropy(net, lsnn_dense(net, x, 3, &score), NULL);
    lsnn_mse(net, lsnn_dense(net, x, 2, NULL), &half);
    CHECK(build_net(net, 10, 3, 0) == LSNN_OK);
    CHECK(lsnn_forward(net, b, 1, &loss) == LSNN_OK && lsnn_backward(net) == LSNN_OK);
    CHECK(lsnn_net_get(net, "grad:score.weight", whole, 24) == LSNN_OK);
    lsnn_zero_grad(net);
    for (int i = 0, first = 0; i < 3; first += parts[i++]) {
        lsnn_batch some = *b;
        some.n = parts[i];
        some.x += (size_t)first * 12;
        some.labels += first * some.heads;
        some.targets += first * some.target_count;
        some.sample = (uint32_t)first;
        some.total = 10;
        CHECK(lsnn_forward(net, &some, 1, &part) == LSNN_OK && lsnn_backward(net) == LSNN_OK);
        total += part;
    }
    CHECK(lsnn_net_get(net, "grad:score.weight", sum, 24) == LSNN_OK);
    NEAR(total, loss, 1e-6);
    for (int i = 0; i < 24; i++) NEAR(sum[i], whole[i], 1e-6);
    b->sample = 3;
    b->total = 12;                                   /* 3 and 10 are more            */
    REFUSED(&cx, lsnn_forward(net, b, 1, &loss) == LSNN_EVALUE, LSNN_EVALUE, "of a batch of 12");
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    test_end("a batch fed in parts has the loss and the gradient of the whole");
}

/* ---- drop-out in a loop of one's own ----------------------------------------------------- */
static void test_steps(void)
{
    static sample_batch s;
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options drop = named("drop");
    lsnn_optimizer *o;
    lsnn_real mask[3][10 * 12];
    lsnn_batch *b = draw_batch(&s, 10, 12, 6);
    int x;
    drop.keep = 1;
    x = lsnn_dropout(net, lsnn_input(net, 12, 1, 1), 0.5, &drop);
    lsnn_cross_entropy(net, lsnn_dense(net, x, 3, NULL), NULL);
    CHECK(build_net(net, 10, 3, 0) == LSNN_OK);
    o = lsnn_optimizer_new(net, NULL);
    b->step = 0;
    for (int i = 0; i < 3; i++) {
        if (i == 2) b->step = 1;                     /* said: the second one's again */
        CHECK(lsnn_forward(net, b, 1, NULL) == LSNN_OK && lsnn_backward(net) == LSNN_OK);
        CHECK(lsnn_net_get(net, "drop", mask[i], 120) == LSNN_OK);
        CHECK(lsnn_optimizer_step(o) == LSNN_OK);
    }
    CHECK(!same_bits(mask[0], mask[1], 120));
    CHECK(same_bits(mask[1], mask[2], 120));
    lsnn_optimizer_free(o);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    test_end("drop-out draws anew after each optimizer step, in a loop that says no step too");
}

/* ---- batch normalisation ----------------------------------------------------------------- */
enum { N = 8, I = 49, C = 2, M = N * I, ALL = N * C * I };

typedef struct norm {
    lsnn_real x[ALL], dy[ALL], y[ALL], dx[ALL], mean[C], istd[C], running_mean[C], running_var[C];
    lsnn_real dgamma[C], dbeta[C];
    lsnn_real known_var[C], known[ALL];  /* predicted by the batch's own mean and variance  */
} norm;

static const lsnn_real gamma_of[C] = { 1.5, 0.5 }, beta_of[C] = { 0.25, -1 };

/* runs: 1 if there are running statistics, which a large spread has no room in.         */
static lsnn_status norm_run(lsnn_ctx *cx, norm *v, int runs)
{
    lsnn_status s;
    for (int c = 0; c < C; c++) {
        v->running_mean[c] = v->dgamma[c] = v->dbeta[c] = 0;
        v->running_var[c] = 1;
    }
    draw_reals(v->dy, ALL, 9, -1, 1);
    s = lsnn_batch_norm_forward(cx, v->y, v->mean, v->istd, runs ? v->running_mean : NULL,
                                runs ? v->running_var : NULL, v->x, gamma_of, beta_of, N, C, I,
                                0.1, 1e-5);
    if (s != LSNN_OK) return s;
    for (int c = 0; c < C; c++)          /* eps is in istd: predict adds none worth the name */
        v->known_var[c] = (lsnn_real)(1 / ((double)v->istd[c] * (double)v->istd[c]));
    s = lsnn_batch_norm_predict(cx, v->known, v->x, gamma_of, beta_of, v->mean, v->known_var, N, C,
                                I, 1e-30);
    if (s != LSNN_OK) return s;
    return lsnn_batch_norm_backward(cx, v->dx, v->dgamma, v->dbeta, v->dy, v->x, gamma_of,
                                    v->mean, v->istd, N, C, I, 0);
}

/* The formulas in long double, of the numbers as they are stored.                        */
static void norm_check(const norm *v, double tol, double scale)
{
    for (int c = 0; c < C; c++) {
        long double mean = 0, var = 0, sum = 0, dot = 0, istd;
        for (int k = 0; k < M; k++) mean += v->x[(k / I * C + c) * I + k % I];
        mean /= M;
        for (int k = 0; k < M; k++) {
            long double d = v->x[(k / I * C + c) * I + k % I] - mean;
            var += d * d / M;
        }
        istd = 1 / sqrtl(var + 1e-5L);
        for (int k = 0; k < M; k++) {
            int at = (k / I * C + c) * I + k % I;
            sum += v->dy[at];
            dot += v->dy[at] * (v->x[at] - mean) * istd;
        }
        NEAR(v->dgamma[c], dot, tol * M);
        NEAR(v->dbeta[c], sum, tol * M);
        for (int k = 0; k < M; k++) {
            int at = (k / I * C + c) * I + k % I;
            long double xh = (v->x[at] - mean) * istd;
            long double kept = (v->x[at] - (long double)v->mean[c]) / sqrtl(v->known_var[c]);
            NEAR(v->y[at], gamma_of[c] * xh + beta_of[c], tol);
            NEAR(v->known[at], gamma_of[c] * kept + beta_of[c], tol);
            NEAR(v->dx[at] * scale, scale * gamma_of[c] * istd * (v->dy[at] - sum / M - xh * dot / M),
                 tol);
        }
    }
}

static void test_norm(void)
{
    static const double means[] = { 0, 10000.1, -3e6 }, spreads[] = { 1, 0.02, 1.5e19, 1e25, 0 };
    static norm v;
    lsnn_ctx cx = quiet_ctx();
    int cases = 0;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 5; j++) {
            draw_reals(v.x, ALL, 8, means[i] - spreads[j], means[i] + spreads[j]);
            CHECK(norm_run(&cx, &v, spreads[j] < 1e20) == LSNN_OK);
            norm_check(&v, 2e-5, spreads[j] > 1 ? spreads[j] : 1e-3);
            cases++;
        }
    for (int c = 0; c < ALL; c++) v.x[c] = (lsnn_real)10000.1;      /* all alike            */
    CHECK(norm_run(&cx, &v, 1) == LSNN_OK);
    for (int c = 0; c < ALL; c++) NEAR(v.y[c], beta_of[c / I % C], 1e-6);
    lsnn_ctx_free(&cx);
    test_end("batch_norm: %d means and spreads against the formulas in long double", cases + 1);
}

static void test_norm_overflow(void)
{
    static norm v;
    const double huge = sizeof(lsnn_real) == 4 ? 1e30 : 1e200;
    lsnn_ctx cx = quiet_ctx();
    draw_reals(v.x, ALL, 8, -huge, huge);
    REFUSED(&cx, norm_run(&cx, &v, 1) == LSNN_EDIVERGED, LSNN_EDIVERGED, "channel 0");
    for (int c = 0; c < C; c++) {
        NEAR(v.running_mean[c], 0, 0);
        NEAR(v.running_var[c], 1, 0);
    }
    lsnn_ctx_free(&cx);
    test_end("batch_norm: a variance past the largest number is refused, the running ones stay");
}

static void test_norm_frozen(void)
{
    static sample_batch s;
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options frozen = named("norm"), in = named("in");
    lsnn_real mean[2] = { 0.5, -0.25 }, var[2] = { 4, 0.25 }, gain[2] = { 2, 3 }, got[2];
    lsnn_real y[10 * 24], dy[10 * 24], x[10 * 24], dx[10 * 24];
    lsnn_batch *b = draw_batch(&s, 10, 24, 6);
    int at;
    frozen.freeze = frozen.keep = in.keep = 1;
    at = lsnn_scale(net, lsnn_input(net, 2, 3, 4), &in);
    at = lsnn_batch_norm(net, at, &frozen);
    lsnn_cross_entropy(net, lsnn_dense(net, at, 3, NULL), NULL);
    CHECK(build_net(net, 10, 3, 0) == LSNN_OK);
    CHECK(lsnn_net_set(net, "norm.mean", mean, 2) == LSNN_OK);
    CHECK(lsnn_net_set(net, "norm.variance", var, 2) == LSNN_OK);
    CHECK(lsnn_net_set(net, "norm.gamma", gain, 2) == LSNN_OK);
    CHECK(lsnn_forward(net, b, 1, NULL) == LSNN_OK && lsnn_backward(net) == LSNN_OK);
    CHECK(lsnn_net_get(net, "norm.mean", got, 2) == LSNN_OK && same_bits(got, mean, 2));
    CHECK(lsnn_net_get(net, "norm.variance", got, 2) == LSNN_OK && same_bits(got, var, 2));
    CHECK(lsnn_net_get(net, "in", x, 240) == LSNN_OK);
    CHECK(lsnn_net_get(net, "norm", y, 240) == LSNN_OK);
    CHECK(lsnn_net_get(net, "grad:norm", dy, 240) == LSNN_OK);
    CHECK(lsnn_net_get(net, "grad:in", dx, 240) == LSNN_OK);
    for (int i = 0; i < 240; i++) {
        int c = i / 12 % 2;
        double istd = 1 / sqrt((double)var[c] + 1e-5);
        NEAR(y[i], (double)gain[c] * ((double)x[i] - (double)mean[c]) * istd, 1e-6);
        NEAR(dx[i], (double)gain[c] * istd * (double)dy[i], 1e-6);
    }
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    test_end("a frozen batch_norm takes its running statistics, and leaves them");
}

/* Two layers with one set of statistics: both move them, or, where their owner is frozen,
   neither does; and a saved net knows.                                                   */
static void test_norm_shared(void)
{
    static sample_batch s;
    lsnn_ctx cx = quiet_ctx();
    lsnn_batch *b = draw_batch(&s, 10, 24, 6);
    for (int frozen = 0; frozen < 2; frozen++) {
        lsnn_net *net = lsnn_net_new(&cx);
        lsnn_options owner = named("owner"), other = named("other");
        lsnn_real mean[2], var[2], first[2] = { 0 };
        int x;
        owner.freeze = frozen;
        other.share = "owner";
        other.momentum = 1;                              /* it is the last that moves them  */
        x = lsnn_tanh(net, lsnn_batch_norm(net, lsnn_input(net, 2, 3, 4), &owner), NULL);
        x = lsnn_batch_norm(net, x, &other);
        lsnn_cross_entropy(net, lsnn_dense(net, x, 3, NULL), NULL);
        CHECK(build_net(net, 10, 3, 0) == LSNN_OK);
        for (int i = 0; i < 240; i++) s.x[i] = (lsnn_real)((double)s.x[i] + 2);
        CHECK(lsnn_forward(net, b, 1, NULL) == LSNN_OK && lsnn_backward(net) == LSNN_OK);
        CHECK(lsnn_net_get(net, "owner.mean", mean, 2) == LSNN_OK);
        CHECK(lsnn_net_get(net, "owner.variance", var, 2) == LSNN_OK);
        CHECK(same_bits(mean, first, 2) == frozen);
        for (int c = 0; c < 2; c++) CHECK(frozen ? var[c] == 1 : var[c] < (lsnn_real)0.9);
        lsnn_net_free(net);
    }
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("batch_norms that share: both move the statistics, or neither if they are frozen");
}

int main(void)
{
    test_exp();
    test_inputs();
    test_targets();
    test_weights();
    test_data();
    test_parts();
    test_steps();
    test_norm();
    test_norm_overflow();
    test_norm_frozen();
    test_norm_shared();
    return test_finish();
}
