/* ---- >>mat: SVHN's .mat files, as MATLAB 5 to 7 write them -------------------------
   A head of 128 bytes, then elements: type and bytes (4 each), data, padded to 8; or both in
   4 bytes and up to 4 of data. An array (14) is made of elements: flags, sizes, name, numbers,
   the first index running fastest. A packed element (15) is zlib data with one array inside.
   SVHN: X 32 x 32 x 3 x N (row, column, colour, image), y N x 1, 10 for the digit 0. */
enum { LSNNI_MAT_HEAD = 128, LSNNI_MAT_INT8 = 1, LSNNI_MAT_UINT8 = 2, LSNNI_MAT_INT32 = 5,
       LSNNI_MAT_UINT32 = 6, LSNNI_MAT_SINGLE = 7, LSNNI_MAT_DOUBLE = 9, LSNNI_MAT_ARRAY = 14,
       LSNNI_MAT_PACKED = 15, LSNNI_MAT_COMPLEX = 0x0800, LSNNI_MAT_DIMS = 4 };

typedef struct lsnni_mat {           /* what is being read, and where in it    */
    lsnn_ctx *cx;
    const char *who;
    const unsigned char *at, *end;
    int swapped;                     /* 1: the highest byte comes first       */
} lsnni_mat;
typedef struct lsnni_mat_item { int type; size_t bytes; const unsigned char *v; } lsnni_mat_item;
typedef struct lsnni_mat_array {
    char name[64];
    int dims, dim[LSNNI_MAT_DIMS];
    size_t count;
    lsnni_mat_item numbers;
} lsnni_mat_array;

/* A whole number of `bytes` bytes.                                           */
static uint64_t lsnni_mat_bits(const lsnni_mat *m, const unsigned char *v, int bytes)
{
    uint64_t n = 0;
    for (int i = 0; i < bytes; i++) n |= (uint64_t)v[m->swapped ? bytes - 1 - i : i] << 8 * i;
    return n;
}

/* Takes the next element.                                                    */
static lsnn_status lsnni_mat_next(lsnni_mat *m, lsnni_mat_item *e)
{
    size_t left = (size_t)(m->end - m->at), pad;
    uint32_t type = left >= 8 ? (uint32_t)lsnni_mat_bits(m, m->at, 4) : 0;
    int brief = type >> 16 != 0;
    memset(e, 0, sizeof *e);
    if (left >= 8) {
        e->type = (int)(type & 0xFFFF);
        e->bytes = brief ? type >> 16 : (size_t)lsnni_mat_bits(m, m->at + 4, 4);
        e->v = m->at + (brief ? 4 : 8);
    }
    if (left < 8 || (brief && e->bytes > 4) || (!brief && e->bytes > left - 8))
        return lsnni_fail(m->cx, LSNN_EFORMAT, "%s: is cut off within an element", m->who);
    pad = brief ? 4 - e->bytes : e->type == LSNNI_MAT_PACKED ? 0 : (8 - e->bytes % 8) % 8;
    left = (size_t)(m->end - e->v) - e->bytes;
    m->at = e->v + e->bytes + LSNNI_MIN(pad, left);
    return LSNN_OK;
}

static int lsnni_mat_width(int type)                     /* bytes a number; 0: none */
{
    static const int width[16] = { 0, 1, 1, 2, 2, 4, 4, 4, 0, 8, 0, 0, 8, 8, 0, 0 };
    return type >= 0 && type < 16 ? width[type] : 0;
}

/* Number i of an element as a double.                                        */
static double lsnni_mat_number(const lsnni_mat *m, const lsnni_mat_item *e, size_t i)
{
    int width = lsnni_mat_width(e->type);
    uint64_t bits = lsnni_mat_bits(m, e->v + i * (size_t)width, width);
    int is_signed = e->type == 1 || e->type == 3 || e->type == 5 || e->type == 12;
    double wide;
    float narrow;
    if (e->type == LSNNI_MAT_DOUBLE) {
        memcpy(&wide, &bits, sizeof wide);
        return wide;
    }
    if (e->type == LSNNI_MAT_SINGLE) {
        uint32_t low = (uint32_t)bits;
        memcpy(&narrow, &low, sizeof narrow);
        return (double)narrow;
    }
    wide = (double)bits;
    if (is_signed && bits >> (8 * width - 1)) wide -= ldexp(1, 8 * width);
    return wide;
}

/* The sizes of an array and its name.                                        */
static lsnn_status lsnni_mat_shape(lsnni_mat *m, lsnni_mat_array *a)
{
    lsnni_mat_item flags, sizes, name;
    LSNNI_TRY(lsnni_mat_next(m, &flags));
    LSNNI_TRY(lsnni_mat_next(m, &sizes));
    LSNNI_TRY(lsnni_mat_next(m, &name));
    if (flags.type != LSNNI_MAT_UINT32 || flags.bytes != 8 || sizes.type != LSNNI_MAT_INT32 ||
        sizes.bytes % 4 || sizes.bytes < 8 || name.type != LSNNI_MAT_INT8)
        return lsnni_fail(m->cx, LSNN_EFORMAT, "%s: an array must begin with flags, sizes and a "
                          "name", m->who);
    memcpy(a->name, name.v, LSNNI_MIN(name.bytes, sizeof a->name - 1));
    a->dims = (int)LSNNI_MIN(sizes.bytes / 4, (size_t)LSNNI_MAT_DIMS + 1);
    a->count = 1;
    for (int i = 0; i < a->dims && i < LSNNI_MAT_DIMS; i++) {
        double n = lsnni_mat_number(m, &sizes, (size_t)i);
        if (n < 0 || !lsnni_mul(&a->count, (size_t)n))
            return lsnni_fail(m->cx, LSNN_EFORMAT, "%s: %s: size %d is %.0f", m->who, a->name,
                              i + 1, n);
        a->dim[i] = (int)n;
    }
    if (lsnni_mat_bits(m, flags.v, 4) & LSNNI_MAT_COMPLEX)
        return lsnni_fail(m->cx, LSNN_EFORMAT, "%s: %s is complex", m->who, a->name);
    return LSNN_OK;
}

/* An array's numbers: as many as its sizes say.                              */
static lsnn_status lsnni_mat_numbers(lsnni_mat *m, lsnni_mat_array *a)
{
    size_t width;
    LSNNI_TRY(lsnni_mat_next(m, &a->numbers));
    width = (size_t)lsnni_mat_width(a->numbers.type);
    if (!width || a->dims > LSNNI_MAT_DIMS || a->numbers.bytes % width ||
        a->numbers.bytes / width != a->count)
        return lsnni_fail(m->cx, LSNN_EFORMAT, "%s: %s: %.0f bytes of type %d are not the numbers "
                          "of its %d sizes", m->who, a->name, (double)a->numbers.bytes,
                          a->numbers.type, a->dims);
    return LSNN_OK;
}

/* ---- what SVHN has in it -----------------------------------------------------------*/
typedef struct lsnni_svhn { lsnn_set set; double *y; size_t count; } lsnni_svhn;

/* X's pixels: their index runs over rows, columns, colours, images; a set's over columns,
   rows, colours.                                                             */
static lsnn_status lsnni_svhn_x(lsnni_mat *m, lsnni_svhn *s, const lsnni_mat_array *a)
{
    enum { side = 32, plane = side * side };
    static const lsnn_shape shape = { 3, side, side };
    int n = a->dims < 4 ? 1 : a->dim[3];
    if (s->set.images.v || a->dims < 3 || a->dim[0] != side || a->dim[1] != side ||
        a->dim[2] != 3 || a->numbers.type != LSNNI_MAT_UINT8)
        return lsnni_fail(m->cx, LSNN_EFORMAT, "%s: X must be one array of 32 x 32 x 3 x N bytes, "
                          "it is %d x %d x %d of type %d", m->who, a->dim[0], a->dim[1],
                          a->dim[2], a->numbers.type);
    LSNNI_TRY(lsnni_set_new(m->cx, &s->set, m->who, n, shape, 10, 0));
    for (size_t p = 0; p < 3 * (size_t)n; p++) {
        const unsigned char *from = a->numbers.v + p * plane;
        unsigned char *to = s->set.images.v + p * plane;
        for (int i = 0; i < side; i++)
            for (int j = 0; j < side; j++) to[i * side + j] = from[j * side + i];
    }
    return LSNN_OK;
}

static lsnn_status lsnni_svhn_y(lsnni_mat *m, lsnni_svhn *s, const lsnni_mat_array *a)
{
    if (s->y)
        return lsnni_fail(m->cx, LSNN_EFORMAT, "%s: has two arrays y", m->who);
    s->count = a->count;
    s->y = (double *)lsnni_alloc(m->cx, a->count + 1, sizeof *s->y);
    if (!s->y) return LSNN_ENOMEM;
    for (size_t i = 0; i < a->count; i++) s->y[i] = lsnni_mat_number(m, &a->numbers, i);
    return LSNN_OK;
}

static lsnn_status lsnni_svhn_array(lsnni_mat *m, lsnni_svhn *s)
{
    lsnni_mat_array a;
    memset(&a, 0, sizeof a);
    LSNNI_TRY(lsnni_mat_shape(m, &a));
    if (strcmp(a.name, "X") != 0 && strcmp(a.name, "y") != 0) return LSNN_OK;
    LSNNI_TRY(lsnni_mat_numbers(m, &a));
    return a.name[0] == 'X' ? lsnni_svhn_x(m, s, &a) : lsnni_svhn_y(m, s, &a);
}

static lsnn_status lsnni_svhn_element(lsnni_mat *m, lsnni_svhn *s, const lsnni_mat_item *e)
{
    lsnni_mat inner = *m;
    lsnni_mat_item array;
    unsigned char *v = NULL;
    size_t bytes = 0;
    lsnn_status status = LSNN_OK;
    if (e->type == LSNNI_MAT_PACKED) {
        LSNNI_TRY(lsnni_inflate(m->cx, m->who, e->v, e->bytes, (size_t)-1, &v, &bytes));
        inner.at = v;
        inner.end = v + bytes;
        status = lsnni_mat_next(&inner, &array);
        e = &array;
    }
    if (status == LSNN_OK && e->type == LSNNI_MAT_ARRAY) {
        inner.at = e->v;
        inner.end = e->v + e->bytes;
        status = lsnni_svhn_array(&inner, s);
    }
    lsnni_free(m->cx, v);
    return status;
}

static lsnn_status lsnni_svhn_labels(lsnni_mat *m, lsnni_svhn *s)
{
    int n = s->set.images.v ? s->set.labels.dim[0] : 0;
    if (!n || !s->y || s->count != (size_t)n)
        return lsnni_fail(m->cx, LSNN_EFORMAT, "%s: has %d images in X and %.0f labels in y",
                          m->who, n, (double)s->count);
    for (int i = 0; i < n; i++) {
        if (!(s->y[i] >= 1 && s->y[i] <= 10 && s->y[i] <= floor(s->y[i])))
            return lsnni_fail(m->cx, LSNN_EVALUE, "%s: label %d in y is %g: they are 1 to 9, "
                              "and 10 for the digit 0", m->who, i + 1, s->y[i]);
        s->set.labels.v[i] = (unsigned char)((int)s->y[i] % 10);
    }
    return LSNN_OK;
}

static lsnn_status lsnni_mat_head(lsnni_mat *m)
{
    size_t bytes = (size_t)(m->end - m->at);
    const unsigned char *v = m->at;
    int little = bytes >= LSNNI_MAT_HEAD && v[126] == 'I' && v[127] == 'M', version;
    if (bytes >= 8 && (!memcmp(v, "\x89HDF\r\n\x1a\n", 8) || !memcmp(v, "MATLAB 7.3", 8)))
        return lsnni_fail(m->cx, LSNN_EFORMAT, "%s: is a MAT file of version 7.3 (HDF5): version 5 "
                          "is read, as MATLAB's save -v7 writes it", m->who);
    if (bytes < LSNNI_MAT_HEAD || (!little && (v[126] != 'M' || v[127] != 'I')))
        return lsnni_fail(m->cx, LSNN_EFORMAT, "%s: is no MAT file of version 5: its head of 128 "
                          "bytes does not end in IM or MI", m->who);
    m->swapped = !little;
    version = (int)lsnni_mat_bits(m, v + 124, 2);
    if (version != 0x0100)
        return lsnni_fail(m->cx, LSNN_EFORMAT, "%s: is a MAT file of version %04x, not 0100: as "
                          "MATLAB's save -v7 writes it", m->who, (unsigned)version);
    m->at += LSNNI_MAT_HEAD;
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_svhn_read(lsnn_ctx *cx, lsnn_set *s, const char *path)
{
    lsnni_content file;
    lsnni_mat m;
    lsnni_svhn read;
    lsnn_status status;
    memset(&read, 0, sizeof read);
    memset(&m, 0, sizeof m);
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_svhn_read", path));
    LSNNI_TRY(lsnni_content_read(cx, &file, path));
    m.cx = cx;
    m.who = file.shown;
    m.at = file.v;
    m.end = file.v + file.count;
    status = lsnni_mat_head(&m);
    while (status == LSNN_OK && m.at < m.end) {
        lsnni_mat_item e;
        status = lsnni_mat_next(&m, &e);
        if (status == LSNN_OK) status = lsnni_svhn_element(&m, &read, &e);
    }
    if (status == LSNN_OK) status = lsnni_svhn_labels(&m, &read);
    lsnni_free(cx, read.y);
    lsnni_free(cx, file.v);
    return lsnni_set_add(cx, s, &read.set, file.shown, status);
}
