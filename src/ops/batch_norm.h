/* ---- >>batch_norm (Ioffe and Szegedy 2015) ------------------------------------------
   xh = (x - mean) istd    y = gamma xh + beta    over the M = N*I values of a channel
   dgamma += sum dy xh     dbeta += sum dy
   dx (+)= gamma istd (dy - mean(dy) - xh mean(dy xh))
   Forward keeps mean and istd of a training batch for backward. A prediction, and a layer
   that is frozen (option freeze), take the running mean and variance, which are constants:
   dx (+)= gamma istd dy                                                       */
/* ---- The naive pair                                                        */
#ifdef LSNN_NAIVE
#define LSNNI_NORM_FUSES 0
LSNN_API lsnn_status lsnn_batch_norm_predict(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                             const lsnn_real *gamma, const lsnn_real *beta,
                                             const lsnn_real *running_mean,
                                             const lsnn_real *running_var, int n, int c,
                                             int inner, double eps)
{
    LSNNI_TRY(lsnni_sizes3(cx, "batch_norm (images x channels x pixels)", n, c, inner));
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
    LSNNI_TRY(lsnni_sizes3(cx, "batch_norm (images x channels x pixels)", n, c, inner));
    if (cx->rehearsal_) return LSNN_OK;                  /* the running ones stay */
    for (int k = 0; k < c; k++) {
        double m = 0, var = 0;
        lsnn_real next;
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
        var /= LSNNI_MAX(count - 1, 1);                  /* unbiased          */
        next = LSNNI_R((1 - momentum) * (running_var ? (double)running_var[k] : 1) +
                       momentum * var);
        if (!lsnni_finite(&next, 1))                     /* the running ones stay */
            return lsnni_fail(cx, LSNN_EDIVERGED, "batch_norm: the values of channel %d are not "
                              "finite, or too large for a variance", k);
        if (!running_mean) continue;
        running_mean[k] = LSNNI_R((1 - momentum) * (double)running_mean[k] + momentum * m);
        running_var[k] = next;
    }
    return LSNN_OK;
}

/* mean and istd depend on x too, hence the two means that are taken off. The mean is made
   again: as forward kept it, it is rounded to an lsnn_real.                   */
LSNN_API lsnn_status lsnn_batch_norm_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dgamma,
                                              lsnn_real *dbeta, const lsnn_real *dy,
                                              const lsnn_real *x, const lsnn_real *gamma,
                                              const lsnn_real *mean, const lsnn_real *istd,
                                              int n, int c, int inner, int add)
{
    double count = (double)n * inner;
    (void)mean;
    LSNNI_TRY(lsnni_sizes3(cx, "batch_norm (images x channels x pixels)", n, c, inner));
    lsnni_clear(dx, lsnni_at3(n, 0, c, 0, inner), add);
    for (int k = 0; k < c; k++) {
        double sum = 0, dot = 0, m = 0, r = (double)istd[k];
        for (int l = 0; l < n; l++)
        for (int i = 0; i < inner; i++) m += (double)x[lsnni_at3(l, k, c, i, inner)] / count;
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
    const lsnn_real *mean_in, *istd_in;          /* backward: what forward has written */
    const lsnn_real *known_mean, *known_var;     /* forward by these; NULL: the batch's own */
    lsnn_real *y, *mean, *istd, *running_mean, *running_var, *dgamma, *dbeta;
    int n, c, inner, add;
    int y_c;                         /* y and dy have so many channels, x and dx c of them */
    int relu;                        /* forward: y = relu(y) too                  */
    lsnn_real *relu_dy;              /* backward: dy is the gradient of a relu of y, and is set */
    const lsnn_real *relu_y;         /*   to 0 where that is 0; else NULL         */
    double momentum, eps;
    int constant;                    /* backward: mean and istd do not depend on x */
    double *own, *all;               /* of several ranks: this one's sums of each channel, */
    double count;                    /*   and those of all; over how many values   */
} lsnni_norm;

/* y = (x - mean) a + beta. The mean is taken off before anything is multiplied: as a x + b a
   spread that is small beside the mean would drown in rounding. What is taken off is the mean
   as an lsnn_real, exactly; what that leaves goes into b.                     */
static void lsnni_norm_apply(const lsnni_norm *p, int c, double mean, double istd)
{
    size_t inner = (size_t)p->inner, step = (size_t)p->c * inner, first = (size_t)c * inner;
    size_t y_step = (size_t)p->y_c * inner;
    double center = (double)LSNNI_R(mean), a = istd * (double)p->gamma[c];
    double b = (double)p->beta[c] - (mean - center) * a;
    for (int n = 0; n < p->n; n++) {
        lsnn_real *y = p->y + first + (size_t)n * y_step;
        p->kv->norm_forward(y, p->x + first + (size_t)n * step, center, a, b, inner);
        if (p->relu) p->kv->act_forward(LSNN_RELU, y, y, inner, 0);
    }
}

/* The mean of a channel's values here, and the sum of their squared deviations from it. */
static void lsnni_norm_measure(const lsnni_norm *p, int c, double *mean, double *var)
{
    size_t inner = (size_t)p->inner, step = (size_t)p->c * inner, first = (size_t)c * inner;
    *mean = *var = 0;
    for (int n = 0; n < p->n; n++) *mean += p->kv->sum(p->x + first + (size_t)n * step, inner);
    *mean /= (double)p->n * p->inner;
    for (int n = 0; n < p->n; n++)
        *var += p->kv->deviation(p->x + first + (size_t)n * step, *mean, inner);
}

/* A batch whose statistics are no numbers leaves the running ones as they were, and istd 0,
   which is how lsnni_norm_check knows.                                       */
static void lsnni_norm_by(const lsnni_norm *p, int c, double count, double mean, double var)
{
    double m = p->momentum;
    lsnn_real next_mean, next_var;
    p->mean[c] = LSNNI_R(mean);
    p->istd[c] = LSNNI_R(1 / sqrt(var / count + p->eps));
    if (p->running_mean) {
        next_mean = LSNNI_R((1 - m) * (double)p->running_mean[c] + m * mean);
        next_var = LSNNI_R((1 - m) * (double)p->running_var[c] +
                           m * (var / LSNNI_MAX(count - 1, 1)));         /* unbiased */
        if (!lsnni_finite(&next_mean, 1) || !lsnni_finite(&next_var, 1)) {
            p->istd[c] = 0;
            return;
        }
        p->running_mean[c] = next_mean;
        p->running_var[c] = next_var;
    }
    lsnni_norm_apply(p, c, mean, 1 / sqrt(var / count + p->eps));
}

static void lsnni_norm_task(void *user, int c, int worker)
{
    const lsnni_norm *p = (const lsnni_norm *)user;
    double mean, var;
    (void)worker;
    if (p->known_mean) {
        double istd = 1 / sqrt((double)p->known_var[c] + p->eps);
        if (p->mean) p->mean[c] = p->known_mean[c];
        if (p->istd) p->istd[c] = LSNNI_R(istd);
        lsnni_norm_apply(p, c, (double)p->known_mean[c], istd);
        return;
    }
    lsnni_norm_measure(p, c, &mean, &var);
    lsnni_norm_by(p, c, (double)p->n * p->inner, mean, var);
}

/* After a training forward: every channel had a mean and a variance.             */
static lsnn_status lsnni_norm_check(lsnn_ctx *cx, const lsnn_real *istd, int c)
{
    for (int k = 0; k < c && !cx->rehearsal_; k++)
        if (!(istd[k] > 0))
            return lsnni_fail(cx, LSNN_EDIVERGED, "batch_norm: the values of channel %d are not "
                              "finite, or too large for a variance", k);
    return LSNN_OK;
}

static lsnn_status lsnni_norm_run(lsnn_ctx *cx, lsnni_norm *p, int n, int c, int inner,
                                  void (*task)(void *user, int c, int worker))
{
    LSNNI_TRY(lsnni_sizes3(cx, "batch_norm (images x channels x pixels)", n, c, inner));
    p->n = n; p->c = c; p->inner = inner;
    if (!p->y_c) p->y_c = c;
    p->kv = lsnni_kernels_of(cx);
    lsnni_parallel_some(cx, lsnni_area(n, c) * (size_t)inner, c, task, p);
    return LSNN_OK;
}

/* ---- Of several ranks: the whole batch's statistics, in three steps, with sums between.
   Room for `many` sums a channel of this rank's and of all's, and one for a count. */
static lsnn_status lsnni_norm_room(lsnn_ctx *cx, lsnni_norm *p, int c, int many)
{
    p->own = (double *)lsnni_scratch(cx, 2 * lsnni_area(many, c) + 1, sizeof *p->own);
    if (!p->own) return LSNN_ENOMEM;
    p->all = p->own + lsnni_area(many, c);
    return LSNN_OK;
}

static void lsnni_norm_measure_task(void *user, int c, int worker)
{
    const lsnni_norm *p = (const lsnni_norm *)user;
    (void)worker;
    lsnni_norm_measure(p, c, &p->own[c], &p->own[p->c + c]);
}

static void lsnni_norm_by_task(void *user, int c, int worker)
{
    const lsnni_norm *p = (const lsnni_norm *)user;
    (void)worker;
    lsnni_norm_by(p, c, p->count, p->all[c], p->all[p->c + c]);
}

/* The mean of the ranks' means, by their counts; then what their squared deviations are from
   that one: about their own, and the mean's own way, sum (x - m)^2 = sum (x - own)^2 +
   count (own - m)^2.                                                         */
static lsnn_status lsnni_norm_forward_ranks(lsnn_ctx *cx, lsnni_norm *p, int n, int c,
                                            int inner)
{
    double count = (double)n * inner, *mean, *var;
    LSNNI_TRY(lsnni_norm_room(cx, p, c, 2));
    LSNNI_TRY(lsnni_norm_run(cx, p, n, c, inner, lsnni_norm_measure_task));
    if (cx->rehearsal_) return LSNN_OK;
    mean = p->all;
    var = p->all + c;
    for (int k = 0; k < c; k++) mean[k] = count * p->own[k];
    mean[c] = count;
    LSNNI_TRY(lsnn_ranks_sum(cx, mean, c + 1));
    p->count = mean[c];
    for (int k = 0; k < c; k++) {
        mean[k] /= p->count;
        var[k] = p->own[c + k] + count * (p->own[k] - mean[k]) * (p->own[k] - mean[k]);
    }
    LSNNI_TRY(lsnn_ranks_sum(cx, var, c));
    return lsnni_norm_run(cx, p, n, c, inner, lsnni_norm_by_task);
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
    LSNNI_TRY(lsnni_norm_run(cx, &p, n, c, inner, lsnni_norm_task));
    return lsnni_norm_check(cx, istd, c);
}

LSNN_API lsnn_status lsnn_batch_norm_predict(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                             const lsnn_real *gamma, const lsnn_real *beta,
                                             const lsnn_real *running_mean,
                                             const lsnn_real *running_var, int n, int c,
                                             int inner, double eps)
{
    lsnni_norm p;
    memset(&p, 0, sizeof p);
    p.x = x; p.gamma = gamma; p.beta = beta; p.y = y; p.eps = eps;
    p.known_mean = running_mean; p.known_var = running_var;
    return lsnni_norm_run(cx, &p, n, c, inner, lsnni_norm_task);
}

/* With d = x - center, where center is the mean as forward kept it, rounded by `off`:
   sum dy xh = istd (sum dy d - off sum dy). dx = gamma istd (dy + slope xh + ...) as the formula
   has it, with one istd outside and one in xh: their product would be 0 for values of 1e20, also
   where flags let the compiler change the order of a product.                 */
enum { LSNNI_NORM_SUM, LSNNI_NORM_DOT, LSNNI_NORM_OFF, LSNNI_NORM_SUMS };
static void lsnni_norm_back_measure(const lsnni_norm *p, int c, double *v)
{
    size_t inner = (size_t)p->inner, step = (size_t)p->c * inner, first = (size_t)c * inner;
    size_t y_step = (size_t)p->y_c * inner;
    double center = (double)p->mean_in[c], sum = 0, dot = 0, off = 0;
    double count = (double)p->n * p->inner;
    for (int n = 0; n < p->n; n++) {
        size_t at = first + (size_t)n * y_step;
        double m[3];
        p->kv->sum_dot(m, p->dy + at, p->x + first + (size_t)n * step, center,
                       p->relu_dy ? p->relu_dy + at : NULL, p->relu_dy ? p->relu_y + at : NULL,
                       inner);
        sum += m[0];
        dot += m[1];
        off += m[2] / count;
    }
    v[LSNNI_NORM_SUM] = sum;
    v[LSNNI_NORM_DOT] = dot;
    v[LSNNI_NORM_OFF] = off;
}

/* The parameters' gradients are of the sums here, dx of those of all `count` values. */
static void lsnni_norm_back_by(const lsnni_norm *p, int c, double count, const double *own,
                               const double *all)
{
    size_t inner = (size_t)p->inner, step = (size_t)p->c * inner, first = (size_t)c * inner;
    size_t y_step = (size_t)p->y_c * inner;              /* y is dx           */
    double center = (double)p->mean_in[c], istd = (double)p->istd_in[c], slope;
    double sum = all[LSNNI_NORM_SUM], off = all[LSNNI_NORM_OFF], dot;
    dot = istd * (own[LSNNI_NORM_DOT] - off * own[LSNNI_NORM_SUM]);          /* sum dy xh */
    if (p->dgamma) p->dgamma[c] += LSNNI_R(dot);
    if (p->dbeta) p->dbeta[c] += LSNNI_R(own[LSNNI_NORM_SUM]);
    if (!p->y) return;
    dot = istd * (all[LSNNI_NORM_DOT] - off * sum);
    if (p->constant) sum = dot = 0;
    slope = -dot / count;                                /* of xh, beside dy  */
    for (int n = 0; n < p->n; n++)
        p->kv->norm_backward(p->y + first + (size_t)n * step, p->dy + first + (size_t)n * y_step,
                             p->x + first + (size_t)n * step, center, istd,
                             (double)p->gamma[c] * istd, slope, -sum / count - slope * istd * off,
                             inner, p->add);
}

static void lsnni_norm_back_task(void *user, int c, int worker)
{
    const lsnni_norm *p = (const lsnni_norm *)user;
    double v[LSNNI_NORM_SUMS];
    (void)worker;
    lsnni_norm_back_measure(p, c, v);
    lsnni_norm_back_by(p, c, (double)p->n * p->inner, v, v);
}

static void lsnni_norm_back_measure_task(void *user, int c, int worker)
{
    const lsnni_norm *p = (const lsnni_norm *)user;
    (void)worker;
    lsnni_norm_back_measure(p, c, p->own + (size_t)c * LSNNI_NORM_SUMS);
}

static void lsnni_norm_back_by_task(void *user, int c, int worker)
{
    const lsnni_norm *p = (const lsnni_norm *)user;
    size_t at = (size_t)c * LSNNI_NORM_SUMS;
    (void)worker;
    lsnni_norm_back_by(p, c, p->count, p->own + at, p->all + at);
}

static lsnn_status lsnni_norm_backward_ranks(lsnn_ctx *cx, lsnni_norm *p, int n, int c,
                                             int inner)
{
    int sums = c * LSNNI_NORM_SUMS;
    double count = (double)n * inner;
    LSNNI_TRY(lsnni_norm_room(cx, p, c, LSNNI_NORM_SUMS));
    LSNNI_TRY(lsnni_norm_run(cx, p, n, c, inner, lsnni_norm_back_measure_task));
    if (cx->rehearsal_) return LSNN_OK;
    memcpy(p->all, p->own, (size_t)sums * sizeof *p->all);
    for (int i = LSNNI_NORM_OFF; i < sums; i += LSNNI_NORM_SUMS) p->all[i] *= count;
    p->all[sums] = count;
    LSNNI_TRY(lsnn_ranks_sum(cx, p->all, sums + 1));
    p->count = p->all[sums];
    for (int i = LSNNI_NORM_OFF; i < sums; i += LSNNI_NORM_SUMS) p->all[i] /= p->count;
    return lsnni_norm_run(cx, p, n, c, inner, lsnni_norm_back_by_task);
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
    p.mean_in = mean; p.istd_in = istd; p.add = add;
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

/* 1 if the running mean and variance are taken, and stay as they are.          */
static int lsnni_norm_knows(const lsnn_call *c) { return !c->training || c->frozen; }

#ifdef LSNN_NAIVE
static lsnn_status lsnni_forward_batch_norm(lsnn_ctx *cx, lsnn_call *c)
{
    const lsnn_layer_plan *p = c->plan;
    int channels = p->out.c, inner = lsnni_call_inner(c);
    if (lsnni_norm_knows(c)) {
        for (int k = 0; k < channels; k++) {             /* for backward      */
            c->keep[k] = c->buffer[0][k];
            c->keep[channels + k] = LSNNI_R(1 / sqrt((double)c->buffer[1][k] + p->o.eps));
        }
        return lsnn_batch_norm_predict(cx, c->y, c->x[0], c->param[0], c->param[1], c->buffer[0],
                                       c->buffer[1], c->n, channels, inner, p->o.eps);
    }
    return lsnn_batch_norm_forward(cx, c->y, c->keep, c->keep + channels, c->buffer[0],
                                   c->buffer[1], c->x[0], c->param[0], c->param[1], c->n,
                                   channels, inner, p->o.momentum, p->o.eps);
}

static lsnn_status lsnni_backward_batch_norm(lsnn_ctx *cx, lsnn_call *c)
{
    int channels = c->plan->out.c, inner = lsnni_call_inner(c);
    if (!lsnni_norm_knows(c))
        return lsnn_batch_norm_backward(cx, c->dx[0], c->dparam[0], c->dparam[1], c->dy, c->x[0],
                                        c->param[0], c->keep, c->keep + channels, c->n, channels,
                                        inner, c->add[0]);
    lsnni_clear(c->dx[0], lsnni_call_count(c), c->add[0]);
    for (int l = 0; l < c->n && c->dx[0]; l++)
    for (int k = 0; k < channels; k++)
    for (int i = 0; i < inner; i++) {
        size_t at = lsnni_at3(l, k, channels, i, inner);
        c->dx[0][at] += c->param[0][k] * c->keep[channels + k] * c->dy[at];
    }
    return LSNN_OK;
}
#else
/* 1 if the batch is parted among ranks: its statistics are sums over all of them. */
static int lsnni_norm_joined(const lsnn_ctx *cx, const lsnn_call *c)
{
    return cx->ranks > 1 && !lsnni_norm_knows(c) && (c->total > c->n || cx->rehearsal_);
}

/* Channels [first, first + those of input j): all of them, or one input of the concat that
   is read in parts (see >>parts).                                            */
static void lsnni_norm_part(lsnni_norm *g, const lsnn_call *c, int j, int first)
{
    memset(g, 0, sizeof *g);
    g->y_c = c->plan->out.c;
    g->x = c->x[j];
    g->gamma = c->param[0] + first;
}

static lsnn_status lsnni_forward_batch_norm(lsnn_ctx *cx, lsnn_call *c)
{
    const lsnn_layer_plan *p = c->plan;
    int known = lsnni_norm_knows(c);
    for (int j = 0, first = 0; j < p->inputs; first += p->in[j++].c) {
        lsnni_norm g;
        lsnni_norm_part(&g, c, j, first);
        g.y = c->y + lsnni_area(first, lsnni_call_inner(c));
        g.beta = c->param[1] + first;
        g.mean = c->keep + first;
        g.istd = c->keep + p->out.c + first;
        if (known) {
            g.known_mean = c->buffer[0] + first;
            g.known_var = c->buffer[1] + first;
        } else {
            g.running_mean = c->buffer[0] + first;
            g.running_var = c->buffer[1] + first;
        }
        g.momentum = p->o.momentum; g.eps = p->o.eps;
        g.relu = c->does & LSNN_DO_RELU;
        LSNNI_TRY(lsnni_norm_joined(cx, c) ?
                  lsnni_norm_forward_ranks(cx, &g, lsnni_blocks(c), p->in[j].c,
                                           lsnni_call_inner(c)) :
                  lsnni_norm_run(cx, &g, lsnni_blocks(c), p->in[j].c, lsnni_call_inner(c),
                                 lsnni_norm_task));
        if (!known) LSNNI_TRY(lsnni_norm_check(cx, g.istd, p->in[j].c));
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
        g.constant = lsnni_norm_knows(c);
        g.mean_in = c->keep + first;
        g.istd_in = c->keep + p->out.c + first;
        if (c->dparam[0]) g.dgamma = c->dparam[0] + first;
        if (c->dparam[1]) g.dbeta = c->dparam[1] + first;
        if (c->does & LSNN_DO_RELU) {                    /* what relu would do in place */
            g.relu_dy = c->dy + skip;
            g.relu_y = c->y + skip;
        }
        LSNNI_TRY(lsnni_norm_joined(cx, c) ?
                  lsnni_norm_backward_ranks(cx, &g, lsnni_blocks(c), p->in[j].c,
                                            lsnni_call_inner(c)) :
                  lsnni_norm_run(cx, &g, lsnni_blocks(c), p->in[j].c, lsnni_call_inner(c),
                                 lsnni_norm_back_task));
    }
    return LSNN_OK;
}
#endif

static const lsnn_layer_type lsnni_batch_norm_type = {
    "batch_norm", LSNNI_PARAM_OPTIONS "momentum eps", 1, 1,
    LSNN_Y_FREE | LSNN_BLOCKS_ALL | LSNN_REHEARSES | LSNNI_NORM_FUSES,
    lsnni_plan_batch_norm, lsnni_forward_batch_norm, lsnni_backward_batch_norm, NULL, NULL,
    LSNNI_DEVICE_PAIR(batch_norm)
};

LSNN_API int lsnn_batch_norm(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_batch_norm_type, &x, 1, o);
}
