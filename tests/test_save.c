/* test_save.c - nets in files: saved and loaded they predict the same bits, in the other
   precision nearly; files and graphs that do not fit, lie or are garbage give a status and
   change nothing.

   modes: plain | double asan m32
   Build: cc -O2 -I. tests/test_save.c -o tests/test_save -lm                            */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The library's numbers, as a locale has them whose decimal point is `point`. */
static const char *point = ".";

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static int local_snprintf(char *text, size_t room, const char *format, ...)
{
    char with[64], *dot;
    va_list list;
    int n;
    va_start(list, format);
    n = vsnprintf(text, room, format, list);
    va_end(list);
    if (strcmp(format, "%.17g") != 0 && strcmp(format, "%.9g") != 0 &&
        strcmp(format, "%.1f") != 0) return n;
    if ((dot = strchr(text, '.')) == NULL) return n;
    snprintf(with, sizeof with, "%.*s%s%s", (int)(dot - text), text, point, dot + 1);
    return snprintf(text, room, "%s", with);
}
static double local_strtod(const char *text, char **end)
{
    const char *at = strstr(text, point);
    size_t whole = at ? (size_t)(at - text) : strlen(text), n = strlen(point);
    char with[128], *stop;
    double v;
    snprintf(with, sizeof with, "%.*s%s%s", (int)whole, text, at ? "." : "", at ? at + n : "");
    v = strtod(with, &stop);
    *end = (char *)text + (stop - with) + (at && stop > with + whole ? n - 1 : 0);
    if (strcmp(point, ".") != 0 && memchr(text, '.', (size_t)(*end - text)))
        *end = (char *)strchr(text, '.');                /* no number's part there */
    return v;
}
#define snprintf local_snprintf
#define strtod local_strtod
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
#undef snprintf
#undef strtod
#include "check.h"
#include "nets.h"

static char path[600], other[600];
static const lsnn_layer_type *const types[1] = { &power_type };
enum { IMAGES = 7, BATCH = 4 };

/* A context that gives no block over 64 MB: a lying file must not get more.              */
static void *heap_modest(size_t bytes, void *user)
{
    return bytes > (size_t)64 << 20 ? NULL : heap_alloc(bytes, user);
}
static lsnn_ctx modest_ctx(void)
{
    lsnn_ctx cx = quiet_ctx();
    cx.mem.alloc_fn = heap_modest;
    cx.threads = 1;
    return cx;
}

static lsnn_net *load(lsnn_ctx *cx, const char *from, int batch, int predict_only)
{
    lsnn_build_desc d;
    memset(&d, 0, sizeof d);
    d.batch = batch;
    d.seed = 1000;
    d.predict_only = predict_only;
    return lsnn_net_load(cx, from, &d, types, 1);
}

static lsnn_net *model_net(lsnn_ctx *cx, int m)
{
    static const char *const model[] = { "cnn", "lc", "location", "content" };
    return m < 4 ? small_net(cx, model[m], 14, BATCH, 5) : all_net(cx, BATCH, 5, 0);
}
enum { MODELS = 5 };
static int input_size(int m) { return m < 4 ? 14 * 14 : ALL_IN; }
static int class_count(int m) { return m < 4 ? 10 : 3; }

/* Buffers that are not where they begin.                                                  */
static void shake(lsnn_net *net, int m)
{
    static sample_batch s;
    lsnn_batch *b = draw_batch(&s, BATCH, input_size(m), 3);
    for (int i = 0; i < 3; i++) CHECK(lsnn_forward(net, b, 1, NULL) == LSNN_OK);
}

static size_t file_bytes(const char *name, unsigned char **bytes)
{
    FILE *f = fopen(name, "rb");
    size_t n = 0;
    *bytes = (unsigned char *)malloc(1 << 20);
    if (f) {
        n = fread(*bytes, 1, 1 << 20, f);
        fclose(f);
    }
    return n;
}
static int same_files(const char *a, const char *b)
{
    unsigned char *u, *v;
    size_t n = file_bytes(a, &u), m = file_bytes(b, &v);
    int same = n == m && n > 0 && memcmp(u, v, n) == 0;
    free(u);
    free(v);
    return same;
}

static void test_round_trip(void)
{
    static sample_batch s;
    lsnn_real y[IMAGES * 10], z[IMAGES * 10];
    draw_batch(&s, IMAGES, 14 * 14, 8);
    for (int m = 0; m < MODELS; m++) {
        lsnn_ctx cx = quiet_ctx();
        lsnn_net *net = model_net(&cx, m), *twin;
        size_t count = (size_t)(IMAGES * class_count(m));
        shake(net, m);
        CHECK(lsnn_net_save(net, path) == LSNN_OK);
        CHECK(lsnn_predict(net, s.x, IMAGES, y) == LSNN_OK);
        for (int lean = 0; lean < 2; lean++) {
            twin = load(&cx, path, BATCH, lean);
            if (!CHECK(twin != NULL)) {
                printf("# %s\n", cx.message);
                continue;
            }
            memset(z, 0, sizeof z);
            CHECK(lsnn_predict(twin, s.x, IMAGES, z) == LSNN_OK);
            CHECK(same_bits(y, z, count));
            CHECK(net_is(twin, net_values(net)));
            CHECK(lsnn_net_output(twin) == lsnn_net_output(net));
            CHECK(lsnn_net_macs(twin) >= lsnn_net_macs(net) &&
                  lsnn_net_macs(twin) <= lsnn_net_macs(net));
            CHECK(lsnn_net_save(twin, other) == LSNN_OK && same_files(path, other));
            lsnn_net_free(twin);
        }
        twin = model_net(&cx, m);                /* read into a net of the same making      */
        CHECK(lsnn_net_read(twin, path) == LSNN_OK);
        CHECK(net_is(twin, net_values(net)));
        lsnn_net_free(twin);
        CHECK(load(&cx, "/nowhere/net", BATCH, 0) == NULL && cx.status == LSNN_EIO);
        twin = load(&cx, path, BATCH, 0);        /* whatever failed before                  */
        CHECK(twin != NULL);
        lsnn_net_free(twin);
        lsnn_net_free(net);
        lsnn_ctx_free(&cx);
        CHECK(heap.live == 0);
    }
    test_end("%d nets saved and loaded: the same predictions and the same file", (int)MODELS);
}

/* A loaded net trains on as the saved one does: rates, decay and freezing came along.       */
static void test_options_survive(void)
{
    static sample_batch s;
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = lsnn_net_new(&cx), *twin;
    lsnn_options slow = named("slow"), still = named("still"), lean = named("lean");
    lsnn_optimizer_desc d;
    lsnn_batch *b = draw_batch(&s, BATCH, ALL_IN, 3);
    int x = lsnn_input(net, ALL_C, ALL_H, ALL_W);
    slow.lr_factor = 1.0 / 3;                    /* not a short decimal                      */
    slow.keep = 1;
    still.freeze = 1;
    lean.no_decay = 1;
    x = lsnn_tanh(net, lsnn_conv2d(net, x, 3, 3, &slow), NULL);
    x = lsnn_tanh(net, lsnn_dense(net, x, 6, &still), NULL);
    lsnn_cross_entropy(net, lsnn_dense(net, x, 3, &lean), NULL);
    CHECK(build_net(net, BATCH, 2, 0) == LSNN_OK);
    CHECK(lsnn_net_save(net, path) == LSNN_OK);
    twin = load(&cx, path, BATCH, 0);
    memset(&d, 0, sizeof d);
    d.lr = 0.3;
    d.weight_decay = 0.1;
    for (int i = 0; i < 2 && twin; i++) {
        lsnn_net *each = i ? twin : net;
        lsnn_optimizer *o = lsnn_optimizer_new(each, &d);
        for (int step = 0; step < 3; step++)
            CHECK(lsnn_forward(each, b, 1, NULL) == LSNN_OK && lsnn_backward(each) == LSNN_OK &&
                  lsnn_optimizer_step(o) == LSNN_OK);
        lsnn_optimizer_free(o);
    }
    CHECK(twin && net_is(twin, net_values(net)));
    lsnn_net_free(twin);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("layer options survive a file: the loaded net trains alike");
}

/* ---- the other precision ---------------------------------------------------------------- */
static void put_text(FILE *f, const char *text)  /* as a JSON string                         */
{
    putc('"', f);
    for (; *text; text++) {
        if (*text == '\n') fputs("\\n", f);
        else putc(*text, f);
    }
    putc('"', f);
}

/* Writes what was read from `path` as the other dtype, by hand.                             */
static void write_other(lsnn_ctx *cx)
{
    int wide = sizeof(lsnn_real) == 4;           /* floats become doubles, doubles floats    */
    size_t each = wide ? 8 : 4, at = 0, header;
    unsigned char length[8];
    lsnn_file f;
    FILE *out = fopen(other, "wb"), *text = tmpfile();
    int c;
    if (!CHECK(lsnn_file_read(cx, &f, path) == LSNN_OK && out && text)) return;
    fputs("{\"__metadata__\":{", text);
    for (int i = 0; i < f.metas; i++) {
        if (i) putc(',', text);
        put_text(text, f.meta[i].key);
        putc(':', text);
        put_text(text, f.meta[i].value);
    }
    putc('}', text);
    for (int i = 0; i < f.tensors; i++) {
        const lsnn_tensor *t = &f.tensor[i];
        fprintf(text, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", t->name, wide ? "F64" : "F32");
        for (int d = 0; d < t->rank; d++) fprintf(text, d ? ",%d" : "%d", t->dim[d]);
        fprintf(text, "],\"data_offsets\":[%lu,%lu]}", (unsigned long)at,
                (unsigned long)(at + t->count * each));
        at += t->count * each;
    }
    putc('}', text);
    while (ftell(text) % 8) putc(' ', text);
    header = (size_t)ftell(text);
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)header >> 8*i);
    fwrite(length, 1, 8, out);
    rewind(text);
    while ((c = getc(text)) != EOF) putc(c, out);
    for (int i = 0; i < f.tensors; i++)
        for (size_t j = 0; j < f.tensor[i].count; j++) {
            double d = (double)f.tensor[i].v[j];
            float s = (float)d;
            if (wide) fwrite(&d, sizeof d, 1, out);
            else fwrite(&s, sizeof s, 1, out);
        }
    fclose(text);
    CHECK(fclose(out) == 0);
    lsnn_file_free(cx, &f);
}

static void test_precision(void)
{
    static sample_batch s;
    lsnn_real y[IMAGES * 10], z[IMAGES * 10];
    draw_batch(&s, IMAGES, 14 * 14, 8);
    for (int m = 0; m < MODELS; m++) {
        lsnn_ctx cx = quiet_ctx();
        lsnn_net *net = model_net(&cx, m), *twin;
        int wide = sizeof(lsnn_real) == 4;
        shake(net, m);
        CHECK(lsnn_net_save(net, path) == LSNN_OK);
        write_other(&cx);
        twin = load(&cx, other, BATCH, 0);
        if (CHECK(twin != NULL)) {
            CHECK(lsnn_predict(net, s.x, IMAGES, y) == LSNN_OK);
            CHECK(lsnn_predict(twin, s.x, IMAGES, z) == LSNN_OK);
            for (int i = 0; i < IMAGES * class_count(m); i++) NEAR(z[i], y[i], wide ? 0 : 1e-5);
            if (wide) CHECK(net_is(twin, net_values(net)));
        }
        lsnn_net_free(twin);
        lsnn_net_free(net);
        lsnn_ctx_free(&cx);
    }
    CHECK(heap.live == 0);
    test_end("files of the other precision are converted");
}

/* ---- tensors that do not fit ------------------------------------------------------------ */
static void test_tensors(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = small_net(&cx, "content", 14, BATCH, 5), *target;
    lsnn_real one[1] = { 1 };
    lsnn_file f;
    int tensors;
    CHECK(lsnn_net_save(net, path) == LSNN_OK);
    target = small_net(&cx, "content", 14, BATCH, 6);
    CHECK(lsnn_file_read(&cx, &f, path) == LSNN_OK);
    tensors = f.tensors;
    for (int i = 0; i < tensors; i++)
        for (int change = 0; change < 5; change++) {
            lsnn_tensor *t = (lsnn_tensor *)calloc((size_t)tensors + 1, sizeof *t);
            int n = tensors;
            lsnn_net *loaded;
            lsnn_status want = LSNN_ESHAPE;
            memcpy(t, f.tensor, (size_t)tensors * sizeof *t);
            if (change == 0) { t[i] = t[--n]; want = LSNN_EFORMAT; }           /* missing    */
            if (change == 1) { t[i].name = "stranger"; want = LSNN_EFORMAT; }  /* renamed    */
            if (change == 2) {                                                 /* one more   */
                memset(&t[n], 0, sizeof *t);
                t[n].name = "stranger.weight";
                t[n].rank = 1; t[n].dim[0] = 1; t[n].count = 1; t[n].v = one;
                n++;
                want = LSNN_EFORMAT;
            }
            if (change == 3) {                                   /* the same count, flat      */
                if (t[i].rank == 1) { t[i].rank = 2; t[i].dim[1] = 1; }
                else { t[i].rank = 1; t[i].dim[0] = (int)t[i].count; }
            }
            if (change == 4) { t[i].rank = 1; t[i].dim[0] = 1; t[i].count = 1; }
            CHECK(lsnn_file_write(&cx, other, t, n, f.meta, f.metas) == LSNN_OK);
            {
                lsnn_real *before = net_values(target);
                REFUSED(&cx, lsnn_net_read(target, other) == want, want, other);
                CHECK(net_is(target, before));
            }
            loaded = load(&cx, other, BATCH, 0);
            CHECK(!loaded && cx.status == want);
            lsnn_net_free(loaded);
            lsnn_clear(&cx);
            free(t);
        }
    lsnn_file_free(&cx, &f);
    lsnn_net_free(net);
    lsnn_net_free(target);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("missing, renamed, added and reshaped tensors: refused, the net is untouched");
}

/* conv1, smooth1, perhaps a dropout, dense1: the same tensors whatever is asked for.      */
static lsnn_net *same_sizes(lsnn_ctx *cx, lsnn_normalise normalise, int freeze, int dropout,
                            int leaky)
{
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_options conv = named("conv1"), smooth = named("smooth1"), dense = named("dense1");
    lsnn_options act = named("act1");
    int x = lsnn_input(net, 1, 6, 6);
    conv.no_bias = 1;
    conv.freeze = freeze;
    smooth.normalise = normalise;
    x = lsnn_smooth(net, lsnn_conv2d(net, x, 2, 3, &conv), LSNN_FREE, &smooth);
    x = leaky ? lsnn_leaky_relu(net, x, &act) : lsnn_relu(net, x, &act);
    if (dropout) x = lsnn_dropout(net, x, 0.5, NULL);
    lsnn_cross_entropy(net, lsnn_dense(net, x, 3, &dense), NULL);
    CHECK(build_net(net, 4, 2, 0) == LSNN_OK);
    return net;
}

/* Tensors of the same names and sizes of layers that compute something else.             */
static void test_other_graph(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = same_sizes(&cx, LSNN_NORMALISE_MEAN, 0, 0, 0), *second;
    CHECK(lsnn_net_save(net, path) == LSNN_OK);
    lsnn_net_free(net);
    second = same_sizes(&cx, LSNN_NORMALISE_SUM, 0, 0, 0);
    REFUSED(&cx, lsnn_net_read(second, path) != LSNN_OK, LSNN_ESTATE,
            "'smooth1' has normalise=2");
    lsnn_net_free(second);
    second = same_sizes(&cx, LSNN_NORMALISE_NONE, 0, 0, 0);
    REFUSED(&cx, lsnn_net_read(second, path) != LSNN_OK, LSNN_ESTATE, "normalise=2");
    lsnn_net_free(second);
    second = same_sizes(&cx, LSNN_NORMALISE_MEAN, 0, 0, 1);
    REFUSED(&cx, lsnn_net_read(second, path) != LSNN_OK, LSNN_ESTATE, "'act1' has relu");
    lsnn_net_free(second);
    net = same_sizes(&cx, LSNN_NORMALISE_NONE, 0, 0, 0);        /* and the other way round */
    CHECK(lsnn_net_save(net, other) == LSNN_OK);
    lsnn_net_free(net);
    second = same_sizes(&cx, LSNN_NORMALISE_MEAN, 0, 0, 0);
    REFUSED(&cx, lsnn_net_read(second, other) != LSNN_OK, LSNN_ESTATE, "has not normalise=2");
    lsnn_net_free(second);
    remove(other);
    second = same_sizes(&cx, LSNN_NORMALISE_MEAN, 1, 1, 0);     /* only training differs   */
    CHECK(lsnn_net_read(second, path) == LSNN_OK);
    lsnn_net_free(second);
    remove(path);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("layers of the same sizes that compute something else are refused");
}

/* A number that prediction depends on: which 0 stride, 1 eps, 2 slope, given as `v`.     */
static lsnn_net *one_number(lsnn_ctx *cx, int which, double v)
{
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_options o = named("it");
    int x = lsnn_input(net, 1, 6, 6);
    o.padding = which == 0 ? LSNN_SAME : LSNN_VALID;
    if (which == 0) o.stride_h = (int)v;
    if (which == 1) o.eps = v;
    if (which == 2) o.slope = v;
    x = which == 0 ? lsnn_conv2d(net, x, 2, 3, &o) : which == 1 ? lsnn_batch_norm(net, x, &o)
                                                                : lsnn_leaky_relu(net, x, &o);
    lsnn_dense(net, lsnn_avg_pool(net, x, 0, NULL), 2, NULL);
    CHECK(build_net(net, 2, 1, 0) == LSNN_OK);
    return net;
}
static void test_numbers_differ(void)
{
    static const double value[3][2] = { { 1, 2 }, { 0.1, 0.2 }, { 0.1, 0.2 } };
    static const char *const word[3] = { "stride_h=", "eps=0.1", "slope=0.1" };
    lsnn_ctx cx = quiet_ctx();
    for (int which = 0; which < 3; which++) {
        lsnn_net *net = one_number(&cx, which, value[which][0]);
        lsnn_net *same = one_number(&cx, which, value[which][0]);
        lsnn_net *differs = one_number(&cx, which, value[which][1]);
        CHECK(lsnn_net_save(net, other) == LSNN_OK);
        CHECK(lsnn_net_read(same, other) == LSNN_OK);
        REFUSED(&cx, lsnn_net_read(differs, other) != LSNN_OK, LSNN_ESTATE, word[which]);
        lsnn_net_free(net);
        lsnn_net_free(same);
        lsnn_net_free(differs);
    }
    remove(other);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("another stride, eps or slope is another net");
}

/* ---- other people's files, and parts ------------------------------------------------------ */
static lsnn_net *two_layers(lsnn_ctx *cx, int classes, uint64_t seed)
{
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_options norm = named("norm"), body = named("body"), head = named("head");
    int x = lsnn_batch_norm(net, lsnn_input(net, 3, 1, 1), &norm);
    x = lsnn_tanh(net, lsnn_dense(net, x, 4, &body), NULL);
    lsnn_cross_entropy(net, lsnn_dense(net, x, classes, &head), NULL);
    CHECK(build_net(net, 2, seed, 0) == LSNN_OK);
    return net;
}

/* Writes net's tensors as a file from elsewhere: without a graph, by other names, with an
   integer and a tensor that the net has not. cut: so many tensors are left out.          */
static void write_foreign(lsnn_ctx *cx, lsnn_net *net, const char *prefix, int cut)
{
    lsnn_tensor t[16];
    char names[16][64];
    lsnn_file f;
    int count = 0;
    CHECK(lsnn_net_save(net, path) == LSNN_OK && lsnn_file_read(cx, &f, path) == LSNN_OK);
    for (int i = 0; i < f.tensors - cut && i < 15; i++) {
        snprintf(names[count], 64, "%s%.50s", prefix, f.tensor[i].name);
        t[count] = f.tensor[i];
        t[count].name = names[count];
        count++;
    }
    t[count] = t[0];
    t[count++].name = "more.than.the.net";
    CHECK(lsnn_file_write(cx, other, t, count, NULL, 0) == LSNN_OK);
    lsnn_file_free(cx, &f);
}

static void test_foreign(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = two_layers(&cx, 3, 1), *second = two_layers(&cx, 3, 2);
    lsnn_pair map[8];
    char names[8][64];
    lsnn_read_desc d;
    int taken = -1, count = 0;
    lsnn_real *before;
    memset(&d, 0, sizeof d);
    write_foreign(&cx, net, "", 0);
    CHECK(lsnn_net_read(second, other) == LSNN_OK && net_is(second, net_values(net)));
    lsnn_net_free(second);
    second = two_layers(&cx, 3, 2);
    write_foreign(&cx, net, "model.", 0);                        /* by other names        */
    before = net_values(second);
    REFUSED(&cx, lsnn_net_read(second, other) != LSNN_OK, LSNN_EFORMAT, "no tensor");
    d.partial = 1;
    d.taken = &taken;
    REFUSED(&cx, lsnn_net_read_as(second, other, &d) != LSNN_OK, LSNN_EFORMAT, "none of its");
    CHECK(taken == 0 && net_is(second, before));
    d.partial = 0;
    for (int kind = 0; kind < 2; kind++)
        for (int i = 0; lsnn_net_param_name(net, kind, i, NULL); i++, count++) {
            map[count].key = lsnn_net_param_name(net, kind, i, NULL);
            snprintf(names[count], 64, "model.%.50s", map[count].key);
            map[count].value = names[count];
        }
    CHECK(count == 8);
    d.names = map;
    d.name_count = count;
    CHECK(lsnn_net_read_as(second, other, &d) == LSNN_OK && taken == 8);
    CHECK(net_is(second, net_values(net)));
    lsnn_net_free(second);
    second = two_layers(&cx, 3, 2);
    map[3].value = NULL;                                         /* but for one of them   */
    CHECK(lsnn_net_read_as(second, other, &d) == LSNN_OK && taken == 7);
    map[3].value = "model.nothing";
    before = net_values(second);
    REFUSED(&cx, lsnn_net_read_as(second, other, &d) != LSNN_OK, LSNN_EFORMAT, "model.nothing");
    map[3].value = names[2];
    REFUSED(&cx, lsnn_net_read_as(second, other, &d) != LSNN_OK, LSNN_ESHAPE, "sizes");
    map[3].value = NULL;
    map[2].key = "nobody.weight";
    REFUSED(&cx, lsnn_net_read_as(second, other, &d) != LSNN_OK, LSNN_ENAME, "nobody.weight");
    CHECK(net_is(second, before));
    lsnn_net_free(second);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    remove(path);
    remove(other);
    test_end("files from elsewhere: more tensors, other names");
}

/* A net of 10 classes begins from one of 3: all is taken but its last layer.             */
static void test_partial(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = two_layers(&cx, 3, 1), *second = two_layers(&cx, 10, 2);
    lsnn_real a[40], b[40];
    lsnn_read_desc d;
    int taken = 0;
    memset(&d, 0, sizeof d);
    d.taken = &taken;
    CHECK(lsnn_net_save(net, path) == LSNN_OK);
    REFUSED(&cx, lsnn_net_read_as(second, path, &d) != LSNN_OK, LSNN_ESTATE, "filters=3");
    REFUSED(&cx, lsnn_net_read_as(second, path, NULL) != LSNN_OK, LSNN_ESHAPE, "head.weight");
    d.partial = 1;
    CHECK(lsnn_net_get(second, "head.weight", b, 40) == LSNN_OK);
    CHECK(lsnn_net_read_as(second, path, &d) == LSNN_OK && taken == 6);
    CHECK(lsnn_net_get(second, "head.weight", a, 40) == LSNN_OK && same_bits(a, b, 40));
    CHECK(lsnn_net_get(second, "body.weight", a, 12) == LSNN_OK);
    CHECK(lsnn_net_get(net, "body.weight", b, 12) == LSNN_OK && same_bits(a, b, 12));
    lsnn_net_free(second);
    second = two_layers(&cx, 3, 2);
    write_foreign(&cx, net, "", 2);                              /* a part of a file      */
    REFUSED(&cx, lsnn_net_read(second, other) != LSNN_OK, LSNN_EFORMAT, "no tensor");
    CHECK(lsnn_net_read_as(second, other, &d) == LSNN_OK && taken == 6);
    lsnn_net_free(second);
    lsnn_net_free(net);
    net = same_sizes(&cx, LSNN_NORMALISE_MEAN, 0, 0, 0);         /* the same sizes, but   */
    second = same_sizes(&cx, LSNN_NORMALISE_SUM, 0, 0, 0);       /*   another smoother    */
    CHECK(lsnn_net_save(net, path) == LSNN_OK);
    CHECK(lsnn_net_get(second, "smooth1.theta", b, 10) == LSNN_OK);
    CHECK(lsnn_net_read_as(second, path, &d) == LSNN_OK && taken == 3);
    CHECK(lsnn_net_get(second, "smooth1.theta", a, 10) == LSNN_OK && same_bits(a, b, 10));
    lsnn_net_free(second);
    lsnn_net_free(net);
    REFUSED(&cx, lsnn_net_read_as(net = lsnn_net_new(&cx), path, &d) != LSNN_OK, LSNN_ESTATE,
            "build");
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    remove(path);
    remove(other);
    test_end("a part of a file: what has the name, the sizes and the options");
}

/* ---- locales ------------------------------------------------------------------------------
   A comma, or U+066B of Arabic and Persian, two bytes: the files are the same, byte for byte,
   and are read.                                                                         */
static lsnn_net *fractions(lsnn_ctx *cx)
{
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_options o = named("norm"), leaky = named("leaky");
    int x = lsnn_input(net, 1, 6, 6);
    o.eps = 0.25;
    o.momentum = 1.0 / 3;
    leaky.slope = 1.5e-7;
    lsnn_dense(net, lsnn_leaky_relu(net, lsnn_batch_norm(net, x, &o), &leaky), 2, NULL);
    CHECK(build_net(net, 2, 1, 0) == LSNN_OK);
    return net;
}
static void test_locales(void)
{
    static const char *const points[] = { ".", ",", "\xD9\xAB" };
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = fractions(&cx);
    double v;
    for (int i = 0; i < 3; i++) {
        point = points[i];
        CHECK(lsnn_net_export_c(net, i ? other : path, NULL) == LSNN_OK);
        if (i) CHECK(same_files(path, other));
    }
    for (int i = 0; i < 3; i++) {
        point = points[i];
        CHECK(lsnn_net_save(net, i ? other : path) == LSNN_OK);
        if (i) CHECK(same_files(path, other));
        for (int j = 0; j < 3; j++) {
            lsnn_net *again;
            point = points[j];
            again = load(&cx, i ? other : path, 2, 0);
            CHECK(again && lsnn_net_read(again, path) == LSNN_OK);
            if (again && j == 0) CHECK(again->node[1].plan.o.momentum == 1.0 / 3);
            lsnn_net_free(again);
            CHECK(lsnni_parse_number("-12.5e-3", &v) && v == -12.5e-3);
            CHECK(lsnni_parse_number("7", &v) && v == 7 && lsnni_parse_number(".5", &v));
            CHECK(!lsnni_parse_number("1.5.5", &v) && !lsnni_parse_number("1,5", &v));
            CHECK(!lsnni_parse_number("1\xD9\xAB" "5", &v) && !lsnni_parse_number("", &v));
        }
    }
    point = ".";
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    remove(path);
    remove(other);
    test_end("locales: a comma or U+066B for a point, the same nets and the same C");
}

/* ---- graphs ----------------------------------------------------------------------------- */
static lsnn_status load_graph(const char *graph, const char *out, char message[400])
{
    lsnn_ctx cx = modest_ctx();
    lsnn_pair meta[2];
    lsnn_net *net;
    lsnn_status s;
    meta[0].key = "lsnn.graph"; meta[0].value = graph;
    meta[1].key = "lsnn.output"; meta[1].value = out;
    CHECK(lsnn_file_write(&cx, other, NULL, 0, meta, out ? 2 : 1) == LSNN_OK);
    net = load(&cx, other, BATCH, 0);
    s = net ? LSNN_OK : cx.status;
    CHECK(net || cx.status != LSNN_OK);
    if (message) snprintf(message, 400, "%s", cx.message);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    return s;
}

static void test_graphs(void)
{
    static const struct { const char *graph, *out, *needle; } bad[] = {
        { "", "a", "lsnn.graph" },
        { "\n", "a", "first line" },
        { "input input 1 4 4", "input", "no layers" },
        { "input input 1 4\na relu x=input", "a", "first line" },
        { "input input 0 4 4\na relu x=input", "a", "first line" },
        { "input input -1 4 4\na relu x=input", "a", "first line" },
        { "input input 1 1e9 4\na relu x=input", "a", "" },
        { "input input nan 4 4\na relu x=input", "a", "first line" },
        { "input input 1 4x 4\na relu x=input", "a", "first line" },
        { "input input 100000 100000 100000\na relu x=input", "a", "" },
        { "input input 1 20000 20000\nb concat x=input,input,input,input,input,input,input\n",
          "b", "" },
        { "input input 1 4 4\na relux x=input", "a", "unknown layer type" },
        { "input input 1 4 4\na input x=input", "a", "unknown layer type" },
        { "input input 1 4 4\na", "a", "unknown layer type" },
        { "input input 1 4 4\n\n", "input", "unknown layer type" },
        { "input input 1 4 4\na relu", "a", "inputs" },
        { "input input 1 4 4\na relu x=", "a", "inputs" },
        { "input input 1 4 4\na relu x=b\nb relu x=a", "b", "no layer \"b\"" },
        { "input input 1 4 4\na relu x=a", "a", "no layer \"a\"" },
        { "input input 1 4 4\na relu x=input,input", "a", "1 to 1 inputs" },
        { "input input 1 4 4\na concat x=input,input,input,input,input,input,input,input,"
          "input,input,input,input,input,input,input,input,input", "a", "too many inputs" },
        { "input input 1 4 4\na relu x=input\na relu x=input", "a", "two layers" },
        { "input input 1 4 4\ninput relu x=input", "input", "two layers" },
        { "input input 1 4 4\na relu x=input slope=1", "a", "no option slope" },
        { "input input 1 4 4\na relu x=input speed=1", "a", "no option \"speed\"" },
        { "input input 1 4 4\na relu x=input keep", "a", "name=value" },
        { "input input 1 4 4\na relu x=input  keep=1", "a", "name=value" },
        { "input input 1 4 4\na leaky_relu x=input slope=fast", "a", "not a number" },
        { "input input 1 4 4\na leaky_relu x=input slope=nan", "a", "slope is not a finite number" },
        { "input input 1 4 4\na leaky_relu x=input slope=-1", "a", "slope" },
        { "input input 1 4 4\na conv2d x=input filters=1e300 kernel_h=3", "a", "not an int" },
        { "input input 1 4 4\na conv2d x=input filters=2e9 kernel_h=3", "a", "" },
        { "input input 1 4 4\na conv2d x=input filters=-2 kernel_h=3", "a", "" },
        { "input input 1 4 4\na conv2d x=input filters=2 kernel_h=9", "a", "'a'" },
        { "input input 1 4 4\na conv2d x=input filters=2 kernel_h=3 padding=9", "a",
          "padding" },
        { "input input 1 4 4\na conv2d x=input filters=2", "a", "'a'" },
        { "input input 1 4 4\na conv2d x=input filters=2 kernel_h=3 stride_h=-3", "a", "'a'" },
        { "input input 1 4 4\na conv2d x=input filters=2 kernel_h=3 padding=2 "
          "pad_top=2147483647", "a", "" },
        { "input input 1 4 4\na dense x=input filters=2 share=b", "a", "'b'" },
        { "input input 1 4 4\na dense x=input filters=2 share=a", "a", "share" },
        { "input input 1 4 4\na dense x=input filters=2147483647\n"
          "b dense x=a filters=2147483647", "b", "" },
        { "input input 1 4 4\na dense x=input filters=2", "a", "no tensor 'a.weight'" },
        { "input input 1 4 4\na slice x=input first=2147483647 count=2147483647", "a",
          "slice" },
        { "input input 1 4 4\na smooth x=input rank=-5", "a", "rank" },
        { "input input 1 4 4\na smooth x=input smooth_shape=97", "a", "shape 97" },
        { "input input 1 4 4\na smooth x=input mixture=-1", "a", "mixture of -1" },
        { "input input 1 4 4\na smooth x=input mixture=2 smooth_shape=1", "a", "no mixture" },
        { "input input 1 4 4\na smooth x=input normalise=7", "a", "normalise 7" },
        { "input input 1 4 4\na cross_entropy x=input head=-1", "input", "head" },
        { "input input 1 4 4\na cross_entropy x=input\nb relu x=a", "b", "loss" },
        { "input input 1 4 4\na b relu x=input", "a", "unknown layer type" },
        { "input input 1 4 4\na\tb relu x=input", "input", "character" },
        { "input input 1 4 4\na relu x=input", "b", "lsnn.output" },
        { "input input 1 4 4\na relu x=input", "", "lsnn.output" },
        { "input input 1 4 4\na relu x=input", NULL, "no net" },
    };
    char message[400];
    CHECK(load_graph("input input 1 4 4\na relu x=input", "a", message) == LSNN_OK);
    CHECK(load_graph("input input 1 4 4\na max_pool x=input\n", "a", message) == LSNN_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lsnn_status s = load_graph(bad[i].graph, bad[i].out, message);
        if (!CHECK(s < 0 && strstr(message, bad[i].needle)))
            printf("# status %d, \"%s\" for: %s\n", (int)s, message, bad[i].graph);
    }
    test_end("%d malformed graphs give a status", (int)(sizeof bad / sizeof *bad));
}

/* Long graphs: one layer after another, all from the input, empty lines, with parameters.   */
static void test_long_graphs(void)
{
    enum { LINES = 100000 };
    static const char *const line[] = { "r%d relu x=r%d\n", "r%d tanh x=r0\n", "\n",
                                        "r%d scale x=r0\n" };
    char *graph = (char *)malloc((size_t)LINES * 40);
    char message[400];
    double seconds = (double)clock();    /* the processor's: others may keep it busy        */
    for (int kind = 0; kind < 4; kind++) {
        size_t at = (size_t)sprintf(graph, "input input 1 4 4\nr0 relu x=input\n");
        for (int i = 1; i <= LINES; i++) {
            if (kind == 0) at += (size_t)sprintf(graph + at, line[0], i, i - 1);
            else if (kind == 2) at += (size_t)sprintf(graph + at, "%s", line[2]);
            else at += (size_t)sprintf(graph + at, kind == 1 ? line[1] : line[3], i);
        }
        CHECK(load_graph(graph, "r0", message) < 0);
        CHECK(strstr(message, kind == 2 ? "unknown layer type" : "at most") != NULL);
    }
    seconds = ((double)clock() - seconds) / CLOCKS_PER_SEC;
    free(graph);
    if (!CHECK(seconds < 60)) printf("# %.1f s\n", seconds);
    test_end("graphs of %d lines: an answer in time", (int)LINES);
}

/* Deterministic damage to a real net's graph, its tensors beside it: a status or a net that
   predicts.                                                                                  */
static void damage(char *text, lsnn_rng *r)
{
    static const char *const piece[] = {
        "0", "-1", "2147483647", "1e308", "nan", "x=", ",", " ",
        "\n", "=", "relu", "input", "share=conv", "filters=", "kernel_h=", "99999", "concat" };
    size_t n = strlen(text);
    int changes = 1 + lsnn_rng_int(r, 3);
    for (int i = 0; i < changes; i++) {
        size_t at = (size_t)lsnn_rng_int(r, (int)n), len = 1 + (size_t)lsnn_rng_int(r, 12);
        const char *p = piece[lsnn_rng_int(r, (int)(sizeof piece / sizeof *piece))];
        switch (lsnn_rng_int(r, 5)) {
        case 0: text[at] = (char)(' ' + lsnn_rng_int(r, 95)); break;
        case 1: if (at + len < n) memmove(text + at, text + at + len, n - at - len + 1); break;
        case 2: if (at + strlen(p) < n) memcpy(text + at, p, strlen(p)); break;
        case 3: text[at] = (char)('0' + lsnn_rng_int(r, 10)); break;
        default:
            if (n + len < 8000 && at + len < n) {                    /* say something twice  */
                memmove(text + at + len, text + at, n - at + 1);
            }
        }
        n = strlen(text);
        if (!n) break;
    }
}

static void test_fuzz(void)
{
    enum { ROUNDS = 3000 };
    static sample_batch s;
    static char text[9000];
    lsnn_ctx cx = modest_ctx();
    lsnn_real *y = new_reals(1 << 20);
    int loaded = 0;
    lsnn_file f;
    lsnn_net *net;
    draw_batch(&s, BATCH, 20 * 20, 8);
    for (int m = 3; m < MODELS; m++) {           /* LSNN-Content and the net of all types    */
        lsnn_rng r = lsnn_rng_at(1, "test", "fuzz", (uint32_t)m, 0);
        int graph = -1;
        net = model_net(&cx, m);
        CHECK(lsnn_net_save(net, path) == LSNN_OK);
        lsnn_net_free(net);
        CHECK(lsnn_file_read(&cx, &f, path) == LSNN_OK);
        for (int i = 0; i < f.metas; i++) if (!strcmp(f.meta[i].key, "lsnn.graph")) graph = i;
        for (int round = 0; round < ROUNDS && CHECK(graph >= 0); round++) {
            lsnn_ctx own = modest_ctx();
            const char *whole = f.meta[graph].value;
            lsnni_reader reader;
            lsnn_file changed = f;
            lsnn_status status;
            snprintf(text, sizeof text, "%s", whole);
            damage(text, &r);
            f.meta[graph].value = text;          /* as lsnn_net_load does, without the disk  */
            net = lsnn_net_new(&own);
            reader.net = net;
            reader.path = "fuzz";
            reader.types = types;
            reader.count = 1;
            status = lsnni_graph_read(&reader, &changed);
            if (status == LSNN_OK) status = lsnni_net_match(net, &changed, "fuzz");
            if (status == LSNN_OK) status = build_net(net, 2, 1, round % 2);
            if (status == LSNN_OK) status = lsnni_net_fill(net, &changed, "fuzz");
            CHECK((status == LSNN_OK) == (own.status == LSNN_OK) && status <= 0);
            f.meta[graph].value = whole;
            if (status == LSNN_OK) {
                lsnn_shape in = lsnn_net_shape(net, 0);
                lsnn_shape out = lsnn_net_shape(net, lsnn_net_output(net));
                loaded++;
                if (in.c * in.h * in.w <= 1600 && out.c * out.h * out.w <= 1 << 18)
                    lsnn_predict(net, s.x, 2, y);
            }
            lsnn_net_free(net);
            lsnn_ctx_free(&own);
        }
        lsnn_file_free(&cx, &f);
    }
    lsnn_ctx_free(&cx);
    free(y);
    CHECK(heap.live == 0);
    CHECK(loaded > 50 && loaded < ROUNDS);
    test_end("%d damaged graphs: a status, or a net that runs (%d)", 2 * (int)ROUNDS, loaded);
}

int main(void)
{
    const char *folder = getenv("TEST_TMP");
    snprintf(path, sizeof path, "%.500s/test_save.tmp.safetensors", folder ? folder : ".");
    snprintf(other, sizeof other, "%.500s/test_save.tmp.other.safetensors",
             folder ? folder : ".");
    test_round_trip();
    test_options_survive();
    test_precision();
    test_tensors();
    test_other_graph();
    test_numbers_differ();
    test_foreign();
    test_partial();
    test_locales();
    test_graphs();
    test_fuzz();
    test_long_graphs();
    remove(path);
    remove(other);
    return test_finish();
}
