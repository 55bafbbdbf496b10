/* test_learn.c - nets learn what they should, on built-in digits in seconds: a small net
   reads unseen digits; where place decides, smoothers beat the plain convolution; smoothers
   made from the image find the digit in clutter; and what is learnt from drawn digits holds
   for MNIST's, where it is at hand ($MNIST_DIR).

   modes: plain | long
   Build: cc -O2 -I. tests/test_learn.c -o tests/test_learn -lm
   Usage: TEST_LONG=1 test_learn     or     test_learn SEED      all of it
          test_learn                                              only the first, in short */
#ifndef TEST_LINKED
#define LSNN_IMPLEMENTATION
#endif
#include "lsnn.h"
#include "examples/models.h"
#include "check.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

static lsnn_ctx cx;                      /* zeroed: ready for use                        */
static uint64_t seed = 1;
static int takes_long;                   /* all of it; else a net that learns for seconds */

static double seconds(void) { return (double)time(NULL); }

/* ---- drawn digits as IDX arrays --------------------------------------------------------- */
typedef struct digits { lsnn_idx images, labels; } digits;

static digits digits_draw(int count, uint64_t from)
{
    digits d;
    memset(&d, 0, sizeof d);
    d.images.rank = 3;
    d.images.dim[0] = count; d.images.dim[1] = d.images.dim[2] = 28;
    d.labels.rank = 1;
    d.labels.dim[0] = count;
    d.images.v = (unsigned char *)malloc((size_t)count * 28 * 28);
    d.labels.v = (unsigned char *)malloc((size_t)count);
    for (int i = 0; i < count; i++) {
        lsnn_rng r = lsnn_rng_at(from, "test digits", "", 0, (uint32_t)i);
        d.labels.v[i] = (unsigned char)(i % 10);
        lsnn_digit_draw(&r, i % 10, d.images.v + (size_t)i * 28 * 28);
    }
    return d;
}
static void digits_free(digits *d)
{
    free(d->images.v);
    free(d->labels.v);
}

/* ---- a net, trained and judged ---------------------------------------------------------- */
static lsnn_net *make_net(const char *model, lsnn_shape in)
{
    lsnn_options loss = model_options("loss");
    lsnn_build_desc build;
    lsnn_net *net = lsnn_net_new(&cx);
    int x = model_by_name(net, model, lsnn_input(net, in.c, in.h, in.w), 10);
    lsnn_cross_entropy(net, x, &loss);
    memset(&build, 0, sizeof build);
    build.batch = 64;
    build.seed = seed;
    CHECK(lsnn_net_build(net, &build) == LSNN_OK);
    CHECK(model_lsnn_start(net, seed, NULL) == LSNN_OK);
    return net;
}

static double error_of(lsnn_net *net, const lsnn_data *data)
{
    lsnn_score s;
    memset(&s, 0, sizeof s);
    CHECK(lsnn_evaluate(net, data, &s) == LSNN_OK);
    return s.error;
}

static void train(lsnn_net *net, const lsnn_data *data, int epochs, double lr)
{
    lsnn_fit_desc fit;
    memset(&fit, 0, sizeof fit);
    fit.epochs = epochs;
    fit.optimizer.lr = lr;
    fit.optimizer.momentum = 0.9;
    fit.optimizer.schedule = LSNN_COSINE;
    CHECK(lsnn_fit(net, data, &fit) == LSNN_OK);
}

/* ---- place decides: four digits of 14x14, the label is the top-left one's ---------------- */
enum { SIDE = 42, HALF = SIDE / 2, SMALL = 14 };
typedef struct four { const digits *source; const char *part; } four;

static void four_place(lsnn_real *x, const unsigned char *digit, int top, int left)
{
    for (int i = 0; i < SMALL; i++)
        for (int j = 0; j < SMALL; j++) {
            const unsigned char *p = digit + 2 * i * 28 + 2 * j;
            x[(top + i) * SIDE + left + j] =
                (lsnn_real)((p[0] + p[1] + p[28] + p[29]) / 1020.0);
        }
}

static void four_fetch(const void *user, uint32_t epoch, int index, lsnn_real *x, int *labels,
                       lsnn_real *targets)
{
    const four *f = (const four *)user;
    lsnn_rng r = lsnn_rng_at(seed, "four", f->part, 0, (uint32_t)index);
    (void)epoch;
    (void)targets;
    for (int i = 0; i < SIDE * SIDE; i++) x[i] = 0;
    for (int q = 0; q < 4; q++) {
        int d = lsnn_rng_int(&r, f->source->images.dim[0]);
        int top = q / 2 * HALF + lsnn_rng_int(&r, HALF - SMALL + 1);
        int left = q % 2 * HALF + lsnn_rng_int(&r, HALF - SMALL + 1);
        four_place(x, f->source->images.v + (size_t)d * 28 * 28, top, left);
        if (q == 0) *labels = f->source->labels.v[d];
    }
}

static lsnn_data four_data(const four *f, int count)
{
    lsnn_data d;
    memset(&d, 0, sizeof d);
    d.count = count;
    d.shape.c = 1; d.shape.h = d.shape.w = SIDE;
    d.heads = 1;
    d.classes = 10;
    d.fetch = four_fetch;
    d.user = f;
    return d;
}

/* A small net of the seed's kind, for few steps: no dropout, and smoothers that move fast. */
static lsnn_net *four_net(lsnn_shape in, int location)
{
    lsnn_options conv1 = model_options("conv1"), smooth1 = model_options("smooth1");
    lsnn_build_desc build;
    lsnn_net *net = lsnn_net_new(&cx);
    int x = lsnn_input(net, in.c, in.h, in.w);
    conv1.no_bias = location;
    smooth1.normalise = LSNN_NORMALISE_MEAN;
    smooth1.lr_factor = 2;
    x = lsnn_conv2d(net, x, 8, 5, &conv1);
    if (location) x = lsnn_smooth(net, x, LSNN_FREE, &smooth1);
    x = lsnn_max_pool(net, lsnn_relu(net, x, NULL), 2, NULL);
    x = lsnn_conv2d(net, x, 16, 5, NULL);
    x = lsnn_max_pool(net, lsnn_relu(net, x, NULL), 2, NULL);
    x = lsnn_relu(net, lsnn_dense(net, x, 64, NULL), NULL);
    lsnn_cross_entropy(net, lsnn_dense(net, x, 10, NULL), NULL);
    memset(&build, 0, sizeof build);
    build.batch = 32;
    build.seed = seed;
    CHECK(lsnn_net_build(net, &build) == LSNN_OK);
    return net;
}

static void test_place(const digits *known, const digits *unseen)
{
    double error[2], start = seconds();
    four a, b;
    lsnn_data taught, asked;
    a.source = known; a.part = "train";
    b.source = unseen; b.part = "test";
    taught = four_data(&a, 6000);
    asked = four_data(&b, 2000);
    for (int location = 0; location < 2; location++) {
        lsnn_net *net = four_net(taught.shape, location);
        train(net, &taught, 5, 0.02);
        error[location] = error_of(net, &asked);
        lsnn_net_free(net);
    }
    CHECK(error[1] <= 0.8 * error[0]);
    CHECK(error[0] < 40);                        /* the cnn learns too, else it says little   */
    test_end("place decides: cnn %.2f %%, LSNN-Location %.2f %%, %.2f times (%.0f s)", error[0],
             error[1], error[1] / error[0], seconds() - start);
}

/* ---- clutter: where does LSNN-Content look? --------------------------------------------- */
enum { MAP = 38, KERNELS = 16, CLUTTER_BATCH = 32 };

static int clutter_theta(lsnn_net *net, int image)
{
    lsnn_options p1 = model_options("param1"), p2 = model_options("param2");
    lsnn_options p3 = model_options("param3");
    int x;
    p3.init_scale = 0.1;             /* at the full rate some seeds and bits end in corners */
    p1.lr_factor = p2.lr_factor = p3.lr_factor = 0.3;
    x = lsnn_conv2d(net, image, 16, 5, &p1);
    x = lsnn_max_pool(net, lsnn_relu(net, x, NULL), 2, NULL);
    x = lsnn_conv2d(net, x, 32, 5, &p2);
    x = lsnn_max_pool(net, lsnn_relu(net, x, NULL), 2, NULL);
    return lsnn_dense(net, x, KERNELS * 5, &p3);
}

/* LSNN-Content for few steps: no dropout, narrower first windows, and a parameter network that
   learns at the full rate. */
static lsnn_net *clutter_net(lsnn_shape in)
{
    lsnn_options conv1 = model_options("conv1"), smooth1 = model_options("smooth1");
    lsnn_real bias[KERNELS * 5];
    lsnn_rng r = lsnn_rng_at(seed, "start", "param3.bias", 0, 0);
    lsnn_build_desc build;
    lsnn_net *net = lsnn_net_new(&cx);
    int image = lsnn_input(net, in.c, in.h, in.w), x;
    conv1.no_bias = 1;
    smooth1.normalise = LSNN_NORMALISE_MEAN;
    x = lsnn_conv2d(net, image, KERNELS, 5, &conv1);
    x = lsnn_smooth(net, x, clutter_theta(net, image), &smooth1);
    x = lsnn_max_pool(net, lsnn_relu(net, x, NULL), 2, NULL);
    x = lsnn_conv2d(net, x, 32, 5, NULL);
    x = lsnn_max_pool(net, lsnn_relu(net, x, NULL), 2, NULL);
    x = lsnn_relu(net, lsnn_dense(net, x, 128, NULL), NULL);
    lsnn_cross_entropy(net, lsnn_dense(net, x, 10, NULL), NULL);
    memset(&build, 0, sizeof build);
    build.batch = CLUTTER_BATCH;
    build.seed = seed;
    CHECK(lsnn_net_build(net, &build) == LSNN_OK);
    for (int i = 0; i < KERNELS * 5; i++)
        bias[i] = (lsnn_real)(i % 5 < 2 ? 0.2 + 0.6 * lsnn_rng_uniform(&r) : i % 5 < 4 ? 2.5 : 0);
    CHECK(lsnn_net_set(net, "param3.bias", bias, KERNELS * 5) == LSNN_OK);
    return net;
}

/* How much of the 16 maps' sum lies on the box, against the box's share of the map. A map's
   position i is the kernel on pixels i .. i + 4: its middle is i + 2. */
static double share_on_box(const lsnn_real *maps, const lsnn_place *p)
{
    double inside = 0, all = 0;
    int area = 0;
    for (int y = 0; y < MAP; y++)
        for (int x = 0; x < MAP; x++) {
            int in = x + 2 >= p->x && x + 2 < p->x + p->w && y + 2 >= p->y &&
                     y + 2 < p->y + p->h;
            double sum = 0;
            for (int k = 0; k < KERNELS; k++) sum += (double)maps[(k * MAP + y) * MAP + x];
            all += sum;
            inside += in ? sum : 0;
            area += in;
        }
    return inside / all * MAP * MAP / area;
}

static double mean_share(lsnn_net *net, const lsnn_data *data, const lsnn_recipe *r, int count)
{
    static lsnn_real x[CLUTTER_BATCH * 42 * 42], y[CLUTTER_BATCH * 10];
    static lsnn_real maps[CLUTTER_BATCH * KERNELS * MAP * MAP];
    double sum = 0;
    for (int i = 0; i < count; i += CLUTTER_BATCH) {
        int label;
        for (int n = 0; n < CLUTTER_BATCH; n++)
            data->fetch(data->user, 0, i + n, x + n * 42 * 42, &label, NULL);
        CHECK(lsnn_predict(net, x, CLUTTER_BATCH, y) == LSNN_OK);
        CHECK(lsnn_net_get(net, "smooth1.map", maps, sizeof maps / sizeof *maps) == LSNN_OK);
        for (int n = 0; n < CLUTTER_BATCH; n++) {
            unsigned char pixels[42 * 42], labels[LSNN_MAX_HEADS];
            lsnn_place place;
            lsnn_recipe_draw(r, 0, i + n, pixels, labels, &place);
            sum += share_on_box(maps + n * KERNELS * MAP * MAP, &place);
        }
    }
    return sum / count;
}

static void test_clutter(void)
{
    digits known = digits_draw(50000, 1), unseen = digits_draw(512, 2);
    double start = seconds(), share;
    lsnn_fit_desc fit;
    lsnn_recipe r, t;
    lsnn_data taught, asked;
    lsnn_net *net;
    memset(&r, 0, sizeof r);
    r.task = LSNN_TASK_CLUTTERED;
    r.seed = 1;
    r.images = r.crops = &known.images;
    r.labels = &known.labels;
    t = r;
    t.test = 1;
    t.images = &unseen.images; t.labels = &unseen.labels;
    r.fresh = 1;
    CHECK(lsnn_data_recipe(&cx, &taught, &r) == LSNN_OK);
    CHECK(lsnn_data_recipe(&cx, &asked, &t) == LSNN_OK);
    net = clutter_net(taught.shape);
    memset(&fit, 0, sizeof fit);
    fit.epochs = 2;
    fit.optimizer.method = LSNN_ADAMW;
    fit.optimizer.lr = 0.001;
    fit.optimizer.weight_decay = 0.05;
    fit.optimizer.schedule = LSNN_COSINE;
    fit.optimizer.warmup_steps = 150;
    CHECK(lsnn_fit(net, &taught, &fit) == LSNN_OK);
    share = mean_share(net, &asked, &t, 512);
    CHECK(share >= 1.5);
    test_end("clutter: the blended smoother puts %.2f times the box's share on the digit "
             "(error %.1f %%, %.0f s)", share, error_of(net, &asked), seconds() - start);
    lsnn_net_free(net);
    digits_free(&known);
    digits_free(&unseen);
}

/* ---- the digits by themselves ----------------------------------------------------------- */
static lsnn_net *digit_net(void)
{
    lsnn_build_desc build;
    lsnn_net *net = lsnn_net_new(&cx);
    int x = lsnn_input(net, 1, 28, 28);
    x = lsnn_max_pool(net, lsnn_relu(net, lsnn_conv2d(net, x, 12, 5, NULL), NULL), 2, NULL);
    x = lsnn_max_pool(net, lsnn_relu(net, lsnn_conv2d(net, x, 24, 5, NULL), NULL), 2, NULL);
    x = lsnn_relu(net, lsnn_dense(net, x, 96, NULL), NULL);
    lsnn_cross_entropy(net, lsnn_dense(net, x, 10, NULL), NULL);
    memset(&build, 0, sizeof build);
    build.batch = 32;
    build.seed = seed;
    CHECK(lsnn_net_build(net, &build) == LSNN_OK);
    return net;
}

/* MNIST's test set, or 0 where it is not at hand. */
static int mnist_open(digits *d)
{
    const char *folder = getenv("MNIST_DIR");
    char path[600];
    FILE *f;
    lsnn_ctx own;
    int good;
    memset(d, 0, sizeof *d);
    if (!folder) return 0;
    memset(&own, 0, sizeof own);
    snprintf(path, sizeof path, "%.500s/t10k-images-idx3-ubyte", folder);
    f = fopen(path, "rb");
    if (f) fclose(f);
#ifndef LSNN_USE_ZLIB
    if (!f) return 0;                            /* perhaps it is there as .gz               */
#endif
    good = lsnn_idx_read(&own, &d->images, path) == LSNN_OK;
    snprintf(path, sizeof path, "%.500s/t10k-labels-idx1-ubyte", folder);
    return good && lsnn_idx_read(&own, &d->labels, path) == LSNN_OK;
}

/* `count` new digits an epoch; the error has to be below `most`, in percent.              */
static void test_digits(int count, int epochs, double most)
{
    double start = seconds(), error;
    lsnn_recipe r, t;
    lsnn_data taught, asked;
    lsnn_net *net = digit_net();
    digits mnist;
    memset(&r, 0, sizeof r);
    r.seed = seed;
    r.count = count;
    t = r;
    t.test = 1;
    t.count = 2000;
    r.fresh = 1;
    CHECK(lsnn_data_recipe(&cx, &taught, &r) == LSNN_OK);
    CHECK(lsnn_data_recipe(&cx, &asked, &t) == LSNN_OK);
    train(net, &taught, epochs, 0.05);
    error = error_of(net, &asked);
    CHECK(error < most);
    test_end("%d drawn digits: %.2f %% error on unseen ones (%.0f s)", count * epochs, error,
             seconds() - start);
    memset(&mnist, 0, sizeof mnist);
    if (takes_long && mnist_open(&mnist)) {
        CHECK(lsnn_data_idx(&cx, &asked, &mnist.images, &mnist.labels, 10) == LSNN_OK);
        error = error_of(net, &asked);
        CHECK(error < 15);
        test_end("learnt from drawn digits alone: %.2f %% error on MNIST's test set", error);
        lsnn_data_free(&asked);
    } else if (takes_long) {
        test_skip("learnt from drawn digits alone: MNIST's test set", "no MNIST_DIR");
    }
    lsnn_idx_free(&cx, &mnist.images);
    lsnn_idx_free(&cx, &mnist.labels);
    lsnn_net_free(net);
}

int main(int argc, char **argv)
{
    takes_long = argc > 1 || getenv("TEST_LONG") != NULL;
    if (argc > 1) seed = (uint64_t)atoi(argv[1]);
    if (takes_long) {
        digits known = digits_draw(4000, 1), unseen = digits_draw(2000, 2);
        test_digits(10000, 6, 2);
        test_place(&known, &unseen);
        test_clutter();
        digits_free(&known);
        digits_free(&unseen);
    } else {
        test_digits(4000, 2, 10);
    }
    lsnn_ctx_free(&cx);
    return test_finish();
}
