/* nets.h - small nets, contexts and numbers for the tests of the net and of training.
   Include lsnn.h and check.h before it.                                                 */
#ifndef NETS_H
#define NETS_H
#include <stdlib.h>
#include <string.h>

/* ---- contexts: quiet, with an allocator that counts, and refuses when told to ----------- */
static struct {
    long live, calls;
    long refuse;                         /* the number of the one call that is refused   */
    int refuse_all;
} heap;

static void *heap_alloc(size_t bytes, void *user)
{
    void *block;
    (void)user;
    if (++heap.calls == heap.refuse || heap.refuse_all) return NULL;
    block = malloc(bytes);
    if (block) heap.live++;
    return block;
}
static void heap_free(void *block, void *user)
{
    (void)user;
    heap.live--;
    free(block);
}
static void keep_quiet(const char *message, void *user) { (void)message; (void)user; }

static inline lsnn_ctx quiet_ctx(void)
{
    lsnn_ctx cx;
    memset(&cx, 0, sizeof cx);
    cx.mem.alloc_fn = heap_alloc;
    cx.mem.free_fn = heap_free;
    cx.log_fn = keep_quiet;
    return cx;
}

/* The call's result was its failure value, and the context holds that status and a message
   with `needle` in it. Clears the failure.                                              */
#define REFUSED(cx, failed, want, needle) \
    refused_at(cx, failed, want, needle, __FILE__, __LINE__, #failed)
static inline void refused_at(lsnn_ctx *cx, int failed, lsnn_status want, const char *needle,
                              const char *file, int line, const char *text)
{
    int good = failed && cx->status == want && strstr(cx->message, needle) != NULL;
    if (!check_that(good, file, line, text))
        printf("#   status %d, wanted %d and \"%s\" in: %s\n", (int)cx->status, (int)want,
               needle, cx->message);
    lsnn_clear(cx);
}

/* ---- numbers -------------------------------------------------------------------------- */
static inline void draw_reals(lsnn_real *v, size_t count, uint64_t seed, double low,
                              double high)
{
    lsnn_rng r = lsnn_rng_at(seed, "test", "reals", 0, 0);
    for (size_t i = 0; i < count; i++)
        v[i] = (lsnn_real)(low + (high - low) * lsnn_rng_uniform(&r));
}
static inline lsnn_real *new_reals(size_t count)
{
    lsnn_real *v = (lsnn_real *)calloc(count + 1, sizeof *v);
    if (!v) { printf("# out of memory\n"); exit(1); }
    return v;
}
static inline int same_bits(const lsnn_real *a, const lsnn_real *b, size_t count)
{
    return memcmp(a, b, count * sizeof *a) == 0;
}

/* All parameters and buffers of a net, in one array.                                     */
static inline size_t net_size(const lsnn_net *net)
{
    size_t total = 0, count;
    for (int kind = 0; kind < 2; kind++)
        for (int i = 0; lsnn_net_param_name(net, kind, i, &count); i++) total += count;
    return total;
}
static inline lsnn_real *net_values(lsnn_net *net)
{
    lsnn_real *all = new_reals(net_size(net));
    size_t at = 0, count;
    const char *name;
    for (int kind = 0; kind < 2; kind++)
        for (int i = 0; (name = lsnn_net_param_name(net, kind, i, &count)) != NULL; i++) {
            CHECK(lsnn_net_get(net, name, all + at, count) == LSNN_OK);
            at += count;
        }
    return all;
}
/* 1 if the net's values are still `before`, which is freed.                              */
static inline int net_is(lsnn_net *net, lsnn_real *before)
{
    lsnn_real *now = net_values(net);
    int same = same_bits(now, before, net_size(net));
    free(now);
    free(before);
    return same;
}

/* ---- nets ------------------------------------------------------------------------------ */
static inline lsnn_options named(const char *name)
{
    lsnn_options o;
    memset(&o, 0, sizeof o);
    o.name = name;
    return o;
}

static inline lsnn_status build_net(lsnn_net *net, int batch, uint64_t seed, int predict_only)
{
    lsnn_build_desc d;
    memset(&d, 0, sizeof d);
    d.batch = batch;
    d.seed = seed;
    d.predict_only = predict_only;
    return lsnn_net_build(net, &d);
}

/* The models of examples/models.h, reduced: 3 kernels, 3 maps, 8 hidden units; for images
   of 14x14 and more. cnn, lc, location, content; tkn, with a window that is penalised and
   clipped.                                                                              */
static inline int small_theta(lsnn_net *net, int image)
{
    lsnn_options p1 = named("param1"), p2 = named("param2"), p3 = named("param3");
    int x;
    p1.lr_factor = p2.lr_factor = p3.lr_factor = 0.1;
    p3.init_scale = 0.1;
    x = lsnn_conv2d(net, image, 3, 5, &p1);
    x = lsnn_max_pool(net, lsnn_relu(net, x, NULL), 2, NULL);
    x = lsnn_conv2d(net, x, 4, 3, &p2);
    x = lsnn_max_pool(net, lsnn_relu(net, x, NULL), 2, NULL);
    return lsnn_dense(net, x, 3 * 5, &p3);
}

static inline int small_scores(lsnn_net *net, const char *model, int side)
{
    lsnn_options conv1 = named("conv1"), conv2 = named("conv2"), smooth1 = named("smooth1");
    lsnn_options dense1 = named("dense1"), dense2 = named("dense2");
    int image = lsnn_input(net, 1, side, side), x;
    int content = strcmp(model, "content") == 0;
    int tkn = strcmp(model, "tkn") == 0;
    int smooth = content || tkn || strcmp(model, "location") == 0;
    conv1.no_bias = smooth;
    if (tkn) {
        smooth1.smooth_shape = LSNN_ATTENTION_CAUCHY;
        smooth1.l2 = 0.3;
        smooth1.clip = LSNN_CLIP_CODE;
    } else smooth1.normalise = LSNN_NORMALISE_MEAN;
    x = strcmp(model, "lc") == 0 ? lsnn_local2d(net, image, 3, 5, &conv1)
                                 : lsnn_conv2d(net, image, 3, 5, &conv1);
    if (smooth)
        x = lsnn_smooth(net, x, content ? small_theta(net, image) : LSNN_FREE, &smooth1);
    x = lsnn_max_pool(net, lsnn_relu(net, x, NULL), 2, NULL);
    x = lsnn_conv2d(net, x, 3, 3, &conv2);
    x = lsnn_max_pool(net, lsnn_relu(net, x, NULL), 2, NULL);
    x = lsnn_relu(net, lsnn_dense(net, x, 8, &dense1), NULL);
    x = lsnn_dropout(net, x, 0.5, NULL);
    return lsnn_dense(net, x, 10, &dense2);
}

static inline lsnn_net *small_net(lsnn_ctx *cx, const char *model, int side, int batch,
                                  uint64_t seed)
{
    static const double start[5] = { 0.35, 0.6, 1.5, 1.5, 0 };
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_real bias[15];
    if (!net) return NULL;
    lsnn_cross_entropy(net, small_scores(net, model, side), NULL);
    if (build_net(net, batch, seed, 0) != LSNN_OK) {
        lsnn_net_free(net);
        return NULL;
    }
    for (int i = 0; i < 15; i++) bias[i] = (lsnn_real)start[i % 5];
    if (strcmp(model, "content") == 0) lsnn_net_set(net, "param3.bias", bias, 15);
    return net;
}

/* A layer type of one's own: y = x |g|^p, a factor g a channel, p = custom[0].            */
static inline lsnn_status power_plan(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    (void)cx;
    p->out = p->in[0];
    memset(&p->param[0], 0, sizeof p->param[0]);
    p->param[0].name = "gain";
    p->param[0].rank = 1;
    p->param[0].dim[0] = p->in[0].c;
    p->param[0].count = (size_t)p->in[0].c;
    p->param[0].value = 0.75;
    p->params = 1;
    return LSNN_OK;
}
static inline lsnn_status power_forward(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_shape s = c->plan->in[0];
    size_t area = (size_t)s.h * (size_t)s.w;
    (void)cx;
    for (size_t i = 0; i < (size_t)c->n * (size_t)s.c * area; i++)
        c->y[i] = (lsnn_real)((double)c->x[0][i] *
            pow(fabs((double)c->param[0][i / area % (size_t)s.c]), c->plan->o.custom[0]));
    return LSNN_OK;
}
static inline lsnn_status power_backward(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_shape s = c->plan->in[0];
    size_t area = (size_t)s.h * (size_t)s.w;
    double p = c->plan->o.custom[0];
    (void)cx;
    for (size_t i = 0; i < (size_t)c->n * (size_t)s.c * area; i++) {
        size_t k = i / area % (size_t)s.c;
        double g = (double)c->param[0][k], f = pow(fabs(g), p), dy = (double)c->dy[i];
        double dx = dy * f;
        if (c->dx[0]) c->dx[0][i] = (lsnn_real)(dx + (c->add[0] ? (double)c->dx[0][i] : 0));
        if (c->dparam[0])
            c->dparam[0][k] = (lsnn_real)((double)c->dparam[0][k] +
                                          dy * (double)c->x[0][i] * p * f / g);
    }
    return LSNN_OK;
}
static const lsnn_layer_type power_type = {
    "power", "lr_factor freeze no_decay custom0", 1, 1, LSNN_Y_FREE,
    power_plan, power_forward, power_backward, NULL, NULL,
    NULL, NULL, NULL
};

/* Every layer type, two branches that share a dense layer, two classifying heads (3 and 4
   classes), a loss by squares on 2 targets, and the type above. Input 2x7x6.             */
enum { ALL_C = 2, ALL_H = 7, ALL_W = 6, ALL_IN = ALL_C * ALL_H * ALL_W };
/* A transformer of `x` by what a small layer on the image says.                          */
static inline int all_transformed(lsnn_net *net, int image, int x)
{
    lsnn_options theta = named("theta"), corners = named("grid"), seen = named("seen");
    corners.align_corners = 1;
    theta.init_scale = 0.5;
    image = lsnn_dense(net, image, 6, &theta);
    image = lsnn_affine_grid(net, image, ALL_H, ALL_W, &corners);
    return lsnn_grid_sample(net, x, image, &seen);
}

static inline int all_maps(lsnn_net *net, int image)
{
    lsnn_options conv = named("conv"), bn = named("norm"), local = named("local");
    lsnn_options mix = named("mix"), gauss = named("gauss"), table = named("table");
    lsnn_options leaky = named("leaky"), pool = named("pool"), norm = named("norms");
    lsnn_options target = named("target");
    int a, b, x[3];
    conv.no_bias = 1;                    /* in front of batch norm it would have no say   */
    conv.padding = local.padding = LSNN_SAME;
    local.bias = LSNN_BIAS_OF_KERNEL; local.start = LSNN_START_ALIKE;
    leaky.slope = 0.2;
    a = lsnn_leaky_relu(net, lsnn_batch_norm(net, lsnn_conv2d(net, image, 4, 3, &conv), &bn),
                        &leaky);
    b = lsnn_tanh(net, lsnn_local2d(net, image, 2, 3, &local), NULL);
    b = lsnn_add(net, b, all_transformed(net, image, b), NULL);
    x[0] = b; x[1] = lsnn_slice(net, a, 1, 2, NULL); x[2] = a;
    a = lsnn_concat(net, x, 3, NULL);
    mix.padding = LSNN_EXPLICIT;
    mix.kernel_h = 3; mix.kernel_w = 2; mix.pad_top = mix.pad_bottom = 1; mix.pad_right = 1;
    mix.no_bias = 1;
    mix.groups = mix.dilation_w = 2;
    a = lsnn_blend(net, lsnn_conv2d(net, a, 8, 3, &mix), 2, NULL);
    gauss.rank = gauss.mixture = 2; gauss.normalise = LSNN_NORMALISE_SUM; gauss.smooth_bias = 1;
    a = lsnn_smooth(net, a, LSNN_FREE, &gauss);
    table.smooth_shape = LSNN_TABLE;
    a = lsnn_smooth(net, a, LSNN_FREE, &table);
    target.smooth_shape = LSNN_ATTENTION_CAUCHY; target.padding = LSNN_SAME;
    a = lsnn_target2d(net, a, 2, 3, &target);
    pool.stride_h = 1; pool.stride_w = 2;
    a = lsnn_max_pool(net, lsnn_scale(net, a, NULL), 2, &pool);
    norm.learn_norm = LSNN_NORM_OF_MAP; norm.norm = 3;
    a = lsnn_scaled_tanh(net, lsnn_table_conv2d(net, a, "0;0-1;1", 1, NULL), NULL);
    x[0] = lsnn_avg_pool(net, a, 2, NULL);
    x[0] = lsnn_add(net, x[0], lsnn_sum_pool(net, a, 2, NULL), NULL);
    return lsnn_add(net, x[0], lsnn_lp_pool(net, a, 2, &norm), NULL);
}

static inline int all_layers(lsnn_net *net)
{
    lsnn_options shared = named("shared"), other = named("other"), h2 = named("score2");
    lsnn_options power = named("power"), l1 = named("loss1"), l2 = named("loss2");
    lsnn_options l3 = named("loss3"), h1 = named("score1"), rbf = named("rbf");
    int image = lsnn_input(net, ALL_C, ALL_H, ALL_W), a = all_maps(net, image), b, x[2];
    power.custom[0] = 1.5;
    other.share = "shared";
    a = lsnn_layer(net, &power_type, &a, 1, &power);
    b = lsnn_flatten(net, lsnn_sigmoid(net, a, NULL), NULL);
    x[0] = lsnn_dropout(net, lsnn_dense(net, a, 6, &shared), 0.3, NULL);
    x[1] = lsnn_dropout(net, lsnn_dense(net, b, 6, &other), 0.3, NULL);
    a = lsnn_concat(net, x, 2, NULL);
    b = lsnn_softmax(net, lsnn_relu(net, a, NULL), NULL);
    l2.head = 1; l2.loss_weight = 0.5; l3.loss_weight = 2;
    a = lsnn_dense(net, b, 3, &h1);
    lsnn_cross_entropy(net, a, &l1);
    l2.rubbish = 2;
    rbf.init_scale = 0.5; rbf.lr_factor = 0.1;
    b = lsnn_scaled_tanh(net, lsnn_dense(net, x[0], 4, &h2), NULL);
    lsnn_cross_entropy(net, lsnn_rbf(net, b, 4, &rbf), &l2);
    lsnn_mse(net, lsnn_dense(net, x[1], 2, NULL), &l3);
    return a;
}

static inline lsnn_net *all_net(lsnn_ctx *cx, int batch, uint64_t seed, int predict_only)
{
    lsnn_net *net = lsnn_net_new(cx);
    if (!net) return NULL;
    all_layers(net);
    if (build_net(net, batch, seed, predict_only) == LSNN_OK) return net;
    lsnn_net_free(net);
    return NULL;
}

/* One batch of drawn numbers for the two nets above.                                     */
typedef struct sample_batch {
    lsnn_real x[16 * 1024], targets[16 * 2];
    int labels[16 * 2];
    lsnn_batch b;
} sample_batch;

static inline lsnn_batch *draw_batch(sample_batch *s, int n, int size, uint64_t seed)
{
    lsnn_rng r = lsnn_rng_at(seed, "test", "labels", 0, 0);
    memset(s, 0, sizeof *s);
    draw_reals(s->x, (size_t)(n * size), seed, -1, 1);
    draw_reals(s->targets, (size_t)n * 2, seed + 1, -1, 1);
    for (int i = 0; i < 2 * n; i++) s->labels[i] = lsnn_rng_int(&r, 3);
    s->b.n = n;
    s->b.x = s->x;
    s->b.labels = s->labels; s->b.heads = 2;
    s->b.targets = s->targets; s->b.target_count = 2;
    s->b.step = 3;
    return &s->b;
}
#endif
