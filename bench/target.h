/* target.h - bench: target2d beside the whole convolution, at regions of some shares of a map.
   Lines: ours and full in images/s, taps: what the regions hold of the taps inside the image,
   ratio: the speed-up, of: the reduction 1 / taps; pass: forward, or step (forward, dx, dw, and
   dy y for the windows). Both sides in turn; the fastest of --pairs runs counts. With
   --threads 1 it is the processor's time, which holds on a busy machine, too.            */
typedef struct target_case { const char *net, *layer; int c, side, k, kernel; } target_case;
static const target_case target_cases[] = {
    { "cnn6", "conv1", 1, 28, 256, 5 }, { "cnn6", "conv2", 256, 14, 256, 5 },
    { "cnn6", "conv3", 256, 7, 128, 5 }, { "dn10", "block1", 36, 28, 12, 3 },
    { "dn10", "block2", 60, 14, 12, 3 }, { "dn10", "block3", 84, 7, 12, 3 },
    { "dn40", "block1", 72, 32, 36, 3 }, { "dn40", "block2", 72, 16, 36, 3 },
    { "dn40", "block3", 72, 8, 36, 3 }
};

/* Random numbers on a cache line; *block is to be freed.                              */
static lsnn_real *target_reals(size_t count, void **block)
{
    lsnn_rng r = lsnn_rng_at(1, "bench", "target", (uint32_t)count, 0);
    lsnn_real *v;
    *block = calloc(count * sizeof *v + 64, 1);
    must(*block != NULL, "memory");
    v = (lsnn_real *)(((uintptr_t)*block + 63) & ~(uintptr_t)63);
    for (size_t i = 0; i < count; i++) v[i] = (lsnn_real)(2 * lsnn_rng_uniform(&r) - 1);
    return v;
}

/* Squares of about `share` of the map, at places of their own.                        */
static void target_regions(unsigned char *inside, const lsnn_window *s, double share)
{
    lsnn_rng r = lsnn_rng_at(2, "bench", "regions", 0, 0);
    for (int k = 0; k < s->k; k++) {
        int size[2], at[2];
        for (int d = 0; d < 2; d++) {
            size[d] = (int)(sqrt(share) * s->oh + lsnn_rng_uniform(&r));
            size[d] = size[d] < 1 ? 1 : size[d] > s->oh ? s->oh : size[d];
            at[d] = lsnn_rng_int(&r, s->oh - size[d] + 1);
        }
        for (int i = 0; i < s->oh; i++)
            for (int j = 0; j < s->ow; j++)
                *inside++ = i >= at[0] && i < at[0] + size[0] && j >= at[1] &&
                    j < at[1] + size[1];
    }
}

/* Taps inside the image of one map of x, for all kernels; inside NULL: of whole maps.  */
static double target_taps(const lsnn_window *s, const unsigned char *inside)
{
    double taps = 0;
    for (int p = 0; p < s->k * s->oh * s->ow; p++) {
        int i = p / s->ow % s->oh - s->pad_top, j = p % s->ow - s->pad_left, n[2] = { 0, 0 };
        if (inside && !inside[p]) continue;
        for (int u = 0; u < s->kernel_h; u++) n[0] += i + u >= 0 && i + u < s->h;
        for (int v = 0; v < s->kernel_w; v++) n[1] += j + v >= 0 && j + v < s->w;
        taps += n[0] * n[1];
    }
    return taps;
}

enum { TX, TW, TY, TDY, TDX, TDW, TFY, TFX, TGY, TGX, TROOM, TFULL, TARRAYS };
static double target_now(const bench *b)
{
    return lsnn_ctx_threads(&b->cx) == 1 ? (double)clock() / CLOCKS_PER_SEC : now();
}

/* Seconds of one pass of either side.                                                 */
static double target_run(bench *b, const lsnn_window *s, const lsnn_target *t,
                         lsnn_real *const *v, int target, int step)
{
    double start = target_now(b);
    lsnn_status r = target
        ? lsnn_target2d_forward(&b->cx, v[TY], v[TX], v[TW], NULL, t, s)
        : lsnn_conv2d_forward(&b->cx, v[TFULL], v[TX], v[TW], NULL, s);
    if (r == LSNN_OK && step)
        r = target ? lsnn_target2d_backward(&b->cx, v[TDX], v[TDW], NULL, v[TGY], v[TGX],
                                            v[TROOM], v[TDY], v[TY], v[TX], v[TW], t, s, LSNN_SET)
                   : lsnn_conv2d_backward(&b->cx, v[TDX], v[TDW], NULL, v[TDY], v[TX], v[TW], s,
                                          LSNN_SET);
    must(r == LSNN_OK, "target");
    return target_now(b) - start;
}

static void target_line(bench *b, const target_case *c, const lsnn_window *s,
                        const lsnn_target *t, lsnn_real *const *v, double share, double taps)
{
    for (int step = 0; step < 2; step++) {
        double best[2] = { 1e30, 1e30 };
        for (int i = 0; i <= b->pairs; i++)
            for (int target = 0; target < 2; target++)
                best[target] = fmin(best[target], target_run(b, s, t, v, target, step));
        printf("bench what=target net=%s layer=%s share=%g batch=%d threads=%d ours=%.5g full=%.5g "
               "taps=%.4f ratio=%.2f of=%.2f pass=%s\n", c->net, c->layer, share, s->n,
               lsnn_ctx_threads(&b->cx), s->n / best[1], s->n / best[0], taps, best[0] / best[1],
               1 / taps, step ? "step" : "forward");
        fflush(stdout);
    }
}

static void bench_target_case(bench *b, const target_case *c, int batch)
{
    static const double shares[] = { 1, 0.5, 0.25, 0.1, 0.05 };
    lsnn_shape in;
    lsnn_window s;
    lsnn_target t;
    lsnn_real *v[TARRAYS];
    void *block[TARRAYS];
    size_t size[TARRAYS], k = (size_t)c->k, side = (size_t)c->side, n;
    unsigned char *inside = (unsigned char *)calloc(k * side * side, 1);
    in.c = c->c; in.h = in.w = c->side;
    must(lsnn_window_set(&b->cx, &s, batch, in, c->k, c->kernel, c->kernel, 1, 1, LSNN_SAME,
                         NULL) == LSNN_OK, "window");
    n = (size_t)batch * side * side;
    s.lanes = lsnn_lanes(&b->cx) > 1 && batch % lsnn_lanes(&b->cx) == 0 ? lsnn_lanes(&b->cx) : 0;
    size[TX] = size[TDX] = n * (size_t)c->c;
    size[TW] = size[TDW] = k * (size_t)(c->c * c->kernel * c->kernel);
    size[TY] = size[TDY] = size[TROOM] = size[TFULL] = n * k;
    size[TFY] = size[TFX] = size[TGY] = size[TGX] = k * side;
    for (int i = 0; i < TARRAYS; i++) v[i] = target_reals(size[i], &block[i]);
    t.plan = (int32_t *)calloc(lsnn_target2d_room(&s), sizeof *t.plan);
    must(inside && t.plan, "memory");
    t.fy = v[TFY];
    t.fx = v[TFX];
    for (int i = 0; i < 5; i++) {
        target_regions(inside, &s, shares[i]);
        memset(v[TY], 0, size[TY] * sizeof *v[TY]);
        must(lsnn_target2d_plan(&b->cx, t.plan, inside, &s) == LSNN_OK, "plan");
        target_line(b, c, &s, &t, v, shares[i], target_taps(&s, inside) / target_taps(&s, NULL));
    }
    for (int i = 0; i < TARRAYS; i++) free(block[i]);
    free(t.plan);
    free(inside);
}

static void bench_target(bench *b, int batch)
{
    for (size_t i = 0; i < sizeof target_cases / sizeof *target_cases; i++)
        if (!b->net || strcmp(b->net, target_cases[i].net) == 0)
            bench_target_case(b, &target_cases[i], batch);
}
