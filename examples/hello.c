/* hello.c - the shortest useful program: a network learns to read handwritten-like digits.

   Build: cc -O2 examples/hello.c -o examples/hello -lm
   Run:   examples/hello          Expect: over 98 % of unseen digits right, else exit 1    */
#define LSNN_STATIC                  /* one file: what it doesn't call isn't compiled */
#define LSNN_IMPLEMENTATION
#include "../lsnn.h"

static int show(const lsnn_progress *p, void *user)
{
    (void)user;
    if (p->epoch_done) printf("epoch %d: loss %.3f, %.0f images/s\n", p->epoch + 1, p->loss,
                              p->images_per_s);
    return 0;
}

int main(void)
{
    static lsnn_ctx cx;                          /* all zero: ready for use       */
    static lsnn_recipe train_digits, test_digits;
    static lsnn_fit_desc fit;
    static lsnn_score score;
    lsnn_data train, test;
    lsnn_net *net = lsnn_net_new(&cx);
    int x;

    /* Data: 40,000 digits an epoch, new ones each time, and 2,000 to be tested on. */
    train_digits.count = 40000;
    train_digits.fresh = 1;
    test_digits.count = 2000;
    test_digits.test = 1;
    lsnn_data_recipe(&cx, &train, &train_digits);
    lsnn_data_recipe(&cx, &test, &test_digits);

    /* Network: 12 kernels of 5x5, 32 of 5x5, 10 classes.                          */
    x = lsnn_input(net, 1, 28, 28);
    x = lsnn_max_pool(net, lsnn_relu(net, lsnn_conv2d(net, x, 12, 5, NULL), NULL), 2, NULL);
    x = lsnn_max_pool(net, lsnn_relu(net, lsnn_conv2d(net, x, 32, 5, NULL), NULL), 2, NULL);
    x = lsnn_dense(net, x, 10, NULL);
    lsnn_cross_entropy(net, x, NULL);
    lsnn_net_build(net, NULL);
    if (cx.status != LSNN_OK) return 1;          /* the message is on stderr      */
    lsnn_net_summary(net, stdout);

    /* Training: two epochs, a few seconds.                                   */
    fit.epochs = 2;
    fit.optimizer.method = LSNN_ADAM;
    fit.optimizer.lr = 0.003;
    fit.optimizer.schedule = LSNN_COSINE;
    fit.progress = show;
    if (lsnn_fit(net, &train, &fit) != LSNN_OK) return 1;
    if (lsnn_evaluate(net, &test, &score) != LSNN_OK) return 1;
    printf("%.2f %% of 2000 unseen digits are read right\n", 100 - score.error);

    lsnn_net_free(net);
    lsnn_data_free(&train);
    lsnn_data_free(&test);
    lsnn_ctx_free(&cx);
    if (fflush(stdout) != 0 || ferror(stdout)) return 1;         /* nobody has read it   */
    return score.error < 2 ? 0 : 1;
}
