/* predict.c - a saved net reads your picture.

   Build: cc -O2 examples/predict.c -o examples/predict -lm       (needs stb_image.h)
   Run:   examples/predict NET.safetensors PICTURE.png [--overlay OUT.png] [--whole] [--invert]

   picture.h makes of the file (PNG, JPEG, ...) what the net was trained on. --overlay draws
   where the net's smoothers look.
   Prints each class's probability, then one line for machines; a net with several heads
   (sequences of digits) does so head by head.
   Exit status: 0 done, 1 a file or the net failed, 2 bad arguments.                     */
#define LSNN_IMPLEMENTATION
#include "../lsnn.h"
#include <sys/stat.h>
#ifndef _WIN32
#include <fcntl.h>
#endif
#include "picture.h"

/* What a net knows from training: the larger side of the ink, as a part of the picture's, and
   the numbers that stand for paper and ink. MNIST's digits are 20 of 28, in lsnn_mnist's scenes
   10 of 42, in convnet's LeNet-5 20 of 32; size 0: the place of things has a meaning, so the
   picture is taken whole.                                                               */
typedef struct habit { const char *task; double size, paper, ink; } habit;

static habit habit_of(lsnn_ctx *cx, const char *path)
{
    static const habit known[] = {
        { "task=cluttered ", 10 / 42.0, 0, 1 }, { "task=sequence ", 32 / 42.0, 0, 1 },
        { "task=arrow ", 0, 0, 1 }, { "task=rectangle ", 0, 0, 1 },
        { "task=mnist frame=32 ", 20 / 32.0, -0.1, 1.175 } };
    habit h = { "", 20 / 28.0, 0, 1 };
    lsnn_file file;
    const char *note;
    if (lsnn_file_read(cx, &file, path) != LSNN_OK) return h;
    note = lsnn_file_meta(&file, "lsnn.note");
    for (size_t i = 0; note && i < sizeof known / sizeof known[0]; i++)
        if (strncmp(note, known[i].task, strlen(known[i].task)) == 0) h = known[i];
    lsnn_file_free(cx, &file);
    return h;
}

/* ---- The answer ----------------------------------------------------------------------------*/
/* All maps of the first smoother, added, laid over the picture in red.                  */
static lsnn_status draw_overlay(lsnn_ctx *cx, lsnn_net *net, const lsnn_real *x, lsnn_shape in,
                                const char *path)
{
    enum { SCALE = 8 };
    int rank, dim[4], k, h, w, dy, dx;
    lsnn_real *maps, top = 0;
    lsnn_image im;
    lsnn_status s;
    if (lsnn_net_node(net, "smooth1") < 0) {
        fprintf(stderr, "predict: --overlay: the net has no smoothers\n");
        return LSNN_EVALUE;
    }
    s = lsnn_net_dims(net, "smooth1.map", &rank, dim);
    if (s != LSNN_OK) return s;
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
static lsnn_status print_head(const lsnn_real *p, int classes, const char *picture, int head,
                              int heads)
{
    int best = 0;
    for (int k = 0; k < classes; k++) {
        if (!(p[k] >= 0 && p[k] <= 1)) {
            fprintf(stderr, "predict: class %d of head %d has probability %g: the net's "
                    "parameters are damaged, or it diverged\n", k, head + 1, (double)p[k]);
            return LSNN_EDIVERGED;
        }
        if (p[k] > p[best]) best = k;
    }
    if (heads > 1) printf("head %d\n", head + 1);
    for (int k = 0; k < classes; k++) printf("%3d  %5.1f %%\n", k, 100 * (double)p[k]);
    printf("prediction file=%s ", picture);
    if (heads > 1) printf("head=%d ", head + 1);
    printf("class=%d probability=%.4f\n", best, (double)p[best]);
    return LSNN_OK;
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
        if (s == LSNN_OK) s = print_head(p, classes, picture, head, heads);
    }
    if (s == LSNN_OK && !heads) {                /* the scores of a net without a loss  */
        s = lsnn_predict(net, x, 1, p);
        if (s == LSNN_OK) s = lsnn_softmax_forward(cx, p, p, 1, classes, 1);
        if (s == LSNN_OK) s = print_head(p, classes, picture, 0, 1);
    }
    free(p);
    return s;
}

/* ---- The command line ----------------------------------------------------------------------*/
/* A closed stream's number must not go to a file; what is printed to it fails.          */
static void hold_streams(void)
{
#ifndef _WIN32
    for (int k = 0; k < 3; k++)
        if (fcntl(k, F_GETFD) == -1 && open("/dev/null", k < 2 ? O_RDONLY : O_WRONLY) != k)
            return;
#endif
}

/* Whether the overlay may be written: it replaces neither the net nor the picture, by whatever
   name, nor what is no PNG file.                                                        */
static int may_write(const char *path, const char *const file[2])
{
    struct stat there, other;
    char start[4] = "";
    FILE *f;
    if (stat(path, &there) != 0) return 1;
    for (int i = 0; i < 2; i++)
        if (stat(file[i], &other) == 0 && there.st_ino && there.st_ino == other.st_ino &&
            there.st_dev == other.st_dev) {
            fprintf(stderr, "predict: --overlay %s and %s are one file\n", path, file[i]);
            return 0;
        }
    f = fopen(path, "rb");
    if (f && (fread(start, 1, 4, f) == 0 || memcmp(start, "\x89PNG", 4) == 0)) {
        fclose(f);
        return 1;
    }
    if (f) fclose(f);
    fprintf(stderr, "predict: --overlay %s: what is there is no picture\n", path);
    return 0;
}

static int usage(FILE *f)
{
    fprintf(f, "usage: predict NET.safetensors PICTURE.png [--overlay OUT.png] [--whole] [--invert]\n"
            "example: examples/predict out/digits-cnn.safetensors digit.png\n"
            "  --overlay OUT.png     draw where the net's smoothers look\n"
            "  --whole               take the picture as it is, do not look for the ink\n"
            "  --invert              for a net that reads black on white\n"
            "  --help                print this\n");
    return f == stdout ? 0 : 2;
}

/* What the flags ask for. -1, or main's status.                                         */
typedef struct wish { const char *file[2], *overlay; int files, whole, invert; } wish;

static int read_flags(int argc, char **argv, wish *a)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return usage(stdout);
        if (strcmp(argv[i], "--invert") == 0) a->invert = 1;
        else if (strcmp(argv[i], "--whole") == 0) a->whole = 1;
        else if (strcmp(argv[i], "--overlay") == 0 && i + 1 < argc) a->overlay = argv[++i];
        else if (argv[i][0] == '-' || a->files == 2) {
            fprintf(stderr, "predict: what is %s?\n", argv[i]);
            return usage(stderr);
        } else a->file[a->files++] = argv[i];
    }
    if (a->files < 2) return usage(stderr);
    return a->overlay && !may_write(a->overlay, a->file) ? 2 : -1;
}

int main(int argc, char **argv)
{
    static lsnn_ctx cx;
    static wish a;
    lsnn_build_desc d;
    lsnn_shape in;
    lsnn_net *net;
    lsnn_real *x;
    lsnn_status s = LSNN_EIO;
    habit h;
    int status;
    hold_streams();
    status = read_flags(argc, argv, &a);
    if (status > 0) return status;
    if (status < 0) {
        memset(&d, 0, sizeof d);
        d.batch = 1;
        d.predict_only = 1;
        net = lsnn_net_load(&cx, a.file[0], &d, NULL, 0);
        if (!net) return 1;                      /* the message is on stderr        */
        in = lsnn_net_shape(net, 0);
        x = (lsnn_real *)malloc((size_t)in.c * (size_t)in.h * (size_t)in.w * sizeof *x);
        h = habit_of(&cx, a.file[0]);
        if (x && picture_load(a.file[1], in, a.whole ? 0 : h.size, a.invert, x)) s = LSNN_OK;
        for (int i = 0; s == LSNN_OK && i < in.c * in.h * in.w; i++)
            x[i] = (lsnn_real)(h.paper + (h.ink - h.paper) * (double)x[i]);
        if (s == LSNN_OK) s = answer(&cx, net, x, a.file[1]);
        if (s == LSNN_OK && a.overlay) s = draw_overlay(&cx, net, x, in, a.overlay);
        if (s == LSNN_OK && a.overlay) fprintf(stderr, "predict: wrote %s\n", a.overlay);
        free(x);
        lsnn_net_free(net);
        lsnn_ctx_free(&cx);
        status = s == LSNN_OK ? 0 : 1;
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "predict: writing to standard output failed\n");
        return 1;
    }
    return status;
}
