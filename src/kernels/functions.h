/* ---- >>exp: e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2, and e^r by its
   series, cut where the next term is below half a unit in the last place.    */
#if K_BYTES == 0
static void K_(exp)(lsnn_real *y, const lsnn_real *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = LSNNI_R(exp((double)x[i]));
}
#else
/* v is from here on the number that it is: a compiler that may reorder sums
   (-fassociative-math) does not look behind it.                              */
#ifndef LSNNI_ROUNDED
#if defined(__SSE__)
#define LSNNI_ROUNDED(v) __asm__("" : "+x"(v))
#elif defined(__aarch64__)
#define LSNNI_ROUNDED(v) __asm__("" : "+w"(v))
#else
#define LSNNI_ROUNDED(v) __asm__("" : "+m"(v))
#endif
#endif
static kvec K_(exp_vec)(kvec x)
{
#ifdef LSNN_DOUBLE
    static const double term[] = { 1.0 / 6227020800.0, 1.0 / 479001600, 1.0 / 39916800,
        1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24,
        1.0 / 6, 0.5, 1, 1 };
    const double ln2_high = 6.93147180369123816490e-1, ln2_low = 1.90821492927058770002e-10;
    const double round_up = 6755399441055744.0, lowest = -708, highest = 709;
    const K_(int) exponent_bias = 1023, mantissa = 52;
#else
    static const float term[] = { 1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6,
                                  0.5f, 1, 1 };
    const float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    const float round_up = 12582912.0f, lowest = -87.0f, highest = 88.0f;
    const K_(int) exponent_bias = 127, mantissa = 23;
#endif
    const kvec zero = { 0 };
    kints under = x < lowest, over = x > highest;       /* both false for NaN   */
    kvec p = zero + term[0], t, n, r, power;
    kints e;
    x = (kvec)((kints)x & ~(under | over));
    t = x * LSNNI_R(1.4426950408889634) + round_up;
    LSNNI_ROUNDED(t);
    n = t - round_up;
    e = (kints)t - (kints)(zero + round_up) + exponent_bias;
    r = K_FMA(n, zero - ln2_high, x);
    LSNNI_ROUNDED(r);
    r = K_FMA(n, zero - ln2_low, r);
    for (size_t i = 1; i < sizeof term / sizeof term[0]; i++) p = K_FMA(p, r, zero + term[i]);
    power = (kvec)(e << mantissa);
    p = p * power;
    p = (kvec)((kints)p & ~(under | over));             /* out of range: 0 or infinity */
    return (kvec)((kints)p | ((kints)(zero + LSNNI_R(HUGE_VAL)) & over));
}

/* A function of arrays from one of vectors.                                  */
#define K_MAP(name)                                                                       \
    static void K_(name)(lsnn_real *y, const lsnn_real *x, size_t n)                      \
    {                                                                                     \
        size_t i = 0;                                                                     \
        lsnn_real part[K_LANES];                                                          \
        for (; i + (size_t)K_LANES <= n; i += (size_t)K_LANES)                            \
            K_STORE(y + i, K_(name##_vec)(K_LOAD(x + i)));                                \
        if (i == n) return;                                                               \
        for (size_t l = 0; l < (size_t)K_LANES; l++) part[l] = i + l < n ? x[i + l] : 0;  \
        K_STORE(part, K_(name##_vec)(K_LOAD(part)));                                      \
        for (size_t l = 0; i + l < n; l++) y[i + l] = part[l];                            \
    }
K_MAP(exp)
#endif

/* ---- >>log: x = 2^n m with m in [sqrt 1/2, sqrt 2), log x = n ln 2 + 2 artanh s with
   s = (m - 1) / (m + 1), |s| <= 0.172, by its series: exact near 1, too. What is smaller than
   any normal number, 0 above all, gives -1e30, which exp turns to 0 and a factor of 0 to 0. */
#if K_BYTES == 0
static void K_(log)(lsnn_real *y, const lsnn_real *x, size_t n)
{
    const double least = sizeof(lsnn_real) == 4 ? (double)FLT_MIN : DBL_MIN;
    for (size_t i = 0; i < n; i++)
        y[i] = LSNNI_R((double)x[i] < least ? -1e30 : log((double)x[i]));
}
#else
static kvec K_(log_vec)(kvec x)
{
#ifdef LSNN_DOUBLE
    const int terms = 10, mantissa = 52;
    const double least = DBL_MIN, root = 0.70710678118654752440;
    const double ln2_high = 6.93147180369123816490e-1, ln2_low = 1.90821492927058770002e-10;
    const double round_up = 6755399441055744.0;
#else
    const int terms = 5, mantissa = 23;
    const float least = FLT_MIN, root = 0.70710678f;
    const float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f, round_up = 12582912.0f;
#endif
    const kvec zero = { 0 }, one = zero + LSNNI_R(1);
    const K_(int) fraction = ((K_(int))1 << mantissa) - 1;
    kints tiny = x < least, finite = (x >= least) & (x < LSNNI_R(HUGE_VAL));
    kints bits = (kints)x - (kints)(zero + root);
    kvec n = (kvec)((bits >> mantissa) + (kints)(zero + round_up)) - round_up;
    kvec m = (kvec)((bits & fraction) + (kints)(zero + root));
    kvec s = (m - one) / (m + one), z = s * s, p = zero;
    for (int i = terms; i > 0; i--) p = p * z + one / LSNNI_R(2 * i + 1);
    p = n * ln2_high + (s * (one + p * z) * LSNNI_R(2) + n * ln2_low);
    p = K_SELECT(kvec, finite, p, x);                    /* NaN and infinity stay */
    return K_SELECT(kvec, tiny, zero - LSNNI_R(1e30), p);
}
K_MAP(log)
#endif

/* ---- >>tanh: by its series where |x| < 1/2, else 1 - 2 / (e^2|x| + 1).      */
#if K_BYTES == 0 || defined(LSNN_DOUBLE)
static void K_(tanh)(lsnn_real *y, const lsnn_real *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = LSNNI_R(tanh((double)x[i]));
}
#else
static kvec K_(tanh_vec)(kvec x)
{
    static const float term[] = { -929569.0f / 638512875.0f, 21844.0f / 6081075.0f,
        -1382.0f / 155925.0f, 62.0f / 2835.0f, -17.0f / 315.0f, 2.0f / 15.0f, -1.0f / 3.0f };
    const kvec zero = { 0 }, one = zero + 1.0f;
    kints sign = (kints)x & INT32_MIN;
    kvec size = (kvec)((kints)x ^ sign), z = x * x, p = zero, outer;
    kints inside = size < 0.5f;
    for (size_t i = 0; i < sizeof term / sizeof term[0]; i++) p = K_FMA(p, z, zero + term[i]);
    outer = one - 2.0f / (K_(exp_vec)(size + size) + one);
    outer = (kvec)((kints)outer | sign);
    return K_SELECT(kvec, inside, x + x * z * p, outer);
}
K_MAP(tanh)
#endif

#if defined(LSNNI_CALM) && K_BYTES > 16
#pragma GCC push_options             /* or the sums below are kept in memory  */
#pragma GCC optimize("O3")
#endif
/* ---- >>reductions: K_SUMS sums in double side by side, so that additions need not wait
   for each other, then added in pairs: the same order for every instruction set. */
#define K_SUMS 32
static double K_(fold)(double *s, int count)
{
    for (int half = count / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++) s[l] += s[l + half];
    return s[0];
}

#define K_REDUCE(term)                                                                    \
    double s[K_SUMS];                                                                     \
    size_t i = 0;                                                                         \
    for (int l = 0; l < K_SUMS; l++) s[l] = 0;                                            \
    for (; i + K_SUMS <= n; i += K_SUMS)                                                  \
        for (size_t l = 0; l < K_SUMS; l++) s[l] += term(i + l);                          \
    for (size_t l = 0; i + l < n; l++) s[l] += term(i + l);                               \
    return K_(fold)(s, K_SUMS)

static double K_(sum)(const lsnn_real *x, size_t n)
{
#define K_TERM(j) (double)x[j]
    K_REDUCE(K_TERM);
#undef K_TERM
}

static double K_(dot)(const lsnn_real *x, const lsnn_real *y, size_t n)
{
#define K_TERM(j) (double)x[j] * (double)y[j]
    K_REDUCE(K_TERM);
#undef K_TERM
}

static double K_(deviation)(const lsnn_real *x, double mean, size_t n)
{
#define K_TERM(j) ((double)x[j] - mean) * ((double)x[j] - mean)
    K_REDUCE(K_TERM);
#undef K_TERM
}

/* With d = x - center: m = sum dy, sum dy d, sum d. relu (unless it is NULL) is dy once more,
   to be set to 0 wherever y isn't above 0.                                   */
static void K_(sum_dot)(double m[3], const lsnn_real *dy, const lsnn_real *x, double center,
                        lsnn_real *relu, const lsnn_real *y, size_t n)
{
    const lsnn_real from = LSNNI_R(center);
    double sum[K_SUMS], dot[K_SUMS], rest[K_SUMS];
    size_t i = 0;
    for (int l = 0; l < K_SUMS; l++) sum[l] = dot[l] = rest[l] = 0;
    for (; i < n; i += K_SUMS) {
        size_t count = LSNNI_MIN(n - i, (size_t)K_SUMS);
        if (relu)
            for (size_t l = i; l < i + count; l++) relu[l] = y[l] > 0 ? relu[l] : 0;
        if (count < K_SUMS) break;
        for (size_t l = 0; l < K_SUMS; l++) {
            double d = (double)(x[i + l] - from);
            sum[l] += (double)dy[i + l];
            dot[l] += (double)dy[i + l] * d;
            rest[l] += d;
        }
    }
    for (size_t l = 0; i + l < n; l++) {
        double d = (double)(x[i + l] - from);
        sum[l] += (double)dy[i + l];
        dot[l] += (double)dy[i + l] * d;
        rest[l] += d;
    }
    m[0] = K_(fold)(sum, K_SUMS);
    m[1] = K_(fold)(dot, K_SUMS);
    m[2] = K_(fold)(rest, K_SUMS);
}

/* m[i] = sum_j t[j] x^i with x = x0 + step j: what a smoother's gradient is made of. */
static void K_(moments)(const lsnn_real *t, size_t n, double x0, double step, double m[3])
{
    double s0[K_SUMS / 2], s1[K_SUMS / 2], s2[K_SUMS / 2];
    size_t i = 0;
    for (int l = 0; l < K_SUMS / 2; l++) s0[l] = s1[l] = s2[l] = 0;
    for (; i < n; i += K_SUMS / 2) {
        size_t count = LSNNI_MIN(n - i, (size_t)(K_SUMS / 2));
        double v[K_SUMS / 2];
        for (size_t l = 0; l < count; l++) v[l] = (double)t[i + l];
        for (size_t l = count; l < K_SUMS / 2; l++) v[l] = 0;
        for (int l = 0; l < K_SUMS / 2; l++) {
            double x = x0 + step * (double)((int)i + l);
            s0[l] += v[l];
            s1[l] += v[l] * x;
            s2[l] += v[l] * x * x;
        }
    }
    m[0] = K_(fold)(s0, K_SUMS / 2);
    m[1] = K_(fold)(s1, K_SUMS / 2);
    m[2] = K_(fold)(s2, K_SUMS / 2);
}

#if defined(LSNNI_CALM) && K_BYTES > 16
#pragma GCC pop_options
#endif

/* Where the largest number is, the first of equals; or a NaN before it.      */
static size_t K_(largest)(const lsnn_real *x, size_t n)
{
    lsnn_real most[16], best;
    size_t i = 0;
    for (int l = 0; l < 16; l++) most[l] = x[0];
    for (; i + 16 <= n; i += 16)
        for (size_t l = 0; l < 16; l++) most[l] = x[i + l] > most[l] ? x[i + l] : most[l];
    for (; i < n; i++) most[0] = x[i] > most[0] ? x[i] : most[0];
    best = most[0];
    for (int l = 1; l < 16; l++) best = most[l] > best ? most[l] : best;
    for (i = 0; i < n && x[i] < best; ) i++;
    return i < n ? i : 0;
}

/* u[j] = -((a + b x)(c + d x) + (e + f x)(g + h x)) with x = step (j - from): one row of
   a Gaussian's exponents; p holds a to h. In double: the factors may cancel. */
static void K_(exponents)(lsnn_real *u, size_t n, double step, double from, const double p[8])
{
    for (size_t j = 0; j < n; j++) {
        double x = step * ((double)(int)j - from);
        u[j] = LSNNI_R(-((p[0] + p[1] * x) * (p[2] + p[3] * x) +
                         (p[4] + p[5] * x) * (p[6] + p[7] * x)));
    }
}
