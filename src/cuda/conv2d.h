/* ---- >>cuda conv2d: the naive loops, without those that became threads
   y[n,k,i,j] = b[k] + sum_cuv w[k,c,u,v] x[n, channel, row, col]     a thread for each y
   dx         = sum over the kernels and taps that read a pixel       a thread for each pixel
   dw[k,c,u,v] += sum_nij dy[n,k,i,j] x[...]                          a block for each weight */
typedef struct lsnni_cuda_conv2d {
    lsnn_window s;
    lsnn_real *y, *dx, *dw, *db;
    const lsnn_real *x, *w, *b, *dy;
    int add;
} lsnni_cuda_conv2d;

LSNNI_KERNEL(lsnni_cuda_conv2d_forward, lsnni_cuda_conv2d)
{
    const lsnn_window *s = &a.s;
    int area = s->oh * s->ow, depth = s->c / s->groups;
    LSNNI_EACH(p, (size_t)s->n * s->k * area);
    int n = (int)(p / (size_t)area) / s->k, k = (int)(p / (size_t)area) % s->k;
    int i = (int)(p % (size_t)area) / s->ow, j = (int)(p % (size_t)area) % s->ow;
    lsnn_real sum = 0;
    for (int c = 0; c < depth; c++)
    for (int u = 0; u < s->kernel_h; u++)
    for (int v = 0; v < s->kernel_w; v++) {
        size_t in, at = lsnni_at4(k, c, depth, u, s->kernel_h, v, s->kernel_w);
        if (lsnni_pixel(s, n, k, i, j, c, u, v, &in)) sum += a.x[in] * a.w[at];
    }
    a.y[p] = sum + (a.b ? a.b[k] : 0);
}

/* Output (i, j) whose tap (u, v) reads pixel (row, col): 0 if there is none.  */
LSNNI_BOTH int lsnni_output_of(const lsnn_window *s, int row, int col, int u, int v, int *i,
                               int *j)
{
    int y = row + s->pad_top - u * s->dilation_h, x = col + s->pad_left - v * s->dilation_w;
    *i = y / s->stride_h;
    *j = x / s->stride_w;
    return y >= 0 && x >= 0 && y % s->stride_h == 0 && x % s->stride_w == 0 && *i < s->oh &&
           *j < s->ow;
}

LSNNI_KERNEL(lsnni_cuda_conv2d_dx, lsnni_cuda_conv2d)
{
    const lsnn_window *s = &a.s;
    int area = s->h * s->w, depth = s->c / s->groups, kernels = s->k / s->groups;
    LSNNI_EACH(q, (size_t)s->n * s->c * area);
    int n = (int)(q / (size_t)area) / s->c, channel = (int)(q / (size_t)area) % s->c;
    int row = (int)(q % (size_t)area) / s->w, col = (int)(q % (size_t)area) % s->w;
    int group = channel / depth, c = channel % depth, i, j;
    lsnn_real sum = 0;
    for (int k = group * kernels; k < (group + 1) * kernels; k++)
    for (int u = 0; u < s->kernel_h; u++)
    for (int v = 0; v < s->kernel_w; v++)
        if (lsnni_output_of(s, row, col, u, v, &i, &j))
            sum += a.w[lsnni_at4(k, c, depth, u, s->kernel_h, v, s->kernel_w)] *
                   a.dy[lsnni_at4(n, k, s->k, i, s->oh, j, s->ow)];
    a.dx[q] = sum + (a.add ? a.dx[q] : 0);
}

LSNNI_KERNEL(lsnni_cuda_conv2d_dw, lsnni_cuda_conv2d)
{
    LSNNI_SHARED double room[LSNNI_ROOM];
    const lsnn_window *s = &a.s;
    int depth = s->c / s->groups, taps = s->kernel_h * s->kernel_w, area = s->oh * s->ow;
    int at = (int)blockIdx.x, k = at / taps / depth, c = at / taps % depth;
    int u = at % taps / s->kernel_w, v = at % taps % s->kernel_w;
    size_t count = (size_t)s->n * area, in;
    double sum = 0;
    for (size_t p = threadIdx.x; p < count; p += LSNNI_THREADS) {
        int n = (int)(p / (size_t)area), q = (int)(p % (size_t)area);
        if (lsnni_pixel(s, n, k, q / s->ow, q % s->ow, c, u, v, &in))
            sum += (double)(a.x[in] * a.dy[lsnni_at3(n, k, s->k, q, area)]);
    }
    sum = lsnni_block_sum(room, sum);
    if (threadIdx.x == 0) a.dw[at] += LSNNI_R(sum);
}

/* A block for each kernel.                                                    */
LSNNI_KERNEL(lsnni_cuda_conv2d_db, lsnni_cuda_conv2d)
{
    LSNNI_SHARED double room[LSNNI_ROOM];
    int area = a.s.oh * a.s.ow, k = (int)blockIdx.x;
    size_t count = (size_t)a.s.n * area;
    double sum = 0;
    for (size_t p = threadIdx.x; p < count; p += LSNNI_THREADS)
        sum += (double)a.dy[lsnni_at3((int)(p / (size_t)area), k, a.s.k, (int)(p % (size_t)area),
                                      area)];
    sum = lsnni_block_sum(room, sum);
    if (threadIdx.x == 0) a.db[k] += LSNNI_R(sum);
}

static lsnn_status lsnni_cuda_conv2d_of(lsnn_ctx *cx, lsnni_cuda_conv2d *a, const lsnn_call *c)
{
    memset(a, 0, sizeof *a);
    a->y = c->y; a->x = c->x[0]; a->w = c->param[0]; a->b = c->param[1];
    a->dy = c->dy; a->dx = c->dx[0]; a->dw = c->dparam[0]; a->db = c->dparam[1];
    a->add = c->add[0];
    return lsnni_call_window(cx, &a->s, c);
}

LSNNI_CUDA lsnn_status lsnni_cuda_forward_conv2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_conv2d a;
    LSNNI_TRY(lsnni_cuda_conv2d_of(cx, &a, c));
    LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_conv2d_forward,
                      lsnni_area(c->n, lsnni_features(c->plan->out)), a);
    return LSNN_OK;
}

LSNNI_CUDA lsnn_status lsnni_cuda_backward_conv2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_conv2d a;
    LSNNI_TRY(lsnni_cuda_conv2d_of(cx, &a, c));
    if (a.dw)
        LSNNI_LAUNCH(cx, c->device, lsnni_cuda_conv2d_dw, c->plan->param[0].count,
                     LSNNI_THREADS, a);
    if (a.db) LSNNI_LAUNCH(cx, c->device, lsnni_cuda_conv2d_db, a.s.k, LSNNI_THREADS, a);
    if (a.dx) LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_conv2d_dx, lsnni_call_count(c), a);
    return LSNN_OK;
}
