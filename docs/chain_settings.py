"""Writes the table of owner.md: the chain's settings, what to choose, and where that was read.

python docs/chain_settings.py          # rewrites it
python docs/chain_settings.py --check  # exit 1 if it differs
"""

import sys
from pathlib import Path

from page_parts import fill, write_or_check

from assay.subnet.chain_settings import CHAIN_SETTINGS, READ_ON, SOURCES, ChainSetting

PAGE = Path(__file__).with_name("owner.md")


def make_settings_table() -> str:
    rows = ["| setting | set by | choose | why | read in |", "|---|---|---|---|---|"]
    rows += [_make_row(setting) for setting in CHAIN_SETTINGS]
    return "\n".join(rows)


def _make_row(setting: ChainSetting) -> str:
    choose, read = setting.choose or "–", ", ".join(setting.sources)
    return f"| `{setting.name}` | {setting.set_by} | {choose} | {setting.why} | {read} |"


def make_sources() -> str:
    listed = "; ".join(f"[{name}]({page}): {what}" for name, (what, page) in SOURCES.items())
    return f"Read on {READ_ON}. {listed}."


def main() -> int:
    parts = {"chain-settings": make_settings_table(), "chain-sources": make_sources()}
    return write_or_check({PAGE: fill(PAGE.read_text(), parts, PAGE.name)})


if __name__ == "__main__":
    sys.exit(main())
