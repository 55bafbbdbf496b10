#if !defined(LSNN_NO_DATA) || !defined(LSNN_NO_PICTURES)
/* ============================================================================
   >>inflate  what deflate packed (RFC 1951), in zlib's frame (RFC 1950)
   Blocks of symbols in a Huffman code of their own: a byte, or a length, behind which a
   symbol of a second code says how far back what it repeats began. Codes come with their
   highest bit first, numbers with their lowest. No size in the data is believed: the
   output grows with what is unpacked.
   ==========================================================================*/
enum { LSNNI_HUFFMAN_FAST = 10, LSNNI_HUFFMAN_LONGEST = 15 };

typedef struct lsnni_huffman {
    uint16_t fast[1 << LSNNI_HUFFMAN_FAST];  /* 16 symbol + length of the code that so many */
                                     /*   bits begin with; 0: it is longer    */
    uint16_t count[LSNNI_HUFFMAN_LONGEST + 1], symbol[288];  /* sorted by length */
} lsnni_huffman;

typedef struct lsnni_inflater {
    lsnn_ctx *cx;
    const unsigned char *in, *end;
    uint64_t bits;                   /* the next one lowest                   */
    int held, made_up;               /* bits; bytes of 0 taken from behind the end */
    unsigned char *out;
    size_t have, room, most;
    const char *fault;               /* what is wrong with the data, or NULL  */
    int no_memory;
} lsnni_inflater;

/* The next n bits, at most 32, which stay.                                   */
static uint32_t lsnni_inflate_peek(lsnni_inflater *s, int n)
{
    for (; s->held < n; s->held += 8) {
        if (s->in < s->end) s->bits |= (uint64_t)*s->in++ << s->held;
        else s->made_up++;
    }
    return (uint32_t)(s->bits & (((uint64_t)1 << n) - 1));
}

static void lsnni_inflate_drop(lsnni_inflater *s, int n)
{
    s->bits >>= n;
    s->held -= n;
    if (8 * s->made_up > s->held) s->fault = "are cut off";
}

static int lsnni_inflate_bits(lsnni_inflater *s, int n)
{
    int v = (int)lsnni_inflate_peek(s, n);
    lsnni_inflate_drop(s, n);
    return v;
}

/* Makes room for n more bytes; 0 if that is more than was asked for.         */
static int lsnni_inflate_room(lsnni_inflater *s, size_t n)
{
    unsigned char *v;
    if (s->fault) return 0;
    if (n > s->most - s->have) {
        s->fault = "hold more than they should";
        return 0;
    }
    if (n <= s->room - s->have) return 1;
    s->room = s->room > s->most / 2 ? s->most : LSNNI_MAX(2 * s->room, s->have + n);
    v = (unsigned char *)lsnni_alloc(s->cx, s->room, 1);
    if (!v) {
        s->no_memory = 1;
        s->fault = "find no memory";
        return 0;
    }
    if (s->have) memcpy(v, s->out, s->have);
    lsnni_free(s->cx, s->out);
    s->out = v;
    return 1;
}

/* ---- codes -----------------------------------------------------------------------*/
/* The first `n` bits of a code, as the stream has them: the other way round.  */
static int lsnni_huffman_turned(int code, int n)
{
    int turned = 0;
    for (; n > 0; n--, code >>= 1) turned = turned << 1 | (code & 1);
    return turned;
}

/* Of n symbols, the length of each one's code, 0: it has none. 0 if they are no code. */
static int lsnni_huffman_set(lsnni_huffman *h, const unsigned char *length, int n)
{
    int next[LSNNI_HUFFMAN_LONGEST + 2], at[LSNNI_HUFFMAN_LONGEST + 2], left = 1;
    memset(h, 0, sizeof *h);
    for (int i = 0; i < n; i++) h->count[length[i]]++;
    next[1] = at[1] = 0;
    for (int l = 1; l <= LSNNI_HUFFMAN_LONGEST; l++) {
        left = 2 * left - h->count[l];
        if (left < 0) return 0;                          /* more than there are  */
        next[l + 1] = 2 * (next[l] + h->count[l]);
        at[l + 1] = at[l] + h->count[l];
    }
    if (left > 0 && h->count[0] + h->count[1] != n) return 0;      /* only one may be alone */
    for (int i = 0; i < n; i++) {
        int l = length[i], code;
        if (!l) continue;
        h->symbol[at[l]++] = (uint16_t)i;
        code = lsnni_huffman_turned(next[l]++, l);
        for (; l <= LSNNI_HUFFMAN_FAST && code < 1 << LSNNI_HUFFMAN_FAST; code += 1 << l)
            h->fast[code] = (uint16_t)(16 * i + l);
    }
    return 1;
}

static int lsnni_huffman_next(lsnni_inflater *s, const lsnni_huffman *h)
{
    int bits = (int)lsnni_inflate_peek(s, LSNNI_HUFFMAN_LONGEST), code = 0, first = 0, at = 0;
    int fast = h->fast[bits & ((1 << LSNNI_HUFFMAN_FAST) - 1)];
    if (fast) {
        lsnni_inflate_drop(s, fast & 15);
        return fast >> 4;
    }
    for (int l = 1; l <= LSNNI_HUFFMAN_LONGEST; l++) {   /* codes of a length are neighbours */
        code = code << 1 | (bits & 1);
        bits >>= 1;
        if (code - first < h->count[l]) {
            lsnni_inflate_drop(s, l);
            return h->symbol[at + code - first];
        }
        at += h->count[l];
        first = 2 * (first + h->count[l]);
    }
    s->fault = "have a code that stands for nothing";
    return 0;
}

/* ---- blocks ----------------------------------------------------------------------*/
static void lsnni_inflate_stored(lsnni_inflater *s)
{
    int n;
    lsnni_inflate_drop(s, s->held % 8);
    n = lsnni_inflate_bits(s, 16);
    if ((n ^ 0xFFFF) != lsnni_inflate_bits(s, 16)) s->fault = "have a length that is not its twin";
    if (!lsnni_inflate_room(s, (size_t)n)) return;
    for (; n > 0 && !s->fault; n--) s->out[s->have++] = (unsigned char)lsnni_inflate_bits(s, 8);
}

/* Lengths and distances are coded alike: steps of 1, then `steps` of 2, of 4, ... each. */
static int lsnni_inflate_value(lsnni_inflater *s, int symbol, int steps)
{
    int extra = symbol < 2 * steps ? 0 : symbol / steps - 1;
    if (!extra) return symbol;
    return ((symbol % steps + steps) << extra) + lsnni_inflate_bits(s, extra);
}

static void lsnni_inflate_repeat(lsnni_inflater *s, int symbol, const lsnni_huffman *far_code)
{
    int length = symbol == 285 ? 258 : 3 + lsnni_inflate_value(s, symbol - 257, 4);
    int from = lsnni_huffman_next(s, far_code), distance;
    if (symbol > 285 || from > 29) s->fault = "have a code that stands for nothing";
    if (!lsnni_inflate_room(s, (size_t)length)) return;
    distance = 1 + lsnni_inflate_value(s, from, 2);
    if ((size_t)distance > s->have) s->fault = "repeat what was before their beginning";
    if (s->fault) return;
    for (; length > 0; length--, s->have++) s->out[s->have] = s->out[s->have - (size_t)distance];
}

static void lsnni_inflate_block(lsnni_inflater *s, const lsnni_huffman *code,
                                const lsnni_huffman *far_code)
{
    while (!s->fault) {
        int symbol = lsnni_huffman_next(s, code);
        if (s->fault || symbol == 256) return;
        if (symbol > 256) lsnni_inflate_repeat(s, symbol, far_code);
        else if (lsnni_inflate_room(s, 1)) s->out[s->have++] = (unsigned char)symbol;
    }
}

/* The lengths of both codes, themselves in a code. 0 if they are none.        */
static int lsnni_inflate_codes(lsnni_inflater *s, lsnni_huffman *code, lsnni_huffman *far_code)
{
    static const unsigned char order[19] = {
        16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15
    };
    unsigned char length[288 + 32] = { 0 };
    int symbols = 257 + lsnni_inflate_bits(s, 5), far_symbols = 1 + lsnni_inflate_bits(s, 5);
    int lengths = 4 + lsnni_inflate_bits(s, 4), n = 0;
    for (int i = 0; i < lengths; i++) length[order[i]] = (unsigned char)lsnni_inflate_bits(s, 3);
    if (symbols > 286 || far_symbols > 30 || !lsnni_huffman_set(code, length, 19)) return 0;
    while (n < symbols + far_symbols && !s->fault) {
        int v = lsnni_huffman_next(s, code), times = 1, what = v;
        if (v == 16 && n == 0) return 0;
        if (v == 16) what = length[n - 1], times = 3 + lsnni_inflate_bits(s, 2);
        if (v == 17) what = 0, times = 3 + lsnni_inflate_bits(s, 3);
        if (v == 18) what = 0, times = 11 + lsnni_inflate_bits(s, 7);
        if (times > symbols + far_symbols - n) return 0;
        for (; times > 0; times--) length[n++] = (unsigned char)what;
    }
    return !s->fault && length[256] && lsnni_huffman_set(far_code, length + symbols, far_symbols) &&
           lsnni_huffman_set(code, length, symbols);
}

static void lsnni_inflate_fixed(lsnni_huffman *code, lsnni_huffman *far_code)
{
    unsigned char length[288];
    for (int i = 0; i < 288; i++)
        length[i] = (unsigned char)(i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8);
    lsnni_huffman_set(code, length, 288);
    memset(length, 5, 32);
    lsnni_huffman_set(far_code, length, 32);
}

static void lsnni_inflate_blocks(lsnni_inflater *s)
{
    lsnni_huffman code, far_code;
    for (int last = 0; !last && !s->fault;) {
        int kind;
        last = lsnni_inflate_bits(s, 1);
        kind = lsnni_inflate_bits(s, 2);
        if (kind == 0) lsnni_inflate_stored(s);
        if (kind == 1) lsnni_inflate_fixed(&code, &far_code);
        if (kind == 3 || (kind == 2 && !lsnni_inflate_codes(s, &code, &far_code)))
            s->fault = s->fault ? s->fault : "have a block of no known kind";
        if (kind) lsnni_inflate_block(s, &code, &far_code);
    }
}

static uint32_t lsnni_adler32(const unsigned char *v, size_t n)
{
    uint32_t a = 1, b = 0;
    while (n > 0) {
        size_t part = LSNNI_MIN(n, (size_t)5552);        /* so that b stays below 2^32 */
        for (size_t i = 0; i < part; i++) b += a += v[i];
        a %= 65521;
        b %= 65521;
        v += part;
        n -= part;
    }
    return b << 16 | a;
}

static lsnn_status lsnni_inflate_end(lsnni_inflater *s, const char *who, unsigned char **out,
                                     size_t *have)
{
    *out = s->out;
    *have = s->have;
    if (!s->fault) return LSNN_OK;
    lsnni_free(s->cx, s->out);
    *out = NULL;
    *have = 0;
    if (s->no_memory) return LSNN_ENOMEM;
    return lsnni_fail(s->cx, LSNN_EFORMAT, "%s: its packed data %s", who, s->fault);
}

static void lsnni_inflate_begin(lsnni_inflater *s, lsnn_ctx *cx, const unsigned char *in,
                                size_t bytes, size_t most)
{
    memset(s, 0, sizeof *s);
    s->cx = cx;
    s->in = in;
    s->end = in + bytes;
    s->most = most;
}

/* Unpacks the `bytes` bytes at `in`, which have no frame, to *out, *have of them, at most
   `most`; the caller frees *out. who: what the data belong to, for messages.  */
static lsnn_status lsnni_inflate_raw(lsnn_ctx *cx, const char *who, const unsigned char *in,
                                     size_t bytes, size_t most, unsigned char **out,
                                     size_t *have)
{
    lsnni_inflater s;
    lsnni_inflate_begin(&s, cx, in, bytes, most);
    lsnni_inflate_blocks(&s);
    return lsnni_inflate_end(&s, who, out, have);
}

/* The same in zlib's frame: two bytes before it, a sum behind.               */
static lsnn_status lsnni_inflate(lsnn_ctx *cx, const char *who, const unsigned char *in,
                                 size_t bytes, size_t most, unsigned char **out, size_t *have)
{
    lsnni_inflater s;
    uint32_t sum = 0;
    lsnni_inflate_begin(&s, cx, in, bytes, most);
    if (bytes < 2 || (in[0] & 15) != 8 || (in[0] * 256 + in[1]) % 31 || in[1] & 32)
        s.fault = "do not begin as zlib's do";
    s.in += bytes < 2 ? 0 : 2;
    if (!s.fault) lsnni_inflate_blocks(&s);
    if (!s.fault) lsnni_inflate_drop(&s, s.held % 8);
    for (int i = 0; i < 4 && !s.fault; i++) sum = sum << 8 | (uint32_t)lsnni_inflate_bits(&s, 8);
    if (!s.fault && sum != lsnni_adler32(s.out, s.have)) s.fault = "do not add up";
    return lsnni_inflate_end(&s, who, out, have);
}
#endif /* LSNN_NO_DATA and LSNN_NO_PICTURES */
