/* test_train.c - training and evaluation: the same bits for any number of threads, no memory
   after the first steps, fit against a loop by hand, learning-rate factors, freezing, weight
   decay, divergence, scores on labels made by hand, and what is refused.

   modes: plain double asan
   Build: cc -O2 -I. tests/test_train.c -o tests/test_train -lm                           */
#ifndef TEST_LINKED
#define LSNN_IMPLEMENTATION
#endif
#include "lsnn.h"
#include "check.h"
#include "nets.h"

enum { BATCH = 16, SAMPLES = 104, STEPS = 7 };   /* the last batch has 8                   */

static lsnn_data digit_data(lsnn_ctx *cx, lsnn_recipe *r, int count)
{
    lsnn_data d;
    memset(r, 0, sizeof *r);
    r->seed = 11;
    r->count = count;
    CHECK(lsnn_data_recipe(cx, &d, r) == LSNN_OK);
    return d;
}

static lsnn_fit_desc plan_sgd(int epochs)
{
    lsnn_fit_desc d;
    memset(&d, 0, sizeof d);
    d.epochs = epochs;
    d.optimizer.lr = 0.02;
    d.optimizer.momentum = 0.9;
    d.optimizer.weight_decay = 1e-3;
    return d;
}

/* ---- threads and instruction sets ------------------------------------------------------- */
static lsnn_real *trained(const char *model, int threads, lsnn_isa isa, size_t *count)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_fit_desc plan = plan_sgd(5);            /* 35 steps                                */
    lsnn_recipe r;
    lsnn_data data;
    lsnn_net *net;
    lsnn_real *v;
    cx.threads = threads;
    cx.isa = isa;
    data = digit_data(&cx, &r, SAMPLES);
    net = small_net(&cx, model, 28, BATCH, 5);
    CHECK(lsnn_fit(net, &data, &plan) == LSNN_OK);
    v = net_values(net);
    *count = net_size(net);
    lsnn_net_free(net);
    lsnn_data_free(&data);
    lsnn_ctx_free(&cx);
    return v;
}

static double distance(const lsnn_real *a, const lsnn_real *b, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count; i++) most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most;
}

static void test_threads(void)
{
    static const char *const model[] = { "cnn", "lc", "location", "content" };
    double worst = 0;
    int sets = 0;
    size_t count = 0;
    for (int m = 0; m < 4; m++) {
        lsnn_real *first = trained(model[m], 1, LSNN_ISA_PORTABLE, &count);
        for (int isa = LSNN_ISA_PORTABLE; isa < LSNN_ISA_COUNT_; isa++) {
            lsnn_real *one;
            if (!lsnn_isa_available((lsnn_isa)isa)) continue;
            sets += m == 0;
            one = trained(model[m], 1, (lsnn_isa)isa, &count);
            worst = fmax(worst, distance(first, one, count));
            for (int threads = 2; threads <= 3; threads++) {
                lsnn_real *more = trained(model[m], threads, (lsnn_isa)isa, &count);
                if (!CHECK(same_bits(one, more, count)))
                    printf("# %s, %s, %d threads\n", model[m],
                           lsnn_isa_name((lsnn_isa)isa), threads);
                free(more);
            }
            free(one);
        }
        free(first);
    }
    CHECK(worst < (sizeof(lsnn_real) == 4 ? 1e-2 : 1e-8));     /* sets differ by rounding   */
    test_end("35 steps of 4 models on %d instruction sets: the same bits for 1, 2, 3 threads",
             sets);
}

/* ---- memory ----------------------------------------------------------------------------- */
static int refuse_from_two(const lsnn_progress *p, void *user)
{
    (void)user;
    if (p->step >= 2) heap.refuse_all = 1;
    return 0;
}

static void fetch_all(const void *user, uint32_t epoch, int index, lsnn_real *x, int *labels,
                      lsnn_real *targets)
{
    const sample_batch *s = (const sample_batch *)user;
    (void)epoch;
    memcpy(x, s->x + index * ALL_IN, ALL_IN * sizeof *x);
    for (int i = 0; i < 2; i++) {
        labels[i] = s->labels[2 * index + i];
        targets[i] = s->targets[2 * index + i];
    }
}
static lsnn_data all_data(sample_batch *s)       /* for all_net: 8 samples                 */
{
    lsnn_data d;
    memset(&d, 0, sizeof d);
    draw_batch(s, 8, ALL_IN, 3);
    d.count = 8;
    d.shape.c = ALL_C; d.shape.h = ALL_H; d.shape.w = ALL_W;
    d.heads = d.target_count = 2;
    d.classes = 3;
    d.fetch = fetch_all;
    d.user = s;
    return d;
}

static void test_no_memory(void)
{
    static const char *const model[] = { "cnn", "lc", "location", "content", "all" };
    static sample_batch s;
    for (int m = 0; m < 5; m++) {
        lsnn_ctx cx = quiet_ctx();
        lsnn_fit_desc plan = plan_sgd(3), twin_plan;
        lsnn_recipe r;
        lsnn_data data = m < 4 ? digit_data(&cx, &r, SAMPLES) : all_data(&s);
        lsnn_net *net = m < 4 ? small_net(&cx, model[m], 28, BATCH, 5) : all_net(&cx, 3, 5, 0);
        lsnn_net *twin = m < 4 ? small_net(&cx, model[m], 28, BATCH, 5) : all_net(&cx, 3, 5, 0);
        plan.valid = &data;
        twin_plan = plan;
        plan.progress = refuse_from_two;
        if (!CHECK(lsnn_fit(net, &data, &plan) == LSNN_OK))
            printf("# %s: %s\n", model[m], cx.message);
        heap.refuse_all = 0;
        CHECK(cx.status == LSNN_OK);
        CHECK(lsnn_fit(twin, &data, &twin_plan) == LSNN_OK);
        CHECK(net_is(net, net_values(twin)));
        lsnn_net_free(net);
        lsnn_net_free(twin);
        lsnn_data_free(&data);
        lsnn_ctx_free(&cx);
    }
    CHECK(heap.live == 0);
    test_end("the allocator refuses everything from step 2 on: training goes on");
}

/* ---- fit is a loop over forward, backward, step ----------------------------------------- */
static void fetch_batch(const lsnn_data *d, int first, int n, uint32_t epoch, lsnn_real *x,
                        int *labels)
{
    for (int i = 0; i < n; i++)
        d->fetch(d->user, epoch, first + i, x + i * 28 * 28, labels + i, NULL);
}

static void test_loop(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_fit_desc plan = plan_sgd(2);
    lsnn_progress last;
    lsnn_recipe r;
    lsnn_data data = digit_data(&cx, &r, SAMPLES);
    lsnn_net *net = small_net(&cx, "content", 28, BATCH, 5);
    lsnn_net *twin = small_net(&cx, "content", 28, BATCH, 5);
    lsnn_optimizer *o = lsnn_optimizer_new(twin, &plan.optimizer);
    lsnn_real x[BATCH * 28 * 28];
    int labels[BATCH];
    uint32_t step = 0;
    double sum = 0;
    plan.keep_order = 1;
    plan.last = &last;
    CHECK(lsnn_fit(net, &data, &plan) == LSNN_OK);
    for (uint32_t epoch = 0; epoch < 2; epoch++) {
        sum = 0;
        for (int first = 0; first < SAMPLES; first += BATCH) {
            lsnn_batch b;
            double loss = 0;
            memset(&b, 0, sizeof b);
            b.n = SAMPLES - first < BATCH ? SAMPLES - first : BATCH;
            fetch_batch(&data, first, b.n, epoch, x, labels);
            b.x = x;
            b.labels = labels; b.heads = 1;
            b.step = step++;
            CHECK(lsnn_forward(twin, &b, 1, &loss) == LSNN_OK);
            CHECK(lsnn_backward(twin) == LSNN_OK);
            CHECK(lsnn_optimizer_step(o) == LSNN_OK);
            sum += loss * b.n;
        }
    }
    CHECK(net_is(net, net_values(twin)));
    NEAR(last.loss, sum / SAMPLES, 1e-12);
    CHECK(last.step == STEPS && last.steps == STEPS && last.epoch == 1 && last.epochs == 2);
    CHECK(last.epoch_done && last.error > 0 && last.error <= 100 && last.images_per_s > 0);
    plan.keep_order = 0;                         /* shuffled: another order                  */
    CHECK(lsnn_fit(twin, &data, &plan) == LSNN_OK);
    CHECK(lsnn_fit(net, &data, &plan) == LSNN_OK);
    CHECK(net_is(net, net_values(twin)));
    lsnn_optimizer_free(o);
    lsnn_net_free(net);
    lsnn_net_free(twin);
    lsnn_data_free(&data);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("fit equals a loop of forward, backward and step, the last batch partial");
}

/* The order: each epoch a permutation, drawn anew, every sample once. */
typedef struct visits { int count[3][SAMPLES], order[3][SAMPLES], at[3]; } visits;
static visits seen;
static void fetch_seen(const void *user, uint32_t epoch, int index, lsnn_real *x, int *labels,
                       lsnn_real *targets)
{
    (void)user;
    (void)targets;
    for (int i = 0; i < 196; i++) x[i] = (lsnn_real)((index * 7 + i) % 5);
    labels[0] = index % 10;
    seen.count[epoch][index]++;
    seen.order[epoch][seen.at[epoch]++] = index;
}

static void test_order(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_fit_desc plan = plan_sgd(3);
    lsnn_data d;
    lsnn_net *net = small_net(&cx, "cnn", 14, BATCH, 5);
    int bad = 0, moved = 0;
    cx.threads = 1;                              /* samples are fetched one after another    */
    memset(&d, 0, sizeof d);
    d.count = SAMPLES;
    d.shape.c = 1; d.shape.h = d.shape.w = 14;
    d.heads = 1; d.classes = 10;
    d.fetch = fetch_seen;
    memset(&seen, 0, sizeof seen);
    CHECK(lsnn_fit(net, &d, &plan) == LSNN_OK);
    for (int e = 0; e < 3; e++)
        for (int i = 0; i < SAMPLES; i++) {
            bad += seen.count[e][i] != 1;
            moved += seen.order[e][i] != i;
        }
    CHECK(bad == 0 && moved > 3 * SAMPLES / 2);
    CHECK(memcmp(seen.order[0], seen.order[1], sizeof seen.order[0]) != 0);
    CHECK(memcmp(seen.order[1], seen.order[2], sizeof seen.order[0]) != 0);
    memset(&seen, 0, sizeof seen);
    plan.keep_order = 1;
    CHECK(lsnn_fit(net, &d, &plan) == LSNN_OK);
    for (int e = 0; e < 3; e++) for (int i = 0; i < SAMPLES; i++) bad += seen.order[e][i] != i;
    CHECK(bad == 0);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    test_end("every epoch visits every sample once, in an order of its own, or as they come");
}

/* ---- what one step does to each parameter ----------------------------------------------- */
/* Dense layers of 6: "plain", "slow" (lr_factor 0.1), "still" (freeze), "lean" (no_decay).  */
static lsnn_net *step_net(lsnn_ctx *cx)
{
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_options plain = named("plain"), slow = named("slow"), still = named("still");
    lsnn_options lean = named("lean");
    int x = lsnn_input(net, 6, 1, 1);
    slow.lr_factor = 0.1;
    still.freeze = 1;
    lean.no_decay = 1;
    x = lsnn_tanh(net, lsnn_dense(net, x, 6, &plain), NULL);
    x = lsnn_tanh(net, lsnn_dense(net, x, 6, &slow), NULL);
    x = lsnn_tanh(net, lsnn_dense(net, x, 6, &still), NULL);
    x = lsnn_batch_norm(net, lsnn_dense(net, x, 6, &lean), NULL);
    lsnn_cross_entropy(net, x, NULL);
    CHECK(build_net(net, 8, 3, 0) == LSNN_OK);
    return net;
}

static void step_batch(lsnn_net *net)
{
    static sample_batch s;
    lsnn_batch *b = draw_batch(&s, 8, 6, 4);
    CHECK(lsnn_forward(net, b, 1, NULL) == LSNN_OK && lsnn_backward(net) == LSNN_OK);
}

/* After one step with lr 0.5 and decay 0.25: w - factor lr (g + decay w). */
static void check_step(lsnn_net *net, const char *name, double factor, double decay,
                       double scale)
{
    lsnn_real was[36], g[36], now[36], left[36];
    char grad[64];
    size_t count = strstr(name, "weight") ? 36 : 6;
    lsnn_optimizer_desc d;
    lsnn_optimizer *o;
    int moved = 0;
    memset(&d, 0, sizeof d);
    d.lr = 0.5;
    d.weight_decay = 0.25;
    d.clip_norm = scale < 1 ? 1e-3 : 0;
    snprintf(grad, sizeof grad, "grad:%s", name);
    lsnn_zero_grad(net);
    step_batch(net);
    CHECK(lsnn_net_get(net, name, was, count) == LSNN_OK);
    CHECK(lsnn_net_get(net, grad, g, count) == LSNN_OK);
    o = lsnn_optimizer_new(net, &d);
    CHECK(lsnn_optimizer_step(o) == LSNN_OK);
    lsnn_optimizer_free(o);
    CHECK(lsnn_net_get(net, name, now, count) == LSNN_OK);
    CHECK(lsnn_net_get(net, grad, left, count) == LSNN_OK);
    for (size_t i = 0; i < count; i++) {
        double want = (double)was[i] -
            factor * 0.5 * (scale * (double)g[i] + decay * (double)was[i]);
        NEAR(now[i], want, sizeof(lsnn_real) == 4 ? 1e-6 : 1e-14);
        CHECK(fabs((double)left[i]) <= 0);       /* zeroed for the next step                  */
        moved += fabs((double)now[i] - (double)was[i]) > 1e-6;
        if (factor <= 0) CHECK(fabs((double)g[i]) <= 0 && same_bits(&now[i], &was[i], 1));
    }
    CHECK(factor > 0 ? moved > 0 : moved == 0);
}

static double whole_norm(lsnn_net *net)
{
    static const char *const name[] = { "plain", "slow", "lean" };
    lsnn_real g[36];
    double sum = 0;
    lsnn_zero_grad(net);
    step_batch(net);
    for (int i = 0; i < 6; i++) {
        char grad[64];
        size_t count = i % 2 ? 6 : 36;
        snprintf(grad, sizeof grad, "grad:%s.%s", name[i / 2], i % 2 ? "bias" : "weight");
        CHECK(lsnn_net_get(net, grad, g, count) == LSNN_OK);
        for (size_t j = 0; j < count; j++) sum += (double)g[j] * (double)g[j];
    }
    for (int i = 0; i < 2; i++) {
        CHECK(lsnn_net_get(net, i ? "grad:batch_norm1.beta" : "grad:batch_norm1.gamma", g, 6) ==
              LSNN_OK);
        for (size_t j = 0; j < 6; j++) sum += (double)g[j] * (double)g[j];
    }
    return sqrt(sum);
}

static void test_step(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = step_net(&cx);
    lsnn_real v[6] = { 1, -2, 3, 1, -2, 3 };
    lsnn_net_set(net, "plain.bias", v, 6);       /* else decay would do nothing to them       */
    lsnn_net_set(net, "slow.bias", v, 6);
    lsnn_net_set(net, "still.bias", v, 6);
    check_step(net, "plain.weight", 1, 0.25, 1);
    check_step(net, "plain.bias", 1, 0, 1);
    check_step(net, "slow.weight", 0.1, 0.25, 1);
    check_step(net, "slow.bias", 0.1, 0, 1);
    check_step(net, "still.weight", 0, 0, 1);
    check_step(net, "still.bias", 0, 0, 1);
    check_step(net, "lean.weight", 1, 0, 1);
    check_step(net, "batch_norm1.gamma", 1, 0, 1);
    check_step(net, "plain.weight", 1, 0.25, 1e-3 / (whole_norm(net) + 1e-6));
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("lr_factor, freeze, no_decay, clip_norm; biases and normalisation do not decay");
}

/* ---- divergence ------------------------------------------------------------------------- */
/* One sample whose pixels are the largest number there is: a sum of them overflows. */
static void fetch_huge(const void *user, uint32_t epoch, int index, lsnn_real *x, int *labels,
                      lsnn_real *targets)
{
    (void)epoch;
    (void)targets;
    for (int i = 0; i < 196; i++) x[i] = (lsnn_real)((i * 13 + index) % 7) / 7;
    for (int i = 0; i < 196 && index == *(const int *)user; i++)
        x[i] = sizeof(lsnn_real) == 4 ? (lsnn_real)3e38f : (lsnn_real)1.7e308;
    labels[0] = index % 10;
}

static int count_steps(const lsnn_progress *p, void *user)
{
    *(int *)user += !p->epoch_done;
    return 0;
}

static void test_divergence(void)
{
    int huge_at = -1, steps = 0;
    lsnn_data d;
    char needle[64];
    memset(&d, 0, sizeof d);
    d.count = 160;
    d.shape.c = 1; d.shape.h = d.shape.w = 14;
    d.heads = 1; d.classes = 10;
    d.fetch = fetch_huge;
    d.user = &huge_at;
    for (int i = 0; i < 3; i++) {
        lsnn_ctx cx = quiet_ctx();
        lsnn_fit_desc plan = plan_sgd(1);
        lsnn_net *net = small_net(&cx, i == 2 ? "content" : "cnn", 14, BATCH, 5);
        plan.keep_order = 1;
        plan.progress = count_steps;
        plan.user = &steps;
        plan.optimizer.lr = i ? 0.01 : sizeof(lsnn_real) == 4 ? 1e30 : 1e250;
        huge_at = i ? 3 * BATCH + 5 : -1;         /* in step 3                                */
        steps = 0;
        REFUSED(&cx, lsnn_fit(net, &d, &plan) == LSNN_EDIVERGED, LSNN_EDIVERGED, "'");
        lsnn_clear(&cx);
        CHECK(i ? steps == 3 : steps >= 1 && steps <= 3);
        lsnn_net_free(net);
        net = small_net(&cx, i == 2 ? "content" : "cnn", 14, BATCH, 5);
        snprintf(needle, sizeof needle, "step %d: ", steps);
        REFUSED(&cx, lsnn_fit(net, &d, &plan) == LSNN_EDIVERGED, LSNN_EDIVERGED, needle);
        lsnn_net_free(net);
        net = small_net(&cx, i == 2 ? "content" : "cnn", 14, BATCH, 5);
        REFUSED(&cx, lsnn_fit(net, &d, &plan) == LSNN_EDIVERGED, LSNN_EDIVERGED,
                i ? "not finite, from layer 'conv1' on" : "not finite, from layer '");
        lsnn_net_free(net);
        net = small_net(&cx, i == 2 ? "content" : "cnn", 14, BATCH, 5);
        huge_at = -1;                             /* pictures and first layers are fine       */
        {
            static lsnn_real endless[80];
            for (int j = 0; j < 80; j++) endless[j] = (lsnn_real)INFINITY;
            CHECK(lsnn_net_set(net, "dense2.weight", endless, 80) == LSNN_OK);
        }
        REFUSED(&cx, lsnn_fit(net, &d, &plan) == LSNN_EDIVERGED, LSNN_EDIVERGED,
                "step 0: the loss is not finite, from layer 'dense2' on");
        lsnn_net_free(net);
        lsnn_ctx_free(&cx);
    }
    CHECK(heap.live == 0);
    test_end("a loss that is not finite names its step and the layer where it began");
}

/* A gradient that is not finite: nothing moves.                                          */
static void test_bad_gradient(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = step_net(&cx);
    lsnn_optimizer *o = lsnn_optimizer_new(net, NULL);
    lsnn_real bad[6] = { 0 };
    bad[5] = (lsnn_real)NAN;
    step_batch(net);
    CHECK(lsnn_net_set(net, "grad:plain.bias", bad, 6) == LSNN_OK);
    {
        lsnn_real *before = net_values(net);
        REFUSED(&cx, lsnn_optimizer_step(o) == LSNN_EDIVERGED, LSNN_EDIVERGED, "plain.bias");
        CHECK(net_is(net, before));
    }
    lsnn_optimizer_free(o);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("a gradient that is not finite is named, and no parameter moves");
}

/* Watching other samples changes no bit of training, and says what evaluate says.        */
static void test_valid(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_fit_desc plan = plan_sgd(2);
    lsnn_progress last;
    lsnn_recipe r[2];
    lsnn_score s;
    lsnn_data data = digit_data(&cx, &r[0], SAMPLES), watched = digit_data(&cx, &r[1], 40);
    lsnn_net *net = small_net(&cx, "cnn", 28, BATCH, 5);
    lsnn_net *twin = small_net(&cx, "cnn", 28, BATCH, 5);
    r[1].test = 1;
    CHECK(lsnn_fit(twin, &data, &plan) == LSNN_OK);
    plan.valid = &watched;
    plan.last = &last;
    CHECK(lsnn_fit(net, &data, &plan) == LSNN_OK);
    CHECK(net_is(net, net_values(twin)));
    memset(&s, 0, sizeof s);
    CHECK(lsnn_evaluate(net, &watched, &s) == LSNN_OK);
    CHECK(s.loss > 0 && s.error > 0);
    NEAR(last.valid_loss, s.loss, 1e-12);
    NEAR(last.valid_error, s.error, 1e-12);
    lsnn_net_free(net);
    lsnn_net_free(twin);
    lsnn_data_free(&data);
    lsnn_data_free(&watched);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("a valid set is scored as by evaluate, and training does not see it");
}

/* Targets alone, no labels: y = 2 x - 1 is learned, and evaluate has its loss.           */
static void fetch_line(const void *user, uint32_t epoch, int index, lsnn_real *x, int *labels,
                       lsnn_real *targets)
{
    (void)user;
    (void)epoch;
    CHECK(labels == NULL && targets != NULL);
    x[0] = (lsnn_real)((index * 37 % 64) / 32.0 - 1);
    targets[0] = 2 * x[0] - 1;
}
static void test_targets(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_fit_desc plan = plan_sgd(60);
    lsnn_options line = named("line");
    lsnn_real w = 0, b = 0;
    lsnn_score s;
    lsnn_data d;
    cx.threads = 1;
    plan.optimizer.lr = 0.05;
    plan.optimizer.weight_decay = 0;
    lsnn_mse(net, lsnn_dense(net, lsnn_input(net, 1, 1, 1), 1, &line), NULL);
    CHECK(build_net(net, 8, 1, 0) == LSNN_OK);
    memset(&d, 0, sizeof d);
    d.count = 64;
    d.shape.c = d.shape.h = d.shape.w = 1;
    d.target_count = 1;
    d.fetch = fetch_line;
    CHECK(lsnn_fit(net, &d, &plan) == LSNN_OK);
    CHECK(lsnn_net_get(net, "line.weight", &w, 1) == LSNN_OK);
    CHECK(lsnn_net_get(net, "line.bias", &b, 1) == LSNN_OK);
    NEAR(w, 2, 1e-3);
    NEAR(b, -1, 1e-3);
    memset(&s, 0, sizeof s);
    CHECK(lsnn_evaluate(net, &d, &s) == LSNN_OK && s.loss < 1e-5 && s.error <= 0);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("targets without labels: a line is learned and evaluated");
}

/* ---- the best epoch, patience, milestones ----------------------------------------------- */
/* Training pulls w from 0 to 2, held-out data want it at 1: the best epoch is in the middle. */
static void fetch_slope(const void *user, uint32_t epoch, int index, lsnn_real *x, int *labels,
                        lsnn_real *targets)
{
    (void)epoch;
    (void)labels;
    x[0] = (lsnn_real)(index % 8 + 1) / 8;
    targets[0] = *(const lsnn_real *)user * x[0];
}
static lsnn_data slope_data(const lsnn_real *slope)
{
    lsnn_data d;
    memset(&d, 0, sizeof d);
    d.count = 16;
    d.shape.c = d.shape.h = d.shape.w = 1;
    d.target_count = 1;
    d.fetch = fetch_slope;
    d.user = slope;
    return d;
}
/* A line through 0, and a batch normalisation beside it whose buffers move with each step.  */
static lsnn_net *slope_net(lsnn_ctx *cx)
{
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_options line = named("line"), weight = named(NULL);
    int x = lsnn_input(net, 1, 1, 1), y;
    line.no_bias = 1;
    line.init = LSNN_INIT_ZERO;
    weight.loss_weight = 1e-9;
    y = lsnn_dense(net, x, 1, &line);
    lsnn_mse(net, y, NULL);
    lsnn_mse(net, lsnn_batch_norm(net, y, NULL), &weight);
    CHECK(build_net(net, 8, 1, 0) == LSNN_OK);
    return net;
}

enum { WATCHED = 64 };
typedef struct watch {
    lsnn_net *net;
    int epochs;
    double loss[WATCHED], lr[WATCHED], best[WATCHED];
    int best_epoch[WATCHED];
    lsnn_real *values[WATCHED];          /* the net after each epoch                       */
} watch;
static int watch_epochs(const lsnn_progress *p, void *user)
{
    watch *w = (watch *)user;
    if (!p->epoch_done || !CHECK(p->epoch < WATCHED)) return 0;
    w->loss[p->epoch] = p->valid_loss;
    w->lr[p->epoch] = p->lr;
    w->best[p->epoch] = p->best;
    w->best_epoch[p->epoch] = p->best_epoch;
    w->values[p->epoch] = net_values(w->net);
    w->epochs = p->epoch + 1;
    return 0;
}

static lsnn_status train_slope(lsnn_ctx *cx, watch *w, lsnn_fit_desc *plan)
{
    static const lsnn_real two = 2, one = 1;
    lsnn_data data = slope_data(&two), held_out = slope_data(&one);
    memset(w, 0, sizeof *w);
    w->net = slope_net(cx);
    plan->valid = &held_out;
    plan->progress = watch_epochs;
    plan->user = w;
    return lsnn_fit(w->net, &data, plan);
}
static void watch_free(watch *w)
{
    for (int i = 0; i < WATCHED; i++) free(w->values[i]);
    lsnn_net_free(w->net);
}

static void test_best(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_fit_desc plan = plan_sgd(40);
    watch w, less;
    lsnn_real *end;
    int best = 0;
    cx.threads = 1;
    plan.optimizer.momentum = plan.optimizer.weight_decay = 0;
    CHECK(train_slope(&cx, &w, &plan) == LSNN_OK && w.epochs == 40);
    for (int i = 1; i < 40; i++) if (w.loss[i] < w.loss[best]) best = i;
    CHECK(best > 3 && best < 30);        /* w passes 1 on its way                          */
    end = net_values(w.net);             /* without keep_best the last                     */
    CHECK(same_bits(end, w.values[39], net_size(w.net)));
    free(end);
    for (int i = 0; i < 40; i++) {
        CHECK(w.best_epoch[i] == (i < best ? i : best));
        CHECK(w.best[i] == w.loss[w.best_epoch[i]]);
    }
    plan.keep_best = 1;
    CHECK(train_slope(&cx, &less, &plan) == LSNN_OK && less.epochs == 40);
    end = net_values(less.net);
    CHECK(same_bits(end, w.values[best], net_size(w.net)));
    CHECK(!same_bits(end, less.values[39], net_size(w.net)));
    free(end);
    watch_free(&less);
    for (int patience = 1; patience <= 3; patience += 2) {
        plan.patience = patience;
        CHECK(train_slope(&cx, &less, &plan) == LSNN_OK);
        CHECK(less.epochs == best + 1 + patience);
        CHECK(net_is(less.net, w.values[best]));
        w.values[best] = net_values(less.net);
        watch_free(&less);
    }
    watch_free(&w);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("the best of 40 epochs on held-out data is kept with its buffers; patience ends");
}

/* fit.verbose: a line at the end, of what was done.                                        */
static char said[512];
static int lines_said;
static void keep_said(const char *message, void *user)
{
    (void)user;
    snprintf(said, sizeof said, "%s", message);
    lines_said++;
}
static int stop_in_second(const lsnn_progress *p, void *user)
{
    (void)user;
    return p->epoch == 1 && p->step == 1;
}
static void test_verbose(void)
{
    static const lsnn_real slope = 2, wanted = 1;
    lsnn_ctx cx = quiet_ctx();
    lsnn_fit_desc plan = plan_sgd(40);
    lsnn_data data = slope_data(&slope), held = slope_data(&wanted);
    lsnn_progress last;
    char want[160];
    lsnn_net *net = slope_net(&cx);
    cx.threads = 1;
    cx.log_fn = keep_said;
    plan.last = &last;
    CHECK(lsnn_fit(net, &data, &plan) == LSNN_OK && lines_said == 0);
    plan.verbose = 1;
    CHECK(lsnn_fit(net, &data, &plan) == LSNN_OK && lines_said == 1);
    snprintf(want, sizeof want, "lsnn_fit: 40 of 40 epochs; loss %.4g; 640 images in ", last.loss);
    CHECK(strncmp(said, want, strlen(want)) == 0);
    plan.progress = stop_in_second;
    CHECK(lsnn_fit(net, &data, &plan) == LSNN_STOPPED && lines_said == 2);
    CHECK(strstr(said, "lsnn_fit: 1 of 40 epochs and 1 of 2 steps; loss ") == said);
    CHECK(strstr(said, " 24 images in "));
    plan.progress = NULL;
    plan.valid = &held;
    plan.patience = 3;
    plan.keep_best = 1;
    lsnn_net_free(net);
    net = slope_net(&cx);
    CHECK(lsnn_fit(net, &data, &plan) == LSNN_OK && lines_said == 3 && last.epoch < 39);
    snprintf(want, sizeof want, "lsnn_fit: %d of 40 epochs, the last 3 no better; ", last.epoch + 1);
    CHECK(strstr(said, want) == said);
    snprintf(want, sizeof want, "; best held-out loss %.4g in epoch %d, kept", last.best,
             last.best_epoch + 1);
    CHECK(strstr(said, want));
    plan.patience = -1;
    CHECK(lsnn_fit(net, &data, &plan) == LSNN_EVALUE && lines_said == 4);    /* the error alone */
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("verbose: one line at the end says what was done");
}

/* With classes the error decides, of equal ones the first; a loss that is no number never. */
static void test_best_of_classes(void)
{
    static const lsnn_real x[2] = { 1, -1 };
    static const int labels[2] = { 0, 1 };
    lsnn_shape shape = { 1, 1, 1 };
    lsnn_ctx cx = quiet_ctx();
    lsnn_fit_desc plan = plan_sgd(6);
    lsnn_data data;
    lsnn_progress last;
    lsnn_net *net = lsnn_net_new(&cx);
    cx.threads = 1;
    lsnn_cross_entropy(net, lsnn_dense(net, lsnn_input(net, 1, 1, 1), 2, NULL), NULL);
    CHECK(build_net(net, 2, 1, 0) == LSNN_OK);
    CHECK(lsnn_data_arrays(&cx, &data, x, labels, 2, shape, 1, 2) == LSNN_OK);
    plan.optimizer.lr = 2;               /* right after one step; the loss goes on falling */
    plan.valid = &data;
    plan.keep_best = 1;
    plan.last = &last;
    CHECK(lsnn_fit(net, &data, &plan) == LSNN_OK);
    CHECK(last.epoch == 5 && last.valid_error <= 0 && last.best <= 0 && last.best_epoch == 0);
    lsnn_net_free(net);
    lsnn_data_free(&data);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("with classes the best epoch is the first of the least error");
}

static void test_milestones(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_fit_desc plan = plan_sgd(6);
    lsnn_optimizer_desc o;
    watch w, by_step;
    cx.threads = 1;
    memset(&o, 0, sizeof o);
    o.lr = 0.5;
    o.schedule = LSNN_MILESTONES;
    for (int i = 0; i < LSNN_MAX_MILESTONES; i++) o.milestones[i] = 3 * i + 2;
    for (int t = 0; t < 40; t++)
        NEAR(lsnn_optimizer_lr(&o, (uint32_t)t), 0.5 * pow(0.1, t < 2 ? 0 : fmin(8, (t + 1) / 3)),
             1e-15);
    o.step_factor = 0.5;
    o.warmup_steps = 4;
    o.milestones[1] = 0;                 /* what stands behind it does not count           */
    NEAR(lsnn_optimizer_lr(&o, 3), 0.5, 1e-15);
    NEAR(lsnn_optimizer_lr(&o, 4), 0.25, 1e-15);
    NEAR(lsnn_optimizer_lr(&o, 400), 0.25, 1e-15);
    plan.milestones[0] = 2;              /* epochs of 2 steps                              */
    plan.milestones[1] = 5;
    CHECK(train_slope(&cx, &w, &plan) == LSNN_OK && w.epochs == 6);
    for (int i = 0; i < 6; i++) NEAR(w.lr[i], i < 2 ? 0.02 : i < 5 ? 0.002 : 0.0002, 1e-15);
    memset(plan.milestones, 0, sizeof plan.milestones);
    plan.optimizer.schedule = LSNN_MILESTONES;
    plan.optimizer.milestones[0] = 4;
    plan.optimizer.milestones[1] = 10;
    CHECK(train_slope(&cx, &by_step, &plan) == LSNN_OK);
    CHECK(net_is(by_step.net, net_values(w.net)));
    watch_free(&w);
    watch_free(&by_step);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("milestones: in steps and in epochs");
}

/* ---- scores ----------------------------------------------------------------------------- */
/* Two heads of 3 classes that say what the input says: head h's guess is where x[3h..] is 1. */
enum { SCORED = 7 };
static const int guess[SCORED][2] = { {0,0}, {1,2}, {2,1}, {0,1}, {1,1}, {2,2}, {0,0} };
static const int truth[SCORED][2] = { {0,0}, {1,1}, {2,1}, {1,1}, {2,0}, {0,2}, {0,2} };

static void test_scores(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options first = named(NULL), second = named(NULL), auxiliary = named(NULL);
    lsnn_shape shape = { 6, 1, 1 };
    lsnn_real x[SCORED * 6];
    int labels[SCORED * 2], confusion[9], total = 0, x0 = lsnn_input(net, 6, 1, 1);
    double loss = 0, e = exp(4.0), class_error[4];
    lsnn_data data;
    lsnn_score s;
    second.head = 1;
    second.loss_weight = 0.5;
    lsnn_cross_entropy(net, lsnn_slice(net, x0, 0, 3, NULL), &first);
    lsnn_cross_entropy(net, lsnn_slice(net, x0, 3, 3, NULL), &second);
    auxiliary.loss_weight = 1e-9;                /* a second loss of a head is not scored    */
    lsnn_cross_entropy(net, lsnn_slice(net, x0, 3, 3, NULL), &auxiliary);
    CHECK(build_net(net, 3, 1, 0) == LSNN_OK);
    memset(x, 0, sizeof x);
    for (int i = 0; i < SCORED; i++)
        for (int h = 0; h < 2; h++) {
            x[i * 6 + 3 * h + guess[i][h]] = 4;
            labels[2 * i + h] = truth[i][h];
            loss += (h ? 0.5 : 1) / SCORED *
                (log(e + 2) - (guess[i][h] == truth[i][h] ? 4 : 0));
        }
    CHECK(lsnn_data_arrays(&cx, &data, x, labels, SCORED, shape, 2, 3) == LSNN_OK);
    memset(&s, 0, sizeof s);
    s.confusion = confusion;
    s.class_error = class_error;
    memset(confusion, 0x77, sizeof confusion);
    CHECK(lsnn_evaluate(net, &data, &s) == LSNN_OK);
    NEAR(s.head_error[0], 100 * 3 / 7.0, 1e-12);
    NEAR(s.head_error[1], 100 * 3 / 7.0, 1e-12);
    NEAR(s.error, 100 * 6 / 14.0, 1e-12);
    NEAR(s.whole_error, 100 * 5 / 7.0, 1e-12);
    NEAR(s.loss, loss, 1e-6);
    for (int i = 0; i < 9; i++) total += confusion[i];
    CHECK(total == 2 * SCORED);
    CHECK(confusion[0] == 3 && confusion[1 * 3 + 1] == 3 && confusion[2 * 3 + 2] == 2);
    CHECK(confusion[0 * 3 + 2] == 1 && confusion[0 * 3 + 1] == 1 && confusion[2 * 3 + 0] == 1);
    CHECK(confusion[1 * 3 + 0] == 1 && confusion[1 * 3 + 2] == 1 && confusion[2 * 3 + 1] == 1);
    NEAR(class_error[0], 100 * 2 / 5.0, 1e-12);
    NEAR(class_error[1], 100 * 2 / 5.0, 1e-12);
    NEAR(class_error[2], 100 * 2 / 4.0, 1e-12);
    data.classes = 2;
    REFUSED(&cx, lsnn_evaluate(net, &data, &s) == LSNN_ESHAPE, LSNN_ESHAPE, "2 classes");
    data.classes = 3;
    labels[4] = 3;
    REFUSED(&cx, lsnn_evaluate(net, &data, &s) == LSNN_EVALUE, LSNN_EVALUE, "3");
    labels[4] = -1;
    REFUSED(&cx, lsnn_evaluate(net, &data, &s) == LSNN_EVALUE, LSNN_EVALUE, "-1");
    labels[4] = 2;
    data.heads = 0;
    REFUSED(&cx, lsnn_evaluate(net, &data, &s) == LSNN_ESHAPE, LSNN_ESHAPE, "labels");
    data.heads = 1;
    REFUSED(&cx, lsnn_evaluate(net, &data, &s) == LSNN_ESHAPE, LSNN_ESHAPE, "label 1");
    data.heads = LSNN_MAX_HEADS + 1;
    REFUSED(&cx, lsnn_evaluate(net, &data, &s) == LSNN_ESHAPE, LSNN_ESHAPE, "9 labels");
    data.heads = 2;
    data.shape.w = 2;
    REFUSED(&cx, lsnn_evaluate(net, &data, &s) == LSNN_ESHAPE, LSNN_ESHAPE, "6 x 1 x 2");
    data.shape.w = 1;
    data.count = 0;
    REFUSED(&cx, lsnn_evaluate(net, &data, &s) == LSNN_ESHAPE, LSNN_ESHAPE, "0 samples");
    lsnn_net_free(net);
    lsnn_data_free(&data);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("scores of two heads on labels made by hand; bad labels and data are refused");
}

/* ---- what fit refuses ------------------------------------------------------------------- */
#define BAD_PLAN(field, value, needle)                                              \
    do {                                                                            \
        lsnn_fit_desc bad = plan_sgd(1);                                            \
        bad.field = value;                                                          \
        REFUSED(&cx, lsnn_fit(net, &data, &bad) == LSNN_EVALUE, LSNN_EVALUE, needle); \
    } while (0)

static void test_bad_plans(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_recipe r;
    lsnn_data data = digit_data(&cx, &r, SAMPLES);
    lsnn_net *net = small_net(&cx, "cnn", 28, BATCH, 5), *other;
    lsnn_real *before = net_values(net);
    lsnn_fit_desc plan = plan_sgd(1);
    BAD_PLAN(epochs, -1, "epochs -1");
    BAD_PLAN(save_every, -1, "save_every -1");
    BAD_PLAN(optimizer.lr, -1, "lr");
    BAD_PLAN(optimizer.lr, NAN, "lr");
    BAD_PLAN(optimizer.lr, INFINITY, "lr");
    BAD_PLAN(optimizer.momentum, 1, "momentum");
    BAD_PLAN(optimizer.momentum, -0.1, "momentum");
    BAD_PLAN(optimizer.weight_decay, -1, "weight_decay");
    BAD_PLAN(optimizer.weight_decay, INFINITY, "weight_decay");
    BAD_PLAN(optimizer.clip_norm, -1, "clip_norm");
    BAD_PLAN(optimizer.step_factor, -1, "step_factor");
    BAD_PLAN(optimizer.step_factor, NAN, "step_factor");
    if (sizeof(lsnn_real) == 4) BAD_PLAN(optimizer.eps, 1e-60, "eps");
    BAD_PLAN(optimizer.one_minus_beta1, 2, "one_minus_beta1");
    BAD_PLAN(optimizer.one_minus_beta2, -1, "one_minus_beta2");
    BAD_PLAN(optimizer.one_minus_beta1, 1e-17, "vanish");
    BAD_PLAN(optimizer.warmup_steps, -1, "warmup_steps");
    BAD_PLAN(optimizer.schedule, LSNN_STEP, "step_every");
    BAD_PLAN(optimizer.schedule, (lsnn_schedule)9, "schedule");
    BAD_PLAN(optimizer.schedule, LSNN_MILESTONES, "needs milestones");
    BAD_PLAN(optimizer.milestones[0], -1, "milestone 1 is -1");
    BAD_PLAN(milestones[0], -3, "milestone 1 is -3");
    BAD_PLAN(patience, -1, "patience -1");
    BAD_PLAN(patience, 1, "patience needs held-out data");
    BAD_PLAN(keep_best, 1, "keep_best needs held-out data");
    plan.milestones[0] = 5;
    plan.milestones[1] = 5;
    REFUSED(&cx, lsnn_fit(net, &data, &plan) == LSNN_EVALUE, LSNN_EVALUE, "milestone 2 is 5");
    plan.milestones[1] = 0;
    plan.optimizer.schedule = LSNN_COSINE;
    REFUSED(&cx, lsnn_fit(net, &data, &plan) == LSNN_EVALUE, LSNN_EVALUE, "no other schedule");
    plan = plan_sgd(1);
    BAD_PLAN(optimizer.method, (lsnn_method)9, "method");
    CHECK(net_is(net, before));
    plan.save = "/nowhere/at/all.safetensors";
    REFUSED(&cx, lsnn_fit(net, &data, &plan) == LSNN_EIO, LSNN_EIO, "/nowhere/at/all");
    lsnn_net_free(net);
    net = lsnn_net_new(&cx);
    lsnn_dense(net, lsnn_input(net, 1, 28, 28), 10, NULL);
    plan.save = NULL;
    REFUSED(&cx, lsnn_fit(net, &data, &plan) == LSNN_ESTATE, LSNN_ESTATE, "built");
    CHECK(build_net(net, BATCH, 1, 0) == LSNN_OK);
    REFUSED(&cx, lsnn_fit(net, &data, &plan) == LSNN_ESTATE, LSNN_ESTATE, "no loss");
    lsnn_net_free(net);
    other = all_net(&cx, 4, 1, 1);
    REFUSED(&cx, lsnn_fit(other, &data, &plan) == LSNN_ESTATE, LSNN_ESTATE, "predict only");
    lsnn_net_free(other);
    net = small_net(&cx, "cnn", 28, BATCH, 5);
    data.heads = 0;
    REFUSED(&cx, lsnn_fit(net, &data, &plan) == LSNN_ESHAPE, LSNN_ESHAPE, "labels");
    lsnn_net_free(net);
    lsnn_data_free(&data);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("plans and data that do not fit are refused");
}

int main(void)
{
    test_loop();
    test_order();
    test_step();
    test_divergence();
    test_bad_gradient();
    test_valid();
    test_targets();
    test_best();
    test_verbose();
    test_best_of_classes();
    test_milestones();
    test_scores();
    test_bad_plans();
    test_no_memory();
    test_threads();
    return test_finish();
}
