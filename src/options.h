/* ---- >>options: one table, so that checking, saving and loading are loops ------*/
/* lsnn_options is one flat struct for all types, since that is how C lets a caller name what
   he sets. What each member is called, where it lies and of what kind it is stands here once:
   refusing (below), writing and reading (>>models) are loops over it. An option is a member in
   api.h and a row here; without its row it would be neither refused nor saved. Texts (name,
   share, table) are no rows: nodes copy them.                                */
typedef struct lsnni_field { const char *name; size_t at; char kind; } lsnni_field;
/* An option is an int or an enum as wide (each has a member ..._INT_), or a double: any other
   does not compile. An array of -1 chars is what C99 has to say no with when it compiles;
   times 0 it adds nothing.                                                   */
#define LSNNI_WIDE(name, type)                                                             \
    (0 * sizeof(char[sizeof(((lsnn_options *)0)->name) == sizeof(type) ? 1 : -1]))
#define LSNNI_INT(name)                                                                    \
    { #name, offsetof(lsnn_options, name) + LSNNI_WIDE(name, int), 'i' }
#define LSNNI_REAL(name)                                                                   \
    { #name, offsetof(lsnn_options, name) + LSNNI_WIDE(name, double), 'd' }
/* Files list options in this order, and are read by name: a new row may stand anywhere. */
static const lsnni_field lsnni_fields[] = {
    LSNNI_INT(keep), LSNNI_INT(init), LSNNI_REAL(init_scale), LSNNI_REAL(lr_factor),
    LSNNI_INT(freeze), LSNNI_INT(no_decay), LSNNI_REAL(decay_factor), LSNNI_INT(no_bias),
    LSNNI_INT(filters),
    LSNNI_INT(kernel_h), LSNNI_INT(kernel_w), LSNNI_INT(stride_h), LSNNI_INT(stride_w),
    LSNNI_INT(padding), LSNNI_INT(pad_top), LSNNI_INT(pad_left), LSNNI_INT(pad_bottom),
    LSNNI_INT(pad_right), LSNNI_INT(dilation_h), LSNNI_INT(dilation_w), LSNNI_INT(groups),
    LSNNI_INT(bias), LSNNI_INT(start), LSNNI_INT(banks), LSNNI_INT(blend),
    LSNNI_REAL(slope), LSNNI_REAL(rate), LSNNI_REAL(momentum),
    LSNNI_REAL(eps), LSNNI_INT(first), LSNNI_INT(count), LSNNI_INT(head),
    LSNNI_REAL(loss_weight), LSNNI_REAL(rubbish), LSNNI_REAL(norm), LSNNI_INT(learn_norm),
    LSNNI_INT(smooth_shape), LSNNI_INT(normalise), LSNNI_INT(rank),
    LSNNI_INT(mixture), LSNNI_INT(smooth_bias), LSNNI_REAL(l2), LSNNI_INT(clip),
    LSNNI_REAL(dsc_alpha_max), LSNNI_REAL(dsc_tau), LSNNI_REAL(dsc_xi), LSNNI_REAL(dsc_eta),
    LSNNI_REAL(dsc_theta), LSNNI_REAL(dsc_spread), LSNNI_INT(dsc_silent), LSNNI_INT(dsc_sums),
    LSNNI_REAL(dsc_beta), LSNNI_INT(dsc_places), LSNNI_INT(dsc_maps),
    LSNNI_INT(grid_h), LSNNI_INT(grid_w), LSNNI_INT(align_corners),
    { "custom0", offsetof(lsnn_options, custom), 'd' },
    { "custom1", offsetof(lsnn_options, custom) + sizeof(double), 'd' },
    { "custom2", offsetof(lsnn_options, custom) + 2 * sizeof(double), 'd' },
    { "custom3", offsetof(lsnn_options, custom) + 3 * sizeof(double), 'd' }
};
enum { LSNNI_FIELDS = (int)(sizeof lsnni_fields / sizeof lsnni_fields[0]) };

/* By memcpy: to C++, which compiles this too, an enum is no int, and reading it as one through
   a pointer is undefined. A double holds every int, so one type does for all fields. */
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

/* v of an int's field must be one, or the conversion is undefined: reading a file asks first. */
static void lsnni_field_set(lsnn_options *o, const lsnni_field *f, double v)
{
    int i = f->kind == 'i' ? (int)v : 0;
    if (f->kind == 'i') memcpy((char *)o + f->at, &i, sizeof i);
    else memcpy((char *)o + f->at, &v, sizeof v);
}

/* 1 if `word` is one of the words of a list separated by spaces. Whole words: pad_top is not
   found in pad_top_left. A hit within a longer word is skipped whole, since without a space in
   it no other can begin there.                                               */
static int lsnni_listed(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; p && (p = strstr(p, word)) != NULL; p += n)
        if ((p == list || p[-1] == ' ') && (p[n] == 0 || p[n] == ' ')) return 1;
    return 0;
}

/* Every layer reads keep; a field that the type does not read must be zero. An option set on
   the wrong layer would else be a wish that nobody hears. Here stands what means the same in
   all types; whether a kernel fits is their plans' to say. The order matters: NaN is refused
   first, so that the comparisons below mean what they say.                   */
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
    if (o->table && !lsnni_listed(type->options, "table"))
        return lsnni_fail(cx, LSNN_EVALUE, "%s has no option table", type->name);
    if (o->lr_factor < 0 || o->init_scale < 0 || o->loss_weight < 0 || o->decay_factor < 0 ||
        o->l2 < 0)
        return lsnni_fail(cx, LSNN_EVALUE, "%s: lr_factor %g, init_scale %g, loss_weight %g, "
                          "decay_factor %g or l2 %g is negative", type->name, o->lr_factor,
                          o->init_scale, o->loss_weight, o->decay_factor, o->l2);
    /* Through an int: whether an enum is signed is the compiler's choice.    */
    if ((int)o->init < 0 || o->init > LSNN_INIT_ZERO || (int)o->padding < 0 ||
        o->padding > LSNN_EXPLICIT)
        return lsnni_fail(cx, LSNN_EVALUE, "%s: init %d or padding %d is unknown", type->name,
                          (int)o->init, (int)o->padding);
    /* Sizes that no other padding reads: who gives them forgot to say EXPLICIT. */
    if (o->padding != LSNN_EXPLICIT && (o->pad_top || o->pad_left || o->pad_bottom ||
                                        o->pad_right))
        return lsnni_fail(cx, LSNN_EVALUE, "%s: pad_top, pad_left, pad_bottom and pad_right "
                          "are for LSNN_EXPLICIT", type->name);
    return LSNN_OK;
}

