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

/* Places in arrays of sizes ... x js x ks x ls, for the naive pairs.               */
static inline size_t lsnni_at2(int i, int j, int js)
{
    return (size_t)i * (size_t)js + (size_t)j;
}
static inline size_t lsnni_at3(int i, int j, int js, int k, int ks)
{
    return lsnni_at2(i, j, js) * (size_t)ks + (size_t)k;
}
static inline size_t lsnni_at4(int i, int j, int js, int k, int ks, int l, int ls)
{
    return lsnni_at3(i, j, js, k, ks) * (size_t)ls + (size_t)l;
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

/* An option, or what it is where the caller left it 0.                        */
static double lsnni_or(double value, double otherwise)
{
    return value <= 0 && value >= 0 ? otherwise : value;     /* NaN stays, to be refused */
}

#define LSNNI_PARAM_OPTIONS "init init_scale lr_factor freeze no_decay decay_factor "
#define LSNNI_WINDOW_OPTIONS "kernel_h kernel_w stride_h stride_w padding pad_top pad_left " \
                             "pad_bottom pad_right "
#define LSNNI_WEIGHTED LSNNI_PARAM_OPTIONS "no_bias filters "

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

/* First values: weights by He (normal, variance 2 / fan_in) or Glorot (uniform, variance
   2 / (fan_in + fan_out)), what has no fan_in its spec's value.               */
static void lsnni_init_weights(const lsnn_layer_plan *p, int i, lsnn_real *v, lsnn_rng *rng)
{
    const lsnn_param_spec *spec = &p->param[i];
    lsnn_init kind = p->o.init;
    double scale = p->o.init_scale > 0 ? p->o.init_scale : 1;
    double he = sqrt(2.0 / LSNNI_MAX(1, spec->fan_in));
    double glorot = sqrt(6.0 / LSNNI_MAX(1, spec->fan_in + spec->fan_out));
    for (size_t j = 0; j < spec->count; j++) {
        double d = spec->value;
        if (spec->fan_in > 0 && kind == LSNN_INIT_HE) d = scale * he * lsnn_rng_normal(rng);
        else if (spec->fan_in > 0 && kind == LSNN_INIT_GLOROT)
            d = scale * glorot * (2 * lsnn_rng_uniform(rng) - 1);
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
