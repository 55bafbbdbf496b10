/* test_golden.c - every op, its naive twin and the optimizers against PyTorch's numbers in
   double (golden/README.md says how they were made).

   Build: cc -std=c99 -O2 -DLSNN_DOUBLE -I. tests/test_golden.c -o tests/test_golden -lm
   Usage: test_golden [FOLDER]                                  default: tests/golden
   modes: double naive */
#ifndef TEST_LINKED
#define LSNN_IMPLEMENTATION
#endif
#include "lsnn.h"
#include "check.h"
#include "ops.h"

#ifndef LSNN_DOUBLE
#error "test_golden: the golden numbers are doubles, build with -DLSNN_DOUBLE"
#endif

static lsnn_ctx cx;                      /* zeroed: ready for use                        */
static const lsnn_file *file;            /* the golden file at hand                      */
static const char *name, *spec;          /* its case at hand: "conv01", "conv2d n=2 ..." */

/* ---- a case's words ------------------------------------------------------------------ */
/* The text behind KEY= in spec, or NULL.                                                */
static const char *text_of(const char *key)
{
    size_t length = strlen(key);
    for (const char *at = strchr(spec, ' '); at; at = strchr(at + 1, ' '))
        if (strncmp(at + 1, key, length) == 0 && at[length + 1] == '=') return at + length + 2;
    return NULL;
}
static double number(const char *key) { return text_of(key) ? atof(text_of(key)) : 0; }
static int whole(const char *key) { return (int)number(key); }
static int says(const char *key, const char *value)
{
    const char *text = text_of(key);
    return text && strncmp(text, value, strlen(value)) == 0;
}

/* The case's tensor of that name, NULL if it has none.                                  */
static const lsnn_tensor *tensor(const char *key)
{
    char full[80];
    snprintf(full, sizeof full, "%s.%s", name, key);
    return lsnn_file_tensor(file, full);
}
static const double *values(const char *key, size_t count)
{
    const lsnn_tensor *t = tensor(key);
    if (!t || t->count != count) {
        printf("# %s.%s: no such tensor of %.0f numbers\n", name, key, (double)count);
        CHECK(t && t->count == count);
        return NULL;
    }
    return t->v;
}

/* ---- comparing ----------------------------------------------------------------------- */
/* For a mu 50 maps away the exponents are near 2.5e7, and naive.h, which computes them as
   they stand, is left with 8 digits.                                                    */
#ifdef LSNN_NAIVE
#define PLAIN 1                          /* lsnn's own pairs are the naive ones           */
#else
#define PLAIN 0
#endif
static double tolerance(const char *who)
{
    return !text_of("far") ? 1e-10 : PLAIN || strcmp(who, "naive") == 0 ? 1e-8 : 1e-9;
}

/* got = want + base (may be NULL), relative to the largest of want; NaN fails. The gradient of
   L_p pooling's p is a sum of terms near 1 that may cancel: it is held to 1e-14.        */
static void same(const char *who, const char *what, const double *got, const double *want,
                 const double *base, size_t count)
{
    double largest = text_of("far") ? 1 : strcmp(what, "dp") == 0 ? 1e-4 : 0, worst = 0;
    size_t at = 0;
    if (!want) return;
    for (size_t i = 0; i < count; i++) largest = fmax(largest, fabs(want[i]));
    if (largest == 0) largest = 1;
    for (size_t i = 0; i < count; i++) {
        double error = fabs(got[i] - want[i] - (base ? base[i] : 0)) / largest;
        if (!(error <= worst)) { worst = error; at = i; }
        if (worst != worst) break;
    }
    if (worst <= tolerance(who)) return;
    printf("# %s: %s of %s is off by %.3g of its largest at %.0f: %.17g, should be %.17g\n",
           name, what, who, worst, (double)at, got[at] - (base ? base[at] : 0), want[at]);
    CHECK(worst <= tolerance(who));
}

/* ---- ops ----------------------------------------------------------------------------- */
static void read_window(lsnn_window *s)
{
    int pad[4];
    int padding = says("padding", "same") ? LSNN_SAME
                : says("padding", "explicit") ? LSNN_EXPLICIT : LSNN_VALID;
    s->n = whole("n"); s->c = whole("c"); s->h = whole("h"); s->w = whole("w");
    s->k = whole("k"); s->kernel_h = whole("kh"); s->kernel_w = whole("kw");
    s->stride_h = whole("sh"); s->stride_w = whole("sw");
    s->dilation_h = whole("dh"); s->dilation_w = whole("dw"); s->groups = whole("groups");
    pad[0] = whole("pt"); pad[1] = whole("pl"); pad[2] = whole("pb"); pad[3] = whole("pr");
    CHECK(lsnn_window_fit(&cx, s, (lsnn_padding)padding, pad) == LSNN_OK);
    CHECK(s->oh == whole("oh") && s->ow == whole("ow"));
    CHECK(s->pad_top == pad[0] && s->pad_left == pad[1]);
}
static void read_smoother(lsnn_smoother *s)
{
    static const char *const windows[] = { "gauss", "cauchy", "gauss_rho", "cauchy_rho",
                                           "gauss_line", "cauchy_line" };
    memset(s, 0, sizeof *s);
    s->n = whole("n"); s->k = whole("k"); s->rank = whole("rank");
    s->h = whole("h"); s->w = whole("w");
    s->shape = whole("table") ? LSNN_TABLE
             : says("shape", "separable") ? LSNN_GAUSSIAN_SEPARABLE
             : says("shape", "line") ? LSNN_GAUSSIAN_1D : LSNN_GAUSSIAN;
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++)    /* the last, longest */
        if (says("shape", windows[i]))
            s->shape = (lsnn_smooth_shape)(LSNN_ATTENTION_GAUSSIAN + (int)i);
    s->mixture = whole("mixture");
    s->normalise = says("normalise", "sum") ? LSNN_NORMALISE_SUM
                 : says("normalise", "mean") ? LSNN_NORMALISE_MEAN : LSNN_NORMALISE_NONE;
    s->per_image = whole("per_image");
    s->smooth_bias = whole("smooth_bias");
    CHECK(lsnn_smoother_theta(s) == naive_theta_count(op_smoother(s)));
}
static void read_problem(problem *p, const op *o)
{
    memset(p, 0, sizeof *p);
    p->op = o;
    p->n = whole("n"); p->c = whole("c"); p->k = whole("k"); p->inner = whole("inner");
    p->first = whole("first"); p->head = whole("head"); p->heads = whole("heads");
    p->slope = number("slope"); p->momentum = number("momentum"); p->eps = number("eps");
    p->bias = tensor("b") != NULL;
    p->p_maps = whole("p_maps");
    if (text_of("table") && o->size == op_table_conv2d_size)
        sscanf(text_of("table"), "%511[0-9,;]", p->table);
    if (text_of("kh")) read_window(&p->s);
    if (tensor("inside")) p->inside = values("inside", size4(p->s.k, p->s.oh, p->s.ow, 1));
    if (text_of("rank")) read_smoother(&p->u);
    p->t.n = p->n; p->t.c = p->c; p->t.h = whole("h"); p->t.w = whole("w");
    p->t.oh = whole("oh"); p->t.ow = whole("ow"); p->t.align_corners = whole("align_corners");
    op_size(p);
}

/* Backward of the op with the gradients of mask, into arrays that begin at base.        */
static void run_backward(const problem *p, int mask, int add, const double *const *in,
                         const double *y, keep *kept, const double *dy)
{
    double *d[OPS_IN] = { NULL }, *base[OPS_IN] = { NULL };
    char key[16], full[20];
    for (int i = 0; i < p->op->grads; i++) {
        if (!(mask >> i & 1) || !p->count[i]) continue;
        d[i] = (double *)test_alloc(p->count[i], sizeof(double));
        base[i] = (double *)test_alloc(p->count[i], sizeof(double));
        for (size_t j = 0; j < p->count[i]; j++) {
            int adds = add || !op_obeys_add(p, i);
            base[i][j] = adds ? (double)(j % 7) - 3 : 0;
            d[i][j] = adds ? base[i][j] : NAN;           /* NAN: must be overwritten     */
        }
    }
    CHECK(p->op->backward(&cx, p, d, dy, y, kept, in, add) == LSNN_OK);
    for (int i = 0; i < p->op->grads; i++) {
        if (d[i] && op_input_name(p->op, i, key)) {
            snprintf(full, sizeof full, "d%s", key);
            same(add ? "lsnn (added)" : "lsnn", full, d[i], values(full, p->count[i]), base[i],
                 p->count[i]);
        }
        free(d[i]);
        free(base[i]);
    }
}

static void run_naive(const problem *p, const double *const *in, const double *dy)
{
    double *d[OPS_IN] = { NULL }, *y = (double *)test_alloc(p->y_count, sizeof *y);
    char key[16], full[20];
    p->op->naive_forward(p, y, in);
    same("naive", "y", y, values("y", p->y_count), NULL, p->y_count);
    for (int i = 0; i < p->op->grads; i++)
        if (p->count[i]) d[i] = (double *)test_alloc(p->count[i], sizeof(double));
    if (p->op->naive_backward && dy) p->op->naive_backward(p, d, dy, in);
    for (int i = 0; i < p->op->grads; i++) {
        if (d[i] && op_input_name(p->op, i, key)) {
            snprintf(full, sizeof full, "d%s", key);
            same("naive", full, d[i], values(full, p->count[i]), NULL, p->count[i]);
        }
        free(d[i]);
    }
    free(y);
}

/* What batch normalisation keeps: mean, istd, running mean, running variance.           */
static void check_moments(const problem *p, const keep *kept, const double *x)
{
    size_t c = (size_t)p->c, bytes = c * sizeof(double);
    double *v = (double *)test_alloc(4 * c, sizeof *v);
    const double *mean = values("old_mean", c), *var = values("old_var", c);
    same("lsnn", "mean", kept->v, values("mean", c), NULL, c);
    same("lsnn", "istd", kept->v + c, values("istd", c), NULL, c);
    same("lsnn", "running mean", kept->v + 2 * c, values("new_mean", c), NULL, c);
    same("lsnn", "running variance", kept->v + 3 * c, values("new_var", c), NULL, c);
    naive_batch_norm_moments(v, v + c, x, p->n, p->c, p->inner);
    if (mean) memcpy(v + 2 * c, mean, bytes);
    if (var) memcpy(v + 3 * c, var, bytes);
    naive_batch_norm_running(v + 2 * c, v + 3 * c, v, v + c, p->n, p->c, p->inner, p->momentum);
    same("naive", "mean", v, values("mean", c), NULL, c);
    same("naive", "running mean", v + 2 * c, values("new_mean", c), NULL, c);
    same("naive", "running variance", v + 3 * c, values("new_var", c), NULL, c);
    free(v);
}

static void check_maps(const problem *p, const keep *kept, const double *theta)
{
    size_t count = p->keep_count;
    double *u = (double *)test_alloc(count, sizeof *u);
    same("lsnn", "u", kept->v, values("u", count), NULL, count);
    CHECK(lsnn_smoother_map(&cx, u, theta, &p->u) == LSNN_OK);
    same("lsnn_smoother_map", "u", u, values("u", count), NULL, count);
    naive_smoother_map(u, theta, op_smoother(&p->u));
    same("naive", "u", u, values("u", count), NULL, count);
    free(u);
}

static void check_forward(const problem *p, const double *const *in, double *y, keep *kept)
{
    int norm = strcmp(p->op->name, "batch_norm") == 0;
    size_t c = (size_t)p->c;
    for (size_t i = 0; i < p->y_count; i++) y[i] = NAN;
    if (norm && values("old_mean", c) && values("old_var", c)) {
        memcpy(kept->v + 2 * c, values("old_mean", c), c * sizeof(double));
        memcpy(kept->v + 3 * c, values("old_var", c), c * sizeof(double));
    }
    CHECK(p->op->forward(&cx, p, y, kept, in) == LSNN_OK);
    same("lsnn", "y", y, values("y", p->y_count), NULL, p->y_count);
    if (norm) check_moments(p, kept, in[0]);
    if (strcmp(p->op->name, "smooth") == 0) check_maps(p, kept, in[1]);
}

static void check_op(const op *o)
{
    problem p;
    keep kept;
    const double *in[OPS_IN] = { NULL }, *dy = NULL;
    double *y;
    int *label = NULL, all, whole_case = 1;
    char key[16];
    read_problem(&p, o);
    for (int i = 0; i < OPS_IN; i++)
        if (p.count[i] && op_input_name(o, i, key) && !(in[i] = values(key, p.count[i])))
            whole_case = 0;
    if (o->grads && !(dy = values("dy", p.y_count))) whole_case = 0;
    if (!whole_case) return;
    if (strncmp(o->name, "cross_entropy", 13) == 0) {
        size_t count = (size_t)p.n * (size_t)p.heads;
        const double *v = values("label", count);
        p.label = label = (int *)test_alloc(count, sizeof *label);
        for (size_t i = 0; v && i < count; i++) label[i] = (int)v[i];
    }
    kept = keep_new(&p);
    y = (double *)test_alloc(p.y_count, sizeof *y);
    check_forward(&p, in, y, &kept);
    all = (1 << o->grads) - 1;
    for (int mask = 0; mask <= all && o->grads; mask++)  /* every choice of NULL gradients */
        for (int add = 0; add < 2; add++) run_backward(&p, mask, add, in, y, &kept, dy);
    run_naive(&p, in, dy);
    keep_free(&kept);
    free(y);
    free(label);
}

/* ---- optimizers ---------------------------------------------------------------------- */
static void read_optimizer(lsnn_optimizer_desc *d)
{
    memset(d, 0, sizeof *d);
    d->method = says("method", "adamw") ? LSNN_ADAMW : says("method", "adam") ? LSNN_ADAM
              : LSNN_SGD;
    d->schedule = says("schedule", "cosine") ? LSNN_COSINE
                : says("schedule", "step") ? LSNN_STEP : LSNN_CONSTANT;
    d->lr = number("lr"); d->momentum = number("momentum"); d->nesterov = whole("nesterov");
    d->one_minus_beta1 = number("rest1"); d->one_minus_beta2 = number("rest2");
    d->eps = number("eps"); d->weight_decay = number("decay"); d->clip_norm = number("clip");
    d->warmup_steps = whole("warmup"); d->total_steps = whole("total");
    d->step_every = whole("every"); d->step_factor = number("factor");
}

/* One dense layer of 4 x 3 weights and 4 biases; NULL on failure.                       */
static lsnn_net *small_net(void)
{
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options o;
    lsnn_build_desc build;
    int x;
    if (!net) return NULL;
    memset(&o, 0, sizeof o);
    memset(&build, 0, sizeof build);
    o.name = "d";
    build.batch = 1;
    x = lsnn_dense(net, lsnn_input(net, 3, 1, 1), 4, &o);
    lsnn_mse(net, x, NULL);
    if (lsnn_net_build(net, &build) == LSNN_OK) return net;
    lsnn_net_free(net);
    return NULL;
}

static void take_steps(lsnn_net *net, lsnn_optimizer *o, const lsnn_optimizer_desc *d,
                       size_t steps)
{
    const double *gw = values("gw", 12 * steps), *gb = values("gb", 4 * steps);
    const double *w = values("w", 12 * steps), *b = values("b", 4 * steps);
    const double *lr = values("lr", steps);
    double v[12], zero[12] = { 0 };
    for (size_t t = 0; gw && gb && w && b && lr && t < steps; t++) {
        NEAR(lsnn_optimizer_lr(d, (uint32_t)t), lr[t], 1e-14);
        CHECK(lsnn_net_set(net, "grad:d.weight", gw + 12 * t, 12) == LSNN_OK);
        CHECK(lsnn_net_set(net, "grad:d.bias", gb + 4 * t, 4) == LSNN_OK);
        CHECK(lsnn_optimizer_step(o) == LSNN_OK);
        CHECK(lsnn_net_get(net, "d.weight", v, 12) == LSNN_OK);
        same("lsnn", "weight", v, w + 12 * t, NULL, 12);
        CHECK(lsnn_net_get(net, "d.bias", v, 4) == LSNN_OK);
        same("lsnn", "bias", v, b + 4 * t, NULL, 4);
        CHECK(lsnn_net_get(net, "grad:d.weight", v, 12) == LSNN_OK);
        CHECK(memcmp(v, zero, sizeof v) == 0);
    }
}
static void check_optimizer(void)
{
    lsnn_optimizer_desc d;
    lsnn_optimizer *o;
    lsnn_net *net = small_net();
    const double *w0 = values("w0", 12), *b0 = values("b0", 4);
    const lsnn_tensor *lr = tensor("lr");
    read_optimizer(&d);
    if (!CHECK(net && w0 && b0 && lr)) { lsnn_net_free(net); return; }
    CHECK(lsnn_net_set(net, "d.weight", w0, 12) == LSNN_OK);
    CHECK(lsnn_net_set(net, "d.bias", b0, 4) == LSNN_OK);
    o = lsnn_optimizer_new(net, &d);
    if (CHECK(o != NULL)) take_steps(net, o, &d, lr->count);
    lsnn_optimizer_free(o);
    lsnn_net_free(net);
}

/* ---- the files ----------------------------------------------------------------------- */
static int check_file(const char *folder, const char *family)
{
    char path[1000];
    int cases;
    lsnn_file f;
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, family);
    if (!CHECK(lsnn_file_read(&cx, &f, path) == LSNN_OK)) {
        test_end("%s", path);
        lsnn_clear(&cx);
        return 0;
    }
    file = &f;
    for (int i = 0; i < f.metas; i++) {
        const op *o;
        name = f.meta[i].key;
        spec = f.meta[i].value;
        o = op_find(spec, strcspn(spec, " "));
        if (o) check_op(o);
        else if (strncmp(spec, "optimizer ", 10) == 0) check_optimizer();
        else if (!CHECK(o != NULL)) printf("# %s: no such op\n", spec);
        if (!CHECK(cx.status == LSNN_OK)) printf("# %s\n", cx.message);
        lsnn_clear(&cx);
        test_end("%s: %s", name, spec);
    }
    cases = f.metas;
    lsnn_file_free(&cx, &f);
    return cases;
}

int main(int argc, char **argv)
{
    static const char *const families[] = { "conv", "local", "pool", "plain", "smooth",
                                            "optimizer", "lecture", "groups", "transform",
                                            "attention", "target" };
    const char *folder = argc > 1 ? argv[1] : "tests/golden";
    int cases = 0;
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        cases += check_file(folder, families[i]);
    CHECK(cases >= 163);                  /* an empty folder must not pass                */
    test_end("%d golden cases", cases);
    lsnn_ctx_free(&cx);
    return test_finish();
}
