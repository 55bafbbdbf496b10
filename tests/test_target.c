/* test_target.c - target2d: the op against a masked whole convolution over random regions, in
   both layouts and with any number of threads; the layer, whose regions shrink and grow while
   its memory keeps its zeros; gradients; TDN10's counts.
   modes: plain double | asan naive nosimd */
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
#include "check.h"

static lsnn_ctx cx;
static lsnn_rng rng;
#define TOLERANCE (sizeof(lsnn_real) == 8 ? 1e-12 : 3e-5)

static double draw(void) { return 2 * lsnn_rng_uniform(&rng) - 1; }
static int draw_int(int low, int high) { return low + lsnn_rng_int(&rng, high - low + 1); }

static lsnn_real *reals(size_t count, int random)
{
    lsnn_real *v = (lsnn_real *)calloc(count ? count : 1, sizeof *v);
    if (!v) { printf("# out of memory\n"); exit(1); }
    for (size_t i = 0; i < count && random; i++) v[i] = (lsnn_real)draw();
    return v;
}

/* ---- the op ------------------------------------------------------------------------- */
enum { X, W, B, FY, FX, DY, ARRAYS };
enum { Y, DX, DW, DB, GY, GX, ROOM, RESULTS };
typedef struct problem {
    lsnn_window s;
    unsigned char *inside;
    int32_t *plan;
    size_t size[ARRAYS], out[RESULTS];
    lsnn_real *in[ARRAYS], *got[RESULTS], *want[RESULTS], *first[RESULTS];
    int add;
} problem;

static int draw_window(lsnn_window *s)
{
    lsnn_shape in;
    int pad[4], lanes = lsnn_lanes(&cx), blocks = lanes > 1 && draw_int(0, 3) > 0;
    in.c = draw_int(1, 9); in.h = draw_int(1, 12); in.w = draw_int(1, 12);
    for (int i = 0; i < 4; i++) pad[i] = draw_int(0, 3);
    int kh = draw_int(1, 7), kw = draw_int(1, 7);
    if (in.h + pad[0] + pad[2] < kh || in.w + pad[1] + pad[3] < kw) return 0;
    if (lsnn_window_set(&cx, s, blocks ? lanes * draw_int(1, 9) : draw_int(1, 4), in,
                        draw_int(1, 19), kh, kw, draw_int(1, 3), draw_int(1, 3), LSNN_EXPLICIT,
                        pad) != LSNN_OK) return 0;
    s->lanes = blocks ? lanes : 0;
    return 1;
}

/* Of each kernel: everything, nothing, single pixels, some of them, a rectangle.        */
static void draw_region(unsigned char *inside, int h, int w, int kind)
{
    int i0 = draw_int(0, h - 1), i1 = draw_int(i0, h - 1);
    int j0 = draw_int(0, w - 1), j1 = draw_int(j0, w - 1);
    for (int i = 0; i < h; i++)
        for (int j = 0; j < w; j++)
            inside[i * w + j] = kind == 0 || (kind == 2 && i == i0 && j == j0) ||
                (kind == 3 && draw_int(0, 2) == 0) ||
                (kind == 4 && i >= i0 && i <= i1 && j >= j0 && j <= j1);
}

static void problem_new(problem *p)
{
    lsnn_window *s = &p->s;
    size_t area;
    memset(p, 0, sizeof *p);
    while (!draw_window(s)) { }
    area = (size_t)s->oh * (size_t)s->ow;
    p->size[X] = (size_t)s->n * (size_t)s->c * (size_t)s->h * (size_t)s->w;
    p->size[W] = (size_t)s->k * (size_t)(s->c * s->kernel_h * s->kernel_w);
    p->size[B] = (size_t)s->k;
    p->size[FY] = (size_t)s->k * (size_t)s->oh;
    p->size[FX] = (size_t)s->k * (size_t)s->ow;
    p->size[DY] = (size_t)s->n * (size_t)s->k * area;
    p->out[Y] = p->out[ROOM] = p->size[DY];
    p->out[DX] = p->size[X]; p->out[DW] = p->size[W]; p->out[DB] = p->size[B];
    p->out[GY] = p->size[FY]; p->out[GX] = p->size[FX];
    for (int i = 0; i < ARRAYS; i++) p->in[i] = reals(p->size[i], 1);
    for (int i = 0; i < RESULTS; i++) {
        p->got[i] = reals(p->out[i], 0);
        p->want[i] = reals(p->out[i], 0);
        p->first[i] = reals(p->out[i], 0);
    }
    p->inside = (unsigned char *)calloc((size_t)s->k * area, 1);
    p->plan = (int32_t *)calloc(lsnn_target2d_room(s), sizeof *p->plan);
    if (!p->inside || !p->plan) exit(1);
    int all = draw_int(0, 9) == 0;
    for (int k = 0; k < s->k; k++)
        draw_region(p->inside + (size_t)k * area, s->oh, s->ow, all ? 0 : draw_int(0, 4));
    p->add = draw_int(0, 1);
    CHECK(lsnn_target2d_plan(&cx, p->plan, p->inside, s) == LSNN_OK);
}

static void problem_free(problem *p)
{
    for (int i = 0; i < ARRAYS; i++) free(p->in[i]);
    for (int i = 0; i < RESULTS; i++) { free(p->got[i]); free(p->want[i]); free(p->first[i]); }
    free(p->inside);
    free(p->plan);
}

/* dx begins as a number that is to stay (add), or as NaN that must not.                 */
static void begin(const problem *p, lsnn_real *const *v)
{
    for (size_t i = 0; i < p->out[DX]; i++) v[DX][i] = p->add ? (lsnn_real)0.25 : (lsnn_real)NAN;
    memset(v[Y], 0, p->out[Y] * sizeof *v[Y]);
    memset(v[DW], 0, p->out[DW] * sizeof *v[DW]);
    memset(v[DB], 0, p->out[DB] * sizeof *v[DB]);
}

static void run(problem *p)
{
    lsnn_target t;
    lsnn_real **g = p->got, **in = p->in;
    t.plan = p->plan; t.fy = in[FY]; t.fx = in[FX];
    begin(p, g);
    CHECK(lsnn_target2d_forward(&cx, g[Y], in[X], in[W], in[B], &t, &p->s) == LSNN_OK);
    CHECK(lsnn_target2d_backward(&cx, g[DX], g[DW], g[DB], g[GY], g[GX], g[ROOM], in[DY], g[Y],
                                 in[X], in[W], &t, &p->s, p->add) == LSNN_OK);
}

/* The whole convolution, times the window inside and 0 outside.                         */
static void run_masked(problem *p)
{
    const lsnn_window *s = &p->s;
    lsnn_real **v = p->want, **in = p->in;
    size_t area = (size_t)s->oh * (size_t)s->ow, lanes = s->lanes ? (size_t)s->lanes : 1, at = 0;
    begin(p, v);
    CHECK(lsnn_conv2d_forward(&cx, v[Y], in[X], in[W], in[B], s) == LSNN_OK);
    for (size_t n = 0; n < (size_t)s->n / lanes; n++)
        for (size_t k = 0; k < (size_t)s->k; k++)
            for (size_t i = 0; i < area; i++)
                for (size_t l = 0; l < lanes; l++, at++) {
                    size_t row = k * (size_t)s->oh + i / (size_t)s->ow;
                    size_t column = k * (size_t)s->ow + i % (size_t)s->ow;
                    lsnn_real u = p->inside[k * area + i] ? in[FY][row] * in[FX][column] : 0;
                    v[Y][at] *= u;
                    v[ROOM][at] = u * in[DY][at];
                    v[GY][row] += v[Y][at] * in[DY][at];
                    v[GX][column] += v[Y][at] * in[DY][at];
                }
    CHECK(lsnn_conv2d_backward(&cx, v[DX], v[DW], v[DB], v[ROOM], in[X], in[W], s, p->add) ==
          LSNN_OK);
}

static double worst_of(const lsnn_real *got, const lsnn_real *want, size_t count)
{
    double worst = 0, most = 1;
    for (size_t i = 0; i < count; i++) {
        double d = fabs((double)got[i] - (double)want[i]);
        if (!(d <= worst)) worst = d;
        most = fmax(most, fabs((double)want[i]));
    }
    return worst / most;
}

static void test_op(void)
{
    static const int threads[] = { 1, 2, 5 };
    double worst = 0;
    for (int round = 0; round < 150; round++) {
        problem p;
        problem_new(&p);
        run_masked(&p);
        for (int t = 0; t < 3; t++) {
            cx.threads = threads[t];
            run(&p);
            for (int i = 0; i < ROOM; i++) {
                double d = worst_of(p.got[i], p.want[i], p.out[i]);
                if (t == 0) memcpy(p.first[i], p.got[i], p.out[i] * sizeof *p.got[i]);
                CHECK(memcmp(p.first[i], p.got[i], p.out[i] * sizeof *p.got[i]) == 0);
                CHECK(d <= TOLERANCE);
                if (!(d <= worst)) worst = d;
            }
        }
        cx.threads = 2;
        problem_free(&p);
    }
    test_end("target2d is a masked convolution, with 1, 2 and 5 threads alike: %.1e at most",
             worst);
}

/* ---- the layer ---------------------------------------------------------------------- */
enum { C = 3, SIDE = 9, K = 5, KERNEL = 3, CLASSES = 3, MOST = 40 };
static lsnn_net *net_of(lsnn_smooth_shape shape, lsnn_clip clip, int keep, int pool)
{
    lsnn_options o, dense;
    lsnn_build_desc d;
    lsnn_net *net = lsnn_net_new(&cx);
    int x = lsnn_input(net, C, SIDE, SIDE);
    memset(&o, 0, sizeof o);
    memset(&d, 0, sizeof d);
    memset(&dense, 0, sizeof dense);
    o.name = "t"; o.smooth_shape = shape; o.clip = clip; o.keep = keep; o.padding = LSNN_SAME;
    x = lsnn_relu(net, lsnn_target2d(net, x, K, KERNEL, &o), NULL);
    if (pool) x = lsnn_max_pool(net, x, 2, NULL);
    dense.name = "d";
    lsnn_cross_entropy(net, lsnn_dense(net, x, CLASSES, &dense), NULL);
    d.batch = MOST; d.seed = 3;
    CHECK(lsnn_net_build(net, &d) == LSNN_OK);
    return net;
}

static void set(lsnn_net *net, const char *name, const lsnn_real *v, size_t count)
{
    CHECK(lsnn_net_set(net, name, v, count) == LSNN_OK);
}

static double reference(int cauchy, double mu, double s, int x, int *inside)
{
    double z = (x - mu * SIDE) / (s * SIDE / 2);
    *inside = x >= floor((mu - s / sqrt(2.0)) * SIDE) && x <= floor((mu + s / sqrt(2.0)) * SIDE);
    return cauchy ? 1 / (1 + z * z) : exp(-z * z / 2);
}

/* "t.map" is U, 0 outside of the regions; the multiply-adds are counted pixel by pixel.  */
static void check_map(lsnn_net *net, int cauchy, const lsnn_real *theta)
{
    static lsnn_real map[K * SIDE * SIDE];
    double worst = 0, learned = 0, computed = 0, got[2];
    double rest = lsnn_net_macs(net) - (double)K * SIDE * SIDE * C * KERNEL * KERNEL;
    int places = 0;
    CHECK(lsnn_net_get(net, "t.map", map, K * SIDE * SIDE) == LSNN_OK);
    for (int at = 0; at < K * SIDE * SIDE; at++) {
        int i = at / SIDE % SIDE, j = at % SIDE, in[2];
        const lsnn_real *t = theta + 4 * (at / (SIDE * SIDE));
        double u = reference(cauchy, (double)t[0], (double)t[1], j, &in[0]);
        u *= reference(cauchy, (double)t[2], (double)t[3], i, &in[1]);
        if (in[0] && in[1]) {
            places++;
            learned += C * KERNEL * KERNEL;
            computed += C * (KERNEL - (i == 0) - (i == SIDE - 1)) *
                        (KERNEL - (j == 0) - (j == SIDE - 1));
        } else u = 0;
        worst = fmax(worst, fabs(u - (double)map[at]));
        CHECK((in[0] && in[1]) || !(fabs((double)map[at]) > 0));
    }
    if (places > 0.95 * K * SIDE * SIDE)                 /* then all of the map is         */
        computed = K * C * (3.0 * SIDE - 2) * (3.0 * SIDE - 2);
    CHECK(worst <= TOLERANCE);
    CHECK(lsnn_net_macs_now(net, &got[0], &got[1]) == LSNN_OK);
    NEAR(got[0], learned + rest, 0);
    NEAR(got[1], computed + rest, 0);
}

/* The layer's y of n images by the naive book: a convolution, U, and the region.        */
static void check_y(lsnn_net *net, int cauchy, const lsnn_real *x, int n, const lsnn_real *theta)
{
    enum { AREA = SIDE * SIDE };
    static lsnn_real y[MOST * K * AREA], w[K * C * KERNEL * KERNEL], b[K];
    double worst = 0;
    int zeros = 1;
    CHECK(lsnn_net_get(net, "t", y, (size_t)n * K * AREA) == LSNN_OK);
    CHECK(lsnn_net_get(net, "t.weight", w, sizeof w / sizeof *w) == LSNN_OK);
    CHECK(lsnn_net_get(net, "t.bias", b, K) == LSNN_OK);
    for (int at = 0; at < n * K * AREA; at++) {
        int i = at / SIDE % SIDE, j = at % SIDE, k = at / AREA % K, in[2];
        const lsnn_real *t = theta + 4 * k;
        double u = reference(cauchy, (double)t[0], (double)t[1], j, &in[0]), z = (double)b[k];
        u *= reference(cauchy, (double)t[2], (double)t[3], i, &in[1]);
        if (!in[0] || !in[1]) { zeros &= y[at] >= 0 && y[at] <= 0; continue; }
        for (int c = 0; c < C; c++)
            for (int q = 0; q < KERNEL * KERNEL; q++) {
                int row = i + q / KERNEL - 1, col = j + q % KERNEL - 1;
                if (row < 0 || row >= SIDE || col < 0 || col >= SIDE) continue;
                z += (double)w[(k * C + c) * KERNEL * KERNEL + q] *
                    (double)x[((at / (K * AREA) * C + c) * SIDE + row) * SIDE + col];
            }
        worst = fmax(worst, fabs(u * z - (double)y[at]));
    }
    CHECK(zeros);
    CHECK(worst <= TOLERANCE);
}

static void test_moving(void)
{
    static lsnn_real x[MOST * C * SIDE * SIDE], theta[4 * K], b[K];
    static int label[MOST];
    int lanes = lsnn_lanes(&cx);
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) x[i] = (lsnn_real)draw();
    for (int cauchy = 0; cauchy < 2; cauchy++) {
        lsnn_net *net = net_of(cauchy ? LSNN_ATTENTION_CAUCHY : LSNN_ATTENTION_GAUSSIAN,
                               LSNN_CLIP_NONE, 1, 1);
        for (int k = 0; k < K; k++) b[k] = (lsnn_real)draw();
        set(net, "t.bias", b, K);
        for (int step = 0; step < 40; step++) {
            lsnn_batch batch;
            memset(&batch, 0, sizeof batch);
            batch.n = draw_int(0, 2) ? MOST / lanes * lanes - lanes * draw_int(0, MOST / lanes / 2)
                                     : draw_int(1, MOST);
            batch.x = x;
            batch.labels = label;
            batch.heads = 1;
            if (step % 3 != 1)
                for (int i = 0; i < 4 * K; i++)
                    theta[i] = (lsnn_real)(step % 7 == 0 ? i % 2 ? 1 : 0.5
                                           : i % 2 ? 0.05 + 0.4 * fabs(draw()) : 0.5 + 0.6 * draw());
            set(net, "t.theta", theta, 4 * K);
            CHECK(lsnn_forward(net, &batch, step % 2, NULL) == LSNN_OK);
            check_y(net, cauchy, x, batch.n, theta);
            check_map(net, cauchy, theta);
            if (step % 2) CHECK(lsnn_backward(net) == LSNN_OK);
        }
        CHECK(lsnn_net_set(net, "t", x, 1) != LSNN_OK);
        cx.status = LSNN_OK;
        lsnn_net_free(net);
    }
    test_end("regions that shrink, grow and leave the map, batches of all sizes: no stale number");
}

/* Every parameter's gradient against central differences, in both layouts.              */
static void test_gradients(void)
{
    static lsnn_real x[16 * C * SIDE * SIDE], theta[4 * K], v[4096], g[4096];
    static int label[16];
    static const char *const names[] = { "t.theta", "t.weight", "t.bias", "d.weight" };
    double worst = 0;
    if (sizeof(lsnn_real) < 8) { test_skip("gradients", "in double only"); return; }
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) x[i] = (lsnn_real)draw();
    for (int i = 0; i < 16; i++) label[i] = draw_int(0, CLASSES - 1);
    for (int shape = 0; shape < 4; shape++) {
        lsnn_net *net = net_of(shape & 1 ? LSNN_ATTENTION_CAUCHY : LSNN_ATTENTION_GAUSSIAN,
                               LSNN_CLIP_NONE, 0, shape > 1);
        lsnn_batch batch;
        memset(&batch, 0, sizeof batch);
        batch.n = shape & 1 ? 16 : 3;
        batch.x = x; batch.labels = label; batch.heads = 1;
        for (int i = 0; i < 4 * K; i++)
            theta[i] = (lsnn_real)(i % 2 ? 0.35 + 0.2 * draw() : 0.5 + 0.3 * draw());
        set(net, "t.theta", theta, 4 * K);
        lsnn_zero_grad(net);
        CHECK(lsnn_forward(net, &batch, 1, NULL) == LSNN_OK && lsnn_backward(net) == LSNN_OK);
        for (int p = 0; p < 4; p++) {
            int rank, dim[4];
            size_t count = 1;
            char name[32];
            double most = 0, off = 0;
            CHECK(lsnn_net_dims(net, names[p], &rank, dim) == LSNN_OK);
            for (int i = 0; i < rank; i++) count *= (size_t)dim[i];
            snprintf(name, sizeof name, "grad:%s", names[p]);
            CHECK(lsnn_net_get(net, name, g, count) == LSNN_OK);
            CHECK(lsnn_net_get(net, names[p], v, count) == LSNN_OK);
            for (size_t i = 0; i < count; i += 1 + count / 40) {
                double loss[2], keep = (double)v[i];
                for (int side = 0; side < 2; side++) {
                    v[i] = (lsnn_real)(keep + (side ? 1e-6 : -1e-6));
                    set(net, names[p], v, count);
                    CHECK(lsnn_forward(net, &batch, 1, &loss[side]) == LSNN_OK);
                }
                v[i] = (lsnn_real)keep;
                off = fmax(off, fabs((loss[1] - loss[0]) / 2e-6 - (double)g[i]));
                most = fmax(most, fabs((double)g[i]));
            }
            set(net, names[p], v, count);
            CHECK(most > 1e-4 && off <= 1e-6 * most + 1e-9);
            worst = fmax(worst, off / most);
        }
        lsnn_net_free(net);
    }
    test_end("gradients of theta, weights and biases: %.1e of the largest at most", worst);
}

/* Clipping leaves each region inside of the map and not under its least size.           */
static void test_clip(void)
{
    for (int side = 2; side < 30; side++)
        for (int round = 0; round < 200; round++) {
            lsnn_real mu = (lsnn_real)(0.5 + draw()), s = (lsnn_real)(2 * draw());
            int32_t box[2];
            int kernel = draw_int(1, 7);
            for (int clip = LSNN_CLIP_PAPER; clip <= LSNN_CLIP_CODE; clip++) {
                int least = clip == LSNN_CLIP_PAPER ? kernel : 0;
                lsnni_attention_clip(&mu, &s, side, kernel, (lsnn_clip)clip);
                lsnni_target_side(box, (double)mu, (double)s, side, least);
                CHECK(box[0] >= 0 && box[1] <= side && box[1] - box[0] >= LSNNI_MIN(least, side));
                CHECK(clip == LSNN_CLIP_PAPER || box[1] - box[0] >= 2);
            }
        }
    test_end("a clipped region is inside of the map, and not smaller than it may be");
}

/* TDN10: 44,746 + 4 x 72 parameters, and 11,317,030 multiply-adds on 28 x 28, 45,265,210 on
   56 x 56: as learned too, where it begins.                                              */
static int bn_conv(lsnn_net *net, int x, int filters, int kernel, int target)
{
    lsnn_options o;
    memset(&o, 0, sizeof o);
    o.no_bias = 1;
    o.padding = LSNN_SAME;
    x = lsnn_relu(net, lsnn_batch_norm(net, x, NULL), NULL);
    return target ? lsnn_target2d(net, x, filters, kernel, &o)
                  : lsnn_conv2d(net, x, filters, kernel, &o);
}
static lsnn_net *dn10(int side, int target)
{
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_options o;
    int x = lsnn_input(net, 1, side, side), both[2], maps = 24;
    memset(&o, 0, sizeof o);
    o.no_bias = 1; o.padding = LSNN_SAME;
    x = lsnn_conv2d(net, x, maps, 3, &o);
    for (int block = 0; block < 3; block++) {
        for (int i = 0; i < 2; i++, maps += 12) {
            both[0] = x;
            both[1] = bn_conv(net, x, 12, 3, target);
            x = lsnn_concat(net, both, 2, NULL);
        }
        if (block < 2) x = lsnn_avg_pool(net, bn_conv(net, x, maps, 1, 0), 2, NULL);
    }
    x = lsnn_avg_pool(net, lsnn_relu(net, lsnn_batch_norm(net, x, NULL), NULL), 0, NULL);
    lsnn_cross_entropy(net, lsnn_dense(net, x, 10, NULL), NULL);
    return net;
}

/* The number behind a word in the summary's last line.                                   */
static double total_after(const lsnn_net *net, const char *word)
{
    static char line[400];
    FILE *f = tmpfile();
    if (!f) return -1;
    lsnn_net_summary(net, f);
    rewind(f);
    while (fgets(line, sizeof line, f)) { }
    fclose(f);
    return strstr(line, word) ? atof(strstr(line, word) + strlen(word)) : -1;
}

static void test_counts(void)
{
    for (int target = 0; target < 2; target++)
        for (int side = 28; side <= 56; side += 28) {
            double planned = side == 28 ? 11317030 : 45265210, learned, computed;
            lsnn_net *net = dn10(side, target);
            lsnn_build_desc d;
            memset(&d, 0, sizeof d);
            d.batch = 1;
            CHECK(lsnn_net_params(net) == (target ? 45034 : 44746));
            CHECK(lsnn_net_macs_now(net, &learned, &computed) == LSNN_ESTATE);
            cx.status = LSNN_OK;
            CHECK(lsnn_net_build(net, &d) == LSNN_OK);
            CHECK(lsnn_net_macs_now(net, &learned, &computed) == LSNN_OK);
            NEAR(lsnn_net_macs(net), planned, 0);
            NEAR(learned, planned, 0);
            CHECK(target ? computed < planned && computed > 0.9 * planned : computed >= planned);
            NEAR(total_after(net, "now "), target ? learned : -1, 0);
            NEAR(total_after(net, "learned, "), target ? computed : -1, 0);
            lsnn_net_free(net);
        }
    test_end("TDN10: 45,034 parameters, DN10 44,746; 11,317,030 and 45,265,210 multiply-adds");
}

static void test_refusals(void)
{
    static const int bad[] = { LSNN_TABLE, LSNN_BIVARIATE_CAUCHY, 77 };
    for (int i = 0; i < 3; i++) {
        lsnn_net *net = lsnn_net_new(&cx);
        lsnn_options o;
        memset(&o, 0, sizeof o);
        o.smooth_shape = (lsnn_smooth_shape)bad[i];
        CHECK(lsnn_target2d(net, lsnn_input(net, 1, 8, 8), 2, 3, &o) < 0);
        CHECK(cx.status == LSNN_EVALUE && strstr(cx.message, "smooth_shape"));
        cx.status = LSNN_OK;
        lsnn_net_free(net);
    }
    test_end("windows that target2d does not have are refused by name");
}

static void quiet(const char *message, void *user) { (void)message; (void)user; }

int main(void)
{
    cx.log_fn = quiet;
    cx.threads = 2;
    rng = lsnn_rng_at(11, "test", "target", 0, 0);
    test_op();
    test_moving();
    test_gradients();
    test_clip();
    test_counts();
    test_refusals();
    lsnn_ctx_free(&cx);
    return test_finish();
}
