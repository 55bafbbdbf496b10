/* ranks.c - a training for test_mpi.sh: a net with batch_norm and dropout on drawn data.

       ranks [--epochs N] [--save FILE] [--resume FILE] [--every N] [--stop STEP]
             [--nan SAMPLE] [--label SAMPLE] [--diverge] [--seed-by-rank] [--fail RANK]
             [--die STEP] [--hand]

   Rank 0 prints a line a step, "STEP LOSS ERROR", and a line of scores; each rank that is told
   of a failure or a stop prints "rank R: STATUS MESSAGE". The last rank stops or dies at STEP. */
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
#include <signal.h>

enum { SIDE = 8, PIXELS = SIDE * SIDE, CLASSES = 5, SAMPLES = 90, BATCH = 33 };

typedef struct options {
    int epochs, every, stop, nan, label, diverge, by_rank, fail, die, hand;
    const char *save, *resume;
    lsnn_ctx *cx;
} options;

static void fetch(const void *user, uint32_t epoch, int index, lsnn_real *x, int *labels,
                  lsnn_real *targets)
{
    const options *o = (const options *)user;
    lsnn_rng r = lsnn_rng_at(7, "data", "", epoch, (uint32_t)index);
    int label = index % CLASSES;
    (void)targets;
    for (int i = 0; i < PIXELS; i++)
        x[i] = (lsnn_real)(lsnn_rng_normal(&r) + (i % CLASSES == label));
    if (index == o->nan) x[3] = (lsnn_real)NAN;
    if (labels) labels[0] = index == o->label ? CLASSES : label;
}

static int step(const lsnn_progress *p, void *user)
{
    const options *o = (const options *)user;
    int done = p->epoch * p->steps + p->step;
    int last = o->cx->rank == o->cx->ranks - 1;
    if (o->cx->rank == 0 && !p->epoch_done) {
        printf("%d %.12g %.12g\n", done, p->loss, p->error);
        fflush(stdout);
    }
    if (o->die == done && last) raise(SIGKILL);
    return o->stop && done >= o->stop && last;           /* it alone asks for the end */
}

static lsnn_net *make(lsnn_ctx *cx, const options *o)
{
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_build_desc d;
    int x = lsnn_input(net, 1, SIDE, SIDE);
    x = lsnn_relu(net, lsnn_batch_norm(net, lsnn_conv2d(net, x, 16, 3, NULL), NULL), NULL);
    x = lsnn_dropout(net, lsnn_max_pool(net, x, 2, NULL), 0.3, NULL);
    x = lsnn_batch_norm(net, lsnn_dense(net, x, 600, NULL), NULL);
    x = lsnn_dropout(net, lsnn_dense(net, lsnn_relu(net, x, NULL), 80, NULL), 0.5, NULL);
    lsnn_cross_entropy(net, lsnn_dense(net, x, CLASSES, NULL), NULL);
    memset(&d, 0, sizeof d);
    d.batch = BATCH;
    d.seed = o->by_rank ? (uint64_t)cx->rank : 3;
    return lsnn_net_build(net, &d) == LSNN_OK ? net : NULL;
}

/* One step by hand, as lsnn_fit makes its first, but in the data's order.          */
static lsnn_status hand(lsnn_ctx *cx, lsnn_net *net, const options *o)
{
    static lsnn_real x[BATCH * PIXELS];
    int labels[BATCH], first = BATCH * cx->rank / cx->ranks;
    int end = BATCH * (cx->rank + 1) / cx->ranks;
    double loss;
    lsnn_batch b;
    lsnn_optimizer *opt = lsnn_optimizer_new(net, NULL);
    lsnn_status s = LSNN_OK;
    memset(&b, 0, sizeof b);
    b.n = end - first;
    b.x = x;
    b.labels = labels;
    b.heads = 1;
    b.sample = (uint32_t)first;
    b.total = BATCH;
    for (int i = first; i < end; i++)
        fetch(o, 0, i, x + (i - first) * PIXELS, labels + (i - first), NULL);
    for (int i = 0; i < 3 && s == LSNN_OK; i++) {
        s = lsnn_forward(net, &b, 1, &loss);
        if (s == LSNN_OK) s = lsnn_backward(net);
        if (s == LSNN_OK) s = lsnn_optimizer_step(opt);
        if (s == LSNN_OK) s = lsnn_ranks_sum(cx, &loss, 1);
        s = lsnn_ranks_agree(cx, s);
        if (s == LSNN_OK && cx->rank == 0) printf("%d %.12g\n", i, loss);
    }
    lsnn_optimizer_free(opt);
    return s;
}

static lsnn_status train(lsnn_ctx *cx, lsnn_net *net, options *o)
{
    int confusion[CLASSES * CLASSES], sum = 0;
    lsnn_data data;
    lsnn_fit_desc d;
    lsnn_score score;
    lsnn_status s;
    memset(&data, 0, sizeof data);
    memset(&d, 0, sizeof d);
    memset(&score, 0, sizeof score);
    data.count = SAMPLES;
    data.shape.c = 1;
    data.shape.h = data.shape.w = SIDE;
    data.heads = 1;
    data.classes = CLASSES;
    data.fetch = fetch;
    data.user = o;
    d.epochs = o->epochs;
    d.optimizer.lr = o->diverge ? 1e30 : 0.05;
    d.optimizer.momentum = 0.9;
    d.optimizer.weight_decay = 1e-3;
    d.valid = o->nan >= 0 || o->label >= 0 ? NULL : &data;
    d.progress = step;
    d.user = o;
    d.save = o->save;
    d.save_every = o->every;
    d.resume = o->resume;
    s = lsnn_fit(net, &data, &d);
    if (s != LSNN_OK) return s;
    score.confusion = confusion;
    s = lsnn_evaluate(net, &data, &score);
    for (int i = 0; i < CLASSES; i++) sum += confusion[i * CLASSES + i];
    if (s == LSNN_OK && cx->rank == 0)
        printf("score %.12g %.12g %d\n", score.loss, score.error, sum);
    return s;
}

static int number(int *i, char **argv) { return atoi(argv[++*i]); }

int main(int argc, char **argv)
{
    static lsnn_ctx cx;
    options o;
    lsnn_net *net;
    lsnn_status s = LSNN_OK;
    memset(&o, 0, sizeof o);
    o.epochs = 3;
    o.nan = o.label = o.fail = -1;
    o.cx = &cx;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--epochs") == 0) o.epochs = number(&i, argv);
        else if (strcmp(argv[i], "--every") == 0) o.every = number(&i, argv);
        else if (strcmp(argv[i], "--stop") == 0) o.stop = number(&i, argv);
        else if (strcmp(argv[i], "--nan") == 0) o.nan = number(&i, argv);
        else if (strcmp(argv[i], "--label") == 0) o.label = number(&i, argv);
        else if (strcmp(argv[i], "--fail") == 0) o.fail = number(&i, argv);
        else if (strcmp(argv[i], "--save") == 0) o.save = argv[++i];
        else if (strcmp(argv[i], "--resume") == 0) o.resume = argv[++i];
        else if (strcmp(argv[i], "--diverge") == 0) o.diverge = 1;
        else if (strcmp(argv[i], "--seed-by-rank") == 0) o.by_rank = 1;
        else if (strcmp(argv[i], "--die") == 0) o.die = number(&i, argv);
        else if (strcmp(argv[i], "--hand") == 0) o.hand = 1;
        else return 2;
    }
    cx.threads = 1;
    if (lsnn_ranks_start(&cx) != LSNN_OK) return 1;
    if (cx.rank == o.fail) s = lsnn_fail(&cx, LSNN_EIO, "no such disk");
    net = s == LSNN_OK ? make(&cx, &o) : NULL;
    if (net) s = o.hand ? hand(&cx, net, &o) : train(&cx, net, &o);
    if (s != LSNN_OK) {
        printf("rank %d: %d %s\n", cx.rank, (int)s, cx.message);
        fflush(stdout);
    }
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    return s < 0;
}
