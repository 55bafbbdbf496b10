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
#include "trial.h"
#include "filters.h"

typedef struct experiment {
    trial t;
    const char *start, *from, *filters;
    int counts, signs;
    model_choice choice;
} experiment;

/* ---- The network -----------------------------------------------------------------------*/
/* The names of models.h.                                                              */
static const char *model_of(const experiment *e)
{
    return strcmp(e->t.model, "conv") == 0 ? "cnn" : strcmp(e->t.model, "local") == 0 ? "lc"
         : strcmp(e->t.model, "lsnn") == 0 ? "lsnn-location" : e->t.model;
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
    s = lsnn_net_unshare(e->t.net, "local1", from, "conv1");
    if (s == LSNN_OK) s = lsnn_net_read_as(e->t.net, e->from, &read);
    lsnn_net_free(from);
    return s;
}

static lsnn_status make_net(experiment *e, lsnn_ctx *cx)
{
    lsnn_build_desc d = app_build(&e->t.a);
    int scores[LSNN_MAX_HEADS], x, side = e->signs ? 32 : 42, classes = e->signs ? 43 : 10;
    lsnn_status s;
    e->t.net = lsnn_net_new(cx);
    x = lsnn_input(e->t.net, e->signs ? 3 : 1, side, side);
    if (strcmp(e->t.model, "deepface") == 0) x = model_deepface(e->t.net, x, classes, 0);
    else x = model_of_lsnn(e->t.net, model_of(e), x, classes, &e->choice, scores);
    lsnn_cross_entropy(e->t.net, x, NULL);
    s = lsnn_net_build(e->t.net, &d);
    if (s == LSNN_OK) s = model_lsnn_start(e->t.net, e->t.a.seed, &e->choice);
    return s == LSNN_OK && e->from ? take_over(e, cx) : s;
}

static lsnn_status train(experiment *e)
{
    lsnn_fit_desc d;
    memset(&d, 0, sizeof d);
    d.optimizer.lr = 0.05;
    d.optimizer.momentum = 0.9;
    d.optimizer.weight_decay = 5e-4;
    trial_warm_up(&e->t, &d);
    return trial_fit(&e->t, &d, "", "");
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
    e->signs = strcmp(e->t.task.name, "signs") == 0;
    e->choice.start = strcmp(e->start, "alike") == 0 ? LSNN_START_ALIKE : LSNN_START_EACH;
    if (e->choice.start && strcmp(e->t.model, "local") != 0)
        return app_refuse(&e->t.a, "--start alike: of the model local alone");
    if (e->from && strcmp(e->t.model, "local") != 0)
        return app_refuse(&e->t.a,
                          "--from: gives a trained conv's weights to the model local alone");
    if (e->choice.banks && strcmp(e->t.model, "lowrank") != 0)
        return app_refuse(&e->t.a, "--banks: of the model lowrank alone");
    if (e->signs && !e->t.a.data && !e->t.a.summary && !e->counts)
        return app_refuse(&e->t.a, "--task signs needs --data DIR, with gtsrb32_train.bin and "
                          "gtsrb32_test.bin (xz -dk unpacks them)");
    return APP_GO;
}

static lsnn_status learn(experiment *e, lsnn_ctx *cx)
{
    app_outcome r;
    lsnn_status s = task_load(&e->t.a, cx, &e->t.task);
    if (s == LSNN_OK) s = train(e);
    if (s == LSNN_OK) s = trial_test(&e->t, &r);
    if (s != LSNN_OK) return s;
    app_result(&e->t.a, e->t.net, &r);
    return e->filters ? filters_draw(cx, e->t.net, e->filters) : LSNN_OK;
}

static int run(experiment *e, lsnn_ctx *cx)
{
    lsnn_status s = e->counts ? print_counts(cx) : make_net(e, cx);
    if (s == LSNN_OK && e->t.a.summary && !e->counts) app_summary(e->t.net, e->t.model);
    else if (s == LSNN_OK && !e->counts) s = learn(e, cx);
    return trial_end(&e->t, cx, s);
}

int main(int argc, char **argv)
{
    static lsnn_ctx cx;
    static experiment e;
    app_flag own[16];
    int status, n = trial_begin(&e.t, own, "locally_connected", "kernels that know their place",
                                "--task cluttered --model local --mnist data/mnist --epochs 10",
                                "signs|cluttered", "conv|local|lowrank|lsnn|deepface");
    e.t.a.epochs = 10;
    e.t.a.batch = 128;
    e.t.task.name = "cluttered";
    e.t.model = "local";
    e.start = "each";
    e.choice = model_defaults();
    n += trial_holdout_flags(&e.t, own + n);
    own[n++] = app_choice("start", &e.start, "each|alike", "local's places: weights of their own");
    own[n++] = app_read_flag("from", &e.from, "NET", "local begins as this trained conv");
    own[n++] = app_int("banks", &e.choice.banks, 0, 64, "lowrank's sets of kernels (0: 4)");
    own[n++] = app_draw_flag("filters", &e.filters, "OUT.png", "draw kernels at different places");
    own[n++] = app_switch("counts", &e.counts, "print the documents' counts");
    status = app_parse(&e.t.a, argc, argv, own, n);
    if (status == APP_GO) status = check_flags(&e);
    if (e.counts) {
        e.t.a.idle = 1;
        cx.mem.alloc_fn = count_alloc;
        cx.mem.free_fn = count_free;
    }
    if (status == APP_GO) status = trial_start(&e.t, &cx);
    return status == APP_GO ? run(&e, &cx) : status;
}
