/* ---- >>sets: other people's data sets ---------------------------------------------
   A reader makes a set of its file's samples, and adds it to the caller's when all of them
   are there: after a failure that is as it was.                              */
LSNN_API void lsnn_set_free(lsnn_ctx *cx, lsnn_set *s)
{
    lsnn_idx_free(cx, &s->images);
    lsnn_idx_free(cx, &s->labels);
    lsnni_free(cx, s->group);
    memset(s, 0, sizeof *s);
}

LSNN_API lsnn_status lsnn_data_set(lsnn_ctx *cx, lsnn_data *d, const lsnn_set *s)
{
    memset(d, 0, sizeof *d);
    if (!s) return lsnni_fail(cx, LSNN_EVALUE, "lsnn_data_set: the set is NULL");
    return lsnn_data_idx(cx, d, &s->images, &s->labels, s->classes);
}

/* An empty set with room for `count` samples; groups: it has some.           */
static lsnn_status lsnni_set_new(lsnn_ctx *cx, lsnn_set *s, const char *who, double count,
                                 lsnn_shape shape, int classes, int groups)
{
    size_t size = (size_t)lsnni_features(shape);
    memset(s, 0, sizeof *s);
    if (!(count >= 1 && count <= INT_MAX))
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: has %.0f samples", who, count);
    s->images.rank = 4;
    s->images.dim[0] = s->labels.dim[0] = (int)count;
    s->images.dim[1] = shape.c;
    s->images.dim[2] = shape.h;
    s->images.dim[3] = shape.w;
    s->labels.rank = 1;
    s->classes = classes;
    s->images.v = (unsigned char *)lsnni_alloc(cx, (size_t)count, size);
    s->labels.v = (unsigned char *)lsnni_alloc(cx, (size_t)count, 1);
    if (groups) s->group = (int *)lsnni_alloc(cx, (size_t)count, sizeof(int));
    if (s->images.v && s->labels.v && (s->group || !groups)) return LSNN_OK;
    lsnn_set_free(cx, s);
    return LSNN_ENOMEM;
}

/* One set's groups; what is in none (negative) gets a number of its own.     */
static void lsnni_set_groups(int *to, const lsnn_set *s, int first)
{
    for (int i = 0; i < s->labels.dim[0]; i++)
        to[i] = s->group && s->group[i] >= 0 ? s->group[i] : -1 - (first + i);
}

static lsnn_status lsnni_set_join(lsnn_ctx *cx, lsnn_set *s, const lsnn_set *more,
                                  const char *who)
{
    lsnn_set all;
    lsnn_shape shape = { 0, 0, 0 };
    size_t have = (size_t)s->labels.dim[0], size;
    shape.c = more->images.dim[1];
    shape.h = more->images.dim[2];
    shape.w = more->images.dim[3];
    size = (size_t)lsnni_features(shape);
    if (s->images.rank != 4 || s->images.dim[1] != shape.c || s->images.dim[2] != shape.h ||
        s->images.dim[3] != shape.w || s->classes != more->classes || s->labels.rank != 1 ||
        s->images.dim[0] != s->labels.dim[0])
        return lsnni_fail(cx, LSNN_ESHAPE, "%s: images of %d x %d x %d in %d classes; the set has "
                          "others: begin with one that is all zero", who, shape.c, shape.h,
                          shape.w, more->classes);
    LSNNI_TRY(lsnni_set_new(cx, &all, who, (double)s->labels.dim[0] + more->labels.dim[0], shape,
                            s->classes, s->group || more->group));
    memcpy(all.images.v, s->images.v, have * size);
    memcpy(all.images.v + have * size, more->images.v, (size_t)more->labels.dim[0] * size);
    memcpy(all.labels.v, s->labels.v, have);
    memcpy(all.labels.v + have, more->labels.v, (size_t)more->labels.dim[0]);
    if (all.group) {
        lsnni_set_groups(all.group, s, 0);
        lsnni_set_groups(all.group + have, more, (int)have);
    }
    lsnn_set_free(cx, s);
    *s = all;
    return LSNN_OK;
}

/* Ends a reader: s gets more's samples if it went well so far; more is freed. */
static lsnn_status lsnni_set_add(lsnn_ctx *cx, lsnn_set *s, lsnn_set *more, const char *who,
                                 lsnn_status so_far)
{
    if (so_far == LSNN_OK && !s->images.v) {
        *s = *more;
        return LSNN_OK;
    }
    if (so_far == LSNN_OK) so_far = lsnni_set_join(cx, s, more, who);
    lsnn_set_free(cx, more);
    return so_far;
}

/* ---- CIFAR: records of one label byte (CIFAR-100: a coarse, then a fine one) and 32 x 32
   bytes of red, of green, of blue                                            */
enum { LSNNI_CIFAR_SIDE = 32, LSNNI_CIFAR_SIZE = 3 * 32 * 32, LSNNI_COARSE = 20, LSNNI_FINE = 100 };

static lsnn_status lsnni_cifar_records(lsnn_ctx *cx, lsnn_set *s, const lsnni_content *file,
                                       int classes)
{
    static const lsnn_shape shape = { 3, LSNNI_CIFAR_SIDE, LSNNI_CIFAR_SIDE };
    int marks = classes == LSNNI_COARSE || classes == LSNNI_FINE ? 2 : 1;
    size_t record = (size_t)marks + LSNNI_CIFAR_SIZE;
    memset(s, 0, sizeof *s);
    if (!file->count || file->count % record)
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: has %.0f bytes, not a multiple of %.0f: records "
                          "are %d label and 3072 pixel bytes", file->shown, (double)file->count,
                          (double)record, marks);
    LSNNI_TRY(lsnni_set_new(cx, s, file->shown, (double)(file->count / record), shape, classes,
                            0));
    for (int i = 0; i < s->labels.dim[0]; i++) {
        const unsigned char *v = file->v + (size_t)i * record;
        int coarse = v[0], label = v[classes == LSNNI_FINE];
        if (label >= classes || (marks == 2 && (coarse >= LSNNI_COARSE || v[1] >= LSNNI_FINE)))
            return lsnni_fail(cx, LSNN_EVALUE, "%s: record %d has label %d, which is not in "
                              "[0, %d)%s", file->shown, i, label, classes,
                              marks == 2 ? ", or the other of its two is not in range" : "");
        s->labels.v[i] = (unsigned char)label;
        memcpy(s->images.v + (size_t)i * LSNNI_CIFAR_SIZE, v + marks, LSNNI_CIFAR_SIZE);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_cifar_read(lsnn_ctx *cx, lsnn_set *s, const char *path, int classes)
{
    lsnni_content file;
    lsnn_set one;
    lsnn_status status;
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_cifar_read", path));
    if (classes < 1 || classes > 256)
        return lsnni_fail(cx, LSNN_EVALUE, "lsnn_cifar_read: %d classes: give 1..256", classes);
    LSNNI_TRY(lsnni_content_read(cx, &file, path));
    status = lsnni_cifar_records(cx, &one, &file, classes);
    lsnni_free(cx, file.v);
    return lsnni_set_add(cx, s, &one, file.shown, status);
}

/* ---- tables: lines of fields with ; between them, the first line names the columns --------*/
enum { LSNNI_TABLE_COLUMNS = 16 };
typedef struct lsnni_table {
    char *at;                        /* what has not been read; lines are cut up in place */
    const char *shown;
    int line, columns;               /* the one at hand; how many it has       */
    char *field[LSNNI_TABLE_COLUMNS];
} lsnni_table;

/* Lines of a text that are not empty.                                        */
static int lsnni_table_lines(const char *text)
{
    int lines = 0, any = 0;
    for (; *text; text++) {
        if (*text == '\n') any = 0;
        else if (!any && !lsnni_is_space((unsigned char)*text)) lines += any = 1;
    }
    return lines;
}

/* Begins a table, and counts its lines.                                      */
static lsnn_status lsnni_table_begin(lsnn_ctx *cx, lsnni_table *t, lsnni_content *file, int *lines)
{
    t->at = (char *)file->v;
    t->shown = file->shown;
    *lines = lsnni_table_lines(t->at);
    if (!memchr(file->v, 0, file->count)) return LSNN_OK;
    return lsnni_fail(cx, LSNN_EFORMAT, "%s: is no text: it has a byte of 0", file->shown);
}

/* Takes the next line that is not empty; 0: there is none.                   */
static int lsnni_table_next(lsnni_table *t)
{
    while (*t->at) {
        char *line = t->at, *end = line + strcspn(line, "\n");
        t->at = *end ? end + 1 : end;
        t->line++;
        while (end > line && lsnni_is_space((unsigned char)end[-1])) end--;
        *end = 0;
        if (end == line) continue;
        t->columns = 0;
        for (;;) {
            char *stop = line + strcspn(line, ";");
            int more = *stop != 0;
            *stop = 0;
            if (t->columns < LSNNI_TABLE_COLUMNS) t->field[t->columns] = line;
            t->columns++;
            if (!more) return 1;
            line = stop + 1;
        }
    }
    return 0;
}

/* A field as a whole number in [low, high].                                  */
static lsnn_status lsnni_table_int(lsnn_ctx *cx, const lsnni_table *t, int column,
                                   const char *name, int low, int high, int *value)
{
    const char *text = t->field[column];
    size_t digits = strspn(text, "0123456789");
    *value = -1;
    if (digits > 0 && digits < 10 && !text[digits]) *value = atoi(text);
    if (*value >= low && *value <= high) return LSNN_OK;
    return lsnni_fail(cx, LSNN_EFORMAT, "%s: line %d: %s is '%.40s', not a whole number in "
                      "%d..%d", t->shown, t->line, name, text, low, high);
}

/* ---- resizing: bilinear, to the bit as OpenCV's INTER_LINEAR --------------------------
   Pixel i of `out` has its centre at (i + 1/2) in / out - 1/2 of the source, between two of
   its pixels; outside of it the border goes on. Nothing is averaged where it shrinks, as
   nothing was when GTSRB's packed records were made: so both give the same bytes. Weights
   are 11 bits, the sum of both directions is rounded once.                   */
typedef struct lsnni_between { int a, b, wa, wb; } lsnni_between;

static int lsnni_round_even(float v)                     /* of v >= 0               */
{
    int n = (int)v;
    float rest = v - (float)n;
    return n + (rest > 0.5f || (rest >= 0.5f && n % 2));
}

static lsnni_between lsnni_between_at(int i, int in, int out)
{
    lsnni_between p;
    float at = (float)((i + 0.5) * ((double)in / out) - 0.5), part = floorf(at);
    int first = (int)part;
    part = at - part;
    p.a = LSNNI_MAX(0, LSNNI_MIN(first, in - 1));
    p.b = LSNNI_MAX(0, LSNNI_MIN(first + 1, in - 1));
    p.wa = lsnni_round_even((1 - part) * 2048);
    p.wb = lsnni_round_even(part * 2048);
    return p;
}

/* The w x h pixels of im from (x, y) on, as three planes of side x side bytes.  */
static void lsnni_image_resize(const lsnn_image *im, int x, int y, int w, int h, int side,
                               unsigned char *planes)
{
    for (int i = 0; i < side; i++)
        for (int j = 0; j < side; j++) {
            lsnni_between r = lsnni_between_at(i, h, side), c = lsnni_between_at(j, w, side);
            const unsigned char *top = im->rgb + 3 * (lsnni_area(y + r.a, im->w) + (size_t)x);
            const unsigned char *low = im->rgb + 3 * (lsnni_area(y + r.b, im->w) + (size_t)x);
            for (int k = 0; k < 3; k++) {
                int t = top[3 * c.a + k] * c.wa + top[3 * c.b + k] * c.wb;
                int l = low[3 * c.a + k] * c.wa + low[3 * c.b + k] * c.wb;
                int v = (r.wa * (t >> 4) >> 16) + (r.wb * (l >> 4) >> 16);
                planes[(k * side + i) * side + j] = (unsigned char)((v + 2) >> 2);
            }
        }
}

/* A path's last part.                                                        */
static const char *lsnni_file_name(const char *path)
{
    const char *name = path;
    for (; *path; path++) {
        int slash = *path == '/';
#ifdef _WIN32
        slash |= *path == '\\' || *path == ':';
#endif
        if (slash) name = path + 1;
    }
    return name;
}

/* ---- GTSRB: a table of pictures that lie beside it ----------------------------------*/
enum { LSNNI_SIGN_CLASSES = 43, LSNNI_SIGN_TRACK = 100000,     /* group: class, track */
       LSNNI_SIGN_SIDE = 1024 };
enum { LSNNI_SIGN_FILE, LSNNI_SIGN_W, LSNNI_SIGN_H, LSNNI_SIGN_X1, LSNNI_SIGN_Y1, LSNNI_SIGN_X2,
       LSNNI_SIGN_Y2, LSNNI_SIGN_CLASS, LSNNI_SIGN_COLUMNS };
static const char *const lsnni_sign_columns[LSNNI_SIGN_COLUMNS] = {
    "Filename", "Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId"
};
typedef struct lsnni_signs {
    lsnni_table table;
    int column[LSNNI_SIGN_COLUMNS];  /* where each of them stands             */
    int side, box;
    char *path;                      /* the table's, its name to be replaced: `room` bytes */
    size_t folder, room;             /* from path[folder] on                  */
} lsnni_signs;

static lsnn_status lsnni_signs_head(lsnn_ctx *cx, lsnni_signs *g)
{
    lsnni_table *t = &g->table;
    int any = lsnni_table_next(t);
    for (int k = 0; k < LSNNI_SIGN_COLUMNS; k++) {
        int i = 0, columns = any ? LSNNI_MIN(t->columns, (int)LSNNI_TABLE_COLUMNS) : 0;
        while (i < columns && strcmp(t->field[i], lsnni_sign_columns[k]) != 0) i++;
        if (i == columns)
            return lsnni_fail(cx, LSNN_EFORMAT, "%s: its first line names no column %s%s",
                              t->shown, lsnni_sign_columns[k], k == LSNNI_SIGN_CLASS ?
                              ": the test set's classes are in GT-final_test.csv, which is a file "
                              "of its own" : ": they are Filename;Width;Height;Roi.X1;...;ClassId");
        g->column[k] = i;
    }
    return LSNN_OK;
}

/* The next line's numbers; the file's name stays in the table.               */
static lsnn_status lsnni_signs_line(lsnn_ctx *cx, const lsnni_signs *g,
                                    int v[LSNNI_SIGN_COLUMNS])
{
    const lsnni_table *t = &g->table;
    for (int k = 0; k < LSNNI_SIGN_COLUMNS; k++)
        if (g->column[k] >= t->columns)
            return lsnni_fail(cx, LSNN_EFORMAT, "%s: line %d has %d columns, and no %s", t->shown,
                              t->line, t->columns, lsnni_sign_columns[k]);
    for (int k = LSNNI_SIGN_W; k < LSNNI_SIGN_COLUMNS; k++) {
        int low = k == LSNNI_SIGN_W || k == LSNNI_SIGN_H;
        int high = k == LSNNI_SIGN_CLASS ? LSNNI_SIGN_CLASSES - 1 : 1 << 20;
        LSNNI_TRY(lsnni_table_int(cx, t, g->column[k], lsnni_sign_columns[k], low, high, &v[k]));
    }
    if (v[LSNNI_SIGN_X1] < v[LSNNI_SIGN_X2] && v[LSNNI_SIGN_X2] <= v[LSNNI_SIGN_W] &&
        v[LSNNI_SIGN_Y1] < v[LSNNI_SIGN_Y2] && v[LSNNI_SIGN_Y2] <= v[LSNNI_SIGN_H]) return LSNN_OK;
    return lsnni_fail(cx, LSNN_EVALUE, "%s: line %d: the box from (%d, %d) to (%d, %d) is not a "
                      "part of the picture, %d x %d", t->shown, t->line, v[LSNNI_SIGN_X1],
                      v[LSNNI_SIGN_Y1], v[LSNNI_SIGN_X2], v[LSNNI_SIGN_Y2], v[LSNNI_SIGN_W],
                      v[LSNNI_SIGN_H]);
}

/* One line's picture, as three planes.                                       */
static lsnn_status lsnni_sign(lsnn_ctx *cx, lsnni_signs *g, const int v[LSNNI_SIGN_COLUMNS],
                              unsigned char *planes)
{
    const lsnni_table *t = &g->table;
    const char *name = t->field[g->column[LSNNI_SIGN_FILE]];
    int x = g->box ? v[LSNNI_SIGN_X1] : 0, y = g->box ? v[LSNNI_SIGN_Y1] : 0;
    int w = g->box ? v[LSNNI_SIGN_X2] - x : v[LSNNI_SIGN_W];
    int h = g->box ? v[LSNNI_SIGN_Y2] - y : v[LSNNI_SIGN_H];
    lsnn_image im;
    lsnn_status s = LSNN_OK;
    if (strlen(name) >= g->room || strpbrk(name, "/\\:"))
        return lsnni_fail(cx, LSNN_EFORMAT, "%s: line %d: Filename is '%.40s', not the name of a "
                          "picture in its folder", t->shown, t->line, name);
    memcpy(g->path + g->folder, name, strlen(name) + 1);
    LSNNI_TRY(lsnni_image_open(cx, &im, g->path));
    if (im.w != v[LSNNI_SIGN_W] || im.h != v[LSNNI_SIGN_H])
        s = lsnni_fail(cx, LSNN_EFORMAT, "%s: is %d x %d pixels, line %d of %s says %d x %d",
                       lsnni_path_end(g->path), im.w, im.h, t->line, t->shown, v[LSNNI_SIGN_W],
                       v[LSNNI_SIGN_H]);
    else lsnni_image_resize(&im, x, y, w, h, g->side, planes);
    lsnni_free(cx, im.rgb);
    return s;
}

/* 00012_00007.ppm is picture 7 of track 12; without such a name each is one of its own. */
static int lsnni_sign_group(const char *name, int label, int i)
{
    size_t digits = strspn(name, "0123456789");
    if (digits != 5 || name[5] != '_') return -1 - i;
    return label * LSNNI_SIGN_TRACK + atoi(name);
}

static lsnn_status lsnni_signs_read(lsnn_ctx *cx, lsnni_signs *g, lsnn_set *one, int lines)
{
    size_t size = 3 * lsnni_area(g->side, g->side);
    lsnn_shape shape;
    shape.c = 3;
    shape.h = shape.w = g->side;
    LSNNI_TRY(lsnni_signs_head(cx, g));
    LSNNI_TRY(lsnni_set_new(cx, one, g->table.shown, (double)lines - 1, shape,
                            LSNNI_SIGN_CLASSES, 1));
    for (int i = 0; i < one->labels.dim[0] && lsnni_table_next(&g->table); i++) {
        int v[LSNNI_SIGN_COLUMNS];
        LSNNI_TRY(lsnni_signs_line(cx, g, v));
        LSNNI_TRY(lsnni_sign(cx, g, v, one->images.v + (size_t)i * size));
        one->labels.v[i] = (unsigned char)v[LSNNI_SIGN_CLASS];
        one->group[i] = lsnni_sign_group(g->table.field[g->column[LSNNI_SIGN_FILE]],
                                         v[LSNNI_SIGN_CLASS], i);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_gtsrb_read(lsnn_ctx *cx, lsnn_set *s, const char *path, int side,
                                     int box)
{
    lsnni_signs g;
    lsnni_content file;
    lsnn_set one;
    lsnn_status status;
    int lines = 0;
    memset(&g, 0, sizeof g);
    memset(&one, 0, sizeof one);
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_gtsrb_read", path));
    if (side < 1 || side > LSNNI_SIGN_SIDE)
        return lsnni_fail(cx, LSNN_EVALUE, "lsnn_gtsrb_read: side %d: give 1..%d", side,
                          (int)LSNNI_SIGN_SIDE);
    LSNNI_TRY(lsnni_content_read(cx, &file, path));
    status = lsnni_table_begin(cx, &g.table, &file, &lines);
    g.side = side;
    g.box = box;
    g.folder = (size_t)(lsnni_file_name(path) - path);
    g.room = 256;
    g.path = (char *)lsnni_alloc(cx, g.folder + g.room, 1);
    if (g.path) memcpy(g.path, path, g.folder);
    if (!g.path) status = LSNN_ENOMEM;
    if (status == LSNN_OK) status = lsnni_signs_read(cx, &g, &one, lines);
    lsnni_free(cx, g.path);
    lsnni_free(cx, file.v);
    return lsnni_set_add(cx, s, &one, file.shown, status);
}
