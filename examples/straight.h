/* straight.h - a sheet of what a spatial transformer does to pictures: each as it is, with a
   frame round the part that theta chooses, and below it what the main network sees.

   The net is one of models.h with a localization network, whose layers "theta" and "seen" are
   kept. Include lsnn.h before it.                                                        */
#ifndef LSNN_EXAMPLES_STRAIGHT_H
#define LSNN_EXAMPLES_STRAIGHT_H

#include <stdlib.h>
#include <string.h>

enum { STRAIGHT_SCALE = 3, STRAIGHT_COLUMNS = 10, STRAIGHT_GAP = 6 };

/* A picture of one or three channels with values in [0, 1].                              */
static inline void straight_picture(lsnn_image *im, int x, int y, const lsnn_real *v,
                                    lsnn_shape s)
{
    int area = s.h * s.w;
    for (int p = 0; p < area; p++) {
        uint32_t rgb = 0;
        for (int c = 0; c < 3; c++) {
            double t = 255 * (double)v[(s.c == 3 ? c : 0) * area + p] + 0.5;
            rgb = rgb << 8 | (uint32_t)(t > 255 ? 255 : t > 0 ? t : 0);
        }
        lsnn_image_rect(im, x + p % s.w * STRAIGHT_SCALE, y + p / s.w * STRAIGHT_SCALE,
                        STRAIGHT_SCALE, STRAIGHT_SCALE, rgb);
    }
}

/* The edges of what is seen, in the picture at (x, y): where theta sends (+-1, +-1).      */
static inline void straight_frame(lsnn_image *im, int x, int y, const lsnn_real t[6],
                                  lsnn_shape s)
{
    static const double corner[5][2] = { { -1, -1 }, { 1, -1 }, { 1, 1 }, { -1, 1 },
                                         { -1, -1 } };
    double at[5][2];
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 2; k++) {
            double to = (double)t[3 * k] * corner[i][0] + (double)t[3 * k + 1] * corner[i][1] +
                        (double)t[3 * k + 2];
            at[i][k] = (k ? y : x) + (to + 1) / 2 * (k ? s.h : s.w) * STRAIGHT_SCALE - 0.5;
        }
    for (int i = 0; i < 4; i++)
        lsnn_image_line(im, at[i][0], at[i][1], at[i + 1][0], at[i + 1][1], 1.5, 0xFF2080);
}

/* Sample number `index` and what becomes of it, at (x, y). v: room for both.              */
static inline lsnn_status straight_pair(lsnn_net *net, const lsnn_data *data, int index,
                                        lsnn_image *im, int x, int y, lsnn_real *v, int *labels)
{
    lsnn_shape s = data->shape, seen = lsnn_net_shape(net, lsnn_net_node(net, "seen"));
    size_t size = (size_t)s.c * (size_t)s.h * (size_t)s.w;
    size_t out = (size_t)seen.c * (size_t)seen.h * (size_t)seen.w;
    lsnn_real theta[6];
    lsnn_batch b;
    lsnn_status status;
    memset(&b, 0, sizeof b);
    b.n = 1;
    b.x = v;
    data->fetch(data->user, 0, index, v, data->heads ? labels : NULL, NULL);
    status = lsnn_forward(net, &b, 0, NULL);
    if (status == LSNN_OK) status = lsnn_net_get(net, "theta", theta, 6);
    if (status == LSNN_OK) status = lsnn_net_get(net, "seen", v + size, out);
    if (status != LSNN_OK) return status;
    straight_picture(im, x, y, v, s);
    straight_frame(im, x, y, theta, s);
    straight_picture(im, x, y + s.h * STRAIGHT_SCALE + 2, v + size, seen);
    return LSNN_OK;
}

/* Draws `count` samples from all over the data into a PNG file. ENAME: the net has no
   transformer.                                                                           */
static inline lsnn_status straight_sheet(lsnn_ctx *cx, lsnn_net *net, const lsnn_data *data,
                                         int count, const char *path)
{
    int node = lsnn_net_node(net, "seen"), rows, high, wide, labels[LSNN_MAX_HEADS];
    lsnn_shape s = data->shape, seen;
    lsnn_image im;
    lsnn_real *v;
    lsnn_status status;
    if (node < 0 || lsnn_net_node(net, "theta") < 0)
        return lsnn_fail(cx, LSNN_ENAME, "%s: the net has no layers \"theta\" and \"seen\", so "
                         "no transformer to draw", path);
    if (count < 1 || count > data->count) count = data->count;
    seen = lsnn_net_shape(net, node);
    rows = (count + STRAIGHT_COLUMNS - 1) / STRAIGHT_COLUMNS;
    high = (s.h + seen.h) * STRAIGHT_SCALE + 2 + STRAIGHT_GAP;
    wide = (s.w > seen.w ? s.w : seen.w) * STRAIGHT_SCALE + STRAIGHT_GAP;
    v = (lsnn_real *)calloc((size_t)(s.c * s.h * s.w) + (size_t)(seen.c * seen.h * seen.w),
                            sizeof *v);
    if (!v) return LSNN_ENOMEM;
    status = lsnn_image_new(cx, &im, STRAIGHT_COLUMNS * wide + STRAIGHT_GAP,
                            rows * high + STRAIGHT_GAP, 0xFFFFFF);
    for (int i = 0; i < count && status == LSNN_OK; i++)
        status = straight_pair(net, data, (int)((double)i * data->count / count), &im,
                               STRAIGHT_GAP + i % STRAIGHT_COLUMNS * wide,
                               STRAIGHT_GAP + i / STRAIGHT_COLUMNS * high, v, labels);
    if (status == LSNN_OK) status = lsnn_image_save(cx, &im, path);
    lsnn_image_free(cx, &im);
    free(v);
    return status;
}
#endif
