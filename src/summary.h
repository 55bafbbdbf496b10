/* ---- >>summary: what a net says of itself ----------------------------------------------*/
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

/* Node i's multiply-adds as learned and as computed; before build as planned.  */
static lsnn_status lsnni_macs_now(const lsnn_net *net, int i, double now[2])
{
    const lsnni_node *v = &net->node[i];
    const lsnn_real *param[LSNN_MAX_PARAMS];
    unsigned failures = net->cx->failures_;
    now[0] = now[1] = v->plan.macs;
    if (!v->plan.macs_now || !net->built) return LSNN_OK;
    LSNNI_TRY(lsnni_device_pull(net));
    for (int j = 0; j < v->plan.params; j++)
        param[j] = net->value + net->param[v->param[j]].at;
    return lsnni_answer(net->cx, v->type, "macs_now", failures,
                        v->plan.macs_now(net->cx, &v->plan, param, now));
}

/* The same of all nodes.                                                      */
static lsnn_status lsnni_macs_of_all(const lsnn_net *net, double sum[2])
{
    double now[2];
    sum[0] = sum[1] = 0;
    for (int i = 0; i < net->nodes; i++) {
        LSNNI_TRY(lsnni_macs_now(net, i, now));
        sum[0] += now[0];
        sum[1] += now[1];
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_net_macs_now(lsnn_net *net, double *learned, double *computed)
{
    double sum[2];
    if (!net) return LSNN_ENOMEM;
    if (!net->built)
        return lsnni_fail(net->cx, LSNN_ESTATE, "net_macs_now: build the net first, its "
                          "parameters decide");
    LSNNI_TRY(lsnni_macs_of_all(net, sum));
    if (learned) *learned = sum[0];
    if (computed) *computed = sum[1];
    return LSNN_OK;
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

/* "now 1300 learned, 1100 computed", or nothing where both are what is planned.  */
static void lsnni_macs_note(double planned, const double now[2], char text[LSNNI_NOTE])
{
    int differ = now[0] < planned || now[1] < planned;
    text[0] = 0;
    if (differ) snprintf(text, LSNNI_NOTE, "now %.0f learned, %.0f computed", now[0], now[1]);
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
    double connections = 0, now[2];
    char macs[LSNNI_NOTE];
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
        if (lsnni_macs_now(net, i, now) != LSNN_OK) return;
        lsnni_macs_note(v->plan.macs, now, macs);
        fprintf(out, "%-18s %-14s %-16s %12.0f %14.0f", v->name, v->type->name, shape,
                v->share ? 0.0 : (double)count, v->plan.macs);
        if (*role || *macs)
            fprintf(out, "  %-30s  %s%s%s\n", connected, role, *role && *macs ? ", " : "", macs);
        else fprintf(out, "%s%s\n", *connected ? "  " : "", connected);
    }
    if (lsnni_macs_of_all(net, now) != LSNN_OK) return;
    lsnni_macs_note(lsnn_net_macs(net), now, macs);
    fprintf(out, "%-18s %-14s %-16s %12.0f %14.0f  %.0f%s%s\n", "total", "", "",
            (double)lsnn_net_params(net), lsnn_net_macs(net), connections, *macs ? "  " : "",
            macs);
}
