/* ---- >>cuda softmax: a thread for each pixel of an image, which walks over its channels
   y[c] = e^(x[c] - max x) / sum_c' e^(x[c'] - max x)     dx[c] (+)= y[c] (dy[c] - sum dy y) */
typedef struct lsnni_cuda_softmax {
    lsnn_real *y, *dx;
    const lsnn_real *x, *dy;
    int n, c, inner, add;
} lsnni_cuda_softmax;

LSNNI_KERNEL(lsnni_cuda_softmax_forward, lsnni_cuda_softmax)
{
    LSNNI_EACH(q, (size_t)a.n * a.inner);
    int n = (int)(q / (size_t)a.inner), i = (int)(q % (size_t)a.inner);
    double most = (double)a.x[lsnni_at3(n, 0, a.c, i, a.inner)], sum = 0;
    for (int k = 1; k < a.c; k++)
        most = LSNNI_MAX(most, (double)a.x[lsnni_at3(n, k, a.c, i, a.inner)]);
    for (int k = 0; k < a.c; k++) sum += exp((double)a.x[lsnni_at3(n, k, a.c, i, a.inner)] - most);
    for (int k = 0; k < a.c; k++) {
        size_t at = lsnni_at3(n, k, a.c, i, a.inner);
        a.y[at] = LSNNI_R(exp((double)a.x[at] - most) / sum);
    }
}

LSNNI_KERNEL(lsnni_cuda_softmax_backward, lsnni_cuda_softmax)
{
    LSNNI_EACH(q, (size_t)a.n * a.inner);
    int n = (int)(q / (size_t)a.inner), i = (int)(q % (size_t)a.inner);
    double dot = 0;
    for (int k = 0; k < a.c; k++) {
        size_t at = lsnni_at3(n, k, a.c, i, a.inner);
        dot += (double)a.dy[at] * (double)a.y[at];
    }
    for (int k = 0; k < a.c; k++) {
        size_t at = lsnni_at3(n, k, a.c, i, a.inner);
        lsnn_real g = LSNNI_R((double)a.y[at] * ((double)a.dy[at] - dot));
        a.dx[at] = a.add ? a.dx[at] + g : g;
    }
}

static lsnni_cuda_softmax lsnni_cuda_softmax_of(const lsnn_call *c)
{
    lsnni_cuda_softmax a;
    a.y = c->y; a.dx = c->dx[0]; a.x = c->x[0]; a.dy = c->dy; a.add = c->add[0];
    a.n = c->n; a.c = c->plan->in[0].c; a.inner = lsnni_inner(c->plan->in[0]);
    return a;
}

LSNNI_CUDA lsnn_status lsnni_cuda_forward_softmax(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_softmax a = lsnni_cuda_softmax_of(c);
    LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_softmax_forward, lsnni_area(a.n, a.inner), a);
    return LSNN_OK;
}

LSNNI_CUDA lsnn_status lsnni_cuda_backward_softmax(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_softmax a = lsnni_cuda_softmax_of(c);
    if (a.dx)
        LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_softmax_backward, lsnni_area(a.n, a.inner), a);
    return LSNN_OK;
}
