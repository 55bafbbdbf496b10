/* ============================================================================
   >>kernels  the inner loops, once per instruction set
   The file includes itself below with LSNNI_KERNEL_PASS set to the name of an
   instruction set; this chapter is all that such a pass compiles. K_(name) is
   the function's name in the pass, kvec its vector of K_LANES numbers.
   ==========================================================================*/
#ifdef LSNNI_KERNEL_PASS
#define K_PASTE2(a, b) lsnni_##a##_##b
#define K_PASTE(a, b) K_PASTE2(a, b)
#define K_(name) K_PASTE(name, LSNNI_KERNEL_PASS)
#define K_LANES ((int)(K_BYTES / sizeof(lsnn_real)))

#if K_BYTES == 0                     /* no vectors: LSNN_NO_SIMD, nvcc, MSVC */
#undef K_LANES
#define K_LANES 1
typedef lsnn_real K_(vec);
#define kvec K_(vec)
#define kints int32_t
#define K_LOAD(p) (*(p))
#define K_STORE(p, v) (*(p) = (v))
#define K_SELECT(type, mask, a, b) ((mask) ? (a) : (b))
#define K_LOAD_INTS(p) (*(p))
#define K_STORE_INTS(p, v) (*(p) = (v))
#else
#ifdef LSNN_DOUBLE
typedef int64_t K_(int);
typedef int64_t K_(ints) __attribute__((vector_size(K_BYTES)));
#else
typedef int32_t K_(int);
typedef int32_t K_(ints) __attribute__((vector_size(K_BYTES)));
#endif
typedef lsnn_real K_(vec) __attribute__((vector_size(K_BYTES)));
typedef lsnn_real K_(mem) __attribute__((vector_size(K_BYTES), aligned(sizeof(lsnn_real)),
                                         may_alias));
#define kvec K_(vec)
#define kints K_(ints)
#define K_LOAD(p) (*(const K_(mem) *)(p))
#define K_STORE(p, v) (*(K_(mem) *)(p) = (v))
#define K_SELECT(type, mask, a, b) ((type)(((kints)(a) & (mask)) | ((kints)(b) & ~(mask))))
#ifdef LSNN_DOUBLE                   /* int32_t in memory, int64_t in registers */
typedef int32_t K_(whole) __attribute__((vector_size(K_BYTES / 2), aligned(4), may_alias));
#define K_LOAD_INTS(p) __builtin_convertvector(*(const K_(whole) *)(p), kints)
#define K_STORE_INTS(p, v) (*(K_(whole) *)(p) = __builtin_convertvector(v, K_(whole)))
#else
typedef int32_t K_(whole) __attribute__((vector_size(K_BYTES), aligned(4), may_alias));
#define K_LOAD_INTS(p) (*(const K_(whole) *)(p))
#define K_STORE_INTS(p, v) (*(K_(whole) *)(p) = (v))
#endif
#endif
#ifndef K_FMA
#define K_FMA(a, b, c) ((a) * (b) + (c))
#endif
/* The even and the odd ones of two vectors, the first vector's before the second's: of all
   numbers (evens, odds), of the numbers in each 16 bytes (near), of all 16 bytes (far). Near
   and far shuffles are the cheap ones; a near pass for each halving of 16 bytes and then
   a far pass for each halving of the vector sort the numbers as evens and odds do. */
#if K_BYTES > 0
#ifdef LSNN_DOUBLE
#define K_COUNT (K_BYTES / 8)
#else
#define K_COUNT (K_BYTES / 4)
#endif
#if K_COUNT == 16
#define K_EVENS 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define K_ODDS 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define K_NEAR_EVENS 0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30
#define K_NEAR_ODDS 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31
#define K_FAR_EVENS 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27
#define K_FAR_ODDS 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31
#elif K_COUNT == 8
#define K_EVENS 0, 2, 4, 6, 8, 10, 12, 14
#define K_ODDS 1, 3, 5, 7, 9, 11, 13, 15
#ifdef LSNN_DOUBLE
#define K_NEAR_EVENS 0, 8, 2, 10, 4, 12, 6, 14
#define K_NEAR_ODDS 1, 9, 3, 11, 5, 13, 7, 15
#define K_FAR_EVENS 0, 1, 4, 5, 8, 9, 12, 13
#define K_FAR_ODDS 2, 3, 6, 7, 10, 11, 14, 15
#else
#define K_NEAR_EVENS 0, 2, 8, 10, 4, 6, 12, 14
#define K_NEAR_ODDS 1, 3, 9, 11, 5, 7, 13, 15
#define K_FAR_EVENS 0, 1, 2, 3, 8, 9, 10, 11
#define K_FAR_ODDS 4, 5, 6, 7, 12, 13, 14, 15
#endif
#elif K_COUNT == 4
#define K_EVENS 0, 2, 4, 6
#define K_ODDS 1, 3, 5, 7
#ifdef LSNN_DOUBLE
#define K_NEAR_EVENS 0, 4, 2, 6
#define K_NEAR_ODDS 1, 5, 3, 7
#define K_FAR_EVENS 0, 1, 4, 5
#define K_FAR_ODDS 2, 3, 6, 7
#endif
#else
#define K_EVENS 0, 2
#define K_ODDS 1, 3
#endif
#ifndef K_NEAR_EVENS                 /* a vector is 16 bytes                  */
#define K_NEAR_EVENS K_EVENS
#define K_NEAR_ODDS K_ODDS
#endif
#ifndef K_FAR_EVENS                  /* and never asked for these             */
#define K_FAR_EVENS K_EVENS
#define K_FAR_ODDS K_ODDS
#endif
#ifdef __clang__
#define K_SHUFFLE(name, ...)                                                             \
    static inline kvec K_(name)(kvec a, kvec b)                                            \
    { return __builtin_shufflevector(a, b, __VA_ARGS__); }
#else
#define K_SHUFFLE(name, ...)                                                             \
    static inline kvec K_(name)(kvec a, kvec b)                                            \
    { const kints list = { __VA_ARGS__ }; return __builtin_shuffle(a, b, list); }
#endif
K_SHUFFLE(evens, K_EVENS)
K_SHUFFLE(odds, K_ODDS)
K_SHUFFLE(near_evens, K_NEAR_EVENS)
K_SHUFFLE(near_odds, K_NEAR_ODDS)
K_SHUFFLE(far_evens, K_FAR_EVENS)
K_SHUFFLE(far_odds, K_FAR_ODDS)
static inline kvec K_(sort_evens)(kvec a, kvec b, int within)
{
    return within ? K_(near_evens)(a, b) : K_(far_evens)(a, b);
}
static inline kvec K_(sort_odds)(kvec a, kvec b, int within)
{
    return within ? K_(near_odds)(a, b) : K_(far_odds)(a, b);
}
#endif

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
#define K_ITEM(i) (a##i[ia] - zero)  /* x - 0 is x, so this is a broadcast and no more */
#define K_STEP1(i) c##i##0 = K_FMA(K_ITEM(i), v0, c##i##0);
#define K_STEP2(i) K_STEP1(i) c##i##1 = K_FMA(K_ITEM(i), v1, c##i##1);
#define K_STEP3(i) K_STEP2(i) c##i##2 = K_FMA(K_ITEM(i), v2, c##i##2);
#define K_STEP4(i) K_STEP3(i) c##i##3 = K_FMA(K_ITEM(i), v3, c##i##3);
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
            K_ROWS##R(K_STEP##V)                                                          \
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
        K_ROWS##R(K_MESH_FETCH) K_ROWS##R(K_MESH_ROW) K_ROWS##R(K_CLEAR4)                                          \
        for (int k = 0, count = g->k; k < count; k++) {                                    \
            const ptrdiff_t ia = ka[k];                                                    \
            const lsnn_real *b = from + kb[k];                                             \
            K_AHEAD4                                                                       \
            K_ROWS##R(K_STEP4)                                                             \
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
        { ia = ka[k - 1]; b = from + kb[k - 1]; { K_AHEAD4 K_STEP4(0) } }
        { ia = ka[k]; b = from + kb[k]; { K_AHEAD4 K_STEP4(1) } }
    }
    if (count % 2) { ia = ka[count - 1]; b = from + kb[count - 1]; { K_AHEAD4 K_STEP4(0) } }
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

/* ---- >>block kernel: the same tiles for plain matrices, whose places are bases and strides
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
#undef K_ITEM
#define K_ITEM(i) (K_A##i - zero)
#define K_TAKE2 const kvec v0 = K_LOAD(b), v1 = K_LOAD(b + last);
#define K_TAKE3 K_TAKE2 const kvec v2 = K_LOAD(b + LSNNI_MIN(last, K_LANES));
#define K_ADD2(i) c##i##0 = c##i##0 + K_LOAD(at); c##i##1 = c##i##1 + K_LOAD(at + last);   \
                  at += ci;
#define K_ADD3(i) c##i##2 = c##i##2 + K_LOAD(at + LSNNI_MIN(last, K_LANES)); K_ADD2(i)
#define K_PUT2(i) K_STORE(c, c##i##0); K_STORE(c + last, c##i##1); c += ci;
#define K_PUT3(i) K_STORE(c + LSNNI_MIN(last, K_LANES), c##i##2); K_PUT2(i)
#define K_BLOCK(R, V)                                                                      \
    static void K_(block##R##V)(const lsnni_block *g, int i, int tiles)                    \
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
                K_ROWS##R(K_STEP##V)                                                       \
            }                                                                              \
            (void)a3; (void)a6;                                                            \
            if (g->add) { K_ROWS##R(K_ADD##V) }                                            \
            K_ROWS##R(K_PUT##V)                                                            \
        }                                                                                  \
    }
K_BLOCK(1, 3)
K_BLOCK(2, 3)
K_BLOCK(4, 3)
#if K_TILE_ROWS == 8
K_BLOCK(5, 2)
K_BLOCK(5, 3)
K_BLOCK(8, 2)
K_BLOCK(8, 3)
#else
K_BLOCK(4, 2)
#endif

/* Rows by tiles of 8, then by smaller ones; 8 + 1 and 8 + 2 rows as 5 + 4 and 5 + 5, since
   a tile of one or two rows has too few sums to keep the multiply-add units busy. */
static void K_(block)(const lsnni_block *g)
{
    typedef void run(const lsnni_block *g, int i, int tiles);
    static const struct { int rows; run *two, *three; } shapes[] = {
#if K_TILE_ROWS == 8
        { 8, K_(block82), K_(block83) }, { 5, K_(block52), K_(block53) },
        { 4, K_(block43), K_(block43) },
#else
        { 4, K_(block42), K_(block43) },
#endif
        { 2, K_(block23), K_(block23) }, { 1, K_(block13), K_(block13) }
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
static inline void K_(dots_store)(const lsnni_block *g, const lsnn_real *sum, int i, int j,
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
static inline void K_(dots_store)(const lsnni_block *g, const lsnn_real *sum, int i, int j,
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

#undef K_ITEM
#define K_ITEM(j) K_LOAD(K_REST ? edge + j * K_LANES : b##j + k)
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
    static void K_(dots##R##COLUMNS)(const lsnni_block *g, int i, int rows, int j0,        \
                                     const lsnn_real *a_edge)                              \
    {                                                                                      \
        enum { K_WIDE = COLUMNS, K_SUMS = (R * K_WIDE + K_LANES - 1) / K_LANES * K_LANES };\
        const int rest = g->k % K_LANES, whole = g->k - rest;                              \
        const lsnn_real *b = g->b + j0 * g->bj;                                            \
        const kvec zero = { 0 };                                                          \
        lsnn_real edge[K_WIDE * K_LANES], sum[K_SUMS + K_LANES];  /* read past its end */ \
        K_ROWS##COLUMNS(K_COLUMN)                                                          \
        for (; i < rows; i += R) {                                                         \
            const lsnn_real *a = g->a + i * g->ai;                                         \
            ptrdiff_t k = 0;                                                               \
            kvec t[K_SUMS];                                                                \
            K_ROWS##COLUMNS(K_CLEAR##R)                                                    \
            for (; k < whole; k += K_LANES) {                                              \
                enum { K_REST = 0 };                                                       \
                K_DOT##R                                                                   \
                K_ROWS##COLUMNS(K_STEP##R)                                                 \
            }                                                                              \
            if (rest) {                                                                    \
                enum { K_REST = 1 };                                                       \
                K_DOT##R                                                                   \
                K_ROWS##COLUMNS(K_STEP##R)                                                 \
            }                                                                              \
            K_ROWS##COLUMNS(K_KEEP##R)                                                     \
            for (int l = R * K_WIDE; l < K_SUMS; l++) t[l] = zero;                         \
            K_STORE(sum, K_(add_lanes)(t));                                                \
            if (K_SUMS > K_LANES) K_STORE(sum + K_LANES, K_(add_lanes)(t + K_LANES));      \
            for (int l = 2 * K_LANES; l < K_SUMS; l += K_LANES)                            \
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

static void K_(dots)(const lsnni_block *g)
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
        enum { K_WIDE = T, K_SUMS = (T * M + K_LANES - 1) / K_LANES * K_LANES };           \
        const kvec zero = { 0 };                                                          \
        lsnn_real sum[K_SUMS], *dw = g->dw + r * g->dw_row;                                \
        kvec t[K_SUMS];                                                                    \
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
        for (int l = T * M; l < K_SUMS; l++) t[l] = zero;                                  \
        LSNNI_UNROLL                                                                       \
        for (int l = 0; l < K_SUMS; l += K_LANES) K_STORE(sum + l, K_(add_lanes)(t + l));  \
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
    if (add) for (size_t i = 0; i < n; i++) dx[i] += ra * dy[i] + rb * ((x[i] - m) * r) + rc;
    else for (size_t i = 0; i < n; i++) dx[i] = ra * dy[i] + rb * ((x[i] - m) * r) + rc;
}

/* 2 x 2 windows from the rows a b over c d, the first at pixel `at`, rows w apart: their
   largest numbers, and where they are. relu: y = relu(max), where = -1 if it is 0. */
#if K_BYTES > 0
static inline kvec K_(max_of_4)(kvec a, kvec b, kvec c, kvec d, int at, int w, int relu,
                                kints *where)
{
    const kvec zero = { 0 };
    const kints even = { K_EVENS };
    kvec best = K_(evens)(a, b), right = K_(odds)(a, b);
    kvec low = K_(evens)(c, d), low_right = K_(odds)(c, d);
    kints from = even + at, under = from + w, wins = (right > best) | (right != right);
    best = K_SELECT(kvec, wins, right, best);            /* NaN wins          */
    from = K_SELECT(kints, wins, from + 1, from);
    wins = (low_right > low) | (low_right != low_right);
    low = K_SELECT(kvec, wins, low_right, low);
    under = K_SELECT(kints, wins, under + 1, under);
    wins = (low > best) | (low != low);
    best = K_SELECT(kvec, wins, low, best);
    from = K_SELECT(kints, wins, under, from);
    if (relu) {
        kints positive = best > zero;
        from = K_SELECT(kints, positive, from, (kints)zero - 1);
        best = K_SELECT(kvec, best < zero, zero, best);
    }
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
        int right = p[1] > p[0] || p[1] != p[1], below = q[1] > q[0] || q[1] != q[1];
        int low = q[below] > p[right] || q[below] != q[below];
        lsnn_real best = low ? q[below] : p[right];
        y[j] = relu && best < 0 ? 0 : best;
        where[j] = relu && !(best > 0) ? -1 : at + 2 * j + (low ? w + below : right);
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
   the loads of x and dx. x is a map from its pixel number `first` on.        */
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
            kints wins = (v > best) | (v != v);          /* NaN wins          */
            best = K_SELECT(kvec, wins, v, best);
            from = K_SELECT(kints, wins, none + (first + at + tap[i]), from);
        }
        if (relu) {
            kints positive = best > zero;
            from = K_SELECT(kints, positive, from, none - 1);
            best = K_SELECT(kvec, best < zero, zero, best);
        }
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

#define K_ENTRY(type, name, arguments) , K_(name)
static const lsnni_kernels K_(kernels) = { K_TILE_ROWS, K_LANES LSNNI_KERNELS(K_ENTRY) };

#undef K_ENTRY
#undef K_PASTE2
#undef K_PASTE
#undef K_
#undef K_LANES
#undef kvec
#undef kints
#undef K_LOAD
#undef K_STORE
#undef K_SELECT
#undef K_LOAD_INTS
#undef K_STORE_INTS
#undef K_LOAD_SOME
#undef K_STORE_SOME
#undef K_STORE_SOME_INTS
#undef K_FMA
#undef K_ROWS4
#undef K_ROWS8
#undef K_ROW
#undef K_CLEAR1
#undef K_CLEAR2
#undef K_CLEAR3
#undef K_FETCH1
#undef K_FETCH2
#undef K_FETCH3
#undef K_STEP1
#undef K_STEP2
#undef K_STEP3
#undef K_END1
#undef K_END2
#undef K_END3
#undef K_TILE
#undef K_CLEAR4
#undef K_STEP4
#undef K_ITEM
#undef K_ROWS1
#undef K_ROWS2
#undef K_ROWS5
#undef K_ROWS6
#undef K_A0
#undef K_A1
#undef K_A2
#undef K_A3
#undef K_A4
#undef K_A5
#undef K_A6
#undef K_A7
#undef K_TAKE2
#undef K_TAKE3
#undef K_ADD2
#undef K_ADD3
#undef K_PUT2
#undef K_PUT3
#undef K_BLOCK
#undef K_DOT
#undef K_COLUMN
#undef K_DOT1
#undef K_DOT4
#undef K_KEEP1
#undef K_KEEP4
#undef K_DOTS
#undef K_COUNT
#undef K_EVENS
#undef K_ODDS
#undef K_NEAR_EVENS
#undef K_NEAR_ODDS
#undef K_FAR_EVENS
#undef K_FAR_ODDS
#undef K_SHUFFLE
#undef K_FULL1
#undef K_FULL2
#undef K_FULL3
#undef K_SAVE
#undef K_SAVE1
#undef K_SAVE2
#undef K_SAVE3
#undef K_SUMS
#undef K_ROWS3
#undef K_AHEAD4
#undef K_MESH_ROW
#undef K_MESH_FETCH
#undef K_MESH_PUT
#undef K_MESH_SAVE
#undef K_MESH
#undef K_CLEAR5
#undef K_TAP
#undef K_TAPS1
#undef K_TAPS2
#undef K_TAPS3
#undef K_TAPS4
#undef K_TAPS5
#undef K_HOLD1
#undef K_HOLD2
#undef K_HOLD3
#undef K_HOLD4
#undef K_HOLD5
#undef K_PLACE
#undef K_ROWS9
#undef K_CORRELATES
#undef K_CORRELATE
#undef K_REDUCE
#undef K_MAP
#undef K_BYTES
#undef K_TILE_ROWS
#undef LSNNI_KERNEL_PASS
#endif /* LSNNI_KERNEL_PASS */
