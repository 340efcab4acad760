"""The forms a picture is written in: names of a file stay text in each, and what the verb does."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import netspec
from netspec.compiler.driver import Request, compile_request
from netspec.diagnostics import Source
from netspec.draw.drawing import FORMS, Drawing
from netspec.draw.svg import COLORS
from tests.conftest import ROOT, Run, Write
from tests.helpers.golden import check_golden

SVG = "{http://www.w3.org/2000/svg}"
# What a file can write where its words are shown: in the texts of attributes and in its own name.
HOSTILE = "\"'></style></text><script>alert(1)</script>&#60;`\\n\\u202e]]>-->%%{init}%%;click n0"
HOSTILE_FILE = 'a"><script>alert(2)</script>\n.net'


@pytest.fixture(scope="module")
def hostile() -> Drawing:
    """A net whose ops, labels and file have names that would end a string or an element."""
    text = (
        "net N { input x: [3, 8, 8]\n"
        '  y = x -> "a+b=c~d,e": conv(4, 3, pad = 1) -> pad(1, mode = "constant")\n'
        "  output y -> global_avg_pool }\n"
    )
    result = compile_request(Request(source=Source(HOSTILE_FILE, text)))
    assert not result.errors
    (sketch,) = result.sketches.values()
    drawing = Drawing(sketch)
    box = drawing.picture.boxes[1]
    object.__setattr__(box.item, "title", HOSTILE)
    object.__setattr__(box.item, "note", HOSTILE)
    for text_line in box.texts:
        object.__setattr__(text_line, "text", HOSTILE)
    return drawing


def test_svg_keeps_hostile_names_as_text(hostile: Drawing) -> None:
    root = ElementTree.fromstring(hostile.svg())
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "title", "style", "g", "rect", "path", "text"}
    assert any("<script>" in "".join(e.itertext()) for e in root.iter(f"{SVG}text"))
    assert not [name for e in root.iter() for name in e.attrib if name.startswith("on")]
    assert "\u202e" not in hostile.svg()


def test_mermaid_keeps_hostile_names_as_text(hostile: Drawing) -> None:
    text = r"(?:[^\"<>`\\{}%;&#]|#\d+;|<br/>)*"
    statement = re.compile(
        r"%% drawn by netspec .*|flowchart TB| *end"
        rf"| *subgraph n\d+\[\"{text}\"\]| *n\d+\[\"{text}\"\]:::k\d"
        rf"| *n\d+ (-->|-\.-)(\|\"{text}\"\|)? n\d+"
        r"| *classDef k\d fill:#\w+,stroke:#\w+,color:#\w+"
    )
    lines = hostile.mermaid().splitlines()
    assert [line for line in lines if not statement.fullmatch(line)] == []
    assert any("#60;script#62;" in line for line in lines)


def test_dot_keeps_hostile_names_as_text(hostile: Drawing) -> None:
    quoted = r'"(?:[^"\\\n]|\\.)*"'
    for line in hostile.dot().splitlines():
        rest = re.sub(quoted, "", line)
        assert '"' not in rest
        assert "script" not in rest
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg"], input=hostile.dot().encode(), check=True, timeout=60,
                       capture_output=True)  # fmt: skip


def test_every_form_is_written_and_may_be_written_again(
    run: Run, write: Write, tmp_path: Path
) -> None:
    path = write("net Tiny { input x: [4]\n output x -> linear(3) -> relu }\n")
    for ending in FORMS:
        if ending == ".png":
            pytest.importorskip("resvg_py")
        if ending in (".png", ".pdf"):
            pytest.importorskip("matplotlib")
        out = tmp_path / f"net{ending}"
        for _ in range(2):  # the second time over the first
            finished = run("draw", path, "-o", out)
            assert (finished.code, finished.out, finished.err) == (0, "", "")
        once = out.read_bytes()
        assert run("draw", path, "-o", out).code == 0
        assert out.read_bytes() == once
    assert (tmp_path / "net.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    pdf = (tmp_path / "net.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert b"/FontFile2" in pdf, "its letters are letters"
    (tmp_path / "net.pdf").write_bytes(pdf.replace(b"(netspec)", b"(another)"))
    assert "output/not-generated" in run("draw", path, "-o", tmp_path / "net.pdf").err


def test_a_file_that_netspec_did_not_draw_is_kept(run: Run, write: Write, tmp_path: Path) -> None:
    path = write("net Tiny { input x: [4]\n output x -> linear(3) }\n")
    out = tmp_path / "mine.svg"
    out.write_text("<svg/>")
    assert "output/not-generated" in run("draw", path, "-o", out).err
    assert out.read_text() == "<svg/>"
    named = path.rename(tmp_path / "net.svg")
    assert "output/is-source" in run("draw", named, "-o", named, "--force").err


def test_without_a_file_svg_goes_to_stdout(run: Run, networks: Path) -> None:
    finished = run("draw", networks / "lenet.net")
    assert finished.code == 0
    assert ElementTree.fromstring(finished.out).tag == f"{SVG}svg"


def test_a_terminal_is_told_of_the_file(
    run: Run, networks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("draw", networks / "lenet.net").err == ""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "-o net.svg" in run("draw", networks / "lenet.net").err


def test_an_unknown_ending_is_refused(run: Run, networks: Path, tmp_path: Path) -> None:
    finished = run("draw", networks / "lenet.net", "-o", tmp_path / "net.bmp")
    assert finished.code == 2
    assert "usage/picture" in finished.err
    assert not [*tmp_path.iterdir()]


def test_a_broken_net_is_drawn_and_its_errors_are_told(run: Run, tmp_path: Path) -> None:
    finished = run("draw", ROOT / "docs/mistake.net", "-o", tmp_path / "net.svg")
    assert finished.code == 1
    assert "shape/add-mismatch" in finished.err
    assert "needs equal shapes" in (tmp_path / "net.svg").read_text("utf-8")


def test_errors_of_what_is_no_net_are_told_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"\x08\x07\x00")
    for name in ("a.onnx", "missing.net"):
        drawn = run("draw", tmp_path / name)
        assert drawn.code == 1
        assert drawn.err.count("error[") == 1


def test_a_file_of_several_nets_needs_a_name(run: Run, write: Write) -> None:
    nets = "".join(f"net {n} {{ input x: [4]\n output x -> linear(3) }}\n" for n in ("One", "Two"))
    path = write(nets)
    assert "name one with --net" in run("draw", path).err
    assert ">Two<" in run("draw", path, "--net", "Two").out
    broken = write(nets.replace("linear(3)", "linear(3) -> conv(3, 3)", 1), "broken.net")
    assert "name one with --net" in run("draw", broken).err
    assert run("draw", broken, "--net", "Two").code == 0
    assert "file/no-such-net" in run("draw", path, "--net", "Tow").err


def test_arguments_and_depth_are_heeded(run: Run, networks: Path) -> None:
    path = networks / "resnet.net"
    closed = run("draw", path, "--depth", 0, "--set", "depth=8").out
    assert "basic1" in closed
    assert "add" not in [e.text for e in ElementTree.fromstring(closed).iter(f"{SVG}text")]
    assert ">3 × " not in closed
    assert ">3 × " in run("draw", path, "--depth", 0).out


def test_net_draw_shows_itself_in_a_notebook(tmp_path: Path) -> None:
    net = netspec.load("lenet")
    drawing = net.draw(tmp_path / "net.svg", depth=0)
    assert drawing._repr_svg_() == (tmp_path / "net.svg").read_text("utf-8")
    assert repr(drawing) == "<netspec.Drawing of LeNet, 14 boxes>"
    with pytest.raises(netspec.NetspecError, match="usage/picture"):
        net.draw(tmp_path / "net.txt")


def test_equal_nets_give_equal_pictures_in_every_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "netspec", "draw", "zoo/googlenet"]
    out = {
        subprocess.run(command, capture_output=True, check=True, cwd=ROOT,
                       env={"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(out) == 1


def test_drawing_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom netspec import cli\n"
        "assert cli.main(['draw', 'networks/lenet.net', '-o', sys.argv[1]]) == 0\n"
        "print(sorted({'numpy', 'torch', 'lark', 'matplotlib', 'networkx'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "net.svg")],
                          cwd=ROOT, capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_is_legible_on_every_colour_by_day_and_by_night() -> None:
    for day, night in COLORS.values():
        for ink, paper in ((("#1f2328", "#57606a"), day[0]), (("#e6edf3", "#a7b1bc"), night[0])):
            for text in ink:
                light, dark = sorted((luminance(text), luminance(paper)), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, paper)


@pytest.mark.parametrize(
    ("net", "picture"),
    [
        ("docs/mistake.net", "docs/mistake.svg"),
        ("docs/course/lenet.net", "docs/lenet.svg"),
        ("networks/resnet.net", "docs/resnet.svg"),
    ],
)
def test_the_pictures_in_the_pages_are_those_that_are_drawn(
    run: Run, monkeypatch: pytest.MonkeyPatch, net: str, picture: str
) -> None:
    monkeypatch.chdir(ROOT)
    check_golden(Path(picture), run("draw", net).out)
