/* test_cuda.c - nets on a device against the same nets on the cpu: every device pair, whole
   networks step by step, files that go from one to the other, and what goes wrong. The device is
   tests/cuda_host.h: the kernels' own text, run here, in random order; or, with TEST_GPU, a GPU
   (tools/cuda.sh): then without the faults that only a stand-in can have. TEST_FEW=1 in the
   environment: the device pairs alone.

   Build: cc -std=c99 -O2 -DLSNN_DOUBLE -Isrc -I. tests/test_cuda.c -o tests/test_cuda -lm
   Usage: test_cuda
   modes: double asan */
#define _GNU_SOURCE
#ifdef TEST_GPU
static struct { unsigned long seed; long launches, barriers, repeated, live; } cuda_host;
#else
#include "cuda_host.h"
#define LSNN_USE_CUDA
#endif
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
#include "examples/models.h"
#include "check.h"
#include "nets.h"
#include "cuda_ops.h"

#ifdef LSNN_DOUBLE
static const double close_to = 1e-10;
#else
static const double close_to = 2e-4;     /* of the largest number of an array        */
#endif
static lsnn_ctx cx;

/* ---- Two arrays, or two nets, that should be the same but for rounding ------------------ */
static double distance(const lsnn_real *a, const lsnn_real *b, size_t count)
{
    double most = 0, apart = 0;
    for (size_t i = 0; i < count; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        most = LSNNI_MAX(most, fabs((double)a[i]));
        if (!(d <= apart)) apart = d;                        /* NaN stays        */
    }
    return most > 0 ? apart / most : apart;
}

/* Reads `name` of both nets: 1 if it is the same, or in neither.                            */
static int alike(lsnn_net *cpu, lsnn_net *gpu, const char *name, double tolerance)
{
    int rank, dim[4], there = lsnn_net_dims(cpu, name, &rank, dim) == LSNN_OK, good;
    size_t count = 1;
    lsnn_real *a, *b;
    if (there != (lsnn_net_dims(gpu, name, NULL, NULL) == LSNN_OK)) return 0;
    lsnn_clear(&cx);
    for (int i = 0; i < rank && there; i++) count *= (size_t)dim[i];
    if (!there) return 1;
    a = new_reals(count);
    b = new_reals(count);
    good = lsnn_net_get(cpu, name, a, count) == LSNN_OK &&
           lsnn_net_get(gpu, name, b, count) == LSNN_OK && distance(a, b, count) <= tolerance;
    if (!good)
        printf("#   %s: %.3g of the largest apart, %g and %g\n", name, distance(a, b, count),
               (double)a[0], (double)b[0]);
    free(a);
    free(b);
    return good;
}

/* All parameters and buffers, gradients, kept outputs and their gradients.                  */
static int same_nets(lsnn_net *cpu, lsnn_net *gpu, int grads, double tolerance)
{
    const char *name;
    char grad[160];
    int good = 1;
    for (int kind = 0; kind < 2; kind++)
        for (int i = 0; (name = lsnn_net_param_name(cpu, kind, i, NULL)) != NULL; i++) {
            snprintf(grad, sizeof grad, "grad:%.100s", name);
            good &= alike(cpu, gpu, name, tolerance);
            if (grads && !kind) good &= alike(cpu, gpu, grad, tolerance);
        }
    for (int i = 1; i < cpu->nodes; i++) {
        snprintf(grad, sizeof grad, "grad:%.100s", cpu->node[i].name);
        if (grads) good &= alike(cpu, gpu, cpu->node[i].name, tolerance);
        if (grads) good &= alike(cpu, gpu, grad, tolerance);
    }
    return good;
}

/* ---- Nets, built twice ------------------------------------------------------------------- */
typedef struct samples { lsnn_real *x; int *labels; int n, heads; size_t size; } samples;

static samples draw_samples(int n, int c, int h, int w, int heads, int classes, uint64_t seed)
{
    samples s;
    lsnn_rng r = lsnn_rng_at(seed, "test", "labels", 0, 0);
    s.n = n; s.heads = heads; s.size = (size_t)(c * h * w);
    s.x = new_reals((size_t)n * s.size);
    draw_reals(s.x, (size_t)n * s.size, seed, -1, 1);
    s.labels = (int *)malloc((size_t)(n * heads) * sizeof *s.labels);
    for (int i = 0; i < n * heads; i++) s.labels[i] = lsnn_rng_int(&r, classes);
    return s;
}
static void free_samples(samples *s) { free(s->x); free(s->labels); }

static lsnn_batch batch_of(const samples *s, int first, int n)
{
    lsnn_batch b;
    memset(&b, 0, sizeof b);
    b.n = n;
    b.x = s->x + (size_t)first * s->size;
    b.labels = s->labels + first * s->heads;
    b.heads = s->heads;
    return b;
}

static lsnn_status build_on(lsnn_net *net, const char *device, int batch, int predict_only)
{
    lsnn_build_desc d;
    memset(&d, 0, sizeof d);
    d.batch = batch;
    d.seed = 7;
    d.device = device;
    d.predict_only = predict_only;
    return lsnn_net_build(net, &d);
}

/* The layer between two others, whose gradients so are seen; what stands before it has a second
   reader, so that somebody adds to its gradient.                                            */
static lsnn_net *net_around(const layer_case *k, const char *device, int batch)
{
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options before = named("before"), layer = named("layer"), head = named("second");
    int x;
    before.keep = layer.keep = 1;
    head.head = 1;
    x = lsnn_conv2d(net, lsnn_input(net, k->c, k->h, k->w), k->c, 1, &before);
    lsnn_cross_entropy(net, lsnn_dense(net, k->make(net, x, &layer), 3, NULL), NULL);
    lsnn_cross_entropy(net, lsnn_dense(net, x, 3, NULL), &head);
    CHECK(build_on(net, device, batch, 0) == LSNN_OK);
    return net;
}

static void test_layer(const layer_case *k)
{
    lsnn_net *cpu = net_around(k, "cpu", 7), *gpu = net_around(k, "cuda", 7);
    samples s = draw_samples(28, k->c, k->h, k->w, 2, 3, 3);
    static const int parts[] = { 7, 7, 4, 1, 7 };
    int first = 0;
    for (int i = 0; i < 5; i++) {
        lsnn_batch b = batch_of(&s, first, parts[i]);
        double loss[2] = { NAN, NAN };
        cuda_host.seed++;
        b.step = 5 + (uint32_t)i;
        CHECK(lsnn_forward(cpu, &b, 1, &loss[0]) == LSNN_OK);
        CHECK(lsnn_forward(gpu, &b, 1, &loss[1]) == LSNN_OK);
        NEAR(loss[1], loss[0], close_to);
        CHECK(lsnn_backward(cpu) == LSNN_OK);
        CHECK(lsnn_backward(gpu) == LSNN_OK);
        CHECK(same_nets(cpu, gpu, 1, close_to));             /* gradients add up         */
        if (i == 2) {
            lsnn_zero_grad(cpu);
            lsnn_zero_grad(gpu);
        }
        CHECK(lsnn_forward(cpu, &b, 0, &loss[0]) == LSNN_OK);
        CHECK(lsnn_forward(gpu, &b, 0, &loss[1]) == LSNN_OK);
        NEAR(loss[1], loss[0], close_to);
        first += parts[i];
        if (first + 7 > s.n) first = 0;
    }
    free_samples(&s);
    lsnn_net_free(cpu);
    lsnn_net_free(gpu);
    test_end("%s", k->what);
}

/* ---- Whole networks, step by step ---------------------------------------------------------- */
static lsnn_net *model_on(const char *model, const char *device, int side, int batch)
{
    lsnn_net *net = lsnn_net_new(&cx);
    int x = model_by_name(net, model, lsnn_input(net, 1, side, side), 4);
    lsnn_cross_entropy(net, x, NULL);
    CHECK(build_on(net, device, batch, 0) == LSNN_OK);
    return net;
}

typedef struct method_case { const char *what; lsnn_optimizer_desc d; } method_case;

static lsnn_optimizer_desc method(lsnn_method m, double momentum, int nesterov, double decay,
                                  double clip)
{
    lsnn_optimizer_desc d;
    memset(&d, 0, sizeof d);
    d.method = m;
    d.lr = m == LSNN_SGD ? 0.05 : 0.002;
    d.momentum = momentum;
    d.nesterov = nesterov;
    d.weight_decay = decay;
    d.clip_norm = clip;
    d.schedule = LSNN_COSINE;
    d.total_steps = 12;
    return d;
}

/* Steps of both; other is a second net on the device, whose blocks and threads run in another
   order: its bits are the same.                                                             */
static void test_model(const char *model, int side, int batch, int steps, const char *what,
                       lsnn_optimizer_desc d, double tolerance)
{
    lsnn_net *net[3];
    lsnn_optimizer *o[3];
    samples s = draw_samples(batch * 3 - 1, 1, side, side, 1, 4, 11);
    lsnn_real *bits[2];
    for (int i = 0; i < 3; i++) {
        net[i] = model_on(model, i ? "cuda:0" : NULL, side, batch);
        CHECK(model_lsnn_start(net[i], 5, NULL) == LSNN_OK);
        o[i] = lsnn_optimizer_new(net[i], &d);
        CHECK(o[i] != NULL);
    }
    for (int step = 0; step < steps && o[0] && o[1] && o[2]; step++) {
        int first = step % 3 * batch, n = LSNNI_MIN(batch, s.n - first);
        lsnn_batch b = batch_of(&s, first, n);
        double loss[3] = { NAN, NAN, NAN };
        for (int i = 0; i < 3; i++) {
            cuda_host.seed = (unsigned long)(100 * i + step + 1);
            CHECK(lsnn_forward(net[i], &b, 1, &loss[i]) == LSNN_OK);
            CHECK(lsnn_backward(net[i]) == LSNN_OK);
        }
        NEAR(loss[1], loss[0], tolerance);
        CHECK(same_nets(net[0], net[1], 1, tolerance));
        for (int i = 0; i < 3; i++) CHECK(lsnn_optimizer_step(o[i]) == LSNN_OK);
        CHECK(same_nets(net[0], net[1], 0, tolerance));
    }
    bits[0] = net_values(net[1]);
    bits[1] = net_values(net[2]);
    CHECK(same_bits(bits[0], bits[1], net_size(net[1])));
    for (int i = 0; i < 2; i++) free(bits[i]);
    for (int i = 0; i < 3; i++) {
        lsnn_optimizer_free(o[i]);
        lsnn_net_free(net[i]);
    }
    free_samples(&s);
    test_end("%s, %d steps of %s: as on the cpu, and the same bits in any order", model, steps,
             what);
}

/* ---- lsnn_fit, evaluate, predict, and files that go from one to the other ------------------ */
static lsnn_status fit_on(lsnn_net *net, const lsnn_data *data, int epochs, const char *save,
                          const char *resume, lsnn_progress *last)
{
    lsnn_fit_desc d;
    memset(&d, 0, sizeof d);
    d.epochs = epochs;
    d.optimizer = method(LSNN_SGD, 0.9, 0, 5e-4, 0);
    d.optimizer.schedule = LSNN_CONSTANT;
    d.save = save;
    d.resume = resume;
    d.last = last;
    d.valid = data;
    return lsnn_fit(net, data, &d);
}

static void test_fit(void)
{
    const char *tmp = getenv("TEST_TMP") ? getenv("TEST_TMP") : "/tmp";
    char path[2][300];
    samples s = draw_samples(11, 1, 16, 16, 1, 4, 2);
    lsnn_shape shape = { 1, 16, 16 };
    lsnn_data data;
    lsnn_progress p[4];
    lsnn_net *net[4];
    lsnn_score score[2];
    lsnn_real y[2][11 * 4];
    CHECK(lsnn_data_arrays(&cx, &data, s.x, s.labels, s.n, shape, 1, 4) == LSNN_OK);
    for (int i = 0; i < 2; i++)
        snprintf(path[i], sizeof path[i], "%s/cuda_%d.safetensors", tmp, i);
    for (int i = 0; i < 4; i++) net[i] = model_on("cnn", i % 2 ? "cuda" : "cpu", 16, 4);
    CHECK(fit_on(net[0], &data, 1, path[0], NULL, &p[0]) == LSNN_OK);
    CHECK(fit_on(net[1], &data, 1, path[1], NULL, &p[1]) == LSNN_OK);
    NEAR(p[1].loss, p[0].loss, close_to);
    NEAR(p[1].error, p[0].error, 0);
    NEAR(p[1].valid_loss, p[0].valid_loss, close_to);
    CHECK(same_nets(net[0], net[1], 0, close_to));
    test_end("lsnn_fit: an epoch has the loss, errors and weights of the cpu's");
    CHECK(fit_on(net[2], &data, 2, NULL, path[1], &p[2]) == LSNN_OK);    /* device to cpu */
    CHECK(fit_on(net[3], &data, 2, NULL, path[0], &p[3]) == LSNN_OK);    /* cpu to device */
    CHECK(same_nets(net[2], net[3], 0, 10 * close_to));
    NEAR(p[3].valid_loss, p[2].valid_loss, 10 * close_to);
    test_end("a run saved on one and resumed on the other");
    memset(score, 0, sizeof score);
    for (int i = 0; i < 2; i++) {
        CHECK(lsnn_evaluate(net[2 + i], &data, &score[i]) == LSNN_OK);
        CHECK(lsnn_predict(net[2 + i], s.x, s.n, y[i]) == LSNN_OK);
    }
    NEAR(score[1].loss, score[0].loss, 10 * close_to);
    NEAR(score[1].error, score[0].error, 0);
    CHECK(distance(y[0], y[1], 11 * 4) <= 10 * close_to);
    test_end("lsnn_evaluate and lsnn_predict");
    for (int i = 0; i < 4; i++) lsnn_net_free(net[i]);
    for (int i = 0; i < 2; i++) remove(path[i]);
    lsnn_data_free(&data);
    free_samples(&s);
}

/* ---- Targets, a batch in parts, SGD by Nesterov, penalties, windows that are clipped ------- */
static lsnn_net *mse_net(const char *device)
{
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options window = named("window");
    int x = lsnn_conv2d(net, lsnn_input(net, 1, 6, 6), 2, 3, NULL);
    window.smooth_shape = LSNN_ATTENTION_GAUSSIAN;
    window.l2 = 0.5;
    window.clip = LSNN_CLIP_CODE;
    x = lsnn_smooth(net, x, LSNN_FREE, &window);
    lsnn_mse(net, lsnn_dense(net, lsnn_dropout(net, x, 0.4, NULL), 2, NULL), NULL);
    CHECK(build_on(net, device, 5, 0) == LSNN_OK);
    return net;
}

static void test_mse(void)
{
    lsnn_net *net[2];
    lsnn_optimizer *o[2];
    lsnn_optimizer_desc d = method(LSNN_SGD, 0.8, 1, 1e-3, 0);
    samples s = draw_samples(10, 1, 6, 6, 1, 2, 4);
    lsnn_real targets[30];
    draw_reals(targets, 30, 9, -1, 1);
    d.lr = 0.3;                                              /* far enough to be clipped */
    for (int i = 0; i < 2; i++) {
        net[i] = mse_net(i ? "cuda" : "cpu");
        o[i] = lsnn_optimizer_new(net[i], &d);
    }
    for (int step = 0; step < 4; step++) {
        double loss[2] = { 0, 0 };
        for (int i = 0; i < 2; i++)
            for (int part = 0; part < 2; part++) {           /* 5 and 3 of 8            */
                lsnn_batch b = batch_of(&s, 5 * part, part ? 3 : 5);
                double share = NAN;
                b.labels = NULL;
                b.heads = 0;
                b.targets = targets + 15 * part + 1;
                b.target_count = 3;
                b.sample = part ? 5 : 0;
                b.total = 8;
                CHECK(lsnn_forward(net[i], &b, 1, &share) == LSNN_OK);
                CHECK(lsnn_backward(net[i]) == LSNN_OK);
                loss[i] += share;
            }
        NEAR(loss[1], loss[0], close_to);
        CHECK(same_nets(net[0], net[1], 1, close_to));
        for (int i = 0; i < 2; i++) CHECK(lsnn_optimizer_step(o[i]) == LSNN_OK);
        CHECK(same_nets(net[0], net[1], 0, close_to));
    }
    for (int i = 0; i < 2; i++) {
        lsnn_optimizer_free(o[i]);
        lsnn_net_free(net[i]);
    }
    free_samples(&s);
    test_end("mse, a batch in parts, Nesterov, a penalty, windows clipped after a step");
}

/* ---- What goes wrong ------------------------------------------------------------------------ */
#ifdef TEST_GPU
static void test_refusals(void) { test_skip("faults", "a GPU has none to order"); }
#else
static lsnn_net *tiny_net(lsnn_ctx *own, const char *device, lsnn_status want, const char *say)
{
    lsnn_net *net = lsnn_net_new(own);
    lsnn_cross_entropy(net, lsnn_dense(net, lsnn_input(net, 1, 2, 2), 3, NULL), NULL);
    if (want == LSNN_OK) CHECK(build_on(net, device, 4, 0) == LSNN_OK);
    else REFUSED(own, build_on(net, device, 4, 0) == want, want, say);
    return net;
}

static void test_refusals(void)
{
    static const char *const names[] = { "gpu", "cuda:", "cuda:x", "cuda1", "" };
    lsnn_ctx own = quiet_ctx();
    samples s = draw_samples(4, 1, 2, 2, 1, 3, 1);
    lsnn_batch b = batch_of(&s, 0, 4);
    lsnn_net *net = lsnn_net_new(&own);
    lsnn_optimizer *o;
    lsnn_real bias[3], *before;
    double loss;
    int x = lsnn_input(net, 1, 2, 2);
    lsnn_cross_entropy(net, lsnn_layer(net, &power_type, &x, 1, NULL), NULL);
    REFUSED(&own, build_on(net, "cuda", 4, 0) != LSNN_OK, LSNN_EUNSUPPORTED, "'power1'");
    lsnn_net_free(net);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        lsnn_net_free(tiny_net(&own, names[i], LSNN_ENAME, names[i]));
    lsnn_net_free(tiny_net(&own, "cuda:1", LSNN_EVALUE, "there are 1"));
    cuda_host.devices = 0;
    lsnn_net_free(tiny_net(&own, "cuda", LSNN_EUNSUPPORTED, "no CUDA-capable device"));
    cuda_host.devices = 1;
    for (size_t bytes = 64; bytes < 8192; bytes *= 2) {
        cuda_host.bytes = cuda_host.used + bytes;
        lsnn_net_free(tiny_net(&own, "cuda", bytes < 4096 ? LSNN_ENOMEM : LSNN_OK,
                                "out of memory"));
        if (bytes == 2048) bytes = 8192;
    }
    cuda_host.bytes = 0;
    test_end("refused: a type without a device pair, names, no GPU, no memory");
    net = tiny_net(&own, "cuda", LSNN_OK, "");
    CHECK(lsnn_work_new(&own, net, 2) == NULL);
    REFUSED(&own, 1, LSNN_EUNSUPPORTED, "one workspace");
    s.labels[2] = 3;
    REFUSED(&own, lsnn_forward(net, &b, 1, &loss) != LSNN_OK, LSNN_EVALUE, "label 3");
    s.labels[2] = 0;
    cuda_host.fault = 1;
    REFUSED(&own, lsnn_forward(net, &b, 1, &loss) != LSNN_OK, LSNN_EUNSUPPORTED,
            "unspecified launch failure");
    cuda_host.fault = 0;
    lsnn_net_free(net);
    net = tiny_net(&own, "cuda", LSNN_OK, "");
    o = lsnn_optimizer_new(net, NULL);
    CHECK(lsnn_forward(net, &b, 1, NULL) == LSNN_OK);
    CHECK(lsnn_backward(net) == LSNN_OK);
    CHECK(lsnn_net_get(net, "grad:dense1.bias", bias, 3) == LSNN_OK);
    bias[1] = (lsnn_real)INFINITY;
    CHECK(lsnn_net_set(net, "grad:dense1.bias", bias, 3) == LSNN_OK);
    before = net_values(net);
    CHECK(lsnn_optimizer_step(o) == LSNN_OK);                /* nobody waits for it      */
    REFUSED(&own, lsnn_forward(net, &b, 1, &loss) != LSNN_OK, LSNN_EDIVERGED, "'dense1.bias'");
    CHECK(net_is(net, before));
    lsnn_optimizer_free(o);
    lsnn_net_free(net);
    free_samples(&s);
    lsnn_ctx_free(&own);
    CHECK(heap.live == 0);
    test_end("a kernel's fault, a bad label and a gradient that is not finite have a status");
}
#endif /* TEST_GPU */

int main(void)
{
    cx.log_fn = keep_quiet;
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) test_layer(&layers[i]);
    if (getenv("TEST_FEW")) return test_finish();
    test_model("cnn", 16, 3, 4, "SGD with momentum", method(LSNN_SGD, 0.9, 0, 5e-4, 0),
               100 * close_to);
    test_model("lsnn-content", 16, 3, 3, "Adam", method(LSNN_ADAM, 0, 0, 1e-3, 0.5),
               1000 * close_to);
    test_model("lsnn-location", 16, 3, 3, "AdamW", method(LSNN_ADAMW, 0, 0, 1e-2, 0),
               1000 * close_to);
    test_mse();
    test_refusals();
    test_fit();
    lsnn_ctx_free(&cx);
    CHECK(cuda_host.live == 0);
    test_end("all of the device's memory was given back; %ld launches, %ld barriers, %ld repeated "
             "records", cuda_host.launches, cuda_host.barriers, cuda_host.repeated);
    return test_finish();
}
