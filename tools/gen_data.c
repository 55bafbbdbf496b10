/* gen_data.c - writes a task's training and test images as IDX files (MNIST's format).

   Build: cc -O2 tools/gen_data.c -o tools/gen_data -lm
          (add -DLSNN_USE_ZLIB -lz to read MNIST's .gz files as they are)
   Run:   tools/gen_data cluttered --mnist DIR --out data --preview cluttered.png
          (--list names the tasks; the labels of sequence are N x 3)

   Without --mnist the digits are drawn by lsnn.h itself. The files depend on the task,
   the counts, the seed and the source only, not on the number of threads. Nothing is
   written before everything has been drawn.
   Exit status: 0 done, 1 a file or folder failed, 2 a flag is wrong.                 */
#define LSNN_IMPLEMENTATION
#include "../lsnn.h"
#include "../examples/app.h"

/* One half of the work: the training or the test files.                      */
typedef struct half_set {
    const char *name;                /* as MNIST's files say it               */
    lsnn_idx digits, digit_labels;   /* what is placed: read, or drawn here   */
    lsnn_idx images, labels;         /* what is drawn                         */
    lsnn_recipe recipe;
    char path[2][APP_PATH];          /* of their files                        */
} half_set;

/* ---- drawing: each function gives 1 if it went well, 0 after a message --------*/
enum { CHUNK = 64 };                 /* images a task of lsnn_parallel        */

static void draw_chunk(void *user, int chunk, int worker)
{
    half_set *h = (half_set *)user;
    size_t size = (size_t)h->images.dim[1] * (size_t)h->images.dim[2];
    size_t heads = (size_t)lsnn_task_heads(h->recipe.task);
    int left = h->images.dim[0] - chunk * CHUNK, first = chunk * CHUNK;
    (void)worker;
    for (int i = first; i < first + (left < CHUNK ? left : CHUNK); i++)
        lsnn_recipe_draw(&h->recipe, 0, i, h->images.v + (size_t)i * size,
                         h->labels.v + (size_t)i * heads, NULL);
}

/* Draws h->recipe into h->images and h->labels, whose bytes are malloc's.    */
static int draw(const app *a, lsnn_ctx *cx, half_set *h)
{
    lsnn_shape s = lsnn_task_shape(h->recipe.task);
    size_t n = (size_t)h->recipe.count, size = (size_t)(s.h * s.w);
    int heads = lsnn_task_heads(h->recipe.task);
    if (lsnn_recipe_check(cx, &h->recipe) != LSNN_OK) return 0;
    h->images.rank = 3;
    h->images.dim[0] = h->labels.dim[0] = h->recipe.count;
    h->images.dim[1] = s.h;
    h->images.dim[2] = s.w;
    h->labels.rank = heads > 1 ? 2 : 1;
    h->labels.dim[1] = heads > 1 ? heads : 0;
    if (n <= (size_t)-1 / size) h->images.v = (unsigned char *)malloc(n * size);
    h->labels.v = (unsigned char *)malloc(n * (size_t)heads);
    if (!h->images.v || !h->labels.v) {
        app_refuse(a, "--%s %.0f: not enough memory", h->recipe.test ? "test" : "train",
                   (double)n);
        return 0;
    }
    lsnn_parallel(cx, (h->recipe.count - 1) / CHUNK + 1, draw_chunk, h);
    return 1;
}

/* The digits that a task places: drawn here where no folder is given.        */
static int get_digits(const app *a, lsnn_ctx *cx, half_set *h, const char *folder)
{
    char path[APP_PATH], file[64];
    half_set drawn = *h;
    int good;
    if (folder) {
        snprintf(file, sizeof file, "%s-images-idx3-ubyte", h->name);
        if (!app_path(a, path, folder, file) || lsnn_idx_read(cx, &h->digits, path)) return 0;
        snprintf(file, sizeof file, "%s-labels-idx1-ubyte", h->name);
        return app_path(a, path, folder, file) &&
               lsnn_idx_read(cx, &h->digit_labels, path) == LSNN_OK;
    }
    drawn.recipe.task = LSNN_TASK_DIGITS;
    good = draw(a, cx, &drawn);
    h->digits = drawn.images;
    h->digit_labels = drawn.labels;
    return good;
}

/* ---- writing ------------------------------------------------------------------*/
/* Locks the four files, so that two runs cannot mix theirs. APP_GO, or main's status. */
static int hold_files(app *a, half_set half[2], lsnn_task task)
{
    int status = app_make_folder(a, a->out) ? APP_GO : 1;
    for (int i = 0; i < 4 && status == APP_GO; i++) {
        half_set *h = &half[i / 2];
        char file[64];
        snprintf(file, sizeof file, "%s-%s-%s-idx%d-ubyte", lsnn_task_name(task), h->name,
                 i % 2 ? "labels" : "images",
                 i % 2 == 0 ? 3 : lsnn_task_heads(task) > 1 ? 2 : 1);
        status = app_path(a, h->path[i % 2], a->out, file)
               ? app_output(a, "out", h->path[i % 2]) : 1;
    }
    return status;
}

static int write_file(lsnn_ctx *cx, const lsnn_idx *v, const char *path)
{
    if (lsnn_idx_write(cx, v, path) != LSNN_OK) return 0;
    printf("%s: %d", path, v->dim[0]);
    for (int i = 1; i < v->rank; i++) printf(" x %d", v->dim[i]);
    printf(" bytes\n");
    return 1;
}

static void draw_picture(lsnn_image *im, int x, int y, int scale, const unsigned char *pixels,
                         int h, int w)
{
    for (int k = 0; k < h * w; k++)
        lsnn_image_rect(im, x + k % w * scale, y + k / w * scale, scale, scale,
                        pixels[k] * 0x010101u);
}

/* The first test image by itself, a pixel a pixel: what predict reads.       */
static int write_first(lsnn_ctx *cx, const half_set *h, const char *path)
{
    int ih = h->images.dim[1], iw = h->images.dim[2], good;
    lsnn_image im;
    if (lsnn_image_new(cx, &im, iw, ih, 0) != LSNN_OK) return 0;
    draw_picture(&im, 0, 0, 1, h->images.v, ih, iw);
    good = lsnn_image_save(cx, &im, path) == LSNN_OK;
    lsnn_image_free(cx, &im);
    if (good) printf("%s: the first test image, its label %d\n", path, h->labels.v[0]);
    return good;
}

/* Six rows of ten training images, each under its label.                     */
static int write_preview(lsnn_ctx *cx, const half_set *h, const char *path)
{
    enum { columns = 10, rows = 6, scale = 2, gap = 8, line = 12 };
    int ih = h->images.dim[1], iw = h->images.dim[2], ph = ih * scale, pw = iw * scale;
    int heads = lsnn_task_heads(h->recipe.task), good;
    lsnn_image im;
    if (lsnn_image_new(cx, &im, gap + columns * (pw + gap), gap + rows * (ph + line + gap),
                       0xffffff) != LSNN_OK) return 0;
    for (int i = 0; i < columns * rows && i < h->images.dim[0]; i++) {
        const unsigned char *pixels = h->images.v + (size_t)i * (size_t)(ih * iw);
        int x = gap + i % columns * (pw + gap), y = gap + i / columns * (ph + line + gap);
        char text[4 * LSNN_MAX_HEADS + 1] = "";
        for (int k = 0, n = 0; k < heads; k++)
            n += snprintf(text + n, sizeof text - (size_t)n, "%s%d", k ? " " : "",
                          h->labels.v[i * heads + k]);
        lsnn_image_text(&im, x, y, 1, 0x000000, text);
        draw_picture(&im, x, y + line, scale, pixels, ih, iw);
    }
    good = lsnn_image_save(cx, &im, path) == LSNN_OK;
    lsnn_image_free(cx, &im);
    if (good) printf("%s: preview\n", path);
    return good;
}

static int run(const app *a, lsnn_ctx *cx, half_set half[2], lsnn_task task,
               const char *folder, const char *preview, const char *first)
{
    for (int i = 0; i < 2; i++) {
        half_set *h = &half[i];
        h->recipe.task = task;
        h->recipe.seed = a->seed;
        h->recipe.test = i;
        h->recipe.count = i ? a->test : a->train;
        h->recipe.images = &h->digits;
        h->recipe.labels = &h->digit_labels;
        h->recipe.crops = &half[0].digits;
        if (task != LSNN_TASK_DIGITS && !get_digits(a, cx, h, folder)) return 0;
    }
    if (!draw(a, cx, &half[0]) || !draw(a, cx, &half[1]) ||
        (preview && !write_preview(cx, &half[0], preview)) ||
        (first && !write_first(cx, &half[1], first))) return 0;
    for (int i = 0; i < 2; i++)
        if (!write_file(cx, &half[i].images, half[i].path[0]) ||
            !write_file(cx, &half[i].labels, half[i].path[1])) return 0;
    return 1;
}

static void free_half(lsnn_ctx *cx, half_set *h, int was_read)
{
    if (was_read) {
        lsnn_idx_free(cx, &h->digits);
        lsnn_idx_free(cx, &h->digit_labels);
    }
    free(h->digits.v);
    free(h->digit_labels.v);
    free(h->images.v);
    free(h->labels.v);
}

int main(int argc, char **argv)
{
    static lsnn_ctx cx;
    static half_set half[2];
    static app a;
    const char *digits = NULL, *preview = NULL, *first = NULL, *folder;
    app_flag own[3];
    lsnn_task task;
    int status;
    app_init(&a, "gen_data", "writes TASK-train-images-idx3-ubyte and its three siblings",
             "cluttered --mnist mnist --out data --preview cluttered.png");
    a.takes = "seed threads train test mnist out list";
    a.word_names = "TASK";
    a.train = 60000;
    a.test = 10000;
    a.out = "data";
    own[0] = app_choice("digits", &digits, "builtin", "drawn here, whatever --mnist says");
    own[1] = app_text("preview", &preview, "FILE.png", "a labelled sheet of training images");
    own[2] = app_text("first", &first, "FILE.png", "the first test image, for predict");
    if ((status = app_parse(&a, argc, argv, own, 3)) != APP_GO) return status;
    for (int t = 0; a.list && t < LSNN_TASK_COUNT_; t++) puts(lsnn_task_name((lsnn_task)t));
    if (a.list) return app_end(&a, LSNN_OK);
    task = lsnn_task_from_name(a.word[0]);
    if (task == LSNN_TASK_COUNT_)
        return app_refuse(&a, "unknown task %s (--list names them)", a.word[0]);
    if (task == LSNN_TASK_DIGITS && a.mnist)
        return app_refuse(&a, "digits are drawn here: --mnist does not go with them");
    half[0].name = "train";
    half[1].name = "t10k";
    status = app_start(&a, &cx);
    if (status == APP_GO) status = hold_files(&a, half, task);
    if (status == APP_GO) status = app_picture(&a, "preview", preview);
    if (status == APP_GO) status = app_picture(&a, "first", first);
    if (status != APP_GO) return status;
    folder = digits ? NULL : a.mnist;
    if (task != LSNN_TASK_DIGITS && !a.mnist && !digits)
        fprintf(stderr, "gen_data: no --mnist: placing built-in digits\n");
    status = app_end(&a, run(&a, &cx, half, task, folder, preview, first) ? LSNN_OK : LSNN_EIO);
    for (int i = 0; i < 2; i++) free_half(&cx, &half[i], folder != NULL);
    lsnn_ctx_free(&cx);
    return status;
}
