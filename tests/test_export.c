/* test_export.c - nets written as C: compiled as strict, freestanding C99 and run, they
   predict what the library predicts. As ONNX models: ONNX's checker takes them, and ONNX
   Runtime predicts the same.

   Build: cc -std=c99 -O2 -I. tests/test_export.c -o tests/test_export -lm
   Usage: test_export     writes into $TEST_TMP (else .), compiles by $CC (else cc)
          ORT_NODE=FOLDER: where `npm install onnxruntime-node` was run; python3-onnx checks
   modes: plain | long asan double */
#ifndef TEST_LINKED
#define LSNN_IMPLEMENTATION
#endif
#include "lsnn.h"
#include "examples/models.h"
#include "check.h"
#include "nets.h"

static const char *folder = ".";
static char command[2000], path[600];

enum { IMAGES = 3 };

/* Parameters and statistics that are no special numbers: none is 0, no two are alike. Drawn
   weights are so already, and more noise on them would only make large outputs.          */
static void stir(lsnn_net *net)
{
    const char *name;
    size_t count;
    for (int kind = 0; kind < 2; kind++)
        for (int i = 0; (name = lsnn_net_param_name(net, kind, i, &count)) != NULL; i++) {
            lsnn_real *v = (lsnn_real *)malloc(count * sizeof *v);
            lsnn_rng r = lsnn_rng_at(5, "test", name, 0, 0);
            int alike;
            lsnn_net_get(net, name, v, count);
            alike = count == 1 || v[0] == v[1];
            for (size_t k = 0; k < count && alike; k++)
                v[k] += (lsnn_real)(0.1 * lsnn_rng_uniform(&r) + 0.01);
            lsnn_net_set(net, name, v, count);
            free(v);
        }
}

static size_t size_of(lsnn_shape s) { return (size_t)s.c * (size_t)s.h * (size_t)s.w; }

/* Running statistics that fit the stirred parameters, as training leaves them: with others,
   forty layers of batch normalisation reach 1e37.                                        */
static void settle(lsnn_net *net, int n)
{
    size_t count = (size_t)n * size_of(lsnn_net_shape(net, 0));
    lsnn_real *x = (lsnn_real *)malloc(count * sizeof *x);
    int labels[16] = { 0, 1, 2, 3, 4 };
    lsnn_batch b;
    memset(&b, 0, sizeof b);
    b.n = n;
    b.x = x;
    b.labels = labels;
    b.heads = 1;
    for (uint64_t t = 0; t < 40; t++) {
        draw_reals(x, count, 100 + t, 0, 1);
        CHECK(lsnn_forward(net, &b, 1, NULL) == LSNN_OK);
    }
    free(x);
}

/* A program that runs NAME_predict on the floats in `in`, and writes floats.             */
static int write_main(size_t in, size_t out)
{
    FILE *f;
    snprintf(path, sizeof path, "%s/main.c", folder);
    f = fopen(path, "w");
    if (!f) return 0;
    fprintf(f, "#include <stdio.h>\nvoid it_predict(const float *x, float *y);\n"
            "static float x[%d], y[%d];\nint main(void)\n{\n"
            "    while (fread(x, sizeof x, 1, stdin)) {\n"
            "        it_predict(x, y);\n        fwrite(y, sizeof y, 1, stdout);\n    }\n"
            "    return 0;\n}\n", (int)in, (int)out);
    return fclose(f) == 0;
}

static int write_floats(const lsnn_real *x, size_t count)
{
    FILE *f;
    int good;
    float *copy = (float *)malloc(count * sizeof *copy);
    for (size_t i = 0; i < count; i++) copy[i] = (float)x[i];
    snprintf(path, sizeof path, "%s/x.bin", folder);
    f = fopen(path, "wb");
    good = f && fwrite(copy, count * sizeof *copy, 1, f) == 1 && fclose(f) == 0;
    free(copy);
    return good;
}

static int read_floats(float *y, size_t count)
{
    FILE *f;
    int good;
    snprintf(path, sizeof path, "%s/y.bin", folder);
    f = fopen(path, "rb");
    good = f && fread(y, count * sizeof *y, 1, f) == 1 && fgetc(f) == EOF;
    if (f) fclose(f);
    return good;
}

/* The largest difference, and *most, the largest output.                                 */
static double apart(const lsnn_real *y, const float *theirs, size_t count, double *most)
{
    double worst = 0;
    for (size_t i = 0; i < count; i++) {
        double d = fabs((double)theirs[i] - (double)y[i]);
        if (!(d <= worst)) worst = d;
        if (fabs((double)y[i]) > *most) *most = fabs((double)y[i]);
    }
    return worst;
}

/* The file's outputs for the images, through a compiler.                                 */
static int compiled(const lsnn_real *x, size_t in, float *y, size_t out)
{
    const char *cc = getenv("CC") ? getenv("CC") : "cc";
    snprintf(command, sizeof command, "cd '%s' && %s -std=c99 -O1 -Wall -Wextra -Werror "
             "-Wpedantic -Wmissing-prototypes -Wshadow -ffreestanding -c net.c -o net.o && "
             "%s main.c net.o -o net.exe -lm && ./net.exe < x.bin > y.bin", folder, cc, cc);
    return write_floats(x, IMAGES * in) && write_main(in, out) && system(command) == 0 &&
           read_floats(y, IMAGES * out);
}

/* Writes the net with one storage, rounds it here likewise, and compares. Returns the
   largest difference, of the largest output.                                             */
static double difference(lsnn_net *net, const char *what, lsnn_storage storage,
                         int static_buffers)
{
    size_t in = size_of(lsnn_net_shape(net, 0));
    size_t out = size_of(lsnn_net_shape(net, lsnn_net_output(net)));
    lsnn_real *x = (lsnn_real *)malloc(IMAGES * in * sizeof *x);
    lsnn_real *y = (lsnn_real *)malloc(IMAGES * out * sizeof *y);
    float *theirs = (float *)malloc(IMAGES * out * sizeof *theirs);
    lsnn_export_desc d;
    double worst = 0, most = 0;
    memset(&d, 0, sizeof d);
    d.name = "it";
    d.storage = storage;
    d.static_buffers = static_buffers;
    draw_reals(x, IMAGES * in, 7, 0, 1);
    snprintf(path, sizeof path, "%s/net.c", folder);
    CHECK(lsnn_net_export_c(net, path, &d) == LSNN_OK);
    CHECK(lsnn_net_round(net, storage) == LSNN_OK);
    CHECK(lsnn_predict(net, x, IMAGES, y) == LSNN_OK);
    if (!CHECK(compiled(x, in, theirs, out))) printf("# %s\n", what);
    else worst = apart(y, theirs, IMAGES * out, &most);
    free(x);
    free(y);
    free(theirs);
    if (!CHECK(most > 0 && worst <= 1e-6 * (most > 1 ? most : 1)))
        printf("# %s, storage %d: %g apart, the largest output is %g\n", what, (int)storage,
               worst, most);
    return worst / most;
}

/* ---- ONNX ------------------------------------------------------------------------------ */
static int has_checker, has_runtime;

static void find_onnx(void)
{
    has_checker = system("/usr/bin/python3 -c 'import onnx' 2> /dev/null") == 0;
    has_runtime = system("node tests/onnx_run.js 2> /dev/null") == 0;
    if (!has_checker) test_skip("ONNX's checker", "python3-onnx is not here");
    if (!has_runtime) test_skip("ONNX Runtime", "onnxruntime-node is not here, see ORT_NODE");
}

static void same_in_onnx(lsnn_net *net, const char *what)
{
    lsnn_shape s = lsnn_net_shape(net, 0);
    size_t in = size_of(s), out = size_of(lsnn_net_shape(net, lsnn_net_output(net)));
    lsnn_real *x = (lsnn_real *)malloc(IMAGES * in * sizeof *x);
    lsnn_real *y = (lsnn_real *)malloc(IMAGES * out * sizeof *y);
    float *theirs = (float *)malloc(IMAGES * out * sizeof *theirs);
    double most = 0, worst = 0;
    draw_reals(x, IMAGES * in, 7, 0, 1);
    snprintf(path, sizeof path, "%s/net.onnx", folder);
    CHECK(lsnn_net_export_onnx(net, path) == LSNN_OK);
    CHECK(lsnn_predict(net, x, IMAGES, y) == LSNN_OK);
    snprintf(command, sizeof command, "/usr/bin/python3 -c \"import onnx; onnx.checker.check_model("
             "onnx.load('%s'), full_check=True)\"", path);
    if (has_checker && !CHECK(system(command) == 0)) printf("# %s\n", what);
    snprintf(command, sizeof command, "node tests/onnx_run.js '%s/net.onnx' '%s/x.bin' "
             "'%s/y.bin' %d %d %d", folder, folder, folder, s.c, s.h, s.w);
    if (has_runtime) {
        CHECK(write_floats(x, IMAGES * in) && system(command) == 0 &&
              read_floats(theirs, IMAGES * out));
        worst = apart(y, theirs, IMAGES * out, &most);
        if (!CHECK(most > 0 && worst <= 1e-5 * (most > 1 ? most : 1)))
            printf("# %s: ONNX Runtime is %g apart, the largest output is %g\n", what, worst,
                   most);
    }
    free(x);
    free(y);
    free(theirs);
}

/* ---- the networks of the documents --------------------------------------------------- */
static void test_model(const char *name, int c, int side, int classes)
{
    static lsnn_ctx cx;
    lsnn_net *net = lsnn_net_new(&cx);
    int x = lsnn_input(net, c, side, side);
    lsnn_build_desc d;
    double worst[3];
    memset(&d, 0, sizeof d);
    d.batch = 4;
    d.seed = 1;
    lsnn_cross_entropy(net, model_by_name(net, name, x, classes), NULL);
    CHECK(lsnn_net_build(net, &d) == LSNN_OK && model_lsnn_start(net, 1, NULL) == LSNN_OK);
    stir(net);
    settle(net, (int)d.batch);
    same_in_onnx(net, name);
    worst[0] = difference(net, name, LSNN_STORE_FLOAT, 0);
    worst[1] = difference(net, name, LSNN_STORE_HALF, 1);
    worst[2] = difference(net, name, LSNN_STORE_INT8, 0);
    test_end("%s as ONNX; as C: %.1g of the largest output apart, with halves %.1g, with int8 "
             "%.1g", name, worst[0], worst[1], worst[2]);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
}

/* ---- one net of everything ------------------------------------------------------------ */
static void test_all_layers(void)
{
    static lsnn_ctx cx;
    lsnn_net *net = lsnn_net_new(&cx);
    int image = lsnn_input(net, 2, 11, 9), x, a, both[3];
    lsnn_options o = model_options("first-one"), same, local;
    lsnn_build_desc d;
    memset(&d, 0, sizeof d);
    memset(&same, 0, sizeof same);
    same.padding = LSNN_SAME;
    o.padding = LSNN_EXPLICIT;
    o.pad_top = 2; o.pad_left = 1; o.pad_right = 3;
    o.stride_w = 2;
    o.kernel_w = 4;
    x = lsnn_leaky_relu(net, lsnn_conv2d(net, image, 6, 3, &o), NULL);   /* 6 x 11 x 5   */
    local = same;
    local.groups = 2; local.dilation_h = 2;
    a = lsnn_sigmoid(net, lsnn_local2d(net, x, 4, 3, &local), NULL);
    local.groups = 4; local.dilation_w = 3;                              /* depthwise    */
    a = lsnn_conv2d(net, a, 8, 3, &local);
    local = same;
    local.bias = LSNN_BIAS_OF_KERNEL;
    a = lsnn_local2d(net, a, 4, 2, &local);
    memset(&local, 0, sizeof local);
    local.blend = LSNN_BLEND_FREE_PLACES;
    local.padding = LSNN_SAME;
    a = lsnn_lowrank2d(net, a, 4, 2, 3, &local);
    a = lsnn_blend(net, a, 1, NULL);
    both[0] = x;
    both[1] = lsnn_tanh(net, lsnn_scale(net, a, NULL), NULL);
    both[2] = lsnn_slice(net, x, 1, 3, NULL);
    x = lsnn_concat(net, both, 3, NULL);                                  /* 13 channels  */
    x = lsnn_relu(net, lsnn_batch_norm(net, x, NULL), NULL);
    same.stride_h = 2;
    both[0] = lsnn_max_pool(net, x, 3, &same);
    both[1] = lsnn_avg_pool(net, x, 3, &same);
    both[2] = lsnn_sum_pool(net, x, 3, &same);
    x = lsnn_add(net, lsnn_add(net, both[0], both[1], NULL), both[2], NULL);
    same.norm = 40;                                                       /* 13 x 6 x 5   */
    same.learn_norm = LSNN_NORM_OF_MAP;
    both[0] = lsnn_scaled_tanh(net, x, NULL);
    both[0] = lsnn_table_conv2d(net, both[0], "0-2,12;3;5,7-9;0-12", 3, NULL);     /* 4 x 4 x 3 */
    both[1] = lsnn_lp_pool(net, x, 3, &same);                             /* 13 x 3 x 5   */
    both[0] = lsnn_flatten(net, both[0], NULL);
    both[1] = lsnn_flatten(net, lsnn_lp_pool(net, both[1], 2, NULL), NULL);
    x = lsnn_dropout(net, lsnn_softmax(net, lsnn_concat(net, both, 2, NULL), NULL), 0.5, NULL);
    both[0] = lsnn_rbf(net, x, 5, NULL);
    o = model_options("frozen");
    o.freeze = 1;
    both[1] = lsnn_rbf(net, x, 3, &o);
    both[2] = lsnn_dense(net, x, 7, NULL);
    x = lsnn_concat(net, both, 3, NULL);
    CHECK(x >= 0 && lsnn_net_build(net, &d) == LSNN_OK);
    stir(net);
    same_in_onnx(net, "all layers");
    difference(net, "all layers", LSNN_STORE_FLOAT, 0);
    difference(net, "all layers", LSNN_STORE_HALF, 0);
    difference(net, "all layers", LSNN_STORE_INT8, 1);
    test_end("a net of every layer type as ONNX and as C");
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
}

/* ---- smoothers: every shape, free and computed ----------------------------------------- */
static void test_smoother(int shape, int normalise, int mixture, int rank, int computed)
{
    static lsnn_ctx cx;
    lsnn_net *net = lsnn_net_new(&cx);
    int line = shape == LSNN_GAUSSIAN_1D || shape == LSNN_ATTENTION_CAUCHY_1D, h = line ? 1 : 6;
    int image = lsnn_input(net, 1, h, 7), maps, theta = LSNN_FREE, x;
    int numbers, window = shape >= LSNN_ATTENTION_GAUSSIAN;
    lsnn_smoother s;
    lsnn_options o, dense = named("theta");
    lsnn_real v[2 * 2 * 18];
    char what[100];
    memset(&o, 0, sizeof o);
    memset(&s, 0, sizeof s);
    s.shape = o.smooth_shape = (lsnn_smooth_shape)shape;
    s.mixture = o.mixture = mixture;
    o.normalise = (lsnn_normalise)normalise;
    o.rank = rank;
    o.smooth_bias = computed;
    s.h = h;
    s.w = 7;
    maps = lsnn_conv2d(net, image, 2 * rank, 1, NULL);
    numbers = 2 * rank * lsnn_smoother_theta(&s);
    if (window) dense.init_scale = 0.1;
    if (computed) theta = lsnn_dense(net, image, numbers, &dense);
    x = lsnn_smooth(net, maps, theta, &o);
    snprintf(what, sizeof what, "smoother, shape %d, normalise %d, mixture %d, rank %d, %s", shape,
             normalise, mixture, rank, computed ? "computed" : "free");
    CHECK(x >= 0 && lsnn_net_build(net, NULL) == LSNN_OK);
    stir(net);
    if (window && computed) {            /* ONNX Runtime counts in floats, which lose digits */
        for (int i = 0; i < numbers; i++)                /*   of windows narrower than a pixel */
            v[i] = (lsnn_real)(0.6 + 0.02 * i / numbers);
        CHECK(lsnn_net_set(net, "theta.bias", v, (size_t)numbers) == LSNN_OK);
    }
    same_in_onnx(net, what);
    difference(net, what, LSNN_STORE_FLOAT, 0);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
}

static void test_smoothers(void)
{
    for (int computed = 0; computed < 2; computed++)
        for (int shape = 0; shape <= LSNN_GAUSSIAN_1D; shape++) {
            int table = shape == LSNN_TABLE, some = 1 + shape % 2;
            test_smoother(shape, table ? 0 : (shape + 1) % 3, table ? 1 : some, 2, computed);
            test_smoother(shape, table ? 0 : (shape + 2) % 3, table ? 1 : 3, 1, computed);
            if (!table) test_smoother(shape, LSNN_NORMALISE_NONE, 1, 1, computed);
        }
    for (int shape = LSNN_ATTENTION_GAUSSIAN; shape <= LSNN_ATTENTION_CAUCHY_1D; shape++) {
        test_smoother(shape, shape % 3, 1 + shape / 2 % 2, 1 + shape % 2, 1);
        test_smoother(shape, (shape / 2 + 1) % 3, 1, 1, 1);
    }
    test_smoother(LSNN_ATTENTION_CAUCHY, LSNN_NORMALISE_NONE, 1, 1, 0);
    test_end("smoothers as ONNX and as C: all shapes, normalisations, mixtures, ranks, free and "
             "computed");
}

/* ---- spatial transformers: a grid of another size than the picture, partly beyond it ----- */
static void test_transform(int corners)
{
    static lsnn_ctx cx;
    lsnn_net *net = lsnn_net_new(&cx);
    int image = lsnn_input(net, 2, 6, 7), x;
    lsnn_options o = model_options(NULL), theta = model_options("theta");
    lsnn_real bias[6] = { (lsnn_real)0.9, (lsnn_real)0.3, (lsnn_real)0.1, (lsnn_real)-0.4, 1,
                          (lsnn_real)-0.2 };
    o.align_corners = corners;
    theta.init_scale = 0.1;
    x = lsnn_affine_grid(net, lsnn_dense(net, image, 6, &theta), 5, 4, &o);
    x = lsnn_grid_sample(net, lsnn_conv2d(net, image, 3, 1, NULL), x, &o);
    CHECK(x >= 0 && lsnn_net_build(net, NULL) == LSNN_OK);
    CHECK(lsnn_net_set(net, "theta.bias", bias, 6) == LSNN_OK);
    same_in_onnx(net, "transformer");
    difference(net, "transformer", LSNN_STORE_FLOAT, 0);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
}

static void test_transforms(void)
{
    test_transform(0);
    test_transform(1);
    test_end("spatial transformers as ONNX and as C, align_corners 0 and 1");
}

/* ---- target2d: regions within the map, cut by its border, empty, and the whole map -------- */
static void test_target(int cauchy)
{
    static lsnn_ctx cx;
    static const double theta[5][4] = { { 0.5, 1, 0.5, 1 }, { 0.3, 0.3, 0.6, 0.25 },
        { 0, 0.4, 1, 0.5 }, { 0.5, 0.02, 0.4, -0.7 }, { 3, 0.1, 0.5, 0.5 } };
    lsnn_net *net = lsnn_net_new(&cx);
    int x = lsnn_input(net, 2, 9, 7);
    lsnn_options o = model_options("target");
    lsnn_real v[20];
    o.smooth_shape = cauchy ? LSNN_ATTENTION_CAUCHY : LSNN_ATTENTION_GAUSSIAN;
    o.padding = cauchy ? LSNN_SAME : LSNN_VALID;
    o.no_bias = cauchy;
    o.stride_h = 1 + cauchy;
    o.kernel_w = 2;
    x = lsnn_relu(net, lsnn_target2d(net, x, 5, 3, &o), NULL);
    x = lsnn_dense(net, lsnn_max_pool(net, x, 2, NULL), 4, NULL);
    CHECK(x >= 0 && lsnn_net_build(net, NULL) == LSNN_OK);
    stir(net);
    for (int i = 0; i < 20; i++) v[i] = (lsnn_real)theta[i / 4][i % 4];
    CHECK(lsnn_net_set(net, "target.theta", v, 20) == LSNN_OK);
    same_in_onnx(net, "target2d");
    difference(net, "target2d", LSNN_STORE_FLOAT, 0);
    difference(net, "target2d", LSNN_STORE_HALF, 0);
    difference(net, "target2d", LSNN_STORE_INT8, 0);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
}

static void test_targets(void)
{
    test_target(0);
    test_target(1);
    test_end("target2d as ONNX and as C: regions inside, cut, empty, whole; both windows");
}

/* ---- storage: values worked out by hand ------------------------------------------------- */
static void test_rounding(void)
{
    /* 0.1; halves' largest; their smallest; two ties, which go to the even neighbour; a value
       below the smallest that is nearer to 0                                            */
    static const double given[8] = { 0.1, 65504, 5.9604644775390625e-8, 1 + 1 / 2048.0,
                                     1 + 3 / 2048.0, -0.1, 2e-8, 0 };
    static const double half[8] = { 0.0999755859375, 65504, 5.9604644775390625e-8, 1,
                                    1 + 2 / 1024.0, -0.0999755859375, 0, 0 };
    static const double bytes[4] = { 127, -63.5, 1.4, 0 };       /* step 1               */
    static const double rounded[4] = { 127, -63, 1, 0 };
    static lsnn_ctx cx;
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_real w[8];
    lsnn_dense(net, lsnn_dense(net, lsnn_input(net, 4, 1, 1), 2, NULL), 2, NULL);
    CHECK(lsnn_net_build(net, NULL) == LSNN_OK);
    for (int i = 0; i < 8; i++) w[i] = (lsnn_real)given[i];
    CHECK(lsnn_net_set(net, "dense1.weight", w, 8) == LSNN_OK);
    CHECK(lsnn_net_round(net, LSNN_STORE_HALF) == LSNN_OK);
    lsnn_net_get(net, "dense1.weight", w, 8);
    for (int i = 0; i < 8; i++) CHECK(fabs((double)w[i] - half[i]) <= 0);
    for (int i = 0; i < 8; i++) w[i] = (lsnn_real)(bytes[i % 4] * (i < 4 ? 1 : 0.25));
    CHECK(lsnn_net_set(net, "dense1.weight", w, 8) == LSNN_OK);
    CHECK(lsnn_net_round(net, LSNN_STORE_INT8) == LSNN_OK);
    lsnn_net_get(net, "dense1.weight", w, 8);                    /* a step each row      */
    for (int i = 0; i < 8; i++)
        CHECK(fabs((double)w[i] - rounded[i % 4] * (i < 4 ? 1 : 0.25)) <= 0);
    test_end("weights rounded to halves and to bytes, by hand");
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
}

/* ---- what is refused ------------------------------------------------------------------- */
static lsnn_status plan_own(lsnn_ctx *c, lsnn_layer_plan *p)
{
    (void)c;
    p->out = p->in[0];
    return LSNN_OK;
}
static lsnn_status run_own(lsnn_ctx *c, lsnn_call *call)
{
    (void)c;
    (void)call;
    return LSNN_OK;
}

static void test_refusals(void)
{
    static const lsnn_layer_type own = { "own", "", 1, 1, 0, plan_own, run_own, run_own, NULL,
                                        NULL, NULL, NULL, NULL };
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx);
    int x = lsnn_input(net, 1, 4, 4);
    lsnn_export_desc d;
    lsnn_options o = model_options("a-b"), twin = model_options("a_b");
    lsnn_real bad = (lsnn_real)NAN;
    memset(&d, 0, sizeof d);
    snprintf(path, sizeof path, "%s/refused.c", folder);
    REFUSED(&cx, lsnn_net_export_c(net, path, NULL), LSNN_ESTATE, "build");
    lsnn_dense(net, x, 1, &o);
    CHECK(lsnn_net_build(net, NULL) == LSNN_OK);
    d.name = "2net";
    REFUSED(&cx, lsnn_net_export_c(net, path, &d), LSNN_ENAME, "2net");
    d.name = "a b";
    REFUSED(&cx, lsnn_net_export_c(net, path, &d), LSNN_ENAME, "a b");
    d.name = "fine";
    d.storage = (lsnn_storage)7;
    REFUSED(&cx, lsnn_net_export_c(net, path, &d), LSNN_EVALUE, "storage");
    CHECK(lsnn_net_set(net, "a-b.bias", &bad, 1) == LSNN_OK);
    REFUSED(&cx, lsnn_net_export_c(net, path, NULL), LSNN_EVALUE, "a-b.bias");
    REFUSED(&cx, lsnn_net_export_onnx(net, path), LSNN_EVALUE, "a-b.bias");
    REFUSED(&cx, lsnn_net_export_c(net, NULL, NULL), LSNN_EVALUE, "path");
    REFUSED(&cx, lsnn_net_export_onnx(net, NULL), LSNN_EVALUE, "path");
    bad = 0;
    CHECK(lsnn_net_set(net, "a-b.bias", &bad, 1) == LSNN_OK);
    REFUSED(&cx, lsnn_net_export_c(net, "not/there.c", NULL), LSNN_EIO, "there.c");
    CHECK(lsnn_net_export_c(net, path, NULL) == LSNN_OK);
    lsnn_net_free(net);
    net = lsnn_net_new(&cx);
    x = lsnn_input(net, 1, 4, 4);
    x = lsnn_layer(net, &own, &x, 1, NULL);
    CHECK(lsnn_net_build(net, NULL) == LSNN_OK);
    REFUSED(&cx, lsnn_net_export_c(net, path, NULL), LSNN_EUNSUPPORTED, "own1");
    REFUSED(&cx, lsnn_net_export_onnx(net, path), LSNN_EUNSUPPORTED, "own1");
    lsnn_net_free(net);
    net = lsnn_net_new(&cx);
    x = lsnn_dense(net, lsnn_input(net, 1, 4, 4), 3, &o);
    lsnn_dense(net, x, 3, &twin);
    CHECK(lsnn_net_build(net, NULL) == LSNN_OK);
    REFUSED(&cx, lsnn_net_export_c(net, path, NULL), LSNN_ENAME, "same name");
    for (heap.calls = 0, heap.refuse = 1; heap.refuse <= 4; heap.refuse++, heap.calls = 0)
        CHECK(lsnn_net_export_c(net, path, NULL) != LSNN_OK), lsnn_clear(&cx);
    for (heap.calls = 0, heap.refuse = 1; heap.refuse <= 8; heap.refuse++, heap.calls = 0)
        CHECK(lsnn_net_export_onnx(net, path) != LSNN_OK), lsnn_clear(&cx);
    heap.refuse = 0;
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("export: what is no net, no name, no number is refused by name");
}

int main(void)
{
    if (getenv("TEST_TMP")) folder = getenv("TEST_TMP");
    find_onnx();
    test_all_layers();
    test_smoothers();
    test_transforms();
    test_targets();
    test_model("lsnn-location", 1, 42, 10);
    test_model("lsnn-content", 1, 42, 10);
    test_model("dn10", 1, 28, 10);
    test_model("lenet5", 1, 32, 10);
    if (getenv("TEST_LONG")) {
        test_model("cnn", 1, 42, 10);
        test_model("lc", 1, 42, 10);
        test_model("cnn6", 1, 28, 10);
        test_model("dn40", 3, 32, 10);
    }
    test_rounding();
    test_refusals();
    return test_finish();
}
