/* filters.h - a picture of the first kernels of a locally_connected net at places from all over
   the map: those of local1, of conv1 (under smooth1, if there is one), or mixed by lowrank1. */
#ifndef FILTERS_H
#define FILTERS_H
#include "../lsnn.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FILTERS = 4, ACROSS = 8, ZOOM = 5, FRAME = 10 };

typedef struct filters {
    lsnn_real *w, *g;                /* g: the banks' weights, or smoothers   */
    int maps, depth, taps, places, banks, local, smooth;
} filters;

/* Weight `tap` of kernel k at place p, a mean over the input's maps.             */
static inline double filters_weight(const filters *f, int k, int p, int tap)
{
    double sum = 0;
    int maps = f->depth / f->taps;
    for (int c = 0; c < maps; c++) {
        int q = c * f->taps + tap;
        if (f->local) sum += (double)f->w[((size_t)p * (size_t)f->depth + (size_t)q) *
                                          (size_t)f->maps + (size_t)k];
        for (int m = 0; m < f->banks; m++)     /* a smoother is one bank, a map a kernel */
            sum += (double)f->w[(m * f->maps + k) * f->depth + q] *
                   (f->g ? (double)f->g[(f->smooth ? k : m) * f->places + p] : 1);
    }
    return sum / maps;
}

static inline lsnn_real *filters_numbers(lsnn_net *net, const char *name, int dim[4], int *rank)
{
    size_t count = 1;
    lsnn_real *v;
    if (lsnn_net_dims(net, name, rank, dim) != LSNN_OK) return NULL;
    for (int i = 0; i < *rank; i++) count *= (size_t)dim[i];
    v = (lsnn_real *)malloc(count * sizeof *v);
    if (v && lsnn_net_get(net, name, v, count) != LSNN_OK) v[0] = 0;
    return v;
}

static inline lsnn_status filters_draw(lsnn_ctx *cx, lsnn_net *net, const char *path)
{
    int bank = lsnn_net_node(net, "lowrank1") >= 0, rank;
    int smooth = lsnn_net_node(net, "smooth1") >= 0;
    int node = lsnn_net_node(net, bank ? "lowrank1" : smooth ? "smooth1" : "conv1");
    int dim[4] = { 0, 0, 0, 0 }, side, cell, got[4];
    lsnn_shape map;
    lsnn_image im;
    filters f;
    lsnn_status s;
    memset(&f, 0, sizeof f);
    f.local = lsnn_net_node(net, "local1") >= 0;
    if (f.local) node = lsnn_net_node(net, "local1");
    map = lsnn_net_shape(net, node);
    f.w = filters_numbers(net, f.local ? "local1.weight" : bank ? "lowrank1-banks.weight"
                               : "conv1.weight", dim, &rank);
    if (bank || smooth)
        f.g = filters_numbers(net, bank ? "lowrank1.weights" : "smooth1.map", got, &rank);
    side = lsnn_net_node(net, "local3") >= 0 ? 3 : 5;    /* deepface              */
    f.maps = map.c;
    f.places = map.h * map.w;
    f.smooth = smooth;
    f.taps = side * side;
    f.depth = f.local ? dim[1] : dim[1] * f.taps;
    f.banks = f.local ? 0 : dim[0] / f.maps;
    cell = side * ZOOM + 2;
    s = !f.w || ((bank || smooth) && !f.g) ? LSNN_ENOMEM :
        lsnn_image_new(cx, &im, FILTERS * (ACROSS * cell + FRAME) + FRAME,
                       ACROSS * cell + 2 * FRAME, 0xFFFFFF);
    for (int k = 0; k < FILTERS && s == LSNN_OK; k++) {
        lsnn_real v[ACROSS * ACROSS][25];
        double most = 1e-9;
        for (int i = 0; i < ACROSS * ACROSS; i++)
            for (int t = 0; t < f.taps; t++) {
                int row = i / ACROSS * (map.h - 1) / (ACROSS - 1);
                int col = i % ACROSS * (map.w - 1) / (ACROSS - 1);
                v[i][t] = (lsnn_real)filters_weight(&f, k, row * map.w + col, t);
                most = fmax(most, fabs((double)v[i][t]));
            }
        for (int i = 0; i < ACROSS * ACROSS; i++)
            lsnn_image_map(&im, FRAME + k * (ACROSS * cell + FRAME) + i % ACROSS * cell,
                           FRAME + i / ACROSS * cell, ZOOM, v[i], side, side, -most, most);
    }
    if (s == LSNN_OK) {
        s = lsnn_image_save(cx, &im, path);
        lsnn_image_free(cx, &im);
    }
    free(f.w);
    free(f.g);
    return s;
}
#endif
