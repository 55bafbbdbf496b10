/* lsnn.h - v0.1.0 - neural networks you can read: tensors, layers with hand-written forward
   and backward passes, training, files, data and pictures in one C file.
   Public domain or MIT, as you like: see the end.

   In ONE source file:              In all others:
       #define LSNN_IMPLEMENTATION      #include "lsnn.h"
       #include "lsnn.h"

   /// quick.c
   #define LSNN_IMPLEMENTATION
   #include "lsnn.h"
   int main(void)
   {
       static lsnn_ctx cx;                             // all zero is ready for use
       static lsnn_recipe digits;                      // 28x28 digits, drawn by the library
       static lsnn_fit_desc fit;
       lsnn_data train;
       lsnn_net *net = lsnn_net_new(&cx);
       int x = lsnn_input(net, 1, 28, 28);
       x = lsnn_relu(net, lsnn_conv2d(net, x, 8, 5, NULL), NULL);    // 8 kernels of 5x5
       x = lsnn_dense(net, lsnn_max_pool(net, x, 4, NULL), 10, NULL);
       lsnn_cross_entropy(net, x, NULL);               // the loss
       lsnn_net_build(net, NULL);
       digits.count = 2000;
       lsnn_data_recipe(&cx, &train, &digits);
       fit.epochs = 2;
       fit.optimizer.lr = 0.02;
       fit.optimizer.momentum = 0.9;
       lsnn_fit(net, &train, &fit);
       lsnn_net_save(net, "digits.safetensors");       // lsnn_net_load(file) runs it again
       lsnn_net_free(net);
       lsnn_data_free(&train);
       lsnn_ctx_free(&cx);
       return cx.status == LSNN_OK ? 0 : 1;            // the first failure; its message is
   }                                                   //   in cx.message and on stderr
   ///
   Compile it by  cc -O2 quick.c -lm   (before glibc 2.34, and on the BSDs: -pthread as well,
   or it has one thread).

   lsnn does NOT: differentiate for you, download anything, keep globals, read the
   environment, or ever call exit().

   CONTENTS (search for the tag, as in ">>api")
       >>manual          this text: options, contract, memory, threads, exactness, a layer
                         of your own, files, >>promised: what you can rely on
       >>api             everything you can call; each further hit is its next part
       >>implementation  errors, memory, threads, >>ranks (and >>mpi), random numbers
       >>fast            what the machinery for speed (below) offers the ops
       >>window          how kernels slide
       >>layer           what the layers share; then one layer after the other, each with its
                         formula, naive pair, fast pair, and how the net sees it:
                         >>input >>dense >>rbf >>activations >>softmax >>pooling >>lp_pool
                         >>dropout >>batch_norm >>scale >>copies >>losses >>conv2d
                         >>table_conv2d >>local2d >>attention >>smooth >>target2d >>blend
                         >>transform >>dsc >>dsc_loss
       >>net             a graph of layers: >>options, >>building, >>summary
       >>plan            what the net finds out about itself; its schedule of calls
       >>running         walking that schedule; >>names: arrays by name; >>profile: what
                         each layer costs
       >>files           safetensors, and replacing a file safely
       >>models          nets in files
       >>export, >>onnx  nets as C source, as ONNX models
       >>training        optimizers, schedules, fit, evaluate, checkpoints
       >>data            arrays, IDX files, built-in digits, recipes; >>sets: CIFAR, GTSRB,
                         >>mat: SVHN, >>load: by name, >>pain: faces with landmarks; they
                         stand on >>content, >>inflate and >>images: files, read;
                         >>npy: NumPy's
       >>pictures        figures and curves; >>png: how they become files
       the machinery     >>gemm >>sums >>spread and >>convolve (plain arrays, along rows),
                         >>lanes (blocks of images), >>kernels, >>instruction sets
   To learn how a layer works, read its formula and its naive pair, written for the eye.

   ============================================================================
   >>manual
   ============================================================================

   1. BUILD OPTIONS: define them where LSNN_IMPLEMENTATION is defined
       LSNN_DOUBLE            lsnn_real is double (define it for every file that includes
                              lsnn.h; the functions get names of their own, ..._f64)
       LSNN_NAMESPACE         a prefix for the names of all functions, as in
                              -DLSNN_NAMESPACE=mine_ : a library that has lsnn inside keeps
                              clear of another copy in the same program (for every file, too)
       LSNN_STATIC            all functions static: for a program of one file, which then
                              compiles faster, since what it doesn't call is left out
       LSNN_API               your own linkage specifier for the public functions
       LSNN_USE_ZLIB          read .gz files; link -lz
       LSNN_USE_CBLAS         lsnn_gemm and dense layers call cblas_sgemm; link -lopenblas or
                              another; LSNN_CBLAS_H names its header if it is not <cblas.h>
                              (<mkl_cblas.h>, ...); macOS: Accelerate
       LSNN_NO_SIMD           the portable kernels alone
       LSNN_NAIVE             the layers' naive pairs, plain loops without a trick: slow, to
                              learn from, to port, and to hold the fast ones against
       LSNN_NO_THREADS        one thread
       LSNN_USE_OPENMP        OpenMP's threads in place of the library's own; -fopenmp
       LSNN_NO_TRAIN, LSNN_NO_DATA, LSNN_NO_PICTURES    leave that chapter out
       LSNN_USE_MPI           several processes train one net: compile by mpicc, start by mpirun,
                              call lsnn_ranks_start (>>api ranks; docs/scale.md)
       LSNN_USE_CUDA          nets on an NVIDIA GPU: lsnn_build_desc.device = "cuda". Compile all by
                              nvcc -x cu and link -lcublas, or the device part by itself:
                              nvcc -x cu -DLSNN_CUDA_PART -c lsnn.h (docs/cuda.md)
       LSNN_FILENAME          this file's name in quotes, if you renamed it: it includes
                              itself once for each instruction set
   -fopenmp alone changes nothing, but in a parallel region of your own a context takes one
   thread. -ffast-math and -Ofast are refused: NaN must stay NaN. There is no need for
   -march=native: the vector kernels (AVX-512, AVX2, NEON) are compiled anyway and chosen when
   the program runs.

   2. SHAPES
   Arrays are row-major; images are N x C x H x W; a feature vector is C x 1 x 1. Weights
   of a convolution are K x C x kh x kw, of a dense layer K x C, of a locally connected one
   OH*OW x C*kh*kw x K. The API's comments give every shape.

   3. THE CONTRACT OF FORWARD AND BACKWARD
   Forward overwrites its output. Backward ADDS to gradients of parameters (the caller zeroes
   them) and overwrites the gradient of the input, or adds to it if told LSNN_ADD. Any
   gradient may be NULL: it is then not computed. The ops can be called without a net:

   /// ops.c
   #include "lsnn.h"
   // y = relu(conv(x)); then the gradient of the weights for a given dy
   lsnn_status one_layer(lsnn_ctx *cx, const lsnn_real *x, const lsnn_real *w,
                         const lsnn_real *b, lsnn_real *y, lsnn_real *dy, lsnn_real *dw,
                         lsnn_real *db)
   {
       lsnn_shape in = { 3, 32, 32 };
       lsnn_window s;
       size_t count = (size_t)8 * 16 * 28 * 28;                 // N K OH OW
       lsnn_status r = lsnn_window_set(cx, &s, 8, in, 16, 5, 5, 1, 1, LSNN_VALID, NULL);
       if (r == LSNN_OK) r = lsnn_conv2d_forward(cx, y, x, w, b, &s);
       if (r == LSNN_OK) r = lsnn_activation_forward(cx, LSNN_RELU, y, y, count, 0);
       if (r == LSNN_OK)
           r = lsnn_activation_backward(cx, LSNN_RELU, dy, dy, y, count, 0, LSNN_SET);
       if (r == LSNN_OK) r = lsnn_conv2d_backward(cx, NULL, dw, db, dy, x, w, &s, LSNN_SET);
       return r;
   }
   ///

   4. ERRORS
   Every call that can fail returns a status. The context keeps the first failure and a
   message that names the function or layer, the values, and a hint, until lsnn_clear. The
   message goes to log_fn, or to stderr. Functions that return a pointer return NULL, those
   that return a node -1, and a call that is given -1 passes it on: check once, at
   lsnn_net_build. A file that was being replaced is still the old one.

   5. MEMORY
   The context's allocator (malloc and free if there is none) makes few blocks: parameters,
   gradients, buffers, and one for all activations. lsnn_net_build makes them, so a step
   allocates nothing, whatever its batch (the first may, if a layer type of your own calls
   ops). An output lies there as long as the next layers, or lsnn_backward, need it; then
   others take its place, and layers that work in place (relu, dropout, flatten on a single
   reader) take none: the summary shows them. So lsnn_net_get reads the losses, what they
   read, the net's output, smoothers' maps, and each output (with its gradient) whose option
   `keep` was set, and refuses the rest. A layer that none of these depends on is not run.

   6. THREADS
   A context belongs to one thread at a time; distinct contexts share nothing. Layers divide
   their work among cx.threads threads (0: one for each core that the calling thread may run
   on). The context has them of its own, from its first lsnn_net_build or op until
   lsnn_ctx_free. Several threads can predict with one net, each with a context and a lsnn_work
   of its own, as long as nobody trains it. Search >>promised for the rest.

   /// threads.c
   #include "lsnn.h"
   // called by each thread with a context of its own
   lsnn_status predict_here(lsnn_ctx *cx, const lsnn_net *net, const lsnn_real *x, int n,
                            lsnn_real *scores)
   {
       lsnn_work *work;
       lsnn_status s;
       cx->threads = 1;
       work = lsnn_work_new(cx, net, 32);
       s = work ? lsnn_work_predict(work, x, n, scores) : cx->status;
       lsnn_work_free(work);
       return s;
   }
   ///

   7. EXACTNESS
   Work is divided by sizes alone and partial sums are added in a fixed order: the same seed
   gives the same bits for any number of threads, and across save, kill and resume in
   mid-epoch. The last bits differ between instruction sets, compilers and flags (a checkpoint
   records the first two), and between batches of whole blocks and others (see SPEED). With
   LSNN_USE_CBLAS the library behind it decides, and of several ranks, whose sums are the
   whole batch's, the last bits depend on how many they are. Random numbers have
   addresses (seed, purpose, layer's name, step, sample, element): splitting a batch, or adding
   a layer that does not change the others' names, changes no other draw.

   8. SPEED
   Where the time goes: build with profile = 1, and lsnn_net_profile prints a table of time,
   operations and GFLOPS a layer (--profile in the programs).
   Compile with -O2; the vector kernels take the best instruction set of the machine by
   themselves. Convolutions, poolings, smoothers and locally connected layers
   run fastest on batches that are a multiple of lsnn_lanes(cx), 16 with AVX-512: the net then
   lays blocks of images side by side, one a lane (the summary says where: "in blocks").
   Other batches, and single images, run along rows. A relu before a max pooling is done by
   the pooling, one after a batch normalisation by that; a max pooling of 2 x 2 by the
   convolution before it, pixels that no pooling reads are left out, and a concat that only
   batch normalisations read is not made: they read its parts.
   To predict many images, build with predict_only or take a lsnn_work: they go on in chunks
   of whole blocks that stay in cache (lsnn_net_get then reads of the last chunk), the rest
   along rows. Free smoothers' maps are made when theta changes.
   Many processes on few cores: threads that wait sleep, so each gets its share. With
   LSNN_USE_OPENMP set OMP_WAIT_POLICY=passive, or waiting threads keep the cores busy.

   9. YOUR OWN ARRAYS
   /// arrays.c
   #include "lsnn.h"
   // x: count x 16 numbers, label: count numbers in [0, 3)
   lsnn_status learn(lsnn_ctx *cx, const lsnn_real *x, const int *label, int count)
   {
       lsnn_shape shape = { 16, 1, 1 };
       lsnn_fit_desc fit = { 0 };
       lsnn_data data;
       lsnn_net *net = lsnn_net_new(cx);
       int y = lsnn_tanh(net, lsnn_dense(net, lsnn_input(net, 16, 1, 1), 32, NULL), NULL);
       lsnn_status s;
       lsnn_cross_entropy(net, lsnn_dense(net, y, 3, NULL), NULL);
       s = lsnn_net_build(net, NULL);
       if (s == LSNN_OK) s = lsnn_data_arrays(cx, &data, x, label, count, shape, 1, 3);
       if (s == LSNN_OK) {
           fit.epochs = 20;
           fit.optimizer.method = LSNN_ADAM;
           s = lsnn_fit(net, &data, &fit);
           lsnn_data_free(&data);
       }
       lsnn_net_free(net);
       return s;
   }
   ///
   Held-out data choose the epoch: with fit.valid each epoch is scored on them; fit.keep_best =
   1 leaves the net of the best one, fit.patience = 5 ends after 5 epochs that were not the
   best, and fit.milestones[0] = 10 lowers the rate after 10. A resume has all of it.
   fit.verbose = 1 says at the end, in a line, what was done.
   Other people's data sets are read from their own files (lsnn_set_load has the names; the
   pain archive: lsnn_pain_read). None is downloaded. A faulty file is an error that names it,
   the line or record, and what should be there:

   /// signs.c
   #include "lsnn.h"
   // traffic signs: 4,000 or a few more, whole tracks, are held out to choose the epoch
   lsnn_status signs(lsnn_ctx *cx, lsnn_net *net, const char *folder)
   {
       lsnn_set set = { 0 };
       lsnn_data all = { 0 }, train = { 0 }, held = { 0 };
       lsnn_fit_desc fit = { 0 };
       lsnn_status s = lsnn_set_load(cx, &set, "gtsrb", folder, 0);
       if (s == LSNN_OK) s = lsnn_data_set(cx, &all, &set);
       if (s == LSNN_OK) s = lsnn_data_split(cx, &train, &held, &all, set.group, 4000, 1);
       if (s == LSNN_OK) {
           fit.epochs = 100;
           fit.valid = &held;
           fit.keep_best = 1;
           fit.patience = 10;
           s = lsnn_fit(net, &train, &fit);
       }
       lsnn_data_free(&train);
       lsnn_data_free(&held);
       lsnn_data_free(&all);
       lsnn_set_free(cx, &set);
       return s;
   }
   ///
   The loop by hand, for what lsnn_fit does not do:

   /// loop.c
   #include "lsnn.h"
   lsnn_status steps(lsnn_net *net, const lsnn_real *x, const int *label, int n, int count)
   {
       lsnn_optimizer *o = lsnn_optimizer_new(net, NULL);        // SGD, lr 0.01
       lsnn_status s = o ? LSNN_OK : LSNN_ENOMEM;
       lsnn_batch b = { 0 };
       double loss;
       b.n = n;
       b.x = x;
       b.labels = label;
       b.heads = 1;
       for (int i = 0; i < count && s == LSNN_OK; i++) {
           b.step = (uint32_t)i;                                 // dropout's address
           s = lsnn_forward(net, &b, 1, &loss);
           if (s == LSNN_OK) s = lsnn_backward(net);
           if (s == LSNN_OK) s = lsnn_optimizer_step(o);         // and zeroes gradients
       }
       lsnn_optimizer_free(o);
       return s;
   }
   ///

   10. LSNN: A SMOOTHED CONVOLUTION
   A convolution without bias, then lsnn_smooth, which multiplies its maps by U and adds the
   bias. With LSNN_FREE the layer learns theta itself (LSNN-Location); with a node, that node
   computes theta from the image (LSNN-Content).

   /// smooth.c
   #include "lsnn.h"
   int lsnn_location(lsnn_net *net, int image)
   {
       lsnn_options no_bias = { 0 }, mean = { 0 };
       no_bias.no_bias = 1;
       mean.normalise = LSNN_NORMALISE_MEAN;
       return lsnn_smooth(net, lsnn_conv2d(net, image, 16, 5, &no_bias), LSNN_FREE, &mean);
   }
   ///
   Free theta begins by itself, wide and all over the picture. Computed theta is what the
   parameter network's last layer puts out: its weights begin small, and its bias, set after
   lsnn_net_build, is where theta begins. With a bias of 0 all would begin alike: flat,
   about the upper left corner.

   /// content.c
   #include "lsnn.h"
   enum { MAPS = 16, NUMBERS = 5 };                // a map: mu_x, mu_y, alpha, beta, gamma
   int lsnn_content(lsnn_net *net, int image)
   {
       lsnn_options no_bias = { 0 }, mean = { 0 }, theta = { 0 };
       int x = lsnn_relu(net, lsnn_conv2d(net, image, 16, 5, NULL), NULL);
       no_bias.no_bias = 1;
       mean.normalise = LSNN_NORMALISE_MEAN;
       theta.name = "theta";
       theta.init_scale = 0.1;
       x = lsnn_dense(net, lsnn_max_pool(net, x, 4, NULL), MAPS * NUMBERS, &theta);
       return lsnn_smooth(net, lsnn_conv2d(net, image, MAPS, 5, &no_bias), x, &mean);
   }
   lsnn_status lsnn_content_start(lsnn_net *net)   // after lsnn_net_build
   {
       lsnn_rng r = lsnn_rng_at(1, "start", "theta.bias", 0, 0);
       lsnn_real bias[MAPS * NUMBERS];
       for (int i = 0; i < MAPS * NUMBERS; i++)
           bias[i] = (lsnn_real)(i % NUMBERS < 2 ? 0.4 + 0.2 * lsnn_rng_uniform(&r)    // mu
                                 : i % NUMBERS < 4 ? 3 : 0);    // alpha, beta; gamma: round
       return lsnn_net_set(net, "theta.bias", bias, MAPS * NUMBERS);
   }
   ///
   theta's learning rate is its layers' lr_factor: the paper takes 0.1 (section 3.3).
   examples/models.h has the whole parameter network.
   Options of the smoother (section 4.2 of the paper): smooth_shape, mixture (M Gaussians a
   map, blended with learned weights), rank (d maps a kernel, each on a convolution of its
   own), normalise, smooth_bias. In one dimension (section 3.1) a signal is C x 1 x W:

   /// signal.c
   #include "lsnn.h"
   int lsnn_signal(lsnn_net *net, int signal)      // 8 kernels, each the sum of 2 smoothed ones
   {
       lsnn_options no_bias = { 0 }, line = { 0 };
       no_bias.no_bias = 1;
       line.smooth_shape = LSNN_GAUSSIAN_1D;
       line.mixture = 3;
       line.rank = 2;
       line.normalise = LSNN_NORMALISE_MEAN;
       return lsnn_smooth(net, lsnn_conv1d(net, signal, 2 * 8, 9, &no_bias), LSNN_FREE, &line);
   }
   ///
   The windows of Targeted Kernel Networks (attentive regularisation) are shapes of the same
   layer: a kernel's activations are kept where it has learned to look. They begin over the
   whole map; a penalty on their widths makes them smaller, more so in deeper layers (the
   paper's beta), and clip keeps them from vanishing:

   /// windows.c
   #include "lsnn.h"
   int target_block(lsnn_net *net, int x, double l2)  // l2: 1e-4, and then beta times as much
   {
       lsnn_options conv = { 0 }, window = { 0 };
       conv.no_bias = window.no_bias = 1;
       conv.padding = LSNN_SAME;
       window.smooth_shape = LSNN_ATTENTION_CAUCHY;
       window.l2 = l2;
       window.clip = LSNN_CLIP_CODE;
       x = lsnn_smooth(net, lsnn_conv2d(net, x, 64, 5, &conv), LSNN_FREE, &window);
       return lsnn_max_pool(net, lsnn_relu(net, x, NULL), 2, NULL);
   }
   int targets(lsnn_net *net, int image)
   {
       return target_block(net, target_block(net, image, 1e-4), 4 * 1e-4);
   }
   ///
   With theta from another node the windows follow the image; l2 and clip are then refused.
   lsnn_target2d is a convolution and such a window in one: further than s / sqrt(2) of a side
   from mu it is 0 and computes nothing, so that small windows make a quick net. The maps of
   both are readable as "NAME.map"; lsnn_net_macs_now and the summary count what is left:

   /// target.c
   #include "lsnn.h"
   int target_layer(lsnn_net *net, int x, double l2)
   {
       lsnn_options o = { 0 };
       o.no_bias = 1;
       o.padding = LSNN_SAME;
       o.smooth_shape = LSNN_ATTENTION_CAUCHY;
       o.l2 = l2;
       o.clip = LSNN_CLIP_CODE;          // LSNN_CLIP_PAPER: never smaller than the kernel
       x = lsnn_target2d(net, x, 64, 5, &o);
       return lsnn_max_pool(net, lsnn_relu(net, x, NULL), 2, NULL);
   }
   double share_of_work(lsnn_net *net)             // after training: below 1
   {
       double learned = 0;
       lsnn_net_macs_now(net, &learned, NULL);
       return learned / lsnn_net_macs(net);
   }
   ///

   Relatives: lsnn_local2d (local1d) has kernels of its own at each place, its option start
   lets them begin alike, bias says what bias it has; lsnn_net_unshare gives it a trained
   convolution's weights. lsnn_lowrank2d mixes `banks` of shared kernels at each place:

   /// places.c
   #include "lsnn.h"
   int lsnn_places(lsnn_net *net, int image)
   {
       lsnn_options drift = { 0 }, far = { 0 };
       int x = lsnn_lowrank2d(net, image, 16, 5, 4, NULL);     // 4 banks of 16 kernels 5x5
       drift.start = LSNN_START_ALIKE;
       drift.bias = LSNN_BIAS_OF_KERNEL;
       x = lsnn_local2d(net, lsnn_relu(net, x, NULL), 16, 3, &drift);
       far.groups = 16;                                        // depthwise, with
       far.dilation_h = 2;                                     //   every second pixel
       return lsnn_conv2d(net, x, 16, 3, &far);
   }
   ///

   11. >>custom: A LAYER TYPE OF YOUR OWN
   Fill a lsnn_layer_type: its name, the options it reads, plan (output shape, parameters),
   forward and backward; add it with lsnn_layer. Who refuses returns lsnn_fail(cx, status,
   "why, with %d values", n). examples/custom_layer.c is one, in a page, with its gradient
   check, and docs/a-layer.md builds one step by step. A net that uses it is loaded by passing
   the type to lsnn_net_load. The library's own layers enter in the same way. What the net may
   do with a layer is said by its traits, of which none is always right: LSNN_IN_PLACE only if
   backward does not read x (LSNN_X_FREE says the same of a layer that writes elsewhere),
   LSNN_Y_FREE only if it does not read y, since gradients and other layers may then overwrite
   them; without LSNN_BLOCKS you get plain arrays, N x C x H x W; LSNN_BLOCKS_ALL is for those
   that work number by number and take both layouts as they come. A type that learns by a rule
   of its own instead of a gradient (as >>dsc does) says LSNN_OWN_RULE, and then plain SGD with
   lr = 1 is that rule, and an optimizer that would change it is refused.

   A type may have `project`, which is run after each step of an optimizer: it brings
   parameters back to where they may be, or changes them by a rule that is no gradient. A
   penalty is a number of the parameter's spec (l2), of all its numbers or of some.

   12. CAVEATS
   A batch that is no multiple of lsnn_lanes(cx) runs along rows, up to twice as slowly and
   with other last bits: choose batches of 32, 64, ... Compilers without vector extensions
   (MSVC, nvcc's host pass) get the portable kernels, several times slower. The implementation
   takes 4 to 11 s to compile by the machine, so keep it in a file of its own. Sums of floats
   are rounded: a result may differ in its last digits between instruction sets, and a mean
   over very large equal numbers loses what they have in common. Time kept by
   lsnn_net_profile is wall time: another busy process shows up in it.

   13. HOW THIS FILE IS MADE
   It is written in the repository's src/, one layer a file, and pasted together by `make
   lsnn.h` (tools/assemble.sh), which changes nothing; the first test compares. src/names.h
   is made of api.h (tools/names.sh): commit both. To add a layer to the library: a file in
   src/ops/ in the order of the others (title, formula, shapes; the naive pair; the fast
   pair; plan; forward and backward as the net calls them; type; builder), its #include and
   its line in the table in src/lsnn.h, its prototypes in src/api.h, its name in the
   contents above, its forms in src/export_layers.h and src/onnx_layers.h (a line in
   onnx_model.h's table). A type without kernels for CUDA ends with NULL, NULL, NULL; one
   with them has a file in src/cuda/, its name in LSNNI_DEVICE_TYPES (src/device.h), and
   ends with LSNNI_DEVICE_PAIR(name). Tests: loops of their own in tests/naive.h, a row in
   tests/ops.h, a draw in tests/test_graphs.c, a place in all_layers of tests/nets.h; the
   last three and the forms are asked for. The order of the book: manual, API, core, the
   layers from simple to hard, the net, files, training, data, pictures, and last the
   machinery for speed.

   14. FILES
   lsnn_net_save writes safetensors: parameters and buffers by name ("conv2d1.weight",
   "batch_norm1.mean"), and in the metadata the graph as text, one line a layer, so that
   lsnn_net_load returns a net that runs. Checkpoints of lsnn_fit hold the optimizer's state
   ("optimizer.m:conv1.weight") and the position too, and load as nets. Reading checks every
   rule of the format before it believes a size, and converts between float and double.
   Other people's files: lsnn_file_read converts F16 and BF16, too, and names what holds no
   floats (a PyTorch state_dict with batch normalisation has an I64). lsnn_net_read takes
   such a file if it has all that the net has, and lsnn_net_read_as by a table of names, or
   only what fits (docs/from-pytorch.md: the whole way, there and back):

   /// pytorch.c
   #include "lsnn.h"
   // a net of two dense layers, "dense1" and "dense2", from nn.Sequential(Linear, ReLU, Linear)
   lsnn_status from_pytorch(lsnn_net *net, const char *path)
   {
       static const lsnn_pair names[] = {
           { "dense1.weight", "0.weight" }, { "dense1.bias", "0.bias" },
           { "dense2.weight", "2.weight" }, { "dense2.bias", "2.bias" } };
       lsnn_read_desc d = { 0 };
       d.names = names;
       d.name_count = 4;
       return lsnn_net_read_as(net, path, &d);
   }
   // the layers that a trained net has in common with this one; the others begin as drawn
   lsnn_status begin_from(lsnn_net *net, const char *path)
   {
       lsnn_read_desc d = { 0 };
       int taken = 0;
       d.partial = 1;
       d.taken = &taken;
       return lsnn_net_read_as(net, path, &d);
   }
   ///
   The ways out: lsnn_net_export_c writes a C99 file with NAME_predict(x, y), for programs and
   chips without room for more (int8 weights take a quarter; lsnn_net_round says, in the net,
   what that costs); lsnn_net_export_onnx writes an ONNX model. Both take every layer type of
   the library and refuse your own by name; examples/export does both:

   /// export.c
   #include "lsnn.h"
   lsnn_status as_c(lsnn_net *net)
   {
       lsnn_export_desc d = { 0 };
       d.name = "digits";                            // digits_predict
       d.storage = LSNN_STORE_INT8;
       return lsnn_net_export_c(net, "digits.c", &d);
   }
   ///

   15. NUMBERS TO KNOW
   Limits: 2^29 numbers an image and a weight array, 10,000 layers, 16 inputs and 4 parameters
   a layer, 8 heads. Tested: gradients against central differences in double to 1e-6, ops
   against PyTorch in double to 1e-10 and against naive code on every instruction set: tests/.

   16. >>promised: WHAT IS PROMISED
   Files. Whatever is saved (nets, checkpoints, IDX, PNG) is written beside its place, synced
   and renamed: PATH is the old file or the new one, whole, at every moment, through a crash,
   a kill or a power cut (where the disk honours fsync; a file system that knows no syncing
   is no failure). Nothing else is touched: what stands at the temporary name PATH.tmp, a
   link or a file of yours, stays, and the save takes another name; what a killed save left
   there (mode 0200 or 01xxx) is removed by the next. A link at PATH is replaced, its target
   stays.
   The new file has the old one's mode, owner and group, or less where these cannot be had (a
   group that you are not of gets what everybody gets); without an old one the umask's mode.
   EIO: PATH is read-only for you, a folder or a device, or another program is saving to it.
   The bytes depend neither on the locale nor on the machine's byte order or the compiler's
   enums. Files of strangers are checked first: no length, shape or offset is believed.
   On Windows: PATH.tmp itself is overwritten, and two programs must not save to one path.
   Signals. The library installs no handler and blocks none for you; its own threads block all
   but those that a thread brings upon itself and SIGPROF, so handlers run in your threads (with
   -std=c99, which hides how to say so, the kernel decides). None of its functions may be
   called from a handler: set a flag there, and let the progress function of lsnn_fit return
   it: the fit stops after its step, saves, and returns STOPPED. A signal that kills leaves
   the old file; one whose handler interrupts a write (no SA_RESTART, on a network's file
   system) makes that save EIO, and what was there stays. SIGXFSZ (a file over ulimit -f)
   kills unless the program ignores it; then it is EIO.
   Numbers. What is not finite is an error, EDIVERGED, where it comes in and where it goes
   out: lsnn_forward, lsnn_predict, lsnn_evaluate and lsnn_fit name the sample whose input or
   target is a NaN or an infinity, before anything is run or any running mean has seen it;
   predict and evaluate name the output that is none, so no NaN is counted as a class; forward
   and fit stop at such a loss, fit with the first layer that made it, and the optimizer's step
   refuses such a gradient, before it moves anything. A NaN that a relu stops on its way is not
   seen.
   A batch may be fed in parts, where it does not fit: lsnn_batch's `sample` and `total` say
   which part this is; loss and gradient then sum up to the whole batch's (but batch_norm
   normalises each part by itself). `step` 0 in a loop of your own means as many as the
   optimizer has made.
   batch_norm takes the mean off before it multiplies: a spread of 1 about 1e4 keeps all the
   digits that the floats have. Frozen (option freeze), it normalises by its running mean and
   variance and leaves them, and so does a layer that shares them. A variance past the largest
   lsnn_real is EDIVERGED.
   The data's classes must be those of a classifying head: a net with more outputs than there
   are classes is refused, as one with fewer is.
   The gradient of the input is that of a layer which changes nothing, right behind it:
   lsnn_scale with no_bias, keep 1 and lr_factor LSNN_ZERO, read as "grad:scale1".
   Failures. The context keeps the first one, until lsnn_clear; every one is logged.
   Threads. lsnn_parallel does every task once, whatever happens to its threads: those
   that cannot be had (a limit, no memory) or do not get a core are missed by the clock
   alone, and the results have the same bits. A thread that waits spins for 20
   microseconds (on Linux for 1,000 while no other process wants the cores), then sleeps:
   an idle context takes no processor time, a busy machine is shared fairly, and two
   trainings side by side each keep about half of their speed. A task that calls
   lsnn_parallel on its own context does all of it itself, as worker 0; on another
   context it gets that one's threads. Nets and contexts of several threads of the
   program run side by side.
   cx.threads may be changed between calls; threads once started stay, asleep, until
   lsnn_ctx_free. They keep the rounding mode (and flush-to-zero) that the caller had when it
   started them, at the context's first op: who changes it later gets some of both. Functions
   of yours that the library calls by all its threads (lsnn_data's fetch, tasks) must be ready
   for that, and must not throw. A library that is to be unloaded calls lsnn_ctx_free before.
   There are threads wherever there are pthreads and gcc's or clang's builtins; elsewhere
   (MSVC) /openmp brings them, or there is one. A processor quota (docker --cpus) is not a core
   less: set cx.threads.
   Fork. A child may go on with what it inherited: contexts, nets, data. The threads are not
   copied; the child starts its own when it first needs them, and the parent keeps its. This
   holds for a fork by the thread that uses the context, between two calls. (With
   LSNN_USE_OPENMP it does not: GNU OpenMP hangs in such a child.) */
