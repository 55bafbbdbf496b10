/* dsc_filters.h - filters that nobody names: examples/dsc.c trains them layer by layer, on
   random fields of random images, by lateral depression alone (sections III, VII and VIII of
   the draft; their text is a few lines, so most of it is ours).                         */
#ifndef DSC_FILTERS_H
#define DSC_FILTERS_H

enum { LEVELS = 3, FIELD = 4096 };
typedef struct filters {
    lsnn_options rule;               /* dsc_xi, dsc_eta, dsc_tau, dsc_alpha_max          */
    int count, levels;               /* of the first level, each next one twice as many  */
    int fields, neighbours, printed, quiet;
    double beta, bright;
    uint64_t seed;
} filters;

static const char *const filter_name[LEVELS] = { "filter1", "filter2", "filter3" };
static int filter_kernel(int level) { return level ? 3 : 5; }

static lsnn_options filter_options(const filters *f, const char *name)
{
    lsnn_options o = f->rule;
    o.name = name;
    o.keep = 1;
    o.dsc_silent = !f->printed;
    return o;
}

/* Pixels that are no brighter than alpha_max: at 1 every connection passes 1.             */
static int filter_input(lsnn_net *net, lsnn_shape in)
{
    lsnn_options o = { 0 };
    o.name = "dim";
    o.keep = o.freeze = o.no_bias = 1;
    return lsnn_scale(net, lsnn_input(net, in.c, in.h, in.w), &o);
}

static int filter_layers(const filters *f, lsnn_net *net, int x, int levels, int frozen)
{
    for (int i = 0; i < levels; i++) {
        lsnn_options o = filter_options(f, filter_name[i]);
        o.freeze = i < frozen;
        o.stride_h = 2;
        x = lsnn_dsc_conv2d(net, x, f->count << i, filter_kernel(i), &o);
    }
    return x;
}

static lsnn_net *filter_build(const filters *f, lsnn_net *net, int batch, int profile)
{
    lsnn_build_desc d = { 0 };
    lsnn_real bright[3];
    for (int i = 0; i < 3; i++) bright[i] = (lsnn_real)f->bright;
    d.batch = batch;
    d.seed = f->seed;
    d.profile = profile;
    if (lsnn_net_build(net, &d) == LSNN_OK && (lsnn_net_node(net, "dim") < 0 ||
        lsnn_net_set(net, "dim.scale", bright, (size_t)lsnn_net_shape(net, 0).c) == LSNN_OK))
        return net;
    lsnn_net_free(net);
    return NULL;
}

/* A random field of a random image; 0 if it is black: that teaches nothing (ours).     */
static int filter_field(const filters *f, const lsnn_data *d, uint32_t step, lsnn_real *x,
                        lsnn_real *image, int side)
{
    lsnn_rng r = lsnn_rng_at(f->seed, "field", "", step, (uint32_t)side);
    lsnn_shape s = d->shape;
    int at = lsnn_rng_int(&r, d->count), top, left, label[LSNN_MAX_HEADS];
    double sum = 0;
    d->fetch(d->user, 0, at, image, label, NULL);
    top = lsnn_rng_int(&r, s.h - side + 1);
    left = lsnn_rng_int(&r, s.w - side + 1);
    for (int i = 0; i < s.c * side * side; i++) {
        int c = i / side / side, row = top + i / side % side, col = left + i % side;
        x[i] = image[(c * s.h + row) * s.w + col];
        sum += (double)x[i];
    }
    return sum > 0;
}

static lsnn_status filter_copy(lsnn_net *to, lsnn_net *from, const char *name)
{
    static const char *const part[2] = { "weight", "theta" };
    lsnn_status s = LSNN_OK;
    for (int i = 0; i < 2 && s == LSNN_OK; i++) {
        char full[40];
        int rank, dim[4];
        size_t count = 1;
        lsnn_real *v;
        snprintf(full, sizeof full, "%s.%s", name, part[i]);
        s = lsnn_net_dims(from, full, &rank, dim);
        for (int k = 0; k < rank && s == LSNN_OK; k++) count *= (size_t)dim[k];
        v = (lsnn_real *)malloc(count * sizeof *v);
        if (!v) return LSNN_ENOMEM;
        if (s == LSNN_OK) s = lsnn_net_get(from, full, v, count);
        if (s == LSNN_OK) s = lsnn_net_set(to, full, v, count);
        free(v);
    }
    return s;
}

static lsnn_status filter_level(const filters *f, lsnn_net *net, const lsnn_data *data,
                                int level, int side)
{
    lsnn_real *x = (lsnn_real *)malloc(2 * FIELD * sizeof *x);
    lsnn_optimizer_desc d = { 0 };
    lsnn_optimizer *o;
    lsnn_batch b = { 0 };
    lsnn_status s = x ? LSNN_OK : LSNN_ENOMEM;
    double loss = 0, total = 0;
    d.lr = 1;
    o = lsnn_optimizer_new(net, &d);
    b.n = 1;
    b.x = x;
    for (int i = 0, kept = 0; i < f->fields && s == LSNN_OK && o && !app_signal; i++) {
        if (!filter_field(f, data, (uint32_t)i, x, x + FIELD, side)) continue;
        s = lsnn_forward(net, &b, 1, &loss);
        if (s == LSNN_OK) s = lsnn_backward(net);
        if (s == LSNN_OK) s = lsnn_optimizer_step(o);
        total += loss;
        if (++kept % 5000) continue;
        if (!f->quiet) fprintf(stderr, "%s: %d fields, loss %.4f\n", filter_name[level], kept,
                                 total / 5000);
        total = 0;
    }
    lsnn_optimizer_free(o);
    free(x);
    return o ? s : LSNN_EVALUE;
}

static lsnn_status filter_train(const filters *f, lsnn_net *into, lsnn_ctx *cx,
                                const lsnn_data *data)
{
    lsnn_options l = { 0 };
    lsnn_status s = LSNN_OK;
    l.dsc_beta = f->beta;
    l.dsc_maps = f->neighbours;
    for (int level = 0, side = 5; level < f->levels && s == LSNN_OK; level++, side += 2 << level) {
        lsnn_shape in = data->shape;
        lsnn_net *net = lsnn_net_new(cx);
        in.h = in.w = side;
        lsnn_dsc_lateral(net, filter_layers(f, net, filter_input(net, in), level + 1, level), &l);
        net = filter_build(f, net, 1, 0);
        for (int i = 0; i < level && net && s == LSNN_OK; i++)
            s = filter_copy(net, into, filter_name[i]);
        s = net && s == LSNN_OK ? filter_level(f, net, data, level, side) : cx->status;
        if (s == LSNN_OK) s = filter_copy(into, net, filter_name[level]);
        lsnn_net_free(net);
    }
    return s;
}
#endif
