/* lsnn_mnist.c - the experiments of "Locally Smoothed Neural Networks" (section 5).

   Build: cc -O2 -fopenmp examples/lsnn_mnist.c -o examples/lsnn_mnist -lm
          (add -DLSNN_USE_ZLIB -lz to read MNIST's .gz files as they are)
   Run:   examples/lsnn_mnist --task cluttered --model lsnn-content --mnist DIR --epochs 10

   Trains a model of models.h on one of the paper's data sets, which is drawn while it
   trains: the same pictures in each epoch, or new ones with --fresh. The test set is read
   once, at the end; --holdout N watches the last N training images instead. --figure
   draws the paper's Figure 6. What the paper leaves open is written in RESULTS.md.    */
#define LSNN_IMPLEMENTATION
#include "../lsnn.h"
#include "app.h"
#include "models.h"

enum { BUILT_IN = 60000, FIGURE_ROWS = 5, MAPS = 16 };

/* Where digits come from: MNIST's four files, or drawn by the library.                */
typedef struct digits {
    lsnn_idx train_images, train_labels, test_images, test_labels;
} digits;

typedef struct experiment {
    app a;
    const char *task_name, *model, *figure, *optimizer, *load;
    int fresh, holdout, no_test;
    double decay;
    lsnn_task task;
    digits source;
    lsnn_idx data[4];                /* files of --data                           */
    lsnn_recipe train_recipe, test_recipe;
    lsnn_data train_all, train, valid, test;
} experiment;

static void draw_digits(lsnn_idx *images, lsnn_idx *labels, int count,
                        int test, uint64_t seed, unsigned char *room)
{
    lsnn_recipe r;
    memset(&r, 0, sizeof r);
    r.task = LSNN_TASK_DIGITS;
    r.seed = seed;
    r.test = test;
    r.count = count;
    images->rank = 3;
    images->dim[0] = count;
    images->dim[1] = images->dim[2] = 28;
    images->v = room;
    labels->rank = 1;
    labels->dim[0] = count;
    labels->v = room + (size_t)count * 784;
    for (int i = 0; i < count; i++)
        lsnn_recipe_draw(&r, 0, i, images->v + (size_t)i * 784, labels->v + i, NULL);
}

static lsnn_status read_file(experiment *e, lsnn_ctx *cx, const char *folder, const char *name,
                             lsnn_idx *a)
{
    char path[APP_PATH];
    if (!app_path(&e->a, path, folder, name)) return LSNN_EVALUE;
    return lsnn_idx_read(cx, a, path);
}

/* MNIST, or without --mnist the built-in digits, and a line that says so.            */
static lsnn_status get_digits(experiment *e, lsnn_ctx *cx)
{
    unsigned char *room;
    digits *d = &e->source;
    const char *folder = e->a.mnist;
    lsnn_status s = LSNN_OK;
    if (!folder) {
        int train = e->a.train ? e->a.train : BUILT_IN;
        int test = e->a.test ? e->a.test : BUILT_IN / 6;
        fprintf(stderr, "lsnn_mnist: no --mnist, so the digits are the built-in ones\n");
        room = (unsigned char *)malloc(((size_t)train + (size_t)test) * 785);
        if (!room) return LSNN_ENOMEM;
        draw_digits(&d->train_images, &d->train_labels, train, 0, e->a.seed, room);
        draw_digits(&d->test_images, &d->test_labels, test, 1, e->a.seed,
                    room + (size_t)train * 785);
        return LSNN_OK;
    }
    s = read_file(e, cx, folder, "train-images-idx3-ubyte", &d->train_images);
    if (s == LSNN_OK) s = read_file(e, cx, folder, "train-labels-idx1-ubyte", &d->train_labels);
    if (s == LSNN_OK) s = read_file(e, cx, folder, "t10k-images-idx3-ubyte", &d->test_images);
    if (s == LSNN_OK) s = read_file(e, cx, folder, "t10k-labels-idx1-ubyte", &d->test_labels);
    return s;
}

static lsnn_recipe recipe_of(const experiment *e, int test)
{
    lsnn_recipe r;
    memset(&r, 0, sizeof r);
    r.task = e->task;
    r.seed = e->a.seed;
    r.test = test;
    r.images = test ? &e->source.test_images : &e->source.train_images;
    r.labels = test ? &e->source.test_labels : &e->source.train_labels;
    r.crops = &e->source.train_images;
    r.fresh = e->fresh && !test;
    r.count = test ? e->a.test : e->a.train;
    return r;
}

/* Sets up the whole training and test sets, drawn here or read from --data.          */
static lsnn_status get_sets(experiment *e, lsnn_ctx *cx)
{
    static const char *const part[4] = { "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                         "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte" };
    lsnn_status s = LSNN_OK;
    if (!e->a.data) {
        s = get_digits(e, cx);
        e->train_recipe = recipe_of(e, 0);
        e->test_recipe = recipe_of(e, 1);
        if (s == LSNN_OK) s = lsnn_data_recipe(cx, &e->train_all, &e->train_recipe);
        if (s == LSNN_OK) s = lsnn_data_recipe(cx, &e->test, &e->test_recipe);
        return s;
    }
    for (int i = 0; i < 4 && s == LSNN_OK; i++) {
        char name[96];
        snprintf(name, sizeof name, "%.40s-%s", e->task_name, part[i]);
        s = read_file(e, cx, e->a.data, name, &e->data[i]);
    }
    if (s == LSNN_OK) s = lsnn_data_idx(cx, &e->train_all, &e->data[0], &e->data[1], 10);
    if (s == LSNN_OK) s = lsnn_data_idx(cx, &e->test, &e->data[2], &e->data[3], 10);
    return s;
}

static lsnn_status get_data(experiment *e, lsnn_ctx *cx)
{
    int count;
    lsnn_status s = get_sets(e, cx);
    if (s != LSNN_OK) return s;
    count = e->a.train && e->a.train < e->train_all.count ? e->a.train : e->train_all.count;
    if (e->a.train > e->train_all.count || e->a.test > e->test.count || e->holdout >= count) {
        app_refuse(&e->a,
                   "--train %d, --test %d, --holdout %d: there are %d training and %d test "
                   "images", e->a.train, e->a.test, e->holdout, e->train_all.count,
                   e->test.count);
        return LSNN_EVALUE;
    }
    s = lsnn_data_part(cx, &e->train, &e->train_all, 0, count - e->holdout);
    if (s == LSNN_OK && e->holdout)
        s = lsnn_data_part(cx, &e->valid, &e->train_all, count - e->holdout, e->holdout);
    if (s == LSNN_OK && e->a.test && e->a.test < e->test.count) e->test.count = e->a.test;
    return s;
}

static void free_data(experiment *e, lsnn_ctx *cx)
{
    lsnn_data_free(&e->valid);
    lsnn_data_free(&e->train);
    lsnn_data_free(&e->train_all);
    lsnn_data_free(&e->test);
    for (int i = 0; i < 4; i++) lsnn_idx_free(cx, &e->data[i]);
    if (!e->a.mnist) {
        free(e->source.train_images.v);        /* one block holds all four          */
        return;
    }
    lsnn_idx_free(cx, &e->source.train_images);
    lsnn_idx_free(cx, &e->source.train_labels);
    lsnn_idx_free(cx, &e->source.test_images);
    lsnn_idx_free(cx, &e->source.test_labels);
}

static lsnn_net *make_net(experiment *e, lsnn_ctx *cx)
{
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_shape in = lsnn_task_shape(e->task);
    lsnn_build_desc d;
    int x;
    memset(&d, 0, sizeof d);
    d.batch = e->a.batch;
    d.seed = e->a.seed;
    if (!net) return NULL;
    x = model_by_name(net, e->model, lsnn_input(net, in.c, in.h, in.w), 10);
    lsnn_cross_entropy(net, x, NULL);
    if (lsnn_net_build(net, &d) == LSNN_OK && model_lsnn_start(net, e->a.seed) == LSNN_OK)
        return net;
    lsnn_net_free(net);
    return NULL;
}

/* ---- What the smoothers look at ------------------------------------------------------*/
/* The maps of one batch, whether they differ from image to image or not.             */
typedef struct maps {
    lsnn_real *v;
    int h, w, per_image;
} maps;

static lsnn_status get_maps(lsnn_net *net, maps *m, int n)
{
    int rank, dim[4];
    lsnn_status s = lsnn_net_dims(net, "smooth1.map", &rank, dim);
    size_t count;
    if (s != LSNN_OK) return s;
    m->per_image = rank == 4;
    m->h = dim[rank - 2];
    m->w = dim[rank - 1];
    count = (size_t)(m->per_image ? n : 1) * MAPS * (size_t)m->h * (size_t)m->w;
    m->v = (lsnn_real *)malloc(count * sizeof *m->v);
    return m->v ? lsnn_net_get(net, "smooth1.map", m->v, count) : LSNN_ENOMEM;
}

/* Forwards test images [first, first + n) and gets their smoothers; x gets the images. */
static lsnn_status look(const experiment *e, lsnn_net *net, maps *m, lsnn_real *x, int *labels,
                        int first, int n)
{
    size_t size = (size_t)e->test.shape.h * (size_t)e->test.shape.w;
    lsnn_batch b;
    lsnn_status s;
    memset(&b, 0, sizeof b);
    memset(m, 0, sizeof *m);
    for (int i = 0; i < n; i++)
        e->test.fetch(e->test.user, 0, first + i, x + (size_t)i * size, labels + i, NULL);
    b.n = n;
    b.x = x;
    s = lsnn_forward(net, &b, 0, NULL);
    return s == LSNN_OK ? get_maps(net, m, n) : s;
}

static const lsnn_real *maps_of(const maps *m, int image)
{
    return m->v + (m->per_image ? (size_t)image * MAPS * (size_t)m->h * (size_t)m->w : 0);
}

static void blend_maps(const maps *m, int image, lsnn_real *blend)
{
    const lsnn_real *v = maps_of(m, image);
    size_t area = (size_t)m->h * (size_t)m->w;
    memset(blend, 0, area * sizeof *blend);
    for (int k = 0; k < MAPS; k++)
        for (size_t p = 0; p < area; p++) blend[p] += v[(size_t)k * area + p];
}

/* The share of the blended smoother's mass on the digit's box, over the test set, against
   the box's share of the positions. Position (i, j) is the middle of its 5x5 patch.  */
static lsnn_status print_focus(const experiment *e, lsnn_net *net)
{
    enum { BATCH = 50 };
    static lsnn_real x[BATCH * 42 * 42], blend[42 * 42];
    double share = 0, area = 0;
    int count = e->test.count, labels[BATCH], most = e->a.batch < BATCH ? e->a.batch : BATCH;
    for (int first = 0; first < count; first += most) {
        int n = count - first < most ? count - first : most;
        maps m;
        lsnn_status s = look(e, net, &m, x, labels, first, n);
        for (int i = 0; i < n && s == LSNN_OK; i++) {
            unsigned char pixels[42 * 42], label[8];
            lsnn_place box;
            double in = 0, all = 0, inside = 0;
            lsnn_recipe_draw(&e->test_recipe, 0, first + i, pixels, label, &box);
            blend_maps(&m, i, blend);
            for (int r = 0; r < m.h; r++)
                for (int c = 0; c < m.w; c++) {
                    int on = r + 2 >= box.y && r + 2 < box.y + box.h && c + 2 >= box.x &&
                             c + 2 < box.x + box.w;
                    all += (double)blend[r * m.w + c];
                    in += on ? (double)blend[r * m.w + c] : 0;
                    inside += on;
                }
            share += in / all;
            area += inside / (m.h * m.w);
        }
        free(m.v);
        if (s != LSNN_OK) return s;
    }
    printf("focus task=%s model=%s share=%.3f area=%.3f ratio=%.2f\n", e->task_name, e->model,
           share / count, area / count, share / area);
    return LSNN_OK;
}

/* One row of Figure 6: image, 16 smoothers, their blend above the red overlay.       */
static void draw_row(lsnn_image *im, int y, const lsnn_real *x, const maps *m, int image,
                     const char *text)
{
    static lsnn_real blend[42 * 42];
    double top = 0;
    blend_maps(m, image, blend);
    for (int p = 0; p < m->h * m->w; p++) if ((double)blend[p] > top) top = (double)blend[p];
    lsnn_image_map(im, 12, y, 4, x, 42, 42, 0, 1);
    lsnn_image_text(im, 12, y + 172, 1, 0x202020, text);
    lsnn_image_grid(im, 200, y, 1, maps_of(m, image), MAPS, m->h, m->w, 4, 5);
    lsnn_image_map(im, 388, y, 2, blend, m->h, m->w, 0, top);
    lsnn_image_map(im, 388, y + 84, 2, x, 42, 42, 0, 1);
    lsnn_image_overlay(im, 392, y + 88, 2, blend, m->h, m->w, 1.4 * top, 0xE02020);
}

static lsnn_status draw_figure(const experiment *e, lsnn_ctx *cx, lsnn_net *net)
{
    static lsnn_real x[FIGURE_ROWS * 42 * 42];
    int labels[FIGURE_ROWS], n = FIGURE_ROWS;
    lsnn_real score[FIGURE_ROWS * 10];
    lsnn_image im;
    maps m;
    lsnn_status s = lsnn_image_new(cx, &im, 490, 30 + n * 192, 0xFFFFFF);
    if (s != LSNN_OK) return s;
    if (n > e->test.count) n = e->test.count;
    if (n > e->a.batch) n = e->a.batch;
    s = look(e, net, &m, x, labels, 0, n);
    if (s == LSNN_OK) {
        lsnn_image_text(&im, 12, 10, 1, 0x202020, "image");
        lsnn_image_text(&im, 200, 10, 1, 0x202020, "16 smoothers");
        lsnn_image_text(&im, 388, 10, 1, 0x202020, "blend, overlay");
        for (int i = 0; i < n; i++) {
            char text[64];
            int best = 0;
            lsnn_predict(net, x + i * 42 * 42, 1, score);
            for (int k = 1; k < 10; k++) if (score[k] > score[best]) best = k;
            snprintf(text, sizeof text, "label %d, read as %d", labels[i], best);
            draw_row(&im, 24 + i * 192, x + i * 42 * 42, &m, i, text);
        }
        s = lsnn_image_save(cx, &im, e->figure);
        free(m.v);
    }
    lsnn_image_free(cx, &im);
    return s;
}

/* ---- The experiment ------------------------------------------------------------------*/
static lsnn_status train(experiment *e, lsnn_net *net)
{
    int steps = e->train.count / e->a.batch * e->a.epochs;
    lsnn_fit_desc d;
    memset(&d, 0, sizeof d);
    if (strcmp(e->optimizer, "sgd") == 0) {
        d.optimizer.lr = 0.05;
        d.optimizer.momentum = 0.9;
        d.optimizer.weight_decay = 5e-4;
    } else {
        d.optimizer.method = LSNN_ADAMW;
        d.optimizer.lr = 0.001;
        d.optimizer.weight_decay = 0.05;
    }
    if (e->decay >= 0) d.optimizer.weight_decay = e->decay;
    d.optimizer.warmup_steps = steps / 10 < 300 ? steps / 10 : 300;
    d.optimizer.schedule = LSNN_COSINE;
    d.valid = e->holdout ? &e->valid : NULL;
    return app_fit(&e->a, net, &e->train, &d);
}

static lsnn_status report(experiment *e, lsnn_ctx *cx, lsnn_net *net)
{
    app_outcome r;
    lsnn_score score;
    lsnn_status s = LSNN_OK;
    memset(&r, 0, sizeof r);
    memset(&score, 0, sizeof score);
    if (e->no_test) score.error = e->a.last.valid_error;
    else s = lsnn_evaluate(net, &e->test, &score);
    if (s == LSNN_OK && lsnn_net_node(net, "smooth1") >= 0 && !e->a.data && !e->no_test)
        s = print_focus(e, net);
    if (s == LSNN_OK && e->figure) s = draw_figure(e, cx, net);
    if (s == LSNN_EUNSUPPORTED) {              /* the message is out: go on without  */
        lsnn_clear(cx);
        s = LSNN_OK;
    }
    if (s != LSNN_OK) return s;
    r.task = e->task_name;
    r.model = e->model;
    r.error = score.error;
    r.train = e->train.count;
    r.test = e->no_test ? 0 : e->test.count;
    r.fresh = e->fresh;
    r.params = lsnn_net_params(net);
    r.seconds = e->a.last.seconds;
    r.images_per_s = e->a.last.images_per_s;
    app_result(&e->a, &r);
    return LSNN_OK;
}

static int run(experiment *e, lsnn_ctx *cx)
{
    static char save[APP_PATH];
    char name[96];
    lsnn_net *net = make_net(e, cx);
    lsnn_status s = net ? LSNN_OK : cx->status;
    if (net && e->a.summary) {
        app_summary(net, e->model);
        lsnn_net_free(net);
        return app_end(&e->a, LSNN_OK);
    }
    if (s == LSNN_OK && !e->a.save) {          /* so that Ctrl-C never loses a run   */
        snprintf(name, sizeof name, "%.40s-%.40s.safetensors", e->task_name, e->model);
        if (!app_make_folder(&e->a, e->a.out) || !app_path(&e->a, save, e->a.out, name))
            s = LSNN_EIO;
        e->a.save = save;
    }
    if (s == LSNN_OK) s = get_data(e, cx);
    if (e->load) e->a.epochs = 0;
    if (s == LSNN_OK && e->load) s = lsnn_net_read(net, e->load);
    else if (s == LSNN_OK) s = train(e, net);
    if (s == LSNN_OK) s = report(e, cx, net);
    free_data(e, cx);
    lsnn_net_free(net);
    lsnn_ctx_free(cx);
    return app_end(&e->a, s);
}

int main(int argc, char **argv)
{
    static lsnn_ctx cx;
    static experiment e;
    app_flag own[9];
    int status, n = 0;
    app_init(&e.a, "lsnn_mnist", "trains a network on a task of the LSNN paper",
             "--task cluttered --model lsnn-content --mnist data/mnist --epochs 10");
    e.a.epochs = 10;
    e.a.batch = 128;
    e.a.out = "out";
    e.task_name = "cluttered";
    e.model = "lsnn-content";
    e.optimizer = "sgd";
    e.decay = -1;                              /* 0.05 for adamw, 0.0005 for sgd    */
    own[n++] = app_choice("task", &e.task_name, "cluttered", "which data set");
    own[n++] = app_choice("model", &e.model, "cnn|lc|lsnn-location|lsnn-content",
                          "which network");
    own[n++] = app_choice("optimizer", &e.optimizer, "sgd|adamw", "how it learns");
    own[n++] = app_real("weight-decay", &e.decay, -1, 100, "on weights (-1: 0.05 for adamw, 0.0005 for sgd)");
    own[n++] = app_switch("fresh", &e.fresh, "new pictures in each epoch");
    own[n++] = app_int("holdout", &e.holdout, 0, 1000000, "last training images kept to watch");
    own[n++] = app_switch("no-test", &e.no_test,
                          "leave the test set alone: report the holdout");
    own[n++] = app_text("load", &e.load, "FILE", "do not train: take the parameters of FILE");
    own[n++] = app_text("figure", &e.figure, "FILE.png", "draw image, smoothers and overlay");
    status = app_parse(&e.a, argc, argv, own, n);
    if (status != APP_GO) return status;
    if (e.a.list) {
        printf("tasks: cluttered\nmodels: cnn lc lsnn-location lsnn-content\n");
        return 0;
    }
    if (e.a.data && (e.fresh || e.a.mnist))
        return app_refuse(&e.a,
                          "--data holds pictures that are drawn: it goes with neither --fresh "
                          "nor --mnist");
    if (e.no_test && !e.holdout)
        return app_refuse(&e.a, "--no-test needs --holdout N, or there is nothing to report");
    if (e.figure && strncmp(e.model, "lsnn", 4) != 0)
        return app_refuse(&e.a, "--figure: the model %s has no smoothers", e.model);
    e.task = lsnn_task_from_name(e.task_name);
    status = app_start(&e.a, &cx);
    if (status == APP_GO) status = app_can_write(&e.a, "figure", e.figure);
    if (status != APP_GO) return status;
    return run(&e, &cx);
}
