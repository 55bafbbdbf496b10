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
static int write_file(const app *a, lsnn_ctx *cx, const lsnn_idx *v, const half_set *h,
                      const char *what)
{
    char path[APP_PATH], file[64];
    snprintf(file, sizeof file, "%s-%s-%s-idx%d-ubyte", lsnn_task_name(h->recipe.task), h->name,
             what, v->rank);
    if (!app_path(a, path, a->out, file) || lsnn_idx_write(cx, v, path) != LSNN_OK) return 0;
    printf("%s: %d", path, v->dim[0]);
    for (int i = 1; i < v->rank; i++) printf(" x %d", v->dim[i]);
    printf(" bytes\n");
    return 1;
}

/* Six rows of ten training images, each under its label.                     */
static int write_preview(lsnn_ctx *cx, const half_set *h, const char *path)
{
    enum { columns = 10, rows = 6, scale = 2, gap = 8, line = 12, most = 100 * 100 };
    int ih = h->images.dim[1], iw = h->images.dim[2], ph = ih * scale, pw = iw * scale;
    int heads = lsnn_task_heads(h->recipe.task), good;
    lsnn_real map[most];
    lsnn_image im;
    if (lsnn_image_new(cx, &im, gap + columns * (pw + gap), gap + rows * (ph + line + gap),
                       0xffffff) != LSNN_OK) return 0;
    for (int i = 0; i < columns * rows && i < h->images.dim[0]; i++) {
        const unsigned char *pixels = h->images.v + (size_t)i * (size_t)(ih * iw);
        int x = gap + i % columns * (pw + gap), y = gap + i / columns * (ph + line + gap);
        char text[2 * LSNN_MAX_HEADS + 1] = "";
        for (int k = 0; k < heads; k++) {
            text[2 * k] = (char)('0' + h->labels.v[i * heads + k]);
            text[2 * k + 1] = k + 1 < heads ? ' ' : 0;
        }
        for (int k = 0; k < ih * iw && k < most; k++) map[k] = (lsnn_real)pixels[k];
        lsnn_image_text(&im, x, y, 1, 0x000000, text);
        lsnn_image_map(&im, x, y + line, scale, map, ih, iw, 0, 255);
    }
    good = lsnn_image_save(cx, &im, path) == LSNN_OK;
    lsnn_image_free(cx, &im);
    if (good) printf("%s: preview\n", path);
    return good;
}

static int run(const app *a, lsnn_ctx *cx, half_set half[2], lsnn_task task,
               const char *folder, const char *preview)
{
    for (int i = 0; i < 2; i++) {
        half_set *h = &half[i];
        h->name = i ? "t10k" : "train";
        h->recipe.task = task;
        h->recipe.seed = a->seed;
        h->recipe.test = i;
        h->recipe.count = i ? a->test : a->train;
        h->recipe.images = &h->digits;
        h->recipe.labels = &h->digit_labels;
        h->recipe.crops = &half[0].digits;
        if (task != LSNN_TASK_DIGITS && !get_digits(a, cx, h, folder)) return 0;
    }
    if (!draw(a, cx, &half[0]) || !draw(a, cx, &half[1]) || !app_make_folder(a, a->out) ||
        (preview && !write_preview(cx, &half[0], preview))) return 0;
    for (int i = 0; i < 2; i++)
        if (!write_file(a, cx, &half[i].images, &half[i], "images") ||
            !write_file(a, cx, &half[i].labels, &half[i], "labels")) return 0;
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
    const char *digits = NULL, *preview = NULL, *folder;
    app_flag own[2];
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
    if ((status = app_parse(&a, argc, argv, own, 2)) != APP_GO) return status;
    for (int t = 0; a.list && t < LSNN_TASK_COUNT_; t++) puts(lsnn_task_name((lsnn_task)t));
    if (a.list) return app_end(&a, LSNN_OK);
    task = lsnn_task_from_name(a.word[0]);
    if (task == LSNN_TASK_COUNT_)
        return app_refuse(&a, "unknown task %s (--list names them)", a.word[0]);
    if (task == LSNN_TASK_DIGITS && a.mnist)
        return app_refuse(&a, "digits are drawn here: --mnist does not go with them");
    if ((status = app_start(&a, &cx)) != APP_GO) return status;
    folder = digits ? NULL : a.mnist;
    if (task != LSNN_TASK_DIGITS && !a.mnist && !digits)
        fprintf(stderr, "gen_data: no --mnist: placing built-in digits\n");
    status = run(&a, &cx, half, task, folder, preview) ? app_end(&a, LSNN_OK) : 1;
    for (int i = 0; i < 2; i++) free_half(&cx, &half[i], folder != NULL);
    lsnn_ctx_free(&cx);
    return status;
}
