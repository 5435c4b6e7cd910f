#!/bin/sh
# Judges a bundle with an assay-judge that is installed in an environment: judge/try.sh ENVIRONMENT.
# Outside of the checkout, of which it takes the bundle alone.
set -eu
bin=$1/bin
run=$(cd "$(dirname "$0")/.." && echo "$PWD"/tests/data/kept_run/run-*.tar.xz)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
unset PYTHONPATH
"$bin/python" -m tarfile --filter data -e "$run" bundle
"$bin/assay-judge" --help >/dev/null
"$bin/assay-judge" problem arithmetic >/dev/null
# without the extra `text`, not all of it can be checked
"$bin/python" -c 'import jinja2, tokenizers' 2>/dev/null && expected=0 || expected=2
code=0
"$bin/assay-judge" bundle bundle --allow-local-beacon || code=$?
test "$code" = "$expected"
