/* test_learn.c - nets learn what they should, on built-in digits in seconds: a small net
   reads unseen digits; where place decides, smoothers beat the plain convolution; smoothers
   made from the image find the digit in clutter; and what is learnt from drawn digits holds
   for MNIST's, where it is at hand ($MNIST_DIR).

   modes: plain
   Build: cc -O2 -fopenmp -I. tests/test_learn.c -o tests/test_learn -lm
   Usage: test_learn [SEED]                                                             */
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
#include "examples/models.h"
#include "check.h"
#include <stdlib.h>
#include <string.h>

static lsnn_ctx cx;                      /* zeroed: ready for use                        */
static uint64_t seed = 1;

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
    CHECK(model_lsnn_start(net, seed) == LSNN_OK);
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
            x[(top + i) * SIDE + left + j] = (lsnn_real)((p[0] + p[1] + p[28] + p[29]) / 1020.0);
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

int main(int argc, char **argv)
{
    digits known = digits_draw(4000, 1), unseen = digits_draw(2000, 2);
    four a, b;
    lsnn_data tr, te;
    int count = argc > 2 ? atoi(argv[2]) : 3000, epochs = argc > 3 ? atoi(argv[3]) : 4;
    double lr = argc > 4 ? atof(argv[4]) : 0.02;
    seed = argc > 1 ? (uint64_t)atoi(argv[1]) : 1;
    a.source = &known; a.part = "train";
    b.source = &unseen; b.part = "test";
    tr = four_data(&a, count); te = four_data(&b, 2000);
    for (int m = 0; m < 2; m++) {
        const char *name = m ? "lsnn-location" : "cnn";
        double t = lsnni_seconds();
        lsnn_net *net = make_net(name, tr.shape);
        train(net, &tr, epochs, lr);
        t = lsnni_seconds() - t;
        printf("%s %.2f (%.1f s)\n", name, error_of(net, &te), t);
        if (m) {
            lsnn_real th[80];
            lsnn_net_get(net, "smooth1.theta", th, 80);
            for (int i = 0; i < 4; i++) printf("  %.2f %.2f %.2f %.2f %.2f\n", (double)th[5*i], (double)th[5*i+1], (double)th[5*i+2], (double)th[5*i+3], (double)th[5*i+4]);
        }
        lsnn_net_free(net);
    }
    return 0;
}
