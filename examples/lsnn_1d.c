/* lsnn_1d.c - smoothers in one dimension (sections 3.1, 3.2 and 4.2 of the LSNN paper), on
   signals where it matters where one looks.

   Each signal is noise with short waves in it, of four kinds. What is to be named:
       place    the kind of the wave on the left; another kind is on the right
       pointer  the kind of the one that a ramp in the middle points to: it rises to the right
       ends     which of kinds 0, 1 and which of 2, 3 are at the ends, on either side;
                a wave in the middle is to be left out
   The networks average over the signal at their end, so that the plain one cannot know where
   a wave was. Smoothers of their own (lsnn-location) learn a place, smoothers that a small
   network computes from the signal (lsnn-content) learn what tells the place, and mixtures of
   Gaussians (--mixture 3) look at both ends and not between them.

   Build: cc -O2 examples/lsnn_1d.c -o examples/lsnn_1d -lm
   Run:   examples/lsnn_1d --task pointer --model lsnn-content --figure smoothers.png    */
#define LSNN_IMPLEMENTATION
#include "../lsnn.h"
#include "app.h"

enum { LENGTH = 128, WAVE = 16, KINDS = 4, KERNELS = 8, PATCH = 9, ROWS = 4, MOST = 8 };

/* ---- The tasks ---------------------------------------------------------------------------*/
typedef struct signals {
    const char *task;
    int test;
    uint64_t seed;
} signals;
typedef struct answer {
    int label, at[2], count;         /* where the waves that count begin, and how many      */
} answer;

/* Adds a wave of a kind and of random height.                                              */
static void add_wave(lsnn_real *x, int at, int kind, lsnn_rng *r)
{
    const double pi = 3.14159265358979323846;
    double height = 0.7 + 0.6 * lsnn_rng_uniform(r);
    for (int i = 0; i < WAVE; i++) {
        double t = pi * (i + 0.5) / (double)WAVE;
        double v = kind == 0 ? sin(2 * t) : kind == 1 ? -sin(2 * t)
                 : kind == 2 ? 1.4 * sin(t) : 1.4 * fabs(sin(2 * t));
        x[at + i] += (lsnn_real)(height * v);
    }
}

/* Writes signal number `index`.                                                            */
static answer draw_signal(const signals *s, int index, lsnn_real *x)
{
    lsnn_rng r = lsnn_rng_at(s->seed, s->test ? "test" : "train", s->task, 0, (uint32_t)index);
    int at[2], kind[2], ends = strcmp(s->task, "ends") == 0, side;
    answer a;
    for (int i = 0; i < LENGTH; i++) x[i] = (lsnn_real)(0.25 * lsnn_rng_normal(&r));
    at[0] = 8 + lsnn_rng_int(&r, 28);
    at[1] = LENGTH - WAVE - 8 - lsnn_rng_int(&r, 28);
    side = lsnn_rng_int(&r, 2);
    kind[side] = lsnn_rng_int(&r, ends ? 2 : (int)KINDS);
    kind[!side] = ends ? 2 + lsnn_rng_int(&r, 2)
                       : (kind[side] + 1 + lsnn_rng_int(&r, KINDS - 1)) % KINDS;
    for (int i = 0; i < 2; i++) add_wave(x, at[i], kind[i], &r);
    if (ends) add_wave(x, 48 + lsnn_rng_int(&r, 16), lsnn_rng_int(&r, KINDS), &r);
    if (strcmp(s->task, "place") == 0) side = 0;
    for (int i = 0; i < WAVE && strcmp(s->task, "pointer") == 0; i++) {
        double ramp = (i + 0.5) / (double)WAVE - 0.5;
        x[(LENGTH - WAVE) / 2 + i] += (lsnn_real)(side ? 3 * ramp : -3 * ramp);
    }
    a.label = ends ? 2 * kind[side] + kind[!side] - 2 : kind[side];
    a.at[0] = at[side];
    a.at[1] = at[!side];
    a.count = ends ? 2 : 1;
    return a;
}

static void fetch(const void *user, uint32_t epoch, int index, lsnn_real *x, int *labels,
                  lsnn_real *targets)
{
    answer a = draw_signal((const signals *)user, index, x);
    (void)epoch;
    (void)targets;
    if (labels) *labels = a.label;
}

static lsnn_data data_of(const signals *s, int count)
{
    lsnn_data d;
    memset(&d, 0, sizeof d);
    d.count = count;
    d.shape.c = d.shape.h = 1;
    d.shape.w = LENGTH;
    d.heads = 1;
    d.classes = KINDS;
    d.fetch = fetch;
    d.user = s;
    return d;
}

/* ---- The networks ------------------------------------------------------------------------*/
typedef struct experiment {
    app a;
    const char *task, *model, *figure;
    int mixture, rank;
} experiment;

static lsnn_options option(const char *name)
{
    lsnn_options o;
    memset(&o, 0, sizeof o);
    o.name = name;
    return o;
}

static int numbers_a_map(const experiment *e)
{
    lsnn_smoother s;
    memset(&s, 0, sizeof s);
    s.shape = LSNN_GAUSSIAN_1D;
    s.mixture = e->mixture;
    return lsnn_smoother_theta(&s);
}

/* The parameter network: mu and alpha (and logits) of every map from the signal.           */
static int theta_of(lsnn_net *net, int signal, int count)
{
    lsnn_options p1 = option("param1"), p2 = option("param2"), row = option(NULL);
    int x;
    row.kernel_h = 1;
    p1.lr_factor = p2.lr_factor = 0.1;                       /* section 3.3          */
    p2.init_scale = 0.1;
    x = lsnn_relu(net, lsnn_conv1d(net, signal, 8, 15, &p1), NULL);
    return lsnn_dense(net, lsnn_max_pool(net, x, 6, &row), count, &p2);
}

static lsnn_net *make_net(const experiment *e, lsnn_ctx *cx)
{
    lsnn_options conv1 = option("conv1"), smooth1 = option("smooth1"), conv2 = option("conv2");
    lsnn_options dense1 = option("dense1"), row = option(NULL);
    lsnn_build_desc d = app_build(&e->a);
    lsnn_net *net = lsnn_net_new(cx);
    int maps = KERNELS * e->rank, signal = lsnn_input(net, 1, 1, LENGTH), x;
    int theta = LSNN_FREE;
    if (strcmp(e->model, "lsnn-content") == 0)
        theta = theta_of(net, signal, maps * numbers_a_map(e));
    row.kernel_h = 1;
    conv1.no_bias = strcmp(e->model, "cnn") != 0;
    smooth1.smooth_shape = LSNN_GAUSSIAN_1D;
    smooth1.normalise = LSNN_NORMALISE_MEAN;
    smooth1.mixture = e->mixture;
    smooth1.rank = e->rank;
    if (theta == LSNN_FREE) smooth1.lr_factor = 0.1;
    x = lsnn_conv1d(net, signal, conv1.no_bias ? maps : (int)KERNELS, PATCH, &conv1);
    if (conv1.no_bias) x = lsnn_smooth(net, x, theta, &smooth1);
    x = lsnn_max_pool(net, lsnn_relu(net, x, NULL), 2, &row);
    x = lsnn_relu(net, lsnn_conv1d(net, x, 16, 5, &conv2), NULL);
    x = lsnn_dense(net, lsnn_avg_pool(net, x, 0, NULL), KINDS, &dense1);
    lsnn_cross_entropy(net, x, NULL);
    if (lsnn_net_build(net, &d) == LSNN_OK) return net;
    lsnn_net_free(net);
    return NULL;
}

/* A parameter network begins where free smoothers do: mu in [0.2, 0.8], alpha 1.5.        */
static lsnn_status start(const experiment *e, lsnn_net *net)
{
    lsnn_rng r = lsnn_rng_at(e->a.seed, "start", "param2.bias", 0, 0);
    int group = e->mixture > 1 ? 3 : 2;                      /* mu, alpha, logit     */
    int count = KERNELS * e->rank * numbers_a_map(e);
    lsnn_real bias[KERNELS * MOST * MOST * 3];
    if (strcmp(e->model, "lsnn-content") != 0) return LSNN_OK;
    for (int i = 0; i < count; i++)
        bias[i] = (lsnn_real)(i % group == 0 ? 0.2 + 0.6 * lsnn_rng_uniform(&r)
                                             : i % group == 1 ? 1.5 : 0);
    return lsnn_net_set(net, "param2.bias", bias, (size_t)count);
}

/* ---- The figure --------------------------------------------------------------------------*/
/* v[0..n) as a curve over x in [left, left + width], 0 at height y, `scale` pixels a unit. */
static void draw_curve(lsnn_image *im, int left, int width, double y, double scale,
                       const lsnn_real *v, int n, double thickness, uint32_t rgb)
{
    for (int i = 0; i + 1 < n; i++)
        lsnn_image_line(im, left + (double)width * i / (n - 1), y - scale * (double)v[i],
                        left + (double)width * (i + 1) / (n - 1), y - scale * (double)v[i + 1],
                        thickness, rgb);
}

enum { SIGNAL = 0x606060, COUNTS = 0xE4E4E4 };
static uint32_t colour_of(int smoother)
{
    static const uint32_t colour[8] = { 0xD62728, 0x1F77B4, 0x2CA02C, 0xFF7F0E, 0x9467BD,
                                        0x17BECF, 0xE377C2, 0x8C564B };
    return colour[smoother % 8];
}

static void draw_key(lsnn_image *im, int y, int count)
{
    int x = 10;
    lsnn_image_rect(im, x, y + 3, 18, 2, SIGNAL);
    x += 24 + lsnn_image_text(im, x + 24, y, 1, 0x202020, "signal") + 24;
    lsnn_image_rect(im, x, y, 18, 8, COUNTS);
    x += 24 + lsnn_image_text(im, x + 24, y, 1, 0x202020, "what counts") + 24;
    for (int k = 0; k < count && k < 8; k++, x += 20)
        lsnn_image_rect(im, x, y + 3, 18, 2, colour_of(k));
    lsnn_image_text(im, x + 4, y, 1, 0x202020, count > 8 ? "smoothers, and so on" : "smoothers");
}

/* A row under its label: the signal, the waves that count on grey, and over them the smoothers,
   all to one scale. Patch i of the first layer is drawn at its middle.                     */
static void draw_row(lsnn_image *im, int y, const lsnn_real *x, const lsnn_real *maps,
                     int count, answer a, const char *text)
{
    const int left = 10, step = 5, places = LENGTH - PATCH + 1;
    double top = 0;
    for (int i = 0; i < count * places; i++) if ((double)maps[i] > top) top = (double)maps[i];
    lsnn_image_text(im, left, y, 1, 0x202020, text);
    y += 12;
    for (int i = 0; i < a.count; i++)
        lsnn_image_rect(im, left + a.at[i] * step, y, WAVE * step, 120, COUNTS);
    draw_curve(im, left, (LENGTH - 1) * step, y + 60, 22, x, LENGTH, 1.5, SIGNAL);
    for (int k = 0; k < count; k++)
        draw_curve(im, left + PATCH / 2 * step, (places - 1) * step, y + 118, 110 / top,
                   maps + k * places, places, 1.2, colour_of(k));
}

static lsnn_status draw_figure(const experiment *e, lsnn_ctx *cx, lsnn_net *net,
                               const signals *test)
{
    int count = KERNELS * e->rank, rows = e->a.test < ROWS ? e->a.test : (int)ROWS;
    size_t size = (size_t)count * (LENGTH - PATCH + 1);
    lsnn_real *maps = (lsnn_real *)malloc(size * sizeof *maps), x[LENGTH], score[KINDS];
    lsnn_image im;
    lsnn_status s = maps ? lsnn_image_new(cx, &im, LENGTH * 5 + 20, 46 + rows * 146, 0xFFFFFF)
                         : LSNN_ENOMEM;
    char text[128];
    if (s != LSNN_OK) { free(maps); return s; }
    snprintf(text, sizeof text, "task %s, %s: %d smoothers of %d Gaussian%s", e->task, e->model,
             count, e->mixture, e->mixture > 1 ? "s" : "");
    lsnn_image_text(&im, 10, 8, 1, 0x202020, text);
    draw_key(&im, 24, count);
    for (int i = 0; i < rows && s == LSNN_OK; i++) {
        int best = 0;
        answer a = draw_signal(test, i, x);
        s = lsnn_predict(net, x, 1, score);
        if (s == LSNN_OK) s = lsnn_net_get(net, "smooth1.map", maps, size);
        for (int k = 1; k < KINDS; k++) if (score[k] > score[best]) best = k;
        snprintf(text, sizeof text, "label %d, read as %d", a.label, best);
        if (s == LSNN_OK) draw_row(&im, 44 + i * 146, x, maps, count, a, text);
    }
    if (s == LSNN_OK) s = lsnn_image_save(cx, &im, e->figure);
    lsnn_image_free(cx, &im);
    free(maps);
    return s;
}

/* ---- The run -----------------------------------------------------------------------------*/
static lsnn_status run(experiment *e, lsnn_ctx *cx, lsnn_net *net)
{
    signals seen, unseen;
    lsnn_data train, test;
    lsnn_fit_desc d;
    lsnn_score score;
    app_outcome r;
    lsnn_status s;
    char note[80];
    memset(&d, 0, sizeof d);
    memset(&score, 0, sizeof score);
    memset(&r, 0, sizeof r);
    seen.task = e->task;
    seen.seed = e->a.seed;
    seen.test = 0;
    unseen = seen;
    unseen.test = 1;
    train = data_of(&seen, e->a.train);
    test = data_of(&unseen, e->a.test);
    d.optimizer.method = LSNN_ADAM;
    d.optimizer.schedule = LSNN_COSINE;
    snprintf(note, sizeof note, "task=%s seed=%.0f", e->task, (double)e->a.seed);
    d.note = note;
    s = app_fit(&e->a, net, &train, &d);
    if (s == LSNN_OK) s = lsnn_evaluate(net, &test, &score);
    if (s != LSNN_OK) return s;
    r.task = e->task;
    r.model = e->model;
    r.error = score.error;
    r.train = e->a.train;
    r.test = e->a.test;
    app_result(&e->a, net, &r);
    return e->figure ? draw_figure(e, cx, net, &unseen) : LSNN_OK;
}

int main(int argc, char **argv)
{
    static lsnn_ctx cx;
    static experiment e;
    app_flag own[5];
    lsnn_net *net;
    lsnn_status s;
    int status, n = 0;
    app_init(&e.a, "lsnn_1d", "one-dimensional smoothers on signals",
             "--task pointer --model lsnn-content --figure smoothers.png");
    e.a.takes = "seed epochs batch lr threads train test log save save-every resume quiet list "
                "summary profile";
    e.a.threads = 1;                           /* too little work to share     */
    e.a.epochs = 40;
    e.a.batch = 32;
    e.a.lr = 0.005;
    e.a.train = 4000;
    e.a.test = 2000;
    e.task = "pointer";
    e.model = "lsnn-content";
    e.mixture = e.rank = 1;
    own[n++] = app_choice("task", &e.task, "place|pointer|ends", "which waves count");
    own[n++] = app_choice("model", &e.model, "cnn|lsnn-location|lsnn-content", "which network");
    own[n++] = app_int("mixture", &e.mixture, 1, MOST, "Gaussians a smoother");
    own[n++] = app_int("rank", &e.rank, 1, MOST, "smoothers a kernel");
    own[n++] = app_draw_flag("figure", &e.figure, "FILE.png", "draw signals and smoothers");
    status = app_parse(&e.a, argc, argv, own, n);
    if (status != APP_GO) return status;
    if (strcmp(e.model, "cnn") == 0 && (e.figure || e.mixture > 1 || e.rank > 1))
        return app_refuse(&e.a, "--figure, --mixture, --rank: the model cnn has no smoothers");
    status = app_start(&e.a, &cx);
    if (status != APP_GO) return status;
    net = make_net(&e, &cx);
    s = net ? start(&e, net) : cx.status;
    if (s == LSNN_OK && e.a.summary) app_summary(net, e.model);
    else if (s == LSNN_OK) s = run(&e, &cx, net);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    return app_end(&e.a, s);
}
