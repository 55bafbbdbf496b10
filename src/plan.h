/* ---- >>concats: parts that need not lie side by side ----------------------------------
   A concat that only batch normalisations read, or concats like it, is not made: they read
   its parts one by one, since they go channel by channel anyway. So a densely connected
   block copies nothing.                                                      */
static int lsnni_parts_of(const lsnn_net *net, int i, int *part, int count)
{
    const lsnni_node *v = &net->node[i];
    for (int j = 0; j < v->plan.inputs && count <= LSNN_MAX_INPUTS; j++) {
        int x = v->input[j], whole = net->node[x].type != v->type;
        if (part && !net->node[x].apart) whole = 1;
        if (!whole) count = lsnni_parts_of(net, x, part, count);
        else if (part) part[count++] = x;
        else count++;
    }
    return count;
}

static void lsnni_plan_concats(lsnn_net *net)
{
    const lsnn_layer_type *concat = lsnni_type("concat"), *norm = lsnni_type("batch_norm");
    int part[LSNN_MAX_INPUTS];
    for (int i = net->nodes - 1; i > 0; i--) {
        lsnni_node *v = &net->node[i];
        int readers = 0, others = 0;
        for (int k = i + 1; k < net->nodes && v->type == concat; k++)
            for (int j = 0; j < net->node[k].plan.inputs; j++)
                if (net->node[k].input[j] == i) {
                    readers++;
                    others += net->node[k].type != norm && !net->node[k].apart;
                }
        v->apart = readers && !others && !v->plan.o.keep && i != net->output &&
            lsnni_parts_of(net, i, NULL, 0) <= LSNN_MAX_INPUTS;
    }
    for (int i = 1; i < net->nodes; i++) {
        lsnni_node *v = &net->node[i];
        if (v->type != norm || !net->node[v->input[0]].apart) continue;
        v->concat = v->input[0];
        v->plan.inputs = lsnni_parts_of(net, v->concat, part, 0);
        for (int j = 0; j < v->plan.inputs; j++) {
            v->input[j] = part[j];
            v->plan.in[j] = net->node[part[j]].plan.out;
        }
    }
}

/* ---- >>layout: which arrays are blocks of images -------------------------------------
   Convolutions, locally connected layers, poolings and smoothers run on blocks of images
   (see >>lanes); activations, dropout, batch_norm, scale, add, concat, slice and flatten
   follow what they are given; dense, softmax, losses and, unless they say otherwise, types
   of your own take plain arrays. An output that is wanted both ways exists both ways, and
   so does its gradient: y and dy as its own layer has them, z and dz in the other layout.
   A batch that is not made of whole blocks runs on plain arrays throughout.  */
static int lsnni_wants_lanes(const lsnni_node *v, int input)
{
    return v->lanes && (v->type->lanes == LSNN_LANES_ALL || input == 0);
}

static void lsnni_plan_layout(lsnn_net *net)
{
    net->max_lanes = INT32_MAX;
    for (int i = 0; i < net->nodes; i++) {
        lsnni_node *v = &net->node[i];
        v->lanes = v->type->lanes == LSNN_LANES;
        for (int j = 0; j < v->plan.inputs && v->type->lanes == LSNN_LANES_ALL; j++)
            if (net->node[v->input[j]].lanes) v->lanes = 1;
        for (int j = 0; j < v->plan.inputs; j++) {
            lsnni_node *u = &net->node[v->input[j]];
            if (u->lanes != lsnni_wants_lanes(v, j)) u->both = 1;
        }
        net->max_lanes = LSNNI_MIN(net->max_lanes, INT32_MAX / lsnni_features(v->plan.out));
    }
}

/* The lanes of a batch of n images: 0 for plain arrays.                      */
static int lsnni_lanes_for(const lsnn_work *w, int n)
{
    int lanes = lsnn_lanes(w->cx);
    return lanes > 1 && lanes <= w->net->max_lanes && n % lanes == 0 ? lanes : 0;
}

/* ---- >>memory plan: which array lies where -----------------------------------------
   A life is an array needed from one time to another; from the largest to the smallest,
   each takes the lowest place that is free for its whole life. Forward of node i is at
   time i, its backward at 2 nodes - i. An output lives as long as a consumer, or backward,
   reads it.                                                                  */
typedef struct lsnni_life {
    size_t size, at;
    int from, to, placed;
    struct lsnni_life *next;         /* of those placed, the next higher one  */
} lsnni_life;

static size_t lsnni_place_lives(lsnni_life *life, int count)
{
    lsnni_life *lowest = NULL;
    size_t total = 0;
    for (;;) {
        lsnni_life *a = NULL, **link = &lowest;
        for (int i = 0; i < count; i++)
            if (!life[i].placed && life[i].size > (a ? a->size : 0)) a = &life[i];
        if (!a) return total;
        for (const lsnni_life *b = lowest; b && b->at < a->at + a->size; b = b->next)
            if (b->from <= a->to && a->from <= b->to) a->at = LSNNI_MAX(a->at, b->at + b->size);
        while (*link && (*link)->at < a->at) link = &(*link)->next;
        a->next = *link;
        *link = a;
        a->placed = 1;
        total = LSNNI_MAX(total, a->at + a->size);
    }
}

/* The node whose memory node i's output lies in.                             */
static int lsnni_root(const lsnn_net *net, int i)
{
    while (net->node[i].alias >= 0) i = net->node[i].alias;
    return i;
}

/* The node whose gradient's memory node i's gradient lies in.                */
static int lsnni_dy_root(const lsnn_net *net, int i)
{
    while (net->node[i].dy_alias >= 0) i = net->node[i].dy_alias;
    return i;
}

/* When node i's output is needed last: read forward by its consumers, backward by them
   or by itself.                                                              */
static int lsnni_needed(const lsnn_net *net, int i, int train)
{
    const lsnni_node *v = &net->node[i];
    int nodes = net->nodes, last = LSNNI_MAX(v->last_consumer, i);
    if (v->readable) return 2 * nodes + 1;
    if (!train) return last;
    if (v->done_by < 0 && (!v->type->output_free ||      /* or it does a relu's backward */
                           (v->with_relu && v->type == lsnni_type("batch_norm"))))
        last = 2 * nodes - i;
    for (int k = v->last_consumer; k > i; k--)
        for (int j = 0; j < net->node[k].plan.inputs; j++)
            if (net->node[k].input[j] == i && net->node[k].live &&
                net->node[k].type->in_place != 1 &&
                !net->node[k].type->input_free)
                last = LSNNI_MAX(last, 2 * nodes - k);
    return last;
}

/* Lives in groups of one a node: y, z, dy, dz, keep. Nodes that work in place have no
   y and dy.                                                                  */
static void lsnni_plan_lives(const lsnn_net *net, lsnni_life *life, int batch, int train)
{
    int nodes = net->nodes;
    for (int i = 0; i < nodes; i++) {
        const lsnni_node *v = &net->node[i];
        int root = lsnni_root(net, i), dy_root = lsnni_dy_root(net, i);
        int begin = 2 * nodes - LSNNI_MAX(v->last_consumer, i), end = 2 * nodes - i;
        lsnni_life *y = &life[root], *dy = &life[2 * nodes + dy_root], *z = &life[nodes + i];
        lsnni_life *dz = &life[3 * nodes + i];
        size_t size = (size_t)lsnni_features(v->plan.out) * (size_t)batch;
        int grad = train && v->live && v->needs_grad && !v->type->is_loss;
        size = (size + 15) / 16 * 16;                    /* whole vectors     */
        if (root == i) {
            y->size = i && v->live && v->pooled_to < 0 ? size : 0;   /* 0: the caller's */
            y->from = v->pooled_by >= 0 ? v->pooled_by : i;
        }
        y->to = LSNNI_MAX(y->to, lsnni_needed(net, i, train));
        if (dy_root == i) {
            dy->from = begin;
            dy->to = end;
        }
        if (grad) dy->size = size;
        dy->from = LSNNI_MIN(dy->from, begin);
        if (v->plan.o.keep) dy->to = 2 * nodes + 1;
        if (!v->both || !v->live) continue;
        z->size = size;
        z->from = i;
        z->to = lsnni_needed(net, i, train);
        dz->size = grad ? size : 0;
        dz->from = begin;
        dz->to = end;
    }
}

/* ---- >>use: what each node is for ----------------------------------------------------
   readable, on_path and live from the end backward, consumers and needs_grad forward; then
   who can work in place: a single reader of an array that nobody wants to see again, whose
   maker does not need it either. A kept node's gradient would be overwritten too. */
static void lsnni_plan_graph(lsnn_net *net, int train)
{
    for (int i = 0; i < net->nodes; i++) {
        lsnni_node *v = &net->node[i];
        if (v->plan.o.keep || i == net->output || v->type->is_loss) v->readable = 1;
        for (int j = 0; j < v->plan.inputs && v->type->is_loss; j++)
            net->node[v->input[j]].readable = 1;
        if (i == net->output) v->on_path = 1;
    }
    for (int i = net->nodes - 1; i >= 0; i--) {
        lsnni_node *v = &net->node[i];
        if (v->readable) v->live = 1;
        for (int j = 0; j < v->plan.inputs; j++) {
            if (v->on_path) net->node[v->input[j]].on_path = 1;
            if (v->live) net->node[v->input[j]].live = 1;
        }
    }
    for (int i = 0; i < net->nodes; i++) {
        lsnni_node *v = &net->node[i];
        for (int j = 0; j < v->plan.params; j++)
            if (net->param[v->param[j]].lr_factor > 0) v->needs_grad = 1;
        for (int j = 0; j < v->plan.inputs && v->live; j++) {
            lsnni_node *u = &net->node[v->input[j]];
            u->consumers++;
            u->last_consumer = i;
            if (u->needs_grad) v->needs_grad = 1;
        }
    }
    for (int i = 1; i < net->nodes; i++) {
        lsnni_node *v = &net->node[i];
        int x = v->plan.inputs == 1 || v->type->in_place == 2 ? v->input[0] : 0;
        const lsnni_node *u = &net->node[x];
        if (!v->live || !v->type->in_place || x < 1 || u->consumers != 1 || u->both ||
            u->readable || lsnni_features(u->plan.out) != lsnni_features(v->plan.out)) continue;
        if (v->type->in_place == 1 && (!train || (u->type->output_free && !v->plan.o.keep)))
            v->alias = v->dy_alias = x;
        if (v->type->in_place == 2 && !v->plan.o.keep) v->dy_alias = x;
    }
}

/* Pixels that no window of a pooling reads are not computed: of maps of 15 x 15 under
   windows of 2 x 2 the last row and column, an eighth of the convolution's work.
   Between the two may be relus.                                              */
static lsnn_status lsnni_plan_crop(lsnn_net *net)
{
    for (int k = 1; k < net->nodes; k++) {
        lsnn_layer_plan *p = &net->node[k].plan, crop = *p;
        int i = net->node[k].input[0];
        lsnn_window s, cropped;
        if (!net->node[k].live || (net->node[k].type->plan != lsnni_plan_pool &&
                                   net->node[k].type->plan != lsnni_plan_max_pool)) continue;
        LSNNI_TRY(lsnni_window_of(net->cx, &s, p, 1, p->in[0].c));
        crop.in[0].h = (s.oh - 1) * s.stride_h + s.kernel_h - s.pad_top;
        crop.in[0].w = (s.ow - 1) * s.stride_w + s.kernel_w - s.pad_left;
        crop.in[0].h = LSNNI_MAX(1, LSNNI_MIN(s.h, crop.in[0].h));
        crop.in[0].w = LSNNI_MAX(1, LSNNI_MIN(s.w, crop.in[0].w));
        LSNNI_TRY(lsnni_window_of(net->cx, &cropped, &crop, 1, p->in[0].c));
        if (cropped.oh != s.oh || cropped.ow != s.ow || cropped.pad_top != s.pad_top ||
            cropped.pad_left != s.pad_left) continue;
        while (net->node[i].type == lsnni_type("relu") && net->node[i].consumers == 1 &&
               !net->node[i].readable) i = net->node[i].input[0];
        if (net->node[i].type != lsnni_type("conv2d") || net->node[i].consumers != 1 ||
            net->node[i].readable) continue;
        p->in[0] = crop.in[0];
        for (int j = net->node[k].input[0]; j >= i; j = j > i ? net->node[j].input[0] : -1) {
            net->node[j].plan.out = crop.in[0];
            if (j > i) net->node[j].plan.in[0] = crop.in[0];
        }
    }
    return LSNN_OK;
}

/* ---- >>fusion: what a neighbour does on the way --------------------------------------
   A relu in place is left out where a neighbour can do it on the way. max(relu(x)) =
   relu(max(x)), so a max pooling that alone reads it applies it to the few numbers that it
   keeps. Else the batch normalisation before it does, while a channel is in cache. */
static void lsnni_fuse(lsnn_net *net, int relu, int by)
{
    lsnni_node *v = &net->node[relu], *w = &net->node[by];
    if (v->type != lsnni_type("relu") || v->alias < 0 || v->done_by >= 0 ||
        v->lanes != w->lanes || !v->live || !w->live) return;
    v->done_by = by;
    w->with_relu = 1;
}

/* A max pooling of 2 x 2 goes with the convolution that it alone reads, perhaps through a
   relu: the convolution's own output is never written.                       */
static void lsnni_plan_pooled(lsnn_net *net, int k)
{
    lsnni_node *w = &net->node[k], *v = &net->node[w->input[0]];
    const lsnn_options *o = &v->plan.o;
    lsnn_window s;
    if (v->done_by == k) v = &net->node[v->input[0]];
    if (!w->live || w->type != lsnni_type("max_pool") || v->type != lsnni_type("conv2d") ||
        v->consumers != 1 || v->readable || v->lanes != w->lanes || v->both ||
        o->kernel_h * o->kernel_w == 1 ||                /* a matrix product  */
        lsnni_window_of(net->cx, &s, &w->plan, 1, w->plan.in[0].c) != LSNN_OK ||
        !lsnni_pool_halves(&s) || s.h != 2 * s.oh || s.w != 2 * s.ow) return;
    v->pooled_to = k;
    w->pooled_by = (int)(v - net->node);
}

static void lsnni_plan_fusion(lsnn_net *net)
{
    for (int i = 1; i < net->nodes; i++) {
        int x = net->node[i].input[0];
        if (net->node[i].type == lsnni_type("max_pool") && net->node[x].consumers == 1 &&
            !net->node[x].readable) lsnni_fuse(net, x, i);
    }
    for (int i = 1; i < net->nodes; i++) {
        int x = net->node[i].input[0];
        if (net->node[x].type == lsnni_type("batch_norm")) lsnni_fuse(net, i, x);
    }
    for (int k = 1; k < net->nodes; k++) lsnni_plan_pooled(net, k);
}

LSNN_API void lsnn_work_free(lsnn_work *w)
{
    if (!w) return;
    lsnni_free(w->cx, w->y);
    lsnni_free(w->cx, w->block);
    lsnni_free(w->cx, w);
}

/* Only to predict: as many images at once as let the arrays that one layer reads and writes
   stay in a last-level cache, but a block at least. Else a whole batch, since its outputs
   are to be read by name.                                                    */
static int lsnni_plan_chunk(const lsnn_work *w)
{
    const double cache = 1 << 24;
    double most = 1, numbers;
    int chunk, lanes = lsnn_lanes(w->cx);
    if (w->train) return w->batch;
    for (int i = 1; i < w->net->nodes; i++) {
        const lsnn_layer_plan *p = &w->net->node[i].plan;
        numbers = lsnni_features(p->out);
        for (int j = 0; j < p->inputs; j++) numbers += lsnni_features(p->in[j]);
        if (numbers > most) most = numbers;
    }
    chunk = (int)LSNNI_MIN(cache / (most * sizeof(lsnn_real)), w->batch);
    return LSNNI_MIN(w->batch, LSNNI_MAX(chunk / lanes, 1) * lanes);
}

static lsnn_status lsnni_work_fill(lsnn_work *w, lsnni_life *life)
{
    const lsnn_net *net = w->net;
    int nodes = net->nodes;
    size_t total;
    w->y = (lsnn_real **)lsnni_alloc(w->cx, (size_t)nodes * 6, sizeof *w->y);
    if (!w->y) return LSNN_ENOMEM;
    w->z = w->y + nodes;
    w->dy = w->z + nodes;
    w->dz = w->dy + nodes;
    w->keep = w->dz + nodes;
    w->written = (char *)(w->keep + nodes);
    w->written_z = w->written + nodes;
    w->ran = w->written_z + nodes;
    for (int i = 0; i < nodes; i++)
        if ((double)lsnni_features(net->node[i].plan.out) * w->batch > INT_MAX * 64.0)
            return lsnni_fail(w->cx, LSNN_ESHAPE,
                              "batches of %d images are too large for layer "
                              "'%.60s'", w->batch, net->node[i].name);
    w->chunk = lsnni_plan_chunk(w);
    lsnni_plan_lives(net, life, w->batch, w->train);
    total = lsnni_place_lives(life, 4 * nodes);
    for (int i = 0; i < nodes; i++) {
        const lsnn_layer_plan *p = &net->node[i].plan;
        life[4 * nodes + i].at = total;
        if (net->node[i].live)
            total += (p->keep_fixed + p->keep_per_image * (size_t)w->batch + 15) / 16 * 16;
    }
    w->block = (lsnn_real *)lsnni_alloc(w->cx, total + 1, sizeof *w->block);
    if (!w->block) return LSNN_ENOMEM;
    for (int i = 0; i < nodes; i++) {
        const lsnni_life *own = life + i, *dy = life + 2 * nodes + lsnni_dy_root(net, i);
        w->y[i] = w->block + life[lsnni_root(net, i)].at;
        w->z[i] = w->block + own[nodes].at;
        w->dy[i] = dy->size ? w->block + dy->at : NULL;
        w->dz[i] = own[3 * nodes].size ? w->block + own[3 * nodes].at : NULL;
        w->keep[i] = w->block + own[4 * nodes].at;
    }
    return LSNN_OK;
}

static lsnn_work *lsnni_work_make(lsnn_ctx *cx, const lsnn_net *net, int batch, int train)
{
    lsnn_work *w = (lsnn_work *)lsnni_alloc(cx, 1, sizeof *w);
    lsnni_life *life;
    lsnn_status s;
    if (!w) return NULL;
    w->cx = cx;
    w->net = net;
    w->batch = batch;
    w->train = train;
    life = (lsnni_life *)lsnni_alloc(cx, 5 * (size_t)net->nodes, sizeof *life);
    s = life ? lsnni_work_fill(w, life) : LSNN_ENOMEM;
    lsnni_free(cx, life);
    if (s == LSNN_OK) return w;
    lsnn_work_free(w);
    return NULL;
}

