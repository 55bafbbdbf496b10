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
    if (s->tensor) status = lsnni_optimizer_pull(f->o);
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
    return lsnni_optimizer_push(f->o);
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
    if (s != LSNN_OK && f->batch.targets)
        memset(f->batch.targets, 0, lsnni_area(b->n, b->target_count) * sizeof *f->batch.targets);
    forward = lsnni_forward(net, b, 1, &loss);
    if (forward == LSNN_OK) forward = lsnni_scores_fetch(net, b->n);
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

/* Whether epochs are compared by their errors; else by their losses.          */
static int lsnni_fit_classifies(const lsnn_net *net)
{
    for (int i = 0; i < net->nodes; i++) if (lsnni_scores(net, i)) return 1;
    return 0;
}

/* An epoch has been scored. A score that is no number counts as the worst.   */
static lsnn_status lsnni_fit_compare(lsnni_fit *f)
{
    lsnn_progress *p = &f->p;
    const lsnn_net *net = f->net;
    double score = lsnni_fit_classifies(net) ? p->valid_error : p->valid_loss;
    if (!(fabs(score) <= DBL_MAX)) score = DBL_MAX;
    if (p->best_epoch >= 0 && !(score < p->best)) return LSNN_OK;
    p->best = score;
    p->best_epoch = f->epoch;
    if (!f->best) return LSNN_OK;
    LSNNI_TRY(lsnni_device_pull(net));
    lsnni_fit_copy(f->best, net->value, net->param_size);
    lsnni_fit_copy(f->best + net->param_size, net->state, net->buffer_size);
    return LSNN_OK;
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

static void lsnni_fit_place(lsnni_fit *f, int epoch, int done, int epoch_done)
{
    lsnn_progress *p = &f->p;
    p->epoch = epoch;
    p->epochs = f->epochs;
    p->step = done;
    p->steps = f->steps;
    p->epoch_done = epoch_done;
}

/* Tells the caller where training stands; STOPPED if it wants no more.       */
static lsnn_status lsnni_fit_report(lsnni_fit *f, int epoch_done)
{
    lsnn_progress *p = &f->p;
    lsnni_fit_place(f, f->epoch, f->done, epoch_done);
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
        LSNNI_TRY(lsnni_fit_compare(f));
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
    if (!f->done && (f->epoch == f->epochs || lsnni_fit_impatient(f))) {     /* none is left */
        lsnni_fit_place(f, f->epoch - 1, f->steps, 1);
        return f->d->save ? lsnn_ranks_agree(cx, lsnni_fit_save(f)) : LSNN_OK;
    }
    while (f->epoch < f->epochs && !lsnni_fit_impatient(f) && s == LSNN_OK) s = lsnni_fit_epoch(f);
    return s;
}

/* What was done, in a line: for fit.verbose.                                 */
static void lsnni_fit_say(const lsnni_fit *f, lsnn_status s)
{
    const lsnn_progress *p = &f->p;
    const lsnn_net *net = f->net;
    int errors = lsnni_fit_classifies(net);
    char part[64] = "", best[96] = "", work[96] = ": nothing was left to do", text[384];
    if (s < LSNN_OK || net->cx->rank > 0) return;        /* a failure is told already */
    if (f->done) snprintf(part, sizeof part, " and %d of %d steps", f->done, f->steps);
    else if (f->epoch < f->epochs && lsnni_fit_impatient(f))
        snprintf(part, sizeof part, ", the last %d no better", f->d->patience);
    if (p->best_epoch >= 0)
        snprintf(best, sizeof best, "; best held-out %s %.4g%s in epoch %d%s",
                 errors ? "error" : "loss", p->best, errors ? "%" : "", p->best_epoch + 1,
                 f->d->keep_best ? ", kept" : "");
    if (f->images > 0)
        snprintf(work, sizeof work, "; loss %.4g; %.0f images in %.1f s", p->loss, f->images,
                 p->seconds);
    snprintf(text, sizeof text, "lsnn_fit: %d of %d epochs%s%s%s", f->epoch, f->epochs, part, work,
             best);
    lsnni_say(net->cx, text);
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
    if (d->verbose) lsnni_fit_say(&f, s);
    if (d->last) *d->last = f.p;
    lsnni_batch_free(net->cx, &f.batch);
    lsnni_batch_free(net->cx, &f.valid);
    lsnni_free(net->cx, f.order);
    lsnni_free(net->cx, f.best);
    lsnn_optimizer_free(f.o);
    return s;
}
