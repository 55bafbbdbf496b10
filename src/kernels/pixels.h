/* ---- >>maxima: v at pixel `at` takes the place of the best so far where it wins; then relu
   for what has won: see LSNNI_WINS.                                          */
static inline void K_(max_take)(kvec *best, kints *from, kvec v, kints at)
{
    const kints wins = LSNNI_WINS(v, *best);
    *best = K_SELECT(kvec, wins, v, *best);
    *from = K_SELECT(kints, wins, at, *from);
}

static inline void K_(max_relu)(kvec *best, kints *from)
{
    const kvec zero = { 0 };
    const kints positive = *best > zero;
    *from = K_SELECT(kints, positive, *from, (kints)zero - 1);
    *best = K_SELECT(kvec, *best < zero, zero, *best);
}

/* 2 x 2 windows from the rows a b over c d, the first at pixel `at`, rows w apart: their
   largest numbers, and where they are. relu: y = relu(max), where = -1 if it is 0. */
#if K_BYTES > 0
static inline kvec K_(max_of_4)(kvec a, kvec b, kvec c, kvec d, int at, int w, int relu,
                                kints *where)
{
    const kints even = { K_EVENS };
    kvec best = K_(evens)(a, b), low = K_(evens)(c, d);
    kints from = even + at, under = from + w;
    K_(max_take)(&best, &from, K_(odds)(a, b), from + 1);
    K_(max_take)(&low, &under, K_(odds)(c, d), under + 1);
    K_(max_take)(&best, &from, low, under);
    if (relu) K_(max_relu)(&best, &from);
    *where = from;
    return best;
}
#endif

/* One output row of 2 x 2 windows: rows top and top + pitch, which have the indices at and
   at + w on.                                                                 */
static void K_(max_pool2)(lsnn_real *y, int32_t *where, const lsnn_real *top, int pitch, int w,
                          int at, int n, int relu)
{
    int j = 0;
#if K_BYTES > 0
    kints from;
    for (; j + K_LANES <= n; j += K_LANES) {
        const lsnn_real *p = top + 2 * j, *q = p + pitch;
        K_STORE(y + j, K_(max_of_4)(K_LOAD(p), K_LOAD(p + K_LANES), K_LOAD(q),
                                    K_LOAD(q + K_LANES), at + 2 * j, w, relu, &from));
        K_STORE_INTS(where + j, from);
    }
#endif
#ifdef K_LOAD_SOME
    if (j < n) {
        const int m = n - j, first = LSNNI_MIN(2 * m, K_LANES), rest = 2 * m - first;
        const lsnn_real *p = top + 2 * j, *q = p + pitch;
        kvec best = K_(max_of_4)(K_LOAD_SOME(p, first), K_LOAD_SOME(p + first, rest),
                                 K_LOAD_SOME(q, first), K_LOAD_SOME(q + first, rest),
                                 at + 2 * j, w, relu, &from);
        K_STORE_SOME(y + j, best, m);
        K_STORE_SOME_INTS(where + j, from, m);
        return;
    }
#endif
    for (; j < n; j++) {
        const lsnn_real *p = top + 2 * j;
        const lsnn_real *q = p + pitch;
        int right = LSNNI_WINS(p[1], p[0]), below = LSNNI_WINS(q[1], q[0]);
        int low = LSNNI_WINS(q[below], p[right]);
        y[j] = low ? q[below] : p[right];
        where[j] = at + 2 * j + (low ? w + below : right);
        if (relu) lsnni_max_relu(y + j, where + j);
    }
}

/* The same with sums, times scale.                                           */
static void K_(sum_pool2)(lsnn_real *y, const lsnn_real *top, int w, int n, double scale)
{
    const lsnn_real s = LSNNI_R(scale);
    int j = 0;
#if K_BYTES > 0
    for (; j + K_LANES <= n; j += K_LANES) {
        const lsnn_real *p = top + 2 * j;
        kvec a = K_LOAD(p) + K_LOAD(p + w), b = K_LOAD(p + K_LANES) + K_LOAD(p + w + K_LANES);
        K_STORE(y + j, (K_(evens)(a, b) + K_(odds)(a, b)) * s);
    }
#endif
#ifdef K_LOAD_SOME
    if (j < n) {
        const int m = n - j, first = LSNNI_MIN(2 * m, K_LANES), rest = 2 * m - first;
        const lsnn_real *p = top + 2 * j, *q = p + w;
        kvec a = K_LOAD_SOME(p, first) + K_LOAD_SOME(q, first);
        kvec b = K_LOAD_SOME(p + first, rest) + K_LOAD_SOME(q + first, rest);
        K_STORE_SOME(y + j, (K_(evens)(a, b) + K_(odds)(a, b)) * s, m);
        return;
    }
#endif
    for (; j < n; j++)
        y[j] = ((top[2 * j] + top[w + 2 * j]) + (top[2 * j + 1] + top[w + 2 * j + 1])) * s;
}

/* ---- >>pooling of blocks of images: `n` windows in a row, the first at pixel `at`, the
   next ones `step` pixels on; tap[] says where a window's `taps` pixels are. Bound by
   the loads of x and dx. where, laid out as y, gets each lane's pixel number (row * W + column)
   in its map, with relu -1 for none. x is a map from its pixel number `first` on, which is not
   0 where a convolution holds a band of rows only.                           */
static void K_(lanes_max)(lsnn_real *y, int32_t *where, const lsnn_real *x, const int32_t *tap,
                          int taps, int step, int at, int first, int n, int relu)
{
    const kvec zero = { 0 };
    const kints none = (kints)zero;                      /* all bits 0        */
    for (int j = 0; j < n; j++, at += step) {
        kvec best = K_LOAD(x + (ptrdiff_t)(at + tap[0]) * K_LANES);
        kints from = none + (first + at + tap[0]);
        for (int i = 1; i < taps; i++) {
            kvec v = K_LOAD(x + (ptrdiff_t)(at + tap[i]) * K_LANES);
            K_(max_take)(&best, &from, v, none + (first + at + tap[i]));
        }
        if (relu) K_(max_relu)(&best, &from);
        K_STORE(y + (ptrdiff_t)j * K_LANES, best);
        K_STORE_INTS(where + (ptrdiff_t)j * K_LANES, from);
    }
}

/* dx of the windows' pixels is written where no other window has a part in them
   (apart), else added to.                                                    */
static void K_(lanes_max_back)(lsnn_real *dx, const lsnn_real *dy, const int32_t *where,
                               const int32_t *tap, int taps, int step, int at, int n, int apart)
{
    const kvec zero = { 0 };
    for (int j = 0; j < n; j++, at += step) {
        kvec g = K_LOAD(dy + (ptrdiff_t)j * K_LANES);
        kints from = K_LOAD_INTS(where + (ptrdiff_t)j * K_LANES);
        for (int i = 0; i < taps; i++) {
            lsnn_real *p = dx + (ptrdiff_t)(at + tap[i]) * K_LANES;
            kvec part = K_SELECT(kvec, from == at + tap[i], g, zero);
            if (!apart) part = part + K_LOAD(p);
            K_STORE(p, part);
        }
    }
}

static void K_(lanes_sum)(lsnn_real *y, const lsnn_real *x, const int32_t *tap, int taps,
                          int step, int at, int n, double scale)
{
    const kvec zero = { 0 };
    for (int j = 0; j < n; j++, at += step) {
        kvec sum = zero;
        for (int i = 0; i < taps; i++)
            sum = sum + K_LOAD(x + (ptrdiff_t)(at + tap[i]) * K_LANES);
        K_STORE(y + (ptrdiff_t)j * K_LANES, sum * LSNNI_R(scale));
    }
}

static void K_(lanes_sum_back)(lsnn_real *dx, const lsnn_real *dy, const int32_t *tap, int taps,
                               int step, int at, int n, double scale)
{
    for (int j = 0; j < n; j++, at += step) {
        kvec g = K_LOAD(dy + (ptrdiff_t)j * K_LANES) * LSNNI_R(scale);
        for (int i = 0; i < taps; i++) {
            lsnn_real *p = dx + (ptrdiff_t)(at + tap[i]) * K_LANES;
            K_STORE(p, K_LOAD(p) + g);
        }
    }
}

/* ---- >>transpose: y[j*ys + i] = x[i*xs + j]. A square of L x L numbers is turned in
   registers: to sort rows 2 i and 2 i + 1 into evens, row i, and odds, row i + L/2,
   log2(L) times, is to transpose. Bound by the shuffles, log2(L) a vector.   */
#if K_BYTES > 0
static void K_(turn)(lsnn_real *y, size_t ys, const lsnn_real *x, size_t xs)
{
    enum { K_HALF = K_COUNT / 2 };
    kvec a[K_COUNT], b[K_COUNT];
    LSNNI_UNROLL
    for (int i = 0; i < K_COUNT; i++) a[i] = K_LOAD(x + (size_t)i * xs);
    LSNNI_UNROLL
    for (int pass = 1; pass < K_COUNT; pass *= 2) {
        const int within = pass * (int)sizeof(lsnn_real) < 16;
        LSNNI_UNROLL
        for (int i = 0; i < K_HALF; i++) {
            b[i] = K_(sort_evens)(a[2 * i], a[2 * i + 1], within);
            b[i + K_HALF] = K_(sort_odds)(a[2 * i], a[2 * i + 1], within);
        }
        LSNNI_UNROLL
        for (int i = 0; i < K_COUNT; i++) a[i] = b[i];
    }
    LSNNI_UNROLL
    for (int i = 0; i < K_COUNT; i++) K_STORE(y + (size_t)i * ys, a[i]);
}
#endif

static void K_(transpose)(lsnn_real *y, size_t ys, const lsnn_real *x, size_t xs, int rows,
                          int columns)
{
    for (int i0 = 0; i0 < rows; i0 += K_LANES)
        for (int j0 = 0; j0 < columns; j0 += K_LANES) {
            int i1 = LSNNI_MIN(i0 + K_LANES, rows), j1 = LSNNI_MIN(j0 + K_LANES, columns);
#if K_BYTES > 0
            if (i1 - i0 == K_LANES && j1 - j0 == K_LANES) {
                K_(turn)(y + (size_t)j0 * ys + i0, ys, x + (size_t)i0 * xs + j0, xs);
                continue;
            }
#endif
            for (int j = j0; j < j1; j++)
                for (int i = i0; i < i1; i++)
                    y[(size_t)j * ys + (size_t)i] = x[(size_t)i * xs + (size_t)j];
        }
}
