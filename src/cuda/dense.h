/* ---- >>cuda dense: three products, by cuBLAS
   y[n,k] = b[k] + sum_c w[k,c] x[n,c]     dx = dy w     dw += dy' x     db[k] += sum_n dy[n,k] */
typedef struct lsnni_cuda_dense {
    lsnn_real *y, *db;
    const lsnn_real *b, *dy;
    int n, k;
} lsnni_cuda_dense;

LSNNI_KERNEL(lsnni_cuda_dense_bias, lsnni_cuda_dense)
{
    LSNNI_EACH(i, (size_t)a.n * a.k);
    a.y[i] += a.b[i % (size_t)a.k];
}

LSNNI_KERNEL(lsnni_cuda_dense_db, lsnni_cuda_dense)
{
    LSNNI_EACH(k, a.k);
    double sum = 0;
    for (int n = 0; n < a.n; n++) sum += (double)a.dy[lsnni_at2(n, (int)k, a.k)];
    a.db[k] += LSNNI_R(sum);
}

LSNNI_CUDA lsnn_status lsnni_cuda_forward_dense(lsnn_ctx *cx, lsnn_call *c)
{
    int in = lsnni_features(c->plan->in[0]);
    lsnni_cuda_dense a;
    memset(&a, 0, sizeof a);
    a.y = c->y; a.b = c->param[1]; a.n = c->n; a.k = c->plan->out.c;
    LSNNI_TRY(lsnni_cuda_gemm(cx, c->device, 0, 1, a.n, a.k, in, c->x[0], in, c->param[0], in,
                              LSNN_SET, c->y, a.k));
    if (a.b)
        LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_dense_bias, lsnni_area(a.n, a.k), a);
    return LSNN_OK;
}

LSNNI_CUDA lsnn_status lsnni_cuda_backward_dense(lsnn_ctx *cx, lsnn_call *c)
{
    int in = lsnni_features(c->plan->in[0]);
    lsnni_cuda_dense a;
    memset(&a, 0, sizeof a);
    a.dy = c->dy; a.db = c->dparam[1]; a.n = c->n; a.k = c->plan->out.c;
    if (c->dx[0])
        LSNNI_TRY(lsnni_cuda_gemm(cx, c->device, 0, 0, a.n, in, a.k, c->dy, a.k, c->param[0], in,
                                  c->add[0], c->dx[0], in));
    if (c->dparam[0])
        LSNNI_TRY(lsnni_cuda_gemm(cx, c->device, 1, 0, a.k, in, a.n, c->dy, a.k, c->x[0], in,
                                  LSNN_ADD, c->dparam[0], in));
    if (a.db) LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_dense_db, (size_t)a.k, a);
    return LSNN_OK;
}
