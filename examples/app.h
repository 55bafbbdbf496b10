/* app.h - what the bigger programs share: flags, progress, Ctrl-C, CSV log, result line.

   Uses the public API of lsnn.h only. A program reads from top to bottom:

       #define LSNN_IMPLEMENTATION
       #include "../lsnn.h"
       #include "app.h"

       int main(int argc, char **argv)
       {
           static lsnn_ctx cx;
           static app a;                              // all zero
           const char *task = "cluttered";
           app_flag own[1];
           int status;
           app_init(&a, "lsnn_mnist", "trains a network on one of the paper's tasks",
                    "--task cluttered --epochs 5 --save net.safetensors");
           a.epochs = 10;                             // defaults, shown by --help
           own[0] = app_choice("task", &task, "cluttered|arrow", "which data");
           own[1] = app_read_flag("load", &load, "NET", "begin with this net");
           own[2] = app_draw_flag("figure", &figure, "OUT.png", "draw what it looks at");
           status = app_parse(&a, argc, argv, own, 3);
           if (status != APP_GO) return status;       // 0 after --help, 2 after a bad flag
           status = app_start(&a, &cx);               // threads, LSNN_ISA, Ctrl-C, all files
           if (status == APP_GO) status = app_default_save(&a, "TASK-MODEL");
           if (status != APP_GO) return status;
           ...  lsnn_fit_desc d = zero;  fit = app_fit(&a, net, &train, &d);
           if (fit == LSNN_OK) app_result(&a, net, &result);
           return app_end(&a, fit);
       }

   What a run learned is not lost: a net or a log that is there is replaced by --overwrite
   alone, and by nothing before an epoch is learned; two runs cannot write one file; no output
   is an input's file or another output's.
   Flags are written --name VALUE or --name=VALUE; the last one wins. Exit status: 0 done,
   1 failed, 2 bad flag, 128 + signal after Ctrl-C (130) or SIGTERM (143).                */
#ifndef APP_H
#define APP_H

#include "../lsnn.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#ifdef _WIN32
#include <direct.h>
#include <io.h>
#include <share.h>
#else
#include <unistd.h>
#endif

enum { APP_GO = -1 };                /* "go on": every other status is main's own */
enum { APP_MAX_FLAGS = 48, APP_MAX_WORDS = 8, APP_COLUMNS = 79, APP_PATH = 1024,
       APP_MAX_FILES = 16 };

/* ---- >>flags: a table that names, checks and explains each one -----------------*/
typedef enum app_kind {
    APP_SWITCH,                      /* int: 1 when given; takes no value         */
    APP_INT,                         /* int in [low, high]                        */
    APP_SIZE,                        /* uint64_t in [low, high]                   */
    APP_REAL,                        /* double in [low, high], finite             */
    APP_TEXT,                        /* const char *, not empty                   */
    APP_CHOICE,                      /* const char *, one of meta: "cnn|lc"       */
    APP_READ, APP_DRAW               /* const char *, a file that is read; a PNG that is written */
} app_kind;

typedef struct app_flag {
    const char *name;                /* without its dashes                        */
    app_kind kind;
    void *value;                     /* what it points to is the default          */
    double low, high;
    const char *meta;                /* the value's name in --help                */
    const char *help;
} app_flag;

/* A file that the run reads or writes.                                           */
typedef struct app_file {
    const char *flag;
    char path[APP_PATH];
    int output;
    struct stat before, locked;      /* all zero: there was no file, no lock      */
    char lock_path[APP_PATH];
    int lock;                        /* its descriptor, or -1                     */
} app_file;

typedef struct app {
    const char *name, *about, *example;    /* set by app_init                     */
    /* Set between app_init and app_parse:                                        */
    const char *takes;               /* common flags it takes, "seed epochs"; NULL: all */
    const char *word_names;          /* "TASK", "MODEL FILE.png", "LOG ..."; NULL: none */
    /* The common flags. 0 and NULL mean "not given".                             */
    uint64_t seed;
    int epochs, batch, threads, train, test, save_every, early_stop;
    double lr;
    const char *data, *mnist, *out, *save, *resume, *log;
    const char *device;              /* for lsnn_build_desc                       */
    int overwrite, quiet, list, summary, profile, help;
    const char *word[APP_MAX_WORDS]; /* arguments that are no flags               */
    int words;
    void (*watch)(const lsnn_progress *p, void *user);   /* app_fit calls it after each step */
    void *watch_user;
    lsnn_progress last;              /* the last progress of app_fit              */
    int ranks, follows;              /* processes of this run; 1: this one only helps */
    int idle;                        /* set before app_start, as --summary does: it trains */
                                     /*   nothing, so it writes no net and no log */
    /* Private.                                                                   */
    int argc;
    char **argv;
    app_flag flag[APP_MAX_FLAGS];
    int flags;
    app_file file[APP_MAX_FILES];
    int files;
    char default_save[APP_PATH];
    lsnn_fit_desc *fit;              /* while app_fit runs                        */
    int saves;                       /* checkpoints are written by now            */
    FILE *csv;
    int csv_failed, csv_begun;
    int terminal, line_length;       /* stderr is one; what stands on its line    */
    int held_out;                    /* images of the valid set                   */
    int regression;                  /* numbers are learned, not classes: there is no error */
    int seen;                        /* the two below are set                     */
    double first_step, first_seconds;      /* where this run began                */
    double drawn;                    /* seconds of the last redraw                */
} app;

static inline app_flag app_flag_make(const char *name, app_kind kind, void *value, double low,
                                     double high, const char *meta, const char *help)
{
    app_flag f;
    f.name = name;
    f.kind = kind;
    f.value = value;
    f.low = low;
    f.high = high;
    f.meta = meta;
    f.help = help;
    return f;
}
static inline app_flag app_switch(const char *name, int *v, const char *help)
{
    return app_flag_make(name, APP_SWITCH, v, 0, 1, "", help);
}
static inline app_flag app_int(const char *name, int *v, int low, int high, const char *help)
{
    return app_flag_make(name, APP_INT, v, low, high, "N", help);
}
static inline app_flag app_size(const char *name, uint64_t *v, double high, const char *help)
{
    return app_flag_make(name, APP_SIZE, v, 0, high, "N", help);
}
static inline app_flag app_real(const char *name, double *v, double low, double high,
                                const char *help)
{
    return app_flag_make(name, APP_REAL, v, low, high, "X", help);
}
static inline app_flag app_text(const char *name, const char **v, const char *meta,
                                const char *help)
{
    return app_flag_make(name, APP_TEXT, (void *)v, 0, 0, meta, help);
}
static inline app_flag app_choice(const char *name, const char **v, const char *choices,
                                  const char *help)
{
    return app_flag_make(name, APP_CHOICE, (void *)v, 0, 0, choices, help);
}

/* Files of the run: app_start finds, checks and locks them.                      */
static inline app_flag app_read_flag(const char *name, const char **v, const char *meta,
                                     const char *help)
{
    return app_flag_make(name, APP_READ, (void *)v, 0, 0, meta, help);
}
static inline app_flag app_draw_flag(const char *name, const char **v, const char *meta,
                                     const char *help)
{
    return app_flag_make(name, APP_DRAW, (void *)v, 0, 0, meta, help);
}

/* Where a standard stream is closed, the next file that is opened would get its number, and
   what is printed. What is printed to a closed stdout fails: app_end says so.    */
static inline void app_hold_streams(void)
{
#ifndef _WIN32
    for (int k = 0; k < 3; k++)
        if (fcntl(k, F_GETFD) == -1 && open("/dev/null", k < 2 ? O_RDONLY : O_WRONLY) != k)
            return;                            /* no /dev/null: nothing can be done   */
#endif
}

static inline void app_init(app *a, const char *name, const char *about, const char *example)
{
    app_hold_streams();
    memset(a, 0, sizeof *a);
    a->name = name;
    a->about = about;
    a->example = example;
    a->seed = 1;
}

/* Prints "NAME: message" on stderr and returns 2.                                */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static inline int app_refuse(const app *a, const char *format, ...)
{
    va_list list;
    fprintf(stderr, "%s: ", a->name);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fprintf(stderr, "\n");
    return 2;
}

/* Whether all that was printed on stdout has arrived; 0 after a message.         */
static inline int app_printed(const app *a)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return 1;
    app_refuse(a, "writing to standard output failed");
    return 0;
}

/* 1 if text[0..length) is one of the words of list, which stand between marks.   */
static inline int app_is_in(const char *list, char mark, const char *text, size_t length)
{
    while (*list) {
        const char *end = strchr(list, mark);
        size_t n = end ? (size_t)(end - list) : strlen(list);
        if (n == length && length > 0 && memcmp(list, text, n) == 0) return 1;
        list += end ? n + 1 : n;
    }
    return 0;
}

/* The common flags that this program takes, then its own, into a->flag.          */
static inline void app_table(app *a, const app_flag *own, int count)
{
    app_flag *t = a->flag;
    app_flag all[24];
    int n = 0, kept = 0;
    all[n++] = app_size("seed", &a->seed, 9007199254740992.0, "of every random draw");
    all[n++] = app_int("epochs", &a->epochs, 1, 1000000, "times through the training set");
    all[n++] = app_int("batch", &a->batch, 1, 65536, "images a step");
    all[n++] = app_real("lr", &a->lr, 1e-12, 1e6, "learning rate");
    all[n++] = app_int("threads", &a->threads, 0, 1024, "0: OMP_NUM_THREADS, or all cores");
    all[n++] = app_text("device", &a->device, "cpu|cuda", "where the net runs (docs/cuda.md)");
    all[n++] = app_int("train", &a->train, 1, INT_MAX, "training images");
    all[n++] = app_int("test", &a->test, 1, INT_MAX, "test images");
    all[n++] = app_text("data", &a->data, "DIR", "folder of the generated data set");
    all[n++] = app_text("mnist", &a->mnist, "DIR", "folder of MNIST's four files");
    all[n++] = app_text("out", &a->out, "DIR", "folder for what is written");
    all[n++] = app_text("save", &a->save, "FILE", "checkpoint, written again and again");
    all[n++] = app_switch("overwrite", &a->overwrite, "replace the net and the log that are there");
    all[n++] = app_int("save-every", &a->save_every, 1, INT_MAX, "steps between checkpoints");
    all[n++] = app_text("resume", &a->resume, "FILE", "go on from this checkpoint");
    all[n++] = app_int("early-stop", &a->early_stop, 1, 1000000,
                       "end after N epochs without a better held-out error; keep the best");
    all[n++] = app_text("log", &a->log, "FILE.csv", "a line an epoch; goes on with --resume");
    all[n++] = app_switch("quiet", &a->quiet, "no progress, only results");
    all[n++] = app_switch("list", &a->list, "name what there is");
    all[n++] = app_switch("summary", &a->summary, "print the network's table; needs no data");
    all[n++] = app_switch("profile", &a->profile, "print what each layer's time was");
    for (int i = 0; i < n; i++)
        if (!a->takes || app_is_in(a->takes, ' ', all[i].name, strlen(all[i].name)) ||
            (all[i].value == &a->overwrite && app_is_in(a->takes, ' ', "save", 4)))
            t[kept++] = all[i];
    t[kept++] = app_switch("help", &a->help, "print this");
    for (int i = 0; i < count && kept < APP_MAX_FLAGS; i++) t[kept++] = own[i];
    a->flags = kept;
}

static inline void app_print_default(const app_flag *f)
{
    const char *text;
    switch (f->kind) {
    case APP_SWITCH: break;
    case APP_INT: if (*(int *)f->value) printf(" (%d)", *(int *)f->value); break;
    case APP_SIZE: printf(" (%.0f)", (double)*(uint64_t *)f->value); break;
    case APP_REAL: if (*(double *)f->value > 0) printf(" (%g)", *(double *)f->value); break;
    case APP_TEXT: case APP_CHOICE: case APP_READ: case APP_DRAW:
        text = *(const char **)f->value;
        if (text) printf(" (%s)", text);
    }
}

static inline void app_print_help(const app *a)
{
    const app_flag *t = a->flag;
    printf("%s - %s\n\nUsage:   %s %s%s[flags]\nExample: %s %s\n\n", a->name, a->about, a->name,
           a->word_names ? a->word_names : "", a->word_names ? " " : "", a->name, a->example);
    for (int i = 0; i < a->flags; i++) {
        int width = printf("  --%s %s", t[i].name, t[i].kind == APP_CHOICE ? "" : t[i].meta);
        printf("%*s%s", width < 24 ? 24 - width : 1, "", t[i].help);
        app_print_default(&t[i]);
        if (t[i].kind == APP_CHOICE) printf("\n%24s%s", "", t[i].meta);
        printf("\n");
    }
    printf("\nLSNN_ISA=avx512|avx2|neon|portable forces an instruction set.\n");
}

/* Reads one value; 2 if it does not fit, with a message that names the flag.     */
static inline int app_read_value(const app *a, const app_flag *f, const char *v)
{
    char *end = NULL;
    int good = *v != 0 && *v != ' ';
    errno = 0;
    if (f->kind == APP_INT || f->kind == APP_SIZE) {
        int minus = *v == '-';
        unsigned long long n = strtoull(v + minus, &end, 10);
        double signed_n = minus ? -(double)n : (double)n;
        good = good && v[minus] >= '0' && v[minus] <= '9' && *end == 0 && errno == 0 &&
               signed_n >= f->low && signed_n <= f->high;
        if (!good)
            return app_refuse(a, "--%s takes a whole number from %.0f to %.0f, not \"%s\"",
                              f->name, f->low, f->high, v);
        if (f->kind == APP_INT) *(int *)f->value = (int)signed_n;
        else *(uint64_t *)f->value = (uint64_t)n;
    } else if (f->kind == APP_REAL) {
        double x = strtod(v, &end);
        if (!good || *end != 0 || !(x >= f->low && x <= f->high))
            return app_refuse(a, "--%s takes a number from %g to %g, not \"%s\"", f->name,
                              f->low, f->high, v);
        *(double *)f->value = x;
    } else if (f->kind == APP_CHOICE && !app_is_in(f->meta, '|', v, strlen(v))) {
        return app_refuse(a, "--%s takes one of %s, not \"%s\"", f->name, f->meta, v);
    } else {
        if (*v == 0) return app_refuse(a, "--%s takes a name that is not empty", f->name);
        *(const char **)f->value = v;
    }
    return APP_GO;
}

/* What --list prints of a program that has tasks or models: what those flags take. How many
   lines.                                                                         */
static inline int app_print_list(const app *a)
{
    int lines = 0;
    for (int i = 0; i < a->flags; i++) {
        const app_flag *f = &a->flag[i];
        if (strcmp(f->name, "task") != 0 && strcmp(f->name, "model") != 0) continue;
        printf("%ss: ", f->name);
        for (const char *c = f->meta; *c; c++) putchar(*c == '|' ? ' ' : *c);
        printf("\n");
        lines++;
    }
    return lines;
}

/* Reads the flag at argv[*i] and its value, which may be the next argument.      */
static inline int app_take_flag(app *a, int *i)
{
    const char *arg = a->argv[*i] + 2, *equals = strchr(arg, '=');
    size_t length = equals ? (size_t)(equals - arg) : strlen(arg);
    const app_flag *t = a->flag;
    for (int k = 0; k < a->flags; k++) {
        if (strlen(t[k].name) != length || memcmp(t[k].name, arg, length) != 0) continue;
        if (t[k].kind == APP_SWITCH) {
            if (equals) return app_refuse(a, "--%s takes no value", t[k].name);
            *(int *)t[k].value = 1;
            return APP_GO;
        }
        if (equals) return app_read_value(a, &t[k], equals + 1);
        if (*i + 1 >= a->argc) return app_refuse(a, "--%s needs a value", t[k].name);
        if (strncmp(a->argv[*i + 1], "--", 2) == 0)
            return app_refuse(a, "--%s needs a value, but %s follows", t[k].name,
                              a->argv[*i + 1]);
        return app_read_value(a, &t[k], a->argv[++*i]);
    }
    return app_refuse(a, "unknown flag --%.*s (--help lists them)", (int)length, arg);
}

/* The fewest and the most words that are taken: "LOG ..." is one or more, "FILE [OTHER]" one
   or two.                                                                        */
static inline int app_words_wanted(const app *a, int most)
{
    int n = a->word_names && *a->word_names;
    for (const char *c = a->word_names; c && *c; c++) n += (*c == ' ') - (!most && *c == '[');
    if (a->word_names && strstr(a->word_names, " ...")) return most ? (int)APP_MAX_WORDS : n - 1;
    return n;
}

/* Fills a and the variables behind `own`. APP_GO, or what main should return.    */
static inline int app_parse(app *a, int argc, char **argv, const app_flag *own, int count)
{
    int status = APP_GO;
    a->argc = argc;
    a->argv = argv;
    app_table(a, own, count);
    for (int i = 1; i < argc; i++)             /* --help first: it shows the defaults */
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            app_print_help(a);
            return app_printed(a) ? 0 : 1;
        }
    for (int i = 1; i < argc && status == APP_GO; i++) {
        if (strncmp(argv[i], "--", 2) == 0 && argv[i][2])
            status = app_take_flag(a, &i);
        else if (argv[i][0] == '-')
            status = app_refuse(a, "unknown flag %s (--help lists them)", argv[i]);
        else if (a->words < app_words_wanted(a, 1) && a->words < APP_MAX_WORDS)
            a->word[a->words++] = argv[i];
        else
            status = app_refuse(a, "unexpected argument \"%s\" (--help shows the usage)",
                                argv[i]);
    }
    if (status == APP_GO && a->words < app_words_wanted(a, 0) && !a->list)
        status = app_refuse(a, "needs %s (--help shows the usage)", a->word_names);
    if (status == APP_GO && a->save_every && !a->save && !a->out)    /* out: saved there */
        status = app_refuse(a, "--save-every needs --save FILE");
    if (status == APP_GO && a->list && app_print_list(a)) return app_printed(a) ? 0 : 1;
    return status;
}

/* Whether --no-test and --early-stop have held-out images to look at: --holdout's.  */
static inline int app_check_holdout(const app *a, int holdout, int no_test)
{
    if (holdout > 0 || (!no_test && !a->early_stop)) return APP_GO;
    if (no_test)
        return app_refuse(a, "--no-test needs --holdout N, or there is nothing to report");
    return app_refuse(a, "--early-stop needs --holdout N: it looks at images that are held out");
}

/* ---- >>files: what a run reads and writes, each in nobody else's hands -----------*/
/* DIR/FILE into path; 1, or 0 with a message when it is too long.                */
static inline int app_path(const app *a, char path[APP_PATH], const char *folder,
                           const char *file)
{
    int n = snprintf(path, APP_PATH, "%s/%s", folder, file);
    if (n > 0 && n < APP_PATH) return 1;
    app_refuse(a, "the path %.60s.../%s is too long", folder, file);
    return 0;
}

static inline int app_make_one_folder(const char *path)
{
#ifdef _WIN32
    return _mkdir(path) == 0 || errno == EEXIST;
#else
    return mkdir(path, 0777) == 0 || errno == EEXIST;
#endif
}

/* Makes a folder and those above it, and tries to write there; 1, or 0 with a
   message.                                                                       */
static inline int app_make_folder(const app *a, const char *folder)
{
    char path[APP_PATH], probe[APP_PATH];
    FILE *f;
    if (!app_path(a, probe, folder, ".lsnn-probe.tmp") || !app_path(a, path, folder, ""))
        return 0;
    for (char *c = path + 1; *c; c++) {
        if (*c != '/') continue;
        *c = 0;
        app_make_one_folder(path);             /* the probe tells whether it worked */
        *c = '/';
    }
    errno = 0;
    f = fopen(probe, "wb");
    if (!f) {
        app_refuse(a, "cannot write into the folder %s: %s", folder, strerror(errno));
        return 0;
    }
    fclose(f);
    remove(probe);
    return 1;
}

/* Where the lock of a file lies: beside what its links lead to, even to nothing. A name that
   has no room for ".lock" is cut: names that begin alike then exclude each other. 0: the
   path is too long.                                                              */
static inline int app_lock_path(char lock[APP_PATH], const char *path)
{
    char *name;
    if (strlen(path) + 8 > APP_PATH) return 0;
    strcpy(lock, path);
#ifndef _WIN32
    for (int i = 0; i < 8; i++) {
        char link[APP_PATH], *slash = strrchr(lock, '/');
        ssize_t n = readlink(lock, link, sizeof link);
        size_t at = n > 0 && link[0] != '/' && slash ? (size_t)(slash + 1 - lock) : 0;
        if (n < 1) break;
        if (at + (size_t)n + 8 > APP_PATH) return 0;
        memcpy(lock + at, link, (size_t)n);
        lock[at + (size_t)n] = 0;
    }
#endif
    name = strrchr(lock, '/') ? strrchr(lock, '/') + 1 : lock;
    if (strlen(name) > 240) name[240] = 0;
    strcat(name, ".lock");
    return 1;
}

/* Holds the lock until the process ends, however it ends: the lock is the system's, not the
   file, so what a killed run left stops nobody. 0, or why not as errno has it; EBUSY:
   another run has it.                                                            */
static inline int app_lock(app_file *f)
{
#ifdef _WIN32
    f->lock = _sopen(f->lock_path, _O_CREAT | _O_RDWR | _O_TEMPORARY, _SH_DENYRW,
                     _S_IREAD | _S_IWRITE);
    return f->lock >= 0 ? 0 : errno == EACCES ? EBUSY : errno;
#else
    for (;;) {
        struct flock whole;
        struct stat now;
        f->lock = open(f->lock_path, O_CREAT | O_RDWR, 0666);
        if (f->lock < 0) return errno;
        memset(&whole, 0, sizeof whole);
        whole.l_type = F_WRLCK;
        whole.l_whence = SEEK_SET;
        if (fcntl(f->lock, F_SETLK, &whole) != 0) {
            if (errno != EACCES && errno != EAGAIN) return 0;    /* the disk has no locks */
            close(f->lock);
            f->lock = -1;
            return EBUSY;
        }
        if (fstat(f->lock, &f->locked) == 0 && stat(f->lock_path, &now) == 0 &&
            now.st_ino == f->locked.st_ino && now.st_dev == f->locked.st_dev) return 0;
        close(f->lock);                        /* its owner ended, and removed it     */
    }
#endif
}

static inline void app_release(app *a)
{
    for (int i = 0; i < a->files; i++) {
        if (a->file[i].lock < 0) continue;
#ifdef _WIN32
        _close(a->file[i].lock);               /* and it is gone                      */
#else
        remove(a->file[i].lock_path);
        close(a->file[i].lock);
#endif
        a->file[i].lock = -1;
    }
}

/* Whether two are one file, by whatever names: of one that is not there yet, by its lock. */
static inline int app_same_file(const app_file *f, const app_file *g)
{
    return (f->before.st_ino && f->before.st_ino == g->before.st_ino &&
            f->before.st_dev == g->before.st_dev) ||
           (f->locked.st_ino && f->locked.st_ino == g->locked.st_ino &&
            f->locked.st_dev == g->locked.st_dev) || strcmp(f->path, g->path) == 0;
}

/* Whether PATH begins as a net does: {"... behind a length of eight bytes.        */
static inline int app_is_net(const char *path)
{
    char start[10] = "";
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(start, 1, sizeof start, f) : 0;
    if (f) fclose(f);
    return n == sizeof start && memcmp(start + 8, "{\"", 2) == 0;
}

/* Whether an output would replace what another run has learned: a net, a log. A resumed run
   goes on with its log, and with its net where --save names that.                */
static inline int app_is_work(const app *a, const app_file *f)
{
    int save = strcmp(f->flag, "save") == 0;
    if (a->overwrite || f->before.st_size == 0 ||
        (!save && strcmp(f->flag, "log") != 0 && !app_is_net(f->path))) return 0;
    for (int i = 0; i < a->files; i++)
        if (strcmp(a->file[i].flag, "resume") == 0 && (!save || app_same_file(&a->file[i], f)))
            return 0;
    return 1;
}

/* Whether the run may write f, before any of its work is done. APP_GO, or 1 after a message. */
static inline int app_hold(app *a, app_file *f)
{
    const char *log = strcmp(f->flag, "log") == 0 ? f->path : NULL;
    int kind = f->before.st_mode & S_IFMT, why;
    if (kind == S_IFDIR) {
        app_refuse(a, "--%s %s: that is a folder", f->flag, f->path);
        return 1;
    }
    if (kind && kind != S_IFREG) {
        if (log) return APP_GO;                /* /dev/stderr                         */
        app_refuse(a, "--%s %s: that is a device", f->flag, f->path);
        return 1;
    }
    why = app_lock(f);
    if (why) {
        app_refuse(a, "--%s %s: %s%s", f->flag, f->path, why == EBUSY ?
                   "another run is writing it" : "cannot write there: ",
                   why == EBUSY ? "" : strerror(why));
        return 1;
    }
    if (stat(f->path, &f->before) != 0) memset(&f->before, 0, sizeof f->before);
    if (!app_is_work(a, f)) return APP_GO;
    if (!log && strcmp(f->flag, "save") != 0)
        app_refuse(a, "--%s %s: what is there is a net, and would be lost", f->flag, f->path);
    else
        app_refuse(a, "--%s %s: there is one already: --resume %s goes on%s, --overwrite "
                   "replaces it", f->flag, f->path, log ? "FILE" : f->path,
                   log ? " with it" : " from it");
    return 1;
}

static inline int app_add_file(app *a, const char *flag, const char *path, int output)
{
    app_file *f = &a->file[a->files];
    int status = APP_GO;
    if (!path) return APP_GO;
    if (a->files == APP_MAX_FILES || !app_lock_path(f->lock_path, path)) {
        app_refuse(a, "--%s %.60s...: the path is too long", flag, path);
        return 1;
    }
    f->flag = flag;
    strcpy(f->path, path);                     /* app_lock_path: it fits              */
    f->output = output;
    f->lock = -1;
    if (stat(path, &f->before) != 0) memset(&f->before, 0, sizeof f->before);
    if (output) status = app_hold(a, f);
    for (int i = 0; i < a->files && status == APP_GO; i++) {
        const app_file *g = &a->file[i];
        int resumed = strcmp(flag, "save") == 0 && strcmp(g->flag, "resume") == 0;
        if ((output || g->output) && !resumed && app_same_file(f, g))
            status = app_refuse(a, "--%s %s and --%s %s are one file", g->flag, g->path, flag,
                                path);
    }
    a->files++;
    if (status != APP_GO) app_release(a);
    return status;
}

/* For each file that a flag (or a word) names; path NULL: not given. Call them after app_start
   and before anything is written. An output is the run's alone until app_end; one that names
   another file of the run is refused, by inode: through links and other spellings. APP_GO,
   or what main should return.                                                    */
static inline int app_input(app *a, const char *flag, const char *path)
{
    return app_add_file(a, flag, path, 0);
}
static inline int app_output(app *a, const char *flag, const char *path)
{
    return a->follows ? APP_GO : app_add_file(a, flag, path, 1);
}

/* An output that is a PNG file: it takes the place of another such file only.     */
static inline int app_picture(app *a, const char *flag, const char *path)
{
    int status = app_output(a, flag, path);
    char start[4] = "";
    FILE *f = path && status == APP_GO ? fopen(path, "rb") : NULL;
    if (!f) return status;
    if (fread(start, 1, 4, f) > 0 && memcmp(start, "\x89PNG", 4) != 0) {
        app_refuse(a, "--%s %s: what is there is no picture, and would be lost", flag, path);
        app_release(a);
        status = 1;
    }
    fclose(f);
    return status;
}

/* The files that flags name.                                                     */
static inline int app_own_files(app *a)
{
    int status = APP_GO;
    for (int i = 0; i < a->flags && status == APP_GO; i++) {
        const app_flag *f = &a->flag[i];
        if (f->kind == APP_READ) status = app_input(a, f->name, *(const char **)f->value);
        if (f->kind == APP_DRAW) status = app_picture(a, f->name, *(const char **)f->value);
    }
    return status;
}

/* Without --save: OUT/NAME.safetensors, so that Ctrl-C loses no run.              */
static inline int app_default_save(app *a, const char *name)
{
    char file[256];
    if (a->save || a->idle) return APP_GO;
    snprintf(file, sizeof file, "%.200s.safetensors", name);
    if (!app_make_folder(a, a->out) || !app_path(a, a->default_save, a->out, file)) {
        app_release(a);
        return 1;
    }
    a->save = a->default_save;
    return app_output(a, "save", a->save);
}

/* The outputs that the run has made or changed, on stderr.                       */
static inline void app_print_files(const app *a)
{
    for (int i = 0; i < a->files; i++) {
        const app_file *f = &a->file[i];
        struct stat now;
        if (!f->output || stat(f->path, &now) != 0 ||
            (now.st_ino == f->before.st_ino && now.st_mtime == f->before.st_mtime &&
             now.st_size == f->before.st_size)) continue;
        fprintf(stderr, "%s: wrote %s\n", a->name, f->path);
    }
}

/* ---- >>start: Ctrl-C, threads, instruction set, log ----------------------------*/
static volatile sig_atomic_t app_signal;       /* the signal that asked for an end */

/* The second signal finds the default action, which ends the program at once.    */
static void app_on_signal(int number)
{
    app_signal = number;
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

/* --threads, else OMP_NUM_THREADS as batch systems set it; 0: all cores.         */
static inline int app_threads(const app *a)
{
    const char *text = getenv("OMP_NUM_THREADS");
    int n = text && a->threads == 0 ? atoi(text) : a->threads;
    return n > 0 && n <= 1024 ? n : 0;
}

/* LSNN_ISA forces an instruction set: results depend on it in their last bits.   */
static inline int app_read_isa(const app *a, lsnn_ctx *cx)
{
    const char *name = getenv("LSNN_ISA");
    lsnn_isa isa;
    if (!name || !*name || strcmp(name, "best") == 0) return APP_GO;
    isa = lsnn_isa_from_name(name);
    if (isa == LSNN_ISA_COUNT_ || !lsnn_isa_available(isa)) {
        fprintf(stderr, "%s: LSNN_ISA=%s %s; this machine runs", a->name, name,
                isa == LSNN_ISA_COUNT_ ? "is no instruction set" : "does not run here");
        for (int i = LSNN_ISA_PORTABLE; i < LSNN_ISA_COUNT_; i++)
            if (lsnn_isa_available((lsnn_isa)i))
                fprintf(stderr, " %s", lsnn_isa_name((lsnn_isa)i));
        fprintf(stderr, "\n");
        return 2;
    }
    cx->isa = isa;
    return APP_GO;
}

static inline void app_log_failed(app *a)
{
    if (!a->csv_failed) app_refuse(a, "--log %s: %s", a->log, strerror(errno));
    a->csv_failed = 1;
}

/* A resumed run goes on with its log; any other run begins a new one, with its first epoch. */
static inline int app_open_log(app *a)
{
    if (!a->log) return APP_GO;
    errno = 0;
    a->csv_begun = a->resume != NULL;
    a->csv = fopen(a->log, "a");
    if (!a->csv) app_log_failed(a);
    return a->csv_failed ? 1 : APP_GO;
}

/* Empties the log of a run that is not resumed; an empty one gets its header.    */
static inline void app_begin_log(app *a)
{
    if (!a->csv_begun) a->csv = freopen(a->log, "w", a->csv);
    a->csv_begun = 1;
    if (!a->csv) {
        app_log_failed(a);
        return;
    }
    fseek(a->csv, 0, SEEK_END);
    if (ftell(a->csv) == 0)
        fprintf(a->csv, "epoch,seconds,lr,loss,error,valid_loss,valid_error,images_per_s\n");
}

static inline void app_close_log(app *a)
{
    struct stat now;
    errno = 0;
    if (a->csv && fclose(a->csv) != 0) app_log_failed(a);
    if (a->csv && !a->csv_begun && stat(a->log, &now) == 0 && now.st_size == 0 &&
        (now.st_mode & S_IFMT) == S_IFREG) remove(a->log);         /* no epoch    */
    a->csv = NULL;
}

/* Under mpirun: a process's number, of how many. The first prints and writes; the others do
   their share of its work.                                                       */
static inline int app_join(app *a, lsnn_ctx *cx)
{
    const char *text = getenv("OMPI_COMM_WORLD_SIZE");
    int wanted;
    if (!text) text = getenv("PMI_SIZE");
    wanted = text ? atoi(text) : 1;
    if (lsnn_ranks_start(cx) != LSNN_OK) return 1;
    if (cx->ranks < wanted) {
        app_refuse(a, "mpirun starts %d of it, but it was built without MPI: make MPI=1", wanted);
        return 2;
    }
    a->ranks = cx->ranks;
    a->follows = cx->rank > 0;
    if (!a->follows) return APP_GO;
    a->quiet = 1;
#ifdef _WIN32
    return freopen("NUL", "w", stdout) ? APP_GO : 1;
#else
    return freopen("/dev/null", "w", stdout) ? APP_GO : 1;
#endif
}

/* Call it after app_parse and before anything long. APP_GO, or what main returns. */
static inline int app_start(app *a, lsnn_ctx *cx)
{
    int status = app_read_isa(a, cx);
    if (status != APP_GO) return status;
    cx->threads = app_threads(a);
#ifdef _WIN32
    a->terminal = _isatty(_fileno(stderr));
#else
    a->terminal = isatty(2);
#endif
    if (a->summary) a->idle = 1;
    else status = app_join(a, cx);
    if (a->idle) a->save = a->log = a->resume = NULL;
    if (a->follows) a->log = NULL;
    if (status == APP_GO) status = app_input(a, "resume", a->resume);
    if (status == APP_GO) status = app_output(a, "save", a->save);
    if (status == APP_GO) status = app_output(a, "log", a->log);
    if (status == APP_GO) status = app_own_files(a);
    if (status != APP_GO) return status;
    signal(SIGINT, app_on_signal);
    signal(SIGTERM, app_on_signal);
    return APP_GO;
}

/* ---- >>progress: a bar on a terminal, plain lines elsewhere --------------------*/
/* 75 -> "1:15", 3675 -> "1:01:15".                                               */
static inline const char *app_time(double seconds, char text[24])
{
    int s = seconds < 0 ? 0 : seconds > 3e6 ? 3000000 : (int)(seconds + 0.5);
    if (s < 3600) snprintf(text, 24, "%d:%02d", s / 60, s % 60);
    else snprintf(text, 24, "%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
    return text;
}

/* Replaces what stands on the terminal's line; spaces wipe out what was longer.  */
static inline void app_put_line(app *a, const char *text, int end)
{
    int n = (int)strlen(text);
    if (a->terminal) fprintf(stderr, "\r");
    fprintf(stderr, "%s", text);
    if (a->terminal && n < a->line_length) fprintf(stderr, "%*s", a->line_length - n, "");
    if (end || !a->terminal) fprintf(stderr, "\n");
    fflush(stderr);
    a->line_length = end || !a->terminal ? 0 : n;
}

/* Time left, from the steps that this run itself made: a resumed run begins in the
   middle.                                                                        */
static inline const char *app_left(app *a, const lsnn_progress *p, char text[24])
{
    double all = (double)p->epochs * p->steps, done = (double)p->epoch * p->steps + p->step;
    double rate = (done - a->first_step) / (p->seconds - a->first_seconds);
    if (!(rate > 0) || p->seconds <= a->first_seconds) return "-:--";
    return app_time((all - done) / rate, text);
}

/* epoch 3/30 [=====>     ] 45%  loss 0.1234  error 2.71%  9120 images/s  1:23 left */
static inline void app_draw(app *a, const lsnn_progress *p)
{
    char head[48], tail[128], left[24], bar[APP_COLUMNS + 1], line[256];
    int percent = p->steps > 0 ? (int)(100.0 * p->step / p->steps) : 0, width, full;
    snprintf(head, sizeof head, "epoch %d/%d ", p->epoch + 1, p->epochs);
    snprintf(tail, sizeof tail, " %d%%  loss %.4g  error %.2f%%  %.0f images/s  %s left",
             percent, p->loss, p->error, p->images_per_s, app_left(a, p, left));
    width = APP_COLUMNS - (int)strlen(head) - (int)strlen(tail) - 2;
    bar[0] = 0;
    if (a->terminal && width >= 4) {
        full = p->steps > 0 ? (int)((double)width * p->step / p->steps) : 0;
        for (int i = 0; i < width; i++) bar[i] = i < full ? '=' : i == full ? '>' : ' ';
        bar[width] = 0;
    }
    if (bar[0]) snprintf(line, sizeof line, "%s[%s]%s", head, bar, tail);
    else snprintf(line, sizeof line, "%s%s", head, tail + 1);
    line[APP_COLUMNS] = 0;
    app_put_line(a, line, 0);
}

/* Between which two numbers a share of errors lies, both in %, when `percent` of n images
   that were drawn at random are wrong: Wilson's interval, 95 % sure. It goes from 0 to 100
   and is right for few errors, where percent -+ 2 sigma is not.                   */
static inline void app_interval(double percent, int n, double *low, double *high)
{
    double z = 1.959964, p = percent / 100, all = 1 + z * z / n;
    double middle = (p + z * z / (2.0 * n)) / all;
    double half = z / all * sqrt(p * (1 - p) / n + z * z / (4.0 * n * n));
    *low = 100 * fmax(0, middle - half);
    *high = 100 * fmin(1, middle + half);
}

/* An epoch is over. Instead of the speed: the error of what is held out, where there is some. */
static inline void app_epoch_line(app *a, const lsnn_progress *p)
{
    char error[32] = "", more[64], time[24], line[256];
    int last = p->epoch + 1 == p->epochs;
    double low, high;
    if (!a->regression) snprintf(error, sizeof error, "  error %.2f%%", p->error);
    snprintf(more, sizeof more, "%.0f images/s", p->images_per_s);
    if (a->held_out && a->regression) snprintf(more, sizeof more, "held out %.4g", p->valid_loss);
    else if (a->held_out) {
        app_interval(p->valid_error, a->held_out, &low, &high);
        snprintf(more, sizeof more, "held out %.2f%% (%.2f-%.2f)", p->valid_error, low, high);
    }
    snprintf(line, sizeof line, "epoch %d/%d  loss %.4g%s  %s  %s%s", p->epoch + 1, p->epochs,
             p->loss, error, more, last ? app_time(p->seconds, time) : app_left(a, p, time),
             last ? "" : " left");
    line[APP_COLUMNS] = 0;
    app_put_line(a, line, 1);
}

static inline void app_log_epoch(app *a, const lsnn_progress *p)
{
    char valid[64] = ",";
    if (!a->csv || a->csv_failed) return;
    app_begin_log(a);
    if (a->csv_failed) return;
    if (a->held_out) snprintf(valid, sizeof valid, "%.6g,%.4f", p->valid_loss, p->valid_error);
    errno = 0;
    fprintf(a->csv, "%d,%.2f,%.6g,%.6g,%.4f,%s,%.0f\n", p->epoch + 1, p->seconds, p->lr,
            p->loss, p->error, valid, p->images_per_s);
    if (fflush(a->csv) || ferror(a->csv)) app_log_failed(a);
}

/* After a kill the log can be ahead of the checkpoint: drops what comes again, the lines
   of more epochs than are done.                                                  */
static inline void app_trim_log(app *a, int done)
{
    char *text;
    long size, kept = 0;
    if (!a->csv || !a->resume) return;
    fclose(a->csv);
    a->csv = fopen(a->log, "rb");
    if (!a->csv || fseek(a->csv, 0, SEEK_END) != 0 || (size = ftell(a->csv)) < 0 ||
        !(text = (char *)calloc((size_t)size + 1, 1))) {
        app_log_failed(a);
        return;
    }
    rewind(a->csv);
    size = (long)fread(text, 1, (size_t)size, a->csv);
    for (char *line = text; *line && atoi(line) <= done; kept = (long)(line - text)) {
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    fclose(a->csv);
    a->csv = fopen(a->log, kept < size ? "wb" : "ab");
    if (!a->csv || (kept < size && fwrite(text, 1, (size_t)kept, a->csv) != (size_t)kept))
        app_log_failed(a);
    free(text);
}

/* lsnn_fit_desc.progress; user is the app. Non-zero after Ctrl-C.                */
static inline int app_progress(const lsnn_progress *p, void *user)
{
    app *a = (app *)user;
    double wait = a->terminal ? 0.1 : 10;
    if (p->epoch_done) {
        a->fit->save = a->save;
        a->saves = a->save != NULL;
    }
    if (!a->seen) {
        a->seen = 1;
        app_trim_log(a, p->epoch);
        a->first_step = (double)p->epoch * p->steps + p->step;
        a->first_seconds = a->drawn = p->seconds;
    }
    if (a->watch) a->watch(p, a->watch_user);
    if (p->epoch_done) app_log_epoch(a, p);
    if (!a->quiet) {
        if (p->epoch_done) app_epoch_line(a, p);
        else if (p->seconds - a->drawn >= wait) app_draw(a, p);
        if (p->epoch_done || p->seconds - a->drawn >= wait) a->drawn = p->seconds;
    }
    return app_signal != 0;
}

/* Whether checkpoints may be written from the first step on: what goes on with one, and what
   --save-every asks for where nothing is replaced. Else a net is written as soon as an epoch
   is learned: one of a few steps is of no use, and stands in the next run's way.  */
static inline int app_saves_early(const app *a)
{
    struct stat there;
    return a->resume || (a->save_every && a->save && stat(a->save, &there) != 0);
}

static inline void app_print_resume(const app *a);

/* lsnn_fit with the common flags filled in where the program left a zero; --lr
   goes before what it set.                                                       */
static inline lsnn_status app_fit(app *a, lsnn_net *net, const lsnn_data *train,
                                  lsnn_fit_desc *d)
{
    lsnn_status status;
    if (app_open_log(a) != APP_GO) return LSNN_EIO;
    if (!d->epochs) d->epochs = a->epochs;
    if (a->lr > 0) d->optimizer.lr = a->lr;
    if (d->save) a->save = d->save;
    a->saves = a->save && app_saves_early(a);
    d->save = a->saves ? a->save : NULL;                 /* else app_progress sets it */
    a->fit = d;
    if (!d->save_every) d->save_every = a->save_every;
    if (!d->resume) d->resume = a->resume;
    d->progress = app_progress;
    d->user = a;
    d->last = &a->last;
    a->held_out = d->valid ? d->valid->count : 0;
    a->regression = train->heads == 0;
    if (a->early_stop) {
        d->patience = a->early_stop;
        d->keep_best = 1;
    }
    d->verbose = !a->quiet;
    a->seen = 0;
    status = lsnn_fit(net, train, d);
    a->fit = NULL;
    if (a->line_length) app_put_line(a, "", 1);
    /* mpirun may kill what it has told to end before it comes to its own     */
    if (status == LSNN_STOPPED && a->ranks > 1 && !a->follows) app_print_resume(a);
    return status;
}

/* ---- >>end: how to go on, and the lines that other programs read ---------------*/
/* An argument as a shell reads it back.                                          */
static inline void app_print_quoted(FILE *f, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789_-+./=:,@%";
    if (*text && strspn(text, plain) == strlen(text)) {
        fprintf(f, " %s", text);
        return;
    }
    fprintf(f, " '");
    for (; *text; text++) {
        if (*text == '\'') fprintf(f, "'\\''");
        else fputc(*text, f);
    }
    fprintf(f, "'");
}

/* The command line again, with --resume FILE in place of an older one.           */
static inline void app_print_resume(const app *a)
{
    if (!a->saves) {
        fprintf(stderr, "%s: stopped; nothing is saved %s\n", a->name, a->save ?
                "before an epoch is learned (but by --save-every STEPS)" : "without --save FILE");
        return;
    }
    fprintf(stderr, "%s: stopped and saved; to go on:\n ", a->name);
    for (int i = 0; i < a->argc; i++) {
        if (strcmp(a->argv[i], "--resume") == 0) i++;
        else if (strcmp(a->argv[i], "--overwrite") == 0) continue;
        else if (strncmp(a->argv[i], "--resume=", 9) != 0)
            app_print_quoted(stderr, a->argv[i]);
    }
    fprintf(stderr, " --resume");
    app_print_quoted(stderr, a->save);
    fprintf(stderr, "\n");
}

/* Closes the log, names the files, unlocks them; returns main's exit status.      */
static inline int app_end(app *a, lsnn_status status)
{
    if (a->line_length) app_put_line(a, "", 1);
    app_close_log(a);
    app_release(a);
    if (!a->quiet) app_print_files(a);
    if (status == LSNN_STOPPED) {
        if (a->ranks < 2) app_print_resume(a);
        return app_signal ? 128 + (int)app_signal : 1;
    }
    if (!app_printed(a)) return 1;
    return status != LSNN_OK || a->csv_failed;
}

typedef struct app_outcome {
    const char *task, *model;
    double error;                    /* % on the test set                         */
    double whole_error;              /* % of images with any label wrong          */
    int heads;                       /* labels an image: above 1, both are told   */
    int train, test, fresh;
    const char *settings, *costs;    /* " key=value ...": what else was set, before params; */
                                     /*   what else it costs, behind them; NULL: nothing */
} app_outcome;

/* The last line on stdout; before it, with --profile, where the time went.       */
static inline void app_result(const app *a, const lsnn_net *net, const app_outcome *r)
{
    int tested = r->test ? r->test : a->held_out, epochs = a->epochs;
    double low, high;
    if (a->profile) lsnn_net_profile(net, stdout);
    if (!a->quiet && tested && !a->regression) {
        app_interval(r->error, tested, &low, &high);
        fprintf(stderr, "%s: error %.2f%% of %d %s images: %.2f to %.2f%% with 95%% certainty\n",
                a->name, r->error, tested, r->test ? "test" : "held-out", low, high);
    }
    if (a->early_stop && a->last.epochs) epochs = a->last.epoch + 1;
    printf("result task=%s model=%s error=%.2f epochs=%d seed=%.0f train=%d test=%d fresh=%d%s "
           "params=%.0f%s seconds=%.0f images_per_s=%.0f", r->task, r->model, r->error,
           epochs, (double)a->seed, r->train, r->test, r->fresh,
           r->settings ? r->settings : "", (double)lsnn_net_params(net), r->costs ? r->costs : "",
           a->last.seconds, a->last.images_per_s);
    if (r->heads > 1) printf(" whole_error=%.2f", r->whole_error);
    printf("\n");
    fflush(stdout);
}

/* What the common flags say of how a net is built.                               */
static inline lsnn_build_desc app_build(const app *a)
{
    lsnn_build_desc d;
    memset(&d, 0, sizeof d);
    d.batch = a->batch;
    d.seed = a->seed;
    d.profile = a->profile;
    d.device = a->device;
    return d;
}

/* The network's table and, last, its totals in one line.                         */
static inline void app_summary(const lsnn_net *net, const char *model)
{
    lsnn_net_summary(net, stdout);
    printf("summary model=%s params=%.0f macs=%.0f\n", model, (double)lsnn_net_params(net),
           lsnn_net_macs(net));
    fflush(stdout);
}

/* A number that other pictures or labels hardly have, for a checkpoint's note: FNV-1a over the
   first ones. 0 without memory.                                                  */
static inline unsigned app_data_mark(const lsnn_data *d)
{
    int labels[LSNN_MAX_HEADS];
    int size = d->shape.c * d->shape.h * d->shape.w;
    uint32_t mark = 2166136261u;
    lsnn_real *x = (lsnn_real *)malloc((size_t)size * sizeof *x);
    for (int i = 0; x && i < d->count && i < 16; i++) {
        d->fetch(d->user, 0, i, x, labels, NULL);
        for (int p = 0; p < size; p++)
            mark = (mark ^ (uint32_t)(int)(255 * x[p] + (lsnn_real)0.5)) * 16777619u;
        for (int k = 0; k < d->heads; k++) mark = (mark ^ (uint32_t)labels[k]) * 16777619u;
    }
    if (!x) return 0;
    free(x);
    return mark;
}

/* ---- >>digits: MNIST's four files, or drawn by the library -------------------------*/
enum { APP_BUILT_IN = 60000 };       /* training digits; a sixth of them to test  */
typedef struct app_digits {
    lsnn_idx train_images, train_labels, test_images, test_labels;
    lsnn_idx crops;                  /* the training images that are not held out, for a */
    unsigned char *room;             /*   recipe. room: of the built-in ones      */
} app_digits;

static inline lsnn_status app_read_idx(app *a, lsnn_ctx *cx, const char *folder,
                                       const char *name, lsnn_idx *idx)
{
    char path[APP_PATH];
    if (!app_path(a, path, folder, name)) return LSNN_EVALUE;
    if (app_input(a, a->data ? "data" : "mnist", path) != APP_GO) return LSNN_EVALUE;
    return lsnn_idx_read(cx, idx, path);
}

static inline void app_draw_digits(lsnn_idx *images, lsnn_idx *labels, int count, int test,
                                   uint64_t seed, unsigned char *room)
{
    lsnn_recipe r;
    memset(&r, 0, sizeof r);
    r.task = LSNN_TASK_DIGITS;
    r.seed = seed;
    r.test = test;
    r.count = count;
    images->rank = 3;
    images->dim[0] = count;
    images->dim[1] = images->dim[2] = 28;
    images->v = room;
    labels->rank = 1;
    labels->dim[0] = count;
    labels->v = room + (size_t)count * 784;
    for (int i = 0; i < count; i++)
        lsnn_recipe_draw(&r, 0, i, images->v + (size_t)i * 784, labels->v + i, NULL);
}

/* MNIST, or without --mnist the built-in digits, and a line that says so.        */
static inline lsnn_status app_digits_get(app *a, lsnn_ctx *cx, app_digits *d)
{
    const char *folder = a->mnist;
    lsnn_status s = LSNN_OK;
    if (!folder) {
        int train = a->train ? a->train : APP_BUILT_IN;
        int test = a->test ? a->test : APP_BUILT_IN / 6;
        app_refuse(a, "no --mnist, so the digits are the built-in ones");
        d->room = (unsigned char *)malloc(((size_t)train + (size_t)test) * 785);
        if (!d->room) {
            app_refuse(a, "no memory for %d + %d digits", train, test);
            return LSNN_ENOMEM;
        }
        app_draw_digits(&d->train_images, &d->train_labels, train, 0, a->seed, d->room);
        app_draw_digits(&d->test_images, &d->test_labels, test, 1, a->seed,
                        d->room + (size_t)train * 785);
        return LSNN_OK;
    }
    s = app_read_idx(a, cx, folder, "train-images-idx3-ubyte", &d->train_images);
    if (s == LSNN_OK) s = app_read_idx(a, cx, folder, "train-labels-idx1-ubyte", &d->train_labels);
    if (s == LSNN_OK) s = app_read_idx(a, cx, folder, "t10k-images-idx3-ubyte", &d->test_images);
    if (s == LSNN_OK) s = app_read_idx(a, cx, folder, "t10k-labels-idx1-ubyte", &d->test_labels);
    return s;
}

static inline void app_digits_free(lsnn_ctx *cx, app_digits *d)
{
    if (!d->room) {
        lsnn_idx_free(cx, &d->train_images);
        lsnn_idx_free(cx, &d->train_labels);
        lsnn_idx_free(cx, &d->test_images);
        lsnn_idx_free(cx, &d->test_labels);
    }
    free(d->room);
}

#endif /* APP_H */
