/* ---- >>json: just as much of it as a header may contain ----------------------
   The header is a tree of fixed depth (header, tensor or metadata, list), so a
   function a level reads it, and deeper nesting is a wrong character like any
   other. The text ends in a 0, which is no valid character anywhere: that is
   why nothing below asks where the end is. The first failure moves to that 0:
   what is read afterwards fails too, so h->status is asked once, at the end.  */
enum { LSNNI_HEADER_MAX = 100000000 };     /* bytes: safetensors' own limit     */

typedef struct lsnni_dtype {
    const char *name;
    unsigned width;                  /* bytes a number; 0: not known          */
    int floats;                      /* 1: it is read, 0: skipped             */
} lsnni_dtype;

typedef struct lsnni_span {          /* where a tensor lies in the file       */
    uint64_t begin, end;             /* bytes from the start of the data      */
    const lsnni_dtype *dtype;
    const char *name;
    lsnn_tensor *tensor;             /* NULL: skipped                         */
} lsnni_span;

typedef struct lsnni_header {
    lsnn_ctx *cx;
    lsnn_status status;
    const char *path;                /* for messages                          */
    FILE *stream;
    uint64_t data_bytes;             /* what the file has behind its header   */
    char *text, *at;
    const char *tensor;              /* the one that is being read, or NULL   */
    lsnni_span *span;                /* one a tensor, skipped or not          */
    int *dims;                       /* room for the sizes of those that follow */
} lsnni_header;

LSNNI_PRINTF(2, 3)
static lsnn_status lsnni_header_fail(lsnni_header *h, const char *format, ...)
{
    char rule[200];
    va_list list;
    va_start(list, format);
    vsnprintf(rule, sizeof rule, format, list);
    va_end(list);
    if (h->at) h->at += strlen(h->at);
    h->status = LSNN_EFORMAT;
    if (!h->tensor) return lsnni_fail(h->cx, LSNN_EFORMAT, "%s: %s", h->path, rule);
    return lsnni_fail(h->cx, LSNN_EFORMAT, "%s: tensor '%.60s': %s", h->path, h->tensor, rule);
}

static void lsnni_json_fail(lsnni_header *h, const char *rule)
{
    lsnni_header_fail(h, "header is not valid: byte %d %s", (int)(h->at - h->text), rule);
}

/* Takes the character c if it is the next one.                               */
static int lsnni_json_take(lsnni_header *h, char c)
{
    h->at += strspn(h->at, " \t\r\n");
    if (*h->at != c) return 0;
    h->at++;
    return 1;
}

static void lsnni_json_expect(lsnni_header *h, char c)
{
    if (!lsnni_json_take(h, c))
        lsnni_header_fail(h, "header is not valid: byte %d should be '%c'",
                          (int)(h->at - h->text), c);
}

/* Is there another member or element? `last` ends the list.                  */
static int lsnni_json_more(lsnni_header *h, int first, char last)
{
    if (first) return !lsnni_json_take(h, last);
    if (lsnni_json_take(h, ',')) return 1;
    lsnni_json_expect(h, last);
    return 0;
}

/* The value of 4 hexadecimal digits at text; 0 if they are not.              */
static uint32_t lsnni_json_hex(const char *text)
{
    char digits[5] = {0};
    if (strspn(text, "0123456789abcdefABCDEF") < 4) return 0;
    memcpy(digits, text, 4);
    return (uint32_t)strtoul(digits, NULL, 16);
}

/* Decodes the escape at h->at (a backslash) to *out and moves both on.       */
static void lsnni_json_escape(lsnni_header *h, char **out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *s = h->at, *simple = s[1] ? strchr(from, s[1]) : NULL;
    uint32_t c = s[1] == 'u' ? lsnni_json_hex(s + 2) : 0, low;
    int length = simple ? 2 : 6;
    if (simple) {
        c = (uint32_t)to[simple - from];
    } else if (c >= 0xD800 && c < 0xDC00 && s[6] == '\\' && s[7] == 'u' &&
               (low = lsnni_json_hex(s + 8)) >= 0xDC00 && low < 0xE000) {
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);     /* a surrogate pair */
        length = 12;
    } else if (c == 0 || (c >= 0xD800 && c < 0xE000)) {
        lsnni_json_fail(h, "starts a bad escape");
        return;
    }
    *out = lsnni_utf8_put(*out, c);
    h->at += length;
}

/* Reads a string and decodes it where it lies, since no escape is shorter than
   what it stands for; the closing quote makes room for the end mark.         */
static const char *lsnni_json_string(lsnni_header *h)
{
    char *string, *out;
    lsnni_json_expect(h, '"');
    string = out = h->at;
    while (*h->at != '"' && h->status == LSNN_OK) {
        int n = lsnni_utf8_length(h->at);
        if (*h->at == '\\') lsnni_json_escape(h, &out);
        else if (n == 0 || (unsigned char)*h->at < 32)
            lsnni_json_fail(h, "cannot be in a string");
        else while (n-- > 0) *out++ = *h->at++;
    }
    lsnni_json_take(h, '"');
    *out = 0;
    return string;
}

static uint64_t lsnni_json_count(lsnni_header *h)
{
    uint64_t value = 0;
    char *end;
    h->at += strspn(h->at, " \t\r\n");
    end = h->at;
    errno = 0;                       /* strtoull alone would take signs too   */
    if (*h->at >= '0' && *h->at <= '9') value = strtoull(h->at, &end, 10);
    if (errno) lsnni_json_fail(h, "starts a number that is too large");
    else if (end == h->at || (*h->at == '0' && end - h->at > 1) || strspn(end, ".eE"))
        lsnni_json_fail(h, "should start a whole number from 0 on");
    else h->at = end;
    return value;
}

/* Reads a list of at most `max` numbers; returns how many.                   */
static int lsnni_json_counts(lsnni_header *h, const char *what, uint64_t *value, int max)
{
    int n = 0;
    lsnni_json_expect(h, '[');
    while (lsnni_json_more(h, n == 0, ']')) {
        if (n == max) {
            lsnni_header_fail(h, "%s has more than %d numbers", what, max);
            break;
        }
        value[n++] = lsnni_json_count(h);
    }
    return n;
}

/* ---- >>header: what it says about each tensor --------------------------------*/
static const lsnni_dtype lsnni_dtypes[] = {
    { "F64", 8, 1 }, { "F32", 4, 1 }, { "F16", 2, 1 }, { "BF16", 2, 1 },
    { "I64", 8, 0 }, { "U64", 8, 0 }, { "C64", 8, 0 }, { "I32", 4, 0 }, { "U32", 4, 0 },
    { "I16", 2, 0 }, { "U16", 2, 0 }, { "I8", 1, 0 }, { "U8", 1, 0 }, { "BOOL", 1, 0 },
    { "F8_E4M3", 1, 0 }, { "F8_E5M2", 1, 0 }, { "F8_E8M0", 1, 0 }, { NULL, 0, 0 }
};

/* The format gets new dtypes: one that is not in the list is skipped, too.   */
static const lsnni_dtype *lsnni_header_dtype(lsnni_header *h, const char *name)
{
    const lsnni_dtype *d = lsnni_dtypes;
    size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    while (d->name && strcmp(d->name, name) != 0) d++;
    if (!n || n > 16 || name[n]) lsnni_header_fail(h, "dtype '%.60s' cannot be one", name);
    return d;
}

/* lsnni_read_tables has made room for all sizes of the header.               */
static void lsnni_header_shape(lsnni_header *h, lsnn_tensor *t)
{
    t->dims = h->dims;
    lsnni_json_expect(h, '[');
    while (lsnni_json_more(h, t->rank == 0, ']')) {
        uint64_t dim = lsnni_json_count(h);
        if (dim > INT_MAX)
            lsnni_header_fail(h, "shape: dimension %d is above %d", t->rank, INT_MAX);
        if (h->status != LSNN_OK) break;
        if (t->rank < 4) t->dim[t->rank] = (int)dim;
        *h->dims++ = (int)dim;
        t->rank++;
    }
}

/* The bytes that the offsets give must be the bytes that the shape needs.    */
static lsnn_status lsnni_header_bytes(lsnni_header *h, const lsnni_span *span, lsnn_tensor *t)
{
    uint64_t begin = span->begin, end = span->end;
    size_t bytes;
    if (begin > end || end > h->data_bytes)
        return lsnni_header_fail(h, "data_offsets [%.0f, %.0f) do not lie in the data, "
                                 "%.0f bytes", (double)begin, (double)end,
                                 (double)h->data_bytes);
    if (!span->dtype->name) return LSNN_OK;              /* skipped, whatever it is */
    if (!lsnni_tensor_bytes(t, span->dtype->width, &bytes))
        return lsnni_header_fail(h, "shape: its size in bytes overflows");
    if (bytes != end - begin)
        return lsnni_header_fail(h, "shape and dtype make %.0f bytes, data_offsets %.0f",
                                 (double)bytes, (double)(end - begin));
    t->count = bytes / span->dtype->width;
    return LSNN_OK;
}

/* {"dtype":"F32","shape":[8,5],"data_offsets":[0,160]}, in any order. *dtype gets the word. */
static lsnn_status lsnni_header_tensor(lsnni_header *h, lsnn_tensor *t, lsnni_span *span,
                                       const char **dtype)
{
    enum { has_dtype = 1, has_shape = 2, has_offsets = 4 };
    uint64_t offset[2] = {0, 0};
    int seen = 0;
    memset(t, 0, sizeof *t);
    t->name = span->name = h->tensor;
    lsnni_json_expect(h, '{');
    while (lsnni_json_more(h, seen == 0, '}')) {
        const char *key = lsnni_json_string(h);
        int what = strcmp(key, "dtype") == 0 ? has_dtype : strcmp(key, "shape") == 0 ? has_shape
                 : strcmp(key, "data_offsets") == 0 ? has_offsets : 0;
        lsnni_json_expect(h, ':');
        if (!what || (seen & what))
            return lsnni_header_fail(h, what ? "key '%.60s' occurs twice"
                                             : "unknown key '%.60s'", key);
        seen |= what;
        if (what == has_shape) {
            lsnni_header_shape(h, t);
        } else if (what == has_offsets) {
            if (lsnni_json_counts(h, "data_offsets", offset, 2) != 2)
                lsnni_header_fail(h, "data_offsets needs two numbers");
        } else {
            *dtype = lsnni_json_string(h);
            span->dtype = lsnni_header_dtype(h, *dtype);
        }
    }
    LSNNI_TRY(h->status);
    if (seen != (has_dtype | has_shape | has_offsets))
        return lsnni_header_fail(h, "dtype, shape or data_offsets is missing");
    span->tensor = span->dtype->floats ? t : NULL;
    t->dtype = span->dtype->name;
    span->begin = offset[0];
    span->end = offset[1];
    return lsnni_header_bytes(h, span, t);
}

static void lsnni_header_metadata(lsnni_header *h, lsnn_file *f)
{
    lsnni_json_expect(h, '{');
    while (lsnni_json_more(h, f->metas == 0, '}')) {
        lsnn_pair *pair = &f->meta[f->metas++];
        pair->key = lsnni_json_string(h);
        lsnni_json_expect(h, ':');
        pair->value = lsnni_json_string(h);
    }
}

/* The tables are large enough, see lsnni_read_tables: a failure ends each loop. */
static lsnn_status lsnni_header_parse(lsnni_header *h, lsnn_file *f)
{
    int metadata = 0;
    if (*h->at != '{') return lsnni_header_fail(h, "the header does not start with '{'");
    h->at++;
    while (lsnni_json_more(h, f->tensors + f->skips + metadata == 0, '}')) {
        const char *name = lsnni_json_string(h), *dtype = "";
        lsnni_span *span = &h->span[f->tensors + f->skips];
        lsnni_json_expect(h, ':');
        if (strcmp(name, "__metadata__") == 0) {
            if (metadata++) return lsnni_header_fail(h, "__metadata__ occurs twice");
            lsnni_header_metadata(h, f);
            continue;
        }
        h->tensor = name;
        LSNNI_TRY(lsnni_header_tensor(h, &f->tensor[f->tensors], span, &dtype));
        if (!span->tensor) {
            f->skipped[f->skips].key = name;
            f->skipped[f->skips++].value = dtype;
        } else f->tensors++;
        h->tensor = NULL;
    }
    h->at += strspn(h->at, " \t\r\n");
    if (*h->at) lsnni_json_fail(h, "should be the end");
    return h->status;
}

/* ---- >>file_read -------------------------------------------------------------*/
static lsnn_status lsnni_read_bytes(const lsnni_header *h, void *v, size_t bytes)
{
    errno = 0;
    if (fread(v, 1, bytes, h->stream) == bytes) return LSNN_OK;
    return lsnni_fail(h->cx, LSNN_EIO, "%s: cannot be read: %s", h->path,
                      ferror(h->stream) ? strerror(errno) : "it became shorter meanwhile");
}

/* The number in `width` little-endian bytes, on any host.                    */
static uint64_t lsnni_bits_from(const unsigned char *p, size_t width)
{
    uint64_t bits = 0;
    while (width-- > 0) bits = bits << 8 | p[width];
    return bits;
}

/* Finds the file's true size, then believes the header's length no further than
   that, and reads the header.                                                */
static lsnn_status lsnni_read_header(lsnni_header *h, lsnn_file *f)
{
    unsigned char length[8];
    int64_t size = lsnni_stream_size(h->stream);
    uint64_t n;
    if (size < 0 || fseek(h->stream, 0, SEEK_SET) != 0)
        return lsnni_fail(h->cx, LSNN_EIO, "%s: cannot find its size: %s", h->path,
                          strerror(errno));
    if (size < 8)
        return lsnni_header_fail(h, "%d bytes are too few, a file has 8 at least", (int)size);
    LSNNI_TRY(lsnni_read_bytes(h, length, 8));
    n = lsnni_bits_from(length, 8);
    if (n > LSNNI_HEADER_MAX || n > (uint64_t)size - 8)
        return lsnni_header_fail(h, "a header of %.0f bytes does not fit into a file of %.0f, "
                                 "or is above %d", (double)n, (double)size, LSNNI_HEADER_MAX);
    h->data_bytes = (uint64_t)size - 8 - n;
    f->block_[0] = h->text = h->at = (char *)lsnni_alloc(h->cx, (size_t)n + 1, 1);
    if (!h->text) return LSNN_ENOMEM;
    LSNNI_TRY(lsnni_read_bytes(h, h->text, (size_t)n));
    if (strlen(h->text) == n) return LSNN_OK;
    return lsnni_header_fail(h, "the header contains a zero byte");
}

/* The shortest tensor takes 48 bytes of header, the shortest pair 6, and a size a comma or
   a tensor: the tables have room for all that may be there and one more of each, which
   breaks off.                                                                */
static lsnn_status lsnni_read_tables(lsnni_header *h, lsnn_file *f)
{
    size_t n = strlen(h->text), tensors = n / 48 + 1, pairs = n / 6 + 1, sizes = tensors;
    size_t tensor_bytes = tensors * sizeof *f->tensor, span_bytes = tensors * sizeof *h->span;
    char *block = (char *)lsnni_alloc(h->cx, tensor_bytes + span_bytes +
                                      (pairs + tensors) * sizeof *f->meta, 1);
    for (const char *p = h->text; *p; p++) sizes += *p == ',';
    f->block_[1] = block;
    f->block_[3] = h->dims = (int *)lsnni_alloc(h->cx, sizes, sizeof *h->dims);
    if (!block || !h->dims) return LSNN_ENOMEM;
    f->tensor = (lsnn_tensor *)(void *)block;
    h->span = (lsnni_span *)(void *)(block + tensor_bytes);
    f->meta = (lsnn_pair *)(void *)(block + tensor_bytes + span_bytes);
    f->skipped = f->meta + pairs;
    LSNNI_TRY(lsnni_header_parse(h, f));
    return lsnni_names_check(h->cx, LSNN_EFORMAT, h->path, f->tensor, f->tensors, f->skipped,
                             f->skips, f->meta, f->metas);
}

static int lsnni_compare_spans(const void *a, const void *b)
{
    const lsnni_span *left = (const lsnni_span *)a, *right = (const lsnni_span *)b;
    if (left->begin != right->begin) return left->begin < right->begin ? -1 : 1;
    return left->end < right->end ? -1 : left->end > right->end;
}

/* Sorts the spans; they must cover the data, from its first byte to its last,
   without a hole and without an overlap.                                     */
static lsnn_status lsnni_spans_check(lsnni_header *h, const lsnn_file *f)
{
    uint64_t end = 0;
    int count = f->tensors + f->skips;
    qsort(h->span, (size_t)count, sizeof *h->span, lsnni_compare_spans);
    for (int i = 0; i < count; i++) {
        const lsnni_span *span = &h->span[i];
        h->tensor = span->name;
        if (span->begin != end)
            return lsnni_header_fail(h, "its data starts at %.0f, not where those before end, "
                                     "at %.0f: %s", (double)span->begin, (double)end,
                                     span->begin < end ? "they overlap" : "there is a hole");
        end = span->end;
    }
    h->tensor = NULL;
    if (end == h->data_bytes) return LSNN_OK;
    return lsnni_header_fail(h, "%.0f bytes follow the last tensor's data",
                             (double)(h->data_bytes - end));
}

/* The bits of the float that has the value of an F16: a sign, 5 bits of exponent (bias 15),
   10 of fraction. Below 2^-14 it counts in steps of 2^-24.                   */
static uint32_t lsnni_bits_of_f16(uint32_t half)
{
    uint32_t sign = (half & 0x8000) << 16, exponent = half >> 10 & 31, low = half & 1023, bits;
    float small_value = (float)low / 16777216;
    memcpy(&bits, &small_value, 4);
    if (exponent == 31) bits = 0x7F800000 | low << 13;   /* infinity, NaN         */
    else if (exponent) bits = (exponent + 127 - 15) << 23 | low << 13;
    return sign | bits;
}

/* Past what is not read. The stream never seeks: no file is too long for a long. */
static lsnn_status lsnni_read_past(lsnni_header *h, uint64_t bytes)
{
    unsigned char chunk[16384];
    for (uint64_t n; bytes; bytes -= n) {
        n = LSNNI_MIN(bytes, sizeof chunk);
        LSNNI_TRY(lsnni_read_bytes(h, chunk, (size_t)n));
    }
    return LSNN_OK;
}

/* The number in the bytes at p. In the float build a float keeps its bits, whatever NaN it is:
   it never becomes a double. 0: it is too large for a float.                  */
static int lsnni_real_from(lsnn_real *v, const unsigned char *p, const lsnni_dtype *dtype)
{
    uint64_t bits = lsnni_bits_from(p, dtype->width);
    double wide;
    if (dtype->width <= 4) {
        uint32_t low = (uint32_t)bits;
        float x;
        if (dtype->width == 2) low = *dtype->name == 'F' ? lsnni_bits_of_f16(low) : low << 16;
        memcpy(&x, &low, 4);
        *v = LSNNI_R(x);
        return 1;
    }
    memcpy(&wide, &bits, 8);
    *v = LSNNI_R(wide);
    return fabs((double)*v) <= DBL_MAX || !(fabs(wide) <= DBL_MAX);
}

/* Reads t's numbers, a chunk at a time, into v.                              */
static lsnn_status lsnni_read_tensor(lsnni_header *h, const lsnn_tensor *t,
                                     const lsnni_dtype *dtype, lsnn_real *v)
{
    unsigned char chunk[16384];
    size_t width = dtype->width, most = sizeof chunk / width;
    h->tensor = t->name;
    for (size_t i = 0; i < t->count; i++) {
        const unsigned char *p = chunk + i % most * width;
        if (p == chunk)
            LSNNI_TRY(lsnni_read_bytes(h, chunk, LSNNI_MIN(most, t->count - i) * width));
        if (!lsnni_real_from(&v[i], p, dtype))
            return lsnni_header_fail(h, "a value is too large for float; build with LSNN_DOUBLE");
    }
    return LSNN_OK;
}

/* The data in file order, so that the stream never seeks.                    */
static lsnn_status lsnni_read_values(lsnni_header *h, lsnn_file *f)
{
    size_t count = 0;
    lsnn_real *v;
    for (int i = 0; i < f->tensors; i++) count = lsnni_plus(count, f->tensor[i].count);
    f->block_[2] = v = (lsnn_real *)lsnni_alloc(h->cx, count, sizeof *v);
    if (!v) return LSNN_ENOMEM;
    for (int i = 0; i < f->tensors + f->skips; i++) {
        const lsnni_span *span = &h->span[i];
        if (!span->tensor) {
            LSNNI_TRY(lsnni_read_past(h, span->end - span->begin));
            continue;
        }
        LSNNI_TRY(lsnni_read_tensor(h, span->tensor, span->dtype, v));
        span->tensor->v = v;
        v += span->tensor->count;
    }
    return LSNN_OK;
}

#if defined(LSNN_NO_DATA) && defined(LSNN_NO_PICTURES)
#define lsnni_npy_begins(stream) 0
#define lsnni_npy_load(cx, f, path) LSNN_EUNSUPPORTED
#else
static lsnn_status lsnni_npy_load(lsnn_ctx *cx, lsnn_file *f, const char *path);

/* A .npy or .npz file, see >>npy.                                            */
static int lsnni_npy_begins(FILE *stream)
{
    unsigned char v[6] = { 0 };
    size_t n = fread(v, 1, sizeof v, stream);
    rewind(stream);
    return n == 6 && (!memcmp(v, "\x93NUMPY", 6) || !memcmp(v, "PK\3\4", 4) ||
                      !memcmp(v, "PK\5\6", 4));
}
#endif

LSNN_API lsnn_status lsnn_file_read(lsnn_ctx *cx, lsnn_file *f, const char *path)
{
    lsnni_header h;
    lsnn_status s;
    memset(f, 0, sizeof *f);
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_file_read", path));
    memset(&h, 0, sizeof h);
    h.cx = cx;
    h.path = lsnni_path_end(path);
    h.stream = fopen(path, "rb");
    if (!h.stream)
        return lsnni_fail(cx, LSNN_EIO, "%s: cannot be opened: %s", h.path, strerror(errno));
    if (lsnni_npy_begins(h.stream)) {
        fclose(h.stream);
        return lsnni_npy_load(cx, f, path);
    }
    s = lsnni_read_header(&h, f);
    if (s == LSNN_OK) s = lsnni_read_tables(&h, f);
    if (s == LSNN_OK) s = lsnni_spans_check(&h, f);
    if (s == LSNN_OK) s = lsnni_read_values(&h, f);
    fclose(h.stream);
    if (s != LSNN_OK) lsnn_file_free(cx, f);
    return s;
}

LSNN_API void lsnn_file_free(lsnn_ctx *cx, lsnn_file *f)
{
    for (int i = 0; i < 4; i++) lsnni_free(cx, f->block_[i]);
    memset(f, 0, sizeof *f);
}

LSNN_API const lsnn_tensor *lsnn_file_tensor(const lsnn_file *f, const char *name)
{
    for (int i = 0; i < f->tensors && name; i++)
        if (strcmp(f->tensor[i].name, name) == 0) return &f->tensor[i];
    return NULL;
}

LSNN_API const char *lsnn_file_meta(const lsnn_file *f, const char *key)
{
    for (int i = 0; i < f->metas && key; i++)
        if (strcmp(f->meta[i].key, key) == 0) return f->meta[i].value;
    return NULL;
}

