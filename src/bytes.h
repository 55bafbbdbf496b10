/* ---- >>bytes: a whole file in memory ------------------------------------------------*/
typedef struct lsnni_bytes {
    unsigned char *v;                /* the caller frees it                   */
    size_t count;
    char shown[208];                 /* its path in messages                  */
} lsnni_bytes;

/* A path's last part.                                                        */
static const char *lsnni_file_name(const char *path)
{
    const char *name = path;
    for (; *path; path++) {
        int slash = *path == '/';
#ifdef _WIN32
        slash |= *path == '\\' || *path == ':';
#endif
        if (slash) name = path + 1;
    }
    return name;
}

static int lsnni_is_space(int c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Why these bytes are no data of any kind, or NULL.                          */
static const char *lsnni_bytes_packed(const unsigned char *v, size_t count)
{
    if (count >= 6 && !memcmp(v, "\xFD" "7zXZ", 6)) return "is packed: unpack it by xz -dk";
#ifndef LSNN_USE_ZLIB
    if (count >= 3 && v[0] == 0x1F && v[1] == 0x8B && v[2] == 8)
        return "is packed: build with -DLSNN_USE_ZLIB -lz, or gunzip it";
#endif
    return NULL;
}

/* The file at path (or path.gz), as far as it goes: the block grows with what is read. A 0
   stands behind its last byte.                                               */
static lsnn_status lsnni_bytes_fill(lsnn_ctx *cx, lsnni_bytes *b, lsnni_idx_file *in)
{
    size_t room = 1 << 16, have = 0;
    do {
        unsigned char *v = (unsigned char *)lsnni_alloc(cx, room, 1);
        if (!v) return LSNN_ENOMEM;
        if (have) memcpy(v, b->v, have);
        lsnni_free(cx, b->v);
        b->v = v;
        have += lsnni_idx_get(in, v + have, room - 1 - have);
        room = lsnni_times(room, 2);
    } while (have == room / 2 - 1);
    b->count = have;
    b->v[have] = 0;
    return lsnni_idx_error(cx, in);
}

static lsnn_status lsnni_bytes_read(lsnn_ctx *cx, lsnni_bytes *b, const char *path)
{
    lsnni_idx_file in;
    const char *packed;
    lsnn_status s;
    memset(b, 0, sizeof *b);
    LSNNI_TRY(lsnni_idx_open(cx, &in, path));
    memcpy(b->shown, in.shown, sizeof b->shown);
    s = lsnni_bytes_fill(cx, b, &in);
    LSNNI_IDX_CLOSE(in.stream);
    packed = s == LSNN_OK ? lsnni_bytes_packed(b->v, b->count) : NULL;
    if (packed) s = lsnni_fail(cx, LSNN_EUNSUPPORTED, "%s: %s", b->shown, packed);
    if (s == LSNN_OK) return s;
    lsnni_free(cx, b->v);
    b->v = NULL;
    return s;
}
