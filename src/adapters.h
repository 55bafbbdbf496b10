/* ---- >>layer types: each op as the net sees it -----------------------------------
   plan: shapes, parameters and counts from the inputs' shapes and the options.
   forward and backward: the op, on the call's arrays.                        */
static lsnn_param_spec lsnni_spec(const char *name, int rank, int a, int b, int c, int d)
{
    lsnn_param_spec s;
    memset(&s, 0, sizeof s);
    s.name = name;
    s.rank = rank;
    s.dim[0] = a; s.dim[1] = b; s.dim[2] = c; s.dim[3] = d;
    s.count = 1;
    for (int i = 0; i < rank; i++) s.count *= (size_t)s.dim[i];
    return s;
}

static int lsnni_inner(lsnn_shape s) { return s.h * s.w; }
/* A block of images is like one image whose pixels are lanes as wide.        */
static int lsnni_lanes_or_1(const lsnn_call *c) { return c->lanes ? c->lanes : 1; }
static int lsnni_blocks(const lsnn_call *c) { return c->n / lsnni_lanes_or_1(c); }
static int lsnni_call_inner(const lsnn_call *c)
{
    return lsnni_inner(c->plan->in[0]) * lsnni_lanes_or_1(c);
}
static int lsnni_features(lsnn_shape s) { return s.c * s.h * s.w; }

/* The window of a call, for its number of images.                            */
static lsnn_status lsnni_window_of(lsnn_ctx *cx, lsnn_window *s, const lsnn_layer_plan *p,
                                   int n, int k)
{
    int pad[4];
    pad[0] = p->o.pad_top; pad[1] = p->o.pad_left;
    pad[2] = p->o.pad_bottom; pad[3] = p->o.pad_right;
    return lsnn_window_set(cx, s, n, p->in[0], k, p->o.kernel_h, p->o.kernel_w, p->o.stride_h,
                           p->o.stride_w, p->o.padding, pad);
}

static lsnn_status lsnni_call_window(lsnn_ctx *cx, lsnn_window *s, const lsnn_call *c)
{
    LSNNI_TRY(lsnni_window_of(cx, s, c->plan, c->n, c->plan->out.c));
    s->oh = c->plan->out.h;          /* less where nobody reads the rest      */
    s->ow = c->plan->out.w;
    s->lanes = c->lanes;
    return LSNN_OK;
}

static void lsnni_window_defaults(lsnn_options *o, int stride_h, int stride_w)
{
    if (!o->kernel_w) o->kernel_w = o->kernel_h;
    if (!o->stride_w) o->stride_w = o->stride_h ? o->stride_h : stride_w;
    if (!o->stride_h) o->stride_h = stride_h;
}

#define LSNNI_PARAM_OPTIONS "init init_scale lr_factor freeze no_decay "
#define LSNNI_WINDOW_OPTIONS "kernel_h kernel_w stride_h stride_w padding pad_top pad_left " \
                             "pad_bottom pad_right "

static lsnn_status lsnni_plan_input(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    (void)cx;
    p->out = p->in[0];               /* set by lsnn_input                     */
    return LSNN_OK;
}

/* What the plans of conv2d and local2d have in common.                       */
static lsnn_status lsnni_plan_kernels(lsnn_ctx *cx, lsnn_layer_plan *p, lsnn_window *s)
{
    lsnni_window_defaults(&p->o, 1, 1);
    LSNNI_TRY(lsnni_window_of(cx, s, p, 1, p->o.filters));
    LSNNI_TRY(lsnni_window_check(cx, "window", s, 1));
    p->out.c = s->k; p->out.h = s->oh; p->out.w = s->ow;
    p->params = p->o.no_bias ? 1 : 2;
    return LSNN_OK;
}

static lsnn_status lsnni_plan_conv2d(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_plan_kernels(cx, p, &s));
    p->param[0] = lsnni_spec("weight", 4, s.k, s.c, s.kernel_h, s.kernel_w);
    p->param[0].fan_in = s.c * s.kernel_h * s.kernel_w;
    p->param[0].fan_out = s.k * s.kernel_h * s.kernel_w;
    p->param[1] = lsnni_spec("bias", 1, s.k, 0, 0, 0);
    p->param[1].no_decay = 1;
    p->macs = (double)p->param[0].count * s.oh * s.ow;
    return LSNN_OK;
}

static lsnn_status lsnni_plan_local2d(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_window s;
    int depth;
    LSNNI_TRY(lsnni_plan_kernels(cx, p, &s));
    depth = s.c * s.kernel_h * s.kernel_w;
    p->param[0] = lsnni_spec("weight", 3, s.oh * s.ow, depth, s.k, 0);
    p->param[0].fan_in = depth;
    p->param[0].fan_out = s.k * s.kernel_h * s.kernel_w;
    p->param[1] = lsnni_spec("bias", 3, s.k, s.oh, s.ow, 0);
    p->param[1].no_decay = 1;
    p->macs = (double)p->param[0].count;
    return LSNN_OK;
}

static lsnn_status lsnni_forward_conv2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_pooled pool;
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    memset(&pool, 0, sizeof pool);
    pool.on = c->with_pool_;
    pool.relu = c->with_relu_;
    pool.where = (int32_t *)(void *)c->keep;
    return lsnni_conv2d_forward(cx, c->y, c->x[0], c->param[0], c->param[1], &s, &pool);
}
static lsnn_status lsnni_forward_local2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    return lsnn_local2d_forward(cx, c->y, c->x[0], c->param[0], c->param[1], &s);
}
#define LSNNI_BACKWARD(name)                                                             \
    static lsnn_status lsnni_backward_##name(lsnn_ctx *cx, lsnn_call *c)                 \
    {                                                                                    \
        lsnn_window s;                                                                   \
        LSNNI_TRY(lsnni_call_window(cx, &s, c));                         \
        return lsnn_##name##_backward(cx, c->dx[0], c->dparam[0], c->dparam[1], c->dy,   \
                                      c->x[0], c->param[0], &s, c->add[0]);              \
    }
LSNNI_BACKWARD(conv2d)
LSNNI_BACKWARD(local2d)
#undef LSNNI_BACKWARD

static lsnn_status lsnni_plan_dense(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    int in = lsnni_features(p->in[0]), out = p->o.filters;
    LSNNI_TRY(lsnni_dense_sizes(cx, 1, in, out));
    p->out.c = out; p->out.h = p->out.w = 1;
    p->param[0] = lsnni_spec("weight", 2, out, in, 0, 0);
    p->param[0].fan_in = in;
    p->param[0].fan_out = out;
    p->param[1] = lsnni_spec("bias", 1, out, 0, 0, 0);
    p->param[1].no_decay = 1;
    p->params = p->o.no_bias ? 1 : 2;
    p->macs = ((double)in + (p->o.no_bias ? 0 : 1)) * out;
    return LSNN_OK;
}

static lsnn_status lsnni_forward_dense(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnn_dense_forward(cx, c->y, c->x[0], c->param[0], c->param[1], c->n,
                              lsnni_features(c->plan->in[0]), c->plan->out.c);
}

static lsnn_status lsnni_backward_dense(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnn_dense_backward(cx, c->dx[0], c->dparam[0], c->dparam[1], c->dy, c->x[0],
                               c->param[0], c->n, lsnni_features(c->plan->in[0]),
                               c->plan->out.c, c->add[0]);
}

static lsnn_status lsnni_plan_same(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    (void)cx;
    p->out = p->in[0];
    return LSNN_OK;
}

static size_t lsnni_call_count(const lsnn_call *c)
{
    return lsnni_area(c->n, lsnni_features(c->plan->in[0]));
}

#define LSNNI_ACTIVATION(name, kind)                                                     \
    static lsnn_status lsnni_forward_##name(lsnn_ctx *cx, lsnn_call *c)                  \
    {                                                                                    \
        return lsnn_activation_forward(cx, kind, c->y, c->x[0], lsnni_call_count(c),     \
                                       c->plan->o.slope);                                \
    }                                                                                    \
    static lsnn_status lsnni_backward_##name(lsnn_ctx *cx, lsnn_call *c)                 \
    {                                                                                    \
        return lsnn_activation_backward(cx, kind, c->dx[0], c->dy, c->y,                 \
                                        lsnni_call_count(c), c->plan->o.slope, c->add[0]); \
    }
LSNNI_ACTIVATION(relu, LSNN_RELU)
LSNNI_ACTIVATION(leaky_relu, LSNN_LEAKY_RELU)
LSNNI_ACTIVATION(sigmoid, LSNN_SIGMOID)
LSNNI_ACTIVATION(tanh, LSNN_TANH)
#undef LSNNI_ACTIVATION

static lsnn_status lsnni_plan_leaky_relu(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    p->o.slope = lsnni_or(p->o.slope, 0.01);
    if (!(p->o.slope > 0))
        return lsnni_fail(cx, LSNN_EVALUE, "leaky_relu: slope %g must be positive", p->o.slope);
    return lsnni_plan_same(cx, p);
}

static lsnn_status lsnni_forward_softmax(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_shape s = c->plan->in[0];
    return lsnn_softmax_forward(cx, c->y, c->x[0], c->n, s.c, lsnni_inner(s));
}

static lsnn_status lsnni_backward_softmax(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_shape s = c->plan->in[0];
    return lsnn_softmax_backward(cx, c->dx[0], c->dy, c->y, c->n, s.c, lsnni_inner(s),
                                 c->add[0]);
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
                              c->with_relu_);                                            \
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

static lsnn_status lsnni_plan_dropout(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    if (!(p->o.rate >= 0 && p->o.rate < 1))
        return lsnni_fail(cx, LSNN_EVALUE, "dropout: rate %g must lie in [0, 1)", p->o.rate);
    return lsnni_plan_same(cx, p);
}

static lsnn_status lsnni_forward_dropout(lsnn_ctx *cx, lsnn_call *c)
{
    size_t count = lsnni_call_count(c);
    if (c->training)
        return lsnn_dropout_forward(cx, c->y, c->x[0], c->n, lsnni_features(c->plan->in[0]),
                                    c->lanes, c->plan->o.rate, &c->rng);
    if (c->y != c->x[0]) memcpy(c->y, c->x[0], count * sizeof *c->y);
    return LSNN_OK;
}

static lsnn_status lsnni_backward_dropout(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnn_dropout_backward(cx, c->dx[0], c->dy, c->n, lsnni_features(c->plan->in[0]),
                                 c->lanes, c->plan->o.rate, &c->rng, c->add[0]);
}

static lsnn_status lsnni_plan_batch_norm(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    int channels = p->in[0].c;
    p->o.eps = lsnni_or(p->o.eps, 1e-5);
    p->o.momentum = lsnni_or(p->o.momentum, 0.1);
    if (!(p->o.eps > 0) || !(p->o.momentum > 0 && p->o.momentum <= 1))
        return lsnni_fail(cx, LSNN_EVALUE,
                          "batch_norm: eps %g must be positive, momentum %g in "
                          "(0, 1]", p->o.eps, p->o.momentum);
    p->param[0] = lsnni_spec("gamma", 1, channels, 0, 0, 0);
    p->param[0].value = 1;
    p->param[1] = lsnni_spec("beta", 1, channels, 0, 0, 0);
    p->param[0].no_decay = p->param[1].no_decay = 1;
    p->params = 2;
    p->buffer[0] = lsnni_spec("mean", 1, channels, 0, 0, 0);
    p->buffer[1] = lsnni_spec("variance", 1, channels, 0, 0, 0);
    p->buffer[1].value = 1;
    p->buffers = 2;
    p->keep_fixed = 2 * (size_t)channels;
    p->macs = (double)lsnni_features(p->in[0]);
    return lsnni_plan_same(cx, p);
}

/* Channels [first, first + those of input j): all of them, or one input of the concat that
   is read in parts (see lsnni_plan_concats).                                 */
static void lsnni_norm_part(lsnni_norm *g, const lsnn_call *c, int j, int first)
{
    int channels = c->plan->out.c;
    memset(g, 0, sizeof *g);
    g->all = channels;
    g->x = c->x[j];
    g->gamma = c->param[0] + first;
    g->mean = c->keep + first;
    g->istd = c->keep + channels + first;
}

static lsnn_status lsnni_forward_batch_norm(lsnn_ctx *cx, lsnn_call *c)
{
    const lsnn_layer_plan *p = c->plan;
    for (int j = 0, first = 0; j < p->inputs; first += p->in[j++].c) {
        lsnni_norm g;
        lsnni_norm_part(&g, c, j, first);
        g.y = c->y + lsnni_area(first, lsnni_call_inner(c));
        g.beta = c->param[1] + first;
        g.running_mean = c->buffer[0] + first;
        g.running_var = c->buffer[1] + first;
        g.momentum = p->o.momentum; g.eps = p->o.eps;
        g.predict = !c->training; g.relu = c->with_relu_;
        LSNNI_TRY(lsnni_norm_run(cx, &g, lsnni_blocks(c), p->in[j].c, lsnni_call_inner(c),
                                 lsnni_norm_task));
    }
    return LSNN_OK;
}

static lsnn_status lsnni_backward_batch_norm(lsnn_ctx *cx, lsnn_call *c)
{
    const lsnn_layer_plan *p = c->plan;
    for (int j = 0, first = 0; j < p->inputs; first += p->in[j++].c) {
        size_t skip = lsnni_area(first, lsnni_call_inner(c));
        lsnni_norm g;
        lsnni_norm_part(&g, c, j, first);
        g.dy = c->dy + skip;
        g.y = c->dx[j]; g.add = c->add[j];
        if (c->dparam[0]) g.dgamma = c->dparam[0] + first;
        if (c->dparam[1]) g.dbeta = c->dparam[1] + first;
        if (c->with_relu_) g.relu_y = c->y + skip;   /* what relu would do in place */
        LSNNI_TRY(lsnni_norm_run(cx, &g, lsnni_blocks(c), p->in[j].c, lsnni_call_inner(c),
                                 lsnni_norm_back_task));
    }
    return LSNN_OK;
}

static lsnn_status lsnni_plan_scale(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    p->param[0] = lsnni_spec("scale", 1, p->in[0].c, 0, 0, 0);
    p->param[0].value = 1;
    p->param[1] = lsnni_spec("bias", 1, p->in[0].c, 0, 0, 0);
    p->param[0].no_decay = p->param[1].no_decay = 1;
    p->params = p->o.no_bias ? 1 : 2;
    p->macs = (double)lsnni_features(p->in[0]);
    return lsnni_plan_same(cx, p);
}

static lsnn_status lsnni_forward_scale(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_shape s = c->plan->in[0];
    return lsnn_scale_forward(cx, c->y, c->x[0], c->param[0], c->param[1], lsnni_blocks(c), s.c,
                              lsnni_call_inner(c));
}

static lsnn_status lsnni_backward_scale(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_shape s = c->plan->in[0];
    return lsnn_scale_backward(cx, c->dx[0], c->dparam[0], c->dparam[1], c->dy, c->x[0],
                               c->param[0], lsnni_blocks(c), s.c, lsnni_call_inner(c),
                               c->add[0]);
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

static lsnn_smoother lsnni_smoother_of(const lsnn_layer_plan *p, int n, int lanes)
{
    lsnn_smoother s;
    memset(&s, 0, sizeof s);
    s.n = n;
    s.lanes = lanes;
    s.rank = p->o.rank;
    s.k = p->in[0].c / s.rank;
    s.h = p->in[0].h;
    s.w = p->in[0].w;
    s.shape = p->o.smooth_shape;
    s.mixture = p->o.mixture;
    s.normalise = p->o.normalise;
    s.per_image = p->inputs == 2;
    s.smooth_bias = p->o.smooth_bias;
    return s;
}

static lsnn_status lsnni_plan_smooth(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_smoother s;
    lsnni_smooth check;
    int numbers, bias;
    if (!p->o.rank) p->o.rank = 1;
    if (!p->o.mixture) p->o.mixture = 1;
    if (p->o.rank < 1 || p->in[0].c % p->o.rank)
        return lsnni_fail(cx, LSNN_ESHAPE, "smooth: %d channels are not a multiple of rank %d",
                          p->in[0].c, p->o.rank);
    s = lsnni_smoother_of(p, 1, 0);
    LSNNI_TRY(lsnni_smooth_plan(cx, &check, &s));
    numbers = lsnn_smoother_theta(&s);
    if (s.per_image && lsnni_area(numbers, p->in[0].c) != (size_t)lsnni_features(p->in[1]))
        return lsnni_fail(cx, LSNN_ESHAPE,
                          "smooth: theta has %d features, %d maps of %d numbers "
                          "need %.0f", lsnni_features(p->in[1]), p->in[0].c, numbers,
                          (double)numbers * p->in[0].c);
    p->out = p->in[0];
    p->out.c = s.k;
    bias = s.per_image ? 0 : 1;      /* parameter 0 is the bias or theta      */
    p->param[0] = lsnni_spec("theta", 2, p->in[0].c, numbers, 0, 0);
    p->param[bias] = lsnni_spec("bias", 1, s.k, 0, 0, 0);
    p->param[0].no_decay = p->param[bias].no_decay = 1;
    p->params = bias + (p->o.no_bias ? 0 : 1);
    p->keep_name = "map";
    p->keep_shape = p->in[0];
    if (s.per_image) p->keep_per_image = (size_t)lsnni_features(p->in[0]);
    else p->keep_fixed = (size_t)lsnni_features(p->in[0]) + p->param[0].count + 1;
    return LSNN_OK;
}

/* Which parameter is the bias: 0 if theta is a node, else 1; -1 if there is none. */
static int lsnni_smooth_bias_index(const lsnn_call *c)
{
    int index = c->plan->inputs == 2 ? 0 : 1;
    return c->plan->o.no_bias ? -1 : index;
}

/* Maps that all images share are made anew only when theta has changed: behind them are
   kept the theta that they were made of, and a 1 once there is one.          */
static lsnn_status lsnni_shared_map(lsnn_ctx *cx, lsnn_call *c, const lsnn_smoother *s)
{
    size_t count = c->plan->param[0].count, bytes = count * sizeof(lsnn_real);
    lsnn_real *theta = c->keep + lsnni_features(c->plan->in[0]), *made = theta + count;
    if (*made > 0 && memcmp(theta, c->param[0], bytes) == 0) return LSNN_OK;
    LSNNI_TRY(lsnn_smoother_map(cx, c->keep, c->param[0], s));
    memcpy(theta, c->param[0], bytes);
    *made = !cx->rehearsal_;
    return LSNN_OK;
}

static lsnn_status lsnni_forward_smooth(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_smoother s = lsnni_smoother_of(c->plan, c->n, c->lanes);
    int bias = lsnni_smooth_bias_index(c);
    LSNNI_TRY(s.per_image ? lsnn_smoother_map(cx, c->keep, c->x[1], &s)
                          : lsnni_shared_map(cx, c, &s));
    return lsnni_smooth_apply(cx, c->y, c->keep, c->x[0], bias < 0 ? NULL : c->param[bias], &s);
}

static lsnn_status lsnni_backward_smooth(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_smoother s = lsnni_smoother_of(c->plan, c->n, c->lanes);
    int bias = lsnni_smooth_bias_index(c);
    return lsnn_smooth_backward(cx, c->dx[0], s.per_image ? c->dx[1] : c->dparam[0],
                                bias < 0 ? NULL : c->dparam[bias], c->dy, c->x[0], c->keep,
                                s.per_image ? c->x[1] : c->param[0],
                                bias < 0 ? NULL : c->param[bias], &s, c->add[0], c->add[1]);
}

/* mu ~ U(0.2, 0.8), alpha = beta = 1.5, gamma = 0, logits 0; a table begins at 1. */
static void lsnni_init_smooth(const lsnn_layer_plan *p, int i, lsnn_real *v, lsnn_rng *rng)
{
    static const double start[LSNNI_NUMBERS] = { 0.2, 0.2, 1.5, 1.5, 0 };
    lsnn_smoother s = lsnni_smoother_of(p, 1, 0);
    const lsnni_family *f = &lsnni_families[s.shape];
    int is_theta = p->inputs == 1 && i == 0, stride = lsnni_stride(&s);
    for (size_t j = 0; j < p->param[i].count; j++) {
        int part = stride ? (int)(j % (size_t)stride) : 0;
        int number = part < f->count ? f->number[part] : LSNNI_GAMMA;
        double random = is_theta && stride && number < LSNNI_ALPHA
            ? 0.6 * lsnn_rng_uniform(rng) : 0;
        v[j] = LSNNI_R(!is_theta ? 0 : stride ? start[number] + random : 1);
    }
}

static lsnn_status lsnni_plan_loss(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    p->o.loss_weight = lsnni_or(p->o.loss_weight, 1);
    if (p->o.head < 0)
        return lsnni_fail(cx, LSNN_EVALUE, "loss: head %d is negative", p->o.head);
    return lsnni_plan_same(cx, p);
}

static lsnn_status lsnni_forward_cross_entropy(lsnn_ctx *cx, lsnn_call *c)
{
    int head = c->plan->o.head;
    if (!c->labels || head >= c->heads)
        return lsnni_fail(cx, LSNN_ESHAPE, "cross_entropy: needs label %d of each sample, the "
                          "batch has %d", head, c->labels ? c->heads : 0);
    LSNNI_TRY(lsnn_cross_entropy_forward(cx, &c->loss, c->y, c->x[0], c->labels + head,
                                         c->heads, c->n, lsnni_features(c->plan->in[0])));
    c->loss *= c->plan->o.loss_weight;
    return LSNN_OK;
}

static lsnn_status lsnni_backward_cross_entropy(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnn_cross_entropy_backward(cx, c->dx[0], c->y, c->labels + c->plan->o.head,
                                       c->heads, c->n, lsnni_features(c->plan->in[0]),
                                       c->plan->o.loss_weight, c->add[0]);
}

static lsnn_status lsnni_forward_mse(lsnn_ctx *cx, lsnn_call *c)
{
    int count = lsnni_features(c->plan->in[0]), first = c->plan->o.head;
    if (!c->targets || first > c->target_count - count)
        return lsnni_fail(cx, LSNN_ESHAPE,
                          "mse: needs %d targets of each sample from number %d on, the batch "
                          "has %d", count, first, c->targets ? c->target_count : 0);
    LSNNI_TRY(lsnn_mse_forward(cx, &c->loss, c->x[0], c->targets + first, c->target_count, c->n,
                               count));
    memcpy(c->y, c->x[0], lsnni_call_count(c) * sizeof *c->y);
    c->loss *= c->plan->o.loss_weight;
    return LSNN_OK;
}

static lsnn_status lsnni_backward_mse(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnn_mse_backward(cx, c->dx[0], c->x[0], c->targets + c->plan->o.head,
                             c->target_count, c->n, lsnni_features(c->plan->in[0]),
                             c->plan->o.loss_weight, c->add[0]);
}

/* name, options, inputs, in_place, output_free, is_loss, plan, forward, backward, init,
   lanes, input_free                                                          */
#define LSNNI_PAIR(name) lsnni_forward_##name, lsnni_backward_##name
#define LSNNI_WEIGHTED LSNNI_PARAM_OPTIONS "no_bias filters "
static const lsnn_layer_type lsnni_types[] = {
    { "input", "", 0, 1, 0, 0, 0, lsnni_plan_input, NULL, NULL, NULL, LSNN_PLAIN, 1 },
    { "conv2d", LSNNI_WEIGHTED LSNNI_WINDOW_OPTIONS, 1, 1, 0, 1, 0, lsnni_plan_conv2d,
      LSNNI_PAIR(conv2d), NULL, LSNN_LANES, 0 },
    { "local2d", LSNNI_WEIGHTED LSNNI_WINDOW_OPTIONS, 1, 1, 0, 1, 0, lsnni_plan_local2d,
      LSNNI_PAIR(local2d), NULL, LSNN_LANES, 0 },
    { "dense", LSNNI_WEIGHTED, 1, 1, 0, 1, 0, lsnni_plan_dense, LSNNI_PAIR(dense), NULL,
      LSNN_PLAIN, 0 },
    { "relu", "", 1, 1, 1, 0, 0, lsnni_plan_same, LSNNI_PAIR(relu), NULL, LSNN_LANES_ALL, 1 },
    { "leaky_relu", "slope", 1, 1, 1, 0, 0, lsnni_plan_leaky_relu, LSNNI_PAIR(leaky_relu),
      NULL, LSNN_LANES_ALL, 1 },
    { "sigmoid", "", 1, 1, 1, 0, 0, lsnni_plan_same, LSNNI_PAIR(sigmoid), NULL,
      LSNN_LANES_ALL, 1 },
    { "tanh", "", 1, 1, 1, 0, 0, lsnni_plan_same, LSNNI_PAIR(tanh), NULL, LSNN_LANES_ALL, 1 },
    { "softmax", "", 1, 1, 0, 0, 0, lsnni_plan_same, LSNNI_PAIR(softmax), NULL, LSNN_PLAIN, 1 },
    { "max_pool", LSNNI_WINDOW_OPTIONS, 1, 1, 0, 1, 0, lsnni_plan_max_pool,
      LSNNI_PAIR(max_pool), NULL, LSNN_LANES, 1 },
    { "avg_pool", LSNNI_WINDOW_OPTIONS, 1, 1, 0, 1, 0, lsnni_plan_pool, LSNNI_PAIR(avg_pool),
      NULL, LSNN_LANES, 1 },
    { "sum_pool", LSNNI_WINDOW_OPTIONS, 1, 1, 0, 1, 0, lsnni_plan_pool, LSNNI_PAIR(sum_pool),
      NULL, LSNN_LANES, 1 },
    { "dropout", "rate", 1, 1, 1, 1, 0, lsnni_plan_dropout, LSNNI_PAIR(dropout), NULL,
      LSNN_LANES_ALL, 1 },
    { "batch_norm", LSNNI_PARAM_OPTIONS "momentum eps", 1, 1, 0, 1, 0, lsnni_plan_batch_norm,
      LSNNI_PAIR(batch_norm), NULL, LSNN_LANES_ALL, 0 },
    { "scale", LSNNI_PARAM_OPTIONS "no_bias", 1, 1, 0, 1, 0, lsnni_plan_scale,
      LSNNI_PAIR(scale), NULL, LSNN_LANES_ALL, 0 },
    { "add", "", 2, 2, 0, 1, 0, lsnni_plan_add, LSNNI_PAIR(add), NULL, LSNN_LANES_ALL, 1 },
    { "concat", "", 1, LSNN_MAX_INPUTS, 0, 1, 0, lsnni_plan_concat, LSNNI_PAIR(concat), NULL,
      LSNN_LANES_ALL, 1 },
    { "slice", "first count", 1, 1, 0, 1, 0, lsnni_plan_slice, LSNNI_PAIR(slice), NULL,
      LSNN_LANES_ALL, 1 },
    { "flatten", "", 1, 1, 1, 1, 0, lsnni_plan_flatten, LSNNI_PAIR(flatten), NULL,
      LSNN_LANES_ALL, 1 },
    { "smooth", "lr_factor freeze no_bias smooth_shape normalise rank mixture smooth_bias", 1,
      2, 2, 1, 0, lsnni_plan_smooth, LSNNI_PAIR(smooth), lsnni_init_smooth, LSNN_LANES, 0 },
    { "cross_entropy", "head loss_weight", 1, 1, 0, 0, 1, lsnni_plan_loss,
      LSNNI_PAIR(cross_entropy), NULL, LSNN_PLAIN, 1 },
    { "mse", "head loss_weight", 1, 1, 0, 0, 1, lsnni_plan_loss, LSNNI_PAIR(mse), NULL,
      LSNN_PLAIN, 0 }
};
#undef LSNNI_PAIR
#undef LSNNI_WEIGHTED

static const lsnn_layer_type *lsnni_type(const char *name)
{
    for (size_t i = 0; i < sizeof lsnni_types / sizeof lsnni_types[0]; i++)
        if (strcmp(lsnni_types[i].name, name) == 0) return &lsnni_types[i];
    return NULL;
}

/* Names are found by looking at each; a file that lies must not take hours.  */
enum { LSNNI_MAX_NODES = 10000 };

