/* lecture.h - for convnet.c: the lecture's image kernels and its exercise.

   lecture_kernels filters a picture by the slide's 3x3 kernels; lecture_explain prints the
   gradient of a shared weight term by term, and the finite difference beside it.     */
#ifndef LSNN_EXAMPLES_LECTURE_H
#define LSNN_EXAMPLES_LECTURE_H

/* ---- --kernels: the slide's image kernels, by the library's own convolution ------------------
   The layer multiplies x[i+k, j+l] by w[k, l]: a cross-correlation. What signal processing
   calls convolution takes x[i-k, j-l]: the same with the kernel turned by half a turn. To a
   symmetric kernel it makes no difference; the last one is emboss, turned: its light comes
   from the other side.                                                               */
enum { KERNELS = 9, ROW = 3, GAP = 8, TITLE = 14, LARGEST = 2048 };
static const struct { const char *name; double w[9]; } kernel[KERNELS] = {
    { "identity", { 0, 0, 0, 0, 1, 0, 0, 0, 0 } },
    { "edges, diagonal", { 1, 0, -1, 0, 0, 0, -1, 0, 1 } },
    { "edges, 4 neighbours", { 0, 1, 0, 1, -4, 1, 0, 1, 0 } },
    { "edges, 8 neighbours", { -1, -1, -1, -1, 8, -1, -1, -1, -1 } },
    { "sharpen", { 0, -1, 0, -1, 5, -1, 0, -1, 0 } },
    { "blur", { 1 / 16.0, 2 / 16.0, 1 / 16.0, 2 / 16.0, 4 / 16.0, 2 / 16.0, 1 / 16.0, 2 / 16.0,
                1 / 16.0 } },
    { "box blur", { 1 / 9.0, 1 / 9.0, 1 / 9.0, 1 / 9.0, 1 / 9.0, 1 / 9.0, 1 / 9.0, 1 / 9.0,
                    1 / 9.0 } },
    { "emboss", { -2, -1, 0, -1, 1, 1, 0, 1, 2 } },
    { "emboss, flipped", { 2, 1, 0, 1, 1, -1, 0, -1, -2 } }
};

static lsnn_status draw_own_picture(lsnn_ctx *cx, lsnn_image *im)
{
    lsnn_status s = lsnn_image_new(cx, im, 192, 144, 0x7090B0);
    if (s != LSNN_OK) return s;
    lsnn_image_rect(im, 0, 104, 192, 40, 0x507040);
    lsnn_image_rect(im, 24, 56, 64, 64, 0xC0A080);
    lsnn_image_rect(im, 48, 88, 16, 32, 0x402010);
    for (int i = 0; i <= 40; i++)
        lsnn_image_line(im, 56 - i, 20 + i, 56 + i, 20 + i, 1.5, 0xA03020);
    lsnn_image_line(im, 150, 30, 150, 30, 36, 0xF0E060);
    lsnn_image_line(im, 96, 140, 190, 84, 5, 0xD0D0C0);
    lsnn_image_text(im, 100, 64, 2, 0xFFFFFF, "lsnn.h");
    return LSNN_OK;
}

/* Maps k of the three colours into the figure, black below 0 and full above 1.       */
static void draw_filtered(lsnn_image *im, const lsnn_real *y, int h, int w, int k)
{
    int left = GAP + k % ROW * (w + GAP), top = TITLE + k / ROW * (h + GAP + TITLE);
    lsnn_image_text(im, left, top - TITLE + 5, 1, 0x202020, kernel[k].name);
    for (int i = 0; i < h; i++)
        for (int p = 0; p < 3 * w; p++) {
            double v = (double)y[((size_t)(p % 3 * KERNELS + k) * (size_t)h + (size_t)i) *
                                 (size_t)w + (size_t)(p / 3)];
            im->rgb[3 * ((size_t)(top + i) * (size_t)im->w + (size_t)left) + (size_t)p] =
                (unsigned char)(255 * (v < 0 ? 0 : v > 1 ? 1 : v) + 0.5);
        }
}

static lsnn_status lecture_kernels(const app *a, lsnn_ctx *cx, const char *image,
                                   const char *figure)
{
    lsnn_image in, out;
    lsnn_shape shape = { 1, 0, 0 };
    lsnn_window s;
    lsnn_real weight[KERNELS * 9], *x = NULL, *y = NULL;
    size_t area;
    lsnn_status r = image ? lsnn_image_load(cx, &in, image) : draw_own_picture(cx, &in);
    if (r != LSNN_OK) return r;
    if (in.w > LARGEST || in.h > LARGEST) {
        app_refuse(a, "%s: %d x %d pixels, at most %d a side can be taken", image, in.w,
                   in.h, (int)LARGEST);
        lsnn_image_free(cx, &in);
        return LSNN_ESHAPE;
    }
    area = (size_t)in.h * (size_t)in.w;
    for (int i = 0; i < KERNELS * 9; i++) weight[i] = (lsnn_real)kernel[i / 9].w[i % 9];
    shape.h = in.h;
    shape.w = in.w;
    r = lsnn_window_set(cx, &s, 3, shape, KERNELS, 3, 3, 1, 1, LSNN_VALID, NULL);
    if (r == LSNN_OK) {
        x = (lsnn_real *)malloc(3 * area * sizeof *x);
        y = (lsnn_real *)malloc(3 * KERNELS * area * sizeof *y);
        if (!x || !y) {
            app_refuse(a, "no memory for %d x %d pixels", in.w, in.h);
            r = LSNN_ENOMEM;
        }
    }
    for (size_t i = 0; i < 3 * area && r == LSNN_OK; i++)        /* three images of one channel */
        x[i] = (lsnn_real)(in.rgb[i % area * 3 + i / area] / 255.0);
    if (r == LSNN_OK) r = lsnn_conv2d_forward(cx, y, x, weight, NULL, &s);
    if (r == LSNN_OK) r = lsnn_image_new(cx, &out, ROW * (s.ow + GAP) + GAP,
                                         KERNELS / ROW * (s.oh + GAP + TITLE), 0xFFFFFF);
    if (r == LSNN_OK) {
        for (int k = 0; k < KERNELS; k++) draw_filtered(&out, y, s.oh, s.ow, k);
        r = lsnn_image_save(cx, &out, figure);
        lsnn_image_free(cx, &out);
    }
    lsnn_image_free(cx, &in);
    free(x);
    free(y);
    return r;
}

/* ---- --explain: the lecture's exercise -------------------------------------------------------
   h[i,j] = sigmoid(a[i,j]), a[i,j] = sum_kl w[k,l] x[i+k,j+l] + b, on 4 x 4 pixels with one
   2 x 2 kernel: 9 places share each weight, so dL/dw[k,l] is a sum over them.        */
enum { TINY = 4, SIDE = 2, OUT = TINY - SIDE + 1, PLACES = OUT * OUT };

static double loss_with(lsnn_net *net, const lsnn_batch *b, const char *name, size_t count,
                        int at, double more)
{
    lsnn_real old[SIDE * SIDE], v[SIDE * SIDE];
    double loss = 0;
    lsnn_net_get(net, name, old, count);
    memcpy(v, old, sizeof v);
    v[at] += (lsnn_real)more;
    lsnn_net_set(net, name, v, count);
    lsnn_forward(net, b, 0, &loss);
    lsnn_net_set(net, name, old, count);
    return loss;
}

static lsnn_status lecture_explain(lsnn_ctx *cx, uint64_t seed)
{
    static const lsnn_real x[TINY * TINY] = { 0, 1, (lsnn_real)0.5, 0, 0, 1, (lsnn_real)0.5, 0,
        0, 1, 1, 0, (lsnn_real)0.5, 0, 1, 0 }, t[PLACES] = { 1, 0, 0, 1, 0, 0, 0, 1, 0 };
    lsnn_real d[PLACES], g[SIDE * SIDE], gb[1];
    lsnn_options map = model_options("map");
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_build_desc build = { 1, 0, 0, 0, NULL };
    lsnn_batch b;
    int node;
    memset(&b, 0, sizeof b);
    b.n = 1; b.x = x; b.targets = t; b.target_count = PLACES;
    build.seed = seed;
    map.keep = 1;
    node = lsnn_conv2d(net, lsnn_input(net, 1, TINY, TINY), 1, SIDE, &map);
    lsnn_mse(net, lsnn_sigmoid(net, node, NULL), NULL);
    if (lsnn_net_build(net, &build) == LSNN_OK && lsnn_forward(net, &b, 1, NULL) == LSNN_OK &&
        lsnn_backward(net) == LSNN_OK && lsnn_net_get(net, "grad:map", d, PLACES) == LSNN_OK &&
        lsnn_net_get(net, "grad:map.weight", g, SIDE * SIDE) == LSNN_OK)
        lsnn_net_get(net, "grad:map.bias", gb, 1);
    printf("h[i,j] = sigmoid(a[i,j]), a[i,j] = sum_kl w[k,l] x[i+k,j+l] + b, L = mean (h - t)^2\n"
           "dL/dw[k,l] = sum_ij d[i,j] x[i+k,j+l], d = dL/da, over the %d places that share w[k,l]\n"
           "For w[1,0]:\n", (int)PLACES);
    for (int k = 0, one = 2; k <= SIDE * SIDE && cx->status == LSNN_OK; k++) {
        const char *name = k < SIDE * SIDE ? "map.weight" : "map.bias";
        size_t count = k < SIDE * SIDE ? SIDE * SIDE : 1;
        int at = k < SIDE * SIDE ? (k + one) % (SIDE * SIDE) : 0;      /* w[1,0] first      */
        double sum = 0, up = loss_with(net, &b, name, count, at, 0.01);
        for (int p = 0; p < PLACES; p++) {
            int row = p / OUT + at / SIDE, col = p % OUT + at % SIDE;
            double pixel = count > 1 ? (double)x[row * TINY + col] : 1;
            sum += (double)d[p] * pixel;
            if (k == 0) printf("  d[%d,%d] x[%d,%d] = %9.6f * %.1f = %9.6f\n", p / OUT, p % OUT,
                               row, col, (double)d[p], pixel, (double)d[p] * pixel + 0.0);
        }
        if (count > 1) printf("w[%d,%d]", at / SIDE, at % SIDE);
        else printf("b, of all d,");
        printf("  sum %9.6f  lsnn_backward %9.6f  (L(w + e) - L(w - e)) / 2e %9.6f\n", sum,
               (double)(count > 1 ? g[at] : gb[0]),
               (up - loss_with(net, &b, name, count, at, -0.01)) / 0.02);
    }
    lsnn_net_free(net);
    return cx->status;
}

#endif
