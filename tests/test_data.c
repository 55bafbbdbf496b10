/* test_data.c - sample sources, IDX files, recipes and the built-in digits.

   Build: cc -O2 tests/test_data.c -o tests/test_data -lm
          (also with -fopenmp, and with -DLSNN_USE_ZLIB -lz)   modes: plain double asan */
#define LSNN_IMPLEMENTATION
#include "../lsnn.h"
#include "check.h"
#include <stdlib.h>
#include <string.h>

#define FILE_NAME "test_data.tmp.idx"
#define GONE_NAME "test_data.tmp.gone"

static char logged[400];
static void keep_log(const char *message, void *user)
{
    (void)user;
    snprintf(logged, sizeof logged, "%s", message);
}

static lsnn_ctx quiet(void)
{
    lsnn_ctx cx;
    memset(&cx, 0, sizeof cx);
    cx.log_fn = keep_log;
    return cx;
}

static void write_bytes(const char *path, const unsigned char *v, size_t n)
{
    FILE *f = fopen(path, "wb");
    CHECK(f != NULL);
    if (!f) return;
    CHECK(fwrite(v, 1, n, f) == n);
    CHECK(fclose(f) == 0);
}

static size_t read_bytes(const char *path, unsigned char *v, size_t room)
{
    FILE *f = fopen(path, "rb");
    size_t n;
    if (!f) return 0;
    n = fread(v, 1, room, f);
    fclose(f);
    return n;
}

static uint64_t hash_bytes(const unsigned char *v, size_t n)          /* FNV-1a  */
{
    uint64_t h = 14695981039346656037ull;
    for (size_t i = 0; i < n; i++) h = (h ^ v[i]) * 1099511628211ull;
    return h;
}

/* A set of n drawn digits as IDX arrays, freed by free_source.               */
typedef struct source { lsnn_idx images, labels; } source;

static source make_source(int n, uint64_t seed, int test)
{
    source s;
    lsnn_recipe r;
    memset(&s, 0, sizeof s);
    memset(&r, 0, sizeof r);
    r.task = LSNN_TASK_DIGITS;
    r.seed = seed;
    r.test = test;
    r.count = n;
    s.images.rank = 3;
    s.images.dim[0] = s.labels.dim[0] = n;
    s.images.dim[1] = s.images.dim[2] = 28;
    s.labels.rank = 1;
    s.images.v = (unsigned char *)malloc((size_t)n * 784);
    s.labels.v = (unsigned char *)malloc((size_t)n);
    for (int i = 0; i < n; i++)
        lsnn_recipe_draw(&r, 0, i, s.images.v + (size_t)i * 784, s.labels.v + i, NULL);
    return s;
}

static void free_source(source *s)
{
    free(s->images.v);
    free(s->labels.v);
}

static lsnn_recipe cluttered(const source *digits, const source *crops, uint64_t seed, int test)
{
    lsnn_recipe r;
    memset(&r, 0, sizeof r);
    r.task = LSNN_TASK_CLUTTERED;
    r.seed = seed;
    r.test = test;
    r.images = &digits->images;
    r.labels = &digits->labels;
    r.crops = &crops->images;
    return r;
}

/* ---- IDX files --------------------------------------------------------------*/
static void test_idx_round_trip(void)
{
    static const int dims[4] = { 3, 5, 7, 2 };
    lsnn_ctx cx = quiet();
    for (int rank = 1; rank <= 4; rank++) {
        unsigned char v[210], raw[300];
        size_t bytes = 1;
        lsnn_idx a, b;
        memset(&a, 0, sizeof a);
        a.rank = rank;
        a.v = v;
        for (int i = 0; i < rank; i++) bytes *= (size_t)(a.dim[i] = dims[i]);
        for (size_t i = 0; i < bytes; i++) v[i] = (unsigned char)(255 - 3 * i);
        CHECK(lsnn_idx_write(&cx, &a, FILE_NAME) == LSNN_OK);
        CHECK(read_bytes(FILE_NAME, raw, sizeof raw) == 4 + 4 * (size_t)rank + bytes);
        CHECK(raw[0] == 0 && raw[1] == 0 && raw[2] == 8 && raw[3] == rank && raw[7] == 3);
        CHECK(lsnn_idx_read(&cx, &b, FILE_NAME) == LSNN_OK);
        CHECK(b.rank == rank && memcmp(a.dim, b.dim, sizeof(int) * (size_t)rank) == 0);
        CHECK(b.v && memcmp(b.v, v, bytes) == 0);
        lsnn_idx_free(&cx, &b);
        CHECK(b.v == NULL && b.rank == 0);
    }
    CHECK(cx.status == LSNN_OK);
    test_end("IDX: ranks 1 to 4 come back as written");
}

/* Reading these bytes fails with this status, and the message names the file. */
static void refused(const unsigned char *bytes, size_t n, lsnn_status want, const char *why)
{
    lsnn_ctx cx = quiet();
    lsnn_idx a;
    lsnn_status s;
    memset(&a, 0x5a, sizeof a);
    write_bytes(FILE_NAME, bytes, n);
    s = lsnn_idx_read(&cx, &a, FILE_NAME);
    if (s != want) printf("# %s: status %d: %s\n", why, (int)s, cx.message);
    CHECK(s == want && cx.status == want);
    CHECK(strstr(cx.message, FILE_NAME) != NULL);
    CHECK(a.v == NULL && a.rank == 0);
}

static void test_idx_malformed(void)
{
    unsigned char good[18] = { 0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6 };
    unsigned char bad[64];
    lsnn_ctx cx = quiet();
    lsnn_idx a;
    write_bytes(FILE_NAME, good, 18);
    CHECK(lsnn_idx_read(&cx, &a, FILE_NAME) == LSNN_OK);
    lsnn_idx_free(&cx, &a);
    for (size_t n = 0; n < 18; n++) refused(good, n, LSNN_EFORMAT, "truncated");
    for (int at = 0; at < 4; at++) {
        memcpy(bad, good, 18);
        bad[at] = (unsigned char)(bad[at] + 0x60);
        refused(bad, 18, LSNN_EFORMAT, "magic");
    }
    memcpy(bad, good, 18);
    bad[3] = 0;
    refused(bad, 18, LSNN_EFORMAT, "rank 0");
    bad[3] = 5;
    refused(bad, 18, LSNN_EFORMAT, "rank 5");
    bad[3] = 2;
    bad[7] = 0;
    refused(bad, 18, LSNN_EFORMAT, "a size of zero");
    bad[4] = 0x80;
    refused(bad, 18, LSNN_EFORMAT, "a negative size");
    bad[4] = 0x7f;
    refused(bad, 18, LSNN_EFORMAT, "a huge size, a short file");
    memset(bad, 0, sizeof bad);
    bad[2] = 8;
    bad[3] = 4;
    for (int i = 0; i < 4; i++) bad[4 + 4 * i] = 0x40;          /* 2^120 wraps to 0 */
    refused(bad, 20, LSNN_EFORMAT, "overflowing sizes");
    memcpy(bad, good, 18);
    bad[18] = 0;
    refused(bad, 19, LSNN_EFORMAT, "oversized");
    test_end("IDX: malformed files are refused, the message names them");
}

static void test_idx_paths(void)
{
    lsnn_ctx cx = quiet();
    lsnn_idx a, keep;
    unsigned char v[4] = { 9, 8, 7, 6 }, raw[64];
    remove(GONE_NAME);
    CHECK(lsnn_idx_read(&cx, &a, GONE_NAME) == LSNN_EIO && strstr(cx.message, GONE_NAME));
    lsnn_clear(&cx);
    CHECK(lsnn_idx_read(&cx, &a, ".") == LSNN_EIO && cx.message[0]);
    CHECK(a.v == NULL);
    lsnn_clear(&cx);
    memset(&keep, 0, sizeof keep);
    keep.rank = 1;
    keep.dim[0] = 4;
    keep.v = v;
    CHECK(lsnn_idx_write(&cx, &keep, FILE_NAME) == LSNN_OK);
    for (int i = 0; i < 5; i++) {               /* what cannot be written        */
        lsnn_idx bad = keep;
        if (i == 0) bad.rank = 0;
        if (i == 1) bad.rank = 5;
        if (i == 2) bad.dim[0] = 0;
        if (i == 3) bad.dim[0] = -4;
        if (i == 4) bad.v = NULL;
        CHECK(lsnn_idx_write(&cx, &bad, FILE_NAME) < 0 && strstr(cx.message, FILE_NAME));
        lsnn_clear(&cx);
        CHECK(read_bytes(FILE_NAME, raw, sizeof raw) == 12 && raw[8] == 9);
    }
    CHECK(lsnn_idx_write(&cx, &keep, "no_such_folder/x.idx") == LSNN_EIO);
    CHECK(strstr(cx.message, "no_such_folder") != NULL);
    lsnn_clear(&cx);
    CHECK(lsnn_idx_write(&cx, &keep, ".") == LSNN_EIO);
    test_end("IDX: missing files and folders, and nothing overwritten on failure");
}

#ifdef LSNN_USE_ZLIB
static void write_gz(const char *path, const unsigned char *v, size_t n)
{
    gzFile gz = gzopen(path, "wb");
    CHECK(gz != NULL && gzwrite(gz, v, (unsigned)n) == (int)n);
    CHECK(gzclose(gz) == Z_OK);
}

static void test_idx_gz(void)
{
    enum { n = 3000000 };                       /* several steps of growth       */
    static unsigned char v[8 + n], packed[8 + n];
    lsnn_ctx cx = quiet();
    lsnn_idx a;
    size_t size;
    for (int i = 0; i < n; i++) v[8 + i] = (unsigned char)((unsigned)i * 2654435761u >> 13);
    v[2] = 8;
    v[3] = 1;
    v[5] = n >> 16;
    v[6] = (unsigned char)(n >> 8 & 255);
    v[7] = n & 255;
    remove(GONE_NAME);
    write_gz(GONE_NAME ".gz", v, sizeof v);
    CHECK(lsnn_idx_read(&cx, &a, GONE_NAME) == LSNN_OK && a.dim[0] == n);
    CHECK(a.v && memcmp(a.v, v + 8, n) == 0);
    lsnn_idx_free(&cx, &a);
    size = read_bytes(GONE_NAME ".gz", packed, sizeof packed);
    write_bytes(FILE_NAME, packed, size);       /* gzip under another name       */
    CHECK(lsnn_idx_read(&cx, &a, FILE_NAME) == LSNN_OK && a.dim[0] == n);
    lsnn_idx_free(&cx, &a);
    for (size_t cut = 1; cut < size; cut = cut < 40 ? cut + 1 : 2 * cut)
        refused(packed, size - cut, LSNN_EFORMAT, "gzip cut off");
    for (size_t at = 1; at <= 8; at++) {        /* checksum and length           */
        packed[size - at] ^= 0x10;
        refused(packed, size, LSNN_EFORMAT, "gzip with a wrong checksum or length");
        packed[size - at] ^= 0x10;
    }
    packed[size / 2] ^= 0x55;
    refused(packed, size, LSNN_EFORMAT, "gzip damaged");
    for (int whole = 1; whole <= 4; whole *= 2) {    /* zlib's buffers end with the data */
        size_t bytes = (size_t)whole * 16384;
        static unsigned char w[4 * 16384];
        memcpy(w, v, sizeof w);
        w[5] = 0;
        w[6] = (unsigned char)((bytes - 8) >> 8);
        w[7] = (unsigned char)((bytes - 8) & 255);
        memset(w + 8, whole, bytes - 8);
        write_gz(FILE_NAME, w, bytes);
        CHECK(lsnn_idx_read(&cx, &a, FILE_NAME) == LSNN_OK);
        lsnn_idx_free(&cx, &a);
        size = read_bytes(FILE_NAME, packed, sizeof packed);
        for (size_t cut = 1; cut < size; cut++)
            refused(packed, size - cut, LSNN_EFORMAT, "gzip cut off at a buffer's end");
    }
    write_gz(FILE_NAME, v, sizeof v - 1);
    CHECK(lsnn_idx_read(&cx, &a, FILE_NAME) == LSNN_EFORMAT);
    lsnn_clear(&cx);
    v[7]--;
    write_gz(FILE_NAME, v, sizeof v);
    CHECK(lsnn_idx_read(&cx, &a, FILE_NAME) == LSNN_EFORMAT);
    lsnn_clear(&cx);
    v[4] = 0x7f;                                /* promises 2 GB                 */
    write_gz(FILE_NAME, v, 100);
    CHECK(lsnn_idx_read(&cx, &a, FILE_NAME) == LSNN_EFORMAT && a.v == NULL);
    remove(GONE_NAME ".gz");
    test_end("IDX: gzip, PATH.gz for PATH, damaged, cut off, lying headers");
}
#else
static void test_idx_gz(void)
{
    static const unsigned char gz[20] = { 0x1f, 0x8b, 8 };
    lsnn_ctx cx = quiet();
    lsnn_idx a;
    refused(gz, sizeof gz, LSNN_EUNSUPPORTED, "gzip without zlib");
    remove(GONE_NAME);
    write_bytes(GONE_NAME ".gz", gz, sizeof gz);
    CHECK(lsnn_idx_read(&cx, &a, GONE_NAME) == LSNN_EUNSUPPORTED);
    CHECK(strstr(cx.message, "LSNN_USE_ZLIB") != NULL);
    remove(GONE_NAME ".gz");
    test_end("IDX: gzip without zlib is refused with the build flag to set");
}
#endif

/* ---- data sets ----------------------------------------------------------------*/
static void test_sets(void)
{
    lsnn_real x[24], got[4];
    int labels[12], l[2];
    lsnn_shape shape = { 1, 2, 2 };
    lsnn_ctx cx = quiet();
    lsnn_data d, part, inner;
    for (int i = 0; i < 24; i++) x[i] = (lsnn_real)i;
    for (int i = 0; i < 12; i++) labels[i] = i % 5;
    CHECK(lsnn_data_arrays(&cx, &d, x, labels, 6, shape, 2, 5) == LSNN_OK);
    CHECK(d.count == 6 && d.heads == 2 && d.classes == 5 && d.shape.w == 2);
    CHECK(lsnn_data_part(&cx, &part, &d, 2, 4) == LSNN_OK && part.count == 4);
    CHECK(lsnn_data_part(&cx, &inner, &part, 1, 3) == LSNN_OK && inner.count == 3);
    inner.fetch(inner.user, 7, 1, got, l, NULL);                 /* sample 4 of d */
    CHECK(memcmp(got, x + 16, sizeof got) == 0 && l[0] == 8 % 5 && l[1] == 9 % 5);
    lsnn_data_free(&inner);
    CHECK(lsnn_data_part(&cx, &inner, &d, 3, 4) == LSNN_EVALUE && !inner.fetch);
    lsnn_clear(&cx);
    CHECK(lsnn_data_part(&cx, &inner, &d, -1, 2) == LSNN_EVALUE);
    lsnn_clear(&cx);
    CHECK(lsnn_data_part(&cx, &inner, &d, 2, 0x7fffffff) == LSNN_EVALUE);
    lsnn_clear(&cx);
    lsnn_data_free(&part);
    lsnn_data_free(&d);
    labels[7] = 5;
    CHECK(lsnn_data_arrays(&cx, &d, x, labels, 6, shape, 2, 5) == LSNN_EVALUE && !d.owned_);
    CHECK(strstr(cx.message, "sample 3") != NULL);
    lsnn_clear(&cx);
    labels[7] = -1;
    CHECK(lsnn_data_arrays(&cx, &d, x, labels, 6, shape, 2, 5) == LSNN_EVALUE);
    lsnn_clear(&cx);
    CHECK(lsnn_data_arrays(&cx, &d, x, labels, 6, shape, LSNN_MAX_HEADS + 1, 5) < 0);
    lsnn_clear(&cx);
    shape.h = 0;
    CHECK(lsnn_data_arrays(&cx, &d, x, labels, 6, shape, 1, 5) == LSNN_ESHAPE);
    lsnn_clear(&cx);
    shape.c = shape.h = shape.w = 0x7fffffff;
    CHECK(lsnn_data_arrays(&cx, &d, x, labels, 6, shape, 1, 5) == LSNN_ESHAPE);
    lsnn_data_free(&d);
    test_end("data sets of arrays, parts of parts, ranges and labels checked");
}

static void test_sets_idx(void)
{
    unsigned char v[24], l[4] = { 0, 1, 2, 1 };
    lsnn_real x[12];
    int got = -1;
    lsnn_idx images, labels;
    lsnn_ctx cx = quiet();
    lsnn_data d;
    memset(&images, 0, sizeof images);
    memset(&labels, 0, sizeof labels);
    for (int i = 0; i < 24; i++) v[i] = (unsigned char)(i * 11);
    images.rank = 3;
    images.dim[0] = 4;
    images.dim[1] = 2;
    images.dim[2] = 3;
    images.v = v;
    labels.rank = 1;
    labels.dim[0] = 4;
    labels.v = l;
    CHECK(lsnn_data_idx(&cx, &d, &images, &labels, 3) == LSNN_OK);
    CHECK(d.count == 4 && d.shape.c == 1 && d.shape.h == 2 && d.shape.w == 3 && d.heads == 1);
    d.fetch(d.user, 0, 2, x, &got, NULL);
    for (int i = 0; i < 6; i++) CHECK(x[i] == (lsnn_real)v[12 + i] / 255);
    CHECK(got == 2);
    lsnn_data_free(&d);
    CHECK(lsnn_data_idx(&cx, &d, &images, &labels, 2) == LSNN_EVALUE && !d.fetch);
    CHECK(strstr(cx.message, "image 2") != NULL);
    lsnn_clear(&cx);
    CHECK(lsnn_data_idx(&cx, &d, &images, &labels, 0) == LSNN_EVALUE);
    lsnn_clear(&cx);
    labels.dim[0] = 3;
    CHECK(lsnn_data_idx(&cx, &d, &images, &labels, 3) == LSNN_ESHAPE);
    lsnn_clear(&cx);
    images.rank = 2;
    CHECK(lsnn_data_idx(&cx, &d, &images, &labels, 3) == LSNN_ESHAPE);
    lsnn_clear(&cx);
    images.rank = labels.rank = 4;              /* labels N x heads: rank 2      */
    images.dim[3] = 1;
    CHECK(lsnn_data_idx(&cx, &d, &images, &labels, 3) == LSNN_ESHAPE);
    lsnn_clear(&cx);
    labels.rank = 2;
    labels.dim[0] = images.dim[0] = 2;
    labels.dim[1] = 2;
    CHECK(lsnn_data_idx(&cx, &d, &images, &labels, 3) == LSNN_OK && d.heads == 2);
    CHECK(d.shape.c == 2 && d.shape.h == 3 && d.shape.w == 1);
    lsnn_data_free(&d);
    test_end("data sets of IDX arrays: pixel / 255, counts and label range checked");
}

/* ---- recipes --------------------------------------------------------------------*/
static void test_tasks(void)
{
    CHECK(lsnn_task_from_name("cluttered") == LSNN_TASK_CLUTTERED);
    CHECK(lsnn_task_from_name("nothing") == LSNN_TASK_COUNT_);
    for (int t = 0; t < LSNN_TASK_COUNT_; t++) {
        lsnn_task task = (lsnn_task)t;
        lsnn_shape s = lsnn_task_shape(task);
        CHECK(lsnn_task_from_name(lsnn_task_name(task)) == task);
        CHECK(s.c == 1 && s.h == s.w && s.h >= 28 && s.h <= LSNNI_TASK_SIDE);
        CHECK(lsnn_task_heads(task) >= 1 && lsnn_task_heads(task) <= LSNN_MAX_HEADS);
    }
    CHECK(lsnn_task_shape(LSNN_TASK_COUNT_).h == 0 && lsnn_task_heads(LSNN_TASK_COUNT_) == 0);
    test_end("tasks: names, shapes and heads");
}

static void test_recipe_check(void)
{
    source s = make_source(20, 1, 0), wrong = s;
    lsnn_ctx cx = quiet();
    lsnn_data d;
    for (int i = 0; i < 10; i++) {
        lsnn_recipe r = cluttered(&s, &s, 1, 0);
        wrong = s;
        if (i == 0) r.task = LSNN_TASK_COUNT_;
        if (i == 1) r.images = NULL;
        if (i == 2) r.labels = NULL;
        if (i == 3) r.crops = NULL;
        if (i == 4) r.count = 21;
        if (i == 5) r.count = -1;
        if (i == 6) r.task = LSNN_TASK_DIGITS;                  /* without a count */
        if (i == 7) wrong.images.dim[2] = 27;
        if (i == 8) wrong.labels.dim[0] = 19;
        if (i == 9) wrong.images.rank = 2;
        if (i == 7 || i == 9) r.images = &wrong.images;
        if (i == 8) r.labels = &wrong.labels;
        CHECK(lsnn_recipe_check(&cx, &r) < 0 && cx.message[0]);
        CHECK(lsnn_data_recipe(&cx, &d, &r) < 0 && !d.fetch);
        lsnn_clear(&cx);
    }
    s.labels.v[5] = 10;
    wrong = s;
    {
        lsnn_recipe r = cluttered(&wrong, &wrong, 1, 0);
        CHECK(lsnn_recipe_check(&cx, &r) == LSNN_EVALUE);
    }
    free_source(&s);
    test_end("recipes: wrong ones are refused");
}

/* The cluttered picture of (recipe, epoch, index) pixel by pixel: what lies over
   each canvas pixel is summed, and nothing else is shared with lsnn.h but the
   order of the draws.                                                        */
static void slow_cluttered(const lsnn_recipe *r, uint32_t epoch, int index, double out[42 * 42],
                           int *digit_x, int *digit_y)
{
    int crop[32][5];
    lsnn_rng g = lsnn_rng_at(r->seed, r->test ? "recipe test" : "recipe train", "cluttered",
                             r->fresh ? epoch : 0, (uint32_t)index);
    *digit_y = lsnn_rng_int(&g, 57);
    *digit_x = lsnn_rng_int(&g, 57);
    for (int i = 0; i < 32; i++) {
        static const int bound[4] = { 23, 23, 79, 79 };
        crop[i][0] = lsnn_rng_int(&g, r->crops->dim[0]);
        for (int k = 0; k < 4; k++) crop[i][k + 1] = lsnn_rng_int(&g, bound[k]);
    }
    memset(out, 0, 42 * 42 * sizeof *out);
    for (int y = 0; y < 84; y++)
        for (int x = 0; x < 84; x++) {
            int v = y - *digit_y, u = x - *digit_x, sum = 0;
            if (v >= 0 && v < 28 && u >= 0 && u < 28)
                sum = r->images->v[index * 784 + v * 28 + u];
            for (int i = 0; i < 32; i++) {
                v = y - crop[i][3];
                u = x - crop[i][4];
                if (v < 0 || v >= 6 || u < 0 || u >= 6) continue;
                sum += r->crops->v[crop[i][0] * 784 + (v + crop[i][1]) * 28 + u + crop[i][2]];
            }
            out[y / 2 * 42 + x / 2] += (sum > 255 ? 255 : sum) / 4.0;
        }
}

static void test_cluttered_compositing(void)
{
    source train = make_source(50, 3, 0), test = make_source(40, 3, 1);
    static double want[42 * 42];
    for (int k = 0; k < 400; k++) {
        int is_test = k & 1, index = k / 2 % 40, x, y;
        uint32_t epoch = (uint32_t)k / 80;
        lsnn_recipe r = cluttered(is_test ? &test : &train, &train, 11, is_test);
        unsigned char got[42 * 42], label;
        lsnn_place p;
        r.fresh = k % 3 != 0;
        lsnn_recipe_draw(&r, epoch, index, got, &label, &p);
        slow_cluttered(&r, epoch, index, want, &x, &y);
        for (int i = 0; i < 42 * 42; i++) CHECK(got[i] == (int)floor(want[i] + 0.5));
        CHECK(label == r.labels->v[index]);
        CHECK(p.x == (int)floor(x / 2.0) && p.x + p.w == (int)ceil((x + 28) / 2.0));
        CHECK(p.y == (int)floor(y / 2.0) && p.y + p.h == (int)ceil((y + 28) / 2.0));
        for (int v = y; v < y + 28; v++)        /* adding never takes ink away   */
            for (int u = x; u < x + 28; u++)
                CHECK(4 * got[v / 2 * 42 + u / 2] + 2 >=
                      r.images->v[index * 784 + (v - y) * 28 + u - x]);
    }
    free_source(&train);
    free_source(&test);
    test_end("cluttered: equals a slow re-derivation, digit and label in place");
}

/* Digits of value 0 leave the crops alone, and crops of value 0 the digits: so
   each kind's pixels are seen to come from its own set.                      */
static void test_cluttered_sources(void)
{
    source digits = make_source(30, 5, 1), crops = make_source(30, 5, 0);
    unsigned char got[42 * 42], label;
    int ink = 0;
    lsnn_recipe r = cluttered(&digits, &crops, 4, 1);
    lsnn_place p;
    memset(crops.images.v, 0, 30 * 784);
    for (int i = 0; i < 30; i++) {
        lsnn_recipe_draw(&r, 0, i, got, &label, &p);
        for (int y = 0; y < 42; y++)
            for (int x = 0; x < 42; x++)
                if (x < p.x || x >= p.x + p.w || y < p.y || y >= p.y + p.h)
                    CHECK(got[y * 42 + x] == 0);
                else ink += got[y * 42 + x] > 0;
    }
    CHECK(ink > 30 * 20);
    memset(digits.images.v, 0, 30 * 784);
    memset(crops.images.v, 100, 30 * 784);
    for (int i = 0; i < 30; i++) {              /* 6x6 of 100: about 288 pixels   */
        int covered = 0;
        lsnn_recipe_draw(&r, 0, i, got, &label, NULL);
        for (int k = 0; k < 42 * 42; k++) covered += got[k] > 0;
        CHECK(covered > 150 && covered <= 32 * 16);
    }
    free_source(&digits);
    free_source(&crops);
    test_end("cluttered: digits come from images, clutter from crops");
}

static void test_cluttered_places(void)
{
    enum { n = 20000 };
    source s = make_source(n, 6, 0);
    lsnn_recipe r = cluttered(&s, &s, 9, 0);
    int column[29] = { 0 }, row[29] = { 0 };
    double chi_x = 0, chi_y = 0;
    for (int i = 0; i < n; i++) {
        unsigned char got[42 * 42], label;
        lsnn_place p;
        lsnn_recipe_draw(&r, 0, i, got, &label, &p);
        CHECK(p.x >= 0 && p.x <= 28 && p.y >= 0 && p.y <= 28);
        if (p.x >= 0 && p.x <= 28) column[p.x]++;
        if (p.y >= 0 && p.y <= 28) row[p.y]++;
    }
    for (int i = 0; i < 29; i++) {              /* 57 places: the last cell has 1 */
        double want = (double)n * (i < 28 ? 2.0 : 1.0) / 57;
        chi_x += (column[i] - want) * (column[i] - want) / want;
        chi_y += (row[i] - want) * (row[i] - want) / want;
    }
    CHECK(chi_x < 57 && chi_y < 57);            /* 28 degrees: 1 in 1000 exceeds it */
    free_source(&s);
    test_end("cluttered: places are uniform (chi-square %.1f, %.1f of 28)", chi_x, chi_y);
}

/* ---- same bytes whoever draws ------------------------------------------------------*/
typedef struct drawing {
    const lsnn_recipe *r;
    uint32_t epoch;
    size_t size;
    unsigned char *pixels, *labels;
} drawing;

static void draw_one(void *user, int i, int worker)
{
    drawing *d = (drawing *)user;
    (void)worker;
    lsnn_recipe_draw(d->r, d->epoch, i, d->pixels + (size_t)i * d->size, d->labels + i, NULL);
}

static void test_threads(void)
{
    enum { n = 600 };
    source s = make_source(n, 2, 0);
    unsigned char *pixels = (unsigned char *)malloc(n * 42 * 42);
    for (int t = 0; t < LSNN_TASK_COUNT_; t++) {
        uint64_t first = 0;
        for (int threads = 1; threads <= 3; threads++) {
            unsigned char labels[n];
            lsnn_ctx cx = quiet();
            lsnn_recipe r = cluttered(&s, &s, 77, 0);
            lsnn_shape shape = lsnn_task_shape((lsnn_task)t);
            drawing d;
            uint64_t h;
            r.task = (lsnn_task)t;
            r.count = n;
            cx.threads = threads;
            memset(&d, 0, sizeof d);
            d.r = &r;
            d.size = (size_t)(shape.h * shape.w);
            d.pixels = pixels;
            d.labels = labels;
            lsnn_parallel(&cx, n, draw_one, &d);
            h = hash_bytes(pixels, n * d.size) ^ hash_bytes(labels, n);
            if (threads == 1) first = h;
            CHECK(h == first);
        }
    }
    free(pixels);
    free_source(&s);
    test_end("recipes: the same bytes for 1, 2 and 3 threads");
}

static int compare_hash(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int repeats(uint64_t *hash, size_t n)
{
    int same = 0;
    qsort(hash, n, sizeof *hash, compare_hash);
    for (size_t i = 1; i < n; i++) same += hash[i] == hash[i - 1];
    return same;
}

/* n samples of each of three epochs, and of the test draws.                  */
static void test_fresh(int n)
{
    source s = make_source(n, 8, 0);
    lsnn_recipe r = cluttered(&s, &s, 21, 0);
    uint64_t *hash = (uint64_t *)malloc(4 * (size_t)n * sizeof *hash);
    int same;
    for (int pass = 0; pass < 4; pass++)
        for (int i = 0; i < n; i++) {
            unsigned char got[42 * 42], label;
            r.fresh = pass < 3;
            r.test = pass == 3;
            lsnn_recipe_draw(&r, (uint32_t)pass, i, got, &label, NULL);
            hash[pass * n + i] = hash_bytes(got, sizeof got);
        }
    same = repeats(hash, 4 * (size_t)n);
    CHECK(same == 0);
    r.test = r.fresh = 0;
    for (int i = 0; i < 50; i++) {              /* fixed: epoch 0 for ever        */
        unsigned char a[42 * 42], b[42 * 42], c[42 * 42], label;
        lsnn_recipe_draw(&r, 0, i, a, &label, NULL);
        lsnn_recipe_draw(&r, 5, i, b, &label, NULL);
        r.seed++;
        lsnn_recipe_draw(&r, 0, i, c, &label, NULL);
        r.seed--;
        CHECK(memcmp(a, b, sizeof a) == 0 && memcmp(a, c, sizeof a) != 0);
    }
    free(hash);
    free_source(&s);
    test_end("cluttered: %d x 3 fresh and the test pictures differ, fixed ones stay", n);
}

static void test_recipe_data(void)
{
    source s = make_source(30, 1, 0);
    lsnn_ctx cx = quiet();
    lsnn_recipe r = cluttered(&s, &s, 5, 0);
    lsnn_data d, part;
    CHECK(lsnn_data_recipe(&cx, &d, &r) == LSNN_OK);
    CHECK(d.count == 30 && d.classes == 10 && d.heads == 1 && d.shape.h == 42);
    CHECK(lsnn_data_part(&cx, &part, &d, 10, 20) == LSNN_OK);
    for (int i = 0; i < 20; i++) {
        unsigned char got[42 * 42], label;
        lsnn_real x[42 * 42];
        int l = -1;
        part.fetch(part.user, 3, i, x, &l, NULL);
        lsnn_recipe_draw(&r, 3, 10 + i, got, &label, NULL);
        for (int k = 0; k < 42 * 42; k++) CHECK(x[k] == (lsnn_real)got[k] / 255);
        CHECK(l == label);
    }
    lsnn_data_free(&part);
    lsnn_data_free(&d);
    free_source(&s);
    test_end("recipe as a data set: pixel / 255, and a part of it");
}

/* ---- built-in digits ------------------------------------------------------------*/
static void test_digits(void)
{
    enum { n = 4000, train = 3000 };
    source s = make_source(n, 12, 0), again = make_source(n, 12, 0);
    source other = make_source(n, 13, 0);
    static double mean[10][784];
    int count[10] = { 0 }, right = 0, outside = 0, off = 0, boxed = 0;
    CHECK(memcmp(s.images.v, again.images.v, n * 784) == 0);
    CHECK(memcmp(s.labels.v, again.labels.v, n) == 0);
    CHECK(memcmp(s.labels.v, other.labels.v, n) != 0);
    for (int i = 0; i < n; i++) {
        const unsigned char *v = s.images.v + i * 784;
        double sum = 0, sx = 0, sy = 0;
        int x0 = 28, x1 = -1, y0 = 28, y1 = -1;
        count[s.labels.v[i]]++;
        for (int k = 0; k < 784; k++) {
            sum += v[k];
            sx += v[k] * (k % 28);
            sy += v[k] * (k / 28);
            if (!v[k]) continue;
            if (k % 28 < x0) x0 = k % 28;
            if (k % 28 > x1) x1 = k % 28;
            if (k / 28 < y0) y0 = k / 28;
            if (k / 28 > y1) y1 = k / 28;
            if (i < train) mean[s.labels.v[i]][k] += v[k];
        }
        CHECK(sum > 255 * 20);
        off += fabs(sx / sum - 14) > 0.51 || fabs(sy / sum - 14) > 0.51;
        outside += x1 - x0 > 19 || y1 - y0 > 19;
        boxed += x1 - x0 >= 18 || y1 - y0 >= 18;
    }
    for (int d = 0; d < 10; d++) CHECK(count[d] == n / 10);
    CHECK(off == 0);
    CHECK(outside == 0);
    CHECK(boxed > n * 9 / 10);
    for (int i = train; i < n; i++) {
        double best = 1e300;
        int guess = -1;
        for (int d = 0; d < 10; d++) {
            double far = 0;
            for (int k = 0; k < 784; k++) {
                double e = s.images.v[i * 784 + k] - mean[d][k] / (train / 10);
                far += e * e;
            }
            if (far >= best) continue;
            best = far;
            guess = d;
        }
        right += guess == s.labels.v[i];
    }
    CHECK(right > (n - train) * 6 / 10);
    free_source(&s);
    free_source(&again);
    free_source(&other);
    test_end("digits: deterministic, balanced, boxed, centred; nearest mean reads %.1f %%",
             100.0 * right / (n - train));
}

/* ---- allocations that fail --------------------------------------------------------*/
typedef struct meter { int left, live, calls; } meter;

static void *meter_alloc(size_t bytes, void *user)
{
    meter *m = (meter *)user;
    m->calls++;
    if (m->left-- <= 0) return NULL;
    m->live++;
    return malloc(bytes);
}

static void meter_free(void *block, void *user)
{
    if (block) ((meter *)user)->live--;
    free(block);
}

/* Reads, wraps and writes with the given number of allocations allowed.      */
static lsnn_status all_calls(lsnn_ctx *cx, const lsnn_idx *a, const lsnn_recipe *r)
{
    lsnn_idx b;
    lsnn_data d, part, arrays, drawn;
    lsnn_real x[4] = { 0 };
    int labels[4] = { 0 };
    lsnn_shape shape = { 1, 1, 1 };
    lsnn_status s = lsnn_idx_write(cx, a, FILE_NAME);
    memset(&b, 0, sizeof b);
    memset(&d, 0, sizeof d);
    part = arrays = drawn = d;
    if (s == LSNN_OK) s = lsnn_idx_read(cx, &b, FILE_NAME);
    if (s == LSNN_OK) s = lsnn_data_idx(cx, &d, &b, r->labels, 10);
    if (s == LSNN_OK) s = lsnn_data_part(cx, &part, &d, 0, 1);
    if (s == LSNN_OK) s = lsnn_data_arrays(cx, &arrays, x, labels, 4, shape, 1, 2);
    if (s == LSNN_OK) s = lsnn_data_recipe(cx, &drawn, r);
    lsnn_data_free(&drawn);
    lsnn_data_free(&arrays);
    lsnn_data_free(&part);
    lsnn_data_free(&d);
    lsnn_idx_free(cx, &b);
    return s;
}

static void test_allocations(void)
{
    source s = make_source(10, 1, 0);
    lsnn_recipe r = cluttered(&s, &s, 1, 0);
    int failed = 0;
    for (int allowed = 0; allowed < 50; allowed++) {
        lsnn_ctx cx = quiet();
        meter m;
        lsnn_status got;
        memset(&m, 0, sizeof m);
        m.left = allowed;
        cx.mem.alloc_fn = meter_alloc;
        cx.mem.free_fn = meter_free;
        cx.mem.user = &m;
        got = all_calls(&cx, &s.images, &r);
        lsnn_ctx_free(&cx);
        CHECK(m.live == 0 && (got == LSNN_OK || got == LSNN_ENOMEM) && got == cx.status);
        if (got == LSNN_OK) break;
        CHECK(m.calls == allowed + 1 && cx.message[0]);
        failed++;
    }
    CHECK(failed >= 4 && failed < 50);
    free_source(&s);
    test_end("each of %d allocations failing in turn: a status, no leak", failed);
}

int main(void)
{
    test_idx_round_trip();
    test_idx_malformed();
    test_idx_paths();
    test_idx_gz();
    test_sets();
    test_sets_idx();
    test_tasks();
    test_recipe_check();
    test_cluttered_compositing();
    test_cluttered_sources();
    test_cluttered_places();
    test_threads();
    test_fresh(60000);
    test_recipe_data();
    test_digits();
    test_allocations();
    remove(FILE_NAME);
    return test_finish();
}
