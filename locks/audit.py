"""Asks which locked packages have known vulnerabilities: `make audit-deps`.

pip-audit asks the service: PyPI's, or OSV's (`--vulnerability-service osv`). Exit 0 none has any,
1 some have, 2 the service could not be asked about all of them: nothing follows from its silence.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCKS = Path(__file__).parent
#: Builds that are not on PyPI: torch.txt has the same version.
NOT_ASKED = {"torch-cpu.txt"}
#: For all packages together.
PATIENCE_S = 900


def main(options: list[str]) -> int:
    files = sorted(path for path in LOCKS.rglob("*.txt") if path.name not in NOT_ASKED)
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes"]
    command += ["--progress-spinner", "off", "--format", "json", *options]
    for path in files:
        command += ["--requirement", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        return say(f"the vulnerability service did not answer within {PATIENCE_S} s: try again")
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        return say(f"the vulnerability service cannot be asked from here: {reason[:300]}")
    return judge(found)


def judge(found: list[dict[str, Any]]) -> int:
    """Print the findings in pip-audit's list of packages. Returns the exit code."""
    skipped = sorted(one["name"] for one in found if "skip_reason" in one)
    harmed = [one for one in found if one.get("vulns")]
    for one in harmed:
        for known in one["vulns"]:
            fixed = ", ".join(known["fix_versions"]) or "no version"
            print(f"{one['name']} {one['version']}: {known['id']}, fixed in {fixed}")
    if harmed:
        print(f"{len(harmed)} of {len(found)} packages have known vulnerabilities")
        return 1
    if skipped or not found:
        return say(
            f"the vulnerability service does not know {len(skipped)} of {len(found)} packages, "
            f"such as {', '.join(skipped[:3]) or 'none'}: it is not reachable from here, or a "
            "mirror answers in its place. Run this where it is reachable"
        )
    print(f"{len(found)} packages, no known vulnerability")
    return 0


def say(reason: str) -> int:
    print(f"audit-deps: nothing is known: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
