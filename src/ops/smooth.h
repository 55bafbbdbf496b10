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

#else /* ---- The fast pair: a map a task ------------------------------------------------*/
/* u[p] = e[p] - e[q] for q in row and column (i, j), which may be no whole numbers;
   returns the place of the largest. At q itself r is 0, without a rounding.  */
static int lsnni_exponents(const lsnni_kernels *kv, lsnn_real *u, const double *t,
                           const lsnn_smoother *s, double qi, double qj)
{
    double al = t[LSNNI_ALPHA], be = t[LSNNI_BETA], ga = t[LSNNI_GAMMA], p[8];
    double x = 2 * (lsnni_spacing(s->w) * qj - t[LSNNI_MU_X]);
    double y = 2 * (lsnni_spacing(s->h) * qi - t[LSNNI_MU_Y]);
    p[1] = p[3] = al;
    p[5] = p[7] = ga;
    for (int i = 0; i < s->h; i++) {
        double d = lsnni_spacing(s->h) * (i - qi);
        p[0] = ga * d;                                   /* p[0] + p[1] x: r, row 1 */
        p[4] = be * d;                                   /* p[4] + p[5] x: row 2    */
        p[2] = p[0] + (al * x + ga * y);
        p[6] = p[4] + (ga * x + be * y);
        kv->exponents(u + i * s->w, (size_t)s->w, lsnni_spacing(s->w), qj, p);
    }
    return (int)kv->largest(u, lsnni_area(s->h, s->w));
}

/* Row or column of a mu, or the nearest in the map.                          */
static double lsnni_nearest(double mu, int count)
{
    return mu > 0 ? LSNNI_MIN(mu, 1) * (count - 1) : 0;
}

/* The exponents relative to the largest. Relative to one far below it they would have no
   digits left, or overflow; a Phi divided by its own size has its largest at the same
   place.                                                                     */
static void lsnni_from_largest(const lsnni_kernels *kv, lsnn_real *u, const double *t,
                               const lsnn_smoother *s)
{
    double i = lsnni_nearest(t[LSNNI_MU_Y], s->h), j = lsnni_nearest(t[LSNNI_MU_X], s->w);
    double scaled[LSNNI_NUMBERS], size;
    int where = lsnni_exponents(kv, u, t, s, i, j);
    if (!(u[where] >= -1 && u[where] <= 0)) {
        memcpy(scaled, t, sizeof scaled);
        size = LSNNI_MAX(fabs(t[LSNNI_ALPHA]), fabs(t[LSNNI_BETA]));
        size = LSNNI_MAX(size, fabs(t[LSNNI_GAMMA])) *
            sqrt(2 + fabs(t[LSNNI_MU_X]) + fabs(t[LSNNI_MU_Y]));
        for (int n = LSNNI_ALPHA; n < LSNNI_NUMBERS; n++) scaled[n] /= size;
        where = lsnni_exponents(kv, u, scaled, s, i, j);
        for (int tries = 0; tries < 4 && (tries == 0 || u[where] > 0); tries++)
            where = lsnni_exponents(kv, u, t, s, where / s->w, where % s->w);
    }
    if (u[where] < 0 || u[where] > 0)
        kv->affine(u, u, 1, -(double)u[where], lsnni_area(s->h, s->w), 0);
}

/* u = G; t: the five numbers.                                                */
static void lsnni_gaussian(const lsnni_kernels *kv, lsnn_real *u, const double *t,
                           const lsnn_smoother *s)
{
    size_t area = lsnni_area(s->h, s->w);
    if (s->normalise == LSNN_NORMALISE_NONE)             /* q = mu: e[q] = 0  */
        lsnni_exponents(kv, u, t, s, t[LSNNI_MU_Y] / lsnni_spacing(s->h),
                        t[LSNNI_MU_X] / lsnni_spacing(s->w));
    else
        lsnni_from_largest(kv, u, t, s);
    (kv->exp)(u, u, area);           /* in parentheses: tgmath.h has a macro */
    if (s->normalise != LSNN_NORMALISE_NONE)
        kv->affine(u, u, (s->normalise == LSNN_NORMALISE_MEAN ? (double)area : 1) /
                         kv->sum(u, area), 0, area, 0);
}

/* Eq. 7 and 9 for one Gaussian: g = dL/dG in, dt gets theirs. First h[p] = dL/de[p]:
       none  h = g G          sum, mean  h = G (g - sum_p g G / sum_p G).
   e is quadratic in p, so theta's gradient needs only the moments of h,
       m = sum h d,   M = sum h d d'      (d = p - mu):
       dmu = 2 Phi^2 m      dalpha = -2 (alpha M11 + gamma M12)
       dbeta = -2 (gamma M12 + beta M22)  dgamma = -2 (alpha M12 + beta M12 + gamma (M11 + M22))
   (The paper's Eq. 7 prints dU/dPhi transposed; this is the symmetric case.)
   Normalised, sum h = 0: the moments are taken around a point q of the image and
   the terms with sum h left out, which is exact, and safe for a far-away mu. */
static void lsnni_gaussian_back(const lsnni_kernels *kv, double *dt, lsnn_real *g,
                                const lsnn_real *u, const double *t, const lsnn_smoother *s)
{
    size_t area = lsnni_area(s->h, s->w);
    double mx = t[LSNNI_MU_X], my = t[LSNNI_MU_Y], al = t[LSNNI_ALPHA], be = t[LSNNI_BETA];
    double ga = t[LSNNI_GAMMA], qx = mx, qy = my, cx, cy;
    double s1x = 0, s1y = 0, sxx = 0, sxy = 0, syy = 0, m11, m12, m22;
    if (s->normalise != LSNN_NORMALISE_NONE) {
        qx = mx > 0 ? LSNNI_MIN(mx, 1) : 0;
        qy = my > 0 ? LSNNI_MIN(my, 1) : 0;
        kv->affine(g, g, 1, -kv->dot(g, u, area) / kv->sum(u, area), area, 0);
    }
    kv->multiply(g, g, u, area, 0);                      /* now h             */
    for (int i = 0; i < s->h; i++) {
        double m[3], y = lsnni_spacing(s->h) * i - qy;
        kv->moments(g + i * s->w, (size_t)s->w, -qx, lsnni_spacing(s->w), m);
        s1x += m[1];
        s1y += m[0] * y;
        sxx += m[2];
        sxy += m[1] * y;
        syy += m[0] * y * y;
    }
    cx = qx - mx;                                        /* d = (p - q) + c   */
    cy = qy - my;
    m11 = sxx + 2 * cx * s1x;
    m12 = sxy + cx * s1y + cy * s1x;
    m22 = syy + 2 * cy * s1y;
    dt[LSNNI_MU_X] = 2 * ((al * al + ga * ga) * s1x + ga * (al + be) * s1y);
    dt[LSNNI_MU_Y] = 2 * (ga * (al + be) * s1x + (be * be + ga * ga) * s1y);
    dt[LSNNI_ALPHA] = -2 * (al * m11 + ga * m12);
    dt[LSNNI_BETA] = -2 * (ga * m12 + be * m22);
    dt[LSNNI_GAMMA] = -2 * ((al + be) * m12 + ga * (m11 + m22));
}

/* Of a mixture's logits: the largest, and sum_m exp(logit_m - largest).      */
static void lsnni_logits(const lsnn_real *theta, const lsnn_smoother *s, double *most,
                         double *sum)
{
    size_t stride = (size_t)lsnni_stride(s), end = stride * (size_t)lsnni_parts(s);
    *most = (double)theta[stride - 1];
    *sum = 0;
    for (size_t i = stride - 1; i < end; i += stride)
        *most = LSNNI_MAX(*most, (double)theta[i]);
    for (size_t i = stride - 1; i < end; i += stride) *sum += exp((double)theta[i] - *most);
}

/* Numbers of working memory for one map: what its shape needs, and a mixture's G and dL/dG. */
static size_t lsnni_map_room(const lsnn_smoother *s)
{
    return lsnni_attention_room(s) +
        (lsnni_parts(s) > 1 ? 2 * lsnni_area(s->h, s->w) : 0);
}

/* u = G, of either kind.                                                     */
static void lsnni_bell_fill(const lsnni_kernels *kv, lsnn_real *u, lsnn_real *room,
                            const double *t, const lsnn_smoother *s)
{
    if (lsnni_attentive(s->shape)) lsnni_attention_map(kv, u, room, t, s);
    else lsnni_gaussian(kv, u, t, s);
}

/* theta -> U of one map.                                                     */
static void lsnni_map_forward(const lsnni_kernels *kv, lsnn_real *u, lsnn_real *room,
                              const lsnn_real *theta, const lsnn_smoother *s)
{
    size_t area = lsnni_area(s->h, s->w);
    int numbers = lsnni_families[s->shape].count, mixed = lsnni_parts(s) > 1;
    double t[LSNNI_NUMBERS], most = 0, sum = 1;
    lsnn_real *other = mixed ? room + lsnni_attention_room(s) : NULL;
    if (s->shape == LSNN_TABLE) {
        memcpy(u, theta, area * sizeof *u);
        return;
    }
    if (mixed) lsnni_logits(theta, s, &most, &sum);
    for (int m = 0; m < lsnni_parts(s); m++, theta += lsnni_stride(s)) {
        lsnn_real *one = m ? other : u;
        lsnni_numbers(t, theta, s);
        lsnni_bell_fill(kv, one, room, t, s);
        if (mixed) kv->affine(u, one, exp((double)theta[numbers] - most) / sum, 0, area, m > 0);
    }
}

/* dL/dU -> dtheta of one map, added to or, if not add, written. g = dL/dU is used up.
   In a mixture dL/dG_m = w_m dL/dU and dlogit_m = w_m sum_p dL/dU (G_m - U). */
static void lsnni_map_backward(const lsnni_kernels *kv, lsnn_real *dtheta, lsnn_real *g,
                               lsnn_real *room, const lsnn_real *u, const lsnn_real *theta,
                               const lsnn_smoother *s, int add)
{
    size_t area = lsnni_area(s->h, s->w);
    const lsnni_family *f = &lsnni_families[s->shape];
    double t[LSNNI_NUMBERS], dt[LSNNI_NUMBERS], most = 0, sum = 1, middle = 0, w;
    int mixed = lsnni_parts(s) > 1;
    lsnn_real *other = mixed ? room + lsnni_attention_room(s) : NULL;
    lsnn_real *dg = mixed ? other + area : g;
    if (s->shape == LSNN_TABLE) kv->affine(dtheta, g, 1, 0, area, add);
    if (mixed) {
        lsnni_logits(theta, s, &most, &sum);
        middle = kv->dot(g, u, area);
    }
    for (int m = 0; m < lsnni_parts(s) && s->shape != LSNN_TABLE; m++) {
        lsnni_numbers(t, theta, s);
        if (mixed) {
            w = exp((double)theta[f->count] - most) / sum;
            lsnni_bell_fill(kv, other, room, t, s);
            kv->affine(dg, g, w, 0, area, 0);
            w *= kv->dot(g, other, area) - middle;
            dtheta[f->count] = LSNNI_R(w + (add ? (double)dtheta[f->count] : 0));
        }
        if (lsnni_attentive(s->shape))
            lsnni_attention_back(kv, dt, dg, mixed ? other : u, room, t, s);
        else lsnni_gaussian_back(kv, dt, dg, mixed ? other : u, t, s);
        for (int i = 0; i < f->count; i++)
            dtheta[i] = LSNNI_R(dt[f->number[i]] + (add ? (double)dtheta[i] : 0));
        theta += lsnni_stride(s);
        dtheta += lsnni_stride(s);
    }
}

/* The images come in blocks, whose pixels are `lanes` wide (see >>lanes); plain arrays are
   blocks of one image.                                                       */
typedef struct lsnni_smooth {
    const lsnni_kernels *kv;
    const lsnn_smoother *s;
    int rank, maps, theta_count, lanes, blocks;
    size_t area;
    const lsnn_real *a, *theta, *b, *dy, *uc;
    lsnn_real *y, *u, *da, *dtheta, *db;
    lsnn_real *work;                 /* each worker's: dL/dU of a map, lsnni_map_room, */
    int add, add_theta;              /*   and three planes of a block         */
} lsnni_smooth;

static lsnn_status lsnni_smooth_plan(lsnn_ctx *cx, lsnni_smooth *p, const lsnn_smoother *s)
{
    memset(p, 0, sizeof *p);
    LSNNI_TRY(lsnni_smooth_check(cx, s));
    p->kv = lsnni_kernels_of(cx);
    p->s = s;
    p->rank = s->rank ? s->rank : 1;
    p->maps = s->k * p->rank;
    p->area = lsnni_area(s->h, s->w);
    p->theta_count = lsnn_smoother_theta(s);
    p->lanes = LSNNI_MAX(1, s->lanes);
    p->blocks = s->n / p->lanes;
    return LSNN_OK;
}

static size_t lsnni_smooth_room_size(const lsnni_smooth *p)
{
    return lsnni_room(lsnni_room_add(lsnni_map_room(p->s),
                                     p->area * (1 + 3 * (size_t)p->lanes)), sizeof *p->work);
}

static lsnn_status lsnni_smooth_work(lsnn_ctx *cx, lsnni_smooth *p)
{
    p->work = (lsnn_real *)lsnni_scratch(cx, lsnni_room_times(lsnni_smooth_room_size(p),
                                                              lsnn_ctx_threads(cx)), 1);
    return p->work ? LSNN_OK : LSNN_ENOMEM;
}

/* A worker's dL/dU; *room: what lsnni_map_room asks for, or NULL.            */
static lsnn_real *lsnni_smooth_room(const lsnni_smooth *p, int worker, lsnn_real **room)
{
    lsnn_real *g = p->work + lsnni_smooth_room_size(p) / sizeof *g * (size_t)worker;
    *room = lsnni_map_room(p->s) ? g + p->area : NULL;
    return g;
}

/* A worker's planes of a block.                                              */
static lsnn_real *lsnni_smooth_planes(const lsnni_smooth *p, int worker)
{
    lsnn_real *room;
    return lsnni_smooth_room(p, worker, &room) + p->area + lsnni_map_room(p->s);
}

static void lsnni_smooth_map_task(void *user, int map, int worker)
{
    const lsnni_smooth *p = (const lsnni_smooth *)user;
    lsnn_real *room;
    lsnni_smooth_room(p, worker, &room);
    lsnni_map_forward(p->kv, p->u + (size_t)map * p->area, room,
                      p->theta + lsnni_area(map, p->theta_count), p->s);
}

LSNN_API lsnn_status lsnn_smoother_map(lsnn_ctx *cx, lsnn_real *u, const lsnn_real *theta,
                                       const lsnn_smoother *s)
{
    lsnni_smooth p;
    LSNNI_TRY(lsnni_smooth_plan(cx, &p, s));
    LSNNI_TRY(lsnni_smooth_work(cx, &p));
    p.u = u;
    p.theta = theta;
    lsnn_parallel(cx, p.maps * (s->per_image ? s->n : 1), lsnni_smooth_map_task, &p);
    return LSNN_OK;
}

/* Map number `map` of a block's images, laid out as their pixels are. For plain arrays it
   lies in `maps` so already; else it is brought into the plane: each image's own are turned,
   one for all is repeated, once, at block 0.                                 */
static const lsnn_real *lsnni_smooth_plane(const lsnni_smooth *p, lsnn_real *plane,
                                           const lsnn_real *maps, int block, int map)
{
    size_t lanes = (size_t)p->lanes, step = (size_t)p->maps * p->area;
    maps += (size_t)map * p->area + (p->s->per_image ? (size_t)block * lanes * step : 0);
    if (lanes == 1) return maps;
    if (p->s->per_image)
        p->kv->transpose(plane, lanes, maps, step, (int)lanes, (int)p->area);
    else if (block == 0) p->kv->repeat(plane, maps, p->area);
    return plane;
}

/* y of kernel k.                                                             */
static void lsnni_smooth_task(void *user, int k, int worker)
{
    const lsnni_smooth *p = (const lsnni_smooth *)user;
    int inside = p->b && p->s->smooth_bias;
    size_t size = p->area * (size_t)p->lanes;
    lsnn_real *plane = lsnni_smooth_planes(p, worker);
    for (int l = 0; l < p->rank; l++)
        for (int n = 0; n < p->blocks; n++) {
            int map = k * p->rank + l;
            const lsnn_real *u = lsnni_smooth_plane(p, plane, p->u, n, map);
            lsnn_real *y = p->y + (lsnni_area(n, p->s->k) + (size_t)k) * size;
            p->kv->multiply(y, p->a + (lsnni_area(n, p->maps) + (size_t)map) * size, u, size,
                            l > 0);
            if (inside) p->kv->axpy(y, (double)p->b[k], u, size);
            if (p->b && !inside && l + 1 == p->rank)
                p->kv->affine(y, y, 1, (double)p->b[k], size, 0);
        }
}

/* y from maps that are there.                                                */
static lsnn_status lsnni_smooth_apply(lsnn_ctx *cx, lsnn_real *y, lsnn_real *u,
                                      const lsnn_real *a, const lsnn_real *b,
                                      const lsnn_smoother *s)
{
    lsnni_smooth p;
    LSNNI_TRY(lsnni_smooth_plan(cx, &p, s));
    p.y = y; p.u = u; p.a = a; p.b = b;
    LSNNI_TRY(lsnni_smooth_work(cx, &p));
    lsnn_parallel(cx, s->k, lsnni_smooth_task, &p);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_smooth_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *u,
                                         const lsnn_real *a, const lsnn_real *theta,
                                         const lsnn_real *b, const lsnn_smoother *s)
{
    LSNNI_TRY(lsnn_smoother_map(cx, u, theta, s));
    return lsnni_smooth_apply(cx, y, u, a, b, s);
}

static void lsnni_smooth_theta(const lsnni_smooth *p, lsnn_real *g, lsnn_real *room, size_t map,
                               int add)
{
    size_t theta = map * (size_t)p->theta_count;
    lsnni_map_backward(p->kv, p->dtheta + theta, g, room, p->uc + map * p->area,
                       p->theta + theta, p->s, add);
}

/* One map (k, l): da of all its images, and the sum of dL/dU over those that share it. */
static void lsnni_smooth_back_task(void *user, int map, int worker)
{
    const lsnni_smooth *p = (const lsnni_smooth *)user;
    int k = map / p->rank, inside = p->b && p->s->smooth_bias, apart = p->lanes > 1;
    size_t lanes = (size_t)p->lanes, size = p->area * lanes;
    lsnn_real *room, *g = lsnni_smooth_room(p, worker, &room);
    lsnn_real *plane = lsnni_smooth_planes(p, worker), *gs = plane + size;
    lsnn_real *rows = apart ? gs + size : gs;            /* dL/dU, image by image */
    if (!p->s->per_image) memset(gs, 0, size * sizeof *gs);
    for (int n = 0; n < p->blocks; n++) {
        size_t at = (lsnni_area(n, p->maps) + (size_t)map) * size;
        const lsnn_real *dy = p->dy + (lsnni_area(n, p->s->k) + (size_t)k) * size;
        if (p->dtheta) {
            p->kv->multiply(gs, dy, p->a + at, size, !p->s->per_image);
            if (inside) p->kv->axpy(gs, (double)p->b[k], dy, size);
        }
        if (p->da)
            p->kv->multiply(p->da + at, dy, lsnni_smooth_plane(p, plane, p->uc, n, map), size,
                            p->add);
        if (!p->dtheta || !p->s->per_image) continue;
        if (apart) p->kv->transpose(rows, p->area, gs, lanes, (int)p->area, (int)lanes);
        for (size_t l = 0; l < lanes; l++)
            lsnni_smooth_theta(p, rows + l * p->area, room,
                               ((size_t)n * lanes + l) * (size_t)p->maps + (size_t)map,
                               p->add_theta);
    }
    if (!p->dtheta || p->s->per_image) return;
    if (apart) p->kv->gather(g, gs, p->area);
    lsnni_smooth_theta(p, apart ? g : gs, room, (size_t)map, 1);
}

static void lsnni_smooth_bias_task(void *user, int k, int worker)
{
    const lsnni_smooth *p = (const lsnni_smooth *)user;
    size_t size = p->area * (size_t)p->lanes;
    lsnn_real *plane = lsnni_smooth_planes(p, worker);
    double total = 0;
    for (int l = 0; l < (p->s->smooth_bias ? p->rank : 1); l++)
        for (int n = 0; n < p->blocks; n++) {
            const lsnn_real *dy = p->dy + (lsnni_area(n, p->s->k) + (size_t)k) * size;
            total += !p->s->smooth_bias ? p->kv->sum(dy, size) :
                p->kv->dot(dy, lsnni_smooth_plane(p, plane, p->uc, n, k * p->rank + l), size);
        }
    p->db[k] += LSNNI_R(total);
}

LSNN_API lsnn_status lsnn_smooth_backward(lsnn_ctx *cx, lsnn_real *da, lsnn_real *dtheta,
                                          lsnn_real *db, const lsnn_real *dy,
                                          const lsnn_real *a, const lsnn_real *u,
                                          const lsnn_real *theta, const lsnn_real *b,
                                          const lsnn_smoother *s, int add, int add_theta)
{
    lsnni_smooth p;
    LSNNI_TRY(lsnni_smooth_plan(cx, &p, s));
    p.da = da; p.dtheta = dtheta; p.db = db; p.add = add; p.add_theta = add_theta;
    p.dy = dy; p.a = a; p.uc = u; p.theta = theta; p.b = b;
    LSNNI_TRY(lsnni_smooth_work(cx, &p));
    if (db) lsnn_parallel(cx, s->k, lsnni_smooth_bias_task, &p);
    lsnn_parallel(cx, p.maps, lsnni_smooth_back_task, &p);       /* last: da may be dy   */
    return LSNN_OK;
}

#endif /* LSNN_NAIVE */

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
