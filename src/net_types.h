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

typedef struct lsnni_node {
    const lsnn_layer_type *type;
    char *name, *share;
    lsnn_layer_plan plan;
    int input[LSNN_MAX_INPUTS];
    int param[LSNN_MAX_PARAMS], buffer[LSNN_MAX_PARAMS];
    int consumers, last_consumer;
    int alias;                       /* works in place on that node's output, or -1 */
    int dy_alias;                    /* its gradient becomes that node's, or -1 */
    int lanes, both;                 /* see >>layout                          */
    int done_by, with_relu;          /* see lsnni_plan_fusion; done_by: or -1 */
    int pooled_to, pooled_by;        /*   a convolution's pooling, and back; or -1 */
    int needs_grad;                  /* it, or what it reads, has a parameter that learns */
    int on_path, live;               /* the net's output, or a readable one, depends on it */
    int concat, apart;               /* see lsnni_plan_concats; concat: or -1 */
    int readable;                    /* kept, the net's output, a loss's input or output */
    lsnn_shape whole;                /* plan.out, or more; see lsnni_plan_crop */
} lsnni_node;

struct lsnn_net {
    lsnn_ctx *cx;
    lsnni_node *node;
    lsnni_param *param, *buffer;
    int nodes, params, buffers, node_room, param_room, buffer_room;
    size_t param_size, buffer_size;  /* of the blocks                         */
    lsnn_real *value, *grad, *state; /* parameters, gradients, buffers        */
    int built, failed, batch, predict_only, output;
    int max_lanes;                   /* a block of more images would be too large */
    uint64_t seed;
    lsnn_work *work;
};

struct lsnn_work {
    lsnn_ctx *cx;
    const lsnn_net *net;
    int batch, train, n, ready;      /* ready: 1 after a training forward     */
    int chunk;                       /* images that lsnn_work_predict runs at once */
    int lanes;                       /* of the last batch; 0: all arrays are plain */
    int watch, blamed;               /* 1: forward ends at the first output that is not */
                                     /*   finite, and blames that node        */
    lsnn_real **y, **dy, **keep;     /* one pointer a node, into the block    */
    lsnn_real **z, **dz;             /* y, dy in the other layout             */
    char *written, *written_z, *ran; /* dy, dz, y hold something of the last batch */
    lsnn_real *block;
    lsnn_batch last;
};

/* ---- >>options: one table, so that checking, saving and loading are loops ------*/
static double lsnni_or(double value, double otherwise)
{
    return value <= 0 && value >= 0 ? otherwise : value;     /* NaN stays, to be refused */
}

typedef struct lsnni_field { const char *name; size_t at; char kind; } lsnni_field;
#define LSNNI_INT(name) { #name, offsetof(lsnn_options, name), 'i' }
#define LSNNI_REAL(name) { #name, offsetof(lsnn_options, name), 'd' }
static const lsnni_field lsnni_fields[] = {
    LSNNI_INT(keep), LSNNI_INT(init), LSNNI_REAL(init_scale), LSNNI_REAL(lr_factor),
    LSNNI_INT(freeze), LSNNI_INT(no_decay), LSNNI_INT(no_bias), LSNNI_INT(filters),
    LSNNI_INT(kernel_h), LSNNI_INT(kernel_w), LSNNI_INT(stride_h), LSNNI_INT(stride_w),
    LSNNI_INT(padding), LSNNI_INT(pad_top), LSNNI_INT(pad_left), LSNNI_INT(pad_bottom),
    LSNNI_INT(pad_right), LSNNI_REAL(slope), LSNNI_REAL(rate), LSNNI_REAL(momentum),
    LSNNI_REAL(eps), LSNNI_INT(first), LSNNI_INT(count), LSNNI_INT(head),
    LSNNI_REAL(loss_weight), LSNNI_INT(smooth_shape), LSNNI_INT(normalise), LSNNI_INT(rank),
    LSNNI_INT(mixture), LSNNI_INT(smooth_bias),
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

