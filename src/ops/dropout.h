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
    LSNNI_TRY(lsnni_sizes3(cx, "dropout (images x features)", n, count, 1));
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

static lsnn_status lsnni_plan_dropout(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    if (!(p->o.rate >= 0 && p->o.rate < 1))
        return lsnni_fail(cx, LSNN_EVALUE, "dropout: rate %g must lie in [0, 1)", p->o.rate);
    return lsnni_plan_same(cx, p);
}

static lsnn_status lsnni_forward_dropout(lsnn_ctx *cx, lsnn_call *c)
{
    size_t count = lsnni_call_count(c);
    if (c->training)
        return lsnn_dropout_forward(cx, c->y, c->x[0], c->n, lsnni_features(c->plan->in[0]),
                                    c->lanes, c->plan->o.rate, &c->rng);
    if (c->y != c->x[0]) memcpy(c->y, c->x[0], count * sizeof *c->y);
    return LSNN_OK;
}

static lsnn_status lsnni_backward_dropout(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnn_dropout_backward(cx, c->dx[0], c->dy, c->n, lsnni_features(c->plan->in[0]),
                                 c->lanes, c->plan->o.rate, &c->rng, c->add[0]);
}

static const lsnn_layer_type lsnni_dropout_type = {
    "dropout", "rate", 1, 1,
    LSNN_IN_PLACE | LSNN_BLOCKS_ALL | LSNN_REHEARSES | LSNN_Y_FREE,
    lsnni_plan_dropout, lsnni_forward_dropout, lsnni_backward_dropout, NULL, NULL,
    LSNNI_DEVICE_PAIR(dropout)
};

LSNN_API int lsnn_dropout(lsnn_net *net, int x, double rate, const lsnn_options *o)
{
    lsnn_options all = lsnni_options(o);
    all.rate = rate;
    return lsnn_layer(net, &lsnni_dropout_type, &x, 1, &all);
}
