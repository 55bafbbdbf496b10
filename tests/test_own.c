/* test_own.c - a layer type of one's own that refuses: lsnn_fail's message names the layer,
   and a status without a word gets one; it is what lsnn_layer, lsnn_net_build, lsnn_net_load,
   lsnn_forward, lsnn_backward, lsnn_predict and lsnn_fit return, and what the context keeps.

   modes: plain | asan
   Build: cc -O2 -I. tests/test_own.c -o tests/test_own -lm                              */
#ifndef TEST_LINKED
#define LSNN_IMPLEMENTATION
#endif
#include "lsnn.h"
#include "check.h"
#include "nets.h"

/* ---- a type that does as it is told ------------------------------------------------------ */
enum { NOWHERE, PLAN, FORWARD, BACKWARD, PROJECT };
static struct {
    int where, says;                     /* 1: gives a reason                             */
    lsnn_status status;
    int added[4], calls;                 /* what `add` was, call by call                  */
} told;

static lsnn_status answer(lsnn_ctx *cx, int where)
{
    if (cx->rehearsal_ || told.where != where) return LSNN_OK;
    return told.says ? lsnn_fail(cx, told.status, "number %d is %s", 7, "odd") : told.status;
}
static lsnn_status picky_plan(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    p->out = p->in[0];
    p->params = 1;
    p->param[0].name = "gain";
    p->param[0].rank = 2;
    p->param[0].dim[0] = p->in[0].c;
    p->param[0].dim[1] = 2;
    return answer(cx, PLAN);
}
static size_t numbers(const lsnn_call *c)
{
    lsnn_shape s = c->plan->in[0];
    return (size_t)c->n * (size_t)s.c * (size_t)s.h * (size_t)s.w;
}
static lsnn_status picky_forward(lsnn_ctx *cx, lsnn_call *c)
{
    memcpy(c->y, c->x[0], numbers(c) * sizeof *c->y);
    return answer(cx, FORWARD);
}
static lsnn_status picky_backward(lsnn_ctx *cx, lsnn_call *c)
{
    if (told.calls < 4) told.added[told.calls++] = c->add[0];
    for (size_t i = 0; i < numbers(c) && c->dx[0]; i++)
        c->dx[0][i] = c->dy[i] + (c->add[0] ? c->dx[0][i] : 0);
    return answer(cx, BACKWARD);
}
static lsnn_status picky_project(lsnn_ctx *cx, const lsnn_projection *p)
{
    (void)p;
    return answer(cx, PROJECT);
}
static const lsnn_layer_type picky_type = {
    "picky", "", 1, 1, 0, picky_plan, picky_forward, picky_backward, NULL, picky_project,
    NULL, NULL, NULL
};

static lsnn_net *picky_net(lsnn_ctx *cx, int side)
{
    lsnn_net *net = lsnn_net_new(cx);
    int x = lsnn_conv2d(net, lsnn_input(net, 1, side, side), 2, 3, NULL);
    x = lsnn_layer(net, &picky_type, &x, 1, NULL);
    lsnn_cross_entropy(net, lsnn_dense(net, x, 3, NULL), NULL);
    return net;
}

/* The call returned `status`, and so says the context, with the layer's name.            */
#define TOLD(call)                                                                         \
    do {                                                                                   \
        lsnn_status got_ = (call);                                                         \
        int named_ = strstr(cx.message, "layer 'picky1': ") == cx.message &&               \
            strstr(cx.message, told.says ? "number 7 is odd" : "gave no reason");          \
        if (!CHECK(got_ == told.status && cx.status == told.status && named_))             \
            printf("#   %d, context %d: %s\n", (int)got_, (int)cx.status, cx.message);     \
        lsnn_clear(&cx);                                                                   \
    } while (0)

static void test_refuses(void)
{
    static const lsnn_status status[] = { LSNN_ESHAPE, LSNN_EVALUE, LSNN_ENOMEM };
    static sample_batch s;
    lsnn_shape shape = { 1, 6, 6 };
    for (int i = 0; i < 6; i++) {
        lsnn_ctx cx = quiet_ctx();
        lsnn_net *net;
        lsnn_batch *b = draw_batch(&s, 4, 36, 1);
        lsnn_real y[4 * 3];
        lsnn_fit_desc fit;
        lsnn_data data;
        lsnn_work *w;
        told.where = PLAN;
        told.says = i % 2;
        told.status = status[i / 2];
        net = picky_net(&cx, 6);
        TOLD(lsnn_net_build(net, NULL));
        CHECK(lsnn_net_build(net, NULL) == told.status);
        lsnn_clear(&cx);
        lsnn_net_free(net);
        told.where = NOWHERE;
        net = picky_net(&cx, 6);
        CHECK(build_net(net, 4, 1, 0) == LSNN_OK);
        told.where = FORWARD;
        TOLD(lsnn_forward(net, b, 1, NULL));
        TOLD(lsnn_predict(net, s.x, 4, y));
        w = lsnn_work_new(&cx, net, 4);
        TOLD(lsnn_work_predict(w, s.x, 4, y));
        lsnn_work_free(w);
        CHECK(lsnn_data_arrays(&cx, &data, s.x, s.labels, 4, shape, 1, 3) == LSNN_OK);
        memset(&fit, 0, sizeof fit);
        TOLD(lsnn_fit(net, &data, &fit));
        told.where = BACKWARD;
        CHECK(lsnn_forward(net, b, 1, NULL) == LSNN_OK);
        TOLD(lsnn_backward(net));
        TOLD(lsnn_fit(net, &data, &fit));
        told.where = PROJECT;
        TOLD(lsnn_fit(net, &data, &fit));
        told.where = NOWHERE;
        CHECK(lsnn_fit(net, &data, &fit) == LSNN_OK && cx.status == LSNN_OK);
        lsnn_data_free(&data);
        lsnn_net_free(net);
        lsnn_ctx_free(&cx);
    }
    CHECK(heap.live == 0);
    test_end("a layer that refuses, with a reason or without: its status, and its name");
}

static void test_load(void)
{
    const lsnn_layer_type *const types[] = { &picky_type };
    const char *folder = getenv("TEST_TMP");
    char path[600];
    lsnn_ctx cx = quiet_ctx();
    lsnn_net *net;
    snprintf(path, sizeof path, "%.500s/own.safetensors", folder ? folder : ".");
    told.where = NOWHERE;
    net = picky_net(&cx, 6);
    CHECK(lsnn_net_build(net, NULL) == LSNN_OK && lsnn_net_save(net, path) == LSNN_OK);
    lsnn_net_free(net);
    told.where = PLAN;
    told.status = LSNN_EUNSUPPORTED;
    for (told.says = 0; told.says < 2; told.says++) {
        net = lsnn_net_load(&cx, path, NULL, types, 1);
        CHECK(!net);
        TOLD(cx.status);
    }
    told.where = NOWHERE;
    net = lsnn_net_load(&cx, path, NULL, types, 1);
    CHECK(net != NULL && cx.status == LSNN_OK);
    lsnn_net_free(net);
    remove(path);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("lsnn_net_load tells what the plan said");
}

/* lsnn_fail by itself: the first failure stays, no failure has a status all the same.    */
static void test_fail(void)
{
    lsnn_ctx cx = quiet_ctx();
    CHECK(lsnn_fail(&cx, LSNN_ENAME, "%s %d%%", "first", 5) == LSNN_ENAME);
    CHECK(cx.status == LSNN_ENAME && strcmp(cx.message, "first 5%") == 0);
    CHECK(lsnn_fail(&cx, LSNN_ESHAPE, "second") == LSNN_ESHAPE && cx.status == LSNN_ENAME);
    lsnn_clear(&cx);
    CHECK(lsnn_fail(&cx, LSNN_OK, "none") == LSNN_EVALUE && cx.status == LSNN_EVALUE);
    CHECK(strcmp(cx.message, "none") == 0);
    test_end("lsnn_fail");
}

/* A type that takes plain arrays beside one in blocks: each layout has a first writer, so in
   blocks the second reader is told to set; the sum is right both ways.                   */
static void test_add(void)
{
    static sample_batch s;
    lsnn_ctx cx = quiet_ctx();
    int lanes = lsnn_lanes(&cx);
    lsnn_real g[2][3 * 9];
    told.where = NOWHERE;
    for (int blocks = 0; blocks < 2; blocks++) {
        int n = blocks ? lanes : 1, x, a, b;
        lsnn_net *net = lsnn_net_new(&cx);
        x = lsnn_conv2d(net, lsnn_input(net, 1, 8, 8), 3, 3, NULL);
        a = lsnn_layer(net, &picky_type, &x, 1, NULL);
        b = lsnn_conv2d(net, x, 3, 1, NULL);
        lsnn_cross_entropy(net, lsnn_dense(net, lsnn_add(net, a, b, NULL), 3, NULL), NULL);
        CHECK(build_net(net, lanes, 1, 0) == LSNN_OK);
        told.calls = 0;
        draw_batch(&s, 1, 64, 1);
        for (int i = 1; i < n; i++) {    /* the same image in each lane                   */
            memcpy(s.x + i * 64, s.x, 64 * sizeof *s.x);
            s.labels[2 * i] = s.labels[0];
        }
        s.b.n = n;
        CHECK(lsnn_forward(net, &s.b, 1, NULL) == LSNN_OK && lsnn_backward(net) == LSNN_OK);
        CHECK(lsnn_net_get(net, "grad:conv2d1.weight", g[blocks], 27) == LSNN_OK);
        CHECK(told.calls == 1);
        if (!blocks || lanes == 1) CHECK(told.added[0] == LSNN_ADD);
        else CHECK(told.added[0] == LSNN_SET);
        lsnn_net_free(net);
    }
    for (int i = 0; i < 27; i++) NEAR(g[1][i], g[0][i], 1e-5);
    lsnn_ctx_free(&cx);
    CHECK(heap.live == 0);
    test_end("two readers of an output, in one layout and in two");
}

int main(void)
{
    test_refuses();
    test_load();
    test_fail();
    test_add();
    return test_finish();
}
