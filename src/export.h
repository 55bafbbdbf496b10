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
    "/* c x h x w pixels in, k x oh x ow out; kernels kh x kw, strides, padding before, taps\n"
    "   dh x dw pixels apart; kernels read the channels of their own of so many groups. */\n"
    "typedef struct {\n"
    "    int c, h, w, k, oh, ow, kh, kw, sh, sw, top, left, dh, dw, groups;\n"
    "} window;\n\n"
    "/* The taps [*a, *b) of a kernel's side, `step` apart, that lie inside the image. */\n"
    "static void clip(int first, int kernel, int step, int size, int *a, int *b)\n"
    "{\n"
    "    *a = first < 0 ? (step - 1 - first) / step : 0;\n"
    "    *b = first + (kernel - 1) * step >= size ? (size - first + step - 1) / step : kernel;\n"
    "}\n\n";
static const char *const lsnni_c_dense_text =
    "static void dense(float *y, const float *x, @W, const float *b, int in, int out)\n"
    "{\n"
    "    for (int k = 0; k < out; k++) {\n"
    "        float part[4] = { 0, 0, 0, 0 };  /* four sums: quicker, and rounded less */\n"
    "        for (int i = 0; i + 4 <= in; i += 4)\n"
    "            for (int j = 0; j < 4; j++) part[j] += x[i + j] * @[k * in + i + j];\n"
    "        for (int i = in - in % 4; i < in; i++) part[0] += x[i] * @[k * in + i];\n"
    "        y[k] = (b ? b[k] : 0) + ((part[0] + part[1]) + (part[2] + part[3]))@<k>;\n"
    "    }\n"
    "}\n\n";
static const char *const lsnni_c_conv2d_text =
    "static void conv2d(float *y, const float *x, @W, const float *b, window s)\n"
    "{\n"
    "    int maps = s.c / s.groups;\n"
    "    for (int k = 0; k < s.k; k++)\n"
    "    for (int i = 0; i < s.oh; i++)\n"
    "    for (int j = 0; j < s.ow; j++) {\n"
    "        int top = i * s.sh - s.top, left = j * s.sw - s.left, u0, u1, v0, v1;\n"
    "        float sum = 0;\n"
    "        clip(top, s.kh, s.dh, s.h, &u0, &u1);\n"
    "        clip(left, s.kw, s.dw, s.w, &v0, &v1);\n"
    "        for (int c = 0; c < maps; c++) {\n"
    "            int map = k / (s.k / s.groups) * maps + c;\n"
    "            float part = 0;          /* a sum a channel: rounded less */\n"
    "            for (int u = u0; u < u1; u++) {\n"
    "                const float *row = x + (map * s.h + top + u * s.dh) * s.w + left;\n"
    "                for (int v = v0; v < v1; v++)\n"
    "                    part += row[v * s.dw] * @[((k * maps + c) * s.kh + u) * s.kw + v];\n"
    "            }\n"
    "            sum += part;\n"
    "        }\n"
    "        y[(k * s.oh + i) * s.ow + j] = (b ? b[k] : 0) + sum@<k>;\n"
    "    }\n"
    "}\n\n";
static const char *const lsnni_c_target2d_text =
    "/* As conv2d, but kernel k computes rows [box[0], box[1]) and columns [box[2], box[3]) alone,\n"
    "   times fy of its row and fx of its column; 0 elsewhere. */\n"
    "static void target2d(float *y, const float *x, @W, const float *b, const float *fy,\n"
    "                     const float *fx, const int *box, window s)\n"
    "{\n"
    "    for (int i = 0; i < s.k * s.oh * s.ow; i++) y[i] = 0;\n"
    "    for (int k = 0; k < s.k; k++, box += 4)\n"
    "    for (int i = box[0]; i < box[1]; i++)\n"
    "    for (int j = box[2]; j < box[3]; j++) {\n"
    "        int top = i * s.sh - s.top, left = j * s.sw - s.left, u0, u1, v0, v1;\n"
    "        float sum = 0;\n"
    "        clip(top, s.kh, s.dh, s.h, &u0, &u1);\n"
    "        clip(left, s.kw, s.dw, s.w, &v0, &v1);\n"
    "        for (int c = 0; c < s.c; c++) {\n"
    "            float part = 0;\n"
    "            for (int u = u0; u < u1; u++)\n"
    "            for (int v = v0; v < v1; v++)\n"
    "                part += x[(c * s.h + top + u) * s.w + left + v] *\n"
    "                        @[((k * s.c + c) * s.kh + u) * s.kw + v];\n"
    "            sum += part;\n"
    "        }\n"
    "        y[(k * s.oh + i) * s.ow + j] = fy[k * s.oh + i] * fx[k * s.ow + j] *\n"
    "                                       ((b ? b[k] : 0) + sum@<k>);\n"
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
    "        clip(top, s.kh, s.dh, s.h, &u0, &u1);\n"
    "        clip(left, s.kw, s.dw, s.w, &v0, &v1);\n"
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
    "/* Each place p has weights of its own: [p][c][u][v][k]. b: so many numbers a kernel. */\n"
    "static void local2d(float *y, const float *x, @W, const float *b, int numbers, window s)\n"
    "{\n"
    "    int maps = s.c / s.groups;\n"
    "    for (int p = 0; p < s.oh * s.ow; p++)\n"
    "    for (int k = 0; k < s.k; k++) {\n"
    "        int top = p / s.ow * s.sh - s.top, left = p % s.ow * s.sw - s.left;\n"
    "        int u0, u1, v0, v1, map = k / (s.k / s.groups) * maps;\n"
    "        float sum = 0;\n"
    "        clip(top, s.kh, s.dh, s.h, &u0, &u1);\n"
    "        clip(left, s.kw, s.dw, s.w, &v0, &v1);\n"
    "        for (int c = 0; c < maps; c++)\n"
    "        for (int u = u0; u < u1; u++)\n"
    "        for (int v = v0; v < v1; v++)\n"
    "            sum += x[((map + c) * s.h + top + u * s.dh) * s.w + left + v * s.dw] *\n"
    "                   @[(((p * maps + c) * s.kh + u) * s.kw + v) * s.k + k];\n"
    "        y[k * s.oh * s.ow + p] = (b ? b[k * numbers + p % numbers] : 0) +\n"
    "                                 sum@<p * s.k + k>;\n"
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
    "        clip(top, s.kh, s.dh, s.h, &u0, &u1);\n"
    "        clip(left, s.kw, s.dw, s.w, &v0, &v1);\n"
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
    "        clip(top, s.kh, s.dh, s.h, &u0, &u1);\n"
    "        clip(left, s.kw, s.dw, s.w, &v0, &v1);\n"
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
static const char *const lsnni_c_blend_text =
    "/* y[k] = at each of n places, the banks' maps k of a by their weights g. */\n"
    "static void blend(float *y, const float *a, const float *g, const float *b, int banks,\n"
    "                  int k, int n)\n"
    "{\n"
    "    for (int i = 0; i < k * n; i++) {\n"
    "        float sum = 0;\n"
    "        for (int m = 0; m < banks; m++) sum += g[m * n + i % n] * a[m * k * n + i];\n"
    "        y[i] = sum + (b ? b[i / n] : 0);\n"
    "    }\n"
    "}\n\n";
static const char *const lsnni_c_maps_text =
    "typedef struct {\n"
    "    int k, rank, h, w, mixture, bias_inside, numbers;\n"
    "    char shape, norm;\n"
    "} smoother;\n\n"
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
    "}\n\n";
static const char *const lsnni_c_window_text =
    "/* log U of a window at pixel p, t: mu x, s x, mu y, s y, r. In capitals: Cauchy's.\n"
    "   In double: of a narrow window what is far from its largest is subtracted from it. */\n"
    "static double window_log(const float *t, int p, smoother s)\n"
    "{\n"
    "    int cauchy = s.shape < 'a', line = s.shape == 'x' || s.shape == 'X';\n"
    "    double z[2] = { 0, 0 }, rho, q;\n"
    "    for (int i = 0; i < (line ? 1 : 2); i++) {\n"
    "        double side = i ? s.h : s.w, sigma = t[2 * i + 1] * side / 2;\n"
    "        if (fabs(sigma) < 1e-3) sigma = sigma < 0 ? -1e-3 : 1e-3;\n"
    "        z[i] = ((i ? p / s.w : p % s.w) - t[2 * i] * side) / sigma;\n"
    "        z[i] = fmax(-1e9, fmin(z[i], 1e9));\n"
    "    }\n"
    "    if (s.shape == 'r' || s.shape == 'R') {\n"
    "        rho = tanh((double)t[4]);\n"
    "        q = (z[0] - rho * z[1]) * (z[0] - rho * z[1]) + (1 - rho * rho) * z[1] * z[1];\n"
    "        return cauchy ? -log(1 + q) : -q;\n"
    "    }\n"
    "    if (cauchy) return -log(1 + z[0] * z[0]) - log(1 + z[1] * z[1]);\n"
    "    return -0.5 * (z[0] * z[0] + z[1] * z[1]);\n"
    "}\n\n"
    "static void window_one(float *y, const float *a, const float *t, float weight, float b,\n"
    "                       smoother s)\n"
    "{\n"
    "    double most = 0, sum = 0, scale = weight;\n"
    "    int n = s.h * s.w;\n"
    "    for (int p = 0; s.norm != 'n' && p < n; p++) {\n"
    "        double e = window_log(t, p, s);\n"
    "        if (p == 0 || e > most) most = e;\n"
    "    }\n"
    "    for (int p = 0; p < n; p++) sum += exp(window_log(t, p, s) - most);\n"
    "    if (s.norm != 'n') scale *= (s.norm == 'm' ? n : 1) / sum;\n"
    "    for (int p = 0; p < n; p++)\n"
    "        y[p] += (float)(scale * exp(window_log(t, p, s) - most)) * (a[p] + b);\n"
    "}\n\n";
static const char *const lsnni_c_smooth_by_text =
    "/* As smooth of constant maps, but the maps are made from theta here. */\n"
    "static void smooth_by(float *y, const float *a, const float *theta, const float *b,\n"
    "                      smoother s)\n"
    "{\n"
    "    int n = s.h * s.w, stride = s.numbers + (s.mixture > 1);\n"
    "    int bell = s.shape == 'g' || s.shape == 's' || s.shape == 'l';\n"
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
    "            sum = s.mixture > 1 ? 1 / sum : 1;\n"
    "            (bell ? smooth_one : window_one)(out, a, theta + m * stride, sum, inside, s);\n"
    "        }\n"
    "        theta += s.mixture * stride;\n"
    "    }\n"
    "}\n\n";
static const char *const lsnni_c_affine_grid_text =
    "/* Places in [-1, 1]: x = t0 u + t1 v + t2, y = t3 u + t4 v + t5. corners: -1 and 1 are the\n"
    "   outermost pixels' centres, not the edges. */\n"
    "static void affine_grid(float *y, const float *t, int h, int w, int corners)\n"
    "{\n"
    "    for (int p = 0; p < h * w; p++) {\n"
    "        int i = p / w, j = p % w;\n"
    "        float u = (float)(2 * j + 1) / (float)w - 1, v = (float)(2 * i + 1) / (float)h - 1;\n"
    "        if (corners) u = w > 1 ? (float)(2 * j) / (float)(w - 1) - 1 : 0;\n"
    "        if (corners) v = h > 1 ? (float)(2 * i) / (float)(h - 1) - 1 : 0;\n"
    "        y[p] = t[0] * u + t[1] * v + t[2];\n"
    "        y[h * w + p] = t[3] * u + t[4] * v + t[5];\n"
    "    }\n"
    "}\n\n";
static const char *const lsnni_c_grid_sample_text =
    "/* The four pixels of x round each of the grid's n places, by how near; beyond x is 0. */\n"
    "static void grid_sample(float *y, const float *x, const float *grid, int c, int h, int w,\n"
    "                        int n, int corners)\n"
    "{\n"
    "    for (int p = 0; p < n; p++) {\n"
    "        double px = ((double)grid[p] + 1) * (w - corners) / 2 - (corners ? 0 : 0.5);\n"
    "        double py = ((double)grid[n + p] + 1) * (h - corners) / 2 - (corners ? 0 : 0.5);\n"
    "        int inside = px > -1 && px < w && py > -1 && py < h;\n"
    "        int row = inside ? (int)floor(py) : h, col = inside ? (int)floor(px) : w;\n"
    "        for (int k = 0; k < c; k++) {\n"
    "            float sum = px != px || py != py ? (float)(px + py) : 0;\n"
    "            for (int r = row; r < row + 2; r++)\n"
    "            for (int q = col; q < col + 2; q++)\n"
    "                if (r >= 0 && r < h && q >= 0 && q < w)\n"
    "                    sum += (float)((1 - fabs(py - r)) * (1 - fabs(px - q))) *\n"
    "                           x[(k * h + r) * w + q];\n"
    "            y[k * n + p] = sum;\n"
    "        }\n"
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
    lsnni_c_print(e, ",\n           (window){ %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, "
                  "%d, %d });\n", s.c, s.h, s.w, p->out.c, p->out.h, p->out.w, s.kernel_h,
                  s.kernel_w, s.stride_h, s.stride_w, s.pad_top, s.pad_left, s.dilation_h,
                  s.dilation_w, s.groups);
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
    const lsnn_layer_plan *p = &e->net->node[i].plan;
    lsnni_c_call(e, i, "local2d");
    lsnni_c_param(e, i, 0);
    lsnni_c_param(e, i, 1);
    lsnni_c_print(e, ", %d", p->o.bias == LSNN_BIAS_OF_KERNEL ? 1 : lsnni_inner(p->out));
    lsnni_c_window_of(e, i);
    lsnni_c_needs(e, lsnni_c_local2d_text);
}

/* A region's rows and columns, of each kernel.                                */
static void lsnni_c_regions(lsnni_c *e, int i, const lsnn_real *theta, const lsnn_window *s)
{
    const lsnni_node *v = &e->net->node[i];
    lsnni_c_array(e, "static const int ", v->name, "_box");
    if (e->part != LSNNI_C_DATA) return;
    fprintf(e->f, "[%d] = {", 4 * s->k);
    for (int k = 0; k < s->k; k++) {
        int32_t box[4];
        lsnni_target_box(box, theta + 4 * (size_t)k, s, v->plan.o.clip);
        fprintf(e->f, "%s%d, %d, %d, %d%s", k % 4 ? " " : "\n    ", (int)box[0], (int)box[1],
                (int)box[2], (int)box[3], k + 1 < s->k ? "," : "\n};\n");
    }
}

static void lsnni_c_target2d(lsnni_c *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    const lsnn_real *theta = e->net->value + e->net->param[v->param[1]].at;
    lsnn_window s;
    if (lsnni_window_of(e->cx, &s, &v->plan, 1, v->plan.out.c) != LSNN_OK) return;
    lsnni_c_call(e, i, "target2d");
    lsnni_c_param(e, i, 0);
    lsnni_c_param(e, i, 2);
    for (int down = 1; down >= 0; down--) {
        lsnni_target_factors(e->row, &v->plan, theta, down);
        lsnni_c_floats(e, v->name, down ? "_fy" : "_fx", e->row,
                       lsnni_area(s.k, down ? s.oh : s.ow));
    }
    lsnni_c_regions(e, i, theta, &s);
    lsnni_c_window_of(e, i);
    lsnni_c_needs(e, lsnni_c_target2d_text);
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
    const char *shapes = "gtslwWrRxX";   /* gaussian, table, separable, of a line; windows: */
                                     /*   separable, with rho, of a line; small: Gaussian */
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
    lsnni_c_needs(e, lsnni_c_window_text);
    lsnni_c_needs(e, lsnni_c_smooth_by_text);
    lsnni_c_call(e, i, "smooth_by");
    lsnni_c_print(e, ", %s", lsnni_c_place(e, v->input[1], text));
    lsnni_c_param(e, i, 0);
    lsnni_c_print(e, ",\n              (smoother){ %d, %d, %d, %d, %d, %d, %d, '%c', '%c' });\n",
                  s.k, s.rank, s.h, s.w, s.mixture, s.smooth_bias,
                  lsnni_families[s.shape].count, shapes[s.shape], "nsm"[s.normalise]);
}

static void lsnni_c_affine_grid(lsnni_c *e, int i)
{
    const lsnn_layer_plan *p = &e->net->node[i].plan;
    lsnni_c_needs(e, lsnni_c_affine_grid_text);
    lsnni_c_call(e, i, "affine_grid");
    lsnni_c_print(e, ", %d, %d, %d);\n", p->out.h, p->out.w, p->o.align_corners);
}

static void lsnni_c_grid_sample(lsnni_c *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    lsnn_shape in = v->plan.in[0];
    char grid[40];
    lsnni_c_needs(e, lsnni_c_grid_sample_text);
    lsnni_c_call(e, i, "grid_sample");
    lsnni_c_print(e, ", %s, %d, %d, %d, %d, %d);\n", lsnni_c_place(e, v->input[1], grid), in.c,
                  in.h, in.w, lsnni_inner(v->plan.out), v->plan.o.align_corners);
}

static void lsnni_c_blend(lsnni_c *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    lsnn_blender s = lsnni_blend_of(&v->plan, 1, 0);
    if (e->part == LSNNI_C_DATA)
        lsnn_blend_weights(e->cx, e->row, e->net->value + e->net->param[v->param[0]].at, &s);
    lsnni_c_needs(e, lsnni_c_blend_text);
    lsnni_c_call(e, i, "blend");
    lsnni_c_floats(e, v->name, "_weights", e->row, lsnni_area(s.banks, s.h * s.w));
    lsnni_c_param(e, i, 1);
    lsnni_c_print(e, ", %d, %d, %d);\n", s.banks, s.k, s.h * s.w);
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
    { &lsnni_target2d_type, lsnni_c_target2d },
    { &lsnni_smooth_type, lsnni_c_smooth },
    { &lsnni_affine_grid_type, lsnni_c_affine_grid },
    { &lsnni_grid_sample_type, lsnni_c_grid_sample },
    { &lsnni_blend_type, lsnni_c_blend }
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
    double macs[2];
    if (lsnni_macs_of_all(e->net, macs) != LSNN_OK) return;
    fprintf(e->f, "/* %s: a net of %.0f parameters and %.0f multiply-adds, written by lsnn "
            LSNN_VERSION ".\n   C99; needs no allocation and no file. Weights are %s.\n\n"
            "       void %s_predict(const float x[%d], float y[%d]);\n\n"
            "   x: %d x %d x %d (channels, rows, columns); y: the output of layer '%s', "
            "%d x %d x %d.\n   They must not overlap. It needs %.0f bytes %s.%s */\n",
            e->name, (double)lsnn_net_params(e->net), macs[0],
            stored[e->d->storage], e->name, lsnni_features(in), lsnni_features(out),
            in.c, in.h, in.w, e->net->node[e->net->output].name, out.c, out.h, out.w,
            4.0 * (double)e->work, e->d->static_buffers ? "of static memory" : "of stack",
            e->d->static_buffers ? " One thread at a time may call it." : "");
    for (int i = 0; i < e->functions; i++)
        math |= strstr(e->function[i], "expf(") || strstr(e->function[i], "tanhf(") ||
                strstr(e->function[i], "powf(") || strstr(e->function[i], "floor(");
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
