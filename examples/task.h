/* task.h - the data sets of the bigger programs, by name: training, held-out and test part.

   Read from their own files (mnist with --mnist, or drawn by the library without; cifar10,
   cifar100, svhn, gtsrb, gtsrb-box, pain with --data), or drawn from MNIST's digits while they are used
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
    lsnn_set set[2];                 /* training, test                                */
    lsnn_data whole[2];
    lsnn_recipe recipe[TASK_PARTS];
    lsnn_idx crops;                  /* the training images that are not held out     */
    lsnn_pain pain[TASK_PARTS];
    unsigned char *room;             /* of built-in digits                            */
} task_sets;

enum { TASK_DIGIT = 28, TASK_BUILT_IN = 60000, TASK_SUBJECTS = 18 };

static inline int task_is_drawn(const task_sets *t)
{
    lsnn_task drawn = lsnn_task_from_name(t->name);
    return drawn != LSNN_TASK_COUNT_ && drawn != LSNN_TASK_DIGITS;
}

static inline int task_of_digits(const task_sets *t)
{
    return task_is_drawn(t) || strcmp(t->name, "mnist") == 0;
}

/* As many digits of the library's own as --train and --test ask for, as bytes.        */
static inline lsnn_status task_draw_digits(app *a, task_sets *t)
{
    size_t area = TASK_DIGIT * TASK_DIGIT;
    int count[2], at = 0;
    count[0] = a->train ? a->train : TASK_BUILT_IN;
    count[1] = a->test ? a->test : TASK_BUILT_IN / 6;
    fprintf(stderr, "%s: no --mnist, so the digits are the built-in ones\n", a->name);
    t->room = (unsigned char *)malloc(((size_t)count[0] + (size_t)count[1]) * (area + 1));
    if (!t->room) {
        app_refuse(a, "no memory for %d + %d digits", count[0], count[1]);
        return LSNN_ENOMEM;
    }
    for (int test = 0; test < 2; test++) {
        lsnn_set *s = &t->set[test];
        lsnn_recipe r;
        memset(&r, 0, sizeof r);
        r.task = LSNN_TASK_DIGITS;
        r.seed = a->seed;
        r.test = test;
        r.count = s->images.dim[0] = s->labels.dim[0] = count[test];
        s->classes = 10;
        s->images.rank = 3;
        s->images.dim[1] = s->images.dim[2] = TASK_DIGIT;
        s->labels.rank = 1;
        s->images.v = t->room + (size_t)at * (area + 1);
        s->labels.v = s->images.v + (size_t)count[test] * area;
        for (int i = 0; i < count[test]; i++)
            lsnn_recipe_draw(&r, 0, i, s->images.v + (size_t)i * area, s->labels.v + i, NULL);
        at += count[test];
    }
    return LSNN_OK;
}

static inline lsnn_status task_read_sets(app *a, lsnn_ctx *cx, task_sets *t)
{
    const char *folder = task_of_digits(t) ? a->mnist : a->data;
    lsnn_status s = LSNN_OK;
    if (task_of_digits(t) && !folder) return task_draw_digits(a, t);
    if (!folder) {
        app_refuse(a, "--task %s: --data must name the folder of its files", t->name);
        return LSNN_EVALUE;
    }
    for (int test = 0; test < 2 && s == LSNN_OK; test++)
        s = lsnn_set_load(cx, &t->set[test], task_of_digits(t) ? "mnist" : t->name, folder, test);
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

static inline lsnn_status task_cut(app *a, lsnn_ctx *cx, task_sets *t)
{
    int count[TASK_PARTS];
    lsnn_status s = LSNN_OK;
    for (int test = 0; test < 2 && s == LSNN_OK; test++)
        s = lsnn_data_set(cx, &t->whole[test], &t->set[test]);
    if (s == LSNN_OK) s = task_count(a, t, t->whole[0].count, t->whole[1].count, count);
    if (s == LSNN_OK && t->set[0].group && t->holdout && !a->train)
        s = lsnn_data_split(cx, &t->data[TASK_TRAIN], &t->data[TASK_VALID], &t->whole[0],
                            t->set[0].group, t->holdout, a->seed);
    for (int p = TASK_TRAIN; p < TASK_PARTS && s == LSNN_OK; p++)
        if (count[p] && !t->data[p].count)
            s = lsnn_data_part(cx, &t->data[p], &t->whole[p == TASK_TEST],
                               p == TASK_VALID ? count[TASK_TRAIN] : 0, count[p]);
    return s;
}

/* Pictures drawn from digits while they are used.                                     */
static inline lsnn_status task_draw(app *a, lsnn_ctx *cx, task_sets *t)
{
    int count[TASK_PARTS];
    lsnn_status s = task_count(a, t, t->set[0].images.dim[0], t->set[1].images.dim[0], count);
    t->crops = t->set[0].images;
    if (count[TASK_VALID]) t->crops.dim[0] = count[TASK_TRAIN];
    for (int p = TASK_TRAIN; p < TASK_PARTS && s == LSNN_OK; p++) {
        lsnn_recipe *r = &t->recipe[p];
        r->task = lsnn_task_from_name(t->name);
        r->seed = a->seed;
        r->test = p == TASK_TEST;
        r->images = &t->set[r->test].images;
        r->labels = &t->set[r->test].labels;
        r->crops = r->test ? &t->set[0].images : &t->crops;
        r->classes = t->set[0].classes;
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
    s = task_read_sets(a, cx, t);
    if (s != LSNN_OK) return s;
    return task_is_drawn(t) ? task_draw(a, cx, t) : task_cut(a, cx, t);
}

static inline void task_free(lsnn_ctx *cx, task_sets *t)
{
    for (int p = TASK_TRAIN; p < TASK_PARTS; p++) {
        lsnn_data_free(&t->data[p]);
        lsnn_pain_free(cx, &t->pain[p]);
    }
    for (int test = 0; test < 2; test++) {
        lsnn_data_free(&t->whole[test]);
        if (!t->room) lsnn_set_free(cx, &t->set[test]);
    }
    free(t->room);
    memset(t, 0, sizeof *t);
}

#endif
