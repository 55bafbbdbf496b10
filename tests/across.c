/* across.c - files that cross from one machine to another; test_toolchains.sh builds and runs it.

   across write NAME   trains a small net and writes NAME.safetensors (with its graph), its scores
                       for fixed images NAME.npz, and those images NAME.idx
   across read NAME    predicts with such a net, which another compiler or machine may have
                       trained, holds the scores to the file's, and writes the net again as
                       NAME.again, which must be the same bytes
   Exit status 0: all of it is right.                                                    */
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
#include "check.h"

enum { IMAGES = 32, CLASSES = 10, PIXELS = 28 * 28 };
static lsnn_ctx cx;
static char path[600];

static const char *named(const char *name, const char *end)
{
    snprintf(path, sizeof path, "%s%s", name, end);
    return path;
}

static lsnn_net *make_net(void)
{
    static lsnn_options smooth;
    static lsnn_build_desc build;
    lsnn_net *net = lsnn_net_new(&cx);
    int x = lsnn_input(net, 1, 28, 28);
    smooth.normalise = LSNN_NORMALISE_MEAN;
    x = lsnn_relu(net, lsnn_batch_norm(net, lsnn_conv2d(net, x, 8, 5, NULL), NULL), NULL);
    x = lsnn_smooth(net, lsnn_max_pool(net, x, 2, NULL), LSNN_FREE, &smooth);
    x = lsnn_dropout(net, lsnn_tanh(net, lsnn_dense(net, x, 20, NULL), NULL), 0.1, NULL);
    lsnn_cross_entropy(net, lsnn_dense(net, x, CLASSES, NULL), NULL);
    build.batch = 32;
    CHECK(lsnn_net_build(net, &build) == LSNN_OK);
    return net;
}

/* Digits as bytes, drawn the same everywhere.                                            */
static void draw(unsigned char *v)
{
    static lsnn_recipe r;
    unsigned char label;
    r.task = LSNN_TASK_DIGITS;
    r.seed = 5;
    for (int i = 0; i < IMAGES; i++) lsnn_recipe_draw(&r, 0, i, v + i * PIXELS, &label, NULL);
}

static void predict(lsnn_net *net, const unsigned char *bytes, lsnn_real *y)
{
    static lsnn_real x[IMAGES * PIXELS];
    for (int i = 0; i < IMAGES * PIXELS; i++) x[i] = (lsnn_real)bytes[i] / 255;
    CHECK(lsnn_predict(net, x, IMAGES, y) == LSNN_OK);
}

static void test_write(const char *name, unsigned char *bytes, lsnn_real *y)
{
    static lsnn_recipe digits;
    static lsnn_fit_desc fit;
    static lsnn_progress last;
    static lsnn_tensor t;
    static lsnn_idx idx;
    lsnn_data train;
    lsnn_net *net = make_net();
    digits.count = 192;
    fit.epochs = 3;
    fit.optimizer.lr = 0.02;
    fit.optimizer.momentum = 0.9;
    fit.last = &last;
    CHECK(lsnn_data_recipe(&cx, &train, &digits) == LSNN_OK);
    CHECK(lsnn_fit(net, &train, &fit) == LSNN_OK);
    CHECK(last.loss < 1.3);                              /* it began at log(10) = 2.3     */
    CHECK(lsnn_net_save(net, named(name, ".safetensors")) == LSNN_OK);
    predict(net, bytes, y);
    t.name = "scores";
    t.rank = 2;
    t.dim[0] = IMAGES;
    t.dim[1] = CLASSES;
    t.count = IMAGES * CLASSES;
    t.v = y;
    CHECK(lsnn_npz_write(&cx, named(name, ".npz"), &t, 1) == LSNN_OK);
    idx.rank = 3;
    idx.dim[0] = IMAGES;
    idx.dim[1] = idx.dim[2] = 28;
    idx.v = bytes;
    CHECK(lsnn_idx_write(&cx, &idx, named(name, ".idx")) == LSNN_OK);
    printf("# %s, %s: loss %.3f\n", lsnn_build_info(), lsnn_isa_name(lsnn_ctx_isa(&cx)),
           last.loss);
    lsnn_net_free(net);
    lsnn_data_free(&train);
    test_end("trained and written");
}

static void test_read(const char *name, const unsigned char *bytes, lsnn_real *y)
{
    lsnn_net *net = lsnn_net_load(&cx, named(name, ".safetensors"), NULL, NULL, 0);
    const lsnn_tensor *t;
    lsnn_idx idx;
    lsnn_file f;
    double worst = 0;
    CHECK(net != NULL);
    CHECK(lsnn_idx_read(&cx, &idx, named(name, ".idx")) == LSNN_OK);
    CHECK(idx.v && memcmp(idx.v, bytes, IMAGES * PIXELS) == 0);
    CHECK(lsnn_file_read(&cx, &f, named(name, ".npz")) == LSNN_OK);
    t = lsnn_file_tensor(&f, "scores");
    CHECK(t && t->count == IMAGES * CLASSES);
    if (net && t) {
        predict(net, bytes, y);
        for (size_t i = 0; i < t->count; i++) {
            double d = fabs((double)t->v[i] - (double)y[i]);
            if (!(d <= worst)) worst = d;
        }
        CHECK(worst < 1e-4);                             /* of scores up to 10            */
        CHECK(lsnn_net_save(net, named(name, ".again")) == LSNN_OK);
    }
    printf("# scores: at most %.2g apart\n", worst);
    lsnn_file_free(&cx, &f);
    lsnn_idx_free(&cx, &idx);
    lsnn_net_free(net);
    test_end("read");
}

int main(int argc, char **argv)
{
    static unsigned char bytes[IMAGES * PIXELS];
    static lsnn_real y[IMAGES * CLASSES];
    if (argc != 3) return 2;
    draw(bytes);
    if (strcmp(argv[1], "write") == 0) test_write(argv[2], bytes, y);
    else test_read(argv[2], bytes, y);
    lsnn_ctx_free(&cx);
    return test_finish();
}
