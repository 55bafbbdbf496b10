/* ---- >>cuda copies: concat, slice, add and flatten copy rows, as >>copies do       */
typedef struct lsnni_cuda_copy {
    lsnn_real *y;
    const lsnn_real *x;
    size_t y_stride, x_stride, len, count;               /* numbers; count: of all rows     */
    int add;
} lsnni_cuda_copy;

LSNNI_KERNEL(lsnni_cuda_copy_rows, lsnni_cuda_copy)
{
    LSNNI_EACH(i, a.count);
    size_t row = i / a.len, at = i % a.len;
    lsnn_real *to = a.y + row * a.y_stride + at, v = a.x[row * a.x_stride + at];
    *to = a.add ? *to + v : v;
}

/* n rows of len numbers, as lsnn_rows_copy.                                   */
static lsnn_status lsnni_cuda_rows(lsnn_ctx *cx, lsnn_device *on, lsnn_real *y, size_t y_stride,
                                   const lsnn_real *x, size_t x_stride, int n, size_t len,
                                   int add)
{
    lsnni_cuda_copy a;
    a.y = y; a.x = x; a.y_stride = y_stride; a.x_stride = x_stride; a.len = len;
    a.count = (size_t)n * len;
    a.add = add;
    if (a.count) LSNNI_LAUNCH_EACH(cx, on, lsnni_cuda_copy_rows, a.count, a);
    return LSNN_OK;
}

LSNNI_CUDA lsnn_status lsnni_cuda_forward_flatten(lsnn_ctx *cx, lsnn_call *c)
{
    size_t count = lsnni_call_count(c);
    if (c->y == c->x[0]) return LSNN_OK;
    return lsnni_cuda_rows(cx, c->device, c->y, count, c->x[0], count, 1, count, LSNN_SET);
}

LSNNI_CUDA lsnn_status lsnni_cuda_backward_flatten(lsnn_ctx *cx, lsnn_call *c)
{
    size_t count = lsnni_call_count(c);
    if (!c->dx[0] || c->dx[0] == c->dy) return LSNN_OK;
    return lsnni_cuda_rows(cx, c->device, c->dx[0], count, c->dy, count, 1, count, c->add[0]);
}

LSNNI_CUDA lsnn_status lsnni_cuda_forward_add(lsnn_ctx *cx, lsnn_call *c)
{
    size_t count = lsnni_call_count(c);
    LSNNI_TRY(lsnni_cuda_rows(cx, c->device, c->y, count, c->x[0], count, 1, count, LSNN_SET));
    return lsnni_cuda_rows(cx, c->device, c->y, count, c->x[1], count, 1, count, LSNN_ADD);
}

LSNNI_CUDA lsnn_status lsnni_cuda_backward_add(lsnn_ctx *cx, lsnn_call *c)
{
    size_t count = lsnni_call_count(c);
    for (int i = 0; i < 2; i++)
        if (c->dx[i])
            LSNNI_TRY(lsnni_cuda_rows(cx, c->device, c->dx[i], count, c->dy, count, 1, count,
                                      c->add[i]));
    return LSNN_OK;
}

/* Concat forward and backward are one walk over the inputs' places in y.     */
static lsnn_status lsnni_cuda_concat(lsnn_ctx *cx, lsnn_call *c, int backward)
{
    size_t out = (size_t)lsnni_features(c->plan->out), at = 0;
    for (int i = 0; i < c->plan->inputs; i++) {
        size_t in = (size_t)lsnni_features(c->plan->in[i]);
        if (!backward)
            LSNNI_TRY(lsnni_cuda_rows(cx, c->device, c->y + at, out, c->x[i], in, c->n, in,
                                      LSNN_SET));
        else if (c->dx[i])
            LSNNI_TRY(lsnni_cuda_rows(cx, c->device, c->dx[i], in, c->dy + at, out, c->n, in,
                                      c->add[i]));
        at += in;
    }
    return LSNN_OK;
}
LSNNI_CUDA lsnn_status lsnni_cuda_forward_concat(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnni_cuda_concat(cx, c, 0);
}
LSNNI_CUDA lsnn_status lsnni_cuda_backward_concat(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnni_cuda_concat(cx, c, 1);
}

LSNNI_CUDA lsnn_status lsnni_cuda_forward_slice(lsnn_ctx *cx, lsnn_call *c)
{
    size_t len = (size_t)lsnni_features(c->plan->out);
    return lsnni_cuda_rows(cx, c->device, c->y, len, c->x[0] +
                           lsnni_area(c->plan->o.first, lsnni_inner(c->plan->in[0])),
                           (size_t)lsnni_features(c->plan->in[0]), c->n, len, LSNN_SET);
}

LSNNI_CUDA lsnn_status lsnni_cuda_backward_slice(lsnn_ctx *cx, lsnn_call *c)
{
    size_t len = (size_t)lsnni_features(c->plan->out);
    if (!c->dx[0]) return LSNN_OK;
    if (!c->add[0])
        LSNNI_TRY(lsnni_cuda_zero(cx, lsnni_device_of(c->device), c->dx[0],
                                  lsnni_call_count(c) * sizeof *c->dy));
    return lsnni_cuda_rows(cx, c->device, c->dx[0] +
                           lsnni_area(c->plan->o.first, lsnni_inner(c->plan->in[0])),
                           (size_t)lsnni_features(c->plan->in[0]), c->dy, len, c->n, len,
                           LSNN_ADD);
}
