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
       >>implementation  errors, memory, threads, random numbers
       >>fast            what the machinery for speed (below) offers the ops
       >>window          how kernels slide
       >>layer           what the layers share; then one layer after the other, each with its
                         formula, naive pair, fast pair, and how the net sees it:
                         >>input >>dense >>rbf >>activations >>softmax >>pooling >>lp_pool
                         >>dropout >>batch_norm >>scale >>copies >>losses >>conv2d
                         >>table_conv2d >>local2d >>dsc >>dsc_loss >>smooth
       >>net             a graph of layers: options, building
       >>plan            what the net finds out about itself; its schedule of calls
       >>running         walking that schedule; >>profile: what each layer costs
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
       LSNN_STATIC            all functions static
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
   LSNN_USE_CBLAS the library behind it decides. Random numbers have
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

   11. >>custom: A LAYER TYPE OF YOUR OWN
   Fill a lsnn_layer_type: its name, the options it reads, plan (output shape, parameters),
   forward and backward; add it with lsnn_layer. Who refuses returns lsnn_fail(cx, status,
   "why, with %d values", n). examples/custom_layer.c is one, in a page,
   with its gradient check, and docs/a-layer.md builds one step by step. A net that uses it is
   loaded by passing the type to lsnn_net_load. The library's own layers enter in the same
   way. What the net may do with a layer is said by its traits, of which none is always right:
   LSNN_IN_PLACE only if backward does not read x (LSNN_X_FREE says the same of a layer that
   writes elsewhere), LSNN_Y_FREE only if it does not read y, since gradients and other layers
   may then overwrite them; without LSNN_BLOCKS you get plain arrays, N x C x H x W. Bounds that
   its parameters must keep are put right by project, after each step; a type that learns by
   a rule of its own instead of a gradient (as >>dsc does) says LSNN_OWN_RULE, and then plain
   SGD with lr = 1 is that rule, and an optimizer that would change it is refused.

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
   lsnn.h` (tools/assemble.sh), which changes nothing; the first test compares. To add a layer
   to the library: a file in src/ops/ in the order of the others (title, formula, shapes; the
   naive pair; the fast pair; plan; forward and backward as the net calls them; type;
   builder), its #include and its line in the table in src/lsnn.h, its prototypes in
   src/api.h. The order of the book: manual, API, core, the layers from simple to hard, the
   net, files, training, data, pictures, and last the machinery for speed.

   14. FILES
   lsnn_net_save writes safetensors: parameters and buffers by name ("conv2d1.weight",
   "batch_norm1.mean"), and in the metadata the graph as text, one line a layer, so that
   lsnn_net_load returns a net that runs. Checkpoints of lsnn_fit hold the optimizer's state
   ("optimizer.m:conv1.weight") and the position too, and load as nets. Reading checks every
   rule of the format before it believes a size, and converts between float and double.
   Other people's files: lsnn_file_read converts F16 and BF16, too, and names what holds no
   floats (a PyTorch state_dict with batch normalisation has an I64). lsnn_net_read takes
   such a file if it has all that the net has, and lsnn_net_read_as by a table of names, or
   only what fits:

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
   out: lsnn_forward, lsnn_predict, lsnn_evaluate and lsnn_fit name the sample whose input is a
   NaN or an infinity, before anything is run or any running mean has seen it; predict and
   evaluate name the output that is none, so no NaN is counted as a class; forward and fit stop
   at such a loss, fit with the first layer that made it, and the optimizer's step refuses such
   a gradient, before it moves anything. A NaN that a relu stops on its way is not seen.
   A batch may be fed in parts, where it does not fit: lsnn_batch's `sample` and `total` say
   which part this is; loss and gradient then sum up to the whole batch's (but batch_norm
   normalises each part by itself). `step` 0 in a loop of your own means as many as the
   optimizer has made.
   batch_norm takes the mean off before it multiplies: a spread of 1 about 1e4 keeps all the
   digits that the floats have. Frozen (option freeze), it normalises by its running mean and
   variance and leaves them. A variance past the largest lsnn_real is EDIVERGED.
   The data's classes must be those of a classifying head: a net with more outputs than there
   are classes is refused, as one with fewer is.
   The gradient of the input is that of a layer which changes nothing, right behind it:
   lsnn_scale with no_bias, keep 1 and lr_factor LSNN_ZERO, read as "grad:scale1".
   Failures. The context keeps the first one, until lsnn_clear; every one is logged.
   Threads. lsnn_parallel does every task once, whatever happens to its threads: those that
   cannot be had (a limit, no memory) or do not get a core are missed by the clock alone, and
   the results have the same bits. A thread that waits spins for 20 microseconds, then sleeps:
   an idle context takes no processor time, a busy machine is shared fairly, and two trainings
   side by side each keep about half of their speed. A task that calls lsnn_parallel on its
   own context does all of it itself, as worker 0; on another context it gets that one's
   threads. Nets and contexts of several threads of the program run side by side.
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

/* Where is what (src/ of the repository; a line of the list is a chapter of the book)

       api.h, names.h                   everything that can be called
       core.h                           errors, memory, threads, random numbers
       window.h, layer.h, ops/          the layers, from simple to hard
       net.h > plan.h > run.h           a graph is built > planned > run
       profile.h                          and timed
       files.h, graph.h                 safetensors; a net as text and back
       export.h, onnx.h                 a net as a C file; as an ONNX model
       train.h, data.h, pictures.h      optimizers and fit; IDX, recipes; figures (png.h)
         sets.h, mat.h, load.h, pain.h    other people's data sets, from their files
         content.h, inflate.h, images.h   files in memory; unpacked; PNG and PPM, read
       fast.h                           what the ops ask of the machinery:
         gemm.h, sums.h                   products of matrices; sums over a batch
         rows.h, blocks.h                 windows on plain arrays; on blocks of images
         kernels.h > isa.h                inner loops > compiled once an instruction set
                                                                              */
/* ============================================================================
   >>api  PUBLIC API
   ==========================================================================*/
#ifndef LSNN_H
#define LSNN_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define LSNN_VERSION_MAJOR 0
#define LSNN_VERSION_MINOR 1
#define LSNN_VERSION_PATCH 0
#define LSNN_VERSION "0.1.0"

#ifdef LSNN_DOUBLE
typedef double lsnn_real;
#else
typedef float lsnn_real;
#endif

#ifndef LSNN_API
#  ifdef LSNN_STATIC
#    define LSNN_API static
#  elif defined(__cplusplus)
#    define LSNN_API extern "C"
#  else
#    define LSNN_API extern
#  endif
#endif

#if defined(__GNUC__)
#  define LSNNI_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#  define LSNNI_PRINTF(f, a)
#endif

/* ---- >>double: the double build's functions have names of their own, so that both
   precisions can live in one program and a mix-up ends at the linker. Made by
   tools/names.sh from the functions below.                                   */
#ifdef LSNN_DOUBLE
#define lsnn_status_text lsnn_status_text_f64
#define lsnn_clear lsnn_clear_f64
#define lsnn_fail lsnn_fail_f64
#define lsnn_ctx_free lsnn_ctx_free_f64
#define lsnn_ctx_threads lsnn_ctx_threads_f64
#define lsnn_ctx_isa lsnn_ctx_isa_f64
#define lsnn_isa_available lsnn_isa_available_f64
#define lsnn_isa_name lsnn_isa_name_f64
#define lsnn_isa_from_name lsnn_isa_from_name_f64
#define lsnn_build_info lsnn_build_info_f64
#define lsnn_parallel lsnn_parallel_f64
#define lsnn_rng_at lsnn_rng_at_f64
#define lsnn_rng_u32 lsnn_rng_u32_f64
#define lsnn_rng_uniform lsnn_rng_uniform_f64
#define lsnn_rng_normal lsnn_rng_normal_f64
#define lsnn_rng_int lsnn_rng_int_f64
#define lsnn_rng_permutation lsnn_rng_permutation_f64
#define lsnn_window_set lsnn_window_set_f64
#define lsnn_gemm lsnn_gemm_f64
#define lsnn_lanes lsnn_lanes_f64
#define lsnn_interleave lsnn_interleave_f64
#define lsnn_conv2d_forward lsnn_conv2d_forward_f64
#define lsnn_conv2d_backward lsnn_conv2d_backward_f64
#define lsnn_table_conv2d_forward lsnn_table_conv2d_forward_f64
#define lsnn_table_conv2d_backward lsnn_table_conv2d_backward_f64
#define lsnn_local2d_forward lsnn_local2d_forward_f64
#define lsnn_local2d_backward lsnn_local2d_backward_f64
#define lsnn_dense_forward lsnn_dense_forward_f64
#define lsnn_dense_backward lsnn_dense_backward_f64
#define lsnn_rbf_forward lsnn_rbf_forward_f64
#define lsnn_rbf_backward lsnn_rbf_backward_f64
#define lsnn_dsc_forward lsnn_dsc_forward_f64
#define lsnn_dsc_backward lsnn_dsc_backward_f64
#define lsnn_dsc_project lsnn_dsc_project_f64
#define lsnn_dsc_active lsnn_dsc_active_f64
#define lsnn_dsc_loss_forward lsnn_dsc_loss_forward_f64
#define lsnn_dsc_loss_backward lsnn_dsc_loss_backward_f64
#define lsnn_dsc_lateral_forward lsnn_dsc_lateral_forward_f64
#define lsnn_activation_forward lsnn_activation_forward_f64
#define lsnn_activation_backward lsnn_activation_backward_f64
#define lsnn_softmax_forward lsnn_softmax_forward_f64
#define lsnn_softmax_backward lsnn_softmax_backward_f64
#define lsnn_max_pool_forward lsnn_max_pool_forward_f64
#define lsnn_max_pool_backward lsnn_max_pool_backward_f64
#define lsnn_avg_pool_forward lsnn_avg_pool_forward_f64
#define lsnn_avg_pool_backward lsnn_avg_pool_backward_f64
#define lsnn_sum_pool_forward lsnn_sum_pool_forward_f64
#define lsnn_sum_pool_backward lsnn_sum_pool_backward_f64
#define lsnn_lp_pool_forward lsnn_lp_pool_forward_f64
#define lsnn_lp_pool_backward lsnn_lp_pool_backward_f64
#define lsnn_dropout_forward lsnn_dropout_forward_f64
#define lsnn_dropout_backward lsnn_dropout_backward_f64
#define lsnn_batch_norm_forward lsnn_batch_norm_forward_f64
#define lsnn_batch_norm_predict lsnn_batch_norm_predict_f64
#define lsnn_batch_norm_backward lsnn_batch_norm_backward_f64
#define lsnn_scale_forward lsnn_scale_forward_f64
#define lsnn_scale_backward lsnn_scale_backward_f64
#define lsnn_rows_copy lsnn_rows_copy_f64
#define lsnn_cross_entropy_forward lsnn_cross_entropy_forward_f64
#define lsnn_cross_entropy_backward lsnn_cross_entropy_backward_f64
#define lsnn_cross_entropy_rubbish_forward lsnn_cross_entropy_rubbish_forward_f64
#define lsnn_mse_forward lsnn_mse_forward_f64
#define lsnn_mse_backward lsnn_mse_backward_f64
#define lsnn_smoother_theta lsnn_smoother_theta_f64
#define lsnn_smoother_map lsnn_smoother_map_f64
#define lsnn_smooth_forward lsnn_smooth_forward_f64
#define lsnn_smooth_backward lsnn_smooth_backward_f64
#define lsnn_net_new lsnn_net_new_f64
#define lsnn_net_free lsnn_net_free_f64
#define lsnn_input lsnn_input_f64
#define lsnn_conv2d lsnn_conv2d_f64
#define lsnn_conv1d lsnn_conv1d_f64
#define lsnn_table_conv2d lsnn_table_conv2d_f64
#define lsnn_local2d lsnn_local2d_f64
#define lsnn_dense lsnn_dense_f64
#define lsnn_rbf lsnn_rbf_f64
#define lsnn_dsc_dense lsnn_dsc_dense_f64
#define lsnn_dsc_conv2d lsnn_dsc_conv2d_f64
#define lsnn_dsc_local2d lsnn_dsc_local2d_f64
#define lsnn_dsc_loss lsnn_dsc_loss_f64
#define lsnn_dsc_lateral lsnn_dsc_lateral_f64
#define lsnn_relu lsnn_relu_f64
#define lsnn_leaky_relu lsnn_leaky_relu_f64
#define lsnn_sigmoid lsnn_sigmoid_f64
#define lsnn_tanh lsnn_tanh_f64
#define lsnn_scaled_tanh lsnn_scaled_tanh_f64
#define lsnn_softmax lsnn_softmax_f64
#define lsnn_max_pool lsnn_max_pool_f64
#define lsnn_avg_pool lsnn_avg_pool_f64
#define lsnn_sum_pool lsnn_sum_pool_f64
#define lsnn_lp_pool lsnn_lp_pool_f64
#define lsnn_dropout lsnn_dropout_f64
#define lsnn_batch_norm lsnn_batch_norm_f64
#define lsnn_scale lsnn_scale_f64
#define lsnn_add lsnn_add_f64
#define lsnn_concat lsnn_concat_f64
#define lsnn_slice lsnn_slice_f64
#define lsnn_flatten lsnn_flatten_f64
#define lsnn_smooth lsnn_smooth_f64
#define lsnn_cross_entropy lsnn_cross_entropy_f64
#define lsnn_mse lsnn_mse_f64
#define lsnn_layer lsnn_layer_f64
#define lsnn_net_build lsnn_net_build_f64
#define lsnn_net_summary lsnn_net_summary_f64
#define lsnn_net_profile lsnn_net_profile_f64
#define lsnn_net_params lsnn_net_params_f64
#define lsnn_net_macs lsnn_net_macs_f64
#define lsnn_net_shape lsnn_net_shape_f64
#define lsnn_net_node lsnn_net_node_f64
#define lsnn_net_output lsnn_net_output_f64
#define lsnn_net_set_output lsnn_net_set_output_f64
#define lsnn_forward lsnn_forward_f64
#define lsnn_backward lsnn_backward_f64
#define lsnn_zero_grad lsnn_zero_grad_f64
#define lsnn_predict lsnn_predict_f64
#define lsnn_net_dims lsnn_net_dims_f64
#define lsnn_net_get lsnn_net_get_f64
#define lsnn_net_set lsnn_net_set_f64
#define lsnn_net_param_name lsnn_net_param_name_f64
#define lsnn_work_new lsnn_work_new_f64
#define lsnn_work_free lsnn_work_free_f64
#define lsnn_work_predict lsnn_work_predict_f64
#define lsnn_data_free lsnn_data_free_f64
#define lsnn_data_arrays lsnn_data_arrays_f64
#define lsnn_data_part lsnn_data_part_f64
#define lsnn_data_split lsnn_data_split_f64
#define lsnn_idx_read lsnn_idx_read_f64
#define lsnn_idx_write lsnn_idx_write_f64
#define lsnn_idx_free lsnn_idx_free_f64
#define lsnn_data_idx lsnn_data_idx_f64
#define lsnn_cifar_read lsnn_cifar_read_f64
#define lsnn_svhn_read lsnn_svhn_read_f64
#define lsnn_gtsrb_read lsnn_gtsrb_read_f64
#define lsnn_set_load lsnn_set_load_f64
#define lsnn_set_name lsnn_set_name_f64
#define lsnn_set_free lsnn_set_free_f64
#define lsnn_data_set lsnn_data_set_f64
#define lsnn_pain_read lsnn_pain_read_f64
#define lsnn_pain_free lsnn_pain_free_f64
#define lsnn_data_pain lsnn_data_pain_f64
#define lsnn_task_name lsnn_task_name_f64
#define lsnn_task_from_name lsnn_task_from_name_f64
#define lsnn_task_shape lsnn_task_shape_f64
#define lsnn_task_heads lsnn_task_heads_f64
#define lsnn_task_digits lsnn_task_digits_f64
#define lsnn_recipe_check lsnn_recipe_check_f64
#define lsnn_recipe_draw lsnn_recipe_draw_f64
#define lsnn_data_recipe lsnn_data_recipe_f64
#define lsnn_digit_draw lsnn_digit_draw_f64
#define lsnn_optimizer_new lsnn_optimizer_new_f64
#define lsnn_optimizer_free lsnn_optimizer_free_f64
#define lsnn_optimizer_lr lsnn_optimizer_lr_f64
#define lsnn_optimizer_step lsnn_optimizer_step_f64
#define lsnn_fit lsnn_fit_f64
#define lsnn_evaluate lsnn_evaluate_f64
#define lsnn_net_save lsnn_net_save_f64
#define lsnn_net_load lsnn_net_load_f64
#define lsnn_net_read lsnn_net_read_f64
#define lsnn_net_read_as lsnn_net_read_as_f64
#define lsnn_net_export_c lsnn_net_export_c_f64
#define lsnn_net_export_onnx lsnn_net_export_onnx_f64
#define lsnn_net_round lsnn_net_round_f64
#define lsnn_file_read lsnn_file_read_f64
#define lsnn_file_free lsnn_file_free_f64
#define lsnn_file_tensor lsnn_file_tensor_f64
#define lsnn_file_meta lsnn_file_meta_f64
#define lsnn_file_write lsnn_file_write_f64
#define lsnn_npy_write lsnn_npy_write_f64
#define lsnn_npz_write lsnn_npz_write_f64
#define lsnn_image_new lsnn_image_new_f64
#define lsnn_image_free lsnn_image_free_f64
#define lsnn_image_load lsnn_image_load_f64
#define lsnn_image_save lsnn_image_save_f64
#define lsnn_image_rect lsnn_image_rect_f64
#define lsnn_image_line lsnn_image_line_f64
#define lsnn_image_text lsnn_image_text_f64
#define lsnn_image_map lsnn_image_map_f64
#define lsnn_image_overlay lsnn_image_overlay_f64
#define lsnn_image_grid lsnn_image_grid_f64
#define lsnn_image_plot lsnn_image_plot_f64
#endif

/* ---- >>api status: what every fallible call returns ------------------------
   Zero is success, negative is a failure, LSNN_STOPPED (1) means that your own
   callback asked for an end. Each enum that stands in a struct has a last member ..._INT_
   that is used for nothing: it keeps the enum as wide as an int under -fshort-enums, too,
   so that files and structs are the same.                                    */
#define LSNN_STATUS_LIST(X)                                                    \
    X(STOPPED,       1, "stopped by the caller's callback")                    \
    X(OK,            0, "no error")                                            \
    X(ESHAPE,       -1, "shapes or sizes do not fit together")                 \
    X(ENOMEM,       -2, "the allocator returned NULL")                         \
    X(EVALUE,       -3, "a value is out of range")                             \
    X(ENAME,        -4, "no such name")                                        \
    X(ESTATE,       -5, "the call comes at the wrong time")                    \
    X(EIO,          -6, "a file could not be read or written")                 \
    X(EFORMAT,      -7, "a file does not follow its format")                   \
    X(EDIVERGED,    -8, "a number is not finite (NaN or infinite)")             \
    X(EUNSUPPORTED, -9, "this build leaves that part out")
typedef enum lsnn_status {
#define LSNN_STATUS_ENUM(name, code, text) LSNN_##name = code,
    LSNN_STATUS_LIST(LSNN_STATUS_ENUM)
#undef LSNN_STATUS_ENUM
    LSNN_STATUS_MAX_ = 2,
    LSNN_STATUS_INT_ = 0x7FFFFFFF
} lsnn_status;

LSNN_API const char *lsnn_status_text(lsnn_status s);

/* ---- >>api context: memory, log, threads and the first failure --------------
   A context that is all zero is ready for use. It belongs to one thread at a
   time; distinct contexts share nothing.                                     */
typedef struct lsnn_allocator {      /* set both functions or neither         */
    void *(*alloc_fn)(size_t bytes, void *user);   /* NULL when refused       */
    void (*free_fn)(void *block, void *user);
    void *user;
} lsnn_allocator;

typedef enum lsnn_isa {              /* instruction set of the vector kernels */
    LSNN_ISA_BEST = 0,               /* the best that this machine runs       */
    LSNN_ISA_PORTABLE,               /* what the compiler's flags allow       */
    LSNN_ISA_AVX2,
    LSNN_ISA_AVX512,
    LSNN_ISA_NEON,
    LSNN_ISA_COUNT_,
    LSNN_ISA_INT_ = 0x7FFFFFFF
} lsnn_isa;

typedef struct lsnn_ctx {
    lsnn_allocator mem;              /* NULL functions: malloc and free       */
    void (*log_fn)(const char *message, void *user);   /* NULL: stderr        */
    void *log_user;
    int threads;                     /* 0: one for each core it may run on    */
    lsnn_isa isa;                    /* 0, or one that does not run here: best */
    lsnn_status status;              /* the first failure, until lsnn_clear   */
    char message[400];               /* what failed, where, and a hint        */
    lsnn_status last_;               /* private: the last failure, and how many there were */
    unsigned failures_;
    const char *where_;              /* private: the layer at work            */
    int rehearsal_;                  /* private: take scratch memory, do no work */
    void *scratch_;                  /* private: grow-only working memory     */
    size_t scratch_bytes_;
    struct lsnni_team *team_;        /* private: its threads, once needed     */
    int cores_;                      /* private: what threads 0 means, once asked */
} lsnn_ctx;

LSNN_API void lsnn_clear(lsnn_ctx *cx);            /* forget the failure      */
/* Records a failure as the library's own functions do, with the layer's name before it, and
   returns s: a layer type of your own says so why it refuses.
       if (k % 2 == 0) return lsnn_fail(cx, LSNN_EVALUE, "kernel_h is %d: it must be odd", k); */
LSNN_API lsnn_status lsnn_fail(lsnn_ctx *cx, lsnn_status s, const char *format, ...)
    LSNNI_PRINTF(3, 4);
LSNN_API void lsnn_ctx_free(lsnn_ctx *cx);         /* end its threads, free its scratch */
LSNN_API int lsnn_ctx_threads(const lsnn_ctx *cx); /* threads really used     */
LSNN_API lsnn_isa lsnn_ctx_isa(const lsnn_ctx *cx);      /* set really used   */
LSNN_API int lsnn_isa_available(lsnn_isa isa);     /* 1 if it runs here       */
LSNN_API const char *lsnn_isa_name(lsnn_isa isa);  /* "avx512", ...           */
LSNN_API lsnn_isa lsnn_isa_from_name(const char *name);  /* COUNT_ if unknown */
LSNN_API const char *lsnn_build_info(void);        /* "float threads zlib ..." */

/* Calls task(user, i, worker) for i in [0, count), on cx's threads. Workers are
   numbered from 0 to lsnn_ctx_threads(cx) - 1; which gets which i is not
   defined, so a task must write only what belongs to i, or to its worker. A task
   that calls this again on cx does all of the inner tasks itself, as worker 0. */
LSNN_API void lsnn_parallel(lsnn_ctx *cx, int count,
                            void (*task)(void *user, int i, int worker), void *user);

/* ---- >>api random: numbers that have an address -----------------------------
   Philox 4x32-10. A draw is addressed by (seed, purpose, name, step, sample,
   element), so no draw depends on how many others were made before it.       */
typedef struct lsnn_rng {
    uint32_t key[2];                 /* the seed                              */
    uint32_t stream;                 /* hash of purpose and name              */
    uint32_t step, sample;
    uint32_t element;                /* the next draw's element               */
    uint32_t block_[4], held_;       /* private: the block last made, and which */
} lsnn_rng;

LSNN_API lsnn_rng lsnn_rng_at(uint64_t seed, const char *purpose, const char *name,
                              uint32_t step, uint32_t sample);
LSNN_API uint32_t lsnn_rng_u32(lsnn_rng *r);               /* uniform 32 bits  */
LSNN_API double lsnn_rng_uniform(lsnn_rng *r);             /* in [0, 1)        */
LSNN_API double lsnn_rng_normal(lsnn_rng *r);              /* mean 0, variance 1 */
LSNN_API int lsnn_rng_int(lsnn_rng *r, int n);             /* in [0, n), unbiased */
/* A permutation of 0..n-1 into order.                                        */
LSNN_API void lsnn_rng_permutation(lsnn_rng *r, int *order, int n);

/* ---- >>api shapes -----------------------------------------------------------
   Arrays are row-major, images are N x C x H x W; letters used throughout:
   N images, C channels, H rows, W columns, K kernels (output channels),
   P = OH*OW output positions. A feature vector is a C x 1 x 1 image.         */
typedef struct lsnn_shape { int c, h, w; } lsnn_shape;

typedef enum lsnn_padding {
    LSNN_VALID = 0,                  /* none: output (H - k) / stride + 1     */
    LSNN_SAME,                       /* output ceil(H / stride), extra pixel  */
                                     /*   at the bottom and right             */
    LSNN_EXPLICIT,                   /* pad_top, pad_left, pad_bottom, pad_right */
    LSNN_PADDING_INT_ = 0x7FFFFFFF
} lsnn_padding;

/* A window that slides over images: conv2d, local2d and the poolings.        */
typedef struct lsnn_window {
    int n, c, h, w;                  /* input  N x C x H x W                  */
    int k, oh, ow;                   /* output N x K x OH x OW (pooling: K=C) */
    int kernel_h, kernel_w, stride_h, stride_w;
    int pad_top, pad_left;           /* what sticks out at the other sides is padding too */
    int lanes;                       /* 0: N x C x H x W; lsnn_lanes: blocks of images */
} lsnn_window;

/* Fills a window. SAME and VALID ignore pad[]; EXPLICIT takes it as top, left,
   bottom, right. ESHAPE if nothing fits, the message says what.              */
LSNN_API lsnn_status lsnn_window_set(lsnn_ctx *cx, lsnn_window *s, int n, lsnn_shape in,
                                     int k, int kernel_h, int kernel_w, int stride_h,
                                     int stride_w, lsnn_padding padding, const int pad[4]);

/* ---- >>api ops: one pair of functions a layer type --------------------------
   Forward overwrites its output. Backward ADDS to the gradients of parameters
   (dw, db, ...: the caller zeroes them) and overwrites the gradient of the
   input (dx), or adds to it when `add` is LSNN_ADD. Every gradient pointer may
   be NULL: it is then not computed. Arrays must not overlap unless a comment
   says so. Each returns ESHAPE, EVALUE or ENOMEM on failure, and on failure
   what it had written so far is undefined.                                   */
enum { LSNN_SET = 0, LSNN_ADD = 1 };

/* C (M x N) = op(A) op(B) + (add ? C : 0); op(A) is M x K, op(B) is K x N. A is
   stored M x K with row stride lda, or K x M when trans_a; likewise B.       */
LSNN_API lsnn_status lsnn_gemm(lsnn_ctx *cx, int trans_a, int trans_b, int m, int n, int k,
                               const lsnn_real *a, int lda, const lsnn_real *b, int ldb,
                               int add, lsnn_real *c, int ldc);

/* Blocks of L = lsnn_lanes(cx) images, the lanes of a vector: (N / L) x C x H x W x L.
   The layers with windows take their images in this order too (lsnn_window.lanes),
   N a multiple of L (else ESHAPE). y (+)= x interleaved, or 1: back; size: the numbers
   of an image; add: LSNN_SET or LSNN_ADD.                                    */
LSNN_API int lsnn_lanes(const lsnn_ctx *cx);
LSNN_API lsnn_status lsnn_interleave(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x, int n,
                                     size_t size, int back, int add);

/* x N,C,H,W   w K,C,kh,kw   b K (NULL: none)   y N,K,OH,OW                   */
LSNN_API lsnn_status lsnn_conv2d_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                         const lsnn_real *w, const lsnn_real *b,
                                         const lsnn_window *s);
LSNN_API lsnn_status lsnn_conv2d_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                          lsnn_real *db, const lsnn_real *dy,
                                          const lsnn_real *x, const lsnn_real *w,
                                          const lsnn_window *s, int add);

/* A convolution whose kernel k reads the input maps that a table lists for it: text, for each
   kernel its maps in rising order, "0,1,2;1,2,3;0-2,5". w M,kh,kw: the M connections in the
   table's order; room: K*C*kh*kw numbers to work in. EVALUE: what is wrong in the table. */
LSNN_API lsnn_status lsnn_table_conv2d_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *room,
                                               const lsnn_real *x, const lsnn_real *w,
                                               const lsnn_real *b, const char *table,
                                               const lsnn_window *s);
LSNN_API lsnn_status lsnn_table_conv2d_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                                lsnn_real *db, lsnn_real *room,
                                                const lsnn_real *dy, const lsnn_real *x,
                                                const lsnn_real *w, const char *table,
                                                const lsnn_window *s, int add);

/* Unshared weights: w OH*OW,C*kh*kw,K   b K,OH,OW (NULL: none)               */
LSNN_API lsnn_status lsnn_local2d_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                          const lsnn_real *w, const lsnn_real *b,
                                          const lsnn_window *s);
LSNN_API lsnn_status lsnn_local2d_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                           lsnn_real *db, const lsnn_real *dy,
                                           const lsnn_real *x, const lsnn_real *w,
                                           const lsnn_window *s, int add);

/* x N,C   w K,C   b K (NULL: none)   y N,K                                   */
LSNN_API lsnn_status lsnn_dense_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                        const lsnn_real *w, const lsnn_real *b, int n, int c,
                                        int k);
LSNN_API lsnn_status lsnn_dense_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                         lsnn_real *db, const lsnn_real *dy,
                                         const lsnn_real *x, const lsnn_real *w, int n, int c,
                                         int k, int add);

/* y[n,k] = -|x[n] - w[k]|^2: x N,C   w K,C: centres   y N,K. LeNet-5's penalties, negative. */
LSNN_API lsnn_status lsnn_rbf_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                      const lsnn_real *w, int n, int c, int k);
LSNN_API lsnn_status lsnn_rbf_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                       const lsnn_real *dy, const lsnn_real *x,
                                       const lsnn_real *w, int n, int c, int k, int add);

/* Data-driven sparse connections: an update rule of their own, no gradients, see >>dsc.
   x N,C,H,W   y N,K,OH,OW   w P,C*kh*kw,K: |w| = 1 - alpha, the sign is the kind   theta P,K:
   the neurons' alpha (NULL with sums); P = OH*OW if unshared, else 1. sum N,OH*OW,K: forward
   keeps it for backward. dy = -D, what y should change by, and so dx; dw and dtheta get -share
   times the rule's change. Plain arrays (s->lanes is not read).               */
typedef struct lsnn_dsc {
    double alpha_max, tau;           /* 0 < tau < alpha_max < 1               */
    double xi, eta;                  /* in (0, 1]                             */
    double share;                    /* 1: the draft's rule, of one neuron and image */
    int unshared;
    int silent;                      /* 1: what is closed to an input stays so */
    int sums;                        /* 1: y is the sum itself                */
} lsnn_dsc;
LSNN_API lsnn_status lsnn_dsc_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *sum,
                                      const lsnn_real *x, const lsnn_real *w,
                                      const lsnn_real *theta, const lsnn_dsc *d,
                                      const lsnn_window *s);
LSNN_API lsnn_status lsnn_dsc_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                       lsnn_real *dtheta, const lsnn_real *dy,
                                       const lsnn_real *x, const lsnn_real *sum,
                                       const lsnn_real *w, const lsnn_real *theta,
                                       const lsnn_dsc *d, const lsnn_window *s, int add);
/* After w and theta have changed: bounds, and connections that switch their kind. */
LSNN_API void lsnn_dsc_project(lsnn_ctx *cx, lsnn_real *w, size_t connections,
                               lsnn_real *theta, size_t neurons, const lsnn_dsc *d);
/* How many of the window's connections pass something of x, N images together.  */
LSNN_API double lsnn_dsc_active(const lsnn_real *x, const lsnn_real *w, const lsnn_dsc *d,
                                const lsnn_window *s);
/* Their corrections, dx = -D of each image. To labels: the right class at 1 or more, the others
   at 0 or less. Lateral depression (Eq. 19): won is 1 where x is larger than all of its
   neighbours by at least beta, else 0. Neighbours: within `places` rows and columns, of all
   maps (maps 0), of those within `maps`, or of the same map (-1).             */
typedef struct lsnn_lateral { double beta; int places, maps; } lsnn_lateral;
LSNN_API lsnn_status lsnn_dsc_loss_forward(lsnn_ctx *cx, double *loss, const lsnn_real *x,
                                           const int *label, int label_stride, int n, int c);
LSNN_API lsnn_status lsnn_dsc_loss_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *x,
                                            const int *label, int label_stride, int n, int c,
                                            int add);
LSNN_API lsnn_status lsnn_dsc_lateral_forward(lsnn_ctx *cx, lsnn_real *won, const lsnn_real *x,
                                              int n, lsnn_shape shape, const lsnn_lateral *l);

/* Elementwise. Backward needs only y, so y may be x itself, and dx may be dy.
   slope: leaky_relu's, positive. LSNN_SCALED_TANH: 1.7159 tanh(2 x / 3), LeNet-5's. */
typedef enum lsnn_act { LSNN_RELU, LSNN_LEAKY_RELU, LSNN_SIGMOID, LSNN_TANH,
    LSNN_SCALED_TANH } lsnn_act;
LSNN_API lsnn_status lsnn_activation_forward(lsnn_ctx *cx, lsnn_act f, lsnn_real *y,
                                             const lsnn_real *x, size_t count, double slope);
LSNN_API lsnn_status lsnn_activation_backward(lsnn_ctx *cx, lsnn_act f, lsnn_real *dx,
                                              const lsnn_real *dy, const lsnn_real *y,
                                              size_t count, double slope, int add);

/* Softmax over C at each of N*I places: x, y N,C,I (I = H*W).                */
LSNN_API lsnn_status lsnn_softmax_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                          int n, int c, int inner);
LSNN_API lsnn_status lsnn_softmax_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                           const lsnn_real *y, int n, int c, int inner,
                                           int add);

/* where (N,C,OH,OW): the input pixel (row*W + column) each maximum came from.
   Average divides by the pixels that lie inside the image, never by padding. A
   window of padding alone gives 0, and its `where` is -1.                    */
LSNN_API lsnn_status lsnn_max_pool_forward(lsnn_ctx *cx, lsnn_real *y, int32_t *where,
                                           const lsnn_real *x, const lsnn_window *s);
LSNN_API lsnn_status lsnn_max_pool_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                            const int32_t *where, const lsnn_window *s,
                                            int add);
LSNN_API lsnn_status lsnn_avg_pool_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                           const lsnn_window *s);
LSNN_API lsnn_status lsnn_avg_pool_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                            const lsnn_window *s, int add);
LSNN_API lsnn_status lsnn_sum_pool_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                           const lsnn_window *s);
LSNN_API lsnn_status lsnn_sum_pool_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                            const lsnn_window *s, int add);

/* y = (sum |x|^p)^(1/p) over a window, padding counts as 0: p is one number, or with p_maps 1
   one a map, each at least 1 (EVALUE). dp: as many, or NULL. Safe at 0 and for large p. */
LSNN_API lsnn_status lsnn_lp_pool_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                          const lsnn_real *p, int p_maps,
                                          const lsnn_window *s);
LSNN_API lsnn_status lsnn_lp_pool_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dp,
                                           const lsnn_real *dy, const lsnn_real *x,
                                           const lsnn_real *y, const lsnn_real *p, int p_maps,
                                           const lsnn_window *s, int add);

/* Zeroes an element with probability `rate`, divides the others by 1 - rate.
   The mask is drawn from `at` again in backward: sample n uses sample
   at->sample + n. lanes: 0, or lsnn_lanes (blocks of images, the same mask).
   y may be x, dx may be dy.                                                  */
LSNN_API lsnn_status lsnn_dropout_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                          int n, int count, int lanes, double rate,
                                          const lsnn_rng *at);
LSNN_API lsnn_status lsnn_dropout_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                           int n, int count, int lanes, double rate,
                                           const lsnn_rng *at, int add);

/* Batch normalisation over N*I values a channel: x, y N,C,I; others C.
   Training writes mean and istd (1 / sqrt(variance + eps)) for backward and
   moves running_mean and running_var (unbiased; both NULL: not kept) by
   `momentum`. Prediction reads the running ones.                             */
LSNN_API lsnn_status lsnn_batch_norm_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *mean,
                                             lsnn_real *istd, lsnn_real *running_mean,
                                             lsnn_real *running_var, const lsnn_real *x,
                                             const lsnn_real *gamma, const lsnn_real *beta,
                                             int n, int c, int inner, double momentum,
                                             double eps);
LSNN_API lsnn_status lsnn_batch_norm_predict(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                             const lsnn_real *gamma, const lsnn_real *beta,
                                             const lsnn_real *running_mean,
                                             const lsnn_real *running_var, int n, int c,
                                             int inner, double eps);
LSNN_API lsnn_status lsnn_batch_norm_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dgamma,
                                              lsnn_real *dbeta, const lsnn_real *dy,
                                              const lsnn_real *x, const lsnn_real *gamma,
                                              const lsnn_real *mean, const lsnn_real *istd,
                                              int n, int c, int inner, int add);

/* y[n,c,i] = x[n,c,i] * g[c] + b[c] (b may be NULL): x, y N,C,I              */
LSNN_API lsnn_status lsnn_scale_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                        const lsnn_real *g, const lsnn_real *b, int n, int c,
                                        int inner);
LSNN_API lsnn_status lsnn_scale_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dg,
                                         lsnn_real *db, const lsnn_real *dy,
                                         const lsnn_real *x, const lsnn_real *g, int n, int c,
                                         int inner, int add);

/* Copies rows: y[n, 0..len) = x[n, 0..len), rows y_stride and x_stride apart.
   Concat and slice are this copy in their two directions.                    */
LSNN_API lsnn_status lsnn_rows_copy(lsnn_ctx *cx, lsnn_real *y, size_t y_stride,
                                    const lsnn_real *x, size_t x_stride, int n, size_t len,
                                    int add);

/* Softmax and cross-entropy in one: x N,C logits, label[n * label_stride] in
   [0, C); p N,C gets the probabilities, loss the mean over N. EVALUE for a
   label out of range. Backward: dx = (p - onehot(label)) * weight / N.       */
LSNN_API lsnn_status lsnn_cross_entropy_forward(lsnn_ctx *cx, double *loss, lsnn_real *p,
                                                const lsnn_real *x, const int *label,
                                                int label_stride, int n, int c);
LSNN_API lsnn_status lsnn_cross_entropy_backward(lsnn_ctx *cx, lsnn_real *dx,
                                                 const lsnn_real *p, const int *label,
                                                 int label_stride, int n, int c, double weight,
                                                 int add);

/* The same with a class more, for what is none of the C: its logit is -j everywhere, so the
   probabilities add up to less than 1. The same backward.                    */
LSNN_API lsnn_status lsnn_cross_entropy_rubbish_forward(lsnn_ctx *cx, double *loss,
                                                        lsnn_real *p, const lsnn_real *x,
                                                        const int *label, int label_stride,
                                                        int n, int c, double j);

/* loss = mean over N*C of (x - t)^2; rows of t are t_stride apart.           */
LSNN_API lsnn_status lsnn_mse_forward(lsnn_ctx *cx, double *loss, const lsnn_real *x,
                                      const lsnn_real *t, int t_stride, int n, int c);
LSNN_API lsnn_status lsnn_mse_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *x,
                                       const lsnn_real *t, int t_stride, int n, int c,
                                       double weight, int add);

/* ---- >>api smoother: LSNN's U(p; theta) -------------------------------------
   y[n,k,p] = sum_l U[n,k,l,p] a[n,k,l,p] + b[k]      (LSNN Eq. 1; l = 1..rank)
   a N,K*rank,H,W is a convolution's output without bias.
   theta, numbers a map: GAUSSIAN mu_x, mu_y, alpha, beta, gamma (Eq. 6);
   GAUSSIAN_SEPARABLE without gamma; GAUSSIAN_1D mu, alpha, for signals (H = 1) or
   for windows on columns; TABLE H*W. A mixture of M > 1 (4.2.1) has M such groups,
   each followed by its logit: U = sum_m w_m G_m, w = softmax(logits).
   One set for all images (K*rank sets), or per_image (N*K*rank sets).
   u gets the maps: K*rank,H,W or N,K*rank,H,W.
   Positions run over [0, 1]: column j is at j / (W - 1), row i at i / (H - 1);
   the first coordinate of p and mu is the column. W = 1 puts it at 0.        */
typedef enum lsnn_smooth_shape {
    LSNN_GAUSSIAN = 0, LSNN_TABLE, LSNN_GAUSSIAN_SEPARABLE, LSNN_GAUSSIAN_1D,
    LSNN_SMOOTH_SHAPE_INT_ = 0x7FFFFFFF
} lsnn_smooth_shape;
typedef enum lsnn_normalise {
    LSNN_NORMALISE_NONE = 0,         /* U as it is                            */
    LSNN_NORMALISE_SUM,              /* U / sum over positions  (LSNN Eq. 8)  */
    LSNN_NORMALISE_MEAN,             /* U / mean over positions               */
    LSNN_NORMALISE_INT_ = 0x7FFFFFFF
} lsnn_normalise;

typedef struct lsnn_smoother {
    int n, k, rank, h, w;            /* rank 0 means 1                        */
    lsnn_smooth_shape shape;
    int mixture;                     /* Gaussians a map, 0 -> 1; TABLE: 1     */
    lsnn_normalise normalise;        /* of each Gaussian; a TABLE takes none  */
    int per_image;                   /* theta differs from image to image     */
    int smooth_bias;                 /* y = sum_l U a + (sum_l U) b           */
    int lanes;                       /* 0, or lsnn_lanes: y and a are blocks of images */
} lsnn_smoother;

LSNN_API int lsnn_smoother_theta(const lsnn_smoother *s);   /* numbers a map  */
LSNN_API lsnn_status lsnn_smoother_map(lsnn_ctx *cx, lsnn_real *u, const lsnn_real *theta,
                                       const lsnn_smoother *s);
LSNN_API lsnn_status lsnn_smooth_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *u,
                                         const lsnn_real *a, const lsnn_real *theta,
                                         const lsnn_real *b, const lsnn_smoother *s);
/* dtheta of a per_image smoother belongs to another node: add_theta says whether
   it is added to; free theta is a parameter and is always added to. da may be dy
   if rank is 1.                                                              */
LSNN_API lsnn_status lsnn_smooth_backward(lsnn_ctx *cx, lsnn_real *da, lsnn_real *dtheta,
                                          lsnn_real *db, const lsnn_real *dy,
                                          const lsnn_real *a, const lsnn_real *u,
                                          const lsnn_real *theta, const lsnn_real *b,
                                          const lsnn_smoother *s, int add, int add_theta);

/* ---- >>api net: a graph of layers -------------------------------------------
   Build it from top to bottom: a call that adds a layer takes nodes made before
   and returns a new node's number, or -1 after a failure (a call given -1
   passes it on, so one check at lsnn_net_build is enough).                   */
typedef struct lsnn_net lsnn_net;

typedef enum lsnn_init {
    LSNN_INIT_HE = 0, LSNN_INIT_GLOROT, LSNN_INIT_ZERO, LSNN_INIT_INT_ = 0x7FFFFFFF
} lsnn_init;

/* Zero, where a 0 means the usual value: o.loss_weight = LSNN_ZERO (learned from by nobody, but
   evaluated), o.momentum = LSNN_ZERO (running statistics that stay), o.lr_factor = LSNN_ZERO
   (parameters that stay, and still have gradients). A number too small to change any.  */
#define LSNN_ZERO 1e-300

/* lp_pool's p: as the option norm says; or learned from there on, one a layer or a map. */
typedef enum lsnn_learn_norm {
    LSNN_NORM_FIXED = 0, LSNN_NORM_OF_LAYER, LSNN_NORM_OF_MAP, LSNN_NORM_INT_ = 0x7FFFFFFF
} lsnn_learn_norm;

/* Everything optional about a layer; all zero is the default. A field that the
   layer's type does not read must stay zero (EVALUE names it).               */
typedef struct lsnn_options {
    const char *name;                /* default: type and a number, "conv2d1" */
    const char *share;               /* use the parameters and running statistics of that */
                                     /*   layer: one of the same type, all sizes alike */
    int keep;                        /* 1: the output stays readable          */
    /* parameters */
    lsnn_init init;                  /* of the weights; biases begin at 0     */
    double init_scale;               /* 0 -> 1: multiplies the drawn weights  */
    double lr_factor;                /* 0 -> 1: times the learning rate       */
    int freeze;                      /* 1: the optimizer leaves them alone    */
    int no_decay;                    /* 1: weights get no weight decay        */
    int no_bias;                     /* conv2d, local2d, dense, scale, smooth */
    /* windows: conv2d, local2d, poolings */
    int filters;                     /* kernels; dense: outputs (set by the call) */
    int kernel_h, kernel_w;          /* set by the call; here to be not square */
    int stride_h, stride_w;          /* 0 -> 1, pooling: the kernel; w 0 -> h */
    lsnn_padding padding;
    int pad_top, pad_left, pad_bottom, pad_right;    /* for LSNN_EXPLICIT     */
    /* single types */
    double slope;                    /* leaky_relu: 0 -> 0.01                 */
    double rate;                     /* dropout (set by the call)             */
    double momentum;                 /* batch_norm: 0 -> 0.1                  */
    double eps;                      /* batch_norm: 0 -> 1e-5                 */
    int first, count;                /* slice: channels (set by the call)     */
    int head;                        /* losses: label column; mse: first target */
    double loss_weight;              /* losses: 0 -> 1                        */
    double rubbish;                  /* cross_entropy: a class more, of logit -rubbish */
    double norm;                     /* lp_pool: p, at least 1; 0 -> 2        */
    lsnn_learn_norm learn_norm;
    const char *table;               /* table_conv2d (set by the call)        */
    lsnn_smooth_shape smooth_shape;  /* smooth                                */
    lsnn_normalise normalise;
    int rank, mixture;               /* smooth: 0 -> 1                        */
    int smooth_bias;
    double dsc_alpha_max, dsc_tau;   /* dsc_...: 0 -> 0.9, 0.5                */
    double dsc_xi, dsc_eta;          /* 0 -> 0.3, 0.5                         */
    double dsc_theta;                /* the neurons' first alpha: 0 -> 0.1    */
    double dsc_spread;               /* first connections: alpha in the upper part, so large, of */
                                     /*   [0, alpha_max - tau]; 0 -> 0.25     */
    int dsc_silent, dsc_sums;        /* see lsnn_dsc                          */
    double dsc_beta;                 /* dsc_lateral                           */
    int dsc_places, dsc_maps;
    double custom[4];                /* types of your own: "custom0", "custom1", ... */
} lsnn_options;

LSNN_API lsnn_net *lsnn_net_new(lsnn_ctx *cx);          /* NULL: ENOMEM       */
LSNN_API void lsnn_net_free(lsnn_net *net);             /* NULL is fine       */

LSNN_API int lsnn_input(lsnn_net *net, int c, int h, int w);   /* one a net   */
LSNN_API int lsnn_conv2d(lsnn_net *net, int x, int filters, int kernel, const lsnn_options *o);
/* A conv2d with kernels of 1 x kernel, for signals: C x 1 x W.               */
LSNN_API int lsnn_conv1d(lsnn_net *net, int x, int filters, int kernel, const lsnn_options *o);
/* Kernels that read only some maps each: table as lsnn_table_conv2d_forward has it. The net
   keeps a copy.                                                              */
LSNN_API int lsnn_table_conv2d(lsnn_net *net, int x, const char *table, int kernel,
                               const lsnn_options *o);
LSNN_API int lsnn_local2d(lsnn_net *net, int x, int filters, int kernel, const lsnn_options *o);
LSNN_API int lsnn_dense(lsnn_net *net, int x, int outputs, const lsnn_options *o);
/* Distances to `outputs` centres, which begin at random corners of [-1, 1]^C; freeze: they
   are a buffer, all 0, for lsnn_net_set.                                     */
LSNN_API int lsnn_rbf(lsnn_net *net, int x, int outputs, const lsnn_options *o);
/* Data-driven sparse connections: dense, shared and unshared windows. They learn by plain SGD
   alone, at an lr of at most 1, which is the rule itself. dsc_loss learns from labels, and is
   scored as cross_entropy is; dsc_lateral from nothing but who wins, which is its output. */
LSNN_API int lsnn_dsc_dense(lsnn_net *net, int x, int outputs, const lsnn_options *o);
LSNN_API int lsnn_dsc_conv2d(lsnn_net *net, int x, int filters, int kernel,
                             const lsnn_options *o);
LSNN_API int lsnn_dsc_local2d(lsnn_net *net, int x, int filters, int kernel,
                              const lsnn_options *o);
LSNN_API int lsnn_dsc_loss(lsnn_net *net, int x, const lsnn_options *o);
LSNN_API int lsnn_dsc_lateral(lsnn_net *net, int x, const lsnn_options *o);
LSNN_API int lsnn_relu(lsnn_net *net, int x, const lsnn_options *o);
LSNN_API int lsnn_leaky_relu(lsnn_net *net, int x, const lsnn_options *o);
LSNN_API int lsnn_sigmoid(lsnn_net *net, int x, const lsnn_options *o);
LSNN_API int lsnn_tanh(lsnn_net *net, int x, const lsnn_options *o);
LSNN_API int lsnn_scaled_tanh(lsnn_net *net, int x, const lsnn_options *o);
LSNN_API int lsnn_softmax(lsnn_net *net, int x, const lsnn_options *o);   /* over channels */
/* kernel 0 pools over the whole map; stride 0 is the kernel. Of equal maxima the first, in the
   order of rows, gets the gradient. Averages count the pixels inside the image.   */
LSNN_API int lsnn_max_pool(lsnn_net *net, int x, int kernel, const lsnn_options *o);
LSNN_API int lsnn_avg_pool(lsnn_net *net, int x, int kernel, const lsnn_options *o);
LSNN_API int lsnn_sum_pool(lsnn_net *net, int x, int kernel, const lsnn_options *o);
LSNN_API int lsnn_lp_pool(lsnn_net *net, int x, int kernel, const lsnn_options *o);
LSNN_API int lsnn_dropout(lsnn_net *net, int x, double rate, const lsnn_options *o);
/* A training batch of one value a channel has no spread: y = beta, and the running variance
   moves towards 0. Feed such a batch with training 0, or none.               */
LSNN_API int lsnn_batch_norm(lsnn_net *net, int x, const lsnn_options *o);
LSNN_API int lsnn_scale(lsnn_net *net, int x, const lsnn_options *o);     /* begins at g = 1 */
/* Two branches: make them in statements of their own. C does not say which argument of
   lsnn_add(net, f(net, x), g(net, x), NULL) is made first, and default names ("conv2d2"), so
   first values and files, go by the order in which layers are made.          */
LSNN_API int lsnn_add(lsnn_net *net, int a, int b, const lsnn_options *o);
LSNN_API int lsnn_concat(lsnn_net *net, const int *x, int count, const lsnn_options *o);
LSNN_API int lsnn_slice(lsnn_net *net, int x, int first, int count, const lsnn_options *o);
LSNN_API int lsnn_flatten(lsnn_net *net, int x, const lsnn_options *o);
/* theta: a node with (numbers a map)*K*rank features (LSNN-Content), or LSNN_FREE:
   the layer has its own (LSNN-Location, AR); they begin at mu ~ U(0.2, 0.8),
   alpha = beta = 1.5, gamma = 0, equal weights, a table at 1. The maps are
   readable as "NAME.map".                                                    */
enum { LSNN_FREE = -2 };
LSNN_API int lsnn_smooth(lsnn_net *net, int a, int theta, const lsnn_options *o);
/* Losses. cross_entropy reads scores, C x H x W of them as one class each, and its output is
   their softmax; mse's output is its input. The first cross_entropy of each head (label
   column) is what lsnn_evaluate scores; further ones are learned from only.  */
LSNN_API int lsnn_cross_entropy(lsnn_net *net, int x, const lsnn_options *o);
LSNN_API int lsnn_mse(lsnn_net *net, int x, const lsnn_options *o);

/* A layer type of your own: four functions and a name. See >>custom. What plan fills in is
   checked once, by lsnn_layer, and trusted from there on. A function that returns a status
   without lsnn_fail gets a message that names the layer.                     */
enum { LSNN_MAX_INPUTS = 16, LSNN_MAX_PARAMS = 4 };
typedef struct lsnn_param_spec {     /* a parameter, a buffer or a kept array */
    const char *name;                /* "weight": becomes "LAYER.weight"      */
    size_t count;                    /* 0, or the product of dim: the net computes it */
    int rank, dim[4];                /* 0 to 4 sizes, each at least 1         */
    int fan_in, fan_out;             /* for He and Glorot; 0: begins at `value` */
    double value;
    int no_decay;                    /* 1: no weight decay (biases, ...)      */
} lsnn_param_spec;
/* What the net may do with a layer, or-ed together. None of them is always right. */
enum {
    LSNN_IN_PLACE = 1,               /* y may be x and dx dy: backward never reads x */
    LSNN_DX_IN_PLACE = 2,            /* dx[0] may be dy                       */
    LSNN_X_FREE = 4,                 /* backward never reads x: others may overwrite it */
    LSNN_Y_FREE = 8,                 /* backward never reads y                */
    LSNN_IS_LOSS = 16,               /* ends a path and writes call.loss      */
    LSNN_CLASSIFIES = 32,            /* a loss whose y says how likely each class is; */
                                     /*   option head: the label's column     */
    LSNN_BLOCKS = 64,                /* takes x[0] and y in blocks of call.lanes images */
    LSNN_BLOCKS_ALL = 128,           /* takes all arrays so, and follows its inputs */
    LSNN_REHEARSES = 256,            /* lsnn_net_build may call it on zeros while */
                                     /*   lsnn_parallel does nothing, so that the ops it */
                                     /*   calls take their working memory then */
    /* work that one layer does for a neighbour on the way, see call.does     */
    LSNN_IS_RELU = 512,              /* y = max(x, 0)                         */
    LSNN_RELU_AFTER = 1024,          /* does a relu of its y                  */
    LSNN_RELU_BEFORE = 2048,         /* does a relu of its x                  */
    LSNN_IS_MAX2 = 4096,             /* y: the largest of 2 x 2 pixels of x, side by side */
    LSNN_MAX2_AFTER = 8192,          /* does that with its y, its own y is not written */
    LSNN_CROPS = 16384,              /* makes fewer rows and columns of y if plan.out says so */
    LSNN_JOINS = 32768,              /* y: the channels of its inputs, one after another */
    LSNN_READS_PARTS = 65536,        /* reads such a y as the inputs it is made of: */
                                     /*   plan.inputs of them                 */
    LSNN_OWN_RULE = 131072           /* dparam is no gradient but a rule's step: only SGD  */
};                                   /*   without momentum, at an lr up to 1, takes it */
enum { LSNN_DO_RELU = 1, LSNN_DO_MAX2 = 2 };

typedef struct lsnn_layer_plan {     /* what `plan` reads and fills           */
    int inputs;
    lsnn_shape in[LSNN_MAX_INPUTS];  /* given                                 */
    lsnn_options o;                  /* given; plan puts defaults where 0 is  */
    int traits;                      /* given: the type's; plan takes out what does */
                                     /*   not hold for these sizes            */
    lsnn_shape out;
    int reads_h, reads_w;            /* rows and columns of in[0] that it reads; 0: all */
    lsnn_param_spec param[LSNN_MAX_PARAMS];  int params;
    lsnn_param_spec buffer[LSNN_MAX_PARAMS]; int buffers;
    size_t keep_per_image;           /* lsnn_reals kept from forward for backward */
    size_t keep_fixed;               /*   or so many for the whole batch      */
    const char *keep_name;           /* NULL, or readable as "LAYER.keep_name" */
    lsnn_shape keep_shape;           /*   of an image's part or of the fixed one */
    double macs;                     /* multiply-adds an image                */
    double connections[2];           /* an image's: units with what they read, with biases */
} lsnn_layer_plan;
typedef struct lsnn_call {           /* what forward and backward work on     */
    const lsnn_layer_plan *plan;
    int n, training;                 /* images in this batch                  */
    int lanes;                       /* 0: plain arrays; else see lsnn_interleave */
    int does;                        /* LSNN_DO_...: a neighbour's work, on the way */
    const lsnn_real *x[LSNN_MAX_INPUTS];
    lsnn_real *y;
    lsnn_real *dy;                   /* written only by LSNN_RELU_AFTER's backward */
    lsnn_real *dx[LSNN_MAX_INPUTS];  /* NULL: not wanted                      */
    int add[LSNN_MAX_INPUTS];        /* LSNN_SET or LSNN_ADD, per dx: of the readers of an */
                                     /*   output that take it in one layout, the first to */
                                     /*   run in backward sets and the others add; where */
                                     /*   readers take both layouts there are two firsts. So */
                                     /*   which it is may differ from batch to batch: do */
                                     /*   what `add` says                     */
    const lsnn_real *param[LSNN_MAX_PARAMS];
    lsnn_real *dparam[LSNN_MAX_PARAMS];      /* add to these; NULL: frozen    */
    lsnn_real *buffer[LSNN_MAX_PARAMS];
    lsnn_real *keep;
    int total;                       /* images of the batch that this may be a part of */
    int *kept;                       /* 0 until forward sets it, and again when parameters */
                                     /*   have changed: what `keep` holds is still right */
    const int *labels; int heads;    /* N x heads, NULL when predicting       */
    const lsnn_real *targets; int target_count;
    double loss;                     /* a loss layer writes it, weight included */
    lsnn_rng rng;                    /* at this layer's name, step, first sample */
} lsnn_call;
typedef struct lsnn_projection {     /* what `project` works on               */
    const lsnn_layer_plan *plan;
    lsnn_real *param[LSNN_MAX_PARAMS];       /* NULL: frozen. A layer that shares another's */
    lsnn_real *buffer[LSNN_MAX_PARAMS];      /*   is not asked: that one is   */
    uint32_t step;                   /* steps made, with this one             */
    double lr;                       /* this one's learning rate              */
} lsnn_projection;
typedef struct lsnn_layer_type {
    const char *name;
    const char *options;             /* the option fields it reads, "stride_h custom0" */
    int min_inputs, max_inputs;
    int traits;                      /* LSNN_IN_PLACE, ... or 0               */
    lsnn_status (*plan)(lsnn_ctx *cx, lsnn_layer_plan *p);
    lsnn_status (*forward)(lsnn_ctx *cx, lsnn_call *c);
    lsnn_status (*backward)(lsnn_ctx *cx, lsnn_call *c);
    /* NULL, or draws the first values of parameter number i                  */
    void (*init)(const lsnn_layer_plan *p, int i, lsnn_real *v, lsnn_rng *rng);
    /* NULL, or run after each step of an optimizer: brings parameters back to where they may
       be, or changes them by a rule that is no gradient                      */
    lsnn_status (*project)(lsnn_ctx *cx, const lsnn_projection *p);
} lsnn_layer_type;
LSNN_API int lsnn_layer(lsnn_net *net, const lsnn_layer_type *type, const int *x, int count,
                        const lsnn_options *o);

/* Allocates all memory for batches of up to `batch` images and draws the first
   parameters. A step allocates nothing after it (see MEMORY in the manual).  */
typedef struct lsnn_build_desc {
    int batch;                       /* 0 -> 64                               */
    uint64_t seed;                   /* first parameters, dropout, data order */
    int predict_only;                /* no gradients: less memory, no training */
    int profile;                     /* 1: keeps time, for lsnn_net_profile   */
} lsnn_build_desc;
LSNN_API lsnn_status lsnn_net_build(lsnn_net *net, const lsnn_build_desc *d);
/* A line a layer: shape, parameters, multiply-adds, connections (what its units read + their
   biases, "by" how many weights + biases: shared ones count each time), how it is run. */
LSNN_API void lsnn_net_summary(const lsnn_net *net, FILE *out);
/* What each layer has cost since the net was built with `profile`: milliseconds a batch,
   share, operations (a multiply-add is two) and GFLOPS, forward and backward. ESTATE if it
   was built without.                                                         */
LSNN_API lsnn_status lsnn_net_profile(const lsnn_net *net, FILE *out);
LSNN_API size_t lsnn_net_params(const lsnn_net *net);   /* how many numbers   */
LSNN_API double lsnn_net_macs(const lsnn_net *net);     /* multiply-adds an image */
LSNN_API lsnn_shape lsnn_net_shape(const lsnn_net *net, int node);
LSNN_API int lsnn_net_node(const lsnn_net *net, const char *name);  /* -1: none */
LSNN_API int lsnn_net_output(const lsnn_net *net);      /* what lsnn_predict returns:
                                     the first loss's input, else the last node */
LSNN_API void lsnn_net_set_output(lsnn_net *net, int node);  /* before build  */

/* One batch. x: N x input shape. labels: N x heads, needed by cross_entropy.
   targets: N x target_count, needed by mse. All stay the caller's, and must stay as
   they are until lsnn_backward is done.                                      */
typedef struct lsnn_batch {
    int n;
    const lsnn_real *x;
    const int *labels; int heads;
    const lsnn_real *targets; int target_count;
    uint32_t step;                   /* addresses dropout's draws. 0: as many steps as an */
                                     /*   optimizer of this net has made      */
    /* A batch that is fed in parts, a forward and a backward each: */
    uint32_t sample;                 /* this part's first image, counted in the whole; and how */
    int total;                       /*   many images that has: losses are means over all of */
} lsnn_batch;                        /*   them. 0: it is whole                */
/* *loss (may be NULL): the sum of the losses, weights included; of a part, its share of the
   whole batch's. training 1: lsnn_backward
   may follow, dropout draws, batch_norm uses the batch; 0 without labels and targets: only
   what the output needs is run. EDIVERGED: x holds a NaN or an infinity (nothing was done
   then, and the message names the sample), or the loss is not finite.        */
LSNN_API lsnn_status lsnn_forward(lsnn_net *net, const lsnn_batch *b, int training,
                                  double *loss);
LSNN_API lsnn_status lsnn_backward(lsnn_net *net);  /* adds to gradients; once a forward */
LSNN_API void lsnn_zero_grad(lsnn_net *net);
/* y: N x output shape; any N. Softmax is not applied to logits. EDIVERGED: x or y holds a NaN or
   an infinity; the message names the sample.                                 */
LSNN_API lsnn_status lsnn_predict(lsnn_net *net, const lsnn_real *x, int n, lsnn_real *y);

/* By name: "conv2d1.weight" (parameter or buffer), "grad:conv2d1.weight", "smooth1.map";
   "conv2d1", the output in the last forward (its n images), of what is kept, the net's
   output, the losses and what they read; "grad:conv2d1" of what is kept. dim (may be NULL)
   gets up to 4 sizes. `count` must be exact. ENAME, ESHAPE; ESTATE: not kept.  */
LSNN_API lsnn_status lsnn_net_dims(lsnn_net *net, const char *name, int *rank, int dim[4]);
LSNN_API lsnn_status lsnn_net_get(lsnn_net *net, const char *name, lsnn_real *v, size_t count);
LSNN_API lsnn_status lsnn_net_set(lsnn_net *net, const char *name, const lsnn_real *v,
                                  size_t count);
/* The table of parameters (kind 0) and buffers (kind 1): name of number i, NULL
   past the end.                                                              */
LSNN_API const char *lsnn_net_param_name(const lsnn_net *net, int kind, int i, size_t *count);

/* A workspace lets another thread predict with a net that nobody is changing:
   one context and one workspace a thread.                                    */
typedef struct lsnn_work lsnn_work;
LSNN_API lsnn_work *lsnn_work_new(lsnn_ctx *cx, const lsnn_net *net, int batch);
LSNN_API void lsnn_work_free(lsnn_work *w);
LSNN_API lsnn_status lsnn_work_predict(lsnn_work *w, const lsnn_real *x, int n, lsnn_real *y);

/* ---- >>api data: where samples come from ------------------------------------
   A data set is a function that writes sample `index` as it looks in `epoch`;
   it is called from several threads at once. x: the shape's numbers; labels: `heads`,
   NULL if that is 0; targets: `target_count`, NULL if that is 0.             */
typedef struct lsnn_data {
    int count;                       /* samples                               */
    lsnn_shape shape;
    int heads, classes;              /* labels a sample, each in [0, classes) */
    int target_count;                /* real targets a sample (mse), or 0     */
    void (*fetch)(const void *user, uint32_t epoch, int index, lsnn_real *x, int *labels,
                  lsnn_real *targets);
    const void *user;
    void *owned_; lsnn_allocator mem_;   /* private                            */
} lsnn_data;
LSNN_API void lsnn_data_free(lsnn_data *d);
/* Your own arrays, which must outlive d. labels: count x heads. heads may be 0
   and labels NULL: samples without labels, to predict with.                  */
LSNN_API lsnn_status lsnn_data_arrays(lsnn_ctx *cx, lsnn_data *d, const lsnn_real *x,
                                      const int *labels, int count, lsnn_shape shape,
                                      int heads, int classes);
/* Samples [first, first + count) of another set, which must outlive this one. */
LSNN_API lsnn_status lsnn_data_part(lsnn_ctx *cx, lsnn_data *d, const lsnn_data *whole,
                                    int first, int count);

/* A random split, the same for the same seed: `count` samples are held out, the others kept,
   each in the order of the whole, which must outlive both. group: NULL, or a number a
   sample; groups stay together (more than count are then held out). EVALUE if none is left. */
LSNN_API lsnn_status lsnn_data_split(lsnn_ctx *cx, lsnn_data *kept, lsnn_data *held,
                                     const lsnn_data *whole, const int *group, int count,
                                     uint64_t seed);

/* IDX files (MNIST's format), unsigned bytes, rank 1 to 4. With LSNN_USE_ZLIB
   the reader takes .gz too (else EUNSUPPORTED). Where x-idx3-ubyte is missing it tries
   x-idx3-ubyte.gz, x.idx3-ubyte and x.idx3-ubyte.gz, as unpackers call them; first of all, a
   folder x-idx3-ubyte that holds the file.                                   */
typedef struct lsnn_idx {
    int rank, dim[4];
    unsigned char *v;                /* product of dim bytes                  */
} lsnn_idx;
LSNN_API lsnn_status lsnn_idx_read(lsnn_ctx *cx, lsnn_idx *a, const char *path);
LSNN_API lsnn_status lsnn_idx_write(lsnn_ctx *cx, const lsnn_idx *a, const char *path);
LSNN_API void lsnn_idx_free(lsnn_ctx *cx, lsnn_idx *a);
/* Images (N,H,W or N,C,H,W; pixel / 255) and labels (N or N,heads), which must
   outlive d. Counts and label range are checked.                             */
LSNN_API lsnn_status lsnn_data_idx(lsnn_ctx *cx, lsnn_data *d, const lsnn_idx *images,
                                   const lsnn_idx *labels, int classes);

/* ---- >>api sets: other people's data sets, from their own files -------------
   A reader adds its file's samples to s, which is all zero before the first and freed by
   lsnn_set_free; after a failure s is as it was. EIO, EFORMAT, EVALUE, EUNSUPPORTED: the
   message names the file, the field and what it should be. Files may be .gz as above. */
typedef struct lsnn_set {
    lsnn_idx images, labels;         /* N,C,H,W and N, bytes: for lsnn_idx_write, too */
    int classes;
    int *group;                      /* NULL, or N: equal for pictures of one thing (a track */
                                     /*   of GTSRB), for lsnn_data_split; each negative one */
                                     /*   is of a picture alone               */
} lsnn_set;
/* CIFAR's binary files, 3x32x32. classes 10: CIFAR-10; 100, 20: CIFAR-100, its fine or its
   coarse labels; else as CIFAR-10: GTSRB in packed records has 43.           */
LSNN_API lsnn_status lsnn_cifar_read(lsnn_ctx *cx, lsnn_set *s, const char *path, int classes);
/* SVHN's cropped digits, train_32x32.mat: MATLAB 5 to 7 (not 7.3), packed or not. */
LSNN_API lsnn_status lsnn_svhn_read(lsnn_ctx *cx, lsnn_set *s, const char *path);
/* GTSRB's official files: path is a GT-....csv, its PPM pictures lie beside it. Each whole
   picture, or (box 1) its columns [Roi.X1, Roi.X2) and rows [Roi.Y1, Roi.Y2), is resized to
   side x side: bilinear, not averaged, to the bit as OpenCV's INTER_LINEAR, with which the
   packed records of whole pictures agree.                                    */
LSNN_API lsnn_status lsnn_gtsrb_read(lsnn_ctx *cx, lsnn_set *s, const char *path, int side,
                                     int box);
/* A whole set by its name from the folder of its files, the training or the test part:
   mnist, cifar10, cifar100, cifar20, svhn, gtsrb (packed records or official files), gtsrb-box.
   ENAME: not one of them. lsnn_set_name(i): the names, NULL behind the last. */
LSNN_API lsnn_status lsnn_set_load(lsnn_ctx *cx, lsnn_set *s, const char *name,
                                   const char *folder, int test);
LSNN_API const char *lsnn_set_name(int i);
LSNN_API void lsnn_set_free(lsnn_ctx *cx, lsnn_set *s);
/* As a data set (pixel / 255): s must outlive d.                             */
LSNN_API lsnn_status lsnn_data_set(lsnn_ctx *cx, lsnn_data *d, const lsnn_set *s);

/* The UNBC-McMaster shoulder pain archive, as it is handed out: FOLDER/Images/S/Q/F.png,
   AAM_landmarks/S/Q/F_aam.txt (66 lines: x y), Frame_Labels/PSPI/S/Q/F_facs.txt (0 to 16); and
   FOLDER/frames.txt, the frames to read, a line each, made in AAM_landmarks by
       find . -name '*_aam.txt' | LC_ALL=C sort > ../frames.txt
   Faces are kept as they are in the frames (about 30 KB each), and warped when a sample is drawn
   (TKN 4.1): by the landmarks to a frontal face, 3x48x48, black round it.    */
typedef struct lsnn_pain {
    int count, subjects;             /* frames; persons in frames.txt         */
    int *subject;                    /* of each frame: 0, 1, ...              */
    unsigned char *level;            /* of each frame: the intensity of pain  */
    /* set these after reading: */
    double noise;                    /* landmarks are moved by this standard deviation, in */
                                     /*   pixels of the 48x48; anew in each epoch */
    int flip;                        /* 1: every second face, on average, is mirrored */
    uint64_t seed;
    struct lsnni_faces *faces_; int room_;       /* private                   */
} lsnn_pain;
/* Subjects [first, first + subjects), 0: all from first on (the paper trains on 18 of 25). */
LSNN_API lsnn_status lsnn_pain_read(lsnn_ctx *cx, lsnn_pain *p, const char *folder, int first,
                                    int subjects);
LSNN_API void lsnn_pain_free(lsnn_ctx *cx, lsnn_pain *p);
/* As a data set with one target, for mse. p must outlive d.                  */
LSNN_API lsnn_status lsnn_data_pain(lsnn_ctx *cx, lsnn_data *d, const lsnn_pain *p);

/* ---- >>api recipes: the data sets of the source documents -------------------
   digits     28x28 handwritten-like digits, drawn here from stroke models
   cluttered  LSNN 5.1: 84x84, a digit at a uniform place, 32 crops of 6x6
   arrow      LSNN 5.2: 84x84, digits in two of the corners, and in the middle an
              arrow that points to the labelled one
   rectangle  LSNN 5.2: 84x84, two digits at uniform places that do not overlap,
              and a frame round the labelled one
   sequence   LSNN 5.3: 100x100, three digits side by side on a line of -45 to 45
              degrees, 8 crops of 6x6; three labels, from left to right
   tlmnist    TKN 4.1: 56x56, the labelled digit in the top left 28x28, others in the other
              three quadrants
   Cluttered to sequence are reduced to 42x42. What LSNN leaves open, as we read it:
   clutter is added and clipped at 255; an output pixel is the mean over the area
   it covers; the arrow is 20x20 and lies anywhere in the middle 28x28; the frame
   is 2 pixels wide; the lines of a sequence rise by a uniform number of pixels.
   The label is that of the sample's own image (sequence: the first label); the
   other digits are drawn from the recipe's images too, with replacement.     */
typedef enum lsnn_task { LSNN_TASK_DIGITS = 0, LSNN_TASK_CLUTTERED, LSNN_TASK_ARROW,
    LSNN_TASK_RECTANGLE, LSNN_TASK_SEQUENCE, LSNN_TASK_TLMNIST, LSNN_TASK_COUNT_,
    LSNN_TASK_INT_ = 0x7FFFFFFF } lsnn_task;
typedef struct lsnn_recipe {
    lsnn_task task;
    uint64_t seed;
    int test;                        /* 1: the test set's draws               */
    const lsnn_idx *images, *labels; /* N x 28 x 28 digits to place           */
    const lsnn_idx *crops;           /* training images: clutter is cut from them */
    int fresh;                       /* 1: drawn anew each epoch              */
    int first, count;                /* images [first, first + count), no others: */
                                     /*   0 -> all from first on (digits: needed) */
    int classes;                     /* of the labels, at most 256; 0 -> 10, or as many as */
                                     /*   they have (letters: 26): give training and test */
                                     /*   set the same                        */
} lsnn_recipe;
typedef struct lsnn_place { int x, y, w, h; } lsnn_place;   /* in output pixels */
LSNN_API const char *lsnn_task_name(lsnn_task t);
LSNN_API lsnn_task lsnn_task_from_name(const char *name);   /* COUNT_ if unknown */
LSNN_API lsnn_shape lsnn_task_shape(lsnn_task t);
LSNN_API int lsnn_task_heads(lsnn_task t);                  /* labels a sample */
LSNN_API int lsnn_task_digits(lsnn_task t);                 /* digits, the labelled first */
/* Checks a recipe: ESHAPE, EVALUE.                                           */
LSNN_API lsnn_status lsnn_recipe_check(lsnn_ctx *cx, const lsnn_recipe *r);
/* Draws sample `index`, the image first + index, as bytes; `heads` labels; and
   where its digits lie, rounded outwards (place: lsnn_task_digits, or NULL).
   pixels: those of lsnn_task_shape. r must have passed lsnn_recipe_check.    */
LSNN_API void lsnn_recipe_draw(const lsnn_recipe *r, uint32_t epoch, int index,
                               unsigned char *pixels, unsigned char *labels, lsnn_place *place);
/* As a data set: r, and the arrays it points to, must outlive d.             */
LSNN_API lsnn_status lsnn_data_recipe(lsnn_ctx *cx, lsnn_data *d, const lsnn_recipe *r);
/* One built-in digit, 28x28, 0 black to 255 white, centred as MNIST's are. Outside of 0..9
   it draws a 0.                                                              */
LSNN_API void lsnn_digit_draw(lsnn_rng *r, int digit, unsigned char *pixels);

/* ---- >>api training ---------------------------------------------------------*/
typedef enum lsnn_method {
    LSNN_SGD = 0, LSNN_ADAM, LSNN_ADAMW, LSNN_METHOD_INT_ = 0x7FFFFFFF
} lsnn_method;
/* The learning rate of step t, counted from 0: lr (t + 1) / W while t < W = warmup_steps, then
   constant: lr; step: lr step_factor^floor(t / step_every); milestones: lr step_factor^(how
   many <= t); cosine: lr (1 + cos(pi (t - W) / (total_steps - W))) / 2.       */
typedef enum lsnn_schedule {
    LSNN_CONSTANT = 0, LSNN_STEP, LSNN_COSINE, LSNN_MILESTONES,
    LSNN_SCHEDULE_INT_ = 0x7FFFFFFF
} lsnn_schedule;
enum { LSNN_MAX_MILESTONES = 8 };
typedef struct lsnn_optimizer_desc {
    lsnn_method method;
    double lr;                       /* 0 -> 0.01 (SGD), 0.001 (Adam, AdamW)  */
    double momentum;                 /* SGD: v = momentum v + g; w -= lr v    */
    int nesterov;                    /* SGD: w -= lr (g + momentum v)         */
    double one_minus_beta1;          /* Adam: 0 -> 0.1                        */
    double one_minus_beta2;          /* Adam: 0 -> 0.001                      */
    double eps;                      /* Adam: 0 -> 1e-8                       */
    double weight_decay;             /* SGD, Adam: g += wd w; AdamW: w -= lr wd w */
    double clip_norm;                /* 0 -> off: longest gradient            */
    lsnn_schedule schedule;
    int warmup_steps;                /* lr rises linearly over these first    */
    int total_steps;                 /* cosine: where lr reaches 0 (fit sets it) */
    int step_every;                  /* step: multiply by step_factor so often */
    double step_factor;              /* 0 -> 0.1                              */
    int milestones[LSNN_MAX_MILESTONES];     /* milestones: multiply by step_factor at each of */
                                     /*   these steps; they rise, 0 ends them */
} lsnn_optimizer_desc;
typedef struct lsnn_optimizer lsnn_optimizer;
LSNN_API lsnn_optimizer *lsnn_optimizer_new(lsnn_net *net, const lsnn_optimizer_desc *d);
LSNN_API void lsnn_optimizer_free(lsnn_optimizer *o);
/* Learning rate at step t = 0, 1, ...                                        */
LSNN_API double lsnn_optimizer_lr(const lsnn_optimizer_desc *d, uint32_t step);
/* Applies the gradients, then zeroes them. EDIVERGED if they are not finite. */
LSNN_API lsnn_status lsnn_optimizer_step(lsnn_optimizer *o);

typedef struct lsnn_progress {
    int epoch, epochs;               /* from 0; epoch_done: just finished     */
    int step, steps;                 /* within the epoch                      */
    int epoch_done;
    double loss, error;              /* means over this epoch so far; error in % */
    double lr, seconds, images_per_s;        /* seconds since this lsnn_fit began */
    double valid_loss, valid_error;  /* at epoch_done, if there is a valid set */
    int best_epoch;                  /* the best so far, -1: none             */
    double best;                     /*   its valid_error; without classes its valid_loss */
} lsnn_progress;
typedef struct lsnn_fit_desc {
    int epochs;                      /* 0 -> 1                                */
    lsnn_optimizer_desc optimizer;
    int milestones[LSNN_MAX_MILESTONES];     /* the optimizer's, in epochs: 10 changes the rate */
                                     /*   after 10 epochs, and sets the schedule */
    const lsnn_data *valid;          /* evaluated after each epoch            */
    int keep_best;                   /* 1: at the end the net is that of the best epoch: of */
                                     /*   least valid_error (without classes: valid_loss), */
                                     /*   of equals the first                 */
    int patience;                    /* end after so many epochs in a row that were not the */
                                     /*   best; 0 -> never                    */
    int (*progress)(const lsnn_progress *p, void *user);   /* non-zero: stop  */
    void *user;
    const char *save;                /* checkpoint file                       */
    int save_every;                  /* steps; 0 -> at the end of each epoch  */
    const char *resume;              /* checkpoint to go on from              */
    const char *note;                /* saved with it, perhaps what the data are: a */
                                     /*   resume with another note is refused */
    int keep_order;                  /* 1: do not shuffle                     */
    lsnn_progress *last;             /* gets the last progress                */
} lsnn_fit_desc;
/* Returns STOPPED if progress asked for it (a checkpoint is written first), OK if patience
   ran out. A checkpoint loads as the net that was trained last; the best one lies in it, too,
   for a resume: save the net that lsnn_fit leaves to have it in a file. Each call
   begins with epoch 0 and a new optimizer, so two calls of one epoch see the same order
   and the same fresh drawings twice: ask for two epochs, or resume.          */
LSNN_API lsnn_status lsnn_fit(lsnn_net *net, const lsnn_data *train, const lsnn_fit_desc *d);

enum { LSNN_MAX_HEADS = 8 };
typedef struct lsnn_score {
    double loss;
    double error;                    /* %: mean over heads                    */
    double whole_error;              /* %: samples with any head wrong        */
    double head_error[LSNN_MAX_HEADS];
    int *confusion;                  /* set before: classes x classes, [truth][guess] */
    double *class_error;             /* set before, with confusion: classes, in % */
} lsnn_score;
/* In the data's order, as in epoch 0. The largest score is the guess, the first of equal
   ones, as with lsnn_predict's scores. s: all zero, then confusion and class_error set if
   wanted (a class without samples: 0). ESTATE without a loss, ESHAPE if the data do not
   fit.                                                                       */
LSNN_API lsnn_status lsnn_evaluate(lsnn_net *net, const lsnn_data *data, lsnn_score *s);

/* ---- >>api files ------------------------------------------------------------
   safetensors; the graph is in the metadata. Written to PATH.tmp (or, where that name is
   taken or too long, to another in the folder), synced, then renamed over PATH, so that PATH
   is always whole; it is a new file, in place of a link, too, of the old one's mode, owner
   and group. EIO if that is read-only, or if another program is saving to the same path (not
   on Windows). A path of NULL: EVALUE.                                       */
typedef struct lsnn_pair { const char *key, *value; } lsnn_pair;
LSNN_API lsnn_status lsnn_net_save(lsnn_net *net, const char *path);
/* Builds the file's net. types: your own layer types, if it uses any.        */
LSNN_API lsnn_net *lsnn_net_load(lsnn_ctx *cx, const char *path, const lsnn_build_desc *d,
                                 const lsnn_layer_type *const *types, int count);
/* Reads parameters and buffers into a net of the same names and shapes. ESTATE if the
   file has a graph, and a layer of a name differs in its type or in an option that
   prediction depends on; EFORMAT if a file with a graph has more than the net. One without,
   from elsewhere, may have more.                                             */
LSNN_API lsnn_status lsnn_net_read(lsnn_net *net, const char *path);
/* The same from other people's files, or from a part of another net. The file must have all
   that the net has, unless it is `partial`, and may have more. Where nothing at all fits:
   EFORMAT. On failure the net is as it was. d NULL: lsnn_net_read.           */
typedef struct lsnn_read_desc {
    const lsnn_pair *names;          /* key: a parameter or buffer of the net, value: what */
    int name_count;                  /*   the file calls it, or NULL: not from the file; */
                                     /*   names that are not listed are the same in both */
    int partial;                     /* 1: takes what has the name, the sizes and, in a file */
                                     /*   with a graph, the layer's type and options; the */
                                     /*   rest keeps the values that it has   */
    int *taken;                      /* NULL, or gets how many of them were taken */
} lsnn_read_desc;
LSNN_API lsnn_status lsnn_net_read_as(lsnn_net *net, const char *path,
                                      const lsnn_read_desc *d);

/* Writes one C99 file with a function
       void NAME_predict(const float *x, float *y);     x: input shape, y: output shape
   that is lsnn_predict for one image: plain loops, weights as constant arrays, no allocation,
   no file, no library but math. Of the weights of dense, conv2d and local2d it stores what
   `storage` says, everything else as floats. ENAME: a name that C does not take;
   EUNSUPPORTED: a layer type of your own; EVALUE: a parameter that is no finite float. */
typedef enum lsnn_storage {
    LSNN_STORE_FLOAT,
    LSNN_STORE_HALF,                 /* IEEE binary16                         */
    LSNN_STORE_INT8                  /* 8 bits, and one factor an output      */
} lsnn_storage;
typedef struct lsnn_export_desc {
    const char *name;                /* NULL -> "net"                         */
    lsnn_storage storage;
    int static_buffers;              /* 1: buffers are static, not on the stack */
} lsnn_export_desc;
LSNN_API lsnn_status lsnn_net_export_c(lsnn_net *net, const char *path,
                                       const lsnn_export_desc *d);
/* Writes an ONNX model (opset 13) of the prediction, for ONNX Runtime and others: input "input"
   (the input layer's name), N x C x H x W; output: the output layer's name. Every layer type
   of the library has a form, smoothers too, though one whose mu lies far outside of the map
   loses digits there. EUNSUPPORTED: a layer type of your own.                 */
LSNN_API lsnn_status lsnn_net_export_onnx(lsnn_net *net, const char *path);
/* Rounds those weights, here in the net, to what that storage keeps: predictions are then
   the file's, so that what it costs can be measured.                          */
LSNN_API lsnn_status lsnn_net_round(lsnn_net *net, lsnn_storage storage);

/* The file format by itself: named arrays and a table of strings. count is the product of
   the sizes, each name stands once (write: else ESHAPE, EVALUE). What was read is freed
   by lsnn_file_free. No such name: NULL. Read are F64, F32, F16 and BF16, of any rank; what
   holds anything else (I64, BOOL, ...) is only named. Written is lsnn_real.
   lsnn_file_read takes NumPy's .npy (an array named as the file) and .npz files too, and so
   does lsnn_net_read: '<f2', '<f4' and '<f8' in C order; other arrays of an archive are only
   named, an other .npy is EUNSUPPORTED.                                      */
typedef struct lsnn_tensor {
    const char *name;
    int rank, dim[4];                /* the first four sizes                  */
    size_t count;
    const lsnn_real *v;              /* read: converted to lsnn_real          */
    const int *dims;                 /* all sizes; to write: may be NULL up to rank 4 */
} lsnn_tensor;
typedef struct lsnn_file {
    lsnn_tensor *tensor; int tensors;
    lsnn_pair *meta; int metas;
    lsnn_pair *skipped; int skips;   /* what was not read: name and dtype     */
    void *block_[4];                 /* private                               */
} lsnn_file;
LSNN_API lsnn_status lsnn_file_read(lsnn_ctx *cx, lsnn_file *f, const char *path);
LSNN_API void lsnn_file_free(lsnn_ctx *cx, lsnn_file *f);
LSNN_API const lsnn_tensor *lsnn_file_tensor(const lsnn_file *f, const char *name);
LSNN_API const char *lsnn_file_meta(const lsnn_file *f, const char *key);
LSNN_API lsnn_status lsnn_file_write(lsnn_ctx *cx, const char *path, const lsnn_tensor *t,
                                     int tensors, const lsnn_pair *meta, int metas);
/* NumPy's: one array (its name is not written), or an archive of them, not packed; below
   4 GB, rank 32.                                                             */
LSNN_API lsnn_status lsnn_npy_write(lsnn_ctx *cx, const char *path, const lsnn_tensor *t);
LSNN_API lsnn_status lsnn_npz_write(lsnn_ctx *cx, const char *path, const lsnn_tensor *t,
                                    int tensors);

/* ---- >>api pictures (PNG) ---------------------------------------------------*/
typedef struct lsnn_image { int w, h; unsigned char *rgb; } lsnn_image;
LSNN_API lsnn_status lsnn_image_new(lsnn_ctx *cx, lsnn_image *im, int w, int h, uint32_t rgb);
LSNN_API void lsnn_image_free(lsnn_ctx *cx, lsnn_image *im);
/* Reads a PNG (of any kind; transparency is left out) or a PPM (P6, 8 bits) file. */
LSNN_API lsnn_status lsnn_image_load(lsnn_ctx *cx, lsnn_image *im, const char *path);
/* As a PNG file.                                                             */
LSNN_API lsnn_status lsnn_image_save(lsnn_ctx *cx, const lsnn_image *im, const char *path);
/* All drawing is clipped at the image's border. Colours are 0xRRGGBB. A line's whole
   coordinates are centres of pixels.                                         */
LSNN_API void lsnn_image_rect(lsnn_image *im, int x, int y, int w, int h, uint32_t rgb);
LSNN_API void lsnn_image_line(lsnn_image *im, double x0, double y0, double x1, double y1,
                              double thickness, uint32_t rgb);
/* ASCII text, 6x8 pixels a letter times scale; returns its width.            */
LSNN_API int lsnn_image_text(lsnn_image *im, int x, int y, int scale, uint32_t rgb,
                             const char *text);
/* A map (H x W), lo black to hi white, NaN magenta, each value scale x scale pixels. */
LSNN_API void lsnn_image_map(lsnn_image *im, int x, int y, int scale, const lsnn_real *map,
                             int h, int w, double lo, double hi);
/* A colour laid over what is there, opacity map / hi: the same geometry.     */
LSNN_API void lsnn_image_overlay(lsnn_image *im, int x, int y, int scale, const lsnn_real *map,
                                 int h, int w, double hi, uint32_t rgb);
/* `count` maps in rows of `columns` with a gap of `gap` pixels, each map from
   its own smallest (or 0 if that is larger) to its own largest value.        */
LSNN_API void lsnn_image_grid(lsnn_image *im, int x, int y, int scale, const lsnn_real *maps,
                              int count, int h, int w, int columns, int gap);
typedef struct lsnn_curve {
    const char *label;               /* NULL: not in the legend               */
    const double *x, *y;             /* x NULL: 0, 1, ...; not finite: a gap  */
    int count;
    uint32_t rgb;                    /* 0 -> the next of a fixed palette      */
} lsnn_curve;
/* A line plot with axes, ticks, grid and a legend, filling x, y, w, h. The title and the
   labels may be NULL.                                                        */
LSNN_API void lsnn_image_plot(lsnn_image *im, int x, int y, int w, int h, const char *title,
                              const char *x_label, const char *y_label,
                              const lsnn_curve *curves, int count);

#endif /* LSNN_H */
/* ============================================================================
   >>implementation
   ==========================================================================*/
#if defined(LSNN_IMPLEMENTATION) && !defined(_MSC_VER) &&                                  \
    (defined(__cplusplus) ? __cplusplus < 201103L :                                        \
     !defined(__STDC_VERSION__) || __STDC_VERSION__ < 199901L)
#error "lsnn: LSNN_IMPLEMENTATION needs C99 or C++11: compile that file with -std=c99 or -std=c++11"
#undef LSNN_IMPLEMENTATION           /* one message, not a thousand           */
#endif

#if defined(LSNN_IMPLEMENTATION) && !defined(LSNNI_CORE)
#define LSNNI_CORE

#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
#error "lsnn: build without -ffast-math and -Ofast: infinities and NaN must keep their meaning"
#endif

#include <errno.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef LSNN_USE_CBLAS
#if defined(LSNN_CBLAS_H)
#include LSNN_CBLAS_H
#elif defined(__APPLE__)
#include <Accelerate/Accelerate.h>  /* build with -DACCELERATE_NEW_LAPACK */
#else
#include <cblas.h>                  /* OpenBLAS, BLIS, Netlib */
#endif
#endif
#ifdef _OPENMP
#include <omp.h>
#endif
/* Who divides loops, see >>threads.                                          */
#if defined(LSNN_NO_THREADS)
#elif defined(LSNN_USE_OPENMP) && !defined(_OPENMP)
#error "lsnn: LSNN_USE_OPENMP needs -fopenmp (MSVC: /openmp)"
#elif !defined(LSNN_USE_OPENMP) && defined(__GNUC__) && (defined(__unix__) || defined(__APPLE__))
#define LSNNI_TEAM
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#elif defined(_OPENMP)
#define LSNNI_OPENMP
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <sys/time.h>
#include <unistd.h>
#endif

#define LSNNI_R(v) ((lsnn_real)(v))
#define LSNNI_MIN(a, b) ((a) < (b) ? (a) : (b))
#define LSNNI_MAX(a, b) ((a) > (b) ? (a) : (b))
#define LSNNI_TRY(call)                                                        \
    do { lsnn_status try_status_ = (call);                                     \
         if (try_status_ != LSNN_OK) return try_status_; } while (0)
#if defined(__GNUC__)
#  define LSNNI_NOINLINE __attribute__((noinline))
#  define LSNNI_FETCH_TO_READ(p) __builtin_prefetch(p)
#  define LSNNI_FETCH_TO_WRITE(p) __builtin_prefetch(p, 1)
#else
#  define LSNNI_NOINLINE
#  define LSNNI_FETCH_TO_READ(p) ((void)(p))
#  define LSNNI_FETCH_TO_WRITE(p) ((void)(p))
#endif
#if defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__)
#  if __GNUC__ >= 8
#    define LSNNI_UNROLL _Pragma("GCC unroll 16")
#  else
#    define LSNNI_UNROLL
#  endif
#  ifdef __OPTIMIZE__
#    define LSNNI_CALM 1             /* see below: compile in half of the time */
#  endif
#else
#  define LSNNI_UNROLL
#endif

/* ---- >>errors --------------------------------------------------------------*/
LSNN_API const char *lsnn_status_text(lsnn_status s)
{
    switch (s) {
#define LSNN_STATUS_CASE(name, code, text) case LSNN_##name: return text;
    LSNN_STATUS_LIST(LSNN_STATUS_CASE)
#undef LSNN_STATUS_CASE
    default: return "unknown status";
    }
}

/* Logs a failure and returns s, so that a caller can write `return lsnni_fail(...)`. The context
   keeps the first: what comes later is often a consequence, but not always, so that is logged
   too. The message: function or layer, values, hint.                         */
static lsnn_status lsnni_fail_list(lsnn_ctx *cx, lsnn_status s, const char *format,
                                   va_list list)
{
    char text[sizeof cx->message];
    int used = 0;
    if (cx->where_) used = snprintf(text, sizeof text, "layer '%.80s': ", cx->where_);
    vsnprintf(text + used, sizeof text - (size_t)used, format, list);
    for (char *c = text; *c; c++)                        /* names may be from a file */
        if ((unsigned char)*c < 32 || *c == 127) *c = '?';
    cx->last_ = s;
    cx->failures_++;
    if (cx->status == LSNN_OK) {
        cx->status = s;
        memcpy(cx->message, text, sizeof text);
    }
    if (cx->log_fn) cx->log_fn(text, cx->log_user);
    else fprintf(stderr, "lsnn: %s\n", text);
    return s;
}

LSNNI_PRINTF(3, 4)
static lsnn_status lsnni_fail(lsnn_ctx *cx, lsnn_status s, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    lsnni_fail_list(cx, s, format, list);
    va_end(list);
    return s;
}

LSNN_API lsnn_status lsnn_fail(lsnn_ctx *cx, lsnn_status s, const char *format, ...)
{
    va_list list;
    if (s == LSNN_OK) s = LSNN_EVALUE;                   /* no failure has no status */
    va_start(list, format);
    lsnni_fail_list(cx, s, format, list);
    va_end(list);
    return s;
}

LSNN_API void lsnn_clear(lsnn_ctx *cx)
{
    cx->status = LSNN_OK;
    cx->message[0] = 0;
}

/* ---- >>clock --------------------------------------------------------------------*/
/* Seconds of the wall, not of the processor: threads would add up.           */
static double lsnni_seconds(void)
{
#if defined(CLOCK_MONOTONIC)
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
#elif defined(LSNNI_OPENMP)
    return omp_get_wtime();
#elif defined(__unix__) || defined(__APPLE__)        /* -std=c99 hides the one above */
    struct timeval t;
    gettimeofday(&t, NULL);
    return (double)t.tv_sec + 1e-6 * (double)t.tv_usec;
#else
    return (double)clock() / CLOCKS_PER_SEC;         /* Windows: of the wall */
#endif
}

/* ---- >>memory: aligned blocks from the context's allocator -------------------*/
enum { LSNNI_ALIGN = 64 };           /* a cache line, and the widest vector   */

/* One rule for the size of anything that will be allocated: it is computed by these two, which
   stop at LSNNI_TOO_LARGE, half of what a size_t holds. So a sum or a product that does not
   fit (on 32 bits: 4 GB) is never a small number, and the allocation below refuses it. */
#define LSNNI_TOO_LARGE ((size_t)-1 / 2)
static size_t lsnni_times(size_t a, size_t b)
{
    return b && a > LSNNI_TOO_LARGE / b ? LSNNI_TOO_LARGE : a * b;
}
static size_t lsnni_plus(size_t a, size_t b)
{
    return a >= LSNNI_TOO_LARGE || b >= LSNNI_TOO_LARGE - a ? LSNNI_TOO_LARGE : a + b;
}

/* count rounded up to whole vectors.                                         */
static size_t lsnni_whole_vectors(size_t count) { return lsnni_plus(count, 15) / 16 * 16; }

/* *product *= factor; 0 if it is too large.                                  */
static int lsnni_mul(size_t *product, size_t factor)
{
    *product = lsnni_times(*product, factor);
    return *product < LSNNI_TOO_LARGE;
}

/* Aligned, whatever the allocator returns. NULL: refused, which nobody is told. */
static void *lsnni_aligned(lsnn_ctx *cx, size_t bytes)
{
    size_t pad = LSNNI_ALIGN + sizeof(void *);
    char *raw, *block;
    if (bytes >= LSNNI_TOO_LARGE - pad) return NULL;
    raw = (char *)(cx->mem.alloc_fn ? cx->mem.alloc_fn(bytes + pad, cx->mem.user)
                                    : malloc(bytes + pad));
    if (!raw) return NULL;
    block = raw + pad - ((uintptr_t)raw + pad) % LSNNI_ALIGN;
    memcpy(block - sizeof raw, &raw, sizeof raw);    /* lsnni_free finds it there */
    return block;
}

/* count * size bytes, aligned. NULL: ENOMEM is recorded.                     */
static void *lsnni_alloc_raw(lsnn_ctx *cx, size_t count, size_t size)
{
    size_t bytes = lsnni_times(count, size), pad = LSNNI_ALIGN + sizeof(void *);
    void *block = lsnni_aligned(cx, bytes);
    if (block) return block;
    if (bytes >= LSNNI_TOO_LARGE - pad)
        lsnni_fail(cx, LSNN_ENOMEM, "%.0f x %.0f bytes do not fit into this machine's memory",
                   (double)count, (double)size);
    else lsnni_fail(cx, LSNN_ENOMEM, "the allocator refused %.0f bytes", (double)(bytes + pad));
    return NULL;
}

/* The same, zeroed.                                                          */
static void *lsnni_alloc(lsnn_ctx *cx, size_t count, size_t size)
{
    void *block = lsnni_alloc_raw(cx, count, size);
    return block ? memset(block, 0, count * size) : NULL;
}

static void lsnni_free_by(const lsnn_allocator *mem, void *block)
{
    char *raw;
    if (!block) return;
    memcpy(&raw, (char *)block - sizeof raw, sizeof raw);
    if (mem->free_fn) mem->free_fn(raw, mem->user);
    else free(raw);
}
static void lsnni_free(lsnn_ctx *cx, void *block) { lsnni_free_by(&cx->mem, block); }

static char *lsnni_strdup(lsnn_ctx *cx, const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = (char *)lsnni_alloc(cx, n, 1);
    if (copy) memcpy(copy, text, n);
    return copy;
}

/* Working memory for one op call, filled with anything. It grows and is never given
   back before lsnn_ctx_free, so a training step allocates nothing.           */
static void *lsnni_scratch(lsnn_ctx *cx, size_t count, size_t size)
{
    size_t bytes = lsnni_times(count, size);
    if (bytes <= cx->scratch_bytes_ && cx->scratch_) return cx->scratch_;
    lsnni_free(cx, cx->scratch_);
    cx->scratch_bytes_ = 0;
    cx->scratch_ = lsnni_alloc_raw(cx, count, size);
    if (cx->scratch_) cx->scratch_bytes_ = bytes;
    return cx->scratch_;
}

/* ---- >>threads: the one place that starts any ----------------------------------
   lsnn_parallel divides a loop among threads that the context keeps: it starts them when
   they are first needed, lsnn_ctx_free ends them, and no other context knows of them, so
   there is no global. Each thread takes the next i that is left until none is. Two rules
   make that fit for a machine that others use, too:

   - Who waits, spins for 20 microseconds and then sleeps. Layers follow one another faster
     than that, so nothing sleeps within a step; and nothing that waits keeps a core busy.
   - The caller works like the others and waits only for those that have begun, never for one
     that might still come. What a busy machine, a fork (threads are not copied) or a refused
     pthread_create takes away is speed: never a result, and nothing hangs.

   With LSNN_USE_OPENMP, OpenMP's threads do it instead; with LSNN_NO_THREADS, or where there
   are no POSIX threads and no OpenMP, the caller does it alone. The bits are the same.   */
#if defined(LSNNI_TEAM)
enum {
    LSNNI_INSIDE = 0x7fff,           /* of `state`: how many workers are at the job */
    LSNNI_ASLEEP = 0x8000,           /*   set: the caller sleeps until they have left */
    LSNNI_PLACE = 0x10000            /*   times how many more may come; 0: it is closed */
};

typedef struct lsnni_team {          /* (a) read and written as atomics       */
    void (*task)(void *user, int i, int worker);     /* the job: constant while any is inside */
    void *user;
    int count;
    unsigned job;                    /* (a) its number: a new one, something to do */
    int quit;                        /* (a) the job is to end                 */
    int spin;                        /* 0: more threads than cores, sleep at once */
    char apart_[64];                 /* what all write: in another cache line */
    unsigned state, next;            /* (a) see above; (a) the next i         */
    char also_apart_[64];
    unsigned sleepers;               /* (a) workers asleep; written under the lock */
    int busy;                        /* (a) a job is under way                */
    int alone;                       /* nobody came to the last job           */
    int asked, workers;              /* threads wanted, threads started       */
    pid_t process;                   /* whose they are                        */
    int ready;                       /* there are the next three              */
    pthread_mutex_t lock;            /* for falling asleep and waking only    */
    pthread_cond_t wake, left;       /* for the workers; for the caller       */
    pthread_t *thread;
} lsnni_team;

/* What signals' masks need; -std=c99 hides it, and so does a POSIX of before threads. */
#if defined(__GLIBC__) && !defined(__USE_POSIX199506)
#elif defined(SIG_BLOCK) && (!defined(_POSIX_C_SOURCE) || _POSIX_C_SOURCE >= 199506L)
#  define LSNNI_SIGNALS
#endif
/* Before glibc 2.34, and on the BSDs, these are missing unless -pthread links them. A program
   built without has one thread then, in place of an error of the linker. A test says what to
   put before their names, so that they are missing here, too.                */
#if defined(LSNNI_TEST_WEAK) || \
    (defined(__GLIBC__) && __GLIBC__ == 2 && __GLIBC_MINOR__ < 34) || defined(__FreeBSD__) || \
    defined(__NetBSD__) || defined(__OpenBSD__) || defined(__DragonFly__)
#  ifndef LSNNI_TEST_WEAK
#    define LSNNI_TEST_WEAK
#  endif
#  define LSNNI_WEAK(name) \
    static __typeof__(name) lsnni_##name __attribute__((weakref(LSNNI_TEST_WEAK #name)))
LSNNI_WEAK(pthread_create);
LSNNI_WEAK(pthread_join);
#  ifdef LSNNI_SIGNALS
LSNNI_WEAK(pthread_sigmask);
#  endif
#  define LSNNI_THREADS_LINKED (lsnni_pthread_create && lsnni_pthread_join)
#else
#  define lsnni_pthread_create pthread_create
#  define lsnni_pthread_join pthread_join
#  define lsnni_pthread_sigmask pthread_sigmask
#  define LSNNI_THREADS_LINKED 1
#endif

/* The cores that this thread may run on: what taskset and a container's cpuset leave. */
#if defined(CPU_SETSIZE)
#  define LSNNI_CPU_SET cpu_set_t
#elif defined(__linux__) && !defined(__cplusplus)    /* hidden without _GNU_SOURCE, which C++ has */
#  define LSNNI_CPU_SET void
extern int sched_getaffinity(pid_t thread, size_t bytes, void *set);
#endif
static int lsnni_cores(void)
{
    long cores = 0;
#ifdef LSNNI_CPU_SET
    unsigned long set[128] = { 0 };  /* 4,096 cores where longs have 32 bits  */
    if (sched_getaffinity(0, sizeof set, (LSNNI_CPU_SET *)set) >= 0)
        for (int i = 0; i < 128; i++)
            for (unsigned long bits = set[i]; bits; bits &= bits - 1) cores++;
#endif
#ifdef _SC_NPROCESSORS_ONLN
    if (cores < 1) cores = sysconf(_SC_NPROCESSORS_ONLN);
#endif
    return cores < 1 ? 1 : (int)LSNNI_MIN(cores, INT_MAX);
}

/* Asked once a context: arrays with a part for each thread are sized by the answer. */
LSNN_API int lsnn_ctx_threads(const lsnn_ctx *cx)
{
    if (cx->threads > 0) return cx->threads;
    if (cx->cores_ == 0) ((lsnn_ctx *)(uintptr_t)cx)->cores_ = lsnni_cores();
    return cx->cores_;
}

static void lsnni_pause(void)
{
#if defined(__i386__) || defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* Looks at *word until it is `value`, or until it is not, for at most 20 microseconds; for some
   hundreds if somebody sets the clock back.                                  */
static void lsnni_spin(const lsnni_team *p, const unsigned *word, unsigned value, int equal)
{
    const double end = p->spin ? lsnni_seconds() + 20e-6 : 0;
    int rounds = 2000;
    do {
        for (int i = 0; i < 16; i++) {
            if ((__atomic_load_n(word, __ATOMIC_ACQUIRE) == value) == equal) return;
            if (p->spin) lsnni_pause();
        }
    } while (p->spin && --rounds > 0 && lsnni_seconds() < end);
}

/* Does what is left of the job, and leaves. The caller may go on when the last has left. */
static void lsnni_team_work(lsnni_team *p, int worker)
{
    unsigned i, count = (unsigned)p->count;
    while ((i = __atomic_fetch_add(&p->next, 1u, __ATOMIC_RELAXED)) < count)
        p->task(p->user, (int)i, worker);
}

static void lsnni_team_help(lsnni_team *p)
{
    unsigned s = __atomic_load_n(&p->state, __ATOMIC_RELAXED);
    do {
        if (s < LSNNI_PLACE) return;                     /* enough have come, or it is done */
    } while (!__atomic_compare_exchange_n(&p->state, &s, s - LSNNI_PLACE + 1, 0,
                                          __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
    lsnni_team_work(p, (int)(s / LSNNI_PLACE));
    s = __atomic_fetch_sub(&p->state, 1u, __ATOMIC_RELEASE);
    if (s == LSNNI_ASLEEP + 1) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_signal(&p->left);
        pthread_mutex_unlock(&p->lock);
    }
}

static void *lsnni_team_worker(void *team)
{
    lsnni_team *p = (lsnni_team *)team;
    unsigned seen = 0;
    for (;;) {
        lsnni_spin(p, &p->job, seen, 0);
        if (__atomic_load_n(&p->job, __ATOMIC_ACQUIRE) == seen) {
            pthread_mutex_lock(&p->lock);
            /* either this sees the new job, or the caller of that job sees the sleeper */
            __atomic_fetch_add(&p->sleepers, 1u, __ATOMIC_SEQ_CST);
            while (__atomic_load_n(&p->job, __ATOMIC_SEQ_CST) == seen)
                pthread_cond_wait(&p->wake, &p->lock);
            __atomic_fetch_sub(&p->sleepers, 1u, __ATOMIC_RELAXED);
            pthread_mutex_unlock(&p->lock);
        }
        seen = __atomic_load_n(&p->job, __ATOMIC_ACQUIRE);
        if (__atomic_load_n(&p->quit, __ATOMIC_RELAXED)) return NULL;
        lsnni_team_help(p);
    }
}

/* A new number says that the job is there; so many sleepers as are missing are woken. */
static void lsnni_team_call(lsnni_team *p, int wanted)
{
    int asleep, missing;
    __atomic_store_n(&p->job, p->job + 1, __ATOMIC_SEQ_CST);
    asleep = (int)__atomic_load_n(&p->sleepers, __ATOMIC_SEQ_CST);
    missing = wanted - (p->workers - asleep);
    if (asleep == 0 || missing <= 0) return;
    pthread_mutex_lock(&p->lock);    /* whoever was just falling asleep is asleep now */
    pthread_mutex_unlock(&p->lock);
    if (missing >= asleep) pthread_cond_broadcast(&p->wake);
    else while (missing-- > 0) pthread_cond_signal(&p->wake);
}

static void lsnni_team_run(lsnni_team *p, int helpers, int count,
                           void (*task)(void *user, int i, int worker), void *user)
{
    unsigned s, places = (unsigned)LSNNI_MIN(helpers, p->workers) * LSNNI_PLACE;
    p->task = task;
    p->user = user;
    p->count = count;
    __atomic_store_n(&p->next, 0u, __ATOMIC_RELAXED);
    __atomic_store_n(&p->state, places, __ATOMIC_RELEASE);
    lsnni_team_call(p, LSNNI_MIN(helpers, p->workers));
    lsnni_team_work(p, 0);
    s = __atomic_fetch_and(&p->state, LSNNI_PLACE - 1u, __ATOMIC_ACQUIRE);
    p->alone = s == places;
    if ((s & LSNNI_INSIDE) == 0) return;
    lsnni_spin(p, &p->state, 0, 1);
    if (__atomic_load_n(&p->state, __ATOMIC_ACQUIRE) == 0) return;
    pthread_mutex_lock(&p->lock);
    __atomic_fetch_or(&p->state, (unsigned)LSNNI_ASLEEP, __ATOMIC_RELAXED);
    while (__atomic_load_n(&p->state, __ATOMIC_ACQUIRE) & LSNNI_INSIDE)
        pthread_cond_wait(&p->left, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

/* ---- Beginning and end ----------------------------------------------------------*/
#ifdef LSNNI_SIGNALS
/* Workers leave signals to the program's own threads: Ctrl-C lands where it is waited for.
   Those that a thread brings upon itself must not be held back, nor a profiler's. */
static void lsnni_team_signals(sigset_t *off)
{
    static const int own[] = {
        SIGSEGV, SIGFPE, SIGILL, SIGABRT,
#ifdef SIGBUS
        SIGBUS,
#endif
#ifdef SIGTRAP
        SIGTRAP,
#endif
#ifdef SIGSYS
        SIGSYS,
#endif
#ifdef SIGPROF
        SIGPROF
#endif
    };
    sigfillset(off);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) sigdelset(off, own[i]);
}
#endif

static int lsnni_team_start(lsnni_team *p)
{
    pthread_attr_t attributes, *how = NULL;
    int n = 0;
#ifdef LSNNI_SIGNALS                 /* without, Linux prefers the main thread anyway */
    sigset_t off, before;
    lsnni_team_signals(&off);
    if (!LSNNI_THREADS_LINKED || lsnni_pthread_sigmask(SIG_SETMASK, &off, &before) != 0) return 0;
#endif
#ifndef __GLIBC__                    /* musl gives 128 KiB, macOS 512: a callback may want more */
    if (pthread_attr_init(&attributes) == 0) {
        how = &attributes;
        pthread_attr_setstacksize(how, (size_t)2 << 20);
    }
#else
    (void)attributes;
#endif
    while (LSNNI_THREADS_LINKED && n < p->asked &&
           lsnni_pthread_create(&p->thread[n], how, lsnni_team_worker, p) == 0) n++;
    if (how) pthread_attr_destroy(how);
#ifdef LSNNI_SIGNALS
    lsnni_pthread_sigmask(SIG_SETMASK, &before, NULL);
#endif
    return n;
}

/* Also in a forked child, on its copy of the parent's team: what had been there is not. */
static void lsnni_team_begin(lsnni_team *p, int workers)
{
    memset(p, 0, sizeof *p);
    p->thread = (pthread_t *)(void *)(p + 1);
    p->process = getpid();
    p->asked = workers;
    p->busy = 1;
    p->spin = workers < lsnni_cores();
    if (pthread_mutex_init(&p->lock, NULL) != 0) return;
    if (pthread_cond_init(&p->wake, NULL) != 0) return;
    if (pthread_cond_init(&p->left, NULL) != 0) return;
    p->ready = 1;
    p->workers = lsnni_team_start(p);
}

static void lsnni_team_end(lsnn_ctx *cx)
{
    lsnni_team *p = cx->team_;
    cx->team_ = NULL;
    if (!p) return;
    if (p->ready && p->process == getpid()) {
        __atomic_store_n(&p->quit, 1, __ATOMIC_RELAXED);
        lsnni_team_call(p, p->workers);
        for (int i = 0; i < p->workers; i++) lsnni_pthread_join(p->thread[i], NULL);
        pthread_cond_destroy(&p->wake);
        pthread_cond_destroy(&p->left);
        pthread_mutex_destroy(&p->lock);
    }
    lsnni_free(cx, p);
}

/* cx's team, taken for one job; NULL: there is none, or a task of its present job asks. A child
   has to begin anew, which nobody coming or all asleep may be a sign of: only then is the
   system asked.                                                              */
static lsnni_team *lsnni_team_take(lsnn_ctx *cx)
{
    int workers = LSNNI_MIN(lsnn_ctx_threads(cx), LSNNI_INSIDE) - 1;
    size_t bytes = sizeof(lsnni_team) + (size_t)workers * sizeof(pthread_t);
    lsnni_team *p = cx->team_;
    if (p && __atomic_exchange_n(&p->busy, 1, __ATOMIC_ACQUIRE)) return NULL;
    if (!p || p->asked < workers) {
        lsnni_team_end(cx);
        p = (lsnni_team *)lsnni_aligned(cx, bytes);
        if (!p) return NULL;
        lsnni_team_begin(p, workers);
        cx->team_ = p;
    } else if ((p->alone || __atomic_load_n(&p->sleepers, __ATOMIC_RELAXED)) &&
               p->process != getpid()) lsnni_team_begin(p, p->asked);
    return p;
}

/* Tasks that are done side by side: 1, unless nobody can help.               */
static int lsnni_divided(lsnn_ctx *cx, int threads, int count,
                         void (*task)(void *user, int i, int worker), void *user)
{
    lsnni_team *p = lsnni_team_take(cx);             /* in a rehearsal, too: a step then    */
    if (!p) return 0;                                /* allocates nothing                   */
    if (!cx->rehearsal_) lsnni_team_run(p, threads - 1, count, task, user);
    __atomic_store_n(&p->busy, 0, __ATOMIC_RELEASE);
    return 1;
}

#elif defined(LSNNI_OPENMP)
LSNN_API int lsnn_ctx_threads(const lsnn_ctx *cx)
{
    return cx->threads > 0 ? cx->threads : omp_get_max_threads();
}

static int lsnni_divided(lsnn_ctx *cx, int threads, int count,
                         void (*task)(void *user, int i, int worker), void *user)
{
    int i;
    if (cx->rehearsal_) return 1;
#ifdef _MSC_VER
    __pragma(omp parallel for num_threads(threads) schedule(dynamic, 1))
#else
    _Pragma("omp parallel for num_threads(threads) schedule(dynamic, 1)")
#endif
    for (i = 0; i < count; i++) task(user, i, omp_get_thread_num());
    return 1;
}

static void lsnni_team_end(lsnn_ctx *cx) { (void)cx; }

#else
LSNN_API int lsnn_ctx_threads(const lsnn_ctx *cx) { (void)cx; return 1; }

static int lsnni_divided(lsnn_ctx *cx, int threads, int count,
                         void (*task)(void *user, int i, int worker), void *user)
{
    (void)cx; (void)threads; (void)count; (void)task; (void)user;
    return 0;
}

static void lsnni_team_end(lsnn_ctx *cx) { (void)cx; }
#endif

LSNN_API void lsnn_parallel(lsnn_ctx *cx, int count,
                            void (*task)(void *user, int i, int worker), void *user)
{
    int threads = LSNNI_MIN(lsnn_ctx_threads(cx), count);
#ifdef _OPENMP
    if (omp_in_parallel()) threads = 1;      /* a region of the caller's own: it has divided */
#endif
    if (threads > 1 && lsnni_divided(cx, threads, count, task, user)) return;
    for (int i = 0; i < count && !cx->rehearsal_; i++) task(user, i, 0);
}

/* Tasks that read or write `numbers` in all, a few operations each: fewer are done before a
   second thread has begun.                                                   */
static void lsnni_parallel_some(lsnn_ctx *cx, size_t numbers, int count,
                                void (*task)(void *user, int i, int worker), void *user)
{
    if (numbers > 30000) lsnn_parallel(cx, count, task, user);
    else for (int i = 0; i < count && !cx->rehearsal_; i++) task(user, i, 0);
}

LSNN_API void lsnn_ctx_free(lsnn_ctx *cx)
{
    lsnni_team_end(cx);
    lsnni_free(cx, cx->scratch_);
    cx->scratch_ = NULL;
    cx->scratch_bytes_ = 0;
}

/* ---- >>philox: counter-based random numbers ----------------------------------
   Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011:
   ten rounds of two 32x32 -> 64 bit products mix a counter under a key.      */
static void lsnni_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4])
{
    uint32_t k0 = key[0], k1 = key[1];
    uint32_t a = counter[0], b = counter[1], c = counter[2], d = counter[3];
    for (int round = 0; round < 10; round++) {
        uint64_t p = (uint64_t)0xD2511F53u * a, q = (uint64_t)0xCD9E8D57u * c;
        uint32_t na = (uint32_t)(q >> 32) ^ b ^ k0, nc = (uint32_t)(p >> 32) ^ d ^ k1;
        b = (uint32_t)q;
        d = (uint32_t)p;
        a = na;
        c = nc;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = a; out[1] = b; out[2] = c; out[3] = d;
}

/* FNV-1a over the text and its end mark.                                     */
static uint32_t lsnni_hash(uint32_t h, const char *text)
{
    do { h = (h ^ (unsigned char)*text) * 16777619u; } while (*text++);
    return h;
}

LSNN_API lsnn_rng lsnn_rng_at(uint64_t seed, const char *purpose, const char *name,
                              uint32_t step, uint32_t sample)
{
    lsnn_rng r;
    memset(&r, 0, sizeof r);
    r.key[0] = (uint32_t)seed;
    r.key[1] = (uint32_t)(seed >> 32);
    r.stream = lsnni_hash(lsnni_hash(2166136261u, purpose), name);
    r.step = step;
    r.sample = sample;
    return r;
}

LSNN_API uint32_t lsnn_rng_u32(lsnn_rng *r)        /* Philox gives four at a time */
{
    uint32_t e = r->element++, counter[4];
    counter[0] = e >> 2;
    counter[1] = r->sample;
    counter[2] = r->step;
    counter[3] = r->stream;
    if ((e & 3) == 0 || r->held_ != counter[0] + 1) lsnni_philox(r->key, counter, r->block_);
    r->held_ = counter[0] + 1;
    return r->block_[e & 3];
}

LSNN_API double lsnn_rng_uniform(lsnn_rng *r)
{
    return (double)lsnn_rng_u32(r) * (1.0 / 4294967296.0);
}

LSNN_API double lsnn_rng_normal(lsnn_rng *r)       /* Box and Muller           */
{
    double u = ((double)lsnn_rng_u32(r) + 1.0) * (1.0 / 4294967296.0);    /* (0, 1] */
    double v = lsnn_rng_uniform(r);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

LSNN_API int lsnn_rng_int(lsnn_rng *r, int n)      /* Lemire 2019: no modulo bias */
{
    uint32_t m = n > 0 ? (uint32_t)n : 1, low = (0u - m) % m;
    for (;;) {
        uint64_t product = (uint64_t)lsnn_rng_u32(r) * m;
        if ((uint32_t)product >= low) return (int)(product >> 32);
    }
}

LSNN_API void lsnn_rng_permutation(lsnn_rng *r, int *order, int n)
{
    for (int i = 0; i < n; i++) {
        int j = lsnn_rng_int(r, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}

/* ---- >>room: how an op asks for its working memory -----------------------------
   It adds up what it needs, takes one scratch block, and cuts it in the same order. */
static size_t lsnni_room(size_t count, size_t size)
{
    size_t bytes = lsnni_times(count, size);
    if (bytes > LSNNI_TOO_LARGE - LSNNI_ALIGN) return LSNNI_TOO_LARGE;
    return (bytes + LSNNI_ALIGN - 1) / LSNNI_ALIGN * LSNNI_ALIGN;
}
static size_t lsnni_room_add(size_t a, size_t b) { return lsnni_plus(a, b); }
static size_t lsnni_room_times(size_t a, int n) { return lsnni_times(a, (size_t)n); }
static void *lsnni_cut(char **at, size_t count, size_t size)
{
    void *piece = *at;
    *at += (count * size + LSNNI_ALIGN - 1) / LSNNI_ALIGN * LSNNI_ALIGN;
    return piece;
}

/* The same as a list, taken once: each want names a pointer, and gets so many of what it
   points to. place is the pointer's address, written by memcpy whatever its type. */
typedef struct lsnni_want { void *place; size_t count, size; } lsnni_want;

static void lsnni_want_add(lsnni_want **list, void *place, size_t count, size_t size)
{
    (*list)->place = place;
    (*list)->count = count;
    (*list)++->size = size;
}
#define LSNNI_WANT(list, pointer, count)                                                   \
    lsnni_want_add(list, &(pointer), count, sizeof *(pointer))

/* The wants from `first` up to `end`, in one scratch block.                   */
static lsnn_status lsnni_take(lsnn_ctx *cx, const lsnni_want *first, const lsnni_want *end)
{
    size_t bytes = 0;
    char *at;
    for (const lsnni_want *w = first; w < end; w++)
        bytes = lsnni_room_add(bytes, lsnni_room(w->count, w->size));
    at = (char *)lsnni_scratch(cx, bytes, 1);
    if (!at) return LSNN_ENOMEM;
    for (const lsnni_want *w = first; w < end; w++) {
        void *piece = lsnni_cut(&at, w->count, w->size);
        memcpy(w->place, &piece, sizeof piece);
    }
    return LSNN_OK;
}

static int lsnni_round_up(int n, int to) { return (n + to - 1) / to * to; }
static int lsnni_div_up(int n, int by) { return n / by + (n % by != 0); }
static size_t lsnni_area(int a, int b) { return (size_t)a * (size_t)b; }

/* ESHAPE unless all `count` sizes are positive and their product is an index. who names them. */
static lsnn_status lsnni_sizes(lsnn_ctx *cx, const char *who, int count, const int *size)
{
    double product = 1;
    for (int i = 0; i < count; i++) {
        if (size[i] < 1)
            return lsnni_fail(cx, LSNN_ESHAPE, "%s: size %d is %d, it must be positive", who,
                              i + 1, size[i]);
        product *= size[i];
    }
    if (product >= (double)PTRDIFF_MAX / (double)sizeof(lsnn_real))
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: an array of %.3g numbers is too large", who,
                          product);
    return LSNN_OK;
}

static lsnn_status lsnni_sizes3(lsnn_ctx *cx, const char *who, int a, int b, int c)
{
    int size[3];
    size[0] = a; size[1] = b; size[2] = c;
    return lsnni_sizes(cx, who, 3, size);
}

#endif /* LSNNI_CORE */

#if defined(LSNN_IMPLEMENTATION) && !defined(LSNNI_BODY)
#define LSNNI_BODY

/* Nothing is hot here but what calls the kernels: O1 is as fast and halves the time to
   compile.                                                                   */
#ifdef LSNNI_CALM
#  pragma GCC push_options
#  pragma GCC optimize("O1")
#endif

/* A naive build leaves the fast paths where they are, and unused.            */
#if defined(LSNN_NAIVE) && defined(__GNUC__)
#  pragma GCC diagnostic push
#  pragma GCC diagnostic ignored "-Wunused-function"
#endif

/* ============================================================================
   >>fast  what the machinery for speed, at the end of the book, offers the ops
   ==========================================================================*/
/* ---- >>tile: the product that windows are made of -----------------------------
   C[i][v] (+)= sum_k a[i][ka[k]] * b[v][kb[k]] + bias[i], for `rows` rows i and `vectors`
   vectors v of neighbouring numbers; a's elements are single numbers, b's are
   vectors. The two offset tables make one kernel serve both
       convolution           a: weights, b: pixels   kb[k] = place of (c, r, s) in the image
       its weight gradient   a: pixels, b: dy        ka[k] = place of output pixel k
   so no image is unrolled into patches. Plain matrices need no tables: lsnni_block. */
#define LSNNI_TANH_A 1.7159              /* A and S of >>activations' scaled tanh */
#define LSNNI_TANH_S (2.0 / 3)
enum { LSNNI_MAX_ROWS = 8, LSNNI_MAX_VECTORS = 3, LSNNI_MAX_LANES = 16,
       LSNNI_DOTS_ROWS = 128 };
typedef struct lsnni_tile {
    const lsnn_real *a[LSNNI_MAX_ROWS];
    const lsnn_real *b[LSNNI_MAX_VECTORS];
    lsnn_real *c[LSNNI_MAX_ROWS];        /* vector v of row i is at c[i] + at[v] */
    ptrdiff_t at[LSNNI_MAX_VECTORS];
    int lanes[LSNNI_MAX_VECTORS];        /* numbers of vector v that are stored */
    const int32_t *ka, *kb;
    const lsnn_real *bias;               /* a row each, or NULL                */
    int k, rows, vectors, add;
} lsnni_tile;

/* A product of matrices, as of dense layers and 1 x 1 windows:
   C (m x n) (+)= A (m x k) B (k x n) + bias, with A's element (i, k) at a[i*ai + k*ak],
   B's at b[k*bk + j*bj], C's at c[i*ci + j].                                 */
typedef struct lsnni_block {
    const lsnn_real *a, *b, *bias;       /* bias: of dots, not add; a column each, or NULL */
    lsnn_real *c;
    ptrdiff_t ai, ak, bk, bj, ci;
    int m, n, k, add;
} lsnni_block;

/* What one instruction set offers, one entry a function: its type, name and arguments. The
   struct and each set's table are made from this list. Everything is single-threaded.
   tile: entries of a past `rows` must be readable.  block: bj is 1, n from 1 to 3 vectors, no
   bias.  dots: ak and bk are 1, m to LSNNI_DOTS_ROWS.  deviation: sum (x - mean)^2.
   axpy: y += a x.  transpose: y[j*ys + i] = x[i*xs + j].
   norm_forward: y = a (x - center) + b.
   norm_backward: dx = a dy + b (x - center) istd + c.  dsc...: see >>dsc. */
#define LSNNI_KERNELS(X)                                                                      \
    X(void, tile, (const lsnni_tile *t))                                                      \
    X(void, block, (const lsnni_block *g))                                                    \
    X(void, dots, (const lsnni_block *g))                                                     \
    X(void, exp, (lsnn_real *y, const lsnn_real *x, size_t n))                                \
    X(void, log, (lsnn_real *y, const lsnn_real *x, size_t n))                                \
    X(double, sum, (const lsnn_real *x, size_t n))                                            \
    X(double, dot, (const lsnn_real *x, const lsnn_real *y, size_t n))                        \
    X(double, deviation, (const lsnn_real *x, double mean, size_t n))                         \
    X(void, sum_dot, (double m[3], const lsnn_real *dy, const lsnn_real *x, double center,    \
        lsnn_real *relu, const lsnn_real *y, size_t n))                                       \
    X(void, moments, (const lsnn_real *t, size_t n, double x0, double step, double m[3]))     \
    X(void, exponents, (lsnn_real *u, size_t n, double step, double from,                     \
        const double p[8]))                                                                   \
    X(size_t, largest, (const lsnn_real *x, size_t n))                                        \
    X(void, axpy, (lsnn_real *y, double a, const lsnn_real *x, size_t n))                     \
    X(void, affine, (lsnn_real *y, const lsnn_real *x, double a, double b, size_t n,          \
        int add))                                                                             \
    X(void, repeat, (lsnn_real *y, const lsnn_real *x, size_t n))                             \
    X(void, gather, (lsnn_real *y, const lsnn_real *x, size_t n))                             \
    X(void, multiply, (lsnn_real *y, const lsnn_real *a, const lsnn_real *b, size_t n,        \
        int add))                                                                             \
    X(void, act_forward, (lsnn_act f, lsnn_real *y, const lsnn_real *x, size_t n,             \
        double slope))                                                                        \
    X(void, act_backward, (lsnn_act f, lsnn_real *dx, const lsnn_real *dy,                    \
        const lsnn_real *y, size_t n, double slope, int add))                                 \
    X(void, max_pool2, (lsnn_real *y, int32_t *where, const lsnn_real *top, int pitch,        \
        int w, int at, int n, int relu))                                                      \
    X(void, sum_pool2, (lsnn_real *y, const lsnn_real *top, int w, int n, double scale))      \
    X(void, lanes_max, (lsnn_real *y, int32_t *where, const lsnn_real *x,                     \
        const int32_t *tap, int taps, int step, int at, int first, int n, int relu))          \
    X(void, lanes_max_back, (lsnn_real *dx, const lsnn_real *dy, const int32_t *where,        \
        const int32_t *tap, int taps, int step, int at, int n, int apart))                    \
    X(void, lanes_sum, (lsnn_real *y, const lsnn_real *x, const int32_t *tap, int taps,       \
        int step, int at, int n, double scale))                                               \
    X(void, lanes_sum_back, (lsnn_real *dx, const lsnn_real *dy, const int32_t *tap,          \
        int taps, int step, int at, int n, double scale))                                     \
    X(void, dropout, (lsnn_real *y, const lsnn_real *x, const lsnn_rng *at, uint32_t sample,  \
        int e0, int e1, int in_blocks, uint32_t limit, double scale, int add))                \
    X(void, transpose, (lsnn_real *y, size_t ys, const lsnn_real *x, size_t xs, int rows,     \
        int columns))                                                                         \
    X(void, norm_forward, (lsnn_real *y, const lsnn_real *x, double center, double a,         \
        double b, size_t n))                                                                  \
    X(void, norm_backward, (lsnn_real *dx, const lsnn_real *dy, const lsnn_real *x,           \
        double center, double istd, double a, double b, double c, size_t n, int add))         \
    X(void, dsc_bounds, (lsnn_real *w, double least, size_t n))                               \
    X(void, dsc, (lsnn_real *sum, const lsnn_real *w, lsnn_real o, size_t n))                 \
    X(void, dsc_back, (lsnn_real *step, lsnn_real *up, const lsnn_real *w,                    \
        const lsnn_real *wanted, lsnn_real o, double least, int silent, size_t n))            \
    X(void, sgd, (lsnn_real *w, lsnn_real *v, const lsnn_real *g, double scale, double lr,    \
        double decay, double momentum, int nesterov, size_t n))                               \
    X(void, adam, (lsnn_real *w, lsnn_real *m, lsnn_real *v, const lsnn_real *g,              \
        double scale, double lr, double decay, double shrink, double b1, double b2,           \
        double c1, double c2, double eps, size_t n))
typedef struct lsnni_kernels {
    int rows, lanes;                     /* of the register tile               */
#define LSNNI_KERNEL_FIELD(type, name, arguments) type (*name) arguments;
    LSNNI_KERNELS(LSNNI_KERNEL_FIELD)
#undef LSNNI_KERNEL_FIELD
} lsnni_kernels;
/* ---- >>reach: which rows of pixels and of the kernel meet --------------------------
   What one row (or column) of pixels meets: `count` partners, beginning with number
   `first` at coordinate `at` of the other side, which rises by one (TO_W: a stride).
       FORWARD   an output row: the kernel's rows, and the image's
       TO_X      an image row: the kernel's rows, falling by a stride, and the output's
       TO_W      a kernel row: the output's rows, and the image's             */
typedef enum lsnni_way { LSNNI_FORWARD, LSNNI_TO_X, LSNNI_TO_W } lsnni_way;
typedef struct lsnni_reach { int first, count, at; } lsnni_reach;
typedef struct lsnni_side { int in, out, kernel, stride, pad; } lsnni_side;

/* Rows with equal `first` and `count` are of one kind, and pixels whose rows and
   columns are of one kind share a table of taps. Pixels near the border have shorter
   tables, so padding costs nothing at all.                                   */
typedef struct lsnni_kinds {
    int rows, kinds, partners;       /* partners: of one row of each kind     */
    lsnni_reach *reach;              /* of each row                           */
    int *kind, *example, *members;   /* of each row; a row, how many, of each kind */
} lsnni_kinds;

/* A max pooling of 2 x 2 pixels that the convolution before it does: a few rows at a time
   are computed into a worker's room of `size` numbers, and pooled from there. */
typedef struct lsnni_pooled {
    int on, relu;
    int32_t *where;                  /* the maxima's pixels                   */
    lsnn_real *room;
    size_t size;
} lsnni_pooled;

/* The pixels of one kind: the kinds of their row and column, the taps in one source map, the
   first place in the source, and their tables.                               */
typedef struct lsnni_group { int row, column, taps, first; int32_t *ka, *kb; } lsnni_group;
typedef struct lsnni_lanes {
    const lsnni_kernels *kv;
    lsnni_kinds kinds[2];
    int m, maps, chunk, groups, bands, band, tasks, per_task, add;
    size_t source, target, taps;     /* pixels of a map, weights of a pair of maps */
    lsnni_group *group;
    int32_t *from, *to;              /* pixels, group by group                */
    const lsnn_real *x, *w, *bias;   /* w: target map, source map, tap        */
    lsnn_real *y;
    lsnni_pooled pool;
} lsnni_lanes;

/* How many tasks share one image: 1 for batches that keep a handful of cores busy
   anyway. Sizes alone decide.                                                */
static int lsnni_image_tasks(int n) { return n >= 8 ? 1 : lsnni_div_up(8, n); }

/* ---- >>fast functions: what each does stands where it is defined --------------------------*/
static const lsnni_kernels *lsnni_kernels_of(const lsnn_ctx *cx);
/* >>gemm */
static lsnn_status lsnni_gemm(lsnn_ctx *cx, int trans_a, int trans_b, int m, int n, int k,
                              const lsnn_real *a, int lda, const lsnn_real *b, int ldb, int add,
                              lsnn_real *c, int ldc, const lsnn_real *bias);
/* >>blocks */
static lsnn_status lsnni_lanes_fit(lsnn_ctx *cx, const char *who, int lanes, int n);
static lsnn_status lsnni_lanes_check(lsnn_ctx *cx, const char *who, const lsnn_window *s);
static void lsnni_turn_run(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x, int n, size_t size,
                           int back, int add);
static lsnn_status lsnni_lanes_plan(lsnn_ctx *cx, lsnni_lanes *p, const lsnn_window *s,
                                    lsnni_way way, int chunk, int more_tables, size_t more,
                                    size_t *table, char **at);
static void lsnni_dw_tiles(const lsnni_kernels *kv, lsnni_tile *t, lsnn_real *c, int width,
                           const lsnn_real *dy, const lsnn_real *x, const int32_t *start,
                           const int32_t *item, int count);
static lsnn_status lsnni_blocks_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                        const lsnn_real *w, const lsnn_real *b,
                                        const lsnn_window *s, const lsnni_pooled *pool);
static lsnn_status lsnni_blocks_backward_x(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                           const lsnn_real *w, const lsnn_window *s, int add);
static lsnn_status lsnni_blocks_backward_w(lsnn_ctx *cx, lsnn_real *dw, lsnn_real *db,
                                           const lsnn_real *dy, const lsnn_real *x,
                                           const lsnn_window *s);
/* >>rows */
static lsnn_status lsnni_rows_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                      const lsnn_real *w, const lsnn_real *b,
                                      const lsnn_window *s, const lsnni_pooled *pool);
static lsnn_status lsnni_rows_backward_x(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                         const lsnn_real *w, const lsnn_window *s, int add);
static lsnn_status lsnni_rows_backward_w(lsnn_ctx *cx, lsnn_real *dw, lsnn_real *db,
                                         const lsnn_real *dy, const lsnn_real *x,
                                         const lsnn_window *s);
static int lsnni_pointwise(const lsnn_window *s);
static lsnn_status lsnni_pointwise_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                           const lsnn_real *w, const lsnn_real *b,
                                           const lsnn_window *s);
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

/* ---- >>layer: what the layers' files share ----------------------------------------
   How the net sees an op: plan computes shapes, parameters and counts from the inputs'
   shapes and the options; forward and backward run the op on a call's arrays. */
static lsnn_param_spec lsnni_spec(const char *name, int rank, int a, int b, int c, int d)
{
    lsnn_param_spec s;
    memset(&s, 0, sizeof s);
    s.name = name;
    s.rank = rank;
    s.dim[0] = a; s.dim[1] = b; s.dim[2] = c; s.dim[3] = d;
    s.count = 1;
    for (int i = 0; i < rank; i++) s.count *= (size_t)s.dim[i];
    return s;
}

/* Places in arrays of sizes ... x js x ks x ls, for the naive pairs.               */
static inline size_t lsnni_at2(int i, int j, int js)
{
    return (size_t)i * (size_t)js + (size_t)j;
}
static inline size_t lsnni_at3(int i, int j, int js, int k, int ks)
{
    return lsnni_at2(i, j, js) * (size_t)ks + (size_t)k;
}
static inline size_t lsnni_at4(int i, int j, int js, int k, int ks, int l, int ls)
{
    return lsnni_at3(i, j, js, k, ks) * (size_t)ls + (size_t)l;
}

/* A backward writes dx, or adds to it: the naive ones clear it first, and always add. */
static inline void lsnni_clear(lsnn_real *dx, size_t count, int add)
{
    if (dx && !add) memset(dx, 0, count * sizeof *dx);
}

/* 1 if none of them is NaN or infinite.                                        */
static int lsnni_finite(const lsnn_real *v, size_t count)
{
    for (size_t i = 0; i < count; i++) if (!(fabs((double)v[i]) <= DBL_MAX)) return 0;
    return 1;
}

static int lsnni_inner(lsnn_shape s) { return s.h * s.w; }
/* A block of images is like one image whose pixels are lanes as wide.        */
static int lsnni_lanes_or_1(const lsnn_call *c) { return c->lanes ? c->lanes : 1; }
static int lsnni_blocks(const lsnn_call *c) { return c->n / lsnni_lanes_or_1(c); }
static int lsnni_call_inner(const lsnn_call *c)
{
    return lsnni_inner(c->plan->in[0]) * lsnni_lanes_or_1(c);
}
static int lsnni_features(lsnn_shape s) { return s.c * s.h * s.w; }

/* The window of a call, for its number of images.                            */
static lsnn_status lsnni_window_of(lsnn_ctx *cx, lsnn_window *s, const lsnn_layer_plan *p,
                                   int n, int k)
{
    int pad[4];
    pad[0] = p->o.pad_top; pad[1] = p->o.pad_left;
    pad[2] = p->o.pad_bottom; pad[3] = p->o.pad_right;
    return lsnn_window_set(cx, s, n, p->in[0], k, p->o.kernel_h, p->o.kernel_w, p->o.stride_h,
                           p->o.stride_w, p->o.padding, pad);
}

static lsnn_status lsnni_call_window(lsnn_ctx *cx, lsnn_window *s, const lsnn_call *c)
{
    LSNNI_TRY(lsnni_window_of(cx, s, c->plan, c->n, c->plan->out.c));
    s->oh = c->plan->out.h;          /* less where nobody reads the rest      */
    s->ow = c->plan->out.w;
    s->lanes = c->lanes;
    return LSNN_OK;
}

static void lsnni_window_defaults(lsnn_options *o, int stride_h, int stride_w)
{
    if (!o->kernel_w) o->kernel_w = o->kernel_h;
    if (!o->stride_w) o->stride_w = o->stride_h ? o->stride_h : stride_w;
    if (!o->stride_h) o->stride_h = stride_h;
}

/* An option, or what it is where the caller left it 0.                        */
static double lsnni_or(double value, double otherwise)
{
    return value <= 0 && value >= 0 ? otherwise : value;     /* NaN stays, to be refused */
}

#define LSNNI_PARAM_OPTIONS "init init_scale lr_factor freeze no_decay "
#define LSNNI_WINDOW_OPTIONS "kernel_h kernel_w stride_h stride_w padding pad_top pad_left " \
                             "pad_bottom pad_right "
#define LSNNI_WEIGHTED LSNNI_PARAM_OPTIONS "no_bias filters "

static lsnn_status lsnni_plan_same(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    (void)cx;
    p->out = p->in[0];
    return LSNN_OK;
}

static size_t lsnni_call_count(const lsnn_call *c)
{
    return lsnni_area(c->n, lsnni_features(c->plan->in[0]));
}

/* What the plans of conv2d and local2d have in common.                       */
static lsnn_status lsnni_plan_kernels(lsnn_ctx *cx, lsnn_layer_plan *p, lsnn_window *s)
{
    lsnni_window_defaults(&p->o, 1, 1);
    LSNNI_TRY(lsnni_window_of(cx, s, p, 1, p->o.filters));
    LSNNI_TRY(lsnni_window_check(cx, "window", s, 1));
    p->out.c = s->k; p->out.h = s->oh; p->out.w = s->ow;
    p->params = p->o.no_bias ? 1 : 2;
    return LSNN_OK;
}

/* Each of a layer's units reads `inputs` numbers, and has a bias if that is a parameter,
   whatever weights they share: what the summary counts.                       */
static void lsnni_connect(lsnn_layer_plan *p, double inputs)
{
    double units = (double)lsnni_features(p->out);
    p->connections[0] = units * inputs;
    p->connections[1] = p->params > 1 ? units : 0;
}

/* The builders fill in what their positional arguments say.                   */
static lsnn_options lsnni_options(const lsnn_options *o)
{
    lsnn_options copy;
    memset(&copy, 0, sizeof copy);
    return o ? *o : copy;
}

static int lsnni_windowed(lsnn_net *net, const lsnn_layer_type *type, int x, int filters,
                          int kernel, const lsnn_options *o)
{
    lsnn_options all = lsnni_options(o);
    if (filters) all.filters = filters;
    if (!all.kernel_h) all.kernel_h = kernel;
    if (!all.kernel_w) all.kernel_w = kernel;
    return lsnn_layer(net, type, &x, 1, &all);
}

/* ---- >>input: where the batch's images enter --------------------------------------
   The first node of every net; its output is the caller's own array.         */
static lsnn_status lsnni_plan_input(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    (void)cx;
    p->out = p->in[0];               /* set by lsnn_input                     */
    return LSNN_OK;
}

static const lsnn_layer_type lsnni_input_type = {
    "input", "", 0, 0, LSNN_X_FREE, lsnni_plan_input, NULL, NULL, NULL, NULL
};
/* ---- >>dense --------------------------------------------------------------------
   y[n,k]   = b[k] + sum_c w[k,c] x[n,c]            x N,C  w K,C  b K  y N,K
   dx[n,c] (+)= sum_k w[k,c] dy[n,k]
   dw[k,c]   += sum_n dy[n,k] x[n,c]                db[k] += sum_n dy[n,k]
   Three matrix products of N*C*K multiply-adds (>>gemm). In forward both factors lie along
   the sum, so it is made of dot products, for one image as for a batch: an image's y has the
   same bits in any batch. For fewer than about 8 images it is bound by reading w.  */
static lsnn_status lsnni_dense_sizes(lsnn_ctx *cx, int n, int c, int k)
{
    LSNNI_TRY(lsnni_sizes3(cx, "dense (images x inputs)", n, c, 1));
    LSNNI_TRY(lsnni_sizes3(cx, "dense (inputs x outputs)", c, k, 1));
    return lsnni_sizes3(cx, "dense (images x outputs)", n, k, 1);
}

/* ---- The naive pair                                                        */
#ifdef LSNN_NAIVE
LSNN_API lsnn_status lsnn_dense_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                        const lsnn_real *w, const lsnn_real *b, int n, int c,
                                        int k)
{
    LSNNI_TRY(lsnni_dense_sizes(cx, n, c, k));
    for (int i = 0; i < n; i++)
    for (int j = 0; j < k; j++) {
        double sum = b ? (double)b[j] : 0;
        for (int l = 0; l < c; l++)
            sum += (double)x[lsnni_at2(i, l, c)] * (double)w[lsnni_at2(j, l, c)];
        y[lsnni_at2(i, j, k)] = LSNNI_R(sum);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_dense_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                         lsnn_real *db, const lsnn_real *dy,
                                         const lsnn_real *x, const lsnn_real *w, int n, int c,
                                         int k, int add)
{
    LSNNI_TRY(lsnni_dense_sizes(cx, n, c, k));
    lsnni_clear(dx, lsnni_area(n, c), add);
    for (int i = 0; i < n; i++)
    for (int j = 0; j < k; j++) {
        lsnn_real g = dy[lsnni_at2(i, j, k)];
        if (db) db[j] += g;
        for (int l = 0; l < c; l++) {
            if (dx) dx[lsnni_at2(i, l, c)] += g * w[lsnni_at2(j, l, c)];
            if (dw) dw[lsnni_at2(j, l, c)] += g * x[lsnni_at2(i, l, c)];
        }
    }
    return LSNN_OK;
}

#else /* ---- The fast pair ---------------------------------------------------------------*/
LSNN_API lsnn_status lsnn_dense_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                        const lsnn_real *w, const lsnn_real *b, int n, int c,
                                        int k)
{
    LSNNI_TRY(lsnni_dense_sizes(cx, n, c, k));
    return lsnni_gemm(cx, 0, 1, n, k, c, x, c, w, c, 0, y, k, b);
}

LSNN_API lsnn_status lsnn_dense_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                         lsnn_real *db, const lsnn_real *dy,
                                         const lsnn_real *x, const lsnn_real *w, int n, int c,
                                         int k, int add)
{
    const lsnni_kernels *kv = lsnni_kernels_of(cx);
    LSNNI_TRY(lsnni_dense_sizes(cx, n, c, k));
    if (dx) LSNNI_TRY(lsnn_gemm(cx, 0, 0, n, c, k, dy, k, w, c, add, dx, c));
    if (dw) LSNNI_TRY(lsnn_gemm(cx, 1, 0, k, c, n, dy, k, x, c, LSNN_ADD, dw, c));
    for (int i = 0; db && i < n; i++) kv->axpy(db, 1, dy + lsnni_area(i, k), (size_t)k);
    return LSNN_OK;
}

#endif /* LSNN_NAIVE */

/* ---- The layer ------------------------------------------------------------------------*/
static lsnn_status lsnni_plan_dense(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    int in = lsnni_features(p->in[0]), out = p->o.filters;
    LSNNI_TRY(lsnni_dense_sizes(cx, 1, in, out));
    p->out.c = out; p->out.h = p->out.w = 1;
    p->param[0] = lsnni_spec("weight", 2, out, in, 0, 0);
    p->param[0].fan_in = in;
    p->param[0].fan_out = out;
    p->param[1] = lsnni_spec("bias", 1, out, 0, 0, 0);
    p->param[1].no_decay = 1;
    p->params = p->o.no_bias ? 1 : 2;
    p->macs = ((double)in + (p->o.no_bias ? 0 : 1)) * out;
    lsnni_connect(p, in);
    return LSNN_OK;
}

static lsnn_status lsnni_forward_dense(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnn_dense_forward(cx, c->y, c->x[0], c->param[0], c->param[1], c->n,
                              lsnni_features(c->plan->in[0]), c->plan->out.c);
}

static lsnn_status lsnni_backward_dense(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnn_dense_backward(cx, c->dx[0], c->dparam[0], c->dparam[1], c->dy, c->x[0],
                               c->param[0], c->n, lsnni_features(c->plan->in[0]),
                               c->plan->out.c, c->add[0]);
}

static const lsnn_layer_type lsnni_dense_type = {
    "dense", LSNNI_WEIGHTED, 1, 1,
    LSNN_Y_FREE | LSNN_REHEARSES,
    lsnni_plan_dense, lsnni_forward_dense, lsnni_backward_dense, NULL, NULL
};

LSNN_API int lsnn_dense(lsnn_net *net, int x, int outputs, const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_dense_type, x, outputs, 0, o);
}
/* ---- >>rbf ----------------------------------------------------------------------
   y[n,k]    = -sum_c (x[n,c] - w[k,c])^2          x N,C  w K,C: centres  y N,K
   dx[n,c] (+)= -2 sum_k dy[n,k] (x[n,c] - w[k,c])
   dw[k,c]   +=  2 sum_n dy[n,k] (x[n,c] - w[k,c])
   Euclidean radial basis functions: the logarithm of a Gaussian round each centre, but for a
   constant. LeNet-5's output layer (LeCun et al. 1998, Eq. 7), whose penalties are these
   numbers with the other sign: so the largest wins, here as everywhere. Its centres are fixed
   pictures of the digits: with the option freeze they are a buffer, no parameters, all 0
   until lsnn_net_set sets "NAME.centre". Its losses: Eq. 9 is cross_entropy with the option
   rubbish, Eq. 8 the squares of x less the right class's centre.
   N*K*C multiply-adds forward, twice that backward; plain loops, for classes are few. */
static lsnn_status lsnni_rbf_sizes(lsnn_ctx *cx, int n, int c, int k)
{
    LSNNI_TRY(lsnni_sizes3(cx, "rbf", n, c, 1));
    LSNNI_TRY(lsnni_sizes3(cx, "rbf", c, k, 1));
    return lsnni_sizes3(cx, "rbf", n, k, 1);
}

LSNN_API lsnn_status lsnn_rbf_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                      const lsnn_real *w, int n, int c, int k)
{
    LSNNI_TRY(lsnni_rbf_sizes(cx, n, c, k));
    for (int i = 0; i < n; i++)
    for (int j = 0; j < k; j++) {
        double sum = 0;
        for (int l = 0; l < c; l++) {
            double d = (double)x[lsnni_at2(i, l, c)] - (double)w[lsnni_at2(j, l, c)];
            sum += d * d;
        }
        y[lsnni_at2(i, j, k)] = LSNNI_R(-sum);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_rbf_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                       const lsnn_real *dy, const lsnn_real *x,
                                       const lsnn_real *w, int n, int c, int k, int add)
{
    LSNNI_TRY(lsnni_rbf_sizes(cx, n, c, k));
    lsnni_clear(dx, lsnni_area(n, c), add);
    for (int i = 0; i < n; i++)
    for (int j = 0; j < k; j++) {
        lsnn_real g = 2 * dy[lsnni_at2(i, j, k)];
        for (int l = 0; l < c; l++) {
            lsnn_real d = x[lsnni_at2(i, l, c)] - w[lsnni_at2(j, l, c)];
            if (dx) dx[lsnni_at2(i, l, c)] -= g * d;
            if (dw) dw[lsnni_at2(j, l, c)] += g * d;
        }
    }
    return LSNN_OK;
}

/* ---- The layer ------------------------------------------------------------------------*/
static lsnn_status lsnni_plan_rbf(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    int in = lsnni_features(p->in[0]), out = p->o.filters;
    lsnn_param_spec centre;
    LSNNI_TRY(lsnni_rbf_sizes(cx, 1, in, out));
    p->out.c = out; p->out.h = p->out.w = 1;
    centre = lsnni_spec("centre", 2, out, in, 0, 0);
    centre.no_decay = 1;
    p->params = p->o.freeze ? 0 : 1;
    p->buffers = p->o.freeze ? 1 : 0;
    p->param[0] = p->buffer[0] = centre;
    p->macs = (double)in * out;
    lsnni_connect(p, in);
    return LSNN_OK;
}

/* Corners of a cube, +-1: far apart, as the codes of classes should be.       */
static void lsnni_init_rbf(const lsnn_layer_plan *p, int i, lsnn_real *v, lsnn_rng *rng)
{
    double size = lsnni_or(p->o.init_scale, 1);
    for (size_t j = 0; j < p->param[i].count; j++)
        v[j] = LSNNI_R(lsnn_rng_int(rng, 2) ? size : -size);
}

static const lsnn_real *lsnni_rbf_centre(const lsnn_call *c)
{
    return c->plan->params ? c->param[0] : c->buffer[0];
}

static lsnn_status lsnni_forward_rbf(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnn_rbf_forward(cx, c->y, c->x[0], lsnni_rbf_centre(c), c->n,
                            lsnni_features(c->plan->in[0]), c->plan->out.c);
}

static lsnn_status lsnni_backward_rbf(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnn_rbf_backward(cx, c->dx[0], c->dparam[0], c->dy, c->x[0], lsnni_rbf_centre(c),
                             c->n, lsnni_features(c->plan->in[0]), c->plan->out.c, c->add[0]);
}

static const lsnn_layer_type lsnni_rbf_type = {
    "rbf", "filters init_scale lr_factor freeze", 1, 1,
    LSNN_Y_FREE,
    lsnni_plan_rbf, lsnni_forward_rbf, lsnni_backward_rbf, lsnni_init_rbf, NULL
};

LSNN_API int lsnn_rbf(lsnn_net *net, int x, int outputs, const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_rbf_type, x, outputs, 0, o);
}
/* ---- >>activations ----------------------------------------------------------------
   relu max(x, 0)   leaky_relu x or slope*x   sigmoid 1 / (1 + e^-x)   tanh
   scaled_tanh A tanh(S x), A = 1.7159, S = 2/3, so that f(1) = 1 and f(-1) = -1
                          (LeCun et al. 1998, "Gradient-based learning", Eq. 6 and appendix A)
   Gradients in terms of y: [y > 0], [y > 0] or slope, y (1 - y), 1 - y^2, S (A - y^2 / A);
   relu's at 0 is 0.                                                         */
enum { LSNNI_PIECE = 16384 };        /* numbers a task of elementwise work    */

static lsnn_status lsnni_activation_check(lsnn_ctx *cx, lsnn_act f, size_t count, double slope)
{
    if (count / LSNNI_PIECE >= INT_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE, "activation: %.3g numbers are too many",
                          (double)count);
    if ((int)f < 0 || (int)f > (int)LSNN_SCALED_TANH)
        return lsnni_fail(cx, LSNN_EVALUE, "activation: %d is none of lsnn_act", (int)f);
    if (f == LSNN_LEAKY_RELU && !(slope > 0))
        return lsnni_fail(cx, LSNN_EVALUE, "leaky_relu: slope %g must be positive", slope);
    return LSNN_OK;
}

/* ---- The naive pair, a number at a time: f(x), and f'(x) in terms of y; NaN stays NaN. */
#ifdef LSNN_NAIVE
static double lsnni_act(lsnn_act f, double x, double slope)
{
    switch (f) {
    case LSNN_RELU:       return x < 0 ? 0 : x;
    case LSNN_LEAKY_RELU: return x < 0 ? slope * x : x;
    case LSNN_SIGMOID:    return 1 / (1 + exp(-x));
    case LSNN_TANH:       return tanh(x);
    default:              return LSNNI_TANH_A * tanh(LSNNI_TANH_S * x);
    }
}

static double lsnni_act_slope(lsnn_act f, double y, double slope)
{
    switch (f) {
    case LSNN_RELU:       return y > 0 ? 1 : 0;
    case LSNN_LEAKY_RELU: return y > 0 ? 1 : slope;
    case LSNN_SIGMOID:    return y * (1 - y);
    case LSNN_TANH:       return 1 - y * y;
    default:              return LSNNI_TANH_S * (LSNNI_TANH_A - y * y / LSNNI_TANH_A);
    }
}

LSNN_API lsnn_status lsnn_activation_forward(lsnn_ctx *cx, lsnn_act f, lsnn_real *y,
                                             const lsnn_real *x, size_t count, double slope)
{
    LSNNI_TRY(lsnni_activation_check(cx, f, count, slope));
    for (size_t i = 0; i < count && y; i++) y[i] = LSNNI_R(lsnni_act(f, (double)x[i], slope));
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_activation_backward(lsnn_ctx *cx, lsnn_act f, lsnn_real *dx,
                                              const lsnn_real *dy, const lsnn_real *y,
                                              size_t count, double slope, int add)
{
    LSNNI_TRY(lsnni_activation_check(cx, f, count, slope));
    for (size_t i = 0; i < count && dx; i++) {
        double g = (double)dy[i] * lsnni_act_slope(f, (double)y[i], slope);
        dx[i] = LSNNI_R(g + (add ? (double)dx[i] : 0));
    }
    return LSNN_OK;
}

#else /* ---- The fast pair: bound by memory ----------------------------------------------*/
typedef struct lsnni_elementwise {
    const lsnni_kernels *kv;
    lsnn_act f;
    const lsnn_real *x, *dy;
    lsnn_real *y;
    size_t count;
    double slope;
    int add;
} lsnni_elementwise;

static void lsnni_activation_task(void *user, int i, int worker)
{
    const lsnni_elementwise *p = (const lsnni_elementwise *)user;
    size_t first = (size_t)i * LSNNI_PIECE;
    size_t n = LSNNI_MIN((size_t)LSNNI_PIECE, p->count - first);
    (void)worker;
    if (p->dy)
        p->kv->act_backward(p->f, p->y + first, p->dy + first, p->x + first, n, p->slope,
                            p->add);
    else
        p->kv->act_forward(p->f, p->y + first, p->x + first, n, p->slope);
}

static lsnn_status lsnni_activation(lsnn_ctx *cx, lsnn_act f, lsnn_real *y, const lsnn_real *dy,
                                    const lsnn_real *x, size_t count, double slope, int add)
{
    lsnni_elementwise p;
    LSNNI_TRY(lsnni_activation_check(cx, f, count, slope));
    if (!y) return LSNN_OK;
    p.kv = lsnni_kernels_of(cx);
    p.f = f; p.x = x; p.dy = dy; p.y = y; p.count = count; p.slope = slope; p.add = add;
    lsnn_parallel(cx, (int)((count + LSNNI_PIECE - 1) / LSNNI_PIECE), lsnni_activation_task,
                  &p);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_activation_forward(lsnn_ctx *cx, lsnn_act f, lsnn_real *y,
                                             const lsnn_real *x, size_t count, double slope)
{
    return lsnni_activation(cx, f, y, NULL, x, count, slope, 0);
}

LSNN_API lsnn_status lsnn_activation_backward(lsnn_ctx *cx, lsnn_act f, lsnn_real *dx,
                                              const lsnn_real *dy, const lsnn_real *y,
                                              size_t count, double slope, int add)
{
    return lsnni_activation(cx, f, dx, dy, y, count, slope, add);
}

#endif /* LSNN_NAIVE */

/* ---- The layers -----------------------------------------------------------------------*/
#define LSNNI_ACTIVATION(name, kind)                                                     \
    static lsnn_status lsnni_forward_##name(lsnn_ctx *cx, lsnn_call *c)                  \
    {                                                                                    \
        return lsnn_activation_forward(cx, kind, c->y, c->x[0], lsnni_call_count(c),     \
                                       c->plan->o.slope);                                \
    }                                                                                    \
    static lsnn_status lsnni_backward_##name(lsnn_ctx *cx, lsnn_call *c)                 \
    {                                                                                    \
        return lsnn_activation_backward(cx, kind, c->dx[0], c->dy, c->y,                 \
                                        lsnni_call_count(c), c->plan->o.slope, c->add[0]); \
    }
LSNNI_ACTIVATION(relu, LSNN_RELU)
LSNNI_ACTIVATION(leaky_relu, LSNN_LEAKY_RELU)
LSNNI_ACTIVATION(sigmoid, LSNN_SIGMOID)
LSNNI_ACTIVATION(tanh, LSNN_TANH)
LSNNI_ACTIVATION(scaled_tanh, LSNN_SCALED_TANH)
#undef LSNNI_ACTIVATION

static lsnn_status lsnni_plan_leaky_relu(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    p->o.slope = lsnni_or(p->o.slope, 0.01);
    if (!(p->o.slope > 0))
        return lsnni_fail(cx, LSNN_EVALUE, "leaky_relu: slope %g must be positive", p->o.slope);
    return lsnni_plan_same(cx, p);
}

static const lsnn_layer_type lsnni_relu_type = {
    "relu", "", 1, 1,
    LSNN_IN_PLACE | LSNN_BLOCKS_ALL | LSNN_REHEARSES | LSNN_IS_RELU,
    lsnni_plan_same, lsnni_forward_relu, lsnni_backward_relu, NULL, NULL
};

static const lsnn_layer_type lsnni_leaky_relu_type = {
    "leaky_relu", "slope", 1, 1,
    LSNN_IN_PLACE | LSNN_BLOCKS_ALL | LSNN_REHEARSES,
    lsnni_plan_leaky_relu, lsnni_forward_leaky_relu, lsnni_backward_leaky_relu, NULL, NULL
};

static const lsnn_layer_type lsnni_sigmoid_type = {
    "sigmoid", "", 1, 1,
    LSNN_IN_PLACE | LSNN_BLOCKS_ALL | LSNN_REHEARSES,
    lsnni_plan_same, lsnni_forward_sigmoid, lsnni_backward_sigmoid, NULL, NULL
};

static const lsnn_layer_type lsnni_tanh_type = {
    "tanh", "", 1, 1,
    LSNN_IN_PLACE | LSNN_BLOCKS_ALL | LSNN_REHEARSES,
    lsnni_plan_same, lsnni_forward_tanh, lsnni_backward_tanh, NULL, NULL
};

static const lsnn_layer_type lsnni_scaled_tanh_type = {
    "scaled_tanh", "", 1, 1,
    LSNN_IN_PLACE | LSNN_BLOCKS_ALL | LSNN_REHEARSES,
    lsnni_plan_same, lsnni_forward_scaled_tanh, lsnni_backward_scaled_tanh, NULL, NULL
};

LSNN_API int lsnn_relu(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_relu_type, &x, 1, o);
}

LSNN_API int lsnn_leaky_relu(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_leaky_relu_type, &x, 1, o);
}

LSNN_API int lsnn_sigmoid(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_sigmoid_type, &x, 1, o);
}

LSNN_API int lsnn_tanh(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_tanh_type, &x, 1, o);
}

LSNN_API int lsnn_scaled_tanh(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_scaled_tanh_type, &x, 1, o);
}
/* ---- >>softmax --------------------------------------------------------------------
   y[c] = e^(x[c] - max x) / sum_c' e^(x[c'] - max x)     dx[c] (+)= y[c] (dy[c] - sum dy y) */
/* ---- The naive pair                                                        */
#ifdef LSNN_NAIVE
LSNN_API lsnn_status lsnn_softmax_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                          int n, int c, int inner)
{
    LSNNI_TRY(lsnni_sizes3(cx, "softmax (images x channels x pixels)", n, c, inner));
    for (int l = 0; l < n; l++)
    for (int i = 0; i < inner; i++) {
        double most = (double)x[lsnni_at3(l, 0, c, i, inner)], sum = 0;
        for (int k = 1; k < c; k++)
            most = LSNNI_MAX(most, (double)x[lsnni_at3(l, k, c, i, inner)]);
        for (int k = 0; k < c; k++)
            sum += exp((double)x[lsnni_at3(l, k, c, i, inner)] - most);
        for (int k = 0; k < c; k++) {
            size_t at = lsnni_at3(l, k, c, i, inner);
            y[at] = LSNNI_R(exp((double)x[at] - most) / sum);
        }
    }
    return LSNN_OK;
}

/* dy[d]/dx[c] = y[d] (d == c) - y[d] y[c], so dx[c] = y[c] (dy[c] - sum_d dy[d] y[d]) */
LSNN_API lsnn_status lsnn_softmax_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                           const lsnn_real *y, int n, int c, int inner, int add)
{
    LSNNI_TRY(lsnni_sizes3(cx, "softmax (images x channels x pixels)", n, c, inner));
    lsnni_clear(dx, lsnni_at3(n, 0, c, 0, inner), add);
    for (int l = 0; l < n && dx; l++)
    for (int i = 0; i < inner; i++) {
        double dot = 0;
        for (int k = 0; k < c; k++) {
            size_t at = lsnni_at3(l, k, c, i, inner);
            dot += (double)dy[at] * (double)y[at];
        }
        for (int k = 0; k < c; k++) {
            size_t at = lsnni_at3(l, k, c, i, inner);
            dx[at] += LSNNI_R((double)y[at] * ((double)dy[at] - dot));
        }
    }
    return LSNN_OK;
}

#else /* ---- The fast pair: an image a task ----------------------------------------------*/
typedef struct lsnni_softmax {
    const lsnni_kernels *kv;
    const lsnn_real *x, *dy;
    lsnn_real *y;
    int c, inner, add;
} lsnni_softmax;

static void lsnni_softmax_task(void *user, int n, int worker)
{
    const lsnni_softmax *p = (const lsnni_softmax *)user;
    size_t step = (size_t)p->inner, first = lsnni_area(n, p->c) * step;
    (void)worker;
    for (int i = 0; i < p->inner; i++) {
        const lsnn_real *x = p->x + first + (size_t)i;
        lsnn_real *y = p->y + first + (size_t)i, most = x[0];
        double sum = 0;
        for (int c = 1; c < p->c; c++)
            if (x[(size_t)c * step] > most) most = x[(size_t)c * step];
        for (int c = 0; c < p->c; c++) y[(size_t)c * step] = x[(size_t)c * step] - most;
        if (p->inner == 1) (p->kv->exp)(y, y, (size_t)p->c);     /* not tgmath.h's */
        for (int c = 0; c < p->c; c++) {
            if (p->inner > 1) y[(size_t)c * step] = LSNNI_R(exp((double)y[(size_t)c * step]));
            sum += (double)y[(size_t)c * step];
        }
        for (int c = 0; c < p->c; c++)
            y[(size_t)c * step] = LSNNI_R((double)y[(size_t)c * step] / sum);
    }
}

static void lsnni_softmax_back_task(void *user, int n, int worker)
{
    const lsnni_softmax *p = (const lsnni_softmax *)user;     /* x is y, y is dx */
    size_t step = (size_t)p->inner, first = lsnni_area(n, p->c) * step;
    (void)worker;
    for (int i = 0; i < p->inner; i++) {
        const lsnn_real *y = p->x + first + (size_t)i, *dy = p->dy + first + (size_t)i;
        lsnn_real *dx = p->y + first + (size_t)i;
        double sum = 0;
        for (int c = 0; c < p->c; c++)
            sum += (double)y[(size_t)c * step] * (double)dy[(size_t)c * step];
        for (int c = 0; c < p->c; c++) {
            lsnn_real g = LSNNI_R((double)y[(size_t)c * step] *
                                  ((double)dy[(size_t)c * step] - sum));
            dx[(size_t)c * step] = p->add ? dx[(size_t)c * step] + g : g;
        }
    }
}

static lsnn_status lsnni_softmax_run(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *dy,
                                     const lsnn_real *x, int n, int c, int inner, int add)
{
    lsnni_softmax p;
    LSNNI_TRY(lsnni_sizes3(cx, "softmax (images x channels x pixels)", n, c, inner));
    if (!y) return LSNN_OK;
    p.kv = lsnni_kernels_of(cx);
    p.x = x; p.dy = dy; p.y = y; p.c = c; p.inner = inner; p.add = add;
    lsnn_parallel(cx, n, dy ? lsnni_softmax_back_task : lsnni_softmax_task, &p);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_softmax_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                          int n, int c, int inner)
{
    return lsnni_softmax_run(cx, y, NULL, x, n, c, inner, 0);
}

LSNN_API lsnn_status lsnn_softmax_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                           const lsnn_real *y, int n, int c, int inner, int add)
{
    return lsnni_softmax_run(cx, dx, dy, y, n, c, inner, add);
}

#endif /* LSNN_NAIVE */

/* ---- The layer ------------------------------------------------------------------------*/
static lsnn_status lsnni_forward_softmax(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_shape s = c->plan->in[0];
    return lsnn_softmax_forward(cx, c->y, c->x[0], c->n, s.c, lsnni_inner(s));
}

static lsnn_status lsnni_backward_softmax(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_shape s = c->plan->in[0];
    return lsnn_softmax_backward(cx, c->dx[0], c->dy, c->y, c->n, s.c, lsnni_inner(s),
                                 c->add[0]);
}

static const lsnn_layer_type lsnni_softmax_type = {
    "softmax", "", 1, 1,
    LSNN_X_FREE | LSNN_REHEARSES,
    lsnni_plan_same, lsnni_forward_softmax, lsnni_backward_softmax, NULL, NULL
};

LSNN_API int lsnn_softmax(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_softmax_type, &x, 1, o);
}
/* ---- >>pooling --------------------------------------------------------------------
   max  y[p] = max of the window's pixels; dx at that pixel (+)= dy[p]
   sum  y[p] = sum of them;                dx at all of them (+)= dy[p]
   average: sum / number of pixels inside the image. Padding never counts.    */
typedef enum lsnni_pool_kind { LSNNI_POOL_MAX, LSNNI_POOL_SUM, LSNNI_POOL_AVG } lsnni_pool_kind;
typedef struct lsnni_pool {
    const lsnni_kernels *kv;
    const lsnn_window *s;
    lsnni_pool_kind kind;
    const lsnn_real *x;
    lsnn_real *y;
    int32_t *where, *taps;
    const int32_t *from;
    int add, backward, relu;         /* relu: y = relu(max), where = -1 if it is 0 */
    int apart;                       /* windows don't overlap, dx is written  */
} lsnni_pool;

/* The part of a window's side that lies inside the image: [*a, *b).          */
static void lsnni_pool_side(int out, int stride, int pad, int kernel, int size, int *a, int *b)
{
    int first = out * stride - pad;
    *a = LSNNI_MAX(first, 0);
    *b = LSNNI_MIN(first + kernel, size);
}

static void lsnni_max_window(const lsnni_pool *p, const lsnn_real *x, int oy, int ox,
                             lsnn_real *y, int32_t *where)
{
    const lsnn_window *s = p->s;
    int y0, y1, x0, x1, best;
    lsnni_pool_side(oy, s->stride_h, s->pad_top, s->kernel_h, s->h, &y0, &y1);
    lsnni_pool_side(ox, s->stride_w, s->pad_left, s->kernel_w, s->w, &x0, &x1);
    if (y0 >= y1 || x0 >= x1) {      /* a window of padding alone             */
        *y = 0;
        *where = -1;
        return;
    }
    best = y0 * s->w + x0;
    for (int i = y0; i < y1; i++)
        for (int j = x0; j < x1; j++) {
            lsnn_real v = x[i * s->w + j];
            if (v > x[best] || v != v) best = i * s->w + j;     /* NaN wins       */
        }
    *y = x[best];
    *where = best;
}

/* 1: 2 x 2 windows side by side, all inside the image.                       */
static int lsnni_pool_halves(const lsnn_window *s)
{
    return s->kernel_h == 2 && s->kernel_w == 2 && s->stride_h == 2 && s->stride_w == 2 &&
           !s->pad_top && !s->pad_left && 2 * s->oh <= s->h && 2 * s->ow <= s->w;
}

static lsnn_status lsnni_pool_check(lsnn_ctx *cx, const lsnn_window *s)
{
    LSNNI_TRY(lsnni_window_check(cx, "pool", s, 0));
    if (s->k != s->c || (double)s->n * s->c > INT_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE, "pool: %d images of %d channels in, %d out: the "
                          "channels must be equal, and their number an int", s->n, s->c, s->k);
    return LSNN_OK;
}

#ifdef LSNN_NAIVE
#define LSNNI_POOL_FUSES 0
/* ---- The naive pair, a map at a time: x is dy and y is dx in backward                     */
static void lsnni_naive_max(const lsnni_pool *p, const lsnn_real *x, lsnn_real *y,
                            int32_t *where)
{
    for (int i = 0; i < p->s->oh; i++)
    for (int j = 0; j < p->s->ow; j++, y++, where++) lsnni_max_window(p, x, i, j, y, where);
}

static void lsnni_naive_max_back(const lsnni_pool *p, lsnn_real *dx, const lsnn_real *dy,
                                 const int32_t *from)
{
    for (int q = 0; q < p->s->oh * p->s->ow; q++) if (from[q] >= 0) dx[from[q]] += dy[q];
}

/* What one pixel of window (i, j) counts: 1, or in an average 1 / pixels inside the image. */
static double lsnni_share_of(const lsnni_pool *p, int i, int j, int box[4])
{
    const lsnn_window *s = p->s;
    lsnni_pool_side(i, s->stride_h, s->pad_top, s->kernel_h, s->h, &box[0], &box[1]);
    lsnni_pool_side(j, s->stride_w, s->pad_left, s->kernel_w, s->w, &box[2], &box[3]);
    if (p->kind != LSNNI_POOL_AVG || box[0] >= box[1] || box[2] >= box[3]) return 1;
    return 1.0 / ((box[1] - box[0]) * (box[3] - box[2]));
}

static void lsnni_naive_sum(const lsnni_pool *p, const lsnn_real *x, lsnn_real *y)
{
    for (int i = 0; i < p->s->oh; i++)
    for (int j = 0; j < p->s->ow; j++) {
        double sum = 0, share;
        int box[4];
        share = lsnni_share_of(p, i, j, box);
        for (int r = box[0]; r < box[1]; r++)
        for (int c = box[2]; c < box[3]; c++) sum += (double)x[r * p->s->w + c];
        *y++ = LSNNI_R(sum * share);
    }
}

static void lsnni_naive_sum_back(const lsnni_pool *p, lsnn_real *dx, const lsnn_real *dy)
{
    for (int i = 0; i < p->s->oh; i++)
    for (int j = 0; j < p->s->ow; j++) {
        int box[4];
        double share = lsnni_share_of(p, i, j, box), g = (double)*dy++ * share;
        for (int r = box[0]; r < box[1]; r++)
        for (int c = box[2]; c < box[3]; c++) dx[r * p->s->w + c] += LSNNI_R(g);
    }
}

static lsnn_status lsnni_pool_run(lsnn_ctx *cx, lsnni_pool_kind kind, lsnn_real *y,
                                  const lsnn_real *x, int32_t *where, const int32_t *from,
                                  const lsnn_window *s, int backward, int add, int relu)
{
    size_t in, out;
    lsnni_pool p;
    LSNNI_TRY(lsnni_pool_check(cx, s));
    (void)relu;
    memset(&p, 0, sizeof p);
    p.s = s; p.kind = kind;
    in = lsnni_area(s->h, s->w);
    out = lsnni_area(s->oh, s->ow);
    if (backward) lsnni_clear(y, in * lsnni_area(s->n, s->c), add);
    for (size_t m = 0; m < lsnni_area(s->n, s->c) && y; m++) {
        const lsnn_real *xm = x + m * (backward ? out : in);
        lsnn_real *ym = y + m * (backward ? in : out);
        int max = kind == LSNNI_POOL_MAX;
        if (max && backward) lsnni_naive_max_back(&p, ym, xm, from + m * out);
        else if (max) lsnni_naive_max(&p, xm, ym, where + m * out);
        else if (backward) lsnni_naive_sum_back(&p, ym, xm);
        else lsnni_naive_sum(&p, xm, ym);
    }
    return LSNN_OK;
}

#else /* ---- The fast pair: bound by the loads of x and dx ---------------------------------*/
#define LSNNI_POOL_FUSES LSNN_RELU_BEFORE | LSNN_IS_MAX2
static void lsnni_max_pool_task(void *user, int i, int worker)
{
    const lsnni_pool *p = (const lsnni_pool *)user;
    const lsnn_window *s = p->s;
    const lsnn_real *x = p->x + (size_t)i * lsnni_area(s->h, s->w);
    lsnn_real *y = p->y + (size_t)i * lsnni_area(s->oh, s->ow);
    int32_t *where = p->where + (size_t)i * lsnni_area(s->oh, s->ow);
    int halves = lsnni_pool_halves(s);
    (void)worker;
    for (int oy = 0; oy < s->oh; oy++, y += s->ow, where += s->ow) {
        if (halves) {
            p->kv->max_pool2(y, where, x + 2 * oy * s->w, s->w, s->w, 2 * oy * s->w, s->ow,
                             p->relu);
            continue;
        }
        for (int ox = 0; ox < s->ow; ox++)
            lsnni_max_window(p, x, oy, ox, y + ox, where + ox);
        for (int ox = 0; p->relu && ox < s->ow; ox++) {
            if (!(y[ox] > 0)) where[ox] = -1;
            if (y[ox] < 0) y[ox] = 0;
        }
    }
}

static void lsnni_max_pool_back_task(void *user, int i, int worker)
{
    const lsnni_pool *p = (const lsnni_pool *)user;      /* x is dy, y is dx  */
    size_t in = lsnni_area(p->s->h, p->s->w), out = lsnni_area(p->s->oh, p->s->ow);
    lsnn_real *dx = p->y + (size_t)i * in;
    const lsnn_real *dy = p->x + (size_t)i * out;
    const int32_t *from = p->from + (size_t)i * out;
    (void)worker;
    if (!p->add) memset(dx, 0, in * sizeof *dx);
    for (size_t q = 0; q < out; q++) if (from[q] >= 0) dx[from[q]] += dy[q];
}

static void lsnni_sum_pool_task(void *user, int i, int worker)
{
    const lsnni_pool *p = (const lsnni_pool *)user;
    const lsnn_window *s = p->s;
    const lsnn_real *x = p->x + (size_t)i * lsnni_area(s->h, s->w);
    lsnn_real *y = p->y + (size_t)i * lsnni_area(s->oh, s->ow);
    int y0, y1, x0, x1, average = p->kind == LSNNI_POOL_AVG;
    int whole = s->oh == 1 && s->ow == 1 && s->kernel_h == s->h && s->kernel_w == s->w;
    (void)worker;
    if (whole && !s->pad_top && !s->pad_left) {
        size_t area = lsnni_area(s->h, s->w);
        *y = LSNNI_R(p->kv->sum(x, area) / (average ? (double)area : 1));
        return;
    }
    if (lsnni_pool_halves(s)) {
        for (int oy = 0; oy < s->oh; oy++)
            p->kv->sum_pool2(y + oy * s->ow, x + 2 * oy * s->w, s->w, s->ow,
                             average ? 0.25 : 1);
        return;
    }
    for (int oy = 0; oy < s->oh; oy++)
        for (int ox = 0; ox < s->ow; ox++) {
            double sum = 0;
            lsnni_pool_side(oy, s->stride_h, s->pad_top, s->kernel_h, s->h, &y0, &y1);
            lsnni_pool_side(ox, s->stride_w, s->pad_left, s->kernel_w, s->w, &x0, &x1);
            for (int r = y0; r < y1; r++)
                for (int c = x0; c < x1; c++) sum += (double)x[r * s->w + c];
            if (average && y0 < y1 && x0 < x1) sum /= (y1 - y0) * (x1 - x0);
            *y++ = LSNNI_R(sum);
        }
}

static void lsnni_sum_pool_back_task(void *user, int i, int worker)
{
    const lsnni_pool *p = (const lsnni_pool *)user;      /* x is dy, y is dx  */
    const lsnn_window *s = p->s;
    const lsnn_real *dy = p->x + (size_t)i * lsnni_area(s->oh, s->ow);
    lsnn_real *dx = p->y + (size_t)i * lsnni_area(s->h, s->w);
    int y0, y1, x0, x1;
    (void)worker;
    if (!p->add) memset(dx, 0, lsnni_area(s->h, s->w) * sizeof *dx);
    for (int oy = 0; oy < s->oh; oy++)
        for (int ox = 0; ox < s->ow; ox++) {
            lsnn_real g = *dy++;
            lsnni_pool_side(oy, s->stride_h, s->pad_top, s->kernel_h, s->h, &y0, &y1);
            lsnni_pool_side(ox, s->stride_w, s->pad_left, s->kernel_w, s->w, &x0, &x1);
            if (p->kind == LSNNI_POOL_AVG && y0 < y1 && x0 < x1)
                g /= LSNNI_R((y1 - y0) * (x1 - x0));
            for (int r = y0; r < y1; r++)
                for (int c = x0; c < x1; c++) dx[r * s->w + c] += g;
        }
}

/* Windows [ox, ox + run) of output row oy of one block's plane; `taps` has room for
   a window's pixels.                                                         */
static void lsnni_pool_lanes_run(const lsnni_pool *p, size_t plane, int oy, int ox, int run,
                                 int32_t *taps)
{
    const lsnn_window *s = p->s;
    size_t lanes = (size_t)p->kv->lanes, out = lsnni_area(s->oh, s->ow) * lanes;
    size_t in = lsnni_area(s->h, s->w) * lanes;
    size_t to = plane * out + lsnni_area(oy * s->ow + ox, (int)lanes);
    int y0, y1, x0, x1, count = 0;
    double scale;
    lsnni_pool_side(oy, s->stride_h, s->pad_top, s->kernel_h, s->h, &y0, &y1);
    lsnni_pool_side(ox, s->stride_w, s->pad_left, s->kernel_w, s->w, &x0, &x1);
    for (int r = y0; r < y1; r++)
        for (int c = x0; c < x1; c++) taps[count++] = (r - y0) * s->w + c - x0;
    scale = p->kind == LSNNI_POOL_AVG && count ? 1.0 / count : 1;
    if (count == 0 && !p->backward) {                    /* padding alone     */
        for (size_t l = 0; l < lanes * (size_t)run; l++) p->y[to + l] = 0;
        for (size_t l = 0; p->where && l < lanes * (size_t)run; l++) p->where[to + l] = -1;
    } else if (count == 0) return;
    else if (p->kind == LSNNI_POOL_MAX && p->backward)
        p->kv->lanes_max_back(p->y + plane * in, p->x + to, p->from + to, taps, count,
                              s->stride_w, y0 * s->w + x0, run, p->apart);
    else if (p->kind == LSNNI_POOL_MAX)
        p->kv->lanes_max(p->y + to, p->where + to, p->x + plane * in, taps, count, s->stride_w,
                         y0 * s->w + x0, 0, run, p->relu);
    else if (p->backward)
        p->kv->lanes_sum_back(p->y + plane * in, p->x + to, taps, count, s->stride_w,
                              y0 * s->w + x0, run, scale);
    else
        p->kv->lanes_sum(p->y + to, p->x + plane * in, taps, count, s->stride_w,
                         y0 * s->w + x0, run, scale);
}

/* One plane of a block of images (see >>lanes).                              */
static void lsnni_pool_lanes_task(void *user, int plane, int worker)
{
    const lsnni_pool *p = (const lsnni_pool *)user;
    const lsnn_window *s = p->s;
    size_t in = lsnni_area(s->h, s->w) * (size_t)p->kv->lanes;
    int32_t *taps = p->taps + lsnni_area(worker, s->kernel_h * s->kernel_w);
    int tiled = p->kind == LSNNI_POOL_MAX && !s->pad_top && !s->pad_left &&
        s->stride_h == s->kernel_h && s->oh * s->kernel_h == s->h &&
        s->stride_w == s->kernel_w && s->ow * s->kernel_w == s->w;   /* all is written */
    if (p->backward && !p->add && !tiled)
        memset(p->y + (size_t)plane * in, 0, in * sizeof *p->y);
    for (int oy = 0; oy < s->oh; oy++)
        for (int ox = 0, run; ox < s->ow; ox += run) {   /* whole windows in one go */
            int left = ox * s->stride_w - s->pad_left, room = s->w - s->kernel_w - left;
            run = left < 0 || room < 0 ? 1 : LSNNI_MIN(room / s->stride_w + 1, s->ow - ox);
            lsnni_pool_lanes_run(p, (size_t)plane, oy, ox, run, taps);
        }
}

static lsnn_status lsnni_pool_run(lsnn_ctx *cx, lsnni_pool_kind kind, lsnn_real *y,
                                  const lsnn_real *x, int32_t *where, const int32_t *from,
                                  const lsnn_window *s, int backward, int add, int relu)
{
    lsnni_pool p;
    LSNNI_TRY(lsnni_pool_check(cx, s));
    if (!y) return LSNN_OK;
    p.kv = lsnni_kernels_of(cx);
    p.s = s; p.kind = kind; p.x = x; p.y = y; p.where = where; p.from = from; p.add = add;
    p.backward = backward;
    p.relu = relu;
    p.apart = !add && s->stride_h >= s->kernel_h && s->stride_w >= s->kernel_w;
    if (s->lanes > 1) {
        LSNNI_TRY(lsnni_lanes_check(cx, "pool", s));
        p.taps = (int32_t *)lsnni_scratch(cx, lsnni_area(lsnn_ctx_threads(cx), s->kernel_h) *
                                          (size_t)s->kernel_w, sizeof *p.taps);
        if (!p.taps) return LSNN_ENOMEM;
        lsnn_parallel(cx, s->n / s->lanes * s->c, lsnni_pool_lanes_task, &p);
    } else if (kind == LSNNI_POOL_MAX)
        lsnn_parallel(cx, s->n * s->c, backward ? lsnni_max_pool_back_task :
                      lsnni_max_pool_task, &p);
    else
        lsnn_parallel(cx, s->n * s->c, backward ? lsnni_sum_pool_back_task :
                      lsnni_sum_pool_task, &p);
    return LSNN_OK;
}
#endif /* LSNN_NAIVE */

LSNN_API lsnn_status lsnn_max_pool_forward(lsnn_ctx *cx, lsnn_real *y, int32_t *where,
                                           const lsnn_real *x, const lsnn_window *s)
{
    return lsnni_pool_run(cx, LSNNI_POOL_MAX, y, x, where, NULL, s, 0, 0, 0);
}
LSNN_API lsnn_status lsnn_max_pool_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                            const int32_t *where, const lsnn_window *s, int add)
{
    return lsnni_pool_run(cx, LSNNI_POOL_MAX, dx, dy, NULL, where, s, 1, add, 0);
}
LSNN_API lsnn_status lsnn_avg_pool_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                           const lsnn_window *s)
{
    return lsnni_pool_run(cx, LSNNI_POOL_AVG, y, x, NULL, NULL, s, 0, 0, 0);
}
LSNN_API lsnn_status lsnn_avg_pool_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                            const lsnn_window *s, int add)
{
    return lsnni_pool_run(cx, LSNNI_POOL_AVG, dx, dy, NULL, NULL, s, 1, add, 0);
}
LSNN_API lsnn_status lsnn_sum_pool_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                           const lsnn_window *s)
{
    return lsnni_pool_run(cx, LSNNI_POOL_SUM, y, x, NULL, NULL, s, 0, 0, 0);
}
LSNN_API lsnn_status lsnn_sum_pool_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                            const lsnn_window *s, int add)
{
    return lsnni_pool_run(cx, LSNNI_POOL_SUM, dx, dy, NULL, NULL, s, 1, add, 0);
}

/* What of the input the windows reach, if a smaller input gives the same windows. */
static lsnn_status lsnni_pool_reads(lsnn_ctx *cx, lsnn_layer_plan *p, const lsnn_window *s)
{
    lsnn_layer_plan crop = *p;
    lsnn_window cropped;
    int h = (s->oh - 1) * s->stride_h + s->kernel_h - s->pad_top;
    int w = (s->ow - 1) * s->stride_w + s->kernel_w - s->pad_left;
    crop.in[0].h = LSNNI_MAX(1, LSNNI_MIN(s->h, h));
    crop.in[0].w = LSNNI_MAX(1, LSNNI_MIN(s->w, w));
    LSNNI_TRY(lsnni_window_of(cx, &cropped, &crop, 1, s->c));
    if (cropped.oh != s->oh || cropped.ow != s->ow || cropped.pad_top != s->pad_top ||
        cropped.pad_left != s->pad_left) return LSNN_OK;
    p->reads_h = crop.in[0].h;
    p->reads_w = crop.in[0].w;
    return LSNN_OK;
}

/* kernel 0: the whole map. The stride defaults to the kernel.                */
static lsnn_status lsnni_plan_pool(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_window s;
    if (!p->o.kernel_h) {
        p->o.kernel_h = p->in[0].h;
        if (!p->o.kernel_w) p->o.kernel_w = p->in[0].w;
    }
    if (!p->o.kernel_w) p->o.kernel_w = p->o.kernel_h;
    lsnni_window_defaults(&p->o, p->o.kernel_h, p->o.kernel_w);
    LSNNI_TRY(lsnni_window_of(cx, &s, p, 1, p->in[0].c));
    p->out.c = s.k; p->out.h = s.oh; p->out.w = s.ow;
    lsnni_connect(p, (double)s.kernel_h * s.kernel_w);
    LSNNI_TRY(lsnni_pool_reads(cx, p, &s));
    if (!lsnni_pool_halves(&s)) p->traits &= ~LSNN_IS_MAX2;
    return LSNN_OK;
}

static lsnn_status lsnni_plan_max_pool(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    LSNNI_TRY(lsnni_plan_pool(cx, p));
    p->keep_per_image = (size_t)lsnni_features(p->out);    /* room for int32  */
    return LSNN_OK;
}

#define LSNNI_POOLING(name, kind)                                                        \
    static lsnn_status lsnni_forward_##name(lsnn_ctx *cx, lsnn_call *c)                  \
    {                                                                                    \
        lsnn_window s;                                                                   \
        LSNNI_TRY(lsnni_call_window(cx, &s, c));                                         \
        return lsnni_pool_run(cx, kind, c->y, c->x[0], kind == LSNNI_POOL_MAX ?          \
                              (int32_t *)(void *)c->keep : NULL, NULL, &s, 0, 0,         \
                              c->does & LSNN_DO_RELU);                                            \
    }                                                                                    \
    static lsnn_status lsnni_backward_##name(lsnn_ctx *cx, lsnn_call *c)                 \
    {                                                                                    \
        lsnn_window s;                                                                   \
        LSNNI_TRY(lsnni_call_window(cx, &s, c));                                         \
        return lsnni_pool_run(cx, kind, c->dx[0], c->dy, NULL,                           \
                              (int32_t *)(void *)c->keep, &s, 1, c->add[0], 0);          \
    }
LSNNI_POOLING(max_pool, LSNNI_POOL_MAX)
LSNNI_POOLING(avg_pool, LSNNI_POOL_AVG)
LSNNI_POOLING(sum_pool, LSNNI_POOL_SUM)
#undef LSNNI_POOLING

static const lsnn_layer_type lsnni_max_pool_type = {
    "max_pool", LSNNI_WINDOW_OPTIONS, 1, 1,
    LSNN_X_FREE | LSNN_Y_FREE | LSNN_BLOCKS | LSNN_REHEARSES | LSNNI_POOL_FUSES,
    lsnni_plan_max_pool, lsnni_forward_max_pool, lsnni_backward_max_pool, NULL, NULL
};

static const lsnn_layer_type lsnni_avg_pool_type = {
    "avg_pool", LSNNI_WINDOW_OPTIONS, 1, 1,
    LSNN_X_FREE | LSNN_Y_FREE | LSNN_BLOCKS | LSNN_REHEARSES,
    lsnni_plan_pool, lsnni_forward_avg_pool, lsnni_backward_avg_pool, NULL, NULL
};

static const lsnn_layer_type lsnni_sum_pool_type = {
    "sum_pool", LSNNI_WINDOW_OPTIONS, 1, 1,
    LSNN_X_FREE | LSNN_Y_FREE | LSNN_BLOCKS | LSNN_REHEARSES,
    lsnni_plan_pool, lsnni_forward_sum_pool, lsnni_backward_sum_pool, NULL, NULL
};

LSNN_API int lsnn_max_pool(lsnn_net *net, int x, int kernel, const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_max_pool_type, x, 0, kernel, o);
}

LSNN_API int lsnn_avg_pool(lsnn_net *net, int x, int kernel, const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_avg_pool_type, x, 0, kernel, o);
}

LSNN_API int lsnn_sum_pool(lsnn_net *net, int x, int kernel, const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_sum_pool_type, x, 0, kernel, o);
}
/* ---- >>lp_pool --------------------------------------------------------------------
   y          = (sum |x_i|^p)^(1/p) over the window's pixels, p >= 1: their L_p norm (the
                lecture's L_p pooling). p = 1 adds them up, p -> infinity takes the largest.
   dx_i   (+)= dy sign(x_i) r_i^(p-1)                       r_i = |x_i| / y, at most 1
   dp       += dy (y / p) sum r_i^p log r_i                 never positive: y falls with p
   x N,C,H,W  y N,C,OH,OW; padding counts as 0. For x >= 0 and for even p it is PyTorch's
   lp_pool2d. Where a window is all 0, y and both gradients are 0.
   Forward divides by the largest |x_i| before it raises to the power, backward by y, so that
   nothing overflows for any p and any x. p is a number a layer (p_maps 0) or a map (1); the
   layer learns it as p = 1 + log(1 + e^rho) if asked (Gulcehre et al. 2014, "Learned-norm
   pooling"), and so never leaves p > 1.                                      */
static lsnn_status lsnni_lp_check(lsnn_ctx *cx, const lsnn_real *norm, int maps,
                                  const lsnn_window *s)
{
    LSNNI_TRY(lsnni_pool_check(cx, s));
    for (int c = 0; c < (maps ? s->c : 1); c++)
        if (!((double)norm[c] >= 1 && (double)norm[c] <= (double)FLT_MAX))
            return lsnni_fail(cx, LSNN_EVALUE, "lp_pool: p of map %d is %g, it must be from 1 to "
                              "%g", c, (double)norm[c], (double)FLT_MAX);
    return LSNN_OK;
}

#ifdef LSNN_NAIVE
/* ---- The naive pair, a window at a time ------------------------------------------------*/
static void lsnni_lp_box(const lsnn_window *s, int i, int j, int box[4])
{
    lsnni_pool_side(i, s->stride_h, s->pad_top, s->kernel_h, s->h, &box[0], &box[1]);
    lsnni_pool_side(j, s->stride_w, s->pad_left, s->kernel_w, s->w, &box[2], &box[3]);
}

static double lsnni_lp_norm(const lsnn_window *s, const lsnn_real *x, const int box[4], double p)
{
    double most = 0, sum = 0;
    for (int r = box[0]; r < box[1]; r++)
    for (int c = box[2]; c < box[3]; c++) {
        double size = fabs((double)x[lsnni_at2(r, c, s->w)]);
        if (size > most || size != size) most = size;    /* NaN wins, and stays */
    }
    if (!(most > 0)) return most;
    for (int r = box[0]; r < box[1]; r++)
    for (int c = box[2]; c < box[3]; c++)
        sum += pow(fabs((double)x[lsnni_at2(r, c, s->w)]) / most, p);
    return most * pow(sum, 1 / p);
}

/* What one window with output y and gradient g adds to dx; returns what it adds to dp. */
static double lsnni_lp_back(const lsnn_window *s, lsnn_real *dx, double g, const lsnn_real *x,
                            double y, const int box[4], double p)
{
    double sum = 0;
    for (int r = box[0]; r < box[1]; r++)
    for (int c = box[2]; c < box[3]; c++) {
        size_t at = lsnni_at2(r, c, s->w);
        double v = (double)x[at], ratio = fabs(v) / y;
        if (v <= 0 && v >= 0) continue;
        if (dx) dx[at] += LSNNI_R((v < 0 ? -g : g) * pow(ratio, p - 1));
        sum += pow(ratio, p) * log(ratio);
    }
    return g * y / p * sum;
}

LSNN_API lsnn_status lsnn_lp_pool_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                          const lsnn_real *p, int p_maps, const lsnn_window *s)
{
    LSNNI_TRY(lsnni_lp_check(cx, p, p_maps, s));
    for (int n = 0; n < s->n; n++)
    for (int c = 0; c < s->c; c++)
    for (int i = 0; i < s->oh; i++)
    for (int j = 0; j < s->ow; j++) {
        const lsnn_real *map = x + lsnni_at4(n, c, s->c, 0, s->h, 0, s->w);
        int box[4];
        lsnni_lp_box(s, i, j, box);
        y[lsnni_at4(n, c, s->c, i, s->oh, j, s->ow)] =
            LSNNI_R(lsnni_lp_norm(s, map, box, (double)p[p_maps ? c : 0]));
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_lp_pool_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dp,
                                           const lsnn_real *dy, const lsnn_real *x,
                                           const lsnn_real *y, const lsnn_real *p, int p_maps,
                                           const lsnn_window *s, int add)
{
    LSNNI_TRY(lsnni_lp_check(cx, p, p_maps, s));
    lsnni_clear(dx, lsnni_at4(s->n, 0, s->c, 0, s->h, 0, s->w), add);
    for (int n = 0; n < s->n; n++)
    for (int c = 0; c < s->c; c++)
    for (int i = 0; i < s->oh; i++)
    for (int j = 0; j < s->ow; j++) {
        size_t in = lsnni_at4(n, c, s->c, 0, s->h, 0, s->w), which = p_maps ? (size_t)c : 0;
        size_t out = lsnni_at4(n, c, s->c, i, s->oh, j, s->ow);
        double more;
        int box[4];
        lsnni_lp_box(s, i, j, box);
        more = lsnni_lp_back(s, dx ? dx + in : NULL, (double)dy[out], x + in, (double)y[out],
                             box, (double)p[which]);
        if (dp) dp[which] += LSNNI_R(more);
    }
    return LSNN_OK;
}

#else /* ---- The fast pair: bound by a logarithm and an exponential a tap ------------------
   A row of windows at a time, tap by tap, so that the vectors run along the row; a block of
   images is a row whose pixels are lanes wide. r^p is e^(p log r), and log 0 is a large
   negative number, so that 0 needs no case of its own.                       */
typedef struct lsnni_lp {
    const lsnni_kernels *kv;
    const lsnn_window *s;
    const lsnn_real *x, *y, *dy, *p;
    lsnn_real *to, *room;            /* to: y or dx; room: three rows a worker */
    double *sum;                     /* dp of each plane, or NULL             */
    int p_maps, add, lanes;
    size_t row;                      /* numbers of an output's row            */
} lsnni_lp;

/* The windows of an output row whose tap v lies inside the image: [*a, *b).   */
static void lsnni_lp_inside(const lsnn_window *s, int v, int *a, int *b)
{
    int first = s->pad_left - v, last = s->w - 1 + s->pad_left - v;
    *a = first > 0 ? LSNNI_MIN(lsnni_div_up(first, s->stride_w), s->ow) : 0;
    *b = last < 0 ? *a : LSNNI_MAX(*a, LSNNI_MIN(last / s->stride_w + 1, s->ow));
}

/* The pixels under tap (u, v) of the windows of row oy, or NULL: all are padding. The pixel
   of window ox is at returned[ox * stride_w * lanes].                        */
static ptrdiff_t lsnni_lp_at(const lsnni_lp *p, int oy, int u, int v)
{
    const lsnn_window *s = p->s;
    int row = oy * s->stride_h - s->pad_top + u;
    if (row < 0 || row >= s->h) return PTRDIFF_MIN;
    return ((ptrdiff_t)row * s->w + v - s->pad_left) * p->lanes;
}

/* |x| under a tap, 0 for padding.                                             */
static void lsnni_lp_take(const lsnni_lp *p, lsnn_real *a, const lsnn_real *x, int oy, int u,
                          int v)
{
    ptrdiff_t at = lsnni_lp_at(p, oy, u, v), step = (ptrdiff_t)p->s->stride_w * p->lanes;
    int from, to;
    memset(a, 0, p->row * sizeof *a);
    if (at == PTRDIFF_MIN) return;
    lsnni_lp_inside(p->s, v, &from, &to);
    for (int ox = from; ox < to; ox++)
        for (int l = 0; l < p->lanes; l++) {
            lsnn_real t = x[at + ox * step + l];
            a[ox * p->lanes + l] = t < 0 ? -t : t;
        }
}

/* v = v^p for v in [0, taps].                                                 */
static void lsnni_lp_power(const lsnni_lp *p, lsnn_real *v, double norm)
{
    (p->kv->log)(v, v, p->row);
    for (size_t i = 0; i < p->row; i++) v[i] *= LSNNI_R(norm);
    (p->kv->exp)(v, v, p->row);
}

static void lsnni_lp_row(const lsnni_lp *p, lsnn_real *y, const lsnn_real *x, int oy,
                         double norm, lsnn_real *most)
{
    const lsnn_window *s = p->s;
    lsnn_real *r = most + p->row;
    memset(most, 0, p->row * sizeof *most);
    memset(y, 0, p->row * sizeof *y);
    for (int t = 0; t < s->kernel_h * s->kernel_w; t++) {
        lsnni_lp_take(p, r, x, oy, t / s->kernel_w, t % s->kernel_w);
        for (size_t i = 0; i < p->row; i++) if (r[i] > most[i] || r[i] != r[i]) most[i] = r[i];
    }
    for (int t = 0; t < s->kernel_h * s->kernel_w; t++) {
        lsnni_lp_take(p, r, x, oy, t / s->kernel_w, t % s->kernel_w);
        for (size_t i = 0; i < p->row; i++) r[i] = most[i] > 0 ? r[i] / most[i] : 0;
        lsnni_lp_power(p, r, norm);
        for (size_t i = 0; i < p->row; i++) y[i] += r[i];
    }
    lsnni_lp_power(p, y, 1 / norm);
    for (size_t i = 0; i < p->row; i++) y[i] *= most[i];
}

static void lsnni_lp_task(void *user, int plane, int worker)
{
    const lsnni_lp *p = (const lsnni_lp *)user;
    const lsnn_window *s = p->s;
    double norm = (double)p->p[p->p_maps ? plane % s->c : 0];
    const lsnn_real *x = p->x + lsnni_area(s->h, s->w) * (size_t)p->lanes * (size_t)plane;
    lsnn_real *y = p->to + p->row * (size_t)s->oh * (size_t)plane;
    for (int oy = 0; oy < s->oh; oy++)
        lsnni_lp_row(p, y + p->row * (size_t)oy, x, oy, norm, p->room + 3 * p->row *
                     (size_t)worker);
}

/* One tap of one row: adds to dx, returns sum g r^p log r. room: three rows.  */
static double lsnni_lp_tap(const lsnni_lp *p, lsnn_real *dx, const lsnn_real *x, size_t out,
                           int oy, int t, double norm, lsnn_real *room)
{
    const lsnn_window *s = p->s;
    lsnn_real *r = room, *log = room + p->row, *w = log + p->row;
    const lsnn_real *y = p->y + out, *g = p->dy + out;
    ptrdiff_t step = (ptrdiff_t)s->stride_w * p->lanes;
    ptrdiff_t at = lsnni_lp_at(p, oy, t / s->kernel_w, t % s->kernel_w);
    double sum = 0;
    int from, to;
    lsnni_lp_take(p, r, x, oy, t / s->kernel_w, t % s->kernel_w);
    for (size_t i = 0; i < p->row; i++) r[i] = y[i] > 0 ? r[i] / y[i] : 0;
    (p->kv->log)(log, r, p->row);
    for (size_t i = 0; i < p->row; i++) w[i] = LSNNI_R(norm - 1) * log[i];
    (p->kv->exp)(w, w, p->row);
    for (size_t i = 0; i < p->row; i++) w[i] *= g[i];
    for (size_t i = 0; i < p->row && p->sum; i++)
        sum += (double)y[i] * (double)w[i] * (double)r[i] * (double)log[i];
    if (at == PTRDIFF_MIN || !dx) return sum;
    lsnni_lp_inside(s, t % s->kernel_w, &from, &to);
    for (int ox = from; ox < to; ox++)
        for (int l = 0; l < p->lanes; l++) {
            lsnn_real v = x[at + ox * step + l], d = w[ox * p->lanes + l];
            dx[at + ox * step + l] += v > 0 ? d : v < 0 ? -d : 0;
        }
    return sum;
}

static void lsnni_lp_back_task(void *user, int plane, int worker)
{
    const lsnni_lp *p = (const lsnni_lp *)user;
    const lsnn_window *s = p->s;
    double norm = (double)p->p[p->p_maps ? plane % s->c : 0], sum = 0;
    size_t in = lsnni_area(s->h, s->w) * (size_t)p->lanes;
    size_t out = p->row * (size_t)s->oh * (size_t)plane;
    const lsnn_real *x = p->x + in * (size_t)plane;
    lsnn_real *dx = p->to ? p->to + in * (size_t)plane : NULL;
    if (dx && !p->add) memset(dx, 0, in * sizeof *dx);
    for (int oy = 0; oy < s->oh; oy++, out += p->row)
        for (int t = 0; t < s->kernel_h * s->kernel_w; t++)
            sum += lsnni_lp_tap(p, dx, x, out, oy, t, norm, p->room + 3 * p->row *
                                (size_t)worker);
    if (p->sum) p->sum[plane] = sum / norm;
}

static lsnn_status lsnni_lp_run(lsnn_ctx *cx, lsnni_lp *p, const lsnn_window *s, lsnn_real *dp)
{
    lsnni_want want[2], *w = want;
    int planes;
    LSNNI_TRY(lsnni_lp_check(cx, p->p, p->p_maps, s));
    if (s->lanes > 1) LSNNI_TRY(lsnni_lanes_check(cx, "lp_pool", s));
    p->kv = lsnni_kernels_of(cx);
    p->s = s;
    p->lanes = s->lanes > 1 ? s->lanes : 1;
    p->row = lsnni_area(s->ow, p->lanes);
    planes = s->n / p->lanes * s->c;
    LSNNI_WANT(&w, p->room, 3 * p->row * (size_t)lsnn_ctx_threads(cx));
    if (dp) LSNNI_WANT(&w, p->sum, (size_t)planes);
    LSNNI_TRY(lsnni_take(cx, want, w));
    lsnn_parallel(cx, planes, p->dy ? lsnni_lp_back_task : lsnni_lp_task, p);
    for (int i = 0; i < planes && dp && !cx->rehearsal_; i++)
        dp[p->p_maps ? i % s->c : 0] += LSNNI_R(p->sum[i]);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_lp_pool_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                          const lsnn_real *p, int p_maps, const lsnn_window *s)
{
    lsnni_lp run;
    memset(&run, 0, sizeof run);
    run.to = y; run.x = x; run.p = p; run.p_maps = p_maps;
    return lsnni_lp_run(cx, &run, s, NULL);
}

LSNN_API lsnn_status lsnn_lp_pool_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dp,
                                           const lsnn_real *dy, const lsnn_real *x,
                                           const lsnn_real *y, const lsnn_real *p, int p_maps,
                                           const lsnn_window *s, int add)
{
    lsnni_lp run;
    memset(&run, 0, sizeof run);
    run.to = dx; run.x = x; run.y = y; run.dy = dy; run.p = p; run.p_maps = p_maps;
    run.add = add;
    return lsnni_lp_run(cx, &run, s, dp);
}
#endif /* LSNN_NAIVE */

/* ---- The layer: keeps p and dp of each map ---------------------------------------------*/
static lsnn_status lsnni_plan_lp_pool(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    int learned = p->o.learn_norm != LSNN_NORM_FIXED;
    double norm = p->o.norm = lsnni_or(p->o.norm, 2);
    if ((int)p->o.learn_norm < 0 || p->o.learn_norm > LSNN_NORM_OF_MAP)
        return lsnni_fail(cx, LSNN_EVALUE, "lp_pool: learn_norm %d is unknown",
                          (int)p->o.learn_norm);
    if (!(norm >= 1 && norm <= (double)FLT_MAX) || (learned && !(norm > 1)))
        return lsnni_fail(cx, LSNN_EVALUE, "lp_pool: norm is %g, it must be from 1 to %g%s", norm,
                          (double)FLT_MAX, learned ? ", and above 1 to be learned" : "");
    LSNNI_TRY(lsnni_plan_pool(cx, p));
    p->param[0] = lsnni_spec("rho", 1, p->o.learn_norm == LSNN_NORM_OF_MAP ? p->in[0].c : 1, 0,
                             0, 0);
    p->param[0].value = norm > 30 ? norm - 1 : log(expm1(norm - 1));
    p->param[0].no_decay = 1;
    p->params = learned;
    p->keep_fixed = 2 * (size_t)p->in[0].c;
    return LSNN_OK;
}

/* p of each map, or of all, from rho if it is learned; how many there are.    */
static size_t lsnni_lp_norms_of(const lsnn_layer_plan *p, const lsnn_real *rho, lsnn_real *norm)
{
    size_t count = p->params ? p->param[0].count : 1;
    norm[0] = LSNNI_R(p->o.norm);
    for (size_t i = 0; i < count && p->params; i++) {
        double r = (double)rho[i];
        norm[i] = LSNNI_R(1 + (r > 30 ? r : log1p(exp(r))));
    }
    return count;
}

static size_t lsnni_lp_norms(const lsnn_call *c)
{
    return lsnni_lp_norms_of(c->plan, c->param[0], c->keep);
}

static lsnn_status lsnni_forward_lp_pool(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    lsnni_lp_norms(c);
    return lsnn_lp_pool_forward(cx, c->y, c->x[0], c->keep,
                                c->plan->o.learn_norm == LSNN_NORM_OF_MAP, &s);
}

static lsnn_status lsnni_backward_lp_pool(lsnn_ctx *cx, lsnn_call *c)
{
    size_t count = lsnni_lp_norms(c);
    lsnn_real *dp = c->dparam[0] ? c->keep + c->plan->in[0].c : NULL;
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    for (size_t i = 0; i < count && dp; i++) dp[i] = 0;
    LSNNI_TRY(lsnn_lp_pool_backward(cx, c->dx[0], dp, c->dy, c->x[0], c->y, c->keep,
                                    c->plan->o.learn_norm == LSNN_NORM_OF_MAP, &s, c->add[0]));
    for (size_t i = 0; i < count && dp; i++)             /* dp / drho         */
        c->dparam[0][i] += dp[i] / LSNNI_R(1 + exp(-(double)c->param[0][i]));
    return LSNN_OK;
}

static const lsnn_layer_type lsnni_lp_pool_type = {
    "lp_pool", LSNNI_WINDOW_OPTIONS "norm learn_norm lr_factor freeze", 1, 1,
    LSNN_BLOCKS | LSNN_REHEARSES,
    lsnni_plan_lp_pool, lsnni_forward_lp_pool, lsnni_backward_lp_pool, NULL, NULL
};

LSNN_API int lsnn_lp_pool(lsnn_net *net, int x, int kernel, const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_lp_pool_type, x, 0, kernel, o);
}
/* ---- >>dropout --------------------------------------------------------------------
   y = x m / (1 - rate), m = 0 with probability rate, else 1; dx (+)= dy m / (1 - rate).
   Element e of image n is kept if its 32 random bits are at least rate * 2^32, in any
   layout. Bound by the random numbers.                                       */
typedef struct lsnni_dropout {
    const lsnni_kernels *kv;
    const lsnn_real *x;
    lsnn_real *y;
    const lsnn_rng *at;
    int count, lanes, pieces, add;
    double rate;
} lsnni_dropout;
enum { LSNNI_DRAWS = 4096 };         /* elements of an image a task           */

static void lsnni_dropout_task(void *user, int task, int worker)
{
    const lsnni_dropout *p = (const lsnni_dropout *)user;
    int n = task / p->pieces, e = task % p->pieces * LSNNI_DRAWS;
    size_t first = lsnni_area(n, p->count) * (size_t)p->lanes;
    (void)worker;
    p->kv->dropout(p->y + first, p->x + first, p->at, (uint32_t)(n * p->lanes), e,
                   LSNNI_MIN(e + LSNNI_DRAWS, p->count), p->lanes > 1,
                   (uint32_t)(p->rate * 4294967296.0), 1 / (1 - p->rate), p->add);
}

static lsnn_status lsnni_dropout_run(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x, int n,
                                     int count, int lanes, double rate, const lsnn_rng *at,
                                     int add)
{
    lsnni_dropout p;
    LSNNI_TRY(lsnni_sizes3(cx, "dropout (images x features)", n, count, 1));
    LSNNI_TRY(lsnni_lanes_fit(cx, "dropout", lanes, n));
    if (!(rate >= 0 && rate < 1))
        return lsnni_fail(cx, LSNN_EVALUE, "dropout: rate %g must lie in [0, 1)", rate);
    if (!y) return LSNN_OK;
    p.kv = lsnni_kernels_of(cx);
    p.x = x; p.y = y; p.at = at; p.count = count; p.rate = rate; p.add = add;
    p.lanes = lanes ? lanes : 1;
    p.pieces = lsnni_div_up(count, LSNNI_DRAWS);
    lsnn_parallel(cx, n / p.lanes * p.pieces, lsnni_dropout_task, &p);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_dropout_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                          int n, int count, int lanes, double rate,
                                          const lsnn_rng *at)
{
    return lsnni_dropout_run(cx, y, x, n, count, lanes, rate, at, 0);
}
LSNN_API lsnn_status lsnn_dropout_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                           int n, int count, int lanes, double rate,
                                           const lsnn_rng *at, int add)
{
    return lsnni_dropout_run(cx, dx, dy, n, count, lanes, rate, at, add);
}

static lsnn_status lsnni_plan_dropout(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    if (!(p->o.rate >= 0 && p->o.rate < 1))
        return lsnni_fail(cx, LSNN_EVALUE, "dropout: rate %g must lie in [0, 1)", p->o.rate);
    return lsnni_plan_same(cx, p);
}

static lsnn_status lsnni_forward_dropout(lsnn_ctx *cx, lsnn_call *c)
{
    size_t count = lsnni_call_count(c);
    if (c->training)
        return lsnn_dropout_forward(cx, c->y, c->x[0], c->n, lsnni_features(c->plan->in[0]),
                                    c->lanes, c->plan->o.rate, &c->rng);
    if (c->y != c->x[0]) memcpy(c->y, c->x[0], count * sizeof *c->y);
    return LSNN_OK;
}

static lsnn_status lsnni_backward_dropout(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnn_dropout_backward(cx, c->dx[0], c->dy, c->n, lsnni_features(c->plan->in[0]),
                                 c->lanes, c->plan->o.rate, &c->rng, c->add[0]);
}

static const lsnn_layer_type lsnni_dropout_type = {
    "dropout", "rate", 1, 1,
    LSNN_IN_PLACE | LSNN_BLOCKS_ALL | LSNN_REHEARSES | LSNN_Y_FREE,
    lsnni_plan_dropout, lsnni_forward_dropout, lsnni_backward_dropout, NULL, NULL
};

LSNN_API int lsnn_dropout(lsnn_net *net, int x, double rate, const lsnn_options *o)
{
    lsnn_options all = lsnni_options(o);
    all.rate = rate;
    return lsnn_layer(net, &lsnni_dropout_type, &x, 1, &all);
}
/* ---- >>batch_norm (Ioffe and Szegedy 2015) ------------------------------------------
   xh = (x - mean) istd    y = gamma xh + beta    over the M = N*I values of a channel
   dgamma += sum dy xh     dbeta += sum dy
   dx (+)= gamma istd (dy - mean(dy) - xh mean(dy xh))
   Forward keeps mean and istd of a training batch for backward. A prediction, and a layer
   that is frozen (option freeze), take the running mean and variance, which are constants:
   dx (+)= gamma istd dy                                                       */
/* ---- The naive pair                                                        */
#ifdef LSNN_NAIVE
#define LSNNI_NORM_FUSES 0
LSNN_API lsnn_status lsnn_batch_norm_predict(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                             const lsnn_real *gamma, const lsnn_real *beta,
                                             const lsnn_real *running_mean,
                                             const lsnn_real *running_var, int n, int c,
                                             int inner, double eps)
{
    LSNNI_TRY(lsnni_sizes3(cx, "batch_norm (images x channels x pixels)", n, c, inner));
    for (int l = 0; l < n; l++)
    for (int k = 0; k < c; k++)
    for (int i = 0; i < inner; i++) {
        size_t at = lsnni_at3(l, k, c, i, inner);
        double xh = (double)x[at] - (double)running_mean[k];
        xh /= sqrt((double)running_var[k] + eps);
        y[at] = LSNNI_R((double)gamma[k] * xh + (double)beta[k]);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_batch_norm_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *mean,
                                             lsnn_real *istd, lsnn_real *running_mean,
                                             lsnn_real *running_var, const lsnn_real *x,
                                             const lsnn_real *gamma, const lsnn_real *beta,
                                             int n, int c, int inner, double momentum,
                                             double eps)
{
    double count = (double)n * inner;
    LSNNI_TRY(lsnni_sizes3(cx, "batch_norm (images x channels x pixels)", n, c, inner));
    if (cx->rehearsal_) return LSNN_OK;                  /* the running ones stay */
    for (int k = 0; k < c; k++) {
        double m = 0, var = 0;
        lsnn_real next;
        for (int l = 0; l < n; l++)
        for (int i = 0; i < inner; i++) m += (double)x[lsnni_at3(l, k, c, i, inner)] / count;
        for (int l = 0; l < n; l++)
        for (int i = 0; i < inner; i++) {
            double d = (double)x[lsnni_at3(l, k, c, i, inner)] - m;
            var += d * d;
        }
        for (int l = 0; l < n; l++)
        for (int i = 0; i < inner; i++) {
            size_t at = lsnni_at3(l, k, c, i, inner);
            double xh = ((double)x[at] - m) / sqrt(var / count + eps);
            y[at] = LSNNI_R((double)gamma[k] * xh + (double)beta[k]);
        }
        mean[k] = LSNNI_R(m);
        istd[k] = LSNNI_R(1 / sqrt(var / count + eps));
        var /= LSNNI_MAX(count - 1, 1);                  /* unbiased          */
        next = LSNNI_R((1 - momentum) * (running_var ? (double)running_var[k] : 1) +
                       momentum * var);
        if (!lsnni_finite(&next, 1))                     /* the running ones stay */
            return lsnni_fail(cx, LSNN_EDIVERGED, "batch_norm: the values of channel %d are not "
                              "finite, or too large for a variance", k);
        if (!running_mean) continue;
        running_mean[k] = LSNNI_R((1 - momentum) * (double)running_mean[k] + momentum * m);
        running_var[k] = next;
    }
    return LSNN_OK;
}

/* mean and istd depend on x too, hence the two means that are taken off. The mean is made
   again: as forward kept it, it is rounded to an lsnn_real.                   */
LSNN_API lsnn_status lsnn_batch_norm_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dgamma,
                                              lsnn_real *dbeta, const lsnn_real *dy,
                                              const lsnn_real *x, const lsnn_real *gamma,
                                              const lsnn_real *mean, const lsnn_real *istd,
                                              int n, int c, int inner, int add)
{
    double count = (double)n * inner;
    (void)mean;
    LSNNI_TRY(lsnni_sizes3(cx, "batch_norm (images x channels x pixels)", n, c, inner));
    lsnni_clear(dx, lsnni_at3(n, 0, c, 0, inner), add);
    for (int k = 0; k < c; k++) {
        double sum = 0, dot = 0, m = 0, r = (double)istd[k];
        for (int l = 0; l < n; l++)
        for (int i = 0; i < inner; i++) m += (double)x[lsnni_at3(l, k, c, i, inner)] / count;
        for (int l = 0; l < n; l++)
        for (int i = 0; i < inner; i++) {
            size_t at = lsnni_at3(l, k, c, i, inner);
            sum += (double)dy[at];
            dot += (double)dy[at] * ((double)x[at] - m) * r;
        }
        if (dgamma) dgamma[k] += LSNNI_R(dot);
        if (dbeta) dbeta[k] += LSNNI_R(sum);
        for (int l = 0; l < n && dx; l++)
        for (int i = 0; i < inner; i++) {
            size_t at = lsnni_at3(l, k, c, i, inner);
            double xh = ((double)x[at] - m) * r;
            dx[at] += LSNNI_R((double)gamma[k] * r *
                              ((double)dy[at] - sum / count - xh * dot / count));
        }
    }
    return LSNN_OK;
}

#else /* ---- The fast pair: a channel a task ---------------------------------------------*/
#define LSNNI_NORM_FUSES LSNN_RELU_AFTER | LSNN_READS_PARTS
typedef struct lsnni_norm {
    const lsnni_kernels *kv;
    const lsnn_real *x, *dy, *gamma, *beta;
    const lsnn_real *mean_in, *istd_in;          /* backward: what forward has written */
    const lsnn_real *known_mean, *known_var;     /* forward by these; NULL: the batch's own */
    lsnn_real *y, *mean, *istd, *running_mean, *running_var, *dgamma, *dbeta;
    int n, c, inner, add;
    int all;                         /* y and dy have so many channels, x and dx c of them */
    int relu;                        /* forward: y = relu(y) too                  */
    lsnn_real *relu_dy;              /* backward: dy is the gradient of a relu of y, and is set */
    const lsnn_real *relu_y;         /*   to 0 where that is 0; else NULL         */
    double momentum, eps;
    int constant;                    /* backward: mean and istd do not depend on x */
} lsnni_norm;

/* y = (x - mean) a + beta. The mean is taken off before anything is multiplied: as a x + b a
   spread that is small beside the mean would drown in rounding. What is taken off is the mean
   as an lsnn_real, exactly; what that leaves goes into b.                     */
static void lsnni_norm_apply(const lsnni_norm *p, int c, double mean, double istd)
{
    size_t inner = (size_t)p->inner, step = (size_t)p->c * inner, first = (size_t)c * inner;
    size_t y_step = (size_t)p->all * inner;
    double center = (double)LSNNI_R(mean), a = istd * (double)p->gamma[c];
    double b = (double)p->beta[c] - (mean - center) * a;
    for (int n = 0; n < p->n; n++) {
        lsnn_real *y = p->y + first + (size_t)n * y_step;
        p->kv->norm_forward(y, p->x + first + (size_t)n * step, center, a, b, inner);
        if (p->relu) p->kv->act_forward(LSNN_RELU, y, y, inner, 0);
    }
}

/* A batch whose statistics are no numbers leaves the running ones as they were, and istd 0,
   which is how lsnni_norm_check knows.                                       */
static void lsnni_norm_task(void *user, int c, int worker)
{
    const lsnni_norm *p = (const lsnni_norm *)user;
    size_t inner = (size_t)p->inner, step = (size_t)p->c * inner, first = (size_t)c * inner;
    double count = (double)p->n * p->inner, mean = 0, var = 0, m = p->momentum;
    lsnn_real next_mean, next_var;
    (void)worker;
    if (p->known_mean) {
        double istd = 1 / sqrt((double)p->known_var[c] + p->eps);
        if (p->mean) p->mean[c] = p->known_mean[c];
        if (p->istd) p->istd[c] = LSNNI_R(istd);
        lsnni_norm_apply(p, c, (double)p->known_mean[c], istd);
        return;
    }
    for (int n = 0; n < p->n; n++) mean += p->kv->sum(p->x + first + (size_t)n * step, inner);
    mean /= count;
    for (int n = 0; n < p->n; n++)
        var += p->kv->deviation(p->x + first + (size_t)n * step, mean, inner);
    p->mean[c] = LSNNI_R(mean);
    p->istd[c] = LSNNI_R(1 / sqrt(var / count + p->eps));
    if (p->running_mean) {
        next_mean = LSNNI_R((1 - m) * (double)p->running_mean[c] + m * mean);
        next_var = LSNNI_R((1 - m) * (double)p->running_var[c] +
                           m * (var / LSNNI_MAX(count - 1, 1)));         /* unbiased */
        if (!lsnni_finite(&next_mean, 1) || !lsnni_finite(&next_var, 1)) {
            p->istd[c] = 0;
            return;
        }
        p->running_mean[c] = next_mean;
        p->running_var[c] = next_var;
    }
    lsnni_norm_apply(p, c, mean, 1 / sqrt(var / count + p->eps));
}

/* After a training forward: every channel had a mean and a variance.             */
static lsnn_status lsnni_norm_check(lsnn_ctx *cx, const lsnn_real *istd, int c)
{
    for (int k = 0; k < c && !cx->rehearsal_; k++)
        if (!(istd[k] > 0))
            return lsnni_fail(cx, LSNN_EDIVERGED, "batch_norm: the values of channel %d are not "
                              "finite, or too large for a variance", k);
    return LSNN_OK;
}

static lsnn_status lsnni_norm_run(lsnn_ctx *cx, lsnni_norm *p, int n, int c, int inner,
                                  void (*task)(void *user, int c, int worker))
{
    LSNNI_TRY(lsnni_sizes3(cx, "batch_norm (images x channels x pixels)", n, c, inner));
    p->n = n; p->c = c; p->inner = inner;
    if (!p->all) p->all = c;
    p->kv = lsnni_kernels_of(cx);
    lsnni_parallel_some(cx, lsnni_area(n, c) * (size_t)inner, c, task, p);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_batch_norm_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *mean,
                                             lsnn_real *istd, lsnn_real *running_mean,
                                             lsnn_real *running_var, const lsnn_real *x,
                                             const lsnn_real *gamma, const lsnn_real *beta,
                                             int n, int c, int inner, double momentum,
                                             double eps)
{
    lsnni_norm p;
    memset(&p, 0, sizeof p);
    p.x = x; p.gamma = gamma; p.beta = beta; p.y = y; p.mean = mean; p.istd = istd;
    p.running_mean = running_mean; p.running_var = running_var;
    p.momentum = momentum; p.eps = eps;
    LSNNI_TRY(lsnni_norm_run(cx, &p, n, c, inner, lsnni_norm_task));
    return lsnni_norm_check(cx, istd, c);
}

LSNN_API lsnn_status lsnn_batch_norm_predict(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                             const lsnn_real *gamma, const lsnn_real *beta,
                                             const lsnn_real *running_mean,
                                             const lsnn_real *running_var, int n, int c,
                                             int inner, double eps)
{
    lsnni_norm p;
    memset(&p, 0, sizeof p);
    p.x = x; p.gamma = gamma; p.beta = beta; p.y = y; p.eps = eps;
    p.known_mean = running_mean; p.known_var = running_var;
    return lsnni_norm_run(cx, &p, n, c, inner, lsnni_norm_task);
}

/* With d = x - center, where center is the mean as forward kept it, rounded by `off`:
   sum dy xh = istd (sum dy d - off sum dy). xh is made before it is multiplied: the square of
   istd, as a factor of x, would be 0 for values of 1e20.                      */
static void lsnni_norm_back_task(void *user, int c, int worker)
{
    const lsnni_norm *p = (const lsnni_norm *)user;      /* y is dx           */
    size_t inner = (size_t)p->inner, step = (size_t)p->c * inner, first = (size_t)c * inner;
    size_t y_step = (size_t)p->all * inner;
    double count = (double)p->n * p->inner, sum = 0, dot = 0, off = 0;
    double center = (double)p->mean_in[c], istd = (double)p->istd_in[c], scale, slope;
    (void)worker;
    for (int n = 0; n < p->n; n++) {
        size_t at = first + (size_t)n * y_step;
        double m[3];
        p->kv->sum_dot(m, p->dy + at, p->x + first + (size_t)n * step, center,
                       p->relu_dy ? p->relu_dy + at : NULL, p->relu_dy ? p->relu_y + at : NULL,
                       inner);
        sum += m[0];
        dot += m[1];
        off += m[2] / count;
    }
    dot = istd * (dot - off * sum);                      /* sum dy xh         */
    if (p->dgamma) p->dgamma[c] += LSNNI_R(dot);
    if (p->dbeta) p->dbeta[c] += LSNNI_R(sum);
    if (!p->y) return;
    if (p->constant) sum = dot = 0;
    scale = (double)p->gamma[c] * istd;
    slope = -scale * dot / count;                        /* of xh in dx       */
    for (int n = 0; n < p->n; n++)
        p->kv->norm_backward(p->y + first + (size_t)n * step, p->dy + first + (size_t)n * y_step,
                             p->x + first + (size_t)n * step, center, istd, scale, slope,
                             -scale * sum / count - slope * istd * off, inner, p->add);
}

LSNN_API lsnn_status lsnn_batch_norm_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dgamma,
                                              lsnn_real *dbeta, const lsnn_real *dy,
                                              const lsnn_real *x, const lsnn_real *gamma,
                                              const lsnn_real *mean, const lsnn_real *istd,
                                              int n, int c, int inner, int add)
{
    lsnni_norm p;
    memset(&p, 0, sizeof p);
    p.x = x; p.dy = dy; p.gamma = gamma; p.y = dx; p.dgamma = dgamma; p.dbeta = dbeta;
    p.mean_in = mean; p.istd_in = istd; p.add = add;
    return lsnni_norm_run(cx, &p, n, c, inner, lsnni_norm_back_task);
}

#endif /* LSNN_NAIVE */

/* ---- The layer ------------------------------------------------------------------------*/
static lsnn_status lsnni_plan_batch_norm(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    int channels = p->in[0].c;
    p->o.eps = lsnni_or(p->o.eps, 1e-5);
    p->o.momentum = lsnni_or(p->o.momentum, 0.1);
    if (!(p->o.eps > 0) || !(p->o.momentum > 0 && p->o.momentum <= 1))
        return lsnni_fail(cx, LSNN_EVALUE,
                          "batch_norm: eps %g must be positive, momentum %g in "
                          "(0, 1]", p->o.eps, p->o.momentum);
    p->param[0] = lsnni_spec("gamma", 1, channels, 0, 0, 0);
    p->param[0].value = 1;
    p->param[1] = lsnni_spec("beta", 1, channels, 0, 0, 0);
    p->param[0].no_decay = p->param[1].no_decay = 1;
    p->params = 2;
    p->buffer[0] = lsnni_spec("mean", 1, channels, 0, 0, 0);
    p->buffer[1] = lsnni_spec("variance", 1, channels, 0, 0, 0);
    p->buffer[1].value = 1;
    p->buffers = 2;
    p->keep_fixed = 2 * (size_t)channels;
    p->macs = (double)lsnni_features(p->in[0]);
    return lsnni_plan_same(cx, p);
}

/* 1 if the running mean and variance are taken, and stay as they are.          */
static int lsnni_norm_knows(const lsnn_call *c) { return !c->training || c->plan->o.freeze; }

#ifdef LSNN_NAIVE
static lsnn_status lsnni_forward_batch_norm(lsnn_ctx *cx, lsnn_call *c)
{
    const lsnn_layer_plan *p = c->plan;
    int channels = p->out.c, inner = lsnni_call_inner(c);
    if (lsnni_norm_knows(c)) {
        for (int k = 0; k < channels; k++) {             /* for backward      */
            c->keep[k] = c->buffer[0][k];
            c->keep[channels + k] = LSNNI_R(1 / sqrt((double)c->buffer[1][k] + p->o.eps));
        }
        return lsnn_batch_norm_predict(cx, c->y, c->x[0], c->param[0], c->param[1], c->buffer[0],
                                       c->buffer[1], c->n, channels, inner, p->o.eps);
    }
    return lsnn_batch_norm_forward(cx, c->y, c->keep, c->keep + channels, c->buffer[0],
                                   c->buffer[1], c->x[0], c->param[0], c->param[1], c->n,
                                   channels, inner, p->o.momentum, p->o.eps);
}

static lsnn_status lsnni_backward_batch_norm(lsnn_ctx *cx, lsnn_call *c)
{
    int channels = c->plan->out.c, inner = lsnni_call_inner(c);
    if (!lsnni_norm_knows(c))
        return lsnn_batch_norm_backward(cx, c->dx[0], c->dparam[0], c->dparam[1], c->dy, c->x[0],
                                        c->param[0], c->keep, c->keep + channels, c->n, channels,
                                        inner, c->add[0]);
    lsnni_clear(c->dx[0], lsnni_call_count(c), c->add[0]);
    for (int l = 0; l < c->n && c->dx[0]; l++)
    for (int k = 0; k < channels; k++)
    for (int i = 0; i < inner; i++) {
        size_t at = lsnni_at3(l, k, channels, i, inner);
        c->dx[0][at] += c->param[0][k] * c->keep[channels + k] * c->dy[at];
    }
    return LSNN_OK;
}
#else
/* Channels [first, first + those of input j): all of them, or one input of the concat that
   is read in parts (see >>parts).                                            */
static void lsnni_norm_part(lsnni_norm *g, const lsnn_call *c, int j, int first)
{
    memset(g, 0, sizeof *g);
    g->all = c->plan->out.c;
    g->x = c->x[j];
    g->gamma = c->param[0] + first;
}

static lsnn_status lsnni_forward_batch_norm(lsnn_ctx *cx, lsnn_call *c)
{
    const lsnn_layer_plan *p = c->plan;
    int known = lsnni_norm_knows(c);
    for (int j = 0, first = 0; j < p->inputs; first += p->in[j++].c) {
        lsnni_norm g;
        lsnni_norm_part(&g, c, j, first);
        g.y = c->y + lsnni_area(first, lsnni_call_inner(c));
        g.beta = c->param[1] + first;
        g.mean = c->keep + first;
        g.istd = c->keep + p->out.c + first;
        if (known) {
            g.known_mean = c->buffer[0] + first;
            g.known_var = c->buffer[1] + first;
        } else {
            g.running_mean = c->buffer[0] + first;
            g.running_var = c->buffer[1] + first;
        }
        g.momentum = p->o.momentum; g.eps = p->o.eps;
        g.relu = c->does & LSNN_DO_RELU;
        LSNNI_TRY(lsnni_norm_run(cx, &g, lsnni_blocks(c), p->in[j].c, lsnni_call_inner(c),
                                 lsnni_norm_task));
        if (!known) LSNNI_TRY(lsnni_norm_check(cx, g.istd, p->in[j].c));
    }
    return LSNN_OK;
}

static lsnn_status lsnni_backward_batch_norm(lsnn_ctx *cx, lsnn_call *c)
{
    const lsnn_layer_plan *p = c->plan;
    for (int j = 0, first = 0; j < p->inputs; first += p->in[j++].c) {
        size_t skip = lsnni_area(first, lsnni_call_inner(c));
        lsnni_norm g;
        lsnni_norm_part(&g, c, j, first);
        g.dy = c->dy + skip;
        g.y = c->dx[j]; g.add = c->add[j];
        g.constant = lsnni_norm_knows(c);
        g.mean_in = c->keep + first;
        g.istd_in = c->keep + p->out.c + first;
        if (c->dparam[0]) g.dgamma = c->dparam[0] + first;
        if (c->dparam[1]) g.dbeta = c->dparam[1] + first;
        if (c->does & LSNN_DO_RELU) {                    /* what relu would do in place */
            g.relu_dy = c->dy + skip;
            g.relu_y = c->y + skip;
        }
        LSNNI_TRY(lsnni_norm_run(cx, &g, lsnni_blocks(c), p->in[j].c, lsnni_call_inner(c),
                                 lsnni_norm_back_task));
    }
    return LSNN_OK;
}
#endif

static const lsnn_layer_type lsnni_batch_norm_type = {
    "batch_norm", LSNNI_PARAM_OPTIONS "momentum eps", 1, 1,
    LSNN_Y_FREE | LSNN_BLOCKS_ALL | LSNN_REHEARSES | LSNNI_NORM_FUSES,
    lsnni_plan_batch_norm, lsnni_forward_batch_norm, lsnni_backward_batch_norm, NULL, NULL
};

LSNN_API int lsnn_batch_norm(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_batch_norm_type, &x, 1, o);
}
/* ---- >>scale ----------------------------------------------------------------------
   y = x g + b    dx (+)= dy g    dg += sum dy x    db += sum dy    sums over n and i */
/* ---- The naive pair                                                        */
#ifdef LSNN_NAIVE
LSNN_API lsnn_status lsnn_scale_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                        const lsnn_real *g, const lsnn_real *b, int n, int c,
                                        int inner)
{
    LSNNI_TRY(lsnni_sizes3(cx, "scale (images x channels x pixels)", n, c, inner));
    for (int l = 0; l < n; l++)
    for (int k = 0; k < c; k++)
    for (int i = 0; i < inner; i++) {
        size_t at = lsnni_at3(l, k, c, i, inner);
        y[at] = x[at] * g[k] + (b ? b[k] : 0);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_scale_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dg,
                                         lsnn_real *db, const lsnn_real *dy,
                                         const lsnn_real *x, const lsnn_real *g, int n, int c,
                                         int inner, int add)
{
    LSNNI_TRY(lsnni_sizes3(cx, "scale (images x channels x pixels)", n, c, inner));
    lsnni_clear(dx, lsnni_at3(n, 0, c, 0, inner), add);
    for (int l = 0; l < n; l++)
    for (int k = 0; k < c; k++)
    for (int i = 0; i < inner; i++) {
        size_t at = lsnni_at3(l, k, c, i, inner);
        if (dx) dx[at] += dy[at] * g[k];
        if (dg) dg[k] += dy[at] * x[at];
        if (db) db[k] += dy[at];
    }
    return LSNN_OK;
}

#else /* ---- The fast pair: bound by memory ----------------------------------------------*/
typedef struct lsnni_scale {
    const lsnni_kernels *kv;
    const lsnn_real *x, *g, *b, *dy;
    lsnn_real *y, *dg, *db;
    int n, c, add;
    size_t inner;
} lsnni_scale;

static void lsnni_scale_task(void *user, int c, int worker)
{
    const lsnni_scale *p = (const lsnni_scale *)user;
    (void)worker;
    for (int n = 0; n < p->n; n++) {
        size_t first = (lsnni_area(n, p->c) + (size_t)c) * p->inner;
        if (!p->dy) {
            p->kv->affine(p->y + first, p->x + first, (double)p->g[c],
                          p->b ? (double)p->b[c] : 0, p->inner, 0);
            continue;
        }
        if (p->dg) p->dg[c] += LSNNI_R(p->kv->dot(p->dy + first, p->x + first, p->inner));
        if (p->db) p->db[c] += LSNNI_R(p->kv->sum(p->dy + first, p->inner));
        if (p->y)
            p->kv->affine(p->y + first, p->dy + first, (double)p->g[c], 0, p->inner, p->add);
    }
}

static lsnn_status lsnni_scale_run(lsnn_ctx *cx, lsnni_scale *p, int n, int c, int inner)
{
    LSNNI_TRY(lsnni_sizes3(cx, "scale (images x channels x pixels)", n, c, inner));
    p->kv = lsnni_kernels_of(cx);
    p->n = n; p->c = c; p->inner = (size_t)inner;
    lsnni_parallel_some(cx, lsnni_area(n, c) * p->inner, c, lsnni_scale_task, p);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_scale_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                        const lsnn_real *g, const lsnn_real *b, int n, int c,
                                        int inner)
{
    lsnni_scale p;
    memset(&p, 0, sizeof p);
    p.y = y; p.x = x; p.g = g; p.b = b;
    return lsnni_scale_run(cx, &p, n, c, inner);
}

LSNN_API lsnn_status lsnn_scale_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dg,
                                         lsnn_real *db, const lsnn_real *dy,
                                         const lsnn_real *x, const lsnn_real *g, int n, int c,
                                         int inner, int add)
{
    lsnni_scale p;
    memset(&p, 0, sizeof p);
    p.y = dx; p.dg = dg; p.db = db; p.dy = dy; p.x = x; p.g = g; p.add = add;
    return lsnni_scale_run(cx, &p, n, c, inner);
}

#endif /* LSNN_NAIVE */

/* ---- The layer ------------------------------------------------------------------------*/
static lsnn_status lsnni_plan_scale(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    p->param[0] = lsnni_spec("scale", 1, p->in[0].c, 0, 0, 0);
    p->param[0].value = 1;
    p->param[1] = lsnni_spec("bias", 1, p->in[0].c, 0, 0, 0);
    p->param[0].no_decay = p->param[1].no_decay = 1;
    p->params = p->o.no_bias ? 1 : 2;
    p->macs = (double)lsnni_features(p->in[0]);
    LSNNI_TRY(lsnni_plan_same(cx, p));
    lsnni_connect(p, 0);                                 /* its inputs' stay  */
    return LSNN_OK;
}

static lsnn_status lsnni_forward_scale(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_shape s = c->plan->in[0];
    return lsnn_scale_forward(cx, c->y, c->x[0], c->param[0], c->param[1], lsnni_blocks(c), s.c,
                              lsnni_call_inner(c));
}

static lsnn_status lsnni_backward_scale(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_shape s = c->plan->in[0];
    return lsnn_scale_backward(cx, c->dx[0], c->dparam[0], c->dparam[1], c->dy, c->x[0],
                               c->param[0], lsnni_blocks(c), s.c, lsnni_call_inner(c),
                               c->add[0]);
}

static const lsnn_layer_type lsnni_scale_type = {
    "scale", LSNNI_PARAM_OPTIONS "no_bias", 1, 1,
    LSNN_Y_FREE | LSNN_BLOCKS_ALL | LSNN_REHEARSES,
    lsnni_plan_scale, lsnni_forward_scale, lsnni_backward_scale, NULL, NULL
};

LSNN_API int lsnn_scale(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_scale_type, &x, 1, o);
}
/* ---- >>copies: concat, slice, add and flatten are made of lsnn_rows_copy ------------*/
typedef struct lsnni_rows {
    const lsnni_kernels *kv;
    const lsnn_real *x;
    lsnn_real *y;
    size_t y_stride, x_stride, len;
    int pieces, add;
} lsnni_rows;

static void lsnni_rows_task(void *user, int task, int worker)
{
    const lsnni_rows *p = (const lsnni_rows *)user;
    size_t row = (size_t)(task / p->pieces), at = (size_t)(task % p->pieces) * LSNNI_PIECE;
    size_t count = LSNNI_MIN((size_t)LSNNI_PIECE, p->len - at);
    lsnn_real *to = p->y + row * p->y_stride + at;
    const lsnn_real *from = p->x + row * p->x_stride + at;
    (void)worker;
    if (p->add) p->kv->axpy(to, 1, from, count);
    else memcpy(to, from, count * sizeof *to);
}

LSNN_API lsnn_status lsnn_rows_copy(lsnn_ctx *cx, lsnn_real *y, size_t y_stride,
                                    const lsnn_real *x, size_t x_stride, int n, size_t len,
                                    int add)
{
    lsnni_rows p;
    size_t pieces = (len + LSNNI_PIECE - 1) / LSNNI_PIECE;
    if (n < 0 || (n > 1 && (y_stride < len || x_stride < len)) ||
        (double)pieces * n > INT_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE,
                          "rows_copy: %d rows of %.0f numbers, %.0f and %.0f apart",
                          n, (double)len, (double)y_stride, (double)x_stride);
    p.kv = lsnni_kernels_of(cx);
    p.x = x; p.y = y; p.y_stride = y_stride; p.x_stride = x_stride; p.len = len; p.add = add;
    p.pieces = (int)pieces;
    lsnn_parallel(cx, n * p.pieces, lsnni_rows_task, &p);
    return LSNN_OK;
}

static lsnn_status lsnni_plan_add(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_shape a = p->in[0], b = p->in[1];
    if (a.c != b.c || a.h != b.h || a.w != b.w)
        return lsnni_fail(cx, LSNN_ESHAPE, "add: %dx%dx%d and %dx%dx%d differ", a.c, a.h, a.w,
                          b.c, b.h, b.w);
    return lsnni_plan_same(cx, p);
}

static lsnn_status lsnni_forward_add(lsnn_ctx *cx, lsnn_call *c)
{
    size_t count = lsnni_call_count(c);
    LSNNI_TRY(lsnn_rows_copy(cx, c->y, count, c->x[0], count, 1, count, LSNN_SET));
    return lsnn_rows_copy(cx, c->y, count, c->x[1], count, 1, count, LSNN_ADD);
}

static lsnn_status lsnni_backward_add(lsnn_ctx *cx, lsnn_call *c)
{
    size_t count = lsnni_call_count(c);
    for (int i = 0; i < 2; i++)
        if (c->dx[i])
            LSNNI_TRY(lsnn_rows_copy(cx, c->dx[i], count, c->dy, count, 1, count, c->add[i]));
    return LSNN_OK;
}

static const lsnn_layer_type lsnni_add_type = {
    "add", "", 2, 2,
    LSNN_X_FREE | LSNN_Y_FREE | LSNN_BLOCKS_ALL | LSNN_REHEARSES,
    lsnni_plan_add, lsnni_forward_add, lsnni_backward_add, NULL, NULL
};

LSNN_API int lsnn_add(lsnn_net *net, int a, int b, const lsnn_options *o)
{
    int x[2];
    x[0] = a;
    x[1] = b;
    return lsnn_layer(net, &lsnni_add_type, x, 2, o);
}

static lsnn_status lsnni_plan_concat(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    p->out = p->in[0];
    for (int i = 1; i < p->inputs; i++) {
        if (p->in[i].h != p->out.h || p->in[i].w != p->out.w)
            return lsnni_fail(cx, LSNN_ESHAPE, "concat: input %d is %dx%d, the first %dx%d",
                              i + 1, p->in[i].h, p->in[i].w, p->out.h, p->out.w);
        if (p->in[i].c > INT_MAX - p->out.c)
            return lsnni_fail(cx, LSNN_ESHAPE, "concat: too many channels");
        p->out.c += p->in[i].c;
    }
    return LSNN_OK;
}

/* Concat forward and backward are one walk over the inputs' places in y.     */
static lsnn_status lsnni_concat_walk(lsnn_ctx *cx, lsnn_call *c, int backward)
{
    size_t lanes = (size_t)lsnni_lanes_or_1(c), out = (size_t)lsnni_features(c->plan->out);
    size_t at = 0;
    int n = lsnni_blocks(c);
    out *= lanes;
    for (int i = 0; i < c->plan->inputs; i++) {
        size_t in = (size_t)lsnni_features(c->plan->in[i]) * lanes;
        if (!backward)
            LSNNI_TRY(lsnn_rows_copy(cx, c->y + at, out, c->x[i], in, n, in, LSNN_SET));
        else if (c->dx[i])
            LSNNI_TRY(lsnn_rows_copy(cx, c->dx[i], in, c->dy + at, out, n, in, c->add[i]));
        at += in;
    }
    return LSNN_OK;
}
static lsnn_status lsnni_forward_concat(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnni_concat_walk(cx, c, 0);
}
static lsnn_status lsnni_backward_concat(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnni_concat_walk(cx, c, 1);
}

static const lsnn_layer_type lsnni_concat_type = {
    "concat", "", 1, LSNN_MAX_INPUTS,
    LSNN_X_FREE | LSNN_Y_FREE | LSNN_BLOCKS_ALL | LSNN_REHEARSES | LSNN_JOINS,
    lsnni_plan_concat, lsnni_forward_concat, lsnni_backward_concat, NULL, NULL
};

LSNN_API int lsnn_concat(lsnn_net *net, const int *x, int count, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_concat_type, x, count, o);
}

static lsnn_status lsnni_plan_slice(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    if (p->o.first < 0 || p->o.count < 1 || p->o.first > p->in[0].c - p->o.count)
        return lsnni_fail(cx, LSNN_ESHAPE, "slice: channels [%d, %d + %d) of %d", p->o.first,
                          p->o.first, p->o.count, p->in[0].c);
    p->out = p->in[0];
    p->out.c = p->o.count;
    return LSNN_OK;
}

static lsnn_status lsnni_forward_slice(lsnn_ctx *cx, lsnn_call *c)
{
    size_t lanes = (size_t)lsnni_lanes_or_1(c);
    size_t len = (size_t)lsnni_features(c->plan->out) * lanes;
    return lsnn_rows_copy(cx, c->y, len, c->x[0] + lsnni_area(c->plan->o.first,
                                                              lsnni_call_inner(c)),
                          (size_t)lsnni_features(c->plan->in[0]) * lanes, lsnni_blocks(c), len,
                          LSNN_SET);
}

static lsnn_status lsnni_backward_slice(lsnn_ctx *cx, lsnn_call *c)
{
    size_t lanes = (size_t)lsnni_lanes_or_1(c);
    size_t len = (size_t)lsnni_features(c->plan->out) * lanes;
    if (!c->add[0]) memset(c->dx[0], 0, lsnni_call_count(c) * sizeof *c->dy);
    return lsnn_rows_copy(cx, c->dx[0] + lsnni_area(c->plan->o.first, lsnni_call_inner(c)),
                          (size_t)lsnni_features(c->plan->in[0]) * lanes, c->dy, len,
                          lsnni_blocks(c), len, LSNN_ADD);
}

static const lsnn_layer_type lsnni_slice_type = {
    "slice", "first count", 1, 1,
    LSNN_X_FREE | LSNN_Y_FREE | LSNN_BLOCKS_ALL | LSNN_REHEARSES,
    lsnni_plan_slice, lsnni_forward_slice, lsnni_backward_slice, NULL, NULL
};

LSNN_API int lsnn_slice(lsnn_net *net, int x, int first, int count, const lsnn_options *o)
{
    lsnn_options all = lsnni_options(o);
    all.first = first;
    all.count = count;
    return lsnn_layer(net, &lsnni_slice_type, &x, 1, &all);
}

static lsnn_status lsnni_plan_flatten(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    (void)cx;
    p->out.c = lsnni_features(p->in[0]);
    p->out.h = p->out.w = 1;
    return LSNN_OK;
}

static lsnn_status lsnni_forward_flatten(lsnn_ctx *cx, lsnn_call *c)
{
    size_t count = lsnni_call_count(c);
    if (c->y == c->x[0]) return LSNN_OK;
    return lsnn_rows_copy(cx, c->y, count, c->x[0], count, 1, count, LSNN_SET);
}

static lsnn_status lsnni_backward_flatten(lsnn_ctx *cx, lsnn_call *c)
{
    size_t count = lsnni_call_count(c);
    if (c->dx[0] == c->dy) return LSNN_OK;
    return lsnn_rows_copy(cx, c->dx[0], count, c->dy, count, 1, count, c->add[0]);
}

static const lsnn_layer_type lsnni_flatten_type = {
    "flatten", "", 1, 1,
    LSNN_IN_PLACE | LSNN_BLOCKS_ALL | LSNN_REHEARSES | LSNN_Y_FREE,
    lsnni_plan_flatten, lsnni_forward_flatten, lsnni_backward_flatten, NULL, NULL
};

LSNN_API int lsnn_flatten(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_flatten_type, &x, 1, o);
}
/* ---- >>losses ----------------------------------------------------------------------
   cross-entropy  L = -1/N sum_n log p[n, label n],  p = softmax(x)   dx = (p - onehot) / N
     with a rubbish class of logit -j beside the C:  p[n,k] = e^x[n,k] / (e^-j + sum_i e^x[n,i])
                  (LeCun et al. 1998, Eq. 9, whose penalties y are -x)           dx the same
   mean squares   L = 1/(N C) sum (x - t)^2                           dx = 2 (x - t) / (N C) */
static lsnn_status lsnni_label_check(lsnn_ctx *cx, int label, int sample, int c)
{
    if (label >= 0 && label < c) return LSNN_OK;
    return lsnni_fail(cx, LSNN_EVALUE, "cross_entropy: label %d of the batch's sample %d is "
                      "not in [0, %d)", label, sample, c);
}

LSNN_API lsnn_status lsnn_cross_entropy_forward(lsnn_ctx *cx, double *loss, lsnn_real *p,
                                                const lsnn_real *x, const int *label,
                                                int label_stride, int n, int c)
{
    double total = 0;
    LSNNI_TRY(lsnn_softmax_forward(cx, p, x, n, c, 1));
    for (int i = 0; i < n; i++) {
        const lsnn_real *row = x + lsnni_area(i, c);
        int t = label[(size_t)i * (size_t)label_stride];
        double most, sum = 0;
        LSNNI_TRY(lsnni_label_check(cx, t, i, c));
        most = (double)row[0];
        for (int j = 1; j < c; j++) if ((double)row[j] > most) most = (double)row[j];
        for (int j = 0; j < c; j++) sum += exp((double)row[j] - most);
        total += most + log(sum) - (double)row[t];       /* finite where p is 0 */
    }
    *loss = total / n;
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_cross_entropy_rubbish_forward(lsnn_ctx *cx, double *loss,
                                                        lsnn_real *p, const lsnn_real *x,
                                                        const int *label, int label_stride,
                                                        int n, int c, double j)
{
    double total = 0;
    LSNNI_TRY(lsnni_sizes3(cx, "cross_entropy", n, c, 1));
    for (int i = 0; i < n; i++) {
        const lsnn_real *row = x + lsnni_area(i, c);
        int t = label[(size_t)i * (size_t)label_stride];
        double most = -j, sum;
        LSNNI_TRY(lsnni_label_check(cx, t, i, c));
        for (int k = 0; k < c; k++) if (!((double)row[k] <= most)) most = (double)row[k];
        sum = exp(-j - most);
        for (int k = 0; k < c; k++) sum += exp((double)row[k] - most);
        for (int k = 0; k < c; k++)
            p[lsnni_area(i, c) + (size_t)k] = LSNNI_R(exp((double)row[k] - most) / sum);
        total += most + log(sum) - (double)row[t];
    }
    *loss = total / n;
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_cross_entropy_backward(lsnn_ctx *cx, lsnn_real *dx,
                                                 const lsnn_real *p, const int *label,
                                                 int label_stride, int n, int c, double weight,
                                                 int add)
{
    const lsnni_kernels *kv = lsnni_kernels_of(cx);
    LSNNI_TRY(lsnni_sizes3(cx, "cross_entropy (images x classes)", n, c, 1));
    if (!dx) return LSNN_OK;
    kv->affine(dx, p, weight / n, 0, lsnni_area(n, c), add);
    for (int i = 0; i < n; i++) {
        int t = label[(size_t)i * (size_t)label_stride];
        LSNNI_TRY(lsnni_label_check(cx, t, i, c));
        dx[lsnni_area(i, c) + (size_t)t] -= LSNNI_R(weight / n);
    }
    return LSNN_OK;
}

static lsnn_status lsnni_mse_check(lsnn_ctx *cx, int t_stride, int n, int c)
{
    LSNNI_TRY(lsnni_sizes3(cx, "mse (images x targets)", n, c, 1));
    if (t_stride < c && n > 1)
        return lsnni_fail(cx, LSNN_ESHAPE, "mse: rows of %d targets are %d apart", c, t_stride);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_mse_forward(lsnn_ctx *cx, double *loss, const lsnn_real *x,
                                      const lsnn_real *t, int t_stride, int n, int c)
{
    double total = 0;
    LSNNI_TRY(lsnni_mse_check(cx, t_stride, n, c));
    for (int i = 0; i < n; i++)
        for (int j = 0; j < c; j++) {
            double d = (double)x[lsnni_area(i, c) + (size_t)j];
            d -= (double)t[lsnni_area(i, t_stride) + (size_t)j];
            total += d * d;
        }
    *loss = total / n / c;
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_mse_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *x,
                                       const lsnn_real *t, int t_stride, int n, int c,
                                       double weight, int add)
{
    lsnn_real scale = LSNNI_R(2 * weight / n / c);
    LSNNI_TRY(lsnni_mse_check(cx, t_stride, n, c));
    if (!dx) return LSNN_OK;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < c; j++) {
            size_t at = lsnni_area(i, c) + (size_t)j;
            lsnn_real g = scale * (x[at] - t[lsnni_area(i, t_stride) + (size_t)j]);
            dx[at] = add ? dx[at] + g : g;
        }
    return LSNN_OK;
}

/* A part of a batch has its share of the whole batch's mean.                      */
static double lsnni_loss_weight(const lsnn_call *c)
{
    double w = c->plan->o.loss_weight;
    return c->total == c->n ? w : w * c->n / c->total;
}

static lsnn_status lsnni_plan_loss(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    p->o.loss_weight = lsnni_or(p->o.loss_weight, 1);
    if (p->o.head < 0)
        return lsnni_fail(cx, LSNN_EVALUE, "loss: head %d is negative", p->o.head);
    return lsnni_plan_same(cx, p);
}

static lsnn_status lsnni_plan_cross_entropy(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    if (p->o.rubbish < 0)
        return lsnni_fail(cx, LSNN_EVALUE, "cross_entropy: rubbish is %g, it must be positive, or "
                          "0 for no such class", p->o.rubbish);
    return lsnni_plan_loss(cx, p);
}

static lsnn_status lsnni_forward_cross_entropy(lsnn_ctx *cx, lsnn_call *c)
{
    int head = c->plan->o.head, size = lsnni_features(c->plan->in[0]);
    if (!c->labels || head >= c->heads)
        return lsnni_fail(cx, LSNN_ESHAPE, "cross_entropy: needs label %d of each sample, the "
                          "batch has %d", head, c->labels ? c->heads : 0);
    if (c->plan->o.rubbish > 0)
        LSNNI_TRY(lsnn_cross_entropy_rubbish_forward(cx, &c->loss, c->y, c->x[0],
                                                     c->labels + head, c->heads, c->n, size,
                                                     c->plan->o.rubbish));
    else
        LSNNI_TRY(lsnn_cross_entropy_forward(cx, &c->loss, c->y, c->x[0], c->labels + head,
                                             c->heads, c->n, size));
    c->loss *= lsnni_loss_weight(c);
    return LSNN_OK;
}

static lsnn_status lsnni_backward_cross_entropy(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnn_cross_entropy_backward(cx, c->dx[0], c->y, c->labels + c->plan->o.head,
                                       c->heads, c->n, lsnni_features(c->plan->in[0]),
                                       lsnni_loss_weight(c), c->add[0]);
}

static lsnn_status lsnni_forward_mse(lsnn_ctx *cx, lsnn_call *c)
{
    int count = lsnni_features(c->plan->in[0]), first = c->plan->o.head;
    if (!c->targets || first > c->target_count - count)
        return lsnni_fail(cx, LSNN_ESHAPE,
                          "mse: needs %d targets of each sample from number %d on, the batch "
                          "has %d", count, first, c->targets ? c->target_count : 0);
    LSNNI_TRY(lsnn_mse_forward(cx, &c->loss, c->x[0], c->targets + first, c->target_count, c->n,
                               count));
    memcpy(c->y, c->x[0], lsnni_call_count(c) * sizeof *c->y);
    c->loss *= lsnni_loss_weight(c);
    return LSNN_OK;
}

static lsnn_status lsnni_backward_mse(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnn_mse_backward(cx, c->dx[0], c->x[0], c->targets + c->plan->o.head,
                             c->target_count, c->n, lsnni_features(c->plan->in[0]),
                             lsnni_loss_weight(c), c->add[0]);
}

static const lsnn_layer_type lsnni_cross_entropy_type = {
    "cross_entropy", "head loss_weight rubbish", 1, 1,
    LSNN_IS_LOSS | LSNN_CLASSIFIES | LSNN_X_FREE,
    lsnni_plan_cross_entropy, lsnni_forward_cross_entropy, lsnni_backward_cross_entropy, NULL,
    NULL
};

static const lsnn_layer_type lsnni_mse_type = {
    "mse", "head loss_weight", 1, 1,
    LSNN_IS_LOSS,
    lsnni_plan_loss, lsnni_forward_mse, lsnni_backward_mse, NULL, NULL
};

LSNN_API int lsnn_cross_entropy(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_cross_entropy_type, &x, 1, o);
}

LSNN_API int lsnn_mse(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_mse_type, &x, 1, o);
}
/* ---- >>conv2d -------------------------------------------------------------------
   y[n,k,oy,ox]   = b[k] + sum_crs w[k,c,r,s] x[n, c, oy*sh + r - pt, ox*sw + s - pl]
   dx[n,c,iy,ix] (+)= sum_krs w[k,c,r,s] dy[n,k,oy,ox]   over oy*sh + r - pt = iy, same for x
   dw[k,c,r,s]     += sum_n,oy,ox dy[n,k,oy,ox] x[n, c, oy*sh + r - pt, ox*sw + s - pl]
   db[k]           += sum_n,oy,ox dy[n,k,oy,ox]
   x N,C,H,W  w K,C,kh,kw  b K  y N,K,OH,OW; pixels outside the image are 0.
   K*C*kh*kw*OH*OW multiply-adds an image forward, twice that backward.   */

/* ---- The naive pair: what the formulas say. Wherever forward has y += x * w, backward has
   dx += dy * w and dw += dy * x. LSNN_NAIVE builds the library on it.        */
#ifdef LSNN_NAIVE
#define LSNNI_CONV2D_FUSES 0
static int lsnni_inside(const lsnn_window *s, int row, int col)
{
    return row >= 0 && row < s->h && col >= 0 && col < s->w;
}

LSNN_API lsnn_status lsnn_conv2d_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                         const lsnn_real *w, const lsnn_real *b,
                                         const lsnn_window *s)
{
    LSNNI_TRY(lsnni_window_check(cx, "conv2d", s, 1));
    if (cx->rehearsal_) return LSNN_OK;
    for (int n = 0; n < s->n; n++)
    for (int k = 0; k < s->k; k++)
    for (int i = 0; i < s->oh; i++)
    for (int j = 0; j < s->ow; j++) {
        double sum = 0;
        for (int c = 0; c < s->c; c++)
        for (int u = 0; u < s->kernel_h; u++)
        for (int v = 0; v < s->kernel_w; v++) {
            int row = i * s->stride_h - s->pad_top + u, col = j * s->stride_w - s->pad_left + v;
            if (!lsnni_inside(s, row, col)) continue;    /* padding is 0      */
            sum += (double)x[lsnni_at4(n, c, s->c, row, s->h, col, s->w)]
                 * (double)w[lsnni_at4(k, c, s->c, u, s->kernel_h, v, s->kernel_w)];
        }
        y[lsnni_at4(n, k, s->k, i, s->oh, j, s->ow)] = LSNNI_R(sum) + (b ? b[k] : 0);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_conv2d_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                          lsnn_real *db, const lsnn_real *dy,
                                          const lsnn_real *x, const lsnn_real *w,
                                          const lsnn_window *s, int add)
{
    LSNNI_TRY(lsnni_window_check(cx, "conv2d", s, 1));
    if (cx->rehearsal_) return LSNN_OK;
    lsnni_clear(dx, lsnni_at4(s->n, 0, s->c, 0, s->h, 0, s->w), add);
    for (int n = 0; n < s->n; n++)
    for (int k = 0; k < s->k; k++)
    for (int i = 0; i < s->oh; i++)
    for (int j = 0; j < s->ow; j++) {
        lsnn_real g = dy[lsnni_at4(n, k, s->k, i, s->oh, j, s->ow)];
        if (db) db[k] += g;
        for (int c = 0; c < s->c; c++)
        for (int u = 0; u < s->kernel_h; u++)
        for (int v = 0; v < s->kernel_w; v++) {
            int row = i * s->stride_h - s->pad_top + u, col = j * s->stride_w - s->pad_left + v;
            size_t in = lsnni_at4(n, c, s->c, row, s->h, col, s->w);
            size_t at = lsnni_at4(k, c, s->c, u, s->kernel_h, v, s->kernel_w);
            if (!lsnni_inside(s, row, col)) continue;
            if (dx) dx[in] += g * w[at];
            if (dw) dw[at] += g * x[in];
        }
    }
    return LSNN_OK;
}

#else /* ---- The fast pair ---------------------------------------------------------------*/
#define LSNNI_CONV2D_FUSES LSNN_MAX2_AFTER
/* Three ways, as the arrays lie: blocks of images (>>lanes) run fastest; plain arrays go
   along rows (>>convolve); a few plain images under a 1 x 1 window are a product of matrices
   each (>>gemm). pool.on: the maps, of even sides, go through a max pooling of 2 x 2 to y
   and pool.where on the way.                                                 */
static lsnn_status lsnni_conv2d_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                        const lsnn_real *w, const lsnn_real *b,
                                        const lsnn_window *s, const lsnni_pooled *pool)
{
    LSNNI_TRY(lsnni_window_check(cx, "conv2d", s, 1));
    if (s->lanes > 1) return lsnni_blocks_forward(cx, y, x, w, b, s, pool);
    if (!pool->on && lsnni_image_tasks(s->n) > 1 && lsnni_pointwise(s))
        return lsnni_pointwise_forward(cx, y, x, w, b, s);
    return lsnni_rows_forward(cx, y, x, w, b, s, pool);
}

LSNN_API lsnn_status lsnn_conv2d_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                         const lsnn_real *w, const lsnn_real *b,
                                         const lsnn_window *s)
{
    lsnni_pooled none;
    memset(&none, 0, sizeof none);
    return lsnni_conv2d_forward(cx, y, x, w, b, s, &none);
}

LSNN_API lsnn_status lsnn_conv2d_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                          lsnn_real *db, const lsnn_real *dy,
                                          const lsnn_real *x, const lsnn_real *w,
                                          const lsnn_window *s, int add)
{
    int blocks = s->lanes > 1;
    LSNNI_TRY(lsnni_window_check(cx, "conv2d", s, 1));
    if (dw || db)
        LSNNI_TRY((blocks ? lsnni_blocks_backward_w : lsnni_rows_backward_w)(cx, dw, db, dy, x,
                                                                            s));
    if (dx)
        LSNNI_TRY((blocks ? lsnni_blocks_backward_x : lsnni_rows_backward_x)(cx, dx, dy, w, s,
                                                                            add));
    return LSNN_OK;
}

#endif /* LSNN_NAIVE */

/* ---- The layer ------------------------------------------------------------------------*/
static lsnn_status lsnni_plan_conv2d(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_plan_kernels(cx, p, &s));
    p->param[0] = lsnni_spec("weight", 4, s.k, s.c, s.kernel_h, s.kernel_w);
    p->param[0].fan_in = s.c * s.kernel_h * s.kernel_w;
    p->param[0].fan_out = s.k * s.kernel_h * s.kernel_w;
    p->param[1] = lsnni_spec("bias", 1, s.k, 0, 0, 0);
    p->param[1].no_decay = 1;
    p->macs = (double)p->param[0].count * s.oh * s.ow;
    lsnni_connect(p, p->param[0].fan_in);
    if (s.kernel_h * s.kernel_w == 1) p->traits &= ~LSNN_MAX2_AFTER;     /* a matrix product */
    return LSNN_OK;
}

static lsnn_status lsnni_forward_conv2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
#ifndef LSNN_NAIVE
    if (c->does) {
        lsnni_pooled pool;
        memset(&pool, 0, sizeof pool);
        pool.on = c->does & LSNN_DO_MAX2;
        pool.relu = c->does & LSNN_DO_RELU;
        pool.where = (int32_t *)(void *)c->keep;
        return lsnni_conv2d_forward(cx, c->y, c->x[0], c->param[0], c->param[1], &s, &pool);
    }
#endif
    return lsnn_conv2d_forward(cx, c->y, c->x[0], c->param[0], c->param[1], &s);
}

static lsnn_status lsnni_backward_conv2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    return lsnn_conv2d_backward(cx, c->dx[0], c->dparam[0], c->dparam[1], c->dy, c->x[0],
                                c->param[0], &s, c->add[0]);
}

static const lsnn_layer_type lsnni_conv2d_type = {
    "conv2d", LSNNI_WEIGHTED LSNNI_WINDOW_OPTIONS, 1, 1,
    LSNN_Y_FREE | LSNN_BLOCKS | LSNN_REHEARSES | LSNN_CROPS | LSNNI_CONV2D_FUSES,
    lsnni_plan_conv2d, lsnni_forward_conv2d, lsnni_backward_conv2d, NULL, NULL
};

LSNN_API int lsnn_conv2d(lsnn_net *net, int x, int filters, int kernel, const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_conv2d_type, x, filters, kernel, o);
}

LSNN_API int lsnn_conv1d(lsnn_net *net, int x, int filters, int kernel, const lsnn_options *o)
{
    lsnn_options row = lsnni_options(o);
    if (!row.kernel_h) row.kernel_h = 1;
    return lsnni_windowed(net, &lsnni_conv2d_type, x, filters, kernel, &row);
}
/* ---- >>table_conv2d -------------------------------------------------------------
   A convolution whose kernels read only some of the input's maps: those that a connection
   table lists, as C3 of LeNet-5 (LeCun et al. 1998, Table I).
   y[n,k,p]   = b[k] + sum over c in table[k], r, s of w[m,r,s] x[n,c,...]    m: number of (k, c)
   dx[n,c,...] (+)= sum over k with c in table[k] of w[m,r,s] dy[n,k,p]
   dw[m,r,s]    += sum_n,p dy[n,k,p] x[n,c,...]     db[k] += sum_n,p dy[n,k,p]
   x N,C,H,W  w M,kh,kw: one a connection, in the table's order  b K  y N,K,OH,OW
   The table is text, "0,1,2;1,2,3;0-2,5": for each kernel, the numbers of its maps in rising
   order. What is not connected has no weight: M*kh*kw*OH*OW multiply-adds an image.  */

/* The next connection of a table, number *k of the kernels and *c of the maps; begin with
   *at the table, *k = 0 and *c = *to = -1. to: where a range ends.            */
static int lsnni_wires_next(const char **at, int *k, int *c, int *to)
{
    if (*c < *to) { ++*c; return 1; }
    if (!**at) return 0;
    if (**at == ';') ++*k;
    if (**at == ';' || **at == ',') ++*at;
    for (*c = 0; **at >= '0' && **at <= '9'; ++*at) *c = *c * 10 + (**at - '0');
    *to = *c;
    if (**at != '-') return 1;
    for (++*at, *to = 0; **at >= '0' && **at <= '9'; ++*at) *to = *to * 10 + (**at - '0');
    return 1;
}

/* A number of at most 6 digits, or -1.                                        */
static int lsnni_wires_number(const char **at)
{
    int n = 0, digits = 0;
    for (; **at >= '0' && **at <= '9'; ++*at, digits++) n = digits < 6 ? n * 10 + (**at - '0') : 0;
    return digits >= 1 && digits <= 6 ? n : -1;
}

/* Counts a table's kernels and connections, after it is found to be one for c maps. */
static lsnn_status lsnni_wires_check(lsnn_ctx *cx, const char *table, int c, int *kernels,
                                     int *connections)
{
    const char *at = table ? table : "";
    double count = 0;
    int last = -1;
    *kernels = 1;
    for (;;) {
        int from = lsnni_wires_number(&at), to = from;
        if (from >= 0 && *at == '-') { at++; to = lsnni_wires_number(&at); }
        if (from <= last || to < from || (*at && *at != ',' && *at != ';'))
            return lsnni_fail(cx, LSNN_EVALUE, "table_conv2d: the table \"%.60s\" is not right at "
                              "its character %d: it wants maps in rising order, like "
                              "\"0,1,2;1,2,3;0-5\"", table ? table : "", (int)(at - (table ?
                              table : at)) + 1);
        if (to >= c)
            return lsnni_fail(cx, LSNN_EVALUE, "table_conv2d: the table's kernel %d reads map %d, "
                              "there are %d", *kernels - 1, to, c);
        count += to - from + 1;
        last = to;
        if (!*at) break;
        if (*at++ == ';') { last = -1; ++*kernels; }
    }
    if (count > INT32_MAX / 4)
        return lsnni_fail(cx, LSNN_ESHAPE, "table_conv2d: %.3g connections", count);
    *connections = (int)count;
    return LSNN_OK;
}

/* The window's sizes and the table fit together.                              */
static lsnn_status lsnni_wires_fits(lsnn_ctx *cx, const char *table, const lsnn_window *s)
{
    int kernels, connections;
    LSNNI_TRY(lsnni_window_check(cx, "table_conv2d", s, 1));
    LSNNI_TRY(lsnni_wires_check(cx, table, s->c, &kernels, &connections));
    if (kernels != s->k)
        return lsnni_fail(cx, LSNN_ESHAPE, "table_conv2d: the table has %d kernels, the window "
                          "%d", kernels, s->k);
    return LSNN_OK;
}

/* ---- The naive pair: the loops of >>conv2d, over the pairs that the table lists. */
#ifdef LSNN_NAIVE
/* One pair of maps of one image: y += w * x, or with dy its two gradients.    */
static void lsnni_wires_pair(const lsnn_window *s, lsnn_real *y, const lsnn_real *dy,
                             const lsnn_real *x, lsnn_real *dx, const lsnn_real *w,
                             lsnn_real *dw)
{
    for (int i = 0; i < s->oh; i++)
    for (int j = 0; j < s->ow; j++)
    for (int u = 0; u < s->kernel_h; u++)
    for (int v = 0; v < s->kernel_w; v++) {
        int row = i * s->stride_h - s->pad_top + u, col = j * s->stride_w - s->pad_left + v;
        size_t in = lsnni_at2(row, col, s->w), out = lsnni_at2(i, j, s->ow);
        size_t at = lsnni_at2(u, v, s->kernel_w);
        if (row < 0 || row >= s->h || col < 0 || col >= s->w) continue;   /* padding is 0 */
        if (y) y[out] += w[at] * x[in];
        if (dx) dx[in] += dy[out] * w[at];
        if (dw) dw[at] += dy[out] * x[in];
    }
}

static void lsnni_wires_image(const char *table, const lsnn_window *s, lsnn_real *y,
                              const lsnn_real *dy, const lsnn_real *x, lsnn_real *dx,
                              const lsnn_real *w, lsnn_real *dw)
{
    size_t in = lsnni_area(s->h, s->w), out = lsnni_area(s->oh, s->ow), m = 0;
    size_t taps = lsnni_area(s->kernel_h, s->kernel_w);
    for (int k = 0, c = -1, to = -1; lsnni_wires_next(&table, &k, &c, &to); m++)
        lsnni_wires_pair(s, y ? y + (size_t)k * out : NULL, dy ? dy + (size_t)k * out : NULL,
                         x + (size_t)c * in, dx ? dx + (size_t)c * in : NULL, w + m * taps,
                         dw ? dw + m * taps : NULL);
}

LSNN_API lsnn_status lsnn_table_conv2d_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *room,
                                               const lsnn_real *x, const lsnn_real *w,
                                               const lsnn_real *b, const char *table,
                                               const lsnn_window *s)
{
    size_t in = lsnni_area(s->h, s->w) * (size_t)s->c, out = lsnni_area(s->oh, s->ow);
    (void)room;
    LSNNI_TRY(lsnni_wires_fits(cx, table, s));
    if (cx->rehearsal_) return LSNN_OK;
    for (int n = 0; n < s->n; n++) {
        lsnn_real *yn = y + (size_t)n * (size_t)s->k * out;
        for (size_t i = 0; i < (size_t)s->k * out; i++) yn[i] = b ? b[i / out] : 0;
        lsnni_wires_image(table, s, yn, NULL, x + (size_t)n * in, NULL, w, NULL);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_table_conv2d_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                                lsnn_real *db, lsnn_real *room,
                                                const lsnn_real *dy, const lsnn_real *x,
                                                const lsnn_real *w, const char *table,
                                                const lsnn_window *s, int add)
{
    size_t in = lsnni_area(s->h, s->w) * (size_t)s->c, out = lsnni_area(s->oh, s->ow);
    (void)room;
    LSNNI_TRY(lsnni_wires_fits(cx, table, s));
    if (cx->rehearsal_) return LSNN_OK;
    lsnni_clear(dx, in * (size_t)s->n, add);
    for (int n = 0; n < s->n; n++) {
        const lsnn_real *dyn = dy + (size_t)n * (size_t)s->k * out;
        for (size_t i = 0; i < (size_t)s->k * out && db; i++) db[i / out] += dyn[i];
        lsnni_wires_image(table, s, NULL, dyn, x + (size_t)n * in,
                          dx ? dx + (size_t)n * in : NULL, w, dw);
    }
    return LSNN_OK;
}

#else /* ---- The fast pair: the convolution, with 0 where nothing is connected -------------
   It does K*C/M times the work, which is less than what gathering maps would cost: 1.6 times
   for LeNet-5's table. A table that leaves out nearly all is better made of slices.  */
static void lsnni_wires_spread(lsnn_real *full, const lsnn_real *w, const char *table,
                               const lsnn_window *s)
{
    size_t taps = lsnni_area(s->kernel_h, s->kernel_w), m = 0;
    memset(full, 0, lsnni_area(s->k, s->c) * taps * sizeof *full);
    for (int k = 0, c = -1, to = -1; lsnni_wires_next(&table, &k, &c, &to); m++)
        memcpy(full + lsnni_at2(k, c, s->c) * taps, w + m * taps, taps * sizeof *full);
}

LSNN_API lsnn_status lsnn_table_conv2d_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *room,
                                               const lsnn_real *x, const lsnn_real *w,
                                               const lsnn_real *b, const char *table,
                                               const lsnn_window *s)
{
    LSNNI_TRY(lsnni_wires_fits(cx, table, s));
    lsnni_wires_spread(room, w, table, s);
    return lsnn_conv2d_forward(cx, y, x, room, b, s);
}

LSNN_API lsnn_status lsnn_table_conv2d_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                                lsnn_real *db, lsnn_real *room,
                                                const lsnn_real *dy, const lsnn_real *x,
                                                const lsnn_real *w, const char *table,
                                                const lsnn_window *s, int add)
{
    size_t taps = lsnni_area(s->kernel_h, s->kernel_w), m = 0;
    LSNNI_TRY(lsnni_wires_fits(cx, table, s));
    if (dx) lsnni_wires_spread(room, w, table, s);
    LSNNI_TRY(lsnn_conv2d_backward(cx, dx, NULL, db, dy, x, room, s, add));
    if (!dw) return LSNN_OK;
    memset(room, 0, lsnni_area(s->k, s->c) * taps * sizeof *room);
    LSNNI_TRY(lsnn_conv2d_backward(cx, NULL, room, NULL, dy, x, w, s, LSNN_SET));
    for (int k = 0, c = -1, to = -1; lsnni_wires_next(&table, &k, &c, &to); m++)
        for (size_t i = 0; i < taps; i++)
            dw[m * taps + i] += room[lsnni_at2(k, c, s->c) * taps + i];
    return LSNN_OK;
}
#endif /* LSNN_NAIVE */

/* ---- The layer ------------------------------------------------------------------------*/
static lsnn_status lsnni_plan_table_conv2d(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_window s;
    int kernels, connections;
    LSNNI_TRY(lsnni_wires_check(cx, p->o.table, p->in[0].c, &kernels, &connections));
    if (p->o.filters && p->o.filters != kernels)
        return lsnni_fail(cx, LSNN_ESHAPE, "table_conv2d: filters is %d, the table has %d kernels",
                          p->o.filters, kernels);
    p->o.filters = kernels;
    LSNNI_TRY(lsnni_plan_kernels(cx, p, &s));
    p->param[0] = lsnni_spec("weight", 3, connections, s.kernel_h, s.kernel_w, 0);
    p->param[0].fan_in = lsnni_div_up(connections, s.k) * s.kernel_h * s.kernel_w;
    p->param[0].fan_out = lsnni_div_up(connections, s.c) * s.kernel_h * s.kernel_w;
    p->param[1] = lsnni_spec("bias", 1, s.k, 0, 0, 0);
    p->param[1].no_decay = 1;
    p->keep_fixed = lsnni_area(s.k, s.c) * lsnni_area(s.kernel_h, s.kernel_w);
    p->macs = (double)p->param[0].count * s.oh * s.ow;
    lsnni_connect(p, (double)p->param[0].count / s.k);
    return LSNN_OK;
}

static lsnn_status lsnni_forward_table_conv2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    return lsnn_table_conv2d_forward(cx, c->y, c->keep, c->x[0], c->param[0], c->param[1],
                                     c->plan->o.table, &s);
}

static lsnn_status lsnni_backward_table_conv2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    return lsnn_table_conv2d_backward(cx, c->dx[0], c->dparam[0], c->dparam[1], c->keep, c->dy,
                                      c->x[0], c->param[0], c->plan->o.table, &s, c->add[0]);
}

static const lsnn_layer_type lsnni_table_conv2d_type = {
    "table_conv2d", LSNNI_WEIGHTED LSNNI_WINDOW_OPTIONS "table", 1, 1,
    LSNN_Y_FREE | LSNN_BLOCKS | LSNN_REHEARSES | LSNN_CROPS,
    lsnni_plan_table_conv2d, lsnni_forward_table_conv2d, lsnni_backward_table_conv2d, NULL, NULL
};

LSNN_API int lsnn_table_conv2d(lsnn_net *net, int x, const char *table, int kernel,
                               const lsnn_options *o)
{
    lsnn_options all = lsnni_options(o);
    if (!all.table) all.table = table;
    return lsnni_windowed(net, &lsnni_table_conv2d_type, x, 0, kernel, &all);
}
/* ---- >>local2d: locally connected, unshared weights ------------------------------
   y[n,k,p]   = b[k,p] + sum_crs w[p,crs,k] x[n, patch of p, crs]
   dx        (+)= sum_p,k w[p,crs,k] dy[n,k,p]   at each pixel of the patches
   dw[p,crs,k] += sum_n dy[n,k,p] x[n, patch of p, crs]     db[k,p] += sum_n dy[n,k,p]
   w OH*OW,C*kh*kw,K   b K,OH,OW   others as conv2d. It runs on blocks of images
   (see >>lanes); plain arrays are turned into them, with zeros for missing images.
   Bound by reading the weights for small batches, by arithmetic for large.   */
/* ---- The naive pair: as conv2d's, but position p has weights and a bias of its own */
#ifdef LSNN_NAIVE
LSNN_API lsnn_status lsnn_local2d_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                          const lsnn_real *w, const lsnn_real *b,
                                          const lsnn_window *s)
{
    LSNNI_TRY(lsnni_window_check(cx, "local2d", s, 1));
    if (cx->rehearsal_) return LSNN_OK;
    for (int n = 0; n < s->n; n++)
    for (int k = 0; k < s->k; k++)
    for (int i = 0; i < s->oh; i++)
    for (int j = 0; j < s->ow; j++) {
        int p = i * s->ow + j, depth = s->c * s->kernel_h * s->kernel_w;
        double sum = b ? (double)b[lsnni_at3(k, i, s->oh, j, s->ow)] : 0;
        for (int c = 0; c < s->c; c++)
        for (int u = 0; u < s->kernel_h; u++)
        for (int v = 0; v < s->kernel_w; v++) {
            int row = i * s->stride_h - s->pad_top + u, col = j * s->stride_w - s->pad_left + v;
            int q = (c * s->kernel_h + u) * s->kernel_w + v;
            if (!lsnni_inside(s, row, col)) continue;
            sum += (double)x[lsnni_at4(n, c, s->c, row, s->h, col, s->w)]
                 * (double)w[lsnni_at3(p, q, depth, k, s->k)];
        }
        y[lsnni_at4(n, k, s->k, i, s->oh, j, s->ow)] = LSNNI_R(sum);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_local2d_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                           lsnn_real *db, const lsnn_real *dy,
                                           const lsnn_real *x, const lsnn_real *w,
                                           const lsnn_window *s, int add)
{
    LSNNI_TRY(lsnni_window_check(cx, "local2d", s, 1));
    if (cx->rehearsal_) return LSNN_OK;
    lsnni_clear(dx, lsnni_at4(s->n, 0, s->c, 0, s->h, 0, s->w), add);
    for (int n = 0; n < s->n; n++)
    for (int k = 0; k < s->k; k++)
    for (int i = 0; i < s->oh; i++)
    for (int j = 0; j < s->ow; j++) {
        int p = i * s->ow + j, depth = s->c * s->kernel_h * s->kernel_w;
        lsnn_real g = dy[lsnni_at4(n, k, s->k, i, s->oh, j, s->ow)];
        if (db) db[lsnni_at3(k, i, s->oh, j, s->ow)] += g;
        for (int c = 0; c < s->c; c++)
        for (int u = 0; u < s->kernel_h; u++)
        for (int v = 0; v < s->kernel_w; v++) {
            int row = i * s->stride_h - s->pad_top + u, col = j * s->stride_w - s->pad_left + v;
            int q = (c * s->kernel_h + u) * s->kernel_w + v;
            size_t in = lsnni_at4(n, c, s->c, row, s->h, col, s->w);
            size_t at = lsnni_at3(p, q, depth, k, s->k);
            if (!lsnni_inside(s, row, col)) continue;
            if (dx) dx[in] += g * w[at];
            if (dw) dw[at] += g * x[in];
        }
    }
    return LSNN_OK;
}

#else /* ---- The fast pair ---------------------------------------------------------------*/
enum { LSNNI_PLACES = 16 };          /* neighbouring positions a task takes   */
typedef struct lsnni_local2d {
    lsnni_lanes g;                   /* groups of pixels and their taps       */
    const lsnn_window *s;
    int blocks, depth, kp;
    size_t area, x_block, y_block, turned_size;
    const lsnn_real *x, *w, *b, *dy;
    lsnn_real *y, *dx, *dw, *db, *turned;
    int32_t *row, *image, *turn, *map;   /* offsets: see lsnni_local2d_tables  */
    int add;
} lsnni_local2d;

/* The group of pixel number i, from group g on.                              */
static const lsnni_group *lsnni_group_of(const lsnni_lanes *p, const lsnni_group *g, int i)
{
    while (i >= g->first + p->kinds[0].members[g->row] * p->kinds[1].members[g->column]) g++;
    return g;
}

/* Forward: tiles of 8 kernels x 3 blocks, over the taps.                     */
static void lsnni_local2d_task(void *user, int task, int worker)
{
    const lsnni_local2d *p = (const lsnni_local2d *)user;
    const lsnni_kernels *kv = p->g.kv;
    const lsnni_group *g = p->g.group;
    int end = LSNNI_MIN((task + 1) * LSNNI_PLACES, (int)p->area), kernels = p->s->k;
    lsnn_real bias[LSNNI_MAX_ROWS];
    lsnni_tile t;
    (void)worker;
    t.add = 0;
    t.bias = p->b ? bias : NULL;
    for (int v = 0; v < LSNNI_MAX_VECTORS; v++) t.lanes[v] = kv->lanes;
    for (int i = task * LSNNI_PLACES; i < end; i++) {
        size_t q = (size_t)p->g.to[i], from = (size_t)p->g.from[i];
        g = lsnni_group_of(&p->g, g, i);
        t.k = g->taps * p->s->c;
        t.ka = p->row + (g->ka - p->g.group->ka);
        t.kb = g->kb;
        for (int k = 0; k < kernels; k += kv->rows) {
            t.rows = LSNNI_MIN(kv->rows, kernels - k);
            for (int r = 0; r < kv->rows; r++) {
                size_t row = (size_t)(k + LSNNI_MIN(r, t.rows - 1));
                t.a[r] = p->w + q * lsnni_area(p->depth, kernels) + row;
                t.c[r] = p->y + (row * p->area + q) * (size_t)kv->lanes;
                if (p->b) bias[r] = p->b[row * p->area + q];
            }
            for (int n = 0; n < p->blocks; n += LSNNI_MAX_VECTORS) {
                t.vectors = LSNNI_MIN(LSNNI_MAX_VECTORS, p->blocks - n);
                for (int v = 0; v < t.vectors; v++) {
                    t.b[v] = p->x + (size_t)(n + v) * p->x_block + from * (size_t)kv->lanes;
                    t.at[v] = (ptrdiff_t)((size_t)(n + v) * p->y_block);
                }
                kv->tile(&t);
            }
        }
    }
}

/* dw: tiles of 8 taps x 3 vectors of kernels, over the images, with dy turned.  */
static void lsnni_local2d_dw_task(void *user, int task, int worker)
{
    const lsnni_local2d *p = (const lsnni_local2d *)user;
    const lsnni_kernels *kv = p->g.kv;
    const lsnni_group *g = p->g.group;
    int end = LSNNI_MIN((task + 1) * LSNNI_PLACES, (int)p->area), kernels = p->s->k;
    int lanes = kv->lanes;
    lsnn_real *turned = p->turned + (size_t)worker * p->turned_size;
    lsnni_tile t;
    memset(turned, 0, p->turned_size * sizeof *turned);
    t.ka = p->image;
    t.kb = p->turn;
    t.k = p->blocks * lanes;
    for (int i = task * LSNNI_PLACES; i < end; i++) {
        size_t q = (size_t)p->g.to[i], from = (size_t)p->g.from[i];
        g = lsnni_group_of(&p->g, g, i);
        for (int n = 0; n < p->blocks; n++)
            kv->transpose(turned + lsnni_area(n * lanes, p->kp), (size_t)p->kp,
                          p->dy + (size_t)n * p->y_block + q * (size_t)lanes,
                          p->area * (size_t)lanes, kernels, lanes);
        lsnni_dw_tiles(kv, &t, p->dw + q * (size_t)p->depth * (size_t)kernels, kernels, turned,
                       p->x + from * (size_t)lanes, g->kb, g->ka, g->taps * p->s->c);
    }
}

static void lsnni_local2d_db_task(void *user, int k, int worker)
{
    const lsnni_local2d *p = (const lsnni_local2d *)user;
    lsnn_real *sums = p->turned + (size_t)worker * p->turned_size;
    for (int n = 0; n < p->blocks; n++) {
        p->g.kv->gather(sums, p->dy + (size_t)n * p->y_block +
                        (size_t)k * p->area * (size_t)p->g.kv->lanes, p->area);
        p->g.kv->axpy(p->db + (size_t)k * p->area, 1, sums, p->area);
    }
}

/* dx of one block and one of its maps: tiles of 8 taps, over the kernels.     */
static void lsnni_local2d_dx_task(void *user, int task, int worker)
{
    const lsnni_local2d *p = (const lsnni_local2d *)user;
    const lsnni_kernels *kv = p->g.kv;
    const lsnni_group *g = p->g.group;
    int n = task / p->s->c, c = task % p->s->c;
    size_t lanes = (size_t)kv->lanes, plane = p->g.source * lanes;
    lsnn_real *dx = p->dx + (size_t)n * p->x_block;
    lsnni_tile t;
    (void)worker;
    if (!p->add) memset(dx + (size_t)c * plane, 0, plane * sizeof *dx);
    t.add = t.vectors = 1;
    t.bias = NULL;
    t.ka = p->map;
    t.kb = p->map + p->s->k;
    t.k = p->s->k;
    t.at[0] = 0;
    t.lanes[0] = (int)lanes;
    for (int i = 0; i < (int)p->area; i++) {
        size_t q = (size_t)p->g.to[i], from = (size_t)p->g.from[i];
        g = lsnni_group_of(&p->g, g, i);
        t.b[0] = p->dy + (size_t)n * p->y_block + q * lanes;
        for (int d = 0; d < g->taps; d += kv->rows) {
            t.rows = LSNNI_MIN(kv->rows, g->taps - d);
            for (int r = 0; r < kv->rows; r++) {
                int tap = c * g->taps + d + LSNNI_MIN(r, t.rows - 1);
                t.a[r] = p->w + (q * (size_t)p->depth + (size_t)g->ka[tap]) * (size_t)p->s->k;
                t.c[r] = dx + from * lanes + g->kb[tap];
            }
            kv->tile(&t);
        }
    }
}

/* row    tap -> its weights        image  image -> its place in x
   turn   image -> its row of turned dy        map  k, and kernel k's place in dy */
static void lsnni_local2d_tables(lsnni_local2d *p, size_t taps)
{
    int lanes = p->g.kv->lanes;
    for (size_t i = 0; i < taps; i++) p->row[i] = p->g.group->ka[i] * p->s->k;
    for (int n = 0; n < p->blocks * lanes; n++) {
        p->image[n] = (int32_t)((size_t)(n / lanes) * p->x_block) + n % lanes;
        p->turn[n] = n * p->kp;
    }
    for (int k = 0; k < p->s->k; k++) {
        p->map[k] = k;
        p->map[p->s->k + k] = k * (int32_t)p->area * lanes;
    }
}

/* Sets p up but for its arrays; *x_room and *y_room: room for blocks of images where
   the caller's arrays are plain, else NULL.                                  */
static lsnn_status lsnni_local2d_plan(lsnn_ctx *cx, lsnni_local2d *p, const lsnn_window *s,
                                      lsnn_real **x_room, lsnn_real **y_room)
{
    int lanes = lsnn_lanes(cx), turn = s->lanes < 2 && lanes > 1;
    size_t threads = (size_t)lsnn_ctx_threads(cx), taps, images, more, n_all;
    char *at;
    LSNNI_TRY(lsnni_window_check(cx, "local2d", s, 1));
    if (s->lanes > 1) LSNNI_TRY(lsnni_lanes_check(cx, "local2d", s));
    memset(p, 0, sizeof *p);
    p->s = s;
    p->blocks = lsnni_div_up(s->n, lanes);
    p->depth = s->c * s->kernel_h * s->kernel_w;
    p->kp = lsnni_round_up(s->k, lanes);
    p->area = lsnni_area(s->oh, s->ow);
    p->x_block = lsnni_area(s->c * s->h, s->w) * (size_t)lanes;
    p->y_block = (size_t)s->k * p->area * (size_t)lanes;
    images = (size_t)p->blocks * (size_t)lanes;
    if ((double)p->blocks * (double)p->x_block > INT32_MAX || (double)p->y_block > INT32_MAX ||
        (double)images * p->kp > INT32_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE, "local2d: a batch of %d images has over 2^31 "
                          "numbers: use smaller batches", s->n);
    p->turned_size = LSNNI_MAX(images * (size_t)p->kp, p->area);
    n_all = lsnni_room((size_t)p->blocks * p->x_block, sizeof **x_room);
    more = 2 * lsnni_room(images, sizeof *p->image) +
        lsnni_room(2 * (size_t)s->k, sizeof *p->map);
    more = lsnni_room_add(more, lsnni_room(lsnni_times(p->turned_size, threads),
                                           sizeof *p->turned));
    if (turn) more = lsnni_room_add(lsnni_room_add(more, n_all),
                                    lsnni_room((size_t)p->blocks * p->y_block,
                                               sizeof **y_room));
    LSNNI_TRY(lsnni_lanes_plan(cx, &p->g, s, LSNNI_FORWARD, s->c, 1, more, &taps, &at));
    p->row = (int32_t *)lsnni_cut(&at, taps, sizeof *p->row);
    p->image = (int32_t *)lsnni_cut(&at, images, sizeof *p->image);
    p->turn = (int32_t *)lsnni_cut(&at, images, sizeof *p->turn);
    p->map = (int32_t *)lsnni_cut(&at, 2 * (size_t)s->k, sizeof *p->map);
    p->turned = (lsnn_real *)lsnni_cut(&at, p->turned_size * threads, sizeof *p->turned);
    *x_room = *y_room = NULL;
    if (turn) {
        *x_room = (lsnn_real *)lsnni_cut(&at, (size_t)p->blocks * p->x_block, sizeof **x_room);
        *y_room = (lsnn_real *)(void *)at;
    }
    lsnni_local2d_tables(p, taps);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_local2d_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                          const lsnn_real *w, const lsnn_real *b,
                                          const lsnn_window *s)
{
    lsnn_real *xs, *ys;
    lsnni_local2d p;
    LSNNI_TRY(lsnni_local2d_plan(cx, &p, s, &xs, &ys));
    if (xs) lsnni_turn_run(cx, xs, x, s->n, p.x_block / (size_t)p.g.kv->lanes, 0, LSNN_SET);
    p.x = xs ? xs : x;
    p.y = ys ? ys : y;
    p.w = w;
    p.b = b;
    lsnn_parallel(cx, (int)((p.area + LSNNI_PLACES - 1) / LSNNI_PLACES), lsnni_local2d_task,
                  &p);
    if (ys) lsnni_turn_run(cx, y, ys, s->n, p.y_block / (size_t)p.g.kv->lanes, 1, LSNN_SET);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_local2d_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                           lsnn_real *db, const lsnn_real *dy,
                                           const lsnn_real *x, const lsnn_real *w,
                                           const lsnn_window *s, int add)
{
    lsnn_real *xs, *ys;
    lsnni_local2d p;
    size_t x_size;
    LSNNI_TRY(lsnni_local2d_plan(cx, &p, s, &xs, &ys));
    x_size = p.x_block / (size_t)p.g.kv->lanes;
    if (ys) lsnni_turn_run(cx, ys, dy, s->n, p.y_block / (size_t)p.g.kv->lanes, 0, LSNN_SET);
    if (xs && dw) lsnni_turn_run(cx, xs, x, s->n, x_size, 0, LSNN_SET);
    p.x = xs ? xs : x;
    p.dy = ys ? ys : dy;
    p.w = w;
    p.dw = dw;
    p.db = db;
    if (dw)
        lsnn_parallel(cx, (int)((p.area + LSNNI_PLACES - 1) / LSNNI_PLACES),
                      lsnni_local2d_dw_task, &p);
    if (db) lsnn_parallel(cx, s->k, lsnni_local2d_db_task, &p);
    if (!dx) return LSNN_OK;
    p.dx = xs ? xs : dx;             /* x is no longer needed                 */
    p.add = !xs && add;
    lsnn_parallel(cx, p.blocks * s->c, lsnni_local2d_dx_task, &p);
    if (xs) lsnni_turn_run(cx, dx, xs, s->n, x_size, 1, add);
    return LSNN_OK;
}

#endif /* LSNN_NAIVE */

/* ---- The layer ------------------------------------------------------------------------*/
static lsnn_status lsnni_plan_local2d(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_window s;
    int depth;
    LSNNI_TRY(lsnni_plan_kernels(cx, p, &s));
    depth = s.c * s.kernel_h * s.kernel_w;
    p->param[0] = lsnni_spec("weight", 3, s.oh * s.ow, depth, s.k, 0);
    p->param[0].fan_in = depth;
    p->param[0].fan_out = s.k * s.kernel_h * s.kernel_w;
    p->param[1] = lsnni_spec("bias", 3, s.k, s.oh, s.ow, 0);
    p->param[1].no_decay = 1;
    p->macs = (double)p->param[0].count;
    lsnni_connect(p, depth);
    return LSNN_OK;
}

static lsnn_status lsnni_forward_local2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    return lsnn_local2d_forward(cx, c->y, c->x[0], c->param[0], c->param[1], &s);
}

static lsnn_status lsnni_backward_local2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    return lsnn_local2d_backward(cx, c->dx[0], c->dparam[0], c->dparam[1], c->dy, c->x[0],
                                 c->param[0], &s, c->add[0]);
}

static const lsnn_layer_type lsnni_local2d_type = {
    "local2d", LSNNI_WEIGHTED LSNNI_WINDOW_OPTIONS, 1, 1,
    LSNN_Y_FREE | LSNN_BLOCKS | LSNN_REHEARSES,
    lsnni_plan_local2d, lsnni_forward_local2d, lsnni_backward_local2d, NULL, NULL
};

LSNN_API int lsnn_local2d(lsnn_net *net, int x, int filters, int kernel, const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_local2d_type, x, filters, kernel, o);
}
/* ---- >>dsc: data-driven sparse connections -----------------------------------------
   "Data-driven Sparse Connections for Deep Convolutional Neural Network" (Liu, Xiang; an
   unfinished draft). Equation numbers are the draft's; what is marked "ours" it leaves open.

   An element with a threshold alpha passes what lies above it, and at most 1:
       g+(o) = min(max(0, (o - alpha) / (1 - alpha)), 1)      (1)        g- = -g+      (2)
   A connection is such an element, excitatory or inhibitory; a neuron adds up its connections
   and is one itself:   x = sum_i g_i(o_i)     y = g+(x) with the neuron's own alpha     (3-5)
   Nothing here is a gradient. A correction D says what an output should be: t = y + D. From it
   follow what the input should have been, and the alpha with which it would have been right:
       D_in  = eta ((1 - alpha) t + alpha - o)                          (6, 9, 16)
       hat   = (o - t) / (1 - t)                                        (7, 12)
       D_alpha = xi (max(0, hat) - alpha) for D > 0
                 xi (min(alpha_max, hat) - alpha) for D < 0             (8, 13)
   An inhibitory connection takes -D for D (14, 15), and hands its D_in on with a minus (17).
   A neuron's D_x is shared out by activity: D_x,i = o_i / (sum_j o_j) D_x (11), and o_i gets
   the sum over the neurons that it feeds (18).

   w holds both of a connection's facts: |w| = 1 - alpha, its openness, and the sign is its
   kind, + excitatory. |w| is at least 1 - alpha_max, so the sign is never lost. With r = |w|
       g = 1 - (1 - o) / r     D_in = eta ((1 - o) - r (1 - t))     hat: r = (1 - o) / (1 - t)
   between their bounds, and the tests hold these forms to the draft's.

   Each hole, and what is done about it (ours):
     t is held in [0, 1], all that an element can give, and D is what is left: where D is 0
       nothing moves (as printed, 6 corrects even without an error where o < alpha; 8 has no
       case for 0). Then every sign is right: D_alpha falls for D > 0 and rises for D < 0.
     t = 1 divides by 0 in 7: hat is then 0, all open. o = 1: hat is 1 for any t < 1, so
       alpha_max: g(1) is 1 whatever alpha is, only the kind can change that. Keep inputs
       below 1. Inputs outside of [0, 1] count as 0 or 1.
     No active input: no connection is to blame, only the neuron's alpha moves (11: 0 / 0).
     16 in 17 has D as 14 has it, -D: as printed they agree where 0 < g < 1, else 17 would ask
       a closed connection for less than nothing.
     Batches and shared kernels: the mean of the changes over images and places.
     silent: a connection that is closed to this o stays as it is and hands on nothing. As
       printed it opens to any o however faint, by 1 - o at the least.
     sums: y is x itself, for a last layer whose scores shall have no ties at 0 and 1.
   dy, dx, dw and dtheta are corrections with a minus: y - dy is what is wanted, w - dw the rule's
   new w. So plain SGD with lr = 1 is exactly the rule, and other optimizers are refused.
   lsnn_dsc_project then keeps the bounds and switches: a connection that has nearly closed,
   alpha_max - alpha < tau, changes its kind, and begins there with alpha_max - alpha = tau (the
   draft's printed condition, alpha - alpha_max < tau, always holds).

   x N,C,H,W  y N,K,OH,OW  sum N,P,K: x of each neuron  w P,D,K, D = C*kh*kw: P = OH*OW if
   unshared, else 1  theta P,K: the neurons' alpha. The work is that of the active inputs: an o
   of 0 costs nothing forward or backward.                                     */
static lsnn_status lsnni_dsc_check(lsnn_ctx *cx, const lsnn_dsc *d, const lsnn_window *s)
{
    LSNNI_TRY(lsnni_window_check(cx, "dsc", s, 1));
    if (!(d->alpha_max > 0 && d->alpha_max < 1 && d->tau > 0 && d->tau < d->alpha_max))
        return lsnni_fail(cx, LSNN_EVALUE, "dsc: alpha_max is %g and tau %g: it must be 0 < tau < "
                          "alpha_max < 1", d->alpha_max, d->tau);
    if (!(d->xi > 0 && d->xi <= 1 && d->eta > 0 && d->eta <= 1))
        return lsnni_fail(cx, LSNN_EVALUE, "dsc: xi is %g and eta %g, they must lie in (0, 1]",
                          d->xi, d->eta);
    return LSNN_OK;
}

/* The window's pixel under tap q of place p, from 0 to 1; padding is 0.        */
static lsnn_real lsnni_dsc_pixel(const lsnn_window *s, const lsnn_real *x, int n, int p, int q)
{
    int taps = s->kernel_h * s->kernel_w, u = q % taps / s->kernel_w, v = q % s->kernel_w;
    int row = p / s->ow * s->stride_h - s->pad_top + u;
    int col = p % s->ow * s->stride_w - s->pad_left + v;
    lsnn_real o;
    if (row < 0 || row >= s->h || col < 0 || col >= s->w) return 0;
    o = x[lsnni_at4(n, q / taps, s->c, row, s->h, col, s->w)];
    return o > 0 ? LSNNI_MIN(o, 1) : 0;
}

/* An element of openness r: what it gives for o; its correction, 0 where none is possible; and
   what follows for its input and its openness.                                */
static double lsnni_dsc_g(double o, double r)
{
    double g = 1 - (1 - o) / r;
    return g < 0 ? 0 : g > 1 ? 1 : g;
}

static double lsnni_dsc_target(double g, double correction)
{
    double t = g + correction;
    return t < 0 ? 0 : t > 1 ? 1 : t;
}

static double lsnni_dsc_input(double o, double r, double t) { return (1 - o) - r * (1 - t); }

static double lsnni_dsc_open(double o, double r, double t, int up, double least)
{
    double hat = t < 1 ? (1 - o) / (1 - t) : 1;
    return (up ? LSNNI_MIN(1, hat) : LSNNI_MAX(least, hat)) - r;
}

/* What neuron k at place p learns: sets its D_x / eta, returns the change of its alpha / xi. */
static double lsnni_dsc_neuron(const lsnn_dsc *d, double sum, double theta, double correction,
                               double *wanted)
{
    double r = 1 - theta, y = lsnni_dsc_g(sum, r), t = lsnni_dsc_target(y, correction);
    *wanted = d->sums ? correction : 0;
    if (d->sums || (t <= y && t >= y)) return 0;
    *wanted = lsnni_dsc_input(sum, r, t);
    return -lsnni_dsc_open(sum, r, t, t > y, 1 - d->alpha_max);
}

/* Where the weights and thresholds of place p begin.                           */
static size_t lsnni_dsc_at(const lsnn_dsc *d, int p, int q, int depth, int k)
{
    return lsnni_at3(d->unshared ? p : 0, q, depth, 0, k);
}

static lsnn_real lsnni_dsc_y(const lsnn_dsc *d, double sum, const lsnn_real *theta, size_t unit)
{
    return LSNNI_R(d->sums ? sum : lsnni_dsc_g(sum, 1 - (double)theta[unit]));
}

static int lsnni_dsc_depth(const lsnn_window *s) { return s->c * s->kernel_h * s->kernel_w; }

/* ---- The naive pair, a neuron at a time                                    */
#ifdef LSNN_NAIVE
LSNN_API lsnn_status lsnn_dsc_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *sum,
                                      const lsnn_real *x, const lsnn_real *w,
                                      const lsnn_real *theta, const lsnn_dsc *d,
                                      const lsnn_window *s)
{
    int depth = lsnni_dsc_depth(s), places = s->oh * s->ow;
    LSNNI_TRY(lsnni_dsc_check(cx, d, s));
    for (int n = 0; n < s->n; n++)
    for (int p = 0; p < places; p++)
    for (int k = 0; k < s->k; k++) {
        double total = 0;
        for (int q = 0; q < depth; q++) {
            double v = (double)w[lsnni_dsc_at(d, p, q, depth, s->k) + (size_t)k];
            double g = lsnni_dsc_g((double)lsnni_dsc_pixel(s, x, n, p, q), fabs(v));
            total += v < 0 ? -g : g;
        }
        sum[lsnni_at3(n, p, places, k, s->k)] = LSNNI_R(total);
        y[lsnni_at3(n, k, s->k, p, places)] =
            lsnni_dsc_y(d, total, theta, lsnni_dsc_at(d, p, 0, 1, s->k) + (size_t)k);
    }
    return LSNN_OK;
}

/* Connection (p, q, k), whose share of D_x is `correction`: adds to *dw, returns D_in. */
static double lsnni_dsc_connection(const lsnn_dsc *d, double o, double v, double correction,
                                   lsnn_real *dw)
{
    double r = fabs(v), sign = v < 0 ? -1 : 1, g = lsnni_dsc_g(o, r);
    double t = lsnni_dsc_target(g, sign * correction);
    if ((t <= g && t >= g) || (d->silent && g <= 0)) return 0;
    if (dw)
        *dw -= LSNNI_R(d->share * sign * d->xi *
                       lsnni_dsc_open(o, r, t, t > g, 1 - d->alpha_max));
    return sign * d->eta * lsnni_dsc_input(o, r, t);
}

LSNN_API lsnn_status lsnn_dsc_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                       lsnn_real *dtheta, const lsnn_real *dy,
                                       const lsnn_real *x, const lsnn_real *sum,
                                       const lsnn_real *w, const lsnn_real *theta,
                                       const lsnn_dsc *d, const lsnn_window *s, int add)
{
    int depth = lsnni_dsc_depth(s), places = s->oh * s->ow, taps = s->kernel_h * s->kernel_w;
    LSNNI_TRY(lsnni_dsc_check(cx, d, s));
    lsnni_clear(dx, lsnni_at4(s->n, 0, s->c, 0, s->h, 0, s->w), add);
    for (int n = 0; n < s->n; n++)
    for (int p = 0; p < places; p++)
    for (int k = 0; k < s->k; k++) {
        size_t unit = lsnni_dsc_at(d, p, 0, 1, s->k) + (size_t)k;
        double active = 0, wanted, step;
        step = lsnni_dsc_neuron(d, (double)sum[lsnni_at3(n, p, places, k, s->k)],
                                d->sums ? 0 : (double)theta[unit],
                                -(double)dy[lsnni_at3(n, k, s->k, p, places)], &wanted);
        if (dtheta) dtheta[unit] -= LSNNI_R(d->share * d->xi * step);
        for (int q = 0; q < depth; q++) active += (double)lsnni_dsc_pixel(s, x, n, p, q);
        for (int q = 0; q < depth; q++) {
            double o = (double)lsnni_dsc_pixel(s, x, n, p, q);
            size_t at = lsnni_dsc_at(d, p, q, depth, s->k) + (size_t)k;
            int row = p / s->ow * s->stride_h - s->pad_top + q % taps / s->kernel_w;
            int col = p % s->ow * s->stride_w - s->pad_left + q % s->kernel_w;
            double up;
            if (o <= 0) continue;
            up = lsnni_dsc_connection(d, o, (double)w[at], o / active * d->eta * wanted,
                                      dw ? dw + at : NULL);
            if (dx) dx[lsnni_at4(n, q / taps, s->c, row, s->h, col, s->w)] -= LSNNI_R(up);
        }
    }
    return LSNN_OK;
}

#else /* ---- The fast pair: a row of connections at a time, those of one input to all neurons.
   Bound by a division a connection forward, two backward. Forward's tasks are places of
   images and blocks of neurons; backward's first gather each neuron's D_x, then go by inputs:
   all that an input's connections change, and its dx, belong to one task.    */
enum { LSNNI_DSC_UNITS = 256, LSNNI_DSC_TAPS = 8 };
typedef struct lsnni_dsc_run {
    const lsnni_kernels *kv;
    const lsnn_dsc *d;
    const lsnn_window *s;
    const lsnn_real *x, *w, *theta, *dy, *kept;      /* kept: forward's sum   */
    lsnn_real *y, *sum, *dx, *dw;
    lsnn_real *wanted, *step, *room; /* N,P,K each; room: two rows a worker   */
    int depth, places, parts, per_task;
} lsnni_dsc_run;

static void lsnni_dsc_task(void *user, int task, int worker)
{
    const lsnni_dsc_run *r = (const lsnni_dsc_run *)user;
    const lsnn_window *s = r->s;
    int at = task / r->parts, n = at / r->places, p = at % r->places;
    int first = task % r->parts * LSNNI_DSC_UNITS;
    int count = LSNNI_MIN(LSNNI_DSC_UNITS, s->k - first);
    lsnn_real *sum = r->sum + lsnni_at2(at, first, s->k);
    (void)worker;
    memset(sum, 0, (size_t)count * sizeof *sum);
    for (int q = 0; q < r->depth; q++) {
        lsnn_real o = lsnni_dsc_pixel(s, r->x, n, p, q);
        if (o <= 0) continue;
        r->kv->dsc(sum, r->w + lsnni_dsc_at(r->d, p, q, r->depth, s->k) + first, o,
                   (size_t)count);
    }
    for (int k = first; k < first + count; k++)
        r->y[lsnni_at3(n, k, s->k, p, r->places)] =
            lsnni_dsc_y(r->d, (double)sum[k - first], r->theta,
                        lsnni_dsc_at(r->d, p, 0, 1, s->k) + (size_t)k);
}

static void lsnni_dsc_run_set(lsnni_dsc_run *r, lsnn_ctx *cx, const lsnn_dsc *d,
                              const lsnn_window *s)
{
    memset(r, 0, sizeof *r);
    r->kv = lsnni_kernels_of(cx);
    r->d = d;
    r->s = s;
    r->depth = lsnni_dsc_depth(s);
    r->places = s->oh * s->ow;
}

static size_t lsnni_dsc_work(const lsnni_dsc_run *r)
{
    return lsnni_area(r->s->n, r->places) * lsnni_area(r->depth, r->s->k);
}

LSNN_API lsnn_status lsnn_dsc_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *sum,
                                      const lsnn_real *x, const lsnn_real *w,
                                      const lsnn_real *theta, const lsnn_dsc *d,
                                      const lsnn_window *s)
{
    lsnni_dsc_run r;
    LSNNI_TRY(lsnni_dsc_check(cx, d, s));
    lsnni_dsc_run_set(&r, cx, d, s);
    r.y = y; r.sum = sum; r.x = x; r.w = w; r.theta = theta;
    r.parts = lsnni_div_up(s->k, LSNNI_DSC_UNITS);
    lsnni_parallel_some(cx, lsnni_dsc_work(&r), s->n * r.places * r.parts, lsnni_dsc_task, &r);
    return LSNN_OK;
}

/* What the neurons of one place of one image want: wanted gets eta D_x / sum_j o_j.  */
static void lsnni_dsc_wanted_task(void *user, int at, int worker)
{
    const lsnni_dsc_run *r = (const lsnni_dsc_run *)user;
    const lsnn_window *s = r->s;
    int n = at / r->places, p = at % r->places;
    double active = 0;
    (void)worker;
    for (int q = 0; q < r->depth; q++) active += (double)lsnni_dsc_pixel(s, r->x, n, p, q);
    for (int k = 0; k < s->k; k++) {
        size_t to = lsnni_at2(at, k, s->k), unit = lsnni_dsc_at(r->d, p, 0, 1, s->k) + (size_t)k;
        double wanted, step;
        step = lsnni_dsc_neuron(r->d, (double)r->kept[to], r->d->sums ? 0 :
                                (double)r->theta[unit],
                                -(double)r->dy[lsnni_at3(n, k, s->k, p, r->places)], &wanted);
        r->step[to] = LSNNI_R(step);
        r->wanted[to] = LSNNI_R(active > 0 ? r->d->eta * wanted / active : 0);
    }
}

/* One tap of all places of all images.                                        */
static void lsnni_dsc_tap(const lsnni_dsc_run *r, int q, lsnn_real *step)
{
    const lsnn_window *s = r->s;
    int taps = s->kernel_h * s->kernel_w;
    size_t count = (size_t)s->k;
    lsnn_real *up = step + count;
    for (int at = 0; at < s->n * r->places; at++) {
        int n = at / r->places, p = at % r->places;
        int row = p / s->ow * s->stride_h - s->pad_top + q % taps / s->kernel_w;
        int col = p % s->ow * s->stride_w - s->pad_left + q % s->kernel_w;
        size_t from = lsnni_dsc_at(r->d, p, q, r->depth, s->k);
        lsnn_real o = lsnni_dsc_pixel(s, r->x, n, p, q);
        if (o <= 0) continue;
        r->kv->dsc_back(step, up, r->w + from, r->wanted + lsnni_at2(at, 0, s->k), o,
                        1 - r->d->alpha_max, r->d->silent, count);
        if (r->dw) r->kv->axpy(r->dw + from, -r->d->share * r->d->xi, step, count);
        if (r->dx)
            r->dx[lsnni_at4(n, q / taps, s->c, row, s->h, col, s->w)] -=
                LSNNI_R(r->d->eta * r->kv->sum(up, count));
    }
}

static void lsnni_dsc_back_task(void *user, int task, int worker)
{
    const lsnni_dsc_run *r = (const lsnni_dsc_run *)user;
    int end = LSNNI_MIN((task + 1) * r->per_task, r->depth);
    for (int q = task * r->per_task; q < end; q++)
        lsnni_dsc_tap(r, q, r->room + 2 * (size_t)r->s->k * (size_t)worker);
}

LSNN_API lsnn_status lsnn_dsc_backward(lsnn_ctx *cx, lsnn_real *dx, lsnn_real *dw,
                                       lsnn_real *dtheta, const lsnn_real *dy,
                                       const lsnn_real *x, const lsnn_real *sum,
                                       const lsnn_real *w, const lsnn_real *theta,
                                       const lsnn_dsc *d, const lsnn_window *s, int add)
{
    lsnni_dsc_run r;
    lsnni_want want[3], *take = want;
    int taps = s->kernel_h * s->kernel_w, rows;
    size_t units;
    LSNNI_TRY(lsnni_dsc_check(cx, d, s));
    lsnni_dsc_run_set(&r, cx, d, s);
    r.dx = dx; r.dw = dw; r.dy = dy; r.x = x; r.kept = sum; r.w = w; r.theta = theta;
    rows = s->n * r.places;
    units = lsnni_area(rows, s->k);
    LSNNI_WANT(&take, r.wanted, units);
    LSNNI_WANT(&take, r.step, units);
    LSNNI_WANT(&take, r.room, 2 * lsnni_area(lsnn_ctx_threads(cx), s->k));
    LSNNI_TRY(lsnni_take(cx, want, take));
    if (cx->rehearsal_) return LSNN_OK;
    lsnni_clear(dx, lsnni_at4(s->n, 0, s->c, 0, s->h, 0, s->w), add);
    lsnni_parallel_some(cx, units, rows, lsnni_dsc_wanted_task, &r);
    for (int at = 0; at < rows && dtheta; at++)
        r.kv->axpy(dtheta + lsnni_dsc_at(d, at % r.places, 0, 1, s->k), -d->share * d->xi,
                   r.step + lsnni_at2(at, 0, s->k), (size_t)s->k);
    r.per_task = dx ? taps * lsnni_div_up(LSNNI_DSC_TAPS, taps) : LSNNI_DSC_TAPS;
    lsnni_parallel_some(cx, lsnni_dsc_work(&r), lsnni_div_up(r.depth, r.per_task),
                        lsnni_dsc_back_task, &r);
    return LSNN_OK;
}
#endif /* LSNN_NAIVE */

/* ---- After the step: bounds, and switching                                   */
LSNN_API void lsnn_dsc_project(lsnn_ctx *cx, lsnn_real *w, size_t connections,
                               lsnn_real *theta, size_t neurons, const lsnn_dsc *d)
{
    lsnn_real most = LSNNI_R(d->alpha_max);
    lsnni_kernels_of(cx)->dsc_bounds(w, 1 - d->alpha_max + d->tau, connections);
    for (size_t i = 0; i < neurons; i++) theta[i] = LSNNI_MIN(LSNNI_MAX(theta[i], 0), most);
}

LSNN_API double lsnn_dsc_active(const lsnn_real *x, const lsnn_real *w, const lsnn_dsc *d,
                                const lsnn_window *s)
{
    int depth = lsnni_dsc_depth(s), places = s->oh * s->ow;
    double count = 0;
    for (int n = 0; n < s->n; n++)
    for (int p = 0; p < places; p++)
    for (int q = 0; q < depth; q++) {
        lsnn_real o = lsnni_dsc_pixel(s, x, n, p, q);
        const lsnn_real *row = w + lsnni_dsc_at(d, p, q, depth, s->k);
        for (int k = 0; k < s->k && o > 0; k++)
            count += lsnni_dsc_g((double)o, fabs((double)row[k])) > 0;
    }
    return count;
}

/* ---- The layers: dense, shared (as a convolution) and unshared (as local2d) -------------*/
static lsnn_dsc lsnni_dsc_of(const lsnn_layer_plan *p, int unshared, int images)
{
    lsnn_dsc d;
    d.alpha_max = p->o.dsc_alpha_max;
    d.tau = p->o.dsc_tau;
    d.xi = p->o.dsc_xi;
    d.eta = p->o.dsc_eta;
    d.unshared = unshared;
    d.silent = p->o.dsc_silent;
    d.sums = p->o.dsc_sums;
    d.share = 1.0 / images / (unshared ? 1 : lsnni_inner(p->out));
    return d;
}

/* First values by >>dsc's filter alienation: |w| of M connections are M numbers, equally far
   apart, in random order, so no two are alike for any seed (section III). A float must be able
   to tell them apart.                                                         */
static void lsnni_dsc_range(const lsnn_layer_plan *p, double *from, double *step)
{
    double open = p->o.dsc_alpha_max - p->o.dsc_tau;     /* alpha at most, after project */
    *step = p->o.dsc_spread * open / (double)p->param[0].count;
    *from = 1 - open + *step / 2;
}

static lsnn_status lsnni_dsc_fits(lsnn_ctx *cx, const lsnn_layer_plan *p)
{
    double from, step, least = sizeof(lsnn_real) == sizeof(float) ? FLT_EPSILON : DBL_EPSILON;
    if (!(p->o.dsc_spread > 0 && p->o.dsc_spread <= 1 && p->o.dsc_theta >= 0 &&
          p->o.dsc_theta <= p->o.dsc_alpha_max))
        return lsnni_fail(cx, LSNN_EVALUE, "dsc: dsc_spread is %g, it must lie in (0, 1], and "
                          "dsc_theta %g in [0, dsc_alpha_max]", p->o.dsc_spread, p->o.dsc_theta);
    lsnni_dsc_range(p, &from, &step);
    if (step >= least) return LSNN_OK;
    return lsnni_fail(cx, LSNN_EVALUE, "dsc: %.0f connections cannot all begin with different "
                      "values %g apart: raise dsc_spread, now %g, or build with LSNN_DOUBLE",
                      (double)p->param[0].count, step, p->o.dsc_spread);
}

static void lsnni_init_dsc(const lsnn_layer_plan *p, int i, lsnn_real *v, lsnn_rng *rng)
{
    double from, step;
    size_t count = p->param[i].count;
    if (i == 1) {
        for (size_t j = 0; j < count; j++) v[j] = LSNNI_R(p->o.dsc_theta);
        return;
    }
    lsnni_dsc_range(p, &from, &step);
    for (size_t j = 0; j < count; j++) v[j] = LSNNI_R(from + (double)j * step);
    for (size_t j = count - 1; j > 0; j--) {
        size_t other = (size_t)lsnn_rng_int(rng, (int)j + 1);
        lsnn_real old = v[j];
        v[j] = v[other];
        v[other] = old;
    }
    for (size_t j = 0; j < count; j++) if (lsnn_rng_int(rng, 2)) v[j] = -v[j];
}

static lsnn_status lsnni_plan_dsc(lsnn_ctx *cx, lsnn_layer_plan *p, const lsnn_window *s,
                                  int unshared)
{
    lsnn_options *o = &p->o;
    lsnn_dsc d;
    int places = s->oh * s->ow;
    p->out.c = s->k; p->out.h = s->oh; p->out.w = s->ow;
    o->dsc_alpha_max = lsnni_or(o->dsc_alpha_max, 0.9);
    o->dsc_tau = lsnni_or(o->dsc_tau, 0.5);
    o->dsc_xi = lsnni_or(o->dsc_xi, 0.3);
    o->dsc_eta = lsnni_or(o->dsc_eta, 0.5);
    o->dsc_theta = lsnni_or(o->dsc_theta, 0.1);
    o->dsc_spread = lsnni_or(o->dsc_spread, 0.25);
    d = lsnni_dsc_of(p, unshared, 1);
    LSNNI_TRY(lsnni_dsc_check(cx, &d, s));
    if ((double)places * lsnni_dsc_depth(s) * s->k > INT32_MAX / 4)
        return lsnni_fail(cx, LSNN_ESHAPE, "dsc: %.3g connections",
                          (double)places * lsnni_dsc_depth(s) * s->k);
    p->param[0] = lsnni_spec("weight", 3, unshared ? places : 1, lsnni_dsc_depth(s), s->k, 0);
    p->param[1] = lsnni_spec("theta", 2, unshared ? places : 1, s->k, 0, 0);
    p->param[0].no_decay = p->param[1].no_decay = 1;
    p->params = o->dsc_sums ? 1 : 2;
    p->keep_per_image = lsnni_area(places, s->k);
    p->macs = (double)places * lsnni_dsc_depth(s) * s->k;
    lsnni_connect(p, lsnni_dsc_depth(s));
    return lsnni_dsc_fits(cx, p);
}

/* A dense layer's window: each input a channel of one pixel.                   */
static void lsnni_dsc_dense_window(lsnn_window *s, const lsnn_layer_plan *p, int n)
{
    memset(s, 0, sizeof *s);
    s->n = n; s->c = lsnni_features(p->in[0]); s->k = p->o.filters;
    s->h = s->w = s->oh = s->ow = s->kernel_h = s->kernel_w = s->stride_h = s->stride_w = 1;
}

static lsnn_status lsnni_plan_dsc_dense(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_window s;
    lsnni_dsc_dense_window(&s, p, 1);
    return lsnni_plan_dsc(cx, p, &s, 0);
}

static lsnn_status lsnni_plan_dsc_conv2d(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_plan_kernels(cx, p, &s));
    return lsnni_plan_dsc(cx, p, &s, 0);
}

static lsnn_status lsnni_plan_dsc_local2d(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_plan_kernels(cx, p, &s));
    return lsnni_plan_dsc(cx, p, &s, 1);
}

static lsnn_status lsnni_dsc_forward(lsnn_ctx *cx, lsnn_call *c, const lsnn_window *s,
                                     int unshared)
{
    lsnn_dsc d = lsnni_dsc_of(c->plan, unshared, c->total);
    return lsnn_dsc_forward(cx, c->y, c->keep, c->x[0], c->param[0], c->param[1], &d, s);
}

static lsnn_status lsnni_dsc_backward(lsnn_ctx *cx, lsnn_call *c, const lsnn_window *s,
                                      int unshared)
{
    lsnn_dsc d = lsnni_dsc_of(c->plan, unshared, c->total);
    return lsnn_dsc_backward(cx, c->dx[0], c->dparam[0], c->dparam[1], c->dy, c->x[0], c->keep,
                             c->param[0], c->param[1], &d, s, c->add[0]);
}

static lsnn_status lsnni_forward_dsc_dense(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    lsnni_dsc_dense_window(&s, c->plan, c->n);
    return lsnni_dsc_forward(cx, c, &s, 0);
}

static lsnn_status lsnni_backward_dsc_dense(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    lsnni_dsc_dense_window(&s, c->plan, c->n);
    return lsnni_dsc_backward(cx, c, &s, 0);
}

static lsnn_status lsnni_forward_dsc_conv2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    return lsnni_dsc_forward(cx, c, &s, 0);
}

static lsnn_status lsnni_backward_dsc_conv2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    return lsnni_dsc_backward(cx, c, &s, 0);
}

static lsnn_status lsnni_forward_dsc_local2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    return lsnni_dsc_forward(cx, c, &s, 1);
}

static lsnn_status lsnni_backward_dsc_local2d(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_window s;
    LSNNI_TRY(lsnni_call_window(cx, &s, c));
    return lsnni_dsc_backward(cx, c, &s, 1);
}

static lsnn_status lsnni_project_dsc(lsnn_ctx *cx, const lsnn_projection *p)
{
    lsnn_dsc d = lsnni_dsc_of(p->plan, 0, 1);
    lsnn_dsc_project(cx, p->param[0], p->param[0] ? p->plan->param[0].count : 0, p->param[1],
                     p->param[1] ? p->plan->param[1].count : 0, &d);
    return LSNN_OK;
}

#define LSNNI_DSC_OPTIONS "filters lr_factor freeze dsc_alpha_max dsc_tau dsc_xi dsc_eta " \
                          "dsc_theta dsc_spread dsc_silent dsc_sums "
static const lsnn_layer_type lsnni_dsc_dense_type = {
    "dsc_dense", LSNNI_DSC_OPTIONS, 1, 1,
    LSNN_Y_FREE | LSNN_REHEARSES | LSNN_OWN_RULE,
    lsnni_plan_dsc_dense, lsnni_forward_dsc_dense, lsnni_backward_dsc_dense, lsnni_init_dsc,
    lsnni_project_dsc
};

static const lsnn_layer_type lsnni_dsc_conv2d_type = {
    "dsc_conv2d", LSNNI_DSC_OPTIONS LSNNI_WINDOW_OPTIONS, 1, 1,
    LSNN_Y_FREE | LSNN_REHEARSES | LSNN_OWN_RULE,
    lsnni_plan_dsc_conv2d, lsnni_forward_dsc_conv2d, lsnni_backward_dsc_conv2d, lsnni_init_dsc,
    lsnni_project_dsc
};

static const lsnn_layer_type lsnni_dsc_local2d_type = {
    "dsc_local2d", LSNNI_DSC_OPTIONS LSNNI_WINDOW_OPTIONS, 1, 1,
    LSNN_Y_FREE | LSNN_REHEARSES | LSNN_OWN_RULE,
    lsnni_plan_dsc_local2d, lsnni_forward_dsc_local2d, lsnni_backward_dsc_local2d,
    lsnni_init_dsc, lsnni_project_dsc
};

LSNN_API int lsnn_dsc_dense(lsnn_net *net, int x, int outputs, const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_dsc_dense_type, x, outputs, 0, o);
}

LSNN_API int lsnn_dsc_conv2d(lsnn_net *net, int x, int filters, int kernel,
                             const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_dsc_conv2d_type, x, filters, kernel, o);
}

LSNN_API int lsnn_dsc_local2d(lsnn_net *net, int x, int filters, int kernel,
                              const lsnn_options *o)
{
    return lsnni_windowed(net, &lsnni_dsc_local2d_type, x, filters, kernel, o);
}
/* ---- >>dsc_loss: what >>dsc's outputs should have been ---------------------------------
   dsc_loss     the label's output shall be 1 or more, every other 0 or less (ours; for outputs
                in [0, 1] it is t - y with t 1 and 0):  D = max(0, 1 - x) or min(0, -x)
   dsc_lateral  no labels: lateral depression (19). Output i wins, 1, if it is larger than each
                of its neighbours by at least beta, else it is 0: that is y, and D = y - x
   dx = -D, of each image and not of the batch's mean, for it is no gradient: see >>dsc.
   L = 1 / (2N) sum D^2, to watch.
   The neighbours are other outputs, at most `places` rows and columns away, of all maps (maps
   0), of those at most `maps` away, or (-1) of the same map.                  */
static double lsnni_dsc_wish(const lsnn_real *x, int k, int label)
{
    double v = (double)x[k];
    return k == label ? LSNNI_MAX(0, 1 - v) : LSNNI_MIN(0, -v);
}

LSNN_API lsnn_status lsnn_dsc_loss_forward(lsnn_ctx *cx, double *loss, const lsnn_real *x,
                                           const int *label, int label_stride, int n, int c)
{
    double total = 0;
    LSNNI_TRY(lsnni_sizes3(cx, "dsc_loss (images x classes)", n, c, 1));
    for (int i = 0; i < n; i++) {
        int t = label[(size_t)i * (size_t)label_stride];
        LSNNI_TRY(lsnni_label_check(cx, t, i, c));
        for (int k = 0; k < c; k++) {
            double d = lsnni_dsc_wish(x + lsnni_area(i, c), k, t);
            total += d * d;
        }
    }
    *loss = total / 2 / n;
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_dsc_loss_backward(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *x,
                                            const int *label, int label_stride, int n, int c,
                                            int add)
{
    LSNNI_TRY(lsnni_sizes3(cx, "dsc_loss (images x classes)", n, c, 1));
    lsnni_clear(dx, lsnni_area(n, c), add);
    for (int i = 0; i < n && dx; i++) {
        int t = label[(size_t)i * (size_t)label_stride];
        LSNNI_TRY(lsnni_label_check(cx, t, i, c));
        for (int k = 0; k < c; k++)
            dx[lsnni_at2(i, k, c)] -= LSNNI_R(lsnni_dsc_wish(x + lsnni_area(i, c), k, t));
    }
    return LSNN_OK;
}

/* 1 if no neighbour of output (c, i, j) comes nearer to it than beta.          */
static int lsnni_dsc_wins(const lsnn_real *x, lsnn_shape s, int c, int i, int j,
                          const lsnn_lateral *l)
{
    int reach = l->maps < 0 ? 0 : l->maps ? l->maps : s.c;
    double own = (double)x[lsnni_at3(c, i, s.h, j, s.w)];
    for (int a = LSNNI_MAX(0, c - reach); a <= LSNNI_MIN(s.c - 1, c + reach); a++)
    for (int b = LSNNI_MAX(0, i - l->places); b <= LSNNI_MIN(s.h - 1, i + l->places); b++)
    for (int e = LSNNI_MAX(0, j - l->places); e <= LSNNI_MIN(s.w - 1, j + l->places); e++)
        if ((a != c || b != i || e != j) &&
            !(own - (double)x[lsnni_at3(a, b, s.h, e, s.w)] >= l->beta)) return 0;
    return 1;
}

typedef struct lsnni_lateral_run {
    lsnn_real *won;
    const lsnn_real *x;
    lsnn_shape s;
    const lsnn_lateral *l;
} lsnni_lateral_run;

static void lsnni_lateral_task(void *user, int n, int worker)
{
    const lsnni_lateral_run *r = (const lsnni_lateral_run *)user;
    size_t first = (size_t)n * (size_t)lsnni_features(r->s);
    (void)worker;
    for (int c = 0; c < r->s.c; c++)
    for (int i = 0; i < r->s.h; i++)
    for (int j = 0; j < r->s.w; j++)
        r->won[first + lsnni_at3(c, i, r->s.h, j, r->s.w)] =
            (lsnn_real)lsnni_dsc_wins(r->x + first, r->s, c, i, j, r->l);
}

LSNN_API lsnn_status lsnn_dsc_lateral_forward(lsnn_ctx *cx, lsnn_real *won, const lsnn_real *x,
                                              int n, lsnn_shape shape, const lsnn_lateral *l)
{
    lsnni_lateral_run r;
    LSNNI_TRY(lsnni_sizes3(cx, "dsc_lateral (images x maps)", n, shape.c, 1));
    LSNNI_TRY(lsnni_sizes3(cx, "dsc_lateral", shape.c, shape.h, shape.w));
    if (!(l->beta >= 0) || l->places < 0 || l->maps < -1)
        return lsnni_fail(cx, LSNN_EVALUE, "dsc_lateral: beta %g and places %d must not be "
                          "negative, maps %d not below -1", l->beta, l->places, l->maps);
    r.won = won; r.x = x; r.s = shape; r.l = l;
    lsnni_parallel_some(cx, (size_t)lsnni_features(shape) * (size_t)n, n, lsnni_lateral_task, &r);
    return LSNN_OK;
}

/* ---- The layers ------------------------------------------------------------------------*/
static lsnn_status lsnni_plan_dsc_loss(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    if (p->o.head < 0)
        return lsnni_fail(cx, LSNN_EVALUE, "dsc_loss: head %d is negative", p->o.head);
    return lsnni_plan_same(cx, p);
}

static lsnn_status lsnni_forward_dsc_loss(lsnn_ctx *cx, lsnn_call *c)
{
    int head = c->plan->o.head;
    if (!c->labels || head >= c->heads)
        return lsnni_fail(cx, LSNN_ESHAPE, "dsc_loss: needs label %d of each sample, the batch "
                          "has %d", head, c->labels ? c->heads : 0);
    memcpy(c->y, c->x[0], lsnni_call_count(c) * sizeof *c->y);
    LSNNI_TRY(lsnn_dsc_loss_forward(cx, &c->loss, c->x[0], c->labels + head, c->heads, c->n,
                                    lsnni_features(c->plan->in[0])));
    c->loss *= (double)c->n / c->total;
    return LSNN_OK;
}

static lsnn_status lsnni_backward_dsc_loss(lsnn_ctx *cx, lsnn_call *c)
{
    return lsnn_dsc_loss_backward(cx, c->dx[0], c->x[0], c->labels + c->plan->o.head, c->heads,
                                  c->n, lsnni_features(c->plan->in[0]), c->add[0]);
}

static lsnn_lateral lsnni_lateral_of(const lsnn_layer_plan *p)
{
    lsnn_lateral l;
    l.beta = p->o.dsc_beta;
    l.places = p->o.dsc_places;
    l.maps = p->o.dsc_maps;
    return l;
}

static lsnn_status lsnni_plan_dsc_lateral(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    if (!(p->o.dsc_beta >= 0) || p->o.dsc_places < 0 || p->o.dsc_maps < -1)
        return lsnni_fail(cx, LSNN_EVALUE, "dsc_lateral: dsc_beta %g and dsc_places %d must not "
                          "be negative, dsc_maps %d not below -1", p->o.dsc_beta,
                          p->o.dsc_places, p->o.dsc_maps);
    return lsnni_plan_same(cx, p);
}

static lsnn_status lsnni_forward_dsc_lateral(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_lateral l = lsnni_lateral_of(c->plan);
    size_t count = lsnni_call_count(c);
    double total = 0;
    LSNNI_TRY(lsnn_dsc_lateral_forward(cx, c->y, c->x[0], c->n, c->plan->in[0], &l));
    for (size_t i = 0; i < count; i++) {
        double d = (double)c->y[i] - (double)c->x[0][i];
        total += d * d;
    }
    c->loss = total / 2 / c->total;
    return LSNN_OK;
}

static lsnn_status lsnni_backward_dsc_lateral(lsnn_ctx *cx, lsnn_call *c)
{
    size_t count = lsnni_call_count(c);
    (void)cx;
    lsnni_clear(c->dx[0], count, c->add[0]);
    for (size_t i = 0; i < count && c->dx[0]; i++) c->dx[0][i] += c->x[0][i] - c->y[i];
    return LSNN_OK;
}

static const lsnn_layer_type lsnni_dsc_loss_type = {
    "dsc_loss", "head", 1, 1,
    LSNN_IS_LOSS | LSNN_CLASSIFIES,
    lsnni_plan_dsc_loss, lsnni_forward_dsc_loss, lsnni_backward_dsc_loss, NULL, NULL
};

static const lsnn_layer_type lsnni_dsc_lateral_type = {
    "dsc_lateral", "dsc_beta dsc_places dsc_maps", 1, 1,
    LSNN_IS_LOSS,
    lsnni_plan_dsc_lateral, lsnni_forward_dsc_lateral, lsnni_backward_dsc_lateral, NULL, NULL
};

LSNN_API int lsnn_dsc_loss(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_dsc_loss_type, &x, 1, o);
}

LSNN_API int lsnn_dsc_lateral(lsnn_net *net, int x, const lsnn_options *o)
{
    return lsnn_layer(net, &lsnni_dsc_lateral_type, &x, 1, o);
}
/* ---- >>smooth: LSNN's smoother ------------------------------------------------------
   y[n,k,p] = sum_l U[k,l,p] a[n,k,l,p] + b[k]                                (Eq. 1)
   First theta -> U and dL/dU -> dtheta, one map at a time; then U's use on a.

   e[p] = -(p - mu)' Phi' Phi (p - mu),  Phi = (alpha gamma; gamma beta)      (Eq. 6)
   none  G = exp(e)          sum  G = exp(e) / Z          mean  G = P exp(e) / Z
   Z = sum_p exp(e[p])                                                        (Eq. 8, 9)
   U = G, or of M Gaussians  U = sum_m w_m G_m,  w = softmax(logits)          (4.2.1)
   Each G is normalised by itself: the maps are those of Eq. 8 on the whole mixture with
   weights w_m / Z_m, but a Gaussian far outside keeps its weight and its gradient.
   Eq. 8 as printed is 0/0 in floats for a far-away mu, the very case it is for.
   With q any point and r = Phi (p - q),
       e[p] - e[q] = -r . (r + 2 Phi (q - mu)),
   which loses nothing to cancellation, however far mu is; so the maps are a
   softmax of exponents relative to the largest one, never of the exponents.  */
enum { LSNNI_MU_X, LSNNI_MU_Y, LSNNI_ALPHA, LSNNI_BETA, LSNNI_GAMMA, LSNNI_NUMBERS };

/* The numbers of a Gaussian that a shape has, in theta's order; the others are 0. */
typedef struct lsnni_family { int count, number[LSNNI_NUMBERS]; } lsnni_family;
static const lsnni_family lsnni_families[] = {
    { 5, { LSNNI_MU_X, LSNNI_MU_Y, LSNNI_ALPHA, LSNNI_BETA, LSNNI_GAMMA } },
    { 0, { 0, 0, 0, 0, 0 } },                            /* a table           */
    { 4, { LSNNI_MU_X, LSNNI_MU_Y, LSNNI_ALPHA, LSNNI_BETA, 0 } },
    { 2, { LSNNI_MU_X, LSNNI_ALPHA, 0, 0, 0 } }
};

static int lsnni_parts(const lsnn_smoother *s) { return s->mixture > 1 ? s->mixture : 1; }

/* Theta's numbers for one Gaussian: in a mixture the last is its logit.      */
static int lsnni_stride(const lsnn_smoother *s)
{
    return lsnni_families[s->shape].count + (lsnni_parts(s) > 1);
}

LSNN_API int lsnn_smoother_theta(const lsnn_smoother *s)
{
    if ((int)s->shape < 0 || s->shape > LSNN_GAUSSIAN_1D) return 0;
    return s->shape == LSNN_TABLE ? s->h * s->w : lsnni_parts(s) * lsnni_stride(s);
}

/* Places are counted in rows and columns from 0 and lie `step` apart.        */
static double lsnni_spacing(int count) { return count > 1 ? 1.0 / (count - 1) : 1; }

/* The five numbers of a Gaussian.                                            */
static void lsnni_numbers(double *t, const lsnn_real *theta, const lsnn_smoother *s)
{
    const lsnni_family *f = &lsnni_families[s->shape];
    memset(t, 0, LSNNI_NUMBERS * sizeof *t);
    for (int i = 0; i < f->count; i++) t[f->number[i]] = (double)theta[i];
}

static lsnn_status lsnni_smooth_check(lsnn_ctx *cx, const lsnn_smoother *s)
{
    int size[5];
    size[0] = s->n; size[1] = s->k; size[2] = s->rank ? s->rank : 1;
    size[3] = s->h; size[4] = s->w;
    LSNNI_TRY(lsnni_sizes(cx, "smooth (images x kernels x rank x rows x columns)", 5, size));
    if ((double)s->n * s->k * size[2] > INT_MAX || (double)s->h * s->w > INT_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE, "smooth: %d images x %d kernels x rank %d, maps of "
                          "%d x %d are too many", s->n, s->k, size[2], s->h, s->w);
    if ((int)s->shape < 0 || s->shape > LSNN_GAUSSIAN_1D || (int)s->normalise < 0 ||
        s->normalise > LSNN_NORMALISE_MEAN)
        return lsnni_fail(cx, LSNN_EVALUE, "smooth: shape %d or normalise %d is unknown",
                          (int)s->shape, (int)s->normalise);
    if (s->shape == LSNN_TABLE && (s->normalise != LSNN_NORMALISE_NONE || s->mixture > 1))
        return lsnni_fail(cx, LSNN_EVALUE,
                          "smooth: a table takes no normalisation and no mixture");
    size[3] = lsnni_parts(s);
    size[4] = LSNNI_NUMBERS + 1;
    if (s->mixture < 0 || (double)size[3] * size[4] > INT_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE, "smooth: a mixture of %d Gaussians, 1 to %d can be",
                          s->mixture, INT_MAX / size[4]);
    LSNNI_TRY(lsnni_sizes(cx, "smooth (images x kernels x rank x mixture x numbers)", 5, size));
    LSNNI_TRY(lsnni_lanes_fit(cx, "smooth", s->lanes, s->n));
    return LSNN_OK;
}

/* ---- The naive pair: Eq. 1, 6, 7 and 8 as they are printed, pixel by pixel. Only two things
   are not: the largest exponent is subtracted before exp where maps are normalised, and
   dgamma is that of a symmetric Phi.                                         */
#ifdef LSNN_NAIVE
/* One Gaussian: its numbers, its weight in the mixture, and G_p = scale exp(e_p - shift). */
typedef struct lsnni_bell { double t[LSNNI_NUMBERS], weight, shift, scale; } lsnni_bell;

/* d = p - mu and r = Phi d at pixel p; returns the exponent, -r . r.          */
static double lsnni_bell_exponent(const lsnni_bell *g, const lsnn_smoother *s, int p,
                                  double d[2], double r[2])
{
    const double *t = g->t;
    d[0] = p % s->w * lsnni_spacing(s->w) - t[LSNNI_MU_X];
    d[1] = p / s->w * lsnni_spacing(s->h) - t[LSNNI_MU_Y];
    r[0] = t[LSNNI_ALPHA] * d[0] + t[LSNNI_GAMMA] * d[1];
    r[1] = t[LSNNI_GAMMA] * d[0] + t[LSNNI_BETA] * d[1];
    return -(r[0] * r[0] + r[1] * r[1]);
}

static double lsnni_bell_at(const lsnni_bell *g, const lsnn_smoother *s, int p)
{
    double d[2], r[2];
    return g->scale * exp(lsnni_bell_exponent(g, s, p, d, r) - g->shift);
}

/* Gaussian m of the map whose theta this is.                                  */
static lsnni_bell lsnni_bell_of(const lsnn_real *theta, int m, const lsnn_smoother *s)
{
    int stride = lsnni_stride(s), parts = lsnni_parts(s), count = s->h * s->w;
    const lsnn_real *logit = theta + stride - 1;
    double sum = 0, d[2], r[2];
    lsnni_bell g;
    lsnni_numbers(g.t, theta + m * stride, s);
    for (int i = 0; i < parts && parts > 1; i++)
        sum += exp((double)logit[i * stride] - (double)logit[m * stride]);
    g.weight = parts > 1 ? 1 / sum : 1;
    g.shift = 0;
    g.scale = 1;
    if (s->normalise == LSNN_NORMALISE_NONE) return g;
    g.shift = -HUGE_VAL;
    for (int p = 0; p < count; p++)
        g.shift = LSNNI_MAX(g.shift, lsnni_bell_exponent(&g, s, p, d, r));
    sum = 0;
    for (int p = 0; p < count; p++) sum += lsnni_bell_at(&g, s, p);
    g.scale = (s->normalise == LSNN_NORMALISE_MEAN ? count : 1) / sum;
    return g;
}

static int lsnni_maps(const lsnn_smoother *s)
{
    return s->k * (s->rank ? s->rank : 1) * (s->per_image ? s->n : 1);
}

/* The map of image n, channel k, rank l.                                      */
static int lsnni_map_of(const lsnn_smoother *s, int n, int k, int l)
{
    return ((s->per_image ? n : 0) * s->k + k) * (s->rank ? s->rank : 1) + l;
}

LSNN_API lsnn_status lsnn_smoother_map(lsnn_ctx *cx, lsnn_real *u, const lsnn_real *theta,
                                       const lsnn_smoother *s)
{
    int count = s->h * s->w;
    LSNNI_TRY(lsnni_smooth_check(cx, s));
    if (cx->rehearsal_) return LSNN_OK;
    for (int map = 0; map < lsnni_maps(s); map++) {
        const lsnn_real *t = theta + lsnni_area(map, lsnn_smoother_theta(s));
        for (int p = 0; p < count; p++) {
            double sum = s->shape == LSNN_TABLE ? (double)t[p] : 0;
            u[lsnni_at2(map, p, count)] = LSNNI_R(sum);
        }
        for (int m = 0; m < lsnni_parts(s) && s->shape != LSNN_TABLE; m++) {
            lsnni_bell g = lsnni_bell_of(t, m, s);
            for (int p = 0; p < count; p++)
                u[lsnni_at2(map, p, count)] += LSNNI_R(g.weight * lsnni_bell_at(&g, s, p));
        }
    }
    return LSNN_OK;
}

/* y from maps that are there (Eq. 1).                                         */
static lsnn_status lsnni_smooth_apply(lsnn_ctx *cx, lsnn_real *y, lsnn_real *u,
                                      const lsnn_real *a, const lsnn_real *b,
                                      const lsnn_smoother *s)
{
    int rank = s->rank ? s->rank : 1, count = s->h * s->w;
    LSNNI_TRY(lsnni_smooth_check(cx, s));
    if (cx->rehearsal_) return LSNN_OK;
    for (int n = 0; n < s->n; n++)
    for (int k = 0; k < s->k; k++)
    for (int p = 0; p < count; p++) {
        lsnn_real sum = 0;
        for (int l = 0; l < rank; l++) {
            lsnn_real map = u[lsnni_at2(lsnni_map_of(s, n, k, l), p, count)];
            sum += map * a[lsnni_at4(n, k, s->k, l, rank, p, count)];
            if (b && s->smooth_bias) sum += map * b[k];
        }
        y[lsnni_at3(n, k, s->k, p, count)] = sum + (b && !s->smooth_bias ? b[k] : 0);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_smooth_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *u,
                                         const lsnn_real *a, const lsnn_real *theta,
                                         const lsnn_real *b, const lsnn_smoother *s)
{
    LSNNI_TRY(lsnn_smoother_map(cx, u, theta, s));
    return lsnni_smooth_apply(cx, y, u, a, b, s);
}

/* dL/dU of a map at pixel p: over all images that use it.                     */
static double lsnni_du(const lsnn_smoother *s, int map, int p, const lsnn_real *dy,
                       const lsnn_real *a, const lsnn_real *b)
{
    int rank = s->rank ? s->rank : 1, k = map / rank % s->k, l = map % rank;
    int count = s->h * s->w;
    double sum = 0;
    for (int n = 0; n < s->n; n++) {
        double product;
        if (lsnni_map_of(s, n, k, l) != map) continue;
        product = (double)a[lsnni_at4(n, k, s->k, l, rank, p, count)];
        if (b && s->smooth_bias) product += (double)b[k];
        sum += (double)dy[lsnni_at3(n, k, s->k, p, count)] * product;
    }
    return sum;
}

/* Adds Gaussian m's part of dtheta, at t. dL/de_p = w G_p (dL/dU_p - sum_q S_q dL/dU_q), where
   S = G / sum G comes from the normalisation, as in a softmax; without one that sum is
   left out. Then Eq. 7; dL/dlogit = sum_p w (G_p - U_p) dL/dU_p.             */
static void lsnni_bell_back(lsnn_real *t, const lsnni_bell *g, const lsnn_smoother *s, int map,
                            const lsnn_real *dy, const lsnn_real *a, const lsnn_real *u,
                            const lsnn_real *b)
{
    const lsnni_family *f = &lsnni_families[s->shape];
    double dt[LSNNI_NUMBERS] = { 0, 0, 0, 0, 0 }, d[2], r[2], middle = 0, sum = 0, logit = 0;
    const double al = g->t[LSNNI_ALPHA], be = g->t[LSNNI_BETA], ga = g->t[LSNNI_GAMMA];
    int count = s->h * s->w;
    for (int p = 0; p < count; p++) sum += lsnni_bell_at(g, s, p);
    for (int p = 0; p < count && s->normalise != LSNN_NORMALISE_NONE; p++)
        middle += lsnni_bell_at(g, s, p) / sum * lsnni_du(s, map, p, dy, a, b);
    for (int p = 0; p < count; p++) {
        double du = lsnni_du(s, map, p, dy, a, b), bell = lsnni_bell_at(g, s, p);
        double de = g->weight * bell * (du - middle);
        lsnni_bell_exponent(g, s, p, d, r);
        dt[LSNNI_MU_X] += de * 2 * (r[0] * al + r[1] * ga);
        dt[LSNNI_MU_Y] += de * 2 * (r[0] * ga + r[1] * be);
        dt[LSNNI_ALPHA] -= de * 2 * r[0] * d[0];
        dt[LSNNI_BETA] -= de * 2 * r[1] * d[1];
        dt[LSNNI_GAMMA] -= de * 2 * (r[0] * d[1] + r[1] * d[0]);
        logit += g->weight * (bell - (double)u[lsnni_at2(map, p, count)]) * du;
    }
    for (int i = 0; i < f->count; i++) t[i] += LSNNI_R(dt[f->number[i]]);
    if (lsnni_parts(s) > 1) t[f->count] += LSNNI_R(logit);
}

LSNN_API lsnn_status lsnn_smooth_backward(lsnn_ctx *cx, lsnn_real *da, lsnn_real *dtheta,
                                          lsnn_real *db, const lsnn_real *dy,
                                          const lsnn_real *a, const lsnn_real *u,
                                          const lsnn_real *theta, const lsnn_real *b,
                                          const lsnn_smoother *s, int add, int add_theta)
{
    int rank = s->rank ? s->rank : 1, count = s->h * s->w, numbers = lsnn_smoother_theta(s);
    LSNNI_TRY(lsnni_smooth_check(cx, s));
    if (cx->rehearsal_) return LSNN_OK;
    if (s->per_image) lsnni_clear(dtheta, lsnni_area(lsnni_maps(s), numbers), add_theta);
    for (int map = 0; map < lsnni_maps(s) && dtheta; map++) {
        size_t at = lsnni_area(map, numbers);
        for (int p = 0; p < count && s->shape == LSNN_TABLE; p++)
            dtheta[at + (size_t)p] += LSNNI_R(lsnni_du(s, map, p, dy, a, b));
        for (int m = 0; m < lsnni_parts(s) && s->shape != LSNN_TABLE; m++) {
            lsnni_bell g = lsnni_bell_of(theta + at, m, s);
            lsnni_bell_back(dtheta + at + m * lsnni_stride(s), &g, s, map, dy, a, u, b);
        }
    }
    for (int n = 0; n < s->n; n++)                       /* last: da may be dy */
    for (int k = 0; k < s->k; k++)
    for (int p = 0; p < count; p++) {
        lsnn_real g = dy[lsnni_at3(n, k, s->k, p, count)];
        if (db && !s->smooth_bias) db[k] += g;
        for (int l = 0; l < rank; l++) {
            lsnn_real map = u[lsnni_at2(lsnni_map_of(s, n, k, l), p, count)];
            size_t to = lsnni_at4(n, k, s->k, l, rank, p, count);
            if (db && s->smooth_bias) db[k] += g * map;
            if (da) da[to] = g * map + (add ? da[to] : 0);
        }
    }
    return LSNN_OK;
}

#else /* ---- The fast pair: a map a task ------------------------------------------------*/
/* u[p] = e[p] - e[q] for q in row and column (i, j), which may be no whole numbers;
   returns the place of the largest. At q itself r is 0, without a rounding.  */
static int lsnni_exponents(const lsnni_kernels *kv, lsnn_real *u, const double *t,
                           const lsnn_smoother *s, double qi, double qj)
{
    double al = t[LSNNI_ALPHA], be = t[LSNNI_BETA], ga = t[LSNNI_GAMMA], p[8];
    double x = 2 * (lsnni_spacing(s->w) * qj - t[LSNNI_MU_X]);
    double y = 2 * (lsnni_spacing(s->h) * qi - t[LSNNI_MU_Y]);
    p[1] = p[3] = al;
    p[5] = p[7] = ga;
    for (int i = 0; i < s->h; i++) {
        double d = lsnni_spacing(s->h) * (i - qi);
        p[0] = ga * d;                                   /* p[0] + p[1] x: r, row 1 */
        p[4] = be * d;                                   /* p[4] + p[5] x: row 2    */
        p[2] = p[0] + (al * x + ga * y);
        p[6] = p[4] + (ga * x + be * y);
        kv->exponents(u + i * s->w, (size_t)s->w, lsnni_spacing(s->w), qj, p);
    }
    return (int)kv->largest(u, lsnni_area(s->h, s->w));
}

/* Row or column of a mu, or the nearest in the map.                          */
static double lsnni_nearest(double mu, int count)
{
    return mu > 0 ? LSNNI_MIN(mu, 1) * (count - 1) : 0;
}

/* The exponents relative to the largest. Relative to one far below it they would have no
   digits left, or overflow; a Phi divided by its own size has its largest at the same
   place.                                                                     */
static void lsnni_from_largest(const lsnni_kernels *kv, lsnn_real *u, const double *t,
                               const lsnn_smoother *s)
{
    double i = lsnni_nearest(t[LSNNI_MU_Y], s->h), j = lsnni_nearest(t[LSNNI_MU_X], s->w);
    double scaled[LSNNI_NUMBERS], size;
    int where = lsnni_exponents(kv, u, t, s, i, j);
    if (!(u[where] >= -1 && u[where] <= 0)) {
        memcpy(scaled, t, sizeof scaled);
        size = LSNNI_MAX(fabs(t[LSNNI_ALPHA]), fabs(t[LSNNI_BETA]));
        size = LSNNI_MAX(size, fabs(t[LSNNI_GAMMA])) *
            sqrt(2 + fabs(t[LSNNI_MU_X]) + fabs(t[LSNNI_MU_Y]));
        for (int n = LSNNI_ALPHA; n < LSNNI_NUMBERS; n++) scaled[n] /= size;
        where = lsnni_exponents(kv, u, scaled, s, i, j);
        for (int tries = 0; tries < 4 && (tries == 0 || u[where] > 0); tries++)
            where = lsnni_exponents(kv, u, t, s, where / s->w, where % s->w);
    }
    if (u[where] < 0 || u[where] > 0)
        kv->affine(u, u, 1, -(double)u[where], lsnni_area(s->h, s->w), 0);
}

/* u = G; t: the five numbers.                                                */
static void lsnni_gaussian(const lsnni_kernels *kv, lsnn_real *u, const double *t,
                           const lsnn_smoother *s)
{
    size_t area = lsnni_area(s->h, s->w);
    if (s->normalise == LSNN_NORMALISE_NONE)             /* q = mu: e[q] = 0  */
        lsnni_exponents(kv, u, t, s, t[LSNNI_MU_Y] / lsnni_spacing(s->h),
                        t[LSNNI_MU_X] / lsnni_spacing(s->w));
    else
        lsnni_from_largest(kv, u, t, s);
    (kv->exp)(u, u, area);           /* in parentheses: tgmath.h has a macro */
    if (s->normalise != LSNN_NORMALISE_NONE)
        kv->affine(u, u, (s->normalise == LSNN_NORMALISE_MEAN ? (double)area : 1) /
                         kv->sum(u, area), 0, area, 0);
}

/* Eq. 7 and 9 for one Gaussian: g = dL/dG in, dt gets theirs. First h[p] = dL/de[p]:
       none  h = g G          sum, mean  h = G (g - sum_p g G / sum_p G).
   e is quadratic in p, so theta's gradient needs only the moments of h,
       m = sum h d,   M = sum h d d'      (d = p - mu):
       dmu = 2 Phi^2 m      dalpha = -2 (alpha M11 + gamma M12)
       dbeta = -2 (gamma M12 + beta M22)  dgamma = -2 (alpha M12 + beta M12 + gamma (M11 + M22))
   (The paper's Eq. 7 prints dU/dPhi transposed; this is the symmetric case.)
   Normalised, sum h = 0: the moments are taken around a point q of the image and
   the terms with sum h left out, which is exact, and safe for a far-away mu. */
static void lsnni_gaussian_back(const lsnni_kernels *kv, double *dt, lsnn_real *g,
                                const lsnn_real *u, const double *t, const lsnn_smoother *s)
{
    size_t area = lsnni_area(s->h, s->w);
    double mx = t[LSNNI_MU_X], my = t[LSNNI_MU_Y], al = t[LSNNI_ALPHA], be = t[LSNNI_BETA];
    double ga = t[LSNNI_GAMMA], qx = mx, qy = my, cx, cy;
    double s1x = 0, s1y = 0, sxx = 0, sxy = 0, syy = 0, m11, m12, m22;
    if (s->normalise != LSNN_NORMALISE_NONE) {
        qx = mx > 0 ? LSNNI_MIN(mx, 1) : 0;
        qy = my > 0 ? LSNNI_MIN(my, 1) : 0;
        kv->affine(g, g, 1, -kv->dot(g, u, area) / kv->sum(u, area), area, 0);
    }
    kv->multiply(g, g, u, area, 0);                      /* now h             */
    for (int i = 0; i < s->h; i++) {
        double m[3], y = lsnni_spacing(s->h) * i - qy;
        kv->moments(g + i * s->w, (size_t)s->w, -qx, lsnni_spacing(s->w), m);
        s1x += m[1];
        s1y += m[0] * y;
        sxx += m[2];
        sxy += m[1] * y;
        syy += m[0] * y * y;
    }
    cx = qx - mx;                                        /* d = (p - q) + c   */
    cy = qy - my;
    m11 = sxx + 2 * cx * s1x;
    m12 = sxy + cx * s1y + cy * s1x;
    m22 = syy + 2 * cy * s1y;
    dt[LSNNI_MU_X] = 2 * ((al * al + ga * ga) * s1x + ga * (al + be) * s1y);
    dt[LSNNI_MU_Y] = 2 * (ga * (al + be) * s1x + (be * be + ga * ga) * s1y);
    dt[LSNNI_ALPHA] = -2 * (al * m11 + ga * m12);
    dt[LSNNI_BETA] = -2 * (ga * m12 + be * m22);
    dt[LSNNI_GAMMA] = -2 * ((al + be) * m12 + ga * (m11 + m22));
}

/* Of a mixture's logits: the largest, and sum_m exp(logit_m - largest).      */
static void lsnni_logits(const lsnn_real *theta, const lsnn_smoother *s, double *most,
                         double *sum)
{
    size_t stride = (size_t)lsnni_stride(s), end = stride * (size_t)lsnni_parts(s);
    *most = (double)theta[stride - 1];
    *sum = 0;
    for (size_t i = stride - 1; i < end; i += stride)
        *most = LSNNI_MAX(*most, (double)theta[i]);
    for (size_t i = stride - 1; i < end; i += stride) *sum += exp((double)theta[i] - *most);
}

/* Numbers of working memory for one map: a mixture's G and dL/dG.            */
static size_t lsnni_map_room(const lsnn_smoother *s)
{
    return lsnni_parts(s) > 1 ? 2 * lsnni_area(s->h, s->w) : 0;
}

/* theta -> U of one map.                                                     */
static void lsnni_map_forward(const lsnni_kernels *kv, lsnn_real *u, lsnn_real *room,
                              const lsnn_real *theta, const lsnn_smoother *s)
{
    size_t area = lsnni_area(s->h, s->w);
    int numbers = lsnni_families[s->shape].count;
    double t[LSNNI_NUMBERS], most = 0, sum = 1;
    if (s->shape == LSNN_TABLE) {
        memcpy(u, theta, area * sizeof *u);
        return;
    }
    if (room) lsnni_logits(theta, s, &most, &sum);
    for (int m = 0; m < lsnni_parts(s); m++, theta += lsnni_stride(s)) {
        lsnn_real *one = m ? room : u;
        lsnni_numbers(t, theta, s);
        lsnni_gaussian(kv, one, t, s);
        if (room) kv->affine(u, one, exp((double)theta[numbers] - most) / sum, 0, area, m > 0);
    }
}

/* dL/dU -> dtheta of one map, added to or, if not add, written. g = dL/dU is used up.
   In a mixture dL/dG_m = w_m dL/dU and dlogit_m = w_m sum_p dL/dU (G_m - U). */
static void lsnni_map_backward(const lsnni_kernels *kv, lsnn_real *dtheta, lsnn_real *g,
                               lsnn_real *room, const lsnn_real *u, const lsnn_real *theta,
                               const lsnn_smoother *s, int add)
{
    size_t area = lsnni_area(s->h, s->w);
    const lsnni_family *f = &lsnni_families[s->shape];
    double t[LSNNI_NUMBERS], dt[LSNNI_NUMBERS], most = 0, sum = 1, middle = 0, w;
    lsnn_real *dg = room ? room + area : g;
    if (s->shape == LSNN_TABLE) kv->affine(dtheta, g, 1, 0, area, add);
    if (room) {
        lsnni_logits(theta, s, &most, &sum);
        middle = kv->dot(g, u, area);
    }
    for (int m = 0; m < lsnni_parts(s) && s->shape != LSNN_TABLE; m++) {
        lsnni_numbers(t, theta, s);
        if (room) {
            w = exp((double)theta[f->count] - most) / sum;
            lsnni_gaussian(kv, room, t, s);
            kv->affine(dg, g, w, 0, area, 0);
            w *= kv->dot(g, room, area) - middle;
            dtheta[f->count] = LSNNI_R(w + (add ? (double)dtheta[f->count] : 0));
        }
        lsnni_gaussian_back(kv, dt, dg, room ? room : u, t, s);
        for (int i = 0; i < f->count; i++)
            dtheta[i] = LSNNI_R(dt[f->number[i]] + (add ? (double)dtheta[i] : 0));
        theta += lsnni_stride(s);
        dtheta += lsnni_stride(s);
    }
}

/* The images come in blocks, whose pixels are `lanes` wide (see >>lanes); plain arrays are
   blocks of one image.                                                       */
typedef struct lsnni_smooth {
    const lsnni_kernels *kv;
    const lsnn_smoother *s;
    int rank, maps, theta_count, lanes, blocks;
    size_t area;
    const lsnn_real *a, *theta, *b, *dy, *uc;
    lsnn_real *y, *u, *da, *dtheta, *db;
    lsnn_real *work;                 /* each worker's: dL/dU of a map, lsnni_map_room, */
    int add, add_theta;              /*   and three planes of a block         */
} lsnni_smooth;

static lsnn_status lsnni_smooth_plan(lsnn_ctx *cx, lsnni_smooth *p, const lsnn_smoother *s)
{
    memset(p, 0, sizeof *p);
    LSNNI_TRY(lsnni_smooth_check(cx, s));
    p->kv = lsnni_kernels_of(cx);
    p->s = s;
    p->rank = s->rank ? s->rank : 1;
    p->maps = s->k * p->rank;
    p->area = lsnni_area(s->h, s->w);
    p->theta_count = lsnn_smoother_theta(s);
    p->lanes = LSNNI_MAX(1, s->lanes);
    p->blocks = s->n / p->lanes;
    return LSNN_OK;
}

static size_t lsnni_smooth_room_size(const lsnni_smooth *p)
{
    return lsnni_room(lsnni_room_add(lsnni_map_room(p->s),
                                     p->area * (1 + 3 * (size_t)p->lanes)), sizeof *p->work);
}

static lsnn_status lsnni_smooth_work(lsnn_ctx *cx, lsnni_smooth *p)
{
    p->work = (lsnn_real *)lsnni_scratch(cx, lsnni_room_times(lsnni_smooth_room_size(p),
                                                              lsnn_ctx_threads(cx)), 1);
    return p->work ? LSNN_OK : LSNN_ENOMEM;
}

/* A worker's dL/dU; *room: what lsnni_map_room asks for, or NULL.            */
static lsnn_real *lsnni_smooth_room(const lsnni_smooth *p, int worker, lsnn_real **room)
{
    lsnn_real *g = p->work + lsnni_smooth_room_size(p) / sizeof *g * (size_t)worker;
    *room = lsnni_map_room(p->s) ? g + p->area : NULL;
    return g;
}

/* A worker's planes of a block.                                              */
static lsnn_real *lsnni_smooth_planes(const lsnni_smooth *p, int worker)
{
    lsnn_real *room;
    return lsnni_smooth_room(p, worker, &room) + p->area + lsnni_map_room(p->s);
}

static void lsnni_smooth_map_task(void *user, int map, int worker)
{
    const lsnni_smooth *p = (const lsnni_smooth *)user;
    lsnn_real *room;
    lsnni_smooth_room(p, worker, &room);
    lsnni_map_forward(p->kv, p->u + (size_t)map * p->area, room,
                      p->theta + lsnni_area(map, p->theta_count), p->s);
}

LSNN_API lsnn_status lsnn_smoother_map(lsnn_ctx *cx, lsnn_real *u, const lsnn_real *theta,
                                       const lsnn_smoother *s)
{
    lsnni_smooth p;
    LSNNI_TRY(lsnni_smooth_plan(cx, &p, s));
    LSNNI_TRY(lsnni_smooth_work(cx, &p));
    p.u = u;
    p.theta = theta;
    lsnn_parallel(cx, p.maps * (s->per_image ? s->n : 1), lsnni_smooth_map_task, &p);
    return LSNN_OK;
}

/* Map number `map` of a block's images, laid out as their pixels are. For plain arrays it
   lies in `maps` so already; else it is brought into the plane: each image's own are turned,
   one for all is repeated, once, at block 0.                                 */
static const lsnn_real *lsnni_smooth_plane(const lsnni_smooth *p, lsnn_real *plane,
                                           const lsnn_real *maps, int block, int map)
{
    size_t lanes = (size_t)p->lanes, step = (size_t)p->maps * p->area;
    maps += (size_t)map * p->area + (p->s->per_image ? (size_t)block * lanes * step : 0);
    if (lanes == 1) return maps;
    if (p->s->per_image)
        p->kv->transpose(plane, lanes, maps, step, (int)lanes, (int)p->area);
    else if (block == 0) p->kv->repeat(plane, maps, p->area);
    return plane;
}

/* y of kernel k.                                                             */
static void lsnni_smooth_task(void *user, int k, int worker)
{
    const lsnni_smooth *p = (const lsnni_smooth *)user;
    int inside = p->b && p->s->smooth_bias;
    size_t size = p->area * (size_t)p->lanes;
    lsnn_real *plane = lsnni_smooth_planes(p, worker);
    for (int l = 0; l < p->rank; l++)
        for (int n = 0; n < p->blocks; n++) {
            int map = k * p->rank + l;
            const lsnn_real *u = lsnni_smooth_plane(p, plane, p->u, n, map);
            lsnn_real *y = p->y + (lsnni_area(n, p->s->k) + (size_t)k) * size;
            p->kv->multiply(y, p->a + (lsnni_area(n, p->maps) + (size_t)map) * size, u, size,
                            l > 0);
            if (inside) p->kv->axpy(y, (double)p->b[k], u, size);
            if (p->b && !inside && l + 1 == p->rank)
                p->kv->affine(y, y, 1, (double)p->b[k], size, 0);
        }
}

/* y from maps that are there.                                                */
static lsnn_status lsnni_smooth_apply(lsnn_ctx *cx, lsnn_real *y, lsnn_real *u,
                                      const lsnn_real *a, const lsnn_real *b,
                                      const lsnn_smoother *s)
{
    lsnni_smooth p;
    LSNNI_TRY(lsnni_smooth_plan(cx, &p, s));
    p.y = y; p.u = u; p.a = a; p.b = b;
    LSNNI_TRY(lsnni_smooth_work(cx, &p));
    lsnn_parallel(cx, s->k, lsnni_smooth_task, &p);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_smooth_forward(lsnn_ctx *cx, lsnn_real *y, lsnn_real *u,
                                         const lsnn_real *a, const lsnn_real *theta,
                                         const lsnn_real *b, const lsnn_smoother *s)
{
    LSNNI_TRY(lsnn_smoother_map(cx, u, theta, s));
    return lsnni_smooth_apply(cx, y, u, a, b, s);
}

static void lsnni_smooth_theta(const lsnni_smooth *p, lsnn_real *g, lsnn_real *room, size_t map,
                               int add)
{
    size_t theta = map * (size_t)p->theta_count;
    lsnni_map_backward(p->kv, p->dtheta + theta, g, room, p->uc + map * p->area,
                       p->theta + theta, p->s, add);
}

/* One map (k, l): da of all its images, and the sum of dL/dU over those that share it. */
static void lsnni_smooth_back_task(void *user, int map, int worker)
{
    const lsnni_smooth *p = (const lsnni_smooth *)user;
    int k = map / p->rank, inside = p->b && p->s->smooth_bias, apart = p->lanes > 1;
    size_t lanes = (size_t)p->lanes, size = p->area * lanes;
    lsnn_real *room, *g = lsnni_smooth_room(p, worker, &room);
    lsnn_real *plane = lsnni_smooth_planes(p, worker), *gs = plane + size;
    lsnn_real *rows = apart ? gs + size : gs;            /* dL/dU, image by image */
    if (!p->s->per_image) memset(gs, 0, size * sizeof *gs);
    for (int n = 0; n < p->blocks; n++) {
        size_t at = (lsnni_area(n, p->maps) + (size_t)map) * size;
        const lsnn_real *dy = p->dy + (lsnni_area(n, p->s->k) + (size_t)k) * size;
        if (p->dtheta) {
            p->kv->multiply(gs, dy, p->a + at, size, !p->s->per_image);
            if (inside) p->kv->axpy(gs, (double)p->b[k], dy, size);
        }
        if (p->da)
            p->kv->multiply(p->da + at, dy, lsnni_smooth_plane(p, plane, p->uc, n, map), size,
                            p->add);
        if (!p->dtheta || !p->s->per_image) continue;
        if (apart) p->kv->transpose(rows, p->area, gs, lanes, (int)p->area, (int)lanes);
        for (size_t l = 0; l < lanes; l++)
            lsnni_smooth_theta(p, rows + l * p->area, room,
                               ((size_t)n * lanes + l) * (size_t)p->maps + (size_t)map,
                               p->add_theta);
    }
    if (!p->dtheta || p->s->per_image) return;
    if (apart) p->kv->gather(g, gs, p->area);
    lsnni_smooth_theta(p, apart ? g : gs, room, (size_t)map, 1);
}

static void lsnni_smooth_bias_task(void *user, int k, int worker)
{
    const lsnni_smooth *p = (const lsnni_smooth *)user;
    size_t size = p->area * (size_t)p->lanes;
    lsnn_real *plane = lsnni_smooth_planes(p, worker);
    double total = 0;
    for (int l = 0; l < (p->s->smooth_bias ? p->rank : 1); l++)
        for (int n = 0; n < p->blocks; n++) {
            const lsnn_real *dy = p->dy + (lsnni_area(n, p->s->k) + (size_t)k) * size;
            total += !p->s->smooth_bias ? p->kv->sum(dy, size) :
                p->kv->dot(dy, lsnni_smooth_plane(p, plane, p->uc, n, k * p->rank + l), size);
        }
    p->db[k] += LSNNI_R(total);
}

LSNN_API lsnn_status lsnn_smooth_backward(lsnn_ctx *cx, lsnn_real *da, lsnn_real *dtheta,
                                          lsnn_real *db, const lsnn_real *dy,
                                          const lsnn_real *a, const lsnn_real *u,
                                          const lsnn_real *theta, const lsnn_real *b,
                                          const lsnn_smoother *s, int add, int add_theta)
{
    lsnni_smooth p;
    LSNNI_TRY(lsnni_smooth_plan(cx, &p, s));
    p.da = da; p.dtheta = dtheta; p.db = db; p.add = add; p.add_theta = add_theta;
    p.dy = dy; p.a = a; p.uc = u; p.theta = theta; p.b = b;
    LSNNI_TRY(lsnni_smooth_work(cx, &p));
    if (db) lsnn_parallel(cx, s->k, lsnni_smooth_bias_task, &p);
    lsnn_parallel(cx, p.maps, lsnni_smooth_back_task, &p);       /* last: da may be dy   */
    return LSNN_OK;
}

#endif /* LSNN_NAIVE */

/* ---- The layer ------------------------------------------------------------------------*/
static lsnn_smoother lsnni_smoother_of(const lsnn_layer_plan *p, int n, int lanes)
{
    lsnn_smoother s;
    memset(&s, 0, sizeof s);
    s.n = n;
    s.lanes = lanes;
    s.rank = p->o.rank;
    s.k = p->in[0].c / s.rank;
    s.h = p->in[0].h;
    s.w = p->in[0].w;
    s.shape = p->o.smooth_shape;
    s.mixture = p->o.mixture;
    s.normalise = p->o.normalise;
    s.per_image = p->inputs == 2;
    s.smooth_bias = p->o.smooth_bias;
    return s;
}

static lsnn_status lsnni_plan_smooth(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    lsnn_smoother s;
    int numbers, bias;
    if (!p->o.rank) p->o.rank = 1;
    if (!p->o.mixture) p->o.mixture = 1;
    if (p->o.rank < 1 || p->in[0].c % p->o.rank)
        return lsnni_fail(cx, LSNN_ESHAPE, "smooth: %d channels are not a multiple of rank %d",
                          p->in[0].c, p->o.rank);
    if (p->o.smooth_bias && p->o.no_bias)
        return lsnni_fail(cx, LSNN_EVALUE, "smooth: smooth_bias says where the bias is added, "
                          "no_bias that there is none");
    s = lsnni_smoother_of(p, 1, 0);
    LSNNI_TRY(lsnni_smooth_check(cx, &s));
    numbers = lsnn_smoother_theta(&s);
    if (s.per_image && lsnni_area(numbers, p->in[0].c) != (size_t)lsnni_features(p->in[1]))
        return lsnni_fail(cx, LSNN_ESHAPE,
                          "smooth: theta has %d features, %d maps of %d numbers "
                          "need %.0f", lsnni_features(p->in[1]), p->in[0].c, numbers,
                          (double)numbers * p->in[0].c);
    p->out = p->in[0];
    p->out.c = s.k;
    bias = s.per_image ? 0 : 1;      /* parameter 0 is the bias or theta      */
    p->param[0] = lsnni_spec("theta", 2, p->in[0].c, numbers, 0, 0);
    p->param[bias] = lsnni_spec("bias", 1, s.k, 0, 0, 0);
    p->param[0].no_decay = p->param[bias].no_decay = 1;
    p->params = bias + (p->o.no_bias ? 0 : 1);
    p->keep_name = "map";
    p->keep_shape = p->in[0];
    if (s.per_image) p->keep_per_image = (size_t)lsnni_features(p->in[0]);
    else p->keep_fixed = (size_t)lsnni_features(p->in[0]);
    return LSNN_OK;
}

/* Which parameter is the bias: 0 if theta is a node, else 1; -1 if there is none. */
static int lsnni_smooth_bias_index(const lsnn_call *c)
{
    int index = c->plan->inputs == 2 ? 0 : 1;
    return c->plan->o.no_bias ? -1 : index;
}

static lsnn_status lsnni_forward_smooth(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_smoother s = lsnni_smoother_of(c->plan, c->n, c->lanes);
    int bias = lsnni_smooth_bias_index(c);
    if (s.per_image) LSNNI_TRY(lsnn_smoother_map(cx, c->keep, c->x[1], &s));
    else if (!*c->kept)              /* maps that all images share, until theta changes */
        LSNNI_TRY(lsnn_smoother_map(cx, c->keep, c->param[0], &s));
    *c->kept = !s.per_image;
    return lsnni_smooth_apply(cx, c->y, c->keep, c->x[0], bias < 0 ? NULL : c->param[bias], &s);
}

static lsnn_status lsnni_backward_smooth(lsnn_ctx *cx, lsnn_call *c)
{
    lsnn_smoother s = lsnni_smoother_of(c->plan, c->n, c->lanes);
    int bias = lsnni_smooth_bias_index(c);
    return lsnn_smooth_backward(cx, c->dx[0], s.per_image ? c->dx[1] : c->dparam[0],
                                bias < 0 ? NULL : c->dparam[bias], c->dy, c->x[0], c->keep,
                                s.per_image ? c->x[1] : c->param[0],
                                bias < 0 ? NULL : c->param[bias], &s, c->add[0], c->add[1]);
}

/* mu ~ U(0.2, 0.8), alpha = beta = 1.5, gamma = 0, logits 0; a table begins at 1. */
static void lsnni_init_smooth(const lsnn_layer_plan *p, int i, lsnn_real *v, lsnn_rng *rng)
{
    static const double start[LSNNI_NUMBERS] = { 0.2, 0.2, 1.5, 1.5, 0 };
    lsnn_smoother s = lsnni_smoother_of(p, 1, 0);
    const lsnni_family *f = &lsnni_families[s.shape];
    int is_theta = p->inputs == 1 && i == 0, stride = lsnni_stride(&s);
    for (size_t j = 0; j < p->param[i].count; j++) {
        int part = stride ? (int)(j % (size_t)stride) : 0;
        int number = part < f->count ? f->number[part] : LSNNI_GAMMA;
        double random = is_theta && stride && number < LSNNI_ALPHA
            ? 0.6 * lsnn_rng_uniform(rng) : 0;
        v[j] = LSNNI_R(!is_theta ? 0 : stride ? start[number] + random : 1);
    }
}

static const lsnn_layer_type lsnni_smooth_type = {
    "smooth", "lr_factor freeze no_bias smooth_shape normalise rank mixture smooth_bias", 1, 2,
    LSNN_DX_IN_PLACE | LSNN_Y_FREE | LSNN_BLOCKS | LSNN_REHEARSES,
    lsnni_plan_smooth, lsnni_forward_smooth, lsnni_backward_smooth, lsnni_init_smooth, NULL
};

LSNN_API int lsnn_smooth(lsnn_net *net, int a, int theta, const lsnn_options *o)
{
    int x[2];
    x[0] = a;
    x[1] = theta;
    return lsnn_layer(net, &lsnni_smooth_type, x, theta == LSNN_FREE ? 1 : 2, o);
}

/* The library's layer types. A new one is a file above and a line here.      */
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
    &lsnni_dsc_dense_type, &lsnni_dsc_conv2d_type, &lsnni_dsc_local2d_type,
    &lsnni_dsc_loss_type, &lsnni_dsc_lateral_type,
    &lsnni_smooth_type
};

/* ============================================================================
   >>net  a graph of layers: shapes, memory, forward, backward
   ==========================================================================*/
typedef struct lsnni_param {
    char *name;                      /* "conv2d1.weight"                      */
    lsnn_param_spec spec;
    size_t at;                       /* offset in the block                   */
    double lr_factor;                /* 0: frozen                             */
    int decay, owner;                /* owner: the node that draws it         */
    int index;                       /*   as its parameter number `index`     */
} lsnni_param;

/* What planning finds out about a node: see plan.h, chapter by chapter.       */
typedef struct lsnni_role {
    int readable;                    /* kept, the net's output, a loss's input or output */
    int on_path, live;               /* the net's output, or a readable one, depends on it */
    int needs_grad;                  /* it, or what it reads, has a parameter that learns */
    int readers, last_reader;        /* nodes that read it                    */
    int apart;                       /* a join that is not made: its readers read its parts */
    int blocks, both;                /* its arrays are blocks of images; some reader takes */
                                     /*   the other layout, which is made beside it */
    int y_at, dy_at;                 /* the node in whose place its output lies, its */
                                     /*   gradient: others where it works in place */
    int forward_by, backward_by;     /* the node whose call does its work: a neighbour on */
                                     /*   the way, or itself                  */
    int does, writes;                /* LSNN_DO_...; the node whose output its call writes */
} lsnni_role;

typedef struct lsnni_node {
    const lsnn_layer_type *type;
    char *name, *share, *table;      /* the caller's strings, copied          */
    lsnn_layer_plan plan;            /* as it runs: a crop makes `out` smaller, and a reader */
    int input[LSNN_MAX_INPUTS];      /*   of parts has those in place of its input */
    int joined;                      /* that input, or -1                     */
    lsnn_shape shape;                /* the output's, before a crop           */
    int param[LSNN_MAX_PARAMS], buffer[LSNN_MAX_PARAMS];
    lsnni_role role;
} lsnni_node;

struct lsnn_net {
    lsnn_ctx *cx;
    lsnni_node *node;
    lsnni_param *param, *buffer;
    int nodes, params, buffers, node_room, param_room, buffer_room;
    size_t param_size, buffer_size;  /* of the blocks                         */
    lsnn_real *value, *grad, *state; /* parameters, gradients, buffers        */
    int built, failed, batch, predict_only, output;
    lsnn_status why;                 /* of the first layer that could not be made */
    int max_lanes;                   /* a block of more images would be too large */
    uint64_t seed;
    uint32_t version;                /* counts changes of the parameters      */
    uint32_t steps;                  /* of the last optimizer                 */
    int profile;
    lsnn_work *work;
};

/* One call of a step. All that stays the same from batch to batch is filled in. */
typedef struct lsnni_step {
    int node;                        /* whose forward or backward this is     */
    int turns;                       /* 1: no call; an array of its goes from one layout */
    int back, add;                   /*   to the other: `from` to `to`, as lsnn_interleave */
    lsnn_real *to;                   /*   has it                              */
    const lsnn_real *from;           /* NULL: the batch's own images          */
    lsnn_call call;                  /* x[j] NULL: the batch's own images     */
    double seconds, images;          /* what it has cost, for how many: lsnn_net_profile */
} lsnni_step;
typedef struct lsnni_schedule {
    lsnni_step *forward, *backward;  /* in the order in which they run        */
    int forwards, backwards;
} lsnni_schedule;

struct lsnn_work {
    lsnn_ctx *cx;
    const lsnn_net *net;
    int batch, train, n;             /* n: images of the last forward, 0: none */
    int ready, done;                 /* 1 after a training forward; after a backward */
    int all;                         /* the last forward ran more than the output needs */
    int chunk;                       /* images that lsnn_work_predict runs at once */
    int lanes;                       /* of the last batch; 0: all arrays are plain */
    int watch, blamed;               /* 1: forward ends at the first output that is not */
                                     /*   finite, and blames that node        */
    lsnn_real **y, **dy, **keep;     /* one pointer a node, into the block    */
    lsnn_real **z, **dz;             /* y, dy in the other layout             */
    lsnni_schedule schedule[2];      /* of plain arrays, of blocks            */
    int *kept;                       /* one a node, see lsnn_call; of this version of the */
    uint32_t version;                /*   parameters                          */
    char *reached;                   /* one a node: backward gives it a gradient */
    lsnn_real *block;
    lsnn_batch last;
};

/* ---- >>options: one table, so that checking, saving and loading are loops ------*/
typedef struct lsnni_field { const char *name; size_t at; char kind; } lsnni_field;
/* An option is an int or an enum as wide (each has a member ..._INT_), or a double: any other
   does not compile.                                                          */
#define LSNNI_WIDE(name, type)                                                             \
    (0 * sizeof(char[sizeof(((lsnn_options *)0)->name) == sizeof(type) ? 1 : -1]))
#define LSNNI_INT(name)                                                                    \
    { #name, offsetof(lsnn_options, name) + LSNNI_WIDE(name, int), 'i' }
#define LSNNI_REAL(name)                                                                   \
    { #name, offsetof(lsnn_options, name) + LSNNI_WIDE(name, double), 'd' }
static const lsnni_field lsnni_fields[] = {
    LSNNI_INT(keep), LSNNI_INT(init), LSNNI_REAL(init_scale), LSNNI_REAL(lr_factor),
    LSNNI_INT(freeze), LSNNI_INT(no_decay), LSNNI_INT(no_bias), LSNNI_INT(filters),
    LSNNI_INT(kernel_h), LSNNI_INT(kernel_w), LSNNI_INT(stride_h), LSNNI_INT(stride_w),
    LSNNI_INT(padding), LSNNI_INT(pad_top), LSNNI_INT(pad_left), LSNNI_INT(pad_bottom),
    LSNNI_INT(pad_right), LSNNI_REAL(slope), LSNNI_REAL(rate), LSNNI_REAL(momentum),
    LSNNI_REAL(eps), LSNNI_INT(first), LSNNI_INT(count), LSNNI_INT(head),
    LSNNI_REAL(loss_weight), LSNNI_REAL(rubbish), LSNNI_REAL(norm), LSNNI_INT(learn_norm),
    LSNNI_INT(smooth_shape), LSNNI_INT(normalise), LSNNI_INT(rank),
    LSNNI_INT(mixture), LSNNI_INT(smooth_bias),
    LSNNI_REAL(dsc_alpha_max), LSNNI_REAL(dsc_tau), LSNNI_REAL(dsc_xi), LSNNI_REAL(dsc_eta),
    LSNNI_REAL(dsc_theta), LSNNI_REAL(dsc_spread), LSNNI_INT(dsc_silent), LSNNI_INT(dsc_sums),
    LSNNI_REAL(dsc_beta), LSNNI_INT(dsc_places), LSNNI_INT(dsc_maps),
    { "custom0", offsetof(lsnn_options, custom), 'd' },
    { "custom1", offsetof(lsnn_options, custom) + sizeof(double), 'd' },
    { "custom2", offsetof(lsnn_options, custom) + 2 * sizeof(double), 'd' },
    { "custom3", offsetof(lsnn_options, custom) + 3 * sizeof(double), 'd' }
};
enum { LSNNI_FIELDS = (int)(sizeof lsnni_fields / sizeof lsnni_fields[0]) };

static double lsnni_field_get(const lsnn_options *o, const lsnni_field *f)
{
    int i;
    double d;
    if (f->kind == 'i') {
        memcpy(&i, (const char *)o + f->at, sizeof i);
        return i;
    }
    memcpy(&d, (const char *)o + f->at, sizeof d);
    return d;
}

static void lsnni_field_set(lsnn_options *o, const lsnni_field *f, double v)
{
    int i = f->kind == 'i' ? (int)v : 0;
    if (f->kind == 'i') memcpy((char *)o + f->at, &i, sizeof i);
    else memcpy((char *)o + f->at, &v, sizeof v);
}

/* 1 if `word` is one of the words of a list separated by spaces.             */
static int lsnni_listed(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; p && (p = strstr(p, word)) != NULL; p += n)
        if ((p == list || p[-1] == ' ') && (p[n] == 0 || p[n] == ' ')) return 1;
    return 0;
}

/* Every layer reads keep; a field that the type does not read must be zero.  */
static lsnn_status lsnni_options_check(lsnn_ctx *cx, const lsnn_layer_type *type,
                                       const lsnn_options *o)
{
    for (int i = 0; i < LSNNI_FIELDS; i++) {
        double v = lsnni_field_get(o, &lsnni_fields[i]);
        if (!(fabs(v) <= DBL_MAX))
            return lsnni_fail(cx, LSNN_EVALUE, "%s: option %s is not a finite number",
                              type->name, lsnni_fields[i].name);
        if ((v < 0 || v > 0) && strcmp(lsnni_fields[i].name, "keep") != 0 &&
            !lsnni_listed(type->options, lsnni_fields[i].name))
            return lsnni_fail(cx, LSNN_EVALUE, "%s has no option %s (it is %g): it reads %s",
                              type->name, lsnni_fields[i].name, v,
                              type->options && *type->options ? type->options : "none");
    }
    if (o->table && !lsnni_listed(type->options, "table"))
        return lsnni_fail(cx, LSNN_EVALUE, "%s has no option table", type->name);
    if (o->lr_factor < 0 || o->init_scale < 0 || o->loss_weight < 0)
        return lsnni_fail(cx, LSNN_EVALUE, "%s: lr_factor %g, init_scale %g or loss_weight %g is "
                          "negative", type->name, o->lr_factor, o->init_scale, o->loss_weight);
    if ((int)o->init < 0 || o->init > LSNN_INIT_ZERO || (int)o->padding < 0 ||
        o->padding > LSNN_EXPLICIT)
        return lsnni_fail(cx, LSNN_EVALUE, "%s: init %d or padding %d is unknown", type->name,
                          (int)o->init, (int)o->padding);
    if (o->padding != LSNN_EXPLICIT && (o->pad_top || o->pad_left || o->pad_bottom ||
                                        o->pad_right))
        return lsnni_fail(cx, LSNN_EVALUE, "%s: pad_top, pad_left, pad_bottom and pad_right "
                          "are for LSNN_EXPLICIT", type->name);
    return LSNN_OK;
}

/* Names are found by looking at each; a file that lies must not take hours.  */
enum { LSNNI_MAX_NODES = 10000 };

/* The library's layer type of that name, or NULL.                            */
static const lsnn_layer_type *lsnni_type(const char *name)
{
    for (size_t i = 0; i < sizeof lsnni_types / sizeof lsnni_types[0]; i++)
        if (strcmp(lsnni_types[i]->name, name) == 0) return lsnni_types[i];
    return NULL;
}

/* ---- >>building --------------------------------------------------------------------
   lsnn_layer checks a layer and enters it, one of ours as one of yours: all it knows of
   them is their type. lsnn_net_build (at the end) draws the >>first values, plans (see
   >>plan) and rehearses.                                                      */
LSNN_API lsnn_net *lsnn_net_new(lsnn_ctx *cx)
{
    lsnn_net *net = (lsnn_net *)lsnni_alloc(cx, 1, sizeof *net);
    if (!net) return NULL;
    net->cx = cx;
    net->output = -1;
    return net;
}

LSNN_API void lsnn_net_free(lsnn_net *net)
{
    if (!net) return;
    for (int i = 0; i < net->nodes; i++) {
        lsnni_free(net->cx, net->node[i].name);
        lsnni_free(net->cx, net->node[i].share);
        lsnni_free(net->cx, net->node[i].table);
    }
    for (int i = 0; i < net->params; i++) lsnni_free(net->cx, net->param[i].name);
    for (int i = 0; i < net->buffers; i++) lsnni_free(net->cx, net->buffer[i].name);
    lsnn_work_free(net->work);
    lsnni_free(net->cx, net->node);
    lsnni_free(net->cx, net->param);
    lsnni_free(net->cx, net->buffer);
    lsnni_free(net->cx, net->value);
    lsnni_free(net->cx, net->grad);
    lsnni_free(net->cx, net->state);
    lsnni_free(net->cx, net);
}

/* Makes room for one more element in a growing array.                        */
static lsnn_status lsnni_grow(lsnn_ctx *cx, void **array, int used, int *room, size_t size)
{
    void *larger;
    if (used < *room) return LSNN_OK;
    larger = lsnni_alloc(cx, 2 * (size_t)*room + 8, size);
    if (!larger) return LSNN_ENOMEM;
    if (used) memcpy(larger, *array, (size_t)used * size);
    lsnni_free(cx, *array);
    *array = larger;
    *room = 2 * *room + 8;
    return LSNN_OK;
}

LSNN_API int lsnn_net_node(const lsnn_net *net, const char *name)
{
    if (!net || !name) return -1;
    for (int i = 0; i < net->nodes; i++)
        if (net->node[i].name && strcmp(net->node[i].name, name) == 0) return i;
    return -1;
}

static int lsnni_find_param(const lsnni_param *p, int count, const char *name)
{
    for (int i = 0; i < count; i++) if (strcmp(p[i].name, name) == 0) return i;
    return -1;
}

/* A name is what can stand in a file: letters, digits and _ - . /            */
static lsnn_status lsnni_name_check(lsnn_ctx *cx, const char *name)
{
    for (const char *p = name; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
              (*p >= '0' && *p <= '9') || strchr("_-./", *p)))
            return lsnni_fail(cx, LSNN_ENAME, "the name \"%.60s\" of a layer, its type or a "
                              "parameter has a character other than letters, digits and _-./",
                              name);
    if (!*name || strlen(name) > 200)
        return lsnni_fail(cx, LSNN_ENAME, "a layer name has 1 to 200 characters");
    return LSNN_OK;
}

static lsnn_status lsnni_name_node(lsnn_net *net, lsnni_node *v, const char *name)
{
    const lsnn_layer_type *ours = lsnni_type(v->type->name);
    char made[64];
    int number = 0;
    LSNNI_TRY(lsnni_name_check(net->cx, v->type->name));
    if (ours && ours != v->type)
        return lsnni_fail(net->cx, LSNN_ENAME, "'%s' is a layer type of the library: give yours "
                          "another name", ours->name);
    if (name) {
        LSNNI_TRY(lsnni_name_check(net->cx, name));
        if (lsnn_net_node(net, name) >= 0)
            return lsnni_fail(net->cx, LSNN_ENAME, "two layers are called '%.60s'", name);
        if (lsnni_find_param(net->param, net->params, name) >= 0 ||
            lsnni_find_param(net->buffer, net->buffers, name) >= 0)
            return lsnni_fail(net->cx, LSNN_ENAME, "'%.60s' is the name of a parameter", name);
    } else {
        for (int i = 0; i < net->nodes; i++) number += net->node[i].type == v->type;
        do snprintf(made, sizeof made, "%.40s%d", v->type->name, ++number);
        while (lsnn_net_node(net, made) >= 0);
        if (net->nodes == 0) snprintf(made, sizeof made, "%.40s", v->type->name);
        name = made;
    }
    v->name = lsnni_strdup(net->cx, name);
    return v->name ? LSNN_OK : LSNN_ENOMEM;
}

/* Enters one parameter (or buffer) of node v into the table; *index gets its number. */
static lsnn_status lsnni_enter(lsnn_net *net, lsnni_node *v, int i, int is_buffer, int *index)
{
    const lsnn_param_spec *spec = is_buffer ? &v->plan.buffer[i] : &v->plan.param[i];
    const lsnn_options *o = &v->plan.o;
    int *used = is_buffer ? &net->buffers : &net->params;
    size_t length = strlen(v->name) + strlen(spec->name) + 2;
    size_t *block = is_buffer ? &net->buffer_size : &net->param_size;
    lsnni_param *p;
    LSNNI_TRY(lsnni_grow(net->cx, is_buffer ? (void **)&net->buffer : (void **)&net->param,
                         *used, is_buffer ? &net->buffer_room : &net->param_room, sizeof *p));
    p = (is_buffer ? net->buffer : net->param) + *used;
    memset(p, 0, sizeof *p);
    p->name = (char *)lsnni_alloc(net->cx, length, 1);
    if (!p->name) return LSNN_ENOMEM;
    snprintf(p->name, length, "%s.%s", v->name, spec->name);
    *index = (*used)++;              /* freed with the others from here on    */
    if (lsnn_net_node(net, p->name) >= 0)
        return lsnni_fail(net->cx, LSNN_ENAME, "a layer is called '%.60s', like a parameter of "
                          "this one", p->name);
    if (lsnni_find_param(net->param, net->params - !is_buffer, p->name) >= 0 ||
        lsnni_find_param(net->buffer, net->buffers - is_buffer, p->name) >= 0)
        return lsnni_fail(net->cx, LSNN_ENAME, "two parameters or buffers are called '%.60s'",
                          p->name);
    p->spec = *spec;
    p->at = *block;
    p->lr_factor = o->freeze ? 0 : o->lr_factor > 0 ? o->lr_factor : 1;
    p->decay = !spec->no_decay && !o->no_decay;
    p->owner = net->nodes;
    p->index = i;
    *block = lsnni_plus(*block, lsnni_whole_vectors(spec->count));
    return LSNN_OK;
}

/* What a function of a layer's type has answered. One that refuses without a reason (lsnn_fail)
   gets this one: no failure is silent. failures: how many there were before.    */
static lsnn_status lsnni_answer(lsnn_ctx *cx, const lsnn_layer_type *type, const char *function,
                                unsigned failures, lsnn_status s)
{
    if (s == LSNN_OK || cx->failures_ != failures) return s;
    return lsnni_fail(cx, s, "%s: its %s returned %d (%s) and gave no reason: lsnn_fail does",
                      type->name, function, (int)s, lsnn_status_text(s));
}

static lsnn_status lsnni_type_check(lsnn_ctx *cx, const lsnn_layer_type *type)
{
    if (type == &lsnni_input_type || (type && type->name && type->plan && type->forward &&
                                      type->backward)) return LSNN_OK;
    return lsnni_fail(cx, LSNN_EVALUE, "lsnn_layer: the type%s%.60s %s", type ? " " : "",
                      type && type->name ? type->name : "", !type ? "is NULL" :
                      "needs a name, plan, forward and backward");
}

/* The sizes of a parameter or buffer; its count follows from them, or must agree. */
static lsnn_status lsnni_spec_check(lsnn_ctx *cx, const lsnn_layer_type *type,
                                    lsnn_param_spec *s)
{
    size_t count = 1;
    if (!s->name)
        return lsnni_fail(cx, LSNN_EVALUE, "%s: a parameter or buffer has no name", type->name);
    LSNNI_TRY(lsnni_name_check(cx, s->name));
    if (s->rank < 0 || s->rank > 4)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: %.60s has rank %d, it must be 0 to 4",
                          type->name, s->name, s->rank);
    for (int d = 0; d < 4; d++) {
        if (d >= s->rank) s->dim[d] = 0;
        else if (s->dim[d] < 1)
            return lsnni_fail(cx, LSNN_ESHAPE, "%s: size %d of %.60s is %d, it must be positive",
                              type->name, d + 1, s->name, s->dim[d]);
        else count = lsnni_times(count, (size_t)s->dim[d]);
    }
    if (count > INT32_MAX / 4)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: %.4g numbers of %.60s are over 2^29",
                          type->name, (double)count, s->name);
    if (s->count && s->count != count)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: %.60s has a count of %.0f, but its sizes make "
                          "%.0f: leave count at 0", type->name, s->name, (double)s->count,
                          (double)count);
    s->count = count;
    return LSNN_OK;
}

/* What plan has filled in, of the library's types and of yours: everything that running
   trusts is checked here. given: what it was given.                          */
static lsnn_status lsnni_plan_check(lsnn_ctx *cx, const lsnn_layer_type *type,
                                    lsnn_layer_plan *p, const lsnn_layer_plan *given)
{
    int out[3], keep[3];
    out[0] = p->out.c; out[1] = p->out.h; out[2] = p->out.w;
    keep[0] = p->keep_shape.c; keep[1] = p->keep_shape.h; keep[2] = p->keep_shape.w;
    if (p->inputs != given->inputs || memcmp(p->in, given->in, sizeof p->in) ||
        (p->traits & ~type->traits))
        return lsnni_fail(cx, LSNN_EVALUE, "%s: its plan has changed inputs or in, or added "
                          "traits: they are given", type->name);
    if (type != &lsnni_input_type)
        LSNNI_TRY(lsnni_sizes(cx, "its output (channels x rows x columns)", 3, out));
    if ((double)out[0] * out[1] * out[2] > INT32_MAX / 4)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: an output of %dx%dx%d has over 2^29 numbers",
                          type->name, out[0], out[1], out[2]);
    if (p->params < 0 || p->params > LSNN_MAX_PARAMS || p->buffers < 0 ||
        p->buffers > LSNN_MAX_PARAMS)
        return lsnni_fail(cx, LSNN_EVALUE, "%s: %d parameters and %d buffers: a layer has at "
                          "most %d of each", type->name, p->params, p->buffers,
                          (int)LSNN_MAX_PARAMS);
    for (int i = 0; i < p->params; i++) LSNNI_TRY(lsnni_spec_check(cx, type, &p->param[i]));
    for (int i = 0; i < p->buffers; i++) LSNNI_TRY(lsnni_spec_check(cx, type, &p->buffer[i]));
    if (p->reads_h || p->reads_w)
        if (p->reads_h < 1 || p->reads_h > p->in[0].h || p->reads_w < 1 ||
            p->reads_w > p->in[0].w)
            return lsnni_fail(cx, LSNN_ESHAPE, "%s: reads_h %d, reads_w %d of an input of "
                              "%d x %d", type->name, p->reads_h, p->reads_w, p->in[0].h,
                              p->in[0].w);
    if (!p->keep_name) return LSNN_OK;
    LSNNI_TRY(lsnni_name_check(cx, p->keep_name));
    LSNNI_TRY(lsnni_sizes(cx, p->keep_name, 3, keep));
    if (lsnni_times(lsnni_area(keep[0], keep[1]), (size_t)keep[2]) >
        (p->keep_fixed ? p->keep_fixed : p->keep_per_image))
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: keep_shape %dx%dx%d has more numbers than are "
                          "kept", type->name, keep[0], keep[1], keep[2]);
    return LSNN_OK;
}

/* Parameters of another layer of the same type and shapes.                   */
static lsnn_status lsnni_share(lsnn_net *net, lsnni_node *v, const char *name)
{
    int other = lsnn_net_node(net, name);
    const lsnni_node *u = other < 0 ? NULL : &net->node[other];
    if (!u) return lsnni_fail(net->cx, LSNN_ENAME, "share: no layer is called '%.60s'", name);
    if (u->type != v->type || u->plan.params != v->plan.params ||
        u->plan.buffers != v->plan.buffers)
        return lsnni_fail(net->cx, LSNN_ESHAPE,
                          "share: '%.60s' is a %s with %d parameters, this is "
                          "a %s with %d", name, u->type->name, u->plan.params, v->type->name,
                          v->plan.params);
    if (v->plan.o.smooth_shape != u->plan.o.smooth_shape ||
        v->plan.o.mixture != u->plan.o.mixture || v->plan.o.normalise != u->plan.o.normalise)
        return lsnni_fail(net->cx, LSNN_EVALUE, "share: '%.60s' has another smooth_shape, "
                          "mixture or normalise: its theta means something else", name);
    if (v->table && strcmp(v->table, u->table) != 0)
        return lsnni_fail(net->cx, LSNN_EVALUE, "share: '%.60s' has another table", name);
    if (v->plan.o.freeze || v->plan.o.no_decay || v->plan.o.lr_factor > 0)
        return lsnni_fail(net->cx, LSNN_EVALUE, "share: freeze, no_decay and lr_factor are "
                          "for '%.60s' to set, whose parameters these are", name);
    for (int i = 0; i < v->plan.buffers; i++)
        if (u->plan.buffer[i].count != v->plan.buffer[i].count)
            return lsnni_fail(net->cx, LSNN_ESHAPE, "share: the buffers of '%.60s' are of "
                              "other sizes", name);
    for (int i = 0; i < v->plan.params; i++)
        for (int d = 0; d < 4; d++)
            if (u->plan.param[i].dim[d] != v->plan.param[i].dim[d])
                return lsnni_fail(net->cx, LSNN_ESHAPE,
                                  "share: size %d of parameter %s of '%.60s' is "
                                  "%d, here it is %d", d + 1, v->plan.param[i].name, name,
                                  u->plan.param[i].dim[d], v->plan.param[i].dim[d]);
    memcpy(v->param, u->param, sizeof v->param);
    memcpy(v->buffer, u->buffer, sizeof v->buffer);
    v->share = lsnni_strdup(net->cx, name);
    return v->share ? LSNN_OK : LSNN_ENOMEM;
}

static lsnn_status lsnni_layer(lsnn_net *net, lsnni_node *v, const int *x, int count,
                               const lsnn_options *o)
{
    lsnn_ctx *cx = net->cx;
    lsnn_layer_plan given;
    unsigned failures;
    if (count < v->type->min_inputs || count > v->type->max_inputs || count > LSNN_MAX_INPUTS)
        return lsnni_fail(cx, LSNN_EVALUE, "%s takes %d to %d inputs, not %d", v->type->name,
                          v->type->min_inputs,
                          LSNNI_MIN(v->type->max_inputs, LSNN_MAX_INPUTS), count);
    if (count > 0 && !x)
        return lsnni_fail(cx, LSNN_EVALUE, "%s: its %d inputs are NULL", v->type->name, count);
    for (int i = 0; i < count; i++) {
        if (x[i] < 0 || x[i] >= net->nodes)
            return lsnni_fail(cx, LSNN_EVALUE, "%s: input %d is node %d, there are %d",
                              v->type->name, i + 1, x[i], net->nodes);
        if (net->node[x[i]].plan.traits & LSNN_IS_LOSS)
            return lsnni_fail(cx, LSNN_EVALUE,
                              "%s: input %d is the loss '%.60s', which ends a path",
                              v->type->name, i + 1, net->node[x[i]].name);
        v->input[i] = x[i];
        v->plan.in[i] = net->node[x[i]].shape;
    }
    v->plan.inputs = count;
    LSNNI_TRY(lsnni_name_node(net, v, o ? o->name : NULL));
    cx->where_ = v->name;
    if (o) v->plan.o = *o;
    LSNNI_TRY(lsnni_options_check(cx, v->type, &v->plan.o));
    if (o && o->table) {
        v->plan.o.table = v->table = lsnni_strdup(cx, o->table);
        if (!v->table) return LSNN_ENOMEM;
    }
    v->plan.traits = v->type->traits;
    given = v->plan;
    failures = cx->failures_;
    LSNNI_TRY(lsnni_answer(cx, v->type, "plan", failures, v->type->plan(cx, &v->plan)));
    LSNNI_TRY(lsnni_plan_check(cx, v->type, &v->plan, &given));
    v->shape = v->plan.out;
    if (o && o->share) return lsnni_share(net, v, o->share);
    for (int i = 0; i < v->plan.params; i++)
        LSNNI_TRY(lsnni_enter(net, v, i, 0, &v->param[i]));
    for (int i = 0; i < v->plan.buffers; i++)
        LSNNI_TRY(lsnni_enter(net, v, i, 1, &v->buffer[i]));
    return LSNN_OK;
}

LSNN_API int lsnn_layer(lsnn_net *net, const lsnn_layer_type *type, const int *x, int count,
                        const lsnn_options *o)
{
    lsnni_node *v;
    int params, buffers;
    if (!net || net->failed) return -1;
    if (net->built) {
        lsnni_fail(net->cx, LSNN_ESTATE, "%s: the net is built, no layer can be added",
                   type && type->name ? type->name : "lsnn_layer");
        return -1;
    }
    net->failed = 1;                 /* until this call has succeeded         */
    params = net->params;
    buffers = net->buffers;
    net->why = lsnni_type_check(net->cx, type);
    if (net->why == LSNN_OK && !net->nodes && type != &lsnni_input_type)
        net->why = lsnni_fail(net->cx, LSNN_ESTATE, "%s: a net begins with lsnn_input",
                              type->name);
    if (net->why == LSNN_OK && net->nodes >= LSNNI_MAX_NODES)
        net->why = lsnni_fail(net->cx, LSNN_ESHAPE, "%s: a net has at most %d layers",
                              type->name, (int)LSNNI_MAX_NODES);
    if (net->why == LSNN_OK)
        net->why = lsnni_grow(net->cx, (void **)&net->node, net->nodes, &net->node_room,
                              sizeof *v);
    if (net->why != LSNN_OK) return -1;
    v = net->node + net->nodes;
    memset(v, 0, sizeof *v);
    v->type = type;
    v->joined = -1;
    net->why = lsnni_layer(net, v, x, count, o);
    net->cx->where_ = NULL;
    if (net->why != LSNN_OK) {
        while (net->params > params) lsnni_free(net->cx, net->param[--net->params].name);
        while (net->buffers > buffers) lsnni_free(net->cx, net->buffer[--net->buffers].name);
        lsnni_free(net->cx, v->name);
        lsnni_free(net->cx, v->share);
        lsnni_free(net->cx, v->table);
        return -1;
    }
    v->plan.o.name = v->plan.o.share = NULL;             /* the caller's strings */
    net->failed = 0;
    return net->nodes++;
}

LSNN_API int lsnn_input(lsnn_net *net, int c, int h, int w)
{
    int node;
    if (!net || net->failed) return -1;
    if (net->nodes) {
        net->failed = !net->built;
        net->why = lsnni_fail(net->cx, LSNN_ESTATE,
                              "a net has one input, made first; lsnn_slice parts it");
        return -1;
    }
    net->failed = 1;
    net->why = (double)c * h * w > INT32_MAX / 4 ?
        lsnni_fail(net->cx, LSNN_ESHAPE, "an input of %dx%dx%d has over 2^29 numbers", c, h, w) :
        lsnni_sizes3(net->cx, "input", c, h, w);
    if (net->why != LSNN_OK) return -1;
    net->failed = 0;
    node = lsnn_layer(net, &lsnni_input_type, NULL, 0, NULL);
    if (node < 0) return -1;
    net->node[0].plan.out.c = c;
    net->node[0].plan.out.h = h;
    net->node[0].plan.out.w = w;
    net->node[0].shape = net->node[0].plan.out;
    return node;
}

/* ---- >>first values: weights by He (normal, variance 2 / fan_in) or Glorot (uniform,
   variance 2 / (fan_in + fan_out)), the rest as the layer says.              */
static void lsnni_init_param(const lsnn_net *net, const lsnni_param *p, lsnn_real *v)
{
    const lsnni_node *owner = &net->node[p->owner];
    lsnn_rng r = lsnn_rng_at(net->seed, "init", p->name, 0, 0);
    lsnn_init kind = owner->plan.o.init;
    double scale = owner->plan.o.init_scale > 0 ? owner->plan.o.init_scale : 1;
    double he = sqrt(2.0 / LSNNI_MAX(1, p->spec.fan_in));
    double glorot = sqrt(6.0 / LSNNI_MAX(1, p->spec.fan_in + p->spec.fan_out));
    if (owner->type->init) {
        owner->type->init(&owner->plan, p->index, v, &r);
        return;
    }
    for (size_t i = 0; i < p->spec.count; i++) {
        double d = p->spec.value;
        if (p->spec.fan_in > 0 && kind == LSNN_INIT_HE) d = scale * he * lsnn_rng_normal(&r);
        else if (p->spec.fan_in > 0 && kind == LSNN_INIT_GLOROT)
            d = scale * glorot * (2 * lsnn_rng_uniform(&r) - 1);
        v[i] = LSNNI_R(d);
    }
}

LSNN_API void lsnn_net_set_output(lsnn_net *net, int node)
{
    if (!net || net->failed) return;
    if (!net->built && node >= 0 && node < net->nodes) net->output = node;
    else {
        net->why = lsnni_fail(net->cx, net->built ? LSNN_ESTATE : LSNN_EVALUE,
                              "lsnn_net_set_output: node %d of %d%s", node, net->nodes,
                              net->built ? ", and the net is built" : "");
        net->failed = !net->built;
    }
}

LSNN_API size_t lsnn_net_params(const lsnn_net *net)
{
    if (!net) return 0;
    size_t total = 0;
    for (int i = 0; i < net->params; i++)
        total = lsnni_plus(total, net->param[i].spec.count);
    return total;
}

LSNN_API double lsnn_net_macs(const lsnn_net *net)
{
    if (!net) return 0;
    double total = 0;
    for (int i = 0; i < net->nodes; i++) total += net->node[i].plan.macs;
    return total;
}

LSNN_API lsnn_shape lsnn_net_shape(const lsnn_net *net, int node)
{
    lsnn_shape none = { 0, 0, 0 };
    return net && node >= 0 && node < net->nodes ? net->node[node].shape : none;
}

LSNN_API int lsnn_net_output(const lsnn_net *net) { return net ? net->output : -1; }

/* "14400 + 576 by 25 + 1": what units are connected with, their inputs + their biases, by how
   many weights + biases.                                                     */
enum { LSNNI_NOTE = 112 };
static void lsnni_connections_note(const lsnn_layer_plan *p, char text[LSNNI_NOTE])
{
    char number[2 + LSNN_MAX_PARAMS][LSNNI_NOTE / 6];
    memset(number, 0, sizeof number);
    text[0] = 0;
    if (!(p->connections[0] + p->connections[1] > 0)) return;
    snprintf(number[0], sizeof number[0], "%.0f", p->connections[0]);
    if (p->connections[1] > 0) snprintf(number[1], sizeof number[1], "%.0f", p->connections[1]);
    for (int j = 0; j < p->params; j++)
        snprintf(number[2 + j], sizeof number[0], "%.0f", (double)p->param[j].count);
    snprintf(text, LSNNI_NOTE, "%s%s%s%s%s%s%s", number[0], *number[1] ? " + " : "", number[1],
             *number[2] ? " by " : "", number[2], *number[3] ? " + " : "", number[3]);
}

/* How the net runs a layer.                                                  */
static void lsnni_role_note(const lsnn_net *net, int i, char text[LSNNI_NOTE])
{
    const lsnni_node *v = &net->node[i];
    size_t n = LSNNI_NOTE;
    text[0] = 0;
    if (v->share) snprintf(text, n, "parameters of %.60s", v->share);
    else if (!net->built) ;
    else if (!v->role.live) snprintf(text, n, "not made");
    else if (v->role.backward_by != i)
        snprintf(text, n, "done by %.60s", net->node[v->role.backward_by].name);
    else if (v->role.writes != i)
        snprintf(text, n, "pools to %.60s", net->node[v->role.writes].name);
    else if (v->role.y_at != i) snprintf(text, n, "in place");
    if (v->role.blocks && v->role.backward_by == i)
        snprintf(text + strlen(text), n - strlen(text), "%sin blocks", *text ? ", " : "");
    if (v->shape.h != v->plan.out.h || v->shape.w != v->plan.out.w)
        snprintf(text + strlen(text), n - strlen(text), "%sonly %d x %d", *text ? ", " : "",
                 v->plan.out.h, v->plan.out.w);
}

LSNN_API void lsnn_net_summary(const lsnn_net *net, FILE *out)
{
    double connections = 0;
    if (!net) return;
    fprintf(out, "%-18s %-14s %-16s %12s %14s  %s\n", "layer", "type", "output", "parameters",
            "multiply-adds", "connections");
    for (int i = 0; i < net->nodes; i++) {
        const lsnni_node *v = &net->node[i];
        size_t count = 0;
        char shape[48], connected[LSNNI_NOTE], role[LSNNI_NOTE];
        for (int j = 0; j < v->plan.params; j++) count += v->plan.param[j].count;
        for (int j = 0; j < 2; j++) connections += v->plan.connections[j];
        snprintf(shape, sizeof shape, "%d x %d x %d", v->shape.c, v->shape.h, v->shape.w);
        lsnni_connections_note(&v->plan, connected);
        lsnni_role_note(net, i, role);
        fprintf(out, "%-18s %-14s %-16s %12.0f %14.0f", v->name, v->type->name, shape,
                v->share ? 0.0 : (double)count, v->plan.macs);
        if (*role) fprintf(out, "  %-30s  %s\n", connected, role);
        else fprintf(out, "%s%s\n", *connected ? "  " : "", connected);
    }
    fprintf(out, "%-18s %-14s %-16s %12.0f %14.0f  %.0f\n", "total", "", "",
            (double)lsnn_net_params(net), lsnn_net_macs(net), connections);
}

/* ============================================================================
   >>plan  what lsnn_net_build finds out about a net, and the schedule that comes of it
   Each chapter fills in a part of the nodes' roles (lsnni_role) from what the layers' types
   say of themselves (their traits): which joins are not made (>>parts), which arrays are
   blocks of images (>>layout), who needs what (>>use), who works in place (>>in place),
   which pixels nobody reads (>>crop), what a neighbour does on the way (>>fusion). Then each
   workspace gets its memory (>>memory plan), and a list of calls for each layout
   (>>schedule), which running only walks.
   ==========================================================================*/

static int lsnni_has(const lsnni_node *v, int trait) { return (v->plan.traits & trait) != 0; }

/* ---- >>parts: joins that need not be made ----------------------------------------------
   A concat that only batch normalisations read, or concats like it, is not made: they read
   its parts one by one, since they go channel by channel anyway. So a densely connected
   block copies nothing, where making each concat would copy all layers before it.
   parts_of lists the parts of node i, those of its own unmade parts among them, and returns
   how many; part NULL: only counts, and takes every join among its inputs for unmade. */
static int lsnni_parts_of(const lsnn_net *net, int i, int *part, int count)
{
    const lsnni_node *v = &net->node[i];
    for (int j = 0; j < v->plan.inputs && count <= LSNN_MAX_INPUTS; j++) {
        const int x = v->input[j];
        const int unmade = lsnni_has(&net->node[x], LSNN_JOINS) &&
            (!part || net->node[x].role.apart);
        if (unmade) count = lsnni_parts_of(net, x, part, count);
        else if (part) part[count++] = x;
        else count++;
    }
    return count;
}

/* 1 if all who read node i can read its parts, and somebody does.             */
static int lsnni_read_in_parts(const lsnn_net *net, int i)
{
    int readers = 0;
    for (int k = i + 1; k < net->nodes; k++)
        for (int j = 0; j < net->node[k].plan.inputs; j++)
            if (net->node[k].input[j] == i) {
                readers++;
                if (!lsnni_has(&net->node[k], LSNN_READS_PARTS) && !net->node[k].role.apart)
                    return 0;
            }
    return readers > 0;
}

static void lsnni_plan_parts(lsnn_net *net)
{
    int part[LSNN_MAX_INPUTS];
    for (int i = net->nodes - 1; i > 0; i--) {           /* a join's readers before it */
        lsnni_node *v = &net->node[i];
        v->role.apart = lsnni_has(v, LSNN_JOINS) && !v->plan.o.keep && i != net->output &&
            lsnni_read_in_parts(net, i) && lsnni_parts_of(net, i, NULL, 0) <= LSNN_MAX_INPUTS;
    }
    for (int i = 1; i < net->nodes; i++) {
        lsnni_node *v = &net->node[i];
        if (!lsnni_has(v, LSNN_READS_PARTS) || !net->node[v->input[0]].role.apart) continue;
        v->joined = v->input[0];                         /* what the file says it reads */
        v->plan.inputs = lsnni_parts_of(net, v->joined, part, 0);
        for (int j = 0; j < v->plan.inputs; j++) {
            v->input[j] = part[j];
            v->plan.in[j] = net->node[part[j]].plan.out;
        }
    }
}

/* ---- >>layout: which arrays are blocks of images ---------------------------------------
   Convolutions, locally connected layers, poolings and smoothers run on blocks of images
   (LSNN_BLOCKS, see >>lanes); what works number by number or channel by channel follows
   what it is given (LSNN_BLOCKS_ALL); dense, softmax, losses and, unless they say otherwise,
   types of your own take plain arrays. An output that is wanted both ways exists both ways,
   and so does its gradient: y and dy as its own layer has them, z and dz in the other layout.
   This is decided once. A batch that is not made of whole blocks runs on plain arrays
   throughout, so each workspace has two schedules.                           */
static int lsnni_wants_blocks(const lsnni_node *v, int input)
{
    return v->role.blocks && (lsnni_has(v, LSNN_BLOCKS_ALL) || input == 0);
}

static void lsnni_plan_layout(lsnn_net *net)
{
    net->max_lanes = INT32_MAX;
    for (int i = 0; i < net->nodes; i++) {
        lsnni_node *v = &net->node[i];
        v->role.blocks = lsnni_has(v, LSNN_BLOCKS);
        for (int j = 0; j < v->plan.inputs && lsnni_has(v, LSNN_BLOCKS_ALL); j++)
            if (net->node[v->input[j]].role.blocks) v->role.blocks = 1;
        for (int j = 0; j < v->plan.inputs; j++) {
            lsnni_role *u = &net->node[v->input[j]].role;
            if (u->blocks != lsnni_wants_blocks(v, j)) u->both = 1;
        }
        /* places within a block are 32-bit numbers */
        net->max_lanes = LSNNI_MIN(net->max_lanes, INT32_MAX / lsnni_features(v->plan.out));
    }
}

/* The lanes of a batch of n images: 0 for plain arrays.                      */
static int lsnni_lanes_for(const lsnn_work *w, int n)
{
    int lanes = lsnn_lanes(w->cx);
    return lanes > 1 && lanes <= w->net->max_lanes && n % lanes == 0 ? lanes : 0;
}

/* ---- >>use: who needs what ---------------------------------------------------------------
   From the end backward: an output that can be read (readable) needs what it depends on
   (live), and so does the net's own output (on_path: all that a prediction runs). From the
   beginning forward: who reads whom, and which nodes a gradient must reach: those that have,
   or depend on, a parameter that learns. What is above all parameters needs none. */
static void lsnni_plan_use(lsnn_net *net)
{
    for (int i = 0; i < net->nodes; i++) {
        lsnni_node *v = &net->node[i];
        int loss = lsnni_has(v, LSNN_IS_LOSS);
        if (v->plan.o.keep || i == net->output || loss) v->role.readable = 1;
        for (int j = 0; j < v->plan.inputs && loss; j++)
            net->node[v->input[j]].role.readable = 1;
        v->role.on_path = i == net->output;
    }
    for (int i = net->nodes - 1; i >= 0; i--) {
        lsnni_node *v = &net->node[i];
        v->role.live |= v->role.readable;
        for (int j = 0; j < v->plan.inputs; j++) {
            net->node[v->input[j]].role.on_path |= v->role.on_path;
            net->node[v->input[j]].role.live |= v->role.live;
        }
    }
    for (int i = 0; i < net->nodes; i++) {
        lsnni_node *v = &net->node[i];
        v->role.last_reader = i;                         /* until somebody reads it */
        for (int j = 0; j < v->plan.params; j++)
            if (net->param[v->param[j]].lr_factor > 0) v->role.needs_grad = 1;
        for (int j = 0; j < v->plan.inputs && v->role.live; j++) {
            lsnni_role *u = &net->node[v->input[j]].role;
            u->readers++;
            u->last_reader = i;
            v->role.needs_grad |= u->needs_grad;
        }
    }
}

/* Nobody but its one reader sees node i's output: it may be changed on the way. */
static int lsnni_private(const lsnn_net *net, int i)
{
    return i > 0 && net->node[i].role.readers == 1 && !net->node[i].role.readable;
}

/* ---- >>in place: outputs that take their input's place -----------------------------------
   A layer may write over its input if that is private, of the same size and layout, and its
   maker's backward does not need it any more. Their gradients share a place likewise, and a
   kept gradient may not be overwritten.                                      */
static void lsnni_plan_in_place(lsnn_net *net, int train)
{
    for (int i = 0; i < net->nodes; i++) {
        lsnni_node *v = &net->node[i];
        int x = i > 0 ? v->input[0] : 0, kept = v->plan.o.keep;
        const lsnni_node *u = &net->node[x];
        v->role.y_at = v->role.dy_at = i;
        if (!v->role.live || !lsnni_private(net, x) || u->role.both ||
            lsnni_features(u->plan.out) != lsnni_features(v->plan.out)) continue;
        if (lsnni_has(v, LSNN_IN_PLACE) && v->plan.inputs == 1 &&
            (!train || (lsnni_has(u, LSNN_Y_FREE) && !kept))) {
            v->role.y_at = u->role.y_at;
            v->role.dy_at = u->role.dy_at;
        }
        if (lsnni_has(v, LSNN_DX_IN_PLACE) && !kept) v->role.dy_at = u->role.dy_at;
    }
}

/* ---- >>crop: pixels that nobody reads are not computed -------------------------------------
   Of maps of 15 x 15 under windows of 2 x 2 the last row and column are left out, an eighth
   of the convolution's work. Between the two may be relus.                   */
static void lsnni_plan_crop(lsnn_net *net)
{
    for (int k = 1; k < net->nodes; k++) {
        lsnn_layer_plan *p = &net->node[k].plan;
        lsnn_shape read = p->in[0];
        int x = net->node[k].input[0], maker = x;
        if (!net->node[k].role.live || !p->reads_h) continue;
        read.h = p->reads_h;
        read.w = p->reads_w;
        while (lsnni_has(&net->node[maker], LSNN_IS_RELU) && lsnni_private(net, maker))
            maker = net->node[maker].input[0];
        if (!lsnni_has(&net->node[maker], LSNN_CROPS) || !lsnni_private(net, maker)) continue;
        p->in[0] = read;
        for (; x > maker; x = net->node[x].input[0])
            net->node[x].plan.out = net->node[x].plan.in[0] = read;
        net->node[maker].plan.out = read;
    }
}

/* ---- >>fusion: what a neighbour does on the way --------------------------------------------
   A relu in place is left out where a neighbour can do it while the numbers are at hand.
   max(relu(x)) = relu(max(x)), so a max pooling that alone reads it applies it to the few
   numbers that it keeps; else the batch normalisation before it does, while a channel is in
   the cache. The neighbour does its backward, too.                           */
static void lsnni_fuse_relu(lsnn_net *net, int relu, int by)
{
    lsnni_role *v = &net->node[relu].role, *w = &net->node[by].role;
    if (!lsnni_has(&net->node[relu], LSNN_IS_RELU) || v->y_at == relu ||
        v->forward_by != relu || v->blocks != w->blocks || !v->live || !w->live) return;
    v->forward_by = v->backward_by = by;
    w->does |= LSNN_DO_RELU;
}

/* A max pooling of 2 x 2 goes with the convolution that it alone reads, perhaps through a
   relu that it does already: the convolution's own output is never written. Backward, both
   do their own.                                                              */
static void lsnni_fuse_max2(lsnn_net *net, int k)
{
    const lsnn_layer_plan *p = &net->node[k].plan;
    int x = net->node[k].input[0];
    lsnni_role *v, *w = &net->node[k].role;
    if (x > 0 && net->node[x].role.forward_by == k) x = net->node[x].input[0];
    v = &net->node[x].role;
    if (!w->live || !lsnni_has(&net->node[k], LSNN_IS_MAX2) ||
        !lsnni_has(&net->node[x], LSNN_MAX2_AFTER) || !lsnni_private(net, x) ||
        v->blocks != w->blocks || v->both ||
        p->in[0].h != 2 * p->out.h || p->in[0].w != 2 * p->out.w) return;
    v->writes = k;
    v->does = LSNN_DO_MAX2 | w->does;
    w->forward_by = x;
}

static void lsnni_plan_fusion(lsnn_net *net)
{
    for (int i = 0; i < net->nodes; i++) {
        lsnni_role *v = &net->node[i].role;
        v->forward_by = v->backward_by = v->writes = i;
    }
    for (int i = 1; i < net->nodes; i++) {
        int x = net->node[i].input[0];
        if (lsnni_has(&net->node[i], LSNN_RELU_BEFORE) && lsnni_private(net, x))
            lsnni_fuse_relu(net, x, i);
    }
    for (int i = 1; i < net->nodes; i++) {
        int x = net->node[i].input[0];
        if (lsnni_has(&net->node[x], LSNN_RELU_AFTER)) lsnni_fuse_relu(net, i, x);
    }
    for (int k = 1; k < net->nodes; k++) lsnni_fuse_max2(net, k);
}

/* ---- >>memory plan: which array lies where ------------------------------------------------
   A life is an array needed from one time to another; from the largest to the smallest,
   each takes the lowest place that is free for its whole life. Forward of node i is at
   time i, its backward at 2 nodes - i. An output lives as long as a reader, or backward,
   needs it.                                                                  */
typedef struct lsnni_life {
    size_t size, at;
    int from, to, placed;
    struct lsnni_life *next;         /* of those placed, the next higher one  */
} lsnni_life;

static size_t lsnni_place_lives(lsnni_life *life, int count)
{
    lsnni_life *lowest = NULL;
    size_t total = 0;
    for (;;) {
        lsnni_life *a = NULL, **link = &lowest;
        for (int i = 0; i < count; i++)
            if (!life[i].placed && life[i].size > (a ? a->size : 0)) a = &life[i];
        if (!a) return total;
        for (const lsnni_life *b = lowest; b && b->at < lsnni_plus(a->at, a->size); b = b->next)
            if (b->from <= a->to && a->from <= b->to)
                a->at = LSNNI_MAX(a->at, lsnni_plus(b->at, b->size));
        while (*link && (*link)->at < a->at) link = &(*link)->next;
        a->next = *link;
        *link = a;
        a->placed = 1;
        total = LSNNI_MAX(total, lsnni_plus(a->at, a->size));
    }
}

/* 1 if node k's backward reads its input.                                     */
static int lsnni_backward_reads_x(const lsnni_node *v)
{
    return v->role.live && !lsnni_has(v, LSNN_IN_PLACE) && !lsnni_has(v, LSNN_X_FREE);
}

/* 1 if node i's own backward reads its output: for itself, or for a relu that it does. */
static int lsnni_backward_reads_y(const lsnni_node *v, int i)
{
    int relu = (v->role.does & LSNN_DO_RELU) && lsnni_has(v, LSNN_RELU_AFTER);
    return v->role.backward_by == i && (!lsnni_has(v, LSNN_Y_FREE) || relu);
}

/* When node i's output is needed last.                                        */
static int lsnni_needed(const lsnn_net *net, int i, int train)
{
    const lsnni_node *v = &net->node[i];
    int nodes = net->nodes, last = v->role.last_reader;
    if (v->role.readable) return 2 * nodes + 1;
    if (!train) return last;
    if (lsnni_backward_reads_y(v, i)) last = 2 * nodes - i;
    for (int k = v->role.last_reader; k > i; k--)
        for (int j = 0; j < net->node[k].plan.inputs; j++)
            if (net->node[k].input[j] == i && lsnni_backward_reads_x(&net->node[k]))
                last = LSNNI_MAX(last, 2 * nodes - k);
    return last;
}

/* Lives in groups of one a node: y, z, dy, dz, keep. A node that works in place has no
   y or dy of its own: it lengthens the life of that whose place it takes.    */
static void lsnni_plan_lives(const lsnn_net *net, lsnni_life *life, int batch, int train)
{
    int nodes = net->nodes;
    for (int i = 0; i < nodes; i++) {
        const lsnni_node *v = &net->node[i];
        const lsnni_role *r = &v->role;
        lsnni_life *y = &life[r->y_at], *z = &life[nodes + i];
        lsnni_life *dy = &life[2 * nodes + r->dy_at], *dz = &life[3 * nodes + i];
        int begin = 2 * nodes - r->last_reader, end = 2 * nodes - i;     /* of dy */
        int needed = lsnni_needed(net, i, train);
        int grad = train && r->live && r->needs_grad && !lsnni_has(v, LSNN_IS_LOSS);
        size_t numbers = lsnni_times((size_t)lsnni_features(v->plan.out), (size_t)batch);
        size_t size = lsnni_whole_vectors(numbers);
        if (r->y_at == i) {                              /* node 0's: the caller's */
            y->size = i > 0 && r->live && r->writes == i ? size : 0;
            y->from = r->forward_by;
        }
        y->to = LSNNI_MAX(y->to, needed);
        if (r->dy_at == i) {
            dy->from = begin;
            dy->to = end;
        }
        if (grad) dy->size = size;
        dy->from = LSNNI_MIN(dy->from, begin);
        if (v->plan.o.keep) dy->to = 2 * nodes + 1;
        if (!r->both || !r->live) continue;
        z->size = size;
        z->from = i;
        z->to = needed;
        dz->size = grad ? size : 0;
        dz->from = begin;
        dz->to = end;
    }
}

/* Only to predict: as many images at once as let the arrays that one layer reads and writes
   stay in a last-level cache, but a block at least. Else a whole batch, since its outputs
   are to be read by name.                                                    */
static int lsnni_plan_chunk(const lsnn_work *w)
{
    const double cache = 1 << 24;
    double most = 1, numbers;
    int chunk, lanes = lsnn_lanes(w->cx);
    if (w->train) return w->batch;
    for (int i = 1; i < w->net->nodes; i++) {
        const lsnn_layer_plan *p = &w->net->node[i].plan;
        numbers = lsnni_features(p->out);
        for (int j = 0; j < p->inputs; j++) numbers += lsnni_features(p->in[j]);
        if (numbers > most) most = numbers;
    }
    chunk = (int)LSNNI_MIN(cache / (most * sizeof(lsnn_real)), w->batch);
    return LSNNI_MIN(w->batch, LSNNI_MAX(chunk / lanes, 1) * lanes);
}

/* ---- >>schedule: the calls of a step --------------------------------------------------------
   Which layer is called when, on which arrays, and where an array goes from one layout to
   the other in between: the same for every batch of a layout, so it is written down once.
   Forward: the live nodes in order, but for those whose work a neighbour does. Backward: in
   reverse, those that a gradient reaches; the first to write a gradient sets it, the others
   add. `steps` NULL: only counts.                                            */
static void lsnni_schedule_call(lsnn_work *w, lsnni_step *s, int i, int lanes)
{
    const lsnn_net *net = w->net;
    const lsnni_node *v = &net->node[i];
    lsnn_call *c = &s->call;
    s->node = i;
    c->plan = &v->plan;
    c->lanes = v->role.blocks ? lanes : 0;
    c->does = v->role.does;
    for (int j = 0; j < v->plan.inputs; j++) {
        int x = v->input[j], other = lanes &&
            net->node[x].role.blocks != lsnni_wants_blocks(v, j);
        c->x[j] = other ? w->z[x] : x == 0 ? NULL : w->y[x];
    }
    c->y = w->y[v->role.writes];
    c->keep = w->keep[v->role.writes];
    c->kept = &w->kept[i];
    for (int j = 0; j < v->plan.params; j++)
        c->param[j] = net->value + net->param[v->param[j]].at;
    for (int j = 0; j < v->plan.buffers; j++)
        c->buffer[j] = net->state + net->buffer[v->buffer[j]].at;
}

/* Node i's output from its own layout to the other.                           */
static void lsnni_schedule_turn(lsnn_work *w, lsnni_step *s, int i)
{
    s->node = i;
    s->turns = 1;
    s->to = w->z[i];
    s->from = i ? w->y[i] : NULL;
    s->back = w->net->node[i].role.blocks;
}

static int lsnni_schedule_forward(lsnn_work *w, lsnni_step *steps, int lanes)
{
    int count = 0;
    for (int i = 0; i < w->net->nodes; i++) {
        const lsnni_role *r = &w->net->node[i].role;
        if (!r->live) continue;
        if (i > 0 && r->forward_by == i) {
            if (steps) lsnni_schedule_call(w, &steps[count], i, lanes);
            count++;
        }
        if (lanes && r->both) {
            if (steps) lsnni_schedule_turn(w, &steps[count], i);
            count++;
        }
    }
    return count;
}

/* The gradients that node i's backward writes: dy of its inputs, or dz where it reads them in
   the other layout. has and has_z say which already hold something.          */
static void lsnni_schedule_dx(lsnn_work *w, lsnn_call *c, int i, int lanes, char *has,
                              char *has_z)
{
    const lsnn_net *net = w->net;
    const lsnni_node *v = &net->node[i];
    for (int j = 0; j < v->plan.inputs; j++) {
        int x = v->input[j], other;
        char *held;
        if (!net->node[x].role.needs_grad) continue;
        other = lanes && net->node[x].role.blocks != lsnni_wants_blocks(v, j);
        held = other ? &has_z[x] : &has[x];
        if (c) c->dx[j] = other ? w->dz[x] : w->dy[x];
        if (c) c->add[j] = *held ? LSNN_ADD : LSNN_SET;
        *held = 1;
    }
    for (int j = 0; j < v->plan.params && c; j++)
        if (net->param[v->param[j]].lr_factor > 0)
            c->dparam[j] = net->grad + net->param[v->param[j]].at;
}

/* has: nodes chars, which end as 1 where a gradient arrives; has_z: as many, scratch. */
static int lsnni_schedule_backward(lsnn_work *w, lsnni_step *steps, int lanes, char *has,
                                   char *has_z)
{
    const lsnn_net *net = w->net;
    int count = 0;
    memset(has, 0, (size_t)net->nodes);
    memset(has_z, 0, (size_t)net->nodes);
    for (int i = net->nodes - 1; i > 0; i--) {
        const lsnni_node *v = &net->node[i];
        lsnni_step *s;
        int reached = has[i] || has_z[i] || lsnni_has(v, LSNN_IS_LOSS);
        if (!v->role.live || !v->role.needs_grad || !reached) continue;
        if (has_z[i]) {                                  /* dz of its readers, to dy */
            s = steps ? &steps[count] : NULL;
            if (s) {
                lsnni_schedule_turn(w, s, i);
                s->to = w->dy[i];
                s->from = w->dz[i];
                s->back = !v->role.blocks;
                s->add = has[i];
            }
            count++;
        }
        has[i] = 1;
        s = steps && v->role.backward_by == i ? &steps[count] : NULL;
        if (s) {
            lsnni_schedule_call(w, s, i, lanes);
            s->call.dy = w->dy[i];
        }
        lsnni_schedule_dx(w, s ? &s->call : NULL, i, lanes, has, has_z);
        count += v->role.backward_by == i;
    }
    return count;
}

/* Both layouts' schedules, in one block.                                      */
static lsnn_status lsnni_plan_schedules(lsnn_work *w)
{
    int lanes = lsnni_lanes_for(w, 0), count[2] = { 0, 0 };
    size_t nodes = (size_t)w->net->nodes;
    char *has_z = w->reached + nodes;
    for (int blocks = 0; blocks <= (lanes > 0 && lanes <= w->batch); blocks++) {
        lsnni_schedule *p = &w->schedule[blocks];
        int l = blocks ? lanes : 0;
        count[0] = lsnni_schedule_forward(w, NULL, l);
        count[1] = w->train ? lsnni_schedule_backward(w, NULL, l, w->reached, has_z) : 0;
        p->forward = (lsnni_step *)lsnni_alloc(w->cx, (size_t)count[0] + (size_t)count[1] + 1,
                                               sizeof *p->forward);
        if (!p->forward) return LSNN_ENOMEM;
        p->backward = p->forward + count[0];
        p->forwards = lsnni_schedule_forward(w, p->forward, l);
        if (w->train)
            p->backwards = lsnni_schedule_backward(w, p->backward, l, w->reached, has_z);
    }
    return LSNN_OK;
}

/* ---- >>workspaces: what one thread needs to run a net -----------------------------------------*/
LSNN_API void lsnn_work_free(lsnn_work *w)
{
    if (!w) return;
    for (int l = 0; l < 2; l++) lsnni_free(w->cx, w->schedule[l].forward);
    lsnni_free(w->cx, w->y);
    lsnni_free(w->cx, w->block);
    lsnni_free(w->cx, w);
}

/* The tables of a node each, in one block: five of pointers, one of ints, two of chars. */
static lsnn_status lsnni_work_tables(lsnn_work *w)
{
    size_t nodes = (size_t)w->net->nodes;
    w->y = (lsnn_real **)lsnni_alloc(w->cx, nodes, 5 * sizeof *w->y + sizeof *w->kept + 2);
    if (!w->y) return LSNN_ENOMEM;
    w->z = w->y + nodes;
    w->dy = w->z + nodes;
    w->dz = w->dy + nodes;
    w->keep = w->dz + nodes;
    w->kept = (int *)(void *)(w->keep + nodes);
    w->reached = (char *)(w->kept + nodes);
    return LSNN_OK;
}

static lsnn_status lsnni_work_fill(lsnn_work *w, lsnni_life *life)
{
    const lsnn_net *net = w->net;
    int nodes = net->nodes;
    size_t total;
    for (int i = 0; i < nodes; i++)
        if ((double)lsnni_features(net->node[i].plan.out) * w->batch > INT_MAX * 64.0 ||
            lsnni_times(lsnni_times((size_t)lsnni_features(net->node[i].plan.out),
                                    (size_t)w->batch), sizeof *w->block) == LSNNI_TOO_LARGE)
            return lsnni_fail(w->cx, LSNN_ESHAPE, "batches of %d images are too large for "
                              "layer '%.60s'", w->batch, net->node[i].name);
    w->chunk = lsnni_plan_chunk(w);
    lsnni_plan_lives(net, life, w->batch, w->train);
    total = lsnni_place_lives(life, 4 * nodes);
    for (int i = 0; i < nodes; i++) {                    /* what is kept lies behind it */
        const lsnn_layer_plan *p = &net->node[i].plan;
        life[4 * nodes + i].at = total;
        if (net->node[i].role.live) {
            size_t kept = lsnni_times(p->keep_per_image, (size_t)w->batch);
            total = lsnni_plus(total, lsnni_whole_vectors(lsnni_plus(p->keep_fixed, kept)));
        }
    }
    w->block = (lsnn_real *)lsnni_alloc(w->cx, lsnni_plus(total, 1), sizeof *w->block);
    if (!w->block)
        return lsnni_fail(w->cx, LSNN_ENOMEM, "a batch of %d needs %.0f bytes for what the net's "
                          "layers hold", w->batch, (double)total * sizeof *w->block);
    for (int i = 0; i < nodes; i++) {
        const lsnni_life *own = life + i, *dy = life + 2 * nodes + net->node[i].role.dy_at;
        w->y[i] = w->block + life[net->node[i].role.y_at].at;
        w->z[i] = w->block + own[nodes].at;
        w->dy[i] = dy->size ? w->block + dy->at : NULL;
        w->dz[i] = own[3 * nodes].size ? w->block + own[3 * nodes].at : NULL;
        w->keep[i] = w->block + own[4 * nodes].at;
    }
    return lsnni_plan_schedules(w);
}

static lsnn_status lsnni_work_make(lsnn_ctx *cx, const lsnn_net *net, int batch, int train,
                                   lsnn_work **made)
{
    lsnn_work *w = *made = (lsnn_work *)lsnni_alloc(cx, 1, sizeof *w);
    lsnni_life *life;
    lsnn_status s;
    if (!w) return LSNN_ENOMEM;
    w->cx = cx;
    w->net = net;
    w->batch = batch;
    w->train = train;
    life = (lsnni_life *)lsnni_alloc(cx, 5 * (size_t)net->nodes, sizeof *life);
    s = life ? lsnni_work_tables(w) : LSNN_ENOMEM;
    if (s == LSNN_OK) s = lsnni_work_fill(w, life);
    lsnni_free(cx, life);
    if (s == LSNN_OK) return LSNN_OK;
    lsnn_work_free(w);
    *made = NULL;
    return s;
}

/* All but the memory, which each workspace plans for its own batch.           */
static void lsnni_plan_net(lsnn_net *net)
{
    lsnni_plan_parts(net);
    lsnni_plan_layout(net);
    lsnni_plan_use(net);
    lsnni_plan_in_place(net, !net->predict_only);
    lsnni_plan_crop(net);
    lsnni_plan_fusion(net);
}
/* ---- >>running: walking a schedule ------------------------------------------------
   Every decision was made in >>plan: what is left is to fill in the batch, call, and stop at
   the first failure.                                                         */

/* Parameters have changed: what layers keep of them (lsnn_call.kept) is no longer right. */
static void lsnni_changed(lsnn_net *net) { net->version++; }

/* One step on a batch: a layer's forward (or backward), or an array to the other layout. */
static lsnn_status lsnni_step_run(lsnn_work *w, lsnni_step *s, const lsnn_batch *b,
                                  int training, int backward)
{
    const lsnn_net *net = w->net;
    const lsnni_node *v = &net->node[s->node];
    lsnn_call *c = &s->call;
    lsnn_call local;
    lsnn_status status;
    unsigned failures = w->cx->failures_;
    double start = net->profile ? lsnni_seconds() : 0;
    if (s->turns)
        status = lsnn_interleave(w->cx, s->to, s->from ? s->from : b->x, b->n,
                                 (size_t)lsnni_features(v->plan.out), s->back, s->add);
    else {
        local = *c;                                      /* a layer may change its call */
        local.n = b->n;
        local.training = training;
        for (int j = 0; j < v->plan.inputs; j++) if (!local.x[j]) local.x[j] = b->x;
        local.labels = b->labels;
        local.heads = b->heads;
        local.targets = b->targets;
        local.target_count = b->target_count;
        local.total = b->total ? b->total : b->n;
        local.rng = lsnn_rng_at(net->seed, v->type->name, v->name, b->step, b->sample);
        w->cx->where_ = v->name;
        status = (backward ? v->type->backward : v->type->forward)(w->cx, &local);
        status = lsnni_answer(w->cx, v->type, backward ? "backward" : "forward", failures,
                              status);
        w->cx->where_ = NULL;
        c->loss = local.loss;
    }
    if (net->profile && !w->cx->rehearsal_) {
        s->seconds += lsnni_seconds() - start;
        s->images += b->n;
    }
    return status;
}

/* The first sample of n with a number that is not finite, and which number; -1: none. A sum in
   double is finite where all floats are, so most arrays are read once, quickly. */
static int lsnni_bad_sample(const lsnni_kernels *kv, const lsnn_real *x, int n, size_t size,
                            size_t *number)
{
    if (fabs(kv->sum(x, (size_t)n * size)) <= DBL_MAX) return -1;
    for (int i = 0; i < n; i++)
        for (*number = 0; *number < size; ++*number)
            if (!lsnni_finite(x + (size_t)i * size + *number, 1)) return i;
    return -1;
}

static lsnn_status lsnni_inputs_check(lsnn_work *w, const lsnn_batch *b)
{
    size_t size = (size_t)lsnni_features(w->net->node[0].plan.out), number = 0;
    int i = lsnni_bad_sample(lsnni_kernels_of(w->cx), b->x, b->n, size, &number);
    if (i < 0) return LSNN_OK;
    return lsnni_fail(w->cx, LSNN_EDIVERGED, "the input of sample %.0f of the batch holds %g, at "
                      "place %.0f of its %.0f numbers", (double)b->sample + i,
                      (double)b->x[(size_t)i * size + number], (double)number, (double)size);
}

/* While w is watched: 1 if what step s has written holds a number that is not finite. */
static int lsnni_blames(lsnn_work *w, const lsnni_step *s)
{
    const lsnni_node *v = &w->net->node[s->node];
    int numbers;
    if (!w->watch || s->turns) return 0;
    numbers = lsnni_features(w->net->node[v->role.writes].plan.out);
    if (lsnni_finite(s->call.y, lsnni_area(w->last.n, numbers))) return 0;
    w->blamed = s->node;
    return 1;
}

/* 1 if forward leaves this step out. To predict without labels and targets, only what the
   output needs is run; a rehearsal runs the layers that know what it is.     */
static int lsnni_skipped(const lsnn_work *w, const lsnni_step *s)
{
    const lsnni_node *v = &w->net->node[s->node];
    if (w->cx->rehearsal_) return !s->turns && !lsnni_has(v, LSNN_REHEARSES);
    return !w->all && !v->role.on_path;
}

static lsnn_status lsnni_work_forward(lsnn_work *w, const lsnn_batch *b, int training,
                                      double *loss)
{
    const lsnn_net *net = w->net;
    lsnni_schedule *p;
    double total = 0;
    w->ready = w->done = w->n = 0;
    if (!b->x) return lsnni_fail(w->cx, LSNN_EVALUE, "forward: x is NULL");
    if (b->n < 1 || b->n > w->batch)
        return lsnni_fail(w->cx, LSNN_ESHAPE, "forward: %d images, the net was built for 1 to "
                          "%d", b->n, w->batch);
    if (b->total && (b->total < b->n || (double)b->sample + b->n > b->total))
        return lsnni_fail(w->cx, LSNN_EVALUE, "forward: %d images from number %.0f on are no part "
                          "of a batch of %d", b->n, (double)b->sample, b->total);
    if (!w->cx->rehearsal_) LSNNI_TRY(lsnni_inputs_check(w, b));
    if (w->version != net->version) memset(w->kept, 0, (size_t)net->nodes * sizeof *w->kept);
    w->version = net->version;
    w->lanes = lsnni_lanes_for(w, b->n);
    w->all = training || b->labels || b->targets;
    w->last = *b;
    p = &w->schedule[w->lanes > 0];
    for (lsnni_step *s = p->forward; s < p->forward + p->forwards; s++) {
        if (lsnni_skipped(w, s)) continue;
        s->call.loss = 0;
        LSNNI_TRY(lsnni_step_run(w, s, b, training, 0));
        total += s->call.loss;
        if (lsnni_blames(w, s)) break;
    }
    w->n = b->n;
    if (loss) *loss = total;
    return LSNN_OK;
}

static lsnn_status lsnni_forward(lsnn_net *net, const lsnn_batch *b, int training, double *loss)
{
    LSNNI_TRY(lsnni_work_forward(net->work, b, training, loss));
    net->work->ready = training;
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_forward(lsnn_net *net, const lsnn_batch *b, int training,
                                  double *loss)
{
    lsnn_batch own;
    double total = 0;
    if (!net) return LSNN_ENOMEM;
    if (!net->built)
        return lsnni_fail(net->cx, LSNN_ESTATE, "lsnn_forward: call lsnn_net_build first");
    if (training && net->predict_only)
        return lsnni_fail(net->cx, LSNN_ESTATE,
                          "lsnn_forward: the net was built to predict only");
    own = *b;
    if (training && !own.step) own.step = net->steps;
    LSNNI_TRY(lsnni_forward(net, &own, training, &total));
    if (loss) *loss = total;
    if (fabs(total) <= DBL_MAX) return LSNN_OK;
    net->work->ready = 0;
    return lsnni_fail(net->cx, LSNN_EDIVERGED, "lsnn_forward: the loss is %g", total);
}

static lsnn_status lsnni_work_backward(lsnn_work *w)
{
    lsnni_schedule *p = &w->schedule[w->lanes > 0];
    for (lsnni_step *s = p->backward; s < p->backward + p->backwards; s++)
        if (!w->cx->rehearsal_ || s->turns ||
            lsnni_has(&w->net->node[s->node], LSNN_REHEARSES))
            LSNNI_TRY(lsnni_step_run(w, s, &w->last, 1, 1));
    w->done = 1;
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_backward(lsnn_net *net)
{
    if (!net) return LSNN_ENOMEM;
    if (!net->built || !net->work->ready)
        return lsnni_fail(net->cx, LSNN_ESTATE, "lsnn_backward: call lsnn_forward with "
                          "training = 1 first");
    net->work->ready = 0;
    return lsnni_work_backward(net->work);
}

LSNN_API void lsnn_zero_grad(lsnn_net *net)
{
    if (!net) return;
    if (net->grad) memset(net->grad, 0, net->param_size * sizeof *net->grad);
}

/* A step without work in each layout that a batch can have, so that every op takes
   its scratch memory now and none later: the batch, one image less, whole blocks, and 7
   to 1 images, which ops divide otherwise. net: NULL if there is no backward. */
static lsnn_status lsnni_rehearse(lsnn_work *w, lsnn_net *net)
{
    lsnn_status s = LSNN_OK;
    lsnn_batch b;
    lsnn_real *x = (lsnn_real *)lsnni_alloc(w->cx, (size_t)w->batch, sizeof *x *
                                            (size_t)lsnni_features(w->net->node[0].plan.out));
    if (!x) return LSNN_ENOMEM;
    memset(&b, 0, sizeof b);
    b.x = x;
    w->cx->rehearsal_ = 1;
    for (int pass = 0; pass < 10 && s == LSNN_OK; pass++) {
        b.n = pass == 0 ? w->batch : pass == 1 ? w->batch - 1
            : pass == 2 ? w->batch - w->batch % lsnn_lanes(w->cx) : 10 - pass;
        if (b.n < 1 || b.n > w->batch) continue;
        s = lsnni_work_forward(w, &b, net != NULL, NULL);
        if (net && s == LSNN_OK) s = lsnni_work_backward(w);
        w->done = w->n = 0;
    }
    w->cx->rehearsal_ = 0;
    memset(w->kept, 0, (size_t)w->net->nodes * sizeof *w->kept);         /* nothing was made */
    if (net) lsnn_zero_grad(net);
    lsnni_free(w->cx, x);
    return s;
}

LSNN_API lsnn_work *lsnn_work_new(lsnn_ctx *cx, const lsnn_net *net, int batch)
{
    lsnn_work *w;
    if (!net || !net->built || batch < 1) {
        lsnni_fail(cx, net && net->built ? LSNN_EVALUE : LSNN_ESTATE, "lsnn_work_new: the net is "
                   "%s, the batch is %d", !net ? "NULL" : net->built ? "built" : "not built",
                   batch);
        return NULL;
    }
    if (lsnni_work_make(cx, net, batch, 0, &w) != LSNN_OK) return NULL;
    if (lsnni_rehearse(w, NULL) == LSNN_OK) return w;
    lsnn_work_free(w);
    return NULL;
}

LSNN_API lsnn_status lsnn_net_build(lsnn_net *net, const lsnn_build_desc *d)
{
    lsnn_ctx *cx = net ? net->cx : NULL;
    lsnn_status s = LSNN_ENOMEM;
    if (!net) return LSNN_ENOMEM;
    if (net->failed)
        return lsnni_fail(cx, net->failed == 1 ? net->why : LSNN_ESTATE, "lsnn_net_build: %s",
                          net->failed == 1 ? "a layer could not be made"
                                           : "it failed before: make the net anew");
    if (net->built || net->nodes < 2)
        return lsnni_fail(cx, LSNN_ESTATE, "lsnn_net_build: %s", net->built ?
                          "the net is built already" : "the net has no layers");
    net->batch = d && d->batch ? d->batch : 64;
    net->seed = d ? d->seed : 0;
    net->predict_only = d ? d->predict_only : 0;
    net->profile = d ? d->profile : 0;
    if (net->batch < 1)
        return lsnni_fail(cx, LSNN_EVALUE, "lsnn_net_build: batch %d", net->batch);
    for (int i = 0; i < net->nodes && net->output < 0; i++)
        if (lsnni_has(&net->node[i], LSNN_IS_LOSS)) net->output = net->node[i].input[0];
    if (net->output < 0) net->output = net->nodes - 1;
    net->value = (lsnn_real *)lsnni_alloc(cx, net->param_size, sizeof *net->value);
    net->state = (lsnn_real *)lsnni_alloc(cx, net->buffer_size, sizeof *net->state);
    if (!net->predict_only)
        net->grad = (lsnn_real *)lsnni_alloc(cx, net->param_size, sizeof *net->grad);
    if (!net->value || !net->state || (!net->predict_only && !net->grad)) goto fail;
    for (int i = 0; i < net->params; i++)
        lsnni_init_param(net, &net->param[i], net->value + net->param[i].at);
    for (int i = 0; i < net->buffers; i++)
        for (size_t j = 0; j < net->buffer[i].spec.count; j++)
            net->state[net->buffer[i].at + j] = LSNNI_R(net->buffer[i].spec.value);
    lsnni_plan_net(net);
    s = lsnni_work_make(cx, net, net->batch, !net->predict_only, &net->work);
    if (s != LSNN_OK) goto fail;
    net->built = 1;
    s = lsnni_rehearse(net->work, net->predict_only ? NULL : net);
    if (s == LSNN_OK) return LSNN_OK;
    net->built = 0;
fail:
    net->failed = 2;
    return s;
}

LSNN_API lsnn_status lsnn_work_predict(lsnn_work *w, const lsnn_real *x, int n, lsnn_real *y)
{
    const lsnn_net *net = w->net;
    size_t in = (size_t)lsnni_features(net->node[0].plan.out);
    size_t out = (size_t)lsnni_features(net->node[net->output].plan.out);
    int lanes = lsnn_lanes(w->cx);
    lsnn_batch b;
    memset(&b, 0, sizeof b);
    w->ready = w->n = 0;
    if (n < 1) return lsnni_fail(w->cx, LSNN_ESHAPE, "predict: %d images", n);
    for (int i = 0; i < n; i += b.n) {
        b.n = LSNNI_MIN(w->chunk, n - i);
        if (!w->train && b.n > lanes) b.n -= b.n % lanes;        /* whole blocks first */
        b.x = x + (size_t)i * in;
        LSNNI_TRY(lsnni_work_forward(w, &b, 0, NULL));
        if (net->output == 0) memcpy(y + (size_t)i * out, b.x, (size_t)b.n * out * sizeof *y);
        else if (w->lanes && net->node[net->output].role.blocks)
            LSNNI_TRY(lsnn_interleave(w->cx, y + (size_t)i * out, w->y[net->output], b.n, out,
                                      1, 0));
        else memcpy(y + (size_t)i * out, w->y[net->output], (size_t)b.n * out * sizeof *y);
    }
    {
        size_t number = 0;
        int bad = lsnni_bad_sample(lsnni_kernels_of(w->cx), y, n, out, &number);
        if (bad < 0) return LSNN_OK;
        return lsnni_fail(w->cx, LSNN_EDIVERGED, "predict: output %.0f of sample %d is %g",
                          (double)number, bad, (double)y[(size_t)bad * out + number]);
    }
}

LSNN_API lsnn_status lsnn_predict(lsnn_net *net, const lsnn_real *x, int n, lsnn_real *y)
{
    if (!net) return LSNN_ENOMEM;
    if (!net->built)
        return lsnni_fail(net->cx, LSNN_ESTATE, "lsnn_predict: call lsnn_net_build first");
    return lsnn_work_predict(net->work, x, n, y);
}

/* ---- >>names: reading and writing anything -----------------------------------------*/
typedef struct lsnni_view {
    lsnn_real *v;
    int rank, dim[4];
    int turned;                      /* 1: in blocks of images                */
    int kept;                        /* 1: what a layer keeps, as a smoother's map */
    size_t count;
} lsnni_view;

static void lsnni_view_set(lsnni_view *a, lsnn_real *v, int rank, const int *dim)
{
    a->v = v;
    a->rank = rank;
    a->turned = 0;
    a->count = 1;
    for (int i = 0; i < 4; i++) {
        a->dim[i] = i < rank ? dim[i] : 1;
        a->count *= (size_t)a->dim[i];
    }
}

/* An output of the last forward, its gradient, or a kept array of node i.    */
static lsnn_status lsnni_view_node(lsnn_net *net, lsnni_view *a, int i, int is_grad,
                                   int is_keep)
{
    const lsnni_node *v = &net->node[i];
    lsnn_work *w = net->work;
    lsnn_shape s = is_keep ? v->plan.keep_shape : v->plan.out;
    int dim[4], fixed = is_keep && v->plan.keep_fixed;
    lsnn_real *data = is_keep ? w->keep[i] : is_grad ? w->dy[i] : w->y[i];
    dim[0] = w->n; dim[1] = s.c; dim[2] = s.h; dim[3] = s.w;
    if (i == 0)
        return lsnni_fail(net->cx, LSNN_ESTATE, "'input' is the caller's own array");
    if (!w->n)
        return lsnni_fail(net->cx, LSNN_ESTATE, "layer '%.60s' has no output before a forward",
                          v->name);
    if (is_grad && v->plan.o.keep && !data)
        return lsnni_fail(net->cx, LSNN_ESTATE, "there is no gradient of '%.60s': nothing before "
                          "it learns, or the net only predicts", v->name);
    if (!(is_keep || (is_grad ? data && v->plan.o.keep : v->role.readable)))
        return lsnni_fail(net->cx, LSNN_ESTATE,
                          "%s of '%.60s' is not kept: set its option keep",
                          is_grad ? "the gradient" : "the output", v->name);
    if (!(is_grad ? w->done && w->reached[i] : v->role.live && (w->all || v->role.on_path)))
        return lsnni_fail(net->cx, LSNN_ESTATE, "layer '%.60s' had no part in the last %s",
                          v->name, is_grad ? "backward" : "forward");
    lsnni_view_set(a, data, fixed ? 3 : 4, fixed ? dim + 1 : dim);
    a->turned = !is_keep && v->role.blocks && w->lanes;
    return LSNN_OK;
}

static lsnn_status lsnni_view_find(lsnn_net *net, lsnni_view *a, const char *name)
{
    int is_grad = name && strncmp(name, "grad:", 5) == 0, i;
    const char *rest = name ? name + (is_grad ? 5 : 0) : "", *dot = strrchr(rest, '.');
    if (!name) return lsnni_fail(net->cx, LSNN_ENAME, "lsnn_net_get, _set, _dims: no name");
    a->kept = 0;
    if (!net->built)
        return lsnni_fail(net->cx, LSNN_ESTATE, "%.80s: call lsnn_net_build first", name);
    i = lsnni_find_param(net->param, net->params, rest);
    if (i >= 0 && is_grad && !net->grad)
        return lsnni_fail(net->cx, LSNN_ESTATE, "%.80s: the net was built to predict only",
                          name);
    if (i >= 0) {
        const lsnni_param *p = &net->param[i];
        lsnni_view_set(a, (is_grad ? net->grad : net->value) + p->at, p->spec.rank,
                       p->spec.dim);
        return LSNN_OK;
    }
    i = is_grad ? -1 : lsnni_find_param(net->buffer, net->buffers, rest);
    if (i >= 0) {
        const lsnni_param *p = &net->buffer[i];
        lsnni_view_set(a, net->state + p->at, p->spec.rank, p->spec.dim);
        return LSNN_OK;
    }
    i = lsnn_net_node(net, rest);
    if (i >= 0) return lsnni_view_node(net, a, i, is_grad, 0);
    for (i = 0; i < net->nodes && dot && !is_grad; i++) {
        const lsnni_node *v = &net->node[i];
        size_t n = (size_t)(dot - rest);
        if (v->plan.keep_name && strcmp(dot + 1, v->plan.keep_name) == 0 &&
            strlen(v->name) == n && strncmp(v->name, rest, n) == 0) {
            a->kept = 1;
            return lsnni_view_node(net, a, i, 0, 1);
        }
    }
    return lsnni_fail(net->cx, LSNN_ENAME, "the net has no parameter, buffer or layer '%.80s'",
                      name);
}

LSNN_API lsnn_status lsnn_net_dims(lsnn_net *net, const char *name, int *rank, int dim[4])
{
    if (!net) return LSNN_ENOMEM;
    lsnni_view a;
    LSNNI_TRY(lsnni_view_find(net, &a, name));
    if (rank) *rank = a.rank;
    if (dim) memcpy(dim, a.dim, sizeof a.dim);
    return LSNN_OK;
}

static lsnn_status lsnni_view_count(lsnn_net *net, lsnni_view *a, const char *name,
                                    size_t count)
{
    LSNNI_TRY(lsnni_view_find(net, a, name));
    if (count != a->count)
        return lsnni_fail(net->cx, LSNN_ESHAPE, "%.80s has %.0f numbers, not %.0f", name,
                          (double)a->count, (double)count);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_net_get(lsnn_net *net, const char *name, lsnn_real *v, size_t count)
{
    if (!net) return LSNN_ENOMEM;
    lsnni_view a;
    LSNNI_TRY(lsnni_view_count(net, &a, name, count));
    if (a.turned)
        return lsnn_interleave(net->cx, v, a.v, a.dim[0], count / (size_t)a.dim[0], 1, 0);
    memcpy(v, a.v, count * sizeof *v);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_net_set(lsnn_net *net, const char *name, const lsnn_real *v,
                                  size_t count)
{
    if (!net) return LSNN_ENOMEM;
    lsnni_view a;
    LSNNI_TRY(lsnni_view_count(net, &a, name, count));
    if (a.kept)
        return lsnni_fail(net->cx, LSNN_ESTATE, "%.80s is computed by the layer: set what it is "
                          "computed from", name);
    lsnni_changed(net);
    if (a.turned)
        return lsnn_interleave(net->cx, a.v, v, a.dim[0], count / (size_t)a.dim[0], 0, 0);
    memcpy(a.v, v, count * sizeof *v);
    return LSNN_OK;
}

LSNN_API const char *lsnn_net_param_name(const lsnn_net *net, int kind, int i, size_t *count)
{
    if (!net) return NULL;
    const lsnni_param *p = kind ? net->buffer : net->param;
    if (i < 0 || i >= (kind ? net->buffers : net->params)) return NULL;
    if (count) *count = p[i].spec.count;
    return p[i].name;
}

/* ---- >>profile: what each layer costs ----------------------------------------------
   Both layouts' steps of a node are added up. Operations are 2 a multiply-add; forward as
   many as the layer says (less what a crop leaves out), backward as many again for dx and
   for the parameters' gradients. Work done for a neighbour is in the row of who does it. */
typedef struct lsnni_cost { double seconds, images, operations; } lsnni_cost;

static void lsnni_cost_add(lsnni_cost *c, const lsnni_step *s, double macs)
{
    c->seconds += s->seconds;
    c->images += s->images;
    c->operations += 2 * macs * s->images;
}

/* Of node i forward and backward; i = nodes: of all arrays' ways to the other layout. */
static void lsnni_profile_node(const lsnn_net *net, int i, lsnni_cost cost[2])
{
    memset(cost, 0, 2 * sizeof *cost);
    for (int l = 0; l < 2; l++) {
        const lsnni_schedule *p = &net->work->schedule[l];
        for (int k = 0; k < p->forwards + p->backwards; k++) {
            const lsnni_step *s = &p->forward[k];        /* backward's follow forward's */
            const lsnni_node *v = &net->node[s->node];
            int backward = k >= p->forwards, times = 1;
            double macs = v->plan.macs;
            if (i != (s->turns ? net->nodes : s->node)) continue;
            if (backward) times = (s->call.dx[0] != NULL) + (s->call.dparam[0] != NULL);
            macs *= (double)v->plan.out.h * v->plan.out.w;
            macs /= (double)v->shape.h * v->shape.w;
            lsnni_cost_add(&cost[backward], s, s->turns ? 0 : macs * times);
        }
    }
}

static void lsnni_profile_row(FILE *out, const char *name, const char *type,
                              const lsnni_cost cost[2], double total, double images)
{
    fprintf(out, "%-32s %-13s", name, type);
    for (int i = 0; i < 2; i++) {
        double rate = cost[i].seconds > 0 ? cost[i].operations / cost[i].seconds / 1e9 : 0;
        fprintf(out, " %10.3f %5.1f %%", images > 0 ? 1e3 * cost[i].seconds / images : 0,
                total > 0 ? 100 * cost[i].seconds / total : 0);
        if (rate > 0)
            fprintf(out, " %9.3f %8.1f", cost[i].operations / cost[i].images / 1e6, rate);
        else fprintf(out, " %9s %8s", "-", "-");
    }
    fprintf(out, "\n");
}

/* A node's name and those of the neighbours whose work it does, "conv2d1 relu1 max_pool1". */
static void lsnni_profile_name(const lsnn_net *net, int i, char *name, size_t size)
{
    snprintf(name, size, "%.60s", net->node[i].name);
    for (int k = 1; k < net->nodes; k++) {
        int by = net->node[k].role.forward_by;
        if (k != i && (by == i || (net->node[i].role.writes == by && by != i)))
            snprintf(name + strlen(name), size - strlen(name), " %.40s", net->node[k].name);
    }
}

LSNN_API lsnn_status lsnn_net_profile(const lsnn_net *net, FILE *out)
{
    lsnni_cost cost[2], sum[2];
    double images = 0, total;
    if (!net) return LSNN_ENOMEM;
    if (!net->built || !net->profile)
        return lsnni_fail(net->cx, LSNN_ESTATE, "lsnn_net_profile: build the net with profile "
                          "= 1 first");
    memset(sum, 0, sizeof sum);
    for (int i = 0; i <= net->nodes; i++) {
        lsnni_profile_node(net, i, cost);
        for (int b = 0; b < 2; b++) {
            sum[b].seconds += cost[b].seconds;
            sum[b].operations += cost[b].operations;
        }
        if (i < net->nodes) images = LSNNI_MAX(images, cost[0].images);
    }
    total = sum[0].seconds + sum[1].seconds;
    sum[0].images = sum[1].images = images;
    fprintf(out, "%-32s %-13s %10s %7s %9s %8s %10s %7s %9s %8s\n", "layer", "type",
            "forward ms", "share", "Mops", "GFLOPS", "back ms", "share", "Mops", "GFLOPS");
    for (int i = 1; i <= net->nodes; i++) {
        char name[256];
        if (i < net->nodes && net->node[i].role.forward_by != i &&
            net->node[i].role.backward_by != i) continue;
        lsnni_profile_node(net, i, cost);
        if (cost[0].seconds + cost[1].seconds <= 0) continue;
        if (i < net->nodes) lsnni_profile_name(net, i, name, sizeof name);
        else snprintf(name, sizeof name, "to other layouts");
        lsnni_profile_row(out, name, i < net->nodes ? net->node[i].type->name : "-", cost,
                          total, images / net->batch);
    }
    lsnni_profile_row(out, "total", "", sum, total, images / net->batch);
    return LSNN_OK;
}
/* ============================================================================
   >>files  safetensors, and replacing a file safely
   A .safetensors file:  u64 N, little-endian | N bytes of JSON | the data
     {"__metadata__":{"key":"text"},
      "conv2d1.weight":{"dtype":"F32","shape":[8,1,5,5],"data_offsets":[0,800]}}
   Offsets count from the first byte of data. A reader of files from strangers
   believes nothing: see lsnni_header_* and lsnni_spans_check.
   ==========================================================================*/

/* ---- >>durable: the one seam to the system under the files -------------------
   ISO C can write a file, but neither make it survive a power cut (fsync of the
   file before the rename, of its folder after it) nor, on Windows, rename over
   an old one. POSIX can; but under -std=c99 its headers hide fsync and others.
   Where they may be hidden they are declared here, by POSIX's own prototypes: to
   declare a function twice with the same type is valid C. In C++ that type
   includes noexcept, for which glibc's word is __THROW; elsewhere C++ compilers
   see them anyway. The parentheses keep macros of these names away.
   Those that return int return 0, or -1 with the reason in errno. lsnni_move
   puts tmp in the place of path and returns NULL, or the step that failed.   */
#if defined(_WIN32)
#include <io.h>
#ifdef __cplusplus
extern "C"
#endif
__declspec(dllimport) int __stdcall MoveFileExA(const char *from, const char *to,
                                                unsigned long flags);

typedef struct lsnni_access { int unused; } lsnni_access;

static int lsnni_stream_sync(FILE *f) { return _commit(_fileno(f)); }

static int64_t lsnni_stream_size(FILE *f)
{
    return _fseeki64(f, 0, SEEK_END) != 0 ? -1 : (int64_t)_ftelli64(f);
}

static int lsnni_replaceable(const char *path, lsnni_access *old)
{
    (void)path;
    old->unused = 0;
    return 0;
}

enum { LSNNI_CLOSE_FIRST = 1 };      /* no open file can be renamed           */
static FILE *lsnni_tmp_open(char *tmp, size_t room, const char *path, lsnni_access *old)
{
    (void)old;
    snprintf(tmp, room, "%s.tmp", path);
    return fopen(tmp, "wb");
}

static void lsnni_tmp_done(FILE *f) { (void)f; }
static int lsnni_tmp_hand_over(FILE *f, const lsnni_access *old)
{
    (void)f;
    (void)old;
    return 0;
}

static const char *lsnni_move(char *tmp, const char *path, int *moved)
{
    *moved = MoveFileExA(tmp, path, 1 | 8) != 0;   /* replace, and wait for it */
    if (*moved) return NULL;
    errno = EACCES;                  /* the usual reason: somebody has it open */
    return "renaming";
}
#else
#include <fcntl.h>
#include <sys/types.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#if !defined(_POSIX_C_SOURCE) || _POSIX_C_SOURCE < 200809L
#  if defined(__cplusplus) && defined(__GLIBC__)
extern "C" int (fileno)(FILE *stream) __THROW;
extern "C" FILE *(fdopen)(int descriptor, const char *mode) __THROW;
extern "C" int (fsync)(int descriptor);
extern "C" int (fchmod)(int descriptor, mode_t mode) __THROW;
extern "C" int (fchown)(int descriptor, uid_t owner, gid_t group) __THROW;
#  elif !defined(__cplusplus)
extern int (fileno)(FILE *stream);
extern FILE *(fdopen)(int descriptor, const char *mode);
extern int (fsync)(int descriptor);
extern int (fchmod)(int descriptor, mode_t mode);
extern int (fchown)(int descriptor, uid_t owner, gid_t group);
#  endif
#endif
#ifdef O_NOFOLLOW
#  define LSNNI_NOFOLLOW O_NOFOLLOW
#else
#  define LSNNI_NOFOLLOW 0           /* hidden by -std=c99: then what is found is not ours */
#endif
#ifdef O_CLOEXEC
#  define LSNNI_CLOEXEC O_CLOEXEC
#else
#  define LSNNI_CLOEXEC 0
#endif

/* Not every file system knows syncing (of folders, above all): that is no failure, since the
   file is as safe as it can be there.                                        */
static int lsnni_sync(int descriptor)
{
    int result;
#ifdef F_FULLFSYNC                   /* macOS: fsync stops at the disk's cache */
    if (fcntl(descriptor, F_FULLFSYNC) == 0) return 0;
#endif
    do { result = fsync(descriptor); } while (result != 0 && errno == EINTR);
    if (result != 0 && (errno == EINVAL || errno == ENOSYS || errno == EBADF)) return 0;
#ifdef ENOTSUP
    if (result != 0 && errno == ENOTSUP) return 0;
#endif
#ifdef EOPNOTSUPP
    if (result != 0 && errno == EOPNOTSUPP) return 0;
#endif
    return result;
}

static int lsnni_stream_sync(FILE *f) { return lsnni_sync(fileno(f)); }

static int64_t lsnni_stream_size(FILE *f)
{
    return fseek(f, 0, SEEK_END) != 0 ? -1 : (int64_t)ftell(f);
}

/* Whose a file is and who may do what with it: the new file's are those of the old one. */
typedef struct lsnni_access {
    int there;                       /* 0: there is no old one; mode is the umask's */
    mode_t mode;
    uid_t owner;
    gid_t group;
} lsnni_access;

/* A rename would put a file in the place of a device (/dev/null, for root), and of one that
   was made read-only.                                                        */
static int lsnni_replaceable(const char *path, lsnni_access *old)
{
    struct stat there;
    int descriptor;
    memset(old, 0, sizeof *old);
    if (stat(path, &there) != 0) return 0;
    if (!S_ISREG(there.st_mode)) {
        errno = S_ISDIR(there.st_mode) ? EISDIR : EINVAL;
        return -1;
    }
    old->there = 1;
    old->mode = there.st_mode & 0777;
    old->owner = there.st_uid;
    old->group = there.st_gid;
    descriptor = open(path, O_WRONLY | LSNNI_CLOEXEC);
    if (descriptor >= 0) close(descriptor);
    return descriptor < 0 && (errno == EACCES || errno == EPERM || errno == EROFS) ? -1 : 0;
}

/* ---- the file in the making. In a folder that others can write to, anything may wait at
   its name: a link to somebody's file, or a file of the user's own. So nothing that is there
   is ever opened for its contents; the file is made new (O_EXCL, which follows no link), or
   under another name. Until it is whole its mode is LSNNI_MAKING: nobody reads half a file.
   From then until it is in its place it has LSNNI_WHOLE too, a bit that means nothing on a
   file. So what a killed program left is known by its mode, and removed. It is locked until
   it is closed, so that of two programs that save to one path the second fails (EBUSY). */
enum { LSNNI_CLOSE_FIRST = 0, LSNNI_MAKING = 0200, LSNNI_WHOLE = 01000, LSNNI_TMP_TRIES = 200 };

static int lsnni_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

/* 0: locked, or a file system without locks; -1: it is somebody else's now.  */
static int lsnni_lock(int descriptor)
{
    return flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK ? -1 : 0;
}

/* Locks the file just made. 1: done; 0: it was taken for a leftover meanwhile; -1: busy. */
static int lsnni_tmp_lock(const char *tmp, int descriptor)
{
    struct stat mine, there;
    if (lsnni_lock(descriptor) != 0) return -1;
    return fstat(descriptor, &mine) == 0 && stat(tmp, &there) == 0 &&
        lsnni_same_file(&mine, &there);
}

/* Removes what a killed program left. 1: done; 0: it is not ours to remove; -1: its maker is
   still at it. Empty is one that was just made.                              */
static int lsnni_tmp_clear(const char *tmp)
{
    struct stat mine, there;
    int descriptor = open(tmp, O_WRONLY | O_NONBLOCK | LSNNI_NOFOLLOW | LSNNI_CLOEXEC);
    int cleared = 0;
    if (descriptor < 0) return 0;
    if (fstat(descriptor, &mine) == 0 && S_ISREG(mine.st_mode) && mine.st_nlink == 1 &&
        mine.st_uid == geteuid() &&
        ((mine.st_mode & 07777) == LSNNI_MAKING || (mine.st_mode & LSNNI_WHOLE) ||
         mine.st_size == 0)) {
        if (lsnni_lock(descriptor) != 0) cleared = -1;
        else if (stat(tmp, &there) != 0 || lsnni_same_file(&mine, &there))
            cleared = unlink(tmp) == 0 || errno == ENOENT;
        else cleared = 1;                                /* there is a new one    */
    }
    close(descriptor);
    return cleared;
}

/* Writes PATH.tmp to tmp, PATH.tmp1 and so on, or a short name in the same folder. */
static void lsnni_tmp_name(char *tmp, size_t room, const char *path, int number, int brief)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char suffix[16] = "";
    if (number) snprintf(suffix, sizeof suffix, "%d", number);
    if (!brief) snprintf(tmp, room, "%s.tmp%s", path, suffix);
    else snprintf(tmp, room, "%.*slsnn-%08lx.tmp%s", (int)(name - path), path,
                  (unsigned long)lsnni_hash(2166136261u, name), suffix);
}

static FILE *lsnni_tmp_open(char *tmp, size_t room, const char *path, lsnni_access *old)
{
    int number = 0, brief = 0;
    for (int tries = 0; tries < LSNNI_TMP_TRIES; tries++) {
        struct stat mine;
        int descriptor, done;
        lsnni_tmp_name(tmp, room, path, number, brief);
        descriptor = open(tmp, O_WRONLY | O_CREAT | O_EXCL | LSNNI_NOFOLLOW | LSNNI_CLOEXEC,
                          old->there ? LSNNI_MAKING : 0666);
        if (descriptor >= 0) {
            FILE *f = NULL;
            if (!old->there && fstat(descriptor, &mine) == 0) old->mode = mine.st_mode & 0777;
            (void)!fchmod(descriptor, LSNNI_MAKING);     /* not everywhere are there modes */
            done = lsnni_tmp_lock(tmp, descriptor);
            if (done > 0 && (f = fdopen(descriptor, "wb")) != NULL) return f;
            if (done > 0) unlink(tmp);
            close(descriptor);
            if (done > 0) return NULL;
        } else if (errno == ENAMETOOLONG && !brief) {
            brief = 1;
            continue;
        } else if (errno != EEXIST) {
            return NULL;
        } else {
            done = lsnni_tmp_clear(tmp);
            number += done == 0;
        }
        if (done < 0) break;
    }
    errno = EBUSY;
    return NULL;
}

/* The whole file gets the old one's owner, group and mode; where it cannot have that group,
   the group that it has may not do more than everybody.                      */
static int lsnni_tmp_hand_over(FILE *f, const lsnni_access *old)
{
    struct stat now;
    mode_t mode = old->mode;
    int descriptor = fileno(f);
    if (old->there && fchown(descriptor, old->owner, old->group) != 0 &&
        fchown(descriptor, (uid_t)-1, old->group) != 0)
        mode &= 0707 | ((mode & 07) << 3);
    if (fchmod(descriptor, mode | LSNNI_WHOLE) == 0 || fchmod(descriptor, mode) == 0) return 0;
    if (fstat(descriptor, &now) != 0) return -1;
    return (now.st_mode & 0777 & ~mode) == 0 ? 0 : -1;   /* no modes there, or too much */
}

/* It is in its place.                                                        */
static void lsnni_tmp_done(FILE *f)
{
    struct stat now;
    if (fstat(fileno(f), &now) == 0 && (now.st_mode & LSNNI_WHOLE))
        (void)!fchmod(fileno(f), now.st_mode & 0777);
}

/* The folder is opened first: where that fails, nothing has changed yet. One that can be
   written but not read cannot be synced.                                     */
static const char *lsnni_move(char *tmp, const char *path, int *moved)
{
    char *slash = strrchr(tmp, '/'), *name = slash ? slash + 1 : tmp, letter = *name;
    const char *failed = NULL;
    int folder, why;
    *name = 0;                       /* tmp is the folder's path for a moment  */
    folder = open(*tmp ? tmp : ".", O_RDONLY | LSNNI_CLOEXEC);
    *name = letter;
    if (folder < 0 && errno != EACCES) return "opening its folder";
    *moved = rename(tmp, path) == 0;
    if (!*moved) failed = "renaming";
    else if (folder >= 0 && lsnni_sync(folder) != 0) failed = "syncing its folder";
    why = errno;
    if (folder >= 0) close(folder);
    errno = why;
    return failed;
}
#endif

/* ---- >>replace: write a whole file or none -----------------------------------*/

/* The end of a path, so that what follows it fits into the message.          */
static const char *lsnni_path_end(const char *path)
{
    size_t n = strlen(path);
    return n > 200 ? path + n - 200 : path;
}

/* All that take a path ask this first.                                       */
static lsnn_status lsnni_path_check(lsnn_ctx *cx, const char *who, const char *path)
{
    return path ? LSNN_OK : lsnni_fail(cx, LSNN_EVALUE, "%s: the path is NULL", who);
}

/* Puts at path what `fill` writes: into PATH.tmp first, which is synced and
   renamed, so that a crash at any moment leaves the old file or the new one.
   fill returns EIO, and needs no message, as soon as a stream call fails.   */
static lsnn_status lsnni_file_replace(lsnn_ctx *cx, const char *path,
                                      lsnn_status (*fill)(lsnn_ctx *cx, FILE *f, void *user),
                                      void *user)
{
    size_t room = strlen(path) + 40;                     /* the longest of names  */
    char *tmp = (char *)lsnni_alloc(cx, room, 1);
    const char *failed = NULL;
    lsnn_status s = LSNN_OK;
    lsnni_access old;
    FILE *f = NULL;
    int moved = 0, closed = 0;
    if (!tmp) return LSNN_ENOMEM;
    if (lsnni_replaceable(path, &old) != 0) failed = "replacing what is there";
    else if (!(f = lsnni_tmp_open(tmp, room, path, &old))) failed = "creating its .tmp file";
    else {
        s = fill(cx, f, user);
        if (s != LSNN_OK || ferror(f) || fflush(f) != 0) failed = "writing";
        else if (lsnni_stream_sync(f) != 0) failed = "syncing";
        else if (lsnni_tmp_hand_over(f, &old) != 0) failed = "giving it the old one's mode";
        else if (LSNNI_CLOSE_FIRST && (closed = 1, fclose(f) != 0)) failed = "closing";
        else failed = lsnni_move(tmp, path, &moved);
    }
    if (failed) {
        s = lsnni_fail(cx, s == LSNN_OK ? LSNN_EIO : s,
                       moved ? "%s: written, but %s failed: %s; a power cut may undo it"
                             : "%s: not written: %s failed: %s; what was there is unchanged",
                       lsnni_path_end(path), failed, strerror(errno));
        if (f && LSNNI_CLOSE_FIRST && !closed) { fclose(f); closed = 1; }
        if (f && !moved) remove(tmp);
    }
    if (f && moved) lsnni_tmp_done(f);
    if (f && !closed) fclose(f);                         /* and unlock        */
    lsnni_free(cx, tmp);
    return s;
}

/* ---- >>utf8: text and names from strangers -----------------------------------*/

/* Bytes of the character at text: 1 to 4, or 0 if it is not valid UTF-8.     */
static int lsnni_utf8_length(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    int n = s[0] < 0x80 ? 1 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    int low = s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80;    /* else too long  */
    int high = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;   /* else surrogate */
    if (n > 1 && (s[0] < 0xC2 || s[0] > 0xF4 || s[1] < low || s[1] > high)) return 0;
    for (int i = 2; i < n; i++) if ((s[i] & 0xC0) != 0x80) return 0;
    return n;
}

/* Writes code point c, returns the place behind it.                          */
static char *lsnni_utf8_put(char *out, uint32_t c)
{
    int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned lead[4] = {0, 0xC0, 0xE0, 0xF0};
    *out++ = (char)(lead[more] | (c >> (6*more)));
    while (more-- > 0) *out++ = (char)(0x80 | ((c >> (6*more)) & 0x3F));
    return out;
}

static int lsnni_compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* No name may occur twice among the tensors, no key among the metadata.      */
static lsnn_status lsnni_names_check(lsnn_ctx *cx, lsnn_status bad, const char *path,
                                     const lsnn_tensor *t, int tensors,
                                     const lsnn_pair *skipped, int skips,
                                     const lsnn_pair *meta, int metas)
{
    size_t most = (size_t)LSNNI_MAX(tensors + skips, metas);
    const char **name = (const char **)lsnni_alloc(cx, most, sizeof *name);
    lsnn_status s = name ? LSNN_OK : LSNN_ENOMEM;
    for (int keys = 0; keys < 2 && s == LSNN_OK; keys++) {
        int count = keys ? metas : tensors + skips;
        for (int i = 0; i < count; i++)
            name[i] = keys ? meta[i].key : i < tensors ? t[i].name : skipped[i - tensors].key;
        qsort((void *)name, (size_t)count, sizeof *name, lsnni_compare_names);
        for (int i = 1; i < count && s == LSNN_OK; i++)
            if (strcmp(name[i - 1], name[i]) == 0)
                s = lsnni_fail(cx, bad, keys ? "%s: __metadata__ has the key '%.60s' twice"
                               : "%s: two tensors are named '%.60s'", path, name[i]);
    }
    lsnni_free(cx, (void *)name);
    return s;
}

/* Size i of t: the one place that knows where it stands.                     */
static int lsnni_tensor_dim(const lsnn_tensor *t, int i)
{
    return i < 4 ? t->dim[i] : t->dims[i];
}

/* The bytes of t's numbers, `width` each; 0 if they overflow.                */
static int lsnni_tensor_bytes(const lsnn_tensor *t, size_t width, size_t *bytes)
{
    int fits = 1;
    *bytes = width;
    for (int i = 0; i < t->rank; i++) {
        if (lsnni_tensor_dim(t, i) < 0) return 0;
        fits &= lsnni_mul(bytes, (size_t)lsnni_tensor_dim(t, i));
    }
    return fits;
}

/* ---- >>json: just as much of it as a header may contain ----------------------
   The header is a tree of fixed depth (header, tensor or metadata, list), so a
   function a level reads it, and deeper nesting is a wrong character like any
   other. The text ends in a 0, which is no valid character anywhere: that is
   why nothing below asks where the end is. The first failure moves to that 0:
   what is read afterwards fails too, so h->status is asked once, at the end.  */
enum { LSNNI_HEADER_MAX = 100000000 };     /* bytes: safetensors' own limit     */

typedef struct lsnni_dtype {
    const char *name;
    unsigned width;                  /* bytes a number; 0: not known          */
    int floats;                      /* 1: it is read, 0: skipped             */
} lsnni_dtype;

typedef struct lsnni_span {          /* where a tensor lies in the file       */
    uint64_t begin, end;             /* bytes from the start of the data      */
    const lsnni_dtype *dtype;
    const char *name;
    lsnn_tensor *tensor;             /* NULL: skipped                         */
} lsnni_span;

typedef struct lsnni_header {
    lsnn_ctx *cx;
    lsnn_status status;
    const char *path;                /* for messages                          */
    FILE *stream;
    uint64_t data_bytes;             /* what the file has behind its header   */
    char *text, *at;
    const char *tensor;              /* the one that is being read, or NULL   */
    lsnni_span *span;                /* one a tensor, skipped or not          */
    int *dims;                       /* room for the sizes of those that follow */
} lsnni_header;

LSNNI_PRINTF(2, 3)
static lsnn_status lsnni_header_fail(lsnni_header *h, const char *format, ...)
{
    char rule[200];
    va_list list;
    va_start(list, format);
    vsnprintf(rule, sizeof rule, format, list);
    va_end(list);
    if (h->at) h->at += strlen(h->at);
    h->status = LSNN_EFORMAT;
    if (!h->tensor) return lsnni_fail(h->cx, LSNN_EFORMAT, "%s: %s", h->path, rule);
    return lsnni_fail(h->cx, LSNN_EFORMAT, "%s: tensor '%.60s': %s", h->path, h->tensor, rule);
}

static void lsnni_json_fail(lsnni_header *h, const char *rule)
{
    lsnni_header_fail(h, "header is not valid: byte %d %s", (int)(h->at - h->text), rule);
}

/* Takes the character c if it is the next one.                               */
static int lsnni_json_take(lsnni_header *h, char c)
{
    h->at += strspn(h->at, " \t\r\n");
    if (*h->at != c) return 0;
    h->at++;
    return 1;
}

static void lsnni_json_expect(lsnni_header *h, char c)
{
    if (!lsnni_json_take(h, c))
        lsnni_header_fail(h, "header is not valid: byte %d should be '%c'",
                          (int)(h->at - h->text), c);
}

/* Is there another member or element? `last` ends the list.                  */
static int lsnni_json_more(lsnni_header *h, int first, char last)
{
    if (first) return !lsnni_json_take(h, last);
    if (lsnni_json_take(h, ',')) return 1;
    lsnni_json_expect(h, last);
    return 0;
}

/* The value of 4 hexadecimal digits at text; 0 if they are not.              */
static uint32_t lsnni_json_hex(const char *text)
{
    char digits[5] = {0};
    if (strspn(text, "0123456789abcdefABCDEF") < 4) return 0;
    memcpy(digits, text, 4);
    return (uint32_t)strtoul(digits, NULL, 16);
}

/* Decodes the escape at h->at (a backslash) to *out and moves both on.       */
static void lsnni_json_escape(lsnni_header *h, char **out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *s = h->at, *simple = s[1] ? strchr(from, s[1]) : NULL;
    uint32_t c = s[1] == 'u' ? lsnni_json_hex(s + 2) : 0, low;
    int length = simple ? 2 : 6;
    if (simple) {
        c = (uint32_t)to[simple - from];
    } else if (c >= 0xD800 && c < 0xDC00 && s[6] == '\\' && s[7] == 'u' &&
               (low = lsnni_json_hex(s + 8)) >= 0xDC00 && low < 0xE000) {
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);     /* a surrogate pair */
        length = 12;
    } else if (c == 0 || (c >= 0xD800 && c < 0xE000)) {
        lsnni_json_fail(h, "starts a bad escape");
        return;
    }
    *out = lsnni_utf8_put(*out, c);
    h->at += length;
}

/* Reads a string and decodes it where it lies, since no escape is shorter than
   what it stands for; the closing quote makes room for the end mark.         */
static const char *lsnni_json_string(lsnni_header *h)
{
    char *string, *out;
    lsnni_json_expect(h, '"');
    string = out = h->at;
    while (*h->at != '"' && h->status == LSNN_OK) {
        int n = lsnni_utf8_length(h->at);
        if (*h->at == '\\') lsnni_json_escape(h, &out);
        else if (n == 0 || (unsigned char)*h->at < 32)
            lsnni_json_fail(h, "cannot be in a string");
        else while (n-- > 0) *out++ = *h->at++;
    }
    lsnni_json_take(h, '"');
    *out = 0;
    return string;
}

static uint64_t lsnni_json_count(lsnni_header *h)
{
    uint64_t value = 0;
    char *end;
    h->at += strspn(h->at, " \t\r\n");
    end = h->at;
    errno = 0;                       /* strtoull alone would take signs too   */
    if (*h->at >= '0' && *h->at <= '9') value = strtoull(h->at, &end, 10);
    if (errno) lsnni_json_fail(h, "starts a number that is too large");
    else if (end == h->at || (*h->at == '0' && end - h->at > 1) || strspn(end, ".eE"))
        lsnni_json_fail(h, "should start a whole number from 0 on");
    else h->at = end;
    return value;
}

/* Reads a list of at most `max` numbers; returns how many.                   */
static int lsnni_json_counts(lsnni_header *h, const char *what, uint64_t *value, int max)
{
    int n = 0;
    lsnni_json_expect(h, '[');
    while (lsnni_json_more(h, n == 0, ']')) {
        if (n == max) {
            lsnni_header_fail(h, "%s has more than %d numbers", what, max);
            break;
        }
        value[n++] = lsnni_json_count(h);
    }
    return n;
}

/* ---- >>header: what it says about each tensor --------------------------------*/
static const lsnni_dtype lsnni_dtypes[] = {
    { "F64", 8, 1 }, { "F32", 4, 1 }, { "F16", 2, 1 }, { "BF16", 2, 1 },
    { "I64", 8, 0 }, { "U64", 8, 0 }, { "C64", 8, 0 }, { "I32", 4, 0 }, { "U32", 4, 0 },
    { "I16", 2, 0 }, { "U16", 2, 0 }, { "I8", 1, 0 }, { "U8", 1, 0 }, { "BOOL", 1, 0 },
    { "F8_E4M3", 1, 0 }, { "F8_E5M2", 1, 0 }, { "F8_E8M0", 1, 0 }, { NULL, 0, 0 }
};

/* The format gets new dtypes: one that is not in the list is skipped, too.   */
static const lsnni_dtype *lsnni_header_dtype(lsnni_header *h, const char *name)
{
    const lsnni_dtype *d = lsnni_dtypes;
    size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    while (d->name && strcmp(d->name, name) != 0) d++;
    if (!n || n > 16 || name[n]) lsnni_header_fail(h, "dtype '%.60s' cannot be one", name);
    return d;
}

/* lsnni_read_tables has made room for all sizes of the header.               */
static void lsnni_header_shape(lsnni_header *h, lsnn_tensor *t)
{
    t->dims = h->dims;
    lsnni_json_expect(h, '[');
    while (lsnni_json_more(h, t->rank == 0, ']')) {
        uint64_t dim = lsnni_json_count(h);
        if (dim > INT_MAX)
            lsnni_header_fail(h, "shape: dimension %d is above %d", t->rank, INT_MAX);
        if (h->status != LSNN_OK) break;
        if (t->rank < 4) t->dim[t->rank] = (int)dim;
        *h->dims++ = (int)dim;
        t->rank++;
    }
}

/* The bytes that the offsets give must be the bytes that the shape needs.    */
static lsnn_status lsnni_header_bytes(lsnni_header *h, const lsnni_span *span, lsnn_tensor *t)
{
    uint64_t begin = span->begin, end = span->end;
    size_t bytes;
    if (begin > end || end > h->data_bytes)
        return lsnni_header_fail(h, "data_offsets [%.0f, %.0f) do not lie in the data, "
                                 "%.0f bytes", (double)begin, (double)end,
                                 (double)h->data_bytes);
    if (!span->dtype->name) return LSNN_OK;              /* skipped, whatever it is */
    if (!lsnni_tensor_bytes(t, span->dtype->width, &bytes))
        return lsnni_header_fail(h, "shape: its size in bytes overflows");
    if (bytes != end - begin)
        return lsnni_header_fail(h, "shape and dtype make %.0f bytes, data_offsets %.0f",
                                 (double)bytes, (double)(end - begin));
    t->count = bytes / span->dtype->width;
    return LSNN_OK;
}

/* {"dtype":"F32","shape":[8,5],"data_offsets":[0,160]}, in any order. *dtype gets the word. */
static lsnn_status lsnni_header_tensor(lsnni_header *h, lsnn_tensor *t, lsnni_span *span,
                                       const char **dtype)
{
    enum { has_dtype = 1, has_shape = 2, has_offsets = 4 };
    uint64_t offset[2] = {0, 0};
    int seen = 0;
    memset(t, 0, sizeof *t);
    t->name = span->name = h->tensor;
    lsnni_json_expect(h, '{');
    while (lsnni_json_more(h, seen == 0, '}')) {
        const char *key = lsnni_json_string(h);
        int what = strcmp(key, "dtype") == 0 ? has_dtype : strcmp(key, "shape") == 0 ? has_shape
                 : strcmp(key, "data_offsets") == 0 ? has_offsets : 0;
        lsnni_json_expect(h, ':');
        if (!what || (seen & what))
            return lsnni_header_fail(h, what ? "key '%.60s' occurs twice"
                                             : "unknown key '%.60s'", key);
        seen |= what;
        if (what == has_shape) {
            lsnni_header_shape(h, t);
        } else if (what == has_offsets) {
            if (lsnni_json_counts(h, "data_offsets", offset, 2) != 2)
                lsnni_header_fail(h, "data_offsets needs two numbers");
        } else {
            *dtype = lsnni_json_string(h);
            span->dtype = lsnni_header_dtype(h, *dtype);
        }
    }
    LSNNI_TRY(h->status);
    if (seen != (has_dtype | has_shape | has_offsets))
        return lsnni_header_fail(h, "dtype, shape or data_offsets is missing");
    span->tensor = span->dtype->floats ? t : NULL;
    span->begin = offset[0];
    span->end = offset[1];
    return lsnni_header_bytes(h, span, t);
}

static void lsnni_header_metadata(lsnni_header *h, lsnn_file *f)
{
    lsnni_json_expect(h, '{');
    while (lsnni_json_more(h, f->metas == 0, '}')) {
        lsnn_pair *pair = &f->meta[f->metas++];
        pair->key = lsnni_json_string(h);
        lsnni_json_expect(h, ':');
        pair->value = lsnni_json_string(h);
    }
}

/* The tables are large enough, see lsnni_read_tables: a failure ends each loop. */
static lsnn_status lsnni_header_parse(lsnni_header *h, lsnn_file *f)
{
    int metadata = 0;
    if (*h->at != '{') return lsnni_header_fail(h, "the header does not start with '{'");
    h->at++;
    while (lsnni_json_more(h, f->tensors + f->skips + metadata == 0, '}')) {
        const char *name = lsnni_json_string(h), *dtype = "";
        lsnni_span *span = &h->span[f->tensors + f->skips];
        lsnni_json_expect(h, ':');
        if (strcmp(name, "__metadata__") == 0) {
            if (metadata++) return lsnni_header_fail(h, "__metadata__ occurs twice");
            lsnni_header_metadata(h, f);
            continue;
        }
        h->tensor = name;
        LSNNI_TRY(lsnni_header_tensor(h, &f->tensor[f->tensors], span, &dtype));
        if (!span->tensor) {
            f->skipped[f->skips].key = name;
            f->skipped[f->skips++].value = dtype;
        } else f->tensors++;
        h->tensor = NULL;
    }
    h->at += strspn(h->at, " \t\r\n");
    if (*h->at) lsnni_json_fail(h, "should be the end");
    return h->status;
}

/* ---- >>file_read -------------------------------------------------------------*/
static lsnn_status lsnni_read_bytes(const lsnni_header *h, void *v, size_t bytes)
{
    errno = 0;
    if (fread(v, 1, bytes, h->stream) == bytes) return LSNN_OK;
    return lsnni_fail(h->cx, LSNN_EIO, "%s: cannot be read: %s", h->path,
                      ferror(h->stream) ? strerror(errno) : "it became shorter meanwhile");
}

/* The number in `width` little-endian bytes, on any host.                    */
static uint64_t lsnni_bits_from(const unsigned char *p, size_t width)
{
    uint64_t bits = 0;
    while (width-- > 0) bits = bits << 8 | p[width];
    return bits;
}

/* Finds the file's true size, then believes the header's length no further than
   that, and reads the header.                                                */
static lsnn_status lsnni_read_header(lsnni_header *h, lsnn_file *f)
{
    unsigned char length[8];
    int64_t size = lsnni_stream_size(h->stream);
    uint64_t n;
    if (size < 0 || fseek(h->stream, 0, SEEK_SET) != 0)
        return lsnni_fail(h->cx, LSNN_EIO, "%s: cannot find its size: %s", h->path,
                          strerror(errno));
    if (size < 8)
        return lsnni_header_fail(h, "%d bytes are too few, a file has 8 at least", (int)size);
    LSNNI_TRY(lsnni_read_bytes(h, length, 8));
    n = lsnni_bits_from(length, 8);
    if (n > LSNNI_HEADER_MAX || n > (uint64_t)size - 8)
        return lsnni_header_fail(h, "a header of %.0f bytes does not fit into a file of %.0f, "
                                 "or is above %d", (double)n, (double)size, LSNNI_HEADER_MAX);
    h->data_bytes = (uint64_t)size - 8 - n;
    f->block_[0] = h->text = h->at = (char *)lsnni_alloc(h->cx, (size_t)n + 1, 1);
    if (!h->text) return LSNN_ENOMEM;
    LSNNI_TRY(lsnni_read_bytes(h, h->text, (size_t)n));
    if (strlen(h->text) == n) return LSNN_OK;
    return lsnni_header_fail(h, "the header contains a zero byte");
}

/* The shortest tensor takes 48 bytes of header, the shortest pair 6, and a size a comma or
   a tensor: the tables have room for all that may be there and one more of each, which
   breaks off.                                                                */
static lsnn_status lsnni_read_tables(lsnni_header *h, lsnn_file *f)
{
    size_t n = strlen(h->text), tensors = n / 48 + 1, pairs = n / 6 + 1, sizes = tensors;
    size_t tensor_bytes = tensors * sizeof *f->tensor, span_bytes = tensors * sizeof *h->span;
    char *block = (char *)lsnni_alloc(h->cx, tensor_bytes + span_bytes +
                                      (pairs + tensors) * sizeof *f->meta, 1);
    for (const char *p = h->text; *p; p++) sizes += *p == ',';
    f->block_[1] = block;
    f->block_[3] = h->dims = (int *)lsnni_alloc(h->cx, sizes, sizeof *h->dims);
    if (!block || !h->dims) return LSNN_ENOMEM;
    f->tensor = (lsnn_tensor *)(void *)block;
    h->span = (lsnni_span *)(void *)(block + tensor_bytes);
    f->meta = (lsnn_pair *)(void *)(block + tensor_bytes + span_bytes);
    f->skipped = f->meta + pairs;
    LSNNI_TRY(lsnni_header_parse(h, f));
    return lsnni_names_check(h->cx, LSNN_EFORMAT, h->path, f->tensor, f->tensors, f->skipped,
                             f->skips, f->meta, f->metas);
}

static int lsnni_compare_spans(const void *a, const void *b)
{
    const lsnni_span *left = (const lsnni_span *)a, *right = (const lsnni_span *)b;
    if (left->begin != right->begin) return left->begin < right->begin ? -1 : 1;
    return left->end < right->end ? -1 : left->end > right->end;
}

/* Sorts the spans; they must cover the data, from its first byte to its last,
   without a hole and without an overlap.                                     */
static lsnn_status lsnni_spans_check(lsnni_header *h, const lsnn_file *f)
{
    uint64_t end = 0;
    int count = f->tensors + f->skips;
    qsort(h->span, (size_t)count, sizeof *h->span, lsnni_compare_spans);
    for (int i = 0; i < count; i++) {
        const lsnni_span *span = &h->span[i];
        h->tensor = span->name;
        if (span->begin != end)
            return lsnni_header_fail(h, "its data starts at %.0f, not where those before end, "
                                     "at %.0f: %s", (double)span->begin, (double)end,
                                     span->begin < end ? "they overlap" : "there is a hole");
        end = span->end;
    }
    h->tensor = NULL;
    if (end == h->data_bytes) return LSNN_OK;
    return lsnni_header_fail(h, "%.0f bytes follow the last tensor's data",
                             (double)(h->data_bytes - end));
}

/* The bits of the float that has the value of an F16: a sign, 5 bits of exponent (bias 15),
   10 of fraction. Below 2^-14 it counts in steps of 2^-24.                   */
static uint32_t lsnni_bits_of_f16(uint32_t half)
{
    uint32_t sign = (half & 0x8000) << 16, exponent = half >> 10 & 31, low = half & 1023, bits;
    float small_value = (float)low / 16777216;
    memcpy(&bits, &small_value, 4);
    if (exponent == 31) bits = 0x7F800000 | low << 13;   /* infinity, NaN         */
    else if (exponent) bits = (exponent + 127 - 15) << 23 | low << 13;
    return sign | bits;
}

/* Past what is not read. The stream never seeks: no file is too long for a long. */
static lsnn_status lsnni_read_past(lsnni_header *h, uint64_t bytes)
{
    unsigned char chunk[16384];
    for (uint64_t n; bytes; bytes -= n) {
        n = LSNNI_MIN(bytes, sizeof chunk);
        LSNNI_TRY(lsnni_read_bytes(h, chunk, (size_t)n));
    }
    return LSNN_OK;
}

/* The number in the bytes at p. In the float build a float keeps its bits, whatever NaN it is:
   it never becomes a double. 0: it is too large for a float.                  */
static int lsnni_real_from(lsnn_real *v, const unsigned char *p, const lsnni_dtype *dtype)
{
    uint64_t bits = lsnni_bits_from(p, dtype->width);
    double wide;
    if (dtype->width <= 4) {
        uint32_t low = (uint32_t)bits;
        float x;
        if (dtype->width == 2) low = *dtype->name == 'F' ? lsnni_bits_of_f16(low) : low << 16;
        memcpy(&x, &low, 4);
        *v = LSNNI_R(x);
        return 1;
    }
    memcpy(&wide, &bits, 8);
    *v = LSNNI_R(wide);
    return fabs((double)*v) <= DBL_MAX || !(fabs(wide) <= DBL_MAX);
}

/* Reads t's numbers, a chunk at a time, into v.                              */
static lsnn_status lsnni_read_tensor(lsnni_header *h, const lsnn_tensor *t,
                                     const lsnni_dtype *dtype, lsnn_real *v)
{
    unsigned char chunk[16384];
    size_t width = dtype->width, most = sizeof chunk / width;
    h->tensor = t->name;
    for (size_t i = 0; i < t->count; i++) {
        const unsigned char *p = chunk + i % most * width;
        if (p == chunk)
            LSNNI_TRY(lsnni_read_bytes(h, chunk, LSNNI_MIN(most, t->count - i) * width));
        if (!lsnni_real_from(&v[i], p, dtype))
            return lsnni_header_fail(h, "a value is too large for float; build with LSNN_DOUBLE");
    }
    return LSNN_OK;
}

/* The data in file order, so that the stream never seeks.                    */
static lsnn_status lsnni_read_values(lsnni_header *h, lsnn_file *f)
{
    size_t count = 0;
    lsnn_real *v;
    for (int i = 0; i < f->tensors; i++) count = lsnni_plus(count, f->tensor[i].count);
    f->block_[2] = v = (lsnn_real *)lsnni_alloc(h->cx, count, sizeof *v);
    if (!v) return LSNN_ENOMEM;
    for (int i = 0; i < f->tensors + f->skips; i++) {
        const lsnni_span *span = &h->span[i];
        if (!span->tensor) {
            LSNNI_TRY(lsnni_read_past(h, span->end - span->begin));
            continue;
        }
        LSNNI_TRY(lsnni_read_tensor(h, span->tensor, span->dtype, v));
        span->tensor->v = v;
        v += span->tensor->count;
    }
    return LSNN_OK;
}

#if defined(LSNN_NO_DATA) && defined(LSNN_NO_PICTURES)
#define lsnni_npy_begins(stream) 0
#define lsnni_npy_load(cx, f, path) LSNN_EUNSUPPORTED
#else
static lsnn_status lsnni_npy_load(lsnn_ctx *cx, lsnn_file *f, const char *path);

/* A .npy or .npz file, see >>npy.                                            */
static int lsnni_npy_begins(FILE *stream)
{
    unsigned char v[6] = { 0 };
    size_t n = fread(v, 1, sizeof v, stream);
    rewind(stream);
    return n == 6 && (!memcmp(v, "\x93NUMPY", 6) || !memcmp(v, "PK\3\4", 4) ||
                      !memcmp(v, "PK\5\6", 4));
}
#endif

LSNN_API lsnn_status lsnn_file_read(lsnn_ctx *cx, lsnn_file *f, const char *path)
{
    lsnni_header h;
    lsnn_status s;
    memset(f, 0, sizeof *f);
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_file_read", path));
    memset(&h, 0, sizeof h);
    h.cx = cx;
    h.path = lsnni_path_end(path);
    h.stream = fopen(path, "rb");
    if (!h.stream)
        return lsnni_fail(cx, LSNN_EIO, "%s: cannot be opened: %s", h.path, strerror(errno));
    if (lsnni_npy_begins(h.stream)) {
        fclose(h.stream);
        return lsnni_npy_load(cx, f, path);
    }
    s = lsnni_read_header(&h, f);
    if (s == LSNN_OK) s = lsnni_read_tables(&h, f);
    if (s == LSNN_OK) s = lsnni_spans_check(&h, f);
    if (s == LSNN_OK) s = lsnni_read_values(&h, f);
    fclose(h.stream);
    if (s != LSNN_OK) lsnn_file_free(cx, f);
    return s;
}

LSNN_API void lsnn_file_free(lsnn_ctx *cx, lsnn_file *f)
{
    for (int i = 0; i < 4; i++) lsnni_free(cx, f->block_[i]);
    memset(f, 0, sizeof *f);
}

LSNN_API const lsnn_tensor *lsnn_file_tensor(const lsnn_file *f, const char *name)
{
    for (int i = 0; i < f->tensors && name; i++)
        if (strcmp(f->tensor[i].name, name) == 0) return &f->tensor[i];
    return NULL;
}

LSNN_API const char *lsnn_file_meta(const lsnn_file *f, const char *key)
{
    for (int i = 0; i < f->metas && key; i++)
        if (strcmp(f->meta[i].key, key) == 0) return f->meta[i].value;
    return NULL;
}

/* ---- >>file_write ------------------------------------------------------------*/
typedef struct lsnni_writer {
    const lsnn_tensor *tensor; int tensors;
    const lsnn_pair *meta; int metas;
    FILE *stream;                    /* NULL: only count                      */
    size_t header;                   /* its bytes so far                      */
} lsnni_writer;

LSNNI_PRINTF(2, 3)
static void lsnni_put(lsnni_writer *w, const char *format, ...)
{
    int n;
    va_list list;
    va_start(list, format);
    n = w->stream ? vfprintf(w->stream, format, list) : vsnprintf(NULL, 0, format, list);
    va_end(list);
    w->header += (size_t)LSNNI_MAX(n, 0);          /* the stream keeps its error */
}

static void lsnni_put_string(lsnni_writer *w, const char *s)
{
    lsnni_put(w, "\"");
    for (; *s; s++) {
        if (*s == '"' || *s == '\\') lsnni_put(w, "\\%c", *s);
        else if (*s == '\n') lsnni_put(w, "\\n");
        else if ((unsigned char)*s < 32) lsnni_put(w, "\\u%04x", (unsigned)*s);
        else lsnni_put(w, "%c", *s);
    }
    lsnni_put(w, "\"");
}

/* The header, to the stream or only counted.                                 */
static void lsnni_put_header(lsnni_writer *w)
{
    unsigned long long end = 0;
    w->header = 0;
    lsnni_put(w, w->metas ? "{\"__metadata__\":{" : "{");
    for (int i = 0; i < w->metas; i++) {
        if (i) lsnni_put(w, ",");
        lsnni_put_string(w, w->meta[i].key);
        lsnni_put(w, ":");
        lsnni_put_string(w, w->meta[i].value);
    }
    if (w->metas) lsnni_put(w, "}");
    for (int i = 0; i < w->tensors; i++) {
        const lsnn_tensor *t = &w->tensor[i];
        unsigned long long begin = end;
        end += t->count * sizeof(lsnn_real);
        if (i || w->metas) lsnni_put(w, ",");
        lsnni_put_string(w, t->name);
        lsnni_put(w, ":{\"dtype\":\"F%d\",\"shape\":[", 8 * (int)sizeof(lsnn_real));
        for (int k = 0; k < t->rank; k++)
            lsnni_put(w, k ? ",%d" : "%d", lsnni_tensor_dim(t, k));
        lsnni_put(w, "],\"data_offsets\":[%llu,%llu]}", begin, end);
    }
    lsnni_put(w, "}");
    while (w->header % 8) lsnni_put(w, " ");       /* the data starts on 8 bytes */
}

static void lsnni_bytes_of(unsigned char *p, uint64_t bits, size_t width)
{
    for (size_t k = 0; k < width; k++) p[k] = (unsigned char)(bits >> (8*k));
}

static lsnn_status lsnni_write_values(FILE *f, const lsnn_real *v, size_t count)
{
    unsigned char chunk[16384];
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
#ifdef LSNN_DOUBLE
        uint64_t bits;
#else
        uint32_t bits;
#endif
        memcpy(&bits, v + i, sizeof bits);
        lsnni_bytes_of(chunk + used, bits, sizeof bits);
        used += sizeof bits;
        if (used < sizeof chunk && i + 1 < count) continue;
        if (fwrite(chunk, 1, used, f) != used) return LSNN_EIO;
        used = 0;
    }
    return LSNN_OK;
}

/* For lsnni_file_replace.                                                    */
static lsnn_status lsnni_write_file(lsnn_ctx *cx, FILE *f, void *user)
{
    lsnni_writer *w = (lsnni_writer *)user;
    unsigned char length[8];
    (void)cx;
    lsnni_bytes_of(length, w->header, 8);
    fwrite(length, 1, 8, f);
    w->stream = f;
    lsnni_put_header(w);
    if (ferror(f)) return LSNN_EIO;
    for (int i = 0; i < w->tensors; i++)
        LSNNI_TRY(lsnni_write_values(f, w->tensor[i].v, w->tensor[i].count));
    return LSNN_OK;
}

static lsnn_status lsnni_write_check_text(lsnn_ctx *cx, const char *path, const char *text)
{
    int n;
    if (!text) return lsnni_fail(cx, LSNN_EVALUE, "%s: a name or a text is NULL", path);
    for (const char *s = text; *s; s += n)
        if ((n = lsnni_utf8_length(s)) == 0)
            return lsnni_fail(cx, LSNN_EVALUE, "%s: the text '%.60s' is not valid UTF-8", path,
                              text);
    return LSNN_OK;
}

static lsnn_status lsnni_write_check_tensor(lsnn_ctx *cx, const char *path,
                                            const lsnn_tensor *t, size_t *bytes)
{
    size_t own = 0;
    LSNNI_TRY(lsnni_write_check_text(cx, path, t->name));
    if (t->rank < 0 || (t->rank > 4 && !t->dims) || !lsnni_tensor_bytes(t, sizeof *t->v, &own) ||
        own / sizeof *t->v != t->count || lsnni_plus(*bytes, own) == LSNNI_TOO_LARGE)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: tensor '%.60s': rank %d (above 4: with dims) "
                          "and its dimensions do not give a count of %.0f, or the file's size "
                          "overflows", path, t->name, t->rank, (double)t->count);
    *bytes += own;
    if (strcmp(t->name, "__metadata__") == 0)
        return lsnni_fail(cx, LSNN_EVALUE, "%s: a tensor cannot be named %s", path, t->name);
    if (!t->v && own)
        return lsnni_fail(cx, LSNN_EVALUE, "%s: tensor '%.60s' has no values", path, t->name);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_file_write(lsnn_ctx *cx, const char *path, const lsnn_tensor *t,
                                     int tensors, const lsnn_pair *meta, int metas)
{
    lsnni_writer w = {t, tensors, meta, metas, NULL, 0};
    const char *shown;
    size_t bytes = 0;
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_file_write", path));
    shown = lsnni_path_end(path);
    if (tensors < 0 || metas < 0)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: %d tensors, %d metadata", shown, tensors,
                          metas);
    for (int i = 0; i < tensors; i++)
        LSNNI_TRY(lsnni_write_check_tensor(cx, shown, &t[i], &bytes));
    for (int i = 0; i < metas; i++) {
        LSNNI_TRY(lsnni_write_check_text(cx, shown, meta[i].key));
        LSNNI_TRY(lsnni_write_check_text(cx, shown, meta[i].value));
    }
    LSNNI_TRY(lsnni_names_check(cx, LSNN_EVALUE, shown, t, tensors, NULL, 0, meta, metas));
    lsnni_put_header(&w);
    if (w.header > LSNNI_HEADER_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: a header of %.0f bytes is above %d", shown,
                          (double)w.header, LSNNI_HEADER_MAX);
    return lsnni_file_replace(cx, path, lsnni_write_file, &w);
}
/* ============================================================================
   >>models  nets in files
   A model file is a safetensors file: parameters and buffers by name, and in the
   metadata "lsnn.graph", one line a layer,
       input input C H W
       NAME TYPE [x=INPUT,INPUT] [share=NAME] [table=TEXT] [option=value] ...
   "lsnn.output", the layer that is predicted, and "lsnn.version", what wrote it.
   A checkpoint holds the optimizer's state and the position in training too.
   ==========================================================================*/

/* ---- >>strings: text that grows ------------------------------------------------*/
typedef struct lsnni_string {
    lsnn_ctx *cx;
    char *v;
    int used, room;
    lsnn_status status;
} lsnni_string;

LSNNI_PRINTF(2, 3)
static void lsnni_print(lsnni_string *t, const char *format, ...)
{
    char piece[512];
    va_list list;
    int n;
    va_start(list, format);
    n = vsnprintf(piece, sizeof piece, format, list);
    va_end(list);
    n = LSNNI_MIN(LSNNI_MAX(n, 0), (int)sizeof piece - 1);
    for (int i = 0; i <= n && t->status == LSNN_OK; i++) {
        t->status = lsnni_grow(t->cx, (void **)&t->v, t->used, &t->room, 1);
        if (t->status == LSNN_OK) t->v[t->used++] = piece[i];
    }
    if (t->status == LSNN_OK) t->used--;                 /* the next piece goes over the 0 */
}

/* Numbers are written and read with a point, whatever stands for it in the program's locale:
   a comma, or a character of several bytes (U+066B).                         */
static void lsnni_plain_point(char *text)
{
    char *to = text;
    for (const char *p = text; *p; p++)
        if (strchr("0123456789+-einfa", *p)) *to++ = *p;
        else if (to == text || to[-1] != '.') *to++ = '.';
    *to = 0;
}

static const char *lsnni_number(char text[40], double v)
{
    snprintf(text, 40, "%.17g", v);
    lsnni_plain_point(text);
    return text;
}

static int lsnni_parse_number(const char *text, double *v)
{
    char copy[80], half[16], *end;
    const char *dot = strchr(text, '.');
    size_t n = strlen(text), whole = dot ? (size_t)(dot - text) : n;
    if (!n || n >= 64 || strspn(text, "0123456789+-.eEinfa") < n) return 0;
    snprintf(half, sizeof half, "%.1f", 0.5);            /* 0, the point, 5       */
    half[strlen(half) - 1] = 0;
    snprintf(copy, sizeof copy, "%.*s%s%s", (int)whole, text, dot ? half + 1 : "",
             dot ? dot + 1 : "");
    *v = strtod(copy, &end);
    return *end == 0;
}

/* ---- >>graph: the net as text and back ------------------------------------------*/
static void lsnni_graph_write(const lsnn_net *net, lsnni_string *t)
{
    char number[40];
    lsnn_shape in = net->node[0].plan.out;
    lsnni_print(t, "%s input %d %d %d\n", net->node[0].name, in.c, in.h, in.w);
    for (int i = 1; i < net->nodes; i++) {
        const lsnni_node *v = &net->node[i];
        lsnni_print(t, "%s %s", v->name, v->type->name);
        for (int j = 0; j < (v->joined < 0 ? v->plan.inputs : 1); j++)
            lsnni_print(t, "%s%s", j ? "," : " x=",
                        net->node[v->joined < 0 ? v->input[j] : v->joined].name);
        if (v->share) lsnni_print(t, " share=%s", v->share);
        if (v->table) lsnni_print(t, " table=");
        for (const char *p = v->table; p && *p; p += LSNNI_MIN(strlen(p), 400))
            lsnni_print(t, "%.400s", p);                 /* of any length     */
        for (int f = 0; f < LSNNI_FIELDS; f++) {
            double value = lsnni_field_get(&v->plan.o, &lsnni_fields[f]);
            if (value < 0 || value > 0)
                lsnni_print(t, " %s=%s", lsnni_fields[f].name, lsnni_number(number, value));
        }
        lsnni_print(t, "\n");
    }
}

/* The line of a graph that begins with `name`, and where it ends; NULL: none.  */
static const char *lsnni_graph_find(const char *graph, const char *name, const char **end)
{
    size_t n = strlen(name);
    for (const char *line = graph; *line; line = **end ? *end + 1 : *end) {
        *end = line + strcspn(line, "\n");
        if (strncmp(line, name, n) == 0 && line[n] == ' ') return line;
    }
    return NULL;
}

/* The first word of line a, after its name, that line b has not: a type or an option.
   What a layer reads, and what only training asks for, may differ.           */
static const char *lsnni_graph_differs(const char *a, const char *a_end, const char *b,
                                       const char *b_end)
{
    static const char *const free_words[] = { "x=", "share=", "keep=", "init=", "init_scale=",
        "lr_factor=", "freeze=", "no_decay=", "rate=", "momentum=", "head=", "loss_weight=",
        "dsc_alpha_max=", "dsc_tau=", "dsc_xi=", "dsc_eta=", "dsc_theta=", "dsc_spread=",
        "dsc_silent=" };
    size_t n;
    for (a += strcspn(a, " \n"); a < a_end; a += n) {
        const char *c = b + strcspn(b, " \n");
        int found = 0;
        a += *a == ' ';
        n = strcspn(a, " \n");
        for (size_t i = 0; i < sizeof free_words / sizeof *free_words; i++)
            found |= strncmp(a, free_words[i], strlen(free_words[i])) == 0;
        for (size_t m; c < b_end && !found; c += m) {
            c += *c == ' ';
            m = strcspn(c, " \n");
            found = m == n && strncmp(a, c, n) == 0;
        }
        if (!found) return a;
    }
    return NULL;
}

/* Layers that the file and the net both have do the same in both: of the same sizes a
   smoother could be normalised here and not there. A file without a graph says nothing.
   differs: NULL, or one a node, all 0: those that differ are marked, and it is no failure. */
static lsnn_status lsnni_graph_match(const lsnn_net *net, const lsnn_file *f, const char *path,
                                     char *differs)
{
    const char *theirs = lsnn_file_meta(f, "lsnn.graph"), *end, *own_end;
    lsnni_string own;
    lsnn_status s;
    if (!theirs) return LSNN_OK;
    memset(&own, 0, sizeof own);
    own.cx = net->cx;
    lsnni_graph_write(net, &own);
    s = own.status;
    for (int i = 1; i < net->nodes && s == LSNN_OK; i++) {
        const char *line = lsnni_graph_find(theirs, net->node[i].name, &end);
        const char *mine = lsnni_graph_find(own.v, net->node[i].name, &own_end), *word;
        if (!line || !mine) continue;
        word = lsnni_graph_differs(line, end, mine, own_end);
        if (differs) differs[i] = word || lsnni_graph_differs(mine, own_end, line, end);
        else if (word)
            s = lsnni_fail(net->cx, LSNN_ESTATE, "%.120s: there, layer '%.60s' has %.*s, which "
                           "it has not here", path, net->node[i].name,
                           (int)LSNNI_MIN(strcspn(word, " \n"), 60), word);
        else if ((word = lsnni_graph_differs(mine, own_end, line, end)) != NULL)
            s = lsnni_fail(net->cx, LSNN_ESTATE, "%.120s: layer '%.60s' has not %.*s there, "
                           "which it has here", path, net->node[i].name,
                           (int)LSNNI_MIN(strcspn(word, " \n"), 60), word);
    }
    lsnni_free(net->cx, own.v);
    return s;
}

typedef struct lsnni_reader {
    lsnn_net *net;
    const char *path;
    const lsnn_layer_type *const *types;
    int count, line;
} lsnni_reader;

static lsnn_status lsnni_graph_fail(const lsnni_reader *r, const char *what, const char *word)
{
    return lsnni_fail(r->net->cx, LSNN_EFORMAT, "%.120s: line %d of lsnn.graph: %s \"%.60s\"",
                      r->path, r->line, what, word);
}

/* Cuts the next word off *at, which ends at `mark` or 0.                     */
static char *lsnni_word(char **at, char mark)
{
    char *word = *at, *end = strchr(word, mark);
    if (end) *end++ = 0;
    *at = end ? end : word + strlen(word);
    return word;
}

/* name=value into the options, or the inputs.                                */
static lsnn_status lsnni_graph_word(const lsnni_reader *r, char *word, lsnn_options *o, int *x,
                                    int *count)
{
    char *value = strchr(word, '=');
    double number;
    if (!value) return lsnni_graph_fail(r, "not name=value:", word);
    *value++ = 0;
    if (strcmp(word, "share") == 0) {
        o->share = value;
        return LSNN_OK;
    }
    if (strcmp(word, "table") == 0) {
        o->table = value;
        return LSNN_OK;
    }
    if (strcmp(word, "x") == 0) {
        while (*value) {
            char *name = lsnni_word(&value, ',');
            int node = lsnn_net_node(r->net, name);
            if (node < 0 || *count == LSNN_MAX_INPUTS)
                return lsnni_graph_fail(r, node < 0 ? "no layer" : "too many inputs at", name);
            x[(*count)++] = node;
        }
        return LSNN_OK;
    }
    if (!lsnni_parse_number(value, &number))
        return lsnni_graph_fail(r, "not a number:", value);
    for (int f = 0; f < LSNNI_FIELDS; f++)
        if (strcmp(word, lsnni_fields[f].name) == 0) {
            if (lsnni_fields[f].kind == 'i' && !(fabs(number) <= INT_MAX))
                return lsnni_graph_fail(r, "not an int:", value);
            lsnni_field_set(o, &lsnni_fields[f], number);
            return LSNN_OK;
        }
    return lsnni_graph_fail(r, "no option", word);
}

static lsnn_status lsnni_graph_line(const lsnni_reader *r, char *line)
{
    const lsnn_layer_type *type = NULL;
    char *name = lsnni_word(&line, ' '), *kind = lsnni_word(&line, ' ');
    int x[LSNN_MAX_INPUTS], count = 0;
    lsnn_options o;
    memset(&o, 0, sizeof o);
    if (r->line == 1) {
        double size[3];
        for (int i = 0; i < 3; i++)
            if (strcmp(kind, "input") != 0 ||
                !lsnni_parse_number(lsnni_word(&line, ' '), &size[i]) ||
                !(size[i] >= 1 && size[i] <= INT_MAX))
                return lsnni_graph_fail(r, "the first line must be \"input input C H W\"; it "
                                        "begins with", name);
        return lsnn_input(r->net, (int)size[0], (int)size[1], (int)size[2]) < 0 ?
            r->net->why : LSNN_OK;
    }
    for (int i = 0; i < r->count && !type; i++)
        if (strcmp(r->types[i]->name, kind) == 0) type = r->types[i];
    if (!type) type = lsnni_type(kind);
    if (!type || strcmp(kind, "input") == 0)
        return lsnni_graph_fail(r, "unknown layer type (a type of your own is passed to "
                                "lsnn_net_load):", kind);
    o.name = name;
    while (*line) LSNNI_TRY(lsnni_graph_word(r, lsnni_word(&line, ' '), &o, x, &count));
    return lsnn_layer(r->net, type, x, count, &o) < 0 ? r->net->why : LSNN_OK;
}

static lsnn_status lsnni_graph_read(lsnni_reader *r, const lsnn_file *f)
{
    const char *graph = lsnn_file_meta(f, "lsnn.graph");
    const char *out = lsnn_file_meta(f, "lsnn.output");
    lsnn_status s = LSNN_OK;
    char *copy, *at;
    if (!graph || !*graph || !out)
        return lsnni_fail(r->net->cx, LSNN_EFORMAT, "%.160s holds no net: its metadata lacks "
                          "%s; lsnn_net_read reads parameters alone", r->path,
                          graph && *graph ? "lsnn.output" : "lsnn.graph");
    at = copy = lsnni_strdup(r->net->cx, graph);
    if (!copy) return LSNN_ENOMEM;
    for (r->line = 1; *at && s == LSNN_OK; r->line++)
        s = lsnni_graph_line(r, lsnni_word(&at, '\n'));
    lsnni_free(r->net->cx, copy);
    if (s != LSNN_OK) return s;
    if (lsnn_net_node(r->net, out) < 0)
        return lsnni_fail(r->net->cx, LSNN_EFORMAT, "%.160s: lsnn.output names no layer",
                          r->path);
    lsnn_net_set_output(r->net, lsnn_net_node(r->net, out));
    return LSNN_OK;
}

/* ---- >>save and load --------------------------------------------------------------*/
enum { LSNNI_METAS = 24 };
typedef struct lsnni_saver {
    lsnn_tensor *tensor;
    int tensors, metas;
    lsnn_pair meta[LSNNI_METAS];
    char value[LSNNI_METAS][40];
} lsnni_saver;

static void lsnni_saver_text(lsnni_saver *s, const char *key, const char *value)
{
    s->meta[s->metas].key = key;
    s->meta[s->metas++].value = value;
}

static void lsnni_saver_tensors(lsnni_saver *s, const lsnni_param *p, int count,
                                const lsnn_real *block)
{
    for (int i = 0; i < count; i++) {
        lsnn_tensor *t = &s->tensor[s->tensors++];
        t->name = p[i].name;
        t->rank = p[i].spec.rank;
        memcpy(t->dim, p[i].spec.dim, sizeof t->dim);
        t->count = p[i].spec.count;
        t->v = block + p[i].at;
    }
}

/* The net, after the tensors and metadata that the caller has put into s.    */
static lsnn_status lsnni_net_write(lsnn_net *net, lsnni_saver *s, const char *path)
{
    lsnni_string graph;
    lsnn_status status;
    memset(&graph, 0, sizeof graph);
    graph.cx = net->cx;
    lsnni_graph_write(net, &graph);
    status = graph.status;
    if (status == LSNN_OK) {
        lsnni_saver_text(s, "lsnn.version", LSNN_VERSION);
        lsnni_saver_text(s, "lsnn.graph", graph.v);
        lsnni_saver_text(s, "lsnn.output", net->node[net->output].name);
        lsnni_saver_tensors(s, net->param, net->params, net->value);
        lsnni_saver_tensors(s, net->buffer, net->buffers, net->state);
        status = lsnn_file_write(net->cx, path, s->tensor, s->tensors, s->meta, s->metas);
    }
    lsnni_free(net->cx, graph.v);
    return status;
}

LSNN_API lsnn_status lsnn_net_save(lsnn_net *net, const char *path)
{
    if (!net) return LSNN_ENOMEM;
    lsnni_saver *s;
    lsnn_status status;
    if (!net->built)
        return lsnni_fail(net->cx, LSNN_ESTATE, "lsnn_net_save: call lsnn_net_build first");
    s = (lsnni_saver *)lsnni_alloc(net->cx, 1, sizeof *s);
    if (!s) return LSNN_ENOMEM;
    s->tensor = (lsnn_tensor *)lsnni_alloc(net->cx, (size_t)(net->params + net->buffers),
                                           sizeof *s->tensor);
    status = s->tensor ? lsnni_net_write(net, s, path) : LSNN_ENOMEM;
    lsnni_free(net->cx, s->tensor);
    lsnni_free(net->cx, s);
    return status;
}

static int lsnni_same_sizes(const lsnn_tensor *t, const lsnni_param *p)
{
    return t->rank == p->spec.rank &&
        memcmp(t->dim, p->spec.dim, (size_t)t->rank * sizeof t->dim[0]) == 0;
}

/* The tensor of that name, if its sizes are p's.                             */
static lsnn_status lsnni_match(lsnn_ctx *cx, const lsnn_file *f, const char *path,
                               const char *name, const lsnni_param *p,
                               const lsnn_tensor **found)
{
    const lsnn_tensor *t = *found = lsnn_file_tensor(f, name);
    for (int i = 0; i < f->skips && !t; i++)
        if (strcmp(f->skipped[i].key, name) == 0)
            return lsnni_fail(cx, LSNN_EFORMAT, "%.120s: the dtype of tensor '%.120s' is %.20s, "
                              "which is not read", path, name, f->skipped[i].value);
    if (!t) return lsnni_fail(cx, LSNN_EFORMAT, "%.120s has no tensor '%.120s'", path, name);
    if (!lsnni_same_sizes(t, p))
        return lsnni_fail(cx, LSNN_ESHAPE,
                          "%.120s: the sizes of tensor '%.120s' (%.0f numbers) are "
                          "not those of the net (%.0f numbers)", path, name, (double)t->count,
                          (double)p->spec.count);
    return LSNN_OK;
}

static lsnn_status lsnni_read_block(lsnn_ctx *cx, const lsnn_file *f, const char *path,
                                    const char *prefix, const lsnni_param *p, int count,
                                    lsnn_real *block)
{
    const lsnn_tensor *t;
    char name[512];
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%s%s", prefix, p[i].name);
        LSNNI_TRY(lsnni_match(cx, f, path, name, &p[i], &t));
        if (block) memcpy(block + p[i].at, t->v, t->count * sizeof *block);
    }
    return LSNN_OK;
}

/* The file has the net's parameters and buffers and, if it has a graph, no others but an
   optimizer's.                                                               */
static lsnn_status lsnni_net_match(lsnn_net *net, const lsnn_file *f, const char *path)
{
    LSNNI_TRY(lsnni_read_block(net->cx, f, path, "", net->param, net->params, NULL));
    LSNNI_TRY(lsnni_read_block(net->cx, f, path, "", net->buffer, net->buffers, NULL));
    for (int i = 0; i < f->tensors && lsnn_file_meta(f, "lsnn.graph"); i++) {
        const char *name = f->tensor[i].name;
        if (strncmp(name, "optimizer.", 10) != 0 &&
            lsnni_find_param(net->param, net->params, name) < 0 &&
            lsnni_find_param(net->buffer, net->buffers, name) < 0)
            return lsnni_fail(net->cx, LSNN_EFORMAT,
                              "%.120s: the net has no parameter '%.120s'", path, name);
    }
    return LSNN_OK;
}

/* Everything is checked before anything is changed.                          */
static lsnn_status lsnni_net_fill(lsnn_net *net, const lsnn_file *f, const char *path)
{
    lsnni_changed(net);
    LSNNI_TRY(lsnni_read_block(net->cx, f, path, "", net->param, net->params, net->value));
    return lsnni_read_block(net->cx, f, path, "", net->buffer, net->buffers, net->state);
}

/* ---- >>read as: under other names, and only what fits -----------------------------*/

/* What the file calls the net's `name`, NULL: it is not to be read.          */
static const char *lsnni_name_there(const lsnn_read_desc *d, const char *name)
{
    for (int i = 0; i < d->name_count; i++)
        if (strcmp(d->names[i].key, name) == 0) return d->names[i].value;
    return name;
}

static lsnn_status lsnni_names_known(const lsnn_net *net, const lsnn_read_desc *d)
{
    for (int i = 0; i < d->name_count; i++) {
        const char *name = d->names ? d->names[i].key : NULL;
        if (!name || (lsnni_find_param(net->param, net->params, name) < 0 &&
                      lsnni_find_param(net->buffer, net->buffers, name) < 0))
            return lsnni_fail(net->cx, LSNN_ENAME, "lsnn_net_read_as: name %d: the net has no "
                              "parameter or buffer '%.120s'", i + 1, name ? name : "(NULL)");
    }
    return LSNN_OK;
}

/* Counts, and with a block copies, what is taken of these parameters.        */
static lsnn_status lsnni_take_fitting(const lsnn_net *net, const lsnn_file *f, const char *path,
                              const lsnn_read_desc *d, const char *differs,
                              const lsnni_param *p, int count, lsnn_real *block, int *taken)
{
    for (int i = 0; i < count; i++) {
        const char *name = lsnni_name_there(d, p[i].name);
        const lsnn_tensor *t = name ? lsnn_file_tensor(f, name) : NULL;
        if (!name || (d->partial && (!t || !lsnni_same_sizes(t, &p[i]) ||
                                     differs[p[i].owner]))) continue;
        LSNNI_TRY(lsnni_match(net->cx, f, path, name, &p[i], &t));
        if (block) memcpy(block + p[i].at, t->v, t->count * sizeof *block);
        else ++*taken;
    }
    return LSNN_OK;
}

static lsnn_status lsnni_read_as(lsnn_net *net, const lsnn_file *f, const char *path,
                                 const lsnn_read_desc *d, char *differs)
{
    int taken = 0;
    LSNNI_TRY(lsnni_graph_match(net, f, path, d->partial ? differs : NULL));
    for (int pass = 0; pass < 2; pass++) {               /* to check, then to change */
        LSNNI_TRY(lsnni_take_fitting(net, f, path, d, differs, net->param, net->params,
                             pass ? net->value : NULL, &taken));
        LSNNI_TRY(lsnni_take_fitting(net, f, path, d, differs, net->buffer, net->buffers,
                             pass ? net->state : NULL, &taken));
        if (!taken)
            return lsnni_fail(net->cx, LSNN_EFORMAT, "%.120s: none of its %d tensors has the "
                              "name and the sizes of a parameter of the net", path, f->tensors);
        if (!pass) lsnni_changed(net);
    }
    if (d->taken) *d->taken = taken;
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_net_read_as(lsnn_net *net, const char *path, const lsnn_read_desc *d)
{
    lsnn_status s;
    lsnn_file f;
    char *differs;
    if (!net) return LSNN_ENOMEM;
    if (!d) return lsnn_net_read(net, path);
    if (d->taken) *d->taken = 0;
    if (!net->built)
        return lsnni_fail(net->cx, LSNN_ESTATE, "lsnn_net_read_as: call lsnn_net_build first");
    LSNNI_TRY(lsnni_names_known(net, d));
    LSNNI_TRY(lsnn_file_read(net->cx, &f, path));
    differs = (char *)lsnni_alloc(net->cx, (size_t)net->nodes, 1);
    s = differs ? lsnni_read_as(net, &f, lsnni_path_end(path), d, differs) : LSNN_ENOMEM;
    lsnni_free(net->cx, differs);
    lsnn_file_free(net->cx, &f);
    return s;
}

LSNN_API lsnn_status lsnn_net_read(lsnn_net *net, const char *path)
{
    if (!net) return LSNN_ENOMEM;
    lsnn_file f;
    lsnn_status s;
    if (!net->built)
        return lsnni_fail(net->cx, LSNN_ESTATE, "lsnn_net_read: call lsnn_net_build first");
    LSNNI_TRY(lsnn_file_read(net->cx, &f, path));
    s = lsnni_net_match(net, &f, path);
    if (s == LSNN_OK) s = lsnni_graph_match(net, &f, path, NULL);
    if (s == LSNN_OK) s = lsnni_net_fill(net, &f, path);
    lsnn_file_free(net->cx, &f);
    return s;
}

LSNN_API lsnn_net *lsnn_net_load(lsnn_ctx *cx, const char *path, const lsnn_build_desc *d,
                                 const lsnn_layer_type *const *types, int count)
{
    lsnn_net *net = NULL;
    lsnni_reader r;
    lsnn_file f;
    lsnn_status s;
    if (lsnn_file_read(cx, &f, path) != LSNN_OK) return NULL;
    net = lsnn_net_new(cx);
    r.net = net;
    r.path = path;
    r.types = types;
    r.count = count;
    s = net ? lsnni_graph_read(&r, &f) : LSNN_ENOMEM;
    if (s == LSNN_OK) s = lsnni_net_match(net, &f, path);  /* before memory is taken */
    if (s == LSNN_OK) s = lsnn_net_build(net, d);
    if (s == LSNN_OK) s = lsnni_net_fill(net, &f, path);
    lsnn_file_free(cx, &f);
    if (s == LSNN_OK) return net;
    lsnn_net_free(net);
    return NULL;
}

/* ============================================================================
   >>export  a trained net as one C99 file that predicts
   Functions for the kinds of layers that the net has, plain loops; its parameters as constant
   arrays; and NAME_predict, a call a layer, whose buffers lie where the >>memory plan puts
   them. A layer type has a writer below: it names the function it needs, its arrays, and
   prints its call. It is called three times, as the file has three parts.
   ==========================================================================*/
typedef enum lsnni_c_part { LSNNI_C_ASK, LSNNI_C_DATA, LSNNI_C_CALLS } lsnni_c_part;
enum { LSNNI_C_FUNCTIONS = 24 };
typedef struct lsnni_c {
    lsnn_ctx *cx;
    lsnn_net *net;
    const lsnn_export_desc *d;
    const char *name;
    FILE *f;
    lsnni_c_part part;
    const char *function[LSNNI_C_FUNCTIONS]; int functions;  /* asked for       */
    lsnni_life *place;               /* one a node, of its output             */
    int *at, *last;                  /* one a node: in whose place it lies; its last reader */
    char *written;                   /* one a parameter: its array is         */
    size_t work;                     /* floats of buffer                      */
    lsnn_real *row;                  /* room for an array that is no parameter */
} lsnni_c;

/* ---- >>storage: what is left of a weight ---------------------------------------------
   int8: one step a row, that is for all weights of one output: w = step q, q from -127 to
   127. Half: IEEE binary16, rounded to nearest even.                          */
static double lsnni_step_of(const lsnn_real *w, size_t depth, size_t inner)
{
    double most = 0;
    for (size_t q = 0; q < depth; q++) most = LSNNI_MAX(most, fabs((double)w[q * inner]));
    return (double)(float)(most / 127);
}

static int lsnni_int8_of(double w, double step)
{
    return step > 0 ? (int)LSNNI_MAX(-127, LSNNI_MIN(127, floor(w / step + 0.5))) : 0;
}

/* v in units of the last place that a half of its size has.                   */
static unsigned lsnni_half_of(double v)
{
    int e;
    double m = frexp(fabs(v), &e), whole, rest;          /* |v| = m 2^e, m in [0.5, 1) */
    unsigned sign = v < 0 ? 0x8000u : 0, bits;
    if (!(fabs(v) > 0)) return sign;
    if (e < -13) { m = ldexp(m, e + 13); e = -13; }      /* a subnormal       */
    m = ldexp(m, 11);
    whole = floor(m);
    rest = m - whole;
    if (rest > 0.5 || (rest >= 0.5 && fmod(whole, 2) > 0)) whole++;
    bits = (unsigned)whole + (unsigned)(e + 13) * 1024;  /* a carry goes into the exponent */
    return bits < 0x7c00u ? sign | bits : 0x7c00u;
}

static double lsnni_half_value(unsigned h)
{
    int e = (int)(h >> 10 & 31), m = (int)(h & 1023);
    double v = ldexp(e ? m + 1024 : m, (e ? e : 1) - 25);
    return h & 0x8000u ? -v : v;
}

/* Where rows of `depth` weights lie: element q of row r of an array [r / inner][q][r % inner].
   Only local2d has inner above 1.                                            */
typedef struct lsnni_layout { size_t rows, depth, inner; } lsnni_layout;
static size_t lsnni_row_at(const lsnni_layout *s, size_t r)
{
    return r / s->inner * s->depth * s->inner + r % s->inner;
}

static lsnni_layout lsnni_layout_of(const lsnni_node *v)
{
    const lsnn_param_spec *w = &v->plan.param[0];
    lsnni_layout s;
    s.inner = v->type == &lsnni_local2d_type ? (size_t)v->plan.out.c : 1;
    s.depth = w->rank > 1 ? w->count / (size_t)w->dim[0] / s.inner : w->count;
    s.rows = w->count / s.depth;
    return s;
}

/* The layers whose first parameter is stored as the description says.         */
static int lsnni_has_weights(const lsnni_node *v)
{
    return v->type == &lsnni_dense_type || v->type == &lsnni_conv2d_type ||
           v->type == &lsnni_local2d_type || v->type == &lsnni_table_conv2d_type;
}

LSNN_API lsnn_status lsnn_net_round(lsnn_net *net, lsnn_storage storage)
{
    if (!net) return LSNN_ENOMEM;
    if (!net->built) return lsnni_fail(net->cx, LSNN_ESTATE, "net_round: build the net first");
    if ((int)storage < 0 || storage > LSNN_STORE_INT8)
        return lsnni_fail(net->cx, LSNN_EVALUE, "net_round: storage %d is unknown",
                          (int)storage);
    for (int i = 0; i < net->nodes; i++) {
        const lsnni_node *v = &net->node[i];
        lsnni_layout s;
        lsnn_real *w;
        if (!lsnni_has_weights(v) || v->share) continue;
        s = lsnni_layout_of(v);
        for (size_t r = 0; r < s.rows; r++) {
            double step;
            w = net->value + net->param[v->param[0]].at + lsnni_row_at(&s, r);
            step = lsnni_step_of(w, s.depth, s.inner);
            for (size_t q = 0; q < s.depth; q++) {
                lsnn_real *p = w + q * s.inner;
                double x = (double)(float)*p;
                if (storage == LSNN_STORE_HALF) x = lsnni_half_value(lsnni_half_of(x));
                if (storage == LSNN_STORE_INT8) x = step * lsnni_int8_of(x, step);
                *p = LSNNI_R(x);
            }
        }
    }
    lsnni_changed(net);
    return LSNN_OK;
}

/* What every way out asks of a net first: all that it will read is there and finite.   */
static lsnn_status lsnni_export_check(const lsnn_net *net, const char *who, const char *path)
{
    lsnn_ctx *cx = net->cx;
    if (!net->built) return lsnni_fail(cx, LSNN_ESTATE, "%s: build the net first", who);
    LSNNI_TRY(lsnni_path_check(cx, who, path));
    if (net->output == 0)
        return lsnni_fail(cx, LSNN_ESTATE, "%s: the net's output is its input", who);
    for (int i = 0; i < net->params + net->buffers; i++) {
        const lsnni_param *p = i < net->params ? &net->param[i] : &net->buffer[i - net->params];
        const lsnn_real *v = (i < net->params ? net->value : net->state) + p->at;
        for (size_t j = 0; j < p->spec.count; j++)
            if (!(fabs((double)v[j]) <= (double)FLT_MAX))
                return lsnni_fail(cx, LSNN_EVALUE, "%s: number %.0f of %.60s is %g, which is no "
                                  "finite float", who, (double)j, p->name, (double)v[j]);
    }
    return LSNN_OK;
}

/* ---- >>functions: what the file may contain -------------------------------------------
   In these texts @W is the parameter that weights come as, @[i] weight number i, and @<r> the
   step of row r to multiply with, or nothing.                                */
static const char *const lsnni_c_window =
    "/* c x h x w pixels in, k x oh x ow out; kernels kh x kw, strides, padding before. */\n"
    "typedef struct { int c, h, w, k, oh, ow, kh, kw, sh, sw, top, left; } window;\n\n"
    "/* The part [*a, *b) of a kernel's side that lies inside the image. */\n"
    "static void clip(int first, int kernel, int size, int *a, int *b)\n"
    "{\n"
    "    *a = first < 0 ? -first : 0;\n"
    "    *b = first + kernel > size ? size - first : kernel;\n"
    "}\n\n";
static const char *const lsnni_c_dense_text =
    "static void dense(float *y, const float *x, @W, const float *b, int in, int out)\n"
    "{\n"
    "    for (int k = 0; k < out; k++) {\n"
    "        float part[4] = { 0, 0, 0, 0 };  /* four sums: quicker, and rounded less */\n"
    "        int i = 0;\n"
    "        for (; i + 4 <= in; i += 4)\n"
    "            for (int j = 0; j < 4; j++) part[j] += x[i + j] * @[k * in + i + j];\n"
    "        for (; i < in; i++) part[0] += x[i] * @[k * in + i];\n"
    "        y[k] = (b ? b[k] : 0) + ((part[0] + part[1]) + (part[2] + part[3]))@<k>;\n"
    "    }\n"
    "}\n\n";
static const char *const lsnni_c_conv2d_text =
    "static void conv2d(float *y, const float *x, @W, const float *b, window s)\n"
    "{\n"
    "    for (int k = 0; k < s.k; k++)\n"
    "    for (int i = 0; i < s.oh; i++)\n"
    "    for (int j = 0; j < s.ow; j++) {\n"
    "        int top = i * s.sh - s.top, left = j * s.sw - s.left, u0, u1, v0, v1;\n"
    "        float sum = 0;\n"
    "        clip(top, s.kh, s.h, &u0, &u1);\n"
    "        clip(left, s.kw, s.w, &v0, &v1);\n"
    "        for (int c = 0; c < s.c; c++) {\n"
    "            float part = 0;          /* a sum a channel: rounded less */\n"
    "            for (int u = u0; u < u1; u++) {\n"
    "                const float *row = x + (c * s.h + top + u) * s.w + left;\n"
    "                for (int v = v0; v < v1; v++)\n"
    "                    part += row[v] * @[((k * s.c + c) * s.kh + u) * s.kw + v];\n"
    "            }\n"
    "            sum += part;\n"
    "        }\n"
    "        y[(k * s.oh + i) * s.ow + j] = (b ? b[k] : 0) + sum@<k>;\n"
    "    }\n"
    "}\n\n";
static const char *const lsnni_c_table_conv2d_text =
    "/* Kernel k reads maps map[first[k]] to map[first[k + 1] - 1], with a w for each. */\n"
    "static void table_conv2d(float *y, const float *x, @W, const float *b, const int *first,\n"
    "                         const int *map, window s)\n"
    "{\n"
    "    for (int k = 0; k < s.k; k++)\n"
    "    for (int i = 0; i < s.oh; i++)\n"
    "    for (int j = 0; j < s.ow; j++) {\n"
    "        int top = i * s.sh - s.top, left = j * s.sw - s.left, u0, u1, v0, v1;\n"
    "        float sum = b ? b[k] : 0;\n"
    "        clip(top, s.kh, s.h, &u0, &u1);\n"
    "        clip(left, s.kw, s.w, &v0, &v1);\n"
    "        for (int m = first[k]; m < first[k + 1]; m++) {\n"
    "            float part = 0;\n"
    "            for (int u = u0; u < u1; u++)\n"
    "            for (int v = v0; v < v1; v++)\n"
    "                part += x[(map[m] * s.h + top + u) * s.w + left + v] *\n"
    "                        @[(m * s.kh + u) * s.kw + v];\n"
    "            sum += part@<m>;\n"
    "        }\n"
    "        y[(k * s.oh + i) * s.ow + j] = sum;\n"
    "    }\n"
    "}\n\n";
static const char *const lsnni_c_local2d_text =
    "/* Each place p has weights of its own: [p][c][u][v][k]. */\n"
    "static void local2d(float *y, const float *x, @W, const float *b, window s)\n"
    "{\n"
    "    for (int p = 0; p < s.oh * s.ow; p++)\n"
    "    for (int k = 0; k < s.k; k++) {\n"
    "        int top = p / s.ow * s.sh - s.top, left = p % s.ow * s.sw - s.left;\n"
    "        int u0, u1, v0, v1;\n"
    "        float sum = 0;\n"
    "        clip(top, s.kh, s.h, &u0, &u1);\n"
    "        clip(left, s.kw, s.w, &v0, &v1);\n"
    "        for (int c = 0; c < s.c; c++)\n"
    "        for (int u = u0; u < u1; u++)\n"
    "        for (int v = v0; v < v1; v++)\n"
    "            sum += x[(c * s.h + top + u) * s.w + left + v] *\n"
    "                   @[(((p * s.c + c) * s.kh + u) * s.kw + v) * s.k + k];\n"
    "        y[k * s.oh * s.ow + p] = (b ? b[k * s.oh * s.ow + p] : 0) + sum@<p * s.k + k>;\n"
    "    }\n"
    "}\n\n";
static const char *const lsnni_c_pool_text =
    "/* m: largest, a: average, s: sum of the window's pixels inside the image. */\n"
    "static void pool(float *y, const float *x, char kind, window s)\n"
    "{\n"
    "    for (int c = 0; c < s.c; c++)\n"
    "    for (int i = 0; i < s.oh; i++)\n"
    "    for (int j = 0; j < s.ow; j++) {\n"
    "        int top = i * s.sh - s.top, left = j * s.sw - s.left, u0, u1, v0, v1, count = 0;\n"
    "        float sum = 0;\n"
    "        clip(top, s.kh, s.h, &u0, &u1);\n"
    "        clip(left, s.kw, s.w, &v0, &v1);\n"
    "        for (int u = u0; u < u1; u++)\n"
    "        for (int v = v0; v < v1; v++) {\n"
    "            float p = x[(c * s.h + top + u) * s.w + left + v];\n"
    "            if (kind == 'm') sum = count && !(p > sum) ? sum : p;\n"
    "            else sum += p;\n"
    "            count++;\n"
    "        }\n"
    "        if (kind == 'a' && count) sum /= (float)count;\n"
    "        y[(c * s.oh + i) * s.ow + j] = sum;\n"
    "    }\n"
    "}\n\n";
static const char *const lsnni_c_lp_pool_text =
    "/* The norms (sum |x|^p)^(1/p); p: one number, or one a map. Divided by the largest |x|\n"
    "   first, so that nothing overflows. */\n"
    "static void lp_pool(float *y, const float *x, const float *p, int maps, window s)\n"
    "{\n"
    "    for (int c = 0; c < s.c; c++)\n"
    "    for (int i = 0; i < s.oh; i++)\n"
    "    for (int j = 0; j < s.ow; j++) {\n"
    "        int top = i * s.sh - s.top, left = j * s.sw - s.left, u0, u1, v0, v1;\n"
    "        float most = 0, sum = 0, norm = p[maps ? c : 0];\n"
    "        clip(top, s.kh, s.h, &u0, &u1);\n"
    "        clip(left, s.kw, s.w, &v0, &v1);\n"
    "        for (int again = 0; again < 2; again++)\n"
    "        for (int u = u0; u < u1; u++)\n"
    "        for (int v = v0; v < v1; v++) {\n"
    "            float t = fabsf(x[(c * s.h + top + u) * s.w + left + v]);\n"
    "            if (again) sum += most > 0 ? powf(t / most, norm) : 0;\n"
    "            else most = t > most ? t : most;\n"
    "        }\n"
    "        y[(c * s.oh + i) * s.ow + j] = most * powf(sum, 1 / norm);\n"
    "    }\n"
    "}\n\n";
static const char *const lsnni_c_rbf_text =
    "/* -|x - centre|^2 for each of `out` centres. */\n"
    "static void rbf(float *y, const float *x, const float *centre, int in, int out)\n"
    "{\n"
    "    for (int k = 0; k < out; k++) {\n"
    "        float sum = 0;\n"
    "        for (int i = 0; i < in; i++) {\n"
    "            float d = x[i] - centre[k * in + i];\n"
    "            sum += d * d;\n"
    "        }\n"
    "        y[k] = -sum;\n"
    "    }\n"
    "}\n\n";
static const char *const lsnni_c_scaled_tanh_text =
    "static void scaled_hyperbolic(float *y, const float *x, int n)\n"
    "{\n"
    "    for (int i = 0; i < n; i++) y[i] = 1.7159f * tanhf(x[i] * (2.0f / 3));\n"
    "}\n\n";
static const char *const lsnni_c_relu_text =
    "static void relu(float *y, const float *x, int n, float slope)\n"
    "{\n"
    "    for (int i = 0; i < n; i++) y[i] = x[i] > 0 ? x[i] : slope * x[i];\n"
    "}\n\n";
static const char *const lsnni_c_sigmoid_text =
    "static void sigmoid(float *y, const float *x, int n)\n"
    "{\n"
    "    for (int i = 0; i < n; i++) y[i] = 1 / (1 + expf(-x[i]));\n"
    "}\n\n";
static const char *const lsnni_c_tanh_text =
    "static void hyperbolic(float *y, const float *x, int n)\n"
    "{\n"
    "    for (int i = 0; i < n; i++) y[i] = tanhf(x[i]);\n"
    "}\n\n";
static const char *const lsnni_c_softmax_text =
    "/* Over c channels at each of n places. */\n"
    "static void softmax(float *y, const float *x, int c, int n)\n"
    "{\n"
    "    for (int i = 0; i < n; i++) {\n"
    "        float most = x[i], sum = 0;\n"
    "        for (int k = 1; k < c; k++) if (x[k * n + i] > most) most = x[k * n + i];\n"
    "        for (int k = 0; k < c; k++) sum += y[k * n + i] = expf(x[k * n + i] - most);\n"
    "        for (int k = 0; k < c; k++) y[k * n + i] /= sum;\n"
    "    }\n"
    "}\n\n";
static const char *const lsnni_c_affine_text =
    "/* y = (x - mean) scale + shift, n numbers a channel; no mean, no shift: 0. */\n"
    "static void affine(float *y, const float *x, const float *mean, const float *scale,\n"
    "                   const float *shift, int c, int n)\n"
    "{\n"
    "    for (int k = 0; k < c; k++)\n"
    "    for (int i = 0; i < n; i++)\n"
    "        y[k * n + i] = (x[k * n + i] - (mean ? mean[k] : 0)) * scale[k] +\n"
    "                       (shift ? shift[k] : 0);\n"
    "}\n\n";
static const char *const lsnni_c_add_text =
    "static void add(float *y, const float *a, const float *b, int n)\n"
    "{\n"
    "    for (int i = 0; i < n; i++) y[i] = a[i] + b[i];\n"
    "}\n\n";
static const char *const lsnni_c_copy_text =
    "static void copy(float *y, const float *x, int n)\n"
    "{\n"
    "    for (int i = 0; i < n; i++) y[i] = x[i];\n"
    "}\n\n";
static const char *const lsnni_c_smooth_text =
    "/* y[k] = sum over its `rank` maps u of u a, and b, perhaps under the maps too. */\n"
    "static void smooth(float *y, const float *a, const float *u, const float *b, int k,\n"
    "                   int rank, int n, int bias_inside)\n"
    "{\n"
    "    for (int i = 0; i < k * n; i++) {\n"
    "        float sum = 0, under = 0;\n"
    "        for (int l = 0; l < rank; l++) {\n"
    "            int at = (i / n * rank + l) * n + i % n;\n"
    "            sum += u[at] * a[at];\n"
    "            under += u[at];\n"
    "        }\n"
    "        y[i] = sum + (b ? b[i / n] : 0) * (bias_inside ? under : 1);\n"
    "    }\n"
    "}\n\n";
static const char *const lsnni_c_maps_text =
    "typedef struct { int k, rank, h, w, mixture, bias_inside; char shape, norm; } smoother;\n\n"
    "/* e[p] - e[q] of e[p] = -|Phi (p - mu)|^2, g: mu x, mu y, alpha, beta, gamma. Written\n"
    "   so that far from mu no digits are lost. */\n"
    "static float exponent(const float *g, int p, int q, smoother s)\n"
    "{\n"
    "    float dx = s.w > 1 ? 1 / (float)(s.w - 1) : 1, dy = s.h > 1 ? 1 / (float)(s.h - 1) : 1;\n"
    "    float x = dx * (float)(p % s.w - q % s.w), y = dy * (float)(p / s.w - q / s.w);\n"
    "    float u = 2 * (dx * (float)(q % s.w) - g[0]), v = 2 * (dy * (float)(q / s.w) - g[1]);\n"
    "    float r0 = g[2] * x + g[4] * y, r1 = g[4] * x + g[3] * y;\n"
    "    return -r0 * (r0 + g[2] * u + g[4] * v) - r1 * (r1 + g[4] * u + g[3] * v);\n"
    "}\n\n"
    "static int nearest(float mu, int count)\n"
    "{\n"
    "    return mu > 0 ? (int)((mu < 1 ? mu : 1) * (float)(count - 1) + 0.5f) : 0;\n"
    "}\n\n"
    "/* Adds one Gaussian's map, times a + b, to y. */\n"
    "static void smooth_one(float *y, const float *a, const float *t, float weight, float b,\n"
    "                       smoother s)\n"
    "{\n"
    "    float g[5] = { t[0], 0, t[1], 0, 0 }, most = 0, sum = 0, scale = weight;\n"
    "    int n = s.h * s.w, q;\n"
    "    if (s.shape != 'l') { g[1] = t[1]; g[2] = t[2]; g[3] = t[3]; }\n"
    "    if (s.shape == 'g') g[4] = t[4];\n"
    "    q = nearest(g[1], s.h) * s.w + nearest(g[0], s.w);\n"
    "    if (s.norm == 'n') {\n"
    "        float x = (float)(q % s.w) / (float)(s.w > 1 ? s.w - 1 : 1) - g[0];\n"
    "        float v = (float)(q / s.w) / (float)(s.h > 1 ? s.h - 1 : 1) - g[1];\n"
    "        float r0 = g[2] * x + g[4] * v, r1 = g[4] * x + g[3] * v;\n"
    "        most = r0 * r0 + r1 * r1;\n"
    "    } else {\n"
    "        for (int p = 0; p < n; p++) {\n"
    "            float e = exponent(g, p, q, s);\n"
    "            if (p == 0 || e > most) most = e;\n"
    "        }\n"
    "        for (int p = 0; p < n; p++) sum += expf(exponent(g, p, q, s) - most);\n"
    "        scale *= (s.norm == 'm' ? (float)n : 1) / sum;\n"
    "    }\n"
    "    for (int p = 0; p < n; p++)\n"
    "        y[p] += scale * expf(exponent(g, p, q, s) - most) * (a[p] + b);\n"
    "}\n\n"
    "/* As smooth of constant maps, but the maps are made from theta here. */\n"
    "static void smooth_by(float *y, const float *a, const float *theta, const float *b,\n"
    "                      smoother s)\n"
    "{\n"
    "    int n = s.h * s.w;\n"
    "    int stride = (s.shape == 'g' ? 5 : s.shape == 's' ? 4 : 2) + (s.mixture > 1);\n"
    "    for (int map = 0; map < s.k * s.rank; map++, a += n) {\n"
    "        float *out = y + map / s.rank * n, bias = b ? b[map / s.rank] : 0;\n"
    "        float inside = s.bias_inside ? bias : 0;\n"
    "        for (int p = 0; map % s.rank == 0 && p < n; p++) out[p] = bias - inside;\n"
    "        if (s.shape == 't') {\n"
    "            for (int p = 0; p < n; p++) out[p] += theta[p] * (a[p] + inside);\n"
    "            theta += n;\n"
    "            continue;\n"
    "        }\n"
    "        for (int m = 0; m < s.mixture; m++) {\n"
    "            const float *logit = theta + stride - 1;\n"
    "            float sum = 0;\n"
    "            for (int i = 0; s.mixture > 1 && i < s.mixture; i++)\n"
    "                sum += expf(logit[i * stride] - logit[m * stride]);\n"
    "            smooth_one(out, a, theta + m * stride, s.mixture > 1 ? 1 / sum : 1, inside, s);\n"
    "        }\n"
    "        theta += s.mixture * stride;\n"
    "    }\n"
    "}\n\n";
static const char *const lsnni_c_half_text =
    "/* The float that an IEEE binary16 stands for. */\n"
    "static float half(unsigned short h)\n"
    "{\n"
    "    int e = h >> 10 & 31, m = h & 1023;\n"
    "    float v = (float)(e ? m + 1024 : m) / 33554432.0f * (float)(1u << (e ? e : 1));\n"
    "    return h & 0x8000 ? -v : v;\n"
    "}\n\n";

/* ---- >>writing ---------------------------------------------------------------------------*/
/* The marks of a text, for one storage.                                       */
static void lsnni_c_text(const lsnni_c *e, const char *text)
{
    static const char *const weights[] = { "const float *w", "const unsigned short *w",
        "const signed char *w, const float *step" };
    int half = e->d->storage == LSNN_STORE_HALF, steps = e->d->storage == LSNN_STORE_INT8;
    for (const char *p = text; *p; p++) {
        size_t n;
        if (*p != '@') {
            fputc(*p, e->f);
        } else if (*++p == 'W') {
            fputs(weights[e->d->storage], e->f);
        } else if (*p == '[') {
            n = strcspn(p, "]");
            fprintf(e->f, half ? "half(w[%.*s])" : "w[%.*s]", (int)n - 1, p + 1);
            p += n;
        } else {
            n = strcspn(p, ">");
            if (steps) fprintf(e->f, " * step[%.*s]", (int)n - 1, p + 1);
            p += n;
        }
    }
}

/* A float constant of C, under any locale.                                    */
static void lsnni_c_number(FILE *f, float v)
{
    char text[40];
    int whole = 1;
    snprintf(text, sizeof text, "%.9g", (double)v);
    for (char *p = text; *p; p++) {
        if (*p == 'e' || *p == '.' || *p == ',') whole = 0;
        if (*p == ',') *p = '.';
    }
    fprintf(f, whole ? "%s.0f" : "%sf", text);
}

/* The writers' means: each does something in one part of the file only.       */
static void lsnni_c_needs(lsnni_c *e, const char *text)
{
    int i = 0;
    if (e->part != LSNNI_C_ASK) return;
    while (i < e->functions && e->function[i] != text) i++;
    if (i == e->functions && i < LSNNI_C_FUNCTIONS) e->function[e->functions++] = text;
}

LSNNI_PRINTF(2, 3)
static void lsnni_c_print(const lsnni_c *e, const char *format, ...)
{
    va_list list;
    if (e->part != LSNNI_C_CALLS) return;
    va_start(list, format);
    vfprintf(e->f, format, list);
    va_end(list);
}

/* Where node i's output lies: "x", "y" or "work + 64".                         */
static const char *lsnni_c_place(const lsnni_c *e, int i, char text[40])
{
    int at = e->at[i];
    if (at == 0) snprintf(text, 40, "x");
    else if (at == e->at[e->net->output]) snprintf(text, 40, "y");
    else snprintf(text, 40, "work + %.0f", (double)e->place[at].at);
    return text;
}

/* Names come from layers, which may have - . and / in them.                    */
static void lsnni_c_named(const lsnni_c *e, const char *name)
{
    fprintf(e->f, "%s_", e->name);
    for (; *name; name++) fputc(strchr("-./", *name) ? '_' : *name, e->f);
}


/* An array: as the data's part defines it, then as an argument of the call.     */
static void lsnni_c_array(lsnni_c *e, const char *type, const char *name, const char *what)
{
    if (e->part == LSNNI_C_ASK) return;
    fputs(e->part == LSNNI_C_CALLS ? ", " : type, e->f);
    lsnni_c_named(e, name);
    fputs(what, e->f);
}

static void lsnni_c_floats(lsnni_c *e, const char *name, const char *what, const lsnn_real *v,
                           size_t count)
{
    lsnni_c_array(e, "static const float ", name, what);
    if (e->part != LSNNI_C_DATA) return;
    fprintf(e->f, "[%.0f] = {", (double)count);
    for (size_t i = 0; i < count; i++) {
        fputs(i % 6 ? " " : "\n    ", e->f);
        lsnni_c_number(e->f, (float)v[i]);
        if (i + 1 < count) fputc(',', e->f);
    }
    fputs("\n};\n", e->f);
}

static void lsnni_c_ints(lsnni_c *e, const char *type, const char *name, const lsnn_real *w,
                         const lsnni_layout *s)
{
    lsnni_c_array(e, type, name, "");
    if (e->part != LSNNI_C_DATA) return;
    fprintf(e->f, "[%.0f] = {", (double)s->rows * (double)s->depth);
    for (size_t i = 0; i < s->rows * s->depth; i++) {    /* in the array's order */
        size_t r = i / (s->depth * s->inner) * s->inner + i % s->inner;
        double v = (double)(float)w[i];
        fputs(i % 16 ? " " : "\n    ", e->f);
        if (e->d->storage == LSNN_STORE_HALF) fprintf(e->f, "%u", lsnni_half_of(v));
        else fprintf(e->f, "%d", lsnni_int8_of(v, (double)e->row[r]));
        if (i + 1 < s->rows * s->depth) fputc(',', e->f);
    }
    fputs("\n};\n", e->f);
}

/* Parameter j of node i, or a null pointer. Shared ones are written once.        */
static void lsnni_c_param(lsnni_c *e, int i, int j)
{
    const lsnni_node *v = &e->net->node[i];
    const lsnni_param *p;
    const lsnn_real *w;
    if (j >= v->plan.params) {
        lsnni_c_print(e, ", 0");
        return;
    }
    p = &e->net->param[v->param[j]];
    w = e->net->value + p->at;
    if (e->part == LSNNI_C_DATA && e->written[v->param[j]]++) return;
    if (j == 0 && lsnni_has_weights(v) && e->d->storage != LSNN_STORE_FLOAT) {
        lsnni_layout s = lsnni_layout_of(v);
        for (size_t r = 0; r < s.rows; r++)
            e->row[r] = LSNNI_R(lsnni_step_of(w + lsnni_row_at(&s, r), s.depth, s.inner));
        if (e->d->storage == LSNN_STORE_HALF)
            lsnni_c_ints(e, "static const unsigned short ", p->name, w, &s);
        else {
            lsnni_c_ints(e, "static const signed char ", p->name, w, &s);
            lsnni_c_floats(e, p->name, "_step", e->row, s.rows);
        }
    } else lsnni_c_floats(e, p->name, "", w, p->spec.count);
}

/* "    function(y, x": a call begins; its writer ends it.                        */
static void lsnni_c_call(lsnni_c *e, int i, const char *function)
{
    char y[40], x[40];
    lsnni_c_print(e, "    %s(%s, %s", function, lsnni_c_place(e, i, y),
                  lsnni_c_place(e, e->net->node[i].input[0], x));
}

/* ---- >>writers: one a layer type ----------------------------------------------------------*/
static void lsnni_c_window_of(lsnni_c *e, int i)
{
    const lsnn_layer_plan *p = &e->net->node[i].plan;
    lsnn_window s;
    if (lsnni_window_of(e->cx, &s, p, 1, p->out.c) != LSNN_OK) return;  /* build checked it */
    lsnni_c_needs(e, lsnni_c_window);
    lsnni_c_print(e, ",\n           (window){ %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d });\n",
                  s.c, s.h, s.w, p->out.c, p->out.h, p->out.w, s.kernel_h, s.kernel_w,
                  s.stride_h, s.stride_w, s.pad_top, s.pad_left);
}

static void lsnni_c_kernels(lsnni_c *e, int i, const char *function, const char *text)
{
    lsnni_c_call(e, i, function);
    lsnni_c_param(e, i, 0);
    lsnni_c_param(e, i, 1);
    lsnni_c_window_of(e, i);
    lsnni_c_needs(e, text);
}
static void lsnni_c_conv2d(lsnni_c *e, int i)
{
    lsnni_c_kernels(e, i, "conv2d", lsnni_c_conv2d_text);
}
static void lsnni_c_local2d(lsnni_c *e, int i)
{
    lsnni_c_kernels(e, i, "local2d", lsnni_c_local2d_text);
}

/* Where each kernel's connections begin, and the maps that they read.         */
static void lsnni_c_table(lsnni_c *e, int i, int maps)
{
    const lsnni_node *v = &e->net->node[i];
    const char *at = v->table;
    int first = 0, done = -1, k = 0, c = -1, to = -1;
    lsnni_c_array(e, "static const int ", v->name, maps ? "_maps" : "_first");
    if (e->part != LSNNI_C_DATA) return;
    fputs("[] = {", e->f);
    for (; lsnni_wires_next(&at, &k, &c, &to); first++) {
        if (maps) fprintf(e->f, "%s%d", first ? ", " : " ", c);
        else if (k > done) fprintf(e->f, " %d,", first);
        done = k;
    }
    if (!maps) fprintf(e->f, " %d", first);
    fputs(" };\n", e->f);
}

static void lsnni_c_table_conv2d(lsnni_c *e, int i)
{
    lsnni_c_call(e, i, "table_conv2d");
    lsnni_c_param(e, i, 0);
    lsnni_c_param(e, i, 1);
    lsnni_c_table(e, i, 0);
    lsnni_c_table(e, i, 1);
    lsnni_c_window_of(e, i);
    lsnni_c_needs(e, lsnni_c_table_conv2d_text);
}

/* A layer that is frozen has its centres as a buffer.                         */
static void lsnni_c_rbf(lsnni_c *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    lsnni_c_needs(e, lsnni_c_rbf_text);
    lsnni_c_call(e, i, "rbf");
    if (v->plan.params) lsnni_c_param(e, i, 0);
    else {
        const lsnni_param *centre = &e->net->buffer[v->buffer[0]];
        lsnni_c_floats(e, centre->name, "", e->net->state + centre->at, centre->spec.count);
    }
    lsnni_c_print(e, ", %d, %d);\n", lsnni_features(v->plan.in[0]), v->plan.out.c);
}

static void lsnni_c_dense(lsnni_c *e, int i)
{
    const lsnn_layer_plan *p = &e->net->node[i].plan;
    lsnni_c_needs(e, lsnni_c_dense_text);
    lsnni_c_call(e, i, "dense");
    lsnni_c_param(e, i, 0);
    lsnni_c_param(e, i, 1);
    lsnni_c_print(e, ", %d, %d);\n", lsnni_features(p->in[0]), p->out.c);
}

static void lsnni_c_pool(lsnni_c *e, int i)
{
    lsnni_c_call(e, i, "pool");
    lsnni_c_print(e, ", '%c'", e->net->node[i].type->name[0]);
    lsnni_c_window_of(e, i);
    lsnni_c_needs(e, lsnni_c_pool_text);
}

static void lsnni_c_lp_pool(lsnni_c *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    int maps = v->plan.o.learn_norm == LSNN_NORM_OF_MAP;
    lsnni_c_call(e, i, "lp_pool");
    lsnni_lp_norms_of(&v->plan, v->plan.params ? e->net->value + e->net->param[v->param[0]].at
                                               : NULL, e->row);
    lsnni_c_floats(e, v->name, "_norm", e->row, maps ? (size_t)v->plan.in[0].c : 1);
    lsnni_c_print(e, ", %d", maps);
    lsnni_c_window_of(e, i);
    lsnni_c_needs(e, lsnni_c_lp_pool_text);
}

/* What works number by number: function(y, x, count).                         */
static void lsnni_c_each(lsnni_c *e, int i, const char *function, const char *text)
{
    lsnni_c_needs(e, text);
    lsnni_c_call(e, i, function);
    lsnni_c_print(e, ", %d", lsnni_features(e->net->node[i].plan.out));
}
static void lsnni_c_relu(lsnni_c *e, int i)
{
    lsnni_c_each(e, i, "relu", lsnni_c_relu_text);
    lsnni_c_print(e, ", ");
    if (e->part == LSNNI_C_CALLS)
        lsnni_c_number(e->f, (float)e->net->node[i].plan.o.slope);
    lsnni_c_print(e, ");\n");
}
static void lsnni_c_sigmoid(lsnni_c *e, int i)
{
    lsnni_c_each(e, i, "sigmoid", lsnni_c_sigmoid_text);
    lsnni_c_print(e, ");\n");
}
static void lsnni_c_tanh(lsnni_c *e, int i)
{
    lsnni_c_each(e, i, "hyperbolic", lsnni_c_tanh_text);
    lsnni_c_print(e, ");\n");
}

static void lsnni_c_scaled_tanh(lsnni_c *e, int i)
{
    lsnni_c_each(e, i, "scaled_hyperbolic", lsnni_c_scaled_tanh_text);
    lsnni_c_print(e, ");\n");
}

static void lsnni_c_softmax(lsnni_c *e, int i)
{
    lsnn_shape s = e->net->node[i].plan.out;
    lsnni_c_needs(e, lsnni_c_softmax_text);
    lsnni_c_call(e, i, "softmax");
    lsnni_c_print(e, ", %d, %d);\n", s.c, lsnni_inner(s));
}

/* What changes nothing in a prediction: its input, if that may not take its place. */
static void lsnni_c_same(lsnni_c *e, int i)
{
    if (e->at[i] == e->at[e->net->node[i].input[0]]) return;
    lsnni_c_each(e, i, "copy", lsnni_c_copy_text);
    lsnni_c_print(e, ");\n");
}

/* y = (x - mean) scale + shift, of an input read in parts as of a whole.         */
static void lsnni_c_batch_norm(lsnni_c *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    const lsnn_layer_plan *p = &v->plan;
    const lsnn_real *gamma = e->net->value + e->net->param[v->param[0]].at;
    const lsnni_param *mean = &e->net->buffer[v->buffer[0]];
    const lsnn_real *variance = e->net->state + e->net->buffer[v->buffer[1]].at;
    char y[40], x[40];
    int first = 0, inner = lsnni_inner(p->out);
    lsnni_c_needs(e, lsnni_c_affine_text);
    for (int k = 0; k < p->out.c; k++)
        e->row[k] = LSNNI_R((double)gamma[k] / sqrt((double)variance[k] + p->o.eps));
    for (int j = 0; j < p->inputs; j++) {
        if (j && e->part == LSNNI_C_DATA) break;
        lsnni_c_print(e, "    affine(%s + %d, %s", lsnni_c_place(e, i, y), first * inner,
                      lsnni_c_place(e, v->input[j], x));
        lsnni_c_floats(e, mean->name, "", e->net->state + mean->at, mean->spec.count);
        lsnni_c_print(e, " + %d", first);
        lsnni_c_floats(e, v->name, "_scale", e->row, (size_t)p->out.c);
        lsnni_c_print(e, " + %d", first);
        lsnni_c_param(e, i, 1);
        lsnni_c_print(e, " + %d, %d, %d);\n", first, p->in[j].c, inner);
        first += p->in[j].c;
    }
}

static void lsnni_c_scale(lsnni_c *e, int i)
{
    lsnn_shape s = e->net->node[i].plan.out;
    lsnni_c_needs(e, lsnni_c_affine_text);
    lsnni_c_call(e, i, "affine");
    lsnni_c_print(e, ", 0");
    lsnni_c_param(e, i, 0);
    lsnni_c_param(e, i, 1);
    lsnni_c_print(e, ", %d, %d);\n", s.c, lsnni_inner(s));
}

static void lsnni_c_add(lsnni_c *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    char b[40];
    lsnni_c_needs(e, lsnni_c_add_text);
    lsnni_c_call(e, i, "add");
    lsnni_c_print(e, ", %s, %d);\n", lsnni_c_place(e, v->input[1], b),
                  lsnni_features(v->plan.out));
}

static void lsnni_c_concat(lsnni_c *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    char y[40], x[40];
    int at = 0;
    lsnni_c_needs(e, lsnni_c_copy_text);
    for (int j = 0; j < v->plan.inputs; j++) {
        int count = lsnni_features(v->plan.in[j]);
        lsnni_c_print(e, "    copy(%s + %d, %s, %d);\n", lsnni_c_place(e, i, y), at,
                      lsnni_c_place(e, v->input[j], x), count);
        at += count;
    }
}

static void lsnni_c_slice(lsnni_c *e, int i)
{
    const lsnn_layer_plan *p = &e->net->node[i].plan;
    lsnni_c_needs(e, lsnni_c_copy_text);
    lsnni_c_call(e, i, "copy");
    lsnni_c_print(e, " + %d, %d);\n", p->o.first * lsnni_inner(p->out), lsnni_features(p->out));
}

/* Free smoothers are constant maps. Computed ones become theta -> maps in the file.  */
static void lsnni_c_smooth(lsnni_c *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    const lsnn_layer_plan *p = &v->plan;
    lsnn_smoother s = lsnni_smoother_of(p, 1, 0);
    const char *shapes = "gtsl";     /* gaussian, table, separable, of a line */
    char text[40];
    if (!s.per_image) {
        size_t maps = (size_t)lsnni_features(p->in[0]);
        if (e->part == LSNNI_C_DATA)
            lsnn_smoother_map(e->cx, e->row, e->net->value + e->net->param[v->param[0]].at, &s);
        lsnni_c_needs(e, lsnni_c_smooth_text);
        lsnni_c_call(e, i, "smooth");
        lsnni_c_floats(e, v->name, "_map", e->row, maps);
        lsnni_c_param(e, i, 1);
        lsnni_c_print(e, ", %d, %d, %d, %d);\n", s.k, s.rank, lsnni_inner(p->out), s.smooth_bias);
        return;
    }
    lsnni_c_needs(e, lsnni_c_maps_text);
    lsnni_c_call(e, i, "smooth_by");
    lsnni_c_print(e, ", %s", lsnni_c_place(e, v->input[1], text));
    lsnni_c_param(e, i, 0);
    lsnni_c_print(e, ",\n              (smoother){ %d, %d, %d, %d, %d, %d, '%c', '%c' });\n", s.k,
                  s.rank, s.h, s.w, s.mixture, s.smooth_bias, shapes[s.shape],
                  "nsm"[s.normalise]);
}

/* A layer type and what writes it. Losses are not run in a prediction.          */
static const struct { const lsnn_layer_type *type; void (*write)(lsnni_c *e, int i); }
lsnni_c_writers[] = {
    { &lsnni_dense_type, lsnni_c_dense },
    { &lsnni_relu_type, lsnni_c_relu },
    { &lsnni_leaky_relu_type, lsnni_c_relu },
    { &lsnni_sigmoid_type, lsnni_c_sigmoid },
    { &lsnni_tanh_type, lsnni_c_tanh },
    { &lsnni_scaled_tanh_type, lsnni_c_scaled_tanh },
    { &lsnni_rbf_type, lsnni_c_rbf },
    { &lsnni_softmax_type, lsnni_c_softmax },
    { &lsnni_max_pool_type, lsnni_c_pool },
    { &lsnni_avg_pool_type, lsnni_c_pool },
    { &lsnni_sum_pool_type, lsnni_c_pool },
    { &lsnni_lp_pool_type, lsnni_c_lp_pool },
    { &lsnni_dropout_type, lsnni_c_same },
    { &lsnni_flatten_type, lsnni_c_same },
    { &lsnni_batch_norm_type, lsnni_c_batch_norm },
    { &lsnni_scale_type, lsnni_c_scale },
    { &lsnni_add_type, lsnni_c_add },
    { &lsnni_concat_type, lsnni_c_concat },
    { &lsnni_slice_type, lsnni_c_slice },
    { &lsnni_conv2d_type, lsnni_c_conv2d },
    { &lsnni_table_conv2d_type, lsnni_c_table_conv2d },
    { &lsnni_local2d_type, lsnni_c_local2d },
    { &lsnni_smooth_type, lsnni_c_smooth }
};

static int lsnni_c_writer(const lsnn_layer_type *type)
{
    int count = (int)(sizeof lsnni_c_writers / sizeof lsnni_c_writers[0]);
    for (int i = 0; i < count; i++) if (lsnni_c_writers[i].type == type) return i;
    return -1;
}

/* ---- >>the file -----------------------------------------------------------------------*/
/* A node that the prediction runs, and that the file computes: a join that all its readers
   read in parts is not made.                                                 */
static int lsnni_c_runs(const lsnni_c *e, int i)
{
    const lsnni_role *r = &e->net->node[i].role;
    return i > 0 && r->on_path && !r->apart;
}

/* Buffers: from when a node is computed to when it is read last. What may work in place
   takes its input's, if nobody else reads that any more.                     */
static void lsnni_c_plan(lsnni_c *e)
{
    const lsnn_net *net = e->net;
    for (int i = 0; i < net->nodes; i++) {
        e->at[i] = e->last[i] = i;
        for (int j = 0; j < net->node[i].plan.inputs && lsnni_c_runs(e, i); j++)
            e->last[net->node[i].input[j]] = i;
    }
    e->last[net->output] = net->nodes;
    for (int i = 1; i < net->nodes; i++) {
        const lsnni_node *v = &net->node[i];
        int x = v->input[0];
        if (!lsnni_c_runs(e, i)) continue;
        if (lsnni_has(v, LSNN_IN_PLACE) && v->plan.inputs == 1 && e->at[x] > 0 &&
            e->last[x] == i && lsnni_features(v->plan.out) == lsnni_features(v->plan.in[0]))
            e->at[i] = e->at[x];
    }
    for (int i = 1; i < net->nodes; i++) {
        lsnni_life *life = &e->place[e->at[i]];
        if (!lsnni_c_runs(e, i) || e->at[i] == e->at[net->output]) continue;
        if (e->at[i] == i) life->from = i;
        life->size = ((size_t)lsnni_features(net->node[i].plan.out) + 3) / 4 * 4;
        life->to = LSNNI_MAX(life->to, e->last[i]);
    }
    e->work = lsnni_place_lives(e->place, net->nodes);
}

static lsnn_status lsnni_c_check_types(const lsnn_net *net)
{
    for (int i = 1; i < net->nodes; i++) {
        const lsnni_node *v = &net->node[i];
        if (v->role.on_path && lsnni_c_writer(v->type) < 0)
            return lsnni_fail(net->cx, LSNN_EUNSUPPORTED, "net_export_c: layer '%.60s': a %.40s "
                              "cannot be written as C", v->name, v->type->name);
    }
    return LSNN_OK;
}

static lsnn_status lsnni_c_check_name(lsnn_ctx *cx, const char *name)
{
    size_t n = strlen(name);
    int good = n > 0 && n <= 40 && !(name[0] >= '0' && name[0] <= '9');
    for (const char *p = name; *p; p++)
        good &= (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || *p == '_' ||
                (*p >= '0' && *p <= '9');
    if (good) return LSNN_OK;
    return lsnni_fail(cx, LSNN_ENAME, "net_export_c: the name \"%.60s\" must be 1 to 40 letters, "
                      "digits or _, a digit not first", name);
}

/* Two names of the net's must not become one name of C's.                     */
static lsnn_status lsnni_c_check_same(const lsnn_net *net)
{
    for (int i = 0; i < net->nodes; i++)
        for (int k = 0; k < i; k++) {
            const char *a = net->node[i].name, *b = net->node[k].name;
            while (*a && (*a == *b || (strchr("-./_", *a) && *b && strchr("-./_", *b)))) a++, b++;
            if (!*a && !*b)
                return lsnni_fail(net->cx, LSNN_ENAME, "net_export_c: layers '%.60s' and '%.60s' "
                                  "would have the same name in C", net->node[k].name,
                                  net->node[i].name);
        }
    return LSNN_OK;
}

static void lsnni_c_write_part(lsnni_c *e, lsnni_c_part part)
{
    e->part = part;
    for (int i = 1; i < e->net->nodes; i++)
        if (lsnni_c_runs(e, i)) lsnni_c_writers[lsnni_c_writer(e->net->node[i].type)].write(e, i);
}

static void lsnni_c_write_head(lsnni_c *e)
{
    static const char *const stored[] = { "floats", "halves (IEEE binary16)",
        "8-bit integers, a step an output" };
    lsnn_shape in = e->net->node[0].plan.out, out = e->net->node[e->net->output].shape;
    int math = 0;
    fprintf(e->f, "/* %s: a net of %.0f parameters and %.0f multiply-adds, written by lsnn "
            LSNN_VERSION ".\n   C99; needs no allocation and no file. Weights are %s.\n\n"
            "       void %s_predict(const float x[%d], float y[%d]);\n\n"
            "   x: %d x %d x %d (channels, rows, columns); y: the output of layer '%s', "
            "%d x %d x %d.\n   They must not overlap. It needs %.0f bytes %s.%s */\n",
            e->name, (double)lsnn_net_params(e->net), lsnn_net_macs(e->net),
            stored[e->d->storage], e->name, lsnni_features(in), lsnni_features(out),
            in.c, in.h, in.w, e->net->node[e->net->output].name, out.c, out.h, out.w,
            4.0 * (double)e->work, e->d->static_buffers ? "of static memory" : "of stack",
            e->d->static_buffers ? " One thread at a time may call it." : "");
    for (int i = 0; i < e->functions; i++)
        math |= strstr(e->function[i], "expf(") || strstr(e->function[i], "tanhf(") ||
                strstr(e->function[i], "powf(");
    if (math) fprintf(e->f, "#include <math.h>\n");
    fprintf(e->f, "\nvoid %s_predict(const float *x, float *y);\n\n", e->name);
    if (e->d->storage == LSNN_STORE_HALF) fputs(lsnni_c_half_text, e->f);
    for (int i = 0; i < e->functions; i++) lsnni_c_text(e, e->function[i]);
}

/* For lsnni_file_replace.                                                    */
static lsnn_status lsnni_c_write(lsnn_ctx *cx, FILE *f, void *user)
{
    lsnni_c *e = (lsnni_c *)user;
    (void)cx;
    e->f = f;
    lsnni_c_write_part(e, LSNNI_C_ASK);
    lsnni_c_write_head(e);
    lsnni_c_write_part(e, LSNNI_C_DATA);
    fprintf(f, "\nvoid %s_predict(const float *x, float *y)\n{\n", e->name);
    if (e->work) fprintf(f, "    %sfloat work[%.0f];\n", e->d->static_buffers ? "static " : "",
                         (double)e->work);
    lsnni_c_write_part(e, LSNNI_C_CALLS);
    fputs("}\n", f);
    return ferror(f) ? LSNN_EIO : LSNN_OK;
}

/* Room for the tables of a node each, and for what is no parameter as it stands.  */
static lsnn_status lsnni_c_room(lsnni_c *e)
{
    size_t nodes = (size_t)e->net->nodes, row = 1, params = (size_t)e->net->params + 1;
    for (int i = 0; i < e->net->nodes; i++) {
        const lsnn_layer_plan *p = &e->net->node[i].plan;
        row = LSNNI_MAX(row, (size_t)lsnni_features(p->out));        /* steps, scales */
        if (p->params) row = LSNNI_MAX(row, (size_t)p->param[0].dim[0]);    /* a table's steps */
        for (int j = 0; j < p->inputs; j++)
            row = LSNNI_MAX(row, (size_t)lsnni_features(p->in[j]));  /* maps          */
    }
    e->place = (lsnni_life *)lsnni_alloc(e->cx, nodes, sizeof *e->place);
    e->at = (int *)lsnni_alloc(e->cx, 2 * nodes, sizeof *e->at);
    e->row = (lsnn_real *)lsnni_alloc(e->cx, row, sizeof *e->row);
    e->written = (char *)lsnni_alloc(e->cx, params, 1);
    if (!e->place || !e->at || !e->row || !e->written) return LSNN_ENOMEM;
    e->last = e->at + nodes;
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_net_export_c(lsnn_net *net, const char *path,
                                       const lsnn_export_desc *d)
{
    lsnn_export_desc defaults;
    lsnni_c e;
    lsnn_status s;
    if (!net) return LSNN_ENOMEM;
    memset(&defaults, 0, sizeof defaults);
    memset(&e, 0, sizeof e);
    e.cx = net->cx;
    e.net = net;
    e.d = d ? d : &defaults;
    e.name = e.d->name ? e.d->name : "net";
    LSNNI_TRY(lsnni_export_check(net, "net_export_c", path));
    LSNNI_TRY(lsnni_c_check_name(e.cx, e.name));
    LSNNI_TRY(lsnni_c_check_types(net));
    LSNNI_TRY(lsnni_c_check_same(net));
    if ((int)e.d->storage < 0 || e.d->storage > LSNN_STORE_INT8)
        return lsnni_fail(e.cx, LSNN_EVALUE, "net_export_c: storage %d is unknown",
                          (int)e.d->storage);
    s = lsnni_c_room(&e);
    if (s == LSNN_OK) {
        lsnni_c_plan(&e);
        s = lsnni_file_replace(e.cx, path, lsnni_c_write, &e);
    }
    lsnni_free(e.cx, e.place);
    lsnni_free(e.cx, e.at);
    lsnni_free(e.cx, e.row);
    lsnni_free(e.cx, e.written);
    return s;
}
/* ============================================================================
   >>onnx  a trained net as an ONNX model
   An ONNX file is a protobuf message: fields of a number and a value, where a value may be a
   message again. Five kinds are needed here, so they are written by hand: a model holds a
   graph, a graph its nodes, constants, inputs and outputs (onnx.proto3 of ONNX 1.8). Opset 13,
   the first whose Softmax and ReduceSum are today's.
   Arrays are N,C,H,W; those of dense layers and of flatten N,K, see lsnni_onnx_read.
   ==========================================================================*/
enum { LSNNI_ONNX_OPSET = 13, LSNNI_ONNX_FLOAT = 1, LSNNI_ONNX_INT64 = 7 };

/* ---- >>protobuf: bytes that grow ------------------------------------------------------*/
typedef struct lsnni_bytes {
    lsnn_ctx *cx;
    char *v;
    int used, room;
    lsnn_status status;
} lsnni_bytes;

static void lsnni_pb_raw(lsnni_bytes *b, const void *v, size_t count)
{
    size_t room = (size_t)b->room;
    if (b->status != LSNN_OK) return;
    if (count > (size_t)INT_MAX - (size_t)b->used)
        b->status = lsnni_fail(b->cx, LSNN_ESHAPE, "net_export_onnx: more than 2 GiB, which no "
                               "protobuf message can be");
    else if (count > room - (size_t)b->used) {
        char *larger;
        room = LSNNI_MIN(2 * room + count + 64, (size_t)INT_MAX);
        larger = (char *)lsnni_alloc_raw(b->cx, room, 1);
        if (!larger) b->status = LSNN_ENOMEM;
        else {
            if (b->used) memcpy(larger, b->v, (size_t)b->used);
            lsnni_free(b->cx, b->v);
            b->v = larger;
            b->room = (int)room;
        }
    }
    if (b->status != LSNN_OK) return;
    if (count) memcpy(b->v + b->used, v, count);
    b->used += (int)count;
}

/* Seven bits a byte, the lowest first; all but the last have the eighth bit.    */
static void lsnni_pb_varint(lsnni_bytes *b, uint64_t v)
{
    unsigned char c;
    do {
        c = (unsigned char)((v & 127) | (v > 127 ? 128 : 0));
        lsnni_pb_raw(b, &c, 1);
    } while (v >>= 7);
}
static void lsnni_pb_int(lsnni_bytes *b, int field, int64_t v)
{
    lsnni_pb_varint(b, (uint64_t)field << 3);
    lsnni_pb_varint(b, (uint64_t)v);
}
static void lsnni_pb_blob(lsnni_bytes *b, int field, const void *v, size_t count)
{
    lsnni_pb_varint(b, (uint64_t)field << 3 | 2);
    lsnni_pb_varint(b, count);
    lsnni_pb_raw(b, v, count);
}
static void lsnni_pb_text(lsnni_bytes *b, int field, const char *text)
{
    lsnni_pb_blob(b, field, text, strlen(text));
}
/* A message that is done: it becomes field `field` of b, and is emptied.        */
static void lsnni_pb_message(lsnni_bytes *b, int field, lsnni_bytes *inner)
{
    if (inner->status != LSNN_OK) b->status = inner->status;
    else lsnni_pb_blob(b, field, inner->v, (size_t)inner->used);
    inner->used = 0;
}

/* ---- >>graph parts ------------------------------------------------------------------------*/
enum { LSNNI_ONNX_NAME = 260 };
typedef struct lsnni_onnx {
    lsnn_ctx *cx;
    lsnn_net *net;
    lsnni_bytes graph, node, inner, innermost;    /* messages inside of messages   */
    int made;                                /* names of arrays in between    */
    char *flat;                              /* one a net's node: its array is N,K */
    lsnn_real *row;
} lsnni_onnx;

static void lsnni_onnx_value(lsnni_onnx *e, int field, const char *name, const int *dim, int rank)
{
    for (int i = -1; i < rank; i++) {
        if (i < 0) lsnni_pb_text(&e->innermost, 2, "N");
        else lsnni_pb_int(&e->innermost, 1, dim[i]);
        lsnni_pb_message(&e->inner, 1, &e->innermost);
    }
    lsnni_pb_int(&e->innermost, 1, LSNNI_ONNX_FLOAT);
    lsnni_pb_message(&e->innermost, 2, &e->inner);
    lsnni_pb_message(&e->inner, 1, &e->innermost);
    lsnni_pb_text(&e->node, 1, name);
    lsnni_pb_message(&e->node, 2, &e->inner);
    lsnni_pb_message(&e->graph, field, &e->node);
}

/* A constant of floats or of int64s, its numbers little-endian.                 */
static void lsnni_onnx_constant(lsnni_onnx *e, const char *name, const lsnn_real *v,
                                const int64_t *whole, const int *dim, int rank)
{
    size_t count = 1;
    unsigned char bytes[8];
    for (int i = 0; i < rank; i++) {
        lsnni_pb_int(&e->inner, 1, dim[i]);
        count *= (size_t)dim[i];
    }
    lsnni_pb_int(&e->inner, 2, v ? LSNNI_ONNX_FLOAT : LSNNI_ONNX_INT64);
    lsnni_pb_text(&e->inner, 8, name);
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = 0;
        float x = v ? (float)v[i] : 0;
        memcpy(&bits, &x, 4);
        lsnni_bytes_of(bytes, v ? bits : (uint64_t)whole[i], v ? 4 : 8);
        lsnni_pb_raw(&e->innermost, bytes, v ? 4 : 8);
    }
    lsnni_pb_message(&e->inner, 9, &e->innermost);
    lsnni_pb_message(&e->graph, 5, &e->inner);
}

/* A name that no layer has: "conv1:3".                                          */
static const char *lsnni_onnx_made(lsnni_onnx *e, int i, char name[LSNNI_ONNX_NAME])
{
    snprintf(name, LSNNI_ONNX_NAME, "%.200s:%d", e->net->node[i].name, ++e->made);
    return name;
}

/* A node of ONNX: op, what it reads, its attributes, what it writes.            */
static void lsnni_onnx_reads(lsnni_onnx *e, const char *name) { lsnni_pb_text(&e->node, 1, name); }
static void lsnni_onnx_ints(lsnni_onnx *e, const char *name, const int *v, int count)
{
    lsnni_pb_text(&e->inner, 1, name);
    for (int i = 0; i < count; i++) lsnni_pb_int(&e->inner, 8, v[i]);
    lsnni_pb_int(&e->inner, 20, 7);
    lsnni_pb_message(&e->node, 5, &e->inner);
}
static void lsnni_onnx_int(lsnni_onnx *e, const char *name, int v)
{
    lsnni_pb_text(&e->inner, 1, name);
    lsnni_pb_int(&e->inner, 3, v);
    lsnni_pb_int(&e->inner, 20, 2);
    lsnni_pb_message(&e->node, 5, &e->inner);
}
static void lsnni_onnx_float(lsnni_onnx *e, const char *name, double v)
{
    unsigned char bytes[4];
    float x = (float)v;
    uint32_t bits;
    memcpy(&bits, &x, 4);
    lsnni_bytes_of(bytes, bits, 4);
    lsnni_pb_text(&e->inner, 1, name);
    lsnni_pb_varint(&e->inner, 2 << 3 | 5);              /* four bytes        */
    lsnni_pb_raw(&e->inner, bytes, 4);
    lsnni_pb_int(&e->inner, 20, 1);
    lsnni_pb_message(&e->node, 5, &e->inner);
}
static void lsnni_onnx_writes(lsnni_onnx *e, const char *op, const char *name)
{
    lsnni_pb_text(&e->node, 2, name);
    lsnni_pb_text(&e->node, 3, name);
    lsnni_pb_text(&e->node, 4, op);
    lsnni_pb_message(&e->graph, 1, &e->node);
}

/* Ends a node: it writes a new array, whose name is name's from here on.         */
static void lsnni_onnx_next(lsnni_onnx *e, int i, const char *op, char name[LSNNI_ONNX_NAME])
{
    lsnni_onnx_writes(e, op, lsnni_onnx_made(e, i, name));
}

/* A constant of the net's node i, made here; its name.                            */
static const char *lsnni_onnx_floats(lsnni_onnx *e, int i, const lsnn_real *v, const int *dim,
                                     int rank, char name[LSNNI_ONNX_NAME])
{
    lsnni_onnx_constant(e, lsnni_onnx_made(e, i, name), v, NULL, dim, rank);
    return name;
}
static const char *lsnni_onnx_whole(lsnni_onnx *e, int i, const int64_t *v, int count,
                                    char name[LSNNI_ONNX_NAME])
{
    lsnni_onnx_constant(e, lsnni_onnx_made(e, i, name), NULL, v, &count, 1);
    return name;
}

/* x as N,c,h,w, or with h = 0 as N,c: reshaped if it is not. The -1 is N.          */
static void lsnni_onnx_shape(lsnni_onnx *e, int i, char x[LSNNI_ONNX_NAME], int rank, int c,
                             int h, int w)
{
    char shape[LSNNI_ONNX_NAME];
    int64_t to[4];
    to[0] = -1; to[1] = c; to[2] = h; to[3] = w;
    lsnni_onnx_whole(e, i, to, rank, shape);
    lsnni_onnx_reads(e, x);
    lsnni_onnx_reads(e, shape);
    lsnni_onnx_next(e, i, "Reshape", x);
}

/* The output of the net's node x for reader i, as N,K (flat) or as N,C,H,W.        */
static void lsnni_onnx_read(lsnni_onnx *e, int i, int x, int flat, char name[LSNNI_ONNX_NAME])
{
    lsnn_shape s = e->net->node[x].shape;
    snprintf(name, LSNNI_ONNX_NAME, "%s", e->net->node[x].name);
    if (e->flat[x] == flat) return;
    lsnni_onnx_shape(e, i, name, flat ? 2 : 4, flat ? lsnni_features(s) : s.c, s.h, s.w);
}

/* Parameter or buffer j of node i as a constant; its name is the net's. Shared ones are
   written by the layer that has them, which may not be in the model: so each time.        */
static const char *lsnni_onnx_param(lsnni_onnx *e, int i, int j, int buffer, const int *dim,
                                    int rank, char name[LSNNI_ONNX_NAME])
{
    const lsnni_node *v = &e->net->node[i];
    const lsnni_param *p = buffer ? &e->net->buffer[v->buffer[j]] : &e->net->param[v->param[j]];
    const lsnn_real *values = (buffer ? e->net->state : e->net->value) + p->at;
    snprintf(name, LSNNI_ONNX_NAME, "%.200s.%.50s", v->name, p->spec.name);
    lsnni_onnx_constant(e, name, values, NULL, dim ? dim : p->spec.dim,
                        dim ? rank : p->spec.rank);
    return name;
}

/* y = op(y, constant), v NULL: nothing.                                         */
static void lsnni_onnx_by(lsnni_onnx *e, int i, const char *op, const lsnn_real *v,
                          const int *dim, int rank, char y[LSNNI_ONNX_NAME])
{
    char name[LSNNI_ONNX_NAME];
    if (!v) return;
    lsnni_onnx_floats(e, i, v, dim, rank, name);
    lsnni_onnx_reads(e, y);
    lsnni_onnx_reads(e, name);
    lsnni_onnx_next(e, i, op, y);
}

static const lsnn_real *lsnni_onnx_values(const lsnni_onnx *e, int i, int j)
{
    const lsnni_node *v = &e->net->node[i];
    return j < v->plan.params ? e->net->value + e->net->param[v->param[j]].at : NULL;
}

/* The last node of a layer: its array has the layer's name.                      */
static void lsnni_onnx_done(lsnni_onnx *e, int i, const char *last)
{
    lsnni_onnx_reads(e, last);
    lsnni_onnx_writes(e, "Identity", e->net->node[i].name);
}

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
    pad[2] = LSNNI_MAX(0, (s->oh - 1) * s->stride_h + s->kernel_h - s->h - pad[0]);
    pad[3] = LSNNI_MAX(0, (s->ow - 1) * s->stride_w + s->kernel_w - s->w - pad[1]);
}

static void lsnni_onnx_window_says(lsnni_onnx *e, int i)
{
    lsnn_window s;
    int pad[4], kernel[2], stride[2];
    lsnni_onnx_window(e, i, &s, pad);
    kernel[0] = s.kernel_h; kernel[1] = s.kernel_w;
    stride[0] = s.stride_h; stride[1] = s.stride_w;
    lsnni_onnx_ints(e, "kernel_shape", kernel, 2);
    lsnni_onnx_ints(e, "strides", stride, 2);
    lsnni_onnx_ints(e, "pads", pad, 4);
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
        index[at++] = ((int64_t)c * h + oy * s->stride_h + u) * w + ox * s->stride_w + v;
    lsnni_onnx_constant(e, lsnni_onnx_made(e, i, name), NULL, index, dim, 2);
    lsnni_free(e->cx, index);
    lsnni_onnx_reads(e, x);
    lsnni_onnx_reads(e, name);
    lsnni_onnx_int(e, "axis", 1);
    lsnni_onnx_next(e, i, "Gather", x);                  /* N,P,CRS           */
}

static void lsnni_onnx_turn(lsnni_onnx *e, int i, int a, int b, int c, char x[LSNNI_ONNX_NAME])
{
    int perm[3];
    perm[0] = a; perm[1] = b; perm[2] = c;
    lsnni_onnx_reads(e, x);
    lsnni_onnx_ints(e, "perm", perm, 3);
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

/* The sum over axis 2, which is left out.                                      */
static void lsnni_onnx_sum(lsnni_onnx *e, int i, char y[LSNNI_ONNX_NAME])
{
    char axes[LSNNI_ONNX_NAME];
    int64_t axis = 2;
    lsnni_onnx_whole(e, i, &axis, 1, axes);
    lsnni_onnx_reads(e, y);
    lsnni_onnx_reads(e, axes);
    lsnni_onnx_int(e, "keepdims", 0);
    lsnni_onnx_next(e, i, "ReduceSum", y);
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
    dim[0] = s.oh * s.ow;
    dim[1] = s.c * s.kernel_h * s.kernel_w;
    dim[2] = s.k;
    lsnni_onnx_param(e, i, 0, 0, dim, 3, w);
    lsnni_onnx_turn(e, i, 1, 0, 2, x);
    lsnni_onnx_reads(e, x);
    lsnni_onnx_reads(e, w);
    lsnni_onnx_next(e, i, "MatMul", x);                  /* P,N,K             */
    lsnni_onnx_turn(e, i, 1, 2, 0, x);
    lsnni_onnx_shape(e, i, x, 4, s.k, s.oh, s.ow);
    dim[0] = s.k; dim[1] = s.oh; dim[2] = s.ow;
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
    lsnni_onnx_turn(e, i, 0, 2, 1, x);
    lsnni_onnx_shape(e, i, x, 4, s.c, s.oh, s.ow);
    lsnni_onnx_done(e, i, x);
}

/* ---- smoothers: U by Eq. 6 to 9 from theta, or as a constant. */
/* p - mu along one side: places (a row of pixels' coordinates) less a number of theta's.  */
static void lsnni_onnx_from_mu(lsnni_onnx *e, int i, const lsnn_smoother *s, const char *mu,
                               int down, char y[LSNNI_ONNX_NAME])
{
    int dim[4] = { 1, 1, 1, 0 };
    dim[3] = s->h * s->w;
    for (int p = 0; p < dim[3]; p++)
        e->row[p] = LSNNI_R(down ? p / s->w * lsnni_spacing(s->h) : p % s->w * lsnni_spacing(s->w));
    lsnni_onnx_floats(e, i, e->row, dim, 4, y);
    lsnni_onnx_pair(e, i, "Sub", y, mu, y);
}

/* -|Phi (p - mu)|^2 of each Gaussian: N, maps, M, P; theta is N, maps, M, numbers.  */
static void lsnni_onnx_exponent(lsnni_onnx *e, int i, const lsnn_smoother *s, const char *theta,
                                char y[LSNNI_ONNX_NAME])
{
    const lsnni_family *f = &lsnni_families[s->shape];
    char t[LSNNI_NUMBERS][LSNNI_ONNX_NAME], r[2][LSNNI_ONNX_NAME], d[2][LSNNI_ONNX_NAME];
    int has[LSNNI_NUMBERS] = { 0, 0, 0, 0, 0 }, rows = 1;
    for (int j = 0; j < f->count; j++) {
        snprintf(t[f->number[j]], LSNNI_ONNX_NAME, "%s", theta);
        lsnni_onnx_cut(e, i, 3, j, 1, t[f->number[j]]);
        has[f->number[j]] = 1;
    }
    lsnni_onnx_from_mu(e, i, s, t[LSNNI_MU_X], 0, d[0]);
    lsnni_onnx_pair(e, i, "Mul", d[0], t[LSNNI_ALPHA], r[0]);
    if (has[LSNNI_MU_Y]) {
        rows = 2;
        lsnni_onnx_from_mu(e, i, s, t[LSNNI_MU_Y], 1, d[1]);
        lsnni_onnx_pair(e, i, "Mul", d[1], t[LSNNI_BETA], r[1]);
    }
    for (int j = 0; j < 2 && has[LSNNI_GAMMA]; j++) {
        lsnni_onnx_pair(e, i, "Mul", d[1 - j], t[LSNNI_GAMMA], y);
        lsnni_onnx_pair(e, i, "Add", r[j], y, r[j]);
    }
    for (int j = 0; j < rows; j++) lsnni_onnx_pair(e, i, "Mul", r[j], r[j], r[j]);
    snprintf(y, LSNNI_ONNX_NAME, "%s", r[0]);
    if (rows > 1) lsnni_onnx_pair(e, i, "Add", r[0], r[1], y);
    lsnni_onnx_reads(e, y);
    lsnni_onnx_next(e, i, "Neg", y);
}

static void lsnni_onnx_softmax_over(lsnni_onnx *e, int i, int axis, char y[LSNNI_ONNX_NAME])
{
    lsnni_onnx_reads(e, y);
    lsnni_onnx_int(e, "axis", axis);
    lsnni_onnx_next(e, i, "Softmax", y);
}

/* U: N, maps, H, W.                                                           */
static void lsnni_onnx_maps(lsnni_onnx *e, int i, const lsnn_smoother *s, int node,
                            char u[LSNNI_ONNX_NAME])
{
    char theta[LSNNI_ONNX_NAME], w[LSNNI_ONNX_NAME];
    int maps = s->k * s->rank, parts = lsnni_parts(s), stride = lsnni_stride(s), one = 1;
    lsnn_real count = LSNNI_R((double)s->h * s->w);
    lsnni_onnx_read(e, i, node, 1, theta);
    snprintf(u, LSNNI_ONNX_NAME, "%s", theta);
    if (s->shape != LSNN_TABLE) {
        lsnni_onnx_shape(e, i, theta, 4, maps, parts, stride);
        lsnni_onnx_exponent(e, i, s, theta, u);
        if (s->normalise == LSNN_NORMALISE_NONE) {
            lsnni_onnx_reads(e, u);
            lsnni_onnx_next(e, i, "Exp", u);
        } else lsnni_onnx_softmax_over(e, i, 3, u);
        if (s->normalise == LSNN_NORMALISE_MEAN) lsnni_onnx_by(e, i, "Mul", &count, &one, 1, u);
        if (parts > 1) {
            snprintf(w, LSNNI_ONNX_NAME, "%s", theta);
            lsnni_onnx_cut(e, i, 3, stride - 1, 1, w);
            lsnni_onnx_softmax_over(e, i, 2, w);
            lsnni_onnx_pair(e, i, "Mul", u, w, u);
            lsnni_onnx_sum(e, i, u);
        }
    }
    lsnni_onnx_shape(e, i, u, 4, maps, s->h, s->w);
}

static void lsnni_onnx_smooth(lsnni_onnx *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    lsnn_layer_plan p = v->plan;
    lsnn_smoother s;
    const lsnn_real *b = lsnni_onnx_values(e, i, v->plan.inputs == 2 ? 0 : 1);
    char y[LSNNI_ONNX_NAME], u[LSNNI_ONNX_NAME];
    int dim[3];
    p.in[0] = e->net->node[v->input[0]].shape;
    s = lsnni_smoother_of(&p, 1, 0);
    lsnni_onnx_read(e, i, v->input[0], 0, y);
    dim[0] = s.k * s.rank; dim[1] = dim[2] = 1;
    if (s.smooth_bias && b) {                            /* U a + U b = U (a + b) */
        for (int k = 0; k < dim[0]; k++) e->row[k] = b[k / s.rank];
        lsnni_onnx_by(e, i, "Add", e->row, dim, 3, y);
    }
    dim[1] = s.h; dim[2] = s.w;
    if (s.per_image) {
        lsnni_onnx_maps(e, i, &s, v->input[1], u);
        lsnni_onnx_pair(e, i, "Mul", y, u, y);
    } else if (lsnn_smoother_map(e->cx, e->row, lsnni_onnx_values(e, i, 0), &s) == LSNN_OK)
        lsnni_onnx_by(e, i, "Mul", e->row, dim, 3, y);
    if (s.rank > 1) {
        lsnni_onnx_shape(e, i, y, 4, s.k, s.rank, s.h * s.w);
        lsnni_onnx_sum(e, i, y);
        lsnni_onnx_shape(e, i, y, 4, s.k, s.h, s.w);
    }
    dim[0] = s.k; dim[1] = dim[2] = 1;
    if (!s.smooth_bias) lsnni_onnx_by(e, i, "Add", b, dim, 3, y);
    lsnni_onnx_done(e, i, y);
}

static const struct { const lsnn_layer_type *type; void (*write)(lsnni_onnx *e, int i); }
lsnni_onnx_writers[] = {
    { &lsnni_dense_type, lsnni_onnx_dense },
    { &lsnni_relu_type, lsnni_onnx_relu },
    { &lsnni_leaky_relu_type, lsnni_onnx_leaky_relu },
    { &lsnni_sigmoid_type, lsnni_onnx_sigmoid },
    { &lsnni_tanh_type, lsnni_onnx_tanh },
    { &lsnni_scaled_tanh_type, lsnni_onnx_scaled_tanh },
    { &lsnni_rbf_type, lsnni_onnx_rbf },
    { &lsnni_softmax_type, lsnni_onnx_softmax },
    { &lsnni_max_pool_type, lsnni_onnx_max_pool },
    { &lsnni_avg_pool_type, lsnni_onnx_avg_pool },
    { &lsnni_sum_pool_type, lsnni_onnx_sum_pool },
    { &lsnni_lp_pool_type, lsnni_onnx_lp_pool },
    { &lsnni_dropout_type, lsnni_onnx_same },
    { &lsnni_flatten_type, lsnni_onnx_flatten },
    { &lsnni_batch_norm_type, lsnni_onnx_batch_norm },
    { &lsnni_scale_type, lsnni_onnx_scale },
    { &lsnni_add_type, lsnni_onnx_add },
    { &lsnni_concat_type, lsnni_onnx_concat },
    { &lsnni_slice_type, lsnni_onnx_slice },
    { &lsnni_conv2d_type, lsnni_onnx_conv2d },
    { &lsnni_table_conv2d_type, lsnni_onnx_table_conv2d },
    { &lsnni_local2d_type, lsnni_onnx_local2d },
    { &lsnni_smooth_type, lsnni_onnx_smooth }
};

static int lsnni_onnx_writer(const lsnn_layer_type *type)
{
    int count = (int)(sizeof lsnni_onnx_writers / sizeof lsnni_onnx_writers[0]);
    for (int i = 0; i < count; i++) if (lsnni_onnx_writers[i].type == type) return i;
    return -1;
}

/* ---- >>the model -------------------------------------------------------------------------*/
static lsnn_status lsnni_onnx_graph(lsnni_onnx *e)
{
    const lsnn_net *net = e->net;
    lsnn_shape in = net->node[0].shape, out = net->node[net->output].shape;
    int dim[3];
    dim[0] = in.c; dim[1] = in.h; dim[2] = in.w;
    lsnni_onnx_value(e, 11, net->node[0].name, dim, 3);
    for (int i = 1; i < net->nodes; i++)
        if (net->node[i].role.on_path)
            lsnni_onnx_writers[lsnni_onnx_writer(net->node[i].type)].write(e, i);
    dim[0] = out.c; dim[1] = out.h; dim[2] = out.w;
    lsnni_onnx_value(e, 12, net->node[net->output].name, dim, e->flat[net->output] ? 1 : 3);
    lsnni_pb_text(&e->graph, 2, "lsnn");
    LSNNI_TRY(e->node.status);
    LSNNI_TRY(e->inner.status);
    LSNNI_TRY(e->innermost.status);
    return e->graph.status;
}

/* For lsnni_file_replace.                                                    */
static lsnn_status lsnni_onnx_write(lsnn_ctx *cx, FILE *f, void *user)
{
    const lsnni_bytes *b = (const lsnni_bytes *)user;
    (void)cx;
    return fwrite(b->v, 1, (size_t)b->used, f) == (size_t)b->used ? LSNN_OK : LSNN_EIO;
}

static lsnn_status lsnni_onnx_check(const lsnn_net *net, const char *path)
{
    LSNNI_TRY(lsnni_export_check(net, "net_export_onnx", path));
    for (int i = 1; i < net->nodes; i++) {
        const lsnni_node *v = &net->node[i];
        if (v->role.on_path && lsnni_onnx_writer(v->type) < 0)
            return lsnni_fail(net->cx, LSNN_EUNSUPPORTED, "net_export_onnx: layer '%.60s': a "
                              "%.40s has no form in ONNX", v->name, v->type->name);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_net_export_onnx(lsnn_net *net, const char *path)
{
    lsnni_onnx e;
    lsnn_status s = LSNN_ENOMEM;
    size_t row = 1;
    lsnn_ctx *cx;
    if (!net) return LSNN_ENOMEM;
    cx = net->cx;
    LSNNI_TRY(lsnni_onnx_check(net, path));
    memset(&e, 0, sizeof e);
    e.cx = e.graph.cx = e.node.cx = e.inner.cx = e.innermost.cx = cx;
    e.net = net;
    for (int i = 0; i < net->nodes; i++)
        row = LSNNI_MAX(row, (size_t)lsnni_features(net->node[i].shape));
    e.flat = (char *)lsnni_alloc(cx, (size_t)net->nodes, 1);
    e.row = (lsnn_real *)lsnni_alloc(cx, row, sizeof *e.row);
    if (e.flat && e.row) s = lsnni_onnx_graph(&e);
    if (s == LSNN_OK) {                                  /* node: the model, now */
        lsnni_pb_int(&e.node, 1, 7);                     /* IR version of ONNX 1.8 */
        lsnni_pb_text(&e.node, 2, "lsnn");
        lsnni_pb_text(&e.node, 3, LSNN_VERSION);
        lsnni_pb_message(&e.node, 7, &e.graph);
        lsnni_pb_text(&e.inner, 1, "");
        lsnni_pb_int(&e.inner, 2, LSNNI_ONNX_OPSET);
        lsnni_pb_message(&e.node, 8, &e.inner);
        s = e.node.status;
    }
    if (s == LSNN_OK) s = lsnni_file_replace(cx, path, lsnni_onnx_write, &e.node);
    lsnni_free(cx, e.graph.v);
    lsnni_free(cx, e.node.v);
    lsnni_free(cx, e.inner.v);
    lsnni_free(cx, e.innermost.v);
    lsnni_free(cx, e.flat);
    lsnni_free(cx, e.row);
    return s;
}
#ifndef LSNN_NO_TRAIN
/* ============================================================================
   >>training  optimizers, schedules, fit, evaluate, checkpoints
   ==========================================================================*/

/* ---- >>optimizers -----------------------------------------------------------------
   g is the gradient, clipped as a whole: g min(1, clip / (|g| + 1e-6)).
   SGD      e = g + wd w;  v = momentum v + e;  w -= lr v   (Nesterov: lr (e + momentum v))
   Adam     e = g + wd w;  m = b1 m + (1 - b1) e;  v = b2 v + (1 - b2) e^2
            w -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)    t = 1, 2, ...
   AdamW    Adam with wd = 0, and w *= 1 - lr wd first
   as PyTorch has them (no dampening). wd is 0 for biases, normalisation and
   smoothers; lr is times the parameter's factor.                             */
struct lsnn_optimizer {
    lsnn_net *net;
    lsnn_optimizer_desc d;
    uint32_t step;
    lsnn_real *m, *v;                /* m: SGD's velocity, or Adam's mean     */
};

static void lsnni_optimizer_defaults(lsnn_optimizer_desc *d)
{
    d->lr = lsnni_or(d->lr, d->method == LSNN_SGD ? 0.01 : 0.001);
    d->one_minus_beta1 = lsnni_or(d->one_minus_beta1, 0.1);
    d->one_minus_beta2 = lsnni_or(d->one_minus_beta2, 0.001);
    d->eps = lsnni_or(d->eps, 1e-8);
    d->step_factor = lsnni_or(d->step_factor, 0.1);
}

/* Milestones rise until a 0 ends them; wanted: there is one.                  */
static lsnn_status lsnni_milestones_check(lsnn_ctx *cx, const char *who, const int *at,
                                          int wanted)
{
    if (wanted && at[0] < 1)
        return lsnni_fail(cx, LSNN_EVALUE, "%s: the schedule needs milestones, the first is %d",
                          who, at[0]);
    for (int i = 0; i < LSNN_MAX_MILESTONES; i++)
        if (at[i] < 0 || (i > 0 && at[i] > 0 && at[i] <= at[i - 1]))
            return lsnni_fail(cx, LSNN_EVALUE, "%s: milestone %d is %d: they must rise, and a 0 "
                              "ends them", who, i + 1, at[i]);
    return LSNN_OK;
}

static lsnn_status lsnni_optimizer_check(lsnn_ctx *cx, const lsnn_optimizer_desc *d)
{
    if ((int)d->method < 0 || d->method > LSNN_ADAMW || (int)d->schedule < 0 ||
        d->schedule > LSNN_MILESTONES)
        return lsnni_fail(cx, LSNN_EVALUE, "optimizer: method %d or schedule %d is unknown",
                          (int)d->method, (int)d->schedule);
    if (!(d->lr > 0 && d->lr < HUGE_VAL && d->weight_decay >= 0 &&
          d->weight_decay < HUGE_VAL && d->clip_norm >= 0 && d->clip_norm < HUGE_VAL &&
          LSNNI_R(d->eps) > 0 && d->eps < HUGE_VAL && d->step_factor > 0 &&
          d->step_factor < HUGE_VAL))
        return lsnni_fail(cx, LSNN_EVALUE,
                          "optimizer: lr %g, eps %g and step_factor %g must be positive, "
                          "weight_decay %g and clip_norm %g not negative, all finite", d->lr,
                          d->eps, d->step_factor, d->weight_decay, d->clip_norm);
    if (!(d->momentum >= 0 && d->momentum < 1) || (d->nesterov && !(d->momentum > 0)))
        return lsnni_fail(cx, LSNN_EVALUE,
                          "optimizer: momentum %g must lie in [0, 1), above 0 for "
                          "nesterov", d->momentum);
    if (!(1 - d->one_minus_beta1 < 1 && d->one_minus_beta1 <= 1 && 1 - d->one_minus_beta2 < 1 &&
          d->one_minus_beta2 <= 1))
        return lsnni_fail(cx, LSNN_EVALUE,
                          "optimizer: one_minus_beta1 %g and one_minus_beta2 %g must lie in "
                          "(0, 1], and not vanish beside 1", d->one_minus_beta1,
                          d->one_minus_beta2);
    if (d->warmup_steps < 0 || d->total_steps < 0 || d->step_every < 0 ||
        (d->schedule == LSNN_COSINE && d->total_steps <= d->warmup_steps) ||
        (d->schedule == LSNN_STEP && d->step_every == 0))
        return lsnni_fail(cx, LSNN_EVALUE,
                          "optimizer: the schedule has warmup_steps %d, total_steps %d, "
                          "step_every %d; cosine needs total_steps over warmup_steps, step "
                          "needs step_every", d->warmup_steps, d->total_steps, d->step_every);
    return lsnni_milestones_check(cx, "optimizer", d->milestones,
                                  d->schedule == LSNN_MILESTONES);
}

/* ---- >>schedules: lr at step t = 0, 1, ...
   warm-up (t < W): lr (t + 1) / W     constant: lr     step: lr factor^floor(t / every)
   cosine: lr (1 + cos(pi (t - W) / (T - W))) / 2       milestones: lr factor^(how many <= t) */
LSNN_API double lsnn_optimizer_lr(const lsnn_optimizer_desc *desc, uint32_t step)
{
    lsnn_optimizer_desc d = *desc;
    double t = (double)step, warm = (double)d.warmup_steps;
    lsnni_optimizer_defaults(&d);
    if (t < warm) return d.lr * (t + 1) / warm;
    if (d.schedule == LSNN_STEP && d.step_every > 0)
        return d.lr * pow(d.step_factor, floor(t / d.step_every));
    if (d.schedule == LSNN_MILESTONES) {
        int passed = 0;
        while (passed < LSNN_MAX_MILESTONES && d.milestones[passed] > 0 &&
               t >= d.milestones[passed]) passed++;
        return d.lr * pow(d.step_factor, passed);
    }
    if (d.schedule == LSNN_COSINE) {
        double part = (t - warm) / LSNNI_MAX(1, (double)d.total_steps - warm);
        return part >= 1 ? 0 : d.lr * 0.5 * (1 + cos(3.141592653589793 * part));
    }
    return d.lr;
}

LSNN_API void lsnn_optimizer_free(lsnn_optimizer *o)
{
    if (!o) return;
    lsnni_free(o->net->cx, o->m);
    lsnni_free(o->net->cx, o->v);
    lsnni_free(o->net->cx, o);
}

/* Layers with a rule of their own take its step as it is, or a part of it: no mean of steps,
   and no step in another direction.                                           */
static lsnn_status lsnni_own_rules_check(const lsnn_net *net, const lsnn_optimizer_desc *d)
{
    int plain = d->method == LSNN_SGD && d->momentum <= 0 && d->clip_norm <= 0;
    for (int i = 0; i < net->params; i++) {
        const lsnni_node *v = &net->node[net->param[i].owner];
        double lr = d->lr * net->param[i].lr_factor;
        if (!(v->plan.traits & LSNN_OWN_RULE) || !(lr > 0) || (plain && lr <= 1)) continue;
        return lsnni_fail(net->cx, LSNN_EVALUE, "optimizer: layer '%.60s' has an update rule of "
                          "its own: it learns by SGD without momentum and clip_norm, at an lr of "
                          "at most 1 (which is the rule itself), not %g", v->name, lr);
    }
    return LSNN_OK;
}

LSNN_API lsnn_optimizer *lsnn_optimizer_new(lsnn_net *net, const lsnn_optimizer_desc *d)
{
    if (!net) return NULL;
    lsnn_optimizer_desc all;
    lsnn_optimizer *o;
    int with_m, with_v;
    memset(&all, 0, sizeof all);
    if (d) all = *d;
    lsnni_optimizer_defaults(&all);
    if (!net->built || net->predict_only) {
        lsnni_fail(net->cx, LSNN_ESTATE,
                   "optimizer: the net must be built, and not to predict only");
        return NULL;
    }
    if (lsnni_optimizer_check(net->cx, &all) != LSNN_OK ||
        lsnni_own_rules_check(net, &all) != LSNN_OK) return NULL;
    o = (lsnn_optimizer *)lsnni_alloc(net->cx, 1, sizeof *o);
    if (!o) return NULL;
    o->net = net;
    o->d = all;
    with_v = all.method != LSNN_SGD;
    with_m = with_v || all.momentum > 0;
    if (with_m) o->m = (lsnn_real *)lsnni_alloc(net->cx, net->param_size, sizeof *o->m);
    if (with_v) o->v = (lsnn_real *)lsnni_alloc(net->cx, net->param_size, sizeof *o->v);
    if ((o->m || !with_m) && (o->v || !with_v)) return o;
    lsnn_optimizer_free(o);
    return NULL;
}

typedef struct lsnni_update {
    lsnn_optimizer *o;
    const lsnni_kernels *kv;
    double lr, scale, c1, c2;        /* see >>updates                         */
} lsnni_update;

/* One parameter array.                                                       */
static void lsnni_update_task(void *user, int i, int worker)
{
    const lsnni_update *u = (const lsnni_update *)user;
    const lsnn_optimizer_desc *d = &u->o->d;
    const lsnn_net *net = u->o->net;
    const lsnni_param *p = &net->param[i];
    lsnn_real *w = net->value + p->at, *m = u->o->m ? u->o->m + p->at : NULL;
    double lr = u->lr * p->lr_factor, decay = p->decay ? d->weight_decay : 0;
    double shrink = d->method == LSNN_ADAMW ? lr * decay : 0;
    (void)worker;
    if (!(p->lr_factor > 0)) return;
    if (d->method == LSNN_SGD)
        u->kv->sgd(w, m, net->grad + p->at, u->scale, lr, decay, d->momentum, d->nesterov,
                   p->spec.count);
    else
        u->kv->adam(w, m, u->o->v + p->at, net->grad + p->at, u->scale, lr,
                    d->method == LSNN_ADAMW ? 0 : decay, shrink, 1 - d->one_minus_beta1,
                    1 - d->one_minus_beta2, u->c1, u->c2, d->eps, p->spec.count);
}

/* Layers change what gradients do not: see lsnn_layer_type.                  */
static lsnn_status lsnni_project(const lsnn_optimizer *o, double lr)
{
    const lsnn_net *net = o->net;
    lsnn_ctx *cx = net->cx;
    for (int i = 0; i < net->nodes; i++) {
        const lsnni_node *v = &net->node[i];
        lsnn_projection p;
        unsigned failures = cx->failures_;
        lsnn_status s;
        if (!v->type->project || v->share) continue;
        memset(&p, 0, sizeof p);
        p.plan = &v->plan;
        p.step = o->step + 1;
        p.lr = lr;
        for (int j = 0; j < v->plan.params; j++)
            if (net->param[v->param[j]].lr_factor > 0)
                p.param[j] = net->value + net->param[v->param[j]].at;
        for (int j = 0; j < v->plan.buffers; j++)
            p.buffer[j] = net->state + net->buffer[v->buffer[j]].at;
        cx->where_ = v->name;
        s = lsnni_answer(cx, v->type, "project", failures, v->type->project(cx, &p));
        cx->where_ = NULL;
        if (s != LSNN_OK) return s;
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_optimizer_step(lsnn_optimizer *o)
{
    lsnn_net *net = o->net;
    lsnni_update u;
    lsnn_status projected;
    double norm = 0;
    u.o = o;
    u.kv = lsnni_kernels_of(net->cx);
    u.lr = lsnn_optimizer_lr(&o->d, o->step);
    u.c1 = 1 / (1 - pow(1 - o->d.one_minus_beta1, (double)o->step + 1));
    u.c2 = 1 / (1 - pow(1 - o->d.one_minus_beta2, (double)o->step + 1));
    for (int i = 0; i < net->params; i++) {
        const lsnn_real *g = net->grad + net->param[i].at;
        double part = u.kv->dot(g, g, net->param[i].spec.count);
        if (!(part <= DBL_MAX))
            return lsnni_fail(net->cx, LSNN_EDIVERGED,
                              "step %u: the gradient of '%.80s' is not finite: "
                              "use a smaller learning rate or clip_norm", (unsigned)o->step,
                              net->param[i].name);
        norm += part;
    }
    norm = sqrt(norm);
    u.scale = o->d.clip_norm > 0 ? LSNNI_MIN(1, o->d.clip_norm / (norm + 1e-6)) : 1;
    lsnn_parallel(net->cx, net->params, lsnni_update_task, &u);
    projected = lsnni_project(o, u.lr);
    lsnni_changed(net);
    lsnn_zero_grad(net);
    net->steps = ++o->step;
    return projected;
}

/* ---- >>batches: samples fetched by all threads -------------------------------------*/
typedef struct lsnni_batch {
    const lsnn_data *data;
    const int *order;                /* NULL: first, first + 1, ...           */
    int first;
    uint32_t epoch;
    size_t size;
    lsnn_real *x, *targets;
    int *labels;
} lsnni_batch;

static void lsnni_batch_task(void *user, int i, int worker)
{
    const lsnni_batch *b = (const lsnni_batch *)user;
    const lsnn_data *d = b->data;
    int index = b->order ? b->order[b->first + i] : b->first + i;
    (void)worker;
    d->fetch(d->user, b->epoch, index, b->x + (size_t)i * b->size,
             b->labels ? b->labels + lsnni_area(i, d->heads) : NULL,
             b->targets ? b->targets + lsnni_area(i, d->target_count) : NULL);
}

static void lsnni_batch_free(lsnn_ctx *cx, lsnni_batch *b)
{
    lsnni_free(cx, b->x);
    lsnni_free(cx, b->targets);
    lsnni_free(cx, b->labels);
    b->x = b->targets = NULL;
    b->labels = NULL;
}

/* The labels' classes are the outputs', of one head at least; a data set of your own that says
   nothing of classes is believed, and each label is checked as it comes.      */
static lsnn_status lsnni_classes_check(const lsnn_net *net, const lsnn_data *d)
{
    const lsnni_node *last = NULL;
    for (int i = 0; i < net->nodes && d->classes; i++) {
        if (!lsnni_has(&net->node[i], LSNN_CLASSIFIES)) continue;
        last = &net->node[i];
        if (lsnni_features(last->plan.out) == d->classes) return LSNN_OK;
    }
    if (!last) return LSNN_OK;
    return lsnni_fail(net->cx, LSNN_ESHAPE, "the data have %d classes, layer '%.60s' has %d",
                      d->classes, last->name, lsnni_features(last->plan.out));
}

static lsnn_status lsnni_batch_make(lsnn_net *net, lsnni_batch *b, const lsnn_data *d)
{
    lsnn_shape in = net->node[0].plan.out;
    size_t n = (size_t)net->batch;
    int losses = 0;
    memset(b, 0, sizeof *b);
    if (d->count < 1 || !d->fetch || d->heads < 0 || d->heads > LSNN_MAX_HEADS ||
        d->target_count < 0)
        return lsnni_fail(net->cx, LSNN_ESHAPE,
                          "the data set has %d samples, %d labels and %d targets "
                          "each", d->count, d->heads, d->target_count);
    if (!d->heads && !d->target_count)
        return lsnni_fail(net->cx, LSNN_ESHAPE, "the data set has neither labels nor targets");
    for (int i = 0; i < net->nodes; i++) losses += lsnni_has(&net->node[i], LSNN_IS_LOSS);
    if (!losses)
        return lsnni_fail(net->cx, LSNN_ESTATE,
                          "the net has no loss: add lsnn_cross_entropy or lsnn_mse");
    if (d->shape.c != in.c || d->shape.h != in.h || d->shape.w != in.w)
        return lsnni_fail(net->cx, LSNN_ESHAPE,
                          "the data are %d x %d x %d, the net reads %d x %d x %d",
                          d->shape.c, d->shape.h, d->shape.w, in.c, in.h, in.w);
    LSNNI_TRY(lsnni_classes_check(net, d));
    b->data = d;
    b->size = (size_t)lsnni_features(in);
    b->x = (lsnn_real *)lsnni_alloc(net->cx, lsnni_times(b->size, n), sizeof *b->x);
    if (b->x && d->heads)
        b->labels = (int *)lsnni_alloc(net->cx, n, (size_t)d->heads * sizeof *b->labels);
    if (b->x && d->target_count)
        b->targets = (lsnn_real *)lsnni_alloc(net->cx, lsnni_times((size_t)d->target_count, n),
                                              sizeof *b->x);
    if (b->x && (b->labels || !d->heads) && (b->targets || !d->target_count)) return LSNN_OK;
    lsnni_batch_free(net->cx, b);
    return LSNN_ENOMEM;
}

static lsnn_batch lsnni_batch_fetch(lsnn_ctx *cx, lsnni_batch *b, int first, int n)
{
    lsnn_batch out;
    memset(&out, 0, sizeof out);
    b->first = first;
    lsnn_parallel(cx, n, lsnni_batch_task, b);
    out.n = n;
    out.x = b->x;
    out.labels = b->labels;
    out.heads = b->data->heads;
    out.targets = b->targets;
    out.target_count = b->data->target_count;
    return out;
}

/* What is not finite is the data's fault, and named before anything is run.       */
static lsnn_status lsnni_batch_check(lsnn_ctx *cx, const lsnni_batch *b, int n)
{
    const lsnni_kernels *kv = lsnni_kernels_of(cx);
    size_t number = 0, targets = (size_t)b->data->target_count;
    int in = lsnni_bad_sample(kv, b->x, n, b->size, &number);
    int bad = in < 0 && b->targets ? lsnni_bad_sample(kv, b->targets, n, targets, &number) : in;
    if (bad < 0) return LSNN_OK;
    return lsnni_fail(cx, LSNN_EDIVERGED, "sample %d of the data: number %.0f of its %s is %g",
                      b->order ? b->order[b->first + bad] : b->first + bad, (double)number,
                      in < 0 ? "targets" : "input",
                      (double)(in < 0 ? b->targets[(size_t)bad * targets + number]
                                      : b->x[(size_t)bad * b->size + number]));
}

/* ---- >>scores ---------------------------------------------------------------------*/
typedef struct lsnni_tally {
    double loss, wrong_heads, wrong_samples, head[LSNN_MAX_HEADS];
    int samples, heads;              /* heads that have a cross_entropy       */
} lsnni_tally;

/* 1 if node i is the first cross_entropy of its head: further ones (auxiliary losses) are
   learned from, but not scored.                                              */
static int lsnni_scores(const lsnn_net *net, int i)
{
    const lsnni_node *v = &net->node[i];
    if (!lsnni_has(v, LSNN_CLASSIFIES)) return 0;
    for (int k = 0; k < i; k++)
        if (net->node[k].type == v->type && net->node[k].plan.o.head == v->plan.o.head) return 0;
    return 1;
}

/* The scores that loss i has read, N x classes. They are compared, as predict's are, not the
   probabilities, in which near scores round to ties.                          */
static const lsnn_real *lsnni_scores_read(const lsnn_net *net, int i, const lsnn_batch *b)
{
    const lsnni_schedule *s = &net->work->schedule[net->work->lanes > 0];
    for (int j = 0; j < s->forwards; j++)
        if (s->forward[j].node == i && !s->forward[j].turns && s->forward[j].call.x[0])
            return s->forward[j].call.x[0];
    return b->x;
}

/* Counts the last forward's errors; loss is its mean over the batch.         */
static void lsnni_tally_add(const lsnn_net *net, lsnni_tally *t, const lsnn_batch *b,
                            double loss, int *confusion)
{
    t->loss += loss * b->n;
    t->samples += b->n;
    t->heads = 0;
    for (int i = 0; i < net->nodes; i++) t->heads += lsnni_scores(net, i);
    for (int n = 0; n < b->n && t->heads; n++) {
        int wrong = 0;
        for (int i = 0; i < net->nodes; i++) {
            const lsnni_node *v = &net->node[i];
            int classes = lsnni_features(v->plan.out), best = 0, truth, miss;
            const lsnn_real *p;
            if (!lsnni_scores(net, i)) continue;
            p = lsnni_scores_read(net, i, b) + lsnni_area(n, classes);
            truth = b->labels[lsnni_area(n, b->heads) + (size_t)v->plan.o.head];
            for (int k = 1; k < classes; k++) if (p[k] > p[best]) best = k;
            miss = best != truth;
            wrong += miss;
            t->head[v->plan.o.head] += miss;
            if (confusion) confusion[truth * classes + best]++;
        }
        t->wrong_heads += wrong;
        t->wrong_samples += wrong > 0;
    }
}

static double lsnni_tally_error(const lsnni_tally *t)
{
    double total = (double)t->samples * t->heads;
    return total > 0 ? 100 * t->wrong_heads / total : 0;
}

/* The net's answer to one of these samples is no number: nothing to be counted.    */
static lsnn_status lsnni_unscored(const lsnn_net *net, const lsnn_batch *b, int first)
{
    for (int n = 0; n < b->n; n++)
        for (int i = 0; i < net->nodes; i++) {
            size_t count = (size_t)lsnni_features(net->node[i].plan.out);
            if (lsnni_has(&net->node[i], LSNN_IS_LOSS) &&
                !lsnni_finite(net->work->y[i] + (size_t)n * count, count))
                return lsnni_fail(net->cx, LSNN_EDIVERGED, "evaluate: the net's answer to sample "
                                  "%d is no number, at layer '%.60s'", first + n,
                                  net->node[i].name);
        }
    return lsnni_fail(net->cx, LSNN_EDIVERGED, "evaluate: the loss of samples %d to %d is not "
                      "finite", first, first + b->n - 1);
}

static lsnn_status lsnni_evaluate(lsnn_net *net, lsnni_batch *b, lsnn_score *s)
{
    lsnni_tally t;
    memset(&t, 0, sizeof t);
    for (int i = 0, n; i < b->data->count; i += n) {
        double loss;
        lsnn_batch batch;
        n = LSNNI_MIN(net->batch, b->data->count - i);
        batch = lsnni_batch_fetch(net->cx, b, i, n);
        LSNNI_TRY(lsnni_batch_check(net->cx, b, n));
        LSNNI_TRY(lsnni_forward(net, &batch, 0, &loss));
        if (!(fabs(loss) <= DBL_MAX)) return lsnni_unscored(net, &batch, i);
        lsnni_tally_add(net, &t, &batch, loss, s->confusion);
    }
    s->loss = t.loss / t.samples;
    s->error = lsnni_tally_error(&t);
    s->whole_error = 100 * t.wrong_samples / t.samples;
    for (int i = 0; i < LSNN_MAX_HEADS; i++) s->head_error[i] = 100 * t.head[i] / t.samples;
    for (int k = 0; s->confusion && s->class_error && k < b->data->classes; k++) {
        const int *row = s->confusion + lsnni_area(k, b->data->classes);
        double count = 0;
        for (int j = 0; j < b->data->classes; j++) count += row[j];
        s->class_error[k] = count > 0 ? 100 * (1 - row[k] / count) : 0;
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_evaluate(lsnn_net *net, const lsnn_data *data, lsnn_score *s)
{
    if (!net) return LSNN_ENOMEM;
    lsnni_batch b;
    lsnn_status status;
    if (!net->built)
        return lsnni_fail(net->cx, LSNN_ESTATE, "lsnn_evaluate: call lsnn_net_build first");
    LSNNI_TRY(lsnni_batch_make(net, &b, data));
    for (int i = 0; s->confusion && i < net->nodes; i++)
        if (lsnni_has(&net->node[i], LSNN_CLASSIFIES) &&
            lsnni_features(net->node[i].plan.out) != data->classes) {
            lsnni_batch_free(net->cx, &b);
            return lsnni_fail(net->cx, LSNN_ESHAPE,
                              "confusion: '%.60s' has %d classes, the data %d",
                              net->node[i].name, lsnni_features(net->node[i].plan.out),
                              data->classes);
        }
    if (s->confusion)
        memset(s->confusion, 0, lsnni_area(data->classes, data->classes) * sizeof(int));
    status = lsnni_evaluate(net, &b, s);
    lsnni_batch_free(net->cx, &b);
    return status;
}

/* ---- >>fit ------------------------------------------------------------------------
   Epochs of shuffled batches. The order of an epoch, its fresh data and dropout are
   addressed by seed, epoch and step, so a resume needs no more than the numbers below. */
typedef struct lsnni_fit {
    lsnn_net *net;
    const lsnn_fit_desc *d;
    lsnn_optimizer *o;
    lsnni_batch batch, valid;
    lsnni_tally tally;               /* of this epoch                         */
    lsnn_progress p;
    lsnn_real *best;                 /* keep_best: parameters, then buffers   */
    int *order, epoch, epochs, done, steps;  /* done: steps of this epoch     */
    double began, trained, images;   /* seconds and images of this call       */
} lsnni_fit;

static const char *const lsnni_methods[] = { "sgd", "adam", "adamw" };

/* Enters an array `block` of all parameters' size as tensors. Their names, prefix + the
   parameter's, lie in *names, for the caller to free.                        */
static lsnn_status lsnni_saver_state(lsnn_ctx *cx, lsnni_saver *s, const lsnni_param *p,
                                     int count, const char *prefix, const lsnn_real *block,
                                     char **names)
{
    size_t length = 0, at = 0;
    int first = s->tensors;
    *names = NULL;
    if (!block || count < 1) return LSNN_OK;
    for (int i = 0; i < count; i++) length += strlen(prefix) + strlen(p[i].name) + 1;
    *names = (char *)lsnni_alloc(cx, length, 1);
    if (!*names) return LSNN_ENOMEM;
    lsnni_saver_tensors(s, p, count, block);
    for (int i = 0; i < count; i++) {
        char *name = *names + at;
        at += strlen(prefix) + strlen(p[i].name) + 1;
        snprintf(name, length - (size_t)(name - *names), "%s%s", prefix, p[i].name);
        s->tensor[first + i].name = name;
    }
    return LSNN_OK;
}

static void lsnni_saver_number(lsnni_saver *s, const char *key, double v)
{
    s->meta[s->metas].key = key;
    s->meta[s->metas].value = lsnni_number(s->value[s->metas], v);
    s->metas++;
}

/* A seed is 64 bits, more than a number's 53: two halves.                    */
static void lsnni_saver_seed(lsnni_saver *s, uint64_t seed)
{
    lsnni_saver_number(s, "lsnn.seed.high", (double)(uint32_t)(seed >> 32));
    lsnni_saver_number(s, "lsnn.seed.low", (double)(uint32_t)seed);
}

/* What of a training is saved beside the net: arrays of the size of its parameters (or
   buffers), each under a prefix. readers of nets pass over "optimizer.".     */
enum { LSNNI_FIT_STATES = 4 };
static const lsnn_real *lsnni_fit_state(const lsnni_fit *f, int i, const char **prefix)
{
    static const char *const prefixes[LSNNI_FIT_STATES] = { "optimizer.m:", "optimizer.v:",
        "optimizer.best:", "optimizer.best:" };
    *prefix = prefixes[i];
    if (i < 2) return i ? f->o->v : f->o->m;
    if (!f->best || f->p.best_epoch < 0) return NULL;
    return f->best + (i == 3 ? f->net->param_size : 0);
}

static lsnn_status lsnni_fit_save(lsnni_fit *f)
{
    lsnn_net *net = f->net;
    lsnn_ctx *cx = net->cx;
    char *names[LSNNI_FIT_STATES] = { NULL };
    const char *prefix;
    lsnn_status status = LSNN_ENOMEM;
    lsnni_saver *s = (lsnni_saver *)lsnni_alloc(cx, 1, sizeof *s);
    if (!s) return LSNN_ENOMEM;
    s->tensor = (lsnn_tensor *)lsnni_alloc(cx, (size_t)(4 * net->params + 2 * net->buffers),
                                           sizeof *s->tensor);
    if (s->tensor) status = LSNN_OK;
    for (int i = 0; i < LSNNI_FIT_STATES && status == LSNN_OK; i++) {
        const lsnn_real *block = lsnni_fit_state(f, i, &prefix);
        status = lsnni_saver_state(cx, s, i == 3 ? net->buffer : net->param,
                                   i == 3 ? net->buffers : net->params, prefix, block, &names[i]);
    }
    if (status == LSNN_OK) {
        lsnni_saver_text(s, "lsnn.build", lsnn_build_info());
        lsnni_saver_text(s, "lsnn.isa", lsnn_isa_name(lsnn_ctx_isa(cx)));
        lsnni_saver_text(s, "lsnn.optimizer", lsnni_methods[f->o->d.method]);
        lsnni_saver_number(s, "lsnn.step", (double)f->o->step);
        lsnni_saver_number(s, "lsnn.epoch", f->epoch);
        lsnni_saver_number(s, "lsnn.done", f->done);
        lsnni_saver_number(s, "lsnn.batch", net->batch);
        lsnni_saver_number(s, "lsnn.samples", f->batch.data->count);
        if (f->d->note) lsnni_saver_text(s, "lsnn.note", f->d->note);
        if (f->d->keep_order) lsnni_saver_text(s, "lsnn.keep_order", "1");
        lsnni_saver_seed(s, net->seed);
        lsnni_saver_number(s, "lsnn.epoch.loss", f->tally.loss);
        lsnni_saver_number(s, "lsnn.epoch.wrong", f->tally.wrong_heads);
        lsnni_saver_number(s, "lsnn.epoch.samples", f->tally.samples);
        if (f->d->valid && f->p.best_epoch >= 0) {
            lsnni_saver_number(s, "lsnn.best", f->p.best);
            lsnni_saver_number(s, "lsnn.best.epoch", f->p.best_epoch);
        }
        status = lsnni_net_write(net, s, f->d->save);
    }
    for (int i = 0; i < LSNNI_FIT_STATES; i++) lsnni_free(cx, names[i]);
    lsnni_free(cx, s->tensor);
    lsnni_free(cx, s);
    return status;
}

static lsnn_status lsnni_meta_number(lsnn_ctx *cx, const lsnn_file *f, const char *path,
                                     const char *key, double *v)
{
    const char *text = lsnn_file_meta(f, key);
    if (!text || !lsnni_parse_number(text, v))
        return lsnni_fail(cx, LSNN_EFORMAT,
                          "%.160s is no checkpoint: its metadata have no number %s",
                          path, key);
    return LSNN_OK;
}

/* The best epoch so far, and what the net was then. A checkpoint of a run that had no
   held-out data has none. epoch: those that are done.                        */
static lsnn_status lsnni_fit_restore_best(lsnni_fit *f, const lsnn_file *file, const char *path,
                                          double epoch)
{
    const lsnn_net *net = f->net;
    double best, at;
    if (!f->d->valid || !lsnn_file_meta(file, "lsnn.best.epoch")) {
        if (!f->best || epoch < 1) return LSNN_OK;
        return lsnni_fail(net->cx, LSNN_ESTATE, "%.160s was trained for %.0f epochs without "
                          "held-out data: there is no best to keep", path, epoch);
    }
    LSNNI_TRY(lsnni_meta_number(net->cx, file, path, "lsnn.best", &best));
    LSNNI_TRY(lsnni_meta_number(net->cx, file, path, "lsnn.best.epoch", &at));
    if (!(at >= 0 && at < epoch && at <= floor(at) && fabs(best) <= DBL_MAX))
        return lsnni_fail(net->cx, LSNN_EFORMAT, "%.160s: the best of %.0f epochs is number %g, "
                          "at %g", path, epoch, at, best);
    if (f->best) {
        LSNNI_TRY(lsnni_read_block(net->cx, file, path, "optimizer.best:", net->param,
                                   net->params, f->best));
        LSNNI_TRY(lsnni_read_block(net->cx, file, path, "optimizer.best:", net->buffer,
                                   net->buffers, f->best + net->param_size));
    }
    f->p.best = best;
    f->p.best_epoch = (int)at;
    return LSNN_OK;
}

static lsnn_status lsnni_fit_restore(lsnni_fit *f, const lsnn_file *file, const char *path)
{
    static const char *const key[] = { "lsnn.step", "lsnn.epoch", "lsnn.done", "lsnn.batch",
        "lsnn.samples", "lsnn.seed.high", "lsnn.seed.low", "lsnn.epoch.loss",
        "lsnn.epoch.wrong", "lsnn.epoch.samples" };
    enum { step, epoch, done, batch, samples, high, low, loss, wrong, seen, keys };
    const char *method = lsnn_file_meta(file, "lsnn.optimizer");
    const char *note = lsnn_file_meta(file, "lsnn.note"), *own = f->d->note;
    int keep_order = lsnn_file_meta(file, "lsnn.keep_order") != NULL;
    lsnn_net *net = f->net;
    double v[keys];
    for (int i = 0; i < keys; i++) {
        LSNNI_TRY(lsnni_meta_number(net->cx, file, path, key[i], &v[i]));
        if (i != loss && !(v[i] >= 0 && v[i] <= 4294967295.0))
            return lsnni_fail(net->cx, LSNN_EFORMAT, "%.160s: %s is %g", path, key[i], v[i]);
    }
    if ((int64_t)v[batch] != net->batch || (int64_t)v[samples] != f->batch.data->count ||
        !method || strcmp(method, lsnni_methods[f->o->d.method]) != 0 || v[done] > f->steps)
        return lsnni_fail(net->cx, LSNN_ESTATE,
                          "%.120s was trained by %.10s with batch %.0f on %.0f samples, "
                          "here it is %s, %d and %d", path, method ? method : "?", v[batch],
                          v[samples], lsnni_methods[f->o->d.method], net->batch,
                          f->batch.data->count);
    if (v[seen] != LSNNI_MIN(v[done] * v[batch], v[samples]) ||
        v[wrong] > v[seen] * (double)LSNN_MAX_HEADS || !(fabs(v[loss]) <= DBL_MAX))
        return lsnni_fail(net->cx, LSNN_EFORMAT, "%.160s: %.0f steps of %.0f samples have not "
                          "seen %.0f, with %.0f errors and a loss of %g", path, v[done],
                          v[batch], v[seen], v[wrong], v[loss]);
    LSNNI_TRY(lsnni_net_match(net, file, path));
    LSNNI_TRY(lsnni_graph_match(net, file, path, NULL));
    if (strcmp(note ? note : "", own ? own : "") != 0)
        return lsnni_fail(net->cx, LSNN_ESTATE, "%.100s was trained on \"%.100s\", here it is "
                          "\"%.100s\"", path, note ? note : "", own ? own : "");
    if (keep_order != (f->d->keep_order != 0) || v[epoch] > f->epochs - (v[done] > 0))
        return lsnni_fail(net->cx, LSNN_ESTATE, "%.120s was trained for %.0f epochs with "
                          "keep_order %d, this asks for %d with %d", path, v[epoch], keep_order,
                          f->epochs, f->d->keep_order);
    if (f->o->m)
        LSNNI_TRY(lsnni_read_block(net->cx, file, path, "optimizer.m:", net->param,
                                   net->params, f->o->m));
    if (f->o->v)
        LSNNI_TRY(lsnni_read_block(net->cx, file, path, "optimizer.v:", net->param,
                                   net->params, f->o->v));
    LSNNI_TRY(lsnni_fit_restore_best(f, file, path, v[epoch]));
    LSNNI_TRY(lsnni_net_fill(net, file, path));
    net->seed = (uint64_t)v[high] << 32 | (uint64_t)v[low];
    f->o->step = (uint32_t)v[step];
    f->epoch = (int)LSNNI_MIN(v[epoch], INT_MAX);
    f->done = (int)v[done];
    f->tally.loss = v[loss];
    f->tally.wrong_heads = v[wrong];
    f->tally.samples = (int)LSNNI_MIN(v[seen], INT_MAX);
    return LSNN_OK;
}

static lsnn_status lsnni_fit_resume(lsnni_fit *f)
{
    lsnn_file file;
    lsnn_status s;
    LSNNI_TRY(lsnn_file_read(f->net->cx, &file, f->d->resume));
    s = lsnni_fit_restore(f, &file, f->d->resume);
    lsnn_file_free(f->net->cx, &file);
    return s;
}

/* Names the first layer whose output, in forward order, is not finite: forward is run once
   more, since outputs have taken each other's place.                         */
static lsnn_status lsnni_diverged(const lsnni_fit *f, const lsnn_batch *b)
{
    const lsnn_net *net = f->net;
    lsnn_work *w = net->work;
    lsnn_status s;
    w->blamed = 0;
    w->watch = 1;
    s = lsnni_work_forward(w, b, 1, NULL);
    w->watch = 0;
    if (s != LSNN_OK) return s;
    if (w->blamed)
        return lsnni_fail(net->cx, LSNN_EDIVERGED, "step %u: the loss is not finite, from layer "
                          "'%.80s' on: use a smaller learning rate or clip_norm",
                          (unsigned)f->o->step, net->node[w->blamed].name);
    return lsnni_fail(net->cx, LSNN_EDIVERGED,
                      "step %u: the loss is not finite, every layer's output is",
                      (unsigned)f->o->step);
}

static lsnn_status lsnni_fit_step(lsnni_fit *f)
{
    lsnn_net *net = f->net;
    int first = f->done * net->batch, count = f->batch.data->count;
    lsnn_batch b;
    double loss, start = lsnni_seconds();
    f->batch.epoch = (uint32_t)f->epoch;
    b = lsnni_batch_fetch(net->cx, &f->batch, first, LSNNI_MIN(net->batch, count - first));
    b.step = f->o->step;
    LSNNI_TRY(lsnni_batch_check(net->cx, &f->batch, b.n));
    LSNNI_TRY(lsnni_forward(net, &b, 1, &loss));
    if (!(fabs(loss) <= DBL_MAX)) return lsnni_diverged(f, &b);
    LSNNI_TRY(lsnn_backward(net));
    lsnni_tally_add(net, &f->tally, &b, loss, NULL);
    f->p.lr = lsnn_optimizer_lr(&f->o->d, f->o->step);
    LSNNI_TRY(lsnn_optimizer_step(f->o));
    f->done++;
    f->images += b.n;
    f->trained += lsnni_seconds() - start;
    return LSNN_OK;
}

/* ---- >>best: the epoch that did best on held-out data -------------------------------*/
static void lsnni_fit_copy(lsnn_real *to, const lsnn_real *from, size_t count)
{
    if (count) memcpy(to, from, count * sizeof *to);
}

/* An epoch has been scored. A score that is no number counts as the worst.   */
static void lsnni_fit_compare(lsnni_fit *f)
{
    lsnn_progress *p = &f->p;
    const lsnn_net *net = f->net;
    double score = p->valid_loss;
    for (int i = 0; i < net->nodes; i++) if (lsnni_scores(net, i)) score = p->valid_error;
    if (!(fabs(score) <= DBL_MAX)) score = DBL_MAX;
    if (p->best_epoch >= 0 && !(score < p->best)) return;
    p->best = score;
    p->best_epoch = f->epoch;
    if (!f->best) return;
    lsnni_fit_copy(f->best, net->value, net->param_size);
    lsnni_fit_copy(f->best + net->param_size, net->state, net->buffer_size);
}

/* 1: as many epochs as `patience` have passed since the best.                */
static int lsnni_fit_impatient(const lsnni_fit *f)
{
    return f->d->patience > 0 && f->p.best_epoch >= 0 &&
           f->epoch - f->p.best_epoch > f->d->patience;
}

static void lsnni_fit_take_best(lsnni_fit *f)
{
    lsnn_net *net = f->net;
    if (!f->best || f->p.best_epoch < 0) return;
    lsnni_fit_copy(net->value, f->best, net->param_size);
    lsnni_fit_copy(net->state, f->best + net->param_size, net->buffer_size);
    lsnni_changed(net);
}

/* Tells the caller where training stands; STOPPED if it wants no more.       */
static lsnn_status lsnni_fit_report(lsnni_fit *f, int epoch_done)
{
    lsnn_progress *p = &f->p;
    p->epoch = f->epoch;
    p->epochs = f->epochs;
    p->step = f->done;
    p->steps = f->steps;
    p->epoch_done = epoch_done;
    p->loss = f->tally.loss / LSNNI_MAX(1, f->tally.samples);
    p->error = lsnni_tally_error(&f->tally);
    p->seconds = lsnni_seconds() - f->began;
    p->images_per_s = f->trained > 0 ? f->images / f->trained : 0;
    if (epoch_done && f->d->valid) {
        lsnn_score s;
        memset(&s, 0, sizeof s);
        LSNNI_TRY(lsnni_evaluate(f->net, &f->valid, &s));
        p->valid_loss = s.loss;
        p->valid_error = s.error;
        lsnni_fit_compare(f);
    }
    return f->d->progress && f->d->progress(p, f->d->user) ? LSNN_STOPPED : LSNN_OK;
}

static lsnn_status lsnni_fit_epoch(lsnni_fit *f)
{
    int count = f->batch.data->count;
    lsnn_rng r = lsnn_rng_at(f->net->seed, "order", "", (uint32_t)f->epoch, 0);
    lsnn_status s = LSNN_OK, ended;
    if (f->d->keep_order) for (int i = 0; i < count; i++) f->order[i] = i;
    else lsnn_rng_permutation(&r, f->order, count);
    while (f->done < f->steps && s == LSNN_OK) {
        LSNNI_TRY(lsnni_fit_step(f));
        s = lsnni_fit_report(f, 0);
        if (f->d->save && f->done < f->steps &&
            (s == LSNN_STOPPED ||
             (f->d->save_every && f->o->step % (uint32_t)f->d->save_every == 0)))
            LSNNI_TRY(lsnni_fit_save(f));
    }
    if (f->done < f->steps) return s;                    /* stopped in mid-epoch */
    ended = lsnni_fit_report(f, 1);                      /* also of one that was stopped */
    if (ended != LSNN_OK) s = ended;
    if (s < 0) return s;
    f->epoch++;
    f->done = 0;
    memset(&f->tally, 0, sizeof f->tally);
    if (f->d->save && (s == LSNN_STOPPED || !f->d->save_every || f->epoch == f->epochs ||
                       lsnni_fit_impatient(f) || f->o->step % (uint32_t)f->d->save_every == 0))
        LSNNI_TRY(lsnni_fit_save(f));
    return s;
}

/* What the number of steps says of the schedule: cosine's end, milestones given as epochs. */
static lsnn_optimizer_desc lsnni_fit_optimizer(const lsnni_fit *f)
{
    lsnn_optimizer_desc o = f->d->optimizer;
    if (o.schedule == LSNN_COSINE && !o.total_steps)
        o.total_steps = (int)LSNNI_MIN((double)f->epochs * f->steps, INT_MAX);
    for (int i = 0; i < LSNN_MAX_MILESTONES && f->d->milestones[i] > 0; i++) {
        double step = (double)f->d->milestones[i] * f->steps;
        o.schedule = LSNN_MILESTONES;
        if (step <= INT_MAX) o.milestones[i] = (int)step;      /* else it is never reached */
    }
    return o;
}

static lsnn_status lsnni_fit_check(lsnn_net *net, const lsnn_fit_desc *d)
{
    const lsnn_optimizer_desc *o = &d->optimizer;
    if (!net->built || net->predict_only)
        return lsnni_fail(net->cx, LSNN_ESTATE,
                          "lsnn_fit: the net must be built, and not to predict only");
    if (d->epochs < 0 || d->save_every < 0 || d->patience < 0)
        return lsnni_fail(net->cx, LSNN_EVALUE, "lsnn_fit: epochs %d, save_every %d, patience %d",
                          d->epochs, d->save_every, d->patience);
    if ((d->keep_best || d->patience) && !d->valid)
        return lsnni_fail(net->cx, LSNN_EVALUE, "lsnn_fit: %s needs held-out data: set valid",
                          d->keep_best ? "keep_best" : "patience");
    LSNNI_TRY(lsnni_milestones_check(net->cx, "lsnn_fit", d->milestones, 0));
    if (d->milestones[0] && (o->milestones[0] || (o->schedule != LSNN_CONSTANT &&
                                                  o->schedule != LSNN_MILESTONES)))
        return lsnni_fail(net->cx, LSNN_EVALUE, "lsnn_fit: milestones in epochs go with no other "
                          "schedule, nor with the optimizer's own milestones");
    return LSNN_OK;
}

/* Memory of a training, for all of its steps.                                */
static lsnn_status lsnni_fit_alloc(lsnni_fit *f, int samples)
{
    lsnn_net *net = f->net;
    lsnn_optimizer_desc o = lsnni_fit_optimizer(f);
    f->o = lsnn_optimizer_new(net, &o);
    f->order = (int *)lsnni_alloc(net->cx, (size_t)samples, sizeof *f->order);
    f->batch.order = f->order;
    if (f->d->keep_best)
        f->best = (lsnn_real *)lsnni_alloc(net->cx, net->param_size + net->buffer_size,
                                           sizeof *f->best);
    return f->o && f->order && (f->best || !f->d->keep_best) ? LSNN_OK : net->cx->last_;
}

static lsnn_status lsnni_fit_run(lsnni_fit *f, const lsnn_data *train)
{
    lsnn_status s = LSNN_OK;
    f->epochs = f->d->epochs ? f->d->epochs : 1;
    if (f->d->save && f->d->note)                        /* not after an epoch  */
        LSNNI_TRY(lsnni_write_check_text(f->net->cx, "lsnn_fit: note", f->d->note));
    LSNNI_TRY(lsnni_batch_make(f->net, &f->batch, train));
    if (f->d->valid) LSNNI_TRY(lsnni_batch_make(f->net, &f->valid, f->d->valid));
    f->steps = lsnni_div_up(train->count, f->net->batch);
    LSNNI_TRY(lsnni_fit_alloc(f, train->count));
    lsnn_zero_grad(f->net);
    if (f->d->resume) LSNNI_TRY(lsnni_fit_resume(f));
    if (f->d->save && !f->done && (f->epoch == f->epochs || lsnni_fit_impatient(f)))
        return lsnni_fit_save(f);                        /* none is left        */
    while (f->epoch < f->epochs && !lsnni_fit_impatient(f) && s == LSNN_OK) s = lsnni_fit_epoch(f);
    return s;
}

LSNN_API lsnn_status lsnn_fit(lsnn_net *net, const lsnn_data *train, const lsnn_fit_desc *d)
{
    if (!net) return LSNN_ENOMEM;
    lsnn_fit_desc defaults;
    lsnni_fit f;
    lsnn_status s;
    memset(&f, 0, sizeof f);
    memset(&defaults, 0, sizeof defaults);
    if (!d) d = &defaults;
    f.net = net;
    f.d = d;
    f.began = lsnni_seconds();
    f.p.best_epoch = -1;
    LSNNI_TRY(lsnni_fit_check(net, d));
    s = lsnni_fit_run(&f, train);
    if (s >= LSNN_OK) lsnni_fit_take_best(&f);
    if (d->last) *d->last = f.p;
    lsnni_batch_free(net->cx, &f.batch);
    lsnni_batch_free(net->cx, &f.valid);
    lsnni_free(net->cx, f.order);
    lsnni_free(net->cx, f.best);
    lsnn_optimizer_free(f.o);
    return s;
}
#endif /* LSNN_NO_TRAIN */
#if !defined(LSNN_NO_DATA) || !defined(LSNN_NO_PICTURES)
/* ============================================================================
   >>content  files that may be .gz (zlib's gz functions read plain ones, too), and whole files
   in memory
   ==========================================================================*/
#ifdef LSNN_USE_ZLIB
#include <zlib.h>
typedef gzFile lsnni_gz_stream;
#else
typedef FILE *lsnni_gz_stream;
#endif
typedef struct lsnni_gz {
    lsnni_gz_stream stream;
    char shown[208];                 /* its path in messages                  */
} lsnni_gz;

static lsnni_gz_stream lsnni_gz_stream_open(const char *path)
{
#ifdef LSNN_USE_ZLIB
    return gzopen(path, "rb");
#else
    return fopen(path, "rb");
#endif
}

static void lsnni_gz_close(lsnni_gz *in)
{
#ifdef LSNN_USE_ZLIB
    gzclose(in->stream);
#else
    fclose(in->stream);
#endif
}

static size_t lsnni_gz_get(lsnni_gz *in, void *to, size_t bytes)
{
#ifdef LSNN_USE_ZLIB
    size_t have = 0;
    int got = 1;
    while (have < bytes && got > 0) {
        got = gzread(in->stream, (char *)to + have,
                     (unsigned)LSNNI_MIN(bytes - have, (size_t)1 << 20));
        if (got > 0) have += (size_t)got;
    }
    return have;
#else
    return fread(to, 1, bytes, in->stream);
#endif
}

/* What reading met that is neither data nor the file's end.                  */
static lsnn_status lsnni_gz_error(lsnn_ctx *cx, lsnni_gz *in)
{
#ifdef LSNN_USE_ZLIB
    int code = Z_OK;
    gzerror(in->stream, &code);
    if (code != Z_OK && code != Z_STREAM_END && code != Z_ERRNO)
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: its gzip data is damaged or cut off (%s)",
                          in->shown, zError(code));
    if (code != Z_ERRNO) return LSNN_OK;
#else
    if (!ferror(in->stream)) return LSNN_OK;
#endif
    return lsnni_fail(cx, LSNN_EIO, "%s: cannot be read: %s", in->shown, strerror(errno));
}

/* 1 if there is more behind the end: of a packed file that was cut off, where its last bytes
   filled the caller's room. Only after this does lsnni_gz_error know of every cut. */
static int lsnni_gz_more(lsnni_gz *in)
{
    char more;
#ifdef LSNN_USE_ZLIB
    gzclearerr(in->stream);
#endif
    return lsnni_gz_get(in, &more, 1) == 1;
}

/* The names under which unpackers leave a file, in the order they are tried: in a folder of its
   own name, as it is, and (x-idx3-ubyte) with a dot for the dash; the last two packed, too.
   to has room for the longest; 0: there is no such name.                     */
enum { LSNNI_GZ_OWN_FOLDER, LSNNI_GZ_PLAIN, LSNNI_GZ_PACKED, LSNNI_GZ_DOTTED,
       LSNNI_GZ_DOTTED_PACKED, LSNNI_GZ_NAMES };
static int lsnni_gz_name(char *to, const char *path, int which)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *dash = strstr(name, "-idx");
    size_t n = strlen(path);
    memcpy(to, path, n + 1);
    if (which == LSNNI_GZ_OWN_FOLDER) {
        to[n] = '/';
        memcpy(to + n + 1, name, strlen(name) + 1);
    }
    if (which >= LSNNI_GZ_DOTTED && !dash) return 0;
    if (which >= LSNNI_GZ_DOTTED) to[dash - path] = '.';
    if (which == LSNNI_GZ_PACKED || which == LSNNI_GZ_DOTTED_PACKED) memcpy(to + n, ".gz", 4);
    return 1;
}

/* Opens PATH under the first of its names that is there.                     */
static lsnn_status lsnni_gz_open(lsnn_ctx *cx, lsnni_gz *in, const char *path)
{
    char *name = (char *)lsnni_alloc(cx, 2 * strlen(path) + 5, 1);
    int why = 0;
    if (!name) return cx->last_;
    snprintf(in->shown, sizeof in->shown, "%s", lsnni_path_end(path));
    in->stream = NULL;
    for (int which = 0; !in->stream && which < LSNNI_GZ_NAMES; which++) {
        if (!lsnni_gz_name(name, path, which)) continue;
        in->stream = lsnni_gz_stream_open(name);
        if (!in->stream && which == LSNNI_GZ_PLAIN) why = errno;
        if (in->stream) snprintf(in->shown, sizeof in->shown, "%s", lsnni_path_end(name));
    }
    lsnni_free(cx, name);
    if (in->stream) return LSNN_OK;
    return lsnni_fail(cx, LSNN_EIO, "%s: cannot be opened: %s", in->shown, strerror(why));
}

/* ---- a whole file in memory -------------------------------------------------------*/
typedef struct lsnni_content {
    unsigned char *v;                /* the caller frees it                   */
    size_t count;
    char shown[208];                 /* its path in messages                  */
} lsnni_content;

static int lsnni_is_space(int c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Why these bytes are no data of any kind, or NULL.                          */
static const char *lsnni_content_packed(const unsigned char *v, size_t count)
{
    if (count >= 6 && !memcmp(v, "\xFD" "7zXZ", 6)) return "is packed: unpack it by xz -dk";
#ifndef LSNN_USE_ZLIB
    if (count >= 3 && v[0] == 0x1F && v[1] == 0x8B && v[2] == 8)
        return "is packed: build with -DLSNN_USE_ZLIB -lz, or gunzip it";
#endif
    return NULL;
}

/* The file at path (or path.gz), as far as it goes: the block grows with what is read. A 0
   stands behind its last byte.                                               */
static lsnn_status lsnni_content_fill(lsnn_ctx *cx, lsnni_content *b, lsnni_gz *in)
{
    size_t room = 1 << 16, have = 0;
    do {
        unsigned char *v = (unsigned char *)lsnni_alloc(cx, room, 1);
        if (!v) return LSNN_ENOMEM;
        if (have) memcpy(v, b->v, have);
        lsnni_free(cx, b->v);
        b->v = v;
        have += lsnni_gz_get(in, v + have, room - 1 - have);
        room = lsnni_times(room, 2);
    } while (have == room / 2 - 1);
    b->count = have;
    b->v[have] = 0;
    LSNNI_TRY(lsnni_gz_error(cx, in));
    if (lsnni_gz_more(in))
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: its gzip data is damaged or cut off", in->shown);
    return lsnni_gz_error(cx, in);
}

static lsnn_status lsnni_content_read(lsnn_ctx *cx, lsnni_content *b, const char *path)
{
    lsnni_gz in;
    const char *packed;
    lsnn_status s;
    memset(b, 0, sizeof *b);
    LSNNI_TRY(lsnni_gz_open(cx, &in, path));
    memcpy(b->shown, in.shown, sizeof b->shown);
    s = lsnni_content_fill(cx, b, &in);
    lsnni_gz_close(&in);
    packed = s == LSNN_OK ? lsnni_content_packed(b->v, b->count) : NULL;
    if (packed) s = lsnni_fail(cx, LSNN_EUNSUPPORTED, "%s: %s", b->shown, packed);
    if (s == LSNN_OK) return s;
    lsnni_free(cx, b->v);
    b->v = NULL;
    return s;
}
#endif /* LSNN_NO_DATA and LSNN_NO_PICTURES */
#if !defined(LSNN_NO_DATA) || !defined(LSNN_NO_PICTURES)
/* ============================================================================
   >>inflate  what deflate packed (RFC 1951), in zlib's frame (RFC 1950)
   Blocks of symbols in a Huffman code of their own: a byte, or a length, behind which a
   symbol of a second code says how far back what it repeats began. Codes come with their
   highest bit first, numbers with their lowest. No size in the data is believed: the
   output grows with what is unpacked.
   ==========================================================================*/
enum { LSNNI_HUFFMAN_FAST = 10, LSNNI_HUFFMAN_LONGEST = 15 };

typedef struct lsnni_huffman {
    uint16_t fast[1 << LSNNI_HUFFMAN_FAST];  /* 16 symbol + length of the code that so many */
                                     /*   bits begin with; 0: it is longer    */
    uint16_t count[LSNNI_HUFFMAN_LONGEST + 1], symbol[288];  /* sorted by length */
} lsnni_huffman;

typedef struct lsnni_inflater {
    lsnn_ctx *cx;
    const unsigned char *in, *end;
    uint64_t bits;                   /* the next one lowest                   */
    int held, made_up;               /* bits; bytes of 0 taken from behind the end */
    unsigned char *out;
    size_t have, room, most;
    const char *fault;               /* what is wrong with the data, or NULL  */
    int no_memory;
} lsnni_inflater;

/* The next n bits, at most 32, which stay.                                   */
static uint32_t lsnni_inflate_peek(lsnni_inflater *s, int n)
{
    for (; s->held < n; s->held += 8) {
        if (s->in < s->end) s->bits |= (uint64_t)*s->in++ << s->held;
        else s->made_up++;
    }
    return (uint32_t)(s->bits & (((uint64_t)1 << n) - 1));
}

static void lsnni_inflate_drop(lsnni_inflater *s, int n)
{
    s->bits >>= n;
    s->held -= n;
    if (8 * s->made_up > s->held) s->fault = "are cut off";
}

static int lsnni_inflate_bits(lsnni_inflater *s, int n)
{
    int v = (int)lsnni_inflate_peek(s, n);
    lsnni_inflate_drop(s, n);
    return v;
}

/* Makes room for n more bytes; 0 if that is more than was asked for.         */
static int lsnni_inflate_room(lsnni_inflater *s, size_t n)
{
    unsigned char *v;
    if (s->fault) return 0;
    if (n > s->most - s->have) {
        s->fault = "hold more than they should";
        return 0;
    }
    if (n <= s->room - s->have) return 1;
    s->room = s->room > s->most / 2 ? s->most : LSNNI_MAX(2 * s->room, s->have + n);
    v = (unsigned char *)lsnni_alloc(s->cx, s->room, 1);
    if (!v) {
        s->no_memory = 1;
        s->fault = "find no memory";
        return 0;
    }
    if (s->have) memcpy(v, s->out, s->have);
    lsnni_free(s->cx, s->out);
    s->out = v;
    return 1;
}

/* ---- codes -----------------------------------------------------------------------*/
/* The first `n` bits of a code, as the stream has them: the other way round.  */
static int lsnni_huffman_turned(int code, int n)
{
    int turned = 0;
    for (; n > 0; n--, code >>= 1) turned = turned << 1 | (code & 1);
    return turned;
}

/* Of n symbols, the length of each one's code, 0: it has none. 0 if they are no code. */
static int lsnni_huffman_set(lsnni_huffman *h, const unsigned char *length, int n)
{
    int next[LSNNI_HUFFMAN_LONGEST + 2], at[LSNNI_HUFFMAN_LONGEST + 2], left = 1;
    memset(h, 0, sizeof *h);
    for (int i = 0; i < n; i++) h->count[length[i]]++;
    next[1] = at[1] = 0;
    for (int l = 1; l <= LSNNI_HUFFMAN_LONGEST; l++) {
        left = 2 * left - h->count[l];
        if (left < 0) return 0;                          /* more than there are  */
        next[l + 1] = 2 * (next[l] + h->count[l]);
        at[l + 1] = at[l] + h->count[l];
    }
    if (left > 0 && h->count[0] + h->count[1] != n) return 0;      /* only one may be alone */
    for (int i = 0; i < n; i++) {
        int l = length[i], code;
        if (!l) continue;
        h->symbol[at[l]++] = (uint16_t)i;
        code = lsnni_huffman_turned(next[l]++, l);
        for (; l <= LSNNI_HUFFMAN_FAST && code < 1 << LSNNI_HUFFMAN_FAST; code += 1 << l)
            h->fast[code] = (uint16_t)(16 * i + l);
    }
    return 1;
}

static int lsnni_huffman_next(lsnni_inflater *s, const lsnni_huffman *h)
{
    int bits = (int)lsnni_inflate_peek(s, LSNNI_HUFFMAN_LONGEST), code = 0, first = 0, at = 0;
    int fast = h->fast[bits & ((1 << LSNNI_HUFFMAN_FAST) - 1)];
    if (fast) {
        lsnni_inflate_drop(s, fast & 15);
        return fast >> 4;
    }
    for (int l = 1; l <= LSNNI_HUFFMAN_LONGEST; l++) {   /* codes of a length are neighbours */
        code = code << 1 | (bits & 1);
        bits >>= 1;
        if (code - first < h->count[l]) {
            lsnni_inflate_drop(s, l);
            return h->symbol[at + code - first];
        }
        at += h->count[l];
        first = 2 * (first + h->count[l]);
    }
    s->fault = "have a code that stands for nothing";
    return 0;
}

/* ---- blocks ----------------------------------------------------------------------*/
static void lsnni_inflate_stored(lsnni_inflater *s)
{
    int n;
    lsnni_inflate_drop(s, s->held % 8);
    n = lsnni_inflate_bits(s, 16);
    if ((n ^ 0xFFFF) != lsnni_inflate_bits(s, 16)) s->fault = "have a length that is not its twin";
    if (!lsnni_inflate_room(s, (size_t)n)) return;
    for (; n > 0 && !s->fault; n--) s->out[s->have++] = (unsigned char)lsnni_inflate_bits(s, 8);
}

/* Lengths and distances are coded alike: steps of 1, then `steps` of 2, of 4, ... each. */
static int lsnni_inflate_value(lsnni_inflater *s, int symbol, int steps)
{
    int extra = symbol < 2 * steps ? 0 : symbol / steps - 1;
    if (!extra) return symbol;
    return ((symbol % steps + steps) << extra) + lsnni_inflate_bits(s, extra);
}

static void lsnni_inflate_repeat(lsnni_inflater *s, int symbol, const lsnni_huffman *far_code)
{
    int length = symbol == 285 ? 258 : 3 + lsnni_inflate_value(s, symbol - 257, 4);
    int from = lsnni_huffman_next(s, far_code), distance;
    if (symbol > 285 || from > 29) s->fault = "have a code that stands for nothing";
    if (!lsnni_inflate_room(s, (size_t)length)) return;
    distance = 1 + lsnni_inflate_value(s, from, 2);
    if ((size_t)distance > s->have) s->fault = "repeat what was before their beginning";
    if (s->fault) return;
    for (; length > 0; length--, s->have++) s->out[s->have] = s->out[s->have - (size_t)distance];
}

static void lsnni_inflate_block(lsnni_inflater *s, const lsnni_huffman *code,
                                const lsnni_huffman *far_code)
{
    while (!s->fault) {
        int symbol = lsnni_huffman_next(s, code);
        if (s->fault || symbol == 256) return;
        if (symbol > 256) lsnni_inflate_repeat(s, symbol, far_code);
        else if (lsnni_inflate_room(s, 1)) s->out[s->have++] = (unsigned char)symbol;
    }
}

/* The lengths of both codes, themselves in a code. 0 if they are none.        */
static int lsnni_inflate_codes(lsnni_inflater *s, lsnni_huffman *code, lsnni_huffman *far_code)
{
    static const unsigned char order[19] = {
        16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15
    };
    unsigned char length[288 + 32] = { 0 };
    int symbols = 257 + lsnni_inflate_bits(s, 5), far_symbols = 1 + lsnni_inflate_bits(s, 5);
    int lengths = 4 + lsnni_inflate_bits(s, 4), n = 0;
    for (int i = 0; i < lengths; i++) length[order[i]] = (unsigned char)lsnni_inflate_bits(s, 3);
    if (symbols > 286 || far_symbols > 30 || !lsnni_huffman_set(code, length, 19)) return 0;
    while (n < symbols + far_symbols && !s->fault) {
        int v = lsnni_huffman_next(s, code), times = 1, what = v;
        if (v == 16 && n == 0) return 0;
        if (v == 16) what = length[n - 1], times = 3 + lsnni_inflate_bits(s, 2);
        if (v == 17) what = 0, times = 3 + lsnni_inflate_bits(s, 3);
        if (v == 18) what = 0, times = 11 + lsnni_inflate_bits(s, 7);
        if (times > symbols + far_symbols - n) return 0;
        for (; times > 0; times--) length[n++] = (unsigned char)what;
    }
    return !s->fault && length[256] && lsnni_huffman_set(far_code, length + symbols, far_symbols) &&
           lsnni_huffman_set(code, length, symbols);
}

static void lsnni_inflate_fixed(lsnni_huffman *code, lsnni_huffman *far_code)
{
    unsigned char length[288];
    for (int i = 0; i < 288; i++)
        length[i] = (unsigned char)(i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8);
    lsnni_huffman_set(code, length, 288);
    memset(length, 5, 32);
    lsnni_huffman_set(far_code, length, 32);
}

static void lsnni_inflate_blocks(lsnni_inflater *s)
{
    lsnni_huffman code, far_code;
    for (int last = 0; !last && !s->fault;) {
        int kind;
        last = lsnni_inflate_bits(s, 1);
        kind = lsnni_inflate_bits(s, 2);
        if (kind == 0) lsnni_inflate_stored(s);
        if (kind == 1) lsnni_inflate_fixed(&code, &far_code);
        if (kind == 3 || (kind == 2 && !lsnni_inflate_codes(s, &code, &far_code)))
            s->fault = s->fault ? s->fault : "have a block of no known kind";
        if (kind) lsnni_inflate_block(s, &code, &far_code);
    }
}

static uint32_t lsnni_adler32(const unsigned char *v, size_t n)
{
    uint32_t a = 1, b = 0;
    while (n > 0) {
        size_t part = LSNNI_MIN(n, (size_t)5552);        /* so that b stays below 2^32 */
        for (size_t i = 0; i < part; i++) b += a += v[i];
        a %= 65521;
        b %= 65521;
        v += part;
        n -= part;
    }
    return b << 16 | a;
}

static lsnn_status lsnni_inflate_end(lsnni_inflater *s, const char *who, unsigned char **out,
                                     size_t *have)
{
    *out = s->out;
    *have = s->have;
    if (!s->fault) return LSNN_OK;
    lsnni_free(s->cx, s->out);
    *out = NULL;
    *have = 0;
    if (s->no_memory) return LSNN_ENOMEM;
    return lsnni_fail(s->cx, LSNN_EFORMAT, "%s: its packed data %s", who, s->fault);
}

static void lsnni_inflate_begin(lsnni_inflater *s, lsnn_ctx *cx, const unsigned char *in,
                                size_t bytes, size_t most)
{
    memset(s, 0, sizeof *s);
    s->cx = cx;
    s->in = in;
    s->end = in + bytes;
    s->most = most;
}

/* Unpacks the `bytes` bytes at `in`, which have no frame, to *out, *have of them, at most
   `most`; the caller frees *out. who: what the data belong to, for messages.  */
static lsnn_status lsnni_inflate_raw(lsnn_ctx *cx, const char *who, const unsigned char *in,
                                     size_t bytes, size_t most, unsigned char **out,
                                     size_t *have)
{
    lsnni_inflater s;
    lsnni_inflate_begin(&s, cx, in, bytes, most);
    lsnni_inflate_blocks(&s);
    return lsnni_inflate_end(&s, who, out, have);
}

/* The same in zlib's frame: two bytes before it, a sum behind.               */
static lsnn_status lsnni_inflate(lsnn_ctx *cx, const char *who, const unsigned char *in,
                                 size_t bytes, size_t most, unsigned char **out, size_t *have)
{
    lsnni_inflater s;
    uint32_t sum = 0;
    lsnni_inflate_begin(&s, cx, in, bytes, most);
    if (bytes < 2 || (in[0] & 15) != 8 || (in[0] * 256 + in[1]) % 31 || in[1] & 32)
        s.fault = "do not begin as zlib's do";
    s.in += bytes < 2 ? 0 : 2;
    if (!s.fault) lsnni_inflate_blocks(&s);
    if (!s.fault) lsnni_inflate_drop(&s, s.held % 8);
    for (int i = 0; i < 4 && !s.fault; i++) sum = sum << 8 | (uint32_t)lsnni_inflate_bits(&s, 8);
    if (!s.fault && sum != lsnni_adler32(s.out, s.have)) s.fault = "do not add up";
    return lsnni_inflate_end(&s, who, out, have);
}
#endif /* LSNN_NO_DATA and LSNN_NO_PICTURES */
#if !defined(LSNN_NO_DATA) || !defined(LSNN_NO_PICTURES)
/* ============================================================================
   >>images  PNG and PPM files, read
   Whatever the file has (grey, palette, colours, transparency, 1 to 16 bits, interlaced)
   becomes h x w x 3 bytes, red, green, blue. Transparency is left out; of 16 bits the
   upper 8 stay.
   ==========================================================================*/
static lsnn_status lsnni_image_room(lsnn_ctx *cx, lsnn_image *im, const char *who, double w,
                                    double h)
{
    if (!(w >= 1 && h >= 1 && w * h <= (1 << 28)))
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: is %.0f x %.0f pixels; at least 1 and at most "
                          "2^28 are read", who, w, h);
    im->rgb = (unsigned char *)lsnni_alloc(cx, (size_t)(w * h), 3);
    im->w = (int)w;
    im->h = (int)h;
    return im->rgb ? LSNN_OK : LSNN_ENOMEM;
}

/* ---- PPM: P6, width, height, the largest value; one white space; then the pixels --------*/
/* The next whole number of a PPM's head; -1: there is none. # begins a comment. */
static int lsnni_ppm_number(const unsigned char *v, size_t bytes, size_t *at)
{
    int n = -1;
    while (*at < bytes && (v[*at] == '#' || lsnni_is_space(v[*at]))) {
        if (v[*at] == '#') while (*at < bytes && v[*at] != '\n') ++*at;
        else ++*at;
    }
    for (; *at < bytes && v[*at] >= '0' && v[*at] <= '9' && n < 100000000; ++*at)
        n = 10 * LSNNI_MAX(n, 0) + (v[*at] - '0');
    return n;
}

static lsnn_status lsnni_ppm_read(lsnn_ctx *cx, lsnn_image *im, const char *who,
                                  const unsigned char *v, size_t bytes)
{
    size_t at = 2, need;
    int w = lsnni_ppm_number(v, bytes, &at), h = lsnni_ppm_number(v, bytes, &at);
    int largest = lsnni_ppm_number(v, bytes, &at);
    if (!lsnni_is_space(v[2]) || w < 0 || h < 0 || largest < 0 || at >= bytes ||
        !lsnni_is_space(v[at]))
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: its head should be P6, width, height, 255",
                          who);
    if (largest < 1 || largest > 255)
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: its largest value is %d; a PPM of 8 bits has "
                          "255", who, largest);
    LSNNI_TRY(lsnni_image_room(cx, im, who, w, h));
    need = lsnni_area(w, h) * 3;
    if (bytes - ++at != need)
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: %d x %d pixels are %.0f bytes, it has %.0f",
                          who, w, h, (double)need, (double)(bytes - at));
    for (size_t i = 0; i < need; i++) {
        int value = v[at + i];
        if (value > largest)
            return lsnni_fail(cx, LSNN_EFORMAT, "%s: a value of %d; its largest is %d", who,
                              value, largest);
        im->rgb[i] = (unsigned char)((value * 255 + largest / 2) / largest);
    }
    return LSNN_OK;
}

/* ---- PNG: chunks of length, name, data, checksum -------------------------------------*/
enum { LSNNI_PNG_GREY = 0, LSNNI_PNG_RGB = 2, LSNNI_PNG_PALETTE = 3, LSNNI_PNG_GREY_ALPHA = 4,
       LSNNI_PNG_RGB_ALPHA = 6 };
typedef struct lsnni_png_head {
    const char *who;
    double w, h;
    int depth, kind, numbers, interlaced;    /* bits a number, numbers a pixel */
    int colours;
    unsigned char palette[768];
    uint32_t crc[256];
} lsnni_png_head;

static uint32_t lsnni_big_endian(const unsigned char *v)
{
    return (uint32_t)v[0] << 24 | (uint32_t)v[1] << 16 | (uint32_t)v[2] << 8 | v[3];
}

static void lsnni_crc32_table(uint32_t table[256])       /* of a byte               */
{
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xEDB88320u : 0);
    }
}

/* Goes on with a checksum; it begins as ~0 and is the opposite of what comes out. */
static uint32_t lsnni_crc32(const uint32_t table[256], uint32_t crc, const unsigned char *v,
                            size_t n)
{
    for (size_t i = 0; i < n; i++) crc = table[(crc ^ v[i]) & 255] ^ crc >> 8;
    return crc;
}

static lsnn_status lsnni_png_head_read(lsnn_ctx *cx, lsnni_png_head *p, const unsigned char *v)
{
    static const int numbers[7] = { 1, 0, 3, 1, 2, 0, 4 };
    int deep;
    p->w = lsnni_big_endian(v);
    p->h = lsnni_big_endian(v + 4);
    p->depth = v[8];
    p->kind = v[9];
    p->interlaced = v[12];
    p->numbers = p->kind < 7 ? numbers[p->kind] : 0;
    deep = p->depth == 8 || (p->depth == 16 && p->kind != LSNNI_PNG_PALETTE);
    if ((p->depth == 1 || p->depth == 2 || p->depth == 4) && p->numbers == 1 &&
        p->kind != LSNNI_PNG_GREY_ALPHA) deep = 1;
    if (!p->numbers || !deep || v[10] || v[11] || p->interlaced > 1)
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: a PNG of colour type %d with %d bits, "
                          "compression %d, filter %d, interlace %d: there is no such thing",
                          p->who, p->kind, p->depth, v[10], v[11], p->interlaced);
    return LSNN_OK;
}

/* Reads the chunks. The data of all IDATs are moved together, to the file's beginning: *packed
   bytes of them.                                                             */
static lsnn_status lsnni_png_chunks(lsnn_ctx *cx, lsnni_png_head *p, unsigned char *v,
                                    size_t bytes, size_t *packed)
{
    size_t at = 8, length;
    *packed = 0;
    for (int first = 1;; first = 0, at += length + 12) {
        const unsigned char *name = v + at + 4, *data = v + at + 8;
        length = bytes - at >= 12 ? lsnni_big_endian(v + at) : bytes;
        if (bytes - at < 12 || length > bytes - at - 12)
            return lsnni_fail(cx, LSNN_EFORMAT, "%s: ends within a chunk", p->who);
        if (~lsnni_crc32(p->crc, ~(uint32_t)0, name, length + 4) != lsnni_big_endian(data + length))
            return lsnni_fail(cx, LSNN_EFORMAT, "%s: the chunk at byte %.0f is damaged: its "
                              "checksum is not that of its data", p->who, (double)at);
        if (first != !memcmp(name, "IHDR", 4) || (first && length != 13))
            return lsnni_fail(cx, LSNN_EFORMAT, "%s: the first chunk must be an IHDR of 13 bytes, "
                              "and no other", p->who);
        if (first) LSNNI_TRY(lsnni_png_head_read(cx, p, data));
        if (!memcmp(name, "IEND", 4)) return LSNN_OK;
        if (!memcmp(name, "PLTE", 4)) {
            if (length % 3 || length > sizeof p->palette)
                return lsnni_fail(cx, LSNN_EFORMAT, "%s: a palette of %.0f bytes: 3 a colour, at "
                                  "most 768", p->who, (double)length);
            memcpy(p->palette, data, length);
            p->colours = (int)length / 3;
        }
        if (!memcmp(name, "IDAT", 4)) {
            memmove(v + *packed, data, length);
            *packed += length;
        }
    }
}

/* A byte is filtered by taking away what its neighbours (left, above, both) suggest. */
static int lsnni_png_guess(int filter, int left, int above, int corner)
{
    int a = abs(above - corner), b = abs(left - corner), c = abs(above + left - 2 * corner);
    switch (filter) {
    case 1: return left;
    case 2: return above;
    case 3: return (left + above) / 2;
    case 4: return a <= b && a <= c ? left : b <= c ? above : corner;     /* Paeth  */
    default: return 0;
    }
}

/* Rows of `row` bytes each behind its filter, in place; step: bytes a pixel, at least 1. */
static lsnn_status lsnni_png_unfilter(lsnn_ctx *cx, const char *who, unsigned char *v, int rows,
                                      size_t row, size_t step)
{
    const unsigned char *over = NULL;
    for (int y = 0; y < rows; y++, over = v + 1, v += row + 1) {
        if (v[0] > 4)
            return lsnni_fail(cx, LSNN_EFORMAT, "%s: filter %d: there are 0 to 4", who, v[0]);
        for (size_t i = 0; i < row; i++) {
            int left = i >= step ? v[1 + i - step] : 0, above = y ? over[i] : 0;
            int corner = y && i >= step ? over[i - step] : 0;
            v[1 + i] = (unsigned char)(v[1 + i] + lsnni_png_guess(v[0], left, above, corner));
        }
    }
    return LSNN_OK;
}

/* Number i of a row, as 8 bits; of a palette, its colour's place.             */
static int lsnni_png_number(const lsnni_png_head *p, const unsigned char *row, size_t i)
{
    size_t bit = i * (size_t)p->depth;
    int v, most = (1 << p->depth) - 1;
    if (p->depth >= 8) return row[i * (size_t)(p->depth / 8)];
    v = row[bit / 8] >> (8 - p->depth - (int)(bit % 8)) & most;
    return p->kind == LSNNI_PNG_PALETTE ? v : v * 255 / most;
}

static lsnn_status lsnni_png_pixel(lsnn_ctx *cx, const lsnni_png_head *p,
                                   const unsigned char *row, size_t x, unsigned char *rgb)
{
    size_t first = x * (size_t)p->numbers;
    int colours = p->kind == LSNNI_PNG_RGB || p->kind == LSNNI_PNG_RGB_ALPHA;
    for (size_t c = 0; c < 3; c++)
        rgb[c] = (unsigned char)lsnni_png_number(p, row, first + (colours ? c : 0));
    if (p->kind != LSNNI_PNG_PALETTE) return LSNN_OK;
    if (rgb[0] >= p->colours)
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: colour %d of a palette of %d", p->who, rgb[0],
                          p->colours);
    memcpy(rgb, p->palette + 3 * rgb[0], 3);
    return LSNN_OK;
}

/* One pass: the pixels (x0 + i dx, y0 + j dy). An interlaced picture has seven of them. */
typedef struct lsnni_png_pass { int x0, y0, dx, dy; } lsnni_png_pass;
static const lsnni_png_pass lsnni_png_passes[8] = {
    { 0, 0, 8, 8 }, { 4, 0, 8, 8 }, { 0, 4, 4, 8 }, { 2, 0, 4, 4 }, { 0, 2, 2, 4 },
    { 1, 0, 2, 2 }, { 0, 1, 1, 2 }, { 0, 0, 1, 1 }
};

static size_t lsnni_png_row(const lsnni_png_head *p, int w)
{
    int bits = p->numbers * p->depth;    /* a pixel; w times that may be too large a number */
    return lsnni_area(w / 8, bits) + (size_t)((w % 8 * bits + 7) / 8);
}

/* Reads pass t from v, moves *v behind it; with im NULL counts its bytes.     */
static lsnn_status lsnni_png_take(lsnn_ctx *cx, const lsnni_png_head *p, int t, unsigned char *v,
                                  size_t *used, lsnn_image *im)
{
    const lsnni_png_pass *s = &lsnni_png_passes[t];
    int w = ((int)p->w - s->x0 + s->dx - 1) / s->dx, h = ((int)p->h - s->y0 + s->dy - 1) / s->dy;
    size_t row = lsnni_png_row(p, w);
    if (w < 1 || h < 1) return LSNN_OK;
    if (im)
        LSNNI_TRY(lsnni_png_unfilter(cx, p->who, v + *used, h, row,
                                     (size_t)LSNNI_MAX(1, p->numbers * p->depth / 8)));
    for (int y = 0; y < h && im; y++)
        for (int x = 0; x < w; x++)
            LSNNI_TRY(lsnni_png_pixel(cx, p, v + *used + (size_t)y * (row + 1) + 1, (size_t)x,
                                      im->rgb + 3 * (lsnni_area(s->y0 + y * s->dy, im->w) +
                                                     (size_t)(s->x0 + x * s->dx))));
    *used += (row + 1) * (size_t)h;
    return LSNN_OK;
}

static lsnn_status lsnni_png_read(lsnn_ctx *cx, lsnn_image *im, const char *who,
                                  unsigned char *v, size_t bytes)
{
    lsnni_png_head p;
    unsigned char *rows = NULL;
    size_t packed = 0, have = 0, need = 0, used = 0;
    int first, last;
    lsnn_status s;
    memset(&p, 0, sizeof p);
    p.who = who;
    lsnni_crc32_table(p.crc);
    LSNNI_TRY(lsnni_png_chunks(cx, &p, v, bytes, &packed));
    LSNNI_TRY(lsnni_image_room(cx, im, who, p.w, p.h));
    first = p.interlaced ? 0 : 7;
    last = p.interlaced ? 6 : 7;
    for (int t = first; t <= last; t++) LSNNI_TRY(lsnni_png_take(cx, &p, t, NULL, &need, NULL));
    LSNNI_TRY(lsnni_inflate(cx, who, v, packed, need, &rows, &have));
    s = have == need ? LSNN_OK : lsnni_fail(cx, LSNN_EFORMAT, "%s: %.0f bytes of pixels, %.0f are "
                                            "missing", who, (double)have, (double)(need - have));
    for (int t = first; t <= last && s == LSNN_OK; t++)
        s = lsnni_png_take(cx, &p, t, rows, &used, im);
    lsnni_free(cx, rows);
    return s;
}

/* ---- either ----------------------------------------------------------------------*/
/* From a file's bytes, which are changed. who: its name.                     */
static lsnn_status lsnni_image_read(lsnn_ctx *cx, lsnn_image *im, const char *who,
                                    unsigned char *v, size_t bytes)
{
    lsnn_status s;
    memset(im, 0, sizeof *im);
    if (bytes >= 8 && !memcmp(v, "\x89PNG\r\n\x1a\n", 8)) s = lsnni_png_read(cx, im, who, v, bytes);
    else if (bytes >= 2 && !memcmp(v, "P6", 2)) s = lsnni_ppm_read(cx, im, who, v, bytes);
    else s = lsnni_fail(cx, LSNN_EFORMAT, "%s: is neither a PNG nor a PPM file (P6)", who);
    if (s == LSNN_OK) return s;
    lsnni_free(cx, im->rgb);
    memset(im, 0, sizeof *im);
    return s;
}

static lsnn_status lsnni_image_open(lsnn_ctx *cx, lsnn_image *im, const char *path)
{
    lsnni_content file;
    lsnn_status s;
    memset(im, 0, sizeof *im);
    LSNNI_TRY(lsnni_content_read(cx, &file, path));
    s = lsnni_image_read(cx, im, file.shown, file.v, file.count);
    lsnni_free(cx, file.v);
    return s;
}

#ifndef LSNN_NO_PICTURES
LSNN_API lsnn_status lsnn_image_load(lsnn_ctx *cx, lsnn_image *im, const char *path)
{
    memset(im, 0, sizeof *im);
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_image_load", path));
    return lsnni_image_open(cx, im, path);
}
#endif
#endif /* LSNN_NO_DATA and LSNN_NO_PICTURES */
#if !defined(LSNN_NO_DATA) || !defined(LSNN_NO_PICTURES)
/* ============================================================================
   >>npy  NumPy's files: an array (.npy, versions 1 and 2), and a zip archive of them (.npz)
   Read into the table of named arrays that safetensors files become: NAME.npy is "NAME". Arrays
   that are not little-endian floats in C order are named with what they are instead: those
   of an archive are skipped, a file of one is refused. As everywhere, no size is believed.
   ==========================================================================*/
typedef struct lsnni_npy {           /* an array of the file                  */
    const char *name;
    const unsigned char *v;          /* its file: header and numbers          */
    size_t bytes, at;                /* of that; where the numbers begin      */
    unsigned char *own;              /* what v is if it had to be unpacked    */
    const lsnni_dtype *dtype;        /* NULL: not read, because of `kind`     */
    char kind[40];
    int rank, *dims;
    size_t count;
} lsnni_npy;

typedef struct lsnni_npz {
    lsnn_ctx *cx;
    const char *shown;
    lsnni_content content;
    lsnni_npy *array; int arrays;
    char *names;                     /* room for those that follow            */
    int *dims;
    uint32_t crc[256];
} lsnni_npz;

enum { LSNNI_NPY_RANK = 32 };        /* NumPy's limit                         */

static uint32_t lsnni_little16(const unsigned char *p) { return p[0] | (uint32_t)p[1] << 8; }
static uint32_t lsnni_little32(const unsigned char *p)
{
    return lsnni_little16(p) | lsnni_little16(p + 2) << 16;
}

/* ---- the header: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } ----------*/
/* What stands behind 'key': in the header, or NULL.                          */
static const char *lsnni_npy_value(const char *text, const char *key)
{
    size_t n = strlen(key);
    for (const char *p = strchr(text, '\''); p; p = strchr(p + 1, '\''))
        if (strncmp(p + 1, key, n) == 0 && p[n + 1] == '\'') {
            p += n + 2;
            p += strspn(p, " ");
            if (*p != ':') return NULL;
            return p + 1 + strspn(p + 1, " ");
        }
    return NULL;
}

static const lsnni_dtype *lsnni_npy_dtype(const char *descr)
{
    if (strncmp(descr, "'<f8'", 5) == 0) return &lsnni_dtypes[0];
    if (strncmp(descr, "'<f4'", 5) == 0) return &lsnni_dtypes[1];
    if (strncmp(descr, "'<f2'", 5) == 0) return &lsnni_dtypes[2];
    return NULL;
}

/* (), (3,), (3, 4): rank and dims; 0 if it is none of these.                 */
static int lsnni_npy_shape(lsnni_npy *a, const char *p)
{
    if (*p++ != '(') return 0;
    for (a->rank = 0; *p != ')'; a->rank++) {
        double n = 0;
        if (a->rank == LSNNI_NPY_RANK || *p < '0' || *p > '9') return 0;
        for (; *p >= '0' && *p <= '9'; p++) n = 10 * n + (*p - '0');
        if (n > INT_MAX) return 0;
        a->dims[a->rank] = (int)n;
        p += strspn(p, " ");
        if (*p == ')' && a->rank == 0) return 0;         /* (3) is no tuple       */
        if (*p == ',') p += 1 + strspn(p + 1, " ");
        else if (*p != ')') return 0;
    }
    return 1;
}

static lsnn_status lsnni_npy_fail(const lsnni_npz *z, const lsnni_npy *a, const char *what)
{
    return lsnni_fail(z->cx, LSNN_EFORMAT, "%s: array '%.60s': %s", z->shown, a->name, what);
}

/* text: the header's, ended by a 0.                                          */
static lsnn_status lsnni_npy_header(lsnni_npz *z, lsnni_npy *a, const char *text)
{
    const char *descr = lsnni_npy_value(text, "descr");
    const char *order = lsnni_npy_value(text, "fortran_order");
    const char *shape = lsnni_npy_value(text, "shape");
    int fortran = order && strncmp(order, "True", 4) == 0;
    size_t bytes;
    if (!descr || !shape || !(fortran || (order && strncmp(order, "False", 5) == 0)))
        return lsnni_npy_fail(z, a, "its header has no descr, fortran_order and shape");
    a->dims = z->dims;
    if (!lsnni_npy_shape(a, shape))
        return lsnni_npy_fail(z, a, "its shape is not up to 32 sizes below 2^31 in brackets");
    z->dims += a->rank;
    a->dtype = fortran && a->rank > 1 ? NULL : lsnni_npy_dtype(descr);
    snprintf(a->kind, sizeof a->kind, "%.*s%s", (int)LSNNI_MIN(strcspn(descr, ",}"), (size_t)16),
             descr, fortran ? " in Fortran order" : "");
    if (!a->dtype) return LSNN_OK;
    bytes = a->dtype->width;
    for (int i = 0; i < a->rank; i++)
        if (!lsnni_mul(&bytes, (size_t)a->dims[i]))
            return lsnni_npy_fail(z, a, "its sizes overflow");
    a->count = bytes / a->dtype->width;
    if (bytes == a->bytes - a->at) return LSNN_OK;
    return lsnni_fail(z->cx, LSNN_EFORMAT, "%s: array '%.60s': its shape needs %.0f bytes, it has "
                      "%.0f", z->shown, a->name, (double)bytes, (double)(a->bytes - a->at));
}

static lsnn_status lsnni_npy_parse(lsnni_npz *z, lsnni_npy *a)
{
    size_t length;
    char *text;
    lsnn_status s;
    if (a->bytes < 12 || memcmp(a->v, "\x93NUMPY", 6) != 0)
        return lsnni_npy_fail(z, a, "does not begin as a .npy file does");
    if (a->v[6] < 1 || a->v[6] > 2 || a->v[7])
        return lsnni_fail(z->cx, LSNN_EFORMAT, "%s: array '%.60s': version %d.%d of the format, "
                          "1.0 and 2.0 are read", z->shown, a->name, a->v[6], a->v[7]);
    a->at = a->v[6] == 1 ? 10 : 12;
    length = a->v[6] == 1 ? lsnni_little16(a->v + 8) : lsnni_little32(a->v + 8);
    if (length > a->bytes - a->at) return lsnni_npy_fail(z, a, "is cut off in its header");
    text = (char *)lsnni_alloc(z->cx, lsnni_plus(length, 1), 1);
    if (!text) return LSNN_ENOMEM;
    memcpy(text, a->v + a->at, length);
    a->at += length;
    s = lsnni_npy_header(z, a, text);
    lsnni_free(z->cx, text);
    return s;
}

/* ---- the archive (PKWARE's APPNOTE, 4.3) ------------------------------------------------*/
/* The record at the archive's end, which says where its table of contents lies, or NULL. */
static const unsigned char *lsnni_zip_end(const unsigned char *v, size_t bytes)
{
    for (size_t back = 22; back <= bytes && back <= 22 + 65535; back++) {
        const unsigned char *p = v + bytes - back;
        if (!memcmp(p, "PK\5\6", 4) && lsnni_little16(p + 20) == back - 22) return p;
    }
    return NULL;
}

/* The bytes of the member that entry p of the table of contents says, unpacked. */
static lsnn_status lsnni_zip_member(lsnni_npz *z, lsnni_npy *a, const unsigned char *p)
{
    const unsigned char *v = z->content.v, *data;
    uint32_t flags = lsnni_little16(p + 8), method = lsnni_little16(p + 10);
    size_t packed = lsnni_little32(p + 20), at = lsnni_little32(p + 42), bytes = z->content.count;
    a->bytes = lsnni_little32(p + 24);
    if (packed == 0xFFFFFFFF || a->bytes == 0xFFFFFFFF || at == 0xFFFFFFFF)
        return lsnni_npy_fail(z, a, "of 4 GB or more (zip64) is not read");
    if (flags & 1) return lsnni_npy_fail(z, a, "is encrypted");
    if (method != 0 && method != 8)
        return lsnni_fail(z->cx, LSNN_EFORMAT, "%s: array '%.60s': is packed by method %d; stored "
                          "and deflated ones are read", z->shown, a->name, (int)method);
    if (at > bytes || bytes - at < 30 || memcmp(v + at, "PK\3\4", 4) != 0)
        return lsnni_npy_fail(z, a, "is not where the archive says");
    data = v + at + 30;
    at += 30 + lsnni_little16(data - 4) + lsnni_little16(data - 2);
    if (at > bytes || packed > bytes - at || (!method && packed != a->bytes))
        return lsnni_npy_fail(z, a, "is longer than the file");
    a->v = v + at;
    if (method) {
        size_t have;
        LSNNI_TRY(lsnni_inflate_raw(z->cx, z->shown, v + at, packed, a->bytes, &a->own, &have));
        a->v = a->own;
        if (have != a->bytes) return lsnni_npy_fail(z, a, "is shorter than the archive says");
    }
    if (~lsnni_crc32(z->crc, ~(uint32_t)0, a->v, a->bytes) != lsnni_little32(p + 16))
        return lsnni_npy_fail(z, a, "is damaged: its check sum is another");
    return LSNN_OK;
}

static lsnn_status lsnni_zip_read(lsnni_npz *z)
{
    const unsigned char *v = z->content.v, *end = lsnni_zip_end(v, z->content.count), *p, *stop;
    size_t begin, bytes;
    if (!end)
        return lsnni_fail(z->cx, LSNN_EFORMAT, "%s: a zip archive without an end: it is cut off",
                          z->shown);
    z->arrays = (int)lsnni_little16(end + 10);
    bytes = lsnni_little32(end + 12);
    begin = lsnni_little32(end + 16);
    if (begin > (size_t)(end - v) || bytes > (size_t)(end - v) - begin)
        return lsnni_fail(z->cx, LSNN_EFORMAT, "%s: its table of contents is outside of it, or "
                          "this is a zip64 archive, which is not read", z->shown);
    p = v + begin;
    stop = p + bytes;
    for (int i = 0; i < z->arrays; i++) {
        lsnni_npy *a = &z->array[i];
        size_t n = stop - p < 46 ? 0 : lsnni_little16(p + 28);
        a->name = z->names;
        if (!n || memcmp(p, "PK\1\2", 4) != 0 || n > (size_t)(stop - p) - 46)
            return lsnni_fail(z->cx, LSNN_EFORMAT, "%s: entry %d of its table of contents is "
                              "damaged", z->shown, i + 1);
        memcpy(z->names, p + 46, n);
        if (n > 4 && !memcmp(z->names + n - 4, ".npy", 4)) z->names[n - 4] = 0;
        else snprintf(a->kind, sizeof a->kind, "no .npy file");
        z->names += n + 1;
        if (!*a->kind) LSNNI_TRY(lsnni_zip_member(z, a, p));
        if (!*a->kind) LSNNI_TRY(lsnni_npy_parse(z, a));
        n += lsnni_little16(p + 30) + lsnni_little16(p + 32);
        if (n > (size_t)(stop - p) - 46) n = (size_t)(stop - p) - 46;
        p += 46 + n;
    }
    return LSNN_OK;
}

/* ---- reading ------------------------------------------------------------------------*/
static lsnn_status lsnni_npz_values(lsnni_npz *z, lsnn_file *f)
{
    size_t count = 0;
    lsnn_real *v;
    for (int i = 0; i < z->arrays; i++) count = lsnni_plus(count, z->array[i].count);
    f->block_[1] = lsnni_alloc(z->cx, (size_t)z->arrays + 1,
                               sizeof *f->tensor + sizeof *f->skipped);
    f->block_[2] = v = (lsnn_real *)lsnni_alloc(z->cx, count, sizeof *v);
    if (!f->block_[1] || !v) return LSNN_ENOMEM;
    f->tensor = (lsnn_tensor *)f->block_[1];
    f->skipped = (lsnn_pair *)(void *)(f->tensor + z->arrays + 1);
    for (int i = 0; i < z->arrays; i++) {
        const lsnni_npy *a = &z->array[i];
        lsnn_tensor *t = &f->tensor[f->tensors];
        if (!a->dtype) {
            lsnn_pair *pair = &f->skipped[f->skips++];
            char *kind = z->names;
            pair->key = a->name;
            pair->value = kind;
            z->names += snprintf(kind, sizeof a->kind, "%s", a->kind) + 1;
            continue;
        }
        f->tensors++;
        t->name = a->name;
        t->rank = a->rank;
        t->dims = a->dims;
        for (int d = 0; d < a->rank && d < 4; d++) t->dim[d] = a->dims[d];
        t->count = a->count;
        t->v = v;
        for (size_t k = 0; k < a->count; k++)
            if (!lsnni_real_from(v++, a->v + a->at + k * a->dtype->width, a->dtype))
                return lsnni_npy_fail(z, a, "a value is too large for float; build with "
                                      "LSNN_DOUBLE");
    }
    return lsnni_names_check(z->cx, LSNN_EFORMAT, z->shown, f->tensor, f->tensors, f->skipped,
                             f->skips, NULL, 0);
}

/* A file of one array, which is named as the file is.                        */
static lsnn_status lsnni_npy_alone(lsnni_npz *z, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    lsnni_npy *a = z->array;
    size_t n = strlen(name);
    z->arrays = 1;
    memcpy(z->names, name, n);
    if (n > 4 && !memcmp(name + n - 4, ".npy", 4)) z->names[n - 4] = 0;
    a->name = z->names;
    z->names += n + 1;
    a->v = z->content.v;
    a->bytes = z->content.count;
    LSNNI_TRY(lsnni_npy_parse(z, a));
    if (a->dtype) return LSNN_OK;
    return lsnni_fail(z->cx, LSNN_EUNSUPPORTED, "%s: holds %s; read are '<f2', '<f4' and '<f8' in "
                      "C order: numpy.save(path, numpy.ascontiguousarray(x, '<f4'))", z->shown,
                      a->kind);
}

/* The tables have room for as many arrays as the file can hold: an archive's entry takes 76
   bytes, and a size in a header 2.                                           */
static lsnn_status lsnni_npz_tables(lsnni_npz *z, lsnn_file *f, const char *path)
{
    int alone = z->content.v[0] != 'P';
    const unsigned char *end = alone ? NULL : lsnni_zip_end(z->content.v, z->content.count);
    size_t arrays = end ? LSNNI_MIN(lsnni_little16(end + 10), z->content.count / 76 + 1) : 1;
    size_t text = alone ? strlen(path) : z->content.count;
    if (end && lsnni_little16(end + 10) > arrays)
        return lsnni_fail(z->cx, LSNN_EFORMAT, "%s: %d arrays do not fit into it", z->shown,
                          (int)lsnni_little16(end + 10));
    z->array = (lsnni_npy *)lsnni_alloc(z->cx, arrays, sizeof *z->array);
    text = lsnni_plus(text, arrays * (1 + sizeof z->array->kind));
    f->block_[0] = z->names = (char *)lsnni_alloc(z->cx, text, 1);
    f->block_[3] = z->dims = (int *)lsnni_alloc(z->cx, arrays, LSNNI_NPY_RANK * sizeof *z->dims);
    if (!z->array || !z->names || !z->dims) return LSNN_ENOMEM;
    if (alone) LSNNI_TRY(lsnni_npy_alone(z, path));
    else LSNNI_TRY(lsnni_zip_read(z));
    return lsnni_npz_values(z, f);
}

static lsnn_status lsnni_npy_load(lsnn_ctx *cx, lsnn_file *f, const char *path)
{
    lsnni_npz z;
    lsnn_status s;
    memset(&z, 0, sizeof z);
    z.cx = cx;
    z.shown = lsnni_path_end(path);
    lsnni_crc32_table(z.crc);
    LSNNI_TRY(lsnni_content_read(cx, &z.content, path));
    s = lsnni_npz_tables(&z, f, path);
    for (int i = 0; i < z.arrays && z.array; i++) lsnni_free(cx, z.array[i].own);
    lsnni_free(cx, z.array);
    lsnni_free(cx, z.content.v);
    if (s != LSNN_OK) lsnn_file_free(cx, f);
    return s;
}

/* ---- writing ------------------------------------------------------------------------*/
/* The .npy file of t, its header a multiple of 64 bytes; 0 at *bytes: no memory. */
static unsigned char *lsnni_npy_bytes(lsnn_ctx *cx, const lsnn_tensor *t, size_t *bytes)
{
    size_t room = 128 + 12 * (size_t)t->rank, n = 10, head;
    size_t all = lsnni_plus(lsnni_times(t->count, sizeof *t->v), room + 64);
    unsigned char *v = (unsigned char *)lsnni_alloc(cx, all, 1);
    if (!v) return NULL;
    memcpy(v, "\x93NUMPY\1\0", 8);
    n += (size_t)snprintf((char *)v + n, room, "{'descr': '<f%d', 'fortran_order': False, "
                          "'shape': (", (int)sizeof(lsnn_real));
    for (int i = 0; i < t->rank; i++)
        n += (size_t)snprintf((char *)v + n, 16, i + 1 < t->rank ? "%d, " : i ? "%d" : "%d,",
                              lsnni_tensor_dim(t, i));
    n += (size_t)snprintf((char *)v + n, 16, "), }");
    head = (n + 1 + 63) / 64 * 64;
    memset(v + n, ' ', head - n);
    v[head - 1] = '\n';
    lsnni_bytes_of(v + 8, (uint32_t)head - 10, 2);
    for (size_t i = 0; i < t->count; i++) {
#ifdef LSNN_DOUBLE
        uint64_t bits;
#else
        uint32_t bits;
#endif
        memcpy(&bits, t->v + i, sizeof bits);
        lsnni_bytes_of(v + head + i * sizeof bits, bits, sizeof bits);
    }
    *bytes = head + t->count * sizeof *t->v;
    return v;
}

typedef struct lsnni_npz_writer {
    const lsnn_tensor *tensor; int tensors;
    unsigned char *table;            /* of contents; NULL: one .npy file      */
    size_t have;
    uint32_t crc[256];
} lsnni_npz_writer;

/* The fields that a member's own header and its entry in the table have in common. */
static void lsnni_zip_put(unsigned char *p, uint32_t crc, size_t bytes, size_t name)
{
    lsnni_bytes_of(p, 20, 2);                          /* version 2.0           */
    lsnni_bytes_of(p + 8, 33, 2);                      /* 1 January 1980        */
    lsnni_bytes_of(p + 10, crc, 4);
    lsnni_bytes_of(p + 14, (uint32_t)bytes, 4);
    lsnni_bytes_of(p + 18, (uint32_t)bytes, 4);
    lsnni_bytes_of(p + 22, (uint32_t)name + 4, 2);
}

/* Writes one array; as a member of an archive it begins at *at, and gets an entry. */
static lsnn_status lsnni_npz_put_array(lsnni_npz_writer *w, FILE *f, const lsnn_tensor *t,
                                       const unsigned char *v, size_t bytes, size_t *at)
{
    if (w->table) {
        unsigned char head[30] = { 'P', 'K', 3, 4 }, *entry = w->table + w->have;
        size_t name = strlen(t->name);
        lsnni_zip_put(head + 4, ~lsnni_crc32(w->crc, ~(uint32_t)0, v, bytes), bytes, name);
        memcpy(entry, "PK\1\2\24\0", 6);
        memcpy(entry + 6, head + 4, 26);
        lsnni_bytes_of(entry + 42, *at, 4);
        memcpy(entry + 46, t->name, name);
        memcpy(entry + 46 + name, ".npy", 4);
        w->have += 50 + name;
        *at += 34 + name + bytes;
        if (fwrite(head, 1, 30, f) != 30 || fwrite(entry + 46, 1, name + 4, f) != name + 4)
            return LSNN_EIO;
    }
    return fwrite(v, 1, bytes, f) == bytes ? LSNN_OK : LSNN_EIO;
}

static lsnn_status lsnni_npz_put(lsnn_ctx *cx, FILE *f, void *user)
{
    lsnni_npz_writer *w = (lsnni_npz_writer *)user;
    unsigned char end[22] = { 'P', 'K', 5, 6 };
    size_t at = 0, bytes;
    for (int i = 0; i < w->tensors; i++) {
        unsigned char *v = lsnni_npy_bytes(cx, &w->tensor[i], &bytes);
        lsnn_status s = v ? lsnni_npz_put_array(w, f, &w->tensor[i], v, bytes, &at) : LSNN_ENOMEM;
        lsnni_free(cx, v);
        LSNNI_TRY(s);
    }
    if (!w->table) return LSNN_OK;
    lsnni_bytes_of(end + 8, (uint64_t)w->tensors, 2);
    lsnni_bytes_of(end + 10, (uint64_t)w->tensors, 2);
    lsnni_bytes_of(end + 12, w->have, 4);
    lsnni_bytes_of(end + 16, at, 4);
    if (fwrite(w->table, 1, w->have, f) != w->have || fwrite(end, 1, 22, f) != 22) return LSNN_EIO;
    return LSNN_OK;
}

static lsnn_status lsnni_npy_write(lsnn_ctx *cx, const char *path, const lsnn_tensor *t,
                                   int tensors, int archive)
{
    lsnni_npz_writer w;
    const char *shown = lsnni_path_end(path);
    size_t bytes = 0, table = 0;
    lsnn_status s;
    memset(&w, 0, sizeof w);
    w.tensor = t;
    w.tensors = tensors;
    for (int i = 0; i < tensors; i++) {
        LSNNI_TRY(lsnni_write_check_tensor(cx, shown, &t[i], &bytes));
        if (t[i].rank > LSNNI_NPY_RANK)
            return lsnni_fail(cx, LSNN_ESHAPE, "%s: tensor '%.60s' has rank %d, NumPy's arrays at "
                              "most %d", shown, t[i].name, t[i].rank, (int)LSNNI_NPY_RANK);
        table += 50 + strlen(t[i].name);
        bytes = lsnni_plus(bytes, 512 + strlen(t[i].name));
    }
    if (archive && (tensors > 65534 || bytes >= (size_t)0xFFFFFFFF - table))
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: %d arrays, or 4 GB, are more than an archive "
                          "without zip64 holds", shown, tensors);
    LSNNI_TRY(lsnni_names_check(cx, LSNN_EVALUE, shown, t, tensors, NULL, 0, NULL, 0));
    lsnni_crc32_table(w.crc);
    w.table = archive ? (unsigned char *)lsnni_alloc(cx, table, 1) : NULL;
    if (archive && !w.table) return LSNN_ENOMEM;
    s = lsnni_file_replace(cx, path, lsnni_npz_put, &w);
    lsnni_free(cx, w.table);
    return s;
}

LSNN_API lsnn_status lsnn_npy_write(lsnn_ctx *cx, const char *path, const lsnn_tensor *t)
{
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_npy_write", path));
    return lsnni_npy_write(cx, path, t, 1, 0);
}

LSNN_API lsnn_status lsnn_npz_write(lsnn_ctx *cx, const char *path, const lsnn_tensor *t,
                                    int tensors)
{
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_npz_write", path));
    if (tensors < 0)
        return lsnni_fail(cx, LSNN_ESHAPE, "lsnn_npz_write: %d tensors", tensors);
    return lsnni_npy_write(cx, path, t, tensors, 1);
}
#endif /* LSNN_NO_DATA and LSNN_NO_PICTURES */
/* ============================================================================
   >>data  arrays, IDX files, built-in digits, recipes
   ==========================================================================*/
#ifndef LSNN_NO_DATA

/* ---- >>data-sets: arrays, parts ----------------------------------------------
   What a data set owns is one small block that its fetch reads: no fetch writes
   anything that another could see, so any number may run at once.             */
typedef struct lsnni_data_user {
    const lsnn_real *x;              /* arrays                                */
    const int *labels;
    const unsigned char *pixels, *bytes;     /* IDX: in place of x and labels */
    const lsnn_data *whole;          /* part, split                           */
    int first;
    const int *index;                /* split: whose samples, in this block   */
    size_t size, heads;              /* numbers an image, labels an image     */
} lsnni_data_user;

LSNN_API void lsnn_data_free(lsnn_data *d)
{
    lsnni_free_by(&d->mem_, d->owned_);
    memset(d, 0, sizeof *d);
}

/* Numbers in an image; 0 if it is no size.                                   */
static size_t lsnni_shape_size(lsnn_shape s)
{
    size_t n = 1;
    if (s.c < 1 || s.h < 1 || s.w < 1 || !lsnni_mul(&n, (size_t)s.c) ||
        !lsnni_mul(&n, (size_t)s.h) || !lsnni_mul(&n, (size_t)s.w)) return 0;
    return n;
}

/* The common part of a data set; its block, with `more` bytes behind it, is returned, NULL on
   failure.                                                                   */
static lsnni_data_user *lsnni_data_block(lsnn_ctx *cx, lsnn_data *d, int count,
                                         lsnn_shape shape, int heads, int classes, size_t more)
{
    lsnni_data_user *u = (lsnni_data_user *)lsnni_alloc(cx, 1, sizeof *u + more);
    if (!u) return NULL;
    u->heads = (size_t)heads;
    u->size = lsnni_shape_size(shape);
    d->count = count;
    d->shape = shape;
    d->heads = heads;
    d->classes = classes;
    d->user = d->owned_ = u;
    d->mem_ = cx->mem;
    return u;
}

static lsnni_data_user *lsnni_data_new(lsnn_ctx *cx, lsnn_data *d, int count,
                                       lsnn_shape shape, int heads, int classes)
{
    return lsnni_data_block(cx, d, count, shape, heads, classes, 0);
}

static void lsnni_pixels(lsnn_real *x, const unsigned char *pixels, size_t count)
{
    for (size_t i = 0; i < count; i++) x[i] = LSNNI_R(pixels[i]) / 255;
}

static void lsnni_fetch_memory(const void *user, uint32_t epoch, int index, lsnn_real *x,
                               int *labels, lsnn_real *targets)
{
    const lsnni_data_user *u = (const lsnni_data_user *)user;
    size_t image = (size_t)index * u->size, label = (size_t)index * u->heads;
    (void)epoch;
    (void)targets;
    if (u->x) memcpy(x, u->x + image, u->size * sizeof *x);
    else lsnni_pixels(x, u->pixels + image, u->size);
    for (size_t i = 0; labels && i < u->heads; i++)
        labels[i] = u->labels ? u->labels[label + i] : u->bytes[label + i];
}

LSNN_API lsnn_status lsnn_data_arrays(lsnn_ctx *cx, lsnn_data *d, const lsnn_real *x,
                                      const int *labels, int count, lsnn_shape shape,
                                      int heads, int classes)
{
    lsnni_data_user *u;
    size_t total = lsnni_shape_size(shape);
    memset(d, 0, sizeof *d);
    if (!x) return lsnni_fail(cx, LSNN_EVALUE, "lsnn_data_arrays: x is NULL");
    if (heads > 0 && !labels)
        return lsnni_fail(cx, LSNN_EVALUE, "lsnn_data_arrays: labels is NULL, for %d heads", heads);
    if (count < 1 || !total || !lsnni_mul(&total, (size_t)count))
        return lsnni_fail(cx, LSNN_ESHAPE, "lsnn_data_arrays: count %d, shape %d x %d x %d: one is "
                          "not positive, or they are too large", count, shape.c, shape.h, shape.w);
    if (heads < 0 || heads > LSNN_MAX_HEADS || (heads > 0 && classes < 1))
        return lsnni_fail(cx, LSNN_EVALUE, "lsnn_data_arrays: heads %d (0 to %d), classes %d",
                          heads, (int)LSNN_MAX_HEADS, classes);
    for (size_t i = 0; i < (size_t)count * (size_t)heads; i++)
        if (labels[i] < 0 || labels[i] >= classes)
            return lsnni_fail(cx, LSNN_EVALUE, "lsnn_data_arrays: label %d of sample %.0f is "
                              "not in [0, %d)", labels[i], (double)(i / (size_t)heads),
                              classes);
    u = lsnni_data_new(cx, d, count, shape, heads, classes);
    if (!u) return cx->last_;
    u->x = x;
    u->labels = labels;
    d->fetch = lsnni_fetch_memory;
    return LSNN_OK;
}

static void lsnni_fetch_part(const void *user, uint32_t epoch, int index, lsnn_real *x,
                             int *labels, lsnn_real *targets)
{
    const lsnni_data_user *u = (const lsnni_data_user *)user;
    int at = u->index ? u->index[index] : u->first + index;
    u->whole->fetch(u->whole->user, epoch, at, x, labels, targets);
}

LSNN_API lsnn_status lsnn_data_part(lsnn_ctx *cx, lsnn_data *d, const lsnn_data *whole,
                                    int first, int count)
{
    lsnni_data_user *u;
    memset(d, 0, sizeof *d);
    if (first < 0 || count < 1 || first > whole->count || count > whole->count - first)
        return lsnni_fail(cx, LSNN_EVALUE, "lsnn_data_part: %d samples from number %d on, of "
                          "a set that has %d", count, first, whole->count);
    u = lsnni_data_new(cx, d, count, whole->shape, whole->heads, whole->classes);
    if (!u) return cx->last_;
    u->whole = whole;
    u->first = first;
    d->target_count = whole->target_count;
    d->fetch = lsnni_fetch_part;
    return LSNN_OK;
}

/* ---- split: a draw a group orders the groups; the first ones are held out ------------*/
typedef struct lsnni_draw { double u; int group, sample; } lsnni_draw;

static int lsnni_draw_order(const void *a, const void *b)
{
    const lsnni_draw *x = (const lsnni_draw *)a, *y = (const lsnni_draw *)b;
    if (x->u < y->u || x->u > y->u) return x->u < y->u ? -1 : 1;
    if (x->group != y->group) return x->group < y->group ? -1 : 1;
    return x->sample < y->sample ? -1 : x->sample > y->sample;
}

/* Samples [first, first + count) of the drawn order as a set, in their own order. */
static lsnn_status lsnni_data_pick(lsnn_ctx *cx, lsnn_data *d, const lsnn_data *whole,
                                   const lsnni_draw *order, int first, int count)
{
    lsnni_data_user *u = lsnni_data_block(cx, d, count, whole->shape, whole->heads,
                                          whole->classes, (size_t)whole->count * sizeof(int));
    int *index = u ? (int *)(void *)(u + 1) : NULL, at = 0;
    if (!u) return LSNN_ENOMEM;
    u->whole = whole;
    u->index = index;
    memset(index, 0, (size_t)whole->count * sizeof *index);
    for (int i = first; i < first + count; i++) index[order[i].sample] = 1;
    for (int i = 0; i < whole->count; i++) if (index[i]) index[at++] = i;
    d->target_count = whole->target_count;
    d->fetch = lsnni_fetch_part;
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_data_split(lsnn_ctx *cx, lsnn_data *kept, lsnn_data *held,
                                     const lsnn_data *whole, const int *group, int count,
                                     uint64_t seed)
{
    lsnni_draw *order;
    lsnn_status s;
    memset(kept, 0, sizeof *kept);
    memset(held, 0, sizeof *held);
    if (count < 1 || count >= whole->count)
        return lsnni_fail(cx, LSNN_EVALUE, "lsnn_data_split: %d samples held out, of %d: give 1 "
                          "or more, and leave some", count, whole->count);
    order = (lsnni_draw *)lsnni_alloc(cx, (size_t)whole->count, sizeof *order);
    if (!order) return LSNN_ENOMEM;
    for (int i = 0; i < whole->count; i++) {
        int g = group ? group[i] : i;
        lsnn_rng r = lsnn_rng_at(seed, "split", "", 0, (uint32_t)g);
        order[i].u = lsnn_rng_uniform(&r);
        order[i].group = g;
        order[i].sample = i;
    }
    qsort(order, (size_t)whole->count, sizeof *order, lsnni_draw_order);
    while (count < whole->count && order[count].group == order[count - 1].group) count++;
    s = count < whole->count ? LSNN_OK
        : lsnni_fail(cx, LSNN_EVALUE, "lsnn_data_split: with whole groups nothing would be left");
    if (s == LSNN_OK) s = lsnni_data_pick(cx, held, whole, order, 0, count);
    if (s == LSNN_OK) s = lsnni_data_pick(cx, kept, whole, order, count, whole->count - count);
    if (s != LSNN_OK && held->fetch) lsnn_data_free(held);
    lsnni_free(cx, order);
    return s;
}

/* ---- >>idx: MNIST's file format -----------------------------------------------
   0 0 8 rank, then `rank` sizes of four bytes, the highest first, then the
   bytes. A header is believed only as far as the file bears it out: the block
   grows with what has been read.                                             */
/* Reads `bytes` bytes, all of them: `what` they are.                         */
static lsnn_status lsnni_idx_need(lsnn_ctx *cx, lsnni_gz *in, void *to, size_t bytes,
                                  const char *what)
{
    if (lsnni_gz_get(in, to, bytes) == bytes) return LSNN_OK;
    LSNNI_TRY(lsnni_gz_error(cx, in));
    return lsnni_fail(cx, LSNN_EFORMAT, "%s: ends within its %s", in->shown, what);
}

/* Product of a's sizes into *bytes. bad: what a wrong one is.                */
static lsnn_status lsnni_idx_check(lsnn_ctx *cx, lsnn_status bad, const lsnn_idx *a,
                                   const char *path, size_t *bytes)
{
    *bytes = 1;
    if (a->rank < 1 || a->rank > 4)
        return lsnni_fail(cx, bad, "%s: rank %d is not in 1..4", path, a->rank);
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] < 1 || !lsnni_mul(bytes, (size_t)a->dim[i]))
            return lsnni_fail(cx, bad, "%s: size %d of its %d is not in 1..%d, or "
                              "the product overflows", path, i + 1, a->rank, INT_MAX);
    return LSNN_OK;
}

static lsnn_status lsnni_idx_head(lsnn_ctx *cx, lsnn_idx *a, lsnni_gz *in, size_t *bytes)
{
    unsigned char b[16];
    LSNNI_TRY(lsnni_idx_need(cx, in, b, 4, "first four bytes"));
#ifndef LSNN_USE_ZLIB
    if (b[0] == 0x1f && b[1] == 0x8b)
        return lsnni_fail(cx, LSNN_EUNSUPPORTED, "%s: is compressed: build with "
                          "-DLSNN_USE_ZLIB -lz, or gunzip it", in->shown);
#endif
    if (b[0] || b[1] || b[2] != 8 || b[3] < 1 || b[3] > 4)
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: begins with %02x %02x %02x %02x; an IDX file "
                          "of unsigned bytes with 00 00 08 and its rank, 1 to 4", in->shown,
                          b[0], b[1], b[2], b[3]);
    a->rank = b[3];
    LSNNI_TRY(lsnni_idx_need(cx, in, b, 4 * (size_t)a->rank, "header"));
    for (int i = 0; i < a->rank; i++) {
        const unsigned char *p = b + 4 * i;
        uint32_t v = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        a->dim[i] = v > INT_MAX ? -1 : (int)v;
    }
    return lsnni_idx_check(cx, LSNN_EFORMAT, a, in->shown, bytes);
}

static lsnn_status lsnni_idx_body(lsnn_ctx *cx, lsnn_idx *a, lsnni_gz *in, size_t bytes)
{
    for (size_t have = 0, room = 1 << 20; have < bytes; have = room, room *= 2) {
        unsigned char *v;
        room = room > bytes / 2 ? bytes : room;
        v = (unsigned char *)lsnni_alloc(cx, room, 1);
        if (!v) return cx->last_;
        if (a->v) memcpy(v, a->v, have);
        lsnni_free(cx, a->v);
        a->v = v;
        LSNNI_TRY(lsnni_idx_need(cx, in, v + have, room - have, "data"));
    }
    if (lsnni_gz_more(in))
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: is longer than its header says", in->shown);
    return lsnni_gz_error(cx, in);
}

LSNN_API lsnn_status lsnn_idx_read(lsnn_ctx *cx, lsnn_idx *a, const char *path)
{
    lsnni_gz in;
    lsnn_status s;
    size_t bytes = 0;
    memset(a, 0, sizeof *a);
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_idx_read", path));
    LSNNI_TRY(lsnni_gz_open(cx, &in, path));
    s = lsnni_idx_head(cx, a, &in, &bytes);
    if (s == LSNN_OK) s = lsnni_idx_body(cx, a, &in, bytes);
    lsnni_gz_close(&in);
    if (s != LSNN_OK) lsnn_idx_free(cx, a);
    return s;
}

static lsnn_status lsnni_idx_put(lsnn_ctx *cx, FILE *f, void *user)
{
    const lsnn_idx *a = (const lsnn_idx *)user;
    size_t bytes = 1, head = 4 + 4 * (size_t)a->rank;
    unsigned char b[20] = { 0, 0, 8, 0 };
    (void)cx;
    b[3] = (unsigned char)a->rank;
    for (int i = 0; i < 4 * a->rank; i++)
        b[4 + i] = (unsigned char)((uint32_t)a->dim[i / 4] >> (24 - 8 * (i % 4)));
    for (int i = 0; i < a->rank; i++) bytes *= (size_t)a->dim[i];
    if (fwrite(b, 1, head, f) != head || fwrite(a->v, 1, bytes, f) != bytes) return LSNN_EIO;
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_idx_write(lsnn_ctx *cx, const lsnn_idx *a, const char *path)
{
    lsnn_idx copy = *a;              /* lsnni_file_replace takes no const     */
    size_t bytes;
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_idx_write", path));
    LSNNI_TRY(lsnni_idx_check(cx, LSNN_ESHAPE, a, lsnni_path_end(path), &bytes));
    if (!a->v)
        return lsnni_fail(cx, LSNN_EVALUE, "%s: v is NULL", lsnni_path_end(path));
    return lsnni_file_replace(cx, path, lsnni_idx_put, &copy);
}

LSNN_API void lsnn_idx_free(lsnn_ctx *cx, lsnn_idx *a)
{
    lsnni_free(cx, a->v);
    memset(a, 0, sizeof *a);
}

/* Labels N or N x heads for `count` images, each below `classes`.            */
static lsnn_status lsnni_idx_labels(lsnn_ctx *cx, const char *who, const lsnn_idx *a,
                                    int count, int classes)
{
    int heads = a->rank == 2 ? a->dim[1] : 1;
    if ((a->rank != 1 && a->rank != 2) || heads < 1 || heads > LSNN_MAX_HEADS || !a->v)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: labels of rank %d with %d an image: give N or "
                          "N x heads, at most %d", who, a->rank, heads, (int)LSNN_MAX_HEADS);
    if (a->dim[0] != count)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: %d images but %d labels", who, count,
                          a->dim[0]);
    for (size_t i = 0; i < (size_t)count * (size_t)heads; i++)
        if (a->v[i] >= classes)
            return lsnni_fail(cx, LSNN_EVALUE, "%s: label %d of image %.0f is not in [0, %d)",
                              who, a->v[i], (double)(i / (size_t)heads), classes);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_data_idx(lsnn_ctx *cx, lsnn_data *d, const lsnn_idx *images,
                                   const lsnn_idx *labels, int classes)
{
    lsnni_data_user *u;
    lsnn_shape shape = { 1, 0, 0 };
    size_t bytes;
    memset(d, 0, sizeof *d);
    if (images->rank < 3 || !images->v)
        return lsnni_fail(cx, LSNN_ESHAPE, "lsnn_data_idx: images of rank %d: give N,H,W or "
                          "N,C,H,W", images->rank);
    if (classes < 1 || classes > 256)
        return lsnni_fail(cx, LSNN_EVALUE, "lsnn_data_idx: %d classes: give 1..256", classes);
    LSNNI_TRY(lsnni_idx_check(cx, LSNN_ESHAPE, images, "lsnn_data_idx: images", &bytes));
    LSNNI_TRY(lsnni_idx_labels(cx, "lsnn_data_idx", labels, images->dim[0], classes));
    if (images->rank == 4) shape.c = images->dim[1];
    shape.h = images->dim[images->rank - 2];
    shape.w = images->dim[images->rank - 1];
    u = lsnni_data_new(cx, d, images->dim[0], shape, labels->rank == 2 ? labels->dim[1] : 1,
                       classes);
    if (!u) return cx->last_;
    u->pixels = images->v;
    u->bytes = labels->v;
    d->fetch = lsnni_fetch_memory;
    return LSNN_OK;
}

/* ---- >>digits: handwriting from stroke models ------------------------------------
   A style is the path of a pen: points "xxyy" on a grid of 100 x 100 (y grows
   downwards), joined by smooth curves. After a point, ' ' goes on, '^' goes on
   with a corner there, '/' lifts the pen. Points are jittered, the curve through
   them is bent, sheared and stretched at random, scaled into a 20x20 box,
   inked by the distance to it, and centred by mass.                           */
enum { LSNNI_KNOTS = 32, LSNNI_SPLIT = 5, LSNNI_PEN = LSNNI_KNOTS * LSNNI_SPLIT + 1 };

typedef struct lsnni_style { int digit, weight; const char *path; } lsnni_style;

static const lsnni_style lsnni_styles[] = {
    { 0, 4, "4803 2118 1352 2788 5294 7466 6820 4603" },
    { 0, 3, "6210 3804 1632 1668 4295 7074 7428 5205 3012" },
    { 0, 2, "3606 1240 1876 4696 7464 6822 4004" },
    { 0, 1, "6803 2818 1256 2890 5890 7450 6018 4012" },
    { 0, 1, "3020 1550 2788 6088 7645 6012 3506 2222" },
    { 1, 6, "4202 4235 4268 4298" },
    { 1, 2, "2424 4203^4235 4268 4298" },
    { 1, 1, "2840 3822 5003^4835 4668 4498" },
    { 1, 1, "1030 2722 4203^4235 4268 4298" },
    { 1, 1, "2222 4203^4350 4395/1697 4396 7096" },
    { 2, 3, "1625 3006 5404 6824 5550 3575 1596^4292 8093" },
    { 2, 3, "1522 3404 6008 6632 4566 1893 1186 2476 4482 6296 8490" },
    { 2, 3, "2420 4506 6222 5248 2880 0592 0374 2066 4082 6290 9284" },
    { 2, 2, "1828 2808 5003 6620 5848 3680 2094 1281 2873 4980 7298" },
    { 2, 2, "1412 4005 6316 5548 1294^4592 7891" },
    { 2, 1, "2818 4503 6022 5060 2092 1070 3566 5084 6696 8290" },
    { 2, 2, "1226 3206 6008 7232 5862 3088 1290 1274 3468 5678 7692 9486" },
    { 2, 1, "2030 4025 6238 4868 1892 2698 5494 8890" },
    { 3, 4, "1614 3604 6014 5836 3546^6054 7275 5095 1290" },
    { 3, 3, "1812 4203 6218 5038 3247 5050 7070 5894 3298 1086" },
    { 3, 2, "1407 4005 6706^5026 3442^6050 7074 5094 1489" },
    { 3, 2, "1518 3603 6212 5740 3050 2846 4048 7068 5694 1592" },
    { 3, 2, "2012 4404 6212 5228 3640 5044 6066 5086 2898 0892" },
    { 3, 1, "1208 3402 5814 5232 3346 5454 7076 5894 3298 1486 1272" },
    { 3, 1, "0612 3404 6612 5632 3842^5446 6658 5886 3698 1488" },
    { 4, 4, "2405 1830 1452 4054 7448/6604 6236 5868 5698" },
    { 4, 3, "1608 1632 2050 4456 6642/7004 6636 6468 6298" },
    { 4, 2, "6003 3535 0866^4065 8062/6003 5835 5668 5498" },
    { 4, 2, "2404 1245^4046 8042/6010 5640 5070 4698" },
    { 4, 1, "2204 1452 5050 7012^6246 5698" },
    { 4, 1, "2008 1545 4052 6038 7006^6540 6098" },
    { 5, 3, "2806 2024 1842^4636 6854 6280 3897 1086/2806 5006 7604" },
    { 5, 3, "7404 5006 2808^2024 1842^4238 6656 6080 3897 1290" },
    { 5, 3, "8004 5606 3816 3032 5048 6468 5490 3098 1086" },
    { 5, 2, "8806 6006 3614^3234 3046^4850 5868 4290 2098 0690" },
    { 5, 2, "1808 1628 1646^4046 6062 5586 3898 1490/1808 5008 8803" },
    { 5, 2, "2206 2024 1842^4434 7048 7476 5696 3094 1478/2206 4804 7206" },
    { 5, 1, "3012 2232 2246 4244 5456 5080 3296 1490/3012 6008 9004" },
    { 6, 4, "5803 3622 1852 1680 3697 6090 6668 4855 2664 1878" },
    { 6, 3, "4603 2628 1560 2290 4697 6684 5864 3862 2078" },
    { 6, 2, "6803 4014 2040 1470 3094 5690 6470 5056 2862" },
    { 6, 2, "3002 1830 1262 1886 4497 7288 7668 5658 3468 1884" },
    { 6, 1, "5203 3630 2462 2490 4096 5282 5066 3864 2680" },
    { 7, 4, "1210 4008 7406^5838 4668 4098" },
    { 7, 2, "1212 4006 7206^5540 4470 3898/2852 4650 7048" },
    { 7, 2, "1022 1408^4407 7408 6034 5064 4698" },
    { 7, 2, "1424 2408 4216 6804^5640 4870 4498" },
    { 7, 1, "1806 4410 7006^5040 3070 1698" },
    { 7, 1, "1010 4207 7408^7236 7066 6898" },
    { 7, 1, "1236 1610 4404 7012 6836 5866 5298" },
    { 7, 1, "1010 3010 5606 7012 6236 5266 4898" },
    { 8, 4, "6416 4603 2414 2832 5052 6674 5094 2690 1874 3852 6230 6414" },
    { 8, 2, "4448 2428 4004 6022 4446 2072 3897 6480 4448" },
    { 8, 2, "7010 4403 2218 3438 6062 6288 3898 2078 4254 6830 7008" },
    { 8, 2, "7806 5008 2618 3040 5258 5682 3898 2882 3862 5838 8208" },
    { 8, 1, "5010 3408 2622 4036 6444 7066 5086 2892 0874 2052 4638 6020 5008" },
    { 8, 1, "5503 4010 3626 4642 5060 4886 3895 2880 3458 5440 6622 5804" },
    { 8, 1, "2808 2630 5850 6882 3897 1878 4050 6822 5206 3004" },
    { 8, 1, "6420 4404 1820 3444 6462 6090 3898 1884 3048 6234 6616" },
    { 9, 4, "6418 4404 2016 1842 4050 6428^6250 5876 5698" },
    { 9, 3, "6614 4403 2222 2444 5044 6816 6642 6068 5098" },
    { 9, 2, "6616 4003 1626 2850 5444 6618^6850 6282 4097 1890" },
    { 9, 2, "7006 4404 1420 1246 3452 5640 7006^6246 5698" },
    { 9, 1, "6806 4008 2034 3450 5840 6806^5850 4898" },
    { 9, 1, "7008 5204 2610 1430 2848 5240 7010^6648 6298" },
    { 9, 1, "2012 1838 4048 6234 6404^6640 6270 5498" },
    { 9, 1, "6012 4003 2816 3240 5034 6012^6044 5680 4898" },
};

/* A pen's way. lift: no line leads from this point to the next one.          */
typedef struct lsnni_path {
    int count;
    double x[LSNNI_PEN], y[LSNNI_PEN];
    unsigned char lift[LSNNI_PEN], corner[LSNNI_PEN];
} lsnni_path;

static const char *lsnni_style_draw(lsnn_rng *r, int digit)
{
    int count = (int)(sizeof lsnni_styles / sizeof lsnni_styles[0]), total = 0, i;
    for (i = 0; i < count; i++)
        if (lsnni_styles[i].digit == digit) total += lsnni_styles[i].weight;
    total = lsnn_rng_int(r, total);
    for (i = 0; i < count; i++) {
        if (lsnni_styles[i].digit != digit) continue;
        total -= lsnni_styles[i].weight;
        if (total < 0) break;
    }
    return lsnni_styles[i].path;
}

/* The points of a style, each moved a little.                                */
static void lsnni_path_knots(lsnni_path *p, lsnn_rng *r, const char *s, double jitter)
{
    p->count = 0;
    for (;;) {
        int k = p->count++;
        p->x[k] = (s[0] - '0') * 0.1 + (s[1] - '0') * 0.01 + jitter * lsnn_rng_normal(r);
        p->y[k] = (s[2] - '0') * 0.1 + (s[3] - '0') * 0.01 + jitter * lsnn_rng_normal(r);
        p->lift[k] = s[4] == '/' || s[4] == 0;
        p->corner[k] = s[4] == '^';
        if (s[4] == 0) return;
        s += 5;
    }
}

/* A Catmull-Rom curve through the knots a (its tangent at a knot is parallel to
   the chord of its neighbours; at an end or corner it points to the one left). */
static void lsnni_path_smooth(lsnni_path *p, const lsnni_path *a)
{
    p->count = 0;
    for (int k = 0; k < a->count; k++) {
        int first = k == 0 || a->lift[k - 1] || a->corner[k], before = first ? k : k - 1;
        int next = a->lift[k] ? k : k + 1, steps = a->lift[k] ? 1 : LSNNI_SPLIT;
        int after = a->lift[next] || a->corner[next] ? next : next + 1;
        for (int i = 0; i < steps; i++) {
            double t = i * (1.0 / (int)LSNNI_SPLIT), u = 1 - t;
            double wb = -t * u * u / 2, wa = -t * t * u / 2;      /* neighbours' weights */
            double wk = u * (1 + t - 1.5 * t * t), wn = t * (1 + u - 1.5 * u * u);
            int n = p->count++;
            p->x[n] = wb * a->x[before] + wk * a->x[k] + wn * a->x[next] + wa * a->x[after];
            p->y[n] = wb * a->y[before] + wk * a->y[k] + wn * a->y[next] + wa * a->y[after];
            p->lift[n] = a->lift[k];
        }
    }
}

/* One person's hand: waves across the sheet, uneven halves, a bend, shear,
   stretch and turn.                                                          */
static void lsnni_path_bend(lsnni_path *p, lsnn_rng *r)
{
    double wave[2][4], tau = 6.283185307179586;
    double squeeze = 0.25 * lsnn_rng_normal(r), taper = 0.22 * lsnn_rng_normal(r);
    double bend = 0.16 * lsnn_rng_normal(r), slant = 0.16 + 0.24 * lsnn_rng_normal(r);
    double stretch = exp(0.20 * lsnn_rng_normal(r)), turn = 0.09 * lsnn_rng_normal(r);
    double c = cos(turn), s = sin(turn);
    for (int i = 0; i < 2; i++) {
        wave[i][0] = 0.05 * lsnn_rng_normal(r);
        wave[i][1] = tau * 0.9 * (lsnn_rng_uniform(r) - 0.5) * 2;
        wave[i][2] = tau * 0.9 * (lsnn_rng_uniform(r) - 0.5) * 2;
        wave[i][3] = tau * lsnn_rng_uniform(r);
    }
    for (int i = 0; i < p->count; i++) {
        double x = p->x[i] - 0.42, y = p->y[i] - 0.5;
        double dx = wave[0][0] * sin(wave[0][1] * x + wave[0][2] * y + wave[0][3]);
        double dy = wave[1][0] * sin(wave[1][1] * x + wave[1][2] * y + wave[1][3]);
        x = (x + dx) * (1 + taper * y) * stretch;
        y = y + dy + squeeze * (y * y - 0.25);
        x += bend * (y * y - 0.1) - slant * y;
        p->x[i] = c * x - s * y;
        p->y[i] = s * x + c * y;
    }
}

/* Moves and scales the path so that the pixels whose centres lie within `reach`
   + 0.5 of it, those that get ink, fill a 20x20 box at (4, 4).               */
static void lsnni_path_fit(lsnni_path *p, double reach)
{
    double x0 = p->x[0], x1 = x0, y0 = p->y[0], y1 = y0, side, scale;
    for (int i = 1; i < p->count; i++) {
        x0 = LSNNI_MIN(x0, p->x[i]);
        x1 = LSNNI_MAX(x1, p->x[i]);
        y0 = LSNNI_MIN(y0, p->y[i]);
        y1 = LSNNI_MAX(y1, p->y[i]);
    }
    side = LSNNI_MAX(x1 - x0, y1 - y0);
    scale = (20 - 2 * reach) / LSNNI_MAX(side, 0.1);
    for (int i = 0; i < p->count; i++) {
        p->x[i] = 14 + scale * (p->x[i] - (x0 + x1) / 2);
        p->y[i] = 14 + scale * (p->y[i] - (y0 + y1) / 2);
    }
}

/* Lays the line from (ax, ay) to (bx, by) on ink: a pixel's value rises from 0
   to 1 as its centre comes within `soft` of the stroke's edge.               */
static void lsnni_ink_line(float ink[28][28], double ax, double ay, double bx, double by,
                           double radius, double soft)
{
    double vx = bx - ax, vy = by - ay, length2 = vx * vx + vy * vy, reach = radius + soft;
    double inverse = length2 > 0 ? 1 / length2 : 0;
    int x0 = (int)(LSNNI_MIN(ax, bx) - reach), x1 = (int)(LSNNI_MAX(ax, bx) + reach);
    int y0 = (int)(LSNNI_MIN(ay, by) - reach), y1 = (int)(LSNNI_MAX(ay, by) + reach);
    for (int y = LSNNI_MAX(y0, 0); y <= LSNNI_MIN(y1, 27); y++)
        for (int x = LSNNI_MAX(x0, 0); x <= LSNNI_MIN(x1, 27); x++) {
            double px = x + 0.5 - ax, py = y + 0.5 - ay;
            double t = (px * vx + py * vy) * inverse, d2, v;
            t = t < 0 ? 0 : t > 1 ? 1 : t;
            px -= t * vx;
            py -= t * vy;
            d2 = px * px + py * py;
            if (d2 >= reach * reach) continue;
            v = (reach - sqrt(d2)) / (2 * soft);
            v = v > 1 ? 1 : v;
            if (v > ink[y][x]) ink[y][x] = (float)v;
        }
}

/* Shifts by whole pixels so that the centre of mass comes nearest to the centre of pixel
   (14, 14).                                                                  */
static void lsnni_ink_centre(unsigned char *pixels, float ink[28][28])
{
    double sum = 0, sx = 0, sy = 0;
    int dx, dy;
    for (int y = 0; y < 28; y++)
        for (int x = 0; x < 28; x++) {
            double v = (double)ink[y][x];
            sum += v;
            sx += v * (x + 0.5);
            sy += v * (y + 0.5);
        }
    dx = (int)floor(15 - sx / sum);
    dy = (int)floor(15 - sy / sum);
    memset(pixels, 0, 28 * 28);
    for (int y = LSNNI_MAX(0, -dy); y < LSNNI_MIN(28, 28 - dy); y++)
        for (int x = LSNNI_MAX(0, -dx); x < LSNNI_MIN(28, 28 - dx); x++)
            pixels[(y + dy) * 28 + x + dx] = (unsigned char)(ink[y][x] * 255 + 0.5f);
}

LSNN_API void lsnn_digit_draw(lsnn_rng *r, int digit, unsigned char *pixels)
{
    lsnni_path knots, p;
    float ink[28][28];
    const char *style = lsnni_style_draw(r, digit < 0 || digit > 9 ? 0 : digit);
    double radius = 1.25 * exp(0.30 * lsnn_rng_normal(r));
    double soft = 0.4 + 0.35 * lsnn_rng_uniform(r);
    radius = LSNNI_MIN(LSNNI_MAX(radius, 0.6), 2.8);
    lsnni_path_knots(&knots, r, style, 0.035);
    lsnni_path_smooth(&p, &knots);
    lsnni_path_bend(&p, r);
    lsnni_path_fit(&p, radius + soft - 0.5);
    memset(ink, 0, sizeof ink);
    for (int i = 0; i + 1 < p.count; i++)
        if (!p.lift[i])
            lsnni_ink_line(ink, p.x[i], p.y[i], p.x[i + 1], p.y[i + 1], radius, soft);
    lsnni_ink_centre(pixels, ink);
}

/* ---- >>scenes: how the tasks' samples are drawn ---------------------------------
   A sample's every draw comes from the generator at (seed, train or test, task,
   epoch, sample), so it can be drawn alone, on any thread, in any order. A scene
   is a black canvas: its task lays out digits and signs, which never overlap;
   then clutter is added, clipped at 255; then the canvas is reduced to the
   picture. A new task is a name in lsnn_task, a line of the table within the limits
   below, and a layout if it has its own.                                     */
enum { LSNNI_DIGIT = 28, LSNNI_DIGIT_SIZE = 28 * 28, LSNNI_TASK_SIDE = 100,
       LSNNI_TASK_DIGITS = 4, LSNNI_TASK_CROPS = 32, LSNNI_TAPS = 4,
       LSNNI_PITCH = 112 };          /* from canvas row to canvas row: whole vectors */

typedef struct lsnni_scene lsnni_scene;

typedef struct lsnni_task {
    const char *name;
    int side, out;                   /* pixels a side: canvas, picture        */
    int heads, digits;               /* labels; digits laid, the labelled first */
    int crops, crop_side;            /* clutter                               */
    void (*lay)(lsnni_scene *s);     /* NULL: one built-in digit              */
} lsnni_task;

struct lsnni_scene {
    const lsnni_task *task;
    lsnn_rng rng;
    int x[LSNNI_TASK_DIGITS], y[LSNNI_TASK_DIGITS];      /* upper left corners */
    unsigned char canvas[(LSNNI_TASK_SIDE + LSNNI_TAPS) * LSNNI_PITCH];
};

/* Paints a white h x w box.                                                  */
static void lsnni_scene_box(lsnni_scene *s, int x, int y, int w, int h)
{
    for (int i = 0; i < h; i++)
        memset(s->canvas + (y + i) * LSNNI_PITCH + x, 255, (size_t)w);
}

/* LSNN 5.1: one digit at a uniform place.                                    */
static void lsnni_lay_anywhere(lsnni_scene *s)
{
    int places = s->task->side - LSNNI_DIGIT + 1;
    s->y[0] = lsnn_rng_int(&s->rng, places);
    s->x[0] = lsnn_rng_int(&s->rng, places);
}

/* LSNN 5.2: digits in two of the four corners. 84 = 3 * 28 leaves the middle cell
   to the arrow, whose 20x20 box lies anywhere in it. Drawn for the upper left
   corner, pixel (i, j) of the box is on the shaft, the diagonal, or on one of the
   head's two bars, along the top and the left; the other kinds are mirrored.  */
static void lsnni_lay_arrow(lsnni_scene *s)
{
    const int far_side = 2 * LSNNI_DIGIT, size = 20, bar = 11, thick = 3;
    int corner = lsnn_rng_int(&s->rng, 4), right = corner % 2, below = corner / 2;
    int other = (corner + 1 + lsnn_rng_int(&s->rng, 3)) % 4;
    int y = LSNNI_DIGIT + lsnn_rng_int(&s->rng, LSNNI_DIGIT - size + 1);
    int x = LSNNI_DIGIT + lsnn_rng_int(&s->rng, LSNNI_DIGIT - size + 1);
    s->x[0] = right * far_side;
    s->y[0] = below * far_side;
    s->x[1] = other % 2 * far_side;
    s->y[1] = other / 2 * far_side;
    for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++) {
            int shaft = i - j <= thick / 2 && j - i <= thick / 2;
            int head = (i < thick && j < bar) || (j < thick && i < bar);
            if (shaft || head)
                lsnni_scene_box(s, x + (right ? size - 1 - j : j),
                                y + (below ? size - 1 - i : i), 1, 1);
        }
}

/* LSNN 5.2: two digits, uniform over the pairs of places where the second overlaps neither
   the first nor its frame of 2 pixels.                                       */
static void lsnni_lay_rectangle(lsnni_scene *s)
{
    const int frame = 2, outer = LSNNI_DIGIT + 2 * frame, apart = LSNNI_DIGIT + frame;
    int places = s->task->side - outer + 1;
    do {
        for (int k = 0; k < 2; k++) {
            s->y[k] = frame + lsnn_rng_int(&s->rng, places);
            s->x[k] = frame + lsnn_rng_int(&s->rng, places);
        }
    } while (abs(s->x[0] - s->x[1]) < apart && abs(s->y[0] - s->y[1]) < apart);
    for (int k = 0; k < 2; k++) {
        int x = s->x[0] - frame, y = s->y[0] - frame, far_side = k * apart;
        lsnni_scene_box(s, x, y + far_side, outer, frame);
        lsnni_scene_box(s, x + far_side, y, frame, outer);
    }
}

/* LSNN 5.3: three digits, each a digit's width to the right of the last and as much
   lower as a whole number of pixels in [-28, 28] says, so that they lie on a line of
   -45 to 45 degrees; then a uniform place of the first, of those that keep all
   three on the canvas.                                                       */
static void lsnni_lay_sequence(lsnni_scene *s)
{
    int room = s->task->side - LSNNI_DIGIT;
    int fall = lsnn_rng_int(&s->rng, 2 * LSNNI_DIGIT + 1) - LSNNI_DIGIT;
    s->y[0] = (fall < 0 ? -2 * fall : 0) + lsnn_rng_int(&s->rng, room - 2 * abs(fall) + 1);
    s->x[0] = lsnn_rng_int(&s->rng, room - 2 * LSNNI_DIGIT + 1);
    for (int k = 1; k < 3; k++) {
        s->x[k] = s->x[k - 1] + LSNNI_DIGIT;
        s->y[k] = s->y[k - 1] + fall;
    }
}

/* TKN 4.1, tlMNIST: the labelled digit in the top left quadrant, others in the other three. */
static void lsnni_lay_quadrants(lsnni_scene *s)
{
    for (int k = 0; k < 4; k++) {
        s->x[k] = k % 2 * LSNNI_DIGIT;
        s->y[k] = k / 2 * LSNNI_DIGIT;
    }
}

static const lsnni_task lsnni_tasks[LSNN_TASK_COUNT_ + 1] = {
    /* name         side  out heads digits crops */
    { "digits",       28, 28, 1, 1,  0, 0, NULL },
    { "cluttered",    84, 42, 1, 1, 32, 6, lsnni_lay_anywhere },
    { "arrow",        84, 42, 1, 2,  0, 0, lsnni_lay_arrow },
    { "rectangle",    84, 42, 1, 2,  0, 0, lsnni_lay_rectangle },
    { "sequence",    100, 42, 3, 3,  8, 6, lsnni_lay_sequence },
    { "tlmnist",      56, 56, 1, 4,  0, 0, lsnni_lay_quadrants },
    { "unknown task",  0,  0, 0, 0,  0, 0, NULL },
};

static const lsnni_task *lsnni_task_of(lsnn_task t)
{
    return &lsnni_tasks[(int)t >= 0 && t < LSNN_TASK_COUNT_ ? t : LSNN_TASK_COUNT_];
}

/* Samples of a recipe.                                                       */
static int lsnni_recipe_count(const lsnn_recipe *r)
{
    return r->count ? r->count : r->images->dim[0] - r->first;
}

/* Classes of a recipe's labels.                                              */
static int lsnni_recipe_classes(const lsnn_recipe *r)
{
    int most = 10;                   /* also where a few digits have no 9     */
    if (r->classes || !lsnni_task_of(r->task)->lay) return r->classes ? r->classes : most;
    for (int i = 0; i < r->labels->dim[0]; i++) most = LSNNI_MAX(most, r->labels->v[i] + 1);
    return most;
}

/* The generator of one sample. A fixed set is a fresh one's epoch 0.         */
static lsnn_rng lsnni_recipe_rng(const lsnn_recipe *r, const char *name, uint32_t epoch,
                                 int sample)
{
    return lsnn_rng_at(r->seed, r->test ? "recipe test" : "recipe train", name,
                       r->fresh ? epoch : 0, (uint32_t)sample);
}

/* Samples 0 to 9, 10 to 19, ... hold each digit once, in a drawn order.      */
static void lsnni_draw_digit(const lsnn_recipe *r, lsnn_rng *rng, unsigned char *pixels,
                             unsigned char *labels)
{
    int order[10], sample = (int)rng->sample;
    lsnn_rng decade = lsnni_recipe_rng(r, "digit order", rng->step, sample / 10);
    lsnn_rng_permutation(&decade, order, 10);
    labels[0] = (unsigned char)order[sample % 10];
    lsnn_digit_draw(rng, labels[0], pixels);
}

/* Lays digit number k: the sample's own image first, then any of the recipe's. */
static int lsnni_scene_digit(lsnni_scene *s, const lsnn_recipe *r, int k)
{
    int image = (int)s->rng.sample;
    if (k > 0) image = r->first + lsnn_rng_int(&s->rng, lsnni_recipe_count(r));
    for (int i = 0; i < LSNNI_DIGIT; i++)
        memcpy(s->canvas + (s->y[k] + i) * LSNNI_PITCH + s->x[k],
               r->images->v + (size_t)image * LSNNI_DIGIT_SIZE + i * LSNNI_DIGIT, LSNNI_DIGIT);
    return image;
}

/* Adds squares cut from random crop images at uniform places; their sum does not depend
   on the order. The images are spread over more memory than any cache holds, so all
   squares are chosen, and their lines asked for, before the first is waited for. */
static void lsnni_scene_clutter(lsnni_scene *s, const lsnn_idx *crops)
{
    int side = s->task->side, size = s->task->crop_side;
    const unsigned char *from[LSNNI_TASK_CROPS];
    unsigned char *to[LSNNI_TASK_CROPS];
    for (int k = 0; k < s->task->crops; k++) {
        from[k] = crops->v + (size_t)lsnn_rng_int(&s->rng, crops->dim[0]) * LSNNI_DIGIT_SIZE;
        from[k] += lsnn_rng_int(&s->rng, LSNNI_DIGIT - size + 1) * LSNNI_DIGIT;
        from[k] += lsnn_rng_int(&s->rng, LSNNI_DIGIT - size + 1);
        for (int i = 0; i < size; i += 2) LSNNI_FETCH_TO_READ(from[k] + i * LSNNI_DIGIT);
        to[k] = s->canvas + lsnn_rng_int(&s->rng, side - size + 1) * LSNNI_PITCH;
        to[k] += lsnn_rng_int(&s->rng, side - size + 1);
    }
    for (int k = 0; k < s->task->crops; k++)
        for (int i = 0; i < size; i++)
            for (int j = 0; j < size; j++) {
                int sum = to[k][i * LSNNI_PITCH + j] + from[k][i * LSNNI_DIGIT + j];
                to[k][i * LSNNI_PITCH + j] = (unsigned char)LSNNI_MIN(sum, 255);
            }
}

/* Each pixel of the picture is the mean, rounded to the nearest, over the part of the
   canvas that it covers. Along an axis on which a canvas pixel is `out` long, one of
   the picture is `side` long, so all overlaps are whole numbers: 42 and 42 for
   84 -> 42, up to four that add up to 100 for 100 -> 42.                      */
typedef struct lsnni_taps { int at; uint16_t overlap[LSNNI_TAPS]; } lsnni_taps;

static void lsnni_taps_set(lsnni_taps *taps, int out, int side)
{
    for (int u = 0; u < out; u++) {
        int begin = u * side, end = begin + side;
        taps[u].at = begin / out;
        for (int k = 0, x = taps[u].at * out; k < LSNNI_TAPS; k++, x += out) {
            int overlap = LSNNI_MIN(x + out, end) - LSNNI_MAX(x, begin);
            taps[u].overlap[k] = (uint16_t)LSNNI_MAX(overlap, 0);
        }
    }
}

static void lsnni_scene_shrink(const lsnni_scene *s, unsigned char *pixels)
{
    lsnni_taps taps[LSNNI_TASK_SIDE];
    uint16_t row[LSNNI_PITCH];       /* at most 255 * side                    */
    int out = s->task->out;
    uint64_t area = (uint64_t)(s->task->side * s->task->side), half = area / 2;
    uint64_t inverse = ((uint64_t)1 << 40) / area + 1;   /* exact below 2^40 / area */
    lsnni_taps_set(taps, out, s->task->side);
    for (int v = 0; v < out; v++) {
        const unsigned char *c = s->canvas + taps[v].at * LSNNI_PITCH;
        const uint16_t *w = taps[v].overlap;
        for (int x = 0; x < LSNNI_PITCH; x++)
            row[x] = (uint16_t)(w[0] * c[x] + w[1] * c[x + LSNNI_PITCH] +
                                w[2] * c[x + 2 * LSNNI_PITCH] + w[3] * c[x + 3 * LSNNI_PITCH]);
        for (int u = 0; u < out; u++) {
            const uint16_t *r = row + taps[u].at, *o = taps[u].overlap;
            uint32_t sum = (uint32_t)r[0] * o[0] + (uint32_t)r[1] * o[1] +
                           (uint32_t)r[2] * o[2] + (uint32_t)r[3] * o[3];
            *pixels++ = (unsigned char)((sum + half) * inverse >> 40);
        }
    }
}

/* ---- >>recipes ------------------------------------------------------------------*/
LSNN_API const char *lsnn_task_name(lsnn_task t) { return lsnni_task_of(t)->name; }
LSNN_API lsnn_shape lsnn_task_shape(lsnn_task t)
{
    const lsnni_task *task = lsnni_task_of(t);
    lsnn_shape shape = { task->out > 0, 0, 0 };
    shape.h = shape.w = task->out;
    return shape;
}
LSNN_API int lsnn_task_heads(lsnn_task t) { return lsnni_task_of(t)->heads; }
LSNN_API int lsnn_task_digits(lsnn_task t) { return lsnni_task_of(t)->digits; }

LSNN_API lsnn_task lsnn_task_from_name(const char *name)
{
    int t = 0;
    while (t < LSNN_TASK_COUNT_ && strcmp(lsnni_tasks[t].name, name) != 0) t++;
    return (lsnn_task)t;
}

/* A set of 28x28 images.                                                     */
static lsnn_status lsnni_recipe_images(lsnn_ctx *cx, const char *task, const char *what,
                                       const lsnn_idx *a)
{
    if (!a || !a->v)
        return lsnni_fail(cx, LSNN_EVALUE, "recipe %s: needs %s", task, what);
    if (a->rank != 3 || a->dim[0] < 1 || a->dim[1] != LSNNI_DIGIT || a->dim[2] != LSNNI_DIGIT)
        return lsnni_fail(cx, LSNN_ESHAPE, "recipe %s: %s of rank %d (%d x %d x %d): must be "
                          "N x 28 x 28", task, what, a->rank, a->dim[0], a->dim[1], a->dim[2]);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_recipe_check(lsnn_ctx *cx, const lsnn_recipe *r)
{
    const lsnni_task *task = lsnni_task_of(r->task);
    if (!task->heads)
        return lsnni_fail(cx, LSNN_EVALUE, "recipe: task %d is not in 0..%d", (int)r->task,
                          (int)LSNN_TASK_COUNT_ - 1);
    if (r->count < 0 || r->first < 0 || r->first > INT_MAX - r->count ||
        (r->count == 0 && !task->lay))
        return lsnni_fail(cx, LSNN_EVALUE, "recipe %s: %d samples from number %d on: set count",
                          task->name, r->count, r->first);
    if (r->classes < 0 || r->classes > 256 || (!task->lay && r->classes && r->classes < 10))
        return lsnni_fail(cx, LSNN_EVALUE, "recipe %s: classes %d: labels are bytes, digits' 0 "
                          "to 9", task->name, r->classes);
    if (!task->lay) return LSNN_OK;
    LSNNI_TRY(lsnni_recipe_images(cx, task->name, "images", r->images));
    if (task->crops) LSNNI_TRY(lsnni_recipe_images(cx, task->name, "crops", r->crops));
    if (!r->labels || r->labels->rank != 1)
        return lsnni_fail(cx, LSNN_ESHAPE, "recipe %s: needs labels of rank 1", task->name);
    LSNNI_TRY(lsnni_idx_labels(cx, "recipe", r->labels, r->images->dim[0],
                               r->classes ? r->classes : 256));
    if (r->first >= r->images->dim[0] || r->count > r->images->dim[0] - r->first)
        return lsnni_fail(cx, LSNN_EVALUE, "recipe %s: %d samples from number %d on, of %d "
                          "digits: each is used once", task->name, r->count, r->first,
                          r->images->dim[0]);
    return LSNN_OK;
}

LSNN_API void lsnn_recipe_draw(const lsnn_recipe *r, uint32_t epoch, int index,
                               unsigned char *pixels, unsigned char *labels, lsnn_place *place)
{
    const lsnni_task *task = &lsnni_tasks[r->task];
    int side = task->side, out = task->out;
    lsnni_scene s;
    s.task = task;
    s.rng = lsnni_recipe_rng(r, task->name, epoch, r->first + index);
    s.x[0] = s.y[0] = 0;
    if (!task->lay) {
        lsnni_draw_digit(r, &s.rng, pixels, labels);
    } else {
        memset(s.canvas, 0, sizeof s.canvas);
        task->lay(&s);
        for (int k = 0; k < task->digits; k++) {
            int image = lsnni_scene_digit(&s, r, k);
            if (k < task->heads) labels[k] = r->labels->v[image];
        }
        lsnni_scene_clutter(&s, r->crops);
        lsnni_scene_shrink(&s, pixels);
    }
    for (int k = 0; place && k < task->digits; k++) {
        place[k].x = s.x[k] * out / side;
        place[k].y = s.y[k] * out / side;
        place[k].w = ((s.x[k] + LSNNI_DIGIT) * out + side - 1) / side - place[k].x;
        place[k].h = ((s.y[k] + LSNNI_DIGIT) * out + side - 1) / side - place[k].y;
    }
}

static void lsnni_fetch_recipe(const void *user, uint32_t epoch, int index, lsnn_real *x,
                               int *labels, lsnn_real *targets)
{
    const lsnn_recipe *r = (const lsnn_recipe *)user;
    const lsnni_task *task = &lsnni_tasks[r->task];
    unsigned char pixels[LSNNI_TASK_SIDE * LSNNI_TASK_SIDE], bytes[LSNN_MAX_HEADS];
    (void)targets;
    lsnn_recipe_draw(r, epoch, index, pixels, bytes, NULL);
    lsnni_pixels(x, pixels, (size_t)(task->out * task->out));
    for (int i = 0; labels && i < task->heads; i++) labels[i] = bytes[i];
}

LSNN_API lsnn_status lsnn_data_recipe(lsnn_ctx *cx, lsnn_data *d, const lsnn_recipe *r)
{
    memset(d, 0, sizeof *d);
    LSNNI_TRY(lsnn_recipe_check(cx, r));
    d->count = lsnni_recipe_count(r);
    d->shape = lsnn_task_shape(r->task);
    d->heads = lsnn_task_heads(r->task);
    d->classes = lsnni_recipe_classes(r);
    d->fetch = lsnni_fetch_recipe;
    d->user = r;
    return LSNN_OK;
}

/* ---- >>sets: other people's data sets ---------------------------------------------
   A reader makes a set of its file's samples, and adds it to the caller's when all of them
   are there: after a failure that is as it was.                              */
LSNN_API void lsnn_set_free(lsnn_ctx *cx, lsnn_set *s)
{
    lsnn_idx_free(cx, &s->images);
    lsnn_idx_free(cx, &s->labels);
    lsnni_free(cx, s->group);
    memset(s, 0, sizeof *s);
}

LSNN_API lsnn_status lsnn_data_set(lsnn_ctx *cx, lsnn_data *d, const lsnn_set *s)
{
    return lsnn_data_idx(cx, d, &s->images, &s->labels, s->classes);
}

/* An empty set with room for `count` samples; groups: it has some.           */
static lsnn_status lsnni_set_new(lsnn_ctx *cx, lsnn_set *s, const char *who, double count,
                                 lsnn_shape shape, int classes, int groups)
{
    size_t size = (size_t)lsnni_features(shape);
    memset(s, 0, sizeof *s);
    if (!(count >= 1 && count <= INT_MAX))
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: has %.0f samples", who, count);
    s->images.rank = 4;
    s->images.dim[0] = s->labels.dim[0] = (int)count;
    s->images.dim[1] = shape.c;
    s->images.dim[2] = shape.h;
    s->images.dim[3] = shape.w;
    s->labels.rank = 1;
    s->classes = classes;
    s->images.v = (unsigned char *)lsnni_alloc(cx, (size_t)count, size);
    s->labels.v = (unsigned char *)lsnni_alloc(cx, (size_t)count, 1);
    if (groups) s->group = (int *)lsnni_alloc(cx, (size_t)count, sizeof(int));
    if (s->images.v && s->labels.v && (s->group || !groups)) return LSNN_OK;
    lsnn_set_free(cx, s);
    return LSNN_ENOMEM;
}

/* One set's groups; what is in none (negative) gets a number of its own.     */
static void lsnni_set_groups(int *to, const lsnn_set *s, int first)
{
    for (int i = 0; i < s->labels.dim[0]; i++)
        to[i] = s->group && s->group[i] >= 0 ? s->group[i] : -1 - (first + i);
}

static lsnn_status lsnni_set_join(lsnn_ctx *cx, lsnn_set *s, const lsnn_set *more,
                                  const char *who)
{
    lsnn_set all;
    lsnn_shape shape = { 0, 0, 0 };
    size_t have = (size_t)s->labels.dim[0], size;
    shape.c = more->images.dim[1];
    shape.h = more->images.dim[2];
    shape.w = more->images.dim[3];
    size = (size_t)lsnni_features(shape);
    if (s->images.rank != 4 || s->images.dim[1] != shape.c || s->images.dim[2] != shape.h ||
        s->images.dim[3] != shape.w || s->classes != more->classes || s->labels.rank != 1 ||
        s->images.dim[0] != s->labels.dim[0])
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: images of %d x %d x %d in %d classes; the set has "
                          "others: begin with one that is all zero", who, shape.c, shape.h,
                          shape.w, more->classes);
    LSNNI_TRY(lsnni_set_new(cx, &all, who, (double)s->labels.dim[0] + more->labels.dim[0], shape,
                            s->classes, s->group || more->group));
    memcpy(all.images.v, s->images.v, have * size);
    memcpy(all.images.v + have * size, more->images.v, (size_t)more->labels.dim[0] * size);
    memcpy(all.labels.v, s->labels.v, have);
    memcpy(all.labels.v + have, more->labels.v, (size_t)more->labels.dim[0]);
    if (all.group) {
        lsnni_set_groups(all.group, s, 0);
        lsnni_set_groups(all.group + have, more, (int)have);
    }
    lsnn_set_free(cx, s);
    *s = all;
    return LSNN_OK;
}

/* Ends a reader: s gets more's samples if it went well so far; more is freed. */
static lsnn_status lsnni_set_add(lsnn_ctx *cx, lsnn_set *s, lsnn_set *more, const char *who,
                                 lsnn_status so_far)
{
    if (so_far == LSNN_OK && !s->images.v) {
        *s = *more;
        return LSNN_OK;
    }
    if (so_far == LSNN_OK) so_far = lsnni_set_join(cx, s, more, who);
    lsnn_set_free(cx, more);
    return so_far;
}

/* ---- CIFAR: records of one label byte (CIFAR-100: a coarse, then a fine one) and 32 x 32
   bytes of red, of green, of blue                                            */
enum { LSNNI_CIFAR_SIDE = 32, LSNNI_CIFAR_SIZE = 3 * 32 * 32, LSNNI_COARSE = 20, LSNNI_FINE = 100 };

static lsnn_status lsnni_cifar_records(lsnn_ctx *cx, lsnn_set *s, const lsnni_content *file,
                                       int classes)
{
    static const lsnn_shape shape = { 3, LSNNI_CIFAR_SIDE, LSNNI_CIFAR_SIDE };
    int marks = classes == LSNNI_COARSE || classes == LSNNI_FINE ? 2 : 1;
    size_t record = (size_t)marks + LSNNI_CIFAR_SIZE;
    memset(s, 0, sizeof *s);
    if (!file->count || file->count % record)
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: has %.0f bytes, not a multiple of %.0f: records "
                          "are %d label and 3072 pixel bytes", file->shown, (double)file->count,
                          (double)record, marks);
    LSNNI_TRY(lsnni_set_new(cx, s, file->shown, (double)(file->count / record), shape, classes,
                            0));
    for (int i = 0; i < s->labels.dim[0]; i++) {
        const unsigned char *v = file->v + (size_t)i * record;
        int coarse = v[0], label = v[classes == LSNNI_FINE];
        if (label >= classes || (marks == 2 && (coarse >= LSNNI_COARSE || v[1] >= LSNNI_FINE)))
            return lsnni_fail(cx, LSNN_EVALUE, "%s: record %d has label %d, which is not in "
                              "[0, %d)%s", file->shown, i, label, classes,
                              marks == 2 ? ", or the other of its two is not in range" : "");
        s->labels.v[i] = (unsigned char)label;
        memcpy(s->images.v + (size_t)i * LSNNI_CIFAR_SIZE, v + marks, LSNNI_CIFAR_SIZE);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_cifar_read(lsnn_ctx *cx, lsnn_set *s, const char *path, int classes)
{
    lsnni_content file;
    lsnn_set one;
    lsnn_status status;
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_cifar_read", path));
    if (classes < 1 || classes > 256)
        return lsnni_fail(cx, LSNN_EVALUE, "lsnn_cifar_read: %d classes: give 1..256", classes);
    LSNNI_TRY(lsnni_content_read(cx, &file, path));
    status = lsnni_cifar_records(cx, &one, &file, classes);
    lsnni_free(cx, file.v);
    return lsnni_set_add(cx, s, &one, file.shown, status);
}

/* ---- tables: lines of fields with ; between them, the first line names the columns --------*/
enum { LSNNI_TABLE_COLUMNS = 16 };
typedef struct lsnni_table {
    char *at;                        /* what has not been read; lines are cut up in place */
    const char *shown;
    int line, columns;               /* the one at hand; how many it has       */
    char *field[LSNNI_TABLE_COLUMNS];
} lsnni_table;

/* Lines of a text that are not empty.                                        */
static int lsnni_table_lines(const char *text)
{
    int lines = 0, any = 0;
    for (; *text; text++) {
        if (*text == '\n') any = 0;
        else if (!any && !lsnni_is_space((unsigned char)*text)) lines += any = 1;
    }
    return lines;
}

/* Begins a table, and counts its lines.                                      */
static lsnn_status lsnni_table_begin(lsnn_ctx *cx, lsnni_table *t, lsnni_content *file, int *lines)
{
    t->at = (char *)file->v;
    t->shown = file->shown;
    *lines = lsnni_table_lines(t->at);
    if (!memchr(file->v, 0, file->count)) return LSNN_OK;
    return lsnni_fail(cx, LSNN_EFORMAT, "%s: is no text: it has a byte of 0", file->shown);
}

/* Takes the next line that is not empty; 0: there is none.                   */
static int lsnni_table_next(lsnni_table *t)
{
    while (*t->at) {
        char *line = t->at, *end = line + strcspn(line, "\n");
        t->at = *end ? end + 1 : end;
        t->line++;
        while (end > line && lsnni_is_space((unsigned char)end[-1])) end--;
        *end = 0;
        if (end == line) continue;
        t->columns = 0;
        for (;;) {
            char *stop = line + strcspn(line, ";");
            int more = *stop != 0;
            *stop = 0;
            if (t->columns < LSNNI_TABLE_COLUMNS) t->field[t->columns] = line;
            t->columns++;
            if (!more) return 1;
            line = stop + 1;
        }
    }
    return 0;
}

/* A field as a whole number in [low, high].                                  */
static lsnn_status lsnni_table_int(lsnn_ctx *cx, const lsnni_table *t, int column,
                                   const char *name, int low, int high, int *value)
{
    const char *text = t->field[column];
    size_t digits = strspn(text, "0123456789");
    *value = -1;
    if (digits > 0 && digits < 10 && !text[digits]) *value = atoi(text);
    if (*value >= low && *value <= high) return LSNN_OK;
    return lsnni_fail(cx, LSNN_EFORMAT, "%s: line %d: %s is '%.40s', not a whole number in "
                      "%d..%d", t->shown, t->line, name, text, low, high);
}

/* ---- resizing: bilinear, to the bit as OpenCV's INTER_LINEAR --------------------------
   Pixel i of `out` has its centre at (i + 1/2) in / out - 1/2 of the source, between two of
   its pixels; outside of it the border goes on. Nothing is averaged where it shrinks, as
   nothing was when GTSRB's packed records were made: so both give the same bytes. Weights
   are 11 bits, the sum of both directions is rounded once.                   */
typedef struct lsnni_between { int a, b, wa, wb; } lsnni_between;

static int lsnni_round_even(float v)                     /* of v >= 0               */
{
    int n = (int)v;
    float rest = v - (float)n;
    return n + (rest > 0.5f || (rest >= 0.5f && n % 2));
}

static lsnni_between lsnni_between_at(int i, int in, int out)
{
    lsnni_between p;
    float at = (float)((i + 0.5) * ((double)in / out) - 0.5), part = floorf(at);
    int first = (int)part;
    part = at - part;
    p.a = LSNNI_MAX(0, LSNNI_MIN(first, in - 1));
    p.b = LSNNI_MAX(0, LSNNI_MIN(first + 1, in - 1));
    p.wa = lsnni_round_even((1 - part) * 2048);
    p.wb = lsnni_round_even(part * 2048);
    return p;
}

/* The w x h pixels of im from (x, y) on, as three planes of side x side bytes.  */
static void lsnni_image_resize(const lsnn_image *im, int x, int y, int w, int h, int side,
                               unsigned char *planes)
{
    for (int i = 0; i < side; i++)
        for (int j = 0; j < side; j++) {
            lsnni_between r = lsnni_between_at(i, h, side), c = lsnni_between_at(j, w, side);
            const unsigned char *top = im->rgb + 3 * (lsnni_area(y + r.a, im->w) + (size_t)x);
            const unsigned char *low = im->rgb + 3 * (lsnni_area(y + r.b, im->w) + (size_t)x);
            for (int k = 0; k < 3; k++) {
                int t = top[3 * c.a + k] * c.wa + top[3 * c.b + k] * c.wb;
                int l = low[3 * c.a + k] * c.wa + low[3 * c.b + k] * c.wb;
                int v = (r.wa * (t >> 4) >> 16) + (r.wb * (l >> 4) >> 16);
                planes[(k * side + i) * side + j] = (unsigned char)((v + 2) >> 2);
            }
        }
}

/* A path's last part.                                                        */
static const char *lsnni_file_name(const char *path)
{
    const char *name = path;
    for (; *path; path++) {
        int slash = *path == '/';
#ifdef _WIN32
        slash |= *path == '\\' || *path == ':';
#endif
        if (slash) name = path + 1;
    }
    return name;
}

/* ---- GTSRB: a table of pictures that lie beside it ----------------------------------*/
enum { LSNNI_SIGN_CLASSES = 43, LSNNI_SIGN_TRACK = 100000,     /* group: class, track */
       LSNNI_SIGN_SIDE = 1024 };
enum { LSNNI_SIGN_FILE, LSNNI_SIGN_W, LSNNI_SIGN_H, LSNNI_SIGN_X1, LSNNI_SIGN_Y1, LSNNI_SIGN_X2,
       LSNNI_SIGN_Y2, LSNNI_SIGN_CLASS, LSNNI_SIGN_COLUMNS };
static const char *const lsnni_sign_columns[LSNNI_SIGN_COLUMNS] = {
    "Filename", "Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId"
};
typedef struct lsnni_signs {
    lsnni_table table;
    int column[LSNNI_SIGN_COLUMNS];  /* where each of them stands             */
    int side, box;
    char *path;                      /* the table's, its name to be replaced: `room` bytes */
    size_t folder, room;             /* from path[folder] on                  */
} lsnni_signs;

static lsnn_status lsnni_signs_head(lsnn_ctx *cx, lsnni_signs *g)
{
    lsnni_table *t = &g->table;
    int any = lsnni_table_next(t);
    for (int k = 0; k < LSNNI_SIGN_COLUMNS; k++) {
        int i = 0, columns = any ? LSNNI_MIN(t->columns, (int)LSNNI_TABLE_COLUMNS) : 0;
        while (i < columns && strcmp(t->field[i], lsnni_sign_columns[k]) != 0) i++;
        if (i == columns)
            return lsnni_fail(cx, LSNN_EFORMAT, "%s: its first line names no column %s%s",
                              t->shown, lsnni_sign_columns[k], k == LSNNI_SIGN_CLASS ?
                              ": the test set's classes are in GT-final_test.csv, which is a file "
                              "of its own" : ": they are Filename;Width;Height;Roi.X1;...;ClassId");
        g->column[k] = i;
    }
    return LSNN_OK;
}

/* The next line's numbers; the file's name stays in the table.               */
static lsnn_status lsnni_signs_line(lsnn_ctx *cx, const lsnni_signs *g,
                                    int v[LSNNI_SIGN_COLUMNS])
{
    const lsnni_table *t = &g->table;
    for (int k = 0; k < LSNNI_SIGN_COLUMNS; k++)
        if (g->column[k] >= t->columns)
            return lsnni_fail(cx, LSNN_EFORMAT, "%s: line %d has %d columns, and no %s", t->shown,
                              t->line, t->columns, lsnni_sign_columns[k]);
    for (int k = LSNNI_SIGN_W; k < LSNNI_SIGN_COLUMNS; k++) {
        int low = k == LSNNI_SIGN_W || k == LSNNI_SIGN_H;
        int high = k == LSNNI_SIGN_CLASS ? LSNNI_SIGN_CLASSES - 1 : 1 << 20;
        LSNNI_TRY(lsnni_table_int(cx, t, g->column[k], lsnni_sign_columns[k], low, high, &v[k]));
    }
    if (v[LSNNI_SIGN_X1] < v[LSNNI_SIGN_X2] && v[LSNNI_SIGN_X2] <= v[LSNNI_SIGN_W] &&
        v[LSNNI_SIGN_Y1] < v[LSNNI_SIGN_Y2] && v[LSNNI_SIGN_Y2] <= v[LSNNI_SIGN_H]) return LSNN_OK;
    return lsnni_fail(cx, LSNN_EVALUE, "%s: line %d: the box from (%d, %d) to (%d, %d) is not a "
                      "part of the picture, %d x %d", t->shown, t->line, v[LSNNI_SIGN_X1],
                      v[LSNNI_SIGN_Y1], v[LSNNI_SIGN_X2], v[LSNNI_SIGN_Y2], v[LSNNI_SIGN_W],
                      v[LSNNI_SIGN_H]);
}

/* One line's picture, as three planes.                                       */
static lsnn_status lsnni_sign(lsnn_ctx *cx, lsnni_signs *g, const int v[LSNNI_SIGN_COLUMNS],
                              unsigned char *planes)
{
    const lsnni_table *t = &g->table;
    const char *name = t->field[g->column[LSNNI_SIGN_FILE]];
    int x = g->box ? v[LSNNI_SIGN_X1] : 0, y = g->box ? v[LSNNI_SIGN_Y1] : 0;
    int w = g->box ? v[LSNNI_SIGN_X2] - x : v[LSNNI_SIGN_W];
    int h = g->box ? v[LSNNI_SIGN_Y2] - y : v[LSNNI_SIGN_H];
    lsnn_image im;
    lsnn_status s = LSNN_OK;
    if (strlen(name) >= g->room || strpbrk(name, "/\\:"))
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: line %d: Filename is '%.40s', not the name of a "
                          "picture in its folder", t->shown, t->line, name);
    memcpy(g->path + g->folder, name, strlen(name) + 1);
    LSNNI_TRY(lsnni_image_open(cx, &im, g->path));
    if (im.w != v[LSNNI_SIGN_W] || im.h != v[LSNNI_SIGN_H])
        s = lsnni_fail(cx, LSNN_EFORMAT, "%s: is %d x %d pixels, line %d of %s says %d x %d",
                       lsnni_path_end(g->path), im.w, im.h, t->line, t->shown, v[LSNNI_SIGN_W],
                       v[LSNNI_SIGN_H]);
    else lsnni_image_resize(&im, x, y, w, h, g->side, planes);
    lsnni_free(cx, im.rgb);
    return s;
}

/* 00012_00007.ppm is picture 7 of track 12; without such a name each is one of its own. */
static int lsnni_sign_group(const char *name, int label, int i)
{
    size_t digits = strspn(name, "0123456789");
    if (digits != 5 || name[5] != '_') return -1 - i;
    return label * LSNNI_SIGN_TRACK + atoi(name);
}

static lsnn_status lsnni_signs_read(lsnn_ctx *cx, lsnni_signs *g, lsnn_set *one, int lines)
{
    size_t size = 3 * lsnni_area(g->side, g->side);
    lsnn_shape shape;
    shape.c = 3;
    shape.h = shape.w = g->side;
    LSNNI_TRY(lsnni_signs_head(cx, g));
    LSNNI_TRY(lsnni_set_new(cx, one, g->table.shown, (double)lines - 1, shape,
                            LSNNI_SIGN_CLASSES, 1));
    for (int i = 0; i < one->labels.dim[0] && lsnni_table_next(&g->table); i++) {
        int v[LSNNI_SIGN_COLUMNS];
        LSNNI_TRY(lsnni_signs_line(cx, g, v));
        LSNNI_TRY(lsnni_sign(cx, g, v, one->images.v + (size_t)i * size));
        one->labels.v[i] = (unsigned char)v[LSNNI_SIGN_CLASS];
        one->group[i] = lsnni_sign_group(g->table.field[g->column[LSNNI_SIGN_FILE]],
                                         v[LSNNI_SIGN_CLASS], i);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_gtsrb_read(lsnn_ctx *cx, lsnn_set *s, const char *path, int side,
                                     int box)
{
    lsnni_signs g;
    lsnni_content file;
    lsnn_set one;
    lsnn_status status;
    int lines = 0;
    memset(&g, 0, sizeof g);
    memset(&one, 0, sizeof one);
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_gtsrb_read", path));
    if (side < 1 || side > LSNNI_SIGN_SIDE)
        return lsnni_fail(cx, LSNN_EVALUE, "lsnn_gtsrb_read: side %d: give 1..%d", side,
                          (int)LSNNI_SIGN_SIDE);
    LSNNI_TRY(lsnni_content_read(cx, &file, path));
    status = lsnni_table_begin(cx, &g.table, &file, &lines);
    g.side = side;
    g.box = box;
    g.folder = (size_t)(lsnni_file_name(path) - path);
    g.room = 256;
    g.path = (char *)lsnni_alloc(cx, g.folder + g.room, 1);
    if (g.path) memcpy(g.path, path, g.folder);
    if (!g.path) status = LSNN_ENOMEM;
    if (status == LSNN_OK) status = lsnni_signs_read(cx, &g, &one, lines);
    lsnni_free(cx, g.path);
    lsnni_free(cx, file.v);
    return lsnni_set_add(cx, s, &one, file.shown, status);
}
/* ---- >>mat: SVHN's .mat files, as MATLAB 5 to 7 write them -------------------------
   A head of 128 bytes, then elements: type and bytes (4 each), data, padded to 8; or both in
   4 bytes and up to 4 of data. An array (14) is made of elements: flags, sizes, name, numbers,
   the first index running fastest. A packed element (15) is zlib data with one array inside.
   SVHN: X 32 x 32 x 3 x N (row, column, colour, image), y N x 1, 10 for the digit 0. */
enum { LSNNI_MAT_HEAD = 128, LSNNI_MAT_INT8 = 1, LSNNI_MAT_UINT8 = 2, LSNNI_MAT_INT32 = 5,
       LSNNI_MAT_UINT32 = 6, LSNNI_MAT_SINGLE = 7, LSNNI_MAT_DOUBLE = 9, LSNNI_MAT_ARRAY = 14,
       LSNNI_MAT_PACKED = 15, LSNNI_MAT_COMPLEX = 0x0800, LSNNI_MAT_DIMS = 4 };

typedef struct lsnni_mat {           /* what is being read, and where in it    */
    lsnn_ctx *cx;
    const char *who;
    const unsigned char *at, *end;
    int swapped;                     /* 1: the highest byte comes first       */
} lsnni_mat;
typedef struct lsnni_mat_item { int type; size_t bytes; const unsigned char *v; } lsnni_mat_item;
typedef struct lsnni_mat_array {
    char name[64];
    int dims, dim[LSNNI_MAT_DIMS];
    size_t count;
    lsnni_mat_item numbers;
} lsnni_mat_array;

/* A whole number of `bytes` bytes.                                           */
static uint64_t lsnni_mat_bits(const lsnni_mat *m, const unsigned char *v, int bytes)
{
    uint64_t n = 0;
    for (int i = 0; i < bytes; i++) n |= (uint64_t)v[m->swapped ? bytes - 1 - i : i] << 8 * i;
    return n;
}

/* Takes the next element.                                                    */
static lsnn_status lsnni_mat_next(lsnni_mat *m, lsnni_mat_item *e)
{
    size_t left = (size_t)(m->end - m->at), pad;
    uint32_t type = left >= 8 ? (uint32_t)lsnni_mat_bits(m, m->at, 4) : 0;
    int brief = type >> 16 != 0;
    memset(e, 0, sizeof *e);
    if (left >= 8) {
        e->type = (int)(type & 0xFFFF);
        e->bytes = brief ? type >> 16 : (size_t)lsnni_mat_bits(m, m->at + 4, 4);
        e->v = m->at + (brief ? 4 : 8);
    }
    if (left < 8 || (brief && e->bytes > 4) || (!brief && e->bytes > left - 8))
        return lsnni_fail(m->cx, LSNN_EFORMAT, "%s: is cut off within an element", m->who);
    pad = brief ? 4 - e->bytes : e->type == LSNNI_MAT_PACKED ? 0 : (8 - e->bytes % 8) % 8;
    left = (size_t)(m->end - e->v) - e->bytes;
    m->at = e->v + e->bytes + LSNNI_MIN(pad, left);
    return LSNN_OK;
}

static int lsnni_mat_width(int type)                     /* bytes a number; 0: none */
{
    static const int width[16] = { 0, 1, 1, 2, 2, 4, 4, 4, 0, 8, 0, 0, 8, 8, 0, 0 };
    return type >= 0 && type < 16 ? width[type] : 0;
}

/* Number i of an element as a double.                                        */
static double lsnni_mat_number(const lsnni_mat *m, const lsnni_mat_item *e, size_t i)
{
    int width = lsnni_mat_width(e->type);
    uint64_t bits = lsnni_mat_bits(m, e->v + i * (size_t)width, width);
    int is_signed = e->type == 1 || e->type == 3 || e->type == 5 || e->type == 12;
    double wide;
    float narrow;
    if (e->type == LSNNI_MAT_DOUBLE) {
        memcpy(&wide, &bits, sizeof wide);
        return wide;
    }
    if (e->type == LSNNI_MAT_SINGLE) {
        uint32_t low = (uint32_t)bits;
        memcpy(&narrow, &low, sizeof narrow);
        return (double)narrow;
    }
    wide = (double)bits;
    if (is_signed && bits >> (8 * width - 1)) wide -= ldexp(1, 8 * width);
    return wide;
}

/* The sizes of an array and its name.                                        */
static lsnn_status lsnni_mat_shape(lsnni_mat *m, lsnni_mat_array *a)
{
    lsnni_mat_item flags, sizes, name;
    LSNNI_TRY(lsnni_mat_next(m, &flags));
    LSNNI_TRY(lsnni_mat_next(m, &sizes));
    LSNNI_TRY(lsnni_mat_next(m, &name));
    if (flags.type != LSNNI_MAT_UINT32 || flags.bytes != 8 || sizes.type != LSNNI_MAT_INT32 ||
        sizes.bytes % 4 || sizes.bytes < 8 || name.type != LSNNI_MAT_INT8)
        return lsnni_fail(m->cx, LSNN_EFORMAT, "%s: an array must begin with flags, sizes and a "
                          "name", m->who);
    memcpy(a->name, name.v, LSNNI_MIN(name.bytes, sizeof a->name - 1));
    a->dims = (int)LSNNI_MIN(sizes.bytes / 4, (size_t)LSNNI_MAT_DIMS + 1);
    a->count = 1;
    for (int i = 0; i < a->dims && i < LSNNI_MAT_DIMS; i++) {
        double n = lsnni_mat_number(m, &sizes, (size_t)i);
        if (n < 0 || !lsnni_mul(&a->count, (size_t)n))
            return lsnni_fail(m->cx, LSNN_EFORMAT, "%s: %s: size %d is %.0f", m->who, a->name,
                              i + 1, n);
        a->dim[i] = (int)n;
    }
    if (lsnni_mat_bits(m, flags.v, 4) & LSNNI_MAT_COMPLEX)
        return lsnni_fail(m->cx, LSNN_EFORMAT, "%s: %s is complex", m->who, a->name);
    return LSNN_OK;
}

/* An array's numbers: as many as its sizes say.                              */
static lsnn_status lsnni_mat_numbers(lsnni_mat *m, lsnni_mat_array *a)
{
    size_t width;
    LSNNI_TRY(lsnni_mat_next(m, &a->numbers));
    width = (size_t)lsnni_mat_width(a->numbers.type);
    if (!width || a->dims > LSNNI_MAT_DIMS || a->numbers.bytes % width ||
        a->numbers.bytes / width != a->count)
        return lsnni_fail(m->cx, LSNN_EFORMAT, "%s: %s: %.0f bytes of type %d are not the numbers "
                          "of its %d sizes", m->who, a->name, (double)a->numbers.bytes,
                          a->numbers.type, a->dims);
    return LSNN_OK;
}

/* ---- what SVHN has in it -----------------------------------------------------------*/
typedef struct lsnni_svhn { lsnn_set set; double *y; size_t count; } lsnni_svhn;

/* X's pixels: their index runs over rows, columns, colours, images; a set's over columns,
   rows, colours.                                                             */
static lsnn_status lsnni_svhn_x(lsnni_mat *m, lsnni_svhn *s, const lsnni_mat_array *a)
{
    enum { side = 32, plane = side * side };
    static const lsnn_shape shape = { 3, side, side };
    int n = a->dims < 4 ? 1 : a->dim[3];
    if (s->set.images.v || a->dims < 3 || a->dim[0] != side || a->dim[1] != side ||
        a->dim[2] != 3 || a->numbers.type != LSNNI_MAT_UINT8)
        return lsnni_fail(m->cx, LSNN_EFORMAT, "%s: X must be one array of 32 x 32 x 3 x N bytes, "
                          "it is %d x %d x %d of type %d", m->who, a->dim[0], a->dim[1],
                          a->dim[2], a->numbers.type);
    LSNNI_TRY(lsnni_set_new(m->cx, &s->set, m->who, n, shape, 10, 0));
    for (size_t p = 0; p < 3 * (size_t)n; p++) {
        const unsigned char *from = a->numbers.v + p * plane;
        unsigned char *to = s->set.images.v + p * plane;
        for (int i = 0; i < side; i++)
            for (int j = 0; j < side; j++) to[i * side + j] = from[j * side + i];
    }
    return LSNN_OK;
}

static lsnn_status lsnni_svhn_y(lsnni_mat *m, lsnni_svhn *s, const lsnni_mat_array *a)
{
    if (s->y)
        return lsnni_fail(m->cx, LSNN_EFORMAT, "%s: has two arrays y", m->who);
    s->count = a->count;
    s->y = (double *)lsnni_alloc(m->cx, a->count + 1, sizeof *s->y);
    if (!s->y) return LSNN_ENOMEM;
    for (size_t i = 0; i < a->count; i++) s->y[i] = lsnni_mat_number(m, &a->numbers, i);
    return LSNN_OK;
}

static lsnn_status lsnni_svhn_array(lsnni_mat *m, lsnni_svhn *s)
{
    lsnni_mat_array a;
    memset(&a, 0, sizeof a);
    LSNNI_TRY(lsnni_mat_shape(m, &a));
    if (strcmp(a.name, "X") != 0 && strcmp(a.name, "y") != 0) return LSNN_OK;
    LSNNI_TRY(lsnni_mat_numbers(m, &a));
    return a.name[0] == 'X' ? lsnni_svhn_x(m, s, &a) : lsnni_svhn_y(m, s, &a);
}

static lsnn_status lsnni_svhn_element(lsnni_mat *m, lsnni_svhn *s, const lsnni_mat_item *e)
{
    lsnni_mat inner = *m;
    lsnni_mat_item array;
    unsigned char *v = NULL;
    size_t bytes = 0;
    lsnn_status status = LSNN_OK;
    if (e->type == LSNNI_MAT_PACKED) {
        LSNNI_TRY(lsnni_inflate(m->cx, m->who, e->v, e->bytes, (size_t)-1, &v, &bytes));
        inner.at = v;
        inner.end = v + bytes;
        status = lsnni_mat_next(&inner, &array);
        e = &array;
    }
    if (status == LSNN_OK && e->type == LSNNI_MAT_ARRAY) {
        inner.at = e->v;
        inner.end = e->v + e->bytes;
        status = lsnni_svhn_array(&inner, s);
    }
    lsnni_free(m->cx, v);
    return status;
}

static lsnn_status lsnni_svhn_labels(lsnni_mat *m, lsnni_svhn *s)
{
    int n = s->set.images.v ? s->set.labels.dim[0] : 0;
    if (!n || !s->y || s->count != (size_t)n)
        return lsnni_fail(m->cx, LSNN_EFORMAT, "%s: has %d images in X and %.0f labels in y",
                          m->who, n, (double)s->count);
    for (int i = 0; i < n; i++) {
        if (!(s->y[i] >= 1 && s->y[i] <= 10 && s->y[i] <= floor(s->y[i])))
            return lsnni_fail(m->cx, LSNN_EVALUE, "%s: label %d in y is %g: they are 1 to 9, "
                              "and 10 for the digit 0", m->who, i + 1, s->y[i]);
        s->set.labels.v[i] = (unsigned char)((int)s->y[i] % 10);
    }
    return LSNN_OK;
}

static lsnn_status lsnni_mat_head(lsnni_mat *m)
{
    size_t bytes = (size_t)(m->end - m->at);
    const unsigned char *v = m->at;
    int little = bytes >= LSNNI_MAT_HEAD && v[126] == 'I' && v[127] == 'M', version;
    if (bytes >= 8 && (!memcmp(v, "\x89HDF\r\n\x1a\n", 8) || !memcmp(v, "MATLAB 7.3", 8)))
        return lsnni_fail(m->cx, LSNN_EFORMAT, "%s: is a MAT file of version 7.3 (HDF5): version 5 "
                          "is read, as MATLAB's save -v7 writes it", m->who);
    if (bytes < LSNNI_MAT_HEAD || (!little && (v[126] != 'M' || v[127] != 'I')))
        return lsnni_fail(m->cx, LSNN_EFORMAT, "%s: is no MAT file of version 5: its head of 128 "
                          "bytes does not end in IM or MI", m->who);
    m->swapped = !little;
    version = (int)lsnni_mat_bits(m, v + 124, 2);
    if (version != 0x0100)
        return lsnni_fail(m->cx, LSNN_EFORMAT, "%s: is a MAT file of version %04x, not 0100: as "
                          "MATLAB's save -v7 writes it", m->who, (unsigned)version);
    m->at += LSNNI_MAT_HEAD;
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_svhn_read(lsnn_ctx *cx, lsnn_set *s, const char *path)
{
    lsnni_content file;
    lsnni_mat m;
    lsnni_svhn read;
    lsnn_status status;
    memset(&read, 0, sizeof read);
    memset(&m, 0, sizeof m);
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_svhn_read", path));
    LSNNI_TRY(lsnni_content_read(cx, &file, path));
    m.cx = cx;
    m.who = file.shown;
    m.at = file.v;
    m.end = file.v + file.count;
    status = lsnni_mat_head(&m);
    while (status == LSNN_OK && m.at < m.end) {
        lsnni_mat_item e;
        status = lsnni_mat_next(&m, &e);
        if (status == LSNN_OK) status = lsnni_svhn_element(&m, &read, &e);
    }
    if (status == LSNN_OK) status = lsnni_svhn_labels(&m, &read);
    lsnni_free(cx, read.y);
    lsnni_free(cx, file.v);
    return lsnni_set_add(cx, s, &read.set, file.shown, status);
}
/* ---- >>load: a whole set from its folder --------------------------------------------*/
typedef struct lsnni_loading {
    lsnn_ctx *cx;
    lsnn_set *set;
    const char *name, *folder;
    int test;
    char *path;                      /* room for the folder and a file below it */
    size_t room;
} lsnni_loading;

/* Sets the path to FOLDER/within/file; 1 if there is such a file, or one of .gz. */
LSNNI_PRINTF(2, 3)
static int lsnni_loading_has(lsnni_loading *l, const char *format, ...)
{
    size_t n = strlen(l->folder);
    va_list list;
    FILE *f;
    memcpy(l->path, l->folder, n);
    l->path[n] = '/';
    va_start(list, format);
    vsnprintf(l->path + n + 1, l->room - n - 4, format, list);
    va_end(list);
    n = strlen(l->path);
    f = fopen(l->path, "rb");
    if (!f) {
        memcpy(l->path + n, ".gz", 4);
        f = fopen(l->path, "rb");
        l->path[n] = 0;
    }
    if (f) fclose(f);
    return f != NULL;
}

static lsnn_status lsnni_loading_missing(const lsnni_loading *l, const char *file)
{
    return lsnni_fail(l->cx, LSNN_EIO, "%s is not in %.200s, which should be the folder of %s's "
                      "%s files", file, l->folder, l->name, l->test ? "test" : "training");
}

/* A file that lies in the folder, or in the one that its archive unpacks to.  */
static int lsnni_loading_find(lsnni_loading *l, const char *within, const char *file)
{
    return lsnni_loading_has(l, "%s", file) || lsnni_loading_has(l, "%s/%s", within, file);
}

static lsnn_status lsnni_load_mnist(lsnni_loading *l)
{
    const char *part = l->test ? "t10k" : "train";
    lsnn_set one;
    lsnn_status s;
    memset(&one, 0, sizeof one);
    one.classes = 10;
    lsnni_loading_has(l, "%s-images-idx3-ubyte", part);
    s = lsnn_idx_read(l->cx, &one.images, l->path);
    lsnni_loading_has(l, "%s-labels-idx1-ubyte", part);
    if (s == LSNN_OK) s = lsnn_idx_read(l->cx, &one.labels, l->path);
    if (s == LSNN_OK && (one.images.rank != 3 || one.labels.rank != 1))
        s = lsnni_fail(l->cx, LSNN_EFORMAT, "%.160s: MNIST's images have rank 3 and its labels 1, "
                       "these %d and %d", l->folder, one.images.rank, one.labels.rank);
    if (s == LSNN_OK)
        s = lsnni_idx_labels(l->cx, lsnni_path_end(l->path), &one.labels, one.images.dim[0], 10);
    if (s == LSNN_OK) {              /* N,H,W as N,1,H,W                      */
        one.images.rank = 4;
        one.images.dim[3] = one.images.dim[2];
        one.images.dim[2] = one.images.dim[1];
        one.images.dim[1] = 1;
    }
    return lsnni_set_add(l->cx, l->set, &one, l->folder, s);
}

static lsnn_status lsnni_load_cifar10(lsnni_loading *l)
{
    for (int i = 1; i <= (l->test ? 1 : 5); i++) {
        char file[32] = "test_batch.bin";
        if (!l->test) snprintf(file, sizeof file, "data_batch_%d.bin", i);
        if (!lsnni_loading_find(l, "cifar-10-batches-bin", file))
            return lsnni_loading_missing(l, file);
        LSNNI_TRY(lsnn_cifar_read(l->cx, l->set, l->path, 10));
    }
    return LSNN_OK;
}

static lsnn_status lsnni_load_cifar100(lsnni_loading *l)
{
    const char *file = l->test ? "test.bin" : "train.bin";
    if (!lsnni_loading_find(l, "cifar-100-binary", file)) return lsnni_loading_missing(l, file);
    return lsnn_cifar_read(l->cx, l->set, l->path,
                           strcmp(l->name, "cifar100") == 0 ? LSNNI_FINE : LSNNI_COARSE);
}

static lsnn_status lsnni_load_svhn(lsnni_loading *l)
{
    const char *file = l->test ? "test_32x32.mat" : "train_32x32.mat";
    if (!lsnni_loading_has(l, "%s", file)) return lsnni_loading_missing(l, file);
    return lsnn_svhn_read(l->cx, l->set, l->path);
}

/* The tracks of packed records: lines of class/track_picture.ppm;width;height.  */
static lsnn_status lsnni_packed_tracks(lsnni_loading *l, lsnni_content *file)
{
    lsnn_set *s = l->set;
    lsnni_table t;
    int lines, n = s->labels.dim[0];
    memset(&t, 0, sizeof t);
    LSNNI_TRY(lsnni_table_begin(l->cx, &t, file, &lines));
    if (lines != n)
        return lsnni_fail(l->cx, LSNN_EFORMAT, "%s: has %d lines, the training records are %d",
                          t.shown, lines, n);
    s->group = (int *)lsnni_alloc(l->cx, (size_t)n, sizeof *s->group);
    if (!s->group) return LSNN_ENOMEM;
    for (int i = 0; i < n && lsnni_table_next(&t); i++) {
        const char *name = t.field[0];
        int label = strspn(name, "0123456789") == 5 && name[5] == '/' ? atoi(name) : -1;
        if (label != s->labels.v[i])
            return lsnni_fail(l->cx, LSNN_EFORMAT, "%s: line %d: '%.40s': record %d is of class "
                              "%05d", t.shown, t.line, name, i, s->labels.v[i]);
        s->group[i] = lsnni_sign_group(name + 6, label, i);
    }
    return LSNN_OK;
}

static lsnn_status lsnni_load_packed(lsnni_loading *l)
{
    lsnn_set one, *set = l->set;
    lsnni_content file;
    lsnn_status s;
    memset(&one, 0, sizeof one);
    LSNNI_TRY(lsnn_cifar_read(l->cx, &one, l->path, LSNNI_SIGN_CLASSES));
    l->set = &one;
    s = LSNN_OK;
    if (!l->test && lsnni_loading_has(l, "gtsrb32_train_index.csv")) {
        s = lsnni_content_read(l->cx, &file, l->path);
        if (s == LSNN_OK) {
            s = lsnni_packed_tracks(l, &file);
            lsnni_free(l->cx, file.v);
        }
    }
    l->set = set;
    return lsnni_set_add(l->cx, set, &one, l->folder, s);
}

/* Neither packed records nor the official files.                             */
static lsnn_status lsnni_gtsrb_missing(lsnni_loading *l, const char *file)
{
    const char *part = l->test ? "test" : "train";
    if (strcmp(l->name, "gtsrb") != 0 || !lsnni_loading_has(l, "gtsrb32_%s.bin.xz", part))
        return lsnni_loading_missing(l, file);
    return lsnni_fail(l->cx, LSNN_EUNSUPPORTED, "%s: is packed: unpack it by xz -dk",
                      lsnni_path_end(l->path));
}

static lsnn_status lsnni_load_gtsrb(lsnni_loading *l)
{
    const char *root = lsnni_loading_has(l, "GTSRB/Final_Training/Images/00000/GT-00000.csv") ||
                       lsnni_loading_has(l, "GTSRB/Final_Test/Images/GT-final_test.csv")
                       ? "GTSRB/" : "";
    int box = strcmp(l->name, "gtsrb-box") == 0;
    if (!box && lsnni_loading_has(l, "gtsrb32_%s.bin", l->test ? "test" : "train"))
        return lsnni_load_packed(l);
    if (l->test) {
        if (!lsnni_loading_has(l, "%sFinal_Test/Images/GT-final_test.csv", root))
            return lsnni_gtsrb_missing(l, "Final_Test/Images/GT-final_test.csv");
        return lsnn_gtsrb_read(l->cx, l->set, l->path, LSNNI_CIFAR_SIDE, box);
    }
    for (int k = 0; k < LSNNI_SIGN_CLASSES; k++) {
        char file[64];
        snprintf(file, sizeof file, "Final_Training/Images/%05d/GT-%05d.csv", k, k);
        if (!lsnni_loading_has(l, "%s%s", root, file)) return lsnni_gtsrb_missing(l, file);
        LSNNI_TRY(lsnn_gtsrb_read(l->cx, l->set, l->path, LSNNI_CIFAR_SIDE, box));
    }
    return LSNN_OK;
}

static const struct lsnni_loader {
    const char *name;
    lsnn_status (*load)(lsnni_loading *l);
} lsnni_loaders[] = {
    { "mnist", lsnni_load_mnist }, { "cifar10", lsnni_load_cifar10 },
    { "cifar100", lsnni_load_cifar100 }, { "cifar20", lsnni_load_cifar100 },
    { "svhn", lsnni_load_svhn }, { "gtsrb", lsnni_load_gtsrb }, { "gtsrb-box", lsnni_load_gtsrb }
};
enum { LSNNI_LOADERS = (int)(sizeof lsnni_loaders / sizeof lsnni_loaders[0]) };

LSNN_API const char *lsnn_set_name(int i)
{
    return i >= 0 && i < LSNNI_LOADERS ? lsnni_loaders[i].name : NULL;
}

LSNN_API lsnn_status lsnn_set_load(lsnn_ctx *cx, lsnn_set *s, const char *name,
                                   const char *folder, int test)
{
    lsnni_loading l;
    lsnn_set all;
    lsnn_status status;
    int i = 0;
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_set_load: folder", folder));
    while (i < LSNNI_LOADERS && (!name || strcmp(lsnni_loaders[i].name, name) != 0)) i++;
    if (i == LSNNI_LOADERS)
        return lsnni_fail(cx, LSNN_ENAME, "lsnn_set_load: there is no set '%.40s'",
                          name ? name : "(NULL)");
    memset(&all, 0, sizeof all);
    memset(&l, 0, sizeof l);
    l.cx = cx;
    l.set = &all;
    l.name = name;
    l.folder = folder;
    l.test = test;
    l.room = strlen(folder) + 200;
    l.path = (char *)lsnni_alloc(cx, l.room, 1);
    if (!l.path) return LSNN_ENOMEM;
    status = lsnni_loaders[i].load(&l);
    lsnni_free(cx, l.path);
    return lsnni_set_add(cx, s, &all, name, status);
}
/* ---- >>pain: the UNBC-McMaster shoulder pain archive --------------------------------
   FOLDER/Images/S/Q/F.png                      frame F of sequence Q of subject S
   FOLDER/AAM_landmarks/S/Q/F_aam.txt           66 lines: x y, pixels of that frame
   FOLDER/Frame_Labels/PSPI/S/Q/F_facs.txt      the intensity of pain, 0 to 16
   FOLDER/frames.txt                            S/Q/F_aam.txt, a line a frame, sorted
   TKN 4.1: a face is warped to a frontal, upright one before it is cut out and scaled to
   48 x 48. The frontal face is the table below; its Delaunay triangles between the 66 points
   carry the pixels, straight from the frame, and what lies outside of them is black. A pixel is
   the mean of 2 x 2 places, each read between four pixels of the frame. Noise moves the
   frame's points, anew in each epoch; a flip mirrors the face after it.      */
enum { LSNNI_FACE_POINTS = 66, LSNNI_FACE_SIDE = 48, LSNNI_FACE_FINE = 2 * LSNNI_FACE_SIDE,
       LSNNI_FACE_SPOTS = LSNNI_FACE_FINE * LSNNI_FACE_FINE, LSNNI_PAIN_MOST = 16 };
typedef struct lsnni_point { double x, y; } lsnni_point;

/* A place of the fine picture: its triangle's points and how near it is to each. a < 0: none. */
typedef struct lsnni_spot { int16_t point[3]; float part[3]; } lsnni_spot;

/* What is kept of a frame: the face's box and its points in it.              */
typedef struct lsnni_face {
    lsnn_image box;
    float x[LSNNI_FACE_POINTS], y[LSNNI_FACE_POINTS];
} lsnni_face;

struct lsnni_faces {
    lsnni_spot spot[LSNNI_FACE_SPOTS];
    lsnni_face face[1];              /* as many as there are frames           */
};

/* ---- the frontal face -------------------------------------------------------------*/
/* Brow, eye, nose and mouth of the left half, in thousandths of the face's width from its left
   edge and of its height from its top: point, x, y, and the point opposite (itself: it lies in
   the middle). The jaw, 0 to 16, is an arc.                                  */
static const short lsnni_face_half[][4] = {
    { 17, 100, 110, 26 }, { 18, 165,  45, 25 }, { 19, 250,  20, 24 }, { 20, 340,  30, 23 },
    { 21, 420,  65, 22 }, { 27, 500, 210, 27 }, { 28, 500, 310, 28 }, { 29, 500, 405, 29 },
    { 30, 500, 500, 30 }, { 31, 385, 560, 35 }, { 32, 440, 580, 34 }, { 33, 500, 595, 33 },
    { 36, 185, 225, 45 }, { 37, 240, 190, 44 }, { 38, 310, 190, 43 }, { 39, 365, 235, 42 },
    { 40, 310, 255, 47 }, { 41, 240, 255, 46 }, { 48, 315, 745, 54 }, { 49, 380, 710, 53 },
    { 50, 450, 690, 52 }, { 51, 500, 700, 51 }, { 57, 500, 835, 57 }, { 58, 440, 825, 56 },
    { 59, 370, 795, 55 }, { 60, 425, 742, 62 }, { 61, 500, 748, 61 }, { 64, 500, 772, 64 },
    { 65, 425, 765, 63 }
};

static void lsnni_face_front(lsnni_point p[LSNNI_FACE_POINTS])
{
    const double pi = 3.141592653589793;
    for (int i = 0; i <= 16; i++) {
        p[i].x = 0.5 - 0.5 * cos(pi * i / 16);
        p[i].y = 0.23 + 0.77 * sin(pi * i / 16);
    }
    for (size_t i = 0; i < sizeof lsnni_face_half / sizeof *lsnni_face_half; i++) {
        const short *h = lsnni_face_half[i];
        p[h[0]].x = h[1] / 1000.0;
        p[h[3]].x = 1 - h[1] / 1000.0;
        p[h[0]].y = p[h[3]].y = h[2] / 1000.0;
    }
}

/* Twice the area of a, b, c; positive if they turn to the left.               */
static double lsnni_area_of(lsnni_point a, lsnni_point b, lsnni_point c)
{
    return (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
}

/* Is d inside of the circle through a, b, c, which turn to the left?          */
static int lsnni_in_circle(lsnni_point a, lsnni_point b, lsnni_point c, lsnni_point d)
{
    double ax = a.x - d.x, ay = a.y - d.y, bx = b.x - d.x, by = b.y - d.y;
    double cx = c.x - d.x, cy = c.y - d.y;
    return (ax * ax + ay * ay) * (bx * cy - cx * by) - (bx * bx + by * by) * (ax * cy - cx * ay) +
           (cx * cx + cy * cy) * (ax * by - bx * ay) > 0;
}

/* Enters triangle t wherever a place of the fine picture lies in it.          */
static void lsnni_face_triangle(lsnni_spot *spot, const lsnni_point *p, const int t[3])
{
    double area = lsnni_area_of(p[t[0]], p[t[1]], p[t[2]]);
    for (int i = 0; i < LSNNI_FACE_SPOTS; i++) {
        double part[3];
        int in = spot[i].point[0] < 0;
        lsnni_point at;              /* the face fills 46 of the 48 pixels     */
        at.x = (i % LSNNI_FACE_FINE + 0.5 - 2) / (LSNNI_FACE_FINE - 4);
        at.y = (i / LSNNI_FACE_FINE + 0.5 - 2) / (LSNNI_FACE_FINE - 4);
        for (int k = 0; k < 3; k++) {
            part[k] = lsnni_area_of(p[t[(k + 1) % 3]], p[t[(k + 2) % 3]], at) / area;
            in &= part[k] >= 0;
        }
        for (int k = 0; k < 3 && in; k++) {
            spot[i].point[k] = (int16_t)t[k];
            spot[i].part[k] = (float)part[k];
        }
    }
}

/* Three points make a triangle if no other lies in their circle. Mirrored points lie on one
   circle by fours: the triangles are those of points moved a little apart.    */
static void lsnni_face_spots(lsnni_spot *spot)
{
    lsnni_point p[LSNNI_FACE_POINTS], apart[LSNNI_FACE_POINTS];
    int t[3];
    lsnni_face_front(p);
    for (int i = 0; i < LSNNI_FACE_POINTS; i++) {
        apart[i].x = p[i].x + 1e-5 * (i * 37 % 101);
        apart[i].y = p[i].y + 1e-5 * (i * 53 % 97);
    }
    for (int i = 0; i < LSNNI_FACE_SPOTS; i++) spot[i].point[0] = -1;
    for (int a = 0; a < LSNNI_FACE_POINTS; a++)
    for (int b = a + 1; b < LSNNI_FACE_POINTS; b++)
    for (int c = b + 1; c < LSNNI_FACE_POINTS; c++) {
        int left = lsnni_area_of(apart[a], apart[b], apart[c]) > 0, empty = 1;
        t[0] = a;
        t[1] = left ? b : c;
        t[2] = left ? c : b;
        for (int d = 0; d < LSNNI_FACE_POINTS && empty; d++)
            if (d != a && d != b && d != c)
                empty = !lsnni_in_circle(apart[a], apart[t[1]], apart[t[2]], apart[d]);
        if (empty && lsnni_area_of(p[a], p[t[1]], p[t[2]]) > 0) lsnni_face_triangle(spot, p, t);
    }
}

/* ---- warping ----------------------------------------------------------------------*/
/* Adds what lies at (x, y) of an image, pixel centres at whole numbers, to rgb. */
static void lsnni_image_between(const lsnn_image *im, float x, float y, float rgb[3])
{
    int x0, y0, x1, y1;
    x = LSNNI_MIN(LSNNI_MAX(x, 0.0f), (float)(im->w - 1));
    y = LSNNI_MIN(LSNNI_MAX(y, 0.0f), (float)(im->h - 1));
    x0 = (int)x;
    y0 = (int)y;
    x1 = LSNNI_MIN(x0 + 1, im->w - 1);
    y1 = LSNNI_MIN(y0 + 1, im->h - 1);
    x -= (float)x0;
    y -= (float)y0;
    for (int c = 0; c < 3; c++) {
        const unsigned char *v = im->rgb + c;
        float a = v[3 * (y0 * im->w + x0)], b = v[3 * (y0 * im->w + x1)];
        float low = v[3 * (y1 * im->w + x0)], d = v[3 * (y1 * im->w + x1)];
        a += x * (b - a);
        low += x * (d - low);
        rgb[c] += a + y * (low - a);
    }
}

static void lsnni_face_warp(const lsnni_spot *spot, const lsnni_face *f, const float *px,
                            const float *py, int flip, lsnn_real *x)
{
    for (int i = 0; i < LSNNI_FACE_SIDE; i++)
        for (int j = 0; j < LSNNI_FACE_SIDE; j++) {
            float rgb[3] = { 0, 0, 0 };
            int at = i * LSNNI_FACE_SIDE + (flip ? LSNNI_FACE_SIDE - 1 - j : j);
            for (int k = 0; k < 4; k++) {
                const lsnni_spot *s = &spot[(2 * i + k / 2) * LSNNI_FACE_FINE + 2 * j + k % 2];
                float sx = 0, sy = 0;
                for (int c = 0; c < 3 && s->point[0] >= 0; c++) {
                    sx += s->part[c] * px[s->point[c]];
                    sy += s->part[c] * py[s->point[c]];
                }
                if (s->point[0] >= 0) lsnni_image_between(&f->box, sx, sy, rgb);
            }
            for (int c = 0; c < 3; c++)
                x[c * LSNNI_FACE_SIDE * LSNNI_FACE_SIDE + at] = LSNNI_R(rgb[c]) / (4 * 255);
        }
}

static void lsnni_fetch_pain(const void *user, uint32_t epoch, int index, lsnn_real *x,
                             int *labels, lsnn_real *targets)
{
    const lsnn_pain *p = (const lsnn_pain *)user;
    const lsnni_face *f = &p->faces_->face[index];
    lsnn_rng r = lsnn_rng_at(p->seed, "pain", "", epoch, (uint32_t)index);
    float px[LSNNI_FACE_POINTS], py[LSNNI_FACE_POINTS];
    /* a pixel of the picture in those of the frame: the jaw's ends are 46 apart */
    double scale = p->noise * hypot((double)(f->x[16] - f->x[0]), (double)(f->y[16] - f->y[0])) /
                   (LSNNI_FACE_SIDE - 2);
    int flip = p->flip && lsnn_rng_int(&r, 2);
    (void)labels;
    for (int i = 0; i < LSNNI_FACE_POINTS; i++) {
        px[i] = f->x[i] + (float)(p->noise > 0 ? scale * lsnn_rng_normal(&r) : 0);
        py[i] = f->y[i] + (float)(p->noise > 0 ? scale * lsnn_rng_normal(&r) : 0);
    }
    lsnni_face_warp(p->faces_->spot, f, px, py, flip, x);
    if (targets) targets[0] = LSNNI_R(p->level[index]);
}

/* ---- reading ----------------------------------------------------------------------*/
typedef struct lsnni_pain_reader {
    lsnn_ctx *cx;
    const char *folder;
    char *path;
    size_t room;
} lsnni_pain_reader;

/* FOLDER/within/frame + ending, in r->path. line: S/Q/F_aam.txt, perhaps with ./ before it. */
static const char *lsnni_pain_path(lsnni_pain_reader *r, const char *within, const char *line,
                                   const char *ending)
{
    size_t n = strlen(line) - strlen("_aam.txt");
    if (!strncmp(line, "./", 2)) line += 2, n -= 2;
    snprintf(r->path, r->room, "%s/%s/%.*s%s", r->folder, within, (int)n, line, ending);
    return r->path;
}

/* Reads `count` numbers, no more and no fewer, from a file of them; `what` they are. */
static lsnn_status lsnni_numbers_read(lsnn_ctx *cx, const char *path, const char *what,
                                      double *v, int count)
{
    lsnni_content file;
    char *at;
    int n = 0, good = 1;
    LSNNI_TRY(lsnni_content_read(cx, &file, path));
    at = (char *)file.v;
    while (good) {
        char *word, stop;
        while (lsnni_is_space((unsigned char)*at)) at++;
        word = at;
        while (*at && !lsnni_is_space((unsigned char)*at)) at++;
        if (at == word) break;
        stop = *at;
        *at = 0;
        good = n < count && lsnni_parse_number(word, &v[n]) && fabs(v[n]) <= 1e6;
        n++;
        if (!good)
            lsnni_fail(cx, LSNN_EFORMAT, "%s: number %d, '%.30s': it should have %d: %s",
                       file.shown, n, word, count, what);
        *at = stop;
    }
    if (good && (n < count || at != (char *)file.v + file.count)) {
        good = 0;
        lsnni_fail(cx, LSNN_EFORMAT, "%s: has %d numbers and should have %d: %s", file.shown, n,
                   count, what);
    }
    lsnni_free(cx, file.v);
    return good ? LSNN_OK : LSNN_EFORMAT;
}

/* Cuts the points' box, a tenth of the face wider on each side, out of the frame.  */
static lsnn_status lsnni_face_cut(lsnn_ctx *cx, lsnni_face *f, const lsnn_image *im,
                                  const double *v, const char *path)
{
    double low[2] = { 1e9, 1e9 }, high[2] = { -1e9, -1e9 }, side[2], edge;
    int from[2], to[2];
    side[0] = im->w;
    side[1] = im->h;
    for (int i = 0; i < 2 * LSNNI_FACE_POINTS; i++) {
        low[i % 2] = LSNNI_MIN(low[i % 2], v[i]);
        high[i % 2] = LSNNI_MAX(high[i % 2], v[i]);
    }
    edge = 0.1 * (high[0] - low[0]) + 1;
    for (int k = 0; k < 2; k++) {
        from[k] = (int)LSNNI_MAX(0, floor(low[k] - edge));
        to[k] = (int)LSNNI_MIN(side[k], ceil(high[k] + edge) + 1);
        if (low[k] < -side[k] || high[k] > 2 * side[k] || from[k] >= to[k])
            return lsnni_fail(cx, LSNN_EVALUE, "%s: landmarks from %.1f to %.1f, the frame has "
                              "%.0f pixels in that direction", lsnni_path_end(path), low[k],
                              high[k], side[k]);
    }
    LSNNI_TRY(lsnni_image_room(cx, &f->box, path, to[0] - from[0], to[1] - from[1]));
    for (int i = 0; i < f->box.h; i++)
        memcpy(f->box.rgb + lsnni_area(i, f->box.w) * 3,
               im->rgb + 3 * (lsnni_area(from[1] + i, im->w) + (size_t)from[0]),
               (size_t)f->box.w * 3);
    for (int i = 0; i < LSNNI_FACE_POINTS; i++) {
        f->x[i] = (float)(v[2 * i] - from[0]);
        f->y[i] = (float)(v[2 * i + 1] - from[1]);
    }
    return LSNN_OK;
}

static lsnn_status lsnni_pain_frame(lsnni_pain_reader *r, const char *line, lsnni_face *f,
                                    unsigned char *level)
{
    double v[2 * LSNNI_FACE_POINTS], pain;
    lsnn_image im;
    lsnn_status s;
    LSNNI_TRY(lsnni_numbers_read(r->cx, lsnni_pain_path(r, "Frame_Labels/PSPI", line, "_facs.txt"),
                                 "the intensity of pain", &pain, 1));
    if (!(pain >= 0 && pain <= (int)LSNNI_PAIN_MOST && pain <= floor(pain)))
        return lsnni_fail(r->cx, LSNN_EVALUE, "%s: the intensity of pain is %g, not a whole number "
                          "in 0..%d", lsnni_path_end(r->path), pain, (int)LSNNI_PAIN_MOST);
    *level = (unsigned char)pain;
    LSNNI_TRY(lsnni_numbers_read(r->cx, lsnni_pain_path(r, "AAM_landmarks", line, "_aam.txt"),
                                 "66 landmarks, x and y", v, 2 * LSNNI_FACE_POINTS));
    LSNNI_TRY(lsnni_image_open(r->cx, &im, lsnni_pain_path(r, "Images", line, ".png")));
    s = lsnni_face_cut(r->cx, f, &im, v, r->path);
    lsnni_free(r->cx, im.rgb);
    return s;
}

/* The subject of a line: 0, or 1 more than the line before if that has another; -1: it is no
   frame's, or does not come after the one before. name: the last line's, to be replaced. */
static int lsnni_pain_subject(const char *line, const char **name, int last)
{
    const char *start = strncmp(line, "./", 2) ? line : line + 2;
    size_t n = strcspn(start, "/"), length = strlen(start);
    int same = *name && !strncmp(*name, start, n + 1);
    if (!start[n] || length < n + 10 || length > 200 ||
        strcmp(start + length - 8, "_aam.txt") != 0) return -1;
    if (*name && strcmp(*name, start) >= 0) return -1;
    *name = start;
    return same ? last : last + 1;
}

static lsnn_status lsnni_pain_frames(lsnni_pain_reader *r, lsnn_pain *p, lsnni_table *t,
                                     int first, int count)
{
    const char *name = NULL;
    int subject = -1;
    lsnni_face_spots(p->faces_->spot);
    while (lsnni_table_next(t)) {
        subject = lsnni_pain_subject(t->field[0], &name, subject);
        if (subject < 0)
            return lsnni_fail(r->cx, LSNN_EFORMAT, "%s: line %d: '%.60s' should be "
                              "SUBJECT/SEQUENCE/FRAME_aam.txt, the lines sorted (LC_ALL=C sort)",
                              t->shown, t->line, t->field[0]);
        if (subject < first || (count && subject >= first + count)) continue;
        LSNNI_TRY(lsnni_pain_frame(r, t->field[0], &p->faces_->face[p->count],
                                   &p->level[p->count]));
        p->subject[p->count++] = subject;
    }
    p->subjects = subject + 1;
    if (!p->count || (count && first + count > p->subjects))
        return lsnni_fail(r->cx, LSNN_EVALUE, "%s: has %d subjects; %d from number %d on are "
                          "asked for", t->shown, p->subjects, count, first);
    return LSNN_OK;
}

LSNN_API void lsnn_pain_free(lsnn_ctx *cx, lsnn_pain *p)
{
    for (int i = 0; p->faces_ && i < p->room_; i++) lsnni_free(cx, p->faces_->face[i].box.rgb);
    lsnni_free(cx, p->faces_);
    lsnni_free(cx, p->level);
    lsnni_free(cx, p->subject);
    memset(p, 0, sizeof *p);
}

static lsnn_status lsnni_pain_room(lsnn_ctx *cx, lsnn_pain *p, int lines, const char *who)
{
    size_t n = (size_t)lines;
    if (lines < 1) return lsnni_fail(cx, LSNN_EFORMAT, "%s: has no lines", who);
    p->faces_ = (struct lsnni_faces *)
        lsnni_alloc(cx, 1, lsnni_times(n, sizeof(lsnni_face)) + sizeof *p->faces_);
    p->level = (unsigned char *)lsnni_alloc(cx, n, 1);
    p->subject = (int *)lsnni_alloc(cx, n, sizeof *p->subject);
    p->room_ = p->faces_ ? lines : 0;
    return p->faces_ && p->level && p->subject ? LSNN_OK : LSNN_ENOMEM;
}

/* frames.txt is not a part of the archive: says how to make it.              */
static lsnn_status lsnni_pain_list(lsnn_ctx *cx, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return lsnni_fail(cx, LSNN_EIO, "%s: cannot be opened. It names the frames: make it in "
                          "AAM_landmarks by  find . -name '*_aam.txt' | LC_ALL=C sort > "
                          "../frames.txt", lsnni_path_end(path));
    fclose(f);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_pain_read(lsnn_ctx *cx, lsnn_pain *p, const char *folder, int first,
                                    int subjects)
{
    lsnni_pain_reader r;
    lsnni_table t;
    lsnni_content file;
    lsnn_status s;
    int lines = 0;
    memset(p, 0, sizeof *p);
    memset(&t, 0, sizeof t);
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_pain_read: folder", folder));
    if (first < 0 || subjects < 0 || first > INT_MAX - subjects)
        return lsnni_fail(cx, LSNN_EVALUE, "lsnn_pain_read: %d subjects from number %d on",
                          subjects, first);
    r.cx = cx;
    r.folder = folder;
    r.room = strlen(folder) + 300;
    r.path = (char *)lsnni_alloc(cx, r.room, 1);
    if (!r.path) return LSNN_ENOMEM;
    memset(&file, 0, sizeof file);
    snprintf(r.path, r.room, "%s/frames.txt", folder);
    s = lsnni_pain_list(cx, r.path);
    if (s == LSNN_OK) s = lsnni_content_read(cx, &file, r.path);
    if (s == LSNN_OK) s = lsnni_table_begin(cx, &t, &file, &lines);
    if (s == LSNN_OK) s = lsnni_pain_room(cx, p, lines, file.shown);
    if (s == LSNN_OK) s = lsnni_pain_frames(&r, p, &t, first, subjects);
    lsnni_free(cx, file.v);
    lsnni_free(cx, r.path);
    if (s != LSNN_OK) lsnn_pain_free(cx, p);
    return s;
}

LSNN_API lsnn_status lsnn_data_pain(lsnn_ctx *cx, lsnn_data *d, const lsnn_pain *p)
{
    memset(d, 0, sizeof *d);
    if (!p->faces_ || !(p->noise >= 0 && p->noise <= (int)LSNNI_FACE_SIDE))
        return lsnni_fail(cx, LSNN_EVALUE, "lsnn_data_pain: noise %g pixels (0..%d) of %s",
                          p->noise, (int)LSNNI_FACE_SIDE, p->faces_ ? "the frames" : "no frames: "
                          "call lsnn_pain_read first");
    d->count = p->count;
    d->shape.c = 3;
    d->shape.h = d->shape.w = LSNNI_FACE_SIDE;
    d->target_count = 1;
    d->fetch = lsnni_fetch_pain;
    d->user = p;
    return LSNN_OK;
}
#endif /* LSNN_NO_DATA */
#ifndef LSNN_NO_PICTURES
/* ============================================================================
   >>pictures: drawing into an RGB image, figures, and PNG files
   Positions are kept in double: every int fits exactly, products do not
   overflow, and the clipping turns any of them into a pixel of the canvas.
   ==========================================================================*/
typedef struct lsnni_canvas {        /* the part of an image that may change  */
    lsnn_image *im;
    int left, top, right, bottom;    /* pixels [left, right) x [top, bottom)  */
} lsnni_canvas;

LSNN_API lsnn_status lsnn_image_new(lsnn_ctx *cx, lsnn_image *im, int w, int h, uint32_t rgb)
{
    size_t bytes = 3;
    memset(im, 0, sizeof *im);
    if (w < 1 || h < 1 || !lsnni_mul(&bytes, (size_t)w) || !lsnni_mul(&bytes, (size_t)h) ||
        bytes > (size_t)-1 / 2)
        return lsnni_fail(cx, LSNN_ESHAPE, "lsnn_image_new: %d x %d is not an image's size",
                          w, h);
    im->rgb = (unsigned char *)lsnni_alloc(cx, bytes, 1);
    if (!im->rgb) return LSNN_ENOMEM;
    im->w = w;
    im->h = h;
    lsnn_image_rect(im, 0, 0, w, h, rgb);
    return LSNN_OK;
}

LSNN_API void lsnn_image_free(lsnn_ctx *cx, lsnn_image *im)
{
    lsnni_free(cx, im->rgb);
    memset(im, 0, sizeof *im);
}

/* v rounded down, but at least lo and at most hi; NaN gives lo.               */
static int lsnni_clamp(double v, int lo, int hi)
{
    if (!(v > lo)) return lo;
    return v < hi ? (int)floor(v) : hi;
}

static lsnni_canvas lsnni_canvas_of(lsnn_image *im, double x, double y, double w, double h)
{
    lsnni_canvas cv = { im, lsnni_clamp(x, 0, im->w), lsnni_clamp(y, 0, im->h),
                        lsnni_clamp(x + w, 0, im->w), lsnni_clamp(y + h, 0, im->h) };
    if (!im->rgb) cv.right = cv.left;                    /* nothing to draw on    */
    return cv;
}

/* pixel = pixel (1 - opacity) + rgb opacity; (x, y) lies on the canvas.       */
static void lsnni_mix(const lsnni_canvas *cv, int x, int y, uint32_t rgb, double opacity)
{
    unsigned char *v = cv->im->rgb + 3 * ((size_t)y * (size_t)cv->im->w + (size_t)x);
    for (int c = 0; c < 3; c++) {
        double over = (double)((rgb >> (16 - 8 * c)) & 255);
        v[c] = (unsigned char)(v[c] + (over - v[c]) * opacity + 0.5);
    }
}

static void lsnni_fill(const lsnni_canvas *cv, double x, double y, double w, double h,
                       uint32_t rgb, double opacity)
{
    int x0 = lsnni_clamp(x, cv->left, cv->right), x1 = lsnni_clamp(x + w, cv->left, cv->right);
    int y0 = lsnni_clamp(y, cv->top, cv->bottom), y1 = lsnni_clamp(y + h, cv->top, cv->bottom);
    for (int j = y0; j < y1; j++)
        for (int i = x0; i < x1; i++) lsnni_mix(cv, i, j, rgb, opacity);
}

LSNN_API void lsnn_image_rect(lsnn_image *im, int x, int y, int w, int h, uint32_t rgb)
{
    lsnni_canvas cv = lsnni_canvas_of(im, 0, 0, im->w, im->h);
    lsnni_fill(&cv, x, y, w, h, rgb, 1);
}

/* ---- >>line ------------------------------------------------------------------*/
/* The part of pixel (x, y) under the line from a to b: 1 until half a pixel inside its
   edge, 0 from half a pixel outside of it. An end that is NaN: nothing.      */
static double lsnni_coverage(double x, double y, const double a[2], const double b[2],
                             double thickness)
{
    double dx = b[0] - a[0], dy = b[1] - a[1], square = dx * dx + dy * dy, t = 0;
    if (square > 0) t = ((x - a[0]) * dx + (y - a[1]) * dy) / square;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    dx = a[0] + t * dx - x;
    dy = a[1] + t * dy - y;
    t = LSNNI_MIN(LSNNI_MIN(thickness, 1), 0.5 * thickness + 0.5 - sqrt(dx * dx + dy * dy));
    return t > 0 ? t : 0;
}

/* The segment from b to c of a line through a, b, c (whole numbers are centres
   of pixels). The segment from a to b is drawn already (a is NaN if there is
   none): where both cover a pixel, the larger coverage counts, not the sum.   */
static void lsnni_stroke(const lsnni_canvas *cv, const double a[2], const double b[2],
                         const double c[2], double thickness, uint32_t rgb)
{
    double r = 0.5 * thickness + 1;
    int x0 = lsnni_clamp(LSNNI_MIN(b[0], c[0]) - r, cv->left, cv->right);
    int x1 = lsnni_clamp(LSNNI_MAX(b[0], c[0]) + r + 1, cv->left, cv->right);
    int y0 = lsnni_clamp(LSNNI_MIN(b[1], c[1]) - r, cv->top, cv->bottom);
    int y1 = lsnni_clamp(LSNNI_MAX(b[1], c[1]) + r + 1, cv->top, cv->bottom);
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) {
            double now = lsnni_coverage(x, y, b, c, thickness);
            double old = now > 0 ? lsnni_coverage(x, y, a, b, thickness) : 0;
            if (now > old) lsnni_mix(cv, x, y, rgb, (now - old) / (1 - old));
        }
}

LSNN_API void lsnn_image_line(lsnn_image *im, double x0, double y0, double x1, double y1,
                              double thickness, uint32_t rgb)
{
    lsnni_canvas cv = lsnni_canvas_of(im, 0, 0, im->w, im->h);
    double none[2] = { NAN, NAN }, from[2] = { x0, y0 }, to[2] = { x1, y1 };
    lsnni_stroke(&cv, none, from, to, thickness, rgb);
}

/* ---- >>letters ---------------------------------------------------------------*/
/* Letters of 5 x 8 pixels from the blank on, the last one a box for any other
   code: bit 8 c + r is the pixel in column c, row r.                          */
static const uint64_t lsnni_letters[96] = {
    0x0000000000, 0x00005F0000, 0x0007000700, 0x147F147F14, 0x122A7F2A24, 0x6264081323,
    0x5022554936, 0x0000070000, 0x0041221C00, 0x001C224100, 0x2A1C3E1C2A, 0x08083E0808,
    0x0000E06000, 0x0808080808, 0x0060600000, 0x0204081020, 0x3E4549513E, 0x00407F4200,
    0x4649516142, 0x3649494122, 0x107F121418, 0x3945454527, 0x3049494A3C, 0x0305097101,
    0x3649494936, 0x1E29494906, 0x00006C6C00, 0x0000EC6C00, 0x0041221408, 0x1414141414,
    0x0008142241, 0x0609510102, 0x5E555D413E, 0x7E0909097E, 0x364949497F, 0x224141413E,
    0x1C2241417F, 0x414949497F, 0x010909097F, 0x7A4949413E, 0x7F0808087F, 0x00417F4100,
    0x013F414020, 0x412214087F, 0x404040407F, 0x7F020C027F, 0x7F0804027F, 0x3E4141413E,
    0x060909097F, 0x5E2151413E, 0x462919097F, 0x3149494946, 0x01017F0101, 0x3F4040403F,
    0x1F2040201F, 0x7F2018207F, 0x6314081463, 0x0304780403, 0x4345495161, 0x0041417F00,
    0x2010080402, 0x007F414100, 0x0402010204, 0x4040404040, 0x0004020100, 0x7854545420,
    0x384444447F, 0x4444444438, 0x7F44444438, 0x1854545438, 0x0005057E04, 0x7CA4A4A418,
    0x780404047F, 0x00407D4400, 0x003D444020, 0x004428107F, 0x00407F4100, 0x780478047C,
    0x780404047C, 0x3844444438, 0x18242424FC, 0xFC24242418, 0x000404087C, 0x2454545448,
    0x0044443F04, 0x7C2040403C, 0x1C2040201C, 0x3C4038403C, 0x4428102844, 0x7CA0A0A01C,
    0x444C546444, 0x4141360800, 0x00007F0000, 0x0008774100, 0x0810080408, 0x7F4141417F
};

static double lsnni_text_width(const char *text, int scale)
{
    return text && scale > 0 ? 6.0 * scale * (double)strlen(text) : 0;
}

/* align: x is where the text begins (0), its middle (0.5) or its end (1); text
   that is too long for that begins at the left border.                        */
static void lsnni_text(const lsnni_canvas *cv, double x, double y, double align, int scale,
                       uint32_t rgb, const char *text)
{
    if (!text || scale < 1) return;
    if (align > 0) x = LSNNI_MAX(cv->left, floor(x - align * lsnni_text_width(text, scale)));
    for (; *text && x < cv->right; text++, x += 6.0 * scale) {
        int code = (unsigned char)*text;
        uint64_t letter = lsnni_letters[code >= 32 && code < 127 ? code - 32 : 95];
        for (int bit = 0; bit < 40; bit++)
            if (letter >> bit & 1)
                lsnni_fill(cv, x + bit / 8 * (double)scale, y + bit % 8 * (double)scale, scale,
                           scale, rgb, 1);
    }
}

LSNN_API int lsnn_image_text(lsnn_image *im, int x, int y, int scale, uint32_t rgb,
                             const char *text)
{
    lsnni_canvas cv = lsnni_canvas_of(im, 0, 0, im->w, im->h);
    lsnni_text(&cv, x, y, 0, scale, rgb, text);
    return lsnni_clamp(lsnni_text_width(text, scale), 0, INT_MAX);
}

/* ---- >>maps ------------------------------------------------------------------*/
/* One map: grey levels, or (rgb given) that colour with the level as opacity;
   NaN is magenta. An empty range is a step at lo. Halves: hi - lo may overflow. */
static void lsnni_map(lsnn_image *im, double x, double y, int scale, const lsnn_real *map,
                      int h, int w, double lo, double hi, const uint32_t *rgb)
{
    lsnni_canvas cv = lsnni_canvas_of(im, 0, 0, im->w, im->h);
    for (int i = 0; i < h && scale > 0; i++)
        for (int j = 0; j < w; j++) {
            double v = (double)map[(size_t)i * (size_t)w + (size_t)j];
            double t = (0.5 * v - 0.5 * lo) / (0.5 * hi - 0.5 * lo);
            uint32_t colour = 0xFF00FF;
            t = v <= lo ? 0 : v >= hi ? 1 : t;
            if (t == t) colour = rgb ? *rgb : (uint32_t)(255 * t + 0.5) * 0x010101u;
            lsnni_fill(&cv, x + (double)j * scale, y + (double)i * scale, scale, scale, colour,
                       rgb && t == t ? t : 1);
        }
}

LSNN_API void lsnn_image_map(lsnn_image *im, int x, int y, int scale, const lsnn_real *map,
                             int h, int w, double lo, double hi)
{
    lsnni_map(im, x, y, scale, map, h, w, lo, hi, NULL);
}

LSNN_API void lsnn_image_overlay(lsnn_image *im, int x, int y, int scale, const lsnn_real *map,
                                 int h, int w, double hi, uint32_t rgb)
{
    lsnni_map(im, x, y, scale, map, h, w, 0, hi, &rgb);
}

LSNN_API void lsnn_image_grid(lsnn_image *im, int x, int y, int scale, const lsnn_real *maps,
                              int count, int h, int w, int columns, int gap)
{
    size_t area = (size_t)LSNNI_MAX(h, 0) * (size_t)LSNNI_MAX(w, 0);
    for (int m = 0; m < count && columns > 0; m++) {
        const lsnn_real *map = maps + (size_t)m * area;
        double lo = 0, hi = -DBL_MAX;                /* of the finite values  */
        for (size_t i = 0; i < area; i++) {
            double v = (double)map[i];
            if (v >= -DBL_MAX && v < lo) lo = v;
            if (v <= DBL_MAX && v > hi) hi = v;
        }
        lsnni_map(im, x + (m % columns) * ((double)w * scale + gap),
                  y + (double)(m / columns) * ((double)h * scale + gap), scale, map, h, w, lo,
                  hi, NULL);
    }
}

/* ---- >>plot ------------------------------------------------------------------*/
enum { LSNNI_INK = 0x262626, LSNNI_PALE = 0xE6E6E6 };

typedef struct lsnni_axis {
    double lo, hi;                   /* the values at its two ends ...        */
    double from, to;                 /* ... and their pixels                  */
    double step;                     /* tick k is the value k * step          */
} lsnni_axis;

typedef struct lsnni_plot {
    const lsnn_curve *curves;
    int count;
    lsnni_canvas box;                /* all of it                             */
    lsnni_axis x, y;                 /* they span the frame                   */
    int scale;                       /* of text and lines; 0: no room for text */
    double legend;                   /* where its rows end, at the left       */
} lsnni_plot;

/* v = x, y of point i. NaN and infinity are gaps in a curve, as is what might
   overflow or lies past its end: both are NaN then, and 0 is returned.        */
static int lsnni_curve_point(const lsnn_curve *c, int i, double v[2])
{
    int inside = c->y && i < c->count;
    v[0] = inside && c->x ? c->x[i] : i;
    v[1] = inside ? c->y[i] : NAN;
    if (!(fabs(v[0]) < 1e300 && fabs(v[1]) < 1e300)) v[0] = v[1] = NAN;
    return v[0] == v[0];
}

/* Okabe and Ito's colours, which colour-blind readers tell apart.             */
static uint32_t lsnni_curve_rgb(const lsnn_curve *curves, int curve)
{
    uint32_t palette[6] = { 0x0072B2, 0xD55E00, 0x009E73, 0xCC79A7, 0xE69F00, 0x56B4E9 };
    int n = 0;
    for (int c = 0; c < curve; c++) n += curves[c].rgb == 0;
    return curves[curve].rgb ? curves[curve].rgb : palette[n % 6];
}

/* Opens an axis for the values of all points: v[0] of them, or v[1].          */
static lsnni_axis lsnni_axis_of(const lsnn_curve *curves, int count, int of_y)
{
    lsnni_axis a = { 1e300, -1e300, 0, 0, of_y ? 0.0 : 1.0 };
    double big, margin, v[2];
    for (int c = 0; c < count; c++)
        for (int i = 0; i < curves[c].count; i++) {
            if (!lsnni_curve_point(&curves[c], i, v)) continue;
            a.lo = LSNNI_MIN(a.lo, v[of_y]);
            a.hi = LSNNI_MAX(a.hi, v[of_y]);
            if (floor(v[of_y]) < v[of_y]) a.step = 0;    /* else no half epochs    */
        }
    if (a.lo > a.hi) { a.lo = 0; a.hi = 1; }         /* nothing to draw        */
    big = LSNNI_MAX(fabs(a.lo), fabs(a.hi));
    margin = (of_y ? 0.05 : 0.02) * (a.hi - a.lo);
    if (a.hi - a.lo <= 1e-6 * big || a.hi - a.lo < 1e-280)          /* constant */
        margin = big > 1e-270 ? 0.1 * big : 1;
    if (of_y && a.lo >= 0 && a.lo < 0.5 * a.hi) a.lo = margin;      /* start at 0 */
    a.lo -= margin;
    a.hi += margin;
    return a;
}

static double lsnni_axis_pixel(const lsnni_axis *a, double v)
{
    return a->from + (v - a->lo) / (a->hi - a->lo) * (a->to - a->from);
}

/* The i-th tick: its pixel, and its value in as many digits as tell the ticks
   apart; 0 if the axis ends before it.                                        */
static int lsnni_axis_tick(const lsnni_axis *a, int i, double *pixel, char text[64])
{
    double v = (ceil(a->lo / a->step - 1e-9) + i) * a->step;
    int last = (int)floor(log10(a->step) + 1e-9);    /* decimal place of step */
    if (v > a->hi + 1e-9 * a->step) return 0;
    *pixel = floor(lsnni_axis_pixel(a, v) + 0.5);
    if (LSNNI_MAX(fabs(a->lo), fabs(a->hi)) < 1e6 && last >= -4)
        snprintf(text, 64, "%.*f", LSNNI_MAX(0, -last), v);
    else if (v == 0) snprintf(text, 64, "0");
    else {
        int ten = (int)floor(log10(fabs(v)) + 1e-9);
        snprintf(text, 64, "%.*ge%d", ten - last + 1, v / pow(10, ten), ten);
    }
    lsnni_plain_point(text);
    return 1;
}

/* Raises the step to 1, 2 or 5 times a power of ten, the smallest with room for
   the labels; returns the width of the widest.                                */
static double lsnni_axis_steps(lsnni_axis *a, int scale, int of_y)
{
    for (int ticks = 10;; ticks--) {
        double rough = (a->hi - a->lo) / ticks, ten = pow(10, floor(log10(rough)));
        double times = rough <= ten ? 1 : rough <= 2 * ten ? 2 : rough <= 5 * ten ? 5 : 10;
        double pixel, room, widest = 0;
        char text[64];
        a->step = LSNNI_MAX(times * ten, a->step);
        for (int i = 0; lsnni_axis_tick(a, i, &pixel, text); i++)
            widest = LSNNI_MAX(widest, lsnni_text_width(text, scale));
        room = of_y ? 24 * LSNNI_MAX(scale, 1) : widest + 12 * scale;
        if (ticks == 1 || fabs(a->to - a->from) * a->step >= room * (a->hi - a->lo))
            return widest;
    }
}

/* Draws the legend, or (draw = 0) only counts its rows, at least 1. It stands
   above the frame, where it hides no curve, and is laid from its last entry, at
   the right of the lowest row, to its first.                                  */
static int lsnni_plot_legend(const lsnni_plot *p, int draw)
{
    int rows = 1, u = p->scale;
    double end = p->x.to + 12 * u, x = end, y = p->y.to - 12 * u;
    for (int c = p->count - 1; c >= 0; c--) {
        const char *label = p->curves[c].label;
        double width = lsnni_text_width(label, u) + 36 * u;      /* dash, label, gap */
        if (!label) continue;
        if (x < end && x - width < p->legend) { rows++; y -= 12 * u; x = end; }
        x = LSNNI_MAX(x - width, p->box.left);
        if (!draw) continue;
        lsnni_fill(&p->box, x, y, 18 * u, 2 * u, lsnni_curve_rgb(p->curves, c), 1);
        lsnni_text(&p->box, x + 24 * u, y - 2 * u, 0, u, LSNNI_INK, label);
    }
    return rows;
}

static void lsnni_plot_axes(const lsnni_plot *p)
{
    int u = p->scale, line = LSNNI_MAX(u, 1);
    double left = p->x.from, top = p->y.to, bottom = p->y.from, at;
    double width = p->x.to - left + 1, height = bottom - top + 1;
    char text[64];
    for (int i = 0; lsnni_axis_tick(&p->y, i, &at, text); i++) {
        lsnni_fill(&p->box, left, at, width, line, LSNNI_PALE, 1);
        lsnni_fill(&p->box, left - 4 * u, at, 4 * u, line, LSNNI_INK, 1);
        lsnni_text(&p->box, left - 6 * u, at - 3 * u, 1, u, LSNNI_INK, text);
    }
    for (int i = 0; lsnni_axis_tick(&p->x, i, &at, text); i++) {
        lsnni_fill(&p->box, at, top, line, height, LSNNI_PALE, 1);
        lsnni_fill(&p->box, at, bottom, line, 5 * u, LSNNI_INK, 1);
        if (at + 0.5 * lsnni_text_width(text, u) <= p->box.right)
            lsnni_text(&p->box, at + u, bottom + 8 * u, 0.5, u, LSNNI_INK, text);
    }
    lsnni_fill(&p->box, left, top, line, height, LSNNI_INK, 1);
    lsnni_fill(&p->box, left, bottom, width, line, LSNNI_INK, 1);
}

static void lsnni_plot_curve(const lsnni_plot *p, const lsnn_curve *c, uint32_t rgb)
{
    double thickness = 1.5 * p->scale + 0.5, at[3][2] = { { NAN, NAN }, { NAN, NAN } };
    for (int i = 0; i <= c->count; i++) {            /* at: points i - 2, i - 1, i */
        lsnni_curve_point(c, i, at[2]);
        at[2][0] = lsnni_axis_pixel(&p->x, at[2][0]);
        at[2][1] = lsnni_axis_pixel(&p->y, at[2][1]);
        if (at[2][0] == at[2][0]) lsnni_stroke(&p->box, at[0], at[1], at[2], thickness, rgb);
        else if (at[0][0] != at[0][0])               /* a point without neighbours */
            lsnni_stroke(&p->box, at[0], at[1], at[1], 3 * thickness, rgb);
        memmove(at, at + 1, 2 * sizeof at[0]);
    }
}

/* Places the frame for text of scale u: above it stand the title and, in the
   legend's last row, the y axis's label; left and below, labels of the ticks.  */
static void lsnni_plot_layout(lsnni_plot *p, int u, double x, double y, double w, double h,
                              const char *title, const char *x_label, const char *y_label)
{
    p->scale = u;
    p->legend = x + 8 * u + (y_label ? lsnni_text_width(y_label, u) + 18 * u : 0);
    p->x.to = x + w - 20 * u - 1;
    p->y.to = y + (title ? 34 : 10) * u + 12 * u * lsnni_plot_legend(p, 0);
    p->y.from = y + h - (x_label ? 34 : 20) * u - 1;
    p->x.from = floor(x + 16 * u + lsnni_axis_steps(&p->y, u, 1));
    lsnni_axis_steps(&p->x, u, 0);
}

LSNN_API void lsnn_image_plot(lsnn_image *im, int x, int y, int w, int h, const char *title,
                              const char *x_label, const char *y_label,
                              const lsnn_curve *curves, int count)
{
    int u = lsnni_clamp(LSNNI_MIN(w / 450.0, h / 300.0), 1, 1000), big;
    double middle;
    lsnni_plot p = { curves, count, lsnni_canvas_of(im, x, y, w, h),
                     lsnni_axis_of(curves, count, 0), lsnni_axis_of(curves, count, 1), 0, 0 };
    lsnni_plot_layout(&p, u, x, y, w, h, title, x_label, y_label);
    if (p.x.to - p.x.from < 24 || p.y.from - p.y.to < 24)            /* curves only */
        lsnni_plot_layout(&p, u = 0, x, y, w, h, title, x_label, y_label);
    lsnni_fill(&p.box, x, y, w, h, 0xFFFFFF, 1);
    lsnni_plot_axes(&p);
    lsnni_plot_legend(&p, 1);
    middle = 0.5 * (p.x.from + p.x.to);
    big = u > 0 && lsnni_text_width(title, u + 1) < p.x.to - x ? u + 1 : u;
    lsnni_text(&p.box, middle, y + 8.0 * u, 0.5, big, LSNNI_INK, title);
    lsnni_text(&p.box, middle, p.y.from + 22 * u, 0.5, u, LSNNI_INK, x_label);
    lsnni_text(&p.box, x + 8.0 * u, p.y.to - 14 * u, 0, u, LSNNI_INK, y_label);
    for (int c = 0; c < count; c++)
        lsnni_plot_curve(&p, &curves[c], lsnni_curve_rgb(curves, c));
}
#endif /* LSNN_NO_PICTURES */
/* ============================================================================
   >>png  an image as a PNG file: RFC 2083, with zlib (RFC 1950) and deflate (RFC 1951)
     signature | IHDR | IDAT ... | IEND        a chunk: length, name, data, CRC-32
   The data of all IDATs are one zlib stream of the rows, each with a filter's number before
   it. It is one deflate block of fixed Huffman codes: literals, and matches of 3 to 258
   bytes up to 32 K back, found where the same three bytes stood last.
   ==========================================================================*/
#ifndef LSNN_NO_PICTURES

enum { LSNNI_PNG_HASHES = 1 << 14, LSNNI_PNG_REACH = 32768, LSNNI_PNG_LONGEST = 258,
    LSNNI_PNG_END = 256 };

typedef struct lsnni_png {
    FILE *f;                         /* it keeps its error: lsnni_file_replace asks */
    uint32_t crc[256];
    uint32_t bits;                   /* not yet a byte                        */
    int bit_count, used;
    unsigned char out[16384];        /* not yet a chunk                       */
    int last[LSNNI_PNG_HASHES];      /* 1 + where three bytes of this hash stood last */
} lsnni_png;

/* ---- chunks ------------------------------------------------------------------*/
static void lsnni_png_put32(unsigned char *to, uint32_t v)
{
    for (int i = 0; i < 4; i++) to[i] = (unsigned char)(v >> (24 - 8*i));
}

static void lsnni_png_chunk(lsnni_png *p, const char *name, const unsigned char *v, size_t n)
{
    unsigned char head[8], tail[4];
    lsnni_png_put32(head, (uint32_t)n);
    memcpy(head + 4, name, 4);
    lsnni_png_put32(tail, ~lsnni_crc32(p->crc, lsnni_crc32(p->crc, ~(uint32_t)0, head + 4, 4),
                                       v, n));
    fwrite(head, 1, 8, p->f);
    fwrite(v, 1, n, p->f);
    fwrite(tail, 1, 4, p->f);
}

static void lsnni_png_byte(lsnni_png *p, uint32_t v)
{
    p->out[p->used++] = (unsigned char)v;
    if (p->used < (int)sizeof p->out) return;
    lsnni_png_chunk(p, "IDAT", p->out, (size_t)p->used);
    p->used = 0;
}

/* ---- deflate: the lowest bit first, but codes from their highest -----------------*/
static void lsnni_png_bits(lsnni_png *p, uint32_t v, int count)
{
    p->bits |= v << p->bit_count;
    for (p->bit_count += count; p->bit_count >= 8; p->bit_count -= 8) {
        lsnni_png_byte(p, p->bits);
        p->bits >>= 8;
    }
}

static void lsnni_png_code(lsnni_png *p, uint32_t code, int count)
{
    while (count-- > 0) lsnni_png_bits(p, code >> count & 1, 1);
}

/* RFC 1951, 3.2.6: a byte, the end, or from 257 on a length.                 */
static void lsnni_png_symbol(lsnni_png *p, uint32_t s)
{
    if (s < 144) lsnni_png_code(p, 0x30 + s, 8);
    else if (s < 256) lsnni_png_code(p, 0x190 + s - 144, 9);
    else if (s < 280) lsnni_png_code(p, s - 256, 7);
    else lsnni_png_code(p, 0xC0 + s - 280, 8);
}

/* Lengths and distances are coded alike (3.2.5): `steps` codes for each doubling, and the
   bits below as they are. v counts from 0; *extra gets the number of those bits. */
static uint32_t lsnni_png_scale(uint32_t v, uint32_t steps, int *extra)
{
    *extra = 0;
    while (v >> *extra >= 2 * steps) ++*extra;
    return (uint32_t)*extra * steps + (v >> *extra);
}

static void lsnni_png_match(lsnni_png *p, int length, int distance)
{
    uint32_t l = (uint32_t)length - 3, d = (uint32_t)distance - 1;
    int extra;
    if (length == LSNNI_PNG_LONGEST) lsnni_png_symbol(p, 285);
    else {
        lsnni_png_symbol(p, 257 + lsnni_png_scale(l, 4, &extra));
        lsnni_png_bits(p, l & ((1u << extra) - 1), extra);
    }
    lsnni_png_code(p, lsnni_png_scale(d, 2, &extra), 5);
    lsnni_png_bits(p, d & ((1u << extra) - 1), extra);
}

/* Looks up where v[i], v[i + 1], v[i + 2] stood last (-1: nowhere), and enters i. */
static int lsnni_png_look(lsnni_png *p, const unsigned char *v, int i)
{
    uint32_t three = (uint32_t)v[i] | (uint32_t)v[i + 1] << 8 | (uint32_t)v[i + 2] << 16;
    int *last = &p->last[(three * 2654435761u) >> 18], at = *last - 1;
    *last = i + 1;
    return at;
}

static void lsnni_png_deflate(lsnni_png *p, const unsigned char *v, int n)
{
    lsnni_png_bits(p, 3, 3);                             /* the last block, fixed codes */
    for (int i = 0; i < n;) {
        int at = i + 2 < n ? lsnni_png_look(p, v, i) : -1, length = 0;
        int most = LSNNI_MIN(n - i, LSNNI_PNG_LONGEST);
        if (at >= 0 && i - at <= LSNNI_PNG_REACH)
            while (length < most && v[at + length] == v[i + length]) length++;
        if (length < 3) {
            lsnni_png_symbol(p, v[i++]);
            continue;
        }
        lsnni_png_match(p, length, i - at);
        for (i++; --length > 0; i++) if (i + 2 < n) lsnni_png_look(p, v, i);
    }
    lsnni_png_symbol(p, LSNNI_PNG_END);
    lsnni_png_bits(p, 0, 7);                             /* the rest of the last byte */
    p->bits = 0;
    p->bit_count = 0;
}

/* ---- filters: lsnni_png_guess taken away ------------------------------------------*/
/* Row y of im, filtered, to `to` if that is not NULL; returns the sum of its bytes, each
   taken as a number from -128 to 127: the smaller, the better it compresses. */
static double lsnni_png_filter(const lsnn_image *im, int y, int filter, unsigned char *to)
{
    size_t n = 3 * (size_t)im->w;
    const unsigned char *row = im->rgb + (size_t)y * n, *over = y ? row - n : NULL;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        int left = i >= 3 ? row[i - 3] : 0, above = over ? over[i] : 0;
        int corner = i >= 3 && over ? over[i - 3] : 0;
        unsigned char v = (unsigned char)(row[i] - lsnni_png_guess(filter, left, above, corner));
        sum += v < 128 ? v : 256 - v;
        if (to) to[i] = v;
    }
    return sum;
}

/* The rows, each with its best filter.                                       */
static void lsnni_png_rows(const lsnn_image *im, unsigned char *to)
{
    for (int y = 0; y < im->h; y++, to += 3 * (size_t)im->w + 1) {
        double least = HUGE_VAL;
        for (int filter = 0; filter < 5; filter++) {
            double sum = lsnni_png_filter(im, y, filter, NULL);
            if (sum < least) *to = (unsigned char)filter;
            least = LSNNI_MIN(least, sum);
        }
        lsnni_png_filter(im, y, *to, to + 1);
    }
}

static void lsnni_png_file(lsnni_png *p, const lsnn_image *im, const unsigned char *rows, int n)
{
    unsigned char head[13] = { 0 };
    uint32_t check = lsnni_adler32(rows, (size_t)n);
    lsnni_crc32_table(p->crc);
    lsnni_png_put32(head, (uint32_t)im->w);
    lsnni_png_put32(head + 4, (uint32_t)im->h);
    head[8] = 8;                                         /* bits a number         */
    head[9] = 2;                                         /* red, green, blue      */
    fwrite("\x89PNG\r\n\x1a\n", 1, 8, p->f);
    lsnni_png_chunk(p, "IHDR", head, sizeof head);
    lsnni_png_byte(p, 0x78);                             /* zlib, a window of 32 K */
    lsnni_png_byte(p, 0x5E);
    lsnni_png_deflate(p, rows, n);
    for (int i = 0; i < 4; i++) lsnni_png_byte(p, check >> (24 - 8*i));
    lsnni_png_chunk(p, "IDAT", p->out, (size_t)p->used);
    lsnni_png_chunk(p, "IEND", head, 0);
}

/* For lsnni_file_replace.                                                    */
static lsnn_status lsnni_png_write(lsnn_ctx *cx, FILE *f, void *user)
{
    const lsnn_image *im = (const lsnn_image *)user;
    size_t n = (size_t)im->h * (3 * (size_t)im->w + 1);
    unsigned char *rows = (unsigned char *)lsnni_alloc(cx, n, 1);
    lsnni_png *p = rows ? (lsnni_png *)lsnni_alloc(cx, 1, sizeof *p) : NULL;
    if (p) {
        p->f = f;
        lsnni_png_rows(im, rows);
        lsnni_png_file(p, im, rows, (int)n);
    }
    lsnni_free(cx, p);
    lsnni_free(cx, rows);
    return p ? LSNN_OK : LSNN_ENOMEM;
}

LSNN_API lsnn_status lsnn_image_save(lsnn_ctx *cx, const lsnn_image *im, const char *path)
{
    lsnn_image copy = *im;                               /* of the struct, not of pixels */
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_image_save", path));
    if (!im->rgb || im->w < 1 || im->h < 1 || im->h > INT_MAX / 4 / (3.0 * im->w + 1))
        return lsnni_fail(cx, LSNN_ESHAPE, "lsnn_image_save: %s: %d x %d pixels are none, or "
                          "too many for a picture", lsnni_path_end(path), im->w, im->h);
    return lsnni_file_replace(cx, path, lsnni_png_write, &copy);
}
#endif /* LSNN_NO_PICTURES */

/* ---- >>gemm: C (M x N) (+)= A (M x K) B (K x N) ---------------------------------
   How a matrix product gets fast. A core can start two vector multiply-adds a cycle, but load
   only two vectors from its first-level cache, and far fewer from behind it: each number has
   to be used many times once it is there.
   Tiles: 8 rows by 3 vectors of C stay in registers while k runs; a step loads 8 numbers of A
       and 3 vectors of B for 24 multiply-adds (>>block kernel).
   Panels: 3 vectors' width of B serves all rows of A, tile below tile, before the next.
   Chunks: K is cut, so that a panel's chunk (72 KB) stays in the second-level cache while A's
       rows pass. Shorter chunks would load and store C more often.
   Packing: where 128 rows or more pass by a panel, its chunk is copied first to lie in one
       piece: rows a power of two apart would push each other out of the caches. A's rows are
       used where they lie.
   Dots: if B lies along k, as in x W^T, the vectors do too (>>dots kernel); then a chunk of 6
       columns (24 KB) stays in the first-level cache, LSNNI_DOTS_ROWS rows in the second.
       A, or a B narrower than a vector, is turned for it if it lies the other way.
   Threads: each takes a strip of C's rows or columns and adds up its sums by itself in order
       of k, so bits do not depend on the division. Waking one costs about 250,000
       multiply-adds, so it gets at least as many.
   Bound by arithmetic: 90 to 98 % of the limit for squares from 64 to 2048; for few rows of A
   by reading B.                                                              */
typedef struct lsnni_product {
    const lsnni_kernels *kv;
    lsnni_block g;                       /* the whole product                    */
    int dots, chunk, row_unit, column_unit, row_parts, column_parts;
    lsnn_real *pack;                     /* room for a panel's chunk a thread, or NULL   */
    size_t pack_size;
} lsnni_product;
enum { LSNNI_BLOCK_CHUNK = 384, LSNNI_DOTS_CHUNK = 1024 };

/* Panels of 3 vectors; 4 vectors as 2 + 2, so that none is left with one.     */
static void lsnni_product_panels(const lsnni_kernels *kv, const lsnni_block *whole,
                                 lsnn_real *pack)
{
    const int wide = LSNNI_MAX_VECTORS * kv->lanes;
    lsnni_block g = *whole;
    for (int j = 0; j < whole->n; j += g.n) {
        int left = whole->n - j;
        g.n = left > wide && left <= 4 * kv->lanes ? 2 * kv->lanes : LSNNI_MIN(left, wide);
        g.b = whole->b + j * whole->bj;
        g.c = whole->c + j;
        for (int k = 0; pack && k < g.k; k++)
            memcpy(pack + k * wide, g.b + k * whole->bk, (size_t)g.n * sizeof *pack);
        if (pack) {
            g.b = pack;
            g.bk = wide;
        }
        kv->block(&g);
    }
}

static void lsnni_product_dots(const lsnni_kernels *kv, const lsnni_block *whole)
{
    lsnni_block g = *whole;
    for (int i = 0; i < whole->m; i += g.m) {
        g.m = LSNNI_MIN(LSNNI_DOTS_ROWS, whole->m - i);
        g.a = whole->a + i * g.ai;
        g.c = whole->c + i * g.ci;
        kv->dots(&g);
    }
}

/* Where part `index` of `parts` begins, in steps of `unit`; the last part is the largest. */
static int lsnni_part(int count, int unit, int parts, int index)
{
    return index == parts ? count : (int)((int64_t)(count / unit) * index / parts) * unit;
}

static void lsnni_product_task(void *user, int task, int worker)
{
    const lsnni_product *p = (const lsnni_product *)user;
    const int row = p->row_parts > 1 ? task : 0, column = task - row;
    const int m = lsnni_part(p->g.m, p->row_unit, p->row_parts, row);
    const int n = lsnni_part(p->g.n, p->column_unit, p->column_parts, column);
    lsnn_real *pack = p->pack ? p->pack + (size_t)worker * p->pack_size : NULL;
    lsnni_block g = p->g;
    g.m = lsnni_part(p->g.m, p->row_unit, p->row_parts, row + 1) - m;
    g.n = lsnni_part(p->g.n, p->column_unit, p->column_parts, column + 1) - n;
    g.c += m * g.ci + n;
    if (g.bias) g.bias += n;
    for (int k = 0; k < p->g.k; k += p->chunk, g.add = 1) {
        g.k = LSNNI_MIN(p->chunk, p->g.k - k);
        g.a = p->g.a + m * g.ai + k * g.ak;
        g.b = p->g.b + n * g.bj + k * g.bk;
        if (p->dots) lsnni_product_dots(p->kv, &g);
        else lsnni_product_panels(p->kv, &g, pack);
    }
}

/* One strip a thread: of rows or of columns, whichever makes the largest strip smaller. */
static void lsnni_product_divide(lsnni_product *p, int threads)
{
    int rows = LSNNI_MIN(threads, LSNNI_MAX(p->g.m / p->row_unit, 1));
    int columns = LSNNI_MIN(threads, LSNNI_MAX(p->g.n / p->column_unit, 1));
    double m = p->g.m - lsnni_part(p->g.m, p->row_unit, rows, rows - 1);
    double n = p->g.n - lsnni_part(p->g.n, p->column_unit, columns, columns - 1);
    p->row_parts = m * p->g.n < n * p->g.m ? rows : 1;
    p->column_parts = p->row_parts > 1 ? 1 : columns;
}

/* n vectors of k numbers side by side, rows `stride` apart: one after the other in scratch. */
static const lsnn_real *lsnni_product_turn(const lsnni_kernels *kv, char **at,
                                           const lsnn_real *x, ptrdiff_t stride, int n, int k)
{
    lsnn_real *y = (lsnn_real *)lsnni_cut(at, lsnni_area(n, k), sizeof *y);
    kv->transpose(y, (size_t)k, x, (size_t)stride, k, n);
    return y;
}

/* Runs p, whose g is set.                                                     */
static lsnn_status lsnni_product_run(lsnn_ctx *cx, lsnni_product *p)
{
    const lsnni_kernels *kv = p->kv = lsnni_kernels_of(cx);
    lsnni_block *g = &p->g;
    const int dots = g->bk == 1 || g->n < kv->lanes;
    const int most = dots ? LSNNI_DOTS_CHUNK : LSNNI_BLOCK_CHUNK;
    const int turn_a = dots && g->ak != 1, turn_b = dots && g->bk != 1;
    const double work = (g->m + 4.0) * g->n * g->k, least = 2.5e5;
    p->dots = dots;
    p->chunk = lsnni_round_up(lsnni_div_up(g->k, lsnni_div_up(g->k, most)), 16);
    p->row_unit = kv->rows;
    p->column_unit = dots ? 2 : kv->lanes;
    p->row_parts = p->column_parts = 1;
    if (work >= 2 * least)
        lsnni_product_divide(p, (int)LSNNI_MIN(work / least, lsnn_ctx_threads(cx)));
    if (turn_a || turn_b) {
        size_t a_room = turn_a ? lsnni_room(lsnni_area(g->m, g->k), sizeof *g->a) : 0;
        size_t b_room = turn_b ? lsnni_room(lsnni_area(g->n, g->k), sizeof *g->b) : 0;
        char *at = (char *)lsnni_scratch(cx, lsnni_room_add(a_room, b_room), 1);
        if (!at) return LSNN_ENOMEM;
        if (cx->rehearsal_) return LSNN_OK;
        if (turn_a) g->a = lsnni_product_turn(kv, &at, g->a, g->ak, g->m, g->k);
        if (turn_b) g->b = lsnni_product_turn(kv, &at, g->b, g->bk, g->n, g->k);
        if (turn_a) g->ai = g->k;
        if (turn_b) g->bj = g->k;
        g->ak = g->bk = 1;
    }
    p->pack = NULL;
    p->pack_size = lsnni_area(LSNNI_MIN(most, lsnni_round_up(g->k, 16)),
                              LSNNI_MAX_VECTORS * kv->lanes);
    if (!dots && g->m >= 128) {          /* room for the longest chunk, and even where the  */
        p->pack = (lsnn_real *)lsnni_scratch(cx, p->pack_size * (size_t)lsnn_ctx_threads(cx),
                                             sizeof *p->pack);   /* strips are smaller: a   */
                                         /* batch of fewer images takes no more             */
        if (!p->pack) return LSNN_ENOMEM;
        if (g->m / p->row_parts < 128) p->pack = NULL;
    }
    if (work >= 2 * least)
        lsnn_parallel(cx, p->row_parts * p->column_parts, lsnni_product_task, p);
    else if (!cx->rehearsal_) lsnni_product_task(p, 0, 0);
    return LSNN_OK;
}

/* lsnn_gemm; bias, one for each column, or NULL: with trans_b and not add (dense's forward). */
static lsnn_status lsnni_gemm(lsnn_ctx *cx, int trans_a, int trans_b, int m, int n, int k,
                              const lsnn_real *a, int lda, const lsnn_real *b, int ldb, int add,
                              lsnn_real *c, int ldc, const lsnn_real *bias)
{
#ifdef LSNN_USE_CBLAS
    if (cx->rehearsal_) return LSNN_OK;
    CBLAS_TRANSPOSE ta = trans_a ? CblasTrans : CblasNoTrans;
    CBLAS_TRANSPOSE tb = trans_b ? CblasTrans : CblasNoTrans;
    lsnn_real beta = add ? 1 : 0;
#ifdef LSNN_DOUBLE
    cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, 1, a, lda, b, ldb, beta, c, ldc);
#else
    cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, 1, a, lda, b, ldb, beta, c, ldc);
#endif
    for (int i = 0; bias && i < m; i++)
        lsnni_kernels_of(cx)->axpy(c + lsnni_area(i, ldc), 1, bias, (size_t)n);
    return LSNN_OK;
#else
    lsnni_product p;
    memset(&p, 0, sizeof p);
    p.g.m = m; p.g.n = n; p.g.k = k;
    p.g.a = a; p.g.ai = trans_a ? 1 : lda; p.g.ak = trans_a ? lda : 1;
    p.g.b = b; p.g.bk = trans_b ? 1 : ldb; p.g.bj = trans_b ? ldb : 1;
    p.g.c = c; p.g.ci = ldc;
    p.g.add = add;
    p.g.bias = bias;
    return lsnni_product_run(cx, &p);
#endif
}

LSNN_API lsnn_status lsnn_gemm(lsnn_ctx *cx, int trans_a, int trans_b, int m, int n, int k,
                               const lsnn_real *a, int lda, const lsnn_real *b, int ldb,
                               int add, lsnn_real *c, int ldc)
{
    if (m < 1 || n < 1 || k < 1)
        return lsnni_fail(cx, LSNN_ESHAPE, "gemm: M = %d, N = %d, K = %d must be positive", m,
                          n, k);
    if (lda < (trans_a ? m : k) || ldb < (trans_b ? k : n) || ldc < n)
        return lsnni_fail(cx, LSNN_ESHAPE, "gemm: row strides %d, %d, %d are too short for "
                          "M = %d, N = %d, K = %d", lda, ldb, ldc, m, n, k);
    return lsnni_gemm(cx, trans_a, trans_b, m, n, k, a, lda, b, ldb, add, c, ldc, NULL);
}

/* ---- >>sums: gradients of w, in both layouts --------------------------------------
   The tiles of one: adds to `count` rows of c, `width` kernels each, the products
   of dy, turned so that its vectors run over the kernels, and x from start[i] on. Row i is
   number item[i], or i; t has the tables of what is summed over.            */
static void lsnni_dw_tiles(const lsnni_kernels *kv, lsnni_tile *t, lsnn_real *c, int width,
                           const lsnn_real *dy, const lsnn_real *x, const int32_t *start,
                           const int32_t *item, int count)
{
    int lanes = kv->lanes, vectors = lsnni_div_up(width, lanes);
    t->bias = NULL;
    t->add = 1;
    for (int v0 = 0; v0 < vectors; v0 += LSNNI_MAX_VECTORS) {
        t->vectors = LSNNI_MIN(LSNNI_MAX_VECTORS, vectors - v0);
        for (int v = 0; v < t->vectors; v++) {
            t->at[v] = (v0 + v) * lanes;
            t->b[v] = dy + t->at[v];
            t->lanes[v] = LSNNI_MIN(lanes, width - (v0 + v) * lanes);
        }
        for (int i = 0; i < count; i += kv->rows) {
            t->rows = LSNNI_MIN(kv->rows, count - i);
            for (int r = 0; r < kv->rows; r++) {
                int j = i + LSNNI_MIN(r, t->rows - 1);
                t->a[r] = x + start[j];
                t->c[r] = c + lsnni_area(item ? item[j] : j, width);
            }
            kv->tile(t);
        }
    }
}

/* A gradient of w is summed in groups of the batch (its units: images, or blocks of them)
   and ranges of a kernel's taps, cut by sizes alone, so that its bits do not depend on
   threads. Each group has sums of its own, added in order: [depth + 1][kp], vectors along
   the kernels, the last row the bias, whose x is 1.                          */
typedef struct lsnni_sums {
    const lsnni_kernels *kv;
    int kernels, depth, kp;          /* kernels, taps of one, kernels in whole vectors */
    int units, groups, ranges, per_range;
    size_t size;                     /* of a group's sums */
    lsnn_real *part, *dw, *db;
} lsnni_sums;

static void lsnni_sums_plan(lsnni_sums *p, lsnn_ctx *cx, const lsnn_window *s, int units,
                            lsnn_real *dw, lsnn_real *db)
{
    p->kv = lsnni_kernels_of(cx);
    p->kernels = s->k;
    p->depth = s->c * s->kernel_h * s->kernel_w;
    p->kp = lsnni_round_up(s->k, p->kv->lanes);
    p->size = lsnni_area(p->depth + 1, p->kp);
    p->units = units;
    p->groups = (int)LSNNI_MIN(((size_t)1 << 20) / lsnni_area(p->depth, p->kp), 8);
    p->groups = LSNNI_MAX(1, LSNNI_MIN(p->groups, units));
    p->ranges = lsnni_div_up(8, p->groups);
    p->per_range = lsnni_round_up(lsnni_div_up(p->depth, p->ranges), p->kv->rows);
    p->ranges = lsnni_div_up(p->depth, p->per_range);
    p->dw = dw;
    p->db = db;
}

/* A task's units [n0, n1) and taps [d0, d1), and its group's sums.           */
typedef struct lsnni_slice {
    int n0, n1, d0, d1;
    lsnn_real *part;
} lsnni_slice;

static lsnni_slice lsnni_sums_slice(const lsnni_sums *p, int task)
{
    int group = task / p->ranges;
    lsnni_slice slice;
    slice.n0 = (int)((int64_t)p->units * group / p->groups);
    slice.n1 = (int)((int64_t)p->units * (group + 1) / p->groups);
    slice.d0 = task % p->ranges * p->per_range;
    slice.d1 = LSNNI_MIN(slice.d0 + p->per_range, p->depth);
    slice.part = p->part + (size_t)group * p->size;
    return slice;
}

/* Unit n of the bias: `plane` numbers of dy for each kernel.                 */
static void lsnni_sums_bias(const lsnni_sums *p, const lsnni_slice *slice, int n,
                            const lsnn_real *dy, size_t plane)
{
    lsnn_real *sum = slice->part + lsnni_area(p->depth, p->kp);
    if (!p->db || slice->d0 > 0) return;
    if (n == slice->n0) memset(sum, 0, (size_t)p->kp * sizeof *sum);
    for (int k = 0; k < p->kernels; k++)
        sum[k] += LSNNI_R(p->kv->sum(dy + (size_t)k * plane, plane));
}

/* Adds the groups' sums of 64 rows to dw and db.                             */
static void lsnni_sums_task(void *user, int task, int worker)
{
    const lsnni_sums *p = (const lsnni_sums *)user;
    int d0 = p->dw ? task * 64 : p->depth, d1 = LSNNI_MIN(d0 + 64, p->depth + (p->db ? 1 : 0));
    lsnn_real *total = p->part + lsnni_area(d0, p->kp);
    (void)worker;
    for (int g = 1; g < p->groups; g++)
        p->kv->axpy(total, 1, total + (size_t)g * p->size, lsnni_area(d1 - d0, p->kp));
    for (int k = 0; k < p->kernels; k++)
        for (int d = d0; d < d1; d++)
            *(d == p->depth ? p->db + k : p->dw + lsnni_area(k, p->depth) + (size_t)d) +=
                p->part[lsnni_area(d, p->kp) + (size_t)k];
}

static void lsnni_sums_add(lsnn_ctx *cx, lsnni_sums *p)
{
    lsnn_parallel(cx, p->dw ? lsnni_div_up(p->depth + 1, 64) : 1, lsnni_sums_task, p);
}
/* ---- >>spread: an image laid out so that neighbours in the output are neighbours
   in memory. Padding becomes zeros, and stride (sh, sw) splits the image into
   sh*sw phases, each a small image of rows qw apart: padded pixel
   (oy*sh + r, ox*sw + s) lies at offset(c, r, s) + oy*qw + ox.               */
typedef struct lsnni_spread {
    int phases_h, phases_w, qh, qw;
    size_t size;                     /* of one image, with room to read past it */
} lsnni_spread;

static lsnni_spread lsnni_spread_of(const lsnn_window *s)
{
    lsnni_spread g;
    g.phases_h = LSNNI_MIN(s->stride_h, s->kernel_h);
    g.phases_w = LSNNI_MIN(s->stride_w, s->kernel_w);
    g.qh = s->oh + (s->kernel_h - 1) / s->stride_h;
    g.qw = s->ow + (s->kernel_w - 1) / s->stride_w;
    g.size = lsnni_area(s->c * g.phases_h * g.phases_w, g.qh) * (size_t)g.qw +
             2 * LSNNI_MAX_LANES;
    return g;
}

/* Channels [c0, c1).                                                         */
static void lsnni_spread_fill(lsnn_real *to, const lsnni_spread *g, const lsnn_real *x,
                              const lsnn_window *s, int c0, int c1)
{
    lsnn_real *q = to + lsnni_area(c0 * g->phases_h * g->phases_w, g->qh) * (size_t)g->qw;
    for (int c = c0; c < c1; c++)
        for (int ph = 0; ph < g->phases_h; ph++)
            for (int pw = 0; pw < g->phases_w; pw++)
                for (int i = 0; i < g->qh; i++, q += g->qw) {
                    int y = i * s->stride_h + ph - s->pad_top, shift = pw - s->pad_left;
                    const lsnn_real *row;
                    if (y < 0 || y >= s->h) {
                        memset(q, 0, (size_t)g->qw * sizeof *q);
                        continue;
                    }
                    row = x + lsnni_area(c * s->h + y, s->w);
                    if (s->stride_w == 1) {              /* zeros, pixels, zeros */
                        int left = LSNNI_MIN(-shift, g->qw);
                        int end = LSNNI_MIN(g->qw, s->w - shift);
                        for (int j = 0; j < left; j++) q[j] = 0;
                        if (end > left) memcpy(q + left, row, (size_t)(end - left) * sizeof *q);
                        for (int j = LSNNI_MAX(end, left); j < g->qw; j++) q[j] = 0;
                        continue;
                    }
                    for (int j = 0; j < g->qw; j++) {
                        int at = j * s->stride_w + shift;
                        q[j] = at >= 0 && at < s->w ? row[at] : 0;
                    }
                }
    if (c1 == s->c) memset(q, 0, 2 * LSNNI_MAX_LANES * sizeof *q);
}

/* Where the taps in kernel rows [r0, r1) are: in the spread image, and in a kernel. */
static int lsnni_spread_taps(int32_t *offset, int32_t *index, const lsnni_spread *g,
                             const lsnn_window *s, int r0, int r1)
{
    for (int c = 0; c < s->c; c++)
        for (int r = r0; r < r1; r++) {
            int at = (c * s->kernel_h + r) * s->kernel_w;
            int phase = (c * g->phases_h + r % s->stride_h) * g->phases_w;
            int row = (phase * g->qh + r / s->stride_h) * g->qw, area = g->qh * g->qw;
            if (s->stride_w == 1) for (int x = 0; x < s->kernel_w; x++) *offset++ = row + x;
            else
                for (int x = 0; x < s->kernel_w; x++)
                    *offset++ = row + x % s->stride_w * area + x / s->stride_w;
            for (int x = 0; index && x < s->kernel_w; x++) *index++ = at + x;
        }
    return s->c * (r1 - r0) * s->kernel_w;
}

/* ---- >>convolve: M maps of OH x OW from one spread image -------------------------
   y[m, oy, ox] = sum_d w[m, d] image[offset[d] + oy*qw + ox] + bias[m]
   Vectors run along output rows, or, where rows are short, over the image's
   whole length with the few positions between rows thrown away afterwards.
   Above and below the image are only zeros: where vectors run along rows, the
   first and last rows leave a row of kernel taps out.
   Bound by arithmetic; lanes past a row's end are the loss (a fifth at most
   for rows of 38, none where qw = OW).                                       */
enum { LSNNI_CHUNK = 1024 };             /* products summed in one pass          */
typedef struct lsnni_tap_list {          /* of the places up to `end`             */
    int32_t *offset, *index;         /* in the image and in w                 */
    int count, end;
} lsnni_tap_list;
typedef struct lsnni_convolve {
    const lsnni_kernels *kv;
    int m, depth, oh, ow, qw;
    int wide;                        /* vectors per map if rows are joined, or 0 */
    int parts;
    lsnni_tap_list taps[3];
    const lsnn_real *w, *bias;
    int add;
} lsnni_convolve;

static int lsnni_convolve_wide(const lsnni_kernels *kv, int oh, int ow, int qw)
{
    int rows = oh * lsnni_div_up(ow, kv->lanes);
    int joined = lsnni_div_up((oh - 1) * qw + ow, kv->lanes);
    return joined * 10 < rows * 9 || qw == ow ? joined : 0;
}

/* Sets vector v of t to position number `index`, in y's or the joined layout. */
static void lsnni_convolve_place(const lsnni_convolve *g, lsnni_tile *t, int v, int index,
                                 const lsnn_real *image)
{
    int lanes = g->kv->lanes, per_row = lsnni_div_up(g->ow, lanes);
    if (g->wide) {
        int q = index * lanes, end = g->qw == g->ow ? g->oh * g->ow : g->wide * lanes;
        t->b[v] = image + q;
        t->at[v] = q;
        t->lanes[v] = LSNNI_MIN(lanes, end - q);
    } else {
        int oy = index / per_row, ox = index % per_row * lanes;
        t->b[v] = image + oy * g->qw + ox;
        t->at[v] = oy * g->ow + ox;
        t->lanes[v] = LSNNI_MIN(lanes, g->ow - ox);
    }
}

/* Vectors per map; and whether rows are joined with numbers between them to throw away. */
static int lsnni_convolve_places(const lsnni_convolve *g)
{
    return g->wide ? g->wide : g->oh * lsnni_div_up(g->ow, g->kv->lanes);
}
static int lsnni_convolve_splits(const lsnni_convolve *g)
{
    return g->wide && g->qw != g->ow;
}

/* Of the next tile, when so many are left: 4 as 2 + 2, since 1 is slow.      */
static int lsnni_vectors(int left)
{
    return left == LSNNI_MAX_VECTORS + 1 ? 2 : LSNNI_MIN(LSNNI_MAX_VECTORS, left);
}

/* Maps [m0, m1) at places [p0, p1), which have the same taps.                */
static void lsnni_convolve_part(const lsnni_convolve *g, const lsnni_tap_list *taps,
                                lsnn_real *out, size_t pitch, const lsnn_real *image, int m0,
                                int m1, int p0, int p1)
{
    int splits = lsnni_convolve_splits(g);
    lsnni_tile t;
    for (int d = 0; d < taps->count; d += LSNNI_CHUNK)
        for (int p = p0; p < p1; p += t.vectors) {
            t.vectors = lsnni_vectors(p1 - p);
            for (int v = 0; v < t.vectors; v++) lsnni_convolve_place(g, &t, v, p + v, image);
            t.ka = taps->index + d;
            t.kb = taps->offset + d;
            t.k = LSNNI_MIN(LSNNI_CHUNK, taps->count - d);
            t.add = d > 0 || (g->add && !splits);
            for (int m = m0; m < m1; m += g->kv->rows) {
                t.rows = LSNNI_MIN(g->kv->rows, m1 - m);
                t.bias = g->bias && d + LSNNI_CHUNK >= taps->count ? g->bias + m : NULL;
                for (int i = 0; i < g->kv->rows; i++) {
                    int row = m + LSNNI_MIN(i, t.rows - 1);
                    t.a[i] = g->w + lsnni_area(row, g->depth);
                    t.c[i] = out + (size_t)(row - m0) * pitch;
                }
                g->kv->tile(&t);
            }
        }
}

/* Numbers from one map to the next, as convolve_maps writes them.            */
static size_t lsnni_convolve_pitch(const lsnni_convolve *g)
{
    return lsnni_convolve_splits(g) ? lsnni_area(g->wide, g->kv->lanes)
                                    : lsnni_area(g->oh, g->ow);
}

/* Maps [m0, m1) at places [p0, p1) to `out`, rows joined if it splits.       */
static void lsnni_convolve_maps(const lsnni_convolve *g, lsnn_real *out,
                                const lsnn_real *image, int m0, int m1, int p0, int p1)
{
    size_t pitch = lsnni_convolve_pitch(g);
    for (int i = 0; i < g->parts && p0 < p1; i++) {
        int end = LSNNI_MIN(g->taps[i].end, p1);
        if (end <= p0) continue;
        lsnni_convolve_part(g, &g->taps[i], out, pitch, image, m0, m1, p0, end);
        p0 = end;
    }
}

/* Maps [m0, m1) at places [p0, p1): all places, and room for (m1 - m0) * wide vectors in
   joined, if it splits.                                                      */
static void lsnni_convolve_run(const lsnni_convolve *g, lsnn_real *y, const lsnn_real *image,
                               int m0, int m1, int p0, int p1, lsnn_real *joined)
{
    int split = lsnni_convolve_splits(g);
    size_t area = lsnni_area(g->oh, g->ow), pitch = lsnni_convolve_pitch(g);
    lsnni_convolve_maps(g, split ? joined : y + (size_t)m0 * area, image, m0, m1, p0, p1);
    if (!split) return;
    for (int m = m0; m < m1; m++)
        for (int oy = 0; oy < g->oh; oy++) {
            const lsnn_real *from = joined + (size_t)(m - m0) * pitch + lsnni_area(oy, g->qw);
            lsnn_real *to = y + (size_t)m * area + lsnni_area(oy, g->ow);
            if (g->add) g->kv->axpy(to, 1, from, (size_t)g->ow);
            else memcpy(to, from, (size_t)g->ow * sizeof *to);
        }
}

/* ---- >>plain conv2d: on plain arrays, along rows ---------------------------------*/
typedef struct lsnni_conv2d {
    const lsnn_window *s;
    lsnni_convolve g;
    lsnni_spread spread;
    int tasks, m_tasks, m_step, places, p_step;      /* an image's tasks: m_step maps at  */
    int shared;                      /* p_step places each; shared: they share its copy */
    size_t image_size, joined_size, x_image, y_image;
    const lsnn_real *x;
    lsnn_real *y, *images, *joined;
    lsnni_pooled pool;
} lsnni_conv2d;

/* Rows of output that reach above the image, all others, and those that reach below it. */
static void lsnni_conv2d_parts(lsnni_conv2d *p)
{
    const lsnn_window *s = p->s;
    int per_row = lsnni_div_up(s->ow, p->g.kv->lanes);
    int top = s->pad_top, below = s->h + s->pad_top - s->kernel_h + 1;  /* its first row   */
    if (p->g.wide || s->stride_h > 1 || s->kernel_h < 2 || top < 1 || below >= s->oh ||
        top >= below) return;
    p->g.parts = 3;
    p->g.taps[0].end = top * per_row;
    p->g.taps[1].end = below * per_row;
    p->g.taps[2].end = p->places;
}

/* Few images: their spread copies are made before, by all threads, eight channels a task. */
static void lsnni_conv2d_spread_task(void *user, int task, int worker)
{
    const lsnni_conv2d *p = (const lsnni_conv2d *)user;
    int pieces = lsnni_div_up(p->s->c, 8), n = task / pieces, c = task % pieces * 8;
    (void)worker;
    lsnni_spread_fill(p->images + (size_t)n * p->image_size, &p->spread,
                      p->x + (size_t)n * p->x_image, p->s, c, LSNNI_MIN(c + 8, p->s->c));
}

/* Maps [m0, m1), whose places [p0, p1) `maps` holds, pooled as those of image n. */
static void lsnni_conv2d_pool(const lsnni_conv2d *p, const lsnn_real *maps, int n, int m0,
                              int m1, int p0, int p1)
{
    const lsnni_convolve *g = &p->g;
    int per_row = g->wide ? 1 : lsnni_div_up(g->ow, g->kv->lanes);
    int w = g->wide ? g->qw : g->ow, y0 = p0 / per_row, y1 = g->wide ? g->oh : p1 / per_row;
    for (int m = m0; m < m1; m++, maps += lsnni_convolve_pitch(g))
        for (int y = y0; y < y1; y += 2) {
            size_t to = (size_t)n * p->y_image + lsnni_area(m * g->oh + y, g->ow / 2) / 2;
            g->kv->max_pool2(p->y + to, p->pool.where + to, maps + lsnni_area(y, w), w, g->ow,
                             y * g->ow, g->ow / 2, p->pool.relu);
        }
}

/* Task number `task` of image n's, from its spread copy.                     */
static void lsnni_conv2d_piece(const lsnni_conv2d *p, int n, const lsnn_real *image, int task,
                               int worker)
{
    int m0 = task % p->m_tasks * p->m_step, p0 = task / p->m_tasks * p->p_step;
    int m1 = LSNNI_MIN(m0 + p->m_step, p->g.m), p1 = LSNNI_MIN(p0 + p->p_step, p->places);
    lsnn_real *joined = p->joined + (size_t)worker * p->joined_size;
    if (!p->pool.on) {
        lsnni_convolve_run(&p->g, p->y + (size_t)n * p->y_image, image, m0, m1, p0, p1, joined);
        return;
    }
    for (int m = m0; m < m1; m += p->g.kv->rows) {
        int end = LSNNI_MIN(m + p->g.kv->rows, m1);
        lsnni_convolve_maps(&p->g, joined, image, m, end, p0, p1);
        lsnni_conv2d_pool(p, joined, n, m, end, p0, p1);
    }
}

static void lsnni_conv2d_task(void *user, int task, int worker)
{
    const lsnni_conv2d *p = (const lsnni_conv2d *)user;
    int n = task / p->tasks;
    lsnn_real *image = p->images + (size_t)(p->shared ? n : worker) * p->image_size;
    if (!p->shared)
        lsnni_spread_fill(image, &p->spread, p->x + (size_t)n * p->x_image, p->s, 0, p->s->c);
    lsnni_conv2d_piece(p, n, image, task % p->tasks, worker);
}

/* Fills in what forward and the gradient of x have in common.                */
static void lsnni_conv2d_plan(lsnni_conv2d *p, lsnn_ctx *cx, int m, int depth, int oh, int ow,
                              int qw)
{
    const lsnni_kernels *kv = lsnni_kernels_of(cx);
    int tasks = lsnni_image_tasks(p->s->n);
    p->g.kv = kv;
    p->g.m = m;
    p->g.depth = depth;
    p->g.oh = oh;
    p->g.ow = ow;
    p->g.qw = qw;
    p->g.wide = lsnni_convolve_wide(kv, oh, ow, qw);
    p->places = lsnni_convolve_places(&p->g);
    p->g.parts = 1;
    p->g.taps[0].count = depth;
    p->g.taps[0].end = p->places;
    p->m_step = lsnni_round_up(lsnni_div_up(m, tasks), kv->rows);
    p->m_tasks = lsnni_div_up(m, p->m_step);
    tasks = lsnni_convolve_splits(&p->g) ? 1 : lsnni_div_up(tasks, p->m_tasks);
    p->p_step = lsnni_round_up(lsnni_div_up(p->places, tasks), LSNNI_MAX_VECTORS);
    if (p->pool.on)                  /* whole pairs of rows                   */
        p->p_step = p->g.wide ? p->places : lsnni_round_up(lsnni_div_up(p->places, tasks),
                                                           2 * lsnni_div_up(ow, kv->lanes));
    p->tasks = p->m_tasks * lsnni_div_up(p->places, p->p_step);
    p->joined_size = lsnni_convolve_pitch(&p->g);
    if (p->pool.on) p->joined_size *= (size_t)kv->rows;
    else p->joined_size *= lsnni_convolve_splits(&p->g) ? (size_t)p->m_step : 0;
}

/* pool.on: the maps, of even sides, go through a max pooling of 2 x 2 to y and pool.where. */
static lsnn_status lsnni_rows_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                      const lsnn_real *w, const lsnn_real *b,
                                      const lsnn_window *s, const lsnni_pooled *pool)
{
    int threads = lsnn_ctx_threads(cx), depth;
    lsnni_want want[8], *end = want;
    size_t images;
    lsnni_conv2d p;
    depth = s->c * s->kernel_h * s->kernel_w;
    p.s = s;
    p.x = x;
    p.y = y;
    p.pool = *pool;
    p.spread = lsnni_spread_of(s);
    lsnni_conv2d_plan(&p, cx, s->k, depth, s->oh, s->ow, p.spread.qw);
    lsnni_conv2d_parts(&p);
    p.image_size = p.spread.size;
    p.shared = p.tasks > 1;
    images = p.shared ? (size_t)s->n : (size_t)threads;
    p.x_image = lsnni_area(s->c * s->h, s->w);
    p.y_image = lsnni_area(s->k * s->oh, s->ow) / (pool->on ? 4 : 1);
    for (int i = 0; i < p.g.parts; i++) {
        LSNNI_WANT(&end, p.g.taps[i].offset, (size_t)depth);
        LSNNI_WANT(&end, p.g.taps[i].index, (size_t)depth);
    }
    LSNNI_WANT(&end, p.images, lsnni_times(p.image_size, images));
    LSNNI_WANT(&end, p.joined, lsnni_times(p.joined_size, (size_t)threads));
    LSNNI_TRY(lsnni_take(cx, want, end));
    for (int i = 0; i < p.g.parts; i++) {        /* the first and last rows', if apart */
        lsnni_tap_list *t = &p.g.taps[i];
        int first = p.g.parts == 3 && i == 0, last = p.g.parts == 3 && i == 2;
        t->count = lsnni_spread_taps(t->offset, t->index, &p.spread, s, first,
                                     s->kernel_h - last);
    }
    p.g.w = w;
    p.g.bias = b;
    p.g.add = 0;
    if (p.shared)
        lsnni_parallel_some(cx, p.image_size * images, s->n * lsnni_div_up(s->c, 8),
                            lsnni_conv2d_spread_task, &p);
    lsnn_parallel(cx, s->n * p.tasks, lsnni_conv2d_task, &p);
    return LSNN_OK;
}

/* The gradient of x is a convolution too: of dy, with zeros between its pixels
   where the stride was more than 1, by the kernels turned by 180 degrees:
   dx[c,iy,ix] = sum_krs w[k,c,r,s] z[k, iy + kh-1-r, ix + kw-1-s], where dy's
   pixel (oy, ox) stands in z at (oy*sh + kh-1-pt, ox*sw + kw-1-pl).          */
typedef struct lsnni_conv2d_dx {
    lsnni_conv2d conv;               /* x is dy, y is dx                      */
    int zh, zw;
} lsnni_conv2d_dx;

static void lsnni_conv2d_dx_task(void *user, int task, int worker)
{
    const lsnni_conv2d_dx *p = (const lsnni_conv2d_dx *)user;
    const lsnni_conv2d *v = &p->conv;
    const lsnn_window *s = v->s;
    int n = task / v->tasks;
    int top = s->kernel_h - 1 - s->pad_top, left = s->kernel_w - 1 - s->pad_left;
    lsnn_real *z = v->images + (size_t)worker * v->image_size;
    const lsnn_real *dy = v->x + (size_t)n * v->x_image;
    memset(z, 0, v->image_size * sizeof *z);
    for (int k = 0; k < s->k; k++)
        for (int oy = 0; oy < s->oh; oy++) {
            int iy = oy * s->stride_h + top;
            const lsnn_real *from = dy + lsnni_area(k * s->oh + oy, s->ow);
            lsnn_real *to;
            if (iy < 0 || iy >= p->zh) continue;
            to = z + lsnni_area(k * p->zh + iy, p->zw);
            for (int ox = 0; ox < s->ow; ox++) {
                int ix = ox * s->stride_w + left;
                if (ix >= 0 && ix < p->zw) to[ix] = from[ox];
            }
        }
    lsnni_conv2d_piece(v, n, z, task % v->tasks, worker);
}

static lsnn_status lsnni_rows_backward_x(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                         const lsnn_real *w, const lsnn_window *s, int add)
{
    int threads = lsnn_ctx_threads(cx), taps = s->kernel_h * s->kernel_w, depth = s->k * taps;
    int32_t *offset, *iota;
    lsnn_real *turned;
    lsnni_conv2d_dx p;
    lsnni_want want[5], *end = want;
    p.zh = s->h + s->kernel_h - 1;
    p.zw = s->w + s->kernel_w - 1;
    p.conv.s = s;
    p.conv.x = dy;
    p.conv.y = dx;
    memset(&p.conv.pool, 0, sizeof p.conv.pool);
    lsnni_conv2d_plan(&p.conv, cx, s->c, depth, s->h, s->w, p.zw);
    p.conv.image_size = lsnni_area(s->k * p.zh, p.zw) + 2 * LSNNI_MAX_LANES;
    p.conv.x_image = lsnni_area(s->k * s->oh, s->ow);
    p.conv.y_image = lsnni_area(s->c * s->h, s->w);
    LSNNI_WANT(&end, offset, (size_t)depth);
    LSNNI_WANT(&end, iota, (size_t)depth);
    LSNNI_WANT(&end, turned, lsnni_area(s->c, depth));
    LSNNI_WANT(&end, p.conv.images, lsnni_times(p.conv.image_size, (size_t)threads));
    LSNNI_WANT(&end, p.conv.joined, lsnni_times(p.conv.joined_size, (size_t)threads));
    LSNNI_TRY(lsnni_take(cx, want, end));
    for (int k = 0, d = 0; k < s->k; k++)
        for (int r = 0; r < s->kernel_h; r++)
            for (int x = 0; x < s->kernel_w; x++, d++) {
                int from = (s->kernel_h - 1 - r) * s->kernel_w + s->kernel_w - 1 - x;
                offset[d] = (k * p.zh + r) * p.zw + x;
                iota[d] = d;
                for (int c = 0; c < s->c; c++)
                    turned[lsnni_area(c, depth) + (size_t)d] =
                        w[lsnni_area(k * s->c + c, taps) + (size_t)from];
            }
    p.conv.g.taps[0].offset = offset;
    p.conv.g.taps[0].index = iota;
    p.conv.g.w = turned;
    p.conv.g.bias = NULL;
    p.conv.g.add = add;
    lsnn_parallel(cx, s->n * p.conv.tasks, lsnni_conv2d_dx_task, &p);
    return LSNN_OK;
}

/* The gradient of w: tiles of 8 taps (c, r, s) by vectors of kernels, summed over output
   pixels, with dy turned to pixel-major order once an image.                 */
typedef struct lsnni_conv2d_dw {
    const lsnn_window *s;
    lsnni_sums sums;
    lsnni_spread spread;
    size_t turned_size;
    const lsnn_real *x, *dy;
    const int32_t *offset, *place, *row;
    lsnn_real *images, *turned;
} lsnni_conv2d_dw;

static void lsnni_conv2d_dw_task(void *user, int task, int worker)
{
    const lsnni_conv2d_dw *p = (const lsnni_conv2d_dw *)user;
    const lsnn_window *s = p->s;
    lsnni_slice slice = lsnni_sums_slice(&p->sums, task);
    size_t area = lsnni_area(s->oh, s->ow), kp = (size_t)p->sums.kp;
    lsnn_real *image = p->images + (size_t)worker * p->spread.size;
    lsnn_real *turned = p->turned + (size_t)worker * p->turned_size;
    lsnni_tile t;
    t.ka = p->place;
    t.kb = p->row;
    t.k = (int)area;
    if (p->sums.dw) {
        memset(turned, 0, p->turned_size * sizeof *turned);      /* past the last kernel */
        memset(slice.part + (size_t)slice.d0 * kp, 0,
               (size_t)(slice.d1 - slice.d0) * kp * sizeof *turned);
    }
    for (int n = slice.n0; n < slice.n1; n++) {
        const lsnn_real *dy = p->dy + lsnni_area(n, s->k) * area;
        lsnni_sums_bias(&p->sums, &slice, n, dy, area);
        if (!p->sums.dw) continue;
        lsnni_spread_fill(image, &p->spread,
                          p->x + (size_t)n * lsnni_area(s->c * s->h, s->w), s, 0, s->c);
        p->sums.kv->transpose(turned, kp, dy, area, s->k, (int)area);
        lsnni_dw_tiles(p->sums.kv, &t, slice.part + (size_t)slice.d0 * kp, p->sums.kp, turned,
                       image, p->offset + slice.d0, NULL, slice.d1 - slice.d0);
    }
}

static lsnn_status lsnni_rows_backward_w(lsnn_ctx *cx, lsnn_real *dw, lsnn_real *db,
                                           const lsnn_real *dy, const lsnn_real *x,
                                           const lsnn_window *s)
{
    size_t threads = (size_t)lsnn_ctx_threads(cx), area = lsnni_area(s->oh, s->ow);
    int32_t *offset, *place, *row;
    lsnni_conv2d_dw p;
    lsnni_want want[6], *end = want;
    p.s = s;
    p.x = x;
    p.dy = dy;
    p.spread = lsnni_spread_of(s);
    lsnni_sums_plan(&p.sums, cx, s, s->n, dw, db);
    p.turned_size = area * (size_t)p.sums.kp;
    if ((double)area * p.sums.kp > INT32_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE, "conv2d: gradients of %d kernels at %.0f places are "
                          "over 2^31 numbers", s->k, (double)area);
    LSNNI_WANT(&end, offset, (size_t)p.sums.depth);
    LSNNI_WANT(&end, place, area);
    LSNNI_WANT(&end, row, area);
    LSNNI_WANT(&end, p.images, lsnni_times(p.spread.size, threads));
    LSNNI_WANT(&end, p.turned, lsnni_times(p.turned_size, threads));
    LSNNI_WANT(&end, p.sums.part, lsnni_times(p.sums.size, (size_t)p.sums.groups));
    LSNNI_TRY(lsnni_take(cx, want, end));
    lsnni_spread_taps(offset, NULL, &p.spread, s, 0, s->kernel_h);
    for (int q = 0; q < (int)area; q++) {
        place[q] = q / s->ow * p.spread.qw + q % s->ow;
        row[q] = q * p.sums.kp;
    }
    p.offset = offset;
    p.place = place;
    p.row = row;
    lsnn_parallel(cx, p.sums.groups * p.sums.ranges, lsnni_conv2d_dw_task, &p);
    lsnni_sums_add(cx, &p.sums);
    return LSNN_OK;
}

/* A window of one pixel is a matrix product: few images are done one by one by all threads. */
static int lsnni_pointwise(const lsnn_window *s)
{
    return s->kernel_h * s->kernel_w * s->stride_h * s->stride_w == 1 && !s->pad_top &&
           !s->pad_left && s->oh == s->h && s->ow == s->w;
}

static lsnn_status lsnni_pointwise_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                           const lsnn_real *w, const lsnn_real *b,
                                           const lsnn_window *s)
{
    int area = s->h * s->w;
    for (int n = 0; n < s->n; n++, x += lsnni_area(s->c, area), y += lsnni_area(s->k, area)) {
        lsnni_product p;
        memset(&p, 0, sizeof p);
        p.g.m = s->k; p.g.n = area; p.g.k = s->c;
        p.g.a = w; p.g.ai = s->c; p.g.ak = 1;
        p.g.b = x; p.g.bk = area; p.g.bj = 1;
        p.g.c = y; p.g.ci = area;
        p.g.add = b != NULL;
        for (int k = 0; b && k < s->k; k++)
            for (int i = 0; i < area; i++) y[(ptrdiff_t)k * area + i] = b[k];
        LSNNI_TRY(lsnni_product_run(cx, &p));
    }
    return LSNN_OK;
}
/* ---- >>lanes: images side by side -----------------------------------------------
   Where a window's `lanes` is L = lsnn_lanes(cx), images stand in blocks of L,
       (N / L) x C x H x W x L,
   so that a pixel of a block is one vector with an image in each lane. No row is too
   short for vectors then, no border cuts one, and strides cost nothing. The net chooses
   this layout for batches of whole blocks (see >>layout).                    */
LSNN_API int lsnn_lanes(const lsnn_ctx *cx) { return lsnni_kernels_of(cx)->lanes; }

static lsnn_status lsnni_lanes_fit(lsnn_ctx *cx, const char *who, int lanes, int n)
{
    if (!lanes || (lanes == lsnn_lanes(cx) && n % lanes == 0)) return LSNN_OK;
    return lsnni_fail(cx, LSNN_ESHAPE, "%s: %d lanes and %d images: here lanes are 0 or %d, "
                      "with a multiple of that many images", who, lanes, n, lsnn_lanes(cx));
}

static lsnn_status lsnni_lanes_check(lsnn_ctx *cx, const char *who, const lsnn_window *s)
{
    int lanes = lsnn_lanes(cx);
    LSNNI_TRY(lsnni_lanes_fit(cx, who, s->lanes, s->n));
    if (LSNNI_MAX((double)s->c * s->h * s->w, (double)s->k * s->oh * s->ow) * lanes > INT32_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: %d images of this size have over 2^31 numbers",
                          who, lanes);
    return LSNN_OK;
}

enum { LSNNI_TURN = 1024 };          /* pixels a task                          */
typedef struct lsnni_turn {
    const lsnni_kernels *kv;
    const lsnn_real *x;
    lsnn_real *y;
    size_t size;
    int n, back, add, pieces;
} lsnni_turn;

static void lsnni_turn_task(void *user, int task, int worker)
{
    const lsnni_turn *p = (const lsnni_turn *)user;
    size_t lanes = (size_t)p->kv->lanes, first = (size_t)(task % p->pieces) * LSNNI_TURN;
    size_t count = LSNNI_MIN((size_t)LSNNI_TURN, p->size - first);
    int block = task / p->pieces, images = LSNNI_MIN((int)lanes, p->n - block * (int)lanes);
    size_t plain = (size_t)block * lanes * p->size + first;
    size_t turned = (size_t)block * lanes * p->size + first * lanes;
    (void)worker;
    if (p->add)
        for (size_t l = 0; l < (size_t)images; l++)
            for (size_t i = 0; i < count; i++) {
                size_t there = turned + i * lanes + l, here = plain + l * p->size + i;
                if (p->back) p->y[here] += p->x[there];
                else p->y[there] += p->x[here];
            }
    else if (p->back)
        p->kv->transpose(p->y + plain, p->size, p->x + turned, lanes, (int)count, images);
    else {
        if (images < (int)lanes) memset(p->y + turned, 0, count * lanes * sizeof *p->y);
        p->kv->transpose(p->y + turned, lanes, p->x + plain, p->size, images, (int)count);
    }
}

/* n images of `size` numbers to blocks, the missing ones of the last block zero; or back. */
static void lsnni_turn_run(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x, int n, size_t size,
                           int back, int add)
{
    lsnni_turn p;
    p.kv = lsnni_kernels_of(cx);
    p.x = x; p.y = y; p.n = n; p.size = size; p.back = back; p.add = add;
    p.pieces = (int)((size + LSNNI_TURN - 1) / LSNNI_TURN);
    lsnn_parallel(cx, lsnni_div_up(n, p.kv->lanes) * p.pieces, lsnni_turn_task, &p);
}

LSNN_API lsnn_status lsnn_interleave(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x, int n,
                                     size_t size, int back, int add)
{
    double pieces = ((double)size + (int)LSNNI_TURN - 1) / (int)LSNNI_TURN;
    if (n < 1 || n % lsnn_lanes(cx) || size < 1 || pieces * n > INT_MAX)
        return lsnni_fail(cx, LSNN_ESHAPE, "interleave: %d images of %.0f numbers in blocks of "
                          "%d", n, (double)size, lsnn_lanes(cx));
    lsnni_turn_run(cx, y, x, n, size, back, add);
    return LSNN_OK;
}

/* ---- >>reach: see lsnni_reach ------------------------------------------------------*/
static lsnni_reach lsnni_reach_of(const lsnni_side *a, lsnni_way way, int i)
{
    lsnni_reach r;
    int past;
    if (way == LSNNI_FORWARD) {
        r.at = i * a->stride - a->pad;
        r.first = LSNNI_MAX(0, -r.at);
        r.count = LSNNI_MIN(a->kernel, a->in - r.at) - r.first;
        r.at += r.first;
    } else if (way == LSNNI_TO_X) {
        int tap = (i + a->pad) % a->stride, out = (i + a->pad) / a->stride;
        past = LSNNI_MAX(0, out - (a->out - 1));
        tap += past * a->stride;                         /* the lowest, met by the highest */
        out -= past;                                     /*   output row              */
        r.count = tap < a->kernel ? LSNNI_MIN((a->kernel - 1 - tap) / a->stride, out) + 1 : 0;
        r.first = tap + (r.count - 1) * a->stride;
        r.at = out - (r.count - 1);
    } else {
        r.first = i < a->pad ? (a->pad - i + a->stride - 1) / a->stride : 0;
        past = a->in + a->pad - i;
        r.count = LSNNI_MIN(a->out, past > 0 ? (past - 1) / a->stride + 1 : 0) - r.first;
        r.at = r.first * a->stride - a->pad + i;
    }
    if (r.count < 1) r.first = r.count = r.at = 0;
    return r;
}

static size_t lsnni_kinds_room(int rows)
{
    return lsnni_room((size_t)rows, sizeof(lsnni_reach)) +
           3 * lsnni_room((size_t)rows, sizeof(int));
}

static void lsnni_kinds_fill(lsnni_kinds *g, char **at, const lsnni_side *side, lsnni_way way,
                             int rows)
{
    g->rows = rows;
    g->kinds = g->partners = 0;
    g->reach = (lsnni_reach *)lsnni_cut(at, (size_t)rows, sizeof *g->reach);
    g->kind = (int *)lsnni_cut(at, (size_t)rows, sizeof *g->kind);
    g->example = (int *)lsnni_cut(at, (size_t)rows, sizeof *g->example);
    g->members = (int *)lsnni_cut(at, (size_t)rows, sizeof *g->members);
    for (int i = 0; i < rows; i++) {
        lsnni_reach r = g->reach[i] = lsnni_reach_of(side, way, i);
        int k = 0;
        while (k < g->kinds && (g->reach[g->example[k]].first != r.first ||
                                g->reach[g->example[k]].count != r.count))
            k++;
        if (k == g->kinds) {
            g->members[k] = 0;
            g->example[g->kinds++] = i;
            g->partners += r.count;
        }
        g->kind[i] = k;
        g->members[k]++;
    }
}

static void lsnni_sides(lsnni_side side[2], const lsnn_window *s)
{
    side[0].in = s->h; side[0].out = s->oh; side[0].kernel = s->kernel_h;
    side[0].stride = s->stride_h; side[0].pad = s->pad_top;
    side[1].in = s->w; side[1].out = s->ow; side[1].kernel = s->kernel_w;
    side[1].stride = s->stride_w; side[1].pad = s->pad_left;
}

/* ---- >>on lanes: forward, and the gradient of x, on blocks --------------------------
   Each target pixel of m maps is a sum over its taps
   and the source's maps. Tiles are 8 maps x 3 pixels of one kind; bands of target rows
   and chunks of source maps are sized for the second-level cache. Bound by arithmetic. */
enum { LSNNI_CACHE = 1 << 17 };      /* numbers of a band, and of a chunk      */
/* Tiles of the maps that t's rows say, pixels of group g in target rows [y0, y1); the maps
   in memory begin at pixel number `first`.                                   */
static void lsnni_lanes_tiles(const lsnni_lanes *p, const lsnni_group *g, lsnni_tile *t,
                              const lsnn_real *x, int y0, int y1, int first)
{
    int lanes = p->kv->lanes, above = 0, inside = 0, wide = p->kinds[1].members[g->column];
    for (int y = 0; y < y1; y++)
        if (p->kinds[0].kind[y] == g->row) ++*(y < y0 ? &above : &inside);
    for (int i = 0; i < inside * wide; i += t->vectors) {
        const int32_t *from = p->from + g->first + above * wide + i;
        const int32_t *to = p->to + g->first + above * wide + i;
        t->vectors = lsnni_vectors(inside * wide - i);
        for (int v = 0; v < t->vectors; v++) {
            t->b[v] = x + (ptrdiff_t)from[v] * lanes;
            t->at[v] = (ptrdiff_t)(to[v] - first) * lanes;
        }
        p->kv->tile(t);
    }
}

/* Target rows [y0, y1) of maps [m0, m1), which x holds, pooled.              */
static void lsnni_lanes_pool(const lsnni_lanes *p, const lsnn_real *x, int block, int m0, int m1,
                             int y0, int y1)
{
    int w = p->kinds[1].rows;
    size_t lanes = (size_t)p->kv->lanes, row = (size_t)w * lanes;
    int32_t tap[4];
    tap[0] = 0; tap[1] = 1; tap[2] = w; tap[3] = w + 1;
    for (int m = m0; m < m1; m++)
        for (int y = y0; y < y1; y += 2) {
            size_t to = lsnni_area(block * p->m + m, p->kinds[0].rows / 2) + (size_t)y / 2;
            const lsnn_real *from = x + (size_t)((m - m0) * p->band + y - y0) * row;
            p->kv->lanes_max(p->y + to * row / 2, p->pool.where + to * row / 2, from, tap, 4, 2,
                             0, y * w, w / 2, p->pool.relu);
        }
}

static void lsnni_lanes_task(void *user, int task, int worker)
{
    const lsnni_lanes *p = (const lsnni_lanes *)user;
    int m0 = task % p->tasks * p->per_task, m1 = LSNNI_MIN(m0 + p->per_task, p->m);
    int band = task / p->tasks % p->bands, block = task / p->tasks / p->bands;
    int y0 = band * p->band, y1 = LSNNI_MIN(y0 + p->band, p->kinds[0].rows);
    int first = p->pool.on ? y0 * p->kinds[1].rows : 0;
    size_t lanes = (size_t)p->kv->lanes, map = p->target;
    const lsnn_real *x = p->x + lsnni_area(block, p->maps) * p->source * lanes;
    lsnn_real *y = p->y + (size_t)(block * p->m + m0) * p->target * lanes;
    lsnni_tile t;
    if (p->pool.on) {
        map = lsnni_area(p->band, p->kinds[1].rows);
        y = p->pool.room + (size_t)worker * p->pool.size;
    }
    for (int v = 0; v < LSNNI_MAX_VECTORS; v++) t.lanes[v] = (int)lanes;
    for (int c = 0; c < p->maps; c += p->chunk)
        for (int m = m0; m < m1; m += p->kv->rows) {
            int last = c + p->chunk >= p->maps;
            t.add = c > 0 || p->add;
            t.rows = LSNNI_MIN(p->kv->rows, m1 - m);
            t.bias = p->bias && last ? p->bias + m : NULL;
            for (int r = 0; r < p->kv->rows; r++) {
                size_t row = (size_t)(m + LSNNI_MIN(r, t.rows - 1));
                t.a[r] = p->w + (row * (size_t)p->maps + (size_t)c) * p->taps;
                t.c[r] = y + (row - (size_t)m0) * map * lanes;
            }
            for (const lsnni_group *g = p->group; g < p->group + p->groups; g++) {
                t.ka = g->ka;
                t.kb = g->kb;
                t.k = g->taps * (last ? p->maps - c : p->chunk);
                lsnni_lanes_tiles(p, g, &t, x + (size_t)c * p->source * lanes, y0, y1, first);
            }
        }
    if (p->pool.on) lsnni_lanes_pool(p, y, block, m0, m1, y0, y1);
}

/* The pixels of one kind and their table of taps: source maps, kernel rows, columns. */
static int lsnni_lanes_group(const lsnni_lanes *p, const lsnni_group *g, const lsnn_window *s,
                             lsnni_way way)
{
    const lsnni_kinds *rows = &p->kinds[0], *columns = &p->kinds[1];
    const lsnni_reach *r = &rows->reach[rows->example[g->row]];
    const lsnni_reach *q = &columns->reach[columns->example[g->column]];
    int back = way == LSNNI_TO_X, width = back ? s->ow : s->w, n = g->first, k = 0;
    int step_y = back ? -s->stride_h : 1, step_x = back ? -s->stride_w : 1;
    for (int y = 0; y < rows->rows; y++)
        for (int x = 0; rows->kind[y] == g->row && x < columns->rows; x++)
            if (columns->kind[x] == g->column) {
                p->from[n] = rows->reach[y].at * width + columns->reach[x].at;
                p->to[n++] = y * columns->rows + x;
            }
    for (int c = 0; c < p->chunk; c++)
        for (int i = 0; i < r->count; i++)
            for (int j = 0; j < q->count; j++, k++) {
                g->ka[k] = c * (int32_t)p->taps + (r->first + i * step_y) * s->kernel_w +
                    q->first + j * step_x;
                g->kb[k] = ((int32_t)((size_t)c * p->source) + i * width + j) * p->kv->lanes;
            }
    return n;
}

/* Bands of target rows and chunks of source maps, about LSNNI_CACHE numbers each at stride
   1; a chunk has 2 LSNNI_CHUNK taps at most.                                 */
static void lsnni_lanes_sizes(lsnni_lanes *p, const lsnn_window *s, lsnni_way way, int lanes)
{
    int back = way == LSNNI_TO_X, rows = back ? s->h : s->oh, columns = back ? s->w : s->ow;
    int high = back ? s->oh : s->h, wide = back ? s->ow : s->w;
    size_t row;
    p->m = back ? s->c : s->k;
    p->maps = back ? s->k : s->c;
    row = lsnni_area(p->m, columns) * (size_t)lanes;     /* of the target, all maps */
    p->band = LSNNI_MIN(rows, LSNNI_MAX(1, (int)(LSNNI_CACHE / row)));
    if (p->pool.on) p->band = LSNNI_MIN(rows, LSNNI_MAX(1, (int)(LSNNI_CACHE / 8 / row)) * 2);
    p->bands = lsnni_div_up(rows, p->band);
    high = LSNNI_MIN(high, p->band + s->kernel_h - 1);   /* of the source, a map */
    p->chunk = (int)(LSNNI_CACHE / (lsnni_area(high, wide) * (size_t)lanes));
    p->chunk = LSNNI_MIN(p->chunk, 2 * LSNNI_CHUNK / (s->kernel_h * s->kernel_w));
    p->chunk = LSNNI_MIN(p->maps, LSNNI_MAX(1, p->chunk));
}

/* w with its two maps exchanged, so that the source maps of one target are neighbours. */
static void lsnni_lanes_exchange(lsnn_real *to, const lsnn_real *w, const lsnn_window *s)
{
    int taps = s->kernel_h * s->kernel_w;
    for (int k = 0; k < s->k; k++)
        for (int c = 0; c < s->c; c++)
            memcpy(to + lsnni_area(c * s->k + k, taps), w + lsnni_area(k * s->c + c, taps),
                   (size_t)taps * sizeof *to);
}

/* Takes scratch memory for the groups and `more` bytes, and fills the groups in.
   more_tables: arrays as long as the tables that the caller wants beside; *at: the
   caller's part; *table: the tables' length.                                 */
static lsnn_status lsnni_lanes_plan(lsnn_ctx *cx, lsnni_lanes *p, const lsnn_window *s,
                                    lsnni_way way, int chunk, int more_tables, size_t more,
                                    size_t *table, char **at)
{
    int back = way == LSNNI_TO_X, rows = back ? s->h : s->oh, columns = back ? s->w : s->ow;
    size_t bytes = lsnni_kinds_room(rows) + lsnni_kinds_room(columns);
    lsnni_side side[2];
    int32_t *ka, *kb;
    p->kv = lsnni_kernels_of(cx);
    p->chunk = chunk;
    p->source = back ? lsnni_area(s->oh, s->ow) : lsnni_area(s->h, s->w);
    p->target = lsnni_area(rows, columns);
    p->taps = lsnni_area(s->kernel_h, s->kernel_w);
    lsnni_sides(side, s);
    for (int pass = 0; pass < 2; pass++) {               /* to count, then to fill */
        *at = (char *)lsnni_scratch(cx, bytes, 1);
        if (!*at) return LSNN_ENOMEM;
        lsnni_kinds_fill(&p->kinds[0], at, &side[0], way, rows);
        lsnni_kinds_fill(&p->kinds[1], at, &side[1], way, columns);
        if (pass) break;
        *table = lsnni_area(p->kinds[0].partners, p->kinds[1].partners) * (size_t)chunk;
        p->groups = p->kinds[0].kinds * p->kinds[1].kinds;
        bytes += lsnni_room((size_t)p->groups, sizeof *p->group);
        bytes = lsnni_room_add(bytes, 2 * lsnni_room(p->target, sizeof(int32_t)));
        bytes = lsnni_room_add(bytes, lsnni_room_times(lsnni_room(*table, sizeof(int32_t)),
                                                       2 + more_tables));
        bytes = lsnni_room_add(bytes, more);
    }
    p->group = (lsnni_group *)lsnni_cut(at, (size_t)p->groups, sizeof *p->group);
    p->from = (int32_t *)lsnni_cut(at, p->target, sizeof *p->from);
    p->to = (int32_t *)lsnni_cut(at, p->target, sizeof *p->to);
    ka = (int32_t *)lsnni_cut(at, *table, sizeof *ka);
    kb = (int32_t *)lsnni_cut(at, *table, sizeof *kb);
    for (int i = 0, first = 0; i < p->groups; i++) {
        lsnni_group *g = &p->group[i];
        g->row = i / p->kinds[1].kinds;
        g->column = i % p->kinds[1].kinds;
        g->taps = p->kinds[0].reach[p->kinds[0].example[g->row]].count *
            p->kinds[1].reach[p->kinds[1].example[g->column]].count;
        g->first = first;
        g->ka = ka;
        g->kb = kb;
        first = lsnni_lanes_group(p, g, s, way);
        ka += g->taps * chunk;
        kb += g->taps * chunk;
    }
    return LSNN_OK;
}

static lsnn_status lsnni_lanes_run(lsnn_ctx *cx, lsnni_lanes *p, const lsnn_window *s,
                                   lsnni_way way)
{
    int back = way == LSNNI_TO_X;
    size_t weights = back ? lsnni_area(s->c, s->k) * lsnni_area(s->kernel_h, s->kernel_w) : 0;
    size_t table, room;
    char *at;
    LSNNI_TRY(lsnni_lanes_check(cx, "conv2d", s));
    lsnni_lanes_sizes(p, s, way, lsnn_lanes(cx));
    p->tasks = LSNNI_MIN(lsnni_image_tasks(s->n / s->lanes * p->bands),
                         lsnni_div_up(p->m, lsnni_kernels_of(cx)->rows));
    p->per_task = lsnni_round_up(lsnni_div_up(p->m, p->tasks), lsnni_kernels_of(cx)->rows);
    p->tasks = lsnni_div_up(p->m, p->per_task);
    if (p->pool.on) p->pool.size = lsnni_area(p->per_task * p->band, s->ow * s->lanes);
    room = lsnni_room_times(lsnni_room(p->pool.size, sizeof *p->y), lsnn_ctx_threads(cx));
    room = lsnni_room_add(room, lsnni_room(weights, sizeof *p->y));
    LSNNI_TRY(lsnni_lanes_plan(cx, p, s, way, p->chunk, 0, room, &table, &at));
    p->pool.room = (lsnn_real *)lsnni_cut(&at, p->pool.size * (size_t)lsnn_ctx_threads(cx),
                                          sizeof *p->y);
    if (back) {
        lsnni_lanes_exchange((lsnn_real *)(void *)at, p->w, s);
        p->w = (lsnn_real *)(void *)at;
    }
    lsnn_parallel(cx, s->n / s->lanes * p->bands * p->tasks, lsnni_lanes_task, p);
    return LSNN_OK;
}

/* ---- >>dw on blocks ------------------------------------------------------------------
   The gradient of w: a weight (c, r, s) of kernel k is the sum over pixels and lanes of
   dy times x. Strips of dy are turned so that vectors run over the kernels; then it is
   a tile of 8 weights x 3 vectors of kernels, with the pixels and lanes of the strip as
   its depth, and weights whose taps are of one kind share a table of pixels. Bound by
   arithmetic.                                                                */
enum { LSNNI_STRIP = 16 };           /* pixels of a strip, or a row if it is wider */
typedef struct lsnni_lanes_dw {
    const lsnn_window *s;
    lsnni_sums sums;
    lsnni_kinds kinds[2];
    int rows, columns;
    const lsnn_real *x, *dy;
    lsnn_real *turned;
    int32_t *item, *start;           /* weights kind by kind, and where each begins in x */
    int32_t *ka, *kb;                /* a table of pixels for each kind of columns */
    size_t turned_size, table;
} lsnni_lanes_dw;

/* One strip: output rows [y0, y1), columns [x0, x1).                         */
static void lsnni_lanes_dw_strip(const lsnni_lanes_dw *p, const lsnn_real *x,
                                 const lsnn_real *dy, lsnn_real *turned,
                                 const lsnni_slice *slice, const int box[4])
{
    const lsnni_kernels *kv = p->sums.kv;
    const lsnn_window *s = p->s;
    int y0 = box[0], y1 = box[1], x0 = box[2], x1 = box[3];
    int lanes = kv->lanes, kp = p->sums.kp, done = 0;
    size_t plane = lsnni_area(s->oh, s->ow) * (size_t)lanes;
    for (int y = y0, q = 0; y < y1; y++)
        for (int c = x0; c < x1; c++, q++)
            kv->transpose(turned + lsnni_area(q * lanes, kp), (size_t)kp,
                          dy + lsnni_area(y * s->ow + c, lanes), plane, s->k, lanes);
    for (int i = 0; i < p->kinds[0].kinds; i++)
        for (int j = 0; j < p->kinds[1].kinds; j++) {
            const lsnni_reach *r = &p->kinds[0].reach[p->kinds[0].example[i]];
            const lsnni_reach *c = &p->kinds[1].reach[p->kinds[1].example[j]];
            int top = LSNNI_MAX(y0, r->first), bottom = LSNNI_MIN(y1, r->first + r->count);
            int left = LSNNI_MAX(x0, c->first), right = LSNNI_MIN(x1, c->first + c->count);
            int count = s->c * p->kinds[0].members[i] * p->kinds[1].members[j];
            int first = LSNNI_MAX(slice->d0 - done, 0);
            int last = LSNNI_MIN(slice->d1 - done, count);
            ptrdiff_t from = (ptrdiff_t)(top - r->first) * s->stride_h * s->w +
                (ptrdiff_t)(left - c->first) * s->stride_w;
            lsnni_tile t;
            t.ka = p->ka + (size_t)j * p->table;
            t.kb = p->kb + (size_t)j * p->table;
            t.k = (bottom - top) * (right - left) * lanes;
            if (top < bottom && left < right && first < last)
                lsnni_dw_tiles(kv, &t, slice->part, kp, turned +
                               lsnni_area(((top - y0) * (x1 - x0) + left - x0) * lanes, kp),
                               x + from * lanes, p->start + done + first,
                               p->item + done + first, last - first);
            done += count;
        }
}

static void lsnni_lanes_dw_task(void *user, int task, int worker)
{
    const lsnni_lanes_dw *p = (const lsnni_lanes_dw *)user;
    const lsnn_window *s = p->s;
    lsnni_slice slice = lsnni_sums_slice(&p->sums, task);
    size_t kp = (size_t)p->sums.kp, lanes = (size_t)p->sums.kv->lanes;
    size_t plane = lsnni_area(s->oh, s->ow) * lanes;
    lsnn_real *turned = p->turned + (size_t)worker * p->turned_size;
    int box[4];
    for (int i = slice.d0; p->sums.dw && i < slice.d1; i++)
        memset(slice.part + (size_t)p->item[i] * kp, 0, kp * sizeof *turned);
    memset(turned, 0, p->turned_size * sizeof *turned);  /* past the last kernel */
    for (int n = slice.n0; n < slice.n1; n++) {
        const lsnn_real *dy = p->dy + lsnni_area(n, s->k) * plane;
        const lsnn_real *x = p->x + lsnni_area(n, s->c) * lsnni_area(s->h, s->w) * lanes;
        lsnni_sums_bias(&p->sums, &slice, n, dy, plane);
        for (box[0] = 0; p->sums.dw && box[0] < s->oh; box[0] += p->rows)
            for (box[2] = 0; box[2] < s->ow; box[2] += p->columns) {
                box[1] = LSNNI_MIN(box[0] + p->rows, s->oh);
                box[3] = LSNNI_MIN(box[2] + p->columns, s->ow);
                lsnni_lanes_dw_strip(p, x, dy, turned, &slice, box);
            }
    }
}

/* The weights of each kind, and the tables of a strip's pixels and lanes.    */
static void lsnni_lanes_dw_tables(lsnni_lanes_dw *p)
{
    const lsnn_window *s = p->s;
    const lsnni_kinds *rows = &p->kinds[0], *columns = &p->kinds[1];
    int n = 0, lanes = p->sums.kv->lanes;
    for (int i = 0; i < rows->kinds; i++)
        for (int j = 0; j < columns->kinds; j++)
            for (int c = 0; c < s->c; c++)
                for (int y = 0; y < s->kernel_h; y++)
                    for (int x = 0; rows->kind[y] == i && x < s->kernel_w; x++)
                        if (columns->kind[x] == j) {
                            p->item[n] = (c * s->kernel_h + y) * s->kernel_w + x;
                            p->start[n++] = ((c * s->h + rows->reach[y].at) * s->w +
                                             columns->reach[x].at) * lanes;
                        }
    for (int j = 0; j < columns->kinds; j++) {           /* one row, or all columns */
        int32_t *ka = p->ka + (size_t)j * p->table, *kb = p->kb + (size_t)j * p->table;
        int wide = p->rows == 1 ? p->columns : columns->reach[columns->example[j]].count;
        for (int y = 0; y < p->rows; y++)
            for (int x = 0; x < wide; x++)
                for (int l = 0; l < lanes; l++) {
                    *ka++ = (y * s->stride_h * s->w + x * s->stride_w) * lanes + l;
                    *kb++ = ((y * p->columns + x) * lanes + l) * p->sums.kp;
                }
    }
}

static lsnn_status lsnni_blocks_backward_w(lsnn_ctx *cx, lsnn_real *dw, lsnn_real *db,
                                          const lsnn_real *dy, const lsnn_real *x,
                                          const lsnn_window *s)
{
    size_t threads = (size_t)lsnn_ctx_threads(cx), bytes, tables;
    int strips = lsnni_div_up(s->ow, LSNNI_STRIP), depth;
    lsnni_lanes_dw p;
    lsnni_side side[2];
    char *at;
    LSNNI_TRY(lsnni_lanes_check(cx, "conv2d", s));
    p.s = s; p.x = x; p.dy = dy;
    lsnni_sums_plan(&p.sums, cx, s, s->n / s->lanes, dw, db);
    p.columns = lsnni_div_up(s->ow, strips);
    p.rows = LSNNI_MIN(s->oh, strips > 1 ? 1 : LSNNI_MAX(1, LSNNI_STRIP / s->ow));
    p.table = lsnni_area(p.rows * p.columns, s->lanes);
    p.turned_size = p.table * (size_t)p.sums.kp;
    depth = p.sums.depth;
    tables = lsnni_room_times(p.table, s->kernel_w);
    bytes = lsnni_kinds_room(s->kernel_h) + lsnni_kinds_room(s->kernel_w);
    bytes = lsnni_room_add(bytes, 2 * lsnni_room((size_t)depth, sizeof *p.item));
    bytes = lsnni_room_add(bytes, 2 * lsnni_room(tables, sizeof *p.ka));
    bytes = lsnni_room_add(bytes, lsnni_room(lsnni_times(p.sums.size, (size_t)p.sums.groups),
                                             sizeof *x));
    bytes = lsnni_room_add(bytes, lsnni_room(lsnni_times(p.turned_size, threads), sizeof *x));
    at = (char *)lsnni_scratch(cx, bytes, 1);
    if (!at) return LSNN_ENOMEM;
    lsnni_sides(side, s);
    lsnni_kinds_fill(&p.kinds[0], &at, &side[0], LSNNI_TO_W, s->kernel_h);
    lsnni_kinds_fill(&p.kinds[1], &at, &side[1], LSNNI_TO_W, s->kernel_w);
    p.item = (int32_t *)lsnni_cut(&at, (size_t)depth, sizeof *p.item);
    p.start = (int32_t *)lsnni_cut(&at, (size_t)depth, sizeof *p.start);
    p.ka = (int32_t *)lsnni_cut(&at, tables, sizeof *p.ka);
    p.kb = (int32_t *)lsnni_cut(&at, tables, sizeof *p.kb);
    p.sums.part = (lsnn_real *)lsnni_cut(&at, p.sums.size * (size_t)p.sums.groups, sizeof *x);
    p.turned = (lsnn_real *)(void *)at;
    lsnni_lanes_dw_tables(&p);
    lsnn_parallel(cx, p.sums.groups * p.sums.ranges, lsnni_lanes_dw_task, &p);
    lsnni_sums_add(cx, &p.sums);
    return LSNN_OK;
}

static lsnn_status lsnni_blocks_forward(lsnn_ctx *cx, lsnn_real *y, const lsnn_real *x,
                                       const lsnn_real *w, const lsnn_real *b,
                                       const lsnn_window *s, const lsnni_pooled *pool)
{
    lsnni_lanes p;
    p.x = x; p.w = w; p.bias = b; p.y = y; p.add = 0;
    p.pool = *pool;
    return lsnni_lanes_run(cx, &p, s, LSNNI_FORWARD);
}

static lsnn_status lsnni_blocks_backward_x(lsnn_ctx *cx, lsnn_real *dx, const lsnn_real *dy,
                                          const lsnn_real *w, const lsnn_window *s, int add)
{
    lsnni_lanes p;
    p.x = dy; p.w = w; p.bias = NULL; p.y = dx; p.add = add;
    memset(&p.pool, 0, sizeof p.pool);
    return lsnni_lanes_run(cx, &p, s, LSNNI_TO_X);
}


#if defined(LSNN_NAIVE) && defined(__GNUC__)
#  pragma GCC diagnostic pop
#endif
#ifdef LSNNI_CALM
#  pragma GCC pop_options
#endif
#endif /* LSNNI_BODY */

/* ============================================================================
   >>kernels  the inner loops, once per instruction set
   The file includes itself below with LSNNI_KERNEL_PASS set to the name of an
   instruction set; this chapter is all that such a pass compiles. K_(name) is
   the function's name in the pass, kvec its vector of K_LANES numbers.
   ==========================================================================*/
#ifdef LSNNI_KERNEL_PASS
#define K_PASTE2(a, b) lsnni_##a##_##b
#define K_PASTE(a, b) K_PASTE2(a, b)
#define K_(name) K_PASTE(name, LSNNI_KERNEL_PASS)
#define K_LANES ((int)(K_BYTES / sizeof(lsnn_real)))

#if K_BYTES == 0                     /* no vectors: LSNN_NO_SIMD, nvcc, MSVC */
#undef K_LANES
#define K_LANES 1
typedef lsnn_real K_(vec);
#define kvec K_(vec)
#define kints int32_t
#define K_LOAD(p) (*(p))
#define K_STORE(p, v) (*(p) = (v))
#define K_SELECT(type, mask, a, b) ((mask) ? (a) : (b))
#define K_LOAD_INTS(p) (*(p))
#define K_STORE_INTS(p, v) (*(p) = (v))
#else
#ifdef LSNN_DOUBLE
typedef int64_t K_(int);
typedef int64_t K_(ints) __attribute__((vector_size(K_BYTES)));
#else
typedef int32_t K_(int);
typedef int32_t K_(ints) __attribute__((vector_size(K_BYTES)));
#endif
typedef lsnn_real K_(vec) __attribute__((vector_size(K_BYTES)));
typedef lsnn_real K_(mem) __attribute__((vector_size(K_BYTES), aligned(sizeof(lsnn_real)),
                                         may_alias));
#define kvec K_(vec)
#define kints K_(ints)
#define K_LOAD(p) (*(const K_(mem) *)(p))
#define K_STORE(p, v) (*(K_(mem) *)(p) = (v))
#define K_SELECT(type, mask, a, b) ((type)(((kints)(a) & (mask)) | ((kints)(b) & ~(mask))))
#ifdef LSNN_DOUBLE                   /* int32_t in memory, int64_t in registers */
typedef int32_t K_(whole) __attribute__((vector_size(K_BYTES / 2), aligned(4), may_alias));
#define K_LOAD_INTS(p) __builtin_convertvector(*(const K_(whole) *)(p), kints)
#define K_STORE_INTS(p, v) (*(K_(whole) *)(p) = __builtin_convertvector(v, K_(whole)))
#else
typedef int32_t K_(whole) __attribute__((vector_size(K_BYTES), aligned(4), may_alias));
#define K_LOAD_INTS(p) (*(const K_(whole) *)(p))
#define K_STORE_INTS(p, v) (*(K_(whole) *)(p) = (v))
#endif
#endif
#ifndef K_FMA
#define K_FMA(a, b, c) ((a) * (b) + (c))
#endif
/* The even and the odd ones of two vectors, the first vector's before the second's: of all
   numbers (evens, odds), of the numbers in each 16 bytes (near), of all 16 bytes (far). Near
   and far shuffles are the cheap ones; a near pass for each halving of 16 bytes and then
   a far pass for each halving of the vector sort the numbers as evens and odds do. */
#if K_BYTES > 0
#ifdef LSNN_DOUBLE
#define K_COUNT (K_BYTES / 8)
#else
#define K_COUNT (K_BYTES / 4)
#endif
#if K_COUNT == 16
#define K_EVENS 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define K_ODDS 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define K_NEAR_EVENS 0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30
#define K_NEAR_ODDS 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31
#define K_FAR_EVENS 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27
#define K_FAR_ODDS 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31
#elif K_COUNT == 8
#define K_EVENS 0, 2, 4, 6, 8, 10, 12, 14
#define K_ODDS 1, 3, 5, 7, 9, 11, 13, 15
#ifdef LSNN_DOUBLE
#define K_NEAR_EVENS 0, 8, 2, 10, 4, 12, 6, 14
#define K_NEAR_ODDS 1, 9, 3, 11, 5, 13, 7, 15
#define K_FAR_EVENS 0, 1, 4, 5, 8, 9, 12, 13
#define K_FAR_ODDS 2, 3, 6, 7, 10, 11, 14, 15
#else
#define K_NEAR_EVENS 0, 2, 8, 10, 4, 6, 12, 14
#define K_NEAR_ODDS 1, 3, 9, 11, 5, 7, 13, 15
#define K_FAR_EVENS 0, 1, 2, 3, 8, 9, 10, 11
#define K_FAR_ODDS 4, 5, 6, 7, 12, 13, 14, 15
#endif
#elif K_COUNT == 4
#define K_EVENS 0, 2, 4, 6
#define K_ODDS 1, 3, 5, 7
#ifdef LSNN_DOUBLE
#define K_NEAR_EVENS 0, 4, 2, 6
#define K_NEAR_ODDS 1, 5, 3, 7
#define K_FAR_EVENS 0, 1, 4, 5
#define K_FAR_ODDS 2, 3, 6, 7
#endif
#else
#define K_EVENS 0, 2
#define K_ODDS 1, 3
#endif
#ifndef K_NEAR_EVENS                 /* a vector is 16 bytes                  */
#define K_NEAR_EVENS K_EVENS
#define K_NEAR_ODDS K_ODDS
#endif
#ifndef K_FAR_EVENS                  /* and never asked for these             */
#define K_FAR_EVENS K_EVENS
#define K_FAR_ODDS K_ODDS
#endif
#ifdef __clang__
#define K_SHUFFLE(name, ...)                                                             \
    static inline kvec K_(name)(kvec a, kvec b)                                            \
    { return __builtin_shufflevector(a, b, __VA_ARGS__); }
#else
#define K_SHUFFLE(name, ...)                                                             \
    static inline kvec K_(name)(kvec a, kvec b)                                            \
    { const kints list = { __VA_ARGS__ }; return __builtin_shuffle(a, b, list); }
#endif
K_SHUFFLE(evens, K_EVENS)
K_SHUFFLE(odds, K_ODDS)
K_SHUFFLE(near_evens, K_NEAR_EVENS)
K_SHUFFLE(near_odds, K_NEAR_ODDS)
K_SHUFFLE(far_evens, K_FAR_EVENS)
K_SHUFFLE(far_odds, K_FAR_ODDS)
static inline kvec K_(sort_evens)(kvec a, kvec b, int within)
{
    return within ? K_(near_evens)(a, b) : K_(far_evens)(a, b);
}
static inline kvec K_(sort_odds)(kvec a, kvec b, int within)
{
    return within ? K_(near_odds)(a, b) : K_(far_odds)(a, b);
}
#endif

/* ---- >>tile kernel: bound by the two multiply-add units. The tile of 8 x 3 vectors
   needs 8 broadcasts and 3 loads for 24 multiply-adds, half of what the load
   units can do, and 24 of 32 registers; with 16 registers the tile is 4 x 3.
   One function for each number of vectors; the accumulators are spelled out,
   c_ij for row i and vector j, because compilers keep only names in registers. */
#define K_ROWS4(X) X(0) X(1) X(2) X(3)
#define K_ROWS8(X) K_ROWS4(X) X(4) X(5) X(6) X(7)
#define K_ROW(i) const lsnn_real *a##i = t->a[i];
#define K_CLEAR1(i) kvec c##i##0 = zero;
#define K_CLEAR2(i) K_CLEAR1(i) kvec c##i##1 = zero;
#define K_CLEAR3(i) K_CLEAR2(i) kvec c##i##2 = zero;
#define K_CLEAR4(i) K_CLEAR3(i) kvec c##i##3 = zero;
#define K_FETCH1 kvec v0 = K_LOAD(b0 + ib);
#define K_FETCH2 K_FETCH1 kvec v1 = K_LOAD(b1 + ib);
#define K_FETCH3 K_FETCH2 kvec v2 = K_LOAD(b2 + ib);
#define K_ITEM(i) (a##i[ia] - zero)  /* x - 0 is x, so this is a broadcast and no more */
#define K_STEP1(i) c##i##0 = K_FMA(K_ITEM(i), v0, c##i##0);
#define K_STEP2(i) K_STEP1(i) c##i##1 = K_FMA(K_ITEM(i), v1, c##i##1);
#define K_STEP3(i) K_STEP2(i) c##i##2 = K_FMA(K_ITEM(i), v2, c##i##2);
#define K_STEP4(i) K_STEP3(i) c##i##3 = K_FMA(K_ITEM(i), v3, c##i##3);
#define K_END1(i) if (i < t->rows) K_(store)(t, i, 0, c##i##0);
#define K_END2(i) K_END1(i) if (i < t->rows) K_(store)(t, i, 1, c##i##1);
#define K_END3(i) K_END2(i) if (i < t->rows) K_(store)(t, i, 2, c##i##2);
#define K_FULL1 (t->lanes[0] == K_LANES)
#define K_FULL2 (K_FULL1 && t->lanes[1] == K_LANES)
#define K_FULL3 (K_FULL2 && t->lanes[2] == K_LANES)
#define K_SAVE(i, v) { lsnn_real *c = t->c[i] + t->at[v];                                  \
                      if (t->add) c##i##v = c##i##v + K_LOAD(c);                          \
                      if (t->bias) c##i##v = c##i##v + t->bias[i];                        \
                      K_STORE(c, c##i##v); }
#define K_SAVE1(i) if (i < t->rows) K_SAVE(i, 0)
#define K_SAVE2(i) if (i < t->rows) { K_SAVE(i, 0) K_SAVE(i, 1) }
#define K_SAVE3(i) if (i < t->rows) { K_SAVE(i, 0) K_SAVE(i, 1) K_SAVE(i, 2) }
#define K_TILE(R, V)                                                                      \
    static void K_(tile##R##V)(const lsnni_tile *t)                                       \
    {                                                                                     \
        const kvec zero = { 0 };                                                         \
        const lsnn_real *b0 = t->b[0], *b1 = t->b[1], *b2 = t->b[2];                      \
        const int32_t *ka = t->ka, *kb = t->kb;                                           \
        K_ROWS##R(K_ROW) K_ROWS##R(K_CLEAR##V)                                            \
        for (int k = 0, count = t->k; k < count; k++) {                                   \
            ptrdiff_t ia = ka[k], ib = kb[k];                                             \
            K_FETCH##V                                                                    \
            K_ROWS##R(K_STEP##V)                                                          \
        }                                                                                 \
        (void)b0; (void)b1; (void)b2;                                                     \
        if (K_FULL##V) { K_ROWS##R(K_SAVE##V) }                                            \
        else { K_ROWS##R(K_END##V) }                                                      \
    }

/* A vector of which only some lanes are wanted.                              */
static void K_(store)(const lsnni_tile *t, int i, int v, kvec acc)
{
    lsnn_real *c = t->c[i] + t->at[v];
#ifdef K_LOAD_SOME
    if (t->add) acc = acc + K_LOAD_SOME(c, t->lanes[v]);
    if (t->bias) acc = acc + t->bias[i];
    K_STORE_SOME(c, acc, t->lanes[v]);
#else
    const lsnn_real bias = t->bias ? t->bias[i] : 0;
    lsnn_real part[K_LANES];
    K_STORE(part, acc);
    for (int l = 0; l < t->lanes[v]; l++) {
        lsnn_real sum = t->add ? part[l] + c[l] : part[l];
        c[l] = t->bias ? sum + bias : sum;
    }
#endif
}

K_TILE(4, 1)
K_TILE(4, 2)
K_TILE(4, 3)
#if K_TILE_ROWS == 8
K_TILE(8, 1)
K_TILE(8, 2)
K_TILE(8, 3)
#endif

static void K_(tile)(const lsnni_tile *t)
{
#if K_TILE_ROWS == 8
    if (t->rows > 4) {
        if (t->vectors == 3) K_(tile83)(t);
        else if (t->vectors == 2) K_(tile82)(t);
        else K_(tile81)(t);
        return;
    }
#endif
    if (t->vectors == 3) K_(tile43)(t);
    else if (t->vectors == 2) K_(tile42)(t);
    else K_(tile41)(t);
}

/* ---- >>block kernel: the same tiles for plain matrices, whose places are bases and strides
   instead of tables. B's rows are used where they lie; A's are three to a pointer, since
   one pointer a row is more than there are registers for. The last vector of C's row ends
   where the row ends, over the one before it: both compute the same bits there, and nothing
   outside of the matrices is touched. C is fetched while its tile is computed, or each tile
   would wait for it at its end. 95 to 99 % of the multiply-add units' limit; 80 % for ten
   steps of k, which hardly hide a tile's 24 stores.                          */
#define K_ROWS1(X) X(0)
#define K_ROWS2(X) X(0) X(1)
#define K_ROWS5(X) K_ROWS4(X) X(4)
#define K_A0 a0[0]
#define K_A1 a0[ai]
#define K_A2 a0[2 * ai]
#define K_A3 a3[0]
#define K_A4 a3[ai]
#define K_A5 a3[2 * ai]
#define K_A6 a6[0]
#define K_A7 a6[ai]
#undef K_ITEM
#define K_ITEM(i) (K_A##i - zero)
#define K_TAKE2 const kvec v0 = K_LOAD(b), v1 = K_LOAD(b + last);
#define K_TAKE3 K_TAKE2 const kvec v2 = K_LOAD(b + LSNNI_MIN(last, K_LANES));
#define K_ADD2(i) c##i##0 = c##i##0 + K_LOAD(at); c##i##1 = c##i##1 + K_LOAD(at + last);   \
                  at += ci;
#define K_ADD3(i) c##i##2 = c##i##2 + K_LOAD(at + LSNNI_MIN(last, K_LANES)); K_ADD2(i)
#define K_PUT2(i) K_STORE(c, c##i##0); K_STORE(c + last, c##i##1); c += ci;
#define K_PUT3(i) K_STORE(c + LSNNI_MIN(last, K_LANES), c##i##2); K_PUT2(i)
#define K_BLOCK(R, V)                                                                      \
    static void K_(block##R##V)(const lsnni_block *g, int i, int tiles)                    \
    {                                                                                      \
        const kvec zero = { 0 };                                                          \
        const ptrdiff_t ai = g->ai, ak = g->ak, bk = g->bk, ci = g->ci;                    \
        const ptrdiff_t n = g->n, last = n - K_LANES;                                      \
        const lsnn_real *a = g->a + i * ai;                                                \
        lsnn_real *c = g->c + i * ci;                                                      \
        for (; tiles > 0; tiles--, a += R * ai) {                                          \
            const lsnn_real *a0 = a, *a3 = a + (R > 3 ? 3 * ai : 0);                       \
            const lsnn_real *a6 = a + (R > 6 ? 6 * ai : 0), *b = g->b, *at = c;            \
            K_ROWS##R(K_CLEAR##V)                                                          \
            for (int r = 0; r < R && g->k > 32; r++)                                       \
                for (int v = 0; v < 3; v++) LSNNI_FETCH_TO_WRITE(c + r*ci + v*(n - 1)/2); \
            for (int k = g->k; k > 0; k--, b += bk, a0 += ak, a3 += ak, a6 += ak) {        \
                K_TAKE##V                                                                  \
                K_ROWS##R(K_STEP##V)                                                       \
            }                                                                              \
            (void)a3; (void)a6;                                                            \
            if (g->add) { K_ROWS##R(K_ADD##V) }                                            \
            K_ROWS##R(K_PUT##V)                                                            \
        }                                                                                  \
    }
K_BLOCK(1, 3)
K_BLOCK(2, 3)
K_BLOCK(4, 3)
#if K_TILE_ROWS == 8
K_BLOCK(5, 2)
K_BLOCK(5, 3)
K_BLOCK(8, 2)
K_BLOCK(8, 3)
#else
K_BLOCK(4, 2)
#endif

/* Rows by tiles of 8, then by smaller ones; 8 + 1 and 8 + 2 rows as 5 + 4 and 5 + 5, since
   a tile of one or two rows has too few sums to keep the multiply-add units busy. */
static void K_(block)(const lsnni_block *g)
{
    typedef void run(const lsnni_block *g, int i, int tiles);
    static const struct { int rows; run *two, *three; } shapes[] = {
#if K_TILE_ROWS == 8
        { 8, K_(block82), K_(block83) }, { 5, K_(block52), K_(block53) },
        { 4, K_(block43), K_(block43) },
#else
        { 4, K_(block42), K_(block43) },
#endif
        { 2, K_(block23), K_(block23) }, { 1, K_(block13), K_(block13) }
    };
    const int left = g->m % K_TILE_ROWS;
    int split = K_TILE_ROWS == 8 && g->m > 8 && (left == 1 || left == 2);
    for (int s = 0, i = 0, tiles; i < g->m; i += tiles * shapes[s++].rows, split = 0) {
        tiles = (g->m - i) / shapes[s].rows - split;
        if (tiles) (g->n > 2 * K_LANES ? shapes[s].three : shapes[s].two)(g, i, tiles);
    }
}

/* ---- >>dots kernel: where A's rows and B's columns are contiguous, the vectors run along
   k, and an element of C is a vector of partial sums, added up at the end. 4 rows of A
   by 6 columns of B need 10 loads for 24 multiply-adds: 80 to 90 % of the limit. A single
   row takes 8 columns side by side, as fast as the caches give them. What is left of k is
   copied and filled up with zeros. All tiles compute an element in the same way. */
LSNNI_NOINLINE static void K_(fill_up)(lsnn_real *to, const lsnn_real *from, int rest)
{
    for (int l = 0; l < K_LANES; l++) to[l] = l < rest ? from[l] : 0;
}

/* Lane i of the result is the sum of t[i]'s lanes: even ones and odd ones are added until
   each is a single number: the steps of >>transpose, with an addition in each. */
#if K_BYTES > 0
static inline void K_(halve)(kvec *t, int n, int within)
{
    LSNNI_UNROLL
    for (int i = 0; i < n; i++)
        t[i] = K_(sort_evens)(t[2 * i], t[2 * i + 1], within) +
               K_(sort_odds)(t[2 * i], t[2 * i + 1], within);
}
#endif
static inline kvec K_(add_lanes)(kvec *t)
{
#if K_BYTES > 0
    K_(halve)(t, K_COUNT / 2, 1);
    if (K_COUNT >= 4) K_(halve)(t, K_COUNT / 4, sizeof(lsnn_real) == 4);
    if (K_COUNT >= 8) K_(halve)(t, K_COUNT / 8, 0);
    if (K_COUNT >= 16) K_(halve)(t, K_COUNT / 16, 0);
#endif
    return t[0];
}

/* A tile's sums, `width` a row, to C from column j on.                        */
#ifdef K_LOAD_SOME
static inline void K_(dots_store)(const lsnni_block *g, const lsnn_real *sum, int i, int j,
                                  int rows, int width)
{
    const int columns = LSNNI_MIN(width, g->n - j);
    for (int r = 0; r < rows; r++, sum += width) {
        lsnn_real *c = g->c + (i + r) * g->ci + j;
        kvec v = K_LOAD(sum);
        if (g->add) v = v + K_LOAD_SOME(c, columns);
        else if (g->bias) v = v + K_LOAD_SOME(g->bias + j, columns);
        K_STORE_SOME(c, v, columns);
    }
}
#else
LSNNI_NOINLINE static void K_(dots_few)(lsnn_real *c, const lsnn_real *sum,
                                        const lsnn_real *from, int columns)
{
    for (int l = 0; l < columns; l++) c[l] = sum[l] + from[l];
}
static inline void K_(dots_store)(const lsnni_block *g, const lsnn_real *sum, int i, int j,
                                  int rows, int width)
{
    static const lsnn_real none[8] = { 0 };
    for (int r = 0; r < rows; r++, sum += width) {
        lsnn_real *c = g->c + (i + r) * g->ci + j, all[8];
        const lsnn_real *from = g->add ? c : g->bias ? g->bias + j : none;
        if (g->n - j < width) {
            K_(dots_few)(c, sum, from, g->n - j);
            continue;
        }
        for (int l = 0; l < width; l++) all[l] = sum[l] + from[l];
        memcpy(c, all, (size_t)width * sizeof *c);
    }
}
#endif

#undef K_ITEM
#define K_ITEM(j) K_LOAD(K_REST ? edge + j * K_LANES : b##j + k)
#define K_ROWS6(X) K_ROWS5(X) X(5)
#define K_COLUMN(j) const lsnn_real *const b##j = b + LSNNI_MIN(j, g->n - 1 - j0) * g->bj; \
                    if (rest) K_(fill_up)(edge + j * K_LANES, b##j + whole, rest);
#define K_DOT(r) K_LOAD(K_REST ? a_edge + (i + r) * K_LANES : a + r * g->ai + k)
#define K_DOT1 const kvec v0 = K_DOT(0);
#define K_DOT4 const kvec v0 = K_DOT(0), v1 = K_DOT(1), v2 = K_DOT(2), v3 = K_DOT(3);
#define K_KEEP1(j) t[j] = c##j##0;
#define K_KEEP4(j) t[j] = c##j##0; t[K_WIDE + j] = c##j##1; t[2*K_WIDE + j] = c##j##2;     \
                   t[3*K_WIDE + j] = c##j##3;
#define K_DOTS(R, COLUMNS)                                                                 \
    static void K_(dots##R##COLUMNS)(const lsnni_block *g, int i, int rows, int j0,        \
                                     const lsnn_real *a_edge)                              \
    {                                                                                      \
        enum { K_WIDE = COLUMNS, K_SUMS = (R * K_WIDE + K_LANES - 1) / K_LANES * K_LANES };\
        const int rest = g->k % K_LANES, whole = g->k - rest;                              \
        const lsnn_real *b = g->b + j0 * g->bj;                                            \
        const kvec zero = { 0 };                                                          \
        lsnn_real edge[K_WIDE * K_LANES], sum[K_SUMS + K_LANES];  /* read past its end */ \
        K_ROWS##COLUMNS(K_COLUMN)                                                          \
        for (; i < rows; i += R) {                                                         \
            const lsnn_real *a = g->a + i * g->ai;                                         \
            ptrdiff_t k = 0;                                                               \
            kvec t[K_SUMS];                                                                \
            K_ROWS##COLUMNS(K_CLEAR##R)                                                    \
            for (; k < whole; k += K_LANES) {                                              \
                enum { K_REST = 0 };                                                       \
                K_DOT##R                                                                   \
                K_ROWS##COLUMNS(K_STEP##R)                                                 \
            }                                                                              \
            if (rest) {                                                                    \
                enum { K_REST = 1 };                                                       \
                K_DOT##R                                                                   \
                K_ROWS##COLUMNS(K_STEP##R)                                                 \
            }                                                                              \
            K_ROWS##COLUMNS(K_KEEP##R)                                                     \
            for (int l = R * K_WIDE; l < K_SUMS; l++) t[l] = zero;                         \
            K_STORE(sum, K_(add_lanes)(t));                                                \
            if (K_SUMS > K_LANES) K_STORE(sum + K_LANES, K_(add_lanes)(t + K_LANES));      \
            for (int l = 2 * K_LANES; l < K_SUMS; l += K_LANES)                            \
                K_STORE(sum + l, K_(add_lanes)(t + l));                                    \
            K_(dots_store)(g, sum, i, j0, R, K_WIDE);                                      \
        }                                                                                  \
    }
K_DOTS(1, 8)
#if K_TILE_ROWS == 8
K_DOTS(4, 4)
K_DOTS(4, 6)
#else
K_DOTS(4, 2)
#endif

static void K_(dots)(const lsnni_block *g)
{
    const int rest = g->k % K_LANES, fours = g->m - g->m % 4;
    lsnn_real edge[LSNNI_DOTS_ROWS * K_LANES];
    int j = 0;
    for (int i = 0; i < g->m && rest; i++)
        K_(fill_up)(edge + i * K_LANES, g->a + i * g->ai + (g->k - rest), rest);
#if K_TILE_ROWS == 8
    for (; fours && g->n - j > 4; j += 6) K_(dots46)(g, 0, fours, j, edge);
    for (; fours && j < g->n; j += 4) K_(dots44)(g, 0, fours, j, edge);
#else
    for (; fours && j < g->n; j += 2) K_(dots42)(g, 0, fours, j, edge);
#endif
    for (j = 0; fours < g->m && j < g->n; j += 8) K_(dots18)(g, fours, g->m, j, edge);
}

/* ---- >>exp: e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2, and e^r by its
   series, cut where the next term is below half a unit in the last place.    */
#if K_BYTES == 0
static void K_(exp)(lsnn_real *y, const lsnn_real *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = LSNNI_R(exp((double)x[i]));
}
#else
/* v is from here on the number that it is: a compiler that may reorder sums
   (-fassociative-math) does not look behind it.                              */
#ifndef LSNNI_ROUNDED
#if defined(__SSE__)
#define LSNNI_ROUNDED(v) __asm__("" : "+x"(v))
#elif defined(__aarch64__)
#define LSNNI_ROUNDED(v) __asm__("" : "+w"(v))
#else
#define LSNNI_ROUNDED(v) __asm__("" : "+m"(v))
#endif
#endif
static kvec K_(exp_vec)(kvec x)
{
#ifdef LSNN_DOUBLE
    static const double term[] = { 1.0 / 6227020800.0, 1.0 / 479001600, 1.0 / 39916800,
        1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24,
        1.0 / 6, 0.5, 1, 1 };
    const double ln2_high = 6.93147180369123816490e-1, ln2_low = 1.90821492927058770002e-10;
    const double round_up = 6755399441055744.0, lowest = -708, highest = 709;
    const K_(int) exponent_bias = 1023, mantissa = 52;
#else
    static const float term[] = { 1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6,
                                  0.5f, 1, 1 };
    const float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    const float round_up = 12582912.0f, lowest = -87.0f, highest = 88.0f;
    const K_(int) exponent_bias = 127, mantissa = 23;
#endif
    const kvec zero = { 0 };
    kints under = x < lowest, over = x > highest;       /* both false for NaN   */
    kvec p = zero + term[0], t, n, r, power;
    kints e;
    x = (kvec)((kints)x & ~(under | over));
    t = x * LSNNI_R(1.4426950408889634) + round_up;
    LSNNI_ROUNDED(t);
    n = t - round_up;
    e = (kints)t - (kints)(zero + round_up) + exponent_bias;
    r = K_FMA(n, zero - ln2_high, x);
    LSNNI_ROUNDED(r);
    r = K_FMA(n, zero - ln2_low, r);
    for (size_t i = 1; i < sizeof term / sizeof term[0]; i++) p = K_FMA(p, r, zero + term[i]);
    power = (kvec)(e << mantissa);
    p = p * power;
    p = (kvec)((kints)p & ~(under | over));             /* out of range: 0 or infinity */
    return (kvec)((kints)p | ((kints)(zero + LSNNI_R(HUGE_VAL)) & over));
}

/* A function of arrays from one of vectors.                                  */
#define K_MAP(name)                                                                       \
    static void K_(name)(lsnn_real *y, const lsnn_real *x, size_t n)                      \
    {                                                                                     \
        size_t i = 0;                                                                     \
        lsnn_real part[K_LANES];                                                          \
        for (; i + (size_t)K_LANES <= n; i += (size_t)K_LANES)                            \
            K_STORE(y + i, K_(name##_vec)(K_LOAD(x + i)));                                \
        if (i == n) return;                                                               \
        for (size_t l = 0; l < (size_t)K_LANES; l++) part[l] = i + l < n ? x[i + l] : 0;  \
        K_STORE(part, K_(name##_vec)(K_LOAD(part)));                                      \
        for (size_t l = 0; i + l < n; l++) y[i + l] = part[l];                            \
    }
K_MAP(exp)
#endif

/* ---- >>log: x = 2^n m with m in [sqrt 1/2, sqrt 2), log x = n ln 2 + 2 artanh s with
   s = (m - 1) / (m + 1), |s| <= 0.172, by its series: exact near 1, too. What is smaller than
   any normal number, 0 above all, gives -1e30, which exp turns to 0 and a factor of 0 to 0. */
#if K_BYTES == 0
static void K_(log)(lsnn_real *y, const lsnn_real *x, size_t n)
{
    const double least = sizeof(lsnn_real) == 4 ? (double)FLT_MIN : DBL_MIN;
    for (size_t i = 0; i < n; i++)
        y[i] = LSNNI_R((double)x[i] < least ? -1e30 : log((double)x[i]));
}
#else
static kvec K_(log_vec)(kvec x)
{
#ifdef LSNN_DOUBLE
    const int terms = 10, mantissa = 52;
    const double least = DBL_MIN, root = 0.70710678118654752440;
    const double ln2_high = 6.93147180369123816490e-1, ln2_low = 1.90821492927058770002e-10;
    const double round_up = 6755399441055744.0;
#else
    const int terms = 5, mantissa = 23;
    const float least = FLT_MIN, root = 0.70710678f;
    const float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f, round_up = 12582912.0f;
#endif
    const kvec zero = { 0 }, one = zero + LSNNI_R(1);
    const K_(int) fraction = ((K_(int))1 << mantissa) - 1;
    kints tiny = x < least, finite = (x >= least) & (x < LSNNI_R(HUGE_VAL));
    kints bits = (kints)x - (kints)(zero + root);
    kvec n = (kvec)((bits >> mantissa) + (kints)(zero + round_up)) - round_up;
    kvec m = (kvec)((bits & fraction) + (kints)(zero + root));
    kvec s = (m - one) / (m + one), z = s * s, p = zero;
    for (int i = terms; i > 0; i--) p = p * z + one / LSNNI_R(2 * i + 1);
    p = n * ln2_high + (s * (one + p * z) * LSNNI_R(2) + n * ln2_low);
    p = K_SELECT(kvec, finite, p, x);                    /* NaN and infinity stay */
    return K_SELECT(kvec, tiny, zero - LSNNI_R(1e30), p);
}
K_MAP(log)
#endif

/* ---- >>tanh: by its series where |x| < 1/2, else 1 - 2 / (e^2|x| + 1).      */
#if K_BYTES == 0 || defined(LSNN_DOUBLE)
static void K_(tanh)(lsnn_real *y, const lsnn_real *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = LSNNI_R(tanh((double)x[i]));
}
#else
static kvec K_(tanh_vec)(kvec x)
{
    static const float term[] = { -929569.0f / 638512875.0f, 21844.0f / 6081075.0f,
        -1382.0f / 155925.0f, 62.0f / 2835.0f, -17.0f / 315.0f, 2.0f / 15.0f, -1.0f / 3.0f };
    const kvec zero = { 0 }, one = zero + 1.0f;
    kints sign = (kints)x & INT32_MIN;
    kvec size = (kvec)((kints)x ^ sign), z = x * x, p = zero, outer;
    kints inside = size < 0.5f;
    for (size_t i = 0; i < sizeof term / sizeof term[0]; i++) p = K_FMA(p, z, zero + term[i]);
    outer = one - 2.0f / (K_(exp_vec)(size + size) + one);
    outer = (kvec)((kints)outer | sign);
    return K_SELECT(kvec, inside, x + x * z * p, outer);
}
K_MAP(tanh)
#endif

#if defined(LSNNI_CALM) && K_BYTES > 16
#pragma GCC push_options             /* or the sums below are kept in memory  */
#pragma GCC optimize("O3")
#endif
/* ---- >>reductions: K_SUMS sums in double side by side, so that additions need not wait
   for each other, then added in pairs: the same order for every instruction set. */
#define K_SUMS 32
static double K_(fold)(double *s, int count)
{
    for (int half = count / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++) s[l] += s[l + half];
    return s[0];
}

#define K_REDUCE(term)                                                                    \
    double s[K_SUMS];                                                                     \
    size_t i = 0;                                                                         \
    for (int l = 0; l < K_SUMS; l++) s[l] = 0;                                            \
    for (; i + K_SUMS <= n; i += K_SUMS)                                                  \
        for (size_t l = 0; l < K_SUMS; l++) s[l] += term(i + l);                          \
    for (size_t l = 0; i + l < n; l++) s[l] += term(i + l);                               \
    return K_(fold)(s, K_SUMS)

static double K_(sum)(const lsnn_real *x, size_t n)
{
#define K_TERM(j) (double)x[j]
    K_REDUCE(K_TERM);
#undef K_TERM
}

static double K_(dot)(const lsnn_real *x, const lsnn_real *y, size_t n)
{
#define K_TERM(j) (double)x[j] * (double)y[j]
    K_REDUCE(K_TERM);
#undef K_TERM
}

static double K_(deviation)(const lsnn_real *x, double mean, size_t n)
{
#define K_TERM(j) ((double)x[j] - mean) * ((double)x[j] - mean)
    K_REDUCE(K_TERM);
#undef K_TERM
}

/* With d = x - center: m = sum dy, sum dy d, sum d. relu (unless it is NULL) is dy once more,
   to be set to 0 wherever y isn't above 0.                                   */
static void K_(sum_dot)(double m[3], const lsnn_real *dy, const lsnn_real *x, double center,
                        lsnn_real *relu, const lsnn_real *y, size_t n)
{
    const lsnn_real from = LSNNI_R(center);
    double sum[K_SUMS], dot[K_SUMS], rest[K_SUMS];
    size_t i = 0;
    for (int l = 0; l < K_SUMS; l++) sum[l] = dot[l] = rest[l] = 0;
    for (; i < n; i += K_SUMS) {
        size_t count = LSNNI_MIN(n - i, (size_t)K_SUMS);
        if (relu)
            for (size_t l = i; l < i + count; l++) relu[l] = y[l] > 0 ? relu[l] : 0;
        if (count < K_SUMS) break;
        for (size_t l = 0; l < K_SUMS; l++) {
            double d = (double)(x[i + l] - from);
            sum[l] += (double)dy[i + l];
            dot[l] += (double)dy[i + l] * d;
            rest[l] += d;
        }
    }
    for (size_t l = 0; i + l < n; l++) {
        double d = (double)(x[i + l] - from);
        sum[l] += (double)dy[i + l];
        dot[l] += (double)dy[i + l] * d;
        rest[l] += d;
    }
    m[0] = K_(fold)(sum, K_SUMS);
    m[1] = K_(fold)(dot, K_SUMS);
    m[2] = K_(fold)(rest, K_SUMS);
}

/* m[i] = sum_j t[j] x^i with x = x0 + step j: what a smoother's gradient is made of. */
static void K_(moments)(const lsnn_real *t, size_t n, double x0, double step, double m[3])
{
    double s0[K_SUMS / 2], s1[K_SUMS / 2], s2[K_SUMS / 2];
    size_t i = 0;
    for (int l = 0; l < K_SUMS / 2; l++) s0[l] = s1[l] = s2[l] = 0;
    for (; i < n; i += K_SUMS / 2) {
        size_t count = LSNNI_MIN(n - i, (size_t)(K_SUMS / 2));
        double v[K_SUMS / 2];
        for (size_t l = 0; l < count; l++) v[l] = (double)t[i + l];
        for (size_t l = count; l < K_SUMS / 2; l++) v[l] = 0;
        for (int l = 0; l < K_SUMS / 2; l++) {
            double x = x0 + step * (double)((int)i + l);
            s0[l] += v[l];
            s1[l] += v[l] * x;
            s2[l] += v[l] * x * x;
        }
    }
    m[0] = K_(fold)(s0, K_SUMS / 2);
    m[1] = K_(fold)(s1, K_SUMS / 2);
    m[2] = K_(fold)(s2, K_SUMS / 2);
}

#if defined(LSNNI_CALM) && K_BYTES > 16
#pragma GCC pop_options
#endif

/* Where the largest number is, the first of equals; or a NaN before it.      */
static size_t K_(largest)(const lsnn_real *x, size_t n)
{
    lsnn_real most[16], best;
    size_t i = 0;
    for (int l = 0; l < 16; l++) most[l] = x[0];
    for (; i + 16 <= n; i += 16)
        for (size_t l = 0; l < 16; l++) most[l] = x[i + l] > most[l] ? x[i + l] : most[l];
    for (; i < n; i++) most[0] = x[i] > most[0] ? x[i] : most[0];
    best = most[0];
    for (int l = 1; l < 16; l++) best = most[l] > best ? most[l] : best;
    for (i = 0; i < n && x[i] < best; ) i++;
    return i < n ? i : 0;
}

/* u[j] = -((a + b x)(c + d x) + (e + f x)(g + h x)) with x = step (j - from): one row of
   a Gaussian's exponents; p holds a to h. In double: the factors may cancel. */
static void K_(exponents)(lsnn_real *u, size_t n, double step, double from, const double p[8])
{
    for (size_t j = 0; j < n; j++) {
        double x = step * ((double)(int)j - from);
        u[j] = LSNNI_R(-((p[0] + p[1] * x) * (p[2] + p[3] * x) +
                         (p[4] + p[5] * x) * (p[6] + p[7] * x)));
    }
}

/* ---- >>elementwise: bound by memory; the compiler makes the vectors ----------*/
static void K_(axpy)(lsnn_real *y, double a, const lsnn_real *x, size_t n)
{
    const lsnn_real s = LSNNI_R(a);
    for (size_t i = 0; i < n; i++) y[i] += s * x[i];
}

static void K_(affine)(lsnn_real *y, const lsnn_real *x, double a, double b, size_t n, int add)
{
    const lsnn_real s = LSNNI_R(a), t = LSNNI_R(b);
    if (add) for (size_t i = 0; i < n; i++) y[i] += x[i] * s + t;
    else for (size_t i = 0; i < n; i++) y[i] = x[i] * s + t;
}

/* repeat: one number for all lanes of a pixel; gather: the sum of its lanes. */
static void K_(repeat)(lsnn_real *y, const lsnn_real *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t l = 0; l < (size_t)K_LANES; l++) y[i * (size_t)K_LANES + l] = x[i];
}

static void K_(gather)(lsnn_real *y, const lsnn_real *x, size_t n)
{
    size_t i = 0;
#if K_BYTES > 0
    kvec t[K_COUNT];
    for (; i + K_COUNT <= n; i += K_COUNT) {
        for (size_t l = 0; l < K_COUNT; l++) t[l] = K_LOAD(x + (i + l) * K_COUNT);
        K_STORE(y + i, K_(add_lanes)(t));
    }
#endif
    for (; i < n; i++) {
        y[i] = 0;
        for (size_t l = 0; l < (size_t)K_LANES; l++) y[i] += x[i * (size_t)K_LANES + l];
    }
}

static void K_(multiply)(lsnn_real *y, const lsnn_real *a, const lsnn_real *b, size_t n,
                         int add)
{
    if (add) for (size_t i = 0; i < n; i++) y[i] += a[i] * b[i];
    else for (size_t i = 0; i < n; i++) y[i] = a[i] * b[i];
}

static void K_(act_forward)(lsnn_act f, lsnn_real *y, const lsnn_real *x, size_t n,
                            double slope)
{
    const lsnn_real s = LSNNI_R(slope), one = 1;
    size_t i;
    switch (f) {
    case LSNN_RELU:                  /* written so that NaN stays NaN         */
        for (i = 0; i < n; i++) y[i] = x[i] < 0 ? 0 : x[i];
        break;
    case LSNN_LEAKY_RELU:
        for (i = 0; i < n; i++) y[i] = x[i] < 0 ? s * x[i] : x[i];
        break;
    case LSNN_SIGMOID:
        for (i = 0; i < n; i++) y[i] = -x[i];
        K_(exp)(y, y, n);
        for (i = 0; i < n; i++) y[i] = one / (one + y[i]);
        break;
    case LSNN_TANH:
        for (i = 0; i < n; i++) y[i] = LSNNI_R(tanh((double)x[i]));
        break;
    case LSNN_SCALED_TANH:
        for (i = 0; i < n; i++) y[i] = LSNNI_R(LSNNI_TANH_S) * x[i];
        K_(tanh)(y, y, n);
        for (i = 0; i < n; i++) y[i] *= LSNNI_R(LSNNI_TANH_A);
        break;
    }
}

/* f'(x) in terms of y = f(x): y may have overwritten x.                      */
static void K_(act_backward)(lsnn_act f, lsnn_real *dx, const lsnn_real *dy,
                             const lsnn_real *y, size_t n, double slope, int add)
{
    const lsnn_real s = f == LSNN_LEAKY_RELU ? LSNNI_R(slope) : 0;
    size_t i;
    switch (f) {
    case LSNN_RELU:
    case LSNN_LEAKY_RELU:
        if (add) for (i = 0; i < n; i++) dx[i] += y[i] > 0 ? dy[i] : s * dy[i];
        else for (i = 0; i < n; i++) dx[i] = y[i] > 0 ? dy[i] : s * dy[i];
        break;
    case LSNN_SIGMOID:
        for (i = 0; i < n; i++)
            dx[i] = (add ? dx[i] : 0) + dy[i] * y[i] * (1 - y[i]);
        break;
    case LSNN_TANH:
        for (i = 0; i < n; i++) dx[i] = (add ? dx[i] : 0) + dy[i] * (1 - y[i] * y[i]);
        break;
    case LSNN_SCALED_TANH: {
        const lsnn_real a = LSNNI_R(LSNNI_TANH_S * LSNNI_TANH_A);
        const lsnn_real b = LSNNI_R(LSNNI_TANH_S / LSNNI_TANH_A);
        for (i = 0; i < n; i++) dx[i] = (add ? dx[i] : 0) + dy[i] * (a - b * y[i] * y[i]);
        break;
    }
    }
}

static void K_(norm_forward)(lsnn_real *y, const lsnn_real *x, double center, double a, double b,
                             size_t n)
{
    const lsnn_real m = LSNNI_R(center), s = LSNNI_R(a), t = LSNNI_R(b);
    for (size_t i = 0; i < n; i++) y[i] = (x[i] - m) * s + t;
}

static void K_(norm_backward)(lsnn_real *dx, const lsnn_real *dy, const lsnn_real *x,
                              double center, double istd, double a, double b, double c, size_t n,
                              int add)
{
    const lsnn_real m = LSNNI_R(center), r = LSNNI_R(istd);
    const lsnn_real ra = LSNNI_R(a), rb = LSNNI_R(b), rc = LSNNI_R(c);
    if (add) for (size_t i = 0; i < n; i++) dx[i] += ra * dy[i] + rb * ((x[i] - m) * r) + rc;
    else for (size_t i = 0; i < n; i++) dx[i] = ra * dy[i] + rb * ((x[i] - m) * r) + rc;
}

/* 2 x 2 windows from the rows a b over c d, the first at pixel `at`, rows w apart: their
   largest numbers, and where they are. relu: y = relu(max), where = -1 if it is 0. */
#if K_BYTES > 0
static inline kvec K_(max_of_4)(kvec a, kvec b, kvec c, kvec d, int at, int w, int relu,
                                kints *where)
{
    const kvec zero = { 0 };
    const kints even = { K_EVENS };
    kvec best = K_(evens)(a, b), right = K_(odds)(a, b);
    kvec low = K_(evens)(c, d), low_right = K_(odds)(c, d);
    kints from = even + at, under = from + w, wins = (right > best) | (right != right);
    best = K_SELECT(kvec, wins, right, best);            /* NaN wins          */
    from = K_SELECT(kints, wins, from + 1, from);
    wins = (low_right > low) | (low_right != low_right);
    low = K_SELECT(kvec, wins, low_right, low);
    under = K_SELECT(kints, wins, under + 1, under);
    wins = (low > best) | (low != low);
    best = K_SELECT(kvec, wins, low, best);
    from = K_SELECT(kints, wins, under, from);
    if (relu) {
        kints positive = best > zero;
        from = K_SELECT(kints, positive, from, (kints)zero - 1);
        best = K_SELECT(kvec, best < zero, zero, best);
    }
    *where = from;
    return best;
}
#endif

/* One output row of 2 x 2 windows: rows top and top + pitch, which have the indices at and
   at + w on.                                                                 */
static void K_(max_pool2)(lsnn_real *y, int32_t *where, const lsnn_real *top, int pitch, int w,
                          int at, int n, int relu)
{
    int j = 0;
#if K_BYTES > 0
    kints from;
    for (; j + K_LANES <= n; j += K_LANES) {
        const lsnn_real *p = top + 2 * j, *q = p + pitch;
        K_STORE(y + j, K_(max_of_4)(K_LOAD(p), K_LOAD(p + K_LANES), K_LOAD(q),
                                    K_LOAD(q + K_LANES), at + 2 * j, w, relu, &from));
        K_STORE_INTS(where + j, from);
    }
#endif
#ifdef K_LOAD_SOME
    if (j < n) {
        const int m = n - j, first = LSNNI_MIN(2 * m, K_LANES), rest = 2 * m - first;
        const lsnn_real *p = top + 2 * j, *q = p + pitch;
        kvec best = K_(max_of_4)(K_LOAD_SOME(p, first), K_LOAD_SOME(p + first, rest),
                                 K_LOAD_SOME(q, first), K_LOAD_SOME(q + first, rest),
                                 at + 2 * j, w, relu, &from);
        K_STORE_SOME(y + j, best, m);
        K_STORE_SOME_INTS(where + j, from, m);
        return;
    }
#endif
    for (; j < n; j++) {
        const lsnn_real *p = top + 2 * j;
        const lsnn_real *q = p + pitch;
        int right = p[1] > p[0] || p[1] != p[1], below = q[1] > q[0] || q[1] != q[1];
        int low = q[below] > p[right] || q[below] != q[below];
        lsnn_real best = low ? q[below] : p[right];
        y[j] = relu && best < 0 ? 0 : best;
        where[j] = relu && !(best > 0) ? -1 : at + 2 * j + (low ? w + below : right);
    }
}

/* The same with sums, times scale.                                           */
static void K_(sum_pool2)(lsnn_real *y, const lsnn_real *top, int w, int n, double scale)
{
    const lsnn_real s = LSNNI_R(scale);
    int j = 0;
#if K_BYTES > 0
    for (; j + K_LANES <= n; j += K_LANES) {
        const lsnn_real *p = top + 2 * j;
        kvec a = K_LOAD(p) + K_LOAD(p + w), b = K_LOAD(p + K_LANES) + K_LOAD(p + w + K_LANES);
        K_STORE(y + j, (K_(evens)(a, b) + K_(odds)(a, b)) * s);
    }
#endif
#ifdef K_LOAD_SOME
    if (j < n) {
        const int m = n - j, first = LSNNI_MIN(2 * m, K_LANES), rest = 2 * m - first;
        const lsnn_real *p = top + 2 * j, *q = p + w;
        kvec a = K_LOAD_SOME(p, first) + K_LOAD_SOME(q, first);
        kvec b = K_LOAD_SOME(p + first, rest) + K_LOAD_SOME(q + first, rest);
        K_STORE_SOME(y + j, (K_(evens)(a, b) + K_(odds)(a, b)) * s, m);
        return;
    }
#endif
    for (; j < n; j++)
        y[j] = ((top[2 * j] + top[w + 2 * j]) + (top[2 * j + 1] + top[w + 2 * j + 1])) * s;
}

/* ---- >>pooling of blocks of images: `n` windows in a row, the first at pixel `at`, the
   next ones `step` pixels on; tap[] says where a window's `taps` pixels are. Bound by
   the loads of x and dx. x is a map from its pixel number `first` on.        */
static void K_(lanes_max)(lsnn_real *y, int32_t *where, const lsnn_real *x, const int32_t *tap,
                          int taps, int step, int at, int first, int n, int relu)
{
    const kvec zero = { 0 };
    const kints none = (kints)zero;                      /* all bits 0        */
    for (int j = 0; j < n; j++, at += step) {
        kvec best = K_LOAD(x + (ptrdiff_t)(at + tap[0]) * K_LANES);
        kints from = none + (first + at + tap[0]);
        for (int i = 1; i < taps; i++) {
            kvec v = K_LOAD(x + (ptrdiff_t)(at + tap[i]) * K_LANES);
            kints wins = (v > best) | (v != v);          /* NaN wins          */
            best = K_SELECT(kvec, wins, v, best);
            from = K_SELECT(kints, wins, none + (first + at + tap[i]), from);
        }
        if (relu) {
            kints positive = best > zero;
            from = K_SELECT(kints, positive, from, none - 1);
            best = K_SELECT(kvec, best < zero, zero, best);
        }
        K_STORE(y + (ptrdiff_t)j * K_LANES, best);
        K_STORE_INTS(where + (ptrdiff_t)j * K_LANES, from);
    }
}

/* dx of the windows' pixels is written where no other window has a part in them
   (apart), else added to.                                                    */
static void K_(lanes_max_back)(lsnn_real *dx, const lsnn_real *dy, const int32_t *where,
                               const int32_t *tap, int taps, int step, int at, int n, int apart)
{
    const kvec zero = { 0 };
    for (int j = 0; j < n; j++, at += step) {
        kvec g = K_LOAD(dy + (ptrdiff_t)j * K_LANES);
        kints from = K_LOAD_INTS(where + (ptrdiff_t)j * K_LANES);
        for (int i = 0; i < taps; i++) {
            lsnn_real *p = dx + (ptrdiff_t)(at + tap[i]) * K_LANES;
            kvec part = K_SELECT(kvec, from == at + tap[i], g, zero);
            if (!apart) part = part + K_LOAD(p);
            K_STORE(p, part);
        }
    }
}

static void K_(lanes_sum)(lsnn_real *y, const lsnn_real *x, const int32_t *tap, int taps,
                          int step, int at, int n, double scale)
{
    const kvec zero = { 0 };
    for (int j = 0; j < n; j++, at += step) {
        kvec sum = zero;
        for (int i = 0; i < taps; i++)
            sum = sum + K_LOAD(x + (ptrdiff_t)(at + tap[i]) * K_LANES);
        K_STORE(y + (ptrdiff_t)j * K_LANES, sum * LSNNI_R(scale));
    }
}

static void K_(lanes_sum_back)(lsnn_real *dx, const lsnn_real *dy, const int32_t *tap, int taps,
                               int step, int at, int n, double scale)
{
    for (int j = 0; j < n; j++, at += step) {
        kvec g = K_LOAD(dy + (ptrdiff_t)j * K_LANES) * LSNNI_R(scale);
        for (int i = 0; i < taps; i++) {
            lsnn_real *p = dx + (ptrdiff_t)(at + tap[i]) * K_LANES;
            K_STORE(p, K_LOAD(p) + g);
        }
    }
}

/* ---- >>transpose: y[j*ys + i] = x[i*xs + j]. A square of L x L numbers is turned in
   registers: to sort rows 2 i and 2 i + 1 into evens, row i, and odds, row i + L/2,
   log2(L) times, is to transpose. Bound by the shuffles, log2(L) a vector.   */
#if K_BYTES > 0
static void K_(turn)(lsnn_real *y, size_t ys, const lsnn_real *x, size_t xs)
{
    enum { K_HALF = K_COUNT / 2 };
    kvec a[K_COUNT], b[K_COUNT];
    LSNNI_UNROLL
    for (int i = 0; i < K_COUNT; i++) a[i] = K_LOAD(x + (size_t)i * xs);
    LSNNI_UNROLL
    for (int pass = 1; pass < K_COUNT; pass *= 2) {
        const int within = pass * (int)sizeof(lsnn_real) < 16;
        LSNNI_UNROLL
        for (int i = 0; i < K_HALF; i++) {
            b[i] = K_(sort_evens)(a[2 * i], a[2 * i + 1], within);
            b[i + K_HALF] = K_(sort_odds)(a[2 * i], a[2 * i + 1], within);
        }
        LSNNI_UNROLL
        for (int i = 0; i < K_COUNT; i++) a[i] = b[i];
    }
    LSNNI_UNROLL
    for (int i = 0; i < K_COUNT; i++) K_STORE(y + (size_t)i * ys, a[i]);
}
#endif

static void K_(transpose)(lsnn_real *y, size_t ys, const lsnn_real *x, size_t xs, int rows,
                          int columns)
{
    for (int i0 = 0; i0 < rows; i0 += K_LANES)
        for (int j0 = 0; j0 < columns; j0 += K_LANES) {
            int i1 = LSNNI_MIN(i0 + K_LANES, rows), j1 = LSNNI_MIN(j0 + K_LANES, columns);
#if K_BYTES > 0
            if (i1 - i0 == K_LANES && j1 - j0 == K_LANES) {
                K_(turn)(y + (size_t)j0 * ys + i0, ys, x + (size_t)i0 * xs + j0, xs);
                continue;
            }
#endif
            for (int j = j0; j < j1; j++)
                for (int i = i0; i < i1; i++)
                    y[(size_t)j * ys + (size_t)i] = x[(size_t)i * xs + (size_t)j];
        }
}

/* ---- >>draws: 16 blocks of >>philox at once, counter[which] rising by one; number j of
   block l is out[16*j + l]. Bound by the products.                           */
static void K_(random)(uint32_t out[64], const uint32_t key[2], const uint32_t counter[4],
                       int which)
{
    uint32_t a[16], b[16], c[16], d[16], k0 = key[0], k1 = key[1];
    for (uint32_t l = 0; l < 16; l++) {
        a[l] = counter[0] + (which == 0 ? l : 0);
        b[l] = counter[1] + (which == 1 ? l : 0);
        c[l] = counter[2];
        d[l] = counter[3];
    }
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
        for (int l = 0; l < 16; l++) {
            uint64_t p = (uint64_t)0xD2511F53u * a[l], q = (uint64_t)0xCD9E8D57u * c[l];
            a[l] = (uint32_t)(q >> 32) ^ b[l] ^ k0;
            c[l] = (uint32_t)(p >> 32) ^ d[l] ^ k1;
            b[l] = (uint32_t)q;
            d[l] = (uint32_t)p;
        }
    for (int l = 0; l < 16; l++) {
        out[l] = a[l];
        out[16 + l] = b[l];
        out[32 + l] = c[l];
        out[48 + l] = d[l];
    }
}

/* y = x scale where the element's bits are at least `limit`, else 0: see >>dropout. x and
   y are one image, or a block of K_LANES from `sample` on; e0 is a multiple of 64. */
static void K_(dropout)(lsnn_real *y, const lsnn_real *x, const lsnn_rng *at, uint32_t sample,
                        int e0, int e1, int in_blocks, uint32_t limit, double scale, int add)
{
    const lsnn_real s = LSNNI_R(scale);
    uint32_t draw[64], counter[4];
    counter[1] = at->sample + sample;
    counter[2] = at->step;
    counter[3] = at->stream;
    for (int e = e0; e < e1; e += in_blocks ? 4 : 64) {
        counter[0] = (uint32_t)e >> 2;
        K_(random)(draw, at->key, counter, in_blocks);
        if (in_blocks)
            for (int q = 0; q < LSNNI_MIN(4, e1 - e); q++)
                for (int l = 0; l < K_LANES; l++) {
                    ptrdiff_t j = (ptrdiff_t)(e + q) * K_LANES + l;
                    lsnn_real v = draw[16 * q + l] >= limit ? x[j] * s : 0;
                    y[j] = add ? y[j] + v : v;
                }
        else
            for (int q = 0; q < LSNNI_MIN(64, e1 - e); q++) {
                lsnn_real v = draw[16 * (q & 3) + q / 4] >= limit ? x[e + q] * s : 0;
                y[e + q] = add ? y[e + q] + v : v;
            }
    }
}

/* ---- >>dsc rows: input o's connections to n neurons. step: the change of w, over xi; up: what
   each asks of o, over eta. wanted: eta D_x / sum_j o_j of each neuron.       */
static void K_(dsc)(lsnn_real *sum, const lsnn_real *w, lsnn_real o, size_t n)
{
    const lsnn_real rest = 1 - o;
    for (size_t k = 0; k < n; k++) {
        lsnn_real r = w[k] < 0 ? -w[k] : w[k], g = 1 - rest / r;
        g = g > 0 ? g : 0;
        sum[k] += w[k] < 0 ? -g : g;
    }
}

/* |w| from `least` to 1: what is less changes its sign.                        */
static void K_(dsc_bounds)(lsnn_real *w, double least, size_t n)
{
    const lsnn_real low = LSNNI_R(least);
    for (size_t i = 0; i < n; i++) {
        lsnn_real v = w[i], r = v < 0 ? -v : v, sign = v < 0 ? (lsnn_real)-1 : (lsnn_real)1;
        sign = r < low ? -sign : sign;
        r = r < low ? low : r;
        r = r < 1 ? r : 1;
        w[i] = sign * r;
    }
}

static void K_(dsc_back)(lsnn_real *step, lsnn_real *up, const lsnn_real *w,
                         const lsnn_real *wanted, lsnn_real o, double least, int silent,
                         size_t n)
{
    const lsnn_real rest = 1 - o, low = LSNNI_R(least), gate = silent ? 0 : -1;
    for (size_t k = 0; k < n; k++) {
        lsnn_real sign = w[k] < 0 ? (lsnn_real)-1 : (lsnn_real)1, r = sign * w[k];
        lsnn_real d = sign * o * wanted[k], g = 1 - rest / r, t, hat, to;
        g = g > 0 ? g : 0;
        t = g + d;
        t = t > 0 ? t : 0;
        t = t < 1 ? t : 1;
        hat = rest / (t < 1 ? 1 - t : 1);
        hat = t < 1 ? hat : 1;
        to = t > g ? (hat < 1 ? hat : 1) : (hat > low ? hat : low);
        sign = (t > g || t < g) && g > gate ? sign : 0;
        step[k] = sign * (to - r);
        up[k] = sign * (rest - r * (1 - t));
    }
}

/* ---- >>updates: see >>optimizers for the formulas. scale is the clipping, c1 and c2 are
   1 / (1 - b1^t) and 1 / (1 - b2^t), shrink is AdamW's lr wd.                */
static void K_(sgd)(lsnn_real *w, lsnn_real *v, const lsnn_real *g, double scale, double lr,
                    double decay, double momentum, int nesterov, size_t n)
{
    const lsnn_real s = LSNNI_R(scale), l = LSNNI_R(lr), d = LSNNI_R(decay);
    const lsnn_real m = LSNNI_R(momentum);
    if (!v)
        for (size_t i = 0; i < n; i++) w[i] -= l * (s * g[i] + d * w[i]);
    else
        for (size_t i = 0; i < n; i++) {
            lsnn_real e = s * g[i] + d * w[i], u = m * v[i] + e;
            v[i] = u;
            w[i] -= l * (nesterov ? e + m * u : u);
        }
}

static void K_(adam)(lsnn_real *w, lsnn_real *m, lsnn_real *v, const lsnn_real *g, double scale,
                     double lr, double decay, double shrink, double b1, double b2, double c1,
                     double c2, double eps, size_t n)
{
    const lsnn_real s = LSNNI_R(scale), l = LSNNI_R(lr * c1), d = LSNNI_R(decay);
    const lsnn_real r1 = LSNNI_R(b1), r2 = LSNNI_R(b2), q1 = LSNNI_R(1 - b1);
    const lsnn_real q2 = LSNNI_R(1 - b2), rc = LSNNI_R(c2), re = LSNNI_R(eps);
    const lsnn_real keep = LSNNI_R(1 - shrink);
    for (size_t i = 0; i < n; i++) {
        lsnn_real e = s * g[i] + d * w[i];
        m[i] = r1 * m[i] + q1 * e;
        v[i] = r2 * v[i] + q2 * e * e;
        w[i] = keep * w[i] - l * m[i] / (K_SQRT(v[i] * rc) + re);
    }
}

#define K_ENTRY(type, name, arguments) , K_(name)
static const lsnni_kernels K_(kernels) = { K_TILE_ROWS, K_LANES LSNNI_KERNELS(K_ENTRY) };

#undef K_ENTRY
#undef K_PASTE2
#undef K_PASTE
#undef K_
#undef K_LANES
#undef kvec
#undef kints
#undef K_LOAD
#undef K_STORE
#undef K_SELECT
#undef K_LOAD_INTS
#undef K_STORE_INTS
#undef K_LOAD_SOME
#undef K_STORE_SOME
#undef K_STORE_SOME_INTS
#undef K_FMA
#undef K_ROWS4
#undef K_ROWS8
#undef K_ROW
#undef K_CLEAR1
#undef K_CLEAR2
#undef K_CLEAR3
#undef K_FETCH1
#undef K_FETCH2
#undef K_FETCH3
#undef K_STEP1
#undef K_STEP2
#undef K_STEP3
#undef K_END1
#undef K_END2
#undef K_END3
#undef K_TILE
#undef K_CLEAR4
#undef K_STEP4
#undef K_ITEM
#undef K_ROWS1
#undef K_ROWS2
#undef K_ROWS5
#undef K_ROWS6
#undef K_A0
#undef K_A1
#undef K_A2
#undef K_A3
#undef K_A4
#undef K_A5
#undef K_A6
#undef K_A7
#undef K_TAKE2
#undef K_TAKE3
#undef K_ADD2
#undef K_ADD3
#undef K_PUT2
#undef K_PUT3
#undef K_BLOCK
#undef K_DOT
#undef K_COLUMN
#undef K_DOT1
#undef K_DOT4
#undef K_KEEP1
#undef K_KEEP4
#undef K_DOTS
#undef K_COUNT
#undef K_EVENS
#undef K_ODDS
#undef K_NEAR_EVENS
#undef K_NEAR_ODDS
#undef K_FAR_EVENS
#undef K_FAR_ODDS
#undef K_SHUFFLE
#undef K_FULL1
#undef K_FULL2
#undef K_FULL3
#undef K_SAVE
#undef K_SAVE1
#undef K_SAVE2
#undef K_SAVE3
#undef K_SUMS
#undef K_REDUCE
#undef K_MAP
#undef K_BYTES
#undef K_TILE_ROWS
#undef LSNNI_KERNEL_PASS
#endif /* LSNNI_KERNEL_PASS */
#if defined(LSNN_IMPLEMENTATION) && !defined(LSNNI_ISA)
#define LSNNI_ISA
/* ---- >>instruction sets: the passes over the chapter above --------------------
   A pass names its instruction set, the bytes of a vector, the rows of a tile,
   and how to multiply and add. It is compiled for that set whatever the flags
   say, and chosen when the program runs, so plain `cc -O2` is already fast.   */
#ifndef LSNN_FILENAME
#define LSNN_FILENAME "lsnn.h"       /* set it if you rename this file        */
#endif
#ifdef LSNN_DOUBLE
#define K_SQRT(v) sqrt(v)
#else
#define K_SQRT(v) sqrtf(v)
#endif
#if defined(__GNUC__) && !defined(__CUDACC__) && !defined(LSNN_NO_SIMD) && \
    !defined(LSNN_NAIVE) && (defined(__SSE2_MATH__) || !defined(__i386__))
#  define LSNNI_VECTORS 1
#  if defined(__x86_64__)
#    define LSNNI_X86 1
#    include <immintrin.h>
#  elif defined(__aarch64__)
#    define LSNNI_ARM 1
#    include <arm_neon.h>
#  endif
#endif

#ifdef LSNNI_VECTORS
#  if !defined(__clang__)
#    pragma GCC push_options
#    ifdef LSNNI_X86                 /* old processors only: compiled fast    */
#      pragma GCC optimize("O1", "no-math-errno", "no-trapping-math")
#    else
#      pragma GCC optimize("O2", "tree-vectorize", "vect-cost-model=dynamic")
#      pragma GCC optimize("no-math-errno", "no-trapping-math")
#    endif
#  endif
#  define LSNNI_KERNEL_PASS portable
#  define K_BYTES 16
#  ifdef LSNNI_ARM
#    define K_TILE_ROWS 8
#  else
#    define K_TILE_ROWS 4
#  endif
#  include LSNN_FILENAME
#  ifdef LSNNI_ARM
#    define LSNNI_KERNEL_PASS neon
#    define K_BYTES 16
#    define K_TILE_ROWS 8
#    ifdef LSNN_DOUBLE
#      define K_FMA(a, b, c)                                                              \
           ((kvec)vfmaq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b)))
#    else
#      define K_FMA(a, b, c)                                                              \
           ((kvec)vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b)))
#    endif
#    include LSNN_FILENAME
#  endif
#  if !defined(__clang__)
#    pragma GCC pop_options
#  endif
#else
#  define LSNNI_KERNEL_PASS portable
#  define K_BYTES 0
#  define K_TILE_ROWS 4
#  include LSNN_FILENAME
#endif

#ifdef LSNNI_X86
#  ifdef __clang__
#    pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#  else
#    pragma GCC push_options
#    pragma GCC target("avx2,fma")
#    pragma GCC optimize("O2", "tree-vectorize", "vect-cost-model=dynamic")
#    pragma GCC optimize("no-math-errno", "no-trapping-math")
#  endif
#  define LSNNI_KERNEL_PASS avx2
#  define K_BYTES 32
#  define K_TILE_ROWS 4
#  ifdef LSNN_DOUBLE
#    define K_FMA(a, b, c) ((kvec)_mm256_fmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c)))
#  else
#    define K_FMA(a, b, c) ((kvec)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#  endif
#  include LSNN_FILENAME
#  ifdef __clang__
#    pragma clang attribute pop
#    pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx2,fma"))), \
                                 apply_to = function)
#  else
#    pragma GCC pop_options
#    pragma GCC push_options
#    pragma GCC target("avx512f,avx512dq,avx512vl,avx2,fma")
#    pragma GCC optimize("O2", "tree-vectorize", "vect-cost-model=dynamic")
#    pragma GCC optimize("no-math-errno", "no-trapping-math")
#  endif
#  define LSNNI_KERNEL_PASS avx512
#  define K_BYTES 64
#  define K_TILE_ROWS 8
#  ifdef LSNN_DOUBLE
#    define K_FMA(a, b, c) ((kvec)_mm512_fmadd_pd((__m512d)(a), (__m512d)(b), (__m512d)(c)))
#    define K_LOAD_SOME(p, n) ((kvec)_mm512_maskz_loadu_pd((__mmask8)((1u << (n)) - 1), p))
#    define K_STORE_SOME(p, v, n)                                                         \
         _mm512_mask_storeu_pd(p, (__mmask8)((1u << (n)) - 1), (__m512d)(v))
#    define K_STORE_SOME_INTS(p, v, n)                                                    \
         _mm256_mask_storeu_epi32(p, (__mmask8)((1u << (n)) - 1),                         \
                                  (__m256i)__builtin_convertvector(v, K_(whole)))
#  else
#    define K_FMA(a, b, c) ((kvec)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#    define K_LOAD_SOME(p, n) ((kvec)_mm512_maskz_loadu_ps((__mmask16)((1u << (n)) - 1), p))
#    define K_STORE_SOME(p, v, n)                                                         \
         _mm512_mask_storeu_ps(p, (__mmask16)((1u << (n)) - 1), (__m512)(v))
#    define K_STORE_SOME_INTS(p, v, n)                                                    \
         _mm512_mask_storeu_epi32(p, (__mmask16)((1u << (n)) - 1), (__m512i)(v))
#  endif
#  include LSNN_FILENAME
#  ifdef __clang__
#    pragma clang attribute pop
#  else
#    pragma GCC pop_options
#  endif
#endif
#undef K_SQRT

LSNN_API int lsnn_isa_available(lsnn_isa isa)
{
    switch (isa) {
    case LSNN_ISA_BEST:
    case LSNN_ISA_PORTABLE: return 1;
#ifdef LSNNI_X86
    case LSNN_ISA_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case LSNN_ISA_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
#endif
#ifdef LSNNI_ARM
    case LSNN_ISA_NEON: return 1;
#endif
    default: return 0;
    }
}

LSNN_API lsnn_isa lsnn_ctx_isa(const lsnn_ctx *cx)
{
    if (cx->isa != LSNN_ISA_BEST && lsnn_isa_available(cx->isa)) return cx->isa;
    if (lsnn_isa_available(LSNN_ISA_AVX512)) return LSNN_ISA_AVX512;
    if (lsnn_isa_available(LSNN_ISA_AVX2)) return LSNN_ISA_AVX2;
    if (lsnn_isa_available(LSNN_ISA_NEON)) return LSNN_ISA_NEON;
    return LSNN_ISA_PORTABLE;
}

static const char *const lsnni_isa_names[LSNN_ISA_COUNT_] = {
    "best", "portable", "avx2", "avx512", "neon"
};

LSNN_API const char *lsnn_isa_name(lsnn_isa isa)
{
    return (int)isa >= 0 && isa < LSNN_ISA_COUNT_ ? lsnni_isa_names[isa] : "unknown";
}

LSNN_API lsnn_isa lsnn_isa_from_name(const char *name)
{
    int i = 0;
    while (i < LSNN_ISA_COUNT_ && strcmp(name, lsnni_isa_names[i]) != 0) i++;
    return (lsnn_isa)i;
}

static const lsnni_kernels *lsnni_kernels_of(const lsnn_ctx *cx)
{
    switch (lsnn_ctx_isa(cx)) {
#ifdef LSNNI_X86
    case LSNN_ISA_AVX512: return &lsnni_kernels_avx512;
    case LSNN_ISA_AVX2: return &lsnni_kernels_avx2;
#endif
#ifdef LSNNI_ARM
    case LSNN_ISA_NEON: return &lsnni_kernels_neon;
#endif
    default: return &lsnni_kernels_portable;
    }
}

/* ---- >>info: what this build holds ---------------------------------------------*/
LSNN_API const char *lsnn_build_info(void)
{
    return "lsnn " LSNN_VERSION
#ifdef LSNN_DOUBLE
           " double"
#else
           " float"
#endif
#ifdef LSNNI_X86
           " portable avx2 avx512"
#elif defined(LSNNI_ARM)
           " portable neon"
#else
           " portable"
#endif
#ifdef LSNNI_TEAM
           " threads"
#elif defined(LSNNI_OPENMP)
           " openmp"
#endif
#ifdef LSNN_USE_CBLAS
           " cblas"
#endif
#ifdef LSNN_USE_ZLIB
           " zlib"
#endif
#ifdef LSNNI_PNG
           " png"
#endif
#if defined(__clang__)
           " clang " __clang_version__
#elif defined(__GNUC__)
           " gcc " __VERSION__
#endif
           ;
}
#endif /* LSNNI_ISA */
/* ---- >>licence: choose either -----------------------------------------------------
   ------------------------------------------------------------------------------
   ALTERNATIVE A - MIT License

   Copyright (c) 2026 the authors of lsnn

   Permission is hereby granted, free of charge, to any person obtaining a copy
   of this software and associated documentation files (the "Software"), to deal
   in the Software without restriction, including without limitation the rights
   to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
   copies of the Software, and to permit persons to whom the Software is
   furnished to do so, subject to the following conditions:

   The above copyright notice and this permission notice shall be included in all
   copies or substantial portions of the Software.

   THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
   IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
   FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
   AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
   LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
   OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
   SOFTWARE.

   ------------------------------------------------------------------------------
   ALTERNATIVE B - Public Domain (www.unlicense.org)

   This is free and unencumbered software released into the public domain.

   Anyone is free to copy, modify, publish, use, compile, sell, or distribute
   this software, either in source code form or as a compiled binary, for any
   purpose, commercial or non-commercial, and by any means.

   In jurisdictions that recognize copyright laws, the author or authors of this
   software dedicate any and all copyright interest in the software to the public
   domain. We make this dedication for the benefit of the public at large and to
   the detriment of our heirs and successors. We intend this dedication to be an
   overt act of relinquishment in perpetuity of all present and future rights to
   this software under copyright law.

   THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
   IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
   FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
   AUTHORS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN
   ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION
   WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
   */
