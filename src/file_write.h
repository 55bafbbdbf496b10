/* ---- >>file_write ------------------------------------------------------------*/
typedef struct lsnni_writer {
    const lsnn_tensor *tensor; int tensors;
    const lsnn_pair *meta; int metas;
    FILE *stream;                    /* NULL: only count                      */
    size_t header;                   /* its bytes so far                      */
} lsnni_writer;

LSNNI_PRINTF(2, 3)
static void lsnni_put(lsnni_writer *w, const char *format, ...)
{
    int n;
    va_list list;
    va_start(list, format);
    n = w->stream ? vfprintf(w->stream, format, list) : vsnprintf(NULL, 0, format, list);
    va_end(list);
    w->header += (size_t)LSNNI_MAX(n, 0);          /* the stream keeps its error */
}

static void lsnni_put_string(lsnni_writer *w, const char *s)
{
    lsnni_put(w, "\"");
    for (; *s; s++) {
        if (*s == '"' || *s == '\\') lsnni_put(w, "\\%c", *s);
        else if (*s == '\n') lsnni_put(w, "\\n");
        else if ((unsigned char)*s < 32) lsnni_put(w, "\\u%04x", (unsigned)*s);
        else lsnni_put(w, "%c", *s);
    }
    lsnni_put(w, "\"");
}

/* The header, to the stream or only counted.                                 */
static void lsnni_put_header(lsnni_writer *w)
{
    unsigned long long end = 0;
    w->header = 0;
    lsnni_put(w, w->metas ? "{\"__metadata__\":{" : "{");
    for (int i = 0; i < w->metas; i++) {
        if (i) lsnni_put(w, ",");
        lsnni_put_string(w, w->meta[i].key);
        lsnni_put(w, ":");
        lsnni_put_string(w, w->meta[i].value);
    }
    if (w->metas) lsnni_put(w, "}");
    for (int i = 0; i < w->tensors; i++) {
        const lsnn_tensor *t = &w->tensor[i];
        unsigned long long begin = end;
        end += t->count * sizeof(lsnn_real);
        if (i || w->metas) lsnni_put(w, ",");
        lsnni_put_string(w, t->name);
        lsnni_put(w, ":{\"dtype\":\"F%d\",\"shape\":[", 8 * (int)sizeof(lsnn_real));
        for (int k = 0; k < t->rank; k++)
            lsnni_put(w, k ? ",%d" : "%d", lsnni_tensor_dim(t, k));
        lsnni_put(w, "],\"data_offsets\":[%llu,%llu]}", begin, end);
    }
    lsnni_put(w, "}");
    while (w->header % 8) lsnni_put(w, " ");       /* the data starts on 8 bytes */
}

static void lsnni_bytes_of(unsigned char *p, uint64_t bits, size_t width)
{
    for (size_t k = 0; k < width; k++) p[k] = (unsigned char)(bits >> (8*k));
}

static lsnn_status lsnni_write_values(FILE *f, const lsnn_real *v, size_t count)
{
    unsigned char chunk[16384];
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
#ifdef LSNN_DOUBLE
        uint64_t bits;
#else
        uint32_t bits;
#endif
        memcpy(&bits, v + i, sizeof bits);
        lsnni_bytes_of(chunk + used, bits, sizeof bits);
        used += sizeof bits;
        if (used < sizeof chunk && i + 1 < count) continue;
        if (fwrite(chunk, 1, used, f) != used) return LSNN_EIO;
        used = 0;
    }
    return LSNN_OK;
}

/* For lsnni_file_replace.                                                    */
static lsnn_status lsnni_write_file(lsnn_ctx *cx, FILE *f, void *user)
{
    lsnni_writer *w = (lsnni_writer *)user;
    unsigned char length[8];
    (void)cx;
    lsnni_bytes_of(length, w->header, 8);
    fwrite(length, 1, 8, f);
    w->stream = f;
    lsnni_put_header(w);
    if (ferror(f)) return LSNN_EIO;
    for (int i = 0; i < w->tensors; i++)
        LSNNI_TRY(lsnni_write_values(f, w->tensor[i].v, w->tensor[i].count));
    return LSNN_OK;
}

static lsnn_status lsnni_write_check_text(lsnn_ctx *cx, const char *path, const char *text)
{
    int n;
    if (!text) return lsnni_fail(cx, LSNN_EVALUE, "%s: a name or a text is NULL", path);
    for (const char *s = text; *s; s += n)
        if ((n = lsnni_utf8_length(s)) == 0)
            return lsnni_fail(cx, LSNN_EVALUE, "%s: the text '%.60s' is not valid UTF-8", path,
                              text);
    return LSNN_OK;
}

static lsnn_status lsnni_write_check_tensor(lsnn_ctx *cx, const char *path,
                                            const lsnn_tensor *t, size_t *bytes)
{
    size_t own = 0;
    LSNNI_TRY(lsnni_write_check_text(cx, path, t->name));
    if (t->rank < 0 || (t->rank > 4 && !t->dims) || !lsnni_tensor_bytes(t, sizeof *t->v, &own) ||
        own / sizeof *t->v != t->count || lsnni_plus(*bytes, own) == LSNNI_TOO_LARGE)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: tensor '%.60s': rank %d (above 4: with dims) "
                          "and its dimensions do not give a count of %.0f, or the file's size "
                          "overflows", path, t->name, t->rank, (double)t->count);
    *bytes += own;
    if (strcmp(t->name, "__metadata__") == 0)
        return lsnni_fail(cx, LSNN_EVALUE, "%s: a tensor cannot be named %s", path, t->name);
    if (!t->v && own)
        return lsnni_fail(cx, LSNN_EVALUE, "%s: tensor '%.60s' has no values", path, t->name);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_file_write(lsnn_ctx *cx, const char *path, const lsnn_tensor *t,
                                     int tensors, const lsnn_pair *meta, int metas)
{
    lsnni_writer w = {t, tensors, meta, metas, NULL, 0};
    const char *shown;
    size_t bytes = 0;
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_file_write", path));
    shown = lsnni_path_end(path);
    if (tensors < 0 || metas < 0)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: %d tensors, %d metadata", shown, tensors,
                          metas);
    if ((tensors && !t) || (metas && !meta))
        return lsnni_fail(cx, LSNN_EVALUE, "%s: the tensors or the metadata are NULL", shown);
    for (int i = 0; i < tensors; i++)
        LSNNI_TRY(lsnni_write_check_tensor(cx, shown, &t[i], &bytes));
    for (int i = 0; i < metas; i++) {
        LSNNI_TRY(lsnni_write_check_text(cx, shown, meta[i].key));
        LSNNI_TRY(lsnni_write_check_text(cx, shown, meta[i].value));
    }
    LSNNI_TRY(lsnni_names_check(cx, LSNN_EVALUE, shown, t, tensors, NULL, 0, meta, metas));
    lsnni_put_header(&w);
    if (w.header > LSNNI_HEADER_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: a header of %.0f bytes is above %d", shown,
                          (double)w.header, LSNNI_HEADER_MAX);
    return lsnni_file_replace(cx, path, lsnni_write_file, &w);
}
