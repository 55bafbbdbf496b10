/* ============================================================================
   >>ops  one block a layer type: formula, forward, backward
   ==========================================================================*/

/* ---- >>room: how an op asks for its working memory -----------------------------
   It adds up what it needs, takes one scratch block, and cuts it in the same
   order. Sums saturate, so that an overflow ends as a refused allocation.    */
static size_t lsnni_room(size_t count, size_t size)
{
    size_t bytes = count;
    if (!lsnni_mul(&bytes, size) || bytes > (size_t)-1 / 4) return (size_t)-1 / 4;
    return (bytes + LSNNI_ALIGN - 1) / LSNNI_ALIGN * LSNNI_ALIGN;
}
static size_t lsnni_room_add(size_t a, size_t b)
{
    return a > (size_t)-1 / 2 - b ? (size_t)-1 / 2 : a + b;
}
static size_t lsnni_room_times(size_t a, int n)
{
    return lsnni_mul(&a, (size_t)n) ? LSNNI_MIN(a, (size_t)-1 / 4) : (size_t)-1 / 4;
}
static void *lsnni_cut(char **at, size_t count, size_t size)
{
    void *piece = *at;
    *at += (count * size + LSNNI_ALIGN - 1) / LSNNI_ALIGN * LSNNI_ALIGN;
    return piece;
}

static int lsnni_round_up(int n, int to) { return (n + to - 1) / to * to; }
static int lsnni_div_up(int n, int by) { return n / by + (n % by != 0); }
static size_t lsnni_area(int a, int b) { return (size_t)a * (size_t)b; }

/* ESHAPE unless all `count` sizes are positive and their product is an index. */
static lsnn_status lsnni_sizes(lsnn_ctx *cx, const char *who, int count, const int *size)
{
    double product = 1;
    for (int i = 0; i < count; i++) {
        if (size[i] < 1)
            return lsnni_fail(cx, LSNN_ESHAPE, "%s: size %d of %d is %d, it must be positive",
                              who, i + 1, count, size[i]);
        product *= size[i];
    }
    if (product >= (double)PTRDIFF_MAX / (double)sizeof(lsnn_real))
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: an array of %.3g numbers is too large", who,
                          product);
    return LSNN_OK;
}

static lsnn_status lsnni_sizes3(lsnn_ctx *cx, const char *who, int a, int b, int c)
{
    int size[3];
    size[0] = a; size[1] = b; size[2] = c;
    return lsnni_sizes(cx, who, 3, size);
}

