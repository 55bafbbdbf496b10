/* ---- >>target2d -----------------------------------------------------------------
   A convolution and its window in one layer: TKN's target layer (Chitta, "Targeted Kernel
   Networks", Eq. 15 to 17). Kernel k computes only in its region
   R_k, a set of output pixels p, reads its true neighbours outside of it, and is 0 elsewhere.
   y[n,k,p]    = U_k(p) z[n,k,p]  in R_k, else 0       z = b[k] + sum_ct w[k,c,t] x[n,c,p + t]
   dz[n,k,p]   = U_k(p) dy[n,k,p] in R_k, else 0       U_k(i, j) = fy[k,i] fx[k,j]
   dx, dw, db  : a convolution's, of dz
   dL/dlog fy[k,i] = sum_j S[k,i,j], of fx likewise    S[k,p] = sum_n dy[n,k,p] y[n,k,p]
   x N,C,H,W  w K,C,kh,kw  b K  y N,K,OH,OW            p + t: oy*sh + r - pt, ox*sw + s - pl
   S needs no z from before the window and no division by U, and y may have gone through a relu
   in place: dy is 0 where the relu's y is.
   C*kh*kw multiply-adds a pixel of a region forward, twice that backward.     */

/* ---- The naive pair: the convolution's loops, where there is a place.         */
#ifdef LSNN_NAIVE
LSNN_API lsnn_status lsnn_target2d_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                           const lsnn_real *w, const lsnn_real *b,
                                           const lsnn_target *t, const lsnn_window *s)
{
    lsnni_regions r;
    int area = s->oh * s->ow;
    LSNNI_TRY(lsnni_target_check(cx, s));
    if (cx->rehearsal_) return LSNN_OK;
    lsnni_regions_of(&r, t->plan, s);
    r.t = t;
    for (int n = 0; n < s->n; n++)
    for (int k = 0; k < s->k; k++)
    for (int p = 0; p < area; p++) {
        double z = b ? (double)b[k] : 0;
        if (r.place[lsnni_at2(k, p, area)] < 0) continue;
        for (int c = 0; c < s->c; c++)
        for (int u = 0; u < s->kernel_h; u++)
        for (int v = 0; v < s->kernel_w; v++) {
            size_t in, at = lsnni_at4(k, c, s->c, u, s->kernel_h, v, s->kernel_w);
            if (lsnni_pixel(s, n, k, p / s->ow, p % s->ow, c, u, v, &in))
                z += (double)x[in] * (double)w[at];
        }
        y[lsnni_at3(n, k, s->k, p, area)] = lsnni_target_u(&r, k, p) * LSNNI_R(z);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_target2d_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                            lsnn_real *db, lsnn_real *gy, lsnn_real *gx,
                                            lsnn_real *room, const lsnn_real *dy,
                                            const lsnn_real *y, const lsnn_real *x,
                                            const lsnn_real *w, const lsnn_target *t,
                                            const lsnn_window *s, int add)
{
    lsnni_regions r;
    int area = s->oh * s->ow;
    LSNNI_TRY(lsnni_target_check(cx, s));
    if (cx->rehearsal_) return LSNN_OK;
    lsnni_regions_of(&r, t->plan, s);
    r.t = t;
    lsnni_clear(gy, lsnni_area(s->k, s->oh), 0);
    lsnni_clear(gx, lsnni_area(s->k, s->ow), 0);
    for (int n = 0; n < s->n; n++)
    for (int k = 0; k < s->k; k++)
    for (int p = 0; p < area; p++) {
        size_t at = lsnni_at3(n, k, s->k, p, area);
        int here = r.place[lsnni_at2(k, p, area)] >= 0;
        room[at] = here ? lsnni_target_u(&r, k, p) * dy[at] : 0;
        if (here && gy) gy[lsnni_at2(k, p / s->ow, s->oh)] += dy[at] * y[at];
        if (here && gx) gx[lsnni_at2(k, p % s->ow, s->ow)] += dy[at] * y[at];
    }
    return lsnn_conv2d_backward(cx, dx, dw, db, room, x, w, s, add);
}

#endif /* LSNN_NAIVE: else see target_fast.h */

/* ---- The layer: a window and its region from four numbers, mu_x, s_x, mu_y, s_y. */
/* What is kept beside dz: U, 0 outside of regions, for those who look at it; f and its
   gradients; the state; regions as boxes of rows [0, 1) and columns [2, 3), the plan they came
   to, and their pixels.                                                       */
enum { LSNNI_TARGET_MADE, LSNNI_TARGET_LANES, LSNNI_TARGET_CLEAN, LSNNI_TARGET_STATE };
typedef struct lsnni_target_keep {
    lsnn_real *map, *fy, *fx, *gy, *gx, *dz;
    int32_t *state;                  /* MADE: 1 once regions are; y's memory is in blocks of */
                                     /*   LANES images, 0 outside of regions in CLEAN images */
    int32_t *box, *plan;
    unsigned char *inside;
} lsnni_target_keep;

/* lsnn_reals that hold so many bytes.                                         */
static size_t lsnni_reals_of(size_t bytes)
{
    return lsnni_plus(bytes, sizeof(lsnn_real) - 1) / sizeof(lsnn_real);
}
static size_t lsnni_target_ints(const lsnn_window *s)
{
    return lsnni_plus(lsnn_target2d_room(s), LSNNI_TARGET_STATE + 4 * (size_t)s->k);
}
static size_t lsnni_target_pixels(const lsnn_window *s)
{
    return lsnni_times((size_t)s->k, lsnni_area(s->oh, s->ow));
}
static size_t lsnni_target_kept(const lsnn_window *s)
{
    size_t sides = 2 * (size_t)s->k * (size_t)(s->oh + s->ow);
    size_t ints = lsnni_reals_of(lsnni_times(lsnni_target_ints(s), sizeof(int32_t)));
    size_t pixels = lsnni_target_pixels(s);              /* U, and bytes          */
    return lsnni_plus(lsnni_plus(pixels, lsnni_reals_of(pixels)), lsnni_plus(sides, ints));
}
static lsnni_target_keep lsnni_target_keep_of(lsnn_real *keep, const lsnn_window *s)
{
    size_t high = lsnni_area(s->k, s->oh), wide = lsnni_area(s->k, s->ow);
    lsnni_target_keep k;
    k.map = keep;
    k.fy = keep + lsnni_target_pixels(s);
    k.fx = k.fy + high;
    k.gy = k.fx + wide;
    k.gx = k.gy + high;
    k.state = (int32_t *)(void *)(k.gx + wide);
    k.box = k.state + LSNNI_TARGET_STATE;
    k.plan = k.box + 4 * s->k;
    k.inside = (unsigned char *)(k.gx + wide +
                                 lsnni_reals_of(lsnni_target_ints(s) * sizeof(int32_t)));
    k.dz = keep + lsnni_target_kept(s);
    return k;
}

/* A side's pixels [box[0], box[1]) of a window. least: not fewer, by pixels on the inner side
   of a border that cuts them. A window that is not a number is everywhere.    */
static void lsnni_target_side(int32_t box[2], double mu, double s, int side, int least)
{
    double half = fabs(s) / sqrt(2.0), from = floor((mu - half) * side);
    double to = floor((mu + half) * side) + 1;
    box[0] = from > 0 ? (int32_t)LSNNI_MIN(from, side) : 0;
    box[1] = to < side ? (int32_t)LSNNI_MAX(to, 0) : side;
    least = LSNNI_MIN(least, side);
    if (box[1] - box[0] >= least) return;
    box[0] = LSNNI_MIN(box[0], side - least);
    box[1] = box[0] + least;
}

static void lsnni_target_box(int32_t box[4], const lsnn_real *t, const lsnn_window *s,
                             lsnn_clip clip)
{
    int paper = clip == LSNN_CLIP_PAPER;
    lsnni_target_side(box, (double)t[LSNNI_AT_MU_Y], (double)t[LSNNI_AT_S_Y], s->oh,
                      paper ? s->kernel_h : 0);
    lsnni_target_side(box + 2, (double)t[LSNNI_AT_MU_X], (double)t[LSNNI_AT_S_X], s->ow,
                      paper ? s->kernel_w : 0);
}

/* fy of all kernels (down: 1), or fx.                                         */
static void lsnni_target_factors(lsnn_real *f, const lsnn_layer_plan *p, const lsnn_real *theta,
                                 int down)
{
    int side = down ? p->out.h : p->out.w, cauchy = lsnni_cauchy(p->o.smooth_shape);
    theta += down ? LSNNI_AT_MU_Y : LSNNI_AT_MU_X;       /* s lies behind mu      */
    for (int k = 0; k < p->out.c; k++, theta += 4)
        lsnni_attention_side(cauchy, (double)theta[0], (double)theta[1], side, 0,
                             f + lsnni_area(k, side), NULL, NULL);
}

/* A kernel's U in its region.                                                 */
static void lsnni_target_map(lsnn_real *u, const lsnn_real *fy, const lsnn_real *fx,
                             const int32_t box[4], int width)
{
    for (int i = box[0]; i < box[1]; i++)
        for (int j = box[2]; j < box[3]; j++) u[lsnni_at2(i, j, width)] = fy[i] * fx[j];
}

static void lsnni_target_fill(unsigned char *inside, const int32_t box[4], const lsnn_window *s)
{
    for (int i = 0; i < s->oh; i++)
        for (int j = 0; j < s->ow; j++)
            *inside++ = i >= box[0] && i < box[1] && j >= box[2] && j < box[3];
}

/* Clears kernels [k0, k1) of images [n0, n1) of y; whole blocks.              */
static void lsnni_target_clear(const lsnn_call *c, const lsnn_window *s, int n0, int n1, int k0,
                               int k1)
{
    size_t lanes = (size_t)lsnni_lanes_or_1(c), map = lsnni_area(s->oh, s->ow) * lanes;
    for (int n = n0 / (int)lanes; n < n1 / (int)lanes; n++)
        memset(c->y + (lsnni_area(n, s->k) + (size_t)k0) * map, 0,
               (size_t)(k1 - k0) * map * sizeof *c->y);
}

/* Windows and regions from theta. Where a region has lost pixels, y is cleared.  */
static lsnn_status lsnni_target_make(lsnn_ctx *cx, const lsnn_call *c, const lsnn_window *s,
                                     lsnni_target_keep *keep)
{
    int changed = !keep->state[LSNNI_TARGET_MADE];
    size_t area = lsnni_area(s->oh, s->ow);
    lsnni_target_factors(keep->fy, c->plan, c->param[1], 1);
    lsnni_target_factors(keep->fx, c->plan, c->param[1], 0);
    for (int k = 0; k < s->k; k++) {
        lsnn_real *u = keep->map + (size_t)k * area;
        int32_t *was = keep->box + 4 * k, box[4];
        lsnni_target_box(box, c->param[1] + 4 * (size_t)k, s, c->plan->o.clip);
        if (memcmp(box, was, sizeof box) != 0) memset(u, 0, area * sizeof *u);
        lsnni_target_map(u, keep->fy + lsnni_area(k, s->oh), keep->fx + lsnni_area(k, s->ow),
                         box, s->ow);
        if (keep->state[LSNNI_TARGET_MADE] && !memcmp(box, was, sizeof box)) continue;
        if (box[0] > was[0] || box[1] < was[1] || box[2] > was[2] || box[3] < was[3])
            lsnni_target_clear(c, s, 0, keep->state[LSNNI_TARGET_CLEAN], k, k + 1);
        memcpy(was, box, sizeof box);
        lsnni_target_fill(keep->inside + (size_t)k * area, box, s);
        changed = 1;
    }
    keep->state[LSNNI_TARGET_MADE] = 1;
    return changed ? lsnn_target2d_plan(cx, keep->plan, keep->inside, s) : LSNN_OK;
}

/* y's memory keeps its zeros from call to call, as long as its layout is the same. */
static void lsnni_target_clean(const lsnn_call *c, const lsnn_window *s, int32_t *state)
{
    if (state[LSNNI_TARGET_LANES] != c->lanes) state[LSNNI_TARGET_CLEAN] = 0;
    state[LSNNI_TARGET_LANES] = c->lanes;
    if (state[LSNNI_TARGET_CLEAN] >= c->n) return;
    lsnni_target_clear(c, s, state[LSNNI_TARGET_CLEAN], c->n, 0, s->k);
    state[LSNNI_TARGET_CLEAN] = c->n;
}

/* Taps of pixels [from, to) of a side that lie inside the image.              */
static double lsnni_taps_inside(const lsnni_side *side, int from, int to)
{
    double taps = 0;
    for (int i = from; i < to; i++) taps += lsnni_reach_of(side, LSNNI_FORWARD, i).count;
    return taps;
}

/* As learned: the regions' pixels, all their taps. As computed, in blocks: the taps inside the
   image, and of all pixels where the whole convolution takes less time. That an input's pixels
   may be 0 in every image, outside of the regions before it, saves nothing here. */
static lsnn_status lsnni_macs_of_target2d(lsnn_ctx *cx, const lsnn_layer_plan *p,
                                          const lsnn_real *const *param, double now[2])
{
    lsnni_side side[2];
    lsnni_regions r;
    lsnn_window s;
    int32_t box[4], places = 0;
    double inside = 0;
    LSNNI_TRY(lsnni_window_of(cx, &s, p, 1, p->out.c));
    lsnni_sides(side, &s);
    for (int k = 0; k < s.k; k++) {
        lsnni_target_box(box, param[1] + 4 * (size_t)k, &s, p->o.clip);
        places += (box[1] - box[0]) * (box[3] - box[2]);
        inside += lsnni_taps_inside(&side[0], box[0], box[1]) *
                  lsnni_taps_inside(&side[1], box[2], box[3]);
    }
    r.s = &s;
    r.head = &places;
    if (lsnni_regions_dense(&r))
        inside = s.k * lsnni_taps_inside(&side[0], 0, s.oh) *
                 lsnni_taps_inside(&side[1], 0, s.ow);
    now[0] = (double)places * s.c * s.kernel_h * s.kernel_w;
    now[1] = inside * s.c;
    return LSNN_OK;
}

static lsnn_status lsnni_plan_target2d(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_options *o = &p->o;
    lsnn_window s;
    LSNNI_TRY(lsnni_plan_kernels(cx, p, &s));
    LSNNI_TRY(lsnni_target_check(cx, &s));
    if (!o->smooth_shape) o->smooth_shape = LSNN_ATTENTION_GAUSSIAN;
    if (o->smooth_shape != LSNN_ATTENTION_GAUSSIAN && o->smooth_shape != LSNN_ATTENTION_CAUCHY)
        return lsnni_fail(cx, LSNN_EVALUE, "target2d: smooth_shape %d: its windows are "
                          "LSNN_ATTENTION_GAUSSIAN (%d) or LSNN_ATTENTION_CAUCHY (%d)",
                          (int)o->smooth_shape, (int)LSNN_ATTENTION_GAUSSIAN,
                          (int)LSNN_ATTENTION_CAUCHY);
    if ((int)o->clip < 0 || o->clip > LSNN_CLIP_CODE)
        return lsnni_fail(cx, LSNN_EVALUE, "target2d: clip %d is unknown", (int)o->clip);
    p->param[0] = lsnni_spec("weight", 4, s.k, s.c, s.kernel_h, s.kernel_w);
    p->param[0].fan_in = s.c * s.kernel_h * s.kernel_w;
    p->param[0].fan_out = s.k * s.kernel_h * s.kernel_w;
    p->param[1] = lsnni_spec("theta", 2, s.k, 4, 0, 0);
    p->param[1].l2 = o->l2;
    p->param[1].l2_every = o->l2 > 0 ? 4 : 0;
    p->param[1].l2_mask = lsnni_attention_widths(o->smooth_shape);
    p->param[2] = lsnni_spec("bias", 1, s.k, 0, 0, 0);
    p->param[1].no_decay = p->param[2].no_decay = 1;
    p->params = o->no_bias ? 2 : 3;
    p->keep_fixed = lsnni_target_kept(&s);
    p->keep_per_image = lsnni_target_pixels(&s);         /* dz                */
    p->keep_name = "map";
    p->keep_shape = p->out;
    p->macs = (double)p->param[0].count * s.oh * s.ow;
    p->macs_now = lsnni_macs_of_target2d;
    return LSNN_OK;
}

static lsnn_status lsnni_forward_target2d(lsnn_ctx *cx, lsnn_call *c)
{
    const lsnn_real *bias = c->plan->params > 2 ? c->param[2] : NULL;
    lsnni_target_keep keep;
    lsnn_target t;
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    keep = lsnni_target_keep_of(c->keep, &s);
    if (!cx->rehearsal_) {
        if (!*c->kept) LSNNI_TRY(lsnni_target_make(cx, c, &s, &keep));
        lsnni_target_clean(c, &s, keep.state);
        *c->kept = 1;
    }
    t.plan = keep.plan;
    t.fy = keep.fy;
    t.fx = keep.fx;
    return lsnn_target2d_forward(cx, c->y, c->x[0], c->param[0], bias, &t, &s);
}

/* dtheta of a side, from g = dL/dlog f at its pixels: sum_x g dlog f.          */
static void lsnni_target_theta(lsnn_real *dt, const lsnn_real *g, int cauchy, double mu,
                               double s, int side)
{
    double sum[2] = { 0, 0 }, dz[2], slope;
    for (int x = 0; x < side; x++) {
        double z = lsnni_attention_z(mu, s, side, x, dz);
        lsnni_attention_log(cauchy, 0.5, z * z, &slope);
        for (int i = 0; i < 2; i++) sum[i] += (double)g[x] * 2 * z * slope * dz[i];
    }
    for (int i = 0; i < 2; i++) dt[i] += LSNNI_R(sum[i]);
}

static lsnn_status lsnni_backward_target2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_real *db = c->plan->params > 2 ? c->dparam[2] : NULL, *dt = c->dparam[1];
    int cauchy = lsnni_cauchy(c->plan->o.smooth_shape);
    lsnni_target_keep keep;
    lsnn_target t;
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    keep = lsnni_target_keep_of(c->keep, &s);
    t.plan = keep.plan;
    t.fy = keep.fy;
    t.fx = keep.fx;
    LSNNI_TRY(lsnn_target2d_backward(cx, c->dx[0], c->dparam[0], db, dt ? keep.gy : NULL,
                                     dt ? keep.gx : NULL, keep.dz, c->dy, c->y, c->x[0],
                                     c->param[0], &t, &s, c->add[0]));
    for (int k = 0; k < s.k && dt && !cx->rehearsal_; k++) {
        const lsnn_real *of = c->param[1] + 4 * (size_t)k;
        lsnni_target_theta(dt + 4 * k, keep.gx + lsnni_area(k, s.ow), cauchy,
                           (double)of[LSNNI_AT_MU_X], (double)of[LSNNI_AT_S_X], s.ow);
        lsnni_target_theta(dt + 4 * k + 2, keep.gy + lsnni_area(k, s.oh), cauchy,
                           (double)of[LSNNI_AT_MU_Y], (double)of[LSNNI_AT_S_Y], s.oh);
    }
    return LSNN_OK;
}

/* Weights as a convolution's, windows at mu = 0.5, s = 1.                      */
static void lsnni_init_target2d(const lsnn_layer_plan *p, int i, lsnn_real *v, lsnn_rng *rng)
{
    if (i == 0) lsnni_draw_values(p, i, v, p->param[i].count, rng);
    for (size_t j = 0; j < p->param[i].count && i > 0; j++)
        v[j] = LSNNI_R(i > 1 ? 0 : j % 2 ? 1 : 0.5);
}

static lsnn_status lsnni_project_target2d(lsnn_ctx *cx, const lsnn_projection *p)
{
    const lsnn_layer_plan *plan = p->plan;
    lsnn_real *t = p->param[1];
    (void)cx;
    for (size_t i = 0; i < plan->param[1].count && t; i += 4) {
        lsnni_attention_clip(t + i + LSNNI_AT_MU_X, t + i + LSNNI_AT_S_X, plan->out.w,
                             plan->o.kernel_w, plan->o.clip);
        lsnni_attention_clip(t + i + LSNNI_AT_MU_Y, t + i + LSNNI_AT_S_Y, plan->out.h,
                             plan->o.kernel_h, plan->o.clip);
    }
    return LSNN_OK;
}

static const lsnn_layer_type lsnni_target2d_type = {
    "target2d", LSNNI_WEIGHTED LSNNI_WINDOW_OPTIONS "smooth_shape l2 clip", 1, 1,
    LSNN_BLOCKS | LSNN_REHEARSES | LSNN_Y_STAYS,
    lsnni_plan_target2d, lsnni_forward_target2d, lsnni_backward_target2d, lsnni_init_target2d,
    lsnni_project_target2d,
    NULL, NULL, NULL
};

LSNN_API int lsnn_target2d(lsnn_net *net, int x, int filters, int kernel, const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_target2d_type, x, filters, kernel, o);
}
