/* source.h - what the tests of data share: a context that keeps its message, and sets of
   digits to place.                                                                    */
#ifndef SOURCE_H
#define SOURCE_H
#include "check.h"
#include <stdlib.h>
#include <string.h>

static char logged[400];
static void keep_log(const char *message, void *user)
{
    (void)user;
    snprintf(logged, sizeof logged, "%s", message);
}

static lsnn_ctx quiet(void)
{
    lsnn_ctx cx;
    memset(&cx, 0, sizeof cx);
    cx.log_fn = keep_log;
    return cx;
}

/* A set of n drawn digits as IDX arrays, freed by free_source.               */
typedef struct source { lsnn_idx images, labels; } source;

static source make_source(int n, uint64_t seed, int test)
{
    source s;
    lsnn_recipe r;
    memset(&s, 0, sizeof s);
    memset(&r, 0, sizeof r);
    r.task = LSNN_TASK_DIGITS;
    r.seed = seed;
    r.test = test;
    r.count = n;
    s.images.rank = 3;
    s.images.dim[0] = s.labels.dim[0] = n;
    s.images.dim[1] = s.images.dim[2] = 28;
    s.labels.rank = 1;
    s.images.v = (unsigned char *)malloc((size_t)n * 784);
    s.labels.v = (unsigned char *)malloc((size_t)n);
    for (int i = 0; i < n; i++)
        lsnn_recipe_draw(&r, 0, i, s.images.v + (size_t)i * 784, s.labels.v + i, NULL);
    return s;
}

static void free_source(source *s)
{
    free(s->images.v);
    free(s->labels.v);
}
#endif
