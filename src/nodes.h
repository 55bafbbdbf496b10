/* ---- >>building --------------------------------------------------------------------
   lsnn_layer checks a layer and enters it, one of ours as one of yours: all it knows of
   them is their type. lsnn_net_build (in >>running) draws the >>first values, plans (see
   >>plan) and rehearses.
   What is checked here is not asked again: planning and running trust shapes, counts, names and
   traits. So all that a caller, a file or a type of yours can get wrong must be refused in this
   chapter, with a message that says which layer and which number.            */
/* Names are found by looking at each; a file that lies must not take hours.  */
enum { LSNNI_MAX_NODES = 10000 };

/* The library's layer type of that name, or NULL.                            */
static const lsnn_layer_type *lsnni_type(const char *name)
{
    for (size_t i = 0; i < sizeof lsnni_types / sizeof lsnni_types[0]; i++)
        if (strcmp(lsnni_types[i]->name, name) == 0) return lsnni_types[i];
    return NULL;
}

/* All 0 is an empty net; only output's 0 would mean a node, the input.       */
LSNN_API lsnn_net *lsnn_net_new(lsnn_ctx *cx)
{
    lsnn_net *net = (lsnn_net *)lsnni_alloc(cx, 1, sizeof *net);
    if (!net) return NULL;
    net->cx = cx;
    net->output = -1;
    return net;
}

static void lsnni_device_close(lsnn_net *net);
static lsnn_status lsnni_device_pull(const lsnn_net *net);

/* A net in any state, half built too: each pointer is NULL or its own. The workspace first,
   since its block may be the device's, which must be open then.              */
LSNN_API void lsnn_net_free(lsnn_net *net)
{
    if (!net) return;
    lsnn_work_free(net->work);
    lsnni_device_close(net);
    for (int i = 0; i < net->nodes; i++) {
        lsnni_free(net->cx, net->node[i].name);
        lsnni_free(net->cx, net->node[i].share);
        lsnni_free(net->cx, net->node[i].table);
    }
    for (int i = 0; i < net->params; i++) lsnni_free(net->cx, net->param[i].name);
    for (int i = 0; i < net->buffers; i++) lsnni_free(net->cx, net->buffer[i].name);
    lsnni_free(net->cx, net->node);
    lsnni_free(net->cx, net->param);
    lsnni_free(net->cx, net->buffer);
    lsnni_free(net->cx, net->value);
    lsnni_free(net->cx, net->grad);
    lsnni_free(net->cx, net->state);
    lsnni_free(net->cx, net);
}

/* Makes room for one more element in a growing array. Twice the room each time, so that a net
   of n layers copies its nodes 2 n times and not n^2; by copying, since the allocator of a
   context may have no realloc. Elements move: none may hold an address of its own or of
   another. New ones are 0.                                                   */
static lsnn_status lsnni_grow(lsnn_ctx *cx, void **array, int used, int *room, size_t size)
{
    void *larger;
    if (used < *room) return LSNN_OK;
    larger = lsnni_alloc(cx, 2 * (size_t)*room + 8, size);
    if (!larger) return LSNN_ENOMEM;
    if (used) memcpy(larger, *array, (size_t)used * size);
    lsnni_free(cx, *array);
    *array = larger;
    *room = 2 * *room + 8;
    return LSNN_OK;
}

/* Node by node, as all look-ups of names: they happen while a net is made, loaded or asked,
   never in a step, and a table of hashes would be more to read than it saves. */
LSNN_API int lsnn_net_node(const lsnn_net *net, const char *name)
{
    if (!net || !name) return -1;
    for (int i = 0; i < net->nodes; i++)
        if (net->node[i].name && strcmp(net->node[i].name, name) == 0) return i;
    return -1;
}

/* Among the first `count`, or -1: a row that was just made is not to find itself. */
static int lsnni_find_param(const lsnni_param *p, int count, const char *name)
{
    for (int i = 0; i < count; i++) if (strcmp(p[i].name, name) == 0) return i;
    return -1;
}

/* A name is what can stand in a file: letters, digits and _ - . / It is a word of a line there
   (so no space and no =) and part of its tensors' names. As a dot may stand in it, "a.b" could
   be layer a.b or parameter b of layer a: who comes second is refused, in lsnni_name_node or
   lsnni_enter.                                                               */
static lsnn_status lsnni_name_check(lsnn_ctx *cx, const char *name)
{
    for (const char *p = name; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
              (*p >= '0' && *p <= '9') || strchr("_-./", *p)))
            return lsnni_fail(cx, LSNN_ENAME, "the name \"%.60s\" of a layer, its type or a "
                              "parameter has a character other than letters, digits and _-./",
                              name);
    if (!*name || strlen(name) > 200)
        return lsnni_fail(cx, LSNN_ENAME, "a layer name has 1 to 200 characters");
    return LSNN_OK;
}

/* Names are what files are read by, so no two things have one: neither two layers, nor a layer
   and a parameter, nor a caller's type and one of ours. Without a name: type and number, the
   next one that is free. v->name is a copy of its own then. Files name every layer: what was
   counted here does not change when a net is loaded.                         */
static lsnn_status lsnni_name_node(lsnn_net *net, lsnni_node *v, const char *name)
{
    const lsnn_layer_type *ours = lsnni_type(v->type->name);
    char made[64];
    int number = 0;
    /* A type's name is a word in files, too: by one of ours, a caller's type would be read
       back as ours.                                                          */
    LSNNI_TRY(lsnni_name_check(net->cx, v->type->name));
    if (ours && ours != v->type)
        return lsnni_fail(net->cx, LSNN_ENAME, "'%s' is a layer type of the library: give yours "
                          "another name", ours->name);
    if (name) {
        LSNNI_TRY(lsnni_name_check(net->cx, name));
        if (lsnn_net_node(net, name) >= 0)
            return lsnni_fail(net->cx, LSNN_ENAME, "two layers are called '%.60s'", name);
        if (lsnni_find_param(net->param, net->params, name) >= 0 ||
            lsnni_find_param(net->buffer, net->buffers, name) >= 0)
            return lsnni_fail(net->cx, LSNN_ENAME, "'%.60s' is the name of a parameter", name);
    } else {
        /* The first try is free, unless a caller gave such a name himself.   */
        for (int i = 0; i < net->nodes; i++) number += net->node[i].type == v->type;
        do snprintf(made, sizeof made, "%.40s%d", v->type->name, ++number);
        while (lsnn_net_node(net, made) >= 0);
        if (net->nodes == 0) snprintf(made, sizeof made, "%.40s", v->type->name);
        name = made;
    }
    v->name = lsnni_strdup(net->cx, name);
    return v->name ? LSNN_OK : LSNN_ENOMEM;
}

/* Enters one parameter (or buffer) of node v into the table; *index gets its number. Its place
   is the end of the block so far; sizes that overflow stick at LSNNI_TOO_LARGE, and
   lsnn_net_build's allocation fails then, with the largest parameter's name. After a failure
   the row may be in the table already: lsnn_layer takes it out again.        */
static lsnn_status lsnni_enter(lsnn_net *net, lsnni_node *v, int i, int is_buffer, int *index)
{
    const lsnn_param_spec *spec = is_buffer ? &v->plan.buffer[i] : &v->plan.param[i];
    const lsnn_options *o = &v->plan.o;
    int *used = is_buffer ? &net->buffers : &net->params;
    size_t length = strlen(v->name) + strlen(spec->name) + 2;
    size_t *block = is_buffer ? &net->buffer_size : &net->param_size;
    lsnni_param *p;
    LSNNI_TRY(lsnni_grow(net->cx, is_buffer ? (void **)&net->buffer : (void **)&net->param,
                         *used, is_buffer ? &net->buffer_room : &net->param_room, sizeof *p));
    p = (is_buffer ? net->buffer : net->param) + *used;
    memset(p, 0, sizeof *p);
    p->name = (char *)lsnni_alloc(net->cx, length, 1);
    if (!p->name) return LSNN_ENOMEM;
    /* What files, messages and lsnn_net_get call it.                         */
    snprintf(p->name, length, "%s.%s", v->name, spec->name);
    *index = (*used)++;              /* freed with the others from here on    */
    if (lsnn_net_node(net, p->name) >= 0)
        return lsnni_fail(net->cx, LSNN_ENAME, "a layer is called '%.60s', like a parameter of "
                          "this one", p->name);
    if (lsnni_find_param(net->param, net->params - !is_buffer, p->name) >= 0 ||
        lsnni_find_param(net->buffer, net->buffers - is_buffer, p->name) >= 0)
        return lsnni_fail(net->cx, LSNN_ENAME, "two parameters or buffers are called '%.60s'",
                          p->name);
    p->spec = *spec;
    p->at = *block;
    /* 0 is frozen. LSNN_ZERO lies above: its gradient is made, its steps are nothing. */
    p->lr_factor = o->freeze ? 0 : o->lr_factor > 0 ? o->lr_factor : 1;
    /* Times the optimizer's weight decay: 0 where to be near 0 is no virtue, as of biases. */
    if (!spec->no_decay && !o->no_decay)
        p->decay = lsnni_or(spec->decay_factor, 1) * lsnni_or(o->decay_factor, 1);
    /* The number that this node will have.                                   */
    p->owner = net->nodes;
    p->index = i;
    *block = lsnni_plus(*block, lsnni_whole_vectors(spec->count));
    return LSNN_OK;
}

/* What a function of a layer's type has answered. One that refuses without a reason
   (lsnn_fail) gets this one: no failure is silent. failures: how many there were before. That
   holds for types of yours, too, which may return any status and forget to say why: a caller
   who sees a status finds a message in the context.                          */
static lsnn_status lsnni_answer(lsnn_ctx *cx, const lsnn_layer_type *type, const char *function,
                                unsigned failures, lsnn_status s)
{
    if (s == LSNN_OK || cx->failures_ != failures) return s;
    return lsnni_fail(cx, s, "%s: its %s returned %d (%s) and gave no reason: lsnn_fail does",
                      type->name, function, (int)s, lsnn_status_text(s));
}

/* Who runs a net calls these four without asking. The input's type has no forward and no
   backward: no schedule ever calls node 0.                                   */
static lsnn_status lsnni_type_check(lsnn_ctx *cx, const lsnn_layer_type *type)
{
    if (type == &lsnni_input_type || (type && type->name && type->plan && type->forward &&
                                      type->backward)) return LSNN_OK;
    return lsnni_fail(cx, LSNN_EVALUE, "lsnn_layer: the type%s%.60s %s", type ? " " : "",
                      type && type->name ? type->name : "", !type ? "is NULL" :
                      "needs a name, plan, forward and backward");
}

/* The sizes of a parameter or buffer; its count follows from them, or must agree. Afterwards
   sizes past the rank are 0 and the count is their product, so that lsnni_share may compare
   all four, and saving and drawing trust the count. Below 2^29, since the ops' tables of
   places are 32-bit numbers.                                                 */
static lsnn_status lsnni_spec_check(lsnn_ctx *cx, const lsnn_layer_type *type,
                                    lsnn_param_spec *s)
{
    size_t count = 1;
    if (!s->name)
        return lsnni_fail(cx, LSNN_EVALUE, "%s: a parameter or buffer has no name", type->name);
    LSNNI_TRY(lsnni_name_check(cx, s->name));
    if (s->rank < 0 || s->rank > 4)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: %.60s has rank %d, it must be 0 to 4",
                          type->name, s->name, s->rank);
    /* A scalar (rank 0) has one number.                                      */
    for (int d = 0; d < 4; d++) {
        if (d >= s->rank) s->dim[d] = 0;
        else if (s->dim[d] < 1)
            return lsnni_fail(cx, LSNN_ESHAPE, "%s: size %d of %.60s is %d, it must be positive",
                              type->name, d + 1, s->name, s->dim[d]);
        else count = lsnni_times(count, (size_t)s->dim[d]);
    }
    if (count > INT32_MAX / 4)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: %.4g numbers of %.60s are over 2^29",
                          type->name, (double)count, s->name);
    /* Types that know it may say it, which catches a slip in their sizes.    */
    if (s->count && s->count != count)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: %.60s has a count of %.0f, but its sizes make "
                          "%.0f: leave count at 0", type->name, s->name, (double)s->count,
                          (double)count);
    s->count = count;
    /* Written so that NaN is refused: every comparison with it is false.     */
    if (!(s->l2 >= 0 && s->l2 <= DBL_MAX) ||
        !(s->decay_factor >= 0 && s->decay_factor <= DBL_MAX) ||
        s->l2_every < 0 || s->l2_every > 32)
        return lsnni_fail(cx, LSNN_EVALUE, "%s: %.60s has l2 %g, decay_factor %g, l2_every %d: "
                          "not negative, finite, and at most 32", type->name, s->name, s->l2,
                          s->decay_factor, s->l2_every);
    return LSNN_OK;
}

/* What plan has filled in, of the library's types and of yours: everything that running trusts
   is checked here. given: what it was given. A plan that writes what it is given (inputs, in)
   or claims traits that its type lacks would make the planner's decisions wrong in silence,
   far from the mistake. Products go through double or lsnni_times: three sizes that fit an int
   may have one that does not.                                                */
static lsnn_status lsnni_plan_check(lsnn_ctx *cx, const lsnn_layer_type *type,
                                    lsnn_layer_plan *p, const lsnn_layer_plan *given)
{
    int out[3], keep[3];
    out[0] = p->out.c; out[1] = p->out.h; out[2] = p->out.w;
    keep[0] = p->keep_shape.c; keep[1] = p->keep_shape.h; keep[2] = p->keep_shape.w;
    if (p->inputs != given->inputs || memcmp(p->in, given->in, sizeof p->in) ||
        (p->traits & ~type->traits))
        return lsnni_fail(cx, LSNN_EVALUE, "%s: its plan has changed inputs or in, or added "
                          "traits: they are given", type->name);
    /* The input's are still 0, see lsnn_input.                               */
    if (type != &lsnni_input_type)
        LSNNI_TRY(lsnni_sizes(cx, "its output (channels x rows x columns)", 3, out));
    if ((double)out[0] * out[1] * out[2] > INT32_MAX / 4)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: an output of %dx%dx%d has over 2^29 numbers",
                          type->name, out[0], out[1], out[2]);
    if (p->params < 0 || p->params > LSNN_MAX_PARAMS || p->buffers < 0 ||
        p->buffers > LSNN_MAX_PARAMS)
        return lsnni_fail(cx, LSNN_EVALUE, "%s: %d parameters and %d buffers: a layer has at "
                          "most %d of each", type->name, p->params, p->buffers,
                          (int)LSNN_MAX_PARAMS);
    for (int i = 0; i < p->params; i++) LSNNI_TRY(lsnni_spec_check(cx, type, &p->param[i]));
    for (int i = 0; i < p->buffers; i++) LSNNI_TRY(lsnni_spec_check(cx, type, &p->buffer[i]));
    /* Who reads less than its input (>>crop) says both sizes: the input is cut to that. */
    if (p->reads_h || p->reads_w)
        if (p->reads_h < 1 || p->reads_h > p->in[0].h || p->reads_w < 1 ||
            p->reads_w > p->in[0].w)
            return lsnni_fail(cx, LSNN_ESHAPE, "%s: reads_h %d, reads_w %d of an input of "
                              "%d x %d", type->name, p->reads_h, p->reads_w, p->in[0].h,
                              p->in[0].w);
    /* What can be read by name must be there to be read.                     */
    if (!p->keep_name) return LSNN_OK;
    LSNNI_TRY(lsnni_name_check(cx, p->keep_name));
    LSNNI_TRY(lsnni_sizes(cx, p->keep_name, 3, keep));
    if (lsnni_times(lsnni_area(keep[0], keep[1]), (size_t)keep[2]) >
        (p->keep_fixed ? p->keep_fixed : p->keep_per_image))
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: keep_shape %dx%dx%d has more numbers than are "
                          "kept", type->name, keep[0], keep[1], keep[2]);
    return LSNN_OK;
}

/* Parameters of another layer of the same type and shapes. The node takes the other's rows:
   then gradients of both add up in one place, an optimizer steps it once and a file has it
   once, with no code for any of that. Options that say what a parameter means must be equal,
   those that say how it learns are its owner's alone to set.                 */
static lsnn_status lsnni_share(lsnn_net *net, lsnni_node *v, const char *name)
{
    int other = lsnn_net_node(net, name);
    const lsnni_node *u = other < 0 ? NULL : &net->node[other];
    if (!u) return lsnni_fail(net->cx, LSNN_ENAME, "share: no layer is called '%.60s'", name);
    /* By pointer: a type of yours may have the name of another of yours.     */
    if (u->type != v->type || u->plan.params != v->plan.params ||
        u->plan.buffers != v->plan.buffers)
        return lsnni_fail(net->cx, LSNN_ESHAPE,
                          "share: '%.60s' is a %s with %d parameters, this is "
                          "a %s with %d", name, u->type->name, u->plan.params, v->type->name,
                          v->plan.params);
    /* Not seen in any size: as many numbers may be a Gaussian's or a window's. */
    if (v->plan.o.smooth_shape != u->plan.o.smooth_shape ||
        v->plan.o.mixture != u->plan.o.mixture || v->plan.o.normalise != u->plan.o.normalise)
        return lsnni_fail(net->cx, LSNN_EVALUE, "share: '%.60s' has another smooth_shape, "
                          "mixture or normalise: its theta means something else", name);
    if (v->plan.o.blend != u->plan.o.blend)
        return lsnni_fail(net->cx, LSNN_EVALUE, "share: '%.60s' has another blend: its theta "
                          "means something else", name);
    /* As text: the same connections in another order are other weights. */
    if (v->table && strcmp(v->table, u->table) != 0)
        return lsnni_fail(net->cx, LSNN_EVALUE, "share: '%.60s' has another table", name);
    if (v->plan.o.freeze || v->plan.o.no_decay || v->plan.o.lr_factor > 0 ||
        v->plan.o.decay_factor > 0 || v->plan.o.l2 > 0 || v->plan.o.clip)
        return lsnni_fail(net->cx, LSNN_EVALUE, "share: freeze, no_decay, lr_factor, "
                          "decay_factor, l2 and clip are for '%.60s' to set, whose parameters "
                          "these are", name);
    /* Shared, too: two batch_norms that share have one running mean.         */
    for (int i = 0; i < v->plan.buffers; i++)
        if (u->plan.buffer[i].count != v->plan.buffer[i].count)
            return lsnni_fail(net->cx, LSNN_ESHAPE, "share: the buffers of '%.60s' are of "
                              "other sizes", name);
    for (int i = 0; i < v->plan.params; i++)
        for (int d = 0; d < 4; d++)
            if (u->plan.param[i].dim[d] != v->plan.param[i].dim[d])
                return lsnni_fail(net->cx, LSNN_ESHAPE,
                                  "share: size %d of parameter %s of '%.60s' is "
                                  "%d, here it is %d", d + 1, v->plan.param[i].name, name,
                                  u->plan.param[i].dim[d], v->plan.param[i].dim[d]);
    memcpy(v->param, u->param, sizeof v->param);
    memcpy(v->buffer, u->buffer, sizeof v->buffer);
    /* For files, which say share=NAME, and for the summary.                  */
    v->share = lsnni_strdup(net->cx, name);
    return v->share ? LSNN_OK : LSNN_ENOMEM;
}

/* In this order: inputs, a name (so that what follows can be blamed on it: cx->where_),
   options, and only then the type's own plan, which may rely on all of it. On failure v holds
   what it has got so far, for lsnn_layer to free.                            */
static lsnn_status lsnni_layer(lsnn_net *net, lsnni_node *v, const int *x, int count,
                               const lsnn_options *o)
{
    lsnn_ctx *cx = net->cx;
    lsnn_layer_plan given;
    unsigned failures;
    if (count < v->type->min_inputs || count > v->type->max_inputs || count > LSNN_MAX_INPUTS)
        return lsnni_fail(cx, LSNN_EVALUE, "%s takes %d to %d inputs, not %d", v->type->name,
                          v->type->min_inputs,
                          LSNNI_MIN(v->type->max_inputs, LSNN_MAX_INPUTS), count);
    if (count > 0 && !x)
        return lsnni_fail(cx, LSNN_EVALUE, "%s: its %d inputs are NULL", v->type->name, count);
    for (int i = 0; i < count; i++) {
        if (x[i] < 0 || x[i] >= net->nodes)
            return lsnni_fail(cx, LSNN_EVALUE, "%s: input %d is node %d, there are %d",
                              v->type->name, i + 1, x[i], net->nodes);
        /* Backward begins at losses, with no gradient from above: it has no place for a
           reader's.                                                          */
        if (net->node[x[i]].plan.traits & LSNN_IS_LOSS)
            return lsnni_fail(cx, LSNN_EVALUE,
                              "%s: input %d is the loss '%.60s', which ends a path",
                              v->type->name, i + 1, net->node[x[i]].name);
        v->input[i] = x[i];
        /* The same as plan.out until a crop (>>crop), but that is what a layer is said to give. */
        v->plan.in[i] = net->node[x[i]].shape;
    }
    v->plan.inputs = count;
    LSNNI_TRY(lsnni_name_node(net, v, o ? o->name : NULL));
    cx->where_ = v->name;
    if (o) v->plan.o = *o;
    LSNNI_TRY(lsnni_options_check(cx, v->type, &v->plan.o));
    if (o && o->table) {
        v->plan.o.table = v->table = lsnni_strdup(cx, o->table);
        if (!v->table) return LSNN_ENOMEM;
    }
    v->plan.traits = v->type->traits;
    /* As the type gets it: traits that hold for the type, options as given; plan may only
       narrow the first and fill in the second.                               */
    given = v->plan;
    failures = cx->failures_;
    LSNNI_TRY(lsnni_answer(cx, v->type, "plan", failures, v->type->plan(cx, &v->plan)));
    LSNNI_TRY(lsnni_plan_check(cx, v->type, &v->plan, &given));
    v->shape = v->plan.out;
    /* After its plan, so that sizes can be compared; it enters nothing of its own. */
    if (o && o->share) return lsnni_share(net, v, o->share);
    for (int i = 0; i < v->plan.params; i++)
        LSNNI_TRY(lsnni_enter(net, v, i, 0, &v->param[i]));
    for (int i = 0; i < v->plan.buffers; i++)
        LSNNI_TRY(lsnni_enter(net, v, i, 1, &v->buffer[i]));
    return LSNN_OK;
}

/* Either the layer is in the net, or the net has failed for good: each builder returns -1 in
   silence then, so that a caller may nest calls and ask once, at lsnn_net_build, which repeats
   the first reason (`why`). v lies behind the last node until net->nodes++ lets it in: nobody
   ever sees a node that is half made.                                        */
LSNN_API int lsnn_layer(lsnn_net *net, const lsnn_layer_type *type, const int *x, int count,
                        const lsnn_options *o)
{
    lsnni_node *v;
    int params, buffers;
    if (!net || net->failed) return -1;
    if (net->built) {
        lsnni_fail(net->cx, LSNN_ESTATE, "%s: the net is built, no layer can be added",
                   type && type->name ? type->name : "lsnn_layer");
        return -1;
    }
    net->failed = 1;                 /* until this call has succeeded         */
    params = net->params;
    buffers = net->buffers;
    net->why = lsnni_type_check(net->cx, type);
    /* So node 0 is the input everywhere: its place in the schedule's tables is the batch's own
       array.                                                                 */
    if (net->why == LSNN_OK && !net->nodes && type != &lsnni_input_type)
        net->why = lsnni_fail(net->cx, LSNN_ESTATE, "%s: a net begins with lsnn_input",
                              type->name);
    /* Also what loading a file goes through: its length is not believed.     */
    if (net->why == LSNN_OK && net->nodes >= LSNNI_MAX_NODES)
        net->why = lsnni_fail(net->cx, LSNN_ESHAPE, "%s: a net has at most %d layers",
                              type->name, (int)LSNNI_MAX_NODES);
    /* Room before all else: v then stays where it is, while the other tables grow. */
    if (net->why == LSNN_OK)
        net->why = lsnni_grow(net->cx, (void **)&net->node, net->nodes, &net->node_room,
                              sizeof *v);
    if (net->why != LSNN_OK) return -1;
    v = net->node + net->nodes;
    memset(v, 0, sizeof *v);
    v->type = type;
    v->joined = -1;
    net->why = lsnni_layer(net, v, x, count, o);
    /* What other calls report from here on is not about this layer.          */
    net->cx->where_ = NULL;
    if (net->why != LSNN_OK) {
        /* Rows that it had entered are the last ones. The sizes of the blocks are not taken
           back: a net that has failed is never built.                        */
        while (net->params > params) lsnni_free(net->cx, net->param[--net->params].name);
        while (net->buffers > buffers) lsnni_free(net->cx, net->buffer[--net->buffers].name);
        lsnni_free(net->cx, v->name);
        lsnni_free(net->cx, v->share);
        lsnni_free(net->cx, v->table);
        return -1;
    }
    v->plan.o.name = v->plan.o.share = NULL;             /* the caller's strings */
    net->failed = 0;
    return net->nodes++;
}

/* Its sizes are no options, so its plan cannot know them: they are set afterwards, as the
   output of node 0. They are checked before, as lsnni_plan_check does for all others. */
LSNN_API int lsnn_input(lsnn_net *net, int c, int h, int w)
{
    int node;
    if (!net || net->failed) return -1;
    /* A second one: the rest of the graph would mean something else than was said. */
    if (net->nodes) {
        net->failed = !net->built;
        net->why = lsnni_fail(net->cx, LSNN_ESTATE,
                              "a net has one input, made first; lsnn_slice parts it");
        return -1;
    }
    net->failed = 1;
    net->why = (double)c * h * w > INT32_MAX / 4 ?
        lsnni_fail(net->cx, LSNN_ESHAPE, "an input of %dx%dx%d has over 2^29 numbers", c, h, w) :
        lsnni_sizes3(net->cx, "input", c, h, w);
    if (net->why != LSNN_OK) return -1;
    net->failed = 0;
    node = lsnn_layer(net, &lsnni_input_type, NULL, 0, NULL);
    if (node < 0) return -1;
    net->node[0].plan.out.c = c;
    net->node[0].plan.out.h = h;
    net->node[0].plan.out.w = w;
    net->node[0].shape = net->node[0].plan.out;
    return node;
}

/* ---- >>first values: as the layer draws them, or see >>layer.               */
/* Draws have an address, the seed and the parameter's name: what a layer begins with depends on
   no other layer, thread or rank, and not on what was drawn before; only on its name, which of
   layers without one counts those of its type. Of parameters that layers share, the owner draws. */
static void lsnni_init_param(const lsnn_net *net, const lsnni_param *p, lsnn_real *v)
{
    const lsnni_node *owner = &net->node[p->owner];
    lsnn_rng r = lsnn_rng_at(net->seed, "init", p->name, 0, 0);
    if (owner->type->init) owner->type->init(&owner->plan, p->index, v, &r);
    else lsnni_draw_values(&owner->plan, p->index, v, p->spec.count, &r);
}

/* Before build, since it decides what is live, kept and run to predict (>>use). */
LSNN_API void lsnn_net_set_output(lsnn_net *net, int node)
{
    if (!net || net->failed) return;
    if (!net->built && node >= 0 && node < net->nodes) net->output = node;
    /* Too late to change anything, the net itself is sound: it does not fail for that. */
    else {
        net->why = lsnni_fail(net->cx, net->built ? LSNN_ESTATE : LSNN_EVALUE,
                              "lsnn_net_set_output: node %d of %d%s", node, net->nodes,
                              net->built ? ", and the net is built" : "");
        net->failed = !net->built;
    }
}

