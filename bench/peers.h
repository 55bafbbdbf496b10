/* peers.h - what lsnn is compared with: scripts that run in a process of their own (PyTorch,
   ONNX Runtime), the files that tell them the problem, and OpenBLAS.                  */
#ifndef PEERS_H
#define PEERS_H

#include "measure.h"
#include <dlfcn.h>
#include <sys/wait.h>

/* ---- >>child: a script that runs when told to ------------------------------------
   Started as PROGRAM SCRIPT --serve ..., it compares its results with ours, writes one line
   `peer ... threads=2 worst=0.01 at=NAME peer_name=pytorch-1.13.1 ready`, and then answers
   each line "go" by one line `images_per_s=...`. worst: the largest difference; up to 1 is
   tolerated.                                                                       */
struct child {
    FILE *to, *from;
    char line[512];                  /* the last one that it wrote                */
};

static double child_speed(child *c)
{
    double images = 0;
    fprintf(c->to, "go\n");
    must(fflush(c->to) == 0 && fgets(c->line, sizeof c->line, c->from) &&
         sscanf(c->line, "images_per_s=%lf", &images) == 1 && images > 0, "the peer's run");
    return images;
}

static int child_end(child *c)
{
    fclose(c->from);
    return pclose(c->to);            /* its end of input ends it                  */
}

/* The number behind KEY= in a peer's line; NAN if there is none.                 */
static double child_number(const child *c, const char *key)
{
    const char *at = strstr(c->line, key);
    return at ? atof(at + strlen(key)) : NAN;
}

/* Starts the script, which stands beside this program. 0 if what it needs is missing (status
   77, or 127: the program is), or if its results are not ours.                   */
static int child_start(bench *b, child *c, row *r, const char *program, const char *script)
{
    const char *self = b->a.argv[0], *slash = strrchr(self, '/'), *name;
    char command[APP_PATH + 256];
    int ends[2], status, threads = lsnn_ctx_threads(&b->cx);
    must(pipe(ends) == 0, "a pipe from the peer");
    snprintf(command, sizeof command, "exec %s '%.*s%s' --serve --net %s --batch %d "
             "--threads %d --seconds %g --check '%s' >/dev/fd/%d", program,
             slash ? (int)(slash + 1 - self) : 0, self, script, r->net, r->batch, threads,
             b->seconds, b->folder, ends[1]);
    c->to = popen(command, "w");
    close(ends[1]);
    c->from = fdopen(ends[0], "r");
    must(c->to && c->from, "starting the peer");
    if (!fgets(c->line, sizeof c->line, c->from) || !strstr(c->line, " ready")) {
        status = child_end(c);
        must(WIFEXITED(status) && (WEXITSTATUS(status) == 77 || WEXITSTATUS(status) == 127),
             "the peer's start");
        fprintf(stderr, "bench: %s %s goes without its peer, which is missing\n", r->what,
                r->net);
        return 0;
    }
    name = strstr(c->line, "peer_name=");
    must(name && sscanf(name, "peer_name=%63s", r->peer_name) == 1 &&
         child_number(c, " threads=") <= threads && child_number(c, " threads=") >= threads,
         "a peer of equal threads");
    name = strstr(c->line, "worst=");
    fprintf(stderr, "bench: %s %s, batch %d: results beside ours: %.*s\n", r->what, r->net,
            r->batch, name ? (int)strcspn(name, "\n") : 0, name ? name : "");
    if (child_number(c, " worst=") <= 1) return 1;
    fprintf(stderr, "bench: more than 1 is not equal: the peer is left out\n");
    b->failed = 1;
    child_end(c);
    return 0;
}

/* ---- >>check: our numbers for the peer to begin with and to arrive at --------------
   A folder with check.safetensors (tensors that the callers name) and, for predictions,
   net.safetensors. It is removed as soon as the peer has read it.                 */
typedef struct check {
    lsnn_tensor *t;
    int count, room;
} check;

/* One more tensor, PREFIX:NAME of so many numbers, to be filled by the caller.   */
static lsnn_real *check_add(check *k, const char *prefix, const char *name, size_t count)
{
    lsnn_tensor *t;
    size_t length = strlen(prefix) + strlen(name) + 1;
    char *full = (char *)malloc(length);
    lsnn_real *v = (lsnn_real *)malloc((count ? count : 1) * sizeof *v);
    if (k->count == k->room) {
        k->room = 2 * k->room + 64;
        k->t = (lsnn_tensor *)realloc(k->t, (size_t)k->room * sizeof *k->t);
    }
    must(full && v && k->t, "memory for the peer's check");
    memcpy(full, prefix, strlen(prefix));
    memcpy(full + strlen(prefix), name, strlen(name) + 1);
    t = &k->t[k->count++];
    memset(t, 0, sizeof *t);
    t->name = full;
    t->rank = 1;
    t->dim[0] = (int)count;
    t->count = count;
    t->v = v;
    return v;
}

/* All parameters (kind 0) or buffers (kind 1) under that prefix; grad: their gradients. */
static void check_add_net(check *k, lsnn_net *net, const char *prefix, int kind, int grad)
{
    const char *name;
    char full[160];
    size_t count;
    for (int i = 0; (name = lsnn_net_param_name(net, kind, i, &count)) != NULL; i++) {
        lsnn_real *v = check_add(k, prefix, name, count);
        snprintf(full, sizeof full, "%s%s", grad ? "grad:" : "", name);
        must(lsnn_net_get(net, full, v, count) == LSNN_OK, full);
    }
}

static const char *check_path(const bench *b, const char *name, char path[96])
{
    snprintf(path, 96, "%s/%s", b->folder, name);
    return path;
}

/* Writes and forgets the tensors; b->folder is where they are.                   */
static void check_write(bench *b, check *k)
{
    const char *tmp = getenv("TMPDIR");
    char path[96];
    snprintf(b->folder, sizeof b->folder, "%.40s/lsnn-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    must(mkdtemp(b->folder) != NULL, "a temporary folder");
    must(lsnn_file_write(&b->cx, check_path(b, "check.safetensors", path), k->t, k->count,
                         NULL, 0) == LSNN_OK, "the peer's check");
    for (int i = 0; i < k->count; i++) {
        free((void *)(uintptr_t)k->t[i].name);
        free((void *)(uintptr_t)k->t[i].v);
    }
    free(k->t);
    memset(k, 0, sizeof *k);
}

static void check_remove(const bench *b)
{
    char path[96];
    remove(check_path(b, "check.safetensors", path));
    remove(check_path(b, "net.safetensors", path));
    rmdir(b->folder);
}

/* ---- >>blas --------------------------------------------------------------------*/
typedef void blas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                        const float *a, int lda, const float *b, int ldb, float beta,
                        float *c, int ldc);

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
        fprintf(stderr, "bench: gemm goes without its peer: OpenBLAS is missing\n");
        return NULL;
    }
    ((set_number *)(uintptr_t)dlsym(lib, "openblas_set_num_threads"))(threads);
    sscanf(((get_text *)(uintptr_t)dlsym(lib, "openblas_get_config"))(), "OpenBLAS %23s",
           version);
    snprintf(name, 64, "openblas-%s-%.24s", version,
             ((get_text *)(uintptr_t)dlsym(lib, "openblas_get_corename"))());
    return gemm;
}
#endif
