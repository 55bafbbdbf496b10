/* test_experiment.c - what examples/lsnn_mnist.c trains on, holds out and tests on, and how it
   measures where smoothers look. The program is included, its main renamed.

   Build: cc -O2 -I. tests/test_experiment.c -o tests/test_experiment -lm
   modes: plain | asan */
#define LSNN_IMPLEMENTATION
#include "lsnn.h"                    /* the mode's own, before the program's            */
#define main lsnn_mnist_main
#include "examples/lsnn_mnist.c"
#undef main
#include "check.h"

static lsnn_ctx cx;                      /* zeroed: ready for use                        */

/* ---- Focus: hand-made maps and boxes ---------------------------------------------------*/
static void test_focus(int side)
{
    enum { MAPS = 2 };
    static sight v;
    static lsnn_real u[MAPS * PIXELS], blend[PIXELS];
    lsnn_place box = { 10, 20, 5, 8 }, border = { 0, 0, 14, 14 };
    focus_sum sum = { 0, 0 };
    int edge = (SIDE - side) / 2, area = side * side, reach = 14 - edge;
    v.n = v.groups = v.images = 1;
    v.maps = MAPS;
    v.side = SIDE;
    v.h = v.w = side;
    v.u = u;
    memset(u, 0, sizeof u);
    u[(20 - edge) * side + 10 - edge] = 3;            /* the box's first pixel           */
    u[area + (27 - edge) * side + 14 - edge] = 3;     /* its last                        */
    u[(10 - edge) * side + 20 - edge] = 1;            /* its first with x and y changed  */
    u[area + (28 - edge) * side + 14 - edge] = 1;     /* below it                        */
    blend_maps(&v, 0, 0, blend);
    NEAR(blend[(20 - edge) * side + 10 - edge], 1.5, 1e-6);
    add_focus(&sum, &v, blend, &box);
    NEAR(sum.share, 6.0 / 8, 1e-6);
    NEAR(sum.area, 40.0 / area, 1e-12);
    for (int i = 0; i < area; i++) blend[i] = 1;      /* everywhere alike: sums add up   */
    add_focus(&sum, &v, blend, &border);
    NEAR(sum.share, 6.0 / 8 + (double)reach * reach / area, 1e-6);
    NEAR(sum.area, 40.0 / area + (double)reach * reach / area, 1e-12);
    test_end("focus: hand-made maps of %d x %d", side, side);
}

/* ---- Parts: which digits each shows ------------------------------------------------------*/
enum { TRAIN_DIGITS = 300, TEST_DIGITS = 100, HELD_OUT = 60 };
enum { TRAIN_INK = 200, VALID_INK = 100, TEST_INK = 50 };       /* digits become squares */

static void paint(lsnn_idx *images, int first, int count, int value)
{
    memset(images->v + (size_t)first * 784, value, (size_t)count * 784);
}

/* Whether each sample shows digits of its part's ink alone: arrow's lie in the corners.  */
static int shows_only(const lsnn_data *d, int ink, uint32_t epoch)
{
    int good = 1;
    for (int i = 0; i < d->count; i++) {
        lsnn_real x[PIXELS];
        int label, seen = 0;
        d->fetch(d->user, epoch, i, x, &label, NULL);
        for (int p = 0; p < PIXELS; p++) {
            int value = (int)floor((double)x[p] * 255 + 0.5);
            int corner = p / SIDE / 14 != 1 && p % SIDE / 14 != 1;
            if (corner && value) good &= value == ink;
            seen += corner && value;
        }
        good &= seen == 2 * 14 * 14;
    }
    return good;
}

static int is_redrawn(const lsnn_data *d)
{
    int differ = 0;
    for (int i = 0; i < d->count; i++) {
        lsnn_real x[PIXELS], y[PIXELS];
        int label;
        d->fetch(d->user, 0, i, x, &label, NULL);
        d->fetch(d->user, 1, i, y, &label, NULL);
        differ += memcmp(x, y, sizeof x) != 0;
    }
    return differ;
}

static void test_parts(int fresh)
{
    static experiment e;
    memset(&e, 0, sizeof e);
    app_init(&e.a, "test", "", "");
    e.a.train = TRAIN_DIGITS;
    e.a.test = TEST_DIGITS;
    e.holdout = HELD_OUT;
    e.fresh = fresh;
    e.task = LSNN_TASK_ARROW;
    CHECK(get_drawn(&e, &cx) == LSNN_OK);
    CHECK(e.data[TRAIN].count == TRAIN_DIGITS - HELD_OUT);
    CHECK(e.data[VALID].count == HELD_OUT && e.data[TEST].count == TEST_DIGITS);
    CHECK(e.recipe[TEST].crops == &e.source.train_images);
    for (int p = TRAIN; p < TEST; p++)               /* nor crops of held-out digits     */
        CHECK(e.recipe[p].crops->dim[0] == TRAIN_DIGITS - HELD_OUT &&
              e.recipe[p].crops->v == e.source.train_images.v);
    paint(&e.source.train_images, 0, TRAIN_DIGITS - HELD_OUT, TRAIN_INK);
    paint(&e.source.train_images, TRAIN_DIGITS - HELD_OUT, HELD_OUT, VALID_INK);
    paint(&e.source.test_images, 0, TEST_DIGITS, TEST_INK);
    for (uint32_t epoch = 0; epoch < 3; epoch++) {
        CHECK(shows_only(&e.data[TRAIN], TRAIN_INK, epoch));
        CHECK(shows_only(&e.data[VALID], VALID_INK, epoch));
        CHECK(shows_only(&e.data[TEST], TEST_INK, epoch));
    }
    CHECK(fresh ? is_redrawn(&e.data[TRAIN]) > 200 : is_redrawn(&e.data[TRAIN]) == 0);
    CHECK(is_redrawn(&e.data[VALID]) == 0 && is_redrawn(&e.data[TEST]) == 0);
    free_data(&e, &cx);
    test_end("training, held-out and test pictures share no digit (%s)",
             fresh ? "fresh" : "fixed");
}

/* Wilson's interval of a share of errors; what it must be was computed elsewhere.        */
static void test_interval(void)
{
    static const struct { double percent; int n; double low, high; } known[] = {
        { 0, 100, 0, 3.69935 }, { 50, 100, 40.38315, 59.61685 }, { 100, 10, 72.24672, 100 },
        { 2.66, 10000, 2.36234, 2.99402 }
    };
    for (int i = 0; i < 4; i++) {
        double low, high;
        app_interval(known[i].percent, known[i].n, &low, &high);
        NEAR(low, known[i].low, 1e-5);
        NEAR(high, known[i].high, 1e-5);
    }
    test_end("an error's interval: Wilson's");
}

int main(void)
{
    test_interval();
    test_focus(38);
    test_focus(42);
    test_parts(0);
    test_parts(1);
    lsnn_ctx_free(&cx);
    return test_finish();
}
