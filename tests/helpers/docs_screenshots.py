"""`python -m tests.helpers.docs_screenshots`: the pictures of pages in the documents, made anew.

Chromium draws them, so that their bytes differ from one machine to the next. Look at them, and at the
difference, before you commit it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from netspec.compiler.driver import Request, compile_request
from netspec.draw.drawing import Drawing
from tests.conftest import ROOT
from tests.helpers.chromium import BROWSER, Tab, chromium

# The largest that one may be, in bytes.
MOST = 200_000
# Each picture: the net, whether the reader prefers dark, and what the reader does.
PAGES = {
    "docs/page-resnet50.png": ("zoo/resnet50", False, "find('layer3.0')"),
    "docs/page-densenet121.png": ("zoo/densenet121", True, "find('denselayer3.conv2')"),
    "docs/page-inception.png": ("zoo/inception_v3", False, "openBlock('Mixed_6b')"),
}
_ACTIONS = """
const find = (words) => {
  document.getElementById('words').value = words;
  document.getElementById('search').requestSubmit();
};
const box = (title) => [...document.querySelectorAll('#picture g')].find(
  (g) => g.querySelector('title').textContent.startsWith(title));
const openBlock = (title) => {
  document.getElementById('none').click();
  box(title).dispatchEvent(new MouseEvent('click', { bubbles: true }));
  box(title).scrollIntoView({ block: 'center', inline: 'center' });
};
"""


def shot(tab: Tab, page: Path, *, dark: bool, actions: str, target: Path) -> None:
    """Open a page as a reader does who prefers light or dark, act, and write what is seen."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    tab.call("Emulation.setEmulatedMedia", features=[scheme])
    tab.open(page.as_uri())
    # The page's own policy allows no script of another, but the debugger's.
    tab.evaluate(f"(() => {{ {_ACTIONS} {actions} }})()")
    time.sleep(0.5)
    tab.screenshot(target)


def main(folder: Path) -> int:
    """Write all pictures below a folder."""
    if BROWSER is None:
        print("needs chromium", file=sys.stderr)
        return 2
    with (
        tempfile.TemporaryDirectory() as work,
        chromium(BROWSER, Path(work) / "profile", (1200, 780)) as tab,
    ):
        for name, (net, dark, actions) in PAGES.items():
            result = compile_request(Request(path=ROOT / f"networks/{net}.net"))
            (sketch,) = result.sketches.values()
            page = Path(work) / "page.html"
            page.write_text(Drawing(sketch).html(), "utf-8")
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shot(tab, page, dark=dark, actions=actions, target=target)
            size = target.stat().st_size
            print(f"{name}: {size / 1000:.0f} kB")
            assert size <= MOST, f"{name} has {size} bytes"
            assert not tab.told, tab.told
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT))
