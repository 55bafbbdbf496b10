#ifndef LSNN_NO_PICTURES
/* ============================================================================
   >>pictures: drawing into an RGB image, figures, and PNG files
   Positions are kept in double: every int fits exactly, products do not
   overflow, and the clipping turns any of them into a pixel of the canvas.
   ==========================================================================*/
typedef struct lsnni_canvas {        /* the part of an image that may change  */
    lsnn_image *im;
    int left, top, right, bottom;    /* pixels [left, right) x [top, bottom)  */
} lsnni_canvas;

LSNN_API lsnn_status lsnn_image_new(lsnn_ctx *cx, lsnn_image *im, int w, int h, uint32_t rgb)
{
    size_t bytes = 3;
    memset(im, 0, sizeof *im);
    if (w < 1 || h < 1 || !lsnni_mul(&bytes, (size_t)w) || !lsnni_mul(&bytes, (size_t)h) ||
        bytes > (size_t)-1 / 2)
        return lsnni_fail(cx, LSNN_ESHAPE, "lsnn_image_new: %d x %d is not an image's size",
                          w, h);
    im->rgb = (unsigned char *)lsnni_alloc(cx, bytes, 1);
    if (!im->rgb) return LSNN_ENOMEM;
    im->w = w;
    im->h = h;
    lsnn_image_rect(im, 0, 0, w, h, rgb);
    return LSNN_OK;
}

LSNN_API void lsnn_image_free(lsnn_ctx *cx, lsnn_image *im)
{
    lsnni_free(cx, im->rgb);
    memset(im, 0, sizeof *im);
}

/* v rounded down, but at least lo and at most hi; NaN gives lo.               */
static int lsnni_clamp(double v, int lo, int hi)
{
    if (!(v > lo)) return lo;
    return v < hi ? (int)floor(v) : hi;
}

static lsnni_canvas lsnni_canvas_of(lsnn_image *im, double x, double y, double w, double h)
{
    lsnni_canvas cv = { im, lsnni_clamp(x, 0, im->w), lsnni_clamp(y, 0, im->h),
                        lsnni_clamp(x + w, 0, im->w), lsnni_clamp(y + h, 0, im->h) };
    if (!im->rgb) cv.right = cv.left;                    /* nothing to draw on    */
    return cv;
}

/* pixel = pixel (1 - opacity) + rgb opacity; (x, y) lies on the canvas.       */
static void lsnni_mix(const lsnni_canvas *cv, int x, int y, uint32_t rgb, double opacity)
{
    unsigned char *v = cv->im->rgb + 3 * ((size_t)y * (size_t)cv->im->w + (size_t)x);
    for (int c = 0; c < 3; c++) {
        double over = (double)((rgb >> (16 - 8 * c)) & 255);
        v[c] = (unsigned char)(v[c] + (over - v[c]) * opacity + 0.5);
    }
}

static void lsnni_fill(const lsnni_canvas *cv, double x, double y, double w, double h,
                       uint32_t rgb, double opacity)
{
    int x0 = lsnni_clamp(x, cv->left, cv->right), x1 = lsnni_clamp(x + w, cv->left, cv->right);
    int y0 = lsnni_clamp(y, cv->top, cv->bottom), y1 = lsnni_clamp(y + h, cv->top, cv->bottom);
    for (int j = y0; j < y1; j++)
        for (int i = x0; i < x1; i++) lsnni_mix(cv, i, j, rgb, opacity);
}

LSNN_API void lsnn_image_rect(lsnn_image *im, int x, int y, int w, int h, uint32_t rgb)
{
    lsnni_canvas cv = lsnni_canvas_of(im, 0, 0, im->w, im->h);
    lsnni_fill(&cv, x, y, w, h, rgb, 1);
}

/* ---- >>line ------------------------------------------------------------------*/
/* The part of pixel (x, y) under the line from a to b: 1 until half a pixel inside its
   edge, 0 from half a pixel outside of it. An end that is NaN: nothing.      */
static double lsnni_coverage(double x, double y, const double a[2], const double b[2],
                             double thickness)
{
    double dx = b[0] - a[0], dy = b[1] - a[1], square = dx * dx + dy * dy, t = 0;
    if (square > 0) t = ((x - a[0]) * dx + (y - a[1]) * dy) / square;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    dx = a[0] + t * dx - x;
    dy = a[1] + t * dy - y;
    t = LSNNI_MIN(LSNNI_MIN(thickness, 1), 0.5 * thickness + 0.5 - sqrt(dx * dx + dy * dy));
    return t > 0 ? t : 0;
}

/* The segment from b to c of a line through a, b, c (whole numbers are centres
   of pixels). The segment from a to b is drawn already (a is NaN if there is
   none): where both cover a pixel, the larger coverage counts, not the sum.   */
static void lsnni_stroke(const lsnni_canvas *cv, const double a[2], const double b[2],
                         const double c[2], double thickness, uint32_t rgb)
{
    double r = 0.5 * thickness + 1;
    int x0 = lsnni_clamp(LSNNI_MIN(b[0], c[0]) - r, cv->left, cv->right);
    int x1 = lsnni_clamp(LSNNI_MAX(b[0], c[0]) + r + 1, cv->left, cv->right);
    int y0 = lsnni_clamp(LSNNI_MIN(b[1], c[1]) - r, cv->top, cv->bottom);
    int y1 = lsnni_clamp(LSNNI_MAX(b[1], c[1]) + r + 1, cv->top, cv->bottom);
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) {
            double now = lsnni_coverage(x, y, b, c, thickness);
            double old = now > 0 ? lsnni_coverage(x, y, a, b, thickness) : 0;
            if (now > old) lsnni_mix(cv, x, y, rgb, (now - old) / (1 - old));
        }
}

LSNN_API void lsnn_image_line(lsnn_image *im, double x0, double y0, double x1, double y1,
                              double thickness, uint32_t rgb)
{
    lsnni_canvas cv = lsnni_canvas_of(im, 0, 0, im->w, im->h);
    double none[2] = { NAN, NAN }, from[2] = { x0, y0 }, to[2] = { x1, y1 };
    lsnni_stroke(&cv, none, from, to, thickness, rgb);
}

/* ---- >>letters ---------------------------------------------------------------*/
/* Letters of 5 x 8 pixels from the blank on, the last one a box for any other
   code: bit 8 c + r is the pixel in column c, row r.                          */
static const uint64_t lsnni_letters[96] = {
    0x0000000000, 0x00005F0000, 0x0007000700, 0x147F147F14, 0x122A7F2A24, 0x6264081323,
    0x5022554936, 0x0000070000, 0x0041221C00, 0x001C224100, 0x2A1C3E1C2A, 0x08083E0808,
    0x0000E06000, 0x0808080808, 0x0060600000, 0x0204081020, 0x3E4549513E, 0x00407F4200,
    0x4649516142, 0x3649494122, 0x107F121418, 0x3945454527, 0x3049494A3C, 0x0305097101,
    0x3649494936, 0x1E29494906, 0x00006C6C00, 0x0000EC6C00, 0x0041221408, 0x1414141414,
    0x0008142241, 0x0609510102, 0x5E555D413E, 0x7E0909097E, 0x364949497F, 0x224141413E,
    0x1C2241417F, 0x414949497F, 0x010909097F, 0x7A4949413E, 0x7F0808087F, 0x00417F4100,
    0x013F414020, 0x412214087F, 0x404040407F, 0x7F020C027F, 0x7F0804027F, 0x3E4141413E,
    0x060909097F, 0x5E2151413E, 0x462919097F, 0x3149494946, 0x01017F0101, 0x3F4040403F,
    0x1F2040201F, 0x7F2018207F, 0x6314081463, 0x0304780403, 0x4345495161, 0x0041417F00,
    0x2010080402, 0x007F414100, 0x0402010204, 0x4040404040, 0x0004020100, 0x7854545420,
    0x384444447F, 0x4444444438, 0x7F44444438, 0x1854545438, 0x0005057E04, 0x7CA4A4A418,
    0x780404047F, 0x00407D4400, 0x003D444020, 0x004428107F, 0x00407F4100, 0x780478047C,
    0x780404047C, 0x3844444438, 0x18242424FC, 0xFC24242418, 0x000404087C, 0x2454545448,
    0x0044443F04, 0x7C2040403C, 0x1C2040201C, 0x3C4038403C, 0x4428102844, 0x7CA0A0A01C,
    0x444C546444, 0x4141360800, 0x00007F0000, 0x0008774100, 0x0810080408, 0x7F4141417F
};

static double lsnni_text_width(const char *text, int scale)
{
    return text && scale > 0 ? 6.0 * scale * (double)strlen(text) : 0;
}

/* align: x is where the text begins (0), its middle (0.5) or its end (1); text
   that is too long for that begins at the left border.                        */
static void lsnni_text(const lsnni_canvas *cv, double x, double y, double align, int scale,
                       uint32_t rgb, const char *text)
{
    if (!text || scale < 1) return;
    if (align > 0) x = LSNNI_MAX(cv->left, floor(x - align * lsnni_text_width(text, scale)));
    for (; *text && x < cv->right; text++, x += 6.0 * scale) {
        int code = (unsigned char)*text;
        uint64_t letter = lsnni_letters[code >= 32 && code < 127 ? code - 32 : 95];
        for (int bit = 0; bit < 40; bit++)
            if (letter >> bit & 1)
                lsnni_fill(cv, x + bit / 8 * (double)scale, y + bit % 8 * (double)scale, scale,
                           scale, rgb, 1);
    }
}

LSNN_API int lsnn_image_text(lsnn_image *im, int x, int y, int scale, uint32_t rgb,
                             const char *text)
{
    lsnni_canvas cv = lsnni_canvas_of(im, 0, 0, im->w, im->h);
    lsnni_text(&cv, x, y, 0, scale, rgb, text);
    return lsnni_clamp(lsnni_text_width(text, scale), 0, INT_MAX);
}

/* ---- >>maps ------------------------------------------------------------------*/
/* One map: grey levels, or (rgb given) that colour with the level as opacity;
   NaN is magenta. An empty range is a step at lo. Halves: hi - lo may overflow. */
static void lsnni_map(lsnn_image *im, double x, double y, int scale, const lsnn_real *map,
                      int h, int w, double lo, double hi, const uint32_t *rgb)
{
    lsnni_canvas cv = lsnni_canvas_of(im, 0, 0, im->w, im->h);
    for (int i = 0; i < h && scale > 0; i++)
        for (int j = 0; j < w; j++) {
            double v = (double)map[(size_t)i * (size_t)w + (size_t)j];
            double t = (0.5 * v - 0.5 * lo) / (0.5 * hi - 0.5 * lo);
            uint32_t colour = 0xFF00FF;
            t = v <= lo ? 0 : v >= hi ? 1 : t;
            if (t == t) colour = rgb ? *rgb : (uint32_t)(255 * t + 0.5) * 0x010101u;
            lsnni_fill(&cv, x + (double)j * scale, y + (double)i * scale, scale, scale, colour,
                       rgb && t == t ? t : 1);
        }
}

LSNN_API void lsnn_image_map(lsnn_image *im, int x, int y, int scale, const lsnn_real *map,
                             int h, int w, double lo, double hi)
{
    lsnni_map(im, x, y, scale, map, h, w, lo, hi, NULL);
}

LSNN_API void lsnn_image_overlay(lsnn_image *im, int x, int y, int scale, const lsnn_real *map,
                                 int h, int w, double hi, uint32_t rgb)
{
    lsnni_map(im, x, y, scale, map, h, w, 0, hi, &rgb);
}

LSNN_API void lsnn_image_grid(lsnn_image *im, int x, int y, int scale, const lsnn_real *maps,
                              int count, int h, int w, int columns, int gap)
{
    size_t area = (size_t)LSNNI_MAX(h, 0) * (size_t)LSNNI_MAX(w, 0);
    for (int m = 0; m < count && columns > 0; m++) {
        const lsnn_real *map = maps + (size_t)m * area;
        double lo = 0, hi = -DBL_MAX;                /* of the finite values  */
        for (size_t i = 0; i < area; i++) {
            double v = (double)map[i];
            if (v >= -DBL_MAX && v < lo) lo = v;
            if (v <= DBL_MAX && v > hi) hi = v;
        }
        lsnni_map(im, x + (m % columns) * ((double)w * scale + gap),
                  y + (double)(m / columns) * ((double)h * scale + gap), scale, map, h, w, lo,
                  hi, NULL);
    }
}

/* ---- >>plot ------------------------------------------------------------------*/
enum { LSNNI_INK = 0x262626, LSNNI_PALE = 0xE6E6E6 };

typedef struct lsnni_axis {
    double lo, hi;                   /* the values at its two ends ...        */
    double from, to;                 /* ... and their pixels                  */
    double step;                     /* tick k is the value k * step          */
} lsnni_axis;

typedef struct lsnni_plot {
    const lsnn_curve *curves;
    int count;
    lsnni_canvas box;                /* all of it                             */
    lsnni_axis x, y;                 /* they span the frame                   */
    int scale;                       /* of text and lines; 0: no room for text */
    double legend;                   /* where its rows end, at the left       */
} lsnni_plot;

/* v = x, y of point i. NaN and infinity are gaps in a curve, as is what might
   overflow or lies past its end: both are NaN then, and 0 is returned.        */
static int lsnni_curve_point(const lsnn_curve *c, int i, double v[2])
{
    int inside = c->y && i < c->count;
    v[0] = inside && c->x ? c->x[i] : i;
    v[1] = inside ? c->y[i] : NAN;
    if (!(fabs(v[0]) < 1e300 && fabs(v[1]) < 1e300)) v[0] = v[1] = NAN;
    return v[0] == v[0];
}

/* Okabe and Ito's colours, which colour-blind readers tell apart.             */
static uint32_t lsnni_curve_rgb(const lsnn_curve *curves, int curve)
{
    uint32_t palette[6] = { 0x0072B2, 0xD55E00, 0x009E73, 0xCC79A7, 0xE69F00, 0x56B4E9 };
    int n = 0;
    for (int c = 0; c < curve; c++) n += curves[c].rgb == 0;
    return curves[curve].rgb ? curves[curve].rgb : palette[n % 6];
}

/* Opens an axis for the values of all points: v[0] of them, or v[1].          */
static lsnni_axis lsnni_axis_of(const lsnn_curve *curves, int count, int of_y)
{
    lsnni_axis a = { 1e300, -1e300, 0, 0, of_y ? 0.0 : 1.0 };
    double big, margin, v[2];
    for (int c = 0; c < count; c++)
        for (int i = 0; i < curves[c].count; i++) {
            if (!lsnni_curve_point(&curves[c], i, v)) continue;
            a.lo = LSNNI_MIN(a.lo, v[of_y]);
            a.hi = LSNNI_MAX(a.hi, v[of_y]);
            if (floor(v[of_y]) < v[of_y]) a.step = 0;    /* else no half epochs    */
        }
    if (a.lo > a.hi) { a.lo = 0; a.hi = 1; }         /* nothing to draw        */
    big = LSNNI_MAX(fabs(a.lo), fabs(a.hi));
    margin = (of_y ? 0.05 : 0.02) * (a.hi - a.lo);
    if (a.hi - a.lo <= 1e-6 * big || a.hi - a.lo < 1e-280)          /* constant */
        margin = big > 1e-270 ? 0.1 * big : 1;
    if (of_y && a.lo >= 0 && a.lo < 0.5 * a.hi) a.lo = margin;      /* start at 0 */
    a.lo -= margin;
    a.hi += margin;
    return a;
}

static double lsnni_axis_pixel(const lsnni_axis *a, double v)
{
    return a->from + (v - a->lo) / (a->hi - a->lo) * (a->to - a->from);
}

/* The i-th tick: its pixel, and its value in as many digits as tell the ticks
   apart; 0 if the axis ends before it.                                        */
static int lsnni_axis_tick(const lsnni_axis *a, int i, double *pixel, char text[64])
{
    double v = (ceil(a->lo / a->step - 1e-9) + i) * a->step;
    int last = (int)floor(log10(a->step) + 1e-9);    /* decimal place of step */
    if (v > a->hi + 1e-9 * a->step) return 0;
    *pixel = floor(lsnni_axis_pixel(a, v) + 0.5);
    if (LSNNI_MAX(fabs(a->lo), fabs(a->hi)) < 1e6 && last >= -4)
        snprintf(text, 64, "%.*f", LSNNI_MAX(0, -last), v);
    else if (v == 0) snprintf(text, 64, "0");
    else {
        int ten = (int)floor(log10(fabs(v)) + 1e-9);
        snprintf(text, 64, "%.*ge%d", ten - last + 1, v / pow(10, ten), ten);
    }
    lsnni_plain_point(text);
    return 1;
}

/* Raises the step to 1, 2 or 5 times a power of ten, the smallest with room for
   the labels; returns the width of the widest.                                */
static double lsnni_axis_steps(lsnni_axis *a, int scale, int of_y)
{
    for (int ticks = 10;; ticks--) {
        double rough = (a->hi - a->lo) / ticks, ten = pow(10, floor(log10(rough)));
        double times = rough <= ten ? 1 : rough <= 2 * ten ? 2 : rough <= 5 * ten ? 5 : 10;
        double pixel, room, widest = 0;
        char text[64];
        a->step = LSNNI_MAX(times * ten, a->step);
        for (int i = 0; lsnni_axis_tick(a, i, &pixel, text); i++)
            widest = LSNNI_MAX(widest, lsnni_text_width(text, scale));
        room = of_y ? 24 * LSNNI_MAX(scale, 1) : widest + 12 * scale;
        if (ticks == 1 || fabs(a->to - a->from) * a->step >= room * (a->hi - a->lo))
            return widest;
    }
}

/* Draws the legend, or (draw = 0) only counts its rows, at least 1. It stands
   above the frame, where it hides no curve, and is laid from its last entry, at
   the right of the lowest row, to its first.                                  */
static int lsnni_plot_legend(const lsnni_plot *p, int draw)
{
    int rows = 1, u = p->scale;
    double end = p->x.to + 12 * u, x = end, y = p->y.to - 12 * u;
    for (int c = p->count - 1; c >= 0; c--) {
        const char *label = p->curves[c].label;
        double width = lsnni_text_width(label, u) + 36 * u;      /* dash, label, gap */
        if (!label) continue;
        if (x < end && x - width < p->legend) { rows++; y -= 12 * u; x = end; }
        x = LSNNI_MAX(x - width, p->box.left);
        if (!draw) continue;
        lsnni_fill(&p->box, x, y, 18 * u, 2 * u, lsnni_curve_rgb(p->curves, c), 1);
        lsnni_text(&p->box, x + 24 * u, y - 2 * u, 0, u, LSNNI_INK, label);
    }
    return rows;
}

static void lsnni_plot_axes(const lsnni_plot *p)
{
    int u = p->scale, line = LSNNI_MAX(u, 1);
    double left = p->x.from, top = p->y.to, bottom = p->y.from, at;
    double width = p->x.to - left + 1, height = bottom - top + 1;
    char text[64];
    for (int i = 0; lsnni_axis_tick(&p->y, i, &at, text); i++) {
        lsnni_fill(&p->box, left, at, width, line, LSNNI_PALE, 1);
        lsnni_fill(&p->box, left - 4 * u, at, 4 * u, line, LSNNI_INK, 1);
        lsnni_text(&p->box, left - 6 * u, at - 3 * u, 1, u, LSNNI_INK, text);
    }
    for (int i = 0; lsnni_axis_tick(&p->x, i, &at, text); i++) {
        lsnni_fill(&p->box, at, top, line, height, LSNNI_PALE, 1);
        lsnni_fill(&p->box, at, bottom, line, 5 * u, LSNNI_INK, 1);
        if (at + 0.5 * lsnni_text_width(text, u) <= p->box.right)
            lsnni_text(&p->box, at + u, bottom + 8 * u, 0.5, u, LSNNI_INK, text);
    }
    lsnni_fill(&p->box, left, top, line, height, LSNNI_INK, 1);
    lsnni_fill(&p->box, left, bottom, width, line, LSNNI_INK, 1);
}

static void lsnni_plot_curve(const lsnni_plot *p, const lsnn_curve *c, uint32_t rgb)
{
    double thickness = 1.5 * p->scale + 0.5, at[3][2] = { { NAN, NAN }, { NAN, NAN } };
    for (int i = 0; i <= c->count; i++) {            /* at: points i - 2, i - 1, i */
        lsnni_curve_point(c, i, at[2]);
        at[2][0] = lsnni_axis_pixel(&p->x, at[2][0]);
        at[2][1] = lsnni_axis_pixel(&p->y, at[2][1]);
        if (at[2][0] == at[2][0]) lsnni_stroke(&p->box, at[0], at[1], at[2], thickness, rgb);
        else if (at[0][0] != at[0][0])               /* a point without neighbours */
            lsnni_stroke(&p->box, at[0], at[1], at[1], 3 * thickness, rgb);
        memmove(at, at + 1, 2 * sizeof at[0]);
    }
}

/* Places the frame for text of scale u: above it stand the title and, in the
   legend's last row, the y axis's label; left and below, labels of the ticks.  */
static void lsnni_plot_layout(lsnni_plot *p, int u, double x, double y, double w, double h,
                              const char *title, const char *x_label, const char *y_label)
{
    p->scale = u;
    p->legend = x + 8 * u + (y_label ? lsnni_text_width(y_label, u) + 18 * u : 0);
    p->x.to = x + w - 20 * u - 1;
    p->y.to = y + (title ? 34 : 10) * u + 12 * u * lsnni_plot_legend(p, 0);
    p->y.from = y + h - (x_label ? 34 : 20) * u - 1;
    p->x.from = floor(x + 16 * u + lsnni_axis_steps(&p->y, u, 1));
    lsnni_axis_steps(&p->x, u, 0);
}

LSNN_API void lsnn_image_plot(lsnn_image *im, int x, int y, int w, int h, const char *title,
                              const char *x_label, const char *y_label,
                              const lsnn_curve *curves, int count)
{
    int u = lsnni_clamp(LSNNI_MIN(w / 450.0, h / 300.0), 1, 1000), big;
    double middle;
    lsnni_plot p = { curves, count, lsnni_canvas_of(im, x, y, w, h),
                     lsnni_axis_of(curves, count, 0), lsnni_axis_of(curves, count, 1), 0, 0 };
    lsnni_plot_layout(&p, u, x, y, w, h, title, x_label, y_label);
    if (p.x.to - p.x.from < 24 || p.y.from - p.y.to < 24)            /* curves only */
        lsnni_plot_layout(&p, u = 0, x, y, w, h, title, x_label, y_label);
    lsnni_fill(&p.box, x, y, w, h, 0xFFFFFF, 1);
    lsnni_plot_axes(&p);
    lsnni_plot_legend(&p, 1);
    middle = 0.5 * (p.x.from + p.x.to);
    big = u > 0 && lsnni_text_width(title, u + 1) < p.x.to - x ? u + 1 : u;
    lsnni_text(&p.box, middle, y + 8.0 * u, 0.5, big, LSNNI_INK, title);
    lsnni_text(&p.box, middle, p.y.from + 22 * u, 0.5, u, LSNNI_INK, x_label);
    lsnni_text(&p.box, x + 8.0 * u, p.y.to - 14 * u, 0, u, LSNNI_INK, y_label);
    for (int c = 0; c < count; c++)
        lsnni_plot_curve(&p, &curves[c], lsnni_curve_rgb(curves, c));
}
#endif /* LSNN_NO_PICTURES */
