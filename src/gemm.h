/* ---- >>gemm: C (M x N) (+)= A (M x K) B (K x N) ---------------------------------
   How a matrix product gets fast. A core can start two vector multiply-adds a cycle, but load
   only two vectors from its first-level cache, and far fewer from behind it: each number has
   to be used many times once it is there.
   Tiles: 8 rows by 3 vectors of C stay in registers while k runs; a step loads 8 numbers of A
       and 3 vectors of B for 24 multiply-adds (>>matmul kernel).
   Panels: 3 vectors' width of B serves all rows of A, tile below tile, before the next.
   Chunks: K is cut, so that a panel's chunk (72 KB) stays in the second-level cache while A's
       rows pass. Shorter chunks would load and store C more often.
   Packing: where 128 rows or more pass by a panel, its chunk is copied first to lie in one
       piece: rows a power of two apart would push each other out of the caches. A's rows are
       used where they lie.
   Dots: if B lies along k, as in x W^T, the vectors do too (>>dots kernel); then a chunk of 6
       columns (24 KB) stays in the first-level cache, LSNNI_DOTS_ROWS rows in the second.
       A, or a B narrower than a vector, is turned for it if it lies the other way.
   Threads: each takes a strip of C's rows or columns and adds up its sums by itself in order
       of k, so bits do not depend on the division. Waking one costs about 250,000
       multiply-adds, so it gets at least as many.
   Bound by arithmetic: 90 to 98 % of the limit for squares from 64 to 2048; for few rows of A
   by reading B.                                                              */
typedef struct lsnni_product {
    const lsnni_kernels *kv;
    lsnni_matmul g;                      /* the whole product                    */
    int dots, chunk, row_unit, column_unit, row_parts, column_parts;
    lsnn_real *pack;                     /* room for a panel's chunk a thread, or NULL   */
    size_t pack_size;
} lsnni_product;
enum { LSNNI_MATMUL_CHUNK = 384, LSNNI_DOTS_CHUNK = 1024 };

/* Panels of 3 vectors; 4 vectors as 2 + 2, so that none is left with one.     */
static void lsnni_product_panels(const lsnni_kernels *kv, const lsnni_matmul *whole,
                                 lsnn_real *pack)
{
    const int wide = LSNNI_MAX_VECTORS * kv->lanes;
    lsnni_matmul g = *whole;
    for (int j = 0; j < whole->n; j += g.n) {
        int left = whole->n - j;
        g.n = left > wide && left <= 4 * kv->lanes ? 2 * kv->lanes : LSNNI_MIN(left, wide);
        g.b = whole->b + j * whole->bj;
        g.c = whole->c + j;
        for (int k = 0; pack && k < g.k; k++)
            memcpy(pack + k * wide, g.b + k * whole->bk, (size_t)g.n * sizeof *pack);
        if (pack) {
            g.b = pack;
            g.bk = wide;
        }
        kv->matmul(&g);
    }
}

static void lsnni_product_dots(const lsnni_kernels *kv, const lsnni_matmul *whole)
{
    lsnni_matmul g = *whole;
    for (int i = 0; i < whole->m; i += g.m) {
        g.m = LSNNI_MIN(LSNNI_DOTS_ROWS, whole->m - i);
        g.a = whole->a + i * g.ai;
        g.c = whole->c + i * g.ci;
        kv->dots(&g);
    }
}

/* Where part `index` of `parts` begins, in steps of `unit`; the last part is the largest. */
static int lsnni_part(int count, int unit, int parts, int index)
{
    return index == parts ? count : (int)((int64_t)(count / unit) * index / parts) * unit;
}

static void lsnni_product_task(void *user, int task, int worker)
{
    const lsnni_product *p = (const lsnni_product *)user;
    const int row = p->row_parts > 1 ? task : 0, column = task - row;
    const int m = lsnni_part(p->g.m, p->row_unit, p->row_parts, row);
    const int n = lsnni_part(p->g.n, p->column_unit, p->column_parts, column);
    lsnn_real *pack = p->pack ? p->pack + (size_t)worker * p->pack_size : NULL;
    lsnni_matmul g = p->g;
    g.m = lsnni_part(p->g.m, p->row_unit, p->row_parts, row + 1) - m;
    g.n = lsnni_part(p->g.n, p->column_unit, p->column_parts, column + 1) - n;
    g.c += m * g.ci + n;
    if (g.bias) g.bias += n;
    for (int k = 0; k < p->g.k; k += p->chunk, g.add = 1) {
        g.k = LSNNI_MIN(p->chunk, p->g.k - k);
        g.a = p->g.a + m * g.ai + k * g.ak;
        g.b = p->g.b + n * g.bj + k * g.bk;
        if (p->dots) lsnni_product_dots(p->kv, &g);
        else lsnni_product_panels(p->kv, &g, pack);
    }
}

/* One strip a thread: of rows or of columns, whichever makes the largest strip smaller. */
static void lsnni_product_divide(lsnni_product *p, int threads)
{
    int rows = LSNNI_MIN(threads, LSNNI_MAX(p->g.m / p->row_unit, 1));
    int columns = LSNNI_MIN(threads, LSNNI_MAX(p->g.n / p->column_unit, 1));
    double m = p->g.m - lsnni_part(p->g.m, p->row_unit, rows, rows - 1);
    double n = p->g.n - lsnni_part(p->g.n, p->column_unit, columns, columns - 1);
    p->row_parts = m * p->g.n < n * p->g.m ? rows : 1;
    p->column_parts = p->row_parts > 1 ? 1 : columns;
}

/* n vectors of k numbers side by side, rows `stride` apart: one after the other in scratch. */
static const lsnn_real *lsnni_product_turn(const lsnni_kernels *kv, char **at,
                                           const lsnn_real *x, ptrdiff_t stride, int n, int k)
{
    lsnn_real *y = (lsnn_real *)lsnni_cut(at, lsnni_area(n, k), sizeof *y);
    kv->transpose(y, (size_t)k, x, (size_t)stride, k, n);
    return y;
}

/* Runs p, whose g is set.                                                     */
static lsnn_status lsnni_product_run(lsnn_ctx *cx, lsnni_product *p)
{
    const lsnni_kernels *kv = p->kv = lsnni_kernels_of(cx);
    lsnni_matmul *g = &p->g;
    const int dots = g->bk == 1 || g->n < kv->lanes;
    const int most = dots ? LSNNI_DOTS_CHUNK : LSNNI_MATMUL_CHUNK;
    const int turn_a = dots && g->ak != 1, turn_b = dots && g->bk != 1;
    const double work = (g->m + 4.0) * g->n * g->k, least = 2.5e5;
    p->dots = dots;
    p->chunk = lsnni_round_up(lsnni_div_up(g->k, lsnni_div_up(g->k, most)), 16);
    p->row_unit = kv->rows;
    p->column_unit = dots ? 2 : kv->lanes;
    p->row_parts = p->column_parts = 1;
    if (work >= 2 * least)
        lsnni_product_divide(p, (int)LSNNI_MIN(work / least, lsnn_ctx_threads(cx)));
    if (turn_a || turn_b) {
        size_t a_room = turn_a ? lsnni_room(lsnni_area(g->m, g->k), sizeof *g->a) : 0;
        size_t b_room = turn_b ? lsnni_room(lsnni_area(g->n, g->k), sizeof *g->b) : 0;
        char *at = (char *)lsnni_scratch(cx, lsnni_room_add(a_room, b_room), 1);
        if (!at) return LSNN_ENOMEM;
        if (cx->rehearsal_) return LSNN_OK;
        if (turn_a) g->a = lsnni_product_turn(kv, &at, g->a, g->ak, g->m, g->k);
        if (turn_b) g->b = lsnni_product_turn(kv, &at, g->b, g->bk, g->n, g->k);
        if (turn_a) g->ai = g->k;
        if (turn_b) g->bj = g->k;
        g->ak = g->bk = 1;
    }
    p->pack = NULL;
    p->pack_size = lsnni_area(LSNNI_MIN(most, lsnni_round_up(g->k, 16)),
                              LSNNI_MAX_VECTORS * kv->lanes);
    if (!dots && g->m >= 128) {          /* room for the longest chunk, and even where the  */
        p->pack = (lsnn_real *)lsnni_scratch(cx, p->pack_size * (size_t)lsnn_ctx_threads(cx),
                                             sizeof *p->pack);   /* strips are smaller: a   */
                                         /* batch of fewer images takes no more             */
        if (!p->pack) return LSNN_ENOMEM;
        if (g->m / p->row_parts < 128) p->pack = NULL;
    }
    if (work >= 2 * least)
        lsnn_parallel(cx, p->row_parts * p->column_parts, lsnni_product_task, p);
    else if (!cx->rehearsal_) lsnni_product_task(p, 0, 0);
    return LSNN_OK;
}

/* lsnn_gemm; bias, one for each column, or NULL: with trans_b and not add (dense's forward). */
static lsnn_status lsnni_gemm(lsnn_ctx *cx, int trans_a, int trans_b, int m, int n, int k,
                              const lsnn_real *a, int lda, const lsnn_real *b, int ldb, int add,
                              lsnn_real *c, int ldc, const lsnn_real *bias)
{
#ifdef LSNN_USE_CBLAS
    if (cx->rehearsal_) return LSNN_OK;
    CBLAS_TRANSPOSE ta = trans_a ? CblasTrans : CblasNoTrans;
    CBLAS_TRANSPOSE tb = trans_b ? CblasTrans : CblasNoTrans;
    lsnn_real beta = add ? 1 : 0;
#ifdef LSNN_DOUBLE
    cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, 1, a, lda, b, ldb, beta, c, ldc);
#else
    cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, 1, a, lda, b, ldb, beta, c, ldc);
#endif
    for (int i = 0; bias && i < m; i++)
        lsnni_kernels_of(cx)->axpy(c + lsnni_area(i, ldc), 1, bias, (size_t)n);
    return LSNN_OK;
#else
    lsnni_product p;
    memset(&p, 0, sizeof p);
    p.g.m = m; p.g.n = n; p.g.k = k;
    p.g.a = a; p.g.ai = trans_a ? 1 : lda; p.g.ak = trans_a ? lda : 1;
    p.g.b = b; p.g.bk = trans_b ? 1 : ldb; p.g.bj = trans_b ? ldb : 1;
    p.g.c = c; p.g.ci = ldc;
    p.g.add = add;
    p.g.bias = bias;
    return lsnni_product_run(cx, &p);
#endif
}

LSNN_API lsnn_status lsnn_gemm(lsnn_ctx *cx, int trans_a, int trans_b, int m, int n, int k,
                               const lsnn_real *a, int lda, const lsnn_real *b, int ldb,
                               int add, lsnn_real *c, int ldc)
{
    if (m < 1 || n < 1 || k < 1)
        return lsnni_fail(cx, LSNN_ESHAPE, "gemm: M = %d, N = %d, K = %d must be positive", m,
                          n, k);
    if (lda < (trans_a ? m : k) || ldb < (trans_b ? k : n) || ldc < n)
        return lsnni_fail(cx, LSNN_ESHAPE, "gemm: row strides %d, %d, %d are too short for "
                          "M = %d, N = %d, K = %d", lda, ldb, ldc, m, n, k);
    return lsnni_gemm(cx, trans_a, trans_b, m, n, k, a, lda, b, ldb, add, c, ldc, NULL);
}

