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
#include "task.h"
#include "lecture.h"

enum { CLASSES = 10, MNIST = 28, FRAME = 32, EDGE = (FRAME - MNIST) / 2 };

typedef struct experiment {
    app a;
    const char *model, *pool, *learn, *image, *figure;
    model_pooling pooling;
    int kernels, explain, maps;
    double decay, rubbish;
    task_sets task;
    lsnn_data data[TASK_PARTS];      /* as the net reads them                         */
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

/* What the net is given: of the task's pictures, the same or framed.                  */
static lsnn_status get_data(experiment *e, lsnn_ctx *cx)
{
    lsnn_status s = task_load(&e->a, cx, &e->task);
    for (int p = TASK_TRAIN; p < TASK_PARTS; p++) {
        e->data[p] = e->task.data[p];
        if (!is_lenet(e)) continue;
        e->data[p].fetch = fetch_framed;
        e->data[p].user = &e->task.data[p];
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
    d.device = e->a.device;
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
    int steps = (e->data[TASK_TRAIN].count + e->a.batch - 1) / e->a.batch * e->a.epochs;
    char note[80];
    lsnn_fit_desc d;
    memset(&d, 0, sizeof d);
    snprintf(note, sizeof note, "task=%s frame=%d seed=%.0f data=%08x", e->task.name,
             is_lenet(e) ? FRAME : MNIST, (double)e->a.seed, app_data_mark(&e->data[TASK_TRAIN]));
    d.note = note;                             /* a resume on other pictures is refused */
    d.optimizer.lr = strcmp(e->model, "lenet5") == 0 ? 0.001 : strcmp(e->model, "lenet5-modern") ?
        0.1 : 0.02;
    d.optimizer.momentum = 0.9;
    d.optimizer.weight_decay = e->decay;
    d.optimizer.warmup_steps = steps < 3000 ? steps / 10 : 300;
    d.optimizer.schedule = LSNN_COSINE;
    d.valid = e->task.holdout ? &e->data[TASK_VALID] : NULL;
    return app_fit(&e->a, e->net, &e->data[TASK_TRAIN], &d);
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
    s = lsnn_evaluate(e->net, &e->data[e->task.no_test ? TASK_VALID : TASK_TEST], &score);
    if (s != LSNN_OK) return s;
    r.task = e->task.name;
    r.model = e->model;
    r.error = score.error;
    r.train = e->data[TASK_TRAIN].count;
    r.test = e->task.no_test ? 0 : e->data[TASK_TEST].count;
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
    task_free(cx, &e->task);
    lsnn_net_free(e->net);
    lsnn_ctx_free(cx);
    return app_end(&e->a, s);
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
    if (e->task.no_test && !e->task.holdout)
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
    e.a.takes = "seed epochs batch lr threads device train test mnist out save save-every resume log quiet "
                "list summary profile";
    e.a.epochs = 20;
    e.a.batch = 64;
    e.a.out = "out";
    e.task.name = "mnist";
    e.model = "convnet";
    e.pool = "max";
    e.learn = "no";
    e.rubbish = 10;
    e.maps = 20;
    own[n++] = app_choice("task", &e.task.name, "mnist", "which data set");
    own[n++] = app_choice("model", &e.model, "mlp|convnet|lenet5|lenet5-modern", "which network");
    own[n++] = app_int("maps", &e.maps, 1, 1000, "the convnet's feature maps");
    own[n++] = app_choice("pool", &e.pool, "max|average|sum|lp", "the convnet's pooling");
    own[n++] = app_int("pool-size", &e.pooling.kernel, 0, 24, "side of its windows (0: 2)");
    own[n++] = app_int("pool-stride", &e.pooling.stride, 0, 24, "0: the side; less overlaps");
    own[n++] = app_real("norm", &e.pooling.norm, 0, 1e6, "p of --pool lp, at least 1 (0: 2)");
    own[n++] = app_choice("learn-norm", &e.learn, "no|layer|map", "learns p, one a ...");
    own[n++] = app_real("rubbish", &e.rubbish, 0, 1000, "j of lenet5's loss, 0: without");
    own[n++] = app_real("weight-decay", &e.decay, 0, 100, "on weights");
    own[n++] = app_int("holdout", &e.task.holdout, 0, 1000000, "last training images kept to watch");
    own[n++] = app_switch("no-test", &e.task.no_test, "leave the test set alone: report the holdout");
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
        status = app_end(&e.a, e.explain ? lecture_explain(&cx, e.a.seed) : lecture_kernels(&e.a, &cx, e.image, e.figure));
        lsnn_ctx_free(&cx);
        return status;
    }
    return run(&e, &cx);
}
