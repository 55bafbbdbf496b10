/* ============================================================================
   >>kernels  the inner loops, once per instruction set
   The file includes itself below with LSNNI_KERNEL_PASS set to the name of an
   instruction set; this chapter is all that such a pass compiles. K_(name) is
   the function's name in the pass, kvec its vector of K_LANES numbers.
   ==========================================================================*/
#ifdef LSNNI_KERNEL_PASS
#define K_PASTE2(a, b) lsnni_##a##_##b
#define K_PASTE(a, b) K_PASTE2(a, b)
#define K_(name) K_PASTE(name, LSNNI_KERNEL_PASS)
#define K_LANES ((int)(K_BYTES / sizeof(lsnn_real)))

#if K_BYTES == 0                     /* no vectors: LSNN_NO_SIMD, nvcc, MSVC */
#undef K_LANES
#define K_LANES 1
typedef lsnn_real K_(vec);
#define kvec K_(vec)
#define kints int32_t
#define K_LOAD(p) (*(p))
#define K_STORE(p, v) (*(p) = (v))
#define K_SELECT(type, mask, a, b) ((mask) ? (a) : (b))
#define K_LOAD_INTS(p) (*(p))
#define K_STORE_INTS(p, v) (*(p) = (v))
#else
#ifdef LSNN_DOUBLE
typedef int64_t K_(int);
typedef int64_t K_(ints) __attribute__((vector_size(K_BYTES)));
#else
typedef int32_t K_(int);
typedef int32_t K_(ints) __attribute__((vector_size(K_BYTES)));
#endif
typedef lsnn_real K_(vec) __attribute__((vector_size(K_BYTES)));
typedef lsnn_real K_(mem) __attribute__((vector_size(K_BYTES), aligned(sizeof(lsnn_real)),
                                         may_alias));
#define kvec K_(vec)
#define kints K_(ints)
#define K_LOAD(p) (*(const K_(mem) *)(p))
#define K_STORE(p, v) (*(K_(mem) *)(p) = (v))
#define K_SELECT(type, mask, a, b) ((type)(((kints)(a) & (mask)) | ((kints)(b) & ~(mask))))
#ifdef LSNN_DOUBLE                   /* int32_t in memory, int64_t in registers */
typedef int32_t K_(whole) __attribute__((vector_size(K_BYTES / 2), aligned(4), may_alias));
#define K_LOAD_INTS(p) __builtin_convertvector(*(const K_(whole) *)(p), kints)
#define K_STORE_INTS(p, v) (*(K_(whole) *)(p) = __builtin_convertvector(v, K_(whole)))
#else
typedef int32_t K_(whole) __attribute__((vector_size(K_BYTES), aligned(4), may_alias));
#define K_LOAD_INTS(p) (*(const K_(whole) *)(p))
#define K_STORE_INTS(p, v) (*(K_(whole) *)(p) = (v))
#endif
#endif
#ifndef K_FMA
#define K_FMA(a, b, c) ((a) * (b) + (c))
#endif
/* The even and the odd ones of two vectors, the first vector's before the second's: of all
   numbers (evens, odds), of the numbers in each 16 bytes (near), of all 16 bytes (far). Near
   and far shuffles are the cheap ones; a near pass for each halving of 16 bytes and then
   a far pass for each halving of the vector sort the numbers as evens and odds do. */
#if K_BYTES > 0
#ifdef LSNN_DOUBLE
#define K_COUNT (K_BYTES / 8)
#else
#define K_COUNT (K_BYTES / 4)
#endif
#if K_COUNT == 16
#define K_EVENS 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define K_ODDS 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define K_NEAR_EVENS 0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30
#define K_NEAR_ODDS 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31
#define K_FAR_EVENS 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27
#define K_FAR_ODDS 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31
#elif K_COUNT == 8
#define K_EVENS 0, 2, 4, 6, 8, 10, 12, 14
#define K_ODDS 1, 3, 5, 7, 9, 11, 13, 15
#ifdef LSNN_DOUBLE
#define K_NEAR_EVENS 0, 8, 2, 10, 4, 12, 6, 14
#define K_NEAR_ODDS 1, 9, 3, 11, 5, 13, 7, 15
#define K_FAR_EVENS 0, 1, 4, 5, 8, 9, 12, 13
#define K_FAR_ODDS 2, 3, 6, 7, 10, 11, 14, 15
#else
#define K_NEAR_EVENS 0, 2, 8, 10, 4, 6, 12, 14
#define K_NEAR_ODDS 1, 3, 9, 11, 5, 7, 13, 15
#define K_FAR_EVENS 0, 1, 2, 3, 8, 9, 10, 11
#define K_FAR_ODDS 4, 5, 6, 7, 12, 13, 14, 15
#endif
#elif K_COUNT == 4
#define K_EVENS 0, 2, 4, 6
#define K_ODDS 1, 3, 5, 7
#ifdef LSNN_DOUBLE
#define K_NEAR_EVENS 0, 4, 2, 6
#define K_NEAR_ODDS 1, 5, 3, 7
#define K_FAR_EVENS 0, 1, 4, 5
#define K_FAR_ODDS 2, 3, 6, 7
#endif
#else
#define K_EVENS 0, 2
#define K_ODDS 1, 3
#endif
#ifndef K_NEAR_EVENS                 /* a vector is 16 bytes                  */
#define K_NEAR_EVENS K_EVENS
#define K_NEAR_ODDS K_ODDS
#endif
#ifndef K_FAR_EVENS                  /* and never asked for these             */
#define K_FAR_EVENS K_EVENS
#define K_FAR_ODDS K_ODDS
#endif
#ifdef __clang__
#define K_SHUFFLE(name, ...)                                                             \
    static inline kvec K_(name)(kvec a, kvec b)                                            \
    { return __builtin_shufflevector(a, b, __VA_ARGS__); }
#else
#define K_SHUFFLE(name, ...)                                                             \
    static inline kvec K_(name)(kvec a, kvec b)                                            \
    { const kints list = { __VA_ARGS__ }; return __builtin_shuffle(a, b, list); }
#endif
K_SHUFFLE(evens, K_EVENS)
K_SHUFFLE(odds, K_ODDS)
K_SHUFFLE(near_evens, K_NEAR_EVENS)
K_SHUFFLE(near_odds, K_NEAR_ODDS)
K_SHUFFLE(far_evens, K_FAR_EVENS)
K_SHUFFLE(far_odds, K_FAR_ODDS)
static inline kvec K_(sort_evens)(kvec a, kvec b, int within)
{
    return within ? K_(near_evens)(a, b) : K_(far_evens)(a, b);
}
static inline kvec K_(sort_odds)(kvec a, kvec b, int within)
{
    return within ? K_(near_odds)(a, b) : K_(far_odds)(a, b);
}
#endif

#include "kernels/products.h"
#include "kernels/taps.h"
#include "kernels/functions.h"
#include "kernels/elements.h"
#include "kernels/pixels.h"

#define K_ENTRY(type, name, arguments) , K_(name)
static const lsnni_kernels K_(kernels) = { K_TILE_ROWS, K_LANES LSNNI_KERNELS(K_ENTRY) };

#include "kernels/end.h"
#endif /* LSNNI_KERNEL_PASS */
