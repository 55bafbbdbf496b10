/* plot.c - draws training curves from the CSV logs of the examples.

   Build: cc -O2 tools/plot.c -o tools/plot -lm
   Run:   tools/plot --out curves.png out/cnn.csv out/lsnn-content.csv

   A log has a header line, then a line an epoch; a curve is named after its file. The
   picture shows the training loss, and the held-out error (or, if any log has none, the
   training error of all). Exit status: 0 done, 1 a file failed, 2 bad arguments.   */
#define LSNN_IMPLEMENTATION
#include "../lsnn.h"
#include "../examples/app.h"

enum { FILES = APP_MAX_WORDS, EPOCHS = 10000, COLUMNS = 32 };
typedef struct log_file {
    char name[64];
    double epoch[EPOCHS], loss[EPOCHS], error[EPOCHS], valid[EPOCHS];
    int count, held_out;
} log_file;

/* The column of the header line called `name`, or -1.                                   */
static int find_column(char *const *word, int words, const char *name)
{
    for (int i = 0; i < words; i++) if (strcmp(word[i], name) == 0) return i;
    return -1;
}

static int split(char *line, char **word)
{
    int words = 0;
    line[strcspn(line, "\r\n")] = 0;
    for (char *p = line; p && words < COLUMNS; words++) {
        char *comma = strchr(p, ',');
        word[words] = p;
        if (comma) *comma++ = 0;
        p = comma;
    }
    return words;
}

static int read_log(const char *path, log_file *g)
{
    char line[1024], head[1024], *name[COLUMNS], *word[COLUMNS];
    const char *base = strrchr(path, '/');
    int words, epoch, loss, error, valid;
    FILE *f = fopen(path, "r");
    if (!f || !fgets(head, sizeof head, f)) {
        fprintf(stderr, "plot: cannot read %s\n", path);
        if (f) fclose(f);
        return 0;
    }
    words = split(head, name);
    epoch = find_column(name, words, "epoch");
    loss = find_column(name, words, "loss");
    error = find_column(name, words, "error");
    valid = find_column(name, words, "valid_error");
    snprintf(g->name, sizeof g->name, "%.40s", base ? base + 1 : path);
    if (strrchr(g->name, '.')) *strrchr(g->name, '.') = 0;
    while (epoch >= 0 && loss >= 0 && error >= 0 && g->count < EPOCHS &&
           fgets(line, sizeof line, f)) {
        if (split(line, word) < words) continue;
        g->held_out = (g->held_out || !g->count) && valid >= 0 && *word[valid] != 0;
        g->epoch[g->count] = strtod(word[epoch], NULL);
        g->loss[g->count] = strtod(word[loss], NULL);
        g->error[g->count] = strtod(word[error], NULL);
        g->valid[g->count++] = g->held_out ? strtod(word[valid], NULL) : 0;
    }
    if (g->count == EPOCHS && fgets(line, sizeof line, f))
        fprintf(stderr, "plot: %s: only the first %d epochs are drawn\n", path, (int)EPOCHS);
    fclose(f);
    if (!g->count) fprintf(stderr, "plot: %s has no lines of epoch,loss,error\n", path);
    return g->count > 0;
}

static lsnn_status draw(lsnn_ctx *cx, const log_file *log_of, int files, const char *out)
{
    lsnn_curve loss[FILES], error[FILES];
    int held_out = 1;
    lsnn_image im;
    lsnn_status s = lsnn_image_new(cx, &im, 1200, 480, 0xFFFFFF);
    if (s != LSNN_OK) return s;
    memset(loss, 0, sizeof loss);
    for (int i = 0; i < files; i++) held_out = held_out && log_of[i].held_out;
    for (int i = 0; i < files; i++) {
        loss[i].label = log_of[i].name;
        loss[i].x = log_of[i].epoch;
        loss[i].y = log_of[i].loss;
        loss[i].count = log_of[i].count;
        error[i] = loss[i];
        error[i].y = held_out ? log_of[i].valid : log_of[i].error;
    }
    lsnn_image_plot(&im, 10, 10, 580, 460, "Training loss", "epoch", "loss", loss, files);
    lsnn_image_plot(&im, 610, 10, 580, 460, held_out ? "Held-out error" : "Training error",
                    "epoch", "error, %", error, files);
    s = lsnn_image_save(cx, &im, out);
    lsnn_image_free(cx, &im);
    return s;
}

int main(int argc, char **argv)
{
    static lsnn_ctx cx;
    static app a;
    static log_file log_of[FILES];
    const char *out = NULL;
    app_flag own[1];
    int status;
    app_init(&a, "plot", "draws training curves from the CSV logs of the examples",
             "--out curves.png out/cnn.csv out/lsnn-content.csv");
    a.takes = "";
    a.word_names = "LOG.csv ...";
    own[0] = app_text("out", &out, "CURVES.png", "the picture");
    status = app_parse(&a, argc, argv, own, 1);
    if (status == APP_GO && !out) status = app_refuse(&a, "needs --out CURVES.png");
    if (status == APP_GO) status = app_start(&a, &cx);
    for (int i = 0; i < a.words && status == APP_GO; i++)
        status = app_input(&a, "log", a.word[i]);
    if (status == APP_GO) status = app_picture(&a, "out", out);
    if (status != APP_GO) return status;
    for (int i = 0; i < a.words; i++)
        if (!read_log(a.word[i], &log_of[i])) return app_end(&a, LSNN_EIO);
    return app_end(&a, draw(&cx, log_of, a.words, out));
}
