/* ---- >>spread: an image laid out so that neighbours in the output are neighbours
   in memory. Padding becomes zeros, and stride (sh, sw) splits the image into
   sh*sw phases, each a small image of rows qw apart: padded pixel
   (oy*sh + r, ox*sw + s) lies at offset(c, r, s) + oy*qw + ox.               */
typedef struct lsnni_spread {
    int phases_h, phases_w, qh, qw;
    size_t size;                     /* of one image, with room to read past it */
} lsnni_spread;

static lsnni_spread lsnni_spread_of(const lsnn_window *s)
{
    lsnni_spread g;
    g.phases_h = LSNNI_MIN(s->stride_h, s->kernel_h);
    g.phases_w = LSNNI_MIN(s->stride_w, s->kernel_w);
    g.qh = s->oh + (s->kernel_h - 1) / s->stride_h;
    g.qw = s->ow + (s->kernel_w - 1) / s->stride_w;
    g.size = lsnni_area(s->c * g.phases_h * g.phases_w, g.qh) * (size_t)g.qw +
             2 * LSNNI_MAX_LANES;
    return g;
}

/* Channels [c0, c1).                                                         */
static void lsnni_spread_fill(lsnn_real *to, const lsnni_spread *g, const lsnn_real *x,
                              const lsnn_window *s, int c0, int c1)
{
    lsnn_real *q = to + lsnni_area(c0 * g->phases_h * g->phases_w, g->qh) * (size_t)g->qw;
    for (int c = c0; c < c1; c++)
        for (int ph = 0; ph < g->phases_h; ph++)
            for (int pw = 0; pw < g->phases_w; pw++)
                for (int i = 0; i < g->qh; i++, q += g->qw) {
                    int y = i * s->stride_h + ph - s->pad_top, shift = pw - s->pad_left;
                    const lsnn_real *row;
                    if (y < 0 || y >= s->h) {
                        memset(q, 0, (size_t)g->qw * sizeof *q);
                        continue;
                    }
                    row = x + lsnni_area(c * s->h + y, s->w);
                    if (s->stride_w == 1) {              /* zeros, pixels, zeros */
                        int left = LSNNI_MIN(-shift, g->qw);
                        int end = LSNNI_MIN(g->qw, s->w - shift);
                        for (int j = 0; j < left; j++) q[j] = 0;
                        if (end > left) memcpy(q + left, row, (size_t)(end - left) * sizeof *q);
                        for (int j = LSNNI_MAX(end, left); j < g->qw; j++) q[j] = 0;
                        continue;
                    }
                    for (int j = 0; j < g->qw; j++) {
                        int at = j * s->stride_w + shift;
                        q[j] = at >= 0 && at < s->w ? row[at] : 0;
                    }
                }
    if (c1 == s->c) memset(q, 0, 2 * LSNNI_MAX_LANES * sizeof *q);
}

/* Where the taps in kernel rows [r0, r1) are: in the spread image, and in a kernel. */
static int lsnni_spread_taps(int32_t *offset, int32_t *index, const lsnni_spread *g,
                             const lsnn_window *s, int r0, int r1)
{
    for (int c = 0; c < s->c; c++)
        for (int r = r0; r < r1; r++) {
            int at = (c * s->kernel_h + r) * s->kernel_w;
            int phase = (c * g->phases_h + r % s->stride_h) * g->phases_w;
            int row = (phase * g->qh + r / s->stride_h) * g->qw, area = g->qh * g->qw;
            if (s->stride_w == 1) for (int x = 0; x < s->kernel_w; x++) *offset++ = row + x;
            else
                for (int x = 0; x < s->kernel_w; x++)
                    *offset++ = row + x % s->stride_w * area + x / s->stride_w;
            for (int x = 0; index && x < s->kernel_w; x++) *index++ = at + x;
        }
    return s->c * (r1 - r0) * s->kernel_w;
}

/* ---- >>convolve: M maps of OH x OW from one spread image -------------------------
   y[m, oy, ox] = sum_d w[m, d] image[offset[d] + oy*qw + ox] + bias[m]
   Vectors run along output rows, or, where rows are short, over the image's
   whole length with the few positions between rows thrown away afterwards.
   Above and below the image are only zeros: where vectors run along rows, the
   first and last rows leave a row of kernel taps out.
   Bound by arithmetic; lanes past a row's end are the loss (a fifth at most
   for rows of 38, none where qw = OW).                                       */
enum { LSNNI_CHUNK = 1024 };             /* products summed in one pass          */
typedef struct lsnni_tap_list {          /* of the places up to `end`             */
    int32_t *offset, *index;         /* in the image and in w                 */
    int count, end;
} lsnni_tap_list;
typedef struct lsnni_convolve {
    const lsnni_kernels *kv;
    int m, depth, oh, ow, qw;
    int wide;                        /* vectors per map if rows are joined, or 0 */
    int parts;
    lsnni_tap_list taps[3];
    const lsnn_real *w, *bias;
    int add;
} lsnni_convolve;

static int lsnni_convolve_wide(const lsnni_kernels *kv, int oh, int ow, int qw)
{
    int rows = oh * lsnni_div_up(ow, kv->lanes);
    int joined = lsnni_div_up((oh - 1) * qw + ow, kv->lanes);
    return joined * 10 < rows * 9 || qw == ow ? joined : 0;
}

/* Sets vector v of t to position number `index`, in y's or the joined layout. */
static void lsnni_convolve_place(const lsnni_convolve *g, lsnni_tile *t, int v, int index,
                                 const lsnn_real *image)
{
    int lanes = g->kv->lanes, per_row = lsnni_div_up(g->ow, lanes);
    if (g->wide) {
        int q = index * lanes, end = g->qw == g->ow ? g->oh * g->ow : g->wide * lanes;
        t->b[v] = image + q;
        t->at[v] = q;
        t->lanes[v] = LSNNI_MIN(lanes, end - q);
    } else {
        int oy = index / per_row, ox = index % per_row * lanes;
        t->b[v] = image + oy * g->qw + ox;
        t->at[v] = oy * g->ow + ox;
        t->lanes[v] = LSNNI_MIN(lanes, g->ow - ox);
    }
}

/* Vectors per map; and whether rows are joined with numbers between them to throw away. */
static int lsnni_convolve_places(const lsnni_convolve *g)
{
    return g->wide ? g->wide : g->oh * lsnni_div_up(g->ow, g->kv->lanes);
}
static int lsnni_convolve_splits(const lsnni_convolve *g)
{
    return g->wide && g->qw != g->ow;
}

/* Of the next tile, when so many are left: 4 as 2 + 2, since 1 is slow.      */
static int lsnni_vectors(int left)
{
    return left == LSNNI_MAX_VECTORS + 1 ? 2 : LSNNI_MIN(LSNNI_MAX_VECTORS, left);
}

/* Maps [m0, m1) at places [p0, p1), which have the same taps.                */
static void lsnni_convolve_part(const lsnni_convolve *g, const lsnni_tap_list *taps,
                                lsnn_real *out, size_t pitch, const lsnn_real *image, int m0,
                                int m1, int p0, int p1)
{
    int splits = lsnni_convolve_splits(g);
    lsnni_tile t;
    for (int d = 0; d < taps->count; d += LSNNI_CHUNK)
        for (int p = p0; p < p1; p += t.vectors) {
            t.vectors = lsnni_vectors(p1 - p);
            for (int v = 0; v < t.vectors; v++) lsnni_convolve_place(g, &t, v, p + v, image);
            t.ka = taps->index + d;
            t.kb = taps->offset + d;
            t.k = LSNNI_MIN(LSNNI_CHUNK, taps->count - d);
            t.add = d > 0 || (g->add && !splits);
            for (int m = m0; m < m1; m += g->kv->rows) {
                t.rows = LSNNI_MIN(g->kv->rows, m1 - m);
                t.bias = g->bias && d + LSNNI_CHUNK >= taps->count ? g->bias + m : NULL;
                for (int i = 0; i < g->kv->rows; i++) {
                    int row = m + LSNNI_MIN(i, t.rows - 1);
                    t.a[i] = g->w + lsnni_area(row, g->depth);
                    t.c[i] = out + (size_t)(row - m0) * pitch;
                }
                g->kv->tile(&t);
            }
        }
}

/* Numbers from one map to the next, as convolve_maps writes them.            */
static size_t lsnni_convolve_pitch(const lsnni_convolve *g)
{
    return lsnni_convolve_splits(g) ? lsnni_area(g->wide, g->kv->lanes)
                                    : lsnni_area(g->oh, g->ow);
}

/* Maps [m0, m1) at places [p0, p1) to `out`, rows joined if it splits.       */
static void lsnni_convolve_maps(const lsnni_convolve *g, lsnn_real *out,
                                const lsnn_real *image, int m0, int m1, int p0, int p1)
{
    size_t pitch = lsnni_convolve_pitch(g);
    for (int i = 0; i < g->parts && p0 < p1; i++) {
        int end = LSNNI_MIN(g->taps[i].end, p1);
        if (end <= p0) continue;
        lsnni_convolve_part(g, &g->taps[i], out, pitch, image, m0, m1, p0, end);
        p0 = end;
    }
}

/* Maps [m0, m1) at places [p0, p1): all places, and room for (m1 - m0) * wide vectors in
   joined, if it splits.                                                      */
static void lsnni_convolve_run(const lsnni_convolve *g, lsnn_real *y, const lsnn_real *image,
                               int m0, int m1, int p0, int p1, lsnn_real *joined)
{
    int split = lsnni_convolve_splits(g);
    size_t area = lsnni_area(g->oh, g->ow), pitch = lsnni_convolve_pitch(g);
    lsnni_convolve_maps(g, split ? joined : y + (size_t)m0 * area, image, m0, m1, p0, p1);
    if (!split) return;
    for (int m = m0; m < m1; m++)
        for (int oy = 0; oy < g->oh; oy++) {
            const lsnn_real *from = joined + (size_t)(m - m0) * pitch + lsnni_area(oy, g->qw);
            lsnn_real *to = y + (size_t)m * area + lsnni_area(oy, g->ow);
            if (g->add) g->kv->axpy(to, 1, from, (size_t)g->ow);
            else memcpy(to, from, (size_t)g->ow * sizeof *to);
        }
}

/* How many tasks share one image: 1 for batches that keep a handful of cores busy
   anyway. Sizes alone decide.                                                */
static int lsnni_image_tasks(int n) { return n >= 8 ? 1 : lsnni_div_up(8, n); }

