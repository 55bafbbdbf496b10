#ifndef LSNN_NAIVE
/* ---- The fast pair of >>smooth: a map a task ------------------------------------------*/
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

