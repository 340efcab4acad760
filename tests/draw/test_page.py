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
from tests.helpers.chromium import BROWSER
from tests.helpers.docs_screenshots import MOST, PAGES

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


def test_the_pictures_of_pages_are_small_and_shown() -> None:
    shown = (ROOT / "docs/summarize.md").read_text("utf-8")
    for name in PAGES:
        picture = ROOT / name
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size <= MOST
        assert f"]({picture.name})" in shown


NETS = ("lenet", "zoo/resnet50", "zoo/densenet121", "zoo/inception_v3", "zoo/swin_t", "zoo/llama")


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


# Each net, a block of it if it has any, a layer, what is said of that, and what its line says.
WALKS = [
    ("lenet", "", "conv2", ["conv(16, 5)", "2,416 parameters", "MACs: 153,600"], "conv(16, 5)"),
    ("zoo/resnet50", "layer2", "layer3.0.downsample.0",
     ["conv(1024, 1, stride = 2, bias = false)", "MACs: 102,760,448"], "downsample.0: conv("),
    ("zoo/densenet121", "features.denseblock2", "features.denseblock4.denselayer15.conv1",
     ["conv(128, 1, bias = false)", "output: [N, 128, 7, 7]"], "conv("),
    ("zoo/inception_v3", "Mixed_6b", "Mixed_7b.branch3x3_1.bn",
     ["batch_norm(eps = 0.001)", "output: [N, 384, 8, 8]"], "batch_norm"),
]  # fmt: skip


@pytest.mark.heavy
@needs_browser
@pytest.mark.parametrize(
    ("name", "block", "layer", "said", "line"), WALKS, ids=lambda v: str(v)[:16]
)
def test_blocks_open_and_close_layers_are_found_and_a_click_shows_the_source(
    name: str, block: str, layer: str, said: list[str], line: str, tmp_path: Path
) -> None:
    script = """
        const count = () => document.querySelectorAll('#picture g').length;
        const at = (text) => [...document.querySelectorAll('#picture g')].find(
            (g) => g.querySelector('title').textContent.startsWith(text));
        const click = (box) => box.dispatchEvent(new MouseEvent('click', {bubbles: true}));
        const about = () => document.getElementById('about').textContent;
        const sees = (box) => {
            const {x, y, right, bottom} = box.getBoundingClientRect();
            const seen = document.getElementById('canvas').getBoundingClientRect();
            return x >= seen.x && y >= seen.y && right <= seen.right && bottom <= seen.bottom;
        };
        document.getElementById('none').click();
        result = {closed: count()};
        if (BLOCK) {
            click(at(BLOCK));
            Object.assign(result, {opened: count(), expanded: at(BLOCK).getAttribute('aria-expanded')});
            click(at(BLOCK));
        }
        result.again = count();
        document.getElementById('words').value = LAYER;
        document.getElementById('search').requestSubmit();
        const found = document.querySelectorAll('#picture .c');
        Object.assign(result, {
            marked: found.length, note: document.getElementById('found').textContent,
            isSeen: sees(found[0]), hover: found[0].parentNode.querySelector('title').textContent});
        click(found[0].parentNode);
        result.about = about();
        document.getElementById('none').click();
        const line = Number(/:(\\d+)/.exec(result.about)[1]);
        window.dispatchEvent(new MessageEvent('message', {data: {line}}));
        Object.assign(result, {
            jumped: sees(document.querySelector('#picture .c')), there: about()});
        document.getElementById('all').click();
        result.all = count();
    """.replace("BLOCK", json.dumps(block)).replace("LAYER", json.dumps(layer))
    found = in_browser(drawing(ROOT / f"networks/{name}.net").html(), script, tmp_path)
    assert found["closed"] == found["again"] <= found["all"]
    if block:
        assert found["again"] < found["opened"] < found["all"]
        assert found["expanded"] == "true"
    assert (found["marked"], found["note"], found["isSeen"]) == (1, "1 found", True)
    for words in said:
        assert words in found["hover"]
        assert words in found["about"]
    assert "receptive field: " in found["hover"]
    place = f"{Path(name).name}.net:"
    assert place in found["about"]
    assert line in found["about"].rpartition(place)[2]
    assert found["jumped"]
    assert found["there"].rpartition(place)[2] == found["about"].rpartition(place)[2]


@pytest.mark.heavy
@needs_browser
def test_a_net_of_ten_thousand_layers_starts_closed_in_a_browser(tmp_path: Path) -> None:
    turn = "x = x -> linear(i % 7 + 1) -> relu"
    text = f"net D {{ input x: [4]\n for i in range(5000) {{ {turn} }}\n output x }}"
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
