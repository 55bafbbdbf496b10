/* models.h - the networks of the source documents, one short builder each.

   A builder adds its layers to a net that has only its input, and returns the node
   of the class scores (-1 after a failure). The caller adds the loss and builds.     */
#ifndef MODELS_H
#define MODELS_H

#include "../lsnn.h"
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
   From the first layer's maps on, all four models are the same.                      */
static inline int model_lsnn_tail(lsnn_net *net, int x, int hidden, int classes)
{
    lsnn_options conv2 = model_weights("conv2"), dense1 = model_weights("dense1");
    lsnn_options dense2 = model_weights("dense2");
    x = lsnn_max_pool(net, lsnn_relu(net, x, NULL), 2, NULL);
    x = lsnn_conv2d(net, x, 32, 5, &conv2);
    x = lsnn_max_pool(net, lsnn_relu(net, x, NULL), 2, NULL);
    x = lsnn_relu(net, lsnn_dense(net, x, hidden, &dense1), NULL);
    x = lsnn_dropout(net, x, 0.5, NULL);
    return lsnn_dense(net, x, classes, &dense2);
}

static inline int model_cnn(lsnn_net *net, int x, int classes)
{
    lsnn_options conv1 = model_weights("conv1");
    return model_lsnn_tail(net, lsnn_conv2d(net, x, 16, 5, &conv1), 256, classes);
}

/* The first convolution is replaced by a locally connected layer.                    */
static inline int model_lc(lsnn_net *net, int x, int classes)
{
    lsnn_options local1 = model_weights("local1");
    return model_lsnn_tail(net, lsnn_local2d(net, x, 16, 5, &local1), 256, classes);
}

/* 16 smoothers for the 16 kernels of the first layer. Their parameters are free
   (LSNN-Location) or come from a parameter network (LSNN-Content): two convolutions
   and a dense layer, learning at a tenth of the rate (section 3.3). Its last layer
   begins near a broad window in the middle of the image: small weights, and a bias
   that is set to theta = (mu, mu, 1.5, 1.5, 0) by model_lsnn_start.
   U is divided by its mean and the bias stays outside of it: see RESULTS.md.         */
static inline int model_lsnn(lsnn_net *net, int image, int classes, int content)
{
    lsnn_options conv1 = model_weights("conv1"), smooth1 = model_options("smooth1");
    int x, theta = LSNN_FREE;
    conv1.no_bias = 1;
    smooth1.normalise = LSNN_NORMALISE_MEAN;
    x = lsnn_conv2d(net, image, 16, 5, &conv1);
    if (content) {
        lsnn_options p1 = model_weights("param1"), p2 = model_weights("param2");
        lsnn_options p3 = model_options("param3");
        p1.lr_factor = p2.lr_factor = p3.lr_factor = 0.1;
        p3.init_scale = 0.1;
        theta = lsnn_conv2d(net, image, 16, 5, &p1);
        theta = lsnn_max_pool(net, lsnn_relu(net, theta, NULL), 2, NULL);
        theta = lsnn_conv2d(net, theta, 32, 5, &p2);
        theta = lsnn_max_pool(net, lsnn_relu(net, theta, NULL), 2, NULL);
        theta = lsnn_dense(net, theta, 16 * 5, &p3);
    } else {
        smooth1.lr_factor = 0.1;
    }
    x = lsnn_smooth(net, x, theta, &smooth1);
    return model_lsnn_tail(net, x, 256, classes);
}

/* After lsnn_net_build: the parameter network's last bias, mu drawn by seed.         */
static inline lsnn_status model_lsnn_start(lsnn_net *net, uint64_t seed)
{
    static const double start[5] = { 0.2, 0.2, 1.5, 1.5, 0 };
    lsnn_rng r = lsnn_rng_at(seed, "start", "param3.bias", 0, 0);
    lsnn_real bias[16 * 5];
    if (lsnn_net_node(net, "param3") < 0) return LSNN_OK;
    for (int i = 0; i < 16 * 5; i++)
        bias[i] = (lsnn_real)(start[i % 5] + (i % 5 < 2 ? 0.6 * lsnn_rng_uniform(&r) : 0));
    return lsnn_net_set(net, "param3.bias", bias, 16 * 5);
}

/* ---- Targeted Kernel Networks, section 4.3 and Table 1: the baselines -----------------
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

static inline int model_cnn6(lsnn_net *net, int x, int classes)
{
    x = lsnn_relu(net, model_conv(net, x, 256, 5), NULL);
    x = lsnn_max_pool(net, x, 2, NULL);
    x = lsnn_relu(net, model_conv(net, x, 256, 5), NULL);
    x = lsnn_max_pool(net, x, 2, NULL);
    x = lsnn_relu(net, model_conv(net, x, 128, 5), NULL);
    x = lsnn_relu(net, lsnn_dense(net, x, 328, NULL), NULL);
    x = lsnn_relu(net, lsnn_dense(net, x, 192, NULL), NULL);
    return lsnn_dense(net, lsnn_dropout(net, x, 0.5, NULL), classes, NULL);
}

/* Batch normalisation, ReLU, convolution: what a DenseNet calls a convolution. After it
   dropout, if there is any.                                                            */
static inline int model_bn_conv(lsnn_net *net, int x, int filters, int kernel, double dropout)
{
    x = lsnn_relu(net, lsnn_batch_norm(net, x, NULL), NULL);
    x = model_conv(net, x, filters, kernel);
    return dropout > 0 ? lsnn_dropout(net, x, dropout, NULL) : x;
}

/* Three blocks of `depth` layers; each layer adds `growth` maps to those it has read.
   bottleneck > 0: a 1x1 convolution to so many maps comes before each 3x3. The two
   transitions between blocks keep the part theta of the maps and halve the sides.      */
static inline int model_densenet(lsnn_net *net, int x, int classes, int maps, int depth,
                                 int growth, int bottleneck, double theta, double dropout)
{
    x = model_conv(net, x, maps, 3);
    for (int block = 0; block < 3; block++) {
        if (block > 0) {
            maps = (int)(theta * maps);
            x = lsnn_avg_pool(net, model_bn_conv(net, x, maps, 1, dropout), 2, NULL);
        }
        for (int layer = 0; layer < depth; layer++, maps += growth) {
            int both[2] = { x, x };
            if (bottleneck) both[1] = model_bn_conv(net, x, bottleneck, 1, dropout);
            both[1] = model_bn_conv(net, both[1], growth, 3, dropout);
            x = lsnn_concat(net, both, 2, NULL);
        }
    }
    x = lsnn_relu(net, lsnn_batch_norm(net, x, NULL), NULL);
    return lsnn_dense(net, lsnn_avg_pool(net, x, 0, NULL), classes, NULL);
}

static inline int model_dn10(lsnn_net *net, int x, int classes)
{
    return model_densenet(net, x, classes, 24, 2, 12, 0, 1, 0);
}

/* DenseNet-BC; dropout follows every convolution but the first, as DenseNet's paper says. */
static inline int model_dn40(lsnn_net *net, int x, int classes)
{
    return model_densenet(net, x, classes, 72, 6, 36, 72, 0.5, 0.2);
}

/* By name: cnn, lc, lsnn-location, lsnn-content, cnn6, dn10, dn40. -2: no such model.  */
static inline int model_by_name(lsnn_net *net, const char *name, int image, int classes)
{
    if (strcmp(name, "cnn") == 0) return model_cnn(net, image, classes);
    if (strcmp(name, "lc") == 0) return model_lc(net, image, classes);
    if (strcmp(name, "lsnn-location") == 0) return model_lsnn(net, image, classes, 0);
    if (strcmp(name, "lsnn-content") == 0) return model_lsnn(net, image, classes, 1);
    if (strcmp(name, "cnn6") == 0) return model_cnn6(net, image, classes);
    if (strcmp(name, "dn10") == 0) return model_dn10(net, image, classes);
    if (strcmp(name, "dn40") == 0) return model_dn40(net, image, classes);
    return -2;
}
#endif
