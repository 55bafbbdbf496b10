/* ---- >>first values: weights by He (normal, variance 2 / fan_in) or Glorot (uniform,
   variance 2 / (fan_in + fan_out)), the rest as the layer says.              */
static void lsnni_init_param(const lsnn_net *net, const lsnni_param *p, lsnn_real *v)
{
    const lsnni_node *owner = &net->node[p->owner];
    lsnn_rng r = lsnn_rng_at(net->seed, "init", p->name, 0, 0);
    lsnn_init kind = owner->plan.o.init;
    double scale = owner->plan.o.init_scale > 0 ? owner->plan.o.init_scale : 1;
    double he = sqrt(2.0 / LSNNI_MAX(1, p->spec.fan_in));
    double glorot = sqrt(6.0 / LSNNI_MAX(1, p->spec.fan_in + p->spec.fan_out));
    if (owner->type->init) {
        owner->type->init(&owner->plan, p->index, v, &r);
        return;
    }
    for (size_t i = 0; i < p->spec.count; i++) {
        double d = p->spec.value;
        if (p->spec.fan_in > 0 && kind == LSNN_INIT_HE) d = scale * he * lsnn_rng_normal(&r);
        else if (p->spec.fan_in > 0 && kind == LSNN_INIT_GLOROT)
            d = scale * glorot * (2 * lsnn_rng_uniform(&r) - 1);
        v[i] = LSNNI_R(d);
    }
}

LSNN_API void lsnn_net_set_output(lsnn_net *net, int node)
{
    if (!net || net->failed) return;
    if (!net->built && node >= 0 && node < net->nodes) net->output = node;
    else {
        lsnni_fail(net->cx, net->built ? LSNN_ESTATE : LSNN_EVALUE, "lsnn_net_set_output: node "
                   "%d of %d%s", node, net->nodes, net->built ? ", and the net is built" : "");
        net->failed = !net->built;
    }
}

LSNN_API size_t lsnn_net_params(const lsnn_net *net)
{
    if (!net) return 0;
    size_t total = 0;
    for (int i = 0; i < net->params; i++) total += net->param[i].spec.count;
    return total;
}

LSNN_API double lsnn_net_macs(const lsnn_net *net)
{
    if (!net) return 0;
    double total = 0;
    for (int i = 0; i < net->nodes; i++) total += net->node[i].plan.macs;
    return total;
}

LSNN_API lsnn_shape lsnn_net_shape(const lsnn_net *net, int node)
{
    lsnn_shape none = { 0, 0, 0 };
    return net && node >= 0 && node < net->nodes ? net->node[node].whole : none;
}

LSNN_API int lsnn_net_output(const lsnn_net *net) { return net ? net->output : -1; }

LSNN_API void lsnn_net_summary(const lsnn_net *net, FILE *out)
{
    if (!net) return;
    fprintf(out, "%-18s %-14s %-16s %12s %14s\n", "layer", "type", "output", "parameters",
            "multiply-adds");
    for (int i = 0; i < net->nodes; i++) {
        const lsnni_node *v = &net->node[i];
        size_t count = 0;
        char shape[48], note[96];
        for (int j = 0; j < v->plan.params; j++) count += v->plan.param[j].count;
        snprintf(shape, sizeof shape, "%d x %d x %d", v->whole.c, v->whole.h, v->whole.w);
        note[0] = 0;
        if (v->share) snprintf(note, sizeof note, "  parameters of %.60s", v->share);
        else if (v->done_by >= 0)
            snprintf(note, sizeof note, "  done by %.60s", net->node[v->done_by].name);
        else if (net->built && !v->live) snprintf(note, sizeof note, "  not made");
        else if (v->pooled_to >= 0)
            snprintf(note, sizeof note, "  pools to %.60s", net->node[v->pooled_to].name);
        else if (v->alias >= 0) snprintf(note, sizeof note, "  in place");
        if (v->lanes && v->done_by < 0)
            snprintf(note + strlen(note), sizeof note - strlen(note), "%s in blocks",
                     *note ? "," : " ");
        if (v->whole.h != v->plan.out.h || v->whole.w != v->plan.out.w)
            snprintf(note + strlen(note), sizeof note - strlen(note), "%s only %d x %d",
                     *note ? "," : " ", v->plan.out.h, v->plan.out.w);
        fprintf(out, "%-18s %-14s %-16s %12.0f %14.0f%s\n", v->name, v->type->name, shape,
                v->share ? 0.0 : (double)count, v->plan.macs, note);
    }
    fprintf(out, "%-18s %-14s %-16s %12.0f %14.0f\n", "total", "", "",
            (double)lsnn_net_params(net), lsnn_net_macs(net));
}

/* ---- >>running ---------------------------------------------------------------------
   Forward fills an lsnn_call for each live node and runs it; an output that is wanted in
   both layouts is then turned. Backward goes the other way: the first to write a gradient
   sets it (see `written`), the others add.                                   */

/* 1 if node v takes its input j in the other layout than its maker has it.   */
static int lsnni_turned(const lsnn_work *w, const lsnni_node *v, int j)
{
    return w->lanes && w->net->node[v->input[j]].lanes != lsnni_wants_lanes(v, j);
}

/* Node i's output, or gradient, from one layout to the other. back: to the node's own. */
static lsnn_status lsnni_relay(lsnn_work *w, int n, int i, lsnn_real *to,
                              const lsnn_real *from, int back, int add)
{
    const lsnni_node *v = &w->net->node[i];
    if (!w->lanes || !v->both || !v->live) return LSNN_OK;
    return lsnn_interleave(w->cx, to, from, n, (size_t)lsnni_features(v->plan.out),
                           v->lanes != back, add);
}

static void lsnni_call_fill(lsnn_call *c, lsnn_work *w, int i, const lsnn_batch *b,
                            int training)
{
    const lsnn_net *net = w->net;
    const lsnni_node *v = &net->node[i];
    memset(c, 0, sizeof *c);
    c->plan = &v->plan;
    c->n = b->n;
    c->training = training;
    c->lanes = v->lanes ? w->lanes : 0;
    c->with_relu_ = v->with_relu;
    for (int j = 0; j < v->plan.inputs; j++) {
        int x = v->input[j];
        if (lsnni_turned(w, v, j)) c->x[j] = w->z[x];
        else c->x[j] = x == 0 ? b->x : w->y[x];
    }
    if (v->pooled_to >= 0) {
        c->with_pool_ = 1;
        c->with_relu_ = net->node[v->pooled_to].with_relu;
    }
    c->y = w->y[c->with_pool_ ? v->pooled_to : i];
    c->keep = w->keep[c->with_pool_ ? v->pooled_to : i];
    for (int j = 0; j < v->plan.params; j++)
        c->param[j] = net->value + net->param[v->param[j]].at;
    for (int j = 0; j < v->plan.buffers; j++)
        c->buffer[j] = net->state + net->buffer[v->buffer[j]].at;
    c->labels = b->labels;
    c->heads = b->heads;
    c->targets = b->targets;
    c->target_count = b->target_count;
    c->rng = lsnn_rng_at(net->seed, v->type->name, v->name, b->step, b->sample);
}

/* Our own types but losses, which need labels and no scratch memory.         */
static int lsnni_rehearsed(const lsnn_layer_type *t)
{
    return !t->is_loss && lsnni_type(t->name) == t;
}

static int lsnni_finite(const lsnn_real *v, size_t count)
{
    for (size_t i = 0; i < count; i++) if (!(fabs((double)v[i]) <= DBL_MAX)) return 0;
    return 1;
}

/* All live nodes; to predict without labels and targets, those the output needs. */
static lsnn_status lsnni_work_forward(lsnn_work *w, const lsnn_batch *b, int training,
                                      double *loss)
{
    const lsnn_net *net = w->net;
    double total = 0;
    w->ready = w->n = 0;
    if (b->n < 1 || b->n > w->batch)
        return lsnni_fail(w->cx, LSNN_ESHAPE,
                          "forward: %d images, the net was built for 1 to %d",
                          b->n, w->batch);
    w->lanes = lsnni_lanes_for(w, b->n);
    memset(w->written, 0, 3 * (size_t)net->nodes);       /* and written_z, ran */
    LSNNI_TRY(lsnni_relay(w, b->n, 0, w->z[0], b->x, 0, 0));
    for (int i = 1; i < net->nodes; i++) {
        const lsnni_node *v = &net->node[i];
        lsnn_status s;
        lsnn_call c;
        if (w->cx->rehearsal_ ? !lsnni_rehearsed(v->type)
                              : !training && !v->on_path && !b->labels && !b->targets)
            continue;
        if (!v->live) continue;
        lsnni_call_fill(&c, w, i, b, training);
        w->cx->where_ = v->name;
        s = v->done_by >= 0 || v->pooled_by >= 0 ? LSNN_OK : v->type->forward(w->cx, &c);
        if (s == LSNN_OK) s = lsnni_relay(w, b->n, i, w->z[i], w->y[i], 0, 0);
        w->cx->where_ = NULL;
        if (s != LSNN_OK) return s;
        w->ran[i] = 1;
        total += c.loss;
        if (!w->watch || v->done_by >= 0 || v->pooled_to >= 0) continue;
        if (lsnni_finite(w->y[i], lsnni_area(b->n, lsnni_features(v->plan.out)))) continue;
        w->blamed = v->pooled_by >= 0 ? v->pooled_by : i;
        break;
    }
    w->n = b->n;
    w->last = *b;
    if (loss) *loss = total;
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_forward(lsnn_net *net, const lsnn_batch *b, int training,
                                  double *loss)
{
    if (!net) return LSNN_ENOMEM;
    if (!net->built)
        return lsnni_fail(net->cx, LSNN_ESTATE, "lsnn_forward: call lsnn_net_build first");
    if (training && net->predict_only)
        return lsnni_fail(net->cx, LSNN_ESTATE,
                          "lsnn_forward: the net was built to predict only");
    LSNNI_TRY(lsnni_work_forward(net->work, b, training, loss));
    net->work->ready = training;
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_backward(lsnn_net *net)
{
    if (!net) return LSNN_ENOMEM;
    lsnn_work *w = net->work;
    if (!net->built || !w->ready)
        return lsnni_fail(net->cx, LSNN_ESTATE,
                          "lsnn_backward: call lsnn_forward with training = 1 "
                          "first");
    w->ready = 0;
    memset(w->written, 0, 2 * (size_t)net->nodes);       /* and written_z     */
    for (int i = net->nodes - 1; i > 0; i--) {
        const lsnni_node *v = &net->node[i];
        lsnn_status s;
        lsnn_call c;
        char *written;
        int turned;
        /* nothing to do above the parameters, or where no loss depends on it */
        if (!v->needs_grad || !w->ran[i] || (!net->cx->rehearsal_ &&
                               !v->type->is_loss && !w->written[i] && !w->written_z[i]))
            continue;
        if (w->written_z[i])
            LSNNI_TRY(lsnni_relay(w, w->n, i, w->dy[i], w->dz[i], 1, w->written[i]));
        w->written[i] = 1;
        lsnni_call_fill(&c, w, i, &w->last, 1);
        c.dy = w->dy[i];
        for (int j = 0; j < v->plan.inputs; j++) {
            int x = v->input[j];
            if (!net->node[x].needs_grad) continue;
            turned = lsnni_turned(w, v, j);
            c.dx[j] = turned ? w->dz[x] : w->dy[x];
            written = turned ? w->written_z : w->written;
            c.add[j] = written[x] ? LSNN_ADD : LSNN_SET;
            written[x] = 1;
        }
        for (int j = 0; j < v->plan.params; j++)
            if (net->param[v->param[j]].lr_factor > 0)
                c.dparam[j] = net->grad + net->param[v->param[j]].at;
        w->cx->where_ = v->name;
        s = v->done_by >= 0 ? LSNN_OK : v->type->backward(w->cx, &c);
        w->cx->where_ = NULL;
        if (s != LSNN_OK) return s;
    }
    return LSNN_OK;
}

LSNN_API void lsnn_zero_grad(lsnn_net *net)
{
    if (!net) return;
    if (net->grad) memset(net->grad, 0, net->param_size * sizeof *net->grad);
}

/* A step without work in each layout that a batch can have, so that every op takes
   its scratch memory now and none later: the batch, one image less, whole blocks, and 7
   to 1 images, which ops divide otherwise. net: NULL if there is no backward. */
static lsnn_status lsnni_rehearse(lsnn_work *w, lsnn_net *net)
{
    lsnn_status s = LSNN_OK;
    lsnn_batch b;
    lsnn_real *x = (lsnn_real *)lsnni_alloc(w->cx, (size_t)w->batch, sizeof *x *
                                            (size_t)lsnni_features(w->net->node[0].plan.out));
    if (!x) return LSNN_ENOMEM;
    memset(&b, 0, sizeof b);
    b.x = x;
    w->cx->rehearsal_ = 1;
    for (int pass = 0; pass < 10 && s == LSNN_OK; pass++) {
        b.n = pass == 0 ? w->batch : pass == 1 ? w->batch - 1
            : pass == 2 ? w->batch - w->batch % lsnn_lanes(w->cx) : 10 - pass;
        if (b.n < 1 || b.n > w->batch) continue;
        s = lsnni_work_forward(w, &b, net != NULL, NULL);
        w->ready = 1;
        if (net && s == LSNN_OK) s = lsnn_backward(net);
        w->ready = w->n = 0;
    }
    w->cx->rehearsal_ = 0;
    if (net) lsnn_zero_grad(net);
    lsnni_free(w->cx, x);
    return s;
}

LSNN_API lsnn_work *lsnn_work_new(lsnn_ctx *cx, const lsnn_net *net, int batch)
{
    lsnn_work *w;
    if (!net || !net->built || batch < 1) {
        lsnni_fail(cx, net && net->built ? LSNN_EVALUE : LSNN_ESTATE, "lsnn_work_new: the net is "
                   "%s, the batch is %d", !net ? "NULL" : net->built ? "built" : "not built",
                   batch);
        return NULL;
    }
    w = lsnni_work_make(cx, net, batch, 0);
    if (!w || lsnni_rehearse(w, NULL) == LSNN_OK) return w;
    lsnn_work_free(w);
    return NULL;
}

LSNN_API lsnn_status lsnn_net_build(lsnn_net *net, const lsnn_build_desc *d)
{
    lsnn_ctx *cx = net ? net->cx : NULL;
    if (!net) return LSNN_ENOMEM;
    if (net->failed)
        return lsnni_fail(cx, LSNN_ESTATE, "lsnn_net_build: %s", net->failed == 1 ?
                          "a layer could not be made" : "it failed before: make the net anew");
    if (net->built || net->nodes < 2)
        return lsnni_fail(cx, LSNN_ESTATE, "lsnn_net_build: %s", net->built ?
                          "the net is built already" : "the net has no layers");
    net->batch = d && d->batch ? d->batch : 64;
    net->seed = d ? d->seed : 0;
    net->predict_only = d ? d->predict_only : 0;
    if (net->batch < 1)
        return lsnni_fail(cx, LSNN_EVALUE, "lsnn_net_build: batch %d", net->batch);
    for (int i = 0; i < net->nodes && net->output < 0; i++)
        if (net->node[i].type->is_loss) net->output = net->node[i].input[0];
    if (net->output < 0) net->output = net->nodes - 1;
    net->value = (lsnn_real *)lsnni_alloc(cx, net->param_size, sizeof *net->value);
    net->state = (lsnn_real *)lsnni_alloc(cx, net->buffer_size, sizeof *net->state);
    if (!net->predict_only)
        net->grad = (lsnn_real *)lsnni_alloc(cx, net->param_size, sizeof *net->grad);
    if (!net->value || !net->state || (!net->predict_only && !net->grad)) goto fail;
    for (int i = 0; i < net->params; i++)
        lsnni_init_param(net, &net->param[i], net->value + net->param[i].at);
    for (int i = 0; i < net->buffers; i++)
        for (size_t j = 0; j < net->buffer[i].spec.count; j++)
            net->state[net->buffer[i].at + j] = LSNNI_R(net->buffer[i].spec.value);
    lsnni_plan_concats(net);
    lsnni_plan_layout(net);
    lsnni_plan_graph(net, !net->predict_only);
    if (lsnni_plan_crop(net) != LSNN_OK) goto fail;
    lsnni_plan_fusion(net);
    net->work = lsnni_work_make(cx, net, net->batch, !net->predict_only);
    if (!net->work) goto fail;
    net->built = 1;
    if (lsnni_rehearse(net->work, net->predict_only ? NULL : net) == LSNN_OK) return LSNN_OK;
    net->built = 0;
fail:
    net->failed = 2;
    return cx->status;
}

LSNN_API lsnn_status lsnn_work_predict(lsnn_work *w, const lsnn_real *x, int n, lsnn_real *y)
{
    const lsnn_net *net = w->net;
    size_t in = (size_t)lsnni_features(net->node[0].plan.out);
    size_t out = (size_t)lsnni_features(net->node[net->output].plan.out);
    int lanes = lsnn_lanes(w->cx);
    lsnn_batch b;
    memset(&b, 0, sizeof b);
    w->ready = w->n = 0;
    if (n < 1) return lsnni_fail(w->cx, LSNN_ESHAPE, "predict: %d images", n);
    for (int i = 0; i < n; i += b.n) {
        b.n = LSNNI_MIN(w->chunk, n - i);
        if (!w->train && b.n > lanes) b.n -= b.n % lanes;        /* whole blocks first */
        b.x = x + (size_t)i * in;
        LSNNI_TRY(lsnni_work_forward(w, &b, 0, NULL));
        if (net->output == 0) memcpy(y + (size_t)i * out, b.x, (size_t)b.n * out * sizeof *y);
        else if (w->lanes && net->node[net->output].lanes)
            LSNNI_TRY(lsnn_interleave(w->cx, y + (size_t)i * out, w->y[net->output], b.n, out,
                                      1, 0));
        else memcpy(y + (size_t)i * out, w->y[net->output], (size_t)b.n * out * sizeof *y);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_predict(lsnn_net *net, const lsnn_real *x, int n, lsnn_real *y)
{
    if (!net) return LSNN_ENOMEM;
    if (!net->built)
        return lsnni_fail(net->cx, LSNN_ESTATE, "lsnn_predict: call lsnn_net_build first");
    return lsnn_work_predict(net->work, x, n, y);
}

/* ---- >>names: reading and writing anything -----------------------------------------*/
typedef struct lsnni_view {
    lsnn_real *v;
    int rank, dim[4];
    int turned;                      /* 1: in blocks of images                */
    int kept;                        /* 1: what a layer keeps, as a smoother's map */
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
    if (!(is_keep || (is_grad ? data && v->plan.o.keep : v->readable)))
        return lsnni_fail(net->cx, LSNN_ESTATE,
                          "%s of '%.60s' is not kept: set its option keep",
                          is_grad ? "the gradient" : "the output", v->name);
    if (!(is_grad ? w->written[i] : w->ran[i]))
        return lsnni_fail(net->cx, LSNN_ESTATE, "layer '%.60s' had no part in the last %s",
                          v->name, is_grad ? "backward" : "forward");
    lsnni_view_set(a, data, fixed ? 3 : 4, fixed ? dim + 1 : dim);
    a->turned = !is_keep && v->lanes && w->lanes;
    return LSNN_OK;
}

static lsnn_status lsnni_view_find(lsnn_net *net, lsnni_view *a, const char *name)
{
    int is_grad = strncmp(name, "grad:", 5) == 0, i;
    const char *rest = name + (is_grad ? 5 : 0), *dot = strrchr(rest, '.');
    a->kept = 0;
    if (!net->built)
        return lsnni_fail(net->cx, LSNN_ESTATE, "%.80s: call lsnn_net_build first", name);
    i = lsnni_find_param(net->param, net->params, rest);
    if (i >= 0 && is_grad && !net->grad)
        return lsnni_fail(net->cx, LSNN_ESTATE, "%.80s: the net was built to predict only",
                          name);
    if (i >= 0) {
        const lsnni_param *p = &net->param[i];
        lsnni_view_set(a, (is_grad ? net->grad : net->value) + p->at, p->spec.rank,
                       p->spec.dim);
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
                                    size_t count)
{
    LSNNI_TRY(lsnni_view_find(net, a, name));
    if (count != a->count)
        return lsnni_fail(net->cx, LSNN_ESHAPE, "%.80s has %.0f numbers, not %.0f", name,
                          (double)a->count, (double)count);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_net_get(lsnn_net *net, const char *name, lsnn_real *v, size_t count)
{
    if (!net) return LSNN_ENOMEM;
    lsnni_view a;
    LSNNI_TRY(lsnni_view_count(net, &a, name, count));
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
    LSNNI_TRY(lsnni_view_count(net, &a, name, count));
    if (a.kept)
        return lsnni_fail(net->cx, LSNN_ESTATE, "%.80s is computed by the layer: set what it is "
                          "computed from", name);
    if (a.turned)
        return lsnn_interleave(net->cx, a.v, v, a.dim[0], count / (size_t)a.dim[0], 0, 0);
    memcpy(a.v, v, count * sizeof *v);
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

