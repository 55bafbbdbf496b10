/* ---- >>cuda copies: flatten copies rows, as >>copies do                            */
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
