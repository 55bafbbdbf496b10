/* ops.h - every op of lsnn.h behind one interface, beside its naive twin, so that a test is one
   loop over the table. Include lsnn.h before it.

   A problem is an op and its sizes. Its inputs in[0], in[1], ... have the names of op->inputs
   ("x w b"); the first op->grads of them have a gradient d[i]. A count of 0 means that this
   input is left out (a missing bias).

   To add an op: its twin in naive.h, four functions here (its call and its twin's, forward and
   backward) named as OP_ROW pastes them, one that sets a problem's counts, and a row in the
   table at the end. That holds the functions; a draw in test_graphs.c holds its layer in nets.
   An op with a kink, such as relu, also needs its inputs kept off it: test_ops.c, by name.  */
#ifndef OPS_H
#define OPS_H
#include "naive.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { OPS_IN = 5 };

typedef struct problem {
    const struct op *op;
    lsnn_window s;                       /* conv2d, local2d, poolings                    */
    lsnn_smoother u;
    lsnn_blender m;
    int n, c, k, inner;                  /* everything else                              */
    int first, head, heads;              /* slice; losses (heads: row stride of t)       */
    int bias;                            /* 0: no b                                      */
    int in_blocks;                       /* 1: on images side by side, if lanes are 2 or more    */
    const int *label;
    int p_maps;                          /* lp_pool: a p for each map                    */
    char table[512], mask[256];          /* table_conv2d: as text, and K x C             */
    lsnn_sampler t;                      /* affine_grid (n, oh, ow), grid_sample         */
    const double *inside;                /* target2d: K x OH x OW, not 0 in a region; NULL: */
    uint32_t regions;                    /*   drawn by this number                       */
    double slope, momentum, eps;
    /* filled by op_size: */
    size_t count[OPS_IN], y_count, keep_count;
    double terms[OPS_IN], y_terms;       /* products summed into one number              */
} problem;

typedef struct keep {                    /* what forward keeps for backward              */
    lsnn_real *v;                        /* keep_count                                   */
    int32_t *where;                      /* y_count                                      */
} keep;

typedef struct op {
    const char *name, *inputs;
    int grads;
    int linear;                          /* in each input: the error bound is elementwise */
    void (*size)(problem *p);
    lsnn_status (*forward)(lsnn_ctx *cx, const problem *p, lsnn_real *y, keep *kept,
                           const lsnn_real *const *in);
    lsnn_status (*backward)(lsnn_ctx *cx, const problem *p, lsnn_real *const *d,
                            const lsnn_real *dy, const lsnn_real *y, keep *kept,
                            const lsnn_real *const *in, int add);
    void (*naive_forward)(const problem *p, double *y, const double *const *in);
    void (*naive_backward)(const problem *p, double *const *d, const double *dy,
                           const double *const *in);
} op;

static inline size_t size4(int a, int b, int c, int d)
{
    return (size_t)a * (size_t)b * (size_t)c * (size_t)d;
}
static inline void *test_alloc(size_t count, size_t size)
{
    void *block = calloc(count ? count : 1, size);
    if (!block) { printf("# out of memory\n"); exit(1); }
    return block;
}

/* ---- windows ------------------------------------------------------------------------ */
static inline naive_window op_window(const lsnn_window *s)
{
    naive_window w;
    w.N = s->n; w.C = s->c; w.H = s->h; w.W = s->w; w.K = s->k; w.OH = s->oh; w.OW = s->ow;
    w.KH = s->kernel_h; w.KW = s->kernel_w; w.SH = s->stride_h; w.SW = s->stride_w;
    w.PT = s->pad_top; w.PL = s->pad_left;
    w.DH = s->dilation_h; w.DW = s->dilation_w; w.G = s->groups;
    return w;
}
static inline void op_window_size(problem *p)
{
    const lsnn_window *s = &p->s;
    int taps = s->kernel_h * s->kernel_w;
    p->count[0] = size4(s->n, s->c, s->h, s->w);
    p->y_count = size4(s->n, s->k, s->oh, s->ow);
    p->y_terms = s->c / s->groups * taps + 1;
    p->terms[0] = s->k / s->groups * taps;
}
static inline void op_conv2d_size(problem *p)
{
    const lsnn_window *s = &p->s;
    op_window_size(p);
    p->count[1] = size4(s->k, s->c / s->groups, s->kernel_h, s->kernel_w);
    p->count[2] = p->bias ? (size_t)s->k : 0;
    p->terms[1] = p->terms[2] = s->n * s->oh * s->ow;
}
static inline lsnn_status op_conv2d(lsnn_ctx *cx, const problem *p, lsnn_real *y, keep *kept,
                                    const lsnn_real *const *in)
{
    (void)kept;
    return lsnn_conv2d_forward(cx, y, in[0], in[1], in[2], &p->s);
}
static inline lsnn_status op_conv2d_back(lsnn_ctx *cx, const problem *p, lsnn_real *const *d,
                                         const lsnn_real *dy, const lsnn_real *y, keep *kept,
                                         const lsnn_real *const *in, int add)
{
    (void)kept; (void)y;
    return lsnn_conv2d_backward(cx, d[0], d[1], d[2], dy, in[0], in[1], &p->s, add);
}
static inline void op_conv2d_naive(const problem *p, double *y, const double *const *in)
{
    naive_conv2d_forward(y, in[0], in[1], in[2], op_window(&p->s));
}
static inline void op_conv2d_naive_back(const problem *p, double *const *d, const double *dy,
                                        const double *const *in)
{
    naive_conv2d_backward(d[0], d[1], d[2], dy, in[0], in[1], op_window(&p->s));
}

static inline void op_local2d_size(problem *p)
{
    const lsnn_window *s = &p->s;
    op_window_size(p);
    p->count[1] = size4(s->oh, s->ow, s->c / s->groups * s->kernel_h * s->kernel_w, s->k);
    p->count[2] = p->bias ? size4(s->k, s->oh, s->ow, 1) : 0;
    p->terms[1] = p->terms[2] = s->n;
}
static inline lsnn_status op_local2d(lsnn_ctx *cx, const problem *p, lsnn_real *y, keep *kept,
                                     const lsnn_real *const *in)
{
    (void)kept;
    return lsnn_local2d_forward(cx, y, in[0], in[1], in[2], &p->s);
}
static inline lsnn_status op_local2d_back(lsnn_ctx *cx, const problem *p, lsnn_real *const *d,
                                          const lsnn_real *dy, const lsnn_real *y, keep *kept,
                                          const lsnn_real *const *in, int add)
{
    (void)kept; (void)y;
    return lsnn_local2d_backward(cx, d[0], d[1], d[2], dy, in[0], in[1], &p->s, add);
}
static inline void op_local2d_naive(const problem *p, double *y, const double *const *in)
{
    naive_local2d_forward(y, in[0], in[1], in[2], op_window(&p->s));
}
static inline void op_local2d_naive_back(const problem *p, double *const *d, const double *dy,
                                         const double *const *in)
{
    naive_local2d_backward(d[0], d[1], d[2], dy, in[0], in[1], op_window(&p->s));
}

/* ---- poolings ----------------------------------------------------------------------- */
static inline void op_pool_size(problem *p)
{
    p->s.k = p->s.c;
    op_window_size(p);
    p->y_terms = p->terms[0] = p->s.kernel_h * p->s.kernel_w;
}
static inline lsnn_status op_max_pool(lsnn_ctx *cx, const problem *p, lsnn_real *y, keep *kept,
                                      const lsnn_real *const *in)
{
    return lsnn_max_pool_forward(cx, y, kept->where, in[0], &p->s);
}
static inline lsnn_status op_max_pool_back(lsnn_ctx *cx, const problem *p, lsnn_real *const *d,
                                           const lsnn_real *dy, const lsnn_real *y, keep *kept,
                                           const lsnn_real *const *in, int add)
{
    (void)y; (void)in;
    return lsnn_max_pool_backward(cx, d[0], dy, kept->where, &p->s, add);
}
static inline void op_max_pool_naive(const problem *p, double *y, const double *const *in)
{
    naive_max_pool_forward(y, in[0], op_window(&p->s));
}
static inline void op_max_pool_naive_back(const problem *p, double *const *d, const double *dy,
                                          const double *const *in)
{
    naive_max_pool_backward(d[0], dy, in[0], op_window(&p->s));
}
static inline lsnn_status op_avg_pool(lsnn_ctx *cx, const problem *p, lsnn_real *y, keep *kept,
                                      const lsnn_real *const *in)
{
    (void)kept;
    return lsnn_avg_pool_forward(cx, y, in[0], &p->s);
}
static inline lsnn_status op_avg_pool_back(lsnn_ctx *cx, const problem *p, lsnn_real *const *d,
                                           const lsnn_real *dy, const lsnn_real *y, keep *kept,
                                           const lsnn_real *const *in, int add)
{
    (void)y; (void)in; (void)kept;
    return lsnn_avg_pool_backward(cx, d[0], dy, &p->s, add);
}
static inline void op_avg_pool_naive(const problem *p, double *y, const double *const *in)
{
    naive_sum_pool_forward(y, in[0], op_window(&p->s), 1);
}
static inline void op_avg_pool_naive_back(const problem *p, double *const *d, const double *dy,
                                          const double *const *in)
{
    (void)in;
    naive_sum_pool_backward(d[0], dy, op_window(&p->s), 1);
}
static inline lsnn_status op_sum_pool(lsnn_ctx *cx, const problem *p, lsnn_real *y, keep *kept,
                                      const lsnn_real *const *in)
{
    (void)kept;
    return lsnn_sum_pool_forward(cx, y, in[0], &p->s);
}
static inline lsnn_status op_sum_pool_back(lsnn_ctx *cx, const problem *p, lsnn_real *const *d,
                                           const lsnn_real *dy, const lsnn_real *y, keep *kept,
                                           const lsnn_real *const *in, int add)
{
    (void)y; (void)in; (void)kept;
    return lsnn_sum_pool_backward(cx, d[0], dy, &p->s, add);
}
static inline void op_sum_pool_naive(const problem *p, double *y, const double *const *in)
{
    naive_sum_pool_forward(y, in[0], op_window(&p->s), 0);
}
static inline void op_sum_pool_naive_back(const problem *p, double *const *d, const double *dy,
                                          const double *const *in)
{
    (void)in;
    naive_sum_pool_backward(d[0], dy, op_window(&p->s), 0);
}

static inline void op_lp_pool_size(problem *p)
{
    op_pool_size(p);
    p->count[1] = p->p_maps ? (size_t)p->s.c : 1;
    p->terms[1] = (double)p->y_count;
}
static inline lsnn_status op_lp_pool(lsnn_ctx *cx, const problem *p, lsnn_real *y, keep *kept,
                                     const lsnn_real *const *in)
{
    (void)kept;
    return lsnn_lp_pool_forward(cx, y, in[0], in[1], p->p_maps, &p->s);
}
static inline lsnn_status op_lp_pool_back(lsnn_ctx *cx, const problem *p, lsnn_real *const *d,
                                          const lsnn_real *dy, const lsnn_real *y, keep *kept,
                                          const lsnn_real *const *in, int add)
{
    (void)kept;
    return lsnn_lp_pool_backward(cx, d[0], d[1], dy, in[0], y, in[1], p->p_maps, &p->s, add);
}
static inline void op_lp_pool_naive(const problem *p, double *y, const double *const *in)
{
    naive_lp_pool(y, NULL, NULL, NULL, in[0], in[1], p->p_maps, op_window(&p->s));
}
static inline void op_lp_pool_naive_back(const problem *p, double *const *d, const double *dy,
                                         const double *const *in)
{
    naive_lp_pool(NULL, d[0], d[1], dy, in[0], in[1], p->p_maps, op_window(&p->s));
}

/* ---- a convolution with a connection table ------------------------------------------- */
static inline void op_table_conv2d_size(problem *p)
{
    const lsnn_window *s = &p->s;
    int connections = 0, k = 0;
    char *end = p->table;
    memset(p->mask, 0, sizeof p->mask);
    for (int more = 1; more; end++, connections++) {     /* lists alone, no ranges       */
        p->mask[k * s->c + (int)strtol(end, &end, 10)] = 1;
        more = *end != 0;
        k += *end == ';';
    }
    op_conv2d_size(p);
    p->count[1] = size4(connections, s->kernel_h, s->kernel_w, 1);
}
static inline lsnn_status op_table_conv2d(lsnn_ctx *cx, const problem *p, lsnn_real *y,
                                          keep *kept, const lsnn_real *const *in)
{
    const lsnn_window *s = &p->s;
    lsnn_real *room = (lsnn_real *)test_alloc(size4(s->k, s->c, s->kernel_h, s->kernel_w),
                                              sizeof *room);
    lsnn_status r = lsnn_table_conv2d_forward(cx, y, room, in[0], in[1], in[2], p->table, s);
    (void)kept;
    free(room);
    return r;
}
static inline lsnn_status op_table_conv2d_back(lsnn_ctx *cx, const problem *p,
                                               lsnn_real *const *d, const lsnn_real *dy,
                                               const lsnn_real *y, keep *kept,
                                               const lsnn_real *const *in, int add)
{
    const lsnn_window *s = &p->s;
    lsnn_real *room = (lsnn_real *)test_alloc(size4(s->k, s->c, s->kernel_h, s->kernel_w),
                                              sizeof *room);
    lsnn_status r = lsnn_table_conv2d_backward(cx, d[0], d[1], d[2], room, dy, in[0], in[1],
                                               p->table, s, add);
    (void)kept; (void)y;
    free(room);
    return r;
}
static inline void op_table_conv2d_naive(const problem *p, double *y, const double *const *in)
{
    naive_table_conv2d(y, NULL, NULL, NULL, NULL, in[0], in[1], in[2], p->mask,
                       op_window(&p->s));
}
static inline void op_table_conv2d_naive_back(const problem *p, double *const *d,
                                              const double *dy, const double *const *in)
{
    naive_table_conv2d(NULL, d[0], d[1], d[2], dy, in[0], in[1], in[2], p->mask,
                       op_window(&p->s));
}

/* ---- target2d: its factors as logarithms, so that their gradients are what it says ---- */
static inline uint32_t op_mixed(uint32_t a, uint32_t b)
{
    a = (a ^ (b + 0x9e3779b9u)) * 0x85ebca6bu;
    a = (a ^ a >> 13) * 0xc2b2ae35u;
    return a ^ a >> 16;
}
/* Of each kernel all pixels, none, one, some or a rectangle; now and then of all kernels all. */
static inline int op_inside(const problem *p, int k, int i, int j)
{
    const lsnn_window *s = &p->s;
    uint32_t of = op_mixed(p->regions, (uint32_t)k), high = (uint32_t)s->oh, kind = of % 7;
    uint32_t wide = (uint32_t)s->ow, a = op_mixed(of, 1) % high, b = op_mixed(of, 2) % wide;
    uint32_t row = (uint32_t)i, column = (uint32_t)j, pixel = row * wide + column;
    if (p->inside) return p->inside[size4(k, s->oh, s->ow, 1) + pixel] > 0;
    if (kind == 0 || p->regions % 8 == 0) return 1;
    if (kind == 1) return 0;
    if (kind == 2) return row == a && column == b;
    if (kind == 3) return op_mixed(of, pixel + 3) % 3 == 0;
    return row >= a && row <= a + op_mixed(of, 3) % high &&
           column >= b && column <= b + op_mixed(of, 4) % wide;
}
static inline void op_target2d_size(problem *p)
{
    const lsnn_window *s = &p->s;
    op_conv2d_size(p);
    p->count[3] = size4(s->k, s->oh, 1, 1);
    p->count[4] = size4(s->k, s->ow, 1, 1);
    p->terms[3] = s->n * s->ow;
    p->terms[4] = s->n * s->oh;
}
/* What the op reads beside x, w and b, in one block; room behind it for dz and the factors'
   gradients.                                                                            */
typedef struct op_target { lsnn_target t; lsnn_real *numbers, *gy, *gx, *dz; } op_target;
static inline op_target op_target_new(lsnn_ctx *cx, const problem *p, const lsnn_real *const *in)
{
    const lsnn_window *s = &p->s;
    size_t rows = p->count[3], columns = p->count[4], area = size4(s->oh, s->ow, 1, 1);
    unsigned char *inside = (unsigned char *)test_alloc((size_t)s->k * area, 1);
    op_target a;
    a.numbers = (lsnn_real *)test_alloc(2 * (rows + columns) + p->y_count, sizeof *a.numbers);
    a.t.plan = (int32_t *)test_alloc(lsnn_target2d_room(s), sizeof *a.t.plan);
    a.t.fy = a.numbers;
    a.t.fx = a.numbers + rows;
    a.gy = a.numbers + rows + columns;
    a.gx = a.gy + rows;
    a.dz = a.gx + columns;
    for (size_t i = 0; i < rows; i++) a.numbers[i] = (lsnn_real)exp((double)in[3][i]);
    for (size_t i = 0; i < columns; i++) a.numbers[rows + i] = (lsnn_real)exp((double)in[4][i]);
    for (int k = 0; k < s->k; k++)
        for (int i = 0; i < s->oh; i++)
            for (int j = 0; j < s->ow; j++)
                inside[size4(k, s->oh, s->ow, 1) + (size_t)(i * s->ow + j)] =
                    (unsigned char)op_inside(p, k, i, j);
    if (lsnn_target2d_plan(cx, a.t.plan, inside, s) != LSNN_OK) printf("# %s\n", cx->message);
    free(inside);
    return a;
}
static inline void op_target_free(op_target *a)
{
    free(a->numbers);
    free(a->t.plan);
}
static inline lsnn_status op_target2d(lsnn_ctx *cx, const problem *p, lsnn_real *y, keep *kept,
                                      const lsnn_real *const *in)
{
    op_target a = op_target_new(cx, p, in);
    lsnn_status r;
    (void)kept;
    memset(y, 0, p->y_count * sizeof *y);
    r = lsnn_target2d_forward(cx, y, in[0], in[1], in[2], &a.t, &p->s);
    op_target_free(&a);
    return r;
}
static inline lsnn_status op_target2d_back(lsnn_ctx *cx, const problem *p, lsnn_real *const *d,
                                           const lsnn_real *dy, const lsnn_real *y, keep *kept,
                                           const lsnn_real *const *in, int add)
{
    op_target a = op_target_new(cx, p, in);
    int both = d[3] || d[4];
    lsnn_status r = lsnn_target2d_backward(cx, d[0], d[1], d[2], both ? a.gy : NULL,
                                           both ? a.gx : NULL, a.dz, dy, y, in[0], in[1], &a.t,
                                           &p->s, add);
    (void)kept;
    for (size_t i = 0; i < p->count[3] && d[3]; i++) d[3][i] += a.gy[i];
    for (size_t i = 0; i < p->count[4] && d[4]; i++) d[4][i] += a.gx[i];
    op_target_free(&a);
    return r;
}
static inline void op_target2d_both(const problem *p, double *y, double *const *d,
                                    const double *dy, const double *const *in)
{
    const lsnn_window *s = &p->s;
    double *u = (double *)test_alloc(size4(s->k, s->oh, s->ow, 1), sizeof *u);
    for (int k = 0; k < s->k; k++)
        for (int i = 0; i < s->oh; i++)
            for (int j = 0; j < s->ow; j++)
                if (op_inside(p, k, i, j))
                    u[size4(k, s->oh, s->ow, 1) + (size_t)(i * s->ow + j)] =
                        exp(in[3][k * s->oh + i] + in[4][k * s->ow + j]);
    naive_target2d(y, d ? d[0] : NULL, d ? d[1] : NULL, d ? d[2] : NULL, d ? d[3] : NULL,
                   d ? d[4] : NULL, dy, in[0], in[1], in[2], u, op_window(s));
    free(u);
}
static inline void op_target2d_naive(const problem *p, double *y, const double *const *in)
{
    op_target2d_both(p, y, NULL, NULL, in);
}
static inline void op_target2d_naive_back(const problem *p, double *const *d, const double *dy,
                                          const double *const *in)
{
    double *y = (double *)test_alloc(p->y_count, sizeof *y);
    op_target2d_both(p, y, d, dy, in);
    free(y);
}

/* ---- dense -------------------------------------------------------------------------- */
static inline void op_dense_size(problem *p)
{
    p->count[0] = size4(p->n, p->c, 1, 1);
    p->count[1] = size4(p->k, p->c, 1, 1);
    p->count[2] = p->bias ? (size_t)p->k : 0;
    p->y_count = size4(p->n, p->k, 1, 1);
    p->y_terms = p->c + 1;
    p->terms[0] = p->k;
    p->terms[1] = p->terms[2] = p->n;
}
static inline lsnn_status op_dense(lsnn_ctx *cx, const problem *p, lsnn_real *y, keep *kept,
                                   const lsnn_real *const *in)
{
    (void)kept;
    return lsnn_dense_forward(cx, y, in[0], in[1], in[2], p->n, p->c, p->k);
}
static inline lsnn_status op_dense_back(lsnn_ctx *cx, const problem *p, lsnn_real *const *d,
                                        const lsnn_real *dy, const lsnn_real *y, keep *kept,
                                        const lsnn_real *const *in, int add)
{
    (void)kept; (void)y;
    return lsnn_dense_backward(cx, d[0], d[1], d[2], dy, in[0], in[1], p->n, p->c, p->k, add);
}
static inline void op_dense_naive(const problem *p, double *y, const double *const *in)
{
    naive_dense_forward(y, in[0], in[1], in[2], p->n, p->c, p->k);
}
static inline void op_dense_naive_back(const problem *p, double *const *d, const double *dy,
                                       const double *const *in)
{
    naive_dense_backward(d[0], d[1], d[2], dy, in[0], in[1], p->n, p->c, p->k);
}

static inline void op_rbf_size(problem *p)
{
    op_dense_size(p);
    p->count[2] = 0;
}
static inline lsnn_status op_rbf(lsnn_ctx *cx, const problem *p, lsnn_real *y, keep *kept,
                                 const lsnn_real *const *in)
{
    (void)kept;
    return lsnn_rbf_forward(cx, y, in[0], in[1], p->n, p->c, p->k);
}
static inline lsnn_status op_rbf_back(lsnn_ctx *cx, const problem *p, lsnn_real *const *d,
                                      const lsnn_real *dy, const lsnn_real *y, keep *kept,
                                      const lsnn_real *const *in, int add)
{
    (void)kept; (void)y;
    return lsnn_rbf_backward(cx, d[0], d[1], dy, in[0], in[1], p->n, p->c, p->k, add);
}
static inline void op_rbf_naive(const problem *p, double *y, const double *const *in)
{
    naive_rbf(y, NULL, NULL, NULL, in[0], in[1], p->n, p->c, p->k);
}
static inline void op_rbf_naive_back(const problem *p, double *const *d, const double *dy,
                                     const double *const *in)
{
    naive_rbf(NULL, d[0], d[1], dy, in[0], in[1], p->n, p->c, p->k);
}

/* ---- activations: n rows of c numbers ----------------------------------------------- */
static inline void op_plain_size(problem *p)
{
    if (p->inner < 1) p->inner = 1;
    p->count[0] = p->y_count = size4(p->n, p->c, p->inner, 1);
    p->y_terms = p->terms[0] = 1;
}
#define OP_ACTIVATION(name, NAME)                                                          \
static inline lsnn_status op_##name(lsnn_ctx *cx, const problem *p, lsnn_real *y,          \
                                    keep *kept, const lsnn_real *const *in)                \
{                                                                                          \
    (void)kept;                                                                            \
    return lsnn_activation_forward(cx, LSNN_##NAME, y, in[0], p->y_count, p->slope);       \
}                                                                                          \
static inline lsnn_status op_##name##_back(lsnn_ctx *cx, const problem *p,                 \
                                           lsnn_real *const *d, const lsnn_real *dy,       \
                                           const lsnn_real *y, keep *kept,                 \
                                           const lsnn_real *const *in, int add)            \
{                                                                                          \
    (void)kept; (void)in;                                                                  \
    return lsnn_activation_backward(cx, LSNN_##NAME, d[0], dy, y, p->y_count, p->slope,    \
                                    add);                                                  \
}                                                                                          \
static inline void op_##name##_naive(const problem *p, double *y, const double *const *in) \
{                                                                                          \
    naive_activation_forward(NAIVE_##NAME, y, in[0], p->y_count, p->slope);                \
}                                                                                          \
static inline void op_##name##_naive_back(const problem *p, double *const *d,              \
                                          const double *dy, const double *const *in)       \
{                                                                                          \
    naive_activation_backward(NAIVE_##NAME, d[0], dy, in[0], p->y_count, p->slope);        \
}
OP_ACTIVATION(relu, RELU)
OP_ACTIVATION(leaky_relu, LEAKY_RELU)
OP_ACTIVATION(sigmoid, SIGMOID)
OP_ACTIVATION(tanh, TANH)
OP_ACTIVATION(scaled_tanh, SCALED_TANH)

/* ---- softmax ------------------------------------------------------------------------ */
static inline lsnn_status op_softmax(lsnn_ctx *cx, const problem *p, lsnn_real *y, keep *kept,
                                     const lsnn_real *const *in)
{
    (void)kept;
    return lsnn_softmax_forward(cx, y, in[0], p->n, p->c, p->inner);
}
static inline lsnn_status op_softmax_back(lsnn_ctx *cx, const problem *p, lsnn_real *const *d,
                                          const lsnn_real *dy, const lsnn_real *y, keep *kept,
                                          const lsnn_real *const *in, int add)
{
    (void)kept; (void)in;
    return lsnn_softmax_backward(cx, d[0], dy, y, p->n, p->c, p->inner, add);
}
static inline void op_softmax_naive(const problem *p, double *y, const double *const *in)
{
    naive_softmax_forward(y, in[0], p->n, p->c, p->inner);
}
static inline void op_softmax_naive_back(const problem *p, double *const *d, const double *dy,
                                         const double *const *in)
{
    double *y = (double *)test_alloc(p->y_count, sizeof *y);
    naive_softmax_forward(y, in[0], p->n, p->c, p->inner);
    naive_softmax_backward(d[0], dy, y, p->n, p->c, p->inner);
    free(y);
}

/* ---- batch normalisation: keeps mean, istd, running mean, running variance ----------- */
static inline void op_batch_norm_size(problem *p)
{
    op_plain_size(p);
    p->count[1] = p->count[2] = (size_t)p->c;
    p->keep_count = 4 * (size_t)p->c;
    p->y_terms = p->terms[0] = p->terms[1] = p->terms[2] = p->n * p->inner;
}
static inline lsnn_status op_batch_norm(lsnn_ctx *cx, const problem *p, lsnn_real *y,
                                        keep *kept, const lsnn_real *const *in)
{
    size_t c = (size_t)p->c;
    lsnn_real *v = kept->v;
    return lsnn_batch_norm_forward(cx, y, v, v + c, v + 2 * c, v + 3 * c, in[0], in[1], in[2],
                                   p->n, p->c, p->inner, p->momentum, p->eps);
}
static inline lsnn_status op_batch_norm_back(lsnn_ctx *cx, const problem *p,
                                             lsnn_real *const *d, const lsnn_real *dy,
                                             const lsnn_real *y, keep *kept,
                                             const lsnn_real *const *in, int add)
{
    (void)y;
    return lsnn_batch_norm_backward(cx, d[0], d[1], d[2], dy, in[0], in[1], kept->v,
                                    kept->v + p->c, p->n, p->c, p->inner, add);
}
static inline void op_batch_norm_naive(const problem *p, double *y, const double *const *in)
{
    double *mean = (double *)test_alloc(2 * (size_t)p->c, sizeof *mean), *var = mean + p->c;
    naive_batch_norm_moments(mean, var, in[0], p->n, p->c, p->inner);
    naive_batch_norm_forward(y, in[0], in[1], in[2], mean, var, p->n, p->c, p->inner, p->eps);
    free(mean);
}
static inline void op_batch_norm_naive_back(const problem *p, double *const *d,
                                            const double *dy, const double *const *in)
{
    double *mean = (double *)test_alloc(2 * (size_t)p->c, sizeof *mean), *var = mean + p->c;
    naive_batch_norm_moments(mean, var, in[0], p->n, p->c, p->inner);
    naive_batch_norm_backward(d[0], d[1], d[2], dy, in[0], in[1], mean, var, p->n, p->c,
                              p->inner, p->eps);
    free(mean);
}
static inline void op_batch_norm_predict_size(problem *p)
{
    op_plain_size(p);
    p->count[1] = p->count[2] = p->count[3] = p->count[4] = (size_t)p->c;
}
static inline lsnn_status op_batch_norm_predict(lsnn_ctx *cx, const problem *p, lsnn_real *y,
                                                keep *kept, const lsnn_real *const *in)
{
    (void)kept;
    return lsnn_batch_norm_predict(cx, y, in[0], in[1], in[2], in[3], in[4], p->n, p->c,
                                   p->inner, p->eps);
}
static inline void op_batch_norm_predict_naive(const problem *p, double *y,
                                               const double *const *in)
{
    naive_batch_norm_forward(y, in[0], in[1], in[2], in[3], in[4], p->n, p->c, p->inner,
                             p->eps);
}

/* ---- scale -------------------------------------------------------------------------- */
static inline void op_scale_size(problem *p)
{
    op_plain_size(p);
    p->count[1] = (size_t)p->c;
    p->count[2] = p->bias ? (size_t)p->c : 0;
    p->y_terms = 2;
    p->terms[1] = p->terms[2] = p->n * p->inner;
}
static inline lsnn_status op_scale(lsnn_ctx *cx, const problem *p, lsnn_real *y, keep *kept,
                                   const lsnn_real *const *in)
{
    (void)kept;
    return lsnn_scale_forward(cx, y, in[0], in[1], in[2], p->n, p->c, p->inner);
}
static inline lsnn_status op_scale_back(lsnn_ctx *cx, const problem *p, lsnn_real *const *d,
                                        const lsnn_real *dy, const lsnn_real *y, keep *kept,
                                        const lsnn_real *const *in, int add)
{
    (void)kept; (void)y;
    return lsnn_scale_backward(cx, d[0], d[1], d[2], dy, in[0], in[1], p->n, p->c, p->inner,
                               add);
}
static inline void op_scale_naive(const problem *p, double *y, const double *const *in)
{
    naive_scale_forward(y, in[0], in[1], in[2], p->n, p->c, p->inner);
}
static inline void op_scale_naive_back(const problem *p, double *const *d, const double *dy,
                                       const double *const *in)
{
    naive_scale_backward(d[0], d[1], d[2], dy, in[0], in[1], p->n, p->c, p->inner);
}

/* ---- concat, slice, add: lsnn_rows_copy in three directions -------------------------- */
static inline void op_concat_size(problem *p)
{
    op_plain_size(p);
    p->count[1] = size4(p->n, p->k, p->inner, 1);
    p->y_count = p->count[0] + p->count[1];
    p->terms[1] = 1;
}
static inline lsnn_status op_concat(lsnn_ctx *cx, const problem *p, lsnn_real *y, keep *kept,
                                    const lsnn_real *const *in)
{
    size_t a = size4(p->c, p->inner, 1, 1), b = size4(p->k, p->inner, 1, 1);
    lsnn_status s = lsnn_rows_copy(cx, y, a + b, in[0], a, p->n, a, LSNN_SET);
    (void)kept;
    return s ? s : lsnn_rows_copy(cx, y + a, a + b, in[1], b, p->n, b, LSNN_SET);
}
static inline lsnn_status op_concat_back(lsnn_ctx *cx, const problem *p, lsnn_real *const *d,
                                         const lsnn_real *dy, const lsnn_real *y, keep *kept,
                                         const lsnn_real *const *in, int add)
{
    size_t a = size4(p->c, p->inner, 1, 1), b = size4(p->k, p->inner, 1, 1);
    lsnn_status s = LSNN_OK;
    (void)y; (void)in; (void)kept;
    if (d[0]) s = lsnn_rows_copy(cx, d[0], a, dy, a + b, p->n, a, add);
    if (d[1] && !s) s = lsnn_rows_copy(cx, d[1], b, dy + a, a + b, p->n, b, add);
    return s;
}
static inline void op_concat_naive(const problem *p, double *y, const double *const *in)
{
    naive_concat_forward(y, in[0], in[1], p->n, p->c * p->inner, p->k * p->inner);
}
static inline void op_concat_naive_back(const problem *p, double *const *d, const double *dy,
                                        const double *const *in)
{
    (void)in;
    naive_concat_backward(d[0], d[1], dy, p->n, p->c * p->inner, p->k * p->inner);
}
static inline void op_slice_size(problem *p)
{
    op_plain_size(p);
    p->y_count = size4(p->n, p->k, p->inner, 1);
}
static inline lsnn_status op_slice(lsnn_ctx *cx, const problem *p, lsnn_real *y, keep *kept,
                                   const lsnn_real *const *in)
{
    size_t a = size4(p->c, p->inner, 1, 1), b = size4(p->k, p->inner, 1, 1);
    (void)kept;
    return lsnn_rows_copy(cx, y, b, in[0] + p->first * p->inner, a, p->n, b, LSNN_SET);
}
static inline lsnn_status op_slice_back(lsnn_ctx *cx, const problem *p, lsnn_real *const *d,
                                        const lsnn_real *dy, const lsnn_real *y, keep *kept,
                                        const lsnn_real *const *in, int add)
{
    size_t a = size4(p->c, p->inner, 1, 1), b = size4(p->k, p->inner, 1, 1);
    (void)y; (void)in; (void)kept;
    if (!d[0]) return LSNN_OK;
    if (!add) memset(d[0], 0, p->count[0] * sizeof *d[0]);
    return lsnn_rows_copy(cx, d[0] + p->first * p->inner, a, dy, b, p->n, b, LSNN_ADD);
}
static inline void op_slice_naive(const problem *p, double *y, const double *const *in)
{
    naive_slice_forward(y, in[0], p->n, p->c * p->inner, p->first * p->inner,
                        p->k * p->inner);
}
static inline void op_slice_naive_back(const problem *p, double *const *d, const double *dy,
                                       const double *const *in)
{
    (void)in;
    naive_slice_backward(d[0], dy, p->n, p->c * p->inner, p->first * p->inner,
                         p->k * p->inner);
}
static inline void op_add_size(problem *p)
{
    op_plain_size(p);
    p->count[1] = p->count[0];
    p->terms[1] = 1;
}
static inline lsnn_status op_add(lsnn_ctx *cx, const problem *p, lsnn_real *y, keep *kept,
                                 const lsnn_real *const *in)
{
    size_t len = p->y_count;
    lsnn_status s = lsnn_rows_copy(cx, y, len, in[0], len, 1, len, LSNN_SET);
    (void)kept;
    return s ? s : lsnn_rows_copy(cx, y, len, in[1], len, 1, len, LSNN_ADD);
}
static inline lsnn_status op_add_back(lsnn_ctx *cx, const problem *p, lsnn_real *const *d,
                                      const lsnn_real *dy, const lsnn_real *y, keep *kept,
                                      const lsnn_real *const *in, int add)
{
    lsnn_status s = LSNN_OK;
    (void)y; (void)in; (void)kept;
    for (int i = 0; i < 2 && !s; i++)
        if (d[i]) s = lsnn_rows_copy(cx, d[i], p->y_count, dy, p->y_count, 1, p->y_count, add);
    return s;
}
static inline void op_add_naive(const problem *p, double *y, const double *const *in)
{
    naive_add_forward(y, in[0], in[1], p->y_count);
}
static inline void op_add_naive_back(const problem *p, double *const *d, const double *dy,
                                     const double *const *in)
{
    (void)in;
    naive_add_backward(d[0], d[1], dy, p->y_count);
}

/* ---- losses: y is one number, dy[0] the loss's weight -------------------------------- */
static inline void op_cross_entropy_size(problem *p)
{
    op_plain_size(p);
    p->keep_count = p->count[0];
    p->y_count = 1;
    p->y_terms = p->n * p->c;
}
static inline lsnn_status op_cross_entropy(lsnn_ctx *cx, const problem *p, lsnn_real *y,
                                           keep *kept, const lsnn_real *const *in)
{
    double loss = NAN;
    lsnn_status s = lsnn_cross_entropy_forward(cx, &loss, kept->v, in[0], p->label + p->head,
                                               p->heads, p->n, p->c);
    y[0] = (lsnn_real)loss;
    return s;
}
static inline lsnn_status op_cross_entropy_back(lsnn_ctx *cx, const problem *p,
                                                lsnn_real *const *d, const lsnn_real *dy,
                                                const lsnn_real *y, keep *kept,
                                                const lsnn_real *const *in, int add)
{
    (void)y; (void)in;
    return lsnn_cross_entropy_backward(cx, d[0], kept->v, p->label + p->head, p->heads, p->n,
                                       p->c, (double)dy[0], add);
}
static inline void op_cross_entropy_naive(const problem *p, double *y, const double *const *in)
{
    y[0] = naive_cross_entropy_forward(in[0], p->label + p->head, p->heads, p->n, p->c);
}
static inline void op_cross_entropy_naive_back(const problem *p, double *const *d,
                                               const double *dy, const double *const *in)
{
    naive_cross_entropy_backward(d[0], dy[0], in[0], p->label + p->head, p->heads, p->n, p->c);
}
/* With a class more: its logit is minus the number of classes.                          */
static inline lsnn_status op_cross_entropy_rubbish(lsnn_ctx *cx, const problem *p, lsnn_real *y,
                                                   keep *kept, const lsnn_real *const *in)
{
    double loss = NAN;
    lsnn_status s = lsnn_cross_entropy_rubbish_forward(cx, &loss, kept->v, in[0],
                                                       p->label + p->head, p->heads, p->n, p->c,
                                                       p->c);
    y[0] = (lsnn_real)loss;
    return s;
}
static inline lsnn_status op_cross_entropy_rubbish_back(lsnn_ctx *cx, const problem *p,
                                                        lsnn_real *const *d, const lsnn_real *dy,
                                                        const lsnn_real *y, keep *kept,
                                                        const lsnn_real *const *in, int add)
{
    return op_cross_entropy_back(cx, p, d, dy, y, kept, in, add);
}
static inline void op_cross_entropy_rubbish_naive(const problem *p, double *y,
                                                  const double *const *in)
{
    y[0] = naive_rubbish(NULL, 0, in[0], p->label + p->head, p->heads, p->n, p->c, p->c);
}
static inline void op_cross_entropy_rubbish_naive_back(const problem *p, double *const *d,
                                                       const double *dy, const double *const *in)
{
    naive_rubbish(d[0], dy[0], in[0], p->label + p->head, p->heads, p->n, p->c, p->c);
}
static inline void op_mse_size(problem *p)
{
    op_plain_size(p);
    p->count[1] = size4(p->n, p->heads, 1, 1);
    p->y_count = 1;
    p->y_terms = p->n * p->c;
}
static inline lsnn_status op_mse(lsnn_ctx *cx, const problem *p, lsnn_real *y, keep *kept,
                                 const lsnn_real *const *in)
{
    double loss = NAN;
    lsnn_status s = lsnn_mse_forward(cx, &loss, in[0], in[1] + p->head, p->heads, p->n, p->c);
    (void)kept;
    y[0] = (lsnn_real)loss;
    return s;
}
static inline lsnn_status op_mse_back(lsnn_ctx *cx, const problem *p, lsnn_real *const *d,
                                      const lsnn_real *dy, const lsnn_real *y, keep *kept,
                                      const lsnn_real *const *in, int add)
{
    (void)y; (void)kept;
    return lsnn_mse_backward(cx, d[0], in[0], in[1] + p->head, p->heads, p->n, p->c,
                             (double)dy[0], add);
}
static inline void op_mse_naive(const problem *p, double *y, const double *const *in)
{
    y[0] = naive_mse_forward(in[0], in[1] + p->head, p->heads, p->n, p->c);
}
static inline void op_mse_naive_back(const problem *p, double *const *d, const double *dy,
                                     const double *const *in)
{
    naive_mse_backward(d[0], dy[0], in[0], in[1] + p->head, p->heads, p->n, p->c);
}

/* ---- smoother ------------------------------------------------------------------------ */
static inline naive_smoother op_smoother(const lsnn_smoother *s)
{
    naive_smoother u;
    u.N = s->n; u.K = s->k; u.R = s->rank ? s->rank : 1; u.H = s->h; u.W = s->w;
    u.shape = (int)s->shape;             /* numbered alike                               */
    u.M = s->mixture ? s->mixture : 1;
    u.normalise = s->normalise == LSNN_NORMALISE_SUM ? 1
                : s->normalise == LSNN_NORMALISE_MEAN ? 2 : 0;
    u.per_image = s->per_image;
    u.smooth_bias = s->smooth_bias;
    return u;
}
static inline void op_smooth_size(problem *p)
{
    naive_smoother s = op_smoother(&p->u);
    size_t maps = (size_t)naive_smoother_maps(s), places = size4(s.H, s.W, 1, 1);
    p->count[0] = size4(s.N, s.K, s.R, 1) * places;
    p->count[1] = maps * (size_t)naive_theta_count(s);
    p->count[2] = p->bias ? (size_t)s.K : 0;
    p->y_count = size4(s.N, s.K, 1, 1) * places;
    p->keep_count = maps * places;
    p->y_terms = s.R + 1;
    p->terms[0] = 1;
    p->terms[1] = p->terms[2] = (double)s.N * s.H * s.W * s.R;
}
static inline lsnn_status op_smooth(lsnn_ctx *cx, const problem *p, lsnn_real *y, keep *kept,
                                    const lsnn_real *const *in)
{
    return lsnn_smooth_forward(cx, y, kept->v, in[0], in[1], in[2], &p->u);
}
static inline lsnn_status op_smooth_back(lsnn_ctx *cx, const problem *p, lsnn_real *const *d,
                                         const lsnn_real *dy, const lsnn_real *y, keep *kept,
                                         const lsnn_real *const *in, int add)
{
    (void)y;
    return lsnn_smooth_backward(cx, d[0], d[1], d[2], dy, in[0], kept->v, in[1], in[2], &p->u,
                                add, add);
}
static inline void op_smooth_naive(const problem *p, double *y, const double *const *in)
{
    double *u = (double *)test_alloc(p->keep_count, sizeof *u);
    naive_smoother_map(u, in[1], op_smoother(&p->u));
    naive_smooth_forward(y, u, in[0], in[2], op_smoother(&p->u));
    free(u);
}
static inline void op_smooth_naive_back(const problem *p, double *const *d, const double *dy,
                                        const double *const *in)
{
    double *u = (double *)test_alloc(p->keep_count, sizeof *u);
    naive_smoother_map(u, in[1], op_smoother(&p->u));
    naive_smooth_backward(d[0], d[1], d[2], dy, in[0], u, in[1], in[2], op_smoother(&p->u));
    free(u);
}

/* ---- spatial transformers ------------------------------------------------------------ */
static inline void op_affine_grid_size(problem *p)
{
    p->count[0] = size4(p->t.n, 6, 1, 1);
    p->y_count = size4(p->t.n, 2, p->t.oh, p->t.ow);
    p->y_terms = 3;
    p->terms[0] = p->t.oh * p->t.ow;
}
static inline lsnn_status op_affine_grid(lsnn_ctx *cx, const problem *p, lsnn_real *y, keep *kept,
                                         const lsnn_real *const *in)
{
    const lsnn_sampler *s = &p->t;
    (void)kept;
    return lsnn_affine_grid_forward(cx, y, in[0], s->n, s->oh, s->ow, s->align_corners);
}
static inline lsnn_status op_affine_grid_back(lsnn_ctx *cx, const problem *p, lsnn_real *const *d,
                                              const lsnn_real *dy, const lsnn_real *y, keep *kept,
                                              const lsnn_real *const *in, int add)
{
    const lsnn_sampler *s = &p->t;
    (void)kept; (void)y; (void)in;
    return lsnn_affine_grid_backward(cx, d[0], dy, s->n, s->oh, s->ow, s->align_corners, add);
}
static inline void op_affine_grid_naive(const problem *p, double *y, const double *const *in)
{
    naive_affine_grid(y, NULL, NULL, in[0], p->t.n, p->t.oh, p->t.ow, p->t.align_corners);
}
static inline void op_affine_grid_naive_back(const problem *p, double *const *d, const double *dy,
                                             const double *const *in)
{
    naive_affine_grid(NULL, d[0], dy, in[0], p->t.n, p->t.oh, p->t.ow, p->t.align_corners);
}
static inline void op_grid_sample_size(problem *p)
{
    const lsnn_sampler *s = &p->t;
    p->count[0] = size4(s->n, s->c, s->h, s->w);
    p->count[1] = size4(s->n, 2, s->oh, s->ow);
    p->y_count = size4(s->n, s->c, s->oh, s->ow);
    p->y_terms = 4;
    p->terms[0] = s->oh * s->ow;
    p->terms[1] = 4 * s->c;
}
static inline lsnn_status op_grid_sample(lsnn_ctx *cx, const problem *p, lsnn_real *y, keep *kept,
                                         const lsnn_real *const *in)
{
    (void)kept;
    return lsnn_grid_sample_forward(cx, y, in[0], in[1], &p->t);
}
static inline lsnn_status op_grid_sample_back(lsnn_ctx *cx, const problem *p, lsnn_real *const *d,
                                              const lsnn_real *dy, const lsnn_real *y, keep *kept,
                                              const lsnn_real *const *in, int add)
{
    (void)kept; (void)y;
    return lsnn_grid_sample_backward(cx, d[0], d[1], dy, in[0], in[1], &p->t, add, add);
}
static inline void op_grid_sample_naive(const problem *p, double *y, const double *const *in)
{
    const lsnn_sampler *s = &p->t;
    naive_grid_sample(y, NULL, NULL, NULL, in[0], in[1], s->n, s->c, s->h, s->w, s->oh, s->ow,
                      s->align_corners);
}
static inline void op_grid_sample_naive_back(const problem *p, double *const *d, const double *dy,
                                             const double *const *in)
{
    const lsnn_sampler *s = &p->t;
    naive_grid_sample(NULL, d[0], d[1], dy, in[0], in[1], s->n, s->c, s->h, s->w, s->oh, s->ow,
                      s->align_corners);
}

/* ---- blend: keeps its weights g ------------------------------------------------------ */
static inline void op_blend_size(problem *p)
{
    const lsnn_blender *s = &p->m;
    size_t places = size4(s->h, s->w, 1, 1);
    p->count[0] = size4(s->n, s->banks, s->k, 1) * places;
    p->count[1] = (size_t)s->banks * (size_t)lsnn_blender_theta(s);
    p->count[2] = p->bias ? (size_t)s->k : 0;
    p->y_count = size4(s->n, s->k, 1, 1) * places;
    p->keep_count = (size_t)s->banks * places;
    p->y_terms = s->banks + 1;
    p->terms[0] = 1;
    p->terms[1] = p->terms[2] = (double)s->n * s->k * s->h * s->w;
}
static inline lsnn_status op_blend(lsnn_ctx *cx, const problem *p, lsnn_real *y, keep *kept,
                                   const lsnn_real *const *in)
{
    lsnn_status s = lsnn_blend_weights(cx, kept->v, in[1], &p->m);
    return s ? s : lsnn_blend_forward(cx, y, in[0], kept->v, in[2], &p->m);
}
static inline lsnn_status op_blend_back(lsnn_ctx *cx, const problem *p, lsnn_real *const *d,
                                        const lsnn_real *dy, const lsnn_real *y, keep *kept,
                                        const lsnn_real *const *in, int add)
{
    (void)y;
    return lsnn_blend_backward(cx, d[0], d[1], d[2], dy, in[0], kept->v, &p->m, add);
}
static inline void op_blend_both(const problem *p, double *y, double *const *d, const double *dy,
                                 const double *const *in)
{
    const lsnn_blender *s = &p->m;
    naive_blend(y, d ? d[0] : NULL, d ? d[1] : NULL, d ? d[2] : NULL, dy, in[0], in[1], in[2],
                s->n, s->k, s->banks, s->h, s->w, s->kind % 2 == 0, s->kind >= 2);
}
static inline void op_blend_naive(const problem *p, double *y, const double *const *in)
{
    op_blend_both(p, y, NULL, NULL, in);
}
static inline void op_blend_naive_back(const problem *p, double *const *d, const double *dy,
                                       const double *const *in)
{
    op_blend_both(p, NULL, d, dy, in);
}

/* ---- the table ----------------------------------------------------------------------- */
#define OP_ROW(name, inputs, grads, linear, size)                                          \
    { #name, inputs, grads, linear, size, op_##name, op_##name##_back, op_##name##_naive,  \
      op_##name##_naive_back }
static const op op_table[] = {
    OP_ROW(conv2d,        "x w b",        3, 1, op_conv2d_size),
    OP_ROW(local2d,       "x w b",        3, 1, op_local2d_size),
    OP_ROW(dense,         "x w b",        3, 1, op_dense_size),
    OP_ROW(max_pool,      "x",            1, 0, op_pool_size),
    OP_ROW(avg_pool,      "x",            1, 1, op_pool_size),
    OP_ROW(sum_pool,      "x",            1, 1, op_pool_size),
    OP_ROW(lp_pool,       "x p",          2, 0, op_lp_pool_size),
    OP_ROW(table_conv2d,  "x w b",        3, 1, op_table_conv2d_size),
    OP_ROW(target2d,      "x w b ly lx",  5, 0, op_target2d_size),
    OP_ROW(rbf,           "x w",          2, 0, op_rbf_size),
    OP_ROW(relu,          "x",            1, 0, op_plain_size),
    OP_ROW(leaky_relu,    "x",            1, 0, op_plain_size),
    OP_ROW(sigmoid,       "x",            1, 0, op_plain_size),
    OP_ROW(tanh,          "x",            1, 0, op_plain_size),
    OP_ROW(scaled_tanh,   "x",            1, 0, op_plain_size),
    OP_ROW(softmax,       "x",            1, 0, op_plain_size),
    OP_ROW(batch_norm,    "x gamma beta", 3, 0, op_batch_norm_size),
    OP_ROW(scale,         "x g b",        3, 1, op_scale_size),
    OP_ROW(concat,        "x t",          2, 1, op_concat_size),
    OP_ROW(slice,         "x",            1, 1, op_slice_size),
    OP_ROW(add,           "x t",          2, 1, op_add_size),
    OP_ROW(cross_entropy, "x",            1, 0, op_cross_entropy_size),
    OP_ROW(cross_entropy_rubbish, "x",    1, 0, op_cross_entropy_size),
    OP_ROW(mse,           "x t",          1, 0, op_mse_size),
    OP_ROW(smooth,        "a theta b",    3, 0, op_smooth_size),
    OP_ROW(affine_grid,   "theta",        1, 0, op_affine_grid_size),
    OP_ROW(grid_sample,   "x grid",       2, 0, op_grid_sample_size),
    OP_ROW(blend,         "a theta b",    3, 0, op_blend_size),
    { "batch_norm_predict", "x gamma beta mean var", 0, 0, op_batch_norm_predict_size,
      op_batch_norm_predict, NULL, op_batch_norm_predict_naive, NULL }
};
enum { OP_COUNT = (int)(sizeof op_table / sizeof op_table[0]) };

/* Does gradient i obey `add`, or is it always added to, being a parameter's?            */
static inline int op_obeys_add(const problem *p, int i)
{
    const char *name = p->op->name;
    return i == 0 || strcmp(name, "concat") == 0 || strcmp(name, "add") == 0
        || strcmp(name, "grid_sample") == 0
        || (i == 1 && strcmp(name, "smooth") == 0 && p->u.per_image);
}
static inline const op *op_find(const char *name, size_t length)
{
    for (int i = 0; i < OP_COUNT; i++)
        if (strlen(op_table[i].name) == length && memcmp(op_table[i].name, name, length) == 0)
            return &op_table[i];
    return NULL;
}
/* Writes the name of input i of an op, "w", into name[16]; 0 if there is none.          */
static inline int op_input_name(const op *o, int i, char *name)
{
    const char *text = o->inputs;
    size_t length;
    for (; i > 0 && text; i--) {
        text = strchr(text, ' ');
        if (text) text++;
    }
    if (!text) return 0;
    length = strcspn(text, " ");
    memcpy(name, text, length);
    name[length] = 0;
    return 1;
}
static inline void op_size(problem *p)
{
    memset(p->count, 0, sizeof p->count);
    for (int i = 0; i < OPS_IN; i++) p->terms[i] = 1;
    p->keep_count = 0;
    p->op->size(p);
}
static inline keep keep_new(const problem *p)
{
    keep k;
    k.v = (lsnn_real *)test_alloc(p->keep_count, sizeof *k.v);
    k.where = (int32_t *)test_alloc(p->y_count, sizeof *k.where);
    return k;
}
static inline void keep_free(keep *k)
{
    free(k->v);
    free(k->where);
}
#endif
