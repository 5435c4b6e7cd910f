"""CPython 3.13.5 for WebAssembly, for Assay's sandbox: `python.wasm.xz`, beside this file."""
