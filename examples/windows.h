/* windows.h - for tkn.c: the windows of a targeted net as a picture, a net that slides over a
   picture larger than it, and a net on pictures of another size.                      */
#ifndef LSNN_EXAMPLES_WINDOWS_H
#define LSNN_EXAMPLES_WINDOWS_H

enum { WINDOWS_SIDE = 28, WINDOWS_ROW = 24, WINDOWS_GAP = 4, WINDOWS_TITLE = 14 };

static inline int windows_scale(lsnn_shape s)
{
    int most = s.h > s.w ? s.h : s.w;
    return most < WINDOWS_SIDE ? WINDOWS_SIDE / most : 1;
}

/* The first 24 windows of each target layer, a row a layer, drawn below `top`: 0 black, 1
   white; those of the last batch's first image, if they are computed from it. Returns the
   height that it takes; *w, if wanted, gets the width. im NULL: only those.            */
static inline int windows_draw(lsnn_net *net, lsnn_image *im, int top, const char *title, int *w)
{
    const char *type = lsnn_net_node(net, "target2d1") >= 0 ? "target2d" : "smooth";
    int row = top + WINDOWS_TITLE;
    if (w) *w = 0;
    if (im) lsnn_image_text(im, WINDOWS_GAP, top + 3, 1, 0x202020, title);
    for (int layer = 1; ; layer++) {
        char name[40];
        int node, rank, dim[4], shown, scale;
        size_t count = 1;
        lsnn_shape s;
        lsnn_real *u;
        snprintf(name, sizeof name, "%s%d", type, layer);
        node = lsnn_net_node(net, name);
        if (node < 0) break;
        s = lsnn_net_shape(net, node);
        scale = windows_scale(s);
        shown = s.c < WINDOWS_ROW ? s.c : (int)WINDOWS_ROW;
        snprintf(name, sizeof name, "%s%d.map", type, layer);
        if (im && lsnn_net_dims(net, name, &rank, dim) == LSNN_OK) {
            for (int i = 0; i < rank; i++) count *= (size_t)dim[i];
            u = (lsnn_real *)malloc(count * sizeof *u);
            if (u && lsnn_net_get(net, name, u, count) == LSNN_OK)
                for (int k = 0; k < shown; k++)
                    lsnn_image_map(im, WINDOWS_GAP + k * (s.w * scale + WINDOWS_GAP), row, scale,
                                   u + (size_t)k * (size_t)(s.h * s.w), s.h, s.w, 0, 1);
            free(u);
        }
        row += s.h * scale + WINDOWS_GAP;
        if (w && *w < WINDOWS_GAP + shown * (s.w * scale + WINDOWS_GAP))
            *w = WINDOWS_GAP + shown * (s.w * scale + WINDOWS_GAP);
    }
    return row + WINDOWS_GAP - top;
}

/* The windows as they begin, with room below for what becomes of them. x: an image, to have
   them computed.                                                                      */
static inline lsnn_status windows_begin(lsnn_ctx *cx, lsnn_net *net, const lsnn_data *data,
                                        lsnn_image *im)
{
    int w, h = windows_draw(net, NULL, 0, "", &w), labels[LSNN_MAX_HEADS];
    lsnn_shape s = data->shape, out = lsnn_net_shape(net, lsnn_net_output(net));
    lsnn_real *x = (lsnn_real *)malloc((size_t)(s.c * s.h * s.w) * sizeof *x), target;
    lsnn_real *y = (lsnn_real *)malloc((size_t)(out.c * out.h * out.w) * sizeof *y);
    lsnn_status status = x && y ? LSNN_OK : LSNN_ENOMEM;
    if (status == LSNN_OK) {
        data->fetch(data->user, 0, 0, x, labels, &target);
        status = lsnn_predict(net, x, 1, y);
    }
    if (status == LSNN_OK) status = lsnn_image_new(cx, im, w, 2 * h, 0xD0D8E0);
    if (status == LSNN_OK) windows_draw(net, im, 0, "windows before training", NULL);
    free(x);
    free(y);
    return status;
}

static inline lsnn_status windows_end(lsnn_ctx *cx, lsnn_net *net, lsnn_image *im,
                                      const char *path)
{
    windows_draw(net, im, im->h / 2, "after training", NULL);
    return lsnn_image_save(cx, im, path);
}

/* ---- A net that slides -----------------------------------------------------------------*/
typedef struct heat {
    int rows, cols, stride, best, best_class;
    lsnn_real *p;                    /* rows x cols: the largest probability of a class   */
} heat;

/* What the net reads with its left top corner at a place: grey, or the colours in planes. */
static inline void slide_crop(lsnn_real *x, const lsnn_image *im, lsnn_shape s, int top, int left)
{
    size_t inner = (size_t)s.h * (size_t)s.w;
    for (size_t q = 0; q < inner; q++) {
        size_t row = (size_t)top + q / (size_t)s.w, col = (size_t)left + q % (size_t)s.w;
        const unsigned char *rgb = im->rgb + 3 * (row * (size_t)im->w + col);
        if (s.c == 1) x[q] = (lsnn_real)((0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]) / 255);
        else for (size_t k = 0; k < 3; k++) x[k * inner + q] = (lsnn_real)(rgb[k] / 255.0);
    }
}

/* The softmax's largest number.                                                        */
static inline double slide_surest(const lsnn_real *score, int classes, int *guess)
{
    double sum = 0;
    *guess = 0;
    for (int i = 1; i < classes; i++) if (score[i] > score[*guess]) *guess = i;
    for (int i = 0; i < classes; i++) sum += exp((double)score[i] - (double)score[*guess]);
    return 1 / sum;
}

static inline lsnn_status slide_rows(lsnn_net *net, const lsnn_image *im, heat *t)
{
    lsnn_shape s = lsnn_net_shape(net, 0), out = lsnn_net_shape(net, lsnn_net_output(net));
    int classes = out.c * out.h * out.w;
    size_t features = (size_t)s.c * (size_t)s.h * (size_t)s.w;
    lsnn_real *x = (lsnn_real *)malloc((size_t)t->cols * features * sizeof *x);
    lsnn_real *score = (lsnn_real *)malloc((size_t)t->cols * (size_t)classes * sizeof *score);
    lsnn_status r = x && score ? LSNN_OK : LSNN_ENOMEM;
    for (int i = 0; i < t->rows && r == LSNN_OK; i++) {
        for (int j = 0; j < t->cols; j++)
            slide_crop(x + (size_t)j * features, im, s, i * t->stride, j * t->stride);
        r = lsnn_predict(net, x, t->cols, score);
        for (int j = 0; j < t->cols && r == LSNN_OK; j++) {
            int at = i * t->cols + j, guess;
            t->p[at] = (lsnn_real)slide_surest(score + (size_t)j * (size_t)classes, classes,
                                               &guess);
            if (at == 0 || t->p[at] > t->p[t->best]) t->best = at, t->best_class = guess;
        }
    }
    free(x);
    free(score);
    return r;
}

/* The picture, and over it in red how sure the net is where its middle lies.           */
static inline void slide_draw(lsnn_image *im, lsnn_shape s, const heat *t)
{
    int left = (s.w - t->stride) / 2, top = (s.h - t->stride) / 2;
    lsnn_image_overlay(im, left, top, t->stride, t->p, t->rows, t->cols, 1, 0xE02020);
    left = t->best % t->cols * t->stride;
    top = t->best / t->cols * t->stride;
    for (int side = 0; side < 4; side++) {
        int x0 = left + (side == 1 ? s.w : 0), x1 = left + (side == 3 ? 0 : s.w);
        int y0 = top + (side == 2 ? s.h : 0), y1 = top + (side == 0 ? 0 : s.h);
        lsnn_image_line(im, x0, y0, x1, y1, 1, 0x20A040);
    }
}

/* The net at each place of a picture, `stride` pixels apart, its windows where they are in
   its own input: a convolutional use of a net whose kernels know their places (TKN, section
   5). Where it is surest is printed and framed.                                        */
static inline lsnn_status slide(const app *a, lsnn_ctx *cx, lsnn_net *net, const char *path,
                                int stride, const char *out)
{
    lsnn_shape s = lsnn_net_shape(net, 0);
    lsnn_image im;
    heat t;
    lsnn_status r = lsnn_image_load(cx, &im, path);
    memset(&t, 0, sizeof t);
    if (r != LSNN_OK) return r;
    t.stride = stride;
    t.rows = (im.h - s.h) / stride + 1;
    t.cols = (im.w - s.w) / stride + 1;
    if (im.h < s.h || im.w < s.w || (s.c != 1 && s.c != 3)) {
        app_refuse(a, "--slide %s: %d x %d pixels; the net reads %d channels of %d x %d", path,
                   im.w, im.h, s.c, s.w, s.h);
        r = LSNN_ESHAPE;
    } else {
        t.p = (lsnn_real *)malloc((size_t)t.rows * (size_t)t.cols * sizeof *t.p);
        r = t.p ? slide_rows(net, &im, &t) : LSNN_ENOMEM;
    }
    if (r == LSNN_OK) {
        slide_draw(&im, s, &t);
        printf("slide places=%d class=%d probability=%.4f column=%d row=%d\n", t.rows * t.cols,
               t.best_class, (double)t.p[t.best], t.best % t.cols * stride,
               t.best / t.cols * stride);
        r = lsnn_image_save(cx, &im, out);
    }
    lsnn_image_free(cx, &im);
    free(t.p);
    return r;
}

/* ---- A net at another size -------------------------------------------------------------
   mu and s are parts of the picture's sides: where the same layers are built on larger or
   smaller pictures, the same parameters are windows that have grown or shrunk with them. */
typedef struct resized { lsnn_data from; int side; } resized;

enum { RESIZE_MOST = 64 };           /* pixels of a task's side, at most                  */

/* The picture at side x side pixels: bilinear between the middles of pixels.           */
static void resize_fetch(const void *user, uint32_t epoch, int index, lsnn_real *x, int *labels,
                         lsnn_real *targets)
{
    const resized *z = (const resized *)user;
    lsnn_shape in = z->from.shape;
    lsnn_real v[3 * RESIZE_MOST * RESIZE_MOST];
    int n = z->side;
    z->from.fetch(z->from.user, epoch, index, v, labels, targets);
    for (int p = 0; p < in.c * n * n; p++) {
        const lsnn_real *map = v + p / (n * n) * in.h * in.w;
        double r = fmin(fmax((p / n % n + 0.5) * in.h / n - 0.5, 0), in.h - 1);
        double c = fmin(fmax((p % n + 0.5) * in.w / n - 0.5, 0), in.w - 1);
        int up = (int)r, down = up + (up + 1 < in.h), left = (int)c;
        int right = left + (left + 1 < in.w);
        const lsnn_real *a = map + up * in.w, *b = map + down * in.w;
        double top = (double)a[left] + (c - left) * ((double)a[right] - (double)a[left]);
        double low = (double)b[left] + (c - left) * ((double)b[right] - (double)b[left]);
        x[p] = (lsnn_real)(top + (r - up) * (low - top));
    }
}

/* Makes of d the same data at another size; z must last as long as d.                  */
static inline void resize_data(resized *z, lsnn_data *d, int side)
{
    z->from = *d;
    z->side = side;
    d->fetch = resize_fetch;
    d->user = z;
    d->shape.h = d->shape.w = side;
}

/* All parameters of a file's net. Its last pooling is of another size, and has none.   */
static inline lsnn_status resize_read(const app *a, lsnn_net *net, const char *path)
{
    int all = 0, taken = 0;
    size_t count;
    lsnn_read_desc d;
    lsnn_status s;
    memset(&d, 0, sizeof d);
    d.partial = 1;
    d.taken = &taken;
    for (int buffers = 0; buffers < 2; buffers++)
        for (int i = 0; lsnn_net_param_name(net, buffers, i, &count); i++) all++;
    s = lsnn_net_read_as(net, path, &d);
    if (s != LSNN_OK || taken == all) return s;
    app_refuse(a, "--load %s: of the parameters that --model with these flags has at that --size, "
               "it has %d of %d", path, taken, all);
    return LSNN_ESTATE;
}

#endif
