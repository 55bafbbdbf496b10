/* test_pictures.c - drawing pixel by pixel, plots of awkward data, PNG files.
   modes: plain asan | double                                                   */
#ifndef TEST_LINKED
#define LSNN_IMPLEMENTATION
#endif
#include "lsnn.h"
#include "check.h"
#include <float.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_include)
#  if __has_include(<stb/stb_image.h>)
#    define HAVE_STB_IMAGE
#    if defined(__GNUC__)
#      pragma GCC diagnostic push
#      pragma GCC diagnostic ignored "-Wconversion"
#      pragma GCC diagnostic ignored "-Wsign-conversion"
#      pragma GCC diagnostic ignored "-Wshadow"
#      pragma GCC diagnostic ignored "-Wunused-function"
#    endif
#    define STB_IMAGE_IMPLEMENTATION
#    include <stb/stb_image.h>
#    if defined(__GNUC__)
#      pragma GCC diagnostic pop
#    endif
#  endif
#endif

static const char *const path = "test_pictures.tmp";

/* An allocator that refuses request number `refuse` (from 0) and counts.     */
typedef struct counter { long asked, refuse, open; } counter;
static void *counter_alloc(size_t bytes, void *user)
{
    counter *c = (counter *)user;
    if (c->asked++ == c->refuse) return NULL;
    c->open++;
    return malloc(bytes);
}
static void counter_free(void *block, void *user)
{
    counter *c = (counter *)user;
    c->open -= block != NULL;
    free(block);
}
static void quiet(const char *message, void *user)
{
    (void)message;
    (void)user;
}
static lsnn_ctx context(counter *c, long refuse)
{
    lsnn_ctx cx;
    memset(&cx, 0, sizeof cx);
    c->asked = c->open = 0;
    c->refuse = refuse;
    cx.mem.alloc_fn = counter_alloc;
    cx.mem.free_fn = counter_free;
    cx.mem.user = c;
    cx.log_fn = quiet;
    return cx;
}

static uint32_t pixel(const lsnn_image *im, int x, int y)
{
    const unsigned char *v = im->rgb + 3 * ((size_t)y * (size_t)im->w + (size_t)x);
    return (uint32_t)v[0] << 16 | (uint32_t)v[1] << 8 | v[2];
}

/* Pixels of this colour inside a box, or (inside = 0) outside of it.         */
static int pixels(const lsnn_image *im, int x, int y, int w, int h, int inside, uint32_t rgb)
{
    int n = 0;
    for (int j = 0; j < im->h; j++)
        for (int i = 0; i < im->w; i++) {
            int in = i >= x && i < x + w && j >= y && j < y + h;
            if (in == inside && pixel(im, i, j) == rgb) n++;
        }
    return n;
}

static void test_new(lsnn_ctx *cx)
{
    static const int size[7][2] = { { 0, 5 }, { 5, 0 }, { -1, 5 }, { 5, -1 }, { INT_MIN, 3 },
                                    { INT_MAX, INT_MAX }, { -3, -3 } };
    lsnn_image im;
    for (int i = 0; i < 7; i++) {
        CHECK(lsnn_image_new(cx, &im, size[i][0], size[i][1], 0) == LSNN_ESHAPE);
        CHECK(cx->status == LSNN_ESHAPE && im.rgb == NULL && im.w == 0 && im.h == 0);
        lsnn_image_free(cx, &im);
        lsnn_clear(cx);
    }
    CHECK(lsnn_image_new(cx, &im, 3, 2, 0x123456) == LSNN_OK);
    CHECK(pixels(&im, 0, 0, 3, 2, 1, 0x123456) == 6);
    lsnn_image_free(cx, &im);
    CHECK(im.rgb == NULL);
    lsnn_image_free(cx, &im);                        /* a second time: nothing */
    lsnn_image_rect(&im, 0, 0, 5, 5, 1);
    test_end("pictures: sizes that are none, colours of a new image");
}

static void test_geometry(lsnn_ctx *cx)
{
    lsnn_image im;
    if (!CHECK(lsnn_image_new(cx, &im, 40, 30, 0xFFFFFF) == LSNN_OK)) return;
    lsnn_image_rect(&im, 3, 4, 5, 6, 0x112233);
    CHECK(pixels(&im, 3, 4, 5, 6, 1, 0x112233) == 30);
    CHECK(pixels(&im, 3, 4, 5, 6, 0, 0xFFFFFF) == 40 * 30 - 30);
    lsnn_image_rect(&im, 0, 0, 40, 30, 0xFFFFFF);
    lsnn_image_rect(&im, 38, -2, 10, 4, 0x445566);
    CHECK(pixels(&im, 38, 0, 2, 2, 1, 0x445566) == 4);
    CHECK(pixels(&im, 38, 0, 2, 2, 0, 0xFFFFFF) == 40 * 30 - 4);

    lsnn_image_rect(&im, 0, 0, 40, 30, 0xFFFFFF);
    lsnn_image_line(&im, 5, 7, 9, 7, 1, 0x00FF00);   /* whole numbers are centres */
    CHECK(pixels(&im, 5, 7, 5, 1, 1, 0x00FF00) == 5);
    CHECK(pixels(&im, 5, 7, 5, 1, 0, 0xFFFFFF) == 40 * 30 - 5);
    lsnn_image_rect(&im, 0, 0, 40, 30, 0xFFFFFF);
    lsnn_image_line(&im, 20, 3, 20, 25, 3, 0);
    CHECK(pixels(&im, 19, 3, 3, 23, 1, 0) == 69);
    lsnn_image_rect(&im, 0, 0, 40, 30, 0xFFFFFF);
    lsnn_image_line(&im, 5, 7.5, 30, 7.5, 1, 0);     /* half on either row    */
    NEAR(pixel(&im, 15, 7) & 255, 127.5, 0.01);
    NEAR(pixel(&im, 15, 8) & 255, 127.5, 0.01);
    CHECK(pixel(&im, 15, 6) == 0xFFFFFF && pixel(&im, 15, 9) == 0xFFFFFF);
    lsnn_image_free(cx, &im);
    test_end("pictures: rectangles and lines, pixel by pixel");
}

static void test_text(lsnn_ctx *cx)
{
    lsnn_image im;
    char all[128], text[2] = { 0, 0 };
    int n = 0;
    if (!CHECK(lsnn_image_new(cx, &im, 60, 40, 0xFFFFFF) == LSNN_OK)) return;
    for (int c = 32; c < 127; c++) all[n++] = (char)c;
    all[n] = 0;
    CHECK(lsnn_image_text(&im, 0, 0, 1, 0, "") == 0);
    CHECK(lsnn_image_text(&im, 0, 0, 1, 0, all) == 6 * 95);
    CHECK(lsnn_image_text(&im, 0, 0, 3, 0, "abc") == 54);
    CHECK(lsnn_image_text(&im, 0, 0, 0, 0, "abc") == 0);
    CHECK(lsnn_image_text(&im, 0, 0, INT_MAX, 0, "abc") == INT_MAX);
    for (int c = 1; c < 256; c++)                    /* ink only in its cell  */
        for (int scale = 1; scale <= 3; scale++) {
            text[0] = (char)c;
            lsnn_image_rect(&im, 0, 0, 60, 40, 0xFFFFFF);
            CHECK(lsnn_image_text(&im, 11, 9, scale, 0x0000AA, text) == 6 * scale);
            n = pixels(&im, 11, 9, 5 * scale, 8 * scale, 1, 0x0000AA);
            CHECK(c == ' ' ? n == 0 : n >= 3 * scale * scale);
            CHECK(n % (scale * scale) == 0);
            CHECK(n + pixels(&im, 0, 0, 60, 40, 1, 0xFFFFFF) == 60 * 40);
        }
    lsnn_image_rect(&im, 0, 0, 60, 40, 0xFFFFFF);
    lsnn_image_text(&im, 2, 3, 2, 0, "T");
    CHECK(pixels(&im, 2, 3, 10, 2, 1, 0) == 20 && pixels(&im, 6, 5, 2, 12, 1, 0) == 24);
    CHECK(pixels(&im, 0, 0, 60, 40, 1, 0) == 44);
    lsnn_image_free(cx, &im);
    test_end("pictures: text stays in its cells and tells its width");
}

static void test_maps(lsnn_ctx *cx)
{
    lsnn_real map[6], maps[3 * 4], none = (lsnn_real)NAN, all = (lsnn_real)INFINITY;
    static const double grid[12] = { 1, 2, 3, 4, -1, 0, 1, 1, 0, 0, 0, 0 };
    lsnn_image im;
    if (!CHECK(lsnn_image_new(cx, &im, 30, 20, 0x0A141E) == LSNN_OK)) return;
    map[0] = 0; map[1] = (lsnn_real)0.5; map[2] = 1; map[3] = none; map[4] = all; map[5] = -all;
    lsnn_image_map(&im, 2, 3, 4, map, 2, 3, 0, 1);
    CHECK(pixels(&im, 2, 3, 4, 4, 1, 0) == 16 && pixels(&im, 6, 3, 4, 4, 1, 0x808080) == 16);
    CHECK(pixels(&im, 10, 3, 4, 4, 1, 0xFFFFFF) == 16);
    CHECK(pixels(&im, 2, 7, 4, 4, 1, 0xFF00FF) == 16);
    CHECK(pixels(&im, 6, 7, 4, 4, 1, 0xFFFFFF) == 16 && pixels(&im, 10, 7, 4, 4, 1, 0) == 16);
    CHECK(pixels(&im, 2, 3, 12, 8, 0, 0x0A141E) == 600 - 96);
    lsnn_image_map(&im, 2, 3, 4, map, 2, 3, 0, 0);                   /* empty ranges */
    lsnn_image_map(&im, 2, 3, 4, map, 2, 3, -INFINITY, INFINITY);
    lsnn_image_map(&im, 2, 3, 4, map, 2, 3, NAN, NAN);
    lsnn_image_map(&im, 2, 3, 4, map, 2, 3, -DBL_MAX, DBL_MAX);
    CHECK(pixel(&im, 2, 3) == 0x808080 && pixel(&im, 2, 7) == 0xFF00FF);

    lsnn_image_rect(&im, 0, 0, 30, 20, 0x0A141E);    /* 10, 20, 30            */
    map[1] = 1; map[2] = 4; map[4] = -1; map[5] = 9;
    lsnn_image_overlay(&im, 1, 2, 3, map, 2, 3, 4, 0xFF6400);        /* 255, 100, 0 */
    CHECK(pixels(&im, 1, 2, 3, 3, 1, 0x0A141E) == 9);                /* opacity 0   */
    CHECK(pixels(&im, 4, 2, 3, 3, 1, 0x472817) == 9);  /* 10 + 245/4, 20 + 80/4, 30 - 30/4 */
    CHECK(pixels(&im, 7, 2, 3, 3, 1, 0xFF6400) == 9);                /* opacity 1   */
    CHECK(pixels(&im, 1, 5, 3, 3, 1, 0xFF00FF) == 9);                /* NaN         */
    CHECK(pixels(&im, 4, 5, 3, 3, 1, 0x0A141E) == 9);                /* below 0     */
    CHECK(pixels(&im, 7, 5, 3, 3, 1, 0xFF6400) == 9);                /* above hi    */

    lsnn_image_rect(&im, 0, 0, 30, 20, 0x0A141E);
    for (int i = 0; i < 12; i++) maps[i] = (lsnn_real)grid[i];
    lsnn_image_grid(&im, 1, 2, 3, maps, 3, 2, 2, 2, 1);
    CHECK(pixel(&im, 1, 2) == 0x404040 && pixel(&im, 6, 7) == 0xFFFFFF);   /* 1/4, 4/4 */
    CHECK(pixel(&im, 8, 2) == 0 && pixel(&im, 11, 2) == 0x808080);         /* -1..1    */
    CHECK(pixels(&im, 1, 9, 6, 6, 1, 0) == 36);                            /* all zero */
    CHECK(pixels(&im, 0, 0, 30, 20, 1, 0x0A141E) == 600 - 3 * 36);
    lsnn_image_grid(&im, 0, 0, 3, maps, 3, 2, 2, 0, 1);              /* no columns  */
    lsnn_image_free(cx, &im);
    test_end("pictures: maps, overlays, grids; NaN is magenta");
}

/* Everything far outside: the address sanitizer watches, the border too.     */
static void test_clipping(lsnn_ctx *cx)
{
    static const double far[11] = { 0, -7, 5, 33, 1e9, -1e9, 1e18, -1e300, 1e308, INFINITY,
                                    NAN };
    static const int at[8] = { 0, -5, 17, 40, INT_MAX, INT_MIN, INT_MAX - 1, -1000000 };
    lsnn_real map[4] = { 1, 2, 3, 4 };
    double v[3] = { 1, 2, 3 };
    lsnn_curve curve;
    lsnn_image im;
    memset(&curve, 0, sizeof curve);
    curve.x = curve.y = v;
    curve.count = 3;
    curve.label = "label";
    if (!CHECK(lsnn_image_new(cx, &im, 33, 21, 0xFFFFFF) == LSNN_OK)) return;
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++) {
            int x = at[i], y = at[j];
            lsnn_image_rect(&im, x, y, at[7 - i], at[7 - j], 0);
            lsnn_image_text(&im, x, y, 1 + i, 0, "far");
            lsnn_image_text(&im, x, y, INT_MAX, 0, "far");
            lsnn_image_map(&im, x, y, at[i], map, 2, 2, 0, 4);
            lsnn_image_overlay(&im, x, y, 9, map, 2, 2, 4, 0xFF0000);
            lsnn_image_grid(&im, x, y, at[j], map, 4, 1, 1, 2, at[i]);
            lsnn_image_plot(&im, x, y, 300, 200, "t", "x", "y", &curve, 1);
            lsnn_image_plot(&im, x, y, at[i], at[j], "t", "x", "y", &curve, 1);
        }
    for (int i = 0; i < 11 * 11 * 11 * 11; i++)
        lsnn_image_line(&im, far[i % 11], far[i / 11 % 11], far[i / 121 % 11], far[i / 1331],
                        far[i % 7] + 1, 0x00FF00);
    lsnn_image_rect(&im, 0, 0, 33, 21, 0xFFFFFF);
    lsnn_image_line(&im, -1e6, -1e6, 1e6, 1e6, 1, 0);                /* the diagonal */
    for (int i = 0; i < 21; i++) CHECK(pixel(&im, i, i) == 0);
    lsnn_image_free(cx, &im);
    test_end("pictures: nothing is drawn outside the image");
}

enum { POINTS = 40, KINDS = 14 };

/* Awkward data of kind 0 .. KINDS-1.                                         */
static void fill_curve(int kind, double *x, double *y)
{
    static const double constant[4] = { 0, 5, -1e-290, 1e299 };
    for (int i = 0; i < POINTS; i++) {
        x[i] = i;
        y[i] = kind < 4 ? constant[kind] : sin(0.3 * i);
        if (kind == 4 && i % 3 == 0) y[i] = NAN;
        if (kind == 5) y[i] = i % 2 ? INFINITY : NAN;
        if (kind == 6) y[i] = (i % 2 ? 1 : -1) * DBL_MAX;
        if (kind == 7) y[i] = (i % 2 ? 1 : -1) * 9e299;
        if (kind == 8) y[i] = 1e15 + i;              /* digits beyond the labels */
        if (kind == 9) y[i] = 1e-300 * i;
        if (kind == 10) x[i] = 3;
        if (kind == 11) x[i] = i % 5 == 4 ? NAN : -1e6 - 0.125 * i;
        if (kind == 12) y[i] = i % 2 ? (double)NAN : i;/* only single points    */
        if (kind == 13) y[i] = 5e-324 * i;
    }
}

/* One plot in a box; the rest of the image must stay as it is.               */
static void try_plot(lsnn_image *im, int w, int h, const lsnn_curve *curves, int count,
                     int visible)
{
    int ink;
    lsnn_image_rect(im, 0, 0, im->w, im->h, 0x123456);
    lsnn_image_plot(im, 7, 5, w, h, "a title gypq", "x axis", "y axis", curves, count);
    CHECK(pixels(im, 7, 5, w, h, 0, 0x123456) == im->w * im->h - w * h);
    CHECK(pixels(im, 7, 5, w, h, 1, 0x123456) == 0);
    ink = w * h - pixels(im, 7, 5, w, h, 1, 0xFFFFFF);
    CHECK(ink > 0);
    if (visible) CHECK(pixels(im, 7, 5, w, h, 1, 0xAA0000) > 3);
}

static void test_plot(lsnn_ctx *cx)
{
    static const int size[6][2] = { { 480, 320 }, { 300, 200 }, { 60, 40 }, { 9, 200 },
                                    { 950, 640 }, { 1, 1 } };
    double x[POINTS], y[POINTS];
    lsnn_curve c[3];
    lsnn_image im;
    if (!CHECK(lsnn_image_new(cx, &im, 970, 660, 0) == LSNN_OK)) return;
    memset(c, 0, sizeof c);
    for (int kind = 0; kind < KINDS; kind++)
        for (int s = 0; s < 6; s++) {
            fill_curve(kind, x, y);
            c[0].label = "a curve with a rather long label";
            c[0].x = kind == 3 ? NULL : x;
            c[0].y = y;
            c[0].count = POINTS;
            c[0].rgb = 0xAA0000;
            c[1] = c[0];
            c[1].rgb = 0;
            c[1].count = 1;
            c[2].label = "no points";
            c[2].count = 5;                          /* but y is NULL         */
            try_plot(&im, size[s][0], size[s][1], c, 1,
                     s < 2 && kind != 5 && kind != 6);
            try_plot(&im, size[s][0], size[s][1], c, 3, 0);
            try_plot(&im, size[s][0], size[s][1], c + 1, 1, 0);
        }
    try_plot(&im, 480, 320, NULL, 0, 0);
    lsnn_image_plot(&im, 0, 0, 400, 300, NULL, NULL, NULL, c, 1);
    lsnn_image_plot(&im, 0, 0, -5, 300, NULL, NULL, NULL, c, 1);
    lsnn_image_free(cx, &im);
    test_end("pictures: %d kinds of awkward data plotted, nothing outside the box", KINDS);
}

/* The first row or (of_x) column that holds this colour; -1: none does.      */
static int first_with(const lsnn_image *im, int of_x, int from, uint32_t rgb)
{
    for (int i = from; i < (of_x ? im->w : im->h); i++)
        if (pixels(im, of_x ? i : 0, of_x ? 0 : i, of_x ? 1 : im->w, of_x ? im->h : 1, 1, rgb))
            return i;
    return -1;
}

static void test_plot_parts(lsnn_ctx *cx)
{
    double y[5] = { 1, 1, NAN, 1, 1 };
    lsnn_curve c[2];
    lsnn_image im;
    int gap = 0, red, blue;
    if (!CHECK(lsnn_image_new(cx, &im, 300, 200, 0) == LSNN_OK)) return;
    memset(c, 0, sizeof c);
    c[0].y = y;
    c[0].count = 5;
    c[0].rgb = 0xAA0000;
    lsnn_image_plot(&im, 0, 0, 300, 200, NULL, NULL, NULL, c, 1);
    for (int x = first_with(&im, 1, 0, 0xAA0000); x >= 0;) {
        int next = first_with(&im, 1, x + 1, 0xAA0000);
        if (next - x > gap) gap = next - x;
        x = next;
    }
    CHECK(gap > 100 && gap < 160);                   /* points 1 to 3 of 0 .. 4 */
    c[1] = c[0];
    c[1].rgb = 0x0000AA;
    c[0].label = c[1].label = "a label as wide as half the frame";
    lsnn_image_plot(&im, 0, 0, 300, 200, NULL, NULL, NULL, c, 2);
    red = first_with(&im, 0, 0, 0xAA0000);           /* the legend's dashes     */
    blue = first_with(&im, 0, 0, 0x0000AA);
    CHECK(red > 0 && blue == red + 12);
    lsnn_image_free(cx, &im);
    test_end("pictures: NaN breaks a line, a long legend has rows in the curves' order");
}

/* Does the file hold `text`, or (NULL) is there none?                        */
static int file_is(const char *name, const char *text)
{
    char v[64];
    size_t n;
    FILE *f = fopen(name, "rb");
    if (!f) return text == NULL;
    n = fread(v, 1, sizeof v, f);
    fclose(f);
    return text != NULL && n == strlen(text) && memcmp(v, text, n) == 0;
}
static void file_put(const char *name, const char *text)
{
    FILE *f = fopen(name, "wb");
    if (!f) return;
    fputs(text, f);
    fclose(f);
}

/* Noise above, one colour below: literals and matches.                       */
static lsnn_status noise(lsnn_ctx *cx, lsnn_image *im, int w, int h)
{
    lsnn_rng r = lsnn_rng_at(1, "test", "noise", 0, 0);
    lsnn_status s = lsnn_image_new(cx, im, w, h, 0x336699);
    if (s != LSNN_OK) return s;
    for (int i = 0; i < 3 * w * (h / 2); i++) im->rgb[i] = (unsigned char)lsnn_rng_u32(&r);
    return LSNN_OK;
}

/* One pixel: the bytes of the file, worked out by hand but for the check sums, which are
   Python's zlib's.                                                            */
static void test_bytes(void)
{
    static const unsigned char want[] = {
        0x89, 'P', 'N', 'G', 13, 10, 26, 10,
        0, 0, 0, 13, 'I', 'H', 'D', 'R', 0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0,
        0x90, 0x77, 0x53, 0xDE,
        0, 0, 0, 12, 'I', 'D', 'A', 'T', 0x78, 0x5E, 0x63, 0x10, 0x54, 0x72, 0x01, 0x00,
        0x00, 0xBF, 0x00, 0x78, 0x25, 0x39, 0xB5, 0x9D,
        0, 0, 0, 0, 'I', 'E', 'N', 'D', 0xAE, 0x42, 0x60, 0x82 };
    counter c;
    lsnn_ctx cx = context(&c, -1);
    lsnn_image im;
    unsigned char got[sizeof want + 1];
    size_t n = 0;
    FILE *f;
    CHECK(lsnn_image_new(&cx, &im, 1, 1, 0x112244) == LSNN_OK);
    CHECK(lsnn_image_save(&cx, &im, path) == LSNN_OK);
    f = fopen(path, "rb");
    if (CHECK(f != NULL)) {
        n = fread(got, 1, sizeof got, f);
        fclose(f);
    }
    if (!CHECK(n == sizeof want && memcmp(got, want, n) == 0))
        for (size_t i = 0; i < n; i++) printf(i % 12 ? " %02X" : "\n# %02X", got[i]);
    lsnn_image_free(&cx, &im);
    CHECK(c.open == 0);
    remove(path);
    test_end("pictures: the bytes of a PNG");
}

static void test_round_trip(void)
{
#ifdef HAVE_STB_IMAGE
    static const int size[6][2] = { { 1, 1 }, { 1, 300 }, { 257, 1 }, { 64, 48 },
                                    { 301, 199 }, { 1500, 700 } };
    counter c;
    lsnn_ctx cx = context(&c, -1);
    for (int i = 0; i < 6; i++) {
        lsnn_image im;
        unsigned char *read;
        int w = 0, h = 0, n = 0;
        CHECK(noise(&cx, &im, size[i][0], size[i][1]) == LSNN_OK);
        if (i == 5)                      /* slopes, and rows that come back from far  */
            for (int k = 0; k < 3 * im.w * im.h / 2; k++)
                im.rgb[k] = (unsigned char)(k % 4500 < 900 ? im.rgb[k % 31000] : k / 90);
        CHECK(lsnn_image_save(&cx, &im, path) == LSNN_OK);
        read = stbi_load(path, &w, &h, &n, 3);
        CHECK(read && w == im.w && h == im.h && n == 3);
        CHECK(read && memcmp(read, im.rgb, (size_t)w * (size_t)h * 3) == 0);
        stbi_image_free(read);
        lsnn_image_free(&cx, &im);
    }
    CHECK(c.open == 0 && cx.status == LSNN_OK);
    remove(path);
    test_end("pictures: a saved PNG decodes to the same pixels");
#else
    test_skip("pictures: a saved PNG decodes to the same pixels", "stb_image.h is not here");
#endif
}

static void test_save_failures(void)
{
    counter c;
    lsnn_ctx cx = context(&c, -1);
    lsnn_image im, bad;
    if (!CHECK(noise(&cx, &im, 8, 8) == LSNN_OK)) return;
    CHECK(lsnn_image_save(&cx, &im, "no-such-folder/picture.tmp") == LSNN_EIO);
    CHECK(strstr(cx.message, "picture.tmp") != NULL);
    lsnn_clear(&cx);
    CHECK(lsnn_image_save(&cx, &im, NULL) == LSNN_EVALUE);
    lsnn_clear(&cx);
    bad = im;
    bad.h = 0;
    file_put(path, "before");
    CHECK(lsnn_image_save(&cx, &bad, path) == LSNN_ESHAPE);
    lsnn_clear(&cx);
    bad.h = INT_MAX;                                 /* refused before it is read */
    CHECK(lsnn_image_save(&cx, &bad, path) == LSNN_ESHAPE);
    lsnn_clear(&cx);
    memset(&bad, 0, sizeof bad);
    CHECK(lsnn_image_save(&cx, &bad, path) == LSNN_ESHAPE);
    CHECK(file_is(path, "before"));
    remove(path);
    lsnn_image_free(&cx, &im);
    CHECK(c.open == 0);
    test_end("pictures: what cannot be saved gives a status");
}

static void test_refusals(void)
{
    counter c;
    long n = 0;
    file_put(path, "before");
    for (;; n++) {
        lsnn_ctx cx = context(&c, n);
        lsnn_image im;
        lsnn_status s = noise(&cx, &im, 9, 12);
        if (s == LSNN_OK) s = lsnn_image_save(&cx, &im, path);
        lsnn_image_free(&cx, &im);
        lsnn_ctx_free(&cx);
        if (!CHECK(c.open == 0) || s == LSNN_OK) break;
        CHECK(s == LSNN_ENOMEM && cx.status == LSNN_ENOMEM);
        CHECK(file_is(path, "before") && file_is("test_pictures.tmp.tmp", NULL));
        if (n > 100000) break;
    }
    CHECK(n >= 2 && !file_is(path, "before"));
    remove(path);
    test_end("pictures: each of %ld allocations refused in turn, no leak", n);
}

int main(void)
{
    counter c;
    lsnn_ctx cx = context(&c, -1);
    test_new(&cx);
    test_geometry(&cx);
    test_text(&cx);
    test_maps(&cx);
    test_clipping(&cx);
    test_plot(&cx);
    test_plot_parts(&cx);
    lsnn_ctx_free(&cx);
    CHECK(c.open == 0 && cx.status == LSNN_OK);
    test_end("pictures: drawing leaves no memory behind");
    test_bytes();
    test_round_trip();
    test_save_failures();
    test_refusals();
    return test_finish();
}
