/* ---- >>utf8: text and names from strangers -----------------------------------*/

/* Bytes of the character at text: 1 to 4, or 0 if it is not valid UTF-8.     */
static int lsnni_utf8_length(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    int n = s[0] < 0x80 ? 1 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    int low = s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80;    /* else too long  */
    int high = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;   /* else surrogate */
    if (n > 1 && (s[0] < 0xC2 || s[0] > 0xF4 || s[1] < low || s[1] > high)) return 0;
    for (int i = 2; i < n; i++) if ((s[i] & 0xC0) != 0x80) return 0;
    return n;
}

/* Writes code point c, returns the place behind it.                          */
static char *lsnni_utf8_put(char *out, uint32_t c)
{
    int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned lead[4] = {0, 0xC0, 0xE0, 0xF0};
    *out++ = (char)(lead[more] | (c >> (6*more)));
    while (more-- > 0) *out++ = (char)(0x80 | ((c >> (6*more)) & 0x3F));
    return out;
}

static int lsnni_compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* No name may occur twice among the tensors, no key among the metadata.      */
static lsnn_status lsnni_names_check(lsnn_ctx *cx, lsnn_status bad, const char *path,
                                     const lsnn_tensor *t, int tensors,
                                     const lsnn_pair *skipped, int skips,
                                     const lsnn_pair *meta, int metas)
{
    size_t most = (size_t)LSNNI_MAX(tensors + skips, metas);
    const char **name = (const char **)lsnni_alloc(cx, most, sizeof *name);
    lsnn_status s = name ? LSNN_OK : LSNN_ENOMEM;
    for (int keys = 0; keys < 2 && s == LSNN_OK; keys++) {
        int count = keys ? metas : tensors + skips;
        for (int i = 0; i < count; i++)
            name[i] = keys ? meta[i].key : i < tensors ? t[i].name : skipped[i - tensors].key;
        qsort((void *)name, (size_t)count, sizeof *name, lsnni_compare_names);
        for (int i = 1; i < count && s == LSNN_OK; i++)
            if (strcmp(name[i - 1], name[i]) == 0)
                s = lsnni_fail(cx, bad, keys ? "%s: __metadata__ has the key '%.60s' twice"
                               : "%s: two tensors are named '%.60s'", path, name[i]);
    }
    lsnni_free(cx, (void *)name);
    return s;
}

/* Size i of t: the one place that knows where it stands.                     */
static int lsnni_tensor_dim(const lsnn_tensor *t, int i)
{
    return i < 4 ? t->dim[i] : t->dims[i];
}

/* The bytes of t's numbers, `width` each; 0 if they overflow.                */
static int lsnni_tensor_bytes(const lsnn_tensor *t, size_t width, size_t *bytes)
{
    int fits = 1;
    *bytes = width;
    for (int i = 0; i < t->rank; i++) {
        if (lsnni_tensor_dim(t, i) < 0) return 0;
        fits &= lsnni_mul(bytes, (size_t)lsnni_tensor_dim(t, i));
    }
    return fits;
}

