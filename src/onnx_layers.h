/* ---- >>writers: a layer type in ONNX's operators --------------------------------------------*/
/* A node begins that reads x, weights, and a bias if there is one.               */
static void lsnni_onnx_weighted(lsnni_onnx *e, int i, const char *x)
{
    char name[2][LSNNI_ONNX_NAME];
    int params = e->net->node[i].plan.params;
    for (int j = 0; j < params; j++) lsnni_onnx_param(e, i, j, 0, NULL, 0, name[j]);
    lsnni_onnx_reads(e, x);
    for (int j = 0; j < params; j++) lsnni_onnx_reads(e, name[j]);
}

static void lsnni_onnx_dense(lsnni_onnx *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    char x[LSNNI_ONNX_NAME];
    lsnni_onnx_read(e, i, v->input[0], 1, x);
    lsnni_onnx_weighted(e, i, x);
    lsnni_onnx_int(e, "transB", 1);
    lsnni_onnx_writes(e, "Gemm", v->name);
    e->flat[i] = 1;
}

/* -|x - centre|^2: x N,1,C less the centres K,C.                                */
static void lsnni_onnx_rbf(lsnni_onnx *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    const int axis = 2;
    char x[LSNNI_ONNX_NAME], name[LSNNI_ONNX_NAME];
    lsnni_onnx_read(e, i, v->input[0], 1, x);
    lsnni_onnx_shape(e, i, x, 3, 1, lsnni_features(e->net->node[v->input[0]].shape), 0);
    lsnni_onnx_param(e, i, 0, v->plan.params == 0, NULL, 0, name);
    lsnni_onnx_reads(e, x);
    lsnni_onnx_reads(e, name);
    lsnni_onnx_next(e, i, "Sub", x);
    lsnni_onnx_reads(e, x);
    lsnni_onnx_ints(e, "axes", &axis, 1);
    lsnni_onnx_int(e, "keepdims", 0);
    lsnni_onnx_next(e, i, "ReduceSumSquare", x);
    lsnni_onnx_reads(e, x);
    lsnni_onnx_writes(e, "Neg", v->name);
    e->flat[i] = 1;
}

/* What works number by number keeps its input's form.                            */
static void lsnni_onnx_each(lsnni_onnx *e, int i, const char *op)
{
    const lsnni_node *v = &e->net->node[i];
    e->flat[i] = e->flat[v->input[0]];
    lsnni_onnx_reads(e, e->net->node[v->input[0]].name);
    lsnni_onnx_writes(e, op, v->name);
}
static void lsnni_onnx_relu(lsnni_onnx *e, int i) { lsnni_onnx_each(e, i, "Relu"); }
static void lsnni_onnx_sigmoid(lsnni_onnx *e, int i) { lsnni_onnx_each(e, i, "Sigmoid"); }
static void lsnni_onnx_tanh(lsnni_onnx *e, int i) { lsnni_onnx_each(e, i, "Tanh"); }
static void lsnni_onnx_same(lsnni_onnx *e, int i) { lsnni_onnx_each(e, i, "Identity"); }
static void lsnni_onnx_scaled_tanh(lsnni_onnx *e, int i)
{
    const lsnn_real in = LSNNI_R(LSNNI_TANH_S), out = LSNNI_R(LSNNI_TANH_A);
    const lsnni_node *v = &e->net->node[i];
    const int one = 1;
    char x[LSNNI_ONNX_NAME];
    e->flat[i] = e->flat[v->input[0]];
    snprintf(x, sizeof x, "%s", e->net->node[v->input[0]].name);
    lsnni_onnx_by(e, i, "Mul", &in, &one, 1, x);
    lsnni_onnx_reads(e, x);
    lsnni_onnx_next(e, i, "Tanh", x);
    lsnni_onnx_by(e, i, "Mul", &out, &one, 1, x);
    lsnni_onnx_done(e, i, x);
}
static void lsnni_onnx_leaky_relu(lsnni_onnx *e, int i)
{
    lsnni_onnx_float(e, "alpha", e->net->node[i].plan.o.slope);
    lsnni_onnx_each(e, i, "LeakyRelu");
}
static void lsnni_onnx_softmax(lsnni_onnx *e, int i)
{
    lsnni_onnx_int(e, "axis", 1);
    lsnni_onnx_each(e, i, "Softmax");
}

static void lsnni_onnx_flatten(lsnni_onnx *e, int i)
{
    char x[LSNNI_ONNX_NAME];
    lsnni_onnx_read(e, i, e->net->node[i].input[0], 1, x);
    e->flat[i] = 1;
    lsnni_onnx_done(e, i, x);
}

/* The window on the whole input, before a crop; pad: top, left, bottom, right.     */
static void lsnni_onnx_window(const lsnni_onnx *e, int i, lsnn_window *s, int pad[4])
{
    const lsnni_node *v = &e->net->node[i];
    lsnn_layer_plan p = v->plan;
    p.in[0] = e->net->node[v->input[0]].shape;
    if (lsnni_window_of(e->cx, s, &p, 1, v->shape.c) != LSNN_OK) return;
    pad[0] = s->pad_top;
    pad[1] = s->pad_left;
    pad[2] = LSNNI_MAX(0, (s->oh - 1) * s->stride_h + lsnni_extent(s->kernel_h, s->dilation_h) -
                          s->h - pad[0]);
    pad[3] = LSNNI_MAX(0, (s->ow - 1) * s->stride_w + lsnni_extent(s->kernel_w, s->dilation_w) -
                          s->w - pad[1]);
}

static void lsnni_onnx_window_says(lsnni_onnx *e, int i)
{
    lsnn_window s;
    int pad[4], kernel[2], stride[2], dilation[2];
    lsnni_onnx_window(e, i, &s, pad);
    dilation[0] = s.dilation_h; dilation[1] = s.dilation_w;
    kernel[0] = s.kernel_h; kernel[1] = s.kernel_w;
    stride[0] = s.stride_h; stride[1] = s.stride_w;
    lsnni_onnx_ints(e, "kernel_shape", kernel, 2);
    lsnni_onnx_ints(e, "strides", stride, 2);
    lsnni_onnx_ints(e, "pads", pad, 4);
    if (dilation[0] > 1 || dilation[1] > 1) lsnni_onnx_ints(e, "dilations", dilation, 2);
    if (s.groups > 1) lsnni_onnx_int(e, "group", s.groups);
}

static void lsnni_onnx_conv2d(lsnni_onnx *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    char x[LSNNI_ONNX_NAME];
    lsnni_onnx_read(e, i, v->input[0], 0, x);
    lsnni_onnx_weighted(e, i, x);
    lsnni_onnx_window_says(e, i);
    lsnni_onnx_writes(e, "Conv", v->name);
}

/* A whole convolution, times a constant map that is 0 outside of the regions.     */
static void lsnni_onnx_target2d(lsnni_onnx *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    const lsnn_real *theta = lsnni_onnx_values(e, i, 1);
    char x[LSNNI_ONNX_NAME], name[2][LSNNI_ONNX_NAME];
    int pad[4], dim[3], params = v->plan.params - 1;
    lsnn_real *f;
    lsnn_window s;
    lsnni_onnx_window(e, i, &s, pad);
    dim[0] = s.k; dim[1] = s.oh; dim[2] = s.ow;
    f = (lsnn_real *)lsnni_alloc(e->cx, lsnni_area(s.k, s.oh + s.ow), sizeof *f);
    if (!f) e->graph.status = LSNN_ENOMEM;
    if (!f) return;
    lsnni_target_factors(f, &v->plan, theta, 1);
    lsnni_target_factors(f + lsnni_area(s.k, s.oh), &v->plan, theta, 0);
    memset(e->row, 0, lsnni_target_pixels(&s) * sizeof *e->row);
    for (int k = 0; k < s.k; k++) {
        int32_t box[4];
        lsnni_target_box(box, theta + 4 * (size_t)k, &s, v->plan.o.clip);
        lsnni_target_map(e->row + lsnni_area(k, s.oh * s.ow), f + lsnni_area(k, s.oh),
                         f + lsnni_area(s.k, s.oh) + lsnni_area(k, s.ow), box, s.ow);
    }
    lsnni_free(e->cx, f);
    lsnni_onnx_read(e, i, v->input[0], 0, x);
    for (int j = 0; j < params; j++) lsnni_onnx_param(e, i, 2 * j, 0, NULL, 0, name[j]);
    lsnni_onnx_reads(e, x);
    for (int j = 0; j < params; j++) lsnni_onnx_reads(e, name[j]);
    lsnni_onnx_window_says(e, i);
    lsnni_onnx_next(e, i, "Conv", x);
    lsnni_onnx_by(e, i, "Mul", e->row, dim, 3, x);
    lsnni_onnx_done(e, i, x);
}

/* A convolution whose kernels are 0 where the table connects nothing.              */
static void lsnni_onnx_table_conv2d(lsnni_onnx *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    const lsnn_real *b = lsnni_onnx_values(e, i, 1);
    char x[LSNNI_ONNX_NAME], name[2][LSNNI_ONNX_NAME];
    const char *at = v->table;
    int dim[4], k = 0, c = -1, to = -1;
    size_t taps = lsnni_area(v->plan.o.kernel_h, v->plan.o.kernel_w), m = 0, count;
    lsnn_real *full;
    dim[0] = v->shape.c; dim[1] = e->net->node[v->input[0]].shape.c;
    dim[2] = v->plan.o.kernel_h; dim[3] = v->plan.o.kernel_w;
    count = lsnni_area(dim[0], dim[1]) * taps;
    full = (lsnn_real *)lsnni_alloc(e->cx, count, sizeof *full);
    if (!full) e->graph.status = LSNN_ENOMEM;
    if (!full) return;
    memset(full, 0, count * sizeof *full);
    for (; lsnni_wires_next(&at, &k, &c, &to); m++)
        memcpy(full + lsnni_at2(k, c, dim[1]) * taps, lsnni_onnx_values(e, i, 0) + m * taps,
               taps * sizeof *full);
    lsnni_onnx_floats(e, i, full, dim, 4, name[0]);
    lsnni_free(e->cx, full);
    if (b) lsnni_onnx_floats(e, i, b, dim, 1, name[1]);
    lsnni_onnx_read(e, i, v->input[0], 0, x);
    lsnni_onnx_reads(e, x);
    lsnni_onnx_reads(e, name[0]);
    if (b) lsnni_onnx_reads(e, name[1]);
    lsnni_onnx_window_says(e, i);
    lsnni_onnx_writes(e, "Conv", v->name);
}

/* A sum is an average over whole windows, padding too, times their size.           */
static void lsnni_onnx_pool(lsnni_onnx *e, int i, const char *op, int sum)
{
    const lsnni_node *v = &e->net->node[i];
    const int one = 1;
    lsnn_real size = LSNNI_R((double)v->plan.o.kernel_h * v->plan.o.kernel_w);
    char x[LSNNI_ONNX_NAME];
    lsnni_onnx_read(e, i, v->input[0], 0, x);
    lsnni_onnx_reads(e, x);
    lsnni_onnx_window_says(e, i);
    if (sum) lsnni_onnx_int(e, "count_include_pad", 1);
    lsnni_onnx_next(e, i, op, x);
    if (sum) lsnni_onnx_by(e, i, "Mul", &size, &one, 1, x);
    lsnni_onnx_done(e, i, x);
}
static void lsnni_onnx_max_pool(lsnni_onnx *e, int i) { lsnni_onnx_pool(e, i, "MaxPool", 0); }
static void lsnni_onnx_avg_pool(lsnni_onnx *e, int i) { lsnni_onnx_pool(e, i, "AveragePool", 0); }
static void lsnni_onnx_sum_pool(lsnni_onnx *e, int i) { lsnni_onnx_pool(e, i, "AveragePool", 1); }

/* All inputs, as N,C,H,W, into one.                                            */
static void lsnni_onnx_join(lsnni_onnx *e, int i, const char *op, const char *y)
{
    const lsnni_node *v = &e->net->node[i];
    char x[LSNN_MAX_INPUTS][LSNNI_ONNX_NAME];
    for (int j = 0; j < v->plan.inputs; j++) lsnni_onnx_read(e, i, v->input[j], 0, x[j]);
    for (int j = 0; j < v->plan.inputs; j++) lsnni_onnx_reads(e, x[j]);
    if (strcmp(op, "Concat") == 0) lsnni_onnx_int(e, "axis", 1);
    lsnni_onnx_writes(e, op, y);
}
static void lsnni_onnx_add(lsnni_onnx *e, int i)
{
    lsnni_onnx_join(e, i, "Add", e->net->node[i].name);
}
static void lsnni_onnx_concat(lsnni_onnx *e, int i)
{
    lsnni_onnx_join(e, i, "Concat", e->net->node[i].name);
}

/* The net may read a concat as its parts, see >>parts; ONNX has no such thing.   */
static void lsnni_onnx_batch_norm(lsnni_onnx *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    char x[LSNNI_ONNX_NAME], name[4][LSNNI_ONNX_NAME];
    if (v->joined >= 0) lsnni_onnx_join(e, i, "Concat", lsnni_onnx_made(e, i, x));
    else {
        snprintf(x, sizeof x, "%s", e->net->node[v->input[0]].name);
        e->flat[i] = e->flat[v->input[0]];
    }
    for (int j = 0; j < 4; j++) lsnni_onnx_param(e, i, j % 2, j / 2, NULL, 0, name[j]);
    lsnni_onnx_reads(e, x);
    for (int j = 0; j < 4; j++) lsnni_onnx_reads(e, name[j]);
    lsnni_onnx_float(e, "epsilon", v->plan.o.eps);
    lsnni_onnx_writes(e, "BatchNormalization", v->name);
}

static void lsnni_onnx_scale(lsnni_onnx *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    char x[LSNNI_ONNX_NAME];
    int dim[3] = { 0, 1, 1 };
    dim[0] = v->shape.c;
    lsnni_onnx_read(e, i, v->input[0], 0, x);
    lsnni_onnx_by(e, i, "Mul", lsnni_onnx_values(e, i, 0), dim, 3, x);
    lsnni_onnx_by(e, i, "Add", lsnni_onnx_values(e, i, 1), dim, 3, x);
    lsnni_onnx_done(e, i, x);
}

/* x = x[..., first .. first + count, ...] of one axis.                              */
static void lsnni_onnx_cut(lsnni_onnx *e, int i, int axis, int first, int count,
                           char x[LSNNI_ONNX_NAME])
{
    char at[3][LSNNI_ONNX_NAME];
    int64_t to[3];
    to[0] = first; to[1] = first + count; to[2] = axis;
    for (int j = 0; j < 3; j++) lsnni_onnx_whole(e, i, &to[j], 1, at[j]);
    lsnni_onnx_reads(e, x);
    for (int j = 0; j < 3; j++) lsnni_onnx_reads(e, at[j]);
    lsnni_onnx_next(e, i, "Slice", x);
}
static void lsnni_onnx_slice(lsnni_onnx *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    char x[LSNNI_ONNX_NAME];
    snprintf(x, sizeof x, "%s", e->net->node[v->input[0]].name);
    e->flat[i] = e->flat[v->input[0]];
    lsnni_onnx_cut(e, i, 1, v->plan.o.first, v->plan.o.count, x);
    lsnni_onnx_done(e, i, x);
}

/* ---- local2d: its patches gathered, then one product a place. */
static void lsnni_onnx_patches(lsnni_onnx *e, int i, const lsnn_window *s, const int pad[4],
                               char x[LSNNI_ONNX_NAME])
{
    char name[LSNNI_ONNX_NAME];
    int h = s->h + pad[0] + pad[2], w = s->w + pad[1] + pad[3], dim[2];
    size_t at = 0;
    int64_t pads[8] = { 0, 0, 0, 0, 0, 0, 0, 0 }, *index;
    pads[2] = pad[0]; pads[3] = pad[1]; pads[6] = pad[2]; pads[7] = pad[3];
    lsnni_onnx_whole(e, i, pads, 8, name);
    lsnni_onnx_reads(e, x);
    lsnni_onnx_reads(e, name);
    lsnni_onnx_next(e, i, "Pad", x);
    lsnni_onnx_shape(e, i, x, 2, s->c * h * w, 0, 0);
    dim[0] = s->oh * s->ow;
    dim[1] = s->c * s->kernel_h * s->kernel_w;
    index = (int64_t *)lsnni_alloc(e->cx, lsnni_area(dim[0], dim[1]), sizeof *index);
    if (!index) e->graph.status = LSNN_ENOMEM;
    if (!index) return;
    for (int oy = 0; oy < s->oh; oy++)
    for (int ox = 0; ox < s->ow; ox++)
    for (int c = 0; c < s->c; c++)
    for (int u = 0; u < s->kernel_h; u++)
    for (int v = 0; v < s->kernel_w; v++)
        index[at++] = ((int64_t)c * h + oy * s->stride_h + u * s->dilation_h) * w +
            ox * s->stride_w + v * s->dilation_w;
    lsnni_onnx_constant(e, lsnni_onnx_made(e, i, name), NULL, index, dim, 2);
    lsnni_free(e->cx, index);
    lsnni_onnx_reads(e, x);
    lsnni_onnx_reads(e, name);
    lsnni_onnx_int(e, "axis", 1);
    lsnni_onnx_next(e, i, "Gather", x);                  /* N,P,CRS           */
}

/* d: the last of four axes, or 0: there are three.                              */
static void lsnni_onnx_turn(lsnni_onnx *e, int i, int a, int b, int c, int d,
                            char x[LSNNI_ONNX_NAME])
{
    int perm[4];
    perm[0] = a; perm[1] = b; perm[2] = c; perm[3] = d;
    lsnni_onnx_reads(e, x);
    lsnni_onnx_ints(e, "perm", perm, a + b + c + d == 6 ? 4 : 3);
    lsnni_onnx_next(e, i, "Transpose", x);
}

/* y = op(a, b)                                                               */
static void lsnni_onnx_pair(lsnni_onnx *e, int i, const char *op, const char *a, const char *b,
                            char y[LSNNI_ONNX_NAME])
{
    lsnni_onnx_reads(e, a);
    lsnni_onnx_reads(e, b);
    lsnni_onnx_next(e, i, op, y);
}

/* The sum over an axis, which is left out.                                     */
static void lsnni_onnx_sum(lsnni_onnx *e, int i, int64_t axis, char y[LSNNI_ONNX_NAME])
{
    char axes[LSNNI_ONNX_NAME];
    lsnni_onnx_whole(e, i, &axis, 1, axes);
    lsnni_onnx_reads(e, y);
    lsnni_onnx_reads(e, axes);
    lsnni_onnx_int(e, "keepdims", 0);
    lsnni_onnx_next(e, i, "ReduceSum", y);
}

/* The weights P,CRS,K of a local2d as P,groups,CRS,K/groups.                     */
static void lsnni_onnx_local_weights(lsnni_onnx *e, int i, const lsnn_window *s,
                                     char name[LSNNI_ONNX_NAME])
{
    const lsnn_real *w = lsnni_onnx_values(e, i, 0);
    int dim[4];
    size_t count;
    lsnn_real *turned;
    dim[0] = s->oh * s->ow; dim[1] = s->groups; dim[2] = lsnni_depth(s);
    dim[3] = s->k / s->groups;
    count = lsnni_area(dim[0], dim[2]);
    turned = (lsnn_real *)lsnni_alloc(e->cx, count * (size_t)s->k, sizeof *turned);
    if (!turned) e->graph.status = LSNN_ENOMEM;
    if (!turned) return;
    for (size_t q = 0; q < count; q++)
        for (int k = 0; k < s->k; k++)
            turned[lsnni_at4((int)(q / (size_t)dim[2]), k / dim[3], dim[1],
                             (int)(q % (size_t)dim[2]), dim[2], k % dim[3], dim[3])] =
                w[q * (size_t)s->k + (size_t)k];
    lsnni_onnx_floats(e, i, turned, dim, 4, name);
    lsnni_free(e->cx, turned);
}

static void lsnni_onnx_local2d(lsnni_onnx *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    char x[LSNNI_ONNX_NAME], w[LSNNI_ONNX_NAME];
    lsnn_window s;
    int pad[4], dim[3];
    lsnni_onnx_window(e, i, &s, pad);
    lsnni_onnx_read(e, i, v->input[0], 0, x);
    lsnni_onnx_patches(e, i, &s, pad, x);
    lsnni_onnx_shape(e, i, x, 4, s.oh * s.ow, s.groups, lsnni_depth(&s));
    lsnni_onnx_turn(e, i, 1, 2, 0, 3, x);
    lsnni_onnx_local_weights(e, i, &s, w);
    lsnni_onnx_reads(e, x);
    lsnni_onnx_reads(e, w);
    lsnni_onnx_next(e, i, "MatMul", x);                  /* P,groups,N,K/groups */
    lsnni_onnx_turn(e, i, 2, 1, 3, 0, x);
    lsnni_onnx_shape(e, i, x, 4, s.k, s.oh, s.ow);
    dim[0] = s.k; dim[1] = s.oh; dim[2] = s.ow;
    if (v->plan.o.bias == LSNN_BIAS_OF_KERNEL) dim[1] = dim[2] = 1;
    lsnni_onnx_by(e, i, "Add", lsnni_onnx_values(e, i, 1), dim, 3, x);
    lsnni_onnx_done(e, i, x);
}

/* ---- blend: its maps as N,banks,K,P, by constant weights, added up. */
static void lsnni_onnx_blend(lsnni_onnx *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    lsnn_blender s = lsnni_blend_of(&v->plan, 1, 0);
    char x[LSNNI_ONNX_NAME];
    int dim[4];
    if (lsnn_blend_weights(e->cx, e->row, lsnni_onnx_values(e, i, 0), &s) != LSNN_OK) return;
    dim[0] = dim[2] = 1; dim[1] = s.banks; dim[3] = s.h * s.w;
    lsnni_onnx_read(e, i, v->input[0], 0, x);
    lsnni_onnx_shape(e, i, x, 4, s.banks, s.k, s.h * s.w);
    lsnni_onnx_by(e, i, "Mul", e->row, dim, 4, x);
    lsnni_onnx_sum(e, i, 1, x);
    lsnni_onnx_shape(e, i, x, 4, s.k, s.h, s.w);
    dim[0] = s.k; dim[1] = dim[2] = 1;
    lsnni_onnx_by(e, i, "Add", lsnni_onnx_values(e, i, 1), dim, 3, x);
    lsnni_onnx_done(e, i, x);
}

/* ---- lp_pool: its patches N,P,C,taps, divided by their largest before they are raised. ONNX's
   LpPool knows whole p alone, and overflows. */
static void lsnni_onnx_over_taps(lsnni_onnx *e, int i, const char *op, char y[LSNNI_ONNX_NAME])
{
    const int axis = 3;
    const int64_t axes = 3;
    char name[LSNNI_ONNX_NAME];
    int sum = strcmp(op, "ReduceSum") == 0;      /* whose axes are an input     */
    if (sum) lsnni_onnx_whole(e, i, &axes, 1, name);
    lsnni_onnx_reads(e, y);
    if (sum) lsnni_onnx_reads(e, name);
    else lsnni_onnx_ints(e, "axes", &axis, 1);
    lsnni_onnx_int(e, "keepdims", 1);
    lsnni_onnx_next(e, i, op, y);
}

static void lsnni_onnx_lp_pool(lsnni_onnx *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    const lsnn_real least = LSNNI_R(FLT_MIN);    /* a window of zeros is divided by it */
    char x[LSNNI_ONNX_NAME], most[LSNNI_ONNX_NAME], by[LSNNI_ONNX_NAME];
    lsnn_window s;
    int pad[4], dim[2];
    lsnni_onnx_window(e, i, &s, pad);
    dim[0] = (int)lsnni_lp_norms_of(&v->plan, lsnni_onnx_values(e, i, 0), e->row);
    dim[1] = 1;
    lsnni_onnx_read(e, i, v->input[0], 0, x);
    lsnni_onnx_patches(e, i, &s, pad, x);
    lsnni_onnx_shape(e, i, x, 4, s.oh * s.ow, s.c, s.kernel_h * s.kernel_w);
    lsnni_onnx_reads(e, x);
    lsnni_onnx_next(e, i, "Abs", x);
    snprintf(most, sizeof most, "%s", x);
    lsnni_onnx_over_taps(e, i, "ReduceMax", most);
    snprintf(by, sizeof by, "%s", most);
    lsnni_onnx_by(e, i, "Max", &least, dim + 1, 1, by);
    lsnni_onnx_pair(e, i, "Div", x, by, x);
    lsnni_onnx_by(e, i, "Pow", e->row, dim, 2, x);
    lsnni_onnx_over_taps(e, i, "ReduceSum", x);
    for (int c = 0; c < dim[0]; c++) e->row[c] = 1 / e->row[c];
    lsnni_onnx_by(e, i, "Pow", e->row, dim, 2, x);
    lsnni_onnx_pair(e, i, "Mul", x, most, x);
    lsnni_onnx_shape(e, i, x, 3, s.oh * s.ow, s.c, 0);
    lsnni_onnx_turn(e, i, 0, 2, 1, 0, x);
    lsnni_onnx_shape(e, i, x, 4, s.c, s.oh, s.ow);
    lsnni_onnx_done(e, i, x);
}

/* ---- transformers: the grid is theta N,2,3 times the places of all pixels, 3,P. */
static void lsnni_onnx_affine_grid(lsnni_onnx *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    int corners = v->plan.o.align_corners, h = v->shape.h, w = v->shape.w, dim[2];
    char x[LSNNI_ONNX_NAME];
    lsnn_real *place;
    dim[0] = 3; dim[1] = h * w;
    place = (lsnn_real *)lsnni_alloc(e->cx, lsnni_area(3, dim[1]), sizeof *place);
    if (!place) e->graph.status = LSNN_ENOMEM;
    if (!place) return;
    for (int p = 0; p < dim[1]; p++) {
        place[p] = LSNNI_R(lsnni_place(p % w, w, corners));
        place[lsnni_at2(1, p, dim[1])] = LSNNI_R(lsnni_place(p / w, h, corners));
        place[lsnni_at2(2, p, dim[1])] = 1;
    }
    lsnni_onnx_read(e, i, v->input[0], 1, x);
    lsnni_onnx_shape(e, i, x, 3, 2, 3, 0);
    lsnni_onnx_by(e, i, "MatMul", place, dim, 2, x);
    lsnni_free(e->cx, place);
    lsnni_onnx_shape(e, i, x, 4, 2, h, w);
    lsnni_onnx_done(e, i, x);
}

/* ONNX has x and y side by side, as PyTorch has; bilinear with zeros is what it does unasked. */
static void lsnni_onnx_grid_sample(lsnni_onnx *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    const int perm[4] = { 0, 2, 3, 1 };
    char x[LSNNI_ONNX_NAME], grid[LSNNI_ONNX_NAME];
    lsnni_onnx_read(e, i, v->input[1], 0, grid);
    lsnni_onnx_reads(e, grid);
    lsnni_onnx_ints(e, "perm", perm, 4);
    lsnni_onnx_next(e, i, "Transpose", grid);
    lsnni_onnx_read(e, i, v->input[0], 0, x);
    lsnni_onnx_reads(e, x);
    lsnni_onnx_reads(e, grid);
    lsnni_onnx_int(e, "align_corners", v->plan.o.align_corners);
    lsnni_onnx_writes(e, "GridSample", v->name);
    e->opset = LSNNI_ONNX_OPSET_GRID;
}

