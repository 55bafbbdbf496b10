/* ---- >>batch_norm (Ioffe and Szegedy 2015) ------------------------------------------
   xh = (x - mean) istd    y = gamma xh + beta    over the M = N*I values of a channel
   dgamma += sum dy xh     dbeta += sum dy
   dx (+)= gamma istd (dy - mean(dy) - xh mean(dy xh))                        */
/* ---- The naive pair                                                        */
#ifdef LSNN_NAIVE
#define LSNNI_NORM_FUSES 0
LSNN_API lsnn_status lsnn_batch_norm_predict(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                             const lsnn_real *gamma, const lsnn_real *beta,
                                             const lsnn_real *running_mean,
                                             const lsnn_real *running_var, int n, int c,
                                             int inner, double eps)
{
    LSNNI_TRY(lsnni_sizes3(cx, "batch_norm", n, c, inner));
    for (int l = 0; l < n; l++)
    for (int k = 0; k < c; k++)
    for (int i = 0; i < inner; i++) {
        size_t at = lsnni_at3(l, k, c, i, inner);
        double xh = (double)x[at] - (double)running_mean[k];
        xh /= sqrt((double)running_var[k] + eps);
        y[at] = LSNNI_R((double)gamma[k] * xh + (double)beta[k]);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_batch_norm_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *mean,
                                             lsnn_real *istd, lsnn_real *running_mean,
                                             lsnn_real *running_var, const lsnn_real *x,
                                             const lsnn_real *gamma, const lsnn_real *beta,
                                             int n, int c, int inner, double momentum,
                                             double eps)
{
    double count = (double)n * inner;
    LSNNI_TRY(lsnni_sizes3(cx, "batch_norm", n, c, inner));
    if (cx->rehearsal_) return LSNN_OK;                  /* the running ones stay */
    for (int k = 0; k < c; k++) {
        double m = 0, var = 0;
        for (int l = 0; l < n; l++)
        for (int i = 0; i < inner; i++) m += (double)x[lsnni_at3(l, k, c, i, inner)] / count;
        for (int l = 0; l < n; l++)
        for (int i = 0; i < inner; i++) {
            double d = (double)x[lsnni_at3(l, k, c, i, inner)] - m;
            var += d * d;
        }
        for (int l = 0; l < n; l++)
        for (int i = 0; i < inner; i++) {
            size_t at = lsnni_at3(l, k, c, i, inner);
            double xh = ((double)x[at] - m) / sqrt(var / count + eps);
            y[at] = LSNNI_R((double)gamma[k] * xh + (double)beta[k]);
        }
        mean[k] = LSNNI_R(m);
        istd[k] = LSNNI_R(1 / sqrt(var / count + eps));
        if (!running_mean) continue;
        var /= LSNNI_MAX(count - 1, 1);                  /* unbiased          */
        running_mean[k] = LSNNI_R((1 - momentum) * (double)running_mean[k] + momentum * m);
        running_var[k] = LSNNI_R((1 - momentum) * (double)running_var[k] + momentum * var);
    }
    return LSNN_OK;
}

/* mean and istd depend on x too, hence the two means that are taken off.      */
LSNN_API lsnn_status lsnn_batch_norm_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dgamma,
                                              lsnn_real *dbeta, const lsnn_real *dy,
                                              const lsnn_real *x, const lsnn_real *gamma,
                                              const lsnn_real *mean, const lsnn_real *istd,
                                              int n, int c, int inner, int add)
{
    double count = (double)n * inner;
    LSNNI_TRY(lsnni_sizes3(cx, "batch_norm", n, c, inner));
    lsnni_clear(dx, lsnni_at3(n, 0, c, 0, inner), add);
    for (int k = 0; k < c; k++) {
        double sum = 0, dot = 0, m = (double)mean[k], r = (double)istd[k];
        for (int l = 0; l < n; l++)
        for (int i = 0; i < inner; i++) {
            size_t at = lsnni_at3(l, k, c, i, inner);
            sum += (double)dy[at];
            dot += (double)dy[at] * ((double)x[at] - m) * r;
        }
        if (dgamma) dgamma[k] += LSNNI_R(dot);
        if (dbeta) dbeta[k] += LSNNI_R(sum);
        for (int l = 0; l < n && dx; l++)
        for (int i = 0; i < inner; i++) {
            size_t at = lsnni_at3(l, k, c, i, inner);
            double xh = ((double)x[at] - m) * r;
            dx[at] += LSNNI_R((double)gamma[k] * r *
                              ((double)dy[at] - sum / count - xh * dot / count));
        }
    }
    return LSNN_OK;
}

#else /* ---- The fast pair: a channel a task ---------------------------------------------*/
#define LSNNI_NORM_FUSES LSNN_RELU_AFTER | LSNN_READS_PARTS
typedef struct lsnni_norm {
    const lsnni_kernels *kv;
    const lsnn_real *x, *dy, *gamma, *beta;
    lsnn_real *y, *mean, *istd, *running_mean, *running_var, *dgamma, *dbeta;
    int n, c, inner, add, predict;
    int all;                         /* y and dy have so many channels, x and dx c of them */
    int relu;                        /* forward: y = relu(y) too                  */
    const lsnn_real *relu_y;         /* backward: dy is the gradient of this relu */
    double momentum, eps;
} lsnni_norm;

static void lsnni_norm_task(void *user, int c, int worker)
{
    const lsnni_norm *p = (const lsnni_norm *)user;
    size_t inner = (size_t)p->inner, step = (size_t)p->c * inner, first = (size_t)c * inner;
    size_t y_step = (size_t)p->all * inner;
    double count = (double)p->n * p->inner, mean = 0, var = 0, istd;
    (void)worker;
    if (p->predict) {
        mean = (double)p->running_mean[c];
        istd = 1 / sqrt((double)p->running_var[c] + p->eps);
    } else {
        for (int n = 0; n < p->n; n++)
            mean += p->kv->sum(p->x + first + (size_t)n * step, inner);
        mean /= count;
        for (int n = 0; n < p->n; n++)
            var += p->kv->deviation(p->x + first + (size_t)n * step, mean, inner);
        istd = 1 / sqrt(var / count + p->eps);
        p->mean[c] = LSNNI_R(mean);
        p->istd[c] = LSNNI_R(istd);
        if (p->running_mean) {
            double m = p->momentum, unbiased = var / LSNNI_MAX(count - 1, 1);
            p->running_mean[c] = LSNNI_R((1 - m) * (double)p->running_mean[c] + m * mean);
            p->running_var[c] = LSNNI_R((1 - m) * (double)p->running_var[c] + m * unbiased);
        }
    }
    {
        double a = istd * (double)p->gamma[c], b = (double)p->beta[c] - mean * a;
        for (int n = 0; n < p->n; n++) {
            lsnn_real *y = p->y + first + (size_t)n * y_step;
            p->kv->affine(y, p->x + first + (size_t)n * step, a, b, inner, 0);
            if (p->relu) p->kv->act_forward(LSNN_RELU, y, y, inner, 0);
        }
    }
}

static lsnn_status lsnni_norm_run(lsnn_ctx *cx, lsnni_norm *p, int n, int c, int inner,
                                  void (*task)(void *user, int c, int worker))
{
    LSNNI_TRY(lsnni_sizes3(cx, "batch_norm", n, c, inner));
    p->n = n; p->c = c; p->inner = inner;
    if (!p->all) p->all = c;
    p->kv = lsnni_kernels_of(cx);
    lsnni_parallel_some(cx, lsnni_area(n, c) * (size_t)inner, c, task, p);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_batch_norm_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *mean,
                                             lsnn_real *istd, lsnn_real *running_mean,
                                             lsnn_real *running_var, const lsnn_real *x,
                                             const lsnn_real *gamma, const lsnn_real *beta,
                                             int n, int c, int inner, double momentum,
                                             double eps)
{
    lsnni_norm p;
    memset(&p, 0, sizeof p);
    p.x = x; p.gamma = gamma; p.beta = beta; p.y = y; p.mean = mean; p.istd = istd;
    p.running_mean = running_mean; p.running_var = running_var;
    p.momentum = momentum; p.eps = eps;
    return lsnni_norm_run(cx, &p, n, c, inner, lsnni_norm_task);
}

LSNN_API lsnn_status lsnn_batch_norm_predict(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                             const lsnn_real *gamma, const lsnn_real *beta,
                                             const lsnn_real *running_mean,
                                             const lsnn_real *running_var, int n, int c,
                                             int inner, double eps)
{
    lsnni_norm p;
    memset(&p, 0, sizeof p);
    p.x = x; p.gamma = gamma; p.beta = beta; p.y = y; p.predict = 1;
    p.running_mean = (lsnn_real *)(uintptr_t)running_mean;       /* only read    */
    p.running_var = (lsnn_real *)(uintptr_t)running_var;
    p.eps = eps;
    return lsnni_norm_run(cx, &p, n, c, inner, lsnni_norm_task);
}

static void lsnni_norm_back_task(void *user, int c, int worker)
{
    const lsnni_norm *p = (const lsnni_norm *)user;      /* y is dx           */
    size_t inner = (size_t)p->inner, step = (size_t)p->c * inner, first = (size_t)c * inner;
    size_t y_step = (size_t)p->all * inner;
    double count = (double)p->n * p->inner, sum = 0, dot = 0;
    double mean = (double)p->mean[c], istd = (double)p->istd[c], scale, slope;
    (void)worker;
    for (int n = 0; n < p->n; n++) {
        size_t at = first + (size_t)n * y_step;
        const lsnn_real *x = p->x + first + (size_t)n * step;
        lsnn_real *dy = (lsnn_real *)(uintptr_t)(p->dy + at);    /* written if relu_y */
        double m[2];
        p->kv->sum_dot(m, dy, x, p->relu_y ? p->relu_y + at : NULL, inner);
        sum += m[0];
        dot += m[1] - mean * m[0];
    }
    dot *= istd;                                         /* sum dy xh         */
    if (p->dgamma) p->dgamma[c] += LSNNI_R(dot);
    if (p->dbeta) p->dbeta[c] += LSNNI_R(sum);
    if (!p->y) return;
    scale = (double)p->gamma[c] * istd;
    slope = -scale * istd * dot / count;                 /* of x in dx        */
    for (int n = 0; n < p->n; n++)
        p->kv->norm_backward(p->y + first + (size_t)n * step, p->dy + first + (size_t)n * y_step,
                             p->x + first + (size_t)n * step, scale, slope,
                             -scale * sum / count - slope * mean, inner, p->add);
}

LSNN_API lsnn_status lsnn_batch_norm_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dgamma,
                                              lsnn_real *dbeta, const lsnn_real *dy,
                                              const lsnn_real *x, const lsnn_real *gamma,
                                              const lsnn_real *mean, const lsnn_real *istd,
                                              int n, int c, int inner, int add)
{
    lsnni_norm p;
    memset(&p, 0, sizeof p);
    p.x = x; p.dy = dy; p.gamma = gamma; p.y = dx; p.dgamma = dgamma; p.dbeta = dbeta;
    p.mean = (lsnn_real *)(uintptr_t)mean;               /* only read         */
    p.istd = (lsnn_real *)(uintptr_t)istd;
    p.add = add;
    return lsnni_norm_run(cx, &p, n, c, inner, lsnni_norm_back_task);
}

#endif /* LSNN_NAIVE */

/* ---- The layer ------------------------------------------------------------------------*/
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

#ifdef LSNN_NAIVE
static lsnn_status lsnni_forward_batch_norm(lsnn_ctx *cx, lsnn_call *c)
{
    const lsnn_layer_plan *p = c->plan;
    int channels = p->out.c, inner = lsnni_call_inner(c);
    if (!c->training)
        return lsnn_batch_norm_predict(cx, c->y, c->x[0], c->param[0], c->param[1], c->buffer[0],
                                       c->buffer[1], c->n, channels, inner, p->o.eps);
    return lsnn_batch_norm_forward(cx, c->y, c->keep, c->keep + channels, c->buffer[0],
                                   c->buffer[1], c->x[0], c->param[0], c->param[1], c->n,
                                   channels, inner, p->o.momentum, p->o.eps);
}

static lsnn_status lsnni_backward_batch_norm(lsnn_ctx *cx, lsnn_call *c)
{
    int channels = c->plan->out.c;
    return lsnn_batch_norm_backward(cx, c->dx[0], c->dparam[0], c->dparam[1], c->dy, c->x[0],
                                    c->param[0], c->keep, c->keep + channels, c->n, channels,
                                    lsnni_call_inner(c), c->add[0]);
}
#else
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
        g.predict = !c->training; g.relu = c->does & LSNN_DO_RELU;
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
        if (c->does & LSNN_DO_RELU) g.relu_y = c->y + skip;   /* what relu would do in place */
        LSNNI_TRY(lsnni_norm_run(cx, &g, lsnni_blocks(c), p->in[j].c, lsnni_call_inner(c),
                                 lsnni_norm_back_task));
    }
    return LSNN_OK;
}
#endif

static const lsnn_layer_type lsnni_batch_norm_type = {
    "batch_norm", LSNNI_PARAM_OPTIONS "momentum eps", 1, 1,
    LSNN_Y_FREE | LSNN_BLOCKS_ALL | LSNN_REHEARSES | LSNNI_NORM_FUSES,
    lsnni_plan_batch_norm, lsnni_forward_batch_norm, lsnni_backward_batch_norm, NULL
};

LSNN_API int lsnn_batch_norm(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_batch_norm_type, &x, 1, o);
}
