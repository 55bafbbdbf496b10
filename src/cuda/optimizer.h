/* ---- >>cuda optimizer: three launches over the one block of parameters (>>optimizers)
   A block of threads a chunk, each of which belongs to one parameter: the penalties and |g|^2 of
   its part; then one block adds the parts, in order; then all chunks are updated. */
LSNNI_KERNEL(lsnni_cuda_norm_parts, lsnni_device_step)
{
    LSNNI_SHARED double room[LSNNI_ROOM];
    const lsnni_slot c = a.chunk[blockIdx.x];
    double sum = 0;
    for (int i = (int)threadIdx.x; i < c.count; i += LSNNI_THREADS) {
        lsnn_real *g = a.grad + c.at + i;
        if (c.l2 > 0 && c.lr_factor > 0 &&
            (!c.l2_every || (c.l2_mask >> ((i + c.l2_from) % c.l2_every) & 1)))
            *g += LSNNI_R(c.l2 * (double)a.value[c.at + i]);
        sum += (double)*g * (double)*g;
    }
    sum = lsnni_block_sum(room, sum);
    if (threadIdx.x == 0) a.part[blockIdx.x] = sum;
}

typedef struct lsnni_cuda_norm { lsnni_device_step s; lsnni_told *told; const lsnn_now *now; }
    lsnni_cuda_norm;

/* *scale: the clipping, or 0 and an answer if a gradient is not finite.      */
LSNNI_KERNEL(lsnni_cuda_norm_all, lsnni_cuda_norm)
{
    LSNNI_SHARED double room[LSNNI_ROOM];
    double sum = 0;
    for (int i = (int)threadIdx.x; i < a.s.chunks; i += LSNNI_THREADS) sum += a.s.part[i];
    sum = lsnni_block_sum(room, sum);
    if (threadIdx.x > 0) return;
    *a.s.scale = 1;
    if (a.s.clip > 0 && a.s.clip < sqrt(sum) + 1e-6) *a.s.scale = a.s.clip / (sqrt(sum) + 1e-6);
    if (a.told->bad) return;
    for (int i = 0; !(sum <= DBL_MAX) && i < a.s.chunks; i++)
        if (!(a.s.part[i] <= DBL_MAX) && !a.told->bad) {
            a.told->bad = 1 + a.s.chunk[i].param;
            a.told->bad_step = a.now->step;
        }
}

/* sgd and adam are >>updates', number by number; the gradient is 0 then.      */
LSNNI_KERNEL(lsnni_cuda_update, lsnni_cuda_norm)
{
    const lsnni_device_step *s = &a.s;
    const lsnni_slot c = s->chunk[blockIdx.x];
    double lr = a.now->lr * c.lr_factor;
    const lsnn_real scale = LSNNI_R(*s->scale), l = LSNNI_R(lr), m = LSNNI_R(s->momentum);
    const lsnn_real d = LSNNI_R(s->method == LSNN_ADAMW ? 0 : c.decay);
    const lsnn_real keep = LSNNI_R(s->method == LSNN_ADAMW ? 1 - lr * c.decay : 1);
    if (a.told->bad) return;
    for (int i = (int)threadIdx.x; i < c.count; i += LSNNI_THREADS) {
        size_t at = c.at + i;
        lsnn_real g = s->grad[at], w = s->value[at], e = scale * g + d * w;
        s->grad[at] = 0;
        if (!(c.lr_factor > 0)) continue;
        if (s->method == LSNN_SGD && !s->m) w -= l * e;
        else if (s->method == LSNN_SGD) {
            lsnn_real u = m * s->m[at] + e;
            s->m[at] = u;
            w -= l * (s->nesterov ? e + m * u : u);
        } else {
            lsnn_real u = LSNNI_R(s->b1) * s->m[at] + LSNNI_R(1 - s->b1) * e;
            lsnn_real q = LSNNI_R(s->b2) * s->v[at] + LSNNI_R(1 - s->b2) * e * e;
            s->m[at] = u;
            s->v[at] = q;
            w = keep * w - LSNNI_R(lr * a.now->c1) * u /
                (LSNNI_R(sqrt((double)(q * LSNNI_R(a.now->c2)))) + LSNNI_R(s->eps));
        }
        s->value[at] = w;
    }
}

LSNNI_CUDA lsnn_status lsnni_cuda_step(lsnn_ctx *cx, lsnni_device *d, const lsnni_device_step *s)
{
    lsnni_cuda_norm a;
    a.s = *s;
    a.told = d->told;
    a.now = d->now;
    if (!s->chunks) return LSNN_OK;
    LSNNI_LAUNCH(cx, &d->on, lsnni_cuda_norm_parts, s->chunks, LSNNI_THREADS, a.s);
    LSNNI_LAUNCH(cx, &d->on, lsnni_cuda_norm_all, 1, LSNNI_THREADS, a);
    LSNNI_LAUNCH(cx, &d->on, lsnni_cuda_update, s->chunks, LSNNI_THREADS, a);
    return LSNN_OK;
}
