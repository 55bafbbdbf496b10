#!/bin/sh
# assemble.sh - pastes src/ together:  sh tools/assemble.sh src/lsnn.h > lsnn.h
#
# A line  #include "name.h"  becomes the text of that file, found beside the one that has the
# line. Nothing else is changed. `make lsnn.h` calls it, and the first test of `make test`
# compares: edit src/, never lsnn.h.
awk '
function paste(path,    folder, line, name, status) {
    folder = path
    if (!sub(/[^\/]*$/, "", folder)) folder = ""
    while ((status = (getline line < path)) > 0) {
        if (line ~ /^#include "[^"]+"$/) {
            name = line
            gsub(/^#include "|"$/, "", name)
            paste(folder name)
        } else print line
    }
    if (status < 0) {
        print "assemble: cannot read " path > "/dev/stderr"
        exit 1
    }
    close(path)
}
BEGIN { paste(ARGV[1]) }' "$1"
