/* ============================================================================
   >>api  PUBLIC API
   ==========================================================================*/
#ifndef LSNN_H
#define LSNN_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define LSNN_VERSION_MAJOR 0
#define LSNN_VERSION_MINOR 1
#define LSNN_VERSION_PATCH 0
#define LSNN_VERSION "0.1.0"

#ifdef LSNN_DOUBLE
typedef double lsnn_real;
#else
typedef float lsnn_real;
#endif

#ifndef LSNN_API
#  if defined(LSNN_STATIC) && defined(__GNUC__)
#    define LSNN_API static __attribute__((unused))
#  elif defined(LSNN_STATIC)
#    define LSNN_API static
#  elif defined(__cplusplus)
#    define LSNN_API extern "C"
#  else
#    define LSNN_API extern
#  endif
#endif

#if defined(__GNUC__)
#  define LSNNI_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#  define LSNNI_PRINTF(f, a)
#endif

#include "names.h"

/* ---- >>api status: what every fallible call returns ------------------------
   Zero is success, negative is a failure, LSNN_STOPPED (1) means that your own
   callback asked for an end. Each enum that stands in a struct has a last member ..._INT_
   that is used for nothing: it keeps the enum as wide as an int under -fshort-enums, too,
   so that files and structs are the same.                                    */
#define LSNN_STATUS_LIST(X)                                                    \
    X(STOPPED,       1, "stopped by the caller's callback")                    \
    X(OK,            0, "no error")                                            \
    X(ESHAPE,       -1, "shapes or sizes do not fit together")                 \
    X(ENOMEM,       -2, "the allocator returned NULL")                         \
    X(EVALUE,       -3, "a value is out of range")                             \
    X(ENAME,        -4, "no such name")                                        \
    X(ESTATE,       -5, "the call comes at the wrong time")                    \
    X(EIO,          -6, "a file could not be read or written")                 \
    X(EFORMAT,      -7, "a file does not follow its format")                   \
    X(EDIVERGED,    -8, "a number is not finite (NaN or infinite)")             \
    X(EUNSUPPORTED, -9, "this build leaves that part out")
typedef enum lsnn_status {
#define LSNN_STATUS_ENUM(name, code, text) LSNN_##name = code,
    LSNN_STATUS_LIST(LSNN_STATUS_ENUM)
#undef LSNN_STATUS_ENUM
    LSNN_STATUS_MAX_ = 2,
    LSNN_STATUS_INT_ = 0x7FFFFFFF
} lsnn_status;

LSNN_API const char *lsnn_status_text(lsnn_status s);

/* ---- >>api context: memory, log, threads and the first failure --------------
   A context that is all zero is ready for use. It belongs to one thread at a
   time; distinct contexts share nothing.                                     */
typedef struct lsnn_allocator {      /* set both functions or neither         */
    void *(*alloc_fn)(size_t bytes, void *user);   /* NULL when refused       */
    void (*free_fn)(void *block, void *user);
    void *user;
} lsnn_allocator;

typedef enum lsnn_isa {              /* instruction set of the vector kernels */
    LSNN_ISA_BEST = 0,               /* the best that this machine runs       */
    LSNN_ISA_PORTABLE,               /* what the compiler's flags allow       */
    LSNN_ISA_AVX2,
    LSNN_ISA_AVX512,
    LSNN_ISA_NEON,
    LSNN_ISA_COUNT_,
    LSNN_ISA_INT_ = 0x7FFFFFFF
} lsnn_isa;

typedef struct lsnn_ctx {
    lsnn_allocator mem;              /* NULL functions: malloc and free       */
    void (*log_fn)(const char *message, void *user);   /* NULL: stderr        */
    void *log_user;
    int threads;                     /* 0: one for each core it may run on    */
    lsnn_isa isa;                    /* 0, or one that does not run here: best */
    lsnn_status status;              /* the first failure, until lsnn_clear   */
    char message[400];               /* what failed, where, and a hint        */
    int rank, ranks;                 /* this process's number, of how many: see >>api ranks */
    lsnn_status last_;               /* private: the last failure, and how many there were */
    unsigned failures_;
    const char *where_;              /* private: the layer at work            */
    int rehearsal_;                  /* private: take scratch memory, do no work */
    void *scratch_;                  /* private: grow-only working memory     */
    size_t scratch_bytes_;
    struct lsnni_team *team_;        /* private: its threads, once needed     */
    int cores_;                      /* private: what threads 0 means, once asked */
    struct lsnni_carrier *carrier_;  /* private: what joins the ranks         */
    int together_;                   /* private: > 0: all ranks fail as one, and rank 0 says so */
    unsigned agreed_;                /* private: failures_ that all know of   */
} lsnn_ctx;

LSNN_API void lsnn_clear(lsnn_ctx *cx);            /* forget the failure      */
/* Records a failure as the library's own functions do, with the layer's name before it, and
   returns s: a layer type of your own says so why it refuses.
       if (k % 2 == 0) return lsnn_fail(cx, LSNN_EVALUE, "kernel_h is %d: it must be odd", k); */
LSNN_API lsnn_status lsnn_fail(lsnn_ctx *cx, lsnn_status s, const char *format, ...)
    LSNNI_PRINTF(3, 4);
LSNN_API void lsnn_ctx_free(lsnn_ctx *cx);         /* end its threads, free its scratch */
LSNN_API int lsnn_ctx_threads(const lsnn_ctx *cx); /* threads really used     */
LSNN_API lsnn_isa lsnn_ctx_isa(const lsnn_ctx *cx);      /* set really used   */
LSNN_API int lsnn_isa_available(lsnn_isa isa);     /* 1 if it runs here       */
LSNN_API const char *lsnn_isa_name(lsnn_isa isa);  /* "avx512", ...           */
LSNN_API lsnn_isa lsnn_isa_from_name(const char *name);  /* COUNT_ if unknown */
LSNN_API const char *lsnn_build_info(void);        /* "float threads zlib ..." */

/* Calls task(user, i, worker) for i in [0, count), on cx's threads. Workers are
   numbered from 0 to lsnn_ctx_threads(cx) - 1; which gets which i is not
   defined, so a task must write only what belongs to i, or to its worker. A task
   that calls this again on cx does all of the inner tasks itself, as worker 0. */
LSNN_API void lsnn_parallel(lsnn_ctx *cx, int count,
                            void (*task)(void *user, int i, int worker), void *user);

/* ---- >>api ranks: several processes, perhaps on several machines --------------
   With LSNN_USE_MPI, and mpirun -n 4 PROGRAM: each process calls lsnn_ranks_start on its
   context, before it makes a net, and then does the same as all others. A net's batch is the
   whole one, of which each rank takes and has room for its share. Collective (all ranks call
   them, or all wait): lsnn_fit, lsnn_evaluate, lsnn_optimizer_step, which sums the gradients
   first, a training lsnn_forward and its lsnn_backward where the net has a batch_norm, which
   takes the whole batch's statistics, and the functions below. All else is each rank's own,
   but files: only rank 0 writes them, the others return OK. Each rank reads what it reads.
   Steps by hand: each rank feeds its part (sample, total), and asks lsnn_ranks_agree whether
   all others are well.                                                       */
/* Sets rank and ranks: 0 and 1 without LSNN_USE_MPI. Calls MPI_Init_thread unless that is
   done. threads 0 becomes this rank's part of its machine's cores. ESTATE: called twice. */
LSNN_API lsnn_status lsnn_ranks_start(lsnn_ctx *cx);
/* lsnn_ctx_free calls it, too. A rank that has failed by itself while others go on ends the
   job (MPI_Abort), in place of leaving them to wait.                         */
LSNN_API void lsnn_ranks_end(lsnn_ctx *cx);
/* The first failure that a rank comes with, its message in all contexts; STOPPED if one comes
   with that; OK.                                                             */
LSNN_API lsnn_status lsnn_ranks_agree(lsnn_ctx *cx, lsnn_status s);
LSNN_API lsnn_status lsnn_ranks_sum(lsnn_ctx *cx, double *v, int count);   /* in place */

/* ---- >>api random: numbers that have an address -----------------------------
   Philox 4x32-10. A draw is addressed by (seed, purpose, name, step, sample,
   element), so no draw depends on how many others were made before it.       */
typedef struct lsnn_rng {
    uint32_t key[2];                 /* the seed                              */
    uint32_t stream;                 /* hash of purpose and name              */
    uint32_t step, sample;
    uint32_t element;                /* the next draw's element               */
    uint32_t block_[4], held_;       /* private: the block last made, and which */
} lsnn_rng;

LSNN_API lsnn_rng lsnn_rng_at(uint64_t seed, const char *purpose, const char *name,
                              uint32_t step, uint32_t sample);
LSNN_API uint32_t lsnn_rng_u32(lsnn_rng *r);               /* uniform 32 bits  */
LSNN_API double lsnn_rng_uniform(lsnn_rng *r);             /* in [0, 1)        */
LSNN_API double lsnn_rng_normal(lsnn_rng *r);              /* mean 0, variance 1 */
LSNN_API int lsnn_rng_int(lsnn_rng *r, int n);             /* in [0, n), unbiased */
/* A permutation of 0..n-1 into order.                                        */
LSNN_API void lsnn_rng_permutation(lsnn_rng *r, int *order, int n);

/* ---- >>api shapes -----------------------------------------------------------
   Arrays are row-major, images are N x C x H x W; letters used throughout:
   N images, C channels, H rows, W columns, K kernels (output channels),
   P = OH*OW output positions. A feature vector is a C x 1 x 1 image.         */
typedef struct lsnn_shape { int c, h, w; } lsnn_shape;

typedef enum lsnn_padding {
    LSNN_VALID = 0,                  /* none: output (H - k) / stride + 1     */
    LSNN_SAME,                       /* output ceil(H / stride), extra pixel  */
                                     /*   at the bottom and right             */
    LSNN_EXPLICIT,                   /* pad_top, pad_left, pad_bottom, pad_right */
    LSNN_PADDING_INT_ = 0x7FFFFFFF
} lsnn_padding;

/* A window that slides over images: conv2d, local2d and the poolings.        */
typedef struct lsnn_window {
    int n, c, h, w;                  /* input  N x C x H x W                  */
    int k, oh, ow;                   /* output N x K x OH x OW (pooling: K=C) */
    int kernel_h, kernel_w, stride_h, stride_w;
    int pad_top, pad_left;           /* what sticks out at the other sides is padding too */
    int lanes;                       /* 0: N x C x H x W; lsnn_lanes: blocks of images */
    int dilation_h, dilation_w;      /* pixels from tap to tap, 1: side by side (poolings: 1) */
    int groups;                      /* conv2d, local2d: kernels [gK/G, (g+1)K/G) read channels */
} lsnn_window;                       /*   [gC/G, (g+1)C/G); C: depthwise. Others: 1 */

/* Fills a window. SAME and VALID ignore pad[]; EXPLICIT takes it as top, left,
   bottom, right. ESHAPE if nothing fits, the message says what.              */
LSNN_API lsnn_status lsnn_window_set(lsnn_ctx *cx, lsnn_window *s, int n, lsnn_shape in,
                                     int k, int kernel_h, int kernel_w, int stride_h,
                                     int stride_w, lsnn_padding padding, const int pad[4]);
/* The same where sizes, kernel, stride, dilation and groups are set already, 0 of the last
   three meaning 1: finds oh, ow, pad_top and pad_left. ESHAPE, too, for groups that do not
   divide C and K.                                                            */
LSNN_API lsnn_status lsnn_window_fit(lsnn_ctx *cx, lsnn_window *s, lsnn_padding padding,
                                     const int pad[4]);

/* ---- >>api ops: one pair of functions a layer type --------------------------
   Forward overwrites its output. Backward ADDS to the gradients of parameters
   (dw, db, ...: the caller zeroes them) and overwrites the gradient of the
   input (dx), or adds to it when `add` is LSNN_ADD. Every gradient pointer may
   be NULL: it is then not computed. Arrays must not overlap unless a comment
   says so. Each returns ESHAPE, EVALUE or ENOMEM on failure, and on failure
   what it had written so far is undefined.                                   */
enum { LSNN_SET = 0, LSNN_ADD = 1 };

/* C (M x N) = op(A) op(B) + (add ? C : 0); op(A) is M x K, op(B) is K x N. A is
   stored M x K with row stride lda, or K x M when trans_a; likewise B.       */
LSNN_API lsnn_status lsnn_gemm(lsnn_ctx *cx, int trans_a, int trans_b, int m, int n, int k,
                               const lsnn_real *a, int lda, const lsnn_real *b, int ldb,
                               int add, lsnn_real *c, int ldc);

/* Blocks of L = lsnn_lanes(cx) images, the lanes of a vector: (N / L) x C x H x W x L.
   The layers with windows take their images in this order too (lsnn_window.lanes),
   N a multiple of L (else ESHAPE). y (+)= x interleaved, or 1: back; size: the numbers
   of an image; add: LSNN_SET or LSNN_ADD.                                    */
LSNN_API int lsnn_lanes(const lsnn_ctx *cx);
LSNN_API lsnn_status lsnn_interleave(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x, int n,
                                     size_t size, int back, int add);

/* x N,C,H,W   w K,C/G,kh,kw   b K (NULL: none)   y N,K,OH,OW    G: the window's groups */
LSNN_API lsnn_status lsnn_conv2d_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                         const lsnn_real *w, const lsnn_real *b,
                                         const lsnn_window *s);
LSNN_API lsnn_status lsnn_conv2d_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                          lsnn_real *db, const lsnn_real *dy,
                                          const lsnn_real *x, const lsnn_real *w,
                                          const lsnn_window *s, int add);

/* A convolution whose kernel k reads the input maps that a table lists for it: text, for each
   kernel its maps in rising order, "0,1,2;1,2,3;0-2,5". w M,kh,kw: the M connections in the
   table's order; room: K*C*kh*kw numbers to work in. EVALUE: what is wrong in the table, or a
   window with dilation or groups.                                            */
LSNN_API lsnn_status lsnn_table_conv2d_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *room,
                                               const lsnn_real *x, const lsnn_real *w,
                                               const lsnn_real *b, const char *table,
                                               const lsnn_window *s);
LSNN_API lsnn_status lsnn_table_conv2d_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                                lsnn_real *db, lsnn_real *room,
                                                const lsnn_real *dy, const lsnn_real *x,
                                                const lsnn_real *w, const char *table,
                                                const lsnn_window *s, int add);

/* A convolution whose kernel k computes only inside its region R_k, and is seen through a
   window: y = U_k (conv2d's y, its bias among it) there, U_k(row, column) = fy[k,row] fx[k,
   column], and 0 elsewhere (TKN, Eq. 15 to 17). A region is any set of output pixels.
   lsnn_target2d_plan writes lsnn_target2d_room(s) numbers to `plan`: what the regions `inside`
   (K x OH x OW, not 0: in R_k) come to; anew only when one of them changes.
   Forward writes y inside only: outside it has to hold zeros already.
   Backward reads dy and y inside only. gy K x OH and gx K x OW get dL/dlog fy and dL/dlog fx
   (NULL: neither); y may have gone through a relu in place. room: N*K*OH*OW numbers. */
typedef struct lsnn_target {
    int32_t *plan;
    const lsnn_real *fy, *fx;        /* K x OH, K x OW                        */
} lsnn_target;
LSNN_API size_t lsnn_target2d_room(const lsnn_window *s);
LSNN_API lsnn_status lsnn_target2d_plan(lsnn_ctx *cx, int32_t *plan,
                                        const unsigned char *inside, const lsnn_window *s);
LSNN_API lsnn_status lsnn_target2d_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                           const lsnn_real *w, const lsnn_real *b,
                                           const lsnn_target *t, const lsnn_window *s);
LSNN_API lsnn_status lsnn_target2d_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                            lsnn_real *db, lsnn_real *gy, lsnn_real *gx,
                                            lsnn_real *room, const lsnn_real *dy,
                                            const lsnn_real *y, const lsnn_real *x,
                                            const lsnn_real *w, const lsnn_target *t,
                                            const lsnn_window *s, int add);

/* Unshared weights: w OH*OW,C/G*kh*kw,K   b K,OH,OW (NULL: none)               */
LSNN_API lsnn_status lsnn_local2d_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                          const lsnn_real *w, const lsnn_real *b,
                                          const lsnn_window *s);
LSNN_API lsnn_status lsnn_local2d_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                           lsnn_real *db, const lsnn_real *dy,
                                           const lsnn_real *x, const lsnn_real *w,
                                           const lsnn_window *s, int add);

/* x N,C   w K,C   b K (NULL: none)   y N,K                                   */
LSNN_API lsnn_status lsnn_dense_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                        const lsnn_real *w, const lsnn_real *b, int n, int c,
                                        int k);
LSNN_API lsnn_status lsnn_dense_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                         lsnn_real *db, const lsnn_real *dy,
                                         const lsnn_real *x, const lsnn_real *w, int n, int c,
                                         int k, int add);

/* y[n,k] = -|x[n] - w[k]|^2: x N,C   w K,C: centres   y N,K. LeNet-5's penalties, negative. */
LSNN_API lsnn_status lsnn_rbf_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                      const lsnn_real *w, int n, int c, int k);
LSNN_API lsnn_status lsnn_rbf_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                       const lsnn_real *dy, const lsnn_real *x,
                                       const lsnn_real *w, int n, int c, int k, int add);

/* Data-driven sparse connections: an update rule of their own, no gradients, see >>dsc.
   x N,C,H,W   y N,K,OH,OW   w P,C*kh*kw,K: |w| = 1 - alpha, the sign is the kind   theta P,K:
   the neurons' alpha (NULL with sums); P = OH*OW if unshared, else 1. sum N,OH*OW,K: forward
   keeps it for backward. dy = -D, what y should change by, and so dx; dw and dtheta get -share
   times the rule's change. Plain arrays (s->lanes is not read).               */
typedef struct lsnn_dsc {
    double alpha_max, tau;           /* 0 < tau < alpha_max < 1               */
    double xi, eta;                  /* in (0, 1]                             */
    double share;                    /* 1: the draft's rule, of one neuron and image */
    int unshared;
    int silent;                      /* 1: what is closed to an input stays so */
    int sums;                        /* 1: y is the sum itself                */
} lsnn_dsc;
LSNN_API lsnn_status lsnn_dsc_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *sum,
                                      const lsnn_real *x, const lsnn_real *w,
                                      const lsnn_real *theta, const lsnn_dsc *d,
                                      const lsnn_window *s);
LSNN_API lsnn_status lsnn_dsc_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                       lsnn_real *dtheta, const lsnn_real *dy,
                                       const lsnn_real *x, const lsnn_real *sum,
                                       const lsnn_real *w, const lsnn_real *theta,
                                       const lsnn_dsc *d, const lsnn_window *s, int add);
/* After w and theta have changed: bounds, and connections that switch their kind. */
LSNN_API void lsnn_dsc_project(lsnn_ctx *cx, lsnn_real *w, size_t connections,
                               lsnn_real *theta, size_t neurons, const lsnn_dsc *d);
/* How many of the window's connections pass something of x, N images together.  */
LSNN_API double lsnn_dsc_active(const lsnn_real *x, const lsnn_real *w, const lsnn_dsc *d,
                                const lsnn_window *s);
/* Their corrections, dx = -D of each image. To labels: the right class at 1 or more, the others
   at 0 or less. Lateral depression (Eq. 19): won is 1 where x is larger than all of its
   neighbours by at least beta, else 0. Neighbours: within `places` rows and columns, of all
   maps (maps 0), of those within `maps`, or of the same map (-1).             */
typedef struct lsnn_lateral { double beta; int places, maps; } lsnn_lateral;
LSNN_API lsnn_status lsnn_dsc_loss_forward(lsnn_ctx *cx, double *loss, const lsnn_real *x,
                                           const int *label, int label_stride, int n, int c);
LSNN_API lsnn_status lsnn_dsc_loss_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *x,
                                            const int *label, int label_stride, int n, int c,
                                            int add);
LSNN_API lsnn_status lsnn_dsc_lateral_forward(lsnn_ctx *cx, lsnn_real *won, const lsnn_real *x,
                                              int n, lsnn_shape shape, const lsnn_lateral *l);

/* Elementwise. Backward needs only y, so y may be x itself, and dx may be dy.
   slope: leaky_relu's, positive. LSNN_SCALED_TANH: 1.7159 tanh(2 x / 3), LeNet-5's. */
typedef enum lsnn_act { LSNN_RELU, LSNN_LEAKY_RELU, LSNN_SIGMOID, LSNN_TANH,
    LSNN_SCALED_TANH } lsnn_act;
LSNN_API lsnn_status lsnn_activation_forward(lsnn_ctx *cx, lsnn_act f, lsnn_real *y,
                                             const lsnn_real *x, size_t count, double slope);
LSNN_API lsnn_status lsnn_activation_backward(lsnn_ctx *cx, lsnn_act f, lsnn_real *dx,
                                              const lsnn_real *dy, const lsnn_real *y,
                                              size_t count, double slope, int add);

/* Softmax over C at each of N*I places: x, y N,C,I (I = H*W).                */
LSNN_API lsnn_status lsnn_softmax_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                          int n, int c, int inner);
LSNN_API lsnn_status lsnn_softmax_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                           const lsnn_real *y, int n, int c, int inner,
                                           int add);

/* where (N,C,OH,OW), in blocks (N/L,C,OH,OW,L): the input pixel (row*W + column) that each
   maximum came from, and -1 where a relu done on the way gave 0: backward reads it.
   Average divides by the pixels that lie inside the image, never by padding. A
   window of padding alone gives 0, and its `where` is -1.                    */
LSNN_API lsnn_status lsnn_max_pool_forward(lsnn_ctx *cx, lsnn_real *y, int32_t *where,
                                           const lsnn_real *x, const lsnn_window *s);
LSNN_API lsnn_status lsnn_max_pool_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                            const int32_t *where, const lsnn_window *s,
                                            int add);
LSNN_API lsnn_status lsnn_avg_pool_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                           const lsnn_window *s);
LSNN_API lsnn_status lsnn_avg_pool_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                            const lsnn_window *s, int add);
LSNN_API lsnn_status lsnn_sum_pool_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                           const lsnn_window *s);
LSNN_API lsnn_status lsnn_sum_pool_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                            const lsnn_window *s, int add);

/* y = (sum |x|^p)^(1/p) over a window, padding counts as 0: p is one number, or with p_maps 1
   one a map, each at least 1 (EVALUE). dp: as many, or NULL. Safe at 0 and for large p. */
LSNN_API lsnn_status lsnn_lp_pool_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                          const lsnn_real *p, int p_maps,
                                          const lsnn_window *s);
LSNN_API lsnn_status lsnn_lp_pool_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dp,
                                           const lsnn_real *dy, const lsnn_real *x,
                                           const lsnn_real *y, const lsnn_real *p, int p_maps,
                                           const lsnn_window *s, int add);

/* Zeroes an element with probability `rate`, divides the others by 1 - rate.
   The mask is drawn from `at` again in backward: sample n uses sample
   at->sample + n. lanes: 0, or lsnn_lanes (blocks of images, the same mask).
   y may be x, dx may be dy.                                                  */
LSNN_API lsnn_status lsnn_dropout_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                          int n, int count, int lanes, double rate,
                                          const lsnn_rng *at);
LSNN_API lsnn_status lsnn_dropout_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                           int n, int count, int lanes, double rate,
                                           const lsnn_rng *at, int add);

/* Batch normalisation over N*I values a channel: x, y N,C,I; others C.
   Training writes mean and istd (1 / sqrt(variance + eps)) for backward and
   moves running_mean and running_var (unbiased; both NULL: not kept) by
   `momentum`. Prediction reads the running ones.                             */
LSNN_API lsnn_status lsnn_batch_norm_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *mean,
                                             lsnn_real *istd, lsnn_real *running_mean,
                                             lsnn_real *running_var, const lsnn_real *x,
                                             const lsnn_real *gamma, const lsnn_real *beta,
                                             int n, int c, int inner, double momentum,
                                             double eps);
LSNN_API lsnn_status lsnn_batch_norm_predict(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                             const lsnn_real *gamma, const lsnn_real *beta,
                                             const lsnn_real *running_mean,
                                             const lsnn_real *running_var, int n, int c,
                                             int inner, double eps);
LSNN_API lsnn_status lsnn_batch_norm_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dgamma,
                                              lsnn_real *dbeta, const lsnn_real *dy,
                                              const lsnn_real *x, const lsnn_real *gamma,
                                              const lsnn_real *mean, const lsnn_real *istd,
                                              int n, int c, int inner, int add);

/* y[n,c,i] = x[n,c,i] * g[c] + b[c] (b may be NULL): x, y N,C,I              */
LSNN_API lsnn_status lsnn_scale_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                        const lsnn_real *g, const lsnn_real *b, int n, int c,
                                        int inner);
LSNN_API lsnn_status lsnn_scale_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dg,
                                         lsnn_real *db, const lsnn_real *dy,
                                         const lsnn_real *x, const lsnn_real *g, int n, int c,
                                         int inner, int add);

/* Copies rows: y[n, 0..len) = x[n, 0..len), rows y_stride and x_stride apart.
   Concat and slice are this copy in their two directions.                    */
LSNN_API lsnn_status lsnn_rows_copy(lsnn_ctx *cx, lsnn_real *y, size_t y_stride,
                                    const lsnn_real *x, size_t x_stride, int n, size_t len,
                                    int add);

/* Softmax and cross-entropy in one: x N,C logits, label[n * label_stride] in
   [0, C); p N,C gets the probabilities, loss the mean over N. EVALUE for a
   label out of range. Backward: dx = (p - onehot(label)) * weight / N.       */
LSNN_API lsnn_status lsnn_cross_entropy_forward(lsnn_ctx *cx, double *loss, lsnn_real *p,
                                                const lsnn_real *x, const int *label,
                                                int label_stride, int n, int c);
LSNN_API lsnn_status lsnn_cross_entropy_backward(lsnn_ctx *cx, lsnn_real *dx,
                                                 const lsnn_real *p, const int *label,
                                                 int label_stride, int n, int c, double weight,
                                                 int add);

/* The same with a class more, for what is none of the C: its logit is -j everywhere, so the
   probabilities add up to less than 1. The same backward.                    */
LSNN_API lsnn_status lsnn_cross_entropy_rubbish_forward(lsnn_ctx *cx, double *loss,
                                                        lsnn_real *p, const lsnn_real *x,
                                                        const int *label, int label_stride,
                                                        int n, int c, double j);

/* loss = mean over N*C of (x - t)^2; rows of t are t_stride apart.           */
LSNN_API lsnn_status lsnn_mse_forward(lsnn_ctx *cx, double *loss, const lsnn_real *x,
                                      const lsnn_real *t, int t_stride, int n, int c);
LSNN_API lsnn_status lsnn_mse_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *x,
                                       const lsnn_real *t, int t_stride, int n, int c,
                                       double weight, int add);

/* ---- >>api smoother: LSNN's U(p; theta) -------------------------------------
   y[n,k,p] = sum_l U[n,k,l,p] a[n,k,l,p] + b[k]      (LSNN Eq. 1; l = 1..rank)
   a N,K*rank,H,W is a convolution's output without bias.
   theta, numbers a map: GAUSSIAN mu_x, mu_y, alpha, beta, gamma (Eq. 6);
   GAUSSIAN_SEPARABLE without gamma; GAUSSIAN_1D mu, alpha, for signals (H = 1) or
   for windows on columns; TABLE H*W. TKN's windows (attentive regularisation):
   ATTENTION_GAUSSIAN, ATTENTION_CAUCHY mu_x, s_x, mu_y, s_y (TKN Eq. 8 to 14);
   BIVARIATE_GAUSSIAN, BIVARIATE_CAUCHY with r too, rho = tanh(r) (Eq. 4 to 7);
   ATTENTION_..._1D mu, s. A mixture of M > 1 (4.2.1) has M such groups,
   each followed by its logit: U = sum_m w_m G_m, w = softmax(logits).
   One set for all images (K*rank sets), or per_image (N*K*rank sets).
   u gets the maps: K*rank,H,W or N,K*rank,H,W.
   Positions run over [0, 1]: column j is at j / (W - 1), row i at i / (H - 1);
   the first coordinate of p and mu is the column. W = 1 puts it at 0. TKN's
   columns are at j / W, rows at i / H, and s counts half sides: sigma = s / 2. */
typedef enum lsnn_smooth_shape {
    LSNN_GAUSSIAN = 0, LSNN_TABLE, LSNN_GAUSSIAN_SEPARABLE, LSNN_GAUSSIAN_1D,
    LSNN_ATTENTION_GAUSSIAN, LSNN_ATTENTION_CAUCHY, LSNN_BIVARIATE_GAUSSIAN,
    LSNN_BIVARIATE_CAUCHY, LSNN_ATTENTION_GAUSSIAN_1D, LSNN_ATTENTION_CAUCHY_1D,
    LSNN_SMOOTH_SHAPE_INT_ = 0x7FFFFFFF
} lsnn_smooth_shape;
typedef enum lsnn_normalise {
    LSNN_NORMALISE_NONE = 0,         /* U as it is                            */
    LSNN_NORMALISE_SUM,              /* U / sum over positions  (LSNN Eq. 8)  */
    LSNN_NORMALISE_MEAN,             /* U / mean over positions               */
    LSNN_NORMALISE_INT_ = 0x7FFFFFFF
} lsnn_normalise;

typedef struct lsnn_smoother {
    int n, k, rank, h, w;            /* rank 0 means 1                        */
    lsnn_smooth_shape shape;
    int mixture;                     /* Gaussians a map, 0 -> 1; TABLE: 1     */
    lsnn_normalise normalise;        /* of each Gaussian; a TABLE takes none  */
    int per_image;                   /* theta differs from image to image     */
    int smooth_bias;                 /* y = sum_l U a + (sum_l U) b           */
    int lanes;                       /* 0, or lsnn_lanes: y and a are blocks of images */
} lsnn_smoother;

LSNN_API int lsnn_smoother_theta(const lsnn_smoother *s);   /* numbers a map  */
LSNN_API lsnn_status lsnn_smoother_map(lsnn_ctx *cx, lsnn_real *u, const lsnn_real *theta,
                                       const lsnn_smoother *s);
LSNN_API lsnn_status lsnn_smooth_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *u,
                                         const lsnn_real *a, const lsnn_real *theta,
                                         const lsnn_real *b, const lsnn_smoother *s);
/* dtheta of a per_image smoother belongs to another node: add_theta says whether
   it is added to; free theta is a parameter and is always added to. da may be dy
   if rank is 1.                                                              */
LSNN_API lsnn_status lsnn_smooth_backward(lsnn_ctx *cx, lsnn_real *da, lsnn_real *dtheta,
                                          lsnn_real *db, const lsnn_real *dy,
                                          const lsnn_real *a, const lsnn_real *u,
                                          const lsnn_real *theta, const lsnn_real *b,
                                          const lsnn_smoother *s, int add, int add_theta);

/* ---- >>api transformer: pictures moved, turned and scaled ---------------------
   grid N,2,H,W: for each pixel of the output the x and the y from which it comes, -1 to 1 over
   the picture's width and height, as theta N,6 says: x = t0 u + t1 v + t2, y = t3 u + t4 v + t5
   of the pixel's own place (u, v). align_corners, 0 or 1, is PyTorch's. dtheta may be NULL. */
LSNN_API lsnn_status lsnn_affine_grid_forward(lsnn_ctx *cx, lsnn_real *grid,
                                              const lsnn_real *theta, int n, int h, int w,
                                              int align_corners);
LSNN_API lsnn_status lsnn_affine_grid_backward(lsnn_ctx *cx, lsnn_real *dtheta,
                                               const lsnn_real *dgrid, int n, int h, int w,
                                               int align_corners, int add);
/* y N,C,OH,OW: x N,C,H,W at the grid's places, between its pixels; 0 beyond the picture, not a
   number where the grid is none. dx, dgrid: either may be NULL.              */
typedef struct lsnn_sampler { int n, c, h, w, oh, ow, align_corners; } lsnn_sampler;
LSNN_API lsnn_status lsnn_grid_sample_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                              const lsnn_real *grid, const lsnn_sampler *s);
LSNN_API lsnn_status lsnn_grid_sample_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dgrid,
                                               const lsnn_real *dy, const lsnn_real *x,
                                               const lsnn_real *grid, const lsnn_sampler *s,
                                               int add, int add_grid);

/* ---- >>api blend: a mixture of shared kernels at each place -------------------
   y[n,k,p] = sum_m g[m,p] a[n,m*K + k,p] + b[k]   a N,M*K,H,W  b K (NULL: none)  y N,K,H,W
   g M,H,W is made from theta: ROWS: M,H+W, softmax over m of theta[row] + theta[H + column];
   PLACES: M,H*W, softmax of theta[place]; FREE: the same numbers as they are. */
typedef enum lsnn_blend_kind {
    LSNN_BLEND_ROWS = 0, LSNN_BLEND_PLACES, LSNN_BLEND_FREE_ROWS, LSNN_BLEND_FREE_PLACES,
    LSNN_BLEND_KIND_INT_ = 0x7FFFFFFF
} lsnn_blend_kind;
typedef struct lsnn_blender {
    int n, k, banks, h, w;           /* banks: M                              */
    lsnn_blend_kind kind;
    int lanes;                       /* 0, or lsnn_lanes: y and a are blocks of images */
} lsnn_blender;
LSNN_API int lsnn_blender_theta(const lsnn_blender *s);      /* numbers a bank */
LSNN_API lsnn_status lsnn_blend_weights(lsnn_ctx *cx, lsnn_real *g, const lsnn_real *theta,
                                        const lsnn_blender *s);
LSNN_API lsnn_status lsnn_blend_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *a,
                                        const lsnn_real *g, const lsnn_real *b,
                                        const lsnn_blender *s);
LSNN_API lsnn_status lsnn_blend_backward(lsnn_ctx *cx, lsnn_real *da, lsnn_real *dtheta,
                                         lsnn_real *db, const lsnn_real *dy,
                                         const lsnn_real *a, const lsnn_real *g,
                                         const lsnn_blender *s, int add);

/* ---- >>api net: a graph of layers -------------------------------------------
   Build it from top to bottom: a call that adds a layer takes nodes made before
   and returns a new node's number, or -1 after a failure (a call given -1
   passes it on, so one check at lsnn_net_build is enough).                   */
typedef struct lsnn_net lsnn_net;

typedef enum lsnn_init {
    LSNN_INIT_HE = 0, LSNN_INIT_GLOROT, LSNN_INIT_ZERO, LSNN_INIT_INT_ = 0x7FFFFFFF
} lsnn_init;

/* Zero, where a 0 means the usual value: o.loss_weight = LSNN_ZERO (learned from by nobody, but
   evaluated), o.momentum = LSNN_ZERO (running statistics that stay), o.lr_factor = LSNN_ZERO
   (parameters that stay, and still have gradients). A number too small to change any.  */
#define LSNN_ZERO 1e-300

/* lp_pool's p: as the option norm says; or learned from there on, one a layer or a map. */
typedef enum lsnn_learn_norm {
    LSNN_NORM_FIXED = 0, LSNN_NORM_OF_LAYER, LSNN_NORM_OF_MAP, LSNN_NORM_INT_ = 0x7FFFFFFF
} lsnn_learn_norm;

/* Where mu and s of TKN's windows are brought back to after a step, on a side of L pixels:
   PAPER: s >= k / (sqrt 2 L), so that the region mu +- s / sqrt 2 of a kernel k wide (options
   kernel_h, kernel_w) is never smaller than it (3.5), and 0 <= mu <= 1 - 1 / L; a region that
   the border cuts is for the layer that computes in it to correct. CODE, the author's program:
   3 / (2 L) <= s <= 1, 1 / L <= mu <= 1 - 1 / L, regions of about 3 pixels. A side of 1 pixel is
   left alone.                                                                */
typedef enum lsnn_clip {
    LSNN_CLIP_NONE = 0, LSNN_CLIP_PAPER, LSNN_CLIP_CODE, LSNN_CLIP_INT_ = 0x7FFFFFFF
} lsnn_clip;
/* local2d's bias: a number a place and kernel, a number a kernel, or none (as no_bias). */
typedef enum lsnn_bias {
    LSNN_BIAS_OF_PLACE = 0, LSNN_BIAS_OF_KERNEL, LSNN_BIAS_NONE, LSNN_BIAS_INT_ = 0x7FFFFFFF
} lsnn_bias;
/* local2d's first weights: each place draws its own; or all places begin alike, a convolution
   that may drift apart.                                                      */
typedef enum lsnn_start {
    LSNN_START_EACH = 0, LSNN_START_ALIKE, LSNN_START_INT_ = 0x7FFFFFFF
} lsnn_start;

/* Everything optional about a layer; all zero is the default. A field that the
   layer's type does not read must stay zero (EVALUE names it).               */
typedef struct lsnn_options {
    const char *name;                /* default: type and a number, "conv2d1" */
    const char *share;               /* use the parameters and running statistics of that */
                                     /*   layer: one of the same type, all sizes alike */
    int keep;                        /* 1: the output stays readable          */
    /* parameters */
    lsnn_init init;                  /* of the weights; biases begin at 0     */
    double init_scale;               /* 0 -> 1: multiplies the drawn weights  */
    double lr_factor;                /* 0 -> 1: times the learning rate       */
    int freeze;                      /* 1: the optimizer leaves them alone    */
    int no_decay;                    /* 1: weights get no weight decay        */
    double decay_factor;             /* 0 -> 1: times the weight decay of weights */
    int no_bias;                     /* conv2d, local2d, dense, scale, smooth */
    /* windows: conv2d, local2d, poolings */
    int filters;                     /* kernels; dense: outputs (set by the call) */
    int kernel_h, kernel_w;          /* set by the call; here to be not square. smooth: see */
                                     /*   lsnn_clip; w 0 -> h                 */
    int stride_h, stride_w;          /* 0 -> 1, pooling: the kernel; w 0 -> h */
    lsnn_padding padding;
    int pad_top, pad_left, pad_bottom, pad_right;    /* for LSNN_EXPLICIT     */
    int dilation_h, dilation_w;      /* conv2d, local2d: 0 -> 1; w 0 -> h     */
    int groups;                      /* conv2d, local2d: 0 -> 1; channels: depthwise */
    lsnn_bias bias;                  /* local2d                               */
    lsnn_start start;                /* local2d                               */
    int banks;                       /* blend (set by the call)               */
    lsnn_blend_kind blend;           /* blend, lowrank2d                      */
    /* single types */
    double slope;                    /* leaky_relu: 0 -> 0.01                 */
    double rate;                     /* dropout (set by the call)             */
    double momentum;                 /* batch_norm: 0 -> 0.1                  */
    double eps;                      /* batch_norm: 0 -> 1e-5                 */
    int first, count;                /* slice: channels (set by the call)     */
    int head;                        /* losses: label column; mse: first target */
    double loss_weight;              /* losses: 0 -> 1                        */
    double rubbish;                  /* cross_entropy: a class more, of logit -rubbish */
    double norm;                     /* lp_pool: p, at least 1; 0 -> 2        */
    lsnn_learn_norm learn_norm;
    const char *table;               /* table_conv2d (set by the call)        */
    lsnn_smooth_shape smooth_shape;  /* smooth, target2d                      */
    lsnn_normalise normalise;
    int rank, mixture;               /* smooth: 0 -> 1                        */
    int smooth_bias;
    double l2;                       /* TKN's windows: a penalty l2 / 2 s^2 on each s; the */
                                     /*   loss that is reported leaves it out */
    lsnn_clip clip;                  /*   and where mu and s may go           */
    double dsc_alpha_max, dsc_tau;   /* dsc_...: 0 -> 0.9, 0.5                */
    double dsc_xi, dsc_eta;          /* 0 -> 0.3, 0.5                         */
    double dsc_theta;                /* the neurons' first alpha: 0 -> 0.1    */
    double dsc_spread;               /* first connections: alpha in the upper part, so large, of */
                                     /*   [0, alpha_max - tau]; 0 -> 0.25     */
    int dsc_silent, dsc_sums;        /* see lsnn_dsc                          */
    double dsc_beta;                 /* dsc_lateral                           */
    int dsc_places, dsc_maps;
    int grid_h, grid_w;              /* affine_grid (set by the call)         */
    int align_corners;               /* affine_grid, grid_sample: -1 and 1 are the outermost */
                                     /*   pixels' centres; 0: the edges      */
    double custom[4];                /* types of your own: "custom0", "custom1", ... */
} lsnn_options;

LSNN_API lsnn_net *lsnn_net_new(lsnn_ctx *cx);          /* NULL: ENOMEM       */
LSNN_API void lsnn_net_free(lsnn_net *net);             /* NULL is fine       */

LSNN_API int lsnn_input(lsnn_net *net, int c, int h, int w);   /* one a net   */
LSNN_API int lsnn_conv2d(lsnn_net *net, int x, int filters, int kernel, const lsnn_options *o);
/* A conv2d with kernels of 1 x kernel, for signals: C x 1 x W.               */
LSNN_API int lsnn_conv1d(lsnn_net *net, int x, int filters, int kernel, const lsnn_options *o);
/* Kernels that read only some maps each: table as lsnn_table_conv2d_forward has it. The net
   keeps a copy.                                                              */
LSNN_API int lsnn_table_conv2d(lsnn_net *net, int x, const char *table, int kernel,
                               const lsnn_options *o);
/* TKN's target layer: see lsnn_target2d_forward. Windows are smooth_shape's: LSNN_ATTENTION_
   GAUSSIAN (0: it) or _CAUCHY, theta K,4: mu_x, s_x, mu_y, s_y, which begin at 0.5, 1. The region
   of a kernel is mu +- s / sqrt 2 (Eq. 15), on a side of L pixels those from floor((mu -
   s / sqrt 2) L) to floor((mu + s / sqrt 2) L), cut at the border; with LSNN_CLIP_PAPER then not
   less than the kernel. At first it is everything.                            */
LSNN_API int lsnn_target2d(lsnn_net *net, int x, int filters, int kernel,
                           const lsnn_options *o);
LSNN_API int lsnn_local2d(lsnn_net *net, int x, int filters, int kernel, const lsnn_options *o);
LSNN_API int lsnn_local1d(lsnn_net *net, int x, int filters, int kernel, const lsnn_options *o);
/* Low-rank locally connected: at each place a learned mixture of `banks` sets of shared kernels,
   a conv2d "NAME-banks" of banks*filters maps and a blend NAME. The options go to the one that
   reads them, lr_factor and freeze to both. A blend's weights are readable as "NAME.weights". */
LSNN_API int lsnn_lowrank2d(lsnn_net *net, int x, int filters, int kernel, int banks,
                            const lsnn_options *o);
LSNN_API int lsnn_blend(lsnn_net *net, int x, int banks, const lsnn_options *o);
LSNN_API int lsnn_dense(lsnn_net *net, int x, int outputs, const lsnn_options *o);
/* Distances to `outputs` centres, which begin at random corners of [-1, 1]^C; freeze: they
   are a buffer, all 0, for lsnn_net_set.                                     */
LSNN_API int lsnn_rbf(lsnn_net *net, int x, int outputs, const lsnn_options *o);
/* Data-driven sparse connections: dense, shared and unshared windows. They learn by plain SGD
   alone, at an lr of at most 1, which is the rule itself. dsc_loss learns from labels, and is
   scored as cross_entropy is; dsc_lateral from nothing but who wins, which is its output. */
LSNN_API int lsnn_dsc_dense(lsnn_net *net, int x, int outputs, const lsnn_options *o);
LSNN_API int lsnn_dsc_conv2d(lsnn_net *net, int x, int filters, int kernel,
                             const lsnn_options *o);
LSNN_API int lsnn_dsc_local2d(lsnn_net *net, int x, int filters, int kernel,
                              const lsnn_options *o);
LSNN_API int lsnn_dsc_loss(lsnn_net *net, int x, const lsnn_options *o);
LSNN_API int lsnn_dsc_lateral(lsnn_net *net, int x, const lsnn_options *o);
LSNN_API int lsnn_relu(lsnn_net *net, int x, const lsnn_options *o);
LSNN_API int lsnn_leaky_relu(lsnn_net *net, int x, const lsnn_options *o);
LSNN_API int lsnn_sigmoid(lsnn_net *net, int x, const lsnn_options *o);
LSNN_API int lsnn_tanh(lsnn_net *net, int x, const lsnn_options *o);
LSNN_API int lsnn_scaled_tanh(lsnn_net *net, int x, const lsnn_options *o);
LSNN_API int lsnn_softmax(lsnn_net *net, int x, const lsnn_options *o);   /* over channels */
/* kernel 0 pools over the whole map; stride 0 is the kernel. Of equal maxima the first, in the
   order of rows, gets the gradient. Averages count the pixels inside the image.   */
LSNN_API int lsnn_max_pool(lsnn_net *net, int x, int kernel, const lsnn_options *o);
LSNN_API int lsnn_avg_pool(lsnn_net *net, int x, int kernel, const lsnn_options *o);
LSNN_API int lsnn_sum_pool(lsnn_net *net, int x, int kernel, const lsnn_options *o);
LSNN_API int lsnn_lp_pool(lsnn_net *net, int x, int kernel, const lsnn_options *o);
LSNN_API int lsnn_dropout(lsnn_net *net, int x, double rate, const lsnn_options *o);
/* A training batch of one value a channel has no spread: y = beta, and the running variance
   moves towards 0. Feed such a batch with training 0, or none.               */
LSNN_API int lsnn_batch_norm(lsnn_net *net, int x, const lsnn_options *o);
LSNN_API int lsnn_scale(lsnn_net *net, int x, const lsnn_options *o);     /* begins at g = 1 */
/* Two branches: make them in statements of their own. C does not say which argument of
   lsnn_add(net, f(net, x), g(net, x), NULL) is made first, and default names ("conv2d2"), so
   first values and files, go by the order in which layers are made.          */
LSNN_API int lsnn_add(lsnn_net *net, int a, int b, const lsnn_options *o);
LSNN_API int lsnn_concat(lsnn_net *net, const int *x, int count, const lsnn_options *o);
LSNN_API int lsnn_slice(lsnn_net *net, int x, int first, int count, const lsnn_options *o);
LSNN_API int lsnn_flatten(lsnn_net *net, int x, const lsnn_options *o);
/* theta: a node with (numbers a map)*K*rank features (LSNN-Content), or LSNN_FREE:
   the layer has its own (LSNN-Location, AR); they begin at mu ~ U(0.2, 0.8),
   alpha = beta = 1.5, gamma = 0, equal weights, a table at 1; TKN's windows at
   mu = 0.5, s = 1, rho = 0. The maps are readable as "NAME.map".             */
enum { LSNN_FREE = -2 };
LSNN_API int lsnn_smooth(lsnn_net *net, int a, int theta, const lsnn_options *o);
/* A spatial transformer: theta, a node of 6 numbers an image, says where each of h x w pixels
   comes from; grid_sample reads the picture x there, bilinear, 0 beyond it. Both need the same
   align_corners. A network for theta begins well with weights 0 and the bias 1 0 0 0 1 0, which
   leaves the picture as it is.                                               */
LSNN_API int lsnn_affine_grid(lsnn_net *net, int theta, int h, int w, const lsnn_options *o);
LSNN_API int lsnn_grid_sample(lsnn_net *net, int x, int grid, const lsnn_options *o);
/* Losses. cross_entropy reads scores, C x H x W of them as one class each, and its output is
   their softmax; mse's output is its input. The first cross_entropy of each head (label
   column) is what lsnn_evaluate scores; further ones are learned from only.  */
LSNN_API int lsnn_cross_entropy(lsnn_net *net, int x, const lsnn_options *o);
LSNN_API int lsnn_mse(lsnn_net *net, int x, const lsnn_options *o);

/* A layer type of your own: four functions and a name. See >>custom. What plan fills in is
   checked once, by lsnn_layer, and trusted from there on. A function that returns a status
   without lsnn_fail gets a message that names the layer.                     */
enum { LSNN_MAX_INPUTS = 16, LSNN_MAX_PARAMS = 4 };
typedef struct lsnn_param_spec {     /* a parameter, a buffer or a kept array */
    const char *name;                /* "weight": becomes "LAYER.weight"      */
    size_t count;                    /* 0, or the product of dim: the net computes it */
    int rank, dim[4];                /* 0 to 4 sizes, each at least 1         */
    int fan_in, fan_out;             /* for He and Glorot; 0: begins at `value` */
    double value;
    int no_decay;                    /* 1: no weight decay (biases, ...)      */
    double decay_factor;             /* 0 -> 1: times the weight decay        */
    double l2;                       /* a penalty l2 / 2 |w|^2: an optimizer's step adds l2 w */
    int l2_every;                    /*   to the gradient. Not 0: only of the numbers i whose */
    unsigned l2_mask;                /*   bit i % l2_every (at most 32) of l2_mask is set */
} lsnn_param_spec;
/* What the net may do with a layer, or-ed together. None of them is always right. */
enum {
    LSNN_IN_PLACE = 1,               /* y may be x and dx dy: backward never reads x */
    LSNN_DX_IN_PLACE = 2,            /* dx[0] may be dy                       */
    LSNN_X_FREE = 4,                 /* backward never reads x: others may overwrite it */
    LSNN_Y_FREE = 8,                 /* backward never reads y                */
    LSNN_IS_LOSS = 16,               /* ends a path and writes call.loss      */
    LSNN_CLASSIFIES = 32,            /* a loss whose y says how likely each class is; */
                                     /*   option head: the label's column     */
    LSNN_BLOCKS = 64,                /* takes x[0] and y in blocks of call.lanes images */
    LSNN_BLOCKS_ALL = 128,           /* takes all arrays so, and follows its inputs */
    LSNN_REHEARSES = 256,            /* lsnn_net_build may call it on zeros while */
                                     /*   lsnn_parallel does nothing, so that the ops it */
                                     /*   calls take their working memory then; */
                                     /*   plain loops take none and need it not */
    /* work that one layer does for a neighbour on the way, see call.does     */
    LSNN_IS_RELU = 512,              /* y = max(x, 0)                         */
    LSNN_RELU_AFTER = 1024,          /* does a relu of its y                  */
    LSNN_RELU_BEFORE = 2048,         /* does a relu of its x                  */
    LSNN_IS_MAX2 = 4096,             /* y: the largest of 2 x 2 pixels of x, side by side */
    LSNN_MAX2_AFTER = 8192,          /* does that with its y, its own y is not written */
    LSNN_CROPS = 16384,              /* makes fewer rows and columns of y if plan.out says so */
    LSNN_JOINS = 32768,              /* y: the channels of its inputs, one after another */
    LSNN_READS_PARTS = 65536,        /* reads such a y as the inputs it is made of: */
                                     /*   plan.inputs of them                 */
    LSNN_OWN_RULE = 131072,          /* dparam is no gradient but a rule's step: only SGD  */
                                     /*   without momentum, at an lr up to 1, takes it */
    LSNN_Y_STAYS = 262144            /* y's memory is nobody else's: 0 at first, and then what */
};                                   /*   the last call left, perhaps through a relu; and so */
                                     /*   is that of keep                     */
enum { LSNN_DO_RELU = 1, LSNN_DO_MAX2 = 2 };

typedef struct lsnn_layer_plan {     /* what `plan` reads and fills           */
    int inputs;
    lsnn_shape in[LSNN_MAX_INPUTS];  /* given                                 */
    lsnn_options o;                  /* given; plan puts defaults where 0 is  */
    int traits;                      /* given: the type's; plan takes out what does */
                                     /*   not hold for these sizes            */
    lsnn_shape out;
    int reads_h, reads_w;            /* rows and columns of in[0] that it reads; 0: all */
    lsnn_param_spec param[LSNN_MAX_PARAMS];  int params;
    lsnn_param_spec buffer[LSNN_MAX_PARAMS]; int buffers;
    size_t keep_per_image;           /* lsnn_reals kept from forward for backward */
    size_t keep_fixed;               /*   or so many for the whole batch      */
    const char *keep_name;           /* NULL, or readable as "LAYER.keep_name" */
    lsnn_shape keep_shape;           /*   of an image's part or of the fixed one */
    double macs;                     /* multiply-adds an image                */
    double connections[2];           /* an image's: units with what they read, with biases */
    /* NULL, or how many of macs these parameters leave, and how many are really made: see
       lsnn_net_macs_now                                                      */
    lsnn_status (*macs_now)(lsnn_ctx *cx, const struct lsnn_layer_plan *p,
                            const lsnn_real *const *param, double now[2]);
} lsnn_layer_plan;
/* Of a net on a device: what changes from step to step, in the device's memory, for kernels to
   read there. Launches may be recorded and repeated, arguments and all: what a pair launches
   must depend on nothing else that changes.                                  */
typedef struct lsnn_now {
    uint32_t step, sample;           /* for draws: see lsnn_rng_at            */
    int total;                       /* images of the whole batch             */
    double lr, c1, c2;               /* an optimizer's, see >>updates         */
} lsnn_now;
typedef struct lsnn_device {         /* what a device pair launches with      */
    void *stream;                    /* its cudaStream_t                      */
    int dry;                         /* 1: lsnn_net_build checks: launch nothing */
    const lsnn_now *now;             /* in the device's memory                */
} lsnn_device;
typedef struct lsnn_call {           /* what forward and backward work on     */
    const lsnn_layer_plan *plan;
    int n, training;                 /* images in this batch                  */
    int frozen;                      /* 1: option freeze of the layer whose parameters these */
                                     /*   are: leave buffers as they are      */
    int lanes;                       /* 0: plain arrays; else see lsnn_interleave */
    int does;                        /* LSNN_DO_...: a neighbour's work, on the way */
    const lsnn_real *x[LSNN_MAX_INPUTS];
    lsnn_real *y;
    lsnn_real *dy;                   /* written only by LSNN_RELU_AFTER's backward */
    lsnn_real *dx[LSNN_MAX_INPUTS];  /* NULL: not wanted                      */
    int add[LSNN_MAX_INPUTS];        /* LSNN_SET or LSNN_ADD, per dx: of the readers of an */
                                     /*   output that take it in one layout, the first to */
                                     /*   run in backward sets and the others add; where */
                                     /*   readers take both layouts there are two firsts. So */
                                     /*   which it is may differ from batch to batch: do */
                                     /*   what `add` says                     */
    const lsnn_real *param[LSNN_MAX_PARAMS];
    lsnn_real *dparam[LSNN_MAX_PARAMS];      /* add to these; NULL: frozen    */
    lsnn_real *buffer[LSNN_MAX_PARAMS];
    lsnn_real *keep;
    int total;                       /* images of the batch that this may be a part of */
    int *kept;                       /* 0 until forward sets it, and again when parameters */
                                     /*   have changed: what `keep` holds is still right */
    const int *labels; int heads;    /* N x heads, NULL when predicting       */
    const lsnn_real *targets; int target_count;
    double loss;                     /* a loss layer writes it, weight included */
    lsnn_rng rng;                    /* at this layer's name, step, first sample */
    lsnn_device *device;             /* NULL, or all arrays above but kept lie there: it is */
                                     /*   the type's device pair that is called */
    double *device_loss;             /*   which writes a loss here, for `total` images */
} lsnn_call;
typedef struct lsnn_projection {     /* what `project` works on               */
    const lsnn_layer_plan *plan;
    lsnn_real *param[LSNN_MAX_PARAMS];       /* NULL: frozen. A layer that shares another's */
    lsnn_real *buffer[LSNN_MAX_PARAMS];      /*   is not asked: that one is   */
    uint32_t step;                   /* steps made, with this one             */
    double lr;                       /* this one's learning rate              */
    lsnn_device *device;             /* as lsnn_call's: step and lr are then in its lsnn_now */
} lsnn_projection;
typedef struct lsnn_layer_type {
    const char *name;
    const char *options;             /* the option fields it reads, "stride_h custom0" */
    int min_inputs, max_inputs;
    int traits;                      /* LSNN_IN_PLACE, ... or 0               */
    lsnn_status (*plan)(lsnn_ctx *cx, lsnn_layer_plan *p);
    lsnn_status (*forward)(lsnn_ctx *cx, lsnn_call *c);
    lsnn_status (*backward)(lsnn_ctx *cx, lsnn_call *c);
    /* NULL, or draws the first values of parameter number i                  */
    void (*init)(const lsnn_layer_plan *p, int i, lsnn_real *v, lsnn_rng *rng);
    /* NULL, or run after each step of an optimizer: brings parameters back to where they may
       be, or changes them by a rule that is no gradient                      */
    lsnn_status (*project)(lsnn_ctx *cx, const lsnn_projection *p);
    /* NULL, or the same on a device (docs/cuda.md): they launch kernels, and wait for none. A
       net on a device refuses, by name, a type that has none                 */
    lsnn_status (*device_forward)(lsnn_ctx *cx, lsnn_call *c);
    lsnn_status (*device_backward)(lsnn_ctx *cx, lsnn_call *c);
    lsnn_status (*device_project)(lsnn_ctx *cx, const lsnn_projection *p);
} lsnn_layer_type;
LSNN_API int lsnn_layer(lsnn_net *net, const lsnn_layer_type *type, const int *x, int count,
                        const lsnn_options *o);

/* Allocates all memory for batches of up to `batch` images and draws the first
   parameters. A step allocates nothing after it (see MEMORY in the manual).  */
typedef struct lsnn_build_desc {
    int batch;                       /* 0 -> 64                               */
    uint64_t seed;                   /* first parameters, dropout, data order */
    int predict_only;                /* no gradients: less memory, no training */
    int profile;                     /* 1: keeps time, for lsnn_net_profile   */
    const char *device;              /* NULL or "cpu"; "cuda", "cuda:1" with LSNN_USE_CUDA: */
                                     /*   where the net lives and runs        */
} lsnn_build_desc;
LSNN_API lsnn_status lsnn_net_build(lsnn_net *net, const lsnn_build_desc *d);
/* A line a layer: shape, parameters, multiply-adds, connections (what its units read + their
   biases, "by" how many weights + biases: shared ones count each time), how it is run, and
   what lsnn_net_macs_now counts where it differs.                            */
LSNN_API void lsnn_net_summary(const lsnn_net *net, FILE *out);
/* What each layer has cost since the net was built with `profile`: milliseconds a batch,
   share, operations (a multiply-add is two) and GFLOPS, forward and backward. ESTATE if it
   was built without.                                                         */
LSNN_API lsnn_status lsnn_net_profile(const lsnn_net *net, FILE *out);
LSNN_API size_t lsnn_net_params(const lsnn_net *net);   /* how many numbers   */
LSNN_API double lsnn_net_macs(const lsnn_net *net);     /* multiply-adds an image */
/* The same where parameters decide how much is computed, as they are now. learned: target2d's
   regions times all taps of a kernel, as TKN counts. computed: those that are made, in blocks of
   images; taps in the padding are not, and regions of nearly the whole map cost as much as it
   does. Of every other layer both are what lsnn_net_macs counts. NULL: not wanted. ESTATE: the
   net is not built.                                                          */
LSNN_API lsnn_status lsnn_net_macs_now(lsnn_net *net, double *learned, double *computed);
LSNN_API lsnn_shape lsnn_net_shape(const lsnn_net *net, int node);
LSNN_API int lsnn_net_node(const lsnn_net *net, const char *name);  /* -1: none */
LSNN_API int lsnn_net_output(const lsnn_net *net);      /* what lsnn_predict returns:
                                     the first loss's input, else the last node */
LSNN_API void lsnn_net_set_output(lsnn_net *net, int node);  /* before build  */

/* One batch. x: N x input shape. labels: N x heads, needed by cross_entropy.
   targets: N x target_count, needed by mse. All stay the caller's, and must stay as
   they are until lsnn_backward is done.                                      */
typedef struct lsnn_batch {
    int n;
    const lsnn_real *x;
    const int *labels; int heads;
    const lsnn_real *targets; int target_count;
    uint32_t step;                   /* addresses dropout's draws. 0: as many steps as an */
                                     /*   optimizer of this net has made      */
    /* A batch that is fed in parts, a forward and a backward each: */
    uint32_t sample;                 /* this part's first image, counted in the whole; and how */
    int total;                       /*   many images that has: losses are means over all of */
} lsnn_batch;                        /*   them. 0: it is whole                */
/* *loss (may be NULL): the sum of the losses, weights included; of a part, its share of the
   whole batch's. training 1: lsnn_backward
   may follow, dropout draws, batch_norm uses the batch; 0 without labels and targets: only
   what the output needs is run. EDIVERGED: x or targets hold a NaN or an infinity
   (nothing was done then, and the message names the sample), or the loss is not finite. */
LSNN_API lsnn_status lsnn_forward(lsnn_net *net, const lsnn_batch *b, int training,
                                  double *loss);
LSNN_API lsnn_status lsnn_backward(lsnn_net *net);  /* adds to gradients; once a forward */
LSNN_API void lsnn_zero_grad(lsnn_net *net);
/* y: N x output shape; any N. Softmax is not applied to logits. EDIVERGED: x or y holds a NaN or
   an infinity; the message names the sample.                                 */
LSNN_API lsnn_status lsnn_predict(lsnn_net *net, const lsnn_real *x, int n, lsnn_real *y);

/* By name: "conv2d1.weight" (parameter or buffer), "grad:conv2d1.weight", "smooth1.map";
   "conv2d1", the output in the last forward (its n images), of what is kept, the net's
   output, the losses and what they read; "grad:conv2d1" of what is kept. dim (may be NULL)
   gets up to 4 sizes. `count` must be exact. ENAME, ESHAPE; ESTATE: not kept.  */
LSNN_API lsnn_status lsnn_net_dims(lsnn_net *net, const char *name, int *rank, int dim[4]);
LSNN_API lsnn_status lsnn_net_get(lsnn_net *net, const char *name, lsnn_real *v, size_t count);
LSNN_API lsnn_status lsnn_net_set(lsnn_net *net, const char *name, const lsnn_real *v,
                                  size_t count);
/* Gives layer `local` of a built net, a local2d, at all places the weights and the bias of
   `conv`, a conv2d of `from` (which may be the same net), perhaps a trained one: it computes the
   same, and may drift apart. ENAME: no such layer; ESHAPE: other sizes; EVALUE: a bias that
   local has no place for.                                                    */
LSNN_API lsnn_status lsnn_net_unshare(lsnn_net *net, const char *local, const lsnn_net *from,
                                      const char *conv);
/* The table of parameters (kind 0) and buffers (kind 1): name of number i, NULL
   past the end.                                                              */
LSNN_API const char *lsnn_net_param_name(const lsnn_net *net, int kind, int i, size_t *count);

/* A workspace lets another thread predict with a net that nobody is changing:
   one context and one workspace a thread.                                    */
typedef struct lsnn_work lsnn_work;
LSNN_API lsnn_work *lsnn_work_new(lsnn_ctx *cx, const lsnn_net *net, int batch);
LSNN_API void lsnn_work_free(lsnn_work *w);
LSNN_API lsnn_status lsnn_work_predict(lsnn_work *w, const lsnn_real *x, int n, lsnn_real *y);

/* ---- >>api data: where samples come from ------------------------------------
   A data set is a function that writes sample `index` as it looks in `epoch`;
   it is called from several threads at once. x: the shape's numbers; labels: `heads`,
   NULL if that is 0; targets: `target_count`, NULL if that is 0.             */
typedef struct lsnn_data {
    int count;                       /* samples                               */
    lsnn_shape shape;
    int heads, classes;              /* labels a sample, each in [0, classes) */
    int target_count;                /* real targets a sample (mse), or 0     */
    void (*fetch)(const void *user, uint32_t epoch, int index, lsnn_real *x, int *labels,
                  lsnn_real *targets);
    const void *user;
    void *owned_; lsnn_allocator mem_;   /* private                            */
} lsnn_data;
LSNN_API void lsnn_data_free(lsnn_data *d);
/* Your own arrays, which must outlive d. labels: count x heads. heads may be 0
   and labels NULL: samples without labels, to predict with.                  */
LSNN_API lsnn_status lsnn_data_arrays(lsnn_ctx *cx, lsnn_data *d, const lsnn_real *x,
                                      const int *labels, int count, lsnn_shape shape,
                                      int heads, int classes);
/* Samples [first, first + count) of another set, which must outlive this one. */
LSNN_API lsnn_status lsnn_data_part(lsnn_ctx *cx, lsnn_data *d, const lsnn_data *whole,
                                    int first, int count);

/* A random split, the same for the same seed: `count` samples are held out, the others kept,
   each in the order of the whole, which must outlive both. group: NULL, or a number a
   sample; groups stay together (more than count are then held out). EVALUE if none is left. */
LSNN_API lsnn_status lsnn_data_split(lsnn_ctx *cx, lsnn_data *kept, lsnn_data *held,
                                     const lsnn_data *whole, const int *group, int count,
                                     uint64_t seed);

/* IDX files (MNIST's format), unsigned bytes, rank 1 to 4. With LSNN_USE_ZLIB
   the reader takes .gz too (else EUNSUPPORTED). Where x-idx3-ubyte is missing it tries
   x-idx3-ubyte.gz, x.idx3-ubyte and x.idx3-ubyte.gz, as unpackers call them; first of all, a
   folder x-idx3-ubyte that holds the file.                                   */
typedef struct lsnn_idx {
    int rank, dim[4];
    unsigned char *v;                /* product of dim bytes                  */
} lsnn_idx;
LSNN_API lsnn_status lsnn_idx_read(lsnn_ctx *cx, lsnn_idx *a, const char *path);
LSNN_API lsnn_status lsnn_idx_write(lsnn_ctx *cx, const lsnn_idx *a, const char *path);
LSNN_API void lsnn_idx_free(lsnn_ctx *cx, lsnn_idx *a);
/* Images (N,H,W or N,C,H,W; pixel / 255) and labels (N or N,heads), which must
   outlive d. Counts and label range are checked.                             */
LSNN_API lsnn_status lsnn_data_idx(lsnn_ctx *cx, lsnn_data *d, const lsnn_idx *images,
                                   const lsnn_idx *labels, int classes);

/* ---- >>api sets: other people's data sets, from their own files -------------
   A reader adds its file's samples to s, which is all zero before the first and freed by
   lsnn_set_free; after a failure s is as it was. EIO, EFORMAT, EVALUE, EUNSUPPORTED: the
   message names the file, the field and what it should be. Files may be .gz as above. */
typedef struct lsnn_set {
    lsnn_idx images, labels;         /* N,C,H,W and N, bytes: for lsnn_idx_write, too */
    int classes;
    int *group;                      /* NULL, or N: equal for pictures of one thing (a track */
                                     /*   of GTSRB), for lsnn_data_split; each negative one */
                                     /*   is of a picture alone               */
} lsnn_set;
/* CIFAR's binary files, 3x32x32. classes 10: CIFAR-10; 100, 20: CIFAR-100, its fine or its
   coarse labels; else as CIFAR-10: GTSRB in packed records has 43.           */
LSNN_API lsnn_status lsnn_cifar_read(lsnn_ctx *cx, lsnn_set *s, const char *path, int classes);
/* SVHN's cropped digits, train_32x32.mat: MATLAB 5 to 7 (not 7.3), packed or not. */
LSNN_API lsnn_status lsnn_svhn_read(lsnn_ctx *cx, lsnn_set *s, const char *path);
/* GTSRB's official files: path is a GT-....csv, its PPM pictures lie beside it. Each whole
   picture, or (box 1) its columns [Roi.X1, Roi.X2) and rows [Roi.Y1, Roi.Y2), is resized to
   side x side: bilinear, not averaged, to the bit as OpenCV's INTER_LINEAR, with which the
   packed records of whole pictures agree.                                    */
LSNN_API lsnn_status lsnn_gtsrb_read(lsnn_ctx *cx, lsnn_set *s, const char *path, int side,
                                     int box);
/* A whole set by its name from the folder of its files, the training or the test part:
   mnist, cifar10, cifar100, cifar20, svhn, gtsrb (packed records or official files), gtsrb-box.
   ENAME: not one of them. lsnn_set_name(i): the names, NULL behind the last. */
LSNN_API lsnn_status lsnn_set_load(lsnn_ctx *cx, lsnn_set *s, const char *name,
                                   const char *folder, int test);
LSNN_API const char *lsnn_set_name(int i);
LSNN_API void lsnn_set_free(lsnn_ctx *cx, lsnn_set *s);
/* As a data set (pixel / 255): s must outlive d.                             */
LSNN_API lsnn_status lsnn_data_set(lsnn_ctx *cx, lsnn_data *d, const lsnn_set *s);

/* The UNBC-McMaster shoulder pain archive, as it is handed out: FOLDER/Images/S/Q/F.png,
   AAM_landmarks/S/Q/F_aam.txt (66 lines: x y), Frame_Labels/PSPI/S/Q/F_facs.txt (0 to 16); and
   FOLDER/frames.txt, the frames to read, a line each, made in AAM_landmarks by
       find . -name '*_aam.txt' | LC_ALL=C sort > ../frames.txt
   Faces are kept as they are in the frames (about 30 KB each), and warped when a sample is drawn
   (TKN 4.1): by the landmarks to a frontal face, 3x48x48, black round it.    */
typedef struct lsnn_pain {
    int count, subjects;             /* frames; persons in frames.txt         */
    int *subject;                    /* of each frame: 0, 1, ...              */
    unsigned char *level;            /* of each frame: the intensity of pain  */
    /* set these after reading: */
    double noise;                    /* landmarks are moved by this standard deviation, in */
                                     /*   pixels of the 48x48; anew in each epoch */
    int flip;                        /* 1: every second face, on average, is mirrored */
    uint64_t seed;
    struct lsnni_faces *faces_; int room_;       /* private                   */
} lsnn_pain;
/* Subjects [first, first + subjects), 0: all from first on (the paper trains on 18 of 25). */
LSNN_API lsnn_status lsnn_pain_read(lsnn_ctx *cx, lsnn_pain *p, const char *folder, int first,
                                    int subjects);
LSNN_API void lsnn_pain_free(lsnn_ctx *cx, lsnn_pain *p);
/* As a data set with one target, for mse. p must outlive d.                  */
LSNN_API lsnn_status lsnn_data_pain(lsnn_ctx *cx, lsnn_data *d, const lsnn_pain *p);

/* ---- >>api recipes: the data sets of the source documents -------------------
   digits     28x28 handwritten-like digits, drawn here from stroke models
   cluttered  LSNN 5.1: 84x84, a digit at a uniform place, 32 crops of 6x6
   arrow      LSNN 5.2: 84x84, digits in two of the corners, and in the middle an
              arrow that points to the labelled one
   rectangle  LSNN 5.2: 84x84, two digits at uniform places that do not overlap,
              and a frame round the labelled one
   sequence   LSNN 5.3: 100x100, three digits side by side on a line of -45 to 45
              degrees, 8 crops of 6x6; three labels, from left to right
   tlmnist    TKN 4.1: 56x56, the labelled digit in the top left 28x28, others in the other
              three quadrants
   Cluttered to sequence are reduced to 42x42. What LSNN leaves open, as we read it:
   clutter is added and clipped at 255; an output pixel is the mean over the area
   it covers; the arrow is 20x20 and lies anywhere in the middle 28x28; the frame
   is 2 pixels wide; the lines of a sequence rise by a uniform number of pixels.
   The label is that of the sample's own image (sequence: the first label); the
   other digits are drawn from the recipe's images too, with replacement.     */
typedef enum lsnn_task { LSNN_TASK_DIGITS = 0, LSNN_TASK_CLUTTERED, LSNN_TASK_ARROW,
    LSNN_TASK_RECTANGLE, LSNN_TASK_SEQUENCE, LSNN_TASK_TLMNIST, LSNN_TASK_COUNT_,
    LSNN_TASK_INT_ = 0x7FFFFFFF } lsnn_task;
typedef struct lsnn_recipe {
    lsnn_task task;
    uint64_t seed;
    int test;                        /* 1: the test set's draws               */
    const lsnn_idx *images, *labels; /* N x 28 x 28 digits to place           */
    const lsnn_idx *crops;           /* training images: clutter is cut from them */
    int fresh;                       /* 1: drawn anew each epoch              */
    int first, count;                /* images [first, first + count), no others: */
                                     /*   0 -> all from first on (digits: needed) */
    int classes;                     /* of the labels, at most 256; 0 -> 10, or as many as */
                                     /*   they have (letters: 26): give training and test */
                                     /*   set the same                        */
} lsnn_recipe;
typedef struct lsnn_place { int x, y, w, h; } lsnn_place;   /* in output pixels */
LSNN_API const char *lsnn_task_name(lsnn_task t);
LSNN_API lsnn_task lsnn_task_from_name(const char *name);   /* COUNT_ if unknown */
LSNN_API lsnn_shape lsnn_task_shape(lsnn_task t);
LSNN_API int lsnn_task_heads(lsnn_task t);                  /* labels a sample */
LSNN_API int lsnn_task_digits(lsnn_task t);                 /* digits, the labelled first */
/* Checks a recipe: ESHAPE, EVALUE.                                           */
LSNN_API lsnn_status lsnn_recipe_check(lsnn_ctx *cx, const lsnn_recipe *r);
/* Draws sample `index`, the image first + index, as bytes; `heads` labels; and
   where its digits lie, rounded outwards (place: lsnn_task_digits, or NULL).
   pixels: those of lsnn_task_shape. r must have passed lsnn_recipe_check.    */
LSNN_API void lsnn_recipe_draw(const lsnn_recipe *r, uint32_t epoch, int index,
                               unsigned char *pixels, unsigned char *labels, lsnn_place *place);
/* As a data set: r, and the arrays it points to, must outlive d.             */
LSNN_API lsnn_status lsnn_data_recipe(lsnn_ctx *cx, lsnn_data *d, const lsnn_recipe *r);
/* One built-in digit, 28x28, 0 black to 255 white, centred as MNIST's are. Outside of 0..9
   it draws a 0.                                                              */
LSNN_API void lsnn_digit_draw(lsnn_rng *r, int digit, unsigned char *pixels);

/* ---- >>api training ---------------------------------------------------------*/
typedef enum lsnn_method {
    LSNN_SGD = 0, LSNN_ADAM, LSNN_ADAMW, LSNN_METHOD_INT_ = 0x7FFFFFFF
} lsnn_method;
/* The learning rate of step t, counted from 0: lr (t + 1) / W while t < W = warmup_steps, then
   constant: lr; step: lr step_factor^floor(t / step_every); milestones: lr step_factor^(how
   many <= t); cosine: lr (1 + cos(pi (t - W) / (total_steps - W))) / 2.       */
typedef enum lsnn_schedule {
    LSNN_CONSTANT = 0, LSNN_STEP, LSNN_COSINE, LSNN_MILESTONES,
    LSNN_SCHEDULE_INT_ = 0x7FFFFFFF
} lsnn_schedule;
enum { LSNN_MAX_MILESTONES = 8 };
typedef struct lsnn_optimizer_desc {
    lsnn_method method;
    double lr;                       /* 0 -> 0.01 (SGD), 0.001 (Adam, AdamW)  */
    double momentum;                 /* SGD: v = momentum v + g; w -= lr v    */
    int nesterov;                    /* SGD: w -= lr (g + momentum v)         */
    double one_minus_beta1;          /* Adam: 0 -> 0.1                        */
    double one_minus_beta2;          /* Adam: 0 -> 0.001                      */
    double eps;                      /* Adam: 0 -> 1e-8                       */
    double weight_decay;             /* SGD, Adam: g += wd w; AdamW: w -= lr wd w */
    double clip_norm;                /* 0 -> off: longest gradient            */
    lsnn_schedule schedule;
    int warmup_steps;                /* lr rises linearly over these first    */
    int total_steps;                 /* cosine: where lr reaches 0 (fit sets it) */
    int step_every;                  /* step: multiply by step_factor so often */
    double step_factor;              /* 0 -> 0.1                              */
    int milestones[LSNN_MAX_MILESTONES];     /* milestones: multiply by step_factor at each of */
                                     /*   these steps; they rise, 0 ends them */
} lsnn_optimizer_desc;
typedef struct lsnn_optimizer lsnn_optimizer;
LSNN_API lsnn_optimizer *lsnn_optimizer_new(lsnn_net *net, const lsnn_optimizer_desc *d);
LSNN_API void lsnn_optimizer_free(lsnn_optimizer *o);
/* Learning rate at step t = 0, 1, ...                                        */
LSNN_API double lsnn_optimizer_lr(const lsnn_optimizer_desc *d, uint32_t step);
/* Adds the penalties (lsnn_param_spec's l2) to the gradients, applies them, lets the layers
   `project`, and zeroes the gradients. EDIVERGED if they are not finite.      */
LSNN_API lsnn_status lsnn_optimizer_step(lsnn_optimizer *o);

typedef struct lsnn_progress {
    int epoch, epochs;               /* from 0; epoch_done: just finished     */
    int step, steps;                 /* within the epoch                      */
    int epoch_done;
    double loss, error;              /* means over this epoch so far; error in % */
    double lr, seconds, images_per_s;        /* seconds since this lsnn_fit began */
    double valid_loss, valid_error;  /* at epoch_done, if there is a valid set */
    int best_epoch;                  /* the best so far, -1: none             */
    double best;                     /*   its valid_error; without classes its valid_loss */
} lsnn_progress;
typedef struct lsnn_fit_desc {
    int epochs;                      /* 0 -> 1                                */
    lsnn_optimizer_desc optimizer;
    int milestones[LSNN_MAX_MILESTONES];     /* the optimizer's, in epochs: 10 changes the rate */
                                     /*   after 10 epochs, and sets the schedule */
    const lsnn_data *valid;          /* evaluated after each epoch            */
    int keep_best;                   /* 1: at the end the net is that of the best epoch: of */
                                     /*   least valid_error (without classes: valid_loss), */
                                     /*   of equals the first                 */
    int patience;                    /* end after so many epochs in a row that were not the */
                                     /*   best; 0 -> never                    */
    int (*progress)(const lsnn_progress *p, void *user);   /* non-zero: stop  */
    void *user;
    const char *save;                /* checkpoint file                       */
    int save_every;                  /* steps; 0 -> at the end of each epoch  */
    const char *resume;              /* checkpoint to go on from              */
    const char *note;                /* saved with it, perhaps what the data are: a */
                                     /*   resume with another note is refused */
    int keep_order;                  /* 1: do not shuffle                     */
    lsnn_progress *last;             /* gets the last progress                */
    int verbose;                     /* 1: a line at its end, to log_fn, of what was done */
} lsnn_fit_desc;
/* Returns STOPPED if progress asked for it (a checkpoint is written first), OK if patience
   ran out. A checkpoint loads as the net that was trained last; the best one lies in it, too,
   for a resume: save the net that lsnn_fit leaves to have it in a file. Each call
   begins with epoch 0 and a new optimizer, so two calls of one epoch see the same order
   and the same fresh drawings twice: ask for two epochs, or resume.          */
LSNN_API lsnn_status lsnn_fit(lsnn_net *net, const lsnn_data *train, const lsnn_fit_desc *d);

enum { LSNN_MAX_HEADS = 8 };
typedef struct lsnn_score {
    double loss;
    double error;                    /* %: mean over heads                    */
    double whole_error;              /* %: samples with any head wrong        */
    double head_error[LSNN_MAX_HEADS];
    int *confusion;                  /* set before: classes x classes, [truth][guess] */
    double *class_error;             /* set before, with confusion: classes, in % */
} lsnn_score;
/* In the data's order, as in epoch 0. The largest score is the guess, the first of equal
   ones, as with lsnn_predict's scores. s: all zero, then confusion and class_error set if
   wanted (a class without samples: 0). ESTATE without a loss, ESHAPE if the data do not
   fit.                                                                       */
LSNN_API lsnn_status lsnn_evaluate(lsnn_net *net, const lsnn_data *data, lsnn_score *s);

/* ---- >>api files ------------------------------------------------------------
   safetensors; the graph is in the metadata. Written to PATH.tmp (or, where that name is
   taken or too long, to another in the folder), synced, then renamed over PATH, so that PATH
   is always whole; it is a new file, in place of a link, too, of the old one's mode, owner
   and group. EIO if that is read-only, or if another program is saving to the same path (not
   on Windows). A path of NULL: EVALUE.                                       */
typedef struct lsnn_pair { const char *key, *value; } lsnn_pair;
LSNN_API lsnn_status lsnn_net_save(lsnn_net *net, const char *path);
/* Builds the file's net. types: your own layer types, if it uses any.        */
LSNN_API lsnn_net *lsnn_net_load(lsnn_ctx *cx, const char *path, const lsnn_build_desc *d,
                                 const lsnn_layer_type *const *types, int count);
/* Reads parameters and buffers into a net of the same names and shapes. ESTATE if the
   file has a graph, and a layer of a name differs in its type or in an option that
   prediction depends on; EFORMAT if a file with a graph has more than the net. One without,
   from elsewhere, may have more.                                             */
LSNN_API lsnn_status lsnn_net_read(lsnn_net *net, const char *path);
/* The same from other people's files, or from a part of another net. The file must have all
   that the net has, unless it is `partial`, and may have more. Where nothing at all fits:
   EFORMAT. On failure the net is as it was. d NULL: lsnn_net_read.           */
typedef struct lsnn_read_desc {
    const lsnn_pair *names;          /* key: a parameter or buffer of the net, value: what */
    int name_count;                  /*   the file calls it, or NULL: not from the file; */
                                     /*   names that are not listed are the same in both */
    int partial;                     /* 1: takes what has the name, the sizes and, in a file */
                                     /*   with a graph, the layer's type and options; the */
                                     /*   rest keeps the values that it has   */
    int *taken;                      /* NULL, or gets how many of them were taken */
} lsnn_read_desc;
LSNN_API lsnn_status lsnn_net_read_as(lsnn_net *net, const char *path,
                                      const lsnn_read_desc *d);

/* Writes one C99 file with a function
       void NAME_predict(const float *x, float *y);     x: input shape, y: output shape
   that is lsnn_predict for one image: plain loops, weights as constant arrays, no allocation,
   no file, no library but math. Of the weights of dense, conv2d and local2d it stores what
   `storage` says, everything else as floats. ENAME: a name that C does not take;
   EUNSUPPORTED: a dsc layer, a type of your own; EVALUE: a parameter that is not finite. */
typedef enum lsnn_storage {
    LSNN_STORE_FLOAT,
    LSNN_STORE_HALF,                 /* IEEE binary16                         */
    LSNN_STORE_INT8,                 /* 8 bits, and one factor an output      */
    LSNN_STORAGE_INT_ = 0x7FFFFFFF
} lsnn_storage;
typedef struct lsnn_export_desc {
    const char *name;                /* NULL -> "net"                         */
    lsnn_storage storage;
    int static_buffers;              /* 1: buffers are static, not on the stack */
} lsnn_export_desc;
LSNN_API lsnn_status lsnn_net_export_c(lsnn_net *net, const char *path,
                                       const lsnn_export_desc *d);
/* Writes an ONNX model (opset 13; 16 with a grid_sample) of the prediction, for ONNX Runtime
   and others: input "input" (the input layer's name), N x C x H x W; output: the output
   layer's name. Every layer type of the library but dsc's has a form, smoothers too, though one
   whose mu lies far outside of the map loses digits there. EUNSUPPORTED: those, and a layer
   type of your own.                                                           */
LSNN_API lsnn_status lsnn_net_export_onnx(lsnn_net *net, const char *path);
/* Rounds those weights, here in the net, to what that storage keeps: predictions are then
   the file's, so that what it costs can be measured.                          */
LSNN_API lsnn_status lsnn_net_round(lsnn_net *net, lsnn_storage storage);

/* The file format by itself: named arrays and a table of strings. count is the product of
   the sizes, each name stands once (write: else ESHAPE, EVALUE). What was read is freed
   by lsnn_file_free. No such name: NULL. Read are F64, F32, F16 and BF16, of any rank; what
   holds anything else (I64, BOOL, ...) is only named. Written is lsnn_real.
   lsnn_file_read takes NumPy's .npy (an array named as the file) and .npz files too, and so
   does lsnn_net_read: '<f2', '<f4' and '<f8' in C order; other arrays of an archive are only
   named, an other .npy is EUNSUPPORTED.                                      */
typedef struct lsnn_tensor {
    const char *name;
    int rank, dim[4];                /* the first four sizes                  */
    size_t count;
    const lsnn_real *v;              /* read: converted to lsnn_real          */
    const int *dims;                 /* all sizes; to write: may be NULL up to rank 4 */
    const char *dtype;               /* read: the file's, "F64", "F32", "F16" or "BF16" */
} lsnn_tensor;
typedef struct lsnn_file {
    lsnn_tensor *tensor; int tensors;
    lsnn_pair *meta; int metas;
    lsnn_pair *skipped; int skips;   /* what was not read: name and dtype     */
    void *block_[4];                 /* private                               */
} lsnn_file;
LSNN_API lsnn_status lsnn_file_read(lsnn_ctx *cx, lsnn_file *f, const char *path);
LSNN_API void lsnn_file_free(lsnn_ctx *cx, lsnn_file *f);
LSNN_API const lsnn_tensor *lsnn_file_tensor(const lsnn_file *f, const char *name);
LSNN_API const char *lsnn_file_meta(const lsnn_file *f, const char *key);
LSNN_API lsnn_status lsnn_file_write(lsnn_ctx *cx, const char *path, const lsnn_tensor *t,
                                     int tensors, const lsnn_pair *meta, int metas);
/* NumPy's: one array (its name is not written), or an archive of them, not packed; below
   4 GB, rank 32.                                                             */
LSNN_API lsnn_status lsnn_npy_write(lsnn_ctx *cx, const char *path, const lsnn_tensor *t);
LSNN_API lsnn_status lsnn_npz_write(lsnn_ctx *cx, const char *path, const lsnn_tensor *t,
                                    int tensors);

/* ---- >>api pictures (PNG) ---------------------------------------------------*/
typedef struct lsnn_image { int w, h; unsigned char *rgb; } lsnn_image;
LSNN_API lsnn_status lsnn_image_new(lsnn_ctx *cx, lsnn_image *im, int w, int h, uint32_t rgb);
LSNN_API void lsnn_image_free(lsnn_ctx *cx, lsnn_image *im);
/* Reads a PNG (of any kind; transparency is left out) or a PPM (P6, 8 bits) file. */
LSNN_API lsnn_status lsnn_image_load(lsnn_ctx *cx, lsnn_image *im, const char *path);
/* As a PNG file.                                                             */
LSNN_API lsnn_status lsnn_image_save(lsnn_ctx *cx, const lsnn_image *im, const char *path);
/* All drawing is clipped at the image's border. Colours are 0xRRGGBB. A line's whole
   coordinates are centres of pixels.                                         */
LSNN_API void lsnn_image_rect(lsnn_image *im, int x, int y, int w, int h, uint32_t rgb);
LSNN_API void lsnn_image_line(lsnn_image *im, double x0, double y0, double x1, double y1,
                              double thickness, uint32_t rgb);
/* ASCII text, 6x8 pixels a letter times scale; returns its width.            */
LSNN_API int lsnn_image_text(lsnn_image *im, int x, int y, int scale, uint32_t rgb,
                             const char *text);
/* A map (H x W), lo black to hi white, NaN magenta, each value scale x scale pixels. */
LSNN_API void lsnn_image_map(lsnn_image *im, int x, int y, int scale, const lsnn_real *map,
                             int h, int w, double lo, double hi);
/* A colour laid over what is there, opacity map / hi: the same geometry.     */
LSNN_API void lsnn_image_overlay(lsnn_image *im, int x, int y, int scale, const lsnn_real *map,
                                 int h, int w, double hi, uint32_t rgb);
/* `count` maps in rows of `columns` with a gap of `gap` pixels, each map from
   its own smallest (or 0 if that is larger) to its own largest value.        */
LSNN_API void lsnn_image_grid(lsnn_image *im, int x, int y, int scale, const lsnn_real *maps,
                              int count, int h, int w, int columns, int gap);
typedef struct lsnn_curve {
    const char *label;               /* NULL: not in the legend               */
    const double *x, *y;             /* x NULL: 0, 1, ...; not finite: a gap  */
    int count;
    uint32_t rgb;                    /* 0 -> the next of a fixed palette      */
} lsnn_curve;
/* A line plot with axes, ticks, grid and a legend, filling x, y, w, h. The title and the
   labels may be NULL.                                                        */
LSNN_API void lsnn_image_plot(lsnn_image *im, int x, int y, int w, int h, const char *title,
                              const char *x_label, const char *y_label,
                              const lsnn_curve *curves, int count);

#endif /* LSNN_H */
