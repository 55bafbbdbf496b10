/* ============================================================================
   >>training  optimizers, schedules, fit, evaluate, checkpoints
   ==========================================================================*/

/* ---- >>optimizers -----------------------------------------------------------------
   g is the gradient, clipped as a whole: g min(1, clip / (|g| + 1e-6)).
   SGD      e = g + wd w;  v = momentum v + e;  w -= lr v   (Nesterov: lr (e + momentum v))
   Adam     e = g + wd w;  m = b1 m + (1 - b1) e;  v = b2 v + (1 - b2) e^2
            w -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)    t = 1, 2, ...
   AdamW    Adam with wd = 0, and w *= 1 - lr wd first
   as PyTorch has them (no dampening). wd is 0 for biases, normalisation and
   smoothers; lr and wd are times the parameter's factors. A penalty l2 / 2 |w|^2
   of a parameter is a part of g, before it is clipped, and not of the loss that is
   reported: a gradient stays that of the loss. (Keras's l2(x) is l2 = 2 x.)  */
struct lsnn_optimizer {
    lsnn_net *net;
    lsnn_optimizer_desc d;
    uint32_t step;
    lsnn_real *m, *v;                /* m: SGD's velocity, or Adam's mean     */
    lsnni_device_step there;         /* on a device: these and more, in its memory */
};

static void lsnni_optimizer_defaults(lsnn_optimizer_desc *d)
{
    d->lr = lsnni_or(d->lr, d->method == LSNN_SGD ? 0.01 : 0.001);
    d->one_minus_beta1 = lsnni_or(d->one_minus_beta1, 0.1);
    d->one_minus_beta2 = lsnni_or(d->one_minus_beta2, 0.001);
    d->eps = lsnni_or(d->eps, 1e-8);
    d->step_factor = lsnni_or(d->step_factor, 0.1);
}

/* Milestones rise until a 0 ends them; wanted: there is one.                  */
static lsnn_status lsnni_milestones_check(lsnn_ctx *cx, const char *who, const int *at,
                                          int wanted)
{
    if (wanted && at[0] < 1)
        return lsnni_fail(cx, LSNN_EVALUE, "%s: the schedule needs milestones, the first is %d",
                          who, at[0]);
    for (int i = 0; i < LSNN_MAX_MILESTONES; i++)
        if (at[i] < 0 || (i > 0 && at[i] > 0 && at[i] <= at[i - 1]))
            return lsnni_fail(cx, LSNN_EVALUE, "%s: milestone %d is %d: they must rise, and a 0 "
                              "ends them", who, i + 1, at[i]);
    return LSNN_OK;
}

static lsnn_status lsnni_optimizer_check(lsnn_ctx *cx, const lsnn_optimizer_desc *d)
{
    if ((int)d->method < 0 || d->method > LSNN_ADAMW || (int)d->schedule < 0 ||
        d->schedule > LSNN_MILESTONES)
        return lsnni_fail(cx, LSNN_EVALUE, "optimizer: method %d or schedule %d is unknown",
                          (int)d->method, (int)d->schedule);
    if (!(d->lr > 0 && d->lr < HUGE_VAL && d->weight_decay >= 0 &&
          d->weight_decay < HUGE_VAL && d->clip_norm >= 0 && d->clip_norm < HUGE_VAL &&
          LSNNI_R(d->eps) > 0 && d->eps < HUGE_VAL && d->step_factor > 0 &&
          d->step_factor < HUGE_VAL))
        return lsnni_fail(cx, LSNN_EVALUE,
                          "optimizer: lr %g, eps %g and step_factor %g must be positive, "
                          "weight_decay %g and clip_norm %g not negative, all finite", d->lr,
                          d->eps, d->step_factor, d->weight_decay, d->clip_norm);
    if (!(d->momentum >= 0 && d->momentum < 1) || (d->nesterov && !(d->momentum > 0)))
        return lsnni_fail(cx, LSNN_EVALUE,
                          "optimizer: momentum %g must lie in [0, 1), above 0 for "
                          "nesterov", d->momentum);
    if (!(1 - d->one_minus_beta1 < 1 && d->one_minus_beta1 <= 1 && 1 - d->one_minus_beta2 < 1 &&
          d->one_minus_beta2 <= 1))
        return lsnni_fail(cx, LSNN_EVALUE,
                          "optimizer: one_minus_beta1 %g and one_minus_beta2 %g must lie in "
                          "(0, 1], and not vanish beside 1", d->one_minus_beta1,
                          d->one_minus_beta2);
    if (d->warmup_steps < 0 || d->total_steps < 0 || d->step_every < 0 ||
        (d->schedule == LSNN_COSINE && d->total_steps <= d->warmup_steps) ||
        (d->schedule == LSNN_STEP && d->step_every == 0))
        return lsnni_fail(cx, LSNN_EVALUE,
                          "optimizer: the schedule has warmup_steps %d, total_steps %d, "
                          "step_every %d; cosine needs total_steps over warmup_steps, step "
                          "needs step_every", d->warmup_steps, d->total_steps, d->step_every);
    return lsnni_milestones_check(cx, "optimizer", d->milestones,
                                  d->schedule == LSNN_MILESTONES);
}

/* ---- >>schedules: lr at step t = 0, 1, ...
   warm-up (t < W): lr (t + 1) / W     constant: lr     step: lr factor^floor(t / every)
   cosine: lr (1 + cos(pi (t - W) / (T - W))) / 2       milestones: lr factor^(how many <= t) */
LSNN_API double lsnn_optimizer_lr(const lsnn_optimizer_desc *desc, uint32_t step)
{
    lsnn_optimizer_desc d;
    double t = (double)step, warm;
    memset(&d, 0, sizeof d);
    if (desc) d = *desc;
    lsnni_optimizer_defaults(&d);
    warm = (double)d.warmup_steps;
    if (t < warm) return d.lr * (t + 1) / warm;
    if (d.schedule == LSNN_STEP && d.step_every > 0)
        return d.lr * pow(d.step_factor, floor(t / d.step_every));
    if (d.schedule == LSNN_MILESTONES) {
        int passed = 0;
        while (passed < LSNN_MAX_MILESTONES && d.milestones[passed] > 0 &&
               t >= d.milestones[passed]) passed++;
        return d.lr * pow(d.step_factor, passed);
    }
    if (d.schedule == LSNN_COSINE) {
        double part = (t - warm) / LSNNI_MAX(1, (double)d.total_steps - warm);
        return part >= 1 ? 0 : d.lr * 0.5 * (1 + cos(3.141592653589793 * part));
    }
    return d.lr;
}

static void lsnni_optimizer_leave(lsnn_optimizer *o);
static lsnn_status lsnni_optimizer_enter(lsnn_optimizer *o);
static lsnn_status lsnni_optimizer_there(lsnn_optimizer *o);

LSNN_API void lsnn_optimizer_free(lsnn_optimizer *o)
{
    if (!o) return;
    lsnni_optimizer_leave(o);
    lsnni_free(o->net->cx, o->m);
    lsnni_free(o->net->cx, o->v);
    lsnni_free(o->net->cx, o);
}

/* Layers with a rule of their own take its step as it is, or a part of it: no mean of steps,
   and no step in another direction.                                           */
static lsnn_status lsnni_own_rules_check(const lsnn_net *net, const lsnn_optimizer_desc *d)
{
    int plain = d->method == LSNN_SGD && d->momentum <= 0 && d->clip_norm <= 0;
    for (int i = 0; i < net->params; i++) {
        const lsnni_node *v = &net->node[net->param[i].owner];
        double lr = d->lr * net->param[i].lr_factor;
        if (!(v->plan.traits & LSNN_OWN_RULE) || !(lr > 0) || (plain && lr <= 1)) continue;
        return lsnni_fail(net->cx, LSNN_EVALUE, "optimizer: layer '%.60s' has an update rule of "
                          "its own: it learns by SGD without momentum and clip_norm, at an lr of "
                          "at most 1 (which is the rule itself), not %g", v->name, lr);
    }
    return LSNN_OK;
}

LSNN_API lsnn_optimizer *lsnn_optimizer_new(lsnn_net *net, const lsnn_optimizer_desc *d)
{
    if (!net) return NULL;
    lsnn_optimizer_desc all;
    lsnn_optimizer *o;
    int with_m, with_v;
    memset(&all, 0, sizeof all);
    if (d) all = *d;
    lsnni_optimizer_defaults(&all);
    if (!net->built || net->predict_only) {
        lsnni_fail(net->cx, LSNN_ESTATE,
                   "optimizer: the net must be built, and not to predict only");
        return NULL;
    }
    if (lsnni_optimizer_check(net->cx, &all) != LSNN_OK ||
        lsnni_own_rules_check(net, &all) != LSNN_OK) return NULL;
    o = (lsnn_optimizer *)lsnni_alloc(net->cx, 1, sizeof *o);
    if (!o) return NULL;
    o->net = net;
    o->d = all;
    with_v = all.method != LSNN_SGD;
    with_m = with_v || all.momentum > 0;
    if (with_m) o->m = (lsnn_real *)lsnni_alloc(net->cx, net->param_size, sizeof *o->m);
    if (with_v) o->v = (lsnn_real *)lsnni_alloc(net->cx, net->param_size, sizeof *o->v);
    if ((o->m || !with_m) && (o->v || !with_v) &&
        (!net->device || lsnni_optimizer_enter(o) == LSNN_OK)) return o;
    lsnn_optimizer_free(o);
    return NULL;
}

typedef struct lsnni_update {
    lsnn_optimizer *o;
    const lsnni_kernels *kv;
    double lr, scale, c1, c2;        /* see >>updates                         */
} lsnni_update;

/* One parameter array.                                                       */
static void lsnni_update_task(void *user, int i, int worker)
{
    const lsnni_update *u = (const lsnni_update *)user;
    const lsnn_optimizer_desc *d = &u->o->d;
    const lsnn_net *net = u->o->net;
    const lsnni_param *p = &net->param[i];
    lsnn_real *w = net->value + p->at, *m = u->o->m ? u->o->m + p->at : NULL;
    double lr = u->lr * p->lr_factor, decay = p->decay * d->weight_decay;
    double shrink = d->method == LSNN_ADAMW ? lr * decay : 0;
    (void)worker;
    if (!(p->lr_factor > 0)) return;
    if (d->method == LSNN_SGD)
        u->kv->sgd(w, m, net->grad + p->at, u->scale, lr, decay, d->momentum, d->nesterov,
                   p->spec.count);
    else
        u->kv->adam(w, m, u->o->v + p->at, net->grad + p->at, u->scale, lr,
                    d->method == LSNN_ADAMW ? 0 : decay, shrink, 1 - d->one_minus_beta1,
                    1 - d->one_minus_beta2, u->c1, u->c2, d->eps, p->spec.count);
}

/* A parameter's penalty, added to its gradient.                              */
static void lsnni_penalise(const lsnn_net *net, const lsnni_param *p)
{
    const lsnn_param_spec *s = &p->spec;
    const lsnn_real *w = net->value + p->at;
    lsnn_real *g = net->grad + p->at;
    if (!(s->l2 > 0 && p->lr_factor > 0)) return;
    for (size_t i = 0; i < s->count; i++)
        if (!s->l2_every || (s->l2_mask >> (i % (size_t)s->l2_every) & 1))
            g[i] += LSNNI_R(s->l2 * (double)w[i]);
}

/* Layers change what gradients do not: see lsnn_layer_type.                  */
static lsnn_status lsnni_project(const lsnn_optimizer *o, double lr)
{
    const lsnn_net *net = o->net;
    lsnn_ctx *cx = net->cx;
    for (int i = 0; i < net->nodes; i++) {
        const lsnni_node *v = &net->node[i];
        lsnn_projection p;
        unsigned failures = cx->failures_;
        lsnn_status s;
        if (!v->type->project || v->share) continue;
        memset(&p, 0, sizeof p);
        p.plan = &v->plan;
        p.step = o->step + 1;
        p.lr = lr;
        if (net->device) p.device = &net->device->on;
        for (int j = 0; j < v->plan.params; j++)
            if (net->param[v->param[j]].lr_factor > 0)
                p.param[j] = net->run_value + net->param[v->param[j]].at;
        for (int j = 0; j < v->plan.buffers; j++)
            p.buffer[j] = net->run_state + net->buffer[v->buffer[j]].at;
        cx->where_ = v->name;
        s = (net->device ? v->type->device_project : v->type->project)(cx, &p);
        s = lsnni_answer(cx, v->type, "project", failures, s);
        cx->where_ = NULL;
        if (s != LSNN_OK) return s;
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_optimizer_step(lsnn_optimizer *o)
{
    if (!o) return LSNN_ENOMEM;
    lsnn_net *net = o->net;
    lsnni_update u;
    lsnn_status projected;
    double norm = 0;
    if (net->device) return lsnni_optimizer_there(o);
    LSNNI_TRY(lsnni_flow_finish(net->cx, &net->work->flow, net->grad, net->param_size));
    u.o = o;
    u.kv = lsnni_kernels_of(net->cx);
    u.lr = lsnn_optimizer_lr(&o->d, o->step);
    u.c1 = 1 / (1 - pow(1 - o->d.one_minus_beta1, (double)o->step + 1));
    u.c2 = 1 / (1 - pow(1 - o->d.one_minus_beta2, (double)o->step + 1));
    for (int i = 0; i < net->params; i++) {
        const lsnn_real *g = net->grad + net->param[i].at;
        double part;
        lsnni_penalise(net, &net->param[i]);
        part = u.kv->dot(g, g, net->param[i].spec.count);
        if (!(part <= DBL_MAX))
            return lsnni_fail(net->cx, LSNN_EDIVERGED,
                              "step %u: the gradient of '%.80s' is not finite: "
                              "use a smaller learning rate or clip_norm", (unsigned)o->step,
                              net->param[i].name);
        norm += part;
    }
    norm = sqrt(norm);
    u.scale = o->d.clip_norm > 0 ? LSNNI_MIN(1, o->d.clip_norm / (norm + 1e-6)) : 1;
    lsnn_parallel(net->cx, net->params, lsnni_update_task, &u);
    projected = lsnni_project(o, u.lr);
    lsnni_changed(net);
    lsnn_zero_grad(net);
    net->steps = ++o->step;
    return projected;
}


/* ---- >>optimizers on a device: the same step, from lists of chunks in its memory ------- */
#ifdef LSNN_USE_CUDA
/* m and v on the host are as new as the device's; and the other way round.    */
static lsnn_status lsnni_optimizer_pull(const lsnn_optimizer *o)
{
    const lsnn_net *net = o->net;
    if (!net->device) return LSNN_OK;
    if (o->m) LSNNI_TRY(lsnni_device_get(net, o->m, o->there.m, net->param_size));
    return o->v ? lsnni_device_get(net, o->v, o->there.v, net->param_size) : LSNN_OK;
}
static lsnn_status lsnni_optimizer_push(const lsnn_optimizer *o)
{
    const lsnn_net *net = o->net;
    if (!net->device) return LSNN_OK;
    if (o->m) LSNNI_TRY(lsnni_device_put(net, o->there.m, o->m, net->param_size));
    return o->v ? lsnni_device_put(net, o->there.v, o->v, net->param_size) : LSNN_OK;
}

static void lsnni_optimizer_leave(lsnn_optimizer *o)
{
    lsnni_device *d = o->net->device;
    void *chunks;
    if (!d) return;
    lsnni_device_forget(d);                              /* records with its arrays  */
    memcpy(&chunks, &o->there.chunk, sizeof chunks);
    lsnni_cuda_free(d, chunks);
    lsnni_cuda_free(d, o->there.m);
    lsnni_cuda_free(d, o->there.v);
    lsnni_cuda_free(d, o->there.part);
}

/* Every parameter in pieces of LSNNI_SLOT numbers at most; chunk NULL: only counts. */
static int lsnni_optimizer_chunks(const lsnn_optimizer *o, lsnni_slot *chunk)
{
    int chunks = 0;
    for (int i = 0; i < o->net->params; i++) {
        const lsnni_param *p = &o->net->param[i];
        for (size_t at = 0; at < p->spec.count; at += LSNNI_SLOT, chunks++) {
            lsnni_slot *c = chunk ? &chunk[chunks] : NULL;
            if (!c) continue;
            c->at = p->at + at;
            c->count = (int)LSNNI_MIN((size_t)LSNNI_SLOT, p->spec.count - at);
            c->param = i;
            c->lr_factor = p->lr_factor;
            c->decay = p->decay * o->d.weight_decay;
            c->l2 = p->spec.l2;
            c->l2_every = p->spec.l2_every;
            c->l2_from = c->l2_every ? (int)(at % (size_t)c->l2_every) : 0;
            c->l2_mask = p->spec.l2_mask;
        }
    }
    return chunks;
}

static lsnn_status lsnni_optimizer_enter(lsnn_optimizer *o)
{
    const lsnn_net *net = o->net;
    lsnn_ctx *cx = net->cx;
    lsnni_device *d = net->device;
    lsnni_device_step *t = &o->there;
    lsnni_slot *chunk;
    void *place = NULL;
    lsnn_status s;
    t->method = o->d.method;
    t->momentum = o->d.momentum;
    t->nesterov = o->d.nesterov;
    t->b1 = 1 - o->d.one_minus_beta1;
    t->b2 = 1 - o->d.one_minus_beta2;
    t->eps = o->d.eps;
    t->clip = o->d.clip_norm;
    t->value = d->value;
    t->grad = d->grad;
    t->chunks = lsnni_optimizer_chunks(o, NULL);
    if (o->m) LSNNI_TRY(lsnni_device_alloc(net, &t->m, net->param_size));
    if (o->v) LSNNI_TRY(lsnni_device_alloc(net, &t->v, net->param_size));
    LSNNI_TRY(lsnni_cuda_alloc(cx, d, &place, ((size_t)t->chunks + 1) * sizeof *t->part));
    t->part = (double *)place;
    t->scale = t->part + t->chunks;
    place = NULL;
    LSNNI_TRY(lsnni_cuda_alloc(cx, d, &place, ((size_t)t->chunks + 1) * sizeof *t->chunk));
    t->chunk = (lsnni_slot *)place;
    chunk = (lsnni_slot *)lsnni_alloc(cx, (size_t)t->chunks + 1, sizeof *chunk);
    if (!chunk) return LSNN_ENOMEM;
    lsnni_optimizer_chunks(o, chunk);
    s = lsnni_cuda_put(cx, d, place, chunk, (size_t)t->chunks * sizeof *chunk);
    if (s == LSNN_OK) s = lsnni_cuda_wait(cx, d);
    lsnni_free(cx, chunk);
    if (s != LSNN_OK) return s;
    return lsnni_cuda_zero(cx, d, &d->told->bad, sizeof d->told->bad);
}

/* What an optimizer's step launches: norm and update, then the layers' own rules. */
static lsnn_status lsnni_optimizer_walk(void *user)
{
    const lsnn_optimizer *o = (const lsnn_optimizer *)user;
    LSNNI_TRY(lsnni_cuda_step(o->net->cx, o->net->device, &o->there));
    return lsnni_project(o, 0);
}

/* A gradient that is not finite stops all steps to come; the next who asks the device for a
   loss is told (EDIVERGED).                                                   */
static lsnn_status lsnni_optimizer_there(lsnn_optimizer *o)
{
    lsnn_net *net = o->net;
    int key[4] = { 5, 0, 0, 0 };
    lsnn_now now;
    memcpy(key + 1, &o, sizeof o);                       /* its arrays are its own    */
    LSNNI_TRY(lsnni_device_push(net));
    memset(&now, 0, sizeof now);
    now.step = o->step;
    now.lr = lsnn_optimizer_lr(&o->d, o->step);
    now.c1 = 1 / (1 - pow(1 - o->d.one_minus_beta1, (double)o->step + 1));
    now.c2 = 1 / (1 - pow(1 - o->d.one_minus_beta2, (double)o->step + 1));
    LSNNI_TRY(lsnni_cuda_now(net->cx, net->device, &now));
    LSNNI_TRY(lsnni_device_walk(net, key, lsnni_optimizer_walk, o));
    net->device->device_newer = 1;
    net->steps = ++o->step;
    return LSNN_OK;
}
#else
static lsnn_status lsnni_optimizer_pull(const lsnn_optimizer *o) { (void)o; return LSNN_OK; }
static lsnn_status lsnni_optimizer_push(const lsnn_optimizer *o) { (void)o; return LSNN_OK; }
static void lsnni_optimizer_leave(lsnn_optimizer *o) { (void)o; }
static lsnn_status lsnni_optimizer_enter(lsnn_optimizer *o) { (void)o; return LSNN_OK; }
static lsnn_status lsnni_optimizer_there(lsnn_optimizer *o) { (void)o; return LSNN_OK; }
#endif
