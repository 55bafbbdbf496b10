/* test_predict.c - examples/picture.h: whatever file a digit comes in, the net reads the same
   picture: transparent, dark on bright, on grey paper, framed, wide, small or filled.

   Build: cc -O2 -fopenmp -I. tests/test_predict.c -o tests/test_predict -lm
   Usage: test_predict                   (writes test_predict.tmp.png, and removes it)
   modes: plain | asan double */
#ifndef TEST_LINKED
#define LSNN_IMPLEMENTATION
#endif
#include "lsnn.h"
#include "examples/picture.h"
#include "check.h"

#define FILE_NAME "test_predict.tmp.png"
enum { SIDE = 28, AREA = SIDE * SIDE, ZOOM = 4, BIG = SIDE * ZOOM, ROOM = 4 * 900 * 900 };

static unsigned char digit[AREA], canvas[900 * 900], pixels[ROOM];

/* ---- a PNG file of any kind of pixels, unpacked --------------------------------------------*/
static uint32_t crc_of(uint32_t crc, const unsigned char *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        crc ^= v[i];
        for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return crc;
}

static void put32(unsigned char *to, size_t v)
{
    for (int i = 0; i < 4; i++) to[i] = (unsigned char)(v >> (24 - 8 * i));
}

static void put_chunk(FILE *f, const char *name, const unsigned char *v, size_t n)
{
    unsigned char word[4];
    uint32_t crc = crc_of(0xFFFFFFFFu, (const unsigned char *)name, 4);
    put32(word, n);
    fwrite(word, 1, 4, f);
    fwrite(name, 1, 4, f);
    fwrite(v, 1, n, f);
    put32(word, crc_of(crc, v, n) ^ 0xFFFFFFFFu);
    fwrite(word, 1, 4, f);
}

/* type: 0 grey, 2 RGB, 4 grey and alpha, 6 RGBA. Rows are stored blocks of deflate.     */
static void put_png(int w, int h, int type)
{
    static const int channels[7] = { 1, 0, 3, 0, 2, 0, 4 };
    static unsigned char z[ROOM + 900 * 8 + 8];
    unsigned char head[13] = { 0 };
    size_t row = (size_t)w * (size_t)channels[type], n = 2;
    uint32_t a = 1, b = 0;
    FILE *f = fopen(FILE_NAME, "wb");
    CHECK(f != NULL);
    if (!f) return;
    z[0] = 0x78;
    z[1] = 0x01;
    for (int i = 0; i < h; i++) {
        z[n++] = i == h - 1;
        z[n++] = (unsigned char)(row + 1);
        z[n++] = (unsigned char)((row + 1) >> 8);
        z[n++] = (unsigned char)~(row + 1);
        z[n++] = (unsigned char)(~(row + 1) >> 8);
        z[n] = 0;                                /* no filter                            */
        memcpy(z + n + 1, pixels + (size_t)i * row, row);
        for (size_t k = 0; k <= row; k++) {
            a = (a + z[n + k]) % 65521;
            b = (b + a) % 65521;
        }
        n += row + 1;
    }
    put32(z + n, (size_t)(b << 16 | a));
    put32(head, (size_t)w);
    put32(head + 4, (size_t)h);
    head[8] = 8;
    head[9] = (unsigned char)type;
    fwrite("\x89PNG\r\n\x1a\n", 1, 8, f);
    put_chunk(f, "IHDR", head, 13);
    put_chunk(f, "IDAT", z, n + 4);
    put_chunk(f, "IEND", head, 0);
    fclose(f);
}

/* ---- the digit on a canvas, and the canvas as pixels ---------------------------------------*/
/* White on black, zoomed, its corner at (x, y).                                         */
static void lay(int w, int h, int x, int y, int zoom)
{
    memset(canvas, 0, sizeof canvas);
    for (int i = 0; i < SIDE * zoom; i++)
        for (int j = 0; j < SIDE * zoom; j++)
            if (i + y >= 0 && i + y < h && j + x >= 0 && j + x < w)
                canvas[(i + y) * w + j + x] = digit[i / zoom * SIDE + j / zoom];
}

/* Ink v of 255 becomes paper + v (ink - paper) / 255 in each channel.                   */
static void as_grey(int w, int h, int paper, int ink)
{
    for (int i = 0; i < w * h; i++)
        pixels[i] = (unsigned char)(paper + canvas[i] * (ink - paper) / 255);
}

/* Nothing but ink of one level, as opaque as it is strong; `under` where there is none. */
static void as_alpha(int w, int h, int ink, int under, int type)
{
    int n = type == 6 ? 4 : 2;
    for (int i = 0; i < w * h; i++) {
        for (int c = 0; c < n - 1; c++)
            pixels[i * n + c] = (unsigned char)(canvas[i] ? ink : under);
        pixels[i * n + n - 1] = canvas[i];
    }
}

static const lsnn_shape in = { 1, SIDE, SIDE };
static lsnn_real same[AREA];                     /* what the plain picture becomes       */

/* The mean difference from that.                                                        */
static double difference(int w, int h, int type)
{
    static lsnn_real x[AREA];
    double sum = 0;
    put_png(w, h, type);
    if (!picture_load(FILE_NAME, in, 20 / 28.0, 0, x)) return HUGE_VAL;
    for (int i = 0; i < AREA; i++) sum += fabs((double)(x[i] - same[i])) / AREA;
    return sum;
}

/* The ink's four edges and the middle of its mass, of SIDE x SIDE numbers.              */
static void measure(const lsnn_real *x, int edge[4], double middle[2])
{
    double mass = 0;
    edge[0] = edge[2] = SIDE;
    edge[1] = edge[3] = 0;
    middle[0] = middle[1] = 0;
    for (int i = 0; i < AREA; i++) {
        int p[2] = { i % SIDE, i / SIDE };
        mass += (double)x[i];
        for (int k = 0; k < 2; k++) {
            middle[k] += (double)x[i] * (p[k] + 0.5);
            if ((double)x[i] < 0.2) continue;
            if (p[k] < edge[2 * k]) edge[2 * k] = p[k];
            if (p[k] >= edge[2 * k + 1]) edge[2 * k + 1] = p[k] + 1;
        }
    }
    for (int k = 0; k < 2; k++) middle[k] /= mass;
}

static void draw(int which)
{
    lsnn_recipe r;
    unsigned char label;
    memset(&r, 0, sizeof r);
    r.task = LSNN_TASK_DIGITS;
    r.seed = 1;
    r.count = 64;
    lsnn_recipe_draw(&r, 0, which, digit, &label, NULL);
}

/* ---- the tests ------------------------------------------------------------------------------*/
static void test_size(void)
{
    for (int k = 0; k < 20; k++) {
        int edge[4], side;
        double middle[2];
        draw(k);
        lay(BIG, BIG, 0, 0, ZOOM);
        as_grey(BIG, BIG, 0, 255);
        put_png(BIG, BIG, 0);
        CHECK(picture_load(FILE_NAME, in, 20 / 28.0, 0, same));
        measure(same, edge, middle);
        side = edge[1] - edge[0] > edge[3] - edge[2] ? edge[1] - edge[0] : edge[3] - edge[2];
        CHECK(side >= 18 && side <= 21);
        CHECK(fabs(middle[0] - 14) < 1.5 && fabs(middle[1] - 14) < 1.5);
    }
    test_end("a digit's larger side is 20 of 28, the middle of its mass the picture's");
}

static void test_levels(void)
{
    static const int level[6][2] = { { 255, 0 }, { 120, 60 }, { 200, 60 }, { 60, 120 },
                                     { 100, 255 }, { 90, 40 } };
    for (int k = 0; k < 6; k++) {
        as_grey(BIG, BIG, level[k][0], level[k][1]);
        NEAR(difference(BIG, BIG, 0), 0, 0.01);
    }
    for (int i = 0; i < BIG * BIG; i++)          /* the paper of a photo, not even       */
        pixels[i] = (unsigned char)(150 - canvas[i] * 100 / 255 + i * 7919 % 11);
    NEAR(difference(BIG, BIG, 0), 0, 0.03);
    test_end("paper and ink of any level: bright, dark, grey, dim, grained");
}

static void test_transparent(void)
{
    static const int type[2] = { 4, 6 };
    for (int k = 0; k < 2; k++)
        for (int ink = 0; ink <= 255; ink += 255)
            for (int under = 0; under <= 255; under += 255) {
                as_alpha(BIG, BIG, ink, under, type[k]);
                NEAR(difference(BIG, BIG, type[k]), 0, 0.01);
            }
    for (int i = 0; i < BIG * BIG; i++)          /* a dark digit on paper with round corners */
        for (int c = 0; c < 4; c++)
            pixels[4 * i + c] = (unsigned char)(c < 3 ? 255 - canvas[i] :
                                                i < BIG || i % BIG < 4 ? 0 : 255);
    NEAR(difference(BIG, BIG, 6), 0, 0.01);
    test_end("transparent pictures: ink black or white, whatever colour nothing has");
}

static void test_forms(void)
{
    int edge[4];
    double middle[2];
    measure(same, edge, middle);
    lay(2 * BIG, BIG, BIG / 2, 0, ZOOM);
    as_grey(2 * BIG, BIG, 0, 255);
    NEAR(difference(2 * BIG, BIG, 0), 0, 0.01);
    lay(BIG, 3 * BIG, 0, 40, ZOOM);
    as_grey(BIG, 3 * BIG, 255, 0);
    NEAR(difference(BIG, 3 * BIG, 0), 0, 0.01);
    lay(3 * BIG, 3 * BIG, 17, 200, ZOOM);        /* in a corner, a third of the side     */
    as_grey(3 * BIG, 3 * BIG, 255, 30);
    NEAR(difference(3 * BIG, 3 * BIG, 0), 0, 0.02);
    lay(896, 896, 0, 0, 32);                     /* more pixels than are looked at       */
    as_grey(896, 896, 0, 255);
    NEAR(difference(896, 896, 0), 0, 0.03);
    lay(SIDE, SIDE, 0, 0, 1);
    as_grey(SIDE, SIDE, 0, 255);
    NEAR(difference(SIDE, SIDE, 0), 0, 0.03);
    lay(BIG, BIG, 0, 0, ZOOM);
    as_grey(BIG, BIG, 255, 0);
    for (int i = 0; i < BIG * BIG; i++)
        if (i % BIG < 3 || i % BIG >= BIG - 3 || i < 3 * BIG || i >= BIG * (BIG - 3))
            pixels[i] = 0;
    NEAR(difference(BIG, BIG, 0), 0, 0.02);
    test_end("wide, high, a third of the side, large, tiny, framed: the same, never squashed");
}

/* A digit that fills its picture, edge to edge.                                         */
static void test_filled(void)
{
    int left = SIDE, right = 0, top = SIDE, bottom = 0;
    for (int i = 0; i < AREA; i++) {
        if (digit[i] < 64) continue;
        if (i % SIDE < left) left = i % SIDE;
        if (i % SIDE >= right) right = i % SIDE + 1;
        if (i / SIDE < top) top = i / SIDE;
        if (i / SIDE >= bottom) bottom = i / SIDE + 1;
    }
    lay((right - left) * 8, (bottom - top) * 8, -left * 8, -top * 8, 8);
    as_grey((right - left) * 8, (bottom - top) * 8, 0, 255);
    NEAR(difference((right - left) * 8, (bottom - top) * 8, 0), 0, 0.04);
    test_end("a digit that fills its picture becomes as small as the net knows it");
}

static void test_whole(void)
{
    static lsnn_real x[AREA];
    int edge[4];
    double middle[2];
    lay(2 * BIG, BIG, BIG / 2, 0, ZOOM);
    as_grey(2 * BIG, BIG, 0, 255);
    put_png(2 * BIG, BIG, 0);
    CHECK(picture_load(FILE_NAME, in, 0, 0, x));
    measure(x, edge, middle);
    CHECK(edge[2] >= 7 && edge[3] <= 21 && edge[0] >= 7 && edge[1] <= 21);
    test_end("taken whole, a wide picture leaves stripes above and below");
}

static void test_colours(void)
{
    static lsnn_real x[3 * AREA];
    const lsnn_shape three = { 3, SIDE, SIDE };
    for (int i = 0; i < 2 * BIG * BIG; i++) {    /* red, between halves that are cut off */
        int middle = i % (2 * BIG) >= BIG / 2 && i % (2 * BIG) < BIG / 2 + BIG;
        pixels[3 * i] = (unsigned char)(middle ? 204 : 0);
        pixels[3 * i + 1] = 51;
        pixels[3 * i + 2] = (unsigned char)(middle ? 0 : 255);
    }
    put_png(2 * BIG, BIG, 2);
    CHECK(picture_load(FILE_NAME, three, 20 / 28.0, 0, x));
    for (int i = 0; i < AREA; i++) {
        NEAR(x[i], 0.8, 1e-5);
        NEAR(x[AREA + i], 0.2, 1e-5);
        NEAR(x[2 * AREA + i], 0, 1e-5);
    }
    test_end("a net of three channels gets the colours of the middle");
}

static void test_empty(void)
{
    static lsnn_real x[AREA];
    static const int size[4][2] = { { 1, 1 }, { 1, 300 }, { 300, 2 }, { 50, 50 } };
    FILE *f;
    memset(canvas, 0, sizeof canvas);
    for (int k = 0; k < 4; k++)
        for (int alpha = 0; alpha < 2; alpha++) {
            if (alpha) as_alpha(size[k][0], size[k][1], 0, 80, 4);
            else as_grey(size[k][0], size[k][1], 77, 0);
            put_png(size[k][0], size[k][1], alpha ? 4 : 0);
            CHECK(picture_load(FILE_NAME, in, 20 / 28.0, 0, x));
            for (int i = 0; i < AREA; i++) CHECK(x[i] == 0);
        }
    f = fopen(FILE_NAME, "wb");
    CHECK(f != NULL);
    if (f) fclose(f);
    CHECK(!picture_load(FILE_NAME, in, 20 / 28.0, 0, x));
    test_end("nothing on paper, of any form, is zeros; an empty file is refused");
}

int main(void)
{
#ifdef STB_IMAGE_H
    test_size();
    draw(4);
    lay(BIG, BIG, 0, 0, ZOOM);
    as_grey(BIG, BIG, 0, 255);
    put_png(BIG, BIG, 0);
    CHECK(picture_load(FILE_NAME, in, 20 / 28.0, 0, same));
    test_levels();
    test_transparent();
    test_forms();
    test_filled();
    test_whole();
    test_colours();
    test_empty();
    remove(FILE_NAME);
#else
    test_skip("pictures are read", "built without stb_image.h");
#endif
    return test_finish();
}
