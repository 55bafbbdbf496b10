/* ---- >>softmax --------------------------------------------------------------------
   y[c] = e^(x[c] - max x) / sum_c' e^(x[c'] - max x)     dx[c] (+)= y[c] (dy[c] - sum dy y) */
/* ---- The naive pair                                                        */
#ifdef LSNN_NAIVE
LSNN_API lsnn_status lsnn_softmax_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                          int n, int c, int inner)
{
    LSNNI_TRY(lsnni_sizes3(cx, "softmax (images x channels x pixels)", n, c, inner));
    for (int l = 0; l < n; l++)
    for (int i = 0; i < inner; i++) {
        double most = (double)x[lsnni_at3(l, 0, c, i, inner)], sum = 0;
        for (int k = 1; k < c; k++)
            most = LSNNI_MAX(most, (double)x[lsnni_at3(l, k, c, i, inner)]);
        for (int k = 0; k < c; k++)
            sum += exp((double)x[lsnni_at3(l, k, c, i, inner)] - most);
        for (int k = 0; k < c; k++) {
            size_t at = lsnni_at3(l, k, c, i, inner);
            y[at] = LSNNI_R(exp((double)x[at] - most) / sum);
        }
    }
    return LSNN_OK;
}

/* dy[d]/dx[c] = y[d] (d == c) - y[d] y[c], so dx[c] = y[c] (dy[c] - sum_d dy[d] y[d]) */
LSNN_API lsnn_status lsnn_softmax_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                           const lsnn_real *y, int n, int c, int inner, int add)
{
    LSNNI_TRY(lsnni_sizes3(cx, "softmax (images x channels x pixels)", n, c, inner));
    lsnni_clear(dx, lsnni_at3(n, 0, c, 0, inner), add);
    for (int l = 0; l < n && dx; l++)
    for (int i = 0; i < inner; i++) {
        double dot = 0;
        for (int k = 0; k < c; k++) {
            size_t at = lsnni_at3(l, k, c, i, inner);
            dot += (double)dy[at] * (double)y[at];
        }
        for (int k = 0; k < c; k++) {
            size_t at = lsnni_at3(l, k, c, i, inner);
            dx[at] += LSNNI_R((double)y[at] * ((double)dy[at] - dot));
        }
    }
    return LSNN_OK;
}

#else /* ---- The fast pair: an image a task ----------------------------------------------*/
typedef struct lsnni_softmax {
    const lsnni_kernels *kv;
    const lsnn_real *in, *dy;        /* x; y in backward                      */
    lsnn_real *out;                  /* y; dx in backward                     */
    int c, inner, add;
} lsnni_softmax;

static void lsnni_softmax_task(void *user, int n, int worker)
{
    const lsnni_softmax *p = (const lsnni_softmax *)user;
    size_t step = (size_t)p->inner, first = lsnni_area(n, p->c) * step;
    (void)worker;
    for (int i = 0; i < p->inner; i++) {
        const lsnn_real *x = p->in + first + (size_t)i;
        lsnn_real *y = p->out + first + (size_t)i, most = x[0];
        double sum = 0;
        for (int c = 1; c < p->c; c++)
            if (x[(size_t)c * step] > most) most = x[(size_t)c * step];
        for (int c = 0; c < p->c; c++) y[(size_t)c * step] = x[(size_t)c * step] - most;
        if (p->inner == 1) (p->kv->exp)(y, y, (size_t)p->c);     /* not tgmath.h's */
        for (int c = 0; c < p->c; c++) {
            if (p->inner > 1) y[(size_t)c * step] = LSNNI_R(exp((double)y[(size_t)c * step]));
            sum += (double)y[(size_t)c * step];
        }
        for (int c = 0; c < p->c; c++)
            y[(size_t)c * step] = LSNNI_R((double)y[(size_t)c * step] / sum);
    }
}

static void lsnni_softmax_back_task(void *user, int n, int worker)
{
    const lsnni_softmax *p = (const lsnni_softmax *)user;
    size_t step = (size_t)p->inner, first = lsnni_area(n, p->c) * step;
    (void)worker;
    for (int i = 0; i < p->inner; i++) {
        const lsnn_real *y = p->in + first + (size_t)i, *dy = p->dy + first + (size_t)i;
        lsnn_real *dx = p->out + first + (size_t)i;
        double sum = 0;
        for (int c = 0; c < p->c; c++)
            sum += (double)y[(size_t)c * step] * (double)dy[(size_t)c * step];
        for (int c = 0; c < p->c; c++) {
            lsnn_real g = LSNNI_R((double)y[(size_t)c * step] *
                                  ((double)dy[(size_t)c * step] - sum));
            dx[(size_t)c * step] = p->add ? dx[(size_t)c * step] + g : g;
        }
    }
}

static lsnn_status lsnni_softmax_run(lsnn_ctx *cx, lsnn_real *out, const lsnn_real *dy,
                                     const lsnn_real *in, int n, int c, int inner, int add)
{
    lsnni_softmax p;
    LSNNI_TRY(lsnni_sizes3(cx, "softmax (images x channels x pixels)", n, c, inner));
    if (!out) return LSNN_OK;
    p.kv = lsnni_kernels_of(cx);
    p.in = in; p.dy = dy; p.out = out; p.c = c; p.inner = inner; p.add = add;
    lsnn_parallel(cx, n, dy ? lsnni_softmax_back_task : lsnni_softmax_task, &p);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_softmax_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                          int n, int c, int inner)
{
    return lsnni_softmax_run(cx, y, NULL, x, n, c, inner, 0);
}

LSNN_API lsnn_status lsnn_softmax_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                           const lsnn_real *y, int n, int c, int inner, int add)
{
    return lsnni_softmax_run(cx, dx, dy, y, n, c, inner, add);
}

#endif /* LSNN_NAIVE */

/* ---- The layer ------------------------------------------------------------------------*/
static lsnn_status lsnni_forward_softmax(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_shape s = c->plan->in[0];
    return lsnn_softmax_forward(cx, c->y, c->x[0], c->n, s.c, lsnni_inner(s));
}

static lsnn_status lsnni_backward_softmax(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_shape s = c->plan->in[0];
    return lsnn_softmax_backward(cx, c->dx[0], c->dy, c->y, c->n, s.c, lsnni_inner(s),
                                 c->add[0]);
}

static const lsnn_layer_type lsnni_softmax_type = {
    "softmax", "", 1, 1,
    LSNN_X_FREE | LSNN_REHEARSES,
    lsnni_plan_same, lsnni_forward_softmax, lsnni_backward_softmax, NULL, NULL,
    LSNNI_DEVICE_PAIR(softmax)
};

LSNN_API int lsnn_softmax(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_softmax_type, &x, 1, o);
}
