"""The explorer as a separate program, and its pages of a demo."""

import json
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

from tests.commands import start_code
from tests.explorer.api_types import check_document
from tests.preloading import MODULES

#: The program, whose helper for groups is a fork too if the program is one.
_EXPLORER = f"""
import sys
from functools import partial
from assay.cli.entry import main
from assay.explorer.sources import groups
from assay.sandbox import share_preloaded
if "torch" in sys.modules:
    preloaded = share_preloaded(*{MODULES})
    preloaded.start_as_fork()
    groups.Sandbox = partial(groups.Sandbox, preloaded=preloaded)
main()
"""


class Served:
    """A running explorer."""

    def __init__(self, process, address):
        self.process = process
        self.address = address

    @property
    def port(self):
        return int(self.address.rstrip("/").rpartition(":")[2])

    def get(self, path, accept="text/html"):
        """Status, headers and body, whatever the status."""
        request = urllib.request.Request(
            self.address.rstrip("/") + path, headers={"accept": accept}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()

    def get_json(self, path):
        status, _, body = self.get(path, "application/json")
        assert status == 200, (path, status, body)
        document = json.loads(body)
        check_document(path, document)
        return document

    def wait_until_read(self):
        """Until the whole record, and all rollouts that are at hand, are in the index."""
        ends = time.monotonic() + 240
        while time.monotonic() < ends:
            status, _, page = self.get("/")  # 503 while it is being looked for
            if status == 200 and "reading the record" not in page:
                status, _, page = self.get("/rollouts.json")
                if status == 200 and json.loads(page)["sources"]["done"]:
                    return
            time.sleep(0.1)
        raise AssertionError("the record was not read in time")


def _start_explorer(*arguments, **options):
    return start_code(_EXPLORER, *arguments, **options)


@contextmanager
def serve(cwd, *arguments, start=_start_explorer):
    """An explorer as a program of its own, on a free port."""
    with tempfile.TemporaryDirectory(prefix="assay-", ignore_cleanup_errors=True) as index:
        process = start(
            *("explorer", "--port", "0", "--rate", "10000", "--index", index, "--json", *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
        )
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield Served(process, json.loads(line)["address"])
        finally:
            process.terminate()
            try:
                process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def list_pages(demo):
    """An address of each kind of page, over a demo's record."""
    summary = json.loads((demo / "summary.json").read_text())
    window = summary["windows"][1]
    by_role = {v["role"]: v["hotkey"] for v in window["verdicts"]}
    number, honest, cheat = window["window"], by_role["honest"], by_role["cheat"]
    epoch = summary["settlements"][0]["epoch_block"]
    return [
        "/",
        "/miners",
        f"/miner/{cheat}",
        "/windows",
        f"/window/{number}",
        f"/window/{number}/{honest}",
        f"/window/{number}/{cheat}",
        f"/window/{number}/{honest}/0/0",
        "/weights",
        f"/settlement/{epoch}",
        "/ledger",
        "/training",
        "/watch",
        "/rollouts",
        "/proposals",
        "/rounds",
        "/validators",
        "/check",
        "/gauntlet",
        "/evaluations",
    ]


def list_looks(demo):
    """These, and what else a browser is shown."""
    summary = json.loads((demo / "summary.json").read_text())
    window = summary["windows"][1]
    honest = next(v["hotkey"] for v in window["verdicts"] if v["role"] == "honest")
    (record,) = (demo / "record").iterdir()
    return [
        *list_pages(demo),
        f"/miner/{honest}",
        f"/miner/{record.name}",
        f"/rollouts/{window['window']}/{honest}/0",
        *("/api", "/search", "/search?q=4", "/search?q=nobody"),
    ]
