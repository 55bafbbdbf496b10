/* ---- >>copies: concat, slice, add and flatten are made of lsnn_rows_copy ------------*/
typedef struct lsnni_rows {
    const lsnni_kernels *kv;
    const lsnn_real *x;
    lsnn_real *y;
    size_t y_stride, x_stride, len;
    int pieces, add;
} lsnni_rows;

static void lsnni_rows_task(void *user, int task, int worker)
{
    const lsnni_rows *p = (const lsnni_rows *)user;
    size_t row = (size_t)(task / p->pieces), at = (size_t)(task % p->pieces) * LSNNI_PIECE;
    size_t count = LSNNI_MIN((size_t)LSNNI_PIECE, p->len - at);
    lsnn_real *to = p->y + row * p->y_stride + at;
    const lsnn_real *from = p->x + row * p->x_stride + at;
    (void)worker;
    if (p->add) p->kv->axpy(to, 1, from, count);
    else memcpy(to, from, count * sizeof *to);
}

LSNN_API lsnn_status lsnn_rows_copy(lsnn_ctx *cx, lsnn_real *y, size_t y_stride,
                                    const lsnn_real *x, size_t x_stride, int n, size_t len,
                                    int add)
{
    lsnni_rows p;
    size_t pieces = (len + LSNNI_PIECE - 1) / LSNNI_PIECE;
    if (n < 0 || (n > 1 && (y_stride < len || x_stride < len)) ||
        (double)pieces * n > INT_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE,
                          "rows_copy: %d rows of %.0f numbers, %.0f and %.0f apart",
                          n, (double)len, (double)y_stride, (double)x_stride);
    p.kv = lsnni_kernels_of(cx);
    p.x = x; p.y = y; p.y_stride = y_stride; p.x_stride = x_stride; p.len = len; p.add = add;
    p.pieces = (int)pieces;
    lsnn_parallel(cx, n * p.pieces, lsnni_rows_task, &p);
    return LSNN_OK;
}

