"""The docs site builds without a warning, and nothing in it is fetched from elsewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="the site needs the extra ssmtl[docs]")
pytest.importorskip("mkdocstrings_handlers.python", reason="the site needs the extra ssmtl[docs]")

ROOT = Path(__file__).resolve().parents[2]
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""What a browser fetches by itself."""


class Fetched(HTMLParser):
    """Collects what a page loads."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == "link" and values.get("rel") in ("canonical", "next", "prev"):
            return
        if values.get(LOADING.get(tag, "")):
            self.found.append(values[LOADING[tag]])


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of the site, and what was said while it was built."""
    site = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    settings = {"NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **settings}, timeout=280)
    return site, done


def test_it_builds_without_a_warning(built):
    site, done = built
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr + done.stdout
    assert (site / "index.html").exists()


def test_every_page_is_in_it(built):
    site, _ = built
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).exists(), page


def test_nothing_is_fetched_from_elsewhere(built):
    site, _ = built
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        parser = Fetched()
        parser.feed(page.read_text())
        assert not [address for address in parser.found if re.match(r"(https?:)?//", address)], page
        assert len(parser.found) >= 3
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import )['\"]?(https?:)?//", sheet.read_text()), sheet


def test_the_api_has_what_the_docstrings_say(built):
    site, _ = built
    tasks = (site / "api" / "tasks.html").read_text()
    for name in ("ssmtl.task.Task", "ssmtl.task.PseudoLabels", "ssmtl_tasks.detection.Detection"):
        assert f'id="{name}"' in tasks
    assert "0 &lt;= left &lt; right &lt;= W" in tasks


def test_links_to_programs_lead_to_their_lines(built):
    site, _ = built
    concepts = (site / "concepts.html").read_text()
    targets = re.findall(r'href="(source/[^"#]+\.html)#(__codelineno-0-\d+)"', concepts)
    assert len(targets) >= 6
    for page, line in targets:
        assert f'id="{line}"' in (site / page).read_text()


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", *map(str, ROOT.glob("examples/*/README.md"))])
def test_links_of_the_readmes_lead_somewhere(name):
    page = ROOT / name
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]
