/* ---- >>cuda smooth: theta -> U by a block a map, then U on a by a thread a number
   y[n,k,p] = sum_l U[k,l,p] a[n,k,l,p] + b[k]       U = sum_m w_m G_m,  G = scale exp(e - shift)
   Backward first makes dL/dU, a map each, then dtheta from it as the naive pair does: its sums
   over pixels are a block's (>>smooth, >>bells). a's gradient comes last: it may be dy. */
typedef struct lsnni_cuda_smooth {
    lsnn_smoother s;
    lsnni_family family;             /* of s.shape                            */
    int maps, parts, stride, numbers, rank, add, add_theta;
    lsnn_real *y, *u, *du, *da, *dtheta, *db;
    const lsnn_real *a, *theta, *b, *dy;
} lsnni_cuda_smooth;

/* Gaussian m of the map whose theta this is, the same in all threads.        */
LSNNI_DEVICE_ONLY lsnni_bell lsnni_cuda_bell(const lsnni_cuda_smooth *a, const lsnn_real *theta,
                                             int m, double *room)
{
    int count = a->s.h * a->s.w;
    double sum = 0, most = -HUGE_VAL, slope[LSNNI_NUMBERS];
    lsnni_bell g;
    for (int i = 0; i < LSNNI_NUMBERS; i++) g.t[i] = 0;
    for (int i = 0; i < a->family.count; i++)
        g.t[a->family.number[i]] = (double)theta[m * a->stride + i];
    for (int i = 0; i < a->parts && a->parts > 1; i++)
        sum += exp((double)theta[(i + 1) * a->stride - 1] - (double)theta[(m + 1) * a->stride - 1]);
    g.weight = a->parts > 1 ? 1 / sum : 1;
    g.shift = 0;
    g.scale = 1;
    if (a->s.normalise == LSNN_NORMALISE_NONE) return g;
    for (int p = (int)threadIdx.x; p < count; p += LSNNI_THREADS) {
        double e = lsnni_bell_exponent(&g, &a->s, p, slope);
        most = e > most ? e : most;
    }
    g.shift = lsnni_block_most(room, most);
    sum = 0;
    for (int p = (int)threadIdx.x; p < count; p += LSNNI_THREADS)
        sum += lsnni_bell_at(&g, &a->s, p);
    sum = lsnni_block_sum(room, sum);
    g.scale = (a->s.normalise == LSNN_NORMALISE_MEAN ? count : 1) / sum;
    return g;
}

LSNNI_KERNEL(lsnni_cuda_smooth_map, lsnni_cuda_smooth)
{
    LSNNI_SHARED double room[LSNNI_ROOM];
    int count = a.s.h * a.s.w, map = (int)blockIdx.x;
    const lsnn_real *theta = a.theta + lsnni_at2(map, 0, a.numbers);
    lsnn_real *u = a.u + lsnni_at2(map, 0, count);
    for (int p = (int)threadIdx.x; p < count; p += LSNNI_THREADS)
        u[p] = a.s.shape == LSNN_TABLE ? theta[p] : 0;
    for (int m = 0; m < a.parts && a.s.shape != LSNN_TABLE; m++) {
        lsnni_bell g = lsnni_cuda_bell(&a, theta, m, room);
        for (int p = (int)threadIdx.x; p < count; p += LSNNI_THREADS)
            u[p] += LSNNI_R(g.weight * lsnni_bell_at(&g, &a.s, p));
    }
}

/* The map of image n, channel k, rank l.                                      */
LSNNI_BOTH int lsnni_cuda_map_of(const lsnni_cuda_smooth *a, int n, int k, int l)
{
    return ((a->s.per_image ? n : 0) * a->s.k + k) * a->rank + l;
}

LSNNI_KERNEL(lsnni_cuda_smooth_apply, lsnni_cuda_smooth)
{
    int count = a.s.h * a.s.w;
    LSNNI_EACH(i, (size_t)a.s.n * a.s.k * count);
    int p = (int)(i % (size_t)count), k = (int)(i / (size_t)count) % a.s.k;
    int n = (int)(i / (size_t)count) / a.s.k;
    lsnn_real sum = 0;
    for (int l = 0; l < a.rank; l++) {
        lsnn_real map = a.u[lsnni_at2(lsnni_cuda_map_of(&a, n, k, l), p, count)];
        sum += map * a.a[lsnni_at4(n, k, a.s.k, l, a.rank, p, count)];
        if (a.b && a.s.smooth_bias) sum += map * a.b[k];
    }
    a.y[i] = sum + (a.b && !a.s.smooth_bias ? a.b[k] : 0);
}

/* dL/dU of a map at pixel p: over all images that use it.                     */
LSNNI_KERNEL(lsnni_cuda_smooth_du, lsnni_cuda_smooth)
{
    int count = a.s.h * a.s.w;
    LSNNI_EACH(i, (size_t)a.maps * count);
    int p = (int)(i % (size_t)count), map = (int)(i / (size_t)count);
    int l = map % a.rank, k = map / a.rank % a.s.k, image = map / a.rank / a.s.k;
    double sum = 0;
    for (int n = a.s.per_image ? image : 0; n < (a.s.per_image ? image + 1 : a.s.n); n++) {
        double product = (double)a.a[lsnni_at4(n, k, a.s.k, l, a.rank, p, count)];
        if (a.b && a.s.smooth_bias) product += (double)a.b[k];
        sum += (double)a.dy[lsnni_at3(n, k, a.s.k, p, count)] * product;
    }
    a.du[i] = LSNNI_R(sum);
}

LSNNI_KERNEL(lsnni_cuda_smooth_theta, lsnni_cuda_smooth)
{
    LSNNI_SHARED double room[LSNNI_ROOM];
    int count = a.s.h * a.s.w, map = (int)blockIdx.x, set = a.s.per_image && !a.add_theta;
    const lsnn_real *theta = a.theta + lsnni_at2(map, 0, a.numbers);
    const lsnn_real *u = a.u + lsnni_at2(map, 0, count), *du = a.du + lsnni_at2(map, 0, count);
    lsnn_real *dtheta = a.dtheta + lsnni_at2(map, 0, a.numbers);
    for (int p = (int)threadIdx.x; p < count && a.s.shape == LSNN_TABLE; p += LSNNI_THREADS)
        dtheta[p] = du[p] + (set ? 0 : dtheta[p]);
    for (int m = 0; m < a.parts && a.s.shape != LSNN_TABLE; m++) {
        lsnni_bell g = lsnni_cuda_bell(&a, theta, m, room);
        double dt[LSNNI_NUMBERS + 1] = { 0, 0, 0, 0, 0, 0 }, slope[LSNNI_NUMBERS];
        double sum = 0, middle = 0;
        for (int p = (int)threadIdx.x; p < count; p += LSNNI_THREADS) {
            double bell = lsnni_bell_at(&g, &a.s, p);
            sum += bell;
            middle += bell * (double)du[p];
        }
        sum = lsnni_block_sum(room, sum);
        middle = lsnni_block_sum(room, middle) / sum;
        if (a.s.normalise == LSNN_NORMALISE_NONE) middle = 0;
        for (int p = (int)threadIdx.x; p < count; p += LSNNI_THREADS) {
            double bell = lsnni_bell_at(&g, &a.s, p);
            double de = g.weight * bell * ((double)du[p] - middle);
            lsnni_bell_exponent(&g, &a.s, p, slope);
            for (int i = 0; i < LSNNI_NUMBERS; i++) dt[i] += de * slope[i];
            dt[LSNNI_NUMBERS] += g.weight * (bell - (double)u[p]) * (double)du[p];
        }
        for (int i = 0; i < a.stride; i++) {             /* the last of a mixture: its logit */
            lsnn_real *to = dtheta + m * a.stride + i;
            double v = lsnni_block_sum(room, dt[i < a.family.count ? a.family.number[i]
                                                                   : LSNNI_NUMBERS]);
            if (threadIdx.x == 0) *to = LSNNI_R(v) + (set ? 0 : *to);
        }
    }
}

/* A block a kernel.                                                           */
LSNNI_KERNEL(lsnni_cuda_smooth_db, lsnni_cuda_smooth)
{
    LSNNI_SHARED double room[LSNNI_ROOM];
    int count = a.s.h * a.s.w, k = (int)blockIdx.x;
    double sum = 0;
    for (size_t i = threadIdx.x; i < (size_t)a.s.n * count; i += LSNNI_THREADS) {
        int n = (int)(i / (size_t)count), p = (int)(i % (size_t)count);
        double g = (double)a.dy[lsnni_at3(n, k, a.s.k, p, count)], maps = 0;
        for (int l = 0; l < a.rank && a.s.smooth_bias; l++)
            maps += (double)a.u[lsnni_at2(lsnni_cuda_map_of(&a, n, k, l), p, count)];
        sum += a.s.smooth_bias ? g * maps : g;
    }
    sum = lsnni_block_sum(room, sum);
    if (threadIdx.x == 0) a.db[k] += LSNNI_R(sum);
}

/* A thread reads dy and then writes all that it makes of it: with rank 1 that is its place. */
LSNNI_KERNEL(lsnni_cuda_smooth_da, lsnni_cuda_smooth)
{
    int count = a.s.h * a.s.w;
    LSNNI_EACH(i, (size_t)a.s.n * a.s.k * count);
    int p = (int)(i % (size_t)count), k = (int)(i / (size_t)count) % a.s.k;
    int n = (int)(i / (size_t)count) / a.s.k;
    lsnn_real g = a.dy[i];
    for (int l = 0; l < a.rank; l++) {
        lsnn_real *da = a.da + lsnni_at4(n, k, a.s.k, l, a.rank, p, count);
        lsnn_real v = g * a.u[lsnni_at2(lsnni_cuda_map_of(&a, n, k, l), p, count)];
        *da = a.add ? *da + v : v;
    }
}

static lsnni_cuda_smooth lsnni_cuda_smooth_of(const lsnn_call *c)
{
    lsnni_cuda_smooth a;
    int bias;
    memset(&a, 0, sizeof a);
    a.s = lsnni_smoother_of(c->plan, c->n, 0);
    a.family = lsnni_families[a.s.shape];
    a.rank = a.s.rank;
    a.parts = lsnni_parts(&a.s);
    a.stride = lsnni_stride(&a.s);
    a.numbers = lsnn_smoother_theta(&a.s);
    a.maps = a.s.k * a.rank * (a.s.per_image ? c->n : 1);
    bias = a.s.per_image ? 0 : 1;
    a.u = c->keep; a.y = c->y; a.a = c->x[0]; a.dy = c->dy; a.da = c->dx[0];
    a.theta = a.s.per_image ? c->x[1] : c->param[0];
    a.dtheta = a.s.per_image ? c->dx[1] : c->dparam[0];
    if (!c->plan->o.no_bias) a.b = c->param[bias];
    if (!c->plan->o.no_bias) a.db = c->dparam[bias];
    a.add = c->add[0];
    a.add_theta = c->add[1];
    return a;
}

LSNNI_CUDA lsnn_status lsnni_cuda_forward_smooth(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_smooth a = lsnni_cuda_smooth_of(c);
    LSNNI_LAUNCH(cx, c->device, lsnni_cuda_smooth_map, a.maps, LSNNI_THREADS, a);
    LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_smooth_apply,
                      lsnni_area(c->n, lsnni_features(c->plan->out)), a);
    return LSNN_OK;
}

LSNNI_CUDA lsnn_status lsnni_cuda_backward_smooth(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_smooth a = lsnni_cuda_smooth_of(c);
    size_t pixels = lsnni_area(a.maps, a.s.h * a.s.w);
    void *room = NULL;
    LSNNI_TRY(lsnni_cuda_scratch(cx, c->device, &room, pixels * sizeof *a.du));
    a.du = (lsnn_real *)room;
    if (a.dtheta) {
        LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_smooth_du, pixels, a);
        LSNNI_LAUNCH(cx, c->device, lsnni_cuda_smooth_theta, a.maps, LSNNI_THREADS, a);
    }
    if (a.db) LSNNI_LAUNCH(cx, c->device, lsnni_cuda_smooth_db, a.s.k, LSNNI_THREADS, a);
    if (a.da)
        LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_smooth_da,
                          lsnni_area(c->n, lsnni_features(c->plan->out)), a);
    return LSNN_OK;
}

/* After a step: windows of this layer's own back to where `clip` lets them be. */
typedef struct lsnni_cuda_clip {
    lsnn_real *t;
    size_t windows, stride;
    int h, w, kernel_h, kernel_w, tall;
    lsnn_clip clip;
} lsnni_cuda_clip;

LSNNI_KERNEL(lsnni_cuda_clip_kernel, lsnni_cuda_clip)
{
    LSNNI_EACH(i, a.windows);
    lsnn_real *t = a.t + i * a.stride;
    lsnni_attention_clip(t + LSNNI_AT_MU_X, t + LSNNI_AT_S_X, a.w, a.kernel_w, a.clip);
    if (a.tall)
        lsnni_attention_clip(t + LSNNI_AT_MU_Y, t + LSNNI_AT_S_Y, a.h, a.kernel_h, a.clip);
}

LSNNI_CUDA lsnn_status lsnni_cuda_project_smooth(lsnn_ctx *cx, const lsnn_projection *p)
{
    lsnn_smoother s = lsnni_smoother_of(p->plan, 1, 0);
    lsnni_cuda_clip a;
    memset(&a, 0, sizeof a);
    if (!p->plan->o.clip || !p->param[0]) return LSNN_OK;
    a.t = p->param[0];
    a.stride = (size_t)lsnni_stride(&s);
    a.windows = p->plan->param[0].count / a.stride;
    a.h = s.h; a.w = s.w; a.tall = !lsnni_attentive_1d(s.shape);
    a.kernel_h = p->plan->o.kernel_h; a.kernel_w = p->plan->o.kernel_w;
    a.clip = p->plan->o.clip;
    LSNNI_LAUNCH_EACH(cx, p->device, lsnni_cuda_clip_kernel, a.windows, a);
    return LSNN_OK;
}
