/* ============================================================================
   >>data  arrays, IDX files, built-in digits, recipes
   ==========================================================================*/
#ifndef LSNN_NO_DATA

/* ---- >>data-sets: arrays, parts ----------------------------------------------
   What a data set owns is one small block that its fetch reads: no fetch writes
   anything that another could see, so any number may run at once.             */
typedef struct lsnni_data_user {
    const lsnn_real *x;              /* arrays                                */
    const int *labels;
    const unsigned char *pixels, *bytes;     /* IDX: in place of x and labels */
    const lsnn_data *whole;          /* part, split                           */
    int first;
    const int *index;                /* split: whose samples, in this block   */
    size_t size, heads;              /* numbers an image, labels an image     */
} lsnni_data_user;

LSNN_API void lsnn_data_free(lsnn_data *d)
{
    if (!d) return;
    lsnni_free_by(&d->mem_, d->owned_);
    memset(d, 0, sizeof *d);
}

/* Numbers in an image; 0 if it is no size.                                   */
static size_t lsnni_shape_size(lsnn_shape s)
{
    size_t n = 1;
    if (s.c < 1 || s.h < 1 || s.w < 1 || !lsnni_mul(&n, (size_t)s.c) ||
        !lsnni_mul(&n, (size_t)s.h) || !lsnni_mul(&n, (size_t)s.w)) return 0;
    return n;
}

/* The common part of a data set; its block, with `more` bytes behind it, is returned, NULL on
   failure.                                                                   */
static lsnni_data_user *lsnni_data_block(lsnn_ctx *cx, lsnn_data *d, int count,
                                         lsnn_shape shape, int heads, int classes, size_t more)
{
    lsnni_data_user *u = (lsnni_data_user *)lsnni_alloc(cx, 1, sizeof *u + more);
    if (!u) return NULL;
    u->heads = (size_t)heads;
    u->size = lsnni_shape_size(shape);
    d->count = count;
    d->shape = shape;
    d->heads = heads;
    d->classes = classes;
    d->user = d->owned_ = u;
    d->mem_ = cx->mem;
    return u;
}

static lsnni_data_user *lsnni_data_new(lsnn_ctx *cx, lsnn_data *d, int count,
                                       lsnn_shape shape, int heads, int classes)
{
    return lsnni_data_block(cx, d, count, shape, heads, classes, 0);
}

static void lsnni_pixels(lsnn_real *x, const unsigned char *pixels, size_t count)
{
    for (size_t i = 0; i < count; i++) x[i] = LSNNI_R(pixels[i]) / 255;
}

static void lsnni_fetch_memory(const void *user, uint32_t epoch, int index, lsnn_real *x,
                               int *labels, lsnn_real *targets)
{
    const lsnni_data_user *u = (const lsnni_data_user *)user;
    size_t image = (size_t)index * u->size, label = (size_t)index * u->heads;
    (void)epoch;
    (void)targets;
    if (u->x) memcpy(x, u->x + image, u->size * sizeof *x);
    else lsnni_pixels(x, u->pixels + image, u->size);
    for (size_t i = 0; labels && i < u->heads; i++)
        labels[i] = u->labels ? u->labels[label + i] : u->bytes[label + i];
}

LSNN_API lsnn_status lsnn_data_arrays(lsnn_ctx *cx, lsnn_data *d, const lsnn_real *x,
                                      const int *labels, int count, lsnn_shape shape,
                                      int heads, int classes)
{
    lsnni_data_user *u;
    size_t total = lsnni_shape_size(shape);
    memset(d, 0, sizeof *d);
    if (!x) return lsnni_fail(cx, LSNN_EVALUE, "lsnn_data_arrays: x is NULL");
    if (heads > 0 && !labels)
        return lsnni_fail(cx, LSNN_EVALUE, "lsnn_data_arrays: labels is NULL, for %d heads", heads);
    if (count < 1 || !total || !lsnni_mul(&total, (size_t)count))
        return lsnni_fail(cx, LSNN_ESHAPE, "lsnn_data_arrays: count %d, shape %d x %d x %d: one is "
                          "not positive, or they are too large", count, shape.c, shape.h, shape.w);
    if (heads < 0 || heads > LSNN_MAX_HEADS || (heads > 0 && classes < 1))
        return lsnni_fail(cx, LSNN_EVALUE, "lsnn_data_arrays: heads %d (0 to %d), classes %d",
                          heads, (int)LSNN_MAX_HEADS, classes);
    for (size_t i = 0; i < (size_t)count * (size_t)heads; i++)
        if (labels[i] < 0 || labels[i] >= classes)
            return lsnni_fail(cx, LSNN_EVALUE, "lsnn_data_arrays: label %d of sample %.0f is "
                              "not in [0, %d)", labels[i], (double)(i / (size_t)heads),
                              classes);
    u = lsnni_data_new(cx, d, count, shape, heads, classes);
    if (!u) return cx->last_;
    u->x = x;
    u->labels = labels;
    d->fetch = lsnni_fetch_memory;
    return LSNN_OK;
}

static void lsnni_fetch_part(const void *user, uint32_t epoch, int index, lsnn_real *x,
                             int *labels, lsnn_real *targets)
{
    const lsnni_data_user *u = (const lsnni_data_user *)user;
    int at = u->index ? u->index[index] : u->first + index;
    u->whole->fetch(u->whole->user, epoch, at, x, labels, targets);
}

LSNN_API lsnn_status lsnn_data_part(lsnn_ctx *cx, lsnn_data *d, const lsnn_data *whole,
                                    int first, int count)
{
    lsnni_data_user *u;
    memset(d, 0, sizeof *d);
    if (!whole) return lsnni_fail(cx, LSNN_EVALUE, "lsnn_data_part: the whole is NULL");
    if (first < 0 || count < 1 || first > whole->count || count > whole->count - first)
        return lsnni_fail(cx, LSNN_EVALUE, "lsnn_data_part: %d samples from number %d on, of "
                          "a set that has %d", count, first, whole->count);
    u = lsnni_data_new(cx, d, count, whole->shape, whole->heads, whole->classes);
    if (!u) return cx->last_;
    u->whole = whole;
    u->first = first;
    d->target_count = whole->target_count;
    d->fetch = lsnni_fetch_part;
    return LSNN_OK;
}

/* ---- split: a draw a group orders the groups; the first ones are held out ------------*/
typedef struct lsnni_draw { double u; int group, sample; } lsnni_draw;

static int lsnni_draw_order(const void *a, const void *b)
{
    const lsnni_draw *x = (const lsnni_draw *)a, *y = (const lsnni_draw *)b;
    if (x->u < y->u || x->u > y->u) return x->u < y->u ? -1 : 1;
    if (x->group != y->group) return x->group < y->group ? -1 : 1;
    return x->sample < y->sample ? -1 : x->sample > y->sample;
}

/* Samples [first, first + count) of the drawn order as a set, in their own order. */
static lsnn_status lsnni_data_pick(lsnn_ctx *cx, lsnn_data *d, const lsnn_data *whole,
                                   const lsnni_draw *order, int first, int count)
{
    lsnni_data_user *u = lsnni_data_block(cx, d, count, whole->shape, whole->heads,
                                          whole->classes, (size_t)whole->count * sizeof(int));
    int *index = u ? (int *)(void *)(u + 1) : NULL, at = 0;
    if (!u) return LSNN_ENOMEM;
    u->whole = whole;
    u->index = index;
    memset(index, 0, (size_t)whole->count * sizeof *index);
    for (int i = first; i < first + count; i++) index[order[i].sample] = 1;
    for (int i = 0; i < whole->count; i++) if (index[i]) index[at++] = i;
    d->target_count = whole->target_count;
    d->fetch = lsnni_fetch_part;
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_data_split(lsnn_ctx *cx, lsnn_data *kept, lsnn_data *held,
                                     const lsnn_data *whole, const int *group, int count,
                                     uint64_t seed)
{
    lsnni_draw *order;
    lsnn_status s;
    memset(kept, 0, sizeof *kept);
    memset(held, 0, sizeof *held);
    if (!whole) return lsnni_fail(cx, LSNN_EVALUE, "lsnn_data_split: the whole is NULL");
    if (count < 1 || count >= whole->count)
        return lsnni_fail(cx, LSNN_EVALUE, "lsnn_data_split: %d samples held out, of %d: give 1 "
                          "or more, and leave some", count, whole->count);
    order = (lsnni_draw *)lsnni_alloc(cx, (size_t)whole->count, sizeof *order);
    if (!order) return LSNN_ENOMEM;
    for (int i = 0; i < whole->count; i++) {
        int g = group ? group[i] : i;
        lsnn_rng r = lsnn_rng_at(seed, "split", "", 0, (uint32_t)g);
        order[i].u = lsnn_rng_uniform(&r);
        order[i].group = g;
        order[i].sample = i;
    }
    qsort(order, (size_t)whole->count, sizeof *order, lsnni_draw_order);
    while (count < whole->count && order[count].group == order[count - 1].group) count++;
    s = count < whole->count ? LSNN_OK
        : lsnni_fail(cx, LSNN_EVALUE, "lsnn_data_split: with whole groups nothing would be left");
    if (s == LSNN_OK) s = lsnni_data_pick(cx, held, whole, order, 0, count);
    if (s == LSNN_OK) s = lsnni_data_pick(cx, kept, whole, order, count, whole->count - count);
    if (s != LSNN_OK && held->fetch) lsnn_data_free(held);
    lsnni_free(cx, order);
    return s;
}

/* ---- >>idx: MNIST's file format -----------------------------------------------
   0 0 8 rank, then `rank` sizes of four bytes, the highest first, then the
   bytes. A header is believed only as far as the file bears it out: the block
   grows with what has been read.                                             */
/* Reads `bytes` bytes, all of them: `what` they are.                         */
static lsnn_status lsnni_idx_need(lsnn_ctx *cx, lsnni_gz *in, void *to, size_t bytes,
                                  const char *what)
{
    if (lsnni_gz_get(in, to, bytes) == bytes) return LSNN_OK;
    LSNNI_TRY(lsnni_gz_error(cx, in));
    return lsnni_fail(cx, LSNN_EFORMAT, "%s: ends within its %s", in->shown, what);
}

/* Product of a's sizes into *bytes. bad: what a wrong one is.                */
static lsnn_status lsnni_idx_check(lsnn_ctx *cx, lsnn_status bad, const lsnn_idx *a,
                                   const char *path, size_t *bytes)
{
    *bytes = 1;
    if (a->rank < 1 || a->rank > 4)
        return lsnni_fail(cx, bad, "%s: rank %d is not in 1..4", path, a->rank);
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] < 1 || !lsnni_mul(bytes, (size_t)a->dim[i]))
            return lsnni_fail(cx, bad, "%s: size %d of its %d is not in 1..%d, or "
                              "the product overflows", path, i + 1, a->rank, INT_MAX);
    return LSNN_OK;
}

static lsnn_status lsnni_idx_head(lsnn_ctx *cx, lsnn_idx *a, lsnni_gz *in, size_t *bytes)
{
    unsigned char b[16];
    LSNNI_TRY(lsnni_idx_need(cx, in, b, 4, "first four bytes"));
#ifndef LSNN_USE_ZLIB
    if (b[0] == 0x1f && b[1] == 0x8b)
        return lsnni_fail(cx, LSNN_EUNSUPPORTED, "%s: is compressed: build with "
                          "-DLSNN_USE_ZLIB -lz, or gunzip it", in->shown);
#endif
    if (b[0] || b[1] || b[2] != 8 || b[3] < 1 || b[3] > 4)
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: begins with %02x %02x %02x %02x; an IDX file "
                          "of unsigned bytes with 00 00 08 and its rank, 1 to 4", in->shown,
                          b[0], b[1], b[2], b[3]);
    a->rank = b[3];
    LSNNI_TRY(lsnni_idx_need(cx, in, b, 4 * (size_t)a->rank, "header"));
    for (int i = 0; i < a->rank; i++) {
        const unsigned char *p = b + 4 * i;
        uint32_t v = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        a->dim[i] = v > INT_MAX ? -1 : (int)v;
    }
    return lsnni_idx_check(cx, LSNN_EFORMAT, a, in->shown, bytes);
}

static lsnn_status lsnni_idx_body(lsnn_ctx *cx, lsnn_idx *a, lsnni_gz *in, size_t bytes)
{
    for (size_t have = 0, room = 1 << 20; have < bytes; have = room, room *= 2) {
        unsigned char *v;
        room = room > bytes / 2 ? bytes : room;
        v = (unsigned char *)lsnni_alloc(cx, room, 1);
        if (!v) return cx->last_;
        if (a->v) memcpy(v, a->v, have);
        lsnni_free(cx, a->v);
        a->v = v;
        LSNNI_TRY(lsnni_idx_need(cx, in, v + have, room - have, "data"));
    }
    if (lsnni_gz_more(in))
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: is longer than its header says", in->shown);
    return lsnni_gz_error(cx, in);
}

LSNN_API lsnn_status lsnn_idx_read(lsnn_ctx *cx, lsnn_idx *a, const char *path)
{
    lsnni_gz in;
    lsnn_status s;
    size_t bytes = 0;
    memset(a, 0, sizeof *a);
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_idx_read", path));
    LSNNI_TRY(lsnni_gz_open(cx, &in, path));
    s = lsnni_idx_head(cx, a, &in, &bytes);
    if (s == LSNN_OK) s = lsnni_idx_body(cx, a, &in, bytes);
    lsnni_gz_close(&in);
    if (s != LSNN_OK) lsnn_idx_free(cx, a);
    return s;
}

static lsnn_status lsnni_idx_put(lsnn_ctx *cx, FILE *f, void *user)
{
    const lsnn_idx *a = (const lsnn_idx *)user;
    size_t bytes = 1, head = 4 + 4 * (size_t)a->rank;
    unsigned char b[20] = { 0, 0, 8, 0 };
    (void)cx;
    b[3] = (unsigned char)a->rank;
    for (int i = 0; i < 4 * a->rank; i++)
        b[4 + i] = (unsigned char)((uint32_t)a->dim[i / 4] >> (24 - 8 * (i % 4)));
    for (int i = 0; i < a->rank; i++) bytes *= (size_t)a->dim[i];
    if (fwrite(b, 1, head, f) != head || fwrite(a->v, 1, bytes, f) != bytes) return LSNN_EIO;
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_idx_write(lsnn_ctx *cx, const lsnn_idx *a, const char *path)
{
    lsnn_idx copy = *a;              /* lsnni_file_replace takes no const     */
    size_t bytes;
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_idx_write", path));
    LSNNI_TRY(lsnni_idx_check(cx, LSNN_ESHAPE, a, lsnni_path_end(path), &bytes));
    if (!a->v)
        return lsnni_fail(cx, LSNN_EVALUE, "%s: v is NULL", lsnni_path_end(path));
    return lsnni_file_replace(cx, path, lsnni_idx_put, &copy);
}

LSNN_API void lsnn_idx_free(lsnn_ctx *cx, lsnn_idx *a)
{
    lsnni_free(cx, a->v);
    memset(a, 0, sizeof *a);
}

/* Labels N or N x heads for `count` images, each below `classes`.            */
static lsnn_status lsnni_idx_labels(lsnn_ctx *cx, const char *who, const lsnn_idx *a,
                                    int count, int classes)
{
    int heads = a->rank == 2 ? a->dim[1] : 1;
    if ((a->rank != 1 && a->rank != 2) || heads < 1 || heads > LSNN_MAX_HEADS || !a->v)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: labels of rank %d with %d an image: give N or "
                          "N x heads, at most %d", who, a->rank, heads, (int)LSNN_MAX_HEADS);
    if (a->dim[0] != count)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: %d images but %d labels", who, count,
                          a->dim[0]);
    for (size_t i = 0; i < (size_t)count * (size_t)heads; i++)
        if (a->v[i] >= classes)
            return lsnni_fail(cx, LSNN_EVALUE, "%s: label %d of image %.0f is not in [0, %d)",
                              who, a->v[i], (double)(i / (size_t)heads), classes);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_data_idx(lsnn_ctx *cx, lsnn_data *d, const lsnn_idx *images,
                                   const lsnn_idx *labels, int classes)
{
    lsnni_data_user *u;
    lsnn_shape shape = { 1, 0, 0 };
    size_t bytes;
    memset(d, 0, sizeof *d);
    if (!images || !labels)
        return lsnni_fail(cx, LSNN_EVALUE, "lsnn_data_idx: %s are NULL",
                          images ? "labels" : "images");
    if (images->rank < 3 || !images->v)
        return lsnni_fail(cx, LSNN_ESHAPE, "lsnn_data_idx: images of rank %d: give N,H,W or "
                          "N,C,H,W", images->rank);
    if (classes < 1 || classes > 256)
        return lsnni_fail(cx, LSNN_EVALUE, "lsnn_data_idx: %d classes: give 1..256", classes);
    LSNNI_TRY(lsnni_idx_check(cx, LSNN_ESHAPE, images, "lsnn_data_idx: images", &bytes));
    LSNNI_TRY(lsnni_idx_labels(cx, "lsnn_data_idx", labels, images->dim[0], classes));
    if (images->rank == 4) shape.c = images->dim[1];
    shape.h = images->dim[images->rank - 2];
    shape.w = images->dim[images->rank - 1];
    u = lsnni_data_new(cx, d, images->dim[0], shape, labels->rank == 2 ? labels->dim[1] : 1,
                       classes);
    if (!u) return cx->last_;
    u->pixels = images->v;
    u->bytes = labels->v;
    d->fetch = lsnni_fetch_memory;
    return LSNN_OK;
}

#include "digits.h"
#include "recipes.h"
#include "sets.h"
#include "mat.h"
#include "load.h"
#include "pain.h"
#endif /* LSNN_NO_DATA */
