/* ---- >>dense --------------------------------------------------------------------
   y[n,k]   = b[k] + sum_c w[k,c] x[n,c]            x N,C  w K,C  b K  y N,K
   dx[n,c] (+)= sum_k w[k,c] dy[n,k]
   dw[k,c]   += sum_n dy[n,k] x[n,c]                db[k] += sum_n dy[n,k]
   Three matrix products of N*C*K multiply-adds (>>gemm). In forward both factors lie along
   the sum, so it is made of dot products, for one image as for a batch: an image's y has the
   same bits in any batch. For fewer than about 8 images it is bound by reading w.  */
static lsnn_status lsnni_dense_sizes(lsnn_ctx *cx, int n, int c, int k)
{
    LSNNI_TRY(lsnni_sizes3(cx, "dense (images x inputs)", n, c, 1));
    LSNNI_TRY(lsnni_sizes3(cx, "dense (inputs x outputs)", c, k, 1));
    return lsnni_sizes3(cx, "dense (images x outputs)", n, k, 1);
}

/* ---- The naive pair                                                        */
#ifdef LSNN_NAIVE
LSNN_API lsnn_status lsnn_dense_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                        const lsnn_real *w, const lsnn_real *b, int n, int c,
                                        int k)
{
    LSNNI_TRY(lsnni_dense_sizes(cx, n, c, k));
    for (int i = 0; i < n; i++)
    for (int j = 0; j < k; j++) {
        double sum = b ? (double)b[j] : 0;
        for (int l = 0; l < c; l++)
            sum += (double)x[lsnni_at2(i, l, c)] * (double)w[lsnni_at2(j, l, c)];
        y[lsnni_at2(i, j, k)] = LSNNI_R(sum);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_dense_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                         lsnn_real *db, const lsnn_real *dy,
                                         const lsnn_real *x, const lsnn_real *w, int n, int c,
                                         int k, int add)
{
    LSNNI_TRY(lsnni_dense_sizes(cx, n, c, k));
    lsnni_clear(dx, lsnni_area(n, c), add);
    for (int i = 0; i < n; i++)
    for (int j = 0; j < k; j++) {
        lsnn_real g = dy[lsnni_at2(i, j, k)];
        if (db) db[j] += g;
        for (int l = 0; l < c; l++) {
            if (dx) dx[lsnni_at2(i, l, c)] += g * w[lsnni_at2(j, l, c)];
            if (dw) dw[lsnni_at2(j, l, c)] += g * x[lsnni_at2(i, l, c)];
        }
    }
    return LSNN_OK;
}

#else /* ---- The fast pair ---------------------------------------------------------------*/
LSNN_API lsnn_status lsnn_dense_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                        const lsnn_real *w, const lsnn_real *b, int n, int c,
                                        int k)
{
    LSNNI_TRY(lsnni_dense_sizes(cx, n, c, k));
    return lsnni_gemm(cx, 0, 1, n, k, c, x, c, w, c, 0, y, k, b);
}

LSNN_API lsnn_status lsnn_dense_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                         lsnn_real *db, const lsnn_real *dy,
                                         const lsnn_real *x, const lsnn_real *w, int n, int c,
                                         int k, int add)
{
    const lsnni_kernels *kv = lsnni_kernels_of(cx);
    LSNNI_TRY(lsnni_dense_sizes(cx, n, c, k));
    if (dx) LSNNI_TRY(lsnn_gemm(cx, 0, 0, n, c, k, dy, k, w, c, add, dx, c));
    if (dw) LSNNI_TRY(lsnn_gemm(cx, 1, 0, k, c, n, dy, k, x, c, LSNN_ADD, dw, c));
    for (int i = 0; db && i < n; i++) kv->axpy(db, 1, dy + lsnni_area(i, k), (size_t)k);
    return LSNN_OK;
}

#endif /* LSNN_NAIVE */

/* ---- The layer ------------------------------------------------------------------------*/
static lsnn_status lsnni_plan_dense(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    int in = lsnni_features(p->in[0]), out = p->o.filters;
    LSNNI_TRY(lsnni_dense_sizes(cx, 1, in, out));
    p->out.c = out; p->out.h = p->out.w = 1;
    p->param[0] = lsnni_spec("weight", 2, out, in, 0, 0);
    p->param[0].fan_in = in;
    p->param[0].fan_out = out;
    p->param[1] = lsnni_spec("bias", 1, out, 0, 0, 0);
    p->param[1].no_decay = 1;
    p->params = p->o.no_bias ? 1 : 2;
    p->macs = ((double)in + (p->o.no_bias ? 0 : 1)) * out;
    lsnni_connect(p, in);
    return LSNN_OK;
}

static lsnn_status lsnni_forward_dense(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnn_dense_forward(cx, c->y, c->x[0], c->param[0], c->param[1], c->n,
                              lsnni_features(c->plan->in[0]), c->plan->out.c);
}

static lsnn_status lsnni_backward_dense(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnn_dense_backward(cx, c->dx[0], c->dparam[0], c->dparam[1], c->dy, c->x[0],
                               c->param[0], c->n, lsnni_features(c->plan->in[0]),
                               c->plan->out.c, c->add[0]);
}

static const lsnn_layer_type lsnni_dense_type = {
    "dense", LSNNI_WEIGHTED, 1, 1,
    LSNN_Y_FREE | LSNN_REHEARSES,
    lsnni_plan_dense, lsnni_forward_dense, lsnni_backward_dense, NULL, NULL,
    LSNNI_DEVICE_PAIR(dense)
};

LSNN_API int lsnn_dense(lsnn_net *net, int x, int outputs, const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_dense_type, x, outputs, 0, o);
}
