/* ---- >>cuda conv2d: three products of matrices whose factors are looked up, not stored
   With d = (c,u,v) a tap of a kernel, q = (n,i,j) an output's place, r = (n,row,col) a pixel's, and
   X(d,q) the pixel that tap d reads for q, 0 in the padding, each group is
   y (k,q)  = b[k] + sum_d w(k,d) X(d,q)
   dx(c,r) (+)= sum_kuv w(c,kuv) DY(kuv,r)      DY: dy where tap (u,v) of kernel k reads r, else 0
   dw(k,d) += sum_q dy(k,q) X(d,q)              db[k] += sum_q dy(k,q)
   A block of threads makes a tile of 64 x 64 sums, 4 x 4 a thread, from slices of both factors,
   8 deep, that it brings to shared memory together: each number is read from there 64 times. dw has
   few tiles and long sums, so these are cut in parts, by sizes alone, and added up in order. */
enum { LSNNI_CONV_Y, LSNNI_CONV_DX, LSNNI_CONV_DW };
enum { LSNNI_TILE = 64, LSNNI_DEEP = 8, LSNNI_BUSY = 512 };  /* BUSY: blocks that fill a GPU */
typedef struct lsnni_cuda_conv2d {
    lsnn_window s;
    lsnn_real *y, *dx, *dw, *db, *part;
    const lsnn_real *x, *w, *b, *dy;
    int add;
    int channels, kernels, taps;     /* of a group; taps: channels kh kw      */
    int rows, cols, depth, parts;    /* of the product at work                */
} lsnni_cuda_conv2d;

/* Output (i, j) whose tap (u, v) reads pixel (row, col): 0 if there is none.  */
LSNNI_BOTH int lsnni_output_of(const lsnn_window *s, int row, int col, int u, int v, int *i,
                               int *j)
{
    int y = row + s->pad_top - u * s->dilation_h, x = col + s->pad_left - v * s->dilation_w;
    *i = y / s->stride_h;
    *j = x / s->stride_w;
    return y >= 0 && x >= 0 && y % s->stride_h == 0 && x % s->stride_w == 0 && *i < s->oh &&
           *j < s->ow;
}

/* X(d, q) of group g.                                                         */
LSNNI_BOTH lsnn_real lsnni_conv_pixel(const lsnni_cuda_conv2d *a, int g, int d, int q)
{
    const lsnn_window *s = &a->s;
    int area = s->oh * s->ow, window = s->kernel_h * s->kernel_w;
    size_t at;
    return lsnni_pixel(s, q / area, g * a->kernels, q % area / s->ow, q % s->ow, d / window,
                       d % window / s->kernel_w, d % s->kernel_w, &at) ? a->x[at] : 0;
}

/* dy(k, q) of group g.                                                        */
LSNNI_BOTH lsnn_real lsnni_conv_dy(const lsnni_cuda_conv2d *a, int g, int k, int q)
{
    int area = a->s.oh * a->s.ow;
    return a->dy[lsnni_at3(q / area, g * a->kernels + k, a->s.k, q % area, area)];
}

/* The left factor in row m, depth d.                                          */
LSNNI_BOTH lsnn_real lsnni_conv_left(const lsnni_cuda_conv2d *a, int product, int g, int m, int d)
{
    int window = a->s.kernel_h * a->s.kernel_w;
    if (product == LSNNI_CONV_Y) return a->w[lsnni_at2(g * a->kernels + m, d, a->taps)];
    if (product == LSNNI_CONV_DW) return lsnni_conv_dy(a, g, m, d);
    return a->w[lsnni_at3(g * a->kernels + d / window, m, a->channels, d % window, window)];
}

/* The right factor in depth d, column c.                                      */
LSNNI_BOTH lsnn_real lsnni_conv_right(const lsnni_cuda_conv2d *a, int product, int g, int d, int c)
{
    const lsnn_window *s = &a->s;
    int area = s->h * s->w, window = s->kernel_h * s->kernel_w, i, j;
    if (product == LSNNI_CONV_Y) return lsnni_conv_pixel(a, g, d, c);
    if (product == LSNNI_CONV_DW) return lsnni_conv_pixel(a, g, c, d);
    if (!lsnni_output_of(s, c % area / s->w, c % s->w, d % window / s->kernel_w,
                         d % s->kernel_w, &i, &j)) return 0;
    return a->dy[lsnni_at4(c / area, g * a->kernels + d / window, s->k, i, s->oh, j, s->ow)];
}

/* Where the sum in row m, column c goes.                                      */
LSNNI_BOTH void lsnni_conv_store(const lsnni_cuda_conv2d *a, int product, int g, int m, int c,
                                 int part, lsnn_real sum)
{
    int out = a->s.oh * a->s.ow, in = a->s.h * a->s.w, k = g * a->kernels + m;
    if (product == LSNNI_CONV_Y)
        a->y[lsnni_at3(c / out, k, a->s.k, c % out, out)] = sum + (a->b ? a->b[k] : 0);
    else if (product == LSNNI_CONV_DW) a->part[lsnni_at3(part, k, a->s.k, c, a->taps)] = sum;
    else {
        lsnn_real *dx = a->dx + lsnni_at3(c / in, g * a->channels + m, a->s.c, c % in, in);
        *dx = a->add ? *dx + sum : sum;
    }
}

/* The tile of this block, which is one of parts x groups x rows / 64 x cols / 64. */
LSNNI_DEVICE_ONLY void lsnni_conv_tile(const lsnni_cuda_conv2d *a, int product, lsnn_real *left,
                                       lsnn_real *right)
{
    int across = (a->cols + LSNNI_TILE - 1) / LSNNI_TILE;
    int down = (a->rows + LSNNI_TILE - 1) / LSNNI_TILE, block = (int)blockIdx.x;
    int col = block % across * LSNNI_TILE, row = block / across % down * LSNNI_TILE;
    int g = block / across / down % a->s.groups, part = block / across / down / a->s.groups;
    int deep = (a->depth + a->parts - 1) / a->parts, from = part * deep;
    int to = from + deep < a->depth ? from + deep : a->depth;
    int me = (int)threadIdx.x, my_row = me / 16 * 4, my_col = me % 16 * 4;
    lsnn_real sum[4][4] = { { 0 } };
    for (; from < to; from += LSNNI_DEEP) {
        for (int i = me; i < LSNNI_TILE * LSNNI_DEEP; i += LSNNI_THREADS) {
            int m = row + i % LSNNI_TILE, c = col + i % LSNNI_TILE, d = from + i / LSNNI_TILE;
            left[i] = m < a->rows && d < to ? lsnni_conv_left(a, product, g, m, d) : 0;
            right[i] = c < a->cols && d < to ? lsnni_conv_right(a, product, g, d, c) : 0;
        }
        __syncthreads();
        for (int d = 0; d < LSNNI_TILE * LSNNI_DEEP; d += LSNNI_TILE)
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++)
                    sum[i][j] += left[d + my_row + i] * right[d + my_col + j];
        __syncthreads();             /* the slices may be written again       */
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            if (row + my_row + i < a->rows && col + my_col + j < a->cols)
                lsnni_conv_store(a, product, g, row + my_row + i, col + my_col + j, part,
                                 sum[i][j]);
}

/* One kernel a product, so that the compiler sees which it is.               */
#define LSNNI_CONV_KERNEL(name, product)                                                   \
    LSNNI_KERNEL(name, lsnni_cuda_conv2d)                                                  \
    {                                                                                      \
        LSNNI_SHARED lsnn_real left[LSNNI_TILE * LSNNI_DEEP], right[LSNNI_TILE * LSNNI_DEEP]; \
        lsnni_conv_tile(&a, product, left, right);                                         \
    }
LSNNI_CONV_KERNEL(lsnni_cuda_conv2d_y, LSNNI_CONV_Y)
LSNNI_CONV_KERNEL(lsnni_cuda_conv2d_dx, LSNNI_CONV_DX)
LSNNI_CONV_KERNEL(lsnni_cuda_conv2d_dw, LSNNI_CONV_DW)
#undef LSNNI_CONV_KERNEL

LSNNI_KERNEL(lsnni_cuda_conv2d_parts, lsnni_cuda_conv2d)
{
    size_t count = (size_t)a.s.k * a.taps;
    LSNNI_EACH(i, count);
    lsnn_real sum = 0;
    for (int p = 0; p < a.parts; p++) sum += a.part[p * count + i];
    a.dw[i] += sum;
}

/* A block for each kernel.                                                    */
LSNNI_KERNEL(lsnni_cuda_conv2d_db, lsnni_cuda_conv2d)
{
    LSNNI_SHARED double room[LSNNI_ROOM];
    int area = a.s.oh * a.s.ow, k = (int)blockIdx.x;
    size_t count = (size_t)a.s.n * area;
    double sum = 0;
    for (size_t p = threadIdx.x; p < count; p += LSNNI_THREADS)
        sum += (double)a.dy[lsnni_at3((int)(p / (size_t)area), k, a.s.k, (int)(p % (size_t)area),
                                      area)];
    sum = lsnni_block_sum(room, sum);
    if (threadIdx.x == 0) a.db[k] += LSNNI_R(sum);
}

static lsnn_status lsnni_cuda_conv2d_of(lsnn_ctx *cx, lsnni_cuda_conv2d *a, const lsnn_call *c)
{
    memset(a, 0, sizeof *a);
    a->y = c->y; a->x = c->x[0]; a->w = c->param[0]; a->b = c->param[1];
    a->dy = c->dy; a->dx = c->dx[0]; a->dw = c->dparam[0]; a->db = c->dparam[1];
    a->add = c->add[0];
    a->parts = 1;
    LSNNI_TRY(lsnni_call_window(cx, &a->s, c));
    a->channels = a->s.c / a->s.groups;
    a->kernels = a->s.k / a->s.groups;
    a->taps = a->channels * a->s.kernel_h * a->s.kernel_w;
    if ((double)c->n * LSNNI_MAX(a->s.oh * a->s.ow, a->s.h * a->s.w) <= INT_MAX) return LSNN_OK;
    return lsnn_fail(cx, LSNN_ESHAPE, "conv2d: %d images of %d x %d are over 2^31 pixels: use "
                     "smaller batches", c->n, a->s.h, a->s.w);
}

/* How many blocks make a product of these sizes.                             */
static size_t lsnni_conv_blocks(lsnni_cuda_conv2d *a, int rows, int cols, int depth)
{
    a->rows = rows;
    a->cols = cols;
    a->depth = depth;
    return lsnni_area(lsnni_div_up(rows, LSNNI_TILE), lsnni_div_up(cols, LSNNI_TILE)) *
           lsnni_area(a->s.groups, a->parts);
}

LSNNI_CUDA lsnn_status lsnni_cuda_forward_conv2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_conv2d a;
    size_t blocks;
    LSNNI_TRY(lsnni_cuda_conv2d_of(cx, &a, c));
    blocks = lsnni_conv_blocks(&a, a.kernels, c->n * a.s.oh * a.s.ow, a.taps);
    LSNNI_LAUNCH(cx, c->device, lsnni_cuda_conv2d_y, blocks, LSNNI_THREADS, a);
    return LSNN_OK;
}

static lsnn_status lsnni_cuda_conv2d_weights(lsnn_ctx *cx, lsnn_call *c, lsnni_cuda_conv2d *a)
{
    int places = c->n * a->s.oh * a->s.ow;
    size_t blocks = lsnni_conv_blocks(a, a->kernels, a->taps, places);
    size_t count = c->plan->param[0].count;
    void *room = NULL;
    a->parts = LSNNI_MIN(lsnni_div_up(LSNNI_BUSY, (int)LSNNI_MIN(blocks, (size_t)LSNNI_BUSY)),
                         lsnni_div_up(places, LSNNI_THREADS));
    LSNNI_TRY(lsnni_cuda_scratch(cx, c->device, &room, (size_t)a->parts * count *
                                 sizeof *a->part));
    a->part = (lsnn_real *)room;
    blocks *= (size_t)a->parts;
    LSNNI_LAUNCH(cx, c->device, lsnni_cuda_conv2d_dw, blocks, LSNNI_THREADS, *a);
    LSNNI_LAUNCH_EACH(cx, c->device, lsnni_cuda_conv2d_parts, count, *a);
    a->parts = 1;
    return LSNN_OK;
}

LSNNI_CUDA lsnn_status lsnni_cuda_backward_conv2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnni_cuda_conv2d a;
    LSNNI_TRY(lsnni_cuda_conv2d_of(cx, &a, c));
    if (a.dw) LSNNI_TRY(lsnni_cuda_conv2d_weights(cx, c, &a));
    if (a.db) LSNNI_LAUNCH(cx, c->device, lsnni_cuda_conv2d_db, a.s.k, LSNNI_THREADS, a);
    if (a.dx) {
        size_t blocks = lsnni_conv_blocks(&a, a.channels, c->n * a.s.h * a.s.w,
                                          a.kernels * a.s.kernel_h * a.s.kernel_w);
        LSNNI_LAUNCH(cx, c->device, lsnni_cuda_conv2d_dx, blocks, LSNNI_THREADS, a);
    }
    return LSNN_OK;
}
