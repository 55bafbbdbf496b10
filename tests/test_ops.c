/* test_ops.c - the ops of lsnn.h against their naive twins and against their own promises:
   every instruction set, the same bits for any number of threads, gradients by finite
   differences (double build), the identities of LSNN section 4.1, misuse, far-away smoothers.

   Build: cc -std=c99 -O2 -I. tests/test_ops.c -o tests/test_ops -lm        in float
          the same with -DLSNN_DOUBLE; with -DLSNN_NO_THREADS one does it all
   Usage: test_ops [SEED]
   modes: plain double asan | omp nosimd cblas naive */
#ifndef TEST_LINKED
#define LSNN_IMPLEMENTATION
#endif
#include "lsnn.h"
#include "check.h"
#include "ops.h"
#include <float.h>
#include <limits.h>

#ifdef LSNN_DOUBLE
#define EPSILON DBL_EPSILON
#else
#define EPSILON ((double)FLT_EPSILON)
#endif
#if !defined(TEST_TRIALS) && defined(__SANITIZE_ADDRESS__)
#define TEST_TRIALS 60
#endif
#ifndef TEST_TRIALS                      /* fewer where each takes long: test_neon.sh     */
#define TEST_TRIALS 500
#endif
enum { TRIALS = TEST_TRIALS, GEMM_TRIALS = 3 * TEST_TRIALS / 5 };

static lsnn_ctx cx;                      /* zeroed: ready for use                        */

/* ---- numbers: a generator of the test's own (xorshift64*) ----------------------------- */
static uint64_t seed = 1;

static uint32_t draw_bits(void)
{
    seed ^= seed >> 12; seed ^= seed << 25; seed ^= seed >> 27;
    return (uint32_t)((seed * 2685821657736338717u) >> 32);
}
static int draw_int(int low, int high)               /* both included                    */
{
    return low + (int)(draw_bits() % (uint32_t)(high - low + 1));
}
static int draw_size(int high)                       /* 1 .. high, small ones more often */
{
    return (int)exp(log(high + 1.0) * (draw_bits() / 4294967296.0));
}
static double draw_real(double low, double high)     /* exact in a float                 */
{
    return (double)(float)(low + (high - low) * (draw_bits() / 4294967296.0));
}

/* ---- problems of random sizes ---------------------------------------------------------- */
/* simple: neither dilation nor groups. Else every other window has some, a third of the groups
   are depthwise.                                                                        */
static int draw_window(lsnn_window *s, int pooling, int simple, int most, int in_blocks)
{
    int pad[4], kh, kw, high, wide, padding = draw_int(LSNN_VALID, LSNN_EXPLICIT);
    memset(s, 0, sizeof *s);
    s->n = in_blocks ? 16 : draw_size(4);        /* a whole block on every instruction set */
    s->c = draw_int(0, 2) ? draw_size(most) : draw_int(1, most);
    s->h = draw_size(14); s->w = draw_size(14);
    s->k = pooling ? s->c : draw_int(0, 2) ? draw_size(most) : draw_int(1, most);
    s->kernel_h = kh = draw_size(5);
    s->kernel_w = kw = draw_int(0, 2) ? draw_size(5) : kh;
    if (!simple && draw_int(0, 1)) {
        s->groups = draw_int(0, 2) ? draw_size(4) : s->c;
        s->dilation_h = draw_size(4); s->dilation_w = draw_size(3);
        s->c = (s->c + s->groups - 1) / s->groups * s->groups;
        s->k = (s->k + s->groups - 1) / s->groups * s->groups;
    }
    high = s->dilation_h ? (kh - 1) * s->dilation_h + 1 : kh;
    wide = s->dilation_w ? (kw - 1) * s->dilation_w + 1 : kw;
    for (int i = 0; i < 4; i++)          /* a pooled window must see a pixel             */
        pad[i] = draw_int(0, (i % 2 ? wide : high) - pooling);
    if (padding == LSNN_VALID && (high > s->h || wide > s->w)) return 0;
    if (padding == LSNN_EXPLICIT &&
        (high > s->h + pad[0] + pad[2] || wide > s->w + pad[1] + pad[3])) return 0;
    s->stride_h = draw_size(3); s->stride_w = draw_size(3);
    if (lsnn_window_fit(&cx, s, (lsnn_padding)padding, pad) != LSNN_OK) return 0;
    return (double)s->n * s->k * s->oh * s->ow * (pooling ? 1 : s->c) * kh * kw <= 1500000;
}
static void draw_smoother(lsnn_smoother *s, int most)
{
    memset(s, 0, sizeof *s);
    s->n = draw_size(4); s->k = draw_size(most); s->rank = draw_int(0, 3);
    s->h = draw_int(0, 5) ? draw_size(12) : 1;
    s->w = draw_int(0, 5) ? draw_size(12) : 1;
    s->shape = draw_int(0, 2) ? LSNN_GAUSSIAN : (lsnn_smooth_shape)draw_int(1, LSNN_ATTENTION_CAUCHY_1D);
    if (s->shape != LSNN_TABLE) {
        s->normalise = (lsnn_normalise)draw_int(0, 2);
        s->mixture = draw_int(0, 1) ? draw_int(0, 4) : 0;
    }
    s->per_image = draw_int(0, 1);
    s->smooth_bias = draw_int(0, 1);
}
static void draw_sampler(lsnn_sampler *s, int most)
{
    s->n = draw_size(9); s->c = draw_size(most);
    s->h = draw_size(12); s->w = draw_size(12);
    s->oh = draw_size(12); s->ow = draw_size(12);
    s->align_corners = draw_int(0, 1);
}
/* The place of number j of a grid: inside of the picture and up to two pixels beyond it, and
   a tenth of a pixel away from where the slope changes.                                 */
static double draw_place(const lsnn_sampler *s, size_t j)
{
    int size = j / size4(s->oh, s->ow, 1, 1) % 2 ? s->h : s->w;
    double pixel = draw_int(-3, size + 1) + draw_real(0.1, 0.9);
    if (!s->align_corners) return (double)(float)((2 * pixel + 1) / size - 1);
    return (double)(float)(size > 1 ? 2 * pixel / (size - 1) - 1 : draw_real(-3, 3));
}
static void draw_blender(lsnn_blender *s, int most)
{
    memset(s, 0, sizeof *s);
    s->n = draw_size(4); s->k = draw_size(most); s->banks = draw_size(5);
    s->h = draw_size(9); s->w = draw_size(20);
    s->kind = (lsnn_blend_kind)draw_int(0, LSNN_BLEND_FREE_PLACES);
}
/* A table for the window: each kernel reads some of the maps, at least one.             */
static void draw_table(problem *p)
{
    char *at = p->table;
    for (int k = 0; k < p->s.k; k++) {
        int c = draw_int(0, p->s.c - 1);
        at += sprintf(at, "%s%d", k ? ";" : "", c);
        while ((c += draw_int(1, 3)) < p->s.c) at += sprintf(at, ",%d", c);
    }
}

static int is_pooling(const op *o) { return o->size == op_pool_size || o->size == op_lp_pool_size; }
static int takes_groups(const op *o)
{
    return o->size == op_conv2d_size || o->size == op_local2d_size;
}
static int is_transform(const op *o)
{
    return o->size == op_affine_grid_size || o->size == op_grid_sample_size;
}
static int has_window(const op *o)
{
    return takes_groups(o) || is_pooling(o) || o->size == op_table_conv2d_size ||
           o->size == op_target2d_size;
}

/* most: the largest number of channels.                                                 */
static void draw_problem(problem *p, const op *o, int most)
{
    static int label[256];
    int window = has_window(o), table = o->size == op_table_conv2d_size;
    memset(p, 0, sizeof *p);
    if (table && most > 12) most = 12;
    p->p_maps = draw_int(0, 1);
    if (o->size == op_target2d_size) p->regions = draw_bits();
    p->op = o;
    p->bias = draw_int(0, 3) > 0;
    p->n = draw_size(9); p->c = draw_size(most); p->k = draw_size(most);
    p->inner = draw_int(0, 1) ? draw_size(40) : 1;
    p->slope = 0.2; p->momentum = 0.1; p->eps = 1e-5;
    if (o->size == op_slice_size) {
        p->k = draw_int(1, p->c);
        p->first = draw_int(0, p->c - p->k);
    }
    if (o->size == op_batch_norm_size) while (p->n * p->inner < 6) p->inner++;
    if (o->size == op_cross_entropy_size || o->size == op_mse_size) {
        p->inner = 1;
        p->head = draw_int(0, 2);
        p->heads = p->head + (o->size == op_mse_size ? p->c : 1) + draw_int(0, 2);
        for (int i = 0; i < 256; i++) label[i] = draw_int(0, p->c - 1);
        p->label = label;
    }
    p->in_blocks = draw_int(0, 1) && (window || o->size == op_smooth_size ||
                                      o->size == op_blend_size);
    if (o->size == op_blend_size) draw_blender(&p->m, most < 12 ? most : 12);
    if (o->size == op_blend_size && p->in_blocks) p->m.n = 16;
    if (o->size == op_smooth_size) draw_smoother(&p->u, most < 12 ? most : 12);
    if (o->size == op_smooth_size && p->in_blocks) p->u.n = 16;
    while (window && !draw_window(&p->s, is_pooling(o), !takes_groups(o), most, p->in_blocks)) { }
    if (table) draw_table(p);
    if (is_transform(o)) draw_sampler(&p->t, most < 12 ? most : 12);
    op_size(p);
}

/* Number j of theta from a number in [-1, 1]: mu in [-0.5, 1.5], logits as they are.    */
static double draw_theta(const lsnn_smoother *s, size_t j, double v)
{
    int numbers = naive_numbers(op_smoother(s));
    int part = numbers ? (int)(j % (size_t)(numbers + (s->mixture > 1))) : 0;
    if (part == numbers) return v;
    if (s->shape >= LSNN_ATTENTION_GAUSSIAN)             /* s in [-1.5, -0.5], [0.5, 1.5]  */
        return part == 4 ? v : part % 2 ? v + (v < 0 ? -0.5 : 0.5) : v + 0.5;
    return part < (s->shape == LSNN_GAUSSIAN_1D ? 1 : 2) ? v + 0.5 : v * 2;
}

/* Values for input i. relu's and lp_pool's stay off their kink, max pooling's are all different. */
static void draw_input(const problem *p, int i, double *v)
{
    const char *name = p->op->name;
    size_t count = p->count[i];
    int norm = p->op->size == op_batch_norm_predict_size;
    for (size_t j = 0; j < count; j++) {
        v[j] = draw_real(-1, 1);
        if (strstr(name, "relu")) v[j] += v[j] < 0 ? -0.125 : 0.125;
        if (strcmp(name, "softmax") == 0 || strcmp(name, "sigmoid") == 0) v[j] *= 4;
        if (strstr(name, "tanh")) v[j] *= j % 2 ? 8 : 1;           /* flat, and near 0     */
        if (p->op->size == op_lp_pool_size && i == 0)              /* off |x|^p's kink     */
            v[j] += v[j] < 0 ? -0.0625 : 0.0625;
        if (p->op->size == op_lp_pool_size && i == 1) v[j] = 4 + 3 * v[j];        /* p       */
        if (p->op->size == op_grid_sample_size && i == 1) v[j] = draw_place(&p->t, j);
        if (norm && i == 4) v[j] = fabs(v[j]) + 0.25;          /* a variance             */
        if (p->op->size == op_smooth_size && i == 1) v[j] = draw_theta(&p->u, j, v[j]);
    }
    if (strcmp(name, "max_pool") == 0) {
        for (size_t j = 0; j < count; j++) v[j] = ((double)j + 0.5) / 8192;
        for (size_t j = count; j > 1; j--) {
            size_t other = draw_bits() % j;
            double t = v[j - 1];
            v[j - 1] = v[other];
            v[other] = t;
        }
    }
}

/* A set of arrays in two precisions: for lsnn and for the naive twin.                   */
typedef struct arrays {
    lsnn_real *in[OPS_IN], *dy, *y, *d[OPS_IN];
    double *nin[OPS_IN], *ndy, *want_y, *want_d[OPS_IN];
    double *bound_y, *bound_d[OPS_IN];   /* the same sums over absolute values           */
    double *base[OPS_IN];                /* what the gradients begin with                */
    lsnn_real *first_y, *first_d[OPS_IN], *first_kept;      /* one thread's bits         */
    keep kept;
} arrays;

static double *doubles(size_t count) { return (double *)test_alloc(count, sizeof(double)); }
static lsnn_real *reals(size_t count)
{
    return (lsnn_real *)test_alloc(count, sizeof(lsnn_real));
}

static void fill(lsnn_real *v, size_t count)
{
    for (size_t i = 0; i < count; i++) v[i] = (lsnn_real)draw_real(-1, 1);
}

static void arrays_new(arrays *a, const problem *p)
{
    memset(a, 0, sizeof *a);
    for (int i = 0; i < OPS_IN; i++) {
        if (!p->count[i]) continue;
        a->nin[i] = doubles(p->count[i]);
        a->in[i] = reals(p->count[i]);
        draw_input(p, i, a->nin[i]);
        for (size_t j = 0; j < p->count[i]; j++) a->in[i][j] = (lsnn_real)a->nin[i][j];
        if (i >= p->op->grads) continue;
        a->d[i] = reals(p->count[i]);
        a->first_d[i] = reals(p->count[i]);
        a->want_d[i] = doubles(p->count[i]);
        a->bound_d[i] = doubles(p->count[i]);
        a->base[i] = doubles(p->count[i]);
        for (size_t j = 0; j < p->count[i]; j++) a->base[i][j] = draw_real(-1, 1);
    }
    a->y = reals(p->y_count);
    a->first_y = reals(p->y_count);
    a->dy = reals(p->y_count);
    a->ndy = doubles(p->y_count);
    a->want_y = doubles(p->y_count);
    a->bound_y = doubles(p->y_count);
    for (size_t j = 0; j < p->y_count; j++) {
        a->ndy[j] = draw_real(-1, 1);
        a->dy[j] = (lsnn_real)a->ndy[j];
    }
    a->kept = keep_new(p);
    a->first_kept = reals(p->keep_count);
}
static void arrays_free(arrays *a)
{
    for (int i = 0; i < OPS_IN; i++) {
        free(a->in[i]); free(a->nin[i]); free(a->d[i]); free(a->first_d[i]);
        free(a->want_d[i]); free(a->bound_d[i]); free(a->base[i]);
    }
    free(a->y); free(a->first_y); free(a->dy); free(a->ndy); free(a->want_y);
    free(a->bound_y); free(a->first_kept);
    keep_free(&a->kept);
}

/* ---- running both sides ---------------------------------------------------------------- */
/* The same on blocks of images: the first input, y and their gradients interleaved.     */
static void run_in_blocks(const problem *p, arrays *a, const lsnn_real *in[OPS_IN], int add)
{
    lsnn_real *x = reals(p->count[0]), *y = reals(p->y_count), *dy = reals(p->y_count);
    lsnn_real *dx = reals(p->count[0]), *d[OPS_IN];
    int n = p->s.n ? p->s.n : p->u.n ? p->u.n : p->m.n;
    size_t in_size = p->count[0] / (size_t)n, out_size = p->y_count / (size_t)n;
    problem q = *p;
    *(p->s.n ? &q.s.lanes : p->u.n ? &q.u.lanes : &q.m.lanes) = lsnn_lanes(&cx);
    for (int i = 0; i < OPS_IN; i++) d[i] = a->d[i];
    CHECK(lsnn_interleave(&cx, x, in[0], n, in_size, 0, LSNN_SET) == LSNN_OK);
    CHECK(lsnn_interleave(&cx, dy, a->dy, n, out_size, 0, LSNN_SET) == LSNN_OK);
    CHECK(lsnn_interleave(&cx, dx, a->d[0], n, in_size, 0, LSNN_ADD) == LSNN_OK);
    in[0] = x;
    d[0] = dx;
    CHECK(p->op->forward(&cx, &q, y, &a->kept, in) == LSNN_OK);
    CHECK(p->op->backward(&cx, &q, d, dy, y, &a->kept, in, add) == LSNN_OK);
    CHECK(lsnn_interleave(&cx, a->y, y, n, out_size, 1, LSNN_SET) == LSNN_OK);
    memset(a->d[0], 0, p->count[0] * sizeof *dx);
    CHECK(lsnn_interleave(&cx, a->d[0], dx, n, in_size, 1, LSNN_ADD) == LSNN_OK);
    free(x); free(y); free(dy); free(dx);
}

static void run_lsnn(const problem *p, arrays *a, int add)
{
    const lsnn_real *in[OPS_IN];
    for (int i = 0; i < OPS_IN; i++) in[i] = a->in[i];
    for (size_t j = 0; j < p->y_count; j++) a->y[j] = (lsnn_real)NAN;
    for (size_t j = 0; j < p->keep_count; j++) a->kept.v[j] = 1;
    for (int i = 0; i < p->op->grads; i++)
        for (size_t j = 0; j < p->count[i]; j++)
            a->d[i][j] = (lsnn_real)(add || !op_obeys_add(p, i) ? a->base[i][j] : NAN);
    if (p->in_blocks && lsnn_lanes(&cx) > 1) {
        run_in_blocks(p, a, in, add);
        return;
    }
    CHECK(p->op->forward(&cx, p, a->y, &a->kept, in) == LSNN_OK);
    if (p->op->grads)
        CHECK(p->op->backward(&cx, p, a->d, a->dy, a->y, &a->kept, in, add) == LSNN_OK);
}

/* Naive results, and the error bounds: the same sums of absolute values.                */
static void run_naive(const problem *p, arrays *a, int add)
{
    const double *in[OPS_IN];
    double *size[OPS_IN] = { NULL }, *dy = doubles(p->y_count);
    for (int i = 0; i < OPS_IN; i++) in[i] = a->nin[i];
    p->op->naive_forward(p, a->want_y, in);
    if (p->op->naive_backward) p->op->naive_backward(p, a->want_d, a->ndy, in);
    for (int i = 0; i < OPS_IN; i++) {
        if (a->nin[i]) size[i] = doubles(p->count[i]);
        for (size_t j = 0; j < p->count[i]; j++) size[i][j] = fabs(a->nin[i][j]);
        in[i] = size[i];
    }
    for (size_t j = 0; j < p->y_count; j++) dy[j] = fabs(a->ndy[j]);
    if (p->op->linear) {
        p->op->naive_forward(p, a->bound_y, in);
        p->op->naive_backward(p, a->bound_d, dy, in);
    }
    for (int i = 0; i < p->op->grads; i++)
        for (size_t j = 0; j < p->count[i] && (add || !op_obeys_add(p, i)); j++) {
            a->want_d[i][j] += a->base[i][j];
            a->bound_d[i][j] += fabs(a->base[i][j]);
        }
    for (int i = 0; i < OPS_IN; i++) free(size[i]);
    free(dy);
}

static void print_problem(const problem *p)
{
    const lsnn_window *s = &p->s;
    const lsnn_smoother *u = &p->u;
    const lsnn_sampler *t = &p->t;
    printf("# %s on %s, %d threads%s:", p->op->name, lsnn_isa_name(cx.isa), cx.threads,
           p->in_blocks ? ", in blocks" : "");
    if (s->n)
        printf(" n=%d c=%d h=%d w=%d k=%d kernel %dx%d stride %d,%d pad %d,%d dilation %d,%d "
               "groups %d out %dx%d\n", s->n, s->c, s->h, s->w, s->k, s->kernel_h, s->kernel_w,
               s->stride_h, s->stride_w, s->pad_top, s->pad_left, s->dilation_h, s->dilation_w,
               s->groups, s->oh, s->ow);
    else if (u->n)
        printf(" n=%d k=%d rank=%d h=%d w=%d shape=%d mixture=%d normalise=%d per_image=%d "
               "bias=%d%d\n", u->n, u->k, u->rank, u->h, u->w, (int)u->shape, u->mixture,
               (int)u->normalise, u->per_image, p->bias, u->smooth_bias);
    else if (is_transform(p->op))
        printf(" n=%d c=%d h=%d w=%d out %dx%d align_corners=%d\n", t->n, t->c, t->h, t->w, t->oh,
               t->ow, t->align_corners);
    else if (p->m.n)
        printf(" n=%d k=%d banks=%d h=%d w=%d kind=%d bias=%d\n", p->m.n, p->m.k, p->m.banks,
               p->m.h, p->m.w, (int)p->m.kind, p->bias);
    else printf(" n=%d c=%d k=%d inner=%d first=%d head=%d heads=%d bias=%d\n", p->n, p->c,
                p->k, p->inner, p->first, p->head, p->heads, p->bias);
}

/* Linear ops: each element within 4 sqrt(terms) eps of its own sum of absolute values;
   others: within 32 sqrt(terms) eps of the largest. A maximum is exact.                 */
static int near_enough(const problem *p, const char *what, const lsnn_real *got,
                       const double *want, const double *bound, double terms, size_t count)
{
    double most = 0;
    for (size_t j = 0; j < count; j++) most = fmax(most, fabs(want[j]));
    for (size_t j = 0; j < count; j++) {
        double error = fabs((double)got[j] - want[j]);
        double allowed = p->op->linear ? 4 * sqrt(terms) * EPSILON * bound[j]
                                       : 32 * sqrt(terms) * EPSILON * (1 + most);
        if (error <= allowed) continue;
        print_problem(p);
        printf("# %s[%.0f] is %.9g, should be %.9g: off by %.3g, allowed %.3g\n", what,
               (double)j, (double)got[j], want[j], error, allowed);
        return CHECK(error <= allowed);
    }
    return 1;
}
static void compare(const problem *p, const arrays *a)
{
    char key[16];
    near_enough(p, "y", a->y, a->want_y, a->bound_y, p->y_terms, p->y_count);
    for (int i = 0; i < p->op->grads; i++)
        if (p->count[i] && op_input_name(p->op, i, key))
            near_enough(p, key, a->d[i], a->want_d[i], a->bound_d[i], p->terms[i] + 1,
                        p->count[i]);
}

static int same_bits(const lsnn_real *a, const lsnn_real *b, size_t count)
{
    return count == 0 || memcmp(a, b, count * sizeof *a) == 0;
}
/* One thread's results are stored, the others' compared with them.                      */
static void check_threads(const problem *p, arrays *a, int add)
{
    memcpy(a->first_y, a->y, p->y_count * sizeof *a->y);
    memcpy(a->first_kept, a->kept.v, p->keep_count * sizeof *a->y);
    for (int i = 0; i < p->op->grads; i++)
        if (a->d[i]) memcpy(a->first_d[i], a->d[i], p->count[i] * sizeof *a->y);
    for (cx.threads = 2; cx.threads <= 3; cx.threads++) {
        int same;
        run_lsnn(p, a, add);
        same = same_bits(a->y, a->first_y, p->y_count) &&
               same_bits(a->kept.v, a->first_kept, p->keep_count);
        for (int i = 0; i < p->op->grads; i++)
            if (a->d[i]) same = same && same_bits(a->d[i], a->first_d[i], p->count[i]);
        if (!same) print_problem(p);
        CHECK(same && "the same bits for any number of threads");
    }
    cx.threads = 1;
}

/* (a) and (b): every op, random sizes, every instruction set, one to three threads.     */
static void check_kernels(const op *o)
{
    int sets = 0;
    for (int trial = 0; trial < TRIALS; trial++) {
        problem p;
        arrays a;
        int add = draw_int(0, 1), threads = trial % 16 == 0;
        do draw_problem(&p, o, 70);
        while (threads && p.count[0] < 200 && p.y_count < 200);     /* enough to divide */
        arrays_new(&a, &p);
        run_naive(&p, &a, add);
        sets = 0;
        for (int isa = LSNN_ISA_PORTABLE; isa < LSNN_ISA_COUNT_; isa++) {
            if (!lsnn_isa_available((lsnn_isa)isa)) continue;
            threads = trial % 16 == 0 && trial / 16 % 3 == sets % 3;
            sets++;
            cx.isa = (lsnn_isa)isa;
            cx.threads = 1;
            run_lsnn(&p, &a, add);
            compare(&p, &a);
            if (threads) check_threads(&p, &a, add);
        }
        cx.isa = LSNN_ISA_BEST;
        arrays_free(&a);
    }
    CHECK(sets >= 1);
    test_end("%s: %d random problems on %d instruction sets, threads 1 to 3", o->name, TRIALS,
             sets);
}

/* (a'): every small window, in blocks of images: each height, kernel, stride and padding from
   above and below, beside another such window along the width, forward and backward. Every
   second one of an op that takes them has dilation and groups, each pair in its turn.   */
static int small_window(lsnn_window *s, const int v[5], const int w[5], int k, int turn)
{
    int pad[4];
    memset(s, 0, sizeof *s);
    s->n = 16; s->c = 2; s->h = v[0]; s->w = w[0]; s->k = k;
    s->kernel_h = v[1]; s->kernel_w = w[1]; s->stride_h = v[2]; s->stride_w = w[2];
    s->dilation_h = turn % 2 ? turn / 2 % 4 + 1 : 1;
    s->dilation_w = turn % 2 ? turn / 8 % 4 + 1 : 1;
    s->groups = turn % 2 ? turn / 32 % 2 + 1 : 1;
    pad[0] = v[3]; pad[1] = w[3]; pad[2] = v[4]; pad[3] = w[4];
    return (v[1] - 1) * s->dilation_h < v[0] + v[3] + v[4] &&
           (w[1] - 1) * s->dilation_w < w[0] + w[3] + w[4] &&
           lsnn_window_fit(&cx, s, LSNN_EXPLICIT, pad) == LSNN_OK;
}
static void check_windows(const op *o)
{
    enum { SIDE = 6, KERNEL = 3, STRIDE = 4 };
    int v[5], w[5], cases = 0, turn = 0, isa = LSNN_ISA_PORTABLE;
    for (v[0] = 1; v[0] <= SIDE; v[0]++)
    for (v[1] = 1; v[1] <= KERNEL; v[1]++)
    for (v[2] = 1; v[2] <= STRIDE; v[2]++)
    for (v[3] = 0; v[3] < v[1]; v[3]++)
    for (v[4] = 0; v[4] < v[1]; v[4]++) {
        problem p;
        arrays a;
        int add = cases % 4 == 3;
        memset(&p, 0, sizeof p);
        p.op = o;
        p.bias = p.in_blocks = 1;
        p.regions = (uint32_t)cases;
        for (int i = 0; i < 3; i++) w[i] = draw_int(1, i == 0 ? SIDE : i == 1 ? KERNEL : STRIDE);
        w[3] = draw_int(0, w[1] - 1); w[4] = draw_int(0, w[1] - 1);
        if (cases % 2) memcpy(w, v, sizeof w);           /* often square                 */
        if (!small_window(&p.s, v, w, takes_groups(o) ? 4 : is_pooling(o) ? 2 : 3,
                          takes_groups(o) ? turn++ : 0)) continue;
        strcpy(p.table, "0;1;0,1");
        op_size(&p);
        do isa = isa + 1 < LSNN_ISA_COUNT_ ? isa + 1 : LSNN_ISA_PORTABLE;
        while (!lsnn_isa_available((lsnn_isa)isa));
        cx.isa = (lsnn_isa)isa;
        arrays_new(&a, &p);
        run_naive(&p, &a, add);
        run_lsnn(&p, &a, add);
        compare(&p, &a);
        arrays_free(&a);
        cases++;
    }
    lsnn_clear(&cx);
    cx.isa = LSNN_ISA_BEST;
    test_end("%s: %d small windows, each height, kernel, stride and padding", o->name, cases);
}

/* ---- gemm ------------------------------------------------------------------------------ */
typedef struct product {
    int m, n, k, lda, ldb, ldc, trans_a, trans_b, add;
    lsnn_real *a, *b, *c, *c0, *first;
    double *na, *nb, *want, *bound;
    size_t a_count, b_count, c_count;
} product;

/* m, n, k at the edges of gemm's ways: every height of a tile, columns around one to five
   vectors of each instruction set, k around its chunks and around a vector, C narrower than
   a vector, rows too many for dot products of a B that lies along k.                    */
static const int product_edges[][3] = {
    { 1, 16, 1 }, { 9, 17, 384 }, { 10, 31, 385 }, { 11, 33, 769 }, { 7, 48, 31 },
    { 13, 49, 16 }, { 14, 64, 33 }, { 15, 65, 5 }, { 6, 8, 400 }, { 3, 80, 64 },
    { 4, 7, 15 }, { 5, 6, 17 }, { 2, 300, 1025 }, { 8, 10, 2060 }, { 130, 13, 1041 },
    { 129, 41, 1030 }, { 7, 3, 1100 }, { 511, 9, 65 }, { 512, 17, 390 }, { 517, 34, 7 }
};
enum { EDGES = (int)(sizeof product_edges / sizeof *product_edges) };

static void product_new(product *p, int trial)
{
    int most = trial % 3 ? 90 : 200;
    p->m = draw_size(most); p->n = draw_size(most); p->k = draw_size(most);
    if (trial % 25 == 0) { p->m = draw_int(100, 200); p->k = draw_int(257, 600); }
    p->trans_a = draw_int(0, 1); p->trans_b = draw_int(0, 1); p->add = draw_int(0, 1);
    if (trial < 4 * EDGES) {
        const int *size = product_edges[trial / 4];
        p->m = size[0]; p->n = size[1]; p->k = size[2];
        p->trans_a = trial & 1; p->trans_b = trial >> 1 & 1;
    }
    p->lda = (p->trans_a ? p->m : p->k) + draw_int(0, 3);
    p->ldb = (p->trans_b ? p->k : p->n) + draw_int(0, 3);
    p->ldc = p->n + draw_int(0, 3);
    /* the last row ends with its last element: reading past it is an error              */
    p->a_count = size4(p->trans_a ? p->k - 1 : p->m - 1, p->lda, 1, 1) +
                 (size_t)(p->trans_a ? p->m : p->k);
    p->b_count = size4(p->trans_b ? p->n - 1 : p->k - 1, p->ldb, 1, 1) +
                 (size_t)(p->trans_b ? p->k : p->n);
    p->c_count = size4(p->m - 1, p->ldc, 1, 1) + (size_t)p->n;
    p->a = reals(p->a_count); p->b = reals(p->b_count); p->c = reals(p->c_count);
    p->c0 = reals(p->c_count); p->first = reals(p->c_count);
    p->na = doubles(p->a_count); p->nb = doubles(p->b_count);
    p->want = doubles(p->c_count); p->bound = doubles(p->c_count);
    for (size_t i = 0; i < p->a_count; i++)
        p->a[i] = (lsnn_real)(p->na[i] = draw_real(-1, 1));
    for (size_t i = 0; i < p->b_count; i++)
        p->b[i] = (lsnn_real)(p->nb[i] = draw_real(-1, 1));
    for (size_t i = 0; i < p->c_count; i++) {
        p->want[i] = draw_real(-1, 1);
        p->c0[i] = (lsnn_real)p->want[i];
        p->bound[i] = fabs(p->want[i]);
    }
}
static void product_naive(product *p)
{
    naive_gemm(p->trans_a, p->trans_b, p->m, p->n, p->k, p->na, p->lda, p->nb, p->ldb, p->add,
               p->want, p->ldc);
    for (size_t i = 0; i < p->a_count; i++) p->na[i] = fabs(p->na[i]);
    for (size_t i = 0; i < p->b_count; i++) p->nb[i] = fabs(p->nb[i]);
    naive_gemm(p->trans_a, p->trans_b, p->m, p->n, p->k, p->na, p->lda, p->nb, p->ldb, p->add,
               p->bound, p->ldc);
}
static void product_run(product *p)
{
    for (size_t i = 0; i < p->c_count; i++)  /* without add, C's old values do not matter */
        p->c[i] = p->add || i % (size_t)p->ldc >= (size_t)p->n ? p->c0[i] : (lsnn_real)NAN;
    CHECK(lsnn_gemm(&cx, p->trans_a, p->trans_b, p->m, p->n, p->k, p->a, p->lda, p->b, p->ldb,
                    p->add, p->c, p->ldc) == LSNN_OK);
}
/* Within 4 sqrt(K) eps of sum |a||b|; what lies between C's rows is left alone.         */
static void product_compare(const product *p)
{
    for (size_t i = 0; i < p->c_count; i++) {
        int gap = i % (size_t)p->ldc >= (size_t)p->n;
        double error = fabs((double)p->c[i] - p->want[i]);
        double allowed = gap ? 0 : 4 * sqrt(p->k + 1.0) * EPSILON * p->bound[i];
        if (error <= allowed) continue;
        printf("# gemm on %s: m=%d n=%d k=%d lda=%d ldb=%d ldc=%d trans %d %d add %d\n",
               lsnn_isa_name(cx.isa), p->m, p->n, p->k, p->lda, p->ldb, p->ldc, p->trans_a,
               p->trans_b, p->add);
        printf("# c[%.0f] is %.9g, should be %.9g, allowed %.3g\n", (double)i, (double)p->c[i],
               p->want[i], allowed);
        CHECK(error <= allowed);
        return;
    }
}
static void product_free(product *p)
{
    free(p->a); free(p->b); free(p->c); free(p->c0); free(p->first);
    free(p->na); free(p->nb); free(p->want); free(p->bound);
}
static void check_gemm(void)
{
    for (int trial = 0; trial < GEMM_TRIALS; trial++) {
        product p;
        product_new(&p, trial);
        product_naive(&p);
        for (int isa = LSNN_ISA_PORTABLE; isa < LSNN_ISA_COUNT_; isa++) {
            if (!lsnn_isa_available((lsnn_isa)isa)) continue;
            cx.isa = (lsnn_isa)isa;
            cx.threads = 1;
            product_run(&p);
            product_compare(&p);
            memcpy(p.first, p.c, p.c_count * sizeof *p.c);
            for (cx.threads = 2; cx.threads <= 3 && trial % 5 == 0; cx.threads++) {
                product_run(&p);
                CHECK(same_bits(p.c, p.first, p.c_count));
            }
        }
        cx.isa = LSNN_ISA_BEST;
        cx.threads = 1;
        product_free(&p);
    }
    test_end("gemm: %d random products, strides, transposes, instruction sets, threads",
             GEMM_TRIALS);
}

/* An image's dense outputs have the same bits in every batch and on any number of threads. */
static void check_dense_batches(void)
{
#ifndef LSNN_USE_CBLAS
    enum { N = 13, C = 1100, K = 61 };
    lsnn_real *x = reals(N * C), *w = reals(K * C), *b = reals(K), *all = reals(N * K);
    lsnn_real *y = reals(N * K);
    for (int i = 0; i < N * C; i++) x[i] = (lsnn_real)draw_real(-1, 1);
    for (int i = 0; i < K * C; i++) w[i] = (lsnn_real)draw_real(-1, 1);
    for (int i = 0; i < K; i++) b[i] = (lsnn_real)draw_real(-1, 1);
    for (int isa = LSNN_ISA_PORTABLE; isa < LSNN_ISA_COUNT_; isa++) {
        if (!lsnn_isa_available((lsnn_isa)isa)) continue;
        cx.isa = (lsnn_isa)isa;
        for (int c = 7; c <= C; c += c == 7 ? 25 : C - 32) {          /* 7, 32, C */
            cx.threads = 1;
            CHECK(lsnn_dense_forward(&cx, all, x, w, b, N, c, K) == LSNN_OK);
            for (int n = 1; n < N; n++) {
                cx.threads = n % 3 + 1;
                CHECK(lsnn_dense_forward(&cx, y, x + (N - n) * c, w, b, n, c, K) == LSNN_OK);
                CHECK(same_bits(y, all + (N - n) * K, (size_t)(n * K)));
            }
        }
    }
    cx.isa = LSNN_ISA_BEST;
    cx.threads = 1;
    free(x); free(w); free(b); free(all); free(y);
    test_end("dense: the same bits for an image in batches of 1 to %d", N);
#endif
}

/* ---- (c) gradients by central differences, in double ----------------------------------- */
#ifdef LSNN_DOUBLE
/* d(sum y dy) / d in[i][j]; the difference is taken before the sum, to lose no digits.  */
static double difference(const problem *p, arrays *a, int i, size_t j)
{
    const double step = 1e-5;
    const double *in[OPS_IN];
    double old = a->in[i][j], sum = 0;
    for (int l = 0; l < OPS_IN; l++) in[l] = a->in[l];
    a->in[i][j] = old + step;
    CHECK(p->op->forward(&cx, p, a->y, &a->kept, in) == LSNN_OK);
    a->in[i][j] = old - step;
    CHECK(p->op->forward(&cx, p, a->first_y, &a->kept, in) == LSNN_OK);
    a->in[i][j] = old;
    for (size_t l = 0; l < p->y_count; l++) sum += (a->y[l] - a->first_y[l]) * a->dy[l];
    return sum / (2 * step);
}

/* 0: some gradient is zero throughout, so that this problem shows nothing.              */
static int check_gradients(const problem *p)
{
    arrays a;
    char key[16];
    int telling = 1;
    arrays_new(&a, p);
    for (int i = 0; i < OPS_IN; i++)                     /* gradients begin at 0         */
        for (size_t j = 0; a.base[i] && j < p->count[i]; j++) a.base[i][j] = 0;
    run_lsnn(p, &a, LSNN_SET);
    for (int i = 0; i < p->op->grads; i++) {
        double largest = 0, worst = 0, numeric;
        if (!p->count[i] || !op_input_name(p->op, i, key)) continue;
        for (size_t j = 0; j < p->count[i]; j++) {
            numeric = difference(p, &a, i, j);
            largest = fmax(largest, fabs(numeric));
            if (!(fabs(numeric - a.d[i][j]) <= worst)) worst = fabs(numeric - a.d[i][j]);
        }
        if (largest < 1e-4) telling = 0;
        else if (!(worst <= 1e-6 * largest)) {
            print_problem(p);
            printf("# d%s is off by %.3g of its largest, %.3g\n", key, worst / largest,
                   largest);
            CHECK(worst <= 1e-6 * largest);
        }
    }
    arrays_free(&a);
    return telling;
}
static void check_differences(const op *o)
{
    int done = 0, tries = 0;
    for (; done < 30 && tries < 300; tries++) {
        problem p;
        draw_problem(&p, o, 5);
        if (p.y_count * (p.count[0] + p.count[1] + p.count[2]) > 400000) continue;
        while (!lsnn_isa_available((lsnn_isa)(cx.isa = (lsnn_isa)draw_int(1, 4)))) { }
        done += check_gradients(&p);
    }
    cx.isa = LSNN_ISA_BEST;
    CHECK(done == 30);                   /* a gradient that is always zero ends here     */
    test_end("%s: central differences of every input on %d random problems", o->name, done);
}

/* Every option of the smoother with every other: shape, mixture, rank, normalisation, bias
   none, outside and inside, free and per image.                                         */
static void check_smoother_options(void)
{
    enum { SHAPES = LSNN_ATTENTION_CAUCHY_1D + 1 };
    int done = 0;
    for (int i = 0; i < SHAPES * 3 * 2 * 3 * 3 * 2; i++) {
        problem p;
        int tries = 0;
        memset(&p, 0, sizeof p);
        p.op = op_find("smooth", 6);
        p.u.n = 2; p.u.k = 2; p.u.h = i % 7 ? 3 : 1; p.u.w = 4;
        p.u.shape = (lsnn_smooth_shape)(i % SHAPES);
        p.u.mixture = i / SHAPES % 3 + 1;
        p.u.rank = i / (3 * SHAPES) % 2 + 1;
        p.u.normalise = (lsnn_normalise)(i / (6 * SHAPES) % 3);
        p.bias = i / (18 * SHAPES) % 3 > 0;
        p.u.smooth_bias = i / (18 * SHAPES) % 3 > 1;
        p.u.per_image = i / (54 * SHAPES);
        if (p.u.shape == LSNN_TABLE && (p.u.mixture > 1 || p.u.normalise)) continue;
        op_size(&p);
        while (tries < 9 && !check_gradients(&p)) tries++;
        CHECK(tries < 9);
        done++;
    }
    CHECK(done == 9 * 3 * 2 * 3 * 3 * 2 + 2 * 3 * 2);
    test_end("smooth: central differences of every input, %d choices of options", done);
}
#endif

/* ---- what the table cannot say ---------------------------------------------------------- */
/* y may be x, dx may be dy.                                                             */
static void check_in_place(void)
{
    enum { COUNT = 103 };
    lsnn_real x[COUNT], y[COUNT], dy[COUNT], dx[COUNT];
    for (int f = LSNN_RELU; f <= LSNN_SCALED_TANH; f++) {
        for (int i = 0; i < COUNT; i++) x[i] = (lsnn_real)draw_real(-2, 2);
        for (int i = 0; i < COUNT; i++) dy[i] = (lsnn_real)draw_real(-2, 2);
        CHECK(lsnn_activation_forward(&cx, (lsnn_act)f, y, x, COUNT, 0.1) == LSNN_OK);
        CHECK(lsnn_activation_forward(&cx, (lsnn_act)f, x, x, COUNT, 0.1) == LSNN_OK);
        CHECK(same_bits(x, y, COUNT));
        CHECK(lsnn_activation_backward(&cx, (lsnn_act)f, dx, dy, y, COUNT, 0.1, LSNN_SET) ==
              LSNN_OK);
        CHECK(lsnn_activation_backward(&cx, (lsnn_act)f, dy, dy, y, COUNT, 0.1, LSNN_SET) ==
              LSNN_OK);
        CHECK(same_bits(dx, dy, COUNT));
    }
    test_end("activations: in place");
}

/* Every activation far out, at 0, infinite and not a number, in whole vectors and alone. */
static void check_extremes(void)
{
    static const double at[] = { 0, 1e-30, 1e-3, 0.7, 0.75, 5, 20, 90, 1e4, 1e30, HUGE_VAL };
    enum { COUNT = 2 * (int)(sizeof at / sizeof *at) + 1 };
    for (int f = LSNN_RELU; f <= LSNN_SCALED_TANH; f++)
        for (int isa = LSNN_ISA_PORTABLE; isa < LSNN_ISA_COUNT_; isa++) {
            lsnn_real x[COUNT], y[COUNT];
            if (!lsnn_isa_available((lsnn_isa)isa)) continue;
            cx.isa = (lsnn_isa)isa;
            for (int i = 0; i < COUNT - 1; i++)
                x[i] = (lsnn_real)(i % 2 ? -at[i / 2] : at[i / 2]);
            x[COUNT - 1] = (lsnn_real)NAN;
            CHECK(lsnn_activation_forward(&cx, (lsnn_act)f, y, x, COUNT, 0.1) == LSNN_OK);
            for (int i = 0; i < COUNT - 1; i++) {
                double want = naive_activation(f, (double)x[i], 0.1);
                if (fabs((double)x[i]) > 1e300) CHECK(y[i] == (lsnn_real)want); /* infinite */
                else CHECK(fabs((double)y[i] - want) <= 8 * EPSILON * fabs(want) + 1e-37);
            }
            CHECK(f == LSNN_RELU || y[COUNT - 1] != y[COUNT - 1]);
        }
    cx.isa = LSNN_ISA_BEST;
    test_end("activations: far out, at 0, infinite, not a number");
}

/* ---- the lecture --------------------------------------------------------------------- */
/* L_p pooling of windows that may overlap: p = 1 adds |x| up, a large p takes the largest |x|;
   gradients likewise. In between y falls with p. r: from p = 1 to what counts as infinite. */
static void check_norm_limits(void)
{
    enum { N = 16, C = 3, SIDE = 9 };
    static const lsnn_shape in = { C, SIDE, SIDE };
    static const double norms[] = { 1, 1.5, 2, 3, 7, 50, 1000, 1e6, 1e30 };
    size_t count = N * C * SIDE * SIDE;
    lsnn_real *x = reals(count), *dx = reals(count), *want = reals(count);
    lsnn_real *y = reals(count), *last = reals(count), *g = reals(count);
    int32_t *where = (int32_t *)test_alloc(count, sizeof *where);
    lsnn_window s;
    for (int trial = 0; trial < 12; trial++) {
        int kernel = draw_int(1, 4), stride = draw_int(1, 4), blocks = trial % 2;
        const int counts = 9;
        size_t out;
        CHECK(lsnn_window_set(&cx, &s, N, in, C, kernel, kernel, stride, stride,
                              trial % 3 ? LSNN_VALID : LSNN_SAME, NULL) == LSNN_OK);
        s.lanes = blocks && lsnn_lanes(&cx) > 1 ? lsnn_lanes(&cx) : 0;
        out = size4(N, C, s.oh, s.ow);
        fill(x, count);
        for (size_t i = 0; i < count; i++) x[i] = x[i] < 0 ? -x[i] : x[i];
        fill(g, out);
        CHECK(lsnn_sum_pool_forward(&cx, last, x, &s) == LSNN_OK);
        for (int k = 0; k < counts; k++) {
            lsnn_real p = (lsnn_real)norms[k];
            CHECK(lsnn_lp_pool_forward(&cx, y, x, &p, 0, &s) == LSNN_OK);
            CHECK(lsnn_lp_pool_backward(&cx, dx, NULL, g, x, y, &p, 0, &s, LSNN_SET) == LSNN_OK);
            for (size_t i = 0; i < out; i++)
                CHECK((double)y[i] <= (double)last[i] * (1 + 64 * EPSILON));
            if (k == 0) {
                for (size_t i = 0; i < out; i++) NEAR(y[i], last[i], 64 * EPSILON);
                CHECK(lsnn_sum_pool_backward(&cx, want, g, &s, LSNN_SET) == LSNN_OK);
                for (size_t i = 0; i < count; i++) NEAR(dx[i], want[i], 64 * EPSILON);
            }
            memcpy(last, y, out * sizeof *y);
        }
        CHECK(lsnn_max_pool_forward(&cx, last, where, x, &s) == LSNN_OK);
        CHECK(lsnn_max_pool_backward(&cx, want, g, where, &s, LSNN_SET) == LSNN_OK);
        for (size_t i = 0; i < out; i++) NEAR(y[i], last[i], 64 * EPSILON);
        for (size_t i = 0; i < count; i++) NEAR(dx[i], want[i], 64 * EPSILON);
    }
    free(x); free(dx); free(want); free(y); free(last); free(g); free(where);
    test_end("lp_pool: p = 1 is the sum, p = 1e30 the largest, between them it falls; overlapping");
}

/* By hand: the norm of 3 and 4 is 5; windows of zeros; numbers whose squares are no numbers;
   what is not a number stays so.                                                        */
static void check_norms_by_hand(void)
{
    const lsnn_real huge = (lsnn_real)(sizeof huge == 4 ? 3e37 : 3e307);
    const lsnn_real tiny = (lsnn_real)(sizeof tiny == 4 ? 3e-37 : 3e-307);
    const lsnn_real x[10] = { 3, -4, 0, 0, huge, -huge, tiny, tiny, (lsnn_real)NAN, 0 };
    const double root = sqrt(2), half = 1 / root;
    const double dx[8] = { 0.6, -0.8, 0, 0, half, -half, half, half };
    const lsnn_real one[5] = { 1, 1, 1, 1, 1 };
    const lsnn_shape in = { 1, 1, 10 };
    lsnn_real y[5], d[10], dp[1] = { 0 }, p = 2;
    lsnn_window s;
    CHECK(lsnn_window_set(&cx, &s, 1, in, 1, 1, 2, 1, 2, LSNN_VALID, NULL) == LSNN_OK);
    CHECK(lsnn_lp_pool_forward(&cx, y, x, &p, 0, &s) == LSNN_OK);
    NEAR(y[0], 5, 16 * EPSILON);
    CHECK(y[1] == 0);
    NEAR((double)y[2] / (double)huge, root, 16 * EPSILON);
    NEAR((double)y[3] / (double)tiny, root, 16 * EPSILON);
    CHECK(y[4] != y[4]);
    CHECK(lsnn_lp_pool_backward(&cx, d, NULL, one, x, y, &p, 0, &s, LSNN_SET) == LSNN_OK);
    for (int i = 0; i < 8; i++) NEAR(d[i], dx[i], 16 * EPSILON);
    s.w = 8;                             /* without what is not a number                 */
    s.ow = 4;
    for (int far = 0; far < 2; far++) {
        lsnn_real q = (lsnn_real)(far ? 1e30 : 1);
        CHECK(lsnn_lp_pool_forward(&cx, y, x, &q, 0, &s) == LSNN_OK);
        CHECK(lsnn_lp_pool_backward(&cx, d, dp, one, x, y, &q, 0, &s, LSNN_SET) == LSNN_OK);
        CHECK(d[2] == 0 && d[3] == 0);
        for (int i = 0; i < 8; i++) CHECK(fabs((double)d[i]) <= 1 + 16 * EPSILON);
        CHECK(fabs((double)dp[0]) < HUGE_VAL);
    }
    test_end("lp_pool: 3 and 4, zeros, huge and tiny numbers, not a number");
}

/* ---- spatial transformers -------------------------------------------------------------- */
/* The picture as theta 1 0 0 0 1 0 leaves it, and mirrored.                             */
static void check_identity_transform(int corners)
{
    enum { N = 2, C = 3, H = 5, W = 4, COUNT = N * C * H * W };
    const lsnn_sampler s = { N, C, H, W, H, W, corners };
    lsnn_real theta[N * 6] = { 1, 0, 0, 0, 1, 0, -1, 0, 0, 0, 1, 0 };
    lsnn_real x[COUNT], y[COUNT], grid[N * 2 * H * W];
    fill(x, COUNT);
    CHECK(lsnn_affine_grid_forward(&cx, grid, theta, N, H, W, corners) == LSNN_OK);
    CHECK(lsnn_grid_sample_forward(&cx, y, x, grid, &s) == LSNN_OK);
    for (int i = 0; i < COUNT; i++) {
        int from = i < COUNT / N ? i : i / W * W + W - 1 - i % W;
        NEAR(y[i], x[from], 64 * EPSILON);
    }
}

/* A row of four pixels, half a pixel further on: means of neighbours, the last one's is 0. */
static void check_half_pixel(int corners)
{
    static const double want[4] = { 2, 5, 6, 2.5 }, dx[4] = { 0.5, 1, 1, 1 };
    static const double slope[4] = { 2, 4, -2, -5 };     /* to the right less to the left */
    const lsnn_real x[4] = { 1, 3, 7, 5 }, one[4] = { 1, 1, 1, 1 };
    const lsnn_sampler s = { 1, 1, 1, 4, 1, 4, corners };
    lsnn_real theta[6] = { 1, 0, 0, 0, 1, 0 }, grid[8], y[4], d[4], dgrid[8], dtheta[6];
    double half = corners ? 1.5 : 2, sum = 0;            /* pixels from 0 to 1            */
    theta[2] = (lsnn_real)(0.5 / half);
    CHECK(lsnn_affine_grid_forward(&cx, grid, theta, 1, 1, 4, corners) == LSNN_OK);
    NEAR(grid[0], (corners ? -1 : -0.75) + 0.5 / half, 8 * EPSILON);
    CHECK(lsnn_grid_sample_forward(&cx, y, x, grid, &s) == LSNN_OK);
    CHECK(lsnn_grid_sample_backward(&cx, d, dgrid, one, x, grid, &s, LSNN_SET, LSNN_SET) ==
          LSNN_OK);
    CHECK(lsnn_affine_grid_backward(&cx, dtheta, dgrid, 1, 1, 4, corners, LSNN_SET) == LSNN_OK);
    for (int i = 0; i < 4; i++) {
        NEAR(y[i], want[i], 32 * EPSILON);
        NEAR(d[i], dx[i], 32 * EPSILON);
        NEAR(dgrid[i], half * slope[i], 64 * EPSILON);
        sum += half * slope[i] * (corners ? -1 + i * 2 / 3.0 : -0.75 + i * 0.5);
    }
    NEAR(dtheta[0], sum, 64 * EPSILON);
    NEAR(dtheta[2], half * -1, 64 * EPSILON);
}

/* Places that no int holds, that are nowhere, that are just in and just out.            */
static void check_far_places(int corners)
{
    enum { PLACES = 11 };
    static const double at[PLACES] = { 1e9, -1e9, 1e30, -1e30, HUGE_VAL, -HUGE_VAL, (double)NAN,
                                       2.5e9, -5e9, 4, -4 };
    const lsnn_sampler s = { 1, 2, 3, 5, 2, PLACES, corners };
    lsnn_real x[2 * 3 * 5], grid[2 * 2 * PLACES], y[2 * 2 * PLACES], dy[2 * 2 * PLACES];
    lsnn_real d[2 * 3 * 5], dgrid[2 * 2 * PLACES];
    fill(x, 30);
    fill(dy, 2 * 2 * PLACES);
    for (int i = 0; i < 2 * 2 * PLACES; i++) {           /* far to the side, then far down */
        int far_along = (i / PLACES % 2 == 0) == (i < 2 * PLACES);
        grid[i] = (lsnn_real)(far_along ? at[i % PLACES] : 0.1);
    }
    CHECK(lsnn_grid_sample_forward(&cx, y, x, grid, &s) == LSNN_OK);
    CHECK(lsnn_grid_sample_backward(&cx, d, dgrid, dy, x, grid, &s, LSNN_SET, LSNN_SET) ==
          LSNN_OK);
    for (int i = 0; i < 2 * 2 * PLACES; i++) {
        if (at[i % PLACES] != at[i % PLACES]) CHECK(y[i] != y[i]);
        else CHECK(y[i] == 0 && dgrid[i] == 0);
    }
    CHECK(lsnn_affine_grid_forward(&cx, grid, y, 1, 2, PLACES, corners) == LSNN_OK);
}

static void check_transforms(void)
{
    for (int corners = 0; corners < 2; corners++) {
        check_identity_transform(corners);
        check_half_pixel(corners);
        check_far_places(corners);
    }
    test_end("transformers: the identity, half a pixel by hand, places far out and nowhere");
}

/* conv2d multiplies x[i+u, j+v] by w[u, v]: a cross-correlation. The convolution of signal
   processing, sum w[u, v] x[i-u, j-v], is the same with the kernel turned by half a turn. */
static void check_flipped(void)
{
    enum { H = 7, W = 6, K = 3, OH = H - K + 1, OW = W - K + 1 };
    const lsnn_shape in = { 1, H, W };
    lsnn_real x[H * W], w[K * K], turned[K * K], y[OH * OW], z[OH * OW];
    lsnn_window s;
    CHECK(lsnn_window_set(&cx, &s, 1, in, 1, K, K, 1, 1, LSNN_VALID, NULL) == LSNN_OK);
    fill(x, H * W);
    fill(w, K * K);
    for (int i = 0; i < K * K; i++) turned[i] = w[K * K - 1 - i];
    CHECK(lsnn_conv2d_forward(&cx, y, x, w, NULL, &s) == LSNN_OK);
    CHECK(lsnn_conv2d_forward(&cx, z, x, turned, NULL, &s) == LSNN_OK);
    for (int i = 0; i < OH; i++)
        for (int j = 0; j < OW; j++) {
            double cross = 0, conv = 0;
            for (int u = 0; u < K; u++)
                for (int v = 0; v < K; v++) {
                    cross += (double)w[u * K + v] * (double)x[(i + u) * W + j + v];
                    conv += (double)w[u * K + v] *
                            (double)x[(i + K - 1 - u) * W + j + K - 1 - v];
                }
            NEAR(y[i * OW + j], cross, 16 * EPSILON);
            NEAR(z[i * OW + j], conv, 16 * EPSILON);
        }
    memset(x, 0, sizeof x);              /* a point of light shows the kernel, turned    */
    x[2 * W + 2] = 1;
    CHECK(lsnn_conv2d_forward(&cx, y, x, w, NULL, &s) == LSNN_OK);
    CHECK(lsnn_conv2d_forward(&cx, z, x, turned, NULL, &s) == LSNN_OK);
    for (int u = 0; u < K; u++)
        for (int v = 0; v < K; v++)
            CHECK(y[u * OW + v] == turned[u * K + v] && z[u * OW + v] == w[u * K + v]);
    test_end("conv2d is a cross-correlation; with the kernel turned, a convolution");
}

/* The mask is what a row of ones becomes.                                               */
static void check_dropout(void)
{
    enum { N = 7, COUNT = 301, ALL = N * COUNT };
    static lsnn_real ones[ALL], mask[ALL], x[ALL], y[ALL], row[COUNT], again[ALL];
    const double rate = 0.3;
    lsnn_rng at = lsnn_rng_at(7, "dropout", "drop1", 3, 20), other;
    int zeros = 0;
    for (int i = 0; i < ALL; i++) { ones[i] = 1; x[i] = (lsnn_real)draw_real(-1, 1); }
    CHECK(lsnn_dropout_forward(&cx, mask, ones, N, COUNT, 0, rate, &at) == LSNN_OK);
    for (int i = 0; i < ALL; i++) {
        zeros += mask[i] == 0;
        if (mask[i] != 0) NEAR(mask[i], 1 / (1 - rate), 4 * EPSILON);
    }
    CHECK(fabs(zeros - rate * (int)ALL) < 5 * sqrt((int)ALL * rate * (1 - rate)));
    CHECK(lsnn_dropout_forward(&cx, y, x, N, COUNT, 0, rate, &at) == LSNN_OK);
    for (int i = 0; i < ALL; i++) NEAR(y[i], x[i] * mask[i], 4 * EPSILON);
    for (int i = 0; i < ALL; i++) again[i] = 2;
    CHECK(lsnn_dropout_backward(&cx, again, x, N, COUNT, 0, rate, &at, LSNN_ADD) == LSNN_OK);
    for (int i = 0; i < ALL; i++) NEAR(again[i], 2 + x[i] * mask[i], 4 * EPSILON);
    CHECK(lsnn_dropout_backward(&cx, again, x, N, COUNT, 0, rate, &at, LSNN_SET) == LSNN_OK);
    CHECK(same_bits(again, y, ALL));
    for (int n = 0; n < N; n++) {        /* a batch may be split without another draw    */
        other = lsnn_rng_at(7, "dropout", "drop1", 3, 20 + (uint32_t)n);
        CHECK(lsnn_dropout_forward(&cx, row, x + n * COUNT, 1, COUNT, 0, rate, &other) ==
              LSNN_OK);
        CHECK(same_bits(row, y + n * COUNT, COUNT));
        CHECK(n == 0 || !same_bits(mask, mask + n * COUNT, COUNT));
    }
    for (cx.threads = 2; cx.threads <= 3; cx.threads++) {
        CHECK(lsnn_dropout_forward(&cx, again, x, N, COUNT, 0, rate, &at) == LSNN_OK);
        CHECK(same_bits(again, y, ALL));
    }
    cx.threads = 1;
    memcpy(again, x, sizeof x);          /* in place, and without any dropping           */
    for (int isa = LSNN_ISA_PORTABLE; isa < LSNN_ISA_COUNT_; isa++) {    /* in any layout */
        lsnn_real *block, *plain;
        if (!lsnn_isa_available((lsnn_isa)isa)) continue;
        cx.isa = (lsnn_isa)isa;
        block = reals(16 * COUNT);
        plain = reals(16 * COUNT);
        fill(plain, 16 * COUNT);
        if (lsnn_lanes(&cx) > 1) {
            CHECK(lsnn_interleave(&cx, block, plain, 16, COUNT, 0, LSNN_SET) == LSNN_OK);
            CHECK(lsnn_dropout_forward(&cx, block, block, 16, COUNT, lsnn_lanes(&cx), rate,
                                       &at) == LSNN_OK);
            CHECK(lsnn_dropout_forward(&cx, plain, plain, 16, COUNT, 0, rate, &at) == LSNN_OK);
            for (int n = 0; n < 16; n++)
                for (int i = 0; i < COUNT; i++) {
                    int lanes = lsnn_lanes(&cx), at_block = n / lanes * COUNT * lanes;
                    CHECK(block[at_block + i * lanes + n % lanes] == plain[n * COUNT + i]);
                }
        }
        free(block);
        free(plain);
    }
    cx.isa = LSNN_ISA_BEST;
    CHECK(lsnn_dropout_forward(&cx, again, again, N, COUNT, 0, rate, &at) == LSNN_OK);
    CHECK(same_bits(again, y, ALL));
    CHECK(lsnn_dropout_forward(&cx, again, x, N, COUNT, 0, 0, &at) == LSNN_OK);
    CHECK(same_bits(again, x, ALL));
    test_end("dropout: mask, backward, split batches, threads, in place");
}

/* ---- (d) LSNN section 4.1 ---------------------------------------------------------------- */
/* "CNN is a special case of LSNN by setting the smoothers to a vector of ones."         */
static void check_ones(const lsnn_window *s)
{
    size_t y_count = size4(s->n, s->k, s->oh, s->ow), places = size4(s->oh, s->ow, 1, 1);
    size_t maps = (size_t)s->k * places;
    lsnn_real *x = reals(size4(s->n, s->c, s->h, s->w)), *b = reals((size_t)s->k);
    lsnn_real *w = reals(size4(s->k, s->c, s->kernel_h, s->kernel_w));
    lsnn_real *a = reals(y_count), *y = reals(y_count), *want = reals(y_count);
    lsnn_real *ones = reals(maps), *u = reals(maps);
    lsnn_smoother m;
    fill(x, size4(s->n, s->c, s->h, s->w));
    fill(w, size4(s->k, s->c, s->kernel_h, s->kernel_w));
    fill(b, (size_t)s->k);
    for (size_t i = 0; i < maps; i++) ones[i] = 1;
    memset(&m, 0, sizeof m);
    m.n = s->n; m.k = s->k; m.h = s->oh; m.w = s->ow;
    m.shape = LSNN_TABLE;
    CHECK(lsnn_conv2d_forward(&cx, want, x, w, b, s) == LSNN_OK);
    CHECK(lsnn_conv2d_forward(&cx, a, x, w, NULL, s) == LSNN_OK);
    for (m.smooth_bias = 0; m.smooth_bias < 2; m.smooth_bias++) {
        CHECK(lsnn_smooth_forward(&cx, y, u, a, ones, b, &m) == LSNN_OK);
        CHECK(same_bits(y, want, y_count));
    }
    free(x); free(b); free(w); free(a); free(y); free(want); free(ones); free(u);
}

/* With tables, w[p] = sum_l U[l,p] V[l] for any U and V. rank 1: the locally connected
   layers of rank 1. full: rank C*kh*kw with V[l] = e_l reproduces every one of them.    */
static void check_tables(const lsnn_window *s, int full)
{
    int q_count = s->c * s->kernel_h * s->kernel_w, p_count = s->oh * s->ow;
    int rank = full ? q_count : 1;
    size_t x_count = size4(s->n, s->c, s->h, s->w), y_count = size4(s->n, s->k, p_count, 1);
    size_t maps = size4(s->k, rank, p_count, 1);
    lsnn_real *x = reals(x_count), *v = reals(size4(s->k, rank, q_count, 1));
    lsnn_real *w = reals(size4(p_count, q_count, s->k, 1));
    lsnn_real *u = reals(maps), *kept = reals(maps);
    lsnn_real *a = reals(y_count * (size_t)rank), *y = reals(y_count), *want = reals(y_count);
    lsnn_window conv = *s;
    lsnn_smoother m;
    fill(x, x_count);
    fill(u, maps);
    for (int k = 0; k < s->k; k++)
        for (int l = 0; l < rank; l++)
            for (int q = 0; q < q_count; q++)
                v[naive_at3(k, l, rank, q, q_count)] =
                    (lsnn_real)(full ? (q == l) : draw_real(-1, 1));
    for (int p = 0; p < p_count; p++)
        for (int q = 0; q < q_count; q++)
            for (int k = 0; k < s->k; k++)
                for (int l = 0; l < rank; l++)
                    w[naive_at3(p, q, q_count, k, s->k)] +=
                        u[naive_at3(k, l, rank, p, p_count)] *
                        v[naive_at3(k, l, rank, q, q_count)];
    conv.k = s->k * rank;
    memset(&m, 0, sizeof m);
    m.n = s->n; m.k = s->k; m.rank = rank; m.h = s->oh; m.w = s->ow;
    m.shape = LSNN_TABLE;
    CHECK(lsnn_local2d_forward(&cx, want, x, w, NULL, s) == LSNN_OK);
    CHECK(lsnn_conv2d_forward(&cx, a, x, v, NULL, &conv) == LSNN_OK);
    CHECK(lsnn_smooth_forward(&cx, y, kept, a, u, NULL, &m) == LSNN_OK);
    for (size_t i = 0; i < y_count; i++)
        NEAR(y[i], want[i], sizeof(lsnn_real) == 8 ? 1e-12 : 2e-5);
    free(x); free(v); free(w); free(u); free(kept); free(a); free(y); free(want);
}
static void check_identities(void)
{
    lsnn_window s;
    for (int trial = 0; trial < 60; trial++) {
        /* every other window is deeper than a kernel's chunk of additions               */
        while (!draw_window(&s, 0, 1, 70, 0) ||
               (trial % 2 && s.c * s.kernel_h * s.kernel_w <= 260)) { }
        while (!lsnn_isa_available((lsnn_isa)(cx.isa = (lsnn_isa)draw_int(1, 4)))) { }
        check_ones(&s);
    }
    test_end("LSNN 4.1: a smoother of ones is the convolution, bit for bit");
    for (int trial = 0; trial < 40; trial++) {
        while (!draw_window(&s, 0, 1, 5, 0)) { }
        check_tables(&s, trial % 2);
    }
    cx.isa = LSNN_ISA_BEST;
    test_end("LSNN 4.1: tables of rank 1, and of full rank, are locally connected layers");
}

/* ---- (f) smoothers that look far outside ------------------------------------------------ */
static void check_far(void)
{
    enum { K = 4, H = 6, W = 7, P = H * W };
    static const double far_theta[K * 5] = {
        50, 0.25, 100, 1.5, 0,    -50, 0.75, 100, 1, 0,
        0.5, 50, 0.75, 100, 0,    -50, 50, 100, 100, 0.5
    };
    const double tolerance = sizeof(lsnn_real) == 8 ? 1e-8 : 1e-5;
    problem p;
    for (int mean = 0; mean < 2; mean++) {
        arrays a;
        memset(&p, 0, sizeof p);
        p.op = op_find("smooth", 6);
        p.bias = 1;
        p.u.n = 2; p.u.k = K; p.u.rank = 1; p.u.h = H; p.u.w = W;
        p.u.normalise = mean ? LSNN_NORMALISE_MEAN : LSNN_NORMALISE_SUM;
        op_size(&p);
        arrays_new(&a, &p);
        for (int i = 0; i < K * 5; i++) {
            a.nin[1][i] = far_theta[i];
            a.in[1][i] = (lsnn_real)far_theta[i];
        }
        run_lsnn(&p, &a, LSNN_SET);
        run_naive(&p, &a, LSNN_SET);
        for (size_t i = 0; i < p.y_count; i++) NEAR(a.y[i], a.want_y[i], tolerance);
        for (int i = 0; i < 3; i++) {
            double most = 0;
            for (size_t j = 0; j < p.count[i]; j++) most = fmax(most, fabs(a.want_d[i][j]));
            for (size_t j = 0; j < p.count[i]; j++)
                NEAR(a.d[i][j], a.want_d[i][j], 10 * tolerance * (1 + most));
        }
        for (int k = 0; k < K; k++) {    /* the weights of a map add up to 1, or to P    */
            double sum = 0;
            for (int i = 0; i < P; i++) sum += (double)a.kept.v[k * P + i];
            NEAR(sum, mean ? P : 1, 100 * EPSILON);
        }
        arrays_free(&a);
    }
    test_end("smoother: mu = +-50, alpha = 100, by the sum and by the mean");
}

/* ---- (e) misuse -------------------------------------------------------------------------- */
static int logged;                       /* messages that reached the log                */

static void count_log(const char *message, void *user)
{
    (void)user;
    logged += message[0] != 0;
}
/* The call failed with that status, and said why once.                                  */
#define REFUSED(call, code) CHECK(refused((call), (code)) && #call)
static int refused(lsnn_status got, lsnn_status want)
{
    int good = got == want && cx.status == want && cx.message[0] && logged == 1;
    if (!good)
        printf("# got %d, should be %d; context %d \"%s\", %d messages\n", (int)got, (int)want,
               (int)cx.status, cx.message, logged);
    lsnn_clear(&cx);
    logged = 0;
    return good;
}

static void check_bad_windows(void)
{
    static lsnn_real v[64];
    static int32_t where[64];
    const lsnn_real two = 2;
    lsnn_window s, good;
    lsnn_shape in = { 1, 4, 4 }, none = { 0, 4, 4 };
    int pad[4] = { 0, 0, 0, 0 }, bad_pad[4] = { 0, -1, 0, 0 };
    REFUSED(lsnn_window_set(&cx, &s, 1, in, 1, 5, 3, 1, 1, LSNN_VALID, NULL), LSNN_ESHAPE);
    REFUSED(lsnn_window_set(&cx, &s, 1, in, 1, 3, 5, 1, 1, LSNN_VALID, NULL), LSNN_ESHAPE);
    REFUSED(lsnn_window_set(&cx, &s, 1, in, 1, 5, 3, 1, 1, LSNN_EXPLICIT, pad), LSNN_ESHAPE);
    REFUSED(lsnn_window_set(&cx, &s, 1, in, 1, 3, 3, 1, 1, LSNN_EXPLICIT, bad_pad),
            LSNN_ESHAPE);
    REFUSED(lsnn_window_set(&cx, &s, 0, in, 1, 3, 3, 1, 1, LSNN_VALID, NULL), LSNN_ESHAPE);
    REFUSED(lsnn_window_set(&cx, &s, 1, in, -1, 3, 3, 1, 1, LSNN_VALID, NULL), LSNN_ESHAPE);
    REFUSED(lsnn_window_set(&cx, &s, 1, in, 1, 0, 3, 1, 1, LSNN_SAME, NULL), LSNN_ESHAPE);
    REFUSED(lsnn_window_set(&cx, &s, 1, in, 1, 3, 3, 1, 0, LSNN_SAME, NULL), LSNN_ESHAPE);
    REFUSED(lsnn_window_set(&cx, &s, 1, none, 1, 3, 3, 1, 1, LSNN_SAME, NULL), LSNN_ESHAPE);
    CHECK(lsnn_window_set(&cx, &good, 1, in, 1, 2, 2, 2, 2, LSNN_VALID, NULL) == LSNN_OK);
#define BAD_WINDOW(field, value)                                                          \
    s = good;                                                                             \
    s.field = value;                                                                      \
    REFUSED(lsnn_conv2d_forward(&cx, v, v + 16, v + 40, NULL, &s), LSNN_ESHAPE);            \
    REFUSED(lsnn_conv2d_backward(&cx, v, NULL, NULL, v + 16, v + 24, v + 40, &s, LSNN_SET), \
            LSNN_ESHAPE);                                                                 \
    REFUSED(lsnn_local2d_forward(&cx, v, v + 16, v + 40, NULL, &s), LSNN_ESHAPE);           \
    REFUSED(lsnn_max_pool_forward(&cx, v, where, v + 16, &s), LSNN_ESHAPE);                 \
    REFUSED(lsnn_avg_pool_forward(&cx, v, v + 16, &s), LSNN_ESHAPE);                        \
    REFUSED(lsnn_sum_pool_forward(&cx, v, v + 16, &s), LSNN_ESHAPE);                        \
    REFUSED(lsnn_lp_pool_forward(&cx, v, v + 16, &two, 0, &s), LSNN_ESHAPE);                \
    REFUSED(lsnn_table_conv2d_forward(&cx, v, v + 50, v + 16, v + 40, NULL, "0", &s),       \
            LSNN_ESHAPE);
    BAD_WINDOW(n, 0)
    BAD_WINDOW(c, -2)
    BAD_WINDOW(h, INT_MAX)
    BAD_WINDOW(stride_w, 0)
    BAD_WINDOW(kernel_h, -1)
    BAD_WINDOW(oh, 0)
    BAD_WINDOW(dilation_h, 0)
    BAD_WINDOW(dilation_w, INT_MAX)
    BAD_WINDOW(groups, 2)
    if (lsnn_lanes(&cx) > 1) {           /* blocks of images: whole ones                   */
        BAD_WINDOW(lanes, lsnn_lanes(&cx) + 1)
        REFUSED(lsnn_interleave(&cx, v, v + 32, lsnn_lanes(&cx) + 1, 1, 0, LSNN_SET),
                LSNN_ESHAPE);
        s = good;
        s.lanes = lsnn_lanes(&cx);
        s.n = s.lanes + 1;
        REFUSED(lsnn_conv2d_forward(&cx, v, v + 16, v + 40, NULL, &s), LSNN_ESHAPE);
        REFUSED(lsnn_sum_pool_forward(&cx, v, v + 16, &s), LSNN_ESHAPE);
    }
#undef BAD_WINDOW
    for (int i = 0; i < 2; i++) {        /* poolings and tables take neither             */
        s = good;
        *(i ? &s.dilation_w : &s.groups) = 2;
        s.c = s.k = 2;
        REFUSED(lsnn_max_pool_forward(&cx, v, where, v + 16, &s), LSNN_EVALUE);
        REFUSED(lsnn_avg_pool_forward(&cx, v, v + 16, &s), LSNN_EVALUE);
        REFUSED(lsnn_lp_pool_forward(&cx, v, v + 16, &two, 0, &s), LSNN_EVALUE);
        REFUSED(lsnn_table_conv2d_forward(&cx, v, v, v, v, NULL, "0;1", &s), LSNN_EVALUE);
    }
    test_end("misuse: windows that do not fit");
}

static void check_bad_sizes(void)
{
    static lsnn_real v[64];
    double loss;
    const int big = INT_MAX;
    REFUSED(lsnn_gemm(&cx, 0, 0, 0, 2, 2, v, 2, v + 8, 2, 0, v + 16, 2), LSNN_ESHAPE);
    REFUSED(lsnn_gemm(&cx, 0, 0, 2, 2, -1, v, 2, v + 8, 2, 0, v + 16, 2), LSNN_ESHAPE);
    REFUSED(lsnn_gemm(&cx, 0, 0, 2, 3, 4, v, 3, v + 8, 3, 0, v + 32, 3), LSNN_ESHAPE);
    REFUSED(lsnn_gemm(&cx, 0, 0, 2, 3, 4, v, 4, v + 8, 2, 0, v + 32, 3), LSNN_ESHAPE);
    REFUSED(lsnn_gemm(&cx, 0, 0, 2, 3, 4, v, 4, v + 8, 3, 0, v + 32, 2), LSNN_ESHAPE);
    REFUSED(lsnn_dense_forward(&cx, v, v, v, NULL, 0, 2, 2), LSNN_ESHAPE);
    REFUSED(lsnn_dense_forward(&cx, v, v, v, NULL, 2, -2, 2), LSNN_ESHAPE);
    REFUSED(lsnn_dense_backward(&cx, v, v, v, v, v, v, 2, 2, 0, LSNN_SET), LSNN_ESHAPE);
    REFUSED(lsnn_softmax_forward(&cx, v, v + 8, 2, 0, 1), LSNN_ESHAPE);
    REFUSED(lsnn_softmax_forward(&cx, v, v + 8, big, big, big), LSNN_ESHAPE);
    REFUSED(lsnn_scale_forward(&cx, v, v + 8, v + 16, NULL, 2, 2, 0), LSNN_ESHAPE);
    REFUSED(lsnn_scale_forward(&cx, v, v + 8, v + 16, NULL, big, big, big), LSNN_ESHAPE);
    REFUSED(lsnn_batch_norm_forward(&cx, v, v, v, v, v, v, v, v, 0, 1, 1, 0.1, 1e-5),
            LSNN_ESHAPE);
    REFUSED(lsnn_batch_norm_predict(&cx, v, v, v, v, v, v, 1, 1, -1, 1e-5), LSNN_ESHAPE);
    REFUSED(lsnn_batch_norm_forward(&cx, v, v, v, v, v, v, v, v, big, big, big, 0.1, 1e-5),
            LSNN_ESHAPE);
    REFUSED(lsnn_rows_copy(&cx, v, 4, v + 8, 4, -1, 4, LSNN_SET), LSNN_ESHAPE);
    REFUSED(lsnn_mse_forward(&cx, &loss, v, v + 8, 1, 0, 1), LSNN_ESHAPE);
    test_end("misuse: sizes");
}

static void check_bad_transforms(lsnn_real *v)
{
    const lsnn_sampler good = { 1, 1, 2, 2, 2, 2, 0 };
    lsnn_sampler s;
    REFUSED(lsnn_affine_grid_forward(&cx, v, v + 16, 1, 0, 2, 0), LSNN_ESHAPE);
    REFUSED(lsnn_affine_grid_forward(&cx, v, v + 16, 1, 2, 2, 2), LSNN_EVALUE);
    REFUSED(lsnn_affine_grid_backward(&cx, v, v + 16, -1, 2, 2, 0, LSNN_SET), LSNN_ESHAPE);
    REFUSED(lsnn_affine_grid_backward(&cx, v, v + 16, 1, 2, 2, -1, LSNN_SET), LSNN_EVALUE);
#define BAD_SAMPLER(field, value, code)                                                   \
    s = good;                                                                             \
    s.field = value;                                                                      \
    REFUSED(lsnn_grid_sample_forward(&cx, v, v + 16, v + 32, &s), code);                  \
    REFUSED(lsnn_grid_sample_backward(&cx, v, v + 8, v + 16, v + 24, v + 32, &s, LSNN_SET, \
                                      LSNN_SET), code);
    BAD_SAMPLER(n, 0, LSNN_ESHAPE)
    BAD_SAMPLER(c, -1, LSNN_ESHAPE)
    BAD_SAMPLER(h, INT_MAX, LSNN_ESHAPE)
    BAD_SAMPLER(w, 0, LSNN_ESHAPE)
    BAD_SAMPLER(oh, INT_MAX, LSNN_ESHAPE)
    BAD_SAMPLER(ow, 0, LSNN_ESHAPE)
    BAD_SAMPLER(align_corners, 2, LSNN_EVALUE)
#undef BAD_SAMPLER
}

static void check_bad_norms_and_tables(lsnn_real *v)
{
    static const double norms[] = { 0.5, 0, -2, (double)NAN, HUGE_VAL };
    static const char *const tables[] = { "", "0;2", "0,0;1", "1-0;1", "0;1,", "a;b" };
    const lsnn_shape in = { 2, 4, 4 };
    lsnn_window s;
    CHECK(lsnn_window_set(&cx, &s, 1, in, 2, 2, 2, 2, 2, LSNN_VALID, NULL) == LSNN_OK);
    for (size_t i = 0; i < sizeof norms / sizeof norms[0]; i++) {
        lsnn_real p[2] = { 2, (lsnn_real)norms[i] };
        REFUSED(lsnn_lp_pool_forward(&cx, v, v, p, 1, &s), LSNN_EVALUE);
        REFUSED(lsnn_lp_pool_backward(&cx, v, NULL, v, v, v, p + 1, 0, &s, LSNN_SET),
                LSNN_EVALUE);
    }
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        REFUSED(lsnn_table_conv2d_forward(&cx, v, v, v, v, NULL, tables[i], &s), LSNN_EVALUE);
        REFUSED(lsnn_table_conv2d_backward(&cx, v, v, NULL, v, v, v, v, tables[i], &s, LSNN_SET),
                LSNN_EVALUE);
    }
    REFUSED(lsnn_table_conv2d_forward(&cx, v, v, v, v, NULL, NULL, &s), LSNN_EVALUE);
    REFUSED(lsnn_table_conv2d_forward(&cx, v, v, v, v, NULL, "0;1;0", &s), LSNN_ESHAPE);
}

static void check_bad_values(void)
{
    static lsnn_real v[64];
    double loss;
    int label[3] = { 0, 1, 2 };
    lsnn_rng at = lsnn_rng_at(1, "dropout", "d", 0, 0);
    REFUSED(lsnn_cross_entropy_forward(&cx, &loss, v, v + 16, label, 1, 3, 2), LSNN_EVALUE);
    label[2] = -1;
    REFUSED(lsnn_cross_entropy_forward(&cx, &loss, v, v + 16, label, 1, 3, 2), LSNN_EVALUE);
    REFUSED(lsnn_cross_entropy_backward(&cx, v, v + 16, label, 1, 3, 2, 1, LSNN_SET),
            LSNN_EVALUE);
    REFUSED(lsnn_cross_entropy_forward(&cx, &loss, v, v + 16, label, 1, 0, 2), LSNN_ESHAPE);
    REFUSED(lsnn_cross_entropy_rubbish_forward(&cx, &loss, v, v + 16, label, 1, 3, 2, 1),
            LSNN_EVALUE);
    REFUSED(lsnn_cross_entropy_rubbish_forward(&cx, &loss, v, v + 16, label, 1, 3, 0, 1),
            LSNN_ESHAPE);
    REFUSED(lsnn_rbf_forward(&cx, v, v + 16, v + 32, 2, 0, 2), LSNN_ESHAPE);
    REFUSED(lsnn_rbf_backward(&cx, v, NULL, v + 16, v + 32, v + 48, 2, 2, -1, LSNN_SET),
            LSNN_ESHAPE);
    check_bad_norms_and_tables(v);
    check_bad_transforms(v);
    REFUSED(lsnn_dropout_forward(&cx, v, v + 16, 1, 4, 0, 1.0, &at), LSNN_EVALUE);
    REFUSED(lsnn_dropout_forward(&cx, v, v + 16, 1, 4, 0, -0.5, &at), LSNN_EVALUE);
    REFUSED(lsnn_dropout_forward(&cx, v, v + 16, 1, 4, 0, (double)NAN, &at), LSNN_EVALUE);
    REFUSED(lsnn_dropout_forward(&cx, v, v + 16, 0, 4, 0, 0.5, &at), LSNN_ESHAPE);
#ifndef __cplusplus                      /* there the cast alone is undefined            */
    REFUSED(lsnn_activation_forward(&cx, (lsnn_act)9, v, v, 4, 0), LSNN_EVALUE);
#endif
    test_end("misuse: values");
}

static void check_bad_smoothers(void)
{
    static lsnn_real v[64], u[64];
    lsnn_smoother good, s;
    memset(&good, 0, sizeof good);
    good.n = good.k = 1;
    good.h = good.w = 2;
#define BAD_SMOOTHER(field, value, code)                                                  \
    s = good;                                                                             \
    s.field = value;                                                                      \
    REFUSED(lsnn_smoother_map(&cx, u, v, &s), code);                                       \
    REFUSED(lsnn_smooth_forward(&cx, v, u, v + 16, v + 32, NULL, &s), code);               \
    REFUSED(lsnn_smooth_backward(&cx, v, NULL, NULL, v + 8, v + 16, u, v + 32, NULL, &s,   \
                                 LSNN_SET, LSNN_SET), code);
    BAD_SMOOTHER(n, 0, LSNN_ESHAPE)
    BAD_SMOOTHER(k, -1, LSNN_ESHAPE)
    BAD_SMOOTHER(rank, -1, LSNN_ESHAPE)
    BAD_SMOOTHER(h, 0, LSNN_ESHAPE)
    BAD_SMOOTHER(w, -3, LSNN_ESHAPE)
    BAD_SMOOTHER(normalise, (lsnn_normalise)3, LSNN_EVALUE)
#ifndef __cplusplus
    BAD_SMOOTHER(shape, (lsnn_smooth_shape)10, LSNN_EVALUE)
#endif
    BAD_SMOOTHER(mixture, -1, LSNN_ESHAPE)
    BAD_SMOOTHER(mixture, INT_MAX, LSNN_ESHAPE)
    good.shape = LSNN_TABLE;
    BAD_SMOOTHER(normalise, LSNN_NORMALISE_SUM, LSNN_EVALUE)
    BAD_SMOOTHER(mixture, 2, LSNN_EVALUE)
    good.n = good.k = good.h = good.w = INT_MAX;
    BAD_SMOOTHER(rank, INT_MAX, LSNN_ESHAPE)
#undef BAD_SMOOTHER
    test_end("misuse: smoothers");
}

/* The first failure is the one that the context keeps; a later one is heard of, too.     */
static void check_first_failure(void)
{
    static lsnn_real v[16];
    char first[sizeof cx.message];
    CHECK(lsnn_dense_forward(&cx, v, v, v, NULL, 0, 2, 2) == LSNN_ESHAPE);
    memcpy(first, cx.message, sizeof first);
    CHECK(lsnn_softmax_forward(&cx, v, v, 2, -7, 1) == LSNN_ESHAPE);
    CHECK(strcmp(first, cx.message) == 0 && logged == 2);
    lsnn_clear(&cx);
    CHECK(cx.status == LSNN_OK && cx.message[0] == 0);
    logged = 0;
    test_end("misuse: the first failure is kept until it is cleared");
}

int main(int argc, char **argv)
{
    if (argc > 1) seed = (uint64_t)strtoull(argv[1], NULL, 10) * 2 + 1;
    cx.threads = 1;
    for (int i = 0; i < OP_COUNT; i++) check_kernels(&op_table[i]);
    for (int i = 0; i < OP_COUNT; i++)
        if (has_window(&op_table[i])) check_windows(&op_table[i]);
    check_gemm();
    check_dense_batches();
#ifdef LSNN_DOUBLE
    for (int i = 0; i < OP_COUNT; i++)
        if (op_table[i].grads) check_differences(&op_table[i]);
    check_smoother_options();
#endif
    check_in_place();
    check_extremes();
    check_norm_limits();
    check_norms_by_hand();
    check_transforms();
    check_flipped();
    check_dropout();
    check_identities();
    check_far();
    cx.log_fn = count_log;
    check_bad_windows();
    check_bad_sizes();
    check_bad_values();
    check_bad_smoothers();
    check_first_failure();
    lsnn_ctx_free(&cx);
    return test_finish();
}
