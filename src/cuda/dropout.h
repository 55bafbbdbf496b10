/* ---- >>cuda dropout: a thread for four elements of an image, which one block of Philox serves
   y = x m / (1 - rate), m = 0 with probability rate, else 1; dx (+)= dy m / (1 - rate). The
   draws are the CPU's; of their address only step and sample change, and are in lsnn_now. */
typedef struct lsnni_cuda_drop {
    lsnn_real *y;
    const lsnn_real *x;
    const lsnn_now *now;
    uint32_t key[2], stream, limit;
    lsnn_real scale;
    int n, count, fours, add;        /* of an image: elements, groups of four */
} lsnni_cuda_drop;

LSNNI_KERNEL(lsnni_cuda_drop_kernel, lsnni_cuda_drop)
{
    uint32_t draw[4], counter[4];
    LSNNI_EACH(i, (size_t)a.n * a.fours);
    int n = (int)(i / (size_t)a.fours), four = (int)(i % (size_t)a.fours);
    counter[0] = (uint32_t)four;
    counter[1] = a.now->sample + (uint32_t)n;
    counter[2] = a.now->step;
    counter[3] = a.stream;
    lsnni_philox(a.key, counter, draw);
    for (int q = 0; q < 4 && 4 * four + q < a.count; q++) {
        size_t at = lsnni_at2(n, 4 * four + q, a.count);
        lsnn_real v = draw[q] >= a.limit ? a.x[at] * a.scale : 0;
        a.y[at] = a.add ? a.y[at] + v : v;
    }
}

static lsnn_status lsnni_cuda_drop_run(lsnn_ctx *cx, const lsnn_call *c, lsnn_real *y,
                                       const lsnn_real *x, int add)
{
    lsnni_cuda_drop a;
    memset(&a, 0, sizeof a);
    a.y = y; a.x = x; a.add = add; a.n = c->n;
    a.now = c->device->now;
    a.key[0] = c->rng.key[0]; a.key[1] = c->rng.key[1]; a.stream = c->rng.stream;
    a.limit = (uint32_t)(c->plan->o.rate * 4294967296.0);
    a.scale = LSNNI_R(1 / (1 - c->plan->o.rate));
    a.count = lsnni_features(c->plan->in[0]);
    a.fours = lsnni_div_up(a.count, 4);
    LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_drop_kernel, lsnni_area(a.n, a.fours), a);
    return LSNN_OK;
}

LSNNI_CUDA lsnn_status lsnni_cuda_forward_dropout(lsnn_ctx *cx, lsnn_call *c)
{
    size_t count = lsnni_call_count(c);
    if (c->training) return lsnni_cuda_drop_run(cx, c, c->y, c->x[0], LSNN_SET);
    if (c->y == c->x[0]) return LSNN_OK;
    return lsnni_cuda_rows(cx, c->device, c->y, count, c->x[0], count, 1, count, LSNN_SET);
}

LSNNI_CUDA lsnn_status lsnni_cuda_backward_dropout(lsnn_ctx *cx, lsnn_call *c)
{
    return c->dx[0] ? lsnni_cuda_drop_run(cx, c, c->dx[0], c->dy, c->add[0]) : LSNN_OK;
}
