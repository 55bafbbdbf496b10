#if defined(LSNN_IMPLEMENTATION) && !defined(LSNNI_ISA)
#define LSNNI_ISA
/* ---- >>instruction sets: the passes over the chapter above --------------------
   A pass names its instruction set, the bytes of a vector, the rows of a tile,
   and how to multiply and add. It is compiled for that set whatever the flags
   say, and chosen when the program runs, so plain `cc -O2` is already fast.   */
#ifndef LSNN_FILENAME
#define LSNN_FILENAME "lsnn.h"       /* set it if you rename this file        */
#endif
#ifdef LSNN_DOUBLE
#define K_SQRT(v) sqrt(v)
#else
#define K_SQRT(v) sqrtf(v)
#endif
#if defined(__GNUC__) && !defined(__CUDACC__) && !defined(LSNN_NO_SIMD) && \
    !defined(LSNN_NAIVE) && (defined(__SSE2_MATH__) || !defined(__i386__))
#  define LSNNI_VECTORS 1
#  if defined(__x86_64__)
#    define LSNNI_X86 1
#    include <immintrin.h>
#  elif defined(__aarch64__)
#    define LSNNI_ARM 1
#    include <arm_neon.h>
#  endif
#endif

#ifdef LSNNI_VECTORS
#  if !defined(__clang__)
#    pragma GCC push_options
#    ifdef LSNNI_X86                 /* old processors only: compiled fast    */
#      pragma GCC optimize("O1", "no-math-errno", "no-trapping-math")
#    else
#      pragma GCC optimize("O2", "tree-vectorize", "vect-cost-model=dynamic")
#      pragma GCC optimize("no-math-errno", "no-trapping-math")
#    endif
#  endif
#  define LSNNI_KERNEL_PASS portable
#  define K_BYTES 16
#  ifdef LSNNI_ARM
#    define K_TILE_ROWS 8
#  else
#    define K_TILE_ROWS 4
#  endif
#  include LSNN_FILENAME
#  ifdef LSNNI_ARM
#    define LSNNI_KERNEL_PASS neon
#    define K_BYTES 16
#    define K_TILE_ROWS 8
#    ifdef LSNN_DOUBLE
#      define K_FMA(a, b, c)                                                              \
           ((kvec)vfmaq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b)))
#    else
#      define K_FMA(a, b, c)                                                              \
           ((kvec)vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b)))
#    endif
#    include LSNN_FILENAME
#  endif
#  if !defined(__clang__)
#    pragma GCC pop_options
#  endif
#else
#  define LSNNI_KERNEL_PASS portable
#  define K_BYTES 0
#  define K_TILE_ROWS 4
#  include LSNN_FILENAME
#endif

#ifdef LSNNI_X86
#  ifdef __clang__
#    pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#  else
#    pragma GCC push_options
#    pragma GCC target("avx2,fma")
#    pragma GCC optimize("O2", "tree-vectorize", "vect-cost-model=dynamic")
#    pragma GCC optimize("no-math-errno", "no-trapping-math")
#  endif
#  define LSNNI_KERNEL_PASS avx2
#  define K_BYTES 32
#  define K_TILE_ROWS 4
#  ifdef LSNN_DOUBLE
#    define K_FMA(a, b, c) ((kvec)_mm256_fmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c)))
#  else
#    define K_FMA(a, b, c) ((kvec)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#  endif
#  include LSNN_FILENAME
#  ifdef __clang__
#    pragma clang attribute pop
#    pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx2,fma"))), \
                                 apply_to = function)
#  else
#    pragma GCC pop_options
#    pragma GCC push_options
#    pragma GCC target("avx512f,avx512dq,avx512vl,avx2,fma")
#    pragma GCC optimize("O2", "tree-vectorize", "vect-cost-model=dynamic")
#    pragma GCC optimize("no-math-errno", "no-trapping-math")
#  endif
#  define LSNNI_KERNEL_PASS avx512
#  define K_BYTES 64
#  define K_TILE_ROWS 8
#  ifdef LSNN_DOUBLE
#    define K_FMA(a, b, c) ((kvec)_mm512_fmadd_pd((__m512d)(a), (__m512d)(b), (__m512d)(c)))
#    define K_LOAD_SOME(p, n) ((kvec)_mm512_maskz_loadu_pd((__mmask8)((1u << (n)) - 1), p))
#    define K_STORE_SOME(p, v, n)                                                         \
         _mm512_mask_storeu_pd(p, (__mmask8)((1u << (n)) - 1), (__m512d)(v))
#    define K_STORE_SOME_INTS(p, v, n)                                                    \
         _mm256_mask_storeu_epi32(p, (__mmask8)((1u << (n)) - 1),                         \
                                  (__m256i)__builtin_convertvector(v, K_(whole)))
#  else
#    define K_FMA(a, b, c) ((kvec)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#    define K_LOAD_SOME(p, n) ((kvec)_mm512_maskz_loadu_ps((__mmask16)((1u << (n)) - 1), p))
#    define K_STORE_SOME(p, v, n)                                                         \
         _mm512_mask_storeu_ps(p, (__mmask16)((1u << (n)) - 1), (__m512)(v))
#    define K_STORE_SOME_INTS(p, v, n)                                                    \
         _mm512_mask_storeu_epi32(p, (__mmask16)((1u << (n)) - 1), (__m512i)(v))
#  endif
#  include LSNN_FILENAME
#  ifdef __clang__
#    pragma clang attribute pop
#  else
#    pragma GCC pop_options
#  endif
#endif
#undef K_SQRT

LSNN_API int lsnn_isa_available(lsnn_isa isa)
{
    switch (isa) {
    case LSNN_ISA_BEST:
    case LSNN_ISA_PORTABLE: return 1;
#ifdef LSNNI_X86
    case LSNN_ISA_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case LSNN_ISA_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
#endif
#ifdef LSNNI_ARM
    case LSNN_ISA_NEON: return 1;
#endif
    default: return 0;
    }
}

LSNN_API lsnn_isa lsnn_ctx_isa(const lsnn_ctx *cx)
{
    if (cx->isa != LSNN_ISA_BEST && lsnn_isa_available(cx->isa)) return cx->isa;
    if (lsnn_isa_available(LSNN_ISA_AVX512)) return LSNN_ISA_AVX512;
    if (lsnn_isa_available(LSNN_ISA_AVX2)) return LSNN_ISA_AVX2;
    if (lsnn_isa_available(LSNN_ISA_NEON)) return LSNN_ISA_NEON;
    return LSNN_ISA_PORTABLE;
}

static const char *const lsnni_isa_names[LSNN_ISA_COUNT_] = {
    "best", "portable", "avx2", "avx512", "neon"
};

LSNN_API const char *lsnn_isa_name(lsnn_isa isa)
{
    return (int)isa >= 0 && isa < LSNN_ISA_COUNT_ ? lsnni_isa_names[isa] : "unknown";
}

LSNN_API lsnn_isa lsnn_isa_from_name(const char *name)
{
    int i = name ? 0 : LSNN_ISA_COUNT_;              /* of getenv, perhaps    */
    while (i < LSNN_ISA_COUNT_ && strcmp(name, lsnni_isa_names[i]) != 0) i++;
    return (lsnn_isa)i;
}

static const lsnni_kernels *lsnni_kernels_of(const lsnn_ctx *cx)
{
    switch (lsnn_ctx_isa(cx)) {
#ifdef LSNNI_X86
    case LSNN_ISA_AVX512: return &lsnni_kernels_avx512;
    case LSNN_ISA_AVX2: return &lsnni_kernels_avx2;
#endif
#ifdef LSNNI_ARM
    case LSNN_ISA_NEON: return &lsnni_kernels_neon;
#endif
    default: return &lsnni_kernels_portable;
    }
}

/* ---- >>info: what this build holds ---------------------------------------------*/
LSNN_API const char *lsnn_build_info(void)
{
    return "lsnn " LSNN_VERSION
#ifdef LSNN_DOUBLE
           " double"
#else
           " float"
#endif
#ifdef LSNNI_X86
           " portable avx2 avx512"
#elif defined(LSNNI_ARM)
           " portable neon"
#else
           " portable"
#endif
#ifdef LSNNI_TEAM
           " threads"
#elif defined(LSNNI_OPENMP)
           " openmp"
#endif
#ifdef LSNN_USE_CBLAS
           " cblas"
#endif
#ifdef LSNN_USE_MPI
           " mpi"
#endif
#ifdef LSNN_USE_ZLIB
           " zlib"
#endif
#ifdef LSNNI_PNG
           " png"
#endif
#if defined(__clang__)
           " clang " __clang_version__
#elif defined(__GNUC__)
           " gcc " __VERSION__
#endif
           ;
}
#endif /* LSNNI_ISA */
