/* ---- >>names: reading and writing anything -----------------------------------------
   Callers get copies, by name, and never an address: where an array lies, in which layout, and
   whether it is made at all is planned anew for each net, batch and machine, so an address would
   promise what the next build breaks. A name is looked up and a copy made at each call, which
   is nothing beside a forward; a loop that trains needs neither.             */
/* Where an array lies and how: what dims, get and set have to know of it, and no more. */
typedef struct lsnni_view {
    lsnn_real *v;
    int rank, dim[4];
    int turned;                      /* 1: in blocks of images                */
    int kept;                        /* 1: what a layer keeps, as a smoother's map */
    int stays;                       /* 1: an output whose memory is the layer's own */
    int away;                        /* 1: in the device's memory             */
    size_t count;
} lsnni_view;

/* Sizes past the rank are 1: the caller's dim[4] is filled in whatever the rank. */
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

/* An output of the last forward, its gradient, or a kept array of node i. All may be asked
   that was promised to stay (>>use: readable; option keep), and nothing else: any other
   array's place may be another's by now (>>memory plan), and its numbers would look like an
   answer. Each refusal says what to do. dim[0] is the batch of the last forward, not the
   largest.                                                                   */
static lsnn_status lsnni_view_node(lsnn_net *net, lsnni_view *a, int i, int is_grad,
                                   int is_keep)
{
    const lsnni_node *v = &net->node[i];
    lsnn_work *w = net->work;
    lsnn_shape s = is_keep ? v->plan.keep_shape : v->plan.out;
    int dim[4], fixed = is_keep && v->plan.keep_fixed;
    lsnn_real *data = is_keep ? w->keep[i] : is_grad ? w->dy[i] : w->y[i];
    dim[0] = w->n; dim[1] = s.c; dim[2] = s.h; dim[3] = s.w;
    /* No copy of it is made, and the caller may have written over it since.  */
    if (i == 0)
        return lsnni_fail(net->cx, LSNN_ESTATE, "'input' is the caller's own array");
    if (!w->n)
        return lsnni_fail(net->cx, LSNN_ESTATE, "layer '%.60s' has no output before a forward",
                          v->name);
    /* Kept, and yet not there.                                               */
    if (is_grad && v->plan.o.keep && !data)
        return lsnni_fail(net->cx, LSNN_ESTATE, "there is no gradient of '%.60s': nothing before "
                          "it learns, or the net only predicts", v->name);
    /* An output may stay for many reasons, a gradient for keep alone.        */
    if (!(is_keep || (is_grad ? data && v->plan.o.keep : v->role.readable)))
        return lsnni_fail(net->cx, LSNN_ESTATE,
                          "%s of '%.60s' is not kept: set its option keep",
                          is_grad ? "the gradient" : "the output", v->name);
    /* A forward without labels leaves losses out, a backward what nothing that learns needs. */
    if (!(is_grad ? w->done && w->reached[i] : v->role.live && (w->all || v->role.on_path)))
        return lsnni_fail(net->cx, LSNN_ESTATE, "layer '%.60s' had no part in the last %s",
                          v->name, is_grad ? "backward" : "forward");
    lsnni_view_set(a, data, fixed ? 3 : 4, fixed ? dim + 1 : dim);
    a->away = net->device != NULL;
    /* What is kept of blocks lies as its layer likes it: those that name it keep it plain. */
    a->turned = !is_keep && v->role.blocks && w->lanes;
    a->stays = !is_keep && !is_grad && lsnni_has(v, LSNN_Y_STAYS);
    return LSNN_OK;
}

/* In the order in which names are told apart: a parameter, a buffer, a layer's output, what a
   layer keeps. No name is two of them (lsnni_name_node, lsnni_enter), but for what is kept,
   which comes last. A device's parameters are brought to the host first; its outputs stay, and
   are fetched.                                                               */
static lsnn_status lsnni_view_find(lsnn_net *net, lsnni_view *a, const char *name)
{
    /* No name has a colon in it.                                             */
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
        /* Values are pulled whole, gradients fetched: who looks at one of them seldom wants
           all.                                                               */
        a->away = is_grad && net->device;
        return LSNN_OK;
    }
    /* Buffers are written by forward alone: they have no gradient.           */
    i = is_grad ? -1 : lsnni_find_param(net->buffer, net->buffers, rest);
    if (i >= 0) {
        const lsnni_param *p = &net->buffer[i];
        lsnni_view_set(a, net->state + p->at, p->spec.rank, p->spec.dim);
        return LSNN_OK;
    }
    i = lsnn_net_node(net, rest);
    if (i >= 0) return lsnni_view_node(net, a, i, is_grad, 0);
    /* LAYER.WHAT, cut at the last dot, since a layer's name may have some, too. */
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

/* For who makes room before lsnn_net_get.                                    */
LSNN_API lsnn_status lsnn_net_dims(lsnn_net *net, const char *name, int *rank, int dim[4])
{
    if (!net) return LSNN_ENOMEM;
    lsnni_view a;
    LSNNI_TRY(lsnni_view_find(net, &a, name));
    if (rank) *rank = a.rank;
    if (dim) memcpy(dim, a.dim, sizeof a.dim);
    return LSNN_OK;
}

/* An exact count, though v's room is the caller's to know: a net that has changed its sizes
   since the caller was written is found out here and not by a crash.         */
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

/* To whom the library is a black box, arrays are plain: blocks are turned on the way. Into v,
   all or nothing: a refusal leaves it as it was.                             */
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

/* What a layer keeps or holds may not be set: a smoother's maps would no longer be those of
   its theta. Values may, and gradients, to change them by a rule of one's own before an
   optimizer's step.                                                          */
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
    /* What layers keep of values (a smoother's maps) is made anew at the next forward. */
    lsnni_changed(net);
    if (a.turned)
        return lsnn_interleave(net->cx, a.v, v, a.dim[0], count / (size_t)a.dim[0], 0, 0);
    memcpy(a.v, v, count * sizeof *v);
    return LSNN_OK;
}

/* ---- >>unshare: a convolution's kernels at every place of a local2d -----------------
   The two compute the same then, but for last bits; from there each place may learn by itself.
   Two nets as a rule: a convolutional one that has learned, and one that begins where it
   stopped and lets go of the sharing.                                        */
/* One place of a local2d has as many weights as the convolution has in all. Stride, padding
   and image may differ: a kernel fits at any place.                          */
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
    /* A weight of local2d is OH*OW, C/G*kh*kw, K: dim[2] is the number of kernels, as dim[0]
       is of a conv2d's K, C/G, kh, kw.                                       */
    p = &net->node[local].plan;
    q = &from->node[conv].plan;
    if (p->param[0].dim[2] != q->param[0].dim[0] || p->o.kernel_h != q->o.kernel_h ||
        p->o.kernel_w != q->o.kernel_w || p->in[0].c != q->in[0].c || p->o.groups != q->o.groups)
        return lsnni_fail(net->cx, LSNN_ESHAPE, "net_unshare: '%.60s' has %d kernels of %dx%d on "
                          "%d channels in %d groups, '%.60s' %d of %dx%d on %d in %d", names[0],
                          p->param[0].dim[2], p->o.kernel_h, p->o.kernel_w, p->in[0].c,
                          LSNNI_MAX(1, p->o.groups), names[1], q->param[0].dim[0],
                          q->o.kernel_h, q->o.kernel_w, q->in[0].c, LSNNI_MAX(1, q->o.groups));
    /* The other way round a bias of 0 does.                                  */
    if (q->params > p->params)
        return lsnni_fail(net->cx, LSNN_EVALUE, "net_unshare: '%.60s' has a bias, '%.60s' has "
                          "none", names[1], names[0]);
    return LSNN_OK;
}

/* conv2d's weights are K, C/G, kh, kw; local2d's OH*OW, C/G*kh*kw, K: the same taps, kernels
   last, once a place. A bias that only the local2d has becomes 0. net may be from: what is
   read is not what is written, since one layer is no other.                  */
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
        /* Part 0 is the weights, 1 the bias.                                 */
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

/* In the order of the layers that own them, as they lie in their block: for who walks through
   all of them, to print, compare or count.                                   */
LSNN_API const char *lsnn_net_param_name(const lsnn_net *net, int kind, int i, size_t *count)
{
    if (!net) return NULL;
    const lsnni_param *p = kind ? net->buffer : net->param;
    if (i < 0 || i >= (kind ? net->buffers : net->params)) return NULL;
    if (count) *count = p[i].spec.count;
    return p[i].name;
}

