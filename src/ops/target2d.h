/* ---- >>target2d -----------------------------------------------------------------
   A convolution and its window in one layer: TKN's target layer (Chitta, "Targeted Kernel
   Networks", Eq. 15 to 17). Kernel k computes only in its region
   R_k, a set of output pixels p, reads its true neighbours outside of it, and is 0 elsewhere.
   y[n,k,p]    = U_k(p) z[n,k,p]  in R_k, else 0       z = b[k] + sum_ct w[k,c,t] x[n,c,p + t]
   dz[n,k,p]   = U_k(p) dy[n,k,p] in R_k, else 0       U_k(i, j) = fy[k,i] fx[k,j]
   dx, dw, db  : a convolution's, of dz
   dL/dlog fy[k,i] = sum_j S[k,i,j], of fx likewise    S[k,p] = sum_n dy[n,k,p] y[n,k,p]
   x N,C,H,W  w K,C,kh,kw  b K  y N,K,OH,OW            p + t: oy*sh + r - pt, ox*sw + s - pl
   S needs no z from before the window and no division by U, and y may have gone through a relu
   in place: dy is 0 where the relu's y is.
   C*kh*kw multiply-adds a pixel of a region forward, twice that backward.     */

/* ---- What regions come to: a plan, int32_t numbers that lsnn_target2d_plan writes.
   Places are the pixels of all regions, kernel by kernel.                     */
enum { LSNNI_REGION_LISTS = 7 };
typedef struct lsnni_regions {
    const lsnn_window *s;
    const lsnn_target *t;
    int32_t *head;                   /* how many places; 1: regions so large that to compute */
                                     /*   everything is faster                */
    int32_t *start;                  /* K + 1: a kernel's first place         */
    int32_t *box;                    /* K x 4: its rows [0, 1), columns [2, 3) */
    int32_t *place;                  /* K x OH x OW: a pixel's place, or -1   */
    int32_t *pixel, *at;             /* a place's pixel, and its first tap in x with padding */
    int32_t *first_kernel, *kernel;  /* OH x OW + 1; a pixel's kernels         */
} lsnni_regions;

static void lsnni_regions_sizes(size_t size[LSNNI_REGION_LISTS], const lsnn_window *s)
{
    size_t k = (size_t)s->k, area = lsnni_area(s->oh, s->ow), all = lsnni_times(k, area);
    size[0] = k + 1;
    size[1] = 4 * k;
    size[2] = size[3] = size[4] = size[6] = all;
    size[5] = lsnni_plus(area, 1);
}

LSNN_API size_t lsnn_target2d_room(const lsnn_window *s)
{
    size_t size[LSNNI_REGION_LISTS], room = 2;
    lsnni_regions_sizes(size, s);
    for (int i = 0; i < LSNNI_REGION_LISTS; i++) room = lsnni_plus(room, size[i]);
    return room;
}

static void lsnni_regions_of(lsnni_regions *r, int32_t *plan, const lsnn_window *s)
{
    size_t size[LSNNI_REGION_LISTS];
    int32_t *list[LSNNI_REGION_LISTS], *at = plan + 2;
    lsnni_regions_sizes(size, s);
    for (int i = 0; i < LSNNI_REGION_LISTS; at += size[i++]) list[i] = at;
    r->s = s;
    r->t = NULL;
    r->head = plan;
    r->start = list[0];
    r->box = list[1];
    r->place = list[2];
    r->pixel = list[3];
    r->at = list[4];
    r->first_kernel = list[5];
    r->kernel = list[6];
}

static lsnn_status lsnni_target_check(lsnn_ctx *cx, const lsnn_window *s)
{
    LSNNI_TRY(lsnni_window_check(cx, "target2d", s, 1));
    LSNNI_TRY(lsnni_window_simple(cx, "target2d", s));
    if ((double)s->k * s->oh * s->ow > INT32_MAX ||
        (double)s->k * LSNNI_MAX(s->c, 16) * s->kernel_h * s->kernel_w > INT32_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE, "target2d: %d kernels of %d x %d taps of %d maps, on "
                          "%d x %d pixels, are over 2^31 numbers", s->k, s->kernel_h,
                          s->kernel_w, s->c, s->oh, s->ow);
    return LSNN_OK;
}

/* Kernel k's pixels, from place n on.                                          */
static int lsnni_regions_kernel(lsnni_regions *r, const unsigned char *inside, int k, int n)
{
    const lsnn_window *s = r->s;
    int32_t *box = r->box + 4 * k;
    int wide = (s->ow - 1) * s->stride_w + s->kernel_w;
    box[0] = s->oh; box[1] = 0; box[2] = s->ow; box[3] = 0;
    r->start[k] = n;
    for (int i = 0; i < s->oh; i++)
        for (int j = 0; j < s->ow; j++) {
            size_t at = lsnni_at3(k, i, s->oh, j, s->ow);
            r->place[at] = inside[at] ? n : -1;
            if (!inside[at]) continue;
            r->pixel[n] = i * s->ow + j;
            r->at[n++] = i * s->stride_h * wide + j * s->stride_w;
            box[0] = LSNNI_MIN(box[0], i);
            box[1] = LSNNI_MAX(box[1], i + 1);
            box[2] = LSNNI_MIN(box[2], j);
            box[3] = LSNNI_MAX(box[3], j + 1);
        }
    return n;
}

/* The kernels of each pixel.                                                  */
static void lsnni_regions_kernels(lsnni_regions *r)
{
    size_t area = lsnni_area(r->s->oh, r->s->ow);
    int n = 0;
    for (size_t q = 0; q < area; q++) {
        r->first_kernel[q] = n;
        for (int k = 0; k < r->s->k; k++)
            if (r->place[(size_t)k * area + q] >= 0) r->kernel[n++] = k;
    }
    r->first_kernel[area] = n;
}

/* Pixel by pixel costs more than all at once from this share on.              */
static int lsnni_regions_dense(const lsnni_regions *r)
{
    return r->head[0] > 0.95 * r->s->k * r->s->oh * r->s->ow;
}

LSNN_API lsnn_status lsnn_target2d_plan(lsnn_ctx *cx, int32_t *plan,
                                        const unsigned char *inside, const lsnn_window *s)
{
    lsnni_regions r;
    int n = 0;
    LSNNI_TRY(lsnni_target_check(cx, s));
    lsnni_regions_of(&r, plan, s);
    for (int k = 0; k < s->k; k++) n = lsnni_regions_kernel(&r, inside, k, n);
    r.start[s->k] = n;
    r.head[0] = n;
    r.head[1] = lsnni_regions_dense(&r);
    lsnni_regions_kernels(&r);
    return LSNN_OK;
}

/* U_k at a pixel.                                                             */
static lsnn_real lsnni_target_u(const lsnni_regions *r, int k, int pixel)
{
    const lsnn_window *s = r->s;
    return r->t->fy[lsnni_at2(k, pixel / s->ow, s->oh)] *
           r->t->fx[lsnni_at2(k, pixel % s->ow, s->ow)];
}

/* Row i of U_k, 0 outside of the region.                                       */
static void lsnni_regions_row(const lsnni_regions *r, lsnn_real *u, int k, int i)
{
    const lsnn_window *s = r->s;
    const int32_t *place = r->place + lsnni_at3(k, i, s->oh, 0, s->ow);
    const lsnn_real *fx = r->t->fx + lsnni_area(k, s->ow);
    lsnn_real fy = r->t->fy[lsnni_at2(k, i, s->oh)];
    for (int j = 0; j < s->ow; j++) u[j] = place[j] < 0 ? 0 : fy * fx[j];
}

/* ---- The naive pair: the convolution's loops, where there is a place.         */
#ifdef LSNN_NAIVE
LSNN_API lsnn_status lsnn_target2d_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                           const lsnn_real *w, const lsnn_real *b,
                                           const lsnn_target *t, const lsnn_window *s)
{
    lsnni_regions r;
    int area = s->oh * s->ow;
    LSNNI_TRY(lsnni_target_check(cx, s));
    if (cx->rehearsal_) return LSNN_OK;
    lsnni_regions_of(&r, t->plan, s);
    r.t = t;
    for (int n = 0; n < s->n; n++)
    for (int k = 0; k < s->k; k++)
    for (int p = 0; p < area; p++) {
        double z = b ? (double)b[k] : 0;
        if (r.place[lsnni_at2(k, p, area)] < 0) continue;
        for (int c = 0; c < s->c; c++)
        for (int u = 0; u < s->kernel_h; u++)
        for (int v = 0; v < s->kernel_w; v++) {
            size_t in, at = lsnni_at4(k, c, s->c, u, s->kernel_h, v, s->kernel_w);
            if (lsnni_pixel(s, n, k, p / s->ow, p % s->ow, c, u, v, &in))
                z += (double)x[in] * (double)w[at];
        }
        y[lsnni_at3(n, k, s->k, p, area)] = lsnni_target_u(&r, k, p) * LSNNI_R(z);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_target2d_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                            lsnn_real *db, lsnn_real *gy, lsnn_real *gx,
                                            lsnn_real *room, const lsnn_real *dy,
                                            const lsnn_real *y, const lsnn_real *x,
                                            const lsnn_real *w, const lsnn_target *t,
                                            const lsnn_window *s, int add)
{
    lsnni_regions r;
    int area = s->oh * s->ow;
    LSNNI_TRY(lsnni_target_check(cx, s));
    if (cx->rehearsal_) return LSNN_OK;
    lsnni_regions_of(&r, t->plan, s);
    r.t = t;
    lsnni_clear(gy, lsnni_area(s->k, s->oh), 0);
    lsnni_clear(gx, lsnni_area(s->k, s->ow), 0);
    for (int n = 0; n < s->n; n++)
    for (int k = 0; k < s->k; k++)
    for (int p = 0; p < area; p++) {
        size_t at = lsnni_at3(n, k, s->k, p, area);
        int here = r.place[lsnni_at2(k, p, area)] >= 0;
        room[at] = here ? lsnni_target_u(&r, k, p) * dy[at] : 0;
        if (here && gy) gy[lsnni_at2(k, p / s->ow, s->oh)] += dy[at] * y[at];
        if (here && gx) gx[lsnni_at2(k, p % s->ow, s->ow)] += dy[at] * y[at];
    }
    return lsnn_conv2d_backward(cx, dx, dw, db, room, x, w, s, add);
}

#else /* ---- The fast pair ---------------------------------------------------------------
   In blocks of images a region costs its pixels and no more. Forward: the kernels that a pixel
   has; dx: all maps of a pixel, see lsnni_mesh; dw: see lsnni_correlation. Plain arrays, and
   regions that are nearly everything, take the whole convolution, times U or 0.
   Bound by arithmetic where a pixel has 4 kernels or more; by reading x and writing dx where it
   has one or none. Of the whole convolution's speed, a multiply-add: results/target-bench.txt. */
enum { LSNNI_TARGET_TASKS = 32,      /* about: of pixels                       */
       LSNNI_TARGET_STEPS = 900,     /* forward: taps of a pixel in all blocks, about */
       LSNNI_TARGET_BLOCKS = 4,      /*   blocks of a task, at most            */
       LSNNI_TARGET_LIST = 96,       /* dx: steps of a mesh, whose dz stays in the first-level */
                                     /*   cache                               */
       LSNNI_TARGET_PANEL = 16,      /*   maps whose weights are neighbours: a line of a cache */
       LSNNI_TARGET_PACK = 1 << 17 };/* dw: numbers of x that a task works on, about: they stay in */
                                     /*   the second-level cache            */
typedef struct lsnni_target {
    lsnni_regions r;
    lsnni_lanes g;                   /* the whole convolution, and kernels    */
    const lsnn_real *x, *w, *b, *dy, *y_read;
    lsnn_real *y, *dx, *dz, *dw, *db, *gy, *gx;
    int blocks, per_task, ranges, add;
    int wide, some;                  /* of a task: maps at once, blocks        */
    size_t packed;                   /* a worker's numbers: dw                */
    lsnni_kinds kinds[2];            /* FORWARD, or TO_X                       */
    ptrdiff_t *rows;                 /* dw: where each map and kernel row begins in x */
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
    const lsnni_group *g = p->g.group + rows->kind[i] * columns->kinds + columns->kind[j];
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

/* U of all kernels: what the whole convolution multiplies by.                  */
static void lsnni_regions_map(const lsnni_regions *r, lsnn_real *u)
{
    for (int i = 0; i < r->s->k * r->s->oh; i++)
        lsnni_regions_row(r, u + lsnni_area(i, r->s->ow), i / r->s->oh, i % r->s->oh);
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
    int kernels;
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
    int i1 = LSNNI_MIN(box[1], row->at + row->count);
    int j0 = LSNNI_MAX(box[2], column->at), j1 = LSNNI_MIN(box[3], column->at + column->count);
    for (int i = LSNNI_MAX(box[0], row->at); i < i1; i++) {
        const int32_t *place = r->place + lsnni_at3(k, i, s->oh, 0, s->ow);
        int u = row->first - (i - row->at) * s->stride_h;
        int v = column->first - (j0 - column->at) * s->stride_w;
        int32_t at = ((k * s->kernel_h + u) * s->kernel_w + v) * LSNNI_TARGET_PANEL;
        for (int j = j0; j < j1; j++, at -= s->stride_w * LSNNI_TARGET_PANEL) {
            if (place[j] < 0) continue;
            list->ka[list->g.k] = at;
            list->kb[list->g.k++] = place[j] * s->n;
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
        list->pixel = (ptrdiff_t)(i * s->w + j) * s->lanes;
        list->g.c = list->dx;
        list->g.add = p->add;
        list->g.k = 0;
        for (int m = 0; m < list->kernels; m++) {
            lsnni_target_meet(p, list, list->kernel[m], row, column);
            if (list->g.k >= LSNNI_TARGET_LIST) lsnni_target_flush(p, list, 0);
        }
        lsnni_target_flush(p, list, 1);
    }
}

static void lsnni_target_dx_task(void *user, int task, int worker)
{
    const lsnni_target *p = (const lsnni_target *)user;
    const lsnn_window *s = p->r.s;
    int q = task * p->per_task, end = LSNNI_MIN(q + p->per_task, s->h * s->w);
    int taps = s->kernel_h * s->kernel_w, room = 2 * (LSNNI_TARGET_LIST + taps) + s->k;
    size_t map = lsnni_area(s->h, s->w) * (size_t)s->lanes;
    lsnni_target_list list;
    list.ka = p->room + lsnni_area(worker, room);
    list.kb = list.ka + LSNNI_TARGET_LIST + taps;
    list.kernel = list.kb + LSNNI_TARGET_LIST + taps;
    list.g = lsnni_target_mesh(p->meshes + (size_t)worker * lsnni_target_mesh_room(s->c), s->c,
                               s->lanes);
    list.g.ka = list.ka;
    list.g.kb = list.kb;
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
}

/* ---- dw: for some maps and a range of kernels. x is brought together with its padding, so
   that each place meets all taps, and a kernel's places are one list.         */
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

/* Maps [c0, c0 + maps) of `blocks` blocks of x from n0 on; `to` holds zeros where padding is. */
static void lsnni_target_pack(const lsnni_target *p, lsnn_real *to, int n0, int blocks, int c0,
                              int maps)
{
    const lsnn_window *s = p->r.s;
    int wide = lsnni_target_wide(s), high = (s->oh - 1) * s->stride_h + s->kernel_h;
    int rows = LSNNI_MIN(s->h, high - s->pad_top), columns = LSNNI_MIN(s->w, wide - s->pad_left);
    size_t lanes = (size_t)s->lanes, pitch = lsnni_target_pitch(s);
    if (rows < 1 || columns < 1) return;
    for (int n = 0; n < blocks; n++)
        for (int m = 0; m < maps; m++) {
            lsnn_real *map = to + lsnni_area(n, p->wide) * pitch + (size_t)m * pitch;
            for (int i = 0; i < rows; i++)
                memcpy(map + lsnni_at2(s->pad_top + i, s->pad_left, wide) * lanes,
                       p->x + lsnni_at4(n0 + n, c0 + m, s->c, i, s->h, 0, s->w) * lanes,
                       (size_t)columns * lanes * sizeof *to);
        }
}

static void lsnni_target_dw_task(void *user, int task, int worker)
{
    const lsnni_target *p = (const lsnni_target *)user;
    const lsnn_window *s = p->r.s;
    int c0 = task / p->ranges * p->wide, maps = LSNNI_MIN(p->wide, s->c - c0);
    int range = task % p->ranges, pieces = lsnni_div_up(s->kernel_w, LSNNI_TAPS_WIDE);
    lsnn_real *x = p->numbers + (size_t)worker * p->packed;
    size_t area = lsnni_area(s->oh, s->ow);
    lsnni_correlation g;
    memset(x, 0, p->packed * sizeof *x);
    g.rows = maps * s->kernel_h;
    g.row = p->rows;
    g.dy_step = p->whole ? s->lanes : s->n;
    g.dy_block = p->whole ? (ptrdiff_t)(lsnni_area(s->k, s->lanes) * area) : s->lanes;
    g.x_step = (ptrdiff_t)((size_t)p->wide * lsnni_target_pitch(s));
    g.dw_row = s->kernel_w;
    for (int n = 0; n < p->blocks; n += p->some) {
        g.blocks = LSNNI_MIN(p->some, p->blocks - n);
        lsnni_target_pack(p, x, n, g.blocks, c0, maps);
        for (int k = s->k * range / p->ranges; k < s->k * (range + 1) / p->ranges; k++) {
            int first = p->r.start[k];
            g.count = p->whole ? (int)area : p->r.start[k + 1] - first;
            g.at = p->whole ? p->all_at : p->r.at + first;
            g.dy = p->dz + (p->whole ? lsnni_at2(n, k, s->k) * area * (size_t)s->lanes
                            : lsnni_area(first, s->n) + (size_t)n * (size_t)s->lanes);
            for (int i = 0; i < pieces && g.count; i++) {
                int v = s->kernel_w * i / pieces;
                g.taps = s->kernel_w * (i + 1) / pieces - v;
                g.x = x + v * s->lanes;
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
    size_t tables = threads * (size_t)(2 * (LSNNI_TARGET_LIST + s->kernel_h * s->kernel_w) + s->k);
    size_t mesh = lsnni_target_mesh_room(s->c), area = lsnni_area(s->oh, s->ow);
    size_t numbers = threads * LSNNI_MAX(lsnni_target_numbers(s), p->packed), bytes;
    size_t weights = p->dx ? lsnni_area(s->k, lsnni_round_up(s->c, LSNNI_TARGET_PANEL)) *
        lsnni_area(s->kernel_h, s->kernel_w) : 0;
    lsnni_side side[2];
    char *at;
    bytes = lsnni_kinds_room(s->h) + lsnni_kinds_room(s->w);
    bytes = lsnni_room_add(bytes, lsnni_room(lsnni_area(p->wide, s->kernel_h), sizeof *p->rows));
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
    p->rows = (ptrdiff_t *)lsnni_cut(&at, lsnni_area(p->wide, s->kernel_h), sizeof *p->rows);
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
    for (int i = 0; i < p->wide * s->kernel_h; i++)
        p->rows[i] = (ptrdiff_t)((size_t)(i / s->kernel_h) * lsnni_target_pitch(s) +
                                 lsnni_area(i % s->kernel_h, lsnni_target_wide(s)) *
                                 (size_t)s->lanes);
    return LSNN_OK;
}

static lsnn_status lsnni_target_blocks_backward(lsnn_ctx *cx, lsnni_target *p)
{
    const lsnn_window *s = p->r.s;
    lsnni_target_dw_sizes(p);
    LSNNI_TRY(lsnni_target_room(cx, p));
    lsnn_parallel(cx, s->k, lsnni_target_behind_task, p);
    if (p->dw)
        lsnn_parallel(cx, lsnni_div_up(s->c, p->wide) * p->ranges, lsnni_target_dw_task, p);
    p->per_task = lsnni_div_up(s->h * s->w, LSNNI_TARGET_TASKS);
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
        p->whole = 1;
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

/* ---- The layer: a window and its region from four numbers, mu_x, s_x, mu_y, s_y. */
/* What is kept beside dz: U, 0 outside of regions, for those who look at it; f and its
   gradients; the state; regions as boxes of rows [0, 1) and columns [2, 3), the plan they came
   to, and their pixels.                                                       */
enum { LSNNI_TARGET_MADE, LSNNI_TARGET_LANES, LSNNI_TARGET_CLEAN, LSNNI_TARGET_STATE };
typedef struct lsnni_target_keep {
    lsnn_real *map, *fy, *fx, *gy, *gx, *dz;
    int32_t *state;                  /* MADE: 1 once regions are; y's memory is in blocks of */
                                     /*   LANES images, 0 outside of regions in CLEAN images */
    int32_t *box, *plan;
    unsigned char *inside;
} lsnni_target_keep;

/* lsnn_reals that hold so many bytes.                                         */
static size_t lsnni_reals_of(size_t bytes)
{
    return lsnni_plus(bytes, sizeof(lsnn_real) - 1) / sizeof(lsnn_real);
}
static size_t lsnni_target_ints(const lsnn_window *s)
{
    return lsnni_plus(lsnn_target2d_room(s), LSNNI_TARGET_STATE + 4 * (size_t)s->k);
}
static size_t lsnni_target_pixels(const lsnn_window *s)
{
    return lsnni_times((size_t)s->k, lsnni_area(s->oh, s->ow));
}
static size_t lsnni_target_kept(const lsnn_window *s)
{
    size_t sides = 2 * (size_t)s->k * (size_t)(s->oh + s->ow);
    size_t ints = lsnni_reals_of(lsnni_times(lsnni_target_ints(s), sizeof(int32_t)));
    size_t pixels = lsnni_target_pixels(s);              /* U, and bytes          */
    return lsnni_plus(lsnni_plus(pixels, lsnni_reals_of(pixels)), lsnni_plus(sides, ints));
}
static lsnni_target_keep lsnni_target_keep_of(lsnn_real *keep, const lsnn_window *s)
{
    size_t high = lsnni_area(s->k, s->oh), wide = lsnni_area(s->k, s->ow);
    lsnni_target_keep k;
    k.map = keep;
    k.fy = keep + lsnni_target_pixels(s);
    k.fx = k.fy + high;
    k.gy = k.fx + wide;
    k.gx = k.gy + high;
    k.state = (int32_t *)(void *)(k.gx + wide);
    k.box = k.state + LSNNI_TARGET_STATE;
    k.plan = k.box + 4 * s->k;
    k.inside = (unsigned char *)(k.gx + wide +
                                 lsnni_reals_of(lsnni_target_ints(s) * sizeof(int32_t)));
    k.dz = keep + lsnni_target_kept(s);
    return k;
}

/* A side's pixels [box[0], box[1]) of a window. least: not fewer, by pixels on the inner side
   of a border that cuts them. A window that is not a number is everywhere.    */
static void lsnni_target_side(int32_t box[2], double mu, double s, int side, int least)
{
    double half = fabs(s) / sqrt(2.0), from = floor((mu - half) * side);
    double to = floor((mu + half) * side) + 1;
    box[0] = from > 0 ? (int32_t)LSNNI_MIN(from, side) : 0;
    box[1] = to < side ? (int32_t)LSNNI_MAX(to, 0) : side;
    least = LSNNI_MIN(least, side);
    if (box[1] - box[0] >= least) return;
    box[0] = LSNNI_MIN(box[0], side - least);
    box[1] = box[0] + least;
}

static void lsnni_target_box(int32_t box[4], const lsnn_real *t, const lsnn_window *s,
                             lsnn_clip clip)
{
    int paper = clip == LSNN_CLIP_PAPER;
    lsnni_target_side(box, (double)t[LSNNI_AT_MU_Y], (double)t[LSNNI_AT_S_Y], s->oh,
                      paper ? s->kernel_h : 0);
    lsnni_target_side(box + 2, (double)t[LSNNI_AT_MU_X], (double)t[LSNNI_AT_S_X], s->ow,
                      paper ? s->kernel_w : 0);
}

/* fy of all kernels (down: 1), or fx.                                         */
static void lsnni_target_factors(lsnn_real *f, const lsnn_layer_plan *p, const lsnn_real *theta,
                                 int down)
{
    int side = down ? p->out.h : p->out.w, cauchy = lsnni_cauchy(p->o.smooth_shape);
    theta += down ? LSNNI_AT_MU_Y : LSNNI_AT_MU_X;       /* s lies behind mu      */
    for (int k = 0; k < p->out.c; k++, theta += 4)
        lsnni_attention_side(cauchy, (double)theta[0], (double)theta[1], side, 0,
                             f + lsnni_area(k, side), NULL, NULL);
}

/* A kernel's U in its region.                                                 */
static void lsnni_target_map(lsnn_real *u, const lsnn_real *fy, const lsnn_real *fx,
                             const int32_t box[4], int width)
{
    for (int i = box[0]; i < box[1]; i++)
        for (int j = box[2]; j < box[3]; j++) u[lsnni_at2(i, j, width)] = fy[i] * fx[j];
}

static void lsnni_target_fill(unsigned char *inside, const int32_t box[4], const lsnn_window *s)
{
    for (int i = 0; i < s->oh; i++)
        for (int j = 0; j < s->ow; j++)
            *inside++ = i >= box[0] && i < box[1] && j >= box[2] && j < box[3];
}

/* Clears kernels [k0, k1) of images [n0, n1) of y; whole blocks.              */
static void lsnni_target_clear(const lsnn_call *c, const lsnn_window *s, int n0, int n1, int k0,
                               int k1)
{
    size_t lanes = (size_t)lsnni_lanes_or_1(c), map = lsnni_area(s->oh, s->ow) * lanes;
    for (int n = n0 / (int)lanes; n < n1 / (int)lanes; n++)
        memset(c->y + (lsnni_area(n, s->k) + (size_t)k0) * map, 0,
               (size_t)(k1 - k0) * map * sizeof *c->y);
}

/* Windows and regions from theta. Where a region has lost pixels, y is cleared.  */
static lsnn_status lsnni_target_make(lsnn_ctx *cx, const lsnn_call *c, const lsnn_window *s,
                                     lsnni_target_keep *keep)
{
    int changed = !keep->state[LSNNI_TARGET_MADE];
    size_t area = lsnni_area(s->oh, s->ow);
    lsnni_target_factors(keep->fy, c->plan, c->param[1], 1);
    lsnni_target_factors(keep->fx, c->plan, c->param[1], 0);
    for (int k = 0; k < s->k; k++) {
        lsnn_real *u = keep->map + (size_t)k * area;
        int32_t *was = keep->box + 4 * k, box[4];
        lsnni_target_box(box, c->param[1] + 4 * (size_t)k, s, c->plan->o.clip);
        if (memcmp(box, was, sizeof box) != 0) memset(u, 0, area * sizeof *u);
        lsnni_target_map(u, keep->fy + lsnni_area(k, s->oh), keep->fx + lsnni_area(k, s->ow),
                         box, s->ow);
        if (keep->state[LSNNI_TARGET_MADE] && !memcmp(box, was, sizeof box)) continue;
        if (box[0] > was[0] || box[1] < was[1] || box[2] > was[2] || box[3] < was[3])
            lsnni_target_clear(c, s, 0, keep->state[LSNNI_TARGET_CLEAN], k, k + 1);
        memcpy(was, box, sizeof box);
        lsnni_target_fill(keep->inside + (size_t)k * area, box, s);
        changed = 1;
    }
    keep->state[LSNNI_TARGET_MADE] = 1;
    return changed ? lsnn_target2d_plan(cx, keep->plan, keep->inside, s) : LSNN_OK;
}

/* y's memory keeps its zeros from call to call, as long as its layout is the same. */
static void lsnni_target_clean(const lsnn_call *c, const lsnn_window *s, int32_t *state)
{
    if (state[LSNNI_TARGET_LANES] != c->lanes) state[LSNNI_TARGET_CLEAN] = 0;
    state[LSNNI_TARGET_LANES] = c->lanes;
    if (state[LSNNI_TARGET_CLEAN] >= c->n) return;
    lsnni_target_clear(c, s, state[LSNNI_TARGET_CLEAN], c->n, 0, s->k);
    state[LSNNI_TARGET_CLEAN] = c->n;
}

/* Taps of pixels [from, to) of a side that lie inside the image.              */
static double lsnni_taps_inside(const lsnni_side *side, int from, int to)
{
    double taps = 0;
    for (int i = from; i < to; i++) taps += lsnni_reach_of(side, LSNNI_FORWARD, i).count;
    return taps;
}

/* As learned: the regions' pixels, all their taps. As computed, in blocks: the taps inside the
   image, and of all pixels where the whole convolution takes less time. That an input's pixels
   may be 0 in every image, outside of the regions before it, saves nothing here. */
static lsnn_status lsnni_macs_of_target2d(lsnn_ctx *cx, const lsnn_layer_plan *p,
                                          const lsnn_real *const *param, double now[2])
{
    lsnni_side side[2];
    lsnni_regions r;
    lsnn_window s;
    int32_t box[4], places = 0;
    double inside = 0;
    LSNNI_TRY(lsnni_window_of(cx, &s, p, 1, p->out.c));
    lsnni_sides(side, &s);
    for (int k = 0; k < s.k; k++) {
        lsnni_target_box(box, param[1] + 4 * (size_t)k, &s, p->o.clip);
        places += (box[1] - box[0]) * (box[3] - box[2]);
        inside += lsnni_taps_inside(&side[0], box[0], box[1]) *
                  lsnni_taps_inside(&side[1], box[2], box[3]);
    }
    r.s = &s;
    r.head = &places;
    if (lsnni_regions_dense(&r))
        inside = s.k * lsnni_taps_inside(&side[0], 0, s.oh) *
                 lsnni_taps_inside(&side[1], 0, s.ow);
    now[0] = (double)places * s.c * s.kernel_h * s.kernel_w;
    now[1] = inside * s.c;
    return LSNN_OK;
}

static lsnn_status lsnni_plan_target2d(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_options *o = &p->o;
    lsnn_window s;
    LSNNI_TRY(lsnni_plan_kernels(cx, p, &s));
    LSNNI_TRY(lsnni_target_check(cx, &s));
    if (!o->smooth_shape) o->smooth_shape = LSNN_ATTENTION_GAUSSIAN;
    if (o->smooth_shape != LSNN_ATTENTION_GAUSSIAN && o->smooth_shape != LSNN_ATTENTION_CAUCHY)
        return lsnni_fail(cx, LSNN_EVALUE, "target2d: smooth_shape %d: its windows are "
                          "LSNN_ATTENTION_GAUSSIAN (%d) or LSNN_ATTENTION_CAUCHY (%d)",
                          (int)o->smooth_shape, (int)LSNN_ATTENTION_GAUSSIAN,
                          (int)LSNN_ATTENTION_CAUCHY);
    if ((int)o->clip < 0 || o->clip > LSNN_CLIP_CODE)
        return lsnni_fail(cx, LSNN_EVALUE, "target2d: clip %d is unknown", (int)o->clip);
    p->param[0] = lsnni_spec("weight", 4, s.k, s.c, s.kernel_h, s.kernel_w);
    p->param[0].fan_in = s.c * s.kernel_h * s.kernel_w;
    p->param[0].fan_out = s.k * s.kernel_h * s.kernel_w;
    p->param[1] = lsnni_spec("theta", 2, s.k, 4, 0, 0);
    p->param[1].l2 = o->l2;
    p->param[1].l2_every = o->l2 > 0 ? 4 : 0;
    p->param[1].l2_mask = lsnni_attention_widths(o->smooth_shape);
    p->param[2] = lsnni_spec("bias", 1, s.k, 0, 0, 0);
    p->param[1].no_decay = p->param[2].no_decay = 1;
    p->params = o->no_bias ? 2 : 3;
    p->keep_fixed = lsnni_target_kept(&s);
    p->keep_per_image = lsnni_target_pixels(&s);         /* dz                */
    p->keep_name = "map";
    p->keep_shape = p->out;
    p->macs = (double)p->param[0].count * s.oh * s.ow;
    p->macs_now = lsnni_macs_of_target2d;
    return LSNN_OK;
}

static lsnn_status lsnni_forward_target2d(lsnn_ctx *cx, lsnn_call *c)
{
    const lsnn_real *bias = c->plan->params > 2 ? c->param[2] : NULL;
    lsnni_target_keep keep;
    lsnn_target t;
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    keep = lsnni_target_keep_of(c->keep, &s);
    if (!cx->rehearsal_) {
        if (!*c->kept) LSNNI_TRY(lsnni_target_make(cx, c, &s, &keep));
        lsnni_target_clean(c, &s, keep.state);
        *c->kept = 1;
    }
    t.plan = keep.plan;
    t.fy = keep.fy;
    t.fx = keep.fx;
    return lsnn_target2d_forward(cx, c->y, c->x[0], c->param[0], bias, &t, &s);
}

/* dtheta of a side, from g = dL/dlog f at its pixels: sum_x g dlog f.          */
static void lsnni_target_theta(lsnn_real *dt, const lsnn_real *g, int cauchy, double mu,
                               double s, int side)
{
    double sum[2] = { 0, 0 }, dz[2], slope;
    for (int x = 0; x < side; x++) {
        double z = lsnni_attention_z(mu, s, side, x, dz);
        lsnni_attention_log(cauchy, 0.5, z * z, &slope);
        for (int i = 0; i < 2; i++) sum[i] += (double)g[x] * 2 * z * slope * dz[i];
    }
    for (int i = 0; i < 2; i++) dt[i] += LSNNI_R(sum[i]);
}

static lsnn_status lsnni_backward_target2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_real *db = c->plan->params > 2 ? c->dparam[2] : NULL, *dt = c->dparam[1];
    int cauchy = lsnni_cauchy(c->plan->o.smooth_shape);
    lsnni_target_keep keep;
    lsnn_target t;
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    keep = lsnni_target_keep_of(c->keep, &s);
    t.plan = keep.plan;
    t.fy = keep.fy;
    t.fx = keep.fx;
    LSNNI_TRY(lsnn_target2d_backward(cx, c->dx[0], c->dparam[0], db, dt ? keep.gy : NULL,
                                     dt ? keep.gx : NULL, keep.dz, c->dy, c->y, c->x[0],
                                     c->param[0], &t, &s, c->add[0]));
    for (int k = 0; k < s.k && dt && !cx->rehearsal_; k++) {
        const lsnn_real *of = c->param[1] + 4 * (size_t)k;
        lsnni_target_theta(dt + 4 * k, keep.gx + lsnni_area(k, s.ow), cauchy,
                           (double)of[LSNNI_AT_MU_X], (double)of[LSNNI_AT_S_X], s.ow);
        lsnni_target_theta(dt + 4 * k + 2, keep.gy + lsnni_area(k, s.oh), cauchy,
                           (double)of[LSNNI_AT_MU_Y], (double)of[LSNNI_AT_S_Y], s.oh);
    }
    return LSNN_OK;
}

/* Weights as a convolution's, windows at mu = 0.5, s = 1.                      */
static void lsnni_init_target2d(const lsnn_layer_plan *p, int i, lsnn_real *v, lsnn_rng *rng)
{
    if (i == 0) lsnni_draw_values(p, i, v, p->param[i].count, rng);
    for (size_t j = 0; j < p->param[i].count && i > 0; j++)
        v[j] = LSNNI_R(i > 1 ? 0 : j % 2 ? 1 : 0.5);
}

static lsnn_status lsnni_project_target2d(lsnn_ctx *cx, const lsnn_projection *p)
{
    const lsnn_layer_plan *plan = p->plan;
    lsnn_real *t = p->param[1];
    (void)cx;
    for (size_t i = 0; i < plan->param[1].count && t; i += 4) {
        lsnni_attention_clip(t + i + LSNNI_AT_MU_X, t + i + LSNNI_AT_S_X, plan->out.w,
                             plan->o.kernel_w, plan->o.clip);
        lsnni_attention_clip(t + i + LSNNI_AT_MU_Y, t + i + LSNNI_AT_S_Y, plan->out.h,
                             plan->o.kernel_h, plan->o.clip);
    }
    return LSNN_OK;
}

static const lsnn_layer_type lsnni_target2d_type = {
    "target2d", LSNNI_WEIGHTED LSNNI_WINDOW_OPTIONS "smooth_shape l2 clip", 1, 1,
    LSNN_BLOCKS | LSNN_REHEARSES | LSNN_Y_STAYS,
    lsnni_plan_target2d, lsnni_forward_target2d, lsnni_backward_target2d, lsnni_init_target2d,
    lsnni_project_target2d
};

LSNN_API int lsnn_target2d(lsnn_net *net, int x, int filters, int kernel, const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_target2d_type, x, filters, kernel, o);
}
