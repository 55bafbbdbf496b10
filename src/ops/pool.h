/* ---- >>pooling --------------------------------------------------------------------
   max  y[p] = max of the window's pixels; dx at that pixel (+)= dy[p]
   sum  y[p] = sum of them;                dx at all of them (+)= dy[p]
   average: sum / number of pixels inside the image. Padding never counts.
   Where a max pooling's pixels were (see lsnn_max_pool_forward) is kept for backward; a
   convolution before it may do forward, and then writes that, too (lsnni_lanes_pool). */
typedef enum lsnni_pool_kind { LSNNI_POOL_MAX, LSNNI_POOL_SUM, LSNNI_POOL_AVG } lsnni_pool_kind;
typedef struct lsnni_pool {
    const lsnni_kernels *kv;
    const lsnn_window *s;
    lsnni_pool_kind kind;
    const lsnn_real *in;             /* x; dy in backward                     */
    lsnn_real *out;                  /* y; dx in backward                     */
    int32_t *where, *taps;           /* where: forward writes it              */
    const int32_t *from;             /* the same, which backward reads        */
    int add, backward, relu;         /* relu: y = relu(max), where = -1 if it is 0 */
    int apart;                       /* windows don't overlap: dx is written   */
    int tiled;                       /* and of all of it: nothing to clear     */
} lsnni_pool;

static void lsnni_max_window(const lsnni_pool *p, const lsnn_real *x, int oy, int ox,
                             lsnn_real *y, int32_t *where)
{
    const lsnn_window *s = p->s;
    int y0, y1, x0, x1, best;
    lsnni_pool_side(oy, s->stride_h, s->pad_top, s->kernel_h, s->h, &y0, &y1);
    lsnni_pool_side(ox, s->stride_w, s->pad_left, s->kernel_w, s->w, &x0, &x1);
    if (y0 >= y1 || x0 >= x1) {      /* a window of padding alone             */
        *y = 0;
        *where = -1;
        return;
    }
    best = y0 * s->w + x0;
    for (int i = y0; i < y1; i++)
        for (int j = x0; j < x1; j++) {
            if (LSNNI_WINS(x[i * s->w + j], x[best])) best = i * s->w + j;
        }
    *y = x[best];
    *where = best;
}

/* 1: 2 x 2 windows side by side, all inside the image.                       */
static int lsnni_pool_halves(const lsnn_window *s)
{
    return s->kernel_h == 2 && s->kernel_w == 2 && s->stride_h == 2 && s->stride_w == 2 &&
           !s->pad_top && !s->pad_left && 2 * s->oh <= s->h && 2 * s->ow <= s->w;
}

static lsnn_status lsnni_pool_check(lsnn_ctx *cx, const lsnn_window *s)
{
    LSNNI_TRY(lsnni_window_check(cx, "pool", s, 0));
    LSNNI_TRY(lsnni_window_simple(cx, "pool", s));
    if (s->k != s->c || (double)s->n * s->c > INT_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE, "pool: %d images of %d channels in, %d out: the "
                          "channels must be equal, and their number an int", s->n, s->c, s->k);
    return LSNN_OK;
}

#ifdef LSNN_NAIVE
#define LSNNI_POOL_FUSES 0
/* ---- The naive pair, a map at a time                                                      */
static void lsnni_naive_max(const lsnni_pool *p, const lsnn_real *x, lsnn_real *y,
                            int32_t *where)
{
    for (int i = 0; i < p->s->oh; i++)
    for (int j = 0; j < p->s->ow; j++, y++, where++) lsnni_max_window(p, x, i, j, y, where);
}

static void lsnni_naive_max_back(const lsnni_pool *p, lsnn_real *dx, const lsnn_real *dy,
                                 const int32_t *from)
{
    for (int q = 0; q < p->s->oh * p->s->ow; q++) if (from[q] >= 0) dx[from[q]] += dy[q];
}

/* What one pixel of window (i, j) counts: 1, or in an average 1 / pixels inside the image. */
static double lsnni_share_of(const lsnni_pool *p, int i, int j, int box[4])
{
    const lsnn_window *s = p->s;
    lsnni_pool_side(i, s->stride_h, s->pad_top, s->kernel_h, s->h, &box[0], &box[1]);
    lsnni_pool_side(j, s->stride_w, s->pad_left, s->kernel_w, s->w, &box[2], &box[3]);
    if (p->kind != LSNNI_POOL_AVG || box[0] >= box[1] || box[2] >= box[3]) return 1;
    return 1.0 / ((box[1] - box[0]) * (box[3] - box[2]));
}

static void lsnni_naive_sum(const lsnni_pool *p, const lsnn_real *x, lsnn_real *y)
{
    for (int i = 0; i < p->s->oh; i++)
    for (int j = 0; j < p->s->ow; j++) {
        double sum = 0, share;
        int box[4];
        share = lsnni_share_of(p, i, j, box);
        for (int r = box[0]; r < box[1]; r++)
        for (int c = box[2]; c < box[3]; c++) sum += (double)x[r * p->s->w + c];
        *y++ = LSNNI_R(sum * share);
    }
}

static void lsnni_naive_sum_back(const lsnni_pool *p, lsnn_real *dx, const lsnn_real *dy)
{
    for (int i = 0; i < p->s->oh; i++)
    for (int j = 0; j < p->s->ow; j++) {
        int box[4];
        double share = lsnni_share_of(p, i, j, box), g = (double)*dy++ * share;
        for (int r = box[0]; r < box[1]; r++)
        for (int c = box[2]; c < box[3]; c++) dx[r * p->s->w + c] += LSNNI_R(g);
    }
}

static lsnn_status lsnni_pool_run(lsnn_ctx *cx, lsnni_pool_kind kind, lsnn_real *out,
                                  const lsnn_real *in, int32_t *where, const int32_t *from,
                                  const lsnn_window *s, int backward, int add, int relu)
{
    size_t x_map, y_map;
    lsnni_pool p;
    LSNNI_TRY(lsnni_pool_check(cx, s));
    (void)relu;
    memset(&p, 0, sizeof p);
    p.s = s; p.kind = kind;
    x_map = lsnni_area(s->h, s->w);
    y_map = lsnni_area(s->oh, s->ow);
    if (backward) lsnni_clear(out, x_map * lsnni_area(s->n, s->c), add);
    for (size_t m = 0; m < lsnni_area(s->n, s->c) && out; m++) {
        const lsnn_real *source = in + m * (backward ? y_map : x_map);
        lsnn_real *target = out + m * (backward ? x_map : y_map);
        int max = kind == LSNNI_POOL_MAX;
        if (max && backward) lsnni_naive_max_back(&p, target, source, from + m * y_map);
        else if (max) lsnni_naive_max(&p, source, target, where + m * y_map);
        else if (backward) lsnni_naive_sum_back(&p, target, source);
        else lsnni_naive_sum(&p, source, target);
    }
    return LSNN_OK;
}

#else /* ---- The fast pair: bound by the loads of x and dx ---------------------------------*/
#define LSNNI_POOL_FUSES LSNN_RELU_BEFORE | LSNN_IS_MAX2
static void lsnni_max_pool_task(void *user, int i, int worker)
{
    const lsnni_pool *p = (const lsnni_pool *)user;
    const lsnn_window *s = p->s;
    const lsnn_real *x = p->in + (size_t)i * lsnni_area(s->h, s->w);
    lsnn_real *y = p->out + (size_t)i * lsnni_area(s->oh, s->ow);
    int32_t *where = p->where + (size_t)i * lsnni_area(s->oh, s->ow);
    int halves = lsnni_pool_halves(s);
    (void)worker;
    for (int oy = 0; oy < s->oh; oy++, y += s->ow, where += s->ow) {
        if (halves) {
            p->kv->max_pool2(y, where, x + 2 * oy * s->w, s->w, s->w, 2 * oy * s->w, s->ow,
                             p->relu);
            continue;
        }
        for (int ox = 0; ox < s->ow; ox++)
            lsnni_max_window(p, x, oy, ox, y + ox, where + ox);
        for (int ox = 0; p->relu && ox < s->ow; ox++) lsnni_max_relu(y + ox, where + ox);
    }
}

static void lsnni_max_pool_back_task(void *user, int i, int worker)
{
    const lsnni_pool *p = (const lsnni_pool *)user;
    size_t x_map = lsnni_area(p->s->h, p->s->w), y_map = lsnni_area(p->s->oh, p->s->ow);
    lsnn_real *dx = p->out + (size_t)i * x_map;
    const lsnn_real *dy = p->in + (size_t)i * y_map;
    const int32_t *from = p->from + (size_t)i * y_map;
    (void)worker;
    if (!p->add) memset(dx, 0, x_map * sizeof *dx);
    for (size_t q = 0; q < y_map; q++) if (from[q] >= 0) dx[from[q]] += dy[q];
}

static void lsnni_sum_pool_task(void *user, int i, int worker)
{
    const lsnni_pool *p = (const lsnni_pool *)user;
    const lsnn_window *s = p->s;
    const lsnn_real *x = p->in + (size_t)i * lsnni_area(s->h, s->w);
    lsnn_real *y = p->out + (size_t)i * lsnni_area(s->oh, s->ow);
    int y0, y1, x0, x1, average = p->kind == LSNNI_POOL_AVG;
    int whole = s->oh == 1 && s->ow == 1 && s->kernel_h == s->h && s->kernel_w == s->w;
    (void)worker;
    if (whole && !s->pad_top && !s->pad_left) {
        size_t area = lsnni_area(s->h, s->w);
        *y = LSNNI_R(p->kv->sum(x, area) / (average ? (double)area : 1));
        return;
    }
    if (lsnni_pool_halves(s)) {
        for (int oy = 0; oy < s->oh; oy++)
            p->kv->sum_pool2(y + oy * s->ow, x + 2 * oy * s->w, s->w, s->ow,
                             average ? 0.25 : 1);
        return;
    }
    for (int oy = 0; oy < s->oh; oy++)
        for (int ox = 0; ox < s->ow; ox++) {
            double sum = 0;
            lsnni_pool_side(oy, s->stride_h, s->pad_top, s->kernel_h, s->h, &y0, &y1);
            lsnni_pool_side(ox, s->stride_w, s->pad_left, s->kernel_w, s->w, &x0, &x1);
            for (int r = y0; r < y1; r++)
                for (int c = x0; c < x1; c++) sum += (double)x[r * s->w + c];
            if (average && y0 < y1 && x0 < x1) sum /= (y1 - y0) * (x1 - x0);
            *y++ = LSNNI_R(sum);
        }
}

static void lsnni_sum_pool_back_task(void *user, int i, int worker)
{
    const lsnni_pool *p = (const lsnni_pool *)user;
    const lsnn_window *s = p->s;
    const lsnn_real *dy = p->in + (size_t)i * lsnni_area(s->oh, s->ow);
    lsnn_real *dx = p->out + (size_t)i * lsnni_area(s->h, s->w);
    int y0, y1, x0, x1;
    (void)worker;
    if (!p->add) memset(dx, 0, lsnni_area(s->h, s->w) * sizeof *dx);
    for (int oy = 0; oy < s->oh; oy++)
        for (int ox = 0; ox < s->ow; ox++) {
            lsnn_real g = *dy++;
            lsnni_pool_side(oy, s->stride_h, s->pad_top, s->kernel_h, s->h, &y0, &y1);
            lsnni_pool_side(ox, s->stride_w, s->pad_left, s->kernel_w, s->w, &x0, &x1);
            if (p->kind == LSNNI_POOL_AVG && y0 < y1 && x0 < x1)
                g /= LSNNI_R((y1 - y0) * (x1 - x0));
            for (int r = y0; r < y1; r++)
                for (int c = x0; c < x1; c++) dx[r * s->w + c] += g;
        }
}

/* Windows [ox, ox + run) of output row oy of one block's plane; `taps` has room for
   a window's pixels.                                                         */
static void lsnni_pool_lanes_run(const lsnni_pool *p, size_t plane, int oy, int ox, int run,
                                 int32_t *taps)
{
    const lsnn_window *s = p->s;
    size_t lanes = (size_t)p->kv->lanes, y_map = lsnni_area(s->oh, s->ow) * lanes;
    size_t x_map = lsnni_area(s->h, s->w) * lanes;
    size_t to = plane * y_map + lsnni_area(oy * s->ow + ox, (int)lanes);
    int y0, y1, x0, x1, count = 0;
    double scale;
    lsnni_pool_side(oy, s->stride_h, s->pad_top, s->kernel_h, s->h, &y0, &y1);
    lsnni_pool_side(ox, s->stride_w, s->pad_left, s->kernel_w, s->w, &x0, &x1);
    for (int r = y0; r < y1; r++)
        for (int c = x0; c < x1; c++) taps[count++] = (r - y0) * s->w + c - x0;
    scale = p->kind == LSNNI_POOL_AVG && count ? 1.0 / count : 1;
    if (count == 0 && !p->backward) {                    /* padding alone     */
        for (size_t l = 0; l < lanes * (size_t)run; l++) p->out[to + l] = 0;
        for (size_t l = 0; p->where && l < lanes * (size_t)run; l++) p->where[to + l] = -1;
    } else if (count == 0) return;
    else if (p->kind == LSNNI_POOL_MAX && p->backward)
        p->kv->lanes_max_back(p->out + plane * x_map, p->in + to, p->from + to, taps, count,
                              s->stride_w, y0 * s->w + x0, run, p->apart);
    else if (p->kind == LSNNI_POOL_MAX)
        p->kv->lanes_max(p->out + to, p->where + to, p->in + plane * x_map, taps, count,
                         s->stride_w, y0 * s->w + x0, 0, run, p->relu);
    else if (p->backward)
        p->kv->lanes_sum_back(p->out + plane * x_map, p->in + to, taps, count, s->stride_w,
                              y0 * s->w + x0, run, scale);
    else
        p->kv->lanes_sum(p->out + to, p->in + plane * x_map, taps, count, s->stride_w,
                         y0 * s->w + x0, run, scale);
}

/* One plane of a block of images (see >>lanes).                              */
static void lsnni_pool_lanes_task(void *user, int plane, int worker)
{
    const lsnni_pool *p = (const lsnni_pool *)user;
    const lsnn_window *s = p->s;
    size_t x_map = lsnni_area(s->h, s->w) * (size_t)p->kv->lanes;
    int32_t *taps = p->taps + lsnni_area(worker, s->kernel_h * s->kernel_w);
    if (p->backward && !p->add && !p->tiled)
        memset(p->out + (size_t)plane * x_map, 0, x_map * sizeof *p->out);
    for (int oy = 0; oy < s->oh; oy++)
        for (int ox = 0, run; ox < s->ow; ox += run) {   /* whole windows in one go */
            int left = ox * s->stride_w - s->pad_left, room = s->w - s->kernel_w - left;
            run = left < 0 || room < 0 ? 1 : LSNNI_MIN(room / s->stride_w + 1, s->ow - ox);
            lsnni_pool_lanes_run(p, (size_t)plane, oy, ox, run, taps);
        }
}

static lsnn_status lsnni_pool_run(lsnn_ctx *cx, lsnni_pool_kind kind, lsnn_real *out,
                                  const lsnn_real *in, int32_t *where, const int32_t *from,
                                  const lsnn_window *s, int backward, int add, int relu)
{
    lsnni_pool p;
    LSNNI_TRY(lsnni_pool_check(cx, s));
    if (!out) return LSNN_OK;
    p.kv = lsnni_kernels_of(cx);
    p.s = s; p.kind = kind; p.in = in; p.out = out; p.where = where; p.from = from; p.add = add;
    p.backward = backward;
    p.relu = relu;
    p.apart = !add && s->stride_h >= s->kernel_h && s->stride_w >= s->kernel_w;
    p.tiled = p.apart && kind == LSNNI_POOL_MAX && !s->pad_top && !s->pad_left &&
        s->oh * s->stride_h == s->h && s->stride_h == s->kernel_h &&
        s->ow * s->stride_w == s->w && s->stride_w == s->kernel_w;
    if (s->lanes > 1) {
        LSNNI_TRY(lsnni_lanes_check(cx, "pool", s));
        p.taps = (int32_t *)lsnni_scratch(cx, lsnni_area(lsnn_ctx_threads(cx), s->kernel_h) *
                                          (size_t)s->kernel_w, sizeof *p.taps);
        if (!p.taps) return LSNN_ENOMEM;
        lsnn_parallel(cx, s->n / s->lanes * s->c, lsnni_pool_lanes_task, &p);
    } else if (kind == LSNNI_POOL_MAX)
        lsnn_parallel(cx, s->n * s->c, backward ? lsnni_max_pool_back_task :
                      lsnni_max_pool_task, &p);
    else
        lsnn_parallel(cx, s->n * s->c, backward ? lsnni_sum_pool_back_task :
                      lsnni_sum_pool_task, &p);
    return LSNN_OK;
}
#endif /* LSNN_NAIVE */

LSNN_API lsnn_status lsnn_max_pool_forward(lsnn_ctx *cx, lsnn_real *y, int32_t *where,
                                           const lsnn_real *x, const lsnn_window *s)
{
    return lsnni_pool_run(cx, LSNNI_POOL_MAX, y, x, where, NULL, s, 0, 0, 0);
}
LSNN_API lsnn_status lsnn_max_pool_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                            const int32_t *where, const lsnn_window *s, int add)
{
    return lsnni_pool_run(cx, LSNNI_POOL_MAX, dx, dy, NULL, where, s, 1, add, 0);
}
LSNN_API lsnn_status lsnn_avg_pool_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                           const lsnn_window *s)
{
    return lsnni_pool_run(cx, LSNNI_POOL_AVG, y, x, NULL, NULL, s, 0, 0, 0);
}
LSNN_API lsnn_status lsnn_avg_pool_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                            const lsnn_window *s, int add)
{
    return lsnni_pool_run(cx, LSNNI_POOL_AVG, dx, dy, NULL, NULL, s, 1, add, 0);
}
LSNN_API lsnn_status lsnn_sum_pool_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                           const lsnn_window *s)
{
    return lsnni_pool_run(cx, LSNNI_POOL_SUM, y, x, NULL, NULL, s, 0, 0, 0);
}
LSNN_API lsnn_status lsnn_sum_pool_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                            const lsnn_window *s, int add)
{
    return lsnni_pool_run(cx, LSNNI_POOL_SUM, dx, dy, NULL, NULL, s, 1, add, 0);
}

/* What of the input the windows reach, if a smaller input gives the same windows. */
static lsnn_status lsnni_pool_reads(lsnn_ctx *cx, lsnn_layer_plan *p, const lsnn_window *s)
{
    lsnn_layer_plan crop = *p;
    lsnn_window cropped;
    int h = (s->oh - 1) * s->stride_h + s->kernel_h - s->pad_top;
    int w = (s->ow - 1) * s->stride_w + s->kernel_w - s->pad_left;
    crop.in[0].h = LSNNI_MAX(1, LSNNI_MIN(s->h, h));
    crop.in[0].w = LSNNI_MAX(1, LSNNI_MIN(s->w, w));
    LSNNI_TRY(lsnni_window_of(cx, &cropped, &crop, 1, s->c));
    if (cropped.oh != s->oh || cropped.ow != s->ow || cropped.pad_top != s->pad_top ||
        cropped.pad_left != s->pad_left) return LSNN_OK;
    p->reads_h = crop.in[0].h;
    p->reads_w = crop.in[0].w;
    return LSNN_OK;
}

/* kernel 0: the whole map. The stride defaults to the kernel.                */
static lsnn_status lsnni_plan_pool(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_window s;
    if (!p->o.kernel_h) {
        p->o.kernel_h = p->in[0].h;
        if (!p->o.kernel_w) p->o.kernel_w = p->in[0].w;
    }
    if (!p->o.kernel_w) p->o.kernel_w = p->o.kernel_h;
    lsnni_window_defaults(&p->o, p->o.kernel_h, p->o.kernel_w);
    LSNNI_TRY(lsnni_window_of(cx, &s, p, 1, p->in[0].c));
    p->out.c = s.k; p->out.h = s.oh; p->out.w = s.ow;
    lsnni_connect(p, (double)s.kernel_h * s.kernel_w);
    LSNNI_TRY(lsnni_pool_reads(cx, p, &s));
    if (!lsnni_pool_halves(&s)) p->traits &= ~LSNN_IS_MAX2;
    return LSNN_OK;
}

static lsnn_status lsnni_plan_max_pool(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    LSNNI_TRY(lsnni_plan_pool(cx, p));
    p->keep_per_image = (size_t)lsnni_features(p->out);    /* room for int32  */
    return LSNN_OK;
}

#define LSNNI_POOLING(name, kind)                                                        \
    static lsnn_status lsnni_forward_##name(lsnn_ctx *cx, lsnn_call *c)                  \
    {                                                                                    \
        lsnn_window s;                                                                   \
        LSNNI_TRY(lsnni_call_window(cx, &s, c));                                         \
        return lsnni_pool_run(cx, kind, c->y, c->x[0], kind == LSNNI_POOL_MAX ?          \
                              (int32_t *)(void *)c->keep : NULL, NULL, &s, 0, 0,         \
                              c->does & LSNN_DO_RELU);                                            \
    }                                                                                    \
    static lsnn_status lsnni_backward_##name(lsnn_ctx *cx, lsnn_call *c)                 \
    {                                                                                    \
        lsnn_window s;                                                                   \
        LSNNI_TRY(lsnni_call_window(cx, &s, c));                                         \
        return lsnni_pool_run(cx, kind, c->dx[0], c->dy, NULL,                           \
                              (int32_t *)(void *)c->keep, &s, 1, c->add[0], 0);          \
    }
LSNNI_POOLING(max_pool, LSNNI_POOL_MAX)
LSNNI_POOLING(avg_pool, LSNNI_POOL_AVG)
LSNNI_POOLING(sum_pool, LSNNI_POOL_SUM)
#undef LSNNI_POOLING

static const lsnn_layer_type lsnni_max_pool_type = {
    "max_pool", LSNNI_WINDOW_OPTIONS, 1, 1,
    LSNN_X_FREE | LSNN_Y_FREE | LSNN_BLOCKS | LSNN_REHEARSES | LSNNI_POOL_FUSES,
    lsnni_plan_max_pool, lsnni_forward_max_pool, lsnni_backward_max_pool, NULL, NULL,
    LSNNI_DEVICE_PAIR(max_pool)
};

static const lsnn_layer_type lsnni_avg_pool_type = {
    "avg_pool", LSNNI_WINDOW_OPTIONS, 1, 1,
    LSNN_X_FREE | LSNN_Y_FREE | LSNN_BLOCKS | LSNN_REHEARSES,
    lsnni_plan_pool, lsnni_forward_avg_pool, lsnni_backward_avg_pool, NULL, NULL,
    LSNNI_DEVICE_PAIR(avg_pool)
};

static const lsnn_layer_type lsnni_sum_pool_type = {
    "sum_pool", LSNNI_WINDOW_OPTIONS, 1, 1,
    LSNN_X_FREE | LSNN_Y_FREE | LSNN_BLOCKS | LSNN_REHEARSES,
    lsnni_plan_pool, lsnni_forward_sum_pool, lsnni_backward_sum_pool, NULL, NULL,
    LSNNI_DEVICE_PAIR(sum_pool)
};

LSNN_API int lsnn_max_pool(lsnn_net *net, int x, int kernel, const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_max_pool_type, x, 0, kernel, o);
}

LSNN_API int lsnn_avg_pool(lsnn_net *net, int x, int kernel, const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_avg_pool_type, x, 0, kernel, o);
}

LSNN_API int lsnn_sum_pool(lsnn_net *net, int x, int kernel, const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_sum_pool_type, x, 0, kernel, o);
}
