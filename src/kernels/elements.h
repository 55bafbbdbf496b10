/* ---- >>elementwise: bound by memory; the compiler makes the vectors ----------*/
static void K_(axpy)(lsnn_real *y, double a, const lsnn_real *x, size_t n)
{
    const lsnn_real s = LSNNI_R(a);
    for (size_t i = 0; i < n; i++) y[i] += s * x[i];
}

static void K_(affine)(lsnn_real *y, const lsnn_real *x, double a, double b, size_t n, int add)
{
    const lsnn_real s = LSNNI_R(a), t = LSNNI_R(b);
    if (add) for (size_t i = 0; i < n; i++) y[i] += x[i] * s + t;
    else for (size_t i = 0; i < n; i++) y[i] = x[i] * s + t;
}

/* repeat: one number for all lanes of a pixel; gather: the sum of its lanes. */
static void K_(repeat)(lsnn_real *y, const lsnn_real *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t l = 0; l < (size_t)K_LANES; l++) y[i * (size_t)K_LANES + l] = x[i];
}

static void K_(gather)(lsnn_real *y, const lsnn_real *x, size_t n)
{
    size_t i = 0;
#if K_BYTES > 0
    kvec t[K_COUNT];
    for (; i + K_COUNT <= n; i += K_COUNT) {
        for (size_t l = 0; l < K_COUNT; l++) t[l] = K_LOAD(x + (i + l) * K_COUNT);
        K_STORE(y + i, K_(add_lanes)(t));
    }
#endif
    for (; i < n; i++) {
        y[i] = 0;
        for (size_t l = 0; l < (size_t)K_LANES; l++) y[i] += x[i * (size_t)K_LANES + l];
    }
}

static void K_(multiply)(lsnn_real *y, const lsnn_real *a, const lsnn_real *b, size_t n,
                         int add)
{
    if (add) for (size_t i = 0; i < n; i++) y[i] += a[i] * b[i];
    else for (size_t i = 0; i < n; i++) y[i] = a[i] * b[i];
}

static void K_(act_forward)(lsnn_act f, lsnn_real *y, const lsnn_real *x, size_t n,
                            double slope)
{
    const lsnn_real s = LSNNI_R(slope), one = 1;
    size_t i;
    switch (f) {
    case LSNN_RELU:                  /* written so that NaN stays NaN         */
        for (i = 0; i < n; i++) y[i] = x[i] < 0 ? 0 : x[i];
        break;
    case LSNN_LEAKY_RELU:
        for (i = 0; i < n; i++) y[i] = x[i] < 0 ? s * x[i] : x[i];
        break;
    case LSNN_SIGMOID:
        for (i = 0; i < n; i++) y[i] = -x[i];
        K_(exp)(y, y, n);
        for (i = 0; i < n; i++) y[i] = one / (one + y[i]);
        break;
    case LSNN_TANH:
        for (i = 0; i < n; i++) y[i] = LSNNI_R(tanh((double)x[i]));
        break;
    case LSNN_SCALED_TANH:
        for (i = 0; i < n; i++) y[i] = LSNNI_R(LSNNI_TANH_S) * x[i];
        K_(tanh)(y, y, n);
        for (i = 0; i < n; i++) y[i] *= LSNNI_R(LSNNI_TANH_A);
        break;
    }
}

/* f'(x) in terms of y = f(x): y may have overwritten x.                      */
static void K_(act_backward)(lsnn_act f, lsnn_real *dx, const lsnn_real *dy,
                             const lsnn_real *y, size_t n, double slope, int add)
{
    const lsnn_real s = f == LSNN_LEAKY_RELU ? LSNNI_R(slope) : 0;
    size_t i;
    switch (f) {
    case LSNN_RELU:
    case LSNN_LEAKY_RELU:
        if (add) for (i = 0; i < n; i++) dx[i] += y[i] > 0 ? dy[i] : s * dy[i];
        else for (i = 0; i < n; i++) dx[i] = y[i] > 0 ? dy[i] : s * dy[i];
        break;
    case LSNN_SIGMOID:
        for (i = 0; i < n; i++)
            dx[i] = (add ? dx[i] : 0) + dy[i] * y[i] * (1 - y[i]);
        break;
    case LSNN_TANH:
        for (i = 0; i < n; i++) dx[i] = (add ? dx[i] : 0) + dy[i] * (1 - y[i] * y[i]);
        break;
    case LSNN_SCALED_TANH: {
        const lsnn_real a = LSNNI_R(LSNNI_TANH_S * LSNNI_TANH_A);
        const lsnn_real b = LSNNI_R(LSNNI_TANH_S / LSNNI_TANH_A);
        for (i = 0; i < n; i++) dx[i] = (add ? dx[i] : 0) + dy[i] * (a - b * y[i] * y[i]);
        break;
    }
    }
}

static void K_(norm_forward)(lsnn_real *y, const lsnn_real *x, double center, double a, double b,
                             size_t n)
{
    const lsnn_real m = LSNNI_R(center), s = LSNNI_R(a), t = LSNNI_R(b);
    for (size_t i = 0; i < n; i++) y[i] = (x[i] - m) * s + t;
}

static void K_(norm_backward)(lsnn_real *dx, const lsnn_real *dy, const lsnn_real *x,
                              double center, double istd, double a, double b, double c, size_t n,
                              int add)
{
    const lsnn_real m = LSNNI_R(center), r = LSNNI_R(istd);
    const lsnn_real ra = LSNNI_R(a), rb = LSNNI_R(b), rc = LSNNI_R(c);
    if (add) for (size_t i = 0; i < n; i++) dx[i] += ra * (dy[i] + rb * ((x[i] - m) * r) + rc);
    else for (size_t i = 0; i < n; i++) dx[i] = ra * (dy[i] + rb * ((x[i] - m) * r) + rc);
}

/* ---- >>draws: 16 blocks of >>philox at once, counter[which] rising by one; number j of
   block l is out[16*j + l]. Bound by the products.                           */
static void K_(random)(uint32_t out[64], const uint32_t key[2], const uint32_t counter[4],
                       int which)
{
    uint32_t a[16], b[16], c[16], d[16], k0 = key[0], k1 = key[1];
    for (uint32_t l = 0; l < 16; l++) {
        a[l] = counter[0] + (which == 0 ? l : 0);
        b[l] = counter[1] + (which == 1 ? l : 0);
        c[l] = counter[2];
        d[l] = counter[3];
    }
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
        for (int l = 0; l < 16; l++) {
            uint64_t p = (uint64_t)0xD2511F53u * a[l], q = (uint64_t)0xCD9E8D57u * c[l];
            a[l] = (uint32_t)(q >> 32) ^ b[l] ^ k0;
            c[l] = (uint32_t)(p >> 32) ^ d[l] ^ k1;
            b[l] = (uint32_t)q;
            d[l] = (uint32_t)p;
        }
    for (int l = 0; l < 16; l++) {
        out[l] = a[l];
        out[16 + l] = b[l];
        out[32 + l] = c[l];
        out[48 + l] = d[l];
    }
}

/* y = x scale where the element's bits are at least `limit`, else 0: see >>dropout. x and
   y are one image, or a block of K_LANES from `sample` on; e0 is a multiple of 64. */
static void K_(dropout)(lsnn_real *y, const lsnn_real *x, const lsnn_rng *at, uint32_t sample,
                        int e0, int e1, int in_blocks, uint32_t limit, double scale, int add)
{
    const lsnn_real s = LSNNI_R(scale);
    uint32_t draw[64], counter[4];
    counter[1] = at->sample + sample;
    counter[2] = at->step;
    counter[3] = at->stream;
    for (int e = e0; e < e1; e += in_blocks ? 4 : 64) {
        counter[0] = (uint32_t)e >> 2;
        K_(random)(draw, at->key, counter, in_blocks);
        if (in_blocks)
            for (int q = 0; q < LSNNI_MIN(4, e1 - e); q++)
                for (int l = 0; l < K_LANES; l++) {
                    ptrdiff_t j = (ptrdiff_t)(e + q) * K_LANES + l;
                    lsnn_real v = draw[16 * q + l] >= limit ? x[j] * s : 0;
                    y[j] = add ? y[j] + v : v;
                }
        else
            for (int q = 0; q < LSNNI_MIN(64, e1 - e); q++) {
                lsnn_real v = draw[16 * (q & 3) + q / 4] >= limit ? x[e + q] * s : 0;
                y[e + q] = add ? y[e + q] + v : v;
            }
    }
}

/* ---- >>dsc rows: input o's connections to n neurons. step: the change of w, over xi; up: what
   each asks of o, over eta. wanted: eta D_x / sum_j o_j of each neuron.       */
static void K_(dsc)(lsnn_real *sum, const lsnn_real *w, lsnn_real o, size_t n)
{
    const lsnn_real rest = 1 - o;
    for (size_t k = 0; k < n; k++) {
        lsnn_real r = w[k] < 0 ? -w[k] : w[k], g = 1 - rest / r;
        g = g > 0 ? g : 0;
        sum[k] += w[k] < 0 ? -g : g;
    }
}

/* |w| from `least` to 1: what is less changes its sign.                        */
static void K_(dsc_bounds)(lsnn_real *w, double least, size_t n)
{
    const lsnn_real low = LSNNI_R(least);
    for (size_t i = 0; i < n; i++) {
        lsnn_real v = w[i], r = v < 0 ? -v : v, sign = v < 0 ? (lsnn_real)-1 : (lsnn_real)1;
        sign = r < low ? -sign : sign;
        r = r < low ? low : r;
        r = r < 1 ? r : 1;
        w[i] = sign * r;
    }
}

static void K_(dsc_back)(lsnn_real *step, lsnn_real *up, const lsnn_real *w,
                         const lsnn_real *wanted, lsnn_real o, double least, int silent,
                         size_t n)
{
    const lsnn_real rest = 1 - o, low = LSNNI_R(least), gate = silent ? 0 : -1;
    for (size_t k = 0; k < n; k++) {
        lsnn_real sign = w[k] < 0 ? (lsnn_real)-1 : (lsnn_real)1, r = sign * w[k];
        lsnn_real d = sign * o * wanted[k], g = 1 - rest / r, t, hat, to;
        g = g > 0 ? g : 0;
        t = g + d;
        t = t > 0 ? t : 0;
        t = t < 1 ? t : 1;
        hat = rest / (t < 1 ? 1 - t : 1);
        hat = t < 1 ? hat : 1;
        to = t > g ? (hat < 1 ? hat : 1) : (hat > low ? hat : low);
        sign = (t > g || t < g) && g > gate ? sign : 0;
        step[k] = sign * (to - r);
        up[k] = sign * (rest - r * (1 - t));
    }
}

/* ---- >>updates: see >>optimizers for the formulas. scale is the clipping, c1 and c2 are
   1 / (1 - b1^t) and 1 / (1 - b2^t), shrink is AdamW's lr wd.                */
static void K_(sgd)(lsnn_real *w, lsnn_real *v, const lsnn_real *g, double scale, double lr,
                    double decay, double momentum, int nesterov, size_t n)
{
    const lsnn_real s = LSNNI_R(scale), l = LSNNI_R(lr), d = LSNNI_R(decay);
    const lsnn_real m = LSNNI_R(momentum);
    if (!v)
        for (size_t i = 0; i < n; i++) w[i] -= l * (s * g[i] + d * w[i]);
    else
        for (size_t i = 0; i < n; i++) {
            lsnn_real e = s * g[i] + d * w[i], u = m * v[i] + e;
            v[i] = u;
            w[i] -= l * (nesterov ? e + m * u : u);
        }
}

static void K_(adam)(lsnn_real *w, lsnn_real *m, lsnn_real *v, const lsnn_real *g, double scale,
                     double lr, double decay, double shrink, double b1, double b2, double c1,
                     double c2, double eps, size_t n)
{
    const lsnn_real s = LSNNI_R(scale), l = LSNNI_R(lr * c1), d = LSNNI_R(decay);
    const lsnn_real r1 = LSNNI_R(b1), r2 = LSNNI_R(b2), q1 = LSNNI_R(1 - b1);
    const lsnn_real q2 = LSNNI_R(1 - b2), rc = LSNNI_R(c2), re = LSNNI_R(eps);
    const lsnn_real keep = LSNNI_R(1 - shrink);
    for (size_t i = 0; i < n; i++) {
        lsnn_real e = s * g[i] + d * w[i];
        m[i] = r1 * m[i] + q1 * e;
        v[i] = r2 * v[i] + q2 * e * e;
        w[i] = keep * w[i] - l * m[i] / (K_SQRT(v[i] * rc) + re);
    }
}
