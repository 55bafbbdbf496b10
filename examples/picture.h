/* picture.h - somebody's picture as a net reads it.

   A net of one channel reads ink, white on black, as MNIST has it. Whatever the picture is
   (transparent, dark on bright, on grey paper, framed), its paper becomes 0 and its strongest
   ink 1. The ink is cut out, then scaled and placed as in the pictures that the net was
   trained on. Many pieces of ink are a scene, which is taken whole: scaled until it fits,
   never squashed. A net of more channels gets the colours of the middle part.
   Reads what stb_image.h reads (PNG, JPEG, ...).                                         */
#ifndef PICTURE_H
#define PICTURE_H

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__has_include)
#  if __has_include(<stb/stb_image.h>)
#    define STB_IMAGE_H <stb/stb_image.h>
#  elif __has_include(<stb_image.h>)
#    define STB_IMAGE_H <stb_image.h>
#  endif
#endif
#ifdef STB_IMAGE_H
#  if defined(__GNUC__)
#    pragma GCC diagnostic push
#    pragma GCC diagnostic ignored "-Wconversion"
#    pragma GCC diagnostic ignored "-Wsign-conversion"
#    pragma GCC diagnostic ignored "-Wunused-parameter"
#    pragma GCC diagnostic ignored "-Wunused-function"
#    pragma GCC diagnostic ignored "-Wpedantic"
#    pragma GCC diagnostic ignored "-Wshadow"
#  endif
#  define STB_IMAGE_IMPLEMENTATION
#  include STB_IMAGE_H
#  if defined(__GNUC__)
#    pragma GCC diagnostic pop
#  endif
#else
static unsigned char *stbi_load(const char *path, int *w, int *h, int *n, int want)
{
    (void)path; (void)w; (void)h; (void)n; (void)want;
    return NULL;
}
static const char *stbi_failure_reason(void) { return "built without stb_image.h"; }
static void stbi_image_free(void *v) { (void)v; }
#endif

/* ---- The picture as numbers ----------------------------------------------------------------*/
enum { MOST = 512 };                 /* larger pictures are reduced to so many pixels a side   */
typedef struct plane { int w, h; lsnn_real *v; } plane;    /* h rows of w numbers in [0, 1]    */
typedef struct box { double x, y, w, h; } box;

/* The mean over a box that may reach beyond the picture, where there is 0.              */
static double mean_over(const plane *g, double x, double y, double w, double h)
{
    double sum = 0;
    for (int i = y > 0 ? (int)y : 0; i < g->h && i < y + h; i++)
        for (int j = x > 0 ? (int)x : 0; j < g->w && j < x + w; j++)
            sum += (double)g->v[(size_t)i * (size_t)g->w + (size_t)j] *
                   (fmin(j + 1, x + w) - fmax(j, x)) * (fmin(i + 1, y + h) - fmax(i, y));
    return sum / (w * h);
}

/* Scales the box `from` to w x h numbers; pixels that grow fade into each other.         */
static void scale(lsnn_real *to, int w, int h, const plane *g, box from)
{
    double sx = from.w / w, sy = from.h / h, ww = fmax(sx, 1), hh = fmax(sy, 1);
    for (int i = 0; i < h; i++)
        for (int j = 0; j < w; j++)
            to[i * w + j] = (lsnn_real)mean_over(g, from.x + (j + 0.5) * sx - ww / 2,
                                                 from.y + (i + 0.5) * sy - hh / 2, ww, hh);
}

/* Colour c of a file's pixels, or (c < 0) their brightness. Transparent parts show paper: if
   most is opaque, what that is, bright or dark; else what the opaque ink is not. NULL in v:
   no memory.                                                                            */
static plane plane_of(const unsigned char *rgba, int w, int h, int c)
{
    size_t count = (size_t)w * (size_t)h;
    double opaque = 0, bright = 0, reduced = fmax(1, fmax(w, h) / (double)MOST);
    plane all = { w, h, NULL }, g = { (int)ceil(w / reduced), (int)ceil(h / reduced), NULL };
    box whole = { 0, 0, w, h };
    int white;
    all.v = (lsnn_real *)malloc(count * sizeof *all.v);
    g.v = (lsnn_real *)malloc((size_t)g.w * (size_t)g.h * sizeof *g.v);
    for (size_t i = 0; all.v && i < count; i++) {
        const unsigned char *p = rgba + 4 * i;
        double v = c < 0 ? 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2] : p[c];
        all.v[i] = (lsnn_real)(v / 255);
        opaque += p[3] / 255.0;
        bright += v / 255 * p[3] / 255;
    }
    white = (bright > opaque / 2) == (opaque > (double)count / 2);
    for (size_t i = 0; all.v && i < count; i++) {
        double a = rgba[4 * i + 3] / 255.0;
        all.v[i] = (lsnn_real)((double)all.v[i] * a + (white ? 1 - a : 0));
    }
    if (all.v && g.v) scale(g.v, g.w, g.h, &all, whole);
    if (!all.v) {
        free(g.v);
        g.v = NULL;
    }
    free(all.v);
    return g;
}

/* ---- Ink on paper --------------------------------------------------------------------------*/
#define FAINT 0.15                   /* of full ink: what lies between two pieces             */

static int by_size(const void *a, const void *b)
{
    lsnn_real x = *(const lsnn_real *)a, y = *(const lsnn_real *)b;
    return (x > y) - (x < y);
}

/* The border of what is left when `edge` pixels are taken off each side: its median, how far
   half of it is from that, and which part is near it.                                   */
typedef struct border { double level, noise, alike; } border;

static border border_of(const plane *g, int edge)
{
    static lsnn_real v[4 * (MOST + 1)];
    border b = { 0, 0, 0 };
    int n = 0;
    for (int i = edge; i < g->h - edge; i++)
        for (int j = edge; j < g->w - edge; j++)
            if (i == edge || i == g->h - 1 - edge || j == edge || j == g->w - 1 - edge)
                v[n++] = g->v[i * g->w + j];
    qsort(v, (size_t)n, sizeof *v, by_size);
    b.level = (double)v[n / 2];
    for (int i = 0; i < n; i++) {
        v[i] = (lsnn_real)fabs((double)v[i] - b.level);
        b.alike += (double)v[i] < 0.15 ? 1.0 / n : 0;
    }
    qsort(v, (size_t)n, sizeof *v, by_size);
    b.noise = (double)v[n / 2];
    return b;
}

/* Paper becomes 0, the strongest ink 1. A thin frame all round goes, too: its level is not
   that of the border inside of it, which is as even. 0: there is no ink.                */
static int find_ink(plane *g)
{
    border b = border_of(g, 0), inner;
    int edge = 0, least = g->w < g->h ? g->w : g->h;
    double up = 0, down = 0, most = 0, sign, noise;
    for (int k = 1; k <= least / 10 && b.alike > 0.9 && !edge; k++) {
        inner = border_of(g, k);
        if (inner.alike > 0.9 && fabs(inner.level - b.level) > 0.25) edge = k;
    }
    if (edge) b = border_of(g, edge = edge + (edge + 1) / 2);       /* and its soft rim      */
    noise = 4 * b.noise;
    for (int i = 0; i < g->h; i++)
        for (int j = 0; j < g->w; j++) {
            lsnn_real *v = &g->v[i * g->w + j];
            int inside = i >= edge && i < g->h - edge && j >= edge && j < g->w - edge;
            *v = inside ? (lsnn_real)((double)*v - b.level) : 0;
            up += fmax((double)*v - noise, 0);
            down += fmax(-(double)*v - noise, 0);
        }
    sign = up > down ? 1 : -1;
    for (int i = 0; i < g->w * g->h; i++) most = fmax(most, sign * (double)g->v[i]);
    if (most <= noise || most < 16.0 / 255) most = DBL_MAX;         /* no ink               */
    for (int i = 0; i < g->w * g->h; i++)
        g->v[i] = (lsnn_real)fmax((sign * (double)g->v[i] - noise) / (most - noise), 0);
    return most <= 1;
}

/* The four edges of a piece of ink, its pixels, and their sum.                           */
typedef struct piece { int left, top, right, bottom, *pixel, count; double mass; } piece;

/* Takes the piece that begins at pixel `at` off `rest`. `pixel` has room for the picture's. */
static piece take_piece(const plane *g, lsnn_real *rest, int *pixel, int at)
{
    piece p = { g->w, g->h, 0, 0, pixel, 0, 0 };
    p.pixel[p.count++] = at;
    rest[at] = 0;
    for (int k = 0; k < p.count; k++) {
        int x = pixel[k] % g->w, y = pixel[k] / g->w;
        p.mass += (double)g->v[pixel[k]];
        if (x < p.left) p.left = x;
        if (y < p.top) p.top = y;
        if (x >= p.right) p.right = x + 1;
        if (y >= p.bottom) p.bottom = y + 1;
        for (int n = 0; n < 9; n++) {
            int u = x + n % 3 - 1, v = y + n / 3 - 1, near = v * g->w + u;
            if (u < 0 || u >= g->w || v < 0 || v >= g->h || (double)rest[near] <= FAINT) continue;
            rest[near] = 0;
            pixel[p.count++] = near;
        }
    }
    return p;
}

/* All pieces as one but specks, which have less than 2 % of the ink and are wiped out, and the
   middle of its mass. Returns how many pieces there are; 0 without memory, too.         */
static int find_pieces(plane *g, piece *ink, double middle[2])
{
    size_t size = (size_t)g->w * (size_t)g->h;
    lsnn_real *rest = (lsnn_real *)malloc(size * sizeof *rest);
    int *pixel = (int *)malloc(size * sizeof *pixel), pieces = 0, count = g->w * g->h;
    double all = 0;
    memset(ink, 0, sizeof *ink);
    ink->left = g->w;
    ink->top = g->h;
    middle[0] = middle[1] = 0;
    for (int i = 0; i < count; i++) all += (double)g->v[i];
    if (rest) memcpy(rest, g->v, size * sizeof *rest);
    for (int i = 0; rest && pixel && i < count; i++) {
        piece p;
        if ((double)rest[i] <= FAINT) continue;
        p = take_piece(g, rest, pixel, i);
        for (int k = 0; p.mass < 0.02 * all && k < p.count; k++) g->v[pixel[k]] = 0;
        if (p.mass < 0.02 * all) continue;
        if (p.left < ink->left) ink->left = p.left;
        if (p.top < ink->top) ink->top = p.top;
        if (p.right > ink->right) ink->right = p.right;
        if (p.bottom > ink->bottom) ink->bottom = p.bottom;
        pieces++;
    }
    for (int i = 0; i < count; i++) {
        ink->mass += (double)g->v[i];
        middle[0] += (double)g->v[i] * (i % g->w + 0.5);
        middle[1] += (double)g->v[i] * (i / g->w + 0.5);
    }
    for (int k = 0; k < 2; k++) middle[k] /= ink->mass;
    free(rest);
    free(pixel);
    return pieces;
}

/* The middle of the picture, of the proportions of the net's input, `zoom` pixels for one. */
static box middle_of(const plane *g, lsnn_shape in, double zoom)
{
    box b = { 0, 0, in.w * zoom, in.h * zoom };
    b.x = (g->w - b.w) / 2;
    b.y = (g->h - b.h) / 2;
    return b;
}

/* The part of a picture that the net sees: its ink in the size that the net knows, by its mass
   in the middle, as MNIST's digits are; of an empty picture or a scene, all.            */
static box view_of(plane *g, lsnn_shape in, double size)
{
    enum { SCENE = 5 };              /* pieces: digits have one or two          */
    piece ink;
    box view;
    double middle[2];
    int pieces = size > 0 ? find_pieces(g, &ink, middle) : 0;
    if (pieces < 1 || pieces >= SCENE)
        return middle_of(g, in, fmax((double)g->w / in.w, (double)g->h / in.h));
    view = middle_of(g, in, fmax(ink.right - ink.left, ink.bottom - ink.top) /
                            (size * (in.w < in.h ? in.w : in.h)));
    view.x = fmax(fmin(middle[0] - view.w / 2, ink.left), ink.right - view.w);
    view.y = fmax(fmin(middle[1] - view.h / 2, ink.top), ink.bottom - view.h);
    return view;
}

/* Reads a file into x, in.c x in.h x in.w numbers. size: the larger side of the ink in the
   pictures that the net was trained on, as a part of theirs; 0: the whole picture is meant,
   nothing is cut out. invert: 1 - x, for nets that read black on white. 0 after a message. */
static int picture_load(const char *path, lsnn_shape in, double size, int invert, lsnn_real *x)
{
    int w, h, n, area = in.h * in.w, ink = in.c == 1, good = 1;
    unsigned char *rgba = stbi_load(path, &w, &h, &n, 4);
    if (!rgba) {
        fprintf(stderr, "predict: cannot read %s: %s\n", path, stbi_failure_reason());
        return 0;
    }
    for (int c = 0; c < in.c && good; c++) {
        plane g = plane_of(rgba, w, h, ink ? -1 : c % 3);
        good = g.v != NULL;
        if (!good) break;
        if (ink && !find_ink(&g)) fprintf(stderr, "predict: warning: %s is empty\n", path);
        scale(x + c * area, in.w, in.h, &g, ink ? view_of(&g, in, size) :
              middle_of(&g, in, fmin((double)g.w / in.w, (double)g.h / in.h)));
        free(g.v);
    }
    for (int i = 0; invert && i < in.c * area; i++) x[i] = 1 - x[i];
    if (!good) fprintf(stderr, "predict: no memory for %d x %d pixels\n", w, h);
    stbi_image_free(rgba);
    return good;
}
#endif
