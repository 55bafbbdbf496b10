/* ---- >>cuda batch_norm: a block a channel, which walks over its M = N*I values
   xh = (x - mean) istd    y = gamma xh + beta          dgamma += sum dy xh     dbeta += sum dy
   dx (+)= gamma istd (dy - mean(dy) - xh mean(dy xh));  known: dx (+)= gamma istd dy
   known: mean and variance are the running ones (a prediction, or frozen).   */
typedef struct lsnni_cuda_norm_call {
    lsnn_real *y, *dx, *mean, *istd, *running_mean, *running_var, *dgamma, *dbeta;
    const lsnn_real *x, *dy, *gamma, *beta;
    double momentum, eps;
    int n, c, inner, known, add;
} lsnni_cuda_norm_call;

/* Value i of channel k.                                                       */
LSNNI_BOTH size_t lsnni_cuda_norm_at(const lsnni_cuda_norm_call *a, int k, size_t i)
{
    return lsnni_at3((int)(i / (size_t)a->inner), k, a->c, (int)(i % (size_t)a->inner), a->inner);
}

/* The channel's mean of x, the same in all threads.                           */
LSNNI_DEVICE_ONLY double lsnni_cuda_norm_mean(const lsnni_cuda_norm_call *a, int k, double *room)
{
    size_t count = (size_t)a->n * a->inner;
    double sum = 0;
    for (size_t i = threadIdx.x; i < count; i += LSNNI_THREADS)
        sum += (double)a->x[lsnni_cuda_norm_at(a, k, i)];
    return lsnni_block_sum(room, sum) / (double)count;
}

LSNNI_KERNEL(lsnni_cuda_norm_forward, lsnni_cuda_norm_call)
{
    LSNNI_SHARED double room[LSNNI_ROOM];
    size_t count = (size_t)a.n * a.inner;
    int k = (int)blockIdx.x;
    double mean, var = 0, istd;
    if (a.known) {
        mean = (double)a.running_mean[k];
        istd = 1 / sqrt((double)a.running_var[k] + a.eps);
    } else {
        mean = lsnni_cuda_norm_mean(&a, k, room);
        for (size_t i = threadIdx.x; i < count; i += LSNNI_THREADS) {
            double d = (double)a.x[lsnni_cuda_norm_at(&a, k, i)] - mean;
            var += d * d;
        }
        var = lsnni_block_sum(room, var);
        istd = 1 / sqrt(var / (double)count + a.eps);
    }
    for (size_t i = threadIdx.x; i < count; i += LSNNI_THREADS) {
        size_t at = lsnni_cuda_norm_at(&a, k, i);
        a.y[at] = LSNNI_R((double)a.gamma[k] * ((double)a.x[at] - mean) * istd +
                          (double)a.beta[k]);
    }
    if (threadIdx.x > 0) return;
    a.mean[k] = LSNNI_R(mean);
    a.istd[k] = LSNNI_R(istd);
    if (a.known) return;
    var = (1 - a.momentum) * (double)a.running_var[k] +
          a.momentum * var / LSNNI_MAX((double)count - 1, 1);            /* unbiased          */
    if (!(var <= (double)FLT_MAX)) return;               /* the running ones stay */
    a.running_mean[k] = LSNNI_R((1 - a.momentum) * (double)a.running_mean[k] + a.momentum * mean);
    a.running_var[k] = LSNNI_R(var);
}

LSNNI_KERNEL(lsnni_cuda_norm_backward, lsnni_cuda_norm_call)
{
    LSNNI_SHARED double room[LSNNI_ROOM];
    size_t count = (size_t)a.n * a.inner;
    int k = (int)blockIdx.x;
    double istd = (double)a.istd[k], sum = 0, dot = 0;
    double mean = a.known ? (double)a.mean[k] : lsnni_cuda_norm_mean(&a, k, room);
    for (size_t i = threadIdx.x; i < count; i += LSNNI_THREADS) {
        size_t at = lsnni_cuda_norm_at(&a, k, i);
        sum += (double)a.dy[at];
        dot += (double)a.dy[at] * ((double)a.x[at] - mean) * istd;
    }
    sum = lsnni_block_sum(room, sum);
    dot = lsnni_block_sum(room, dot);
    if (threadIdx.x == 0 && a.dgamma) a.dgamma[k] += LSNNI_R(dot);
    if (threadIdx.x == 0 && a.dbeta) a.dbeta[k] += LSNNI_R(sum);
    if (a.known) sum = dot = 0;
    for (size_t i = threadIdx.x; i < count && a.dx; i += LSNNI_THREADS) {
        size_t at = lsnni_cuda_norm_at(&a, k, i);
        double xh = ((double)a.x[at] - mean) * istd;
        lsnn_real g = LSNNI_R((double)a.gamma[k] * istd *
                              ((double)a.dy[at] - (sum + xh * dot) / (double)count));
        a.dx[at] = a.add ? a.dx[at] + g : g;
    }
}

static lsnni_cuda_norm_call lsnni_cuda_norm_of(const lsnn_call *c)
{
    const lsnn_layer_plan *p = c->plan;
    lsnni_cuda_norm_call a;
    memset(&a, 0, sizeof a);
    a.y = c->y; a.x = c->x[0]; a.dy = c->dy; a.dx = c->dx[0];
    a.mean = c->keep; a.istd = c->keep + p->out.c;
    a.running_mean = c->buffer[0]; a.running_var = c->buffer[1];
    a.gamma = c->param[0]; a.beta = c->param[1];
    a.dgamma = c->dparam[0]; a.dbeta = c->dparam[1];
    a.momentum = p->o.momentum; a.eps = p->o.eps;
    a.n = c->n; a.c = p->out.c; a.inner = lsnni_inner(p->in[0]);
    a.known = !c->training || p->o.freeze;
    a.add = c->add[0];
    return a;
}

LSNNI_CUDA lsnn_status lsnni_cuda_forward_batch_norm(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_norm_call a = lsnni_cuda_norm_of(c);
    LSNNI_LAUNCH(cx, c->device, lsnni_cuda_norm_forward, a.c, LSNNI_THREADS, a);
    return LSNN_OK;
}

LSNNI_CUDA lsnn_status lsnni_cuda_backward_batch_norm(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_norm_call a = lsnni_cuda_norm_of(c);
    LSNNI_LAUNCH(cx, c->device, lsnni_cuda_norm_backward, a.c, LSNNI_THREADS, a);
    return LSNN_OK;
}
