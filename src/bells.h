/* ---- >>bells: the shapes of smoothers, for a processor and a GPU: formulas in >>smooth and
   >>attention. Of one pixel of one map, as they are printed; the fast pair has its own way. */
enum { LSNNI_MU_X, LSNNI_MU_Y, LSNNI_ALPHA, LSNNI_BETA, LSNNI_GAMMA, LSNNI_NUMBERS };

/* The numbers of a Gaussian, or of an attention window, that a shape has, in theta's order; the
   others are 0.                                                              */
typedef struct lsnni_family { int count, number[LSNNI_NUMBERS]; } lsnni_family;
static const lsnni_family lsnni_families[] = {
    { 5, { LSNNI_MU_X, LSNNI_MU_Y, LSNNI_ALPHA, LSNNI_BETA, LSNNI_GAMMA } },
    { 0, { 0, 0, 0, 0, 0 } },                            /* a table           */
    { 4, { LSNNI_MU_X, LSNNI_MU_Y, LSNNI_ALPHA, LSNNI_BETA, 0 } },
    { 2, { LSNNI_MU_X, LSNNI_ALPHA, 0, 0, 0 } },
    { 4, { 0, 1, 2, 3, 0 } }, { 4, { 0, 1, 2, 3, 0 } },  /* see >>attention   */
    { 5, { 0, 1, 2, 3, 4 } }, { 5, { 0, 1, 2, 3, 4 } },
    { 2, { 0, 1, 0, 0, 0 } }, { 2, { 0, 1, 0, 0, 0 } }
};
enum { LSNNI_SHAPES = (int)(sizeof lsnni_families / sizeof lsnni_families[0]) };

static inline int lsnni_parts(const lsnn_smoother *s) { return s->mixture > 1 ? s->mixture : 1; }

/* Theta's numbers for one Gaussian: in a mixture the last is its logit.      */
static inline int lsnni_stride(const lsnn_smoother *s)
{
    return lsnni_families[s->shape].count + (lsnni_parts(s) > 1);
}

/* Places are counted in rows and columns from 0 and lie `step` apart.        */
LSNNI_BOTH double lsnni_spacing(int count) { return count > 1 ? 1.0 / (count - 1) : 1; }

/* TKN's windows: see >>attention.                                            */
enum { LSNNI_AT_MU_X, LSNNI_AT_S_X, LSNNI_AT_MU_Y, LSNNI_AT_S_Y, LSNNI_AT_RHO };
#define LSNNI_THIN 1e-3
#define LSNNI_FAR 1e9

LSNNI_BOTH int lsnni_attentive(lsnn_smooth_shape shape) { return shape >= LSNN_ATTENTION_GAUSSIAN; }
LSNNI_BOTH int lsnni_cauchy(lsnn_smooth_shape shape)
{
    return shape == LSNN_ATTENTION_CAUCHY || shape == LSNN_BIVARIATE_CAUCHY ||
           shape == LSNN_ATTENTION_CAUCHY_1D;
}
LSNNI_BOTH int lsnni_bivariate(lsnn_smooth_shape shape)
{
    return shape == LSNN_BIVARIATE_GAUSSIAN || shape == LSNN_BIVARIATE_CAUCHY;
}
LSNNI_BOTH int lsnni_attentive_1d(lsnn_smooth_shape shape)
{
    return shape == LSNN_ATTENTION_GAUSSIAN_1D || shape == LSNN_ATTENTION_CAUCHY_1D;
}

/* z at pixel x of a side; dz: its derivatives by mu and by s.                 */
LSNNI_BOTH double lsnni_attention_z(double mu, double s, int side, int x, double dz[2])
{
    double half = 0.5 * side, sigma = s * half, z;
    if (fabs(sigma) < LSNNI_THIN) sigma = s < 0 ? -LSNNI_THIN : LSNNI_THIN;
    z = (x - mu * side) / sigma;
    if (z > LSNNI_FAR) z = LSNNI_FAR;                    /* NaN stays         */
    if (z < -LSNNI_FAR) z = -LSNNI_FAR;
    dz[0] = -side / sigma;
    dz[1] = -z * half / sigma;
    return z;
}

/* log f where the square of z is q, and its derivative by q. half: what a Gaussian's q is
   multiplied by, 0.5 or, bivariate, 1.                                        */
LSNNI_BOTH double lsnni_attention_log(int cauchy, double half, double q, double *slope)
{
    *slope = cauchy ? -1 / (1 + q) : -half;
    return cauchy ? -log(1 + q) : -half * q;
}

/* log U at pixel p of a map of U's that are not made to share anything, and its derivatives
   by theta's numbers. q is summed as (z_x - rho z_y)^2 + (1 - rho^2) z_y^2: never below 0. */
LSNNI_BOTH double lsnni_attention_exponent(const double *t, const lsnn_smoother *s, int p,
                                           double dt[5])
{
    int cauchy = lsnni_cauchy(s->shape);
    double dx[2], dy[2] = { 0, 0 }, slope_x, slope_y, zy = 0, g;
    double zx = lsnni_attention_z(t[LSNNI_AT_MU_X], t[LSNNI_AT_S_X], s->w, p % s->w, dx);
    if (!lsnni_attentive_1d(s->shape))
        zy = lsnni_attention_z(t[LSNNI_AT_MU_Y], t[LSNNI_AT_S_Y], s->h, p / s->w, dy);
    dt[LSNNI_AT_RHO] = 0;
    if (lsnni_bivariate(s->shape)) {
        double rho = tanh(t[LSNNI_AT_RHO]), left = 1 - rho * rho, apart = zx - rho * zy;
        g = lsnni_attention_log(cauchy, 1, apart * apart + left * zy * zy, &slope_x);
        dt[LSNNI_AT_RHO] = slope_x * -2 * zx * zy * left;
        slope_y = slope_x * 2 * (zy - rho * zx);
        slope_x *= 2 * apart;
    } else {
        g = lsnni_attention_log(cauchy, 0.5, zx * zx, &slope_x);
        g += lsnni_attention_log(cauchy, 0.5, zy * zy, &slope_y);
        slope_x *= 2 * zx;
        slope_y *= 2 * zy;
    }
    dt[LSNNI_AT_MU_X] = slope_x * dx[0];
    dt[LSNNI_AT_S_X] = slope_x * dx[1];
    dt[LSNNI_AT_MU_Y] = slope_y * dy[0];
    dt[LSNNI_AT_S_Y] = slope_y * dy[1];
    return g;
}

/* mu and s of a side after a step: see lsnn_clip. NaN stays, to be seen.     */
LSNNI_BOTH lsnn_real lsnni_clipped(lsnn_real v, double low, double high)
{
    return v < LSNNI_R(low) ? LSNNI_R(low) : v > LSNNI_R(high) ? LSNNI_R(high) : v;
}
LSNNI_BOTH void lsnni_attention_clip(lsnn_real *mu, lsnn_real *s, int side, int kernel,
                                     lsnn_clip clip)
{
    if (side < 2) return;
    if (clip == LSNN_CLIP_PAPER) {
        *mu = lsnni_clipped(*mu, 0, 1 - 1.0 / side);
        *s = lsnni_clipped(*s, kernel / (sqrt(2.0) * side), FLT_MAX);
    } else if (clip == LSNN_CLIP_CODE) {
        *mu = lsnni_clipped(*mu, 1.0 / side, 1 - 1.0 / side);
        *s = lsnni_clipped(*s, 1.5 / side, 1);
    }
}

/* One Gaussian: its numbers, its weight in the mixture, and G_p = scale exp(e_p - shift). */
typedef struct lsnni_bell { double t[LSNNI_NUMBERS], weight, shift, scale; } lsnni_bell;

/* The exponent at pixel p, -r . r where d = p - mu and r = Phi d, and its derivatives by the
   five numbers (Eq. 7).                                                      */
LSNNI_BOTH double lsnni_bell_exponent(const lsnni_bell *g, const lsnn_smoother *s, int p,
                                      double slope[LSNNI_NUMBERS])
{
    const double *t = g->t;
    double d[2], r[2];
    if (lsnni_attentive(s->shape)) return lsnni_attention_exponent(t, s, p, slope);
    d[0] = p % s->w * lsnni_spacing(s->w) - t[LSNNI_MU_X];
    d[1] = p / s->w * lsnni_spacing(s->h) - t[LSNNI_MU_Y];
    r[0] = t[LSNNI_ALPHA] * d[0] + t[LSNNI_GAMMA] * d[1];
    r[1] = t[LSNNI_GAMMA] * d[0] + t[LSNNI_BETA] * d[1];
    slope[LSNNI_MU_X] = 2 * (r[0] * t[LSNNI_ALPHA] + r[1] * t[LSNNI_GAMMA]);
    slope[LSNNI_MU_Y] = 2 * (r[0] * t[LSNNI_GAMMA] + r[1] * t[LSNNI_BETA]);
    slope[LSNNI_ALPHA] = -2 * r[0] * d[0];
    slope[LSNNI_BETA] = -2 * r[1] * d[1];
    slope[LSNNI_GAMMA] = -2 * (r[0] * d[1] + r[1] * d[0]);
    return -(r[0] * r[0] + r[1] * r[1]);
}

LSNNI_BOTH double lsnni_bell_at(const lsnni_bell *g, const lsnn_smoother *s, int p)
{
    double slope[LSNNI_NUMBERS];
    return g->scale * exp(lsnni_bell_exponent(g, s, p, slope) - g->shift);
}

/* The smoother of a layer for n images.                                       */
static inline lsnn_smoother lsnni_smoother_of(const lsnn_layer_plan *p, int n, int lanes)
{
    lsnn_smoother s;
    memset(&s, 0, sizeof s);
    s.n = n;
    s.lanes = lanes;
    s.rank = p->o.rank;
    s.k = p->in[0].c / s.rank;
    s.h = p->in[0].h;
    s.w = p->in[0].w;
    s.shape = p->o.smooth_shape;
    s.mixture = p->o.mixture;
    s.normalise = p->o.normalise;
    s.per_image = p->inputs == 2;
    s.smooth_bias = p->o.smooth_bias;
    return s;
}
