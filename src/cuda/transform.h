/* ---- >>cuda transform: affine_grid and grid_sample, as >>transform
   grid, y    a thread for each number
   dtheta     a block for each row of three, over the places
   dgrid      a thread for each place, over the channels
   dx         a thread for each pixel, which looks at all places of its image for those round it, in
              their order: no two threads add to the same number. A block brings the places' pixels
              to shared memory, so that a thread compares two ints a place. */
typedef struct lsnni_cuda_affine {
    lsnn_real *grid, *dtheta;
    const lsnn_real *theta, *dgrid;
    int n, h, w, corners, add;
} lsnni_cuda_affine;

LSNNI_KERNEL(lsnni_cuda_affine_forward, lsnni_cuda_affine)
{
    size_t area = (size_t)a.h * a.w;
    LSNNI_EACH(q, (size_t)a.n * 2 * area);
    const lsnn_real *t = a.theta + q / area * 3;
    int i = (int)(q % area) / a.w, j = (int)(q % area) % a.w;
    a.grid[q] = LSNNI_R((double)t[0] * lsnni_place(j, a.w, a.corners) +
                        (double)t[1] * lsnni_place(i, a.h, a.corners) + (double)t[2]);
}

LSNNI_KERNEL(lsnni_cuda_affine_backward, lsnni_cuda_affine)
{
    LSNNI_SHARED double room[LSNNI_ROOM];
    int area = a.h * a.w, row = (int)blockIdx.x;
    double sum[3] = { 0, 0, 0 };
    for (int p = (int)threadIdx.x; p < area; p += LSNNI_THREADS) {
        double g = (double)a.dgrid[lsnni_at2(row, p, area)];
        sum[0] += g * lsnni_place(p % a.w, a.w, a.corners);
        sum[1] += g * lsnni_place(p / a.w, a.h, a.corners);
        sum[2] += g;
    }
    for (int i = 0; i < 3; i++) {
        lsnn_real *to = a.dtheta + lsnni_at2(row, i, 3);
        sum[i] = lsnni_block_sum(room, sum[i]);
        if (threadIdx.x == 0) *to = LSNNI_R(sum[i]) + (a.add ? *to : 0);
    }
}

static lsnni_cuda_affine lsnni_cuda_affine_of(const lsnn_call *c)
{
    lsnni_cuda_affine a;
    a.grid = c->y; a.theta = c->x[0]; a.dgrid = c->dy; a.dtheta = c->dx[0];
    a.n = c->n; a.h = c->plan->out.h; a.w = c->plan->out.w;
    a.corners = c->plan->o.align_corners; a.add = c->add[0];
    return a;
}

LSNNI_CUDA lsnn_status lsnni_cuda_forward_affine_grid(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_affine a = lsnni_cuda_affine_of(c);
    LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_affine_forward,
                      lsnni_area(c->n, lsnni_features(c->plan->out)), a);
    return LSNN_OK;
}

LSNNI_CUDA lsnn_status lsnni_cuda_backward_affine_grid(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_affine a = lsnni_cuda_affine_of(c);
    if (a.dtheta)
        LSNNI_LAUNCH(cx, c->device, lsnni_cuda_affine_backward, lsnni_area(c->n, 2),
                     LSNNI_THREADS, a);
    return LSNN_OK;
}

typedef struct lsnni_cuda_sample {
    lsnn_sampler s;
    lsnn_real *y, *dx, *dgrid;
    const lsnn_real *x, *grid, *dy;
    int add, add_grid;
} lsnni_cuda_sample;

/* Where place `out` of image n reads: returns 0 if nowhere.                   */
LSNNI_BOTH int lsnni_cuda_spot(const lsnni_cuda_sample *a, int n, int out, double *px, double *py)
{
    const lsnn_sampler *s = &a->s;
    int area = s->oh * s->ow;
    *px = lsnni_grid_pixel((double)a->grid[lsnni_at3(n, 0, 2, out, area)], s->w,
                           s->align_corners);
    *py = lsnni_grid_pixel((double)a->grid[lsnni_at3(n, 1, 2, out, area)], s->h,
                           s->align_corners);
    return lsnni_in_picture(s, *px, *py);
}

LSNNI_KERNEL(lsnni_cuda_sample_forward, lsnni_cuda_sample)
{
    const lsnn_sampler *s = &a.s;
    int area = s->oh * s->ow, row, col;
    LSNNI_EACH(q, (size_t)s->n * s->c * area);
    const lsnn_real *x = a.x + q / (size_t)area * ((size_t)s->h * s->w);
    double px, py;
    lsnn_real sum = 0;
    if (!lsnni_cuda_spot(&a, (int)(q / (size_t)area) / s->c, (int)(q % (size_t)area), &px, &py)) {
        a.y[q] = px != px || py != py ? LSNNI_R(px + py) : 0;
        return;
    }
    row = (int)floor(py);
    col = (int)floor(px);
    for (int r = LSNNI_MAX(row, 0); r <= LSNNI_MIN(row + 1, s->h - 1); r++)
        for (int k = LSNNI_MAX(col, 0); k <= LSNNI_MIN(col + 1, s->w - 1); k++)
            sum += LSNNI_R((1 - fabs(py - r)) * (1 - fabs(px - k))) * x[r * s->w + k];
    a.y[q] = sum;
}

LSNNI_KERNEL(lsnni_cuda_sample_dgrid, lsnni_cuda_sample)
{
    const lsnn_sampler *s = &a.s;
    int area = s->oh * s->ow, in = s->h * s->w, row = 0, col = 0;
    LSNNI_EACH(q, (size_t)s->n * area);
    int n = (int)(q / (size_t)area), out = (int)(q % (size_t)area);
    lsnn_real *to = a.dgrid + lsnni_at3(n, 0, 2, out, area);
    double px, py, dp[2] = { 0, 0 };
    int some = lsnni_cuda_spot(&a, n, out, &px, &py);
    if (some) row = (int)floor(py);
    if (some) col = (int)floor(px);
    for (int c = 0; c < s->c && some; c++) {
        const lsnn_real *x = a.x + lsnni_at3(n, c, s->c, 0, in);
        double dy = (double)a.dy[lsnni_at3(n, c, s->c, out, area)];
        for (int r = LSNNI_MAX(row, 0); r <= LSNNI_MIN(row + 1, s->h - 1); r++)
            for (int k = LSNNI_MAX(col, 0); k <= LSNNI_MIN(col + 1, s->w - 1); k++) {
                double by_y = 1 - fabs(py - r), by_x = 1 - fabs(px - k);
                dp[0] += dy * (double)x[r * s->w + k] * (k > col ? by_y : -by_y);
                dp[1] += dy * (double)x[r * s->w + k] * (r > row ? by_x : -by_x);
            }
    }
    dp[0] *= lsnni_half_side(s->w, s->align_corners);
    dp[1] *= lsnni_half_side(s->h, s->align_corners);
    for (int k = 0; k < 2; k++, to += area) *to = LSNNI_R(dp[k]) + (a.add_grid ? *to : 0);
}

/* A block has LSNNI_THREADS pixels of one image.                              */
LSNNI_KERNEL(lsnni_cuda_sample_dx, lsnni_cuda_sample)
{
    LSNNI_SHARED double px[LSNNI_THREADS], py[LSNNI_THREADS];
    LSNNI_SHARED int row[LSNNI_THREADS], col[LSNNI_THREADS];
    const lsnn_sampler *s = &a.s;
    int in = s->h * s->w, area = s->oh * s->ow, me = (int)threadIdx.x;
    int blocks = (in + LSNNI_THREADS - 1) / LSNNI_THREADS, n = (int)blockIdx.x / blocks;
    int pixel = (int)blockIdx.x % blocks * LSNNI_THREADS + me;
    int r = pixel / s->w, k = pixel % s->w;
    lsnn_real *dx = a.dx + lsnni_at3(n, 0, s->c, pixel, in);
    for (int c = 0; c < s->c && pixel < in && !a.add; c++) dx[(size_t)c * in] = 0;
    for (int first = 0; first < area; first += LSNNI_THREADS) {
        row[me] = col[me] = -2;      /* beside no pixel                       */
        if (first + me < area && lsnni_cuda_spot(&a, n, first + me, &px[me], &py[me])) {
            row[me] = (int)floor(py[me]);
            col[me] = (int)floor(px[me]);
        }
        __syncthreads();
        for (int i = 0; i < LSNNI_THREADS && pixel < in; i++) {
            const lsnn_real *dy = a.dy + lsnni_at3(n, 0, s->c, first + i, area);
            lsnn_real by;
            if ((r != row[i] && r != row[i] + 1) || (k != col[i] && k != col[i] + 1)) continue;
            by = LSNNI_R((1 - fabs(py[i] - r)) * (1 - fabs(px[i] - k)));
            for (int c = 0; c < s->c; c++) dx[(size_t)c * in] += by * dy[(size_t)c * area];
        }
        __syncthreads();
    }
}

static lsnni_cuda_sample lsnni_cuda_sample_of(const lsnn_call *c)
{
    lsnni_cuda_sample a;
    memset(&a, 0, sizeof a);
    a.s = lsnni_sampler_of(c->plan, c->n);
    a.y = c->y; a.x = c->x[0]; a.grid = c->x[1]; a.dy = c->dy;
    a.dx = c->dx[0]; a.dgrid = c->dx[1];
    a.add = c->add[0]; a.add_grid = c->add[1];
    return a;
}

LSNNI_CUDA lsnn_status lsnni_cuda_forward_grid_sample(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_sample a = lsnni_cuda_sample_of(c);
    LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_sample_forward,
                      lsnni_area(c->n, lsnni_features(c->plan->out)), a);
    return LSNN_OK;
}

LSNNI_CUDA lsnn_status lsnni_cuda_backward_grid_sample(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_sample a = lsnni_cuda_sample_of(c);
    size_t blocks = lsnni_area(c->n, lsnni_div_up(a.s.h * a.s.w, LSNNI_THREADS));
    if (a.dgrid)
        LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_sample_dgrid,
                          lsnni_area(c->n, a.s.oh * a.s.ow), a);
    if (a.dx) LSNNI_LAUNCH(cx, c->device, lsnni_cuda_sample_dx, blocks, LSNNI_THREADS, a);
    return LSNN_OK;
}
