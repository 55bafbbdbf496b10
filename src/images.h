#if !defined(LSNN_NO_DATA) || !defined(LSNN_NO_PICTURES)
/* ============================================================================
   >>images  PNG and PPM files, read
   Whatever the file has (grey, palette, colours, transparency, 1 to 16 bits, interlaced)
   becomes h x w x 3 bytes, red, green, blue. Transparency is left out; of 16 bits the
   upper 8 stay.
   ==========================================================================*/
static lsnn_status lsnni_image_room(lsnn_ctx *cx, lsnn_image *im, const char *who, double w,
                                    double h)
{
    if (!(w >= 1 && h >= 1 && w * h <= (1 << 28)))
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: is %.0f x %.0f pixels; at least 1 and at most "
                          "2^28 are read", who, w, h);
    im->rgb = (unsigned char *)lsnni_alloc(cx, (size_t)(w * h), 3);
    im->w = (int)w;
    im->h = (int)h;
    return im->rgb ? LSNN_OK : LSNN_ENOMEM;
}

/* ---- PPM: P6, width, height, the largest value; one white space; then the pixels --------*/
/* The next whole number of a PPM's head; -1: there is none. # begins a comment. */
static int lsnni_ppm_number(const unsigned char *v, size_t bytes, size_t *at)
{
    int n = -1;
    while (*at < bytes && (v[*at] == '#' || lsnni_is_space(v[*at]))) {
        if (v[*at] == '#') while (*at < bytes && v[*at] != '\n') ++*at;
        else ++*at;
    }
    for (; *at < bytes && v[*at] >= '0' && v[*at] <= '9' && n < 100000000; ++*at)
        n = 10 * LSNNI_MAX(n, 0) + (v[*at] - '0');
    return n;
}

static lsnn_status lsnni_ppm_read(lsnn_ctx *cx, lsnn_image *im, const char *who,
                                  const unsigned char *v, size_t bytes)
{
    size_t at = 2, need;
    int w = lsnni_ppm_number(v, bytes, &at), h = lsnni_ppm_number(v, bytes, &at);
    int largest = lsnni_ppm_number(v, bytes, &at);
    if (!lsnni_is_space(v[2]) || w < 0 || h < 0 || largest < 0 || at >= bytes ||
        !lsnni_is_space(v[at]))
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: its head should be P6, width, height, 255",
                          who);
    if (largest < 1 || largest > 255)
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: its largest value is %d; a PPM of 8 bits has "
                          "255", who, largest);
    LSNNI_TRY(lsnni_image_room(cx, im, who, w, h));
    need = lsnni_area(w, h) * 3;
    if (bytes - ++at != need)
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: %d x %d pixels are %.0f bytes, it has %.0f",
                          who, w, h, (double)need, (double)(bytes - at));
    for (size_t i = 0; i < need; i++) {
        int value = v[at + i];
        if (value > largest)
            return lsnni_fail(cx, LSNN_EFORMAT, "%s: a value of %d; its largest is %d", who,
                              value, largest);
        im->rgb[i] = (unsigned char)((value * 255 + largest / 2) / largest);
    }
    return LSNN_OK;
}

/* ---- PNG: chunks of length, name, data, checksum -------------------------------------*/
enum { LSNNI_PNG_GREY = 0, LSNNI_PNG_RGB = 2, LSNNI_PNG_PALETTE = 3, LSNNI_PNG_GREY_ALPHA = 4,
       LSNNI_PNG_RGB_ALPHA = 6 };
typedef struct lsnni_png_head {
    const char *who;
    double w, h;
    int depth, kind, numbers, interlaced;    /* bits a number, numbers a pixel */
    int colours;
    unsigned char palette[768];
    uint32_t crc[256];
} lsnni_png_head;

static uint32_t lsnni_big_endian(const unsigned char *v)
{
    return (uint32_t)v[0] << 24 | (uint32_t)v[1] << 16 | (uint32_t)v[2] << 8 | v[3];
}

static void lsnni_crc32_table(uint32_t table[256])       /* of a byte               */
{
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xEDB88320u : 0);
    }
}

/* Goes on with a checksum; it begins as ~0 and is the opposite of what comes out. */
static uint32_t lsnni_crc32(const uint32_t table[256], uint32_t crc, const unsigned char *v,
                            size_t n)
{
    for (size_t i = 0; i < n; i++) crc = table[(crc ^ v[i]) & 255] ^ crc >> 8;
    return crc;
}

static lsnn_status lsnni_png_head_read(lsnn_ctx *cx, lsnni_png_head *p, const unsigned char *v)
{
    static const int numbers[7] = { 1, 0, 3, 1, 2, 0, 4 };
    int deep;
    p->w = lsnni_big_endian(v);
    p->h = lsnni_big_endian(v + 4);
    p->depth = v[8];
    p->kind = v[9];
    p->interlaced = v[12];
    p->numbers = p->kind < 7 ? numbers[p->kind] : 0;
    deep = p->depth == 8 || (p->depth == 16 && p->kind != LSNNI_PNG_PALETTE);
    if ((p->depth == 1 || p->depth == 2 || p->depth == 4) && p->numbers == 1 &&
        p->kind != LSNNI_PNG_GREY_ALPHA) deep = 1;
    if (!p->numbers || !deep || v[10] || v[11] || p->interlaced > 1)
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: a PNG of colour type %d with %d bits, "
                          "compression %d, filter %d, interlace %d: there is no such thing",
                          p->who, p->kind, p->depth, v[10], v[11], p->interlaced);
    return LSNN_OK;
}

/* Reads the chunks. The data of all IDATs are moved together, to the file's beginning: *packed
   bytes of them.                                                             */
static lsnn_status lsnni_png_chunks(lsnn_ctx *cx, lsnni_png_head *p, unsigned char *v,
                                    size_t bytes, size_t *packed)
{
    size_t at = 8, length;
    *packed = 0;
    for (int first = 1;; first = 0, at += length + 12) {
        const unsigned char *name = v + at + 4, *data = v + at + 8;
        length = bytes - at >= 12 ? lsnni_big_endian(v + at) : bytes;
        if (bytes - at < 12 || length > bytes - at - 12)
            return lsnni_fail(cx, LSNN_EFORMAT, "%s: ends within a chunk", p->who);
        if (~lsnni_crc32(p->crc, ~(uint32_t)0, name, length + 4) != lsnni_big_endian(data + length))
            return lsnni_fail(cx, LSNN_EFORMAT, "%s: the chunk at byte %.0f is damaged: its "
                              "checksum is not that of its data", p->who, (double)at);
        if (first != !memcmp(name, "IHDR", 4) || (first && length != 13))
            return lsnni_fail(cx, LSNN_EFORMAT, "%s: the first chunk must be an IHDR of 13 bytes, "
                              "and no other", p->who);
        if (first) LSNNI_TRY(lsnni_png_head_read(cx, p, data));
        if (!memcmp(name, "IEND", 4)) return LSNN_OK;
        if (!memcmp(name, "PLTE", 4)) {
            if (length % 3 || length > sizeof p->palette)
                return lsnni_fail(cx, LSNN_EFORMAT, "%s: a palette of %.0f bytes: 3 a colour, at "
                                  "most 768", p->who, (double)length);
            memcpy(p->palette, data, length);
            p->colours = (int)length / 3;
        }
        if (!memcmp(name, "IDAT", 4)) {
            memmove(v + *packed, data, length);
            *packed += length;
        }
    }
}

/* A byte is filtered by taking away what its neighbours (left, above, both) suggest. */
static int lsnni_png_guess(int filter, int left, int above, int corner)
{
    int a = abs(above - corner), b = abs(left - corner), c = abs(above + left - 2 * corner);
    switch (filter) {
    case 1: return left;
    case 2: return above;
    case 3: return (left + above) / 2;
    case 4: return a <= b && a <= c ? left : b <= c ? above : corner;     /* Paeth  */
    default: return 0;
    }
}

/* Rows of `row` bytes each behind its filter, in place; step: bytes a pixel, at least 1. */
static lsnn_status lsnni_png_unfilter(lsnn_ctx *cx, const char *who, unsigned char *v, int rows,
                                      size_t row, size_t step)
{
    const unsigned char *over = NULL;
    for (int y = 0; y < rows; y++, over = v + 1, v += row + 1) {
        if (v[0] > 4)
            return lsnni_fail(cx, LSNN_EFORMAT, "%s: filter %d: there are 0 to 4", who, v[0]);
        for (size_t i = 0; i < row; i++) {
            int left = i >= step ? v[1 + i - step] : 0, above = y ? over[i] : 0;
            int corner = y && i >= step ? over[i - step] : 0;
            v[1 + i] = (unsigned char)(v[1 + i] + lsnni_png_guess(v[0], left, above, corner));
        }
    }
    return LSNN_OK;
}

/* Number i of a row, as 8 bits; of a palette, its colour's place.             */
static int lsnni_png_number(const lsnni_png_head *p, const unsigned char *row, size_t i)
{
    size_t bit = i * (size_t)p->depth;
    int v, most = (1 << p->depth) - 1;
    if (p->depth >= 8) return row[i * (size_t)(p->depth / 8)];
    v = row[bit / 8] >> (8 - p->depth - (int)(bit % 8)) & most;
    return p->kind == LSNNI_PNG_PALETTE ? v : v * 255 / most;
}

static lsnn_status lsnni_png_pixel(lsnn_ctx *cx, const lsnni_png_head *p,
                                   const unsigned char *row, size_t x, unsigned char *rgb)
{
    size_t first = x * (size_t)p->numbers;
    int colours = p->kind == LSNNI_PNG_RGB || p->kind == LSNNI_PNG_RGB_ALPHA;
    for (size_t c = 0; c < 3; c++)
        rgb[c] = (unsigned char)lsnni_png_number(p, row, first + (colours ? c : 0));
    if (p->kind != LSNNI_PNG_PALETTE) return LSNN_OK;
    if (rgb[0] >= p->colours)
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: colour %d of a palette of %d", p->who, rgb[0],
                          p->colours);
    memcpy(rgb, p->palette + 3 * rgb[0], 3);
    return LSNN_OK;
}

/* One pass: the pixels (x0 + i dx, y0 + j dy). An interlaced picture has seven of them. */
typedef struct lsnni_png_pass { int x0, y0, dx, dy; } lsnni_png_pass;
static const lsnni_png_pass lsnni_png_passes[8] = {
    { 0, 0, 8, 8 }, { 4, 0, 8, 8 }, { 0, 4, 4, 8 }, { 2, 0, 4, 4 }, { 0, 2, 2, 4 },
    { 1, 0, 2, 2 }, { 0, 1, 1, 2 }, { 0, 0, 1, 1 }
};

static size_t lsnni_png_row(const lsnni_png_head *p, int w)
{
    int bits = p->numbers * p->depth;    /* a pixel; w times that may be too large a number */
    return lsnni_area(w / 8, bits) + (size_t)((w % 8 * bits + 7) / 8);
}

/* Reads pass t from v, moves *v behind it; with im NULL counts its bytes.     */
static lsnn_status lsnni_png_take(lsnn_ctx *cx, const lsnni_png_head *p, int t, unsigned char *v,
                                  size_t *used, lsnn_image *im)
{
    const lsnni_png_pass *s = &lsnni_png_passes[t];
    int w = ((int)p->w - s->x0 + s->dx - 1) / s->dx, h = ((int)p->h - s->y0 + s->dy - 1) / s->dy;
    size_t row = lsnni_png_row(p, w);
    if (w < 1 || h < 1) return LSNN_OK;
    if (im)
        LSNNI_TRY(lsnni_png_unfilter(cx, p->who, v + *used, h, row,
                                     (size_t)LSNNI_MAX(1, p->numbers * p->depth / 8)));
    for (int y = 0; y < h && im; y++)
        for (int x = 0; x < w; x++)
            LSNNI_TRY(lsnni_png_pixel(cx, p, v + *used + (size_t)y * (row + 1) + 1, (size_t)x,
                                      im->rgb + 3 * (lsnni_area(s->y0 + y * s->dy, im->w) +
                                                     (size_t)(s->x0 + x * s->dx))));
    *used += (row + 1) * (size_t)h;
    return LSNN_OK;
}

static lsnn_status lsnni_png_read(lsnn_ctx *cx, lsnn_image *im, const char *who,
                                  unsigned char *v, size_t bytes)
{
    lsnni_png_head p;
    unsigned char *rows = NULL;
    size_t packed = 0, have = 0, need = 0, used = 0;
    int first, last;
    lsnn_status s;
    memset(&p, 0, sizeof p);
    p.who = who;
    lsnni_crc32_table(p.crc);
    LSNNI_TRY(lsnni_png_chunks(cx, &p, v, bytes, &packed));
    LSNNI_TRY(lsnni_image_room(cx, im, who, p.w, p.h));
    first = p.interlaced ? 0 : 7;
    last = p.interlaced ? 6 : 7;
    for (int t = first; t <= last; t++) LSNNI_TRY(lsnni_png_take(cx, &p, t, NULL, &need, NULL));
    LSNNI_TRY(lsnni_inflate(cx, who, v, packed, need, &rows, &have));
    s = have == need ? LSNN_OK : lsnni_fail(cx, LSNN_EFORMAT, "%s: %.0f bytes of pixels, %.0f are "
                                            "missing", who, (double)have, (double)(need - have));
    for (int t = first; t <= last && s == LSNN_OK; t++)
        s = lsnni_png_take(cx, &p, t, rows, &used, im);
    lsnni_free(cx, rows);
    return s;
}

/* ---- either ----------------------------------------------------------------------*/
/* From a file's bytes, which are changed. who: its name.                     */
static lsnn_status lsnni_image_read(lsnn_ctx *cx, lsnn_image *im, const char *who,
                                    unsigned char *v, size_t bytes)
{
    lsnn_status s;
    memset(im, 0, sizeof *im);
    if (bytes >= 8 && !memcmp(v, "\x89PNG\r\n\x1a\n", 8)) s = lsnni_png_read(cx, im, who, v, bytes);
    else if (bytes >= 2 && !memcmp(v, "P6", 2)) s = lsnni_ppm_read(cx, im, who, v, bytes);
    else s = lsnni_fail(cx, LSNN_EFORMAT, "%s: is neither a PNG nor a PPM file (P6)", who);
    if (s == LSNN_OK) return s;
    lsnni_free(cx, im->rgb);
    memset(im, 0, sizeof *im);
    return s;
}

static lsnn_status lsnni_image_open(lsnn_ctx *cx, lsnn_image *im, const char *path)
{
    lsnni_content file;
    lsnn_status s;
    memset(im, 0, sizeof *im);
    LSNNI_TRY(lsnni_content_read(cx, &file, path));
    s = lsnni_image_read(cx, im, file.shown, file.v, file.count);
    lsnni_free(cx, file.v);
    return s;
}

#ifndef LSNN_NO_PICTURES
LSNN_API lsnn_status lsnn_image_load(lsnn_ctx *cx, lsnn_image *im, const char *path)
{
    memset(im, 0, sizeof *im);
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_image_load", path));
    return lsnni_image_open(cx, im, path);
}
#endif
#endif /* LSNN_NO_DATA and LSNN_NO_PICTURES */
