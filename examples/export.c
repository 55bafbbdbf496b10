/* export.c - a trained net as one C file, for programs and chips that have no room for more,
   or as an ONNX model, for other frameworks.

   Build: cc -O2 examples/export.c -o examples/export -lm
   Run:   examples/export out/net.safetensors --c digits.c --name digits --int8
          examples/export out/net.safetensors --onnx digits.onnx

   The C file needs no library but math; it holds digits_predict(x, y). --int8 and --half
   store the weights in 8 or 16 bits; what that costs is measured here, on pictures of an IDX
   file (--images) or else on random ones, and printed.
   Exit status: 0 done, 1 a file failed, 2 bad arguments.                                */
#define LSNN_IMPLEMENTATION
#include "../lsnn.h"
#include "app.h"

enum { IMAGES = 1000 };                  /* to measure with, at most                      */

static size_t size_of(lsnn_shape s) { return (size_t)s.c * (size_t)s.h * (size_t)s.w; }

/* Pictures to measure with: an IDX file's, or random numbers from 0 to 1. How many; 0: a
   file failed.                                                                          */
static int pictures(lsnn_ctx *cx, const char *path, lsnn_shape in, lsnn_real *x)
{
    lsnn_rng r = lsnn_rng_at(1, "export", "pictures", 0, 0);
    lsnn_idx idx;
    lsnn_data data;
    int count = 0;
    if (!path) {
        for (size_t i = 0; i < IMAGES * size_of(in); i++) x[i] = (lsnn_real)lsnn_rng_uniform(&r);
        return IMAGES;
    }
    if (lsnn_idx_read(cx, &idx, path) != LSNN_OK) return 0;
    if (lsnn_data_idx(cx, &data, &idx, NULL, 0) == LSNN_OK) {
        if (size_of(data.shape) == size_of(in)) {
            count = data.count < IMAGES ? data.count : IMAGES;
            for (int i = 0; i < count; i++)
                data.fetch(data.user, 0, i, x + (size_t)i * size_of(in), NULL, NULL);
        } else
            fprintf(stderr, "export: %s: pictures of %dx%dx%d, the net reads %dx%dx%d\n", path,
                    data.shape.c, data.shape.h, data.shape.w, in.c, in.h, in.w);
        lsnn_data_free(&data);
    }
    lsnn_idx_free(cx, &idx);
    return count;
}

static int largest(const lsnn_real *y, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++) if (y[i] > y[best]) best = i;
    return best;
}

/* Predicts with the weights as they are and as they are stored, and says how far apart.  */
static lsnn_status measure(lsnn_ctx *cx, lsnn_net *net, lsnn_storage storage, const char *path)
{
    lsnn_shape in = lsnn_net_shape(net, 0), out = lsnn_net_shape(net, lsnn_net_output(net));
    int classes = (int)size_of(out), count, other = 0;
    lsnn_real *x = (lsnn_real *)malloc(IMAGES * size_of(in) * sizeof *x);
    lsnn_real *y = (lsnn_real *)malloc(2 * IMAGES * size_of(out) * sizeof *y), *z;
    double most = 0, worst = 0;
    lsnn_status s = x && y ? LSNN_OK : LSNN_ENOMEM;
    count = s == LSNN_OK ? pictures(cx, path, in, x) : 0;
    z = y + IMAGES * size_of(out);
    if (s == LSNN_OK && count == 0) s = LSNN_EIO;
    if (s == LSNN_OK) s = lsnn_predict(net, x, count, y);
    if (s == LSNN_OK) s = lsnn_net_round(net, storage);
    if (s == LSNN_OK) s = lsnn_predict(net, x, count, z);
    for (int i = 0; s == LSNN_OK && i < count * classes; i++) {
        most = fmax(most, fabs((double)y[i]));
        worst = fmax(worst, fabs((double)y[i] - (double)z[i]));
        if (i % classes == 0) other += largest(y + i, classes) != largest(z + i, classes);
    }
    if (s == LSNN_OK)
        printf("rounding: over %d %s pictures the outputs, up to %.3g, are at most %.2g off; "
               "%d have another largest output\n", count, path ? "given" : "random", most, worst,
               other);
    free(x);
    free(y);
    return s;
}

int main(int argc, char **argv)
{
    static lsnn_ctx cx;
    static app a;
    const char *c = NULL, *onnx = NULL, *images = NULL;
    int int8 = 0, half = 0, status;
    lsnn_export_desc d;
    lsnn_build_desc build;
    lsnn_status s;
    lsnn_net *net;
    app_flag own[7];
    memset(&d, 0, sizeof d);
    memset(&build, 0, sizeof build);
    app_init(&a, "export", "writes a trained net as C source or as an ONNX model",
             "out/net.safetensors --c digits.c --name digits --int8");
    a.takes = "threads";
    a.word_names = "NET.safetensors";
    own[0] = app_text("c", &c, "OUT.c", "the C file to write");
    own[6] = app_text("onnx", &onnx, "OUT.onnx", "the ONNX model to write");
    own[1] = app_text("name", &d.name, "NAME", "its function is NAME_predict (net)");
    own[2] = app_switch("int8", &int8, "weights in 8 bits, a factor an output");
    own[3] = app_switch("half", &half, "weights in 16 bits");
    own[4] = app_switch("static", &d.static_buffers, "buffers are static, not on the stack");
    own[5] = app_text("images", &images, "FILE", "IDX pictures to measure the rounding with");
    status = app_parse(&a, argc, argv, own, 7);
    if (status != APP_GO) return status;
    if (!c && !onnx) return app_refuse(&a, "needs --c OUT.c or --onnx OUT.onnx (--help)");
    if (!c && (d.name || int8 || half || images || d.static_buffers))
        return app_refuse(&a, "--name, --int8, --half, --static and --images are for --c");
    if (int8 && half) return app_refuse(&a, "--int8 and --half: one of them");
    if ((c && strcmp(c, a.word[0]) == 0) || (onnx && strcmp(onnx, a.word[0]) == 0) ||
        (c && onnx && strcmp(c, onnx) == 0))
        return app_refuse(&a, "the net, --c and --onnx must be different files");
    status = app_start(&a, &cx);
    if (status != APP_GO) return status;
    d.storage = int8 ? LSNN_STORE_INT8 : half ? LSNN_STORE_HALF : LSNN_STORE_FLOAT;
    build.predict_only = 1;
    net = lsnn_net_load(&cx, a.word[0], &build, NULL, 0);
    s = net ? LSNN_OK : LSNN_EIO;
    if (s == LSNN_OK && onnx) s = lsnn_net_export_onnx(net, onnx);
    if (s == LSNN_OK && onnx) printf("%s: an ONNX model, opset 13\n", onnx);
    if (s == LSNN_OK && c) s = lsnn_net_export_c(net, c, &d);
    if (s == LSNN_OK && c) {
        static const char *const as[] = { "floats", "halves", "8-bit integers" };
        printf("%s: %s_predict, %.0f parameters, %.0f multiply-adds, weights as %s\n", c,
               d.name ? d.name : "net", (double)lsnn_net_params(net), lsnn_net_macs(net),
               as[d.storage]);
        if (d.storage != LSNN_STORE_FLOAT) s = measure(&cx, net, d.storage, images);
    }
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    return app_end(&a, s);
}
