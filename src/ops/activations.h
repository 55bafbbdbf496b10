/* ---- >>activations ----------------------------------------------------------------
   relu max(x, 0)   leaky_relu x or slope*x   sigmoid 1 / (1 + e^-x)   tanh
   scaled_tanh A tanh(S x), A = 1.7159, S = 2/3, so that f(1) = 1 and f(-1) = -1
                          (LeCun et al. 1998, "Gradient-based learning", Eq. 6 and appendix A)
   Gradients in terms of y: [y > 0], [y > 0] or slope, y (1 - y), 1 - y^2, S (A - y^2 / A);
   relu's at 0 is 0.                                                         */
enum { LSNNI_PIECE = 16384 };        /* numbers a task of elementwise work    */

static lsnn_status lsnni_activation_check(lsnn_ctx *cx, lsnn_act f, size_t count, double slope)
{
    if (count / LSNNI_PIECE >= INT_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE, "activation: %.3g numbers are too many",
                          (double)count);
    if ((int)f < 0 || (int)f > (int)LSNN_SCALED_TANH)
        return lsnni_fail(cx, LSNN_EVALUE, "activation: %d is none of lsnn_act", (int)f);
    if (f == LSNN_LEAKY_RELU && !(slope > 0))
        return lsnni_fail(cx, LSNN_EVALUE, "leaky_relu: slope %g must be positive", slope);
    return LSNN_OK;
}

/* ---- The naive pair, a number at a time: lsnni_act and its slope (>>both)         */
#ifdef LSNN_NAIVE
LSNN_API lsnn_status lsnn_activation_forward(lsnn_ctx *cx, lsnn_act f, lsnn_real *y,
                                             const lsnn_real *x, size_t count, double slope)
{
    LSNNI_TRY(lsnni_activation_check(cx, f, count, slope));
    for (size_t i = 0; i < count && y; i++) y[i] = LSNNI_R(lsnni_act(f, (double)x[i], slope));
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_activation_backward(lsnn_ctx *cx, lsnn_act f, lsnn_real *dx,
                                              const lsnn_real *dy, const lsnn_real *y,
                                              size_t count, double slope, int add)
{
    LSNNI_TRY(lsnni_activation_check(cx, f, count, slope));
    for (size_t i = 0; i < count && dx; i++) {
        double g = (double)dy[i] * lsnni_act_slope(f, (double)y[i], slope);
        dx[i] = LSNNI_R(g + (add ? (double)dx[i] : 0));
    }
    return LSNN_OK;
}

#else /* ---- The fast pair: bound by memory ----------------------------------------------*/
typedef struct lsnni_elementwise {
    const lsnni_kernels *kv;
    lsnn_act f;
    const lsnn_real *x, *dy;
    lsnn_real *y;
    size_t count;
    double slope;
    int add;
} lsnni_elementwise;

static void lsnni_activation_task(void *user, int i, int worker)
{
    const lsnni_elementwise *p = (const lsnni_elementwise *)user;
    size_t first = (size_t)i * LSNNI_PIECE;
    size_t n = LSNNI_MIN((size_t)LSNNI_PIECE, p->count - first);
    (void)worker;
    if (p->dy)
        p->kv->act_backward(p->f, p->y + first, p->dy + first, p->x + first, n, p->slope,
                            p->add);
    else
        p->kv->act_forward(p->f, p->y + first, p->x + first, n, p->slope);
}

static lsnn_status lsnni_activation(lsnn_ctx *cx, lsnn_act f, lsnn_real *y, const lsnn_real *dy,
                                    const lsnn_real *x, size_t count, double slope, int add)
{
    lsnni_elementwise p;
    LSNNI_TRY(lsnni_activation_check(cx, f, count, slope));
    if (!y) return LSNN_OK;
    p.kv = lsnni_kernels_of(cx);
    p.f = f; p.x = x; p.dy = dy; p.y = y; p.count = count; p.slope = slope; p.add = add;
    lsnn_parallel(cx, (int)((count + LSNNI_PIECE - 1) / LSNNI_PIECE), lsnni_activation_task,
                  &p);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_activation_forward(lsnn_ctx *cx, lsnn_act f, lsnn_real *y,
                                             const lsnn_real *x, size_t count, double slope)
{
    return lsnni_activation(cx, f, y, NULL, x, count, slope, 0);
}

LSNN_API lsnn_status lsnn_activation_backward(lsnn_ctx *cx, lsnn_act f, lsnn_real *dx,
                                              const lsnn_real *dy, const lsnn_real *y,
                                              size_t count, double slope, int add)
{
    return lsnni_activation(cx, f, dx, dy, y, count, slope, add);
}

#endif /* LSNN_NAIVE */

/* ---- The layers -----------------------------------------------------------------------*/
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
LSNNI_ACTIVATION(scaled_tanh, LSNN_SCALED_TANH)
#undef LSNNI_ACTIVATION

static lsnn_status lsnni_plan_leaky_relu(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    p->o.slope = lsnni_or(p->o.slope, 0.01);
    if (!(p->o.slope > 0))
        return lsnni_fail(cx, LSNN_EVALUE, "leaky_relu: slope %g must be positive", p->o.slope);
    return lsnni_plan_same(cx, p);
}

static const lsnn_layer_type lsnni_relu_type = {
    "relu", "", 1, 1,
    LSNN_IN_PLACE | LSNN_BLOCKS_ALL | LSNN_REHEARSES | LSNN_IS_RELU,
    lsnni_plan_same, lsnni_forward_relu, lsnni_backward_relu, NULL, NULL,
    LSNNI_DEVICE_PAIR(relu)
};

static const lsnn_layer_type lsnni_leaky_relu_type = {
    "leaky_relu", "slope", 1, 1,
    LSNN_IN_PLACE | LSNN_BLOCKS_ALL | LSNN_REHEARSES,
    lsnni_plan_leaky_relu, lsnni_forward_leaky_relu, lsnni_backward_leaky_relu, NULL, NULL,
    LSNNI_DEVICE_PAIR(leaky_relu)
};

static const lsnn_layer_type lsnni_sigmoid_type = {
    "sigmoid", "", 1, 1,
    LSNN_IN_PLACE | LSNN_BLOCKS_ALL | LSNN_REHEARSES,
    lsnni_plan_same, lsnni_forward_sigmoid, lsnni_backward_sigmoid, NULL, NULL,
    LSNNI_DEVICE_PAIR(sigmoid)
};

static const lsnn_layer_type lsnni_tanh_type = {
    "tanh", "", 1, 1,
    LSNN_IN_PLACE | LSNN_BLOCKS_ALL | LSNN_REHEARSES,
    lsnni_plan_same, lsnni_forward_tanh, lsnni_backward_tanh, NULL, NULL,
    LSNNI_DEVICE_PAIR(tanh)
};

static const lsnn_layer_type lsnni_scaled_tanh_type = {
    "scaled_tanh", "", 1, 1,
    LSNN_IN_PLACE | LSNN_BLOCKS_ALL | LSNN_REHEARSES,
    lsnni_plan_same, lsnni_forward_scaled_tanh, lsnni_backward_scaled_tanh, NULL, NULL,
    LSNNI_DEVICE_PAIR(scaled_tanh)
};

LSNN_API int lsnn_relu(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_relu_type, &x, 1, o);
}

LSNN_API int lsnn_leaky_relu(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_leaky_relu_type, &x, 1, o);
}

LSNN_API int lsnn_sigmoid(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_sigmoid_type, &x, 1, o);
}

LSNN_API int lsnn_tanh(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_tanh_type, &x, 1, o);
}

LSNN_API int lsnn_scaled_tanh(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_scaled_tanh_type, &x, 1, o);
}
