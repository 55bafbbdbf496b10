/* ---- >>rbf ----------------------------------------------------------------------
   y[n,k]    = -sum_c (x[n,c] - w[k,c])^2          x N,C  w K,C: centres  y N,K
   dx[n,c] (+)= -2 sum_k dy[n,k] (x[n,c] - w[k,c])
   dw[k,c]   +=  2 sum_n dy[n,k] (x[n,c] - w[k,c])
   Euclidean radial basis functions: the logarithm of a Gaussian round each centre, but for a
   constant. LeNet-5's output layer (LeCun et al. 1998, Eq. 7), whose penalties are these
   numbers with the other sign: so the largest wins, here as everywhere. Its centres are fixed
   pictures of the digits: with the option freeze they are a buffer, no parameters, all 0
   until lsnn_net_set sets "NAME.centre". Its losses: Eq. 9 is cross_entropy with the option
   rubbish, Eq. 8 the squares of x less the right class's centre.
   N*K*C multiply-adds forward, twice that backward; plain loops, for classes are few. */
static lsnn_status lsnni_rbf_sizes(lsnn_ctx *cx, int n, int c, int k)
{
    LSNNI_TRY(lsnni_sizes3(cx, "rbf", n, c, 1));
    LSNNI_TRY(lsnni_sizes3(cx, "rbf", c, k, 1));
    return lsnni_sizes3(cx, "rbf", n, k, 1);
}

LSNN_API lsnn_status lsnn_rbf_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                      const lsnn_real *w, int n, int c, int k)
{
    LSNNI_TRY(lsnni_rbf_sizes(cx, n, c, k));
    for (int i = 0; i < n; i++)
    for (int j = 0; j < k; j++) {
        double sum = 0;
        for (int l = 0; l < c; l++) {
            double d = (double)x[lsnni_at2(i, l, c)] - (double)w[lsnni_at2(j, l, c)];
            sum += d * d;
        }
        y[lsnni_at2(i, j, k)] = LSNNI_R(-sum);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_rbf_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                       const lsnn_real *dy, const lsnn_real *x,
                                       const lsnn_real *w, int n, int c, int k, int add)
{
    LSNNI_TRY(lsnni_rbf_sizes(cx, n, c, k));
    lsnni_clear(dx, lsnni_area(n, c), add);
    for (int i = 0; i < n; i++)
    for (int j = 0; j < k; j++) {
        lsnn_real g = 2 * dy[lsnni_at2(i, j, k)];
        for (int l = 0; l < c; l++) {
            lsnn_real d = x[lsnni_at2(i, l, c)] - w[lsnni_at2(j, l, c)];
            if (dx) dx[lsnni_at2(i, l, c)] -= g * d;
            if (dw) dw[lsnni_at2(j, l, c)] += g * d;
        }
    }
    return LSNN_OK;
}

/* ---- The layer ------------------------------------------------------------------------*/
static lsnn_status lsnni_plan_rbf(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    int in = lsnni_features(p->in[0]), out = p->o.filters;
    lsnn_param_spec centre;
    LSNNI_TRY(lsnni_rbf_sizes(cx, 1, in, out));
    p->out.c = out; p->out.h = p->out.w = 1;
    centre = lsnni_spec("centre", 2, out, in, 0, 0);
    centre.no_decay = 1;
    p->params = p->o.freeze ? 0 : 1;
    p->buffers = p->o.freeze ? 1 : 0;
    p->param[0] = p->buffer[0] = centre;
    p->macs = (double)in * out;
    lsnni_connect(p, in);
    return LSNN_OK;
}

/* Corners of a cube, +-1: far apart, as the codes of classes should be.       */
static void lsnni_init_rbf(const lsnn_layer_plan *p, int i, lsnn_real *v, lsnn_rng *rng)
{
    double size = lsnni_or(p->o.init_scale, 1);
    for (size_t j = 0; j < p->param[i].count; j++)
        v[j] = LSNNI_R(lsnn_rng_int(rng, 2) ? size : -size);
}

static const lsnn_real *lsnni_rbf_centre(const lsnn_call *c)
{
    return c->plan->params ? c->param[0] : c->buffer[0];
}

static lsnn_status lsnni_forward_rbf(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnn_rbf_forward(cx, c->y, c->x[0], lsnni_rbf_centre(c), c->n,
                            lsnni_features(c->plan->in[0]), c->plan->out.c);
}

static lsnn_status lsnni_backward_rbf(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnn_rbf_backward(cx, c->dx[0], c->dparam[0], c->dy, c->x[0], lsnni_rbf_centre(c),
                             c->n, lsnni_features(c->plan->in[0]), c->plan->out.c, c->add[0]);
}

static const lsnn_layer_type lsnni_rbf_type = {
    "rbf", "filters init_scale lr_factor freeze", 1, 1,
    LSNN_Y_FREE,
    lsnni_plan_rbf, lsnni_forward_rbf, lsnni_backward_rbf, lsnni_init_rbf, NULL,
    LSNNI_DEVICE_PAIR(rbf)
};

LSNN_API int lsnn_rbf(lsnn_net *net, int x, int outputs, const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_rbf_type, x, outputs, 0, o);
}
