/* test_graphs.c - random graphs: what the plan of a net saves must not change a number.
   modes: plain | double asan

   A net decides once how it is computed: outputs share memory, layers do a neighbour's work,
   pixels nobody reads are left out, concats are read in parts, images go in blocks. Here
   some hundred graphs are built by the same draws as they are, with some outputs kept, and
   with all kept and plain arrays, where little of that can happen: losses, outputs,
   gradients and predictions have to agree. On another number of threads no bit may differ. */
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
#include "check.h"
#include "nets.h"

enum { BATCH = 40, MAX_SIZE = 3 * 17 * 17, CLASSES = 3, NODES = 60 };
enum keep { KEEP_NONE, KEEP_SOME, KEEP_ALL };

typedef struct plotter {                 /* draws a graph                              */
    lsnn_net *net;
    lsnn_rng r, keeps;
    enum keep keep;
    int node[NODES], nodes, inputs;
} plotter;

static int upto(plotter *p, int n) { return lsnn_rng_int(&p->r, n); }
static lsnn_shape shape_of(plotter *p, int node) { return lsnn_net_shape(p->net, node); }
static size_t numbers(lsnn_shape s) { return (size_t)s.c * (size_t)s.h * (size_t)s.w; }
static int same_map(lsnn_shape a, lsnn_shape b) { return a.h == b.h && a.w == b.w; }

static lsnn_options fresh_options(plotter *p)
{
    lsnn_options o;
    int kept = lsnn_rng_int(&p->keeps, 4) == 0;
    memset(&o, 0, sizeof o);
    o.keep = p->keep == KEEP_ALL || (p->keep == KEEP_SOME && kept);
    return o;
}

/* One of the last nodes that were made, often the very last: chains as well as branches. */
static int pick(plotter *p)
{
    int back = upto(p, 3) ? 0 : upto(p, p->nodes < 5 ? p->nodes : 5);
    return p->node[p->nodes - 1 - back];
}

/* Kernel and padding of a window that fits a map of s.                                   */
static int pick_window(plotter *p, lsnn_shape s, int most, lsnn_options *o)
{
    int side = s.h < s.w ? s.h : s.w, k = 1 + upto(p, most < side ? most : side);
    o->padding = (lsnn_padding)upto(p, 3);
    if (o->padding == LSNN_EXPLICIT) {
        o->pad_top = upto(p, k + 2);     /* now and then a window sees padding alone      */
        o->pad_left = upto(p, k + 2);
        o->pad_bottom = upto(p, k + 2);
        o->pad_right = upto(p, k + 2);
    }
    return k;
}

static int draw_conv(plotter *p, int x, int local)
{
    lsnn_options o = fresh_options(p);
    lsnn_shape s = shape_of(p, x);
    int k = pick_window(p, s, 5, &o);
    o.stride_h = 1 + (upto(p, 4) == 0);
    o.no_bias = upto(p, 3) == 0;
    o.freeze = upto(p, 8) == 0;          /* backward without dw and db                     */
    if (upto(p, 4) == 0) {               /* depthwise, taps far apart                      */
        o.padding = LSNN_SAME;
        o.pad_top = o.pad_left = o.pad_bottom = o.pad_right = 0;
        o.groups = s.c;
        o.dilation_h = 1 + upto(p, 2); o.dilation_w = 1 + upto(p, 2);
        if (local) return lsnn_local2d(p->net, x, s.c, k, &o);
        return lsnn_conv2d(p->net, x, (1 + upto(p, 2)) * s.c, k, &o);
    }
    if (!local && upto(p, 4) == 0) {     /* two kernels: all maps, and the last            */
        char table[32];
        snprintf(table, sizeof table, "0-%d;%d", s.c - 1, s.c - 1);
        return lsnn_table_conv2d(p->net, x, table, k, &o);
    }
    if (!local && upto(p, 4) == 0) {
        o.smooth_shape = upto(p, 2) ? LSNN_ATTENTION_GAUSSIAN : LSNN_ATTENTION_CAUCHY;
        return lsnn_target2d(p->net, x, 1 + upto(p, 5), k, &o);
    }
    if (local && upto(p, 3) == 0) {
        o.blend = (lsnn_blend_kind)upto(p, 4);
        return lsnn_lowrank2d(p->net, x, 1 + upto(p, 3), k, 1 + upto(p, 3), &o);
    }
    if (local && !o.no_bias) o.bias = (lsnn_bias)upto(p, 3);
    return local ? lsnn_local2d(p->net, x, 1 + upto(p, 3), k, &o)
                 : lsnn_conv2d(p->net, x, 1 + upto(p, 9), k, &o);
}

static int draw_pool(plotter *p, int x)
{
    lsnn_options o = fresh_options(p);
    lsnn_shape s = shape_of(p, x);
    int kind = upto(p, 5), k = 2;
    if (s.h < 2 || s.w < 2) return x;
    if (upto(p, 3) == 0) {               /* else the usual 2x2, which has paths of its own */
        k = pick_window(p, s, 3, &o);
        o.stride_h = 1 + upto(p, 3);
        o.stride_w = 1 + upto(p, 3);
    }
    if (kind == 0) return lsnn_avg_pool(p->net, x, k, &o);
    if (kind == 1) return lsnn_sum_pool(p->net, x, k, &o);
    if (kind == 2) {
        o.norm = 1.5 + upto(p, 4);
        o.learn_norm = (lsnn_learn_norm)upto(p, 3);
        return lsnn_lp_pool(p->net, x, k, &o);
    }
    return lsnn_max_pool(p->net, x, k, &o);
}

static int draw_smooth(plotter *p, int x)
{
    lsnn_options o = fresh_options(p), t = fresh_options(p);
    lsnn_shape s = shape_of(p, x);
    int theta = LSNN_FREE, shape = upto(p, 7);
    if (s.h < 2 || s.w < 2) return x;
    if (shape >= LSNN_GAUSSIAN_1D) shape++;              /* TKN's windows                */
    o.smooth_shape = (lsnn_smooth_shape)shape;
    o.rank = s.c % 2 == 0 ? 1 + upto(p, 2) : 1;
    if (shape != LSNN_TABLE) {
        o.normalise = (lsnn_normalise)upto(p, 3);
        o.mixture = 1 + upto(p, 2);
    }
    o.smooth_bias = upto(p, 2);
    o.no_bias = !o.smooth_bias && upto(p, 2);
    t.init_scale = 0.3;
    o.freeze = upto(p, 8) == 0;
    if (upto(p, 2) && shape < LSNN_ATTENTION_GAUSSIAN) {
        int group = shape == LSNN_GAUSSIAN_SEPARABLE ? 4 : 5;
        int a_map = shape == LSNN_TABLE ? s.h * s.w
                  : o.mixture > 1 ? o.mixture * (group + 1) : group;
        if (a_map * s.c < 400) theta = lsnn_dense(p->net, p->node[0], a_map * s.c, &t);
    }
    return lsnn_smooth(p->net, x, theta, &o);
}

/* Two to four nodes of the same height and width; add: of the same shape, else NULL.     */
static int draw_join(plotter *p, int x)
{
    lsnn_options o = fresh_options(p);
    lsnn_shape s = shape_of(p, x);
    int with[4], count = 0, most = 2 + upto(p, 3), add = upto(p, 2);
    with[count++] = x;
    for (int i = p->nodes - 1; i >= 0 && count < (add ? 2 : most); i--) {
        lsnn_shape t = shape_of(p, p->node[i]);
        if (p->node[i] == x || !same_map(s, t) || (add && t.c != s.c)) continue;
        if (t.c + s.c > 24) continue;
        with[count++] = p->node[i];
    }
    if (count < 2) return lsnn_batch_norm(p->net, x, &o);
    return add ? lsnn_add(p->net, x, with[1], &o) : lsnn_concat(p->net, with, count, &o);
}

/* A spatial transformer: of x, by six numbers that a small dense layer finds in the image. */
static int draw_transformer(plotter *p, int x)
{
    lsnn_options o = fresh_options(p), g = fresh_options(p), t = fresh_options(p);
    lsnn_shape s = shape_of(p, x);
    int theta;
    t.init_scale = 0.2;
    g.align_corners = o.align_corners = upto(p, 2);
    theta = lsnn_dense(p->net, p->node[0], 6, &t);
    return lsnn_grid_sample(p->net, x, lsnn_affine_grid(p->net, theta, s.h, s.w, &g), &o);
}

/* conv2d, perhaps relu, 2x2 max pooling: what most nets are made of. Now and then one of
   the two has a second reader.                                                           */
static int draw_stage(plotter *p, int x)
{
    lsnn_options o = fresh_options(p), pool = fresh_options(p);
    lsnn_shape s = shape_of(p, x);
    o.padding = upto(p, 2) ? LSNN_SAME : LSNN_VALID;
    x = lsnn_conv2d(p->net, x, 1 + upto(p, 9), s.h > 6 && s.w > 6 ? 1 + upto(p, 4) : 1, &o);
    if (upto(p, 4) == 0) p->node[p->nodes++] = x;
    o = fresh_options(p);
    if (upto(p, 3)) x = lsnn_relu(p->net, x, &o);
    if (upto(p, 4) == 0) p->node[p->nodes++] = x;
    s = shape_of(p, x);
    return s.h < 2 || s.w < 2 ? x : lsnn_max_pool(p->net, x, 2, &pool);
}

static int draw_layer(plotter *p)
{
    int x = pick(p);
    lsnn_options o = fresh_options(p), norm = fresh_options(p);
    lsnn_shape s = shape_of(p, x);
    switch (upto(p, 20)) {
    case 0: case 1: case 2: case 3: return draw_conv(p, x, 0);
    case 4: return numbers(s) < 500 ? draw_conv(p, x, 1) : draw_conv(p, x, 0);
    case 5: case 6: return draw_pool(p, x);
    case 7: case 8: case 9: return draw_stage(p, x);
    case 10:
        norm.freeze = upto(p, 8) == 0;
        return lsnn_relu(p->net, lsnn_batch_norm(p->net, x, &norm), &o);
    case 11: return draw_join(p, x);
    case 12:                             /* as in a densely connected block                 */
        return draw_conv(p, lsnn_relu(p->net, lsnn_batch_norm(p->net, draw_join(p, x), NULL),
                                      NULL), 0);
    case 13: return upto(p, 5) ? draw_smooth(p, x) : draw_transformer(p, x);
    case 14: return lsnn_relu(p->net, x, &o);
    case 15: o.slope = 0.3; return lsnn_leaky_relu(p->net, x, &o);
    case 16:
        if (upto(p, 3) == 0) return lsnn_scaled_tanh(p->net, x, &o);
        return upto(p, 2) ? lsnn_tanh(p->net, x, &o) : lsnn_sigmoid(p->net, x, &o);
    case 17: return lsnn_dropout(p->net, x, 0.25, &o);
    case 18: return s.c > 1 ? lsnn_slice(p->net, x, upto(p, s.c - 1), 1, &o)
                            : lsnn_scale(p->net, x, &o);
    default: return upto(p, 3) ? lsnn_batch_norm(p->net, x, &o)
                               : lsnn_softmax(p->net, x, &o);
    }
}

/* All that no layer has read yet, but for some: they are dead ends.                      */
static int draw_end(plotter *p)
{
    int x[LSNN_MAX_INPUTS], count = 0, last = p->node[p->nodes - 1];
    x[count++] = lsnn_flatten(p->net, last, NULL);
    for (int i = p->nodes - 2; i > 0 && count < LSNN_MAX_INPUTS; i--) {
        int node = p->node[i], read = node == last;
        for (int k = node + 1; k < p->net->nodes && !read; k++)
            for (int j = 0; j < p->net->node[k].plan.inputs; j++)
                read |= p->net->node[k].input[j] == node;
        if (!read && upto(p, 4)) x[count++] = lsnn_flatten(p->net, node, NULL);
    }
    return lsnn_concat(p->net, x, count, NULL);
}

/* Regions of target2d's kernels: some of each map, now and then nothing of it.           */
static void draw_regions(plotter *p)
{
    for (int i = 0; i < p->net->nodes; i++) {
        lsnn_real theta[4 * 5];
        char name[80];
        size_t count = p->net->node[i].plan.param[1].count;
        if (p->net->node[i].type != &lsnni_target2d_type) continue;
        snprintf(name, sizeof name, "%.60s.theta", p->net->node[i].name);
        for (size_t j = 0; j < count; j++)
            theta[j] = (lsnn_real)(j % 2 ? 0.1 + 0.9 * lsnn_rng_uniform(&p->r)
                                         : 1.2 * lsnn_rng_uniform(&p->r) - 0.1);
        CHECK(lsnn_net_set(p->net, name, theta, count) == LSNN_OK);
    }
}

/* The graph of number `seed`; NULL after a failure, which the context names.             */
static lsnn_net *draw_net(lsnn_ctx *cx, uint64_t seed, enum keep keep, int predict_only,
                          int *inputs)
{
    plotter p;
    lsnn_options o, score = named("score"), side = named("side");
    int layers, c, h, w, x;
    memset(&p, 0, sizeof p);
    p.net = lsnn_net_new(cx);
    p.keep = keep;
    p.r = lsnn_rng_at(seed, "test", "graphs", 0, 0);
    p.keeps = lsnn_rng_at(seed, "test", "keeps", 0, 0);
    c = 1 + upto(&p, 3);
    h = 5 + upto(&p, 13);
    w = upto(&p, 3) ? h : 5 + upto(&p, 13);
    layers = 2 + upto(&p, 14);
    *inputs = c * h * w;
    p.node[p.nodes++] = lsnn_input(p.net, c, h, w);
    for (int i = 0; i < layers && cx->status == LSNN_OK; i++)
        p.node[p.nodes++] = draw_layer(&p);
    o = fresh_options(&p);
    score.keep = side.keep = o.keep;
    if (upto(&p, 3) == 0) {              /* a second loss in the middle                    */
        side.head = 0;
        lsnn_options far = named("far");
        far.loss_weight = 1e-3;          /* rbf's squares are large                        */
        x = pick(&p);
        if (upto(&p, 2)) lsnn_mse(p.net, lsnn_dense(p.net, x, 2, &side), NULL);
        else lsnn_mse(p.net, lsnn_rbf(p.net, x, 2, &side), &far);
    }
    lsnn_cross_entropy(p.net, lsnn_dense(p.net, draw_end(&p), CLASSES, &score), NULL);
    lsnn_net_set_output(p.net, lsnn_net_node(p.net, "score"));
    if (build_net(p.net, BATCH, seed, predict_only) == LSNN_OK) {
        draw_regions(&p);
        return p.net;
    }
    printf("# graph %d: %s\n", (int)seed, cx->message);
    lsnn_net_free(p.net);
    return NULL;
}

/* |a - b| <= near |b|, as vectors: single numbers may cancel to nothing.                 */
static int alike(const lsnn_real *a, const lsnn_real *b, size_t count, double near)
{
    double apart = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        double d = (double)a[i] - (double)b[i];
        apart += d * d;
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(apart) <= near * (sqrt(size) + 1e-3 * sqrt((double)count));
}

static void check_alike(lsnn_net *net, lsnn_net *plain, const char *name, size_t count,
                        double near, int seed)
{
    lsnn_real *a = new_reals(count), *b = new_reals(count);
    if (lsnn_net_get(net, name, a, count) == LSNN_OK) {
        if (!CHECK(lsnn_net_get(plain, name, b, count) == LSNN_OK)) printf("# %s\n", name);
        else if (!CHECK(alike(a, b, count, near)))
            printf("# graph %d, %s: %g, should be %g\n", seed, name, (double)a[0],
                   (double)b[0]);
    } else {
        lsnn_clear(net->cx);             /* not kept                                       */
    }
    free(a);
    free(b);
}

/* A batch of n images for the drawn nets; one at a time.                                 */
static lsnn_batch graph_batch(int n, int inputs, int seed)
{
    static lsnn_real x[BATCH * MAX_SIZE], targets[BATCH * 2];
    static int labels[BATCH];
    lsnn_batch b;
    memset(&b, 0, sizeof b);
    for (int i = 0; i < n; i++) labels[i] = i * 7 % CLASSES;
    draw_reals(targets, BATCH * 2, (uint64_t)seed + 1, -1, 1);
    draw_reals(x, (size_t)(n * inputs), (uint64_t)seed, -1, 1);
    b.n = n;
    b.x = x;
    b.labels = labels; b.heads = 1;
    b.targets = targets; b.target_count = 2;
    b.step = (uint32_t)seed;
    return b;
}

static void train_step(lsnn_net *net, const lsnn_batch *b, double *loss)
{
    long calls = heap.calls;
    lsnn_zero_grad(net);
    CHECK(lsnn_forward(net, b, 1, loss) == LSNN_OK && lsnn_backward(net) == LSNN_OK);
    CHECK(heap.calls == calls);          /* whatever the batch, a step allocates nothing   */
}

/* A step of both, and a prediction: all that can be read of `net` is as in `plain`.      */
static void check_step(lsnn_net *net, lsnn_net *plain, int n, int inputs, int seed, double near)
{
    static lsnn_real y[BATCH * CLASSES], want[BATCH * CLASSES];
    lsnn_batch b = graph_batch(n, inputs, seed);
    double loss[2] = { 0, 0 };
    char name[80];
    size_t count;
    train_step(net, &b, &loss[0]);
    train_step(plain, &b, &loss[1]);
    NEAR(loss[0], loss[1], near);
    for (int i = 1; i < net->nodes; i++) {       /* outputs, and gradients of the kept      */
        count = (size_t)n * numbers(lsnn_net_shape(net, i));
        check_alike(net, plain, net->node[i].name, count, near, seed);
        snprintf(name, sizeof name, "grad:%s", net->node[i].name);
        check_alike(net, plain, name, count, 30 * near, seed);
    }
    for (int i = 0; lsnn_net_param_name(net, 0, i, &count); i++) {
        snprintf(name, sizeof name, "grad:%s", lsnn_net_param_name(net, 0, i, NULL));
        check_alike(net, plain, name, count, 30 * near, seed);
    }
    for (int i = 0; lsnn_net_param_name(net, 1, i, &count); i++) {
        snprintf(name, sizeof name, "%s", lsnn_net_param_name(net, 1, i, NULL));
        name[strcspn(name, ".")] = 0;
        if (net->node[lsnn_net_node(net, name)].role.live)  /* else nothing moves it           */
            check_alike(net, plain, lsnn_net_param_name(net, 1, i, NULL), count, near, seed);
    }
    CHECK(lsnn_predict(net, b.x, n, y) == LSNN_OK);
    CHECK(lsnn_predict(plain, b.x, n, want) == LSNN_OK);
    if (!CHECK(alike(y, want, (size_t)(n * CLASSES), near)))
        printf("# graph %d: predictions of %d\n", seed, n);
}

/* `same` is `net` on another number of threads: no bit of a step may differ.             */
static void check_bits(lsnn_net *net, lsnn_net *same, int n, int inputs, int seed)
{
    lsnn_batch b = graph_batch(n, inputs, seed);
    double loss[2] = { 0, 0 };
    size_t count;
    train_step(net, &b, &loss[0]);
    train_step(same, &b, &loss[1]);
    CHECK(memcmp(&loss[0], &loss[1], sizeof loss[0]) == 0);
    for (int i = 0; lsnn_net_param_name(net, 0, i, &count); i++) {
        char name[80];
        lsnn_real *v = new_reals(count), *w = new_reals(count);
        snprintf(name, sizeof name, "grad:%s", lsnn_net_param_name(net, 0, i, NULL));
        CHECK(lsnn_net_get(net, name, v, count) == LSNN_OK);
        CHECK(lsnn_net_get(same, name, w, count) == LSNN_OK);
        if (!CHECK(same_bits(v, w, count))) printf("# graph %d: bits of %s\n", seed, name);
        free(v);
        free(w);
    }
}

/* `lean` only predicts: with the parameters of `net`, the same.                          */
static void check_lean(lsnn_net *lean, lsnn_net *net, int n, int inputs, int seed, double near)
{
    static lsnn_real y[BATCH * CLASSES], want[BATCH * CLASSES];
    lsnn_batch b = graph_batch(n, inputs, seed);
    lsnn_real *all = net_values(net), *at = all;
    const char *name;
    size_t count;
    for (int kind = 0; kind < 2; kind++)
        for (int i = 0; (name = lsnn_net_param_name(net, kind, i, &count)) != NULL; i++) {
            CHECK(lsnn_net_set(lean, name, at, count) == LSNN_OK);
            at += count;
        }
    free(all);
    CHECK(lsnn_predict(net, b.x, n, want) == LSNN_OK);
    CHECK(lsnn_predict(lean, b.x, n, y) == LSNN_OK);
    if (!CHECK(alike(y, want, (size_t)(n * CLASSES), near)))
        printf("# graph %d: predict-only, %d\n", seed, n);
}

/* The net that its file describes predicts the same bits, to train or to predict only.   */
static void check_file(lsnn_net *net, int n, int inputs, int seed)
{
    static lsnn_real y[BATCH * CLASSES], want[BATCH * CLASSES];
    const char *folder = getenv("TEST_TMP");
    lsnn_batch b = graph_batch(n, inputs, seed);
    lsnn_build_desc d = { BATCH, 0, 0, 0, NULL };
    lsnn_net *again;
    char path[600];
    snprintf(path, sizeof path, "%.500s/graphs.tmp.safetensors", folder ? folder : ".");
    CHECK(lsnn_predict(net, b.x, n, want) == LSNN_OK);
    CHECK(lsnn_net_save(net, path) == LSNN_OK);
    d.predict_only = seed % 2;
    again = lsnn_net_load(net->cx, path, &d, NULL, 0);
    if (!CHECK(again != NULL) ||
        !CHECK(lsnn_predict(again, b.x, n, y) == LSNN_OK &&
               (d.predict_only ? alike(y, want, (size_t)(n * CLASSES), 1e-5)
                               : same_bits(y, want, (size_t)(n * CLASSES)))))
        printf("# graph %d: from its file\n", seed);
    lsnn_net_free(again);
    remove(path);
}

/* How often the plans were used at all, and each type of layer drawn.                     */
enum { TYPES = (int)(sizeof lsnni_types / sizeof lsnni_types[0]) };
static struct { int nodes, done_by, cropped, pooled, unmade, in_parts, type[TYPES]; } seen;

/* A new type must be drawn above; those that learn by a rule of their own are excused.     */
static void check_types_drawn(void)
{
    for (int t = 0; t < TYPES; t++) {
        const char *name = lsnni_types[t]->name;
        int excused = strncmp(name, "dsc_", 4) == 0;
        if (!CHECK((seen.type[t] > 0) == !excused)) printf("# %s: %d drawn\n", name, seen.type[t]);
    }
}

static void count_plans(const lsnn_net *net)
{
    for (int i = 0; i < net->nodes; i++) {
        const lsnni_node *d = &net->node[i];
        seen.nodes++;
        for (int t = 0; t < TYPES; t++) seen.type[t] += d->type == lsnni_types[t];
        seen.done_by += d->role.backward_by != i;
        seen.cropped += d->role.live && (d->plan.out.h != lsnn_net_shape(net, i).h ||
                                    d->plan.out.w != lsnn_net_shape(net, i).w);
        seen.pooled += d->role.writes != i;
        seen.unmade += !d->role.live;
        seen.in_parts += strncmp(d->name, "batch_norm", 10) == 0 && d->plan.inputs > 1;
    }
}

static void check_graph(int seed, lsnn_isa isa, double near)
{
    lsnn_ctx cx = quiet_ctx(), other = quiet_ctx();
    lsnn_rng r = lsnn_rng_at((uint64_t)seed, "test", "batches", 0, 0);
    int inputs, n[2];
    cx.isa = other.isa = isa;
    cx.threads = 1 + lsnn_rng_int(&r, 3);
    other.threads = 1 + cx.threads % 3;
    n[0] = 16 * (1 + lsnn_rng_int(&r, 2));       /* whole blocks on every instruction set    */
    n[1] = 1 + lsnn_rng_int(&r, BATCH);
    for (int keep = KEEP_NONE; keep <= KEEP_SOME; keep++) {
        lsnn_net *net = draw_net(&cx, (uint64_t)seed, (enum keep)keep, 0, &inputs);
        lsnn_net *plain = draw_net(&cx, (uint64_t)seed, KEEP_ALL, 0, &inputs);
        lsnn_net *same = draw_net(&other, (uint64_t)seed, (enum keep)keep, 0, &inputs);
        lsnn_net *lean = draw_net(&cx, (uint64_t)seed, (enum keep)keep, 1, &inputs);
        if (CHECK(net && plain && same && lean)) {
            count_plans(net);
            plain->max_lanes = 0;
            for (int i = 0; i < 2; i++) check_step(net, plain, n[i], inputs, seed, near);
            for (int i = 0; i < 2; i++) check_lean(lean, net, n[i], inputs, seed, near);
            for (int i = 0; i < 2; i++) check_bits(net, same, n[i], inputs, seed);
            if (seed % 8 == 0) check_file(net, n[1], inputs, seed);      /* synced: slow      */
        }
        lsnn_net_free(net);
        lsnn_net_free(plain);
        lsnn_net_free(same);
        lsnn_net_free(lean);
    }
    lsnn_ctx_free(&cx);
    lsnn_ctx_free(&other);
    CHECK(heap.live == 0);
}

/* The sums over a batch are cut into chunks, which of fewer images can be longer.        */
static void check_chunks(int threads)
{
    enum { MOST = 400, INPUTS = 90 };
    static lsnn_real x[MOST * INPUTS];
    static int labels[MOST];
    lsnn_ctx cx = quiet_ctx();
    lsnn_build_desc d = { MOST, 1, 0, 0, NULL };
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_batch b;
    memset(&b, 0, sizeof b);
    cx.threads = threads;
    draw_reals(x, MOST * INPUTS, 1, -1, 1);
    lsnn_cross_entropy(net, lsnn_dense(net, lsnn_dense(net, lsnn_input(net, INPUTS, 1, 1), 150,
                                                       NULL), CLASSES, NULL), NULL);
    CHECK(lsnn_net_build(net, &d) == LSNN_OK);
    b.x = x;
    b.labels = labels; b.heads = 1;
    for (b.n = 1; b.n <= MOST && !test_bad; b.n++) train_step(net, &b, NULL);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
}

/* A new type needs both its writers: only a loss, the input, which the net's own function takes,
   and the layers that learn by a rule of their own have none.                            */
static void test_writers(void)
{
    for (size_t t = 0; t < sizeof lsnni_types / sizeof lsnni_types[0]; t++) {
        const lsnn_layer_type *type = lsnni_types[t];
        int none = (type->traits & LSNN_IS_LOSS) || type == &lsnni_input_type ||
                   strncmp(type->name, "dsc_", 4) == 0;
        if (!CHECK((lsnni_c_writer(type) < 0) == none && (lsnni_onnx_writer(type) < 0) == none))
            printf("# %s: its writers\n", type->name);
    }
    test_end("every type of layer has a form in C and in ONNX, or is known to have none");
}

int main(int argc, char **argv)          /* test_graphs [FIRST [COUNT]]                    */
{
    const double near = sizeof(lsnn_real) == 8 ? 1e-9 : 2e-3;
#ifdef __SANITIZE_ADDRESS__              /* ten times as slow                              */
    const int usual = 150;
#else
    const int usual = 600;
#endif
    int first = argc > 1 ? atoi(argv[1]) : 0, graphs = argc > 2 ? atoi(argv[2]) : usual;
    int isa = LSNN_ISA_PORTABLE;
    for (int i = 0; i < graphs && test_bad <= 10; i++) {
        do isa = isa + 1 < LSNN_ISA_COUNT_ ? isa + 1 : LSNN_ISA_PORTABLE;
        while (!lsnn_isa_available((lsnn_isa)isa));
        check_graph(first + i, (lsnn_isa)isa, near);
    }
    if (graphs >= usual) {
        CHECK(seen.done_by && seen.cropped && seen.pooled && seen.unmade && seen.in_parts);
        check_types_drawn();
    }
    printf("# %d layers: %d done by others, %d cropped, %d pool, %d not made, %d in parts\n",
           seen.nodes, seen.done_by, seen.cropped, seen.pooled, seen.unmade, seen.in_parts);
    for (int threads = 1; threads <= 3; threads++) check_chunks(threads);
    test_end("%d random graphs, planned and plain: the same numbers", graphs);
    test_writers();
    return test_finish();
}
