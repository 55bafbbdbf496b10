/* ---- >>window: how kernels slide ------------------------------------------------*/
/* The pixels from a kernel's first tap to its last one.                        */
static int lsnni_extent(int kernel, int dilation) { return (kernel - 1) * dilation + 1; }

/* What a window has on one side of the image: rows, or columns.                */
static lsnn_status lsnni_window_side(lsnn_ctx *cx, const char *side, int in, int kernel,
                                     int dilation, int stride, lsnn_padding padding, int before,
                                     int after, int *pad, int *out)
{
    double room, span = (kernel - 1.0) * dilation + 1;
    if (span > INT32_MAX / 4)
        return lsnni_fail(cx, LSNN_ESHAPE, "a kernel of %d, dilation %d, is over 2^29 pixels %s",
                          kernel, dilation, side);
    if (padding == LSNN_SAME) {
        *out = in / stride + (in % stride != 0);
        room = (double)(*out - 1) * stride + span - in;
        *pad = room > 0 ? (int)room / 2 : 0;
        return LSNN_OK;
    }
    *pad = padding == LSNN_EXPLICIT ? before : 0;
    room = (double)in + (padding == LSNN_EXPLICIT ? (double)before + after : 0) - span;
    if (room < 0 || room > INT_MAX - 1)
        return lsnni_fail(cx, LSNN_ESHAPE, "a kernel %.0f %s does not fit an input %d %s with "
                          "padding %d + %d: use a smaller kernel or padding \"same\"", span,
                          side, in, side, *pad, padding == LSNN_EXPLICIT ? after : 0);
    *out = (int)room / stride + 1;
    return LSNN_OK;
}

static lsnn_status lsnni_window_sizes(lsnn_ctx *cx, const char *who, const lsnn_window *s,
                                      int count)
{
    static const char *const name[14] = { "n", "c", "h", "w", "k", "kernel_h", "kernel_w",
        "stride_h", "stride_w", "dilation_h", "dilation_w", "groups", "oh", "ow" };
    int size[14];
    size[0] = s->n; size[1] = s->c; size[2] = s->h; size[3] = s->w; size[4] = s->k;
    size[5] = s->kernel_h; size[6] = s->kernel_w; size[7] = s->stride_h; size[8] = s->stride_w;
    size[9] = s->dilation_h; size[10] = s->dilation_w; size[11] = s->groups;
    size[12] = s->oh; size[13] = s->ow;
    for (int i = 0; i < count; i++)
        if (size[i] < 1)
            return lsnni_fail(cx, LSNN_ESHAPE, "%s: %s is %d, it must be positive", who, name[i],
                              size[i]);
    if (s->c % s->groups || s->k % s->groups)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: groups is %d, which does not divide %d channels "
                          "and %d kernels", who, s->groups, s->c, s->k);
    return LSNN_OK;
}

/* weights: the kernels have some, [k][c / groups][kernel_h][kernel_w]; a pooling's have none. */
static lsnn_status lsnni_window_check(lsnn_ctx *cx, const char *who, const lsnn_window *s,
                                      int weights)
{
    double high, wide;
    LSNNI_TRY(lsnni_window_sizes(cx, who, s, 14));
    if (s->pad_top < 0 || s->pad_left < 0)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: padding %d, %d is negative", who, s->pad_top,
                          s->pad_left);
    high = (s->kernel_h - 1.0) * s->dilation_h + 1;
    wide = (s->kernel_w - 1.0) * s->dilation_w + 1;
    if ((double)s->c * s->h * s->w > INT32_MAX / 4 ||
        (double)s->k * s->oh * s->ow > INT32_MAX / 4 ||
        (double)s->c / s->groups * s->kernel_h * s->kernel_w * (weights ? s->k : 1) >
            INT32_MAX / 4 ||
        (weights && (s->h + high - 1) * (s->w + wide - 1) * s->k > INT32_MAX) ||
        ((double)s->oh * s->stride_h + high) * ((double)s->ow * s->stride_w + wide) *
            LSNNI_MAX(s->c, s->k) > INT32_MAX / 4)       /* what dx is made from: see rows.h */
        return lsnni_fail(cx, LSNN_ESHAPE,
                          "%s: input %dx%dx%d, output %dx%dx%d, kernel %dx%d: an "
                          "image or the weights have over 2^29 numbers", who, s->c, s->h, s->w,
                          s->k, s->oh, s->ow, s->kernel_h, s->kernel_w);
    if (s->groups > 1 && (double)s->n * s->groups * LSNNI_MAX(s->h, s->oh) > INT32_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: %d images of %d groups and %d rows are over "
                          "2^31: use smaller batches", who, s->n, s->groups,
                          LSNNI_MAX(s->h, s->oh));
    return LSNN_OK;
}

/* For ops that know no dilation and no groups.                                 */
static lsnn_status lsnni_window_simple(lsnn_ctx *cx, const char *who, const lsnn_window *s)
{
    if (s->dilation_h == 1 && s->dilation_w == 1 && s->groups == 1) return LSNN_OK;
    return lsnni_fail(cx, LSNN_EVALUE, "%s: dilation_h %d, dilation_w %d, groups %d: it takes "
                      "none of them, they must be 1", who, s->dilation_h, s->dilation_w,
                      s->groups);
}

LSNN_API lsnn_status lsnn_window_fit(lsnn_ctx *cx, lsnn_window *s, lsnn_padding padding,
                                     const int pad[4])
{
    if (!s->dilation_h) s->dilation_h = 1;
    if (!s->dilation_w) s->dilation_w = 1;
    if (!s->groups) s->groups = 1;
    LSNNI_TRY(lsnni_window_sizes(cx, "window", s, 12));
    for (int i = 0; i < 4; i++)
        if (padding == LSNN_EXPLICIT && (!pad || pad[i] < 0))
            return lsnni_fail(cx, LSNN_ESHAPE, "window: explicit padding must be four sizes "
                              "that are not negative");
    LSNNI_TRY(lsnni_window_side(cx, "high", s->h, s->kernel_h, s->dilation_h, s->stride_h,
                                padding, pad ? pad[0] : 0, pad ? pad[2] : 0, &s->pad_top,
                                &s->oh));
    LSNNI_TRY(lsnni_window_side(cx, "wide", s->w, s->kernel_w, s->dilation_w, s->stride_w,
                                padding, pad ? pad[1] : 0, pad ? pad[3] : 0, &s->pad_left,
                                &s->ow));
    return lsnni_window_check(cx, "window", s, 0);
}

LSNN_API lsnn_status lsnn_window_set(lsnn_ctx *cx, lsnn_window *s, int n, lsnn_shape in,
                                     int k, int kernel_h, int kernel_w, int stride_h,
                                     int stride_w, lsnn_padding padding, const int pad[4])
{
    memset(s, 0, sizeof *s);
    s->n = n;
    s->c = in.c;
    s->h = in.h;
    s->w = in.w;
    s->k = k;
    s->kernel_h = kernel_h;
    s->kernel_w = kernel_w;
    s->stride_h = stride_h;
    s->stride_w = stride_w;
    return lsnn_window_fit(cx, s, padding, pad);
}
