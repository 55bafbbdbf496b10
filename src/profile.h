/* ---- >>profile: what each layer costs ----------------------------------------------
   Both layouts' steps of a node are added up. Operations are 2 a multiply-add; forward as
   many as the layer says (as learned, less what a crop leaves out), backward as many again for
   dx and for the parameters' gradients. Work done for a neighbour is in the row of who does it. */
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
            double now[2], macs;
            if (i != (s->turns ? net->nodes : s->node)) continue;
            if (backward) times = (s->call.dx[0] != NULL) + (s->call.dparam[0] != NULL);
            macs = lsnni_macs_now(net, s->node, now) == LSNN_OK ? now[0] : v->plan.macs;
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
