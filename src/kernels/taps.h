/* ---- >>correlate kernel: products of dy and x, summed over images and pixels, for some taps
   side by side in some rows: see lsnni_correlation. A vector is of the images of a block; its
   lanes are added up at the end, which is why the more sums at once the better: 25 to 27 where
   there are registers. An x is loaded for each tap that meets it, from the first-level cache:
   25 multiply-adds with 26 loads, so 96 % of the limit where both units can do two. */
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
#define K_ROWS9(X) K_ROWS8(X) X(8)
#define K_PLACE(m) const lsnn_real *const x##m = x + g->row[r + m];
#define K_CORRELATE(T, M)                                                                  \
    static void K_(correlate##T##M)(const lsnni_correlation *g, int r)                     \
    {                                                                                      \
        enum { K_WIDE = T, K_ROOM = (T * M + K_LANES - 1) / K_LANES * K_LANES };           \
        const kvec zero = { 0 };                                                          \
        lsnn_real sum[K_ROOM], *dw = g->dw + r * g->dw_row;                                \
        kvec t[K_ROOM];                                                                    \
        K_ROWS##M(K_CLEAR##T)                                                              \
        for (int n = 0; n < g->blocks; n++) {                                              \
            const lsnn_real *dy = g->dy + n * g->dy_block, *from = g->x + n * g->x_step;   \
            for (int e = 0; e < g->count; e++, dy += g->dy_step) {                         \
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
            for (int l = 0; l < T; l++) dw[m * g->dw_row + l] += sum[m * T + l];           \
    }
#define K_CORRELATES(M) K_CORRELATE(1, M) K_CORRELATE(2, M) K_CORRELATE(3, M)
K_CORRELATES(1)
K_CORRELATES(3)
K_CORRELATE(4, 1)
K_CORRELATE(5, 1)
#if K_TILE_ROWS == 8
K_CORRELATES(9)
K_CORRELATE(4, 5)
K_CORRELATE(5, 5)
#else
K_CORRELATE(4, 2)
K_CORRELATE(5, 2)
#endif

static void K_(correlate)(const lsnni_correlation *g)
{
    typedef void run(const lsnni_correlation *g, int r);
    static const struct { int rows; run *of; } shapes[LSNNI_TAPS_WIDE][3] = {
#if K_TILE_ROWS == 8
        { { 9, K_(correlate19) }, { 3, K_(correlate13) }, { 1, K_(correlate11) } },
        { { 9, K_(correlate29) }, { 3, K_(correlate23) }, { 1, K_(correlate21) } },
        { { 9, K_(correlate39) }, { 3, K_(correlate33) }, { 1, K_(correlate31) } },
        { { 5, K_(correlate45) }, { 5, K_(correlate45) }, { 1, K_(correlate41) } },
        { { 5, K_(correlate55) }, { 5, K_(correlate55) }, { 1, K_(correlate51) } }
#else
        { { 3, K_(correlate13) }, { 3, K_(correlate13) }, { 1, K_(correlate11) } },
        { { 3, K_(correlate23) }, { 3, K_(correlate23) }, { 1, K_(correlate21) } },
        { { 3, K_(correlate33) }, { 3, K_(correlate33) }, { 1, K_(correlate31) } },
        { { 2, K_(correlate42) }, { 2, K_(correlate42) }, { 1, K_(correlate41) } },
        { { 2, K_(correlate52) }, { 2, K_(correlate52) }, { 1, K_(correlate51) } }
#endif
    };
    for (int i = 0, r = 0; i < 3; i++)
        for (; r + shapes[g->taps - 1][i].rows <= g->rows; r += shapes[g->taps - 1][i].rows)
            shapes[g->taps - 1][i].of(g, r);
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
            lsnn_real *dz = g->dz + (e + l) * g->dz_step;
            kvec products = zero;
            for (int n = 0; n < g->blocks; n++) {
                const kvec v = K_LOAD(dy + n * g->step), z = v * g->u[e + l];
                products = K_FMA(v, K_LOAD(y + n * g->step), products);
                all = all + z;
                K_STORE(dz + n * g->dz_block, z);
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
