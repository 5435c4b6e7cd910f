"""The site's pages that lie elsewhere: the README is its first one, and what pages link to beside docs/ comes along.
The first use of each of the glossary's words on a page leads there.

For programs that read: each page's Markdown lies beside it, and llms.txt lists them (llmstxt.org)."""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation, Section
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
#: The menu's, once it is known.
_sections: list[Section] = []
#: Pages at the repository's root, and what they are called on the site.
_AT_ROOT = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_BESIDE = re.compile(r"\]\(\.\./([\w./-]+)")
#: Pages of prose alone: the others are looked things up in.
_UNLINKED = {
    "glossary.md",
    "commands.md",
    "figures.md",
    "settings.md",
    "specification.md",
    "style.md",
}
#: What is left as it is: fenced and indented code, headings, tables, HTML, code and links within a line.
_BLOCKS = r"^ *```.*?^ *```|^(?: {4}|#|\||<)[^\n]*"
_OTHER = rf"{_BLOCKS}|`[^`\n]+`|!?\[[^\]]*\](?:\([^)]*\))?"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages at the root and all files outside docs/ that a page links to."""
    for name, page in _AT_ROOT.items():
        text = re.sub(r"\]\(docs/", "](", (ROOT / name).read_text())
        for other, its_page in _AT_ROOT.items():
            text = text.replace(f"]({other})", f"]({its_page})")
        files.append(File.generated(config, page, content=text))
    linked = {
        name for path in (ROOT / "docs").glob("*.md") for name in _BESIDE.findall(path.read_text())
    } - set(_AT_ROOT)
    for name in sorted(linked):
        # a browser shows a text, and downloads a program
        files.append(File.generated(config, _place(name), content=(ROOT / name).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    if page.file.src_uri.startswith("source/"):
        return re.sub(
            r"\]\((?!http|#)([^)]+)\)", r"](#)", markdown
        )  # it leads on from there, not from here
    if page.file.src_uri not in _UNLINKED:
        markdown = _link_words(markdown)
    return _BESIDE.sub(lambda found: f"]({_AT_ROOT.get(found[1]) or _place(found[1])}", markdown)


def _link_words(markdown: str) -> str:
    """The first use of each word of the glossary as a link to it."""
    anchors = re.findall(r'<a id="([\w-]+)">', (ROOT / "docs" / "glossary.md").read_text())
    words = {anchor.replace("-", " "): anchor for anchor in anchors}
    longest = "|".join(sorted(words, key=len, reverse=True))
    seen: set[str] = set()

    def link(found: re.Match[str]) -> str:
        word = (found[1] or "").lower()
        if not word or word in seen:
            return found[0]
        seen.add(word)
        return f"[{found[0]}](glossary.md#{words[word]})"

    return re.sub(
        rf"{_OTHER}|\b({longest})s?\b(?![-/.]\w)", link, markdown, flags=re.M | re.S | re.I
    )


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    place = Path(config.site_dir, page.file.src_uri)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(page.markdown or "")
    return html


def on_env(env: object, config: MkDocsConfig, files: Files) -> None:
    """Every page has been read by now, and `on_nav` was called before."""
    parts = [f"# {config.site_name}", f"> {config.site_description}"]
    pages: list[Page] = []
    for section in _sections:
        parts.append(f"## {section.title}")
        own = [page for page in section.children if isinstance(page, Page)]
        parts.append("\n".join(map(_list_page, own)))
        pages += own
    site = Path(config.site_dir)
    (site / "llms.txt").write_text("\n\n".join(parts) + "\n")
    whole = (f"{page.markdown or ''}".strip() for page in pages)
    (site / "llms-full.txt").write_text("\n\n---\n\n".join(whole) + "\n")


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    _sections[:] = [item for item in nav.items if isinstance(item, Section)]
    return nav


def _list_page(page: Page) -> str:
    """A line of llms.txt, with the page's first sentence."""
    prose = re.sub(_BLOCKS, "", page.markdown or "", flags=re.M | re.S)
    words = " ".join(re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", prose).split())
    about = re.match(r".{20,}?[.:](?= [A-Z]|$)", words)
    return f"- [{page.title}]({page.file.src_uri})" + (f": {about[0]}" if about else "")


def _place(name: str) -> str:
    path = posixpath.join("source", name)
    return path + ".txt" if name.endswith((".py", ".toml")) else path
