#!/bin/sh
# names.sh - the double build's names, from the API:  sh tools/names.sh src/api.h > src/names.h
# `make lsnn.h` calls it before it assembles; the first test compares.
cat <<'END'
/* ---- >>double: the double build's functions have names of their own, so that both
   precisions can live in one program and a mix-up ends at the linker. Made by
   tools/names.sh from the functions below.                                   */
#ifdef LSNN_DOUBLE
END
awk '/^LSNN_API / {
    name = $0
    sub(/\(.*/, "", name)
    sub(/.*[ *]/, "", name)
    if (name ~ /^lsnn_/) print "#define " name " " name "_f64"
}' "$1"
echo '#endif'
