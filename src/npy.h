#if !defined(LSNN_NO_DATA) || !defined(LSNN_NO_PICTURES)
/* ============================================================================
   >>npy  NumPy's files: an array (.npy, versions 1 and 2), and a zip archive of them (.npz)
   Read into the table of named arrays that safetensors files become: NAME.npy is "NAME". Arrays
   that are not little-endian floats in C order are named with what they are instead: those
   of an archive are skipped, a file of one is refused. As everywhere, no size is believed.
   ==========================================================================*/
typedef struct lsnni_npy {           /* an array of the file                  */
    const char *name;
    const unsigned char *v;          /* its file: header and numbers          */
    size_t bytes, at;                /* of that; where the numbers begin      */
    unsigned char *own;              /* what v is if it had to be unpacked    */
    const lsnni_dtype *dtype;        /* NULL: not read, because of `kind`     */
    char kind[40];
    int rank, *dims;
    size_t count;
} lsnni_npy;

typedef struct lsnni_npz {
    lsnn_ctx *cx;
    const char *shown;
    lsnni_content content;
    lsnni_npy *array; int arrays;
    char *names;                     /* room for those that follow            */
    int *dims;
    uint32_t crc[256];
} lsnni_npz;

enum { LSNNI_NPY_RANK = 32 };        /* NumPy's limit                         */

static uint32_t lsnni_little16(const unsigned char *p) { return p[0] | (uint32_t)p[1] << 8; }
static uint32_t lsnni_little32(const unsigned char *p)
{
    return lsnni_little16(p) | lsnni_little16(p + 2) << 16;
}

/* ---- the header: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } ----------*/
/* What stands behind 'key': in the header, or NULL.                          */
static const char *lsnni_npy_value(const char *text, const char *key)
{
    size_t n = strlen(key);
    for (const char *p = strchr(text, '\''); p; p = strchr(p + 1, '\''))
        if (strncmp(p + 1, key, n) == 0 && p[n + 1] == '\'') {
            p += n + 2;
            p += strspn(p, " ");
            if (*p != ':') return NULL;
            return p + 1 + strspn(p + 1, " ");
        }
    return NULL;
}

static const lsnni_dtype *lsnni_npy_dtype(const char *descr)
{
    if (strncmp(descr, "'<f8'", 5) == 0) return &lsnni_dtypes[0];
    if (strncmp(descr, "'<f4'", 5) == 0) return &lsnni_dtypes[1];
    if (strncmp(descr, "'<f2'", 5) == 0) return &lsnni_dtypes[2];
    return NULL;
}

/* (), (3,), (3, 4): rank and dims; 0 if it is none of these.                 */
static int lsnni_npy_shape(lsnni_npy *a, const char *p)
{
    if (*p++ != '(') return 0;
    for (a->rank = 0; *p != ')'; a->rank++) {
        double n = 0;
        if (a->rank == LSNNI_NPY_RANK || *p < '0' || *p > '9') return 0;
        for (; *p >= '0' && *p <= '9'; p++) n = 10 * n + (*p - '0');
        if (n > INT_MAX) return 0;
        a->dims[a->rank] = (int)n;
        p += strspn(p, " ");
        if (*p == ')' && a->rank == 0) return 0;         /* (3) is no tuple       */
        if (*p == ',') p += 1 + strspn(p + 1, " ");
        else if (*p != ')') return 0;
    }
    return 1;
}

static lsnn_status lsnni_npy_fail(const lsnni_npz *z, const lsnni_npy *a, const char *what)
{
    return lsnni_fail(z->cx, LSNN_EFORMAT, "%s: array '%.60s': %s", z->shown, a->name, what);
}

/* text: the header's, ended by a 0.                                          */
static lsnn_status lsnni_npy_header(lsnni_npz *z, lsnni_npy *a, const char *text)
{
    const char *descr = lsnni_npy_value(text, "descr");
    const char *order = lsnni_npy_value(text, "fortran_order");
    const char *shape = lsnni_npy_value(text, "shape");
    int fortran = order && strncmp(order, "True", 4) == 0;
    size_t bytes;
    if (!descr || !shape || !(fortran || (order && strncmp(order, "False", 5) == 0)))
        return lsnni_npy_fail(z, a, "its header has no descr, fortran_order and shape");
    a->dims = z->dims;
    if (!lsnni_npy_shape(a, shape))
        return lsnni_npy_fail(z, a, "its shape is not up to 32 sizes below 2^31 in brackets");
    z->dims += a->rank;
    a->dtype = fortran && a->rank > 1 ? NULL : lsnni_npy_dtype(descr);
    snprintf(a->kind, sizeof a->kind, "%.*s%s", (int)LSNNI_MIN(strcspn(descr, ",}"), (size_t)16),
             descr, fortran ? " in Fortran order" : "");
    if (!a->dtype) return LSNN_OK;
    bytes = a->dtype->width;
    for (int i = 0; i < a->rank; i++)
        if (!lsnni_mul(&bytes, (size_t)a->dims[i]))
            return lsnni_npy_fail(z, a, "its sizes overflow");
    a->count = bytes / a->dtype->width;
    if (bytes == a->bytes - a->at) return LSNN_OK;
    return lsnni_fail(z->cx, LSNN_EFORMAT, "%s: array '%.60s': its shape needs %.0f bytes, it has "
                      "%.0f", z->shown, a->name, (double)bytes, (double)(a->bytes - a->at));
}

static lsnn_status lsnni_npy_parse(lsnni_npz *z, lsnni_npy *a)
{
    size_t length;
    char *text;
    lsnn_status s;
    if (a->bytes < 12 || memcmp(a->v, "\x93NUMPY", 6) != 0)
        return lsnni_npy_fail(z, a, "does not begin as a .npy file does");
    if (a->v[6] < 1 || a->v[6] > 2 || a->v[7])
        return lsnni_fail(z->cx, LSNN_EFORMAT, "%s: array '%.60s': version %d.%d of the format, "
                          "1.0 and 2.0 are read", z->shown, a->name, a->v[6], a->v[7]);
    a->at = a->v[6] == 1 ? 10 : 12;
    length = a->v[6] == 1 ? lsnni_little16(a->v + 8) : lsnni_little32(a->v + 8);
    if (length > a->bytes - a->at) return lsnni_npy_fail(z, a, "is cut off in its header");
    text = (char *)lsnni_alloc(z->cx, lsnni_plus(length, 1), 1);
    if (!text) return LSNN_ENOMEM;
    memcpy(text, a->v + a->at, length);
    a->at += length;
    s = lsnni_npy_header(z, a, text);
    lsnni_free(z->cx, text);
    return s;
}

/* ---- the archive (PKWARE's APPNOTE, 4.3) ------------------------------------------------*/
/* The record at the archive's end, which says where its table of contents lies, or NULL. */
static const unsigned char *lsnni_zip_end(const unsigned char *v, size_t bytes)
{
    for (size_t back = 22; back <= bytes && back <= 22 + 65535; back++) {
        const unsigned char *p = v + bytes - back;
        if (!memcmp(p, "PK\5\6", 4) && lsnni_little16(p + 20) == back - 22) return p;
    }
    return NULL;
}

/* The bytes of the member that entry p of the table of contents says, unpacked. */
static lsnn_status lsnni_zip_member(lsnni_npz *z, lsnni_npy *a, const unsigned char *p)
{
    const unsigned char *v = z->content.v, *data;
    uint32_t flags = lsnni_little16(p + 8), method = lsnni_little16(p + 10);
    size_t packed = lsnni_little32(p + 20), at = lsnni_little32(p + 42), bytes = z->content.count;
    a->bytes = lsnni_little32(p + 24);
    if (packed == 0xFFFFFFFF || a->bytes == 0xFFFFFFFF || at == 0xFFFFFFFF)
        return lsnni_npy_fail(z, a, "of 4 GB or more (zip64) is not read");
    if (flags & 1) return lsnni_npy_fail(z, a, "is encrypted");
    if (method != 0 && method != 8)
        return lsnni_fail(z->cx, LSNN_EFORMAT, "%s: array '%.60s': is packed by method %d; stored "
                          "and deflated ones are read", z->shown, a->name, (int)method);
    if (at > bytes || bytes - at < 30 || memcmp(v + at, "PK\3\4", 4) != 0)
        return lsnni_npy_fail(z, a, "is not where the archive says");
    data = v + at + 30;
    at += 30 + lsnni_little16(data - 4) + lsnni_little16(data - 2);
    if (at > bytes || packed > bytes - at || (!method && packed != a->bytes))
        return lsnni_npy_fail(z, a, "is longer than the file");
    a->v = v + at;
    if (method) {
        size_t have;
        LSNNI_TRY(lsnni_inflate_raw(z->cx, z->shown, v + at, packed, a->bytes, &a->own, &have));
        a->v = a->own;
        if (have != a->bytes) return lsnni_npy_fail(z, a, "is shorter than the archive says");
    }
    if (~lsnni_crc32(z->crc, ~(uint32_t)0, a->v, a->bytes) != lsnni_little32(p + 16))
        return lsnni_npy_fail(z, a, "is damaged: its check sum is another");
    return LSNN_OK;
}

static lsnn_status lsnni_zip_read(lsnni_npz *z)
{
    const unsigned char *v = z->content.v, *end = lsnni_zip_end(v, z->content.count), *p, *stop;
    size_t begin, bytes;
    if (!end)
        return lsnni_fail(z->cx, LSNN_EFORMAT, "%s: a zip archive without an end: it is cut off",
                          z->shown);
    z->arrays = (int)lsnni_little16(end + 10);
    bytes = lsnni_little32(end + 12);
    begin = lsnni_little32(end + 16);
    if (begin > (size_t)(end - v) || bytes > (size_t)(end - v) - begin)
        return lsnni_fail(z->cx, LSNN_EFORMAT, "%s: its table of contents is outside of it, or "
                          "this is a zip64 archive, which is not read", z->shown);
    p = v + begin;
    stop = p + bytes;
    for (int i = 0; i < z->arrays; i++) {
        lsnni_npy *a = &z->array[i];
        size_t n = stop - p < 46 ? 0 : lsnni_little16(p + 28);
        a->name = z->names;
        if (!n || memcmp(p, "PK\1\2", 4) != 0 || n > (size_t)(stop - p) - 46)
            return lsnni_fail(z->cx, LSNN_EFORMAT, "%s: entry %d of its table of contents is "
                              "damaged", z->shown, i + 1);
        memcpy(z->names, p + 46, n);
        if (n > 4 && !memcmp(z->names + n - 4, ".npy", 4)) z->names[n - 4] = 0;
        else snprintf(a->kind, sizeof a->kind, "no .npy file");
        z->names += n + 1;
        if (!*a->kind) LSNNI_TRY(lsnni_zip_member(z, a, p));
        if (!*a->kind) LSNNI_TRY(lsnni_npy_parse(z, a));
        n += lsnni_little16(p + 30) + lsnni_little16(p + 32);
        if (n > (size_t)(stop - p) - 46) n = (size_t)(stop - p) - 46;
        p += 46 + n;
    }
    return LSNN_OK;
}

/* ---- reading ------------------------------------------------------------------------*/
static lsnn_status lsnni_npz_values(lsnni_npz *z, lsnn_file *f)
{
    size_t count = 0;
    lsnn_real *v;
    for (int i = 0; i < z->arrays; i++) count = lsnni_plus(count, z->array[i].count);
    f->block_[1] = lsnni_alloc(z->cx, (size_t)z->arrays + 1,
                               sizeof *f->tensor + sizeof *f->skipped);
    f->block_[2] = v = (lsnn_real *)lsnni_alloc(z->cx, count, sizeof *v);
    if (!f->block_[1] || !v) return LSNN_ENOMEM;
    f->tensor = (lsnn_tensor *)f->block_[1];
    f->skipped = (lsnn_pair *)(void *)(f->tensor + z->arrays + 1);
    for (int i = 0; i < z->arrays; i++) {
        const lsnni_npy *a = &z->array[i];
        lsnn_tensor *t = &f->tensor[f->tensors];
        if (!a->dtype) {
            lsnn_pair *pair = &f->skipped[f->skips++];
            char *kind = z->names;
            pair->key = a->name;
            pair->value = kind;
            z->names += snprintf(kind, sizeof a->kind, "%s", a->kind) + 1;
            continue;
        }
        f->tensors++;
        t->name = a->name;
        t->rank = a->rank;
        t->dims = a->dims;
        t->dtype = a->dtype->name;
        for (int d = 0; d < a->rank && d < 4; d++) t->dim[d] = a->dims[d];
        t->count = a->count;
        t->v = v;
        for (size_t k = 0; k < a->count; k++)
            if (!lsnni_real_from(v++, a->v + a->at + k * a->dtype->width, a->dtype))
                return lsnni_npy_fail(z, a, "a value is too large for float; build with "
                                      "LSNN_DOUBLE");
    }
    return lsnni_names_check(z->cx, LSNN_EFORMAT, z->shown, f->tensor, f->tensors, f->skipped,
                             f->skips, NULL, 0);
}

/* A file of one array, which is named as the file is.                        */
static lsnn_status lsnni_npy_alone(lsnni_npz *z, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    lsnni_npy *a = z->array;
    size_t n = strlen(name);
    z->arrays = 1;
    memcpy(z->names, name, n);
    if (n > 4 && !memcmp(name + n - 4, ".npy", 4)) z->names[n - 4] = 0;
    a->name = z->names;
    z->names += n + 1;
    a->v = z->content.v;
    a->bytes = z->content.count;
    LSNNI_TRY(lsnni_npy_parse(z, a));
    if (a->dtype) return LSNN_OK;
    return lsnni_fail(z->cx, LSNN_EUNSUPPORTED, "%s: holds %s; read are '<f2', '<f4' and '<f8' in "
                      "C order: numpy.save(path, numpy.ascontiguousarray(x, '<f4'))", z->shown,
                      a->kind);
}

/* The tables have room for as many arrays as the file can hold: an archive's entry takes 76
   bytes, and a size in a header 2.                                           */
static lsnn_status lsnni_npz_tables(lsnni_npz *z, lsnn_file *f, const char *path)
{
    int alone = z->content.v[0] != 'P';
    const unsigned char *end = alone ? NULL : lsnni_zip_end(z->content.v, z->content.count);
    size_t arrays = end ? LSNNI_MIN(lsnni_little16(end + 10), z->content.count / 76 + 1) : 1;
    size_t text = alone ? strlen(path) : z->content.count;
    if (end && lsnni_little16(end + 10) > arrays)
        return lsnni_fail(z->cx, LSNN_EFORMAT, "%s: %d arrays do not fit into it", z->shown,
                          (int)lsnni_little16(end + 10));
    z->array = (lsnni_npy *)lsnni_alloc(z->cx, arrays, sizeof *z->array);
    text = lsnni_plus(text, arrays * (1 + sizeof z->array->kind));
    f->block_[0] = z->names = (char *)lsnni_alloc(z->cx, text, 1);
    f->block_[3] = z->dims = (int *)lsnni_alloc(z->cx, arrays, LSNNI_NPY_RANK * sizeof *z->dims);
    if (!z->array || !z->names || !z->dims) return LSNN_ENOMEM;
    if (alone) LSNNI_TRY(lsnni_npy_alone(z, path));
    else LSNNI_TRY(lsnni_zip_read(z));
    return lsnni_npz_values(z, f);
}

static lsnn_status lsnni_npy_load(lsnn_ctx *cx, lsnn_file *f, const char *path)
{
    lsnni_npz z;
    lsnn_status s;
    memset(&z, 0, sizeof z);
    z.cx = cx;
    z.shown = lsnni_path_end(path);
    lsnni_crc32_table(z.crc);
    LSNNI_TRY(lsnni_content_read(cx, &z.content, path));
    s = lsnni_npz_tables(&z, f, path);
    for (int i = 0; i < z.arrays && z.array; i++) lsnni_free(cx, z.array[i].own);
    lsnni_free(cx, z.array);
    lsnni_free(cx, z.content.v);
    if (s != LSNN_OK) lsnn_file_free(cx, f);
    return s;
}

/* ---- writing ------------------------------------------------------------------------*/
/* The .npy file of t, its header a multiple of 64 bytes; 0 at *bytes: no memory. */
static unsigned char *lsnni_npy_bytes(lsnn_ctx *cx, const lsnn_tensor *t, size_t *bytes)
{
    size_t room = 128 + 12 * (size_t)t->rank, n = 10, head;
    size_t all = lsnni_plus(lsnni_times(t->count, sizeof *t->v), room + 64);
    unsigned char *v = (unsigned char *)lsnni_alloc(cx, all, 1);
    if (!v) return NULL;
    memcpy(v, "\x93NUMPY\1\0", 8);
    n += (size_t)snprintf((char *)v + n, room, "{'descr': '<f%d', 'fortran_order': False, "
                          "'shape': (", (int)sizeof(lsnn_real));
    for (int i = 0; i < t->rank; i++)
        n += (size_t)snprintf((char *)v + n, 16, i + 1 < t->rank ? "%d, " : i ? "%d" : "%d,",
                              lsnni_tensor_dim(t, i));
    n += (size_t)snprintf((char *)v + n, 16, "), }");
    head = (n + 1 + 63) / 64 * 64;
    memset(v + n, ' ', head - n);
    v[head - 1] = '\n';
    lsnni_bytes_of(v + 8, (uint32_t)head - 10, 2);
    for (size_t i = 0; i < t->count; i++) {
#ifdef LSNN_DOUBLE
        uint64_t bits;
#else
        uint32_t bits;
#endif
        memcpy(&bits, t->v + i, sizeof bits);
        lsnni_bytes_of(v + head + i * sizeof bits, bits, sizeof bits);
    }
    *bytes = head + t->count * sizeof *t->v;
    return v;
}

typedef struct lsnni_npz_writer {
    const lsnn_tensor *tensor; int tensors;
    unsigned char *table;            /* of contents; NULL: one .npy file      */
    size_t have;
    uint32_t crc[256];
} lsnni_npz_writer;

/* The fields that a member's own header and its entry in the table have in common. */
static void lsnni_zip_put(unsigned char *p, uint32_t crc, size_t bytes, size_t name)
{
    lsnni_bytes_of(p, 20, 2);                          /* version 2.0           */
    lsnni_bytes_of(p + 8, 33, 2);                      /* 1 January 1980        */
    lsnni_bytes_of(p + 10, crc, 4);
    lsnni_bytes_of(p + 14, (uint32_t)bytes, 4);
    lsnni_bytes_of(p + 18, (uint32_t)bytes, 4);
    lsnni_bytes_of(p + 22, (uint32_t)name + 4, 2);
}

/* Writes one array; as a member of an archive it begins at *at, and gets an entry. */
static lsnn_status lsnni_npz_put_array(lsnni_npz_writer *w, FILE *f, const lsnn_tensor *t,
                                       const unsigned char *v, size_t bytes, size_t *at)
{
    if (w->table) {
        unsigned char head[30] = { 'P', 'K', 3, 4 }, *entry = w->table + w->have;
        size_t name = strlen(t->name);
        lsnni_zip_put(head + 4, ~lsnni_crc32(w->crc, ~(uint32_t)0, v, bytes), bytes, name);
        memcpy(entry, "PK\1\2\24\0", 6);
        memcpy(entry + 6, head + 4, 26);
        lsnni_bytes_of(entry + 42, *at, 4);
        memcpy(entry + 46, t->name, name);
        memcpy(entry + 46 + name, ".npy", 4);
        w->have += 50 + name;
        *at += 34 + name + bytes;
        if (fwrite(head, 1, 30, f) != 30 || fwrite(entry + 46, 1, name + 4, f) != name + 4)
            return LSNN_EIO;
    }
    return fwrite(v, 1, bytes, f) == bytes ? LSNN_OK : LSNN_EIO;
}

static lsnn_status lsnni_npz_put(lsnn_ctx *cx, FILE *f, void *user)
{
    lsnni_npz_writer *w = (lsnni_npz_writer *)user;
    unsigned char end[22] = { 'P', 'K', 5, 6 };
    size_t at = 0, bytes;
    for (int i = 0; i < w->tensors; i++) {
        unsigned char *v = lsnni_npy_bytes(cx, &w->tensor[i], &bytes);
        lsnn_status s = v ? lsnni_npz_put_array(w, f, &w->tensor[i], v, bytes, &at) : LSNN_ENOMEM;
        lsnni_free(cx, v);
        LSNNI_TRY(s);
    }
    if (!w->table) return LSNN_OK;
    lsnni_bytes_of(end + 8, (uint64_t)w->tensors, 2);
    lsnni_bytes_of(end + 10, (uint64_t)w->tensors, 2);
    lsnni_bytes_of(end + 12, w->have, 4);
    lsnni_bytes_of(end + 16, at, 4);
    if (fwrite(w->table, 1, w->have, f) != w->have || fwrite(end, 1, 22, f) != 22) return LSNN_EIO;
    return LSNN_OK;
}

static lsnn_status lsnni_npy_write(lsnn_ctx *cx, const char *path, const lsnn_tensor *t,
                                   int tensors, int archive)
{
    lsnni_npz_writer w;
    const char *shown = lsnni_path_end(path);
    size_t bytes = 0, table = 0;
    lsnn_status s;
    memset(&w, 0, sizeof w);
    w.tensor = t;
    w.tensors = tensors;
    if (tensors && !t) return lsnni_fail(cx, LSNN_EVALUE, "%s: the tensors are NULL", shown);
    for (int i = 0; i < tensors; i++) {
        LSNNI_TRY(lsnni_write_check_tensor(cx, shown, &t[i], &bytes));
        if (t[i].rank > LSNNI_NPY_RANK)
            return lsnni_fail(cx, LSNN_ESHAPE, "%s: tensor '%.60s' has rank %d, NumPy's arrays at "
                              "most %d", shown, t[i].name, t[i].rank, (int)LSNNI_NPY_RANK);
        table += 50 + strlen(t[i].name);
        bytes = lsnni_plus(bytes, 512 + strlen(t[i].name));
    }
    if (archive && (tensors > 65534 || bytes >= (size_t)0xFFFFFFFF - table))
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: %d arrays, or 4 GB, are more than an archive "
                          "without zip64 holds", shown, tensors);
    LSNNI_TRY(lsnni_names_check(cx, LSNN_EVALUE, shown, t, tensors, NULL, 0, NULL, 0));
    lsnni_crc32_table(w.crc);
    w.table = archive ? (unsigned char *)lsnni_alloc(cx, table, 1) : NULL;
    if (archive && !w.table) return LSNN_ENOMEM;
    s = lsnni_file_replace(cx, path, lsnni_npz_put, &w);
    lsnni_free(cx, w.table);
    return s;
}

LSNN_API lsnn_status lsnn_npy_write(lsnn_ctx *cx, const char *path, const lsnn_tensor *t)
{
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_npy_write", path));
    return lsnni_npy_write(cx, path, t, 1, 0);
}

LSNN_API lsnn_status lsnn_npz_write(lsnn_ctx *cx, const char *path, const lsnn_tensor *t,
                                    int tensors)
{
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_npz_write", path));
    if (tensors < 0)
        return lsnni_fail(cx, LSNN_ESHAPE, "lsnn_npz_write: %d tensors", tensors);
    return lsnni_npy_write(cx, path, t, tensors, 1);
}
#endif /* LSNN_NO_DATA and LSNN_NO_PICTURES */
