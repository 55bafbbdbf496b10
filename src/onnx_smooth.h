/* ---- smoothers: U by Eq. 6 to 9 from theta, or as a constant. */
/* p - mu along one side: places (a row of pixels' coordinates) less a number of theta's.  */
static void lsnni_onnx_from_mu(lsnni_onnx *e, int i, const lsnn_smoother *s, const char *mu,
                               int down, char y[LSNNI_ONNX_NAME])
{
    int dim[4] = { 1, 1, 1, 0 };
    dim[3] = s->h * s->w;
    for (int p = 0; p < dim[3]; p++)
        e->row[p] = LSNNI_R(down ? p / s->w * lsnni_spacing(s->h) : p % s->w * lsnni_spacing(s->w));
    lsnni_onnx_floats(e, i, e->row, dim, 4, y);
    lsnni_onnx_pair(e, i, "Sub", y, mu, y);
}

/* -|Phi (p - mu)|^2 of each Gaussian: N, maps, M, P; theta is N, maps, M, numbers.  */
static void lsnni_onnx_exponent(lsnni_onnx *e, int i, const lsnn_smoother *s, const char *theta,
                                char y[LSNNI_ONNX_NAME])
{
    const lsnni_family *f = &lsnni_families[s->shape];
    char t[LSNNI_NUMBERS][LSNNI_ONNX_NAME], r[2][LSNNI_ONNX_NAME], d[2][LSNNI_ONNX_NAME];
    int has[LSNNI_NUMBERS] = { 0, 0, 0, 0, 0 }, rows = 1;
    for (int j = 0; j < f->count; j++) {
        snprintf(t[f->number[j]], LSNNI_ONNX_NAME, "%s", theta);
        lsnni_onnx_cut(e, i, 3, j, 1, t[f->number[j]]);
        has[f->number[j]] = 1;
    }
    lsnni_onnx_from_mu(e, i, s, t[LSNNI_MU_X], 0, d[0]);
    lsnni_onnx_pair(e, i, "Mul", d[0], t[LSNNI_ALPHA], r[0]);
    if (has[LSNNI_MU_Y]) {
        rows = 2;
        lsnni_onnx_from_mu(e, i, s, t[LSNNI_MU_Y], 1, d[1]);
        lsnni_onnx_pair(e, i, "Mul", d[1], t[LSNNI_BETA], r[1]);
    }
    for (int j = 0; j < 2 && has[LSNNI_GAMMA]; j++) {
        lsnni_onnx_pair(e, i, "Mul", d[1 - j], t[LSNNI_GAMMA], y);
        lsnni_onnx_pair(e, i, "Add", r[j], y, r[j]);
    }
    for (int j = 0; j < rows; j++) lsnni_onnx_pair(e, i, "Mul", r[j], r[j], r[j]);
    snprintf(y, LSNNI_ONNX_NAME, "%s", r[0]);
    if (rows > 1) lsnni_onnx_pair(e, i, "Add", r[0], r[1], y);
    lsnni_onnx_reads(e, y);
    lsnni_onnx_next(e, i, "Neg", y);
}

/* A constant number, as op's second input.                                    */
static void lsnni_onnx_with(lsnni_onnx *e, int i, const char *op, double v,
                            char y[LSNNI_ONNX_NAME])
{
    const lsnn_real one = LSNNI_R(v);
    const int dim = 1;
    lsnni_onnx_by(e, i, op, &one, &dim, 1, y);
}
static void lsnni_onnx_of(lsnni_onnx *e, int i, const char *op, char y[LSNNI_ONNX_NAME])
{
    lsnni_onnx_reads(e, y);
    lsnni_onnx_next(e, i, op, y);
}

/* z along one side of TKN's windows, from theta's mu and s: N, maps, M, P. The sign of s, for
   rho alone, is that of (s's sign) + 1/2: + at 0.                            */
static void lsnni_onnx_attention_z(lsnni_onnx *e, int i, const lsnn_smoother *s, int down,
                                   const char *theta, char z[LSNNI_ONNX_NAME])
{
    char width[LSNNI_ONNX_NAME], sign[LSNNI_ONNX_NAME], mu[LSNNI_ONNX_NAME];
    int dim[4] = { 1, 1, 1, 0 }, side = down ? s->h : s->w, *count = &dim[3];
    snprintf(mu, sizeof mu, "%s", theta);
    snprintf(width, sizeof width, "%s", theta);
    lsnni_onnx_cut(e, i, 3, 2 * down, 1, mu);
    lsnni_onnx_cut(e, i, 3, 2 * down + 1, 1, width);
    snprintf(sign, sizeof sign, "%s", width);
    lsnni_onnx_with(e, i, "Mul", side, mu);
    *count = s->h * s->w;
    for (int p = 0; p < *count; p++) e->row[p] = (lsnn_real)(down ? p / s->w : p % s->w);
    lsnni_onnx_floats(e, i, e->row, dim, 4, z);
    lsnni_onnx_pair(e, i, "Sub", z, mu, z);
    lsnni_onnx_with(e, i, "Mul", 0.5 * side, width);
    lsnni_onnx_of(e, i, "Abs", width);
    lsnni_onnx_with(e, i, "Max", LSNNI_THIN, width);
    lsnni_onnx_pair(e, i, "Div", z, width, z);
    lsnni_onnx_with(e, i, "Min", LSNNI_FAR, z);
    lsnni_onnx_with(e, i, "Max", -LSNNI_FAR, z);
    if (!lsnni_bivariate(s->shape)) return;
    lsnni_onnx_of(e, i, "Sign", sign);
    lsnni_onnx_with(e, i, "Add", 0.5, sign);
    lsnni_onnx_of(e, i, "Sign", sign);
    lsnni_onnx_pair(e, i, "Mul", z, sign, z);
}

/* log f of q, in place: -q half, or -log(1 + q).                              */
static void lsnni_onnx_attention_log(lsnni_onnx *e, int i, const lsnn_smoother *s, double half,
                                     char q[LSNNI_ONNX_NAME])
{
    if (lsnni_cauchy(s->shape)) {
        lsnni_onnx_with(e, i, "Add", 1, q);
        lsnni_onnx_of(e, i, "Log", q);
    }
    lsnni_onnx_with(e, i, "Mul", lsnni_cauchy(s->shape) ? -1 : -half, q);
}

/* log U of each of TKN's windows, as lsnni_attention_exponent has it.         */
static void lsnni_onnx_attention(lsnni_onnx *e, int i, const lsnn_smoother *s,
                                 const char *theta, char y[LSNNI_ONNX_NAME])
{
    char z[2][LSNNI_ONNX_NAME], rho[LSNNI_ONNX_NAME], left[LSNNI_ONNX_NAME];
    int sides = lsnni_attentive_1d(s->shape) ? 1 : 2, both = lsnni_bivariate(s->shape);
    for (int j = 0; j < sides; j++) lsnni_onnx_attention_z(e, i, s, j, theta, z[j]);
    if (both) {                                          /* z_x - rho z_y, z_y^2 (1 - rho^2) */
        snprintf(rho, sizeof rho, "%s", theta);
        lsnni_onnx_cut(e, i, 3, LSNNI_AT_RHO, 1, rho);
        lsnni_onnx_of(e, i, "Tanh", rho);
        lsnni_onnx_pair(e, i, "Mul", z[1], rho, y);
        lsnni_onnx_pair(e, i, "Sub", z[0], y, z[0]);
        lsnni_onnx_pair(e, i, "Mul", rho, rho, left);
        lsnni_onnx_with(e, i, "Mul", -1, left);
        lsnni_onnx_with(e, i, "Add", 1, left);
    }
    for (int j = 0; j < sides; j++) {
        lsnni_onnx_pair(e, i, "Mul", z[j], z[j], z[j]);
        if (both && j) lsnni_onnx_pair(e, i, "Mul", z[j], left, z[j]);
        if (!both) lsnni_onnx_attention_log(e, i, s, 0.5, z[j]);
    }
    snprintf(y, LSNNI_ONNX_NAME, "%s", z[0]);
    if (sides > 1) lsnni_onnx_pair(e, i, "Add", z[0], z[1], y);
    if (both) lsnni_onnx_attention_log(e, i, s, 1, y);
}

static void lsnni_onnx_softmax_over(lsnni_onnx *e, int i, int axis, char y[LSNNI_ONNX_NAME])
{
    lsnni_onnx_reads(e, y);
    lsnni_onnx_int(e, "axis", axis);
    lsnni_onnx_next(e, i, "Softmax", y);
}

/* U: N, maps, H, W.                                                           */
static void lsnni_onnx_maps(lsnni_onnx *e, int i, const lsnn_smoother *s, int node,
                            char u[LSNNI_ONNX_NAME])
{
    char theta[LSNNI_ONNX_NAME], w[LSNNI_ONNX_NAME];
    int maps = s->k * s->rank, parts = lsnni_parts(s), stride = lsnni_stride(s), one = 1;
    lsnn_real count = LSNNI_R((double)s->h * s->w);
    lsnni_onnx_read(e, i, node, 1, theta);
    snprintf(u, LSNNI_ONNX_NAME, "%s", theta);
    if (s->shape != LSNN_TABLE) {
        lsnni_onnx_shape(e, i, theta, 4, maps, parts, stride);
        if (lsnni_attentive(s->shape)) lsnni_onnx_attention(e, i, s, theta, u);
        else lsnni_onnx_exponent(e, i, s, theta, u);
        if (s->normalise == LSNN_NORMALISE_NONE) {
            lsnni_onnx_reads(e, u);
            lsnni_onnx_next(e, i, "Exp", u);
        } else lsnni_onnx_softmax_over(e, i, 3, u);
        if (s->normalise == LSNN_NORMALISE_MEAN) lsnni_onnx_by(e, i, "Mul", &count, &one, 1, u);
        if (parts > 1) {
            snprintf(w, LSNNI_ONNX_NAME, "%s", theta);
            lsnni_onnx_cut(e, i, 3, stride - 1, 1, w);
            lsnni_onnx_softmax_over(e, i, 2, w);
            lsnni_onnx_pair(e, i, "Mul", u, w, u);
            lsnni_onnx_sum(e, i, 2, u);
        }
    }
    lsnni_onnx_shape(e, i, u, 4, maps, s->h, s->w);
}

static void lsnni_onnx_smooth(lsnni_onnx *e, int i)
{
    const lsnni_node *v = &e->net->node[i];
    lsnn_layer_plan p = v->plan;
    lsnn_smoother s;
    const lsnn_real *b = lsnni_onnx_values(e, i, v->plan.inputs == 2 ? 0 : 1);
    char y[LSNNI_ONNX_NAME], u[LSNNI_ONNX_NAME];
    int dim[3];
    p.in[0] = e->net->node[v->input[0]].shape;
    s = lsnni_smoother_of(&p, 1, 0);
    lsnni_onnx_read(e, i, v->input[0], 0, y);
    dim[0] = s.k * s.rank; dim[1] = dim[2] = 1;
    if (s.smooth_bias && b) {                            /* U a + U b = U (a + b) */
        for (int k = 0; k < dim[0]; k++) e->row[k] = b[k / s.rank];
        lsnni_onnx_by(e, i, "Add", e->row, dim, 3, y);
    }
    dim[1] = s.h; dim[2] = s.w;
    if (s.per_image) {
        lsnni_onnx_maps(e, i, &s, v->input[1], u);
        lsnni_onnx_pair(e, i, "Mul", y, u, y);
    } else if (lsnn_smoother_map(e->cx, e->row, lsnni_onnx_values(e, i, 0), &s) == LSNN_OK)
        lsnni_onnx_by(e, i, "Mul", e->row, dim, 3, y);
    if (s.rank > 1) {
        lsnni_onnx_shape(e, i, y, 4, s.k, s.rank, s.h * s.w);
        lsnni_onnx_sum(e, i, 2, y);
        lsnni_onnx_shape(e, i, y, 4, s.k, s.h, s.w);
    }
    dim[0] = s.k; dim[1] = dim[2] = 1;
    if (!s.smooth_bias) lsnni_onnx_by(e, i, "Add", b, dim, 3, y);
    lsnni_onnx_done(e, i, y);
}

