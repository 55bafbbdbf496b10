/* ---- What regions come to: a plan, int32_t numbers that lsnn_target2d_plan writes.
   Places are the pixels of all regions, kernel by kernel.                     */
enum { LSNNI_REGION_LISTS = 7 };
typedef struct lsnni_regions {
    const lsnn_window *s;
    const lsnn_target *t;
    int32_t *head;                   /* how many places; 1: regions so large that to compute */
                                     /*   everything is faster                */
    int32_t *start;                  /* K + 1: a kernel's first place         */
    int32_t *box;                    /* K x 4: its rows [0, 1), columns [2, 3) */
    int32_t *place;                  /* K x OH x OW: a pixel's place, or -1   */
    int32_t *pixel, *at;             /* a place's pixel, and its first tap in x with padding */
    int32_t *first_kernel, *kernel;  /* OH x OW + 1; a pixel's kernels         */
} lsnni_regions;

static void lsnni_regions_sizes(size_t size[LSNNI_REGION_LISTS], const lsnn_window *s)
{
    size_t k = (size_t)s->k, area = lsnni_area(s->oh, s->ow), all = lsnni_times(k, area);
    size[0] = k + 1;
    size[1] = 4 * k;
    size[2] = size[3] = size[4] = size[6] = all;
    size[5] = lsnni_plus(area, 1);
}

LSNN_API size_t lsnn_target2d_room(const lsnn_window *s)
{
    size_t size[LSNNI_REGION_LISTS], room = 2;
    lsnni_regions_sizes(size, s);
    for (int i = 0; i < LSNNI_REGION_LISTS; i++) room = lsnni_plus(room, size[i]);
    return room;
}

static void lsnni_regions_of(lsnni_regions *r, int32_t *plan, const lsnn_window *s)
{
    size_t size[LSNNI_REGION_LISTS];
    int32_t *list[LSNNI_REGION_LISTS], *at = plan + 2;
    lsnni_regions_sizes(size, s);
    for (int i = 0; i < LSNNI_REGION_LISTS; at += size[i++]) list[i] = at;
    r->s = s;
    r->t = NULL;
    r->head = plan;
    r->start = list[0];
    r->box = list[1];
    r->place = list[2];
    r->pixel = list[3];
    r->at = list[4];
    r->first_kernel = list[5];
    r->kernel = list[6];
}

static lsnn_status lsnni_target_check(lsnn_ctx *cx, const lsnn_window *s)
{
    LSNNI_TRY(lsnni_window_check(cx, "target2d", s, 1));
    LSNNI_TRY(lsnni_window_simple(cx, "target2d", s));
    if ((double)s->k * s->oh * s->ow > INT32_MAX ||
        (double)s->k * LSNNI_MAX(s->c, 16) * s->kernel_h * s->kernel_w > INT32_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE, "target2d: %d kernels of %d x %d taps of %d maps, on "
                          "%d x %d pixels, are over 2^31 numbers", s->k, s->kernel_h,
                          s->kernel_w, s->c, s->oh, s->ow);
    return LSNN_OK;
}

/* Kernel k's pixels, from place n on.                                          */
static int lsnni_regions_kernel(lsnni_regions *r, const unsigned char *inside, int k, int n)
{
    const lsnn_window *s = r->s;
    int32_t *box = r->box + 4 * k;
    int wide = (s->ow - 1) * s->stride_w + s->kernel_w;
    box[0] = s->oh; box[1] = 0; box[2] = s->ow; box[3] = 0;
    r->start[k] = n;
    for (int i = 0; i < s->oh; i++)
        for (int j = 0; j < s->ow; j++) {
            size_t at = lsnni_at3(k, i, s->oh, j, s->ow);
            r->place[at] = inside[at] ? n : -1;
            if (!inside[at]) continue;
            r->pixel[n] = i * s->ow + j;
            r->at[n++] = i * s->stride_h * wide + j * s->stride_w;
            box[0] = LSNNI_MIN(box[0], i);
            box[1] = LSNNI_MAX(box[1], i + 1);
            box[2] = LSNNI_MIN(box[2], j);
            box[3] = LSNNI_MAX(box[3], j + 1);
        }
    return n;
}

/* The kernels of each pixel.                                                  */
static void lsnni_regions_kernels(lsnni_regions *r)
{
    size_t area = lsnni_area(r->s->oh, r->s->ow);
    int n = 0;
    for (size_t q = 0; q < area; q++) {
        r->first_kernel[q] = n;
        for (int k = 0; k < r->s->k; k++)
            if (r->place[(size_t)k * area + q] >= 0) r->kernel[n++] = k;
    }
    r->first_kernel[area] = n;
}

/* Pixel by pixel costs more than all at once from this share on.              */
static int lsnni_regions_dense(const lsnni_regions *r)
{
    return r->head[0] > 0.95 * r->s->k * r->s->oh * r->s->ow;
}

LSNN_API lsnn_status lsnn_target2d_plan(lsnn_ctx *cx, int32_t *plan,
                                        const unsigned char *inside, const lsnn_window *s)
{
    lsnni_regions r;
    int n = 0;
    LSNNI_TRY(lsnni_target_check(cx, s));
    lsnni_regions_of(&r, plan, s);
    for (int k = 0; k < s->k; k++) n = lsnni_regions_kernel(&r, inside, k, n);
    r.start[s->k] = n;
    r.head[0] = n;
    r.head[1] = lsnni_regions_dense(&r);
    lsnni_regions_kernels(&r);
    return LSNN_OK;
}

/* U_k at a pixel.                                                             */
static lsnn_real lsnni_target_u(const lsnni_regions *r, int k, int pixel)
{
    const lsnn_window *s = r->s;
    return r->t->fy[lsnni_at2(k, pixel / s->ow, s->oh)] *
           r->t->fx[lsnni_at2(k, pixel % s->ow, s->ow)];
}

/* Row i of U_k, 0 outside of the region.                                       */
static void lsnni_regions_row(const lsnni_regions *r, lsnn_real *u, int k, int i)
{
    const lsnn_window *s = r->s;
    const int32_t *place = r->place + lsnni_at3(k, i, s->oh, 0, s->ow);
    const lsnn_real *fx = r->t->fx + lsnni_area(k, s->ow);
    lsnn_real fy = r->t->fy[lsnni_at2(k, i, s->oh)];
    for (int j = 0; j < s->ow; j++) u[j] = place[j] < 0 ? 0 : fy * fx[j];
}

/* U of all kernels: what the whole convolution multiplies by.                  */
static void lsnni_regions_map(const lsnni_regions *r, lsnn_real *u)
{
    for (int i = 0; i < r->s->k * r->s->oh; i++)
        lsnni_regions_row(r, u + lsnni_area(i, r->s->ow), i / r->s->oh, i % r->s->oh);
}
