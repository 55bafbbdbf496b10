#ifndef LSNN_NAIVE
/* ---- dw: for some maps and a range of kernels. A kernel that meets padding reads a copy of x
   with it, so that each place meets all taps, and a kernel's places are one list; the others
   read x where it lies. Of few kernels, only what they meet is copied.         */
static int lsnni_target_wide(const lsnn_window *s)       /* pixels of a padded row */
{
    return (s->ow - 1) * s->stride_w + s->kernel_w;
}
/* Numbers from map to map: odd vectors, for a power of two has few places in a cache. */
static size_t lsnni_target_pitch(const lsnn_window *s)
{
    size_t high = (size_t)((s->oh - 1) * s->stride_h + s->kernel_h);
    return (high * (size_t)lsnni_target_wide(s) | 1) * (size_t)s->lanes;
}

/* Whether the region in `box` meets padding; cut: what it reads of x with padding, rows [0, 1)
   and columns [2, 3).                                                         */
static int lsnni_target_pads(int cut[4], const lsnn_window *s, const int32_t box[4])
{
    cut[0] = box[0] * s->stride_h;
    cut[1] = (box[1] - 1) * s->stride_h + s->kernel_h;
    cut[2] = box[2] * s->stride_w;
    cut[3] = (box[3] - 1) * s->stride_w + s->kernel_w;
    return cut[0] < s->pad_top || cut[1] > s->pad_top + s->h || cut[2] < s->pad_left ||
        cut[3] > s->pad_left + s->w;
}

/* A row of x with its padding, columns [j0, j1). x: NULL above and below the image. */
static void lsnni_target_pack_row(lsnn_real *to, const lsnn_real *x, const lsnn_window *s, int j0,
                                  int j1)
{
    int left = LSNNI_MIN(LSNNI_MAX(s->pad_left, j0), j1);
    int right = LSNNI_MAX(LSNNI_MIN(s->pad_left + s->w, j1), left);
    size_t pixel = (size_t)s->lanes * sizeof *to;
    if (!x) left = right = j1;
    memset(to, 0, (size_t)(left - j0) * pixel);
    if (right > left)
        memcpy(to + (left - j0) * s->lanes, x + (left - s->pad_left) * s->lanes,
               (size_t)(right - left) * pixel);
    memset(to + (right - j0) * s->lanes, 0, (size_t)(j1 - right) * pixel);
}

/* What `cut` says of maps [c0, c0 + maps) of `blocks` blocks of x from n0 on.   */
static void lsnni_target_pack(const lsnni_target *p, lsnn_real *to, int n0, int blocks, int c0,
                              int maps, const int cut[4])
{
    const lsnn_window *s = p->r.s;
    size_t pitch = lsnni_target_pitch(s);
    for (int n = 0; n < blocks; n++)
        for (int m = 0; m < maps; m++) {
            lsnn_real *map = to + lsnni_area(n, p->wide) * pitch + (size_t)m * pitch;
            const lsnn_real *x = p->x + lsnni_at3(n0 + n, c0 + m, s->c, 0, s->h) *
                lsnni_area(s->w, s->lanes);
            for (int i = cut[0]; i < cut[1]; i++)
                lsnni_target_pack_row(map + lsnni_at2(i, cut[2], lsnni_target_wide(s)) *
                                      (size_t)s->lanes, i < s->pad_top || i >= s->pad_top + s->h ?
                                      NULL : x + lsnni_area(i - s->pad_top, s->w) *
                                      (size_t)s->lanes, s, cut[2], cut[3]);
        }
}

/* Whether all of x is copied at once: where that is less than each kernel's part. */
static int lsnni_target_packs_all(const lsnni_target *p)
{
    const lsnn_window *s = p->r.s;
    double parts = 0;
    int cut[4];
    for (int k = 0; k < s->k; k++)
        if (p->r.start[k + 1] > p->r.start[k] && lsnni_target_pads(cut, s, p->r.box + 4 * k))
            parts += (double)(cut[1] - cut[0]) * (cut[3] - cut[2]);
    return parts > (double)s->h * s->w;
}

/* A place's first tap where x lies: if padding is before it, then before x, but nobody who meets
   padding reads there.                                                        */
static void lsnni_target_places(const lsnni_target *p, int32_t *at, int first, int count)
{
    const lsnn_window *s = p->r.s;
    for (int e = 0; e < count; e++) {
        int pixel = p->r.pixel[first + e];
        at[e] = (pixel / s->ow * s->stride_h - s->pad_top) * s->w +
            pixel % s->ow * s->stride_w - s->pad_left;
    }
}

static void lsnni_target_dw_task(void *user, int task, int worker)
{
    const lsnni_target *p = (const lsnni_target *)user;
    const lsnn_window *s = p->r.s;
    int c0 = task / p->ranges * p->wide, maps = LSNNI_MIN(p->wide, s->c - c0), cut[4];
    int range = task % p->ranges, pieces = lsnni_div_up(s->kernel_w, LSNNI_TAPS_WIDE);
    lsnn_real *packed = p->numbers + (size_t)worker * p->packed;
    int32_t *places = p->room + (size_t)worker * lsnni_target_ints_of(s);
    const int32_t everything[4] = { 0, s->oh, 0, s->ow };
    size_t area = lsnni_area(s->oh, s->ow), image = lsnni_area(s->h, s->w) * (size_t)s->lanes;
    lsnni_correlation g;
    g.rows = maps * s->kernel_h;
    g.dy_step = p->whole ? s->lanes : s->n;
    g.dy_block = p->whole ? (ptrdiff_t)(lsnni_area(s->k, s->lanes) * area) : s->lanes;
    g.dw_row = s->kernel_w;
    for (int n = 0; n < p->blocks; n += p->some) {
        g.blocks = LSNNI_MIN(p->some, p->blocks - n);
        lsnni_target_pads(cut, s, everything);
        if (p->packs_all) lsnni_target_pack(p, packed, n, g.blocks, c0, maps, cut);
        for (int k = s->k * range / p->ranges; k < s->k * (range + 1) / p->ranges; k++) {
            int first = p->r.start[k], copied = p->packs_all;
            g.count = p->whole ? (int)area : p->r.start[k + 1] - first;
            if (!g.count) continue;
            g.dy = p->dz + (p->whole ? lsnni_at2(n, k, s->k) * area * (size_t)s->lanes
                            : lsnni_area(first, s->n) + (size_t)n * (size_t)s->lanes);
            if (!copied && lsnni_target_pads(cut, s, p->r.box + 4 * k)) {
                lsnni_target_pack(p, packed, n, g.blocks, c0, maps, cut);
                copied = 1;
            }
            if (!copied) lsnni_target_places(p, places, first, g.count);
            g.at = !copied ? places : p->whole ? p->all_at : p->r.at + first;
            g.row = copied ? p->rows : p->rows + lsnni_area(p->wide, s->kernel_h);
            g.x_step = (ptrdiff_t)(copied ? (size_t)p->wide * lsnni_target_pitch(s)
                                   : image * (size_t)s->c);
            for (int i = 0; i < pieces; i++) {
                int v = s->kernel_w * i / pieces;
                g.taps = s->kernel_w * (i + 1) / pieces - v;
                g.x = (copied ? packed : p->x + lsnni_at2(n, c0, s->c) * image) + v * s->lanes;
                g.dw = p->dw + lsnni_at4(k, c0, s->c, 0, s->kernel_h, v, s->kernel_w);
                p->g.kv->correlate(&g);
            }
        }
    }
}

/* Tasks of a few maps and a range of kernels; blocks at once, so that their maps of x stay in
   the second-level cache.                                                     */
static void lsnni_target_dw_sizes(lsnni_target *p)
{
    const lsnn_window *s = p->r.s;
    size_t pitch = lsnni_target_pitch(s);
    int tasks;
    p->wide = LSNNI_MIN(s->c, 3);
    p->some = (int)LSNNI_MAX(1, LSNNI_TARGET_PACK / ((size_t)p->wide * pitch));
    p->some = lsnni_div_up(p->blocks, lsnni_div_up(p->blocks, p->some));
    p->packed = lsnni_area(p->some, p->wide) * pitch;
    tasks = lsnni_div_up(s->c, p->wide);
    p->ranges = LSNNI_MIN(s->k, lsnni_div_up(4, tasks));
}

/* Scratch memory, and the tables of rows and columns in it.                    */
static lsnn_status lsnni_target_room(lsnn_ctx *cx, lsnni_target *p)
{
    const lsnn_window *s = p->r.s;
    size_t threads = (size_t)lsnn_ctx_threads(cx);
    size_t tables = threads * lsnni_target_ints_of(s);
    size_t rows = 2 * lsnni_area(p->wide, s->kernel_h);
    size_t mesh = lsnni_target_mesh_room(s->c), area = lsnni_area(s->oh, s->ow);
    size_t numbers = threads * LSNNI_MAX(lsnni_target_numbers(s), p->packed), bytes;
    size_t weights = p->dx ? lsnni_area(s->k, lsnni_round_up(s->c, LSNNI_TARGET_PANEL)) *
        lsnni_area(s->kernel_h, s->kernel_w) : 0;
    lsnni_side side[2];
    char *at;
    bytes = lsnni_kinds_room(s->h) + lsnni_kinds_room(s->w);
    bytes = lsnni_room_add(bytes, lsnni_room(rows, sizeof *p->rows));
    bytes = lsnni_room_add(bytes, lsnni_room(tables, sizeof *p->room));
    bytes = lsnni_room_add(bytes, lsnni_room(2 * area, sizeof *p->all));
    bytes = lsnni_room_add(bytes, lsnni_room(numbers, sizeof *p->numbers));
    bytes = lsnni_room_add(bytes, lsnni_room(weights, sizeof *p->turned));
    bytes = lsnni_room_add(bytes, lsnni_times(mesh, threads));
    at = (char *)lsnni_scratch(cx, bytes, 1);
    if (!at) return LSNN_ENOMEM;
    lsnni_sides(side, s);
    lsnni_kinds_fill(&p->kinds[0], &at, &side[0], LSNNI_TO_X, s->h);
    lsnni_kinds_fill(&p->kinds[1], &at, &side[1], LSNNI_TO_X, s->w);
    p->rows = (ptrdiff_t *)lsnni_cut(&at, rows, sizeof *p->rows);
    p->room = (int32_t *)lsnni_cut(&at, tables, sizeof *p->room);
    p->all = (int32_t *)lsnni_cut(&at, 2 * area, sizeof *p->all);
    p->all_at = p->all + area;
    p->numbers = (lsnn_real *)lsnni_cut(&at, numbers, sizeof *p->numbers);
    p->turned = (lsnn_real *)lsnni_cut(&at, weights, sizeof *p->turned);
    p->meshes = at;
    for (int i = 0; i < s->oh * s->ow; i++) {
        p->all[i] = i;
        p->all_at[i] = i / s->ow * s->stride_h * lsnni_target_wide(s) + i % s->ow * s->stride_w;
    }
    for (int i = 0; i < p->wide * s->kernel_h; i++) {
        int m = i / s->kernel_h, u = i % s->kernel_h;
        p->rows[i] = (ptrdiff_t)((size_t)m * lsnni_target_pitch(s) +
                                 lsnni_area(u, lsnni_target_wide(s)) * (size_t)s->lanes);
        p->rows[p->wide * s->kernel_h + i] =
            (ptrdiff_t)(lsnni_at2(m, u, s->h) * lsnni_area(s->w, s->lanes));
    }
    return LSNN_OK;
}

static lsnn_status lsnni_target_blocks_backward(lsnn_ctx *cx, lsnni_target *p)
{
    const lsnn_window *s = p->r.s;
    lsnni_target_dw_sizes(p);
    LSNNI_TRY(lsnni_target_room(cx, p));
    lsnn_parallel(cx, s->k, lsnni_target_behind_task, p);
    if (p->dw) {
        p->packs_all = !cx->rehearsal_ && lsnni_target_packs_all(p);
        lsnn_parallel(cx, lsnni_div_up(s->c, p->wide) * p->ranges, lsnni_target_dw_task, p);
    }
    p->per_task = lsnni_div_up(s->h * s->w, LSNNI_MIN(LSNNI_TARGET_TASKS,
                                                      4 * lsnn_ctx_threads(cx)));
    if (!p->dx) return LSNN_OK;
    lsnn_parallel(cx, s->k, lsnni_target_turn_task, p);
    lsnn_parallel(cx, lsnni_div_up(s->h * s->w, p->per_task), lsnni_target_dx_task, p);
    return LSNN_OK;
}

/* ---- For the whole convolution's backward: all of kernel k's dz, 0 outside of its region, and
   S by rows and columns; in blocks, and in plain arrays.                      */
static void lsnni_target_dense_task(void *user, int k, int worker)
{
    const lsnni_target *p = (const lsnni_target *)user;
    const lsnn_window *s = p->r.s;
    size_t area = lsnni_area(s->oh, s->ow), first = (size_t)k * area * (size_t)s->lanes;
    lsnn_real *u = p->numbers + lsnni_target_numbers(s) * (size_t)worker;
    lsnni_behind g;
    for (int i = 0; i < s->oh; i++) lsnni_regions_row(&p->r, u + lsnni_area(i, s->ow), k, i);
    g.dz = p->dz + first;
    g.dy = p->dy + first;
    g.y = p->y_read + first;
    g.u = u;
    g.s = u + area;
    g.pixel = p->all;
    g.step = g.dz_block = (ptrdiff_t)(lsnni_area(s->k, s->lanes) * area);
    g.dz_step = s->lanes;
    g.count = (int)area;
    g.blocks = p->blocks;
    p->g.kv->behind(&g);
    for (int i = 0, e = 0; i < s->oh && p->gy; i++)
        for (int j = 0; j < s->ow; j++, e++) {
            if (p->r.place[(size_t)k * area + (size_t)e] < 0) continue;
            p->gy[lsnni_at2(k, i, s->oh)] += g.s[e];
            p->gx[lsnni_at2(k, j, s->ow)] += g.s[e];
        }
}

static void lsnni_target_plain_task(void *user, int k, int worker)
{
    const lsnni_target *p = (const lsnni_target *)user;
    const lsnn_window *s = p->r.s;
    (void)worker;
    for (int n = 0; n < s->n; n++)
        for (int i = 0; i < s->oh; i++) {
            size_t at = lsnni_at4(n, k, s->k, i, s->oh, 0, s->ow);
            const int32_t *place = p->r.place + lsnni_at3(k, i, s->oh, 0, s->ow);
            const lsnn_real *dy = p->dy + at, *y = p->y_read + at;
            lsnn_real *dz = p->dz + at, sum = 0;
            lsnni_regions_row(&p->r, dz, k, i);
            for (int j = 0; j < s->ow; j++) {
                lsnn_real product = place[j] < 0 ? 0 : dy[j] * y[j];
                dz[j] *= dy[j];
                sum += product;
                if (p->gx) p->gx[lsnni_at2(k, j, s->ow)] += product;
            }
            if (p->gy) p->gy[lsnni_at2(k, i, s->oh)] += sum;
        }
}

/* The whole convolution's backward. Of few kernels its dw leaves most of its vectors empty, and
   a correlation of whole maps is faster.                                      */
static lsnn_status lsnni_target_whole_backward(lsnn_ctx *cx, lsnni_target *p)
{
    const lsnn_window *s = p->r.s;
    int thin = p->blocks && s->k <= s->lanes;
    if (p->blocks) {
        lsnni_target_dw_sizes(p);
        LSNNI_TRY(lsnni_target_room(cx, p));
        p->whole = p->packs_all = 1;
    }
    lsnn_parallel(cx, s->k, p->blocks ? lsnni_target_dense_task : lsnni_target_plain_task, p);
    if (thin && p->dw)
        lsnn_parallel(cx, lsnni_div_up(s->c, p->wide) * p->ranges, lsnni_target_dw_task, p);
    return lsnn_conv2d_backward(cx, p->dx, thin ? NULL : p->dw, p->db, p->dz, p->x, p->w, s,
                                p->add);
}

LSNN_API lsnn_status lsnn_target2d_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                            lsnn_real *db, lsnn_real *gy, lsnn_real *gx,
                                            lsnn_real *room, const lsnn_real *dy,
                                            const lsnn_real *y, const lsnn_real *x,
                                            const lsnn_real *w, const lsnn_target *t,
                                            const lsnn_window *s, int add)
{
    lsnni_target p;
    LSNNI_TRY(lsnni_target_init(cx, &p, t, s));
    if (!gy || !gx) gy = gx = NULL;
    lsnni_clear(gy, lsnni_area(s->k, s->oh), 0);
    lsnni_clear(gx, lsnni_area(s->k, s->ow), 0);
    p.dx = dx; p.dw = dw; p.db = db; p.gy = gy; p.gx = gx; p.dz = room; p.add = add;
    p.dy = dy; p.y_read = y; p.x = x; p.w = w;
    if (p.blocks && (!p.r.head[1] || cx->rehearsal_)) {
        LSNNI_TRY(lsnni_target_blocks_backward(cx, &p));
        if (!cx->rehearsal_) return LSNN_OK;
    }
    return lsnni_target_whole_backward(cx, &p);
}

#endif /* LSNN_NAIVE */
