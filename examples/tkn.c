/* tkn.c - the experiments of "Targeted Kernel Networks" (Chitta 2018).

   Build: cc -O2 examples/tkn.c -o examples/tkn -lm
          (add -DLSNN_USE_ZLIB -lz to read .gz and SVHN's packed .mat files)
   Run:   examples/tkn --task mnist --model tdn10 --mnist DIR

   Trains a network of the paper's Table 1 or its targeted twin as section 4.2 says. The
   epoch is chosen on training images that are held out (--holdout 0: the last one is taken,
   and nothing held out); the test set is classified once, at the end. --windows draws the windows
   before and after training (Figure 4), of stn the pictures before and behind its transformer.
   --load a trained net and --slide it over a big picture, its windows in place, for a heat
   map; or apply it to pictures of another --size, its windows scaled with them (section 5).
   What the paper leaves open is written in docs/tkn.md.                               */
#define LSNN_IMPLEMENTATION
#include "../lsnn.h"
#include "app.h"
#include "models.h"
#include "task.h"
#include "trial.h"
#include "windows.h"
#include "straight.h"

enum { SIGNS = 30 };                 /* of --figure's sheet                           */

typedef struct experiment {
    trial t;
    const char *attention, *clip, *load, *figure, *slide;
    int rho, stride, size;
    double decay;
    model_windows windows;
    resized sized;                   /* --size: the pictures before                   */
} experiment;

/* How section 4.2 trains on each task. What it holds out is ours, and so is cifar10.  */
typedef struct regime {
    const char *task;
    int epochs, batch, adam;
    double lr, decay;
    int milestone[2], holdout;       /* epochs; images (pain: subjects)               */
} regime;
static const regime regimes[] = {
    { "mnist", 20, 128, 0, 0.1, 1e-4, { 10, 15 }, 5000 },
    { "tlmnist", 20, 128, 0, 0.1, 1e-4, { 10, 15 }, 5000 },
    { "cluttered", 20, 128, 0, 0.1, 1e-4, { 10, 15 }, 5000 },
    { "cifar10", 40, 64, 0, 0.1, 1e-4, { 20, 30 }, 5000 },
    { "svhn", 40, 64, 0, 0.1, 1e-4, { 20, 0 }, 5000 },
    { "gtsrb", 100, 64, 1, 0.001, 0.05, { 0, 0 }, 3000 },
    { "gtsrb-box", 100, 64, 1, 0.001, 0.05, { 0, 0 }, 3000 },
    { "pain", 100, 64, 1, 0.001, 1e-4, { 0, 0 }, 3 }
};

static const regime *regime_of(const char *task)
{
    const regime *r = regimes;
    while (strcmp(r->task, task) != 0) r++;
    return r;
}

static int is_targeted(const experiment *e) { return e->t.model[0] == 't'; }
static int is_stn(const experiment *e) { return strcmp(e->t.model, "stn") == 0; }
static int is_regression(const experiment *e) { return strcmp(e->t.task.name, "pain") == 0; }

/* ---- The network -----------------------------------------------------------------------*/
static lsnn_net *make_net(experiment *e, lsnn_ctx *cx, lsnn_shape in, int classes)
{
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_build_desc d = app_build(&e->t.a);
    int x = lsnn_input(net, in.c, in.h, in.w);
    x = model_of_tkn(net, e->t.model, x, classes, is_targeted(e) ? &e->windows : NULL);
    if (is_regression(e)) lsnn_mse(net, x, NULL);
    else lsnn_cross_entropy(net, x, NULL);
    if (lsnn_net_build(net, &d) == LSNN_OK &&
        model_tkn_start(net, is_targeted(e) ? &e->windows : NULL) == LSNN_OK) return net;
    lsnn_net_free(net);
    return NULL;
}

static lsnn_status train(experiment *e)
{
    const regime *r = regime_of(e->t.task.name);
    lsnn_fit_desc d;
    memset(&d, 0, sizeof d);
    d.optimizer.method = r->adam ? LSNN_ADAM : LSNN_SGD;
    d.optimizer.lr = r->lr;
    d.optimizer.momentum = r->adam ? 0 : 0.9;
    d.optimizer.nesterov = !r->adam;
    d.optimizer.weight_decay = e->decay >= 0 ? e->decay : r->decay;
    for (int i = 0, last = 0, kept = 0; i < 2; i++) {      /* at the same part of --epochs  */
        int at = (r->milestone[i] * e->t.a.epochs + r->epochs / 2) / r->epochs;
        if (at > last && at < e->t.a.epochs) last = d.milestones[kept++] = at;
    }
    d.keep_best = e->t.task.holdout > 0;
    return trial_fit(&e->t, &d, "", e->t.task.fresh ? " fresh=1" : " fresh=0");
}

/* ---- What came out ---------------------------------------------------------------------*/
/* Mean squared and mean absolute error of a net with one number (pain: on a scale of 16). */
static lsnn_status measure(experiment *e, const lsnn_data *data, double *mse, double *mae)
{
    size_t pixels = (size_t)data->shape.c * (size_t)data->shape.h * (size_t)data->shape.w;
    lsnn_real *x = (lsnn_real *)malloc(pixels * sizeof *x), y, target;
    lsnn_status s = x ? LSNN_OK : LSNN_ENOMEM;
    *mse = *mae = 0;
    for (int i = 0; i < data->count && s == LSNN_OK; i++) {
        data->fetch(data->user, 0, i, x, NULL, &target);
        s = lsnn_predict(e->t.net, x, 1, &y);
        *mse += ((double)y - (double)target) * ((double)y - (double)target) / data->count;
        *mae += fabs((double)y - (double)target) / data->count;
    }
    free(x);
    return s;
}

static lsnn_status report(experiment *e)
{
    const lsnn_data *data = e->t.task.data;
    char settings[128] = "", costs[192];
    app_outcome r;
    double mse = 0, mae = 0, learned, computed;
    int held = data[TASK_VALID].count;
    lsnn_status s = trial_test(&e->t, &r);
    if (s == LSNN_OK) s = lsnn_net_macs_now(e->t.net, &learned, &computed);
    if (s == LSNN_OK && is_regression(e)) s = measure(e, trial_tested(&e->t), &mse, &mae);
    if (s != LSNN_OK) return s;
    if (held && !e->load)
        printf("epoch %d of %d was best on %d images that were held out\n",
               e->t.a.last.best_epoch + 1, e->t.a.epochs, held);
    if (is_targeted(e))
        snprintf(settings, sizeof settings, " attention=%s%s%s l2=%g beta=%g clip=%s",
                 e->attention, e->rho ? "-rho" : "", e->windows.adaptive ? "-adaptive" : "",
                 e->windows.l2, e->windows.beta, e->clip);
    if (e->size)
        snprintf(settings + strlen(settings), sizeof settings - strlen(settings), " size=%d",
                 e->size);
    snprintf(costs, sizeof costs, " macs=%.0f macs_learned=%.0f macs_computed=%.0f",
             lsnn_net_macs(e->t.net), learned, computed);
    if (is_regression(e))
        snprintf(costs + strlen(costs), sizeof costs - strlen(costs), " mse=%.3f mae=%.3f", mse,
                 mae);
    r.settings = settings;
    r.costs = costs;
    app_result(&e->t.a, e->t.net, &r);
    return LSNN_OK;
}

/* A trained net on pictures of another size.                                           */
static lsnn_status apply(experiment *e, lsnn_ctx *cx)
{
    lsnn_status s = task_load(&e->t.a, cx, &e->t.task);
    lsnn_data *shown = &e->t.task.data[e->t.task.no_test ? TASK_VALID : TASK_TEST];
    if (s != LSNN_OK) return s;
    resize_data(&e->sized, shown, e->size);
    e->t.net = make_net(e, cx, shown->shape, is_regression(e) ? 1 : shown->classes);
    e->t.a.epochs = 0;
    if (!e->t.net) return cx->status;
    s = resize_read(&e->t.a, e->t.net, e->load);
    return s == LSNN_OK ? report(e) : s;
}

/* ---- One run ---------------------------------------------------------------------------*/
static lsnn_status learn(experiment *e, lsnn_ctx *cx)
{
    lsnn_image figure;
    lsnn_status s = task_load(&e->t.a, cx, &e->t.task);
    const lsnn_data *d = &e->t.task.data[TASK_TRAIN];
    memset(&figure, 0, sizeof figure);
    if (s != LSNN_OK) return s;
    e->t.net = make_net(e, cx, d->shape, is_regression(e) ? 1 : d->classes);
    if (!e->t.net) return cx->status;
    if (e->figure && !is_stn(e)) s = windows_begin(cx, e->t.net, d, &figure);
    if (s == LSNN_OK) s = train(e);
    if (s == LSNN_OK) s = report(e);
    if (s == LSNN_OK && e->figure)
        s = is_stn(e) ? straight_sheet(cx, e->t.net, trial_tested(&e->t), SIGNS, e->figure)
                      : windows_end(cx, e->t.net, &figure, e->figure);
    lsnn_image_free(cx, &figure);
    return s;
}

static lsnn_status slide_over(experiment *e, lsnn_ctx *cx)
{
    lsnn_build_desc d;
    memset(&d, 0, sizeof d);
    d.batch = e->t.a.batch;
    d.predict_only = 1;
    e->t.net = lsnn_net_load(cx, e->load, &d, NULL, 0);
    return e->t.net ? slide(&e->t.a, cx, e->t.net, e->slide, e->stride, e->figure) : cx->status;
}

/* The task's input, without its data: for --summary.                                   */
static lsnn_shape shape_of(const char *task)
{
    lsnn_task drawn = lsnn_task_from_name(task);
    lsnn_shape mnist = { 1, 28, 28 }, colour = { 3, 32, 32 }, face = { 3, 48, 48 };
    if (drawn != LSNN_TASK_COUNT_) return lsnn_task_shape(drawn);
    return strcmp(task, "mnist") == 0 ? mnist : strcmp(task, "pain") == 0 ? face : colour;
}

static int classes_of(const char *task)
{
    return strcmp(task, "pain") == 0 ? 1 : strncmp(task, "gtsrb", 5) == 0 ? 43 : 10;
}

static int run(experiment *e, lsnn_ctx *cx)
{
    lsnn_status s;
    if (e->t.a.summary) {
        e->t.net = make_net(e, cx, shape_of(e->t.task.name), classes_of(e->t.task.name));
        s = e->t.net ? LSNN_OK : cx->status;
        if (e->t.net) app_summary(e->t.net, e->t.model);
    } else s = e->slide ? slide_over(e, cx) : e->size ? apply(e, cx) : learn(e, cx);
    return trial_end(&e->t, cx, s);
}

/* ---- Flags -----------------------------------------------------------------------------*/
static int check_flags(experiment *e)
{
    const regime *r = regime_of(e->t.task.name);
    int gaussian = strcmp(e->attention, "gaussian") == 0;
    if ((e->slide != NULL) + (e->size > 0) != (e->load != NULL))
        return app_refuse(&e->t.a, "--load FILE goes with --slide IMAGE.png or with --size N, and "
                          "they with it");
    if (e->slide && !e->figure)
        return app_refuse(&e->t.a, "--slide: --figure OUT.png says where the heat map goes");
    if (e->figure && (e->size || (!e->slide && !is_targeted(e) && !is_stn(e))))
        return app_refuse(&e->t.a, "--figure: of a targeted model's windows, of stn's transformer, "
                          "or of --slide");
    if (!is_targeted(e) && (e->rho || e->windows.adaptive))
        return app_refuse(&e->t.a, "--rho and --adaptive: of a targeted model");
    if (!e->t.a.epochs) e->t.a.epochs = r->epochs;
    if (!e->t.a.batch) e->t.a.batch = r->batch;
    if (e->t.task.holdout < 0)                       /* of a part of the images, as many less */
        e->t.task.holdout = e->t.a.train && !is_regression(e) ? e->t.a.train / 12 : r->holdout;
    e->windows.clip = strcmp(e->clip, "paper") == 0 ? LSNN_CLIP_PAPER : LSNN_CLIP_CODE;
    if (e->rho) e->windows.shape = gaussian ? LSNN_BIVARIATE_GAUSSIAN : LSNN_BIVARIATE_CAUCHY;
    else e->windows.shape = gaussian ? LSNN_ATTENTION_GAUSSIAN : LSNN_ATTENTION_CAUCHY;
    return APP_GO;
}

int main(int argc, char **argv)
{
    static lsnn_ctx cx;
    static experiment e;
    app_flag own[20];
    int status, n = trial_begin(&e.t, own, "tkn",
                                "Targeted Kernel Networks: convolutions that look where it matters",
                                "--task mnist --model tdn10 --mnist data/mnist",
                                "mnist|tlmnist|cluttered|cifar10|svhn|gtsrb|gtsrb-box|pain",
                                "cnn6|tkn6|dn10|tdn10|dn40|tdn40|stn|tstn");
    e.t.task.name = "mnist";
    e.t.model = "tdn10";
    e.attention = "cauchy";
    e.clip = "code";
    e.t.task.holdout = -1;
    e.decay = -1;
    e.stride = 4;
    e.windows = model_windows_default();
    own[n++] = app_choice("attention", &e.attention, "gaussian|cauchy", "the windows' family");
    own[n++] = app_switch("rho", &e.rho, "windows that can lie askew (bivariate)");
    own[n++] = app_real("l2", &e.windows.l2, 0, 100, "penalty on the windows' sizes");
    own[n++] = app_real("beta", &e.windows.beta, 0, 1000, "what it is multiplied by, a block");
    own[n++] = app_choice("clip", &e.clip, "paper|code", "least size: the kernel's, or 3 pixels");
    own[n++] = app_switch("adaptive", &e.windows.adaptive, "windows computed from the image");
    own[n++] = app_real("weight-decay", &e.decay, -1, 100, "on weights (-1: the task's)");
    own[n++] = app_int("holdout", &e.t.task.holdout, -1, 1000000,
                       "images kept to choose the epoch (-1: the task's)");
    own[n++] = app_switch("no-test", &e.t.task.no_test, "leave the test set alone");
    own[n++] = app_switch("fresh", &e.t.task.fresh, "draw the pictures anew in each epoch");
    own[n++] = app_draw_flag("figure", &e.figure, "OUT.png", "the windows, or --slide's heat map");
    own[n++] = app_read_flag("load", &e.load, "FILE", "a trained net, for --slide or --size");
    own[n++] = app_int("size", &e.size, 1, 1000, "test it on pictures of N x N pixels");
    own[n++] = app_read_flag("slide", &e.slide, "IMAGE.png", "run it at each place of a picture");
    own[n++] = app_int("stride", &e.stride, 1, 1000, "pixels from place to place");
    status = app_parse(&e.t.a, argc, argv, own, n);
    if (status == APP_GO) status = check_flags(&e);
    e.t.a.idle = e.load != NULL;
    if (status == APP_GO) status = trial_start(&e.t, &cx);
    return status == APP_GO ? run(&e, &cx) : status;
}
