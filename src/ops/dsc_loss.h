/* ---- >>dsc_loss: what >>dsc's outputs should have been ---------------------------------
   dsc_loss     the label's output shall be 1 or more, every other 0 or less (ours; for outputs
                in [0, 1] it is t - y with t 1 and 0):  D = max(0, 1 - x) or min(0, -x)
   dsc_lateral  no labels: lateral depression (19). Output i wins, 1, if it is larger than each
                of its neighbours by at least beta, else it is 0: that is y, and D = y - x
   dx = -D, of each image and not of the batch's mean, for it is no gradient: see >>dsc.
   L = 1 / (2N) sum D^2, to watch.
   The neighbours are other outputs, at most `places` rows and columns away, of all maps (maps
   0), of those at most `maps` away, or (-1) of the same map.                  */
static double lsnni_dsc_wish(const lsnn_real *x, int k, int label)
{
    double v = (double)x[k];
    return k == label ? LSNNI_MAX(0, 1 - v) : LSNNI_MIN(0, -v);
}

LSNN_API lsnn_status lsnn_dsc_loss_forward(lsnn_ctx *cx, double *loss, const lsnn_real *x,
                                           const int *label, int label_stride, int n, int c)
{
    double total = 0;
    LSNNI_TRY(lsnni_sizes3(cx, "dsc_loss (images x classes)", n, c, 1));
    for (int i = 0; i < n; i++) {
        int t = label[(size_t)i * (size_t)label_stride];
        LSNNI_TRY(lsnni_label_check(cx, t, i, c));
        for (int k = 0; k < c; k++) {
            double d = lsnni_dsc_wish(x + lsnni_area(i, c), k, t);
            total += d * d;
        }
    }
    *loss = total / 2 / n;
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_dsc_loss_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *x,
                                            const int *label, int label_stride, int n, int c,
                                            int add)
{
    LSNNI_TRY(lsnni_sizes3(cx, "dsc_loss (images x classes)", n, c, 1));
    lsnni_clear(dx, lsnni_area(n, c), add);
    for (int i = 0; i < n && dx; i++) {
        int t = label[(size_t)i * (size_t)label_stride];
        LSNNI_TRY(lsnni_label_check(cx, t, i, c));
        for (int k = 0; k < c; k++)
            dx[lsnni_at2(i, k, c)] -= LSNNI_R(lsnni_dsc_wish(x + lsnni_area(i, c), k, t));
    }
    return LSNN_OK;
}

/* 1 if no neighbour of output (c, i, j) comes nearer to it than beta.          */
static int lsnni_dsc_wins(const lsnn_real *x, lsnn_shape s, int c, int i, int j,
                          const lsnn_lateral *l)
{
    int reach = l->maps < 0 ? 0 : l->maps ? l->maps : s.c;
    double own = (double)x[lsnni_at3(c, i, s.h, j, s.w)];
    for (int a = LSNNI_MAX(0, c - reach); a <= LSNNI_MIN(s.c - 1, c + reach); a++)
    for (int b = LSNNI_MAX(0, i - l->places); b <= LSNNI_MIN(s.h - 1, i + l->places); b++)
    for (int e = LSNNI_MAX(0, j - l->places); e <= LSNNI_MIN(s.w - 1, j + l->places); e++)
        if ((a != c || b != i || e != j) &&
            !(own - (double)x[lsnni_at3(a, b, s.h, e, s.w)] >= l->beta)) return 0;
    return 1;
}

typedef struct lsnni_lateral_run {
    lsnn_real *won;
    const lsnn_real *x;
    lsnn_shape s;
    const lsnn_lateral *l;
} lsnni_lateral_run;

static void lsnni_lateral_task(void *user, int n, int worker)
{
    const lsnni_lateral_run *r = (const lsnni_lateral_run *)user;
    size_t first = (size_t)n * (size_t)lsnni_features(r->s);
    (void)worker;
    for (int c = 0; c < r->s.c; c++)
    for (int i = 0; i < r->s.h; i++)
    for (int j = 0; j < r->s.w; j++)
        r->won[first + lsnni_at3(c, i, r->s.h, j, r->s.w)] =
            (lsnn_real)lsnni_dsc_wins(r->x + first, r->s, c, i, j, r->l);
}

LSNN_API lsnn_status lsnn_dsc_lateral_forward(lsnn_ctx *cx, lsnn_real *won, const lsnn_real *x,
                                              int n, lsnn_shape shape, const lsnn_lateral *l)
{
    lsnni_lateral_run r;
    LSNNI_TRY(lsnni_sizes3(cx, "dsc_lateral (images x maps)", n, shape.c, 1));
    LSNNI_TRY(lsnni_sizes3(cx, "dsc_lateral", shape.c, shape.h, shape.w));
    if (!(l->beta >= 0) || l->places < 0 || l->maps < -1)
        return lsnni_fail(cx, LSNN_EVALUE, "dsc_lateral: beta %g and places %d must not be "
                          "negative, maps %d not below -1", l->beta, l->places, l->maps);
    r.won = won; r.x = x; r.s = shape; r.l = l;
    lsnni_parallel_some(cx, (size_t)lsnni_features(shape) * (size_t)n, n, lsnni_lateral_task, &r);
    return LSNN_OK;
}

/* ---- The layers ------------------------------------------------------------------------*/
static lsnn_status lsnni_plan_dsc_loss(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    if (p->o.head < 0)
        return lsnni_fail(cx, LSNN_EVALUE, "dsc_loss: head %d is negative", p->o.head);
    return lsnni_plan_same(cx, p);
}

static lsnn_status lsnni_forward_dsc_loss(lsnn_ctx *cx, lsnn_call *c)
{
    int head = c->plan->o.head;
    if (!c->labels || head >= c->heads)
        return lsnni_fail(cx, LSNN_ESHAPE, "dsc_loss: needs label %d of each sample, the batch "
                          "has %d", head, c->labels ? c->heads : 0);
    memcpy(c->y, c->x[0], lsnni_call_count(c) * sizeof *c->y);
    LSNNI_TRY(lsnn_dsc_loss_forward(cx, &c->loss, c->x[0], c->labels + head, c->heads, c->n,
                                    lsnni_features(c->plan->in[0])));
    c->loss *= (double)c->n / c->total;
    return LSNN_OK;
}

static lsnn_status lsnni_backward_dsc_loss(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnn_dsc_loss_backward(cx, c->dx[0], c->x[0], c->labels + c->plan->o.head, c->heads,
                                  c->n, lsnni_features(c->plan->in[0]), c->add[0]);
}

static lsnn_lateral lsnni_lateral_of(const lsnn_layer_plan *p)
{
    lsnn_lateral l;
    l.beta = p->o.dsc_beta;
    l.places = p->o.dsc_places;
    l.maps = p->o.dsc_maps;
    return l;
}

static lsnn_status lsnni_plan_dsc_lateral(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    if (!(p->o.dsc_beta >= 0) || p->o.dsc_places < 0 || p->o.dsc_maps < -1)
        return lsnni_fail(cx, LSNN_EVALUE, "dsc_lateral: dsc_beta %g and dsc_places %d must not "
                          "be negative, dsc_maps %d not below -1", p->o.dsc_beta,
                          p->o.dsc_places, p->o.dsc_maps);
    return lsnni_plan_same(cx, p);
}

static lsnn_status lsnni_forward_dsc_lateral(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_lateral l = lsnni_lateral_of(c->plan);
    size_t count = lsnni_call_count(c);
    double total = 0;
    LSNNI_TRY(lsnn_dsc_lateral_forward(cx, c->y, c->x[0], c->n, c->plan->in[0], &l));
    for (size_t i = 0; i < count; i++) {
        double d = (double)c->y[i] - (double)c->x[0][i];
        total += d * d;
    }
    c->loss = total / 2 / c->total;
    return LSNN_OK;
}

static lsnn_status lsnni_backward_dsc_lateral(lsnn_ctx *cx, lsnn_call *c)
{
    size_t count = lsnni_call_count(c);
    (void)cx;
    lsnni_clear(c->dx[0], count, c->add[0]);
    for (size_t i = 0; i < count && c->dx[0]; i++) c->dx[0][i] += c->x[0][i] - c->y[i];
    return LSNN_OK;
}

static const lsnn_layer_type lsnni_dsc_loss_type = {
    "dsc_loss", "head", 1, 1,
    LSNN_IS_LOSS | LSNN_CLASSIFIES,
    lsnni_plan_dsc_loss, lsnni_forward_dsc_loss, lsnni_backward_dsc_loss, NULL, NULL,
    NULL, NULL, NULL
};

static const lsnn_layer_type lsnni_dsc_lateral_type = {
    "dsc_lateral", "dsc_beta dsc_places dsc_maps", 1, 1,
    LSNN_IS_LOSS,
    lsnni_plan_dsc_lateral, lsnni_forward_dsc_lateral, lsnni_backward_dsc_lateral, NULL, NULL,
    NULL, NULL, NULL
};

LSNN_API int lsnn_dsc_loss(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_dsc_loss_type, &x, 1, o);
}

LSNN_API int lsnn_dsc_lateral(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_dsc_lateral_type, &x, 1, o);
}
