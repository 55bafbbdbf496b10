/* ---- >>cuda lp_pool: y = (sum |x_i|^p)^(1/p), as >>lp_pool; a thread for each output
   dx_i (+)= sum dy sign(x_i) (|x_i| / y)^(p-1)  a thread for each pixel, over its windows
   dp         = sum dy (y / p) sum r^p log r     r = |x_i| / y; a block for each map, and then
   drho      += dp / (1 + e^-rho)                a thread for each rho, over its maps */
typedef struct lsnni_cuda_lp {
    lsnn_window s;
    double norm;                     /* p, if it is not learned               */
    lsnn_real *y, *dx, *dp, *drho;   /* dp: a number a map                    */
    const lsnn_real *x, *out, *dy, *rho;
    int add, of_map;                 /* of_map: rho is a number a map         */
} lsnni_cuda_lp;

LSNNI_BOTH double lsnni_cuda_lp_norm(const lsnni_cuda_lp *a, int c)
{
    if (!a->rho) return a->norm;
    return (double)LSNNI_R(lsnni_lp_of_rho((double)a->rho[a->of_map ? c : 0]));
}

/* The part of window (i, j) inside the image.                                 */
LSNNI_BOTH void lsnni_cuda_lp_box(const lsnn_window *s, int i, int j, int box[4])
{
    lsnni_pool_side(i, s->stride_h, s->pad_top, s->kernel_h, s->h, &box[0], &box[1]);
    lsnni_pool_side(j, s->stride_w, s->pad_left, s->kernel_w, s->w, &box[2], &box[3]);
}

LSNNI_KERNEL(lsnni_cuda_lp_forward, lsnni_cuda_lp)
{
    const lsnn_window *s = &a.s;
    size_t out = (size_t)s->oh * s->ow;
    LSNNI_EACH(q, (size_t)s->n * s->c * out);
    const lsnn_real *x = a.x + q / out * ((size_t)s->h * s->w);
    double p = lsnni_cuda_lp_norm(&a, (int)(q / out % (size_t)s->c)), most = 0, sum = 0;
    int box[4];
    lsnni_cuda_lp_box(s, (int)(q % out) / s->ow, (int)(q % out) % s->ow, box);
    for (int i = box[0]; i < box[1]; i++)
        for (int j = box[2]; j < box[3]; j++) {
            double size = fabs((double)x[i * s->w + j]);
            if (size > most || size != size) most = size;       /* NaN wins, and stays */
        }
    for (int i = box[0]; i < box[1] && most > 0; i++)
        for (int j = box[2]; j < box[3]; j++)
            sum += pow(fabs((double)x[i * s->w + j]) / most, p);
    a.y[q] = LSNNI_R(most > 0 ? most * pow(sum, 1 / p) : most);
}

LSNNI_KERNEL(lsnni_cuda_lp_dx, lsnni_cuda_lp)
{
    const lsnn_window *s = &a.s;
    size_t in = (size_t)s->h * s->w, out = (size_t)s->oh * s->ow;
    LSNNI_EACH(q, (size_t)s->n * s->c * in);
    int pixel = (int)(q % in), i0, i1, j0, j1;
    const lsnn_real *y = a.out + q / in * out, *dy = a.dy + q / in * out;
    double p = lsnni_cuda_lp_norm(&a, (int)(q / in % (size_t)s->c)), v = (double)a.x[q], sum = 0;
    lsnni_windows_over(pixel / s->w, s->stride_h, s->pad_top, s->kernel_h, s->oh, &i0, &i1);
    lsnni_windows_over(pixel % s->w, s->stride_w, s->pad_left, s->kernel_w, s->ow, &j0, &j1);
    for (int i = i0; i <= i1 && !(v <= 0 && v >= 0); i++)
        for (int j = j0; j <= j1; j++)
            sum += (double)dy[i * s->ow + j] * pow(fabs(v) / (double)y[i * s->ow + j], p - 1);
    a.dx[q] = LSNNI_R(v < 0 ? -sum : sum) + (a.add ? a.dx[q] : 0);
}

LSNNI_KERNEL(lsnni_cuda_lp_dp, lsnni_cuda_lp)
{
    LSNNI_SHARED double room[LSNNI_ROOM];
    const lsnn_window *s = &a.s;
    int area = s->oh * s->ow, c = (int)blockIdx.x, box[4];
    double p = lsnni_cuda_lp_norm(&a, c), all = 0;
    for (size_t q = threadIdx.x; q < (size_t)s->n * area; q += LSNNI_THREADS) {
        int n = (int)(q / (size_t)area), window = (int)(q % (size_t)area);
        size_t out = lsnni_at3(n, c, s->c, window, area);
        const lsnn_real *x = a.x + lsnni_at4(n, c, s->c, 0, s->h, 0, s->w);
        double y = (double)a.out[out], sum = 0;
        lsnni_cuda_lp_box(s, window / s->ow, window % s->ow, box);
        for (int i = box[0]; i < box[1]; i++)
            for (int j = box[2]; j < box[3]; j++) {
                double v = (double)x[i * s->w + j], ratio = fabs(v) / y;
                if (!(v <= 0 && v >= 0)) sum += pow(ratio, p) * log(ratio);
            }
        all += (double)a.dy[out] * y / p * sum;
    }
    all = lsnni_block_sum(room, all);
    if (threadIdx.x == 0) a.dp[c] = LSNNI_R(all);
}

LSNNI_KERNEL(lsnni_cuda_lp_drho, lsnni_cuda_lp)
{
    LSNNI_EACH(i, a.of_map ? a.s.c : 1);
    double sum = 0;
    for (int c = a.of_map ? (int)i : 0; c < (a.of_map ? (int)i + 1 : a.s.c); c++)
        sum += (double)a.dp[c];
    a.drho[i] += LSNNI_R(sum / (1 + exp(-(double)a.rho[i])));
}

static lsnn_status lsnni_cuda_lp_of(lsnn_ctx *cx, lsnni_cuda_lp *a, const lsnn_call *c)
{
    memset(a, 0, sizeof *a);
    a->y = c->y; a->x = c->x[0]; a->out = c->y; a->dy = c->dy; a->dx = c->dx[0];
    a->dp = c->keep + c->plan->in[0].c;
    a->norm = (double)LSNNI_R(c->plan->o.norm);
    if (c->plan->params) a->rho = c->param[0];
    if (c->plan->params) a->drho = c->dparam[0];
    a->of_map = c->plan->o.learn_norm == LSNN_NORM_OF_MAP;
    a->add = c->add[0];
    return lsnni_call_window(cx, &a->s, c);
}

LSNNI_CUDA lsnn_status lsnni_cuda_forward_lp_pool(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_lp a;
    LSNNI_TRY(lsnni_cuda_lp_of(cx, &a, c));
    LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_lp_forward,
                      lsnni_area(c->n, lsnni_features(c->plan->out)), a);
    return LSNN_OK;
}

LSNNI_CUDA lsnn_status lsnni_cuda_backward_lp_pool(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_lp a;
    LSNNI_TRY(lsnni_cuda_lp_of(cx, &a, c));
    if (a.drho) {
        LSNNI_LAUNCH(cx, c->device, lsnni_cuda_lp_dp, a.s.c, LSNNI_THREADS, a);
        LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_lp_drho, c->plan->param[0].count, a);
    }
    if (a.dx) LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_lp_dx, lsnni_call_count(c), a);
    return LSNN_OK;
}
