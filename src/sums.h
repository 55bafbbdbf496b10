/* ---- >>sums: gradients of w, in both layouts --------------------------------------
   The tiles of one: adds to `count` rows of c, `pitch` apart, `width` kernels each, the
   products of dy, turned so that its vectors run over the kernels, and x from start[i] on. Row i is
   number item[i], or i; t has the tables of what is summed over.            */
static void lsnni_dw_tiles(const lsnni_kernels *kv, lsnni_tile *t, lsnn_real *c, int pitch,
                           int width, const lsnn_real *dy, const lsnn_real *x,
                           const int32_t *start, const int32_t *item, int count)
{
    int lanes = kv->lanes, vectors = lsnni_div_up(width, lanes);
    t->bias = t->scale = NULL;
    t->add = 1;
    for (int v0 = 0; v0 < vectors; v0 += LSNNI_MAX_VECTORS) {
        t->vectors = LSNNI_MIN(LSNNI_MAX_VECTORS, vectors - v0);
        for (int v = 0; v < t->vectors; v++) {
            t->at[v] = (v0 + v) * lanes;
            t->b[v] = dy + t->at[v];
            t->lanes[v] = LSNNI_MIN(lanes, width - (v0 + v) * lanes);
        }
        for (int i = 0; i < count; i += kv->rows) {
            t->rows = LSNNI_MIN(kv->rows, count - i);
            for (int r = 0; r < kv->rows; r++) {
                int j = i + LSNNI_MIN(r, t->rows - 1);
                t->a[r] = x + start[j];
                t->c[r] = c + lsnni_area(item ? item[j] : j, pitch);
            }
            kv->tile(t);
        }
    }
}

/* A gradient of w is summed in parts of the batch (its units: images, or blocks of them)
   and ranges of a kernel's taps, cut by sizes alone, so that its bits do not depend on
   threads. Each part has sums of its own, added in order: [depth + 1][kp], vectors along
   the kernels, the last row the bias, whose x is 1.                          */
typedef struct lsnni_sums {
    const lsnni_kernels *kv;
    int kernels, depth, kp;          /* kernels, taps of one, kernels in whole vectors */
    int units, parts, ranges, per_range;
    size_t size;                     /* of a part's sums                     */
    lsnn_real *sum, *dw, *db;
} lsnni_sums;

static void lsnni_sums_plan(lsnni_sums *p, lsnn_ctx *cx, const lsnn_window *s, int units,
                            lsnn_real *dw, lsnn_real *db)
{
    p->kv = lsnni_kernels_of(cx);
    p->kernels = s->k;
    p->depth = s->c * s->kernel_h * s->kernel_w;
    p->kp = lsnni_round_up(s->k, p->kv->lanes);
    p->size = lsnni_area(p->depth + 1, p->kp);
    p->units = units;
    p->parts = (int)LSNNI_MIN(((size_t)1 << 20) / lsnni_area(p->depth, p->kp), 8);
    p->parts = LSNNI_MAX(1, LSNNI_MIN(p->parts, units));
    p->ranges = lsnni_div_up(8, p->parts);
    p->per_range = lsnni_round_up(lsnni_div_up(p->depth, p->ranges), p->kv->rows);
    p->ranges = lsnni_div_up(p->depth, p->per_range);
    p->dw = dw;
    p->db = db;
}

/* A task's units [n0, n1) and taps [d0, d1), and its part's sums.            */
typedef struct lsnni_slice {
    int n0, n1, d0, d1;
    lsnn_real *sum;
} lsnni_slice;

static lsnni_slice lsnni_sums_slice(const lsnni_sums *p, int task)
{
    int part = task / p->ranges;
    lsnni_slice slice;
    slice.n0 = (int)((int64_t)p->units * part / p->parts);
    slice.n1 = (int)((int64_t)p->units * (part + 1) / p->parts);
    slice.d0 = task % p->ranges * p->per_range;
    slice.d1 = LSNNI_MIN(slice.d0 + p->per_range, p->depth);
    slice.sum = p->sum + (size_t)part * p->size;
    return slice;
}

/* Unit n of the bias: `plane` numbers of dy for each kernel.                 */
static void lsnni_sums_bias(const lsnni_sums *p, const lsnni_slice *slice, int n,
                            const lsnn_real *dy, size_t plane)
{
    lsnn_real *sum = slice->sum + lsnni_area(p->depth, p->kp);
    if (!p->db || slice->d0 > 0) return;
    if (n == slice->n0) memset(sum, 0, (size_t)p->kp * sizeof *sum);
    for (int k = 0; k < p->kernels; k++)
        sum[k] += LSNNI_R(p->kv->sum(dy + (size_t)k * plane, plane));
}

/* Adds the parts' sums of 64 rows to dw and db.                              */
static void lsnni_sums_task(void *user, int task, int worker)
{
    const lsnni_sums *p = (const lsnni_sums *)user;
    int d0 = p->dw ? task * 64 : p->depth, d1 = LSNNI_MIN(d0 + 64, p->depth + (p->db ? 1 : 0));
    lsnn_real *total = p->sum + lsnni_area(d0, p->kp);
    (void)worker;
    for (int part = 1; part < p->parts; part++)
        p->kv->axpy(total, 1, total + (size_t)part * p->size, lsnni_area(d1 - d0, p->kp));
    for (int k = 0; k < p->kernels; k++)
        for (int d = d0; d < d1; d++)
            *(d == p->depth ? p->db + k : p->dw + lsnni_area(k, p->depth) + (size_t)d) +=
                p->sum[lsnni_area(d, p->kp) + (size_t)k];
}

static void lsnni_sums_add(lsnn_ctx *cx, lsnni_sums *p)
{
    lsnn_parallel(cx, p->dw ? lsnni_div_up(p->depth + 1, 64) : 1, lsnni_sums_task, p);
}
