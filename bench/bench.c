/* bench.c - how fast lsnn trains, predicts and multiplies, beside its peers in the same run.

   Build: make bench/bench        or  cc -O2 bench/bench.c -o bench/bench -lm -ldl
   Run:   make bench                              train, predict and gemm; then the chart
          make bench WHAT=train NET=cnn BATCH=64 THREADS=2               one line of it

   train    forward, loss, backward and update; lc-layer: one layer, forward and backward.
            Peer: PyTorch. Before the clock starts both sides take one step from the same
            parameters: loss, gradients and updated parameters must agree.
   predict  lsnn_predict, 128 images a call and one a call. Peer: ONNX Runtime with the same
            weights; its scores must be ours.
   gemm     square products, and those of these nets' dense layers. Peer: OpenBLAS.
   conv     the big convolutions of cnn6, counted with their padding; peer: the limit below
   target   target2d beside the whole convolution, at some shares of a map; lines of its own
   weights  a local layer of 251 MB of weights on one image; peer: copying
   limit    multiply-adds in registers, copying in memory: what this machine can do
   threads  training by all threads; peer: the same by one
   scale    training against batch, side of the image, channels: a cliff is a size that costs
            more than twice as much an operation as the next one
   memory   peak size of a process that trains; peer: what its net must hold
   draw     drawing of fresh cluttered images, % of the step that draws and trains
   start    cc -O2 examples/hello.c, and a program's start, in seconds

   Every line is the median of --pairs runs of --seconds on each side, in turn; ratio is the
   median of the pairs' ratios (above 1: ours is faster). Lines are added to build/bench.csv,
   which --missing reads to go on where a run ended; build/bench.png draws the newest line of
   each kind. A missing peer leaves its fields out and says so on stderr.

   Peers are installed by hand, outside of this project; nothing here fetches anything:
     PyTorch       apt-get install python3-torch
     OpenBLAS      apt-get install libopenblas0
     ONNX Runtime  npm install --ignore-scripts onnxruntime-node@1.30.0   in any folder, and
                   ORT_NODE=FOLDER make bench     (its scripts would only fetch CUDA parts)
   Exit status: 0 done, 1 something failed or a peer's results differed, 2 bad flag.       */
#define _POSIX_C_SOURCE 200809L
#define LSNN_IMPLEMENTATION
#include "../lsnn.h"
#include "../examples/app.h"
#include "../examples/models.h"
#include "measure.h"
#include "limit.h"
#include "peers.h"
#include "target.h"

#ifdef LSNN_DOUBLE
#error "bench.c: build without LSNN_DOUBLE; its peers compute in float"
#endif

enum { CLASSES = 10, BATCHES = 8, LARGEST = 2048, DIGITS = 500 };

/* ---- >>work: a network and its images ------------------------------------------*/
typedef struct net_case {
    const char *name;
    lsnn_shape in;
    double dropout;                  /* its rate in all such layers               */
    int onnx;                        /* ONNX Runtime predicts it too              */
} net_case;

static const net_case nets[] = {
    { "cnn", { 1, 42, 42 }, 0.5, 1 },
    { "lsnn-location", { 1, 42, 42 }, 0.5, 1 },
    { "lsnn-content", { 1, 42, 42 }, 0.5, 0 },
    { "lc", { 1, 42, 42 }, 0.5, 0 },
    { "dn10", { 1, 28, 28 }, 0, 1 },
    { "dn40", { 3, 32, 32 }, 0.2, 1 },
    { "cnn6", { 1, 28, 28 }, 0.5, 1 },
};
enum { NETS = sizeof nets / sizeof *nets };

typedef struct work {
    lsnn_ctx *cx;
    lsnn_net *net;
    lsnn_optimizer *optimizer;       /* NULL: predicts                            */
    lsnn_real *x, *y;                /* `batches` batches; scores of one          */
    int *labels, batch, batches;
    size_t pixels;                   /* of one image                              */
    uint32_t step;
} work;

/* Begins a net of that input; the caller adds layers, then calls work_build.     */
static int work_input(work *w, lsnn_ctx *cx, lsnn_shape in)
{
    memset(w, 0, sizeof *w);
    w->cx = cx;
    w->batches = BATCHES;
    w->pixels = (size_t)in.c * (size_t)in.h * (size_t)in.w;
    must((w->net = lsnn_net_new(cx)) != NULL, "a net");
    return lsnn_input(w->net, in.c, in.h, in.w);
}

static void work_build(bench *b, work *w, int scores, int batch, int training)
{
    size_t images = (size_t)w->batches * (size_t)batch, pixels = images * w->pixels;
    lsnn_rng r = lsnn_rng_at(b->a.seed, "bench", "images", 0, 0);
    lsnn_build_desc build = { batch, b->a.seed, !training, 0, NULL };
    static lsnn_optimizer_desc sgd;
    sgd.momentum = 0.9;
    w->batch = batch;
    if (training) lsnn_cross_entropy(w->net, scores, NULL);
    must(lsnn_net_build(w->net, &build) == LSNN_OK, "building the net");
    must(model_lsnn_start(w->net, b->a.seed, NULL) == LSNN_OK, "starting the net");
    if (training)
        must((w->optimizer = lsnn_optimizer_new(w->net, &sgd)) != NULL, "an optimizer");
    w->x = (lsnn_real *)malloc((pixels + (size_t)batch * CLASSES) * sizeof *w->x);
    w->labels = (int *)malloc(images * sizeof *w->labels);
    must(w->x && w->labels, "memory for the images");
    w->y = w->x + pixels;
    for (size_t i = 0; i < pixels; i++) w->x[i] = (lsnn_real)lsnn_rng_uniform(&r);
    for (size_t i = 0; i < images; i++) w->labels[i] = lsnn_rng_int(&r, CLASSES);
}

static void work_make(bench *b, work *w, lsnn_ctx *cx, const net_case *c, int batch,
                      int training)
{
    int x = work_input(w, cx, c->in);
    work_build(b, w, model_by_name(w->net, c->name, x, CLASSES), batch, training);
}

static void work_free(work *w)
{
    lsnn_optimizer_free(w->optimizer);
    lsnn_net_free(w->net);
    free(w->x);
    free(w->labels);
}

static lsnn_batch work_batch(work *w, int n)
{
    size_t first = (size_t)(w->step % (uint32_t)w->batches) * (size_t)w->batch;
    lsnn_batch batch = { n, w->x + first * w->pixels, w->labels + first, 1, NULL, 0, w->step, 0 };
    w->step++;
    return batch;
}

/* A whole training step, or a prediction.                                        */
static void work_once(void *user)
{
    work *w = (work *)user;
    lsnn_batch batch = work_batch(w, w->batch);
    double loss;
    if (!w->optimizer)
        must(lsnn_predict(w->net, batch.x, w->batch, w->y) == LSNN_OK, "lsnn_predict");
    else
        must(lsnn_forward(w->net, &batch, 1, &loss) == LSNN_OK &&
             lsnn_backward(w->net) == LSNN_OK &&
             lsnn_optimizer_step(w->optimizer) == LSNN_OK, "a training step");
}

/* ---- >>train -------------------------------------------------------------------*/
/* Dropout's factors in step 0, so that the peer drops what we drop.              */
static void check_add_masks(bench *b, check *k, work *w, double rate, int n)
{
    char name[32] = "dropout1";
    for (int i = 1, node; (node = lsnn_net_node(w->net, name)) >= 0; ) {
        lsnn_rng at = lsnn_rng_at(b->a.seed, "dropout", name, 0, 0);
        lsnn_shape s = lsnn_net_shape(w->net, node);
        int count = s.c * s.h * s.w;
        lsnn_real *v = check_add(k, "mask:", name, (size_t)n * (size_t)count);
        for (int j = 0; j < n * count; j++) v[j] = 1;
        must(lsnn_dropout_forward(w->cx, v, v, n, count, 0, rate, &at) == LSNN_OK, "a mask");
        snprintf(name, sizeof name, "dropout%d", ++i);
    }
}

/* One step on up to 8 images: where it begins, what comes in between, where it ends. */
static void check_train(bench *b, work *w, double dropout)
{
    int n = w->batch < 8 ? w->batch : 8;
    lsnn_batch batch = work_batch(w, n);
    check k = { NULL, 0, 0 };
    lsnn_real *v;
    double loss;
    check_add_net(&k, w->net, "before:", 0, 0);
    memcpy(check_add(&k, "x", "", (size_t)n * w->pixels), batch.x,
           (size_t)n * w->pixels * sizeof *w->x);
    v = check_add(&k, "labels", "", (size_t)n);
    for (int i = 0; i < n; i++) v[i] = (lsnn_real)batch.labels[i];
    check_add_masks(b, &k, w, dropout, n);
    must(lsnn_forward(w->net, &batch, 1, &loss) == LSNN_OK && lsnn_backward(w->net) == LSNN_OK,
         "a step to compare");
    *check_add(&k, "loss", "", 1) = (lsnn_real)loss;
    check_add_net(&k, w->net, "grad:", 0, 1);
    must(lsnn_optimizer_step(w->optimizer) == LSNN_OK, "an update to compare");
    check_add_net(&k, w->net, "after:", 0, 0);
    check_add_net(&k, w->net, "buffer:", 1, 0);
    check_write(b, &k);
}

static void bench_train(bench *b, const net_case *c, int batch)
{
    row r = { "train", c->name, "images/s", batch, "" };
    work w;
    child t;
    side ours = { work_once, &w, (double)batch }, peer = { NULL, &t, 0 };
    measured m;
    int both = 0;
    if (!wanted(b, r.what, r.net, batch)) return;
    work_make(b, &w, &b->cx, c, batch, 1);
    if (!b->alone) {
        check_train(b, &w, c->dropout);
        both = child_start(b, &t, &r, "python3", "torch_train.py");
        check_remove(b);
    }
    m = compare(b, b->seconds, &ours, both ? &peer : NULL);
    report(b, &r, &m);
    if (both) child_end(&t);
    work_free(&w);
}

/* ---- >>lc-layer: the locally connected layer of lc by itself ---------------------*/
typedef struct local {
    lsnn_ctx *cx;
    lsnn_window s;
    lsnn_real *v, *x, *y, *w, *b, *dy, *dw, *db;
    size_t xs, ys, ws, bs;           /* how many numbers; of x and dy BATCHES times  */
    unsigned step;
} local;

/* Forward and backward for its parameters; as in the net, nobody reads dx.       */
static void local_once(void *user)
{
    local *l = (local *)user;
    const lsnn_real *x = l->x + l->step % BATCHES * l->xs;
    const lsnn_real *dy = l->dy + l->step % BATCHES * l->ys;
    l->step++;
    memset(l->dw, 0, l->ws * sizeof *l->dw);
    memset(l->db, 0, l->bs * sizeof *l->db);
    must(lsnn_local2d_forward(l->cx, l->y, x, l->w, l->b, &l->s) == LSNN_OK &&
         lsnn_local2d_backward(l->cx, NULL, l->dw, l->db, dy, x, l->w, &l->s, LSNN_SET) ==
             LSNN_OK, "the locally connected layer");
}

static void local_make(bench *b, local *l, int batch)
{
    lsnn_shape in = { 1, 42, 42 };
    lsnn_rng r = lsnn_rng_at(b->a.seed, "bench", "local", 0, 0);
    size_t n = (size_t)batch, all;
    l->cx = &b->cx;
    must(lsnn_window_set(&b->cx, &l->s, batch, in, 16, 5, 5, 1, 1, LSNN_VALID, NULL) ==
         LSNN_OK, "the layer's window");
    l->xs = n * 42 * 42;
    l->bs = 16 * 38 * 38;
    l->ys = n * l->bs;
    l->ws = 38 * 38 * 25 * 16;
    all = BATCHES * (l->xs + l->ys) + l->ys + 2 * (l->ws + l->bs);
    must((l->v = (lsnn_real *)malloc(all * sizeof *l->v)) != NULL, "memory for the layer");
    for (size_t i = 0; i < all; i++) l->v[i] = (lsnn_real)(2 * lsnn_rng_uniform(&r) - 1);
    l->x = l->v;
    l->dy = l->x + BATCHES * l->xs;
    l->y = l->dy + BATCHES * l->ys;
    l->w = l->y + l->ys;
    l->dw = l->w + l->ws;
    l->b = l->dw + l->ws;
    l->db = l->b + l->bs;
    l->step = 0;
}

static void check_local(bench *b, const local *l)
{
    check k = { NULL, 0, 0 };
    memcpy(check_add(&k, "before:", "weight", l->ws), l->w, l->ws * sizeof *l->w);
    memcpy(check_add(&k, "before:", "bias", l->bs), l->b, l->bs * sizeof *l->b);
    memcpy(check_add(&k, "x", "", l->xs), l->x, l->xs * sizeof *l->x);
    memcpy(check_add(&k, "dy", "", l->ys), l->dy, l->ys * sizeof *l->dy);
    memcpy(check_add(&k, "y", "", l->ys), l->y, l->ys * sizeof *l->y);
    memcpy(check_add(&k, "grad:", "weight", l->ws), l->dw, l->ws * sizeof *l->dw);
    memcpy(check_add(&k, "grad:", "bias", l->bs), l->db, l->bs * sizeof *l->db);
    check_write(b, &k);
}

static void bench_local(bench *b, int batch)
{
    row r = { "train", "lc-layer", "images/s", batch, "" };
    local l;
    child t;
    side ours = { local_once, &l, (double)batch }, peer = { NULL, &t, 0 };
    measured m;
    int both = 0;
    if (!wanted(b, r.what, r.net, batch)) return;
    local_make(b, &l, batch);
    if (!b->alone) {
        local_once(&l);
        check_local(b, &l);
        both = child_start(b, &t, &r, "python3", "torch_train.py");
        check_remove(b);
    }
    m = compare(b, b->seconds, &ours, both ? &peer : NULL);
    report(b, &r, &m);
    if (both) child_end(&t);
    free(l.v);
}

/* ---- >>weights: DeepFace's L4, one image: its weights are all that costs ---------*/
static const char *const passes[] = { "forward", "dx", "dw", "step" };     /* step: all three */

typedef struct place {
    lsnn_ctx *cx;
    lsnn_window s;
    lsnn_real *w, *x, *y, *dw, *dx;
    int pass;
} place;

static void place_once(void *user)
{
    place *p = (place *)user;
    int pass = p->pass;
    lsnn_status s = LSNN_OK;
    if (pass % 3 == 0) s = lsnn_local2d_forward(p->cx, p->y, p->x, p->w, NULL, &p->s);
    if (s == LSNN_OK && pass > 0)
        s = lsnn_local2d_backward(p->cx, pass != 2 ? p->dx : NULL, pass > 1 ? p->dw : NULL, NULL,
                                  p->y, p->x, p->w, &p->s, LSNN_SET);
    must(s == LSNN_OK, "the locally connected layer");
}

/* Bytes of weights that are read, and for dw written, too, in a second, beside what a copy
   reads and writes.                                                              */
static void bench_weights(bench *b)
{
    lsnn_shape in = { 16, 63, 63 };
    row r = { "weights", NULL, "GB/s", 1, "copy" };
    size_t ws = 55 * 55 * 16 * 16 * 81, xs = 16 * 63 * 63, ys = 16 * 55 * 55, all;
    static limit l;
    place p;
    side ours = { place_once, &p, 1e-9 * (double)(ws * sizeof *p.w) }, copy;
    int any = 0;
    for (int i = 0; i < 4; i++) any |= wanted(b, r.what, passes[i], 1);
    if (!any) return;
    limit_init(&l, &b->cx);
    copy = limit_copy_side(&l);
    p.cx = &b->cx;
    must(lsnn_window_set(&b->cx, &p.s, 1, in, 16, 9, 9, 1, 1, LSNN_VALID, NULL) == LSNN_OK,
         "the layer's window");
    all = 2 * ws + 2 * xs + ys;
    must((p.w = (lsnn_real *)malloc(all * sizeof *p.w)) != NULL, "memory for the layer");
    p.dw = p.w + ws;
    p.x = p.dw + ws;
    p.dx = p.x + xs;
    p.y = p.dx + xs;
    for (size_t i = 0; i < all; i++) p.w[i] = (lsnn_real)((double)(i % 17) / 17 - 0.5);
    for (p.pass = 0; p.pass < 4; p.pass++) {
        measured m;
        r.net = passes[p.pass];
        if (!wanted(b, r.what, r.net, 1)) continue;
        if (p.pass > 1) ours.work *= 2;              /* dw is added to; 4 in a step */
        m = compare(b, b->seconds, &ours, &copy);
        report(b, &r, &m);
    }
    free(p.w);
    free(l.from);
}

/* ---- >>predict -----------------------------------------------------------------*/
/* Statistics and scales as if trained: at mean 0 and variance 1 a mistake in them would not
   show. Parameters are left alone but for batch normalisation's.                 */
static void randomise_norms(bench *b, lsnn_net *net)
{
    lsnn_rng r = lsnn_rng_at(b->a.seed, "bench", "norms", 0, 0);
    const char *name;
    size_t count;
    for (int kind = 0; kind < 2; kind++)
        for (int i = 0; (name = lsnn_net_param_name(net, kind, i, &count)) != NULL; i++) {
            int around_one = strstr(name, ".gamma") || strstr(name, ".variance");
            lsnn_real v[1024];
            if (!around_one && !strstr(name, ".beta") && !strstr(name, ".mean")) continue;
            must(count <= 1024, "a batch_norm of up to 1024 channels");
            for (size_t j = 0; j < count; j++)
                v[j] = (lsnn_real)((around_one ? 1 : 0) + 0.4 * lsnn_rng_uniform(&r) - 0.2);
            must(lsnn_net_set(net, name, v, count) == LSNN_OK, name);
        }
}

static void check_predict(bench *b, work *w)
{
    size_t n = (size_t)w->batch;
    check k = { NULL, 0, 0 };
    char path[96];
    memcpy(check_add(&k, "x", "", n * w->pixels), w->x, n * w->pixels * sizeof *w->x);
    must(lsnn_predict(w->net, w->x, w->batch, w->y) == LSNN_OK, "scores to compare");
    memcpy(check_add(&k, "y", "", n * CLASSES), w->y, n * CLASSES * sizeof *w->y);
    check_write(b, &k);
    must(lsnn_net_save(w->net, check_path(b, "net.safetensors", path)) == LSNN_OK,
         "the net for the peer");
}

static void bench_predict(bench *b, const net_case *c, int batch)
{
    row r = { "predict", c->name, "images/s", batch, "" };
    work w;
    child t;
    side ours = { work_once, &w, (double)batch }, peer = { NULL, &t, 0 };
    measured m;
    int both = 0;
    if (!wanted(b, r.what, r.net, batch)) return;
    work_make(b, &w, &b->cx, c, batch, 0);
    if (!b->alone && c->onnx) {
        randomise_norms(b, w.net);
        check_predict(b, &w);
        both = child_start(b, &t, &r, "node", "onnx_predict.js");
        check_remove(b);
    }
    m = compare(b, b->seconds, &ours, both ? &peer : NULL);
    report(b, &r, &m);
    if (both) child_end(&t);
    work_free(&w);
}

/* ---- >>threads, >>draw: lsnn beside itself ---------------------------------------*/
static void bench_threads(bench *b, const net_case *c, int batch)
{
    row r = { "threads", c->name, "images/s", batch, "one-thread" };
    static lsnn_ctx one;
    work all, single;
    side ours = { work_once, &all, (double)batch };
    side peer = { work_once, &single, (double)batch };
    measured m;
    if (!wanted(b, r.what, r.net, batch)) return;
    one.isa = b->cx.isa;
    one.threads = 1;
    work_make(b, &all, &b->cx, c, batch, 1);
    work_make(b, &single, &one, c, batch, 1);
    m = compare(b, b->seconds, &ours, &peer);
    report(b, &r, &m);
    work_free(&all);
    work_free(&single);
    lsnn_ctx_free(&one);
}

/* A batch of fresh cluttered images, drawn by all threads as lsnn_fit does it.   */
typedef struct drawing {
    lsnn_ctx *cx;
    lsnn_data data;
    lsnn_real *x;
    int *labels, batch;
    uint32_t epoch;
} drawing;

static void drawing_task(void *user, int i, int worker)
{
    drawing *d = (drawing *)user;
    (void)worker;
    d->data.fetch(d->data.user, d->epoch, i, d->x + (size_t)i * 42 * 42, d->labels + i, NULL);
}
static void drawing_once(void *user)
{
    drawing *d = (drawing *)user;
    lsnn_parallel(d->cx, d->batch, drawing_task, d);
    d->epoch++;
}

static void bench_draw(bench *b, const net_case *c, int batch)
{
    static unsigned char pixels[DIGITS * 28 * 28], labels[DIGITS];
    lsnn_idx images = { 3, { DIGITS, 28, 28, 0 }, pixels };
    lsnn_idx classes = { 1, { DIGITS, 0, 0, 0 }, labels };
    lsnn_rng rng = lsnn_rng_at(b->a.seed, "bench", "digits", 0, 0);
    row r = { "draw", c->name, "%_of_step", batch, "" };
    lsnn_recipe recipe;
    drawing d;
    work w;
    side draws = { drawing_once, &d, 1 }, trains = { work_once, &w, 1 };
    measured m;
    if (!wanted(b, r.what, r.net, batch) || batch > DIGITS) return;
    for (int i = 0; i < DIGITS; i++)
        lsnn_digit_draw(&rng, labels[i] = (unsigned char)(i % 10), pixels + i * 28 * 28);
    memset(&recipe, 0, sizeof recipe);
    recipe.task = LSNN_TASK_CLUTTERED;
    recipe.images = recipe.crops = &images;
    recipe.labels = &classes;
    recipe.fresh = 1;
    memset(&d, 0, sizeof d);
    d.cx = &b->cx;
    d.batch = batch;
    must(lsnn_data_recipe(&b->cx, &d.data, &recipe) == LSNN_OK, "the recipe");
    work_make(b, &w, &b->cx, c, batch, 1);
    d.x = w.x;
    d.labels = w.labels;
    m = compare(b, b->seconds, &trains, &draws);     /* ratio: drawing time over training's */
    report_one(b, &r, 100 * m.ratio / (1 + m.ratio));
    work_free(&w);
    lsnn_data_free(&d.data);
}

/* ---- >>memory: in a process of its own -----------------------------------------*/
/* Bytes that a training net must hold: parameters, their gradients and momentum, the outputs
   of all layers but those that the table notes as "in place", "done by" another one or "not
   made", and the batch (the first row, the input).                                           */
static double memory_parts(const work *w)
{
    double images = 0, bytes;
    char line[256];
    FILE *f = tmpfile();
    must(f != NULL, "a temporary file");
    lsnn_net_summary(w->net, f);
    rewind(f);
    while (fgets(line, sizeof line, f)) {
        int c, h, width;
        if (sscanf(line, "%*s %*s %d x %d x %d", &c, &h, &width) == 3 &&
            !strstr(line, "  in place") && !strstr(line, "  done by ") &&
            !strstr(line, "  not made")) {
            const char *only = strstr(line, " only ");   /* so much of it is computed       */
            if (only) sscanf(only, " only %d x %d", &h, &width);
            images += (double)c * h * width;
        }
    }
    fclose(f);
    bytes = (3.0 * (double)lsnn_net_params(w->net) + w->batch * images) * sizeof(lsnn_real);
    return bytes;
}

/* Trains, then prints the process's largest resident size and the parts, in bytes. */
static void memory_here(bench *b, const net_case *c, int batch)
{
    work w;
    char line[256];
    double peak = 0;
    FILE *f;
    int x = work_input(&w, &b->cx, c->in);
    w.batches = 1;
    work_build(b, &w, model_by_name(w.net, c->name, x, CLASSES), batch, 1);
    for (int i = 0; i < 3; i++) work_once(&w);
    f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %lf", &peak) == 1) break;
    if (f) fclose(f);
    printf("%.0f %.0f\n", 1024 * peak, memory_parts(&w));
    work_free(&w);
}

static void bench_memory(bench *b, const net_case *c, int batch)
{
    row r = { "memory", c->name, "MB", batch, "its-parts" };
    char command[APP_PATH + 128];
    double peak = 0, parts = 0;
    measured m;
    FILE *f;
    if (!wanted(b, r.what, r.net, batch)) return;
    snprintf(command, sizeof command, "'%s' --what memory --net %s --batch %d --threads %d "
             "--in-process", b->a.argv[0], c->name, batch, lsnn_ctx_threads(&b->cx));
    must((f = popen(command, "r")) != NULL, command);
    must(fscanf(f, "%lf %lf", &peak, &parts) == 2 && pclose(f) == 0 && parts > 0, command);
    if (peak <= 0) fprintf(stderr, "bench: memory: no VmHWM in /proc/self/status\n");
    m.ours = peak / 1e6;
    m.peer = m.peer_best = parts / 1e6;
    m.ratio = m.low = m.high = peak / parts;
    if (peak > 0) report(b, &r, &m);
}

/* ---- >>gemm: C = op(A) op(B) ----------------------------------------------------*/
typedef struct product {
    lsnn_ctx *cx;
    blas_sgemm *blas;                /* NULL: computed by lsnn                    */
    const lsnn_real *a, *b;
    lsnn_real *c;
    int trans_a, trans_b, m, n, k;
} product;

static void product_once(void *user)
{
    const product *p = (const product *)user;
    int lda = p->trans_a ? p->m : p->k, ldb = p->trans_b ? p->k : p->n;
    if (p->blas)                     /* 101: rows first; 111, 112: as it is, transposed */
        p->blas(101, 111 + p->trans_a, 111 + p->trans_b, p->m, p->n, p->k, 1, p->a, lda, p->b,
                ldb, 0, p->c, p->n);
    else
        must(lsnn_gemm(p->cx, p->trans_a, p->trans_b, p->m, p->n, p->k, p->a, lda, p->b, ldb, 0,
                       p->c, p->n) == LSNN_OK, "lsnn_gemm");
}

typedef struct gemm {
    bench *b;
    blas_sgemm *blas;
    row r;
    lsnn_real *m[4];                 /* two factors, our product, the peer's      */
} gemm;

static void bench_product(gemm *g, int trans_a, int trans_b, int m, int n, int k)
{
    product p = { &g->b->cx, NULL, g->m[0], g->m[1], g->m[2], trans_a, trans_b, m, n, k };
    product q = p;
    double flops = 2e-9 * m * n * k;
    side ours = { product_once, &p, flops }, theirs = { product_once, &q, flops };
    measured best;
    char name[48];
    snprintf(name, sizeof name, "%dx%dx%d%s", m, n, k, trans_a ? "-tn" : trans_b ? "-nt" : "");
    g->r.net = name;
    if (!wanted(g->b, "gemm", name, 1)) return;
    q.c = g->m[3];
    q.blas = g->blas;
    product_once(&p);
    product_once(&q);
    for (int i = 0; i < m * n; i++)              /* sums of k terms in [-1, 1]    */
        must(fabs((double)p.c[i] - (double)q.c[i]) <= 1e-6 * k + 1e-5, "equal products");
    best = compare(g->b, g->b->seconds / 4, &ours, g->blas ? &theirs : NULL);
    report(g->b, &g->r, &best);
}

/* What a dense layer multiplies for 64 images: forward, dx and dw.               */
static void bench_dense(gemm *g, int inputs, int outputs)
{
    bench_product(g, 0, 1, 64, outputs, inputs);
    bench_product(g, 0, 0, 64, inputs, outputs);
    bench_product(g, 1, 0, outputs, inputs, 64);
}

/* Over all products on so many threads that the CSV file knows.                  */
static void gemm_mean(bench *b, row *r)
{
    static bar bars[MAX_BARS];
    double ours = 0, ratio = 0;
    int threads = lsnn_ctx_threads(&b->cx), all = csv_bars(b, bars), count = 0;
    measured m;
    for (int i = 0; i < all; i++) {
        int rows, width = 0;
        if (strcmp(bars[i].what, "gemm") != 0 || isnan(bars[i].ratio) ||
            bars[i].threads != threads || sscanf(bars[i].net, "%dx%d", &rows, &width) != 2)
            continue;
        ours += log(bars[i].ours);
        ratio += log(bars[i].ratio);
        count++;
    }
    if (count == 0 || (b->net && strcmp(b->net, "geometric-mean") != 0)) return;
    m.ours = exp(ours / count);
    m.ratio = m.low = m.high = exp(ratio / count);
    m.peer = m.peer_best = m.ours / m.ratio;
    r->net = "geometric-mean";
    report(b, r, &m);
}

static void bench_gemm(bench *b)
{
    static const int dense[][2] = {
        { 32 * 7 * 7, 256 }, { 256, 10 },                             /* LSNN's nets */
        { 32 * 7 * 7, 80 },                                           /* lsnn-content */
        { 128 * 7 * 7, 328 }, { 328, 192 }, { 192, 10 },              /* cnn6        */
        { 96, 10 }, { 396, 10 },                                      /* dn10, dn40  */
    };
    lsnn_rng random = lsnn_rng_at(b->a.seed, "bench", "gemm", 0, 0);
    size_t size = (size_t)LARGEST * LARGEST;
    void *room;
    gemm g;
    memset(&g, 0, sizeof g);
    g.b = b;
    g.r.what = "gemm";
    g.r.unit = "GFLOPS";
    g.r.batch = 1;
    g.blas = b->alone ? NULL : find_blas(lsnn_ctx_threads(&b->cx), g.r.peer_name);
    must(posix_memalign(&room, 64, 4 * size * sizeof *g.m[0]) == 0, "memory");
    g.m[0] = (lsnn_real *)room;                  /* on whole lines, as a net's are */
    for (int i = 1; i < 4; i++) g.m[i] = g.m[0] + (size_t)i * size;
    for (size_t i = 0; i < 2 * size; i++)
        g.m[0][i] = (lsnn_real)(2 * lsnn_rng_uniform(&random) - 1);
    for (int n = 64; n <= LARGEST; n *= 2) bench_product(&g, 0, 0, n, n, n);
    for (size_t i = 0; i < sizeof dense / sizeof *dense; i++)
        bench_dense(&g, dense[i][0], dense[i][1]);
    free(g.m[0]);
    if (g.blas) gemm_mean(b, &g.r);
}

/* ---- >>conv: cnn6's convolutions beside the machine's limit ----------------------*/
typedef struct conv {
    lsnn_ctx *cx;
    lsnn_window s;
    lsnn_real *x, *y, *w;            /* and, for the backward passes, theirs      */
    int pass;                        /* 0 forward, 1 dx, 2 dw                     */
} conv;

static void conv_once(void *user)
{
    conv *c = (conv *)user;
    lsnn_status s;
    if (c->pass == 0) s = lsnn_conv2d_forward(c->cx, c->y, c->x, c->w, NULL, &c->s);
    else if (c->pass == 1)
        s = lsnn_conv2d_backward(c->cx, c->x, NULL, NULL, c->y, NULL, c->w, &c->s, LSNN_SET);
    else s = lsnn_conv2d_backward(c->cx, NULL, c->w, NULL, c->y, c->x, NULL, &c->s, LSNN_SET);
    must(s == LSNN_OK, "the convolution");
}

/* The op by itself, on plain arrays.                                             */
static void bench_conv_op(bench *b, limit *l, const char *name, lsnn_shape in, int k, int batch)
{
    row r = { "conv", NULL, "GFLOPS", batch, "fma-limit" };
    conv c;
    side ours = { conv_once, &c, 0 }, peer = limit_side(l);
    size_t xs = (size_t)batch * (size_t)(in.c * in.h * in.w), ws = (size_t)(k * in.c * 25);
    size_t ys = (size_t)batch * (size_t)(k * in.h * in.w);
    c.cx = &b->cx;
    must(lsnn_window_set(&b->cx, &c.s, batch, in, k, 5, 5, 1, 1, LSNN_SAME, NULL) == LSNN_OK,
         "the convolution's window");
    must((c.x = (lsnn_real *)calloc(xs + ys + ws, sizeof *c.x)) != NULL, "memory to convolve");
    c.y = c.x + xs;
    c.w = c.y + ys;
    for (size_t i = 0; i < xs + ys + ws; i++) c.x[i] = (lsnn_real)((double)(i % 17) / 17 - 0.5);
    ours.work = 2e-9 * (double)ws * in.h * in.w * batch;
    for (c.pass = 0; c.pass < 3; c.pass++) {
        char text[48];
        measured m;
        snprintf(text, sizeof text, "%s-%s", name, passes[c.pass]);
        r.net = text;
        if (!wanted(b, r.what, text, batch)) continue;
        m = compare(b, b->seconds, &ours, &peer);
        m.low *= m.peer / m.peer_best;
        m.high *= m.peer / m.peer_best;
        m.peer = m.peer_best;                    /* a limit is the best ever seen */
        m.ratio = m.ours / m.peer;
        report(b, &r, &m);
    }
    free(c.x);
}

/* The same convolution in a net, in whatever layout the net keeps its activations: what the
   second and third of three cost beside one. Seconds of forward and of backward.    */
typedef struct chain {
    work w;
    lsnn_real *targets;
    double forward, backward;        /* of the last call                          */
} chain;

static void chain_make(bench *b, chain *c, lsnn_shape in, int layers, int batch)
{
    lsnn_build_desc build = { batch, b->a.seed, 0, 0, NULL };
    int x = work_input(&c->w, &b->cx, in);
    size_t count = (size_t)batch * c->w.pixels;
    for (int i = 0; i < layers; i++) x = model_conv(c->w.net, x, in.c, 5);
    lsnn_mse(c->w.net, x, NULL);
    must(lsnn_net_build(c->w.net, &build) == LSNN_OK, "the chain of convolutions");
    c->w.batch = batch;
    must((c->w.x = (lsnn_real *)calloc(2 * count, sizeof *c->w.x)) != NULL, "memory");
    c->targets = c->w.x + count;
    for (size_t i = 0; i < count; i++) c->w.x[i] = (lsnn_real)((double)(i % 17) / 17 - 0.5);
}

static void chain_once(chain *c)
{
    lsnn_batch batch = { c->w.batch, c->w.x, NULL, 0, c->targets, (int)c->w.pixels, 0, 0 };
    double start = now(), loss;
    must(lsnn_forward(c->w.net, &batch, 1, &loss) == LSNN_OK, "the chain, forward");
    c->forward = now() - start;
    must(lsnn_backward(c->w.net) == LSNN_OK, "the chain, backward");
    c->backward = now() - start - c->forward;
}

static void bench_conv_net(bench *b, limit *l, const char *name, lsnn_shape in, int batch)
{
    row r = { "conv", NULL, "GFLOPS", batch, "fma-limit" };
    side peer = limit_side(l);
    double flops = 2e-9 * 25 * in.c * in.c * in.h * in.w * batch, v[3][MAX_PAIRS];
    char text[2][48];
    chain one, three;
    snprintf(text[0], sizeof text[0], "%s-in-net-forward", name);
    snprintf(text[1], sizeof text[1], "%s-in-net-backward", name);
    if (!wanted(b, r.what, text[0], batch) && !wanted(b, r.what, text[1], batch)) return;
    chain_make(b, &one, in, 1, batch);
    chain_make(b, &three, in, 3, batch);
    for (int i = -1; i < b->pairs; i++) {            /* the first warms up        */
        int j = i < 0 ? 0 : i;
        chain_once(&one);
        chain_once(&three);
        v[0][j] = 2 * flops / (three.forward - one.forward);
        v[1][j] = 4 * flops / (three.backward - one.backward);        /* dx and dw */
        v[2][j] = speed(&peer, b->seconds);
    }
    for (int pass = 0; pass < 2; pass++) {
        measured m;
        m.peer = m.peer_best = quantile(v[2], b->pairs, 1);
        m.ours = quantile(v[pass], b->pairs, 0.5);
        m.ratio = m.ours / m.peer;
        m.low = quantile(v[pass], b->pairs, 0.25) / m.peer;
        m.high = quantile(v[pass], b->pairs, 0.75) / m.peer;
        r.net = text[pass];
        report(b, &r, &m);
    }
    work_free(&one.w);
    work_free(&three.w);
}

static void bench_conv(bench *b, int batch)
{
    static limit l;
    lsnn_shape second = { 256, 14, 14 }, third = { 256, 7, 7 };
    limit_init(&l, &b->cx);
    bench_conv_op(b, &l, "conv2", second, 256, batch);
    bench_conv_op(b, &l, "conv3", third, 128, batch);
    bench_conv_net(b, &l, "conv2", second, batch);
    bench_conv_net(b, &l, "conv3", third, batch);        /* with 256 kernels, not 128 */
}

/* ---- >>scale: how cost grows -----------------------------------------------------*/
/* Two 5x5 convolutions, pooled, and a dense layer; one size grows.                */
typedef struct point {
    int channels, side, batch;
    double images, gflops;           /* a second                                  */
} point;

/* Trains a while. Keeps the best of all runs: a cliff shows in each, a disturbance doesn't. */
static void scale_measure(bench *b, point *p)
{
    lsnn_shape in = { 1, p->side, p->side };
    work w;
    side ours = { work_once, &w, (double)p->batch };
    int x = work_input(&w, &b->cx, in), c = 1, h = p->side;
    double macs = 0;                 /* of a step: the first convolution has no dx, and what */
    for (int i = 0; i < 2; i++) {    /*   no pooling reads is not computed                   */
        x = lsnn_relu(w.net, lsnn_conv2d(w.net, x, p->channels, 5, NULL), NULL);
        x = lsnn_max_pool(w.net, x, 2, NULL);
        h = (h - 4) / 2;
        macs += (i ? 3.0 : 2.0) * 25 * c * p->channels * (2 * h) * (2 * h);
        c = p->channels;
    }
    macs += 3.0 * CLASSES * c * h * h;
    w.batches = 1;
    work_build(b, &w, lsnn_dense(w.net, x, CLASSES, NULL), p->batch, 1);
    for (int i = 0; i < 5; i++) p->images = fmax(p->images, speed(&ours, b->seconds / 5));
    p->gflops = 2e-9 * macs * p->images;
    work_free(&w);
}

static double scale_step(const point *p)         /* from one point to the next   */
{
    return fmax(p[1].gflops / p[0].gflops, p[0].gflops / p[1].gflops);
}

/* One series; its last line is the largest ratio of what an operation costs at two
   neighbouring sizes. Steep steps are measured again, to be sure of them.         */
static void scale_series(bench *b, const char *name, const int *sizes, int count)
{
    row r = { "scale", NULL, "images/s", 1, "" };
    point p[MAX_PAIRS];
    char text[48];
    double worst = 1;
    for (int i = 0; i < count; i++) {
        point q = { 16, 42, 32, 0, 0 };
        *(*name == 'c' ? &q.channels : *name == 's' ? &q.side : &q.batch) = sizes[i];
        p[i] = q;
        scale_measure(b, &p[i]);
    }
    for (int again = 0; again < 3; again++)
        for (int i = 0; i + 1 < count; i++) {
            if (scale_step(&p[i]) < 1.5) continue;
            scale_measure(b, &p[i]);
            scale_measure(b, &p[i + 1]);
        }
    r.net = text;
    for (int i = 0; i < count; i++) {
        r.batch = p[i].batch;
        snprintf(text, sizeof text, "%s-%d", name, sizes[i]);
        r.unit = "images/s";
        report_one(b, &r, p[i].images);
        r.unit = "GFLOPS";
        report_one(b, &r, p[i].gflops);
        if (i + 1 < count) worst = fmax(worst, scale_step(&p[i]));
    }
    r.batch = 1;
    r.unit = "x";
    snprintf(text, sizeof text, "%s-cliff", name);
    report_one(b, &r, worst);
}

static void bench_scale(bench *b)
{
    static const int batches[] = { 1, 2, 3, 4, 6, 8, 12, 16, 24, 31, 32, 33, 48, 63, 64, 65, 96,
                                   127, 128, 129, 192, 256, 257, 384, 512, 768, 1024 };
    static const int sides[] = { 28, 29, 31, 32, 33, 40, 42, 48, 56, 63, 64, 65, 80, 96, 112,
                                 113, 128, 160, 192, 223, 224 };
    static const int channels[] = { 8, 9, 12, 16, 17, 24, 31, 32, 33, 48, 64, 65, 96, 127, 128,
                                    192, 256, 257, 384, 512 };
    if (wanted(b, "scale", "batch-cliff", 1))
        scale_series(b, "batch", batches, sizeof batches / sizeof *batches);
    if (wanted(b, "scale", "side-cliff", 1))
        scale_series(b, "side", sides, sizeof sides / sizeof *sides);
    if (wanted(b, "scale", "channels-cliff", 1))
        scale_series(b, "channels", channels, sizeof channels / sizeof *channels);
}

/* ---- >>start: from cc to a running program ----------------------------------------*/
/* Seconds until that program has ended; its output is thrown away.               */
static double run_program(char *const *argv)
{
    double start = now();
    pid_t pid = fork();
    int status;
    must(pid >= 0, "fork");
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stdout)) _exit(126);
        execvp(argv[0], argv);
        _exit(127);
    }
    must(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0,
         argv[0]);
    return now() - start;
}

static void bench_start(bench *b)
{
    row r = { "start", "compile-hello", "s", 1, "" };
    const char *self = b->a.argv[0], *slash = strrchr(self, '/'), *cc = getenv("CC");
    double v[MAX_PAIRS];
    char command[2 * APP_PATH], out[] = "/tmp/lsnn-XXXXXX", *help[3], *shell[4];
    int file = mkstemp(out), compiles = b->pairs < 3 ? b->pairs : 3;
    must(file >= 0, "a temporary file");
    close(file);
    snprintf(command, sizeof command, "%s -O2 '%.*s../examples/hello.c' -o %s -lm",
             cc && *cc ? cc : "cc", slash ? (int)(slash + 1 - self) : 0, self, out);
    shell[0] = (char *)(uintptr_t)"sh";
    shell[1] = (char *)(uintptr_t)"-c";
    shell[2] = command;
    help[0] = b->a.argv[0];
    help[1] = (char *)(uintptr_t)"--help";
    shell[3] = help[2] = NULL;
    if (wanted(b, r.what, r.net, 1)) {
        for (int i = 0; i < compiles; i++) v[i] = run_program(shell);
        report_one(b, &r, quantile(v, compiles, 0.5));
    }
    remove(out);
    r.net = "program";
    if (!wanted(b, r.what, r.net, 1)) return;
    for (int i = -1; i < b->pairs; i++) v[i < 0 ? 0 : i] = run_program(help);
    report_one(b, &r, quantile(v, b->pairs, 0.5));
}

/* ---- >>main --------------------------------------------------------------------*/
/* OpenMP's threads wait by spinning, and would still do so when it is the other side's
   turn: both sides get a short spin. OpenBLAS uses AVX-512 on newer processors only when
   told, whatever was set before: a peer is measured at its best. All this is read when a
   program starts, so start again with it.                                        */
static void set_environment(char **argv)
{
    const char *core = getenv("OPENBLAS_CORETYPE");
    int changed = 0;
    if (!getenv("GOMP_SPINCOUNT")) changed |= setenv("GOMP_SPINCOUNT", "1000", 1) == 0;
    if (!getenv("KMP_BLOCKTIME")) changed |= setenv("KMP_BLOCKTIME", "1", 1) == 0;
    if (lsnn_isa_available(LSNN_ISA_AVX512) && (!core || strcmp(core, "SKYLAKEX") != 0))
        changed |= setenv("OPENBLAS_CORETYPE", "SKYLAKEX", 1) == 0;
    if (changed) execvp(argv[0], argv);
}

/* batch 0: what is usual there.                                                  */
static void bench_what(bench *b, const char *what, int in_process)
{
    int batch = b->a.batch ? b->a.batch : 64;
    if (strcmp(what, "main") == 0) {
        bench_what(b, "train", 0);
        bench_what(b, "predict", 0);
        bench_what(b, "gemm", 0);
    }
    if (strcmp(what, "gemm") == 0) bench_gemm(b);
    if (strcmp(what, "conv") == 0) bench_conv(b, batch);
    if (strcmp(what, "target") == 0) bench_target(b, batch);
    if (strcmp(what, "weights") == 0) bench_weights(b);
    if (strcmp(what, "limit") == 0) bench_limit(b);
    if (strcmp(what, "scale") == 0) bench_scale(b);
    if (strcmp(what, "start") == 0) bench_start(b);
    if (strcmp(what, "draw") == 0) bench_draw(b, &nets[0], batch);
    for (int i = 0; i < NETS; i++) {
        const net_case *c = &nets[i];
        if (strcmp(what, "train") == 0) bench_train(b, c, batch);
        if (strcmp(what, "train") == 0 && strcmp(c->name, "lc") == 0) bench_local(b, batch);
        if (strcmp(what, "threads") == 0) bench_threads(b, c, batch);
        if (strcmp(what, "predict") == 0) {
            bench_predict(b, c, b->a.batch ? b->a.batch : 128);
            if (!b->a.batch) bench_predict(b, c, 1);
        }
        if (strcmp(what, "memory") == 0 && !in_process) bench_memory(b, c, batch);
        if (in_process && b->net && strcmp(b->net, c->name) == 0) memory_here(b, c, batch);
    }
}

int main(int argc, char **argv)
{
    static bench b;
    const char *what = "main", *png = "build/bench.png";
    int status, in_process = 0, count = 0;
    app_flag own[9];
    set_environment(argv);
    app_init(&b.a, "bench", "measures speed", "--what train --net cnn --batch 64 --threads 2");
    b.a.takes = "seed batch threads";
    b.seconds = 0.5;
    b.pairs = 7;
    b.csv_path = "build/bench.csv";
    own[count++] = app_choice("what", &what, "main|train|predict|gemm|conv|target|weights|limit|"
                              "threads|scale|memory|draw|start",
                              "is measured; main: the first three");
    own[count++] = app_text("net", &b.net, "NAME", "only lines of that name");
    own[count++] = app_real("seconds", &b.seconds, 0.01, 600, "of one run");
    own[count++] = app_int("pairs", &b.pairs, 1, MAX_PAIRS, "runs of each side; medians count");
    own[count++] = app_switch("alone", &b.alone, "leave the peers out");
    own[count++] = app_switch("missing", &b.missing, "only lines that the CSV file lacks");
    own[count++] = app_text("csv", &b.csv_path, "FILE", "gets each line too");
    own[count++] = app_text("png", &png, "FILE", "the chart of all that the CSV file knows");
    own[count++] = app_switch("in-process", &in_process, "memory: of this process, net --net");
    status = app_parse(&b.a, argc, argv, own, count);
    if (status == APP_GO) status = app_start(&b.a, &b.cx);
    if (status == APP_GO && !in_process) status = app_output(&b.a, "csv", b.csv_path);
    if (status == APP_GO && !in_process) status = app_picture(&b.a, "png", png);
    if (status != APP_GO) return status;
    signal(SIGINT, SIG_DFL);                     /* there is nothing to save */
    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);                    /* reading finds out a dead peer */
    if (!in_process) open_csv(&b);
    bench_what(&b, in_process ? "memory" : what, in_process);
    if (!in_process) {
        fclose(b.csv);
        draw_chart(&b, png);
    }
    lsnn_ctx_free(&b.cx);
    return app_end(&b.a, b.failed ? LSNN_EIO : LSNN_OK);
}
