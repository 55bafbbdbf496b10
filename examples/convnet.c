/* convnet.c - the lecture "Convolutional Neural Networks" (Renals, MLP lecture 7, 2015).

   Build: cc -O2 examples/convnet.c -o examples/convnet -lm
          (add -DLSNN_USE_ZLIB -lz to read MNIST's .gz files as they are)
   Run:   examples/convnet --model convnet --mnist DIR --epochs 20

   Trains the lecture's networks on MNIST: mlp (784-800-10), convnet (289,630 weights, with
   the pooling of your choice), lenet5 as LeCun et al. built it in 1998 and its modern twin.
   --summary tells connections from weights. --kernels filters a picture of yours, or a
   built-in one, by the slide's image kernels; --explain works the lecture's exercise: the
   gradient of a shared weight, term by term. The test set is classified once, at the end;
   --holdout N --no-test reports on the last N training images instead. What the sources leave
   open is written in docs/lecture.md.                                                 */
#define LSNN_IMPLEMENTATION
#include "../lsnn.h"
#include "app.h"
#include "models.h"

enum { CLASSES = 10, MNIST = 28, FRAME = 32, EDGE = (FRAME - MNIST) / 2 };

typedef enum part { TRAIN, VALID, TEST, PARTS } part;

typedef struct experiment {
    app a;
    const char *task, *model, *pool, *learn, *image, *figure;
    model_pooling pooling;
    int kernels, explain, holdout, no_test, maps;
    double decay, rubbish;
    lsnn_idx file[4];
    lsnn_recipe digits[2];           /* without --mnist                               */
    lsnn_data whole[2], cut[PARTS], data[PARTS];
    lsnn_net *net;
} experiment;

/* ---- The data ------------------------------------------------------------------------*/
/* LeNet-5 reads 32x32: the digit in the middle, white at -0.1 and black at 1.175, so that
   its pixels have a mean near 0 and a variance near 1 (section II.B).                  */
static void fetch_framed(const void *user, uint32_t epoch, int index, lsnn_real *x, int *labels,
                         lsnn_real *targets)
{
    const lsnn_data *plain = (const lsnn_data *)user;
    lsnn_real digit[MNIST * MNIST];
    plain->fetch(plain->user, epoch, index, digit, labels, targets);
    for (int i = 0; i < FRAME * FRAME; i++) x[i] = (lsnn_real)-0.1;
    for (int r = 0; r < MNIST; r++)
        for (int c = 0; c < MNIST; c++)
            x[(r + EDGE) * FRAME + c + EDGE] += (lsnn_real)1.275 * digit[r * MNIST + c];
}

static int is_lenet(const experiment *e) { return strncmp(e->model, "lenet5", 6) == 0; }

/* MNIST's training or test set, or as many digits of the library's own.              */
static lsnn_status get_set(experiment *e, lsnn_ctx *cx, int test)
{
    static const char *const name[4] = { "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                         "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte" };
    lsnn_data *d = &e->whole[test];
    int wanted = test ? e->a.test : e->a.train;
    lsnn_status s = LSNN_OK;
    char path[APP_PATH];
    e->digits[test].seed = e->a.seed;
    e->digits[test].test = test;
    e->digits[test].count = wanted ? wanted : test ? 10000 : 60000;
    if (!e->a.mnist) return lsnn_data_recipe(cx, d, &e->digits[test]);
    for (int i = 2 * test; i < 2 * test + 2 && s == LSNN_OK; i++)
        s = app_path(&e->a, path, e->a.mnist, name[i]) ? lsnn_idx_read(cx, &e->file[i], path)
                                                       : LSNN_EVALUE;
    if (s == LSNN_OK)
        s = lsnn_data_idx(cx, d, &e->file[2 * test], &e->file[2 * test + 1], CLASSES);
    if (s != LSNN_OK) return s;
    if (d->shape.c != 1 || d->shape.h != MNIST || d->shape.w != MNIST || d->heads != 1)
        app_refuse(&e->a, "--mnist %s: pictures of %d x %d, should be 28 x 28", e->a.mnist,
                   d->shape.h, d->shape.w);
    else if (wanted > d->count)
        app_refuse(&e->a, "--%s %d: there are %d", test ? "test" : "train", wanted, d->count);
    else {
        if (wanted) d->count = wanted;
        return LSNN_OK;
    }
    return LSNN_EVALUE;
}

static lsnn_status get_data(experiment *e, lsnn_ctx *cx)
{
    lsnn_status s = get_set(e, cx, 0);
    int count[PARTS];
    if (!e->a.mnist)
        fprintf(stderr, "convnet: no --mnist, so the digits are the built-in ones\n");
    if (s == LSNN_OK) s = get_set(e, cx, 1);
    if (s != LSNN_OK) return s;
    count[VALID] = e->holdout;
    count[TRAIN] = e->whole[0].count - e->holdout;
    count[TEST] = e->whole[1].count;
    if (count[TRAIN] < 1) {
        app_refuse(&e->a, "--holdout %d: there are %d training images", e->holdout,
                   e->whole[0].count);
        return LSNN_EVALUE;
    }
    for (int p = TRAIN; p < PARTS && s == LSNN_OK; p++) {
        if (!count[p]) continue;
        s = lsnn_data_part(cx, &e->cut[p], &e->whole[p == TEST], p == VALID ? count[TRAIN] : 0,
                           count[p]);
        e->data[p] = e->cut[p];
        if (!is_lenet(e)) continue;
        e->data[p].fetch = fetch_framed;
        e->data[p].user = &e->cut[p];
        e->data[p].shape.h = e->data[p].shape.w = FRAME;
    }
    return s;
}

/* ---- The network -----------------------------------------------------------------------*/
static lsnn_net *make_net(experiment *e, lsnn_ctx *cx)
{
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_options loss = model_options(NULL);
    lsnn_build_desc d;
    int side = is_lenet(e) ? FRAME : MNIST, x = lsnn_input(net, 1, side, side), lenet5;
    memset(&d, 0, sizeof d);
    d.batch = e->a.batch;
    d.seed = e->a.seed;
    d.profile = e->a.profile;
    lenet5 = strcmp(e->model, "lenet5") == 0;
    if (lenet5) loss.rubbish = e->rubbish;
    x = strcmp(e->model, "convnet") == 0 ? model_convnet(net, x, CLASSES, e->maps, &e->pooling)
                                         : model_by_name(net, e->model, x, CLASSES);
    lsnn_cross_entropy(net, x, &loss);
    if (lsnn_net_build(net, &d) == LSNN_OK &&
        (!lenet5 || model_lenet5_start(net, e->a.seed) == LSNN_OK)) return net;
    lsnn_net_free(net);
    return NULL;
}

static lsnn_status train(experiment *e)
{
    int steps = (e->data[TRAIN].count + e->a.batch - 1) / e->a.batch * e->a.epochs;
    char note[80];
    lsnn_fit_desc d;
    memset(&d, 0, sizeof d);
    snprintf(note, sizeof note, "task=%s frame=%d seed=%.0f data=%08x", e->task,
             is_lenet(e) ? FRAME : MNIST, (double)e->a.seed, app_data_mark(&e->data[TRAIN]));
    d.note = note;                             /* a resume on other pictures is refused */
    d.optimizer.lr = strcmp(e->model, "lenet5") == 0 ? 0.001 : strcmp(e->model, "lenet5-modern") ?
        0.1 : 0.02;
    d.optimizer.momentum = 0.9;
    d.optimizer.weight_decay = e->decay;
    d.optimizer.warmup_steps = steps < 3000 ? steps / 10 : 300;
    d.optimizer.schedule = LSNN_COSINE;
    d.valid = e->holdout ? &e->data[VALID] : NULL;
    return app_fit(&e->a, e->net, &e->data[TRAIN], &d);
}

/* What p has become, where it was learned.                                           */
static void print_norms(experiment *e)
{
    size_t count;
    const char *name;
    for (int i = 0; (name = lsnn_net_param_name(e->net, 0, i, &count)) != NULL; i++) {
        lsnn_real rho[64];
        if (strcmp(name, "pool1.rho") != 0 || count > 64 ||
            lsnn_net_get(e->net, name, rho, count) != LSNN_OK) continue;
        printf("norms");
        for (size_t k = 0; k < count; k++) printf(" %.2f", 1 + log1p(exp((double)rho[k])));
        printf("\n");
    }
}

static lsnn_status report(experiment *e)
{
    lsnn_score score;
    app_outcome r;
    lsnn_status s;
    memset(&score, 0, sizeof score);
    memset(&r, 0, sizeof r);
    s = lsnn_evaluate(e->net, &e->data[e->no_test ? VALID : TEST], &score);
    if (s != LSNN_OK) return s;
    r.task = e->task;
    r.model = e->model;
    r.error = score.error;
    r.train = e->data[TRAIN].count;
    r.test = e->no_test ? 0 : e->data[TEST].count;
    r.params = lsnn_net_params(e->net);
    r.seconds = e->a.last.seconds;
    r.images_per_s = e->a.last.images_per_s;
    print_norms(e);
    if (e->a.profile) lsnn_net_profile(e->net, stdout);
    app_result(&e->a, &r);
    return LSNN_OK;
}

static int run(experiment *e, lsnn_ctx *cx)
{
    lsnn_status s = LSNN_OK;
    e->net = make_net(e, cx);
    if (!e->net) s = cx->status;
    else if (e->a.summary) app_summary(e->net, e->model);
    else {
        s = get_data(e, cx);
        if (s == LSNN_OK) s = train(e);
        if (s == LSNN_OK) s = report(e);
    }
    for (int p = TRAIN; p < PARTS; p++) lsnn_data_free(&e->cut[p]);
    for (int i = 0; i < 2; i++) lsnn_data_free(&e->whole[i]);
    for (int i = 0; i < 4; i++) lsnn_idx_free(cx, &e->file[i]);
    lsnn_net_free(e->net);
    lsnn_ctx_free(cx);
    return app_end(&e->a, s);
}

/* ---- --kernels: the slide's image kernels, by the library's own convolution ------------------
   The layer multiplies x[i+k, j+l] by w[k, l]: a cross-correlation. What signal processing
   calls convolution takes x[i-k, j-l]: the same with the kernel turned by half a turn. To a
   symmetric kernel it makes no difference; the last one is emboss, turned: its light comes
   from the other side.                                                               */
enum { KERNELS = 9, ROW = 3, GAP = 8, TITLE = 14, LARGEST = 2048 };
static const struct { const char *name; double w[9]; } kernel[KERNELS] = {
    { "identity", { 0, 0, 0, 0, 1, 0, 0, 0, 0 } },
    { "edges, diagonal", { 1, 0, -1, 0, 0, 0, -1, 0, 1 } },
    { "edges, 4 neighbours", { 0, 1, 0, 1, -4, 1, 0, 1, 0 } },
    { "edges, 8 neighbours", { -1, -1, -1, -1, 8, -1, -1, -1, -1 } },
    { "sharpen", { 0, -1, 0, -1, 5, -1, 0, -1, 0 } },
    { "blur", { 1 / 16.0, 2 / 16.0, 1 / 16.0, 2 / 16.0, 4 / 16.0, 2 / 16.0, 1 / 16.0, 2 / 16.0,
                1 / 16.0 } },
    { "box blur", { 1 / 9.0, 1 / 9.0, 1 / 9.0, 1 / 9.0, 1 / 9.0, 1 / 9.0, 1 / 9.0, 1 / 9.0,
                    1 / 9.0 } },
    { "emboss", { -2, -1, 0, -1, 1, 1, 0, 1, 2 } },
    { "emboss, flipped", { 2, 1, 0, 1, 1, -1, 0, -1, -2 } }
};

static lsnn_status draw_own_picture(lsnn_ctx *cx, lsnn_image *im)
{
    lsnn_status s = lsnn_image_new(cx, im, 192, 144, 0x7090B0);
    if (s != LSNN_OK) return s;
    lsnn_image_rect(im, 0, 104, 192, 40, 0x507040);
    lsnn_image_rect(im, 24, 56, 64, 64, 0xC0A080);
    lsnn_image_rect(im, 48, 88, 16, 32, 0x402010);
    for (int i = 0; i <= 40; i++)
        lsnn_image_line(im, 56 - i, 20 + i, 56 + i, 20 + i, 1.5, 0xA03020);
    lsnn_image_line(im, 150, 30, 150, 30, 36, 0xF0E060);
    lsnn_image_line(im, 96, 140, 190, 84, 5, 0xD0D0C0);
    lsnn_image_text(im, 100, 64, 2, 0xFFFFFF, "lsnn.h");
    return LSNN_OK;
}

/* Maps k of the three colours into the figure, black below 0 and full above 1.       */
static void draw_filtered(lsnn_image *im, const lsnn_real *y, int h, int w, int k)
{
    int left = GAP + k % ROW * (w + GAP), top = TITLE + k / ROW * (h + GAP + TITLE);
    lsnn_image_text(im, left, top - TITLE + 5, 1, 0x202020, kernel[k].name);
    for (int i = 0; i < h; i++)
        for (int p = 0; p < 3 * w; p++) {
            double v = (double)y[((size_t)(p % 3 * KERNELS + k) * (size_t)h + (size_t)i) *
                                 (size_t)w + (size_t)(p / 3)];
            im->rgb[3 * ((size_t)(top + i) * (size_t)im->w + (size_t)left) + (size_t)p] =
                (unsigned char)(255 * (v < 0 ? 0 : v > 1 ? 1 : v) + 0.5);
        }
}

static lsnn_status draw_kernels(experiment *e, lsnn_ctx *cx)
{
    lsnn_image in, out;
    lsnn_shape shape = { 1, 0, 0 };
    lsnn_window s;
    lsnn_real weight[KERNELS * 9], *x = NULL, *y = NULL;
    size_t area;
    lsnn_status r = e->image ? lsnn_image_load(cx, &in, e->image) : draw_own_picture(cx, &in);
    if (r != LSNN_OK) return r;
    if (in.w > LARGEST || in.h > LARGEST) {
        app_refuse(&e->a, "%s: %d x %d pixels, at most %d a side can be taken", e->image, in.w,
                   in.h, (int)LARGEST);
        lsnn_image_free(cx, &in);
        return LSNN_ESHAPE;
    }
    area = (size_t)in.h * (size_t)in.w;
    for (int i = 0; i < KERNELS * 9; i++) weight[i] = (lsnn_real)kernel[i / 9].w[i % 9];
    shape.h = in.h;
    shape.w = in.w;
    r = lsnn_window_set(cx, &s, 3, shape, KERNELS, 3, 3, 1, 1, LSNN_VALID, NULL);
    if (r == LSNN_OK) {
        x = (lsnn_real *)malloc(3 * area * sizeof *x);
        y = (lsnn_real *)malloc(3 * KERNELS * area * sizeof *y);
        if (!x || !y) {
            app_refuse(&e->a, "no memory for %d x %d pixels", in.w, in.h);
            r = LSNN_ENOMEM;
        }
    }
    for (size_t i = 0; i < 3 * area && r == LSNN_OK; i++)        /* three images of one channel */
        x[i] = (lsnn_real)(in.rgb[i % area * 3 + i / area] / 255.0);
    if (r == LSNN_OK) r = lsnn_conv2d_forward(cx, y, x, weight, NULL, &s);
    if (r == LSNN_OK) r = lsnn_image_new(cx, &out, ROW * (s.ow + GAP) + GAP,
                                         KERNELS / ROW * (s.oh + GAP + TITLE), 0xFFFFFF);
    if (r == LSNN_OK) {
        for (int k = 0; k < KERNELS; k++) draw_filtered(&out, y, s.oh, s.ow, k);
        r = lsnn_image_save(cx, &out, e->figure);
        lsnn_image_free(cx, &out);
    }
    lsnn_image_free(cx, &in);
    free(x);
    free(y);
    return r;
}

/* ---- --explain: the lecture's exercise -------------------------------------------------------
   h[i,j] = sigmoid(a[i,j]), a[i,j] = sum_kl w[k,l] x[i+k,j+l] + b, on 4 x 4 pixels with one
   2 x 2 kernel: 9 places share each weight, so dL/dw[k,l] is a sum over them.        */
enum { TINY = 4, SIDE = 2, OUT = TINY - SIDE + 1, PLACES = OUT * OUT };

static double loss_with(lsnn_net *net, const lsnn_batch *b, const char *name, size_t count,
                        int at, double more)
{
    lsnn_real old[SIDE * SIDE], v[SIDE * SIDE];
    double loss = 0;
    lsnn_net_get(net, name, old, count);
    memcpy(v, old, sizeof v);
    v[at] += (lsnn_real)more;
    lsnn_net_set(net, name, v, count);
    lsnn_forward(net, b, 0, &loss);
    lsnn_net_set(net, name, old, count);
    return loss;
}

static lsnn_status explain(lsnn_ctx *cx, uint64_t seed)
{
    static const lsnn_real x[TINY * TINY] = { 0, 1, (lsnn_real)0.5, 0, 0, 1, (lsnn_real)0.5, 0,
        0, 1, 1, 0, (lsnn_real)0.5, 0, 1, 0 }, t[PLACES] = { 1, 0, 0, 1, 0, 0, 0, 1, 0 };
    lsnn_real d[PLACES], g[SIDE * SIDE], gb[1];
    lsnn_options map = model_options("map");
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_build_desc build = { 1, 0, 0, 0 };
    lsnn_batch b;
    int node;
    memset(&b, 0, sizeof b);
    b.n = 1; b.x = x; b.targets = t; b.target_count = PLACES;
    build.seed = seed;
    map.keep = 1;
    node = lsnn_conv2d(net, lsnn_input(net, 1, TINY, TINY), 1, SIDE, &map);
    lsnn_mse(net, lsnn_sigmoid(net, node, NULL), NULL);
    if (lsnn_net_build(net, &build) == LSNN_OK && lsnn_forward(net, &b, 1, NULL) == LSNN_OK &&
        lsnn_backward(net) == LSNN_OK && lsnn_net_get(net, "grad:map", d, PLACES) == LSNN_OK &&
        lsnn_net_get(net, "grad:map.weight", g, SIDE * SIDE) == LSNN_OK)
        lsnn_net_get(net, "grad:map.bias", gb, 1);
    printf("h[i,j] = sigmoid(a[i,j]), a[i,j] = sum_kl w[k,l] x[i+k,j+l] + b, L = mean (h - t)^2\n"
           "dL/dw[k,l] = sum_ij d[i,j] x[i+k,j+l], d = dL/da, over the %d places that share w[k,l]\n"
           "For w[1,0]:\n", (int)PLACES);
    for (int k = 0, one = 2; k <= SIDE * SIDE && cx->status == LSNN_OK; k++) {
        const char *name = k < SIDE * SIDE ? "map.weight" : "map.bias";
        size_t count = k < SIDE * SIDE ? SIDE * SIDE : 1;
        int at = k < SIDE * SIDE ? (k + one) % (SIDE * SIDE) : 0;      /* w[1,0] first      */
        double sum = 0, up = loss_with(net, &b, name, count, at, 0.01);
        for (int p = 0; p < PLACES; p++) {
            int row = p / OUT + at / SIDE, col = p % OUT + at % SIDE;
            double pixel = count > 1 ? (double)x[row * TINY + col] : 1;
            sum += (double)d[p] * pixel;
            if (k == 0) printf("  d[%d,%d] x[%d,%d] = %9.6f * %.1f = %9.6f\n", p / OUT, p % OUT,
                               row, col, (double)d[p], pixel, (double)d[p] * pixel + 0.0);
        }
        if (count > 1) printf("w[%d,%d]", at / SIDE, at % SIDE);
        else printf("b, of all d,");
        printf("  sum %9.6f  lsnn_backward %9.6f  (L(w + e) - L(w - e)) / 2e %9.6f\n", sum,
               (double)(count > 1 ? g[at] : gb[0]),
               (up - loss_with(net, &b, name, count, at, -0.01)) / 0.02);
    }
    lsnn_net_free(net);
    return cx->status;
}

/* ---- Flags -----------------------------------------------------------------------------*/
/* --kernels may be followed by a picture: takes it out of the arguments.              */
static int take_picture(experiment *e, int argc, char **argv)
{
    int kept = 0;
    for (int i = 0; i < argc; i++) {
        argv[kept++] = argv[i];
        if (strcmp(argv[i], "--kernels") == 0 && i + 1 < argc && argv[i + 1][0] != '-')
            e->image = argv[++i];
    }
    return kept;
}

static int check_flags(experiment *e)
{
    int convnet = strcmp(e->model, "convnet") == 0, lp = strcmp(e->pool, "lp") == 0;
    model_pooling *p = &e->pooling;
    p->kind = e->pool;
    p->learn = strcmp(e->learn, "layer") == 0 ? LSNN_NORM_OF_LAYER
             : strcmp(e->learn, "map") == 0 ? LSNN_NORM_OF_MAP : LSNN_NORM_FIXED;
    if (!convnet && (strcmp(e->pool, "max") != 0 || p->kernel || p->stride || e->maps != 20))
        return app_refuse(&e->a, "--maps and --pool: of the model convnet alone");
    if (strcmp(e->model, "lenet5") != 0 && fabs(e->rubbish - 10) > 0)
        return app_refuse(&e->a, "--rubbish: of the model lenet5 alone");
    if (!(convnet && lp) && (p->norm > 0 || p->learn))
        return app_refuse(&e->a, "--norm and --learn-norm: for --pool lp");
    if ((e->kernels != 0) != (e->figure != NULL))
        return app_refuse(&e->a, "--kernels [IMAGE.png] and --figure OUT.png go together");
    if (e->no_test && !e->holdout)
        return app_refuse(&e->a, "--no-test needs --holdout N, or there is nothing to report");
    return APP_GO;
}

int main(int argc, char **argv)
{
    static lsnn_ctx cx;
    static experiment e;
    app_flag own[16];
    char name[64];
    int status, n = 0;
    app_init(&e.a, "convnet", "the lecture's networks, image kernels and exercise",
             "--model convnet --mnist data/mnist --epochs 20");
    e.a.takes = "seed epochs batch lr threads train test mnist out save save-every resume log quiet "
                "list summary profile";
    e.a.epochs = 20;
    e.a.batch = 64;
    e.a.out = "out";
    e.task = "mnist";
    e.model = "convnet";
    e.pool = "max";
    e.learn = "no";
    e.rubbish = 10;
    e.maps = 20;
    own[n++] = app_choice("task", &e.task, "mnist", "which data set");
    own[n++] = app_choice("model", &e.model, "mlp|convnet|lenet5|lenet5-modern", "which network");
    own[n++] = app_int("maps", &e.maps, 1, 1000, "the convnet's feature maps");
    own[n++] = app_choice("pool", &e.pool, "max|average|sum|lp", "the convnet's pooling");
    own[n++] = app_int("pool-size", &e.pooling.kernel, 0, 24, "side of its windows (0: 2)");
    own[n++] = app_int("pool-stride", &e.pooling.stride, 0, 24, "0: the side; less overlaps");
    own[n++] = app_real("norm", &e.pooling.norm, 0, 1e6, "p of --pool lp, at least 1 (0: 2)");
    own[n++] = app_choice("learn-norm", &e.learn, "no|layer|map", "learns p, one a ...");
    own[n++] = app_real("rubbish", &e.rubbish, 0, 1000, "j of lenet5's loss, 0: without");
    own[n++] = app_real("weight-decay", &e.decay, 0, 100, "on weights");
    own[n++] = app_int("holdout", &e.holdout, 0, 1000000, "last training images kept to watch");
    own[n++] = app_switch("no-test", &e.no_test, "leave the test set alone: report the holdout");
    own[n++] = app_switch("kernels", &e.kernels, "filter [IMAGE.png], or a built-in picture");
    own[n++] = app_text("figure", &e.figure, "OUT.png", "what --kernels draws");
    own[n++] = app_switch("explain", &e.explain, "print a shared weight's gradient, term by term");
    argc = take_picture(&e, argc, argv);
    status = app_parse(&e.a, argc, argv, own, n);
    if (status != APP_GO) return status;
    if (e.a.list) {
        printf("tasks: mnist\nmodels: mlp convnet lenet5 lenet5-modern\n");
        return app_end(&e.a, LSNN_OK);
    }
    status = check_flags(&e);
    if (status != APP_GO) return status;
    if (e.explain || e.kernels) e.a.save = e.a.log = e.a.resume = NULL;
    status = app_start(&e.a, &cx);
    if (status == APP_GO) status = app_input(&e.a, "kernels", e.image);
    if (status == APP_GO) status = app_picture(&e.a, "figure", e.figure);
    snprintf(name, sizeof name, "mnist-%s", e.model);
    if (status == APP_GO && !e.explain && !e.kernels) status = app_default_save(&e.a, name);
    if (status != APP_GO) return status;
    if (e.explain || e.kernels) {
        status = app_end(&e.a, e.explain ? explain(&cx, e.a.seed) : draw_kernels(&e, &cx));
        lsnn_ctx_free(&cx);
        return status;
    }
    return run(&e, &cx);
}
