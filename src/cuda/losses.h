/* ---- >>cuda losses: an image a thread, and one block, which sums over the images
   cross-entropy  L = -w/total sum_n log p[n, label n],  p = softmax(x)   dx = w/total (p - onehot)
   with a rubbish class of logit -j beside the others. total: images of the whole batch.
   mean squares   L = w/(total C) sum (x - t)^2                       dx = 2 w/(total C) (x - t) */
typedef struct lsnni_cuda_loss {
    const lsnn_now *now;
    double *loss, weight, rubbish;   /* rubbish 0: no such class              */
    lsnn_real *p, *dx;
    const lsnn_real *x, *y, *targets;
    const int *labels;
    int heads, head, n, c, add;
} lsnni_cuda_loss;

LSNNI_KERNEL(lsnni_cuda_entropy_forward, lsnni_cuda_loss)
{
    LSNNI_SHARED double room[LSNNI_ROOM];
    double total = 0;
    for (int n = (int)threadIdx.x; n < a.n; n += LSNNI_THREADS) {
        const lsnn_real *x = a.x + lsnni_at2(n, 0, a.c);
        int truth = a.labels[lsnni_at2(n, a.head, a.heads)];
        double most = a.rubbish > 0 ? -a.rubbish : (double)x[0], sum;
        for (int k = 0; k < a.c; k++) if (!((double)x[k] <= most)) most = (double)x[k];
        sum = a.rubbish > 0 ? exp(-a.rubbish - most) : 0;
        for (int k = 0; k < a.c; k++) sum += exp((double)x[k] - most);
        for (int k = 0; k < a.c; k++)
            a.p[lsnni_at2(n, k, a.c)] = LSNNI_R(exp((double)x[k] - most) / sum);
        total += most + log(sum) - (double)x[truth];
    }
    total = lsnni_block_sum(room, total);
    if (threadIdx.x == 0) *a.loss = a.weight * total / a.now->total;
}

LSNNI_KERNEL(lsnni_cuda_entropy_backward, lsnni_cuda_loss)
{
    LSNNI_EACH(i, (size_t)a.n * a.c);
    int n = (int)(i / (size_t)a.c), k = (int)(i % (size_t)a.c);
    int truth = a.labels[lsnni_at2(n, a.head, a.heads)];
    lsnn_real g = LSNNI_R(a.weight / a.now->total * ((double)a.y[i] - (k == truth)));
    a.dx[i] = a.add ? a.dx[i] + g : g;
}

static lsnni_cuda_loss lsnni_cuda_loss_of(const lsnn_call *c)
{
    lsnni_cuda_loss a;
    memset(&a, 0, sizeof a);
    a.now = c->device->now;
    a.loss = c->device_loss;
    a.weight = c->plan->o.loss_weight;
    a.rubbish = c->plan->o.rubbish;
    a.x = c->x[0]; a.p = c->y; a.y = c->y; a.dx = c->dx[0];
    a.labels = c->labels; a.targets = c->targets;
    a.heads = c->heads;
    a.head = c->plan->o.head;
    a.n = c->n; a.c = lsnni_features(c->plan->in[0]); a.add = c->add[0];
    return a;
}

LSNNI_CUDA lsnn_status lsnni_cuda_forward_cross_entropy(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_loss a = lsnni_cuda_loss_of(c);
    if (!c->labels || a.head >= c->heads)
        return lsnn_fail(cx, LSNN_ESHAPE, "cross_entropy: needs label %d of each sample, the "
                         "batch has %d", a.head, c->labels ? c->heads : 0);
    LSNNI_LAUNCH(cx, c->device, lsnni_cuda_entropy_forward, 1, LSNNI_THREADS, a);
    return LSNN_OK;
}

LSNNI_CUDA lsnn_status lsnni_cuda_backward_cross_entropy(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_loss a = lsnni_cuda_loss_of(c);
    if (a.dx)
        LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_entropy_backward, lsnni_area(a.n, a.c), a);
    return LSNN_OK;
}

LSNNI_KERNEL(lsnni_cuda_mse_forward, lsnni_cuda_loss)
{
    LSNNI_SHARED double room[LSNNI_ROOM];
    double sum = 0;
    for (size_t i = threadIdx.x; i < (size_t)a.n * a.c; i += LSNNI_THREADS) {
        int n = (int)(i / (size_t)a.c), k = (int)(i % (size_t)a.c);
        double d = (double)a.x[i] - (double)a.targets[lsnni_at2(n, a.head + k, a.heads)];
        sum += d * d;
        a.p[i] = a.x[i];
    }
    sum = lsnni_block_sum(room, sum);
    if (threadIdx.x == 0) *a.loss = a.weight * sum / a.c / a.now->total;
}

LSNNI_KERNEL(lsnni_cuda_mse_backward, lsnni_cuda_loss)
{
    LSNNI_EACH(i, (size_t)a.n * a.c);
    int n = (int)(i / (size_t)a.c), k = (int)(i % (size_t)a.c);
    lsnn_real g = LSNNI_R(2 * a.weight / a.now->total / a.c) *
                  (a.x[i] - a.targets[lsnni_at2(n, a.head + k, a.heads)]);
    a.dx[i] = a.add ? a.dx[i] + g : g;
}

LSNNI_CUDA lsnn_status lsnni_cuda_forward_mse(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_loss a = lsnni_cuda_loss_of(c);
    a.heads = c->target_count;
    if (!c->targets || a.head > c->target_count - a.c)
        return lsnn_fail(cx, LSNN_ESHAPE, "mse: needs %d targets of each sample from number %d "
                         "on, the batch has %d", a.c, a.head, c->targets ? c->target_count : 0);
    LSNNI_LAUNCH(cx, c->device, lsnni_cuda_mse_forward, 1, LSNNI_THREADS, a);
    return LSNN_OK;
}

LSNNI_CUDA lsnn_status lsnni_cuda_backward_mse(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_loss a = lsnni_cuda_loss_of(c);
    a.heads = c->target_count;
    if (a.dx) LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_mse_backward, lsnni_area(a.n, a.c), a);
    return LSNN_OK;
}
