/* ============================================================================
   >>on device  a net whose memory and work are on a GPU
   The host plans as ever and keeps the schedule; the device has copies of the blocks (values,
   gradients, states, outputs), and the calls of the schedule point there. So running is walking
   the same schedule, where each call launches its type's device pair. The first walk of its kind
   records the launches, the later ones repeat the record (a CUDA graph): what a step changes,
   its number, the learning rate, comes from lsnn_now in the device's memory.

   The net's own blocks on the host stay, for files, names and scores: of the two copies one may
   be newer, which is brought over when the other side needs it.              */
#ifdef LSNN_USE_CUDA
/* "cuda" or "cuda:1": its number, or -1.                                      */
static int lsnni_device_number(const char *name)
{
    int number = 0;
    if (strncmp(name, "cuda", 4) != 0) return -1;
    if (!name[4]) return 0;
    if (name[4] != ':' || !name[5]) return -1;
    for (const char *c = name + 5; *c; c++) {
        if (*c < '0' || *c > '9' || number > 9999) return -1;
        number = 10 * number + (*c - '0');
    }
    return number;
}

/* Each layer that is run has a device pair.                                   */
static lsnn_status lsnni_device_check(const lsnn_net *net)
{
    int losses = 0;
    for (int i = 1; i < net->nodes; i++) {
        const lsnni_node *v = &net->node[i];
        const lsnn_layer_type *t = v->type;
        if (!t->device_forward || (!net->predict_only && !t->device_backward) ||
            (!net->predict_only && t->project && !t->device_project))
            return lsnni_fail(net->cx, LSNN_EUNSUPPORTED, "layer '%.60s': the type %.60s has no "
                              "device pair: build the net on the cpu", v->name, t->name);
        losses += (v->plan.traits & LSNN_IS_LOSS) != 0;
    }
    if (losses > LSNNI_MAX_LOSSES || net->cx->ranks > 1)
        return lsnni_fail(net->cx, LSNN_EUNSUPPORTED, "a net on a device has at most %d losses, "
                          "and one rank: this one %d, %d", (int)LSNNI_MAX_LOSSES, losses,
                          net->cx->ranks);
    return LSNN_OK;
}

/* Records name arrays: before one of those goes, they do.                     */
static void lsnni_device_forget(lsnni_device *d)
{
    for (int i = 0; i < d->records; i++) lsnni_cuda_forget(d, d->recorded[i].graph);
    d->records = 0;
}

static void lsnni_device_close(lsnn_net *net)
{
    lsnni_device *d = net->device;
    if (!d) return;
    lsnni_device_forget(d);
    lsnni_cuda_free(d, d->value);
    lsnni_cuda_free(d, d->grad);
    lsnni_cuda_free(d, d->state);
    lsnni_cuda_free(d, d->x);
    lsnni_cuda_free(d, d->labels);
    lsnni_cuda_free(d, d->targets);
    lsnni_cuda_close(d);
    lsnni_free(net->cx, d->scores);
    lsnni_free(net->cx, d);
    net->device = NULL;
}

static lsnn_status lsnni_device_alloc(const lsnn_net *net, lsnn_real **place, size_t count)
{
    void *block = NULL;
    lsnn_status s = lsnni_cuda_alloc(net->cx, net->device, &block,
                                     lsnni_times(LSNNI_MAX(count, 1), sizeof **place));
    *place = (lsnn_real *)block;
    return s;
}

static void lsnni_device_free(const lsnn_net *net, lsnn_real *block)
{
    lsnni_cuda_free(net->device, block);
}

/* After the net's own blocks are there, and before its schedule is made.      */
static lsnn_status lsnni_device_open(lsnn_net *net, const char *name)
{
    int number = name ? lsnni_device_number(name) : 0;
    size_t scores = 1;
    lsnni_device *d;
    if (!name || strcmp(name, "cpu") == 0) return LSNN_OK;
    if (number < 0)
        return lsnni_fail(net->cx, LSNN_ENAME, "lsnn_net_build: device \"%.60s\": it is \"cpu\", "
                          "\"cuda\" or \"cuda:1\"", name);
    LSNNI_TRY(lsnni_device_check(net));
    d = (lsnni_device *)lsnni_alloc(net->cx, 1, sizeof *d);
    if (!d) return LSNN_ENOMEM;
    net->device = d;
    d->number = number;
    LSNNI_TRY(lsnni_cuda_open(net->cx, d));
    LSNNI_TRY(lsnni_device_alloc(net, &d->value, net->param_size));
    LSNNI_TRY(lsnni_device_alloc(net, &d->state, net->buffer_size));
    if (!net->predict_only) LSNNI_TRY(lsnni_device_alloc(net, &d->grad, net->param_size));
    LSNNI_TRY(lsnni_device_alloc(net, &d->x, lsnni_times((size_t)net->batch, (size_t)
                                                         lsnni_features(net->node[0].plan.out))));
    for (int i = 0; i < net->nodes; i++)
        if (net->node[i].plan.traits & LSNN_CLASSIFIES)
            scores += lsnni_area(lsnni_features(net->node[i].plan.out), net->batch);
    d->scores = (lsnn_real *)lsnni_alloc(net->cx, scores, sizeof *d->scores);
    d->host_newer = 1;
    net->run_value = d->value;
    net->run_grad = d->grad;
    net->run_state = d->state;
    return d->scores ? LSNN_OK : LSNN_ENOMEM;
}

/* ---- Whose copy is newer                                                     */
static lsnn_status lsnni_device_push(lsnn_net *net)
{
    lsnni_device *d = net->device;
    if (!d->host_newer) return LSNN_OK;
    d->host_newer = 0;
    LSNNI_TRY(lsnni_cuda_put(net->cx, d, d->value, net->value,
                             net->param_size * sizeof *d->value));
    return lsnni_cuda_put(net->cx, d, d->state, net->state,
                          net->buffer_size * sizeof *d->state);
}

/* Waits for all that was launched, and says whether a step went wrong.        */
static lsnn_status lsnni_device_ask(lsnn_net *net, lsnni_told *a)
{
    LSNNI_TRY(lsnni_cuda_get(net->cx, net->device, a, net->device->told, sizeof *a));
    if (!a->bad) return LSNN_OK;
    return lsnni_fail(net->cx, LSNN_EDIVERGED, "step %u: the gradient of '%.80s' is not finite: "
                      "use a smaller learning rate or clip_norm", (unsigned)a->bad_step,
                      net->param[a->bad - 1].name);
}

/* Values and states on the host are as new as the device's from here on.      */
static lsnn_status lsnni_device_pull(const lsnn_net *net)
{
    lsnni_device *d = net->device;
    if (!d || !d->device_newer) return LSNN_OK;
    LSNNI_TRY(lsnni_cuda_get(net->cx, d, net->value, d->value,
                             net->param_size * sizeof *d->value));
    LSNNI_TRY(lsnni_cuda_get(net->cx, d, net->state, d->state,
                             net->buffer_size * sizeof *d->state));
    d->device_newer = 0;
    return LSNN_OK;
}

/* An array of the device's: to the host, or from it.                          */
static lsnn_status lsnni_device_get(const lsnn_net *net, lsnn_real *to, const lsnn_real *from,
                                    size_t count)
{
    return lsnni_cuda_get(net->cx, net->device, to, from, count * sizeof *to);
}
static lsnn_status lsnni_device_put(const lsnn_net *net, lsnn_real *to, const lsnn_real *from,
                                    size_t count)
{
    return lsnni_cuda_put(net->cx, net->device, to, from, count * sizeof *to);
}
static lsnn_status lsnni_device_wait(const lsnn_net *net)
{
    return lsnni_cuda_wait(net->cx, net->device);
}
static lsnn_status lsnni_device_zero(const lsnn_net *net, lsnn_real *to, size_t count)
{
    return lsnni_cuda_zero(net->cx, net->device, to, count * sizeof *to);
}

/* ---- A batch                                                                  */
/* Labels are looked at while they are on the host: a kernel has no way to complain. */
static lsnn_status lsnni_device_labels(const lsnn_net *net, const lsnn_batch *b)
{
    for (int i = 0; i < net->nodes && b->labels; i++) {
        const lsnni_node *v = &net->node[i];
        int classes = lsnni_features(v->plan.out), head = v->plan.o.head;
        if (!(v->plan.traits & LSNN_CLASSIFIES)) continue;
        for (int n = 0; n < b->n && head < b->heads; n++) {
            int label = b->labels[lsnni_area(n, b->heads) + (size_t)head];
            if (label < 0 || label >= classes)
                return lsnni_fail(net->cx, LSNN_EVALUE, "layer '%.80s': label %d of the batch's "
                                  "sample %d is not in [0, %d)", v->name, label, n, classes);
        }
    }
    return LSNN_OK;
}

/* Room for at least so many bytes at *place. Records that name it are forgotten. */
static lsnn_status lsnni_device_room(lsnn_net *net, void **place, size_t *room, size_t bytes)
{
    lsnni_device *d = net->device;
    if (bytes <= *room) return LSNN_OK;
    lsnni_device_forget(d);
    LSNNI_TRY(lsnni_cuda_wait(net->cx, d));
    lsnni_cuda_free(d, *place);
    *room = 0;
    *place = NULL;
    LSNNI_TRY(lsnni_cuda_alloc(net->cx, d, place, bytes));
    *room = bytes;
    return LSNN_OK;
}

/* The batch goes to the device; *b then says where it is there.               */
static lsnn_status lsnni_device_feed(lsnn_net *net, lsnn_batch *b)
{
    lsnni_device *d = net->device;
    lsnn_now now;
    void *place;
    size_t labels = lsnni_area(b->n, b->heads) * sizeof *b->labels;
    size_t targets = lsnni_area(b->n, b->target_count) * sizeof *b->targets;
    LSNNI_TRY(lsnni_device_push(net));
    LSNNI_TRY(lsnni_device_labels(net, b));
    LSNNI_TRY(lsnni_device_put(net, d->x, b->x,
                               lsnni_area(b->n, lsnni_features(net->node[0].plan.out))));
    b->x = d->x;
    if (b->labels && labels) {
        place = d->labels;
        LSNNI_TRY(lsnni_device_room(net, &place, &d->labels_room,
                                    lsnni_area(net->batch, b->heads) * sizeof *b->labels));
        d->labels = (int *)place;
        LSNNI_TRY(lsnni_cuda_put(net->cx, d, d->labels, b->labels, labels));
        b->labels = d->labels;
    }
    if (b->targets && targets) {
        place = d->targets;
        LSNNI_TRY(lsnni_device_room(net, &place, &d->targets_room,
                                    lsnni_area(net->batch, b->target_count) *
                                    sizeof *b->targets));
        d->targets = (lsnn_real *)place;
        LSNNI_TRY(lsnni_cuda_put(net->cx, d, d->targets, b->targets, targets));
        b->targets = d->targets;
    }
    memset(&now, 0, sizeof now);
    now.step = b->step;
    now.sample = b->sample;
    now.total = b->total ? b->total : b->n;
    return lsnni_cuda_now(net->cx, d, &now);
}

/* ---- Recorded walks: walk(user) launches; what it launches is the same for equal keys  */
static lsnn_status lsnni_device_walk(lsnn_net *net, const int key[4],
                                     lsnn_status (*walk)(void *user), void *user)
{
    lsnni_device *d = net->device;
    lsnni_recorded *r = d->recorded;
    lsnn_status s, ended;
    void *graph = NULL;
    while (r < d->recorded + d->records && memcmp(r->key, key, sizeof r->key) != 0) r++;
    if (r < d->recorded + d->records) return lsnni_cuda_replay(net->cx, d, r->graph);
    if (d->on.dry || d->records == LSNNI_MAX_GRAPHS || net->profile || (net->work &&
                                                                        net->work->watch))
        return walk(user);
    LSNNI_TRY(lsnni_cuda_record(net->cx, d));
    s = walk(user);
    ended = lsnni_cuda_recorded(net->cx, d, &graph);     /* ended in any case        */
    if (s == LSNN_OK) s = ended;
    if (s != LSNN_OK) {
        if (graph) lsnni_cuda_forget(d, graph);
        return s;
    }
    memcpy(r->key, key, sizeof r->key);
    r->graph = graph;
    d->records++;
    return lsnni_cuda_replay(net->cx, d, graph);
}

/* The sum of the losses, weights included.                                    */
static lsnn_status lsnni_device_losses(lsnn_net *net, double *loss)
{
    lsnni_told a;
    int losses = 0;
    LSNNI_TRY(lsnni_device_ask(net, &a));
    for (int i = 0; i < net->nodes; i++) losses += (net->node[i].plan.traits & LSNN_IS_LOSS) != 0;
    *loss = 0;
    for (int i = 0; i < losses; i++) *loss += a.loss[i];
    return LSNN_OK;
}

/* The number of loss layer i among the losses: where its loss lies in the answer. */
static int lsnni_device_loss(const lsnn_net *net, int i)
{
    int number = 0;
    for (int k = 0; k < i; k++) number += (net->node[k].plan.traits & LSNN_IS_LOSS) != 0;
    return number;
}

/* What a call on the device has beside its arrays.                            */
static void lsnni_device_call(const lsnn_net *net, lsnn_call *c, int i)
{
    if (!net->device) return;
    c->device = &net->device->on;
    if (net->node[i].plan.traits & LSNN_IS_LOSS)
        c->device_loss = net->device->told->loss + lsnni_device_loss(net, i);
}

#else /* a build without devices: what follows the first is never called */
static lsnn_status lsnni_device_open(lsnn_net *net, const char *name)
{
    if (!name || strcmp(name, "cpu") == 0) return LSNN_OK;
    return lsnni_fail(net->cx, LSNN_EUNSUPPORTED, "lsnn_net_build: device \"%.60s\": this build "
                      "has none but \"cpu\": compile with LSNN_USE_CUDA (see docs/cuda.md)", name);
}
static void lsnni_device_close(lsnn_net *net) { (void)net; }
static lsnn_status lsnni_device_pull(const lsnn_net *net) { (void)net; return LSNN_OK; }
static lsnn_status lsnni_device_alloc(const lsnn_net *net, lsnn_real **place, size_t count)
{
    (void)net; (void)place; (void)count;
    return LSNN_EUNSUPPORTED;
}
static lsnn_status lsnni_device_get(const lsnn_net *net, lsnn_real *to, const lsnn_real *from,
                                    size_t count)
{
    (void)net; (void)to; (void)from; (void)count;
    return LSNN_EUNSUPPORTED;
}
static void lsnni_device_free(const lsnn_net *net, lsnn_real *block) { (void)net; (void)block; }
static lsnn_status lsnni_device_put(const lsnn_net *net, lsnn_real *to, const lsnn_real *from,
                                    size_t count)
{
    return lsnni_device_get(net, to, from, count);
}
static lsnn_status lsnni_device_zero(const lsnn_net *net, lsnn_real *to, size_t count)
{
    return lsnni_device_get(net, to, NULL, count);
}
static lsnn_status lsnni_device_losses(lsnn_net *net, double *loss)
{
    (void)net; (void)loss;
    return LSNN_EUNSUPPORTED;
}
static lsnn_status lsnni_device_feed(lsnn_net *net, lsnn_batch *b)
{
    (void)net; (void)b;
    return LSNN_EUNSUPPORTED;
}
static lsnn_status lsnni_device_walk(lsnn_net *net, const int key[4],
                                     lsnn_status (*walk)(void *user), void *user)
{
    (void)net; (void)key; (void)walk; (void)user;
    return LSNN_EUNSUPPORTED;
}
static lsnn_status lsnni_device_wait(const lsnn_net *net) { (void)net; return LSNN_OK; }
static void lsnni_device_call(const lsnn_net *net, lsnn_call *c, int i)
{
    (void)net; (void)c; (void)i;
}
#endif /* LSNN_USE_CUDA */
