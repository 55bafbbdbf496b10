/* gen_data.c - writes a task's training and test images as IDX files (MNIST's format).

   Build: cc -O2 -fopenmp tools/gen_data.c -o tools/gen_data -lm
          (add -DLSNN_USE_ZLIB -lz to read MNIST's .gz files as they are)
   Run:   tools/gen_data cluttered --mnist DIR --out data --preview cluttered.png

   Without --mnist the digits are drawn by lsnn.h itself. The files depend on the task,
   the counts, the seed and the source only, not on the number of threads. Nothing is
   written before everything has been drawn.
   Exit status: 0 done, 1 a file or folder failed, 2 a flag is wrong.                 */
#define LSNN_IMPLEMENTATION
#include "../lsnn.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#ifdef _WIN32
#include <direct.h>
#endif

static const char *const usage =
    "gen_data TASK [flags] - writes TASK-train-images-idx3-ubyte and its three siblings\n"
    "  --mnist DIR        MNIST's four files (default: built-in digits)\n"
    "  --digits builtin   built-in digits, whatever --mnist says\n"
    "  --out DIR          folder for the files, made if missing (default data)\n"
    "  --train N          training images (default 60000)\n"
    "  --test N           test images (default 10000)\n"
    "  --seed S           seed of all draws (default 1)\n"
    "  --threads N        threads (default 0: all)\n"
    "  --preview FILE.png a labelled sheet of training images\n"
    "  --list             names of the tasks\n"
    "  --help             this text\n"
    "Example: gen_data cluttered --mnist mnist --out data --preview cluttered.png\n";

typedef struct options {
    lsnn_task task;
    const char *mnist, *out, *preview, *digits;
    int train, test, threads;
    uint64_t seed;
} options;

static int builtin(const options *o) { return !o->mnist || o->digits; }

/* One half of the work: the training or the test files.                      */
typedef struct half_set {
    const char *name;                /* "train" or "t10k", as MNIST's files say */
    lsnn_idx source, source_labels;  /* digits to place                       */
    lsnn_idx images, labels;         /* what is drawn                         */
    lsnn_recipe recipe;
} half_set;

/* ---- flags ------------------------------------------------------------------*/
static int parse_count(const char *flag, const char *text, int least, int *value)
{
    char *end;
    long v;
    errno = 0;
    v = strtol(text, &end, 10);
    if (end == text || *end || errno || v < least || v > INT_MAX) {
        fprintf(stderr, "gen_data: %s %s: give a whole number from %d\n", flag, text, least);
        return 0;
    }
    *value = (int)v;
    return 1;
}

static int parse_seed(const char *flag, const char *text, uint64_t *value)
{
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    if (*text >= '0' && *text <= '9' && !*end && !errno) return 1;
    fprintf(stderr, "gen_data: %s %s: give a whole number from 0\n", flag, text);
    return 0;
}

static int parse_text(const char *flag, const char *text, const char **value)
{
    *value = text;
    if (*text) return 1;
    fprintf(stderr, "gen_data: %s: its value is empty\n", flag);
    return 0;
}

static int parse_flag(options *o, const char *flag, const char *value)
{
    static const char *const known[] = { "--mnist", "--digits", "--out", "--train", "--test",
                                         "--seed", "--threads", "--preview" };
    int count = (int)(sizeof known / sizeof known[0]), k = 0;
    while (k < count && strcmp(known[k], flag) != 0) k++;
    if (k == count) {
        fprintf(stderr, "gen_data: unknown flag %s (--help lists them)\n", flag);
        return 0;
    }
    if (!value) {
        fprintf(stderr, "gen_data: %s needs a value\n", flag);
        return 0;
    }
    switch (k) {
    case 0: return parse_text(flag, value, &o->mnist);
    case 1:
        if (strcmp(value, "builtin") == 0) return parse_text(flag, value, &o->digits);
        fprintf(stderr, "gen_data: --digits %s: only builtin is known\n", value);
        return 0;
    case 2: return parse_text(flag, value, &o->out);
    case 3: return parse_count(flag, value, 1, &o->train);
    case 4: return parse_count(flag, value, 1, &o->test);
    case 5: return parse_seed(flag, value, &o->seed);
    case 6: return parse_count(flag, value, 0, &o->threads);
    default: return parse_text(flag, value, &o->preview);
    }
}

/* 1: go on; 0: refused; -1: --list or --help has been answered.              */
static int parse(options *o, int argc, char **argv)
{
    const char *task = NULL;
    memset(o, 0, sizeof *o);
    o->out = "data";
    o->train = 60000;
    o->test = 10000;
    o->seed = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return -1;
        }
        if (strcmp(argv[i], "--list") == 0) {
            for (int t = 0; t < LSNN_TASK_COUNT_; t++) puts(lsnn_task_name((lsnn_task)t));
            return -1;
        }
        if (argv[i][0] != '-') {
            if (task) {
                fprintf(stderr, "gen_data: two tasks: %s and %s\n", task, argv[i]);
                return 0;
            }
            task = argv[i];
            continue;
        }
        if (!parse_flag(o, argv[i], i + 1 < argc ? argv[i + 1] : NULL)) return 0;
        i++;
    }
    o->task = task ? lsnn_task_from_name(task) : LSNN_TASK_COUNT_;
    if (o->task != LSNN_TASK_COUNT_) return 1;
    if (task) fprintf(stderr, "gen_data: unknown task %s (--list names them)\n", task);
    else fprintf(stderr, "gen_data: which task? (--list names them, --help explains)\n");
    return 0;
}

/* ---- drawing ----------------------------------------------------------------*/
enum { CHUNK = 64 };                 /* images a task of lsnn_parallel        */

static void draw_chunk(void *user, int chunk, int worker)
{
    half_set *h = (half_set *)user;
    size_t size = (size_t)h->images.dim[1] * (size_t)h->images.dim[2];
    size_t heads = h->labels.rank == 2 ? (size_t)h->labels.dim[1] : 1;
    int left = h->images.dim[0] - chunk * CHUNK, end = chunk * CHUNK;
    end += left < CHUNK ? left : CHUNK;
    (void)worker;
    for (int i = chunk * CHUNK; i < end; i++)
        lsnn_recipe_draw(&h->recipe, 0, i, h->images.v + (size_t)i * size,
                         h->labels.v + (size_t)i * heads, NULL);
}

/* Draws h->recipe into h->images and h->labels, whose bytes are malloc's. As all
   functions below: 1 if it went well, 0 after a message.                     */
static int draw(lsnn_ctx *cx, half_set *h)
{
    lsnn_shape s = lsnn_task_shape(h->recipe.task);
    int n = h->recipe.count, heads = lsnn_task_heads(h->recipe.task);
    if (lsnn_recipe_check(cx, &h->recipe) != LSNN_OK) return 0;
    h->images.rank = 3;
    h->images.dim[0] = h->labels.dim[0] = n;
    h->images.dim[1] = s.h;
    h->images.dim[2] = s.w;
    h->labels.rank = heads > 1 ? 2 : 1;
    h->labels.dim[1] = heads > 1 ? heads : 0;
    if ((size_t)n <= (size_t)-1 / (size_t)(s.h * s.w))
        h->images.v = (unsigned char *)malloc((size_t)n * (size_t)(s.h * s.w));
    h->labels.v = (unsigned char *)malloc((size_t)n * (size_t)heads);
    if (!h->images.v || !h->labels.v) {
        fprintf(stderr, "gen_data: --%s %d: not enough memory\n",
                h->recipe.test ? "test" : "train", n);
        return 0;
    }
    lsnn_parallel(cx, (n - 1) / CHUNK + 1, draw_chunk, h);
    return 1;
}

/* Built-in digits become the source.                                         */
static int draw_source(lsnn_ctx *cx, half_set *h)
{
    half_set digits = *h;
    int good;
    digits.recipe.task = LSNN_TASK_DIGITS;
    good = draw(cx, &digits);
    h->source = digits.images;
    h->source_labels = digits.labels;
    return good;
}

static int read_source(lsnn_ctx *cx, half_set *h, const char *folder)
{
    char path[1024];
    if (strlen(folder) > sizeof path - 64) {
        fprintf(stderr, "gen_data: --mnist: its path is too long\n");
        return 0;
    }
    snprintf(path, sizeof path, "%s/%s-images-idx3-ubyte", folder, h->name);
    if (lsnn_idx_read(cx, &h->source, path) != LSNN_OK) return 0;
    snprintf(path, sizeof path, "%s/%s-labels-idx1-ubyte", folder, h->name);
    if (lsnn_idx_read(cx, &h->source_labels, path) != LSNN_OK) return 0;
    if (h->recipe.count <= h->source.dim[0]) return 1;
    fprintf(stderr, "gen_data: --%s %d: %s has %d digits, each is used once\n",
            h->recipe.test ? "test" : "train", h->recipe.count, folder, h->source.dim[0]);
    return 0;
}

static int make_halves(lsnn_ctx *cx, const options *o, half_set half[2])
{
    for (int i = 0; i < 2; i++) {
        half_set *h = &half[i];
        h->name = i ? "t10k" : "train";
        h->recipe.task = o->task;
        h->recipe.seed = o->seed;
        h->recipe.test = i;
        h->recipe.count = i ? o->test : o->train;
        h->recipe.images = &h->source;
        h->recipe.labels = &h->source_labels;
        h->recipe.crops = &half[0].source;
        if (o->task == LSNN_TASK_DIGITS) continue;
        if (!(builtin(o) ? draw_source(cx, h) : read_source(cx, h, o->mnist))) return 0;
    }
    return draw(cx, &half[0]) && draw(cx, &half[1]);
}

/* ---- writing ----------------------------------------------------------------*/
/* What is there already will do: a file in its place is met when writing.    */
static int make_folder(const char *path)
{
#ifdef _WIN32
    if (_mkdir(path) == 0 || errno == EEXIST) return 1;
#else
    if (mkdir(path, 0777) == 0 || errno == EEXIST) return 1;
#endif
    fprintf(stderr, "gen_data: --out %s: cannot be made: %s\n", path, strerror(errno));
    return 0;
}

static int write_file(lsnn_ctx *cx, const lsnn_idx *a, const char *folder, const char *task,
                      const char *half, const char *what)
{
    char path[1024];
    int n = snprintf(path, sizeof path, "%s/%s-%s-%s-idx%d-ubyte", folder, task, half, what,
                     a->rank);
    if (n < 0 || n >= (int)sizeof path) {
        fprintf(stderr, "gen_data: --out: its path is too long\n");
        return 0;
    }
    if (lsnn_idx_write(cx, a, path) != LSNN_OK) return 0;
    printf("%s: %d", path, a->dim[0]);
    for (int i = 1; i < a->rank; i++) printf(" x %d", a->dim[i]);
    printf(" bytes\n");
    return 1;
}

/* Six rows of ten training images, each under its label.                     */
static int write_preview(lsnn_ctx *cx, const half_set *h, const char *path)
{
    enum { columns = 10, rows = 6, scale = 2, gap = 8, line = 12, most = 100 * 100 };
    int ih = h->images.dim[1], iw = h->images.dim[2], ph = ih * scale, pw = iw * scale;
    int heads = h->labels.rank == 2 ? h->labels.dim[1] : 1;
    lsnn_real map[most];
    lsnn_image im;
    int count = h->images.dim[0] < columns * rows ? h->images.dim[0] : columns * rows, good;
    if (lsnn_image_new(cx, &im, gap + columns * (pw + gap), gap + rows * (ph + line + gap),
                       0xffffff) != LSNN_OK) return 0;
    for (int i = 0; i < count; i++) {
        const unsigned char *pixels = h->images.v + (size_t)i * (size_t)(ih * iw);
        int x = gap + i % columns * (pw + gap), y = gap + i / columns * (ph + line + gap);
        char text[2 * LSNN_MAX_HEADS + 1];
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

static int run(lsnn_ctx *cx, const options *o, half_set half[2])
{
    const char *task = lsnn_task_name(o->task);
    if (!make_halves(cx, o, half) || !make_folder(o->out)) return 0;
    if (o->preview && !write_preview(cx, &half[0], o->preview)) return 0;
    for (int i = 0; i < 2; i++)
        if (!write_file(cx, &half[i].images, o->out, task, half[i].name, "images") ||
            !write_file(cx, &half[i].labels, o->out, task, half[i].name, "labels")) return 0;
    return 1;
}

static void log_failure(const char *message, void *user)
{
    (void)user;
    fprintf(stderr, "gen_data: %s\n", message);
}

/* The source is the reader's where it was read, malloc's where it was drawn. */
static void free_half(lsnn_ctx *cx, half_set *h, int drawn)
{
    if (drawn) {
        free(h->source.v);
        free(h->source_labels.v);
    } else {
        lsnn_idx_free(cx, &h->source);
        lsnn_idx_free(cx, &h->source_labels);
    }
    free(h->images.v);
    free(h->labels.v);
}

int main(int argc, char **argv)
{
    static lsnn_ctx cx;
    static half_set half[2];
    options o;
    int good, go = parse(&o, argc, argv);
    if (go != 1) return go ? 0 : 2;
    if (o.task != LSNN_TASK_DIGITS && !o.mnist && !o.digits)
        fprintf(stderr, "gen_data: no --mnist: placing built-in digits\n");
    cx.threads = o.threads;
    cx.log_fn = log_failure;
    good = run(&cx, &o, half);
    for (int i = 0; i < 2; i++) free_half(&cx, &half[i], builtin(&o));
    lsnn_ctx_free(&cx);
    return good ? 0 : 1;
}
