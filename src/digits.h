/* ---- >>digits: handwriting from stroke models ------------------------------------
   A style is the path of a pen: points "xxyy" on a grid of 100 x 100 (y grows
   downwards), joined by smooth curves. After a point, ' ' goes on, '^' goes on
   with a corner there, '/' lifts the pen. Points are jittered, the curve through
   them is bent, sheared and stretched at random, scaled into a 20x20 box,
   inked by the distance to it, and centred by mass.                           */
enum { LSNNI_KNOTS = 32, LSNNI_SPLIT = 5, LSNNI_PEN = LSNNI_KNOTS * LSNNI_SPLIT + 1 };

typedef struct lsnni_style { int digit, weight; const char *path; } lsnni_style;

static const lsnni_style lsnni_styles[] = {
    { 0, 4, "4803 2118 1352 2788 5294 7466 6820 4603" },
    { 0, 3, "6210 3804 1632 1668 4295 7074 7428 5205 3012" },
    { 0, 2, "3606 1240 1876 4696 7464 6822 4004" },
    { 0, 1, "6803 2818 1256 2890 5890 7450 6018 4012" },
    { 0, 1, "3020 1550 2788 6088 7645 6012 3506 2222" },
    { 1, 6, "4202 4235 4268 4298" },
    { 1, 2, "2424 4203^4235 4268 4298" },
    { 1, 1, "2840 3822 5003^4835 4668 4498" },
    { 1, 1, "1030 2722 4203^4235 4268 4298" },
    { 1, 1, "2222 4203^4350 4395/1697 4396 7096" },
    { 2, 3, "1625 3006 5404 6824 5550 3575 1596^4292 8093" },
    { 2, 3, "1522 3404 6008 6632 4566 1893 1186 2476 4482 6296 8490" },
    { 2, 3, "2420 4506 6222 5248 2880 0592 0374 2066 4082 6290 9284" },
    { 2, 2, "1828 2808 5003 6620 5848 3680 2094 1281 2873 4980 7298" },
    { 2, 2, "1412 4005 6316 5548 1294^4592 7891" },
    { 2, 1, "2818 4503 6022 5060 2092 1070 3566 5084 6696 8290" },
    { 2, 2, "1226 3206 6008 7232 5862 3088 1290 1274 3468 5678 7692 9486" },
    { 2, 1, "2030 4025 6238 4868 1892 2698 5494 8890" },
    { 3, 4, "1614 3604 6014 5836 3546^6054 7275 5095 1290" },
    { 3, 3, "1812 4203 6218 5038 3247 5050 7070 5894 3298 1086" },
    { 3, 2, "1407 4005 6706^5026 3442^6050 7074 5094 1489" },
    { 3, 2, "1518 3603 6212 5740 3050 2846 4048 7068 5694 1592" },
    { 3, 2, "2012 4404 6212 5228 3640 5044 6066 5086 2898 0892" },
    { 3, 1, "1208 3402 5814 5232 3346 5454 7076 5894 3298 1486 1272" },
    { 3, 1, "0612 3404 6612 5632 3842^5446 6658 5886 3698 1488" },
    { 4, 4, "2405 1830 1452 4054 7448/6604 6236 5868 5698" },
    { 4, 3, "1608 1632 2050 4456 6642/7004 6636 6468 6298" },
    { 4, 2, "6003 3535 0866^4065 8062/6003 5835 5668 5498" },
    { 4, 2, "2404 1245^4046 8042/6010 5640 5070 4698" },
    { 4, 1, "2204 1452 5050 7012^6246 5698" },
    { 4, 1, "2008 1545 4052 6038 7006^6540 6098" },
    { 5, 3, "2806 2024 1842^4636 6854 6280 3897 1086/2806 5006 7604" },
    { 5, 3, "7404 5006 2808^2024 1842^4238 6656 6080 3897 1290" },
    { 5, 3, "8004 5606 3816 3032 5048 6468 5490 3098 1086" },
    { 5, 2, "8806 6006 3614^3234 3046^4850 5868 4290 2098 0690" },
    { 5, 2, "1808 1628 1646^4046 6062 5586 3898 1490/1808 5008 8803" },
    { 5, 2, "2206 2024 1842^4434 7048 7476 5696 3094 1478/2206 4804 7206" },
    { 5, 1, "3012 2232 2246 4244 5456 5080 3296 1490/3012 6008 9004" },
    { 6, 4, "5803 3622 1852 1680 3697 6090 6668 4855 2664 1878" },
    { 6, 3, "4603 2628 1560 2290 4697 6684 5864 3862 2078" },
    { 6, 2, "6803 4014 2040 1470 3094 5690 6470 5056 2862" },
    { 6, 2, "3002 1830 1262 1886 4497 7288 7668 5658 3468 1884" },
    { 6, 1, "5203 3630 2462 2490 4096 5282 5066 3864 2680" },
    { 7, 4, "1210 4008 7406^5838 4668 4098" },
    { 7, 2, "1212 4006 7206^5540 4470 3898/2852 4650 7048" },
    { 7, 2, "1022 1408^4407 7408 6034 5064 4698" },
    { 7, 2, "1424 2408 4216 6804^5640 4870 4498" },
    { 7, 1, "1806 4410 7006^5040 3070 1698" },
    { 7, 1, "1010 4207 7408^7236 7066 6898" },
    { 7, 1, "1236 1610 4404 7012 6836 5866 5298" },
    { 7, 1, "1010 3010 5606 7012 6236 5266 4898" },
    { 8, 4, "6416 4603 2414 2832 5052 6674 5094 2690 1874 3852 6230 6414" },
    { 8, 2, "4448 2428 4004 6022 4446 2072 3897 6480 4448" },
    { 8, 2, "7010 4403 2218 3438 6062 6288 3898 2078 4254 6830 7008" },
    { 8, 2, "7806 5008 2618 3040 5258 5682 3898 2882 3862 5838 8208" },
    { 8, 1, "5010 3408 2622 4036 6444 7066 5086 2892 0874 2052 4638 6020 5008" },
    { 8, 1, "5503 4010 3626 4642 5060 4886 3895 2880 3458 5440 6622 5804" },
    { 8, 1, "2808 2630 5850 6882 3897 1878 4050 6822 5206 3004" },
    { 8, 1, "6420 4404 1820 3444 6462 6090 3898 1884 3048 6234 6616" },
    { 9, 4, "6418 4404 2016 1842 4050 6428^6250 5876 5698" },
    { 9, 3, "6614 4403 2222 2444 5044 6816 6642 6068 5098" },
    { 9, 2, "6616 4003 1626 2850 5444 6618^6850 6282 4097 1890" },
    { 9, 2, "7006 4404 1420 1246 3452 5640 7006^6246 5698" },
    { 9, 1, "6806 4008 2034 3450 5840 6806^5850 4898" },
    { 9, 1, "7008 5204 2610 1430 2848 5240 7010^6648 6298" },
    { 9, 1, "2012 1838 4048 6234 6404^6640 6270 5498" },
    { 9, 1, "6012 4003 2816 3240 5034 6012^6044 5680 4898" },
};

/* A pen's way. lift: no line leads from this point to the next one.          */
typedef struct lsnni_path {
    int count;
    double x[LSNNI_PEN], y[LSNNI_PEN];
    unsigned char lift[LSNNI_PEN], corner[LSNNI_PEN];
} lsnni_path;

static const char *lsnni_style_draw(lsnn_rng *r, int digit)
{
    int count = (int)(sizeof lsnni_styles / sizeof lsnni_styles[0]), total = 0, i;
    for (i = 0; i < count; i++)
        if (lsnni_styles[i].digit == digit) total += lsnni_styles[i].weight;
    total = lsnn_rng_int(r, total);
    for (i = 0; i < count; i++) {
        if (lsnni_styles[i].digit != digit) continue;
        total -= lsnni_styles[i].weight;
        if (total < 0) break;
    }
    return lsnni_styles[i].path;
}

/* The points of a style, each moved a little.                                */
static void lsnni_path_knots(lsnni_path *p, lsnn_rng *r, const char *s, double jitter)
{
    p->count = 0;
    for (;;) {
        int k = p->count++;
        p->x[k] = (s[0] - '0') * 0.1 + (s[1] - '0') * 0.01 + jitter * lsnn_rng_normal(r);
        p->y[k] = (s[2] - '0') * 0.1 + (s[3] - '0') * 0.01 + jitter * lsnn_rng_normal(r);
        p->lift[k] = s[4] == '/' || s[4] == 0;
        p->corner[k] = s[4] == '^';
        if (s[4] == 0) return;
        s += 5;
    }
}

/* A Catmull-Rom curve through the knots a (its tangent at a knot is parallel to
   the chord of its neighbours; at an end or corner it points to the one left). */
static void lsnni_path_smooth(lsnni_path *p, const lsnni_path *a)
{
    p->count = 0;
    for (int k = 0; k < a->count; k++) {
        int first = k == 0 || a->lift[k - 1] || a->corner[k], before = first ? k : k - 1;
        int next = a->lift[k] ? k : k + 1, steps = a->lift[k] ? 1 : LSNNI_SPLIT;
        int after = a->lift[next] || a->corner[next] ? next : next + 1;
        for (int i = 0; i < steps; i++) {
            double t = i * (1.0 / (int)LSNNI_SPLIT), u = 1 - t;
            double wb = -t * u * u / 2, wa = -t * t * u / 2;      /* neighbours' weights */
            double wk = u * (1 + t - 1.5 * t * t), wn = t * (1 + u - 1.5 * u * u);
            int n = p->count++;
            p->x[n] = wb * a->x[before] + wk * a->x[k] + wn * a->x[next] + wa * a->x[after];
            p->y[n] = wb * a->y[before] + wk * a->y[k] + wn * a->y[next] + wa * a->y[after];
            p->lift[n] = a->lift[k];
        }
    }
}

/* One person's hand: waves across the sheet, uneven halves, a bend, shear,
   stretch and turn.                                                          */
static void lsnni_path_bend(lsnni_path *p, lsnn_rng *r)
{
    double wave[2][4], tau = 6.283185307179586;
    double squeeze = 0.25 * lsnn_rng_normal(r), taper = 0.22 * lsnn_rng_normal(r);
    double bend = 0.16 * lsnn_rng_normal(r), slant = 0.16 + 0.24 * lsnn_rng_normal(r);
    double stretch = exp(0.20 * lsnn_rng_normal(r)), turn = 0.09 * lsnn_rng_normal(r);
    double c = cos(turn), s = sin(turn);
    for (int i = 0; i < 2; i++) {
        wave[i][0] = 0.05 * lsnn_rng_normal(r);
        wave[i][1] = tau * 0.9 * (lsnn_rng_uniform(r) - 0.5) * 2;
        wave[i][2] = tau * 0.9 * (lsnn_rng_uniform(r) - 0.5) * 2;
        wave[i][3] = tau * lsnn_rng_uniform(r);
    }
    for (int i = 0; i < p->count; i++) {
        double x = p->x[i] - 0.42, y = p->y[i] - 0.5;
        double dx = wave[0][0] * sin(wave[0][1] * x + wave[0][2] * y + wave[0][3]);
        double dy = wave[1][0] * sin(wave[1][1] * x + wave[1][2] * y + wave[1][3]);
        x = (x + dx) * (1 + taper * y) * stretch;
        y = y + dy + squeeze * (y * y - 0.25);
        x += bend * (y * y - 0.1) - slant * y;
        p->x[i] = c * x - s * y;
        p->y[i] = s * x + c * y;
    }
}

/* Moves and scales the path so that the pixels whose centres lie within `reach`
   + 0.5 of it, those that get ink, fill a 20x20 box at (4, 4).               */
static void lsnni_path_fit(lsnni_path *p, double reach)
{
    double x0 = p->x[0], x1 = x0, y0 = p->y[0], y1 = y0, side, scale;
    for (int i = 1; i < p->count; i++) {
        x0 = LSNNI_MIN(x0, p->x[i]);
        x1 = LSNNI_MAX(x1, p->x[i]);
        y0 = LSNNI_MIN(y0, p->y[i]);
        y1 = LSNNI_MAX(y1, p->y[i]);
    }
    side = LSNNI_MAX(x1 - x0, y1 - y0);
    scale = (20 - 2 * reach) / LSNNI_MAX(side, 0.1);
    for (int i = 0; i < p->count; i++) {
        p->x[i] = 14 + scale * (p->x[i] - (x0 + x1) / 2);
        p->y[i] = 14 + scale * (p->y[i] - (y0 + y1) / 2);
    }
}

/* Lays the line from (ax, ay) to (bx, by) on ink: a pixel's value rises from 0
   to 1 as its centre comes within `soft` of the stroke's edge.               */
static void lsnni_ink_line(float ink[28][28], double ax, double ay, double bx, double by,
                           double radius, double soft)
{
    double vx = bx - ax, vy = by - ay, length2 = vx * vx + vy * vy, reach = radius + soft;
    double inverse = length2 > 0 ? 1 / length2 : 0;
    int x0 = (int)(LSNNI_MIN(ax, bx) - reach), x1 = (int)(LSNNI_MAX(ax, bx) + reach);
    int y0 = (int)(LSNNI_MIN(ay, by) - reach), y1 = (int)(LSNNI_MAX(ay, by) + reach);
    for (int y = LSNNI_MAX(y0, 0); y <= LSNNI_MIN(y1, 27); y++)
        for (int x = LSNNI_MAX(x0, 0); x <= LSNNI_MIN(x1, 27); x++) {
            double px = x + 0.5 - ax, py = y + 0.5 - ay;
            double t = (px * vx + py * vy) * inverse, d2, v;
            t = t < 0 ? 0 : t > 1 ? 1 : t;
            px -= t * vx;
            py -= t * vy;
            d2 = px * px + py * py;
            if (d2 >= reach * reach) continue;
            v = (reach - sqrt(d2)) / (2 * soft);
            v = v > 1 ? 1 : v;
            if (v > ink[y][x]) ink[y][x] = (float)v;
        }
}

/* Shifts by whole pixels so that the centre of mass comes nearest to the centre of pixel
   (14, 14).                                                                  */
static void lsnni_ink_centre(unsigned char *pixels, float ink[28][28])
{
    double sum = 0, sx = 0, sy = 0;
    int dx, dy;
    for (int y = 0; y < 28; y++)
        for (int x = 0; x < 28; x++) {
            double v = (double)ink[y][x];
            sum += v;
            sx += v * (x + 0.5);
            sy += v * (y + 0.5);
        }
    dx = (int)floor(15 - sx / sum);
    dy = (int)floor(15 - sy / sum);
    memset(pixels, 0, 28 * 28);
    for (int y = LSNNI_MAX(0, -dy); y < LSNNI_MIN(28, 28 - dy); y++)
        for (int x = LSNNI_MAX(0, -dx); x < LSNNI_MIN(28, 28 - dx); x++)
            pixels[(y + dy) * 28 + x + dx] = (unsigned char)(ink[y][x] * 255 + 0.5f);
}

LSNN_API void lsnn_digit_draw(lsnn_rng *r, int digit, unsigned char *pixels)
{
    lsnni_path knots, p;
    float ink[28][28];
    const char *style = lsnni_style_draw(r, digit < 0 || digit > 9 ? 0 : digit);
    double radius = 1.25 * exp(0.30 * lsnn_rng_normal(r));
    double soft = 0.4 + 0.35 * lsnn_rng_uniform(r);
    radius = LSNNI_MIN(LSNNI_MAX(radius, 0.6), 2.8);
    lsnni_path_knots(&knots, r, style, 0.035);
    lsnni_path_smooth(&p, &knots);
    lsnni_path_bend(&p, r);
    lsnni_path_fit(&p, radius + soft - 0.5);
    memset(ink, 0, sizeof ink);
    for (int i = 0; i + 1 < p.count; i++)
        if (!p.lift[i])
            lsnni_ink_line(ink, p.x[i], p.y[i], p.x[i + 1], p.y[i + 1], radius, soft);
    lsnni_ink_centre(pixels, ink);
}

