"""Makes pages of what the docs link to outside of docs/: programs with numbered lines, and README files.

The links are those of the repository, `../ssmtl/objective.py#L29`, so that they work where files are browsed as well.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"\]\((?P<up>(?:\.\./)+)(?P<path>[^)#\s]+)(?P<anchor>#[^)\s]+)?\)")
_LINE = re.compile(r"#L(\d+)$")
_LINE_ID = re.compile(r'id="(__codelineno-[^"]+)"')
_LANGUAGES = {".py": "python", ".toml": "toml", ".yml": "yaml", "": "bash"}
_wanted: dict[str, None] = {}


def on_files(files: Files, *, config: Any) -> Files:
    """Add a page for every file of the repository that a page links to."""
    _wanted.clear()
    for page in list(files.documentation_pages()):
        for path in _outside(page.src_uri, page.content_string):
            _wanted[path] = None
    for path in _wanted:
        files.append(File.generated(config, _page(path), content=_content(path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Point links to files of the repository to their pages."""
    here = page.file.src_uri

    def moved(link: re.Match[str]) -> str:
        path = _target(here, link)
        if path is None:
            return link[0]
        up = "../" * here.count("/")
        anchor = _LINE.sub(r"#__codelineno-0-\1", link["anchor"] or "")
        return f"]({up}{_page(path)}{anchor})"

    return markdown if here.startswith("source/") else _LINK.sub(moved, markdown)


def on_page_content(html: str, *, page: Any, **_: Any) -> str:
    """Tell mkdocs that lines of programs can be linked to, which it doesn't see by itself."""
    if page.file.src_uri.startswith("source/"):
        page.present_anchor_ids |= set(_LINE_ID.findall(html))
    return html


def _outside(here: str, markdown: str) -> list[str]:
    return [path for link in _LINK.finditer(markdown) if (path := _target(here, link)) is not None]


def _target(here: str, link: re.Match[str]) -> str | None:
    """Return the path from the repository's root that a link leads to, None where it stays in docs/."""
    parts = [*PurePosixPath("docs", here).parent.parts]
    up = link["up"].count("../")
    if up < len(parts):
        return None
    path = link["path"]
    if up > len(parts) or not (ROOT / path).is_file():
        raise PluginError(f"{here} links to {link['up']}{path}, which is no file of the repository; correct the link.")
    return path


def _page(path: str) -> str:
    return f"source/{path.replace('/', '-')}.md"


def _content(path: str) -> str:
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".md"):
        return re.sub(r"\]\((?!https?:|#)[^)]*\)", "](#)", text)
    language = _LANGUAGES[PurePosixPath(path).suffix]
    # mkdocs reads a page's first lines as its settings where they look like some.
    return f'---\ntitle: {path}\nsearch:\n  exclude: true\n---\n\n# {path}\n\n```{language} linenums="1"\n{text}```\n'
