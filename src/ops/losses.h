/* ---- >>losses ----------------------------------------------------------------------
   cross-entropy  L = -1/N sum_n log p[n, label n],  p = softmax(x)   dx = (p - onehot) / N
     with a rubbish class of logit -j beside the C:  p[n,k] = e^x[n,k] / (e^-j + sum_i e^x[n,i])
                  (LeCun et al. 1998, Eq. 9, whose penalties y are -x)           dx the same
   mean squares   L = 1/(N C) sum (x - t)^2                           dx = 2 (x - t) / (N C) */
static lsnn_status lsnni_label_check(lsnn_ctx *cx, int label, int sample, int c)
{
    if (label >= 0 && label < c) return LSNN_OK;
    return lsnni_fail(cx, LSNN_EVALUE, "cross_entropy: label %d of the batch's sample %d is "
                      "not in [0, %d)", label, sample, c);
}

LSNN_API lsnn_status lsnn_cross_entropy_forward(lsnn_ctx *cx, double *loss, lsnn_real *p,
                                                const lsnn_real *x, const int *label,
                                                int label_stride, int n, int c)
{
    double total = 0;
    LSNNI_TRY(lsnn_softmax_forward(cx, p, x, n, c, 1));
    for (int i = 0; i < n; i++) {
        const lsnn_real *row = x + lsnni_area(i, c);
        int t = label[(size_t)i * (size_t)label_stride];
        double most, sum = 0;
        LSNNI_TRY(lsnni_label_check(cx, t, i, c));
        most = (double)row[0];
        for (int j = 1; j < c; j++) if ((double)row[j] > most) most = (double)row[j];
        for (int j = 0; j < c; j++) sum += exp((double)row[j] - most);
        total += most + log(sum) - (double)row[t];       /* finite where p is 0 */
    }
    *loss = total / n;
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_cross_entropy_rubbish_forward(lsnn_ctx *cx, double *loss,
                                                        lsnn_real *p, const lsnn_real *x,
                                                        const int *label, int label_stride,
                                                        int n, int c, double j)
{
    double total = 0;
    LSNNI_TRY(lsnni_sizes3(cx, "cross_entropy", n, c, 1));
    for (int i = 0; i < n; i++) {
        const lsnn_real *row = x + lsnni_area(i, c);
        int t = label[(size_t)i * (size_t)label_stride];
        double most = -j, sum;
        LSNNI_TRY(lsnni_label_check(cx, t, i, c));
        for (int k = 0; k < c; k++) if (!((double)row[k] <= most)) most = (double)row[k];
        sum = exp(-j - most);
        for (int k = 0; k < c; k++) sum += exp((double)row[k] - most);
        for (int k = 0; k < c; k++)
            p[lsnni_area(i, c) + (size_t)k] = LSNNI_R(exp((double)row[k] - most) / sum);
        total += most + log(sum) - (double)row[t];
    }
    *loss = total / n;
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_cross_entropy_backward(lsnn_ctx *cx, lsnn_real *dx,
                                                 const lsnn_real *p, const int *label,
                                                 int label_stride, int n, int c, double weight,
                                                 int add)
{
    const lsnni_kernels *kv = lsnni_kernels_of(cx);
    LSNNI_TRY(lsnni_sizes3(cx, "cross_entropy (images x classes)", n, c, 1));
    if (!dx) return LSNN_OK;
    kv->affine(dx, p, weight / n, 0, lsnni_area(n, c), add);
    for (int i = 0; i < n; i++) {
        int t = label[(size_t)i * (size_t)label_stride];
        LSNNI_TRY(lsnni_label_check(cx, t, i, c));
        dx[lsnni_area(i, c) + (size_t)t] -= LSNNI_R(weight / n);
    }
    return LSNN_OK;
}

static lsnn_status lsnni_mse_check(lsnn_ctx *cx, int t_stride, int n, int c)
{
    LSNNI_TRY(lsnni_sizes3(cx, "mse (images x targets)", n, c, 1));
    if (t_stride < c && n > 1)
        return lsnni_fail(cx, LSNN_ESHAPE, "mse: rows of %d targets are %d apart", c, t_stride);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_mse_forward(lsnn_ctx *cx, double *loss, const lsnn_real *x,
                                      const lsnn_real *t, int t_stride, int n, int c)
{
    double total = 0;
    LSNNI_TRY(lsnni_mse_check(cx, t_stride, n, c));
    for (int i = 0; i < n; i++)
        for (int j = 0; j < c; j++) {
            double d = (double)x[lsnni_area(i, c) + (size_t)j];
            d -= (double)t[lsnni_area(i, t_stride) + (size_t)j];
            total += d * d;
        }
    *loss = total / n / c;
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_mse_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *x,
                                       const lsnn_real *t, int t_stride, int n, int c,
                                       double weight, int add)
{
    lsnn_real scale = LSNNI_R(2 * weight / n / c);
    LSNNI_TRY(lsnni_mse_check(cx, t_stride, n, c));
    if (!dx) return LSNN_OK;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < c; j++) {
            size_t at = lsnni_area(i, c) + (size_t)j;
            lsnn_real g = scale * (x[at] - t[lsnni_area(i, t_stride) + (size_t)j]);
            dx[at] = add ? dx[at] + g : g;
        }
    return LSNN_OK;
}

/* A part of a batch has its share of the whole batch's mean.                      */
static double lsnni_loss_weight(const lsnn_call *c)
{
    double w = c->plan->o.loss_weight;
    return c->total == c->n ? w : w * c->n / c->total;
}

static lsnn_status lsnni_plan_loss(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    p->o.loss_weight = lsnni_or(p->o.loss_weight, 1);
    if (p->o.head < 0)
        return lsnni_fail(cx, LSNN_EVALUE, "loss: head %d is negative", p->o.head);
    return lsnni_plan_same(cx, p);
}

static lsnn_status lsnni_plan_cross_entropy(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    if (p->o.rubbish < 0)
        return lsnni_fail(cx, LSNN_EVALUE, "cross_entropy: rubbish is %g, it must be positive, or "
                          "0 for no such class", p->o.rubbish);
    return lsnni_plan_loss(cx, p);
}

static lsnn_status lsnni_forward_cross_entropy(lsnn_ctx *cx, lsnn_call *c)
{
    int head = c->plan->o.head, size = lsnni_features(c->plan->in[0]);
    if (!c->labels || head >= c->heads)
        return lsnni_fail(cx, LSNN_ESHAPE, "cross_entropy: needs label %d of each sample, the "
                          "batch has %d", head, c->labels ? c->heads : 0);
    if (c->plan->o.rubbish > 0)
        LSNNI_TRY(lsnn_cross_entropy_rubbish_forward(cx, &c->loss, c->y, c->x[0],
                                                     c->labels + head, c->heads, c->n, size,
                                                     c->plan->o.rubbish));
    else
        LSNNI_TRY(lsnn_cross_entropy_forward(cx, &c->loss, c->y, c->x[0], c->labels + head,
                                             c->heads, c->n, size));
    c->loss *= lsnni_loss_weight(c);
    return LSNN_OK;
}

static lsnn_status lsnni_backward_cross_entropy(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnn_cross_entropy_backward(cx, c->dx[0], c->y, c->labels + c->plan->o.head,
                                       c->heads, c->n, lsnni_features(c->plan->in[0]),
                                       lsnni_loss_weight(c), c->add[0]);
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
    c->loss *= lsnni_loss_weight(c);
    return LSNN_OK;
}

static lsnn_status lsnni_backward_mse(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnn_mse_backward(cx, c->dx[0], c->x[0], c->targets + c->plan->o.head,
                             c->target_count, c->n, lsnni_features(c->plan->in[0]),
                             lsnni_loss_weight(c), c->add[0]);
}

static const lsnn_layer_type lsnni_cross_entropy_type = {
    "cross_entropy", "head loss_weight rubbish", 1, 1,
    LSNN_IS_LOSS | LSNN_CLASSIFIES | LSNN_X_FREE,
    lsnni_plan_cross_entropy, lsnni_forward_cross_entropy, lsnni_backward_cross_entropy, NULL,
    NULL,
    LSNNI_DEVICE_PAIR(cross_entropy)
};

static const lsnn_layer_type lsnni_mse_type = {
    "mse", "head loss_weight", 1, 1,
    LSNN_IS_LOSS,
    lsnni_plan_loss, lsnni_forward_mse, lsnni_backward_mse, NULL, NULL,
    LSNNI_DEVICE_PAIR(mse)
};

LSNN_API int lsnn_cross_entropy(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_cross_entropy_type, &x, 1, o);
}

LSNN_API int lsnn_mse(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_mse_type, &x, 1, o);
}
