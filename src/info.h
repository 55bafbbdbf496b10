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
#ifdef _OPENMP
           " openmp"
#endif
#ifdef LSNN_USE_CBLAS
           " cblas"
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
