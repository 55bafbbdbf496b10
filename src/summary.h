/* ---- >>summary: what a net says of itself ----------------------------------------------
   Nothing here changes a net, and all of it may be asked before lsnn_net_build: values, roles
   and crops come with that, and are left out until then. Counts are double where products of
   sizes are added up: exact up to 2^53, and larger nets only lose digits.    */
/* Of the table: what layers share is one row, and counts once; the block's gaps do not count. */
LSNN_API size_t lsnn_net_params(const lsnn_net *net)
{
    if (!net) return 0;
    size_t total = 0;
    for (int i = 0; i < net->params; i++)
        total = lsnni_plus(total, net->param[i].spec.count);
    return total;
}

/* As planned, on whole outputs: what a crop or fusion saves on this machine is no property of
   the net, and numbers in a paper are to be found again.                     */
LSNN_API double lsnn_net_macs(const lsnn_net *net)
{
    if (!net) return 0;
    double total = 0;
    for (int i = 0; i < net->nodes; i++) total += net->node[i].plan.macs;
    return total;
}

/* Node i's multiply-adds as learned and as computed; before build as planned. Asked anew each
   time, since each step changes the parameters; the device may have newer ones. */
static lsnn_status lsnni_macs_now(const lsnn_net *net, int i, double now[2])
{
    const lsnni_node *v = &net->node[i];
    const lsnn_real *param[LSNN_MAX_PARAMS];
    unsigned failures = net->cx->failures_;
    now[0] = now[1] = v->plan.macs;
    /* There are values to ask about from build on. Only a type whose parameters switch work
       off has the function.                                                  */
    if (!v->plan.macs_now || !net->built) return LSNN_OK;
    LSNNI_TRY(lsnni_device_pull(net));
    /* The host's values, which are as new as a device's now.                 */
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

/* The one that fails before build: what is asked for lies in the values.     */
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

/* Before a crop: what the layer's sizes say, which a reader of its output builds on. */
LSNN_API lsnn_shape lsnn_net_shape(const lsnn_net *net, int node)
{
    lsnn_shape none = { 0, 0, 0 };
    return net && node >= 0 && node < net->nodes ? net->node[node].shape : none;
}

/* -1 until lsnn_net_set_output or lsnn_net_build has chosen one.             */
LSNN_API int lsnn_net_output(const lsnn_net *net) { return net ? net->output : -1; }

/* "14400 + 576 by 25 + 1": what units are connected with, their inputs + their biases, by how
   many weights + biases.                                                     */
enum { LSNNI_NOTE = 112 };
/* As papers do: C1 of LeNet-5 has "156 trainable parameters, and 122,304 connections" (LeCun,
   Bottou, Bengio, Haffner 1998), 28 x 28 x 6 units that read 25 pixels and a bias each. Where
   weights are shared the first number says what is learned, the second what is computed. */
static void lsnni_connections_note(const lsnn_layer_plan *p, char text[LSNNI_NOTE])
{
    char number[2 + LSNN_MAX_PARAMS][LSNNI_NOTE / 6];
    memset(number, 0, sizeof number);
    text[0] = 0;
    /* Poolings and the like connect with nothing that learns.                */
    if (!(p->connections[0] + p->connections[1] > 0)) return;
    snprintf(number[0], sizeof number[0], "%.0f", p->connections[0]);
    if (p->connections[1] > 0) snprintf(number[1], sizeof number[1], "%.0f", p->connections[1]);
    for (int j = 0; j < p->params; j++)
        snprintf(number[2 + j], sizeof number[0], "%.0f", (double)p->param[j].count);
    snprintf(text, LSNNI_NOTE, "%s%s%s%s%s%s%s", number[0], *number[1] ? " + " : "", number[1],
             *number[2] ? " by " : "", number[2], *number[3] ? " + " : "", number[3]);
}

/* "now 1300 learned, 1100 computed", or nothing where both are what is planned. Most layers
   compute what is planned whatever they have learned: they need no words.    */
static void lsnni_macs_note(double planned, const double now[2], char text[LSNNI_NOTE])
{
    int differ = now[0] < planned || now[1] < planned;
    text[0] = 0;
    if (differ) snprintf(text, LSNNI_NOTE, "now %.0f learned, %.0f computed", now[0], now[1]);
}

/* How the net runs a layer. What >>plan has decided, in a few words, of which the first that
   holds is said: a student sees where layers melted together, an engineer why one has no row
   in the profile.                                                            */
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
    /* A crop: the rows and columns that its reader reads.                    */
    if (v->shape.h != v->plan.out.h || v->shape.w != v->plan.out.w)
        snprintf(text + strlen(text), n - strlen(text), "%sonly %d x %d", *text ? ", " : "",
                 v->plan.out.h, v->plan.out.w);
}

/* A shared parameter is 0 in its reader's row, so that the column adds up to the total. The
   table is written for a fixed pitch, and its columns are what tests and tools read: add at
   the end. A layer whose macs_now fails ends it; the context has the reason. */
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
        /* Spaces up to the next column only where something stands in it.    */
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
