"""Parameters, MACs and memory of known nets, and the four formats."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

import netspec
from netspec.compiler.analysis.costs_text import COLUMNS, FORMATS
from tests.conftest import Run, Write

# Shapes and counts that course notebooks publish for these layers.
LENET_SHAPES = [
    [6, 24, 24], [6, 12, 12], [16, 8, 8], [16, 4, 4], [256], [120], [84], [10],
]  # fmt: skip
CONV_CASES = [
    ((3, 144, 144), "conv(6, 3)", [6, 142, 142], 168),
    ((24, 60, 60), "conv(48, 3)", [48, 58, 58], 10_416),
    ((10, 20, 20), "conv(20, 3, stride = 2)", [20, 9, 9], 1_820),
]
RESNET_PARAMETERS = {20: 272_474, 32: 466_906, 56: 855_770}

TWO_BRANCHES = """
    net Two() {
        input x: [10]
        a = x -> linear(20)
        b = a -> relu
        output a + b -> linear(5)
    }
"""


def test_lenet_has_the_published_shapes_and_parameters(run: Run, networks: Path) -> None:
    data = json.loads(run("summarize", networks / "lenet.net", "--format", "json").out)
    assert data["net"] == "LeNet"
    assert data["parameters"] == 44_426
    assert data["macs"] == 24 * 24 * 6 * 25 + 8 * 8 * 16 * 150 + 256 * 120 + 120 * 84 + 84 * 10
    shapes = [layer["shape"] for layer in data["layers"] if layer["op"] != "relu"]
    assert shapes == LENET_SHAPES


@pytest.mark.parametrize(("shape", "conv", "output", "parameters"), CONV_CASES)
def test_a_convolution_has_the_published_size(
    shape: tuple[int, ...], conv: str, output: list[int], parameters: int
) -> None:
    net = netspec.loads(f"net One() {{ input x: {list(shape)}\n output x -> {conv} }}")
    (layer,) = net.summary().layers
    assert list(layer.shape) == output
    assert layer.parameters == parameters
    lost = [warning for warning in net.warnings if warning.code == "shape/unread-rows"]
    assert len(lost) == ("stride" in conv)
    for warning in lost:
        assert "row 19 and column 19" in warning.message


@pytest.mark.parametrize(("depth", "parameters"), RESNET_PARAMETERS.items())
def test_resnet_has_the_published_parameters(networks: Path, depth: int, parameters: int) -> None:
    assert netspec.load(networks / "resnet.net", depth=depth).summary().parameters == parameters


def test_totals_are_the_sums_of_the_layers(networks: Path) -> None:
    summary = netspec.load(networks / "resnet.net").summary()
    for total in ("parameters", "buffers", "macs", "flops"):
        assert getattr(summary, total) == sum(getattr(layer, total) for layer in summary.layers)
    assert summary.buffers > 0


def test_a_layer_called_twice_counts_its_parameters_once_and_its_macs_twice() -> None:
    net = netspec.loads("""
        net Siamese() {
            input left: [8]
            input right: [8]
            layer stem = linear(4)
            output stem(left) + stem(right)
        }
    """)
    summary = net.summary()
    assert [layer.parameters for layer in summary.layers] == [8 * 4 + 4, 0, 0]
    assert (summary.parameters, summary.macs) == (36, 2 * 8 * 4)


def test_memory_counts_every_value_in_training_and_the_peak_in_inference() -> None:
    summary = netspec.loads(TWO_BRANCHES).summary()
    # x 10, a 20, b 20, a + b 20, the output 5; at the peak a, b and their sum are alive.
    assert summary.training_bytes == 4 * (10 + 20 + 20 + 20 + 5)
    assert summary.inference_bytes == 4 * (20 + 20 + 20)


def test_memory_grows_with_the_batch() -> None:
    net = netspec.loads(TWO_BRANCHES)
    one, many = net.summary(), net.summary(batch=64)
    assert many.training_bytes == 64 * one.training_bytes
    assert many.inference_bytes == 64 * one.inference_bytes
    assert many.macs == one.macs


def test_an_output_stays_alive_to_the_end() -> None:
    net = netspec.loads("""
        net Tapped() {
            input x: [100]
            output early = x -> relu
            y = early -> linear(1)
            output y -> relu
        }
    """)
    # The peak is x and early together; later early is alive beside y and its relu.
    assert net.summary().inference_bytes == 4 * (100 + 100)


def test_a_summary_prints_as_its_table(networks: Path) -> None:
    summary = netspec.load(networks / "lenet.net").summary()
    assert str(summary) == FORMATS["table"](summary)
    assert "44,426" in str(summary)


def test_the_table_is_aligned(networks: Path) -> None:
    lines = str(netspec.load(networks / "resnet.net").summary()).splitlines()
    (first, last) = (i for i, line in enumerate(lines) if line and set(line) == {"-"})
    numbers = [line for line in lines[first + 1 : last] if line[-1].isdigit()]
    assert len({len(line) for line in (lines[first], lines[last])}) == 1
    assert all(len(line) <= len(lines[first]) for line in numbers)


def test_csv_reads_back(run: Run, networks: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(
        run("summarize", networks / "resnet.net", "--format", "csv").out
    )))  # fmt: skip
    assert sum(int(row["params"]) for row in rows) == RESNET_PARAMETERS[20]
    assert rows[0]["name"] == "stem"
    assert rows[0]["output"] == "16x32x32"


def test_markdown_is_a_table_with_totals(run: Run, networks: Path) -> None:
    lines = run("summarize", networks / "lenet.net", "--format", "md").out.splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert "**44,426**" in table[-1]


def test_json_shows_attributes_and_memory(run: Run, networks: Path) -> None:
    finished = run("summarize", networks / "lenet.net", "--format", "json", "--batch", "2")
    data = json.loads(finished.out)
    conv = data["layers"][0]
    assert (conv["name"], conv["op"], conv["inputs"]) == ("conv1", "conv", ["image"])
    assert conv["attributes"]["kernel"] == [5, 5]
    assert conv["attributes"]["bias"] is True
    assert data["memory"]["batch"] == 2
    assert data["inputs"] == [{"name": "image", "shape": [1, 28, 28]}]
    assert data["outputs"] == [{"name": "output", "layer": "linear3"}]


def test_json_has_the_steps_of_a_scan_and_says_what_is_shared(run: Run, write: Write) -> None:
    path = write(
        "scan block Cell(n) x {\n state h: [n] = zeros\n"
        " h = tanh((x -> linear(n)) + (h -> relu))\n return h\n}\n"
        "net A {\n input x: [4, 3]\n layer s = linear(3)\n output x -> s -> s -> Cell(5)\n}\n"
    )
    data = json.loads(run("summarize", path, "--format", "json").out)
    first, again, scan = data["layers"]
    assert (again["name"], again["shares"], "shares" in first) == ("s@2", "s", False)
    body = scan["body"]
    assert {"linear", "relu", "add", "tanh"} == {layer["op"] for layer in body["layers"]}
    assert [each["shape"] for each in body["inputs"]] == [[3], [5]]
    assert body["outputs"][0]["layer"] in {layer["name"] for layer in body["layers"]}
    assert "body" not in first


def test_warnings_go_to_stderr_and_data_to_stdout(run: Run, write: Write) -> None:
    path = write("net One() { input x: [10, 20, 20]\n output x -> conv(20, 3, stride = 2) }")
    finished = run("summarize", path, "--format", "json")
    assert finished.code == 0
    assert json.loads(finished.out)["parameters"] == 1_820
    assert "warning[shape/unread-rows]" in finished.err


def test_flops_are_two_a_mac_and_one_a_number_of_other_layers() -> None:
    summary = netspec.loads(TWO_BRANCHES).summary()
    assert [layer.flops for layer in summary.layers] == [2 * 10 * 20, 20, 20, 2 * 20 * 5]
    assert summary.flops == 640


def test_receptive_fields_and_strides(run: Run, write: Write) -> None:
    path = write("""
        net Fields() {
            input image: [3, 33, 33]
            x = image -> conv(4, 3, stride = 2) -> max_pool([3, 1], stride = 2, pad = [1, 0])
            output x -> conv(4, 3) -> global_avg_pool -> linear(10)
        }
    """)
    rows = csv.DictReader(io.StringIO(run("summarize", path, "--format", "csv").out))
    assert [(row["field"], row["stride"]) for row in rows] == [
        ("3x3", "2x2"), ("7x3", "4x4"), ("15x11", "4x4"), ("33x33", ""), ("33x33", ""),
    ]  # fmt: skip
    (vector,) = netspec.loads("net V { input x: [4]\n output x -> relu }").summary().layers
    assert (vector.field, vector.stride) == (None, None)


def test_depth_folds_blocks_and_keeps_the_totals(networks: Path) -> None:
    whole = netspec.load(networks / "resnet.net").summary()
    folded = whole.folded(1)
    names = [layer.name for layer in folded.layers]
    assert names == [
        "stem", "batch_norm1", "relu1", *(f"basic{i}" for i in range(1, 10)),
        "global_avg_pool1", "linear1",
    ]  # fmt: skip
    for total in ("parameters", "buffers", "macs", "flops", "layers"):
        sums = [sum(getattr(x, total) for x in s.layers) for s in (whole, folded)]
        assert sums[0] == sums[1]
    basic4 = folded.layers[6]
    assert (basic4.call, basic4.shape, basic4.inputs) == ("9 layers", (32, 16, 16), ("basic3",))
    assert (basic4.field, basic4.stride) == ((21, 21), (2, 2))
    assert whole.folded(2) == whole
    assert folded.training_bytes == whole.training_bytes


def test_a_row_for_each_call_of_a_block(run: Run, networks: Path) -> None:
    path = networks / "resnet.net"
    whole = netspec.load(path).summary()
    called = whole.by_blocks()
    assert [layer.name for layer in called.layers] == [
        layer.name for layer in whole.folded(1).layers
    ]
    assert called.layers[6].call == "Basic(channels = 32, stride = 2)"
    assert sum(x.macs for x in called.layers) == whole.macs
    data = json.loads(run("summarize", path, "--blocks", "--format", "json").out)
    assert [layer["layers"] for layer in data["layers"]] == [x.layers for x in called.layers]
    assert run("summarize", path, "--blocks", "--depth", 1).code == 2
    assert run("summarize", path, "--blocks", "--memory").code == 2
    labelled = run("summarize", networks / "zoo/swin_t.net", "--blocks", "--columns", "name,op").out
    assert "features.1.1  Swin(heads = 3, side = 7, odd = 1, ...)" in labelled


def test_depth_on_the_command_line(run: Run, networks: Path) -> None:
    path = networks / "resnet.net"
    data = json.loads(run("summarize", path, "--depth", 1, "--format", "json").out)
    assert data["layers"][3]["name"] == "basic1"
    assert data["layers"][3]["layers"] == 7
    assert data["parameters"] == RESNET_PARAMETERS[20]
    assert run("summarize", path, "--depth", 0).code == 2


def test_a_block_of_one_layer_and_outputs_in_blocks_are_folded_right() -> None:
    summary = (
        netspec.loads("""
        net Parts {
            input x: [4]
            y = x -> a.one: linear(4) -> b.one: linear(4) -> b.two: relu
            output early = y
            output late = y -> relu
        }
    """)
        .summary()
        .folded(1)
    )
    assert [layer.name for layer in summary.layers] == ["a.one", "b", "relu1"]
    assert summary.outputs == {"early": "b", "late": "relu1"}
    assert summary.layers[2].inputs == ("b",)


def test_columns_are_chosen_and_ordered(run: Run, networks: Path) -> None:
    path = networks / "lenet.net"
    out = run("summarize", path, "--columns", "macs, name", "--format", "csv").out
    assert out.splitlines()[:2] == ["macs,name", "86400,conv1"]
    head = run("summarize", path, "--columns", "all").out.splitlines()
    titles = next(line for line in head if line.startswith("layer"))
    assert titles.split("  ")[0] == "layer"
    assert all(column.title in titles for column in COLUMNS.values())


@pytest.mark.parametrize(
    ("shape", "kernel", "shown"),
    [("[2, 64]", "9", "9"), ("[1, 8, 9, 10]", "3", "3"), ("[1, 8, 9, 10]", "[3, 3, 5]", "3 x 3 x 5"),
     ("[1, 8, 9]", "[3, 5]", "3 x 5")],
)  # fmt: skip
def test_the_field_has_as_many_axes_as_the_input(
    shape: str, kernel: str, shown: str, run: Run, write: Write
) -> None:
    text = f"net A {{ input x: {shape}\n output x -> conv(4, {kernel}, stride = 2) -> flatten }}"
    out = run("summarize", write(text), "--columns", "name,field").out
    assert next(line for line in out.splitlines() if line.startswith("conv1")).endswith(f" {shown}")
    for columns in ("all", "stride", ["name", "field", "stride"]):
        assert str(netspec.loads(text).summary(columns=columns))
        assert netspec.loads(text).summary(columns=columns)._repr_html_()
    for way in ("md", "csv", "json", "table"):
        assert run("summarize", write(text), "--columns", "all", "--format", way).code == 0


def test_the_inputs_of_a_layer_show_its_skips(run: Run, networks: Path) -> None:
    path, columns = networks / "zoo/resnet18.net", ("--columns", "name,inputs")
    (line,) = [
        x
        for x in run("summarize", path, *columns).out.splitlines()
        if x.startswith("layer1.1.add1")
    ]
    assert line.split("  ")[-1] == "layer1.1.bn2, layer1.0.relu2"
    rows = dict(csv.reader(io.StringIO(run("summarize", path, *columns, "--format", "csv").out)))
    assert rows["conv1"] == "image"
    assert rows["layer1.1.add1"] == "layer1.1.bn2 layer1.0.relu2"
    folded = run("summarize", path, *columns, "--depth", 2).out.splitlines()
    assert [x.split()[1] for x in folded if x.startswith("layer1.1")] == ["layer1.0"]


def test_a_wrong_column_is_shown_where_it_stands(run: Run, networks: Path) -> None:
    finished = run("summarize", networks / "lenet.net", "--columns", "name,parms")
    assert finished.code == 2
    assert "error[usage/column]: there is no column `parms`" in finished.err
    assert "--> --columns:1:6" in finished.err
    assert "did you mean `params`?" in finished.err
    assert all(name in finished.err for name in COLUMNS)
    assert run("summarize", networks / "lenet.net", "--columns", "name,").code == 2


def test_the_default_table_fits_a_terminal(run: Run, networks: Path) -> None:
    for depth in ((), ("--depth", "1")):
        lines = run("summarize", networks / "resnet.net", *depth).out.splitlines()
        assert max(map(len, lines)) <= 100


def test_the_comment_above_a_net_is_shown(run: Run, networks: Path) -> None:
    lines = run("summarize", networks / "lenet.net").out.splitlines()
    assert lines[2].startswith("LeNet for 28x28 grey pictures")
    data = json.loads(run("summarize", networks / "lenet.net", "--format", "json").out)
    assert data["doc"] == lines[2]


@pytest.mark.parametrize("style", FORMATS)
@pytest.mark.parametrize("depth", [(), ("--depth", "1")])
def test_open_sizes_are_shown_in_every_format(
    run: Run, write: Write, style: str, depth: tuple[str, ...]
) -> None:
    path = write("""
        net Open {
            input image: [3, H, W]
            x = image -> a.b: conv(8, 3, pad = 1) -> a.c: max_pool(2)
            output x -> global_avg_pool -> linear(5)
        }
    """)
    finished = run("summarize", path, "--columns", "all", "--format", style, *depth)
    assert finished.code == 0
    assert "216*H*W" in finished.out.replace("\\", "")
    assert "floor(H/2)" in finished.out
    fields = {layer.name: layer.field for layer in netspec.load(path).summary().layers}
    assert str(fields["global_avg_pool1"]) == "(H, W)"
