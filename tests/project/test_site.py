"""The site: links lead somewhere, nothing is read from another host, every page is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from netspec import project
from netspec.compiler.explain_codes import explanations
from netspec.compiler.ops import registry
from tests.conftest import ROOT
from website import links, stage
from website.layers import layer_pages


def test_links_and_fences_of_a_document(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("docs/b.md", "docs/a.net", "README.md"):
        (tmp_path / name).write_text("", "utf-8")
    text = (
        "See [b](b.md#part), [`a`](a.net), [up](../README.md), [here](#here), [all](.),\n"
        "[web](https://example.org), ![picture](a.net).\n"
        '<img alt="a" src="a.net" height="9">\n'
        "```net body error: a/b\nx = [1](2)\n```\n"
    )
    places = {"docs/b.md": "b.md", "docs/a.net": "files/docs/a.net", "README.md": "index.md"}
    found = links.rewritten(
        text, tmp_path / "docs/c.md", "deep/c.md", tmp_path, lambda f: places.get(f.as_posix())
    )
    assert found == (
        "See [b](../b.md#part), [`a`](../files/docs/a.net), [up](../index.md), [here](#here), all,\n"
        "[web](https://example.org), ![picture](../files/docs/a.net).\n"
        '<img alt="a" src="../files/docs/a.net" height="9">\n'
        "```netspec\nx = [1](2)\n```\n"
    )
    with pytest.raises(ValueError, match="there is no gone"):
        links.rewritten("[x](gone.md)", tmp_path / "docs/c.md", "c.md", tmp_path, lambda f: None)


def test_every_document_has_a_page_and_the_menu_has_all() -> None:
    known = stage.documents()
    assert len(set(known.values())) == len(known)
    for path in (ROOT / "docs").glob("*.md"):
        assert f"docs/{path.name}" in known
    for name in ("RESULTS", "GROWTH", "EMITTERS"):
        assert f"benchmarks/{name}.md" in known
    settings = stage._settings(known, ["layers/conv.md", "layers/index.md"])
    for page in known.values():
        assert f'"{page}"' in settings, page
    assert '"layers/conv.md"' in settings


def test_a_layer_has_its_formula_code_picture_and_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {name: registry()[name] for name in ("conv", "relu")}
    monkeypatch.setattr("website.layers.registry", lambda: chosen)
    pages = layer_pages()
    assert set(pages) == {
        "layers/index.md",
        *(f"layers/{name}.{kind}" for name in chosen for kind in ("md", "svg")),
    }
    page = str(pages["layers/conv.md"])
    for part in ("conv(channels", "| `stride` |", "nn.Conv2d(", "conv.forward", "error[shape/"):
        assert part in page, part


class Resources(HTMLParser):
    """The addresses that a page reads or leads to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.read: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids |= {v for k, v in attrs if k == "id" and v}
        if tag in ("script", "img", "iframe", "source") and found.get("src"):
            self.read.append(str(found["src"]))
        if tag == "link" and found.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.read.append(str(found["href"]))
        if tag == "a" and found.get("href"):
            self.links.append(str(found["href"]))


@pytest.mark.heavy
def test_the_site_is_built_without_a_broken_link_or_another_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("zensical", reason="the extra `site` is not installed")
    pytest.importorskip("mkdocstrings", reason="the extra `site` is not installed")
    command = [sys.executable, "-m", "website", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "NO_COLOR": "1"}, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    site = tmp_path / "site"
    pages = {path: Resources(path.read_text("utf-8")) for path in site.rglob("*.html")}
    for path, page in pages.items():
        for address in page.read:
            assert "://" not in address, (path, address)
            assert not address.startswith("//"), (path, address)
        if path.name == "404.html":
            continue
        for link in page.links:
            target, _, anchor = link.partition("#")
            if "://" in target or target.startswith("mailto:"):
                continue
            there = (path.parent / target).resolve() if target else path
            if there.is_dir():
                there /= "index.html"
            assert there.exists(), (path, link)
            if anchor and there in pages and there.parent.name != "playground":
                assert anchor in pages[there].ids, (path, link)
    for name in ("index", "tutorial", "nets/lenet", "codes/shape/rank"):
        assert 'class="language-netspec' in (site / f"{name}.html").read_text("utf-8"), name
    for name in registry():
        assert (site / f"layers/{name}.html").exists()
    monkeypatch.setattr(project, "SITE", "https://example.org")
    for code in explanations():
        page = project.page_about(code)
        assert page is not None
        assert (site / page.removeprefix("https://example.org/")).exists(), code
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?https?:", style.read_text("utf-8")), style
