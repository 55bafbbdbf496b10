/* locally_connected.c - kernels that know their place: locally connected layers and relatives.

   Build: cc -O2 examples/locally_connected.c -o examples/locally_connected -lm
          (add -DLSNN_USE_ZLIB -lz to read MNIST's .gz files as they are)
   Run:   examples/locally_connected --task signs --model local --data DIR --epochs 10

   From "Understanding Locally Connected Layers in Convolutional Neural Networks" (Prateek
   Joshi, 2016). One network, five ways for its first layer of 16 kernels 5x5: conv shares them
   over all places; local has kernels of its own at each place (--start alike: they begin as a
   convolution's; --from NET: as those of a trained conv); lowrank mixes --banks shared sets at
   each place; lsnn multiplies a shared kernel's map by a smoother; deepface is DeepFace's
   shape, with three local layers, at a reduced size. signs: GTSRB's 43 traffic signs, centred,
   from the packed records in --data; cluttered: LSNN's digits at any place. --counts prints the
   blog's counts, and DeepFace at full size; --filters OUT.png draws a kernel at many places. */
#define LSNN_IMPLEMENTATION
#include "../lsnn.h"
#include "app.h"
#include "models.h"
#include "task.h"
#include "filters.h"

typedef struct experiment {
    app a;
    const char *model, *start, *from, *filters;
    int counts, signs;
    model_choice choice;
    task_sets task;
    lsnn_net *net;
} experiment;

/* ---- The network -----------------------------------------------------------------------*/
/* The names of models.h.                                                              */
static const char *model_of(const experiment *e)
{
    return strcmp(e->model, "conv") == 0 ? "cnn" : strcmp(e->model, "local") == 0 ? "lc"
         : strcmp(e->model, "lsnn") == 0 ? "lsnn-location" : e->model;
}

/* local's first layer, and all that comes after it, from a trained conv.              */
static lsnn_status take_over(experiment *e, lsnn_ctx *cx)
{
    static const lsnn_pair own[2] = { { "local1.weight", NULL }, { "local1.bias", NULL } };
    lsnn_build_desc d;
    lsnn_read_desc read;
    lsnn_net *from;
    lsnn_status s;
    memset(&d, 0, sizeof d);
    memset(&read, 0, sizeof read);
    d.batch = d.predict_only = 1;
    read.names = own;
    read.name_count = 2;
    from = lsnn_net_load(cx, e->from, &d, NULL, 0);
    if (!from) return cx->status;
    s = lsnn_net_unshare(e->net, "local1", from, "conv1");
    if (s == LSNN_OK) s = lsnn_net_read_as(e->net, e->from, &read);
    lsnn_net_free(from);
    return s;
}

static lsnn_status make_net(experiment *e, lsnn_ctx *cx)
{
    lsnn_build_desc d;
    int scores[LSNN_MAX_HEADS], x, side = e->signs ? 32 : 42, classes = e->signs ? 43 : 10;
    lsnn_status s;
    memset(&d, 0, sizeof d);
    d.batch = e->a.batch;
    d.seed = e->a.seed;
    d.profile = e->a.profile;
    d.device = e->a.device;
    e->net = lsnn_net_new(cx);
    x = lsnn_input(e->net, e->signs ? 3 : 1, side, side);
    if (strcmp(e->model, "deepface") == 0) x = model_deepface(e->net, x, classes, 0);
    else x = model_of_lsnn(e->net, model_of(e), x, classes, &e->choice, scores);
    lsnn_cross_entropy(e->net, x, NULL);
    s = lsnn_net_build(e->net, &d);
    if (s == LSNN_OK) s = model_lsnn_start(e->net, e->a.seed, &e->choice);
    return s == LSNN_OK && e->from ? take_over(e, cx) : s;
}

static lsnn_status train(experiment *e)
{
    int steps = (e->task.data[TASK_TRAIN].count + e->a.batch - 1) / e->a.batch * e->a.epochs;
    char note[80];
    lsnn_fit_desc d;
    memset(&d, 0, sizeof d);
    snprintf(note, sizeof note, "task=%s seed=%.0f data=%08x", e->task.name, (double)e->a.seed,
             app_data_mark(&e->task.data[TASK_TRAIN]));
    d.note = note;                             /* a resume on other pictures is refused */
    d.optimizer.lr = 0.05;
    d.optimizer.momentum = 0.9;
    d.optimizer.weight_decay = 5e-4;
    d.optimizer.warmup_steps = steps < 3000 ? steps / 10 : 300;
    d.optimizer.schedule = LSNN_COSINE;
    d.valid = e->task.holdout ? &e->task.data[TASK_VALID] : NULL;
    return app_fit(&e->a, e->net, &e->task.data[TASK_TRAIN], &d);
}

static lsnn_status report(experiment *e)
{
    lsnn_score score;
    app_outcome r;
    lsnn_status s;
    memset(&score, 0, sizeof score);
    memset(&r, 0, sizeof r);
    s = lsnn_evaluate(e->net, &e->task.data[e->task.no_test ? TASK_VALID : TASK_TEST], &score);
    if (s != LSNN_OK) return s;
    r.task = e->task.name;
    r.model = e->model;
    r.error = score.error;
    r.train = e->task.data[TASK_TRAIN].count;
    r.test = e->task.no_test ? 0 : e->task.data[TASK_TEST].count;
    r.params = lsnn_net_params(e->net);
    r.seconds = e->a.last.seconds;
    r.images_per_s = e->a.last.images_per_s;
    if (e->a.profile) lsnn_net_profile(e->net, stdout);
    app_result(&e->a, &r);
    return LSNN_OK;
}

/* ---- --counts ------------------------------------------------------------------------*/
static double held, most_held;
static void *count_alloc(size_t bytes, void *user)
{
    double *block = (double *)malloc(bytes + 64);        /* the size, and room to align     */
    (void)user;
    if (!block) return NULL;
    block[0] = (double)bytes;
    held += block[0];
    if (held > most_held) most_held = held;
    return block + 8;
}
static void count_free(void *v, void *user)
{
    double *block = (double *)v;
    (void)user;
    if (!block) return;
    held -= block[-8];
    free(block - 8);
}

static void count_layer(lsnn_ctx *cx, const char *what, int c, int side, int filters, int kernel,
                        int bias)
{
    lsnn_options o = model_options("layer");
    double count[2];
    lsnn_shape out = { 0, 0, 0 };
    o.no_bias = !bias;
    for (int local = 0; local < 2; local++) {
        lsnn_net *net = lsnn_net_new(cx);
        int x = lsnn_input(net, c, side, side);
        x = local ? lsnn_local2d(net, x, filters, kernel, &o)
                  : lsnn_conv2d(net, x, filters, kernel, &o);
        out = lsnn_net_shape(net, x);
        count[local] = (double)lsnn_net_params(net);
        lsnn_net_free(net);
    }
    printf("counts layer=%s places=%dx%d conv=%.0f local=%.0f\n", what, out.h, out.w, count[0],
           count[1]);
}

static lsnn_status print_counts(lsnn_ctx *cx)
{
    lsnn_build_desc d;
    lsnn_net *net;
    lsnn_status s;
    count_layer(cx, "blog", 1, 128, 256, 5, 0);
    count_layer(cx, "keras", 3, 32, 64, 3, 1);
    net = lsnn_net_new(cx);
    model_deepface(net, lsnn_input(net, 3, 152, 152), 4030, 1);
    memset(&d, 0, sizeof d);
    d.batch = d.predict_only = 1;
    s = lsnn_net_build(net, &d);
    if (s == LSNN_OK) app_summary(net, "deepface-whole");
    if (s == LSNN_OK)
        printf("counts net=deepface-whole bytes=%.0f\n", most_held);
    lsnn_net_free(net);
    return s;
}

/* ---- Flags -----------------------------------------------------------------------------*/
static int check_flags(experiment *e)
{
    e->signs = strcmp(e->task.name, "signs") == 0;
    e->choice.start = strcmp(e->start, "alike") == 0 ? LSNN_START_ALIKE : LSNN_START_EACH;
    if (e->choice.start && strcmp(e->model, "local") != 0)
        return app_refuse(&e->a, "--start alike: of the model local alone");
    if (e->from && strcmp(e->model, "local") != 0)
        return app_refuse(&e->a, "--from: gives a trained conv's weights to the model local alone");
    if (e->choice.banks && strcmp(e->model, "lowrank") != 0)
        return app_refuse(&e->a, "--banks: of the model lowrank alone");
    if (e->task.no_test && !e->task.holdout)
        return app_refuse(&e->a, "--no-test needs --holdout N, or there is nothing to report");
    if (e->signs && !e->a.data && !e->a.summary && !e->counts)
        return app_refuse(&e->a, "--task signs needs --data DIR, with gtsrb32_train.bin and "
                          "gtsrb32_test.bin (xz -dk unpacks them)");
    return APP_GO;
}

static int run(experiment *e, lsnn_ctx *cx)
{
    lsnn_status s = make_net(e, cx);
    if (s == LSNN_OK && e->a.summary) app_summary(e->net, e->model);
    else if (s == LSNN_OK) {
        s = task_load(&e->a, cx, &e->task);
        if (s == LSNN_OK) s = train(e);
        if (s == LSNN_OK) s = report(e);
        if (s == LSNN_OK && e->filters) s = filters_draw(cx, e->net, e->filters);
    }
    task_free(cx, &e->task);
    lsnn_net_free(e->net);
    lsnn_ctx_free(cx);
    return app_end(&e->a, s);
}

int main(int argc, char **argv)
{
    static lsnn_ctx cx;
    static experiment e;
    app_flag own[16];
    char name[64];
    int status, n = 0;
    app_init(&e.a, "locally_connected", "kernels that know their place",
             "--task cluttered --model local --mnist data/mnist --epochs 10");
    e.a.takes = "seed epochs batch lr threads device train test data mnist out save save-every resume log "
                "quiet list summary profile";
    e.a.epochs = 10;
    e.a.batch = 128;
    e.a.out = "out";
    e.task.name = "cluttered";
    e.model = "local";
    e.start = "each";
    e.choice = model_defaults();
    own[n++] = app_choice("task", &e.task.name, "signs|cluttered", "which pictures");
    own[n++] = app_choice("model", &e.model, "conv|local|lowrank|lsnn|deepface", "which network");
    own[n++] = app_choice("start", &e.start, "each|alike", "local's places: weights of their own");
    own[n++] = app_text("from", &e.from, "NET", "local begins as this trained conv");
    own[n++] = app_int("banks", &e.choice.banks, 0, 64, "lowrank's sets of kernels (0: 4)");
    own[n++] = app_int("holdout", &e.task.holdout, 0, 1000000, "training pictures kept to watch");
    own[n++] = app_switch("no-test", &e.task.no_test, "leave the test set alone: report the holdout");
    own[n++] = app_text("filters", &e.filters, "OUT.png", "draw kernels at different places");
    own[n++] = app_switch("counts", &e.counts, "print the documents' counts");
    status = app_parse(&e.a, argc, argv, own, n);
    if (status != APP_GO) return status;
    if (e.a.list) {
        printf("tasks: signs cluttered\nmodels: conv local lowrank lsnn deepface\n");
        return app_end(&e.a, LSNN_OK);
    }
    status = check_flags(&e);
    if (status != APP_GO) return status;
    if (e.counts) {
        e.a.save = e.a.log = e.a.resume = NULL;
        cx.mem.alloc_fn = count_alloc;
        cx.mem.free_fn = count_free;
    }
    status = app_start(&e.a, &cx);
    if (status == APP_GO) status = app_input(&e.a, "from", e.from);
    if (status == APP_GO) status = app_picture(&e.a, "filters", e.filters);
    snprintf(name, sizeof name, "%s-%s", e.task.name, e.model);
    if (status == APP_GO && !e.counts) status = app_default_save(&e.a, name);
    if (status != APP_GO) return status;
    if (e.counts) {
        status = app_end(&e.a, print_counts(&cx));
        lsnn_ctx_free(&cx);
        return status;
    }
    return run(&e, &cx);
}
