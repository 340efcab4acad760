"""What objects show of themselves in notebooks and terminals: no script, every name escaped."""

from __future__ import annotations

import io
import re
import types
import warnings
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.runtime.data import Dataset, sample_grid
from netspec.runtime.models.confusions import Confusions
from netspec.runtime.models.evaluation import Evaluation
from netspec.runtime.training import progress
from netspec.runtime.training.rate_finder import RateSearch
from netspec.runtime.weights.safetensors_file import Weights
from netspec.tools.doctor.report import DoctorReport, Symptom
from tests.conftest import ROOT

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x1b[31m"
NET = "net Small { input image: [1, 8, 8]\n output image -> flatten -> linear(3) }\n"


class Page(HTMLParser):
    """Whether elements are closed in order, and what could run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.handlers: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag not in ("img", "br", "rect", "path", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("rect", "path", "polyline"):
            return
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def page(shown: Any) -> Page:
    found = Page(shown._repr_html_())
    assert not found.open
    assert not found.handlers
    assert "script" not in found.tags
    return found


@pytest.fixture
def data() -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (60, 1, 8, 8)).astype(np.uint8)
    y = np.arange(60) % 3
    return Dataset("mine", x, y, x[:6], y[:6], 3, ("cat", HOSTILE, "dog"))


def test_a_net_shows_its_picture_and_its_layers() -> None:
    net = netspec.load("lenet")
    found = page(net)
    assert {"svg", "details", "table"} <= found.tags
    assert "44,426 parameters" in found.words
    assert repr(net) == "<netspec.Net LeNet>"


def test_a_summary_is_a_table_with_totals() -> None:
    summary = netspec.load("lenet").summary()
    found = page(summary)
    assert "44,426" in found.words
    assert repr(summary) == "<netspec.Summary of LeNet: 12 layers>"
    chosen = netspec.load("lenet").summary(columns=["name", "field"])
    assert str(chosen).splitlines()[4].split() == ["layer", "field"]
    assert ">field</th>" in chosen._repr_html_()
    assert ">op</th>" not in chosen._repr_html_()
    with pytest.raises(netspec.NetspecError, match="usage/column"):
        netspec.load("lenet").summary(columns="name,fild")


def test_a_net_gives_its_text(tmp_path: Any) -> None:
    net = netspec.loads(NET)
    assert net.text == NET
    net.save(tmp_path / "small.net")
    assert (tmp_path / "small.net").read_text() == NET
    assert netspec.load(tmp_path / "small.net").diff(net).equal


def test_a_data_set_shows_samples_and_the_balance_of_its_classes(data: Dataset) -> None:
    found = page(data)
    assert data._repr_html_().count("<img ") == 20
    assert HOSTILE.replace("\x1b", "\\x1b") in found.words
    assert (
        repr(data) == "<netspec.Dataset mine: 60 training and 6 test images [1, 8, 8], 3 classes>"
    )
    rows = Dataset(
        "rows", np.zeros((4, 7)), np.array([0, 1, 0, 1]), np.zeros((0, 7)), np.zeros(0, int), 2
    )
    assert "img" not in page(rows).tags


def test_labels_of_places_and_those_that_do_not_count_are_shown_too() -> None:
    x = np.zeros((4, 1, 2, 2), np.uint8)
    y = np.array([[[0, 1], [1, -100]]] * 4)
    y.setflags(write=False)
    shown = sample_grid._counts(y, 3)
    assert shown == [4, 8, 0]
    assert sample_grid._label(np.array([0, -100]), 1, ("a", "b")) == ""
    data = Dataset("maps", x, y, x[:0], y[:0], 2)
    assert "maps" in page(data).words


def test_a_picture_of_a_sample_is_that_sample(data: Dataset, tmp_path: Any) -> None:
    image = pytest.importorskip("PIL.Image")
    again = np.asarray(image.open(io.BytesIO(sample_grid._png(data.x_train[0]))))
    assert np.array_equal(again, data.x_train[0, 0])
    colours = np.random.default_rng(1).normal(size=(3, 5, 7))
    again = np.asarray(image.open(io.BytesIO(sample_grid._png(colours))))
    assert again.shape == (5, 7, 3)
    assert (again.min(), again.max()) == (0, 255)
    large = np.zeros((1, 600, 300), np.uint8)
    assert max(image.open(io.BytesIO(sample_grid._png(large))).size) <= 256


def test_a_history_shows_its_curves(data: Dataset) -> None:
    model = netspec.loads(NET).compile()
    history = netspec.fit(model, data, epochs=3, batch=10)
    found = page(history)
    assert {"svg", "polyline"} <= found.tags
    assert repr(history).startswith("<netspec.History: 3 epochs, 18 steps, loss ")
    assert len(repr(history)) < 120
    history.loss_history[:] = [float("nan"), float("inf")] * 400
    assert page(history)
    history.loss_history[:] = []
    assert page(history)


def test_the_legend_of_one_history_names_the_parts(data: Dataset, tmp_path: Any) -> None:
    pytest.importorskip("matplotlib")
    model = netspec.loads(NET).compile()
    history = netspec.fit(model, data, epochs=2, val=0.2, progress=False)
    for others, named in (((), {"train", "val"}), ((history,), {"history 1", "val, history 2"})):
        history.plot(tmp_path / "a.svg", *others)
        words = set(re.findall(r"<!-- (.*?) -->", (tmp_path / "a.svg").read_text("utf-8")))
        assert named <= words
        assert "the history" not in " ".join(words)


def test_an_evaluation_shows_its_confusions() -> None:
    found = Evaluation(
        ("cat", HOSTILE, "dog"), 0.5, Confusions.of([[3, 1, 0], [2, 2, 0], [0, 0, 4]])
    )
    assert HOSTILE.replace("\x1b", "\\x1b") in page(found).words
    assert repr(found) == "<netspec.Evaluation: accuracy 75.00% of 12 images>"
    many = Evaluation(tuple(map(str, range(30))), 0.5, Confusions.of(np.eye(30) + 1))
    assert "most frequent mistakes" in page(many).words


def test_reports_are_shown_as_they_are_printed() -> None:
    report = netspec.gradcheck(netspec.loads(NET))
    assert str(report).strip() in page(report).words
    found = DoctorReport(HOSTILE, [Symptom("first", "ok", HOSTILE)])
    assert HOSTILE.replace("\x1b", "\\x1b") in page(found).words
    assert repr(found).endswith(": ok>")
    weights = Weights({"a": np.zeros((2, 3)), "b": np.zeros(4)})
    assert repr(weights) == "<netspec.Weights: 2 tensors, 10 numbers>"
    rates = RateSearch([1e-3, 1e-2], [2.0, 1.0], [2.0, 1.0], 1e-2)
    assert repr(rates) == "<netspec.RateSearch: 2 steps, 0.01>"


def test_ipython_shows_the_places_of_an_error() -> None:
    interactive = pytest.importorskip("IPython.core.interactiveshell")
    shell = interactive.InteractiveShell()
    shell.run_cell("%load_ext netspec")
    done = shell.run_cell(f"%%netspec small\n{NET}")
    assert done.result.name == "Small"
    assert shell.user_ns["small"] is done.result
    wrong = shell.run_cell("%%netspec bad\nnet N { input x: [3]\n output x -> linaer(2) }\n")
    assert isinstance(wrong.error_in_exec, netspec.NetspecError)
    assert "<cell bad>:2:14" in "\n".join(wrong.error_in_exec._render_traceback_())
    assert "bad" not in shell.user_ns
    for line in ("1 2", "1", "", "a --nett B", "a --net 'B"):
        unnamed = shell.run_cell(f"%%netspec {line}\nnet N {{}}\n")
        assert "usage/net" in str(unnamed.error_in_exec)


def test_a_cell_chooses_its_net_and_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    interactive = pytest.importorskip("IPython.core.interactiveshell")
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    shell = interactive.InteractiveShell()
    shell.run_cell("%load_ext netspec")
    text = "net A(width = 2) {\n input x: [3]\n output x -> linear(width)\n}\n"
    text += "net B {\n input x: [3]\n output x -> relu\n}\n"
    done = shell.run_cell(f"%%netspec chosen --net A --set width=5\n{text}")
    assert done.result.graph.nodes[-1].shape == (5,)
    assert done.result.text == text
    assert not shown
    wrong = "net W {\n input x: [1, 8, 8]\n output x -> conv(2, 3) -> max_pool(9) -> relu\n}\n"
    failed = shell.run_cell(f"%%netspec wrong\n{wrong}")
    assert "shape/kernel-too-large" in str(failed.error_in_exec)
    (drawing,) = shown
    assert "max_pool(9)" in drawing._repr_svg_()


def test_ipython_runs_commands(capsys: pytest.CaptureFixture[str]) -> None:
    interactive = pytest.importorskip("IPython.core.interactiveshell")
    shell = interactive.InteractiveShell()
    shell.run_cell("%load_ext netspec")
    shell.run_cell(f'%netspec check "{ROOT / "networks/lenet.net"}" "{ROOT / "docs/mistake.net"}"')
    told = capsys.readouterr().out
    order = [
        told.index(words) for words in ("LeNet: 44,426", "error[shape/add", "mistake.net: 1 error")
    ]
    assert order == sorted(order)


class Display:
    """A notebook's output that is drawn again; it keeps what it showed."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def update(self, each: Any) -> None:
        self.shown.append(each._repr_html_())


def test_training_shows_a_bar_and_a_curve_below_its_cell(
    data: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ipython = pytest.importorskip("IPython")
    display = Display()
    monkeypatch.setattr(ipython, "get_ipython", lambda: types.SimpleNamespace(kernel=None))
    monkeypatch.setattr("IPython.display.display", lambda *_, display_id: display)
    monkeypatch.setattr(progress, "_REDRAWN", 0.0)
    model = netspec.loads(NET).compile()
    netspec.fit(model, data, epochs=2, batch=10, val=10)
    for shown in display.shown:
        assert page(types.SimpleNamespace(_repr_html_=lambda shown=shown: shown))
    last = display.shown[-1]
    assert "100% epoch 2/2, loss " in last
    assert "epoch 1/2  loss " in last
    assert "epoch 2/2  loss " in last
    assert "<polyline" in last
    assert '<progress value="100" max="100">' in last
    assert len(display.shown) > 10
    count = len(display.shown)
    netspec.fit(model, data, epochs=1, progress=False)
    assert len(display.shown) == count
    assert not capsys.readouterr().err


CELLS = [
    "%load_ext netspec\nimport netspec, numpy as np\nnetspec.load('lenet')",
    "%%netspec small\nnet Small { input image: [1, 8, 8]\n output image -> flatten -> linear(10) }",
    "small.draw()",
    "small.summary()",
    "data = netspec.load_data('digits'); data",
    "model = small.compile()\nhistory = netspec.fit(model, data, epochs=3); history",
    "model.evaluate(data)",
    "netspec.gradcheck(small)",
    "netspec.doctor(small, data)",
    "netspec.check('lenet')",
    "%%netspec wrong\nnet W { input x: [3]\n output x -> linaer(2) }",
]


@pytest.mark.heavy
def test_a_notebook_runs_and_shows_everything_without_script() -> None:
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ZeroMQ's sockets
        nbclient.NotebookClient(
            book, timeout=300, kernel_name="python3", allow_errors=True
        ).execute()
    for cell in book.cells[:-1]:
        kinds = [out.data for out in cell.outputs if "data" in out]
        found = [kind.get("text/html") or kind["image/svg+xml"] for kind in kinds]
        assert found, (cell.source, cell.outputs)
        for shown in found:
            assert page(types.SimpleNamespace(_repr_html_=lambda shown=shown: shown))
    trained = book.cells[5].outputs
    assert any("<progress" in out.data.get("text/html", "") for out in trained if "data" in out)
    (error,) = book.cells[-1].outputs
    assert error.ename == "NetspecError"
    assert "<cell wrong>:2:14" in "\n".join(error.traceback)
    assert len(error.traceback) < 15
