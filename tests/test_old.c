/* test_old.c - a net and a checkpoint that lsnn 0.1.0 saved when it was one hand-edited file
   (commit caa90ee) still load, predict what they did, and go on.

   tests/golden/old.safetensors holds the net, old-scores.safetensors what it predicted, and
   old-checkpoint.safetensors an epoch of training. Made by this program itself, with
   -DMAKE_OLD and that commit's lsnn.h.
   modes: plain | double */
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
#include "check.h"

enum { IMAGES = 20, SIZE = 2 * 12 * 12, CLASSES = 3 };
#define OLD "tests/golden/old"

static lsnn_net *make(lsnn_ctx *cx)
{
    lsnn_options no_bias = { 0 }, mean = { 0 };
    lsnn_build_desc d = { 0 };
    lsnn_net *net = lsnn_net_new(cx);
    int x = lsnn_input(net, 2, 12, 12), y;
    no_bias.no_bias = 1;
    mean.normalise = LSNN_NORMALISE_MEAN;
    y = lsnn_smooth(net, lsnn_conv2d(net, x, 4, 3, &no_bias), LSNN_FREE, &mean);
    y = lsnn_max_pool(net, lsnn_relu(net, y, NULL), 2, NULL);
    y = lsnn_relu(net, lsnn_batch_norm(net, y, NULL), NULL);
    y = lsnn_dropout(net, lsnn_dense(net, y, 6, NULL), 0.2, NULL);
    lsnn_cross_entropy(net, lsnn_dense(net, y, CLASSES, NULL), NULL);
    d.batch = 8;
    d.seed = 5;
    lsnn_net_build(net, &d);
    return net;
}

static lsnn_real x[IMAGES * SIZE];
static int label[IMAGES];

static lsnn_data draw(lsnn_ctx *cx)
{
    lsnn_rng r = lsnn_rng_at(3, "old", "", 0, 0);
    lsnn_shape shape = { 2, 12, 12 };
    lsnn_data d;
    for (int i = 0; i < IMAGES * SIZE; i++) x[i] = (lsnn_real)lsnn_rng_normal(&r);
    for (int i = 0; i < IMAGES; i++) label[i] = lsnn_rng_int(&r, CLASSES);
    lsnn_data_arrays(cx, &d, x, label, IMAGES, shape, 1, CLASSES);
    return d;
}

static lsnn_fit_desc fit_of(int epochs)
{
    lsnn_fit_desc f;
    memset(&f, 0, sizeof f);
    f.epochs = epochs;
    f.optimizer.method = LSNN_ADAM;
    return f;
}

int main(void)
{
    static lsnn_ctx cx;
    lsnn_data data = draw(&cx);
    lsnn_fit_desc f = fit_of(1);
    lsnn_real y[IMAGES * CLASSES];
#ifdef MAKE_OLD
    lsnn_net *net = make(&cx);
    lsnn_tensor t = { "scores", 2, { IMAGES, CLASSES, 0, 0 }, IMAGES * CLASSES, y };
    f.save = OLD "-checkpoint.safetensors";
    lsnn_fit(net, &data, &f);
    lsnn_net_save(net, OLD ".safetensors");
    lsnn_predict(net, x, IMAGES, y);
    lsnn_file_write(&cx, OLD "-scores.safetensors", &t, 1, NULL, 0);
    return cx.status != LSNN_OK;
#else
    lsnn_net *old = lsnn_net_load(&cx, OLD ".safetensors", NULL, NULL, 0), *net = make(&cx);
    const lsnn_tensor *want;
    lsnn_file file;
    if (!CHECK(old != NULL) || !CHECK(net != NULL)) return test_finish();
    CHECK(lsnn_file_read(&cx, &file, OLD "-scores.safetensors") == LSNN_OK);
    want = lsnn_file_tensor(&file, "scores");
    CHECK(want && want->count == IMAGES * CLASSES);
    CHECK(lsnn_predict(old, x, IMAGES, y) == LSNN_OK);
    for (int i = 0; i < IMAGES * CLASSES && want; i++) NEAR(y[i], want->v[i], 1e-5);
    test_end("a net saved before loads and predicts what it did");
    f = fit_of(2);
    f.resume = OLD "-checkpoint.safetensors";
    CHECK(lsnn_fit(net, &data, &f) == LSNN_OK);
    CHECK(lsnn_net_read(net, OLD ".safetensors") == LSNN_OK);
    CHECK(lsnn_predict(net, x, IMAGES, y) == LSNN_OK);
    for (int i = 0; i < IMAGES * CLASSES && want; i++) NEAR(y[i], want->v[i], 1e-5);
    test_end("a checkpoint saved before goes on; its net's parameters are read into another");
    lsnn_file_free(&cx, &file);
    lsnn_net_free(old);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(cx.status == LSNN_OK);
    return test_finish();
#endif
}
