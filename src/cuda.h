#if defined(LSNNI_CUDA_CODE) && !defined(LSNNI_CUDA_DONE) && !defined(LSNNI_KERNEL_PASS)
#define LSNNI_CUDA_DONE
/* ============================================================================
   >>cuda  the device part: all that calls CUDA, and the layers' kernels
   Only with LSNN_USE_CUDA (see >>device), and only what nvcc reads. A layer's device pair stands
   in the file of its name (cuda/conv2d.h beside ops/conv2d.h), with the same formula, since
   another compiler than the program's may read it: each file of these by itself is one layer.

   How a pair is written:
   - A kernel is what one thread does; its loops are the naive pair's without those that became
     threads. It has one argument, a struct, called a. Blocks have LSNNI_THREADS threads.
   - Each number is written by one thread, which sums in a fixed order: no atomics, so that two
     runs have the same bits. Where a sum is long, a block shares it (lsnni_block_sum).
   - A pair launches the same for the same call: see lsnn_now.
   - It works on the device's memory, and waits for nothing.

   tests/cuda_host.h stands in for CUDA where there is none: LSNN_CUDA_HOST.   */
#ifndef LSNN_CUDA_HOST
#include <cublas_v2.h>
#include <cuda_runtime.h>
#define LSNNI_KERNEL(name, type) static __global__ void name(const type a)
#define LSNNI_RUN(kernel, blocks, threads, stream, a)                                      \
    kernel<<<(unsigned)(blocks), (unsigned)(threads), 0, (cudaStream_t)(stream)>>>(a)
#define LSNNI_SHARED __shared__
#define LSNNI_DEVICE_ONLY static __device__ inline
#endif
enum { LSNNI_THREADS = 256 };        /* of a block: a power of two            */

/* ---- Failures: CUDA's own words, and what to do                                */
static lsnn_status lsnni_cuda_failed(lsnn_ctx *cx, cudaError_t e, const char *what)
{
    lsnn_status s = e == cudaErrorMemoryAllocation ? LSNN_ENOMEM : LSNN_EUNSUPPORTED;
    const char *hint = e == cudaErrorMemoryAllocation ? "use a smaller batch"
        : e == cudaErrorInsufficientDriver ? "no driver is installed, or an old one"
        : e == cudaErrorNoDevice ? "there is no GPU: build the net on the cpu"
        : e == cudaErrorNoKernelImageForDevice ? "compile for this GPU: nvcc -arch=native"
        : "the net on the device is lost: build it again";
    if (e == cudaSuccess) return LSNN_OK;
    return lsnn_fail(cx, s, "CUDA: %s: %s; %s", what, cudaGetErrorString(e), hint);
}
#define LSNNI_CUDA_TRY(cx, call, what) LSNNI_TRY(lsnni_cuda_failed(cx, call, what))

static lsnn_status lsnni_cublas_failed(lsnn_ctx *cx, cublasStatus_t e, const char *what)
{
    if (e == CUBLAS_STATUS_SUCCESS) return LSNN_OK;
    return lsnn_fail(cx, LSNN_EUNSUPPORTED, "CUDA: cuBLAS: %s: status %d", what, (int)e);
}

/* The struct whose first member `on` is.                                      */
static lsnni_device *lsnni_device_of(lsnn_device *on)
{
    return (lsnni_device *)(void *)on;
}

/* Launches kernel(a) in so many blocks of so many threads, unless the net is only checked. */
#define LSNNI_LAUNCH(cx, on, kernel, blocks, threads, a)                                   \
    do {                                                                                   \
        if (!(on)->dry) {                                                                  \
            LSNNI_RUN(kernel, blocks, threads, (on)->stream, a);                           \
            LSNNI_CUDA_TRY(cx, cudaGetLastError(), #kernel);                               \
        }                                                                                  \
    } while (0)
/* A thread for each of `count` numbers, which it finds by LSNNI_EACH; count is not 0. */
#define LSNNI_LAUNCH_EACH(cx, on, kernel, count, a)                                        \
    LSNNI_LAUNCH(cx, on, kernel, ((count) + LSNNI_THREADS - 1) / LSNNI_THREADS, LSNNI_THREADS, a)
#define LSNNI_EACH(i, count)                                                               \
    size_t i = (size_t)blockIdx.x * LSNNI_THREADS + threadIdx.x;                           \
    if (i >= (size_t)(count)) return

/* The sum of all threads' v, the same for each; room: LSNNI_ROOM doubles, shared. Sixteen threads
   add sixteen numbers each, then each thread their sums: the order is fixed, and there are three
   barriers, where halving has ten. All threads of the block must come here.   */
enum { LSNNI_ROOM = LSNNI_THREADS + 16 };
LSNNI_DEVICE_ONLY double lsnni_block_sum(double *room, double v)
{
    int me = (int)threadIdx.x;
    room[me] = v;
    __syncthreads();
    if (me < 16) {
        v = 0;
        for (int i = 0; i < LSNNI_THREADS / 16; i++) v += room[LSNNI_THREADS / 16 * me + i];
        room[LSNNI_THREADS + me] = v;
    }
    __syncthreads();
    v = 0;
    for (int i = 0; i < 16; i++) v += room[LSNNI_THREADS + i];
    __syncthreads();                 /* room may be written again             */
    return v;
}

/* The largest of all threads' v, likewise; a NaN counts as smaller than all.  */
LSNNI_DEVICE_ONLY double lsnni_block_most(double *room, double v)
{
    int me = (int)threadIdx.x;
    room[me] = v;
    __syncthreads();
    for (int i = 0; i < LSNNI_THREADS; i++) v = room[i] > v ? room[i] : v;
    __syncthreads();
    return v;
}

/* ---- Memory                                                                    */
LSNNI_CUDA lsnn_status lsnni_cuda_alloc(lsnn_ctx *cx, lsnni_device *d, void **place,
                                        size_t bytes)
{
    char what[64];
    snprintf(what, sizeof what, "%.0f bytes of its memory", (double)bytes);
    LSNNI_CUDA_TRY(cx, cudaSetDevice(d->number), "set device");
    LSNNI_CUDA_TRY(cx, cudaMalloc(place, bytes ? bytes : 1), what);
    return lsnni_cuda_zero(cx, d, *place, bytes);
}

LSNNI_CUDA void lsnni_cuda_free(lsnni_device *d, void *block)
{
    if (!block) return;
    cudaSetDevice(d->number);
    cudaFree(block);
}

LSNNI_CUDA lsnn_status lsnni_cuda_put(lsnn_ctx *cx, lsnni_device *d, void *to,
                                      const void *from, size_t bytes)
{
    if (!bytes) return LSNN_OK;
    LSNNI_CUDA_TRY(cx, cudaSetDevice(d->number), "set device");
    LSNNI_CUDA_TRY(cx, cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice,
                                       (cudaStream_t)d->on.stream), "copy to the device");
    return LSNN_OK;
}

LSNNI_CUDA lsnn_status lsnni_cuda_get(lsnn_ctx *cx, lsnni_device *d, void *to,
                                      const void *from, size_t bytes)
{
    if (!bytes) return LSNN_OK;
    LSNNI_CUDA_TRY(cx, cudaSetDevice(d->number), "set device");
    LSNNI_CUDA_TRY(cx, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost,
                                       (cudaStream_t)d->on.stream), "copy from the device");
    return lsnni_cuda_wait(cx, d);
}

LSNNI_CUDA lsnn_status lsnni_cuda_zero(lsnn_ctx *cx, lsnni_device *d, void *to, size_t bytes)
{
    if (!bytes || d->on.dry) return LSNN_OK;
    LSNNI_CUDA_TRY(cx, cudaMemsetAsync(to, 0, bytes, (cudaStream_t)d->on.stream),
                   "set memory to 0");
    return LSNN_OK;
}

/* Here a fault in a kernel shows, of any that ran since the last time.        */
LSNNI_CUDA lsnn_status lsnni_cuda_wait(lsnn_ctx *cx, lsnni_device *d)
{
    LSNNI_CUDA_TRY(cx, cudaStreamSynchronize((cudaStream_t)d->on.stream), "run");
    return LSNN_OK;
}

/* Working memory for one op's call: grows while the net is built, and not later. */
static lsnn_status lsnni_cuda_scratch(lsnn_ctx *cx, lsnn_device *on, void **place, size_t bytes)
{
    lsnni_device *d = lsnni_device_of(on);
    if (bytes > d->scratch_bytes) {
        if (!on->dry)
            return lsnn_fail(cx, LSNN_ESTATE, "CUDA: an op asks for more working memory than when "
                             "the net was built");
        lsnni_cuda_free(d, d->scratch);
        d->scratch_bytes = 0;
        d->scratch = NULL;
        LSNNI_TRY(lsnni_cuda_alloc(cx, d, &d->scratch, bytes));
        d->scratch_bytes = bytes;
    }
    *place = d->scratch;
    return LSNN_OK;
}

/* ---- The device                                                                */
#ifndef LSNNI_BLAS_ROOM
#define LSNNI_BLAS_ROOM (32 << 20)   /* bytes, as cuBLAS asks for on sm_90    */
#endif

LSNNI_CUDA lsnn_status lsnni_cuda_open(lsnn_ctx *cx, lsnni_device *d)
{
    cudaStream_t stream;
    cublasHandle_t blas;
    void *place = NULL;
    int count = 0;
    LSNNI_CUDA_TRY(cx, cudaGetDeviceCount(&count), "look for a GPU");
    if (d->number >= count)
        return lsnn_fail(cx, LSNN_EVALUE, "CUDA: device cuda:%d: there are %d", d->number, count);
    LSNNI_CUDA_TRY(cx, cudaSetDevice(d->number), "set device");
    LSNNI_CUDA_TRY(cx, cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
    d->on.stream = stream;
    LSNNI_TRY(lsnni_cublas_failed(cx, cublasCreate(&blas), "create"));
    d->blas = blas;
    LSNNI_TRY(lsnni_cublas_failed(cx, cublasSetStream(blas, stream), "stream"));
    LSNNI_TRY(lsnni_cuda_alloc(cx, d, &d->blas_room, LSNNI_BLAS_ROOM));
    LSNNI_TRY(lsnni_cublas_failed(cx, cublasSetWorkspace(blas, d->blas_room, LSNNI_BLAS_ROOM),
                                  "workspace"));        /* so that it can be recorded     */
    LSNNI_TRY(lsnni_cuda_alloc(cx, d, &place, sizeof *d->now));
    d->on.now = d->now = (lsnn_now *)place;
    place = NULL;
    LSNNI_TRY(lsnni_cuda_alloc(cx, d, &place, sizeof *d->told));
    d->told = (lsnni_told *)place;
    return LSNN_OK;
}

LSNNI_CUDA void lsnni_cuda_close(lsnni_device *d)
{
    cudaSetDevice(d->number);
    if (d->on.stream) cudaStreamSynchronize((cudaStream_t)d->on.stream);
    if (d->blas) cublasDestroy((cublasHandle_t)d->blas);
    lsnni_cuda_free(d, d->blas_room);
    lsnni_cuda_free(d, d->scratch);
    lsnni_cuda_free(d, d->now);
    lsnni_cuda_free(d, d->told);
    if (d->on.stream) cudaStreamDestroy((cudaStream_t)d->on.stream);
}

/* ---- What changes from step to step: arguments of a launch, which are copied with it */
typedef struct lsnni_now_args { lsnn_now *to, now; } lsnni_now_args;
LSNNI_KERNEL(lsnni_now_kernel, lsnni_now_args) { *a.to = a.now; }

LSNNI_CUDA lsnn_status lsnni_cuda_now(lsnn_ctx *cx, lsnni_device *d, const lsnn_now *now)
{
    lsnni_now_args a;
    a.to = d->now;
    a.now = *now;
    LSNNI_CUDA_TRY(cx, cudaSetDevice(d->number), "set device");
    LSNNI_LAUNCH(cx, &d->on, lsnni_now_kernel, 1, 1, a);
    return LSNN_OK;
}

/* ---- Records: CUDA graphs                                                      */
LSNNI_CUDA lsnn_status lsnni_cuda_record(lsnn_ctx *cx, lsnni_device *d)
{
    LSNNI_CUDA_TRY(cx, cudaSetDevice(d->number), "set device");
    LSNNI_CUDA_TRY(cx, cudaStreamBeginCapture((cudaStream_t)d->on.stream,
                                              cudaStreamCaptureModeThreadLocal), "record");
    return LSNN_OK;
}

LSNNI_CUDA lsnn_status lsnni_cuda_recorded(lsnn_ctx *cx, lsnni_device *d, void **graph)
{
    cudaGraph_t made = NULL;
    cudaGraphExec_t ready = NULL;
    cudaError_t e;
    LSNNI_CUDA_TRY(cx, cudaStreamEndCapture((cudaStream_t)d->on.stream, &made), "end a record");
    e = cudaGraphInstantiateWithFlags(&ready, made, 0);
    cudaGraphDestroy(made);
    *graph = ready;
    return lsnni_cuda_failed(cx, e, "make a record ready");
}

LSNNI_CUDA lsnn_status lsnni_cuda_replay(lsnn_ctx *cx, lsnni_device *d, void *graph)
{
    LSNNI_CUDA_TRY(cx, cudaSetDevice(d->number), "set device");
    LSNNI_CUDA_TRY(cx, cudaGraphLaunch((cudaGraphExec_t)graph, (cudaStream_t)d->on.stream),
                   "repeat a record");
    return LSNN_OK;
}

LSNNI_CUDA void lsnni_cuda_forget(lsnni_device *d, void *graph)
{
    cudaSetDevice(d->number);
    cudaStreamSynchronize((cudaStream_t)d->on.stream);
    cudaGraphExecDestroy((cudaGraphExec_t)graph);
}

/* ---- Products of matrices: as lsnn_gemm. cuBLAS counts along columns, so what is M x N in
   rows is N x M to it: C' = op(B)' op(A)'. TF32 is off: its default.           */
static lsnn_status lsnni_cuda_gemm(lsnn_ctx *cx, lsnn_device *on, int trans_a, int trans_b, int m,
                                   int n, int k, const lsnn_real *a, int lda, const lsnn_real *b,
                                   int ldb, int add, lsnn_real *c, int ldc)
{
    const lsnn_real one = 1, old = add ? 1 : 0;
    cublasOperation_t turn_a = trans_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasOperation_t turn_b = trans_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasHandle_t blas = (cublasHandle_t)lsnni_device_of(on)->blas;
    if (on->dry) return LSNN_OK;
#ifdef LSNN_DOUBLE
    return lsnni_cublas_failed(cx, cublasDgemm(blas, turn_b, turn_a, n, m, k, &one, b, ldb, a,
                                               lda, &old, c, ldc), "product of matrices");
#else
    return lsnni_cublas_failed(cx, cublasSgemm(blas, turn_b, turn_a, n, m, k, &one, b, ldb, a,
                                               lda, &old, c, ldc), "product of matrices");
#endif
}

#include "cuda/dense.h"
#include "cuda/rbf.h"
#include "cuda/activations.h"
#include "cuda/join.h"
#include "cuda/dropout.h"
#include "cuda/pool.h"
#include "cuda/lp_pool.h"
#include "cuda/conv2d.h"
#include "cuda/local2d.h"
#include "cuda/softmax.h"
#include "cuda/scale.h"
#include "cuda/batch_norm.h"
#include "cuda/smooth.h"
#include "cuda/transform.h"
#include "cuda/losses.h"
#include "cuda/optimizer.h"
#endif /* LSNNI_CUDA_CODE */
