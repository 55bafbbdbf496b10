#include "manual.h"

/* Where is what (src/ of the repository; a line of the list is a chapter of the book)

       api.h, names.h                   everything that can be called
       core.h                           errors, memory, threads, random numbers
         both.h > bells.h                 bodies that a CPU and a GPU share > windows' shapes
         ranks.h > ranks_mpi.h            several processes > MPI's
         device.h, on_device.h, cuda.h > cuda/   nets on a GPU: what the two sides share, the
                                          host's, the kernels, a file a layer as in ops/
       window.h, layer.h, ops/          the layers, from simple to hard
       net.h > plan.h > run.h           a net's parts > planned > run
         options.h, nodes.h               a layer's options; how it enters a net
         summary.h, view.h, profile.h     what a net says of itself; arrays by name; times
       replace.h, graph.h               files replaced whole; a net as text
         files.h > file_read.h, _write.h  safetensors
       export.h, onnx.h                 a net as a C file; as an ONNX model (..._layers.h: a
                                          writer a layer; export_text.h: the C that it takes;
                                          onnx_smooth.h: smoothers; onnx_model.h: the file)
       optimizer.h, evaluate.h, train.h   a step; scores; lsnn_fit
       data.h, pictures.h               IDX, recipes; figures (png.h)
         sets.h, mat.h, load.h, pain.h    other people's data sets, from their files
         content.h, inflate.h, images.h   files in memory; unpacked; PNG and PPM, read
       fast.h                           what the ops ask of the machinery:
         gemm.h, sums.h                   products of matrices; sums over a batch
         rows.h, blocks.h                 windows on plain arrays; on blocks of images
         kernels.h > isa.h                inner loops > compiled once an instruction set
           kernels/                         products (tiles), taps (correlate, sites); then what
                                            the compiler unrolls: functions (exp, sums), elements
                                            (y += a x, updates), pixels (pooling, transposing)
                                                                              */
#include "api.h"
#include "core.h"

#if defined(LSNN_IMPLEMENTATION) && !defined(LSNNI_BODY)
#define LSNNI_BODY

/* Nothing is hot here but what calls the kernels: O1 is as fast and halves the time to
   compile. Five passes less take a tenth of it, and layers that were timed lose at most 4 %
   (Og, which is quicker still, makes plain loops a third slower). gcc 12 for 32-bit ARM loses
   the upper half of a constant at O1 where an if becomes a conditional move (the check sums of
   .npz and PNG files were wrong).                                            */
#ifdef LSNNI_CALM
#  pragma GCC push_options
#  ifdef __arm__
#    pragma GCC optimize("O1", "no-if-conversion")
#  else
#    pragma GCC optimize("O1")
#  endif
#  pragma GCC optimize("no-tree-dominator-opts", "no-tree-pta", "no-tree-bit-ccp")
#  pragma GCC optimize("no-tree-dse", "no-dse")
#endif

/* Cold: what builds, reads and writes nets, a few times in a program's life. O0 compiles it
   in half of O1's time. What walks through pixels or data sets is not cold.  */

/* A naive build leaves the fast paths where they are, and unused.            */
#if defined(LSNN_NAIVE) && defined(__GNUC__)
#  pragma GCC diagnostic push
#  pragma GCC diagnostic ignored "-Wunused-function"
#endif

#include "fast.h"
#include "window.h"
#include "layer.h"

#include "ops/input.h"
#include "ops/dense.h"
#include "ops/rbf.h"
#include "ops/activations.h"
#include "ops/softmax.h"
#include "ops/pool.h"
#include "ops/lp_pool.h"
#include "ops/dropout.h"
#include "ops/batch_norm.h"
#include "ops/scale.h"
#include "ops/join.h"
#include "ops/losses.h"
#include "ops/conv2d.h"
#include "ops/table_conv2d.h"
#include "ops/local2d.h"
#include "ops/attention.h"
#include "ops/smooth.h"
#include "ops/smooth_fast.h"
#include "ops/target_plan.h"
#include "ops/target2d.h"
#include "ops/target_fast.h"
#include "ops/target_dw.h"
#include "ops/blend.h"
#include "ops/transform.h"
#include "ops/dsc.h"
#include "ops/dsc_loss.h"

/* The library's layer types, input first, else in any order. A new one is a file above, a line
   here, and what the manual's chapter 13 lists.                         */
static const lsnn_layer_type *const lsnni_types[] = {
    &lsnni_input_type,
    &lsnni_dense_type,
    &lsnni_rbf_type,
    &lsnni_relu_type, &lsnni_leaky_relu_type, &lsnni_sigmoid_type, &lsnni_tanh_type,
    &lsnni_scaled_tanh_type,
    &lsnni_softmax_type,
    &lsnni_max_pool_type, &lsnni_avg_pool_type, &lsnni_sum_pool_type,
    &lsnni_lp_pool_type,
    &lsnni_dropout_type,
    &lsnni_batch_norm_type,
    &lsnni_scale_type,
    &lsnni_add_type, &lsnni_concat_type, &lsnni_slice_type, &lsnni_flatten_type,
    &lsnni_cross_entropy_type, &lsnni_mse_type,
    &lsnni_conv2d_type,
    &lsnni_table_conv2d_type,
    &lsnni_local2d_type,
    &lsnni_smooth_type,
    &lsnni_target2d_type,
    &lsnni_blend_type,
    &lsnni_affine_grid_type, &lsnni_grid_sample_type,
    &lsnni_dsc_dense_type, &lsnni_dsc_conv2d_type, &lsnni_dsc_local2d_type,
    &lsnni_dsc_loss_type, &lsnni_dsc_lateral_type
};

#ifdef LSNNI_CALM                    /* cold, see above                       */
#  pragma GCC push_options
#  pragma GCC optimize("O0")
#endif
#include "net.h"
#include "options.h"
#include "nodes.h"
#include "summary.h"
#include "on_device.h"
#ifdef LSNNI_CALM
#  pragma GCC pop_options
#endif
#include "plan.h"
#include "run.h"
#include "view.h"
#ifdef LSNNI_CALM                    /* cold, see above                       */
#  pragma GCC push_options
#  pragma GCC optimize("O0")
#endif
#include "profile.h"
#include "replace.h"
#include "files.h"
#include "file_read.h"
#include "file_write.h"
#include "graph.h"
#include "export.h"
#include "export_text.h"
#include "export_layers.h"
#include "onnx.h"
#include "onnx_layers.h"
#include "onnx_smooth.h"
#include "onnx_model.h"
#ifdef LSNNI_CALM
#  pragma GCC pop_options
#endif
#ifndef LSNN_NO_TRAIN
#include "optimizer.h"
#include "evaluate.h"
#include "train.h"
#endif /* LSNN_NO_TRAIN */
#include "content.h"
#include "inflate.h"
#include "images.h"
#include "npy.h"
#include "data.h"
#include "pictures.h"
#include "png.h"

#include "gemm.h"
#include "sums.h"
#include "rows.h"
#include "blocks.h"

#if defined(LSNN_NAIVE) && defined(__GNUC__)
#  pragma GCC diagnostic pop
#endif
#ifdef LSNNI_CALM
#  pragma GCC pop_options
#endif
#endif /* LSNNI_BODY */

#include "kernels.h"
#include "isa.h"
#include "cuda.h"
#include "licence.h"
