/* ---- >>local2d: locally connected, unshared weights ------------------------------
   y[n,k,p]   = b[k,p] + sum_crs w[p,crs,k] x[n, patch of p, crs]
   dx        (+)= sum_p,k w[p,crs,k] dy[n,k,p]   at each pixel of the patches
   dw[p,crs,k] += sum_n dy[n,k,p] x[n, patch of p, crs]     db[k,p] += sum_n dy[n,k,p]
   w OH*OW,C/G*kh*kw,K   b K,OH,OW   others, stride, dilation, padding, groups as conv2d's:
   with G groups crs runs over the C/G channels of kernel k's group. It runs on blocks of images
   (see >>lanes); plain arrays are turned into them, with zeros for missing images. A few
   images stay as they are: vectors of kernels then, in place of vectors of images.
   Bound by reading the weights for small batches, by arithmetic for large.   */
/* ---- The naive pair: as conv2d's, but position p has weights and a bias of its own */
#ifdef LSNN_NAIVE
LSNN_API lsnn_status lsnn_local2d_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                          const lsnn_real *w, const lsnn_real *b,
                                          const lsnn_window *s)
{
    LSNNI_TRY(lsnni_window_check(cx, "local2d", s, 1));
    if (cx->rehearsal_) return LSNN_OK;
    for (int n = 0; n < s->n; n++)
    for (int k = 0; k < s->k; k++)
    for (int i = 0; i < s->oh; i++)
    for (int j = 0; j < s->ow; j++) {
        int p = i * s->ow + j;
        double sum = b ? (double)b[lsnni_at3(k, i, s->oh, j, s->ow)] : 0;
        for (int c = 0; c < s->c / s->groups; c++)
        for (int u = 0; u < s->kernel_h; u++)
        for (int v = 0; v < s->kernel_w; v++) {
            int q = (c * s->kernel_h + u) * s->kernel_w + v;
            size_t in, at = lsnni_at3(p, q, lsnni_depth(s), k, s->k);
            if (lsnni_pixel(s, n, k, i, j, c, u, v, &in)) sum += (double)x[in] * (double)w[at];
        }
        y[lsnni_at4(n, k, s->k, i, s->oh, j, s->ow)] = LSNNI_R(sum);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_local2d_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                           lsnn_real *db, const lsnn_real *dy,
                                           const lsnn_real *x, const lsnn_real *w,
                                           const lsnn_window *s, int add)
{
    LSNNI_TRY(lsnni_window_check(cx, "local2d", s, 1));
    if (cx->rehearsal_) return LSNN_OK;
    lsnni_clear(dx, lsnni_at4(s->n, 0, s->c, 0, s->h, 0, s->w), add);
    for (int n = 0; n < s->n; n++)
    for (int k = 0; k < s->k; k++)
    for (int i = 0; i < s->oh; i++)
    for (int j = 0; j < s->ow; j++) {
        int p = i * s->ow + j;
        lsnn_real g = dy[lsnni_at4(n, k, s->k, i, s->oh, j, s->ow)];
        if (db) db[lsnni_at3(k, i, s->oh, j, s->ow)] += g;
        for (int c = 0; c < s->c / s->groups; c++)
        for (int u = 0; u < s->kernel_h; u++)
        for (int v = 0; v < s->kernel_w; v++) {
            int q = (c * s->kernel_h + u) * s->kernel_w + v;
            size_t in, at = lsnni_at3(p, q, lsnni_depth(s), k, s->k);
            if (!lsnni_pixel(s, n, k, i, j, c, u, v, &in)) continue;
            if (dx) dx[in] += g * w[at];
            if (dw) dw[at] += g * x[in];
        }
    }
    return LSNN_OK;
}

#else /* ---- The fast pair ---------------------------------------------------------------*/
enum { LSNNI_PLACES = 16 };          /* neighbouring positions a task takes   */
typedef struct lsnni_local2d {
    lsnni_lanes g;                   /* cells of pixels and their taps        */
    const lsnn_window *s;
    int few, unit, blocks;           /* few images are blocks of 1 each       */
    int tasks;                       /* that divide their dx                  */
    int depth, kp;
    int kernels, channels;           /* of a group                            */
    size_t area, x_block, y_block, turned_size;
    const lsnn_real *x, *w, *b, *dy;
    lsnn_real *y, *dx, *dw, *db, *turned;
    int32_t *row, *image, *turn, *map;   /* offsets: see lsnni_local2d_tables  */
    int add;
} lsnni_local2d;

/* The cell of pixel number i, from cell g on.                                */
static const lsnni_cell *lsnni_cell_of(const lsnni_lanes *p, const lsnni_cell *g, int i)
{
    while (i >= g->first + p->kinds[0].members[g->row] * p->kinds[1].members[g->column]) g++;
    return g;
}

/* Forward, at pixel number i of cell g: tiles of 8 kernels, of one group of the
   window's, x 3 blocks, over the taps.                                       */
static void lsnni_local2d_pixel(const lsnni_local2d *p, const lsnni_cell *g, int i)
{
    const lsnni_kernels *kv = p->g.kv;
    size_t q = (size_t)p->g.to[i], from = (size_t)p->g.from[i], lanes = (size_t)kv->lanes;
    lsnn_real bias[LSNNI_MAX_ROWS];
    lsnni_tile t;
    t.add = 0;
    t.scale = NULL;
    t.bias = p->b ? bias : NULL;
    t.k = g->taps * p->channels;
    t.ka = p->row + (g->ka - p->g.cell->ka);
    t.kb = g->kb;
    for (int v = 0; v < LSNNI_MAX_VECTORS; v++) t.lanes[v] = kv->lanes;
    for (int k = 0, end = p->kernels; k < p->s->k; k += t.rows) {
        const lsnn_real *x = p->x + (lsnni_area(k / p->kernels, p->channels) * p->g.source +
                                     from) * lanes;
        if (k == end) end += p->kernels;
        t.rows = LSNNI_MIN(kv->rows, end - k);
        for (int r = 0; r < kv->rows; r++) {
            size_t row = (size_t)(k + LSNNI_MIN(r, t.rows - 1));
            t.a[r] = p->w + q * lsnni_area(p->depth, p->s->k) + row;
            t.c[r] = p->y + (row * p->area + q) * lanes;
            if (p->b) bias[r] = p->b[row * p->area + q];
        }
        for (int n = 0; n < p->blocks; n += LSNNI_MAX_VECTORS) {
            t.vectors = LSNNI_MIN(LSNNI_MAX_VECTORS, p->blocks - n);
            for (int v = 0; v < t.vectors; v++) {
                t.b[v] = x + (size_t)(n + v) * p->x_block;
                t.at[v] = (ptrdiff_t)((size_t)(n + v) * p->y_block);
            }
            kv->tile(&t);
        }
    }
}

static void lsnni_local2d_task(void *user, int task, int worker)
{
    const lsnni_local2d *p = (const lsnni_local2d *)user;
    const lsnni_cell *g = p->g.cell;
    int end = LSNNI_MIN((task + 1) * LSNNI_PLACES, (int)p->area);
    (void)worker;
    for (int i = task * LSNNI_PLACES; i < end; i++) {
        g = lsnni_cell_of(&p->g, g, i);
        lsnni_local2d_pixel(p, g, i);
    }
}

/* The same for a few images: the tile's rows are images, its vectors kernels; the last vector of
   a group ends where the group does, over the one before it.                 */
static void lsnni_local2d_few_task(void *user, int task, int worker)
{
    const lsnni_local2d *p = (const lsnni_local2d *)user;
    const lsnni_cell *g = p->g.cell;
    const int end = LSNNI_MIN((task + 1) * LSNNI_PLACES, (int)p->area), lanes = p->g.kv->lanes;
    lsnn_real *sums = p->turned + (size_t)worker * p->turned_size;
    lsnni_tile t;
    t.add = 0;
    t.bias = t.scale = NULL;
    t.rows = p->s->n;
    for (int v = 0; v < LSNNI_MAX_VECTORS; v++) t.lanes[v] = lanes;
    for (int i = task * LSNNI_PLACES; i < end; i++) {
        size_t q = (size_t)p->g.to[i], from = (size_t)p->g.from[i];
        g = lsnni_cell_of(&p->g, g, i);
        t.k = g->taps * p->channels;
        t.ka = g->kb;
        t.kb = p->row + (g->ka - p->g.cell->ka);
        for (int first = 0; first < p->s->k; first += p->kernels) {
            const int c = first / p->kernels * p->channels;
            for (int r = 0; r < p->g.kv->rows; r++) {
                size_t n = (size_t)LSNNI_MIN(r, p->s->n - 1);
                t.a[r] = p->x + n * p->x_block + (size_t)c * p->g.source + from;
                t.c[r] = sums + n * (size_t)p->kp;
            }
            for (int k = 0; k < p->kernels; k += t.vectors * lanes) {
                t.vectors = LSNNI_MIN(LSNNI_MAX_VECTORS, lsnni_div_up(p->kernels - k, lanes));
                for (int v = 0; v < t.vectors; v++) {
                    t.at[v] = first + LSNNI_MIN(k + v * lanes, p->kernels - lanes);
                    t.b[v] = p->w + q * lsnni_area(p->depth, p->s->k) + t.at[v];
                }
                p->g.kv->tile(&t);
            }
        }
        for (int n = 0; n < p->s->n; n++)
            for (size_t k = 0, at = q; k < (size_t)p->s->k; k++, at += p->area)
                p->y[(size_t)n * p->y_block + at] =
                    sums[(size_t)n * (size_t)p->kp + k] + (p->b ? p->b[at] : 0);
    }
}

/* dw: tiles of 8 taps x 3 vectors of kernels, over the images, with dy turned.  */
static void lsnni_local2d_dw_task(void *user, int task, int worker)
{
    const lsnni_local2d *p = (const lsnni_local2d *)user;
    const lsnni_kernels *kv = p->g.kv;
    const lsnni_cell *g = p->g.cell;
    int end = LSNNI_MIN((task + 1) * LSNNI_PLACES, (int)p->area), kernels = p->s->k;
    int unit = p->unit;
    lsnn_real *turned = p->turned + (size_t)worker * p->turned_size;
    lsnni_tile t;
    memset(turned, 0, p->turned_size * sizeof *turned);
    t.ka = p->image;
    t.kb = p->turn;
    t.k = p->s->n;
    for (int i = task * LSNNI_PLACES; i < end; i++) {
        size_t q = (size_t)p->g.to[i], from = (size_t)p->g.from[i];
        g = lsnni_cell_of(&p->g, g, i);
        for (int n = 0; n < p->blocks; n++)
            kv->transpose(turned + lsnni_area(n * unit, p->kp), (size_t)p->kp,
                          p->dy + (size_t)n * p->y_block + q * (size_t)unit,
                          p->area * (size_t)unit, kernels, unit);
        for (int k = 0, c = 0; k < kernels; k += p->kernels, c += p->channels)
            lsnni_dw_tiles(kv, &t, p->dw + q * lsnni_area(p->depth, kernels) + k, kernels,
                           p->kernels, turned + k, p->x + ((size_t)c * p->g.source + from) *
                           (size_t)unit, g->kb, g->ka, g->taps * p->channels);
    }
}

static void lsnni_local2d_db_task(void *user, int k, int worker)
{
    const lsnni_local2d *p = (const lsnni_local2d *)user;
    lsnn_real *sums = p->turned + (size_t)worker * p->turned_size;
    for (int n = 0; n < p->blocks; n++) {
        const lsnn_real *dy = p->dy + (size_t)n * p->y_block + (size_t)k * p->area *
                              (size_t)p->unit;
        if (p->unit > 1) p->g.kv->gather(sums, dy, p->area);
        p->g.kv->axpy(p->db + (size_t)k * p->area, 1, p->unit > 1 ? sums : dy, p->area);
    }
}

/* dx of one block and one of its maps: tiles of 8 taps, over the kernels.     */
static void lsnni_local2d_dx_task(void *user, int task, int worker)
{
    const lsnni_local2d *p = (const lsnni_local2d *)user;
    const lsnni_kernels *kv = p->g.kv;
    const lsnni_cell *g = p->g.cell;
    int n = task / p->s->c, c = task % p->s->c, part = c / p->channels;
    int first = part * p->kernels, map = part * p->channels;         /* of c's group */
    size_t lanes = (size_t)kv->lanes, plane = p->g.source * lanes;
    lsnn_real *dx = p->dx + (size_t)n * p->x_block;
    lsnni_tile t;
    (void)worker;
    if (!p->add) memset(dx + (size_t)c * plane, 0, plane * sizeof *dx);
    t.add = t.vectors = 1;
    t.bias = t.scale = NULL;
    t.ka = p->map + first;
    t.kb = p->map + p->s->k + first;
    t.k = p->kernels;
    t.at[0] = 0;
    t.lanes[0] = (int)lanes;
    for (int i = 0; i < (int)p->area; i++) {
        size_t q = (size_t)p->g.to[i], from = (size_t)p->g.from[i];
        g = lsnni_cell_of(&p->g, g, i);
        t.b[0] = p->dy + (size_t)n * p->y_block + q * lanes;
        for (int d = 0; d < g->taps; d += kv->rows) {
            t.rows = LSNNI_MIN(kv->rows, g->taps - d);
            for (int r = 0; r < kv->rows; r++) {
                int tap = (c - map) * g->taps + d + LSNNI_MIN(r, t.rows - 1);
                t.a[r] = p->w + (q * (size_t)p->depth + (size_t)g->ka[tap]) * (size_t)p->s->k;
                t.c[r] = dx + ((size_t)map * p->g.source + from) * lanes + g->kb[tap];
            }
            kv->tile(&t);
        }
    }
}

/* dx of some of the maps of a few images: at each place the taps' dot products, over the kernels,
   which lie side by side. A task a thread, so that each reads its weights in as long runs as there
   can be: map by map would take three times as long.                         */
static void lsnni_local2d_few_place(const lsnni_local2d *p, const lsnni_cell *g, int i, int c,
                                    lsnni_matmul *m)
{
    const size_t q = (size_t)p->g.to[i], from = (size_t)p->g.from[i];
    const int first = c / p->channels * p->kernels, line = 64 / (int)sizeof(lsnn_real);
    lsnn_real *dx = p->dx + (size_t)c * p->g.source + from;
    m->b = p->w + (q * (size_t)p->depth + (size_t)(c % p->channels) * p->g.taps) *
        (size_t)p->s->k + first;
    m->a = m->c - p->s->n * p->kp + first;
    for (int d = 0, run = m->n * p->s->k; d < run && i + 1 < (int)p->area; d += line)
        LSNNI_FETCH_TO_READ(m->b + run + d);
    p->g.kv->dots(m);
    for (int n = 0; n < m->m; n++)
        for (int d = 0; d < g->taps; d++)
            dx[(size_t)n * p->x_block + (size_t)g->kb[d]] += m->c[n * m->n + g->ka[d]];
}

static void lsnni_local2d_few_dx_task(void *user, int task, int worker)
{
    const lsnni_local2d *p = (const lsnni_local2d *)user;
    const lsnni_cell *g = p->g.cell;
    const int c0 = lsnni_part(p->s->c, 1, p->tasks, task);
    const int c1 = lsnni_part(p->s->c, 1, p->tasks, task + 1);
    lsnn_real *dy = p->turned + (size_t)worker * p->turned_size;
    lsnni_matmul m;
    memset(&m, 0, sizeof m);
    m.c = dy + p->s->n * p->kp;
    m.ai = p->kp;
    m.ak = m.bk = 1;
    m.bj = p->s->k;
    m.ci = m.n = (int)p->g.taps;
    m.m = p->s->n;
    m.k = p->kernels;
    for (int n = 0; n < m.m && !p->add; n++)
        memset(p->dx + (size_t)n * p->x_block + (size_t)c0 * p->g.source, 0,
               lsnni_area(c1 - c0, 1) * p->g.source * sizeof *p->dx);
    for (int i = 0; i < (int)p->area; i++) {
        g = lsnni_cell_of(&p->g, g, i);
        for (int n = 0; n < m.m; n++)
            p->g.kv->transpose(dy + n * p->kp, (size_t)p->kp, p->dy + (size_t)n * p->y_block +
                               (size_t)p->g.to[i], p->area, p->s->k, 1);
        for (int c = c0; c < c1; c++) lsnni_local2d_few_place(p, g, i, c, &m);
    }
}

/* row    tap -> its weights        image  image -> its place in x
   turn   image -> its row of turned dy        map  k, and kernel k's place in dy */
static void lsnni_local2d_tables(lsnni_local2d *p, size_t taps)
{
    int unit = p->unit;
    for (size_t i = 0; i < taps; i++) p->row[i] = p->g.cell->ka[i] * p->s->k;
    for (size_t i = 0; p->few && i < taps; i++) p->g.cell->kb[i] /= p->g.kv->lanes;
    for (int n = 0; n < p->blocks * unit; n++) {
        p->image[n] = (int32_t)((size_t)(n / unit) * p->x_block) + n % unit;
        p->turn[n] = n * p->kp;
    }
    for (int k = 0; k < p->s->k; k++) {
        p->map[k] = k;
        p->map[p->s->k + k] = k * (int32_t)p->area * unit;
    }
}

/* Sets p up but for its arrays; *x_room and *y_room: room for blocks of images where
   the caller's arrays are plain, else NULL.                                  */
static lsnn_status lsnni_local2d_plan(lsnn_ctx *cx, lsnni_local2d *p, const lsnn_window *s,
                                      lsnn_real **x_room, lsnn_real **y_room)
{
    int lanes = lsnn_lanes(cx), plain = s->lanes < 2 && lanes > 1;
    int turn;
    size_t threads = (size_t)lsnn_ctx_threads(cx), taps, images, more, n_all;
    char *at;
    LSNNI_TRY(lsnni_window_check(cx, "local2d", s, 1));
    if (s->lanes > 1) LSNNI_TRY(lsnni_lanes_check(cx, "local2d", s));
    memset(p, 0, sizeof *p);
    p->s = s;
    p->few = plain && s->n <= LSNNI_FEW && s->k / s->groups >= lanes;
    p->unit = p->few ? 1 : lanes;
    turn = plain && !p->few;
    p->blocks = lsnni_div_up(s->n, p->unit);
    p->depth = lsnni_depth(s);
    p->kernels = s->k / s->groups;
    p->channels = s->c / s->groups;
    p->kp = lsnni_round_up(s->k, lanes);
    p->area = lsnni_area(s->oh, s->ow);
    p->x_block = lsnni_area(s->c * s->h, s->w) * (size_t)p->unit;
    p->y_block = (size_t)s->k * p->area * (size_t)p->unit;
    images = (size_t)p->blocks * (size_t)p->unit;
    if ((double)p->blocks * (double)p->x_block > INT32_MAX || (double)p->y_block > INT32_MAX ||
        (double)images * p->kp > INT32_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE, "local2d: a batch of %d images has over 2^31 "
                          "numbers: use smaller batches", s->n);
    p->turned_size = LSNNI_MAX(images * (size_t)p->kp + (size_t)lanes, p->area);
    if (p->few) p->turned_size += images * lsnni_area(s->kernel_h, s->kernel_w);
    n_all = lsnni_room((size_t)p->blocks * p->x_block, sizeof **x_room);
    more = 2 * lsnni_room(images, sizeof *p->image) +
        lsnni_room(2 * (size_t)s->k, sizeof *p->map);
    more = lsnni_room_add(more, lsnni_room(lsnni_times(p->turned_size, threads),
                                           sizeof *p->turned));
    if (turn) more = lsnni_room_add(lsnni_room_add(more, n_all),
                                    lsnni_room((size_t)p->blocks * p->y_block,
                                               sizeof **y_room));
    LSNNI_TRY(lsnni_lanes_plan(cx, &p->g, s, LSNNI_FORWARD, p->channels, 1, more, &taps, &at));
    p->row = (int32_t *)lsnni_cut(&at, taps, sizeof *p->row);
    p->image = (int32_t *)lsnni_cut(&at, images, sizeof *p->image);
    p->turn = (int32_t *)lsnni_cut(&at, images, sizeof *p->turn);
    p->map = (int32_t *)lsnni_cut(&at, 2 * (size_t)s->k, sizeof *p->map);
    p->turned = (lsnn_real *)lsnni_cut(&at, p->turned_size * threads, sizeof *p->turned);
    *x_room = *y_room = NULL;
    if (turn) {
        *x_room = (lsnn_real *)lsnni_cut(&at, (size_t)p->blocks * p->x_block, sizeof **x_room);
        *y_room = (lsnn_real *)(void *)at;
    }
    lsnni_local2d_tables(p, taps);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_local2d_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                          const lsnn_real *w, const lsnn_real *b,
                                          const lsnn_window *s)
{
    lsnn_real *xs, *ys;
    lsnni_local2d p;
    LSNNI_TRY(lsnni_local2d_plan(cx, &p, s, &xs, &ys));
    if (xs) lsnni_turn_run(cx, xs, x, s->n, p.x_block / (size_t)p.unit, 0, LSNN_SET);
    p.x = xs ? xs : x;
    p.y = ys ? ys : y;
    p.w = w;
    p.b = b;
    lsnn_parallel(cx, (int)((p.area + LSNNI_PLACES - 1) / LSNNI_PLACES),
                  p.few ? lsnni_local2d_few_task : lsnni_local2d_task,
                  &p);
    if (ys) lsnni_turn_run(cx, y, ys, s->n, p.y_block / (size_t)p.unit, 1, LSNN_SET);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_local2d_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                           lsnn_real *db, const lsnn_real *dy,
                                           const lsnn_real *x, const lsnn_real *w,
                                           const lsnn_window *s, int add)
{
    lsnn_real *xs, *ys;
    lsnni_local2d p;
    size_t x_size;
    LSNNI_TRY(lsnni_local2d_plan(cx, &p, s, &xs, &ys));
    x_size = p.x_block / (size_t)p.unit;
    if (ys) lsnni_turn_run(cx, ys, dy, s->n, p.y_block / (size_t)p.unit, 0, LSNN_SET);
    if (xs && dw) lsnni_turn_run(cx, xs, x, s->n, x_size, 0, LSNN_SET);
    p.x = xs ? xs : x;
    p.dy = ys ? ys : dy;
    p.w = w;
    p.dw = dw;
    p.db = db;
    if (dw)
        lsnn_parallel(cx, (int)((p.area + LSNNI_PLACES - 1) / LSNNI_PLACES),
                      lsnni_local2d_dw_task, &p);
    if (db) lsnn_parallel(cx, s->k, lsnni_local2d_db_task, &p);
    if (!dx) return LSNN_OK;
    p.dx = xs ? xs : dx;             /* x is no longer needed                 */
    p.add = !xs && add;
    p.tasks = LSNNI_MIN(lsnn_ctx_threads(cx), s->c);
    if (p.few) lsnn_parallel(cx, p.tasks, lsnni_local2d_few_dx_task, &p);
    else lsnn_parallel(cx, p.blocks * s->c, lsnni_local2d_dx_task, &p);
    if (xs) lsnni_turn_run(cx, dx, xs, s->n, x_size, 1, add);
    return LSNN_OK;
}

#endif /* LSNN_NAIVE */

/* ---- The layer ------------------------------------------------------------------------
   Its bias may be one number a kernel: it is spread over the places before the op, and the
   gradients of the places are added up after it.                              */
static lsnn_status lsnni_plan_local2d(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_window s;
    int depth;
    if ((int)p->o.bias < 0 || p->o.bias > LSNN_BIAS_NONE || (int)p->o.start < 0 ||
        p->o.start > LSNN_START_ALIKE)
        return lsnni_fail(cx, LSNN_EVALUE, "local2d: bias %d or start %d is unknown",
                          (int)p->o.bias, (int)p->o.start);
    if (p->o.bias == LSNN_BIAS_OF_KERNEL && p->o.no_bias)
        return lsnni_fail(cx, LSNN_EVALUE, "local2d: bias asks for one a kernel, no_bias for none");
    if (p->o.bias == LSNN_BIAS_NONE) p->o.no_bias = 1;
    if (p->o.no_bias) p->o.bias = LSNN_BIAS_OF_PLACE;    /* in a file, one word for none */
    LSNNI_TRY(lsnni_plan_kernels(cx, p, &s));
    depth = lsnni_depth(&s);
    p->param[0] = lsnni_spec("weight", 3, s.oh * s.ow, depth, s.k, 0);
    p->param[0].fan_in = depth;
    p->param[0].fan_out = s.k / s.groups * s.kernel_h * s.kernel_w;
    p->param[1] = lsnni_spec("bias", 3, s.k, s.oh, s.ow, 0);
    if (p->o.bias == LSNN_BIAS_OF_KERNEL) {
        p->keep_fixed = p->param[1].count;
        p->param[1] = lsnni_spec("bias", 1, s.k, 0, 0, 0);
    }
    p->param[1].no_decay = 1;
    p->macs = (double)p->param[0].count;
    lsnni_connect(p, depth);
    return LSNN_OK;
}

static lsnn_status lsnni_forward_local2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    size_t area = lsnni_area(c->plan->out.h, c->plan->out.w);
    const lsnn_real *b = c->param[1];
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    if (c->plan->o.bias == LSNN_BIAS_OF_KERNEL) {
        for (size_t i = 0; i < area * (size_t)s.k; i++) c->keep[i] = b[i / area];
        b = c->keep;
    }
    return lsnn_local2d_forward(cx, c->y, c->x[0], c->param[0], b, &s);
}

static lsnn_status lsnni_backward_local2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    size_t area = lsnni_area(c->plan->out.h, c->plan->out.w);
    lsnn_real *db = c->dparam[1];
    int of_kernel = db && c->plan->o.bias == LSNN_BIAS_OF_KERNEL;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    if (of_kernel) {
        db = c->keep;
        memset(db, 0, area * (size_t)s.k * sizeof *db);
    }
    LSNNI_TRY(lsnn_local2d_backward(cx, c->dx[0], c->dparam[0], db, c->dy, c->x[0], c->param[0],
                                    &s, c->add[0]));
    for (int k = 0; k < s.k && of_kernel; k++) {
        double sum = 0;
        for (size_t p = 0; p < area; p++) sum += (double)db[(size_t)k * area + p];
        c->dparam[1][k] += LSNNI_R(sum);
    }
    return LSNN_OK;
}

/* Each place draws weights of its own; or all begin with the first one's: a convolution. */
static void lsnni_init_local2d(const lsnn_layer_plan *p, int i, lsnn_real *v, lsnn_rng *rng)
{
    size_t count = p->param[i].count, drawn = count;
    if (i == 0 && p->o.start == LSNN_START_ALIKE) drawn = count / (size_t)p->param[0].dim[0];
    lsnni_draw_values(p, i, v, drawn, rng);
    for (size_t j = drawn; j < count; j++) v[j] = v[j - drawn];
}

static const lsnn_layer_type lsnni_local2d_type = {
    "local2d", LSNNI_WEIGHTED LSNNI_KERNEL_OPTIONS "bias start ", 1, 1,
    LSNN_Y_FREE | LSNN_BLOCKS | LSNN_REHEARSES,
    lsnni_plan_local2d, lsnni_forward_local2d, lsnni_backward_local2d, lsnni_init_local2d,
    NULL,
    LSNNI_DEVICE_PAIR(local2d)
};

LSNN_API int lsnn_local2d(lsnn_net *net, int x, int filters, int kernel, const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_local2d_type, x, filters, kernel, o);
}

LSNN_API int lsnn_local1d(lsnn_net *net, int x, int filters, int kernel, const lsnn_options *o)
{
    return lsnni_windowed_row(net, &lsnni_local2d_type, x, filters, kernel, o);
}
