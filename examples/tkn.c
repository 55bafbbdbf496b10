/* tkn.c - the experiments of "Targeted Kernel Networks" (Chitta 2018).

   Build: cc -O2 examples/tkn.c -o examples/tkn -lm
          (add -DLSNN_USE_ZLIB -lz to read .gz and SVHN's packed .mat files)
   Run:   examples/tkn --task mnist --model tdn10 --mnist DIR

   Trains a network of the paper's Table 1 or its targeted twin as section 4.2 says. The
   epoch is chosen on training images that are held out (--holdout 0: the last one is taken,
   and nothing held out); the test set is classified once, at the end. --windows draws the windows
   before and after training (Figure 4); --load a trained net and --slide it over a big
   picture, its windows in place, for a heat map. What the paper leaves open is written in
   docs/tkn.md.                                                                        */
#define LSNN_IMPLEMENTATION
#include "../lsnn.h"
#include "app.h"
#include "models.h"
#include "task.h"
#include "windows.h"

typedef struct experiment {
    app a;
    const char *model, *attention, *clip, *load, *figure, *slide;
    int rho, class_shown, stride;
    double decay;
    model_windows windows;
    task_sets task;
    lsnn_net *net;
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

static int is_targeted(const experiment *e) { return e->model[0] == 't'; }
static int is_regression(const experiment *e) { return strcmp(e->task.name, "pain") == 0; }

/* ---- The network -----------------------------------------------------------------------*/
static lsnn_net *make_net(experiment *e, lsnn_ctx *cx, lsnn_shape in, int classes)
{
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_build_desc d;
    int x = lsnn_input(net, in.c, in.h, in.w);
    memset(&d, 0, sizeof d);
    d.batch = e->a.batch;
    d.seed = e->a.seed;
    d.profile = e->a.profile;
    d.device = e->a.device;
    x = model_of_tkn(net, e->model, x, classes, is_targeted(e) ? &e->windows : NULL);
    if (is_regression(e)) lsnn_mse(net, x, NULL);
    else lsnn_cross_entropy(net, x, NULL);
    if (lsnn_net_build(net, &d) == LSNN_OK &&
        model_tkn_start(net, is_targeted(e) ? &e->windows : NULL) == LSNN_OK) return net;
    lsnn_net_free(net);
    return NULL;
}

static lsnn_status train(experiment *e)
{
    const regime *r = regime_of(e->task.name);
    const lsnn_data *data = e->task.data;
    char note[96];
    lsnn_fit_desc d;
    memset(&d, 0, sizeof d);
    snprintf(note, sizeof note, "task=%s seed=%.0f fresh=%d data=%08x", e->task.name,
             (double)e->a.seed, e->task.fresh, app_data_mark(&data[TASK_TRAIN]));
    d.note = note;                             /* a resume on other pictures is refused */
    d.optimizer.method = r->adam ? LSNN_ADAM : LSNN_SGD;
    d.optimizer.lr = r->lr;
    d.optimizer.momentum = r->adam ? 0 : 0.9;
    d.optimizer.nesterov = !r->adam;
    d.optimizer.weight_decay = e->decay >= 0 ? e->decay : r->decay;
    for (int i = 0, last = 0, kept = 0; i < 2; i++) {      /* at the same part of --epochs  */
        int at = (r->milestone[i] * e->a.epochs + r->epochs / 2) / r->epochs;
        if (at > last && at < e->a.epochs) last = d.milestones[kept++] = at;
    }
    if (data[TASK_VALID].count) {
        d.valid = &data[TASK_VALID];
        d.keep_best = 1;
    }
    return app_fit(&e->a, e->net, &data[TASK_TRAIN], &d);
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
        s = lsnn_predict(e->net, x, 1, &y);
        *mse += ((double)y - (double)target) * ((double)y - (double)target) / data->count;
        *mae += fabs((double)y - (double)target) / data->count;
    }
    free(x);
    return s;
}

static lsnn_status report(experiment *e)
{
    const lsnn_data *shown = &e->task.data[e->task.no_test ? TASK_VALID : TASK_TEST];
    char settings[128] = "", costs[192];
    lsnn_score score;
    app_outcome r;
    double mse = 0, mae = 0, learned, computed;
    lsnn_status s;
    memset(&score, 0, sizeof score);
    memset(&r, 0, sizeof r);
    s = is_regression(e) ? measure(e, shown, &mse, &mae) : lsnn_evaluate(e->net, shown, &score);
    if (s == LSNN_OK) s = lsnn_net_macs_now(e->net, &learned, &computed);
    if (s != LSNN_OK) return s;
    if (e->task.data[TASK_VALID].count)
        printf("epoch %d of %d was best on %d images that were held out\n",
               e->a.last.best_epoch + 1, e->a.epochs, e->task.data[TASK_VALID].count);
    if (is_targeted(e))
        snprintf(settings, sizeof settings, " attention=%s%s%s l2=%g beta=%g clip=%s",
                 e->attention, e->rho ? "-rho" : "", e->windows.adaptive ? "-adaptive" : "",
                 e->windows.l2, e->windows.beta, e->clip);
    snprintf(costs, sizeof costs, " macs=%.0f macs_learned=%.0f macs_computed=%.0f",
             lsnn_net_macs(e->net), learned, computed);
    if (is_regression(e))
        snprintf(costs + strlen(costs), sizeof costs - strlen(costs), " mse=%.3f mae=%.3f", mse,
                 mae);
    r.task = e->task.name;
    r.model = e->model;
    r.error = score.error;
    r.fresh = e->task.fresh;
    r.settings = settings;
    r.costs = costs;
    r.train = e->task.data[TASK_TRAIN].count;
    r.test = e->task.no_test ? 0 : shown->count;
    r.params = lsnn_net_params(e->net);
    r.seconds = e->a.last.seconds;
    r.images_per_s = e->a.last.images_per_s;
    if (e->a.profile) lsnn_net_profile(e->net, stdout);
    app_result(&e->a, &r);
    return LSNN_OK;
}

/* ---- One run ---------------------------------------------------------------------------*/
static lsnn_status learn(experiment *e, lsnn_ctx *cx)
{
    lsnn_image figure;
    lsnn_status s = task_load(&e->a, cx, &e->task);
    const lsnn_data *d = &e->task.data[TASK_TRAIN];
    memset(&figure, 0, sizeof figure);
    if (s != LSNN_OK) return s;
    e->net = make_net(e, cx, d->shape, is_regression(e) ? 1 : d->classes);
    if (!e->net) return cx->status;
    if (e->figure) s = windows_begin(cx, e->net, d, &figure);
    if (s == LSNN_OK) s = train(e);
    if (s == LSNN_OK) s = report(e);
    if (s == LSNN_OK && e->figure) s = windows_end(cx, e->net, &figure, e->figure);
    lsnn_image_free(cx, &figure);
    return s;
}

static lsnn_status slide_over(experiment *e, lsnn_ctx *cx)
{
    lsnn_build_desc d;
    memset(&d, 0, sizeof d);
    d.batch = e->a.batch;
    d.predict_only = 1;
    e->net = lsnn_net_load(cx, e->load, &d, NULL, 0);
    return e->net ? slide(&e->a, cx, e->net, e->slide, e->stride, e->figure) : cx->status;
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
    if (e->a.summary) {
        e->net = make_net(e, cx, shape_of(e->task.name), classes_of(e->task.name));
        s = e->net ? LSNN_OK : cx->status;
        if (e->net) app_summary(e->net, e->model);
    } else s = e->slide ? slide_over(e, cx) : learn(e, cx);
    task_free(cx, &e->task);
    lsnn_net_free(e->net);
    lsnn_ctx_free(cx);
    return app_end(&e->a, s);
}

/* ---- Flags -----------------------------------------------------------------------------*/
static int check_flags(experiment *e)
{
    const regime *r = regime_of(e->task.name);
    int gaussian = strcmp(e->attention, "gaussian") == 0;
    if ((e->slide != NULL) != (e->load != NULL))
        return app_refuse(&e->a, "--slide IMAGE.png and --load FILE go together");
    if (e->slide && !e->figure)
        return app_refuse(&e->a, "--slide: --figure OUT.png says where the heat map goes");
    if (e->figure && !e->slide && !is_targeted(e))
        return app_refuse(&e->a, "--figure: of a targeted model's windows");
    if (!is_targeted(e) && (e->rho || e->windows.adaptive))
        return app_refuse(&e->a, "--rho and --adaptive: of a targeted model");
    if (!e->a.epochs) e->a.epochs = r->epochs;
    if (!e->a.batch) e->a.batch = r->batch;
    if (e->task.holdout < 0)                       /* of a part of the images, as many less */
        e->task.holdout = e->a.train && !is_regression(e) ? e->a.train / 12 : r->holdout;
    if (e->task.no_test && !e->task.holdout)
        return app_refuse(&e->a, "--no-test needs --holdout N, or there is nothing to report");
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
    char name[64];
    int status, n = 0;
    app_init(&e.a, "tkn", "Targeted Kernel Networks: convolutions that look where it matters",
             "--task mnist --model tdn10 --mnist data/mnist");
    e.a.takes = "seed epochs batch lr threads device train test data mnist out save save-every resume "
                "log quiet list summary profile";
    e.a.out = "out";
    e.task.name = "mnist";
    e.model = "tdn10";
    e.attention = "cauchy";
    e.clip = "code";
    e.task.holdout = -1;
    e.decay = -1;
    e.stride = 4;
    e.windows = model_windows_default();
    own[n++] = app_choice("task", &e.task.name,
                          "mnist|tlmnist|cluttered|cifar10|svhn|gtsrb|gtsrb-box|pain", "data set");
    own[n++] = app_choice("model", &e.model, "cnn6|tkn6|dn10|tdn10|dn40|tdn40|stn|tstn", "network");
    own[n++] = app_choice("attention", &e.attention, "gaussian|cauchy", "the windows' family");
    own[n++] = app_switch("rho", &e.rho, "windows that can lie askew (bivariate)");
    own[n++] = app_real("l2", &e.windows.l2, 0, 100, "penalty on the windows' sizes");
    own[n++] = app_real("beta", &e.windows.beta, 0, 1000, "what it is multiplied by, a block");
    own[n++] = app_choice("clip", &e.clip, "paper|code", "least size: the kernel's, or 3 pixels");
    own[n++] = app_switch("adaptive", &e.windows.adaptive, "windows computed from the image");
    own[n++] = app_real("weight-decay", &e.decay, -1, 100, "on weights (-1: the task's)");
    own[n++] = app_int("holdout", &e.task.holdout, -1, 1000000,
                       "images kept to choose the epoch (-1: the task's)");
    own[n++] = app_switch("no-test", &e.task.no_test, "leave the test set alone");
    own[n++] = app_switch("fresh", &e.task.fresh, "draw the pictures anew in each epoch");
    own[n++] = app_text("figure", &e.figure, "OUT.png", "the windows, or --slide's heat map");
    own[n++] = app_text("load", &e.load, "FILE", "a trained net, for --slide");
    own[n++] = app_text("slide", &e.slide, "IMAGE.png", "run it at each place of a picture");
    own[n++] = app_int("stride", &e.stride, 1, 1000, "pixels from place to place");
    status = app_parse(&e.a, argc, argv, own, n);
    if (status != APP_GO) return status;
    if (e.a.list) {
        printf("tasks: mnist tlmnist cluttered cifar10 svhn gtsrb gtsrb-box pain\n"
               "models: cnn6 tkn6 dn10 tdn10 dn40 tdn40 stn tstn\n");
        return app_end(&e.a, LSNN_OK);
    }
    status = check_flags(&e);
    if (status != APP_GO) return status;
    if (e.slide) e.a.save = e.a.log = e.a.resume = NULL;
    status = app_start(&e.a, &cx);
    if (status == APP_GO) status = app_input(&e.a, "load", e.load);
    if (status == APP_GO) status = app_input(&e.a, "slide", e.slide);
    if (status == APP_GO) status = app_picture(&e.a, "figure", e.figure);
    snprintf(name, sizeof name, "%s-%s", e.task.name, e.model);
    if (status == APP_GO && !e.slide && !e.a.summary) status = app_default_save(&e.a, name);
    return status == APP_GO ? run(&e, &cx) : status;
}
