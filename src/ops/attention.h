/* ---- >>attention: TKN's windows, shapes of the smoother -----------------------------
   On a side of L pixels x = 0 .. L - 1, with its mu and s,
       z = (x - mu L) / (s L / 2)                                             (Eq. 6, 7)
   so mu = 0.5, s = 1, where they begin, is a window over the whole side that has fallen to
   f(sigma = 1) at its ends: s is counted in half sides.
   Gaussian  f = exp(-z^2 / 2)      Cauchy  f = 1 / (1 + z^2)                 (Eq. 2, 3)
   separable      U = f(z_x) f(z_y), z_x along the width, z_y along the height (Eq. 8 to 14)
   1-D            U = f(z_x) in each row
   bivariate, q = z_x^2 - 2 rho z_x z_y + z_y^2,                              (Eq. 5)
                  U = exp(-q)  or  1 / (1 + q)                                (Eq. 4)
   Eq. 4 has no 1/2, Eq. 10 has one; both are as printed, so a bivariate Gaussian with rho = 0
   is the separable one with s / sqrt 2. theta holds r, rho = tanh(r): |rho| < 1 keeps q
   positive. Order of theta: mu_x, s_x, mu_y, s_y, r.
   s = 0 divides by 0 and an s below 0 is as good as one above: sigma = s L / 2 is taken as
   LSNNI_THIN pixels at least, of its sign. Far away |z| is LSNNI_FAR.
   Gradients: with f = e^g, df = f dg. What U is used for is the smoother's (see >>smooth). */
/* f at each of a side's pixels, and where wanted (not NULL) its derivatives by mu and by s.
   shared: 0, or what f is made to add up to: f shared / sum f, whose derivative is
   f (g' - sum f g' / sum f), with g = log f. The largest f is taken as 1 then: a Gaussian
   that is far away has none above 0.                                          */
static void lsnni_attention_side(int cauchy, double mu, double s, int side, double shared,
                                 lsnn_real *f, lsnn_real *dmu, lsnn_real *ds)
{
    double dz[2], slope, most = 0, sum = 0, middle[2] = { 0, 0 }, scale;
    for (int x = 0; x < side && shared > 0; x++) {
        double z = lsnni_attention_z(mu, s, side, x, dz);
        double g = lsnni_attention_log(cauchy, 0.5, z * z, &slope);
        most = x && most > g ? most : g;
    }
    for (int x = 0; x < side && shared > 0; x++) {
        double z = lsnni_attention_z(mu, s, side, x, dz);
        double one = exp(lsnni_attention_log(cauchy, 0.5, z * z, &slope) - most);
        sum += one;
        for (int i = 0; i < 2; i++) middle[i] += one * 2 * z * slope * dz[i];
    }
    scale = shared > 0 ? shared / sum : 1;
    for (int i = 0; i < 2 && shared > 0; i++) middle[i] /= sum;
    for (int x = 0; x < side; x++) {
        double z = lsnni_attention_z(mu, s, side, x, dz);
        double one = scale * exp(lsnni_attention_log(cauchy, 0.5, z * z, &slope) - most);
        f[x] = LSNNI_R(one);
        if (dmu) dmu[x] = LSNNI_R(one * (2 * z * slope * dz[0] - middle[0]));
        if (ds) ds[x] = LSNNI_R(one * (2 * z * slope * dz[1] - middle[1]));
    }
}

/* Which of a window's numbers are s, a bit each.                             */
static unsigned lsnni_attention_widths(lsnn_smooth_shape shape)
{
    unsigned both = 1u << LSNNI_AT_S_X | 1u << LSNNI_AT_S_Y;
    return lsnni_attentive_1d(shape) ? 1u << LSNNI_AT_S_X : both;
}

/* ---- The fast pair: a separable map is two sides, and so is its gradient. Working memory, in
   numbers: f, df/dmu and df/ds of both sides, and a row.                     */
static size_t lsnni_attention_room(const lsnn_smoother *s)
{
    return lsnni_attentive(s->shape) ? 4 * (size_t)s->w + 3 * (size_t)s->h : 0;
}

/* The two sides in `room`: f of the width, of the height, then their derivatives, if wanted.
   Normalised by the sum each adds up to 1, by the mean to its length. In 1-D rows are alike. */
static void lsnni_attention_sides(lsnn_real *room, const double *t, const lsnn_smoother *s,
                                  int slopes)
{
    size_t w = (size_t)s->w, h = (size_t)s->h;
    lsnn_real *fy = room + w, *dx = fy + h, *dy = dx + 2 * w;
    int cauchy = lsnni_cauchy(s->shape), sum = s->normalise == LSNN_NORMALISE_SUM;
    double none = s->normalise == LSNN_NORMALISE_NONE ? 0 : 1;
    lsnni_attention_side(cauchy, t[LSNNI_AT_MU_X], t[LSNNI_AT_S_X], s->w,
                         none * (sum ? 1 : s->w), room, slopes ? dx : NULL,
                         slopes ? dx + w : NULL);
    for (size_t i = 0; i < h && lsnni_attentive_1d(s->shape); i++) {
        fy[i] = LSNNI_R(sum ? 1.0 / s->h : 1);
        if (slopes) dy[i] = dy[h + i] = 0;
    }
    if (!lsnni_attentive_1d(s->shape))
        lsnni_attention_side(cauchy, t[LSNNI_AT_MU_Y], t[LSNNI_AT_S_Y], s->h,
                             none * (sum ? 1 : s->h), fy, slopes ? dy : NULL,
                             slopes ? dy + h : NULL);
}

/* u = G of one window; t: its five numbers.                                  */
static void lsnni_attention_map(const lsnni_kernels *kv, lsnn_real *u, lsnn_real *room,
                                const double *t, const lsnn_smoother *s)
{
    size_t w = (size_t)s->w, area = lsnni_area(s->h, s->w);
    int none = s->normalise == LSNN_NORMALISE_NONE;
    double dt[5], most = 0;
    if (!lsnni_bivariate(s->shape)) {
        lsnni_attention_sides(room, t, s, 0);
        for (size_t i = 0; i < (size_t)s->h; i++)
            kv->affine(u + i * w, room, (double)room[w + i], 0, w, 0);
        return;
    }
    for (int p = 0; p < (int)area && !none; p++) {
        double g = lsnni_attention_exponent(t, s, p, dt);
        most = p && most > g ? most : g;
    }
    for (int p = 0; p < (int)area; p++)
        u[p] = LSNNI_R(exp(lsnni_attention_exponent(t, s, p, dt) - most));
    if (!none)
        kv->affine(u, u, (s->normalise == LSNN_NORMALISE_MEAN ? (double)area : 1) /
                         kv->sum(u, area), 0, area, 0);
}

/* dt of one window, from g = dL/dG and u = G; g is used up. Separable:
       dmu_x = sum_x f_x'[x] sum_y f_y[y] g[y,x]     dmu_y = sum_y f_y'[y] sum_x f_x[x] g[y,x]
   Bivariate: h[p] = dL/dlog G[p] as lsnni_gaussian_back has it, then sum_p h[p] dlog G[p]. */
static void lsnni_attention_back(const lsnni_kernels *kv, double *dt, lsnn_real *g,
                                 const lsnn_real *u, lsnn_real *room, const double *t,
                                 const lsnn_smoother *s)
{
    size_t w = (size_t)s->w, h = (size_t)s->h, area = w * h;
    lsnn_real *fy = room + w, *dx = fy + h, *dy = dx + 2 * w, *row = dy + 2 * h;
    double slope[5];
    for (int i = 0; i < 5; i++) dt[i] = 0;
    if (!lsnni_bivariate(s->shape)) {
        lsnni_attention_sides(room, t, s, 1);
        memset(row, 0, w * sizeof *row);
        for (size_t i = 0; i < h; i++) {
            double along = kv->dot(room, g + i * w, w);
            dt[LSNNI_AT_MU_Y] += along * (double)dy[i];
            dt[LSNNI_AT_S_Y] += along * (double)dy[h + i];
            kv->axpy(row, (double)fy[i], g + i * w, w);
        }
        dt[LSNNI_AT_MU_X] = kv->dot(row, dx, w);
        dt[LSNNI_AT_S_X] = kv->dot(row, dx + w, w);
        return;
    }
    if (s->normalise != LSNN_NORMALISE_NONE)
        kv->affine(g, g, 1, -kv->dot(g, u, area) / kv->sum(u, area), area, 0);
    kv->multiply(g, g, u, area, 0);
    for (int p = 0; p < (int)area; p++) {
        lsnni_attention_exponent(t, s, p, slope);
        for (int i = 0; i < 5; i++) dt[i] += (double)g[p] * slope[i];
    }
}
