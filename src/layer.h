/* ---- >>layer: what the layers' files share ----------------------------------------
   How the net sees an op: plan computes shapes, parameters and counts from the inputs'
   shapes and the options; forward and backward run the op on a call's arrays. */
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

/* A backward writes dx, or adds to it: the naive ones clear it first, and always add. */
static inline void lsnni_clear(lsnn_real *dx, size_t count, int add)
{
    if (dx && !add) memset(dx, 0, count * sizeof *dx);
}

/* 1 if none of them is NaN or infinite.                                        */
static int lsnni_finite(const lsnn_real *v, size_t count)
{
    for (size_t i = 0; i < count; i++) if (!(fabs((double)v[i]) <= DBL_MAX)) return 0;
    return 1;
}

/* A block of images is like one image whose pixels are lanes as wide.        */
static int lsnni_lanes_or_1(const lsnn_call *c) { return c->lanes ? c->lanes : 1; }
static int lsnni_blocks(const lsnn_call *c) { return c->n / lsnni_lanes_or_1(c); }
static int lsnni_call_inner(const lsnn_call *c)
{
    return lsnni_inner(c->plan->in[0]) * lsnni_lanes_or_1(c);
}

static void lsnni_window_defaults(lsnn_options *o, int stride_h, int stride_w)
{
    if (!o->kernel_w) o->kernel_w = o->kernel_h;
    if (!o->stride_w) o->stride_w = o->stride_h ? o->stride_h : stride_w;
    if (!o->stride_h) o->stride_h = stride_h;
    if (!o->dilation_w) o->dilation_w = o->dilation_h;
    if (o->dilation_h == 1 && o->dilation_w == 1) o->dilation_h = o->dilation_w = 0;
    if (o->groups == 1) o->groups = 0;   /* 1 and 0 are the same in a file, too */
}

/* An option, or what it is where the caller left it 0.                        */
static double lsnni_or(double value, double otherwise)
{
    return value <= 0 && value >= 0 ? otherwise : value;     /* NaN stays, to be refused */
}

#define LSNNI_PARAM_OPTIONS "init init_scale lr_factor freeze no_decay decay_factor "
#define LSNNI_WINDOW_OPTIONS "kernel_h kernel_w stride_h stride_w padding pad_top pad_left " \
                             "pad_bottom pad_right "
#define LSNNI_KERNEL_OPTIONS LSNNI_WINDOW_OPTIONS "dilation_h dilation_w groups "
#define LSNNI_WEIGHTED LSNNI_PARAM_OPTIONS "no_bias filters "

static lsnn_status lsnni_plan_same(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    (void)cx;
    p->out = p->in[0];
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

/* Each of a layer's units reads `inputs` numbers, and has a bias if that is a parameter,
   whatever weights they share: what the summary counts.                       */
static void lsnni_connect(lsnn_layer_plan *p, double inputs)
{
    double units = (double)lsnni_features(p->out);
    p->connections[0] = units * inputs;
    p->connections[1] = p->params > 1 ? units : 0;
}

/* The first values of parameter i, `count` of them: weights by He (normal, variance 2 / fan_in)
   or Glorot (uniform, variance 2 / (fan_in + fan_out)), the rest as the layer says. */
static void lsnni_draw_values(const lsnn_layer_plan *p, int i, lsnn_real *v, size_t count,
                              lsnn_rng *r)
{
    const lsnn_param_spec *s = &p->param[i];
    double scale = p->o.init_scale > 0 ? p->o.init_scale : 1;
    double he = sqrt(2.0 / LSNNI_MAX(1, s->fan_in));
    double glorot = sqrt(6.0 / LSNNI_MAX(1, s->fan_in + s->fan_out));
    for (size_t j = 0; j < count; j++) {
        double d = s->value;
        if (s->fan_in > 0 && p->o.init == LSNN_INIT_HE) d = scale * he * lsnn_rng_normal(r);
        else if (s->fan_in > 0 && p->o.init == LSNN_INIT_GLOROT)
            d = scale * glorot * (2 * lsnn_rng_uniform(r) - 1);
        v[j] = LSNNI_R(d);
    }
}

/* The builders fill in what their positional arguments say.                   */
static lsnn_options lsnni_options(const lsnn_options *o)
{
    lsnn_options copy;
    memset(&copy, 0, sizeof copy);
    return o ? *o : copy;
}

static int lsnni_windowed(lsnn_net *net, const lsnn_layer_type *type, int x, int filters,
                          int kernel, const lsnn_options *o)
{
    lsnn_options all = lsnni_options(o);
    if (filters) all.filters = filters;
    if (!all.kernel_h) all.kernel_h = kernel;
    if (!all.kernel_w) all.kernel_w = kernel;
    return lsnn_layer(net, type, &x, 1, &all);
}

/* Kernels of 1 x kernel, for signals.                                         */
static int lsnni_windowed_row(lsnn_net *net, const lsnn_layer_type *type, int x, int filters,
                              int kernel, const lsnn_options *o)
{
    lsnn_options row = lsnni_options(o);
    if (!row.kernel_h) row.kernel_h = 1;
    return lsnni_windowed(net, type, x, filters, kernel, &row);
}
