#!/bin/sh
# Builds the image of the Dockerfile without a Docker engine and without a registry of images, with a
# sandbox for programs, and plays the demo in it: buildah, on a Debian that debootstrap makes. Needs root,
# both packages, a gigabyte of memory and ten of disk. PIP_TORCH_ARGS as for make; FLAGS are more flags of `buildah build`, such as
# "--volume /etc/pip.conf:/etc/pip.conf:ro" where pip needs settings.
set -eu
cd "$(dirname "$0")/.."
for tool in buildah debootstrap; do
  command -v $tool >/dev/null || { echo "deploy/check-image.sh needs $tool: apt-get install buildah debootstrap" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "deploy/check-image.sh needs root" >&2; exit 2; }
scratch=$(mktemp -d)
# everything of buildah's in a folder of its own, which goes with it
buildah() { command buildah --root "$scratch/storage" --runroot "$scratch/run" --storage-driver vfs "$@"; }
trap 'rm -rf "$scratch"' EXIT

echo "== Debian"
debootstrap --variant=minbase bookworm "$scratch/debian" >"$scratch/debootstrap.log" || { tail "$scratch/debootstrap.log" >&2; exit 1; }
base=$(buildah from scratch)
buildah add -q "$base" "$scratch/debian" >/dev/null
buildah config --cmd bash --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$base"
buildah commit -q --rm "$base" localhost/debian:bookworm-slim >/dev/null
rm -rf "$scratch/debian"

echo "== the image"
buildah build --isolation chroot --pull-never ${FLAGS:-} --build-arg PIP_TORCH_ARGS="${PIP_TORCH_ARGS:-}" \
  --build-arg EXTRAS=envs -t assay .

made=$(buildah from --pull-never localhost/assay)
echo "== the sandbox in it"
buildah run --isolation chroot "$made" -- assay sandbox prepare --for reasoning_gym

echo "== the demo in it"
buildah run --isolation chroot "$made" -- assay demo --fast --out /tmp/demo
