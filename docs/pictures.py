"""Takes the pictures of the explorer that documents show, of a demo that was played here.

python docs/pictures.py [DEMO]   # assay-demo; needs Debian's chromium

The rollout is the audited one of best-of-seeds, in the demo's fourth window, with the fewest tokens
that are not the keyed draw.
"""

import io
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).with_name("images")
CHROMIUM = "/usr/bin/chromium"
WIDTH, OVERVIEW_HEIGHT, ROLLOUT_HEIGHT = 1_000, 1_000, 900
MINER, WINDOW = "best-of-seeds", 3
#: Seconds for the record to be read and a rollout to be run.
PATIENCE_S = 300


@contextmanager
def serve(demo: Path) -> Iterator[str]:
    """An explorer over the demo, named as somebody beside it would; its address."""
    with tempfile.TemporaryDirectory(prefix="assay-") as index:
        assay = Path(sys.executable).with_name("assay")
        command = [assay, "explorer", "--dir", demo.name, "--port", "0", "--index", index]
        with subprocess.Popen(
            [*command, "--quiet"], stdout=subprocess.PIPE, text=True, cwd=demo.parent
        ) as process:
            assert process.stdout is not None
            try:
                yield process.stdout.readline().strip().rstrip("/")
            finally:
                process.terminate()


def ask(address: str, path: str) -> dict[str, Any]:
    """A page's document, once it holds all that it waits for."""
    ends = time.monotonic() + PATIENCE_S
    while True:
        with urllib.request.urlopen(f"{address}{path}.json", timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
        if not (found.get("lack") or {}).get("passing"):
            return found
        if time.monotonic() > ends:
            raise TimeoutError(f"{path} was not measured in {PATIENCE_S} s")
        time.sleep(0.5)


def find_rollout(address: str, summary: dict[str, Any]) -> str:
    """Path of the rollout that is shown."""
    window = summary["windows"][WINDOW]
    (hotkey,) = (row["hotkey"] for row in window["verdicts"] if row["name"] == MINER)
    member = f"/window/{window['window']}/{hotkey}"
    found = {}
    for group in ask(address, member)["audited"]:
        place = f"{member}/{group['index']}"
        for number in ask(address, f"{place}/0")["drawn"]["audited"]:
            path = f"{place}/{number}"
            found[path] = ask(address, path)["reading"]["off"]
    refused = {path: off for path, off in found.items() if off}
    return min(refused, key=lambda path: refused[path])


def take(page: Page, address: str, path: str, height: int, name: str) -> None:
    """One picture, in 256 colours."""
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.goto(address + path)
    page.locator("#live-state:text-is('live')").wait_for()
    picture = Image.open(io.BytesIO(page.screenshot()))
    small = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(IMAGES / name, optimize=True)


def main() -> None:
    demo = Path(sys.argv[1] if len(sys.argv) > 1 else "assay-demo").resolve()
    summary = json.loads((demo / "summary.json").read_text())
    with serve(demo) as address, sync_playwright() as started:
        rollout = find_rollout(address, summary)
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        take(page, address, "/", OVERVIEW_HEIGHT, "explorer-overview.png")
        take(page, address, rollout, ROLLOUT_HEIGHT, "explorer-rollout.png")
        browser.close()


if __name__ == "__main__":
    main()
