/* ---- >>copies: concat, slice, add and flatten are made of lsnn_rows_copy ------------*/
typedef struct lsnni_rows {
    const lsnni_kernels *kv;
    const lsnn_real *x;
    lsnn_real *y;
    size_t y_stride, x_stride, len;
    int pieces, add;
} lsnni_rows;

static void lsnni_rows_task(void *user, int task, int worker)
{
    const lsnni_rows *p = (const lsnni_rows *)user;
    size_t row = (size_t)(task / p->pieces), at = (size_t)(task % p->pieces) * LSNNI_PIECE;
    size_t count = LSNNI_MIN((size_t)LSNNI_PIECE, p->len - at);
    lsnn_real *to = p->y + row * p->y_stride + at;
    const lsnn_real *from = p->x + row * p->x_stride + at;
    (void)worker;
    if (p->add) p->kv->axpy(to, 1, from, count);
    else memcpy(to, from, count * sizeof *to);
}

LSNN_API lsnn_status lsnn_rows_copy(lsnn_ctx *cx, lsnn_real *y, size_t y_stride,
                                    const lsnn_real *x, size_t x_stride, int n, size_t len,
                                    int add)
{
    lsnni_rows p;
    size_t pieces = (len + LSNNI_PIECE - 1) / LSNNI_PIECE;
    if (n < 0 || (n > 1 && (y_stride < len || x_stride < len)) ||
        (double)pieces * n > INT_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE,
                          "rows_copy: %d rows of %.0f numbers, %.0f and %.0f apart",
                          n, (double)len, (double)y_stride, (double)x_stride);
    p.kv = lsnni_kernels_of(cx);
    p.x = x; p.y = y; p.y_stride = y_stride; p.x_stride = x_stride; p.len = len; p.add = add;
    p.pieces = (int)pieces;
    lsnn_parallel(cx, n * p.pieces, lsnni_rows_task, &p);
    return LSNN_OK;
}

static lsnn_status lsnni_plan_add(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_shape a = p->in[0], b = p->in[1];
    if (a.c != b.c || a.h != b.h || a.w != b.w)
        return lsnni_fail(cx, LSNN_ESHAPE, "add: %dx%dx%d and %dx%dx%d differ", a.c, a.h, a.w,
                          b.c, b.h, b.w);
    return lsnni_plan_same(cx, p);
}

static lsnn_status lsnni_forward_add(lsnn_ctx *cx, lsnn_call *c)
{
    size_t count = lsnni_call_count(c);
    LSNNI_TRY(lsnn_rows_copy(cx, c->y, count, c->x[0], count, 1, count, LSNN_SET));
    return lsnn_rows_copy(cx, c->y, count, c->x[1], count, 1, count, LSNN_ADD);
}

static lsnn_status lsnni_backward_add(lsnn_ctx *cx, lsnn_call *c)
{
    size_t count = lsnni_call_count(c);
    for (int i = 0; i < 2; i++)
        if (c->dx[i])
            LSNNI_TRY(lsnn_rows_copy(cx, c->dx[i], count, c->dy, count, 1, count, c->add[i]));
    return LSNN_OK;
}

static const lsnn_layer_type lsnni_add_type = {
    "add", "", 2, 2,
    LSNN_X_FREE | LSNN_Y_FREE | LSNN_BLOCKS_ALL | LSNN_REHEARSES,
    lsnni_plan_add, lsnni_forward_add, lsnni_backward_add, NULL, NULL,
    LSNNI_DEVICE_PAIR(add)
};

LSNN_API int lsnn_add(lsnn_net *net, int a, int b, const lsnn_options *o)
{
    int x[2];
    x[0] = a;
    x[1] = b;
    return lsnn_layer(net, &lsnni_add_type, x, 2, o);
}

static lsnn_status lsnni_plan_concat(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    p->out = p->in[0];
    for (int i = 1; i < p->inputs; i++) {
        if (p->in[i].h != p->out.h || p->in[i].w != p->out.w)
            return lsnni_fail(cx, LSNN_ESHAPE, "concat: input %d is %dx%d, the first %dx%d",
                              i + 1, p->in[i].h, p->in[i].w, p->out.h, p->out.w);
        if (p->in[i].c > INT_MAX - p->out.c)
            return lsnni_fail(cx, LSNN_ESHAPE, "concat: too many channels");
        p->out.c += p->in[i].c;
    }
    return LSNN_OK;
}

/* Concat forward and backward are one walk over the inputs' places in y.     */
static lsnn_status lsnni_concat_walk(lsnn_ctx *cx, lsnn_call *c, int backward)
{
    size_t lanes = (size_t)lsnni_lanes_or_1(c), out = (size_t)lsnni_features(c->plan->out);
    size_t at = 0;
    int n = lsnni_blocks(c);
    out *= lanes;
    for (int i = 0; i < c->plan->inputs; i++) {
        size_t in = (size_t)lsnni_features(c->plan->in[i]) * lanes;
        if (!backward)
            LSNNI_TRY(lsnn_rows_copy(cx, c->y + at, out, c->x[i], in, n, in, LSNN_SET));
        else if (c->dx[i])
            LSNNI_TRY(lsnn_rows_copy(cx, c->dx[i], in, c->dy + at, out, n, in, c->add[i]));
        at += in;
    }
    return LSNN_OK;
}
static lsnn_status lsnni_forward_concat(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnni_concat_walk(cx, c, 0);
}
static lsnn_status lsnni_backward_concat(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnni_concat_walk(cx, c, 1);
}

static const lsnn_layer_type lsnni_concat_type = {
    "concat", "", 1, LSNN_MAX_INPUTS,
    LSNN_X_FREE | LSNN_Y_FREE | LSNN_BLOCKS_ALL | LSNN_REHEARSES | LSNN_JOINS,
    lsnni_plan_concat, lsnni_forward_concat, lsnni_backward_concat, NULL, NULL,
    LSNNI_DEVICE_PAIR(concat)
};

LSNN_API int lsnn_concat(lsnn_net *net, const int *x, int count, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_concat_type, x, count, o);
}

static lsnn_status lsnni_plan_slice(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    if (p->o.first < 0 || p->o.count < 1 || p->o.first > p->in[0].c - p->o.count)
        return lsnni_fail(cx, LSNN_ESHAPE, "slice: channels [%d, %d + %d) of %d", p->o.first,
                          p->o.first, p->o.count, p->in[0].c);
    p->out = p->in[0];
    p->out.c = p->o.count;
    return LSNN_OK;
}

static lsnn_status lsnni_forward_slice(lsnn_ctx *cx, lsnn_call *c)
{
    size_t lanes = (size_t)lsnni_lanes_or_1(c);
    size_t len = (size_t)lsnni_features(c->plan->out) * lanes;
    return lsnn_rows_copy(cx, c->y, len, c->x[0] + lsnni_area(c->plan->o.first,
                                                              lsnni_call_inner(c)),
                          (size_t)lsnni_features(c->plan->in[0]) * lanes, lsnni_blocks(c), len,
                          LSNN_SET);
}

static lsnn_status lsnni_backward_slice(lsnn_ctx *cx, lsnn_call *c)
{
    size_t lanes = (size_t)lsnni_lanes_or_1(c);
    size_t len = (size_t)lsnni_features(c->plan->out) * lanes;
    if (!c->add[0]) memset(c->dx[0], 0, lsnni_call_count(c) * sizeof *c->dy);
    return lsnn_rows_copy(cx, c->dx[0] + lsnni_area(c->plan->o.first, lsnni_call_inner(c)),
                          (size_t)lsnni_features(c->plan->in[0]) * lanes, c->dy, len,
                          lsnni_blocks(c), len, LSNN_ADD);
}

static const lsnn_layer_type lsnni_slice_type = {
    "slice", "first count", 1, 1,
    LSNN_X_FREE | LSNN_Y_FREE | LSNN_BLOCKS_ALL | LSNN_REHEARSES,
    lsnni_plan_slice, lsnni_forward_slice, lsnni_backward_slice, NULL, NULL,
    LSNNI_DEVICE_PAIR(slice)
};

LSNN_API int lsnn_slice(lsnn_net *net, int x, int first, int count, const lsnn_options *o)
{
    lsnn_options all = lsnni_options(o);
    all.first = first;
    all.count = count;
    return lsnn_layer(net, &lsnni_slice_type, &x, 1, &all);
}

static lsnn_status lsnni_plan_flatten(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    (void)cx;
    p->out.c = lsnni_features(p->in[0]);
    p->out.h = p->out.w = 1;
    return LSNN_OK;
}

static lsnn_status lsnni_forward_flatten(lsnn_ctx *cx, lsnn_call *c)
{
    size_t count = lsnni_call_count(c);
    if (c->y == c->x[0]) return LSNN_OK;
    return lsnn_rows_copy(cx, c->y, count, c->x[0], count, 1, count, LSNN_SET);
}

static lsnn_status lsnni_backward_flatten(lsnn_ctx *cx, lsnn_call *c)
{
    size_t count = lsnni_call_count(c);
    if (c->dx[0] == c->dy) return LSNN_OK;
    return lsnn_rows_copy(cx, c->dx[0], count, c->dy, count, 1, count, c->add[0]);
}

static const lsnn_layer_type lsnni_flatten_type = {
    "flatten", "", 1, 1,
    LSNN_IN_PLACE | LSNN_BLOCKS_ALL | LSNN_REHEARSES | LSNN_Y_FREE,
    lsnni_plan_flatten, lsnni_forward_flatten, lsnni_backward_flatten, NULL, NULL,
    LSNNI_DEVICE_PAIR(flatten)
};

LSNN_API int lsnn_flatten(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_flatten_type, &x, 1, o);
}
