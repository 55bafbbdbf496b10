/* ============================================================================
   >>implementation
   ==========================================================================*/
#if defined(LSNN_IMPLEMENTATION) && !defined(_MSC_VER) &&                                  \
    (defined(__cplusplus) ? __cplusplus < 201103L :                                        \
     !defined(__STDC_VERSION__) || __STDC_VERSION__ < 199901L)
#error "lsnn: LSNN_IMPLEMENTATION needs C99 or C++11: compile that file with -std=c99 or -std=c++11"
#undef LSNN_IMPLEMENTATION           /* one message, not a thousand           */
#endif

#include "both.h"
#include "device.h"

#if defined(LSNN_IMPLEMENTATION) && !defined(LSNNI_CORE)
#define LSNNI_CORE

#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
#error "lsnn: build without -ffast-math and -Ofast: infinities and NaN must keep their meaning"
#endif

#include <errno.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef LSNN_USE_CBLAS
#if defined(LSNN_CBLAS_H)
#include LSNN_CBLAS_H
#elif defined(__APPLE__)
#include <Accelerate/Accelerate.h>  /* build with -DACCELERATE_NEW_LAPACK */
#else
#include <cblas.h>                  /* OpenBLAS, BLIS, Netlib */
#endif
#endif
#ifdef LSNN_USE_MPI
#define OMPI_SKIP_MPICXX             /* its C++ classes, and MPICH's: not needed */
#define MPICH_SKIP_MPICXX
#include <mpi.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif
/* Who divides loops, see >>threads.                                          */
#if defined(LSNN_NO_THREADS)
#elif defined(LSNN_USE_OPENMP) && !defined(_OPENMP)
#error "lsnn: LSNN_USE_OPENMP needs -fopenmp (MSVC: /openmp)"
#elif !defined(LSNN_USE_OPENMP) && defined(__GNUC__) && (defined(__unix__) || defined(__APPLE__))
#define LSNNI_TEAM
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#ifdef __linux__
#include <sys/resource.h>
#endif
#elif defined(_OPENMP)
#define LSNNI_OPENMP
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <sys/time.h>
#include <unistd.h>
#endif

#if defined(__GNUC__)
#  define LSNNI_NOINLINE __attribute__((noinline))
#  define LSNNI_FETCH_TO_READ(p) __builtin_prefetch(p)
#  define LSNNI_FETCH_TO_WRITE(p) __builtin_prefetch(p, 1)
#else
#  define LSNNI_NOINLINE
#  define LSNNI_FETCH_TO_READ(p) ((void)(p))
#  define LSNNI_FETCH_TO_WRITE(p) ((void)(p))
#endif
#if defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__)
#  if __GNUC__ >= 8
#    define LSNNI_UNROLL _Pragma("GCC unroll 16")
#  else
#    define LSNNI_UNROLL
#  endif
#  ifdef __OPTIMIZE__
#    define LSNNI_CALM 1             /* see below: compile in half of the time */
#  endif
#else
#  define LSNNI_UNROLL
#endif

/* ---- >>errors --------------------------------------------------------------*/
LSNN_API const char *lsnn_status_text(lsnn_status s)
{
    switch (s) {
#define LSNN_STATUS_CASE(name, code, text) case LSNN_##name: return text;
    LSNN_STATUS_LIST(LSNN_STATUS_CASE)
#undef LSNN_STATUS_CASE
    default: return "unknown status";
    }
}

/* A line to whoever listens.                                                 */
static void lsnni_say(lsnn_ctx *cx, const char *text)
{
    if (cx->log_fn) cx->log_fn(text, cx->log_user);
    else if (cx->rank > 0) fprintf(stderr, "lsnn: rank %d: %s\n", cx->rank, text);
    else fprintf(stderr, "lsnn: %s\n", text);
}

/* Logs a failure and returns s, so that a caller can write `return lsnni_fail(...)`. The context
   keeps the first: what comes later is often a consequence, but not always, so that is logged
   too. The message: function or layer, values, hint.                         */
static lsnn_status lsnni_fail_list(lsnn_ctx *cx, lsnn_status s, const char *format,
                                   va_list list)
{
    char text[sizeof cx->message];
    int used = 0;
    if (cx->where_) used = snprintf(text, sizeof text, "layer '%.80s': ", cx->where_);
    vsnprintf(text + used, sizeof text - (size_t)used, format, list);
    for (char *c = text; *c; c++)                        /* names may be from a file */
        if ((unsigned char)*c < 32 || *c == 127) *c = '?';
    cx->last_ = s;
    cx->failures_++;
    if (cx->status == LSNN_OK) {
        cx->status = s;
        memcpy(cx->message, text, sizeof text);
    }
    if (cx->rank == 0 || !cx->together_) lsnni_say(cx, text);        /* see >>ranks */
    return s;
}

LSNNI_PRINTF(3, 4)
static lsnn_status lsnni_fail(lsnn_ctx *cx, lsnn_status s, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    lsnni_fail_list(cx, s, format, list);
    va_end(list);
    return s;
}

LSNN_API lsnn_status lsnn_fail(lsnn_ctx *cx, lsnn_status s, const char *format, ...)
{
    va_list list;
    if (s == LSNN_OK) s = LSNN_EVALUE;                   /* no failure has no status */
    va_start(list, format);
    lsnni_fail_list(cx, s, format, list);
    va_end(list);
    return s;
}

LSNN_API void lsnn_clear(lsnn_ctx *cx)
{
    cx->status = LSNN_OK;
    cx->message[0] = 0;
}

/* ---- >>clock --------------------------------------------------------------------*/
/* Seconds of the wall, not of the processor: threads would add up.           */
static double lsnni_seconds(void)
{
#if defined(CLOCK_MONOTONIC)
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
#elif defined(LSNNI_OPENMP)
    return omp_get_wtime();
#elif defined(__unix__) || defined(__APPLE__)        /* -std=c99 hides the one above */
    struct timeval t;
    gettimeofday(&t, NULL);
    return (double)t.tv_sec + 1e-6 * (double)t.tv_usec;
#else
    return (double)clock() / CLOCKS_PER_SEC;         /* Windows: of the wall */
#endif
}

/* ---- >>memory: aligned blocks from the context's allocator -------------------*/
enum { LSNNI_ALIGN = 64 };           /* a cache line, and the widest vector   */

/* One rule for the size of anything that will be allocated: it is computed by these two, which
   stop at LSNNI_TOO_LARGE, half of what a size_t holds. So a sum or a product that does not
   fit (on 32 bits: 4 GB) is never a small number, and the allocation below refuses it. */
#define LSNNI_TOO_LARGE ((size_t)-1 / 2)
static size_t lsnni_times(size_t a, size_t b)
{
    return b && a > LSNNI_TOO_LARGE / b ? LSNNI_TOO_LARGE : a * b;
}
static size_t lsnni_plus(size_t a, size_t b)
{
    return a >= LSNNI_TOO_LARGE || b >= LSNNI_TOO_LARGE - a ? LSNNI_TOO_LARGE : a + b;
}

/* count rounded up to whole vectors.                                         */
static size_t lsnni_whole_vectors(size_t count) { return lsnni_plus(count, 15) / 16 * 16; }

/* *product *= factor; 0 if it is too large.                                  */
static int lsnni_mul(size_t *product, size_t factor)
{
    *product = lsnni_times(*product, factor);
    return *product < LSNNI_TOO_LARGE;
}

/* Aligned, whatever the allocator returns. NULL: refused, which nobody is told. */
static void *lsnni_aligned(lsnn_ctx *cx, size_t bytes)
{
    size_t pad = LSNNI_ALIGN + sizeof(void *);
    char *raw, *block;
    if (bytes >= LSNNI_TOO_LARGE - pad) return NULL;
    raw = (char *)(cx->mem.alloc_fn ? cx->mem.alloc_fn(bytes + pad, cx->mem.user)
                                    : malloc(bytes + pad));
    if (!raw) return NULL;
    block = raw + pad - ((uintptr_t)raw + pad) % LSNNI_ALIGN;
    memcpy(block - sizeof raw, &raw, sizeof raw);    /* lsnni_free finds it there */
    return block;
}

/* count * size bytes, aligned. NULL: ENOMEM is recorded, with their purpose.     */
static void *lsnni_alloc_raw(lsnn_ctx *cx, size_t count, size_t size, const char *purpose)
{
    size_t bytes = lsnni_times(count, size), pad = LSNNI_ALIGN + sizeof(void *);
    void *block = lsnni_aligned(cx, bytes);
    if (block) return block;
    if (bytes >= LSNNI_TOO_LARGE - pad)
        lsnni_fail(cx, LSNN_ENOMEM, "%.0f x %.0f bytes do not fit into this machine's memory%s",
                   (double)count, (double)size, purpose);
    else
        lsnni_fail(cx, LSNN_ENOMEM, "the allocator refused %.0f bytes%s", (double)(bytes + pad),
                   purpose);
    return NULL;
}

/* The same, zeroed. purpose: ", for ..." of a large block, so that the message says what to make
   smaller.                                                                   */
static void *lsnni_alloc_for(lsnn_ctx *cx, size_t count, size_t size, const char *purpose)
{
    void *block = lsnni_alloc_raw(cx, count, size, purpose);
    return block ? memset(block, 0, count * size) : NULL;
}
static void *lsnni_alloc(lsnn_ctx *cx, size_t count, size_t size)
{
    return lsnni_alloc_for(cx, count, size, "");
}

static void lsnni_free_by(const lsnn_allocator *mem, void *block)
{
    char *raw;
    if (!block) return;
    memcpy(&raw, (char *)block - sizeof raw, sizeof raw);
    if (mem->free_fn) mem->free_fn(raw, mem->user);
    else free(raw);
}
static void lsnni_free(lsnn_ctx *cx, void *block) { lsnni_free_by(&cx->mem, block); }

static char *lsnni_strdup(lsnn_ctx *cx, const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = (char *)lsnni_alloc(cx, n, 1);
    if (copy) memcpy(copy, text, n);
    return copy;
}

/* Working memory for one op call, filled with anything. It grows and is never given
   back before lsnn_ctx_free, so a training step allocates nothing.           */
static void *lsnni_scratch(lsnn_ctx *cx, size_t count, size_t size)
{
    size_t bytes = lsnni_times(count, size);
    if (bytes <= cx->scratch_bytes_ && cx->scratch_) return cx->scratch_;
    lsnni_free(cx, cx->scratch_);
    cx->scratch_bytes_ = 0;
    cx->scratch_ = lsnni_alloc_raw(cx, count, size, ", to work in");
    if (cx->scratch_) cx->scratch_bytes_ = bytes;
    return cx->scratch_;
}

#include "parallel.h"
#include "ranks.h"

LSNN_API void lsnn_ctx_free(lsnn_ctx *cx)
{
    lsnn_ranks_end(cx);
    lsnni_team_end(cx);
    lsnni_free(cx, cx->scratch_);
    cx->scratch_ = NULL;
    cx->scratch_bytes_ = 0;
}

/* ---- >>random: draws by their address (>>philox) --------------------------------*/
/* FNV-1a over the text and its end mark.                                     */
static uint32_t lsnni_hash(uint32_t h, const char *text)
{
    do { h = (h ^ (unsigned char)*text) * 16777619u; } while (*text++);
    return h;
}

LSNN_API lsnn_rng lsnn_rng_at(uint64_t seed, const char *purpose, const char *name,
                              uint32_t step, uint32_t sample)
{
    lsnn_rng r;
    memset(&r, 0, sizeof r);
    r.key[0] = (uint32_t)seed;
    r.key[1] = (uint32_t)(seed >> 32);
    r.stream = lsnni_hash(lsnni_hash(2166136261u, purpose), name);
    r.step = step;
    r.sample = sample;
    return r;
}

LSNN_API uint32_t lsnn_rng_u32(lsnn_rng *r)        /* Philox gives four at a time */
{
    uint32_t e = r->element++, counter[4];
    counter[0] = e >> 2;
    counter[1] = r->sample;
    counter[2] = r->step;
    counter[3] = r->stream;
    if ((e & 3) == 0 || r->held_ != counter[0] + 1) lsnni_philox(r->key, counter, r->block_);
    r->held_ = counter[0] + 1;
    return r->block_[e & 3];
}

LSNN_API double lsnn_rng_uniform(lsnn_rng *r)
{
    return (double)lsnn_rng_u32(r) * (1.0 / 4294967296.0);
}

LSNN_API double lsnn_rng_normal(lsnn_rng *r)       /* Box and Muller           */
{
    double u = ((double)lsnn_rng_u32(r) + 1.0) * (1.0 / 4294967296.0);    /* (0, 1] */
    double v = lsnn_rng_uniform(r);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

LSNN_API int lsnn_rng_int(lsnn_rng *r, int n)      /* Lemire 2019: no modulo bias */
{
    uint32_t m = n > 0 ? (uint32_t)n : 1, low = (0u - m) % m;
    for (;;) {
        uint64_t product = (uint64_t)lsnn_rng_u32(r) * m;
        if ((uint32_t)product >= low) return (int)(product >> 32);
    }
}

LSNN_API void lsnn_rng_permutation(lsnn_rng *r, int *order, int n)
{
    for (int i = 0; i < n; i++) {
        int j = lsnn_rng_int(r, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}

/* ---- >>room: how an op asks for its working memory -----------------------------
   It adds up what it needs, takes one scratch block, and cuts it in the same order. */
static size_t lsnni_room(size_t count, size_t size)
{
    size_t bytes = lsnni_times(count, size);
    if (bytes > LSNNI_TOO_LARGE - LSNNI_ALIGN) return LSNNI_TOO_LARGE;
    return (bytes + LSNNI_ALIGN - 1) / LSNNI_ALIGN * LSNNI_ALIGN;
}
static size_t lsnni_room_add(size_t a, size_t b) { return lsnni_plus(a, b); }
static size_t lsnni_room_times(size_t a, int n) { return lsnni_times(a, (size_t)n); }
static void *lsnni_cut(char **at, size_t count, size_t size)
{
    void *piece = *at;
    *at += (count * size + LSNNI_ALIGN - 1) / LSNNI_ALIGN * LSNNI_ALIGN;
    return piece;
}

/* The same as a list, taken once: each want names a pointer, and gets so many of what it
   points to. place is the pointer's address, written by memcpy whatever its type. */
typedef struct lsnni_want { void *place; size_t count, size; } lsnni_want;

static void lsnni_want_add(lsnni_want **list, void *place, size_t count, size_t size)
{
    (*list)->place = place;
    (*list)->count = count;
    (*list)++->size = size;
}
#define LSNNI_WANT(list, pointer, count)                                                   \
    lsnni_want_add(list, &(pointer), count, sizeof *(pointer))

/* The wants from `first` up to `end`, in one scratch block.                   */
static lsnn_status lsnni_take(lsnn_ctx *cx, const lsnni_want *first, const lsnni_want *end)
{
    size_t bytes = 0;
    char *at;
    for (const lsnni_want *w = first; w < end; w++)
        bytes = lsnni_room_add(bytes, lsnni_room(w->count, w->size));
    at = (char *)lsnni_scratch(cx, bytes, 1);
    if (!at) return LSNN_ENOMEM;
    for (const lsnni_want *w = first; w < end; w++) {
        void *piece = lsnni_cut(&at, w->count, w->size);
        memcpy(w->place, &piece, sizeof piece);
    }
    return LSNN_OK;
}

static int lsnni_round_up(int n, int to) { return (n + to - 1) / to * to; }

/* ESHAPE unless all `count` sizes are positive and their product is an index. who names them. */
static lsnn_status lsnni_sizes(lsnn_ctx *cx, const char *who, int count, const int *size)
{
    double product = 1;
    for (int i = 0; i < count; i++) {
        if (size[i] < 1)
            return lsnni_fail(cx, LSNN_ESHAPE, "%s: size %d is %d, it must be positive", who,
                              i + 1, size[i]);
        product *= size[i];
    }
    if (product >= (double)PTRDIFF_MAX / (double)sizeof(lsnn_real))
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: an array of %.3g numbers is too large", who,
                          product);
    return LSNN_OK;
}

static lsnn_status lsnni_sizes3(lsnn_ctx *cx, const char *who, int a, int b, int c)
{
    int size[3];
    size[0] = a; size[1] = b; size[2] = c;
    return lsnni_sizes(cx, who, 3, size);
}

#endif /* LSNNI_CORE */
