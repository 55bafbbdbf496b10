/* ---- >>device: what the host's part of lsnn and the device part know of each other ------
   With LSNN_USE_CUDA a net can live on a GPU. All that calls CUDA, kernels and their launches,
   is the device part (>>cuda). It is compiled with the rest where nvcc compiles the program, or
   by itself:
       cc -O2 -DLSNN_USE_CUDA -c program.c
       nvcc -O3 -x cu -DLSNN_CUDA_PART -c lsnn.h -o lsnn_cuda.o
   so the two meet in the functions below, and nowhere else. The other side, what the net does
   with them, is >>on device.                                                 */
#if defined(LSNN_CUDA_PART) && defined(LSNN_IMPLEMENTATION)
#error "lsnn: LSNN_CUDA_PART is lsnn.h compiled by itself: nvcc -x cu -DLSNN_CUDA_PART -c lsnn.h"
#endif
#if (defined(LSNN_IMPLEMENTATION) || defined(LSNN_CUDA_PART)) && !defined(LSNNI_DEVICE)
#define LSNNI_DEVICE
#if defined(LSNN_CUDA_PART) ||                                                             \
    (defined(LSNN_USE_CUDA) && (defined(__CUDACC__) || defined(LSNN_CUDA_HOST)))
#  define LSNNI_CUDA_CODE            /* the device part is compiled here      */
#endif
#if defined(LSNNI_CUDA_CODE) && !defined(LSNN_CUDA_PART)
#  define LSNNI_CUDA static
#elif defined(__cplusplus)
#  define LSNNI_CUDA extern "C"
#else
#  define LSNNI_CUDA extern
#endif

enum { LSNNI_MAX_LOSSES = 16, LSNNI_MAX_GRAPHS = 8 };

/* What a step leaves in the device's memory for a host that asks.             */
typedef struct lsnni_told {
    double loss[LSNNI_MAX_LOSSES];
    int bad;                         /* 0, or 1 + the first parameter whose gradient is not */
    uint32_t bad_step;               /*   finite, and in which step: no step follows it */
} lsnni_told;

/* Launches recorded once, and repeated with one call.                         */
typedef struct lsnni_recorded { int key[4]; void *graph; } lsnni_recorded;

typedef struct lsnni_device {
    lsnn_device on;                  /* first: a call's `device` is this struct */
    int number;
    void *blas;                      /* its cublasHandle_t                    */
    void *blas_room, *scratch;       /* for cuBLAS; for the op at work        */
    size_t scratch_bytes;
    lsnn_now *now;
    lsnni_told *told;
    /* The host's: blocks of the net in the device's memory, and whose copy is newer */
    lsnn_real *value, *grad, *state, *x, *targets;
    int *labels;
    size_t targets_room, labels_room;
    int host_newer, device_newer;
    lsnni_recorded recorded[LSNNI_MAX_GRAPHS];
    int records;
    lsnn_real *scores;               /* the host's: room to read scores into  */
} lsnni_device;

/* A parameter array, as an optimizer's kernels walk over it.                  */
typedef struct lsnni_slot {
    size_t at;                       /* its first number in the blocks        */
    int count, param;
    double lr_factor, decay, l2;     /* 0 lr_factor: frozen                   */
    int l2_every, l2_from;           /* l2_from: number of the first in its array */
    unsigned l2_mask;
} lsnni_slot;
enum { LSNNI_SLOT = 4096 };         /* numbers of a chunk at most            */

typedef struct lsnni_device_step {   /* arrays in the device's memory         */
    lsnn_method method;
    double momentum, b1, b2, eps, clip;
    int nesterov, chunks;
    const lsnni_slot *chunk;
    lsnn_real *value, *grad, *m, *v;
    double *part, *scale;            /* a sum a chunk; then the factor of all */
} lsnni_device_step;

#if defined(LSNN_USE_CUDA) || defined(LSNN_CUDA_PART)
/* The layer types that have a device pair.                                    */
#define LSNNI_DEVICE_TYPES(X) X(dense) X(relu) X(leaky_relu) X(sigmoid) X(tanh)            \
    X(scaled_tanh) X(max_pool) X(flatten) X(conv2d) X(cross_entropy) X(dropout)            \
    X(softmax) X(avg_pool) X(sum_pool) X(batch_norm) X(scale) X(add) X(concat) X(slice)    \
    X(mse) X(smooth) X(local2d) X(lp_pool) X(rbf) X(affine_grid) X(grid_sample)
#define LSNNI_DECLARE_PAIR(name)                                                           \
    LSNNI_CUDA lsnn_status lsnni_cuda_forward_##name(lsnn_ctx *cx, lsnn_call *c);          \
    LSNNI_CUDA lsnn_status lsnni_cuda_backward_##name(lsnn_ctx *cx, lsnn_call *c);
LSNNI_DEVICE_TYPES(LSNNI_DECLARE_PAIR)
#undef LSNNI_DECLARE_PAIR
LSNNI_CUDA lsnn_status lsnni_cuda_project_smooth(lsnn_ctx *cx, const lsnn_projection *p);
#define LSNNI_DEVICE_PAIR(name) lsnni_cuda_forward_##name, lsnni_cuda_backward_##name, NULL
#define LSNNI_DEVICE_THREE(name)                                                           \
    lsnni_cuda_forward_##name, lsnni_cuda_backward_##name, lsnni_cuda_project_##name

/* All of these but close and free return CUDA's reason by lsnn_fail.          */
LSNNI_CUDA lsnn_status lsnni_cuda_open(lsnn_ctx *cx, lsnni_device *d);   /* of d->number */
LSNNI_CUDA void lsnni_cuda_close(lsnni_device *d);
LSNNI_CUDA lsnn_status lsnni_cuda_alloc(lsnn_ctx *cx, lsnni_device *d, void **place,
                                        size_t bytes);       /* zeroed        */
LSNNI_CUDA void lsnni_cuda_free(lsnni_device *d, void *block);
LSNNI_CUDA lsnn_status lsnni_cuda_put(lsnn_ctx *cx, lsnni_device *d, void *to,
                                      const void *from, size_t bytes);
LSNNI_CUDA lsnn_status lsnni_cuda_get(lsnn_ctx *cx, lsnni_device *d, void *to,
                                      const void *from, size_t bytes);   /* waits */
LSNNI_CUDA lsnn_status lsnni_cuda_zero(lsnn_ctx *cx, lsnni_device *d, void *to, size_t bytes);
LSNNI_CUDA lsnn_status lsnni_cuda_wait(lsnn_ctx *cx, lsnni_device *d);
LSNNI_CUDA lsnn_status lsnni_cuda_now(lsnn_ctx *cx, lsnni_device *d, const lsnn_now *now);
/* Between the two, launches are recorded and not run; *graph: to be run as often as wanted. */
LSNNI_CUDA lsnn_status lsnni_cuda_record(lsnn_ctx *cx, lsnni_device *d);
LSNNI_CUDA lsnn_status lsnni_cuda_recorded(lsnn_ctx *cx, lsnni_device *d, void **graph);
LSNNI_CUDA lsnn_status lsnni_cuda_replay(lsnn_ctx *cx, lsnni_device *d, void *graph);
LSNNI_CUDA void lsnni_cuda_forget(lsnni_device *d, void *graph);
LSNNI_CUDA lsnn_status lsnni_cuda_step(lsnn_ctx *cx, lsnni_device *d,
                                       const lsnni_device_step *s);
#else
#define LSNNI_DEVICE_PAIR(name) NULL, NULL, NULL
#define LSNNI_DEVICE_THREE(name) NULL, NULL, NULL
#endif /* LSNN_USE_CUDA */
#endif /* LSNNI_DEVICE */
