/* naive.h - every op of lsnn.h once more, written for the eye: plain loops over doubles.

   Read this first. Each block gives a formula, the shapes, and the two functions that follow
   from it. It shares no code with lsnn.h, whose fast kernels the tests hold against it.

   N images   C channels in   K kernels, or channels out   H x W pixels   OH x OW outputs
   KH x KW kernel   SH, SW its stride   PT, PL rows and columns of padding above and left
   DH, DW its dilation, from tap to tap   G groups: kernels read the channels of their own
   P = OH*OW or H*W positions

   Arrays are row-major. Forward overwrites its output. Backward is given dy = dL/dy and ADDS
   dL/dx to dx, dL/dw to dw, and so on: wherever forward has y += x * w, backward has
   dx += dy * w and dw += dy * x. The caller zeroes the gradients. A bias b may be NULL, and
   then db is not touched.                                                               */
#ifndef NAIVE_H
#define NAIVE_H
#include <math.h>
#include <stddef.h>
#include <stdlib.h>

/* Element (i, j, k, l) of an array whose last three sizes are J, K, L.                  */
static inline size_t naive_at(int i, int j, int J, int k, int K, int l, int L)
{
    return (((size_t)i * (size_t)J + (size_t)j) * (size_t)K + (size_t)k) * (size_t)L
         + (size_t)l;
}
/* Element (i, j, k) of an array whose last two sizes are J, K.                          */
static inline size_t naive_at3(int i, int j, int J, int k, int K)
{
    return ((size_t)i * (size_t)J + (size_t)j) * (size_t)K + (size_t)k;
}
/* Element (i, j) of an array whose last size is J.                                      */
static inline size_t naive_at2(int i, int j, int J)
{
    return (size_t)i * (size_t)J + (size_t)j;
}

typedef struct naive_window {
    int N, C, H, W, K, OH, OW, KH, KW, SH, SW, PT, PL, DH, DW, G;
} naive_window;

/* Is this pixel in the image? What is not counts as zero.                               */
static inline int naive_inside(naive_window s, int row, int col)
{
    return row >= 0 && row < s.H && col >= 0 && col < s.W;
}
/* Channel c of those that kernel k reads.                                               */
static inline int naive_channel(naive_window s, int k, int c)
{
    return k / (s.K / s.G) * (s.C / s.G) + c;
}

/* ---- matrix product: c[i,j] = sum_p a[i,p] b[p,j] + (add ? c[i,j] : 0)
   a M x K, rows lda apart; trans_a: stored K x M. Likewise b, K x N. c M x N.           */
static inline void naive_gemm(int trans_a, int trans_b, int M, int N, int K, const double *a,
                              int lda, const double *b, int ldb, int add, double *c, int ldc)
{
    for (int i = 0; i < M; i++)
    for (int j = 0; j < N; j++) {
        double sum = add ? c[naive_at2(i, j, ldc)] : 0;
        for (int p = 0; p < K; p++)
            sum += a[trans_a ? naive_at2(p, i, lda) : naive_at2(i, p, lda)]
                 * b[trans_b ? naive_at2(j, p, ldb) : naive_at2(p, j, ldb)];
        c[naive_at2(i, j, ldc)] = sum;
    }
}

/* ---- convolution: one kernel for all positions
   y[n,k,i,j] = b[k] + sum_cuv x[n, g*C/G + c, i*SH - PT + u*DH, j*SW - PL + v*DW] w[k,c,u,v]
   with g the group that kernel k is in
   x N,C,H,W   w K,C/G,KH,KW   b K   y N,K,OH,OW                                         */
static inline void naive_conv2d_forward(double *y, const double *x, const double *w,
                                        const double *b, naive_window s)
{
    for (int n = 0; n < s.N; n++)
    for (int k = 0; k < s.K; k++)
    for (int i = 0; i < s.OH; i++)
    for (int j = 0; j < s.OW; j++) {
        double sum = b ? b[k] : 0;
        for (int c = 0; c < s.C / s.G; c++)
        for (int u = 0; u < s.KH; u++)
        for (int v = 0; v < s.KW; v++) {
            int row = i * s.SH - s.PT + u * s.DH, col = j * s.SW - s.PL + v * s.DW;
            if (!naive_inside(s, row, col)) continue;
            sum += x[naive_at(n, naive_channel(s, k, c), s.C, row, s.H, col, s.W)]
                 * w[naive_at(k, c, s.C / s.G, u, s.KH, v, s.KW)];
        }
        y[naive_at(n, k, s.K, i, s.OH, j, s.OW)] = sum;
    }
}
static inline void naive_conv2d_backward(double *dx, double *dw, double *db, const double *dy,
                                         const double *x, const double *w, naive_window s)
{
    for (int n = 0; n < s.N; n++)
    for (int k = 0; k < s.K; k++)
    for (int i = 0; i < s.OH; i++)
    for (int j = 0; j < s.OW; j++) {
        double g = dy[naive_at(n, k, s.K, i, s.OH, j, s.OW)];
        if (db) db[k] += g;
        for (int c = 0; c < s.C / s.G; c++)
        for (int u = 0; u < s.KH; u++)
        for (int v = 0; v < s.KW; v++) {
            int row = i * s.SH - s.PT + u * s.DH, col = j * s.SW - s.PL + v * s.DW;
            if (!naive_inside(s, row, col)) continue;
            size_t in = naive_at(n, naive_channel(s, k, c), s.C, row, s.H, col, s.W);
            size_t at = naive_at(k, c, s.C / s.G, u, s.KH, v, s.KW);
            dx[in] += g * w[at];
            dw[at] += g * x[in];
        }
    }
}

/* ---- locally connected: as the convolution, but each position p = i*OW + j has weights of
   its own, and a bias of its own
   x N,C,H,W   w P,C/G*KH*KW,K   b K,OH,OW   y N,K,OH,OW                                   */
static inline void naive_local2d_forward(double *y, const double *x, const double *w,
                                         const double *b, naive_window s)
{
    for (int n = 0; n < s.N; n++)
    for (int k = 0; k < s.K; k++)
    for (int i = 0; i < s.OH; i++)
    for (int j = 0; j < s.OW; j++) {
        int p = i * s.OW + j;
        double sum = b ? b[naive_at3(k, i, s.OH, j, s.OW)] : 0;
        for (int c = 0; c < s.C / s.G; c++)
        for (int u = 0; u < s.KH; u++)
        for (int v = 0; v < s.KW; v++) {
            int row = i * s.SH - s.PT + u * s.DH, col = j * s.SW - s.PL + v * s.DW;
            int q = (c * s.KH + u) * s.KW + v;
            if (!naive_inside(s, row, col)) continue;
            sum += x[naive_at(n, naive_channel(s, k, c), s.C, row, s.H, col, s.W)]
                 * w[naive_at3(p, q, s.C / s.G * s.KH * s.KW, k, s.K)];
        }
        y[naive_at(n, k, s.K, i, s.OH, j, s.OW)] = sum;
    }
}
static inline void naive_local2d_backward(double *dx, double *dw, double *db, const double *dy,
                                          const double *x, const double *w, naive_window s)
{
    for (int n = 0; n < s.N; n++)
    for (int k = 0; k < s.K; k++)
    for (int i = 0; i < s.OH; i++)
    for (int j = 0; j < s.OW; j++) {
        int p = i * s.OW + j;
        double g = dy[naive_at(n, k, s.K, i, s.OH, j, s.OW)];
        if (db) db[naive_at3(k, i, s.OH, j, s.OW)] += g;
        for (int c = 0; c < s.C / s.G; c++)
        for (int u = 0; u < s.KH; u++)
        for (int v = 0; v < s.KW; v++) {
            int row = i * s.SH - s.PT + u * s.DH, col = j * s.SW - s.PL + v * s.DW;
            int q = (c * s.KH + u) * s.KW + v;
            if (!naive_inside(s, row, col)) continue;
            size_t in = naive_at(n, naive_channel(s, k, c), s.C, row, s.H, col, s.W);
            size_t at = naive_at3(p, q, s.C / s.G * s.KH * s.KW, k, s.K);
            dx[in] += g * w[at];
            dw[at] += g * x[in];
        }
    }
}

/* ---- blend: at each place a mixture of M banks of K maps; places p = i*W + j
   y[n,k,p] = b[k] + sum_m g[m,p] a[n,m,k,p]     g = softmax over m of z, or (free) z itself
   z[m,p] = theta[m,i] + theta[m,H+j] (rows), or theta[m,p]
   a N,M,K,P   theta M,H+W or M,P   b K   y N,K,P. With dy: the gradients instead of y.   */
static inline double naive_blend_z(const double *theta, int m, int i, int j, int H, int W,
                                   int rows)
{
    return rows ? theta[naive_at2(m, i, H + W)] + theta[naive_at2(m, H + j, H + W)]
                : theta[naive_at3(m, i, H, j, W)];
}
static inline double naive_blend_g(const double *theta, int m, int i, int j, int M, int H, int W,
                                   int rows, int is_free)
{
    double sum = 0, z = naive_blend_z(theta, m, i, j, H, W, rows);
    for (int l = 0; l < M; l++) sum += exp(naive_blend_z(theta, l, i, j, H, W, rows) - z);
    return is_free ? z : 1 / sum;
}
static inline void naive_blend(double *y, double *da, double *dtheta, double *db,
                               const double *dy, const double *a, const double *theta,
                               const double *b, int N, int K, int M, int H, int W, int rows,
                               int is_free)
{
    for (int n = 0; n < N; n++)
    for (int k = 0; k < K; k++)
    for (int i = 0; i < H; i++)
    for (int j = 0; j < W; j++) {
        size_t at = naive_at(n, k, K, i, H, j, W);
        double sum = b ? b[k] : 0;
        for (int m = 0; m < M; m++) {
            size_t from = naive_at3(n, m, M, 0, 1) * (size_t)(K * H * W)
                        + naive_at3(k, i, H, j, W);
            double g = naive_blend_g(theta, m, i, j, M, H, W, rows, is_free);
            if (!dy) { sum += g * a[from]; continue; }
            da[from] += g * dy[at];
            for (int l = 0; l < M; l++) {        /* dg[m] / dz[l]                        */
                double gl = naive_blend_g(theta, l, i, j, M, H, W, rows, is_free);
                double d = (is_free ? l == m : g * ((l == m) - gl)) * dy[at] * a[from];
                if (rows) {
                    dtheta[naive_at2(l, i, H + W)] += d;
                    dtheta[naive_at2(l, H + j, H + W)] += d;
                } else dtheta[naive_at3(l, i, H, j, W)] += d;
            }
        }
        if (!dy) y[at] = sum;
        else if (db) db[k] += dy[at];
    }
}

/* ---- dense: y[n,k] = b[k] + sum_c x[n,c] w[k,c]        x N,C   w K,C   b K   y N,K    */
static inline void naive_dense_forward(double *y, const double *x, const double *w,
                                       const double *b, int N, int C, int K)
{
    for (int n = 0; n < N; n++)
    for (int k = 0; k < K; k++) {
        double sum = b ? b[k] : 0;
        for (int c = 0; c < C; c++) sum += x[naive_at2(n, c, C)] * w[naive_at2(k, c, C)];
        y[naive_at2(n, k, K)] = sum;
    }
}
static inline void naive_dense_backward(double *dx, double *dw, double *db, const double *dy,
                                        const double *x, const double *w, int N, int C, int K)
{
    for (int n = 0; n < N; n++)
    for (int k = 0; k < K; k++) {
        double g = dy[naive_at2(n, k, K)];
        if (db) db[k] += g;
        for (int c = 0; c < C; c++) {
            dx[naive_at2(n, c, C)] += g * w[naive_at2(k, c, C)];
            dw[naive_at2(k, c, C)] += g * x[naive_at2(n, c, C)];
        }
    }
}

/* ---- activations, one number at a time: y = f(x), and f'(x)
   relu max(x, 0)   leaky relu: slope * x below 0   sigmoid 1 / (1 + e^-x)   tanh        */
enum { NAIVE_RELU, NAIVE_LEAKY_RELU, NAIVE_SIGMOID, NAIVE_TANH, NAIVE_SCALED_TANH };

static inline double naive_activation(int f, double x, double slope)
{
    switch (f) {
    case NAIVE_RELU:       return x > 0 ? x : 0;
    case NAIVE_LEAKY_RELU: return x > 0 ? x : slope * x;
    case NAIVE_SIGMOID:    return 1 / (1 + exp(-x));
    case NAIVE_TANH:       return tanh(x);
    default:               return 1.7159 * tanh(2 * x / 3);
    }
}
static inline double naive_derivative(int f, double x, double slope)
{
    switch (f) {
    case NAIVE_RELU:       return x > 0 ? 1 : 0;
    case NAIVE_LEAKY_RELU: return x > 0 ? 1 : slope;
    case NAIVE_SIGMOID:    return 1 / (1 + exp(-x)) / (1 + exp(x));     /* y (1 - y)     */
    case NAIVE_TANH:       return 1 / (cosh(x) * cosh(x));              /* 1 - y^2       */
    default:               return 1.7159 * 2 / 3 / pow(cosh(2 * x / 3), 2);
    }
}
static inline void naive_activation_forward(int f, double *y, const double *x, size_t count,
                                            double slope)
{
    for (size_t i = 0; i < count; i++) y[i] = naive_activation(f, x[i], slope);
}
static inline void naive_activation_backward(int f, double *dx, const double *dy,
                                             const double *x, size_t count, double slope)
{
    for (size_t i = 0; i < count; i++) dx[i] += dy[i] * naive_derivative(f, x[i], slope);
}

/* ---- softmax over channels: y[n,c,i] = e^x[n,c,i] / sum_d e^x[n,d,i]     x, y N,C,P
   Subtracting the largest x changes nothing but keeps e^x finite.                       */
static inline void naive_softmax_forward(double *y, const double *x, int N, int C, int P)
{
    for (int n = 0; n < N; n++)
    for (int i = 0; i < P; i++) {
        double largest = -HUGE_VAL, sum = 0;
        for (int c = 0; c < C; c++) largest = fmax(largest, x[naive_at3(n, c, C, i, P)]);
        for (int c = 0; c < C; c++) sum += exp(x[naive_at3(n, c, C, i, P)] - largest);
        for (int c = 0; c < C; c++)
            y[naive_at3(n, c, C, i, P)] = exp(x[naive_at3(n, c, C, i, P)] - largest) / sum;
    }
}
/* dy[d]/dx[c] = y[d] (d == c) - y[d] y[c], so dx[c] = y[c] (dy[c] - sum_d dy[d] y[d])   */
static inline void naive_softmax_backward(double *dx, const double *dy, const double *y, int N,
                                          int C, int P)
{
    for (int n = 0; n < N; n++)
    for (int i = 0; i < P; i++) {
        double dot = 0;
        for (int c = 0; c < C; c++)
            dot += dy[naive_at3(n, c, C, i, P)] * y[naive_at3(n, c, C, i, P)];
        for (int c = 0; c < C; c++) {
            size_t at = naive_at3(n, c, C, i, P);
            dx[at] += y[at] * (dy[at] - dot);
        }
    }
}

/* ---- max pooling: y[n,c,i,j] = the largest pixel that its window sees
   x N,C,H,W   y N,C,OH,OW. -> where that pixel is: row*W + column; padding never wins.  */
static inline int naive_largest(const double *x, naive_window s, int n, int c, int i, int j)
{
    int best = -1;
    for (int u = 0; u < s.KH; u++)
    for (int v = 0; v < s.KW; v++) {
        int row = i * s.SH - s.PT + u, col = j * s.SW - s.PL + v;
        if (!naive_inside(s, row, col)) continue;
        if (best < 0 || x[naive_at(n, c, s.C, row, s.H, col, s.W)]
                      > x[naive_at3(n, c, s.C, best, s.H * s.W)])
            best = row * s.W + col;
    }
    return best;
}
static inline void naive_max_pool_forward(double *y, const double *x, naive_window s)
{
    for (int n = 0; n < s.N; n++)
    for (int c = 0; c < s.C; c++)
    for (int i = 0; i < s.OH; i++)
    for (int j = 0; j < s.OW; j++)
        y[naive_at(n, c, s.C, i, s.OH, j, s.OW)] =
            x[naive_at3(n, c, s.C, naive_largest(x, s, n, c, i, j), s.H * s.W)];
}
static inline void naive_max_pool_backward(double *dx, const double *dy, const double *x,
                                           naive_window s)
{
    for (int n = 0; n < s.N; n++)
    for (int c = 0; c < s.C; c++)
    for (int i = 0; i < s.OH; i++)
    for (int j = 0; j < s.OW; j++)
        dx[naive_at3(n, c, s.C, naive_largest(x, s, n, c, i, j), s.H * s.W)] +=
            dy[naive_at(n, c, s.C, i, s.OH, j, s.OW)];
}

/* ---- sum and average pooling: y[n,c,i,j] = sum of the pixels that its window sees,
   average: divided by how many of them lie in the image      x N,C,H,W   y N,C,OH,OW    */
static inline double naive_share(naive_window s, int average, int i, int j)
{
    int seen = 0;
    for (int u = 0; u < s.KH; u++)
    for (int v = 0; v < s.KW; v++)
        seen += naive_inside(s, i * s.SH - s.PT + u, j * s.SW - s.PL + v);
    return average ? 1.0 / seen : 1.0;
}
static inline void naive_sum_pool_forward(double *y, const double *x, naive_window s,
                                          int average)
{
    for (int n = 0; n < s.N; n++)
    for (int c = 0; c < s.C; c++)
    for (int i = 0; i < s.OH; i++)
    for (int j = 0; j < s.OW; j++) {
        double sum = 0;
        for (int u = 0; u < s.KH; u++)
        for (int v = 0; v < s.KW; v++) {
            int row = i * s.SH - s.PT + u, col = j * s.SW - s.PL + v;
            if (!naive_inside(s, row, col)) continue;
            sum += x[naive_at(n, c, s.C, row, s.H, col, s.W)];
        }
        y[naive_at(n, c, s.C, i, s.OH, j, s.OW)] = sum * naive_share(s, average, i, j);
    }
}
static inline void naive_sum_pool_backward(double *dx, const double *dy, naive_window s,
                                           int average)
{
    for (int n = 0; n < s.N; n++)
    for (int c = 0; c < s.C; c++)
    for (int i = 0; i < s.OH; i++)
    for (int j = 0; j < s.OW; j++) {
        double g = dy[naive_at(n, c, s.C, i, s.OH, j, s.OW)] * naive_share(s, average, i, j);
        for (int u = 0; u < s.KH; u++)
        for (int v = 0; v < s.KW; v++) {
            int row = i * s.SH - s.PT + u, col = j * s.SW - s.PL + v;
            if (!naive_inside(s, row, col)) continue;
            dx[naive_at(n, c, s.C, row, s.H, col, s.W)] += g;
        }
    }
}

/* ---- L_p pooling: y = (sum |x|^p)^(1/p)      x N,C,H,W   y N,C,OH,OW   p: one a map, or one
   dy/dx = sign(x) |x|^(p-1) y^(1-p)
   dy/dp = y (sum |x|^p log |x| / (p sum |x|^p) - log(sum |x|^p) / p^2)                   */
static inline double naive_lp_window(double *dx, double *dp, double dy, const double *x,
                                     naive_window s, int i, int j, double p)
{
    double sum = 0, logs = 0, y;
    for (int pass = 0; pass < (dx || dp ? 2 : 1); pass++)
    for (int u = 0; u < s.KH; u++)
    for (int v = 0; v < s.KW; v++) {
        int row = i * s.SH - s.PT + u, col = j * s.SW - s.PL + v;
        double t;
        if (!naive_inside(s, row, col)) continue;
        t = x[row * s.W + col];
        if (pass == 0) sum += pow(fabs(t), p);
        if (pass == 0 && t != 0) logs += pow(fabs(t), p) * log(fabs(t));
        y = pow(sum, 1 / p);
        if (pass == 1 && t != 0 && dx)
            dx[row * s.W + col] += dy * (t > 0 ? 1 : -1) * pow(fabs(t), p - 1) * pow(y, 1 - p);
    }
    y = pow(sum, 1 / p);
    if (dp && sum > 0) *dp += dy * y * (logs / (p * sum) - log(sum) / (p * p));
    return y;
}
static inline void naive_lp_pool(double *y, double *dx, double *dp, const double *dy,
                                 const double *x, const double *p, int p_maps, naive_window s)
{
    for (int n = 0; n < s.N; n++)
    for (int c = 0; c < s.C; c++)
    for (int i = 0; i < s.OH; i++)
    for (int j = 0; j < s.OW; j++) {
        size_t out = naive_at(n, c, s.C, i, s.OH, j, s.OW), in = naive_at2(n, c, s.C);
        double *map = dx ? dx + in * (size_t)(s.H * s.W) : NULL;
        int which = p_maps ? c : 0;
        double v = naive_lp_window(map, dp ? dp + which : NULL, dy ? dy[out] : 0,
                                   x + in * (size_t)(s.H * s.W), s, i, j, p[which]);
        if (y) y[out] = v;
    }
}

/* ---- radial basis functions: y[n,k] = -sum_c (x[n,c] - w[k,c])^2                       */
static inline void naive_rbf(double *y, double *dx, double *dw, const double *dy,
                             const double *x, const double *w, int N, int C, int K)
{
    for (int n = 0; n < N; n++)
    for (int k = 0; k < K; k++) {
        if (y) y[naive_at2(n, k, K)] = 0;
        for (int c = 0; c < C; c++) {
            double d = x[naive_at2(n, c, C)] - w[naive_at2(k, c, C)];
            if (y) y[naive_at2(n, k, K)] -= d * d;
            if (dx) dx[naive_at2(n, c, C)] -= 2 * d * dy[naive_at2(n, k, K)];
            if (dw) dw[naive_at2(k, c, C)] += 2 * d * dy[naive_at2(n, k, K)];
        }
    }
}

/* ---- spatial transformers (Jaderberg et al. 2015, Eq. 1, 5 and 7): u of pixel j of `size`, and
   a place in pixels, with PyTorch's two meanings of -1 and 1; k(t) = max(0, 1 - |t|)
   y[n,c,p] = sum over ALL pixels r, q of x[n,c,r,q] k(py - r) k(px - q)                 */
static inline double naive_place_of(int j, int size, int corners)
{
    if (corners) return size == 1 ? 0 : -1 + 2.0 / (size - 1) * j;
    return -1 + (j + 0.5) * 2 / size;
}
static inline double naive_pixel_of(double x, int size, int corners)
{
    return corners ? (x + 1) * 0.5 * (size - 1) : ((x + 1) * size - 1) * 0.5;
}
static inline double naive_near(double t) { return fabs(t) < 1 ? 1 - fabs(t) : 0; }
static inline double naive_slope(double t) { return fabs(t) < 1 ? t < 0 ? 1 : -1 : 0; }

static inline void naive_affine_grid(double *grid, double *dtheta, const double *dgrid,
                                     const double *theta, int N, int H, int W, int corners)
{
    for (int n = 0; n < N; n++)
    for (int k = 0; k < 2; k++)
    for (int i = 0; i < H; i++)
    for (int j = 0; j < W; j++) {
        double u[3] = { naive_place_of(j, W, corners), naive_place_of(i, H, corners), 1 };
        size_t at = naive_at(n, k, 2, i, H, j, W);
        if (grid) grid[at] = 0;
        for (int m = 0; m < 3; m++) {
            if (grid) grid[at] += theta[6 * n + 3 * k + m] * u[m];
            if (dtheta) dtheta[6 * n + 3 * k + m] += dgrid[at] * u[m];
        }
    }
}
static inline void naive_grid_sample(double *y, double *dx, double *dgrid, const double *dy,
                                     const double *x, const double *grid, int N, int C, int H,
                                     int W, int OH, int OW, int corners)
{
    for (int n = 0; n < N; n++)
    for (int p = 0; p < OH * OW; p++) {
        size_t gx = naive_at3(n, 0, 2, p, OH * OW), gy = naive_at3(n, 1, 2, p, OH * OW);
        double px = naive_pixel_of(grid[gx], W, corners);
        double py = naive_pixel_of(grid[gy], H, corners);
        double px_of = (corners ? W - 1 : W) / 2.0, py_of = (corners ? H - 1 : H) / 2.0;
        for (int c = 0; c < C; c++) {
            size_t out = naive_at3(n, c, C, p, OH * OW);
            if (y) y[out] = 0;
            for (int r = 0; r < H; r++)
            for (int q = 0; q < W; q++) {
                size_t in = naive_at(n, c, C, r, H, q, W);
                double ky = naive_near(py - r), kx = naive_near(px - q);
                if (y) y[out] += x[in] * ky * kx;
                if (dx) dx[in] += dy[out] * ky * kx;
                if (dgrid) dgrid[gx] += dy[out] * x[in] * ky * naive_slope(px - q) * px_of;
                if (dgrid) dgrid[gy] += dy[out] * x[in] * kx * naive_slope(py - r) * py_of;
            }
        }
    }
}

/* A convolution times u, K x OH x OW: 0 outside of each kernel's region. gy and gx: dL/dlog of
   its factors by row and by column. y alone, or with dy the gradients.                  */
static inline void naive_target2d(double *y, double *dx, double *dw, double *db, double *gy,
                                  double *gx, const double *dy, const double *x,
                                  const double *w, const double *b, const double *u,
                                  naive_window s)
{
    size_t maps = (size_t)s.K * (size_t)(s.OH * s.OW), count = (size_t)s.N * maps;
    double *dz = (double *)calloc(count, sizeof *dz);
    if (!dz) { printf("# out of memory\n"); exit(1); }
    naive_conv2d_forward(y, x, w, b, s);
    for (size_t i = 0; i < count; i++) {
        size_t at = i % maps, k = at / (size_t)(s.OH * s.OW), p = at % (size_t)(s.OH * s.OW);
        y[i] *= u[at];
        if (!dy) continue;
        dz[i] = u[at] * dy[i];
        if (gy) gy[k * (size_t)s.OH + p / (size_t)s.OW] += dy[i] * y[i];
        if (gx) gx[k * (size_t)s.OW + p % (size_t)s.OW] += dy[i] * y[i];
    }
    if (dy) naive_conv2d_backward(dx, dw, db, dz, x, w, s);
    free(dz);
}

/* ---- a convolution with a connection table: kernel k reads map c where mask[k,c] is not 0;
   the weights of the others do not exist, w M,KH,KW holds the rest in the order of k, c.  */
static inline void naive_table_conv2d(double *y, double *dx, double *dw, double *db,
                                      const double *dy, const double *x, const double *w,
                                      const double *b, const char *mask, naive_window s)
{
    for (int n = 0; n < s.N; n++)
    for (int i = 0; i < s.OH; i++)
    for (int j = 0; j < s.OW; j++) {
        size_t at = 0;
        for (int k = 0; k < s.K; k++) {
            size_t out = naive_at(n, k, s.K, i, s.OH, j, s.OW);
            if (y) y[out] = b ? b[k] : 0;
            if (db) db[k] += dy[out];
            for (int c = 0; c < s.C; c++) {
                if (!mask[k * s.C + c]) continue;
                for (int u = 0; u < s.KH; u++)
                for (int v = 0; v < s.KW; v++, at++) {
                    int row = i * s.SH - s.PT + u, col = j * s.SW - s.PL + v;
                    size_t in = naive_at(n, c, s.C, row, s.H, col, s.W);
                    if (!naive_inside(s, row, col)) continue;
                    if (y) y[out] += w[at] * x[in];
                    if (dx) dx[in] += w[at] * dy[out];
                    if (dw) dw[at] += x[in] * dy[out];
                }
            }
        }
    }
}

/* ---- dropout: y = x * mask, where mask is 0 with probability rate, else 1 / (1 - rate) */
static inline void naive_dropout_forward(double *y, const double *x, const double *mask,
                                         size_t count)
{
    for (size_t i = 0; i < count; i++) y[i] = x[i] * mask[i];
}
static inline void naive_dropout_backward(double *dx, const double *dy, const double *mask,
                                          size_t count)
{
    for (size_t i = 0; i < count; i++) dx[i] += dy[i] * mask[i];
}

/* ---- batch normalisation: t = (x - mean) istd,  y = t gamma[c] + beta[c]
   mean[c] and var[c] of the N*P values of channel c, istd = 1 / sqrt(var + eps); var is
   divided by N*P here, but by N*P - 1 in the running variance.
   running = (1 - momentum) running + momentum * new          x, y N,C,P   others C      */
static inline void naive_batch_norm_moments(double *mean, double *var, const double *x, int N,
                                            int C, int P)
{
    for (int c = 0; c < C; c++) {
        double sum = 0, squares = 0;
        for (int n = 0; n < N; n++)
        for (int i = 0; i < P; i++) sum += x[naive_at3(n, c, C, i, P)];
        mean[c] = sum / ((double)N * P);
        for (int n = 0; n < N; n++)
        for (int i = 0; i < P; i++) {
            double d = x[naive_at3(n, c, C, i, P)] - mean[c];
            squares += d * d;
        }
        var[c] = squares / ((double)N * P);
    }
}
static inline void naive_batch_norm_running(double *running_mean, double *running_var,
                                            const double *mean, const double *var, int N,
                                            int C, int P, double momentum)
{
    double count = (double)N * P;
    for (int c = 0; c < C; c++) {
        running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean[c];
        running_var[c] = (1 - momentum) * running_var[c]
                       + momentum * var[c] * count / (count - 1);
    }
}
/* mean and var: of this batch when training, the running ones when predicting.          */
static inline void naive_batch_norm_forward(double *y, const double *x, const double *gamma,
                                            const double *beta, const double *mean,
                                            const double *var, int N, int C, int P, double eps)
{
    for (int n = 0; n < N; n++)
    for (int c = 0; c < C; c++)
    for (int i = 0; i < P; i++) {
        size_t at = naive_at3(n, c, C, i, P);
        y[at] = (x[at] - mean[c]) / sqrt(var[c] + eps) * gamma[c] + beta[c];
    }
}
/* mean and var depend on x too:  dx = gamma istd (dy - mean(dy) - t mean(dy t))         */
static inline void naive_batch_norm_backward(double *dx, double *dgamma, double *dbeta,
                                             const double *dy, const double *x,
                                             const double *gamma, const double *mean,
                                             const double *var, int N, int C, int P, double eps)
{
    for (int c = 0; c < C; c++) {
        double istd = 1 / sqrt(var[c] + eps), sum = 0, sum_t = 0, count = (double)N * P;
        for (int n = 0; n < N; n++)
        for (int i = 0; i < P; i++) {
            size_t at = naive_at3(n, c, C, i, P);
            sum += dy[at];
            sum_t += dy[at] * (x[at] - mean[c]) * istd;
        }
        dbeta[c] += sum;
        dgamma[c] += sum_t;
        for (int n = 0; n < N; n++)
        for (int i = 0; i < P; i++) {
            size_t at = naive_at3(n, c, C, i, P);
            double t = (x[at] - mean[c]) * istd;
            dx[at] += gamma[c] * istd * (dy[at] - sum / count - t * sum_t / count);
        }
    }
}

/* ---- scale: y[n,c,i] = x[n,c,i] g[c] + b[c]                     x, y N,C,P   g, b C   */
static inline void naive_scale_forward(double *y, const double *x, const double *g,
                                       const double *b, int N, int C, int P)
{
    for (int n = 0; n < N; n++)
    for (int c = 0; c < C; c++)
    for (int i = 0; i < P; i++) {
        size_t at = naive_at3(n, c, C, i, P);
        y[at] = x[at] * g[c] + (b ? b[c] : 0);
    }
}
static inline void naive_scale_backward(double *dx, double *dg, double *db, const double *dy,
                                        const double *x, const double *g, int N, int C, int P)
{
    for (int n = 0; n < N; n++)
    for (int c = 0; c < C; c++)
    for (int i = 0; i < P; i++) {
        size_t at = naive_at3(n, c, C, i, P);
        dx[at] += dy[at] * g[c];
        dg[c] += dy[at] * x[at];
        if (db) db[c] += dy[at];
    }
}

/* ---- concat: y[n] = (a[n], b[n])                  a N,A   b N,B   y N,A+B             */
static inline void naive_concat_forward(double *y, const double *a, const double *b, int N,
                                        int A, int B)
{
    for (int n = 0; n < N; n++) {
        for (int i = 0; i < A; i++) y[naive_at2(n, i, A + B)] = a[naive_at2(n, i, A)];
        for (int i = 0; i < B; i++) y[naive_at2(n, A + i, A + B)] = b[naive_at2(n, i, B)];
    }
}
static inline void naive_concat_backward(double *da, double *db, const double *dy, int N,
                                         int A, int B)
{
    for (int n = 0; n < N; n++) {
        for (int i = 0; i < A; i++) da[naive_at2(n, i, A)] += dy[naive_at2(n, i, A + B)];
        for (int i = 0; i < B; i++) db[naive_at2(n, i, B)] += dy[naive_at2(n, A + i, A + B)];
    }
}

/* ---- slice: y[n,i] = x[n, first + i]              x N,A   y N,B                       */
static inline void naive_slice_forward(double *y, const double *x, int N, int A, int first,
                                       int B)
{
    for (int n = 0; n < N; n++)
    for (int i = 0; i < B; i++) y[naive_at2(n, i, B)] = x[naive_at2(n, first + i, A)];
}
static inline void naive_slice_backward(double *dx, const double *dy, int N, int A, int first,
                                        int B)
{
    for (int n = 0; n < N; n++)
    for (int i = 0; i < B; i++) dx[naive_at2(n, first + i, A)] += dy[naive_at2(n, i, B)];
}

/* ---- add: y = a + b                                                                   */
static inline void naive_add_forward(double *y, const double *a, const double *b, size_t count)
{
    for (size_t i = 0; i < count; i++) y[i] = a[i] + b[i];
}
static inline void naive_add_backward(double *da, double *db, const double *dy, size_t count)
{
    for (size_t i = 0; i < count; i++) da[i] += dy[i];
    for (size_t i = 0; i < count; i++) db[i] += dy[i];
}

/* ---- cross-entropy of a softmax: loss = mean_n -log p[n, label[n]],  p = softmax(x)
   x N,C   label[n * stride]. dL/dx = weight (p - (c == label)) / N                      */
static inline double naive_cross_entropy_forward(const double *x, const int *label, int stride,
                                                 int N, int C)
{
    double loss = 0;
    for (int n = 0; n < N; n++) {
        double largest = -HUGE_VAL, sum = 0;
        for (int c = 0; c < C; c++) largest = fmax(largest, x[naive_at2(n, c, C)]);
        for (int c = 0; c < C; c++) sum += exp(x[naive_at2(n, c, C)] - largest);
        loss += log(sum) + largest - x[naive_at2(n, label[n * stride], C)];
    }
    return loss / N;
}
static inline void naive_cross_entropy_backward(double *dx, double weight, const double *x,
                                                const int *label, int stride, int N, int C)
{
    for (int n = 0; n < N; n++) {
        double largest = -HUGE_VAL, sum = 0;
        for (int c = 0; c < C; c++) largest = fmax(largest, x[naive_at2(n, c, C)]);
        for (int c = 0; c < C; c++) sum += exp(x[naive_at2(n, c, C)] - largest);
        for (int c = 0; c < C; c++)
            dx[naive_at2(n, c, C)] += weight / N * (exp(x[naive_at2(n, c, C)] - largest) / sum
                                                    - (c == label[n * stride]));
    }
}

/* With a rubbish class of logit -j: loss = mean_n log(e^-j + sum_c e^x[n,c]) - x[n,label].
   LeCun et al. 1998, Eq. 9, with y = -x. dx may be NULL.                                */
static inline double naive_rubbish(double *dx, double weight, const double *x, const int *label,
                                   int stride, int N, int C, double j)
{
    double loss = 0;
    for (int n = 0; n < N; n++) {
        double sum = exp(-j);
        for (int c = 0; c < C; c++) sum += exp(x[naive_at2(n, c, C)]);
        loss += log(sum) - x[naive_at2(n, label[n * stride], C)];
        for (int c = 0; c < C && dx; c++)
            dx[naive_at2(n, c, C)] += weight / N * (exp(x[naive_at2(n, c, C)]) / sum
                                                    - (c == label[n * stride]));
    }
    return loss / N;
}

/* ---- mean squared error: loss = mean_nc (x[n,c] - t[n * stride + c])^2        x N,C   */
static inline double naive_mse_forward(const double *x, const double *t, int stride, int N,
                                       int C)
{
    double loss = 0;
    for (int n = 0; n < N; n++)
    for (int c = 0; c < C; c++) {
        double d = x[naive_at2(n, c, C)] - t[naive_at2(n, c, stride)];
        loss += d * d;
    }
    return loss / ((double)N * C);
}
static inline void naive_mse_backward(double *dx, double weight, const double *x,
                                      const double *t, int stride, int N, int C)
{
    for (int n = 0; n < N; n++)
    for (int c = 0; c < C; c++)
        dx[naive_at2(n, c, C)] += weight * 2 / ((double)N * C)
                                * (x[naive_at2(n, c, C)] - t[naive_at2(n, c, stride)]);
}

/* ---- the smoother of LSNN
   y[n,k,p] = sum_l U[n,k,l,p] a[n,k,l,p] + b[k]                                (Eq. 1)
   Gaussian: G_p = exp(-|r|^2),  r = Phi d,  d = p - mu,  Phi = | alpha gamma |  (Eq. 6)
                                                                | gamma beta  |
   Pixel (i, j) is at p = (j/(W-1), i/(H-1)). Its numbers in theta, those that are left out
   being 0:   full  mu_1, mu_2, alpha, beta, gamma   separable  mu_1, mu_2, alpha, beta
              line  mu_1, alpha
   normalise 0: G as it is; 1: G / sum_p G (Eq. 8); 2: G / mean_p G. Both are computed with
   the largest exponent subtracted, or a far-away mu would give 0/0.
   U = G; or of M > 1 Gaussians, each with a logit behind its numbers,
   U = sum_m w_m G_m with w = softmax(logits)                                   (4.2.1)
   A table is its own theta. smooth_bias: b is multiplied by sum_l U as well.
   a N,K*R,H,W   y N,K,H,W   maps and thetas: K*R, or N*K*R when per_image               */
enum { NAIVE_FULL, NAIVE_TABLE, NAIVE_SEPARABLE, NAIVE_LINE,
       NAIVE_GAUSS, NAIVE_CAUCHY, NAIVE_GAUSS_RHO, NAIVE_CAUCHY_RHO, NAIVE_GAUSS_LINE,
       NAIVE_CAUCHY_LINE };
typedef struct naive_smoother {
    int N, K, R, H, W, shape, M, normalise, per_image, smooth_bias;
} naive_smoother;

/* One Gaussian: its five numbers, its weight, and G_p = scale exp(e_p - shift). TKN's windows
   have theirs in t: mu_x, s_x, mu_y, s_y, r.                                            */
typedef struct naive_gaussian {
    double t[5];
    double mu1, mu2, alpha, beta, gamma, weight, shift, scale;
} naive_gaussian;

static inline double naive_place(int i, int size) { return size > 1 ? i / (size - 1.0) : 0; }

/* Numbers a Gaussian, without its logit.                                                */
static inline int naive_numbers(naive_smoother s)
{
    static const int numbers[] = { 5, 0, 4, 2, 4, 4, 5, 5, 2, 2 };
    return numbers[s.shape];
}
/* Numbers a map.                                                                        */
static inline int naive_theta_count(naive_smoother s)
{
    if (s.shape == NAIVE_TABLE) return s.H * s.W;
    return s.M == 1 ? naive_numbers(s) : s.M * (naive_numbers(s) + 1);
}
/* The numbers that the exponent at pixel p is made of.                                  */
static inline void naive_r_and_d(double r[2], double d[2], int p, naive_gaussian g,
                                 naive_smoother s)
{
    d[0] = naive_place(p % s.W, s.W) - g.mu1;
    d[1] = naive_place(p / s.W, s.H) - g.mu2;
    r[0] = g.alpha * d[0] + g.gamma * d[1];
    r[1] = g.gamma * d[0] + g.beta * d[1];
}
/* TKN's windows: log U at pixel p and its derivatives by t, each formula by itself.       */
static inline double naive_attention(int p, const double *t, naive_smoother s, double d5[5])
{
    int cauchy = s.shape == NAIVE_CAUCHY || s.shape == NAIVE_CAUCHY_RHO ||
                 s.shape == NAIVE_CAUCHY_LINE;
    int line = s.shape == NAIVE_GAUSS_LINE || s.shape == NAIVE_CAUCHY_LINE;
    double u = (p % s.W - t[0] * s.W) / (t[1] * s.W / 2), rho, q, k;
    double v = line ? 0 : (p / s.W - t[2] * s.H) / (t[3] * s.H / 2);
    double dudm = -2 / t[1], duds = -u / t[1];
    double dvdm = line ? 0 : -2 / t[3], dvds = line ? 0 : -v / t[3];
    for (int i = 0; i < 5; i++) d5[i] = 0;
    if (s.shape == NAIVE_GAUSS_RHO || s.shape == NAIVE_CAUCHY_RHO) {
        rho = tanh(t[4]);
        q = u * u - 2 * rho * u * v + v * v;
        k = cauchy ? -1 / (1 + q) : -1;
        d5[0] = k * (2 * u - 2 * rho * v) * dudm;
        d5[1] = k * (2 * u - 2 * rho * v) * duds;
        d5[2] = k * (2 * v - 2 * rho * u) * dvdm;
        d5[3] = k * (2 * v - 2 * rho * u) * dvds;
        d5[4] = k * -2 * u * v / (cosh(t[4]) * cosh(t[4]));
        return cauchy ? -log(1 + q) : -q;
    }
    d5[0] = (cauchy ? -2 * u / (1 + u * u) : -u) * dudm;
    d5[1] = (cauchy ? -2 * u / (1 + u * u) : -u) * duds;
    d5[2] = (cauchy ? -2 * v / (1 + v * v) : -v) * dvdm;
    d5[3] = (cauchy ? -2 * v / (1 + v * v) : -v) * dvds;
    return cauchy ? -log((1 + u * u) * (1 + v * v)) : -(u * u + v * v) / 2;
}
static inline double naive_exponent(int p, naive_gaussian g, naive_smoother s)
{
    double r[2], d[2], d5[5];
    if (s.shape >= NAIVE_GAUSS) return naive_attention(p, g.t, s, d5);
    naive_r_and_d(r, d, p, g, s);
    return -(r[0] * r[0] + r[1] * r[1]);
}
/* Gaussian m of the map whose theta this is.                                            */
static inline naive_gaussian naive_gaussian_of(const double *theta, int m, naive_smoother s)
{
    int count = naive_numbers(s), P = s.H * s.W;
    const double *t = theta + m * (count + 1), *logit = theta + count;
    naive_gaussian g = { { 0, 0, 0, 0, 0 }, t[0], 0, t[1], 0, 0, 1, 0, 1 };
    double sum = 0;
    for (int i = 0; i < count; i++) g.t[i] = t[i];
    if (s.shape == NAIVE_FULL || s.shape == NAIVE_SEPARABLE) { g.mu2 = t[1]; g.alpha = t[2]; g.beta = t[3]; }
    if (s.shape == NAIVE_FULL) g.gamma = t[4];
    for (int i = 0; i < s.M && s.M > 1; i++)
        sum += exp(logit[i * (count + 1)] - logit[m * (count + 1)]);
    if (s.M > 1) g.weight = 1 / sum;
    if (s.normalise == 0) return g;
    g.shift = -HUGE_VAL;
    for (int p = 0; p < P; p++) g.shift = fmax(g.shift, naive_exponent(p, g, s));
    sum = 0;
    for (int p = 0; p < P; p++) sum += exp(naive_exponent(p, g, s) - g.shift);
    g.scale = (s.normalise == 2 ? P : 1) / sum;
    return g;
}
static inline double naive_gaussian_at(int p, naive_gaussian g, naive_smoother s)
{
    return g.scale * exp(naive_exponent(p, g, s) - g.shift);
}

static inline int naive_smoother_maps(naive_smoother s)
{
    return s.K * s.R * (s.per_image ? s.N : 1);
}
static inline void naive_smoother_map(double *u, const double *theta, naive_smoother s)
{
    int P = s.H * s.W;
    for (int map = 0; map < naive_smoother_maps(s); map++) {
        const double *t = theta + naive_at2(map, 0, naive_theta_count(s));
        for (int p = 0; p < P; p++)
            u[naive_at2(map, p, P)] = s.shape == NAIVE_TABLE ? t[p] : 0;
        for (int m = 0; m < s.M && s.shape != NAIVE_TABLE; m++) {
            naive_gaussian g = naive_gaussian_of(t, m, s);
            for (int p = 0; p < P; p++)
                u[naive_at2(map, p, P)] += g.weight * naive_gaussian_at(p, g, s);
        }
    }
}

/* The map of image n, channel k, rank l.                                                */
static inline int naive_map_of(naive_smoother s, int n, int k, int l)
{
    return ((s.per_image ? n : 0) * s.K + k) * s.R + l;
}
static inline void naive_smooth_forward(double *y, const double *u, const double *a,
                                        const double *b, naive_smoother s)
{
    int P = s.H * s.W;
    for (int n = 0; n < s.N; n++)
    for (int k = 0; k < s.K; k++)
    for (int p = 0; p < P; p++) {
        double sum = b && !s.smooth_bias ? b[k] : 0;
        for (int l = 0; l < s.R; l++) {
            double product = a[naive_at(n, k, s.K, l, s.R, p, P)];
            if (b && s.smooth_bias) product += b[k];
            sum += u[naive_at2(naive_map_of(s, n, k, l), p, P)] * product;
        }
        y[naive_at3(n, k, s.K, p, P)] = sum;
    }
}

/* dL/dU at one pixel of map m: over all images that use that map.                       */
static inline double naive_du(int m, int p, const double *dy, const double *a, const double *b,
                              naive_smoother s)
{
    double sum = 0;
    int k = m / s.R % s.K, l = m % s.R, P = s.H * s.W;
    for (int n = 0; n < s.N; n++) {
        if (naive_map_of(s, n, k, l) != m) continue;
        sum += dy[naive_at3(n, k, s.K, p, P)]
             * (a[naive_at(n, k, s.K, l, s.R, p, P)] + (b && s.smooth_bias ? b[k] : 0));
    }
    return sum;
}
/* With e = -|r|^2: dL/de_p = w G_p (dL/dU_p - sum_q S_q dL/dU_q), where S = G / sum G comes
   from the normalisation, as in the softmax; without one that sum is left out.
   de/dmu_1 = 2 (r1 alpha + r2 gamma)      de/dmu_2 = 2 (r1 gamma + r2 beta)
   de/dalpha = -2 r1 d1   de/dbeta = -2 r2 d2   de/dgamma = -2 (r1 d2 + r2 d1)  (Eq. 7)
   dL/dlogit = sum_p w (G_p - U_p) dL/dU_p. dt: the Gaussian's own part of dtheta.       */
static inline void naive_gaussian_backward(double *dt, int map, const double *dy,
                                           const double *a, const double *u,
                                           naive_gaussian g, const double *b, naive_smoother s)
{
    double d5[5] = { 0, 0, 0, 0, 0 }, slope[5], r[2], d[2], middle = 0, sum = 0;
    int P = s.H * s.W;
    for (int p = 0; p < P; p++) sum += naive_gaussian_at(p, g, s);
    for (int p = 0; p < P && s.normalise; p++)
        middle += naive_gaussian_at(p, g, s) / sum * naive_du(map, p, dy, a, b, s);
    for (int p = 0; p < P; p++) {
        double du = naive_du(map, p, dy, a, b, s), G = naive_gaussian_at(p, g, s);
        double de = g.weight * G * (du - middle);
        if (s.M > 1) dt[naive_numbers(s)] += g.weight * (G - u[p]) * du;
        if (s.shape >= NAIVE_GAUSS) {
            naive_attention(p, g.t, s, slope);
            for (int i = 0; i < 5; i++) d5[i] += de * slope[i];
            continue;
        }
        naive_r_and_d(r, d, p, g, s);
        d5[0] += de * 2 * (r[0] * g.alpha + r[1] * g.gamma);
        d5[1] += de * 2 * (r[0] * g.gamma + r[1] * g.beta);
        d5[2] -= de * 2 * r[0] * d[0];
        d5[3] -= de * 2 * r[1] * d[1];
        d5[4] -= de * 2 * (r[0] * d[1] + r[1] * d[0]);
    }
    for (int i = 0; i < naive_numbers(s); i++)
        dt[i] += d5[s.shape == NAIVE_LINE && i == 1 ? 2 : i];
}
static inline void naive_smooth_backward(double *da, double *dtheta, double *db,
                                         const double *dy, const double *a, const double *u,
                                         const double *theta, const double *b,
                                         naive_smoother s)
{
    int P = s.H * s.W, count = naive_theta_count(s);
    for (int n = 0; n < s.N; n++)
    for (int k = 0; k < s.K; k++)
    for (int p = 0; p < P; p++) {
        double g = dy[naive_at3(n, k, s.K, p, P)];
        if (db && !s.smooth_bias) db[k] += g;
        for (int l = 0; l < s.R; l++) {
            double map = u[naive_at2(naive_map_of(s, n, k, l), p, P)];
            if (db && s.smooth_bias) db[k] += g * map;
            da[naive_at(n, k, s.K, l, s.R, p, P)] += g * map;
        }
    }
    for (int map = 0; map < naive_smoother_maps(s); map++) {
        size_t at = naive_at2(map, 0, count);
        for (int p = 0; p < P && s.shape == NAIVE_TABLE; p++)
            dtheta[at + (size_t)p] += naive_du(map, p, dy, a, b, s);
        for (int m = 0; m < s.M && s.shape != NAIVE_TABLE; m++)
            naive_gaussian_backward(dtheta + at + m * (naive_numbers(s) + 1), map, dy, a,
                                    u + naive_at2(map, 0, P),
                                    naive_gaussian_of(theta + at, m, s), b, s);
    }
}
#endif
