/* test_threads.c - the threads behind lsnn_parallel: every task once, really side by side,
   nested, from several threads at once, in a forked child, refused, asleep when there is
   nothing to do, ended with their context; and the same bits for any number of them.

   modes: plain | asan tsan omp single
   Build: cc -O2 -I. tests/test_threads.c -o tests/test_threads -lm      (old systems: -pthread) */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* pthread_create as the library sees it: fails when none is left.                        */
static int threads_left = 1 << 20;
static int counted_create(pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *user)
{
    int left = __atomic_fetch_sub(&threads_left, 1, __ATOMIC_RELAXED);
    return left > 0 ? pthread_create(t, a, run, user) : EAGAIN;
}
#define pthread_create counted_create
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
#undef pthread_create
#include "check.h"
#include "nets.h"

#if defined(__SANITIZE_THREAD__)
#define NO_FORK "ThreadSanitizer knows no threads in a forked child"
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define NO_FORK "ThreadSanitizer knows no threads in a forked child"
#endif
#endif
#if defined(LSNN_NO_THREADS)
enum { OWN_THREADS = 0, DIVIDES = 0 };
#elif defined(LSNN_USE_OPENMP)
enum { OWN_THREADS = 0, DIVIDES = 1 };
#else
enum { OWN_THREADS = 1, DIVIDES = 1 };
#endif

static void nap(int milliseconds)
{
    struct timespec t = { milliseconds / 1000, milliseconds % 1000 * 1000000L };
    nanosleep(&t, NULL);
}

/* ---- every task once --------------------------------------------------------------------- */
enum { MOST = 20000 };
typedef struct tally {
    lsnn_ctx *cx;
    int done[MOST], worker[MOST];
    int inner;                           /* tasks that each task divides again, 0: none   */
    int (*inner_done)[8];
} tally;

static void count_inner(void *user, int i, int worker)
{
    (void)worker;
    ((int *)user)[i]++;
}

static void count_task(void *user, int i, int worker)
{
    tally *t = (tally *)user;
    t->done[i]++;
    t->worker[i] = worker;
    if (t->inner) lsnn_parallel(t->cx, t->inner, count_inner, t->inner_done[i]);
}

/* One call of n tasks: each is done once, by a worker whose number there is.             */
static void check_tally(tally *t, int n)
{
    int bad = 0, threads = lsnn_ctx_threads(t->cx);
    memset(t->done, 0, sizeof t->done);
    lsnn_parallel(t->cx, n, count_task, t);
    for (int i = 0; i < n; i++)
        bad += t->done[i] != 1 || t->worker[i] < 0 || t->worker[i] >= threads;
    for (int i = n; i < MOST; i++) bad += t->done[i] != 0;
    CHECK(bad == 0);
}

static void test_once(void)
{
    static const int counts[] = { 0, 1, 2, 3, 7, 8, 100, 1001, MOST };
    static tally t;
    lsnn_ctx cx = quiet_ctx();
    t.cx = &cx;
    for (int round = 0; round < 3; round++)
        for (cx.threads = round ? 7 : 0; cx.threads >= 0 && cx.threads <= 7;
             cx.threads += round ? -1 : 1)
            for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
                check_tally(&t, counts[i]);
    cx.threads = 3;
    for (int i = 0; i < 3000; i++) {     /* short jobs, one after the other               */
        cx.threads = 2 + i % 4;
        lsnn_parallel(&cx, 1 + i % 5, count_task, &t);
    }
    for (int i = 0; i < 60; i++) {       /* and with pauses in which all fall asleep      */
        if (i % 3) nap(1);
        check_tally(&t, 1 + i % 9);
    }
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("every task once, for any number of tasks and threads, changed between calls");
}

/* ---- really at once ---------------------------------------------------------------------- */
typedef struct meeting {
    int seen[4], together;               /* 1: all have been here at the same time        */
    int count;
    pthread_t who[4];
} meeting;

/* Waits for the others, 20 s at the most: so all run at once, or it fails.               */
static double patience = 20;
static void meet(void *user, int i, int worker)
{
    meeting *m = (meeting *)user;
    double end = lsnni_seconds() + patience;
    int others = 0;
    m->who[i] = pthread_self();
    __atomic_store_n(&m->seen[i], 1 + worker, __ATOMIC_SEQ_CST);
    while (others < m->count && lsnni_seconds() < end) {
        others = 0;
        for (int k = 0; k < m->count; k++)
            others += __atomic_load_n(&m->seen[k], __ATOMIC_SEQ_CST) != 0;
        if (others < m->count) sched_yield();
    }
    if (others == m->count) __atomic_store_n(&m->together, 1, __ATOMIC_SEQ_CST);
}

static int meets(lsnn_ctx *cx, int count)
{
    meeting m;
    int numbers = 0, good;
    memset(&m, 0, sizeof m);
    m.count = count;
    cx->threads = count;
    lsnn_parallel(cx, count, meet, &m);
    good = m.together;
    for (int i = 0; i < count; i++) {
        numbers |= 1 << (m.seen[i] - 1);
        for (int k = 0; k < i; k++) good &= !pthread_equal(m.who[i], m.who[k]);
    }
    if (!good) patience = 0.1;           /* it will not be better another time            */
    return good && numbers == (1 << count) - 1;
}

static void test_at_once(void)
{
    lsnn_ctx cx = quiet_ctx();
    for (int again = 0; again < 20; again++) {
        CHECK(meets(&cx, 2));
        CHECK(meets(&cx, 4));
        CHECK(meets(&cx, 3));
        if (again % 4 == 0) nap(2);
    }
    lsnn_ctx_free(&cx);
    CHECK(meets(&cx, 2));                /* a context may be used again                   */
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("2 to 4 tasks run at once, on threads and workers of their own");
}

/* ---- nested, and several callers ---------------------------------------------------------- */
static void test_nested(void)
{
    enum { OUTER = 200, INNER = 8 };
    static tally t;
    static int inner_done[OUTER][INNER];
    lsnn_ctx cx = quiet_ctx();
    t.cx = &cx;
    t.inner = INNER;
    t.inner_done = inner_done;
    for (cx.threads = 1; cx.threads <= 4; cx.threads++) {
        int bad = 0;
        memset(inner_done, 0, sizeof inner_done);
        check_tally(&t, cx.threads == 4 ? 2 : OUTER);    /* fewer tasks than threads, then    */
        for (int i = 0; i < OUTER; i++)                  /* more of them inside               */
            for (int k = 0; k < INNER; k++)
                bad += inner_done[i][k] != (i < (cx.threads == 4 ? 2 : OUTER));
        CHECK(bad == 0);
    }
    t.inner = 0;
    check_tally(&t, 100);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("a task that divides its work again does it alone");
}

enum { SIDE = 12, BATCH = 24, STEPS = 6 };

/* A net with a bit of everything.                                                        */
static lsnn_net *mixed_net(lsnn_ctx *cx)
{
    lsnn_net *net = lsnn_net_new(cx);
    lsnn_options no_bias = named("conv2"), mean = named("smooth");
    int x = lsnn_input(net, 1, SIDE, SIDE);
    no_bias.no_bias = 1;
    mean.normalise = LSNN_NORMALISE_MEAN;
    x = lsnn_max_pool(net, lsnn_relu(net, lsnn_conv2d(net, x, 8, 3, NULL), NULL), 2, NULL);
    x = lsnn_smooth(net, lsnn_conv2d(net, x, 8, 3, &no_bias), LSNN_FREE, &mean);
    x = lsnn_relu(net, lsnn_batch_norm(net, x, NULL), NULL);
    x = lsnn_dropout(net, lsnn_local2d(net, x, 4, 2, NULL), 0.5, NULL);
    lsnn_cross_entropy(net, lsnn_dense(net, x, 10, NULL), NULL);
    CHECK(build_net(net, BATCH, 3, 0) == LSNN_OK);
    return net;
}

/* Some steps of training; its parameters and buffers, to be freed.                       */
static lsnn_real *trained(lsnn_ctx *cx, long *calls_of_a_step)
{
    lsnn_real *x = new_reals(BATCH * SIDE * SIDE);
    int labels[BATCH];
    lsnn_net *net = mixed_net(cx);
    lsnn_optimizer *o = lsnn_optimizer_new(net, NULL);
    lsnn_real *all;
    lsnn_batch b;
    double loss;
    draw_reals(x, BATCH * SIDE * SIDE, 8, -1, 1);
    for (int i = 0; i < BATCH; i++) labels[i] = i % 10;
    memset(&b, 0, sizeof b);
    b.n = BATCH;
    b.x = x;
    b.labels = labels;
    b.heads = 1;
    if (calls_of_a_step) *calls_of_a_step = heap.calls;
    for (int i = 0; i < STEPS; i++) {
        b.step = (uint32_t)i;
        CHECK(lsnn_forward(net, &b, 1, &loss) == LSNN_OK && lsnn_backward(net) == LSNN_OK &&
              lsnn_optimizer_step(o) == LSNN_OK);
    }
    if (calls_of_a_step) *calls_of_a_step = heap.calls - *calls_of_a_step;
    all = net_values(net);
    lsnn_optimizer_free(o);
    lsnn_net_free(net);
    free(x);
    return all;
}

static size_t trained_size(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net = mixed_net(&cx);
    size_t n = net_size(net);
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    return n;
}

static lsnn_real *alone;                 /* what one thread has trained, so many numbers  */
static size_t alone_size;

static void test_same_bits(void)
{
    static const int threads[] = { 1, 2, 3, 7 };
    alone_size = trained_size();
    for (int i = 0; i < 4; i++) {
        lsnn_ctx cx = quiet_ctx();
        lsnn_real *now;
        long calls;
        cx.threads = threads[i];
        now = trained(&cx, &calls);
        CHECK(calls == 0);               /* the threads were started by lsnn_net_build    */
        if (i == 0) alone = now;
        else {
            CHECK(same_bits(now, alone, alone_size));
            free(now);
        }
        lsnn_ctx_free(&cx);
        CHECK(heap.live == 0);
    }
    test_end("training on 1, 2, 3, 7 threads: the same bits, and a step allocates nothing");
}

/* What a thread of the program does: trains with a context of its own, again and again.  */
typedef struct caller { pthread_t thread; int threads, bad; } caller;
static void *train_here(void *user)
{
    caller *c = (caller *)user;
    for (int i = 0; i < 4; i++) {
        lsnn_ctx cx;
        lsnn_real *now;
        memset(&cx, 0, sizeof cx);
        cx.threads = c->threads;
        now = trained(&cx, NULL);
        c->bad += !same_bits(now, alone, alone_size);
        free(now);
        lsnn_ctx_free(&cx);
    }
    return NULL;
}

static void test_callers(void)
{
    caller c[4];
    memset(c, 0, sizeof c);
    for (int i = 0; i < 4; i++) {
        c[i].threads = 1 + i % 3;
        CHECK(pthread_create(&c[i].thread, NULL, train_here, &c[i]) == 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(c[i].thread, NULL);
        CHECK(c[i].bad == 0);
    }
    test_end("4 threads of the program train side by side: the bits of one alone");
}

#ifndef NO_FORK
/* ---- fork ---------------------------------------------------------------------------------- */
/* The child's exit status, or -1 if it has to be killed after 60 s.                       */
static int child_status(pid_t child)
{
    int status = 0;
    for (int i = 0; i < 6000; i++) {
        if (waitpid(child, &status, WNOHANG) == child)
            return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        nap(10);
    }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return -1;
}

/* In the child: its first calls do their work, threads of its own come to help, it trains. */
static int child(lsnn_ctx *cx, int trains)
{
    static tally t;
    int good;
    test_bad = 0;
    t.cx = cx;
    check_tally(&t, 100);
    check_tally(&t, 100);
    good = meets(cx, 2) && meets(cx, 3);
    if (trains) {
        lsnn_real *now = trained(cx, NULL);
        good &= same_bits(now, alone, alone_size);
    }
    lsnn_ctx_free(cx);
    return good && test_bad == 0 ? 0 : 1;
}

static void test_fork(void)
{
    static tally t;
    lsnn_ctx cx = quiet_ctx();
    pid_t id;
    for (int i = 0; i < 30; i++) {       /* at once after a job, or when all are asleep   */
        cx.threads = 2 + i % 2;
        t.cx = &cx;
        check_tally(&t, 50);
        if (i % 3 == 2) nap(2);
        fflush(stdout);
        id = fork();
        if (id == 0) _exit(child(&cx, i % 10 == 0));
        if (!CHECK(id > 0)) break;
        if (i % 2) check_tally(&t, 50);  /* the parent's own are still there              */
        CHECK(child_status(id) == 0);
        CHECK(meets(&cx, 2));
    }
    fflush(stdout);
    if ((id = fork()) == 0) {            /* a child that only frees                       */
        lsnn_ctx_free(&cx);
        _exit(0);
    }
    CHECK(child_status(id) == 0);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("forked children divide their work among threads of their own");
}

#endif
/* ---- refusals -------------------------------------------------------------------------------- */
static void test_refused(void)
{
    static tally t;
    for (int left = 0; left < 3; left++) {
        lsnn_ctx cx = quiet_ctx();
        cx.threads = 4;
        t.cx = &cx;
        threads_left = left;
        for (int i = 0; i < 20; i++) check_tally(&t, 200);
        CHECK(threads_left == -1);       /* once refused, not asked again and again       */
        threads_left = 1 << 20;
        heap.refuse_all = 1;             /* a larger team cannot be had: alone            */
        cx.threads = 6;
        check_tally(&t, 200);
        CHECK(cx.status == LSNN_OK);
        heap.refuse_all = 0;
        CHECK(meets(&cx, 4));
        lsnn_ctx_free(&cx);
        CHECK(heap.live == 0);
    }
    test_end("threads or memory refused: slower, and nothing else");
}

/* An allocator whose addresses are odd: mutexes and atomics stand on whole lines all the same. */
static void *odd_alloc(size_t bytes, void *user)
{
    char *block = (char *)heap_alloc(bytes + 1, user);
    return block ? block + 1 : NULL;
}
static void odd_free(void *block, void *user) { heap_free((char *)block - 1, user); }

static void test_odd(void)
{
    static tally t;
    lsnn_ctx cx = quiet_ctx();
    cx.mem.alloc_fn = odd_alloc;
    cx.mem.free_fn = odd_free;
    t.cx = &cx;
    CHECK(meets(&cx, 3));
    CHECK((uintptr_t)cx.team_ % 64 == 0);
    nap(2);
    check_tally(&t, 200);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("an allocator of odd addresses");
}

/* ---- asleep, and ended ------------------------------------------------------------------------ */
static double cpu_seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }

static int threads_now(void)             /* of this process; 0: not told                  */
{
    char line[200];
    int n = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "Threads:", 8) == 0) n = atoi(line + 8);
    if (f) fclose(f);
    return n;
}

static void test_asleep(void)
{
    lsnn_ctx cx = quiet_ctx(), other = quiet_ctx();
    int before = threads_now();
    double spent;
    CHECK(meets(&cx, 4) && meets(&other, 2));
    CHECK(before == 0 || threads_now() == before + 4);
    spent = cpu_seconds();
    nap(500);
    spent = cpu_seconds() - spent;
    CHECK(spent < 0.05);
    printf("# 4 idle threads took %.4f s of 0.5\n", spent);
    CHECK(meets(&cx, 3) && meets(&other, 2));            /* they wake up                      */
    lsnn_ctx_free(&cx);
    CHECK(before == 0 || threads_now() == before + 1);
    lsnn_ctx_free(&other);
    CHECK(before == 0 || threads_now() == before);
    CHECK(heap.live == 0);
    test_end("idle threads sleep, and lsnn_ctx_free ends those of its context");
}

/* ---- signals, cores ----------------------------------------------------------------------------- */
static volatile sig_atomic_t signals;
static void on_signal(int number) { (void)number; signals = signals + 1; }

/* While this thread holds SIGUSR1 back nobody gets it: the workers were told not to.     */
static void test_signals(void)
{
    lsnn_ctx cx = quiet_ctx();
    sigset_t one;
    signal(SIGUSR1, on_signal);
    CHECK(meets(&cx, 3));
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &one, NULL);
    kill(getpid(), SIGUSR1);
    CHECK(meets(&cx, 3));
    nap(20);
    CHECK(signals == 0);
    pthread_sigmask(SIG_UNBLOCK, &one, NULL);
    CHECK(signals == 1);                 /* and this thread's mask is what it was         */
    signal(SIGUSR1, SIG_DFL);
    lsnn_ctx_free(&cx);
    test_end("signals are the program's: no worker takes one");
}

#ifdef CPU_SET
static void test_cores(void)
{
    cpu_set_t all, one;
    lsnn_ctx cx = quiet_ctx(), pinned = quiet_ctx();
    int first = 0;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    while (first < CPU_SETSIZE - 1 && !CPU_ISSET(first, &all)) first++;
    CHECK(lsnn_ctx_threads(&cx) == CPU_COUNT(&all));
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    CHECK(lsnn_ctx_threads(&pinned) == 1);
    CHECK(lsnn_ctx_threads(&cx) == CPU_COUNT(&all));     /* arrays have been sized by it      */
    CHECK(sched_setaffinity(0, sizeof all, &all) == 0);
    CHECK(lsnn_ctx_threads(&pinned) == 1);
    pinned.threads = 5;
    CHECK(lsnn_ctx_threads(&pinned) == 5);
    lsnn_ctx_free(&cx);
    lsnn_ctx_free(&pinned);
    test_end("threads = 0: one for each core that the caller may run on, asked once");
}
#endif

int main(void)
{
    test_once();
    test_nested();
    test_same_bits();
    test_callers();
    if (DIVIDES) test_at_once();
    else test_skip("tasks run at once", "LSNN_NO_THREADS");
    if (OWN_THREADS) {
#ifdef NO_FORK
        test_skip("forked children", NO_FORK);
#else
        test_fork();
#endif
#ifdef LSNNI_WEAK
        test_skip("refusals", "this C library's pthread_create is found by the linker alone");
#else
        test_refused();
#endif
        test_odd();
        test_asleep();
        test_signals();
#ifdef CPU_SET
        test_cores();
#endif
    } else test_skip("fork, refusals, addresses, sleep, signals, cores", "no threads of the library's own");
    free(alone);
    return test_finish();
}
