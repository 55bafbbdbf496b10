/* ---- >>scenes: how the tasks' samples are drawn ---------------------------------
   A sample's every draw comes from the generator at (seed, train or test, task,
   epoch, sample), so it can be drawn alone, on any thread, in any order. A scene
   is a black canvas: its task lays out digits and signs, which never overlap;
   then clutter is added, clipped at 255; then the canvas is reduced to the
   picture. A new task is a name in lsnn_task, a line of the table within the limits
   below, and a layout if it has its own.                                     */
enum { LSNNI_DIGIT = 28, LSNNI_DIGIT_SIZE = 28 * 28, LSNNI_TASK_SIDE = 100,
       LSNNI_TASK_DIGITS = 4, LSNNI_TASK_CROPS = 32, LSNNI_TAPS = 4,
       LSNNI_PITCH = 112 };          /* from canvas row to canvas row: whole vectors */

typedef struct lsnni_scene lsnni_scene;

typedef struct lsnni_task {
    const char *name;
    int side, out;                   /* pixels a side: canvas, picture        */
    int heads, digits;               /* labels; digits laid, the labelled first */
    int crops, crop_side;            /* clutter                               */
    void (*lay)(lsnni_scene *s);     /* NULL: one built-in digit              */
} lsnni_task;

struct lsnni_scene {
    const lsnni_task *task;
    lsnn_rng rng;
    int x[LSNNI_TASK_DIGITS], y[LSNNI_TASK_DIGITS];      /* upper left corners */
    unsigned char canvas[(LSNNI_TASK_SIDE + LSNNI_TAPS) * LSNNI_PITCH];
};

/* Paints a white h x w box.                                                  */
static void lsnni_scene_box(lsnni_scene *s, int x, int y, int w, int h)
{
    for (int i = 0; i < h; i++)
        memset(s->canvas + (y + i) * LSNNI_PITCH + x, 255, (size_t)w);
}

/* LSNN 5.1: one digit at a uniform place.                                    */
static void lsnni_lay_anywhere(lsnni_scene *s)
{
    int places = s->task->side - LSNNI_DIGIT + 1;
    s->y[0] = lsnn_rng_int(&s->rng, places);
    s->x[0] = lsnn_rng_int(&s->rng, places);
}

/* LSNN 5.2: digits in two of the four corners. 84 = 3 * 28 leaves the middle cell
   to the arrow, whose 20x20 box lies anywhere in it. Drawn for the upper left
   corner, pixel (i, j) of the box is on the shaft, the diagonal, or on one of the
   head's two bars, along the top and the left; the other kinds are mirrored.  */
static void lsnni_lay_arrow(lsnni_scene *s)
{
    const int far_side = 2 * LSNNI_DIGIT, size = 20, bar = 11, thick = 3;
    int corner = lsnn_rng_int(&s->rng, 4), right = corner % 2, below = corner / 2;
    int other = (corner + 1 + lsnn_rng_int(&s->rng, 3)) % 4;
    int y = LSNNI_DIGIT + lsnn_rng_int(&s->rng, LSNNI_DIGIT - size + 1);
    int x = LSNNI_DIGIT + lsnn_rng_int(&s->rng, LSNNI_DIGIT - size + 1);
    s->x[0] = right * far_side;
    s->y[0] = below * far_side;
    s->x[1] = other % 2 * far_side;
    s->y[1] = other / 2 * far_side;
    for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++) {
            int shaft = i - j <= thick / 2 && j - i <= thick / 2;
            int head = (i < thick && j < bar) || (j < thick && i < bar);
            if (shaft || head)
                lsnni_scene_box(s, x + (right ? size - 1 - j : j),
                                y + (below ? size - 1 - i : i), 1, 1);
        }
}

/* LSNN 5.2: two digits, uniform over the pairs of places where the second overlaps neither
   the first nor its frame of 2 pixels.                                       */
static void lsnni_lay_rectangle(lsnni_scene *s)
{
    const int frame = 2, outer = LSNNI_DIGIT + 2 * frame, apart = LSNNI_DIGIT + frame;
    int places = s->task->side - outer + 1;
    do {
        for (int k = 0; k < 2; k++) {
            s->y[k] = frame + lsnn_rng_int(&s->rng, places);
            s->x[k] = frame + lsnn_rng_int(&s->rng, places);
        }
    } while (abs(s->x[0] - s->x[1]) < apart && abs(s->y[0] - s->y[1]) < apart);
    for (int k = 0; k < 2; k++) {
        int x = s->x[0] - frame, y = s->y[0] - frame, far_side = k * apart;
        lsnni_scene_box(s, x, y + far_side, outer, frame);
        lsnni_scene_box(s, x + far_side, y, frame, outer);
    }
}

/* LSNN 5.3: three digits, each a digit's width to the right of the last and as much
   lower as a whole number of pixels in [-28, 28] says, so that they lie on a line of
   -45 to 45 degrees; then a uniform place of the first, of those that keep all
   three on the canvas.                                                       */
static void lsnni_lay_sequence(lsnni_scene *s)
{
    int room = s->task->side - LSNNI_DIGIT;
    int fall = lsnn_rng_int(&s->rng, 2 * LSNNI_DIGIT + 1) - LSNNI_DIGIT;
    s->y[0] = (fall < 0 ? -2 * fall : 0) + lsnn_rng_int(&s->rng, room - 2 * abs(fall) + 1);
    s->x[0] = lsnn_rng_int(&s->rng, room - 2 * LSNNI_DIGIT + 1);
    for (int k = 1; k < 3; k++) {
        s->x[k] = s->x[k - 1] + LSNNI_DIGIT;
        s->y[k] = s->y[k - 1] + fall;
    }
}

/* TKN 4.1, tlMNIST: the labelled digit in the top left quadrant, others in the other three. */
static void lsnni_lay_quadrants(lsnni_scene *s)
{
    for (int k = 0; k < 4; k++) {
        s->x[k] = k % 2 * LSNNI_DIGIT;
        s->y[k] = k / 2 * LSNNI_DIGIT;
    }
}

static const lsnni_task lsnni_tasks[LSNN_TASK_COUNT_ + 1] = {
    /* name         side  out heads digits crops */
    { "digits",       28, 28, 1, 1,  0, 0, NULL },
    { "cluttered",    84, 42, 1, 1, 32, 6, lsnni_lay_anywhere },
    { "arrow",        84, 42, 1, 2,  0, 0, lsnni_lay_arrow },
    { "rectangle",    84, 42, 1, 2,  0, 0, lsnni_lay_rectangle },
    { "sequence",    100, 42, 3, 3,  8, 6, lsnni_lay_sequence },
    { "tlmnist",      56, 56, 1, 4,  0, 0, lsnni_lay_quadrants },
    { "unknown task",  0,  0, 0, 0,  0, 0, NULL },
};

static const lsnni_task *lsnni_task_of(lsnn_task t)
{
    return &lsnni_tasks[(int)t >= 0 && t < LSNN_TASK_COUNT_ ? t : LSNN_TASK_COUNT_];
}

/* Samples of a recipe.                                                       */
static int lsnni_recipe_count(const lsnn_recipe *r)
{
    return r->count ? r->count : r->images->dim[0] - r->first;
}

/* Classes of a recipe's labels.                                              */
static int lsnni_recipe_classes(const lsnn_recipe *r)
{
    int most = 10;                   /* also where a few digits have no 9     */
    if (r->classes || !lsnni_task_of(r->task)->lay) return r->classes ? r->classes : most;
    for (int i = 0; i < r->labels->dim[0]; i++) most = LSNNI_MAX(most, r->labels->v[i] + 1);
    return most;
}

/* The generator of one sample. A fixed set is a fresh one's epoch 0.         */
static lsnn_rng lsnni_recipe_rng(const lsnn_recipe *r, const char *name, uint32_t epoch,
                                 int sample)
{
    return lsnn_rng_at(r->seed, r->test ? "recipe test" : "recipe train", name,
                       r->fresh ? epoch : 0, (uint32_t)sample);
}

/* Samples 0 to 9, 10 to 19, ... hold each digit once, in a drawn order.      */
static void lsnni_draw_digit(const lsnn_recipe *r, lsnn_rng *rng, unsigned char *pixels,
                             unsigned char *labels)
{
    int order[10], sample = (int)rng->sample;
    lsnn_rng decade = lsnni_recipe_rng(r, "digit order", rng->step, sample / 10);
    lsnn_rng_permutation(&decade, order, 10);
    labels[0] = (unsigned char)order[sample % 10];
    lsnn_digit_draw(rng, labels[0], pixels);
}

/* Lays digit number k: the sample's own image first, then any of the recipe's. */
static int lsnni_scene_digit(lsnni_scene *s, const lsnn_recipe *r, int k)
{
    int image = (int)s->rng.sample;
    if (k > 0) image = r->first + lsnn_rng_int(&s->rng, lsnni_recipe_count(r));
    for (int i = 0; i < LSNNI_DIGIT; i++)
        memcpy(s->canvas + (s->y[k] + i) * LSNNI_PITCH + s->x[k],
               r->images->v + (size_t)image * LSNNI_DIGIT_SIZE + i * LSNNI_DIGIT, LSNNI_DIGIT);
    return image;
}

/* Adds squares cut from random crop images at uniform places; their sum does not depend
   on the order. The images are spread over more memory than any cache holds, so all
   squares are chosen, and their lines asked for, before the first is waited for. */
static void lsnni_scene_clutter(lsnni_scene *s, const lsnn_idx *crops)
{
    int side = s->task->side, size = s->task->crop_side;
    const unsigned char *from[LSNNI_TASK_CROPS];
    unsigned char *to[LSNNI_TASK_CROPS];
    for (int k = 0; k < s->task->crops; k++) {
        from[k] = crops->v + (size_t)lsnn_rng_int(&s->rng, crops->dim[0]) * LSNNI_DIGIT_SIZE;
        from[k] += lsnn_rng_int(&s->rng, LSNNI_DIGIT - size + 1) * LSNNI_DIGIT;
        from[k] += lsnn_rng_int(&s->rng, LSNNI_DIGIT - size + 1);
        for (int i = 0; i < size; i += 2) LSNNI_FETCH_TO_READ(from[k] + i * LSNNI_DIGIT);
        to[k] = s->canvas + lsnn_rng_int(&s->rng, side - size + 1) * LSNNI_PITCH;
        to[k] += lsnn_rng_int(&s->rng, side - size + 1);
    }
    for (int k = 0; k < s->task->crops; k++)
        for (int i = 0; i < size; i++)
            for (int j = 0; j < size; j++) {
                int sum = to[k][i * LSNNI_PITCH + j] + from[k][i * LSNNI_DIGIT + j];
                to[k][i * LSNNI_PITCH + j] = (unsigned char)LSNNI_MIN(sum, 255);
            }
}

/* Each pixel of the picture is the mean, rounded to the nearest, over the part of the
   canvas that it covers. Along an axis on which a canvas pixel is `out` long, one of
   the picture is `side` long, so all overlaps are whole numbers: 42 and 42 for
   84 -> 42, up to four that add up to 100 for 100 -> 42.                      */
typedef struct lsnni_taps { int at; uint16_t overlap[LSNNI_TAPS]; } lsnni_taps;

static void lsnni_taps_set(lsnni_taps *taps, int out, int side)
{
    for (int u = 0; u < out; u++) {
        int begin = u * side, end = begin + side;
        taps[u].at = begin / out;
        for (int k = 0, x = taps[u].at * out; k < LSNNI_TAPS; k++, x += out) {
            int overlap = LSNNI_MIN(x + out, end) - LSNNI_MAX(x, begin);
            taps[u].overlap[k] = (uint16_t)LSNNI_MAX(overlap, 0);
        }
    }
}

static void lsnni_scene_shrink(const lsnni_scene *s, unsigned char *pixels)
{
    lsnni_taps taps[LSNNI_TASK_SIDE];
    uint16_t row[LSNNI_PITCH];       /* at most 255 * side                    */
    int out = s->task->out;
    uint64_t area = (uint64_t)(s->task->side * s->task->side), half = area / 2;
    uint64_t inverse = ((uint64_t)1 << 40) / area + 1;   /* exact below 2^40 / area */
    lsnni_taps_set(taps, out, s->task->side);
    for (int v = 0; v < out; v++) {
        const unsigned char *c = s->canvas + taps[v].at * LSNNI_PITCH;
        const uint16_t *w = taps[v].overlap;
        for (int x = 0; x < LSNNI_PITCH; x++)
            row[x] = (uint16_t)(w[0] * c[x] + w[1] * c[x + LSNNI_PITCH] +
                                w[2] * c[x + 2 * LSNNI_PITCH] + w[3] * c[x + 3 * LSNNI_PITCH]);
        for (int u = 0; u < out; u++) {
            const uint16_t *r = row + taps[u].at, *o = taps[u].overlap;
            uint32_t sum = (uint32_t)r[0] * o[0] + (uint32_t)r[1] * o[1] +
                           (uint32_t)r[2] * o[2] + (uint32_t)r[3] * o[3];
            *pixels++ = (unsigned char)((sum + half) * inverse >> 40);
        }
    }
}

/* ---- >>recipes ------------------------------------------------------------------*/
LSNN_API const char *lsnn_task_name(lsnn_task t) { return lsnni_task_of(t)->name; }
LSNN_API lsnn_shape lsnn_task_shape(lsnn_task t)
{
    const lsnni_task *task = lsnni_task_of(t);
    lsnn_shape shape = { task->out > 0, 0, 0 };
    shape.h = shape.w = task->out;
    return shape;
}
LSNN_API int lsnn_task_heads(lsnn_task t) { return lsnni_task_of(t)->heads; }
LSNN_API int lsnn_task_digits(lsnn_task t) { return lsnni_task_of(t)->digits; }

LSNN_API lsnn_task lsnn_task_from_name(const char *name)
{
    int t = name ? 0 : LSNN_TASK_COUNT_;
    while (t < LSNN_TASK_COUNT_ && strcmp(lsnni_tasks[t].name, name) != 0) t++;
    return (lsnn_task)t;
}

/* A set of 28x28 images.                                                     */
static lsnn_status lsnni_recipe_images(lsnn_ctx *cx, const char *task, const char *what,
                                       const lsnn_idx *a)
{
    if (!a || !a->v)
        return lsnni_fail(cx, LSNN_EVALUE, "recipe %s: needs %s", task, what);
    if (a->rank != 3 || a->dim[0] < 1 || a->dim[1] != LSNNI_DIGIT || a->dim[2] != LSNNI_DIGIT)
        return lsnni_fail(cx, LSNN_ESHAPE, "recipe %s: %s of rank %d (%d x %d x %d): must be "
                          "N x 28 x 28", task, what, a->rank, a->dim[0], a->dim[1], a->dim[2]);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_recipe_check(lsnn_ctx *cx, const lsnn_recipe *r)
{
    const lsnni_task *task;
    if (!r) return lsnni_fail(cx, LSNN_EVALUE, "recipe: it is NULL: set count, at least");
    task = lsnni_task_of(r->task);
    if (!task->heads)
        return lsnni_fail(cx, LSNN_EVALUE, "recipe: task %d is not in 0..%d", (int)r->task,
                          (int)LSNN_TASK_COUNT_ - 1);
    if (r->count < 0 || r->first < 0 || r->first > INT_MAX - r->count ||
        (r->count == 0 && !task->lay))
        return lsnni_fail(cx, LSNN_EVALUE, "recipe %s: %d samples from number %d on: set count",
                          task->name, r->count, r->first);
    if (r->classes < 0 || r->classes > 256 || (!task->lay && r->classes && r->classes < 10))
        return lsnni_fail(cx, LSNN_EVALUE, "recipe %s: classes %d: labels are bytes, digits' 0 "
                          "to 9", task->name, r->classes);
    if (!task->lay) return LSNN_OK;
    LSNNI_TRY(lsnni_recipe_images(cx, task->name, "images", r->images));
    if (task->crops) LSNNI_TRY(lsnni_recipe_images(cx, task->name, "crops", r->crops));
    if (!r->labels || r->labels->rank != 1)
        return lsnni_fail(cx, LSNN_ESHAPE, "recipe %s: needs labels of rank 1", task->name);
    LSNNI_TRY(lsnni_idx_labels(cx, "recipe", r->labels, r->images->dim[0],
                               r->classes ? r->classes : 256));
    if (r->first >= r->images->dim[0] || r->count > r->images->dim[0] - r->first)
        return lsnni_fail(cx, LSNN_EVALUE, "recipe %s: %d samples from number %d on, of %d "
                          "digits: each is used once", task->name, r->count, r->first,
                          r->images->dim[0]);
    return LSNN_OK;
}

LSNN_API void lsnn_recipe_draw(const lsnn_recipe *r, uint32_t epoch, int index,
                               unsigned char *pixels, unsigned char *labels, lsnn_place *place)
{
    const lsnni_task *task = &lsnni_tasks[r->task];
    int side = task->side, out = task->out;
    lsnni_scene s;
    s.task = task;
    s.rng = lsnni_recipe_rng(r, task->name, epoch, r->first + index);
    s.x[0] = s.y[0] = 0;
    if (!task->lay) {
        lsnni_draw_digit(r, &s.rng, pixels, labels);
    } else {
        memset(s.canvas, 0, sizeof s.canvas);
        task->lay(&s);
        for (int k = 0; k < task->digits; k++) {
            int image = lsnni_scene_digit(&s, r, k);
            if (k < task->heads) labels[k] = r->labels->v[image];
        }
        lsnni_scene_clutter(&s, r->crops);
        lsnni_scene_shrink(&s, pixels);
    }
    for (int k = 0; place && k < task->digits; k++) {
        place[k].x = s.x[k] * out / side;
        place[k].y = s.y[k] * out / side;
        place[k].w = ((s.x[k] + LSNNI_DIGIT) * out + side - 1) / side - place[k].x;
        place[k].h = ((s.y[k] + LSNNI_DIGIT) * out + side - 1) / side - place[k].y;
    }
}

static void lsnni_fetch_recipe(const void *user, uint32_t epoch, int index, lsnn_real *x,
                               int *labels, lsnn_real *targets)
{
    const lsnn_recipe *r = (const lsnn_recipe *)user;
    const lsnni_task *task = &lsnni_tasks[r->task];
    unsigned char pixels[LSNNI_TASK_SIDE * LSNNI_TASK_SIDE], bytes[LSNN_MAX_HEADS];
    (void)targets;
    lsnn_recipe_draw(r, epoch, index, pixels, bytes, NULL);
    lsnni_pixels(x, pixels, (size_t)(task->out * task->out));
    for (int i = 0; labels && i < task->heads; i++) labels[i] = bytes[i];
}

LSNN_API lsnn_status lsnn_data_recipe(lsnn_ctx *cx, lsnn_data *d, const lsnn_recipe *r)
{
    memset(d, 0, sizeof *d);
    LSNNI_TRY(lsnn_recipe_check(cx, r));
    d->count = lsnni_recipe_count(r);
    d->shape = lsnn_task_shape(r->task);
    d->heads = lsnn_task_heads(r->task);
    d->classes = lsnni_recipe_classes(r);
    d->fetch = lsnni_fetch_recipe;
    d->user = r;
    return LSNN_OK;
}

