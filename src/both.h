#if (defined(LSNN_IMPLEMENTATION) || defined(LSNN_CUDA_PART)) && !defined(LSNNI_BOTH_CODE)
#define LSNNI_BOTH_CODE
/* ---- >>both: what a processor and a GPU have in common -------------------------------
   Small functions that every chapter uses, and the bodies that are written once and run on
   both: LSNNI_BOTH lets nvcc compile them for its kernels, too. The device part of a program
   (see >>cuda) is made of the API, this file and the next.                    */
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef __CUDACC__
#  pragma nv_diag_suppress 177       /* a small function that nobody needs here */
#  pragma nv_diag_suppress 550       /* a variable that only some tiles read  */
#  define LSNNI_BOTH static inline __host__ __device__
#else
#  define LSNNI_BOTH static inline
#endif
#define LSNNI_R(v) ((lsnn_real)(v))
#define LSNNI_MIN(a, b) ((a) < (b) ? (a) : (b))
#define LSNNI_MAX(a, b) ((a) > (b) ? (a) : (b))
#define LSNNI_TRY(call)                                                        \
    do { lsnn_status try_status_ = (call);                                     \
         if (try_status_ != LSNN_OK) return try_status_; } while (0)

static inline int lsnni_div_up(int n, int by) { return n / by + (n % by != 0); }
static inline size_t lsnni_area(int a, int b) { return (size_t)a * (size_t)b; }

/* ---- Places in arrays of sizes ... x js x ks x ls                                */
LSNNI_BOTH size_t lsnni_at2(int i, int j, int js)
{
    return (size_t)i * (size_t)js + (size_t)j;
}
LSNNI_BOTH size_t lsnni_at3(int i, int j, int js, int k, int ks)
{
    return lsnni_at2(i, j, js) * (size_t)ks + (size_t)k;
}
LSNNI_BOTH size_t lsnni_at4(int i, int j, int js, int k, int ks, int l, int ls)
{
    return lsnni_at3(i, j, js, k, ks) * (size_t)ls + (size_t)l;
}

/* ---- >>philox: counter-based random numbers ----------------------------------
   Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011:
   ten rounds of two 32x32 -> 64 bit products mix a counter under a key.      */
LSNNI_BOTH void lsnni_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4])
{
    uint32_t k0 = key[0], k1 = key[1];
    uint32_t a = counter[0], b = counter[1], c = counter[2], d = counter[3];
    for (int round = 0; round < 10; round++) {
        uint64_t p = (uint64_t)0xD2511F53u * a, q = (uint64_t)0xCD9E8D57u * c;
        uint32_t na = (uint32_t)(q >> 32) ^ b ^ k0, nc = (uint32_t)(p >> 32) ^ d ^ k1;
        b = (uint32_t)q;
        d = (uint32_t)p;
        a = na;
        c = nc;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = a; out[1] = b; out[2] = c; out[3] = d;
}

/* ---- Activations: f(x), and f'(x) in terms of y; NaN stays NaN                    */
#define LSNNI_TANH_A 1.7159
#define LSNNI_TANH_S (2.0 / 3)
LSNNI_BOTH double lsnni_act(lsnn_act f, double x, double slope)
{
    switch (f) {
    case LSNN_RELU:       return x < 0 ? 0 : x;
    case LSNN_LEAKY_RELU: return x < 0 ? slope * x : x;
    case LSNN_SIGMOID:    return 1 / (1 + exp(-x));
    case LSNN_TANH:       return tanh(x);
    default:              return LSNNI_TANH_A * tanh(LSNNI_TANH_S * x);
    }
}

LSNNI_BOTH double lsnni_act_slope(lsnn_act f, double y, double slope)
{
    switch (f) {
    case LSNN_RELU:       return y > 0 ? 1 : 0;
    case LSNN_LEAKY_RELU: return y > 0 ? 1 : slope;
    case LSNN_SIGMOID:    return y * (1 - y);
    case LSNN_TANH:       return 1 - y * y;
    default:              return LSNNI_TANH_S * (LSNNI_TANH_A - y * y / LSNNI_TANH_A);
    }
}

/* ---- Windows                                                                      */
/* The pixel of image n that tap (c, u, v) of kernel k reads for output (i, j): 0 if there is
   none, for padding is 0.                                                    */
LSNNI_BOTH int lsnni_pixel(const lsnn_window *s, int n, int k, int i, int j, int c, int u, int v,
                           size_t *at)
{
    int row = i * s->stride_h - s->pad_top + u * s->dilation_h;
    int col = j * s->stride_w - s->pad_left + v * s->dilation_w;
    int channel = k / (s->k / s->groups) * (s->c / s->groups) + c;
    if (row < 0 || row >= s->h || col < 0 || col >= s->w) return 0;
    *at = lsnni_at4(n, channel, s->c, row, s->h, col, s->w);
    return 1;
}

/* The part of a pooling window's side that lies inside the image: [*a, *b).  */
LSNNI_BOTH void lsnni_pool_side(int out, int stride, int pad, int kernel, int size, int *a,
                                int *b)
{
    int first = out * stride - pad;
    *a = LSNNI_MAX(first, 0);
    *b = LSNNI_MIN(first + kernel, size);
}

/* An L_p pooling's p, as it is learned.                                        */
LSNNI_BOTH double lsnni_lp_of_rho(double rho)
{
    return 1 + (rho > 30 ? rho : log1p(exp(rho)));
}

/* ---- Places in pictures: see >>transform                                         */
LSNNI_BOTH double lsnni_place(int i, int size, int corners)
{
    if (!corners) return (2.0 * i + 1) / size - 1;
    return size > 1 ? 2.0 * i / (size - 1) - 1 : 0;
}
LSNNI_BOTH double lsnni_half_side(int size, int corners)     /* in pixels: of 0 to 1 */
{
    return (corners ? size - 1 : size) / 2.0;
}
LSNNI_BOTH double lsnni_grid_pixel(double x, int size, int corners)
{
    return (x + 1) * lsnni_half_side(size, corners) - (corners ? 0 : 0.5);
}

/* Is any pixel with a part in (px, py) inside of the picture? Not for a NaN. From here on
   both fit into an int.                                                      */
LSNNI_BOTH int lsnni_in_picture(const lsnn_sampler *s, double px, double py)
{
    return px > -1 && px < s->w && py > -1 && py < s->h;
}

/* ---- The sizes of a call                                                          */
static inline int lsnni_inner(lsnn_shape s) { return s.h * s.w; }
static inline int lsnni_features(lsnn_shape s) { return s.c * s.h * s.w; }
static inline size_t lsnni_call_count(const lsnn_call *c)
{
    return lsnni_area(c->n, lsnni_features(c->plan->in[0]));
}

/* The window of a call, for its number of images.                            */
static inline lsnn_status lsnni_window_of(lsnn_ctx *cx, lsnn_window *s, const lsnn_layer_plan *p,
                                          int n, int k)
{
    int pad[4];
    pad[0] = p->o.pad_top; pad[1] = p->o.pad_left;
    pad[2] = p->o.pad_bottom; pad[3] = p->o.pad_right;
    memset(s, 0, sizeof *s);
    s->n = n; s->c = p->in[0].c; s->h = p->in[0].h; s->w = p->in[0].w; s->k = k;
    s->kernel_h = p->o.kernel_h; s->kernel_w = p->o.kernel_w;
    s->stride_h = p->o.stride_h; s->stride_w = p->o.stride_w;
    s->dilation_h = p->o.dilation_h; s->dilation_w = p->o.dilation_w; s->groups = p->o.groups;
    return lsnn_window_fit(cx, s, p->o.padding, pad);
}

static inline lsnn_status lsnni_call_window(lsnn_ctx *cx, lsnn_window *s, const lsnn_call *c)
{
    LSNNI_TRY(lsnni_window_of(cx, s, c->plan, c->n, c->plan->out.c));
    s->oh = c->plan->out.h;          /* less where nobody reads the rest      */
    s->ow = c->plan->out.w;
    s->lanes = c->lanes;
    return LSNN_OK;
}

static inline lsnn_sampler lsnni_sampler_of(const lsnn_layer_plan *p, int n)
{
    lsnn_sampler s;
    s.n = n;
    s.c = p->in[0].c; s.h = p->in[0].h; s.w = p->in[0].w;
    s.oh = p->in[1].h; s.ow = p->in[1].w;
    s.align_corners = p->o.align_corners;
    return s;
}

#include "bells.h"
#endif /* LSNNI_BOTH_CODE */
