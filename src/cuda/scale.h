/* ---- >>cuda scale: y = g[c] x + b[c], a thread a number; dg, db: a block a channel
   dx (+)= g[c] dy      dg[c] += sum dy x      db[c] += sum dy               */
typedef struct lsnni_cuda_scale {
    lsnn_real *y, *dx, *dg, *db;
    const lsnn_real *x, *dy, *g, *b;
    int n, c, inner, add;
} lsnni_cuda_scale;

LSNNI_KERNEL(lsnni_cuda_scale_forward, lsnni_cuda_scale)
{
    LSNNI_EACH(i, (size_t)a.n * a.c * a.inner);
    int k = (int)(i / (size_t)a.inner) % a.c;
    a.y[i] = a.g[k] * a.x[i] + (a.b ? a.b[k] : 0);
}

LSNNI_KERNEL(lsnni_cuda_scale_dx, lsnni_cuda_scale)
{
    LSNNI_EACH(i, (size_t)a.n * a.c * a.inner);
    lsnn_real g = a.g[(int)(i / (size_t)a.inner) % a.c] * a.dy[i];
    a.dx[i] = a.add ? a.dx[i] + g : g;
}

LSNNI_KERNEL(lsnni_cuda_scale_sums, lsnni_cuda_scale)
{
    LSNNI_SHARED double room[LSNNI_ROOM];
    int k = (int)blockIdx.x;
    double sum = 0, dot = 0;
    for (size_t i = threadIdx.x; i < (size_t)a.n * a.inner; i += LSNNI_THREADS) {
        size_t at = lsnni_at3((int)(i / (size_t)a.inner), k, a.c, (int)(i % (size_t)a.inner),
                              a.inner);
        sum += (double)a.dy[at];
        dot += (double)a.dy[at] * (double)a.x[at];
    }
    sum = lsnni_block_sum(room, sum);
    dot = lsnni_block_sum(room, dot);
    if (threadIdx.x > 0) return;
    if (a.db) a.db[k] += LSNNI_R(sum);
    if (a.dg) a.dg[k] += LSNNI_R(dot);
}

static lsnni_cuda_scale lsnni_cuda_scale_of(const lsnn_call *c)
{
    lsnni_cuda_scale a;
    a.y = c->y; a.dx = c->dx[0]; a.dg = c->dparam[0]; a.db = c->dparam[1];
    a.x = c->x[0]; a.dy = c->dy; a.g = c->param[0]; a.b = c->param[1];
    a.n = c->n; a.c = c->plan->in[0].c; a.inner = lsnni_inner(c->plan->in[0]); a.add = c->add[0];
    return a;
}

LSNNI_CUDA lsnn_status lsnni_cuda_forward_scale(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_scale a = lsnni_cuda_scale_of(c);
    LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_scale_forward, lsnni_call_count(c), a);
    return LSNN_OK;
}

LSNNI_CUDA lsnn_status lsnni_cuda_backward_scale(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_scale a = lsnni_cuda_scale_of(c);
    if (a.dg || a.db)
        LSNNI_LAUNCH(cx, c->device, lsnni_cuda_scale_sums, a.c, LSNNI_THREADS, a);
    if (a.dx) LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_scale_dx, lsnni_call_count(c), a);
    return LSNN_OK;
}
