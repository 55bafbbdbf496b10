/* test_said.c - what api.h and the manual say in words: zero where 0 is a default, who wins a
   tie, what a loss puts out, strides of 0, the gradient of the input, NULL, messages.

   Build: cc -std=c99 -O2 -I. tests/test_said.c -o tests/test_said -lm
   modes: plain | asan double naive */
#ifndef TEST_LINKED
#define LSNN_IMPLEMENTATION
#endif
#include "lsnn.h"
#include "check.h"
#include "nets.h"

/* ---- zero, ties, gradients of the input ------------------------------------------------- */
/* momentum, lr_factor and loss_weight of zero, also through a file.                      */
static void test_zero(void)
{
    static sample_batch s;
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options norm = named("norm"), still = named("still"), off = named("off");
    lsnn_options aside = named("aside");
    lsnn_optimizer_desc sgd;
    lsnn_optimizer *o;
    lsnn_batch *b = draw_batch(&s, 10, 24, 6);
    lsnn_real grad[24 * 4], *before, mean[2] = { 0 };
    double both = 0, one = 0;
    int x = lsnn_input(net, 2, 3, 4), h;
    memset(&sgd, 0, sizeof sgd);
    norm.momentum = still.lr_factor = off.loss_weight = LSNN_ZERO;
    h = lsnn_dense(net, lsnn_batch_norm(net, x, &norm), 4, &still);
    lsnn_cross_entropy(net, h, NULL);
    lsnn_mse(net, lsnn_dense(net, h, 2, &aside), &off);
    CHECK(build_net(net, 10, 3, 0) == LSNN_OK);
    before = new_reals(96);
    CHECK(lsnn_net_get(net, "still.weight", before, 96) == LSNN_OK);
    CHECK(lsnn_forward(net, b, 1, &both) == LSNN_OK && lsnn_backward(net) == LSNN_OK);
    CHECK(lsnn_net_get(net, "grad:still.weight", grad, 96) == LSNN_OK);
    for (int i = 0; i < 96; i++) one += fabs((double)grad[i]);
    CHECK(one > 0.1);
    CHECK(lsnn_net_get(net, "grad:aside.weight", grad, 8) == LSNN_OK);
    for (int i = 0; i < 8; i++) NEAR(grad[i], 0, 1e-290);
    CHECK(lsnn_net_get(net, "norm.mean", mean, 2) == LSNN_OK);
    for (int c = 0; c < 2; c++) NEAR(mean[c], 0, 1e-290);
    CHECK(lsnn_net_get(net, "norm.variance", mean, 2) == LSNN_OK);
    for (int c = 0; c < 2; c++) NEAR(mean[c], 1, 0);
    sgd.lr = 1;
    o = lsnn_optimizer_new(net, &sgd);
    CHECK(lsnn_optimizer_step(o) == LSNN_OK);
    CHECK(lsnn_net_get(net, "still.weight", grad, 96) == LSNN_OK && same_bits(grad, before, 96));
    free(before);
    lsnn_optimizer_free(o);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("LSNN_ZERO: statistics stay, parameters stay and have gradients, a loss is no part");
}

/* The other options whose 0 means another number; and the optimizer's.                    */
static void test_more_zeros(void)
{
    static sample_batch s;
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options still = named("still"), decay = named("decay"), leaky = named("leaky");
    lsnn_options rubbish = named("rubbish");
    lsnn_optimizer_desc sgd;
    lsnn_optimizer *o;
    lsnn_batch *b = draw_batch(&s, 10, 24, 6);
    lsnn_real w[24 * 6], before[24], after[24], y[60], p[30], score[30];
    int x;
    memset(&sgd, 0, sizeof sgd);
    still.init_scale = decay.decay_factor = leaky.slope = rubbish.rubbish = LSNN_ZERO;
    leaky.keep = 1;
    decay.name = "decay";
    x = lsnn_dense(net, lsnn_input(net, 24, 1, 1), 6, NULL);
    x = lsnn_leaky_relu(net, x, &leaky);
    lsnn_dense(net, x, 4, &still);
    lsnn_cross_entropy(net, lsnn_dense(net, x, 3, &decay), &rubbish);
    CHECK(build_net(net, 10, 3, 0) == LSNN_OK);
    CHECK(lsnn_net_get(net, "still.weight", w, 24) == LSNN_OK);
    for (int i = 0; i < 24; i++) NEAR(w[i], 0, 1e-290);
    CHECK(lsnn_forward(net, b, 1, NULL) == LSNN_OK);
    CHECK(lsnn_net_get(net, "leaky", y, 60) == LSNN_OK);
    for (int i = 0; i < 60; i++) CHECK((double)y[i] > -1e-290);
    CHECK(lsnn_net_get(net, "decay", score, 30) == LSNN_OK);
    CHECK(lsnn_net_get(net, "rubbish", p, 30) == LSNN_OK);
    for (int n = 0; n < 10; n++) {                       /* one class more, of logit 0      */
        double sum = 1;
        for (int k = 0; k < 3; k++) sum += exp((double)score[3 * n + k]);
        for (int k = 0; k < 3; k++) NEAR(p[3 * n + k], exp((double)score[3 * n + k]) / sum, 1e-6);
    }
    sgd.lr = 1;
    sgd.weight_decay = 0.5;
    o = lsnn_optimizer_new(net, &sgd);
    CHECK(lsnn_net_get(net, "decay.weight", before, 18) == LSNN_OK);
    CHECK(lsnn_optimizer_step(o) == LSNN_OK);            /* no gradient: decay alone        */
    CHECK(lsnn_net_get(net, "decay.weight", after, 18) == LSNN_OK && same_bits(before, after, 18));
    lsnn_optimizer_free(o);
    sgd.lr = LSNN_ZERO;
    NEAR(lsnn_optimizer_lr(&sgd, 5), 0, 1e-290);
    sgd.lr = 1;
    sgd.schedule = LSNN_STEP;
    sgd.step_every = 2;
    sgd.step_factor = LSNN_ZERO;
    NEAR(lsnn_optimizer_lr(&sgd, 1), 1, 0);
    NEAR(lsnn_optimizer_lr(&sgd, 2), 0, 1e-290);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("LSNN_ZERO of what has another default: first weights, decay, slope, rubbish, rates");
}

/* "Load the net, or make a new one": what was tolerated stays in the context, and hides no
   later failure.                                                                         */
static int heard;
static void hear(const char *message, void *user) { (void)message; (void)user; heard++; }

static void test_tolerated(void)
{
    static lsnn_real x[12 * 4];
    static int labels[12];
    lsnn_ctx cx = quiet_ctx();
    lsnn_shape shape = { 4, 1, 1 };
    lsnn_score score;
    lsnn_data d;
    lsnn_net *net;
    memset(&score, 0, sizeof score);
    draw_reals(x, 48, 4, 0, 1);
    for (int i = 0; i < 12; i++) labels[i] = i % 3;
    cx.log_fn = hear;
    net = lsnn_net_load(&cx, "/nowhere/net", NULL, NULL, 0);
    CHECK(!net && heard == 1 && cx.status == LSNN_EIO);
    net = lsnn_net_new(&cx);
    lsnn_cross_entropy(net, lsnn_dense(net, lsnn_input(net, 4, 1, 1), 3, NULL), NULL);
    CHECK(build_net(net, 4, 3, 0) == LSNN_OK);
    CHECK(lsnn_data_arrays(&cx, &d, x, labels, 12, shape, 1, 3) == LSNN_OK);
    CHECK(lsnn_fit(net, &d, NULL) == LSNN_OK && lsnn_evaluate(net, &d, &score) == LSNN_OK);
    CHECK(heard == 1 && strstr(cx.message, "/nowhere/net: cannot be opened"));
    CHECK(lsnn_net_save(net, "/nowhere/again") == LSNN_EIO && heard == 2);
    d.classes = 4;
    CHECK(lsnn_fit(net, &d, NULL) == LSNN_ESHAPE && heard == 3);
    CHECK(lsnn_dense(net, 0, 1, NULL) == -1 && heard == 4);
    CHECK(cx.status == LSNN_EIO && strstr(cx.message, "/nowhere/net: cannot be opened"));
    lsnn_data_free(&d);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("after a failure that was tolerated all works, and each later one is heard of");
}

/* Scores so near to each other that their probabilities are the same number.             */
static void test_ties(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_shape shape = { 3, 1, 1 };
    lsnn_real x[6] = { 0, 0, 0, 0, 0, 0 }, unit[9] = { 1, 0, 0, 0, 1, 0, 0, 0, 1 }, y[6];
    int labels[2] = { 2, 0 };
    double eps = sizeof(lsnn_real) == 4 ? 1.1920929e-7 : 2.220446049250313e-16;
    lsnn_options score = named("score");
    lsnn_score s;
    lsnn_data d;
    x[0] = x[1] = (lsnn_real)0.5;                        /* sample 0: class 2, by one digit */
    x[2] = (lsnn_real)(0.5 * (1 + eps));
    x[3] = x[4] = x[5] = 1;                              /* sample 1: the first of a tie    */
    lsnn_cross_entropy(net, lsnn_dense(net, lsnn_input(net, 3, 1, 1), 3, &score), NULL);
    CHECK(build_net(net, 2, 3, 0) == LSNN_OK);
    CHECK(lsnn_net_set(net, "score.weight", unit, 9) == LSNN_OK);
    CHECK(lsnn_predict(net, x, 2, y) == LSNN_OK);
    CHECK(y[2] > y[1] && y[2] > y[0]);
    memset(&s, 0, sizeof s);
    CHECK(lsnn_data_arrays(&cx, &d, x, labels, 2, shape, 1, 3) == LSNN_OK);
    CHECK(lsnn_evaluate(net, &d, &s) == LSNN_OK);
    NEAR(s.error, 0, 0);
    lsnn_data_free(&d);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    test_end("evaluate guesses by the scores, as predict gives them; the first of a tie");
}

static void test_pool_ties(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_real x[16], y[4], dx[16], dy[4] = { 1, 2, 3, 4 };
    int32_t where[4];
    lsnn_window w;
    memset(&w, 0, sizeof w);
    w.n = w.c = w.k = 1;
    w.h = w.w = 4;
    w.kernel_h = w.kernel_w = w.stride_h = w.stride_w = w.oh = w.ow = 2;
    w.dilation_h = w.dilation_w = w.groups = 1;
    for (int i = 0; i < 16; i++) x[i] = 7;
    CHECK(lsnn_max_pool_forward(&cx, y, where, x, &w) == LSNN_OK);
    CHECK(lsnn_max_pool_backward(&cx, dx, dy, where, &w, 0) == LSNN_OK);
    for (int i = 0; i < 16; i++) {
        int first = i / 4 % 2 == 0 && i % 2 == 0;
        NEAR(dx[i], first ? 1 + i / 8 * 2 + i % 4 / 2 : 0, 0);
    }
    lsnn_ctx_free(&cx);
    test_end("max pooling: of equal pixels the first gets the gradient");
}

/* The same in nets: whole blocks of images and along rows; pooled by the convolution, with a
   relu on the way, by itself.                                                            */
static void test_pool_ties_in_nets(void)
{
    enum { MOST = 64, SIDE8 = 8 };
    static lsnn_real x[MOST * SIDE8 * SIDE8], dx[MOST * SIDE8 * SIDE8];
    static int labels[MOST];
    lsnn_ctx cx = quiet_ctx();
    int lanes = lsnn_lanes(&cx);
    for (int i = 0; i < MOST * SIDE8 * SIDE8; i++) x[i] = (lsnn_real)0.75;
    for (int which = 0; which < 4; which++) {
        lsnn_net *net = lsnn_net_new(&cx);
        lsnn_options in = named("in");
        int at;
        in.keep = in.no_bias = 1;
        in.lr_factor = LSNN_ZERO;
        at = lsnn_scale(net, lsnn_input(net, 1, SIDE8, SIDE8), &in);
        if (which != 3) at = lsnn_conv2d(net, at, 2, 1, NULL);
        if (which == 1) at = lsnn_relu(net, at, NULL);
        if (which == 2) at = lsnn_tanh(net, at, NULL);   /* the pooling does all by itself  */
        at = lsnn_max_pool(net, at, 2, NULL);
        lsnn_cross_entropy(net, lsnn_dense(net, at, 3, NULL), NULL);
        CHECK(build_net(net, MOST, 3, 0) == LSNN_OK);
        for (int n = lanes; n >= 1; n = n > 3 ? 3 : n == 3 ? 1 : 0) {
            lsnn_batch b;
            double others = 0, firsts = 0;
            memset(&b, 0, sizeof b);
            b.n = n;
            b.x = x;
            b.labels = labels;
            b.heads = 1;
            CHECK(lsnn_forward(net, &b, 1, NULL) == LSNN_OK && lsnn_backward(net) == LSNN_OK);
            CHECK(lsnn_net_get(net, "grad:in", dx, (size_t)n * SIDE8 * SIDE8) == LSNN_OK);
            for (int i = 0; i < n * SIDE8 * SIDE8; i++)
                *(i / SIDE8 % 2 == 0 && i % 2 == 0 ? &firsts : &others) += fabs((double)dx[i]);
            CHECK(firsts > 0 && others <= 0);
        }
        lsnn_net_free(net);
    }
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("max pooling in nets: the first of equal pixels, in blocks and along rows");
}

/* The manual's way to the gradient of the input, against differences of the loss.        */
static void test_input_gradient(void)
{
    static sample_batch s;
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options in = named("in"), still = named("still");
    lsnn_real dx[3 * 24];
    lsnn_batch *b = draw_batch(&s, 3, 24, 6);
    double h = sizeof(lsnn_real) == 4 ? 1.0 / 64 : 1e-5;
    int x;
    in.keep = in.no_bias = 1;
    in.lr_factor = LSNN_ZERO;
    x = lsnn_scale(net, lsnn_input(net, 2, 3, 4), &in);
    lsnn_cross_entropy(net, lsnn_dense(net, lsnn_tanh(net, x, NULL), 3, NULL), NULL);
    CHECK(build_net(net, 3, 3, 0) == LSNN_OK);
    CHECK(lsnn_forward(net, b, 1, NULL) == LSNN_OK && lsnn_backward(net) == LSNN_OK);
    CHECK(lsnn_net_get(net, "grad:in", dx, 72) == LSNN_OK);
    for (int i = 0; i < 72; i += 7) {
        lsnn_real at = s.x[i];
        double up = 0, down = 0;
        s.x[i] = (lsnn_real)((double)at + h);
        CHECK(lsnn_forward(net, b, 1, &up) == LSNN_OK);
        s.x[i] = (lsnn_real)((double)at - h);
        CHECK(lsnn_forward(net, b, 1, &down) == LSNN_OK);
        s.x[i] = at;
        NEAR(dx[i], (up - down) / (2 * h), sizeof(lsnn_real) == 4 ? 1e-3 : 1e-8);
    }
    lsnn_net_free(net);
    net = lsnn_net_new(&cx);                             /* kept, but there is none         */
    still.keep = still.freeze = 1;
    x = lsnn_dense(net, lsnn_input(net, 24, 1, 1), 4, &still);
    lsnn_cross_entropy(net, lsnn_dense(net, x, 3, NULL), NULL);
    CHECK(build_net(net, 3, 3, 0) == LSNN_OK);
    CHECK(lsnn_forward(net, b, 1, NULL) == LSNN_OK && lsnn_backward(net) == LSNN_OK);
    REFUSED(&cx, lsnn_net_get(net, "grad:still", dx, 12) == LSNN_ESTATE, LSNN_ESTATE,
            "there is no gradient of 'still'");
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("the gradient of the input by a scale that stays; a gradient that nobody needs is "
             "refused as that");
}

static void test_smooth_bias(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options o = named("both");
    o.smooth_bias = o.no_bias = 1;
    REFUSED(&cx, lsnn_smooth(net, lsnn_input(net, 2, 5, 5), LSNN_FREE, &o) < 0, LSNN_EVALUE,
            "smooth_bias");
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    test_end("smooth_bias with no_bias is refused");
}

/* What is refused is named: which size of what, which argument.                          */
static void test_names(void)
{
    static lsnn_real v[16];
    static int labels[4];
    lsnn_ctx cx = quiet_ctx();
    lsnn_shape shape = { 1, 2, 2 };
    lsnn_data d;
    REFUSED(&cx, lsnn_dense_forward(&cx, v, v, v, NULL, 2, 0, 2) == LSNN_ESHAPE, LSNN_ESHAPE,
            "dense (images x inputs): size 2 is 0");
    REFUSED(&cx, lsnn_data_arrays(&cx, &d, NULL, labels, 4, shape, 1, 3) == LSNN_EVALUE,
            LSNN_EVALUE, "x is NULL");
    REFUSED(&cx, lsnn_data_arrays(&cx, &d, v, NULL, 4, shape, 1, 3) == LSNN_EVALUE, LSNN_EVALUE,
            "labels is NULL");
    REFUSED(&cx, lsnn_data_arrays(&cx, &d, v, labels, 0, shape, 1, 3) == LSNN_ESHAPE,
            LSNN_ESHAPE, "count 0");
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("messages name the size and the argument");
}

/* What api.h says of losses' outputs, of maps as classes, of strides that are 0, of one value
   a channel.                                                                             */
static void test_said(void)
{
    static sample_batch s;
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options in = named("in"), said = named("said"), squares = named("squares"), h, w;
    lsnn_batch *b = draw_batch(&s, 5, 24, 6);
    lsnn_real x[5 * 24], p[5 * 24];
    double loss = 0, right = 0;
    int at;
    in.keep = in.no_bias = 1;
    at = lsnn_scale(net, lsnn_input(net, 2, 3, 4), &in);
    lsnn_cross_entropy(net, at, &said);                  /* each pixel of each map a class  */
    CHECK(build_net(net, 5, 3, 0) == LSNN_OK);
    s.labels[0] = 23;
    CHECK(lsnn_forward(net, b, 1, &loss) == LSNN_OK);
    CHECK(lsnn_net_get(net, "in", x, 120) == LSNN_OK);
    CHECK(lsnn_net_get(net, "said", p, 120) == LSNN_OK);
    for (int n = 0; n < 5; n++) {
        double sum = 0;
        for (int i = 0; i < 24; i++) sum += exp((double)x[24 * n + i]);
        for (int i = 0; i < 24; i++) NEAR(p[24 * n + i], exp((double)x[24 * n + i]) / sum, 1e-6);
        right -= log(exp((double)x[24 * n + s.labels[n * b->heads]]) / sum) / 5;
    }
    NEAR(loss, right, 1e-6);
    s.labels[0] = 24;
    REFUSED(&cx, lsnn_forward(net, b, 1, &loss) == LSNN_EVALUE, LSNN_EVALUE, "24");
    s.labels[0] = 1;
    lsnn_net_free(net);

    net = lsnn_net_new(&cx);
    at = lsnn_scale(net, lsnn_input(net, 2, 1, 1), &in);
    lsnn_mse(net, at, &squares);
    CHECK(build_net(net, 5, 3, 0) == LSNN_OK);
    CHECK(lsnn_forward(net, b, 1, &loss) == LSNN_OK);
    CHECK(lsnn_net_get(net, "in", x, 10) == LSNN_OK);
    CHECK(lsnn_net_get(net, "squares", p, 10) == LSNN_OK && same_bits(x, p, 10));
    lsnn_net_free(net);

    net = lsnn_net_new(&cx);                             /* strides of poolings             */
    memset(&h, 0, sizeof h);
    memset(&w, 0, sizeof w);
    h.stride_h = 2;                                      /* stride_w 0: as stride_h         */
    w.stride_w = 1;                                      /* stride_h 0: the kernel          */
    at = lsnn_input(net, 1, 12, 12);
    CHECK(lsnn_net_shape(net, lsnn_max_pool(net, at, 3, NULL)).w == 4);
    CHECK(lsnn_net_shape(net, lsnn_avg_pool(net, at, 3, &h)).w == 5);
    CHECK(lsnn_net_shape(net, lsnn_sum_pool(net, at, 3, &w)).w == 10);
    CHECK(lsnn_net_shape(net, lsnn_lp_pool(net, at, 3, &w)).h == 4);
    lsnn_net_free(net);

    net = lsnn_net_new(&cx);                             /* one value a channel             */
    in = named("norm");
    in.keep = 1;
    in.momentum = 0.5;
    lsnn_cross_entropy(net, lsnn_batch_norm(net, lsnn_input(net, 3, 1, 1), &in), NULL);
    CHECK(build_net(net, 5, 3, 0) == LSNN_OK);
    x[0] = 1; x[1] = 2; x[2] = 3;
    CHECK(lsnn_net_set(net, "norm.beta", x, 3) == LSNN_OK);
    b->n = 1;
    CHECK(lsnn_forward(net, b, 1, NULL) == LSNN_OK && lsnn_backward(net) == LSNN_OK);
    CHECK(lsnn_net_get(net, "norm", p, 3) == LSNN_OK && same_bits(x, p, 3));
    CHECK(lsnn_net_get(net, "norm.variance", p, 3) == LSNN_OK);
    for (int c = 0; c < 3; c++) NEAR(p[c], 0.5, 0);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("losses' outputs, maps as classes, strides of 0, batches of one value a channel");
}

/* NULL where something is needed is refused, and passed on where it is what failed before;
   a description may be NULL, which means all zero.                                       */
static void test_null(void)
{
    static lsnn_real x[20 * 36];
    static int labels[20];
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options last = named("score");
    lsnn_optimizer_desc zero;
    lsnn_score score;
    lsnn_data d;
    lsnn_real y[10];
    double loss;
    memset(&score, 0, sizeof score);
    memset(&zero, 0, sizeof zero);
    lsnn_cross_entropy(net, lsnn_dense(net, lsnn_input(net, 1, 6, 6), 10, &last), NULL);
    CHECK(build_net(net, 4, 3, 0) == LSNN_OK);
    REFUSED(&cx, lsnn_fit(net, NULL, NULL) == LSNN_EVALUE, LSNN_EVALUE, "the data set is NULL");
    REFUSED(&cx, lsnn_evaluate(net, NULL, &score) == LSNN_EVALUE, LSNN_EVALUE, "data set");
    CHECK(lsnn_data_arrays(&cx, &d, x, labels, 20, lsnn_net_shape(net, 0), 1, 10) == LSNN_OK);
    REFUSED(&cx, lsnn_evaluate(net, &d, NULL) == LSNN_EVALUE, LSNN_EVALUE, "score is NULL");
    lsnn_data_free(&d);
    REFUSED(&cx, lsnn_forward(net, NULL, 1, &loss) == LSNN_EVALUE, LSNN_EVALUE, "batch is NULL");
    REFUSED(&cx, lsnn_predict(net, NULL, 1, y) == LSNN_EVALUE, LSNN_EVALUE, "x is NULL");
    REFUSED(&cx, lsnn_predict(net, x, 1, NULL) == LSNN_EVALUE, LSNN_EVALUE, "y is NULL");
    REFUSED(&cx, lsnn_net_get(net, "score.bias", NULL, 10) == LSNN_EVALUE, LSNN_EVALUE,
            "score.bias: v is NULL");
    REFUSED(&cx, lsnn_net_set(net, "score.bias", NULL, 10) == LSNN_EVALUE, LSNN_EVALUE,
            "score.bias: v is NULL");
    REFUSED(&cx, lsnn_data_part(&cx, &d, NULL, 0, 1) == LSNN_EVALUE, LSNN_EVALUE, "whole is NULL");
    REFUSED(&cx, lsnn_data_split(&cx, &d, &d, NULL, NULL, 1, 1) == LSNN_EVALUE, LSNN_EVALUE,
            "whole is NULL");
    REFUSED(&cx, lsnn_data_idx(&cx, &d, NULL, NULL, 10) == LSNN_EVALUE, LSNN_EVALUE,
            "images are NULL");
    REFUSED(&cx, lsnn_data_set(&cx, &d, NULL) == LSNN_EVALUE, LSNN_EVALUE, "set is NULL");
    REFUSED(&cx, lsnn_data_recipe(&cx, &d, NULL) == LSNN_EVALUE, LSNN_EVALUE, "set count");
    REFUSED(&cx, lsnn_file_write(&cx, "x", NULL, 1, NULL, 0) == LSNN_EVALUE, LSNN_EVALUE, "NULL");
    REFUSED(&cx, lsnn_npy_write(&cx, "x", NULL) == LSNN_EVALUE, LSNN_EVALUE, "NULL");
    CHECK(lsnn_optimizer_step(NULL) == LSNN_ENOMEM);
    CHECK(lsnn_work_predict(NULL, x, 1, y) == LSNN_ENOMEM);
    NEAR(lsnn_optimizer_lr(NULL, 3), lsnn_optimizer_lr(&zero, 3), 0);
    CHECK(lsnn_isa_from_name(NULL) == LSNN_ISA_COUNT_);
    CHECK(lsnn_task_from_name(NULL) == LSNN_TASK_COUNT_);
    lsnn_data_free(NULL);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("NULL in the place of data, batches, arrays and names is refused; of what failed, "
             "passed on");
}

int main(void)
{
    test_names();
    test_zero();
    test_more_zeros();
    test_tolerated();
    test_ties();
    test_pool_ties();
    test_pool_ties_in_nets();
    test_input_gradient();
    test_smooth_bias();
    test_said();
    test_null();
    return test_finish();
}
