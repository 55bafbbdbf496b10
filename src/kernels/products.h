/* ---- >>tile kernel: bound by the two multiply-add units. The tile of 8 x 3 vectors
   needs 8 broadcasts and 3 loads for 24 multiply-adds, half of what the load
   units can do, and 24 of 32 registers; with 16 registers the tile is 4 x 3.
   One function for each number of vectors; the accumulators are spelled out,
   c_ij for row i and vector j, because compilers keep only names in registers. */
#define K_ROWS1(X) X(0)
#define K_ROWS2(X) X(0) X(1)
#define K_ROWS3(X) X(0) X(1) X(2)
#define K_ROWS4(X) X(0) X(1) X(2) X(3)
#define K_ROWS8(X) K_ROWS4(X) X(4) X(5) X(6) X(7)
#define K_ROW(i) const lsnn_real *a##i = t->a[i];
#define K_CLEAR1(i) kvec c##i##0 = zero;
#define K_CLEAR2(i) K_CLEAR1(i) kvec c##i##1 = zero;
#define K_CLEAR3(i) K_CLEAR2(i) kvec c##i##2 = zero;
#define K_CLEAR4(i) K_CLEAR3(i) kvec c##i##3 = zero;
#define K_FETCH1 kvec v0 = K_LOAD(b0 + ib);
#define K_FETCH2 K_FETCH1 kvec v1 = K_LOAD(b1 + ib);
#define K_FETCH3 K_FETCH2 kvec v2 = K_LOAD(b2 + ib);
#define K_STEP1(i, item) c##i##0 = K_FMA(item, v0, c##i##0);
#define K_STEP2(i, item) K_STEP1(i, item) c##i##1 = K_FMA(item, v1, c##i##1);
#define K_STEP3(i, item) K_STEP2(i, item) c##i##2 = K_FMA(item, v2, c##i##2);
#define K_STEP4(i, item) K_STEP3(i, item) c##i##3 = K_FMA(item, v3, c##i##3);
#define K_LISTED(i) (a##i[ia] - zero)    /* x - 0 is x: a broadcast and no more */
#define K_TILE_STEP1(i) K_STEP1(i, K_LISTED(i))
#define K_TILE_STEP2(i) K_STEP2(i, K_LISTED(i))
#define K_TILE_STEP3(i) K_STEP3(i, K_LISTED(i))
#define K_END1(i) if (i < t->rows) K_(store)(t, i, 0, c##i##0);
#define K_END2(i) K_END1(i) if (i < t->rows) K_(store)(t, i, 1, c##i##1);
#define K_END3(i) K_END2(i) if (i < t->rows) K_(store)(t, i, 2, c##i##2);
#define K_FULL1 (t->lanes[0] == K_LANES)
#define K_FULL2 (K_FULL1 && t->lanes[1] == K_LANES)
#define K_FULL3 (K_FULL2 && t->lanes[2] == K_LANES)
#define K_SAVE(i, v) { lsnn_real *c = t->c[i] + t->at[v];                                  \
                      if (t->add) c##i##v = c##i##v + K_LOAD(c);                          \
                      if (t->bias) c##i##v = c##i##v + t->bias[i];                        \
                      if (t->scale) c##i##v = c##i##v * t->scale[LSNNI_MAX_VECTORS*i + v]; \
                      K_STORE(c, c##i##v); }
#define K_SAVE1(i) if (i < t->rows) K_SAVE(i, 0)
#define K_SAVE2(i) if (i < t->rows) { K_SAVE(i, 0) K_SAVE(i, 1) }
#define K_SAVE3(i) if (i < t->rows) { K_SAVE(i, 0) K_SAVE(i, 1) K_SAVE(i, 2) }
#define K_TILE(R, V)                                                                      \
    static void K_(tile##R##V)(const lsnni_tile *t)                                       \
    {                                                                                     \
        const kvec zero = { 0 };                                                         \
        const lsnn_real *b0 = t->b[0], *b1 = t->b[1], *b2 = t->b[2];                      \
        const int32_t *ka = t->ka, *kb = t->kb;                                           \
        K_ROWS##R(K_ROW) K_ROWS##R(K_CLEAR##V)                                            \
        for (int k = 0, count = t->k; k < count; k++) {                                   \
            ptrdiff_t ia = ka[k], ib = kb[k];                                             \
            K_FETCH##V                                                                    \
            K_ROWS##R(K_TILE_STEP##V)                                                     \
        }                                                                                 \
        (void)b0; (void)b1; (void)b2;                                                     \
        if (K_FULL##V) { K_ROWS##R(K_SAVE##V) }                                            \
        else { K_ROWS##R(K_END##V) }                                                      \
    }

/* A vector of which only some lanes are wanted.                              */
static void K_(store)(const lsnni_tile *t, int i, int v, kvec acc)
{
    lsnn_real *c = t->c[i] + t->at[v];
#ifdef K_LOAD_SOME
    if (t->add) acc = acc + K_LOAD_SOME(c, t->lanes[v]);
    if (t->bias) acc = acc + t->bias[i];
    K_STORE_SOME(c, acc, t->lanes[v]);
#else
    const lsnn_real bias = t->bias ? t->bias[i] : 0;
    lsnn_real part[K_LANES];
    K_STORE(part, acc);
    for (int l = 0; l < t->lanes[v]; l++) {
        lsnn_real sum = t->add ? part[l] + c[l] : part[l];
        c[l] = t->bias ? sum + bias : sum;
    }
#endif
}

K_TILE(4, 1)
K_TILE(4, 2)
K_TILE(4, 3)
#if K_TILE_ROWS == 8
K_TILE(8, 1)
K_TILE(8, 2)
K_TILE(8, 3)
#endif

static void K_(tile)(const lsnni_tile *t)
{
#if K_TILE_ROWS == 8
    if (t->rows > 4) {
        if (t->vectors == 3) K_(tile83)(t);
        else if (t->vectors == 2) K_(tile82)(t);
        else K_(tile81)(t);
        return;
    }
#endif
    if (t->vectors == 3) K_(tile43)(t);
    else if (t->vectors == 2) K_(tile42)(t);
    else K_(tile41)(t);
}

/* ---- >>mesh kernel: see lsnni_mesh. Rows of their own places by 4 vectors, which lie t->step
   apart: the same pixel of neighbouring blocks of images. 4 x 4 vectors need 4 broadcasts and 4
   loads for 16 multiply-adds. One row has sums of its own for odd k, or each multiply-add would
   wait for the one before it.                                                */
#define K_AHEAD4 const kvec v0 = K_LOAD(b), v1 = K_LOAD(b + step);                         \
                 const kvec v2 = K_LOAD(b + 2 * step), v3 = K_LOAD(b + 3 * step);
#define K_MESH_STEP(i) K_STEP4(i, K_LISTED(i))
#define K_MESH_ROW(i) const lsnn_real *a##i = g->a[r + i];
#define K_MESH_FETCH(i) { lsnn_real *c = g->c[r + i] + to;                                 \
                          LSNNI_FETCH_TO_WRITE(c); LSNNI_FETCH_TO_WRITE(c + c_step);       \
                          LSNNI_FETCH_TO_WRITE(c + 2 * c_step);                            \
                          LSNNI_FETCH_TO_WRITE(c + 3 * c_step); }
#define K_MESH_PUT(i, v) { lsnn_real *at = c + v * c_step; kvec sum = c##i##v;             \
                           if (g->add) sum = sum + K_LOAD(at);                             \
                           if (g->scale) sum = (sum + g->bias[r + i]) * g->scale[r + i];   \
                           K_STORE(at, sum); }
#define K_MESH_SAVE(i) { lsnn_real *c = g->c[r + i] + to;                                  \
                         K_MESH_PUT(i, 0) K_MESH_PUT(i, 1) K_MESH_PUT(i, 2) K_MESH_PUT(i, 3) }
#define K_MESH(R)                                                                          \
    static void K_(mesh##R)(const lsnni_mesh *g, int r, const lsnn_real *from,             \
                            ptrdiff_t to)                                                  \
    {                                                                                      \
        const kvec zero = { 0 };                                                          \
        const ptrdiff_t step = g->step, c_step = g->c_step;                                \
        const int32_t *ka = g->ka, *kb = g->kb;                                            \
        K_ROWS##R(K_MESH_FETCH) K_ROWS##R(K_MESH_ROW) K_ROWS##R(K_CLEAR4)                  \
        for (int k = 0, count = g->k; k < count; k++) {                                    \
            const ptrdiff_t ia = ka[k];                                                    \
            const lsnn_real *b = from + kb[k];                                             \
            K_AHEAD4                                                                       \
            K_ROWS##R(K_MESH_STEP)                                                            \
        }                                                                                  \
        K_ROWS##R(K_MESH_SAVE)                                                             \
    }
K_MESH(2)
K_MESH(3)
#if K_TILE_ROWS == 8
K_MESH(4)
#endif
static void K_(mesh1)(const lsnni_mesh *g, int r, const lsnn_real *from, ptrdiff_t to)
{
    const kvec zero = { 0 };
    const ptrdiff_t step = g->step, c_step = g->c_step;
    const int32_t *ka = g->ka, *kb = g->kb;
    const lsnn_real *a0 = g->a[r], *a1 = a0, *b;
    const int count = g->k;
    ptrdiff_t ia;
    K_MESH_FETCH(0)
    K_CLEAR4(0)
    K_CLEAR4(1)
    for (int k = 1; k < count; k += 2) {
        { ia = ka[k - 1]; b = from + kb[k - 1]; { K_AHEAD4 K_MESH_STEP(0) } }
        { ia = ka[k]; b = from + kb[k]; { K_AHEAD4 K_MESH_STEP(1) } }
    }
    if (count % 2) { ia = ka[count - 1]; b = from + kb[count - 1]; { K_AHEAD4 K_MESH_STEP(0) } }
    c00 = c00 + c10; c01 = c01 + c11; c02 = c02 + c12; c03 = c03 + c13;
    K_MESH_SAVE(0)
}

static void K_(mesh)(const lsnni_mesh *g)
{
    for (int n = 0; n + 4 <= g->vectors; n += 4) {
        const lsnn_real *from = g->b + n * g->step;
        const ptrdiff_t to = g->at + n * g->c_step;
        int r = 0;
#if K_TILE_ROWS == 8
        for (; r + 4 <= g->rows; r += 4) K_(mesh4)(g, r, from, to);
#endif
        for (; r + 3 <= g->rows; r += 3) K_(mesh3)(g, r, from, to);
        if (g->rows - r == 2) K_(mesh2)(g, r, from, to);
        if (g->rows - r == 1) K_(mesh1)(g, r, from, to);
    }
}

/* ---- >>matmul kernel: the same tiles for plain matrices, whose places are bases and strides
   instead of tables. B's rows are used where they lie; A's are three to a pointer, since
   one pointer a row is more than there are registers for. The last vector of C's row ends
   where the row ends, over the one before it: both compute the same bits there, and nothing
   outside of the matrices is touched. C is fetched while its tile is computed, or each tile
   would wait for it at its end. 95 to 99 % of the multiply-add units' limit; 80 % for ten
   steps of k, which hardly hide a tile's 24 stores.                          */
#define K_ROWS5(X) K_ROWS4(X) X(4)
#define K_A0 a0[0]
#define K_A1 a0[ai]
#define K_A2 a0[2 * ai]
#define K_A3 a3[0]
#define K_A4 a3[ai]
#define K_A5 a3[2 * ai]
#define K_A6 a6[0]
#define K_A7 a6[ai]
#define K_MATMUL_STEP2(i) K_STEP2(i, (K_A##i - zero))
#define K_MATMUL_STEP3(i) K_STEP3(i, (K_A##i - zero))
#define K_TAKE2 const kvec v0 = K_LOAD(b), v1 = K_LOAD(b + last);
#define K_TAKE3 K_TAKE2 const kvec v2 = K_LOAD(b + LSNNI_MIN(last, K_LANES));
#define K_ADD2(i) c##i##0 = c##i##0 + K_LOAD(at); c##i##1 = c##i##1 + K_LOAD(at + last);   \
                  at += ci;
#define K_ADD3(i) c##i##2 = c##i##2 + K_LOAD(at + LSNNI_MIN(last, K_LANES)); K_ADD2(i)
#define K_PUT2(i) K_STORE(c, c##i##0); K_STORE(c + last, c##i##1); c += ci;
#define K_PUT3(i) K_STORE(c + LSNNI_MIN(last, K_LANES), c##i##2); K_PUT2(i)
#define K_MATMUL(R, V)                                                                      \
    static void K_(matmul##R##V)(const lsnni_matmul *g, int i, int tiles)                    \
    {                                                                                      \
        const kvec zero = { 0 };                                                          \
        const ptrdiff_t ai = g->ai, ak = g->ak, bk = g->bk, ci = g->ci;                    \
        const ptrdiff_t n = g->n, last = n - K_LANES;                                      \
        const lsnn_real *a = g->a + i * ai;                                                \
        lsnn_real *c = g->c + i * ci;                                                      \
        for (; tiles > 0; tiles--, a += R * ai) {                                          \
            const lsnn_real *a0 = a, *a3 = a + (R > 3 ? 3 * ai : 0);                       \
            const lsnn_real *a6 = a + (R > 6 ? 6 * ai : 0), *b = g->b, *at = c;            \
            K_ROWS##R(K_CLEAR##V)                                                          \
            for (int r = 0; r < R && g->k > 32; r++)                                       \
                for (int v = 0; v < 3; v++) LSNNI_FETCH_TO_WRITE(c + r*ci + v*(n - 1)/2); \
            for (int k = g->k; k > 0; k--, b += bk, a0 += ak, a3 += ak, a6 += ak) {        \
                K_TAKE##V                                                                  \
                K_ROWS##R(K_MATMUL_STEP##V)                                                \
            }                                                                              \
            (void)a3; (void)a6;                                                            \
            if (g->add) { K_ROWS##R(K_ADD##V) }                                            \
            K_ROWS##R(K_PUT##V)                                                            \
        }                                                                                  \
    }
K_MATMUL(1, 3)
K_MATMUL(2, 3)
K_MATMUL(4, 3)
#if K_TILE_ROWS == 8
K_MATMUL(5, 2)
K_MATMUL(5, 3)
K_MATMUL(8, 2)
K_MATMUL(8, 3)
#else
K_MATMUL(4, 2)
#endif

/* Rows by tiles of 8, then by smaller ones; 8 + 1 and 8 + 2 rows as 5 + 4 and 5 + 5, since
   a tile of one or two rows has too few sums to keep the multiply-add units busy. */
static void K_(matmul)(const lsnni_matmul *g)
{
    typedef void run(const lsnni_matmul *g, int i, int tiles);
    static const struct { int rows; run *two, *three; } shapes[] = {
#if K_TILE_ROWS == 8
        { 8, K_(matmul82), K_(matmul83) }, { 5, K_(matmul52), K_(matmul53) },
        { 4, K_(matmul43), K_(matmul43) },
#else
        { 4, K_(matmul42), K_(matmul43) },
#endif
        { 2, K_(matmul23), K_(matmul23) }, { 1, K_(matmul13), K_(matmul13) }
    };
    const int left = g->m % K_TILE_ROWS;
    int split = K_TILE_ROWS == 8 && g->m > 8 && (left == 1 || left == 2);
    for (int s = 0, i = 0, tiles; i < g->m; i += tiles * shapes[s++].rows, split = 0) {
        tiles = (g->m - i) / shapes[s].rows - split;
        if (tiles) (g->n > 2 * K_LANES ? shapes[s].three : shapes[s].two)(g, i, tiles);
    }
}

/* ---- >>dots kernel: where A's rows and B's columns are contiguous, the vectors run along
   k, and an element of C is a vector of partial sums, added up at the end. 4 rows of A
   by 6 columns of B need 10 loads for 24 multiply-adds: 80 to 90 % of the limit. A single
   row takes 8 columns side by side, as fast as the caches give them. What is left of k is
   copied and filled up with zeros. All tiles compute an element in the same way. */
LSNNI_NOINLINE static void K_(fill_up)(lsnn_real *to, const lsnn_real *from, int rest)
{
    for (int l = 0; l < K_LANES; l++) to[l] = l < rest ? from[l] : 0;
}

/* Lane i of the result is the sum of t[i]'s lanes: even ones and odd ones are added until
   each is a single number: the steps of >>transpose, with an addition in each. */
#if K_BYTES > 0
static inline void K_(halve)(kvec *t, int n, int within)
{
    LSNNI_UNROLL
    for (int i = 0; i < n; i++)
        t[i] = K_(sort_evens)(t[2 * i], t[2 * i + 1], within) +
               K_(sort_odds)(t[2 * i], t[2 * i + 1], within);
}
#endif
static inline kvec K_(add_lanes)(kvec *t)
{
#if K_BYTES > 0
    K_(halve)(t, K_COUNT / 2, 1);
    if (K_COUNT >= 4) K_(halve)(t, K_COUNT / 4, sizeof(lsnn_real) == 4);
    if (K_COUNT >= 8) K_(halve)(t, K_COUNT / 8, 0);
    if (K_COUNT >= 16) K_(halve)(t, K_COUNT / 16, 0);
#endif
    return t[0];
}

/* A tile's sums, `width` a row, to C from column j on.                        */
#ifdef K_LOAD_SOME
static inline void K_(dots_store)(const lsnni_matmul *g, const lsnn_real *sum, int i, int j,
                                  int rows, int width)
{
    const int columns = LSNNI_MIN(width, g->n - j);
    for (int r = 0; r < rows; r++, sum += width) {
        lsnn_real *c = g->c + (i + r) * g->ci + j;
        kvec v = K_LOAD(sum);
        if (g->add) v = v + K_LOAD_SOME(c, columns);
        else if (g->bias) v = v + K_LOAD_SOME(g->bias + j, columns);
        K_STORE_SOME(c, v, columns);
    }
}
#else
LSNNI_NOINLINE static void K_(dots_few)(lsnn_real *c, const lsnn_real *sum,
                                        const lsnn_real *from, int columns)
{
    for (int l = 0; l < columns; l++) c[l] = sum[l] + from[l];
}
static inline void K_(dots_store)(const lsnni_matmul *g, const lsnn_real *sum, int i, int j,
                                  int rows, int width)
{
    static const lsnn_real none[8] = { 0 };
    for (int r = 0; r < rows; r++, sum += width) {
        lsnn_real *c = g->c + (i + r) * g->ci + j, all[8];
        const lsnn_real *from = g->add ? c : g->bias ? g->bias + j : none;
        if (g->n - j < width) {
            K_(dots_few)(c, sum, from, g->n - j);
            continue;
        }
        for (int l = 0; l < width; l++) all[l] = sum[l] + from[l];
        memcpy(c, all, (size_t)width * sizeof *c);
    }
}
#endif

#define K_ALONG(j) K_LOAD(K_REST ? edge + j * K_LANES : b##j + k)
#define K_DOTS_STEP1(j) K_STEP1(j, K_ALONG(j))
#define K_DOTS_STEP4(j) K_STEP4(j, K_ALONG(j))
#define K_ROWS6(X) K_ROWS5(X) X(5)
#define K_COLUMN(j) const lsnn_real *const b##j = b + LSNNI_MIN(j, g->n - 1 - j0) * g->bj; \
                    if (rest) K_(fill_up)(edge + j * K_LANES, b##j + whole, rest);
#define K_DOT(r) K_LOAD(K_REST ? a_edge + (i + r) * K_LANES : a + r * g->ai + k)
#define K_DOT1 const kvec v0 = K_DOT(0);
#define K_DOT4 const kvec v0 = K_DOT(0), v1 = K_DOT(1), v2 = K_DOT(2), v3 = K_DOT(3);
#define K_KEEP1(j) t[j] = c##j##0;
#define K_KEEP4(j) t[j] = c##j##0; t[K_WIDE + j] = c##j##1; t[2*K_WIDE + j] = c##j##2;     \
                   t[3*K_WIDE + j] = c##j##3;
#define K_DOTS(R, COLUMNS)                                                                 \
    static void K_(dots##R##COLUMNS)(const lsnni_matmul *g, int i, int rows, int j0,        \
                                     const lsnn_real *a_edge)                              \
    {                                                                                      \
        enum { K_WIDE = COLUMNS, K_ROOM = (R * K_WIDE + K_LANES - 1) / K_LANES * K_LANES };\
        const int rest = g->k % K_LANES, whole = g->k - rest;                              \
        const lsnn_real *b = g->b + j0 * g->bj;                                            \
        const kvec zero = { 0 };                                                          \
        lsnn_real edge[K_WIDE * K_LANES], sum[K_ROOM + K_LANES];  /* read past its end */ \
        K_ROWS##COLUMNS(K_COLUMN)                                                          \
        for (; i < rows; i += R) {                                                         \
            const lsnn_real *a = g->a + i * g->ai;                                         \
            ptrdiff_t k = 0;                                                               \
            kvec t[K_ROOM];                                                                \
            K_ROWS##COLUMNS(K_CLEAR##R)                                                    \
            for (; k < whole; k += K_LANES) {                                              \
                enum { K_REST = 0 };                                                       \
                K_DOT##R                                                                   \
                K_ROWS##COLUMNS(K_DOTS_STEP##R)                                            \
            }                                                                              \
            if (rest) {                                                                    \
                enum { K_REST = 1 };                                                       \
                K_DOT##R                                                                   \
                K_ROWS##COLUMNS(K_DOTS_STEP##R)                                            \
            }                                                                              \
            K_ROWS##COLUMNS(K_KEEP##R)                                                     \
            for (int l = R * K_WIDE; l < K_ROOM; l++) t[l] = zero;                         \
            K_STORE(sum, K_(add_lanes)(t));                                                \
            if (K_ROOM > K_LANES) K_STORE(sum + K_LANES, K_(add_lanes)(t + K_LANES));      \
            for (int l = 2 * K_LANES; l < K_ROOM; l += K_LANES)                            \
                K_STORE(sum + l, K_(add_lanes)(t + l));                                    \
            K_(dots_store)(g, sum, i, j0, R, K_WIDE);                                      \
        }                                                                                  \
    }
K_DOTS(1, 8)
#if K_TILE_ROWS == 8
K_DOTS(4, 4)
K_DOTS(4, 6)
#else
K_DOTS(4, 2)
#endif

static void K_(dots)(const lsnni_matmul *g)
{
    const int rest = g->k % K_LANES, fours = g->m - g->m % 4;
    lsnn_real edge[LSNNI_DOTS_ROWS * K_LANES];
    int j = 0;
    for (int i = 0; i < g->m && rest; i++)
        K_(fill_up)(edge + i * K_LANES, g->a + i * g->ai + (g->k - rest), rest);
#if K_TILE_ROWS == 8
    for (; fours && g->n - j > 4; j += 6) K_(dots46)(g, 0, fours, j, edge);
    for (; fours && j < g->n; j += 4) K_(dots44)(g, 0, fours, j, edge);
#else
    for (; fours && j < g->n; j += 2) K_(dots42)(g, 0, fours, j, edge);
#endif
    for (j = 0; fours < g->m && j < g->n; j += 8) K_(dots18)(g, fours, g->m, j, edge);
}
