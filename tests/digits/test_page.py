"""The page on which one draws a digit, in Chromium, from a folder without a server."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from netspec.testing.op_examples import agreement
from tests.helpers.c_programs import Compiler
from tests.helpers.chromium import BROWSER, Tab, chromium
from tests.helpers.mnist import mnist
from website.cannot_build import CannotBuildError
from website.digits.build import build

ANSWER = "document.getElementById('answer').textContent"
PIXELS = "seen.getImageData(0, 0, 28, 28).data.filter((_, i) => i % 4 === 0)"
CHANCES = "new Float32Array(net.memory.buffer, net.__heap_base.value + 4 * 28 * 28, 10)"
Stroke = list[tuple[float, float]]
DIGITS: dict[str, list[Stroke]] = {
    "0": [[(0.5 + 0.2 * math.sin(a / 8), 0.5 - 0.3 * math.cos(a / 8)) for a in range(51)]],
    "1": [[(0.5, 0.15), (0.5, 0.5), (0.49, 0.85)]],
    "2": [[(0.3, 0.3), (0.4, 0.17), (0.6, 0.17), (0.68, 0.3), (0.62, 0.45), (0.3, 0.82)],
          [(0.3, 0.82), (0.72, 0.82)]],
    "4": [[(0.35, 0.2), (0.3, 0.52), (0.7, 0.52)], [(0.65, 0.2), (0.62, 0.85)]],
    "7": [[(0.25, 0.2), (0.7, 0.2), (0.45, 0.85)]],
}  # fmt: skip


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Tab]:
    if BROWSER is None:
        pytest.skip("needs chromium")
    with chromium(BROWSER, tmp_path / "profile") as found:
        yield found


def draw(tab: Tab, strokes: list[Stroke]) -> None:
    """Draw with the mouse, on paper that is empty."""
    tab.evaluate("document.getElementById('clear').click()")
    assert tab.evaluate(ANSWER) == "nothing yet"
    box = tab.evaluate("(({x, y, width, height}) => [x, y, width, height])"
                       "(document.getElementById('paper').getBoundingClientRect())")  # fmt: skip
    for stroke in strokes:
        places = [(box[0] + x * box[2], box[1] + y * box[3]) for x, y in stroke]
        kinds = ["mousePressed", *["mouseMoved"] * (len(places) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*places, places[-1]], strict=True):
            button = {"button": "left", "buttons": 1, "clickCount": 1}
            tab.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)


@pytest.mark.heavy
def test_a_digit_that_is_drawn_is_read(tab: Tab, tmp_path: Path) -> None:
    mnist()
    try:
        build(tmp_path / "site/digits", tmp_path / "work", epochs=1)
    except CannotBuildError as error:
        pytest.skip(str(error))
    tab.open((tmp_path / "site/digits/index.html").as_uri())
    tab.until(f"typeof net === 'object' && {ANSWER} === 'nothing yet'")
    file = Compiler("gcc", ("-O1", "-shared", "-fPIC"))
    library = ctypes.CDLL(str(file.build(tmp_path, [tmp_path / "site/digits/lenet.c"], "net.so")))
    for digit, strokes in DIGITS.items():
        draw(tab, strokes)
        assert tab.evaluate(ANSWER) == digit
        pixels = np.array(tab.evaluate(f"Array.from({PIXELS})"), "f")
        assert pixels[28 * 14 - 28 * 10 :].max() == 255
        chances = np.zeros(10, "f")
        best = library.lenet_classify(*(ctypes.c_void_p(a.ctypes.data) for a in (pixels, chances)))
        assert str(best) == digit
        assert agreement(chances, np.array(tab.evaluate(f"Array.from({CHANCES})"))) <= 1e-4
    assert not tab.told
    assert {each.partition(":")[0] for each in tab.requests} <= {"file", "data"}


def test_without_a_compiler_there_is_no_page(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotBuildError, match="needs clang"):
        build(tmp_path / "digits", tmp_path / "work")
