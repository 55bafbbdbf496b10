/* test_files.c - the safetensors reader and writer, and the durable replace.
   Build: cc -O2 -I. tests/test_files.c -lm    Expect: TAP lines, exit status 0
   Works in a folder of its own under TMPDIR, /dev/shm (there fsync costs nothing,
   and a kill is a kill) or /tmp, and removes it.      modes: plain asan | double m32 */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
static int syncs, was_there;             /* lsnn.h's calls of fsync; at the first one      */
static const char *watched;              /*   this file was still there                    */
static int sync_fails, sync_errno;       /* the number of the one that fails, and why      */
static int counted_fsync(int d)
{
    if (syncs++ == 0) was_there = watched && access(watched, F_OK) == 0;
    if (syncs == sync_fails) {
        errno = sync_errno;
        return -1;
    }
    return (fsync)(d);
}
#define fsync(d) counted_fsync(d)
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
#undef fsync
#include "check.h"

/* ---- a context whose allocator counts, and refuses when told to -------------*/
static struct { long live, calls, refuse; size_t bytes; } heap;

/* Blocks start so that lsnni_alloc's alignment leaves no slack behind its block:
   a sanitizer then sees the first byte that is read past the end.            */
enum { HEAP_SHIFT = 64 - (int)sizeof(void *) };

static void *heap_alloc(size_t bytes, void *user)
{
    void *block;
    (void)user;
    if (++heap.calls == heap.refuse) return NULL;
    if (posix_memalign(&block, 64, HEAP_SHIFT + bytes) != 0) return NULL;
    heap.live++;
    heap.bytes += bytes;
    return (char *)block + HEAP_SHIFT;
}
static void heap_free(void *block, void *user)
{
    (void)user;
    heap.live--;
    free((char *)block - HEAP_SHIFT);
}
static void quiet(const char *message, void *user) { (void)message; (void)user; }

static lsnn_ctx context(void)
{
    lsnn_ctx cx;
    memset(&cx, 0, sizeof cx);
    cx.mem.alloc_fn = heap_alloc;
    cx.mem.free_fn = heap_free;
    cx.log_fn = quiet;
    heap.calls = heap.refuse = 0;
    heap.bytes = 0;
    return cx;
}

/* ---- files ------------------------------------------------------------------*/
static char folder[512];

static const char *at(const char *name)       /* two may be in use at once       */
{
    static char path[4][600];
    static int next;
    char *p = path[next++ & 3];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static void put_file(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!CHECK(f != NULL)) return;
    CHECK(fwrite(bytes, 1, n, f) == n);
    CHECK(fclose(f) == 0);
}

static unsigned char *get_file(const char *path, size_t *n)      /* to be freed  */
{
    FILE *f = fopen(path, "rb");
    unsigned char *bytes = (unsigned char *)malloc(1 << 20);
    *n = f ? fread(bytes, 1, 1 << 20, f) : 0;
    if (f) fclose(f);
    return bytes;
}

static int exists(const char *path)
{
    struct stat there;
    return lstat(path, &there) == 0;
}

static void put_u64(unsigned char *p, uint64_t v)
{
    for (int i = 0; i < 8; i++) p[i] = (unsigned char)(v >> 8*i);
}

/* A file of a header and data bytes that are all 0, the header as it stands. */
static size_t craft(unsigned char *bytes, const char *json, size_t data)
{
    size_t n = strlen(json);
    put_u64(bytes, n);
    memcpy(bytes + 8, json, n);
    memset(bytes + 8 + n, 0, data);
    return 8 + n + data;
}

static int all_zero(const lsnn_file *f)
{
    lsnn_file zero;
    memset(&zero, 0, sizeof zero);
    return memcmp(f, &zero, sizeof zero) == 0;
}

/* Reads path, which must be refused with `want` and a message that names the
   file and holds `needle`; nothing may leak, and *f must be all zero.        */
static void refused(const char *path, lsnn_status want, const char *needle, const char *what)
{
    lsnn_ctx cx = context();
    lsnn_file f;
    lsnn_status s;
    memset(&f, 0xEE, sizeof f);
    s = lsnn_file_read(&cx, &f, path);
    if (!CHECK(s == want)) printf("# %s: status %d, %s\n", what, (int)s, cx.message);
    if (!CHECK(cx.status == want && strstr(cx.message, needle)))
        printf("# %s: no '%s' in '%s'\n", what, needle, cx.message);
    CHECK(strstr(cx.message, strrchr(path, '/')));
    CHECK(all_zero(&f));
    lsnn_file_free(&cx, &f);
    CHECK(heap.live == 0);
}

/* ---- >>round trip -----------------------------------------------------------*/
static lsnn_tensor tensor(const char *name, int rank, int d0, int d1, int d2, int d3,
                          const lsnn_real *v)
{
    lsnn_tensor t;
    int dim[4];
    dim[0] = d0; dim[1] = d1; dim[2] = d2; dim[3] = d3;
    memset(&t, 0, sizeof t);
    t.name = name;
    t.rank = rank;
    t.count = 1;
    for (int i = 0; i < rank; i++) {
        t.dim[i] = dim[i];
        t.count *= (size_t)dim[i];
    }
    t.v = v;
    return t;
}

static void same_tensor(const lsnn_tensor *a, const lsnn_tensor *b)
{
    if (!CHECK(a && b)) return;
    CHECK(strcmp(a->name, b->name) == 0);
    CHECK(a->rank == b->rank && a->count == b->count);
    for (int i = 0; i < 4; i++) CHECK(a->dim[i] == b->dim[i]);
    if (a->count) CHECK(memcmp(a->v, b->v, a->count * sizeof(lsnn_real)) == 0);
}

enum { LARGE = 123457 };             /* several chunks, and a last one in part */
static const lsnn_real *large(void)
{
    static lsnn_real v[LARGE];
    lsnn_rng r = lsnn_rng_at(3, "test", "large", 0, 0);
    for (int i = 0; i < LARGE; i++) v[i] = LSNNI_R(lsnn_rng_normal(&r));
    return v;
}

static void test_round_trip(void)
{
    static const lsnn_pair meta[] = {
        {"graph", "line 1\nline \"2\"\\ \t\r\b\f"}, {"", ""},
        {"control", "\x01\x02\x1f\x7f"}, {"utf-8 \xC3\xA9", "\xE2\x82\xAC \xF0\x9F\x98\x80"},
        {"u", "\\u0041 stays"}};
    lsnn_real odd[12] = {0, 0, 1, -1, 0, 0, 0, 0, 0, 0, 0, LSNNI_R(1.0 / 3)};
    lsnn_tensor t[6];
    lsnn_ctx cx = context();
    lsnn_file f;
    odd[1] = -odd[0];
    odd[4] = LSNNI_R(INFINITY);
    odd[5] = -odd[4];
    odd[6] = LSNNI_R(NAN);
    memset(&odd[7], 0xFF, sizeof odd[7]);              /* NaN with a full payload  */
    memset(&odd[8], 1, 1);                             /* the smallest denormal    */
    odd[9] = sizeof(lsnn_real) == 4 ? LSNNI_R(FLT_MAX) : LSNNI_R(DBL_MAX);
    odd[10] = sizeof(lsnn_real) == 4 ? LSNNI_R(FLT_MIN) / 2 : LSNNI_R(DBL_MIN) / 2;
    t[0] = tensor("odd", 2, 3, 4, 0, 0, odd);
    t[1] = tensor("empty", 3, 2, 0, 5, 0, NULL);
    t[2] = tensor("scalar", 0, 0, 0, 0, 0, odd + 11);
    t[3] = tensor("a \"name\"\n\xC3\xBC", 4, 1, 2, 1, 3, odd);
    t[4] = tensor("large", 1, LARGE, 0, 0, 0, large());
    t[5] = tensor("", 1, 0, 0, 0, 0, odd);
    CHECK(lsnn_file_write(&cx, at("a"), t, 6, meta, 5) == LSNN_OK);
    CHECK(lsnn_file_read(&cx, &f, at("a")) == LSNN_OK);
    CHECK(f.tensors == 6 && f.metas == 5 && !exists(at("a.tmp")));
    for (int i = 0; i < 6 && i < f.tensors; i++) {
        same_tensor(&f.tensor[i], &t[i]);
        same_tensor(lsnn_file_tensor(&f, t[i].name), &t[i]);
    }
    for (int i = 0; i < 5 && i < f.metas; i++) {
        const char *value = lsnn_file_meta(&f, meta[i].key);
        CHECK(strcmp(f.meta[i].key, meta[i].key) == 0);
        CHECK(value && strcmp(value, meta[i].value) == 0);
    }
    CHECK(!lsnn_file_tensor(&f, "od") && !lsnn_file_meta(&f, "odd"));
    lsnn_file_free(&cx, &f);
    CHECK(all_zero(&f) && heap.live == 0);
    lsnn_file_free(&cx, &f);                           /* twice is fine            */
    CHECK(lsnn_file_write(&cx, at("a"), NULL, 0, NULL, 0) == LSNN_OK);
    CHECK(lsnn_file_read(&cx, &f, at("a")) == LSNN_OK && f.tensors == 0 && f.metas == 0);
    lsnn_file_free(&cx, &f);
    CHECK(heap.live == 0 && cx.status == LSNN_OK);
    test_end("files: what is written is read, bit for bit");
}

/* ---- >>by hand: bytes that the writer had no part in --------------------------*/
#define HAND_HEADER \
    "{ \"later\" : {\"data_offsets\":[12, 36],\"dtype\":\"F64\",\"shape\":[3,1]},\n" \
    "\"__metadata__\":{\"k\\u00e9\\uD83D\\uDE00\":\"a\\/b\\\"\\\\\\b\\f\\n\\r\\t\\u0001\"}," \
    "\"first\":{\"d\\u0074ype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}   \t"

static void test_hand(void)
{
    static const unsigned char data[] = {
        0, 0, 0x80, 0x3F,  0, 0, 0x20, 0xC0,  0xDB, 0x0F, 0x49, 0x40,   /* 1, -2.5, pi */
        0, 0, 0, 0, 0, 0, 0xF8, 0x3F,  0, 0, 0, 0, 0, 0, 0xF0, 0xFF,    /* 1.5, -inf */
        0x9A, 0x99, 0x99, 0x99, 0x99, 0x99, 0xB9, 0x3F};                /* 0.1        */
    unsigned char bytes[512];
    size_t n = craft(bytes, HAND_HEADER, sizeof data);
    lsnn_ctx cx = context();
    const lsnn_tensor *a, *b;
    lsnn_file f;
    memcpy(bytes + n - sizeof data, data, sizeof data);
    put_file(at("a"), bytes, n);
    CHECK(lsnn_file_read(&cx, &f, at("a")) == LSNN_OK);
    CHECK(f.tensors == 2 && f.metas == 1);
    a = lsnn_file_tensor(&f, "first");
    b = lsnn_file_tensor(&f, "later");
    if (CHECK(a && b)) {
        CHECK(a->rank == 1 && a->dim[0] == 3 && a->count == 3);
        CHECK(b->rank == 2 && b->dim[0] == 3 && b->dim[1] == 1 && b->count == 3);
        CHECK(a->v[0] == 1 && a->v[1] == LSNNI_R(-2.5) &&
              a->v[2] == LSNNI_R(3.1415927410125732));
        CHECK(b->v[0] == LSNNI_R(1.5) && b->v[1] == -LSNNI_R(INFINITY) &&
              b->v[2] == LSNNI_R(0.1));
    }
    CHECK(f.metas == 1 && strcmp(f.meta[0].key, "k\xC3\xA9\xF0\x9F\x98\x80") == 0 &&
          strcmp(f.meta[0].value, "a/b\"\\\b\f\n\r\t\x01") == 0);
    lsnn_file_free(&cx, &f);
    CHECK(heap.live == 0);
    test_end("files: a file written by hand, F32 and F64");
}

/* As PyTorch and others write them: halves are converted, exactly; integers, booleans and
   what the format may yet get are named and left; any rank.                  */
static void test_others(void)
{
    static const unsigned char data[] = {
        0, 0x3E, 0, 0xC0, 1, 0, 0xFF, 3, 0, 0x7C, 0, 0xFC, 1, 0xFE, 0xFF, 0x7B, 0, 0x80,
        0xC0, 0x3F, 0, 0xC0, 1, 0,                                  /* b, BF16          */
        12, 0, 0, 0, 0, 0, 0, 0,                                    /* steps, I64       */
        0, 0, 0x80, 0x3F, 0, 0, 0, 0x40,                            /* v, F32           */
        1, 0, 1,                                                    /* mask, BOOL       */
        7, 7, 7, 7, 7};                                             /* new, F4_X        */
    static const int sizes[6] = {1, 1, 1, 1, 2, 1};
    unsigned char bytes[1024];
    size_t n = craft(bytes, "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"h\":{\"dtype\":\"F16\",\"shape\":[9],\"data_offsets\":[0,18]},"
        "\"steps\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[24,32]},"
        "\"b\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[18,24]},"
        "\"v\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,2,1],\"data_offsets\":[32,40]},"
        "\"new\":{\"dtype\":\"F4_X\",\"shape\":[9,99],\"data_offsets\":[43,48]},"
        "\"mask\":{\"dtype\":\"BOOL\",\"shape\":[3],\"data_offsets\":[40,43]}}", sizeof data);
    lsnn_ctx cx = context();
    const lsnn_tensor *t;
    lsnn_tensor again;
    lsnn_file f;
    memcpy(bytes + n - sizeof data, data, sizeof data);
    put_file(at("a"), bytes, n);
    CHECK(lsnn_file_read(&cx, &f, at("a")) == LSNN_OK && f.tensors == 3 && f.skips == 3);
    t = lsnn_file_tensor(&f, "h");
    if (CHECK(t && t->rank == 1 && t->count == 9)) {
        CHECK(t->v[0] == LSNNI_R(1.5) && t->v[1] == -2);
        CHECK((double)t->v[2] == ldexp(1, -24) && (double)t->v[3] == ldexp(1023, -24));
        CHECK(t->v[4] == LSNNI_R(INFINITY) && t->v[5] == -LSNNI_R(INFINITY));
        CHECK(t->v[6] != t->v[6] && t->v[7] == 65504 && t->v[8] == 0 && signbit(t->v[8]));
    }
    t = lsnn_file_tensor(&f, "b");
    if (CHECK(t && t->count == 3))
        CHECK(t->v[0] == LSNNI_R(1.5) && t->v[1] == -2 && (double)t->v[2] == ldexp(1, -133));
    t = lsnn_file_tensor(&f, "v");
    if (CHECK(t && t->rank == 6 && t->count == 2 && t->v[0] == 1 && t->v[1] == 2))
        for (int i = 0; i < 6; i++)
            CHECK(t->dims[i] == sizes[i] && (i > 3 || t->dim[i] == sizes[i]));
    CHECK(strcmp(f.skipped[0].key, "steps") == 0 && strcmp(f.skipped[0].value, "I64") == 0);
    CHECK(strcmp(f.skipped[1].key, "new") == 0 && strcmp(f.skipped[1].value, "F4_X") == 0);
    CHECK(strcmp(f.skipped[2].key, "mask") == 0 && !lsnn_file_tensor(&f, "mask"));
    again = *t;                                        /* rank 6 can be written, too */
    CHECK(lsnn_file_write(&cx, at("b"), &again, 1, NULL, 0) == LSNN_OK);
    lsnn_file_free(&cx, &f);
    CHECK(lsnn_file_read(&cx, &f, at("b")) == LSNN_OK && f.tensors == 1);
    CHECK(f.tensor[0].rank == 6 && f.tensor[0].dims[4] == 2 && f.tensor[0].v[1] == 2);
    lsnn_file_free(&cx, &f);
    CHECK(heap.live == 0 && cx.status == LSNN_OK);
    test_end("files: other people's dtypes and ranks");
}

/* All 65536 halves, against the definition.                                  */
static void test_halves(void)
{
    for (uint32_t h = 0; h < 65536; h++) {
        uint32_t bits = lsnni_bits_of_f16(h);
        int exponent = (int)(h >> 10 & 31), low = (int)(h & 1023);
        double want = exponent ? ldexp(1024 + low, exponent - 25) : ldexp(low, -24);
        float got;
        memcpy(&got, &bits, 4);
        if (exponent == 31) CHECK(low ? got != got : isinf(got));
        else CHECK(fabs((double)got) == want);
        CHECK((signbit(got) != 0) == (h >> 15));
    }
    test_end("files: every F16");
}

/* The writer's bytes, compared with a file composed by hand.                 */
static void test_layout(void)
{
    const char *json = sizeof(lsnn_real) == 4
        ? "{\"__metadata__\":{\"k\":\"v\\n\\\"\\u0002\"},"
          "\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}"
        : "{\"__metadata__\":{\"k\":\"v\\n\\\"\\u0002\"},"
          "\"w\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[0,16]}}";
    static const unsigned char one[2][16] = {{0, 0, 0x80, 0x3F, 0, 0, 0, 0xC0},
        {0, 0, 0, 0, 0, 0, 0xF0, 0x3F, 0, 0, 0, 0, 0, 0, 0, 0xC0}};
    lsnn_real v[2] = {1, -2};
    lsnn_tensor t = tensor("w", 1, 2, 0, 0, 0, v);
    lsnn_pair meta = {"k", "v\n\"\x02"};
    lsnn_ctx cx = context();
    size_t n, header = (strlen(json) + 7) / 8 * 8;
    unsigned char want[8], *got;
    CHECK(lsnn_file_write(&cx, at("a"), &t, 1, &meta, 1) == LSNN_OK);
    got = get_file(at("a"), &n);
    put_u64(want, header);
    if (CHECK(n == 8 + header + sizeof v)) {
        CHECK(memcmp(got, want, 8) == 0);
        CHECK(memcmp(got + 8, json, strlen(json)) == 0);
        for (size_t i = strlen(json); i < header; i++) CHECK(got[8 + i] == ' ');
        CHECK(memcmp(got + 8 + header, one[sizeof(lsnn_real) == 8], sizeof v) == 0);
    }
    free(got);
    test_end("files: the writer's bytes are the format's");
}

/* ---- >>malformed ------------------------------------------------------------*/
#define T(rest) "\"w\":{" rest "}"
#define F32(shape, from, to) \
    "\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]"
#define ONE(name, from, to) "\"" name "\":{" F32("[1]", from, to) "}"

typedef struct bad_header { const char *json; size_t data; const char *needle; } bad_header;
static const bad_header bad_headers[] = {
    /* JSON */
    {"", 0, "start with '{'"},
    {" {}", 0, "start with '{'"},
    {"[]", 0, "start with '{'"},
    {"{", 0, "should be '\"'"},
    {"{}x", 0, "not valid"},
    {"{}{}", 0, "not valid"},
    {"{,}", 0, "not valid"},
    {"{\"w\"}", 0, "should be ':'"},
    {"{\"w\":}", 0, "'w'"},
    {"{\"w\":null}", 0, "should be '{'"},
    {"{\"w\":{}", 0, "missing"},
    {"{" ONE("w", "0", "4"), 4, "should be '}'"},
    {"{" ONE("w", "0", "4") ",}", 4, "should be '\"'"},
    {"{" ONE("w", "0", "4") " " ONE("v", "4", "8") "}", 8, "should be '}'"},
    {"{w:{" F32("[1]", "0", "4") "}}", 4, "should be '\"'"},
    {"{'w':{" F32("[1]", "0", "4") "}}", 4, "should be '\"'"},
    {"{/* c */}", 0, "not valid"},
    {"{\"w", 0, "cannot be in a string"},
    {"{\"w\n\":{}}", 0, "cannot be in a string"},
    {"{\"w\x1f\":{}}", 0, "cannot be in a string"},
    {"{\"\\x\":{}}", 0, "bad escape"},
    {"{\"\\", 0, "bad escape"},
    {"{\"\\u", 0, "bad escape"},
    {"{\"\\u12", 0, "bad escape"},
    {"{\"\\u12G4\":{}}", 0, "bad escape"},
    {"{\"\\u0000\":{}}", 0, "bad escape"},
    {"{\"\\uD800\":{}}", 0, "bad escape"},
    {"{\"\\uDC00\":{}}", 0, "bad escape"},
    {"{\"\\uD800\\u0041\":{}}", 0, "bad escape"},
    {"{\"\\uD800\\uD800\":{}}", 0, "bad escape"},
    {"{\"\\uD83D\\uDE", 0, "bad escape"},
    {"{\"\x80\":{}}", 0, "cannot be in a string"},
    {"{\"\xC0\xAF\":{}}", 0, "cannot be in a string"},
    {"{\"\xE0\x80\xAF\":{}}", 0, "cannot be in a string"},
    {"{\"\xED\xA0\x80\":{}}", 0, "cannot be in a string"},
    {"{\"\xF0\x80\x80\xAF\":{}}", 0, "cannot be in a string"},
    {"{\"\xF4\x90\x80\x80\":{}}", 0, "cannot be in a string"},
    {"{\"\xF5\x80\x80\x80\":{}}", 0, "cannot be in a string"},
    {"{\"\xE2\x82\":{}}", 0, "cannot be in a string"},
    {"{\"\xF0\x9F", 0, "cannot be in a string"},
    {"{\"w\":[[[[[[[[[[[[[[[[[[[[", 0, "should be '{'"},
    {"{\"w\":{\"dtype\":{\"dtype\":{}}}}", 0, "should be '\"'"},
    /* keys */
    {"{" ONE("w", "0", "4") "," ONE("w", "4", "8") "}", 8, "two tensors are named 'w'"},
    {"{" ONE("w", "0", "4") "," ONE("\\u0077", "4", "8") "}", 8, "two tensors are named 'w'"},
    {"{" T("\"dtype\":\"F32\"," F32("[1]", "0", "4")) "}", 4, "'dtype' occurs twice"},
    {"{" T("\"shape\":[1]," F32("[1]", "0", "4")) "}", 4, "'shape' occurs twice"},
    {"{" T(F32("[1]", "0", "4") ",\"data_offsets\":[0,4]") "}", 4,
     "'data_offsets' occurs twice"},
    {"{" T(F32("[1]", "0", "4") ",\"more\":1") "}", 4, "unknown key 'more'"},
    {"{" T("\"dtype\":\"F32\",\"shape\":[1]") "}", 4, "missing"},
    {"{" T("\"dtype\":\"F32\",\"data_offsets\":[0,4]") "}", 4, "missing"},
    {"{" T("\"shape\":[1],\"data_offsets\":[0,4]") "}", 4, "missing"},
    {"{" T("") "}", 0, "missing"},
    {"{\"__metadata__\":{\"a\":\"1\",\"b\":\"2\",\"a\":\"1\"}}", 0, "key 'a' twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ occurs twice"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "should be '\"'"},
    {"{\"__metadata__\":{\"a\":{}}}", 0, "should be '\"'"},
    {"{\"__metadata__\":{\"a\":null}}", 0, "should be '\"'"},
    {"{\"__metadata__\":\"a\"}", 0, "should be '{'"},
    {"{\"__metadata__\":{\"a\":\"b\",}}", 0, "should be '\"'"},
    /* dtype */
    {"{" T("\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,8]") "}", 8, "make 4 bytes"},
    {"{" T("\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,8]") "}", 8, "make 16 bytes"},
    {"{" T("\"dtype\":\"BOOL\",\"shape\":[2],\"data_offsets\":[0,9]") "}", 9, "make 2 bytes"},
    {"{" T("\"dtype\":\"X9\",\"shape\":[2],\"data_offsets\":[0,9]") "}", 8, "do not lie"},
    {"{" T("\"dtype\":\"X9\",\"shape\":[2],\"data_offsets\":[1,9]") "}", 9, "hole"},
    {"{" T("\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[0,4]") "," ONE("w", "4", "8") "}", 8,
     "two tensors are named 'w'"},
    {"{" T("\"dtype\":\"\",\"shape\":[2],\"data_offsets\":[0,8]") "}", 8, "dtype ''"},
    {"{" T("\"dtype\":\"ABCDEFGHIJKLMNOPQ\",\"shape\":[2],\"data_offsets\":[0,8]") "}", 8,
     "dtype 'ABCD"},
    {"{" T("\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]") "}", 4, "dtype 'f32'"},
    {"{" T("\"dtype\":\"F32 \",\"shape\":[1],\"data_offsets\":[0,4]") "}", 4, "dtype 'F32 '"},
    {"{" T("\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]") "}", 4, "should be '\"'"},
    /* shape */
    {"{" T(F32("[-1]", "0", "4")) "}", 4, "whole number"},
    {"{" T(F32("[-0]", "0", "0")) "}", 0, "whole number"},
    {"{" T(F32("[1.0]", "0", "4")) "}", 4, "whole number"},
    {"{" T(F32("[1e0]", "0", "4")) "}", 4, "whole number"},
    {"{" T(F32("[01]", "0", "4")) "}", 4, "whole number"},
    {"{" T(F32("[+1]", "0", "4")) "}", 4, "whole number"},
    {"{" T(F32("[\\\"1\\\"]", "0", "4")) "}", 4, "whole number"},
    {"{" T(F32("[1,]", "0", "4")) "}", 4, "whole number"},
    {"{" T(F32("[,1]", "0", "4")) "}", 4, "whole number"},
    {"{" T(F32("[1 1]", "0", "4")) "}", 4, "should be ']'"},
    {"{" T(F32("1", "0", "4")) "}", 4, "should be '['"},
    {"{" T(F32("[1", "0", "4")) "}", 4, "whole number"},
    {"{" T(F32("[1,1,1,1,2]", "0", "4")) "}", 4, "make 8 bytes"},
    {"{" T(F32("[2147483648]", "0", "4")) "}", 4, "dimension 0 is above"},
    {"{" T(F32("[18446744073709551616]", "0", "4")) "}", 4, "too large"},
    {"{" T(F32("[18446744073709551617]", "0", "4")) "}", 4, "too large"},
    {"{" T(F32("[99999999999999999999999999999999]", "0", "4")) "}", 4, "too large"},
    {"{" T(F32("[65536,65536,65536,65536]", "0", "0")) "}", 0, "overflows"},
    {"{" T(F32("[2147483647,2147483647,2147483647]", "0", "4")) "}", 4, "overflows"},
    {"{" T(F32("[1073741824,1073741824,4]", "0", "0")) "}", 0, "overflows"},
    /* offsets */
    {"{" T(F32("[1]", "4", "0")) "}", 4, "do not lie in the data"},
    {"{" T(F32("[2]", "0", "4")) "}", 4, "make 8 bytes, data_offsets 4"},
    {"{" T(F32("[1]", "0", "8")) "}", 8, "make 4 bytes, data_offsets 8"},
    {"{" T(F32("[]", "0", "0")) "}", 0, "make 4 bytes"},
    {"{" T(F32("[0]", "0", "4")) "}", 4, "make 0 bytes"},
    {"{" T("\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,4]") "}", 4, "make 8 bytes"},
    {"{" T(F32("[1]", "0", "4")) "}", 3, "do not lie in the data"},
    {"{" T(F32("[250000000]", "0", "1000000000")) "}", 4, "do not lie in the data"},
    {"{" T(F32("[1]", "0", "18446744073709551616")) "}", 4, "too large"},
    {"{" T(F32("[1]", "18446744073709551612", "18446744073709551615")) "}", 4, "do not lie"},
    {"{" T(F32("[1]", "0", "-4")) "}", 4, "whole number"},
    {"{" T("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]") "}", 4, "two numbers"},
    {"{" T("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]") "}", 4, "more than 2"},
    {"{" T("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[]") "}", 4, "two numbers"},
    {"{" T(F32("[1]", "4", "8")) "}", 8, "hole"},
    {"{" ONE("a", "0", "4") "," ONE("b", "8", "12") "}", 12, "hole"},
    {"{" ONE("b", "8", "12") "," ONE("a", "0", "4") "}", 12, "tensor 'b'"},
    {"{" ONE("a", "0", "4") "," ONE("b", "0", "4") "}", 4, "overlap"},
    {"{" ONE("a", "0", "4") "," ONE("b", "2", "6") "}", 6, "overlap"},
    {"{\"e\":{" F32("[0]", "2", "2") "}," ONE("a", "0", "4") "}", 4, "overlap"},
    {"{\"e\":{" F32("[0]", "8", "8") "}," ONE("a", "0", "4") "}", 8, "hole"},
    {"{" ONE("a", "0", "4") "}", 8, "4 bytes follow"},
    {"{" ONE("a", "0", "4") "}", 5, "1 bytes follow"},
    {"{}", 4, "4 bytes follow"},
};

static void test_bad_headers(void)
{
    static unsigned char bytes[4096];
    int count = (int)(sizeof bad_headers / sizeof bad_headers[0]);
    for (int i = 0; i < count; i++) {
        const bad_header *b = &bad_headers[i];
        size_t n = craft(bytes, b->json, b->data);
        put_file(at("bad"), bytes, n);
        refused(at("bad"), LSNN_EFORMAT, b->needle, b->json);
        CHECK(heap.bytes < 8 * n + 1024);              /* sized by the true file   */
    }
    /* A name that is no help to a terminal is shown without its control bytes. */
    put_file(at("bad"), bytes, craft(bytes, "{\"\\u001b[2J\":{}}", 0));
    refused(at("bad"), LSNN_EFORMAT, "tensor '?[2J'", "escape");
    test_end("files: %d malformed headers are refused", count);
}

static void test_bad_sizes(void)
{
    static const uint64_t lengths[] = {3, 100, 99999999, 100000000, 100000001, 0xFFFFFFFFu,
        (uint64_t)1 << 63, (uint64_t)-1, (uint64_t)-8, (uint64_t)-6};
    unsigned char bytes[64];
    size_t n = craft(bytes, "{}", 0);
    FILE *f;
    for (size_t size = 0; size < 8; size++) {
        put_file(at("bad"), bytes, size);
        refused(at("bad"), LSNN_EFORMAT, "too few", "short file");
    }
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        put_u64(bytes, lengths[i]);
        put_file(at("bad"), bytes, n);
        refused(at("bad"), LSNN_EFORMAT, "does not fit", "header length");
        CHECK(heap.calls == 0);                        /* nothing believed so far  */
    }
    put_u64(bytes, 100000001);                         /* a whole file, but too long */
    f = fopen(at("bad"), "wb");
    if (CHECK(f != NULL)) {
        CHECK(fwrite(bytes, 1, n, f) == n && fflush(f) == 0);
        CHECK(ftruncate(fileno(f), 100000009) == 0);
        fclose(f);
    }
    refused(at("bad"), LSNN_EFORMAT, "above 100000000", "long header");
    CHECK(heap.calls == 0);
    put_u64(bytes, 3);
    bytes[10] = 0;                                     /* {} and a zero byte       */
    put_file(at("bad"), bytes, 11);
    refused(at("bad"), LSNN_EFORMAT, "zero byte", "zero byte");
    refused(at("missing"), LSNN_EIO, "cannot be opened: No such file", "missing");
    CHECK(mkdir(at("dir"), 0700) == 0);
    refused(at("dir"), LSNN_EIO, "/dir: cannot", "directory");
    CHECK(rmdir(at("dir")) == 0);
    test_end("files: lying lengths, short files and what is no file are refused");
}

static void test_good_headers(void)
{
    static const struct { const char *json; size_t data; int tensors, metas; } good[] = {
        {"{}", 0, 0, 0}, {"{ }  \n", 0, 0, 0}, {"{\"__metadata__\":{}}", 0, 0, 0},
        {"{\"__metadata__\":{\"\":\"\"}}", 0, 0, 1},
        {"{\"__metadata__\" :\t{ \"a\" : \"\\u20AC\" , \"b\":\"a\" } }", 0, 0, 2},
        {"{\"\":{" F32("[]", "0", "4") "}}", 4, 1, 0},
        {"{" ONE("b", "4", "8") "," ONE("a", "0", "4") "}", 8, 2, 0},
        {"{\"e\":{" F32("[0,2147483647]", "4", "4") "}," ONE("a", "0", "4") "}", 4, 2, 0},
        {"{\"e\":{" F32("[0]", "0", "0") "}," ONE("a", "0", "4") "}", 4, 2, 0},
        {"{\"e\":{" F32("[0]", "0", "0") "},\"f\":{" F32("[0]", "0", "0") "}}", 0, 2, 0},
        {"{" T(F32("[ 1 , 1,1,\n1 ]", " 0 ", " 4 ")) "}", 4, 1, 0}};
    static unsigned char bytes[4096];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        lsnn_ctx cx = context();
        lsnn_file f;
        put_file(at("a"), bytes, craft(bytes, good[i].json, good[i].data));
        if (!CHECK(lsnn_file_read(&cx, &f, at("a")) == LSNN_OK))
            printf("# %s: %s\n", good[i].json, cx.message);
        CHECK(f.tensors == good[i].tensors && f.metas == good[i].metas);
        lsnn_file_free(&cx, &f);
        CHECK(heap.live == 0);
    }
    test_end("files: unusual headers that are valid are read");
}

/* The densest headers: the reader's tables must still have room.             */
static void test_dense(void)
{
    enum { MANY = 700 };
    static char json[MANY * 64];
    static unsigned char bytes[sizeof json + 8 + 4];
    lsnn_ctx cx = context();
    lsnn_file f;
    size_t n = 0;
    n += (size_t)sprintf(json, "{\"\":{" F32("[]", "0", "4") "}");
    for (int i = 1; i < 200; i++)
        n += (size_t)sprintf(json + n, ",\"%c\":{" F32("[0]", "0", "0") "}", '0' + i % 10);
    sprintf(json + n, "}");
    put_file(at("bad"), bytes, craft(bytes, json, 4));
    refused(at("bad"), LSNN_EFORMAT, "two tensors are named", "dense");
    n = (size_t)sprintf(json, "{\"__metadata__\":{\"\":\"\"");
    for (int i = 1; i < MANY; i++) n += (size_t)sprintf(json + n, ",\"\":\"\"");
    sprintf(json + n, "}}");
    put_file(at("bad"), bytes, craft(bytes, json, 0));
    refused(at("bad"), LSNN_EFORMAT, "has the key '' twice", "dense");
    n = (size_t)sprintf(json, "{");
    for (int i = 0; i < MANY; i++)
        n += (size_t)sprintf(json + n, "%s\"%c%c\":{" F32("[0]", "0", "0") "}", i ? "," : "",
                             '0' + i / 64, '0' + i % 64 + (i % 64 >= '\\' - '0'));
    sprintf(json + n, "}");
    put_file(at("a"), bytes, craft(bytes, json, 0));
    cx = context();
    CHECK(lsnn_file_read(&cx, &f, at("a")) == LSNN_OK && f.tensors == MANY);
    lsnn_file_free(&cx, &f);
    CHECK(heap.live == 0);
    test_end("files: the densest headers fit the tables");
}

/* ---- >>conversion -----------------------------------------------------------*/
static void test_conversion(void)
{
    static const double v[] = {3.4028234663852886e38, -3.4028235677973362e38, /* to FLT_MAX */
                               1e-60, -INFINITY, 1e300};
    int doubles = sizeof(lsnn_real) == 8;
    for (int i = 0; i < 5; i++) {
        unsigned char bytes[256];
        size_t n = craft(bytes, "{" T("\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[0,16]")
                         "}", 16);
        lsnn_ctx cx = context();
        uint64_t bits;
        lsnn_file f;
        memcpy(&bits, &v[i], 8);
        put_u64(bytes + n - 8, bits);
        put_file(at("a"), bytes, n);
        if (i == 4 && !doubles) {
            refused(at("a"), LSNN_EFORMAT, "tensor 'w': a value is too large", "1e300");
            continue;
        }
        CHECK(lsnn_file_read(&cx, &f, at("a")) == LSNN_OK);
        if (doubles) CHECK((double)f.tensor[0].v[1] == v[i]);
        else if (i == 1) CHECK(f.tensor[0].v[1] == LSNNI_R(-FLT_MAX));
        else CHECK(f.tensor[0].v[1] == LSNNI_R(v[i]));
        lsnn_file_free(&cx, &f);
    }
    CHECK(heap.live == 0);
    test_end("files: F64 into lsnn_real, never a silent infinity");
}

/* ---- >>fuzz -----------------------------------------------------------------*/

/* One to three flips, cuts, splices or digits; returns the new length.       */
static size_t mutate(lsnn_rng *r, unsigned char *bytes, size_t n)
{
    static const char *words[] = {"\"", "{", "}", "[", "]", ",", ":", "\\u", "\\uD83D", "-",
        "0", "18446744073709551615", "4294967296", "\"F64\"", "__metadata__", "\xC3", "\x01"};
    for (int times = 1 + lsnn_rng_int(r, 3); times-- > 0 && n > 8;) {
        size_t i = (size_t)lsnn_rng_int(r, (int)n), j = (size_t)lsnn_rng_int(r, (int)n);
        size_t length = LSNNI_MIN((size_t)1 + i % 24, n - LSNNI_MAX(i, j));
        const char *word = words[lsnn_rng_int(r, 17)];
        switch (lsnn_rng_int(r, 6)) {
        case 0: bytes[i] = (unsigned char)(bytes[i] ^ 1 << lsnn_rng_int(r, 8)); break;
        case 1: memmove(bytes + i, bytes + j, length); break;
        case 2: n = i; break;
        case 3: bytes[i] = (unsigned char)('0' + lsnn_rng_int(r, 10)); break;
        case 4:                                        /* take some out            */
            memmove(bytes + i, bytes + i + length, n - i - length);
            n -= length;
            break;
        default:                                       /* put a word in            */
            length = strlen(word);
            memmove(bytes + i + length, bytes + i, n - i);
            memcpy(bytes + i, word, length);
            n += length;
        }
    }
    return n;
}

/* Touches every byte that the reader vouches for.                            */
static void use_file(const lsnn_file *f)
{
    volatile double sum = 0;
    for (int i = 0; i < f->tensors; i++) {
        const lsnn_tensor *t = &f->tensor[i];
        size_t count = 1;
        CHECK(t->rank >= 0);
        for (int d = 0; d < t->rank; d++) {
            count *= (size_t)t->dims[d];
            CHECK(d > 3 || t->dim[d] == t->dims[d]);
        }
        CHECK(count == t->count && strlen(t->name) < 1000);
        for (size_t k = 0; k < count; k++) sum = sum + (double)t->v[k];
    }
    for (int i = 0; i < f->metas; i++)
        CHECK(strlen(f->meta[i].key) + strlen(f->meta[i].value) < 1000);
    for (int i = 0; i < f->skips; i++)
        CHECK(strlen(f->skipped[i].key) < 1000 && strlen(f->skipped[i].value) <= 16);
}

static void test_fuzz(void)
{
    enum { TRIES = 20000 };
    static unsigned char whole[1024], bytes[2048];
    int read_well = 0;
    size_t size = craft(whole,
        "{\"__metadata__\":{\"k\\n\":\"v\\u00e9\\uD83D\\uDE00\",\"\xC3\xA9\":\"\"},"
        "\"a\":{" F32("[2,3]", "0", "24") "}," ONE("b", "24", "28") ","
        "\"d\":{\"dtype\":\"F16\",\"shape\":[1,1,2,1,1],\"data_offsets\":[44,48]},"
        "\"e\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[48,56]},"
        "\"c\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[28,44]}}  ", 56);
    for (int i = 0; i < TRIES; i++) {
        lsnn_rng r = lsnn_rng_at(1, "test", "fuzz", 0, (uint32_t)i);
        lsnn_ctx cx = context();
        lsnn_status s;
        lsnn_file f;
        size_t n;
        memcpy(bytes, whole, size);
        n = mutate(&r, bytes, size);
        if (i % 4 && n > 64) put_u64(bytes, n - 8 - 56);    /* mostly an honest length */
        put_file(at("fuzz"), bytes, n);
        s = lsnn_file_read(&cx, &f, at("fuzz"));
        CHECK(s == LSNN_OK || s == LSNN_EFORMAT);
        CHECK((s == LSNN_OK) == (cx.status == LSNN_OK));
        if (s == LSNN_OK) { read_well++; use_file(&f); }
        else CHECK(all_zero(&f) && strstr(cx.message, "/fuzz: "));
        lsnn_file_free(&cx, &f);
        CHECK(heap.live == 0 && heap.bytes < 8 * n + 1024);
    }
    CHECK(read_well > TRIES / 100 && read_well < TRIES / 2);
    test_end("files: %d mutated files, %d of them still valid", TRIES, read_well);
}

/* ---- >>refusals of memory ---------------------------------------------------*/
static void test_memory(void)
{
    lsnn_real v[6] = {1, 2, 3, 4, 5, 6};
    lsnn_tensor t = tensor("w", 2, 2, 3, 0, 0, v);
    lsnn_pair meta = {"k", "v"};
    lsnn_ctx cx = context();
    lsnn_status s = LSNN_ENOMEM;
    size_t n, m;
    unsigned char *old, *now;
    lsnn_file f;
    long k;
    CHECK(lsnn_file_write(&cx, at("a"), &t, 1, &meta, 1) == LSNN_OK);
    for (k = 1; s != LSNN_OK && k < 20; k++) {
        cx = context();
        heap.refuse = k;
        s = lsnn_file_read(&cx, &f, at("a"));
        if (s != LSNN_OK) CHECK(s == LSNN_ENOMEM && cx.status == s && all_zero(&f));
        lsnn_file_free(&cx, &f);
        CHECK(heap.live == 0);
    }
    CHECK(s == LSNN_OK && k > 4);
    old = get_file(at("a"), &n);
    v[0] = 7;
    for (s = LSNN_ENOMEM, k = 1; s != LSNN_OK && k < 20; k++) {
        cx = context();
        heap.refuse = k;
        s = lsnn_file_write(&cx, at("a"), &t, 1, &meta, 1);
        CHECK(heap.live == 0 && !exists(at("a.tmp")));
        if (s == LSNN_OK) break;
        CHECK(s == LSNN_ENOMEM && cx.status == s);
        now = get_file(at("a"), &m);
        CHECK(n == m && memcmp(old, now, n) == 0);
        free(now);
    }
    CHECK(s == LSNN_OK && k > 2);
    free(old);
    test_end("files: every allocation refused in turn");
}

/* ---- >>what the writer refuses ------------------------------------------------*/

/* Writes to "a", which must fail with `want` and leave "a" and the folder alone. */
static void write_refused(const char *name, const lsnn_tensor *t, int tensors,
                          const lsnn_pair *meta, int metas, lsnn_status want,
                          const char *needle)
{
    const char *path = at("a");
    char tmp[700];
    size_t n, m;
    lsnn_ctx cx = context();
    unsigned char *old = get_file(path, &n), *now;
    lsnn_status s = lsnn_file_write(&cx, at(name), t, tensors, meta, metas);
    if (!CHECK(s == want && cx.status == want)) printf("# status %d for %s\n", (int)s, needle);
    if (!CHECK(strstr(cx.message, needle))) printf("# '%s'? %s\n", needle, cx.message);
    CHECK(strstr(cx.message, name));
    now = get_file(path, &m);
    CHECK(n > 0 && n == m && memcmp(old, now, n) == 0);
    snprintf(tmp, sizeof tmp, "%s.tmp", at(name));
    CHECK(!exists(tmp));
    CHECK(heap.live == 0);
    free(old);
    free(now);
}

static void test_write_refusals(void)
{
    lsnn_real v[4] = {1, 2, 3, 4};
    lsnn_tensor t[2], bad;
    lsnn_pair meta[2] = {{"k", "v"}, {"l", "v"}};
    lsnn_ctx cx = context();
    t[0] = tensor("w", 1, 4, 0, 0, 0, v);
    t[1] = tensor("b", 2, 2, 2, 0, 0, v);
    CHECK(lsnn_file_write(&cx, at("a"), t, 2, meta, 2) == LSNN_OK);
    bad = t[1];
#define REFUSE(field, value, status, needle)                                          \
    t[1] = bad; t[1].field = value;                                                   \
    write_refused("a", t, 2, meta, 2, status, needle)
    REFUSE(name, "w", LSNN_EVALUE, "two tensors are named 'w'");
    REFUSE(name, "__metadata__", LSNN_EVALUE, "__metadata__");
    REFUSE(name, NULL, LSNN_EVALUE, "NULL");
    REFUSE(name, "\xFF", LSNN_EVALUE, "UTF-8");
    REFUSE(name, "\xED\xA0\x80", LSNN_EVALUE, "UTF-8");
    REFUSE(count, 3, LSNN_ESHAPE, "tensor 'b'");
    REFUSE(rank, 5, LSNN_ESHAPE, "rank 5");
    REFUSE(rank, -1, LSNN_ESHAPE, "rank -1");
    REFUSE(dim[0], -2, LSNN_ESHAPE, "tensor 'b'");
    REFUSE(v, NULL, LSNN_EVALUE, "has no values");
    t[1] = tensor("b", 4, INT_MAX, INT_MAX, 2, 1, v);
    write_refused("a", t, 2, meta, 2, LSNN_ESHAPE, "overflows");
    t[1] = tensor("b", 4, INT_MAX, INT_MAX, INT_MAX, 1, v);
    write_refused("a", t, 2, meta, 2, LSNN_ESHAPE, "tensor 'b'");
    t[1] = bad;
    write_refused("a", t, -1, meta, 2, LSNN_ESHAPE, "-1 tensors");
    meta[1].key = "k";
    write_refused("a", t, 2, meta, 2, LSNN_EVALUE, "key 'k' twice");
    meta[1].key = NULL;
    write_refused("a", t, 2, meta, 2, LSNN_EVALUE, "NULL");
    meta[1].key = "l";
    meta[1].value = "\x80";
    write_refused("a", t, 2, meta, 2, LSNN_EVALUE, "UTF-8");
    test_end("files: the writer refuses what it could not read again");
}

/* ---- >>failures of the system -------------------------------------------------*/
static void limit_file_size(rlim_t bytes)              /* RLIM_INFINITY: as before */
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = LSNNI_MIN(bytes, limit.rlim_max);
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

static void test_full_disk(const lsnn_tensor *t)
{
    static const rlim_t limits[] = {0, 1, 8, 40, 4096, 20000, 100000};
    void (*old)(int) = signal(SIGXFSZ, SIG_IGN);
    char why[128];
    snprintf(why, sizeof why, "failed: %s", strerror(EFBIG));
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        fflush(stdout);
        limit_file_size(limits[i]);
        write_refused("a", t, 1, NULL, 0, LSNN_EIO, why);
        limit_file_size(RLIM_INFINITY);
    }
    signal(SIGXFSZ, old);
}

static void test_full_stream(const lsnn_tensor *t)
{
    FILE *f = fopen("/dev/full", "wb");
    if (!f) return;
    CHECK(lsnni_write_values(f, t->v, t->count) == LSNN_EIO && errno == ENOSPC);
    fclose(f);
}

/* As root, a folder without write permission stops nobody: try as another user. */
static int test_unwritable(const lsnn_tensor *t)
{
    int root = geteuid() == 0, tried = 0;
    char why[128];
    snprintf(why, sizeof why, "failed: %s", strerror(EACCES));
    CHECK(chmod(folder, 0555) == 0);
    if (!root || seteuid(65534) == 0) {
        tried = access(at("a"), R_OK) == 0;
        if (tried) write_refused("a", t, 1, NULL, 0, LSNN_EIO, why);
        if (root) CHECK(seteuid(0) == 0);
    }
    CHECK(chmod(folder, 0700) == 0);
    return tried;
}

static void test_in_the_way(const lsnn_tensor *t)
{
    struct stat there;
    lsnn_ctx cx = context();
    CHECK(mkdir(at("dir"), 0700) == 0);
    write_refused("dir", t, 1, NULL, 0, LSNN_EIO, "Is a directory");
    write_refused("dir/", t, 1, NULL, 0, LSNN_EIO, "Is a directory");
    CHECK(rmdir(at("dir")) == 0);                      /* it is there, and empty   */
    write_refused("missing/x", t, 1, NULL, 0, LSNN_EIO, "No such file");
    write_refused("a/x", t, 1, NULL, 0, LSNN_EIO, "Not a directory");
    CHECK(mkfifo(at("fifo"), 0600) == 0);              /* stands for a device      */
    write_refused("fifo", t, 1, NULL, 0, LSNN_EIO, "replacing what is there");
    CHECK(lstat(at("fifo"), &there) == 0 && S_ISFIFO(there.st_mode));
    CHECK(unlink(at("fifo")) == 0);
    CHECK(mkdir(at("a.tmp"), 0700) == 0);              /* not ours: must stay      */
    CHECK(lsnn_file_write(&cx, at("a"), t, 1, NULL, 0) == LSNN_OK);
    CHECK(rmdir(at("a.tmp")) == 0 && !exists(at("a.tmp1")) && heap.live == 0);
    put_file(at("a.tmp"), "left by a crash", 15);      /* stale: does not disturb  */
    CHECK(chmod(at("a.tmp"), 0200) == 0);
    CHECK(lsnn_file_write(&cx, at("a"), t, 1, NULL, 0) == LSNN_OK && !exists(at("a.tmp")));
    put_file(at("a.tmp"), "", 0);                      /* killed at once           */
    CHECK(lsnn_file_write(&cx, at("a"), t, 1, NULL, 0) == LSNN_OK && !exists(at("a.tmp")));
}

static int holds(const char *path, const char *text)
{
    size_t n;
    unsigned char *bytes = get_file(path, &n);
    int same = n == strlen(text) && memcmp(bytes, text, n) == 0;
    free(bytes);
    return same;
}

/* Whatever waits at the temporary name, link or file, keeps what it has, and the save takes
   another name.                                                                       */
static void test_planted(const lsnn_tensor *t)
{
    for (int kind = 0; kind < 5; kind++) {
        struct stat there;
        lsnn_ctx cx = context();
        put_file(at("victim"), "my thesis", 9);
        if (kind == 0) CHECK(symlink("victim", at("a.tmp")) == 0);
        if (kind == 1) CHECK(link(at("victim"), at("a.tmp")) == 0);
        if (kind == 2) CHECK(symlink("nowhere", at("a.tmp")) == 0);
        if (kind == 3) put_file(at("a.tmp"), "my thesis", 9);
        if (kind == 4) {                               /* a hard link that looks like ours */
            CHECK(chmod(at("victim"), 0200) == 0 && link(at("victim"), at("a.tmp")) == 0);
            CHECK(lsnn_file_write(&cx, at("a"), t, 1, NULL, 0) == LSNN_OK);
            CHECK(chmod(at("victim"), 0600) == 0);
        } else CHECK(lsnn_file_write(&cx, at("a"), t, 1, NULL, 0) == LSNN_OK);
        CHECK(holds(at("victim"), "my thesis") && !exists(at("nowhere")));
        CHECK(lstat(at("a.tmp"), &there) == 0 && !exists(at("a.tmp1")));
        if (kind == 3) CHECK(holds(at("a.tmp"), "my thesis"));
        CHECK(lstat(at("a"), &there) == 0 && S_ISREG(there.st_mode) && there.st_nlink == 1);
        CHECK(unlink(at("a.tmp")) == 0 && unlink(at("victim")) == 0 && heap.live == 0);
    }
    test_end("files: links and files at the temporary name stay what they are");
}

static int mode_of(const char *path)
{
    struct stat there;
    return stat(path, &there) == 0 ? (int)(there.st_mode & 07777) : -1;
}

/* A new file's mode is the umask's, an old one's is kept; and its owner and group, or the
   group gets no more than everybody.                                                  */
static void test_modes(const lsnn_tensor *t)
{
    static const mode_t masks[] = {022, 027, 077, 0}, modes[] = {0600, 0640, 0664, 0644, 0606};
    mode_t old = umask(022);
    struct stat there;
    lsnn_ctx cx = context();
    for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
        umask(masks[i]);
        unlink(at("m"));
        CHECK(lsnn_file_write(&cx, at("m"), t, 1, NULL, 0) == LSNN_OK);
        CHECK(mode_of(at("m")) == (int)(0666 & ~masks[i]));
    }
    umask(022);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        CHECK(chmod(at("m"), modes[i]) == 0);
        CHECK(lsnn_file_write(&cx, at("m"), t, 1, NULL, 0) == LSNN_OK);
        CHECK(mode_of(at("m")) == (int)modes[i]);
    }
    /* killed between "whole" and "in its place": the next save knows what it left            */
    CHECK(rename(at("m"), at("m.tmp")) == 0 && chmod(at("m.tmp"), 01606) == 0);
    CHECK(lsnn_file_write(&cx, at("m"), t, 1, NULL, 0) == LSNN_OK);
    CHECK(!exists(at("m.tmp")) && !exists(at("m.tmp1")) && mode_of(at("m")) == 0644);
    CHECK(chmod(at("m"), 0600) == 0 && symlink("m", at("link")) == 0);
    CHECK(lsnn_file_write(&cx, at("link"), t, 1, NULL, 0) == LSNN_OK);
    CHECK(mode_of(at("link")) == 0600 && unlink(at("link")) == 0);
    if (geteuid() == 0) {
        CHECK(chown(at("m"), 65534, 65533) == 0 && chmod(at("m"), 0664) == 0);
        CHECK(lsnn_file_write(&cx, at("m"), t, 1, NULL, 0) == LSNN_OK);
        CHECK(stat(at("m"), &there) == 0 && there.st_uid == 65534 && there.st_gid == 65533);
        CHECK(mode_of(at("m")) == 0664);
        CHECK(chmod(folder, 0777) == 0 && seteuid(65534) == 0);  /* of another group    */
        CHECK(lsnn_file_write(&cx, at("m"), t, 1, NULL, 0) == LSNN_OK);
        CHECK(mode_of(at("m")) == 0644 && chmod(at("m"), 0444) == 0);
        CHECK(lsnn_file_write(&cx, at("m"), t, 1, NULL, 0) == LSNN_EIO);     /* protected */
        CHECK(mode_of(at("m")) == 0444 && seteuid(0) == 0 && chmod(folder, 0700) == 0);
    }
    umask(old);
    CHECK(unlink(at("m")) == 0 && heap.live == 0);
    test_end("files: modes, owners and groups are kept");
}

/* Names as long as the file system takes them, and none at all.                       */
static void test_long_names(const lsnn_tensor *t)
{
    char name[300];
    size_t longest = 0;
    for (size_t n = 240; n <= 256; n++) {
        lsnn_ctx cx = context();
        FILE *f;
        memset(name, 'n', n);
        name[n] = 0;
        f = fopen(at(name), "wb");
        if (f) fclose(f);
        else CHECK(n > 240 && lsnn_file_write(&cx, at(name), t, 1, NULL, 0) == LSNN_EIO);
        if (!f) continue;
        longest = n;
        CHECK(unlink(at(name)) == 0);
        CHECK(lsnn_file_write(&cx, at(name), t, 1, NULL, 0) == LSNN_OK);
        CHECK(lsnn_file_write(&cx, at(name), t, 1, NULL, 0) == LSNN_OK);
        CHECK(unlink(at(name)) == 0 && heap.live == 0);
    }
    test_end("files: names of up to %d bytes", (int)longest);
}

static void test_no_path(const lsnn_tensor *t)
{
    unsigned char pixel = 0;
    lsnn_image im = { 1, 1, NULL }, other;
    lsnn_set set;
    lsnn_pain pain;
    unsigned char rgb[3] = { 0, 0, 0 };
    lsnn_idx idx;
    lsnn_file f;
    lsnn_ctx cx = context();
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_dense(net, lsnn_input(net, 1, 1, 1), 1, NULL);
    CHECK(lsnn_net_build(net, NULL) == LSNN_OK);
    memset(&idx, 0, sizeof idx);
    memset(&set, 0, sizeof set);
    memset(&pain, 0, sizeof pain);
    idx.rank = idx.dim[0] = 1;
    idx.v = &pixel;
    im.rgb = rgb;
#define NO_PATH(call)                                                                  \
    CHECK(call);                                                                       \
    CHECK(cx.status != LSNN_OK && (strstr(cx.message, "the path is NULL") ||           \
                                   cx.status == LSNN_EUNSUPPORTED));                   \
    lsnn_clear(&cx)
    NO_PATH(lsnn_file_write(&cx, NULL, t, 1, NULL, 0) == LSNN_EVALUE);
    NO_PATH(lsnn_file_read(&cx, &f, NULL) == LSNN_EVALUE && all_zero(&f));
    NO_PATH(lsnn_net_save(net, NULL) == LSNN_EVALUE);
    NO_PATH(lsnn_net_read(net, NULL) == LSNN_EVALUE);
    NO_PATH(!lsnn_net_load(&cx, NULL, NULL, NULL, 0));
    NO_PATH(lsnn_idx_write(&cx, &idx, NULL) == LSNN_EVALUE);
    NO_PATH(lsnn_idx_read(&cx, &idx, NULL) == LSNN_EVALUE && !idx.v);
    NO_PATH(lsnn_image_save(&cx, &im, NULL) != LSNN_OK);
    NO_PATH(lsnn_image_load(&cx, &other, NULL) == LSNN_EVALUE);
    NO_PATH(lsnn_net_read_as(net, NULL, NULL) == LSNN_EVALUE);
    NO_PATH(lsnn_net_export_c(net, NULL, NULL) == LSNN_EVALUE);
    NO_PATH(lsnn_net_export_onnx(net, NULL) == LSNN_EVALUE);
    NO_PATH(lsnn_npy_write(&cx, NULL, t) == LSNN_EVALUE);
    NO_PATH(lsnn_npz_write(&cx, NULL, t, 1) == LSNN_EVALUE);
    NO_PATH(lsnn_cifar_read(&cx, &set, NULL, 10) == LSNN_EVALUE);
    NO_PATH(lsnn_svhn_read(&cx, &set, NULL) == LSNN_EVALUE);
    NO_PATH(lsnn_gtsrb_read(&cx, &set, NULL, 32, 0) == LSNN_EVALUE);
    NO_PATH(lsnn_set_load(&cx, &set, "mnist", NULL, 0) == LSNN_EVALUE);
    NO_PATH(lsnn_pain_read(&cx, &pain, NULL, 0, 0) == LSNN_EVALUE);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("files: a path of NULL is refused by all that take one");
}

/* File systems that know no syncing of folders (or of anything) are no failure; a disk that
   breaks is, and where the file is in place already the message says so.              */
static void test_sync_errors(const lsnn_tensor *t)
{
    static const int harmless[] = {EINVAL, ENOSYS, ENOTSUP, EOPNOTSUPP, EBADF};
#ifndef F_FULLFSYNC
    for (int which = 1; which <= 2; which++) {
        lsnn_ctx cx = context();
        for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++) {
            syncs = 0;
            sync_fails = which;
            sync_errno = harmless[i];
            CHECK(lsnn_file_write(&cx, at("a"), t, 1, NULL, 0) == LSNN_OK && syncs == 2);
        }
        syncs = 0;
        sync_errno = EIO;
        CHECK(lsnn_file_write(&cx, at("a"), t, 1, NULL, 0) == LSNN_EIO);
        CHECK(strstr(cx.message, which == 1 ? "not written: syncing failed"
                                            : "written, but syncing its folder failed"));
        CHECK(!exists(at("a.tmp")) && heap.live == 0);
    }
    sync_fails = 0;
#else
    (void)harmless;
    (void)t;
#endif
    test_end("files: what a file system cannot sync is no failure");
}

/* Two that save to one path: the second is refused, the first one's file stays its own. */
static void test_two_writers(const lsnn_tensor *t)
{
    lsnn_ctx cx = context();
    int other = open(at("a.tmp"), O_RDWR | O_CREAT | O_EXCL, 0200);  /* as lsnn makes it  */
    char got[8] = "";
    CHECK(other >= 0 && flock(other, LOCK_EX) == 0 && write(other, "theirs", 6) == 6);
    CHECK(lsnn_file_write(&cx, at("a"), t, 1, NULL, 0) == LSNN_EIO);
    CHECK(strstr(cx.message, "busy") || strstr(cx.message, "Busy"));
    CHECK(pread(other, got, 7, 0) == 6 && strcmp(got, "theirs") == 0 && exists(at("a.tmp")));
    CHECK(close(other) == 0);
    cx = context();
    CHECK(lsnn_file_write(&cx, at("a"), t, 1, NULL, 0) == LSNN_OK && !exists(at("a.tmp")));
}

static lsnn_status half(lsnn_ctx *cx, FILE *f, void *user)
{
    fputs("half a file", f);
    return user ? lsnni_fail(cx, LSNN_EVALUE, "the filler's own words") : LSNN_EIO;
}

static void test_fill(void)
{
    int own = 1;
    lsnn_ctx cx = context();
    put_file(at("b"), "old", 3);
    CHECK(lsnni_file_replace(&cx, at("b"), half, &own) == LSNN_EVALUE);
    CHECK(strcmp(cx.message, "the filler's own words") == 0 && !exists(at("b.tmp")));
    cx = context();
    CHECK(lsnni_file_replace(&cx, at("b"), half, NULL) == LSNN_EIO);
    CHECK(strstr(cx.message, "/b: not written: writing failed") && !exists(at("b.tmp")));
}

/* The file is synced before it is renamed, then its folder; a link is replaced by a file. */
static void test_synced(const lsnn_tensor *t)
{
    lsnn_ctx cx = context();
    struct stat there, target;
    syncs = 0;
    watched = at("synced.tmp");
    CHECK(lsnn_file_write(&cx, at("synced"), t, 1, NULL, 0) == LSNN_OK);
#ifndef F_FULLFSYNC
    CHECK(syncs == 2 && was_there);
#endif
    watched = NULL;
    put_file(at("target"), "mine", 4);
    CHECK(symlink(at("target"), at("link")) == 0);
    CHECK(lsnn_file_write(&cx, at("link"), t, 1, NULL, 0) == LSNN_OK);
    CHECK(lstat(at("link"), &there) == 0 && S_ISREG(there.st_mode));
    CHECK(stat(at("target"), &target) == 0 && target.st_size == 4);
    CHECK(unlink(at("target")) == 0 && unlink(at("link")) == 0 && unlink(at("synced")) == 0);
    CHECK(heap.live == 0);
}

static void test_system(void)
{
    lsnn_tensor t = tensor("w", 1, LARGE, 0, 0, 0, large());
    lsnn_ctx cx = context();
    char here[512];
    CHECK(lsnn_file_write(&cx, at("a"), &t, 1, NULL, 0) == LSNN_OK);
    test_synced(&t);
    test_full_stream(&t);
    test_full_disk(&t);
    test_in_the_way(&t);
    test_two_writers(&t);
    test_fill();
    test_end("files: full disk, things in the way: old file intact, nothing left behind");
    test_planted(&t);
    test_modes(&t);
    test_long_names(&t);
    test_no_path(&t);
    test_sync_errors(&t);
    if (test_unwritable(&t)) test_end("files: unwritable folder");
    else test_skip("files: unwritable folder", "no other user to try it as");
    if (CHECK(getcwd(here, sizeof here) && chdir(folder) == 0)) {
        cx = context();
        CHECK(lsnn_file_write(&cx, "plain", &t, 1, NULL, 0) == LSNN_OK && exists(at("plain")));
        CHECK(chdir(here) == 0);
    }
    test_end("files: a path without a folder");
}

/* ---- >>crashes --------------------------------------------------------------*/
enum { SAVED = 100000 };

/* Saves value, value + 1, ... for ever; all numbers of a file are the same.  */
static void save_for_ever(const char *path, int value)
{
    static lsnn_real v[SAVED];
    lsnn_tensor t = tensor("w", 1, SAVED, 0, 0, 0, v);
    for (;; value++) {
        lsnn_ctx cx = context();
        for (int i = 0; i < SAVED; i++) v[i] = LSNNI_R(value & 0xFFFF);
        if (lsnn_file_write(&cx, path, &t, 1, NULL, 0) != LSNN_OK) _exit(1);
    }
}

static int whole(const char *path, double *value)
{
    lsnn_ctx cx = context();
    lsnn_file f;
    int good = lsnn_file_read(&cx, &f, path) == LSNN_OK && f.tensors == 1 &&
               f.tensor[0].count == SAVED;
    for (int i = 1; good && i < SAVED; i++) good = f.tensor[0].v[i] == f.tensor[0].v[0];
    *value = good ? (double)f.tensor[0].v[0] : -1;
    lsnn_file_free(&cx, &f);
    return good;
}

static pid_t start_saver(const char *path, int value)
{
    pid_t child;
    fflush(stdout);
    child = fork();
    if (child == 0) save_for_ever(path, value);
    CHECK(child > 0);
    return child;
}

static void stop_saver(pid_t child)
{
    int status = 0;
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
}

static void wait_us(long microseconds)
{
    struct timespec t;
    t.tv_sec = 0;
    t.tv_nsec = microseconds * 1000;
    nanosleep(&t, NULL);
}

static void test_kill(void)
{
    enum { KILLS = 100 };
    lsnn_rng r = lsnn_rng_at(5, "test", "kill", 0, 0);
    int interrupted = 0, changed = 0;
    double last = -1, value;
    unlink(at("k"));
    while (!exists(at("k"))) {                         /* the first save           */
        pid_t child = start_saver(at("k"), 0);
        wait_us(50000);
        stop_saver(child);
    }
    for (int i = 0; i < KILLS; i++) {
        pid_t child = start_saver(at("k"), i * 256);
        wait_us(lsnn_rng_int(&r, 15000));
        stop_saver(child);
        CHECK(whole(at("k"), &value));
        interrupted += exists(at("k.tmp"));
        changed += value != last;
        last = value;
    }
    CHECK(interrupted > 0 && changed > 0);             /* else nothing was tested  */
    test_end("files: %d kills, %d of them in the middle of a save", KILLS, interrupted);
}

static void test_two_savers(void)
{
    pid_t a = start_saver(at("p"), 0), b = start_saver(at("q"), 1000);
    double value;
    for (int i = 0; i < 40; i++) {                     /* readers see whole files  */
        wait_us(5000);
        if (exists(at("p"))) CHECK(whole(at("p"), &value));
        if (exists(at("q"))) CHECK(whole(at("q"), &value));
    }
    CHECK(waitpid(a, NULL, WNOHANG) == 0 && waitpid(b, NULL, WNOHANG) == 0);
    stop_saver(a);
    stop_saver(b);
    CHECK(whole(at("p"), &value) && whole(at("q"), &value));
    test_end("files: two processes save side by side, a third reads");
}

int main(void)
{
    static const char *names[] = {"a", "a.tmp", "b", "bad", "fuzz", "k", "k.tmp", "p", "p.tmp",
                                  "q", "q.tmp", "plain", "k.tmp1", "p.tmp1", "q.tmp1"};
    const char *tmp = getenv("TMPDIR");
    if (!tmp || !*tmp) tmp = access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(folder, sizeof folder, "%s/lsnn-files-XXXXXX", tmp);
    if (!mkdtemp(folder)) {
        printf("Bail out! cannot make a folder: %s\n", strerror(errno));
        return 1;
    }
    test_round_trip();
    test_hand();
    test_others();
    test_halves();
    test_layout();
    test_bad_headers();
    test_bad_sizes();
    test_good_headers();
    test_dense();
    test_conversion();
    test_fuzz();
    test_memory();
    test_write_refusals();
    test_system();
    test_kill();
    test_two_savers();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) unlink(at(names[i]));
    CHECK(rmdir(folder) == 0);
    test_end("files: the folder holds nothing else");
    return test_finish();
}
