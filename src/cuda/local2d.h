/* ---- >>cuda local2d: as conv2d's, but position p has weights and a bias of its own
   y[n,k,p]   = b[k,p] + sum_q w[p,q,k] x[n, patch of p, q]        a thread for each y
   dx         = sum over the places and kernels that read a pixel  a thread for each pixel
   dw[p,q,k] += sum_n dy[n,k,p] x[n, patch of p, q]                a thread for each weight
   Threads that are neighbours have neighbouring kernels k, along which w lies. */
typedef struct lsnni_cuda_local2d {
    lsnn_window s;
    lsnn_real *y, *dx, *dw, *db;
    const lsnn_real *x, *w, *b, *dy;
    int add, of_kernel;              /* of_kernel: b is one number a kernel   */
} lsnni_cuda_local2d;

LSNNI_KERNEL(lsnni_cuda_local2d_forward, lsnni_cuda_local2d)
{
    const lsnn_window *s = &a.s;
    int area = s->oh * s->ow, depth = s->c / s->groups, taps = s->kernel_h * s->kernel_w;
    LSNNI_EACH(t, (size_t)s->n * area * s->k);
    int k = (int)(t % (size_t)s->k), p = (int)(t / (size_t)s->k) % area;
    int n = (int)(t / (size_t)s->k) / area;
    lsnn_real sum = a.b ? a.b[a.of_kernel ? (size_t)k : lsnni_at2(k, p, area)] : 0;
    for (int c = 0; c < depth; c++)
    for (int u = 0; u < s->kernel_h; u++)
    for (int v = 0; v < s->kernel_w; v++) {
        int q = (c * s->kernel_h + u) * s->kernel_w + v;
        size_t in, at = lsnni_at3(p, q, depth * taps, k, s->k);
        if (lsnni_pixel(s, n, k, p / s->ow, p % s->ow, c, u, v, &in)) sum += a.x[in] * a.w[at];
    }
    a.y[lsnni_at3(n, k, s->k, p, area)] = sum;
}

LSNNI_KERNEL(lsnni_cuda_local2d_dx, lsnni_cuda_local2d)
{
    const lsnn_window *s = &a.s;
    int area = s->h * s->w, depth = s->c / s->groups, kernels = s->k / s->groups;
    int taps = s->kernel_h * s->kernel_w, i, j;
    LSNNI_EACH(t, (size_t)s->n * s->c * area);
    int n = (int)(t / (size_t)area) / s->c, channel = (int)(t / (size_t)area) % s->c;
    int row = (int)(t % (size_t)area) / s->w, col = (int)(t % (size_t)area) % s->w;
    int group = channel / depth, c = channel % depth;
    lsnn_real sum = 0;
    for (int u = 0; u < s->kernel_h; u++)
    for (int v = 0; v < s->kernel_w; v++) {
        int q = (c * s->kernel_h + u) * s->kernel_w + v;
        if (!lsnni_output_of(s, row, col, u, v, &i, &j)) continue;
        for (int k = group * kernels; k < (group + 1) * kernels; k++)
            sum += a.w[lsnni_at3(i * s->ow + j, q, depth * taps, k, s->k)] *
                   a.dy[lsnni_at4(n, k, s->k, i, s->oh, j, s->ow)];
    }
    a.dx[t] = sum + (a.add ? a.dx[t] : 0);
}

LSNNI_KERNEL(lsnni_cuda_local2d_dw, lsnni_cuda_local2d)
{
    const lsnn_window *s = &a.s;
    int area = s->oh * s->ow, depth = s->c / s->groups, taps = s->kernel_h * s->kernel_w;
    LSNNI_EACH(t, (size_t)area * depth * taps * s->k);
    int k = (int)(t % (size_t)s->k), q = (int)(t / (size_t)s->k) % (depth * taps);
    int p = (int)(t / (size_t)s->k) / (depth * taps);
    size_t in;
    double sum = 0;
    for (int n = 0; n < s->n; n++)
        if (lsnni_pixel(s, n, k, p / s->ow, p % s->ow, q / taps, q % taps / s->kernel_w,
                        q % s->kernel_w, &in))
            sum += (double)(a.x[in] * a.dy[lsnni_at3(n, k, s->k, p, area)]);
    a.dw[t] += LSNNI_R(sum);
}

/* A thread a place of a kernel; with one bias a kernel, a thread a kernel.   */
LSNNI_KERNEL(lsnni_cuda_local2d_db, lsnni_cuda_local2d)
{
    int area = a.s.oh * a.s.ow, places = a.of_kernel ? area : 1;
    LSNNI_EACH(t, (size_t)a.s.k * area / places);
    int k = (int)(t * places / (size_t)area), first = (int)(t * places % (size_t)area);
    double sum = 0;
    for (int n = 0; n < a.s.n; n++)
        for (int p = first; p < first + places; p++)
            sum += (double)a.dy[lsnni_at3(n, k, a.s.k, p, area)];
    a.db[t] += LSNNI_R(sum);
}

static lsnn_status lsnni_cuda_local2d_of(lsnn_ctx *cx, lsnni_cuda_local2d *a, const lsnn_call *c)
{
    memset(a, 0, sizeof *a);
    a->y = c->y; a->x = c->x[0]; a->w = c->param[0]; a->b = c->param[1];
    a->dy = c->dy; a->dx = c->dx[0]; a->dw = c->dparam[0]; a->db = c->dparam[1];
    a->add = c->add[0];
    a->of_kernel = c->plan->o.bias == LSNN_BIAS_OF_KERNEL;
    return lsnni_call_window(cx, &a->s, c);
}

LSNNI_CUDA lsnn_status lsnni_cuda_forward_local2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_local2d a;
    LSNNI_TRY(lsnni_cuda_local2d_of(cx, &a, c));
    LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_local2d_forward,
                      lsnni_area(c->n, lsnni_features(c->plan->out)), a);
    return LSNN_OK;
}

LSNNI_CUDA lsnn_status lsnni_cuda_backward_local2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_local2d a;
    LSNNI_TRY(lsnni_cuda_local2d_of(cx, &a, c));
    if (a.dw)
        LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_local2d_dw, c->plan->param[0].count, a);
    if (a.db)
        LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_local2d_db, c->plan->param[1].count, a);
    if (a.dx) LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_local2d_dx, lsnni_call_count(c), a);
    return LSNN_OK;
}
