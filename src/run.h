/* ---- >>running: walking a schedule ------------------------------------------------
   Every decision was made in >>plan: what is left is to fill in the batch, call, and stop at
   the first failure.
   Three marks say what a workspace holds: n, the images of a forward that was whole; ready, that
   a backward may follow; done, that its gradients are there. Each walk takes them away before it
   begins, so that a failure on its way leaves nothing that looks finished.   */

/* Parameters have changed: what layers keep of them (lsnn_call.kept) is no longer right. All
   who write values call it: an optimizer's step, lsnn_net_set, loading, storing in int8. */
static void lsnni_changed(lsnn_net *net)
{
    net->version++;
    if (!net->device) return;
    net->device->device_newer = 0;   /* who changes a part has pulled the rest */
    net->device->host_newer = 1;
}

/* What a type has for where the net lives. lsnni_device_check has refused types that have no
   pair for it, so neither is NULL.                                           */
static lsnn_status lsnni_type_run(lsnn_ctx *cx, const lsnn_net *net, const lsnn_layer_type *t,
                                  lsnn_call *c, int backward)
{
    if (net->device) return (backward ? t->device_backward : t->device_forward)(cx, c);
    return (backward ? t->backward : t->forward)(cx, c);
}

/* One step on a batch: a layer's forward (or backward), or an array to the other layout. The
   call is copied, since the schedule's serves all batches; x NULL stands for the batch's own
   images. Draws have an address (the layer, the step, the sample), so a step may run again, or
   in parts, and drop the same neurons. Messages begin with the layer's name while it runs
   (where_).                                                                  */
static lsnn_status lsnni_step_run(lsnn_work *w, lsnni_step *s, const lsnn_batch *b,
                                  int training, int backward)
{
    const lsnn_net *net = w->net;
    const lsnni_node *v = &net->node[s->node];
    lsnn_call *c = &s->call;
    lsnn_call local;
    lsnn_status status;
    unsigned failures = w->cx->failures_;
    double start = net->profile ? lsnni_seconds() : 0;
    if (s->turns)
        status = lsnn_interleave(w->cx, s->to, s->from ? s->from : b->x, b->n,
                                 (size_t)lsnni_features(v->plan.out), s->back, s->add);
    else {
        local = *c;                                      /* a layer may change its call */
        local.n = b->n;
        local.training = training;
        for (int j = 0; j < v->plan.inputs; j++) if (!local.x[j]) local.x[j] = b->x;
        local.labels = b->labels;
        local.heads = b->heads;
        local.targets = b->targets;
        local.target_count = b->target_count;
        /* What losses divide by: of a batch in parts all of it, so that the parts' gradients
           add up to the whole batch's.                                       */
        local.total = b->total ? b->total : b->n;
        local.rng = lsnn_rng_at(net->seed, v->type->name, v->name, b->step, b->sample);
        w->cx->where_ = v->name;
        status = lsnni_type_run(w->cx, net, v->type, &local, backward);
        status = lsnni_answer(w->cx, v->type, backward ? "backward" : "forward", failures,
                              status);
        w->cx->where_ = NULL;
        /* All that a call gives back.                                        */
        c->loss = local.loss;
    }
    if (net->profile && !w->cx->rehearsal_) {
        if (net->device && status == LSNN_OK) status = lsnni_device_wait(net);
        s->seconds += lsnni_seconds() - start;
        s->images += b->n;
    }
    return status;
}

/* The first sample of n with a number that is not finite, and which number; -1: none. A sum in
   double is finite where all floats are, so most arrays are read once, quickly. Values that
   overflow a double's sum are looked at one by one, which is slower and as right. */
static int lsnni_bad_sample(const lsnni_kernels *kv, const lsnn_real *x, int n, size_t size,
                            size_t *number)
{
    if (fabs(kv->sum(x, (size_t)n * size)) <= DBL_MAX) return -1;
    for (int i = 0; i < n; i++)
        for (*number = 0; *number < size; ++*number)
            if (!lsnni_finite(x + (size_t)i * size + *number, 1)) return i;
    return -1;
}

/* Blames what is wrong in the data on the data: behind the first layer it would look as if the
   net had diverged. It reads the batch once, by kernels: little beside a first layer, which
   reads it many times.                                                       */
static lsnn_status lsnni_inputs_check(lsnn_work *w, const lsnn_batch *b)
{
    const lsnni_kernels *kv = lsnni_kernels_of(w->cx);
    const char *of = "input";
    const lsnn_real *v = b->x;
    size_t size = (size_t)lsnni_features(w->net->node[0].plan.out), number = 0;
    int i = lsnni_bad_sample(kv, v, b->n, size, &number);
    if (i < 0 && b->targets && b->target_count > 0) {
        of = "target";
        v = b->targets;
        size = (size_t)b->target_count;
        i = lsnni_bad_sample(kv, v, b->n, size, &number);
    }
    if (i < 0) return LSNN_OK;
    return lsnni_fail(w->cx, LSNN_EDIVERGED, "the %s of sample %.0f of the batch holds %g, at "
                      "place %.0f of its %.0f numbers", of, (double)b->sample + i,
                      (double)v[(size_t)i * size + number], (double)number, (double)size);
}

/* lsnni_finite of an array that may be on the device, for which there must be memory. 0 also
   where memory fails, which the context then says.                           */
static int lsnni_finite_there(const lsnn_net *net, const lsnn_real *v, size_t count)
{
    lsnn_real *copy;
    int finite;
    if (!net->device) return lsnni_finite(v, count);
    copy = (lsnn_real *)lsnni_alloc(net->cx, count, sizeof *copy);
    finite = copy && lsnni_device_get(net, copy, v, count) == LSNN_OK && lsnni_finite(copy, count);
    lsnni_free(net->cx, copy);
    return finite;
}

/* While w is watched: 1 if what step s has written holds a number that is not finite. The
   first one only, and of layers, not of turned copies. lsnn_fit watches one more forward of a
   batch whose loss was none, to name the layer: no training step pays for it. */
static int lsnni_blames(lsnn_work *w, const lsnni_step *s)
{
    const lsnni_node *v = &w->net->node[s->node];
    int numbers;
    if (!w->watch || w->blamed || s->turns) return 0;
    numbers = lsnni_features(w->net->node[v->role.writes].plan.out);
    if (lsnni_finite_there(w->net, s->call.y, lsnni_area(w->last.n, numbers))) return 0;
    w->blamed = s->node;
    return 1;
}

/* 1 if forward leaves this step out. To predict without labels and targets, only what the
   output needs is run; a rehearsal runs the layers that know what it is. It takes turns along:
   they check their sizes, and lsnn_parallel does nothing.                    */
static int lsnni_skipped(const lsnn_work *w, const lsnni_step *s)
{
    const lsnni_node *v = &w->net->node[s->node];
    if (w->cx->rehearsal_) return !s->turns && !lsnni_has(v, LSNN_REHEARSES);
    return !w->all && !v->role.on_path;
}

/* 1 if a step's failure, s, ends the walk. Of several ranks that train together one walks on:
   layers to come add up what all of them bring. *first: the first failure. One that left would
   make the others wait for ever in the next sum.                             */
static int lsnni_walk_ends(const lsnn_ctx *cx, lsnn_status s, lsnn_status *first)
{
    if (*first == LSNN_OK) *first = s;
    return s != LSNN_OK && !(lsnni_many(cx) && cx->together_);
}

/* *loss, unless it is NULL: the sum of the losses. It goes on past a layer that is blamed
   where ranks must stay together.                                            */
static lsnn_status lsnni_walk_forward(lsnn_work *w, const lsnn_batch *b, int training,
                                      double *loss)
{
    lsnni_schedule *p = &w->schedule[w->lanes > 0];
    lsnn_status first = LSNN_OK;
    double total = 0;
    for (lsnni_step *s = p->forward; s < p->forward + p->forwards; s++) {
        if (lsnni_skipped(w, s)) continue;
        s->call.loss = 0;
        if (lsnni_walk_ends(w->cx, lsnni_step_run(w, s, b, training, 0), &first)) break;
        total += s->call.loss;
        if (lsnni_blames(w, s) && !lsnni_many(w->cx)) break;
    }
    if (loss) *loss = total;
    return first;
}

/* ---- The same two on a device: what is launched depends on the key alone           */
typedef struct lsnni_walk { lsnn_work *w; const lsnn_batch *b; int training; } lsnni_walk;
static lsnn_status lsnni_walk_backward(lsnn_work *w);

/* user says which walk: a batch is one forward.                              */
static lsnn_status lsnni_walk_there(void *user)
{
    const lsnni_walk *u = (const lsnni_walk *)user;
    if (!u->b) return lsnni_walk_backward(u->w);
    return lsnni_walk_forward(u->w, u->b, u->training, NULL);
}

/* The batch is copied there first, and the walk reads it there. key: all that decides what is
   launched and with which arguments (a kind of walk, images, heads, targets), so that equal
   keys may replay one recording. Losses come back only if somebody asks: it makes the host
   wait.                                                                      */
static lsnn_status lsnni_forward_there(lsnn_work *w, const lsnn_batch *b, int training,
                                       double *loss)
{
    lsnn_net *net = w->owner;
    lsnn_batch there = *b;
    lsnni_walk u;
    int key[4];
    if (!w->cx->rehearsal_) LSNNI_TRY(lsnni_device_feed(net, &there));
    w->last = there;
    u.w = w; u.b = &there; u.training = training;
    key[0] = training ? 1 : w->all ? 2 : 3;
    key[1] = b->n; key[2] = b->heads; key[3] = b->target_count;
    if (training && !w->cx->rehearsal_) net->device->device_newer = 1;   /* running statistics */
    LSNNI_TRY(lsnni_device_walk(net, key, lsnni_walk_there, &u));
    return loss ? lsnni_device_losses(net, loss) : LSNN_OK;
}

/* It reads what forward left: w->last is the batch as it lies there.         */
static lsnn_status lsnni_backward_there(lsnn_work *w)
{
    lsnni_walk u;
    int key[4];
    u.w = w; u.b = NULL; u.training = 1;
    key[0] = 4;
    key[1] = w->last.n; key[2] = w->last.heads; key[3] = w->last.target_count;
    return lsnni_device_walk(w->owner, key, lsnni_walk_there, &u);
}

/* The walk forward. w->n stays 0 until all of it is done, so that nobody reads the outputs of
   half a walk. kept is of the parameters' version that it was made from.     */
static lsnn_status lsnni_work_forward(lsnn_work *w, const lsnn_batch *b, int training,
                                      double *loss)
{
    const lsnn_net *net = w->net;
    w->ready = w->done = w->n = 0;
    if (!b->x) return lsnni_fail(w->cx, LSNN_EVALUE, "forward: x is NULL");
    if (b->n < 1 || b->n > w->batch)
        return lsnni_fail(w->cx, LSNN_ESHAPE, "forward: %d images, the net was built for 1 to "
                          "%d%s", b->n, w->batch, w->cx->ranks > 1 ? " a rank" : "");
    if (b->total && (b->total < b->n || (double)b->sample + b->n > b->total))
        return lsnni_fail(w->cx, LSNN_EVALUE, "forward: %d images from number %.0f on are no part "
                          "of a batch of %d", b->n, (double)b->sample, b->total);
    if (!w->cx->rehearsal_) LSNNI_TRY(lsnni_inputs_check(w, b));
    /* A workspace of another thread learns of new parameters here, at its next forward. */
    if (w->version != net->version) memset(w->kept, 0, (size_t)net->nodes * sizeof *w->kept);
    w->version = net->version;
    w->lanes = lsnni_lanes_for(w, b->n);
    /* Who gives labels wants the losses.                                     */
    w->all = training || b->labels || b->targets;
    /* b stays the caller's until backward is done (see lsnn_batch): layers read x again then. */
    w->last = *b;
    if (net->device) LSNNI_TRY(lsnni_forward_there(w, b, training, loss));
    else LSNNI_TRY(lsnni_walk_forward(w, b, training, loss));
    w->n = b->n;
    return LSNN_OK;
}

/* ready only after a walk that was whole, and only in the net's own workspace: others have no
   gradients.                                                                 */
static lsnn_status lsnni_forward(lsnn_net *net, const lsnn_batch *b, int training, double *loss)
{
    LSNNI_TRY(lsnni_work_forward(net->work, b, training, loss));
    net->work->ready = training;
    return LSNN_OK;
}

/* A caller who trains without saying which step it is gets the optimizer's count, or each step
   would drop the same neurons. After a loss that is no number there is no backward: its
   gradients would spoil the parameters for good. Gradients add up over calls until
   lsnn_zero_grad: so a batch may be fed in parts.                            */
LSNN_API lsnn_status lsnn_forward(lsnn_net *net, const lsnn_batch *b, int training,
                                  double *loss)
{
    lsnn_batch own;
    double total = 0;
    if (!net) return LSNN_ENOMEM;
    if (!net->built)
        return lsnni_fail(net->cx, LSNN_ESTATE, "lsnn_forward: call lsnn_net_build first");
    if (!b) return lsnni_fail(net->cx, LSNN_EVALUE, "lsnn_forward: the batch is NULL");
    if (training && net->predict_only)
        return lsnni_fail(net->cx, LSNN_ESTATE,
                          "lsnn_forward: the net was built to predict only");
    own = *b;
    if (training && !own.step) own.step = net->steps;
    LSNNI_TRY(lsnni_forward(net, &own, training, &total));
    if (loss) *loss = total;
    /* So that NaN is none, which no < or > would find.                       */
    if (fabs(total) <= DBL_MAX) return LSNN_OK;
    net->work->ready = 0;
    /* The outputs stay readable (n > 0): that is where to look for the reason. */
    return lsnni_fail(net->cx, LSNN_EDIVERGED, "lsnn_forward: the loss is %g", total);
}

/* The walk back. Of several ranks, a gradient that is complete goes on its way to the others
   while the layers before it are still being computed. Each call's dx was told at build to set
   or to add, so nothing is cleared here.                                     */
static lsnn_status lsnni_walk_backward(lsnn_work *w)
{
    const lsnn_net *net = w->net;
    int which = w->lanes > 0, flows = lsnni_many(w->cx) && w->flow.on;
    lsnni_schedule *p = &w->schedule[which];
    lsnn_status first = LSNN_OK;
    for (int i = 0; i < p->backwards; i++) {
        lsnni_step *s = &p->backward[i];
        if (w->cx->rehearsal_ && !s->turns && !lsnni_has(&net->node[s->node], LSNN_REHEARSES))
            continue;
        if (lsnni_walk_ends(w->cx, lsnni_step_run(w, s, &w->last, 1, 1), &first)) break;
        /* Between two calls, so that what is under way moves on while the next one computes. */
        if (flows) LSNNI_TRY(lsnni_flow_after(w->cx, &w->flow, which, i, net->grad,
                                              net->param_size));
    }
    return first;
}

/* done: gradients of outputs may be read by name from here on, until the next forward. */
static lsnn_status lsnni_work_backward(lsnn_work *w)
{
    lsnn_status s = w->net->device ? lsnni_backward_there(w) : lsnni_walk_backward(w);
    w->done = s == LSNN_OK;
    return s;
}

/* Which call of backward is the last that adds to a parameter's gradient. Parameters may be
   shared, and then the last in the order of calls is what counts.            */
static void lsnni_plan_flow(lsnn_work *w)
{
    const lsnn_net *net = w->net;
    lsnni_flow_set(&w->flow, net->param_size);
    for (int which = 0; which < 2; which++)
        for (int i = 0; i < w->schedule[which].backwards; i++) {
            const lsnni_step *s = &w->schedule[which].backward[i];
            const lsnni_node *v = &net->node[s->node];
            for (int j = 0; j < v->plan.params && !s->turns; j++) {
                const lsnni_param *q = &net->param[v->param[j]];
                if (s->call.dparam[j])
                    lsnni_flow_add(&w->flow, which, i, q->at, q->spec.count);
            }
        }
}

/* Once a forward: gradients take the place of outputs that nobody reads again (LSNN_Y_FREE),
   and a second walk would find them there.                                    */
LSNN_API lsnn_status lsnn_backward(lsnn_net *net)
{
    if (!net) return LSNN_ENOMEM;
    if (!net->built || !net->work->ready)
        return lsnni_fail(net->cx, LSNN_ESTATE, "lsnn_backward: call lsnn_forward with "
                          "training = 1 first");
    net->work->ready = 0;
    return lsnni_work_backward(net->work);
}

/* The gaps between gradients, too: one pass.                                 */
LSNN_API void lsnn_zero_grad(lsnn_net *net)
{
    if (!net) return;
    if (net->device && net->grad) lsnni_device_zero(net, net->run_grad, net->param_size);
    else if (net->grad) memset(net->grad, 0, net->param_size * sizeof *net->grad);
}

/* A step without work in each layout that a batch can have, so that every op takes its scratch
   memory now and none later: the batch, one image less, whole blocks, and 7 to 1 images, which
   ops divide otherwise. net: NULL if there is no backward. Scratch memory only grows, so the
   largest want of all these passes stays; batches between them want no more, since ops cut
   their work alike from 8 images on (lsnni_image_tasks). That is how lsnn_net_build can
   promise that a step allocates nothing, and fail in a step's place where memory is short.
   Layers that do not say LSNN_REHEARSES are not called: they would work in earnest. */
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
    /* The pairs of a device launch nothing then, see lsnn_device.            */
    if (w->net->device) w->net->device->on.dry = 1;
    /* A size may come twice: the second pass finds its memory there.         */
    for (int pass = 0; pass < 10 && s == LSNN_OK; pass++) {
        b.n = pass == 0 ? w->batch : pass == 1 ? w->batch - 1
            : pass == 2 ? w->batch - w->batch % lsnn_lanes(w->cx) : 10 - pass;
        if (b.n < 1 || b.n > w->batch) continue;
        s = lsnni_work_forward(w, &b, net != NULL, NULL);
        if (net && s == LSNN_OK) s = lsnni_work_backward(w);
        w->done = w->n = 0;
    }
    w->cx->rehearsal_ = 0;
    if (w->net->device) w->net->device->on.dry = 0;
    memset(w->kept, 0, (size_t)w->net->nodes * sizeof *w->kept);         /* nothing was made */
    if (net) lsnn_zero_grad(net);
    lsnni_free(w->cx, x);
    return s;
}

/* To predict alone: gradients and running statistics are the net's, and one at a time may
   write them.                                                                */
LSNN_API lsnn_work *lsnn_work_new(lsnn_ctx *cx, const lsnn_net *net, int batch)
{
    lsnn_work *w;
    if (!net || !net->built || batch < 1) {
        lsnni_fail(cx, net && net->built ? LSNN_EVALUE : LSNN_ESTATE, "lsnn_work_new: the net is "
                   "%s, the batch is %d", !net ? "NULL" : net->built ? "built" : "not built",
                   batch);
        return NULL;
    }
    if (net->device) {
        lsnni_fail(cx, LSNN_EUNSUPPORTED, "lsnn_work_new: the net is on a device, which has one "
                   "workspace: build a net on the cpu for this");
        return NULL;
    }
    if (lsnni_work_make(cx, net, batch, 0, &w) != LSNN_OK) return NULL;
    if (lsnni_rehearse(w, NULL) == LSNN_OK) return w;
    lsnn_work_free(w);
    return NULL;
}

/* What the parameters' memory is for, and which has most of it. A refusal of so many bytes
   says nothing to who has written layers: which one to make smaller does.    */
static void lsnni_param_note(const lsnn_net *net, char text[160])
{
    int most = 0;
    text[0] = 0;
    for (int i = 1; i < net->params; i++)
        if (net->param[i].spec.count > net->param[most].spec.count) most = i;
    if (net->params > 0)
        snprintf(text, 160, ", for the net's parameters: '%.80s' has %.0f",
                 net->param[most].name, (double)net->param[most].spec.count);
}

/* The output is the first loss's input: scores, not the loss, are what one predicts. The
   rehearsal comes last, since it runs what has been planned. A net that could not be built
   is not tried again: the caller would have half of the old arrays and half of the new. */
LSNN_API lsnn_status lsnn_net_build(lsnn_net *net, const lsnn_build_desc *d)
{
    lsnn_ctx *cx = net ? net->cx : NULL;
    lsnn_status s = LSNN_ENOMEM;
    char note[160];
    if (!net) return LSNN_ENOMEM;
    /* failed is 1 after a layer, 2 after an earlier build.                   */
    if (net->failed)
        return lsnni_fail(cx, net->failed == 1 ? net->why : LSNN_ESTATE, "lsnn_net_build: %s",
                          net->failed == 1 ? "a layer could not be made"
                                           : "it failed before: make the net anew");
    if (net->built || net->nodes < 2)
        return lsnni_fail(cx, LSNN_ESTATE, "lsnn_net_build: %s", net->built ?
                          "the net is built already" : "the net has no layers");
    /* Defaults are filled in here, once: nothing below sees a 0 that means 64. */
    net->batch = d && d->batch ? d->batch : 64;
    /* Before values are drawn, and kept: dropout draws by it in each step.   */
    net->seed = d ? d->seed : 0;
    net->predict_only = d ? d->predict_only : 0;
    net->profile = d ? d->profile : 0;
    if (net->batch < 1)
        return lsnni_fail(cx, LSNN_EVALUE, "lsnn_net_build: batch %d", net->batch);
    for (int i = 0; i < net->nodes && net->output < 0; i++)
        if (lsnni_has(&net->node[i], LSNN_IS_LOSS)) net->output = net->node[i].input[0];
    /* Without a loss: the last layer.                                        */
    if (net->output < 0) net->output = net->nodes - 1;
    lsnni_param_note(net, note);
    net->value = (lsnn_real *)lsnni_alloc_for(cx, net->param_size, sizeof *net->value, note);
    net->state = (lsnn_real *)lsnni_alloc(cx, net->buffer_size, sizeof *net->state);
    if (!net->predict_only)
        net->grad = (lsnn_real *)lsnni_alloc_for(cx, net->param_size, sizeof *net->grad, note);
    if (!net->value || !net->state || (!net->predict_only && !net->grad)) goto fail;
    for (int i = 0; i < net->params; i++)
        lsnni_init_param(net, &net->param[i], net->value + net->param[i].at);
    /* Running statistics begin at what their layer says: a variance at 1, say. */
    for (int i = 0; i < net->buffers; i++)
        for (size_t j = 0; j < net->buffer[i].spec.count; j++)
            net->state[net->buffer[i].at + j] = LSNNI_R(net->buffer[i].spec.value);
    /* Until a device is opened, which puts its own in their place: schedules hold these
       addresses, so it must be before them.                                  */
    net->run_value = net->value;
    net->run_grad = net->grad;
    net->run_state = net->state;
    /* With values to copy there, but before the schedules.                   */
    s = lsnni_device_open(net, d ? d->device : NULL);
    if (s != LSNN_OK) goto fail;
    lsnni_plan_net(net);
    /* Each rank trains on its share of a batch, the largest of which it must have room for. */
    s = lsnni_work_make(cx, net, net->predict_only ? net->batch
                                 : lsnni_div_up(net->batch, LSNNI_MAX(1, cx->ranks)),
                        !net->predict_only, &net->work);
    if (s != LSNN_OK) goto fail;
    net->work->owner = net;
    if (!net->predict_only) lsnni_plan_flow(net->work);
    net->built = 1;
    s = lsnni_rehearse(net->work, net->predict_only ? NULL : net);
    if (s == LSNN_OK) return LSNN_OK;
    net->built = 0;
/* Values, gradients and states are freed with the net, which is of no use now. */
fail:
    lsnn_work_free(net->work);
    net->work = NULL;
    lsnni_device_close(net);
    net->failed = 2;
    return s;
}

/* In chunks that the work has room for. Whole blocks of images first, so that only the rest
   goes along rows, which is slower; an output in blocks is turned on its way out. x and y are
   plain, whatever the net has inside. Results do not depend on how the images are cut, but for
   last bits between blocks and rows: so a number predicted alone may differ there from the
   same one in a batch. That y is finite is asked once, at the end, of all of it. */
LSNN_API lsnn_status lsnn_work_predict(lsnn_work *w, const lsnn_real *x, int n, lsnn_real *y)
{
    if (!w) return LSNN_ENOMEM;
    const lsnn_net *net = w->net;
    size_t in = (size_t)lsnni_features(net->node[0].plan.out);
    size_t out = (size_t)lsnni_features(net->node[net->output].plan.out);
    int lanes = lsnn_lanes(w->cx);
    lsnn_batch b;                    /* without labels: only what the output needs is run */
    memset(&b, 0, sizeof b);
    /* What a training forward left is overwritten: a backward now would be wrong. */
    w->ready = w->n = 0;
    if (n < 1) return lsnni_fail(w->cx, LSNN_ESHAPE, "predict: %d images", n);
    if (!x || !y) return lsnni_fail(w->cx, LSNN_EVALUE, "predict: %s is NULL", x ? "y" : "x");
    for (int i = 0; i < n; i += b.n) {
        b.n = LSNNI_MIN(w->chunk, n - i);
        /* Not in a net that trains, whose outputs are to be read by name, as many as were
           asked for.                                                         */
        if (!w->train && b.n > lanes) b.n -= b.n % lanes;        /* whole blocks first */
        b.x = x + (size_t)i * in;
        LSNNI_TRY(lsnni_work_forward(w, &b, 0, NULL));
        if (net->output > 0 && net->device)
            LSNNI_TRY(lsnni_device_get(net, y + (size_t)i * out, w->y[net->output],
                                       (size_t)b.n * out));
        else if (net->output == 0) memcpy(y + (size_t)i * out, b.x, (size_t)b.n * out * sizeof *y);
        /* z, the same in plain order, is there only if some layer reads it so. */
        else if (w->lanes && net->node[net->output].role.blocks)
            LSNNI_TRY(lsnn_interleave(w->cx, y + (size_t)i * out, w->y[net->output], b.n, out,
                                      1, 0));
        else memcpy(y + (size_t)i * out, w->y[net->output], (size_t)b.n * out * sizeof *y);
    }
    {
        size_t number = 0;
        int bad = lsnni_bad_sample(lsnni_kernels_of(w->cx), y, n, out, &number);
        if (bad < 0) return LSNN_OK;
        return lsnni_fail(w->cx, LSNN_EDIVERGED, "predict: output %.0f of sample %d is %g",
                          (double)number, bad, (double)y[(size_t)bad * out + number]);
    }
}

/* By the net's own workspace: what backward would have needed of a forward is lost. */
LSNN_API lsnn_status lsnn_predict(lsnn_net *net, const lsnn_real *x, int n, lsnn_real *y)
{
    if (!net) return LSNN_ENOMEM;
    if (!net->built)
        return lsnni_fail(net->cx, LSNN_ESTATE, "lsnn_predict: call lsnn_net_build first");
    return lsnn_work_predict(net->work, x, n, y);
}

