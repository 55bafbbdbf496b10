/* test_memory.c - memory that is dead, or not there. While a net runs, every number of its
   workspace that no array needs just then is NaN: the results are the same, bit for bit, so
   no layer reads what the plan has given away (traits LSNN_IN_PLACE, LSNN_X_FREE,
   LSNN_Y_FREE). Sizes that do not fit, and structs filled in wrongly by hand, are refused.

   modes: plain asan | double m32 naive
   Build: cc -O2 -I. tests/test_memory.c -o tests/test_memory -lm                        */
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
#include "check.h"
#include "nets.h"

/* ---- a step on poisoned ground ---------------------------------------------------------- */
typedef struct ground {
    lsnn_work *w;
    lsnni_life *life;                    /* as the workspace was planned: y, z, dy, dz        */
    int lives, poisoned;                 /* numbers that were written over                    */
    size_t size;                         /* of the lives' part of the block; kept arrays lie  */
    char *needed;                        /*   behind it                                       */
    lsnn_real *nothing;                  /* NaN, for arrays that a layer says it never reads  */
} ground;

static ground ground_of(lsnn_work *w)
{
    ground g;
    size_t largest = 1;
    g.w = w;
    g.lives = 4 * w->net->nodes;
    g.poisoned = 0;
    g.life = (lsnni_life *)calloc((size_t)g.lives + 1, sizeof *g.life);
    lsnni_plan_lives(w->net, g.life, w->batch, w->train);
    g.size = lsnni_place_lives(g.life, g.lives);
    g.needed = (char *)malloc(g.size + 1);
    for (int i = 0; i < w->net->nodes; i++)
        largest = LSNNI_MAX(largest, (size_t)lsnni_features(w->net->node[i].plan.out));
    for (int i = 0; i < w->net->nodes; i++)
        largest = LSNNI_MAX(largest, (size_t)lsnni_features(w->net->node[i].plan.in[0]));
    g.nothing = new_reals(largest * (size_t)w->batch);
    for (size_t i = 0; i < largest * (size_t)w->batch; i++) g.nothing[i] = LSNNI_R(NAN);
    return g;
}
static void ground_free(ground *g)
{
    free(g->life);
    free(g->needed);
    free(g->nothing);
}

/* Two arrays that are needed at one time do not overlap.                                 */
static void check_apart(const ground *g)
{
    for (int i = 0; i < g->lives; i++)
        for (int j = 0; j < i; j++) {
            const lsnni_life *a = &g->life[i], *b = &g->life[j];
            if (a->size && b->size && a->from <= b->to && b->from <= a->to)
                CHECK(a->at + a->size <= b->at || b->at + b->size <= a->at);
        }
}

/* Before what happens at `time`: all that is not both written already and needed still. */
static void poison(ground *g, int time)
{
    memset(g->needed, 0, g->size);
    for (int i = 0; i < g->lives; i++)
        if (g->life[i].from < time && g->life[i].to >= time)
            memset(g->needed + g->life[i].at, 1, g->life[i].size);
    for (size_t i = 0; i < g->size; i++)
        if (!g->needed[i]) {
            g->w->block[i] = LSNNI_R(NAN);
            g->poisoned++;
        }
}

static void run_steps(ground *g, lsnni_step *s, int steps, const lsnn_batch *b, int training,
                      int backward, double *loss)
{
    int last = -1;
    for (int k = 0; k < steps; k++, s++) {
        const lsnni_node *v = &g->w->net->node[s->node];
        int time = backward ? 2 * g->w->net->nodes - s->node : s->node;
        lsnn_call before = s->call;
        if (!backward && lsnni_skipped(g->w, s)) continue;
        if (time != last) poison(g, last = time);
        if (backward && !s->turns && (lsnni_has(v, LSNN_X_FREE) || lsnni_has(v, LSNN_IN_PLACE)))
            for (int j = 0; j < v->plan.inputs; j++) s->call.x[j] = g->nothing;
        if (backward && !s->turns && !lsnni_backward_reads_y(v, s->node))
            s->call.y = g->nothing;
        s->call.loss = 0;
        CHECK(lsnni_step_run(g->w, s, b, training, backward) == LSNN_OK);
        if (!backward && loss) *loss += s->call.loss;
        s->call = before;
    }
}

/* lsnn_forward and, if it trains, lsnn_backward.                                         */
static double poisoned_step(ground *g, const lsnn_batch *b, int training)
{
    lsnn_work *w = g->w;
    lsnni_schedule *p;
    double loss = 0;
    poison(g, 1);                        /* all but the y that stay from step to step     */
    for (int k = 0; k < w->net->nodes; k++) {            /* forward keeps it anew, but where */
        const lsnn_layer_plan *kept = &w->net->node[k].plan;     /* it says what such a y holds */
        size_t count = w->net->node[k].role.live && !(kept->traits & LSNN_Y_STAYS) ?
            kept->keep_fixed + kept->keep_per_image * (size_t)w->batch : 0;
        for (size_t i = 0; i < count; i++) w->keep[k][i] = LSNNI_R(NAN);
    }
    memset(w->kept, 0, (size_t)w->net->nodes * sizeof *w->kept);
    w->version = w->net->version;
    w->lanes = lsnni_lanes_for(w, b->n);
    w->all = 1;
    w->last = *b;
    p = &w->schedule[w->lanes > 0];
    run_steps(g, p->forward, p->forwards, b, training, 0, &loss);
    w->n = b->n;
    if (training) run_steps(g, p->backward, p->backwards, b, 1, 1, NULL);
    w->done = training;
    return loss;
}

/* ---- nets ------------------------------------------------------------------------------- */
enum { NETS = 9, BATCH = 16 };

/* A block in which each layer reads all before it: batch_norm reads the parts of concats. */
static int joined_net(lsnn_net *net)
{
    int part[4], x = lsnn_input(net, 2, 9, 9);
    part[0] = x = lsnn_conv2d(net, x, 3, 3, NULL);
    for (int i = 1; i < 4; i++) {
        lsnn_options same = { 0 };
        same.padding = LSNN_SAME;
        x = i > 1 ? lsnn_concat(net, part, i, NULL) : x;
        x = lsnn_relu(net, lsnn_batch_norm(net, x, NULL), NULL);
        part[i] = x = lsnn_conv2d(net, x, 2, 3, &same);
    }
    x = lsnn_concat(net, part, 4, NULL);
    return lsnn_dense(net, lsnn_avg_pool(net, x, 0, NULL), 3, NULL);
}

/* Maps of 15 x 15 under windows of 2 x 2, an output read in both layouts, a shared layer. */
static int mixed_net(lsnn_net *net)
{
    lsnn_options first = named("first"), second = named("second"), keep = named("kept");
    int x = lsnn_input(net, 1, 17, 17), a, b;
    keep.keep = 1;
    x = lsnn_conv2d(net, x, 3, 3, NULL);
    x = lsnn_max_pool(net, lsnn_relu(net, x, NULL), 2, NULL);
    x = lsnn_tanh(net, lsnn_conv2d(net, x, 3, 2, NULL), &keep);
    a = lsnn_dense(net, x, 5, &first);
    second.share = "first";
    b = lsnn_dense(net, lsnn_sigmoid(net, lsnn_scale(net, x, NULL), NULL), 5, &second);
    x = lsnn_layer(net, &power_type, &x, 1, NULL);
    x = lsnn_dense(net, lsnn_flatten(net, x, NULL), 5, NULL);
    return lsnn_dense(net, lsnn_relu(net, lsnn_add(net, lsnn_add(net, a, b, NULL), x, NULL),
                                     NULL), 3, NULL);
}

/* Layers with a rule of their own, which stand beside no others.                         */
static void sparse_net(lsnn_net *net)
{
    lsnn_options silent = named("silent");
    int x = lsnn_dsc_conv2d(net, lsnn_input(net, 1, 10, 10), 4, 3, NULL);
    lsnn_dsc_lateral(net, x, NULL);
    silent.dsc_silent = 1;
    x = lsnn_dsc_local2d(net, lsnn_max_pool(net, x, 2, NULL), 3, 2, &silent);
    lsnn_dsc_loss(net, lsnn_dsc_dense(net, x, 3, NULL), NULL);
}

static char made[sizeof lsnni_types / sizeof *lsnni_types];     /* types in any of the nets */

static lsnn_net *make_net(lsnn_ctx *cx, int which, int predict_only)
{
    static const char *const model[] = { "cnn", "lc", "location", "content" };
    lsnn_net *net = lsnn_net_new(cx);
    int frozen = which == 7;
    if (which < 4) lsnn_cross_entropy(net, small_scores(net, model[which], 15), NULL);
    else if (which == 4) all_layers(net);
    else if (which == 5) lsnn_cross_entropy(net, joined_net(net), NULL);
    else if (which == 6) lsnn_cross_entropy(net, mixed_net(net), NULL);
    else if (which == 8) sparse_net(net);
    if (frozen) {                        /* gradients stop in the middle                  */
        lsnn_options stop = named("stop");
        int x = lsnn_input(net, 1, 15, 15);
        stop.freeze = 1;
        x = lsnn_relu(net, lsnn_conv2d(net, x, 4, 4, &stop), NULL);
        x = lsnn_relu(net, lsnn_conv2d(net, lsnn_max_pool(net, x, 2, NULL), 4, 3, NULL), NULL);
        lsnn_cross_entropy(net, lsnn_dense(net, lsnn_dropout(net, x, 0.5, NULL), 3, NULL), NULL);
    }
    CHECK(build_net(net, BATCH, 7, predict_only) == LSNN_OK);
    for (int i = 0; i < net->nodes; i++)
        for (size_t k = 0; k < sizeof made; k++)
            if (net->node[i].type == lsnni_types[k]) made[k] = 1;
    return net;
}

/* The same loss, outputs, gradients and buffers, bit for bit.                            */
static void check_alike(lsnn_net *a, lsnn_net *b, int training)
{
    const char *name;
    char of[80];
    size_t count;
    for (int kind = 0; kind < (training ? 3 : 0); kind++)
        for (int i = 0; (name = lsnn_net_param_name(a, kind == 1, i, &count)) != NULL; i++) {
            lsnn_real *u = new_reals(count), *v = new_reals(count);
            snprintf(of, sizeof of, "%s%.70s", kind == 2 ? "grad:" : "", name);
            CHECK(lsnn_net_get(a, of, u, count) == LSNN_OK);
            CHECK(lsnn_net_get(b, of, v, count) == LSNN_OK);
            if (!CHECK(same_bits(u, v, count))) printf("#   %s differs\n", of);
            free(u);
            free(v);
        }
    for (int i = 1; i < a->nodes; i++) {
        int dim[4], rank;
        lsnn_real *u, *v;
        if (!a->node[i].role.readable) continue;
        CHECK(lsnn_net_dims(a, a->node[i].name, &rank, dim) == LSNN_OK);
        count = (size_t)dim[0] * (size_t)dim[1] * (size_t)dim[2] * (size_t)dim[3];
        u = new_reals(count);
        v = new_reals(count);
        CHECK(lsnn_net_get(a, a->node[i].name, u, count) == LSNN_OK);
        CHECK(lsnn_net_get(b, a->node[i].name, v, count) == LSNN_OK);
        if (!CHECK(same_bits(u, v, count))) printf("#   %s differs\n", a->node[i].name);
        free(u);
        free(v);
    }
}

static void test_poison(void)
{
    static const int sizes[] = { BATCH, 5, 1 };
    static sample_batch s;
    lsnn_ctx cx = quiet_ctx();
    double poisoned = 0, numbers = 0;
    for (int which = 0; which < NETS; which++)
        for (int predict = 0; predict < 2; predict++) {
            lsnn_net *net = make_net(&cx, which, predict), *twin = make_net(&cx, which, predict);
            ground g = ground_of(net->work);
            check_apart(&g);
            for (int i = 0; i < 3; i++) {
                lsnn_batch *b = draw_batch(&s, sizes[i], lsnni_features(net->node[0].plan.out),
                                           (uint64_t)which + 3);
                double loss = 0, got = poisoned_step(&g, b, !predict);
                CHECK(lsnn_forward(twin, b, !predict, &loss) == LSNN_OK);
                if (!predict) CHECK(lsnn_backward(twin) == LSNN_OK);
                if (!CHECK(got >= loss && got <= loss))
                    printf("#   net %d, %d images: loss %g, should be %g\n", which, b->n, got,
                           loss);
                check_alike(net, twin, !predict);
                if (!predict) lsnn_zero_grad(net);
                if (!predict) lsnn_zero_grad(twin);
            }
            poisoned += g.poisoned;
            numbers += (double)g.size;
            ground_free(&g);
            lsnn_net_free(net);
            lsnn_net_free(twin);
        }
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0 && poisoned > 5 * numbers);
    for (size_t k = 0; k < sizeof made; k++)
        if (!CHECK(made[k])) printf("#   no net has a %s\n", lsnni_types[k]->name);
    test_end("%d nets of all types, in blocks and along rows: no layer reads memory that is dead",
             NETS);
}

/* A layer that says it never reads x in backward, and does: the poison shows it.        */
static lsnn_status square_forward(lsnn_ctx *cx, lsnn_call *c)
{
    (void)cx;
    for (size_t i = 0; i < lsnni_call_count(c); i++) c->y[i] = c->x[0][i] * c->x[0][i];
    return LSNN_OK;
}
static lsnn_status square_backward(lsnn_ctx *cx, lsnn_call *c)
{
    (void)cx;
    for (size_t i = 0; i < lsnni_call_count(c) && c->dx[0]; i++)
        c->dx[0][i] = 2 * c->x[0][i] * c->dy[i] + (c->add[0] ? c->dx[0][i] : 0);
    return LSNN_OK;
}

static void test_liar(void)
{
    static sample_batch s;
    static const int traits[2] = { LSNN_Y_FREE, LSNN_Y_FREE | LSNN_X_FREE };
    for (int lies = 0; lies < 2; lies++) {
        lsnn_ctx cx = quiet_ctx();
        lsnn_layer_type square = { "square", "", 1, 1, 0, lsnni_plan_same, square_forward,
                                   square_backward, NULL, NULL, NULL, NULL, NULL };
        lsnn_net *net = lsnn_net_new(&cx);
        lsnn_real g[4];
        ground at;
        int x = lsnn_dense(net, lsnn_input(net, 4, 1, 1), 4, NULL);
        square.traits = traits[lies];
        x = lsnn_layer(net, &square, &x, 1, NULL);
        lsnn_cross_entropy(net, lsnn_dense(net, x, 3, NULL), NULL);
        CHECK(build_net(net, 4, 1, 0) == LSNN_OK);
        at = ground_of(net->work);
        poisoned_step(&at, draw_batch(&s, 4, 4, 1), 1);
        CHECK(lsnn_net_get(net, "grad:dense1.bias", g, 4) == LSNN_OK);
        CHECK(lsnni_finite(g, 4) == !lies);
        ground_free(&at);
        lsnn_net_free(net);
        lsnn_ctx_free(&cx);
    }
    CHECK(heap.live == 0);
    test_end("a layer that reads what it says it does not is found");
}

/* ---- sizes ------------------------------------------------------------------------------ */
static void *heap_modest(size_t bytes, void *user)
{
    return bytes > (size_t)64 << 20 ? NULL : heap_alloc(bytes, user);
}
static lsnn_ctx modest_ctx(void)
{
    lsnn_ctx cx = quiet_ctx();
    cx.mem.alloc_fn = heap_modest;
    cx.threads = 1;
    return cx;
}

static void test_arithmetic(void)
{
    const size_t large = LSNNI_TOO_LARGE, some = large / 4 + 1;
    size_t product = 1;
    lsnn_ctx cx = modest_ctx();
    CHECK(lsnni_times(3, 4) == 12 && lsnni_times(0, large) == 0 && lsnni_times(large, 0) == 0);
    CHECK(lsnni_times(some, 4) == large && lsnni_times((size_t)-1, 1) == large);
    CHECK(lsnni_times((size_t)-1, (size_t)-1) == large && lsnni_plus(large, large) == large);
    CHECK(lsnni_plus((size_t)-1, 1) == large && lsnni_plus(large - 2, 1) == large - 1);
    CHECK(lsnni_plus(large - 1, 1) == large && lsnni_whole_vectors(17) == 32);
    CHECK(lsnni_whole_vectors(large) >= large - 15 && lsnni_room(large, 8) == large);
    CHECK(lsnni_mul(&product, 7) && product == 7 && !lsnni_mul(&product, large));
    REFUSED(&cx, lsnni_alloc(&cx, large, 1) == NULL, LSNN_ENOMEM, "do not fit");
    REFUSED(&cx, lsnni_alloc(&cx, some, 8) == NULL, LSNN_ENOMEM, "do not fit");
    REFUSED(&cx, lsnni_alloc(&cx, (size_t)-1, (size_t)-1) == NULL, LSNN_ENOMEM, "do not fit");
    REFUSED(&cx, lsnni_scratch(&cx, some, 8) == NULL, LSNN_ENOMEM, "do not fit");
    CHECK(heap.live == 0);
    test_end("sizes that do not fit are never small numbers");
}

/* Where 32 bits are not enough for features x images, for parameters, for what is kept.  */
static void test_wraps(void)
{
    lsnn_ctx cx = modest_ctx();
    lsnn_options o = named("big");
    const char *names[4] = { "'big'", "'big'", "'dense1.weight'", "'conv2d1'" };
    if (sizeof(size_t) == 4) names[3] = "'input'";       /* 2^30 floats: the first too large */
    for (int which = 0; which < 4; which++) {
        lsnn_net *net = lsnn_net_new(&cx);
        int x = lsnn_input(net, 1, 32, 32), batch = 4096;
        if (which == 0) lsnn_conv2d(net, x, 1024, 3, &o);              /* 900 x 2^22        */
        if (which == 1) lsnn_conv2d(net, x, 1165, 3, &o);              /* 2^32 and a little */
        if (which == 2)                                                /* 2^28 parameters,  */
            for (int i = 0; i < 17; i++)                               /*   17 times        */
                x = lsnn_dense(net, x, i % 2 ? 1024 : 1 << 18, NULL);
        if (which == 3) {
            lsnn_max_pool(net, lsnn_conv2d(net, x, 1000, 3, NULL), 2, &o);
            batch = 1 << 20;
        }
        CHECK(build_net(net, batch, 1, which == 1) != LSNN_OK);
        CHECK(cx.status == LSNN_ENOMEM || cx.status == LSNN_ESHAPE);
        CHECK(strstr(cx.message, "fit") || strstr(cx.message, "refused") ||
              strstr(cx.message, "too large"));
        if (!CHECK(strstr(cx.message, names[which]) &&
                   (which == 2 || strstr(cx.message, which == 3 ? "1048576" : "4096"))))
            printf("#   %d: %s\n", which, cx.message);
        lsnn_clear(&cx);
        lsnn_net_free(net);
    }
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("batches and parameters of more than 2^32 numbers are refused");
}

/* ---- structs filled in by hand ---------------------------------------------------------- */
static void test_windows(void)
{
    lsnn_ctx cx = modest_ctx();
    lsnn_real one[16] = { 0 };
    lsnn_shape in = { 1, 8, 8 };
    lsnn_window s;
    CHECK(lsnn_window_set(&cx, &s, 1, in, 1, 3, 3, 1, 1, LSNN_VALID, NULL) == LSNN_OK);
    s.h = s.w = s.k = 10000;             /* one output pixel of a large image             */
    s.kernel_h = s.kernel_w = s.oh = s.ow = 1;
    REFUSED(&cx, lsnn_conv2d_backward(&cx, one, one, one, one, one, one, &s, 0) != LSNN_OK,
            LSNN_ESHAPE, "2^29");
    REFUSED(&cx, lsnn_conv2d_forward(&cx, one, one, one, one, &s) != LSNN_OK, LSNN_ESHAPE,
            "conv2d");
    s.oh = -1;
    REFUSED(&cx, lsnn_max_pool_forward(&cx, one, NULL, one, &s) != LSNN_OK, LSNN_ESHAPE, "oh");
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("windows filled in wrongly are refused");
}

/* What a plan can get wrong, one thing at a time.                                        */
static struct {
    int what;
} wrong;
enum { NO_COUNT = 1, FEW, MANY, NO_NAME, BAD_NAME, RANK5, RANK_MINUS, DIM0, LARGE, PARAMS_MINUS,
    PARAMS5, BUFFERS5, TWICE, BUFFER_TWICE, INPUTS, SHAPE_IN, TRAITS, OUT0, OUT_LARGE, READS,
    READS_HALF, KEEP_SHAPE, KEEP_LARGE, WRONGS };

static void spec(lsnn_param_spec *s, const char *name, int rank, int size)
{
    memset(s, 0, sizeof *s);
    s->name = name;
    s->rank = rank;
    for (int d = 0; d < 4 && d < rank; d++) s->dim[d] = size;
}
static lsnn_status wrong_plan(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    (void)cx;
    p->out = p->in[0];
    p->params = p->buffers = 1;
    spec(&p->param[0], "gain", 2, 3);
    spec(&p->param[1], "gain", 1, 3);
    spec(&p->buffer[0], wrong.what == BUFFER_TWICE ? "gain" : "state", 0, 0);
    if (wrong.what == FEW || wrong.what == MANY) p->param[0].count = wrong.what == FEW ? 4 : 90;
    if (wrong.what == NO_NAME) p->param[0].name = NULL;
    if (wrong.what == BAD_NAME) p->buffer[0].name = "a \"name\"";
    if (wrong.what == RANK5) p->param[0].rank = 5;
    if (wrong.what == RANK_MINUS) p->buffer[0].rank = -1;
    if (wrong.what == DIM0) p->param[0].dim[1] = 0;
    if (wrong.what == LARGE) spec(&p->param[0], "gain", 4, 1 << 16);
    if (wrong.what == PARAMS_MINUS) p->params = -1;
    if (wrong.what == PARAMS5) p->params = 5;
    if (wrong.what == BUFFERS5) p->buffers = 5;
    if (wrong.what == TWICE) p->params = 2;
    if (wrong.what == INPUTS) p->inputs = 9;
    if (wrong.what == SHAPE_IN) p->in[0].h = 90;
    if (wrong.what == TRAITS) p->traits |= LSNN_IN_PLACE;
    if (wrong.what == OUT0) p->out.w = 0;
    if (wrong.what == OUT_LARGE) p->out.c = p->out.h = p->out.w = 1 << 12;
    if (wrong.what == READS) p->reads_h = p->reads_w = 5;
    if (wrong.what == READS_HALF) p->reads_h = 2;
    if (wrong.what == KEEP_SHAPE || wrong.what == KEEP_LARGE) {
        p->keep_name = "kept";
        p->keep_per_image = wrong.what == KEEP_SHAPE ? 11 : (size_t)-1 / 2;
        p->keep_shape.c = 3; p->keep_shape.h = p->keep_shape.w = 2;
    }
    return LSNN_OK;
}
static lsnn_status do_nothing(lsnn_ctx *cx, lsnn_call *c)
{
    (void)cx;
    memset(c->y, 0, lsnni_call_count(c) * sizeof *c->y);
    return LSNN_OK;
}

static void test_plans(void)
{
    static const char *const needle[WRONGS] = { "", "", "count of 4", "count of 90", "no name",
        "a \"name\"", "rank 5", "rank -1", "size 2 of gain is 0", "over 2^29", "-1 parameters",
        "5 parameters", "5 buffers", "'wrong1.gain'", "'wrong1.gain'", "given", "given",
        "given", "must be positive", "numbers", "reads_h 5", "reads_w 0", "keep_shape 3x2x2", "fit" };
    lsnn_layer_type type = { "wrong", "", 1, 1, 0, wrong_plan, do_nothing, do_nothing, NULL,
                             NULL, NULL, NULL, NULL };
    for (wrong.what = 0; wrong.what < WRONGS; wrong.what++) {
        lsnn_ctx cx = modest_ctx();
        lsnn_net *net = lsnn_net_new(&cx);
        int x = lsnn_input(net, 2, 4, 4), dim[4], rank, right = wrong.what <= NO_COUNT;
        lsnn_real v[9] = { 0 };
        size_t count = 0;
        x = lsnn_layer(net, &type, &x, 1, NULL);
        if (right || wrong.what == KEEP_LARGE) CHECK(x == 1);
        else if (!CHECK(x == -1 && strstr(cx.message, needle[wrong.what]) &&
                        strstr(cx.message, "layer 'wrong1': ")))
            printf("#   %d: no \"%s\" in %s\n", wrong.what, needle[wrong.what], cx.message);
        CHECK((build_net(net, 4, 1, 0) == LSNN_OK) == right && (cx.status == LSNN_OK) == right);
        if (wrong.what == KEEP_LARGE) CHECK(strstr(cx.message, needle[wrong.what]));
        if (right) {
            CHECK(lsnn_net_param_name(net, 0, 0, &count) && count == 9);
            CHECK(lsnn_net_set(net, "wrong1.gain", v, 9) == LSNN_OK);
            CHECK(lsnn_net_set(net, "wrong1.state", v, 1) == LSNN_OK);
            CHECK(lsnn_net_dims(net, "wrong1.state", &rank, dim) == LSNN_OK && rank == 0);
            REFUSED(&cx, lsnn_net_set(net, "wrong1.gain", v, 8) != LSNN_OK, LSNN_ESHAPE, "9");
            REFUSED(&cx, lsnn_net_set(net, NULL, v, 9) != LSNN_OK, LSNN_ENAME, "no name");
            CHECK(lsnn_net_node(net, NULL) == -1);
        }
        lsnn_net_free(net);
        lsnn_ctx_free(&cx);
    }
    CHECK(heap.live == 0);
    test_end("%d plans filled in wrongly are refused", (int)WRONGS - 2);
}

/* Types without their functions, and NULL for what is needed.                            */
static void test_types(void)
{
    lsnn_layer_type type;
    for (int what = 0; what < 7; what++) {
        lsnn_ctx cx = quiet_ctx();
        lsnn_net *net = lsnn_net_new(&cx);
        int x = lsnn_input(net, 2, 4, 4), node;
        memset(&type, 0, sizeof type);
        type.name = what == 1 ? NULL : "mine";
        type.min_inputs = type.max_inputs = what == 6 ? 0 : 1;
        type.plan = what == 2 ? NULL : wrong_plan;
        type.forward = what == 3 ? NULL : do_nothing;
        type.backward = what == 4 ? NULL : do_nothing;
        wrong.what = what == 6 ? OUT0 : 0;
        node = lsnn_layer(net, what == 0 ? NULL : &type, what >= 5 ? NULL : &x, what != 6, NULL);
        CHECK(node == -1 && cx.status == (what == 6 ? LSNN_ESHAPE : LSNN_EVALUE));
        CHECK(build_net(net, 4, 1, 0) == cx.status);
        lsnn_net_free(net);
        lsnn_ctx_free(&cx);
    }
    CHECK(heap.live == 0);
    test_end("types without a name or a function, inputs of NULL");
}

int main(void)
{
    test_poison();
    test_liar();
    test_arithmetic();
    test_wraps();
    test_windows();
    test_plans();
    test_types();
    return test_finish();
}
