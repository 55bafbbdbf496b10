/* ---- >>correlate kernel: products of dy and x, summed over images and pixels, for some taps
   side by side in some rows: see lsnni_correlation. A vector is of the images of a block; its
   lanes are added up at the end. An x is loaded once for each tap that meets it, from the
   first-level cache, since taps follow one another at once: 10 multiply-adds with 11 loads,
   so 90 % of the limit where both units can do two.                          */
#define K_CLEAR5(i) K_CLEAR4(i) kvec c##i##4 = zero;
#define K_TAP(m, t) c##m##t = K_FMA(v, K_LOAD(x##m + t * K_LANES), c##m##t);
#define K_TAPS1(m) K_TAP(m, 0)
#define K_TAPS2(m) K_TAPS1(m) K_TAP(m, 1)
#define K_TAPS3(m) K_TAPS2(m) K_TAP(m, 2)
#define K_TAPS4(m) K_TAPS3(m) K_TAP(m, 3)
#define K_TAPS5(m) K_TAPS4(m) K_TAP(m, 4)
#define K_HOLD1(m) t[m * K_WIDE] = c##m##0;
#define K_HOLD2(m) K_HOLD1(m) t[m * K_WIDE + 1] = c##m##1;
#define K_HOLD3(m) K_HOLD2(m) t[m * K_WIDE + 2] = c##m##2;
#define K_HOLD4(m) K_HOLD3(m) t[m * K_WIDE + 3] = c##m##3;
#define K_HOLD5(m) K_HOLD4(m) t[m * K_WIDE + 4] = c##m##4;
#define K_PLACE(m) const lsnn_real *const x##m = x + m * g->row;
#define K_CORRELATE(T, M)                                                                  \
    static void K_(correlate##T##M)(const lsnni_correlation *g)                            \
    {                                                                                      \
        enum { K_WIDE = T, K_ROOM = (T * M + K_LANES - 1) / K_LANES * K_LANES };           \
        const kvec zero = { 0 };                                                          \
        lsnn_real sum[K_ROOM];                                                             \
        kvec t[K_ROOM];                                                                    \
        K_ROWS##M(K_CLEAR##T)                                                              \
        for (int n = 0; n < g->blocks; n++) {                                              \
            const lsnn_real *dy = g->dy + n * g->dy_step, *from = g->x + n * g->x_step;    \
            for (int e = 0; e < g->count; e++, dy += K_LANES) {                            \
                const lsnn_real *x = from + (ptrdiff_t)g->at[e] * K_LANES;                 \
                const kvec v = K_LOAD(dy);                                                 \
                K_ROWS##M(K_PLACE)                                                         \
                K_ROWS##M(K_TAPS##T)                                                       \
            }                                                                              \
        }                                                                                  \
        K_ROWS##M(K_HOLD##T)                                                               \
        for (int l = T * M; l < K_ROOM; l++) t[l] = zero;                                  \
        LSNNI_UNROLL                                                                       \
        for (int l = 0; l < K_ROOM; l += K_LANES) K_STORE(sum + l, K_(add_lanes)(t + l));  \
        for (int m = 0; m < M; m++)                                                        \
            for (int l = 0; l < T; l++) g->dw[m * g->dw_row + l] += sum[m * T + l];        \
    }
K_CORRELATE(1, 1)
K_CORRELATE(1, 2)
K_CORRELATE(1, 3)
K_CORRELATE(2, 1)
K_CORRELATE(2, 2)
K_CORRELATE(2, 3)
K_CORRELATE(3, 1)
K_CORRELATE(3, 2)
K_CORRELATE(3, 3)
K_CORRELATE(4, 1)
K_CORRELATE(4, 2)
K_CORRELATE(5, 1)
K_CORRELATE(5, 2)

static void K_(correlate)(const lsnni_correlation *g)
{
    typedef void run(const lsnni_correlation *g);
    static run *const runs[LSNNI_TAPS_WIDE][3] = {
        { K_(correlate11), K_(correlate12), K_(correlate13) },
        { K_(correlate21), K_(correlate22), K_(correlate23) },
        { K_(correlate31), K_(correlate32), K_(correlate33) },
        { K_(correlate41), K_(correlate42), NULL }, { K_(correlate51), K_(correlate52), NULL }
    };
    runs[g->taps - 1][g->rows - 1](g);
}

/* ---- >>sites kernel: one kernel at 4 or 8 places: see lsnni_sites. Each multiply-add reads its
   own x, and a weight is read for all: 8 with 9 loads, so 89 % of the limit where both units
   can do two. 4 places have sums of their own for odd taps, or each multiply-add would wait
   for the one before it. A place that is there twice is computed twice.      */
#define K_SITE(i) const lsnn_real *const x##i = g->x[i]; kvec c##i = zero;
#define K_SITE_ODD(i) kvec d##i = zero;
#define K_SITE_JOIN(i) c##i = c##i + d##i;
#define K_SITE_MEET(i) c##i = K_FMA(v, K_LOAD(x##i + at), c##i);
#define K_SITE_MEET_ODD(i) d##i = K_FMA(v, K_LOAD(x##i + at), d##i);
#define K_SITES_TAP(A, t) { const kvec v = w[t] - zero; const ptrdiff_t at = from + t * K_LANES; \
                            if (A == 8 || t % 2 == 0) { K_ROWS##A(K_SITE_MEET) }           \
                            else { K_ROWS4(K_SITE_MEET_ODD) } }
#define K_SITES_TAPS1(A) K_SITES_TAP(A, 0)
#define K_SITES_TAPS2(A) K_SITES_TAPS1(A) K_SITES_TAP(A, 1)
#define K_SITES_TAPS3(A) K_SITES_TAPS2(A) K_SITES_TAP(A, 2)
#define K_SITES_TAPS4(A) K_SITES_TAPS3(A) K_SITES_TAP(A, 3)
#define K_SITES_TAPS5(A) K_SITES_TAPS4(A) K_SITES_TAP(A, 4)
#define K_SITE_ADD(i) c##i = c##i + K_LOAD(g->y[i]);
#define K_SITE_LAST(i) c##i = (c##i + g->bias) * g->u[i];
#define K_SITE_SAVE(i) K_STORE(g->y[i], c##i);
#define K_SITES(A, T)                                                                      \
    static void K_(sites##A##T)(const lsnni_sites *g)                                      \
    {                                                                                      \
        const kvec zero = { 0 };                                                          \
        K_ROWS##A(K_SITE)                                                                  \
        K_ROWS4(K_SITE_ODD)                                                                \
        for (int m = 0; m < g->maps; m++) {                                                \
            const lsnn_real *w = g->w + m * g->w_map;                                      \
            ptrdiff_t from = m * g->x_map;                                                 \
            for (int r = g->rows; r > 0; r--, w += g->w_row, from += g->x_row)             \
            { K_SITES_TAPS##T(A) }                                                         \
        }                                                                                  \
        if (A == 4) { K_ROWS4(K_SITE_JOIN) }                                               \
        if (g->add) { K_ROWS##A(K_SITE_ADD) }                                              \
        if (g->last) { K_ROWS##A(K_SITE_LAST) }                                            \
        K_ROWS##A(K_SITE_SAVE)                                                             \
    }
K_SITES(4, 1)
K_SITES(4, 2)
K_SITES(4, 3)
K_SITES(4, 4)
K_SITES(4, 5)
K_SITES(8, 1)
K_SITES(8, 2)
K_SITES(8, 3)
K_SITES(8, 4)
K_SITES(8, 5)

static void K_(sites)(lsnni_sites *g)
{
    typedef void run(const lsnni_sites *g);
    static run *const runs[2][LSNNI_TAPS_WIDE] = {
        { K_(sites41), K_(sites42), K_(sites43), K_(sites44), K_(sites45) },
        { K_(sites81), K_(sites82), K_(sites83), K_(sites84), K_(sites85) }
    };
    int eight = g->count > 4;
    for (int i = g->count; i < (eight ? 8 : 4); i++) {
        g->x[i] = g->x[i - 1];
        g->y[i] = g->y[i - 1];
        g->u[i] = g->u[i - 1];
    }
    runs[eight][g->taps - 1](g);
}

static void K_(weave)(lsnn_real *y, size_t ys, const lsnn_real *x, size_t xs, size_t n)
{
    for (size_t i = 0; i < n; i++) K_STORE(y + i * ys, K_LOAD(x + i * xs));
}

/* The gradient behind a window, on blocks of images: see lsnni_behind.       */
static double K_(behind)(const lsnni_behind *g)
{
    const kvec zero = { 0 };
    lsnn_real sum[K_LANES];
    kvec all = zero, t[K_LANES];
    double total = 0;
    for (int e = 0; e < g->count; e += K_LANES) {
        const int some = LSNNI_MIN(K_LANES, g->count - e);
        for (int l = 0; l < some; l++) {
            const ptrdiff_t at = (ptrdiff_t)g->pixel[e + l] * K_LANES;
            const lsnn_real *dy = g->dy + at, *y = g->y + at;
            lsnn_real *dz = g->dz + (ptrdiff_t)(e + l) * g->blocks * K_LANES;
            kvec products = zero;
            for (int n = 0; n < g->blocks; n++) {
                const kvec v = K_LOAD(dy + n * g->step), z = v * g->u[e + l];
                products = K_FMA(v, K_LOAD(y + n * g->step), products);
                all = all + z;
                K_STORE(dz + n * K_LANES, z);
            }
            t[l] = products;
        }
        for (int l = some; l < K_LANES; l++) t[l] = zero;
        K_STORE(sum, K_(add_lanes)(t));
        for (int l = 0; l < some; l++) g->s[e + l] = sum[l];
    }
    K_STORE(sum, all);
    for (int l = 0; l < K_LANES; l++) total += (double)sum[l];
    return total;
}
