/* ---- >>scale ----------------------------------------------------------------------
   y = x g + b    dx (+)= dy g    dg += sum dy x    db += sum dy    sums over n and i */
/* ---- The naive pair                                                        */
#ifdef LSNN_NAIVE
LSNN_API lsnn_status lsnn_scale_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                        const lsnn_real *g, const lsnn_real *b, int n, int c,
                                        int inner)
{
    LSNNI_TRY(lsnni_sizes3(cx, "scale (images x channels x pixels)", n, c, inner));
    for (int l = 0; l < n; l++)
    for (int k = 0; k < c; k++)
    for (int i = 0; i < inner; i++) {
        size_t at = lsnni_at3(l, k, c, i, inner);
        y[at] = x[at] * g[k] + (b ? b[k] : 0);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_scale_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dg,
                                         lsnn_real *db, const lsnn_real *dy,
                                         const lsnn_real *x, const lsnn_real *g, int n, int c,
                                         int inner, int add)
{
    LSNNI_TRY(lsnni_sizes3(cx, "scale (images x channels x pixels)", n, c, inner));
    lsnni_clear(dx, lsnni_at3(n, 0, c, 0, inner), add);
    for (int l = 0; l < n; l++)
    for (int k = 0; k < c; k++)
    for (int i = 0; i < inner; i++) {
        size_t at = lsnni_at3(l, k, c, i, inner);
        if (dx) dx[at] += dy[at] * g[k];
        if (dg) dg[k] += dy[at] * x[at];
        if (db) db[k] += dy[at];
    }
    return LSNN_OK;
}

#else /* ---- The fast pair: bound by memory ----------------------------------------------*/
typedef struct lsnni_scale {
    const lsnni_kernels *kv;
    const lsnn_real *x, *g, *b, *dy;
    lsnn_real *y, *dg, *db;
    int n, c, add;
    size_t inner;
} lsnni_scale;

static void lsnni_scale_task(void *user, int c, int worker)
{
    const lsnni_scale *p = (const lsnni_scale *)user;
    (void)worker;
    for (int n = 0; n < p->n; n++) {
        size_t first = (lsnni_area(n, p->c) + (size_t)c) * p->inner;
        if (!p->dy) {
            p->kv->affine(p->y + first, p->x + first, (double)p->g[c],
                          p->b ? (double)p->b[c] : 0, p->inner, 0);
            continue;
        }
        if (p->dg) p->dg[c] += LSNNI_R(p->kv->dot(p->dy + first, p->x + first, p->inner));
        if (p->db) p->db[c] += LSNNI_R(p->kv->sum(p->dy + first, p->inner));
        if (p->y)
            p->kv->affine(p->y + first, p->dy + first, (double)p->g[c], 0, p->inner, p->add);
    }
}

static lsnn_status lsnni_scale_run(lsnn_ctx *cx, lsnni_scale *p, int n, int c, int inner)
{
    LSNNI_TRY(lsnni_sizes3(cx, "scale (images x channels x pixels)", n, c, inner));
    p->kv = lsnni_kernels_of(cx);
    p->n = n; p->c = c; p->inner = (size_t)inner;
    lsnni_parallel_some(cx, lsnni_area(n, c) * p->inner, c, lsnni_scale_task, p);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_scale_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                        const lsnn_real *g, const lsnn_real *b, int n, int c,
                                        int inner)
{
    lsnni_scale p;
    memset(&p, 0, sizeof p);
    p.y = y; p.x = x; p.g = g; p.b = b;
    return lsnni_scale_run(cx, &p, n, c, inner);
}

LSNN_API lsnn_status lsnn_scale_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dg,
                                         lsnn_real *db, const lsnn_real *dy,
                                         const lsnn_real *x, const lsnn_real *g, int n, int c,
                                         int inner, int add)
{
    lsnni_scale p;
    memset(&p, 0, sizeof p);
    p.y = dx; p.dg = dg; p.db = db; p.dy = dy; p.x = x; p.g = g; p.add = add;
    return lsnni_scale_run(cx, &p, n, c, inner);
}

#endif /* LSNN_NAIVE */

/* ---- The layer ------------------------------------------------------------------------*/
static lsnn_status lsnni_plan_scale(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    p->param[0] = lsnni_spec("scale", 1, p->in[0].c, 0, 0, 0);
    p->param[0].value = 1;
    p->param[1] = lsnni_spec("bias", 1, p->in[0].c, 0, 0, 0);
    p->param[0].no_decay = p->param[1].no_decay = 1;
    p->params = p->o.no_bias ? 1 : 2;
    p->macs = (double)lsnni_features(p->in[0]);
    LSNNI_TRY(lsnni_plan_same(cx, p));
    lsnni_connect(p, 0);                                 /* its inputs' stay  */
    return LSNN_OK;
}

static lsnn_status lsnni_forward_scale(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_shape s = c->plan->in[0];
    return lsnn_scale_forward(cx, c->y, c->x[0], c->param[0], c->param[1], lsnni_blocks(c), s.c,
                              lsnni_call_inner(c));
}

static lsnn_status lsnni_backward_scale(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_shape s = c->plan->in[0];
    return lsnn_scale_backward(cx, c->dx[0], c->dparam[0], c->dparam[1], c->dy, c->x[0],
                               c->param[0], lsnni_blocks(c), s.c, lsnni_call_inner(c),
                               c->add[0]);
}

static const lsnn_layer_type lsnni_scale_type = {
    "scale", LSNNI_PARAM_OPTIONS "no_bias", 1, 1,
    LSNN_Y_FREE | LSNN_BLOCKS_ALL | LSNN_REHEARSES,
    lsnni_plan_scale, lsnni_forward_scale, lsnni_backward_scale, NULL, NULL,
    LSNNI_DEVICE_PAIR(scale)
};

LSNN_API int lsnn_scale(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_scale_type, &x, 1, o);
}
