#!/bin/sh
# names.sh - the names that double builds and namespaces give, from the API:
#     sh tools/names.sh src/api.h > src/names.h
# `make lsnn.h` calls it before it assembles; the first test compares.
cat <<'END_OF_HEAD'
/* ---- >>double: the double build's functions have names of their own (..._f64), so that both
   precisions can live in one program and a mix-up ends at the linker; so have those of a
   copy with an LSNN_NAMESPACE. Made by tools/names.sh from the functions below.   */
#if defined(LSNN_DOUBLE) || defined(LSNN_NAMESPACE)
#ifndef LSNN_NAMESPACE
#define LSNN_NAMESPACE
#endif
#ifdef LSNN_DOUBLE
#define LSNNI_SUFFIX _f64
#else
#define LSNNI_SUFFIX
#endif
#define LSNNI_PASTE(prefix, name, suffix) prefix##name##suffix
#define LSNNI_NAMED(prefix, name, suffix) LSNNI_PASTE(prefix, name, suffix)
#define LSNNI_NAME(name) LSNNI_NAMED(LSNN_NAMESPACE, name, LSNNI_SUFFIX)
END_OF_HEAD
awk '/^LSNN_API / {
    name = $0
    sub(/\(.*/, "", name)
    sub(/.*[ *]/, "", name)
    if (name ~ /^lsnn_/) print "#define " name " LSNNI_NAME(" name ")"
}' "$1"
echo '#endif'
