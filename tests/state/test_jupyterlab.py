"""A notebook with each object as the last expression of a cell, as JupyterLab in Chromium shows it.

Needs Chromium and JupyterLab (`jupyter-lab` on the path, of any environment), and is skipped with a
word where one is missing. NETSPEC_SCREENSHOTS=FOLDER keeps what was seen.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.chromium import BROWSER, Tab, chromium
from tests.state.test_notebook import CELLS

JUPYTERLAB = shutil.which("jupyter-lab")
pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(BROWSER is None, reason="needs chromium"),
    pytest.mark.skipif(JUPYTERLAB is None, reason="needs jupyter-lab (pip install jupyterlab)"),
]

HOSTILE = "<img src=x onerror='window.hit=1'><script>window.hit=1</script>"
HOSTILE_NET = f"net N {{ input x: [4]\n output x -> linaer(3) # {HOSTILE}\n}}\n"
# What the nets of CELLS cannot be: objects with names that a page could take for its own.
HOSTILE_CELLS = [
    f"name = {HOSTILE!r}\n"
    "x, y = np.random.default_rng(0).random((60, 1, 8, 8)), np.arange(60) % 3\n"
    "odd = netspec.Dataset(name, x, y, x[:9], y[:9], 3, ('cat', name, 'dog')); odd",
    "netspec.Evaluation(('cat', name, 'dog'), 0.5, np.array([[3, 1, 0], [2, 2, 0], [0, 0, 4]]))",
    f"open('hostile.net', 'w').write({HOSTILE_NET!r})\nnetspec.check('hostile.net')",
]
# What `netspec.loads` alone gives: the error, and the picture of a net that skips, and verify's report.
MORE_CELLS = [
    "netspec.verify(small, torch=False)",
    "netspec.load('zoo/resnet18')",
    "netspec.loads('net N { input x: [4]\\n output x -> linaer(3) }')",
]

# Each text of the outputs with its colour and that of what lies behind it, as they are drawn.
SEEN = """(() => {
  const parts = (color) => color === 'none' ? [0, 0, 0, 0]
    : [...color.match(/[\\d.]+/g).map(Number), 1].slice(0, 4);
  const over = (above, below) => above.slice(0, 3).map(
    (part, i) => part * above[3] + below[i] * (1 - above[3]));
  const layer = (each) => {
    const style = getComputedStyle(each);
    if (each instanceof SVGElement && each.tagName !== 'svg') {
      return each.tagName === 'rect' ? style.fill : 'none';
    }
    return style.backgroundColor;
  };
  const paper = (element, x, y) => {
    const layers = [];
    for (const each of document.elementsFromPoint(x, y)) {
      layers.push(parts(each === element ? 'none' : layer(each)));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reduceRight((below, above) => over(above, below), [255, 255, 255]);
  };
  const seen = [];
  for (const output of document.querySelectorAll('.jp-OutputArea-output')) {
    for (const details of output.querySelectorAll('details')) details.open = true;
    const walker = document.createTreeWalker(output, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const node = walker.currentNode, element = node.parentElement;
      if (!node.data.trim() || element.closest('title, style')) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      let { x, y, width, height } = range.getBoundingClientRect();
      if (!width || !height) continue;
      if (y < 150 || y > innerHeight - 100) {
        element.scrollIntoView({ block: 'start', inline: 'center' });
        ({ x, y, width, height } = range.getBoundingClientRect());
      }
      const style = getComputedStyle(element);
      const drawn = element instanceof SVGElement;
      const at = [x + width / 2, y + height / 2];
      const back = paper(drawn ? element : null, ...at);
      const ink = parts(drawn ? style.fill : style.color);
      seen.push([node.data.trim().slice(0, 60), over(ink, back), back]);
    }
  }
  return seen;
})()"""

Color = list[float]


def luminance(color: Color) -> float:
    """Return the relative luminance of WCAG 2."""
    parts = [part / 255 for part in color]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: Color, other: Color) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The notebook, executed and trusted."""
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    folder = tmp_path_factory.mktemp("book")
    cells = [*CELLS, *HOSTILE_CELLS, *MORE_CELLS]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ZeroMQ's sockets
        nbclient.NotebookClient(
            made, timeout=300, kernel_name="python3", allow_errors=True,
            resources={"metadata": {"path": str(folder)}},
        ).execute()  # fmt: skip
    wrong = {cell.source for cell in made.cells for out in cell.outputs if "ename" in out}
    assert wrong == {cells[-1], CELLS[-1]}
    path = folder / "book.ipynb"
    nbformat.write(made, path)
    return path


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def jupyterlab(folder: Path, theme: str) -> Iterator[str]:
    """Context manager: serve a folder; the address of the laboratory."""
    settings = folder / "settings/@jupyterlab"
    for name, value in (
        ("apputils-extension/themes", {"theme": f"JupyterLab {theme}"}),
        ("apputils-extension/notification", {"fetchNews": "false", "checkForUpdates": False}),
        # A notebook draws the cells that are seen alone, else.
        ("notebook-extension/tracker", {"windowingMode": "none", "autoStartDefaultKernel": False}),
    ):
        path = settings / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value), "utf-8")
    port = _free_port()
    environment = {
        **os.environ, "HOME": str(folder), "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "spaces"), "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTER_RUNTIME_DIR": str(folder / "run"),
    }  # fmt: skip
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    trust = [str(Path(str(JUPYTERLAB)).with_name("jupyter-trust")), "book.ipynb"]
    subprocess.run(trust, cwd=folder, env=environment, check=True, **quiet)
    command = [
        str(JUPYTERLAB), "--no-browser", "--allow-root", f"--port={port}", "--ServerApp.port_retries=0",
        "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}",
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=folder, env=environment, **quiet) as server:
        try:
            _wait(f"http://127.0.0.1:{port}/api")
            yield f"http://127.0.0.1:{port}/lab/tree/book.ipynb"
        finally:
            server.terminate()


def _wait(address: str) -> None:
    end = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            assert time.monotonic() < end, "JupyterLab does not start"
            time.sleep(0.3)


def opened(tab: Tab, address: str, *, dark: bool) -> None:
    """Open a notebook whose reader prefers light or dark, and wait for its outputs."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    tab.call("Emulation.setEmulatedMedia", features=[scheme])
    tab.open(address)
    count = len([*CELLS, *HOSTILE_CELLS, *MORE_CELLS])
    tab.until(f"document.querySelectorAll('.jp-CodeCell').length === {count}", 120)
    tab.until("document.querySelectorAll('.jp-OutputArea-output svg.netspec').length >= 3", 120)
    tab.until("document.readyState === 'complete' && !document.querySelector('#jupyterlab-splash')")


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_a_notebook_is_read_on_light_and_dark(book: Path, theme: str, tmp_path: Path) -> None:
    """In both themes of JupyterLab, whatever the reader's system prefers."""
    shutil.copy(book, tmp_path)
    with (
        jupyterlab(tmp_path, theme) as address,
        chromium(str(BROWSER), tmp_path / "profile", (1300, 900), "127.0.0.1") as tab,
    ):
        for dark in (False, True):
            opened(tab, address, dark=dark)
            seen = tab.evaluate(SEEN)
            assert len(seen) > 400
            papers = [luminance(paper) for text, _, paper in seen if text == "total"]
            assert papers
            assert all((paper < 0.2) == (theme == "Dark") for paper in papers)
            sides = tab.evaluate(
                "[...document.querySelectorAll('.jp-OutputArea-output figure img')].map((i) => i.height)"
            )
            assert len(sides) == 40
            assert set(sides) == {64}
            assert any(HOSTILE[:20] in text for text, *_ in seen)
            pale = [each for each in seen if contrast(*each[1:]) < 4.5]
            assert not pale, pale[:40]
            assert tab.evaluate("window.hit ?? 0") == 0
            assert not tab.evaluate(
                "document.querySelectorAll('.jp-OutputArea-output script').length"
            )
            _keep(tab, f"{theme}-on-{'dark' if dark else 'light'}".lower())


def _keep(tab: Tab, name: str) -> None:
    """Write a picture of each cell, where they are asked for."""
    folder = os.environ.get("NETSPEC_SCREENSHOTS")
    for cell in range(len([*CELLS, *HOSTILE_CELLS, *MORE_CELLS]) if folder else 0):
        tab.evaluate(f"document.querySelectorAll('.jp-CodeCell')[{cell}].scrollIntoView()")
        time.sleep(0.3)
        tab.screenshot(Path(str(folder)) / f"jupyterlab-{name}-{cell:02}.png")
