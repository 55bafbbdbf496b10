/* ============================================================================
   >>png  an image as a PNG file: RFC 2083, with zlib (RFC 1950) and deflate (RFC 1951)
     signature | IHDR | IDAT ... | IEND        a chunk: length, name, data, CRC-32
   The data of all IDATs are one zlib stream of the rows, each with a filter's number before
   it. It is one deflate block of fixed Huffman codes: literals, and matches of 3 to 258
   bytes up to 32 K back, found where the same three bytes stood last.
   ==========================================================================*/
#ifndef LSNN_NO_PICTURES

enum { LSNNI_PNG_HASHES = 1 << 14, LSNNI_PNG_REACH = 32768, LSNNI_PNG_LONGEST = 258,
    LSNNI_PNG_END = 256 };

typedef struct lsnni_png {
    FILE *f;                         /* it keeps its error: lsnni_file_replace asks */
    uint32_t crc[256];
    uint32_t bits;                   /* not yet a byte                        */
    int bit_count, used;
    unsigned char out[16384];        /* not yet a chunk                       */
    int last[LSNNI_PNG_HASHES];      /* 1 + where three bytes of this hash stood last */
} lsnni_png;

/* ---- chunks ------------------------------------------------------------------*/
static void lsnni_png_put32(unsigned char *to, uint32_t v)
{
    for (int i = 0; i < 4; i++) to[i] = (unsigned char)(v >> (24 - 8*i));
}

static void lsnni_png_chunk(lsnni_png *p, const char *name, const unsigned char *v, size_t n)
{
    unsigned char head[8], tail[4];
    lsnni_png_put32(head, (uint32_t)n);
    memcpy(head + 4, name, 4);
    lsnni_png_put32(tail, ~lsnni_crc32(p->crc, lsnni_crc32(p->crc, ~(uint32_t)0, head + 4, 4),
                                       v, n));
    fwrite(head, 1, 8, p->f);
    fwrite(v, 1, n, p->f);
    fwrite(tail, 1, 4, p->f);
}

static void lsnni_png_byte(lsnni_png *p, uint32_t v)
{
    p->out[p->used++] = (unsigned char)v;
    if (p->used < (int)sizeof p->out) return;
    lsnni_png_chunk(p, "IDAT", p->out, (size_t)p->used);
    p->used = 0;
}

/* ---- deflate: the lowest bit first, but codes from their highest -----------------*/
static void lsnni_png_bits(lsnni_png *p, uint32_t v, int count)
{
    p->bits |= v << p->bit_count;
    for (p->bit_count += count; p->bit_count >= 8; p->bit_count -= 8) {
        lsnni_png_byte(p, p->bits);
        p->bits >>= 8;
    }
}

static void lsnni_png_code(lsnni_png *p, uint32_t code, int count)
{
    while (count-- > 0) lsnni_png_bits(p, code >> count & 1, 1);
}

/* RFC 1951, 3.2.6: a byte, the end, or from 257 on a length.                 */
static void lsnni_png_symbol(lsnni_png *p, uint32_t s)
{
    if (s < 144) lsnni_png_code(p, 0x30 + s, 8);
    else if (s < 256) lsnni_png_code(p, 0x190 + s - 144, 9);
    else if (s < 280) lsnni_png_code(p, s - 256, 7);
    else lsnni_png_code(p, 0xC0 + s - 280, 8);
}

/* Lengths and distances are coded alike (3.2.5): `steps` codes for each doubling, and the
   bits below as they are. v counts from 0; *extra gets the number of those bits. */
static uint32_t lsnni_png_scale(uint32_t v, uint32_t steps, int *extra)
{
    *extra = 0;
    while (v >> *extra >= 2 * steps) ++*extra;
    return (uint32_t)*extra * steps + (v >> *extra);
}

static void lsnni_png_match(lsnni_png *p, int length, int distance)
{
    uint32_t l = (uint32_t)length - 3, d = (uint32_t)distance - 1;
    int extra;
    if (length == LSNNI_PNG_LONGEST) lsnni_png_symbol(p, 285);
    else {
        lsnni_png_symbol(p, 257 + lsnni_png_scale(l, 4, &extra));
        lsnni_png_bits(p, l & ((1u << extra) - 1), extra);
    }
    lsnni_png_code(p, lsnni_png_scale(d, 2, &extra), 5);
    lsnni_png_bits(p, d & ((1u << extra) - 1), extra);
}

/* Looks up where v[i], v[i + 1], v[i + 2] stood last (-1: nowhere), and enters i. */
static int lsnni_png_look(lsnni_png *p, const unsigned char *v, int i)
{
    uint32_t three = (uint32_t)v[i] | (uint32_t)v[i + 1] << 8 | (uint32_t)v[i + 2] << 16;
    int *last = &p->last[(three * 2654435761u) >> 18], at = *last - 1;
    *last = i + 1;
    return at;
}

static void lsnni_png_deflate(lsnni_png *p, const unsigned char *v, int n)
{
    lsnni_png_bits(p, 3, 3);                             /* the last block, fixed codes */
    for (int i = 0; i < n;) {
        int at = i + 2 < n ? lsnni_png_look(p, v, i) : -1, length = 0;
        int most = LSNNI_MIN(n - i, LSNNI_PNG_LONGEST);
        if (at >= 0 && i - at <= LSNNI_PNG_REACH)
            while (length < most && v[at + length] == v[i + length]) length++;
        if (length < 3) {
            lsnni_png_symbol(p, v[i++]);
            continue;
        }
        lsnni_png_match(p, length, i - at);
        for (i++; --length > 0; i++) if (i + 2 < n) lsnni_png_look(p, v, i);
    }
    lsnni_png_symbol(p, LSNNI_PNG_END);
    lsnni_png_bits(p, 0, 7);                             /* the rest of the last byte */
    p->bits = 0;
    p->bit_count = 0;
}

/* ---- filters: lsnni_png_guess taken away ------------------------------------------*/
/* Row y of im, filtered, to `to` if that is not NULL; returns the sum of its bytes, each
   taken as a number from -128 to 127: the smaller, the better it compresses. */
static double lsnni_png_filter(const lsnn_image *im, int y, int filter, unsigned char *to)
{
    size_t n = 3 * (size_t)im->w;
    const unsigned char *row = im->rgb + (size_t)y * n, *over = y ? row - n : NULL;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        int left = i >= 3 ? row[i - 3] : 0, above = over ? over[i] : 0;
        int corner = i >= 3 && over ? over[i - 3] : 0;
        unsigned char v = (unsigned char)(row[i] - lsnni_png_guess(filter, left, above, corner));
        sum += v < 128 ? v : 256 - v;
        if (to) to[i] = v;
    }
    return sum;
}

/* The rows, each with its best filter.                                       */
static void lsnni_png_rows(const lsnn_image *im, unsigned char *to)
{
    for (int y = 0; y < im->h; y++, to += 3 * (size_t)im->w + 1) {
        double least = HUGE_VAL;
        for (int filter = 0; filter < 5; filter++) {
            double sum = lsnni_png_filter(im, y, filter, NULL);
            if (sum < least) *to = (unsigned char)filter;
            least = LSNNI_MIN(least, sum);
        }
        lsnni_png_filter(im, y, *to, to + 1);
    }
}

static void lsnni_png_file(lsnni_png *p, const lsnn_image *im, const unsigned char *rows, int n)
{
    unsigned char head[13] = { 0 };
    uint32_t check = lsnni_adler32(rows, (size_t)n);
    lsnni_crc32_table(p->crc);
    lsnni_png_put32(head, (uint32_t)im->w);
    lsnni_png_put32(head + 4, (uint32_t)im->h);
    head[8] = 8;                                         /* bits a number         */
    head[9] = 2;                                         /* red, green, blue      */
    fwrite("\x89PNG\r\n\x1a\n", 1, 8, p->f);
    lsnni_png_chunk(p, "IHDR", head, sizeof head);
    lsnni_png_byte(p, 0x78);                             /* zlib, a window of 32 K */
    lsnni_png_byte(p, 0x5E);
    lsnni_png_deflate(p, rows, n);
    for (int i = 0; i < 4; i++) lsnni_png_byte(p, check >> (24 - 8*i));
    lsnni_png_chunk(p, "IDAT", p->out, (size_t)p->used);
    lsnni_png_chunk(p, "IEND", head, 0);
}

/* For lsnni_file_replace.                                                    */
static lsnn_status lsnni_png_write(lsnn_ctx *cx, FILE *f, void *user)
{
    const lsnn_image *im = (const lsnn_image *)user;
    size_t n = (size_t)im->h * (3 * (size_t)im->w + 1);
    unsigned char *rows = (unsigned char *)lsnni_alloc(cx, n, 1);
    lsnni_png *p = rows ? (lsnni_png *)lsnni_alloc(cx, 1, sizeof *p) : NULL;
    if (p) {
        p->f = f;
        lsnni_png_rows(im, rows);
        lsnni_png_file(p, im, rows, (int)n);
    }
    lsnni_free(cx, p);
    lsnni_free(cx, rows);
    return p ? LSNN_OK : LSNN_ENOMEM;
}

LSNN_API lsnn_status lsnn_image_save(lsnn_ctx *cx, const lsnn_image *im, const char *path)
{
    lsnn_image copy = *im;                               /* of the struct, not of pixels */
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_image_save", path));
    if (!im->rgb || im->w < 1 || im->h < 1 || im->h > INT_MAX / 4 / (3.0 * im->w + 1))
        return lsnni_fail(cx, LSNN_ESHAPE, "lsnn_image_save: %s: %d x %d pixels are none, or "
                          "too many for a picture", lsnni_path_end(path), im->w, im->h);
    return lsnni_file_replace(cx, path, lsnni_png_write, &copy);
}
#endif /* LSNN_NO_PICTURES */
