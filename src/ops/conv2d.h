/* ---- >>conv2d -------------------------------------------------------------------
   y[n,k,oy,ox]   = b[k] + sum_crs w[k,c,r,s] x[n, g(k)*C/G + c, iy, ix]
   dx[n, g*C/G + c, iy, ix] (+)= sum_krs w[k,c,r,s] dy[n,k,oy,ox]   over the kernels k of group
                     g, and all r, s, oy, ox that meet that pixel: for r and s those for which
                     oy = (iy + pt - r*dh) / sh, and ox likewise, are whole and inside of y
   dw[k,c,r,s]     += sum_n,oy,ox dy[n,k,oy,ox] x[n, g(k)*C/G + c, iy, ix]
   db[k]           += sum_n,oy,ox dy[n,k,oy,ox]
   with iy = oy*sh + r*dh - pt, ix = ox*sw + s*dw - pl: stride, dilation, padding. In G groups,
   each for itself a convolution of C/G channels by K/G kernels; g(k) = k / (K/G).
   x N,C,H,W  w K,C/G,kh,kw  b K  y N,K,OH,OW; pixels outside the image are 0.
   K*C/G*kh*kw*OH*OW multiply-adds an image forward, twice that backward.   */
static int lsnni_depth(const lsnn_window *s)             /* products a sum    */
{
    return s->c / s->groups * s->kernel_h * s->kernel_w;
}

/* ---- The naive pair: what the formulas say. Wherever forward has y += x * w, backward has
   dx += dy * w and dw += dy * x. LSNN_NAIVE builds the library on it.
   Seven loops around one product: images, kernels, a map's rows and columns; channels, a
   kernel's rows and columns. All that the fast pair does is to take them in another order, so
   that products share what they load: a tile's weights all its pixels, its pixels all its
   kernels. Padding is a pixel that lsnni_pixel (>>both) does not find: it adds nothing.
   i, j, u, v are the formulas' oy, ox, r, s; s is the window.                */
#ifdef LSNN_NAIVE
#define LSNNI_CONV2D_FUSES 0
LSNN_API lsnn_status lsnn_conv2d_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                         const lsnn_real *w, const lsnn_real *b,
                                         const lsnn_window *s)
{
    LSNNI_TRY(lsnni_window_check(cx, "conv2d", s, 1));
    if (cx->rehearsal_) return LSNN_OK;
    for (int n = 0; n < s->n; n++)
    for (int k = 0; k < s->k; k++)
    for (int i = 0; i < s->oh; i++)
    for (int j = 0; j < s->ow; j++) {
        double sum = 0;
        for (int c = 0; c < s->c / s->groups; c++)
        for (int u = 0; u < s->kernel_h; u++)
        for (int v = 0; v < s->kernel_w; v++) {
            size_t in, at = lsnni_at4(k, c, s->c / s->groups, u, s->kernel_h, v, s->kernel_w);
            if (lsnni_pixel(s, n, k, i, j, c, u, v, &in)) sum += (double)x[in] * (double)w[at];
        }
        y[lsnni_at4(n, k, s->k, i, s->oh, j, s->ow)] = LSNNI_R(sum) + (b ? b[k] : 0);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_conv2d_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                          lsnn_real *db, const lsnn_real *dy,
                                          const lsnn_real *x, const lsnn_real *w,
                                          const lsnn_window *s, int add)
{
    LSNNI_TRY(lsnni_window_check(cx, "conv2d", s, 1));
    if (cx->rehearsal_) return LSNN_OK;
    lsnni_clear(dx, lsnni_at4(s->n, 0, s->c, 0, s->h, 0, s->w), add);
    for (int n = 0; n < s->n; n++)
    for (int k = 0; k < s->k; k++)
    for (int i = 0; i < s->oh; i++)
    for (int j = 0; j < s->ow; j++) {
        lsnn_real g = dy[lsnni_at4(n, k, s->k, i, s->oh, j, s->ow)];
        if (db) db[k] += g;
        for (int c = 0; c < s->c / s->groups; c++)
        for (int u = 0; u < s->kernel_h; u++)
        for (int v = 0; v < s->kernel_w; v++) {
            size_t in, at = lsnni_at4(k, c, s->c / s->groups, u, s->kernel_h, v, s->kernel_w);
            if (!lsnni_pixel(s, n, k, i, j, c, u, v, &in)) continue;
            if (dx) dx[in] += g * w[at];
            if (dw) dw[at] += g * x[in];
        }
    }
    return LSNN_OK;
}

#else /* ---- The fast pair ---------------------------------------------------------------*/
#define LSNNI_CONV2D_FUSES LSNN_MAX2_AFTER
/* Forward has three ways, as the arrays lie: blocks of images (>>on lanes, dx too) run
   fastest; plain arrays go along rows (>>convolve); a few plain images under a 1 x 1 window
   are a product of matrices each (>>gemm). A group of an image is to them an image of C/G
   channels. pool.on: the maps, of even sides, go through a max pooling of 2 x 2 to y and
   pool.where on the way. None copies patches into a matrix (im2col), which reads and writes
   each pixel kh*kw times before the first product: tiles find their pixels by tables of
   offsets instead. */
static lsnn_status lsnni_conv2d_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                        const lsnn_real *w, const lsnn_real *b,
                                        const lsnn_window *s, const lsnni_pooled *pool)
{
    LSNNI_TRY(lsnni_window_check(cx, "conv2d", s, 1));
    if (s->lanes > 1) return lsnni_blocks_forward(cx, y, x, w, b, s, pool);
    if (!pool->on && lsnni_image_tasks(s->n) > 1 && lsnni_pointwise(s))
        return lsnni_pointwise_forward(cx, y, x, w, b, s);
    return lsnni_rows_forward(cx, y, x, w, b, s, pool);
}

LSNN_API lsnn_status lsnn_conv2d_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                         const lsnn_real *w, const lsnn_real *b,
                                         const lsnn_window *s)
{
    lsnni_pooled none;
    memset(&none, 0, sizeof none);
    return lsnni_conv2d_forward(cx, y, x, w, b, s, &none);
}

/* Groups one by one: each adds to kernels of its own. Where a group has so few that vectors
   of kernels would be nearly empty, the sums go along rows of pixels instead. `part` keeps
   s->groups, which says how far a group's maps are from its next image's.    */
static lsnn_status lsnni_conv2d_backward_w(lsnn_ctx *cx, lsnn_real *dw, lsnn_real *db,
                                           const lsnn_real *dy, const lsnn_real *x,
                                           const lsnn_window *s)
{
    size_t lanes = s->lanes > 1 ? (size_t)s->lanes : 1;
    lsnn_window part = *s;
    if (s->lanes > 1) LSNNI_TRY(lsnni_lanes_check(cx, "conv2d", s));
    if (s->groups > 1 && s->k / s->groups <= LSNNI_FEW)
        return lsnni_few_backward_w(cx, dw, db, dy, x, s);
    part.c = s->c / s->groups;
    part.k = s->k / s->groups;
    for (int g = 0; g < s->groups; g++) {
        LSNNI_TRY((s->lanes > 1 ? lsnni_blocks_backward_w : lsnni_rows_backward_w)
                  (cx, dw, db, dy, x, &part));
        x += lsnni_area(part.c * s->h, s->w) * lanes;
        dy += lsnni_area(part.k * s->oh, s->ow) * lanes;
        if (dw) dw += lsnni_area(part.k, lsnni_depth(s));
        if (db) db += part.k;
    }
    return LSNN_OK;
}

/* dx and dw have a second path, along rows, though plain arrays could be turned to blocks, with
   zeros for missing images, as local2d does but for a few. Measured, that is slower. Its speed
   as a share of that along rows, turning included (16 lanes, one thread, 7 times in turn; dx and
   dw of windows of 5 x 5 on 256 x 14 x 14, 256 x 7 x 7 and 16 x 14 x 14, of 3 x 3 on 64 x 28 x
   28):
       images               1      5     20     60
       least             0.08   0.21   0.46   0.78
       geometric mean    0.16   0.42   0.77   1.11
       most              0.34   0.78   1.51   1.77
   Empty lanes cost as much as full ones, and from a net only batches that are no whole blocks
   come here: an epoch's last one, or one image a step. Blocks gain on maps of 7 x 7, whose rows
   fill three fifths of dx's lanes and whose 49 pixels are a short sum for dw. */
LSNN_API lsnn_status lsnn_conv2d_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                          lsnn_real *db, const lsnn_real *dy,
                                          const lsnn_real *x, const lsnn_real *w,
                                          const lsnn_window *s, int add)
{
    int blocks = s->lanes > 1;
    LSNNI_TRY(lsnni_window_check(cx, "conv2d", s, 1));
    if (dw || db) LSNNI_TRY(lsnni_conv2d_backward_w(cx, dw, db, dy, x, s));
    if (dx)
        LSNNI_TRY((blocks ? lsnni_blocks_backward_x : lsnni_rows_backward_x)(cx, dx, dy, w, s,
                                                                            add));
    return LSNN_OK;
}

#endif /* LSNN_NAIVE */

/* ---- The layer ------------------------------------------------------------------------
   Backward reads x and w, never y, so what comes behind may work in y's place (LSNN_Y_FREE);
   dx is not made for a first layer, a third of the work. */
static lsnn_status lsnni_plan_conv2d(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_plan_kernels(cx, p, &s));
    p->param[0] = lsnni_spec("weight", 4, s.k, s.c / s.groups, s.kernel_h, s.kernel_w);
    p->param[0].fan_in = lsnni_depth(&s);
    /* The outputs that one pixel adds to at stride 1, as Glorot's rule counts them; fan_in is
       what one output is summed from, as He's does.                          */
    p->param[0].fan_out = s.k / s.groups * s.kernel_h * s.kernel_w;
    p->param[1] = lsnni_spec("bias", 1, s.k, 0, 0, 0);
    p->param[1].no_decay = 1;
    p->macs = (double)p->param[0].count * s.oh * s.ow;
    lsnni_connect(p, p->param[0].fan_in);
    if (s.kernel_h * s.kernel_w == 1) p->traits &= ~LSNN_MAX2_AFTER;     /* a matrix product */
    return LSNN_OK;
}

/* `does` is 0 or a pooling, perhaps with its relu: a relu alone is the business of others. The
   plan has given it the pooling's y and keep, whose numbers are 32-bit pixels here. */
static lsnn_status lsnni_forward_conv2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
#ifndef LSNN_NAIVE
    if (c->does) {
        lsnni_pooled pool;
        memset(&pool, 0, sizeof pool);
        pool.on = c->does & LSNN_DO_MAX2;
        pool.relu = c->does & LSNN_DO_RELU;
        pool.where = (int32_t *)(void *)c->keep;
        return lsnni_conv2d_forward(cx, c->y, c->x[0], c->param[0], c->param[1], &s, &pool);
    }
#endif
    return lsnn_conv2d_forward(cx, c->y, c->x[0], c->param[0], c->param[1], &s);
}

static lsnn_status lsnni_backward_conv2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    return lsnn_conv2d_backward(cx, c->dx[0], c->dparam[0], c->dparam[1], c->dy, c->x[0],
                                c->param[0], &s, c->add[0]);
}

static const lsnn_layer_type lsnni_conv2d_type = {
    "conv2d", LSNNI_WEIGHTED LSNNI_KERNEL_OPTIONS, 1, 1,
    LSNN_Y_FREE | LSNN_BLOCKS | LSNN_REHEARSES | LSNN_CROPS | LSNNI_CONV2D_FUSES,
    lsnni_plan_conv2d, lsnni_forward_conv2d, lsnni_backward_conv2d, NULL, NULL,
    LSNNI_DEVICE_PAIR(conv2d)
};

LSNN_API int lsnn_conv2d(lsnn_net *net, int x, int filters, int kernel, const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_conv2d_type, x, filters, kernel, o);
}

/* A signal is an image of one row.                                           */
LSNN_API int lsnn_conv1d(lsnn_net *net, int x, int filters, int kernel, const lsnn_options *o)
{
    return lsnni_windowed_row(net, &lsnni_conv2d_type, x, filters, kernel, o);
}
