/* ---- >>names: reading and writing anything -----------------------------------------*/
typedef struct lsnni_view {
    lsnn_real *v;
    int rank, dim[4];
    int turned;                      /* 1: in blocks of images                */
    int kept;                        /* 1: what a layer keeps, as a smoother's map */
    int stays;                       /* 1: an output whose memory is the layer's own */
    int away;                        /* 1: in the device's memory             */
    size_t count;
} lsnni_view;

static void lsnni_view_set(lsnni_view *a, lsnn_real *v, int rank, const int *dim)
{
    a->v = v;
    a->rank = rank;
    a->turned = 0;
    a->count = 1;
    for (int i = 0; i < 4; i++) {
        a->dim[i] = i < rank ? dim[i] : 1;
        a->count *= (size_t)a->dim[i];
    }
}

/* An output of the last forward, its gradient, or a kept array of node i.    */
static lsnn_status lsnni_view_node(lsnn_net *net, lsnni_view *a, int i, int is_grad,
                                   int is_keep)
{
    const lsnni_node *v = &net->node[i];
    lsnn_work *w = net->work;
    lsnn_shape s = is_keep ? v->plan.keep_shape : v->plan.out;
    int dim[4], fixed = is_keep && v->plan.keep_fixed;
    lsnn_real *data = is_keep ? w->keep[i] : is_grad ? w->dy[i] : w->y[i];
    dim[0] = w->n; dim[1] = s.c; dim[2] = s.h; dim[3] = s.w;
    if (i == 0)
        return lsnni_fail(net->cx, LSNN_ESTATE, "'input' is the caller's own array");
    if (!w->n)
        return lsnni_fail(net->cx, LSNN_ESTATE, "layer '%.60s' has no output before a forward",
                          v->name);
    if (is_grad && v->plan.o.keep && !data)
        return lsnni_fail(net->cx, LSNN_ESTATE, "there is no gradient of '%.60s': nothing before "
                          "it learns, or the net only predicts", v->name);
    if (!(is_keep || (is_grad ? data && v->plan.o.keep : v->role.readable)))
        return lsnni_fail(net->cx, LSNN_ESTATE,
                          "%s of '%.60s' is not kept: set its option keep",
                          is_grad ? "the gradient" : "the output", v->name);
    if (!(is_grad ? w->done && w->reached[i] : v->role.live && (w->all || v->role.on_path)))
        return lsnni_fail(net->cx, LSNN_ESTATE, "layer '%.60s' had no part in the last %s",
                          v->name, is_grad ? "backward" : "forward");
    lsnni_view_set(a, data, fixed ? 3 : 4, fixed ? dim + 1 : dim);
    a->away = net->device != NULL;
    a->turned = !is_keep && v->role.blocks && w->lanes;
    a->stays = !is_keep && !is_grad && lsnni_has(v, LSNN_Y_STAYS);
    return LSNN_OK;
}

static lsnn_status lsnni_view_find(lsnn_net *net, lsnni_view *a, const char *name)
{
    int is_grad = name && strncmp(name, "grad:", 5) == 0, i;
    const char *rest = name ? name + (is_grad ? 5 : 0) : "", *dot = strrchr(rest, '.');
    if (!name) return lsnni_fail(net->cx, LSNN_ENAME, "lsnn_net_get, _set, _dims: no name");
    a->kept = a->stays = a->away = 0;
    if (!net->built)
        return lsnni_fail(net->cx, LSNN_ESTATE, "%.80s: call lsnn_net_build first", name);
    LSNNI_TRY(lsnni_device_pull(net));
    i = lsnni_find_param(net->param, net->params, rest);
    if (i >= 0 && is_grad && !net->grad)
        return lsnni_fail(net->cx, LSNN_ESTATE, "%.80s: the net was built to predict only",
                          name);
    if (i >= 0) {
        const lsnni_param *p = &net->param[i];
        lsnni_view_set(a, (is_grad ? net->run_grad : net->value) + p->at, p->spec.rank,
                       p->spec.dim);
        a->away = is_grad && net->device;
        return LSNN_OK;
    }
    i = is_grad ? -1 : lsnni_find_param(net->buffer, net->buffers, rest);
    if (i >= 0) {
        const lsnni_param *p = &net->buffer[i];
        lsnni_view_set(a, net->state + p->at, p->spec.rank, p->spec.dim);
        return LSNN_OK;
    }
    i = lsnn_net_node(net, rest);
    if (i >= 0) return lsnni_view_node(net, a, i, is_grad, 0);
    for (i = 0; i < net->nodes && dot && !is_grad; i++) {
        const lsnni_node *v = &net->node[i];
        size_t n = (size_t)(dot - rest);
        if (v->plan.keep_name && strcmp(dot + 1, v->plan.keep_name) == 0 &&
            strlen(v->name) == n && strncmp(v->name, rest, n) == 0) {
            a->kept = 1;
            return lsnni_view_node(net, a, i, 0, 1);
        }
    }
    return lsnni_fail(net->cx, LSNN_ENAME, "the net has no parameter, buffer or layer '%.80s'",
                      name);
}

LSNN_API lsnn_status lsnn_net_dims(lsnn_net *net, const char *name, int *rank, int dim[4])
{
    if (!net) return LSNN_ENOMEM;
    lsnni_view a;
    LSNNI_TRY(lsnni_view_find(net, &a, name));
    if (rank) *rank = a.rank;
    if (dim) memcpy(dim, a.dim, sizeof a.dim);
    return LSNN_OK;
}

static lsnn_status lsnni_view_count(lsnn_net *net, lsnni_view *a, const char *name,
                                    const lsnn_real *v, size_t count)
{
    LSNNI_TRY(lsnni_view_find(net, a, name));
    if (!v) return lsnni_fail(net->cx, LSNN_EVALUE, "%.80s: v is NULL", name);
    if (count != a->count)
        return lsnni_fail(net->cx, LSNN_ESHAPE, "%.80s has %.0f numbers, not %.0f", name,
                          (double)a->count, (double)count);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_net_get(lsnn_net *net, const char *name, lsnn_real *v, size_t count)
{
    if (!net) return LSNN_ENOMEM;
    lsnni_view a;
    LSNNI_TRY(lsnni_view_count(net, &a, name, v, count));
    if (a.away) return lsnni_device_get(net, v, a.v, count);
    if (a.turned)
        return lsnn_interleave(net->cx, v, a.v, a.dim[0], count / (size_t)a.dim[0], 1, 0);
    memcpy(v, a.v, count * sizeof *v);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_net_set(lsnn_net *net, const char *name, const lsnn_real *v,
                                  size_t count)
{
    if (!net) return LSNN_ENOMEM;
    lsnni_view a;
    LSNNI_TRY(lsnni_view_count(net, &a, name, v, count));
    if (a.kept || a.stays)
        return lsnni_fail(net->cx, LSNN_ESTATE, "%.80s is computed by the layer: set what it is "
                          "computed from", name);
    if (a.away) return lsnni_device_put(net, a.v, v, count);
    lsnni_changed(net);
    if (a.turned)
        return lsnn_interleave(net->cx, a.v, v, a.dim[0], count / (size_t)a.dim[0], 0, 0);
    memcpy(a.v, v, count * sizeof *v);
    return LSNN_OK;
}

/* ---- >>unshare: a convolution's kernels at every place of a local2d -----------------*/
static lsnn_status lsnni_unshare_check(lsnn_net *net, int local, const lsnn_net *from, int conv,
                                       const char *names[2])
{
    const lsnn_layer_plan *p, *q;
    if (!net->built || !from->built)
        return lsnni_fail(net->cx, LSNN_ESTATE, "net_unshare: build both nets first");
    if (local < 0 || net->node[local].type != &lsnni_local2d_type)
        return lsnni_fail(net->cx, LSNN_ENAME, "net_unshare: '%.60s' is no local2d of the net",
                          names[0] ? names[0] : "");
    if (conv < 0 || from->node[conv].type != &lsnni_conv2d_type)
        return lsnni_fail(net->cx, LSNN_ENAME, "net_unshare: '%.60s' is no conv2d of the net it "
                          "comes from", names[1] ? names[1] : "");
    p = &net->node[local].plan;
    q = &from->node[conv].plan;
    if (p->param[0].dim[2] != q->param[0].dim[0] || p->o.kernel_h != q->o.kernel_h ||
        p->o.kernel_w != q->o.kernel_w || p->in[0].c != q->in[0].c || p->o.groups != q->o.groups)
        return lsnni_fail(net->cx, LSNN_ESHAPE, "net_unshare: '%.60s' has %d kernels of %dx%d on "
                          "%d channels in %d groups, '%.60s' %d of %dx%d on %d in %d", names[0],
                          p->param[0].dim[2], p->o.kernel_h, p->o.kernel_w, p->in[0].c,
                          LSNNI_MAX(1, p->o.groups), names[1], q->param[0].dim[0],
                          q->o.kernel_h, q->o.kernel_w, q->in[0].c, LSNNI_MAX(1, q->o.groups));
    if (q->params > p->params)
        return lsnni_fail(net->cx, LSNN_EVALUE, "net_unshare: '%.60s' has a bias, '%.60s' has "
                          "none", names[1], names[0]);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_net_unshare(lsnn_net *net, const char *local, const lsnn_net *from,
                                      const char *conv)
{
    const char *names[2];
    int i, j;
    if (!net || !from) return LSNN_ENOMEM;
    i = lsnn_net_node(net, local);
    j = lsnn_net_node(from, conv);
    names[0] = local;
    names[1] = conv;
    LSNNI_TRY(lsnni_unshare_check(net, i, from, j, names));
    LSNNI_TRY(lsnni_device_pull(net));
    LSNNI_TRY(lsnni_device_pull(from));
    for (int part = 0; part < net->node[i].plan.params; part++) {
        const lsnni_param *to = &net->param[net->node[i].param[part]];
        int given = part < from->node[j].plan.params;
        const lsnn_real *v = given ? from->value + from->param[from->node[j].param[part]].at : NULL;
        size_t kernels = (size_t)from->node[j].plan.out.c, depth, inner;
        depth = part ? 1 : (size_t)to->spec.dim[1];
        inner = part ? to->spec.count / kernels : 1;     /* b: places of a kernel     */
        for (size_t q = 0; q < to->spec.count; q++) {    /* w: place, tap, kernel     */
            size_t k = q / inner % kernels, tap = q / kernels % depth;
            net->value[to->at + q] = given ? v[part ? k : k * depth + tap] : 0;
        }
    }
    lsnni_changed(net);
    return LSNN_OK;
}

LSNN_API const char *lsnn_net_param_name(const lsnn_net *net, int kind, int i, size_t *count)
{
    if (!net) return NULL;
    const lsnni_param *p = kind ? net->buffer : net->param;
    if (i < 0 || i >= (kind ? net->buffers : net->params)) return NULL;
    if (count) *count = p[i].spec.count;
    return p[i].name;
}

