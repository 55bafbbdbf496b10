/* cuda_ops.h - the layers that tests/test_cuda.c runs on a device and on the cpu: each type that
   has a device pair, in shapes that have corners of their own.                              */
typedef struct layer_case {
    const char *what;
    int (*make)(lsnn_net *net, int x, lsnn_options *o);      /* o: its name and keep     */
    int c, h, w;                         /* of the layer's input                          */
} layer_case;

static int make_dense(lsnn_net *net, int x, lsnn_options *o) { return lsnn_dense(net, x, 5, o); }
static int make_dense_plain(lsnn_net *net, int x, lsnn_options *o)
{
    o->no_bias = 1;
    return lsnn_dense(net, x, 300, o);
}
static int make_relu(lsnn_net *net, int x, lsnn_options *o) { return lsnn_relu(net, x, o); }
static int make_leaky(lsnn_net *net, int x, lsnn_options *o)
{
    o->slope = 0.2;
    return lsnn_leaky_relu(net, x, o);
}
static int make_sigmoid(lsnn_net *net, int x, lsnn_options *o) { return lsnn_sigmoid(net, x, o); }
static int make_tanh(lsnn_net *net, int x, lsnn_options *o) { return lsnn_tanh(net, x, o); }
static int make_scaled(lsnn_net *net, int x, lsnn_options *o)
{
    return lsnn_scaled_tanh(net, x, o);
}
static int make_flatten(lsnn_net *net, int x, lsnn_options *o) { return lsnn_flatten(net, x, o); }
static int make_dropout(lsnn_net *net, int x, lsnn_options *o)
{
    return lsnn_dropout(net, x, 0.3, o);
}
static int make_conv(lsnn_net *net, int x, lsnn_options *o)
{
    return lsnn_conv2d(net, x, 4, 3, o);
}
static int make_conv_many(lsnn_net *net, int x, lsnn_options *o)
{
    return lsnn_conv2d(net, x, 70, 3, o);
}
static int make_conv_same(lsnn_net *net, int x, lsnn_options *o)
{
    o->padding = LSNN_SAME;
    o->stride_h = 2;
    o->kernel_w = 2;
    return lsnn_conv2d(net, x, 3, 3, o);
}
static int make_conv_groups(lsnn_net *net, int x, lsnn_options *o)
{
    o->groups = 2;
    o->dilation_h = 2;
    o->padding = LSNN_EXPLICIT;
    o->pad_top = 2;
    o->pad_left = 1;
    o->pad_right = 3;
    o->no_bias = 1;
    return lsnn_conv2d(net, x, 6, 3, o);
}
static int make_conv_cropped(lsnn_net *net, int x, lsnn_options *o)
{
    o->keep = 0;                         /* the pooling leaves out a row and a column     */
    x = lsnn_relu(net, lsnn_conv2d(net, x, 4, 2, o), NULL);
    return lsnn_max_pool(net, x, 2, NULL);
}
static int make_max(lsnn_net *net, int x, lsnn_options *o) { return lsnn_max_pool(net, x, 2, o); }
static int make_max_over(lsnn_net *net, int x, lsnn_options *o)
{
    o->stride_h = 2;
    o->stride_w = 1;
    o->padding = LSNN_SAME;
    return lsnn_max_pool(net, x, 3, o);
}
static int make_max_gaps(lsnn_net *net, int x, lsnn_options *o)
{
    o->stride_h = 3;
    o->kernel_w = 1;
    o->padding = LSNN_EXPLICIT;
    o->pad_top = 1;
    o->pad_left = 2;
    return lsnn_max_pool(net, x, 2, o);
}
static int make_avg(lsnn_net *net, int x, lsnn_options *o) { return lsnn_avg_pool(net, x, 0, o); }
static int make_avg_over(lsnn_net *net, int x, lsnn_options *o)
{
    o->stride_h = 2;
    o->padding = LSNN_SAME;
    return lsnn_avg_pool(net, x, 3, o);
}
static int make_sum(lsnn_net *net, int x, lsnn_options *o)
{
    o->stride_w = 1;
    return lsnn_sum_pool(net, x, 2, o);
}
static int make_softmax(lsnn_net *net, int x, lsnn_options *o) { return lsnn_softmax(net, x, o); }
static int make_scale(lsnn_net *net, int x, lsnn_options *o) { return lsnn_scale(net, x, o); }
static int make_norm(lsnn_net *net, int x, lsnn_options *o) { return lsnn_batch_norm(net, x, o); }
static int make_norm_frozen(lsnn_net *net, int x, lsnn_options *o)
{
    o->freeze = 1;
    return lsnn_batch_norm(net, x, o);
}
static int make_add(lsnn_net *net, int x, lsnn_options *o)
{
    return lsnn_add(net, x, lsnn_tanh(net, x, NULL), o);
}
static int make_concat(lsnn_net *net, int x, lsnn_options *o)
{
    int all[3];
    all[0] = lsnn_tanh(net, x, NULL);
    all[1] = x;
    all[2] = lsnn_tanh(net, lsnn_relu(net, x, NULL), NULL);
    return lsnn_batch_norm(net, lsnn_concat(net, all, 3, o), NULL);
}
static int make_slice(lsnn_net *net, int x, lsnn_options *o) { return lsnn_slice(net, x, 1, 2, o); }
static int make_smooth(lsnn_net *net, int x, lsnn_options *o)
{
    return lsnn_smooth(net, x, LSNN_FREE, o);
}
static int make_smooth_sum(lsnn_net *net, int x, lsnn_options *o)
{
    o->normalise = LSNN_NORMALISE_SUM;
    o->mixture = 3;
    o->rank = 2;
    return lsnn_smooth(net, x, LSNN_FREE, o);
}
static int make_smooth_table(lsnn_net *net, int x, lsnn_options *o)
{
    o->smooth_shape = LSNN_TABLE;
    o->smooth_bias = 1;
    return lsnn_smooth(net, x, LSNN_FREE, o);
}
static int make_smooth_window(lsnn_net *net, int x, lsnn_options *o)
{
    o->smooth_shape = LSNN_ATTENTION_CAUCHY;
    o->normalise = LSNN_NORMALISE_MEAN;
    o->no_bias = 1;
    return lsnn_smooth(net, x, LSNN_FREE, o);
}
static int make_smooth_tilted(lsnn_net *net, int x, lsnn_options *o)
{
    o->smooth_shape = LSNN_BIVARIATE_GAUSSIAN;
    return lsnn_smooth(net, x, LSNN_FREE, o);
}
/* theta from the images themselves, read by somebody else, too.                             */
static int content(lsnn_net *net, int x, lsnn_options *o, int numbers)
{
    lsnn_options narrow = named("theta");
    int theta, both[2];
    narrow.init_scale = 0.3;
    theta = lsnn_dense(net, x, lsnn_net_shape(net, x).c * numbers, &narrow);
    both[0] = lsnn_flatten(net, lsnn_smooth(net, x, theta, o), NULL);
    both[1] = theta;
    return lsnn_concat(net, both, 2, NULL);
}
static int make_content(lsnn_net *net, int x, lsnn_options *o)
{
    o->normalise = LSNN_NORMALISE_MEAN;
    return content(net, x, o, 5);
}
static int make_content_mixed(lsnn_net *net, int x, lsnn_options *o)
{
    o->smooth_bias = 1;
    o->mixture = 2;
    o->smooth_shape = LSNN_GAUSSIAN_SEPARABLE;
    return content(net, x, o, 10);
}
static int make_entropies(lsnn_net *net, int x, lsnn_options *o)
{
    lsnn_options more = named("rubbish");
    more.rubbish = 2;
    more.loss_weight = 0.3;
    x = lsnn_dense(net, x, 3, o);
    lsnn_cross_entropy(net, x, &more);
    return x;
}

static int make_local(lsnn_net *net, int x, lsnn_options *o)
{
    o->padding = LSNN_SAME;
    return lsnn_local2d(net, x, 3, 3, o);
}
static int make_local_groups(lsnn_net *net, int x, lsnn_options *o)
{
    o->groups = 2;
    o->stride_w = 2;
    o->bias = LSNN_BIAS_OF_KERNEL;
    return lsnn_local2d(net, x, 4, 2, o);
}

static int make_lp(lsnn_net *net, int x, lsnn_options *o)
{
    o->norm = 3;
    return lsnn_lp_pool(net, lsnn_relu(net, x, NULL), 2, o);  /* some windows are all 0    */
}
static int make_lp_learned(lsnn_net *net, int x, lsnn_options *o)
{
    o->learn_norm = LSNN_NORM_OF_LAYER;
    o->stride_w = 1;
    o->padding = LSNN_SAME;
    return lsnn_lp_pool(net, x, 3, o);
}
static int make_lp_maps(lsnn_net *net, int x, lsnn_options *o)
{
    o->learn_norm = LSNN_NORM_OF_MAP;
    o->norm = 1.5;
    o->stride_h = 3;
    return lsnn_lp_pool(net, x, 2, o);
}

static int make_rbf(lsnn_net *net, int x, lsnn_options *o) { return lsnn_rbf(net, x, 5, o); }
static int make_rbf_frozen(lsnn_net *net, int x, lsnn_options *o)
{
    o->freeze = 1;
    o->init_scale = 0.5;
    return lsnn_rbf(net, x, 4, o);
}

/* theta from the images themselves, so that each has a grid of its own, partly beside it.   */
static int transformed(lsnn_net *net, int x, int h, int w, lsnn_options *o)
{
    lsnn_options grid = named("grid"), theta = named("theta");
    grid.align_corners = o->align_corners;
    grid.keep = theta.keep = 1;
    return lsnn_grid_sample(net, x, lsnn_affine_grid(net, lsnn_dense(net, x, 6, &theta), h, w,
                                                     &grid), o);
}
static int make_sampled(lsnn_net *net, int x, lsnn_options *o)
{
    return transformed(net, x, 5, 7, o);
}
static int make_sampled_corners(lsnn_net *net, int x, lsnn_options *o)
{
    o->align_corners = 1;
    return transformed(net, x, 17, 18, o);
}

static const layer_case layers[] = {
    { "dense", make_dense, 2, 3, 4 },
    { "dense: 300 outputs without bias", make_dense_plain, 3, 5, 4 },
    { "rbf", make_rbf, 2, 3, 4 },
    { "rbf, its centres frozen", make_rbf_frozen, 3, 2, 5 },
    { "relu", make_relu, 3, 4, 5 },
    { "leaky_relu", make_leaky, 3, 4, 5 },
    { "sigmoid", make_sigmoid, 3, 4, 5 },
    { "tanh", make_tanh, 3, 4, 5 },
    { "scaled_tanh", make_scaled, 3, 4, 5 },
    { "flatten", make_flatten, 3, 4, 5 },
    { "dropout, the draws of the cpu", make_dropout, 3, 3, 5 },
    { "conv2d 3x3", make_conv, 2, 7, 9 },
    { "conv2d, more kernels than a tile has rows", make_conv_many, 9, 4, 5 },
    { "conv2d 3x2, same, stride 2 x 1", make_conv_same, 3, 8, 7 },
    { "conv2d in groups, dilated, padded", make_conv_groups, 4, 9, 6 },
    { "conv2d of which a pooling reads less", make_conv_cropped, 2, 6, 8 },
    { "max_pool", make_max, 3, 6, 7 },
    { "max_pool, windows over each other", make_max_over, 2, 7, 6 },
    { "max_pool, windows with gaps and padding", make_max_gaps, 2, 8, 5 },
    { "local2d, same", make_local, 2, 5, 4 },
    { "local2d in groups, strides, one bias a kernel", make_local_groups, 4, 5, 6 },
    { "avg_pool of whole maps", make_avg, 2, 5, 4 },
    { "avg_pool, windows over each other, padding", make_avg_over, 2, 7, 6 },
    { "sum_pool", make_sum, 2, 6, 5 },
    { "lp_pool, p = 3", make_lp, 2, 6, 5 },
    { "lp_pool, one p learned, windows over each other", make_lp_learned, 3, 7, 6 },
    { "lp_pool, a p learned a map, gaps", make_lp_maps, 3, 8, 5 },
    { "softmax over channels", make_softmax, 4, 3, 2 },
    { "scale", make_scale, 3, 4, 3 },
    { "batch_norm, its running statistics, too", make_norm, 3, 5, 4 },
    { "batch_norm, frozen", make_norm_frozen, 3, 4, 4 },
    { "add", make_add, 2, 3, 4 },
    { "concat, and a batch_norm that could read its parts", make_concat, 2, 3, 4 },
    { "slice", make_slice, 4, 3, 2 },
    { "smooth: Gaussians of its own", make_smooth, 3, 6, 5 },
    { "smooth: rank 2, mixtures of 3, by the sum", make_smooth_sum, 4, 5, 6 },
    { "smooth: tables, the bias inside", make_smooth_table, 2, 4, 5 },
    { "smooth: Cauchy windows by their mean", make_smooth_window, 2, 17, 18 },
    { "smooth: tilted windows", make_smooth_tilted, 2, 5, 6 },
    { "smooth: theta from a node, an image each", make_content, 2, 5, 6 },
    { "smooth: theta from a node, mixtures, the bias inside", make_content_mixed, 2, 6, 5 },
    { "affine_grid and grid_sample", make_sampled, 3, 6, 5 },
    { "the same by corners, more places and pixels than a block has threads",
      make_sampled_corners, 2, 18, 16 },
    { "cross_entropy, and one with a rubbish class", make_entropies, 2, 3, 3 },
};
