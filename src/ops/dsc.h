/* ---- >>dsc: data-driven sparse connections -----------------------------------------
   "Data-driven Sparse Connections for Deep Convolutional Neural Network" (Liu, Xiang; an
   unfinished draft). Equation numbers are the draft's; what is marked "ours" it leaves open.

   An element with a threshold alpha passes what lies above it, and at most 1:
       g+(o) = min(max(0, (o - alpha) / (1 - alpha)), 1)      (1)        g- = -g+      (2)
   A connection is such an element, excitatory or inhibitory; a neuron adds up its connections
   and is one itself:   x = sum_i g_i(o_i)     y = g+(x) with the neuron's own alpha     (3-5)
   Nothing here is a gradient. A correction D says what an output should be: t = y + D. From it
   follow what the input should have been, and the alpha with which it would have been right:
       D_in  = eta ((1 - alpha) t + alpha - o)                          (6, 9, 16)
       hat   = (o - t) / (1 - t)                                        (7, 12)
       D_alpha = xi (max(0, hat) - alpha) for D > 0
                 xi (min(alpha_max, hat) - alpha) for D < 0             (8, 13)
   An inhibitory connection takes -D for D (14, 15), and hands its D_in on with a minus (17).
   A neuron's D_x is shared out by activity: D_x,i = o_i / (sum_j o_j) D_x (11), and o_i gets
   the sum over the neurons that it feeds (18).

   w holds both of a connection's facts: |w| = 1 - alpha, its openness, and the sign is its
   kind, + excitatory. |w| is at least 1 - alpha_max, so the sign is never lost. With r = |w|
       g = 1 - (1 - o) / r     D_in = eta ((1 - o) - r (1 - t))     hat: r = (1 - o) / (1 - t)
   between their bounds, and the tests hold these forms to the draft's.

   Each hole, and what is done about it (ours):
     t is held in [0, 1], all that an element can give, and D is what is left: where D is 0
       nothing moves (as printed, 6 corrects even without an error where o < alpha; 8 has no
       case for 0). Then every sign is right: D_alpha falls for D > 0 and rises for D < 0.
     t = 1 divides by 0 in 7: hat is then 0, all open. o = 1: hat is 1 for any t < 1, so
       alpha_max: g(1) is 1 whatever alpha is, only the kind can change that. Keep inputs
       below 1. Inputs outside of [0, 1] count as 0 or 1.
     No active input: no connection is to blame, only the neuron's alpha moves (11: 0 / 0).
     16 in 17 has D as 14 has it, -D: as printed they agree where 0 < g < 1, else 17 would ask
       a closed connection for less than nothing.
     Batches and shared kernels: the mean of the changes over images and places.
     silent: a connection that is closed to this o stays as it is and hands on nothing. As
       printed it opens to any o however faint, by 1 - o at the least.
     sums: y is x itself, for a last layer whose scores shall have no ties at 0 and 1.
   dy, dx, dw and dtheta are corrections with a minus: y - dy is what is wanted, w - dw the rule's
   new w. So plain SGD with lr = 1 is exactly the rule, and other optimizers are refused.
   lsnn_dsc_project then keeps the bounds and switches: a connection that has nearly closed,
   alpha_max - alpha < tau, changes its kind, and begins there with alpha_max - alpha = tau (the
   draft's printed condition, alpha - alpha_max < tau, always holds).

   x N,C,H,W  y N,K,OH,OW  sum N,P,K: x of each neuron  w P,D,K, D = C*kh*kw: P = OH*OW if
   unshared, else 1  theta P,K: the neurons' alpha. The work is that of the active inputs: an o
   of 0 costs nothing forward or backward.                                     */
static lsnn_status lsnni_dsc_check(lsnn_ctx *cx, const lsnn_dsc *d, const lsnn_window *s)
{
    LSNNI_TRY(lsnni_window_check(cx, "dsc", s, 1));
    LSNNI_TRY(lsnni_window_simple(cx, "dsc", s));
    if (!(d->alpha_max > 0 && d->alpha_max < 1 && d->tau > 0 && d->tau < d->alpha_max))
        return lsnni_fail(cx, LSNN_EVALUE, "dsc: alpha_max is %g and tau %g: it must be 0 < tau < "
                          "alpha_max < 1", d->alpha_max, d->tau);
    if (!(d->xi > 0 && d->xi <= 1 && d->eta > 0 && d->eta <= 1))
        return lsnni_fail(cx, LSNN_EVALUE, "dsc: xi is %g and eta %g, they must lie in (0, 1]",
                          d->xi, d->eta);
    return LSNN_OK;
}

/* The window's pixel under tap q of place p, from 0 to 1; padding is 0.        */
static lsnn_real lsnni_dsc_pixel(const lsnn_window *s, const lsnn_real *x, int n, int p, int q)
{
    int taps = s->kernel_h * s->kernel_w, u = q % taps / s->kernel_w, v = q % s->kernel_w;
    int row = p / s->ow * s->stride_h - s->pad_top + u;
    int col = p % s->ow * s->stride_w - s->pad_left + v;
    lsnn_real o;
    if (row < 0 || row >= s->h || col < 0 || col >= s->w) return 0;
    o = x[lsnni_at4(n, q / taps, s->c, row, s->h, col, s->w)];
    return o > 0 ? LSNNI_MIN(o, 1) : 0;
}

/* An element of openness r: what it gives for o; its correction, 0 where none is possible; and
   what follows for its input and its openness.                                */
static double lsnni_dsc_g(double o, double r)
{
    double g = 1 - (1 - o) / r;
    return g < 0 ? 0 : g > 1 ? 1 : g;
}

static double lsnni_dsc_target(double g, double correction)
{
    double t = g + correction;
    return t < 0 ? 0 : t > 1 ? 1 : t;
}

static double lsnni_dsc_input(double o, double r, double t) { return (1 - o) - r * (1 - t); }

static double lsnni_dsc_open(double o, double r, double t, int up, double least)
{
    double hat = t < 1 ? (1 - o) / (1 - t) : 1;
    return (up ? LSNNI_MIN(1, hat) : LSNNI_MAX(least, hat)) - r;
}

/* What neuron k at place p learns: sets its D_x / eta, returns the change of its alpha / xi. */
static double lsnni_dsc_neuron(const lsnn_dsc *d, double sum, double theta, double correction,
                               double *wanted)
{
    double r = 1 - theta, y = lsnni_dsc_g(sum, r), t = lsnni_dsc_target(y, correction);
    *wanted = d->sums ? correction : 0;
    if (d->sums || (t <= y && t >= y)) return 0;
    *wanted = lsnni_dsc_input(sum, r, t);
    return -lsnni_dsc_open(sum, r, t, t > y, 1 - d->alpha_max);
}

/* Where the weights and thresholds of place p begin.                           */
static size_t lsnni_dsc_at(const lsnn_dsc *d, int p, int q, int depth, int k)
{
    return lsnni_at3(d->unshared ? p : 0, q, depth, 0, k);
}

static lsnn_real lsnni_dsc_y(const lsnn_dsc *d, double sum, const lsnn_real *theta, size_t unit)
{
    return LSNNI_R(d->sums ? sum : lsnni_dsc_g(sum, 1 - (double)theta[unit]));
}

static int lsnni_dsc_depth(const lsnn_window *s) { return s->c * s->kernel_h * s->kernel_w; }

/* ---- The naive pair, a neuron at a time                                    */
#ifdef LSNN_NAIVE
LSNN_API lsnn_status lsnn_dsc_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *sum,
                                      const lsnn_real *x, const lsnn_real *w,
                                      const lsnn_real *theta, const lsnn_dsc *d,
                                      const lsnn_window *s)
{
    int depth = lsnni_dsc_depth(s), places = s->oh * s->ow;
    LSNNI_TRY(lsnni_dsc_check(cx, d, s));
    for (int n = 0; n < s->n; n++)
    for (int p = 0; p < places; p++)
    for (int k = 0; k < s->k; k++) {
        double total = 0;
        for (int q = 0; q < depth; q++) {
            double v = (double)w[lsnni_dsc_at(d, p, q, depth, s->k) + (size_t)k];
            double g = lsnni_dsc_g((double)lsnni_dsc_pixel(s, x, n, p, q), fabs(v));
            total += v < 0 ? -g : g;
        }
        sum[lsnni_at3(n, p, places, k, s->k)] = LSNNI_R(total);
        y[lsnni_at3(n, k, s->k, p, places)] =
            lsnni_dsc_y(d, total, theta, lsnni_dsc_at(d, p, 0, 1, s->k) + (size_t)k);
    }
    return LSNN_OK;
}

/* Connection (p, q, k), whose share of D_x is `correction`: adds to *dw, returns D_in. */
static double lsnni_dsc_connection(const lsnn_dsc *d, double o, double v, double correction,
                                   lsnn_real *dw)
{
    double r = fabs(v), sign = v < 0 ? -1 : 1, g = lsnni_dsc_g(o, r);
    double t = lsnni_dsc_target(g, sign * correction);
    if ((t <= g && t >= g) || (d->silent && g <= 0)) return 0;
    if (dw)
        *dw -= LSNNI_R(d->share * sign * d->xi *
                       lsnni_dsc_open(o, r, t, t > g, 1 - d->alpha_max));
    return sign * d->eta * lsnni_dsc_input(o, r, t);
}

LSNN_API lsnn_status lsnn_dsc_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                       lsnn_real *dtheta, const lsnn_real *dy,
                                       const lsnn_real *x, const lsnn_real *sum,
                                       const lsnn_real *w, const lsnn_real *theta,
                                       const lsnn_dsc *d, const lsnn_window *s, int add)
{
    int depth = lsnni_dsc_depth(s), places = s->oh * s->ow, taps = s->kernel_h * s->kernel_w;
    LSNNI_TRY(lsnni_dsc_check(cx, d, s));
    lsnni_clear(dx, lsnni_at4(s->n, 0, s->c, 0, s->h, 0, s->w), add);
    for (int n = 0; n < s->n; n++)
    for (int p = 0; p < places; p++)
    for (int k = 0; k < s->k; k++) {
        size_t unit = lsnni_dsc_at(d, p, 0, 1, s->k) + (size_t)k;
        double active = 0, wanted, step;
        step = lsnni_dsc_neuron(d, (double)sum[lsnni_at3(n, p, places, k, s->k)],
                                d->sums ? 0 : (double)theta[unit],
                                -(double)dy[lsnni_at3(n, k, s->k, p, places)], &wanted);
        if (dtheta) dtheta[unit] -= LSNNI_R(d->share * d->xi * step);
        for (int q = 0; q < depth; q++) active += (double)lsnni_dsc_pixel(s, x, n, p, q);
        for (int q = 0; q < depth; q++) {
            double o = (double)lsnni_dsc_pixel(s, x, n, p, q);
            size_t at = lsnni_dsc_at(d, p, q, depth, s->k) + (size_t)k;
            int row = p / s->ow * s->stride_h - s->pad_top + q % taps / s->kernel_w;
            int col = p % s->ow * s->stride_w - s->pad_left + q % s->kernel_w;
            double up;
            if (o <= 0) continue;
            up = lsnni_dsc_connection(d, o, (double)w[at], o / active * d->eta * wanted,
                                      dw ? dw + at : NULL);
            if (dx) dx[lsnni_at4(n, q / taps, s->c, row, s->h, col, s->w)] -= LSNNI_R(up);
        }
    }
    return LSNN_OK;
}

#else /* ---- The fast pair: a row of connections at a time, those of one input to all neurons.
   Bound by a division a connection forward, two backward. Forward's tasks are places of
   images and blocks of neurons; backward's first gather each neuron's D_x, then go by inputs:
   all that an input's connections change, and its dx, belong to one task.    */
enum { LSNNI_DSC_UNITS = 256, LSNNI_DSC_TAPS = 8 };
typedef struct lsnni_dsc_run {
    const lsnni_kernels *kv;
    const lsnn_dsc *d;
    const lsnn_window *s;
    const lsnn_real *x, *w, *theta, *dy, *kept;      /* kept: forward's sum   */
    lsnn_real *y, *sum, *dx, *dw;
    lsnn_real *wanted, *step, *room; /* N,P,K each; room: two rows a worker   */
    int depth, places, parts, per_task;
} lsnni_dsc_run;

static void lsnni_dsc_task(void *user, int task, int worker)
{
    const lsnni_dsc_run *r = (const lsnni_dsc_run *)user;
    const lsnn_window *s = r->s;
    int at = task / r->parts, n = at / r->places, p = at % r->places;
    int first = task % r->parts * LSNNI_DSC_UNITS;
    int count = LSNNI_MIN(LSNNI_DSC_UNITS, s->k - first);
    lsnn_real *sum = r->sum + lsnni_at2(at, first, s->k);
    (void)worker;
    memset(sum, 0, (size_t)count * sizeof *sum);
    for (int q = 0; q < r->depth; q++) {
        lsnn_real o = lsnni_dsc_pixel(s, r->x, n, p, q);
        if (o <= 0) continue;
        r->kv->dsc(sum, r->w + lsnni_dsc_at(r->d, p, q, r->depth, s->k) + first, o,
                   (size_t)count);
    }
    for (int k = first; k < first + count; k++)
        r->y[lsnni_at3(n, k, s->k, p, r->places)] =
            lsnni_dsc_y(r->d, (double)sum[k - first], r->theta,
                        lsnni_dsc_at(r->d, p, 0, 1, s->k) + (size_t)k);
}

static void lsnni_dsc_run_set(lsnni_dsc_run *r, lsnn_ctx *cx, const lsnn_dsc *d,
                              const lsnn_window *s)
{
    memset(r, 0, sizeof *r);
    r->kv = lsnni_kernels_of(cx);
    r->d = d;
    r->s = s;
    r->depth = lsnni_dsc_depth(s);
    r->places = s->oh * s->ow;
}

static size_t lsnni_dsc_work(const lsnni_dsc_run *r)
{
    return lsnni_area(r->s->n, r->places) * lsnni_area(r->depth, r->s->k);
}

LSNN_API lsnn_status lsnn_dsc_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *sum,
                                      const lsnn_real *x, const lsnn_real *w,
                                      const lsnn_real *theta, const lsnn_dsc *d,
                                      const lsnn_window *s)
{
    lsnni_dsc_run r;
    LSNNI_TRY(lsnni_dsc_check(cx, d, s));
    lsnni_dsc_run_set(&r, cx, d, s);
    r.y = y; r.sum = sum; r.x = x; r.w = w; r.theta = theta;
    r.parts = lsnni_div_up(s->k, LSNNI_DSC_UNITS);
    lsnni_parallel_some(cx, lsnni_dsc_work(&r), s->n * r.places * r.parts, lsnni_dsc_task, &r);
    return LSNN_OK;
}

/* What the neurons of one place of one image want: wanted gets eta D_x / sum_j o_j.  */
static void lsnni_dsc_wanted_task(void *user, int at, int worker)
{
    const lsnni_dsc_run *r = (const lsnni_dsc_run *)user;
    const lsnn_window *s = r->s;
    int n = at / r->places, p = at % r->places;
    double active = 0;
    (void)worker;
    for (int q = 0; q < r->depth; q++) active += (double)lsnni_dsc_pixel(s, r->x, n, p, q);
    for (int k = 0; k < s->k; k++) {
        size_t to = lsnni_at2(at, k, s->k), unit = lsnni_dsc_at(r->d, p, 0, 1, s->k) + (size_t)k;
        double wanted, step;
        step = lsnni_dsc_neuron(r->d, (double)r->kept[to], r->d->sums ? 0 :
                                (double)r->theta[unit],
                                -(double)r->dy[lsnni_at3(n, k, s->k, p, r->places)], &wanted);
        r->step[to] = LSNNI_R(step);
        r->wanted[to] = LSNNI_R(active > 0 ? r->d->eta * wanted / active : 0);
    }
}

/* One tap of all places of all images.                                        */
static void lsnni_dsc_tap(const lsnni_dsc_run *r, int q, lsnn_real *step)
{
    const lsnn_window *s = r->s;
    int taps = s->kernel_h * s->kernel_w;
    size_t count = (size_t)s->k;
    lsnn_real *up = step + count;
    for (int at = 0; at < s->n * r->places; at++) {
        int n = at / r->places, p = at % r->places;
        int row = p / s->ow * s->stride_h - s->pad_top + q % taps / s->kernel_w;
        int col = p % s->ow * s->stride_w - s->pad_left + q % s->kernel_w;
        size_t from = lsnni_dsc_at(r->d, p, q, r->depth, s->k);
        lsnn_real o = lsnni_dsc_pixel(s, r->x, n, p, q);
        if (o <= 0) continue;
        r->kv->dsc_back(step, up, r->w + from, r->wanted + lsnni_at2(at, 0, s->k), o,
                        1 - r->d->alpha_max, r->d->silent, count);
        if (r->dw) r->kv->axpy(r->dw + from, -r->d->share * r->d->xi, step, count);
        if (r->dx)
            r->dx[lsnni_at4(n, q / taps, s->c, row, s->h, col, s->w)] -=
                LSNNI_R(r->d->eta * r->kv->sum(up, count));
    }
}

static void lsnni_dsc_back_task(void *user, int task, int worker)
{
    const lsnni_dsc_run *r = (const lsnni_dsc_run *)user;
    int end = LSNNI_MIN((task + 1) * r->per_task, r->depth);
    for (int q = task * r->per_task; q < end; q++)
        lsnni_dsc_tap(r, q, r->room + 2 * (size_t)r->s->k * (size_t)worker);
}

LSNN_API lsnn_status lsnn_dsc_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                       lsnn_real *dtheta, const lsnn_real *dy,
                                       const lsnn_real *x, const lsnn_real *sum,
                                       const lsnn_real *w, const lsnn_real *theta,
                                       const lsnn_dsc *d, const lsnn_window *s, int add)
{
    lsnni_dsc_run r;
    lsnni_want want[3], *take = want;
    int taps = s->kernel_h * s->kernel_w, rows;
    size_t units;
    LSNNI_TRY(lsnni_dsc_check(cx, d, s));
    lsnni_dsc_run_set(&r, cx, d, s);
    r.dx = dx; r.dw = dw; r.dy = dy; r.x = x; r.kept = sum; r.w = w; r.theta = theta;
    rows = s->n * r.places;
    units = lsnni_area(rows, s->k);
    LSNNI_WANT(&take, r.wanted, units);
    LSNNI_WANT(&take, r.step, units);
    LSNNI_WANT(&take, r.room, 2 * lsnni_area(lsnn_ctx_threads(cx), s->k));
    LSNNI_TRY(lsnni_take(cx, want, take));
    if (cx->rehearsal_) return LSNN_OK;
    lsnni_clear(dx, lsnni_at4(s->n, 0, s->c, 0, s->h, 0, s->w), add);
    lsnni_parallel_some(cx, units, rows, lsnni_dsc_wanted_task, &r);
    for (int at = 0; at < rows && dtheta; at++)
        r.kv->axpy(dtheta + lsnni_dsc_at(d, at % r.places, 0, 1, s->k), -d->share * d->xi,
                   r.step + lsnni_at2(at, 0, s->k), (size_t)s->k);
    r.per_task = dx ? taps * lsnni_div_up(LSNNI_DSC_TAPS, taps) : LSNNI_DSC_TAPS;
    lsnni_parallel_some(cx, lsnni_dsc_work(&r), lsnni_div_up(r.depth, r.per_task),
                        lsnni_dsc_back_task, &r);
    return LSNN_OK;
}
#endif /* LSNN_NAIVE */

/* ---- After the step: bounds, and switching                                   */
LSNN_API void lsnn_dsc_project(lsnn_ctx *cx, lsnn_real *w, size_t connections,
                               lsnn_real *theta, size_t neurons, const lsnn_dsc *d)
{
    lsnn_real most = LSNNI_R(d->alpha_max);
    lsnni_kernels_of(cx)->dsc_bounds(w, 1 - d->alpha_max + d->tau, connections);
    for (size_t i = 0; i < neurons; i++) theta[i] = LSNNI_MIN(LSNNI_MAX(theta[i], 0), most);
}

LSNN_API double lsnn_dsc_active(const lsnn_real *x, const lsnn_real *w, const lsnn_dsc *d,
                                const lsnn_window *s)
{
    int depth = lsnni_dsc_depth(s), places = s->oh * s->ow;
    double count = 0;
    for (int n = 0; n < s->n; n++)
    for (int p = 0; p < places; p++)
    for (int q = 0; q < depth; q++) {
        lsnn_real o = lsnni_dsc_pixel(s, x, n, p, q);
        const lsnn_real *row = w + lsnni_dsc_at(d, p, q, depth, s->k);
        for (int k = 0; k < s->k && o > 0; k++)
            count += lsnni_dsc_g((double)o, fabs((double)row[k])) > 0;
    }
    return count;
}

/* ---- The layers: dense, shared (as a convolution) and unshared (as local2d) -------------*/
static lsnn_dsc lsnni_dsc_of(const lsnn_layer_plan *p, int unshared, int images)
{
    lsnn_dsc d;
    d.alpha_max = p->o.dsc_alpha_max;
    d.tau = p->o.dsc_tau;
    d.xi = p->o.dsc_xi;
    d.eta = p->o.dsc_eta;
    d.unshared = unshared;
    d.silent = p->o.dsc_silent;
    d.sums = p->o.dsc_sums;
    d.share = 1.0 / images / (unshared ? 1 : lsnni_inner(p->out));
    return d;
}

/* First values by >>dsc's filter alienation: |w| of M connections are M numbers, equally far
   apart, in random order, so no two are alike for any seed (section III). A float must be able
   to tell them apart.                                                         */
static void lsnni_dsc_range(const lsnn_layer_plan *p, double *from, double *step)
{
    double open = p->o.dsc_alpha_max - p->o.dsc_tau;     /* alpha at most, after project */
    *step = p->o.dsc_spread * open / (double)p->param[0].count;
    *from = 1 - open + *step / 2;
}

static lsnn_status lsnni_dsc_fits(lsnn_ctx *cx, const lsnn_layer_plan *p)
{
    double from, step, least = sizeof(lsnn_real) == sizeof(float) ? FLT_EPSILON : DBL_EPSILON;
    if (!(p->o.dsc_spread > 0 && p->o.dsc_spread <= 1 && p->o.dsc_theta >= 0 &&
          p->o.dsc_theta <= p->o.dsc_alpha_max))
        return lsnni_fail(cx, LSNN_EVALUE, "dsc: dsc_spread is %g, it must lie in (0, 1], and "
                          "dsc_theta %g in [0, dsc_alpha_max]", p->o.dsc_spread, p->o.dsc_theta);
    lsnni_dsc_range(p, &from, &step);
    if (step >= least) return LSNN_OK;
    return lsnni_fail(cx, LSNN_EVALUE, "dsc: %.0f connections cannot all begin with different "
                      "values %g apart: raise dsc_spread, now %g, or build with LSNN_DOUBLE",
                      (double)p->param[0].count, step, p->o.dsc_spread);
}

static void lsnni_init_dsc(const lsnn_layer_plan *p, int i, lsnn_real *v, lsnn_rng *rng)
{
    double from, step;
    size_t count = p->param[i].count;
    if (i == 1) {
        for (size_t j = 0; j < count; j++) v[j] = LSNNI_R(p->o.dsc_theta);
        return;
    }
    lsnni_dsc_range(p, &from, &step);
    for (size_t j = 0; j < count; j++) v[j] = LSNNI_R(from + (double)j * step);
    for (size_t j = count - 1; j > 0; j--) {
        size_t other = (size_t)lsnn_rng_int(rng, (int)j + 1);
        lsnn_real old = v[j];
        v[j] = v[other];
        v[other] = old;
    }
    for (size_t j = 0; j < count; j++) if (lsnn_rng_int(rng, 2)) v[j] = -v[j];
}

static lsnn_status lsnni_plan_dsc(lsnn_ctx *cx, lsnn_layer_plan *p, const lsnn_window *s,
                                  int unshared)
{
    lsnn_options *o = &p->o;
    lsnn_dsc d;
    int places = s->oh * s->ow;
    p->out.c = s->k; p->out.h = s->oh; p->out.w = s->ow;
    o->dsc_alpha_max = lsnni_or(o->dsc_alpha_max, 0.9);
    o->dsc_tau = lsnni_or(o->dsc_tau, 0.5);
    o->dsc_xi = lsnni_or(o->dsc_xi, 0.3);
    o->dsc_eta = lsnni_or(o->dsc_eta, 0.5);
    o->dsc_theta = lsnni_or(o->dsc_theta, 0.1);
    o->dsc_spread = lsnni_or(o->dsc_spread, 0.25);
    d = lsnni_dsc_of(p, unshared, 1);
    LSNNI_TRY(lsnni_dsc_check(cx, &d, s));
    if ((double)places * lsnni_dsc_depth(s) * s->k > INT32_MAX / 4)
        return lsnni_fail(cx, LSNN_ESHAPE, "dsc: %.3g connections",
                          (double)places * lsnni_dsc_depth(s) * s->k);
    p->param[0] = lsnni_spec("weight", 3, unshared ? places : 1, lsnni_dsc_depth(s), s->k, 0);
    p->param[1] = lsnni_spec("theta", 2, unshared ? places : 1, s->k, 0, 0);
    p->param[0].no_decay = p->param[1].no_decay = 1;
    p->params = o->dsc_sums ? 1 : 2;
    p->keep_per_image = lsnni_area(places, s->k);
    p->macs = (double)places * lsnni_dsc_depth(s) * s->k;
    lsnni_connect(p, lsnni_dsc_depth(s));
    return lsnni_dsc_fits(cx, p);
}

/* A dense layer's window: each input a channel of one pixel.                   */
static void lsnni_dsc_dense_window(lsnn_window *s, const lsnn_layer_plan *p, int n)
{
    memset(s, 0, sizeof *s);
    s->n = n; s->c = lsnni_features(p->in[0]); s->k = p->o.filters;
    s->h = s->w = s->oh = s->ow = s->kernel_h = s->kernel_w = s->stride_h = s->stride_w = 1;
    s->dilation_h = s->dilation_w = s->groups = 1;
}

static lsnn_status lsnni_plan_dsc_dense(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_window s;
    lsnni_dsc_dense_window(&s, p, 1);
    return lsnni_plan_dsc(cx, p, &s, 0);
}

static lsnn_status lsnni_plan_dsc_conv2d(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_plan_kernels(cx, p, &s));
    return lsnni_plan_dsc(cx, p, &s, 0);
}

static lsnn_status lsnni_plan_dsc_local2d(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_plan_kernels(cx, p, &s));
    return lsnni_plan_dsc(cx, p, &s, 1);
}

static lsnn_status lsnni_dsc_forward(lsnn_ctx *cx, lsnn_call *c, const lsnn_window *s,
                                     int unshared)
{
    lsnn_dsc d = lsnni_dsc_of(c->plan, unshared, c->total);
    return lsnn_dsc_forward(cx, c->y, c->keep, c->x[0], c->param[0], c->param[1], &d, s);
}

static lsnn_status lsnni_dsc_backward(lsnn_ctx *cx, lsnn_call *c, const lsnn_window *s,
                                      int unshared)
{
    lsnn_dsc d = lsnni_dsc_of(c->plan, unshared, c->total);
    return lsnn_dsc_backward(cx, c->dx[0], c->dparam[0], c->dparam[1], c->dy, c->x[0], c->keep,
                             c->param[0], c->param[1], &d, s, c->add[0]);
}

static lsnn_status lsnni_forward_dsc_dense(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    lsnni_dsc_dense_window(&s, c->plan, c->n);
    return lsnni_dsc_forward(cx, c, &s, 0);
}

static lsnn_status lsnni_backward_dsc_dense(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    lsnni_dsc_dense_window(&s, c->plan, c->n);
    return lsnni_dsc_backward(cx, c, &s, 0);
}

static lsnn_status lsnni_forward_dsc_conv2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    return lsnni_dsc_forward(cx, c, &s, 0);
}

static lsnn_status lsnni_backward_dsc_conv2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    return lsnni_dsc_backward(cx, c, &s, 0);
}

static lsnn_status lsnni_forward_dsc_local2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    return lsnni_dsc_forward(cx, c, &s, 1);
}

static lsnn_status lsnni_backward_dsc_local2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    return lsnni_dsc_backward(cx, c, &s, 1);
}

static lsnn_status lsnni_project_dsc(lsnn_ctx *cx, const lsnn_projection *p)
{
    lsnn_dsc d = lsnni_dsc_of(p->plan, 0, 1);
    lsnn_dsc_project(cx, p->param[0], p->param[0] ? p->plan->param[0].count : 0, p->param[1],
                     p->param[1] ? p->plan->param[1].count : 0, &d);
    return LSNN_OK;
}

#define LSNNI_DSC_OPTIONS "filters lr_factor freeze dsc_alpha_max dsc_tau dsc_xi dsc_eta " \
                          "dsc_theta dsc_spread dsc_silent dsc_sums "
static const lsnn_layer_type lsnni_dsc_dense_type = {
    "dsc_dense", LSNNI_DSC_OPTIONS, 1, 1,
    LSNN_Y_FREE | LSNN_REHEARSES | LSNN_OWN_RULE,
    lsnni_plan_dsc_dense, lsnni_forward_dsc_dense, lsnni_backward_dsc_dense, lsnni_init_dsc,
    lsnni_project_dsc,
    NULL, NULL, NULL
};

static const lsnn_layer_type lsnni_dsc_conv2d_type = {
    "dsc_conv2d", LSNNI_DSC_OPTIONS LSNNI_WINDOW_OPTIONS, 1, 1,
    LSNN_Y_FREE | LSNN_REHEARSES | LSNN_OWN_RULE,
    lsnni_plan_dsc_conv2d, lsnni_forward_dsc_conv2d, lsnni_backward_dsc_conv2d, lsnni_init_dsc,
    lsnni_project_dsc,
    NULL, NULL, NULL
};

static const lsnn_layer_type lsnni_dsc_local2d_type = {
    "dsc_local2d", LSNNI_DSC_OPTIONS LSNNI_WINDOW_OPTIONS, 1, 1,
    LSNN_Y_FREE | LSNN_REHEARSES | LSNN_OWN_RULE,
    lsnni_plan_dsc_local2d, lsnni_forward_dsc_local2d, lsnni_backward_dsc_local2d,
    lsnni_init_dsc, lsnni_project_dsc,
    NULL, NULL, NULL
};

LSNN_API int lsnn_dsc_dense(lsnn_net *net, int x, int outputs, const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_dsc_dense_type, x, outputs, 0, o);
}

LSNN_API int lsnn_dsc_conv2d(lsnn_net *net, int x, int filters, int kernel,
                             const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_dsc_conv2d_type, x, filters, kernel, o);
}

LSNN_API int lsnn_dsc_local2d(lsnn_net *net, int x, int filters, int kernel,
                              const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_dsc_local2d_type, x, filters, kernel, o);
}
