/* ---- >>dropout --------------------------------------------------------------------
   y = x m / (1 - rate), m = 0 with probability rate, else 1; dx (+)= dy m / (1 - rate).
   Element e of image n is kept if its 32 random bits are at least rate * 2^32, in any
   layout. Bound by the random numbers.                                       */
typedef struct lsnni_dropout {
    const lsnni_kernels *kv;
    const lsnn_real *x;
    lsnn_real *y;
    const lsnn_rng *at;
    int count, lanes, pieces, add;
    double rate;
} lsnni_dropout;
enum { LSNNI_DRAWS = 4096 };         /* elements of an image a task           */

static void lsnni_dropout_task(void *user, int task, int worker)
{
    const lsnni_dropout *p = (const lsnni_dropout *)user;
    int n = task / p->pieces, e = task % p->pieces * LSNNI_DRAWS;
    size_t first = lsnni_area(n, p->count) * (size_t)p->lanes;
    (void)worker;
    p->kv->dropout(p->y + first, p->x + first, p->at, (uint32_t)(n * p->lanes), e,
                   LSNNI_MIN(e + LSNNI_DRAWS, p->count), p->lanes > 1,
                   (uint32_t)(p->rate * 4294967296.0), 1 / (1 - p->rate), p->add);
}

static lsnn_status lsnni_dropout_run(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x, int n,
                                     int count, int lanes, double rate, const lsnn_rng *at,
                                     int add)
{
    lsnni_dropout p;
    LSNNI_TRY(lsnni_sizes3(cx, "dropout", n, count, 1));
    LSNNI_TRY(lsnni_lanes_fit(cx, "dropout", lanes, n));
    if (!(rate >= 0 && rate < 1))
        return lsnni_fail(cx, LSNN_EVALUE, "dropout: rate %g must lie in [0, 1)", rate);
    if (!y) return LSNN_OK;
    p.kv = lsnni_kernels_of(cx);
    p.x = x; p.y = y; p.at = at; p.count = count; p.rate = rate; p.add = add;
    p.lanes = lanes ? lanes : 1;
    p.pieces = lsnni_div_up(count, LSNNI_DRAWS);
    lsnn_parallel(cx, n / p.lanes * p.pieces, lsnni_dropout_task, &p);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_dropout_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                          int n, int count, int lanes, double rate,
                                          const lsnn_rng *at)
{
    return lsnni_dropout_run(cx, y, x, n, count, lanes, rate, at, 0);
}
LSNN_API lsnn_status lsnn_dropout_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                           int n, int count, int lanes, double rate,
                                           const lsnn_rng *at, int add)
{
    return lsnni_dropout_run(cx, dx, dy, n, count, lanes, rate, at, add);
}

