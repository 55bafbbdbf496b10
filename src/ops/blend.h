/* ---- >>blend: each place mixes shared banks of kernels ----------------------------
   Low-Rank Locally Connected layers (Elsayed, Ramachandran, Shlens, Kornblith, ICML 2020): a
   convolution with M banks of K kernels each, and at each place p weights of its own over the
   banks. M = 1 is a convolution, M = H*W could be any local2d.
   y[n,k,p]       = sum_m g[m,p] a[n, m*K + k, p] + b[k]
   g[m,p]         = softmax over m of z[m,p], or z itself
   z[m,p]         = theta[m,i] + theta[m,H+j] for p = (i, j), as the paper has it, or theta[m,p]
   da[n,m*K+k,p] (+)= g[m,p] dy[n,k,p]      db[k] += sum_n,p dy[n,k,p]
   dg[m,p]        = sum_n,k dy[n,k,p] a[n, m*K + k, p]
   dz[m,p]        = g[m,p] (dg[m,p] - sum_l g[l,p] dg[l,p]), or dg; dtheta += the sums of its dz
   a N,M*K,H,W  theta M,H+W or M,H*W  b K  y N,K,H,W  g M,H,W. M*K*H*W multiply-adds an image.
   The paper has biases a row and a column beside b; here b is all.            */
static int lsnni_blend_rows(const lsnn_blender *s)
{
    return s->kind == LSNN_BLEND_ROWS || s->kind == LSNN_BLEND_FREE_ROWS;
}
static int lsnni_blend_free(const lsnn_blender *s)
{
    return s->kind == LSNN_BLEND_FREE_ROWS || s->kind == LSNN_BLEND_FREE_PLACES;
}

LSNN_API int lsnn_blender_theta(const lsnn_blender *s)
{
    return lsnni_blend_rows(s) ? s->h + s->w : s->h * s->w;
}

static lsnn_status lsnni_blend_check(lsnn_ctx *cx, const lsnn_blender *s)
{
    int size[5];
    size[0] = s->n; size[1] = s->banks; size[2] = s->k; size[3] = s->h; size[4] = s->w;
    LSNNI_TRY(lsnni_sizes(cx, "blend (images x banks x kernels x rows x columns)", 5, size));
    if ((double)s->n * s->banks * s->k > INT_MAX || (double)s->banks * s->h * s->w > INT_MAX / 32)
        return lsnni_fail(cx, LSNN_ESHAPE, "blend: %d images x %d banks x %d kernels, maps of "
                          "%d x %d are too many", s->n, s->banks, s->k, s->h, s->w);
    if ((int)s->kind < 0 || s->kind > LSNN_BLEND_FREE_PLACES)
        return lsnni_fail(cx, LSNN_EVALUE, "blend: kind %d is unknown", (int)s->kind);
    return lsnni_lanes_fit(cx, "blend", s->lanes, s->n);
}

static double lsnni_blend_z(const lsnn_blender *s, const lsnn_real *theta, int m, int i, int j)
{
    theta += lsnni_area(m, lsnn_blender_theta(s));
    return lsnni_blend_rows(s) ? (double)theta[i] + (double)theta[s->h + j]
                               : (double)theta[lsnni_at2(i, j, s->w)];
}

LSNN_API lsnn_status lsnn_blend_weights(lsnn_ctx *cx, lsnn_real *g, const lsnn_real *theta,
                                        const lsnn_blender *s)
{
    LSNNI_TRY(lsnni_blend_check(cx, s));
    for (int i = 0; i < s->h; i++)
    for (int j = 0; j < s->w; j++) {
        double most = lsnni_blend_z(s, theta, 0, i, j), sum = 0;
        for (int m = 1; m < s->banks; m++)
            most = LSNNI_MAX(most, lsnni_blend_z(s, theta, m, i, j));
        for (int m = 0; m < s->banks; m++) sum += exp(lsnni_blend_z(s, theta, m, i, j) - most);
        for (int m = 0; m < s->banks; m++) {
            double z = lsnni_blend_z(s, theta, m, i, j);
            g[lsnni_at3(m, i, s->h, j, s->w)] =
                LSNNI_R(lsnni_blend_free(s) ? z : exp(z - most) / sum);
        }
    }
    return LSNN_OK;
}

/* What g's gradient at each place is to theta.                               */
static void lsnni_blend_to_theta(lsnn_real *dtheta, const lsnn_real *dg, const lsnn_real *g,
                                 const lsnn_blender *s)
{
    size_t area = lsnni_area(s->h, s->w), numbers = (size_t)lsnn_blender_theta(s);
    for (size_t p = 0; p < area; p++) {
        double mean = 0;
        for (size_t m = 0; m < (size_t)s->banks && !lsnni_blend_free(s); m++)
            mean += (double)g[m * area + p] * (double)dg[m * area + p];
        for (size_t m = 0; m < (size_t)s->banks; m++) {
            double dz = (double)dg[m * area + p];
            lsnn_real *to = dtheta + m * numbers;
            if (!lsnni_blend_free(s)) dz = (double)g[m * area + p] * (dz - mean);
            if (lsnni_blend_rows(s)) {
                to[p / (size_t)s->w] += LSNNI_R(dz);
                to[(size_t)s->h + p % (size_t)s->w] += LSNNI_R(dz);
            } else to[p] += LSNNI_R(dz);
        }
    }
}

#ifdef LSNN_NAIVE
/* ---- The naive pair -------------------------------------------------------------------*/
LSNN_API lsnn_status lsnn_blend_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *a,
                                        const lsnn_real *g, const lsnn_real *b,
                                        const lsnn_blender *s)
{
    int area = s->h * s->w;
    LSNNI_TRY(lsnni_blend_check(cx, s));
    for (int n = 0; n < s->n; n++)
    for (int k = 0; k < s->k; k++)
    for (int p = 0; p < area; p++) {
        double sum = b ? (double)b[k] : 0;
        for (int m = 0; m < s->banks; m++)
            sum += (double)g[lsnni_at2(m, p, area)]
                 * (double)a[lsnni_at4(n, m, s->banks, k, s->k, p, area)];
        y[lsnni_at3(n, k, s->k, p, area)] = LSNNI_R(sum);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_blend_backward(lsnn_ctx *cx, lsnn_real *da, lsnn_real *dtheta,
                                         lsnn_real *db, const lsnn_real *dy,
                                         const lsnn_real *a, const lsnn_real *g,
                                         const lsnn_blender *s, int add)
{
    int area = s->h * s->w;
    lsnn_real *dg;
    LSNNI_TRY(lsnni_blend_check(cx, s));
    dg = (lsnn_real *)lsnni_scratch(cx, lsnni_area(s->banks, area), sizeof *dg);
    if (!dg) return LSNN_ENOMEM;
    if (cx->rehearsal_) return LSNN_OK;
    lsnni_clear(dg, lsnni_area(s->banks, area), LSNN_SET);
    lsnni_clear(da, lsnni_at4(s->n, 0, s->banks, 0, s->k, 0, area), add);
    for (int n = 0; n < s->n; n++)
    for (int k = 0; k < s->k; k++)
    for (int p = 0; p < area; p++) {
        lsnn_real d = dy[lsnni_at3(n, k, s->k, p, area)];
        if (db) db[k] += d;
        for (int m = 0; m < s->banks; m++) {
            size_t at = lsnni_at4(n, m, s->banks, k, s->k, p, area);
            if (da) da[at] += g[lsnni_at2(m, p, area)] * d;
            dg[lsnni_at2(m, p, area)] += a[at] * d;
        }
    }
    if (dtheta) lsnni_blend_to_theta(dtheta, dg, g, s);
    return LSNN_OK;
}

#else /* ---- The fast pair: bound by reading a, and by writing da ---------------------------*/
typedef struct lsnni_blending {
    const lsnni_kernels *kv;
    const lsnn_blender *s;
    const lsnn_real *a, *dy, *g, *wide, *b;      /* wide: g, each number once a lane */
    lsnn_real *y, *da, *db, *dg, *sums;
    size_t lanes, map, row;          /* numbers of a map, of one of its rows  */
    int add;
} lsnni_blending;

/* Bank m's map of kernel k of a block.                                        */
static size_t lsnni_blend_at(const lsnni_blending *p, int block, int m, int k)
{
    return (lsnni_area(block * p->s->banks + m, p->s->k) + (size_t)k) * p->map;
}

static void lsnni_blend_task(void *user, int task, int worker)
{
    const lsnni_blending *p = (const lsnni_blending *)user;
    int block = task / p->s->k, k = task % p->s->k;
    lsnn_real *y = p->y + (size_t)task * p->map;
    (void)worker;
    for (int m = 0; m < p->s->banks; m++)
        p->kv->multiply(y, p->a + lsnni_blend_at(p, block, m, k),
                        p->wide + (size_t)m * p->map, p->map, m > 0);
    if (p->b) p->kv->affine(y, y, 1, (double)p->b[k], p->map, LSNN_SET);
}

static void lsnni_blend_da_task(void *user, int task, int worker)
{
    const lsnni_blending *p = (const lsnni_blending *)user;
    int block = task / p->s->k, k = task % p->s->k;
    (void)worker;
    for (int m = 0; m < p->s->banks; m++)
        p->kv->multiply(p->da + lsnni_blend_at(p, block, m, k), p->dy + (size_t)task * p->map,
                        p->wide + (size_t)m * p->map, p->map, p->add);
}

/* dg of one bank and one row of places.                                       */
static void lsnni_blend_dg_task(void *user, int task, int worker)
{
    const lsnni_blending *p = (const lsnni_blending *)user;
    const lsnn_blender *s = p->s;
    int m = task / s->h, i = task % s->h, blocks = s->n / (int)p->lanes;
    lsnn_real *sum = p->lanes > 1 ? p->sums + (size_t)worker * p->row :
        p->dg + (size_t)task * p->row;
    memset(sum, 0, p->row * sizeof *sum);
    for (int block = 0; block < blocks; block++)
        for (int k = 0; k < s->k; k++)
            p->kv->multiply(sum, p->dy + lsnni_at2(block, k, s->k) * p->map +
                            (size_t)i * p->row, p->a + lsnni_blend_at(p, block, m, k) +
                            (size_t)i * p->row, p->row, LSNN_ADD);
    if (p->lanes > 1) p->kv->gather(p->dg + lsnni_area(task, s->w), sum, (size_t)s->w);
}

static void lsnni_blend_db_task(void *user, int k, int worker)
{
    const lsnni_blending *p = (const lsnni_blending *)user;
    double sum = 0;
    (void)worker;
    for (int block = 0; block < p->s->n / (int)p->lanes; block++)
        sum += p->kv->sum(p->dy + lsnni_at2(block, k, p->s->k) * p->map, p->map);
    p->db[k] += LSNNI_R(sum);
}

/* Takes the memory, backward's too if dg, and makes g as wide as a's pixels.  */
static lsnn_status lsnni_blend_plan(lsnn_ctx *cx, lsnni_blending *p, const lsnn_blender *s,
                                    const lsnn_real *g, int dg)
{
    size_t count, area;
    lsnni_want want[3], *end = want;
    lsnn_real *wide = NULL;
    LSNNI_TRY(lsnni_blend_check(cx, s));
    memset(p, 0, sizeof *p);
    area = lsnni_area(s->h, s->w);
    count = (size_t)s->banks * area;
    p->kv = lsnni_kernels_of(cx);
    p->s = s;
    p->g = g;
    p->lanes = s->lanes > 1 ? (size_t)s->lanes : 1;
    p->map = area * p->lanes;
    p->row = (size_t)s->w * p->lanes;
    if (p->lanes > 1) LSNNI_WANT(&end, wide, count * p->lanes);
    if (dg) LSNNI_WANT(&end, p->dg, count);
    if (dg) LSNNI_WANT(&end, p->sums, p->row * (size_t)lsnn_ctx_threads(cx));
    if (end > want) LSNNI_TRY(lsnni_take(cx, want, end));
    if (wide) p->kv->repeat(wide, g, count);
    p->wide = wide ? wide : g;
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_blend_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *a,
                                        const lsnn_real *g, const lsnn_real *b,
                                        const lsnn_blender *s)
{
    lsnni_blending p;
    LSNNI_TRY(lsnni_blend_plan(cx, &p, s, g, 0));
    p.y = y; p.a = a; p.b = b;
    lsnn_parallel(cx, s->n / (int)p.lanes * s->k, lsnni_blend_task, &p);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_blend_backward(lsnn_ctx *cx, lsnn_real *da, lsnn_real *dtheta,
                                         lsnn_real *db, const lsnn_real *dy,
                                         const lsnn_real *a, const lsnn_real *g,
                                         const lsnn_blender *s, int add)
{
    lsnni_blending p;
    LSNNI_TRY(lsnni_blend_plan(cx, &p, s, g, 1));
    p.da = da; p.db = db; p.dy = dy; p.a = a; p.add = add;
    if (dtheta) lsnn_parallel(cx, s->banks * s->h, lsnni_blend_dg_task, &p);
    if (dtheta && !cx->rehearsal_) lsnni_blend_to_theta(dtheta, p.dg, g, s);
    if (db) lsnn_parallel(cx, s->k, lsnni_blend_db_task, &p);
    if (da) lsnn_parallel(cx, s->n / (int)p.lanes * s->k, lsnni_blend_da_task, &p);
    return LSNN_OK;
}
#endif /* LSNN_NAIVE */

/* ---- The layer ------------------------------------------------------------------------*/
static lsnn_blender lsnni_blend_of(const lsnn_layer_plan *p, int n, int lanes)
{
    lsnn_blender s;
    memset(&s, 0, sizeof s);
    s.n = n;
    s.banks = p->o.banks;
    s.k = p->in[0].c / LSNNI_MAX(1, s.banks);
    s.h = p->in[0].h;
    s.w = p->in[0].w;
    s.kind = p->o.blend;
    s.lanes = lanes;
    return s;
}

static lsnn_status lsnni_plan_blend(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_blender s;
    if (p->o.banks < 1 || p->in[0].c % p->o.banks)
        return lsnni_fail(cx, LSNN_ESHAPE, "blend: banks is %d, it must divide the %d channels",
                          p->o.banks, p->in[0].c);
    s = lsnni_blend_of(p, 1, 0);
    LSNNI_TRY(lsnni_blend_check(cx, &s));
    p->out = p->in[0];
    p->out.c = s.k;
    p->param[0] = lsnni_spec("theta", 2, s.banks, lsnn_blender_theta(&s), 0, 0);
    p->param[0].value = !lsnni_blend_free(&s) ? 0 :      /* so that y's variance is that of one */
        (lsnni_blend_rows(&s) ? 0.5 : 1) / sqrt((double)s.banks);    /* bank of He's kernels */
    p->param[1] = lsnni_spec("bias", 1, s.k, 0, 0, 0);
    p->param[0].no_decay = p->param[1].no_decay = 1;
    p->params = p->o.no_bias ? 1 : 2;
    p->keep_name = "weights";
    p->keep_shape = p->in[0];
    p->keep_shape.c = s.banks;
    p->keep_fixed = lsnni_area(s.banks, s.h * s.w);
    p->macs = (double)lsnni_features(p->in[0]);
    lsnni_connect(p, s.banks);
    return LSNN_OK;
}

static lsnn_status lsnni_forward_blend(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_blender s = lsnni_blend_of(c->plan, c->n, c->lanes);
    if (!*c->kept) LSNNI_TRY(lsnn_blend_weights(cx, c->keep, c->param[0], &s));
    *c->kept = 1;
    return lsnn_blend_forward(cx, c->y, c->x[0], c->keep, c->param[1], &s);
}

static lsnn_status lsnni_backward_blend(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_blender s = lsnni_blend_of(c->plan, c->n, c->lanes);
    return lsnn_blend_backward(cx, c->dx[0], c->dparam[0], c->dparam[1], c->dy, c->x[0], c->keep,
                               &s, c->add[0]);
}

static const lsnn_layer_type lsnni_blend_type = {
    "blend", "lr_factor freeze no_bias banks blend", 1, 1,
    LSNN_Y_FREE | LSNN_BLOCKS | LSNN_REHEARSES,
    lsnni_plan_blend, lsnni_forward_blend, lsnni_backward_blend, NULL, NULL,
    NULL, NULL, NULL
};

LSNN_API int lsnn_blend(lsnn_net *net, int x, int banks, const lsnn_options *o)
{
    lsnn_options all = lsnni_options(o);
    if (!all.banks) all.banks = banks;
    return lsnn_layer(net, &lsnni_blend_type, &x, 1, &all);
}

/* NAME-banks, or no name.                                                     */
static const char *lsnni_banks_name(const char *name, char text[240])
{
    if (name) snprintf(text, 240, "%.220s-banks", name);
    return name ? text : NULL;
}

/* The convolution with all banks, and the blend: what is optional goes to the one that reads
   it. Under a softmax of equal weights the banks' mean would have 1 / banks of the variance. */
LSNN_API int lsnn_lowrank2d(lsnn_net *net, int x, int filters, int kernel, int banks,
                            const lsnn_options *o)
{
    lsnn_options conv = lsnni_options(o), all = conv, blend;
    char name[2][240];
    int mean = all.blend == LSNN_BLEND_ROWS || all.blend == LSNN_BLEND_PLACES;
    memset(&blend, 0, sizeof blend);
    blend.name = all.name; blend.share = all.share; blend.keep = all.keep;
    blend.lr_factor = all.lr_factor; blend.freeze = all.freeze; blend.no_bias = all.no_bias;
    blend.blend = all.blend;
    blend.groups = all.groups;           /* which blend refuses                 */
    conv.groups = 0;
    conv.name = lsnni_banks_name(all.name, name[0]);
    conv.share = lsnni_banks_name(all.share, name[1]);
    conv.keep = 0;
    conv.no_bias = 1;
    conv.blend = LSNN_BLEND_ROWS;        /* which is 0: not conv2d's            */
    if (mean && banks > 1) conv.init_scale = lsnni_or(all.init_scale, 1) * sqrt((double)banks);
    x = lsnn_conv2d(net, x, (double)filters * banks > INT_MAX ? -1 : filters * banks, kernel,
                    &conv);
    return x < 0 ? -1 : lsnn_blend(net, x, banks, &blend);
}
