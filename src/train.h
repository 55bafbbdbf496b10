#ifndef LSNN_NO_TRAIN
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
    lsnn_optimizer_desc d = *desc;
    double t = (double)step, warm = (double)d.warmup_steps;
    lsnni_optimizer_defaults(&d);
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

LSNN_API void lsnn_optimizer_free(lsnn_optimizer *o)
{
    if (!o) return;
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
    if ((o->m || !with_m) && (o->v || !with_v)) return o;
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
        for (int j = 0; j < v->plan.params; j++)
            if (net->param[v->param[j]].lr_factor > 0)
                p.param[j] = net->value + net->param[v->param[j]].at;
        for (int j = 0; j < v->plan.buffers; j++)
            p.buffer[j] = net->state + net->buffer[v->buffer[j]].at;
        cx->where_ = v->name;
        s = lsnni_answer(cx, v->type, "project", failures, v->type->project(cx, &p));
        cx->where_ = NULL;
        if (s != LSNN_OK) return s;
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_optimizer_step(lsnn_optimizer *o)
{
    lsnn_net *net = o->net;
    lsnni_update u;
    lsnn_status projected;
    double norm = 0;
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

/* ---- >>batches: samples fetched by all threads -------------------------------------*/
typedef struct lsnni_batch {
    const lsnn_data *data;
    const int *order;                /* NULL: first, first + 1, ...           */
    int first;
    uint32_t epoch;
    size_t size;
    lsnn_real *x, *targets;
    int *labels;
} lsnni_batch;

static void lsnni_batch_task(void *user, int i, int worker)
{
    const lsnni_batch *b = (const lsnni_batch *)user;
    const lsnn_data *d = b->data;
    int index = b->order ? b->order[b->first + i] : b->first + i;
    (void)worker;
    d->fetch(d->user, b->epoch, index, b->x + (size_t)i * b->size,
             b->labels ? b->labels + lsnni_area(i, d->heads) : NULL,
             b->targets ? b->targets + lsnni_area(i, d->target_count) : NULL);
}

static void lsnni_batch_free(lsnn_ctx *cx, lsnni_batch *b)
{
    lsnni_free(cx, b->x);
    lsnni_free(cx, b->targets);
    lsnni_free(cx, b->labels);
    b->x = b->targets = NULL;
    b->labels = NULL;
}

/* The labels' classes are the outputs', of one head at least; a data set of your own that says
   nothing of classes is believed, and each label is checked as it comes.      */
static lsnn_status lsnni_classes_check(const lsnn_net *net, const lsnn_data *d)
{
    const lsnni_node *last = NULL;
    for (int i = 0; i < net->nodes && d->classes; i++) {
        if (!lsnni_has(&net->node[i], LSNN_CLASSIFIES)) continue;
        last = &net->node[i];
        if (lsnni_features(last->plan.out) == d->classes) return LSNN_OK;
    }
    if (!last) return LSNN_OK;
    return lsnni_fail(net->cx, LSNN_ESHAPE, "the data have %d classes, layer '%.60s' has %d",
                      d->classes, last->name, lsnni_features(last->plan.out));
}

static lsnn_status lsnni_batch_make(lsnn_net *net, lsnni_batch *b, const lsnn_data *d)
{
    lsnn_shape in = net->node[0].plan.out;
    size_t n = (size_t)net->work->batch;
    int losses = 0;
    memset(b, 0, sizeof *b);
    if (d->count < 1 || !d->fetch || d->heads < 0 || d->heads > LSNN_MAX_HEADS ||
        d->target_count < 0)
        return lsnni_fail(net->cx, LSNN_ESHAPE,
                          "the data set has %d samples, %d labels and %d targets "
                          "each", d->count, d->heads, d->target_count);
    if (!d->heads && !d->target_count)
        return lsnni_fail(net->cx, LSNN_ESHAPE, "the data set has neither labels nor targets");
    for (int i = 0; i < net->nodes; i++) losses += lsnni_has(&net->node[i], LSNN_IS_LOSS);
    if (!losses)
        return lsnni_fail(net->cx, LSNN_ESTATE,
                          "the net has no loss: add lsnn_cross_entropy or lsnn_mse");
    if (d->shape.c != in.c || d->shape.h != in.h || d->shape.w != in.w)
        return lsnni_fail(net->cx, LSNN_ESHAPE,
                          "the data are %d x %d x %d, the net reads %d x %d x %d",
                          d->shape.c, d->shape.h, d->shape.w, in.c, in.h, in.w);
    LSNNI_TRY(lsnni_classes_check(net, d));
    b->data = d;
    b->size = (size_t)lsnni_features(in);
    b->x = (lsnn_real *)lsnni_alloc(net->cx, lsnni_times(b->size, n), sizeof *b->x);
    if (b->x && d->heads)
        b->labels = (int *)lsnni_alloc(net->cx, n, (size_t)d->heads * sizeof *b->labels);
    if (b->x && d->target_count)
        b->targets = (lsnn_real *)lsnni_alloc(net->cx, lsnni_times((size_t)d->target_count, n),
                                              sizeof *b->x);
    if (b->x && (b->labels || !d->heads) && (b->targets || !d->target_count)) return LSNN_OK;
    lsnni_batch_free(net->cx, b);
    return LSNN_ENOMEM;
}

static lsnn_batch lsnni_batch_fetch(lsnn_ctx *cx, lsnni_batch *b, int first, int n)
{
    lsnn_batch out;
    memset(&out, 0, sizeof out);
    b->first = first;
    lsnn_parallel(cx, n, lsnni_batch_task, b);
    out.n = n;
    out.x = b->x;
    out.labels = b->labels;
    out.heads = b->data->heads;
    out.targets = b->targets;
    out.target_count = b->data->target_count;
    return out;
}

/* What is not finite is the data's fault, and named before anything is run.       */
static lsnn_status lsnni_batch_check(lsnn_ctx *cx, const lsnni_batch *b, int n)
{
    const lsnni_kernels *kv = lsnni_kernels_of(cx);
    size_t number = 0, targets = (size_t)b->data->target_count;
    int in = lsnni_bad_sample(kv, b->x, n, b->size, &number);
    int bad = in < 0 && b->targets ? lsnni_bad_sample(kv, b->targets, n, targets, &number) : in;
    if (bad < 0) return LSNN_OK;
    return lsnni_fail(cx, LSNN_EDIVERGED, "sample %d of the data: number %.0f of its %s is %g",
                      b->order ? b->order[b->first + bad] : b->first + bad, (double)number,
                      in < 0 ? "targets" : "input",
                      (double)(in < 0 ? b->targets[(size_t)bad * targets + number]
                                      : b->x[(size_t)bad * b->size + number]));
}

/* ---- >>scores ---------------------------------------------------------------------*/
typedef struct lsnni_tally {
    double loss, wrong_heads, wrong_samples, head[LSNN_MAX_HEADS];
    int samples, heads;              /* heads that have a cross_entropy       */
} lsnni_tally;

/* 1 if node i is the first cross_entropy of its head: further ones (auxiliary losses) are
   learned from, but not scored.                                              */
static int lsnni_scores(const lsnn_net *net, int i)
{
    const lsnni_node *v = &net->node[i];
    if (!lsnni_has(v, LSNN_CLASSIFIES)) return 0;
    for (int k = 0; k < i; k++)
        if (net->node[k].type == v->type && net->node[k].plan.o.head == v->plan.o.head) return 0;
    return 1;
}

/* The scores that loss i has read, N x classes. They are compared, as predict's are, not the
   probabilities, in which near scores round to ties.                          */
static const lsnn_real *lsnni_scores_read(const lsnn_net *net, int i, const lsnn_batch *b)
{
    const lsnni_schedule *s = &net->work->schedule[net->work->lanes > 0];
    for (int j = 0; j < s->forwards; j++)
        if (s->forward[j].node == i && !s->forward[j].turns && s->forward[j].call.x[0])
            return s->forward[j].call.x[0];
    return b->x;
}

static int lsnni_heads(const lsnn_net *net)
{
    int heads = 0;
    for (int i = 0; i < net->nodes; i++) heads += lsnni_scores(net, i);
    return heads;
}

/* Counts the last forward's errors; loss is its mean over the batch.         */
static void lsnni_tally_add(const lsnn_net *net, lsnni_tally *t, const lsnn_batch *b,
                            double loss, int *confusion)
{
    t->loss += loss * b->n;
    t->samples += b->n;
    t->heads = lsnni_heads(net);
    for (int n = 0; n < b->n && t->heads; n++) {
        int wrong = 0;
        for (int i = 0; i < net->nodes; i++) {
            const lsnni_node *v = &net->node[i];
            int classes = lsnni_features(v->plan.out), best = 0, truth, miss;
            const lsnn_real *p;
            if (!lsnni_scores(net, i)) continue;
            p = lsnni_scores_read(net, i, b) + lsnni_area(n, classes);
            truth = b->labels[lsnni_area(n, b->heads) + (size_t)v->plan.o.head];
            for (int k = 1; k < classes; k++) if (p[k] > p[best]) best = k;
            miss = best != truth;
            wrong += miss;
            t->head[v->plan.o.head] += miss;
            if (confusion) confusion[truth * classes + best]++;
        }
        t->wrong_heads += wrong;
        t->wrong_samples += wrong > 0;
    }
}

/* Sums of all ranks; confusion: NULL, or so many numbers. s: what this rank comes with; the
   answer is all ranks'.                                                      */
static lsnn_status lsnni_tally_sum(lsnn_ctx *cx, lsnni_tally *t, int *confusion, size_t count,
                                   lsnn_status s)
{
    double v[5 + LSNN_MAX_HEADS], *all;
    if (!lsnni_many(cx)) return s;
    v[0] = t->loss; v[1] = t->wrong_heads; v[2] = t->wrong_samples; v[3] = t->samples;
    v[4] = s != LSNN_OK;
    memcpy(v + 5, t->head, sizeof t->head);
    LSNNI_TRY(lsnn_ranks_sum(cx, v, 5 + LSNN_MAX_HEADS));
    if (v[4] > 0) return lsnn_ranks_agree(cx, s);
    t->loss = v[0]; t->wrong_heads = v[1]; t->wrong_samples = v[2]; t->samples = (int)v[3];
    memcpy(t->head, v + 5, sizeof t->head);
    if (!confusion) return LSNN_OK;
    all = (double *)lsnni_alloc(cx, count, sizeof *all);
    LSNNI_TRY(lsnn_ranks_agree(cx, all ? LSNN_OK : LSNN_ENOMEM));
    for (size_t i = 0; i < count; i++) all[i] = confusion[i];
    s = lsnn_ranks_sum(cx, all, (int)count);
    for (size_t i = 0; i < count; i++) confusion[i] = (int)all[i];
    lsnni_free(cx, all);
    return s;
}

static double lsnni_tally_error(const lsnni_tally *t)
{
    double total = (double)t->samples * t->heads;
    return total > 0 ? 100 * t->wrong_heads / total : 0;
}

/* The net's answer to one of these samples is no number: nothing to be counted.    */
static lsnn_status lsnni_unscored(const lsnn_net *net, const lsnn_batch *b, int first)
{
    for (int n = 0; n < b->n; n++)
        for (int i = 0; i < net->nodes; i++) {
            size_t count = (size_t)lsnni_features(net->node[i].plan.out);
            if (lsnni_has(&net->node[i], LSNN_IS_LOSS) &&
                !lsnni_finite(net->work->y[i] + (size_t)n * count, count))
                return lsnni_fail(net->cx, LSNN_EDIVERGED, "evaluate: the net's answer to sample "
                                  "%d is no number, at layer '%.60s'", first + n,
                                  net->node[i].name);
        }
    return lsnni_fail(net->cx, LSNN_EDIVERGED, "evaluate: the loss of samples %d to %d is not "
                      "finite", first, first + b->n - 1);
}

/* Samples [i, end).                                                          */
static lsnn_status lsnni_evaluate_some(lsnn_net *net, lsnni_batch *b, lsnni_tally *t,
                                       int *confusion, int i, int end)
{
    for (int n; i < end; i += n) {
        double loss;
        lsnn_batch batch;
        n = LSNNI_MIN(net->work->batch, end - i);
        batch = lsnni_batch_fetch(net->cx, b, i, n);
        LSNNI_TRY(lsnni_batch_check(net->cx, b, n));
        LSNNI_TRY(lsnni_forward(net, &batch, 0, &loss));
        if (!(fabs(loss) <= DBL_MAX)) return lsnni_unscored(net, &batch, i);
        lsnni_tally_add(net, t, &batch, loss, confusion);
    }
    return LSNN_OK;
}

static lsnn_status lsnni_evaluate(lsnn_net *net, lsnni_batch *b, lsnn_score *s)
{
    lsnn_ctx *cx = net->cx;
    size_t classes = (size_t)b->data->classes;
    lsnni_tally t;
    lsnn_status status;
    memset(&t, 0, sizeof t);
    t.heads = lsnni_heads(net);
    status = lsnni_evaluate_some(net, b, &t, s->confusion,
                                 lsnni_share_first(cx, b->data->count, cx->rank),
                                 lsnni_share_first(cx, b->data->count, cx->rank + 1));
    LSNNI_TRY(lsnni_tally_sum(cx, &t, s->confusion, classes * classes, status));
    s->loss = t.loss / t.samples;
    s->error = lsnni_tally_error(&t);
    s->whole_error = 100 * t.wrong_samples / t.samples;
    for (int i = 0; i < LSNN_MAX_HEADS; i++) s->head_error[i] = 100 * t.head[i] / t.samples;
    for (int k = 0; s->confusion && s->class_error && k < b->data->classes; k++) {
        const int *row = s->confusion + lsnni_area(k, b->data->classes);
        double count = 0;
        for (int j = 0; j < b->data->classes; j++) count += row[j];
        s->class_error[k] = count > 0 ? 100 * (1 - row[k] / count) : 0;
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_evaluate(lsnn_net *net, const lsnn_data *data, lsnn_score *s)
{
    if (!net) return LSNN_ENOMEM;
    lsnni_batch b;
    lsnn_status status;
    if (!net->built)
        return lsnni_fail(net->cx, LSNN_ESTATE, "lsnn_evaluate: call lsnn_net_build first");
    LSNNI_TRY(lsnni_batch_make(net, &b, data));
    for (int i = 0; s->confusion && i < net->nodes; i++)
        if (lsnni_has(&net->node[i], LSNN_CLASSIFIES) &&
            lsnni_features(net->node[i].plan.out) != data->classes) {
            lsnni_batch_free(net->cx, &b);
            return lsnni_fail(net->cx, LSNN_ESHAPE,
                              "confusion: '%.60s' has %d classes, the data %d",
                              net->node[i].name, lsnni_features(net->node[i].plan.out),
                              data->classes);
        }
    if (s->confusion)
        memset(s->confusion, 0, lsnni_area(data->classes, data->classes) * sizeof(int));
    net->cx->together_++;
    status = lsnni_evaluate(net, &b, s);
    net->cx->together_--;
    lsnni_batch_free(net->cx, &b);
    return status;
}

/* ---- >>fit ------------------------------------------------------------------------
   Epochs of shuffled batches. The order of an epoch, its fresh data and dropout are
   addressed by seed, epoch and step, so a resume needs no more than the numbers below. */
typedef struct lsnni_fit {
    lsnn_net *net;
    const lsnn_fit_desc *d;
    lsnn_optimizer *o;
    lsnni_batch batch, valid;
    lsnni_tally tally;               /* of this epoch                         */
    lsnn_progress p;
    lsnn_real *best;                 /* keep_best: parameters, then buffers   */
    int *order, epoch, epochs, done, steps;  /* done: steps of this epoch     */
    double began, trained, images;   /* seconds and images of this call       */
} lsnni_fit;

static const char *const lsnni_methods[] = { "sgd", "adam", "adamw" };

/* Enters an array `block` of all parameters' size as tensors. Their names, prefix + the
   parameter's, lie in *names, for the caller to free.                        */
static lsnn_status lsnni_saver_state(lsnn_ctx *cx, lsnni_saver *s, const lsnni_param *p,
                                     int count, const char *prefix, const lsnn_real *block,
                                     char **names)
{
    size_t length = 0, at = 0;
    int first = s->tensors;
    *names = NULL;
    if (!block || count < 1) return LSNN_OK;
    for (int i = 0; i < count; i++) length += strlen(prefix) + strlen(p[i].name) + 1;
    *names = (char *)lsnni_alloc(cx, length, 1);
    if (!*names) return LSNN_ENOMEM;
    lsnni_saver_tensors(s, p, count, block);
    for (int i = 0; i < count; i++) {
        char *name = *names + at;
        at += strlen(prefix) + strlen(p[i].name) + 1;
        snprintf(name, length - (size_t)(name - *names), "%s%s", prefix, p[i].name);
        s->tensor[first + i].name = name;
    }
    return LSNN_OK;
}

static void lsnni_saver_number(lsnni_saver *s, const char *key, double v)
{
    s->meta[s->metas].key = key;
    s->meta[s->metas].value = lsnni_number(s->value[s->metas], v);
    s->metas++;
}

/* A seed is 64 bits, more than a number's 53: two halves.                    */
static void lsnni_saver_seed(lsnni_saver *s, uint64_t seed)
{
    lsnni_saver_number(s, "lsnn.seed.high", (double)(uint32_t)(seed >> 32));
    lsnni_saver_number(s, "lsnn.seed.low", (double)(uint32_t)seed);
}

/* What of a training is saved beside the net: arrays of the size of its parameters (or
   buffers), each under a prefix. readers of nets pass over "optimizer.".     */
enum { LSNNI_FIT_STATES = 4 };
static const lsnn_real *lsnni_fit_state(const lsnni_fit *f, int i, const char **prefix)
{
    static const char *const prefixes[LSNNI_FIT_STATES] = { "optimizer.m:", "optimizer.v:",
        "optimizer.best:", "optimizer.best:" };
    *prefix = prefixes[i];
    if (i < 2) return i ? f->o->v : f->o->m;
    if (!f->best || f->p.best_epoch < 0) return NULL;
    return f->best + (i == 3 ? f->net->param_size : 0);
}

static lsnn_status lsnni_fit_save(lsnni_fit *f)
{
    lsnn_net *net = f->net;
    lsnn_ctx *cx = net->cx;
    char *names[LSNNI_FIT_STATES] = { NULL };
    const char *prefix;
    lsnn_status status = LSNN_ENOMEM;
    lsnni_saver *s = (lsnni_saver *)lsnni_alloc(cx, 1, sizeof *s);
    if (!s) return LSNN_ENOMEM;
    s->tensor = (lsnn_tensor *)lsnni_alloc(cx, (size_t)(4 * net->params + 2 * net->buffers),
                                           sizeof *s->tensor);
    if (s->tensor) status = LSNN_OK;
    for (int i = 0; i < LSNNI_FIT_STATES && status == LSNN_OK; i++) {
        const lsnn_real *block = lsnni_fit_state(f, i, &prefix);
        status = lsnni_saver_state(cx, s, i == 3 ? net->buffer : net->param,
                                   i == 3 ? net->buffers : net->params, prefix, block, &names[i]);
    }
    if (status == LSNN_OK) {
        lsnni_saver_text(s, "lsnn.build", lsnn_build_info());
        lsnni_saver_text(s, "lsnn.isa", lsnn_isa_name(lsnn_ctx_isa(cx)));
        lsnni_saver_text(s, "lsnn.optimizer", lsnni_methods[f->o->d.method]);
        lsnni_saver_number(s, "lsnn.step", (double)f->o->step);
        lsnni_saver_number(s, "lsnn.epoch", f->epoch);
        lsnni_saver_number(s, "lsnn.done", f->done);
        lsnni_saver_number(s, "lsnn.batch", net->batch);
        lsnni_saver_number(s, "lsnn.samples", f->batch.data->count);
        if (f->d->note) lsnni_saver_text(s, "lsnn.note", f->d->note);
        if (f->d->keep_order) lsnni_saver_text(s, "lsnn.keep_order", "1");
        lsnni_saver_seed(s, net->seed);
        lsnni_saver_number(s, "lsnn.epoch.loss", f->tally.loss);
        lsnni_saver_number(s, "lsnn.epoch.wrong", f->tally.wrong_heads);
        lsnni_saver_number(s, "lsnn.epoch.samples", f->tally.samples);
        if (f->d->valid && f->p.best_epoch >= 0) {
            lsnni_saver_number(s, "lsnn.best", f->p.best);
            lsnni_saver_number(s, "lsnn.best.epoch", f->p.best_epoch);
        }
        status = lsnni_net_write(net, s, f->d->save);
    }
    for (int i = 0; i < LSNNI_FIT_STATES; i++) lsnni_free(cx, names[i]);
    lsnni_free(cx, s->tensor);
    lsnni_free(cx, s);
    return status;
}

static lsnn_status lsnni_meta_number(lsnn_ctx *cx, const lsnn_file *f, const char *path,
                                     const char *key, double *v)
{
    const char *text = lsnn_file_meta(f, key);
    if (!text || !lsnni_parse_number(text, v))
        return lsnni_fail(cx, LSNN_EFORMAT,
                          "%.160s is no checkpoint: its metadata have no number %s",
                          path, key);
    return LSNN_OK;
}

/* The best epoch so far, and what the net was then. A checkpoint of a run that had no
   held-out data has none. epoch: those that are done.                        */
static lsnn_status lsnni_fit_restore_best(lsnni_fit *f, const lsnn_file *file, const char *path,
                                          double epoch)
{
    const lsnn_net *net = f->net;
    double best, at;
    if (!f->d->valid || !lsnn_file_meta(file, "lsnn.best.epoch")) {
        if (!f->best || epoch < 1) return LSNN_OK;
        return lsnni_fail(net->cx, LSNN_ESTATE, "%.160s was trained for %.0f epochs without "
                          "held-out data: there is no best to keep", path, epoch);
    }
    LSNNI_TRY(lsnni_meta_number(net->cx, file, path, "lsnn.best", &best));
    LSNNI_TRY(lsnni_meta_number(net->cx, file, path, "lsnn.best.epoch", &at));
    if (!(at >= 0 && at < epoch && at <= floor(at) && fabs(best) <= DBL_MAX))
        return lsnni_fail(net->cx, LSNN_EFORMAT, "%.160s: the best of %.0f epochs is number %g, "
                          "at %g", path, epoch, at, best);
    if (f->best) {
        LSNNI_TRY(lsnni_read_block(net->cx, file, path, "optimizer.best:", net->param,
                                   net->params, f->best));
        LSNNI_TRY(lsnni_read_block(net->cx, file, path, "optimizer.best:", net->buffer,
                                   net->buffers, f->best + net->param_size));
    }
    f->p.best = best;
    f->p.best_epoch = (int)at;
    return LSNN_OK;
}

static lsnn_status lsnni_fit_restore(lsnni_fit *f, const lsnn_file *file, const char *path)
{
    static const char *const key[] = { "lsnn.step", "lsnn.epoch", "lsnn.done", "lsnn.batch",
        "lsnn.samples", "lsnn.seed.high", "lsnn.seed.low", "lsnn.epoch.loss",
        "lsnn.epoch.wrong", "lsnn.epoch.samples" };
    enum { step, epoch, done, batch, samples, high, low, loss, wrong, seen, keys };
    const char *method = lsnn_file_meta(file, "lsnn.optimizer");
    const char *note = lsnn_file_meta(file, "lsnn.note"), *own = f->d->note;
    int keep_order = lsnn_file_meta(file, "lsnn.keep_order") != NULL;
    lsnn_net *net = f->net;
    double v[keys];
    for (int i = 0; i < keys; i++) {
        LSNNI_TRY(lsnni_meta_number(net->cx, file, path, key[i], &v[i]));
        if (i != loss && !(v[i] >= 0 && v[i] <= 4294967295.0))
            return lsnni_fail(net->cx, LSNN_EFORMAT, "%.160s: %s is %g", path, key[i], v[i]);
    }
    if ((int64_t)v[batch] != net->batch || (int64_t)v[samples] != f->batch.data->count ||
        !method || strcmp(method, lsnni_methods[f->o->d.method]) != 0 || v[done] > f->steps)
        return lsnni_fail(net->cx, LSNN_ESTATE,
                          "%.120s was trained by %.10s with batch %.0f on %.0f samples, "
                          "here it is %s, %d and %d", path, method ? method : "?", v[batch],
                          v[samples], lsnni_methods[f->o->d.method], net->batch,
                          f->batch.data->count);
    if (v[seen] != LSNNI_MIN(v[done] * v[batch], v[samples]) ||
        v[wrong] > v[seen] * (double)LSNN_MAX_HEADS || !(fabs(v[loss]) <= DBL_MAX))
        return lsnni_fail(net->cx, LSNN_EFORMAT, "%.160s: %.0f steps of %.0f samples have not "
                          "seen %.0f, with %.0f errors and a loss of %g", path, v[done],
                          v[batch], v[seen], v[wrong], v[loss]);
    LSNNI_TRY(lsnni_net_match(net, file, path));
    LSNNI_TRY(lsnni_graph_match(net, file, path, NULL));
    if (strcmp(note ? note : "", own ? own : "") != 0)
        return lsnni_fail(net->cx, LSNN_ESTATE, "%.100s was trained on \"%.100s\", here it is "
                          "\"%.100s\"", path, note ? note : "", own ? own : "");
    if (keep_order != (f->d->keep_order != 0) || v[epoch] > f->epochs - (v[done] > 0))
        return lsnni_fail(net->cx, LSNN_ESTATE, "%.120s was trained for %.0f epochs with "
                          "keep_order %d, this asks for %d with %d", path, v[epoch], keep_order,
                          f->epochs, f->d->keep_order);
    if (f->o->m)
        LSNNI_TRY(lsnni_read_block(net->cx, file, path, "optimizer.m:", net->param,
                                   net->params, f->o->m));
    if (f->o->v)
        LSNNI_TRY(lsnni_read_block(net->cx, file, path, "optimizer.v:", net->param,
                                   net->params, f->o->v));
    LSNNI_TRY(lsnni_fit_restore_best(f, file, path, v[epoch]));
    LSNNI_TRY(lsnni_net_fill(net, file, path));
    net->seed = (uint64_t)v[high] << 32 | (uint64_t)v[low];
    f->o->step = (uint32_t)v[step];
    f->epoch = (int)LSNNI_MIN(v[epoch], INT_MAX);
    f->done = (int)v[done];
    f->tally.loss = v[loss];
    f->tally.wrong_heads = v[wrong];
    f->tally.samples = (int)LSNNI_MIN(v[seen], INT_MAX);
    return LSNN_OK;
}

static lsnn_status lsnni_fit_resume(lsnni_fit *f)
{
    lsnn_file file;
    lsnn_status s;
    LSNNI_TRY(lsnn_file_read(f->net->cx, &file, f->d->resume));
    s = lsnni_fit_restore(f, &file, f->d->resume);
    lsnn_file_free(f->net->cx, &file);
    return s;
}

/* Names the first layer whose output, in forward order, is not finite: forward is run once
   more, since outputs have taken each other's place.                         */
static lsnn_status lsnni_diverged(const lsnni_fit *f, const lsnn_batch *b)
{
    const lsnn_net *net = f->net;
    lsnn_work *w = net->work;
    lsnn_status s;
    w->blamed = 0;
    w->watch = 1;
    s = lsnni_work_forward(w, b, 1, NULL);
    w->watch = 0;
    if (s != LSNN_OK) return s;
    if (lsnni_many(net->cx)) {
        double last = w->blamed ? net->nodes - w->blamed : 0;
        LSNNI_TRY(net->cx->carrier_->most(net->cx, &last, 1));
        w->blamed = last > 0 ? net->nodes - (int)last : 0;
    }
    if (w->blamed)
        return lsnni_fail(net->cx, LSNN_EDIVERGED, "step %u: the loss is not finite, from layer "
                          "'%.80s' on: use a smaller learning rate or clip_norm",
                          (unsigned)f->o->step, net->node[w->blamed].name);
    return lsnni_fail(net->cx, LSNN_EDIVERGED,
                      "step %u: the loss is not finite, every layer's output is",
                      (unsigned)f->o->step);
}

/* This rank's share of the step's batch; *all: how many images that has.     */
static lsnn_batch lsnni_fit_fetch(lsnni_fit *f, int *all)
{
    lsnn_ctx *cx = f->net->cx;
    int first = f->done * f->net->batch, from, to;
    lsnn_batch b;
    *all = LSNNI_MIN(f->net->batch, f->batch.data->count - first);
    from = lsnni_share_first(cx, *all, cx->rank);
    to = lsnni_share_first(cx, *all, cx->rank + 1);
    f->batch.epoch = (uint32_t)f->epoch;
    b = lsnni_batch_fetch(cx, &f->batch, first + from, to - from);
    b.step = f->o->step;
    b.sample = (uint32_t)from;
    b.total = *all;
    return b;
}

/* Forward of a batch: its loss, and its errors as *t has them. All ranks come out with the
   same status. One whose images are bad goes on with others, for what comes on the way. */
static lsnn_status lsnni_fit_forward(lsnni_fit *f, const lsnn_batch *b, int all,
                                     lsnni_tally *t)
{
    lsnn_net *net = f->net;
    lsnn_ctx *cx = net->cx;
    lsnn_status s = lsnni_batch_check(cx, &f->batch, b->n), forward;
    double loss;
    if (s != LSNN_OK && !lsnni_many(cx)) return s;
    if (s != LSNN_OK) memset(f->batch.x, 0, (size_t)b->n * f->batch.size * sizeof *f->batch.x);
    forward = lsnni_forward(net, b, 1, &loss);
    if (s == LSNN_OK) s = forward;
    memset(t, 0, sizeof *t);
    if (s == LSNN_OK) lsnni_tally_add(net, t, b, loss, NULL);
    if (lsnni_many(cx)) t->loss = s == LSNN_OK ? loss * all : 0;         /* its share's */
    LSNNI_TRY(lsnni_tally_sum(cx, t, NULL, 0, s));
    return fabs(t->loss) <= DBL_MAX ? LSNN_OK : lsnni_diverged(f, b);
}

static lsnn_status lsnni_fit_step(lsnni_fit *f)
{
    lsnn_net *net = f->net;
    double start = lsnni_seconds();
    int all;
    lsnn_batch b = lsnni_fit_fetch(f, &all);
    lsnni_tally t;
    lsnn_status s, backward;
    LSNNI_TRY(lsnni_fit_forward(f, &b, all, &t));
    net->work->flow.on = 1;
    backward = lsnn_backward(net);
    net->work->flow.on = 0;
    if (backward != LSNN_OK && !lsnni_many(net->cx)) return backward;
    f->tally.loss += t.loss;
    f->tally.wrong_heads += t.wrong_heads;
    f->tally.wrong_samples += t.wrong_samples;
    f->tally.samples += t.samples;
    f->tally.heads = t.heads;
    f->p.lr = lsnn_optimizer_lr(&f->o->d, f->o->step);
    s = lsnn_optimizer_step(f->o);
    if (backward != LSNN_OK) s = backward;               /* the others wait for this step */
    if (s != LSNN_OK) return s;
    f->done++;
    f->images += all;
    f->trained += lsnni_seconds() - start;
    return LSNN_OK;
}

/* ---- >>best: the epoch that did best on held-out data -------------------------------*/
static void lsnni_fit_copy(lsnn_real *to, const lsnn_real *from, size_t count)
{
    if (count) memcpy(to, from, count * sizeof *to);
}

/* An epoch has been scored. A score that is no number counts as the worst.   */
static void lsnni_fit_compare(lsnni_fit *f)
{
    lsnn_progress *p = &f->p;
    const lsnn_net *net = f->net;
    double score = p->valid_loss;
    for (int i = 0; i < net->nodes; i++) if (lsnni_scores(net, i)) score = p->valid_error;
    if (!(fabs(score) <= DBL_MAX)) score = DBL_MAX;
    if (p->best_epoch >= 0 && !(score < p->best)) return;
    p->best = score;
    p->best_epoch = f->epoch;
    if (!f->best) return;
    lsnni_fit_copy(f->best, net->value, net->param_size);
    lsnni_fit_copy(f->best + net->param_size, net->state, net->buffer_size);
}

/* 1: as many epochs as `patience` have passed since the best.                */
static int lsnni_fit_impatient(const lsnni_fit *f)
{
    return f->d->patience > 0 && f->p.best_epoch >= 0 &&
           f->epoch - f->p.best_epoch > f->d->patience;
}

static void lsnni_fit_take_best(lsnni_fit *f)
{
    lsnn_net *net = f->net;
    if (!f->best || f->p.best_epoch < 0) return;
    lsnni_fit_copy(net->value, f->best, net->param_size);
    lsnni_fit_copy(net->state, f->best + net->param_size, net->buffer_size);
    lsnni_changed(net);
}

/* Tells the caller where training stands; STOPPED if it wants no more.       */
static lsnn_status lsnni_fit_report(lsnni_fit *f, int epoch_done)
{
    lsnn_progress *p = &f->p;
    p->epoch = f->epoch;
    p->epochs = f->epochs;
    p->step = f->done;
    p->steps = f->steps;
    p->epoch_done = epoch_done;
    p->loss = f->tally.loss / LSNNI_MAX(1, f->tally.samples);
    p->error = lsnni_tally_error(&f->tally);
    p->seconds = lsnni_seconds() - f->began;
    p->images_per_s = f->trained > 0 ? f->images / f->trained : 0;
    if (epoch_done && f->d->valid) {
        lsnn_score s;
        memset(&s, 0, sizeof s);
        LSNNI_TRY(lsnni_evaluate(f->net, &f->valid, &s));
        p->valid_loss = s.loss;
        p->valid_error = s.error;
        lsnni_fit_compare(f);
    }
    return f->d->progress && f->d->progress(p, f->d->user) ? LSNN_STOPPED : LSNN_OK;
}

/* Whether all ranks are at the same place with the same net.                 */
static lsnn_status lsnni_fit_alike(const lsnni_fit *f, const char *when)
{
    const lsnn_net *net = f->net;
    double place[5];
    uint64_t mark = 14695981039346656037u;
    if (!lsnni_many(net->cx)) return LSNN_OK;
    place[0] = f->epoch; place[1] = f->done; place[2] = f->o->step;
    place[3] = f->batch.data->count; place[4] = (double)net->seed;
    mark = lsnni_mark(mark, place, sizeof place);
    mark = lsnni_mark(mark, net->value, net->param_size * sizeof *net->value);
    mark = lsnni_mark(mark, net->state, net->buffer_size * sizeof *net->state);
    return lsnni_alike(net->cx, mark, when);
}

static lsnn_status lsnni_fit_epoch(lsnni_fit *f)
{
    lsnn_ctx *cx = f->net->cx;
    int count = f->batch.data->count;
    lsnn_rng r = lsnn_rng_at(f->net->seed, "order", "", (uint32_t)f->epoch, 0);
    lsnn_status s = LSNN_OK, ended;
    if (f->d->keep_order) for (int i = 0; i < count; i++) f->order[i] = i;
    else lsnn_rng_permutation(&r, f->order, count);
    while (f->done < f->steps && s == LSNN_OK) {
        s = lsnni_fit_step(f);
        s = lsnn_ranks_agree(cx, s == LSNN_OK ? lsnni_fit_report(f, 0) : s);
        if (s < LSNN_OK) return s;
        if (f->d->save && f->done < f->steps &&
            (s == LSNN_STOPPED ||
             (f->d->save_every && f->o->step % (uint32_t)f->d->save_every == 0)))
            LSNNI_TRY(lsnn_ranks_agree(cx, lsnni_fit_save(f)));
    }
    if (f->done < f->steps) return s;                    /* stopped in mid-epoch */
    LSNNI_TRY(lsnni_fit_alike(f, "lsnn_fit: at the end of an epoch"));
    ended = lsnn_ranks_agree(cx, lsnni_fit_report(f, 1));    /* also of one that was stopped */
    if (ended != LSNN_OK) s = ended;
    if (s < 0) return s;
    f->epoch++;
    f->done = 0;
    memset(&f->tally, 0, sizeof f->tally);
    if (f->d->save && (s == LSNN_STOPPED || !f->d->save_every || f->epoch == f->epochs ||
                       lsnni_fit_impatient(f) || f->o->step % (uint32_t)f->d->save_every == 0))
        LSNNI_TRY(lsnn_ranks_agree(cx, lsnni_fit_save(f)));
    return s;
}

/* What the number of steps says of the schedule: cosine's end, milestones given as epochs. */
static lsnn_optimizer_desc lsnni_fit_optimizer(const lsnni_fit *f)
{
    lsnn_optimizer_desc o = f->d->optimizer;
    if (o.schedule == LSNN_COSINE && !o.total_steps)
        o.total_steps = (int)LSNNI_MIN((double)f->epochs * f->steps, INT_MAX);
    for (int i = 0; i < LSNN_MAX_MILESTONES && f->d->milestones[i] > 0; i++) {
        double step = (double)f->d->milestones[i] * f->steps;
        o.schedule = LSNN_MILESTONES;
        if (step <= INT_MAX) o.milestones[i] = (int)step;      /* else it is never reached */
    }
    return o;
}

static lsnn_status lsnni_fit_check(lsnn_net *net, const lsnn_fit_desc *d)
{
    const lsnn_optimizer_desc *o = &d->optimizer;
    if (!net->built || net->predict_only)
        return lsnni_fail(net->cx, LSNN_ESTATE,
                          "lsnn_fit: the net must be built, and not to predict only");
    if (d->epochs < 0 || d->save_every < 0 || d->patience < 0)
        return lsnni_fail(net->cx, LSNN_EVALUE, "lsnn_fit: epochs %d, save_every %d, patience %d",
                          d->epochs, d->save_every, d->patience);
    if ((d->keep_best || d->patience) && !d->valid)
        return lsnni_fail(net->cx, LSNN_EVALUE, "lsnn_fit: %s needs held-out data: set valid",
                          d->keep_best ? "keep_best" : "patience");
    LSNNI_TRY(lsnni_milestones_check(net->cx, "lsnn_fit", d->milestones, 0));
    if (d->milestones[0] && (o->milestones[0] || (o->schedule != LSNN_CONSTANT &&
                                                  o->schedule != LSNN_MILESTONES)))
        return lsnni_fail(net->cx, LSNN_EVALUE, "lsnn_fit: milestones in epochs go with no other "
                          "schedule, nor with the optimizer's own milestones");
    return LSNN_OK;
}

/* Memory of a training, for all of its steps.                                */
static lsnn_status lsnni_fit_alloc(lsnni_fit *f, int samples)
{
    lsnn_net *net = f->net;
    lsnn_optimizer_desc o = lsnni_fit_optimizer(f);
    f->o = lsnn_optimizer_new(net, &o);
    f->order = (int *)lsnni_alloc(net->cx, (size_t)samples, sizeof *f->order);
    f->batch.order = f->order;
    if (f->d->keep_best)
        f->best = (lsnn_real *)lsnni_alloc(net->cx, net->param_size + net->buffer_size,
                                           sizeof *f->best);
    return f->o && f->order && (f->best || !f->d->keep_best) ? LSNN_OK : net->cx->last_;
}

/* Every rank has an image of each batch, the epoch's last and smallest, too. */
static lsnn_status lsnni_fit_ranks(const lsnni_fit *f, int samples)
{
    const lsnn_ctx *cx = f->net->cx;
    int last = samples - (f->steps - 1) * f->net->batch;
    if (cx->ranks <= LSNNI_MIN(f->net->batch, last)) return LSNN_OK;
    return lsnni_fail(f->net->cx, LSNN_EVALUE, "lsnn_fit: %d ranks share batches of %d images, and "
                      "the epoch's last of %d: each rank needs one", cx->ranks, f->net->batch,
                      last);
}

/* All that comes before the first step.                                      */
static lsnn_status lsnni_fit_begin(lsnni_fit *f, const lsnn_data *train)
{
    f->epochs = f->d->epochs ? f->d->epochs : 1;
    if (f->d->save && f->d->note)                        /* not after an epoch  */
        LSNNI_TRY(lsnni_write_check_text(f->net->cx, "lsnn_fit: note", f->d->note));
    LSNNI_TRY(lsnni_batch_make(f->net, &f->batch, train));
    if (f->d->valid) LSNNI_TRY(lsnni_batch_make(f->net, &f->valid, f->d->valid));
    f->steps = lsnni_div_up(train->count, f->net->batch);
    LSNNI_TRY(lsnni_fit_ranks(f, train->count));
    LSNNI_TRY(lsnni_fit_alloc(f, train->count));
    lsnn_zero_grad(f->net);
    return f->d->resume ? lsnni_fit_resume(f) : LSNN_OK;
}

static lsnn_status lsnni_fit_run(lsnni_fit *f, const lsnn_data *train)
{
    lsnn_ctx *cx = f->net->cx;
    lsnn_status s = LSNN_OK;
    LSNNI_TRY(lsnn_ranks_agree(cx, lsnni_fit_begin(f, train)));
    LSNNI_TRY(lsnni_fit_alike(f, "lsnn_fit: at its beginning"));
    if (f->d->save && !f->done && (f->epoch == f->epochs || lsnni_fit_impatient(f)))
        return lsnn_ranks_agree(cx, lsnni_fit_save(f));  /* none is left        */
    while (f->epoch < f->epochs && !lsnni_fit_impatient(f) && s == LSNN_OK) s = lsnni_fit_epoch(f);
    return s;
}

LSNN_API lsnn_status lsnn_fit(lsnn_net *net, const lsnn_data *train, const lsnn_fit_desc *d)
{
    if (!net) return LSNN_ENOMEM;
    lsnn_fit_desc defaults;
    lsnni_fit f;
    lsnn_status s;
    memset(&f, 0, sizeof f);
    memset(&defaults, 0, sizeof defaults);
    if (!d) d = &defaults;
    f.net = net;
    f.d = d;
    f.began = lsnni_seconds();
    f.p.best_epoch = -1;
    LSNNI_TRY(lsnni_fit_check(net, d));
    net->cx->together_++;
    s = lsnni_fit_run(&f, train);
    net->cx->together_--;
    if (s >= LSNN_OK) lsnni_fit_take_best(&f);
    if (d->last) *d->last = f.p;
    lsnni_batch_free(net->cx, &f.batch);
    lsnni_batch_free(net->cx, &f.valid);
    lsnni_free(net->cx, f.order);
    lsnni_free(net->cx, f.best);
    lsnn_optimizer_free(f.o);
    return s;
}
#endif /* LSNN_NO_TRAIN */
