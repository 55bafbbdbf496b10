/* test_resume.c - training that is stopped or killed and goes on from its checkpoint ends
   with the same bits as training that never stopped; what does not fit is refused.

   modes: plain asan | double
   Build: cc -O2 -I. tests/test_resume.c -o tests/test_resume -lm                        */
#define _XOPEN_SOURCE 700
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifndef TEST_LINKED
#define LSNN_IMPLEMENTATION
#endif
#include "lsnn.h"
#include "check.h"
#include "nets.h"

/* 13 steps an epoch, the last of 8 samples; drawn anew each epoch.                       */
enum { BATCH = 16, SAMPLES = 200, STEPS = 13, EPOCHS = 3 };
/* SGD that keeps the best epoch on held-out data, with milestones and patience.           */
enum { WITH_BEST = LSNN_ADAMW + 1, BEST_EPOCHS = 8 };

static char checkpoint[600], finished[600];

static lsnn_data digit_data(lsnn_ctx *cx, lsnn_recipe *r, int count)
{
    lsnn_data d;
    memset(r, 0, sizeof *r);
    r->seed = 11;
    r->count = count;
    r->fresh = 1;
    CHECK(lsnn_data_recipe(cx, &d, r) == LSNN_OK);
    return d;
}

static lsnn_fit_desc plan_fit(int method)
{
    lsnn_fit_desc d;
    memset(&d, 0, sizeof d);
    d.epochs = EPOCHS;
    d.optimizer.method = (lsnn_method)method;
    d.optimizer.weight_decay = 1e-3;
    if (method == LSNN_SGD) {
        d.optimizer.lr = 0.02;
        d.optimizer.momentum = 0.9;
    }
    if (method == WITH_BEST) {
        d.optimizer.method = LSNN_SGD;
        d.optimizer.lr = 0.05;
        d.epochs = BEST_EPOCHS;
        d.milestones[0] = 2;
        d.keep_best = 1;
        d.patience = 2;
    }
    if (method == LSNN_ADAMW) {
        d.optimizer.schedule = LSNN_COSINE;
        d.optimizer.warmup_steps = 5;
        d.optimizer.clip_norm = 1;
    }
    return d;
}

/* A net with parameters of this seed (a resume brings its own), trained as planned.       */
typedef struct run { lsnn_ctx cx; lsnn_net *net; lsnn_status status; lsnn_progress last; } run;

static run *train(const char *model, const lsnn_fit_desc *plan, uint64_t seed, int batch,
                  int samples)
{
    run *r = (run *)calloc(1, sizeof *r);
    lsnn_fit_desc d = *plan;
    lsnn_recipe recipe, unseen;
    lsnn_data data, held_out;
    r->cx = quiet_ctx();
    r->cx.threads = 1;                   /* a forked child of a program with threads hangs */
    data = digit_data(&r->cx, &recipe, samples);
    held_out = digit_data(&r->cx, &unseen, 40);
    unseen.test = 1;
    unseen.fresh = 0;
    if (d.keep_best) d.valid = &held_out;
    r->net = small_net(&r->cx, model, 28, batch, seed);
    d.last = &r->last;
    r->status = r->net ? lsnn_fit(r->net, &data, &d) : LSNN_ENOMEM;
    lsnn_data_free(&data);
    lsnn_data_free(&held_out);
    return r;
}
static void run_free(run *r)
{
    lsnn_net_free(r->net);
    lsnn_ctx_free(&r->cx);
    free(r);
}

/* 1 if two runs ended with the same bits and the same report.                             */
static int same_run(run *a, run *b)
{
    lsnn_real *u = net_values(a->net), *v = net_values(b->net);
    int same = same_bits(u, v, net_size(a->net));
    free(u);
    free(v);
    return same && a->last.loss == b->last.loss && a->last.error == b->last.error &&
           a->last.lr == b->last.lr && a->last.step == b->last.step &&
           a->last.epoch == b->last.epoch && a->last.best == b->last.best &&
           a->last.best_epoch == b->last.best_epoch;
}

static int stop_at(const lsnn_progress *p, void *user)
{
    return !p->epoch_done && p->epoch * STEPS + p->step == *(int *)user;
}

static void test_stops(void)
{
    static const char *const name[] = { "SGD with momentum", "Adam", "AdamW with cosine",
        "the best epoch, milestones and patience" };
    for (int method = LSNN_SGD; method <= WITH_BEST; method++) {
        lsnn_fit_desc plan = plan_fit(method), part = plan;
        run *whole = train("content", &plan, 4, BATCH, SAMPLES);
        int steps = (whole->last.epoch + 1) * STEPS;
        CHECK(whole->status == LSNN_OK);
        for (int at = 1; at < steps; at += method == WITH_BEST ? 12 : 6) {
            run *first, *second;
            part = plan;
            part.progress = stop_at;
            part.user = &at;
            part.save = checkpoint;
            first = train("content", &part, 4, BATCH, SAMPLES);
            CHECK(first->status == LSNN_STOPPED && first->cx.status == LSNN_OK);
            part = plan;
            part.resume = checkpoint;
            second = train("content", &part, 99, BATCH, SAMPLES);
            CHECK(second->status == LSNN_OK);
            CHECK(method == WITH_BEST || !same_run(whole, first));
            if (!CHECK(same_run(whole, second))) printf("# stopped at step %d\n", at);
            run_free(first);
            run_free(second);
        }
        run_free(whole);
        test_end("%s: stopped at any step and resumed in a new net: the same bits",
                 name[method]);
    }
    CHECK(heap.live == 0);
}

/* Several stops on the way, each resumed run writing the next checkpoint.                 */
static void test_chain(const char *model)
{
    lsnn_fit_desc plan = plan_fit(LSNN_SGD), part = plan;
    run *whole = train(model, &plan, 4, BATCH, SAMPLES), *last = NULL;
    part.save = checkpoint;
    part.progress = stop_at;
    for (int at = 5; at < 100 && (!last || last->status == LSNN_STOPPED); at += 8) {
        if (last) run_free(last);
        part.user = &at;
        last = train(model, &part, 4, BATCH, SAMPLES);
        part.resume = checkpoint;
    }
    CHECK(last && last->status == LSNN_OK && same_run(whole, last));
    if (last) run_free(last);
    part.progress = NULL;                /* finished: a resume has nothing left to do     */
    last = train(model, &part, 5, BATCH, SAMPLES);
    CHECK(last->status == LSNN_OK);
    CHECK(net_is(last->net, net_values(whole->net)));
    run_free(last);
    run_free(whole);
    CHECK(heap.live == 0);
    test_end("%s stopped five times on the way: the same bits", model);
}

/* Which steps are saved: each multiple of save_every, also one that ends an epoch.         */
typedef struct saves { int every, bad, steps; } saves;
static int watch_saves(const lsnn_progress *p, void *user)
{
    saves *s = (saves *)user;
    int last = p->epoch * STEPS + p->step - 1;   /* the file is written after the report   */
    lsnn_ctx cx = quiet_ctx();
    lsnn_file f;
    int saved = 0;
    if (p->epoch_done) return 0;
    if (lsnn_file_read(&cx, &f, checkpoint) == LSNN_OK) {
        saved = atoi(lsnn_file_meta(&f, "lsnn.step"));
        lsnn_file_free(&cx, &f);
    }
    s->bad += saved != last / s->every * s->every;
    s->steps++;
    return 0;
}

static void test_save_every(void)
{
    saves s = { 4, 0, 0 };
    for (int i = 0; i < 2; i++, s.every = STEPS) {
        lsnn_fit_desc plan = plan_fit(LSNN_SGD);
        run *r;
        plan.save = checkpoint;
        plan.save_every = s.every;
        plan.progress = watch_saves;
        plan.user = &s;
        s.bad = s.steps = 0;
        remove(checkpoint);
        r = train("cnn", &plan, 4, BATCH, SAMPLES);
        CHECK(r->status == LSNN_OK && s.bad == 0 && s.steps == EPOCHS * STEPS);
        run_free(r);
    }
    test_end("save_every saves each of its steps, at the end of an epoch too");
}

/* ---- kill -9 ---------------------------------------------------------------------------- */
/* Goes on from the checkpoint if there is one, saving every second step; then saves the net. */
static int child_train(void)
{
    lsnn_fit_desc plan = plan_fit(LSNN_SGD);
    run *r;
    int good;
    plan.save = checkpoint;
    plan.save_every = 2;
    if (access(checkpoint, F_OK) == 0) plan.resume = checkpoint;
    r = train("content", &plan, 4, BATCH, SAMPLES);
    good = r->status == LSNN_OK && lsnn_net_save(r->net, finished) == LSNN_OK;
    run_free(r);
    return good ? 0 : 1;
}

static void wait_ms(double ms)
{
    struct timespec t;
    t.tv_sec = (time_t)(ms / 1000);
    t.tv_nsec = (long)(fmod(ms, 1000) * 1e6);
    nanosleep(&t, NULL);
}

static pid_t start_child(void)
{
    pid_t pid;
    fflush(stdout);
    pid = fork();
    if (pid == 0) _exit(child_train());
    return pid;
}

/* The checkpoint is whole, whatever happened: its step, or 0 if there is none yet.         */
static int checkpoint_step(void)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_file f;
    int step;
    if (access(checkpoint, F_OK) != 0) return 0;
    if (!CHECK(lsnn_file_read(&cx, &f, checkpoint) == LSNN_OK)) {
        printf("# %s\n", cx.message);
        return -1;
    }
    step = atoi(lsnn_file_meta(&f, "lsnn.step"));
    lsnn_file_free(&cx, &f);
    return step;
}

static void test_kills(void)
{
    lsnn_fit_desc plan = plan_fit(LSNN_SGD);
    run *whole = train("content", &plan, 4, BATCH, SAMPLES);
    lsnn_rng r = lsnn_rng_at(5, "test", "kill", 0, 0);
    int kills = 0, step = 0, status = 0;
    lsnn_net *net;
    double life = 1;
    remove(checkpoint);
    remove(finished);
    for (int tries = 0; tries < 300; tries++) {
        pid_t pid = start_child();
        int now;
        if (!CHECK(pid > 0)) break;
        wait_ms(life * (0.5 + lsnn_rng_uniform(&r)));
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        now = checkpoint_step();
        CHECK(now >= step);              /* no older state ever comes back                 */
        if (WIFEXITED(status)) break;
        kills++;
        if (now < step + 2) life *= 1.3; /* long enough to get on, short enough to be killed */
        else if (now > step + 8) life *= 0.7;
        step = now;
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(kills >= 5);
    net = small_net(&whole->cx, "content", 28, BATCH, 8);
    CHECK(lsnn_net_read(net, finished) == LSNN_OK);
    CHECK(net_is(net, net_values(whole->net)));
    lsnn_net_free(net);
    run_free(whole);
    CHECK(heap.live == 0);
    test_end("killed %d times, each time resumed by a new process: the same bits", kills);
}

/* Stopped at an epoch's last step: the epoch is reported all the same, and once.          */
static int ends[EPOCHS], stop_after;
static int count_ends(const lsnn_progress *p, void *user)
{
    (void)user;
    if (p->epoch_done) ends[p->epoch]++;
    return !p->epoch_done && p->epoch * STEPS + p->step == stop_after;
}
static void test_ends(void)
{
    lsnn_fit_desc plan = plan_fit(LSNN_SGD);
    memset(ends, 0, sizeof ends);
    plan.save = checkpoint;
    plan.progress = count_ends;
    for (stop_after = STEPS; stop_after <= EPOCHS * STEPS; stop_after += STEPS) {
        run *r = train("cnn", &plan, 3, BATCH, SAMPLES);
        CHECK(r->status == LSNN_STOPPED);
        run_free(r);
        plan.resume = checkpoint;
    }
    for (int i = 0; i < EPOCHS; i++) CHECK(ends[i] == 1);
    remove(checkpoint);
    test_end("each epoch is reported once, also one that was stopped at its last step");
}

/* ---- what does not fit ------------------------------------------------------------------ */
static void refuse_resume(const char *model, int method, int batch, int samples,
                          lsnn_status want, const char *needle)
{
    lsnn_ctx cx = quiet_ctx();
    lsnn_fit_desc plan = plan_fit(method);
    lsnn_recipe recipe;
    lsnn_data data = digit_data(&cx, &recipe, samples);
    lsnn_net *net = small_net(&cx, model, 28, batch, 4), *twin;
    lsnn_real *before = net_values(net);
    cx.threads = 1;
    plan.epochs = 2;
    plan.resume = checkpoint;
    plan.save = finished;
    remove(finished);
    REFUSED(&cx, lsnn_fit(net, &data, &plan) == want, want, needle);
    CHECK(access(finished, F_OK) != 0);
    CHECK(net_is(net, before));
    plan.save = plan.resume = NULL;      /* nor seed, optimizer or gradients have changed   */
    twin = small_net(&cx, model, 28, batch, 4);
    CHECK(lsnn_fit(net, &data, &plan) == LSNN_OK && lsnn_fit(twin, &data, &plan) == LSNN_OK);
    CHECK(net_is(net, net_values(twin)));
    lsnn_net_free(net);
    lsnn_net_free(twin);
    lsnn_data_free(&data);
    lsnn_ctx_free(&cx);
}

static void test_refused(void)
{
    int at = 15;
    lsnn_fit_desc plan = plan_fit(LSNN_ADAM);
    run *r;
    FILE *f;
    plan.save = checkpoint;
    plan.progress = stop_at;
    plan.user = &at;
    r = train("cnn", &plan, 77, BATCH, SAMPLES);
    CHECK(r->status == LSNN_STOPPED);
    refuse_resume("cnn", LSNN_ADAM, BATCH + 1, SAMPLES, LSNN_ESTATE, "batch 16");
    refuse_resume("cnn", LSNN_ADAM, BATCH, SAMPLES + 1, LSNN_ESTATE, "200 samples");
    refuse_resume("cnn", LSNN_SGD, BATCH, SAMPLES, LSNN_ESTATE, "trained by adam");
    refuse_resume("cnn", LSNN_ADAMW, BATCH, SAMPLES, LSNN_ESTATE, "trained by adam");
    refuse_resume("lc", LSNN_ADAM, BATCH, SAMPLES, LSNN_ESHAPE, "conv1.weight");
    refuse_resume("content", LSNN_ADAM, BATCH, SAMPLES, LSNN_EFORMAT, "no tensor");
    lsnn_clear(&r->cx);
    run_free(r);
    plan.keep_order = 1;
    r = train("cnn", &plan, 77, BATCH, SAMPLES);
    refuse_resume("cnn", LSNN_ADAM, BATCH, SAMPLES, LSNN_ESTATE, "keep_order 1, this");
    plan.keep_order = 0;
    run_free(r);
    at = 2 * STEPS + 3;                  /* in the third epoch, where two are asked for     */
    r = train("cnn", &plan, 77, BATCH, SAMPLES);
    refuse_resume("cnn", LSNN_ADAM, BATCH, SAMPLES, LSNN_ESTATE, "for 2 epochs");
    at = 8;
    plan.note = "digits";
    run_free(r);
    r = train("cnn", &plan, 77, BATCH, SAMPLES);
    refuse_resume("cnn", LSNN_ADAM, BATCH, SAMPLES, LSNN_ESTATE, "\"digits\", here it is \"\"");
    plan.note = "donn\xE9" "es";         /* Latin-1: refused before a step, not at the save  */
    run_free(r);
    r = train("cnn", &plan, 77, BATCH, SAMPLES);
    CHECK(r->status == LSNN_EVALUE && strstr(r->cx.message, "lsnn_fit: note"));
    lsnn_clear(&r->cx);
    CHECK(lsnn_net_save(r->net, checkpoint) == LSNN_OK);
    refuse_resume("cnn", LSNN_ADAM, BATCH, SAMPLES, LSNN_EFORMAT, "no checkpoint");
    f = fopen(checkpoint, "wb");
    if (CHECK(f != NULL)) {
        fputs("not a checkpoint at all", f);
        fclose(f);
    }
    refuse_resume("cnn", LSNN_ADAM, BATCH, SAMPLES, LSNN_EFORMAT, checkpoint);
    remove(checkpoint);
    refuse_resume("cnn", LSNN_ADAM, BATCH, SAMPLES, LSNN_EIO, checkpoint);
    run_free(r);
    CHECK(heap.live == 0);
    test_end("another batch, data set, optimizer or net: refused, nothing changes");
}

/* A training that patience ended has nothing left to do; its checkpoint is a net, too.      */
static void test_best_checkpoint(void)
{
    lsnn_fit_desc plan = plan_fit(WITH_BEST), part;
    run *whole, *again;
    lsnn_net *loaded;
    lsnn_real *trained;
    plan.save = checkpoint;
    whole = train("content", &plan, 4, BATCH, SAMPLES);
    CHECK(whole->status == LSNN_OK && whole->last.best_epoch > 0);
    CHECK(whole->last.epoch == whole->last.best_epoch + plan.patience);
    CHECK(whole->last.epoch < BEST_EPOCHS - 1);
    part = plan;
    part.resume = checkpoint;
    part.save = finished;
    remove(finished);
    again = train("content", &part, 99, BATCH, SAMPLES);
    CHECK(again->status == LSNN_OK && again->last.epoch == whole->last.epoch &&
          again->last.epoch_done && access(finished, F_OK) == 0);
    CHECK(again->last.best == whole->last.best);
    CHECK(net_is(again->net, net_values(whole->net)));
    loaded = lsnn_net_load(&again->cx, finished, NULL, NULL, 0);
    if (CHECK(loaded != NULL)) {         /* as it was trained last                          */
        trained = net_values(loaded);
        CHECK(!net_is(whole->net, trained));
    }
    lsnn_net_free(loaded);
    run_free(again);
    part.keep_best = 0;                  /* the net of the last epoch, patience still at its end */
    part.patience = 0;
    part.resume = finished;
    again = train("content", &part, 99, BATCH, SAMPLES);
    CHECK(again->status == LSNN_OK && again->last.epoch == BEST_EPOCHS - 1);
    run_free(again);
    part = plan;                         /* what that run has saved has no best           */
    part.resume = finished;
    again = train("content", &part, 4, BATCH, SAMPLES);
    CHECK(again->status == LSNN_ESTATE && strstr(again->cx.message, "no best to keep"));
    lsnn_clear(&again->cx);
    run_free(again);
    run_free(whole);
    CHECK(heap.live == 0);
    test_end("patience's end and the best epoch are in the checkpoint, which loads as a net");
}

/* Metadata that lie: a status, and nothing changes.                                         */
static void test_liars(void)
{
    static const char *const key[] = { "lsnn.step", "lsnn.epoch", "lsnn.done", "lsnn.seed.low",
        "lsnn.epoch.samples", "lsnn.optimizer", "lsnn.batch", "lsnn.best", "lsnn.best.epoch" };
    static const char *const value[] = { "-1", "nan", "inf", "1e300", "", "many", "0x", "1 1" };
    int at = 15, cases = 0;
    lsnn_fit_desc plan = plan_fit(WITH_BEST);
    run *r;
    plan.save = checkpoint;
    plan.progress = stop_at;
    plan.user = &at;
    r = train("cnn", &plan, 77, BATCH, SAMPLES);
    for (size_t k = 0; k < sizeof key / sizeof *key; k++)
        for (size_t v = 0; v < sizeof value / sizeof *value; v++) {
            lsnn_ctx cx = quiet_ctx();
            lsnn_file f;
            run *again;
            int any = strcmp(key[k], "lsnn.best") == 0 && v != 1 && v != 2;
            if (any && strtod(value[v], NULL) != 0) continue;      /* a loss may be anything */
            CHECK(lsnn_file_read(&cx, &f, checkpoint) == LSNN_OK);
            for (int i = 0; i < f.metas; i++)
                if (strcmp(f.meta[i].key, key[k]) == 0) f.meta[i].value = value[v];
            CHECK(lsnn_file_write(&cx, finished, f.tensor, f.tensors, f.meta, f.metas) ==
                  LSNN_OK);
            lsnn_file_free(&cx, &f);
            plan.resume = finished;
            plan.save = NULL;
            again = train("cnn", &plan, 3, BATCH, SAMPLES);
            if (!CHECK(again->status < 0)) printf("# %s is \"%s\"\n", key[k], value[v]);
            run_free(again);
            cases++;
        }
    run_free(r);
    CHECK(heap.live == 0);
    test_end("%d checkpoints with metadata that lie are refused", cases);
}

int main(void)
{
    const char *folder = getenv("TEST_TMP");
    snprintf(checkpoint, sizeof checkpoint, "%.500s/test_resume.tmp.safetensors",
             folder ? folder : ".");
    snprintf(finished, sizeof finished, "%.500s/test_resume.tmp.end.safetensors",
             folder ? folder : ".");
    test_kills();                        /* before anything else: it forks                  */
    test_stops();
    test_chain("lc");
    test_chain("tkn");
    test_save_every();
    test_ends();
    test_refused();
    test_best_checkpoint();
    test_liars();
    remove(checkpoint);
    remove(finished);
    return test_finish();
}
