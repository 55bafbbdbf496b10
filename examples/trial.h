/* trial.h - one net, trained on one task and tested on it: what tkn, convnet,
   locally_connected and dsc have in common. Include app.h and task.h before it.

   A program says its flags, its nets and what else its result line tells. The rest:

       n = trial_begin(&t, own, "tkn", "about", "--task mnist", "mnist|svhn", "cnn6|tkn6");
       ...  own[n++] = ...                         // its own flags and defaults
       status = app_parse(&t.a, argc, argv, own, n);
       if (status == APP_GO) status = trial_start(&t, &cx);
       ...  t.net = ...  task_load(&t.a, &cx, &t.task)
       ...  s = trial_fit(&t, &d, "", "");
       ...  s = trial_test(&t, &outcome);          // fills it; app_result prints it
       return trial_end(&t, &cx, s);                                                   */
#ifndef LSNN_EXAMPLES_TRIAL_H
#define LSNN_EXAMPLES_TRIAL_H

typedef struct trial {
    app a;
    task_sets task;
    const char *model;
    lsnn_net *net;
} trial;

/* The common flags of them all; TRIAL_FLAGS " data" where a task has files of its own. */
#define TRIAL_FLAGS "seed epochs batch lr threads device train test mnist out save save-every " \
                    "resume early-stop log quiet list summary profile"

/* Returns how many flags it has put into own.                                         */
static inline int trial_begin(trial *t, app_flag *own, const char *name, const char *about,
                              const char *example, const char *tasks, const char *models)
{
    app_init(&t->a, name, about, example);
    t->a.takes = TRIAL_FLAGS " data";
    t->a.out = "out";
    own[0] = app_choice("task", &t->task.name, tasks, "which data set");
    own[1] = app_choice("model", &t->model, models, "which network");
    return 2;
}

static inline int trial_holdout_flags(trial *t, app_flag *own)
{
    own[0] = app_int("holdout", &t->task.holdout, 0, 1000000, "training images kept to watch");
    own[1] = app_switch("no-test", &t->task.no_test,
                        "leave the test set alone: report the holdout");
    return 2;
}

/* app_start, and the net's file: OUT/TASK-MODEL without --save. APP_GO, or main's status. */
static inline int trial_start(trial *t, lsnn_ctx *cx)
{
    char name[64];
    int status = app_check_holdout(&t->a, t->task.holdout, t->task.no_test);
    snprintf(name, sizeof name, "%.30s-%.30s", t->task.name, t->model);
    if (status == APP_GO) status = app_start(&t->a, cx);
    return status == APP_GO ? app_default_save(&t->a, name) : status;
}

/* 300 steps of warm-up, or a tenth of a short training; then cosine.                  */
static inline void trial_warm_up(const trial *t, lsnn_fit_desc *d)
{
    int steps = (t->task.data[TASK_TRAIN].count + t->a.batch - 1) / t->a.batch * t->a.epochs;
    d->optimizer.warmup_steps = steps < 3000 ? steps / 10 : 300;
    d->optimizer.schedule = LSNN_COSINE;
}

/* Trains. The note, by which a resume on other pictures is refused: "task=... seed=...", and
   between them and behind them what else decides about the pictures, "" or " key=value". */
static inline lsnn_status trial_fit(trial *t, lsnn_fit_desc *d, const char *of_task,
                                    const char *of_seed)
{
    const lsnn_data *data = t->task.data;
    char note[112];
    snprintf(note, sizeof note, "task=%s%s seed=%.0f%s data=%08x", t->task.name, of_task,
             (double)t->a.seed, of_seed, app_data_mark(&data[TASK_TRAIN]));
    d->note = note;
    if (data[TASK_VALID].count) d->valid = &data[TASK_VALID];
    return app_fit(&t->a, t->net, &data[TASK_TRAIN], d);
}

/* What the result is measured on.                                                     */
static inline const lsnn_data *trial_tested(const trial *t)
{
    return &t->task.data[t->task.no_test ? TASK_VALID : TASK_TEST];
}

/* The outcome but for the program's own settings and costs.                           */
static inline lsnn_status trial_test(const trial *t, app_outcome *r)
{
    lsnn_score score;
    lsnn_status s;
    memset(&score, 0, sizeof score);
    memset(r, 0, sizeof *r);
    s = lsnn_evaluate(t->net, trial_tested(t), &score);
    r->task = t->task.name;
    r->model = t->model;
    r->error = score.error;
    r->train = t->task.data[TASK_TRAIN].count;
    r->test = t->task.no_test ? 0 : trial_tested(t)->count;
    r->fresh = t->task.fresh;
    return s;
}

/* Gives all back; main's exit status.                                                 */
static inline int trial_end(trial *t, lsnn_ctx *cx, lsnn_status s)
{
    task_free(cx, &t->task);
    lsnn_net_free(t->net);
    lsnn_ctx_free(cx);
    return app_end(&t->a, s);
}

#endif
