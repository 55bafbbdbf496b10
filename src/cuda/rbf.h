/* ---- >>cuda rbf: y[n,k] = -sum_c (x[n,c] - w[k,c])^2, a thread for each number of what is made
   dx[n,c] (+)= -2 sum_k dy[n,k] (x[n,c] - w[k,c])      dw[k,c] += 2 sum_n the same */
typedef struct lsnni_cuda_rbf {
    lsnn_real *y, *dx, *dw;
    const lsnn_real *x, *w, *dy;
    int n, c, k, add;
} lsnni_cuda_rbf;

LSNNI_BOTH double lsnni_cuda_rbf_apart(const lsnni_cuda_rbf *a, int n, int k, int c)
{
    return (double)a->x[lsnni_at2(n, c, a->c)] - (double)a->w[lsnni_at2(k, c, a->c)];
}

LSNNI_KERNEL(lsnni_cuda_rbf_forward, lsnni_cuda_rbf)
{
    LSNNI_EACH(i, (size_t)a.n * a.k);
    double sum = 0;
    for (int c = 0; c < a.c; c++) {
        double d = lsnni_cuda_rbf_apart(&a, (int)(i / (size_t)a.k), (int)(i % (size_t)a.k), c);
        sum += d * d;
    }
    a.y[i] = LSNNI_R(-sum);
}

LSNNI_KERNEL(lsnni_cuda_rbf_dx, lsnni_cuda_rbf)
{
    LSNNI_EACH(i, (size_t)a.n * a.c);
    int n = (int)(i / (size_t)a.c), c = (int)(i % (size_t)a.c);
    double sum = 0;
    for (int k = 0; k < a.k; k++)
        sum += (double)a.dy[lsnni_at2(n, k, a.k)] * lsnni_cuda_rbf_apart(&a, n, k, c);
    a.dx[i] = LSNNI_R(-2 * sum) + (a.add ? a.dx[i] : 0);
}

LSNNI_KERNEL(lsnni_cuda_rbf_dw, lsnni_cuda_rbf)
{
    LSNNI_EACH(i, (size_t)a.k * a.c);
    int k = (int)(i / (size_t)a.c), c = (int)(i % (size_t)a.c);
    double sum = 0;
    for (int n = 0; n < a.n; n++)
        sum += (double)a.dy[lsnni_at2(n, k, a.k)] * lsnni_cuda_rbf_apart(&a, n, k, c);
    a.dw[i] += LSNNI_R(2 * sum);
}

static lsnni_cuda_rbf lsnni_cuda_rbf_of(const lsnn_call *c)
{
    lsnni_cuda_rbf a;
    a.y = c->y; a.dx = c->dx[0]; a.dw = c->plan->params ? c->dparam[0] : NULL;
    a.x = c->x[0]; a.w = c->plan->params ? c->param[0] : c->buffer[0]; a.dy = c->dy;
    a.n = c->n; a.c = lsnni_features(c->plan->in[0]); a.k = c->plan->out.c; a.add = c->add[0];
    return a;
}

LSNNI_CUDA lsnn_status lsnni_cuda_forward_rbf(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_rbf a = lsnni_cuda_rbf_of(c);
    LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_rbf_forward, lsnni_area(a.n, a.k), a);
    return LSNN_OK;
}

LSNNI_CUDA lsnn_status lsnni_cuda_backward_rbf(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_rbf a = lsnni_cuda_rbf_of(c);
    if (a.dw) LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_rbf_dw, lsnni_area(a.k, a.c), a);
    if (a.dx) LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_rbf_dx, lsnni_area(a.n, a.c), a);
    return LSNN_OK;
}
