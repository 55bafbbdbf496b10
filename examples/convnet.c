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
#include "trial.h"
#include "lecture.h"

enum { CLASSES = 10, MNIST = 28, FRAME = 32, EDGE = (FRAME - MNIST) / 2 };

typedef struct experiment {
    trial t;
    const char *pool, *learn, *image, *figure;
    model_pooling pooling;
    int kernels, explain, maps;
    double decay, rubbish;
    lsnn_data plain[TASK_PARTS];     /* LeNet-5's digits, before they are framed      */
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

static int is_lenet(const experiment *e) { return strncmp(e->t.model, "lenet5", 6) == 0; }

/* What the net is given: the task's pictures, for LeNet-5 framed.                     */
static lsnn_status get_data(experiment *e, lsnn_ctx *cx)
{
    lsnn_status s = task_load(&e->t.a, cx, &e->t.task);
    for (int p = TASK_TRAIN; p < TASK_PARTS && is_lenet(e); p++) {
        lsnn_data *d = &e->t.task.data[p];
        e->plain[p] = *d;
        d->fetch = fetch_framed;
        d->user = &e->plain[p];
        d->shape.h = d->shape.w = FRAME;
    }
    return s;
}

/* ---- The network -----------------------------------------------------------------------*/
static lsnn_net *make_net(experiment *e, lsnn_ctx *cx)
{
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_options loss = model_options(NULL);
    lsnn_build_desc d = app_build(&e->t.a);
    int side = is_lenet(e) ? FRAME : MNIST, x = lsnn_input(net, 1, side, side), lenet5;
    lenet5 = strcmp(e->t.model, "lenet5") == 0;
    if (lenet5) loss.rubbish = e->rubbish;
    x = strcmp(e->t.model, "convnet") == 0 ? model_convnet(net, x, CLASSES, e->maps, &e->pooling)
                                         : model_by_name(net, e->t.model, x, CLASSES);
    lsnn_cross_entropy(net, x, &loss);
    if (lsnn_net_build(net, &d) == LSNN_OK &&
        (!lenet5 || model_lenet5_start(net, e->t.a.seed) == LSNN_OK)) return net;
    lsnn_net_free(net);
    return NULL;
}

static lsnn_status train(experiment *e)
{
    lsnn_fit_desc d;
    memset(&d, 0, sizeof d);
    d.optimizer.lr = strcmp(e->t.model, "lenet5") == 0 ? 0.001
                   : strcmp(e->t.model, "lenet5-modern") ? 0.1 : 0.02;
    d.optimizer.momentum = 0.9;
    d.optimizer.weight_decay = e->decay;
    trial_warm_up(&e->t, &d);
    return trial_fit(&e->t, &d, is_lenet(e) ? " frame=32" : " frame=28", "");
}

/* What p has become, where it was learned.                                           */
static void print_norms(experiment *e)
{
    size_t count;
    const char *name;
    for (int i = 0; (name = lsnn_net_param_name(e->t.net, 0, i, &count)) != NULL; i++) {
        lsnn_real rho[64];
        if (strcmp(name, "pool1.rho") != 0 || count > 64 ||
            lsnn_net_get(e->t.net, name, rho, count) != LSNN_OK) continue;
        printf("norms");
        for (size_t k = 0; k < count; k++) printf(" %.2f", 1 + log1p(exp((double)rho[k])));
        printf("\n");
    }
}

static lsnn_status report(experiment *e)
{
    app_outcome r;
    lsnn_status s = trial_test(&e->t, &r);
    if (s != LSNN_OK) return s;
    print_norms(e);
    app_result(&e->t.a, e->t.net, &r);
    return LSNN_OK;
}

static int run(experiment *e, lsnn_ctx *cx)
{
    lsnn_status s = LSNN_OK;
    if (e->explain) s = lecture_explain(cx, e->t.a.seed);
    else if (e->kernels) s = lecture_kernels(&e->t.a, cx, e->image, e->figure);
    else if (!(e->t.net = make_net(e, cx))) s = cx->status;
    else if (e->t.a.summary) app_summary(e->t.net, e->t.model);
    else {
        s = get_data(e, cx);
        if (s == LSNN_OK) s = train(e);
        if (s == LSNN_OK) s = report(e);
    }
    return trial_end(&e->t, cx, s);
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
    int convnet = strcmp(e->t.model, "convnet") == 0, lp = strcmp(e->pool, "lp") == 0;
    model_pooling *p = &e->pooling;
    p->kind = e->pool;
    p->learn = strcmp(e->learn, "layer") == 0 ? LSNN_NORM_OF_LAYER
             : strcmp(e->learn, "map") == 0 ? LSNN_NORM_OF_MAP : LSNN_NORM_FIXED;
    if (!convnet && (strcmp(e->pool, "max") != 0 || p->kernel || p->stride || e->maps != 20))
        return app_refuse(&e->t.a, "--maps and --pool: of the model convnet alone");
    if (strcmp(e->t.model, "lenet5") != 0 && fabs(e->rubbish - 10) > 0)
        return app_refuse(&e->t.a, "--rubbish: of the model lenet5 alone");
    if (!(convnet && lp) && (p->norm > 0 || p->learn))
        return app_refuse(&e->t.a, "--norm and --learn-norm: for --pool lp");
    if ((e->kernels != 0) != (e->figure != NULL))
        return app_refuse(&e->t.a, "--kernels [IMAGE.png] and --figure OUT.png go together");
    return APP_GO;
}

int main(int argc, char **argv)
{
    static lsnn_ctx cx;
    static experiment e;
    app_flag own[16];
    int status, n = trial_begin(&e.t, own, "convnet",
                                "the lecture's networks, image kernels and exercise",
                                "--model convnet --mnist data/mnist --epochs 20", "mnist",
                                "mlp|convnet|lenet5|lenet5-modern");
    e.t.a.takes = TRIAL_FLAGS;
    e.t.a.epochs = 20;
    e.t.a.batch = 64;
    e.t.task.name = "mnist";
    e.t.model = "convnet";
    e.pool = "max";
    e.learn = "no";
    e.rubbish = 10;
    e.maps = 20;
    n += trial_holdout_flags(&e.t, own + n);
    own[n++] = app_int("maps", &e.maps, 1, 1000, "the convnet's feature maps");
    own[n++] = app_choice("pool", &e.pool, "max|average|sum|lp", "the convnet's pooling");
    own[n++] = app_int("pool-size", &e.pooling.kernel, 0, 24, "side of its windows (0: 2)");
    own[n++] = app_int("pool-stride", &e.pooling.stride, 0, 24, "0: the side; less overlaps");
    own[n++] = app_real("norm", &e.pooling.norm, 0, 1e6, "p of --pool lp, at least 1 (0: 2)");
    own[n++] = app_choice("learn-norm", &e.learn, "no|layer|map", "learns p, one a ...");
    own[n++] = app_real("rubbish", &e.rubbish, 0, 1000, "j of lenet5's loss, 0: without");
    own[n++] = app_real("weight-decay", &e.decay, 0, 100, "on weights");
    own[n++] = app_switch("kernels", &e.kernels, "filter [IMAGE.png], or a built-in picture");
    own[n++] = app_draw_flag("figure", &e.figure, "OUT.png", "what --kernels draws");
    own[n++] = app_switch("explain", &e.explain, "print a shared weight's gradient, term by term");
    argc = take_picture(&e, argc, argv);
    status = app_parse(&e.t.a, argc, argv, own, n);
    if (status == APP_GO) status = check_flags(&e);
    e.t.a.idle = e.explain || e.kernels;
    if (status == APP_GO) status = trial_start(&e.t, &cx);
    if (status == APP_GO) status = app_input(&e.t.a, "kernels", e.image);
    return status == APP_GO ? run(&e, &cx) : status;
}
