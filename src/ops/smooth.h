/* ---- >>smooth: LSNN's smoother ------------------------------------------------------
   y[n,k,p] = sum_l U[k,l,p] a[n,k,l,p] + b[k]                                (Eq. 1)
   First theta -> U and dL/dU -> dtheta, one map at a time; then U's use on a.

   e[p] = -(p - mu)' Phi' Phi (p - mu),  Phi = (alpha gamma; gamma beta)      (Eq. 6)
   none  G = exp(e)          sum  G = exp(e) / Z          mean  G = P exp(e) / Z
   Z = sum_p exp(e[p])                                                        (Eq. 8, 9)
   U = G, or of M Gaussians  U = sum_m w_m G_m,  w = softmax(logits)          (4.2.1)
   Each G is normalised by itself: the maps are those of Eq. 8 on the whole mixture with
   weights w_m / Z_m, but a Gaussian far outside keeps its weight and its gradient.
   Eq. 8 as printed is 0/0 in floats for a far-away mu, the very case it is for.
   With q any point and r = Phi (p - q),
       e[p] - e[q] = -r . (r + 2 Phi (q - mu)),
   which loses nothing to cancellation, however far mu is; so the maps are a
   softmax of exponents relative to the largest one, never of the exponents.  */
LSNN_API int lsnn_smoother_theta(const lsnn_smoother *s)
{
    if ((int)s->shape < 0 || (int)s->shape >= LSNNI_SHAPES) return 0;
    return s->shape == LSNN_TABLE ? s->h * s->w : lsnni_parts(s) * lsnni_stride(s);
}

/* The five numbers of a Gaussian.                                            */
static void lsnni_numbers(double *t, const lsnn_real *theta, const lsnn_smoother *s)
{
    const lsnni_family *f = &lsnni_families[s->shape];
    memset(t, 0, LSNNI_NUMBERS * sizeof *t);
    for (int i = 0; i < f->count; i++) t[f->number[i]] = (double)theta[i];
}

static lsnn_status lsnni_smooth_check(lsnn_ctx *cx, const lsnn_smoother *s)
{
    int size[5];
    size[0] = s->n; size[1] = s->k; size[2] = s->rank ? s->rank : 1;
    size[3] = s->h; size[4] = s->w;
    LSNNI_TRY(lsnni_sizes(cx, "smooth (images x kernels x rank x rows x columns)", 5, size));
    if ((double)s->n * s->k * size[2] > INT_MAX || (double)s->h * s->w > INT_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE, "smooth: %d images x %d kernels x rank %d, maps of "
                          "%d x %d are too many", s->n, s->k, size[2], s->h, s->w);
    if ((int)s->shape < 0 || (int)s->shape >= LSNNI_SHAPES || (int)s->normalise < 0 ||
        s->normalise > LSNN_NORMALISE_MEAN)
        return lsnni_fail(cx, LSNN_EVALUE, "smooth: shape %d or normalise %d is unknown",
                          (int)s->shape, (int)s->normalise);
    if (s->shape == LSNN_TABLE && (s->normalise != LSNN_NORMALISE_NONE || s->mixture > 1))
        return lsnni_fail(cx, LSNN_EVALUE,
                          "smooth: a table takes no normalisation and no mixture");
    size[3] = lsnni_parts(s);
    size[4] = LSNNI_NUMBERS + 1;
    if (s->mixture < 0 || (double)size[3] * size[4] > INT_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE, "smooth: a mixture of %d Gaussians, 1 to %d can be",
                          s->mixture, INT_MAX / size[4]);
    LSNNI_TRY(lsnni_sizes(cx, "smooth (images x kernels x rank x mixture x numbers)", 5, size));
    LSNNI_TRY(lsnni_lanes_fit(cx, "smooth", s->lanes, s->n));
    return LSNN_OK;
}

/* ---- The naive pair: Eq. 1, 6, 7 and 8 as they are printed, pixel by pixel. Only two things
   are not: the largest exponent is subtracted before exp where maps are normalised, and
   dgamma is that of a symmetric Phi.                                         */
#ifdef LSNN_NAIVE
/* Gaussian m of the map whose theta this is.                                  */
static lsnni_bell lsnni_bell_of(const lsnn_real *theta, int m, const lsnn_smoother *s)
{
    int stride = lsnni_stride(s), parts = lsnni_parts(s), count = s->h * s->w;
    const lsnn_real *logit = theta + stride - 1;
    double sum = 0, slope[LSNNI_NUMBERS];
    lsnni_bell g;
    lsnni_numbers(g.t, theta + m * stride, s);
    for (int i = 0; i < parts && parts > 1; i++)
        sum += exp((double)logit[i * stride] - (double)logit[m * stride]);
    g.weight = parts > 1 ? 1 / sum : 1;
    g.shift = 0;
    g.scale = 1;
    if (s->normalise == LSNN_NORMALISE_NONE) return g;
    g.shift = -HUGE_VAL;
    for (int p = 0; p < count; p++)
        g.shift = LSNNI_MAX(g.shift, lsnni_bell_exponent(&g, s, p, slope));
    sum = 0;
    for (int p = 0; p < count; p++) sum += lsnni_bell_at(&g, s, p);
    g.scale = (s->normalise == LSNN_NORMALISE_MEAN ? count : 1) / sum;
    return g;
}

static int lsnni_maps(const lsnn_smoother *s)
{
    return s->k * (s->rank ? s->rank : 1) * (s->per_image ? s->n : 1);
}

/* The map of image n, channel k, rank l.                                      */
static int lsnni_map_of(const lsnn_smoother *s, int n, int k, int l)
{
    return ((s->per_image ? n : 0) * s->k + k) * (s->rank ? s->rank : 1) + l;
}

LSNN_API lsnn_status lsnn_smoother_map(lsnn_ctx *cx, lsnn_real *u, const lsnn_real *theta,
                                       const lsnn_smoother *s)
{
    int count = s->h * s->w;
    LSNNI_TRY(lsnni_smooth_check(cx, s));
    if (cx->rehearsal_) return LSNN_OK;
    for (int map = 0; map < lsnni_maps(s); map++) {
        const lsnn_real *t = theta + lsnni_area(map, lsnn_smoother_theta(s));
        for (int p = 0; p < count; p++) {
            double sum = s->shape == LSNN_TABLE ? (double)t[p] : 0;
            u[lsnni_at2(map, p, count)] = LSNNI_R(sum);
        }
        for (int m = 0; m < lsnni_parts(s) && s->shape != LSNN_TABLE; m++) {
            lsnni_bell g = lsnni_bell_of(t, m, s);
            for (int p = 0; p < count; p++)
                u[lsnni_at2(map, p, count)] += LSNNI_R(g.weight * lsnni_bell_at(&g, s, p));
        }
    }
    return LSNN_OK;
}

/* y from maps that are there (Eq. 1).                                         */
static lsnn_status lsnni_smooth_apply(lsnn_ctx *cx, lsnn_real *y, lsnn_real *u,
                                      const lsnn_real *a, const lsnn_real *b,
                                      const lsnn_smoother *s)
{
    int rank = s->rank ? s->rank : 1, count = s->h * s->w;
    LSNNI_TRY(lsnni_smooth_check(cx, s));
    if (cx->rehearsal_) return LSNN_OK;
    for (int n = 0; n < s->n; n++)
    for (int k = 0; k < s->k; k++)
    for (int p = 0; p < count; p++) {
        lsnn_real sum = 0;
        for (int l = 0; l < rank; l++) {
            lsnn_real map = u[lsnni_at2(lsnni_map_of(s, n, k, l), p, count)];
            sum += map * a[lsnni_at4(n, k, s->k, l, rank, p, count)];
            if (b && s->smooth_bias) sum += map * b[k];
        }
        y[lsnni_at3(n, k, s->k, p, count)] = sum + (b && !s->smooth_bias ? b[k] : 0);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_smooth_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *u,
                                         const lsnn_real *a, const lsnn_real *theta,
                                         const lsnn_real *b, const lsnn_smoother *s)
{
    LSNNI_TRY(lsnn_smoother_map(cx, u, theta, s));
    return lsnni_smooth_apply(cx, y, u, a, b, s);
}

/* dL/dU of a map at pixel p: over all images that use it.                     */
static double lsnni_du(const lsnn_smoother *s, int map, int p, const lsnn_real *dy,
                       const lsnn_real *a, const lsnn_real *b)
{
    int rank = s->rank ? s->rank : 1, k = map / rank % s->k, l = map % rank;
    int count = s->h * s->w;
    double sum = 0;
    for (int n = 0; n < s->n; n++) {
        double product;
        if (lsnni_map_of(s, n, k, l) != map) continue;
        product = (double)a[lsnni_at4(n, k, s->k, l, rank, p, count)];
        if (b && s->smooth_bias) product += (double)b[k];
        sum += (double)dy[lsnni_at3(n, k, s->k, p, count)] * product;
    }
    return sum;
}

/* Adds Gaussian m's part of dtheta, at t. dL/de_p = w G_p (dL/dU_p - sum_q S_q dL/dU_q), where
   S = G / sum G comes from the normalisation, as in a softmax; without one that sum is
   left out. dL/dlogit = sum_p w (G_p - U_p) dL/dU_p.             */
static void lsnni_bell_back(lsnn_real *t, const lsnni_bell *g, const lsnn_smoother *s, int map,
                            const lsnn_real *dy, const lsnn_real *a, const lsnn_real *u,
                            const lsnn_real *b)
{
    const lsnni_family *f = &lsnni_families[s->shape];
    double dt[LSNNI_NUMBERS] = { 0, 0, 0, 0, 0 }, slope[LSNNI_NUMBERS];
    double middle = 0, sum = 0, logit = 0;
    int count = s->h * s->w;
    for (int p = 0; p < count; p++) sum += lsnni_bell_at(g, s, p);
    for (int p = 0; p < count && s->normalise != LSNN_NORMALISE_NONE; p++)
        middle += lsnni_bell_at(g, s, p) / sum * lsnni_du(s, map, p, dy, a, b);
    for (int p = 0; p < count; p++) {
        double du = lsnni_du(s, map, p, dy, a, b), bell = lsnni_bell_at(g, s, p);
        double de = g->weight * bell * (du - middle);
        lsnni_bell_exponent(g, s, p, slope);
        for (int i = 0; i < LSNNI_NUMBERS; i++) dt[i] += de * slope[i];
        logit += g->weight * (bell - (double)u[lsnni_at2(map, p, count)]) * du;
    }
    for (int i = 0; i < f->count; i++) t[i] += LSNNI_R(dt[f->number[i]]);
    if (lsnni_parts(s) > 1) t[f->count] += LSNNI_R(logit);
}

LSNN_API lsnn_status lsnn_smooth_backward(lsnn_ctx *cx, lsnn_real *da, lsnn_real *dtheta,
                                          lsnn_real *db, const lsnn_real *dy,
                                          const lsnn_real *a, const lsnn_real *u,
                                          const lsnn_real *theta, const lsnn_real *b,
                                          const lsnn_smoother *s, int add, int add_theta)
{
    int rank = s->rank ? s->rank : 1, count = s->h * s->w, numbers = lsnn_smoother_theta(s);
    LSNNI_TRY(lsnni_smooth_check(cx, s));
    if (cx->rehearsal_) return LSNN_OK;
    if (s->per_image) lsnni_clear(dtheta, lsnni_area(lsnni_maps(s), numbers), add_theta);
    for (int map = 0; map < lsnni_maps(s) && dtheta; map++) {
        size_t at = lsnni_area(map, numbers);
        for (int p = 0; p < count && s->shape == LSNN_TABLE; p++)
            dtheta[at + (size_t)p] += LSNNI_R(lsnni_du(s, map, p, dy, a, b));
        for (int m = 0; m < lsnni_parts(s) && s->shape != LSNN_TABLE; m++) {
            lsnni_bell g = lsnni_bell_of(theta + at, m, s);
            lsnni_bell_back(dtheta + at + m * lsnni_stride(s), &g, s, map, dy, a, u, b);
        }
    }
    for (int n = 0; n < s->n; n++)                       /* last: da may be dy */
    for (int k = 0; k < s->k; k++)
    for (int p = 0; p < count; p++) {
        lsnn_real g = dy[lsnni_at3(n, k, s->k, p, count)];
        if (db && !s->smooth_bias) db[k] += g;
        for (int l = 0; l < rank; l++) {
            lsnn_real map = u[lsnni_at2(lsnni_map_of(s, n, k, l), p, count)];
            size_t to = lsnni_at4(n, k, s->k, l, rank, p, count);
            if (db && s->smooth_bias) db[k] += g * map;
            if (da) da[to] = g * map + (add ? da[to] : 0);
        }
    }
    return LSNN_OK;
}
#endif /* LSNN_NAIVE */

/* Either pair's: y from maps that are there.                                */
static lsnn_status lsnni_smooth_apply(lsnn_ctx *cx, lsnn_real *y, lsnn_real *u,
                                      const lsnn_real *a, const lsnn_real *b,
                                      const lsnn_smoother *s);

/* ---- The layer ------------------------------------------------------------------------*/
/* Options that only theta of the layer's own can have, and only as one of TKN's windows. */
static lsnn_status lsnni_smooth_options(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_options *o = &p->o;
    int paper = o->clip == LSNN_CLIP_PAPER;
    if ((int)o->clip < 0 || o->clip > LSNN_CLIP_CODE)
        return lsnni_fail(cx, LSNN_EVALUE, "smooth: clip %d is unknown", (int)o->clip);
    if ((o->l2 > 0 || o->clip) && !lsnni_attentive(o->smooth_shape))
        return lsnni_fail(cx, LSNN_EVALUE, "smooth: l2 %g and clip %d are for TKN's windows, "
                          "smooth_shape is %d", o->l2, (int)o->clip, (int)o->smooth_shape);
    if ((o->l2 > 0 || o->clip) && p->inputs == 2)
        return lsnni_fail(cx, LSNN_EVALUE, "smooth: l2 %g and clip %d are for theta of the "
                          "layer's own, not for a node's", o->l2, (int)o->clip);
    if (paper ? o->kernel_h < 1 || o->kernel_w < 0 : o->kernel_h || o->kernel_w)
        return lsnni_fail(cx, LSNN_EVALUE, "smooth: kernel_h %d, kernel_w %d, the sizes of the "
                          "kernels that a window may not fall below, go with "
                          "LSNN_CLIP_PAPER", o->kernel_h, o->kernel_w);
    if (paper && !o->kernel_w) o->kernel_w = o->kernel_h;
    return LSNN_OK;
}

static lsnn_status lsnni_plan_smooth(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_smoother s;
    int numbers, bias;
    if (!p->o.rank) p->o.rank = 1;
    if (!p->o.mixture) p->o.mixture = 1;
    if (p->o.rank < 1 || p->in[0].c % p->o.rank)
        return lsnni_fail(cx, LSNN_ESHAPE, "smooth: %d channels are not a multiple of rank %d",
                          p->in[0].c, p->o.rank);
    if (p->o.smooth_bias && p->o.no_bias)
        return lsnni_fail(cx, LSNN_EVALUE, "smooth: smooth_bias says where the bias is added, "
                          "no_bias that there is none");
    s = lsnni_smoother_of(p, 1, 0);
    LSNNI_TRY(lsnni_smooth_check(cx, &s));
    LSNNI_TRY(lsnni_smooth_options(cx, p));
    numbers = lsnn_smoother_theta(&s);
    if (s.per_image && lsnni_area(numbers, p->in[0].c) != (size_t)lsnni_features(p->in[1]))
        return lsnni_fail(cx, LSNN_ESHAPE,
                          "smooth: theta has %d features, %d maps of %d numbers "
                          "need %.0f", lsnni_features(p->in[1]), p->in[0].c, numbers,
                          (double)numbers * p->in[0].c);
    p->out = p->in[0];
    p->out.c = s.k;
    bias = s.per_image ? 0 : 1;      /* parameter 0 is the bias or theta      */
    p->param[0] = lsnni_spec("theta", 2, p->in[0].c, numbers, 0, 0);
    p->param[0].l2 = p->o.l2;
    p->param[0].l2_every = p->o.l2 > 0 ? lsnni_stride(&s) : 0;
    p->param[0].l2_mask = lsnni_attention_widths(s.shape);
    p->param[bias] = lsnni_spec("bias", 1, s.k, 0, 0, 0);
    p->param[0].no_decay = p->param[bias].no_decay = 1;
    p->params = bias + (p->o.no_bias ? 0 : 1);
    p->keep_name = "map";
    p->keep_shape = p->in[0];
    if (s.per_image) p->keep_per_image = (size_t)lsnni_features(p->in[0]);
    else p->keep_fixed = (size_t)lsnni_features(p->in[0]);
    return LSNN_OK;
}

/* Which parameter is the bias: 0 if theta is a node, else 1; -1 if there is none. */
static int lsnni_smooth_bias_index(const lsnn_call *c)
{
    int index = c->plan->inputs == 2 ? 0 : 1;
    return c->plan->o.no_bias ? -1 : index;
}

static lsnn_status lsnni_forward_smooth(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_smoother s = lsnni_smoother_of(c->plan, c->n, c->lanes);
    int bias = lsnni_smooth_bias_index(c);
    if (s.per_image) LSNNI_TRY(lsnn_smoother_map(cx, c->keep, c->x[1], &s));
    else if (!*c->kept)              /* maps that all images share, until theta changes */
        LSNNI_TRY(lsnn_smoother_map(cx, c->keep, c->param[0], &s));
    *c->kept = !s.per_image;
    return lsnni_smooth_apply(cx, c->y, c->keep, c->x[0], bias < 0 ? NULL : c->param[bias], &s);
}

static lsnn_status lsnni_backward_smooth(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_smoother s = lsnni_smoother_of(c->plan, c->n, c->lanes);
    int bias = lsnni_smooth_bias_index(c);
    return lsnn_smooth_backward(cx, c->dx[0], s.per_image ? c->dx[1] : c->dparam[0],
                                bias < 0 ? NULL : c->dparam[bias], c->dy, c->x[0], c->keep,
                                s.per_image ? c->x[1] : c->param[0],
                                bias < 0 ? NULL : c->param[bias], &s, c->add[0], c->add[1]);
}

/* mu ~ U(0.2, 0.8), alpha = beta = 1.5, gamma = 0, logits 0; a table begins at 1; attention at
   mu = 0.5, s = 1, rho = 0.                                                  */
static void lsnni_init_smooth(const lsnn_layer_plan *p, int i, lsnn_real *v, lsnn_rng *rng)
{
    static const double bells[LSNNI_NUMBERS] = { 0.2, 0.2, 1.5, 1.5, 0 };
    static const double windows[LSNNI_NUMBERS] = { 0.5, 1, 0.5, 1, 0 };
    const double *start = lsnni_attentive(p->o.smooth_shape) ? windows : bells;
    lsnn_smoother s = lsnni_smoother_of(p, 1, 0);
    const lsnni_family *f = &lsnni_families[s.shape];
    int is_theta = p->inputs == 1 && i == 0, stride = lsnni_stride(&s);
    for (size_t j = 0; j < p->param[i].count; j++) {
        int part = stride ? (int)(j % (size_t)stride) : 0;
        int number = part < f->count ? f->number[part] : LSNNI_GAMMA;
        double random = is_theta && stride && start == bells && number < LSNNI_ALPHA
            ? 0.6 * lsnn_rng_uniform(rng) : 0;
        v[j] = LSNNI_R(!is_theta ? 0 : stride ? start[number] + random : 1);
    }
}

/* After a step: windows of this layer's own back to where `clip` lets them be. */
static lsnn_status lsnni_project_smooth(lsnn_ctx *cx, const lsnn_projection *p)
{
    const lsnn_options *o = &p->plan->o;
    lsnn_smoother s = lsnni_smoother_of(p->plan, 1, 0);
    size_t stride = (size_t)lsnni_stride(&s);
    size_t count = p->plan->param[0].count;
    lsnn_real *t = p->param[0];
    (void)cx;
    if (!o->clip || !t) return LSNN_OK;
    for (size_t i = 0; i < count; i += stride) {
        lsnni_attention_clip(t + i + LSNNI_AT_MU_X, t + i + LSNNI_AT_S_X, s.w, o->kernel_w,
                             o->clip);
        if (!lsnni_attentive_1d(s.shape))
            lsnni_attention_clip(t + i + LSNNI_AT_MU_Y, t + i + LSNNI_AT_S_Y, s.h, o->kernel_h,
                                 o->clip);
    }
    return LSNN_OK;
}

static const lsnn_layer_type lsnni_smooth_type = {
    "smooth", "lr_factor freeze no_bias smooth_shape normalise rank mixture smooth_bias "
    "l2 clip kernel_h kernel_w", 1, 2,
    LSNN_DX_IN_PLACE | LSNN_Y_FREE | LSNN_BLOCKS | LSNN_REHEARSES,
    lsnni_plan_smooth, lsnni_forward_smooth, lsnni_backward_smooth, lsnni_init_smooth,
    lsnni_project_smooth,
    LSNNI_DEVICE_THREE(smooth)
};

LSNN_API int lsnn_smooth(lsnn_net *net, int a, int theta, const lsnn_options *o)
{
    int x[2];
    x[0] = a;
    x[1] = theta;
    return lsnn_layer(net, &lsnni_smooth_type, x, theta == LSNN_FREE ? 1 : 2, o);
}
