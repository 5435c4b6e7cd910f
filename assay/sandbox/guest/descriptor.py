"""The interpreter that runs strangers' programs, and by which digests it is known. Another
interpreter is another value of `INTERPRETER`, and nothing else."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Release:
    """What is taken of one release of a distribution.

    Attributes:
        chosen: the paths of what is taken, below the folder that it is installed in: a pattern of
            Python's `re` that a whole path has.
        digest: SHA-256 of `modules.pack` of it.
    """

    distribution: str
    version: str
    chosen: str
    digest: str


@dataclass(frozen=True, slots=True)
class Modules:
    """Modules of an image.

    Attributes:
        name: of the image.
        releases: of other people.
        own: package of ours that nobody imports here: its files are modules there.
        first: module that is loaded when the image is made, with all that it imports.
    """

    name: str
    releases: tuple[Release, ...]
    own: str
    first: str


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A CPython in WebAssembly, and the image that is made of it.

    Attributes:
        python: its version, as prompts name it.
        module_bytes, module_digest: size and SHA-256 of the module.
        vectorcall: where a function's object has the number of the C function that calls it: bytes
            from its address, by the interpreter's headers.
        image_digest: SHA-256 of the finished image (`image.make_image`). Environments name it.
        loader: module that has the loaded image as `IMAGE` (`loading`).
        modules: what the image has besides the interpreter's own modules, if anything.
    """

    python: str
    module_bytes: int
    module_digest: str
    vectorcall: int
    image_digest: str
    loader: str = "assay.sandbox.guest.loaded"
    modules: Modules | None = None

    @property
    def name(self) -> str:
        """By which `assay sandbox prepare --for` knows the image; empty: it is the plain one."""
        return self.modules.name if self.modules else ""

    @property
    def remedy(self) -> str:
        """The command that makes the image here."""
        return "assay sandbox prepare" + (f" --for {self.name}" if self.name else "")


#: CPython 3.13.5, as `python-wasm/compile.py` compiles it.
INTERPRETER = Interpreter(
    python="3.13",
    module_bytes=15_477_660,
    module_digest="b4d40a6d28c6e7104defe6ab8df1952bfcdaa85dc559f1ce4b560ecdb49b0436",
    vectorcall=64,
    image_digest="5bd861bb2bda0c95c0d925cfa806cc7050015608ffb2fccc068d8444cccc49f8",
)
