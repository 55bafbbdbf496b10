/* dsc_pictures.h - what examples/dsc.c draws and counts: a picture compressed by colour
   filters, and the connections that an image uses.                                      */
#ifndef DSC_PICTURES_H
#define DSC_PICTURES_H

enum { COUNTED = 100 };                /* images whose active connections are counted     */

/* ---- Colours -------------------------------------------------------------------------------
   Section VI: delta_i(r, g, b) = w_i . (r, g, b). A pixel is told by the filter that answers
   most, and by its answer in one of `levels` steps: what is drawn is the answer times w_i.
   Clustering (ours: the draft has no more than its heading): w_i of length 1 becomes the
   direction of the sum of the pixels that it won, 20 times.                            */
typedef struct colour_code {
    int filters, levels;
    double (*w)[3];                  /* filters, or filters * levels palette colours    */
} colour_code;

static inline double colour_dot(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

static inline void colour_of(const lsnn_image *im, size_t i, double p[3])
{
    for (int k = 0; k < 3; k++) p[k] = im->rgb[3 * i + (size_t)k] / 255.0;
}

/* The filter that answers most, or (palette) the nearest colour; *how: the answer, or minus
   the squared distance.                                                                */
static inline int colour_best(const double (*w)[3], int count, int palette, const double p[3],
                              double *how)
{
    int best = 0;
    for (int i = 0; i < count; i++) {
        double d[3] = { p[0] - w[i][0], p[1] - w[i][1], p[2] - w[i][2] };
        double v = palette ? -colour_dot(d, d) : colour_dot(w[i], p);
        if (i == 0 || v > *how) {
            *how = v;
            best = i;
        }
    }
    return best;
}

static inline void colour_normalise(double w[3])
{
    double size = sqrt(colour_dot(w, w));
    for (int k = 0; k < 3; k++) w[k] = size > 0 ? w[k] / size : 0.57735;
}

/* The first ones: each the pixel that those before it tell worst.                      */
static inline void colour_begin(const lsnn_image *im, double (*w)[3], int count, int palette)
{
    size_t area = (size_t)im->w * (size_t)im->h, step = area / 20000 + 1;
    for (int i = 0; i < count; i++) {
        double worst = -1;
        size_t at = 0;
        for (size_t j = 0; j < area && i > 0; j += step) {
            double p[3], how = 0, miss;
            colour_of(im, j, p);
            colour_best((const double (*)[3])w, i, palette, p, &how);
            miss = palette ? -how : colour_dot(p, p) - how * how;
            if (miss > worst) {
                worst = miss;
                at = j;
            }
        }
        colour_of(im, at, w[i]);
        if (!palette) colour_normalise(w[i]);
    }
}

static inline int colour_learn(const lsnn_image *im, double (*w)[3], int count, int palette)
{
    size_t area = (size_t)im->w * (size_t)im->h;
    double (*sum)[4] = (double (*)[4])malloc((size_t)count * sizeof *sum);
    if (!sum) return 0;
    colour_begin(im, w, count, palette);
    for (int round = 0; round < 20; round++) {
        memset(sum, 0, (size_t)count * sizeof *sum);
        for (size_t j = 0; j < area; j++) {
            double p[3], how = 0;
            int i;
            colour_of(im, j, p);
            i = colour_best((const double (*)[3])w, count, palette, p, &how);
            for (int k = 0; k < 3; k++) sum[i][k] += p[k];
            sum[i][3]++;
        }
        for (int i = 0; i < count; i++) {
            if (!(sum[i][3] > 0)) continue;
            for (int k = 0; k < 3; k++) w[i][k] = sum[i][k] / sum[i][3];
            if (!palette) colour_normalise(w[i]);
        }
    }
    free(sum);
    return 1;
}

/* Draws im coded at column `left` of out; returns its PSNR in dB.                      */
static inline double colour_draw(lsnn_image *out, int left, const lsnn_image *im,
                                 const double (*w)[3], int count, int levels)
{
    size_t area = (size_t)im->w * (size_t)im->h;
    double total = 0;
    for (size_t j = 0; j < area; j++) {
        double p[3], how = 0;
        int i;
        colour_of(im, j, p);
        i = colour_best(w, count, levels == 0, p, &how);
        if (levels) how = sqrt(3.0) * ((int)(how / sqrt(3.0) * (levels - 1) + 0.5)) / (levels - 1);
        for (int k = 0; k < 3; k++) {
            double v = levels ? how * w[i][k] : w[i][k];
            unsigned char c = (unsigned char)(255 * (v < 0 ? 0 : v > 1 ? 1 : v) + 0.5);
            double d = c - 255 * p[k];
            out->rgb[3 * (j / (size_t)im->w * (size_t)out->w + (size_t)left +
                          j % (size_t)im->w) + (size_t)k] = c;
            total += d * d;
        }
    }
    return total > 0 ? 10 * log10(255.0 * 255 * 3 * (double)area / total) : 99;
}

/* The picture, by filters, and by a k-means palette of as many bits a pixel.           */
static inline lsnn_status draw_colours(lsnn_ctx *cx, const char *path, const char *figure,
                                       int filters, int levels)
{
    lsnn_image im, out;
    int count = filters * levels;
    double (*w)[3] = (double (*)[3])malloc((size_t)count * sizeof *w), psnr[2] = { 0, 0 };
    lsnn_status s = w ? lsnn_image_load(cx, &im, path) : LSNN_ENOMEM;
    if (s != LSNN_OK) {
        free(w);
        return s;
    }
    s = lsnn_image_new(cx, &out, 3 * im.w, im.h + 16, 0xFFFFFF);
    for (int palette = 0; palette < 2 && s == LSNN_OK; palette++) {
        int n = palette ? count : filters;
        if (!colour_learn(&im, w, n, palette)) s = LSNN_ENOMEM;
        else psnr[palette] = colour_draw(&out, (1 + palette) * im.w, &im, (const double (*)[3])w,
                                         n, palette ? 0 : levels);
    }
    if (s == LSNN_OK) {
        for (int i = 0; i < im.h; i++)
            memcpy(out.rgb + 3 * (size_t)i * (size_t)out.w, im.rgb + 3 * (size_t)i * (size_t)im.w,
                   3 * (size_t)im.w);
        lsnn_image_text(&out, 2, im.h + 4, 1, 0, "picture");
        lsnn_image_text(&out, im.w + 2, im.h + 4, 1, 0, "colour filters");
        lsnn_image_text(&out, 2 * im.w + 2, im.h + 4, 1, 0, "palette");
        s = lsnn_image_save(cx, &out, figure);
        printf("compress filters=%d levels=%d bits=%.2f psnr=%.2f palette=%d palette_psnr=%.2f\n",
               filters, levels, log2(count), psnr[0], count, psnr[1]);
    }
    lsnn_image_free(cx, &out);
    lsnn_image_free(cx, &im);
    free(w);
    return s;
}

/* ---- What an image uses ----------------------------------------------------------------*/
typedef struct link_of { const char *from, *name; int kernel; } link_of;     /* 0: dense     */

static inline lsnn_real *read_net(lsnn_net *net, const char *name, const char *part, size_t *count)
{
    char full[80];
    int rank, dim[4];
    lsnn_real *v;
    snprintf(full, sizeof full, "%s%s", name, part);
    if (lsnn_net_dims(net, full, &rank, dim) != LSNN_OK) return NULL;
    for (*count = 1; rank > 0; rank--) *count *= (size_t)dim[rank - 1];
    v = (lsnn_real *)malloc(*count * sizeof *v);
    if (v && lsnn_net_get(net, full, v, *count) == LSNN_OK) return v;
    free(v);
    return NULL;
}

static inline lsnn_status show(lsnn_net *net, const lsnn_data *data, int index)
{
    lsnn_real x[3 * 32 * 32];
    int label[LSNN_MAX_HEADS];
    lsnn_batch b = { 0 };
    b.n = 1;
    b.x = x;
    data->fetch(data->user, 0, index, x, label, NULL);
    return lsnn_forward(net, &b, 0, NULL);
}

/* Of the first test images: the connections that pass something, and all, an image.    */
static inline void count_active(lsnn_net *net, lsnn_ctx *cx, const lsnn_data *data,
                                const link_of *link, int links, double *active, double *all)
{
    int images = data->count < COUNTED ? data->count : COUNTED;
    lsnn_dsc d = { 0 };
    *active = *all = 0;
    for (int i = 0; i < images && show(net, data, i) == LSNN_OK; i++)
        for (int l = 0; l < links; l++) {
            const link_of *k = &link[l];
            size_t nx, nw;
            lsnn_real *x = read_net(net, k->from, "", &nx);
            lsnn_real *w = read_net(net, k->name, ".weight", &nw);
            lsnn_shape in = lsnn_net_shape(net, lsnn_net_node(net, k->from));
            lsnn_shape out = lsnn_net_shape(net, lsnn_net_node(net, k->name)), flat;
            lsnn_window s;
            flat.c = (int)nx; flat.h = flat.w = 1;
            if (x && w && lsnn_window_set(cx, &s, 1, k->kernel ? in : flat, out.c,
                k->kernel ? k->kernel : 1, k->kernel ? k->kernel : 1, k->kernel ? 2 : 1,
                k->kernel ? 2 : 1, LSNN_VALID, NULL) == LSNN_OK) {
                *active += lsnn_dsc_active(x, w, &d, &s) / images;
                *all += (double)nw * s.oh * s.ow / images;
            }
            free(x);
            free(w);
        }
}

/* ---- The graph of one image ----------------------------------------------------------------
   Layers from left to right; a line for each connection that passes something, green where it
   excites, red where it inhibits.                                                      */
typedef struct graph_layer {         /* n units: of maps h x w, or in a column          */
    int n, h, w, left, cell;
} graph_layer;

static inline graph_layer graph_maps(lsnn_shape in, int left)
{
    graph_layer g;
    g.n = in.c * in.h * in.w;
    g.h = in.h;
    g.w = in.w;
    g.left = left;
    g.cell = 440 / (in.c * (in.h + 1));
    if (g.cell < 1) g.cell = 1;
    return g;
}

static inline graph_layer graph_column(int n, int left)
{
    graph_layer g;
    g.n = g.h = n;
    g.w = 1;
    g.left = left;
    g.cell = 440 / (n + 1);
    if (g.cell < 1) g.cell = 1;
    return g;
}

static inline void graph_place(const graph_layer *g, int i, double *x, double *y)
{
    int area = g->h * g->w, map = i / area, p = i % area;
    *x = g->left + (p % g->w + 0.5) * g->cell;
    *y = 16 + (map * (g->h + 1) + p / g->w + 0.5) * g->cell;
}

static inline uint32_t graph_shade(double v, int kind)
{
    uint32_t c = (uint32_t)(235 - 150 * v), strong = (uint32_t)(235 - 60 * v);
    return kind > 0 ? c << 16 | strong << 8 | c : strong << 16 | c << 8 | c;
}

static inline int graph_links(lsnn_image *im, const graph_layer *a, const graph_layer *b,
                              const lsnn_real *x, const lsnn_real *w)
{
    int count = 0;
    for (int i = 0; i < a->n; i++)
        for (int k = 0; k < b->n; k++) {
            double v = (double)w[(size_t)i * (size_t)b->n + (size_t)k], x0, y0, x1, y1;
            double g = 1 - (1 - fmin(1, (double)x[i])) / fabs(v);
            if (!(g > 0)) continue;
            graph_place(a, i, &x0, &y0);
            graph_place(b, k, &x1, &y1);
            lsnn_image_line(im, x0, y0, x1, y1, 0.5, graph_shade(g, v < 0 ? -1 : 1));
            count++;
        }
    return count;
}

static inline void graph_units(lsnn_image *im, const graph_layer *g, const lsnn_real *x)
{
    int size = g->cell > 10 ? 10 : g->cell > 2 ? g->cell - 1 : g->cell;
    for (int i = 0; i < g->n; i++) {
        double cx, cy, v = fmax(0, fmin(1, (double)x[i]));
        uint32_t c = (uint32_t)(255 * v);
        graph_place(g, i, &cx, &cy);
        if (g->cell > 10) lsnn_image_rect(im, (int)cx - 6, (int)cy - 6, 12, 12, 0x808080);
        lsnn_image_rect(im, (int)cx - size / 2, (int)cy - size / 2, size, size,
                        c << 16 | c << 8 | c);
    }
}

/* The dense links, for the first test image.                                            */
static inline lsnn_status draw_graph(lsnn_net *net, lsnn_ctx *cx, const lsnn_data *data,
                                     const link_of *link, int links, const char *path)
{
    lsnn_image im;
    graph_layer a = { 0 }, b;
    int first = 0, lines = 0;
    lsnn_status s = lsnn_image_new(cx, &im, 900, 480, 0xFFFFFF);
    while (link[first].kernel) first++;
    if (s == LSNN_OK) s = show(net, data, 0);
    for (int pass = 0; pass < 2; pass++)                 /* the lines, then the units    */
        for (int l = first; l < links && s == LSNN_OK; l++) {
            const link_of *k = &link[l];
            lsnn_shape in = lsnn_net_shape(net, lsnn_net_node(net, k->from));
            size_t nx = 0, ny = 0, nw;
            lsnn_real *x = read_net(net, k->from, "", &nx);
            lsnn_real *y = read_net(net, k->name, "", &ny);
            lsnn_real *w = read_net(net, k->name, ".weight", &nw);
            if (!x || !y || !w) s = LSNN_ENOMEM;
            else {
                a = l == first ? graph_maps(in, 16) : b;
                b = graph_column((int)ny, 860 - 300 * (links - 1 - l));
                if (!pass) lines += graph_links(&im, &a, &b, x, w);
                else graph_units(&im, &a, x);
                if (pass) graph_units(&im, &b, y);
            }
            free(x);
            free(y);
            free(w);
        }
    if (s == LSNN_OK) s = lsnn_image_save(cx, &im, path);
    lsnn_image_free(cx, &im);
    if (s == LSNN_OK) printf("graph lines=%d\n", lines);
    return s;
}
#endif
