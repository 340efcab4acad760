"""The geometry of pictures: no overlaps, no loose ends, no text outside its box, no missing arrow."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from netspec.compiler.driver import Compilation, Request, compile_request
from netspec.diagnostics import Source
from netspec.draw.kinds import Kind
from netspec.draw.outline import Group, Leaf, outline
from netspec.draw.picture import Picture, draw
from netspec.draw.svg import as_svg
from netspec.draw.text_width import shortened, text_width
from tests.conftest import ROOT
from tests.helpers.drawn import faults
from tests.helpers.heavy import some_heavy
from tests.helpers.random_nets import random_net

NETS = sorted((ROOT / "networks").rglob("*.net"))
BAD = sorted((ROOT / "tests/language/bad").glob("*.net"))


def check(result: Compilation, depths: tuple[int | None, ...] = (None, 0, 1, 20)) -> int:
    for sketch in result.sketches.values():
        made = outline(sketch)
        for depth in depths:
            assert not faults(draw(made, depth), made, sketch)
    return len(result.sketches)


def checked(text: str) -> Compilation:
    return compile_request(Request(source=Source("drawn.net", text)))


# Nets with a picture that shows something of its own.
LOOP = (
    "net D {{ input x: [4]\n for i in range({count}) {{ x = x -> linear(4) -> relu }}\n output x }}"
)
UNLIKE = (
    "net D {{ input x: [4]\n for i in range({count})"
    " {{ x = x -> linear(i % 7 + 1) -> relu }}\n output x }}"
)
SHARED = """
    net D { input a: [4]
        input b: [4]
        layer s = linear(4)
        unread = a -> relu
        output s(a) + s(b)
    }
"""
SWAPPED = """
    block B() x, y {
        a = x -> linear(4)
        b = y -> linear(4) -> relu
        return a, b
    }
    net D { input x: [4]
        input y: [4]
        for i in range(4) { x, y = (y, x) -> B() }
        output p = x
        output q = y
    }
"""
WIDE = """
    net D { input x: [4]
        rows = [x]
        for i in range(60) { rows = rows + [x -> linear(4)] }
        output concat(rows)
    }
"""
QUICK = ("lenet", "resnet18", "googlenet", "unet", "vae", "shufflenet_v2_x1_0")


@pytest.mark.parametrize(
    "path", some_heavy(NETS, [path for path in NETS if path.stem not in QUICK]), ids=str
)
def test_the_pictures_of_the_shipped_nets_are_sound(path: Path) -> None:
    assert check(compile_request(Request(path=path))) == 1


@pytest.mark.parametrize("path", some_heavy(BAD, BAD[3:]), ids=lambda path: path.stem)
def test_what_is_known_of_a_broken_net_is_drawn(path: Path) -> None:
    if path.stat().st_size > 20_000:
        pytest.skip("a file of its size has no picture that anyone looks at")
    check(compile_request(Request(path=path)), (None, 20))


@pytest.mark.parametrize("seed", some_heavy(range(300), range(3, 300)))
def test_the_pictures_of_random_nets_are_sound(seed: int) -> None:
    assert check(checked(random_net(seed))) == 1


@pytest.mark.parametrize("text", [SHARED, SWAPPED, WIDE, UNLIKE.format(count=200)])
def test_the_pictures_of_odd_nets_are_sound(text: str) -> None:
    assert check(checked(text)) == 1


def test_faults_are_seen() -> None:
    """The helper misses no box that was moved, no arrow that was lost and no text that is too long."""
    (sketch,) = compile_request(Request(path=ROOT / "networks/zoo/resnet18.net")).sketches.values()
    made = outline(sketch)
    good = draw(made)

    def broken(change: Callable[[Picture], None]) -> str:
        picture = copy.deepcopy(good)
        change(picture)
        return " ".join(faults(picture, made, sketch))

    def move(picture: Picture) -> None:
        picture.boxes[1] = replace(picture.boxes[1], y=picture.boxes[2].y)

    def lengthen(picture: Picture) -> None:
        box = picture.boxes[1]
        long = replace(box.texts[0], text=box.texts[0].text * 3)
        picture.boxes[1] = replace(box, texts=(long,))

    def bend(picture: Picture) -> None:
        line = picture.lines[1]
        (x, y), *rest = line.points
        picture.lines[1] = replace(line, points=((x + 3, y), *rest))

    def forget(picture: Picture) -> None:
        picture.boxes[1] = replace(picture.boxes[1], item=picture.boxes[2].item)

    assert not faults(good, made, sketch)
    assert "overlap" in broken(move)
    assert "leaves" in broken(lengthen)
    assert "neither upright nor level" in broken(bend)
    assert "no arrow brings" in broken(lambda picture: picture.lines.pop())
    assert "is in no box" in broken(forget)


def test_values_that_enter_a_block_share_no_line() -> None:
    net = ROOT / "networks/zoo/llama.net"
    assert check(compile_request(Request(path=net, arguments={"layers": 2})), (None, 1, 20)) == 1


def test_no_arrow_leads_to_an_array_of_the_nets_own() -> None:
    result = checked(
        "net D { input x: [4]\n parameter p: [4] = ones\n constant c: [4] = ones\n output x * p + c }"
    )
    (sketch,) = result.sketches.values()
    picture = draw(outline(sketch))
    ends = {picture.boxes[line.target].item.title for line in picture.lines}
    assert {box.item.title for box in picture.boxes} - ends == {
        "x", "parameter([4])", "constant([4])",
    }  # fmt: skip
    assert {picture.boxes[line.source].item.title for line in picture.lines} >= {"constant([4])"}


def test_equal_calls_are_one_box_with_their_count() -> None:
    (sketch,) = compile_request(Request(path=ROOT / "networks/resnet.net")).sketches.values()
    groups = [item for item in outline(sketch).children if isinstance(item, Group)]
    assert [group.times for group in groups] == [3, 1, 2, 1, 2]
    assert groups[0].title == "basic1 to basic3: Basic"
    assert len(groups[0].members) == 3 * 7


BETWEEN = """block Mix x, token {
    parameter gamma: [x.features] = ones
    u = concat(token, x)
    return token + (gamma -> unsqueeze(1)) * (u -> slice(1, 0, 1) -> linear(x.features))
}
net A {
    input x: [4, 8]
    parameter first: [1, 1, 8] = zeros
    token = first
    x = x -> linear(8)
    for i in range(2) { token = (x, token) -> blocks_of_tokens_only.{i}: Mix }
    output token -> flatten
}
"""


def test_an_open_block_has_a_title_between_the_lines_that_come_in() -> None:
    (sketch,) = checked(BETWEEN).sketches.values()
    made = outline(sketch)
    (group,) = [item for item in made.children if isinstance(item, Group)]
    assert group.title == "blocks_of_tokens_only.0 to 1: Mix"
    (frame,) = [box for box in draw(made, depth=1).boxes if box.is_open]
    assert frame.texts[0].text.startswith("2 × blocks_of_tokens_only")
    assert frame.texts[0].x + frame.texts[0].width <= frame.x + frame.width


def test_equal_turns_of_a_loop_are_one_box_however_many() -> None:
    (sketch,) = checked(LOOP.format(count=5000)).sketches.values()
    made = outline(sketch)
    (group,) = [item for item in made.children if isinstance(item, Group)]
    assert (group.times, group.title) == (5000, "i = 0 to 4999")
    assert [leaf.title for leaf in group.children] == ["linear(4)", "relu"]
    assert len(draw(made).boxes) == 5


def test_a_net_of_thousands_of_unlike_layers_starts_closed() -> None:
    (sketch,) = checked(UNLIKE.format(count=1000)).sketches.values()
    assert len(draw(outline(sketch)).boxes) < 150


def test_what_does_not_fit_is_drawn_in_red_with_what_it_reads() -> None:
    result = compile_request(Request(path=ROOT / "docs/mistake.net"))
    (sketch,) = result.sketches.values()
    picture = draw(outline(sketch))
    (at,) = [i for i, box in enumerate(picture.boxes) if box.item.kind is Kind.ERROR]
    assert "needs equal shapes" in picture.boxes[at].item.note
    coming = {line.value for line in picture.lines if line.target == at}
    assert coming == {"basic2.batch_norm2", "basic2.batch_norm3"}
    shapes = [text.text for text in picture.shapes]
    assert {"[N, 32, 16, 16]", "[N, 32, 32, 32]"} <= set(shapes)
    assert as_svg(picture).count('class="l e"') == len(coming)


def test_shared_layers_are_linked_and_unread_values_marked() -> None:
    (sketch,) = checked(SHARED).sketches.values()
    picture = draw(outline(sketch))
    ((one, other),) = picture.shared()
    assert [picture.boxes[at].item.name for at in (one, other)] == ["s", "s@2"]
    unread = [b.item.name for b in picture.boxes if isinstance(b.item, Leaf) and b.item.is_unread]
    assert unread == ["relu1"]


@pytest.mark.heavy
def test_densenet_is_drawn_in_two_seconds() -> None:
    (sketch,) = compile_request(
        Request(path=ROOT / "networks/zoo/densenet121.net")
    ).sketches.values()
    before = time.process_time()
    picture = draw(outline(sketch), 20)
    assert as_svg(picture)
    assert len(picture.boxes) > 400
    assert time.process_time() - before < 2


def test_widths_of_characters_are_those_of_the_font() -> None:
    pytest.importorskip("matplotlib")
    from matplotlib import font_manager, ft2font

    flags = getattr(ft2font, "LoadFlags", None)  # new in Matplotlib 3.10
    unhinted = ft2font.LOAD_NO_HINTING if flags is None else flags.NO_HINTING
    for bold in (False, True):
        weight = "bold" if bold else "normal"
        path = font_manager.findfont(
            font_manager.FontProperties(family="DejaVu Sans", weight=weight)
        )
        font = ft2font.FT2Font(path)
        font.set_size(1000, 72)
        for code in (*range(32, 127), ord("·"), ord("×")):
            advance = font.load_char(code, flags=unhinted).linearHoriAdvance
            assert text_width(chr(code), 1000, bold=bold) == pytest.approx(advance / 65536, abs=1)


def test_a_text_is_shortened_to_its_width() -> None:
    for text in ("conv(64, 3, pad = 1)", "\u4e2d\u6587" * 40, "e\u0301" * 60):
        for width in (40, 90, 200):
            short = shortened(text, 12, width)
            assert text_width(short, 12) <= width
            assert short == text or short.endswith("...")


def test_many_lines_side_by_side_take_no_long_time():
    outputs = "\n".join(f"    output o{i} = x -> conv({i % 7 + 1}, 1)" for i in range(1500))
    (sketch,) = checked(f"net N {{\n    input x: [3, 8, 8]\n{outputs}\n}}").sketches.values()
    made = outline(sketch)
    begin = time.process_time()
    draw(made, 0)
    assert time.process_time() - begin < 1.5


def test_what_a_block_reads_first_goes_straight_through_it() -> None:
    """The chain of the bias is the longer one: it took the middle, and seemed to enter the norm."""
    result = checked(
        """
        block B(width) x, bias {
            y = x -> layer_norm -> linear(width)
            return x + (y + bias -> linear(width))
        }
        net D {
            input x: [4, 8]
            constant steps: [4, 8] = range(32)
            bias = steps -> relu -> sigmoid -> tanh -> softmax
            for i in range(2) { x = (x, bias) -> B(8) }
            output x
        }
        """
    )
    (sketch,) = result.sketches.values()
    made = outline(sketch)
    for depth in (None, 0, 20):
        picture = draw(made, depth)
        assert not faults(picture, made, sketch)
        (stream,) = (line for line in picture.lines if picture.boxes[line.source].item.title == "x")
        assert len({x for x, _ in stream.points}) == 1
