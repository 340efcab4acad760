"""Stages the site: every page as Markdown, with the files that pages show and link to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from website.api import api_page
from website.codes import code_pages
from website.gallery import gallery_pages
from website.layers import layer_pages
from website.links import rewritten

ROOT = Path(__file__).resolve().parent.parent
# What is on the first level of the menu, in order; documents that are not named come behind.
_GUIDES = {
    "docs/tutorial.md": "First net",
    "docs/coming-from.md": "Coming from ...",
    "docs/course.md": "CS231n",
    "docs/language.md": "Language",
    "docs/layers.md": "Table of layers",
    "docs/command-line.md": "Command line",
    "docs/check.md": "Check",
    "docs/summarize.md": "Summarize and draw",
    "editors/README.md": "Editors",
    "docs/training.md": "Train",
    "docs/engines.md": "Engines and machines",
    "docs/scale.md": "What ImageNet costs",
    "docs/beside.md": "Beside its peers",
    "docs/limits.md": "Known limits",
    "docs/weights.md": "Weights",
    "docs/python.md": "From Python",
    "docs/verify.md": "Verify",
    "docs/bench.md": "Bench",
    "docs/two-backends.md": "Two programs",
    "docs/compile.md": "Compile",
    "docs/import-torch.md": "From PyTorch",
    "docs/onnx.md": "ONNX",
    "docs/c.md": "C",
    "docs/serving.md": "Serving",
    "docs/add-an-op.md": "Layers of your own",
    "docs/stable.md": "What is stable",
}
_MORE = {
    "benchmarks/RESULTS.md": "Benchmarks",
    "benchmarks/GROWTH.md": "How time grows",
    "benchmarks/EMITTERS.md": "NumPy or numexpr",
    "ARCHITECTURE.md": "Architecture",
    "CONTRIBUTING.md": "Contributing",
    "SECURITY.md": "Security",
    "CHANGELOG.md": "Changes",
}


def documents() -> dict[str, str]:
    """Return the documents of the repository by their pages: the page of `docs/c.md` is `c.md`."""
    found = {"README.md": "index.md"}
    guides = [
        *_GUIDES,
        *(p.relative_to(ROOT).as_posix() for p in sorted((ROOT / "docs").glob("*.md"))),
    ]
    for name in dict.fromkeys(guides):
        if (ROOT / name).exists():
            page = (
                name.removesuffix("/README.md") if name.endswith("README.md") else Path(name).stem
            )
            found[name] = f"{page}.md"
    for name in _MORE:
        if (ROOT / name).exists():
            found[name] = Path(name).name.lower()
    return found


# The titles of pages that are programs.
_PROGRAMS = {"playground": "Playground", "digits": "Draw a digit"}


def stage(folder: Path, programs: Mapping[str, Path]) -> None:
    """Write the site's source into a folder that has none: `docs` and `zensical.toml`.

    Args:
        folder: where to.
        programs: the folders of pages that are programs, `playground` and `digits`, which are moved to
            their places; those that there are.

    Raises:
        ValueError: for a link of a document that leads nowhere.
    """
    pages = folder / "docs"
    pages.mkdir(parents=True)
    known = documents()
    linked: dict[str, Path] = {}

    def place(file: Path) -> str | None:
        name = file.as_posix()
        if name in known:
            return known[name]
        if name in ("networks", "networks/zoo"):
            return "nets/index.md"
        if (ROOT / file).is_dir():
            return None
        linked[f"files/{name}"] = ROOT / file
        return f"files/{name}"

    for name, page in known.items():
        text = (ROOT / name).read_text("utf-8")
        (pages / page).write_text(rewritten(text, ROOT / name, page, ROOT, place), "utf-8")
    for page, source in linked.items():
        (pages / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, pages / page)
    made: dict[str, str | bytes] = {"api.md": api_page()}
    for pages_of in (layer_pages, code_pages, gallery_pages):
        made |= pages_of(has_playground="playground" in programs)
    for page, content in made.items():
        (pages / page).parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        (pages / page).write_bytes(data)
    (pages / "style.css").write_text(_STYLE, "utf-8")
    for name, built in programs.items():
        shutil.move(built, pages / name)
    extra = [{_PROGRAMS[name]: f"{name}/index.html"} for name in programs]
    (folder / "zensical.toml").write_text(_settings(known, made, extra), "utf-8")


_STYLE = """\
.md-typeset img[src$=".svg"] { max-height: 90rem; }
.md-typeset pre > code { font-size: .72rem; }
.md-grid { max-width: 76rem; }
"""


def _settings(
    known: dict[str, str], made: Iterable[str], extra: Iterable[Mapping[str, object]] = ()
) -> str:
    named = {**_GUIDES, **_MORE}

    def entries(names: Iterable[str]) -> list[dict[str, object]]:
        return [{named.get(n, _title(n)): known[n]} for n in names if n in known]

    guides = [n for n in known if n.startswith("docs/") or n in _GUIDES]
    listed = {
        area: sorted(
            p for p in made if p.startswith(f"{area}/") and p.endswith(".md") and "index" not in p
        )
        for area in ("layers", "nets", "codes")
    }
    areas: list[dict[str, object]] = [
        {title: [f"{area}/index.md", *listed[area]]}
        for area, title in (("layers", "Layers"), ("nets", "Nets"), ("codes", "Messages"))
    ]
    nav: list[Mapping[str, object]] = [
        {"netspec": "index.md"},
        *extra,
        {"Guides": entries(guides)},
        *areas,
        {"Python": "api.md"},
        {"Project": entries(_MORE)},
    ]
    return _SETTINGS.replace("NAV", _toml(nav))


def _title(name: str) -> str:
    return Path(name).stem.replace("-", " ").capitalize()


def _toml(value: object) -> str:
    if isinstance(value, dict):
        ((key, inner),) = value.items()
        return f"{{ {json.dumps(key)} = {_toml(inner)} }}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


# No font, script or style of another host: the site works from a folder without a network.
_SETTINGS = """\
[project]
site_name = "netspec"
site_description = "Neural networks that are written down"
docs_dir = "docs"
site_dir = "site"
use_directory_urls = false
extra_css = ["style.css"]
nav = NAV

[project.theme]
variant = "classic"
font = false
features = ["navigation.tabs", "navigation.indexes", "navigation.top", "content.code.copy", "toc.follow"]

[[project.theme.palette]]
media = "(prefers-color-scheme: light)"
scheme = "default"
toggle.icon = "lucide/sun"
toggle.name = "Dark"

[[project.theme.palette]]
media = "(prefers-color-scheme: dark)"
scheme = "slate"
toggle.icon = "lucide/moon"
toggle.name = "Light"

[project.plugins.mkdocstrings.handlers.python.options]
docstring_style = "google"
show_source = false
show_root_heading = false
show_root_toc_entry = false
heading_level = 4
members_order = "source"
filters = ["!^_"]
separate_signature = true
"""
