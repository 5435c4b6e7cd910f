#!/bin/sh
# Installs locks of this folder: locks/install.sh PYTHON NAME…, such as `locks/install.sh python3 torch run`.
# pip resolves nothing here, and refuses a file whose hash is not in the lock. `torch` is a build of
# PyTorch without CUDA where pip finds one, PyPI's build with its libraries elsewhere. PIP_TORCH_ARGS is
# what pip is told for PyTorch alone, such as the index of the builds without CUDA. A build of the same
# version that you have installed before stays.
set -eu
python=$1
shift
locks=$(dirname "$0")
install() {
  "$python" -m pip --disable-pip-version-check install -qq --no-deps --require-hashes --no-build-isolation "$@"
}
for name in "$@"; do
  if [ "$name" = torch ]; then
    install ${PIP_TORCH_ARGS:-} -r "$locks/torch-cpu.txt" 2>/dev/null || install ${PIP_TORCH_ARGS:-} -r "$locks/torch.txt"
    # only a build with CUDA names its libraries
    if "$python" -c 'import sys; from importlib.metadata import requires
sys.exit(not any(one.startswith("nvidia") for one in requires("torch")))'; then
      install -r "$locks/cuda.txt"
    fi
  else
    install -r "$locks/$name.txt"
  fi
done
