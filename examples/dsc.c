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
#include "trial.h"
#include "dsc_pictures.h"
#include "dsc_filters.h"

enum { LINKS = LEVELS + 2 };

typedef struct experiment {
    trial t;
    const char *image, *figure, *graph;
    int hidden, colours, steps;
    filters f;                       /* the rule's numbers, and how filters are trained   */
    link_of link[LINKS];             /* dsc's layers                                      */
    int links;
} experiment;

/* ---- The data ------------------------------------------------------------------------*/
static lsnn_shape shape_of(const experiment *e)
{
    lsnn_shape s = { 1, 28, 28 }, colour = { 3, 32, 32 };
    return strcmp(e->t.task.name, "mnist") == 0 ? s : colour;
}
static int classes_of(const experiment *e) { return strcmp(e->t.task.name, "cifar100") ? 10 : 100; }

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
    if (strcmp(e->t.model, "conv") == 0) {
        x = lsnn_max_pool(net, lsnn_relu(net, lsnn_conv2d(net, x, f, 5, NULL), NULL), 2, NULL);
        x = lsnn_max_pool(net, lsnn_relu(net, lsnn_conv2d(net, x, 2 * f, 5, NULL), NULL), 2, NULL);
    } else if (e->hidden) {
        x = lsnn_relu(net, lsnn_dense(net, x, e->hidden, NULL), NULL);
        if (strcmp(e->t.model, "dropout") == 0) x = lsnn_dropout(net, x, 0.5, NULL);
    }
    return lsnn_cross_entropy(net, lsnn_dense(net, x, classes_of(e), NULL), NULL);
}

static lsnn_net *make_net(experiment *e, lsnn_ctx *cx)
{
    lsnn_net *net = lsnn_net_new(cx);
    if (strcmp(e->t.model, "dsc") == 0) make_dsc(e, net);
    else make_peer(e, net);
    return filter_build(&e->f, net, e->t.a.batch, e->t.a.profile);
}

static lsnn_status train(experiment *e, lsnn_ctx *cx)
{
    lsnn_fit_desc d = { 0 };
    int dsc = strcmp(e->t.model, "dsc") == 0;
    lsnn_status s = LSNN_OK;
    d.optimizer.lr = dsc ? 1 : 0.05;
    d.optimizer.momentum = dsc ? 0 : 0.9;
    d.optimizer.schedule = LSNN_COSINE;          /* ours: the rule's steps shrink to 0           */
    if (dsc && e->f.count && !e->t.a.resume)
        s = filter_train(&e->f, e->t.net, cx, &e->t.task.data[TASK_TRAIN]);
    return s == LSNN_OK ? trial_fit(&e->t, &d, "", "") : s;
}

/* ---- The end ------------------------------------------------------------------------------*/
static lsnn_status report(experiment *e, lsnn_ctx *cx)
{
    const lsnn_data *tested = trial_tested(&e->t);
    double used = lsnn_net_macs(e->t.net), all = used;
    app_outcome r;
    char costs[80];
    lsnn_status s = trial_test(&e->t, &r);
    if (s != LSNN_OK) return s;
    if (e->links) count_active(e->t.net, cx, tested, e->link, e->links, &used, &all);
    snprintf(costs, sizeof costs, " active=%.4f operations=%.0f", used / all, used);
    r.costs = costs;
    if (e->graph) s = draw_graph(e->t.net, cx, tested, e->link, e->links, e->graph);
    app_result(&e->t.a, e->t.net, &r);
    return s;
}

static int run(experiment *e, lsnn_ctx *cx)
{
    lsnn_status s = LSNN_OK;
    if (e->image) s = draw_colours(cx, e->image, e->figure, e->colours, e->steps);
    else if (!(e->t.net = make_net(e, cx))) s = cx->status;
    else if (e->t.a.summary) app_summary(e->t.net, e->t.model);
    else {
        s = task_load(&e->t.a, cx, &e->t.task);
        if (s == LSNN_OK) s = train(e, cx);
        if (s == LSNN_OK) s = report(e, cx);
    }
    return trial_end(&e->t, cx, s);
}

static int check_flags(experiment *e)
{
    int dsc = strcmp(e->t.model, "dsc") == 0;
    if ((e->image != NULL) != (e->figure != NULL))
        return app_refuse(&e->t.a, "--compress IMAGE.png and --figure OUT.png go together");
    if (!dsc && (e->graph || e->f.count))
        return app_refuse(&e->t.a, "--graph and --filters: of the model dsc alone");
    if (!e->t.a.batch) e->t.a.batch = dsc ? 1 : 64;
    e->t.task.no_test = e->t.task.holdout > 0;
    e->t.a.idle = e->image != NULL;
    e->f.seed = e->t.a.seed;
    e->f.quiet = e->t.a.quiet;
    return APP_GO;
}

int main(int argc, char **argv)
{
    static lsnn_ctx cx;
    static experiment e;
    app_flag own[24];
    int status, n = trial_begin(&e.t, own, "dsc",
                                "data-driven sparse connections, and what they are compared with",
                                "--model dsc --mnist data/mnist --epochs 5",
                                "mnist|cifar10|cifar100", "dsc|dense|conv|dropout");
    e.t.a.epochs = 5;
    e.t.task.name = "mnist";
    e.t.model = "dsc";
    e.f.bright = 0.9;
    e.f.levels = 1; e.f.fields = 20000; e.f.beta = 0.1;
    e.colours = 8; e.steps = 16;
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
    own[n++] = app_int("holdout", &e.t.task.holdout, 0, 1000000,
                       "test on the last N training images");
    own[n++] = app_read_flag("compress", &e.image, "IMAGE.png", "code a picture by colour filters");
    own[n++] = app_int("colours", &e.colours, 1, 256, "filters of --compress");
    own[n++] = app_int("steps", &e.steps, 2, 256, "values of an answer");
    own[n++] = app_draw_flag("figure", &e.figure, "OUT.png", "what --compress draws");
    own[n++] = app_draw_flag("graph", &e.graph, "OUT.png", "dsc: the connections of one image");
    status = app_parse(&e.t.a, argc, argv, own, n);
    if (status == APP_GO) status = check_flags(&e);
    if (status == APP_GO) status = trial_start(&e.t, &cx);
    return status == APP_GO ? run(&e, &cx) : status;
}
