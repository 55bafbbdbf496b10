/* ---- >>transform: affine_grid and grid_sample, a spatial transformer ---------------
   Jaderberg et al. 2015, as PyTorch has it. Places in a picture run from -1 to 1, x from left
   to right and y from top to bottom; -1 and 1 are its edges, or with align_corners the centres
   of its outermost pixels:
       u(j) = (2 j + 1) / W - 1     or  2 j / (W - 1) - 1 (W = 1: 0)      where pixel j is
       p(x) = ((x + 1) W - 1) / 2   or  (x + 1) (W - 1) / 2               which pixel is at x
   affine_grid: where pixel (i, j) of the output comes from
       x = t0 u(j) + t1 u(i) + t2      y = t3 u(j) + t4 u(i) + t5
       dtheta (+)= sum over i, j of dgrid times what that number is multiplied with
       theta N,6   grid N,2,OH,OW: a map of x, one of y
   grid_sample: the four pixels round that place, each by how near it is (bilinear)
       y[n,c,i,j] = sum over r, s of (1 - |p(y) - r|) (1 - |p(x) - s|) x[n,c,r,s]
       dx and dgrid are what this sum says; beyond the picture x is 0
       x N,C,H,W   grid N,2,OH,OW   y N,C,OH,OW
   A place that is not a number gives such a y: lsnn_forward then says so, instead of learning
   nothing. 4*OH*OW multiply-adds an image for the grid, 4*C*OH*OW for the picture. */
static lsnn_status lsnni_corners_check(lsnn_ctx *cx, const char *who, int corners)
{
    if (corners == 0 || corners == 1) return LSNN_OK;
    return lsnni_fail(cx, LSNN_EVALUE, "%s: align_corners is %d, it must be 0 or 1", who,
                      corners);
}

/* ---- affine_grid: plain loops, for a grid costs little beside what is done with it. */
LSNN_API lsnn_status lsnn_affine_grid_forward(lsnn_ctx *cx, lsnn_real *grid,
                                              const lsnn_real *theta, int n, int h, int w,
                                              int align_corners)
{
    LSNNI_TRY(lsnni_sizes3(cx, "affine_grid (images x rows x columns)", n, h, w));
    LSNNI_TRY(lsnni_corners_check(cx, "affine_grid", align_corners));
    for (int l = 0; l < n; l++)
    for (int k = 0; k < 2; k++)
    for (int i = 0; i < h; i++)
    for (int j = 0; j < w; j++) {
        const lsnn_real *t = theta + lsnni_at3(l, k, 2, 0, 3);
        grid[lsnni_at4(l, k, 2, i, h, j, w)] =
            LSNNI_R((double)t[0] * lsnni_place(j, w, align_corners) +
                    (double)t[1] * lsnni_place(i, h, align_corners) + (double)t[2]);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_affine_grid_backward(lsnn_ctx *cx, lsnn_real *dtheta,
                                               const lsnn_real *dgrid, int n, int h, int w,
                                               int align_corners, int add)
{
    LSNNI_TRY(lsnni_sizes3(cx, "affine_grid (images x rows x columns)", n, h, w));
    LSNNI_TRY(lsnni_corners_check(cx, "affine_grid", align_corners));
    lsnni_clear(dtheta, lsnni_area(n, 6), add);
    for (int l = 0; l < n && dtheta; l++)
    for (int k = 0; k < 2; k++) {
        lsnn_real *dt = dtheta + lsnni_at3(l, k, 2, 0, 3);
        double sum[3] = { 0, 0, 0 };
        for (int i = 0; i < h; i++)
        for (int j = 0; j < w; j++) {
            double g = (double)dgrid[lsnni_at4(l, k, 2, i, h, j, w)];
            sum[0] += g * lsnni_place(j, w, align_corners);
            sum[1] += g * lsnni_place(i, h, align_corners);
            sum[2] += g;
        }
        for (int m = 0; m < 3; m++) dt[m] += LSNNI_R(sum[m]);
    }
    return LSNN_OK;
}

static lsnn_status lsnni_sampler_check(lsnn_ctx *cx, const lsnn_sampler *s)
{
    LSNNI_TRY(lsnni_sizes3(cx, "grid_sample (images x rows x columns of the grid)", s->n, s->oh,
                           s->ow));
    LSNNI_TRY(lsnni_sizes3(cx, "grid_sample (channels x rows x columns)", s->c, s->h, s->w));
    LSNNI_TRY(lsnni_sizes3(cx, "grid_sample (channels x rows x columns of the grid)", s->c,
                           s->oh, s->ow));
    if ((double)s->c * s->h * s->w > INT32_MAX / 4 ||
        (double)s->c * s->oh * s->ow > INT32_MAX / 4)
        return lsnni_fail(cx, LSNN_ESHAPE, "grid_sample: input %dx%dx%d, grid %dx%d: an image "
                          "has over 2^29 numbers", s->c, s->h, s->w, s->oh, s->ow);
    return lsnni_corners_check(cx, "grid_sample", s->align_corners);
}

#ifdef LSNN_NAIVE
/* ---- The naive pair, a place at a time: y += its four pixels, or with dy the gradients. */
static void lsnni_sample_place(const lsnn_sampler *s, lsnn_real *y, lsnn_real dy,
                               const lsnn_real *x, lsnn_real *dx, double px, double py,
                               double dp[2])
{
    int row = (int)floor(py), col = (int)floor(px);
    for (int r = row; r <= row + 1; r++)
    for (int q = col; q <= col + 1; q++) {
        double by_y = 1 - fabs(py - r), by_x = 1 - fabs(px - q);
        size_t at = lsnni_at2(r, q, s->w);
        if (r < 0 || r >= s->h || q < 0 || q >= s->w) continue;
        if (y) *y += LSNNI_R(by_y * by_x) * x[at];
        if (dx) dx[at] += LSNNI_R(by_y * by_x) * dy;
        dp[0] += (double)dy * (double)x[at] * (q > col ? by_y : -by_y);
        dp[1] += (double)dy * (double)x[at] * (r > row ? by_x : -by_x);
    }
}

/* All channels of a place whose x is grid[0], and y a map behind it.          */
static void lsnni_sample_all(const lsnn_sampler *s, lsnn_real *y, const lsnn_real *dy,
                             const lsnn_real *x, lsnn_real *dx, const lsnn_real *grid,
                             lsnn_real *dgrid)
{
    size_t in = lsnni_area(s->h, s->w), out = lsnni_area(s->oh, s->ow);
    double px = lsnni_grid_pixel((double)grid[0], s->w, s->align_corners), dp[2] = { 0, 0 };
    double py = lsnni_grid_pixel((double)grid[out], s->h, s->align_corners);
    for (int c = 0; c < s->c; c++) {
        lsnn_real *to = y ? y + (size_t)c * out : NULL;
        if (to) *to = px != px || py != py ? LSNNI_R(px + py) : 0;
        if (!lsnni_in_picture(s, px, py)) continue;
        lsnni_sample_place(s, to, dy ? dy[(size_t)c * out] : 0, x + (size_t)c * in,
                           dx ? dx + (size_t)c * in : NULL, px, py, dp);
    }
    if (!dgrid) return;
    dgrid[0] += LSNNI_R(dp[0] * lsnni_half_side(s->w, s->align_corners));
    dgrid[out] += LSNNI_R(dp[1] * lsnni_half_side(s->h, s->align_corners));
}

LSNN_API lsnn_status lsnn_grid_sample_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                              const lsnn_real *grid, const lsnn_sampler *s)
{
    LSNNI_TRY(lsnni_sampler_check(cx, s));
    for (int n = 0; n < s->n; n++)
    for (int i = 0; i < s->oh; i++)
    for (int j = 0; j < s->ow; j++)
        lsnni_sample_all(s, y + lsnni_at4(n, 0, s->c, i, s->oh, j, s->ow), NULL,
                         x + lsnni_at4(n, 0, s->c, 0, s->h, 0, s->w), NULL,
                         grid + lsnni_at4(n, 0, 2, i, s->oh, j, s->ow), NULL);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_grid_sample_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dgrid,
                                               const lsnn_real *dy, const lsnn_real *x,
                                               const lsnn_real *grid, const lsnn_sampler *s,
                                               int add, int add_grid)
{
    LSNNI_TRY(lsnni_sampler_check(cx, s));
    lsnni_clear(dx, lsnni_at4(s->n, 0, s->c, 0, s->h, 0, s->w), add);
    lsnni_clear(dgrid, lsnni_at4(s->n, 0, 2, 0, s->oh, 0, s->ow), add_grid);
    for (int n = 0; n < s->n; n++)
    for (int i = 0; i < s->oh; i++)
    for (int j = 0; j < s->ow; j++) {
        size_t in = lsnni_at4(n, 0, s->c, 0, s->h, 0, s->w);
        size_t place = lsnni_at4(n, 0, 2, i, s->oh, j, s->ow);
        lsnni_sample_all(s, NULL, dy + lsnni_at4(n, 0, s->c, i, s->oh, j, s->ow), x + in,
                         dx ? dx + in : NULL, grid + place, dgrid ? dgrid + place : NULL);
    }
    return LSNN_OK;
}

#else /* ---- The fast pair: bound by reading pixels one by one -------------------------------
   Where a place reads is the same for all channels: it is found for some places at once, in
   arrays that every channel then walks through without a branch.             */
enum { LSNNI_SPOTS = 64 };
typedef struct lsnni_spots {          /* of each place its four pixels, and by what they are */
    int at[4][LSNNI_SPOTS];         /*   multiplied: in y, and in the gradients of px, py; */
    lsnn_real w[4][LSNNI_SPOTS];    /*   beyond the picture by 0, and it is the first pixel */
    lsnn_real by_x[4][LSNNI_SPOTS], by_y[4][LSNNI_SPOTS];
} lsnni_spots;

typedef struct lsnni_sample {
    const lsnn_sampler *s;
    const lsnn_real *x, *grid, *dy;
    lsnn_real *y, *dx, *dgrid;
    int parts, add, add_grid;
    size_t in, out;                  /* pixels of a map                       */
} lsnni_sample;

static void lsnni_tap(lsnni_spots *t, int i, const lsnn_sampler *s, double px, double py)
{
    int some = lsnni_in_picture(s, px, py);
    int row = some ? (int)floor(py) : 0, col = some ? (int)floor(px) : 0;
    for (int k = 0; k < 4; k++) {
        int r = row + k / 2, q = col + k % 2;
        int inside = some && r >= 0 && r < s->h && q >= 0 && q < s->w;
        double y = inside ? 1 - fabs(py - r) : 0, x = inside ? 1 - fabs(px - q) : 0;
        t->at[k][i] = inside ? r * s->w + q : 0;
        t->w[k][i] = LSNNI_R(y * x);
        t->by_x[k][i] = LSNNI_R(q > col ? y : -y);
        t->by_y[k][i] = LSNNI_R(r > row ? x : -x);
    }
    if (px != px || py != py) t->w[0][i] = LSNNI_R(px + py);
}

/* The taps of the places from `first` on, at most those before `end`; returns how many. */
static int lsnni_spots_at(lsnni_spots *t, const lsnni_sample *p, const lsnn_real *grid,
                         size_t first, size_t end)
{
    const lsnn_sampler *s = p->s;
    int count = (int)LSNNI_MIN((size_t)LSNNI_SPOTS, end - first);
    for (int i = 0; i < count; i++) {
        const lsnn_real *g = grid + first + i;
        lsnni_tap(t, i, s, lsnni_grid_pixel((double)g[0], s->w, s->align_corners),
                  lsnni_grid_pixel((double)g[p->out], s->h, s->align_corners));
    }
    return count;
}

static inline lsnn_real lsnni_tapped(const lsnn_real *x, int at[4][LSNNI_SPOTS],
                                     lsnn_real w[4][LSNNI_SPOTS], int i)
{
    return (w[0][i] * x[at[0][i]] + w[1][i] * x[at[1][i]]) +
           (w[2][i] * x[at[2][i]] + w[3][i] * x[at[3][i]]);
}

static void lsnni_sample_task(void *user, int task, int worker)
{
    const lsnni_sample *p = (const lsnni_sample *)user;
    size_t n = (size_t)(task / p->parts), part = (size_t)(task % p->parts);
    size_t c = (size_t)p->s->c, parts = (size_t)p->parts, count;
    size_t end = p->out * (part + 1) / parts;
    lsnni_spots t;
    (void)worker;
    for (size_t first = p->out * part / parts; first < end; first += count) {
        count = (size_t)lsnni_spots_at(&t, p, p->grid + 2 * p->out * n, first, end);
        for (size_t k = 0; k < c; k++) {
            const lsnn_real *x = p->x + (n * c + k) * p->in;
            lsnn_real *y = p->y + (n * c + k) * p->out + first;
            for (int i = 0; i < (int)count; i++) y[i] = lsnni_tapped(x, t.at, t.w, i);
        }
    }
}

/* One channel of `count` places: adds to dx, and to gx and gy, the gradients of px and py. */
static void lsnni_sample_back(lsnni_spots *t, int count, lsnn_real *dx, lsnn_real *gx,
                              lsnn_real *gy, const lsnn_real *dy, const lsnn_real *x)
{
    for (int i = 0; i < count && dx; i++)
        for (int k = 0; k < 4; k++) dx[t->at[k][i]] += t->w[k][i] * dy[i];
    for (int i = 0; i < count && gx; i++) {
        gx[i] += dy[i] * lsnni_tapped(x, t->at, t->by_x, i);
        gy[i] += dy[i] * lsnni_tapped(x, t->at, t->by_y, i);
    }
}

/* An image: its places meet in the same pixels of dx, so they are not divided. */
static void lsnni_sample_back_task(void *user, int task, int worker)
{
    const lsnni_sample *p = (const lsnni_sample *)user;
    size_t n = (size_t)task, c = (size_t)p->s->c;
    lsnn_real half_w = LSNNI_R(lsnni_half_side(p->s->w, p->s->align_corners));
    lsnn_real half_h = LSNNI_R(lsnni_half_side(p->s->h, p->s->align_corners));
    lsnn_real *dx = p->dx ? p->dx + n * c * p->in : NULL, g[2][LSNNI_SPOTS];
    lsnni_spots t;
    int count;
    (void)worker;
    lsnni_clear(dx, c * p->in, p->add);
    for (size_t first = 0; first < p->out; first += (size_t)count) {
        lsnn_real *to = p->dgrid ? p->dgrid + 2 * p->out * n + first : NULL;
        count = lsnni_spots_at(&t, p, p->grid + 2 * p->out * n, first, p->out);
        memset(g, 0, sizeof g);
        for (size_t k = 0; k < c; k++)
            lsnni_sample_back(&t, count, dx ? dx + k * p->in : NULL, to ? g[0] : NULL, g[1],
                              p->dy + (n * c + k) * p->out + first, p->x + (n * c + k) * p->in);
        for (int i = 0; i < count && to; i++) {
            lsnn_real *x = to + i, *y = x + p->out;
            *x = g[0][i] * half_w + (p->add_grid ? *x : 0);
            *y = g[1][i] * half_h + (p->add_grid ? *y : 0);
        }
    }
}

static lsnn_status lsnni_sample_run(lsnn_ctx *cx, lsnni_sample *p, const lsnn_sampler *s)
{
    LSNNI_TRY(lsnni_sampler_check(cx, s));
    p->s = s;
    p->in = lsnni_area(s->h, s->w);
    p->out = lsnni_area(s->oh, s->ow);
    p->parts = p->dy ? 1 : lsnni_image_tasks(s->n);
    lsnn_parallel(cx, s->n * p->parts, p->dy ? lsnni_sample_back_task : lsnni_sample_task, p);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_grid_sample_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                              const lsnn_real *grid, const lsnn_sampler *s)
{
    lsnni_sample p;
    memset(&p, 0, sizeof p);
    p.y = y; p.x = x; p.grid = grid;
    return lsnni_sample_run(cx, &p, s);
}

LSNN_API lsnn_status lsnn_grid_sample_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dgrid,
                                               const lsnn_real *dy, const lsnn_real *x,
                                               const lsnn_real *grid, const lsnn_sampler *s,
                                               int add, int add_grid)
{
    lsnni_sample p;
    memset(&p, 0, sizeof p);
    p.dx = dx; p.dgrid = dgrid; p.dy = dy; p.x = x; p.grid = grid;
    p.add = add; p.add_grid = add_grid;
    return lsnni_sample_run(cx, &p, s);
}
#endif /* LSNN_NAIVE */

/* ---- The layers -----------------------------------------------------------------------*/
static lsnn_status lsnni_plan_affine_grid(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    int numbers = lsnni_features(p->in[0]);
    if (numbers != 6)
        return lsnni_fail(cx, LSNN_ESHAPE, "affine_grid: its input has %d numbers an image, a "
                          "theta has 6", numbers);
    LSNNI_TRY(lsnni_sizes3(cx, "affine_grid (maps x grid_h x grid_w)", 2, p->o.grid_h,
                           p->o.grid_w));
    p->out.c = 2; p->out.h = p->o.grid_h; p->out.w = p->o.grid_w;
    p->macs = 4.0 * lsnni_inner(p->out);
    return lsnni_corners_check(cx, "affine_grid", p->o.align_corners);
}

static lsnn_status lsnni_forward_affine_grid(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_shape s = c->plan->out;
    return lsnn_affine_grid_forward(cx, c->y, c->x[0], c->n, s.h, s.w,
                                    c->plan->o.align_corners);
}

static lsnn_status lsnni_backward_affine_grid(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_shape s = c->plan->out;
    return lsnn_affine_grid_backward(cx, c->dx[0], c->dy, c->n, s.h, s.w,
                                     c->plan->o.align_corners, c->add[0]);
}

static const lsnn_layer_type lsnni_affine_grid_type = {
    "affine_grid", "grid_h grid_w align_corners", 1, 1,
    LSNN_X_FREE | LSNN_Y_FREE | LSNN_REHEARSES,
    lsnni_plan_affine_grid, lsnni_forward_affine_grid, lsnni_backward_affine_grid, NULL, NULL,
    LSNNI_DEVICE_PAIR(affine_grid)
};

LSNN_API int lsnn_affine_grid(lsnn_net *net, int theta, int h, int w, const lsnn_options *o)
{
    lsnn_options all = lsnni_options(o);
    all.grid_h = h;
    all.grid_w = w;
    return lsnn_layer(net, &lsnni_affine_grid_type, &theta, 1, &all);
}

static lsnn_status lsnni_plan_grid_sample(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_sampler s = lsnni_sampler_of(p, 1);
    if (p->in[1].c != 2)
        return lsnni_fail(cx, LSNN_ESHAPE, "grid_sample: its second input has %d maps, a grid "
                          "has 2, of x and of y", p->in[1].c);
    LSNNI_TRY(lsnni_sampler_check(cx, &s));
    p->out.c = s.c; p->out.h = s.oh; p->out.w = s.ow;
    p->macs = 4.0 * lsnni_features(p->out);
    return LSNN_OK;
}

static lsnn_status lsnni_forward_grid_sample(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_sampler s = lsnni_sampler_of(c->plan, c->n);
    return lsnn_grid_sample_forward(cx, c->y, c->x[0], c->x[1], &s);
}

static lsnn_status lsnni_backward_grid_sample(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_sampler s = lsnni_sampler_of(c->plan, c->n);
    return lsnn_grid_sample_backward(cx, c->dx[0], c->dx[1], c->dy, c->x[0], c->x[1], &s,
                                     c->add[0], c->add[1]);
}

static const lsnn_layer_type lsnni_grid_sample_type = {
    "grid_sample", "align_corners", 2, 2,
    LSNN_Y_FREE | LSNN_REHEARSES,
    lsnni_plan_grid_sample, lsnni_forward_grid_sample, lsnni_backward_grid_sample, NULL, NULL,
    LSNNI_DEVICE_PAIR(grid_sample)
};

LSNN_API int lsnn_grid_sample(lsnn_net *net, int x, int grid, const lsnn_options *o)
{
    int both[2];
    both[0] = x;
    both[1] = grid;
    return lsnn_layer(net, &lsnni_grid_sample_type, both, 2, o);
}
