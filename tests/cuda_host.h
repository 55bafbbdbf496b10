/* cuda_host.h - CUDA, as far as src/cuda.h needs it, on a processor: where there is no GPU, the
   text of the kernels is run and tested all the same. Include it before lsnn.h.

   - Blocks run one after another in random order, and so do a block's threads, each up to the
     next __syncthreads: what needs a barrier that is not there, or an order of blocks, comes out
     different for another cuda_host.seed. Threads that wait are fibres (ucontext).
   - At a barrier all threads of the block must be, and all at the same one.
   - The device's memory cannot be touched but by kernels and copies: a host that peeks gets a
     SIGSEGV. Blocks of it end where a page begins that nobody may touch, and are full of NaN.
   - Recorded launches (CUDA graphs) keep their arguments, and run when they are repeated.
   - cuda_host.devices, .bytes, .fault: a machine without GPUs, a full memory, a kernel that fails.
   It says nothing of speed, of float rounding by a GPU's own exp, or of memory ordering. */
#ifndef CUDA_HOST_H
#define CUDA_HOST_H
#define LSNN_CUDA_HOST
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#if defined(__SANITIZE_ADDRESS__)
#  include <sanitizer/common_interface_defs.h>
#  define CUDA_HOST_SWITCH(save, stack, size) \
       __sanitizer_start_switch_fiber(save, stack, size)
#  define CUDA_HOST_SWITCHED(save) __sanitizer_finish_switch_fiber(save, NULL, NULL)
#else
#  define CUDA_HOST_SWITCH(save, stack, size) ((void)(save), (void)(stack), (void)(size))
#  define CUDA_HOST_SWITCHED(save) ((void)(save))
#endif

/* ---- CUDA's words ---------------------------------------------------------------------- */
typedef enum cudaError_t { cudaSuccess, cudaErrorMemoryAllocation, cudaErrorNoDevice,
    cudaErrorInsufficientDriver, cudaErrorNoKernelImageForDevice, cudaErrorLaunchFailure,
    cudaErrorInvalidValue } cudaError_t;
typedef enum cublasStatus_t { CUBLAS_STATUS_SUCCESS, CUBLAS_STATUS_INVALID_VALUE } cublasStatus_t;
typedef enum cublasOperation_t { CUBLAS_OP_N, CUBLAS_OP_T } cublasOperation_t;
typedef void *cudaStream_t, *cublasHandle_t;
typedef struct cuda_host_graph *cudaGraph_t, *cudaGraphExec_t;
enum { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaStreamNonBlocking,
       cudaStreamCaptureModeThreadLocal };
static struct { unsigned x; } threadIdx, blockIdx;

#define LSNNI_KERNEL(name, type)                                                           \
    static void name##_thread(const type a);                                               \
    static void name(const void *arguments)                                                \
    {                                                                                      \
        type a;                                                                            \
        memcpy(&a, arguments, sizeof a);                                                   \
        name##_thread(a);                                                                  \
    }                                                                                      \
    static void name##_thread(const type a)
#define LSNNI_RUN(kernel, blocks, threads, stream, a)                                      \
    cuda_host_launch(kernel, #kernel, (size_t)(blocks), (int)(threads), &(a), sizeof(a))
#define LSNNI_BLAS_ROOM 4096
#define LSNNI_SHARED static          /* one block at a time                               */
#define LSNNI_DEVICE_ONLY static inline
#define __syncthreads() cuda_host_barrier(__FILE__, __LINE__)

/* ---- What a test sets and reads ---------------------------------------------------------- */
static struct {
    uint64_t seed;                   /* of the order of blocks and threads                */
    int devices;                     /* GPUs of this machine                              */
    size_t bytes;                    /* memory of each; 0: plenty                         */
    int fault;                       /* 1: the next kernel fails, and all after it        */
    long launches, barriers, recorded, repeated, live;
    size_t used;
} cuda_host = { 1, 1, 0, 0, 0, 0, 0, 0, 0, 0 };

static void cuda_host_die(const char *what, const char *where, int line)
{
    fflush(stdout);
    fprintf(stderr, "not ok - cuda_host: %s (%s:%d)\n", what, where, line);
    abort();
}

static uint64_t cuda_host_random(void)                       /* xorshift64* */
{
    static uint64_t seen, state;
    if (seen != cuda_host.seed || !state) state = (seen = cuda_host.seed) * 0x9E3779B97F4A7C15u + 1;
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545F4914F6CDD1Du;
}

/* ---- Memory ------------------------------------------------------------------------------ */
enum { CUDA_HOST_BLOCKS = 256 };
static struct { char *map, *block; size_t map_size, size; } cuda_host_block[CUDA_HOST_BLOCKS];
static int cuda_host_open;           /* kernels and copies at work                        */

static void cuda_host_protect(int open)
{
    cuda_host_open += open ? 1 : -1;
    if (cuda_host_open > 1 || (open ? cuda_host_open != 1 : cuda_host_open != 0)) return;
    for (int i = 0; i < CUDA_HOST_BLOCKS; i++)
        if (cuda_host_block[i].map)
            mprotect(cuda_host_block[i].map, cuda_host_block[i].map_size,
                     open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

static cudaError_t cudaMalloc(void **place, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), map_size = (size + page - 1) / page * page;
    int i = 0;
    char *map;
    if (cuda_host.bytes && cuda_host.used + size > cuda_host.bytes)
        return cudaErrorMemoryAllocation;
    while (i < CUDA_HOST_BLOCKS && cuda_host_block[i].map) i++;
    if (i == CUDA_HOST_BLOCKS) return cudaErrorMemoryAllocation;
    map = (char *)mmap(NULL, map_size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                       -1, 0);
    if (map == MAP_FAILED) return cudaErrorMemoryAllocation;
    memset(map, 0xFF, map_size);
    mprotect(map + map_size, page, PROT_NONE);
    mprotect(map, map_size, PROT_NONE);
    cuda_host_block[i].map = map;
    cuda_host_block[i].map_size = map_size;
    cuda_host_block[i].size = size;
    *place = cuda_host_block[i].block = map + (map_size - size) / 16 * 16;
    cuda_host.used += size;
    cuda_host.live++;
    return cudaSuccess;
}

static cudaError_t cudaFree(void *block)
{
    for (int i = 0; block && i < CUDA_HOST_BLOCKS; i++)
        if (cuda_host_block[i].block == block) {
            munmap(cuda_host_block[i].map, cuda_host_block[i].map_size +
                   (size_t)sysconf(_SC_PAGESIZE));
            cuda_host.used -= cuda_host_block[i].size;
            cuda_host.live--;
            memset(&cuda_host_block[i], 0, sizeof cuda_host_block[i]);
            return cudaSuccess;
        }
    if (block) cuda_host_die("cudaFree of what is no block", "", 0);
    return cudaSuccess;
}

/* All of [p, p + size) must lie in one block of the device's memory.                      */
static void cuda_host_is_device(const void *p, size_t size, const char *who)
{
    uintptr_t at = (uintptr_t)p;
    for (int i = 0; i < CUDA_HOST_BLOCKS; i++) {
        uintptr_t first = (uintptr_t)cuda_host_block[i].block;
        if (cuda_host_block[i].block && at >= first &&
            at + size <= first + cuda_host_block[i].size) return;
    }
    cuda_host_die("not the device's memory", who, 0);
}

/* ---- Blocks and threads -------------------------------------------------------------------- */
enum { CUDA_HOST_THREADS = 1024, CUDA_HOST_STACK = 256 * 1024 };
/* From one stack to another. swapcontext asks the system twice each time, which is most of such a
   test's time; so where this knows the processor, it does it by itself.                   */
#if defined(__x86_64__) && defined(__ELF__)
typedef void *cuda_host_place;       /* the stack's top: registers, and where to go on    */
void cuda_host_switch(cuda_host_place *from, const cuda_host_place *to);
__asm__(".text\n.globl cuda_host_switch\n.type cuda_host_switch,@function\ncuda_host_switch:\n"
        "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "mov %rsp, (%rdi)\nmov (%rsi), %rsp\n"
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n"
        ".size cuda_host_switch, . - cuda_host_switch\n");
static void cuda_host_begin(cuda_host_place *p, char *stack, size_t size, void (*main)(void))
{
    void **top = (void **)(void *)(stack + size - 64);
    memset(top, 0, 64);
    memcpy(&top[6], &main, sizeof main);                     /* top[0] to [5]: registers  */
    *p = top;
}
#else
typedef ucontext_t cuda_host_place;
static void cuda_host_switch(cuda_host_place *from, const cuda_host_place *to)
{
    swapcontext(from, to);
}
static void cuda_host_begin(cuda_host_place *p, char *stack, size_t size, void (*main)(void))
{
    getcontext(p);
    p->uc_stack.ss_sp = stack;
    p->uc_stack.ss_size = size;
    p->uc_link = NULL;
    makecontext(p, main, 0);
}
#endif

typedef struct cuda_host_fibre {
    cuda_host_place at;              /* where it waits                                    */
    char *stack;
    unsigned thread;                 /* that it runs, or that waits in it                 */
    void *fake;                      /* AddressSanitizer's                                */
} cuda_host_fibre;
static struct {
    void (*kernel)(const void *arguments);
    const void *arguments;
    const char *name;
    int threads, next, finished, waiting, held, line;
    unsigned order[CUDA_HOST_THREADS];
    cuda_host_fibre *fibre[CUDA_HOST_THREADS + 1], *wait[CUDA_HOST_THREADS], *now;
    int fibres, idle;                /* made; of those, the first `idle` do nothing       */
    cuda_host_place scheduler;
    void *fake;
    const void *stack;               /* the scheduler's                                   */
    size_t stack_size;
} cuda_host_run;

/* Back to the scheduler, until it resumes this fibre.                                      */
static void cuda_host_yield(cuda_host_fibre *f)
{
    CUDA_HOST_SWITCH(&f->fake, cuda_host_run.stack, cuda_host_run.stack_size);
    cuda_host_switch(&f->at, &cuda_host_run.scheduler);
}

/* A fibre runs threads until none is left to begin; one that waits gives way to another fibre. */
static void cuda_host_fibre_main(void)
{
    for (;;) {
#if defined(__SANITIZE_ADDRESS__)
        __sanitizer_finish_switch_fiber(cuda_host_run.now->fake, &cuda_host_run.stack,
                                        &cuda_host_run.stack_size);
#endif
        while (cuda_host_run.next < cuda_host_run.threads) {
            cuda_host_fibre *f = cuda_host_run.now;
            f->thread = threadIdx.x = cuda_host_run.order[cuda_host_run.next++];
            cuda_host_run.kernel(cuda_host_run.arguments);
            cuda_host_run.finished++;
        }
        cuda_host_run.fibre[cuda_host_run.idle++] = cuda_host_run.now;
        cuda_host_yield(cuda_host_run.now);
    }
}

static void cuda_host_resume(cuda_host_fibre *f)
{
    cuda_host_run.now = f;
    threadIdx.x = f->thread;
    CUDA_HOST_SWITCH(&cuda_host_run.fake, f->stack, CUDA_HOST_STACK);
    cuda_host_switch(&cuda_host_run.scheduler, &f->at);
    CUDA_HOST_SWITCHED(cuda_host_run.fake);
}

static void cuda_host_barrier(const char *file, int line)
{
    cuda_host_fibre *f = cuda_host_run.now;
    (void)file;
    if (cuda_host_run.waiting && cuda_host_run.line != line)
        cuda_host_die("threads wait at two barriers", cuda_host_run.name, line);
    cuda_host_run.line = line;
    cuda_host_run.wait[cuda_host_run.waiting++] = f;
    cuda_host_yield(f);
    CUDA_HOST_SWITCHED(cuda_host_run.now->fake);
}

static cuda_host_fibre *cuda_host_idle(void)
{
    cuda_host_fibre *f;
    if (cuda_host_run.idle) return cuda_host_run.fibre[--cuda_host_run.idle];
    f = (cuda_host_fibre *)calloc(1, sizeof *f);
    f->stack = (char *)mmap(NULL, CUDA_HOST_STACK, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cuda_host_begin(&f->at, f->stack, CUDA_HOST_STACK, cuda_host_fibre_main);
    return f;
}

static void cuda_host_one_block(void)
{
    int n = cuda_host_run.threads;
    for (int i = 0; i < n; i++) {
        int j = (int)(cuda_host_random() % (uint64_t)(i + 1));
        cuda_host_run.order[i] = cuda_host_run.order[j];
        cuda_host_run.order[j] = (unsigned)i;
    }
    cuda_host_run.next = cuda_host_run.finished = cuda_host_run.waiting = 0;
    while (cuda_host_run.next < n) cuda_host_resume(cuda_host_idle());
    while (cuda_host_run.waiting) {
        int held = cuda_host_run.waiting;
        cuda_host_fibre *wait[CUDA_HOST_THREADS];
        if (cuda_host_run.finished)
            cuda_host_die("some threads have ended, others wait", cuda_host_run.name,
                          cuda_host_run.line);
        for (int i = 0; i < held; i++) {
            int j = (int)(cuda_host_random() % (uint64_t)(i + 1));
            wait[i] = wait[j];
            wait[j] = cuda_host_run.wait[i];
        }
        cuda_host_run.waiting = 0;
        cuda_host.barriers++;
        for (int i = 0; i < held; i++) cuda_host_resume(wait[i]);
    }
}

/* ---- Launches, at once or recorded ---------------------------------------------------------- */
typedef struct cuda_host_call {
    int what;                        /* 0: kernel, 1: memset, 2: product                  */
    void (*kernel)(const void *arguments);
    const char *name;
    size_t blocks, bytes;
    int threads, m, n, k, turn_a, turn_b, lda, ldb, ldc;
    double alpha, beta;
    const void *a, *b;
    void *c, *arguments;
    int wide;                        /* 1: doubles                                        */
    struct cuda_host_call *after;
} cuda_host_call;
struct cuda_host_graph { cuda_host_call *first, *last; int users; };
static struct cuda_host_graph *cuda_host_recording;

static double cuda_host_at(const void *v, int wide, size_t i)
{
    return wide ? ((const double *)v)[i] : (double)((const float *)v)[i];
}

static void cuda_host_product(const cuda_host_call *c)        /* columns are contiguous */
{
    for (int j = 0; j < c->n; j++)
        for (int i = 0; i < c->m; i++) {
            size_t at = (size_t)i + (size_t)j * (size_t)c->ldc;
            double sum = 0;
            for (int l = 0; l < c->k; l++) {
                size_t p = c->turn_a ? (size_t)l + (size_t)i * (size_t)c->lda
                                     : (size_t)i + (size_t)l * (size_t)c->lda;
                size_t q = c->turn_b ? (size_t)j + (size_t)l * (size_t)c->ldb
                                     : (size_t)l + (size_t)j * (size_t)c->ldb;
                sum += cuda_host_at(c->a, c->wide, p) * cuda_host_at(c->b, c->wide, q);
            }
            sum *= c->alpha;
            if (c->beta > 0 || c->beta < 0) sum += c->beta * cuda_host_at(c->c, c->wide, at);
            if (c->wide) ((double *)c->c)[at] = sum;
            else ((float *)c->c)[at] = (float)sum;
        }
}

static void cuda_host_perform(const cuda_host_call *c)
{
    size_t step, first;
    cuda_host.launches++;
    if (cuda_host.fault) return;
    cuda_host_protect(1);
    if (c->what == 1) memset(c->c, 0, c->bytes);
    if (c->what == 2) cuda_host_product(c);
    if (c->what == 0) {
        cuda_host_run.kernel = c->kernel;
        cuda_host_run.name = c->name;
        cuda_host_run.arguments = c->arguments;
        cuda_host_run.threads = c->threads;
        first = cuda_host_random() % c->blocks;
        step = 1 + cuda_host_random() % c->blocks;           /* prime to the count: all come */
        for (size_t x = step, y = c->blocks, r; ; x = ++step, y = c->blocks) {
            while (y) { r = x % y; x = y; y = r; }
            if (x == 1) break;
        }
        for (size_t i = 0; i < c->blocks; i++) {
            blockIdx.x = (unsigned)((first + i * step) % c->blocks);
            cuda_host_one_block();
        }
    }
    cuda_host_protect(0);
}

/* Performs a call, or keeps it if a record is being made.                                  */
static void cuda_host_take(cuda_host_call *c)
{
    cuda_host_call *kept;
    if (!cuda_host_recording) {
        cuda_host_perform(c);
        return;
    }
    kept = (cuda_host_call *)malloc(sizeof *kept);
    *kept = *c;
    if (c->what == 0) {
        kept->arguments = malloc(c->bytes);
        memcpy(kept->arguments, c->arguments, c->bytes);
    }
    kept->after = NULL;
    if (cuda_host_recording->last) cuda_host_recording->last->after = kept;
    else cuda_host_recording->first = kept;
    cuda_host_recording->last = kept;
    cuda_host.recorded++;
}

static void cuda_host_launch(void (*kernel)(const void *), const char *name, size_t blocks,
                             int threads, void *arguments, size_t bytes)
{
    cuda_host_call c;
    memset(&c, 0, sizeof c);
    if (!blocks || threads < 1 || threads > CUDA_HOST_THREADS || blocks > 0x7FFFFFFF ||
        bytes > 4096)
        cuda_host_die("no such launch", name, (int)blocks);
    c.kernel = kernel;
    c.name = name;
    c.blocks = blocks;
    c.threads = threads;
    c.arguments = arguments;
    c.bytes = bytes;
    cuda_host_take(&c);
}

/* ---- The rest of CUDA ------------------------------------------------------------------------ */
static cudaError_t cudaGetLastError(void) { return cudaSuccess; }
static const char *cudaGetErrorString(cudaError_t e)
{
    static const char *const text[] = { "no error", "out of memory", "no CUDA-capable device is "
        "detected", "CUDA driver version is insufficient", "no kernel image", "unspecified launch "
        "failure", "invalid argument" };
    return text[e];
}
static cudaError_t cudaGetDeviceCount(int *count)
{
    *count = cuda_host.devices;
    return *count ? cudaSuccess : cudaErrorNoDevice;
}
static cudaError_t cudaSetDevice(int number)
{
    return number < cuda_host.devices ? cudaSuccess : cudaErrorInvalidValue;
}
static cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, int flags)
{
    (void)flags;
    *s = malloc(1);
    return cudaSuccess;
}
static cudaError_t cudaStreamDestroy(cudaStream_t s) { free(s); return cudaSuccess; }
static cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    (void)s;
    return cuda_host.fault ? cudaErrorLaunchFailure : cudaSuccess;
}
static cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, int kind,
                                   cudaStream_t s)
{
    (void)s;
    if (cuda_host_recording) cuda_host_die("a copy in a record", "cudaMemcpyAsync", kind);
    cuda_host_is_device(kind == cudaMemcpyHostToDevice ? to : from, bytes, "cudaMemcpyAsync");
    cuda_host_protect(1);
    memcpy(to, from, bytes);
    cuda_host_protect(0);
    return cudaSuccess;
}
static cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t s)
{
    cuda_host_call c;
    (void)s; (void)value;
    cuda_host_is_device(to, bytes, "cudaMemsetAsync");
    memset(&c, 0, sizeof c);
    c.what = 1;
    c.c = to;
    c.bytes = bytes;
    cuda_host_take(&c);
    return cudaSuccess;
}
static cudaError_t cudaStreamBeginCapture(cudaStream_t s, int mode)
{
    (void)s; (void)mode;
    cuda_host_recording = (struct cuda_host_graph *)calloc(1, sizeof *cuda_host_recording);
    return cudaSuccess;
}
static cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *graph)
{
    (void)s;
    *graph = cuda_host_recording;
    (*graph)->users = 1;
    cuda_host_recording = NULL;
    return cudaSuccess;
}
static cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *ready, cudaGraph_t graph,
                                                 unsigned long long flags)
{
    (void)flags;
    *ready = graph;
    graph->users++;
    return cudaSuccess;
}
static cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    if (--graph->users) return cudaSuccess;
    for (cuda_host_call *c = graph->first, *after; c; c = after) {
        after = c->after;
        if (c->what == 0) free(c->arguments);
        free(c);
    }
    free(graph);
    return cudaSuccess;
}
static cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) { return cudaGraphDestroy(graph); }
static cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t s)
{
    (void)s;
    cuda_host.repeated++;
    for (cuda_host_call *c = graph->first; c; c = c->after) cuda_host_perform(c);
    return cudaSuccess;
}

static cublasStatus_t cublasCreate(cublasHandle_t *h)
{
    *h = malloc(1);
    return CUBLAS_STATUS_SUCCESS;
}
static cublasStatus_t cublasDestroy(cublasHandle_t h) { free(h); return CUBLAS_STATUS_SUCCESS; }
static cublasStatus_t cublasSetStream(cublasHandle_t h, cudaStream_t s)
{
    return h && s ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}
static cublasStatus_t cublasSetWorkspace(cublasHandle_t h, void *room, size_t bytes)
{
    cuda_host_is_device(room, bytes, "cublasSetWorkspace");
    return h ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}
static cublasStatus_t cuda_host_gemm(int wide, cublasOperation_t turn_a, cublasOperation_t turn_b,
                                     int m, int n, int k, double alpha, const void *a, int lda,
                                     const void *b, int ldb, double beta, void *c, int ldc)
{
    cuda_host_call call;
    if (lda < (turn_a ? k : m) || ldb < (turn_b ? n : k) || ldc < m)
        return CUBLAS_STATUS_INVALID_VALUE;
    memset(&call, 0, sizeof call);
    call.what = 2;
    call.wide = wide;
    call.turn_a = turn_a == CUBLAS_OP_T; call.turn_b = turn_b == CUBLAS_OP_T;
    call.m = m; call.n = n; call.k = k;
    call.lda = lda; call.ldb = ldb; call.ldc = ldc;
    call.alpha = alpha; call.beta = beta;
    call.a = a; call.b = b; call.c = c;
    cuda_host_take(&call);
    return CUBLAS_STATUS_SUCCESS;
}
#define cublasSgemm(h, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)               \
    ((void)(h), cuda_host_gemm(0, ta, tb, m, n, k, (double)*(alpha), a, lda, b, ldb,       \
                               (double)*(beta), c, ldc))
#define cublasDgemm(h, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)               \
    ((void)(h), cuda_host_gemm(1, ta, tb, m, n, k, *(alpha), a, lda, b, ldb, *(beta), c, ldc))
#endif
