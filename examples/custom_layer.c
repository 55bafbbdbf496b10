/* custom_layer.c - a layer type of your own, in a page, and the proof of its gradients.

   Build: cc -O2 examples/custom_layer.c -o examples/custom_layer -lm
   Run:   examples/custom_layer      Expect: errors below 1e-6, else exit 1

   The layer is "softplus": y = log(1 + e^(beta x)) / beta with one learned beta, a smooth
   relu. A type is three functions, a name and the options it reads; lsnn.h itself is
   not touched.                                                                         */
#define LSNN_DOUBLE                    /* gradient checks need double precision     */
#define LSNN_IMPLEMENTATION
#include "../lsnn.h"

/* ---- The layer type ------------------------------------------------------------------*/
/* What shape comes out, and which parameters there are.                              */
static lsnn_status plan(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    (void)cx;
    p->out = p->in[0];
    p->params = 1;
    p->param[0].name = "beta";         /* "softplus1.beta" in files and lsnn_net_get */
    p->param[0].rank = 1;
    p->param[0].dim[0] = 1;
    p->param[0].value = 1;             /* where it begins                           */
    p->param[0].no_decay = 1;
    return LSNN_OK;
}

static size_t numbers(const lsnn_call *c)
{
    lsnn_shape s = c->plan->in[0];
    return (size_t)c->n * (size_t)s.c * (size_t)s.h * (size_t)s.w;
}

/* Forward overwrites y.                                                              */
static lsnn_status forward(lsnn_ctx *cx, lsnn_call *c)
{
    double beta = (double)c->param[0][0];
    (void)cx;
    for (size_t i = 0; i < numbers(c); i++) {
        double z = beta * (double)c->x[0][i];
        c->y[i] = (lsnn_real)(((z > 0 ? z : 0) + log1p(exp(-fabs(z)))) / beta);
    }
    return LSNN_OK;
}

/* dy/dx = s(z), dy/dbeta = (x s(z) - y) / beta with z = beta x, s(z) = 1 / (1 + e^-z).
   Backward adds to the parameters' gradients, and writes or adds to dx as it is told. */
static lsnn_status backward(lsnn_ctx *cx, lsnn_call *c)
{
    double beta = (double)c->param[0][0], dbeta = 0;
    (void)cx;
    for (size_t i = 0; i < numbers(c); i++) {
        double x = (double)c->x[0][i], s = 1 / (1 + exp(-beta * x)), dy = (double)c->dy[i];
        dbeta += dy * (x * s - (double)c->y[i]) / beta;
        if (c->dx[0]) c->dx[0][i] = (lsnn_real)(dy * s + (c->add[0] ? (double)c->dx[0][i] : 0));
    }
    if (c->dparam[0]) c->dparam[0][0] += (lsnn_real)dbeta;
    return LSNN_OK;
}

static lsnn_layer_type softplus_type(void)
{
    lsnn_layer_type t;
    memset(&t, 0, sizeof t);
    t.name = "softplus";
    t.options = "lr_factor freeze";    /* the fields of lsnn_options that it reads   */
    t.min_inputs = t.max_inputs = 1;
    t.plan = plan;
    t.forward = forward;
    t.backward = backward;
    return t;
}

/* ---- The proof -------------------------------------------------------------------------
   Central differences of the loss against the gradient, for every parameter of a net.  */
static double loss_of(lsnn_net *net, const lsnn_batch *b)
{
    double loss = NAN;
    lsnn_forward(net, b, 1, &loss);
    return loss;
}

static double worst_error(lsnn_net *net, const lsnn_batch *b, const char *name, size_t count)
{
    lsnn_real w[512], g[512];
    char grad[64];
    double most = 0, worst = 0, eps = 1e-5;
    snprintf(grad, sizeof grad, "grad:%.50s", name);
    lsnn_net_get(net, name, w, count);
    lsnn_net_get(net, grad, g, count);
    for (size_t i = 0; i < count; i++) if (fabs((double)g[i]) > most) most = fabs((double)g[i]);
    for (size_t i = 0; i < count; i++) {
        lsnn_real old = w[i];
        double up, down;
        w[i] = (lsnn_real)((double)old + eps);
        lsnn_net_set(net, name, w, count);
        up = loss_of(net, b);
        w[i] = (lsnn_real)((double)old - eps);
        lsnn_net_set(net, name, w, count);
        down = loss_of(net, b);
        w[i] = old;
        lsnn_net_set(net, name, w, count);
        worst = fmax(worst, fabs((up - down) / (2 * eps) - (double)g[i]));
    }
    return most > 0 ? worst / most : NAN;        /* an all-zero gradient proves nothing */
}

int main(void)
{
    static lsnn_ctx cx;
    lsnn_layer_type softplus = softplus_type();
    lsnn_rng r = lsnn_rng_at(1, "example", "", 0, 0);
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_real pixels[4 * 36];
    int labels[4], x, bad = 0;
    lsnn_batch b;
    size_t count;

    x = lsnn_conv2d(net, lsnn_input(net, 1, 6, 6), 3, 3, NULL);
    x = lsnn_layer(net, &softplus, &x, 1, NULL);
    x = lsnn_dense(net, x, 5, NULL);
    lsnn_cross_entropy(net, x, NULL);
    if (lsnn_net_build(net, NULL) != LSNN_OK) return 1;

    for (int i = 0; i < 4 * 36; i++) pixels[i] = (lsnn_real)lsnn_rng_normal(&r);
    for (int i = 0; i < 4; i++) labels[i] = lsnn_rng_int(&r, 5);
    memset(&b, 0, sizeof b);
    b.n = 4;
    b.x = pixels;
    b.labels = labels;
    b.heads = 1;
    if (!(loss_of(net, &b) > 0) || lsnn_backward(net) != LSNN_OK) return 1;
    for (int i = 0; lsnn_net_param_name(net, 0, i, &count); i++) {
        const char *name = lsnn_net_param_name(net, 0, i, &count);
        double error = worst_error(net, &b, name, count);
        printf("%-18s %4.0f numbers, worst error %.1e of the largest gradient\n", name,
               (double)count, error);
        if (!(error < 1e-6)) bad = 1;
    }
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    if (fflush(stdout) != 0 || ferror(stdout)) bad = 1;
    return bad;
}
