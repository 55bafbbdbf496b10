/* ---- >>lanes: images side by side -----------------------------------------------
   Where a window's `lanes` is L = lsnn_lanes(cx), images stand in blocks of L,
       (N / L) x C x H x W x L,
   so that a pixel of a block is one vector with an image in each lane. No row is too
   short for vectors then, no border cuts one, and strides cost nothing. The net chooses
   this layout for batches of whole blocks (see >>layout).                    */
LSNN_API int lsnn_lanes(const lsnn_ctx *cx) { return lsnni_kernels_of(cx)->lanes; }

static lsnn_status lsnni_lanes_fit(lsnn_ctx *cx, const char *who, int lanes, int n)
{
    if (!lanes || (lanes == lsnn_lanes(cx) && n % lanes == 0)) return LSNN_OK;
    return lsnni_fail(cx, LSNN_ESHAPE, "%s: %d lanes and %d images: here lanes are 0 or %d, "
                      "with a multiple of that many images", who, lanes, n, lsnn_lanes(cx));
}

static lsnn_status lsnni_lanes_check(lsnn_ctx *cx, const char *who, const lsnn_window *s)
{
    int lanes = lsnn_lanes(cx);
    LSNNI_TRY(lsnni_lanes_fit(cx, who, s->lanes, s->n));
    if (LSNNI_MAX((double)s->c * s->h * s->w, (double)s->k * s->oh * s->ow) * lanes > INT32_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: %d images of this size have over 2^31 numbers",
                          who, lanes);
    return LSNN_OK;
}

enum { LSNNI_TURN = 1024 };          /* pixels a task                          */
typedef struct lsnni_turn {
    const lsnni_kernels *kv;
    const lsnn_real *x;
    lsnn_real *y;
    size_t size;
    int n, back, add, pieces;
} lsnni_turn;

static void lsnni_turn_task(void *user, int task, int worker)
{
    const lsnni_turn *p = (const lsnni_turn *)user;
    size_t lanes = (size_t)p->kv->lanes, first = (size_t)(task % p->pieces) * LSNNI_TURN;
    size_t count = LSNNI_MIN((size_t)LSNNI_TURN, p->size - first);
    int block = task / p->pieces, images = LSNNI_MIN((int)lanes, p->n - block * (int)lanes);
    size_t plain = (size_t)block * lanes * p->size + first;
    size_t turned = (size_t)block * lanes * p->size + first * lanes;
    (void)worker;
    if (p->add)
        for (size_t l = 0; l < (size_t)images; l++)
            for (size_t i = 0; i < count; i++) {
                size_t there = turned + i * lanes + l, here = plain + l * p->size + i;
                if (p->back) p->y[here] += p->x[there];
                else p->y[there] += p->x[here];
            }
    else if (p->back)
        p->kv->transpose(p->y + plain, p->size, p->x + turned, lanes, (int)count, images);
    else {
        if (images < (int)lanes) memset(p->y + turned, 0, count * lanes * sizeof *p->y);
        p->kv->transpose(p->y + turned, lanes, p->x + plain, p->size, images, (int)count);
    }
}

/* n images of `size` numbers to blocks, the missing ones of the last block zero; or back. */
static void lsnni_turn_run(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x, int n, size_t size,
                           int back, int add)
{
    lsnni_turn p;
    p.kv = lsnni_kernels_of(cx);
    p.x = x; p.y = y; p.n = n; p.size = size; p.back = back; p.add = add;
    p.pieces = (int)((size + LSNNI_TURN - 1) / LSNNI_TURN);
    lsnn_parallel(cx, lsnni_div_up(n, p.kv->lanes) * p.pieces, lsnni_turn_task, &p);
}

LSNN_API lsnn_status lsnn_interleave(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x, int n,
                                     size_t size, int back, int add)
{
    double pieces = ((double)size + (int)LSNNI_TURN - 1) / (int)LSNNI_TURN;
    if (n < 1 || n % lsnn_lanes(cx) || size < 1 || pieces * n > INT_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE, "interleave: %d images of %.0f numbers in blocks of "
                          "%d", n, (double)size, lsnn_lanes(cx));
    lsnni_turn_run(cx, y, x, n, size, back, add);
    return LSNN_OK;
}

/* ---- >>reach: see lsnni_reach ------------------------------------------------------*/
static int lsnni_divisor(int a, int b)               /* the greatest common one   */
{
    while (b) {
        int rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static lsnni_reach lsnni_reach_of(const lsnni_side *a, lsnni_way way, int i)
{
    lsnni_reach r;
    int past, step = a->dilation;
    if (way == LSNNI_FORWARD) {
        r.at = i * a->stride - a->pad;
        r.first = r.at < 0 ? lsnni_div_up(-r.at, step) : 0;
        past = a->in - r.at;
        r.count = LSNNI_MIN(a->kernel, past > 0 ? lsnni_div_up(past, step) : 0) - r.first;
        r.at += r.first * step;
    } else if (way == LSNNI_TO_X) {
        int g = lsnni_divisor(a->stride, step), rise = step / g, fall = a->stride / g, out;
        int tap = 0;
        while (tap < fall && (i + a->pad - tap * step) % a->stride) tap++;
        out = tap < fall ? (i + a->pad - tap * step) / a->stride : -1;
        past = out >= a->out ? lsnni_div_up(out - (a->out - 1), rise) : 0;
        tap += past * fall;                              /* the lowest, met by the highest */
        out -= past * rise;                              /*   output row              */
        r.count = tap < a->kernel && out >= 0 ?
            LSNNI_MIN((a->kernel - 1 - tap) / fall, out / rise) + 1 : 0;
        r.first = tap + (r.count - 1) * fall;
        r.at = out - (r.count - 1) * rise;
    } else {
        i *= step;
        r.first = i < a->pad ? lsnni_div_up(a->pad - i, a->stride) : 0;
        past = a->in + a->pad - i;
        r.count = LSNNI_MIN(a->out, past > 0 ? (past - 1) / a->stride + 1 : 0) - r.first;
        r.at = r.first * a->stride - a->pad + i;
    }
    if (r.count < 1) r.first = r.count = r.at = 0;
    return r;
}

static size_t lsnni_kinds_room(int rows)
{
    return lsnni_room((size_t)rows, sizeof(lsnni_reach)) +
           3 * lsnni_room((size_t)rows, sizeof(int));
}

static void lsnni_kinds_fill(lsnni_kinds *g, char **at, const lsnni_side *side, lsnni_way way,
                             int rows)
{
    int divisor = lsnni_divisor(side->stride, side->dilation);
    g->rows = rows;
    g->kinds = g->partners = 0;
    g->number_step = way == LSNNI_TO_X ? -side->stride / divisor : 1;
    g->at_step = way == LSNNI_TO_W ? side->stride :
        way == LSNNI_TO_X ? side->dilation / divisor : side->dilation;
    g->reach = (lsnni_reach *)lsnni_cut(at, (size_t)rows, sizeof *g->reach);
    g->kind = (int *)lsnni_cut(at, (size_t)rows, sizeof *g->kind);
    g->example = (int *)lsnni_cut(at, (size_t)rows, sizeof *g->example);
    g->members = (int *)lsnni_cut(at, (size_t)rows, sizeof *g->members);
    for (int i = 0; i < rows; i++) {
        lsnni_reach r = g->reach[i] = lsnni_reach_of(side, way, i);
        int k = 0;
        while (k < g->kinds && (g->reach[g->example[k]].first != r.first ||
                                g->reach[g->example[k]].count != r.count))
            k++;
        if (k == g->kinds) {
            g->members[k] = 0;
            g->example[g->kinds++] = i;
            g->partners += r.count;
        }
        g->kind[i] = k;
        g->members[k]++;
    }
}

static void lsnni_sides(lsnni_side side[2], const lsnn_window *s)
{
    side[0].in = s->h; side[0].out = s->oh; side[0].kernel = s->kernel_h;
    side[0].stride = s->stride_h; side[0].pad = s->pad_top; side[0].dilation = s->dilation_h;
    side[1].in = s->w; side[1].out = s->ow; side[1].kernel = s->kernel_w;
    side[1].stride = s->stride_w; side[1].pad = s->pad_left; side[1].dilation = s->dilation_w;
}

/* ---- >>on lanes: forward, and the gradient of x, on blocks --------------------------
   Each target pixel of m maps is a sum over its taps and the source's maps. Forward: source x,
   target y. TO_X: source dy, target dx, w with its maps exchanged; taps are not turned, for the
   tables say which of them meets which pixel. So each number of dx has one writer, who gathers
   what the naive pair scatters. Tiles are 8 maps x 3 pixels of one kind; bands of target rows
   and chunks of source maps are sized for the second-level cache. Bound by arithmetic. */
enum { LSNNI_CACHE = 1 << 17 };      /* numbers of a band, and of a chunk      */
/* Tiles of the maps m and so on, which t's rows say, pixels of cell g in target rows
   [y0, y1); the maps in memory begin at pixel number `first`. scale: room for t->scale. */
static void lsnni_lanes_tiles(const lsnni_lanes *p, const lsnni_cell *g, lsnni_tile *t,
                              const lsnn_real *x, int m, int y0, int y1, int first,
                              lsnn_real *scale)
{
    int lanes = p->kv->lanes, above = 0, inside = 0, wide = p->kinds[1].members[g->column];
    for (int y = 0; y < y1; y++)
        if (p->kinds[0].kind[y] == g->row) ++*(y < y0 ? &above : &inside);
    for (int i = 0; i < inside * wide; i += t->vectors) {
        const int32_t *from = p->from + g->first + above * wide + i;
        const int32_t *to = p->to + g->first + above * wide + i;
        t->vectors = lsnni_vectors(inside * wide - i);
        for (int v = 0; v < t->vectors; v++) {
            t->b[v] = x + (ptrdiff_t)from[v] * lanes;
            t->at[v] = (ptrdiff_t)(to[v] - first) * lanes;
        }
        for (int r = 0; r < t->rows && t->scale; r++) {
            const lsnn_real *u = p->u + (size_t)(m + r) * p->target;
            for (int v = 0; v < t->vectors; v++) scale[LSNNI_MAX_VECTORS * r + v] = u[to[v]];
        }
        p->kv->tile(t);
    }
}

/* Target rows [y0, y1) of maps [m0, m1), which x holds, pooled.              */
static void lsnni_lanes_pool(const lsnni_lanes *p, const lsnn_real *x, int block, int m0, int m1,
                             int y0, int y1)
{
    int w = p->kinds[1].rows;
    size_t lanes = (size_t)p->kv->lanes, row = (size_t)w * lanes;
    int32_t tap[4];
    tap[0] = 0; tap[1] = 1; tap[2] = w; tap[3] = w + 1;
    for (int m = m0; m < m1; m++)
        for (int y = y0; y < y1; y += 2) {
            size_t to = lsnni_area(block * p->m + m, p->kinds[0].rows / 2) + (size_t)y / 2;
            const lsnn_real *from = x + (size_t)((m - m0) * p->band + y - y0) * row;
            p->kv->lanes_max(p->y + to * row / 2, p->pool.where + to * row / 2, from, tap, 4, 2,
                             0, y * w, w / 2, p->pool.relu);
        }
}

static void lsnni_lanes_task(void *user, int task, int worker)
{
    const lsnni_lanes *p = (const lsnni_lanes *)user;
    int m0 = task % p->tasks * p->per_task, m1 = LSNNI_MIN(m0 + p->per_task, p->m);
    int band = task / p->tasks % p->bands, block = task / p->tasks / p->bands;
    int y0 = band * p->band, y1 = LSNNI_MIN(y0 + p->band, p->kinds[0].rows);
    int first = p->pool.on ? y0 * p->kinds[1].rows : 0;
    size_t lanes = (size_t)p->kv->lanes, map = p->target, part = (size_t)(block % p->parts);
    const lsnn_real *w = p->w + part * lsnni_area(p->m, p->maps) * p->taps;
    const lsnn_real *bias = p->bias ? p->bias + part * (size_t)p->m : NULL;
    const lsnn_real *x = p->x + lsnni_area(block, p->maps) * p->source * lanes;
    lsnn_real *y = p->y + (size_t)(block * p->m + m0) * p->target * lanes;
    lsnn_real scale[LSNNI_MAX_ROWS * LSNNI_MAX_VECTORS];
    lsnni_tile t;
    if (p->pool.on) {
        map = lsnni_area(p->band, p->kinds[1].rows);
        y = p->pool.room + (size_t)worker * p->pool.size;
    }
    for (int v = 0; v < LSNNI_MAX_VECTORS; v++) t.lanes[v] = (int)lanes;
    for (int c = 0; c < p->maps; c += p->chunk)
        for (int m = m0; m < m1; m += p->kv->rows) {
            int last = c + p->chunk >= p->maps;
            t.add = c > 0 || p->add;
            t.scale = p->regions && last ? scale : NULL;
            t.rows = LSNNI_MIN(p->kv->rows, m1 - m);
            t.bias = bias && last ? bias + m : NULL;
            for (int r = 0; r < p->kv->rows; r++) {
                size_t row = (size_t)(m + LSNNI_MIN(r, t.rows - 1));
                t.a[r] = w + (row * (size_t)p->maps + (size_t)c) * p->taps;
                t.c[r] = y + (row - (size_t)m0) * map * lanes;
            }
            for (const lsnni_cell *g = p->cell; g < p->cell + p->cells; g++) {
                t.ka = g->ka;
                t.kb = g->kb;
                t.k = g->taps * (last ? p->maps - c : p->chunk);
                lsnni_lanes_tiles(p, g, &t, x + (size_t)c * p->source * lanes, m, y0, y1, first,
                                  scale);
            }
        }
    if (p->pool.on) lsnni_lanes_pool(p, y, block, m0, m1, y0, y1);
}

/* The pixels of one kind and their table of taps: source maps, kernel rows, columns. */
static int lsnni_lanes_cell(const lsnni_lanes *p, const lsnni_cell *g, const lsnn_window *s,
                             lsnni_way way)
{
    const lsnni_kinds *rows = &p->kinds[0], *columns = &p->kinds[1];
    const lsnni_reach *r = &rows->reach[rows->example[g->row]];
    const lsnni_reach *q = &columns->reach[columns->example[g->column]];
    int width = way == LSNNI_TO_X ? s->ow : s->w, n = g->first, k = 0;
    for (int y = 0; y < rows->rows; y++)
        for (int x = 0; rows->kind[y] == g->row && x < columns->rows; x++)
            if (columns->kind[x] == g->column) {
                p->from[n] = rows->reach[y].at * width + columns->reach[x].at;
                p->to[n++] = y * columns->rows + x;
            }
    for (int c = 0; c < p->chunk; c++)
        for (int i = 0; i < r->count; i++)
            for (int j = 0; j < q->count; j++, k++) {
                g->ka[k] = c * (int32_t)p->taps + (r->first + i * rows->number_step) *
                    s->kernel_w + q->first + j * columns->number_step;
                g->kb[k] = ((int32_t)((size_t)c * p->source) + i * rows->at_step * width +
                            j * columns->at_step) * p->kv->lanes;
            }
    return n;
}

/* Bands of target rows and chunks of source maps, about LSNNI_CACHE numbers each at stride
   1; a chunk has 2 LSNNI_CHUNK taps at most.                                 */
static void lsnni_lanes_sizes(lsnni_lanes *p, const lsnn_window *s, lsnni_way way, int lanes)
{
    int back = way == LSNNI_TO_X, rows = back ? s->h : s->oh, columns = back ? s->w : s->ow;
    int high = back ? s->oh : s->h, wide = back ? s->ow : s->w;
    size_t row;
    p->m = back ? s->c : s->k;
    p->maps = back ? s->k : s->c;
    row = lsnni_area(p->m, columns) * (size_t)lanes;     /* of the target, all maps */
    p->band = LSNNI_MIN(rows, LSNNI_MAX(1, (int)(LSNNI_CACHE / row)));
    if (p->pool.on) p->band = LSNNI_MIN(rows, LSNNI_MAX(1, (int)(LSNNI_CACHE / 8 / row)) * 2);
    p->bands = lsnni_div_up(rows, p->band);
    high = LSNNI_MIN(high, p->band + lsnni_extent(s->kernel_h, s->dilation_h) - 1);
    p->chunk = (int)(LSNNI_CACHE / (lsnni_area(high, wide) * (size_t)lanes));
    p->chunk = LSNNI_MIN(p->chunk, 2 * LSNNI_CHUNK / (s->kernel_h * s->kernel_w));
    p->chunk = LSNNI_MIN(p->maps, LSNNI_MAX(1, p->chunk));
}

/* w with its two maps exchanged, so that the source maps of one target are neighbours. */
static void lsnni_lanes_exchange(lsnn_real *to, const lsnn_real *w, const lsnn_window *s)
{
    int taps = s->kernel_h * s->kernel_w;
    for (int k = 0; k < s->k; k++)
        for (int c = 0; c < s->c; c++)
            memcpy(to + lsnni_area(c * s->k + k, taps), w + lsnni_area(k * s->c + c, taps),
                   (size_t)taps * sizeof *to);
}

/* Takes scratch memory for the cells and `more` bytes, and fills the cells in.
   more_tables: arrays as long as the tables that the caller wants beside; *at: the
   caller's part; *table: the tables' length.                                 */
static lsnn_status lsnni_lanes_plan(lsnn_ctx *cx, lsnni_lanes *p, const lsnn_window *s,
                                    lsnni_way way, int chunk, int more_tables, size_t more,
                                    size_t *table, char **at)
{
    int back = way == LSNNI_TO_X, rows = back ? s->h : s->oh, columns = back ? s->w : s->ow;
    size_t bytes = lsnni_kinds_room(rows) + lsnni_kinds_room(columns);
    lsnni_side side[2];
    int32_t *ka, *kb;
    p->kv = lsnni_kernels_of(cx);
    p->chunk = chunk;
    p->source = back ? lsnni_area(s->oh, s->ow) : lsnni_area(s->h, s->w);
    p->target = lsnni_area(rows, columns);
    p->taps = lsnni_area(s->kernel_h, s->kernel_w);
    lsnni_sides(side, s);
    for (int pass = 0; pass < 2; pass++) {               /* to count, then to fill */
        *at = (char *)lsnni_scratch(cx, bytes, 1);
        if (!*at) return LSNN_ENOMEM;
        lsnni_kinds_fill(&p->kinds[0], at, &side[0], way, rows);
        lsnni_kinds_fill(&p->kinds[1], at, &side[1], way, columns);
        if (pass) break;
        *table = lsnni_area(p->kinds[0].partners, p->kinds[1].partners) * (size_t)chunk;
        p->cells = p->kinds[0].kinds * p->kinds[1].kinds;
        bytes += lsnni_room((size_t)p->cells, sizeof *p->cell);
        bytes = lsnni_room_add(bytes, 2 * lsnni_room(p->target, sizeof(int32_t)));
        bytes = lsnni_room_add(bytes, lsnni_room_times(lsnni_room(*table, sizeof(int32_t)),
                                                       2 + more_tables));
        bytes = lsnni_room_add(bytes, more);
    }
    p->cell = (lsnni_cell *)lsnni_cut(at, (size_t)p->cells, sizeof *p->cell);
    p->from = (int32_t *)lsnni_cut(at, p->target, sizeof *p->from);
    p->to = (int32_t *)lsnni_cut(at, p->target, sizeof *p->to);
    ka = (int32_t *)lsnni_cut(at, *table, sizeof *ka);
    kb = (int32_t *)lsnni_cut(at, *table, sizeof *kb);
    for (int i = 0, first = 0; i < p->cells; i++) {
        lsnni_cell *g = &p->cell[i];
        g->row = i / p->kinds[1].kinds;
        g->column = i % p->kinds[1].kinds;
        g->taps = p->kinds[0].reach[p->kinds[0].example[g->row]].count *
            p->kinds[1].reach[p->kinds[1].example[g->column]].count;
        g->first = first;
        g->ka = ka;
        g->kb = kb;
        first = lsnni_lanes_cell(p, g, s, way);
        ka += g->taps * chunk;
        kb += g->taps * chunk;
    }
    return LSNN_OK;
}

static lsnn_status lsnni_lanes_run(lsnn_ctx *cx, lsnni_lanes *p, const lsnn_window *whole,
                                   lsnni_way way)
{
    lsnn_window parts = lsnni_window_parts(whole), *s = &parts;
    int back = way == LSNNI_TO_X;
    size_t weights = lsnni_area(s->c, s->k) * lsnni_area(s->kernel_h, s->kernel_w);
    size_t table, room;
    char *at;
    LSNNI_TRY(lsnni_lanes_check(cx, "conv2d", whole));
    p->parts = whole->groups;
    lsnni_lanes_sizes(p, s, way, lsnn_lanes(cx));
    p->tasks = LSNNI_MIN(lsnni_image_tasks(s->n / s->lanes * p->bands),
                         lsnni_div_up(p->m, lsnni_kernels_of(cx)->rows));
    p->per_task = lsnni_round_up(lsnni_div_up(p->m, p->tasks), lsnni_kernels_of(cx)->rows);
    p->tasks = lsnni_div_up(p->m, p->per_task);
    if (p->pool.on) p->pool.size = lsnni_area(p->per_task * p->band, s->ow * s->lanes);
    room = lsnni_room_times(lsnni_room(p->pool.size, sizeof *p->y), lsnn_ctx_threads(cx));
    if (back)
        room = lsnni_room_add(room, lsnni_room(lsnni_times(weights, (size_t)p->parts),
                                               sizeof *p->y));
    if (p->regions)
        room = lsnni_room_add(room, lsnni_room(lsnni_area(s->k, s->oh) * (size_t)s->ow,
                                               sizeof *p->u));
    LSNNI_TRY(lsnni_lanes_plan(cx, p, s, way, p->chunk, 0, room, &table, &at));
    if (p->regions) {
        p->u = (lsnn_real *)lsnni_cut(&at, lsnni_area(s->k, s->oh) * (size_t)s->ow, sizeof *p->u);
        if (!cx->rehearsal_) lsnni_regions_map(p->regions, p->u);
    }
    p->pool.room = (lsnn_real *)lsnni_cut(&at, p->pool.size * (size_t)lsnn_ctx_threads(cx),
                                          sizeof *p->y);
    if (back) {
        lsnn_real *exchanged = (lsnn_real *)(void *)at;
        for (size_t g = 0; g < (size_t)p->parts; g++)
            lsnni_lanes_exchange(exchanged + g * weights, p->w + g * weights, s);
        p->w = exchanged;
    }
    lsnn_parallel(cx, s->n / s->lanes * p->bands * p->tasks, lsnni_lanes_task, p);
    return LSNN_OK;
}

/* ---- >>dw on blocks ------------------------------------------------------------------
   The gradient of w: a weight (c, r, s) of kernel k is the sum over pixels and lanes of
   dy times x. Strips of dy are turned so that vectors run over the kernels; then it is
   a tile of 8 weights x 3 vectors of kernels, with the pixels and lanes of the strip as
   its depth, and weights whose taps are of one kind share a table of pixels. Bound by
   arithmetic.                                                                */
enum { LSNNI_STRIP = 16 };           /* pixels of a strip, or a row if it is wider */
typedef struct lsnni_lanes_dw {
    const lsnn_window *s;
    lsnni_sums sums;
    lsnni_kinds kinds[2];
    int rows, columns;
    const lsnn_real *x, *dy;
    lsnn_real *turned;
    int32_t *item, *start;           /* weights kind by kind, and where each begins in x */
    int32_t *ka, *kb;                /* a table of pixels for each kind of columns */
    size_t turned_size, table;
} lsnni_lanes_dw;

/* One strip: output rows [y0, y1), columns [x0, x1).                         */
static void lsnni_lanes_dw_strip(const lsnni_lanes_dw *p, const lsnn_real *x,
                                 const lsnn_real *dy, lsnn_real *turned,
                                 const lsnni_slice *slice, const int box[4])
{
    const lsnni_kernels *kv = p->sums.kv;
    const lsnn_window *s = p->s;
    int y0 = box[0], y1 = box[1], x0 = box[2], x1 = box[3];
    int lanes = kv->lanes, kp = p->sums.kp, done = 0;
    size_t plane = lsnni_area(s->oh, s->ow) * (size_t)lanes;
    for (int y = y0, q = 0; y < y1; y++)
        for (int c = x0; c < x1; c++, q++)
            kv->transpose(turned + lsnni_area(q * lanes, kp), (size_t)kp,
                          dy + lsnni_area(y * s->ow + c, lanes), plane, s->k, lanes);
    for (int i = 0; i < p->kinds[0].kinds; i++)
        for (int j = 0; j < p->kinds[1].kinds; j++) {
            const lsnni_reach *r = &p->kinds[0].reach[p->kinds[0].example[i]];
            const lsnni_reach *c = &p->kinds[1].reach[p->kinds[1].example[j]];
            int top = LSNNI_MAX(y0, r->first), bottom = LSNNI_MIN(y1, r->first + r->count);
            int left = LSNNI_MAX(x0, c->first), right = LSNNI_MIN(x1, c->first + c->count);
            int count = s->c * p->kinds[0].members[i] * p->kinds[1].members[j];
            int first = LSNNI_MAX(slice->d0 - done, 0);
            int last = LSNNI_MIN(slice->d1 - done, count);
            ptrdiff_t from = (ptrdiff_t)(top - r->first) * s->stride_h * s->w +
                (ptrdiff_t)(left - c->first) * s->stride_w;
            lsnni_tile t;
            t.ka = p->ka + (size_t)j * p->table;
            t.kb = p->kb + (size_t)j * p->table;
            t.k = (bottom - top) * (right - left) * lanes;
            if (top < bottom && left < right && first < last)
                lsnni_dw_tiles(kv, &t, slice->sum, kp, kp, turned +
                               lsnni_area(((top - y0) * (x1 - x0) + left - x0) * lanes, kp),
                               x + from * lanes, p->start + done + first,
                               p->item + done + first, last - first);
            done += count;
        }
}

static void lsnni_lanes_dw_task(void *user, int task, int worker)
{
    const lsnni_lanes_dw *p = (const lsnni_lanes_dw *)user;
    const lsnn_window *s = p->s;
    lsnni_slice slice = lsnni_sums_slice(&p->sums, task);
    size_t kp = (size_t)p->sums.kp, lanes = (size_t)p->sums.kv->lanes;
    size_t plane = lsnni_area(s->oh, s->ow) * lanes;
    lsnn_real *turned = p->turned + (size_t)worker * p->turned_size;
    int box[4];
    for (int i = slice.d0; p->sums.dw && i < slice.d1; i++)
        memset(slice.sum + (size_t)p->item[i] * kp, 0, kp * sizeof *turned);
    memset(turned, 0, p->turned_size * sizeof *turned);  /* past the last kernel */
    for (int n = slice.n0; n < slice.n1; n++) {
        const lsnn_real *dy = p->dy + lsnni_area(n * s->groups, s->k) * plane;
        const lsnn_real *x = p->x + lsnni_area(n * s->groups, s->c) * lsnni_area(s->h, s->w) *
            lanes;
        lsnni_sums_bias(&p->sums, &slice, n, dy, plane);
        for (box[0] = 0; p->sums.dw && box[0] < s->oh; box[0] += p->rows)
            for (box[2] = 0; box[2] < s->ow; box[2] += p->columns) {
                box[1] = LSNNI_MIN(box[0] + p->rows, s->oh);
                box[3] = LSNNI_MIN(box[2] + p->columns, s->ow);
                lsnni_lanes_dw_strip(p, x, dy, turned, &slice, box);
            }
    }
}

/* The weights of each kind, and the tables of a strip's pixels and lanes.    */
static void lsnni_lanes_dw_tables(lsnni_lanes_dw *p)
{
    const lsnn_window *s = p->s;
    const lsnni_kinds *rows = &p->kinds[0], *columns = &p->kinds[1];
    int n = 0, lanes = p->sums.kv->lanes;
    for (int i = 0; i < rows->kinds; i++)
        for (int j = 0; j < columns->kinds; j++)
            for (int c = 0; c < s->c; c++)
                for (int y = 0; y < s->kernel_h; y++)
                    for (int x = 0; rows->kind[y] == i && x < s->kernel_w; x++)
                        if (columns->kind[x] == j) {
                            p->item[n] = (c * s->kernel_h + y) * s->kernel_w + x;
                            p->start[n++] = ((c * s->h + rows->reach[y].at) * s->w +
                                             columns->reach[x].at) * lanes;
                        }
    for (int j = 0; j < columns->kinds; j++) {           /* one row, or all columns */
        int32_t *ka = p->ka + (size_t)j * p->table, *kb = p->kb + (size_t)j * p->table;
        int wide = p->rows == 1 ? p->columns : columns->reach[columns->example[j]].count;
        for (int y = 0; y < p->rows; y++)
            for (int x = 0; x < wide; x++)
                for (int l = 0; l < lanes; l++) {
                    *ka++ = (y * s->stride_h * s->w + x * s->stride_w) * lanes + l;
                    *kb++ = ((y * p->columns + x) * lanes + l) * p->sums.kp;
                }
    }
}

/* Of a group: see rows_backward_w.                                            */
static lsnn_status lsnni_blocks_backward_w(lsnn_ctx *cx, lsnn_real *dw, lsnn_real *db,
                                          const lsnn_real *dy, const lsnn_real *x,
                                          const lsnn_window *s)
{
    size_t threads = (size_t)lsnn_ctx_threads(cx), tables;
    int strips = lsnni_div_up(s->ow, LSNNI_STRIP), depth;
    lsnni_lanes_dw p;
    lsnni_side side[2];
    lsnni_want want[7], *end = want;
    char *kinds;
    p.s = s; p.x = x; p.dy = dy;
    lsnni_sums_plan(&p.sums, cx, s, s->n / s->lanes, dw, db);
    p.columns = lsnni_div_up(s->ow, strips);
    p.rows = LSNNI_MIN(s->oh, strips > 1 ? 1 : LSNNI_MAX(1, LSNNI_STRIP / s->ow));
    p.table = lsnni_area(p.rows * p.columns, s->lanes);
    p.turned_size = p.table * (size_t)p.sums.kp;
    depth = p.sums.depth;
    tables = lsnni_room_times(p.table, s->kernel_w);
    LSNNI_WANT(&end, kinds, lsnni_kinds_room(s->kernel_h) + lsnni_kinds_room(s->kernel_w));
    LSNNI_WANT(&end, p.item, (size_t)depth);
    LSNNI_WANT(&end, p.start, (size_t)depth);
    LSNNI_WANT(&end, p.ka, tables);
    LSNNI_WANT(&end, p.kb, tables);
    LSNNI_WANT(&end, p.sums.sum, lsnni_times(p.sums.size, (size_t)p.sums.parts));
    LSNNI_WANT(&end, p.turned, lsnni_times(p.turned_size, threads));
    LSNNI_TRY(lsnni_take(cx, want, end));
    lsnni_sides(side, s);
    lsnni_kinds_fill(&p.kinds[0], &kinds, &side[0], LSNNI_TO_W, s->kernel_h);
    lsnni_kinds_fill(&p.kinds[1], &kinds, &side[1], LSNNI_TO_W, s->kernel_w);
    lsnni_lanes_dw_tables(&p);
    lsnn_parallel(cx, p.sums.parts * p.sums.ranges, lsnni_lanes_dw_task, &p);
    lsnni_sums_add(cx, &p.sums);
    return LSNN_OK;
}

static lsnn_status lsnni_blocks_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                       const lsnn_real *w, const lsnn_real *b,
                                       const lsnn_window *s, const lsnni_pooled *pool)
{
    lsnni_lanes p;
    p.x = x; p.w = w; p.bias = b; p.y = y; p.add = 0;
    p.regions = NULL;
    p.pool = *pool;
    return lsnni_lanes_run(cx, &p, s, LSNNI_FORWARD);
}

static lsnn_status lsnni_blocks_backward_x(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                          const lsnn_real *w, const lsnn_window *s, int add)
{
    lsnni_lanes p;
    p.x = dy; p.w = w; p.bias = NULL; p.y = dx; p.add = add;
    p.regions = NULL;
    memset(&p.pool, 0, sizeof p.pool);
    return lsnni_lanes_run(cx, &p, s, LSNNI_TO_X);
}

/* ---- >>few: dw where a group has few kernels (depthwise: one), in both layouts -------
   Each weight is a sum of products of rows: those of dy, and of x as far as the weight's tap
   meets it. A task a kernel. Bound by reading the rows, C/G*kh*kw times.     */
typedef struct lsnni_few {
    const lsnni_kernels *kv;
    const lsnn_window *s;
    const lsnn_real *x, *dy;
    lsnn_real *dw, *db, *sums;
    lsnni_kinds kinds[2];            /* what the kernel's rows and columns meet */
    size_t lanes, row;               /* row: numbers of a row of dy           */
} lsnni_few;

/* sum += a row of dy by those pixels of x that meet it: along the row, or where they are apart
   pixel by pixel, onto the first one's place.                                */
static void lsnni_few_row(const lsnni_few *p, lsnn_real *sum, const lsnn_real *dy,
                          const lsnn_real *x, int count)
{
    size_t step = (size_t)p->s->stride_w, lanes = p->lanes;
    if (step == 1) p->kv->multiply(sum, dy, x, (size_t)count * lanes, LSNN_ADD);
    else if (lanes == 1)
        for (size_t i = 0; i < (size_t)count; i++) sum[i] += dy[i] * x[i * step];
    else
        for (size_t i = 0; i < (size_t)count; i++)
            p->kv->multiply(sum, dy + i * lanes, x + i * step * lanes, lanes, LSNN_ADD);
}

/* The gradient of tap (u, v), from one map of dy and one of x.                */
static double lsnni_few_tap(const lsnni_few *p, lsnn_real *sum, const lsnn_real *dy,
                            const lsnn_real *x, int u, int v)
{
    const lsnni_reach *r = &p->kinds[0].reach[u], *q = &p->kinds[1].reach[v];
    memset(sum, 0, p->row * sizeof *sum);
    for (int i = 0; i < r->count; i++)
        lsnni_few_row(p, sum, dy + (lsnni_area(r->first + i, p->s->ow) + (size_t)q->first) *
                                   p->lanes,
                      x + (lsnni_area(r->at + i * p->s->stride_h, p->s->w) + (size_t)q->at) *
                          p->lanes, q->count);
    return p->kv->sum(sum, p->row);
}

static void lsnni_few_task(void *user, int k, int worker)
{
    const lsnni_few *p = (const lsnni_few *)user;
    const lsnn_window *s = p->s;
    int channels = s->c / s->groups, first = k / (s->k / s->groups) * channels;
    size_t in = lsnni_area(s->h, s->w) * p->lanes, out = lsnni_area(s->oh, s->ow) * p->lanes;
    lsnn_real *dw = p->dw ? p->dw + lsnni_area(k, lsnni_depth(s)) : NULL;
    lsnn_real *sum = p->sums + (size_t)worker * p->row;
    for (int n = 0; n < s->n / (int)p->lanes; n++) {
        const lsnn_real *dy = p->dy + lsnni_at2(n, k, s->k) * out;
        if (p->db) p->db[k] += LSNNI_R(p->kv->sum(dy, out));
        for (int d = 0; d < (dw ? lsnni_depth(s) : 0); d++) {
            int c = d / (s->kernel_h * s->kernel_w);
            dw[d] += LSNNI_R(lsnni_few_tap(p, sum, dy, p->x + lsnni_at2(n, first + c, s->c) * in,
                                           d / s->kernel_w % s->kernel_h, d % s->kernel_w));
        }
    }
}

static lsnn_status lsnni_few_backward_w(lsnn_ctx *cx, lsnn_real *dw, lsnn_real *db,
                                        const lsnn_real *dy, const lsnn_real *x,
                                        const lsnn_window *s)
{
    lsnni_few p;
    lsnni_side side[2];
    lsnni_want want[2], *end = want;
    char *kinds;
    p.lanes = s->lanes > 1 ? (size_t)s->lanes : 1;
    p.row = (size_t)s->ow * p.lanes;
    LSNNI_WANT(&end, kinds, lsnni_kinds_room(s->kernel_h) + lsnni_kinds_room(s->kernel_w));
    LSNNI_WANT(&end, p.sums, lsnni_times(p.row, (size_t)lsnn_ctx_threads(cx)));
    LSNNI_TRY(lsnni_take(cx, want, end));
    lsnni_sides(side, s);
    lsnni_kinds_fill(&p.kinds[0], &kinds, &side[0], LSNNI_TO_W, s->kernel_h);
    lsnni_kinds_fill(&p.kinds[1], &kinds, &side[1], LSNNI_TO_W, s->kernel_w);
    p.kv = lsnni_kernels_of(cx);
    p.s = s; p.x = x; p.dy = dy; p.dw = dw; p.db = db;
    lsnn_parallel(cx, s->k, lsnni_few_task, &p);
    return LSNN_OK;
}
