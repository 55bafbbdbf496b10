/* linked.h - included first where a program is linked with lsnn.h's implementation instead of
   including it: the headers that the implementation brings along.                        */
#ifndef LINKED_H
#define LINKED_H
#define _GNU_SOURCE
#include <errno.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#endif
