/* check.h - the test programs' few words: TAP lines, and an exit status that can fail.

   int main(void) {
       CHECK(1 + 1 == 2);                     quiet unless it fails
       NEAR(x, 0.5, 1e-12);                   |x - 0.5| <= 1e-12 (1 + 0.5); NaN fails
       test_end("sums: %d cases", 1);         one TAP line for all checks since the last
       return test_finish();                  the plan; 1 if anything failed
   } */
#ifndef CHECK_H
#define CHECK_H
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

static int test_count, test_failed, test_bad;   /* TAP lines, failed ones, bad checks now */

#define CHECK(c) check_that((c) ? 1 : 0, __FILE__, __LINE__, #c)
#define NEAR(got, want, tol) check_near((double)(got), (double)(want), (double)(tol), \
                                        __FILE__, __LINE__, #got)

static int check_that(int good, const char *file, int line, const char *text)
{
    if (!good && ++test_bad <= 10) printf("# %s:%d: failed: %s\n", file, line, text);
    return good;
}

static inline int check_near(double got, double want, double tol, const char *file,
                             int line, const char *text)
{
    int good = fabs(got - want) <= tol * (1 + fabs(want));      /* NaN fails: keep <= */
    if (!good && ++test_bad <= 10)
        printf("# %s:%d: %s is %.17g, should be %.17g (difference %.3g)\n", file, line, text,
               got, want, got - want);
    return good;
}

#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
static void test_end(const char *format, ...)
{
    va_list list;
    if (test_count == 0) printf("TAP version 14\n");
    printf("%sok %d - ", test_bad ? "not " : "", ++test_count);
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    printf("\n");
    fflush(stdout);
    test_failed += test_bad > 0;
    test_bad = 0;
}

static inline void test_skip(const char *text, const char *why)
{
    if (test_count == 0) printf("TAP version 14\n");
    printf("ok %d - %s # SKIP %s\n", ++test_count, text, why);
    fflush(stdout);
}

static int test_finish(void)
{
    if (test_bad) test_end("checks after the last line");
    printf("1..%d\n", test_count);
    return test_failed != 0 || test_count == 0;
}
#endif
