/* task.h - the data sets of the bigger programs, by name: training, held-out and test part.

   Read from their own files (mnist with --mnist, or drawn by the library without; cifar10,
   cifar100, svhn, gtsrb or signs, gtsrb-box, pain with --data), or drawn from MNIST's digits while they are used
   (cluttered, arrow, rectangle, sequence, tlmnist). A program sets task.name and the flags it
   has, calls task_load, takes data[TASK_TRAIN], and at its end calls task_free.

   What is held out is never trained on: the last images, which show none of the digits of
   the others; of gtsrb whole tracks, since the pictures of a track show one sign; of pain the
   last of the eighteen subjects that are trained on.                                  */
#ifndef LSNN_EXAMPLES_TASK_H
#define LSNN_EXAMPLES_TASK_H

typedef enum task_part { TASK_TRAIN, TASK_VALID, TASK_TEST, TASK_PARTS } task_part;

typedef struct task_sets {
    const char *name;
    int holdout;                     /* training images that are held out (pain: subjects) */
    int fresh;                       /* draws training pictures anew in each epoch    */
    int no_test;                     /* leaves the test set alone                     */
    lsnn_data data[TASK_PARTS];      /* count 0: there is none                        */
    /* what they are made of */
    app_digits digits;
    lsnn_recipe recipe[TASK_PARTS];  /* of pictures drawn from them                   */
    lsnn_set set[2];                 /* training, test                                */
    lsnn_data whole[2], kept, rest;  /* kept: by --holdout; rest: neither that nor by --train */
    lsnn_pain pain[TASK_PARTS];
} task_sets;

enum { TASK_CLASSES = 10, TASK_SUBJECTS = 18 };

static inline int task_is_drawn(const task_sets *t)
{
    lsnn_task drawn = lsnn_task_from_name(t->name);
    return drawn != LSNN_TASK_COUNT_ && drawn != LSNN_TASK_DIGITS;
}

static inline int task_of_digits(const task_sets *t)
{
    return task_is_drawn(t) || strcmp(t->name, "mnist") == 0;
}

/* The library's name of a set; signs are GTSRB's.                                     */
static inline const char *task_set(const task_sets *t)
{
    return strcmp(t->name, "signs") == 0 ? "gtsrb" : t->name;
}

/* Both sets, whole.                                                                   */
static inline lsnn_status task_read(app *a, lsnn_ctx *cx, task_sets *t)
{
    app_digits *d = &t->digits;
    lsnn_status s = LSNN_OK;
    if (task_of_digits(t)) {
        s = app_digits_get(a, cx, d);
        if (s != LSNN_OK || task_is_drawn(t)) return s;
        s = lsnn_data_idx(cx, &t->whole[0], &d->train_images, &d->train_labels, TASK_CLASSES);
        return s != LSNN_OK ? s : lsnn_data_idx(cx, &t->whole[1], &d->test_images,
                                                &d->test_labels, TASK_CLASSES);
    }
    if (!a->data) {
        app_refuse(a, "--task %s: --data must name the folder of its files", t->name);
        return LSNN_EVALUE;
    }
    for (int test = 0; test < 2 && s == LSNN_OK; test++) {
        s = lsnn_set_load(cx, &t->set[test], task_set(t), a->data, test);
        if (s == LSNN_OK) s = lsnn_data_set(cx, &t->whole[test], &t->set[test]);
    }
    return s;
}

/* Training, held-out and test images that --train, --test and --holdout leave.        */
static inline lsnn_status task_count(app *a, const task_sets *t, int train, int test,
                                     int count[TASK_PARTS])
{
    count[TASK_TRAIN] = a->train ? a->train : train;
    count[TASK_TEST] = a->test ? a->test : test;
    if (count[TASK_TRAIN] > train || count[TASK_TEST] > test ||
        t->holdout >= count[TASK_TRAIN]) {
        app_refuse(a, "--train %d, --test %d, --holdout %d: there are %d training and %d test "
                   "images", a->train, a->test, t->holdout, train, test);
        return LSNN_EVALUE;
    }
    count[TASK_TRAIN] -= t->holdout;
    count[TASK_VALID] = t->holdout;
    if (t->no_test) count[TASK_TEST] = 0;
    return LSNN_OK;
}

/* The first images, and the last of those are held out. Files of things that were pictured
   often go class by class: there what is held out and, of the rest, what is trained on is
   drawn at random, held out by whole things.                                          */
static inline lsnn_status task_cut(app *a, lsnn_ctx *cx, task_sets *t)
{
    const lsnn_data *from = &t->whole[0];
    lsnn_data *train = &t->data[TASK_TRAIN], *valid = &t->data[TASK_VALID];
    int count[TASK_PARTS];
    lsnn_status s = task_count(a, t, from->count, t->whole[1].count, count);
    if (s == LSNN_OK && t->set[0].group && t->holdout) {
        s = lsnn_data_split(cx, &t->kept, valid, from, t->set[0].group, t->holdout, a->seed);
        from = &t->kept;
    } else if (s == LSNN_OK && t->holdout)
        s = lsnn_data_part(cx, valid, from, count[TASK_TRAIN], t->holdout);
    if (s != LSNN_OK) return s;
    if (t->set[0].group && count[TASK_TRAIN] < from->count && a->train)
        s = lsnn_data_split(cx, &t->rest, train, from, NULL, count[TASK_TRAIN], a->seed);
    else s = lsnn_data_part(cx, train, from, 0, t->set[0].group ? from->count
                                                                : count[TASK_TRAIN]);
    if (s == LSNN_OK && count[TASK_TEST])
        s = lsnn_data_part(cx, &t->data[TASK_TEST], &t->whole[1], 0, count[TASK_TEST]);
    return s;
}

/* Pictures drawn from digits while they are used, clutter cut from training digits.    */
static inline lsnn_status task_draw(app *a, lsnn_ctx *cx, task_sets *t)
{
    app_digits *d = &t->digits;
    int count[TASK_PARTS];
    lsnn_status s = task_count(a, t, d->train_images.dim[0], d->test_images.dim[0], count);
    d->crops = d->train_images;
    if (count[TASK_VALID]) d->crops.dim[0] = count[TASK_TRAIN];
    for (int p = TASK_TRAIN; p < TASK_PARTS && s == LSNN_OK; p++) {
        lsnn_recipe *r = &t->recipe[p];
        r->task = lsnn_task_from_name(t->name);
        r->seed = a->seed;
        r->test = p == TASK_TEST;
        r->images = r->test ? &d->test_images : &d->train_images;
        r->labels = r->test ? &d->test_labels : &d->train_labels;
        r->crops = r->test ? &d->train_images : &d->crops;
        r->fresh = t->fresh && p == TASK_TRAIN;
        r->first = p == TASK_VALID ? count[TASK_TRAIN] : 0;
        r->count = r->test ? 0 : count[p];         /* test images show digits of all  */
        if (count[p]) s = lsnn_data_recipe(cx, &t->data[p], r);
        if (s == LSNN_OK) t->data[p].count = count[p];
    }
    return s;
}

/* The paper trains on 18 of the 25 subjects, with mirrored faces and moved landmarks.  */
static inline lsnn_status task_read_pain(app *a, lsnn_ctx *cx, task_sets *t)
{
    int last = TASK_SUBJECTS - t->holdout;
    lsnn_status s = LSNN_OK;
    if (!a->data || t->holdout >= TASK_SUBJECTS) {
        if (!a->data) app_refuse(a, "--task pain: --data must name the archive's folder");
        else app_refuse(a, "--holdout %d: there are %d subjects to train on", t->holdout,
                        (int)TASK_SUBJECTS);
        return LSNN_EVALUE;
    }
    for (int p = TASK_TRAIN; p < TASK_PARTS && s == LSNN_OK; p++) {
        int first = p == TASK_TRAIN ? 0 : p == TASK_VALID ? last : TASK_SUBJECTS;
        int subjects = p == TASK_TRAIN ? last : p == TASK_VALID ? t->holdout : 0;
        if ((p == TASK_VALID && !t->holdout) || (p == TASK_TEST && t->no_test)) continue;
        s = lsnn_pain_read(cx, &t->pain[p], a->data, first, subjects);
        t->pain[p].flip = p == TASK_TRAIN;
        t->pain[p].noise = p == TASK_TRAIN;
        t->pain[p].seed = a->seed;
        if (s == LSNN_OK) s = lsnn_data_pain(cx, &t->data[p], &t->pain[p]);
    }
    return s;
}

static inline lsnn_status task_load(app *a, lsnn_ctx *cx, task_sets *t)
{
    lsnn_status s;
    if (strcmp(t->name, "pain") == 0) return task_read_pain(a, cx, t);
    s = task_read(a, cx, t);
    if (s != LSNN_OK) return s;
    return task_is_drawn(t) ? task_draw(a, cx, t) : task_cut(a, cx, t);
}

static inline void task_free(lsnn_ctx *cx, task_sets *t)
{
    for (int p = TASK_TRAIN; p < TASK_PARTS; p++) {
        lsnn_data_free(&t->data[p]);
        lsnn_pain_free(cx, &t->pain[p]);
    }
    lsnn_data_free(&t->kept);
    lsnn_data_free(&t->rest);
    for (int test = 0; test < 2; test++) {
        lsnn_data_free(&t->whole[test]);
        lsnn_set_free(cx, &t->set[test]);
    }
    app_digits_free(cx, &t->digits);
    memset(t, 0, sizeof *t);
}

#endif
