/* lsnn_mnist.c - the experiments of "Locally Smoothed Neural Networks" (section 5).

   Build: cc -O2 examples/lsnn_mnist.c -o examples/lsnn_mnist -lm
          (add -DLSNN_USE_ZLIB -lz to read MNIST's .gz files as they are)
   Run:   examples/lsnn_mnist --task cluttered --model lsnn-content --mnist DIR --epochs 10

   Trains a model of models.h on one of the paper's data sets, which is drawn while it
   trains: the same pictures in each epoch, or new ones with --fresh; --task digits takes
   MNIST's digits as they are. Labels may have more classes (EMNIST's letters). The test set is
   classified once, at the end (--focus and --strip look at its pictures before, and choose
   nothing); --holdout N watches the last N training images instead. --figure
   draws the paper's Figures 6 to 9, --strip how the smoothers move while they learn. What
   the paper leaves open is written in RESULTS.md. The net is saved after each epoch, as
   OUT/TASK-MODEL.safetensors unless --save names another file.                        */
#define LSNN_IMPLEMENTATION
#include "../lsnn.h"
#include "app.h"
#include "models.h"

enum { SIDE = 42, PIXELS = SIDE * SIDE, DIGITS = 10 };      /* at most */

typedef enum part { TRAIN, VALID, TEST, PARTS } part;

typedef struct experiment {
    app a;
    const char *task_name, *model, *optimizer, *load, *figure, *strip, *normalise, *bias,
        *padding;
    int fresh, holdout, no_test, focus;
    double decay;
    model_choice choice;
    lsnn_task task;
    int side, classes;               /* of its pictures, of their labels      */
    app_digits source;
    lsnn_idx file[4];                /* of pictures that lie in files         */
    lsnn_data whole;                 /* theirs: what TRAIN and VALID are cut from */
    lsnn_recipe recipe[PARTS];       /* of pictures that are drawn            */
    lsnn_data data[PARTS];
    part shown;                      /* what is reported on and drawn         */
    lsnn_image film;                 /* of --strip                            */
    int frames;                      /* of the film: drawn, or left out       */
    lsnn_net *net;
} experiment;

/* ---- The data ------------------------------------------------------------------------*/
/* At least ten, so that a few digits without a 9 are still digits.                   */
static int classes_of(const lsnn_idx *train_labels, const lsnn_idx *test_labels)
{
    const lsnn_idx *set[2] = { train_labels, test_labels };
    int most = DIGITS;
    for (int k = 0; k < 2; k++) {
        size_t count = set[k]->v ? 1 : 0;
        for (int i = 0; i < set[k]->rank; i++) count *= (size_t)set[k]->dim[i];
        for (size_t i = 0; i < count; i++) if (set[k]->v[i] >= most) most = set[k]->v[i] + 1;
    }
    return most;
}

/* Images of MNIST, or of --data, that --train and --test leave.                      */
static lsnn_status count_images(experiment *e, int train, int test, int count[PARTS])
{
    count[TEST] = e->a.test ? e->a.test : test;
    count[TRAIN] = e->a.train ? e->a.train : train;
    if (count[TRAIN] > train || count[TEST] > test || e->holdout >= count[TRAIN]) {
        app_refuse(&e->a, "--train %d, --test %d, --holdout %d: there are %d training and %d "
                   "test images", e->a.train, e->a.test, e->holdout, train, test);
        return LSNN_EVALUE;
    }
    count[VALID] = e->holdout;
    count[TRAIN] -= e->holdout;
    return LSNN_OK;
}

/* Pictures drawn while they are used. The held-out ones show none of the digits that
   training pictures show, and the reverse, but for crops of those in their clutter; --test N
   are the first N of all.                                                            */
static lsnn_status get_drawn(experiment *e, lsnn_ctx *cx)
{
    int count[PARTS], placed = e->task != LSNN_TASK_DIGITS;
    lsnn_status s = placed ? app_digits_get(&e->a, cx, &e->source) : LSNN_OK;
    if (s == LSNN_OK)
        s = count_images(e, placed ? e->source.train_images.dim[0] : e->a.train ? e->a.train
                                                                   : (int)APP_BUILT_IN,
                         placed ? e->source.test_images.dim[0] : e->a.test ? e->a.test
                                                               : APP_BUILT_IN / 6, count);
    e->classes = classes_of(&e->source.train_labels, &e->source.test_labels);
    e->source.crops = e->source.train_images;
    if (s == LSNN_OK && count[VALID]) e->source.crops.dim[0] = count[TRAIN];
    for (int p = TRAIN; p < PARTS && s == LSNN_OK; p++) {
        lsnn_recipe *r = &e->recipe[p];
        r->task = e->task;
        r->seed = e->a.seed;
        r->test = p == TEST;
        r->images = r->test ? &e->source.test_images : &e->source.train_images;
        r->labels = r->test ? &e->source.test_labels : &e->source.train_labels;
        r->crops = r->test ? &e->source.train_images : &e->source.crops;
        r->classes = e->classes;
        r->fresh = e->fresh && p == TRAIN;
        r->first = p == VALID ? count[TRAIN] : 0;
        r->count = r->test && placed ? 0 : count[p];
        if (count[p]) s = lsnn_data_recipe(cx, &e->data[p], r);
        if (s == LSNN_OK) e->data[p].count = count[p];
    }
    return s;
}

/* TASK-train-images-idx3-ubyte and so on of --data; MNIST's own files have no TASK-. */
static lsnn_status get_files(experiment *e, lsnn_ctx *cx)
{
    static const char *const part_name[2] = { "train", "t10k" };
    const char *folder = e->a.data ? e->a.data : e->a.mnist;
    int heads = e->choice.heads, count[PARTS];
    const lsnn_data *set[2] = { &e->whole, &e->data[TEST] };
    lsnn_status s = LSNN_OK;
    for (int i = 0; i < 4 && s == LSNN_OK; i++) {
        char name[96];
        snprintf(name, sizeof name, "%.40s%s%s-%s-idx%d-ubyte", e->a.data ? e->task_name : "",
                 e->a.data ? "-" : "", part_name[i / 2], i % 2 ? "labels" : "images",
                 i % 2 == 0 ? 3 : heads > 1 ? 2 : 1);
        s = app_read_idx(&e->a, cx, folder, name, &e->file[i]);
    }
    e->classes = classes_of(&e->file[1], &e->file[3]);
    if (s == LSNN_OK) s = lsnn_data_idx(cx, &e->whole, &e->file[0], &e->file[1], e->classes);
    if (s == LSNN_OK) s = lsnn_data_idx(cx, &e->data[TEST], &e->file[2], &e->file[3], e->classes);
    if (s != LSNN_OK) return s;
    for (int i = 0; i < 2; i++) {
        lsnn_shape shape = set[i]->shape;
        if (set[i]->heads == heads && shape.c == 1 && shape.h == e->side && shape.w == e->side)
            continue;
        app_refuse(&e->a, "%s, %s: %d labels a picture of %d x %d, %s has %d of %d x %d",
                   folder, part_name[i], set[i]->heads, shape.h, shape.w, e->task_name, heads,
                   e->side, e->side);
        return LSNN_ESHAPE;
    }
    s = count_images(e, e->whole.count, e->data[TEST].count, count);
    if (s == LSNN_OK) s = lsnn_data_part(cx, &e->data[TRAIN], &e->whole, 0, count[TRAIN]);
    if (s == LSNN_OK && count[VALID])
        s = lsnn_data_part(cx, &e->data[VALID], &e->whole, count[TRAIN], count[VALID]);
    if (s == LSNN_OK) e->data[TEST].count = count[TEST];
    return s;
}

static int from_files(const experiment *e)
{
    return e->a.data || (e->a.mnist && e->task == LSNN_TASK_DIGITS);
}

static void free_data(experiment *e, lsnn_ctx *cx)
{
    for (int p = TRAIN; p < PARTS; p++) lsnn_data_free(&e->data[p]);
    lsnn_data_free(&e->whole);
    for (int i = 0; i < 4; i++) lsnn_idx_free(cx, &e->file[i]);
    lsnn_image_free(cx, &e->film);
    app_digits_free(cx, &e->source);
}

static lsnn_net *make_net(experiment *e, lsnn_ctx *cx)
{
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_shape in = lsnn_task_shape(e->task);
    lsnn_build_desc d;
    int scores[LSNN_MAX_HEADS];
    memset(&d, 0, sizeof d);
    d.batch = e->a.batch;
    d.seed = e->a.seed;
    d.profile = e->a.profile;
    d.device = e->a.device;
    if (!net) return NULL;
    model_of_lsnn(net, e->model, lsnn_input(net, in.c, in.h, in.w), e->classes, &e->choice,
                  scores);
    for (int k = 0; k < e->choice.heads; k++) {        /* each digit its own error     */
        lsnn_options o = model_options(NULL);
        o.head = k;
        lsnn_cross_entropy(net, scores[k], &o);
    }
    if (lsnn_net_build(net, &d) == LSNN_OK &&
        model_lsnn_start(net, e->a.seed, &e->choice) == LSNN_OK) return net;
    lsnn_net_free(net);
    return NULL;
}

/* ---- What the smoothers look at ------------------------------------------------------*/
enum { LOOK = 50 };                  /* images a look: at most                        */

/* Some images, what the net reads in them, and its smoothers: for each group, and each
   image if they differ from image to image, `maps` maps of h x w.                    */
typedef struct sight {
    int n, side, classes, groups, images, maps, h, w;
    lsnn_real *u;
    lsnn_real x[LOOK * PIXELS];
    int labels[LOOK * LSNN_MAX_HEADS], read[LOOK * LSNN_MAX_HEADS];
} sight;

static lsnn_status get_maps(lsnn_net *net, sight *v)
{
    lsnn_status s = LSNN_OK;
    size_t count = 0;
    for (int g = 0; g < v->groups && s == LSNN_OK; g++) {
        char name[32];
        int rank, dim[4];
        snprintf(name, sizeof name, "smooth%d.map", g + 1);
        s = lsnn_net_dims(net, name, &rank, dim);
        if (s != LSNN_OK) return s;
        if (g == 0) {
            v->images = rank == 4 ? v->n : 1;
            v->maps = dim[rank - 3];
            v->h = dim[rank - 2];
            v->w = dim[rank - 1];
            count = (size_t)v->images * (size_t)v->maps * (size_t)v->h * (size_t)v->w;
            v->u = (lsnn_real *)malloc(count * (size_t)v->groups * sizeof *v->u);
            if (!v->u) return LSNN_ENOMEM;
        }
        s = lsnn_net_get(net, name, v->u + (size_t)g * count, count);
    }
    return s;
}

/* The class of each label's highest score.                                           */
static lsnn_status get_read(lsnn_net *net, sight *v)
{
    for (int g = 0; g < v->groups; g++) {
        static lsnn_real score[LOOK * 256];
        char name[32];
        lsnn_status s = lsnn_net_get(net, model_group(name, "dense2", g + 1), score,
                                     (size_t)v->n * (size_t)v->classes);
        if (s != LSNN_OK) return s;
        for (int i = 0; i < v->n; i++) {
            int *best = &v->read[i * v->groups + g];
            *best = 0;
            for (int k = 1; k < v->classes; k++)
                if (score[i * v->classes + k] > score[i * v->classes + *best]) *best = k;
        }
    }
    return LSNN_OK;
}

/* Images that a forward takes: this rank's share of a batch.                         */
static int room(const experiment *e)
{
    return e->a.ranks > 1 ? e->a.batch / e->a.ranks : e->a.batch;
}

/* Forwards images [first, first + n) of those that are shown.                        */
static lsnn_status look(const experiment *e, sight *v, int first, int n)
{
    const lsnn_data *data = &e->data[e->shown];
    lsnn_batch b;
    lsnn_status s;
    memset(&b, 0, sizeof b);
    v->u = NULL;
    v->n = n;
    v->side = e->side;
    v->classes = e->classes;
    v->groups = e->choice.heads;
    for (int i = 0; i < n; i++)
        data->fetch(data->user, 0, first + i, v->x + i * e->side * e->side,
                    v->labels + i * v->groups, NULL);
    b.n = n;
    b.x = v->x;
    b.labels = v->labels;            /* so that each label's scores are computed     */
    b.heads = v->groups;
    s = lsnn_forward(e->net, &b, 0, NULL);
    if (s == LSNN_OK) s = get_read(e->net, v);
    if (s == LSNN_OK) s = get_maps(e->net, v);
    if (s != LSNN_OK) {
        free(v->u);
        v->u = NULL;
    }
    return s;
}

static const lsnn_real *maps_of(const sight *v, int group, int image)
{
    int set = group * v->images + (v->images > 1 ? image : 0);
    return v->u + (size_t)set * (size_t)v->maps * (size_t)v->h * (size_t)v->w;
}

/* The mean of a group's maps.                                                        */
static void blend_maps(const sight *v, int group, int image, lsnn_real blend[PIXELS])
{
    const lsnn_real *u = maps_of(v, group, image);
    int area = v->h * v->w;
    memset(blend, 0, (size_t)area * sizeof *blend);
    for (int k = 0; k < v->maps; k++, u += area)
        for (int p = 0; p < area; p++) blend[p] += u[p] / (lsnn_real)v->maps;
}

/* Sums over images of the share of a blend's mass that lies on a box, and of the box's
   share of the positions. Position (i, j) is the middle of its patch.                */
typedef struct focus_sum { double share, area; } focus_sum;

static void add_focus(focus_sum *f, const sight *v, const lsnn_real *blend,
                      const lsnn_place *box)
{
    int edge = (v->side - v->h) / 2;
    double in = 0, all = 0, inside = 0;
    for (int r = 0; r < v->h; r++)
        for (int c = 0; c < v->w; c++) {
            int on = r + edge >= box->y && r + edge < box->y + box->h && c + edge >= box->x &&
                     c + edge < box->x + box->w;
            all += (double)blend[r * v->w + c];
            in += on ? (double)blend[r * v->w + c] : 0;
            inside += on;
        }
    f->area += inside / (v->h * v->w);
    f->share += all > 0 ? in / all : inside / (v->h * v->w);   /* all dark: as if even */
}

/* What a group looks at: the digit that it is to name; the other digits; that digit again,
   with the smoothers of the next image, which were not computed from it (of a batch of
   one there is no next: the same).                                                   */
enum { OWN, OTHERS, NEXT, FOCUSES };

static void print_focus_line(const experiment *e, const char *when, int digit, int count,
                             const focus_sum f[FOCUSES])
{
    printf("focus task=%s model=%s at=%s", e->task_name, e->model, when);
    if (digit) printf(" digit=%d", digit);
    printf(" share=%.3f area=%.3f ratio=%.2f", f[OWN].share / count, f[OWN].area / count,
           f[OWN].share / f[OWN].area);
    if (f[OTHERS].area > 0) printf(" others=%.2f", f[OTHERS].share / f[OTHERS].area);
    printf(" next=%.2f\n", f[NEXT].share / f[NEXT].area);
    fflush(stdout);                            /* a log has it if the run is cut off    */
}

/* Over the images that are shown: each group's focus where there are several, then their
   mean.                                                                              */
static lsnn_status print_focus(const experiment *e, const char *when)
{
    static sight v;
    focus_sum sum[LSNN_MAX_HEADS + 1][FOCUSES];
    int count = e->data[e->shown].count, groups = e->choice.heads;
    int most = room(e) < LOOK ? room(e) : LOOK, shown = lsnn_task_digits(e->task);
    memset(sum, 0, sizeof sum);
    for (int first = 0; first < count; first += most) {
        lsnn_status s = look(e, &v, first, count - first < most ? count - first : most);
        if (s != LSNN_OK) return s;
        for (int i = 0; i < v.n; i++) {
            unsigned char pixels[PIXELS], labels[LSNN_MAX_HEADS];
            lsnn_place box[LSNN_MAX_HEADS];
            lsnn_recipe_draw(&e->recipe[e->shown], 0, first + i, pixels, labels, box);
            for (int g = 0; g < groups; g++) {
                lsnn_real blend[PIXELS];
                blend_maps(&v, g, i, blend);
                for (int k = 0; k < shown; k++)
                    add_focus(&sum[g][k == g ? OWN : OTHERS], &v, blend, &box[k]);
                blend_maps(&v, g, (i + 1) % v.n, blend);
                add_focus(&sum[g][NEXT], &v, blend, &box[g]);
            }
        }
        free(v.u);
    }
    for (int g = 0; g < groups; g++) {
        if (groups > 1) print_focus_line(e, when, g + 1, count, sum[g]);
        for (int k = 0; k < FOCUSES; k++) {
            sum[groups][k].share += sum[g][k].share / groups;
            sum[groups][k].area += sum[g][k].area / groups;
        }
    }
    print_focus_line(e, when, 0, count, sum[groups]);
    return LSNN_OK;
}

/* ---- Figures ---------------------------------------------------------------------------*/
enum { INK = 0x202020, DETAILS = 3, EXAMPLE_ROWS = 2 };
enum { CELL = 196, SMALL = 94, DETAIL = 206, EXAMPLE = 196 };       /* pixels      */

/* Red, as in Figures 6 and 7; the groups of Figure 9 are blue, green and red.        */
static uint32_t colour_of(const sight *v, int group)
{
    static const uint32_t colour[3] = { 0x0838C0, 0x088818, 0xC01010 };
    return colour[v->groups == 1 ? 2 : group % 3];
}

/* Adds light of a colour, full where the map is 1: groups that overlap mix their colours,
   and ink stays white.                                                               */
static void add_light(lsnn_image *im, int x, int y, int scale, const lsnn_real *map, int h,
                      int w, uint32_t rgb)
{
    for (int i = 0; i < h * scale; i++)
        for (int j = 0; j < w * scale; j++) {
            unsigned char *p = im->rgb + 3 * ((size_t)(y + i) * (size_t)im->w +
                                              (size_t)(x + j));
            double v = (double)map[i / scale * w + j / scale];
            for (int c = 0; c < 3; c++) {
                double sum = p[c] + v * (double)(rgb >> (16 - 8 * c) & 255);
                p[c] = (unsigned char)(sum < 255 ? sum : 255);
            }
        }
}

static void draw_image(lsnn_image *im, int x, int y, int scale, const sight *v, int image)
{
    lsnn_image_map(im, x, y, scale, v->x + image * v->side * v->side, v->side, v->side, 0, 1);
}

/* Each group's blend in its colour over the image, or over black. Its mean, what a plain
   convolution has everywhere, is a third of full light: all pictures on one scale.   */
static void draw_overlay(lsnn_image *im, int x, int y, int scale, const sight *v, int image,
                         int on_image)
{
    int edge = (v->side - v->h) / 2 * scale;
    lsnn_image_rect(im, x, y, v->side * scale, v->side * scale, 0);
    if (on_image) draw_image(im, x, y, scale, v, image);
    for (int g = 0; g < v->groups; g++) {
        lsnn_real blend[PIXELS], mean = 0;
        int area = v->h * v->w;
        blend_maps(v, g, image, blend);
        for (int p = 0; p < area; p++) mean += blend[p] / (lsnn_real)area;
        for (int p = 0; p < area; p++)
            blend[p] = blend[p] < 3 * mean ? blend[p] / (3 * mean) : 1;
        add_light(im, x + edge, y + edge, scale, blend, v->h, v->w, colour_of(v, g));
    }
}

/* What the colours mean: a bar from none of a group's light to all of it, a line each. */
static void draw_key(lsnn_image *im, int x, int y, const sight *v)
{
    for (int g = 0; g < v->groups; g++, y += 12) {
        lsnn_real light[84];
        char text[80] = "where the smoothers look: 0 to 3 times their mean";
        for (int i = 0; i < 84; i++) light[i] = (lsnn_real)i / 83;
        lsnn_image_rect(im, x, y, 84, 8, 0);
        for (int i = 0; i < 8; i++) add_light(im, x, y + i, 1, light, 1, 84, colour_of(v, g));
        if (v->groups > 1)
            snprintf(text, sizeof text, "where those of digit %d look: 0 to 3 times their mean",
                     g + 1);
        lsnn_image_text(im, x + 92, y, 1, INK, text);
    }
}

/* "5 0 4 > 5 0 9": the labels, and what is read.                                     */
static void label_text(const sight *v, int image, char text[48])
{
    int n = 0;
    for (int side = 0; side < 2; side++)
        for (int g = 0; g < v->groups; g++)
            n += snprintf(text + n, (size_t)(48 - n), "%s%d", side && !g ? " > " : g ? " " : "",
                          (side ? v->read : v->labels)[image * v->groups + g]);
}

/* Figures 6 and 9: image, each group's 16 smoothers, their blend above the overlay.  */
static void draw_detail(lsnn_image *im, int y, const sight *v, int image)
{
    char text[48];
    int x = 12;
    label_text(v, image, text);
    lsnn_image_text(im, x, y, 1, INK, text);
    y += 12;
    draw_image(im, x, y, 4, v, image);
    for (int g = 0; g < v->groups; g++) {
        x += CELL;
        lsnn_image_grid(im, x, y, 1, maps_of(v, g, image), MODEL_MAPS, v->h, v->w, 4, 5);
        if (v->groups > 1)
            lsnn_image_rect(im, x, y + 4 * v->h + 18, 4 * v->w + 15, 4, colour_of(v, g));
    }
    x += CELL;
    draw_overlay(im, x, y, 2, v, image, 0);
    draw_overlay(im, x, y + 86, 2, v, image, 1);
}

/* Figures 7 and 8: more images, each above its overlay.                              */
static void draw_examples(lsnn_image *im, int y, const sight *v, int first, int columns)
{
    for (int i = first; i < v->n; i++) {
        int at = i - first, x = 12 + at % columns * SMALL, top = y + at / columns * EXAMPLE;
        char text[48];
        label_text(v, i, text);
        lsnn_image_text(im, x, top, 1, INK, text);
        draw_image(im, x, top + 12, 2, v, i);
        draw_overlay(im, x, top + 98, 2, v, i, 1);
    }
}

static lsnn_status draw_figure(const experiment *e, lsnn_ctx *cx)
{
    static sight v;
    int groups = e->choice.heads, width = 24 + (groups + 1) * CELL + 84, y = 24;
    int columns = (width - 12) / SMALL, n = DETAILS + EXAMPLE_ROWS * columns;
    int height = y + DETAILS * DETAIL + EXAMPLE_ROWS * EXAMPLE + 12 * groups + 8;
    lsnn_image im;
    lsnn_status s = lsnn_image_new(cx, &im, width, height, 0xFFFFFF);
    if (s != LSNN_OK) return s;
    if (n > e->data[e->shown].count) n = e->data[e->shown].count;
    if (n > room(e)) n = room(e);
    s = look(e, &v, 0, n);
    if (s == LSNN_OK) {
        lsnn_image_text(&im, 12, 10, 1, INK, "image: label > read");
        lsnn_image_text(&im, width - 12 - 84, 10, 1, INK, "blend, overlay");
        for (int g = 1; g <= groups; g++) {
            char title[48];
            int at = snprintf(title, sizeof title, v.maps > MODEL_MAPS ? "%d of %d smoothers"
                              : "%d smoothers", (int)MODEL_MAPS, v.maps);
            if (e->choice.mixture > 1)
                at += snprintf(title + at, sizeof title - (size_t)at, " of %d Gaussians",
                               e->choice.mixture);
            if (groups > 1) snprintf(title + at, sizeof title - (size_t)at, ", digit %d", g);
            lsnn_image_text(&im, 12 + g * CELL, 10, 1, INK, title);
        }
        for (int i = 0; i < DETAILS && i < n; i++, y += DETAIL) draw_detail(&im, y, &v, i);
        draw_examples(&im, y, &v, DETAILS, columns);
        draw_key(&im, 12, height - 12 * groups - 8, &v);
        free(v.u);
        s = lsnn_image_save(cx, &im, e->figure);
    }
    lsnn_image_free(cx, &im);
    return s;
}

/* ---- The strip: how the smoothers move ---------------------------------------------------
   Frames lie closer at the beginning, where they move most: at steps (f / 7)^2 of all. */
enum { FRAMES = 8, FRAME_IMAGES = 3, FRAME_CELL = 200 };

static double frame_step(int frame, double steps)
{
    double t = (double)frame / (FRAMES - 1);
    return floor(t * t * steps + 0.5);
}

static void draw_frame(experiment *e, double step)
{
    static sight v;
    int x = 10 + e->frames * FRAME_CELL, n = FRAME_IMAGES;
    char text[32];
    if (n > e->data[e->shown].count) n = e->data[e->shown].count;
    if (n > room(e)) n = room(e);
    if (look(e, &v, 0, n) != LSNN_OK) return;              /* the context keeps why    */
    snprintf(text, sizeof text, "step %.0f", step);
    lsnn_image_text(&e->film, x, 6, 1, INK, text);
    for (int i = 0; i < n; i++) {
        char labels[48];
        label_text(&v, i, labels);
        lsnn_image_text(&e->film, x, 22 + i * FRAME_CELL, 1, INK, labels);
        draw_overlay(&e->film, x, 34 + i * FRAME_CELL, 4, &v, i, 1);
    }
    for (int g = 0; g < v.groups; g++) {
        int y = 22 + (n + g) * FRAME_CELL;
        char title[48] = "top image's 16 smoothers";
        if (v.groups > 1) snprintf(title, sizeof title, "top image's smoothers, digit %d", g + 1);
        lsnn_image_text(&e->film, x, y, 1, INK, title);
        lsnn_image_grid(&e->film, x, y + 12, 1, maps_of(&v, g, 0), MODEL_MAPS, v.h, v.w, 4, 5);
    }
    draw_key(&e->film, 10, e->film.h - 12 * v.groups - 4, &v);
    free(v.u);
}

/* app.watch. A resumed run leaves out the frames of steps that are past.             */
static void watch_smoothers(const lsnn_progress *p, void *user)
{
    experiment *e = (experiment *)user;
    double done = (double)p->epoch * p->steps + p->step, all = (double)p->epochs * p->steps;
    for (; e->frames < FRAMES && frame_step(e->frames, all) <= done; e->frames++)
        if (frame_step(e->frames, all) == done) draw_frame(e, done);
}

static lsnn_status begin_strip(experiment *e, lsnn_ctx *cx)
{
    int rows = FRAME_IMAGES + e->choice.heads;
    lsnn_status s = lsnn_image_new(cx, &e->film, 10 + FRAMES * FRAME_CELL,
                                   30 + rows * FRAME_CELL + 12 * e->choice.heads, 0xFFFFFF);
    if (s != LSNN_OK) return s;
    e->a.watch = watch_smoothers;
    e->a.watch_user = e;
    if (!e->a.resume) draw_frame(e, 0);
    e->frames = 1;
    return cx->status;
}

/* ---- The experiment ------------------------------------------------------------------*/
static lsnn_status train(experiment *e)
{
    double steps = (double)(e->data[TRAIN].count / e->a.batch) * e->a.epochs;
    char note[80];                             /* a resume on other pictures is refused */
    lsnn_fit_desc d;
    memset(&d, 0, sizeof d);
    snprintf(note, sizeof note, "task=%s seed=%.0f fresh=%d data=%08x", e->task_name,
             (double)e->a.seed, e->fresh, app_data_mark(&e->data[TRAIN]));
    d.note = note;
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
    d.optimizer.warmup_steps = steps < 3000 ? (int)(steps / 10) : 300;
    d.optimizer.schedule = LSNN_COSINE;
    d.valid = e->holdout ? &e->data[VALID] : NULL;
    return app_fit(&e->a, e->net, &e->data[TRAIN], &d);
}

/* The focus where smoothers and boxes are known; LSNN_OK without a line where not.   */
static lsnn_status focus(const experiment *e, const char *when)
{
    if (lsnn_net_node(e->net, "smooth1") < 0 || e->a.data || e->task == LSNN_TASK_DIGITS)
        return LSNN_OK;
    return print_focus(e, when);
}

static void print_result(const experiment *e, const lsnn_score *score)
{
    app_outcome r;
    memset(&r, 0, sizeof r);
    r.task = e->task_name;
    r.model = e->model;
    r.error = score->error;
    r.whole_error = score->whole_error;
    r.heads = e->choice.heads;
    r.train = e->data[TRAIN].count;
    r.test = e->no_test ? 0 : e->data[TEST].count;
    r.fresh = e->fresh;
    r.params = lsnn_net_params(e->net);
    r.seconds = e->a.last.seconds;
    r.images_per_s = e->a.last.images_per_s;
    if (r.heads > 1) {
        printf("digits task=%s model=%s", e->task_name, e->model);
        for (int k = 0; k < r.heads; k++) printf(" error%d=%.2f", k + 1, score->head_error[k]);
        printf("\n");
    }
    if (e->a.profile) lsnn_net_profile(e->net, stdout);
    app_result(&e->a, &r);
}

static lsnn_status report(const experiment *e, lsnn_ctx *cx)
{
    lsnn_score score;
    lsnn_status s;
    memset(&score, 0, sizeof score);
    s = lsnn_evaluate(e->net, &e->data[e->shown], &score);
    if (s == LSNN_OK) s = focus(e, "end");
    if (s == LSNN_OK) print_result(e, &score);
    if (s == LSNN_OK && e->strip && !e->load) s = lsnn_image_save(cx, &e->film, e->strip);
    if (s == LSNN_OK && e->figure) s = draw_figure(e, cx);
    if (s == LSNN_EUNSUPPORTED) {              /* the message is out: go on without  */
        lsnn_clear(cx);
        s = LSNN_OK;
    }
    return s;
}

static int run(experiment *e, lsnn_ctx *cx)
{
    lsnn_status s = e->a.summary ? LSNN_OK : from_files(e) ? get_files(e, cx) : get_drawn(e, cx);
    if (s == LSNN_OK && !(e->net = make_net(e, cx))) s = cx->status;
    if (e->load) e->a.epochs = 0;
    if (s == LSNN_OK && e->a.summary) app_summary(e->net, e->model);
    else if (s == LSNN_OK && e->load) s = lsnn_net_read(e->net, e->load);
    else if (s == LSNN_OK) {
        if (e->focus && !e->a.resume) s = focus(e, "start");
        if (s == LSNN_OK && e->strip) s = begin_strip(e, cx);
        if (s == LSNN_OK) s = train(e);
    }
    if (s == LSNN_OK && !e->a.summary) s = report(e, cx);
    free_data(e, cx);
    lsnn_net_free(e->net);
    lsnn_ctx_free(cx);
    return app_end(&e->a, s);
}

/* ---- Flags -----------------------------------------------------------------------------*/
/* What an ablation of the kernels and the smoother varies.                           */
static int choice_flags(experiment *e, app_flag *own)
{
    model_choice *c = &e->choice;
    int n = 0;
    e->normalise = "mean";
    e->bias = "outside";
    e->padding = "valid";
    own[n++] = app_int("kernel1", &c->kernel1, 1, 21, "side of the first layer's kernels");
    own[n++] = app_int("kernel2", &c->kernel2, 1, 21, "side of the second layer's kernels");
    own[n++] = app_choice("padding", &e->padding, "valid|same", "of both layers");
    own[n++] = app_choice("normalise", &e->normalise, "none|sum|mean", "what U is divided by");
    own[n++] = app_choice("bias", &e->bias, "inside|outside", "U (X V + b) or U (X V) + b");
    own[n++] = app_real("mu-range", &c->mu_range, -1, 10,
                        "mu begins in 0.5 -+ X (-1: 0.3; lsnn-content 0.1)");
    own[n++] = app_real("alpha-start", &c->alpha, -1, 1000,
                        "alpha and beta begin at X (-1: 1.5; lsnn-content 3)");
    own[n++] = app_int("rank", &c->rank, 1, 64, "kernels and smoothers a map");
    own[n++] = app_int("mixture", &c->mixture, 1, 64, "Gaussians a smoother");
    own[n++] = app_int("separable", &c->separable, 0, 1, "1: Phi without gamma");
    own[n++] = app_real("param-lr", &c->param_lr, -1, 1000,
                        "their rate, times --lr (-1: 0.1; lsnn-content 1, on sequence 0.3)");
    return n;
}

static int check_flags(experiment *e)
{
    model_choice usual = model_defaults(), *c = &e->choice;
    int smoothed = strncmp(e->model, "lsnn", 4) == 0, changed;
    c->bias_inside = strcmp(e->bias, "inside") == 0;
    c->same = strcmp(e->padding, "same") == 0;
    c->normalise = strcmp(e->normalise, "none") == 0 ? LSNN_NORMALISE_NONE
                 : strcmp(e->normalise, "sum") == 0 ? LSNN_NORMALISE_SUM : LSNN_NORMALISE_MEAN;
    changed = c->normalise != usual.normalise || c->bias_inside || c->rank > 1 ||
              c->mixture > 1 || c->separable || c->mu_range >= 0 || c->alpha >= 0 ||
              c->param_lr >= 0;
    if ((c->mu_range > -1 && c->mu_range < 0) || (c->alpha > -1 && c->alpha < 0) ||
        (c->param_lr > -1 && c->param_lr < 0) || (e->decay > -1 && e->decay < 0))
        return app_refuse(&e->a, "--mu-range, --alpha-start, --param-lr, --weight-decay: -1 or "
                          "at least 0");
    if (c->param_lr >= 0 && c->param_lr < 1e-9)
        return app_refuse(&e->a, "--param-lr must be above 0");
    if (e->a.data && (e->fresh || e->a.mnist))
        return app_refuse(&e->a,
                          "--data holds pictures that are drawn: it goes with neither --fresh "
                          "nor --mnist");
    if (e->task == LSNN_TASK_DIGITS && ((e->a.mnist && e->fresh) || e->focus))
        return app_refuse(&e->a, "--task digits: MNIST's are not drawn, and they fill their "
                          "pictures: neither --fresh nor --focus goes with it");
    if (e->no_test && !e->holdout)
        return app_refuse(&e->a, "--no-test needs --holdout N, or there is nothing to report");
    if ((e->figure || e->strip || e->focus || changed) && !smoothed)
        return app_refuse(&e->a, "--%s: the model %s has no smoothers", e->figure ? "figure" :
                          e->strip ? "strip" : e->focus ? "focus" : "rank and the like", e->model);
    if (e->focus && e->a.data)
        return app_refuse(&e->a, "--focus: --data does not say where its digits lie: use "
                          "--mnist");
    if (e->load && (e->strip || e->a.save || e->a.resume || e->a.log || e->fresh || e->a.lr > 0 ||
                    e->decay >= 0 || strcmp(e->optimizer, "sgd") != 0))
        return app_refuse(&e->a, "--load does not train: --%s does not go with it",
                          e->strip ? "strip" : e->a.save ? "save" : e->a.resume ? "resume" :
                          e->a.log ? "log" : e->fresh ? "fresh" : e->a.lr > 0 ? "lr" :
                          e->decay >= 0 ? "weight-decay" : "optimizer");
    return APP_GO;
}

int main(int argc, char **argv)
{
    static lsnn_ctx cx;
    static experiment e;
    app_flag own[28];
    char name[96];
    int status, n = 0;
    app_init(&e.a, "lsnn_mnist", "trains a network on a task of the LSNN paper",
             "--task cluttered --model lsnn-content --mnist data/mnist --epochs 10");
    e.a.epochs = 10;
    e.a.batch = 64;
    e.a.out = "out";
    e.task_name = "cluttered";
    e.model = "lsnn-content";
    e.optimizer = "sgd";
    e.decay = -1;                              /* 0.05 for adamw, 0.0005 for sgd    */
    e.choice = model_defaults();
    own[n++] = app_choice("task", &e.task_name, "digits|cluttered|arrow|rectangle|sequence",
                          "which data set");
    own[n++] = app_choice("model", &e.model, "cnn|lc|lsnn-location|lsnn-content",
                          "which network");
    own[n++] = app_choice("optimizer", &e.optimizer, "sgd|adamw", "how it learns");
    own[n++] = app_real("weight-decay", &e.decay, -1, 100,
                        "on weights (-1: 0.05 for adamw, 0.0005 for sgd)");
    own[n++] = app_switch("fresh", &e.fresh, "new pictures in each epoch");
    own[n++] = app_int("holdout", &e.holdout, 0, 1000000, "last training images kept to watch");
    own[n++] = app_switch("no-test", &e.no_test,
                          "leave the test set alone: report the holdout");
    own[n++] = app_text("load", &e.load, "FILE", "do not train: take the parameters of FILE");
    own[n++] = app_text("figure", &e.figure, "FILE.png", "draw images, smoothers and overlays");
    own[n++] = app_text("strip", &e.strip, "FILE.png", "draw how the smoothers move");
    own[n++] = app_switch("focus", &e.focus, "print the focus, before training too");
    n += choice_flags(&e, own + n);
    status = app_parse(&e.a, argc, argv, own, n);
    if (status != APP_GO) return status;
    if (e.a.list) {
        printf("tasks: digits cluttered arrow rectangle sequence\n"
               "models: cnn lc lsnn-location lsnn-content\n");
        return app_end(&e.a, LSNN_OK);
    }
    e.task = lsnn_task_from_name(e.task_name);
    status = check_flags(&e);
    if (status != APP_GO) return status;
    e.side = lsnn_task_shape(e.task).h;
    e.classes = DIGITS;
    e.choice.heads = lsnn_task_heads(e.task);
    e.shown = e.no_test ? VALID : TEST;
    status = app_start(&e.a, &cx);
    snprintf(name, sizeof name, "%.40s-%.40s", e.task_name, e.model);
    if (status == APP_GO) status = app_input(&e.a, "load", e.load);
    if (status == APP_GO && !e.load) status = app_default_save(&e.a, name);
    if (status == APP_GO) status = app_picture(&e.a, "figure", e.figure);
    if (status == APP_GO) status = app_picture(&e.a, "strip", e.strip);
    if (status != APP_GO) return status;
    return run(&e, &cx);
}
