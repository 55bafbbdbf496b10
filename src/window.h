/* ---- >>window: how kernels slide ------------------------------------------------*/
static lsnn_status lsnni_window_side(lsnn_ctx *cx, const char *side, int in, int kernel,
                                     int stride, lsnn_padding padding, int before, int after,
                                     int *pad, int *out)
{
    double room;
    if (padding == LSNN_SAME) {
        *out = in / stride + (in % stride != 0);
        room = (double)(*out - 1) * stride + kernel - in;
        *pad = room > 0 ? (int)room / 2 : 0;
        return LSNN_OK;
    }
    *pad = padding == LSNN_EXPLICIT ? before : 0;
    room = (double)in + (padding == LSNN_EXPLICIT ? (double)before + after : 0) - kernel;
    if (room < 0 || room > INT_MAX - 1)
        return lsnni_fail(cx, LSNN_ESHAPE, "a kernel %d %s does not fit an input %d %s with "
                          "padding %d + %d: use a smaller kernel or padding \"same\"", kernel,
                          side, in, side, *pad, padding == LSNN_EXPLICIT ? after : 0);
    *out = (int)room / stride + 1;
    return LSNN_OK;
}

static lsnn_status lsnni_window_sizes(lsnn_ctx *cx, const char *who, const lsnn_window *s,
                                      int count)
{
    static const char *const name[11] = { "n", "c", "h", "w", "k", "kernel_h", "kernel_w",
        "stride_h", "stride_w", "oh", "ow" };
    int size[11];
    size[0] = s->n; size[1] = s->c; size[2] = s->h; size[3] = s->w; size[4] = s->k;
    size[5] = s->kernel_h; size[6] = s->kernel_w; size[7] = s->stride_h; size[8] = s->stride_w;
    size[9] = s->oh; size[10] = s->ow;
    for (int i = 0; i < count; i++)
        if (size[i] < 1)
            return lsnni_fail(cx, LSNN_ESHAPE, "%s: %s is %d, it must be positive", who, name[i],
                              size[i]);
    return LSNN_OK;
}

/* weights: the kernels have some, [k][c][kernel_h][kernel_w]; a pooling's have none. */
static lsnn_status lsnni_window_check(lsnn_ctx *cx, const char *who, const lsnn_window *s,
                                      int weights)
{
    LSNNI_TRY(lsnni_window_sizes(cx, who, s, 11));
    if (s->pad_top < 0 || s->pad_left < 0)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: padding %d, %d is negative", who, s->pad_top,
                          s->pad_left);
    if ((double)s->c * s->h * s->w > INT32_MAX / 4 ||
        (double)s->k * s->oh * s->ow > INT32_MAX / 4 ||
        (double)s->c * s->kernel_h * s->kernel_w * (weights ? s->k : 1) > INT32_MAX / 4 ||
        (weights && ((double)s->h + s->kernel_h - 1) * ((double)s->w + s->kernel_w - 1) *
            s->k > INT32_MAX) ||     /* what dx is made from: see rows.h      */
        ((double)s->oh * s->stride_h + s->kernel_h) *
            ((double)s->ow * s->stride_w + s->kernel_w) * LSNNI_MAX(s->c, s->k) > INT32_MAX / 4)
        return lsnni_fail(cx, LSNN_ESHAPE,
                          "%s: input %dx%dx%d, output %dx%dx%d, kernel %dx%d: an "
                          "image or the weights have over 2^29 numbers", who, s->c, s->h, s->w,
                          s->k, s->oh, s->ow, s->kernel_h, s->kernel_w);
    return LSNN_OK;
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
    LSNNI_TRY(lsnni_window_sizes(cx, "window", s, 9));
    for (int i = 0; i < 4; i++)
        if (padding == LSNN_EXPLICIT && (!pad || pad[i] < 0))
            return lsnni_fail(cx, LSNN_ESHAPE, "window: explicit padding must be four sizes "
                              "that are not negative");
    LSNNI_TRY(lsnni_window_side(cx, "high", in.h, kernel_h, stride_h, padding,
                                pad ? pad[0] : 0, pad ? pad[2] : 0, &s->pad_top, &s->oh));
    LSNNI_TRY(lsnni_window_side(cx, "wide", in.w, kernel_w, stride_w, padding,
                                pad ? pad[1] : 0, pad ? pad[3] : 0, &s->pad_left, &s->ow));
    return lsnni_window_check(cx, "window", s, 0);
}

