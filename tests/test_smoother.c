/* test_smoother.c - the smoother in nets: the identities of LSNN section 4.1 from given
   weights, gradients of all its options together (double build), signals against section 3.1
   written out, files, counts, first values, and numbers that no one should feed it.

   modes: plain double asan
   Build: cc -O2 -I. tests/test_smoother.c -o tests/test_smoother -lm                    */
#ifndef TEST_LINKED
#define LSNN_IMPLEMENTATION
#endif
#include "lsnn.h"
#include "check.h"
#include "nets.h"

#ifdef LSNN_DOUBLE
static const int is_double = 1;
#else
static const int is_double = 0;
#endif

static lsnn_ctx cx;

/* A net of one input, `last` its output, with random parameters and a squared loss.     */
static void build(lsnn_net *net, int last, uint64_t seed)
{
    size_t count;
    const char *name;
    CHECK(last >= 0);
    lsnn_net_set_output(net, last);
    lsnn_mse(net, last, NULL);
    if (!CHECK(build_net(net, 3, seed, 0) == LSNN_OK)) printf("# %s\n", cx.message);
    for (int i = 0; (name = lsnn_net_param_name(net, 0, i, &count)) != NULL; i++) {
        lsnn_real *v = new_reals(count);
        draw_reals(v, count, seed + (uint64_t)i, -0.9, 1.1);
        CHECK(lsnn_net_set(net, name, v, count) == LSNN_OK);
        free(v);
    }
}
static size_t features(const lsnn_net *net, int node)
{
    lsnn_shape s = lsnn_net_shape(net, node);
    return (size_t)s.c * (size_t)s.h * (size_t)s.w;
}

/* ---- LSNN 4.1 b: a locally connected layer as a smoothed convolution ---------------------
   "Every finite-dimensional matrix has a rank decomposition." W (m x k) = sum_l u_l v_l':
   take the largest element of what is left, W[i][j]; its row is v_l, its column divided by
   it is u_l; subtract their product. Returns how many terms it took, at most `most`.
   u: most x m, v: most x k. W is used up.                                               */
static int decompose(double *w, int m, int k, double *u, double *v, int most)
{
    double first = 0;
    for (int l = 0; l < most; l++) {
        int i = 0, j = 0;
        for (int e = 0; e < m * k; e++)
            if (fabs(w[e]) > fabs(w[i * k + j])) { i = e / k; j = e % k; }
        if (l == 0) first = fabs(w[i * k + j]);
        if (fabs(w[i * k + j]) <= 1e-13 * first) return l;
        for (int a = 0; a < m; a++) u[l * m + a] = w[a * k + j] / w[i * k + j];
        for (int b = 0; b < k; b++) v[l * k + b] = w[i * k + b];
        for (int a = 0; a < m; a++)
            for (int b = 0; b < k; b++) w[a * k + b] -= u[l * m + a] * v[l * k + b];
    }
    return most;
}

typedef struct local_case { int c, h, w, kernel, filters, stride, rank; } local_case;

/* Weights of a locally connected layer, P,depth,K: free, or of that rank for each kernel. */
static double *draw_local(int p_count, int depth, int filters, int rank, uint64_t seed)
{
    size_t count = (size_t)(p_count * depth * filters);
    lsnn_rng r = lsnn_rng_at(seed, "test", "local", 0, 0);
    double *w = (double *)calloc(count, sizeof *w);
    double *a = (double *)calloc((size_t)(p_count + depth), sizeof *a);
    for (size_t i = 0; i < count && !rank; i++) w[i] = lsnn_rng_uniform(&r) * 2 - 1;
    for (int l = 0; l < rank * filters; l++) {
        for (int i = 0; i < p_count + depth; i++) a[i] = lsnn_rng_uniform(&r) * 2 - 1;
        for (int p = 0; p < p_count; p++)
            for (int q = 0; q < depth; q++)
                w[(p * depth + q) * filters + l % filters] += a[p] * a[p_count + q];
    }
    free(a);
    return w;
}

/* Sets the smoothed net's kernels and tables from the locally connected one's weights.  */
static int set_from_local(lsnn_net *net, const double *w, int p_count, int depth, int filters,
                          int rank)
{
    size_t kernels = (size_t)(filters * rank * depth);
    size_t maps = (size_t)(filters * rank * p_count);
    double *one = (double *)calloc((size_t)(p_count * depth), sizeof *one);
    double *u = (double *)calloc(maps, sizeof *u), *v = (double *)calloc(kernels, sizeof *v);
    lsnn_real *ru = new_reals(maps), *rv = new_reals(kernels);
    int most = 0;
    for (int k = 0; k < filters; k++) {
        int took;
        for (int e = 0; e < p_count * depth; e++) one[e] = w[e * filters + k];
        took = decompose(one, p_count, depth, u + k * rank * p_count, v + k * rank * depth,
                         rank);
        most = took > most ? took : most;
    }
    for (size_t i = 0; i < maps; i++) ru[i] = (lsnn_real)u[i];
    for (size_t i = 0; i < kernels; i++) rv[i] = (lsnn_real)v[i];
    CHECK(lsnn_net_set(net, "smooth1.theta", ru, maps) == LSNN_OK);
    CHECK(lsnn_net_set(net, "conv1.weight", rv, kernels) == LSNN_OK);
    free(one); free(u); free(v); free(ru); free(rv);
    return most;
}

static lsnn_net *local_net(const local_case *c, int rank, int *last)
{
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options conv = named("conv1"), smooth = named("smooth1");
    int x = lsnn_input(net, c->c, c->h, c->w);
    conv.no_bias = 1;
    conv.stride_h = c->stride;
    conv.padding = c->stride == 1 ? LSNN_SAME : LSNN_VALID;
    smooth.no_bias = 1;
    smooth.smooth_shape = LSNN_TABLE;
    smooth.rank = rank;
    if (!rank) x = lsnn_local2d(net, x, c->filters, c->kernel, &conv);
    else x = lsnn_smooth(net, lsnn_conv2d(net, x, c->filters * rank, c->kernel, &conv),
                         LSNN_FREE, &smooth);
    *last = x;
    build(net, x, 3);
    return net;
}

/* Both nets' outputs and losses from the same images.                                   */
static void compare_nets(lsnn_net *a, lsnn_net *b, size_t in, size_t out)
{
    const double tolerance = is_double ? 1e-12 : 1e-5;
    lsnn_real *x = new_reals(3 * in), *y = new_reals(3 * out), *z = new_reals(3 * out);
    lsnn_batch batch;
    double loss[2];
    memset(&batch, 0, sizeof batch);
    draw_reals(x, 3 * in, 9, -1, 1);
    CHECK(lsnn_predict(a, x, 3, y) == LSNN_OK);
    CHECK(lsnn_predict(b, x, 3, z) == LSNN_OK);
    for (size_t i = 0; i < 3 * out; i++) NEAR(z[i], y[i], tolerance);
    batch.n = 3;
    batch.x = x;
    draw_reals(z, 3 * out, 10, -1, 1);
    batch.targets = z;
    batch.target_count = (int)out;
    CHECK(lsnn_forward(a, &batch, 1, &loss[0]) == LSNN_OK);
    CHECK(lsnn_forward(b, &batch, 1, &loss[1]) == LSNN_OK);
    NEAR(loss[1], loss[0], tolerance);
    free(x); free(y); free(z);
}

static void test_local(void)
{
    /* rank 0: free weights, so that min(m, k) terms are needed                          */
    static const local_case cases[] = {
        { 1, 5, 6, 3, 2, 1, 0 },         /* m = 30 places, k = 9 weights                 */
        { 3, 4, 4, 3, 2, 1, 0 },         /* m = 16, k = 27                               */
        { 2, 7, 9, 5, 3, 2, 0 },         /* m = 6, k = 50                                */
        { 2, 1, 12, 1, 2, 1, 0 },        /* m = 12, k = 2                                */
        { 2, 6, 5, 3, 3, 1, 1 }, { 1, 8, 8, 5, 2, 1, 2 }, { 2, 6, 6, 3, 2, 1, 3 }
    };
    int count = (int)(sizeof cases / sizeof cases[0]);
    for (int i = 0; i < count; i++) {
        const local_case *c = &cases[i];
        lsnn_net *local, *smoothed;
        int last, p_count, depth = c->c * c->kernel * c->kernel, need;
        double *w;
        lsnn_real *v;
        local = local_net(c, 0, &last);
        p_count = lsnn_net_shape(local, last).h * lsnn_net_shape(local, last).w;
        need = c->rank ? c->rank : p_count < depth ? p_count : depth;
        smoothed = local_net(c, need, &last);
        w = draw_local(p_count, depth, c->filters, c->rank, 20 + (uint64_t)i);
        v = new_reals((size_t)(p_count * depth * c->filters));
        for (int e = 0; e < p_count * depth * c->filters; e++) v[e] = (lsnn_real)w[e];
        CHECK(lsnn_net_set(local, "conv1.weight", v,
                           (size_t)(p_count * depth * c->filters)) == LSNN_OK);
        CHECK(set_from_local(smoothed, w, p_count, depth, c->filters, need) == need);
        compare_nets(local, smoothed, (size_t)(c->c * c->h * c->w), features(local, last));
        free(w);
        free(v);
        lsnn_net_free(local);
        lsnn_net_free(smoothed);
    }
    test_end("LSNN 4.1 b: %d locally connected layers rebuilt from their weights, rank 1, 2, 3 "
             "and min(m, k)", count);
}

/* 4.1 a through nets: a table begins at 1, so that a new net is the convolution.        */
static void test_ones(void)
{
    for (int inside = 0; inside < 2; inside++) {
        lsnn_net *net[2];
        lsnn_real x[2 * 2 * 9 * 8], b[4], y[2][2 * 4 * 7 * 6];
        for (int i = 0; i < 2; i++) {
            lsnn_options conv = named("conv1"), smooth = named("smooth1");
            int last;
            net[i] = lsnn_net_new(&cx);
            conv.no_bias = i;
            smooth.smooth_shape = LSNN_TABLE;
            smooth.smooth_bias = inside;
            last = lsnn_conv2d(net[i], lsnn_input(net[i], 2, 9, 8), 4, 3, &conv);
            if (i) last = lsnn_smooth(net[i], last, LSNN_FREE, &smooth);
            CHECK(last > 0 && build_net(net[i], 2, 4, 0) == LSNN_OK);
        }
        draw_reals(x, sizeof x / sizeof *x, 1, -1, 1);
        draw_reals(b, 4, 2, -1, 1);
        CHECK(lsnn_net_set(net[0], "conv1.bias", b, 4) == LSNN_OK);
        CHECK(lsnn_net_set(net[1], "smooth1.bias", b, 4) == LSNN_OK);
        for (int i = 0; i < 2; i++) CHECK(lsnn_predict(net[i], x, 2, y[i]) == LSNN_OK);
        CHECK(same_bits(y[0], y[1], sizeof y[0] / sizeof *y[0]));
        lsnn_net_free(net[0]);
        lsnn_net_free(net[1]);
    }
    test_end("LSNN 4.1 a: nets with smoothers of ones are the plain net, bit for bit");
}

/* ---- all options together ------------------------------------------------------------- */
typedef struct choice {
    int shape, mixture, rank, normalise, bias, content;  /* bias: none, outside, inside  */
    int h, w;
} choice;
enum { SHAPES = LSNN_ATTENTION_CAUCHY_1D + 1, CHOICES = SHAPES * 3 * 2 * 3 * 3 * 2 };

/* Choice number i; 0 if there is none of that number: tables take no more than a rank.  */
static int choice_of(int i, choice *c)
{
    c->shape = i % SHAPES;
    c->mixture = i / SHAPES % 3 + 1;
    c->rank = i / (3 * SHAPES) % 2 + 1;
    c->normalise = i / (6 * SHAPES) % 3;
    c->bias = i / (18 * SHAPES) % 3;
    c->content = i / (54 * SHAPES);
    c->h = (c->shape == LSNN_GAUSSIAN_1D || c->shape >= LSNN_ATTENTION_GAUSSIAN_1D) &&
           c->rank == 1 ? 1 : 4;
    c->w = 5;
    return c->shape != LSNN_TABLE || (c->mixture == 1 && c->normalise == 0);
}

/* Two 3x3 kernels (1x3 on signals) and their smoothers; numbers: of theta, all maps.    */
static lsnn_net *choice_net(const choice *c, int *last, int *numbers)
{
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options conv = named("conv1"), o = named("smooth1"), dense = named("theta");
    int image = lsnn_input(net, 1, c->h, c->w), theta = LSNN_FREE, x;
    lsnn_smoother s;
    memset(&s, 0, sizeof s);
    s.h = c->h; s.w = c->w;
    o.smooth_shape = s.shape = (lsnn_smooth_shape)c->shape;
    o.mixture = s.mixture = c->mixture;
    o.rank = c->rank;
    o.normalise = (lsnn_normalise)c->normalise;
    o.no_bias = c->bias == 0;
    o.smooth_bias = c->bias == 2;
    *numbers = 2 * c->rank * lsnn_smoother_theta(&s);
    conv.no_bias = 1;
    conv.padding = LSNN_SAME;
    dense.init_scale = 0.3;
    x = c->h == 1 ? lsnn_conv1d(net, image, 2 * c->rank, 3, &conv)
                  : lsnn_conv2d(net, image, 2 * c->rank, 3, &conv);
    if (c->content) theta = lsnn_tanh(net, lsnn_dense(net, image, *numbers, &dense), NULL);
    *last = lsnn_smooth(net, x, theta, &o);
    return net;
}

static double loss_at(lsnn_net *net, const lsnn_batch *b, const char *name, lsnn_real *v,
                      size_t count, size_t i, double by)
{
    lsnn_real was = v[i];
    double loss = NAN;
    v[i] = (lsnn_real)((double)was + by);
    lsnn_net_set(net, name, v, count);
    CHECK(lsnn_forward(net, b, 1, &loss) == LSNN_OK);
    v[i] = was;
    lsnn_net_set(net, name, v, count);
    return loss;
}

/* Every parameter's gradient against central differences; returns the worst error.      */
static double differences(lsnn_net *net, const lsnn_batch *b, int *total)
{
    const double step = 1e-5;
    const char *name;
    double worst = 0;
    size_t count;
    lsnn_zero_grad(net);
    CHECK(lsnn_forward(net, b, 1, NULL) == LSNN_OK && lsnn_backward(net) == LSNN_OK);
    for (int t = 0; (name = lsnn_net_param_name(net, 0, t, &count)) != NULL; t++) {
        lsnn_real *v = new_reals(count), *g = new_reals(count);
        char grad[64];
        double largest = 0;
        snprintf(grad, sizeof grad, "grad:%s", name);
        CHECK(lsnn_net_get(net, grad, g, count) == LSNN_OK);
        CHECK(lsnn_net_get(net, name, v, count) == LSNN_OK);
        for (size_t i = 0; i < count; i++) largest = fmax(largest, fabs((double)g[i]));
        CHECK(largest > 1e-5);
        for (size_t i = 0; i < count; i++) {
            double numeric = (loss_at(net, b, name, v, count, i, step) -
                              loss_at(net, b, name, v, count, i, -step)) / (2 * step);
            worst = fmax(worst, fabs(numeric - (double)g[i]) / largest);
        }
        *total += (int)count;
        free(v);
        free(g);
    }
    return worst;
}

/* TKN's s stays away from 0, where windows are narrower than a pixel: differences need smooth
   ones. Theta's own numbers, or biases and weights of the layer that makes them.         */
static void widen(lsnn_net *net, const choice *c, int numbers)
{
    static const int count[6] = { 4, 4, 5, 5, 2, 2 };
    const char *name = c->content ? "theta.bias" : "smooth1.theta";
    lsnn_real *v = new_reals((size_t)numbers);
    int each;
    if (c->shape < LSNN_ATTENTION_GAUSSIAN) { free(v); return; }
    each = count[c->shape - LSNN_ATTENTION_GAUSSIAN] + (c->mixture > 1);
    CHECK(lsnn_net_get(net, name, v, (size_t)numbers) == LSNN_OK);
    for (int j = 0; j < numbers; j++)
        if (j % each == 1 || (j % each == 3 && each > 3))
            v[j] = c->content ? (lsnn_real)(j % 3 ? 1.2 : -1.2) : v[j] + (v[j] < 0 ? -1 : 1);
    CHECK(lsnn_net_set(net, name, v, (size_t)numbers) == LSNN_OK);
    free(v);
    if (!c->content) return;
    v = new_reals((size_t)(numbers * c->h * c->w));
    draw_reals(v, (size_t)(numbers * c->h * c->w), 7, (lsnn_real)-0.1, (lsnn_real)0.1);
    CHECK(lsnn_net_set(net, "theta.weight", v, (size_t)(numbers * c->h * c->w)) == LSNN_OK);
    free(v);
}

static void test_gradients(void)
{
    static sample_batch s;
    double worst = 0;
    int nets = 0, total = 0;
    choice c;
    if (!is_double) {
        test_skip("gradients of all options together", "needs the double build");
        return;
    }
    for (int i = 0; i < CHOICES; i++) {
        lsnn_net *net;
        lsnn_real target[3 * 2 * 4 * 5];
        lsnn_batch *b;
        int last, numbers;
        double error;
        if (!choice_of(i, &c)) continue;
        if (c.shape >= LSNN_ATTENTION_GAUSSIAN &&        /* any two of their choices meet  */
            (c.shape + c.mixture + c.rank + c.normalise + c.bias + c.content) % 3) continue;
        net = choice_net(&c, &last, &numbers);
        build(net, last, 40 + (uint64_t)i);
        widen(net, &c, numbers);
        b = draw_batch(&s, 3, c.h * c.w, 50 + (uint64_t)i);
        draw_reals(target, sizeof target / sizeof *target, 1, -1, 1);
        b->targets = target;
        b->target_count = 2 * c.h * c.w;
        error = differences(net, b, &total);
        if (!CHECK(error <= 1e-6))
            printf("# shape %d mixture %d rank %d normalise %d bias %d content %d: %.2g\n",
                   c.shape, c.mixture, c.rank, c.normalise, c.bias, c.content, error);
        worst = fmax(worst, error);
        lsnn_net_free(net);
        nets++;
    }
    CHECK(nets == 3 * 108 + 12 + 6 * 36);
    test_end("all options together: %d gradients of %d nets by differences, worst %.1e", total,
             nets, worst);
}

/* ---- counts, files, first values ------------------------------------------------------ */
static void test_counts(void)
{
    static const int numbers_of[] = { 5, 4 * 5, 4, 2, 4, 4, 5, 5, 2, 2 };
    int nets = 0;
    choice c;
    for (int i = 0; i < CHOICES; i++) {
        lsnn_net *net;
        int last, numbers, each;
        size_t want, maps;
        if (!choice_of(i, &c)) continue;
        net = choice_net(&c, &last, &numbers);
        CHECK(last > 0 && build_net(net, 2, 1, 0) == LSNN_OK);
        each = c.shape == LSNN_TABLE ? c.h * c.w : numbers_of[c.shape];
        maps = (size_t)(2 * c.rank);
        want = maps * (size_t)(c.mixture == 1 ? each : c.mixture * (each + 1));
        CHECK((size_t)numbers == want);
        if (c.content) want += want * (size_t)(c.h * c.w);           /* the dense layer */
        want += maps * (c.h == 1 ? 3 : 9) + (c.bias ? 2 : 0);
        CHECK(lsnn_net_params(net) == want);
        lsnn_net_free(net);
        nets++;
    }
    test_end("counts: parameters of %d nets", nets);
}

static void test_files(void)
{
    static sample_batch s;
    char path[600];
    const char *folder = getenv("TEST_TMP");
    int nets = 0;
    choice c;
    snprintf(path, sizeof path, "%.500s/smoother.safetensors", folder ? folder : ".");
    for (int i = 0; i < CHOICES; i += 7) {
        lsnn_real y[2 * 2 * 4 * 5], z[2 * 2 * 4 * 5];
        lsnn_net *net, *twin;
        int last, numbers;
        if (!choice_of(i, &c)) continue;
        net = choice_net(&c, &last, &numbers);
        build(net, last, 60 + (uint64_t)i);
        draw_batch(&s, 2, c.h * c.w, 70);
        CHECK(lsnn_net_save(net, path) == LSNN_OK);
        twin = lsnn_net_load(&cx, path, NULL, NULL, 0);
        if (CHECK(twin != NULL)) {
            CHECK(lsnn_predict(net, s.x, 2, y) == LSNN_OK);
            CHECK(lsnn_predict(twin, s.x, 2, z) == LSNN_OK);
            CHECK(same_bits(y, z, (size_t)(2 * 2 * c.h * c.w)));
            CHECK(net_is(twin, net_values(net)));
        }
        lsnn_net_free(twin);
        lsnn_net_free(net);
        nets++;
    }
    remove(path);
    test_end("files: %d nets with every option come back with their options", nets);
}

/* mu in [0.2, 0.8], alpha = beta = 1.5, gamma = 0, logits 0; all mu differ. TKN's windows:
   mu = 0.5, s = 1, r = 0.                                                               */
static void test_first_values(void)
{
    static const int order[SHAPES][5] = { { 0, 0, 1, 1, 2 }, { 0, 0, 0, 0, 0 },
        { 0, 0, 1, 1, 0 }, { 0, 1, 0, 0, 0 }, { 3, 4, 3, 4, 0 }, { 3, 4, 3, 4, 0 },
        { 3, 4, 3, 4, 2 }, { 3, 4, 3, 4, 2 }, { 3, 4, 0, 0, 0 }, { 3, 4, 0, 0, 0 } };
    static const int count[SHAPES] = { 5, 0, 4, 2, 4, 4, 5, 5, 2, 2 };
    static const double begins[5] = { 0, 1.5, 0, 0.5, 1 };
    choice c;
    for (int i = 0; i < CHOICES / 2; i++) {
        lsnn_net *net;
        lsnn_real *v;
        int last, numbers, each;
        if (!choice_of(i, &c) || c.shape == LSNN_TABLE) continue;
        net = choice_net(&c, &last, &numbers);
        CHECK(last > 0 && build_net(net, 2, 5, 0) == LSNN_OK);
        v = new_reals((size_t)numbers);
        CHECK(lsnn_net_get(net, "smooth1.theta", v, (size_t)numbers) == LSNN_OK);
        each = count[c.shape] + (c.mixture > 1);
        for (int j = 0; j < numbers; j++) {
            int part = j % each, what = part < count[c.shape] ? order[c.shape][part] : 2;
            if (what == 0) CHECK(v[j] >= (lsnn_real)0.2 && v[j] <= (lsnn_real)0.8);
            else NEAR(v[j], begins[what], 0);
            if (j >= each && what == 0) CHECK(v[j] < v[j - each] || v[j] > v[j - each]);
        }
        free(v);
        lsnn_net_free(net);
    }
    test_end("first values: of every shape and mixture");
}

/* ---- signals: section 3.1 as it is written ----------------------------------------------
   P_i = (x_i, ..., x_{i+k-1}), W_i = U_i V', y_i = W_i P_i, i = 1..m, m = n - k + 1, with
   U_i = exp(-(alpha (i / (m - 1) - mu))^2).                                              */
static void test_signal(void)
{
    enum { N = 23, K = 5, M = N - K + 1, FILTERS = 3 };
    lsnn_real x[N], y[FILTERS * M], v[FILTERS * K], theta[FILTERS * 2], b[FILTERS];
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options conv = named("conv1"), smooth = named("smooth1");
    int last;
    conv.no_bias = 1;
    smooth.smooth_shape = LSNN_GAUSSIAN_1D;
    last = lsnn_smooth(net, lsnn_conv1d(net, lsnn_input(net, 1, 1, N), FILTERS, K, &conv),
                       LSNN_FREE, &smooth);
    CHECK(lsnn_net_shape(net, last).c == FILTERS && lsnn_net_shape(net, last).h == 1 &&
          lsnn_net_shape(net, last).w == M);
    build(net, last, 5);
    CHECK(lsnn_net_get(net, "conv1.weight", v, FILTERS * K) == LSNN_OK);
    CHECK(lsnn_net_get(net, "smooth1.theta", theta, FILTERS * 2) == LSNN_OK);
    CHECK(lsnn_net_get(net, "smooth1.bias", b, FILTERS) == LSNN_OK);
    draw_reals(x, N, 6, -1, 1);
    CHECK(lsnn_predict(net, x, 1, y) == LSNN_OK);
    for (int f = 0; f < FILTERS; f++)
        for (int i = 0; i < M; i++) {
            double mu = (double)theta[2 * f], alpha = (double)theta[2 * f + 1], sum = 0;
            double r = alpha * (i / (M - 1.0) - mu), u = exp(-r * r);
            for (int j = 0; j < K; j++) sum += u * (double)v[f * K + j] * (double)x[i + j];
            NEAR(y[f * M + i], sum + (double)b[f], is_double ? 1e-14 : 1e-6);
        }
    CHECK(lsnn_net_params(net) == FILTERS * (K + 2 + 1));
    NEAR(lsnn_net_macs(net), FILTERS * K * M, 0);
    lsnn_net_free(net);
    test_end("signals: conv1d and a 1-D smoother are section 3.1 written out");
}

/* ---- numbers that no one should feed it ------------------------------------------------- */
enum { FAR_H = 6, FAR_W = 7, FAR_P = FAR_H * FAR_W };
static lsnn_smoother far_smoother(int shape, int mixture, int normalise)
{
    lsnn_smoother s;
    memset(&s, 0, sizeof s);
    s.n = s.k = 1;
    s.h = FAR_H;
    s.w = FAR_W;
    s.shape = (lsnn_smooth_shape)shape;
    s.mixture = mixture;
    s.normalise = (lsnn_normalise)normalise;
    return s;
}
/* mu_x, mu_y, alpha, beta, gamma in the order of a shape, then a logit in a mixture.    */
static int put_theta(lsnn_real *theta, const lsnn_smoother *s, const double t[5], double logit)
{
    static const int order[SHAPES][6] = { { 0, 1, 2, 3, 4, -1 }, { -1, 0, 0, 0, 0, 0 },
        { 0, 1, 2, 3, -1, 0 }, { 0, 2, -1, 0, 0, 0 }, { 0, 2, 1, 3, -1, 0 },
        { 0, 2, 1, 3, -1, 0 }, { 0, 2, 1, 3, 4, -1 }, { 0, 2, 1, 3, 4, -1 },
        { 0, 2, -1, 0, 0, 0 }, { 0, 2, -1, 0, 0, 0 } };
    int n = 0;
    for (; order[s->shape][n] >= 0; n++) theta[n] = (lsnn_real)t[order[s->shape][n]];
    if (s->mixture > 1) theta[n++] = (lsnn_real)logit;
    return n;
}

/* Map and gradients are finite, the map is not negative and adds up to what it should.  */
static int sane(const lsnn_smoother *s, const lsnn_real *theta)
{
    lsnn_real u[FAR_P], y[FAR_P], a[FAR_P], dy[FAR_P], da[FAR_P], dtheta[18] = { 0 };
    double sum = 0;
    int good = 1, want = s->normalise == LSNN_NORMALISE_SUM ? 1 : (int)FAR_P;
    draw_reals(a, FAR_P, 1, -1, 1);
    draw_reals(dy, FAR_P, 2, -1, 1);
    CHECK(lsnn_smooth_forward(&cx, y, u, a, theta, NULL, s) == LSNN_OK);
    CHECK(lsnn_smooth_backward(&cx, da, dtheta, NULL, dy, a, u, theta, NULL, s, LSNN_SET,
                               LSNN_SET) == LSNN_OK);
    for (int p = 0; p < FAR_P; p++) {
        good = good && u[p] >= 0 && u[p] <= FAR_P * (lsnn_real)1.001;
        good = good && isfinite((double)y[p]) && isfinite((double)da[p]);
        sum += (double)u[p];
    }
    for (int i = 0; i < lsnn_smoother_theta(s); i++) good = good && isfinite((double)dtheta[i]);
    return good && (!s->normalise || fabs(sum - want) <= 1e-4 * want);
}

static void test_extremes(void)
{
    static const double mu[] = { -1e6, -1e3, -0.01, 0, 0.37, 0.5, 1, 1.3, 50, 1e10 };
    static const double phi[] = { 0, 1e-30, 0.7, 30, 1e3, 1e6, 1e17, -1e6 };
    enum { MU = 10, PHI = 8, CASES = MU * MU * PHI * PHI * 3 };
    int bad = 0, count = 0;
    for (int i = 0; i < CASES; i++) {
        double t[5], home[5] = { 0.3, 0.6, 1.5, 1.5, 0.2 };
        t[0] = mu[i % MU];
        t[1] = mu[i / MU % MU];
        t[2] = phi[i / (MU * MU) % PHI];
        t[3] = phi[i / (MU * MU * PHI) % PHI];
        t[4] = i % 3 == 0 ? 0 : i % 3 == 1 ? sqrt(fabs(t[2] * t[3])) : -0.5 * t[2];
        for (int what = 0; what < 3; what++) {
            lsnn_smoother s = far_smoother(what == 2 ? 3 : i % 2 * 2, what == 1 ? 2 : 1,
                                           i / (MU * MU * PHI * PHI));
            lsnn_real theta[18];
            int n = put_theta(theta, &s, t, i % 7 * 1e3 - 3e3);
            if (what == 1) put_theta(theta + n, &s, home, 0);
            if (!sane(&s, theta) && bad++ < 5)
                printf("# mu %g %g alpha %g beta %g gamma %g, shape %d mixture %d "
                       "normalise %d\n", t[0], t[1], t[2], t[3], t[4], (int)s.shape,
                       s.mixture, (int)s.normalise);
            count++;
        }
    }
    CHECK(bad == 0);
    test_end("extremes: %d thetas with mu to 1e10 and alpha to 1e17 give finite maps and "
             "gradients", count);
}

/* The same of TKN's windows: s at 0, hardly anything, below 0, and huge.                */
static void test_attention_extremes(void)
{
    static const double mu[] = { -1e30, -1e3, -0.01, 0, 0.5, 1, 1.3, 1e10 };
    static const double width[] = { 0, 1e-38, -1e-5, 0.3, 1, -2, 1e3, 1e30 };
    static const double r[] = { 0, 0.5, -30, 1e20 };
    int bad = 0, count = 0;
    for (int i = 0; i < 8 * 8 * 8 * 8 * 4; i++) {
        double t[5], home[5] = { 0.3, 0.6, 0.8, 0.5, 0.2 };
        lsnn_smoother s = far_smoother(LSNN_ATTENTION_GAUSSIAN + count % 6, 1 + i / 3 % 2,
                                       i / 7 % 3);
        lsnn_real theta[18];
        int n;
        t[0] = mu[i % 8]; t[1] = mu[i / 8 % 8];
        t[2] = width[i / 64 % 8]; t[3] = width[i / 512 % 8];
        t[4] = r[i / 4096];
        n = put_theta(theta, &s, t, i % 7 * 1e3 - 3e3);
        if (s.mixture > 1) put_theta(theta + n, &s, home, 0);
        if (!sane(&s, theta) && bad++ < 5)
            printf("# mu %g %g s %g %g r %g, shape %d mixture %d normalise %d\n", t[0], t[1],
                   t[2], t[3], t[4], (int)s.shape, s.mixture, (int)s.normalise);
        count++;
    }
    CHECK(bad == 0);
    test_end("extremes: %d of TKN's windows, s from 0 to 1e30, are finite and have finite "
             "gradients", count);
}

/* A window far narrower than a pixel takes the nearest one, and all of it.              */
static void test_narrow(void)
{
    for (int i = 0; i < 60; i++) {
        lsnn_smoother s = far_smoother(i % 3 ? 2 : 0, 1, 1 + i % 2);
        double t[5] = { 0, 0, 0, 0, 0 };
        lsnn_real theta[5], u[FAR_P];
        int row, column;
        t[0] = -0.3 + 0.027 * i;
        t[1] = 1.2 - 0.0231 * i;
        t[2] = t[3] = i % 4 < 2 ? 1e5 : 1e9;
        put_theta(theta, &s, t, 0);
        column = (int)floor(fmin(fmax((double)theta[0], 0), 1) * (FAR_W - 1) + 0.5);
        row = (int)floor(fmin(fmax((double)theta[1], 0), 1) * (FAR_H - 1) + 0.5);
        CHECK(lsnn_smoother_map(&cx, u, theta, &s) == LSNN_OK);
        for (int p = 0; p < FAR_P; p++)
            NEAR(u[p], p != row * FAR_W + column ? 0 : i % 2 ? (int)FAR_P : 1, 1e-5);
    }
    /* nearly in the middle of two, each gets its share: 1 / (1 + exp(-(e1 - e2)))       */
    for (int i = 0; i < 40; i++) {
        lsnn_smoother s = far_smoother(3, 1, LSNN_NORMALISE_SUM);
        double t[5] = { 0, 0, 0, 0, 0 }, shift = (i % 10 - 4.5) / 3, alpha, mu, difference;
        lsnn_real theta[5], u[FAR_P];
        t[2] = pow(10, 2 + i / 10);
        t[0] = 2.5 / (FAR_W - 1) + shift * (FAR_W - 1) / 2 / t[2] / t[2];
        put_theta(theta, &s, t, 0);
        mu = (double)theta[0];
        alpha = (double)theta[1];
        difference = alpha * alpha * (2 * mu - 5.0 / (FAR_W - 1)) / (FAR_W - 1);
        CHECK(lsnn_smoother_map(&cx, u, theta, &s) == LSNN_OK);
        NEAR(u[3] * FAR_H, 1 / (1 + exp(-difference)), is_double ? 1e-6 : 1e-5);
        NEAR(u[2] * FAR_H, 1 / (1 + exp(difference)), is_double ? 1e-6 : 1e-5);
    }
    test_end("extremes: a window narrower than a pixel is the nearest pixel, or two");
}

/* NaN and infinity stay visible, and stay in their map.                                 */
static void test_nan(void)
{
    for (int i = 0; i < 3 * 3 * 6 * 2; i++) {
        lsnn_smoother s = far_smoother(0, i % 3 + 1, i / 3 % 3);
        lsnn_real theta[2 * 18], u[2 * FAR_P];
        double t[5] = { 0.3, 0.6, 1.5, 1.2, 0.1 };
        int n = 0, at = i / 9 % 6, nan = 0, clean = 1;
        s.k = 2;
        for (int m = 0; m < 2 * s.mixture; m++) n += put_theta(theta + n, &s, t, 0.1 * m);
        if (s.mixture == 1 && at == 5) continue;
        theta[at] = (lsnn_real)(i / 54 ? HUGE_VAL : NAN);
        CHECK(lsnn_smoother_map(&cx, u, theta, &s) == LSNN_OK);
        for (int p = 0; p < FAR_P; p++) {
            nan += !isfinite((double)u[p]);
            clean = clean && isfinite((double)u[FAR_P + p]);
        }
        /* U without normalisation may take an infinite width as it is: 0               */
        CHECK(clean && (nan > 0 || (i / 54 && s.normalise == LSNN_NORMALISE_NONE)));
    }
    test_end("extremes: NaN stays NaN, and in its map");
}

int main(void)
{
    cx = quiet_ctx();
    cx.threads = 1;
    test_ones();
    test_local();
    test_gradients();
    test_counts();
    test_files();
    test_first_values();
    test_signal();
    test_extremes();
    test_attention_extremes();
    test_narrow();
    test_nan();
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("all is given back");
    return test_finish();
}
