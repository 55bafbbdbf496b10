/* test_sets.c - other people's files: PNG and PPM pictures, deflate, CIFAR, GTSRB, SVHN, the
   pain archive; each from small files in the exact format, then malformed, then damaged at
   random. No file is downloaded: all are written here.

   Build: cc -O2 -I. tests/test_sets.c -o tests/test_sets -lm
          (also with -DLSNN_USE_ZLIB -lz)   modes: plain asan | double m32
   Usage: test_sets     writes into $TEST_TMP (else .) */
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
#include "check.h"
#include "nets.h"
#include <sys/stat.h>
#ifdef LSNN_USE_ZLIB
#include <zlib.h>
#endif

/* ---- files ------------------------------------------------------------------------------ */
static char folder[400] = ".";

static const char *path_of(const char *name)
{
    static char path[4][900];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

typedef struct bytes { unsigned char *v; size_t n, room; } bytes;

static void put(bytes *b, const void *v, size_t n)
{
    if (b->n + n > b->room) {
        b->room = 2 * (b->n + n) + 64;
        b->v = (unsigned char *)realloc(b->v, b->room);
        if (!b->v) { printf("# out of memory\n"); exit(1); }
    }
    if (n) memcpy(b->v + b->n, v, n);
    b->n += n;
}
static void put_byte(bytes *b, int v)
{
    unsigned char c = (unsigned char)v;
    put(b, &c, 1);
}
static void put_text(bytes *b, const char *text) { put(b, text, strlen(text)); }
/* A number of n bytes, the highest first or (low) the lowest first.                       */
static void put_number(bytes *b, double value, int n, int low)
{
    uint64_t v = (uint64_t)(int64_t)value;
    for (int i = 0; i < n; i++) put_byte(b, (int)(v >> 8 * (low ? i : n - 1 - i) & 255));
}
static void forget(bytes *b)
{
    free(b->v);
    memset(b, 0, sizeof *b);
}

static void write_file(const char *name, const void *v, size_t n)
{
    FILE *f = fopen(path_of(name), "wb");
    if (!CHECK(f != NULL)) { printf("# %s\n", path_of(name)); return; }
    if (n) CHECK(fwrite(v, 1, n, f) == n);
    CHECK(fclose(f) == 0);
}
static void write_text(const char *name, const char *text) { write_file(name, text, strlen(text)); }

/* Makes the folders on the way to a file.                                                 */
static void make_way(const char *name)
{
    char path[900];
    snprintf(path, sizeof path, "%s", path_of(name));
    for (char *p = path + strlen(folder) + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            mkdir(path, 0777);
            *p = '/';
        }
}

/* What one reader does, for the tests that treat all of them alike.                       */
typedef lsnn_status (*reader)(lsnn_ctx *cx, const char *path);

static lsnn_status read_image(lsnn_ctx *cx, const char *path)
{
    lsnn_image im;
    lsnn_status s = lsnn_image_load(cx, &im, path);
    long sum = 0;
    for (size_t i = 0; s == LSNN_OK && i < 3 * (size_t)im.w * (size_t)im.h; i++) sum += im.rgb[i];
    CHECK(sum >= 0 && (s == LSNN_OK) == (im.rgb != NULL));
    lsnn_image_free(cx, &im);
    return s;
}
/* A set that was read is one that lsnn_data_set takes.                                    */
static lsnn_status end_set(lsnn_ctx *cx, lsnn_set *s, lsnn_status status)
{
    lsnn_data d;
    CHECK((status == LSNN_OK) == (s->images.v != NULL));
    if (status == LSNN_OK) {
        status = lsnn_data_set(cx, &d, s);
        CHECK(status == LSNN_OK || (status == LSNN_ENOMEM && heap.refuse));
        lsnn_data_free(&d);
    }
    lsnn_set_free(cx, s);
    return status;
}
static lsnn_status read_cifar(lsnn_ctx *cx, const char *path)
{
    lsnn_set s;
    memset(&s, 0, sizeof s);
    return end_set(cx, &s, lsnn_cifar_read(cx, &s, path, 10));
}
static lsnn_status read_fine(lsnn_ctx *cx, const char *path)
{
    lsnn_set s;
    memset(&s, 0, sizeof s);
    return end_set(cx, &s, lsnn_cifar_read(cx, &s, path, 100));
}
static lsnn_status read_svhn(lsnn_ctx *cx, const char *path)
{
    lsnn_set s;
    memset(&s, 0, sizeof s);
    return end_set(cx, &s, lsnn_svhn_read(cx, &s, path));
}
static lsnn_status read_signs(lsnn_ctx *cx, const char *path)
{
    lsnn_set s;
    memset(&s, 0, sizeof s);
    return end_set(cx, &s, lsnn_gtsrb_read(cx, &s, path, 8, 1));
}
static lsnn_status read_pain(lsnn_ctx *cx, const char *path)
{
    lsnn_pain p;
    lsnn_data d;
    lsnn_real x[3 * 48 * 48];
    lsnn_status s = lsnn_pain_read(cx, &p, path, 0, 0);
    CHECK((s == LSNN_OK) == (p.count > 0));
    if (s == LSNN_OK && CHECK(lsnn_data_pain(cx, &d, &p) == LSNN_OK)) {
        lsnn_real target;
        for (int i = 0; i < p.count; i++) d.fetch(d.user, 0, i, x, NULL, &target);
        lsnn_data_free(&d);
    }
    lsnn_pain_free(cx, &p);
    return s;
}

/* The file of these bytes is refused with this status, and the message names it and has the
   needle in it.                                                                           */
static void bad_file(reader read, const char *name, const bytes *b, lsnn_status want,
                     const char *needle)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_status s;
    write_file(name, b->v, b->n);
    s = read(&cx, path_of(name));
    if (!CHECK(s == want && cx.status == want && strstr(cx.message, name) &&
               strstr(cx.message, needle)))
        printf("#   status %d, wanted %d and \"%s\": %s\n", (int)s, (int)want, needle, cx.message);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
}

/* ---- deflate, written the plainest way: stored blocks ------------------------------------ */
static void put_zlib(bytes *to, const unsigned char *v, size_t n)
{
    uint32_t a = 1, b = 0;
    size_t at = 0;
    put(to, "\x78\x01", 2);
    do {
        size_t part = n - at < 40000 ? n - at : 40000;
        put_byte(to, at + part == n);
        put_number(to, (double)part, 2, 1);
        put_number(to, (double)(65535 - part), 2, 1);
        put(to, v + at, part);
        at += part;
    } while (at < n);
    for (size_t i = 0; i < n; i++) {
        a = (a + v[i]) % 65521;
        b = (b + a) % 65521;
    }
    put_number(to, b, 2, 0);
    put_number(to, a, 2, 0);
}

static int inflates_to(const unsigned char *packed, size_t n, size_t most,
                       const unsigned char *want, size_t want_n)
{
    lsnn_ctx cx = quiet_ctx();
    unsigned char *out;
    size_t have;
    lsnn_status s = lsnni_inflate(&cx, "test", packed, n, most, &out, &have);
    int same = s == LSNN_OK && have == want_n && (!have || memcmp(out, want, have) == 0);
    CHECK((s == LSNN_OK) || (cx.status == s && out == NULL && have == 0));
    lsnni_free(&cx, out);
    lsnn_ctx_free(&cx);
    return same;
}

/* zlib.compress(text, 9) of Python, a block with codes of its own; and the text.             */
static const unsigned char squares_packed[] = {
#include "golden/squares_zlib.h"
};
enum { TEXT = 1500 };
static int squares_at(int i)
{
    return (i % 90 * (i % 90) / 9 + i / 300 * 7 + (i % 13 == 0) * (i / 600)) % 61;
}
static void test_inflate(void)
{
    unsigned char squares[TEXT];
    bytes b = { NULL, 0, 0 };
    size_t n = sizeof squares_packed;
    int same = 0;
    for (int i = 0; i < TEXT; i++) squares[i] = (unsigned char)squares_at(i);
    CHECK((squares_packed[2] >> 1 & 3) == 2);
    CHECK(inflates_to(squares_packed, n, TEXT, squares, TEXT));
    CHECK(!inflates_to(squares_packed, n, TEXT - 1, squares, TEXT));
    for (size_t cut = 0; cut < n; cut++)
        CHECK(!inflates_to(squares_packed, cut, TEXT, squares, TEXT));
    for (size_t i = 0; i < n * 8; i++) {             /* any one bit: another text, or none   */
        unsigned char broken[sizeof squares_packed];
        memcpy(broken, squares_packed, n);
        broken[i / 8] = (unsigned char)(broken[i / 8] ^ 1 << i % 8);
        if (i < 8 * 2 && broken[0] % 16 == 8 && (broken[0] * 256 + broken[1]) % 31 == 0) continue;
        same += inflates_to(broken, n, TEXT, squares, TEXT);
    }
    CHECK(same < 8);                                 /* but what fills up the last byte      */
    put_zlib(&b, squares, 0);
    CHECK(inflates_to(b.v, b.n, TEXT, squares, 0));
    forget(&b);
    put_zlib(&b, squares, TEXT);
    CHECK(inflates_to(b.v, b.n, TEXT, squares, TEXT));
    b.v[4] ^= 1;                                     /* a length, not its twin               */
    CHECK(!inflates_to(b.v, b.n, TEXT, squares, TEXT));
    forget(&b);
    test_end("inflate: stored and coded blocks; every cut and every wrong bit is found");
}

#ifdef LSNN_USE_ZLIB
/* Texts of many kinds; with `steep` some symbols are so rare that codes reach 15 bits.     */
static void draw_text(unsigned char *v, size_t n, int kind)
{
    lsnn_rng r = lsnn_rng_at(7, "text", "", (uint32_t)kind, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        int steep = 0;
        while (steep < 40 && lsnn_rng_uniform(&r) < 0.55) steep++;
        v[i] = (unsigned char)(kind == 0 ? lsnn_rng_int(&r, 256) : kind == 1 ? steep
               : kind == 2 ? (int)(i / 1000) : i > 900 && lsnn_rng_int(&r, 9) ? v[i - 900]
               : lsnn_rng_int(&r, 20));
    }
}
static void test_inflate_zlib(void)
{
    static const int strategy[] = { Z_DEFAULT_STRATEGY, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED };
    static unsigned char text[200000], packed[260000];
    int cases = 0;
    for (int kind = 0; kind < 4; kind++)
        for (size_t n = 0; n <= sizeof text; n = n * 7 + 1)
            for (int how = 0; how < 4 * 4; how++, cases++) {
                z_stream z;
                memset(&z, 0, sizeof z);
                draw_text(text, n, kind);
                deflateInit2(&z, how / 4 * 3, Z_DEFLATED, 9 + how % 4 * 2, 8, strategy[how % 4]);
                z.next_in = text;
                z.avail_in = (uInt)n;
                z.next_out = packed;
                z.avail_out = sizeof packed;
                CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
                deflateEnd(&z);
                if (!CHECK(inflates_to(packed, z.total_out, n, text, n)))
                    printf("# text %d of %d bytes, how %d\n", kind, (int)n, how);
            }
    test_end("inflate: what zlib packed, %d texts, levels and strategies", cases);
}
#endif

/* ---- PNG -------------------------------------------------------------------------------- */
static uint32_t crc_of(const unsigned char *v, size_t n)
{
    uint32_t crc = ~(uint32_t)0;
    for (size_t i = 0; i < n; i++) {
        crc ^= v[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}
static void put_chunk(bytes *to, const char *name, const unsigned char *v, size_t n)
{
    size_t from;
    put_number(to, (double)n, 4, 0);
    from = to->n;
    put_text(to, name);
    put(to, v, n);
    put_number(to, crc_of(to->v + from, n + 4), 4, 0);
}

typedef struct png { int w, h, kind, depth, interlaced; } png;
enum { SAMPLES_MOST = 40 * 40 * 4 };

static void put_png_head(bytes *to, png p)
{
    unsigned char head[13] = { 0 };
    for (int i = 0; i < 4; i++) {
        head[i] = (unsigned char)((uint32_t)p.w >> (24 - 8 * i));
        head[4 + i] = (unsigned char)((uint32_t)p.h >> (24 - 8 * i));
    }
    head[8] = (unsigned char)p.depth;
    head[9] = (unsigned char)p.kind;
    head[12] = (unsigned char)p.interlaced;
    put(to, "\x89PNG\r\n\x1a\n", 8);
    put_chunk(to, "IHDR", head, 13);
}
static void put_png_data(bytes *to, const bytes *rows)
{
    bytes z = { NULL, 0, 0 };
    put_zlib(&z, rows->v, rows->n);
    put_chunk(to, "IDAT", z.v, z.n / 3);             /* in three parts                       */
    put_chunk(to, "IDAT", z.v + z.n / 3, 0);
    put_chunk(to, "IDAT", z.v + z.n / 3, z.n - z.n / 3);
    forget(&z);
}

static int paeth(int a, int b, int c)
{
    int p = a + b - c, pa = abs(p - a), pb = abs(p - b), pc = abs(p - c);
    if (pa <= pb && pa <= pc) return a;
    return pb <= pc ? b : c;
}
/* The rows of samples x0, x0 + dx, ... of the picture, packed in bits and filtered.         */
static void put_rows(bytes *to, png p, int numbers, const int *sample, int x0, int y0, int dx,
                     int dy)
{
    int bits = numbers * p.depth, w = x0 < p.w ? (p.w - x0 + dx - 1) / dx : 0;
    int row = (w * bits + 7) / 8, step = bits < 8 ? 1 : bits / 8;
    unsigned char over[400] = { 0 }, now[400];
    for (int y = y0, t = 0; y < p.h && w; y += dy, t = (t + 1) % 5) {
        memset(now, 0, sizeof now);
        for (int i = 0; i < w * numbers; i++) {
            int v = sample[(y * p.w + x0 + i / numbers * dx) * numbers + i % numbers];
            if (p.depth == 16) now[2 * i] = (unsigned char)(v >> 8);
            if (p.depth >= 8) now[p.depth / 8 * (i + 1) - 1] = (unsigned char)v;
            else now[i * p.depth / 8] |= (unsigned char)(v << (8 - p.depth - i * p.depth % 8));
        }
        put_byte(to, t);
        for (int i = 0; i < row; i++) {
            int a = i < step ? 0 : now[i - step], b = over[i], c = i < step ? 0 : over[i - step];
            int guess[5];
            guess[0] = 0; guess[1] = a; guess[2] = b; guess[3] = (a + b) / 2;
            guess[4] = paeth(a, b, c);
            put_byte(to, now[i] - guess[t]);
        }
        memcpy(over, now, sizeof over);
    }
}
/* A picture of random samples in a file, and what it should be read as.                    */
static void draw_png(bytes *to, png p, int numbers, unsigned char *rgb)
{
    static const int pass[7][4] = { { 0, 0, 8, 8 }, { 4, 0, 8, 8 }, { 0, 4, 4, 8 }, { 2, 0, 4, 4 },
        { 0, 2, 2, 4 }, { 1, 0, 2, 2 }, { 0, 1, 1, 2 } };
    static int sample[SAMPLES_MOST];
    unsigned char palette[768];
    bytes rows = { NULL, 0, 0 };
    int most = (1 << p.depth) - 1, count = p.w * p.h;
    lsnn_rng r = lsnn_rng_at(3, "png", "", (uint32_t)p.kind,
                             (uint32_t)(p.depth * 2 + p.interlaced));
    for (int i = 0; i < 768; i++) palette[i] = (unsigned char)lsnn_rng_int(&r, 256);
    for (int i = 0; i < count * numbers; i++) sample[i] = lsnn_rng_int(&r, most + 1);
    for (int i = 0; i < 3 * count; i++) {
        int v = sample[i / 3 * numbers + (numbers > 2 ? i % 3 : 0)];
        rgb[i] = (unsigned char)(p.kind == 3 ? palette[3 * v + i % 3]
                                 : p.depth == 16 ? v >> 8 : v * 255 / most);
    }
    put_png_head(to, p);
    if (p.kind == 3) put_chunk(to, "PLTE", palette, 3 * (size_t)(most + 1));
    put_chunk(to, "tEXt", (const unsigned char *)"a word", 6);
    for (int i = 0; i < 7 && p.interlaced; i++)
        put_rows(&rows, p, numbers, sample, pass[i][0], pass[i][1], pass[i][2], pass[i][3]);
    if (!p.interlaced) put_rows(&rows, p, numbers, sample, 0, 0, 1, 1);
    put_png_data(to, &rows);
    put_chunk(to, "IEND", NULL, 0);
    forget(&rows);
}

static const int png_kind[15][3] = {                 /* colour type, bits, numbers a pixel    */
    { 0, 1, 1 }, { 0, 2, 1 }, { 0, 4, 1 }, { 0, 8, 1 }, { 0, 16, 1 }, { 2, 8, 3 }, { 2, 16, 3 },
    { 3, 1, 1 }, { 3, 2, 1 }, { 3, 4, 1 }, { 3, 8, 1 }, { 4, 8, 2 }, { 4, 16, 2 }, { 6, 8, 4 },
    { 6, 16, 4 }
};
static void test_png_kinds(void)
{
    static const int size[][2] = { { 1, 1 }, { 2, 1 }, { 1, 3 }, { 5, 5 }, { 13, 11 }, { 33, 18 } };
    static unsigned char rgb[3 * 40 * 40];
    lsnn_ctx cx = quiet_ctx();
    for (int k = 0; k < 15 * 2 * 6; k++) {
        int s = k / 30;
        png p;
        bytes b = { NULL, 0, 0 };
        lsnn_image im;
        p.w = size[s][0]; p.h = size[s][1];
        p.kind = png_kind[k % 15][0]; p.depth = png_kind[k % 15][1];
        p.interlaced = k / 15 % 2;
        draw_png(&b, p, png_kind[k % 15][2], rgb);
        write_file("kind.png", b.v, b.n);
        forget(&b);
        CHECK(lsnn_image_load(&cx, &im, path_of("kind.png")) == LSNN_OK);
        if (!CHECK(im.w == p.w && im.h == p.h && !memcmp(im.rgb, rgb, 3 * (size_t)(p.w * p.h))))
            printf("# %d x %d, type %d, %d bits, interlace %d: %s\n", p.w, p.h, p.kind, p.depth,
                   p.interlaced, cx.message);
        lsnn_image_free(&cx, &im);
    }
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("PNG: all 15 kinds, plain and interlaced, five filters, six sizes");
}

static void test_png_saved(void)
{
    lsnn_ctx cx = quiet_ctx();
    for (int k = 0; k < 6; k++) {
        lsnn_image im, back;
        lsnn_rng r = lsnn_rng_at(5, "saved", "", 0, (uint32_t)k);
        CHECK(lsnn_image_new(&cx, &im, 1 + 37 * k, 1 + 23 * k, 0x336699) == LSNN_OK);
        for (int i = 0; i < 3 * im.w * im.h && k % 3; i++)
            im.rgb[i] = (unsigned char)(k % 3 == 1 ? lsnn_rng_int(&r, 256) : i % 99 * (i % 999));
        CHECK(lsnn_image_save(&cx, &im, path_of("saved.png")) == LSNN_OK);
        CHECK(lsnn_image_load(&cx, &back, path_of("saved.png")) == LSNN_OK);
        CHECK(back.w == im.w && back.h == im.h &&
              !memcmp(im.rgb, back.rgb, 3 * (size_t)(im.w * im.h)));
        lsnn_image_free(&cx, &im);
        lsnn_image_free(&cx, &back);
    }
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("PNG: lsnn_image_load gives back what lsnn_image_save wrote");
}

/* A file of a head, data of these rows and an end, refused.                                */
static void bad_png(png p, const bytes *rows, const char *needle)
{
    bytes b = { NULL, 0, 0 };
    put_png_head(&b, p);
    if (p.kind == 3) put_chunk(&b, "PLTE", (const unsigned char *)"abc", 3);
    put_png_data(&b, rows);
    put_chunk(&b, "IEND", NULL, 0);
    bad_file(read_image, "bad.png", &b, LSNN_EFORMAT, needle);
    forget(&b);
}
static void test_png_refused(void)
{
    static unsigned char rgb[3 * 40 * 40];
    png p = { 5, 5, 2, 8, 0 }, q;
    bytes b = { NULL, 0, 0 }, part, rows = { NULL, 0, 0 };
    draw_png(&b, p, 3, rgb);
    for (part = b, part.n = 0; part.n < b.n; part.n++)
        bad_file(read_image, "bad.png", &part, LSNN_EFORMAT,
                 part.n < 8 ? "neither" : "ends within");
    for (size_t i = 8; i < b.n; i++) {               /* each byte is under a checksum         */
        b.v[i] ^= 0x10;
        bad_file(read_image, "bad.png", &b, LSNN_EFORMAT, "");
        b.v[i] ^= 0x10;
    }
    for (int i = 0; i < 5 * 16; i++) put_byte(&rows, 0);
    for (int kind = 0; kind < 256; kind++)
        for (int depth = 0; depth < 20; depth++) {
            int known = 0;
            for (int k = 0; k < 15; k++)
                known |= kind == png_kind[k][0] && depth == png_kind[k][1];
            q = p;
            q.kind = kind;
            q.depth = depth;
            if (!known && (kind < 8 || depth == 8)) bad_png(q, &rows, "no such thing");
        }
    q = p; q.interlaced = 2; bad_png(q, &rows, "interlace 2");
    q = p; q.w = 0; bad_png(q, &rows, "is 0 x 5 pixels");
    q = p; q.h = 0; bad_png(q, &rows, "is 5 x 0 pixels");
    q = p; q.w = q.h = 0x7FFFFFFF; bad_png(q, &rows, "at most");
    q = p; q.w = -1; bad_png(q, &rows, "4294967295 x 5");
    q = p; q.h = 6; bad_png(q, &rows, "16 are missing");
    q = p; q.h = 4; bad_png(q, &rows, "more than they should");
    q.w = 1 << 27; q.h = 1; q.kind = 6; q.depth = 16;    /* 2^33 bits a row                    */
    q.h = 1; bad_png(q, &rows, "are missing");
    rows.v[32] = 5; bad_png(p, &rows, "filter 5");
    rows.v[32] = 0;
    q = p; q.kind = 3; q.w = 15; rows.v[3] = 1; bad_png(q, &rows, "colour 1 of a palette of 1");
    forget(&rows);
    forget(&b);
    put_png_head(&b, p);
    put_chunk(&b, "IEND", NULL, 0);
    bad_file(read_image, "bad.png", &b, LSNN_EFORMAT, "packed data");
    forget(&b);
    put_text(&b, "GIF89a and more");
    bad_file(read_image, "bad.png", &b, LSNN_EFORMAT, "neither a PNG nor a PPM");
    forget(&b);
    test_end("PNG: every cut, every changed byte, what no PNG can be: refused, and why");
}

/* ---- PPM -------------------------------------------------------------------------------- */
static void put_ppm(bytes *to, const char *head, const unsigned char *rgb, size_t n)
{
    put_text(to, head);
    put(to, rgb, n);
}
static void test_ppm(void)
{
    static const char *const good[] = { "P6\n3 2\n255\n", "P6 3 2 255 ", "P6\t3\r\n2\f255\v",
        "P6 #a\n# b 9 9\n3# c\n 2\n#d\n255\n" };
    static const struct { const char *head, *needle; size_t n; } bad[] = {
        { "P6\n3 2\n65535\n", "its largest value is 65535; a PPM of 8 bits", 36 },
        { "P6\n3 2\n0\n", "largest value is 0", 18 }, { "P6\n3 2\n256\n", "value is 256", 18 },
        { "P6\n3 2\n255\n", "are 18 bytes, it has 17", 17 },
        { "P6\n3 2\n255\n", "are 18 bytes, it has 19", 19 },
        { "P6\n0 2\n255\n", "is 0 x 2 pixels", 0 }, { "P6\n3 0\n255\n", "is 3 x 0", 0 },
        { "P6\n99999 99999\n255\n", "at most", 18 },
        { "P6\n999999999999 2\n255\n", "", 18 }, { "P6\n3 2\n255", "head should be", 0 },
        { "P6\n3 -2\n255\n", "head should be", 18 }, { "P63 2 255\n", "head should be", 18 },
        { "P6", "head should be", 0 }, { "P6\n", "head should be", 0 },
        { "P6 3 2 # 255", "head should be", 0 },
        { "P5\n3 2\n255\n", "neither a PNG nor a PPM file (P6)", 6 }, { "", "neither", 0 },
        { "P6\n3 2\n9\n", "a value of 10; its largest is 9", 18 }
    };
    unsigned char rgb[64];
    lsnn_ctx cx = quiet_ctx();
    bytes b = { NULL, 0, 0 };
    lsnn_image im;
    for (int i = 0; i < 64; i++) rgb[i] = (unsigned char)(i * 5);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        put_ppm(&b, good[i], rgb, 18);
        write_file("good.ppm", b.v, b.n);
        forget(&b);
        CHECK(lsnn_image_load(&cx, &im, path_of("good.ppm")) == LSNN_OK);
        CHECK(im.w == 3 && im.h == 2 && !memcmp(im.rgb, rgb, 18));
        lsnn_image_free(&cx, &im);
    }
    put_ppm(&b, "P6 1 1 100 ", (const unsigned char *)"\x00\x32\x64", 3);
    write_file("good.ppm", b.v, b.n);
    forget(&b);
    CHECK(lsnn_image_load(&cx, &im, path_of("good.ppm")) == LSNN_OK);
    CHECK(im.rgb && im.rgb[0] == 0 && im.rgb[1] == 128 && im.rgb[2] == 255);
    lsnn_image_free(&cx, &im);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_ppm(&b, bad[i].head, rgb, bad[i].n);
        bad_file(read_image, "bad.ppm", &b, LSNN_EFORMAT, bad[i].needle);
        forget(&b);
    }
    REFUSED(&cx, lsnn_image_load(&cx, &im, path_of("gone.ppm")) == LSNN_EIO, LSNN_EIO, "gone.ppm");
    REFUSED(&cx, lsnn_image_load(&cx, &im, NULL) == LSNN_EVALUE, LSNN_EVALUE, "NULL");
    REFUSED(&cx, lsnn_image_load(&cx, &im, folder) == LSNN_EIO, LSNN_EIO, "");
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("PPM: comments, white space and smaller values; 16 bits and other faults named");
}

/* ---- CIFAR ------------------------------------------------------------------------------ */
static int cifar_pixel(int i, int at) { return (i * 31 + at * 7 + at / 1024 * 3) & 255; }

/* Records from number `first` on; marks: 1 label byte, or CIFAR-100's two.                 */
static void put_cifar(bytes *to, int first, int count, int marks, int classes)
{
    for (int i = first; i < first + count; i++) {
        if (marks == 2) put_byte(to, i % 20);
        put_byte(to, i * 3 % classes);
        for (int at = 0; at < 3072; at++) put_byte(to, cifar_pixel(i, at));
    }
}
static int is_cifar(const lsnn_set *s, int count, int classes)
{
    int good = s->images.rank == 4 && s->images.dim[0] == count && s->images.dim[1] == 3 &&
               s->images.dim[2] == 32 && s->images.dim[3] == 32 && s->labels.rank == 1 &&
               s->labels.dim[0] == count && s->classes == classes && s->images.v && s->labels.v;
    for (int i = 0; good && i < count; i++) {
        good = s->labels.v[i] == (classes == 20 ? i % 20 : i * 3 % classes);
        for (int at = 0; good && at < 3072; at++)
            good = s->images.v[i * 3072 + at] == cifar_pixel(i, at);
    }
    return good;
}
static void test_cifar(void)
{
    static const int classes[] = { 10, 43, 256, 100, 20 };
    lsnn_ctx cx = quiet_ctx();
    bytes b = { NULL, 0, 0 };
    lsnn_set s;
    lsnn_data d;
    lsnn_real x[3072];
    int label = -1;
    memset(&s, 0, sizeof s);
    for (int k = 0; k < 5; k++) {
        int marks = k < 3 ? 1 : 2, n = classes[k] == 20 ? 100 : classes[k];
        for (int part = 0; part < 3; part++) {       /* two files, one after the other       */
            put_cifar(&b, part * 4, 4, marks, n);
            write_file("some.bin", b.v, b.n);
            forget(&b);
            CHECK(lsnn_cifar_read(&cx, &s, path_of("some.bin"), classes[k]) == LSNN_OK);
            CHECK(is_cifar(&s, 4 * part + 4, classes[k]) && s.group == NULL);
        }
        CHECK(lsnn_data_set(&cx, &d, &s) == LSNN_OK && d.count == 12 && d.shape.c == 3);
        d.fetch(d.user, 0, 7, x, &label, NULL);
        CHECK(label == s.labels.v[7]);
        NEAR(x[2000], cifar_pixel(7, 2000) / 255.0, 1e-6);
        lsnn_data_free(&d);
        REFUSED(&cx, lsnn_cifar_read(&cx, &s, path_of("some.bin"), k ? 10 : 43) < 0,
                k == 0 ? LSNN_ESHAPE : marks == 1 ? LSNN_EVALUE : LSNN_EFORMAT, "some.bin");
        CHECK(is_cifar(&s, 12, classes[k]));         /* as it was                            */
        lsnn_set_free(&cx, &s);
        CHECK(s.images.v == NULL && heap.live == 0);
    }
    put_cifar(&b, 0, 3, 1, 10);
    for (int by = -1; by <= 1; by += 2) {
        bytes part = b;
        put_byte(&b, 0);
        part.v = b.v;
        part.n = by < 0 ? 3 * 3073 - 1 : 3 * 3073 + 1;
        bad_file(read_cifar, "bad.bin", &part, LSNN_EFORMAT, "not a multiple of 3073");
        bad_file(read_fine, "bad.bin", &part, LSNN_EFORMAT, "not a multiple of 3074");
    }
    b.n = 3 * 3073;
    b.v[3073] = 10;
    bad_file(read_cifar, "bad.bin", &b, LSNN_EVALUE,
             "record 1 has label 10, which is not in [0, 10)");
    b.n = 0;
    bad_file(read_cifar, "bad.bin", &b, LSNN_EFORMAT, "has 0 bytes");
    put_cifar(&b, 0, 3, 2, 100);
    b.v[3074] = 20;
    bad_file(read_fine, "bad.bin", &b, LSNN_EVALUE, "record 1");
    b.v[3074] = 0;
    b.v[3075] = 100;
    bad_file(read_fine, "bad.bin", &b, LSNN_EVALUE, "record 1 has label 100");
    b.n = 0;
    put(&b, "\xFD" "7zXZ\0 and more", 14);
    bad_file(read_cifar, "bad.bin", &b, LSNN_EUNSUPPORTED, "unpack it by xz -dk");
    forget(&b);
    REFUSED(&cx, lsnn_cifar_read(&cx, &s, path_of("some.bin"), 0) < 0, LSNN_EVALUE, "1..256");
    REFUSED(&cx, lsnn_cifar_read(&cx, &s, path_of("some.bin"), 257) < 0, LSNN_EVALUE, "257");
    REFUSED(&cx, lsnn_cifar_read(&cx, &s, NULL, 10) < 0, LSNN_EVALUE, "NULL");
    REFUSED(&cx, lsnn_cifar_read(&cx, &s, path_of("gone.bin"), 10) < 0, LSNN_EIO, "gone.bin");
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("CIFAR: 10, 100, 20 and other classes, files in a row; what is wrong is named");
}

#ifdef LSNN_USE_ZLIB
static void test_gz(void)
{
    lsnn_ctx cx = quiet_ctx();
    bytes b = { NULL, 0, 0 }, packed = { NULL, 0, 0 };
    lsnn_set s;
    gzFile f = gzopen(path_of("packed.bin.gz"), "wb");
    int c;
    FILE *in;
    memset(&s, 0, sizeof s);
    put_cifar(&b, 0, 30, 1, 10);
    CHECK(f && gzwrite(f, b.v, (unsigned)b.n) == (int)b.n && gzclose(f) == Z_OK);
    CHECK(lsnn_cifar_read(&cx, &s, path_of("packed.bin"), 10) == LSNN_OK && is_cifar(&s, 30, 10));
    lsnn_set_free(&cx, &s);
    in = fopen(path_of("packed.bin.gz"), "rb");
    while (in && (c = getc(in)) != EOF) put_byte(&packed, c);
    if (in) fclose(in);
    for (size_t n = packed.n; n > 100; n -= n > packed.n - 60 ? 1 : 41) {
        bytes part = packed;
        part.n = n - 1;
        bad_file(read_cifar, "cut.bin", &part, LSNN_EFORMAT, "damaged or cut off");
    }
    forget(&b);
    forget(&packed);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("a packed file is read in place of the plain one; one that is cut off is refused");
}
#endif

/* ---- GTSRB ------------------------------------------------------------------------------ */
#define HEAD "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\r\n"

/* A picture whose box [x1, x2) x [y1, y2) is of one colour and the rest of another.         */
static void write_sign(const char *name, int w, int h, int x1, int y1, int x2, int y2)
{
    bytes b = { NULL, 0, 0 };
    char head[60];
    snprintf(head, sizeof head, "P6\n%d %d\n255\n", w, h);
    put_text(&b, head);
    for (int i = 0; i < w * h; i++) {
        int in = i % w >= x1 && i % w < x2 && i / w >= y1 && i / w < y2;
        put(&b, in ? "\xC8\x64\x32" : "\x0A\x14\x1E", 3);
    }
    write_file(name, b.v, b.n);
    forget(&b);
}

static void test_signs(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_set s;
    memset(&s, 0, sizeof s);
    make_way("signs/x");
    write_sign("signs/00003_00000.ppm", 20, 30, 5, 6, 15, 20);
    write_sign("signs/00003_00001.ppm", 17, 16, 0, 0, 17, 16);
    write_sign("signs/other.ppm", 8, 8, 2, 2, 6, 6);
    write_text("signs/GT-00007.csv", HEAD "00003_00000.ppm;20;30;5;6;15;20;7\r\n\r\n"
               "00003_00001.ppm;17;16;0;0;17;16;7\r\nother.ppm;8;8;2;2;6;6;42");
    CHECK(lsnn_gtsrb_read(&cx, &s, path_of("signs/GT-00007.csv"), 32, 1) == LSNN_OK);
    CHECK(s.labels.dim[0] == 3 && s.classes == 43 && s.images.dim[2] == 32 && s.group);
    CHECK(s.labels.v && s.labels.v[0] == 7 && s.labels.v[1] == 7 && s.labels.v[2] == 42);
    CHECK(s.group && s.group[0] == s.group[1] && s.group[2] != s.group[0]);
    for (int i = 0; s.images.v && i < 3 * 3072; i++)     /* the box, all of it and no more      */
        CHECK(s.images.v[i] == (i / 1024 % 3 == 0 ? 0xC8 : i / 1024 % 3 == 1 ? 0x64 : 0x32));
    CHECK(lsnn_gtsrb_read(&cx, &s, path_of("signs/GT-00007.csv"), 32, 1) == LSNN_OK);
    CHECK(s.labels.dim[0] == 6 && s.group[3] == s.group[0] && s.group[5] != s.group[2]);
    lsnn_set_free(&cx, &s);
    CHECK(lsnn_gtsrb_read(&cx, &s, path_of("signs/GT-00007.csv"), 8, 0) == LSNN_OK);
    for (int i = 0; s.images.v && i < 64; i++) {     /* the third: of the size asked for      */
        int in = i % 8 >= 2 && i % 8 < 6 && i / 8 >= 2 && i / 8 < 6;
        CHECK(s.images.v[2 * 192 + i] == (in ? 0xC8 : 0x0A));
    }
    CHECK(lsnn_gtsrb_read(&cx, &s, path_of("signs/GT-00007.csv"), 9, 0) == LSNN_ESHAPE);
    lsnn_clear(&cx);
    lsnn_set_free(&cx, &s);
    REFUSED(&cx, lsnn_gtsrb_read(&cx, &s, path_of("signs/GT-00007.csv"), 0, 0) < 0, LSNN_EVALUE,
            "side 0");
    REFUSED(&cx, lsnn_gtsrb_read(&cx, &s, path_of("signs/GT-00007.csv"), 1025, 0) < 0, LSNN_EVALUE,
            "1..1024");
    REFUSED(&cx, lsnn_gtsrb_read(&cx, &s, NULL, 32, 0) < 0, LSNN_EVALUE, "NULL");
    CHECK(s.images.v == NULL);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("GTSRB: whole pictures and boxes by the table, tracks as groups");
}

static void test_signs_refused(void)
{
    static const struct { const char *text, *needle; lsnn_status want; } bad[] = {
        { "", "names no column Filename", LSNN_EFORMAT },
        { "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2\n00003_00000.ppm;20;30;5;6;15;20\n",
          "names no column ClassId", LSNN_EFORMAT },
        { "Filename,Width,Height\n", "names no column Filename", LSNN_EFORMAT },
        { "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.Y2;ClassId\na;1;1;0;0;1;1\n",
          "names no column Roi.X2", LSNN_EFORMAT },
        { HEAD, "has 0 samples", LSNN_EFORMAT },
        { HEAD "00003_00000.ppm;20;30;5;6;15\n", "line 2 has 6 columns, and no Roi.Y2",
          LSNN_EFORMAT },
        { HEAD "00003_00000.ppm;20;30;5;6;21;20;7\n",
          "line 2: the box from (5, 6) to (21, 20) is not", LSNN_EVALUE },
        { HEAD "00003_00000.ppm;20;30;5;6;15;31;7\n", "the box", LSNN_EVALUE },
        { HEAD "00003_00000.ppm;20;30;15;6;15;20;7\n", "the box", LSNN_EVALUE },
        { HEAD "00003_00000.ppm;20;30;5;20;15;6;7\n", "the box", LSNN_EVALUE },
        { HEAD "00003_00000.ppm;20;30;-5;6;15;20;7\n", "Roi.X1 is '-5'", LSNN_EFORMAT },
        { HEAD "00003_00000.ppm;20;30;5;6;15;20;43\n",
          "ClassId is '43', not a whole number in 0..42", LSNN_EFORMAT },
        { HEAD "00003_00000.ppm;20;30;5;6;15;20;\n", "ClassId is ''", LSNN_EFORMAT },
        { HEAD "00003_00000.ppm;20;30;5;6;15;20;1.0\n", "ClassId is '1.0'", LSNN_EFORMAT },
        { HEAD "00003_00000.ppm;20;30;5;6;15;99999999999;7\n", "Roi.Y2", LSNN_EFORMAT },
        { HEAD "00003_00000.ppm;21;30;5;6;15;20;7\n", "is 20 x 30 pixels, line 2 of",
          LSNN_EFORMAT },
        { HEAD "\n\n../x.ppm;20;30;5;6;15;20;7\n", "line 4: Filename is '../x.ppm'", LSNN_EFORMAT },
        { HEAD "gone.ppm;20;30;5;6;15;20;7\n", "gone.ppm: cannot be opened", LSNN_EIO },
        { HEAD "deep.ppm;2;2;0;0;1;1;7\n", "deep.ppm: its largest value is 65535", LSNN_EFORMAT },
        { HEAD ";2;2;0;0;1;1;7\n", "", LSNN_EIO }
    };
    lsnn_ctx cx = quiet_ctx();
    lsnn_set s;
    bytes b = { NULL, 0, 0 };
    memset(&s, 0, sizeof s);
    put_ppm(&b, "P6\n2 2\n65535\n", (const unsigned char *)"aabbccddeeffgghhiijjkkll", 24);
    write_file("signs/deep.ppm", b.v, b.n);
    forget(&b);
    CHECK(lsnn_gtsrb_read(&cx, &s, path_of("signs/GT-00007.csv"), 32, 1) == LSNN_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_text("signs/bad.csv", bad[i].text);
        REFUSED(&cx, lsnn_gtsrb_read(&cx, &s, path_of("signs/bad.csv"), 32, 1) == bad[i].want,
                bad[i].want, bad[i].needle);
        CHECK(s.labels.dim[0] == 3);                 /* as it was                            */
    }
    write_file("signs/bad.csv", HEAD "a\0b;20;30", sizeof HEAD + 8);
    REFUSED(&cx, lsnn_gtsrb_read(&cx, &s, path_of("signs/bad.csv"), 32, 1) < 0, LSNN_EFORMAT,
            "a byte of 0");
    lsnn_set_free(&cx, &s);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("GTSRB: columns, numbers, boxes, sizes and pictures that are not right: named");
}

/* Half of the size: each pixel is the mean of the middle 2 x 2 of its 2 x 2 (all of it); of
   the same size: itself. Else the exact interpolation, rounded within one step.            */
static void test_resize(void)
{
    enum { W = 24, H = 20 };
    static unsigned char rgb[3 * W * H], got[3 * 64 * 64];
    lsnn_image im;
    int worst = 0;
    lsnn_rng r = lsnn_rng_at(11, "resize", "", 0, 0);
    im.w = W;
    im.h = H;
    im.rgb = rgb;
    for (int i = 0; i < 3 * W * H; i++) rgb[i] = (unsigned char)lsnn_rng_int(&r, 256);
    lsnni_image_resize(&im, 3, 2, 16, 16, 16, got);
    for (int i = 0; i < 3 * 256; i++)
        CHECK(got[i] == rgb[3 * ((2 + i % 256 / 16) * W + 3 + i % 16) + i / 256]);
    lsnni_image_resize(&im, 3, 2, 16, 16, 8, got);
    for (int i = 0; i < 3 * 64; i++) {
        const unsigned char *v = rgb + 3 * ((2 + i % 64 / 8 * 2) * W + 3 + i % 8 * 2) + i / 64;
        CHECK(got[i] == (v[0] + v[3] + v[3 * W] + v[3 * W + 3] + 2) / 4);
    }
    for (int side = 1; side <= 64; side++) {
        lsnni_image_resize(&im, 1, 1, W - 2, H - 3, side, got);
        for (int i = 0; i < 3 * side * side; i++) {
            double y = (i % (side * side) / side + 0.5) * (H - 3) / side - 0.5, v = 0;
            double x = (i % side + 0.5) * (W - 2) / side - 0.5;
            for (int k = 0; k < 4; k++) {
                double px = floor(x) + k % 2, py = floor(y) + k / 2;
                double weight = (1 - fabs(x - px)) * (1 - fabs(y - py));
                px = fmin(fmax(px, 0), W - 3);
                py = fmin(fmax(py, 0), H - 4);
                v += weight * rgb[3 * ((1 + (int)py) * W + 1 + (int)px) + i / (side * side)];
            }
            worst = fabs(v - got[i]) > 1.01 ? worst + 1 : worst;
        }
    }
    CHECK(worst == 0);
    test_end("resizing: bilinear between the pixels of the part, at all sides up to 64");
}

/* ---- SVHN ------------------------------------------------------------------------------- */
/* How a .mat is written: its byte order, y as doubles, elements packed.                     */
typedef struct mat { int big, doubles, packed, count; } mat;

static void put_element(bytes *to, mat m, int type, const bytes *data)
{
    if (data->n <= 4) {                              /* both in four bytes                   */
        bytes head = { NULL, 0, 0 };
        put_number(&head, (double)data->n, 2, 0);
        put_number(&head, type, 2, 0);
        for (int i = 0; i < 4; i++) put_byte(to, head.v[m.big ? i : 3 - i]);
        put(to, data->v, data->n);
        put(to, "\0\0\0", 4 - data->n);
        forget(&head);
        return;
    }
    put_number(to, type, 4, !m.big);
    put_number(to, (double)data->n, 4, !m.big);
    put(to, data->v, data->n);
    while (type != 15 && to->n % 8) put_byte(to, 0);
}
static void put_array(bytes *to, mat m, const char *name, int class_, int type, const int *dim,
                      int dims, const bytes *numbers)
{
    bytes all = { NULL, 0, 0 }, part = { NULL, 0, 0 };
    put_number(&part, class_, 4, !m.big);
    put_number(&part, 0, 4, !m.big);
    put_element(&all, m, 6, &part);
    part.n = 0;
    for (int i = 0; i < dims; i++) put_number(&part, dim[i], 4, !m.big);
    put_element(&all, m, 5, &part);
    part.n = 0;
    put_text(&part, name);
    put_element(&all, m, 1, &part);
    put_element(&all, m, type, numbers);
    part.n = 0;
    put_element(m.packed ? &part : to, m, 14, &all);
    if (m.packed) {
        bytes z = { NULL, 0, 0 };
        put_zlib(&z, part.v, part.n);
        put_element(to, m, 15, &z);
        forget(&z);
    }
    forget(&all);
    forget(&part);
}
static void put_mat_head(bytes *to, mat m, int version)
{
    put_text(to, "MATLAB 5.0 MAT-file, written by a test");
    while (to->n < 124) put_byte(to, ' ');
    put_number(to, version, 2, !m.big);
    put_text(to, m.big ? "MI" : "IM");
}
static int svhn_pixel(int row, int column, int colour, int image)
{
    return (row * 5 + column * 3 + colour * 71 + image * 13) & 255;
}
static void put_x(bytes *to, mat m, int count)
{
    bytes v = { NULL, 0, 0 };
    int dim[4] = { 32, 32, 3, 0 };
    for (int i = 0; i < 3072 * count; i++)
        put_byte(&v, svhn_pixel(i % 32, i / 32 % 32, i / 1024 % 3, i / 3072));
    dim[3] = count;
    put_array(to, m, "X", 9, 2, dim, count == 1 ? 3 : 4, &v);
    forget(&v);
}
/* Labels 1, 2, ..., 10, 1, ... but `odd` in place of the second.                            */
static void put_y(bytes *to, mat m, int count, double odd)
{
    bytes v = { NULL, 0, 0 };
    int dim[2] = { 0, 1 };
    for (int i = 0; i < count; i++) {
        double label = i == 1 ? odd : i % 10 + 1;
        if (m.doubles) {
            uint64_t bits;
            memcpy(&bits, &label, 8);
            put_number(&v, (double)(bits >> 32), 4, 0);
            put_number(&v, (double)(bits & 0xFFFFFFFFu), 4, 0);
            if (!m.big)
                for (int k = 0; k < 4; k++) {
                    unsigned char *p = v.v + v.n - 8, c = p[k];
                    p[k] = p[7 - k];
                    p[7 - k] = c;
                }
        } else put_byte(&v, (int)label);
    }
    dim[0] = count;
    put_array(to, m, "y", m.doubles ? 6 : 9, m.doubles ? 9 : 2, dim, 2, &v);
    forget(&v);
}
static void put_svhn(bytes *to, mat m)
{
    static const int dim[2] = { 1, 6 };
    bytes other = { NULL, 0, 0 };
    put_mat_head(to, m, 0x0100);
    put_text(&other, "letter");
    put_array(to, m, "a_name_of_no_use", 4, 4 - 3, dim, 2, &other);
    put_x(to, m, m.count);
    put_y(to, m, m.count, 10);
    forget(&other);
}

static void test_svhn(void)
{
    static const int count[] = { 1, 2, 13 };
    lsnn_ctx cx = quiet_ctx();
    lsnn_set s;
    memset(&s, 0, sizeof s);
    for (int k = 0; k < 24; k++) {
        mat m;
        bytes b = { NULL, 0, 0 };
        m.big = k & 1;
        m.doubles = k >> 1 & 1;
        m.packed = k >> 2 & 1;
        m.count = count[k >> 3];
        put_svhn(&b, m);
        write_file("some.mat", b.v, b.n);
        forget(&b);
        CHECK(lsnn_svhn_read(&cx, &s, path_of("some.mat")) == LSNN_OK);
        if (!CHECK(s.images.v && s.labels.dim[0] == m.count && s.classes == 10))
            printf("# case %d: %s\n", k, cx.message);
        for (int i = 0; s.images.v && i < m.count; i++) {
            CHECK(s.labels.v[i] == (i == 1 ? 0 : (i % 10 + 1) % 10));
            for (int at = 0; at < 3072; at++)
                CHECK(s.images.v[i * 3072 + at] ==
                      svhn_pixel(at / 32 % 32, at % 32, at / 1024, i));
        }
        lsnn_set_free(&cx, &s);
        lsnn_clear(&cx);
    }
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("SVHN: .mat in both byte orders, packed or not, labels as bytes or doubles; 10 is 0");
}

static void test_svhn_refused(void)
{
    mat m = { 0, 1, 0, 2 };
    bytes b = { NULL, 0, 0 }, part, v = { NULL, 0, 0 };
    int dim[5] = { 32, 32, 3, 1, 1 };
    put_svhn(&b, m);
    for (part = b, part.n = 0; part.n < b.n; part.n += part.n < 600 || part.n > b.n - 200 ? 1 : 97)
        bad_file(read_svhn, "bad.mat", &part, LSNN_EFORMAT, "");
    b.v[124] = 0; b.v[125] = 2;
    bad_file(read_svhn, "bad.mat", &b, LSNN_EFORMAT, "version 0200, not 0100");
    b.v[126] = 'X';
    bad_file(read_svhn, "bad.mat", &b, LSNN_EFORMAT, "does not end in IM or MI");
    memcpy(b.v, "MATLAB 7.3", 10);
    bad_file(read_svhn, "bad.mat", &b, LSNN_EFORMAT, "version 7.3 (HDF5)");
    memcpy(b.v, "\x89HDF\r\n\x1a\n", 8);
    bad_file(read_svhn, "bad.mat", &b, LSNN_EFORMAT, "version 7.3 (HDF5)");
    for (int k = 0; k < 6; k++) {                    /* labels that are none                  */
        static const double odd[] = { 0, 11, -1, 1.5, NAN, 1e300 };
        b.n = 0;
        put_mat_head(&b, m, 0x0100);
        put_x(&b, m, 2);
        put_y(&b, m, 2, odd[k]);
        bad_file(read_svhn, "bad.mat", &b, LSNN_EVALUE, "label 2 in y");
    }
    for (int k = 0; k < 4; k++) {                    /* X or y missing, or of another count   */
        b.n = 0;
        put_mat_head(&b, m, 0x0100);
        if (k != 0) put_x(&b, m, 2);
        if (k != 1) put_y(&b, m, k == 2 ? 3 : 2, 10);
        if (k == 3) put_y(&b, m, 2, 10);
        bad_file(read_svhn, "bad.mat", &b, LSNN_EFORMAT, k == 3 ? "two arrays y" : k == 0 ?
                 "has 0 images in X and 2 labels in y" : k == 1 ? "2 images in X and 0 labels" :
                 "2 images in X and 3 labels");
    }
    for (int i = 0; i < 3072; i++) put_byte(&v, 0);
    for (int k = 0; k < 6; k++) {                    /* X of another shape or type            */
        int d[5], type = k == 4 ? 1 : 2, class_ = k == 5 ? 0x0809 : 9;
        memcpy(d, dim, sizeof d);
        if (k == 0) d[0] = 16, d[1] = 64;
        if (k == 1) d[3] = 2;
        if (k == 2) d[0] = -32, d[1] = -32;
        b.n = 0;
        put_mat_head(&b, m, 0x0100);
        put_array(&b, m, "X", class_, type, d, k == 3 ? 5 : 4, &v);
        put_y(&b, m, 1, 10);
        bad_file(read_svhn, "bad.mat", &b, LSNN_EFORMAT, k == 5 ? "X is complex" :
                 k == 2 ? "size 1 is -32" : k == 0 || k == 4 ?
                 "must be one array of 32 x 32 x 3 x N" : "are not the numbers of its");
    }
    b.n = 0;
    put_mat_head(&b, m, 0x0100);
    put_number(&b, 14, 4, 1);
    put_number(&b, 0xFFFFFFF0u, 4, 1);
    bad_file(read_svhn, "bad.mat", &b, LSNN_EFORMAT, "cut off within an element");
    forget(&b);
    forget(&v);
    test_end("SVHN: other versions, cut files, wrong sizes, types and labels: named");
}

/* ---- folders ---------------------------------------------------------------------------- */
static void write_cifar(const char *name, int first, int count, int marks, int classes)
{
    bytes b = { NULL, 0, 0 };
    make_way(name);
    put_cifar(&b, first, count, marks, classes);
    write_file(name, b.v, b.n);
    forget(&b);
}
static void test_load_cifar(lsnn_ctx *cx, lsnn_set *s)
{
    char name[80];
    REFUSED(cx, lsnn_set_load(cx, s, "cifar10", path_of("gone"), 0) < 0, LSNN_EIO,
            "data_batch_1.bin is not in ");
    REFUSED(cx, lsnn_set_load(cx, s, "cifar10", path_of("gone"), 1) < 0, LSNN_EIO,
            "test_batch.bin");
    for (int i = 1; i <= 5; i++) {
        snprintf(name, sizeof name, "c10/cifar-10-batches-bin/data_batch_%d.bin", i);
        write_cifar(name, (i - 1) * 3, 3, 1, 10);
    }
    write_cifar("c10/test_batch.bin", 0, 2, 1, 10);
    CHECK(lsnn_set_load(cx, s, "cifar10", path_of("c10"), 0) == LSNN_OK && is_cifar(s, 15, 10));
    REFUSED(cx, lsnn_set_load(cx, s, "cifar100", path_of("c10"), 0) < 0, LSNN_EIO, "train.bin");
    CHECK(is_cifar(s, 15, 10));
    lsnn_set_free(cx, s);
    CHECK(lsnn_set_load(cx, s, "cifar10", path_of("c10"), 1) == LSNN_OK && is_cifar(s, 2, 10));
    lsnn_set_free(cx, s);
    write_cifar("c100/train.bin", 0, 25, 2, 100);
    CHECK(lsnn_set_load(cx, s, "cifar100", path_of("c100"), 0) == LSNN_OK && is_cifar(s, 25, 100));
    lsnn_set_free(cx, s);
    CHECK(lsnn_set_load(cx, s, "cifar20", path_of("c100"), 0) == LSNN_OK && is_cifar(s, 25, 20));
    lsnn_set_free(cx, s);
}
static void test_load_signs(lsnn_ctx *cx, lsnn_set *s)
{
    char name[100], line[100];
    REFUSED(cx, lsnn_set_load(cx, s, "gtsrb", path_of("gone"), 0) < 0, LSNN_EIO, "GT-00000.csv");
    for (int k = 0; k < 43; k++) {
        snprintf(name, sizeof name, "g/GTSRB/Final_Training/Images/%05d/00001_00000.ppm", k);
        make_way(name);
        write_sign(name, 8, 9, 0, 0, 8, 9);
        snprintf(name, sizeof name, "g/GTSRB/Final_Training/Images/%05d/GT-%05d.csv", k, k);
        snprintf(line, sizeof line, HEAD "00001_00000.ppm;8;9;0;0;8;9;%d\n", k);
        write_text(name, line);
    }
    for (int box = 0; box < 2; box++) {
        CHECK(lsnn_set_load(cx, s, box ? "gtsrb-box" : "gtsrb", path_of("g"), 0) == LSNN_OK);
        CHECK(s->labels.dim[0] == 43 && s->labels.v[42] == 42 && s->group[0] != s->group[1]);
        lsnn_set_free(cx, s);
    }
    REFUSED(cx, lsnn_set_load(cx, s, "gtsrb", path_of("g"), 1) < 0, LSNN_EIO, "GT-final_test.csv");
    remove(path_of("gp/gtsrb32_train_index.csv"));
    write_cifar("gp/gtsrb32_train.bin", 0, 3, 1, 43);    /* labels 0, 3, 6                      */
    CHECK(lsnn_set_load(cx, s, "gtsrb", path_of("gp"), 0) == LSNN_OK && is_cifar(s, 3, 43));
    CHECK(s->group == NULL);
    lsnn_set_free(cx, s);
    write_text("gp/gtsrb32_train_index.csv",
               "00000/00000_00000.ppm;9;9\n00003/00000_00000.ppm;9;9\n00006/x.ppm;9;9\n");
    CHECK(lsnn_set_load(cx, s, "gtsrb", path_of("gp"), 0) == LSNN_OK && is_cifar(s, 3, 43));
    CHECK(s->group && s->group[0] == 0 && s->group[1] == 300000 && s->group[2] < 0);
    lsnn_set_free(cx, s);
    write_text("gp/gtsrb32_train_index.csv", "00000/00000_00000.ppm;9;9\n");
    REFUSED(cx, lsnn_set_load(cx, s, "gtsrb", path_of("gp"), 0) < 0, LSNN_EFORMAT, "has 1 lines");
    write_text("gp/gtsrb32_train_index.csv", "00000/0;9;9\n00004/0;9;9\n00006/0;9;9\n");
    REFUSED(cx, lsnn_set_load(cx, s, "gtsrb", path_of("gp"), 0) < 0, LSNN_EFORMAT, "line 2");
    write_text("gp/gtsrb32_test.bin.xz", "not read");
    REFUSED(cx, lsnn_set_load(cx, s, "gtsrb", path_of("gp"), 1) < 0, LSNN_EUNSUPPORTED, "xz -dk");
}
static void test_load(void)
{
    static const char *const want[] = { "mnist", "cifar10", "cifar100", "cifar20", "svhn", "gtsrb",
        "gtsrb-box" };
    static const mat m = { 0, 0, 1, 3 };
    lsnn_ctx cx = quiet_ctx();
    bytes b = { NULL, 0, 0 };
    lsnn_set s;
    lsnn_idx images, labels;
    unsigned char pixels[2 * 28 * 28] = { 7 }, label[2] = { 9, 10 };
    memset(&s, 0, sizeof s);
    for (int i = 0; i < 7; i++) CHECK(!strcmp(lsnn_set_name(i), want[i]));
    CHECK(lsnn_set_name(7) == NULL && lsnn_set_name(-1) == NULL);
    REFUSED(&cx, lsnn_set_load(&cx, &s, "cifar", ".", 0) < 0, LSNN_ENAME, "'cifar'");
    REFUSED(&cx, lsnn_set_load(&cx, &s, NULL, ".", 0) < 0, LSNN_ENAME, "NULL");
    REFUSED(&cx, lsnn_set_load(&cx, &s, "svhn", NULL, 0) < 0, LSNN_EVALUE, "NULL");
    REFUSED(&cx, lsnn_set_load(&cx, &s, "svhn", folder, 0) < 0, LSNN_EIO,
            "train_32x32.mat is not in ");
    put_svhn(&b, m);
    write_file("test_32x32.mat", b.v, b.n);
    forget(&b);
    CHECK(lsnn_set_load(&cx, &s, "svhn", folder, 1) == LSNN_OK && s.labels.dim[0] == 3);
    lsnn_set_free(&cx, &s);
    test_load_cifar(&cx, &s);
    test_load_signs(&cx, &s);
    make_way("mnist/x");
    memset(&images, 0, sizeof images);
    memset(&labels, 0, sizeof labels);
    images.rank = 3;
    images.dim[0] = labels.dim[0] = 2;
    images.dim[1] = images.dim[2] = 28;
    images.v = pixels;
    labels.rank = 1;
    labels.v = label;
    REFUSED(&cx, lsnn_set_load(&cx, &s, "mnist", path_of("gone"), 0) < 0, LSNN_EIO, "train-images");
    CHECK(lsnn_idx_write(&cx, &images, path_of("mnist/train-images-idx3-ubyte")) == LSNN_OK);
    CHECK(lsnn_idx_write(&cx, &labels, path_of("mnist/train-labels-idx1-ubyte")) == LSNN_OK);
    REFUSED(&cx, lsnn_set_load(&cx, &s, "mnist", path_of("mnist"), 0) < 0, LSNN_EVALUE, "label 10");
    label[1] = 1;
    CHECK(lsnn_idx_write(&cx, &labels, path_of("mnist/train-labels-idx1-ubyte")) == LSNN_OK);
    CHECK(lsnn_set_load(&cx, &s, "mnist", path_of("mnist"), 0) == LSNN_OK);
    CHECK(s.images.rank == 4 && s.images.dim[1] == 1 && s.images.dim[3] == 28 && s.classes == 10);
    CHECK(end_set(&cx, &s, LSNN_OK) == LSNN_OK);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("sets by name from their folders; what is missing is named with its folder");
}

/* ---- split ------------------------------------------------------------------------------ */
static void fetch_number(const void *user, uint32_t epoch, int index, lsnn_real *x, int *labels,
                         lsnn_real *targets)
{
    (void)user;
    (void)epoch;
    (void)targets;
    x[0] = (lsnn_real)index;
    labels[0] = index % 5;
}
static void test_split(void)
{
    enum { N = 200 };
    lsnn_ctx cx = quiet_ctx();
    lsnn_data whole, part[2];
    int group[N], where[N], again[N];
    memset(&whole, 0, sizeof whole);
    whole.count = N;
    whole.shape.c = whole.shape.h = whole.shape.w = 1;
    whole.heads = 1;
    whole.classes = 5;
    whole.fetch = fetch_number;
    for (int i = 0; i < N; i++) group[i] = i / 7;
    for (int turn = 0; turn < 4; turn++) {           /* twice alone, twice in groups          */
        int mixed = 0;
        for (int i = 0; i < N; i++) where[i] = -1;
        CHECK(lsnn_data_split(&cx, &part[0], &part[1], &whole, turn < 2 ? NULL : group, 50, 3) ==
              LSNN_OK);
        CHECK(turn < 2 ? part[1].count == 50 : part[1].count >= 50 && part[1].count < 57);
        CHECK(part[0].count + part[1].count == N);
        for (int k = 0; k < 2; k++)
            for (int i = 0, last = -1; i < part[k].count; i++) {
                lsnn_real x;
                int label;
                part[k].fetch(part[k].user, 0, i, &x, &label, NULL);
                CHECK((int)x > last && label == (int)x % 5 && where[(int)x] == -1);
                last = (int)x;
                where[last] = k;
            }
        for (int i = 1; i < N; i++) mixed += where[i] != where[i - 1] && group[i] == group[i - 1];
        CHECK(turn < 2 ? mixed > 20 : mixed == 0);
        CHECK(turn % 2 == 0 || !memcmp(where, again, sizeof where));
        memcpy(again, where, sizeof where);
        lsnn_data_free(&part[0]);
        lsnn_data_free(&part[1]);
    }
    memset(group, 0, sizeof group);
    REFUSED(&cx, lsnn_data_split(&cx, &part[0], &part[1], &whole, group, 1, 3) < 0, LSNN_EVALUE,
            "whole groups");
    REFUSED(&cx, lsnn_data_split(&cx, &part[0], &part[1], &whole, NULL, 0, 3) < 0, LSNN_EVALUE,
            "0 samples held out");
    REFUSED(&cx, lsnn_data_split(&cx, &part[0], &part[1], &whole, NULL, N, 3) < 0, LSNN_EVALUE,
            "leave some");
    for (heap.calls = 0, heap.refuse = 1;; heap.refuse++, heap.calls = 0) {
        lsnn_status s = lsnn_data_split(&cx, &part[0], &part[1], &whole, NULL, 50, 3);
        if (s == LSNN_OK) break;
        CHECK(s == LSNN_ENOMEM && heap.live == 0);
        lsnn_clear(&cx);
    }
    heap.refuse = 0;
    lsnn_data_free(&part[0]);
    lsnn_data_free(&part[1]);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("a split: every sample once, in order, groups together, the same for a seed");
}

/* ---- the pain archive ------------------------------------------------------------------- */
enum { FRAME_W = 120, FRAME_H = 110, FACE = 48 * 48 };
typedef struct pose { double a, b, c, d, x, y; } pose;   /* (a b; c d) p + (x, y)              */

static void face_points(pose at, lsnni_point *p)
{
    lsnni_face_front(p);
    for (int i = 0; i < 66; i++) {
        double x = p[i].x, y = p[i].y;
        p[i].x = at.a * x + at.b * y + at.x;
        p[i].y = at.c * x + at.d * y + at.y;
    }
}
/* A frame whose red is twice the column, green twice the row, blue 200.                     */
static void write_frame(lsnn_ctx *cx, const char *frame, const lsnni_point *p, const char *level)
{
    char name[200], line[80];
    bytes b = { NULL, 0, 0 };
    lsnn_image im;
    CHECK(lsnn_image_new(cx, &im, FRAME_W, FRAME_H, 0) == LSNN_OK);
    for (int i = 0; i < FRAME_W * FRAME_H; i++) {
        im.rgb[3 * i] = (unsigned char)(i % FRAME_W * 2);
        im.rgb[3 * i + 1] = (unsigned char)(i / FRAME_W * 2);
        im.rgb[3 * i + 2] = 200;
    }
    snprintf(name, sizeof name, "pain/Images/%s.png", frame);
    make_way(name);
    CHECK(lsnn_image_save(cx, &im, path_of(name)) == LSNN_OK);
    lsnn_image_free(cx, &im);
    for (int i = 0; i < 66; i++) {
        snprintf(line, sizeof line, "   %.7e   %.7e\n", p[i].x, p[i].y);
        put_text(&b, line);
    }
    snprintf(name, sizeof name, "pain/AAM_landmarks/%s_aam.txt", frame);
    make_way(name);
    write_file(name, b.v, b.n);
    forget(&b);
    snprintf(name, sizeof name, "pain/Frame_Labels/PSPI/%s_facs.txt", frame);
    make_way(name);
    write_text(name, level);
}
static const char *const frames[5] = { "042-a/q1/f001", "042-a/q1/f002", "042-a/q2/f001",
    "043-b/q1/f001", "107-c/q1/f001" };
static const pose poses[5] = { { 70, 0, 0, 80, 20, 15 }, { 60, 10, -10, 70, 30, 25 },
    { 40, 0, 0, 40, 60, 60 }, { 90, 5, 5, 80, 12, 14 }, { 50, -8, 8, 60, 40, 30 } };

static void write_archive(lsnn_ctx *cx)
{
    bytes list = { NULL, 0, 0 };
    lsnni_point p[66];
    for (int i = 0; i < 5; i++) {
        char level[40];
        face_points(poses[i], p);
        snprintf(level, sizeof level, "   %d.0000000e+00\n", 3 * i);
        write_frame(cx, frames[i], p, level);
        put_text(&list, i % 2 ? "" : "./");
        put_text(&list, frames[i]);
        put_text(&list, "_aam.txt\n");
    }
    write_file("pain/frames.txt", list.v, list.n);
    forget(&list);
}

static void test_pain(void)
{
    static lsnn_real x[3 * FACE], y[3 * FACE];
    lsnn_ctx cx = quiet_ctx();
    lsnn_pain p;
    lsnn_data d;
    lsnn_real level;
    int flipped = 0;
    write_archive(&cx);
    CHECK(lsnn_pain_read(&cx, &p, path_of("pain"), 0, 0) == LSNN_OK);
    if (!CHECK(p.count == 5 && p.subjects == 3)) { printf("# %s\n", cx.message); return; }
    CHECK(p.subject[0] == 0 && p.subject[2] == 0 && p.subject[3] == 1 && p.subject[4] == 2);
    CHECK(lsnn_data_pain(&cx, &d, &p) == LSNN_OK && d.count == 5 && d.target_count == 1);
    CHECK(d.shape.c == 3 && d.shape.h == 48 && d.shape.w == 48 && d.heads == 0);
    for (int n = 0; n < 5; n++) {                    /* a pose is undone, wherever it is      */
        pose q = poses[n];
        int inside = 0;
        d.fetch(d.user, 0, n, x, NULL, &level);
        NEAR(level, 3 * n, 0);
        for (int i = 0; i < FACE; i++) {
            double u = (i % 48 * 2 - 1) / 92.0, v = (i / 48 * 2 - 1) / 92.0;
            if ((double)x[2 * FACE + i] * 255 < 199.9) continue;
            inside++;
            NEAR((double)x[i] * 255, 2 * (q.a * u + q.b * v + q.x), 1e-3);
            NEAR((double)x[FACE + i] * 255, 2 * (q.c * u + q.d * v + q.y), 1e-3);
        }
        CHECK(inside > FACE / 2 && inside < FACE * 9 / 10);
        CHECK(x[0] <= 0 && x[47] <= 0 && x[47 * 48] <= 0 && x[2 * FACE + 47 * 48 + 47] <= 0);
        CHECK(x[2 * FACE + 24 * 48 + 4] > 0.7 && x[2 * FACE + 44 * 48 + 24] > 0.7);
    }
    d.fetch(d.user, 0, 0, x, NULL, &level);
    p.flip = 1;
    for (uint32_t epoch = 0; epoch < 200; epoch++) {
        int same = 1, turned = 1;
        d.fetch(d.user, epoch, 0, y, NULL, &level);
        for (int i = 0; i < 3 * FACE; i++) {
            same &= x[i] >= y[i] && x[i] <= y[i];
            turned &= x[i] >= y[i / 48 * 48 + 47 - i % 48] && x[i] <= y[i / 48 * 48 + 47 - i % 48];
        }
        CHECK(same != turned);
        flipped += turned;
    }
    CHECK(flipped > 70 && flipped < 130);
    lsnn_data_free(&d);
    lsnn_pain_free(&cx, &p);
    CHECK(lsnn_pain_read(&cx, &p, path_of("pain"), 1, 2) == LSNN_OK && p.count == 2);
    CHECK(p.subjects == 3 && p.subject[0] == 1 && p.level[1] == 12);
    lsnn_pain_free(&cx, &p);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("pain: faces in any pose become the same frontal one; flips; subjects apart");
}

/* One moved point carries its own triangles along, straight, and nothing else. Noise moves
   all of them, by as much as asked, anew in each epoch.                                    */
static void test_pain_warp(void)
{
    static lsnn_real x[3 * FACE], y[3 * FACE];
    lsnn_ctx cx = quiet_ctx();
    lsnni_point at[66];
    lsnn_pain p;
    lsnn_data d;
    lsnn_real level;
    double most = 0, sum = 0, square = 0;
    int moved = 0, nose = 24 * 48 + 24;
    write_archive(&cx);
    CHECK(lsnn_pain_read(&cx, &p, path_of("pain"), 0, 1) == LSNN_OK);
    CHECK(lsnn_data_pain(&cx, &d, &p) == LSNN_OK);
    d.fetch(d.user, 0, 0, x, NULL, &level);
    p.noise = 1;
    d.fetch(d.user, 4, 0, y, NULL, &level);
    d.fetch(d.user, 4, 0, x, NULL, &level);
    CHECK(!memcmp(x, y, sizeof x));                  /* the same again                       */
    for (uint32_t epoch = 0; epoch < 400; epoch++) {
        double v;
        d.fetch(d.user, epoch, 0, y, NULL, &level);
        v = (double)y[nose] * 255 / 2 / 70 * 46;     /* in pixels of the picture              */
        sum += v;
        square += v * v;
    }
    sum /= 400;
    NEAR(sum, (0.5 * 70 + 20) / 70 * 46 + 0.25, 0.02);
    CHECK(square / 400 - sum * sum > 0.3 && square / 400 - sum * sum < 1.3);
    p.noise = -1;
    REFUSED(&cx, lsnn_data_pain(&cx, &d, &p) < 0, LSNN_EVALUE, "noise -1");
    p.noise = 0;
    CHECK(lsnn_data_pain(&cx, &d, &p) == LSNN_OK);
    d.fetch(d.user, 0, 0, x, NULL, &level);
    lsnn_pain_free(&cx, &p);
    REFUSED(&cx, lsnn_data_pain(&cx, &d, &p) < 0, LSNN_EVALUE, "lsnn_pain_read first");
    face_points(poses[0], at);
    at[30].x += 4;
    at[30].y -= 3;
    write_frame(&cx, frames[0], at, "0");
    CHECK(lsnn_pain_read(&cx, &p, path_of("pain"), 0, 1) == LSNN_OK);
    CHECK(lsnn_data_pain(&cx, &d, &p) == LSNN_OK);
    d.fetch(d.user, 0, 0, y, NULL, &level);
    for (int i = 0; i < FACE; i++) {
        double dx = (double)(y[i] - x[i]) * 255 / 2;
        double dy = (double)(y[FACE + i] - x[FACE + i]) * 255 / 2;
        NEAR(dx * -3, dy * 4, 1e-3);
        CHECK(dx > -1e-3 && dx < 4);
        most = fmax(most, dx);
        moved += fabs(dx) > 1e-3;
    }
    CHECK(most > 2.5 && moved > 10 && moved < FACE / 8);
    lsnn_pain_free(&cx, &p);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("pain: a landmark moves its own triangles alone; noise of the size asked for");
}

static void bad_archive(const char *name, const char *text, lsnn_status want, const char *needle)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_pain p;
    lsnn_status s;
    write_archive(&cx);
    if (text) write_text(name, text);
    else remove(path_of(name));
    s = lsnn_pain_read(&cx, &p, path_of("pain"), 0, 0);
    REFUSED(&cx, s == want && !p.count, want, needle);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
}
static void test_pain_refused(void)
{
    static const char facs[] = "pain/Frame_Labels/PSPI/042-a/q1/f002_facs.txt";
    static const char aam[] = "pain/AAM_landmarks/042-a/q1/f002_aam.txt";
    static const char image[] = "pain/Images/042-a/q1/f002.png", list[] = "pain/frames.txt";
    static const char *const level[] = { "17", "-1", "1.5" };
    static const char *const line[] = { "042-a/q1/f001.txt", "f001_aam.txt",
        "042-a/q1/f001_aam.txt\n042-a/q1/f001_aam.txt", "043-b/q1/f001_aam.txt\n042-a/q1/f001_aam.txt", "_aam.txt", "./" };
    char many[66 * 8 + 20] = "", far_off[66 * 16 + 20] = "";
    lsnn_ctx cx = quiet_ctx();
    lsnn_pain p;
    for (int i = 0; i < 3; i++)
        bad_archive(facs, level[i], LSNN_EVALUE, "f002_facs.txt: the intensity");
    bad_archive(facs, "", LSNN_EFORMAT, "f002_facs.txt: has 0 numbers and should have 1");
    bad_archive(facs, "1 2", LSNN_EFORMAT, "number 2, '2'");
    bad_archive(facs, "nan", LSNN_EFORMAT, "number 1, 'nan'");
    bad_archive(facs, "one", LSNN_EFORMAT, "number 1, 'one'");
    bad_archive(facs, NULL, LSNN_EIO, "f002_facs.txt");
    for (int i = 0; i < 65; i++) strcat(many, "50 50\n");
    bad_archive(aam, many, LSNN_EFORMAT, "f002_aam.txt: has 130 numbers and should have 132");
    strcat(many, "50 50 50");
    bad_archive(aam, many, LSNN_EFORMAT, "number 133");
    for (int i = 0; i < 66; i++) strcat(far_off, "50 900\n");
    bad_archive(aam, far_off, LSNN_EVALUE, "landmarks from 900.0 to 900.0, the frame has 110");
    bad_archive(aam, NULL, LSNN_EIO, "f002_aam.txt");
    bad_archive(image, NULL, LSNN_EIO, "f002.png");
    bad_archive(image, "no picture", LSNN_EFORMAT, "f002.png: is neither");
    for (int i = 0; i < 6; i++)
        bad_archive(list, line[i], LSNN_EFORMAT, "should be SUBJECT/SEQUENCE");
    bad_archive(list, "", LSNN_EFORMAT, "has no lines");
    bad_archive(list, NULL, LSNN_EIO, "LC_ALL=C sort");
    write_archive(&cx);
    REFUSED(&cx, lsnn_pain_read(&cx, &p, path_of("pain"), 2, 2) < 0, LSNN_EVALUE, "has 3 subjects");
    REFUSED(&cx, lsnn_pain_read(&cx, &p, path_of("pain"), 3, 0) < 0, LSNN_EVALUE, "has 3 subjects");
    REFUSED(&cx, lsnn_pain_read(&cx, &p, path_of("pain"), -1, 0) < 0, LSNN_EVALUE, "number -1");
    REFUSED(&cx, lsnn_pain_read(&cx, &p, path_of("pain"), 1, INT_MAX) < 0, LSNN_EVALUE, "subjects");
    REFUSED(&cx, lsnn_pain_read(&cx, &p, NULL, 0, 0) < 0, LSNN_EVALUE, "NULL");
    CHECK(p.count == 0);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("pain: levels, landmarks, pictures and lists that are not right: named");
}

/* ---- all readers: no memory, and files damaged at random ---------------------------------- */
enum { GOOD_FILES = 9 };
typedef struct good_file { const char *name; reader read; bytes b; } good_file;

/* Small files that are in order, the tables' pictures beside them.                          */
static void make_good(good_file *g)
{
    static const mat plain = { 1, 1, 0, 2 }, packed = { 0, 0, 1, 1 };
    static unsigned char rgb[3 * 40 * 40];
    static const png adam = { 9, 7, 3, 4, 1 }, deep = { 7, 9, 6, 16, 0 };
    static const png squares = { 99, 15, 0, 8, 0 };  /* 15 rows of 1 + 99 bytes: filters to be  */
    memset(g, 0, GOOD_FILES * sizeof *g);
    for (int i = 0; i < GOOD_FILES; i++) g[i].read = i < 4 ? read_image : read_signs;
    g[0].name = "any0.png"; draw_png(&g[0].b, adam, 1, rgb);
    g[1].name = "any1.png"; draw_png(&g[1].b, deep, 4, rgb);
    g[2].name = "any2.png"; put_png_head(&g[2].b, squares);
    put_chunk(&g[2].b, "IDAT", squares_packed, sizeof squares_packed);
    put_chunk(&g[2].b, "IEND", NULL, 0);
    g[3].name = "any3.ppm"; put_ppm(&g[3].b, "P6 # x\n 4 4 255\n", rgb, 48);
    g[4].name = "signs/any4.csv";
    put_text(&g[4].b, HEAD "00003_00000.ppm;20;30;5;6;15;20;7\nother.ppm;8;8;2;2;6;6;42\n");
    g[5].name = "any5.mat"; g[5].read = read_svhn; put_svhn(&g[5].b, plain);
    g[6].name = "any6.mat"; g[6].read = read_svhn; put_svhn(&g[6].b, packed);
    g[7].name = "any7.bin"; g[7].read = read_cifar; put_cifar(&g[7].b, 0, 2, 1, 10);
    g[8].name = "any8.bin"; g[8].read = read_fine; put_cifar(&g[8].b, 0, 2, 2, 100);
}

static void refuse_each(reader read, const char *path)
{
    for (long n = 1; n < 1000; n++) {
        lsnn_ctx cx = quiet_ctx();
        lsnn_status s;
        heap.calls = 0;
        heap.refuse = n;
        s = read(&cx, path);
        heap.refuse = 0;
        lsnn_ctx_free(&cx);
        if (!CHECK(heap.live == 0)) printf("# %s, allocation %ld\n", path, n);
        if (heap.calls < n) {                        /* none was refused                     */
            CHECK(n > 2);
            return;
        }
        if (!CHECK(s == LSNN_ENOMEM)) printf("# %s, allocation %ld: %d\n", path, n, (int)s);
    }
    CHECK(0);
}
static lsnn_status load_signs(lsnn_ctx *cx, const char *path)
{
    lsnn_set s;
    memset(&s, 0, sizeof s);
    return end_set(cx, &s, lsnn_set_load(cx, &s, "gtsrb", path, 0));
}
static void test_no_memory(void)
{
    good_file g[GOOD_FILES];
    lsnn_ctx cx = quiet_ctx();
    make_good(g);
    for (int i = 0; i < GOOD_FILES; i++) {
        if (i == 2) continue;                        /* has a picture too small for its data  */
        write_file(g[i].name, g[i].b.v, g[i].b.n);
        refuse_each(g[i].read, path_of(g[i].name));
    }
    for (int i = 0; i < GOOD_FILES; i++) forget(&g[i].b);
    write_text("gp/gtsrb32_train_index.csv", "00000/0;9;9\n00003/0;9;9\n00006/0;9;9\n");
    refuse_each(load_signs, path_of("gp"));
    write_archive(&cx);
    refuse_each(read_pain, path_of("pain"));
    lsnn_ctx_free(&cx);
    test_end("each allocation of each reader refused: ENOMEM, and nothing is left behind");
}

/* Makes the checksums of a PNG's chunks right again, so that what is behind them is reached. */
static void mend_png(bytes *b)
{
    for (size_t at = 8; at + 12 <= b->n;) {
        const unsigned char *v = b->v + at;
        size_t n = (size_t)v[0] << 24 | (size_t)v[1] << 16 | (size_t)v[2] << 8 | v[3];
        uint32_t crc;
        if (n > b->n - at - 12) return;
        crc = crc_of(v + 4, n + 4);
        for (int i = 0; i < 4; i++)
            b->v[at + 8 + n + (size_t)i] = (unsigned char)(crc >> (24 - 8 * i));
        at += n + 12;
    }
}
/* Changes some bytes, cuts a part out, or doubles one; numbers are often 0, 1 or large.      */
static void damage(bytes *b, lsnn_rng *r)
{
    static const unsigned char often[8] = { 0, 1, 0xFF, 0x7F, 0x80, ';', '-', '9' };
    int times = 1 + lsnn_rng_int(r, 4);
    size_t at = (size_t)lsnn_rng_int(r, (int)b->n), n = (size_t)lsnn_rng_int(r, 40);
    if (lsnn_rng_int(r, 2)) at = at * (size_t)lsnn_rng_int(r, 100) / 1000;    /* the head         */
    for (; times > 0; times--) {
        size_t i = at + (size_t)lsnn_rng_int(r, 30);
        if (i >= b->n) continue;
        b->v[i] = (unsigned char)(lsnn_rng_int(r, 2) ? often[lsnn_rng_int(r, 8)]
                                  : b->v[i] ^ 1 << lsnn_rng_int(r, 8));
    }
    if (n > b->n - at) n = b->n - at;
    switch (lsnn_rng_int(r, 6)) {
    case 0: b->n = at; break;
    case 1: memmove(b->v + at, b->v + at + n, b->n - at - n); b->n -= n; break;
    case 2: put(b, "0123456789012345678901234567890123456789", n);
            memmove(b->v + at + n, b->v + at, b->n - at - n); break;
    default: break;
    }
}
static void test_damaged(void)
{
    good_file g[GOOD_FILES];
    int rounds = getenv("TEST_LONG") ? 6000 : 700, read = 0, refused = 0;
    make_good(g);
    for (int i = 0; i < GOOD_FILES; i++)
        for (int k = 0; k < rounds; k++) {
            lsnn_ctx cx = quiet_ctx();
            lsnn_rng r = lsnn_rng_at(99, "damage", "", (uint32_t)i, (uint32_t)k);
            bytes b = { NULL, 0, 0 };
            lsnn_status s;
            put(&b, g[i].b.v, g[i].b.n);
            damage(&b, &r);
            if (i < 3 && k % 8) mend_png(&b);
            write_file(g[i].name, b.v, b.n);
            s = g[i].read(&cx, path_of(g[i].name));
            read += s == LSNN_OK;
            refused += s != LSNN_OK;
            if (!CHECK((s == LSNN_OK || s == LSNN_EFORMAT || s == LSNN_EVALUE || s == LSNN_EIO ||
                        s == LSNN_EUNSUPPORTED) && cx.status == s &&
                       (s == LSNN_OK || i == 4 || strstr(cx.message, g[i].name))) ||
                !CHECK(heap.live == 0))
                printf("# %s, damage %d: %d %s\n", g[i].name, k, (int)s, cx.message);
            forget(&b);
            lsnn_ctx_free(&cx);
        }
    for (int i = 0; i < GOOD_FILES; i++) forget(&g[i].b);
    CHECK(read > rounds / 4 && refused > rounds);
    test_end("%d damaged files: %d are still good, %d refused, none is believed", read + refused,
             read, refused);
}
static void test_damaged_archive(void)
{
    static const char *const name[] = { "pain/AAM_landmarks/042-a/q1/f002_aam.txt",
        "pain/Frame_Labels/PSPI/042-a/q1/f002_facs.txt", "pain/frames.txt" };
    lsnn_ctx cx = quiet_ctx();
    int rounds = getenv("TEST_LONG") ? 500 : 25;
    write_archive(&cx);
    for (int i = 0; i < 3; i++) {
        bytes whole = { NULL, 0, 0 }, b = { NULL, 0, 0 };
        FILE *f = fopen(path_of(name[i]), "rb");
        for (int c; f && (c = getc(f)) != EOF;) put_byte(&whole, c);
        if (f) fclose(f);
        for (int k = 0; k < rounds; k++) {
            lsnn_rng r = lsnn_rng_at(98, "damage", "", (uint32_t)i, (uint32_t)k);
            lsnn_status s;
            b.n = 0;
            put(&b, whole.v, whole.n);
            damage(&b, &r);
            write_file(name[i], b.v, b.n);
            s = read_pain(&cx, path_of("pain"));
            CHECK(s == cx.status && s != LSNN_ENOMEM);
            lsnn_clear(&cx);
        }
        write_file(name[i], whole.v, whole.n);
        forget(&whole);
        forget(&b);
    }
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("the pain archive with damaged lists, landmarks and levels");
}

int main(void)
{
    if (getenv("TEST_TMP")) snprintf(folder, sizeof folder, "%s", getenv("TEST_TMP"));
    test_inflate();
#ifdef LSNN_USE_ZLIB
    test_inflate_zlib();
#endif
    test_png_kinds();
    test_png_saved();
    test_png_refused();
    test_ppm();
    test_cifar();
#ifdef LSNN_USE_ZLIB
    test_gz();
#endif
    test_signs();
    test_signs_refused();
    test_resize();
    test_svhn();
    test_svhn_refused();
    test_load();
    test_split();
    test_pain();
    test_pain_warp();
    test_pain_refused();
    test_no_memory();
    test_damaged();
    test_damaged_archive();
    return test_finish();
}
