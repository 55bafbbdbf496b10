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
#include "filters.h"

typedef enum part { TRAIN, VALID, TEST, PARTS } part;

typedef struct experiment {
    app a;
    const char *task, *model, *start, *from, *filters;
    int counts, holdout, no_test, signs;
    model_choice choice;
    app_digits source;               /* of cluttered                                  */
    lsnn_recipe recipe[PARTS];
    lsnn_set set[2];                 /* of signs                                      */
    lsnn_data whole[2], some, rest, data[PARTS];
    lsnn_net *net;
} experiment;

/* ---- The data ------------------------------------------------------------------------*/
/* --train N and --holdout N are drawn at random (the files go class by class), held-out ones by
   whole tracks: pictures of one sign stay together.                                    */
static lsnn_status get_signs(experiment *e, lsnn_ctx *cx)
{
    lsnn_data *all = &e->whole[0];
    lsnn_status s = LSNN_OK;
    int take = e->a.train, all_of;
    for (int i = 0; i < 2 && s == LSNN_OK; i++) {
        s = lsnn_set_load(cx, &e->set[i], "gtsrb", e->a.data, i);
        if (s == LSNN_OK) s = lsnn_data_set(cx, &e->whole[i], &e->set[i]);
    }
    if (s != LSNN_OK) return s;
    all_of = all->count;
    if (take > all_of || e->a.test > e->whole[1].count || e->holdout >= (take ? take : all_of)) {
        app_refuse(&e->a, "--train %d, --test %d, --holdout %d: there are %d and %d signs", take,
                   e->a.test, e->holdout, all_of, e->whole[1].count);
        return LSNN_EVALUE;
    }
    if (e->holdout) {
        s = lsnn_data_split(cx, &e->some, &e->data[VALID], all, e->set[0].group, e->holdout,
                            e->a.seed);
        all = &e->some;
        take = take ? take - e->holdout : 0;
    }
    if (s == LSNN_OK && take && take < all->count)
        s = lsnn_data_split(cx, &e->rest, &e->data[TRAIN], all, NULL, take, e->a.seed);
    else if (s == LSNN_OK) s = lsnn_data_part(cx, &e->data[TRAIN], all, 0, all->count);
    return s != LSNN_OK ? s : lsnn_data_part(cx, &e->data[TEST], &e->whole[1], 0, e->a.test ?
                                             e->a.test : e->whole[1].count);
}

/* As in lsnn_mnist.c: a picture of each digit, clutter cut from the training digits.   */
static lsnn_status get_cluttered(experiment *e, lsnn_ctx *cx)
{
    app_digits *d = &e->source;
    lsnn_status s = app_digits_get(&e->a, cx, d);
    int count[PARTS];
    if (s != LSNN_OK) return s;
    count[TEST] = e->a.test ? e->a.test : d->test_images.dim[0];
    count[VALID] = e->holdout;
    count[TRAIN] = (e->a.train ? e->a.train : d->train_images.dim[0]) - e->holdout;
    if (count[TRAIN] < 1 || count[TRAIN] + e->holdout > d->train_images.dim[0] ||
        count[TEST] > d->test_images.dim[0]) {
        app_refuse(&e->a, "--train %d, --test %d, --holdout %d: there are %d and %d digits",
                   e->a.train, e->a.test, e->holdout, d->train_images.dim[0],
                   d->test_images.dim[0]);
        return LSNN_EVALUE;
    }
    d->crops = d->train_images;
    if (e->holdout) d->crops.dim[0] = count[TRAIN];
    for (int p = TRAIN; p < PARTS && s == LSNN_OK; p++) {
        lsnn_recipe *r = &e->recipe[p];
        r->task = LSNN_TASK_CLUTTERED;
        r->seed = e->a.seed;
        r->test = p == TEST;
        r->images = p == TEST ? &d->test_images : &d->train_images;
        r->labels = p == TEST ? &d->test_labels : &d->train_labels;
        r->crops = p == TEST ? &d->train_images : &d->crops;
        r->first = p == VALID ? count[TRAIN] : 0;
        r->count = p == TEST ? 0 : count[p];
        if (count[p]) s = lsnn_data_recipe(cx, &e->data[p], r);
        if (s == LSNN_OK) e->data[p].count = count[p];
    }
    return s;
}

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
    int steps = (e->data[TRAIN].count + e->a.batch - 1) / e->a.batch * e->a.epochs;
    char note[80];
    lsnn_fit_desc d;
    memset(&d, 0, sizeof d);
    snprintf(note, sizeof note, "task=%s seed=%.0f data=%08x", e->task, (double)e->a.seed,
             app_data_mark(&e->data[TRAIN]));
    d.note = note;                             /* a resume on other pictures is refused */
    d.optimizer.lr = 0.05;
    d.optimizer.momentum = 0.9;
    d.optimizer.weight_decay = 5e-4;
    d.optimizer.warmup_steps = steps < 3000 ? steps / 10 : 300;
    d.optimizer.schedule = LSNN_COSINE;
    d.valid = e->holdout ? &e->data[VALID] : NULL;
    return app_fit(&e->a, e->net, &e->data[TRAIN], &d);
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
    e->signs = strcmp(e->task, "signs") == 0;
    e->choice.start = strcmp(e->start, "alike") == 0 ? LSNN_START_ALIKE : LSNN_START_EACH;
    if (e->choice.start && strcmp(e->model, "local") != 0)
        return app_refuse(&e->a, "--start alike: of the model local alone");
    if (e->from && strcmp(e->model, "local") != 0)
        return app_refuse(&e->a, "--from: gives a trained conv's weights to the model local alone");
    if (e->choice.banks && strcmp(e->model, "lowrank") != 0)
        return app_refuse(&e->a, "--banks: of the model lowrank alone");
    if (e->no_test && !e->holdout)
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
        s = e->signs ? get_signs(e, cx) : get_cluttered(e, cx);
        if (s == LSNN_OK) s = train(e);
        if (s == LSNN_OK) s = report(e);
        if (s == LSNN_OK && e->filters) s = filters_draw(cx, e->net, e->filters);
    }
    for (int p = TRAIN; p < PARTS; p++) lsnn_data_free(&e->data[p]);
    lsnn_data_free(&e->some);
    lsnn_data_free(&e->rest);
    for (int i = 0; i < 2; i++) lsnn_data_free(&e->whole[i]);
    for (int i = 0; i < 2; i++) lsnn_set_free(cx, &e->set[i]);
    app_digits_free(cx, &e->source);
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
    e.a.takes = "seed epochs batch lr threads train test data mnist out save save-every resume log "
                "quiet list summary profile";
    e.a.epochs = 10;
    e.a.batch = 128;
    e.a.out = "out";
    e.task = "cluttered";
    e.model = "local";
    e.start = "each";
    e.choice = model_defaults();
    own[n++] = app_choice("task", &e.task, "signs|cluttered", "which pictures");
    own[n++] = app_choice("model", &e.model, "conv|local|lowrank|lsnn|deepface", "which network");
    own[n++] = app_choice("start", &e.start, "each|alike", "local's places: weights of their own");
    own[n++] = app_text("from", &e.from, "NET", "local begins as this trained conv");
    own[n++] = app_int("banks", &e.choice.banks, 0, 64, "lowrank's sets of kernels (0: 4)");
    own[n++] = app_int("holdout", &e.holdout, 0, 1000000, "training pictures kept to watch");
    own[n++] = app_switch("no-test", &e.no_test, "leave the test set alone: report the holdout");
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
    snprintf(name, sizeof name, "%s-%s", e.task, e.model);
    if (status == APP_GO && !e.counts) status = app_default_save(&e.a, name);
    if (status != APP_GO) return status;
    if (e.counts) {
        status = app_end(&e.a, print_counts(&cx));
        lsnn_ctx_free(&cx);
        return status;
    }
    return run(&e, &cx);
}
