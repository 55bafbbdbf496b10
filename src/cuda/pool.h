/* ---- >>cuda pooling: a thread for each output; backward, one for each pixel, which looks at
   all windows that it lies in, in the order of rows
   max  y[p] = max of the window's pixels, where[p]: its place;  dx at that pixel (+)= dy[p]
   sum  y[p] = sum of them;  dx at all of them (+)= dy[p].  average: sum / pixels inside */
typedef struct lsnni_cuda_pool {
    lsnn_window s;
    lsnn_real *y, *dx;
    const lsnn_real *x, *dy;
    int32_t *where;
    int add, average;
} lsnni_cuda_pool;

LSNNI_KERNEL(lsnni_cuda_max_forward, lsnni_cuda_pool)
{
    const lsnn_window *s = &a.s;
    size_t out = (size_t)s->oh * s->ow;
    LSNNI_EACH(p, (size_t)s->n * s->c * out);
    const lsnn_real *x = a.x + p / out * ((size_t)s->h * s->w);
    int y0, y1, x0, x1, best;
    lsnni_pool_side((int)(p % out) / s->ow, s->stride_h, s->pad_top, s->kernel_h, s->h, &y0, &y1);
    lsnni_pool_side((int)(p % out) % s->ow, s->stride_w, s->pad_left, s->kernel_w, s->w, &x0, &x1);
    if (y0 >= y1 || x0 >= x1) {      /* a window of padding alone             */
        a.y[p] = 0;
        a.where[p] = -1;
        return;
    }
    best = y0 * s->w + x0;
    for (int i = y0; i < y1; i++)
        for (int j = x0; j < x1; j++) {
            lsnn_real v = x[i * s->w + j];
            if (v > x[best] || v != v) best = i * s->w + j;     /* NaN wins       */
        }
    a.y[p] = x[best];
    a.where[p] = best;
}

/* The windows of a side that a pixel may lie in: [*from, *to].                */
LSNNI_BOTH void lsnni_windows_over(int pixel, int stride, int pad, int kernel, int count,
                                   int *from, int *to)
{
    int first = pixel + pad - kernel + 1;
    *from = first > 0 ? (first + stride - 1) / stride : 0;
    *to = LSNNI_MIN((pixel + pad) / stride, count - 1);
}

LSNNI_KERNEL(lsnni_cuda_max_backward, lsnni_cuda_pool)
{
    const lsnn_window *s = &a.s;
    size_t in = (size_t)s->h * s->w, out = (size_t)s->oh * s->ow;
    LSNNI_EACH(q, (size_t)s->n * s->c * in);
    int pixel = (int)(q % in), i0, i1, j0, j1;
    const lsnn_real *dy = a.dy + q / in * out;
    const int32_t *where = a.where + q / in * out;
    lsnn_real sum = a.add ? a.dx[q] : 0;
    lsnni_windows_over(pixel / s->w, s->stride_h, s->pad_top, s->kernel_h, s->oh, &i0, &i1);
    lsnni_windows_over(pixel % s->w, s->stride_w, s->pad_left, s->kernel_w, s->ow, &j0, &j1);
    for (int i = i0; i <= i1; i++)
        for (int j = j0; j <= j1; j++)
            if (where[i * s->ow + j] == pixel) sum += dy[i * s->ow + j];
    a.dx[q] = sum;
}

/* What one pixel of window (i, j) counts: 1, or in an average 1 / pixels inside the image. */
LSNNI_BOTH double lsnni_cuda_share_of(const lsnni_cuda_pool *a, int i, int j, int box[4])
{
    const lsnn_window *s = &a->s;
    lsnni_pool_side(i, s->stride_h, s->pad_top, s->kernel_h, s->h, &box[0], &box[1]);
    lsnni_pool_side(j, s->stride_w, s->pad_left, s->kernel_w, s->w, &box[2], &box[3]);
    if (!a->average || box[0] >= box[1] || box[2] >= box[3]) return 1;
    return 1.0 / ((box[1] - box[0]) * (box[3] - box[2]));
}

LSNNI_KERNEL(lsnni_cuda_sum_forward, lsnni_cuda_pool)
{
    const lsnn_window *s = &a.s;
    size_t out = (size_t)s->oh * s->ow;
    LSNNI_EACH(p, (size_t)s->n * s->c * out);
    const lsnn_real *x = a.x + p / out * ((size_t)s->h * s->w);
    int box[4];
    double sum = 0, share;
    share = lsnni_cuda_share_of(&a, (int)(p % out) / s->ow, (int)(p % out) % s->ow, box);
    for (int i = box[0]; i < box[1]; i++)
        for (int j = box[2]; j < box[3]; j++) sum += (double)x[i * s->w + j];
    a.y[p] = LSNNI_R(sum * share);
}

LSNNI_KERNEL(lsnni_cuda_sum_backward, lsnni_cuda_pool)
{
    const lsnn_window *s = &a.s;
    size_t in = (size_t)s->h * s->w, out = (size_t)s->oh * s->ow;
    LSNNI_EACH(q, (size_t)s->n * s->c * in);
    int pixel = (int)(q % in), i0, i1, j0, j1, box[4];
    const lsnn_real *dy = a.dy + q / in * out;
    double sum = 0;
    lsnni_windows_over(pixel / s->w, s->stride_h, s->pad_top, s->kernel_h, s->oh, &i0, &i1);
    lsnni_windows_over(pixel % s->w, s->stride_w, s->pad_left, s->kernel_w, s->ow, &j0, &j1);
    for (int i = i0; i <= i1; i++)
        for (int j = j0; j <= j1; j++)
            sum += (double)dy[i * s->ow + j] * lsnni_cuda_share_of(&a, i, j, box);
    a.dx[q] = LSNNI_R(sum) + (a.add ? a.dx[q] : 0);
}

static lsnn_status lsnni_cuda_pool_of(lsnn_ctx *cx, lsnni_cuda_pool *a, const lsnn_call *c)
{
    memset(a, 0, sizeof *a);
    a->y = c->y; a->x = c->x[0]; a->dy = c->dy; a->dx = c->dx[0];
    a->where = (int32_t *)(void *)c->keep;
    a->add = c->add[0];
    return lsnni_call_window(cx, &a->s, c);
}

LSNNI_CUDA lsnn_status lsnni_cuda_forward_max_pool(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_pool a;
    LSNNI_TRY(lsnni_cuda_pool_of(cx, &a, c));
    LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_max_forward,
                      lsnni_area(c->n, lsnni_features(c->plan->out)), a);
    return LSNN_OK;
}

LSNNI_CUDA lsnn_status lsnni_cuda_backward_max_pool(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_pool a;
    LSNNI_TRY(lsnni_cuda_pool_of(cx, &a, c));
    if (a.dx) LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_max_backward, lsnni_call_count(c), a);
    return LSNN_OK;
}

/* Forward of the two that sum, then backward.                                 */
static lsnn_status lsnni_cuda_sum_pools(lsnn_ctx *cx, lsnn_call *c, int average, int backward)
{
    lsnni_cuda_pool a;
    LSNNI_TRY(lsnni_cuda_pool_of(cx, &a, c));
    a.average = average;
    if (!backward)
        LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_sum_forward,
                          lsnni_area(c->n, lsnni_features(c->plan->out)), a);
    else if (a.dx)
        LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_sum_backward, lsnni_call_count(c), a);
    return LSNN_OK;
}
LSNNI_CUDA lsnn_status lsnni_cuda_forward_avg_pool(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnni_cuda_sum_pools(cx, c, 1, 0);
}
LSNNI_CUDA lsnn_status lsnni_cuda_backward_avg_pool(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnni_cuda_sum_pools(cx, c, 1, 1);
}
LSNNI_CUDA lsnn_status lsnni_cuda_forward_sum_pool(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnni_cuda_sum_pools(cx, c, 0, 0);
}
LSNNI_CUDA lsnn_status lsnni_cuda_backward_sum_pool(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnni_cuda_sum_pools(cx, c, 0, 1);
}
