/* ============================================================================
   >>export  a trained net as one C99 file that predicts
   Functions for the kinds of layers that the net has, plain loops; its parameters as constant
   arrays; and NAME_predict, a call a layer, whose buffers lie where the >>memory plan puts
   them. A layer type has a writer below: it names the function it needs, its arrays, and
   prints its call. It is called three times, as the file has three parts.
   ==========================================================================*/
typedef enum lsnni_c_part { LSNNI_C_ASK, LSNNI_C_DATA, LSNNI_C_CALLS } lsnni_c_part;
enum { LSNNI_C_FUNCTIONS = 32 };
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
           v->type == &lsnni_local2d_type || v->type == &lsnni_table_conv2d_type ||
           v->type == &lsnni_target2d_type;
}

LSNN_API lsnn_status lsnn_net_round(lsnn_net *net, lsnn_storage storage)
{
    if (!net) return LSNN_ENOMEM;
    if (!net->built) return lsnni_fail(net->cx, LSNN_ESTATE, "net_round: build the net first");
    if ((int)storage < 0 || storage > LSNN_STORE_INT8)
        return lsnni_fail(net->cx, LSNN_EVALUE, "net_round: storage %d is unknown",
                          (int)storage);
    LSNNI_TRY(lsnni_device_pull(net));
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
    LSNNI_TRY(lsnni_device_pull(net));
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

