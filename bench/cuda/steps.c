/* steps.c - training steps a second on a GPU and on the cpu: make cuda-bench builds and runs it.

   A line each: bench what=train net=cnn batch=64 device=cuda ours=... unit=images/s. A step is
   forward, backward and an SGD update; the images go to the device in each. The first steps,
   which record, are not counted.                                                          */
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
#include "examples/models.h"

static lsnn_ctx cx;

/* Images a second, or -1: the message is in cx.                                           */
static double measure(const char *model, int side, int batch, const char *device, double seconds)
{
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_build_desc d;
    lsnn_optimizer_desc od;
    lsnn_optimizer *o;
    lsnn_batch b;
    lsnn_rng r = lsnn_rng_at(1, "bench", "", 0, 0);
    size_t size = (size_t)side * (size_t)side;
    lsnn_real *x = (lsnn_real *)calloc((size_t)batch * size, sizeof *x);
    int *labels = (int *)calloc((size_t)batch, sizeof *labels), steps = 0, ok = 1;
    double began = 0, loss;
    lsnn_cross_entropy(net, model_by_name(net, model, lsnn_input(net, 1, side, side), 10), NULL);
    memset(&d, 0, sizeof d);
    memset(&od, 0, sizeof od);
    memset(&b, 0, sizeof b);
    d.batch = batch;
    d.seed = 1;
    d.device = device;
    od.momentum = 0.9;
    for (size_t i = 0; i < (size_t)batch * size; i++) x[i] = (lsnn_real)lsnn_rng_uniform(&r);
    for (int i = 0; i < batch; i++) labels[i] = lsnn_rng_int(&r, 10);
    b.n = batch; b.x = x; b.labels = labels; b.heads = 1;
    ok = lsnn_net_build(net, &d) == LSNN_OK;
    o = ok ? lsnn_optimizer_new(net, &od) : NULL;
    for (; ok && o; steps++) {
        if (steps == 3) {
            ok = lsnn_forward(net, &b, 0, &loss) == LSNN_OK;     /* waits             */
            began = lsnni_seconds();
        }
        ok = ok && lsnn_forward(net, &b, 1, NULL) == LSNN_OK && lsnn_backward(net) == LSNN_OK &&
             lsnn_optimizer_step(o) == LSNN_OK;
        if (steps % 8 == 7 && ok) {
            ok = lsnn_forward(net, &b, 0, &loss) == LSNN_OK;
            if (lsnni_seconds() - began > seconds) break;
        }
    }
    seconds = lsnni_seconds() - began;
    lsnn_optimizer_free(o);
    lsnn_net_free(net);
    free(x);
    free(labels);
    return ok && o ? (steps - 2) * (double)batch / seconds : -1;
}

int main(void)
{
    static const char *const models[] = { "cnn", "lc", "lsnn-location", "lsnn-content", "dn10",
        "cnn6" };
    static const int sides[] = { 42, 42, 42, 42, 28, 28 }, batches[] = { 64, 1024 };
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 2; j++)
            for (int k = 0; k < 2; k++) {
                const char *device = k ? "cpu" : "cuda";
                double speed = measure(models[i], sides[i], batches[j], device, 3);
                if (speed < 0) {
                    fprintf(stderr, "bench: %s on %s: %s\n", models[i], device, cx.message);
                    return 1;
                }
                printf("bench what=train net=%s batch=%d device=%s ours=%.0f unit=images/s\n",
                       models[i], batches[j], device, speed);
                fflush(stdout);
            }
    return 0;
}
