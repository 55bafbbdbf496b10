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
    if (!d) return lsnni_fail(net->cx, LSNN_EVALUE, "the data set is NULL");
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

/* The scores that loss i has read, N x classes; NULL: they are the batch's own images. They are
   compared, as predict's are, not the probabilities, in which near scores round to ties. */
static const lsnn_real *lsnni_scores_of(const lsnn_net *net, int i)
{
    const lsnni_schedule *s = &net->work->schedule[net->work->lanes > 0];
    for (int j = 0; j < s->forwards; j++)
        if (s->forward[j].node == i && !s->forward[j].turns) return s->forward[j].call.x[0];
    return NULL;
}

/* Room for the scores of a net on a device, loss by loss: where those of loss i lie. */
static lsnn_real *lsnni_scores_room(const lsnn_net *net, int i)
{
    size_t at = 0;
    for (int k = 0; k < i; k++)
        if (lsnni_has(&net->node[k], LSNN_CLASSIFIES))
            at += lsnni_area(lsnni_features(net->node[k].plan.out), net->batch);
    return net->device->scores + at;
}

/* Brings the last forward's scores from a device.                             */
static lsnn_status lsnni_scores_fetch(const lsnn_net *net, int n)
{
    for (int i = 0; i < net->nodes && net->device; i++) {
        const lsnn_real *scores = lsnni_scores(net, i) ? lsnni_scores_of(net, i) : NULL;
        if (scores)
            LSNNI_TRY(lsnni_device_get(net, lsnni_scores_room(net, i), scores,
                                       lsnni_area(n, lsnni_features(net->node[i].plan.out))));
    }
    return LSNN_OK;
}

static const lsnn_real *lsnni_scores_read(const lsnn_net *net, int i, const lsnn_batch *b)
{
    const lsnn_real *scores = lsnni_scores_of(net, i);
    if (!scores) return b->x;
    return net->device ? lsnni_scores_room(net, i) : scores;
}

static int lsnni_heads(const lsnn_net *net)
{
    int heads = 0;
    for (int i = 0; i < net->nodes; i++) heads += lsnni_scores(net, i);
    return heads;
}

/* Counts the last forward's errors; loss is its mean over the batch. On a device: after
   lsnni_scores_fetch.                                                        */
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
                !lsnni_finite_there(net, net->work->y[i] + (size_t)n * count, count))
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
        LSNNI_TRY(lsnni_scores_fetch(net, n));
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
    if (!s) return lsnni_fail(net->cx, LSNN_EVALUE, "lsnn_evaluate: the score is NULL");
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

