#if !defined(LSNN_NO_DATA) || !defined(LSNN_NO_PICTURES)
/* ============================================================================
   >>content  files that may be .gz (zlib's gz functions read plain ones, too), and whole files
   in memory
   ==========================================================================*/
#ifdef LSNN_USE_ZLIB
#include <zlib.h>
typedef gzFile lsnni_gz_stream;
#else
typedef FILE *lsnni_gz_stream;
#endif
typedef struct lsnni_gz {
    lsnni_gz_stream stream;
    char shown[208];                 /* its path in messages                  */
} lsnni_gz;

static lsnni_gz_stream lsnni_gz_stream_open(const char *path)
{
#ifdef LSNN_USE_ZLIB
    return gzopen(path, "rb");
#else
    return fopen(path, "rb");
#endif
}

static void lsnni_gz_close(lsnni_gz *in)
{
#ifdef LSNN_USE_ZLIB
    gzclose(in->stream);
#else
    fclose(in->stream);
#endif
}

static size_t lsnni_gz_get(lsnni_gz *in, void *to, size_t bytes)
{
#ifdef LSNN_USE_ZLIB
    size_t have = 0;
    int got = 1;
    while (have < bytes && got > 0) {
        got = gzread(in->stream, (char *)to + have,
                     (unsigned)LSNNI_MIN(bytes - have, (size_t)1 << 20));
        if (got > 0) have += (size_t)got;
    }
    return have;
#else
    return fread(to, 1, bytes, in->stream);
#endif
}

/* What reading met that is neither data nor the file's end.                  */
static lsnn_status lsnni_gz_error(lsnn_ctx *cx, lsnni_gz *in)
{
#ifdef LSNN_USE_ZLIB
    int code = Z_OK;
    gzerror(in->stream, &code);
    if (code != Z_OK && code != Z_STREAM_END && code != Z_ERRNO)
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: its gzip data is damaged or cut off (%s)",
                          in->shown, zError(code));
    if (code != Z_ERRNO) return LSNN_OK;
#else
    if (!ferror(in->stream)) return LSNN_OK;
#endif
    return lsnni_fail(cx, LSNN_EIO, "%s: cannot be read: %s", in->shown, strerror(errno));
}

/* 1 if there is more behind the end: of a packed file that was cut off, where its last bytes
   filled the caller's room. Only after this does lsnni_gz_error know of every cut. */
static int lsnni_gz_more(lsnni_gz *in)
{
    char more;
#ifdef LSNN_USE_ZLIB
    gzclearerr(in->stream);
#endif
    return lsnni_gz_get(in, &more, 1) == 1;
}

/* The names under which unpackers leave a file, in the order they are tried: in a folder of its
   own name, as it is, and (x-idx3-ubyte) with a dot for the dash; the last two packed, too.
   to has room for the longest; 0: there is no such name.                     */
enum { LSNNI_GZ_OWN_FOLDER, LSNNI_GZ_PLAIN, LSNNI_GZ_PACKED, LSNNI_GZ_DOTTED,
       LSNNI_GZ_DOTTED_PACKED, LSNNI_GZ_NAMES };
static int lsnni_gz_name(char *to, const char *path, int which)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *dash = strstr(name, "-idx");
    size_t n = strlen(path);
    memcpy(to, path, n + 1);
    if (which == LSNNI_GZ_OWN_FOLDER) {
        to[n] = '/';
        memcpy(to + n + 1, name, strlen(name) + 1);
    }
    if (which >= LSNNI_GZ_DOTTED && !dash) return 0;
    if (which >= LSNNI_GZ_DOTTED) to[dash - path] = '.';
    if (which == LSNNI_GZ_PACKED || which == LSNNI_GZ_DOTTED_PACKED) memcpy(to + n, ".gz", 4);
    return 1;
}

/* Opens PATH under the first of its names that is there.                     */
static lsnn_status lsnni_gz_open(lsnn_ctx *cx, lsnni_gz *in, const char *path)
{
    char *name = (char *)lsnni_alloc(cx, 2 * strlen(path) + 5, 1);
    int why = 0;
    if (!name) return cx->last_;
    snprintf(in->shown, sizeof in->shown, "%s", lsnni_path_end(path));
    in->stream = NULL;
    for (int which = 0; !in->stream && which < LSNNI_GZ_NAMES; which++) {
        if (!lsnni_gz_name(name, path, which)) continue;
        in->stream = lsnni_gz_stream_open(name);
        if (!in->stream && which == LSNNI_GZ_PLAIN) why = errno;
        if (in->stream) snprintf(in->shown, sizeof in->shown, "%s", lsnni_path_end(name));
    }
    lsnni_free(cx, name);
    if (in->stream) return LSNN_OK;
    return lsnni_fail(cx, LSNN_EIO, "%s: cannot be opened: %s", in->shown, strerror(why));
}

/* ---- a whole file in memory -------------------------------------------------------*/
typedef struct lsnni_content {
    unsigned char *v;                /* the caller frees it                   */
    size_t count;
    char shown[208];                 /* its path in messages                  */
} lsnni_content;

static int lsnni_is_space(int c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Why these bytes are no data of any kind, or NULL.                          */
static const char *lsnni_content_packed(const unsigned char *v, size_t count)
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
static lsnn_status lsnni_content_fill(lsnn_ctx *cx, lsnni_content *b, lsnni_gz *in)
{
    size_t room = 1 << 16, have = 0;
    do {
        unsigned char *v = (unsigned char *)lsnni_alloc(cx, room, 1);
        if (!v) return LSNN_ENOMEM;
        if (have) memcpy(v, b->v, have);
        lsnni_free(cx, b->v);
        b->v = v;
        have += lsnni_gz_get(in, v + have, room - 1 - have);
        room = lsnni_times(room, 2);
    } while (have == room / 2 - 1);
    b->count = have;
    b->v[have] = 0;
    LSNNI_TRY(lsnni_gz_error(cx, in));
    if (lsnni_gz_more(in))
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: its gzip data is damaged or cut off", in->shown);
    return lsnni_gz_error(cx, in);
}

static lsnn_status lsnni_content_read(lsnn_ctx *cx, lsnni_content *b, const char *path)
{
    lsnni_gz in;
    const char *packed;
    lsnn_status s;
    memset(b, 0, sizeof *b);
    LSNNI_TRY(lsnni_gz_open(cx, &in, path));
    memcpy(b->shown, in.shown, sizeof b->shown);
    s = lsnni_content_fill(cx, b, &in);
    lsnni_gz_close(&in);
    packed = s == LSNN_OK ? lsnni_content_packed(b->v, b->count) : NULL;
    if (packed) s = lsnni_fail(cx, LSNN_EUNSUPPORTED, "%s: %s", b->shown, packed);
    if (s == LSNN_OK) return s;
    lsnni_free(cx, b->v);
    b->v = NULL;
    return s;
}
#endif /* LSNN_NO_DATA and LSNN_NO_PICTURES */
