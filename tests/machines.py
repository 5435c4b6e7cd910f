"""The same on every machine: this processor as eight others, by what its libraries may use of it.

    python tests/machines.py                    all that this processor can be
    python tests/machines.py avx2-1 default-2   these

Matrix products round otherwise with other instructions and other numbers of threads. On each
machine the golden window is drawn, the tests of what computes run, and the demo; then the machine
after it judges that demo's windows again, model included, and must find no difference. It is
arithmetic that is emulated, not another processor: memory, caches and clocks are this one's.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
#: Tests that compute with a model.
COMPUTING = tuple(
    ROOT / "tests" / name
    for name in (
        "inference",
        "verification",
        "training",
        "lab/gauntlet",
        "artifacts",
        "audit/provenance",
        "neurons/preflight",
        "cli/test_calibrate_command.py",
    )
)
#: Which of these tests: those of every day that take seconds.
_QUICK = "not slow and not nightly and not kill and not faults"
_BEYOND_AVX2 = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR"
#: Instruction set → what PyTorch, MKL, oneDNN, numpy and numba are told; numpy: what it must not
#: use. Numba keeps what it compiled by processor.
_SETS: dict[str, Mapping[str, str]] = {
    "default": {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "NPY_DISABLE_CPU_FEATURES": f"AVX2 FMA3 {_BEYOND_AVX2}",
        "NUMBA_CPU_NAME": "nehalem",
        "NUMBA_CPU_FEATURES": "",
    },
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_CBWR": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "NPY_DISABLE_CPU_FEATURES": _BEYOND_AVX2,
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "",
    },
    "avx512": {
        "ATEN_CPU_CAPABILITY": "avx512",
        "MKL_CBWR": "AVX512",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
        "NUMBA_CPU_NAME": "skylake-avx512",
        "NUMBA_CPU_FEATURES": "",
    },
}
#: PyTorch's kernels and MKL's products are chosen apart, on processors that are not Intel's.
_SETS |= {"mixed": {**_SETS["default"], "MKL_CBWR": "AVX2"}}
MACHINES: Mapping[str, Mapping[str, str]] = {
    f"{name}-{threads}": {**told, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    for name, told in _SETS.items()
    for threads in ("1", "2")
}


def find_machines() -> list[str]:
    """Those that this processor can be."""
    flags = Path("/proc/cpuinfo").read_text().partition("\nflags")[2].partition("\n")[0].split()
    needed = {"default": set(), "avx2": {"avx2", "fma"}, "avx512": {"avx512f", "avx512bw"}}
    needed["mixed"] = needed["avx2"]
    return [name for name in MACHINES if needed[name.partition("-")[0]] <= set(flags)]


def run(machine: str, what: str, command: Sequence[str | Path]) -> bool:
    """Runs a command as a machine would; whether it succeeded. Its output only where not."""
    environment = {**os.environ, **MACHINES[machine]}  # noqa: TID251 - a child needs a whole one
    done = subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3_600,
        check=False,
    )
    print(
        f"{machine}: {what}: {'as it should be' if done.returncode == 0 else 'FAILED'}", flush=True
    )
    if done.returncode:
        print(done.stdout[-6_000:], flush=True)
    return done.returncode == 0


def main(names: Sequence[str]) -> int:
    known = find_machines()
    for name in MACHINES:
        if name not in known:
            print(f"{name}: this processor has not these instructions: not run")
    chosen = list(names) or known
    if unknown := set(chosen) - set(known):
        print(f"no machine {sorted(unknown)[0]!r}: there are {', '.join(known)}", file=sys.stderr)
        return 2
    good = True
    with TemporaryDirectory(prefix="assay-machines-") as scratch:
        for name in chosen:
            out = Path(scratch) / name
            good &= run(
                name, "golden window", [sys.executable, "tests/vectors/golden.py", "--check"]
            )
            good &= run(
                name, "tests", [BIN / "pytest", "-q", "-n", "auto", "-m", _QUICK, *COMPUTING]
            )
            good &= run(name, "demo", [BIN / "assay", "demo", "--fast", "--quiet", "--out", out])
        for name, judge in zip(chosen, [*chosen[1:], chosen[0]], strict=True):
            out = Path(scratch) / name
            offline = ["--offline", out / "bundle", "--allow-local-beacon", "--json"]
            judged = [BIN / "assay", "audit", *offline, "--model", out / "models"]
            good &= run(judge, f"judges the demo of {name}", judged)
    ran = f"{len(chosen)} of {len(MACHINES)} machines ran"
    print(f"{ran}: {'all of them agree' if good else 'they do not agree'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
