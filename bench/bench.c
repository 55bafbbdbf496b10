/* bench.c - how fast lsnn trains, predicts and multiplies, beside a peer in the same run.

   Build: cc -O2 -fopenmp bench/bench.c -o bench/bench -lm -ldl        (POSIX systems)
   Run:   make bench NET=cnn WHAT=train BATCH=64 THREADS=2

   train    forward, loss, backward and update on random 42x42 images; peer: PyTorch
   predict  lsnn_predict, --batch images a call and one image a call; no peer
   gemm     square products; peer: OpenBLAS, where libopenblas.so.0 is found

   The sides run in turn, never at once, in pairs of equal time: ours and peer are medians,
   ratio is the median of the pairs' ratios (above 1: ours is faster). Without a peer these
   fields are left out. Each line also goes to results/bench.csv.
   Exit status: 0 done, 1 something failed, 2 bad flag.                                 */
#define _POSIX_C_SOURCE 200809L
#define LSNN_IMPLEMENTATION
#include "../lsnn.h"
#include "../examples/app.h"
#include "../examples/models.h"
#include <dlfcn.h>
#include <sys/wait.h>
#include <time.h>

#ifdef LSNN_DOUBLE
#error "bench.c: build without LSNN_DOUBLE; its peers compute in float"
#endif

enum { SIDE = 42, CLASSES = 10, BATCHES = 8, MAX_PAIRS = 99, LARGEST = 2048 };

typedef struct bench {
    app a;
    lsnn_ctx cx;
    FILE *csv;
    double seconds;                  /* of one run                                */
    int pairs, alone;
    char machine[128];
} bench;

/* What a line says besides its measured numbers.                                 */
typedef struct row {
    const char *what, *net, *unit;
    int batch;
    char peer_name[64];
} row;

/* One of the two sides of a comparison.                                          */
typedef struct side {
    void (*once)(void *user);        /* NULL: user is a torch, with its own clock */
    void *user;
    double work;                     /* images or 1e9 operations of one call      */
} side;

/* Ends the program if something failed; lsnn itself has said more before.        */
static void must(int good, const char *what)
{
    if (good) return;
    fprintf(stderr, "bench: failed: %s\n", what);
    exit(1);
}

/* ---- >>torch: the peer that trains, a process that runs when told to -----------*/
typedef struct torch {
    FILE *to, *from;
    char line[256];                  /* the last one it wrote                     */
} torch;

/* Starts torch_train.py, which stands beside this program, and reads its first line;
   0 if there is no PyTorch (status 77) or no Python (127).                       */
static int torch_start(bench *b, torch *t, const row *r)
{
    const char *self = b->a.argv[0], *slash = strrchr(self, '/');
    char command[APP_PATH + 256];
    int ends[2], status;
    must(pipe(ends) == 0, "a pipe from the peer");
    snprintf(command, sizeof command, "exec python3 '%.*storch_train.py' --serve --net %s "
             "--batch %d --threads %d --seconds %g >/dev/fd/%d", slash ? (int)(slash + 1 - self)
             : 0, self, r->net, r->batch, lsnn_ctx_threads(&b->cx), b->seconds, ends[1]);
    t->to = popen(command, "w");
    close(ends[1]);
    t->from = fdopen(ends[0], "r");
    must(t->to && t->from, "starting the peer");
    if (fgets(t->line, sizeof t->line, t->from) && strstr(t->line, " ready")) return 1;
    fclose(t->from);
    status = pclose(t->to);
    must(WIFEXITED(status) && (WEXITSTATUS(status) == 77 || WEXITSTATUS(status) == 127),
         "the peer's start");
    fprintf(stderr, "bench: net=%s without its peer: PyTorch is missing\n", r->net);
    return 0;
}

/* Images/s of one run; it has known since its start how long a run is.           */
static double torch_run(torch *t)
{
    double speed = 0;
    fprintf(t->to, "go\n");
    must(fflush(t->to) == 0 && fgets(t->line, sizeof t->line, t->from) &&
         sscanf(t->line, "images_per_s=%lf", &speed) == 1 && speed > 0, "the peer's run");
    return speed;
}

/* ---- >>compare: pairs of runs, one side after the other ------------------------*/
/* peer < 0: there is none.                                                       */
static void report(bench *b, const row *r, double ours, double peer, double ratio)
{
    char date[32], theirs[64] = ",";
    const char *name = peer < 0 ? "" : r->peer_name;
    int threads = lsnn_ctx_threads(&b->cx), d = ours < 1000;
    time_t t = time(NULL);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime(&t));
    printf("bench what=%s net=%s batch=%d threads=%d ours=%.*f", r->what, r->net, r->batch,
           threads, d, ours);
    if (peer >= 0) printf(" peer=%.*f ratio=%.2f", d, peer, ratio);
    printf(" unit=%s%s%s\n", r->unit, *name ? " peer_name=" : "", name);
    fflush(stdout);
    if (peer >= 0) snprintf(theirs, sizeof theirs, "%.*f,%.3f", d, peer, ratio);
    fprintf(b->csv, "%s,\"%s\",\"%s\",\"%s\",%s,%s,%s,%d,%d,%.*f,%s,%s,%s\n", date, b->machine,
            __VERSION__, lsnn_build_info(), lsnn_isa_name(lsnn_ctx_isa(&b->cx)), r->what,
            r->net, r->batch, threads, d, ours, theirs, r->unit, name);
    must(fflush(b->csv) == 0, "writing the CSV file");
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Work per second. First the other side's threads get time to fall asleep (OpenBLAS's look
   for work for 30 ms), then one call that is not counted wakes ours.             */
static double speed(const side *s, double seconds)
{
    const struct timespec pause = { 0, 50 * 1000 * 1000 };
    double start, spent = 0;
    int calls = 0;
    nanosleep(&pause, NULL);
    if (!s->once) return torch_run((torch *)s->user);
    s->once(s->user);
    for (start = now(); calls < 3 || spent < seconds; calls++, spent = now() - start)
        s->once(s->user);
    return s->work * calls / spent;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return 0.5 * (v[(n - 1) / 2] + v[n / 2]);
}

/* Measures and reports; peer may be NULL. The sides take turns in going first, and the
   first pair of all warms up: the next one overwrites it.                        */
static void compare(bench *b, const row *r, const side *ours, const side *peer)
{
    double a[MAX_PAIRS], p[MAX_PAIRS], ratio[MAX_PAIRS];
    for (int pair = -1; pair < b->pairs; pair++) {
        int i = pair < 0 ? 0 : pair, ours_first = pair % 2 == 0;
        p[i] = -1;
        if (peer && !ours_first) p[i] = speed(peer, b->seconds);
        a[i] = speed(ours, b->seconds);
        if (peer && ours_first) p[i] = speed(peer, b->seconds);
        ratio[i] = a[i] / p[i];
    }
    report(b, r, median(a, b->pairs), median(p, b->pairs), median(ratio, b->pairs));
}

/* ---- >>train and >>predict: a network and its images ---------------------------*/
typedef struct work {
    lsnn_net *net;
    lsnn_optimizer *optimizer;       /* NULL: predicts                            */
    lsnn_real *x, *y;                /* BATCHES batches; scores of one            */
    int *labels, batch;
    uint32_t step;
} work;

static void work_make(bench *b, work *w, const char *net, int batch, int training)
{
    size_t images = (size_t)BATCHES * (size_t)batch, pixels = images * SIDE * SIDE;
    lsnn_rng r = lsnn_rng_at(b->a.seed, "bench", "images", 0, 0);
    lsnn_build_desc build = { batch, b->a.seed, !training };
    static lsnn_optimizer_desc sgd;
    int scores;
    memset(w, 0, sizeof *w);
    sgd.momentum = 0.9;
    w->batch = batch;
    must((w->net = lsnn_net_new(&b->cx)) != NULL, net);
    scores = model_by_name(w->net, net, lsnn_input(w->net, 1, SIDE, SIDE), CLASSES);
    if (training) lsnn_cross_entropy(w->net, scores, NULL);
    must(lsnn_net_build(w->net, &build) == LSNN_OK, net);
    must(model_lsnn_start(w->net, b->a.seed) == LSNN_OK, net);
    if (training) must((w->optimizer = lsnn_optimizer_new(w->net, &sgd)) != NULL, net);
    w->x = (lsnn_real *)malloc((pixels + (size_t)batch * CLASSES) * sizeof *w->x);
    w->labels = (int *)malloc(images * sizeof *w->labels);
    must(w->x && w->labels, "memory for the images");
    w->y = w->x + pixels;
    for (size_t i = 0; i < pixels; i++) w->x[i] = (lsnn_real)lsnn_rng_uniform(&r);
    for (size_t i = 0; i < images; i++) w->labels[i] = lsnn_rng_int(&r, CLASSES);
}

/* A whole training step, or a prediction.                                        */
static void work_once(void *user)
{
    work *w = (work *)user;
    size_t first = (size_t)(w->step % BATCHES) * (size_t)w->batch;
    const lsnn_real *x = w->x + first * SIDE * SIDE;
    lsnn_batch batch = { w->batch, x, w->labels + first, 1, NULL, 0, w->step++ };
    double loss;
    if (!w->optimizer) must(lsnn_predict(w->net, x, w->batch, w->y) == LSNN_OK, "lsnn_predict");
    else must(lsnn_forward(w->net, &batch, 1, &loss) == LSNN_OK &&
              lsnn_backward(w->net) == LSNN_OK &&
              lsnn_optimizer_step(w->optimizer) == LSNN_OK, "a training step");
}

/* Training has a peer.                                                           */
static void bench_net(bench *b, const char *net, int batch, int training)
{
    row r = { training ? "train" : "predict", net, "images/s", batch, "" };
    work w;
    torch t;
    side ours = { work_once, &w, (double)batch }, peer = { NULL, &t, 0 };
    double params;
    int both, threads;
    work_make(b, &w, net, batch, training);
    both = training && !b->alone && torch_start(b, &t, &r);
    if (both)
        must(sscanf(t.line, "peer what=train net=%*s batch=%*d threads=%d params=%lf "
                    "peer_name=%63s", &threads, &params, r.peer_name) == 3 &&
             threads == lsnn_ctx_threads(&b->cx) && params == (double)lsnn_net_params(w.net),
             "a peer of equal threads and parameters");
    compare(b, &r, &ours, both ? &peer : NULL);
    if (both) {
        pclose(t.to);                            /* its end of input ends it */
        fclose(t.from);
    }
    lsnn_optimizer_free(w.optimizer);
    lsnn_net_free(w.net);
    free(w.x);
    free(w.labels);
}

/* ---- >>gemm: C = A B, all n x n ------------------------------------------------*/
typedef void blas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                        const float *a, int lda, const float *b, int ldb, float beta,
                        float *c, int ldc);
typedef struct product {
    lsnn_ctx *cx;
    blas_sgemm *blas;                /* NULL: computed by lsnn                    */
    const lsnn_real *a, *b;
    lsnn_real *c;
    int n;
} product;

static void product_once(void *user)
{
    const product *p = (const product *)user;
    int n = p->n;                    /* 101, 111: rows first, nothing transposed  */
    if (p->blas) p->blas(101, 111, 111, n, n, n, 1, p->a, n, p->b, n, 0, p->c, n);
    else must(lsnn_gemm(p->cx, 0, 0, n, n, n, p->a, n, p->b, n, 0, p->c, n) == LSNN_OK, "gemm");
}

/* OpenBLAS's sgemm on so many threads, and its name; NULL if it is missing. ISO C does not
   turn dlsym's pointer into a function's, but it does so with an integer.        */
static blas_sgemm *find_blas(int threads, char name[64])
{
    typedef void set_number(int);
    typedef const char *get_text(void);
    void *lib = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    blas_sgemm *gemm = lib ? (blas_sgemm *)(uintptr_t)dlsym(lib, "cblas_sgemm") : NULL;
    char version[24] = "";
    if (!gemm) {
        fprintf(stderr, "bench: gemm without its peer: OpenBLAS is missing\n");
        return NULL;
    }
    ((set_number *)(uintptr_t)dlsym(lib, "openblas_set_num_threads"))(threads);
    sscanf(((get_text *)(uintptr_t)dlsym(lib, "openblas_get_config"))(), "OpenBLAS %23s",
           version);
    snprintf(name, 64, "openblas-%s-%.24s", version,
             ((get_text *)(uintptr_t)dlsym(lib, "openblas_get_corename"))());
    return gemm;
}

static void bench_gemm(bench *b)
{
    static lsnn_real m[4][LARGEST * LARGEST];
    lsnn_rng random = lsnn_rng_at(b->a.seed, "bench", "gemm", 0, 0);
    row r = { "gemm", NULL, "GFLOPS", 1, "" };
    blas_sgemm *blas = b->alone ? NULL : find_blas(lsnn_ctx_threads(&b->cx), r.peer_name);
    for (int i = 0; i < 2 * LARGEST * LARGEST; i++)
        m[i % 2][i / 2] = (lsnn_real)(2 * lsnn_rng_uniform(&random) - 1);
    for (int n = 64; n <= LARGEST; n *= 2) {
        product p = { &b->cx, NULL, m[0], m[1], m[2], n }, q = p;
        side ours = { product_once, &p, 2e-9 * n * n * n };
        side theirs = { product_once, &q, 2e-9 * n * n * n };
        char name[48];
        snprintf(name, sizeof name, "%dx%dx%d", n, n, n);
        r.net = name;
        q.blas = blas;
        q.c = m[3];
        product_once(&p);
        product_once(&q);
        for (int i = 0; i < n * n; i++)          /* sums of n terms in [-1, 1] */
            must(fabs((double)p.c[i] - (double)q.c[i]) <= 1e-6 * n, "equal products");
        compare(b, &r, &ours, blas ? &theirs : NULL);
    }
}

/* ---- >>main --------------------------------------------------------------------*/
/* OpenMP's threads wait by spinning, and would still do so when it is the other side's
   turn: both sides get a short spin. OpenBLAS uses AVX-512 on newer processors only when
   told, whatever was set before: a peer is measured at its best. All this is read when a
   program starts, so start again with it.                                        */
static void set_environment(char **argv)
{
    const char *core = getenv("OPENBLAS_CORETYPE");
    int changed = 0;
    if (!getenv("GOMP_SPINCOUNT")) changed |= setenv("GOMP_SPINCOUNT", "1000", 1) == 0;
    if (!getenv("KMP_BLOCKTIME")) changed |= setenv("KMP_BLOCKTIME", "1", 1) == 0;
    if (lsnn_isa_available(LSNN_ISA_AVX512) && (!core || strcmp(core, "SKYLAKEX") != 0))
        changed |= setenv("OPENBLAS_CORETYPE", "SKYLAKEX", 1) == 0;
    if (changed) execvp(argv[0], argv);
}

/* The processor's name, and the CSV file with its header.                        */
static void open_csv(bench *b, const char *path)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");
    strcpy(b->machine, "unknown");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "model name : %127[^\n\"]", b->machine) == 1) break;
    if (f) fclose(f);
    if (!(b->csv = fopen(path, "a"))) perror(path);
    must(b->csv != NULL, "the CSV file (--csv FILE)");
    fseek(b->csv, 0, SEEK_END);
    if (ftell(b->csv) == 0)
        fprintf(b->csv, "date,machine,compiler,build,isa,what,net,batch,threads,ours,peer,"
                        "ratio,unit,peer_name\n");
}

int main(int argc, char **argv)
{
    static const char *const nets[] = { "cnn", "lsnn-location", "lsnn-content", "lc" };
    static bench b;
    const char *what = "train", *net = NULL, *csv = "results/bench.csv";
    app_flag own[6];
    int status;
    set_environment(argv);
    app_init(&b.a, "bench", "measures speed", "--what train --net cnn --batch 64 --threads 2");
    b.a.takes = "seed batch threads";
    b.a.batch = 64;
    b.seconds = 0.5;
    b.pairs = 7;
    own[0] = app_choice("what", &what, "train|predict|gemm", "what is measured");
    own[1] = app_choice("net", &net, "cnn|lsnn-location|lsnn-content|lc", "one only (all)");
    own[2] = app_real("seconds", &b.seconds, 0.01, 600, "of one run");
    own[3] = app_int("pairs", &b.pairs, 1, MAX_PAIRS, "runs of each side; medians count");
    own[4] = app_switch("alone", &b.alone, "leave the peers out");
    own[5] = app_text("csv", &csv, "FILE", "gets each line too");
    status = app_parse(&b.a, argc, argv, own, 6);
    if (status == APP_GO) status = app_start(&b.a, &b.cx);
    if (status != APP_GO) return status;
    signal(SIGINT, SIG_DFL);                     /* there is nothing to save */
    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);                    /* reading finds out a dead peer */
    open_csv(&b, csv);
    if (strcmp(what, "gemm") == 0) bench_gemm(&b);
    for (int i = 0; i < 4 && strcmp(what, "gemm") != 0; i++) {
        int training = strcmp(what, "train") == 0;
        if (net && strcmp(net, nets[i]) != 0) continue;
        bench_net(&b, nets[i], b.a.batch, training);
        if (!training && b.a.batch > 1) bench_net(&b, nets[i], 1, training);
    }
    fclose(b.csv);
    lsnn_ctx_free(&b.cx);
    return 0;
}
