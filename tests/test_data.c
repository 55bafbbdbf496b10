/* test_data.c - sample sources, IDX files and the built-in digits.

   Build: cc -O2 -I. tests/test_data.c -o tests/test_data -lm
          (also with -DLSNN_USE_ZLIB -lz)                      modes: plain asan | double */
#ifndef TEST_LINKED
#define LSNN_IMPLEMENTATION
#endif
#include "lsnn.h"
#include "source.h"
#ifdef LSNN_USE_ZLIB
#include <zlib.h>
#endif

#define FILE_NAME "test_data.tmp.idx"
#define GONE_NAME "test_data.tmp.gone"
#define NAMES "test_data.tmp"

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

/* NAME-idx1-ubyte as unpackers leave it: NAME.idx1-ubyte; the first is read if both are there. */
static void test_idx_names(void)
{
    static const char plain[] = NAMES "-idx1-ubyte", dotted[] = NAMES ".idx1-ubyte";
    lsnn_ctx cx = quiet();
    lsnn_idx a, keep;
    unsigned char v[4] = { 9, 8, 7, 6 };
    memset(&keep, 0, sizeof keep);
    keep.rank = 1;
    keep.dim[0] = 4;
    keep.v = v;
    remove(plain);
    CHECK(lsnn_idx_write(&cx, &keep, dotted) == LSNN_OK);
    CHECK(lsnn_idx_read(&cx, &a, plain) == LSNN_OK && a.v[0] == 9);
    lsnn_idx_free(&cx, &a);
    v[0] = 1;
    CHECK(lsnn_idx_write(&cx, &keep, plain) == LSNN_OK);
    CHECK(lsnn_idx_read(&cx, &a, plain) == LSNN_OK && a.v[0] == 1);
    lsnn_idx_free(&cx, &a);
    CHECK(lsnn_idx_read(&cx, &a, dotted) == LSNN_OK && a.v[0] == 9);
    lsnn_idx_free(&cx, &a);
    remove(plain);
    remove(dotted);
    CHECK(lsnn_idx_read(&cx, &a, plain) == LSNN_EIO && strstr(cx.message, plain));
    test_end("IDX: the names that unpackers write");
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
    lsnn_recipe r;
    int failed = 0;
    memset(&r, 0, sizeof r);
    r.task = LSNN_TASK_CLUTTERED;
    r.images = r.crops = &s.images;
    r.labels = &s.labels;
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
    test_idx_names();
    test_idx_gz();
    test_sets();
    test_sets_idx();
    test_digits();
    test_allocations();
    remove(FILE_NAME);
    return test_finish();
}
