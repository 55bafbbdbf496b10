/* ---- >>lp_pool --------------------------------------------------------------------
   y          = (sum |x_i|^p)^(1/p) over the window's pixels, p >= 1: their L_p norm (the
                lecture's L_p pooling). p = 1 adds them up, p -> infinity takes the largest.
   dx_i   (+)= dy sign(x_i) r_i^(p-1)                       r_i = |x_i| / y, at most 1
   dp       += dy (y / p) sum r_i^p log r_i                 never positive: y falls with p
   x N,C,H,W  y N,C,OH,OW; padding counts as 0. For x >= 0 and for even p it is PyTorch's
   lp_pool2d. Where a window is all 0, y and both gradients are 0.
   Forward divides by the largest |x_i| before it raises to the power, backward by y, so that
   nothing overflows for any p and any x. p is a number a layer (p_maps 0) or a map (1); the
   layer learns it as p = 1 + log(1 + e^rho) if asked (Gulcehre et al. 2014, "Learned-norm
   pooling"), and so never leaves p > 1.                                      */
static lsnn_status lsnni_lp_check(lsnn_ctx *cx, const lsnn_real *norm, int maps,
                                  const lsnn_window *s)
{
    LSNNI_TRY(lsnni_pool_check(cx, s));
    for (int c = 0; c < (maps ? s->c : 1); c++)
        if (!((double)norm[c] >= 1 && (double)norm[c] <= (double)FLT_MAX))
            return lsnni_fail(cx, LSNN_EVALUE, "lp_pool: p of map %d is %g, it must be from 1 to "
                              "%g", c, (double)norm[c], (double)FLT_MAX);
    return LSNN_OK;
}

#ifdef LSNN_NAIVE
/* ---- The naive pair, a window at a time ------------------------------------------------*/
static void lsnni_lp_box(const lsnn_window *s, int i, int j, int box[4])
{
    lsnni_pool_side(i, s->stride_h, s->pad_top, s->kernel_h, s->h, &box[0], &box[1]);
    lsnni_pool_side(j, s->stride_w, s->pad_left, s->kernel_w, s->w, &box[2], &box[3]);
}

static double lsnni_lp_norm(const lsnn_window *s, const lsnn_real *x, const int box[4], double p)
{
    double most = 0, sum = 0;
    for (int r = box[0]; r < box[1]; r++)
    for (int c = box[2]; c < box[3]; c++) {
        double size = fabs((double)x[lsnni_at2(r, c, s->w)]);
        if (size > most || size != size) most = size;    /* NaN wins, and stays */
    }
    if (!(most > 0)) return most;
    for (int r = box[0]; r < box[1]; r++)
    for (int c = box[2]; c < box[3]; c++)
        sum += pow(fabs((double)x[lsnni_at2(r, c, s->w)]) / most, p);
    return most * pow(sum, 1 / p);
}

/* What one window with output y and gradient g adds to dx; returns what it adds to dp. */
static double lsnni_lp_back(const lsnn_window *s, lsnn_real *dx, double g, const lsnn_real *x,
                            double y, const int box[4], double p)
{
    double sum = 0;
    for (int r = box[0]; r < box[1]; r++)
    for (int c = box[2]; c < box[3]; c++) {
        size_t at = lsnni_at2(r, c, s->w);
        double v = (double)x[at], ratio = fabs(v) / y;
        if (v <= 0 && v >= 0) continue;
        if (dx) dx[at] += LSNNI_R((v < 0 ? -g : g) * pow(ratio, p - 1));
        sum += pow(ratio, p) * log(ratio);
    }
    return g * y / p * sum;
}

LSNN_API lsnn_status lsnn_lp_pool_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                          const lsnn_real *p, int p_maps, const lsnn_window *s)
{
    LSNNI_TRY(lsnni_lp_check(cx, p, p_maps, s));
    for (int n = 0; n < s->n; n++)
    for (int c = 0; c < s->c; c++)
    for (int i = 0; i < s->oh; i++)
    for (int j = 0; j < s->ow; j++) {
        const lsnn_real *map = x + lsnni_at4(n, c, s->c, 0, s->h, 0, s->w);
        int box[4];
        lsnni_lp_box(s, i, j, box);
        y[lsnni_at4(n, c, s->c, i, s->oh, j, s->ow)] =
            LSNNI_R(lsnni_lp_norm(s, map, box, (double)p[p_maps ? c : 0]));
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_lp_pool_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dp,
                                           const lsnn_real *dy, const lsnn_real *x,
                                           const lsnn_real *y, const lsnn_real *p, int p_maps,
                                           const lsnn_window *s, int add)
{
    LSNNI_TRY(lsnni_lp_check(cx, p, p_maps, s));
    lsnni_clear(dx, lsnni_at4(s->n, 0, s->c, 0, s->h, 0, s->w), add);
    for (int n = 0; n < s->n; n++)
    for (int c = 0; c < s->c; c++)
    for (int i = 0; i < s->oh; i++)
    for (int j = 0; j < s->ow; j++) {
        size_t in = lsnni_at4(n, c, s->c, 0, s->h, 0, s->w), which = p_maps ? (size_t)c : 0;
        size_t out = lsnni_at4(n, c, s->c, i, s->oh, j, s->ow);
        double more;
        int box[4];
        lsnni_lp_box(s, i, j, box);
        more = lsnni_lp_back(s, dx ? dx + in : NULL, (double)dy[out], x + in, (double)y[out],
                             box, (double)p[which]);
        if (dp) dp[which] += LSNNI_R(more);
    }
    return LSNN_OK;
}

#else /* ---- The fast pair: bound by a logarithm and an exponential a tap ------------------
   A row of windows at a time, tap by tap, so that the vectors run along the row; a block of
   images is a row whose pixels are lanes wide. r^p is e^(p log r), and log 0 is a large
   negative number, so that 0 needs no case of its own.                       */
typedef struct lsnni_lp {
    const lsnni_kernels *kv;
    const lsnn_window *s;
    const lsnn_real *x, *y, *dy, *p;
    lsnn_real *to, *room;            /* to: y or dx; room: three rows a worker */
    double *sum;                     /* dp of each plane, or NULL             */
    int p_maps, add, lanes;
    size_t row;                      /* numbers of an output's row            */
} lsnni_lp;

/* The windows of an output row whose tap v lies inside the image: [*a, *b).   */
static void lsnni_lp_inside(const lsnn_window *s, int v, int *a, int *b)
{
    int first = s->pad_left - v, last = s->w - 1 + s->pad_left - v;
    *a = first > 0 ? LSNNI_MIN(lsnni_div_up(first, s->stride_w), s->ow) : 0;
    *b = last < 0 ? *a : LSNNI_MAX(*a, LSNNI_MIN(last / s->stride_w + 1, s->ow));
}

/* The pixels under tap (u, v) of the windows of row oy, or NULL: all are padding. The pixel
   of window ox is at returned[ox * stride_w * lanes].                        */
static ptrdiff_t lsnni_lp_at(const lsnni_lp *p, int oy, int u, int v)
{
    const lsnn_window *s = p->s;
    int row = oy * s->stride_h - s->pad_top + u;
    if (row < 0 || row >= s->h) return PTRDIFF_MIN;
    return ((ptrdiff_t)row * s->w + v - s->pad_left) * p->lanes;
}

/* |x| under a tap, 0 for padding.                                             */
static void lsnni_lp_take(const lsnni_lp *p, lsnn_real *a, const lsnn_real *x, int oy, int u,
                          int v)
{
    ptrdiff_t at = lsnni_lp_at(p, oy, u, v), step = (ptrdiff_t)p->s->stride_w * p->lanes;
    int from, to;
    memset(a, 0, p->row * sizeof *a);
    if (at == PTRDIFF_MIN) return;
    lsnni_lp_inside(p->s, v, &from, &to);
    for (int ox = from; ox < to; ox++)
        for (int l = 0; l < p->lanes; l++) {
            lsnn_real t = x[at + ox * step + l];
            a[ox * p->lanes + l] = t < 0 ? -t : t;
        }
}

/* v = v^p for v in [0, taps].                                                 */
static void lsnni_lp_power(const lsnni_lp *p, lsnn_real *v, double norm)
{
    (p->kv->log)(v, v, p->row);
    for (size_t i = 0; i < p->row; i++) v[i] *= LSNNI_R(norm);
    (p->kv->exp)(v, v, p->row);
}

static void lsnni_lp_row(const lsnni_lp *p, lsnn_real *y, const lsnn_real *x, int oy,
                         double norm, lsnn_real *most)
{
    const lsnn_window *s = p->s;
    lsnn_real *r = most + p->row;
    memset(most, 0, p->row * sizeof *most);
    memset(y, 0, p->row * sizeof *y);
    for (int t = 0; t < s->kernel_h * s->kernel_w; t++) {
        lsnni_lp_take(p, r, x, oy, t / s->kernel_w, t % s->kernel_w);
        for (size_t i = 0; i < p->row; i++) if (r[i] > most[i] || r[i] != r[i]) most[i] = r[i];
    }
    for (int t = 0; t < s->kernel_h * s->kernel_w; t++) {
        lsnni_lp_take(p, r, x, oy, t / s->kernel_w, t % s->kernel_w);
        for (size_t i = 0; i < p->row; i++) r[i] = most[i] > 0 ? r[i] / most[i] : 0;
        lsnni_lp_power(p, r, norm);
        for (size_t i = 0; i < p->row; i++) y[i] += r[i];
    }
    lsnni_lp_power(p, y, 1 / norm);
    for (size_t i = 0; i < p->row; i++) y[i] *= most[i];
}

static void lsnni_lp_task(void *user, int plane, int worker)
{
    const lsnni_lp *p = (const lsnni_lp *)user;
    const lsnn_window *s = p->s;
    double norm = (double)p->p[p->p_maps ? plane % s->c : 0];
    const lsnn_real *x = p->x + lsnni_area(s->h, s->w) * (size_t)p->lanes * (size_t)plane;
    lsnn_real *y = p->to + p->row * (size_t)s->oh * (size_t)plane;
    for (int oy = 0; oy < s->oh; oy++)
        lsnni_lp_row(p, y + p->row * (size_t)oy, x, oy, norm, p->room + 3 * p->row *
                     (size_t)worker);
}

/* One tap of one row: adds to dx, returns sum g r^p log r. room: three rows.  */
static double lsnni_lp_tap(const lsnni_lp *p, lsnn_real *dx, const lsnn_real *x, size_t out,
                           int oy, int t, double norm, lsnn_real *room)
{
    const lsnn_window *s = p->s;
    lsnn_real *r = room, *log = room + p->row, *w = log + p->row;
    const lsnn_real *y = p->y + out, *g = p->dy + out;
    ptrdiff_t step = (ptrdiff_t)s->stride_w * p->lanes;
    ptrdiff_t at = lsnni_lp_at(p, oy, t / s->kernel_w, t % s->kernel_w);
    double sum = 0;
    int from, to;
    lsnni_lp_take(p, r, x, oy, t / s->kernel_w, t % s->kernel_w);
    for (size_t i = 0; i < p->row; i++) r[i] = y[i] > 0 ? r[i] / y[i] : 0;
    (p->kv->log)(log, r, p->row);
    for (size_t i = 0; i < p->row; i++) w[i] = LSNNI_R(norm - 1) * log[i];
    (p->kv->exp)(w, w, p->row);
    for (size_t i = 0; i < p->row; i++) w[i] *= g[i];
    for (size_t i = 0; i < p->row && p->sum; i++)
        sum += (double)y[i] * (double)w[i] * (double)r[i] * (double)log[i];
    if (at == PTRDIFF_MIN || !dx) return sum;
    lsnni_lp_inside(s, t % s->kernel_w, &from, &to);
    for (int ox = from; ox < to; ox++)
        for (int l = 0; l < p->lanes; l++) {
            lsnn_real v = x[at + ox * step + l], d = w[ox * p->lanes + l];
            dx[at + ox * step + l] += v > 0 ? d : v < 0 ? -d : 0;
        }
    return sum;
}

static void lsnni_lp_back_task(void *user, int plane, int worker)
{
    const lsnni_lp *p = (const lsnni_lp *)user;
    const lsnn_window *s = p->s;
    double norm = (double)p->p[p->p_maps ? plane % s->c : 0], sum = 0;
    size_t in = lsnni_area(s->h, s->w) * (size_t)p->lanes;
    size_t out = p->row * (size_t)s->oh * (size_t)plane;
    const lsnn_real *x = p->x + in * (size_t)plane;
    lsnn_real *dx = p->to ? p->to + in * (size_t)plane : NULL;
    if (dx && !p->add) memset(dx, 0, in * sizeof *dx);
    for (int oy = 0; oy < s->oh; oy++, out += p->row)
        for (int t = 0; t < s->kernel_h * s->kernel_w; t++)
            sum += lsnni_lp_tap(p, dx, x, out, oy, t, norm, p->room + 3 * p->row *
                                (size_t)worker);
    if (p->sum) p->sum[plane] = sum / norm;
}

static lsnn_status lsnni_lp_run(lsnn_ctx *cx, lsnni_lp *p, const lsnn_window *s, lsnn_real *dp)
{
    lsnni_want want[2], *w = want;
    int planes;
    LSNNI_TRY(lsnni_lp_check(cx, p->p, p->p_maps, s));
    if (s->lanes > 1) LSNNI_TRY(lsnni_lanes_check(cx, "lp_pool", s));
    p->kv = lsnni_kernels_of(cx);
    p->s = s;
    p->lanes = s->lanes > 1 ? s->lanes : 1;
    p->row = lsnni_area(s->ow, p->lanes);
    planes = s->n / p->lanes * s->c;
    LSNNI_WANT(&w, p->room, 3 * p->row * (size_t)lsnn_ctx_threads(cx));
    if (dp) LSNNI_WANT(&w, p->sum, (size_t)planes);
    LSNNI_TRY(lsnni_take(cx, want, w));
    lsnn_parallel(cx, planes, p->dy ? lsnni_lp_back_task : lsnni_lp_task, p);
    for (int i = 0; i < planes && dp && !cx->rehearsal_; i++)
        dp[p->p_maps ? i % s->c : 0] += LSNNI_R(p->sum[i]);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_lp_pool_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                          const lsnn_real *p, int p_maps, const lsnn_window *s)
{
    lsnni_lp run;
    memset(&run, 0, sizeof run);
    run.to = y; run.x = x; run.p = p; run.p_maps = p_maps;
    return lsnni_lp_run(cx, &run, s, NULL);
}

LSNN_API lsnn_status lsnn_lp_pool_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dp,
                                           const lsnn_real *dy, const lsnn_real *x,
                                           const lsnn_real *y, const lsnn_real *p, int p_maps,
                                           const lsnn_window *s, int add)
{
    lsnni_lp run;
    memset(&run, 0, sizeof run);
    run.to = dx; run.x = x; run.y = y; run.dy = dy; run.p = p; run.p_maps = p_maps;
    run.add = add;
    return lsnni_lp_run(cx, &run, s, dp);
}
#endif /* LSNN_NAIVE */

/* ---- The layer: keeps p and dp of each map ---------------------------------------------*/
static lsnn_status lsnni_plan_lp_pool(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    int learned = p->o.learn_norm != LSNN_NORM_FIXED;
    double norm = p->o.norm = lsnni_or(p->o.norm, 2);
    if ((int)p->o.learn_norm < 0 || p->o.learn_norm > LSNN_NORM_OF_MAP)
        return lsnni_fail(cx, LSNN_EVALUE, "lp_pool: learn_norm %d is unknown",
                          (int)p->o.learn_norm);
    if (!(norm >= 1 && norm <= (double)FLT_MAX) || (learned && !(norm > 1)))
        return lsnni_fail(cx, LSNN_EVALUE, "lp_pool: norm is %g, it must be from 1 to %g%s", norm,
                          (double)FLT_MAX, learned ? ", and above 1 to be learned" : "");
    LSNNI_TRY(lsnni_plan_pool(cx, p));
    p->param[0] = lsnni_spec("rho", 1, p->o.learn_norm == LSNN_NORM_OF_MAP ? p->in[0].c : 1, 0,
                             0, 0);
    p->param[0].value = norm > 30 ? norm - 1 : log(expm1(norm - 1));
    p->param[0].no_decay = 1;
    p->params = learned;
    p->keep_fixed = 2 * (size_t)p->in[0].c;
    return LSNN_OK;
}

/* p of each map, or of all, from rho if it is learned; how many there are.    */
static size_t lsnni_lp_norms_of(const lsnn_layer_plan *p, const lsnn_real *rho, lsnn_real *norm)
{
    size_t count = p->params ? p->param[0].count : 1;
    norm[0] = LSNNI_R(p->o.norm);
    for (size_t i = 0; i < count && p->params; i++)
        norm[i] = LSNNI_R(lsnni_lp_of_rho((double)rho[i]));
    return count;
}

static size_t lsnni_lp_norms(const lsnn_call *c)
{
    return lsnni_lp_norms_of(c->plan, c->param[0], c->keep);
}

static lsnn_status lsnni_forward_lp_pool(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    lsnni_lp_norms(c);
    return lsnn_lp_pool_forward(cx, c->y, c->x[0], c->keep,
                                c->plan->o.learn_norm == LSNN_NORM_OF_MAP, &s);
}

static lsnn_status lsnni_backward_lp_pool(lsnn_ctx *cx, lsnn_call *c)
{
    size_t count = lsnni_lp_norms(c);
    lsnn_real *dp = c->dparam[0] ? c->keep + c->plan->in[0].c : NULL;
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    for (size_t i = 0; i < count && dp; i++) dp[i] = 0;
    LSNNI_TRY(lsnn_lp_pool_backward(cx, c->dx[0], dp, c->dy, c->x[0], c->y, c->keep,
                                    c->plan->o.learn_norm == LSNN_NORM_OF_MAP, &s, c->add[0]));
    for (size_t i = 0; i < count && dp; i++)             /* dp / drho         */
        c->dparam[0][i] += dp[i] / LSNNI_R(1 + exp(-(double)c->param[0][i]));
    return LSNN_OK;
}

static const lsnn_layer_type lsnni_lp_pool_type = {
    "lp_pool", LSNNI_WINDOW_OPTIONS "norm learn_norm lr_factor freeze", 1, 1,
    LSNN_BLOCKS | LSNN_REHEARSES,
    lsnni_plan_lp_pool, lsnni_forward_lp_pool, lsnni_backward_lp_pool, NULL, NULL,
    LSNNI_DEVICE_PAIR(lp_pool)
};

LSNN_API int lsnn_lp_pool(lsnn_net *net, int x, int kernel, const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_lp_pool_type, x, 0, kernel, o);
}
