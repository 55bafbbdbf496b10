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
    snprintf(text, sizeof text, "%.9g", (double)v);
    lsnni_plain_point(text);
    fprintf(f, strpbrk(text, ".e") ? "%sf" : "%s.0f", text);
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
    if (e->d->storage == LSNN_STORE_HALF) fprintf(e->f, "#include <stdint.h>\n");
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
