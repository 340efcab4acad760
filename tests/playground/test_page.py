"""The playground in Chromium: what a visitor types, sees and shares; and its colours in node."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import ROOT, Run, Write
from tests.helpers.chromium import BROWSER, Tab, chromium
from website.cannot_build import CannotBuildError
from website.playground.address import fragment
from website.playground.build import build
from website.playground.engine import Playground

pytestmark = pytest.mark.heavy
KINDS = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css",
         ".html": "text/html", ".bin": "application/octet-stream"}  # fmt: skip
STATUS = "document.getElementById('status').textContent"
IDLE = "!document.body.classList.contains('checking')"
TEXT = "document.querySelector('#editor .cm-content').cmTile.view.state.doc.toString()"
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the playground; beside it, what npm installed."""
    folder = tmp_path_factory.mktemp("site")
    try:
        build(folder / "site/playground", folder / "npm")
    except CannotBuildError as error:
        pytest.skip(str(error))
    return folder


class Pages(BaseHTTPRequestHandler):
    """Serves a folder as servers do, text compressed, and counts the bytes that it sends."""

    sent: dict[str, int]

    def __init__(self, root: Path, sent: dict[str, int], *args: object) -> None:
        self.root, self.sent = root, sent
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        path = self.root / self.path.partition("?")[0].lstrip("/")
        if not path.is_file():
            self.sent[self.path] = 0
            self.send_error(404)
            return
        body = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", KINDS[path.suffix])
        if path.suffix != ".bin":
            body = gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.sent[self.path] = len(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(built: Path) -> Iterator[tuple[str, dict[str, int]]]:
    """The address of the page, and the bytes that were sent by the paths of their files."""
    sent: dict[str, int] = {}
    pages = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Pages, built / "site", sent))
    pages.daemon_threads = True
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{pages.server_port}/playground/index.html", sent
    pages.shutdown()
    pages.server_close()


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Tab]:
    if BROWSER is None:
        pytest.skip("needs chromium")
    with chromium(BROWSER, tmp_path / "profile", host="127.0.0.1") as found:
        yield found


def test_the_licenses_of_what_is_bundled_are_there(built: Path) -> None:
    text = (built / "site/playground/licenses.txt").read_text("utf-8")
    for name in ("codemirror 6", "@codemirror/view 6", "pyodide 314", "@lezer/common 1", "Python"):
        assert f"\n{name}" in "\n" + text
    assert "Permission is hereby granted" in text


def opened(tab: Tab, address: str) -> None:
    tab.open(address)
    tab.until(f"{STATUS}.includes('checked in')", 120)
    tab.until(IDLE)


def shown(tab: Tab, pane: str) -> None:
    tab.evaluate(f"document.querySelector('[data-pane={pane}]').click()")
    tab.until(f"{IDLE} && document.getElementById('pane').dataset.which === '{pane}'", 120)


def put_cursor(tab: Tab, behind: str) -> None:
    """Put the cursor behind the first place of some words."""
    view = TEXT.removesuffix(".state.doc.toString()")
    tab.evaluate(
        f"(() => {{ const view = {view}, words = {json.dumps(behind)};"
        " const at = view.state.doc.toString().indexOf(words) + words.length;"
        " view.dispatch({ selection: { anchor: at } }); view.focus(); })()"
    )


def message_time(tab: Tab, behind: str, key: str) -> float:
    """Press a key, and return the milliseconds until the message about it is in the page."""
    wrong = behind.removeprefix("-> ") + key
    put_cursor(tab, behind)
    tab.evaluate(
        "window.seen = new Promise((done) => new MutationObserver(() => {"
        f" if (document.querySelector('#problems pre')?.textContent.includes('`{wrong}l`'))"
        " done(performance.now()); }).observe(document.getElementById('problems'),"
        " { childList: true, subtree: true }));"
        "window.pressed = new Promise((done) => document.addEventListener('keydown',"
        " () => done(performance.now()), { once: true, capture: true }));"
        "undefined"
    )  # fmt: skip
    tab.type(key)
    took = tab.evaluate("Promise.all([seen, pressed]).then(([seen, pressed]) => seen - pressed)")
    tab.until(IDLE)
    return float(took)


def test_a_mistake_its_message_its_fix_and_everything_of_lenet(
    served: tuple[str, dict[str, int]],
    tab: Tab,
    run: Run,
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address, sent = served
    opened(tab, address + "#net=lenet")
    first_load = sum(sent.values())
    assert 5 * MEGABYTE < first_load < 8 * MEGABYTE
    assert "44,426 parameters · 281,640 MACs" in tab.evaluate(STATUS)
    assert "[N, 16, 4, 4]" in tab.evaluate(
        "[...document.querySelectorAll('.hint')].map((hint) => hint.textContent)"
    )
    lenet = (ROOT / "networks/lenet.net").read_text("utf-8")
    assert tab.evaluate(TEXT) == lenet

    times = [message_time(tab, "-> max_poo" + "o" * i, "o") for i in range(5)]
    with capsys.disabled():
        said = ", ".join(f"{each:.0f}" for each in times)
        print(f"first load {first_load / MEGABYTE:.2f} MB, a message after {said} ms")
    assert statistics.median(times) < 300
    tab.until("document.querySelector('.cm-lintRange-error') !== null")
    assert "44,426" not in tab.evaluate(STATUS)

    tab.until("document.querySelector('.fix')?.textContent.includes('max_pool')")
    tab.evaluate("document.querySelector('.fix').click()")
    tab.until(f"{STATUS}.includes('44,426 parameters')")
    assert tab.evaluate(TEXT) == lenet
    assert not tab.evaluate("document.querySelector('.cm-lintRange-error') !== null")
    assert tab.evaluate("document.getElementById('problems').hidden")

    shown(tab, "summary")
    table = tab.evaluate("document.getElementById('table').textContent")
    assert "44,426" in table
    assert "281,640" in table
    shown(tab, "picture")
    texts = tab.evaluate(
        "[...document.getElementById('picture').shadowRoot.querySelectorAll('svg text')]"
        ".map((text) => text.textContent)"
    )
    assert {"conv(6, 5)", "max_pool(2)", "10,164 parameters"} <= set(texts)

    source = TEXT.replace("#editor", "#source")
    monkeypatch.chdir(write(lenet, "lenet.net").parent)
    for pane in ("torch", "numpy"):
        if pane == "numpy":
            tab.evaluate("document.getElementById('plain').checked = false")
        shown(tab, pane)
        compiled = run("compile", "lenet.net", "--target", pane)
        assert tab.evaluate(source) == compiled.out
    tab.evaluate("document.getElementById('plain').click()")
    tab.until(f"{IDLE} && document.getElementById('pane').dataset.which === 'plain'")
    plain = run("compile", "lenet.net", "--target", "numpy", "--plain")
    assert tab.evaluate(source) == plain.out

    assert not tab.told
    folder = address.rpartition("/")[0] + "/"
    assert not [each for each in tab.requests if not each.startswith((folder, "data:"))]
    assert not [path for path, size in sent.items() if not size]


def test_a_text_is_shared_by_its_address(served: tuple[str, dict[str, int]], tab: Tab) -> None:
    address, _ = served
    opened(tab, address + "#net=a%20mistake")
    put_cursor(tab, "# ")
    tab.type("é 🙂 ")
    text = tab.evaluate(TEXT)
    assert text.startswith("# é 🙂 ")
    tab.evaluate("document.getElementById('share').click()")
    link = tab.until("location.hash.startsWith('#text=') && location.href")
    opened(tab, link.replace("index.html", "index.html?again"))
    assert tab.evaluate(TEXT) == text
    # Pages of the site have such addresses, too.
    opened(tab, link.partition("#")[0].replace("index.html", "index.html?page") + fragment(text))
    assert tab.evaluate(TEXT) == text
    # An address that holds nothing readable opens LeNet.
    opened(tab, link.replace("index.html", "index.html?more").partition("#")[0] + "#text=AAAA")
    assert "LeNet" in tab.evaluate(TEXT)
    assert not tab.told


def test_arguments_of_the_net_are_set_and_shared(
    served: tuple[str, dict[str, int]],
    tab: Tab,
    run: Run,
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, _ = served
    opened(tab, address + "#net=lenet")
    field = "document.getElementById('settings')"
    assert tab.evaluate(f"{field}.placeholder") == "classes = 10"
    tab.evaluate(f"{field}.focus()")
    tab.type("classes = 5")
    tab.until(f"{STATUS}.includes('44,001 parameters')")
    shown(tab, "torch")
    lenet = (ROOT / "networks/lenet.net").read_text("utf-8")
    monkeypatch.chdir(write(lenet, "lenet.net").parent)
    compiled = run("compile", "lenet.net", "--target", "torch", "--set", "classes=5")
    assert tab.evaluate(TEXT.replace("#editor", "#source")) == compiled.out
    tab.evaluate("document.getElementById('share').click()")
    link = tab.until("location.hash.includes('&set=') && location.href")
    opened(tab, link.replace("index.html", "index.html?again"))
    assert tab.evaluate(f"{field}.value") == "classes = 5"
    assert "44,001 parameters" in tab.evaluate(STATUS)
    tab.evaluate(f"{field}.focus(); {field}.select()")
    tab.type("clases = 5")
    tab.until("document.getElementById('problems').textContent.includes('`clases`')")
    assert not tab.told


def test_typing_goes_on_while_a_long_source_is_written(
    served: tuple[str, dict[str, int]], tab: Tab
) -> None:
    address, _ = served
    opened(tab, address + "#net=zoo/inception_v3")
    tab.evaluate("document.querySelector('[data-pane=torch]').click()")
    time.sleep(2)
    put_cursor(tab, "net Inception")
    before = time.monotonic()
    tab.type("X")
    tab.until("document.getElementById('file').textContent.includes('inceptionx')")
    tab.until(f"{STATUS}.includes('parameters')", 5)
    assert time.monotonic() - before < 5
    tab.until(f"{IDLE} && {TEXT.replace('#editor', '#source')}.includes('class InceptionX')", 120)
    assert not tab.told


COLOURS = """\
import { highlightTree } from "@lezer/highlight";
import { readFileSync } from "node:fs";
import { colours, netspec } from "./language.js";
const { language } = netspec();
const told = process.argv.slice(2).map((path) => {
  const text = readFileSync(path, "utf8"), parts = [];
  highlightTree(language.parser.parse(text), colours, (from, to, kind) => parts.push([from, to, kind]));
  return parts;
});
console.log(JSON.stringify(told));
"""


def test_colours_are_those_of_the_lexer(built: Path) -> None:
    pytest.importorskip("pygments", reason="Pygments is not installed")
    from pygments.token import Comment, Keyword, Name, Number, Operator, String

    from netspec.highlight.lexer import NetspecLexer

    expected = {
        Keyword: "t-keyword", Keyword.Constant: "t-constant", Operator.Word: "t-keyword",
        Name.Builtin: "t-layer", Name.Class: "t-class", Name.Label: "t-label",
        Name.Attribute: "t-property", Name.Variable: "t-variable", Name.Function: "t-function",
        Comment.Special: "t-shape", Comment.Single: "t-comment", String.Double: "t-string",
        Number.Integer: "t-number", Number.Float: "t-number",
    }  # fmt: skip
    node = shutil.which("node")
    assert node is not None
    source = built / "npm/src"
    (source / "told.js").write_text(COLOURS, "utf-8")
    bundle = ["node_modules/.bin/esbuild", "src/told.js", "--bundle", "--platform=node",
              "--format=cjs", "--outfile=told.cjs", "--log-level=error"]  # fmt: skip
    subprocess.run(bundle, cwd=built / "npm", check=True)
    nets = sorted((ROOT / "networks").rglob("*.net"))
    done = subprocess.run(
        [node, "told.cjs", *map(str, nets)], cwd=built / "npm", capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    for path, parts in zip(nets, json.loads(done.stdout), strict=True):
        text = path.read_text("utf-8")
        ours = {i: kind for start, end, kind in parts for i in range(start, end)}
        for at, kind, part in NetspecLexer(stripnl=False, ensurenl=False).get_tokens_unprocessed(
            text
        ):
            if kind in expected:
                line = text.count("\n", 0, at) + 1
                assert ours.get(at, "") == expected[kind], (path.name, line, part)


IN_NODE = """\
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { loadPyodide } from "pyodide";

const [archive, ...paths] = process.argv.slice(2);
const python = await loadPyodide({ env: { HOME: "/home/pyodide", XDG_CACHE_HOME: "/netspec/cache" } });
const packed = gunzipSync(readFileSync(archive));
python.unpackArchive(Uint8Array.from(packed).buffer, "zip", { extractDir: "/netspec" });
const playground = python.runPython(
  "import sys; sys.path.insert(0, '/netspec')\\nimport engine\\nengine.Playground()");
const sums = paths.map((path) => {
  playground.check(readFileSync(path, "utf8"), path.split("/").pop());
  return ["torch", "numpy", "plain", "picture"].map((pane) => createHash("sha256").update(
    JSON.parse(playground.pane(pane, "")).content).digest("hex"));
});
console.log(JSON.stringify(sums));
"""
NETS = (
    "lenet",
    "resnet",
    "zoo/densenet121",
    "zoo/unet",
    "zoo/vit_b_16",
    "zoo/char_lstm",
    "zoo/vae",
)


def test_programs_and_pictures_are_the_same_in_the_browsers_python(built: Path) -> None:
    """Pyodide's Python is another version, on another machine, of 32 bits."""
    node = shutil.which("node")
    assert node is not None
    (built / "npm/sums.mjs").write_text(IN_NODE, "utf-8")
    paths = [ROOT / f"networks/{name}.net" for name in NETS]
    done = subprocess.run(
        [node, "sums.mjs", built / "site/playground/netspec.bin", *paths], cwd=built / "npm",
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for path, sums in zip(paths, json.loads(done.stdout), strict=True):
        playground = Playground()
        playground.check(path.read_text("utf-8"), path.name)
        for pane, told in zip(("torch", "numpy", "plain", "picture"), sums, strict=True):
            content = json.loads(playground.pane(pane, ""))["content"]
            assert told == hashlib.sha256(content.encode()).hexdigest(), (path.name, pane)
