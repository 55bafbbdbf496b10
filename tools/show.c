/* show.c - lists what a file of arrays holds, or compares two of them.

   Build: cc -O2 tools/show.c -o tools/show -lm
          (add -DLSNN_USE_ZLIB -lz to read IDX files that are packed, .gz)
   Run:   tools/show out/net.safetensors
          tools/show out/net.safetensors weights.npz

   Read are safetensors, NumPy's .npy and .npz, and IDX (MNIST's format), known by their first
   bytes. Two files need not be of one kind: arrays are compared by their names, value by
   value; a .npy or IDX file holds no name, and is compared with the only one of the other.
   NaN equals NaN.
   Arrays of integers in safetensors and .npz files are named, not read.
   Exit status: 0 done, and the files are equal; 1 they differ; 2 a file cannot be read, or a
   flag is wrong.                                                                        */
#define LSNN_DOUBLE                      /* so that an F64 loses nothing                 */
#define LSNN_NO_SIMD
#define LSNN_IMPLEMENTATION
#include "../lsnn.h"
#include "../examples/app.h"

typedef struct archive {
    const char *path, *kind;
    lsnn_file f;                         /* all but IDX                                  */
    lsnn_idx idx;
    lsnn_tensor pixels;                  /* an IDX file's array; its values stand in idx.v */
    const lsnn_tensor *tensor;
    int tensors;
} archive;

static double value(const archive *a, const lsnn_tensor *t, size_t i)
{
    return a->idx.v ? (double)a->idx.v[i] : t->v[i];
}

/* ---- reading -----------------------------------------------------------------------*/
/* By the first bytes. NULL: it cannot be read, which has been said.                     */
static const char *kind_of(const app *a, const char *path)
{
    unsigned char b[8] = { 0 };
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(b, 1, 8, f) : 0;
    int failed = !f || ferror(f);
    const char *why = strerror(errno);
    if (f) fclose(f);
    if (failed) {
        app_refuse(a, "cannot read %s: %s", path, why);
        return NULL;
    }
    if (n >= 6 && memcmp(b, "\x93NUMPY", 6) == 0) return "npy";
    if (n >= 4 && memcmp(b, "PK", 2) == 0) return "npz";
    if (b[0] == 0x1F && b[1] == 0x8B) return "IDX, packed";
    if (n >= 4 && !b[0] && !b[1] && b[2] >= 8 && b[2] <= 14) return "IDX";
    if (n == 8 && !b[5] && !b[6] && !b[7]) return "safetensors";    /* its header's length */
    app_refuse(a, "%s is no safetensors, npy, npz or IDX file", path);
    return NULL;
}

static lsnn_status read_idx(lsnn_ctx *cx, archive *r)
{
    lsnn_tensor *t = &r->pixels;
    const char *slash = strrchr(r->path, '/');
    lsnn_status s = lsnn_idx_read(cx, &r->idx, r->path);
    if (s != LSNN_OK) return s;
    t->name = slash ? slash + 1 : r->path;
    t->rank = r->idx.rank;
    t->count = 1;
    t->dims = t->dim;
    t->dtype = "U8";
    for (int i = 0; i < t->rank; i++) t->count *= (size_t)(t->dim[i] = r->idx.dim[i]);
    r->tensor = t;
    r->tensors = 1;
    return LSNN_OK;
}

static int read_archive(const app *a, lsnn_ctx *cx, archive *r, const char *path)
{
    memset(r, 0, sizeof *r);
    r->path = path;
    r->kind = kind_of(a, path);
    if (!r->kind) return 0;
    if (strncmp(r->kind, "IDX", 3) == 0) return read_idx(cx, r) == LSNN_OK;
    if (lsnn_file_read(cx, &r->f, path) != LSNN_OK) return 0;
    r->tensor = r->f.tensor;
    r->tensors = r->f.tensors;
    return 1;
}

static void free_archive(lsnn_ctx *cx, archive *r)
{
    lsnn_file_free(cx, &r->f);
    lsnn_idx_free(cx, &r->idx);
}

/* ---- listing ------------------------------------------------------------------------*/
static void put_shape(char *text, size_t room, const lsnn_tensor *t)
{
    size_t n = 0;
    snprintf(text, room, "scalar");
    for (int i = 0; i < t->rank && n < room; i++)
        n += (size_t)snprintf(text + n, room - n, i ? "x%d" : "%d", t->dims[i]);
}

static int widest(const archive *r)
{
    size_t n = 4;
    for (int i = 0; i < r->tensors; i++)
        if (strlen(r->tensor[i].name) > n) n = strlen(r->tensor[i].name);
    for (int i = 0; i < r->f.skips; i++)
        if (strlen(r->f.skipped[i].key) > n) n = strlen(r->f.skipped[i].key);
    return (int)(n < 60 ? n : 60);
}

/* Smallest, largest and mean of the values that are numbers.                            */
static void list_tensor(const archive *r, const lsnn_tensor *t, int width)
{
    double low = HUGE_VAL, high = -HUGE_VAL, sum = 0;
    size_t nans = 0;
    char shape[80];
    for (size_t i = 0; i < t->count; i++) {
        double v = value(r, t, i);
        if (v != v) { nans++; continue; }
        low = fmin(low, v);
        high = fmax(high, v);
        sum += v;
    }
    put_shape(shape, sizeof shape, t);
    printf("  %-*s  %-4s  %-14s", width, t->name, t->dtype, shape);
    if (nans < t->count)
        printf("  %11.5g  %11.5g  %11.5g", low, high, sum / (double)(t->count - nans));
    else
        printf("  %11s  %11s  %11s", "-", "-", "-");
    printf("  %6lu\n", (unsigned long)nans);
}

/* A value of the metadata; one of several lines is indented.                            */
static void list_pair(const lsnn_pair *p)
{
    const char *line = p->value;
    printf("  %s:%s", p->key, strchr(line, '\n') ? "\n    " : " ");
    for (; *line; line++) {
        if (*line != '\n') putchar(*line);
        else if (line[1]) printf("\n    ");
    }
    printf("\n");
}

static void list(const archive *r)
{
    int width = widest(r);
    double count = 0;
    for (int i = 0; i < r->tensors; i++) count += (double)r->tensor[i].count;
    printf("%s: %s, %d array%s, %.0f values\n", r->path, r->kind, r->tensors,
           r->tensors == 1 ? "" : "s", count);
    printf("  %-*s  %-4s  %-14s  %11s  %11s  %11s  %6s\n", width, "name", "type", "shape", "min",
           "max", "mean", "NaN");
    for (int i = 0; i < r->tensors; i++) list_tensor(r, &r->tensor[i], width);
    for (int i = 0; i < r->f.skips; i++)
        printf("  %-*s  %s, not read\n", width, r->f.skipped[i].key, r->f.skipped[i].value);
    if (r->f.metas) printf("metadata\n");
    for (int i = 0; i < r->f.metas; i++) list_pair(&r->f.meta[i]);
}

/* ---- comparing ------------------------------------------------------------------------*/
/* 1: one array each, and a file that holds no names.                                   */
static int nameless(const archive *a, const archive *b)
{
    const char *kinds = "npy IDX, packed";
    return a->tensors == 1 && b->tensors == 1 &&
        (strstr(kinds, a->kind) || strstr(kinds, b->kind));
}

static const lsnn_tensor *find(const archive *r, const char *name)
{
    for (int i = 0; i < r->tensors; i++)
        if (strcmp(r->tensor[i].name, name) == 0) return &r->tensor[i];
    return NULL;
}

static int same_shape(const lsnn_tensor *t, const lsnn_tensor *o)
{
    for (int i = 0; t->rank == o->rank && i < t->rank; i++)
        if (t->dims[i] != o->dims[i]) return 0;
    return t->rank == o->rank;
}

/* The line of one array; 1 if it differs. A difference is relative to the larger of the two
   values; of a NaN or an infinity to anything else it is infinite.                      */
static int compare_values(const archive *a, const lsnn_tensor *t, const archive *b,
                          const lsnn_tensor *o, int width)
{
    double most = 0, relative = 0;
    size_t differ = 0;
    for (size_t i = 0; i < t->count; i++) {
        double v = value(a, t, i), w = value(b, o, i), d;
        if (v == w || (v != v && w != w)) continue;
        d = fabs(v - w);
        differ++;
        if (!(d < HUGE_VAL)) d = HUGE_VAL;
        most = fmax(most, d);
        relative = fmax(relative, d < HUGE_VAL ? d / fmax(fabs(v), fabs(w)) : HUGE_VAL);
    }
    printf("  %-*s  ", width, t->name);
    if (strcmp(t->dtype, o->dtype) != 0) printf("%s and %s: ", t->dtype, o->dtype);
    if (differ) printf("%lu of %lu values differ, by up to %.3g, relative %.3g\n",
                       (unsigned long)differ, (unsigned long)t->count, most, relative);
    else printf("equal\n");
    return differ > 0;
}

static int compare_tensor(const archive *a, const lsnn_tensor *t, const archive *b, int width)
{
    const lsnn_tensor *o = nameless(a, b) ? b->tensor : find(b, t->name);
    char mine[80], other[80];
    if (o && same_shape(t, o)) return compare_values(a, t, b, o, width);
    printf("  %-*s  ", width, t->name);
    if (!o) {
        printf("only in %s\n", a->path);
        return 1;
    }
    put_shape(mine, sizeof mine, t);
    put_shape(other, sizeof other, o);
    printf("shapes differ: %s and %s\n", mine, other);
    return 1;
}

static const lsnn_pair *find_skipped(const archive *r, const char *name)
{
    for (int i = 0; i < r->f.skips; i++)
        if (strcmp(r->f.skipped[i].key, name) == 0) return &r->f.skipped[i];
    return NULL;
}

/* What was not read differs if its type does; else that cannot be told.                 */
static int compare_skipped(const archive *a, const lsnn_pair *p, const archive *b, int width)
{
    const lsnn_pair *q = find_skipped(b, p->key);
    int same = q && strcmp(p->value, q->value) == 0;
    printf("  %-*s  %s", width, p->key, p->value);
    if (same) printf(" in both, not read\n");
    else if (q) printf(" and %s\n", q->value);
    else printf(", only in %s\n", a->path);
    return !same;
}

/* Metadata count where both have the key: another file format has none.                 */
static int compare_meta(const archive *a, const archive *b)
{
    int differ = 0;
    for (int i = 0; i < a->f.metas; i++) {
        const char *other = lsnn_file_meta(&b->f, a->f.meta[i].key);
        if (!other || strcmp(other, a->f.meta[i].value) == 0) continue;
        printf("  metadata \"%s\" differ\n", a->f.meta[i].key);
        differ++;
    }
    return differ;
}

static int compare(const archive *a, const archive *b)
{
    int width = widest(a) > widest(b) ? widest(a) : widest(b), differ = 0;
    printf("%s (%s) and %s (%s)\n", a->path, a->kind, b->path, b->kind);
    for (int i = 0; i < a->tensors; i++) differ += compare_tensor(a, &a->tensor[i], b, width);
    for (int i = 0; i < b->tensors && !nameless(a, b); i++)
        if (!find(a, b->tensor[i].name)) differ += compare_tensor(b, &b->tensor[i], a, width);
    for (int i = 0; i < a->f.skips; i++)
        differ += compare_skipped(a, &a->f.skipped[i], b, width);
    for (int i = 0; i < b->f.skips; i++)
        if (!find_skipped(a, b->f.skipped[i].key))
            differ += compare_skipped(b, &b->f.skipped[i], a, width);
    differ += compare_meta(a, b);
    if (differ) printf("different: %d\n", differ);
    else printf(a->f.skips ? "equal, but for what was not read\n" : "equal\n");
    return differ > 0;
}

int main(int argc, char **argv)
{
    static lsnn_ctx cx;
    static app a;
    archive file[2];
    int status;
    app_init(&a, "show", "lists a safetensors, npy, npz or IDX file, or compares two",
             "out/net.safetensors weights.npz");
    a.takes = "";
    a.word_names = "FILE [OTHER]";
    status = app_parse(&a, argc, argv, NULL, 0);
    if (status != APP_GO) return status;
    for (int i = 0; i < a.words; i++)
        if (!read_archive(&a, &cx, &file[i], a.word[i])) return 2;
    status = a.words > 1 ? compare(&file[0], &file[1]) : 0;
    if (a.words == 1) list(&file[0]);
    for (int i = 0; i < a.words; i++) free_archive(&cx, &file[i]);
    lsnn_ctx_free(&cx);
    return app_printed(&a) ? status : 2;
}
