/* ============================================================================
   >>plan  what lsnn_net_build finds out about a net, and the schedule that comes of it
   Each chapter fills in a part of the nodes' roles (lsnni_role) from what the layers' types
   say of themselves (their traits): which joins are not made (>>parts), which arrays are
   blocks of images (>>layout), who needs what (>>use), who works in place (>>in place),
   which pixels nobody reads (>>crop), what a neighbour does on the way (>>fusion). Then each
   workspace gets its memory (>>memory plan), and a list of calls for each layout
   (>>schedule), which running only walks.
   ==========================================================================*/

/* Of the node's plan, not of its type: a plan may take traits back that these sizes have not. */
static int lsnni_has(const lsnni_node *v, int trait) { return (v->plan.traits & trait) != 0; }

/* ---- >>parts: joins that need not be made ----------------------------------------------
   A concat that only batch normalisations read, or concats like it, is not made: they read
   its parts one by one, since they go channel by channel anyway. So a densely connected
   block copies nothing, where making each concat would copy all layers before it.
   parts_of lists the parts of node i, those of its own unmade parts among them, and returns
   how many; part NULL: only counts, and takes every join among its inputs for unmade. */
static int lsnni_parts_of(const lsnn_net *net, int i, int *part, int count)
{
    const lsnni_node *v = &net->node[i];
    for (int j = 0; j < v->plan.inputs && count <= LSNN_MAX_INPUTS; j++) {
        const int x = v->input[j];
        const int unmade = lsnni_has(&net->node[x], LSNN_JOINS) &&
            (!part || net->node[x].role.apart);
        if (unmade) count = lsnni_parts_of(net, x, part, count);
        else if (part) part[count++] = x;
        else count++;
    }
    return count;
}

/* 1 if all who read node i can read its parts, and somebody does.             */
static int lsnni_read_in_parts(const lsnn_net *net, int i)
{
    int readers = 0;
    for (int k = i + 1; k < net->nodes; k++)
        for (int j = 0; j < net->node[k].plan.inputs; j++)
            if (net->node[k].input[j] == i) {
                readers++;
                if (!lsnni_has(&net->node[k], LSNN_READS_PARTS) && !net->node[k].role.apart)
                    return 0;
            }
    return readers > 0;
}

/* Not where somebody asks for the whole array by name (keep, the net's output), nor on a
   device. Backward over the nodes, since a join that joins read depends on what became of
   them. A join that is apart has no readers left, so nothing below finds it alive and nobody
   makes it.                                                                  */
static void lsnni_plan_parts(lsnn_net *net)
{
    int part[LSNN_MAX_INPUTS];
    for (int i = net->nodes - 1; i > 0; i--) {           /* a join's readers before it */
        lsnni_node *v = &net->node[i];
        v->role.apart = !net->device && lsnni_has(v, LSNN_JOINS) && !v->plan.o.keep &&
            i != net->output &&
            lsnni_read_in_parts(net, i) && lsnni_parts_of(net, i, NULL, 0) <= LSNN_MAX_INPUTS;
    }
    for (int i = 1; i < net->nodes; i++) {
        lsnni_node *v = &net->node[i];
        if (!lsnni_has(v, LSNN_READS_PARTS) || !net->node[v->input[0]].role.apart) continue;
        v->joined = v->input[0];                         /* what the file says it reads */
        v->plan.inputs = lsnni_parts_of(net, v->joined, part, 0);
        for (int j = 0; j < v->plan.inputs; j++) {
            v->input[j] = part[j];
            v->plan.in[j] = net->node[part[j]].plan.out;
        }
    }
}

/* ---- >>layout: which arrays are blocks of images ---------------------------------------
   Convolutions, locally connected layers, poolings and smoothers run on blocks of images
   (LSNN_BLOCKS, see >>lanes); what works number by number or channel by channel follows
   what it is given (LSNN_BLOCKS_ALL); dense, softmax, losses and, unless they say otherwise,
   types of your own take plain arrays. An output that is wanted both ways exists both ways,
   and so does its gradient: y and dy as its own layer has them, z and dz in the other layout.
   This is decided once. A batch that is not made of whole blocks runs on plain arrays
   throughout, so each workspace has two schedules. On a device all arrays are plain. */
/* Of other inputs (a smoother's theta) LSNN_BLOCKS takes plain numbers.      */
static int lsnni_wants_blocks(const lsnni_node *v, int input)
{
    return v->role.blocks && (lsnni_has(v, LSNN_BLOCKS_ALL) || input == 0);
}

/* Forward over the nodes: who follows its inputs must know theirs. Turning costs a pass over
   an array and one over its gradient; along rows a convolution takes up to twice as long. */
static void lsnni_plan_layout(lsnn_net *net)
{
    net->max_lanes = INT32_MAX;
    for (int i = 0; i < net->nodes && !net->device; i++) {
        lsnni_node *v = &net->node[i];
        v->role.blocks = lsnni_has(v, LSNN_BLOCKS);
        for (int j = 0; j < v->plan.inputs && lsnni_has(v, LSNN_BLOCKS_ALL); j++)
            if (net->node[v->input[j]].role.blocks) v->role.blocks = 1;
        for (int j = 0; j < v->plan.inputs; j++) {
            lsnni_role *u = &net->node[v->input[j]].role;
            if (u->blocks != lsnni_wants_blocks(v, j)) u->both = 1;
        }
        /* places within a block are 32-bit numbers */
        net->max_lanes = LSNNI_MIN(net->max_lanes, INT32_MAX / lsnni_features(v->plan.out));
    }
}

/* The lanes of a batch of n images: 0 for plain arrays. n = 0 asks what a batch of whole
   blocks would have.                                                         */
static int lsnni_lanes_for(const lsnn_work *w, int n)
{
    int lanes = w->net->device ? 1 : lsnn_lanes(w->cx);
    return lanes > 1 && lanes <= w->net->max_lanes && n % lanes == 0 ? lanes : 0;
}

/* ---- >>use: who needs what ---------------------------------------------------------------
   From the end backward: an output that can be read (readable) needs what it depends on
   (live), and so does the net's own output (on_path: all that a prediction runs). From the
   beginning forward: who reads whom, and which nodes a gradient must reach: those that have,
   or depend on, a parameter that learns. What is above all parameters needs none. */
/* Frozen layers at a net's beginning cost no backward at all by this rule, and layers behind
   the last loss no forward in training unless somebody wants their numbers.  */
static void lsnni_plan_use(lsnn_net *net)
{
    for (int i = 0; i < net->nodes; i++) {
        lsnni_node *v = &net->node[i];
        int loss = lsnni_has(v, LSNN_IS_LOSS);
        if (v->plan.o.keep || i == net->output || loss) v->role.readable = 1;
        for (int j = 0; j < v->plan.inputs && loss; j++)
            net->node[v->input[j]].role.readable = 1;
        v->role.on_path = i == net->output;
    }
    for (int i = net->nodes - 1; i >= 0; i--) {
        lsnni_node *v = &net->node[i];
        v->role.live |= v->role.readable;
        for (int j = 0; j < v->plan.inputs; j++) {
            net->node[v->input[j]].role.on_path |= v->role.on_path;
            net->node[v->input[j]].role.live |= v->role.live;
        }
    }
    for (int i = 0; i < net->nodes; i++) {
        lsnni_node *v = &net->node[i];
        v->role.last_reader = i;                         /* until somebody reads it */
        for (int j = 0; j < v->plan.params; j++)
            if (net->param[v->param[j]].lr_factor > 0) v->role.needs_grad = 1;
        for (int j = 0; j < v->plan.inputs && v->role.live; j++) {
            lsnni_role *u = &net->node[v->input[j]].role;
            u->readers++;
            u->last_reader = i;
            v->role.needs_grad |= u->needs_grad;
        }
    }
}

/* Nobody but its one reader sees node i's output: it may be changed on the way. The input is
   nobody's to change: it is the caller's. Who reads it twice is two readers. */
static int lsnni_private(const lsnn_net *net, int i)
{
    return i > 0 && net->node[i].role.readers == 1 && !net->node[i].role.readable;
}

/* ---- >>in place: outputs that take their input's place -----------------------------------
   A layer may write over its input if that is private, of the same size and layout, and its
   maker's backward does not need it any more. Their gradients share a place likewise, and a
   kept gradient may not be overwritten.                                      */
/* May node v write over its input, which node u made in the place of `owner`? To predict,
   nothing is needed twice. To train, u's backward must not read y (LSNN_Y_FREE), and v not be
   kept, since u's gradient takes the place of its. Memory that is a layer's own (LSNN_Y_STAYS)
   lets only a relu in, which that layer expects to find there.               */
static int lsnni_may_replace(const lsnni_node *v, const lsnni_node *u, const lsnni_node *owner,
                             int train)
{
    if (lsnni_has(owner, LSNN_Y_STAYS)) return lsnni_has(v, LSNN_IS_RELU) && !v->plan.o.keep;
    return !train || (lsnni_has(u, LSNN_Y_FREE) && !v->plan.o.keep);
}

/* Forward over the nodes, so that y_at and dy_at of an input are final: they name the node
   that owns the place, never a link of a chain. Not if u is there in both layouts: its one
   reader takes z then, and y_at speaks of y.                                 */
static void lsnni_plan_in_place(lsnn_net *net, int train)
{
    for (int i = 0; i < net->nodes; i++) {
        lsnni_node *v = &net->node[i];
        int x = i > 0 ? v->input[0] : 0, kept = v->plan.o.keep;
        const lsnni_node *u = &net->node[x];
        v->role.y_at = v->role.dy_at = i;
        if (!v->role.live || !lsnni_private(net, x) || u->role.both ||
            lsnni_features(u->plan.out) != lsnni_features(v->plan.out)) continue;
        if (lsnni_has(v, LSNN_IN_PLACE) && v->plan.inputs == 1 &&
            lsnni_may_replace(v, u, &net->node[u->role.y_at], train)) {
            v->role.y_at = u->role.y_at;
            v->role.dy_at = u->role.dy_at;
        }
        if (lsnni_has(v, LSNN_DX_IN_PLACE) && !kept) v->role.dy_at = u->role.dy_at;
    }
}

/* ---- >>crop: pixels that nobody reads are not computed -------------------------------------
   Of maps of 15 x 15 under windows of 2 x 2 the last row and column are left out, an eighth
   of the convolution's work. Between the two may be relus.                   */
/* All on the way must be private: another reader, or a caller by name, has a right to all
   pixels.                                                                    */
static void lsnni_plan_crop(lsnn_net *net)
{
    for (int k = 1; k < net->nodes; k++) {
        lsnn_layer_plan *p = &net->node[k].plan;
        lsnn_shape read = p->in[0];
        int x = net->node[k].input[0], maker = x;
        if (!net->node[k].role.live || !p->reads_h) continue;
        read.h = p->reads_h;
        read.w = p->reads_w;
        while (lsnni_has(&net->node[maker], LSNN_IS_RELU) && lsnni_private(net, maker))
            maker = net->node[maker].input[0];
        if (!lsnni_has(&net->node[maker], LSNN_CROPS) || !lsnni_private(net, maker)) continue;
        p->in[0] = read;
        for (; x > maker; x = net->node[x].input[0])
            net->node[x].plan.out = net->node[x].plan.in[0] = read;
        net->node[maker].plan.out = read;
    }
}

/* ---- >>fusion: what a neighbour does on the way --------------------------------------------
   A relu in place is left out where a neighbour can do it while the numbers are at hand.
   max(relu(x)) = relu(max(x)), so a max pooling that alone reads it applies it to the few
   numbers that it keeps; else the batch normalisation before it does, while a channel is in
   the cache. The neighbour does its backward, too.                           */
/* Only a relu in place: then there is one array, whoever works on it; and in one layout, since
   a call has one.                                                            */
static void lsnni_fuse_relu(lsnn_net *net, int relu, int by)
{
    lsnni_role *v = &net->node[relu].role, *w = &net->node[by].role;
    if (!lsnni_has(&net->node[relu], LSNN_IS_RELU) || v->y_at == relu ||
        v->forward_by != relu || v->blocks != w->blocks || !v->live || !w->live) return;
    v->forward_by = v->backward_by = by;
    w->does |= LSNN_DO_RELU;
}

/* A max pooling of 2 x 2 goes with the convolution that it alone reads, perhaps through a relu
   that it does already: the convolution's own output is never written. Backward, both do their
   own. Only if pooling halves the maps exactly: the convolution pools rows by twos as it makes
   them (>>lanes, >>convolve), and an odd last row would be nobody's. Backward has where the
   maxima were from the pooling's keep, which the convolution's call is given in its stead. */
static void lsnni_fuse_max2(lsnn_net *net, int k)
{
    const lsnn_layer_plan *p = &net->node[k].plan;
    int x = net->node[k].input[0];
    lsnni_role *v, *w = &net->node[k].role;
    if (x > 0 && net->node[x].role.forward_by == k) x = net->node[x].input[0];
    v = &net->node[x].role;
    if (!w->live || !lsnni_has(&net->node[k], LSNN_IS_MAX2) ||
        !lsnni_has(&net->node[x], LSNN_MAX2_AFTER) || !lsnni_private(net, x) ||
        v->blocks != w->blocks || v->both ||
        p->in[0].h != 2 * p->out.h || p->in[0].w != 2 * p->out.w) return;
    v->writes = k;
    v->does = LSNN_DO_MAX2 | w->does;
    w->forward_by = x;
}

/* A pooling has the first claim on a relu: it keeps fewer numbers than there are before it. */
static void lsnni_plan_fusion(lsnn_net *net)
{
    for (int i = 0; i < net->nodes; i++) {
        lsnni_role *v = &net->node[i].role;
        v->forward_by = v->backward_by = v->writes = i;
    }
    if (net->device) return;                             /* its kernels do their own */
    for (int i = 1; i < net->nodes; i++) {
        int x = net->node[i].input[0];
        if (lsnni_has(&net->node[i], LSNN_RELU_BEFORE) && lsnni_private(net, x))
            lsnni_fuse_relu(net, x, i);
    }
    for (int i = 1; i < net->nodes; i++) {
        int x = net->node[i].input[0];
        if (lsnni_has(&net->node[x], LSNN_RELU_AFTER)) lsnni_fuse_relu(net, i, x);
    }
    for (int k = 1; k < net->nodes; k++) lsnni_fuse_max2(net, k);
}

/* ---- >>memory plan: which array lies where ------------------------------------------------
   A life is an array needed from one time to another; from the largest to the smallest,
   each takes the lowest place that is free for its whole life. Forward of node i is at
   time i, its backward at 2 nodes - i. An output lives as long as a reader, or backward,
   needs it.                                                                  */
typedef struct lsnni_life {
    size_t size, at;
    int from, to, placed;
    struct lsnni_life *next;         /* of those placed, the next higher one  */
} lsnni_life;

/* The least memory is a hard problem (Garey and Johnson 1979, SR2: NP-complete); the largest
   first comes near it, as large arrays decide and small ones fill the gaps. n^2 for n arrays,
   once. `lowest` lists those placed by rising places: a's own place only rises while it walks,
   so the first that begins behind a's end ends the walk. Lives of size 0 take no place and
   keep at = 0.                                                               */
static size_t lsnni_place_lives(lsnni_life *life, int count)
{
    lsnni_life *lowest = NULL;
    size_t total = 0;
    for (;;) {
        lsnni_life *a = NULL, **link = &lowest;
        for (int i = 0; i < count; i++)
            if (!life[i].placed && life[i].size > (a ? a->size : 0)) a = &life[i];
        if (!a) return total;
        for (const lsnni_life *b = lowest; b && b->at < lsnni_plus(a->at, a->size); b = b->next)
            if (b->from <= a->to && a->from <= b->to)
                a->at = LSNNI_MAX(a->at, lsnni_plus(b->at, b->size));
        while (*link && (*link)->at < a->at) link = &(*link)->next;
        a->next = *link;
        *link = a;
        a->placed = 1;
        total = LSNNI_MAX(total, lsnni_plus(a->at, a->size));
    }
}

/* 1 if node k's backward reads its input. Not if it says so (LSNN_X_FREE), or works in place,
   and then x is gone.                                                        */
static int lsnni_backward_reads_x(const lsnni_node *v)
{
    return v->role.live && !lsnni_has(v, LSNN_IN_PLACE) && !lsnni_has(v, LSNN_X_FREE);
}

/* 1 if node i's own backward reads its output: for itself, or for a relu that it does. */
static int lsnni_backward_reads_y(const lsnni_node *v, int i)
{
    int relu = (v->role.does & LSNN_DO_RELU) && lsnni_has(v, LSNN_RELU_AFTER);
    return v->role.backward_by == i && (!lsnni_has(v, LSNN_Y_FREE) || relu);
}

/* When node i's output is needed last.                                        */
static int lsnni_needed(const lsnn_net *net, int i, int train)
{
    const lsnni_node *v = &net->node[i];
    int nodes = net->nodes, last = v->role.last_reader;
    if (v->role.readable) return 2 * nodes + 1;
    if (!train) return last;
    if (lsnni_backward_reads_y(v, i)) last = 2 * nodes - i;
    for (int k = v->role.last_reader; k > i; k--)
        for (int j = 0; j < net->node[k].plan.inputs; j++)
            if (net->node[k].input[j] == i && lsnni_backward_reads_x(&net->node[k]))
                last = LSNNI_MAX(last, 2 * nodes - k);
    return last;
}

/* Lives in groups of one a node: y, z, dy, dz, keep. A node that works in place has no y or dy
   of its own: it lengthens the life of that whose place it takes. 2 nodes + 1 is after all:
   what may be read by name between steps. Of what must not overlap, the times decide alone; so
   a place shared wrongly is a wrong time here.                               */
static void lsnni_plan_lives(const lsnn_net *net, lsnni_life *life, int batch, int train)
{
    int nodes = net->nodes;
    for (int i = 0; i < nodes; i++) {
        const lsnni_node *v = &net->node[i];
        const lsnni_role *r = &v->role;
        lsnni_life *y = &life[r->y_at], *z = &life[nodes + i];
        lsnni_life *dy = &life[2 * nodes + r->dy_at], *dz = &life[3 * nodes + i];
        int begin = 2 * nodes - r->last_reader, end = 2 * nodes - i;     /* of dy */
        int needed = lsnni_needed(net, i, train);
        int grad = train && r->live && r->needs_grad && !lsnni_has(v, LSNN_IS_LOSS);
        size_t numbers = lsnni_times((size_t)lsnni_features(v->plan.out), (size_t)batch);
        size_t size = lsnni_whole_vectors(numbers);
        if (r->y_at == i) {                              /* node 0's: the caller's */
            y->size = i > 0 && r->live && r->writes == i ? size : 0;
            y->from = r->forward_by;
        }
        y->to = LSNNI_MAX(y->to, needed);
        if (r->y_at == i && lsnni_has(v, LSNN_Y_STAYS)) {
            y->from = 0;
            y->to = 2 * nodes + 1;
        }
        if (r->dy_at == i) {
            dy->from = begin;
            dy->to = end;
        }
        if (grad) dy->size = size;
        dy->from = LSNNI_MIN(dy->from, begin);
        if (v->plan.o.keep) dy->to = 2 * nodes + 1;
        if (!r->both || !r->live) continue;
        z->size = size;
        z->from = i;
        z->to = needed;
        dz->size = grad ? size : 0;
        dz->from = begin;
        dz->to = end;
    }
}

/* Only to predict: as many images at once as let the arrays that one layer reads and writes
   stay in a last-level cache, but a block at least. Else a whole batch, since its outputs are
   to be read by name. 16 MiB: a guess at one's share that is right within a factor of two or
   so; only speed hangs on it.                                                */
static int lsnni_plan_chunk(const lsnn_work *w)
{
    const double cache = 1 << 24;
    double most = 1, numbers;
    int chunk, lanes = lsnn_lanes(w->cx);
    if (w->train || w->net->device) return w->batch;
    for (int i = 1; i < w->net->nodes; i++) {
        const lsnn_layer_plan *p = &w->net->node[i].plan;
        numbers = lsnni_features(p->out);
        for (int j = 0; j < p->inputs; j++) numbers += lsnni_features(p->in[j]);
        if (numbers > most) most = numbers;
    }
    chunk = (int)LSNNI_MIN(cache / (most * sizeof(lsnn_real)), w->batch);
    return LSNNI_MIN(w->batch, LSNNI_MAX(chunk / lanes, 1) * lanes);
}

/* ---- >>schedule: the calls of a step --------------------------------------------------------
   Which layer is called when, on which arrays, and where an array goes from one layout to
   the other in between: the same for every batch of a layout, so it is written down once.
   Forward: the live nodes in order, but for those whose work a neighbour does. Backward: in
   reverse, those that a gradient reaches; the first to write a gradient sets it, the others
   add. `steps` NULL: only counts.                                            */
/* All but what a batch brings (n, labels, draws, the caller's images) is filled in: running
   copies the call and adds that. `writes` may be a pooling's node, whose place and keep are
   then written. frozen is asked of the owner: who shares a frozen layer's parameters is frozen
   with it.                                                                   */
static void lsnni_schedule_call(lsnn_work *w, lsnni_step *s, int i, int lanes)
{
    const lsnn_net *net = w->net;
    const lsnni_node *v = &net->node[i];
    lsnn_call *c = &s->call;
    s->node = i;
    c->plan = &v->plan;
    c->lanes = v->role.blocks ? lanes : 0;
    c->does = v->role.does;
    for (int j = 0; j < v->plan.inputs; j++) {
        int x = v->input[j], other = lanes &&
            net->node[x].role.blocks != lsnni_wants_blocks(v, j);
        c->x[j] = other ? w->z[x] : x == 0 ? NULL : w->y[x];
    }
    c->y = w->y[v->role.writes];
    c->keep = w->keep[v->role.writes];
    c->kept = &w->kept[i];
    for (int j = 0; j < v->plan.params; j++)
        c->param[j] = net->run_value + net->param[v->param[j]].at;
    for (int j = 0; j < v->plan.buffers; j++)
        c->buffer[j] = net->run_state + net->buffer[v->buffer[j]].at;
    c->frozen = (v->plan.params ? &net->node[net->param[v->param[0]].owner] : v)->plan.o.freeze;
    lsnni_device_call(net, c, i);
}

/* Node i's output from its own layout to the other. As soon as y is there, so that it is read
   while a cache has it.                                                      */
static void lsnni_schedule_turn(lsnn_work *w, lsnni_step *s, int i)
{
    s->node = i;
    s->turns = 1;
    s->to = w->z[i];
    s->from = i ? w->y[i] : NULL;
    s->back = w->net->node[i].role.blocks;
}

/* Counting and filling in are one function, called twice, or the two might disagree. */
static int lsnni_schedule_forward(lsnn_work *w, lsnni_step *steps, int lanes)
{
    int count = 0;
    for (int i = 0; i < w->net->nodes; i++) {
        const lsnni_role *r = &w->net->node[i].role;
        if (!r->live) continue;
        if (i > 0 && r->forward_by == i) {
            if (steps) lsnni_schedule_call(w, &steps[count], i, lanes);
            count++;
        }
        if (lanes && r->both) {
            if (steps) lsnni_schedule_turn(w, &steps[count], i);
            count++;
        }
    }
    return count;
}

/* The gradients that node i's backward writes: dy of its inputs, or dz where it reads them in
   the other layout. has and has_z say which already hold something.          */
static void lsnni_schedule_dx(lsnn_work *w, lsnn_call *c, int i, int lanes, char *has,
                              char *has_z)
{
    const lsnn_net *net = w->net;
    const lsnni_node *v = &net->node[i];
    for (int j = 0; j < v->plan.inputs; j++) {
        int x = v->input[j], other;
        char *held;
        /* dx stays NULL: no parameter above learns, so that half of the layer's work is not
           done.                                                              */
        if (!net->node[x].role.needs_grad) continue;
        other = lanes && net->node[x].role.blocks != lsnni_wants_blocks(v, j);
        held = other ? &has_z[x] : &has[x];
        if (c) c->dx[j] = other ? w->dz[x] : w->dy[x];
        if (c) c->add[j] = *held ? LSNN_ADD : LSNN_SET;
        *held = 1;
    }
    for (int j = 0; j < v->plan.params && c; j++)
        if (net->param[v->param[j]].lr_factor > 0)
            c->dparam[j] = net->run_grad + net->param[v->param[j]].at;
}

/* has: nodes chars, which end as 1 where a gradient arrives; has_z: as many, scratch. */
static int lsnni_schedule_backward(lsnn_work *w, lsnni_step *steps, int lanes, char *has,
                                   char *has_z)
{
    const lsnn_net *net = w->net;
    int count = 0;
    memset(has, 0, (size_t)net->nodes);
    memset(has_z, 0, (size_t)net->nodes);
    for (int i = net->nodes - 1; i > 0; i--) {
        const lsnni_node *v = &net->node[i];
        lsnni_step *s;
        int reached = has[i] || has_z[i] || lsnni_has(v, LSNN_IS_LOSS);
        if (!v->role.live || !v->role.needs_grad || !reached) continue;
        if (has_z[i]) {                                  /* dz of its readers, to dy */
            s = steps ? &steps[count] : NULL;
            if (s) {
                lsnni_schedule_turn(w, s, i);
                s->to = w->dy[i];
                s->from = w->dz[i];
                s->back = !v->role.blocks;
                s->add = has[i];
            }
            count++;
        }
        has[i] = 1;
        s = steps && v->role.backward_by == i ? &steps[count] : NULL;
        if (s) {
            lsnni_schedule_call(w, s, i, lanes);
            s->call.dy = w->dy[i];
        }
        /* Without a call, too: a relu that a neighbour does has its input's place, and what was
           written to the one is the other's.                                 */
        lsnni_schedule_dx(w, s ? &s->call : NULL, i, lanes, has, has_z);
        count += v->role.backward_by == i;
    }
    return count;
}

/* Both layouts' schedules, in one block. A net whose batches are all smaller than a block has
   one; memory is planned for both at once, since z and dz are alive in either. */
static lsnn_status lsnni_plan_schedules(lsnn_work *w)
{
    int lanes = lsnni_lanes_for(w, 0), count[2] = { 0, 0 };
    size_t nodes = (size_t)w->net->nodes;
    char *has_z = w->reached + nodes;
    for (int blocks = 0; blocks <= (lanes > 0 && lanes <= w->batch); blocks++) {
        lsnni_schedule *p = &w->schedule[blocks];
        int l = blocks ? lanes : 0;
        count[0] = lsnni_schedule_forward(w, NULL, l);
        count[1] = w->train ? lsnni_schedule_backward(w, NULL, l, w->reached, has_z) : 0;
        p->forward = (lsnni_step *)lsnni_alloc(w->cx, (size_t)count[0] + (size_t)count[1] + 1,
                                               sizeof *p->forward);
        if (!p->forward) return LSNN_ENOMEM;
        p->backward = p->forward + count[0];
        p->forwards = lsnni_schedule_forward(w, p->forward, l);
        if (w->train)
            p->backwards = lsnni_schedule_backward(w, p->backward, l, w->reached, has_z);
    }
    return LSNN_OK;
}

/* ---- >>workspaces: what one thread needs to run a net -----------------------------------------*/
LSNN_API void lsnn_work_free(lsnn_work *w)
{
    if (!w) return;
    for (int l = 0; l < 2; l++) lsnni_free(w->cx, w->schedule[l].forward);
    lsnni_free(w->cx, w->y);
    if (w->net->device) lsnni_device_free(w->net, w->block);
    else lsnni_free(w->cx, w->block);
    lsnni_free(w->cx, w);
}

/* The tables of a node each, in one block: five of pointers, one of ints, two of chars. */
static lsnn_status lsnni_work_tables(lsnn_work *w)
{
    size_t nodes = (size_t)w->net->nodes;
    w->y = (lsnn_real **)lsnni_alloc(w->cx, nodes, 5 * sizeof *w->y + sizeof *w->kept + 2);
    if (!w->y) return LSNN_ENOMEM;
    w->z = w->y + nodes;
    w->dy = w->z + nodes;
    w->dz = w->dy + nodes;
    w->keep = w->dz + nodes;
    w->kept = (int *)(void *)(w->keep + nodes);
    w->reached = (char *)(w->kept + nodes);
    return LSNN_OK;
}

/* What a workspace's memory is for: the batch, and the layer that has most of it. */
static void lsnni_batch_note(const lsnn_work *w, char text[160])
{
    const lsnn_net *net = w->net;
    int most = net->nodes - 1;
    for (int i = 1; i < net->nodes; i++)
        if (lsnni_features(net->node[i].plan.out) > lsnni_features(net->node[most].plan.out))
            most = i;
    snprintf(text, 160, ", for a batch of %d: '%.60s' puts out %d numbers an image", w->batch,
             net->node[most].name, lsnni_features(net->node[most].plan.out));
}

/* What layers keep lies behind all lives, never shared: it is wanted from forward to backward,
   and some of it (lsnn_call.kept) from step to step.                         */
static lsnn_status lsnni_work_fill(lsnn_work *w, lsnni_life *life)
{
    const lsnn_net *net = w->net;
    int nodes = net->nodes;
    size_t total;
    char note[160];
    for (int i = 0; i < nodes; i++)
        if ((double)lsnni_features(net->node[i].plan.out) * w->batch > INT_MAX * 64.0 ||
            lsnni_times(lsnni_times((size_t)lsnni_features(net->node[i].plan.out),
                                    (size_t)w->batch), sizeof *w->block) == LSNNI_TOO_LARGE)
            return lsnni_fail(w->cx, LSNN_ESHAPE, "batches of %d images are too large for "
                              "layer '%.60s'", w->batch, net->node[i].name);
    w->chunk = lsnni_plan_chunk(w);
    lsnni_plan_lives(net, life, w->batch, w->train);
    total = lsnni_place_lives(life, 4 * nodes);
    for (int i = 0; i < nodes; i++) {                    /* what is kept lies behind it */
        const lsnn_layer_plan *p = &net->node[i].plan;
        life[4 * nodes + i].at = total;
        if (net->node[i].role.live) {
            size_t kept = lsnni_times(p->keep_per_image, (size_t)w->batch);
            total = lsnni_plus(total, lsnni_whole_vectors(lsnni_plus(p->keep_fixed, kept)));
        }
    }
    lsnni_batch_note(w, note);
    if (net->device) LSNNI_TRY(lsnni_device_alloc(w->net, &w->block, lsnni_plus(total, 1)));
    else w->block = (lsnn_real *)lsnni_alloc_for(w->cx, lsnni_plus(total, 1), sizeof *w->block,
                                                 note);
    if (!w->block) return LSNN_ENOMEM;
    for (int i = 0; i < nodes; i++) {
        const lsnni_life *own = life + i, *dy = life + 2 * nodes + net->node[i].role.dy_at;
        w->y[i] = w->block + life[net->node[i].role.y_at].at;
        w->z[i] = w->block + own[nodes].at;
        w->dy[i] = dy->size ? w->block + dy->at : NULL;
        w->dz[i] = own[3 * nodes].size ? w->block + own[3 * nodes].at : NULL;
        w->keep[i] = w->block + own[4 * nodes].at;
    }
    return lsnni_plan_schedules(w);
}

/* *made is a whole workspace or NULL. The lives are scratch: nobody needs them once places are
   known.                                                                     */
static lsnn_status lsnni_work_make(lsnn_ctx *cx, const lsnn_net *net, int batch, int train,
                                   lsnn_work **made)
{
    lsnn_work *w = *made = (lsnn_work *)lsnni_alloc(cx, 1, sizeof *w);
    lsnni_life *life;
    lsnn_status s;
    if (!w) return LSNN_ENOMEM;
    w->cx = cx;
    w->net = net;
    w->batch = batch;
    w->train = train;
    life = (lsnni_life *)lsnni_alloc(cx, 5 * (size_t)net->nodes, sizeof *life);
    s = life ? lsnni_work_tables(w) : LSNN_ENOMEM;
    if (s == LSNN_OK) s = lsnni_work_fill(w, life);
    lsnni_free(cx, life);
    if (s == LSNN_OK) return LSNN_OK;
    lsnn_work_free(w);
    *made = NULL;
    return s;
}

/* All but the memory, which each workspace plans for its own batch. In this order, since each
   uses what those before it have written: parts change inputs, layout decides what `both` is,
   use counts readers (lsnni_private), in place decides which relus can be fused (y_at), and
   crops make fusable poolings exact.                                         */
static void lsnni_plan_net(lsnn_net *net)
{
    lsnni_plan_parts(net);
    lsnni_plan_layout(net);
    lsnni_plan_use(net);
    lsnni_plan_in_place(net, !net->predict_only);
    lsnni_plan_crop(net);
    lsnni_plan_fusion(net);
}
