/* test_npy.c - NumPy's files: written by hand, by NumPy, and by us for NumPy; cut, damaged, and
   of kinds that are not read.

   Build: cc -std=c99 -O2 -I. tests/test_npy.c -o tests/test_npy -lm
   Usage: test_npy     writes into $TEST_TMP (else .); NumPy is asked where python3-numpy is
   modes: plain | asan double */
#ifndef TEST_LINKED
#define LSNN_IMPLEMENTATION
#endif
#include "lsnn.h"
#include "check.h"
#include "nets.h"

static const char *folder = ".";
static char path[600], command[2400];

static const char *in_folder(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const void *v, size_t bytes)
{
    FILE *f = fopen(in_folder(name), "wb");
    CHECK(f && fwrite(v, 1, bytes, f) == bytes);
    if (f) fclose(f);
}

static size_t get(const char *name, unsigned char *v, size_t room)
{
    FILE *f = fopen(in_folder(name), "rb");
    size_t n = f ? fread(v, 1, room, f) : 0;
    if (f) fclose(f);
    return n;
}

/* A .npy file of version `major` with that header and numbers.                           */
static size_t npy(unsigned char *v, int major, const char *header, const void *data,
                  size_t bytes)
{
    size_t n = strlen(header), at = major == 1 ? 10 : 12;
    memcpy(v, "\x93NUMPY", 6);
    v[6] = (unsigned char)major;
    v[7] = 0;
    v[8] = (unsigned char)n;
    v[9] = (unsigned char)(n >> 8);
    if (major > 1) v[10] = v[11] = 0;
    memcpy(v + at, header, n);
    memcpy(v + at + n, data, bytes);
    return at + n + bytes;
}

/* ---- reading ------------------------------------------------------------------------------ */
static void test_read(void)
{
    /* 1, -2, 0.5, 65504 as halves, floats, doubles */
    static const unsigned char half[8] = { 0, 0x3C, 0, 0xC0, 0, 0x38, 0xFF, 0x7B };
    static const unsigned char single[16] = { 0, 0, 0x80, 0x3F, 0, 0, 0, 0xC0, 0, 0, 0, 0x3F,
                                              0, 0xE0, 0x7F, 0x47 };
    static const unsigned char wide[32] = {
        0, 0, 0, 0, 0, 0, 0xF0, 0x3F, 0, 0, 0, 0, 0, 0, 0, 0xC0, 0, 0, 0, 0, 0, 0, 0xE0, 0x3F,
        0, 0, 0, 0, 0, 0xFC, 0xEF, 0x40 };
    static const double right[4] = { 1, -2, 0.5, 65504 };
    static const struct { const char *header; const void *data; int width, rank, dim[2]; } c[] = {
        { "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 2), }   \n", half, 2, 2, { 2, 2 } },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }\n", single, 4, 1, { 4, 0 } },
        { "{'shape': (1, 4), 'fortran_order': False, 'descr': '<f8'}", wide, 8, 2, { 1, 4 } },
        { "{'descr': '<f4', 'fortran_order': True, 'shape': (4,), }", single, 4, 1, { 4, 0 } },
        { "{'descr':'<f4','fortran_order':False,'shape':(4,1)}", single, 4, 2, { 4, 1 } } };
    unsigned char v[400];
    lsnn_ctx cx = quiet_ctx();
    lsnn_file f;
    for (int i = 0; i < 10; i++) {
        const lsnn_tensor *t;
        put("four.npy", v, npy(v, 1 + i % 2, c[i / 2].header, c[i / 2].data,
                               4 * (size_t)c[i / 2].width));
        if (!CHECK(lsnn_file_read(&cx, &f, in_folder("four.npy")) == LSNN_OK)) continue;
        t = lsnn_file_tensor(&f, "four");
        CHECK(f.tensors == 1 && t && t->count == 4 && t->rank == c[i / 2].rank &&
              t->dim[0] == c[i / 2].dim[0] && t->dim[1] == c[i / 2].dim[1]);
        for (int k = 0; t && k < 4; k++) NEAR(t->v[k], right[k], 0);
        lsnn_file_free(&cx, &f);
    }
    put("one.npy", v, npy(v, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }", single,
                          4));
    CHECK(lsnn_file_read(&cx, &f, in_folder("one.npy")) == LSNN_OK && f.tensor[0].rank == 0 &&
          f.tensor[0].count == 1);
    lsnn_file_free(&cx, &f);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end(".npy: halves, floats, doubles, versions 1 and 2, ranks 0 to 2");
}

static void test_refused(void)
{
    static const struct { int major; const char *header, *why; lsnn_status status; } c[] = {
        { 1, "{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", "'>f4'",
          LSNN_EUNSUPPORTED },
        { 1, "{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }", "'<i8'",
          LSNN_EUNSUPPORTED },
        { 1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "[('a'",
          LSNN_EUNSUPPORTED },
        { 1, "{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1), }", "Fortran order",
          LSNN_EUNSUPPORTED },
        { 3, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", "version 3.0",
          LSNN_EFORMAT },
        { 1, "{'descr': '<f4', 'shape': (1,), }", "fortran_order", LSNN_EFORMAT },
        { 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "needs 8 bytes, it has 4",
          LSNN_EFORMAT },
        { 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "shape", LSNN_EFORMAT },
        { 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3), }", "shape", LSNN_EFORMAT },
        { 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,", "shape", LSNN_EFORMAT },
        { 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }", "shape",
          LSNN_EFORMAT },
        { 1, "{'descr': '<f8', 'fortran_order': False, 'shape': (2147483647, 2147483647, "
             "2147483647), }", "overflow", LSNN_EFORMAT } };
    static const unsigned char zero[4];
    unsigned char v[400];
    lsnn_ctx cx = quiet_ctx();
    lsnn_file f;
    int cases = (int)(sizeof c / sizeof *c);
    for (int i = 0; i < cases; i++) {
        put("bad.npy", v, npy(v, c[i].major, c[i].header, zero, 4));
        REFUSED(&cx, lsnn_file_read(&cx, &f, in_folder("bad.npy")) == c[i].status, c[i].status,
                c[i].why);
        CHECK(f.tensors == 0 && heap.live == 0);
    }
    lsnn_ctx_free(&cx);
    test_end(".npy: %d kinds and faults are refused by name", cases);
}

/* ---- writing, and back --------------------------------------------------------------------- */
enum { ARRAYS = 3 };
static lsnn_real numbers[24];
static const lsnn_tensor *three(void)
{
    static lsnn_tensor t[ARRAYS];
    draw_reals(numbers, 24, 5, -3, 3);
    for (int i = 0; i < ARRAYS; i++) {
        static const char *const name[] = { "conv1.weight", "bias", "none" };
        memset(&t[i], 0, sizeof t[i]);
        t[i].name = name[i];
        t[i].v = numbers;
    }
    t[0].rank = 4;
    t[0].dim[0] = 2; t[0].dim[1] = 1; t[0].dim[2] = 3; t[0].dim[3] = 4;
    t[0].count = 24;
    t[1].rank = 1;
    t[1].dim[0] = 5;
    t[1].count = 5;
    t[2].rank = 2;
    t[2].dim[0] = 0; t[2].dim[1] = 7;
    return t;
}

static int is_three(const lsnn_file *f)
{
    const lsnn_tensor *t = three();
    int good = f->tensors == ARRAYS && f->skips == 0;
    for (int i = 0; i < ARRAYS && good; i++) {
        const lsnn_tensor *u = lsnn_file_tensor(f, t[i].name);
        good = u && u->rank == t[i].rank && u->count == t[i].count &&
               !memcmp(u->dim, t[i].dim, sizeof u->dim) && same_bits(u->v, t[i].v, t[i].count);
    }
    return good;
}

static void test_round_trip(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_file f;
    lsnn_tensor bad = three()[0];
    int dims[33] = { 0 };
    CHECK(lsnn_npz_write(&cx, in_folder("ours.npz"), three(), ARRAYS) == LSNN_OK);
    CHECK(lsnn_file_read(&cx, &f, in_folder("ours.npz")) == LSNN_OK && is_three(&f));
    lsnn_file_free(&cx, &f);
    CHECK(lsnn_npy_write(&cx, in_folder("alone.npy"), three()) == LSNN_OK);
    CHECK(lsnn_file_read(&cx, &f, in_folder("alone.npy")) == LSNN_OK && f.tensors == 1 &&
          same_bits(f.tensor[0].v, numbers, 24) && lsnn_file_tensor(&f, "alone"));
    lsnn_file_free(&cx, &f);
    CHECK(lsnn_npz_write(&cx, in_folder("empty.npz"), NULL, 0) == LSNN_OK);
    CHECK(lsnn_file_read(&cx, &f, in_folder("empty.npz")) == LSNN_OK && f.tensors == 0);
    lsnn_file_free(&cx, &f);
    bad.count = 23;
    REFUSED(&cx, lsnn_npy_write(&cx, in_folder("no.npy"), &bad) == LSNN_ESHAPE, LSNN_ESHAPE,
            "do not give a count of 23");
    bad.rank = 33;
    bad.dims = dims;
    bad.count = 0;
    REFUSED(&cx, lsnn_npy_write(&cx, in_folder("no.npy"), &bad) == LSNN_ESHAPE, LSNN_ESHAPE,
            "rank 33");
    REFUSED(&cx, lsnn_npz_write(&cx, NULL, three(), 1) == LSNN_EVALUE, LSNN_EVALUE, "NULL");
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end(".npy and .npz: written and read back, bit for bit");
}

/* Every cut, every changed byte, every allocation refused: a status, no crash, no leak.   */
static void test_damaged(void)
{
    static unsigned char v[4000], w[4000];
    lsnn_ctx cx = quiet_ctx();
    lsnn_file f;
    size_t bytes;
    long refused = 0, read = 0;
    CHECK(lsnn_npz_write(&cx, in_folder("ours.npz"), three(), ARRAYS) == LSNN_OK);
    bytes = get("ours.npz", v, sizeof v);
    CHECK(bytes > 500 && bytes < sizeof v);
    for (size_t n = 1; n < bytes; n++) {
        put("cut.npz", v, n);
        CHECK(lsnn_file_read(&cx, &f, in_folder("cut.npz")) != LSNN_OK && f.tensors == 0);
        lsnn_clear(&cx);
    }
    for (size_t n = 0; n < bytes; n++) {
        memcpy(w, v, bytes);
        w[n] ^= (unsigned char)(1 << n % 8);
        put("changed.npz", w, bytes);
        if (lsnn_file_read(&cx, &f, in_folder("changed.npz")) == LSNN_OK) read++;
        else refused++;
        lsnn_file_free(&cx, &f);
        lsnn_clear(&cx);
    }
    CHECK(refused > 600);                        /* numbers, headers: the check sum sees them */
    for (heap.refuse = 1, heap.calls = 0; heap.refuse < 100; heap.refuse++, heap.calls = 0) {
        lsnn_status s = lsnn_file_read(&cx, &f, in_folder("ours.npz"));
        lsnn_clear(&cx);
        if (s == LSNN_OK) break;
        CHECK(s == LSNN_ENOMEM && heap.live == 0);
    }
    CHECK(heap.refuse > 5 && heap.refuse < 100);
    heap.refuse = 0;
    lsnn_file_free(&cx, &f);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end(".npz: every cut is refused, %ld of %ld changed bytes, every allocation", refused,
             refused + read);
}

/* ---- a net's weights ------------------------------------------------------------------------ */
static void test_net(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = small_net(&cx, "cnn", 14, 4, 1), *other = small_net(&cx, "cnn", 14, 4, 2);
    lsnn_tensor t[20];
    const char *name;
    int count = 0;
    lsnn_real *values = net_values(net), *v = values;
    memset(t, 0, sizeof t);
    for (; (name = lsnn_net_param_name(net, 0, count, &t[count].count)) != NULL; count++) {
        CHECK(lsnn_net_dims(net, name, &t[count].rank, t[count].dim) == LSNN_OK);
        t[count].name = name;
        t[count].v = v;
        v += t[count].count;
    }
    CHECK(lsnn_npz_write(&cx, in_folder("net.npz"), t, count) == LSNN_OK);
    CHECK(lsnn_net_read(other, in_folder("net.npz")) == LSNN_OK);
    CHECK(net_is(other, values));
    lsnn_net_free(net);
    lsnn_net_free(other);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("a net reads its parameters from an .npz file");
}

/* ---- NumPy itself -------------------------------------------------------------------------- */
static int numpy(const char *text)
{
    snprintf(command, sizeof command, "cd '%s' && /usr/bin/python3 -c \"import numpy as n\n%s\"",
             folder, text);
    return system(command) == 0;
}

static void test_numpy(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_file f;
    const lsnn_tensor *t;
    if (system("/usr/bin/python3 -c 'import numpy' 2> /dev/null") != 0) {
        test_skip("NumPy reads our files and we its", "python3-numpy is not here");
        return;
    }
    CHECK(lsnn_npz_write(&cx, in_folder("ours.npz"), three(), ARRAYS) == LSNN_OK);
    CHECK(lsnn_npy_write(&cx, in_folder("alone.npy"), three()) == LSNN_OK);
    CHECK(numpy("z = n.load('ours.npz')\na = n.load('alone.npy')\n"
                "w = z['conv1.weight']\n"
                "assert w.shape == (2, 1, 3, 4) and (w == a).all() and w.any()\n"
                "assert (z['bias'] == w.ravel()[:5]).all() and z['none'].shape == (0, 7)\n"
                "n.savez('theirs.npz', **z)\nn.savez_compressed('packed.npz', **z)\n"
                "n.savez('mixed.npz', x=w, i=n.arange(3), r=n.asfortranarray(w[:, 0, 0, :]))\n"
                "n.save('f2.npy', w.astype('<f2'))"));
    CHECK(lsnn_file_read(&cx, &f, in_folder("theirs.npz")) == LSNN_OK && is_three(&f));
    lsnn_file_free(&cx, &f);
    CHECK(lsnn_file_read(&cx, &f, in_folder("packed.npz")) == LSNN_OK && is_three(&f));
    lsnn_file_free(&cx, &f);
    CHECK(lsnn_file_read(&cx, &f, in_folder("mixed.npz")) == LSNN_OK && f.tensors == 1 &&
          f.skips == 2 && strcmp(f.skipped[0].key, "i") == 0 &&
          strcmp(f.skipped[0].value, "'<i8'") == 0 &&
          strstr(f.skipped[1].value, "in Fortran order"));
    lsnn_file_free(&cx, &f);
    CHECK(lsnn_file_read(&cx, &f, in_folder("f2.npy")) == LSNN_OK);
    t = lsnn_file_tensor(&f, "f2");
    for (int i = 0; t && i < 24; i++) NEAR(t->v[i], numbers[i], 1e-3);
    lsnn_file_free(&cx, &f);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("NumPy reads our files and we its: stored, packed, mixed, halves");
}

int main(void)
{
    if (getenv("TEST_TMP")) folder = getenv("TEST_TMP");
    test_read();
    test_refused();
    test_round_trip();
    test_damaged();
    test_net();
    test_numpy();
    return test_finish();
}
