#ifndef LSNN_NAIVE
/* ---- The fast pair of >>target2d ----------------------------------------------------------
   In blocks of images a region costs its pixels and no more. Forward: the kernels that a
   pixel has; dx: all maps of a pixel, see lsnni_mesh; dw (target_dw.h): see
   lsnni_correlation. Plain arrays, and regions that are nearly everything, take the whole
   convolution, times U or 0.
   Bound by arithmetic where a pixel has 4 kernels or more; by reading x and writing dx where it
   has one or none. Of the whole convolution's speed, a multiply-add: results/target-bench.txt. */
enum { LSNNI_TARGET_TASKS = 32,      /* about: of pixels                       */
       LSNNI_TARGET_STEPS = 450,     /* forward: taps of a pixel in all blocks, about: their x */
                                     /*   stays in the first-level cache      */
       LSNNI_TARGET_BLOCKS = 4,      /*   blocks of a task, at most            */
       LSNNI_TARGET_LIST = 96,       /* dx: steps of a mesh, whose dz stays in the first-level */
                                     /*   cache                               */
       LSNNI_TARGET_STRIP = 64,      /*   pixels of a strip, at most,          */
       LSNNI_TARGET_LISTS = 1024,    /*   their steps, about,                  */
       LSNNI_TARGET_ROWS = 4,        /*   and its maps at once                 */
       LSNNI_TARGET_PANEL = 16,      /*   maps whose weights are neighbours: a line of a cache */
       LSNNI_TARGET_PACK = 1 << 17 };/* dw: numbers of x that a task works on, about: they */
                                     /*   stay in the second-level cache      */
typedef struct lsnni_target {
    lsnni_regions r;
    lsnni_lanes g;                   /* the whole convolution, and kernels    */
    const lsnn_real *x, *w, *b, *dy, *y_read;
    lsnn_real *y, *dx, *dz, *dw, *db, *gy, *gx;
    int blocks, per_task, ranges, add;
    int wide, some;                  /* of a task: maps at once, blocks        */
    size_t packed;                   /* a worker's numbers: dw                */
    lsnni_kinds kinds[2];            /* FORWARD, or TO_X                       */
    int packs_all;                   /* dw: x is copied as a whole            */
    ptrdiff_t *rows;                 /*   where each map and kernel row begins in the copy, and */
                                     /*   in x                                */
    int32_t *room;                   /* a worker's tables: of w, of dz, of kernels */
    char *meshes;                    /* a worker's                            */
    int whole;                       /* dw: of whole maps, whose pixels, and places in x, are: */
    int32_t *all, *all_at;
    lsnn_real *numbers;              /* a worker's U and S of a region, or part of x */
    lsnn_real *turned;               /* w as panels of maps, K, taps, maps    */
} lsnni_target;

/* A worker's mesh of `rows` rows at most.                                      */
static size_t lsnni_target_mesh_room(int rows)
{
    size_t n = (size_t)rows;
    return lsnni_room(n, sizeof(lsnn_real *)) * 3 + lsnni_room(n, sizeof(lsnn_real)) * 2;
}
static lsnni_mesh lsnni_target_mesh(char *at, int rows, int lanes)
{
    lsnni_mesh g;
    memset(&g, 0, sizeof g);
    g.a = (const lsnn_real **)lsnni_cut(&at, (size_t)rows, sizeof *g.a);
    g.c = (lsnn_real **)lsnni_cut(&at, 2 * (size_t)rows, sizeof *g.c);
    g.of_bias = (lsnn_real *)lsnni_cut(&at, (size_t)rows, sizeof *g.of_bias);
    g.of_scale = (lsnn_real *)lsnni_cut(&at, (size_t)rows, sizeof *g.of_scale);
    g.lanes = lanes;
    return g;
}

/* A mesh; the vectors beyond fours by tiles.                                   */
static void lsnni_target_tiles(const lsnni_kernels *kv, const lsnni_mesh *g)
{
    lsnn_real scale[LSNNI_MAX_ROWS * LSNNI_MAX_VECTORS];
    int first = g->vectors / 4 * 4, left = g->vectors - first;
    lsnni_tile t;
    kv->mesh(g);
    if (!left) return;
    t.ka = g->ka;
    t.kb = g->kb;
    t.k = g->k;
    t.add = g->add;
    t.vectors = left;
    t.scale = g->scale ? scale : NULL;
    for (int v = 0; v < left; v++) {
        t.b[v] = g->b + (first + v) * g->step;
        t.at[v] = g->at + (first + v) * g->c_step;
        t.lanes[v] = g->lanes;
    }
    for (int r = 0; r < g->rows; r += t.rows) {
        t.rows = LSNNI_MIN(kv->rows, g->rows - r);
        t.bias = g->scale ? g->bias + r : NULL;
        for (int m = 0; m < kv->rows; m++) {
            int row = r + LSNNI_MIN(m, t.rows - 1);
            t.a[m] = g->a[row];
            t.c[m] = g->c[row];
            for (int v = 0; v < LSNNI_MAX_VECTORS && g->scale; v++)
                scale[LSNNI_MAX_VECTORS * m + v] = g->scale[row];
        }
        kv->tile(&t);
    }
}

/* ---- Forward: some blocks and a range of pixels a task, maps by chunks. A mesh is the kernels
   that a pixel has in a few blocks: so a region costs what it holds, and x comes from the
   first-level cache for all kernels but the first.                            */
/* A pixel's kernels over `maps` maps of x, from number c on.                   */
static void lsnni_target_pixel(const lsnni_target *p, lsnni_mesh *t, int pixel, int c, int maps)
{
    const lsnni_regions *r = &p->r;
    const lsnn_window *s = r->s;
    const lsnni_kinds *rows = &p->g.kinds[0], *columns = &p->g.kinds[1];
    int i = pixel / s->ow, j = pixel % s->ow, last = c + maps >= s->c;
    const lsnni_cell *g = p->g.cell + rows->kind[i] * columns->kinds + columns->kind[j];
    const int32_t *kernel = r->kernel + r->first_kernel[pixel];
    size_t lanes = (size_t)s->lanes, area = lsnni_area(s->oh, s->ow);
    t->rows = r->first_kernel[pixel + 1] - r->first_kernel[pixel];
    t->b = p->x + lsnni_at2(c, rows->reach[i].at * s->w + columns->reach[j].at, s->h * s->w) *
        lanes;
    t->at = (ptrdiff_t)((size_t)pixel * lanes);
    t->ka = g->ka;
    t->kb = g->kb;
    t->k = g->taps * maps;
    t->add = c > 0;
    t->bias = t->of_bias;
    t->scale = last ? t->of_scale : NULL;
    for (int m = 0; m < t->rows; m++) {
        size_t k = (size_t)kernel[m];
        t->a[m] = p->w + (k * (size_t)s->c + (size_t)c) * p->g.taps;
        t->c[m] = p->y + k * area * lanes;
        t->of_bias[m] = p->b ? p->b[k] : 0;
        if (last) t->of_scale[m] = r->t->fy[k * (size_t)s->oh + (size_t)i] *
                                   r->t->fx[k * (size_t)s->ow + (size_t)j];
    }
    if (t->rows) lsnni_target_tiles(p->g.kv, t);
}

/* The first pixel of range number `range`: with about as many places before it as any. */
static int lsnni_target_range(const lsnni_target *p, int range)
{
    int area = p->r.s->oh * p->r.s->ow, q = 0;
    int places = (int)((double)p->r.head[0] * range / p->ranges);
    while (q < area && p->r.first_kernel[q] < places) q++;
    return range == p->ranges ? area : q;
}

static void lsnni_target_task(void *user, int task, int worker)
{
    const lsnni_target *p = (const lsnni_target *)user;
    const lsnn_window *s = p->r.s;
    size_t image = lsnni_area(s->h, s->w) * (size_t)s->c, out = lsnni_area(s->oh, s->ow);
    int first = lsnni_target_range(p, task % p->ranges), n = task / p->ranges * p->some;
    int end = lsnni_target_range(p, task % p->ranges + 1);
    lsnni_target q = *p;
    lsnni_mesh t = lsnni_target_mesh(p->meshes + (size_t)worker * lsnni_target_mesh_room(s->k),
                                     s->k, s->lanes);
    q.x += lsnni_area(n, s->lanes) * image;
    q.y += lsnni_area(n, s->lanes) * out * (size_t)s->k;
    t.vectors = LSNNI_MIN(p->some, p->blocks - n);
    t.step = (ptrdiff_t)(image * (size_t)s->lanes);
    t.c_step = (ptrdiff_t)(out * lsnni_area(s->k, s->lanes));
    for (int c = 0; c < s->c; c += p->wide)
        for (int i = first; i < end; i++)
            lsnni_target_pixel(&q, &t, i, c, LSNNI_MIN(p->wide, s->c - c));
}

static lsnn_status lsnni_target_blocks_forward(lsnn_ctx *cx, lsnni_target *p)
{
    const lsnn_window *s = p->r.s;
    size_t room = lsnni_times(lsnni_target_mesh_room(s->k), (size_t)lsnn_ctx_threads(cx)), table;
    int groups = lsnni_div_up(p->blocks, LSNNI_TARGET_BLOCKS);
    p->some = LSNNI_MIN(LSNNI_TARGET_BLOCKS, p->blocks);
    p->wide = LSNNI_TARGET_STEPS / (p->some * s->kernel_h * s->kernel_w);
    p->wide = LSNNI_MIN(LSNNI_MAX(p->wide, 1), s->c);
    p->ranges = LSNNI_MIN(lsnni_div_up(LSNNI_TARGET_TASKS, groups), s->oh * s->ow);
    LSNNI_TRY(lsnni_lanes_plan(cx, &p->g, s, LSNNI_FORWARD, p->wide, 0, room, &table,
                               &p->meshes));
    lsnn_parallel(cx, groups * p->ranges, lsnni_target_task, p);
    return LSNN_OK;
}

static lsnn_status lsnni_target_init(lsnn_ctx *cx, lsnni_target *p, const lsnn_target *t,
                                     const lsnn_window *s)
{
    memset(p, 0, sizeof *p);
    LSNNI_TRY(lsnni_target_check(cx, s));
    lsnni_regions_of(&p->r, t->plan, s);
    p->r.t = t;
    p->g.kv = lsnni_kernels_of(cx);
    if (s->lanes < 2) return LSNN_OK;
    LSNNI_TRY(lsnni_lanes_check(cx, "target2d", s));
    p->blocks = s->n / s->lanes;
    return LSNN_OK;
}

/* Plain arrays: map number `map` of all images' y times U, or 0 outside.       */
static void lsnni_target_window_task(void *user, int map, int worker)
{
    const lsnni_target *p = (const lsnni_target *)user;
    const lsnn_window *s = p->r.s;
    int k = map % s->k;
    (void)worker;
    for (int i = 0; i < s->oh; i++) {
        const int32_t *place = p->r.place + lsnni_at3(k, i, s->oh, 0, s->ow);
        const lsnn_real *fx = p->r.t->fx + lsnni_area(k, s->ow);
        lsnn_real fy = p->r.t->fy[lsnni_at2(k, i, s->oh)];
        lsnn_real *y = p->y + lsnni_at3(map, i, s->oh, 0, s->ow);
        for (int j = 0; j < s->ow; j++) y[j] = place[j] < 0 ? 0 : y[j] * (fy * fx[j]);
    }
}

LSNN_API lsnn_status lsnn_target2d_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                           const lsnn_real *w, const lsnn_real *b,
                                           const lsnn_target *t, const lsnn_window *s)
{
    lsnni_target p;
    LSNNI_TRY(lsnni_target_init(cx, &p, t, s));
    p.x = p.g.x = x; p.w = p.g.w = w; p.b = p.g.bias = b; p.y = p.g.y = y;
    if (!p.blocks) {
        LSNNI_TRY(lsnn_conv2d_forward(cx, y, x, w, b, s));
        lsnn_parallel(cx, s->n * s->k, lsnni_target_window_task, &p);
        return LSNN_OK;
    }
    if (p.r.head[1] || cx->rehearsal_) {
        p.g.regions = &p.r;
        LSNNI_TRY(lsnni_lanes_run(cx, &p.g, s, LSNNI_FORWARD));
        if (!cx->rehearsal_) return LSNN_OK;
    }
    return lsnni_target_blocks_forward(cx, &p);
}

/* ---- dz, db, and what fy and fx get: a kernel a task.                         */
/* A worker's tables: the lists of dx, or the places of dw.                     */
static size_t lsnni_target_ints_of(const lsnn_window *s)
{
    size_t taps = lsnni_area(s->kernel_h, s->kernel_w);
    size_t lists = 2 * (LSNNI_TARGET_LISTS + LSNNI_TARGET_LIST + taps) + (size_t)s->k +
        2 * LSNNI_TARGET_STRIP + 1;
    return LSNNI_MAX(lists, lsnni_area(s->oh, s->ow) + 1);
}

/* A worker's numbers: U and S of a region.                                     */
static size_t lsnni_target_numbers(const lsnn_window *s)
{
    size_t region = (size_t)lsnni_round_up(2 * s->oh * s->ow + LSNNI_MAX_LANES, LSNNI_MAX_LANES);
    return LSNNI_MAX(region, lsnni_area(s->c, s->n));
}

static void lsnni_target_behind_task(void *user, int k, int worker)
{
    const lsnni_target *p = (const lsnni_target *)user;
    const lsnni_regions *r = &p->r;
    const lsnn_window *s = r->s;
    size_t area = lsnni_area(s->oh, s->ow), lanes = (size_t)s->lanes;
    int first = r->start[k], count = r->start[k + 1] - first;
    lsnn_real *u = p->numbers + lsnni_target_numbers(s) * (size_t)worker;
    lsnni_behind g;
    double sum;
    for (int e = 0; e < count; e++) u[e] = lsnni_target_u(r, k, r->pixel[first + e]);
    g.dz = p->dz + lsnni_area(first, s->n);
    g.s = u + area;
    g.dy = p->dy + (size_t)k * area * lanes;
    g.y = p->y_read + (size_t)k * area * lanes;
    g.u = u;
    g.pixel = r->pixel + first;
    g.step = (ptrdiff_t)(lsnni_area(s->k, 1) * area * lanes);
    g.dz_step = s->n;
    g.dz_block = s->lanes;
    g.count = count;
    g.blocks = p->blocks;
    sum = p->g.kv->behind(&g);
    if (p->db) p->db[k] += LSNNI_R(sum);
    if (!p->gy) return;
    for (int e = 0; e < count; e++) {
        int pixel = r->pixel[first + e];
        p->gy[lsnni_at2(k, pixel / s->ow, s->oh)] += g.s[e];
        p->gx[lsnni_at2(k, pixel % s->ow, s->ow)] += g.s[e];
    }
}

/* ---- dx: a pixel of x meets the places that read it, one list for all its maps. */
typedef struct lsnni_target_list {
    int32_t *ka, *kb;                /* places in w turned, in dz             */
    int32_t *kernel;                 /* of those with a region in these rows  */
    int32_t *pixels, *first;         /* of the strip: its pixels, and where their lists begin */
    int kernels, strip;              /* strip: how many pixels                */
    lsnni_mesh g;                    /* to the sums of a list that is too long for one, or to dx: */
    lsnn_real *sum, **sums, **dx;    /* the rows of either                    */
    ptrdiff_t pixel;
} lsnni_target_list;

/* All maps, panel by panel; the next one's weights are on their way meanwhile. */
static void lsnni_target_panels(const lsnni_target *p, const lsnni_mesh *all)
{
    const lsnn_window *s = p->r.s;
    lsnni_mesh g = *all;
    for (int c = 0; c < s->c; c += LSNNI_TARGET_PANEL) {
        g.rows = LSNNI_MIN(s->c - c, LSNNI_TARGET_PANEL);
        g.a = all->a + c;
        g.c = all->c + c;
        for (int i = 0; i < g.k && c + LSNNI_TARGET_PANEL < s->c; i++)
            LSNNI_FETCH_TO_READ(g.a[LSNNI_TARGET_PANEL] + g.ka[i]);
        lsnni_target_tiles(p->g.kv, &g);
    }
}

/* The strip's pixels, a few maps after the others: so dx is written along its rows, which the
   memory takes twice as fast as pixels of all maps in turn.                    */
static void lsnni_target_strip(const lsnni_target *p, lsnni_target_list *list)
{
    const lsnn_window *s = p->r.s;
    lsnni_mesh g = list->g;
    g.add = p->add;
    g.c_step = (ptrdiff_t)(lsnni_area(s->h, s->w) * lsnni_area(s->c, s->lanes));
    for (int c = 0; c < s->c; c += LSNNI_TARGET_ROWS) {
        g.rows = LSNNI_MIN(s->c - c, LSNNI_TARGET_ROWS);
        g.a = list->g.a + c;
        g.c = list->dx + c;
        for (int i = 0; i < list->strip; i++) {
            g.at = (ptrdiff_t)list->pixels[i] * s->lanes;
            g.ka = list->ka + list->first[i];
            g.kb = list->kb + list->first[i];
            g.k = list->first[i + 1] - list->first[i];
            if (g.k || !g.add) lsnni_target_tiles(p->g.kv, &g);
        }
    }
    list->strip = 0;
}

/* A pixel's sums over the list, all maps and blocks; last: there is no more to come. */
static void lsnni_target_flush(const lsnni_target *p, lsnni_target_list *list, int last)
{
    lsnni_mesh *g = &list->g;
    const lsnn_window *s = p->r.s;
    int straight = last && g->c == list->dx;
    if (!straight && g->c == list->dx) g->add = 0;
    g->c = straight ? list->dx : list->sums;
    g->at = straight ? list->pixel : 0;
    g->c_step = straight ? (ptrdiff_t)(lsnni_area(s->h, s->w) * lsnni_area(s->c, s->lanes))
                         : s->lanes;
    if (g->k || !straight || !g->add) lsnni_target_panels(p, g);
    g->add = 1;
    g->k = 0;
    if (!last || straight) return;
    for (int c = 0; c < s->c; c++)
        for (int n = 0; n < p->blocks; n++) {
            const lsnn_real *from = list->sums[c] + n * s->lanes;
            lsnn_real *to = list->dx[c] + list->pixel +
                (size_t)n * lsnni_area(s->h, s->w) * lsnni_area(s->c, s->lanes);
            if (p->add) for (int l = 0; l < s->lanes; l++) to[l] += from[l];
            else memcpy(to, from, (size_t)s->lanes * sizeof *to);
        }
}

/* The places of kernel k that read a pixel of x in these rows and columns.     */
static void lsnni_target_meet(const lsnni_target *p, lsnni_target_list *list, int k,
                              const lsnni_reach *row, const lsnni_reach *column)
{
    const lsnni_regions *r = &p->r;
    const lsnn_window *s = r->s;
    const int32_t *box = r->box + 4 * k;
    int32_t *ka = list->ka + list->first[list->strip], *kb = list->kb + list->first[list->strip];
    int i1 = LSNNI_MIN(box[1], row->at + row->count);
    int j0 = LSNNI_MAX(box[2], column->at), j1 = LSNNI_MIN(box[3], column->at + column->count);
    for (int i = LSNNI_MAX(box[0], row->at); i < i1; i++) {
        const int32_t *place = r->place + lsnni_at3(k, i, s->oh, 0, s->ow);
        int u = row->first - (i - row->at) * s->stride_h;
        int v = column->first - (j0 - column->at) * s->stride_w;
        int32_t at = ((k * s->kernel_h + u) * s->kernel_w + v) * LSNNI_TARGET_PANEL;
        for (int j = j0; j < j1; j++, at -= s->stride_w * LSNNI_TARGET_PANEL) {
            if (place[j] < 0) continue;
            ka[list->g.k] = at;
            kb[list->g.k++] = place[j] * s->n;
        }
    }
}

/* Kernel k's weights to their panels.                                          */
static void lsnni_target_turn_task(void *user, int k, int worker)
{
    const lsnni_target *p = (const lsnni_target *)user;
    const lsnn_window *s = p->r.s;
    int taps = s->kernel_h * s->kernel_w;
    (void)worker;
    for (int c = 0; c < s->c; c += LSNNI_TARGET_PANEL)
        p->g.kv->transpose(p->turned + lsnni_at2(c / LSNNI_TARGET_PANEL, k, s->k) *
                           lsnni_area(taps, LSNNI_TARGET_PANEL), LSNNI_TARGET_PANEL,
                           p->w + lsnni_at3(k, c, s->c, 0, taps), (size_t)taps,
                           LSNNI_MIN(LSNNI_TARGET_PANEL, s->c - c), taps);
}

/* Row i of x, columns [j, end).                                                */
static void lsnni_target_dx_row(const lsnni_target *p, lsnni_target_list *list, int i, int j,
                                int end)
{
    const lsnn_window *s = p->r.s;
    const lsnni_reach *row = &p->kinds[0].reach[i];
    list->kernels = 0;
    for (int k = 0; k < s->k; k++)
        if (p->r.box[4 * k] < row->at + row->count && p->r.box[4 * k + 1] > row->at)
            list->kernel[list->kernels++] = k;
    for (; j < end; j++) {
        const lsnni_reach *column = &p->kinds[1].reach[j];
        int32_t *first = list->first + list->strip;
        list->pixel = (ptrdiff_t)(i * s->w + j) * s->lanes;
        list->g.ka = list->ka + *first;
        list->g.kb = list->kb + *first;
        list->g.c = list->dx;
        list->g.add = p->add;
        list->g.k = 0;
        for (int m = 0; m < list->kernels; m++) {
            lsnni_target_meet(p, list, list->kernel[m], row, column);
            if (list->g.k >= LSNNI_TARGET_LIST) lsnni_target_flush(p, list, 0);
        }
        if (list->g.c != list->dx) {
            lsnni_target_flush(p, list, 1);
            continue;
        }
        list->pixels[list->strip++] = i * s->w + j;
        first[1] = first[0] + list->g.k;
        if (list->strip == LSNNI_TARGET_STRIP || first[1] >= LSNNI_TARGET_LISTS)
            lsnni_target_strip(p, list);
    }
}

static void lsnni_target_dx_task(void *user, int task, int worker)
{
    const lsnni_target *p = (const lsnni_target *)user;
    const lsnn_window *s = p->r.s;
    int q = task * p->per_task, end = LSNNI_MIN(q + p->per_task, s->h * s->w);
    int taps = s->kernel_h * s->kernel_w;
    size_t map = lsnni_area(s->h, s->w) * (size_t)s->lanes;
    lsnni_target_list list;
    list.ka = p->room + (size_t)worker * lsnni_target_ints_of(s);
    list.kb = list.ka + LSNNI_TARGET_LISTS + LSNNI_TARGET_LIST + taps;
    list.pixels = list.kb + LSNNI_TARGET_LISTS + LSNNI_TARGET_LIST + taps;
    list.first = list.pixels + LSNNI_TARGET_STRIP;
    list.kernel = list.first + LSNNI_TARGET_STRIP + 1;
    list.first[0] = list.strip = 0;
    list.g = lsnni_target_mesh(p->meshes + (size_t)worker * lsnni_target_mesh_room(s->c), s->c,
                               s->lanes);
    list.g.b = p->dz;
    list.g.vectors = p->blocks;
    list.g.step = s->lanes;
    list.dx = list.g.c;
    list.sum = p->numbers + (size_t)worker * lsnni_target_numbers(s);
    list.sums = list.dx + s->c;
    for (int c = 0; c < s->c; c++) {
        list.g.a[c] = p->turned + lsnni_area(c / LSNNI_TARGET_PANEL * s->k, taps) *
            LSNNI_TARGET_PANEL + c % LSNNI_TARGET_PANEL;
        list.dx[c] = p->dx + (size_t)c * map;
        list.sums[c] = list.sum + lsnni_area(c, s->n);
    }
    for (int past; q < end; q = past) {
        past = LSNNI_MIN(end, (q / s->w + 1) * s->w);
        lsnni_target_dx_row(p, &list, q / s->w, q % s->w, q % s->w + past - q);
    }
    lsnni_target_strip(p, &list);
}

#endif /* LSNN_NAIVE */
