/* ============================================================================
   >>models  nets in files
   A model file is a safetensors file: parameters and buffers by name, and in the
   metadata "lsnn.graph", one line a layer,
       input input C H W
       NAME TYPE [x=INPUT,INPUT] [share=NAME] [table=TEXT] [option=value] ...
   "lsnn.output", the layer that is predicted, and "lsnn.version", what wrote it.
   A checkpoint holds the optimizer's state and the position in training too.
   ==========================================================================*/

/* ---- >>strings: text that grows ------------------------------------------------*/
typedef struct lsnni_string {
    lsnn_ctx *cx;
    char *v;
    int used, room;
    lsnn_status status;
} lsnni_string;

LSNNI_PRINTF(2, 3)
static void lsnni_print(lsnni_string *t, const char *format, ...)
{
    char piece[512];
    va_list list;
    int n;
    va_start(list, format);
    n = vsnprintf(piece, sizeof piece, format, list);
    va_end(list);
    n = LSNNI_MIN(LSNNI_MAX(n, 0), (int)sizeof piece - 1);
    for (int i = 0; i <= n && t->status == LSNN_OK; i++) {
        t->status = lsnni_grow(t->cx, (void **)&t->v, t->used, &t->room, 1);
        if (t->status == LSNN_OK) t->v[t->used++] = piece[i];
    }
    if (t->status == LSNN_OK) t->used--;                 /* the next piece goes over the 0 */
}

/* Numbers are written and read with a point, whatever stands for it in the program's locale:
   a comma, or a character of several bytes (U+066B).                         */
static void lsnni_plain_point(char *text)
{
    char *to = text;
    for (const char *p = text; *p; p++)
        if (strchr("0123456789+-einfa", *p)) *to++ = *p;
        else if (to == text || to[-1] != '.') *to++ = '.';
    *to = 0;
}

static const char *lsnni_number(char text[40], double v)
{
    snprintf(text, 40, "%.17g", v);
    lsnni_plain_point(text);
    return text;
}

static int lsnni_parse_number(const char *text, double *v)
{
    char copy[80], half[16], *end;
    const char *dot = strchr(text, '.');
    size_t n = strlen(text), whole = dot ? (size_t)(dot - text) : n;
    if (!n || n >= 64 || strspn(text, "0123456789+-.eEinfa") < n) return 0;
    snprintf(half, sizeof half, "%.1f", 0.5);            /* 0, the point, 5       */
    half[strlen(half) - 1] = 0;
    snprintf(copy, sizeof copy, "%.*s%s%s", (int)whole, text, dot ? half + 1 : "",
             dot ? dot + 1 : "");
    *v = strtod(copy, &end);
    return *end == 0;
}

/* ---- >>graph: the net as text and back ------------------------------------------*/
static void lsnni_graph_write(const lsnn_net *net, lsnni_string *t)
{
    char number[40];
    lsnn_shape in = net->node[0].plan.out;
    lsnni_print(t, "%s input %d %d %d\n", net->node[0].name, in.c, in.h, in.w);
    for (int i = 1; i < net->nodes; i++) {
        const lsnni_node *v = &net->node[i];
        lsnni_print(t, "%s %s", v->name, v->type->name);
        for (int j = 0; j < (v->joined < 0 ? v->plan.inputs : 1); j++)
            lsnni_print(t, "%s%s", j ? "," : " x=",
                        net->node[v->joined < 0 ? v->input[j] : v->joined].name);
        if (v->share) lsnni_print(t, " share=%s", v->share);
        if (v->table) lsnni_print(t, " table=");
        for (const char *p = v->table; p && *p; p += LSNNI_MIN(strlen(p), 400))
            lsnni_print(t, "%.400s", p);                 /* of any length     */
        for (int f = 0; f < LSNNI_FIELDS; f++) {
            double value = lsnni_field_get(&v->plan.o, &lsnni_fields[f]);
            if (value < 0 || value > 0)
                lsnni_print(t, " %s=%s", lsnni_fields[f].name, lsnni_number(number, value));
        }
        lsnni_print(t, "\n");
    }
}

/* The line of a graph that begins with `name`, and where it ends; NULL: none.  */
static const char *lsnni_graph_find(const char *graph, const char *name, const char **end)
{
    size_t n = strlen(name);
    for (const char *line = graph; *line; line = **end ? *end + 1 : *end) {
        *end = line + strcspn(line, "\n");
        if (strncmp(line, name, n) == 0 && line[n] == ' ') return line;
    }
    return NULL;
}

/* The first word of line a, after its name, that line b has not: a type or an option.
   What a layer reads, and what only training asks for, may differ.           */
static const char *lsnni_graph_differs(const char *a, const char *a_end, const char *b,
                                       const char *b_end)
{
    static const char *const free_words[] = { "x=", "share=", "keep=", "init=", "init_scale=",
        "start=", "lr_factor=", "freeze=", "no_decay=", "decay_factor=", "l2=", "clip=", "rate=",
        "momentum=", "head=", "loss_weight=", "dsc_alpha_max=",
        "dsc_tau=", "dsc_xi=", "dsc_eta=", "dsc_theta=", "dsc_spread=", "dsc_silent=" };
    size_t n;
    for (a += strcspn(a, " \n"); a < a_end; a += n) {
        const char *c = b + strcspn(b, " \n");
        int found = 0;
        a += *a == ' ';
        n = strcspn(a, " \n");
        for (size_t i = 0; i < sizeof free_words / sizeof *free_words; i++)
            found |= strncmp(a, free_words[i], strlen(free_words[i])) == 0;
        for (size_t m; c < b_end && !found; c += m) {
            c += *c == ' ';
            m = strcspn(c, " \n");
            found = m == n && strncmp(a, c, n) == 0;
        }
        if (!found) return a;
    }
    return NULL;
}

/* Layers that the file and the net both have do the same in both: of the same sizes a
   smoother could be normalised here and not there. A file without a graph says nothing.
   differs: NULL, or one a node, all 0: those that differ are marked, and it is no failure. */
static lsnn_status lsnni_graph_match(const lsnn_net *net, const lsnn_file *f, const char *path,
                                     char *differs)
{
    const char *theirs = lsnn_file_meta(f, "lsnn.graph"), *end, *own_end;
    lsnni_string own;
    lsnn_status s;
    if (!theirs) return LSNN_OK;
    memset(&own, 0, sizeof own);
    own.cx = net->cx;
    lsnni_graph_write(net, &own);
    s = own.status;
    for (int i = 1; i < net->nodes && s == LSNN_OK; i++) {
        const char *line = lsnni_graph_find(theirs, net->node[i].name, &end);
        const char *mine = lsnni_graph_find(own.v, net->node[i].name, &own_end), *word;
        if (!line || !mine) continue;
        word = lsnni_graph_differs(line, end, mine, own_end);
        if (differs) differs[i] = word || lsnni_graph_differs(mine, own_end, line, end);
        else if (word)
            s = lsnni_fail(net->cx, LSNN_ESTATE, "%.120s: there, layer '%.60s' has %.*s, which "
                           "it has not here", path, net->node[i].name,
                           (int)LSNNI_MIN(strcspn(word, " \n"), 60), word);
        else if ((word = lsnni_graph_differs(mine, own_end, line, end)) != NULL)
            s = lsnni_fail(net->cx, LSNN_ESTATE, "%.120s: layer '%.60s' has not %.*s there, "
                           "which it has here", path, net->node[i].name,
                           (int)LSNNI_MIN(strcspn(word, " \n"), 60), word);
    }
    lsnni_free(net->cx, own.v);
    return s;
}

typedef struct lsnni_reader {
    lsnn_net *net;
    const char *path;
    const lsnn_layer_type *const *types;
    int count, line;
} lsnni_reader;

static lsnn_status lsnni_graph_fail(const lsnni_reader *r, const char *what, const char *word)
{
    return lsnni_fail(r->net->cx, LSNN_EFORMAT, "%.120s: line %d of lsnn.graph: %s \"%.60s\"",
                      r->path, r->line, what, word);
}

/* Cuts the next word off *at, which ends at `mark` or 0.                     */
static char *lsnni_word(char **at, char mark)
{
    char *word = *at, *end = strchr(word, mark);
    if (end) *end++ = 0;
    *at = end ? end : word + strlen(word);
    return word;
}

/* name=value into the options, or the inputs.                                */
static lsnn_status lsnni_graph_word(const lsnni_reader *r, char *word, lsnn_options *o, int *x,
                                    int *count)
{
    char *value = strchr(word, '=');
    double number;
    if (!value) return lsnni_graph_fail(r, "not name=value:", word);
    *value++ = 0;
    if (strcmp(word, "share") == 0) {
        o->share = value;
        return LSNN_OK;
    }
    if (strcmp(word, "table") == 0) {
        o->table = value;
        return LSNN_OK;
    }
    if (strcmp(word, "x") == 0) {
        while (*value) {
            char *name = lsnni_word(&value, ',');
            int node = lsnn_net_node(r->net, name);
            if (node < 0 || *count == LSNN_MAX_INPUTS)
                return lsnni_graph_fail(r, node < 0 ? "no layer" : "too many inputs at", name);
            x[(*count)++] = node;
        }
        return LSNN_OK;
    }
    if (!lsnni_parse_number(value, &number))
        return lsnni_graph_fail(r, "not a number:", value);
    for (int f = 0; f < LSNNI_FIELDS; f++)
        if (strcmp(word, lsnni_fields[f].name) == 0) {
            if (lsnni_fields[f].kind == 'i' && !(fabs(number) <= INT_MAX))
                return lsnni_graph_fail(r, "not an int:", value);
            lsnni_field_set(o, &lsnni_fields[f], number);
            return LSNN_OK;
        }
    return lsnni_graph_fail(r, "no option", word);
}

static lsnn_status lsnni_graph_line(const lsnni_reader *r, char *line)
{
    const lsnn_layer_type *type = NULL;
    char *name = lsnni_word(&line, ' '), *kind = lsnni_word(&line, ' ');
    int x[LSNN_MAX_INPUTS], count = 0;
    lsnn_options o;
    memset(&o, 0, sizeof o);
    if (r->line == 1) {
        double size[3];
        for (int i = 0; i < 3; i++)
            if (strcmp(kind, "input") != 0 ||
                !lsnni_parse_number(lsnni_word(&line, ' '), &size[i]) ||
                !(size[i] >= 1 && size[i] <= INT_MAX))
                return lsnni_graph_fail(r, "the first line must be \"input input C H W\"; it "
                                        "begins with", name);
        return lsnn_input(r->net, (int)size[0], (int)size[1], (int)size[2]) < 0 ?
            r->net->why : LSNN_OK;
    }
    for (int i = 0; i < r->count && !type; i++)
        if (strcmp(r->types[i]->name, kind) == 0) type = r->types[i];
    if (!type) type = lsnni_type(kind);
    if (!type || strcmp(kind, "input") == 0)
        return lsnni_graph_fail(r, "unknown layer type (a type of your own is passed to "
                                "lsnn_net_load):", kind);
    o.name = name;
    while (*line) LSNNI_TRY(lsnni_graph_word(r, lsnni_word(&line, ' '), &o, x, &count));
    return lsnn_layer(r->net, type, x, count, &o) < 0 ? r->net->why : LSNN_OK;
}

static lsnn_status lsnni_graph_read(lsnni_reader *r, const lsnn_file *f)
{
    const char *graph = lsnn_file_meta(f, "lsnn.graph");
    const char *out = lsnn_file_meta(f, "lsnn.output");
    lsnn_status s = LSNN_OK;
    char *copy, *at;
    if (!graph || !*graph || !out)
        return lsnni_fail(r->net->cx, LSNN_EFORMAT, "%.160s holds no net: its metadata lacks "
                          "%s; lsnn_net_read reads parameters alone", r->path,
                          graph && *graph ? "lsnn.output" : "lsnn.graph");
    at = copy = lsnni_strdup(r->net->cx, graph);
    if (!copy) return LSNN_ENOMEM;
    for (r->line = 1; *at && s == LSNN_OK; r->line++)
        s = lsnni_graph_line(r, lsnni_word(&at, '\n'));
    lsnni_free(r->net->cx, copy);
    if (s != LSNN_OK) return s;
    if (lsnn_net_node(r->net, out) < 0)
        return lsnni_fail(r->net->cx, LSNN_EFORMAT, "%.160s: lsnn.output names no layer",
                          r->path);
    lsnn_net_set_output(r->net, lsnn_net_node(r->net, out));
    return LSNN_OK;
}

/* ---- >>save and load --------------------------------------------------------------*/
enum { LSNNI_METAS = 24 };
typedef struct lsnni_saver {
    lsnn_tensor *tensor;
    int tensors, metas;
    lsnn_pair meta[LSNNI_METAS];
    char value[LSNNI_METAS][40];
} lsnni_saver;

static void lsnni_saver_text(lsnni_saver *s, const char *key, const char *value)
{
    s->meta[s->metas].key = key;
    s->meta[s->metas++].value = value;
}

static void lsnni_saver_tensors(lsnni_saver *s, const lsnni_param *p, int count,
                                const lsnn_real *block)
{
    for (int i = 0; i < count; i++) {
        lsnn_tensor *t = &s->tensor[s->tensors++];
        t->name = p[i].name;
        t->rank = p[i].spec.rank;
        memcpy(t->dim, p[i].spec.dim, sizeof t->dim);
        t->count = p[i].spec.count;
        t->v = block + p[i].at;
    }
}

/* The net, after the tensors and metadata that the caller has put into s.    */
static lsnn_status lsnni_net_write(lsnn_net *net, lsnni_saver *s, const char *path)
{
    lsnni_string graph;
    lsnn_status status;
    memset(&graph, 0, sizeof graph);
    graph.cx = net->cx;
    lsnni_graph_write(net, &graph);
    status = graph.status == LSNN_OK ? lsnni_device_pull(net) : graph.status;
    if (status == LSNN_OK) {
        lsnni_saver_text(s, "lsnn.version", LSNN_VERSION);
        lsnni_saver_text(s, "lsnn.graph", graph.v);
        lsnni_saver_text(s, "lsnn.output", net->node[net->output].name);
        lsnni_saver_tensors(s, net->param, net->params, net->value);
        lsnni_saver_tensors(s, net->buffer, net->buffers, net->state);
        status = lsnn_file_write(net->cx, path, s->tensor, s->tensors, s->meta, s->metas);
    }
    lsnni_free(net->cx, graph.v);
    return status;
}

LSNN_API lsnn_status lsnn_net_save(lsnn_net *net, const char *path)
{
    if (!net) return LSNN_ENOMEM;
    lsnni_saver *s;
    lsnn_status status;
    if (!net->built)
        return lsnni_fail(net->cx, LSNN_ESTATE, "lsnn_net_save: call lsnn_net_build first");
    s = (lsnni_saver *)lsnni_alloc(net->cx, 1, sizeof *s);
    if (!s) return LSNN_ENOMEM;
    s->tensor = (lsnn_tensor *)lsnni_alloc(net->cx, (size_t)(net->params + net->buffers),
                                           sizeof *s->tensor);
    status = s->tensor ? lsnni_net_write(net, s, path) : LSNN_ENOMEM;
    lsnni_free(net->cx, s->tensor);
    lsnni_free(net->cx, s);
    return status;
}

static int lsnni_same_sizes(const lsnn_tensor *t, const lsnni_param *p)
{
    return t->rank == p->spec.rank &&
        memcmp(t->dim, p->spec.dim, (size_t)t->rank * sizeof t->dim[0]) == 0;
}

/* The tensor of that name, if its sizes are p's.                             */
static lsnn_status lsnni_match(lsnn_ctx *cx, const lsnn_file *f, const char *path,
                               const char *name, const lsnni_param *p,
                               const lsnn_tensor **found)
{
    const lsnn_tensor *t = *found = lsnn_file_tensor(f, name);
    for (int i = 0; i < f->skips && !t; i++)
        if (strcmp(f->skipped[i].key, name) == 0)
            return lsnni_fail(cx, LSNN_EFORMAT, "%.120s: the dtype of tensor '%.120s' is %.20s, "
                              "which is not read", path, name, f->skipped[i].value);
    if (!t) return lsnni_fail(cx, LSNN_EFORMAT, "%.120s has no tensor '%.120s'", path, name);
    if (!lsnni_same_sizes(t, p))
        return lsnni_fail(cx, LSNN_ESHAPE,
                          "%.120s: the sizes of tensor '%.120s' (%.0f numbers) are "
                          "not those of the net (%.0f numbers)", path, name, (double)t->count,
                          (double)p->spec.count);
    return LSNN_OK;
}

static lsnn_status lsnni_read_block(lsnn_ctx *cx, const lsnn_file *f, const char *path,
                                    const char *prefix, const lsnni_param *p, int count,
                                    lsnn_real *block)
{
    const lsnn_tensor *t;
    char name[512];
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%s%s", prefix, p[i].name);
        LSNNI_TRY(lsnni_match(cx, f, path, name, &p[i], &t));
        if (block) memcpy(block + p[i].at, t->v, t->count * sizeof *block);
    }
    return LSNN_OK;
}

/* The file has the net's parameters and buffers and, if it has a graph, no others but an
   optimizer's.                                                               */
static lsnn_status lsnni_net_match(lsnn_net *net, const lsnn_file *f, const char *path)
{
    LSNNI_TRY(lsnni_read_block(net->cx, f, path, "", net->param, net->params, NULL));
    LSNNI_TRY(lsnni_read_block(net->cx, f, path, "", net->buffer, net->buffers, NULL));
    for (int i = 0; i < f->tensors && lsnn_file_meta(f, "lsnn.graph"); i++) {
        const char *name = f->tensor[i].name;
        if (strncmp(name, "optimizer.", 10) != 0 &&
            lsnni_find_param(net->param, net->params, name) < 0 &&
            lsnni_find_param(net->buffer, net->buffers, name) < 0)
            return lsnni_fail(net->cx, LSNN_EFORMAT,
                              "%.120s: the net has no parameter '%.120s'", path, name);
    }
    return LSNN_OK;
}

/* Everything is checked before anything is changed.                          */
static lsnn_status lsnni_net_fill(lsnn_net *net, const lsnn_file *f, const char *path)
{
    lsnni_changed(net);
    LSNNI_TRY(lsnni_read_block(net->cx, f, path, "", net->param, net->params, net->value));
    return lsnni_read_block(net->cx, f, path, "", net->buffer, net->buffers, net->state);
}

/* ---- >>read as: under other names, and only what fits -----------------------------*/

/* What the file calls the net's `name`, NULL: it is not to be read.          */
static const char *lsnni_name_there(const lsnn_read_desc *d, const char *name)
{
    for (int i = 0; i < d->name_count; i++)
        if (strcmp(d->names[i].key, name) == 0) return d->names[i].value;
    return name;
}

static lsnn_status lsnni_names_known(const lsnn_net *net, const lsnn_read_desc *d)
{
    for (int i = 0; i < d->name_count; i++) {
        const char *name = d->names ? d->names[i].key : NULL;
        if (!name || (lsnni_find_param(net->param, net->params, name) < 0 &&
                      lsnni_find_param(net->buffer, net->buffers, name) < 0))
            return lsnni_fail(net->cx, LSNN_ENAME, "lsnn_net_read_as: name %d: the net has no "
                              "parameter or buffer '%.120s'", i + 1, name ? name : "(NULL)");
    }
    return LSNN_OK;
}

/* Counts, and with a block copies, what is taken of these parameters.        */
static lsnn_status lsnni_take_fitting(const lsnn_net *net, const lsnn_file *f, const char *path,
                              const lsnn_read_desc *d, const char *differs,
                              const lsnni_param *p, int count, lsnn_real *block, int *taken)
{
    for (int i = 0; i < count; i++) {
        const char *name = lsnni_name_there(d, p[i].name);
        const lsnn_tensor *t = name ? lsnn_file_tensor(f, name) : NULL;
        if (!name || (d->partial && (!t || !lsnni_same_sizes(t, &p[i]) ||
                                     differs[p[i].owner]))) continue;
        LSNNI_TRY(lsnni_match(net->cx, f, path, name, &p[i], &t));
        if (block) memcpy(block + p[i].at, t->v, t->count * sizeof *block);
        else ++*taken;
    }
    return LSNN_OK;
}

static lsnn_status lsnni_read_as(lsnn_net *net, const lsnn_file *f, const char *path,
                                 const lsnn_read_desc *d, char *differs)
{
    int taken = 0;
    LSNNI_TRY(lsnni_device_pull(net));
    LSNNI_TRY(lsnni_graph_match(net, f, path, d->partial ? differs : NULL));
    for (int pass = 0; pass < 2; pass++) {               /* to check, then to change */
        LSNNI_TRY(lsnni_take_fitting(net, f, path, d, differs, net->param, net->params,
                             pass ? net->value : NULL, &taken));
        LSNNI_TRY(lsnni_take_fitting(net, f, path, d, differs, net->buffer, net->buffers,
                             pass ? net->state : NULL, &taken));
        if (!taken)
            return lsnni_fail(net->cx, LSNN_EFORMAT, "%.120s: none of its %d tensors has the "
                              "name and the sizes of a parameter of the net", path, f->tensors);
        if (!pass) lsnni_changed(net);
    }
    if (d->taken) *d->taken = taken;
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_net_read_as(lsnn_net *net, const char *path, const lsnn_read_desc *d)
{
    lsnn_status s;
    lsnn_file f;
    char *differs;
    if (!net) return LSNN_ENOMEM;
    if (!d) return lsnn_net_read(net, path);
    if (d->taken) *d->taken = 0;
    if (!net->built)
        return lsnni_fail(net->cx, LSNN_ESTATE, "lsnn_net_read_as: call lsnn_net_build first");
    LSNNI_TRY(lsnni_names_known(net, d));
    LSNNI_TRY(lsnn_file_read(net->cx, &f, path));
    differs = (char *)lsnni_alloc(net->cx, (size_t)net->nodes, 1);
    s = differs ? lsnni_read_as(net, &f, lsnni_path_end(path), d, differs) : LSNN_ENOMEM;
    lsnni_free(net->cx, differs);
    lsnn_file_free(net->cx, &f);
    return s;
}

LSNN_API lsnn_status lsnn_net_read(lsnn_net *net, const char *path)
{
    if (!net) return LSNN_ENOMEM;
    lsnn_file f;
    lsnn_status s;
    if (!net->built)
        return lsnni_fail(net->cx, LSNN_ESTATE, "lsnn_net_read: call lsnn_net_build first");
    LSNNI_TRY(lsnn_file_read(net->cx, &f, path));
    s = lsnni_net_match(net, &f, path);
    if (s == LSNN_OK) s = lsnni_graph_match(net, &f, path, NULL);
    if (s == LSNN_OK) s = lsnni_net_fill(net, &f, path);
    lsnn_file_free(net->cx, &f);
    return s;
}

LSNN_API lsnn_net *lsnn_net_load(lsnn_ctx *cx, const char *path, const lsnn_build_desc *d,
                                 const lsnn_layer_type *const *types, int count)
{
    lsnn_net *net = NULL;
    lsnni_reader r;
    lsnn_file f;
    lsnn_status s;
    if (lsnn_file_read(cx, &f, path) != LSNN_OK) return NULL;
    net = lsnn_net_new(cx);
    r.net = net;
    r.path = path;
    r.types = types;
    r.count = count;
    s = net ? lsnni_graph_read(&r, &f) : LSNN_ENOMEM;
    if (s == LSNN_OK) s = lsnni_net_match(net, &f, path);  /* before memory is taken */
    if (s == LSNN_OK) s = lsnn_net_build(net, d);
    if (s == LSNN_OK) s = lsnni_net_fill(net, &f, path);
    lsnn_file_free(cx, &f);
    if (s == LSNN_OK) return net;
    lsnn_net_free(net);
    return NULL;
}

