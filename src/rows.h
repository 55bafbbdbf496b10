/* ---- >>spread: an image laid out so that neighbours in the output are neighbours
   in memory. Padding becomes zeros, and stride (sh, sw) splits the image into
   sh*sw phases, each a small image of rows qw apart: padded pixel
   (oy*sh + r*dh, ox*sw + s*dw) lies at offset(c, r, s) + oy*qw + ox.         */
typedef struct lsnni_spread {
    int phases_h, phases_w, qh, qw;
    size_t size;                     /* of one image, with room to read past it */
} lsnni_spread;

static lsnni_spread lsnni_spread_of(const lsnn_window *s)
{
    lsnni_spread g;
    int high = lsnni_extent(s->kernel_h, s->dilation_h);
    int wide = lsnni_extent(s->kernel_w, s->dilation_w);
    g.phases_h = LSNNI_MIN(s->stride_h, high);
    g.phases_w = LSNNI_MIN(s->stride_w, wide);
    g.qh = s->oh + (high - 1) / s->stride_h;
    g.qw = s->ow + (wide - 1) / s->stride_w;
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
            int at = (c * s->kernel_h + r) * s->kernel_w, y = r * s->dilation_h;
            int phase = (c * g->phases_h + y % s->stride_h) * g->phases_w;
            int row = (phase * g->qh + y / s->stride_h) * g->qw, area = g->qh * g->qw;
            if (s->stride_w == 1)
                for (int x = 0; x < s->kernel_w; x++) *offset++ = row + x * s->dilation_w;
            else
                for (int i = 0, x = 0; i < s->kernel_w; i++, x += s->dilation_w)
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
    t.scale = NULL;
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

/* ---- >>plain conv2d: on plain arrays, along rows ---------------------------------*/
typedef struct lsnni_conv2d {
    const lsnn_window *s;
    lsnni_convolve g;
    lsnni_spread spread;
    int tasks, m_tasks, m_step, places, p_step;      /* an image's tasks: m_step maps at  */
    int shared;                      /* p_step places each; shared: they share its copy */
    size_t image_size, joined_size, x_image, y_image;
    int groups;                      /* image n is of group n % groups, whose weights begin */
    size_t w_group;                  /*   so far after the one's before       */
    const lsnn_real *x;
    lsnn_real *y, *images, *joined;
    lsnni_pooled pool;
} lsnni_conv2d;

/* An image of G groups as G images of C/G channels, one a group.             */
static lsnn_window lsnni_window_parts(const lsnn_window *s)
{
    lsnn_window part = *s;
    part.n *= s->groups;
    part.c /= s->groups;
    part.k /= s->groups;
    part.groups = 1;
    return part;
}

/* Rows of output that reach above the image, all others, and those that reach below it. */
static void lsnni_conv2d_parts(lsnni_conv2d *p)
{
    const lsnn_window *s = p->s;
    int per_row = lsnni_div_up(s->ow, p->g.kv->lanes);
    int top = s->pad_top;
    int below = s->h + top - lsnni_extent(s->kernel_h, s->dilation_h) + 1;     /* its first row */
    if (p->g.wide || s->stride_h > 1 || s->kernel_h < 2 || top < 1 || below >= s->oh ||
        top >= below) return;
    p->g.parts = 3;
    p->g.taps[0].end = top * per_row;
    p->g.taps[1].end = below * per_row;
    p->g.taps[2].end = p->places;
}

/* Few images: their spread copies are made before, by all threads, eight channels a task. */
static void lsnni_conv2d_spread_task(void *user, int task, int worker)
{
    const lsnni_conv2d *p = (const lsnni_conv2d *)user;
    int pieces = lsnni_div_up(p->s->c, 8), n = task / pieces, c = task % pieces * 8;
    (void)worker;
    lsnni_spread_fill(p->images + (size_t)n * p->image_size, &p->spread,
                      p->x + (size_t)n * p->x_image, p->s, c, LSNNI_MIN(c + 8, p->s->c));
}

/* Maps [m0, m1), whose places [p0, p1) `maps` holds, pooled as those of image n. */
static void lsnni_conv2d_pool(const lsnni_conv2d *p, const lsnn_real *maps, int n, int m0,
                              int m1, int p0, int p1)
{
    const lsnni_convolve *g = &p->g;
    int per_row = g->wide ? 1 : lsnni_div_up(g->ow, g->kv->lanes);
    int w = g->wide ? g->qw : g->ow, y0 = p0 / per_row, y1 = g->wide ? g->oh : p1 / per_row;
    for (int m = m0; m < m1; m++, maps += lsnni_convolve_pitch(g))
        for (int y = y0; y < y1; y += 2) {
            size_t to = (size_t)n * p->y_image + lsnni_area(m * g->oh + y, g->ow / 2) / 2;
            g->kv->max_pool2(p->y + to, p->pool.where + to, maps + lsnni_area(y, w), w, g->ow,
                             y * g->ow, g->ow / 2, p->pool.relu);
        }
}

/* Task number `task` of image n's, from its spread copy.                     */
static void lsnni_conv2d_piece(const lsnni_conv2d *p, int n, const lsnn_real *image, int task,
                               int worker)
{
    int m0 = task % p->m_tasks * p->m_step, p0 = task / p->m_tasks * p->p_step;
    int m1 = LSNNI_MIN(m0 + p->m_step, p->g.m), p1 = LSNNI_MIN(p0 + p->p_step, p->places);
    lsnn_real *joined = p->joined + (size_t)worker * p->joined_size;
    lsnni_convolve g = p->g;
    g.w += (size_t)(n % p->groups) * p->w_group;
    if (g.bias) g.bias += n % p->groups * g.m;
    if (!p->pool.on) {
        lsnni_convolve_run(&g, p->y + (size_t)n * p->y_image, image, m0, m1, p0, p1, joined);
        return;
    }
    for (int m = m0; m < m1; m += g.kv->rows) {
        int end = LSNNI_MIN(m + g.kv->rows, m1);
        lsnni_convolve_maps(&g, joined, image, m, end, p0, p1);
        lsnni_conv2d_pool(p, joined, n, m, end, p0, p1);
    }
}

static void lsnni_conv2d_task(void *user, int task, int worker)
{
    const lsnni_conv2d *p = (const lsnni_conv2d *)user;
    int n = task / p->tasks;
    lsnn_real *image = p->images + (size_t)(p->shared ? n : worker) * p->image_size;
    if (!p->shared)
        lsnni_spread_fill(image, &p->spread, p->x + (size_t)n * p->x_image, p->s, 0, p->s->c);
    lsnni_conv2d_piece(p, n, image, task % p->tasks, worker);
}

/* Fills in what forward and the gradient of x have in common.                */
static void lsnni_conv2d_plan(lsnni_conv2d *p, lsnn_ctx *cx, int m, int depth, int oh, int ow,
                              int qw)
{
    const lsnni_kernels *kv = lsnni_kernels_of(cx);
    int tasks = lsnni_image_tasks(p->s->n);
    p->g.kv = kv;
    p->g.m = m;
    p->g.depth = depth;
    p->g.oh = oh;
    p->g.ow = ow;
    p->g.qw = qw;
    p->g.wide = lsnni_convolve_wide(kv, oh, ow, qw);
    p->places = lsnni_convolve_places(&p->g);
    p->g.parts = 1;
    p->g.taps[0].count = depth;
    p->g.taps[0].end = p->places;
    p->m_step = lsnni_round_up(lsnni_div_up(m, tasks), kv->rows);
    p->m_tasks = lsnni_div_up(m, p->m_step);
    tasks = lsnni_convolve_splits(&p->g) ? 1 : lsnni_div_up(tasks, p->m_tasks);
    p->p_step = lsnni_round_up(lsnni_div_up(p->places, tasks), LSNNI_MAX_VECTORS);
    if (p->pool.on)                  /* whole pairs of rows                   */
        p->p_step = p->g.wide ? p->places : lsnni_round_up(lsnni_div_up(p->places, tasks),
                                                           2 * lsnni_div_up(ow, kv->lanes));
    p->tasks = p->m_tasks * lsnni_div_up(p->places, p->p_step);
    p->joined_size = lsnni_convolve_pitch(&p->g);
    if (p->pool.on) p->joined_size *= (size_t)kv->rows;
    else p->joined_size *= lsnni_convolve_splits(&p->g) ? (size_t)p->m_step : 0;
}

/* pool.on: the maps, of even sides, go through a max pooling of 2 x 2 to y and pool.where. */
static lsnn_status lsnni_rows_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                      const lsnn_real *w, const lsnn_real *b,
                                      const lsnn_window *whole, const lsnni_pooled *pool)
{
    int threads = lsnn_ctx_threads(cx), depth = lsnni_depth(whole);
    lsnn_window parts = lsnni_window_parts(whole), *s = &parts;
    lsnni_want want[8], *end = want;
    size_t images;
    lsnni_conv2d p;
    p.groups = whole->groups;
    p.w_group = lsnni_area(s->k, depth);
    p.s = s;
    p.x = x;
    p.y = y;
    p.pool = *pool;
    p.spread = lsnni_spread_of(s);
    lsnni_conv2d_plan(&p, cx, s->k, depth, s->oh, s->ow, p.spread.qw);
    lsnni_conv2d_parts(&p);
    p.image_size = p.spread.size;
    p.shared = p.tasks > 1;
    images = p.shared ? (size_t)s->n : (size_t)threads;
    p.x_image = lsnni_area(s->c * s->h, s->w);
    p.y_image = lsnni_area(s->k * s->oh, s->ow) / (pool->on ? 4 : 1);
    for (int i = 0; i < p.g.parts; i++) {
        LSNNI_WANT(&end, p.g.taps[i].offset, (size_t)depth);
        LSNNI_WANT(&end, p.g.taps[i].index, (size_t)depth);
    }
    LSNNI_WANT(&end, p.images, lsnni_times(p.image_size, images));
    LSNNI_WANT(&end, p.joined, lsnni_times(p.joined_size, (size_t)threads));
    LSNNI_TRY(lsnni_take(cx, want, end));
    for (int i = 0; i < p.g.parts; i++) {        /* the first and last rows', if apart */
        lsnni_tap_list *t = &p.g.taps[i];
        int first = p.g.parts == 3 && i == 0, last = p.g.parts == 3 && i == 2;
        t->count = lsnni_spread_taps(t->offset, t->index, &p.spread, s, first,
                                     s->kernel_h - last);
    }
    p.g.w = w;
    p.g.bias = b;
    p.g.add = 0;
    if (p.shared)
        lsnni_parallel_some(cx, p.image_size * images, s->n * lsnni_div_up(s->c, 8),
                            lsnni_conv2d_spread_task, &p);
    lsnn_parallel(cx, s->n * p.tasks, lsnni_conv2d_task, &p);
    return LSNN_OK;
}

/* The gradient of x is a convolution too: of dy, with zeros between its pixels
   where the stride was more than 1, by the kernels turned by 180 degrees:
   dx[c,iy,ix] = sum_krs w[k,c,r,s] z[k, iy + (kh-1-r)*dh, ix + (kw-1-s)*dw], where dy's
   pixel (oy, ox) stands in z at (oy*sh + (kh-1)*dh - pt, ox*sw + (kw-1)*dw - pl). */
typedef struct lsnni_conv2d_dx {
    lsnni_conv2d conv;               /* x is dy, y is dx                      */
    int zh, zw;
} lsnni_conv2d_dx;

static void lsnni_conv2d_dx_task(void *user, int task, int worker)
{
    const lsnni_conv2d_dx *p = (const lsnni_conv2d_dx *)user;
    const lsnni_conv2d *v = &p->conv;
    const lsnn_window *s = v->s;
    int n = task / v->tasks;
    int top = p->zh - s->h - s->pad_top, left = p->zw - s->w - s->pad_left;
    lsnn_real *z = v->images + (size_t)worker * v->image_size;
    const lsnn_real *dy = v->x + (size_t)n * v->x_image;
    memset(z, 0, v->image_size * sizeof *z);
    for (int k = 0; k < s->k; k++)
        for (int oy = 0; oy < s->oh; oy++) {
            int iy = oy * s->stride_h + top;
            const lsnn_real *from = dy + lsnni_area(k * s->oh + oy, s->ow);
            lsnn_real *to;
            if (iy < 0 || iy >= p->zh) continue;
            to = z + lsnni_area(k * p->zh + iy, p->zw);
            for (int ox = 0; ox < s->ow; ox++) {
                int ix = ox * s->stride_w + left;
                if (ix >= 0 && ix < p->zw) to[ix] = from[ox];
            }
        }
    lsnni_conv2d_piece(v, n, z, task % v->tasks, worker);
}

/* A group's weights, its two maps exchanged and the kernels turned.            */
static void lsnni_conv2d_turn(lsnn_real *turned, const lsnn_real *w, const lsnn_window *s)
{
    int taps = s->kernel_h * s->kernel_w, depth = s->k * taps;
    for (int k = 0; k < s->k; k++)
        for (int t = 0; t < taps; t++)
            for (int c = 0; c < s->c; c++)
                turned[lsnni_area(c, depth) + (size_t)(k * taps + t)] =
                    w[lsnni_area(k * s->c + c, taps) + (size_t)(taps - 1 - t)];
}

static lsnn_status lsnni_rows_backward_x(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                         const lsnn_real *w, const lsnn_window *whole, int add)
{
    lsnn_window parts = lsnni_window_parts(whole), *s = &parts;
    int threads = lsnn_ctx_threads(cx), taps = s->kernel_h * s->kernel_w, depth = s->k * taps;
    int32_t *offset, *iota;
    lsnn_real *turned;
    lsnni_conv2d_dx p;
    lsnni_want want[5], *end = want;
    p.zh = s->h + lsnni_extent(s->kernel_h, s->dilation_h) - 1;
    p.zw = s->w + lsnni_extent(s->kernel_w, s->dilation_w) - 1;
    p.conv.s = s;
    p.conv.groups = whole->groups;
    p.conv.w_group = lsnni_area(s->c, depth);
    p.conv.x = dy;
    p.conv.y = dx;
    memset(&p.conv.pool, 0, sizeof p.conv.pool);
    lsnni_conv2d_plan(&p.conv, cx, s->c, depth, s->h, s->w, p.zw);
    p.conv.image_size = lsnni_area(s->k * p.zh, p.zw) + 2 * LSNNI_MAX_LANES;
    p.conv.x_image = lsnni_area(s->k * s->oh, s->ow);
    p.conv.y_image = lsnni_area(s->c * s->h, s->w);
    LSNNI_WANT(&end, offset, (size_t)depth);
    LSNNI_WANT(&end, iota, (size_t)depth);
    LSNNI_WANT(&end, turned, p.conv.w_group * (size_t)whole->groups);
    LSNNI_WANT(&end, p.conv.images, lsnni_times(p.conv.image_size, (size_t)threads));
    LSNNI_WANT(&end, p.conv.joined, lsnni_times(p.conv.joined_size, (size_t)threads));
    LSNNI_TRY(lsnni_take(cx, want, end));
    for (int k = 0, d = 0; k < s->k; k++)
        for (int r = 0; r < s->kernel_h; r++)
            for (int x = 0; x < s->kernel_w; x++, d++) {
                offset[d] = (k * p.zh + r * s->dilation_h) * p.zw + x * s->dilation_w;
                iota[d] = d;
            }
    for (int g = 0; g < whole->groups; g++)
        lsnni_conv2d_turn(turned + (size_t)g * p.conv.w_group,
                          w + (size_t)g * p.conv.w_group, s);
    p.conv.g.taps[0].offset = offset;
    p.conv.g.taps[0].index = iota;
    p.conv.g.w = turned;
    p.conv.g.bias = NULL;
    p.conv.g.add = add;
    lsnn_parallel(cx, s->n * p.conv.tasks, lsnni_conv2d_dx_task, &p);
    return LSNN_OK;
}

/* The gradient of w: tiles of 8 taps (c, r, s) by vectors of kernels, summed over output
   pixels, with dy turned to pixel-major order once an image.                 */
typedef struct lsnni_conv2d_dw {
    const lsnn_window *s;
    lsnni_sums sums;
    lsnni_spread spread;
    size_t turned_size;
    const lsnn_real *x, *dy;
    const int32_t *offset, *place, *row;
    lsnn_real *images, *turned;
} lsnni_conv2d_dw;

static void lsnni_conv2d_dw_task(void *user, int task, int worker)
{
    const lsnni_conv2d_dw *p = (const lsnni_conv2d_dw *)user;
    const lsnn_window *s = p->s;
    lsnni_slice slice = lsnni_sums_slice(&p->sums, task);
    size_t area = lsnni_area(s->oh, s->ow), kp = (size_t)p->sums.kp;
    lsnn_real *image = p->images + (size_t)worker * p->spread.size;
    lsnn_real *turned = p->turned + (size_t)worker * p->turned_size;
    lsnni_tile t;
    t.ka = p->place;
    t.kb = p->row;
    t.k = (int)area;
    if (p->sums.dw) {
        memset(turned, 0, p->turned_size * sizeof *turned);      /* past the last kernel */
        memset(slice.sum + (size_t)slice.d0 * kp, 0,
               (size_t)(slice.d1 - slice.d0) * kp * sizeof *turned);
    }
    for (int n = slice.n0; n < slice.n1; n++) {
        const lsnn_real *dy = p->dy + lsnni_area(n * s->groups, s->k) * area;
        const lsnn_real *x = p->x + lsnni_area(n * s->groups, s->c) * lsnni_area(s->h, s->w);
        lsnni_sums_bias(&p->sums, &slice, n, dy, area);
        if (!p->sums.dw) continue;
        lsnni_spread_fill(image, &p->spread, x, s, 0, s->c);
        p->sums.kv->transpose(turned, kp, dy, area, s->k, (int)area);
        lsnni_dw_tiles(p->sums.kv, &t, slice.sum + (size_t)slice.d0 * kp, p->sums.kp,
                       p->sums.kp, turned, image, p->offset + slice.d0, NULL,
                       slice.d1 - slice.d0);
    }
}

/* Of a group, whose part of an image (c channels, k kernels) is followed by the other groups',
   s->groups in all, before its part of the next one.                         */
static lsnn_status lsnni_rows_backward_w(lsnn_ctx *cx, lsnn_real *dw, lsnn_real *db,
                                           const lsnn_real *dy, const lsnn_real *x,
                                           const lsnn_window *s)
{
    size_t threads = (size_t)lsnn_ctx_threads(cx), area = lsnni_area(s->oh, s->ow);
    int32_t *offset, *place, *row;
    lsnni_conv2d_dw p;
    lsnni_want want[6], *end = want;
    p.s = s;
    p.x = x;
    p.dy = dy;
    p.spread = lsnni_spread_of(s);
    lsnni_sums_plan(&p.sums, cx, s, s->n, dw, db);
    p.turned_size = area * (size_t)p.sums.kp;
    if ((double)area * p.sums.kp > INT32_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE, "conv2d: gradients of %d kernels at %.0f places are "
                          "over 2^31 numbers", s->k, (double)area);
    LSNNI_WANT(&end, offset, (size_t)p.sums.depth);
    LSNNI_WANT(&end, place, area);
    LSNNI_WANT(&end, row, area);
    LSNNI_WANT(&end, p.images, lsnni_times(p.spread.size, threads));
    LSNNI_WANT(&end, p.turned, lsnni_times(p.turned_size, threads));
    LSNNI_WANT(&end, p.sums.sum, lsnni_times(p.sums.size, (size_t)p.sums.parts));
    LSNNI_TRY(lsnni_take(cx, want, end));
    lsnni_spread_taps(offset, NULL, &p.spread, s, 0, s->kernel_h);
    for (int q = 0; q < (int)area; q++) {
        place[q] = q / s->ow * p.spread.qw + q % s->ow;
        row[q] = q * p.sums.kp;
    }
    p.offset = offset;
    p.place = place;
    p.row = row;
    lsnn_parallel(cx, p.sums.parts * p.sums.ranges, lsnni_conv2d_dw_task, &p);
    lsnni_sums_add(cx, &p.sums);
    return LSNN_OK;
}

/* A window of one pixel is a matrix product: few images are done one by one by all threads. */
static int lsnni_pointwise(const lsnn_window *s)
{
    return s->kernel_h * s->kernel_w * s->stride_h * s->stride_w * s->groups == 1 &&
           !s->pad_top && !s->pad_left && s->oh == s->h && s->ow == s->w;
}

static lsnn_status lsnni_pointwise_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                           const lsnn_real *w, const lsnn_real *b,
                                           const lsnn_window *s)
{
    int area = s->h * s->w;
    for (int n = 0; n < s->n; n++, x += lsnni_area(s->c, area), y += lsnni_area(s->k, area)) {
        lsnni_product p;
        memset(&p, 0, sizeof p);
        p.g.m = s->k; p.g.n = area; p.g.k = s->c;
        p.g.a = w; p.g.ai = s->c; p.g.ak = 1;
        p.g.b = x; p.g.bk = area; p.g.bj = 1;
        p.g.c = y; p.g.ci = area;
        p.g.add = b != NULL;
        for (int k = 0; b && k < s->k; k++)
            for (int i = 0; i < area; i++) y[(ptrdiff_t)k * area + i] = b[k];
        LSNNI_TRY(lsnni_product_run(cx, &p));
    }
    return LSNN_OK;
}
