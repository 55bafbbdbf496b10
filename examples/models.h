/* models.h - the networks of the source documents, one short builder each.

   A builder adds its layers to a net that has only its input, and returns the node
   of the class scores (-1 after a failure). The caller adds the loss and builds.     */
#ifndef MODELS_H
#define MODELS_H

#include "../lsnn.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static inline lsnn_options model_options(const char *name)
{
    lsnn_options o;
    memset(&o, 0, sizeof o);
    o.name = name;
    return o;
}

/* A layer with weights. They begin with a standard deviation of 0.41 sqrt(2 / fan_in), which
   is that of the uniform start that most frameworks use: on held-out images it did better
   than He's (RESULTS.md).                                                              */
static inline lsnn_options model_weights(const char *name)
{
    lsnn_options o = model_options(name);
    o.init_scale = 0.41;
    return o;
}

/* ---- Locally Smoothed Neural Networks, section 5 -----------------------------------
   16 kernels of 5x5, max pooling, 32 kernels of 5x5, max pooling, 256 hidden units,
   dropout 0.5. The paper gives no kernel size; 5x5 "valid" is our choice.
   From the first layer's maps on all four models are the same (several labels: cnn and lc
   have a last layer each, smoothed ones one that all groups share).                  */
enum { MODEL_MAPS = 16 };

/* What an experiment with them varies; model_defaults() gives the choices of RESULTS.md's
   fixed regime.                                                                      */
typedef struct model_choice {
    int heads;                       /* labels a picture                              */
    int kernel1, kernel2, same;      /* sides of the kernels: 5, 5; 1: padded: 0      */
    lsnn_normalise normalise;        /* of U: by its mean                             */
    int bias_inside;                 /* U (X V + b) in place of U (X V) + b: 0        */
    int rank, mixture;               /* kernels a map, Gaussians a smoother: 1, 1     */
    int separable;                   /* Phi without gamma: 0                          */
    lsnn_start start;                /* of lc: each place its own weights             */
    int banks;                       /* of lowrank; 0: 4                              */
    double mu_range, alpha;          /* mu begins in 0.5 +- this, alpha = beta at it  */
    double param_lr;                 /* learning rate of theta, times the rest's      */
} model_choice;                      /* negative: the model's own, see model_own      */

static inline model_choice model_defaults(void)
{
    model_choice c;
    memset(&c, 0, sizeof c);
    c.heads = c.rank = c.mixture = 1;
    c.kernel1 = c.kernel2 = 5;
    c.normalise = LSNN_NORMALISE_MEAN;
    c.mu_range = c.alpha = c.param_lr = -1;
    return c;
}

/* Free smoothers begin wide and all over the picture. Computed ones begin in its middle and
   narrow enough that the parameter network soon has to move them, at the full rate; but three
   groups' gradients at that rate put its units to 0 for good, and every picture gets the
   same smoothers (one in three seeds of cluttered, too: see RESULTS.md).             */
static inline model_choice model_own(const model_choice *choice, int content)
{
    model_choice c = choice ? *choice : model_defaults();
    if (c.mu_range < 0) c.mu_range = content ? 0.1 : 0.3;
    if (c.alpha < 0) c.alpha = content ? 3 : 1.5;
    if (c.param_lr < 0) c.param_lr = !content ? 0.1 : c.heads == 1 ? 1 : 0.3;
    return c;
}

/* The numbers of one smoother, and of one of its Gaussians.                          */
static inline int model_theta(const model_choice *c)
{
    lsnn_smoother s;
    memset(&s, 0, sizeof s);
    s.shape = c->separable ? LSNN_GAUSSIAN_SEPARABLE : LSNN_GAUSSIAN;
    s.mixture = c->mixture;
    return lsnn_smoother_theta(&s);
}

/* "conv2" for the first group of smoothers, "conv2_2" for the second, ...            */
static inline const char *model_group(char name[32], const char *type, int group)
{
    snprintf(name, 32, group > 1 ? "%s_%d" : "%s", type, group);
    return name;
}

/* A layer that all groups have with the parameters of the first group's.             */
static inline lsnn_options model_shared(char name[32], const char *type, int group)
{
    lsnn_options o = model_options(model_group(name, type, group));
    if (group == 1) return model_weights(name);
    o.share = type;
    return o;
}

/* The classification network up to its hidden units. For several labels a picture (section
   5.3) "the parameters are doubled": 512 hidden units.                               */
static inline int model_lsnn_hidden(lsnn_net *net, int x, const model_choice *c, int group)
{
    char name[32];
    lsnn_options conv2 = model_shared(name, "conv2", group), dense1;
    x = lsnn_max_pool(net, lsnn_relu(net, x, NULL), 2, NULL);
    if (c->same) conv2.padding = LSNN_SAME;
    x = lsnn_conv2d(net, x, 32, c->kernel2, &conv2);
    x = lsnn_max_pool(net, lsnn_relu(net, x, NULL), 2, NULL);
    dense1 = model_shared(name, "dense1", group);
    x = lsnn_relu(net, lsnn_dense(net, x, c->heads > 1 ? 512 : 256, &dense1), NULL);
    return lsnn_dropout(net, x, 0.5, NULL);
}

/* The baselines: conv1, local1, or lowrank1, which mixes banks of kernels at each place; and
   one last layer a label on the same hidden units.                                   */
typedef enum model_first { MODEL_CONV, MODEL_LOCAL, MODEL_LOWRANK } model_first;
static inline void model_baseline(lsnn_net *net, int image, int classes, model_first kind,
                                  const model_choice *c, int scores[])
{
    static const char *const name[] = { "conv1", "local1", "lowrank1" };
    lsnn_options first = model_weights(name[kind]);
    int x, banks = c->banks ? c->banks : 4;
    if (c->same) first.padding = LSNN_SAME;
    if (kind == MODEL_LOCAL) first.start = c->start;
    x = kind == MODEL_LOCAL ? lsnn_local2d(net, image, MODEL_MAPS, c->kernel1, &first)
      : kind == MODEL_CONV ? lsnn_conv2d(net, image, MODEL_MAPS, c->kernel1, &first)
                           : lsnn_lowrank2d(net, image, MODEL_MAPS, c->kernel1, banks, &first);
    x = model_lsnn_hidden(net, x, c, 1);
    for (int g = 1; g <= c->heads; g++) {
        char name[32];
        lsnn_options dense2 = model_weights(model_group(name, "dense2", g));
        scores[g - 1] = lsnn_dense(net, x, classes, &dense2);
    }
}

/* The parameter network: two convolutions and a dense layer. The paper lets it learn at a
   tenth of the rate (section 3.3); see model_own and RESULTS.md. Its last layer begins with
   small weights and a bias that is set by model_lsnn_start.                          */
static inline int model_parameters(lsnn_net *net, int image, const model_choice *c)
{
    lsnn_options p1 = model_weights("param1"), p2 = model_weights("param2");
    lsnn_options p3 = model_options("param3");
    int x, numbers = c->heads * MODEL_MAPS * c->rank * model_theta(c);
    p1.lr_factor = p2.lr_factor = p3.lr_factor = c->param_lr;
    p3.init_scale = 0.1;
    x = lsnn_conv2d(net, image, 16, 5, &p1);
    x = lsnn_max_pool(net, lsnn_relu(net, x, NULL), 2, NULL);
    x = lsnn_conv2d(net, x, 32, 5, &p2);
    x = lsnn_max_pool(net, lsnn_relu(net, x, NULL), 2, NULL);
    return lsnn_dense(net, x, numbers, &p3);
}

/* 16 smoothers for the 16 kernels of the first layer. Their parameters are free
   (LSNN-Location) or come from a parameter network (LSNN-Content). For several labels a
   picture there is a group of smoothers each, smooth1, smooth2, ..., on the same first
   convolution, and what follows is the same network for each group (section 5.3).
   U is divided by its mean and the bias stays outside of it: see RESULTS.md.         */
static inline void model_lsnn(lsnn_net *net, int image, int classes, int content,
                              const model_choice *c, int scores[])
{
    lsnn_options conv1 = model_weights("conv1"), smooth = model_options(NULL), dense2;
    int maps, all = LSNN_FREE, numbers = MODEL_MAPS * c->rank * model_theta(c);
    conv1.no_bias = 1;
    smooth.normalise = c->normalise;
    smooth.smooth_bias = c->bias_inside;
    smooth.smooth_shape = c->separable ? LSNN_GAUSSIAN_SEPARABLE : LSNN_GAUSSIAN;
    smooth.rank = c->rank;
    smooth.mixture = c->mixture;
    if (c->same) conv1.padding = LSNN_SAME;
    maps = lsnn_conv2d(net, image, MODEL_MAPS * c->rank, c->kernel1, &conv1);
    if (content) all = model_parameters(net, image, c);
    else smooth.lr_factor = c->param_lr;
    for (int g = 1; g <= c->heads; g++) {
        char name[32];
        int x, theta = all;
        if (content && c->heads > 1)
            theta = lsnn_slice(net, all, (g - 1) * numbers, numbers, NULL);
        snprintf(name, sizeof name, "smooth%d", g);
        smooth.name = name;
        x = model_lsnn_hidden(net, lsnn_smooth(net, maps, theta, &smooth), c, g);
        dense2 = model_shared(name, "dense2", g);
        scores[g - 1] = lsnn_dense(net, x, classes, &dense2);
    }
}

/* After lsnn_net_build: where theta begins, mu drawn by seed. It is the last bias of the
   parameter network; free smoothers begin by themselves, and are moved if the choice is
   another. choice NULL: the defaults.                                                */
static inline lsnn_status model_lsnn_start(lsnn_net *net, uint64_t seed,
                                           const model_choice *choice)
{
    int content = lsnn_net_node(net, "param3") >= 0, groups, count, stride;
    model_choice own = model_own(choice, content), *c = &own;
    lsnn_rng r = lsnn_rng_at(seed, "start", "param3.bias", 0, 0);
    lsnn_status s = LSNN_OK;
    lsnn_real *v;
    if (lsnn_net_node(net, "smooth1") < 0 ||             /* or as the library begins    */
        (!content && fabs(c->mu_range - 0.3) + fabs(c->alpha - 1.5) < 1e-9))
        return LSNN_OK;
    groups = content ? 1 : c->heads;
    count = MODEL_MAPS * c->rank * model_theta(c) * (content ? c->heads : 1);
    stride = model_theta(c) / c->mixture;
    v = (lsnn_real *)calloc((size_t)count, sizeof *v);
    if (!v) return LSNN_ENOMEM;
    for (int g = 1; g <= groups && s == LSNN_OK; g++) {
        char name[32] = "param3.bias";
        if (!content) snprintf(name, sizeof name, "smooth%d.theta", g);
        for (int i = 0; i < count; i++)
            v[i] = (lsnn_real)(i % stride < 2 ? 0.5 - c->mu_range + 2 * c->mu_range *
                               lsnn_rng_uniform(&r) : i % stride < 4 ? c->alpha : 0);
        s = lsnn_net_set(net, name, v, (size_t)count);
    }
    free(v);
    return s;
}

/* ---- DeepFace (Taigman, Yang, Ranzato, Wolf 2014): three convolutional and pooling layers,
   then three whose weights are unshared, "local1" to "local3" (its L4, L5, L6). Whole, on
   3x152x152: L5 has stride 2 and so 25 x 25 places. Small: the same for pictures of 28 to 48
   pixels a side, with kernels of 5 and 3 and 256 hidden units.                        */
static inline int model_deepface(lsnn_net *net, int x, int classes, int whole)
{
    static const int sides[2][5] = { { 5, 3, 3, 3, 3 }, { 11, 9, 9, 7, 5 } };
    const int *kernel = sides[whole];
    lsnn_options c1 = model_weights("conv1"), c3 = model_weights("conv2"), pool, local;
    lsnn_options dense = model_weights("dense1");
    if (!whole) c1.padding = LSNN_SAME;
    pool = model_options("pool1");
    pool.stride_h = 2;
    pool.padding = LSNN_SAME;
    x = lsnn_relu(net, lsnn_conv2d(net, x, 32, kernel[0], &c1), NULL);
    x = lsnn_max_pool(net, x, 3, &pool);
    x = lsnn_relu(net, lsnn_conv2d(net, x, 16, kernel[1], &c3), NULL);
    for (int i = 1; i <= 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "local%d", i);
        local = model_weights(name);
        local.stride_h = i == 2 ? 2 : 1;
        x = lsnn_relu(net, lsnn_local2d(net, x, 16, kernel[1 + i], &local), NULL);
    }
    x = lsnn_relu(net, lsnn_dense(net, x, whole ? 4096 : 256, &dense), NULL);
    dense = model_weights("dense2");
    return lsnn_dense(net, lsnn_dropout(net, x, 0.5, NULL), classes, &dense);
}

/* ---- Targeted Kernel Networks, section 4.3 and Table 1 ---------------------------------
   A targeted twin has target layers in place of a baseline's convolutions: all three of CNN6
   (TKN6) and of the STN's main network (TSTN), the 3x3 ones of the dense blocks (TDN10,
   TDN40). The windows' penalty is l2 in the first block, l2 beta and l2 beta^2 in the next.
   CNN6: three 5x5 convolutions and three dense layers. The paper's 4.59 M parameters and
   368 M multiply-adds leave its convolutions no bias, its dense layers have one.
   The DenseNets' convolutions have none either: what follows them normalises.          */
static inline int model_conv(lsnn_net *net, int x, int filters, int kernel)
{
    lsnn_options o = model_options(NULL);
    o.padding = LSNN_SAME;
    o.no_bias = 1;
    return lsnn_conv2d(net, x, filters, kernel, &o);
}

/* The windows of a targeted network.                                                   */
typedef struct model_windows {
    lsnn_smooth_shape shape;         /* LSNN_ATTENTION_CAUCHY, ...                    */
    double l2, beta;                 /* penalty on s, what a block multiplies it by   */
    lsnn_clip clip;
    int adaptive;                    /* 1: computed from the image                    */
    int glance, layers;              /*   from this node; for so many layers by now   */
} model_windows;

/* The paper's best on MNIST, clipped as its author's program does.                     */
static inline model_windows model_windows_default(void)
{
    model_windows w;
    memset(&w, 0, sizeof w);
    w.shape = LSNN_ATTENTION_CAUCHY;
    w.clip = LSNN_CLIP_CODE;
    w.l2 = 1e-4;
    w.beta = 4;
    return w;
}

/* --adaptive, the paper's future work: a glance at the image, 32 numbers, from which each
   target layer's windows are computed. They begin where free ones do (model_windows_start):
   the weights are small, the bias says mu = 0.5, s = 1.                                */
static inline int model_glance(lsnn_net *net, int image)
{
    int x = lsnn_relu(net, lsnn_conv2d(net, image, 8, 5, NULL), NULL);
    x = lsnn_max_pool(net, x, 2, NULL);
    x = lsnn_max_pool(net, lsnn_relu(net, lsnn_conv2d(net, x, 16, 5, NULL), NULL), 2, NULL);
    return lsnn_relu(net, lsnn_dense(net, x, 32, NULL), NULL);
}

static inline int model_window_numbers(lsnn_smooth_shape shape)
{
    lsnn_smoother s;
    memset(&s, 0, sizeof s);
    s.shape = shape;
    return lsnn_smoother_theta(&s);
}

static inline lsnn_status model_windows_start(lsnn_net *net, lsnn_smooth_shape shape)
{
    lsnn_status s = LSNN_OK;
    int numbers = model_window_numbers(shape);
    const char *name;
    size_t count;
    for (int p = 0; s == LSNN_OK && (name = lsnn_net_param_name(net, 0, p, &count)); p++) {
        lsnn_real *v;
        if (strncmp(name, "windows", 7) != 0 || !strstr(name, ".bias")) continue;
        v = (lsnn_real *)malloc(count * sizeof *v);
        if (!v) return LSNN_ENOMEM;
        for (size_t i = 0; i < count; i++)               /* mu_x, s_x, mu_y, s_y, r      */
            v[i] = (lsnn_real)(i % (size_t)numbers == 4 ? 0 : i % (size_t)numbers % 2 ? 1 : 0.5);
        s = lsnn_net_set(net, name, v, count);
        free(v);
    }
    return s;
}

/* A convolution of block 0, 1, 2, or, with windows w, the target layer in its place; windows
   that lie askew or are computed go behind a whole convolution, which is the same but for
   the time it takes.                                                                   */
static inline int model_target(lsnn_net *net, int x, int filters, int kernel, int block,
                               model_windows *w)
{
    lsnn_options o = model_options(NULL);
    int theta = LSNN_FREE, numbers = w ? model_window_numbers(w->shape) : 0;
    if (!w) return model_conv(net, x, filters, kernel);
    o.no_bias = 1;
    o.smooth_shape = w->shape;
    if (w->adaptive) {
        lsnn_options d = model_options(NULL);
        char name[32];
        snprintf(name, sizeof name, "windows%d", ++w->layers);
        d.name = name;
        d.init_scale = 0.1;
        theta = lsnn_dense(net, w->glance, filters * numbers, &d);
    } else {
        o.l2 = w->l2 * pow(w->beta, block);
        o.clip = w->clip;
    }
    if (w->adaptive || numbers == 5) {
        if (o.clip == LSNN_CLIP_PAPER) o.kernel_h = kernel;
        return lsnn_smooth(net, model_conv(net, x, filters, kernel), theta, &o);
    }
    o.padding = LSNN_SAME;
    return lsnn_target2d(net, x, filters, kernel, &o);
}

static inline int model_cnn6(lsnn_net *net, int x, int classes, model_windows *w)
{
    x = lsnn_relu(net, model_target(net, x, 256, 5, 0, w), NULL);
    x = lsnn_max_pool(net, x, 2, NULL);
    x = lsnn_relu(net, model_target(net, x, 256, 5, 1, w), NULL);
    x = lsnn_max_pool(net, x, 2, NULL);
    x = lsnn_relu(net, model_target(net, x, 128, 5, 2, w), NULL);
    x = lsnn_relu(net, lsnn_dense(net, x, 328, NULL), NULL);
    x = lsnn_relu(net, lsnn_dense(net, x, 192, NULL), NULL);
    return lsnn_dense(net, lsnn_dropout(net, x, 0.5, NULL), classes, NULL);
}

/* Batch normalisation, ReLU, convolution: what a DenseNet calls a convolution. After it
   dropout, if there is any.                                                            */
static inline int model_bn_conv(lsnn_net *net, int x, int filters, int kernel, double dropout,
                                int block, model_windows *w)
{
    x = lsnn_relu(net, lsnn_batch_norm(net, x, NULL), NULL);
    x = model_target(net, x, filters, kernel, block, w);
    return dropout > 0 ? lsnn_dropout(net, x, dropout, NULL) : x;
}

/* Three blocks of `depth` layers; each layer adds `growth` maps to those it has read.
   bottleneck > 0: a 1x1 convolution to so many maps comes before each 3x3. The two
   transitions between blocks keep the part theta of the maps and halve the sides.      */
static inline int model_densenet(lsnn_net *net, int x, int classes, int maps, int depth,
                                 int growth, int bottleneck, double theta, double dropout,
                                 model_windows *w)
{
    x = model_conv(net, x, maps, 3);
    for (int block = 0; block < 3; block++) {
        if (block > 0) {
            maps = (int)(theta * maps);
            x = lsnn_avg_pool(net, model_bn_conv(net, x, maps, 1, dropout, 0, NULL), 2, NULL);
        }
        for (int layer = 0; layer < depth; layer++, maps += growth) {
            int both[2] = { x, x };
            if (bottleneck) both[1] = model_bn_conv(net, x, bottleneck, 1, dropout, 0, NULL);
            both[1] = model_bn_conv(net, both[1], growth, 3, dropout, block, w);
            x = lsnn_concat(net, both, 2, NULL);
        }
    }
    x = lsnn_relu(net, lsnn_batch_norm(net, x, NULL), NULL);
    return lsnn_dense(net, lsnn_avg_pool(net, x, 0, NULL), classes, NULL);
}

static inline int model_dn10(lsnn_net *net, int x, int classes, model_windows *w)
{
    return model_densenet(net, x, classes, 24, 2, 12, 0, 1, 0, w);
}

/* DenseNet-BC; dropout follows every convolution but the first, as DenseNet's paper says. */
static inline int model_dn40(lsnn_net *net, int x, int classes, model_windows *w)
{
    return model_densenet(net, x, classes, 72, 6, 36, 72, 0.5, 0.2, w);
}

/* STN: a localization network reads the picture and says which affine part of it the main
   network sees. The convolutions of both have no bias, every layer but the last of each is
   batch normalised. The paper's 145 M multiply-adds leave the localization network only 1.5 M,
   and its 1.18 M parameters one number a map behind its convolutions: so it is read here as the
   main network made smaller in every way: it sees the picture at half the size, and pools the
   last maps as a whole. On 3x32x32 that is 145.3 M, 1,173,185 parameters and, with the running
   statistics that Keras counts too, 1,175,009.                                         */
static inline int model_bn_relu(lsnn_net *net, int x)
{
    return lsnn_relu(net, lsnn_batch_norm(net, x, NULL), NULL);
}

/* Where it begins is up to model_stn_start.                                            */
static inline int model_locnet(lsnn_net *net, int x)
{
    lsnn_options theta = model_options("theta");
    theta.init = LSNN_INIT_ZERO;
    theta.keep = 1;
    x = lsnn_avg_pool(net, x, 2, NULL);
    x = lsnn_max_pool(net, model_bn_relu(net, model_conv(net, x, 16, 7)), 2, NULL);
    x = lsnn_max_pool(net, model_bn_relu(net, model_conv(net, x, 32, 5)), 2, NULL);
    x = lsnn_max_pool(net, model_bn_relu(net, model_conv(net, x, 64, 3)), 0, NULL);
    x = model_bn_relu(net, lsnn_dense(net, x, 128, NULL));
    x = model_bn_relu(net, lsnn_dense(net, x, 64, NULL));
    return lsnn_dense(net, x, 6, &theta);
}

static inline int model_stn(lsnn_net *net, int x, int classes, model_windows *w)
{
    lsnn_shape s = lsnn_net_shape(net, x);
    lsnn_options seen = model_options("seen");
    seen.keep = 1;                   /* for straight.h, as theta                      */
    x = lsnn_grid_sample(net, x, lsnn_affine_grid(net, model_locnet(net, x), s.h, s.w, NULL),
                         &seen);
    x = lsnn_max_pool(net, model_bn_relu(net, model_target(net, x, 128, 7, 0, w)), 2, NULL);
    x = lsnn_max_pool(net, model_bn_relu(net, model_target(net, x, 128, 5, 1, w)), 2, NULL);
    x = lsnn_max_pool(net, model_bn_relu(net, model_target(net, x, 256, 3, 2, w)), 2, NULL);
    x = model_bn_relu(net, lsnn_dense(net, x, 96, NULL));
    return lsnn_dense(net, lsnn_dropout(net, x, 0.6, NULL), classes, NULL);
}

/* After lsnn_net_build: the main network sees the picture as it is.                     */
static inline lsnn_status model_stn_start(lsnn_net *net)
{
    const lsnn_real identity[6] = { 1, 0, 0, 0, 1, 0 };
    return lsnn_net_set(net, "theta.bias", identity, 6);
}

/* ---- The lecture (Renals 2015): a plain network, the ConvNet, and LeNet-5 -------------------
   784-800-10: 628,000 weights into the hidden units, 8,010 out of them.                */
static inline int model_mlp(lsnn_net *net, int x, int classes)
{
    lsnn_options o = model_options("hidden");
    o.init = LSNN_INIT_GLOROT;
    x = lsnn_sigmoid(net, lsnn_dense(net, x, 800, &o), NULL);
    o = model_options("output");
    return lsnn_dense(net, x, classes, &o);
}

/* The pooling of the lecture: max, average, sum, or an L_p norm, whose p is fixed or learned. */
typedef struct model_pooling {
    const char *kind;                /* "max", "average", "sum", "lp"; NULL: max      */
    int kernel, stride;              /* 0: 2, and the kernel: a smaller one overlaps  */
    double norm;                     /* p, where it begins; 0: 2                      */
    lsnn_learn_norm learn;
} model_pooling;

static inline int model_pool(lsnn_net *net, int x, const model_pooling *p)
{
    lsnn_options o = model_options("pool1");
    const char *kind = p && p->kind ? p->kind : "max";
    int kernel = p && p->kernel ? p->kernel : 2;
    if (p) o.stride_h = p->stride;
    if (strcmp(kind, "average") == 0) return lsnn_avg_pool(net, x, kernel, &o);
    if (strcmp(kind, "sum") == 0) return lsnn_sum_pool(net, x, kernel, &o);
    if (strcmp(kind, "max") == 0) return lsnn_max_pool(net, x, kernel, &o);
    o.norm = p->norm;
    o.learn_norm = p->learn;
    return lsnn_lp_pool(net, x, kernel, &o);
}

/* Feature maps h = sigmoid(w * x + b) of 5x5, pooling, 100 hidden units: with 20 maps on 28x28
   20 x (25 + 1) + 2880 x 100 + 100 + 100 x 10 + 10 = 289,630 weights.                  */
static inline int model_convnet(lsnn_net *net, int x, int classes, int count,
                                const model_pooling *pool)
{
    lsnn_options maps = model_options("maps"), hidden = model_options("hidden");
    lsnn_options output = model_options("output");
    maps.init = hidden.init = LSNN_INIT_GLOROT;
    x = lsnn_sigmoid(net, lsnn_conv2d(net, x, count, 5, &maps), NULL);
    x = model_pool(net, x, pool);
    x = lsnn_sigmoid(net, lsnn_dense(net, x, 100, &hidden), NULL);
    return lsnn_dense(net, x, classes, &output);
}

/* LeNet-5 (LeCun, Bottou, Bengio, Haffner 1998, Figure 2), on 32x32: 60,000 parameters and
   340,908 connections. Which maps of S2 each map of C3 reads is its Table I.           */
#define MODEL_LENET5_C3 "0-2;1-3;2-4;3-5;0,4,5;0,1,5;0-3;1-4;2-5;0,3-5;0,1,4,5;0-2,5;" \
                        "0,1,3,4;1,2,4,5;0,2,3,5;0-5"

/* A subsampling map: the sum of 2 x 2 units, times a coefficient, plus a bias, squashed. */
static inline int model_subsample(lsnn_net *net, int x, const char *name)
{
    lsnn_options o = model_options(name);
    x = lsnn_scale(net, lsnn_sum_pool(net, x, 2, NULL), &o);
    return lsnn_scaled_tanh(net, x, NULL);
}

static inline int model_lenet5(lsnn_net *net, int x, int classes)
{
    lsnn_options c1 = model_options("c1"), c3 = model_options("c3"), c5 = model_options("c5");
    lsnn_options f6 = model_options("f6"), output = model_options("output");
    x = lsnn_scaled_tanh(net, lsnn_conv2d(net, x, 6, 5, &c1), NULL);
    x = model_subsample(net, x, "s2");
    x = lsnn_scaled_tanh(net, lsnn_table_conv2d(net, x, MODEL_LENET5_C3, 5, &c3), NULL);
    x = model_subsample(net, x, "s4");
    x = lsnn_scaled_tanh(net, lsnn_conv2d(net, x, 120, 5, &c5), NULL);
    x = lsnn_scaled_tanh(net, lsnn_dense(net, x, 84, &f6), NULL);
    output.freeze = 1;
    return lsnn_rbf(net, x, classes, &output);
}

/* The centres of its output units: pictures of the digits, 7 x 12, ink 1 and paper -1. The
   paper shows its own, of all printable characters; these ten are drawn anew.          */
static inline const char *model_bitmap(int digit)
{
    static const char *const bitmap[10] = {
        "  ###  " " ## ## " "##   ##" "##   ##" "##   ##" "##   ##" "##   ##" "##   ##"
        "##   ##" " ## ## " "  ###  " "       ",
        "   ##  " "  ###  " " ####  " "   ##  " "   ##  " "   ##  " "   ##  " "   ##  "
        "   ##  " "   ##  " " ######" "       ",
        " ##### " "##   ##" "     ##" "     ##" "    ## " "   ##  " "  ##   " " ##    "
        "##     " "##     " "#######" "       ",
        " ##### " "##   ##" "     ##" "     ##" "     ##" "  #### " "     ##" "     ##"
        "     ##" "##   ##" " ##### " "       ",
        "    ## " "   ### " "  #### " " ## ## " "##  ## " "##  ## " "#######" "    ## "
        "    ## " "    ## " "    ## " "       ",
        "#######" "##     " "##     " "##     " "###### " "##   ##" "     ##" "     ##"
        "     ##" "##   ##" " ##### " "       ",
        "  #### " " ##    " "##     " "##     " "###### " "##   ##" "##   ##" "##   ##"
        "##   ##" "##   ##" " ##### " "       ",
        "#######" "     ##" "     ##" "    ## " "    ## " "   ##  " "   ##  " "  ##   "
        "  ##   " " ##    " " ##    " "       ",
        " ##### " "##   ##" "##   ##" "##   ##" " ## ## " "  ###  " " ## ## " "##   ##"
        "##   ##" "##   ##" " ##### " "       ",
        " ##### " "##   ##" "##   ##" "##   ##" "##   ##" " ######" "     ##" "     ##"
        "     ##" "    ## " " ####  " "       "
    };
    return bitmap[digit % 10];
}

/* Inputs of the unit that number i of a parameter belongs to. C3's first 6 kernels read 3
   maps each, the next 9 read 4, the last one 6.                                        */
static inline double model_lenet5_fan(const char *name, size_t i)
{
    static const struct { const char *name; size_t first, next; double fan[3]; } part[] = {
        { "c1.", 0, 0, { 0, 0, 25 } }, { "s2.", 0, 0, { 0, 0, 4 } },
        { "c3.weight", 6 * 75, 6 * 75 + 9 * 100, { 75, 100, 150 } },
        { "c3.bias", 6, 6 + 9, { 75, 100, 150 } }, { "s4.", 0, 0, { 0, 0, 4 } },
        { "c5.", 0, 0, { 0, 0, 400 } }, { "f6.", 0, 0, { 0, 0, 120 } }
    };
    size_t k = 0;
    while (strncmp(name, part[k].name, strlen(part[k].name)) != 0) k++;
    return part[k].fan[i < part[k].first ? 0 : i < part[k].next ? 1 : 2];
}

/* After lsnn_net_build: weights and biases begin between -2.4 / F and 2.4 / F for a unit of F
   inputs (section II.B of the paper), the output's centres are the bitmaps.            */
static inline lsnn_status model_lenet5_start(lsnn_net *net, uint64_t seed)
{
    lsnn_real centre[10 * 84];
    lsnn_status s = LSNN_OK;
    const char *name;
    size_t count;
    for (int k = 0; (name = lsnn_net_param_name(net, 0, k, &count)) != NULL; k++) {
        lsnn_rng r = lsnn_rng_at(seed, "start", name, 0, 0);
        lsnn_real *v = (lsnn_real *)malloc(count * sizeof *v);
        if (!v) return LSNN_ENOMEM;
        for (size_t i = 0; i < count; i++)
            v[i] = (lsnn_real)(2.4 / model_lenet5_fan(name, i) * (2 * lsnn_rng_uniform(&r) - 1));
        s = lsnn_net_set(net, name, v, count);
        free(v);
        if (s != LSNN_OK) return s;
    }
    for (int i = 0; i < 10 * 84; i++) centre[i] = model_bitmap(i / 84)[i % 84] == '#' ? 1 : -1;
    return lsnn_net_set(net, "output.centre", centre, 10 * 84);
}

/* Its modern twin: the same sizes with relu, max pooling, all connections and softmax. */
static inline int model_lenet5_modern(lsnn_net *net, int x, int classes)
{
    x = lsnn_max_pool(net, lsnn_relu(net, lsnn_conv2d(net, x, 6, 5, NULL), NULL), 2, NULL);
    x = lsnn_max_pool(net, lsnn_relu(net, lsnn_conv2d(net, x, 16, 5, NULL), NULL), 2, NULL);
    x = lsnn_relu(net, lsnn_conv2d(net, x, 120, 5, NULL), NULL);
    x = lsnn_relu(net, lsnn_dense(net, x, 84, NULL), NULL);
    return lsnn_dense(net, x, classes, NULL);
}

/* By name: cnn, lc, lowrank, lsnn-location, lsnn-content: scores gets the nodes of c->heads labels'
   scores (choice NULL: the defaults). Returns the first, -1 after a failure, -2 if there is no
   such model.                                                                        */
static inline int model_of_lsnn(lsnn_net *net, const char *name, int image, int classes,
                                const model_choice *choice, int scores[])
{
    int content = strcmp(name, "lsnn-content") == 0;
    model_choice c = model_own(choice, content);
    if (strcmp(name, "cnn") == 0) model_baseline(net, image, classes, MODEL_CONV, &c, scores);
    else if (strcmp(name, "lc") == 0)
        model_baseline(net, image, classes, MODEL_LOCAL, &c, scores);
    else if (strcmp(name, "lowrank") == 0)
        model_baseline(net, image, classes, MODEL_LOWRANK, &c, scores);
    else if (content || strcmp(name, "lsnn-location") == 0)
        model_lsnn(net, image, classes, content, &c, scores);
    else return -2;
    return scores[0];
}

/* The networks of TKN by name: cnn6, dn10, dn40, stn and targeted, with these windows (NULL:
   the default ones), tkn6, tdn10, tdn40, tstn. -2: no such model.                     */
static inline int model_of_tkn(lsnn_net *net, const char *name, int image, int classes,
                               const model_windows *windows)
{
    model_windows own = windows ? *windows : model_windows_default(), *w = &own;
    int targeted = strcmp(name, "tkn6") == 0 || strcmp(name, "tdn10") == 0 ||
                   strcmp(name, "tdn40") == 0 || strcmp(name, "tstn") == 0;
    if (!targeted) w = NULL;
    if (w && w->adaptive) w->glance = model_glance(net, image);
    if (strcmp(name, "cnn6") == 0 || strcmp(name, "tkn6") == 0)
        return model_cnn6(net, image, classes, w);
    if (strcmp(name + targeted, "dn10") == 0) return model_dn10(net, image, classes, w);
    if (strcmp(name + targeted, "dn40") == 0) return model_dn40(net, image, classes, w);
    if (strcmp(name + targeted, "stn") == 0) return model_stn(net, image, classes, w);
    return -2;
}

/* After lsnn_net_build: windows that are computed begin where free ones do, a transformer
   leaves the picture as it is.                                                        */
static inline lsnn_status model_tkn_start(lsnn_net *net, const model_windows *w)
{
    lsnn_status s = w && w->adaptive ?
        model_windows_start(net, w->shape) : LSNN_OK;
    if (s == LSNN_OK && lsnn_net_node(net, "seen") >= 0) s = model_stn_start(net);
    return s;
}

/* By name, with one label: those above, deepface (small), mlp, convnet, lenet5,
   lenet5-modern. -2: no such model.                                                   */
static inline int model_by_name(lsnn_net *net, const char *name, int image, int classes)
{
    int scores[LSNN_MAX_HEADS];
    int node = model_of_tkn(net, name, image, classes, NULL);
    if (node != -2) return node;
    if (strcmp(name, "deepface") == 0) return model_deepface(net, image, classes, 0);
    if (strcmp(name, "mlp") == 0) return model_mlp(net, image, classes);
    if (strcmp(name, "convnet") == 0) return model_convnet(net, image, classes, 20, NULL);
    if (strcmp(name, "lenet5") == 0) return model_lenet5(net, image, classes);
    if (strcmp(name, "lenet5-modern") == 0) return model_lenet5_modern(net, image, classes);
    return model_of_lsnn(net, name, image, classes, NULL, scores);
}
#endif
