/* measure.h - pairs of timed runs, and what is said about them: a line, a row of CSV, a bar.

   Two sides run in turn, never at once, in pairs of equal time. What counts is the median of
   the pairs' ratios: what else the machine does slows both runs of a pair alike.       */
#ifndef MEASURE_H
#define MEASURE_H

#include <time.h>

enum { MAX_PAIRS = 99, MAX_BARS = 512 };

typedef struct bench {
    app a;
    lsnn_ctx cx;
    const char *net;                 /* measured alone; NULL: all                 */
    double seconds;                  /* of one run                                */
    int pairs, alone, missing;       /* the flags of these names                  */
    int failed;                      /* a peer computed something else            */
    const char *csv_path;
    FILE *csv;
    char machine[128], folder[64];   /* folder: for files that a peer reads       */
} bench;

/* Ends the program if something failed; lsnn itself has said more before.        */
static void must(int good, const char *what)
{
    if (good) return;
    fprintf(stderr, "bench: failed: %s\n", what);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts v; part 0.5 is the median.                                               */
static double quantile(double *v, int n, double part)
{
    double at = part * (n - 1);
    int i = (int)at;
    qsort(v, (size_t)n, sizeof *v, by_value);
    return v[i] + (at - i) * (v[i + 1 < n ? i + 1 : i] - v[i]);
}

/* ---- >>lines -------------------------------------------------------------------*/
/* What a line says besides its measured numbers.                                 */
typedef struct row {
    const char *what, *net, *unit;
    int batch;
    char peer_name[64];
} row;

/* Medians; peer < 0: there is none. low and high are the quartiles of the pairs' ratios. */
typedef struct measured { double ours, peer, ratio, low, high, peer_best; } measured;

/* What is to be reached: a ratio, or ours where there is no peer. At most -value if it is
   negative; 0: nothing.                                                          */
static double target_of(const char *what, const char *net)
{
    static const struct { const char *what, *net; double value; } all[] = {
        { "train", "cnn", 3 }, { "train", "lsnn-location", 3 }, { "train", "lsnn-content", 3 },
        { "train", "lc", 5 }, { "train", "lc-layer", 10 }, { "train", "dn10", 2.5 },
        { "train", "dn40", 2.5 }, { "train", "cnn6", 1.15 },
        { "predict", "lsnn-location", 1.1 }, { "predict", "dn10", 1.1 },
        { "predict", "dn40", 1.1 }, { "predict", "cnn", 1 }, { "predict", "cnn6", 1 },
        { "gemm", "geometric-mean", 1 }, { "gemm", "*", 0.9 }, { "conv", "*", 0.8 },
        { "weights", "*", 0.7 },
        { "threads", "*", 1.8 }, { "memory", "*", -1.3 }, { "scale", "batch-cliff", -2 },
        { "scale", "side-cliff", -2 }, { "scale", "channels-cliff", -2 },
        { "start", "compile-hello", -4 }, { "start", "program", -0.005 }, { "draw", "*", -8 },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(what, all[i].what) == 0 &&
            (strcmp(net, all[i].net) == 0 || *all[i].net == '*')) return all[i].value;
    return 0;
}

static const char *digits(char text[32], double v)
{
    snprintf(text, 32, v >= 1000 ? "%.0f" : "%.4g", v);
    return text;
}

static void report(bench *b, const row *r, const measured *m)
{
    char date[32], ours[32], peer[32];
    const char *name = m->peer < 0 ? "" : r->peer_name;
    int threads = lsnn_ctx_threads(&b->cx);
    time_t t = time(NULL);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime(&t));
    digits(ours, m->ours);
    digits(peer, m->peer);
    printf("bench what=%s net=%s batch=%d threads=%d ours=%s", r->what, r->net, r->batch,
           threads, ours);
    if (m->peer >= 0) printf(" peer=%s ratio=%.2f", peer, m->ratio);
    printf(" unit=%s%s%s\n", r->unit, *name ? " peer_name=" : "", name);
    fflush(stdout);
    fprintf(b->csv, "%s,\"%s\",\"%s\",\"%s\",%s,%s,%s,%d,%d,%s,", date, b->machine, __VERSION__,
            lsnn_build_info(), lsnn_isa_name(lsnn_ctx_isa(&b->cx)), r->what, r->net, r->batch,
            threads, ours);
    if (m->peer >= 0) fprintf(b->csv, "%s,%.3f", peer, m->ratio);
    else fprintf(b->csv, ",");
    fprintf(b->csv, ",%s,%s,", r->unit, name);
    if (m->peer >= 0) fprintf(b->csv, "%.3f,%.3f", m->low, m->high);
    else fprintf(b->csv, ",");
    fprintf(b->csv, ",%g\n", target_of(r->what, r->net));
    must(fflush(b->csv) == 0, "writing the CSV file");
}

static void report_one(bench *b, const row *r, double ours)
{
    measured m = { ours, -1, 0, 0, 0, -1 };
    report(b, r, &m);
}

/* ---- >>compare -----------------------------------------------------------------*/
typedef struct child child;          /* a peer in a process of its own: peers.h   */
static double child_speed(child *c);

/* One of the two sides of a comparison.                                          */
typedef struct side {
    void (*once)(void *user);        /* NULL: user is a child, with its own clock */
    void *user;
    double work;                     /* images or 1e9 operations of one call      */
} side;

/* Work per second. First the other side's threads get time to fall asleep (OpenBLAS's look
   for work for 30 ms), then one call that is not counted wakes ours.             */
static double speed(const side *s, double seconds)
{
    const struct timespec pause = { 0, 50 * 1000 * 1000 };
    double start, spent = 0;
    int calls = 0;
    nanosleep(&pause, NULL);
    if (!s->once) return child_speed((child *)s->user);
    s->once(s->user);
    for (start = now(); calls < 2 || spent < seconds; calls++, spent = now() - start)
        s->once(s->user);
    return s->work * calls / spent;
}

/* peer may be NULL. The sides take turns in going first, and the first pair of all warms up:
   the next one overwrites it.                                                    */
static measured compare(const bench *b, double seconds, const side *ours, const side *peer)
{
    double a[MAX_PAIRS], p[MAX_PAIRS], ratio[MAX_PAIRS];
    measured m = { 0, -1, 0, 0, 0, -1 };
    for (int pair = -1; pair < b->pairs; pair++) {
        int i = pair < 0 ? 0 : pair, ours_first = pair % 2 == 0;
        p[i] = -1;
        if (peer && !ours_first) p[i] = speed(peer, seconds);
        a[i] = speed(ours, seconds);
        if (peer && ours_first) p[i] = speed(peer, seconds);
        ratio[i] = a[i] / p[i];
    }
    m.ours = quantile(a, b->pairs, 0.5);
    if (!peer) return m;
    m.peer = quantile(p, b->pairs, 0.5);
    m.peer_best = quantile(p, b->pairs, 1);
    m.ratio = quantile(ratio, b->pairs, 0.5);
    m.low = quantile(ratio, b->pairs, 0.25);
    m.high = quantile(ratio, b->pairs, 0.75);
    return m;
}

/* ---- >>csv: the table so far, also what earlier runs put there ------------------*/
typedef struct bar {
    char what[16], net[48], unit[32];
    int batch, threads;
    double ours, ratio, low, high, target;       /* ratio NAN: there is no peer   */
} bar;

/* Field number i of a line, without quotes; "" past the end.                     */
static void csv_field(const char *line, int i, char *out, size_t size)
{
    size_t used = 0;
    int quoted = 0;
    for (; *line && *line != '\n'; line++) {
        if (*line == '"') quoted = !quoted;
        else if (*line == ',' && !quoted) i--;
        else if (i == 0 && used + 1 < size) out[used++] = *line;
    }
    out[used] = 0;
}

static int csv_bar(const char *line, bar *v)
{
    char text[64];
    csv_field(line, 5, v->what, sizeof v->what);
    csv_field(line, 6, v->net, sizeof v->net);
    csv_field(line, 12, v->unit, sizeof v->unit);
    csv_field(line, 7, text, sizeof text);
    v->batch = atoi(text);
    csv_field(line, 8, text, sizeof text);
    v->threads = atoi(text);
    csv_field(line, 9, text, sizeof text);
    v->ours = atof(text);
    csv_field(line, 11, text, sizeof text);
    v->ratio = *text ? atof(text) : NAN;
    csv_field(line, 14, text, sizeof text);
    v->low = atof(text);
    csv_field(line, 15, text, sizeof text);
    v->high = atof(text);
    csv_field(line, 16, text, sizeof text);
    v->target = atof(text);
    return strcmp(v->what, "what") != 0 && *v->net;
}

static int same_kind(const bar *v, const char *what, const char *net, int batch, int threads)
{
    return strcmp(v->what, what) == 0 && strcmp(v->net, net) == 0 && v->batch == batch &&
           v->threads == threads;
}

/* The newest row of each kind, in the order in which the kinds came; how many.   */
static int csv_bars(const bench *b, bar *bars)
{
    char line[1024];
    FILE *f = fopen(b->csv_path, "r");
    int count = 0;
    while (f && fgets(line, sizeof line, f)) {
        bar v;
        int i = 0;
        if (!csv_bar(line, &v)) continue;
        while (i < count && !(same_kind(&bars[i], v.what, v.net, v.batch, v.threads) &&
                              strcmp(bars[i].unit, v.unit) == 0)) i++;
        if (i == MAX_BARS) continue;
        bars[i] = v;
        count += i == count;
    }
    if (f) fclose(f);
    return count;
}

/* Whether to measure that line: --net names it, and --missing does not find it.  */
static int wanted(const bench *b, const char *what, const char *net, int batch)
{
    static bar bars[MAX_BARS];
    int threads = lsnn_ctx_threads(&b->cx);
    if (b->net && strcmp(b->net, net) != 0) return 0;
    if (!b->missing) return 1;
    for (int i = csv_bars(b, bars) - 1; i >= 0; i--)
        if (same_kind(&bars[i], what, net, batch, threads)) return 0;
    return 1;
}

/* The processor's name, and the CSV file with its header.                        */
static void open_csv(bench *b)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");
    strcpy(b->machine, "unknown");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "model name : %127[^\n\"]", b->machine) == 1) break;
    if (f) fclose(f);
    if (!(b->csv = fopen(b->csv_path, "a"))) perror(b->csv_path);
    must(b->csv != NULL, "the CSV file (--csv FILE)");
    fseek(b->csv, 0, SEEK_END);
    if (ftell(b->csv) == 0)
        fprintf(b->csv, "date,machine,compiler,build,isa,what,net,batch,threads,ours,peer,"
                        "ratio,unit,peer_name,ratio_low,ratio_high,target\n");
}

/* ---- >>chart: a bar a ratio, a mark where it should reach -----------------------*/
/* 1 or 0; -1: there is nothing to reach, or no peer to reach it against. Good is longer,
   except where the target is negative: that is a most, of ours where there is no peer.    */
static int reached(const bar *v)
{
    if (v->target < 0) return (isnan(v->ratio) ? v->ours : v->ratio) <= -v->target;
    return v->target > 0 && !isnan(v->ratio) ? v->ratio >= v->target : -1;
}

/* The bar, its mark, and "2.31 of 3" in a column at the right.                   */
static void draw_bar(lsnn_image *im, const bar *v, int left, int y, double one, int end)
{
    int length = (int)(fmin(v->ratio, end) * one), good = reached(v);
    double aim = fabs(v->target);
    char text[128];
    snprintf(text, sizeof text, "%.15s %.47s", v->what, v->net);
    if (v->batch > 1 || strcmp(v->what, "predict") == 0)
        snprintf(text + strlen(text), 24, ", batch %d", v->batch);
    lsnn_image_text(im, 10, y + 2, 1, 0x202020, text);
    lsnn_image_rect(im, left, y, length, 12,
                    good > 0 ? 0x4C9F70 : good < 0 ? 0x9AA5B1 : 0xD98841);
    if (good >= 0 && aim <= end)
        lsnn_image_rect(im, left + (int)(aim * one) - 1, y - 3, 3, 18, 0x1F3A93);
    snprintf(text, sizeof text, "%.2f", v->ratio);
    if (good >= 0) snprintf(text + strlen(text), 24, " %s %g", v->target < 0 ? "<" : "of", aim);
    lsnn_image_text(im, left + (int)(end * one) + 15, y + 2, 1, 0x202020, text);
}

static void draw_chart(bench *b, const char *path)
{
    enum { LEFT = 250, ROW = 18, TOP = 56, WIDTH = 950, END = 5 };
    const double one = 120;          /* pixels of a ratio of 1                    */
    static bar bars[MAX_BARS];
    lsnn_image im = { 0, 0, NULL };
    char text[16];
    int count = csv_bars(b, bars), y = TOP, all = 0, good = 0;
    for (int i = 0; i < count; i++) {
        all += reached(&bars[i]) >= 0;
        good += reached(&bars[i]) > 0;
        y += isnan(bars[i].ratio) ? 0 : ROW;
    }
    fprintf(stderr, "bench: %d of %d lines reach their targets (%s)\n", good, all, b->csv_path);
    if (y == TOP || lsnn_image_new(&b->cx, &im, WIDTH, y + 30, 0xFFFFFF) != LSNN_OK) return;
    lsnn_image_text(&im, 10, 8, 2, 0x202020, "lsnn over its peers");
    lsnn_image_text(&im, 10, 30, 1, 0x404040,
                    "ratio of speeds (memory: of sizes); blue: the target");
    for (int i = 0; i <= END; i++) {
        int x = LEFT + (int)(i * one);
        snprintf(text, sizeof text, "%d", i);
        lsnn_image_rect(&im, x, TOP - 6, 1, y - TOP + 10, i == 1 ? 0x404040 : 0xDDDDDD);
        lsnn_image_text(&im, x - 3, y + 10, 1, 0x404040, text);
    }
    y = TOP;
    for (int i = 0; i < count; i++) {
        if (isnan(bars[i].ratio)) continue;
        draw_bar(&im, &bars[i], LEFT, y, one, END);
        y += ROW;
    }
    if (lsnn_image_save(&b->cx, &im, path) == LSNN_OK)
        fprintf(stderr, "bench: %s shows the ratios\n", path);
    lsnn_image_free(&b->cx, &im);
}
#endif
