/* ---- >>threads: the one place that starts any ----------------------------------
   lsnn_parallel divides a loop among threads that the context keeps: it starts them when
   they are first needed, lsnn_ctx_free ends them, and no other context knows of them, so
   there is no global. Each thread takes the next i that is left until none is. Two rules
   make that fit for a machine that others use, too:

   - Who waits, spins and then sleeps: for 20 microseconds, or for 1,000 while nobody else wants
     the cores (lsnni_team_look). Layers follow one another faster than that, so nothing sleeps
     within a step; and nothing that waits keeps a core busy.
   - The caller works like the others and waits only for those that have begun, never for one
     that might still come. What a busy machine, a fork (threads are not copied) or a refused
     pthread_create takes away is speed: never a result, and nothing hangs.

   With LSNN_USE_OPENMP, OpenMP's threads do it instead; with LSNN_NO_THREADS, or where there
   are no POSIX threads and no OpenMP, the caller does it alone. The bits are the same.   */
#if defined(LSNNI_TEAM)
enum {
    LSNNI_INSIDE = 0x7fff,           /* of `state`: how many workers are at the job */
    LSNNI_ASLEEP = 0x8000,           /*   set: the caller sleeps until they have left */
    LSNNI_PLACE = 0x10000            /*   times how many more may come; 0: it is closed */
};

typedef struct lsnni_team {          /* (a) read and written as atomics       */
    void (*task)(void *user, int i, int worker);     /* the job: constant while any is inside */
    void *user;
    int count;
    unsigned job;                    /* (a) its number: a new one, something to do */
    int quit;                        /* (a) the job is to end                 */
    int spin;                        /* (a) microseconds; 0: more threads than cores */
    double looked;                   /* when spin was set, and how many times until then a */
    long taken;                      /*   thread of this process had had to give up its core */
    char apart_[64];                 /* what all write: in another cache line */
    unsigned state, next;            /* (a) see above; (a) the next i         */
    char also_apart_[64];
    unsigned sleepers;               /* (a) workers asleep; written under the lock */
    int busy;                        /* (a) a job is under way                */
    int alone;                       /* nobody came to the last job           */
    int asked, workers;              /* threads wanted, threads started       */
    pid_t process;                   /* whose they are                        */
    int ready;                       /* there are the next three              */
    pthread_mutex_t lock;            /* for falling asleep and waking only    */
    pthread_cond_t wake, left;       /* for the workers; for the caller       */
    pthread_t *thread;
} lsnni_team;

/* What signals' masks need; -std=c99 hides it, and so does a POSIX of before threads. */
#if defined(__GLIBC__) && !defined(__USE_POSIX199506)
#elif defined(SIG_BLOCK) && (!defined(_POSIX_C_SOURCE) || _POSIX_C_SOURCE >= 199506L)
#  define LSNNI_SIGNALS
#endif
/* Before glibc 2.34, and on the BSDs, these are missing unless -pthread links them. A program
   built without has one thread then, in place of an error of the linker. A test says what to
   put before their names, so that they are missing here, too.                */
#if defined(LSNNI_TEST_WEAK) || \
    (defined(__GLIBC__) && __GLIBC__ == 2 && __GLIBC_MINOR__ < 34) || defined(__FreeBSD__) || \
    defined(__NetBSD__) || defined(__OpenBSD__) || defined(__DragonFly__)
#  ifndef LSNNI_TEST_WEAK
#    define LSNNI_TEST_WEAK
#  endif
#  define LSNNI_WEAK(name) \
    static __typeof__(name) lsnni_##name __attribute__((weakref(LSNNI_TEST_WEAK #name)))
LSNNI_WEAK(pthread_create);
LSNNI_WEAK(pthread_join);
#  ifdef LSNNI_SIGNALS
LSNNI_WEAK(pthread_sigmask);
#  endif
#  define LSNNI_THREADS_LINKED (lsnni_pthread_create && lsnni_pthread_join)
#else
#  define lsnni_pthread_create pthread_create
#  define lsnni_pthread_join pthread_join
#  define lsnni_pthread_sigmask pthread_sigmask
#  define LSNNI_THREADS_LINKED 1
#endif

/* The cores that this thread may run on: what taskset and a container's cpuset leave. */
#if defined(CPU_SETSIZE)
#  define LSNNI_CPU_SET cpu_set_t
#elif defined(__linux__) && !defined(__cplusplus)    /* hidden without _GNU_SOURCE, which C++ has */
#  define LSNNI_CPU_SET void
extern int sched_getaffinity(pid_t thread, size_t bytes, void *set);
#endif
static int lsnni_cores(void)
{
    long cores = 0;
#ifdef LSNNI_CPU_SET
    unsigned long set[128] = { 0 };  /* 4,096 cores where longs have 32 bits  */
    if (sched_getaffinity(0, sizeof set, (LSNNI_CPU_SET *)set) >= 0)
        for (int i = 0; i < 128; i++)
            for (unsigned long bits = set[i]; bits; bits &= bits - 1) cores++;
#endif
#ifdef _SC_NPROCESSORS_ONLN
    if (cores < 1) cores = sysconf(_SC_NPROCESSORS_ONLN);
#endif
    return cores < 1 ? 1 : (int)LSNNI_MIN(cores, INT_MAX);
}

/* Asked once a context: arrays with a part for each thread are sized by the answer. */
LSNN_API int lsnn_ctx_threads(const lsnn_ctx *cx)
{
    if (cx->threads > 0) return cx->threads;
    if (cx->cores_ == 0) ((lsnn_ctx *)(uintptr_t)cx)->cores_ = lsnni_cores();
    return cx->cores_;
}

static void lsnni_pause(void)
{
#if defined(__i386__) || defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* Looks at *word until it is `value`, or until it is not, for as long as waiting threads spin
   at present; for some milliseconds if somebody sets the clock back.         */
static void lsnni_spin(const lsnni_team *p, const unsigned *word, unsigned value, int equal)
{
    const int spin = __atomic_load_n(&p->spin, __ATOMIC_RELAXED);
    const double end = spin ? lsnni_seconds() + 1e-6 * spin : 0;
    int rounds = 8000;
    do {
        for (int i = 0; i < 16; i++) {
            if ((__atomic_load_n(word, __ATOMIC_ACQUIRE) == value) == equal) return;
            if (spin) lsnni_pause();
        }
    } while (spin && --rounds > 0 && lsnni_seconds() < end);
}

/* Ten times a second, how long to spin. To wake a thread takes long, on a virtual machine above
   all: where cores are idle otherwise, who spins through the wait is up to a tenth faster. Where
   others want them, it takes from them and, when its turn is over early, from itself. The sign
   is how often the system takes a core from a thread that has work: in a training on an idle
   machine some 20 times a second and thread, beside one other process 120 to 700 times. */
static void lsnni_team_look(lsnni_team *p)
{
#ifdef __linux__
    struct rusage use;
    double now = lsnni_seconds(), passed = now - p->looked;
    int quiet;
    if (p->spin == 0 || (passed >= 0 && passed < 0.1) || getrusage(RUSAGE_SELF, &use) != 0) return;
    quiet = passed < 1 && (double)(use.ru_nivcsw - p->taken) < 60 * passed * (p->workers + 1);
    __atomic_store_n(&p->spin, quiet ? 1000 : 20, __ATOMIC_RELAXED);
    p->looked = now;
    p->taken = use.ru_nivcsw;
#else
    (void)p;
#endif
}

/* Does what is left of the job, and leaves. The caller may go on when the last has left. */
static void lsnni_team_work(lsnni_team *p, int worker)
{
    unsigned i, count = (unsigned)p->count;
    while ((i = __atomic_fetch_add(&p->next, 1u, __ATOMIC_RELAXED)) < count)
        p->task(p->user, (int)i, worker);
}

static void lsnni_team_help(lsnni_team *p)
{
    unsigned s = __atomic_load_n(&p->state, __ATOMIC_RELAXED);
    do {
        if (s < LSNNI_PLACE) return;                     /* enough have come, or it is done */
    } while (!__atomic_compare_exchange_n(&p->state, &s, s - LSNNI_PLACE + 1, 0,
                                          __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
    lsnni_team_work(p, (int)(s / LSNNI_PLACE));
    s = __atomic_fetch_sub(&p->state, 1u, __ATOMIC_RELEASE);
    if (s == LSNNI_ASLEEP + 1) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_signal(&p->left);
        pthread_mutex_unlock(&p->lock);
    }
}

static void *lsnni_team_worker(void *team)
{
    lsnni_team *p = (lsnni_team *)team;
    unsigned seen = 0;
    for (;;) {
        lsnni_spin(p, &p->job, seen, 0);
        if (__atomic_load_n(&p->job, __ATOMIC_ACQUIRE) == seen) {
            pthread_mutex_lock(&p->lock);
            /* either this sees the new job, or the caller of that job sees the sleeper */
            __atomic_fetch_add(&p->sleepers, 1u, __ATOMIC_SEQ_CST);
            while (__atomic_load_n(&p->job, __ATOMIC_SEQ_CST) == seen)
                pthread_cond_wait(&p->wake, &p->lock);
            __atomic_fetch_sub(&p->sleepers, 1u, __ATOMIC_RELAXED);
            pthread_mutex_unlock(&p->lock);
        }
        seen = __atomic_load_n(&p->job, __ATOMIC_ACQUIRE);
        if (__atomic_load_n(&p->quit, __ATOMIC_RELAXED)) return NULL;
        lsnni_team_help(p);
    }
}

/* A new number says that the job is there; so many sleepers as are missing are woken. */
static void lsnni_team_call(lsnni_team *p, int wanted)
{
    int asleep, missing;
    __atomic_store_n(&p->job, p->job + 1, __ATOMIC_SEQ_CST);
    asleep = (int)__atomic_load_n(&p->sleepers, __ATOMIC_SEQ_CST);
    missing = wanted - (p->workers - asleep);
    if (asleep == 0 || missing <= 0) return;
    pthread_mutex_lock(&p->lock);    /* whoever was just falling asleep is asleep now */
    pthread_mutex_unlock(&p->lock);
    if (missing >= asleep) pthread_cond_broadcast(&p->wake);
    else while (missing-- > 0) pthread_cond_signal(&p->wake);
}

static void lsnni_team_run(lsnni_team *p, int helpers, int count,
                           void (*task)(void *user, int i, int worker), void *user)
{
    unsigned s, places = (unsigned)LSNNI_MIN(helpers, p->workers) * LSNNI_PLACE;
    lsnni_team_look(p);
    p->task = task;
    p->user = user;
    p->count = count;
    __atomic_store_n(&p->next, 0u, __ATOMIC_RELAXED);
    __atomic_store_n(&p->state, places, __ATOMIC_RELEASE);
    lsnni_team_call(p, LSNNI_MIN(helpers, p->workers));
    lsnni_team_work(p, 0);
    s = __atomic_fetch_and(&p->state, LSNNI_PLACE - 1u, __ATOMIC_ACQUIRE);
    p->alone = s == places;
    if ((s & LSNNI_INSIDE) == 0) return;
    lsnni_spin(p, &p->state, 0, 1);
    if (__atomic_load_n(&p->state, __ATOMIC_ACQUIRE) == 0) return;
    pthread_mutex_lock(&p->lock);
    __atomic_fetch_or(&p->state, (unsigned)LSNNI_ASLEEP, __ATOMIC_RELAXED);
    while (__atomic_load_n(&p->state, __ATOMIC_ACQUIRE) & LSNNI_INSIDE)
        pthread_cond_wait(&p->left, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

/* ---- Beginning and end ----------------------------------------------------------*/
#ifdef LSNNI_SIGNALS
/* Workers leave signals to the program's own threads: Ctrl-C lands where it is waited for.
   Those that a thread brings upon itself must not be held back, nor a profiler's. */
static void lsnni_team_signals(sigset_t *off)
{
    static const int own[] = {
        SIGSEGV, SIGFPE, SIGILL, SIGABRT,
#ifdef SIGBUS
        SIGBUS,
#endif
#ifdef SIGTRAP
        SIGTRAP,
#endif
#ifdef SIGSYS
        SIGSYS,
#endif
#ifdef SIGPROF
        SIGPROF
#endif
    };
    sigfillset(off);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) sigdelset(off, own[i]);
}
#endif

static int lsnni_team_start(lsnni_team *p)
{
    pthread_attr_t attributes, *how = NULL;
    int n = 0;
#ifdef LSNNI_SIGNALS                 /* without, Linux prefers the main thread anyway */
    sigset_t off, before;
    lsnni_team_signals(&off);
    if (!LSNNI_THREADS_LINKED || lsnni_pthread_sigmask(SIG_SETMASK, &off, &before) != 0) return 0;
#endif
#ifndef __GLIBC__                    /* musl gives 128 KiB, macOS 512: a callback may want more */
    if (pthread_attr_init(&attributes) == 0) {
        how = &attributes;
        pthread_attr_setstacksize(how, (size_t)2 << 20);
    }
#else
    (void)attributes;
#endif
    while (LSNNI_THREADS_LINKED && n < p->asked &&
           lsnni_pthread_create(&p->thread[n], how, lsnni_team_worker, p) == 0) n++;
    if (how) pthread_attr_destroy(how);
#ifdef LSNNI_SIGNALS
    lsnni_pthread_sigmask(SIG_SETMASK, &before, NULL);
#endif
    return n;
}

/* Also in a forked child, on its copy of the parent's team: what had been there is not. */
static void lsnni_team_begin(lsnni_team *p, int workers)
{
    memset(p, 0, sizeof *p);
    p->thread = (pthread_t *)(void *)(p + 1);
    p->process = getpid();
    p->asked = workers;
    p->busy = 1;
    p->spin = workers < lsnni_cores() ? 20 : 0;
    if (pthread_mutex_init(&p->lock, NULL) != 0) return;
    if (pthread_cond_init(&p->wake, NULL) != 0) return;
    if (pthread_cond_init(&p->left, NULL) != 0) return;
    p->ready = 1;
    p->workers = lsnni_team_start(p);
}

static void lsnni_team_end(lsnn_ctx *cx)
{
    lsnni_team *p = cx->team_;
    cx->team_ = NULL;
    if (!p) return;
    if (p->ready && p->process == getpid()) {
        __atomic_store_n(&p->quit, 1, __ATOMIC_RELAXED);
        lsnni_team_call(p, p->workers);
        for (int i = 0; i < p->workers; i++) lsnni_pthread_join(p->thread[i], NULL);
        pthread_cond_destroy(&p->wake);
        pthread_cond_destroy(&p->left);
        pthread_mutex_destroy(&p->lock);
    }
    lsnni_free(cx, p);
}

/* cx's team, taken for one job; NULL: there is none, or a task of its present job asks. A child
   has to begin anew, which nobody coming or all asleep may be a sign of: only then is the
   system asked.                                                              */
static lsnni_team *lsnni_team_take(lsnn_ctx *cx)
{
    int workers = LSNNI_MIN(lsnn_ctx_threads(cx), LSNNI_INSIDE) - 1;
    size_t bytes = sizeof(lsnni_team) + (size_t)workers * sizeof(pthread_t);
    lsnni_team *p = cx->team_;
    if (p && __atomic_exchange_n(&p->busy, 1, __ATOMIC_ACQUIRE)) return NULL;
    if (!p || p->asked < workers) {
        lsnni_team_end(cx);
        p = (lsnni_team *)lsnni_aligned(cx, bytes);
        if (!p) return NULL;
        lsnni_team_begin(p, workers);
        cx->team_ = p;
    } else if ((p->alone || __atomic_load_n(&p->sleepers, __ATOMIC_RELAXED)) &&
               p->process != getpid()) lsnni_team_begin(p, p->asked);
    return p;
}

/* Tasks that are done side by side: 1, unless nobody can help.               */
static int lsnni_divided(lsnn_ctx *cx, int threads, int count,
                         void (*task)(void *user, int i, int worker), void *user)
{
    lsnni_team *p = lsnni_team_take(cx);             /* in a rehearsal, too: a step then    */
    if (!p) return 0;                                /* allocates nothing                   */
    if (!cx->rehearsal_) lsnni_team_run(p, threads - 1, count, task, user);
    __atomic_store_n(&p->busy, 0, __ATOMIC_RELEASE);
    return 1;
}

#elif defined(LSNNI_OPENMP)
LSNN_API int lsnn_ctx_threads(const lsnn_ctx *cx)
{
    return cx->threads > 0 ? cx->threads : omp_get_max_threads();
}

static int lsnni_divided(lsnn_ctx *cx, int threads, int count,
                         void (*task)(void *user, int i, int worker), void *user)
{
    int i;
    if (cx->rehearsal_) return 1;
#ifdef _MSC_VER
    __pragma(omp parallel for num_threads(threads) schedule(dynamic, 1))
#else
    _Pragma("omp parallel for num_threads(threads) schedule(dynamic, 1)")
#endif
    for (i = 0; i < count; i++) task(user, i, omp_get_thread_num());
    return 1;
}

static void lsnni_team_end(lsnn_ctx *cx) { (void)cx; }

#else
LSNN_API int lsnn_ctx_threads(const lsnn_ctx *cx) { (void)cx; return 1; }

static int lsnni_divided(lsnn_ctx *cx, int threads, int count,
                         void (*task)(void *user, int i, int worker), void *user)
{
    (void)cx; (void)threads; (void)count; (void)task; (void)user;
    return 0;
}

static void lsnni_team_end(lsnn_ctx *cx) { (void)cx; }
#endif

LSNN_API void lsnn_parallel(lsnn_ctx *cx, int count,
                            void (*task)(void *user, int i, int worker), void *user)
{
    int threads = LSNNI_MIN(lsnn_ctx_threads(cx), count);
#ifdef _OPENMP
    if (omp_in_parallel()) threads = 1;      /* a region of the caller's own: it has divided */
#endif
    if (threads > 1 && lsnni_divided(cx, threads, count, task, user)) return;
    for (int i = 0; i < count && !cx->rehearsal_; i++) task(user, i, 0);
}

/* Tasks that read or write `numbers` in all, a few operations each: fewer are done before a
   second thread has begun.                                                   */
static void lsnni_parallel_some(lsnn_ctx *cx, size_t numbers, int count,
                                void (*task)(void *user, int i, int worker), void *user)
{
    if (numbers > 30000) lsnn_parallel(cx, count, task, user);
    else for (int i = 0; i < count && !cx->rehearsal_; i++) task(user, i, 0);
}
