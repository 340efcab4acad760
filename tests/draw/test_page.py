"""The page: in a browser its blocks open and close, and everything is where Python's layout has it.

The tests in a browser need Chromium, and are skipped with a word where there is none.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from netspec.compiler.driver import Request, compile_request
from netspec.diagnostics import Source
from netspec.draw.drawing import Drawing
from netspec.draw.picture import draw
from tests.conftest import ROOT

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="needs chromium")


def drawing(path: Path | None = None, text: str = "", name: str = "page.net") -> Drawing:
    request = Request(path=path) if path else Request(source=Source(name, text))
    (sketch,) = compile_request(request).sketches.values()
    return Drawing(sketch)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def tags(page: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = _Tags()
    parser.feed(page)
    return parser.tags


def test_a_page_makes_no_request_and_is_small() -> None:
    page = drawing(ROOT / "networks/zoo/resnet50.net").html()
    assert len(page.encode()) < 100_000
    assert not [a for _, attributes in tags(page) for a in attributes if a in ("src", "href")]
    outside = re.sub(r"http://www\.w3\.org/2000/svg", "", page)
    assert "http" not in outside.replace("http-equiv", "")
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_hostile_names_stay_text_in_a_page() -> None:
    name = 'a</script><script>alert(1)</script>"<!--.net'
    text = (
        "net N { input x: [4]\n output x -> linear(3) } # </script><script>alert(2)</script><!--\n"
    )
    page = drawing(text=text, name=name).html()
    scripts = [attributes for tag, attributes in tags(page) if tag == "script"]
    assert len(scripts) == 2
    assert "alert" not in re.sub(
        r'<script type="application/json".*?</script>', "", page, flags=re.S
    )
    (data,) = re.findall(r'<script type="application/json" id="net">(.*?)</script>', page, re.S)
    assert not re.search("[<>&]", data)
    assert any("<script>alert(2)" in line["text"] for line in json.loads(data)["source"])


def with_script(page: str, script: str) -> str:
    """Return the page with a script of the test's own at its end, which its policy then allows."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = page.replace("script-src ", f"script-src 'sha256-{digest}' ")
    return page.replace("</body>", f"<script>{script}</script></body>")


def in_browser(page: str, script: str, tmp_path: Path) -> Any:
    """Run a script in a page that can reach nothing, and return what it assigns to `result`."""
    assert BROWSER is not None
    whole = f"let result;\n{{{script}}}\ndocument.title = 'done';" + (
        "const out = document.createElement('pre'); out.id = 'result';"
        "out.textContent = JSON.stringify(result); document.body.appendChild(out);"
    )
    file = tmp_path / "page.html"
    file.write_text(with_script(page, whole), "utf-8")
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1200,900", "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    home = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=home, check=True
    )
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stdout[-500:]
    return json.loads(html.unescape(found[1]))


NETS = ("lenet", "zoo/resnet50", "zoo/densenet121", "zoo/inception_v3", "zoo/swin_t")


@pytest.mark.heavy
@needs_browser
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("depth", [0, 1, 99])
def test_everything_in_the_page_is_where_pythons_layout_has_it(
    name: str, depth: int, tmp_path: Path
) -> None:
    made = drawing(ROOT / f"networks/{name}.net")
    script = (
        f"openTo({depth}); result = {{boxes: shown.boxes.map(b => [b.x, b.y, b.width, b.height]),"
        " lines: shown.lines.map(l => l.points.flat()), size: [shown.width, shown.height]};"
    )
    found = in_browser(made.html(), script, tmp_path)
    picture = draw(made.outline, depth)
    expected = [[b.x, b.y, b.width, b.height] for b in picture.boxes]
    assert len(found["boxes"]) == len(expected)
    for ours, theirs in zip(found["boxes"], expected, strict=True):
        assert ours == pytest.approx(theirs, abs=0.1)
    lines = [[number for point in line.points for number in point] for line in picture.lines]
    for ours, theirs in zip(found["lines"], lines, strict=True):
        assert ours == pytest.approx(theirs, abs=0.1)
    assert found["size"] == pytest.approx([picture.width, picture.height], abs=0.1)


@pytest.mark.heavy
@needs_browser
def test_blocks_open_and_close_layers_are_found_and_a_click_shows_the_source(
    tmp_path: Path,
) -> None:
    script = """
        const count = () => document.querySelectorAll('#picture g').length;
        const at = (text) => [...document.querySelectorAll('#picture g')].find(
            (g) => g.querySelector('title').textContent.startsWith(text));
        document.getElementById('none').click();
        const closed = count();
        at('layer2').dispatchEvent(new MouseEvent('click', {bubbles: true}));
        const opened = count(), expanded = at('layer2').getAttribute('aria-expanded');
        at('layer2').dispatchEvent(new MouseEvent('click', {bubbles: true}));
        const again = count();
        document.getElementById('words').value = 'layer3.0.downsample.0';
        document.getElementById('search').requestSubmit();
        const marked = document.querySelectorAll('#picture .c').length;
        const about = document.getElementById('about').textContent;
        document.getElementById('all').click();
        result = {closed, opened, again, expanded, marked, about, all: count(),
                  note: document.getElementById('found').textContent};
    """
    found = in_browser(drawing(ROOT / "networks/zoo/resnet50.net").html(), script, tmp_path)
    assert found["closed"] == found["again"] < found["opened"] < found["all"]
    assert found["expanded"] == "true"
    assert (found["marked"], found["note"]) == (1, "1 found")
    assert "conv(1024, 1, stride = 2, bias = false)" in found["about"]
    assert "MACs: " in found["about"]
    assert re.search(r"resnet50\.net:\d+", found["about"])


@pytest.mark.heavy
@needs_browser
def test_a_net_of_thousands_of_layers_starts_closed_in_a_browser(tmp_path: Path) -> None:
    turn = "x = x -> linear(i % 7 + 1) -> relu"
    text = f"net D {{ input x: [4]\n for i in range(3000) {{ {turn} }}\n output x }}"
    script = (
        "const t = performance.now(); show(); result = [shown.boxes.length, performance.now() - t];"
    )
    boxes, took = in_browser(drawing(text=text).html(), script, tmp_path)
    assert boxes < 150
    assert took < 1000


@pytest.mark.heavy
@needs_browser
def test_a_hostile_page_runs_no_script_of_the_file(tmp_path: Path) -> None:
    name = 'a</script><script>window.hit = 1</script>"<img src=x onerror="window.hit=1">.net'
    text = "net N { input x: [4]\n output x -> linear(3) } # <img src=x onerror='window.hit = 1'>\n"
    script = (
        "openTo(9); document.querySelectorAll('#picture g')[1].dispatchEvent(new MouseEvent('click'));"
        "result = [window.hit ?? 0, document.images.length];"
    )
    assert in_browser(drawing(text=text, name=name).html(), script, tmp_path) == [0, 0]
