/* ---- >>cuda activations: f(x), and f'(x) in terms of y, are those of >>both        */
typedef struct lsnni_cuda_act {
    lsnn_act f;
    lsnn_real *y, *dx;
    const lsnn_real *x, *dy;
    size_t count;
    double slope;
    int add;
} lsnni_cuda_act;

LSNNI_KERNEL(lsnni_cuda_act_forward, lsnni_cuda_act)
{
    LSNNI_EACH(i, a.count);
    a.y[i] = LSNNI_R(lsnni_act(a.f, (double)a.x[i], a.slope));
}

LSNNI_KERNEL(lsnni_cuda_act_backward, lsnni_cuda_act)
{
    LSNNI_EACH(i, a.count);
    lsnn_real g = LSNNI_R((double)a.dy[i] * lsnni_act_slope(a.f, (double)a.y[i], a.slope));
    a.dx[i] = a.add ? a.dx[i] + g : g;
}

static lsnn_status lsnni_cuda_act_run(lsnn_ctx *cx, lsnn_call *c, lsnn_act f, int backward)
{
    lsnni_cuda_act a;
    memset(&a, 0, sizeof a);
    a.f = f;
    a.y = c->y; a.x = c->x[0]; a.dy = c->dy; a.dx = c->dx[0];
    a.count = lsnni_call_count(c);
    a.slope = c->plan->o.slope;
    a.add = c->add[0];
    if (!backward) LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_act_forward, a.count, a);
    else if (a.dx) LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_act_backward, a.count, a);
    return LSNN_OK;
}

#define LSNNI_CUDA_ACTIVATION(name, kind)                                                  \
    LSNNI_CUDA lsnn_status lsnni_cuda_forward_##name(lsnn_ctx *cx, lsnn_call *c)           \
    {                                                                                      \
        return lsnni_cuda_act_run(cx, c, kind, 0);                                         \
    }                                                                                      \
    LSNNI_CUDA lsnn_status lsnni_cuda_backward_##name(lsnn_ctx *cx, lsnn_call *c)          \
    {                                                                                      \
        return lsnni_cuda_act_run(cx, c, kind, 1);                                         \
    }
LSNNI_CUDA_ACTIVATION(relu, LSNN_RELU)
LSNNI_CUDA_ACTIVATION(leaky_relu, LSNN_LEAKY_RELU)
LSNNI_CUDA_ACTIVATION(sigmoid, LSNN_SIGMOID)
LSNNI_CUDA_ACTIVATION(tanh, LSNN_TANH)
LSNNI_CUDA_ACTIVATION(scaled_tanh, LSNN_SCALED_TANH)
#undef LSNNI_CUDA_ACTIVATION
