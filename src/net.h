/* ---- >>building --------------------------------------------------------------------
   lsnn_layer checks a layer and enters it. lsnn_net_build (at the end of >>running) plans:
   >>concats, >>layout, >>use, >>fusion, >>memory plan; draws the >>first values; rehearses. */
LSNN_API lsnn_net *lsnn_net_new(lsnn_ctx *cx)
{
    lsnn_net *net = (lsnn_net *)lsnni_alloc(cx, 1, sizeof *net);
    if (!net) return NULL;
    net->cx = cx;
    net->output = -1;
    return net;
}

LSNN_API void lsnn_net_free(lsnn_net *net)
{
    if (!net) return;
    for (int i = 0; i < net->nodes; i++) {
        lsnni_free(net->cx, net->node[i].name);
        lsnni_free(net->cx, net->node[i].share);
    }
    for (int i = 0; i < net->params; i++) lsnni_free(net->cx, net->param[i].name);
    for (int i = 0; i < net->buffers; i++) lsnni_free(net->cx, net->buffer[i].name);
    lsnn_work_free(net->work);
    lsnni_free(net->cx, net->node);
    lsnni_free(net->cx, net->param);
    lsnni_free(net->cx, net->buffer);
    lsnni_free(net->cx, net->value);
    lsnni_free(net->cx, net->grad);
    lsnni_free(net->cx, net->state);
    lsnni_free(net->cx, net);
}

/* Makes room for one more element in a growing array.                        */
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

LSNN_API int lsnn_net_node(const lsnn_net *net, const char *name)
{
    if (!net) return -1;
    for (int i = 0; i < net->nodes; i++)
        if (net->node[i].name && strcmp(net->node[i].name, name) == 0) return i;
    return -1;
}

static int lsnni_find_param(const lsnni_param *p, int count, const char *name)
{
    for (int i = 0; i < count; i++) if (strcmp(p[i].name, name) == 0) return i;
    return -1;
}

/* A name is what can stand in a file: letters, digits and _ - . /            */
static lsnn_status lsnni_name_check(lsnn_ctx *cx, const char *name)
{
    for (const char *p = name; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
              (*p >= '0' && *p <= '9') || strchr("_-./", *p)))
            return lsnni_fail(cx, LSNN_ENAME, "the name \"%.60s\" of a layer or its type has a "
                              "character other than letters, digits and _-./", name);
    if (!*name || strlen(name) > 200)
        return lsnni_fail(cx, LSNN_ENAME, "a layer name has 1 to 200 characters");
    return LSNN_OK;
}

static lsnn_status lsnni_name_node(lsnn_net *net, lsnni_node *v, const char *name)
{
    const lsnn_layer_type *ours = lsnni_type(v->type->name);
    char made[64];
    int number = 0;
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
        for (int i = 0; i < net->nodes; i++) number += net->node[i].type == v->type;
        do snprintf(made, sizeof made, "%.40s%d", v->type->name, ++number);
        while (lsnn_net_node(net, made) >= 0);
        if (strcmp(v->type->name, "input") == 0) snprintf(made, sizeof made, "input");
        name = made;
    }
    v->name = lsnni_strdup(net->cx, name);
    return v->name ? LSNN_OK : LSNN_ENOMEM;
}

/* Enters one parameter (or buffer) of node v into the table; *index gets its number. */
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
    if (spec->count > INT32_MAX / 4)
        return lsnni_fail(net->cx, LSNN_ESHAPE, "%s: %.4g numbers of %.60s are over 2^29",
                          v->type->name, (double)spec->count, spec->name);
    p->name = (char *)lsnni_alloc(net->cx, length, 1);
    if (!p->name) return LSNN_ENOMEM;
    snprintf(p->name, length, "%s.%s", v->name, spec->name);
    *index = (*used)++;              /* freed with the others from here on    */
    if (lsnn_net_node(net, p->name) >= 0)
        return lsnni_fail(net->cx, LSNN_ENAME, "a layer is called '%.60s', like a parameter of "
                          "this one", p->name);
    p->spec = *spec;
    p->at = *block;
    p->lr_factor = o->freeze ? 0 : o->lr_factor > 0 ? o->lr_factor : 1;
    p->decay = !spec->no_decay && !o->no_decay;
    p->owner = net->nodes;
    p->index = i;
    *block += (spec->count + 15) / 16 * 16;              /* rows of whole vectors */
    return LSNN_OK;
}

/* Parameters of another layer of the same type and shapes.                   */
static lsnn_status lsnni_share(lsnn_net *net, lsnni_node *v, const char *name)
{
    int other = lsnn_net_node(net, name);
    const lsnni_node *u = other < 0 ? NULL : &net->node[other];
    if (!u) return lsnni_fail(net->cx, LSNN_ENAME, "share: no layer is called '%.60s'", name);
    if (u->type != v->type || u->plan.params != v->plan.params ||
        u->plan.buffers != v->plan.buffers)
        return lsnni_fail(net->cx, LSNN_ESHAPE,
                          "share: '%.60s' is a %s with %d parameters, this is "
                          "a %s with %d", name, u->type->name, u->plan.params, v->type->name,
                          v->plan.params);
    if (v->plan.o.smooth_shape != u->plan.o.smooth_shape ||
        v->plan.o.mixture != u->plan.o.mixture || v->plan.o.normalise != u->plan.o.normalise)
        return lsnni_fail(net->cx, LSNN_EVALUE, "share: '%.60s' has another smooth_shape, "
                          "mixture or normalise: its theta means something else", name);
    if (v->plan.o.freeze || v->plan.o.no_decay || v->plan.o.lr_factor > 0)
        return lsnni_fail(net->cx, LSNN_EVALUE, "share: freeze, no_decay and lr_factor are "
                          "for '%.60s' to set, whose parameters these are", name);
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
    v->share = lsnni_strdup(net->cx, name);
    return v->share ? LSNN_OK : LSNN_ENOMEM;
}

static lsnn_status lsnni_layer(lsnn_net *net, lsnni_node *v, const int *x, int count,
                               const lsnn_options *o)
{
    lsnn_ctx *cx = net->cx;
    int out[3];
    if (count < v->type->min_inputs || count > v->type->max_inputs || count > LSNN_MAX_INPUTS)
        return lsnni_fail(cx, LSNN_EVALUE, "%s takes %d to %d inputs, not %d", v->type->name,
                          v->type->min_inputs,
                          LSNNI_MIN(v->type->max_inputs, LSNN_MAX_INPUTS), count);
    for (int i = 0; i < count; i++) {
        if (x[i] < 0 || x[i] >= net->nodes)
            return lsnni_fail(cx, LSNN_EVALUE, "%s: input %d is node %d, there are %d",
                              v->type->name, i + 1, x[i], net->nodes);
        if (net->node[x[i]].type->is_loss)
            return lsnni_fail(cx, LSNN_EVALUE,
                              "%s: input %d is the loss '%.60s', which ends a path",
                              v->type->name, i + 1, net->node[x[i]].name);
        v->input[i] = x[i];
        v->plan.in[i] = net->node[x[i]].plan.out;
    }
    v->plan.inputs = count;
    LSNNI_TRY(lsnni_name_node(net, v, o ? o->name : NULL));
    cx->where_ = v->name;
    if (o) v->plan.o = *o;
    LSNNI_TRY(lsnni_options_check(cx, v->type, &v->plan.o));
    LSNNI_TRY(v->type->plan(cx, &v->plan));
    v->whole = v->plan.out;
    out[0] = v->plan.out.c; out[1] = v->plan.out.h; out[2] = v->plan.out.w;
    if (strcmp(v->type->name, "input") != 0) LSNNI_TRY(lsnni_sizes(cx, v->type->name, 3, out));
    if ((double)out[0] * out[1] * out[2] > INT32_MAX / 4)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: an output of %dx%dx%d has over 2^29 numbers",
                          v->type->name, out[0], out[1], out[2]);
    if (v->plan.params > LSNN_MAX_PARAMS || v->plan.buffers > LSNN_MAX_PARAMS)
        return lsnni_fail(cx, LSNN_EVALUE, "a layer has at most %d parameters and buffers",
                          LSNN_MAX_PARAMS);
    if (o && o->share) return lsnni_share(net, v, o->share);
    for (int i = 0; i < v->plan.params; i++)
        LSNNI_TRY(lsnni_enter(net, v, i, 0, &v->param[i]));
    for (int i = 0; i < v->plan.buffers; i++)
        LSNNI_TRY(lsnni_enter(net, v, i, 1, &v->buffer[i]));
    return LSNN_OK;
}

LSNN_API int lsnn_layer(lsnn_net *net, const lsnn_layer_type *type, const int *x, int count,
                        const lsnn_options *o)
{
    lsnn_status status;
    lsnni_node *v;
    int params, buffers;
    if (!net || net->failed) return -1;
    if (net->built) {
        lsnni_fail(net->cx, LSNN_ESTATE, "%s: the net is built, no layer can be added",
                   type->name);
        return -1;
    }
    net->failed = 1;                 /* until this call has succeeded         */
    params = net->params;
    buffers = net->buffers;
    if (!net->nodes && type != lsnni_type("input")) {
        lsnni_fail(net->cx, LSNN_ESTATE, "%s: a net begins with lsnn_input", type->name);
        return -1;
    }
    if (net->nodes >= LSNNI_MAX_NODES) {
        lsnni_fail(net->cx, LSNN_ESHAPE, "%s: a net has at most %d layers", type->name,
                   (int)LSNNI_MAX_NODES);
        return -1;
    }
    if (lsnni_grow(net->cx, (void **)&net->node, net->nodes, &net->node_room,
                   sizeof *v) != LSNN_OK)
        return -1;
    v = net->node + net->nodes;
    memset(v, 0, sizeof *v);
    v->type = type;
    v->alias = v->dy_alias = v->done_by = v->pooled_to = v->pooled_by = -1;
    v->concat = -1;
    status = lsnni_layer(net, v, x, count, o);
    net->cx->where_ = NULL;
    if (status != LSNN_OK) {
        while (net->params > params) lsnni_free(net->cx, net->param[--net->params].name);
        while (net->buffers > buffers) lsnni_free(net->cx, net->buffer[--net->buffers].name);
        lsnni_free(net->cx, v->name);
        lsnni_free(net->cx, v->share);
        return -1;
    }
    v->plan.o.name = v->plan.o.share = NULL;             /* the caller's strings */
    net->failed = 0;
    return net->nodes++;
}

LSNN_API int lsnn_input(lsnn_net *net, int c, int h, int w)
{
    int node;
    if (!net || net->failed) return -1;
    if (net->nodes) {
        net->failed = !net->built;
        lsnni_fail(net->cx, LSNN_ESTATE,
                   "a net has one input, made first; lsnn_slice parts it");
        return -1;
    }
    net->failed = 1;
    if (lsnni_sizes3(net->cx, "input", c, h, w) != LSNN_OK) return -1;
    if ((double)c * h * w > INT32_MAX / 4) {
        lsnni_fail(net->cx, LSNN_ESHAPE, "an input of %dx%dx%d has over 2^29 numbers", c, h, w);
        return -1;
    }
    net->failed = 0;
    node = lsnn_layer(net, lsnni_type("input"), NULL, 0, NULL);
    if (node < 0) return -1;
    net->node[0].plan.out.c = c;
    net->node[0].plan.out.h = h;
    net->node[0].plan.out.w = w;
    net->node[0].whole = net->node[0].plan.out;
    return node;
}

/* The builders below fill in what their positional arguments say.            */
static lsnn_options lsnni_options(const lsnn_options *o)
{
    lsnn_options copy;
    memset(&copy, 0, sizeof copy);
    return o ? *o : copy;
}

static int lsnni_windowed(lsnn_net *net, const char *type, int x, int filters, int kernel,
                          const lsnn_options *o)
{
    lsnn_options all = lsnni_options(o);
    if (filters) all.filters = filters;
    if (!all.kernel_h) all.kernel_h = kernel;
    if (!all.kernel_w) all.kernel_w = kernel;
    return lsnn_layer(net, lsnni_type(type), &x, 1, &all);
}

LSNN_API int lsnn_conv2d(lsnn_net *net, int x, int filters, int kernel, const lsnn_options *o)
{
    return lsnni_windowed(net, "conv2d", x, filters, kernel, o);
}
LSNN_API int lsnn_conv1d(lsnn_net *net, int x, int filters, int kernel, const lsnn_options *o)
{
    lsnn_options row = lsnni_options(o);
    if (!row.kernel_h) row.kernel_h = 1;
    return lsnni_windowed(net, "conv2d", x, filters, kernel, &row);
}
LSNN_API int lsnn_local2d(lsnn_net *net, int x, int filters, int kernel, const lsnn_options *o)
{
    return lsnni_windowed(net, "local2d", x, filters, kernel, o);
}
LSNN_API int lsnn_dense(lsnn_net *net, int x, int outputs, const lsnn_options *o)
{
    return lsnni_windowed(net, "dense", x, outputs, 0, o);
}
LSNN_API int lsnn_max_pool(lsnn_net *net, int x, int kernel, const lsnn_options *o)
{
    return lsnni_windowed(net, "max_pool", x, 0, kernel, o);
}
LSNN_API int lsnn_avg_pool(lsnn_net *net, int x, int kernel, const lsnn_options *o)
{
    return lsnni_windowed(net, "avg_pool", x, 0, kernel, o);
}
LSNN_API int lsnn_sum_pool(lsnn_net *net, int x, int kernel, const lsnn_options *o)
{
    return lsnni_windowed(net, "sum_pool", x, 0, kernel, o);
}

#define LSNNI_PLAIN(name)                                                     \
    LSNN_API int lsnn_##name(lsnn_net *net, int x, const lsnn_options *o)     \
    {                                                                         \
        return lsnn_layer(net, lsnni_type(#name), &x, 1, o);                  \
    }
LSNNI_PLAIN(relu)
LSNNI_PLAIN(leaky_relu)
LSNNI_PLAIN(sigmoid)
LSNNI_PLAIN(tanh)
LSNNI_PLAIN(softmax)
LSNNI_PLAIN(batch_norm)
LSNNI_PLAIN(scale)
LSNNI_PLAIN(flatten)
LSNNI_PLAIN(cross_entropy)
LSNNI_PLAIN(mse)
#undef LSNNI_PLAIN

LSNN_API int lsnn_dropout(lsnn_net *net, int x, double rate, const lsnn_options *o)
{
    lsnn_options all = lsnni_options(o);
    all.rate = rate;
    return lsnn_layer(net, lsnni_type("dropout"), &x, 1, &all);
}

LSNN_API int lsnn_add(lsnn_net *net, int a, int b, const lsnn_options *o)
{
    int x[2];
    x[0] = a;
    x[1] = b;
    return lsnn_layer(net, lsnni_type("add"), x, 2, o);
}

LSNN_API int lsnn_concat(lsnn_net *net, const int *x, int count, const lsnn_options *o)
{
    return lsnn_layer(net, lsnni_type("concat"), x, count, o);
}

LSNN_API int lsnn_slice(lsnn_net *net, int x, int first, int count, const lsnn_options *o)
{
    lsnn_options all = lsnni_options(o);
    all.first = first;
    all.count = count;
    return lsnn_layer(net, lsnni_type("slice"), &x, 1, &all);
}

LSNN_API int lsnn_smooth(lsnn_net *net, int a, int theta, const lsnn_options *o)
{
    int x[2];
    x[0] = a;
    x[1] = theta;
    return lsnn_layer(net, lsnni_type("smooth"), x, theta == LSNN_FREE ? 1 : 2, o);
}

