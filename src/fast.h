/* ============================================================================
   >>fast  what the machinery for speed, at the end of the book, offers the ops
   ==========================================================================*/
/* ---- >>tile: the product that windows are made of -----------------------------
   C[i][v] (+)= sum_k a[i][ka[k]] * b[v][kb[k]] + bias[i], for `rows` rows i and `vectors`
   vectors v of neighbouring numbers; a's elements are single numbers, b's are
   vectors. The two offset tables make one kernel serve
       convolution           a: weights, b: pixels   kb[k] = place of (c, r, s) in the image
       its dx                a: weights, b: dy       kb[k] = place of (k, oy, ox) in dy
       its weight gradient   a: pixels, b: dy        ka[k] = place of output pixel k
   so no image is unrolled into patches. Plain matrices need no tables: lsnni_matmul. */
#define LSNNI_TANH_A 1.7159              /* A and S of >>activations' scaled tanh */
#define LSNNI_TANH_S (2.0 / 3)
enum { LSNNI_MAX_ROWS = 8, LSNNI_MAX_VECTORS = 3, LSNNI_MAX_LANES = 16,
       LSNNI_DOTS_ROWS = 128 };
typedef struct lsnni_tile {
    const lsnn_real *a[LSNNI_MAX_ROWS];
    const lsnn_real *b[LSNNI_MAX_VECTORS];
    lsnn_real *c[LSNNI_MAX_ROWS];        /* vector v of row i is at c[i] + at[v] */
    ptrdiff_t at[LSNNI_MAX_VECTORS];
    int lanes[LSNNI_MAX_VECTORS];        /* numbers of vector v that are stored */
    const int32_t *ka, *kb;
    const lsnn_real *bias;               /* a row each, or NULL                */
    const lsnn_real *scale;              /* or the sums are multiplied by that at last: row */
                                         /*   after row LSNNI_MAX_VECTORS numbers */
    int k, rows, vectors, add;
} lsnni_tile;

/* A tile of any number of rows and of vectors that lie `step` apart, fours of them (the rest is
   left): c[i] + at + v*c_step (+)= sum_k a[i][ka[k]] times the vector at b + kb[k] + v*step;
   scale: plus bias[i], and all of it times scale[i].                          */
typedef struct lsnni_mesh {
    const lsnn_real **a, *b, *bias, *scale;
    lsnn_real **c, *of_bias, *of_scale;      /* room for bias and scale        */
    const int32_t *ka, *kb;
    ptrdiff_t step, c_step, at;
    int k, rows, vectors, lanes, add;
} lsnni_mesh;

/* A part of dw in blocks of images: dw[m*dw_row + t] += the sum over blocks n, places e and
   lanes of the vectors dy[e*dy_step + n*dy_block] and x[n*x_step + row[m] + (at[e] + t) vectors],
   for rows m and 1 to LSNNI_TAPS_WIDE taps t, side by side.                   */
enum { LSNNI_TAPS_WIDE = 5 };
typedef struct lsnni_correlation {
    const lsnn_real *dy, *x;
    lsnn_real *dw;
    const ptrdiff_t *row;
    const int32_t *at;
    ptrdiff_t dy_step, dy_block, x_step, dw_row;
    int count, blocks, taps, rows;
} lsnni_correlation;

/* y = u z, pixel by pixel, in blocks n of images: dz[e*dz_step + n*dz_block] = u dy of pixel[e],
   and s[e] = the sum over images of dy y. Returns the sum of all dz.           */
typedef struct lsnni_behind {
    lsnn_real *dz, *s;
    const lsnn_real *dy, *y, *u;
    const int32_t *pixel;
    ptrdiff_t step, dz_step, dz_block;   /* step: of dy and y, from block to block */
    int count, blocks;
} lsnni_behind;

/* A product of matrices, as of dense layers and 1 x 1 windows:
   C (m x n) (+)= A (m x k) B (k x n) + bias, with A's element (i, k) at a[i*ai + k*ak],
   B's at b[k*bk + j*bj], C's at c[i*ci + j].                                 */
typedef struct lsnni_matmul {
    const lsnn_real *a, *b, *bias;       /* bias: of dots, not add; a column each, or NULL */
    lsnn_real *c;
    ptrdiff_t ai, ak, bk, bj, ci;
    int m, n, k, add;
} lsnni_matmul;

/* What one instruction set offers, one entry a function: its type, name and arguments. The
   struct and each set's table are made from this list. Everything is single-threaded.
   tile: entries of a past `rows` must be readable.  matmul: bj is 1, n from 1 to 3 vectors, no
   bias.  dots: ak and bk are 1, m to LSNNI_DOTS_ROWS.  deviation: sum (x - mean)^2.
   axpy: y += a x.  transpose: y[j*ys + i] = x[i*xs + j].
   norm_forward: y = a (x - center) + b.
   norm_backward: dx = a (dy + b (x - center) istd + c).  dsc...: see >>dsc. */
#define LSNNI_KERNELS(X)                                                                      \
    X(void, tile, (const lsnni_tile *t))                                                      \
    X(void, mesh, (const lsnni_mesh *g))                                                      \
    X(void, correlate, (const lsnni_correlation *g))                                          \
    X(double, behind, (const lsnni_behind *g))                                                \
    X(void, matmul, (const lsnni_matmul *g))                                                  \
    X(void, dots, (const lsnni_matmul *g))                                                    \
    X(void, exp, (lsnn_real *y, const lsnn_real *x, size_t n))                                \
    X(void, log, (lsnn_real *y, const lsnn_real *x, size_t n))                                \
    X(double, sum, (const lsnn_real *x, size_t n))                                            \
    X(double, dot, (const lsnn_real *x, const lsnn_real *y, size_t n))                        \
    X(double, deviation, (const lsnn_real *x, double mean, size_t n))                         \
    X(void, sum_dot, (double m[3], const lsnn_real *dy, const lsnn_real *x, double center,    \
        lsnn_real *relu, const lsnn_real *y, size_t n))                                       \
    X(void, moments, (const lsnn_real *t, size_t n, double x0, double step, double m[3]))     \
    X(void, exponents, (lsnn_real *u, size_t n, double step, double from,                     \
        const double p[8]))                                                                   \
    X(size_t, largest, (const lsnn_real *x, size_t n))                                        \
    X(void, axpy, (lsnn_real *y, double a, const lsnn_real *x, size_t n))                     \
    X(void, affine, (lsnn_real *y, const lsnn_real *x, double a, double b, size_t n,          \
        int add))                                                                             \
    X(void, repeat, (lsnn_real *y, const lsnn_real *x, size_t n))                             \
    X(void, gather, (lsnn_real *y, const lsnn_real *x, size_t n))                             \
    X(void, multiply, (lsnn_real *y, const lsnn_real *a, const lsnn_real *b, size_t n,        \
        int add))                                                                             \
    X(void, act_forward, (lsnn_act f, lsnn_real *y, const lsnn_real *x, size_t n,             \
        double slope))                                                                        \
    X(void, act_backward, (lsnn_act f, lsnn_real *dx, const lsnn_real *dy,                    \
        const lsnn_real *y, size_t n, double slope, int add))                                 \
    X(void, max_pool2, (lsnn_real *y, int32_t *where, const lsnn_real *top, int pitch,        \
        int w, int at, int n, int relu))                                                      \
    X(void, sum_pool2, (lsnn_real *y, const lsnn_real *top, int w, int n, double scale))      \
    X(void, lanes_max, (lsnn_real *y, int32_t *where, const lsnn_real *x,                     \
        const int32_t *tap, int taps, int step, int at, int first, int n, int relu))          \
    X(void, lanes_max_back, (lsnn_real *dx, const lsnn_real *dy, const int32_t *where,        \
        const int32_t *tap, int taps, int step, int at, int n, int apart))                    \
    X(void, lanes_sum, (lsnn_real *y, const lsnn_real *x, const int32_t *tap, int taps,       \
        int step, int at, int n, double scale))                                               \
    X(void, lanes_sum_back, (lsnn_real *dx, const lsnn_real *dy, const int32_t *tap,          \
        int taps, int step, int at, int n, double scale))                                     \
    X(void, dropout, (lsnn_real *y, const lsnn_real *x, const lsnn_rng *at, uint32_t sample,  \
        int e0, int e1, int in_blocks, uint32_t limit, double scale, int add))                \
    X(void, transpose, (lsnn_real *y, size_t ys, const lsnn_real *x, size_t xs, int rows,     \
        int columns))                                                                         \
    X(void, norm_forward, (lsnn_real *y, const lsnn_real *x, double center, double a,         \
        double b, size_t n))                                                                  \
    X(void, norm_backward, (lsnn_real *dx, const lsnn_real *dy, const lsnn_real *x,           \
        double center, double istd, double a, double b, double c, size_t n, int add))         \
    X(void, dsc_bounds, (lsnn_real *w, double least, size_t n))                               \
    X(void, dsc, (lsnn_real *sum, const lsnn_real *w, lsnn_real o, size_t n))                 \
    X(void, dsc_back, (lsnn_real *step, lsnn_real *up, const lsnn_real *w,                    \
        const lsnn_real *wanted, lsnn_real o, double least, int silent, size_t n))            \
    X(void, sgd, (lsnn_real *w, lsnn_real *v, const lsnn_real *g, double scale, double lr,    \
        double decay, double momentum, int nesterov, size_t n))                               \
    X(void, adam, (lsnn_real *w, lsnn_real *m, lsnn_real *v, const lsnn_real *g,              \
        double scale, double lr, double decay, double shrink, double b1, double b2,           \
        double c1, double c2, double eps, size_t n))
typedef struct lsnni_kernels {
    int rows, lanes;                     /* of the register tile               */
#define LSNNI_KERNEL_FIELD(type, name, arguments) type (*name) arguments;
    LSNNI_KERNELS(LSNNI_KERNEL_FIELD)
#undef LSNNI_KERNEL_FIELD
} lsnni_kernels;
/* ---- >>reach: which rows of pixels and of the kernel meet --------------------------
   What one row (or column) of pixels meets: `count` partners, beginning with number
   `first` at coordinate `at` of the other side. From one to the next, with g the greatest
   common divisor of stride and dilation, number and coordinate change by
       FORWARD   an output row: the kernel's rows     1            the image's   dilation
       TO_X      an image row: the kernel's rows      -stride/g    the output's  dilation/g
       TO_W      a kernel row: the output's rows      1            the image's   stride */
typedef enum lsnni_way { LSNNI_FORWARD, LSNNI_TO_X, LSNNI_TO_W } lsnni_way;
typedef struct lsnni_reach { int first, count, at; } lsnni_reach;
typedef struct lsnni_side { int in, out, kernel, stride, pad, dilation; } lsnni_side;

/* Rows with equal `first` and `count` are of one kind, and pixels whose rows and
   columns are of one kind share a table of taps. Pixels near the border have shorter
   tables, so padding costs nothing at all.                                   */
typedef struct lsnni_kinds {
    int rows, kinds, partners;       /* partners: of one row of each kind     */
    int number_step, at_step;        /* from one partner to the next          */
    lsnni_reach *reach;              /* of each row                           */
    int *kind, *example, *members;   /* of each row; a row, how many, of each kind */
} lsnni_kinds;

/* The rule of all max poolings, of numbers and of vectors: v takes the place of the best so far
   if it is larger, or NaN, which then stays. With relu behind, y = relu(max), and nobody is
   its source where that is 0.                                                */
#define LSNNI_WINS(v, best) (((v) > (best)) | ((v) != (v)))
static void lsnni_max_relu(lsnn_real *y, int32_t *where)
{
    if (!(*y > 0)) *where = -1;
    if (*y < 0) *y = 0;
}

/* A max pooling of 2 x 2 pixels that the convolution before it does: a few rows at a time
   are computed into a worker's room of `size` numbers, and pooled from there. */
typedef struct lsnni_pooled {
    int on, relu;
    int32_t *where;                  /* the maxima's pixels                   */
    lsnn_real *room;
    size_t size;
} lsnni_pooled;

/* A cell: the pixels where a kind of rows meets a kind of columns; the taps in one source map,
   the first of its pixels in the list of all, and their tables.              */
typedef struct lsnni_cell { int row, column, taps, first; int32_t *ka, *kb; } lsnni_cell;
typedef struct lsnni_lanes {
    const lsnni_kernels *kv;
    lsnni_kinds kinds[2];
    int m, maps, chunk;              /* target maps; source maps, so many at a time */
    int cells, bands, band;          /* `band` target rows are one of `bands` */
    int tasks, per_task, add;        /* each does per_task target maps        */
    size_t source, target, taps;     /* pixels of a map, weights of a pair of maps */
    lsnni_cell *cell;
    int32_t *from, *to;              /* cell by cell: a target pixel, and the source */
                                     /*   pixel that its first tap meets (from) */
    int parts;                       /* block n is of part n % parts of an image's maps: */
    const lsnn_real *x, *w, *bias;   /*   conv2d's groups. w: part, target map, source */
                                     /*   map, tap                            */
    lsnn_real *y;
    const struct lsnni_regions *regions;     /* NULL: all of the output, as it is      */
    lsnn_real *u;                    /* else times this, 0 outside of regions */
    lsnni_pooled pool;
} lsnni_lanes;

/* How many tasks share one image: 1 for batches that keep a handful of cores busy
   anyway. Sizes alone decide.                                                */
static int lsnni_image_tasks(int n) { return n >= 8 ? 1 : lsnni_div_up(8, n); }

/* ---- >>fast functions: what each does stands where it is defined --------------------------*/
static const lsnni_kernels *lsnni_kernels_of(const lsnn_ctx *cx);
/* >>gemm */
static int lsnni_part(int count, int unit, int parts, int index);
static lsnn_status lsnni_gemm(lsnn_ctx *cx, int trans_a, int trans_b, int m, int n, int k,
                              const lsnn_real *a, int lda, const lsnn_real *b, int ldb, int add,
                              lsnn_real *c, int ldc, const lsnn_real *bias);
/* blocks.h */
static lsnn_status lsnni_lanes_fit(lsnn_ctx *cx, const char *who, int lanes, int n);
static lsnn_status lsnni_lanes_check(lsnn_ctx *cx, const char *who, const lsnn_window *s);
static void lsnni_turn_run(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x, int n, size_t size,
                           int back, int add);
static lsnn_status lsnni_lanes_plan(lsnn_ctx *cx, lsnni_lanes *p, const lsnn_window *s,
                                    lsnni_way way, int chunk, int more_tables, size_t more,
                                    size_t *table, char **at);
static void lsnni_dw_tiles(const lsnni_kernels *kv, lsnni_tile *t, lsnn_real *c, int pitch,
                           int width, const lsnn_real *dy, const lsnn_real *x,
                           const int32_t *start, const int32_t *item, int count);
static lsnn_status lsnni_blocks_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                        const lsnn_real *w, const lsnn_real *b,
                                        const lsnn_window *s, const lsnni_pooled *pool);
static lsnn_status lsnni_blocks_backward_x(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                           const lsnn_real *w, const lsnn_window *s, int add);
enum { LSNNI_FEW = 4 };
static lsnn_status lsnni_few_backward_w(lsnn_ctx *cx, lsnn_real *dw, lsnn_real *db,
                                        const lsnn_real *dy, const lsnn_real *x,
                                        const lsnn_window *s);
static lsnn_status lsnni_blocks_backward_w(lsnn_ctx *cx, lsnn_real *dw, lsnn_real *db,
                                           const lsnn_real *dy, const lsnn_real *x,
                                           const lsnn_window *s);
static lsnni_reach lsnni_reach_of(const lsnni_side *a, lsnni_way way, int i);
static size_t lsnni_kinds_room(int rows);
static void lsnni_kinds_fill(lsnni_kinds *g, char **at, const lsnni_side *side, lsnni_way way,
                             int rows);
static void lsnni_sides(lsnni_side side[2], const lsnn_window *s);
static lsnn_status lsnni_lanes_run(lsnn_ctx *cx, lsnni_lanes *p, const lsnn_window *s,
                                   lsnni_way way);
/* ops/target_plan.h */
static void lsnni_regions_map(const struct lsnni_regions *r, lsnn_real *u);
/* rows.h */
static int lsnni_vectors(int left);
static lsnn_status lsnni_rows_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                      const lsnn_real *w, const lsnn_real *b,
                                      const lsnn_window *s, const lsnni_pooled *pool);
static lsnn_status lsnni_rows_backward_x(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                         const lsnn_real *w, const lsnn_window *s, int add);
static lsnn_status lsnni_rows_backward_w(lsnn_ctx *cx, lsnn_real *dw, lsnn_real *db,
                                         const lsnn_real *dy, const lsnn_real *x,
                                         const lsnn_window *s);
static int lsnni_pointwise(const lsnn_window *s);
static lsnn_status lsnni_pointwise_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                           const lsnn_real *w, const lsnn_real *b,
                                           const lsnn_window *s);
