/* test_recipes.c - the tasks' pictures: what they show, where from, and the same for all.

   Build: cc -O2 -I. tests/test_recipes.c -o tests/test_recipes -lm
                                                                 modes: plain | double asan */
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
#include "source.h"

enum { OUT = 42, PIXELS = 42 * 42, MOST = 56 * 56 };

/* A sample as the tests look at it.                                          */
typedef struct view {
    unsigned char pixels[MOST], labels[LSNN_MAX_HEADS];
    lsnn_place place[LSNN_MAX_HEADS];
} view;

static view draw(const lsnn_recipe *r, uint32_t epoch, int index)
{
    view v;
    memset(&v, 0, sizeof v);
    lsnn_recipe_draw(r, epoch, index, v.pixels, v.labels, v.place);
    return v;
}

static int ink(const view *v)
{
    int sum = 0;
    for (int i = 0; i < MOST; i++) sum += v->pixels[i];
    return sum;
}

/* The smallest box around the ink within rows and columns [lo, hi).          */
static lsnn_place ink_box(const view *v, int lo, int hi)
{
    lsnn_place p;
    int x1 = -1, y1 = -1;
    p.x = p.y = OUT;
    for (int y = lo; y < hi; y++)
        for (int x = lo; x < hi; x++) {
            if (!v->pixels[y * OUT + x]) continue;
            if (x < p.x) p.x = x;
            if (y < p.y) p.y = y;
            if (x > x1) x1 = x;
            if (y > y1) y1 = y;
        }
    p.w = x1 + 1 - p.x;
    p.h = y1 + 1 - p.y;
    return p;
}

static int on(const lsnn_place *p, int x, int y)
{
    return x >= p->x && x < p->x + p->w && y >= p->y && y < p->y + p->h;
}

/* Image i (-1: all of them) becomes a full square of one value.              */
static void paint(source *s, int i, int value)
{
    int n = i < 0 ? s->images.dim[0] : 1;
    memset(s->images.v + (i < 0 ? 0 : i) * 784, value, (size_t)n * 784);
}

/* sum (count - want)^2 / want; cells whose want is 0 must be empty.          */
static double chi_square(const int *count, const double *want, int cells)
{
    double chi = 0;
    for (int i = 0; i < cells; i++) {
        CHECK(want[i] > 0 || count[i] == 0);
        if (want[i] > 0) chi += (count[i] - want[i]) * (count[i] - want[i]) / want[i];
    }
    return chi;
}

static uint64_t hash_bytes(const unsigned char *v, size_t n)          /* FNV-1a  */
{
    uint64_t h = 14695981039346656037ull;
    for (size_t i = 0; i < n; i++) h = (h ^ v[i]) * 1099511628211ull;
    return h;
}

static lsnn_recipe recipe(lsnn_task task, const source *digits, const source *crops,
                          uint64_t seed, int test)
{
    lsnn_recipe r;
    memset(&r, 0, sizeof r);
    r.task = task;
    r.seed = seed;
    r.test = test;
    r.images = &digits->images;
    r.labels = &digits->labels;
    r.crops = &crops->images;
    return r;
}

static lsnn_recipe cluttered(const source *digits, const source *crops, uint64_t seed, int test)
{
    return recipe(LSNN_TASK_CLUTTERED, digits, crops, seed, test);
}

/* ---- what all tasks share --------------------------------------------------------*/
static void test_tasks(void)
{
    CHECK(lsnn_task_from_name("cluttered") == LSNN_TASK_CLUTTERED);
    CHECK(lsnn_task_from_name("nothing") == LSNN_TASK_COUNT_);
    for (int t = 0; t < LSNN_TASK_COUNT_; t++) {
        lsnn_task task = (lsnn_task)t;
        lsnn_shape s = lsnn_task_shape(task);
        CHECK(lsnn_task_from_name(lsnn_task_name(task)) == task);
        CHECK(s.c == 1 && s.h == s.w && s.h >= 28 && s.h <= LSNNI_TASK_SIDE);
        CHECK(lsnn_task_heads(task) >= 1 && lsnn_task_heads(task) <= LSNN_MAX_HEADS);
    }
    CHECK(lsnn_task_shape(LSNN_TASK_COUNT_).h == 0 && lsnn_task_heads(LSNN_TASK_COUNT_) == 0);
    test_end("tasks: names, shapes and heads");
}

static void test_recipe_check(void)
{
    source s = make_source(20, 1, 0), wrong = s;
    lsnn_ctx cx = quiet();
    lsnn_data d;
    for (int i = 0; i < 14; i++) {
        lsnn_recipe r = cluttered(&s, &s, 1, 0);
        wrong = s;
        if (i == 0) r.task = LSNN_TASK_COUNT_;
        if (i == 1) r.images = NULL;
        if (i == 2) r.labels = NULL;
        if (i == 3) r.crops = NULL;
        if (i == 4) r.count = 21;
        if (i == 5) r.count = -1;
        if (i == 6) r.task = LSNN_TASK_DIGITS;                  /* without a count */
        if (i == 7) wrong.images.dim[2] = 27;
        if (i == 8) wrong.labels.dim[0] = 19;
        if (i == 9) wrong.images.rank = 2;
        if (i == 10) r.first = 20;
        if (i == 11) r.first = -1;
        if (i == 12) r.first = 5, r.count = 16;
        if (i == 13) r.first = 5, r.count = 0x7fffffff;
        if (i == 7 || i == 9) r.images = &wrong.images;
        if (i == 8) r.labels = &wrong.labels;
        CHECK(lsnn_recipe_check(&cx, &r) < 0 && cx.message[0]);
        CHECK(lsnn_data_recipe(&cx, &d, &r) < 0 && !d.fetch);
        lsnn_clear(&cx);
    }
    s.labels.v[5] = 10;
    wrong = s;
    {
        lsnn_recipe r = cluttered(&wrong, &wrong, 1, 0);
        r.classes = 10;                          /* else the label 10 makes 11    */
        CHECK(lsnn_recipe_check(&cx, &r) == LSNN_EVALUE);
        lsnn_clear(&cx);
        r.classes = 0;
        s.labels.v[5] = 9;
        r.crops = NULL;
        r.task = LSNN_TASK_ARROW;               /* has no clutter                */
        r.first = 5;
        r.count = 15;
        CHECK(lsnn_recipe_check(&cx, &r) == LSNN_OK);
        CHECK(lsnn_data_recipe(&cx, &d, &r) == LSNN_OK && d.count == 15 && d.heads == 1);
        lsnn_data_free(&d);
    }
    free_source(&s);
    test_end("recipes: wrong ones are refused");
}

/* ---- cluttered ---------------------------------------------------------------------*/
/* The cluttered picture of (recipe, epoch, index) pixel by pixel: what lies over
   each canvas pixel is summed, and nothing else is shared with lsnn.h but the
   order of the draws.                                                        */
static void slow_cluttered(const lsnn_recipe *r, uint32_t epoch, int index, double out[42 * 42],
                           int *digit_x, int *digit_y)
{
    int crop[32][5];
    lsnn_rng g = lsnn_rng_at(r->seed, r->test ? "recipe test" : "recipe train", "cluttered",
                             r->fresh ? epoch : 0, (uint32_t)index);
    *digit_y = lsnn_rng_int(&g, 57);
    *digit_x = lsnn_rng_int(&g, 57);
    for (int i = 0; i < 32; i++) {
        static const int bound[4] = { 23, 23, 79, 79 };
        crop[i][0] = lsnn_rng_int(&g, r->crops->dim[0]);
        for (int k = 0; k < 4; k++) crop[i][k + 1] = lsnn_rng_int(&g, bound[k]);
    }
    memset(out, 0, 42 * 42 * sizeof *out);
    for (int y = 0; y < 84; y++)
        for (int x = 0; x < 84; x++) {
            int v = y - *digit_y, u = x - *digit_x, sum = 0;
            if (v >= 0 && v < 28 && u >= 0 && u < 28)
                sum = r->images->v[index * 784 + v * 28 + u];
            for (int i = 0; i < 32; i++) {
                v = y - crop[i][3];
                u = x - crop[i][4];
                if (v < 0 || v >= 6 || u < 0 || u >= 6) continue;
                sum += r->crops->v[crop[i][0] * 784 + (v + crop[i][1]) * 28 + u + crop[i][2]];
            }
            out[y / 2 * 42 + x / 2] += (sum > 255 ? 255 : sum) / 4.0;
        }
}

static void test_cluttered_compositing(void)
{
    source train = make_source(50, 3, 0), test = make_source(40, 3, 1);
    static double want[42 * 42];
    for (int k = 0; k < 400; k++) {
        int is_test = k & 1, index = k / 2 % 40, x, y;
        uint32_t epoch = (uint32_t)k / 80;
        lsnn_recipe r = cluttered(is_test ? &test : &train, &train, 11, is_test);
        unsigned char got[42 * 42], label;
        lsnn_place p;
        r.fresh = k % 3 != 0;
        lsnn_recipe_draw(&r, epoch, index, got, &label, &p);
        slow_cluttered(&r, epoch, index, want, &x, &y);
        for (int i = 0; i < 42 * 42; i++) CHECK(got[i] == (int)floor(want[i] + 0.5));
        CHECK(label == r.labels->v[index]);
        CHECK(p.x == (int)floor(x / 2.0) && p.x + p.w == (int)ceil((x + 28) / 2.0));
        CHECK(p.y == (int)floor(y / 2.0) && p.y + p.h == (int)ceil((y + 28) / 2.0));
        for (int v = y; v < y + 28; v++)        /* adding never takes ink away   */
            for (int u = x; u < x + 28; u++)
                CHECK(4 * got[v / 2 * 42 + u / 2] + 2 >=
                      r.images->v[index * 784 + (v - y) * 28 + u - x]);
    }
    free_source(&train);
    free_source(&test);
    test_end("cluttered: equals a slow re-derivation, digit and label in place");
}

/* Digits of value 0 leave the crops alone, and crops of value 0 the digits: so
   each kind's pixels are seen to come from its own set.                      */
static void test_cluttered_sources(void)
{
    source digits = make_source(30, 5, 1), crops = make_source(30, 5, 0);
    unsigned char got[42 * 42], label;
    int ink = 0;
    lsnn_recipe r = cluttered(&digits, &crops, 4, 1);
    lsnn_place p;
    memset(crops.images.v, 0, 30 * 784);
    for (int i = 0; i < 30; i++) {
        lsnn_recipe_draw(&r, 0, i, got, &label, &p);
        for (int y = 0; y < 42; y++)
            for (int x = 0; x < 42; x++)
                if (x < p.x || x >= p.x + p.w || y < p.y || y >= p.y + p.h)
                    CHECK(got[y * 42 + x] == 0);
                else ink += got[y * 42 + x] > 0;
    }
    CHECK(ink > 30 * 20);
    memset(digits.images.v, 0, 30 * 784);
    memset(crops.images.v, 100, 30 * 784);
    for (int i = 0; i < 30; i++) {              /* 6x6 of 100: about 288 pixels   */
        int covered = 0;
        lsnn_recipe_draw(&r, 0, i, got, &label, NULL);
        for (int k = 0; k < 42 * 42; k++) covered += got[k] > 0;
        CHECK(covered > 150 && covered <= 32 * 16);
    }
    free_source(&digits);
    free_source(&crops);
    test_end("cluttered: digits come from images, clutter from crops");
}

static void test_cluttered_places(void)
{
    enum { n = 20000 };
    source s = make_source(n, 6, 0);
    lsnn_recipe r = cluttered(&s, &s, 9, 0);
    int column[29] = { 0 }, row[29] = { 0 };
    double chi_x = 0, chi_y = 0;
    for (int i = 0; i < n; i++) {
        unsigned char got[42 * 42], label;
        lsnn_place p;
        lsnn_recipe_draw(&r, 0, i, got, &label, &p);
        CHECK(p.x >= 0 && p.x <= 28 && p.y >= 0 && p.y <= 28);
        if (p.x >= 0 && p.x <= 28) column[p.x]++;
        if (p.y >= 0 && p.y <= 28) row[p.y]++;
    }
    for (int i = 0; i < 29; i++) {              /* 57 places: the last cell has 1 */
        double want = (double)n * (i < 28 ? 2.0 : 1.0) / 57;
        chi_x += (column[i] - want) * (column[i] - want) / want;
        chi_y += (row[i] - want) * (row[i] - want) / want;
    }
    CHECK(chi_x < 57 && chi_y < 57);            /* 28 degrees: 1 in 1000 exceeds it */
    free_source(&s);
    test_end("cluttered: places are uniform (chi-square %.1f, %.1f of 28)", chi_x, chi_y);
}

/* ---- arrow ---------------------------------------------------------------------*/
/* The corner (0 upper left, 1 upper right, 2 lower left, 3) that the arrow in the middle
   points to: its head is heavier, and a line from its tip on ends there. -1: none. */
static int arrow_target(const view *v)
{
    lsnn_place box = ink_box(v, 14, 28);
    double sum = 0, sx = 0, sy = 0;
    int right, below, x, y, steps[4] = { 0 };
    for (int i = 14; i < 28; i++)
        for (int j = 14; j < 28; j++) {
            int value = v->pixels[i * OUT + j];
            sum += value;
            sx += value * (j + 0.5 - box.x - box.w / 2.0);
            sy += value * (i + 0.5 - box.y - box.h / 2.0);
        }
    if (fabs(sx / sum) < 0.5 || fabs(sy / sum) < 0.5) return -1;
    right = sx > 0;
    below = sy > 0;
    x = right ? box.x + box.w - 1 : box.x;
    y = below ? box.y + box.h - 1 : box.y;
    if (!v->pixels[y * OUT + x]) return -1;     /* no tip                        */
    for (; x >= 0 && x < OUT && y >= 0 && y < OUT; x += 2 * right - 1, y += 2 * below - 1)
        if ((x < 14 || x >= 28) && (y < 14 || y >= 28)) steps[2 * (y >= 28) + (x >= 28)]++;
    return steps[2 * below + right] >= 9 ? 2 * below + right : -1;
}

/* The value of a corner's 14x14 pixels, -1 if they differ.                   */
static int corner_value(const view *v, int corner)
{
    int x = corner % 2 * 28, y = corner / 2 * 28, value = v->pixels[y * OUT + x];
    for (int i = 0; i < 14; i++)
        for (int j = 0; j < 14; j++)
            if (v->pixels[(y + i) * OUT + x + j] != value) return -1;
    return value;
}

/* Image i is a square of value 40 + i, so a picture tells which images it shows. */
static void test_arrow(void)
{
    enum { n = 200, epochs = 60 };
    source s = make_source(n, 3, 0);
    lsnn_recipe r = recipe(LSNN_TASK_ARROW, &s, &s, 5, 0);
    int pairs[16] = { 0 }, places[25] = { 0 }, others[n] = { 0 };
    double want[25], want_others[n], chi, chi_others;
    r.fresh = 1;
    for (int i = 0; i < n; i++) paint(&s, i, 40 + i);
    for (int k = 0; k < n * epochs; k++) {
        int i = k % n, target, other = -1;
        view v = draw(&r, (uint32_t)(k / n), i);
        lsnn_place arrow = ink_box(&v, 14, 28);
        target = 2 * (v.place->y > 0) + (v.place->x > 0);
        CHECK(v.place->x % 28 == 0 && v.place->y % 28 == 0);
        CHECK(v.place->w == 14 && v.place->h == 14);
        CHECK(v.labels[0] == s.labels.v[i] && corner_value(&v, target) == 40 + i);
        CHECK(arrow_target(&v) == target);
        for (int c = 0; c < 4; c++) {
            int value = corner_value(&v, c);
            CHECK(value >= 0);
            if (c == target || value == 0) continue;
            CHECK(other < 0 && value >= 40 && value < 40 + n);
            other = c;
            others[value - 40]++;
        }
        CHECK(other >= 0 && v.place[1].x == other % 2 * 28 && v.place[1].y == other / 2 * 28);
        for (int p = 0; p < PIXELS; p++)        /* nothing in the other cells    */
            if (v.pixels[p] && (p / OUT / 14 == 1) != (p % OUT / 14 == 1)) CHECK(0);
        pairs[4 * target + other]++;
        CHECK(arrow.x <= 18 && arrow.y <= 18);
        places[5 * (arrow.y - 14) + arrow.x - 14]++;
    }
    for (int i = 0; i < 16; i++) want[i] = i % 5 ? n * epochs / 12.0 : 0;
    chi = chi_square(pairs, want, 16);
    CHECK(chi < 31.3);                          /* 11 degrees: 1 in 1000 exceeds it */
    for (int i = 0; i < 25; i++)
        want[i] = n * epochs / 81.0 * (i / 5 < 4 ? 2 : 1) * (i % 5 < 4 ? 2 : 1);
    CHECK(chi_square(places, want, 25) < 51.2);
    for (int i = 0; i < n; i++) want_others[i] = epochs;
    chi_others = chi_square(others, want_others, n);
    CHECK(chi_others < 267);                    /* 199 degrees                   */
    free_source(&s);
    test_end("arrow: points to the labelled corner; corners and other digits uniform "
             "(chi-square %.1f of 11, %.0f of 199)", chi, chi_others);
}

/* ---- rectangle ---------------------------------------------------------------------*/
/* One sample drawn three times: without digits, with its own alone, with the other alone.
   0 when the other happens to be the same image.                             */
static int check_rectangle(source *s, const lsnn_recipe *r, uint32_t epoch, int i)
{
    view frame, own, other;
    lsnn_place box, p;
    int own_ink, other_ink;
    paint(s, -1, 0);
    frame = draw(r, epoch, i);
    paint(s, i, 100);
    own = draw(r, epoch, i);
    paint(s, -1, 100);
    paint(s, i, 0);
    other = draw(r, epoch, i);
    box = ink_box(&frame, 0, OUT);
    p = frame.place[0];
    CHECK(abs(4 * ink(&frame) - (32 * 32 - 28 * 28) * 255) < 300);
    CHECK(box.x == p.x - 1 && box.y == p.y - 1 && box.w == p.w + 2 && box.h == p.h + 2);
    own_ink = ink(&own) - ink(&frame);
    other_ink = ink(&other) - ink(&frame);
    if (other_ink == 0) return 0;
    CHECK(abs(4 * own_ink - 784 * 100) < 200);      /* whole: on the canvas, not overlapped */
    CHECK(abs(4 * other_ink - 784 * 100) < 200);
    for (int y = 0; y < OUT; y++)
        for (int x = 0; x < OUT; x++) {
            int k = y * OUT + x, deep = x > p.x && x + 1 < p.x + p.w && y > p.y &&
                                        y + 1 < p.y + p.h;
            if (deep) CHECK(frame.pixels[k] == 0 && own.pixels[k] == 100);
            if (!on(&frame.place[1], x, y)) CHECK(other.pixels[k] == frame.pixels[k]);
            if (on(&p, x, y)) CHECK(other.pixels[k] == frame.pixels[k]);
            else CHECK(own.pixels[k] == frame.pixels[k]);
        }
    CHECK(own.labels[0] == s->labels.v[i]);
    return 1;
}

static void test_rectangle(void)
{
    enum { n = 500, many = 20000, free_pairs = 23 * 24 };
    source s = make_source(n, 4, 0);
    lsnn_recipe r = recipe(LSNN_TASK_RECTANGLE, &s, &s, 6, 0);
    int column[28] = { 0 }, row[28] = { 0 }, pairs = 0;
    double want[28] = { 0 }, total = 0, chi_x, chi_y;
    r.fresh = 1;
    for (int k = 0; k < 2 * n; k++) pairs += check_rectangle(&s, &r, (uint32_t)(k / n), k % n);
    CHECK(pairs >= 2 * n - 15);
    for (int k = 0; k < many; k++) {
        view v = draw(&r, (uint32_t)(k / n), k % n);
        CHECK(v.place->x >= 1 && v.place->x < 28 && v.place->y >= 1 && v.place->y < 28);
        column[v.place->x]++;
        row[v.place->y]++;
    }
    for (int a = 2; a <= 54; a++)               /* one axis of the first, the other's, and */
        for (int b = 2; b <= 54; b++) {         /*   in how many ways the second axis goes */
            double ways = abs(a - b) < 30 ? free_pairs : 53 * 53;
            want[a / 2] += ways;
            total += ways;
        }
    for (int i = 0; i < 28; i++) want[i] *= many / total;
    chi_x = chi_square(column, want, 28);
    chi_y = chi_square(row, want, 28);
    CHECK(chi_x < 54.1 && chi_y < 54.1);        /* 26 degrees                    */
    free_source(&s);
    test_end("rectangle: round the labelled digit alone, no overlap, all on the canvas "
             "(chi-square %.1f, %.1f of 26)", chi_x, chi_y);
}

/* ---- sequence ---------------------------------------------------------------------*/
/* The mean over each output pixel's area, in floating point.                 */
static void slow_reduce(double *out, int to, const int *canvas, int from)
{
    double scale = (double)from / to;
    for (int v = 0; v < to; v++)
        for (int u = 0; u < to; u++) {
            double sum = 0;
            for (int y = 0; y < from; y++)
                for (int x = 0; x < from; x++) {
                    double h = fmin(y + 1, (v + 1) * scale) - fmax(y, v * scale);
                    double w = fmin(x + 1, (u + 1) * scale) - fmax(x, u * scale);
                    if (h > 0 && w > 0) sum += h * w * canvas[y * from + x];
                }
            out[v * to + u] = sum / (scale * scale);
        }
}

/* Draws the canvas again pixel by pixel, with nothing shared but the order of draws. */
static void test_sequence_compositing(void)
{
    enum { n = 40, side = 100 };
    source s = make_source(n, 3, 1), train = make_source(50, 3, 0);
    lsnn_recipe r = recipe(LSNN_TASK_SEQUENCE, &s, &train, 8, 1);
    double worst = 0;
    for (int i = 0; i < n; i++) {
        static int canvas[side * side];
        double want[PIXELS];
        lsnn_rng g = lsnn_rng_at(8, "recipe test", "sequence", 0, (uint32_t)i);
        int fall = lsnn_rng_int(&g, 57) - 28, x, y;
        view v = draw(&r, 0, i);
        y = (fall < 0 ? -2 * fall : 0) + lsnn_rng_int(&g, 73 - 2 * abs(fall));
        x = lsnn_rng_int(&g, 17);
        memset(canvas, 0, sizeof canvas);
        for (int k = 0; k < 3; k++) {
            int image = k ? lsnn_rng_int(&g, n) : i;
            CHECK(v.labels[k] == s.labels.v[image]);
            for (int p = 0; p < 784; p++)
                canvas[(y + k * fall + p / 28) * side + x + 28 * k + p % 28] =
                    s.images.v[image * 784 + p];
        }
        for (int k = 0; k < 8; k++) {
            static const int bound[5] = { 50, 23, 23, 95, 95 };
            int at[5];
            for (int q = 0; q < 5; q++) at[q] = lsnn_rng_int(&g, bound[q]);
            for (int p = 0; p < 36; p++) {
                int *c = &canvas[(at[3] + p / 6) * side + at[4] + p % 6];
                *c += train.images.v[at[0] * 784 + (at[1] + p / 6) * 28 + at[2] + p % 6];
                if (*c > 255) *c = 255;
            }
        }
        slow_reduce(want, OUT, canvas, side);
        for (int p = 0; p < PIXELS; p++) {
            double far = fabs(v.pixels[p] - want[p]);
            if (far > worst) worst = far;
        }
    }
    CHECK(worst <= 0.5 + 1e-9);
    free_source(&s);
    free_source(&train);
    test_end("sequence: equals a slow re-derivation to %.4f of a grey level", worst);
}

/* The row of digit k's upper edge on the canvas, from the pixels' centre of mass. */
static double edge_of(const view *v, int k)
{
    double sum = 0, sy = 0;
    for (int y = 0; y < OUT; y++)
        for (int x = v->place[k].x + 1; x + 1 < v->place[k].x + v->place[k].w; x++) {
            sum += v->pixels[y * OUT + x];
            sy += v->pixels[y * OUT + x] * (y + 0.5);
        }
    return sy / sum * 100 / OUT - 14;
}

static void test_sequence(void)
{
    enum { n = 400, many = 16000 };
    source s = make_source(n, 5, 0), blank = make_source(1, 5, 0);
    lsnn_recipe r = recipe(LSNN_TASK_SEQUENCE, &s, &blank, 9, 0);
    int falls[57] = { 0 }, starts[7] = { 0 };
    double want_fall[57], want_start[7] = { 0 }, chi, steepest = 0;
    r.fresh = 1;
    paint(&blank, 0, 0);
    for (int i = 0; i < n; i++) paint(&s, i, 25 * (s.labels.v[i] + 1));
    for (int k = 0; k < many; k++) {
        view v = draw(&r, (uint32_t)(k / n), k % n);
        double edge[3], total = 0;
        int fall;
        CHECK(v.labels[0] == s.labels.v[k % n]);
        for (int d = 0; d < 3; d++) {           /* the value is the label's      */
            const lsnn_place *p = &v.place[d];
            edge[d] = edge_of(&v, d);
            CHECK(v.pixels[(p->y + p->h / 2) * OUT + p->x + p->w / 2] ==
                  25 * (v.labels[d] + 1));
            CHECK(p->y == (int)floor(edge[d] + 0.5) * OUT / 100);
            CHECK(p->x >= 0 && p->x + p->w <= OUT && p->y >= 0 && p->y + p->h <= OUT);
            CHECK(d == 0 || abs(100 * (p->x - p[-1].x) - 28 * OUT) < 100);
            total += 784.0 * 25 * (v.labels[d] + 1) * OUT * OUT / 10000;
        }
        CHECK(fabs(ink(&v) - total) < 70);      /* whole: none left, none overlapped */
        fall = (int)floor(edge[1] - edge[0] + 0.5);
        CHECK(fabs(edge[1] - edge[0] - fall) < 0.2 && fabs(edge[2] - edge[1] - fall) < 0.2);
        CHECK(abs(fall) <= 28);
        if (abs(fall) <= 28) falls[fall + 28]++;
        if (abs(fall) / 28.0 > steepest) steepest = abs(fall) / 28.0;
        starts[v.place[0].x]++;
    }
    for (int i = 0; i < 57; i++) want_fall[i] = many / 57.0;
    for (int x = 0; x <= 16; x++) want_start[x * OUT / 100] += many / 17.0;
    chi = chi_square(falls, want_fall, 57);
    CHECK(chi < 94.5 && chi_square(starts, want_start, 7) < 22.5);    /* 56 and 6 degrees */
    CHECK(steepest == 1);
    free_source(&s);
    free_source(&blank);
    test_end("sequence: three digits in line, 0 to 45 degrees, none cut, labels from left to "
             "right (chi-square %.1f of 56)", chi);
}

/* ---- tlmnist ----------------------------------------------------------------------*/
/* Image i is full of noise of its own, so a quadrant tells which image it shows: the sample's
   own in the top left, bit for bit, and any in the others, each as often as the next. */
static void test_tlmnist(void)
{
    enum { n = 50, epochs = 200, side = 56 };
    source s = make_source(n, 3, 0);
    lsnn_recipe r = recipe(LSNN_TASK_TLMNIST, &s, &s, 8, 0);
    lsnn_rng noise = lsnn_rng_at(1, "test", "noise", 0, 0);
    int shown[3][n] = { { 0 } };
    double want[n], chi[3];
    r.crops = NULL;                             /* there is no clutter           */
    r.fresh = 1;
    for (int i = 0; i < n * 784; i++) s.images.v[i] = (unsigned char)lsnn_rng_u32(&noise);
    for (int k = 0; k < n * epochs; k++) {
        view v = draw(&r, (uint32_t)(k / n), k % n);
        CHECK(v.labels[0] == s.labels.v[k % n]);
        for (int q = 0; q < 4; q++) {
            int image = 0, x = q % 2 * 28, y = q / 2 * 28, same = 1;
            while (q && image < n &&
                   memcmp(v.pixels + y * side + x, s.images.v + image * 784, 28)) image++;
            if (!q) image = k % n;
            for (int i = 0; i < 28 && image < n; i++)
                same &= !memcmp(v.pixels + (y + i) * side + x, s.images.v + image * 784 + i * 28,
                                28);
            CHECK(image < n && same);
            CHECK(v.place[q].x == x && v.place[q].y == y && v.place[q].w == 28 &&
                  v.place[q].h == 28);
            if (q && image < n) shown[q - 1][image]++;
        }
    }
    for (int i = 0; i < n; i++) want[i] = epochs;
    for (int q = 0; q < 3; q++) {
        chi[q] = chi_square(shown[q], want, n);
        CHECK(chi[q] < 85.4);                   /* 49 degrees: 1 in 1000 exceeds it */
    }
    free_source(&s);
    test_end("tlmnist: the labelled digit top left, any others elsewhere (chi-square %.0f, %.0f, "
             "%.0f of 49)", chi[0], chi[1], chi[2]);
}

/* ---- which digits ---------------------------------------------------------------*/
/* Ink is seen only if the recipe's own images have it: test pictures hold no training
   digit and the reverse, nor digits from outside of [first, first + count).  */
static void test_sources(void)
{
    source white = make_source(60, 5, 1), black = make_source(60, 5, 0);
    paint(&white, -1, 200);
    paint(&black, -1, 0);
    for (int t = LSNN_TASK_CLUTTERED; t < LSNN_TASK_COUNT_; t++)
        for (int k = 0; k < 400; k++) {
            lsnn_recipe r = recipe((lsnn_task)t, &black, &black, 4, k & 1);
            view none, own, part;
            r.fresh = 1;
            none = draw(&r, (uint32_t)k, k % 20);
            r.crops = &white.images;
            own = draw(&r, (uint32_t)k, k % 20);            /* clutter from crops    */
            CHECK((ink(&own) > ink(&none)) == (lsnni_tasks[t].crops > 0));
            CHECK(memcmp(own.place, none.place, sizeof own.place) == 0);
            r.crops = &black.images;
            r.images = &white.images;
            own = draw(&r, (uint32_t)k, k % 20);
            CHECK(ink(&own) > ink(&none) + 784 * 200 * OUT * OUT / 10000 - 100);
            memset(white.images.v + 20 * 784, 0, 20 * 784);
            r.first = 20;
            r.count = 20;
            part = draw(&r, (uint32_t)k, k % 20);           /* none but black ones   */
            r.images = &black.images;
            own = draw(&r, (uint32_t)k, k % 20);
            CHECK(memcmp(own.pixels, part.pixels, MOST) == 0);
            paint(&white, -1, 200);
        }
    free_source(&white);
    free_source(&black);
    test_end("all tasks: digits come from the recipe's images, clutter from crops");
}

/* Sample i of images [first, ...) is sample first + i of all.                */
static void test_first(void)
{
    source s = make_source(50, 1, 0);
    for (int t = 0; t <= LSNN_TASK_CLUTTERED; t++)
        for (int i = 0; i < 30; i++) {
            lsnn_recipe r = recipe((lsnn_task)t, &s, &s, 3, 0), part = r;
            view a, b;
            r.count = 50;
            part.first = 20;
            part.count = 30;
            a = draw(&r, 0, 20 + i);
            b = draw(&part, 0, i);
            CHECK(memcmp(&a, &b, sizeof a) == 0);
        }
    free_source(&s);
    test_end("a recipe's part draws what the whole draws");
}

/* ---- same bytes whoever draws ------------------------------------------------------*/
typedef struct drawing {
    const lsnn_recipe *r;
    uint32_t epoch;
    size_t size;
    unsigned char *pixels, *labels;
} drawing;

static void draw_one(void *user, int i, int worker)
{
    drawing *d = (drawing *)user;
    (void)worker;
    lsnn_recipe_draw(d->r, d->epoch, i, d->pixels + (size_t)i * d->size,
                     d->labels + i * lsnn_task_heads(d->r->task), NULL);
}

static void test_threads(void)
{
    enum { n = 600 };
    source s = make_source(n, 2, 0);
    unsigned char *pixels = (unsigned char *)malloc(n * MOST);
    for (int t = 0; t < LSNN_TASK_COUNT_; t++) {
        uint64_t first = 0;
        for (int threads = 1; threads <= 3; threads++) {
            unsigned char labels[n * LSNN_MAX_HEADS] = { 0 };
            lsnn_ctx cx = quiet();
            lsnn_recipe r = cluttered(&s, &s, 77, 0);
            lsnn_shape shape = lsnn_task_shape((lsnn_task)t);
            drawing d;
            uint64_t h;
            r.task = (lsnn_task)t;
            r.count = n;
            cx.threads = threads;
            memset(&d, 0, sizeof d);
            d.r = &r;
            d.size = (size_t)(shape.h * shape.w);
            d.pixels = pixels;
            d.labels = labels;
            lsnn_parallel(&cx, n, draw_one, &d);
            h = hash_bytes(pixels, n * d.size) ^ hash_bytes(labels, sizeof labels);
            if (threads == 1) first = h;
            CHECK(h == first);
        }
    }
    free(pixels);
    free_source(&s);
    test_end("recipes: the same bytes for 1, 2 and 3 threads");
}

/* Squares of a value each, so that no bit hangs on libm.                     */
static void test_golden(void)
{
    static const uint64_t want[LSNN_TASK_COUNT_] = { 0, 0x9f366697792e9a87ull,
        0xc29b05cc65c4dd1bull, 0xfe3839113c808668ull, 0xf319d6d0e1642cafull,
        0x68c0eeb48fb1c2d2ull };
    source s = make_source(100, 1, 0);
    for (int i = 0; i < 100; i++) {
        paint(&s, i, 100 + i);
        s.labels.v[i] = (unsigned char)(i % 10);
    }
    for (int t = LSNN_TASK_CLUTTERED; t < LSNN_TASK_COUNT_; t++) {
        lsnn_recipe r = recipe((lsnn_task)t, &s, &s, 2017, 0);
        int side = lsnn_task_shape((lsnn_task)t).h;
        uint64_t h = 0;
        r.fresh = 1;
        for (int i = 0; i < 100; i++) {
            view v = draw(&r, (uint32_t)i % 3, i);
            h = h * 31 + (hash_bytes(v.pixels, (size_t)(side * side)) ^ hash_bytes(v.labels, LSNN_MAX_HEADS));
        }
        if (h != want[t]) printf("# %s: 0x%08x%08xull\n", lsnn_task_name((lsnn_task)t),
                                 (unsigned)(h >> 32), (unsigned)h);
        CHECK(h == want[t]);
    }
    free_source(&s);
    test_end("all tasks: the bytes are those of every earlier run");
}

static int compare_hash(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int repeats(uint64_t *hash, size_t n)
{
    int same = 0;
    qsort(hash, n, sizeof *hash, compare_hash);
    for (size_t i = 1; i < n; i++) same += hash[i] == hash[i - 1];
    return same;
}

/* n samples of each of three epochs, and of the test draws.                  */
static void test_fresh(lsnn_task task, int n)
{
    source s = make_source(n, 8, 0);
    lsnn_recipe r = recipe(task, &s, &s, 21, 0);
    uint64_t *hash = (uint64_t *)malloc(4 * (size_t)n * sizeof *hash);
    int same;
    for (int pass = 0; pass < 4; pass++)
        for (int i = 0; i < n; i++) {
            unsigned char got[MOST] = { 0 }, label[LSNN_MAX_HEADS];
            r.fresh = pass < 3;
            r.test = pass == 3;
            lsnn_recipe_draw(&r, (uint32_t)pass, i, got, label, NULL);
            hash[pass * n + i] = hash_bytes(got, sizeof got);
        }
    same = repeats(hash, 4 * (size_t)n);
    CHECK(same == 0);
    r.test = r.fresh = 0;
    for (int i = 0; i < 50; i++) {              /* fixed: epoch 0 for ever        */
        unsigned char a[MOST] = { 0 }, b[MOST] = { 0 }, c[MOST] = { 0 }, label[LSNN_MAX_HEADS];
        lsnn_recipe_draw(&r, 0, i, a, label, NULL);
        lsnn_recipe_draw(&r, 5, i, b, label, NULL);
        r.seed++;
        lsnn_recipe_draw(&r, 0, i, c, label, NULL);
        r.seed--;
        CHECK(memcmp(a, b, sizeof a) == 0 && memcmp(a, c, sizeof a) != 0);
    }
    free(hash);
    free_source(&s);
    test_end("%s: %d x 3 fresh and the test pictures differ, fixed ones stay",
             lsnn_task_name(task), n);
}

static void test_recipe_data(void)
{
    source s = make_source(30, 1, 0);
    lsnn_ctx cx = quiet();
    lsnn_recipe r = cluttered(&s, &s, 5, 0);
    lsnn_data d, part;
    CHECK(lsnn_data_recipe(&cx, &d, &r) == LSNN_OK);
    CHECK(d.count == 30 && d.classes == 10 && d.heads == 1 && d.shape.h == 42);
    CHECK(lsnn_data_part(&cx, &part, &d, 10, 20) == LSNN_OK);
    for (int i = 0; i < 20; i++) {
        unsigned char got[42 * 42], label;
        lsnn_real x[42 * 42];
        int l = -1;
        part.fetch(part.user, 3, i, x, &l, NULL);
        lsnn_recipe_draw(&r, 3, 10 + i, got, &label, NULL);
        for (int k = 0; k < 42 * 42; k++) CHECK(x[k] == (lsnn_real)got[k] / 255);
        CHECK(l == label);
    }
    lsnn_data_free(&part);
    lsnn_data_free(&d);
    free_source(&s);
    test_end("recipe as a data set: pixel / 255, and a part of it");
}

/* Labels of more classes than digits have: letters, 26.                       */
static void test_classes(void)
{
    source s = make_source(30, 1, 0);
    lsnn_ctx cx = quiet();
    lsnn_recipe r = cluttered(&s, &s, 5, 0);
    lsnn_data d;
    for (int i = 0; i < 30; i++) s.labels.v[i] = (unsigned char)(i % 26);
    CHECK(lsnn_data_recipe(&cx, &d, &r) == LSNN_OK && d.classes == 26);
    r.classes = 62;
    CHECK(lsnn_data_recipe(&cx, &d, &r) == LSNN_OK && d.classes == 62);
    r.classes = 25;
    CHECK(lsnn_data_recipe(&cx, &d, &r) == LSNN_EVALUE && strstr(cx.message, "label 25"));
    for (int i = 0; i < 3; i++) {
        static const int bad[3] = { -1, 257, 9 };
        lsnn_clear(&cx);
        r.classes = bad[i];
        if (i == 2) r.task = LSNN_TASK_DIGITS;
        r.count = 30;
        CHECK(lsnn_recipe_check(&cx, &r) == LSNN_EVALUE && strstr(cx.message, "classes"));
    }
    free_source(&s);
    test_end("recipes take the classes that the labels have, or those that are given");
}

int main(void)
{
    test_classes();
    test_tasks();
    test_recipe_check();
    test_cluttered_compositing();
    test_cluttered_sources();
    test_cluttered_places();
    test_arrow();
    test_rectangle();
    test_sequence_compositing();
    test_sequence();
    test_tlmnist();
    test_sources();
    test_first();
    test_threads();
    test_golden();
    test_fresh(LSNN_TASK_CLUTTERED, 20000);
    test_fresh(LSNN_TASK_ARROW, 5000);
    test_fresh(LSNN_TASK_RECTANGLE, 5000);
    test_fresh(LSNN_TASK_SEQUENCE, 5000);
    test_fresh(LSNN_TASK_TLMNIST, 5000);
    test_recipe_data();
    return test_finish();
}
