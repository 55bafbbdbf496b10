/* dsc.c - "Data-driven Sparse Connections for Deep Convolutional Neural Network" (Liu, Xiang;
   an unfinished draft), beside the networks that it wants to beat.

   Build: cc -O2 examples/dsc.c -o examples/dsc -lm
          (add -DLSNN_USE_ZLIB -lz to read MNIST's .gz files as they are)
   Run:   examples/dsc --mnist data/mnist --epochs 5

   --model dsc learns by the draft's rule, not by gradients: a layer of connections from the
   pixels to the classes, with --hidden N a layer of neurons between them, with --filters N
   kernels that are trained before, layer by layer, on random fields of random images, by
   lateral depression alone. dense, dropout and conv are of the size that --hidden says.
   --compress codes a picture by colour filters; --graph draws the connections that one image
   uses. What the draft says, what it leaves open and what came of it: docs/dsc.md.     */
#define LSNN_IMPLEMENTATION
#include "../lsnn.h"
#include "app.h"
#include "task.h"
#include "dsc_pictures.h"
#include "dsc_filters.h"

enum { LINKS = LEVELS + 2 };

typedef struct experiment {
    app a;
    const char *model, *image, *figure, *graph;
    int hidden, colours, steps;
    filters f;                       /* the rule's numbers, and how filters are trained   */
    task_sets task;
    lsnn_net *net;
    link_of link[LINKS];             /* dsc's layers                                      */
    int links;
} experiment;

/* ---- The data ------------------------------------------------------------------------*/
static const lsnn_data *tested_on(const experiment *e)
{
    return &e->task.data[e->task.no_test ? TASK_VALID : TASK_TEST];
}

static lsnn_shape shape_of(const experiment *e)
{
    lsnn_shape s = { 1, 28, 28 }, colour = { 3, 32, 32 };
    return strcmp(e->task.name, "mnist") == 0 ? s : colour;
}
static int classes_of(const experiment *e) { return strcmp(e->task.name, "cifar100") ? 10 : 100; }

/* ---- The networks --------------------------------------------------------------------*/
static const char *linked(experiment *e, const char *from, const char *name, int kernel)
{
    link_of *l = &e->link[e->links++];
    l->from = from;
    l->name = name;
    l->kernel = kernel;
    return name;
}

static int make_dsc(experiment *e, lsnn_net *net)
{
    lsnn_options score = filter_options(&e->f, "score"), hidden = filter_options(&e->f, "hidden");
    const char *last = "dim";
    int x = filter_input(net, shape_of(e));
    if (e->f.count) x = filter_layers(&e->f, net, x, e->f.levels, e->f.levels);
    for (int i = 0; i < e->f.levels && e->f.count; i++)
        last = linked(e, last, filter_name[i], filter_kernel(i));
    if (e->hidden) x = lsnn_dsc_dense(net, x, e->hidden, &hidden);
    if (e->hidden) last = linked(e, last, "hidden", 0);
    linked(e, last, "score", 0);
    score.dsc_sums = 1;
    return lsnn_dsc_loss(net, lsnn_dsc_dense(net, x, classes_of(e), &score), NULL);
}

/* As many kernels as fit into the dense network's number of parameters.                */
static int conv_filters(const experiment *e)
{
    lsnn_shape s = shape_of(e);
    double in = (double)s.c * s.h * s.w, side = (s.h - 12) / 4, most;
    int f = 1, classes = classes_of(e);
    most = e->hidden ? (in + 1 + classes) * e->hidden + classes : (in + 1) * classes;
    while (f < 256 && 25.0 * s.c * (f + 1) + 50.0 * (f + 1) * (f + 1) + 3.0 * (f + 1) +
           (2.0 * (f + 1) * side * side + 1) * classes <= most) f++;
    return f;
}

static int make_peer(experiment *e, lsnn_net *net)
{
    lsnn_shape in = shape_of(e);
    int x = lsnn_input(net, in.c, in.h, in.w), f = conv_filters(e);
    if (strcmp(e->model, "conv") == 0) {
        x = lsnn_max_pool(net, lsnn_relu(net, lsnn_conv2d(net, x, f, 5, NULL), NULL), 2, NULL);
        x = lsnn_max_pool(net, lsnn_relu(net, lsnn_conv2d(net, x, 2 * f, 5, NULL), NULL), 2, NULL);
    } else if (e->hidden) {
        x = lsnn_relu(net, lsnn_dense(net, x, e->hidden, NULL), NULL);
        if (strcmp(e->model, "dropout") == 0) x = lsnn_dropout(net, x, 0.5, NULL);
    }
    return lsnn_cross_entropy(net, lsnn_dense(net, x, classes_of(e), NULL), NULL);
}

static lsnn_net *make_net(experiment *e, lsnn_ctx *cx)
{
    lsnn_net *net = lsnn_net_new(cx);
    if (strcmp(e->model, "dsc") == 0) make_dsc(e, net);
    else make_peer(e, net);
    return filter_build(&e->f, net, e->a.batch, e->a.profile);
}

static lsnn_status train(experiment *e, lsnn_ctx *cx)
{
    lsnn_fit_desc d = { 0 };
    char note[100];
    int dsc = strcmp(e->model, "dsc") == 0;
    lsnn_status s = LSNN_OK;
    snprintf(note, sizeof note, "task=%s seed=%.0f data=%08x", e->task.name, (double)e->a.seed,
             app_data_mark(&e->task.data[TASK_TRAIN]));
    d.note = note;
    d.optimizer.lr = dsc ? 1 : 0.05;
    d.optimizer.momentum = dsc ? 0 : 0.9;
    d.optimizer.schedule = LSNN_COSINE;          /* ours: the rule's steps shrink to 0           */
    if (dsc && e->f.count && !e->a.resume) s = filter_train(&e->f, e->net, cx, &e->task.data[TASK_TRAIN]);
    return s == LSNN_OK ? app_fit(&e->a, e->net, &e->task.data[TASK_TRAIN], &d) : s;
}

/* ---- The end ------------------------------------------------------------------------------*/
static lsnn_status report(experiment *e, lsnn_ctx *cx)
{
    lsnn_score score = { 0 };
    app_outcome r = { 0 };
    lsnn_status s = lsnn_evaluate(e->net, tested_on(e), &score);
    double used = lsnn_net_macs(e->net), all = used;
    char costs[80];
    if (s != LSNN_OK) return s;
    r.task = e->task.name;
    r.model = e->model;
    r.error = score.error;
    r.train = e->task.data[TASK_TRAIN].count;
    r.test = e->task.no_test ? 0 : tested_on(e)->count;
    r.params = lsnn_net_params(e->net);
    r.seconds = e->a.last.seconds;
    r.images_per_s = e->a.last.images_per_s;
    if (e->links) count_active(e->net, cx, tested_on(e), e->link, e->links, &used, &all);
    snprintf(costs, sizeof costs, " active=%.4f operations=%.0f", used / all, used);
    r.costs = costs;
    if (e->graph) s = draw_graph(e->net, cx, tested_on(e), e->link, e->links, e->graph);
    if (e->a.profile) lsnn_net_profile(e->net, stdout);
    app_result(&e->a, &r);
    return s;
}

static int run(experiment *e, lsnn_ctx *cx)
{
    lsnn_status s = LSNN_OK;
    if (e->image) s = draw_colours(cx, e->image, e->figure, e->colours, e->steps);
    else if (!(e->net = make_net(e, cx))) s = cx->status;
    else if (e->a.summary) app_summary(e->net, e->model);
    else {
        s = task_load(&e->a, cx, &e->task);
        if (s == LSNN_OK) s = train(e, cx);
        if (s == LSNN_OK) s = report(e, cx);
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
    app_flag own[24];
    char name[64];
    int status, n = 0;
    app_init(&e.a, "dsc", "data-driven sparse connections, and what they are compared with",
             "--model dsc --mnist data/mnist --epochs 5");
    e.a.takes = "seed epochs batch lr threads train test data mnist out save save-every resume log "
                "quiet list summary profile";
    e.a.epochs = 5;
    e.a.out = "out";
    e.task.name = "mnist";
    e.model = "dsc";
    e.f.bright = 0.9;
    e.f.levels = 1; e.f.fields = 20000; e.f.beta = 0.1;
    e.colours = 8; e.steps = 16;
    own[n++] = app_choice("task", &e.task.name, "mnist|cifar10|cifar100", "which data set");
    own[n++] = app_choice("model", &e.model, "dsc|dense|conv|dropout", "which network");
    own[n++] = app_int("hidden", &e.hidden, 0, 10000, "hidden neurons (0: none); conv: as large");
    own[n++] = app_int("filters", &e.f.count, 0, 256, "dsc: kernels, trained on fields first");
    own[n++] = app_int("levels", &e.f.levels, 1, LEVELS, "layers of them, each twice as many");
    own[n++] = app_int("fields", &e.f.fields, 1, 100000000, "random fields a level");
    own[n++] = app_real("beta", &e.f.beta, 0, 1, "lateral depression: the winner's lead");
    own[n++] = app_int("neighbours", &e.f.neighbours, 0, 256, "maps on either side, 0: all");
    own[n++] = app_real("bright", &e.f.bright, 0, 1, "what a full pixel is to dsc");
    own[n++] = app_real("xi", &e.f.rule.dsc_xi, 0, 1, "the rule's rates (0: 0.3)");
    own[n++] = app_real("eta", &e.f.rule.dsc_eta, 0, 1, "(0: 0.5)");
    own[n++] = app_real("alpha-max", &e.f.rule.dsc_alpha_max, 0, 1, "(0: 0.9)");
    own[n++] = app_real("tau", &e.f.rule.dsc_tau, 0, 1, "how near to it a kind changes (0: 0.5)");
    own[n++] = app_switch("printed", &e.f.printed, "closed connections open as the draft has it");
    own[n++] = app_int("holdout", &e.task.holdout, 0, 1000000, "test on the last N training images");
    own[n++] = app_text("compress", &e.image, "IMAGE.png", "code a picture by colour filters");
    own[n++] = app_int("colours", &e.colours, 1, 256, "filters of --compress");
    own[n++] = app_int("steps", &e.steps, 2, 256, "values of an answer");
    own[n++] = app_text("figure", &e.figure, "OUT.png", "what --compress draws");
    own[n++] = app_text("graph", &e.graph, "OUT.png", "dsc: the connections of one image");
    status = app_parse(&e.a, argc, argv, own, n);
    if (status != APP_GO) return status;
    if (e.a.list) {
        printf("tasks: mnist cifar10 cifar100\nmodels: dsc dense conv dropout\n");
        return app_end(&e.a, LSNN_OK);
    }
    if ((e.image != NULL) != (e.figure != NULL))
        return app_refuse(&e.a, "--compress IMAGE.png and --figure OUT.png go together");
    if (strcmp(e.model, "dsc") && (e.graph || e.f.count))
        return app_refuse(&e.a, "--graph and --filters: of the model dsc alone");
    if (!e.a.batch) e.a.batch = strcmp(e.model, "dsc") ? 64 : 1;
    e.task.no_test = e.task.holdout > 0;
    e.f.seed = e.a.seed;
    e.f.quiet = e.a.quiet;
    if (e.image) e.a.save = e.a.log = e.a.resume = NULL;
    status = app_start(&e.a, &cx);
    if (status == APP_GO) status = app_input(&e.a, "compress", e.image);
    if (status == APP_GO) status = app_picture(&e.a, "figure", e.figure);
    if (status == APP_GO) status = app_picture(&e.a, "graph", e.graph);
    snprintf(name, sizeof name, "%s-%s", e.task.name, e.model);
    if (status == APP_GO && !e.image) status = app_default_save(&e.a, name);
    return status == APP_GO ? run(&e, &cx) : status;
}
