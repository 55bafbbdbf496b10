/* ---- >>table_conv2d -------------------------------------------------------------
   A convolution whose kernels read only some of the input's maps: those that a connection
   table lists, as C3 of LeNet-5 (LeCun et al. 1998, Table I).
   y[n,k,p]   = b[k] + sum over c in table[k], r, s of w[m,r,s] x[n,c,...]    m: number of (k, c)
   dx[n,c,...] (+)= sum over k with c in table[k] of w[m,r,s] dy[n,k,p]
   dw[m,r,s]    += sum_n,p dy[n,k,p] x[n,c,...]     db[k] += sum_n,p dy[n,k,p]
   x N,C,H,W  w M,kh,kw: one a connection, in the table's order  b K  y N,K,OH,OW
   The table is text, "0,1,2;1,2,3;0-2,5": for each kernel, the numbers of its maps in rising
   order. What is not connected has no weight: M*kh*kw*OH*OW multiply-adds an image.  */

/* The next connection of a table, number *k of the kernels and *c of the maps; begin with
   *at the table, *k = 0 and *c = *to = -1. to: where a range ends.            */
static int lsnni_wires_next(const char **at, int *k, int *c, int *to)
{
    if (*c < *to) { ++*c; return 1; }
    if (!**at) return 0;
    if (**at == ';') ++*k;
    if (**at == ';' || **at == ',') ++*at;
    for (*c = 0; **at >= '0' && **at <= '9'; ++*at) *c = *c * 10 + (**at - '0');
    *to = *c;
    if (**at != '-') return 1;
    for (++*at, *to = 0; **at >= '0' && **at <= '9'; ++*at) *to = *to * 10 + (**at - '0');
    return 1;
}

/* A number of at most 6 digits, or -1.                                        */
static int lsnni_wires_number(const char **at)
{
    int n = 0, digits = 0;
    for (; **at >= '0' && **at <= '9'; ++*at, digits++) n = digits < 6 ? n * 10 + (**at - '0') : 0;
    return digits >= 1 && digits <= 6 ? n : -1;
}

/* Counts a table's kernels and connections, after it is found to be one for c maps. */
static lsnn_status lsnni_wires_check(lsnn_ctx *cx, const char *table, int c, int *kernels,
                                     int *connections)
{
    const char *at = table ? table : "";
    double count = 0;
    int last = -1;
    *kernels = 1;
    for (;;) {
        int from = lsnni_wires_number(&at), to = from;
        if (from >= 0 && *at == '-') { at++; to = lsnni_wires_number(&at); }
        if (from <= last || to < from || (*at && *at != ',' && *at != ';'))
            return lsnni_fail(cx, LSNN_EVALUE, "table_conv2d: the table \"%.60s\" is not right at "
                              "its character %d: it wants maps in rising order, like "
                              "\"0,1,2;1,2,3;0-5\"", table ? table : "", (int)(at - (table ?
                              table : at)) + 1);
        if (to >= c)
            return lsnni_fail(cx, LSNN_EVALUE, "table_conv2d: the table's kernel %d reads map %d, "
                              "there are %d", *kernels - 1, to, c);
        count += to - from + 1;
        last = to;
        if (!*at) break;
        if (*at++ == ';') { last = -1; ++*kernels; }
    }
    if (count > INT32_MAX / 4)
        return lsnni_fail(cx, LSNN_ESHAPE, "table_conv2d: %.3g connections", count);
    *connections = (int)count;
    return LSNN_OK;
}

/* The window's sizes and the table fit together.                              */
static lsnn_status lsnni_wires_fits(lsnn_ctx *cx, const char *table, const lsnn_window *s)
{
    int kernels, connections;
    LSNNI_TRY(lsnni_window_check(cx, "table_conv2d", s, 1));
    LSNNI_TRY(lsnni_window_simple(cx, "table_conv2d", s));
    LSNNI_TRY(lsnni_wires_check(cx, table, s->c, &kernels, &connections));
    if (kernels != s->k)
        return lsnni_fail(cx, LSNN_ESHAPE, "table_conv2d: the table has %d kernels, the window "
                          "%d", kernels, s->k);
    return LSNN_OK;
}

/* ---- The naive pair: the loops of >>conv2d, over the pairs that the table lists. */
#ifdef LSNN_NAIVE
/* One pair of maps of one image: y += w * x, or with dy its two gradients.    */
static void lsnni_wires_pair(const lsnn_window *s, lsnn_real *y, const lsnn_real *dy,
                             const lsnn_real *x, lsnn_real *dx, const lsnn_real *w,
                             lsnn_real *dw)
{
    for (int i = 0; i < s->oh; i++)
    for (int j = 0; j < s->ow; j++)
    for (int u = 0; u < s->kernel_h; u++)
    for (int v = 0; v < s->kernel_w; v++) {
        int row = i * s->stride_h - s->pad_top + u, col = j * s->stride_w - s->pad_left + v;
        size_t in = lsnni_at2(row, col, s->w), out = lsnni_at2(i, j, s->ow);
        size_t at = lsnni_at2(u, v, s->kernel_w);
        if (row < 0 || row >= s->h || col < 0 || col >= s->w) continue;   /* padding is 0 */
        if (y) y[out] += w[at] * x[in];
        if (dx) dx[in] += dy[out] * w[at];
        if (dw) dw[at] += dy[out] * x[in];
    }
}

static void lsnni_wires_image(const char *table, const lsnn_window *s, lsnn_real *y,
                              const lsnn_real *dy, const lsnn_real *x, lsnn_real *dx,
                              const lsnn_real *w, lsnn_real *dw)
{
    size_t in = lsnni_area(s->h, s->w), out = lsnni_area(s->oh, s->ow), m = 0;
    size_t taps = lsnni_area(s->kernel_h, s->kernel_w);
    for (int k = 0, c = -1, to = -1; lsnni_wires_next(&table, &k, &c, &to); m++)
        lsnni_wires_pair(s, y ? y + (size_t)k * out : NULL, dy ? dy + (size_t)k * out : NULL,
                         x + (size_t)c * in, dx ? dx + (size_t)c * in : NULL, w + m * taps,
                         dw ? dw + m * taps : NULL);
}

LSNN_API lsnn_status lsnn_table_conv2d_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *room,
                                               const lsnn_real *x, const lsnn_real *w,
                                               const lsnn_real *b, const char *table,
                                               const lsnn_window *s)
{
    size_t in = lsnni_area(s->h, s->w) * (size_t)s->c, out = lsnni_area(s->oh, s->ow);
    (void)room;
    LSNNI_TRY(lsnni_wires_fits(cx, table, s));
    if (cx->rehearsal_) return LSNN_OK;
    for (int n = 0; n < s->n; n++) {
        lsnn_real *yn = y + (size_t)n * (size_t)s->k * out;
        for (size_t i = 0; i < (size_t)s->k * out; i++) yn[i] = b ? b[i / out] : 0;
        lsnni_wires_image(table, s, yn, NULL, x + (size_t)n * in, NULL, w, NULL);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_table_conv2d_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                                lsnn_real *db, lsnn_real *room,
                                                const lsnn_real *dy, const lsnn_real *x,
                                                const lsnn_real *w, const char *table,
                                                const lsnn_window *s, int add)
{
    size_t in = lsnni_area(s->h, s->w) * (size_t)s->c, out = lsnni_area(s->oh, s->ow);
    (void)room;
    LSNNI_TRY(lsnni_wires_fits(cx, table, s));
    if (cx->rehearsal_) return LSNN_OK;
    lsnni_clear(dx, in * (size_t)s->n, add);
    for (int n = 0; n < s->n; n++) {
        const lsnn_real *dyn = dy + (size_t)n * (size_t)s->k * out;
        for (size_t i = 0; i < (size_t)s->k * out && db; i++) db[i / out] += dyn[i];
        lsnni_wires_image(table, s, NULL, dyn, x + (size_t)n * in,
                          dx ? dx + (size_t)n * in : NULL, w, dw);
    }
    return LSNN_OK;
}

#else /* ---- The fast pair: the convolution, with 0 where nothing is connected -------------
   It does K*C/M times the work, which is less than what gathering maps would cost: 1.6 times
   for LeNet-5's table. A table that leaves out nearly all is better made of slices.  */
static void lsnni_wires_spread(lsnn_real *full, const lsnn_real *w, const char *table,
                               const lsnn_window *s)
{
    size_t taps = lsnni_area(s->kernel_h, s->kernel_w), m = 0;
    memset(full, 0, lsnni_area(s->k, s->c) * taps * sizeof *full);
    for (int k = 0, c = -1, to = -1; lsnni_wires_next(&table, &k, &c, &to); m++)
        memcpy(full + lsnni_at2(k, c, s->c) * taps, w + m * taps, taps * sizeof *full);
}

LSNN_API lsnn_status lsnn_table_conv2d_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *room,
                                               const lsnn_real *x, const lsnn_real *w,
                                               const lsnn_real *b, const char *table,
                                               const lsnn_window *s)
{
    LSNNI_TRY(lsnni_wires_fits(cx, table, s));
    lsnni_wires_spread(room, w, table, s);
    return lsnn_conv2d_forward(cx, y, x, room, b, s);
}

LSNN_API lsnn_status lsnn_table_conv2d_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                                lsnn_real *db, lsnn_real *room,
                                                const lsnn_real *dy, const lsnn_real *x,
                                                const lsnn_real *w, const char *table,
                                                const lsnn_window *s, int add)
{
    size_t taps = lsnni_area(s->kernel_h, s->kernel_w), m = 0;
    LSNNI_TRY(lsnni_wires_fits(cx, table, s));
    if (dx) lsnni_wires_spread(room, w, table, s);
    LSNNI_TRY(lsnn_conv2d_backward(cx, dx, NULL, db, dy, x, room, s, add));
    if (!dw) return LSNN_OK;
    memset(room, 0, lsnni_area(s->k, s->c) * taps * sizeof *room);
    LSNNI_TRY(lsnn_conv2d_backward(cx, NULL, room, NULL, dy, x, w, s, LSNN_SET));
    for (int k = 0, c = -1, to = -1; lsnni_wires_next(&table, &k, &c, &to); m++)
        for (size_t i = 0; i < taps; i++)
            dw[m * taps + i] += room[lsnni_at2(k, c, s->c) * taps + i];
    return LSNN_OK;
}
#endif /* LSNN_NAIVE */

/* ---- The layer ------------------------------------------------------------------------*/
static lsnn_status lsnni_plan_table_conv2d(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_window s;
    int kernels, connections;
    LSNNI_TRY(lsnni_wires_check(cx, p->o.table, p->in[0].c, &kernels, &connections));
    if (p->o.filters && p->o.filters != kernels)
        return lsnni_fail(cx, LSNN_ESHAPE, "table_conv2d: filters is %d, the table has %d kernels",
                          p->o.filters, kernels);
    p->o.filters = kernels;
    LSNNI_TRY(lsnni_plan_kernels(cx, p, &s));
    p->param[0] = lsnni_spec("weight", 3, connections, s.kernel_h, s.kernel_w, 0);
    p->param[0].fan_in = lsnni_div_up(connections, s.k) * s.kernel_h * s.kernel_w;
    p->param[0].fan_out = lsnni_div_up(connections, s.c) * s.kernel_h * s.kernel_w;
    p->param[1] = lsnni_spec("bias", 1, s.k, 0, 0, 0);
    p->param[1].no_decay = 1;
    p->keep_fixed = lsnni_area(s.k, s.c) * lsnni_area(s.kernel_h, s.kernel_w);
    p->macs = (double)p->param[0].count * s.oh * s.ow;
    lsnni_connect(p, (double)p->param[0].count / s.k);
    return LSNN_OK;
}

static lsnn_status lsnni_forward_table_conv2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    return lsnn_table_conv2d_forward(cx, c->y, c->keep, c->x[0], c->param[0], c->param[1],
                                     c->plan->o.table, &s);
}

static lsnn_status lsnni_backward_table_conv2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    return lsnn_table_conv2d_backward(cx, c->dx[0], c->dparam[0], c->dparam[1], c->keep, c->dy,
                                      c->x[0], c->param[0], c->plan->o.table, &s, c->add[0]);
}

static const lsnn_layer_type lsnni_table_conv2d_type = {
    "table_conv2d", LSNNI_WEIGHTED LSNNI_WINDOW_OPTIONS "table", 1, 1,
    LSNN_Y_FREE | LSNN_BLOCKS | LSNN_REHEARSES | LSNN_CROPS,
    lsnni_plan_table_conv2d, lsnni_forward_table_conv2d, lsnni_backward_table_conv2d, NULL, NULL,
    NULL, NULL, NULL
};

LSNN_API int lsnn_table_conv2d(lsnn_net *net, int x, const char *table, int kernel,
                               const lsnn_options *o)
{
    lsnn_options all = lsnni_options(o);
    if (!all.table) all.table = table;
    return lsnni_windowed(net, &lsnni_table_conv2d_type, x, 0, kernel, &all);
}
