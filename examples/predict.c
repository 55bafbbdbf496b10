/* predict.c - a saved net reads your picture.

   Build: cc -O2 examples/predict.c -o examples/predict -lm       (needs stb_image.h)
   Run:   examples/predict NET.safetensors PICTURE.png [--overlay OUT.png] [--invert]

   The picture (PNG, JPEG, ...) is turned to grey, scaled to the net's input by averaging
   (its sides need not fit), and inverted where its border is bright, because the nets were
   trained on white ink on black; --invert turns that around. --overlay draws where the
   net's smoothers look. Prints each class's probability, then one line for machines; a net
   with several heads (sequences of digits) does so head by head.
   Exit status: 0 done, 1 a file failed, 2 bad arguments.                                */
#define LSNN_IMPLEMENTATION
#include "../lsnn.h"
#if defined(__has_include)
#  if __has_include(<stb/stb_image.h>)
#    define STB_IMAGE_H <stb/stb_image.h>
#  elif __has_include(<stb_image.h>)
#    define STB_IMAGE_H <stb_image.h>
#  endif
#endif
#ifdef STB_IMAGE_H
#  if defined(__GNUC__)
#    pragma GCC diagnostic push
#    pragma GCC diagnostic ignored "-Wconversion"
#    pragma GCC diagnostic ignored "-Wsign-conversion"
#    pragma GCC diagnostic ignored "-Wunused-parameter"
#    pragma GCC diagnostic ignored "-Wunused-function"
#    pragma GCC diagnostic ignored "-Wpedantic"
#    pragma GCC diagnostic ignored "-Wshadow"
#  endif
#  define STB_IMAGE_IMPLEMENTATION
#  include STB_IMAGE_H
#  if defined(__GNUC__)
#    pragma GCC diagnostic pop
#  endif
#else
static unsigned char *stbi_load(const char *path, int *w, int *h, int *n, int want)
{
    (void)path; (void)w; (void)h; (void)n; (void)want;
    return NULL;
}
static const char *stbi_failure_reason(void) { return "built without stb_image.h"; }
static void stbi_image_free(void *v) { (void)v; }
#endif

/* The mean of the grey picture (0..255) over the part of it that becomes pixel (i, j).  */
static double area_mean(const unsigned char *grey, int w, int h, double x0, double y0,
                        double x1,
                        double y1)
{
    double sum = 0, weight = 0;
    for (int y = (int)y0; y < h && y < y1; y++)
        for (int x = (int)x0; x < w && x < x1; x++) {
            double ww = (x + 1 < x1 ? x + 1 : x1) - (x > x0 ? x : x0);
            double hh = (y + 1 < y1 ? y + 1 : y1) - (y > y0 ? y : y0);
            sum += grey[(size_t)y * (size_t)w + (size_t)x] * ww * hh;
            weight += ww * hh;
        }
    return weight > 0 ? sum / weight : 0;
}

/* The picture as the net reads it; the same grey plane in each channel.                 */
static int load_picture(const char *path, lsnn_shape in, int invert, lsnn_real *x)
{
    int w, h, n;
    double border = 0;
    size_t size = (size_t)in.h * (size_t)in.w;
    unsigned char *grey = stbi_load(path, &w, &h, &n, 1);
    if (!grey) {
        fprintf(stderr, "predict: cannot read %s: %s\n", path, stbi_failure_reason());
        return 0;
    }
    for (int i = 0; i < in.h; i++)
        for (int j = 0; j < in.w; j++)
            x[i * in.w + j] = (lsnn_real)(area_mean(grey, w, h, (double)j * w / in.w,
                (double)i * h / in.h, (j + 1.0) * w / in.w, (i + 1.0) * h / in.h) / 255);
    stbi_image_free(grey);
    for (int i = 0; i < in.h; i++)
        border += (double)x[i * in.w] + (double)x[i * in.w + in.w - 1];
    for (int j = 0; j < in.w; j++) border += (double)x[j] + (double)x[(in.h - 1) * in.w + j];
    if ((border / (2 * (in.h + in.w)) > 0.5) != (invert != 0))
        for (size_t i = 0; i < size; i++) x[i] = 1 - x[i];
    for (int c = 1; c < in.c; c++) memcpy(x + (size_t)c * size, x, size * sizeof *x);
    return 1;
}

/* All maps of the first smoother, added, laid over the picture in red.                  */
static lsnn_status draw_overlay(lsnn_ctx *cx, lsnn_net *net, const lsnn_real *x, lsnn_shape in,
                                const char *path)
{
    enum { SCALE = 8 };
    int rank, dim[4], k, h, w, dy, dx;
    lsnn_real *maps, top = 0;
    lsnn_image im;
    lsnn_status s = lsnn_net_dims(net, "smooth1.map", &rank, dim);
    if (s != LSNN_OK) return s;                  /* the net has no smoother         */
    k = dim[rank - 3];
    h = dim[rank - 2];
    w = dim[rank - 1];
    maps = (lsnn_real *)malloc((size_t)k * (size_t)h * (size_t)w * sizeof *maps);
    if (!maps) return LSNN_ENOMEM;
    s = lsnn_net_get(net, "smooth1.map", maps, (size_t)k * (size_t)h * (size_t)w);
    for (int i = 0; i < h * w; i++) {
        for (int j = 1; j < k; j++) maps[i] += maps[j * h * w + i];
        if (maps[i] > top) top = maps[i];
    }
    dy = (in.h - h) * SCALE / 2;                 /* a position is the middle of its patch */
    dx = (in.w - w) * SCALE / 2;
    if (s == LSNN_OK) s = lsnn_image_new(cx, &im, in.w * SCALE, in.h * SCALE, 0);
    if (s == LSNN_OK) {
        lsnn_image_map(&im, 0, 0, SCALE, x, in.h, in.w, 0, 1);
        lsnn_image_overlay(&im, dx, dy, SCALE, maps, h, w, 1.4 * (double)top, 0xE02020);
        s = lsnn_image_save(cx, &im, path);
        lsnn_image_free(cx, &im);
    }
    free(maps);
    return s;
}

/* One head's classes by number, and the likeliest. heads: of the net, printed if several. */
static void print_head(const lsnn_real *p, int classes, const char *picture, int head, int heads)
{
    int best = 0;
    for (int k = 1; k < classes; k++) if (p[k] > p[best]) best = k;
    if (heads > 1) printf("head %d\n", head + 1);
    for (int k = 0; k < classes; k++) printf("%3d  %5.1f %%\n", k, 100 * (double)p[k]);
    printf("prediction file=%s ", picture);
    if (heads > 1) printf("head=%d ", head + 1);
    printf("class=%d probability=%.4f\n", best, (double)p[best]);
}

/* cross_entropy1, cross_entropy2, ... are the heads: a sequence's digits one by one. Their
   outputs are the probabilities, whatever the labels.                                   */
static lsnn_status answer(lsnn_ctx *cx, lsnn_net *net, const lsnn_real *x, const char *picture)
{
    lsnn_shape out = lsnn_net_shape(net, lsnn_net_output(net));
    int classes = out.c * out.h * out.w, heads = 0;
    static const int labels[LSNN_MAX_HEADS] = { 0 };
    lsnn_real *p = (lsnn_real *)malloc((size_t)classes * sizeof *p);
    lsnn_batch b;
    lsnn_status s = p ? LSNN_OK : LSNN_ENOMEM;
    char name[32];
    memset(&b, 0, sizeof b);
    while (heads < LSNN_MAX_HEADS && snprintf(name, sizeof name, "cross_entropy%d", heads + 1) &&
           lsnn_net_node(net, name) >= 0) heads++;
    b.x = x;
    b.n = 1;
    b.labels = heads ? labels : NULL;
    b.heads = heads;
    if (s == LSNN_OK && heads) s = lsnn_forward(net, &b, 0, NULL);
    for (int head = 0; s == LSNN_OK && head < heads; head++) {
        snprintf(name, sizeof name, "cross_entropy%d", head + 1);
        s = lsnn_net_get(net, name, p, (size_t)classes);
        if (s == LSNN_OK) print_head(p, classes, picture, head, heads);
    }
    if (s == LSNN_OK && !heads) {                /* the scores of a net without a loss  */
        s = lsnn_predict(net, x, 1, p);
        if (s == LSNN_OK) s = lsnn_softmax_forward(cx, p, p, 1, classes, 1);
        if (s == LSNN_OK) print_head(p, classes, picture, 0, 1);
    }
    free(p);
    return s;
}

int main(int argc, char **argv)
{
    static lsnn_ctx cx;
    const char *file[2] = { NULL, NULL }, *overlay = NULL;
    int files = 0, invert = 0, bad = 0;
    lsnn_build_desc d;
    lsnn_shape in;
    lsnn_net *net;
    lsnn_real *x;
    lsnn_status s = LSNN_EIO;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--invert") == 0) invert = 1;
        else if (strcmp(argv[i], "--overlay") == 0 && i + 1 < argc) overlay = argv[++i];
        else if (argv[i][0] == '-' || files == 2)
            bad = fprintf(stderr, "predict: what is %s?\n", argv[i]);
        else file[files++] = argv[i];
    }
    if (bad || files < 2) {
        fprintf(stderr,
                "usage: predict NET.safetensors PICTURE.png [--overlay OUT.png] [--invert]\n"
                "example: examples/predict out/cluttered-lsnn-content.safetensors digit.png "
                "--overlay look.png\n");
        return 2;
    }
    memset(&d, 0, sizeof d);
    d.batch = 1;
    d.predict_only = 1;
    net = lsnn_net_load(&cx, file[0], &d, NULL, 0);
    if (!net) return 1;                          /* the message is on stderr        */
    in = lsnn_net_shape(net, 0);
    x = (lsnn_real *)malloc((size_t)in.c * (size_t)in.h * (size_t)in.w * sizeof *x);
    if (x && load_picture(file[1], in, invert, x)) s = answer(&cx, net, x, file[1]);
    if (s == LSNN_OK && overlay) s = draw_overlay(&cx, net, x, in, overlay);
    free(x);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "predict: writing to standard output failed\n");
        return 1;
    }
    return s == LSNN_OK ? 0 : 1;
}
