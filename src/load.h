/* ---- >>load: a whole set from its folder --------------------------------------------*/
typedef struct lsnni_loading {
    lsnn_ctx *cx;
    lsnn_set *set;
    const char *name, *folder;
    int test;
    char *path;                      /* room for the folder and a file below it */
    size_t room;
} lsnni_loading;

/* Sets the path to FOLDER/within/file; 1 if there is such a file, or one of .gz. */
LSNNI_PRINTF(2, 3)
static int lsnni_loading_has(lsnni_loading *l, const char *format, ...)
{
    size_t n = strlen(l->folder);
    va_list list;
    FILE *f;
    memcpy(l->path, l->folder, n);
    l->path[n] = '/';
    va_start(list, format);
    vsnprintf(l->path + n + 1, l->room - n - 4, format, list);
    va_end(list);
    n = strlen(l->path);
    f = fopen(l->path, "rb");
    if (!f) {
        memcpy(l->path + n, ".gz", 4);
        f = fopen(l->path, "rb");
        l->path[n] = 0;
    }
    if (f) fclose(f);
    return f != NULL;
}

static lsnn_status lsnni_loading_missing(const lsnni_loading *l, const char *file)
{
    return lsnni_fail(l->cx, LSNN_EIO, "%s is not in %.200s, which should be the folder of %s's "
                      "%s files", file, l->folder, l->name, l->test ? "test" : "training");
}

/* A file that lies in the folder, or in the one that its archive unpacks to.  */
static int lsnni_loading_find(lsnni_loading *l, const char *within, const char *file)
{
    return lsnni_loading_has(l, "%s", file) || lsnni_loading_has(l, "%s/%s", within, file);
}

static lsnn_status lsnni_load_mnist(lsnni_loading *l)
{
    const char *part = l->test ? "t10k" : "train";
    lsnn_set one;
    lsnn_status s;
    memset(&one, 0, sizeof one);
    one.classes = 10;
    lsnni_loading_has(l, "%s-images-idx3-ubyte", part);
    s = lsnn_idx_read(l->cx, &one.images, l->path);
    lsnni_loading_has(l, "%s-labels-idx1-ubyte", part);
    if (s == LSNN_OK) s = lsnn_idx_read(l->cx, &one.labels, l->path);
    if (s == LSNN_OK && (one.images.rank != 3 || one.labels.rank != 1))
        s = lsnni_fail(l->cx, LSNN_EFORMAT, "%.160s: MNIST's images have rank 3 and its labels 1, "
                       "these %d and %d", l->folder, one.images.rank, one.labels.rank);
    if (s == LSNN_OK)
        s = lsnni_idx_labels(l->cx, lsnni_path_end(l->path), &one.labels, one.images.dim[0], 10);
    if (s == LSNN_OK) {              /* N,H,W as N,1,H,W                      */
        one.images.rank = 4;
        one.images.dim[3] = one.images.dim[2];
        one.images.dim[2] = one.images.dim[1];
        one.images.dim[1] = 1;
    }
    return lsnni_set_add(l->cx, l->set, &one, l->folder, s);
}

static lsnn_status lsnni_load_cifar10(lsnni_loading *l)
{
    for (int i = 1; i <= (l->test ? 1 : 5); i++) {
        char file[32] = "test_batch.bin";
        if (!l->test) snprintf(file, sizeof file, "data_batch_%d.bin", i);
        if (!lsnni_loading_find(l, "cifar-10-batches-bin", file))
            return lsnni_loading_missing(l, file);
        LSNNI_TRY(lsnn_cifar_read(l->cx, l->set, l->path, 10));
    }
    return LSNN_OK;
}

static lsnn_status lsnni_load_cifar100(lsnni_loading *l)
{
    const char *file = l->test ? "test.bin" : "train.bin";
    if (!lsnni_loading_find(l, "cifar-100-binary", file)) return lsnni_loading_missing(l, file);
    return lsnn_cifar_read(l->cx, l->set, l->path,
                           strcmp(l->name, "cifar100") == 0 ? LSNNI_FINE : LSNNI_COARSE);
}

static lsnn_status lsnni_load_svhn(lsnni_loading *l)
{
    const char *file = l->test ? "test_32x32.mat" : "train_32x32.mat";
    if (!lsnni_loading_has(l, "%s", file)) return lsnni_loading_missing(l, file);
    return lsnn_svhn_read(l->cx, l->set, l->path);
}

/* The tracks of packed records: lines of class/track_picture.ppm;width;height.  */
static lsnn_status lsnni_packed_tracks(lsnni_loading *l, lsnni_content *file)
{
    lsnn_set *s = l->set;
    lsnni_table t;
    int lines, n = s->labels.dim[0];
    memset(&t, 0, sizeof t);
    LSNNI_TRY(lsnni_table_begin(l->cx, &t, file, &lines));
    if (lines != n)
        return lsnni_fail(l->cx, LSNN_EFORMAT, "%s: has %d lines, the training records are %d",
                          t.shown, lines, n);
    s->group = (int *)lsnni_alloc(l->cx, (size_t)n, sizeof *s->group);
    if (!s->group) return LSNN_ENOMEM;
    for (int i = 0; i < n && lsnni_table_next(&t); i++) {
        const char *name = t.field[0];
        int label = strspn(name, "0123456789") == 5 && name[5] == '/' ? atoi(name) : -1;
        if (label != s->labels.v[i])
            return lsnni_fail(l->cx, LSNN_EFORMAT, "%s: line %d: '%.40s': record %d is of class "
                              "%05d", t.shown, t.line, name, i, s->labels.v[i]);
        s->group[i] = lsnni_sign_group(name + 6, label, i);
    }
    return LSNN_OK;
}

static lsnn_status lsnni_load_packed(lsnni_loading *l)
{
    lsnn_set one, *set = l->set;
    lsnni_content file;
    lsnn_status s;
    memset(&one, 0, sizeof one);
    LSNNI_TRY(lsnn_cifar_read(l->cx, &one, l->path, LSNNI_SIGN_CLASSES));
    l->set = &one;
    s = LSNN_OK;
    if (!l->test && lsnni_loading_has(l, "gtsrb32_train_index.csv")) {
        s = lsnni_content_read(l->cx, &file, l->path);
        if (s == LSNN_OK) {
            s = lsnni_packed_tracks(l, &file);
            lsnni_free(l->cx, file.v);
        }
    }
    l->set = set;
    return lsnni_set_add(l->cx, set, &one, l->folder, s);
}

/* Neither packed records nor the official files.                             */
static lsnn_status lsnni_gtsrb_missing(lsnni_loading *l, const char *file)
{
    const char *part = l->test ? "test" : "train";
    if (strcmp(l->name, "gtsrb") != 0 || !lsnni_loading_has(l, "gtsrb32_%s.bin.xz", part))
        return lsnni_loading_missing(l, file);
    return lsnni_fail(l->cx, LSNN_EUNSUPPORTED, "%s: is packed: unpack it by xz -dk",
                      lsnni_path_end(l->path));
}

static lsnn_status lsnni_load_gtsrb(lsnni_loading *l)
{
    const char *root = lsnni_loading_has(l, "GTSRB/Final_Training/Images/00000/GT-00000.csv") ||
                       lsnni_loading_has(l, "GTSRB/Final_Test/Images/GT-final_test.csv")
                       ? "GTSRB/" : "";
    int box = strcmp(l->name, "gtsrb-box") == 0;
    if (!box && lsnni_loading_has(l, "gtsrb32_%s.bin", l->test ? "test" : "train"))
        return lsnni_load_packed(l);
    if (l->test) {
        if (!lsnni_loading_has(l, "%sFinal_Test/Images/GT-final_test.csv", root))
            return lsnni_gtsrb_missing(l, "Final_Test/Images/GT-final_test.csv");
        return lsnn_gtsrb_read(l->cx, l->set, l->path, LSNNI_CIFAR_SIDE, box);
    }
    for (int k = 0; k < LSNNI_SIGN_CLASSES; k++) {
        char file[64];
        snprintf(file, sizeof file, "Final_Training/Images/%05d/GT-%05d.csv", k, k);
        if (!lsnni_loading_has(l, "%s%s", root, file)) return lsnni_gtsrb_missing(l, file);
        LSNNI_TRY(lsnn_gtsrb_read(l->cx, l->set, l->path, LSNNI_CIFAR_SIDE, box));
    }
    return LSNN_OK;
}

static const struct lsnni_loader {
    const char *name;
    lsnn_status (*load)(lsnni_loading *l);
} lsnni_loaders[] = {
    { "mnist", lsnni_load_mnist }, { "cifar10", lsnni_load_cifar10 },
    { "cifar100", lsnni_load_cifar100 }, { "cifar20", lsnni_load_cifar100 },
    { "svhn", lsnni_load_svhn }, { "gtsrb", lsnni_load_gtsrb }, { "gtsrb-box", lsnni_load_gtsrb }
};
enum { LSNNI_LOADERS = (int)(sizeof lsnni_loaders / sizeof lsnni_loaders[0]) };

LSNN_API const char *lsnn_set_name(int i)
{
    return i >= 0 && i < LSNNI_LOADERS ? lsnni_loaders[i].name : NULL;
}

LSNN_API lsnn_status lsnn_set_load(lsnn_ctx *cx, lsnn_set *s, const char *name,
                                   const char *folder, int test)
{
    lsnni_loading l;
    lsnn_set all;
    lsnn_status status;
    int i = 0;
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_set_load: folder", folder));
    while (i < LSNNI_LOADERS && (!name || strcmp(lsnni_loaders[i].name, name) != 0)) i++;
    if (i == LSNNI_LOADERS)
        return lsnni_fail(cx, LSNN_ENAME, "lsnn_set_load: there is no set '%.40s'",
                          name ? name : "(NULL)");
    memset(&all, 0, sizeof all);
    memset(&l, 0, sizeof l);
    l.cx = cx;
    l.set = &all;
    l.name = name;
    l.folder = folder;
    l.test = test;
    l.room = strlen(folder) + 200;
    l.path = (char *)lsnni_alloc(cx, l.room, 1);
    if (!l.path) return LSNN_ENOMEM;
    status = lsnni_loaders[i].load(&l);
    lsnni_free(cx, l.path);
    return lsnni_set_add(cx, s, &all, name, status);
}
