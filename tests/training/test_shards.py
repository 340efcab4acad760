"""Shards of pictures: packed from folders, read in any order, from disk and from the web."""

from __future__ import annotations

import functools
import http.server
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.runtime.data import shard_names
from netspec.runtime.data.packing import Packing, pack
from netspec.runtime.data.shards import load_shards
from tests.helpers.errors import fails
from tests.helpers.killing import without_times
from tests.helpers.mixed_pictures import make_mixed

image_module = pytest.importorskip("PIL.Image")
SHAPE = (3, 16, 16)
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NETSPEC_DATA_DIR", str(tmp_path / "cache/data"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mixed")
    make_mixed(root / "train", 50)
    make_mixed(root / "test", 9)
    return root


@pytest.fixture(scope="module")
def shards(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "shards"
    packed = pack(folder, out, Packing(per_shard=8))
    assert (packed.shards, packed.there, packed.pictures) == (9, 0, 59)
    return out


def pattern(shards: Path) -> str:
    return str(shards / "train-{000000..000006}.tar")


def same(one: netspec.Dataset, other: netspec.Dataset) -> bool:
    pairs = [(one.x_train[:], other.x_train[:]), (one.x_test[:], other.x_test[:]),
             (one.y_train, other.y_train), (one.y_test, other.y_test)]  # fmt: skip
    return all(np.array_equal(a, b) for a, b in pairs) and one.class_names == other.class_names


# --------------------------------------------------------------------------------- the same data


def test_shards_hold_what_the_folder_does_in_its_order(folder, shards):
    of_folder = netspec.load_data(str(folder), input_shape=SHAPE, resize=18)
    of_shards = netspec.load_data(pattern(shards), input_shape=SHAPE, resize=18)
    assert same(of_shards, of_folder)
    assert len(of_shards.x_test) == 9  # the test shards lie beside


def test_webdataset_reads_them(folder, shards):
    wds = pytest.importorskip("webdataset")
    found = list(wds.WebDataset(pattern(shards), shardshuffle=False, empty_check=False))
    data = netspec.load_data(pattern(shards), input_shape=SHAPE, resize=18)
    assert [int(each["cls"]) for each in found] == data.y_train.tolist()
    contents = {path.read_bytes() for path in (folder / "train").rglob("*.*")}
    assert {next(each[s] for s in ("jpg", "png") if s in each) for each in found} == contents


def test_shards_of_webdataset_are_read(tmp_path):
    wds = pytest.importorskip("webdataset")
    with wds.TarWriter(str(tmp_path / "a.tar")) as writer:
        for i in range(5):
            content = io.BytesIO()
            image_module.new("RGB", (16, 16), (i, i, i)).save(content, "PNG")
            writer.write({"__key__": f"x/{i}", "png": content.getvalue(), "cls": i % 2})
    data = netspec.load_data(str(tmp_path / "a.tar"), input_shape=SHAPE)
    assert data.y_train.tolist() == [0, 1, 0, 1, 0]
    assert [int(x[0, 0, 0]) for x in data.x_train[:]] == [0, 1, 2, 3, 4]


def test_a_run_is_the_same_from_the_folder_and_from_shards(
    folder, shards, tmp_path, run, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("small.net").write_text(
        "net Small(classes = 3) {\n    input image: [3, 16, 16]\n"
        "    output image -> conv(4, 3, stride = 2) -> relu -> global_avg_pool -> linear(classes)\n}\n"
    )
    options = ("--resize-shorter", "18", "--epochs", "2", "--batch", "7", "--val", "0.2",
               "--augment", "flip,cutmix", "--out")  # fmt: skip
    near = os.path.relpath(shards)
    for name, data in (("a", str(folder)), ("b", f"{near}/train-{{000000..000006}}.tar")):
        done = run("train", "numpy", "small.net", "--data", data, *options, name)
        assert done.code == 0, done.err
    weights = [Path(name, "weights.safetensors").read_bytes() for name in ("a", "b")]
    arrays = [
        netspec.load_weights(Path(name, "weights.safetensors")).tensors for name in ("a", "b")
    ]
    assert len(weights[0]) > 0
    for name, array in arrays[0].items():
        assert np.array_equal(array, arrays[1][name])
    Path("other").mkdir()
    monkeypatch.chdir("other")  # the shards are found from where the run was started
    again = run("train", "--resume", "../b", "--epochs", "3")
    assert again.code == 0, again.err


# ---------------------------------------------------------------------------------------- packing


def test_packing_goes_on_where_it_was_stopped(folder, shards, tmp_path):
    class StopError(Exception):
        pass

    def stop_at(name: str) -> None:
        if name == "train-000003.tar":
            raise StopError

    with pytest.raises(StopError):
        pack(folder, tmp_path / "s", Packing(per_shard=8, workers=1), stop_at)
    there = sorted(path.name for path in (tmp_path / "s").glob("*.tar"))
    assert there == [f"train-00000{i}.tar" for i in range(4)]
    (tmp_path / "s/.train-000004.tar.part").write_bytes(b"half of it")
    assert pack(folder, tmp_path / "s", Packing(per_shard=8)).there == 4
    for path in shards.glob("*.*"):
        assert (tmp_path / "s" / path.name).read_bytes() == path.read_bytes()
    with fails("output/not-generated", "other pictures, or made in another way"):
        pack(folder, tmp_path / "s", Packing(per_shard=9))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    with fails("output/not-generated", "not empty"):
        pack(folder, tmp_path / "mine", Packing())


def test_packed_pictures_may_be_smaller(folder, tmp_path, run):
    done = run(
        "data", "pack", folder, "-o", tmp_path / "s", "--resize-shorter", "24", "--quality", "80"
    )
    assert done.code == 0, done.err
    assert done.out.startswith("59 pictures in 2 shards")
    data = load_shards(str(tmp_path / "s/train-000000.tar"), SHAPE, resize=18)
    sides = [min(data.x_train.image(int(i)).size) for i in data.x_train.numbers]
    assert max(sides) == 24


@pytest.mark.parametrize("plan", [b"\xff\xfe", b"{" * 9_000_000, b""])
def test_a_folder_of_shards_may_be_of_any_origin(folder, tmp_path, run, plan):
    (tmp_path / "s").mkdir()
    (tmp_path / "s/pack.json").write_bytes(plan)
    done = run("data", "pack", folder, "-o", tmp_path / "s")
    assert done.code == 1, done.err
    assert "error[output/not-generated]" in done.err
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["pack.json"]


@pytest.mark.parametrize("name", ["two\nlines", " blank", "line\u2028line", os.fsdecode(b"\xff")])
def test_a_class_that_is_no_line_is_not_packed(tmp_path, run, name):
    """Its name would be read as another, or the names of all that follow would be."""
    make_mixed(tmp_path / "a", 9)
    (tmp_path / "a/c0").rename(tmp_path / "a" / name)
    done = run("data", "pack", tmp_path / "a", "-o", tmp_path / "s")
    assert done.code == 1, done.err
    assert f"the class {name!r} cannot be a line of classes.txt" in done.err
    assert not (tmp_path / "s").exists()


def test_packing_names_all_that_cannot_be_read(tmp_path):
    make_mixed(tmp_path / "a", 9)
    for name in ("c0/x.png", "c1/y.jpg"):
        (tmp_path / "a" / name).write_text("no picture")
    with fails("data/bad-file", "x.png.*y.jpg|y.jpg.*x.png"):
        pack(tmp_path / "a", tmp_path / "s", Packing())
    assert not (tmp_path / "s").exists()


# -------------------------------------------------------------------------------------- the web


@pytest.fixture
def server(shards: Path) -> Iterator[str]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        asked = 0

        def log_message(self, *_: object) -> None:
            Handler.asked += 1

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(shards))
    ) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()


def test_shards_are_downloaded_once(folder, shards, server, monkeypatch):
    name = f"{server}/train-{{000000..000006}}.tar"
    first = netspec.load_data(name, input_shape=SHAPE, resize=18)
    monkeypatch.setattr(shard_names, "_download", lambda *_: pytest.fail("downloaded again"))
    again = netspec.load_data(name, input_shape=SHAPE, resize=18)
    assert same(first, again)
    assert np.array_equal(
        first.x_train[:], load_shards(pattern(shards), SHAPE, resize=18).x_train[:]
    )
    assert len(first.x_test) == 0


def test_what_the_web_does_not_give_is_named(server, monkeypatch, tmp_path):
    with fails("data/missing-file", f"{server}/none.tar could not be downloaded: 404"):
        netspec.load_data(f"{server}/none.tar", input_shape=SHAPE)
    monkeypatch.setattr(shard_names, "MAX_SHARD_BYTES", 1000)
    with fails("data/missing-file", "train-000000.tar could not be downloaded: it is larger"):
        netspec.load_data(f"{server}/train-000000.tar", input_shape=SHAPE)
    assert not [*(tmp_path / "cache").rglob("*.part")]


# ---------------------------------------------------------------------------------- hostile ones


def picture(suffix: str = "png", size: tuple[int, int] = (16, 16)) -> bytes:
    content = io.BytesIO()
    image_module.new("RGB", size, (9, 90, 200)).save(content, {"jpg": "JPEG"}.get(suffix, suffix))
    return content.getvalue()


def archive(
    path: Path, members: list[tuple[str, bytes, bytes]], form: int = tarfile.PAX_FORMAT
) -> Path:
    """Write a tar of members: a name, a kind and a content."""
    with tarfile.open(path, "w", format=form) as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(content), "/etc/passwd"
            tar.addfile(member, io.BytesIO(content))
    return path


GOOD = [("a.png", tarfile.REGTYPE, picture()), ("a.cls", tarfile.REGTYPE, b"1")]
DEVICE, LINK = tarfile.CHRTYPE, tarfile.SYMTYPE
WRONG = {
    "link": ([*GOOD, ("b.png", LINK, b"")], "`b.png` is a symbolic link"),
    "hard link": ([*GOOD, ("b.png", tarfile.LNKTYPE, b"")], "`b.png` is a hard link"),
    "device": ([*GOOD, ("b.png", DEVICE, b"")], "`b.png` is a device"),
    "fifo": ([*GOOD, ("b.png", tarfile.FIFOTYPE, b"")], "`b.png` is a FIFO"),
    "out": ([*GOOD, ("x/../../b.png", tarfile.REGTYPE, b"")], "leads out of a folder"),
    "root": ([*GOOD, ("/b.png", tarfile.REGTYPE, b"")], "leads out of a folder"),
    "no label": ([GOOD[0]], "`a` has a picture and no .cls"),
    "label": ([GOOD[0], ("a.cls", tarfile.REGTYPE, b"-1")], "no number of a class"),
    "huge label": ([GOOD[0], ("a.cls", tarfile.REGTYPE, b"9" * 30)], "no number of a class"),
    "long name": ([("n" * 2000 + ".png", tarfile.REGTYPE, b"")], "a name of 2,004 bytes"),
    "longest name": ([("n" * 70000 + ".png", tarfile.REGTYPE, b"")], "a name of 70,0"),
    "nothing": ([("a.txt", tarfile.REGTYPE, b"")], "there is no picture in it"),
}


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("kind", WRONG)
def test_hostile_archives_are_refused(tmp_path, kind, form):
    members, said = WRONG[kind]
    path = archive(tmp_path / "bad.tar", members, form)
    with fails("data/bad-file", "bad.tar: .*" + said):
        load_shards(str(path), SHAPE)


def test_long_names_and_large_sizes_are_read(tmp_path):
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        long = "folder/" * 14 + "name" * 10
        members = [
            (f"{long}.png", tarfile.REGTYPE, picture()),
            (f"{long}.cls", tarfile.REGTYPE, b"1 "),
        ]
        path = archive(tmp_path / "long.tar", members, form)
        data = load_shards(str(path), SHAPE)
        assert data.y_train.tolist() == [1]
        assert data.x_train[0].shape == SHAPE


def said_of(path: Path) -> str:
    """Return what is said of an archive, or its name if it can be read."""
    try:
        load_shards(str(path), SHAPE).x_train[:]
    except netspec.NetspecError as error:
        return str(error)
    return path.name


def test_archives_that_are_cut_or_damaged_are_refused(tmp_path):
    whole = archive(tmp_path / "a.tar", GOOD).read_bytes()
    cut = tmp_path / "cut.tar"
    rng = np.random.default_rng(0)
    for size in (0, 1, 511, 513, 700, 1024, 1500):
        cut.write_bytes(whole[:size])
        with fails("data/bad-file", "cut.tar"):
            load_shards(str(cut), SHAPE)
    for _ in range(300):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 3):
            damaged[at] = rng.integers(256)
        cut.write_bytes(damaged)
        assert "cut.tar" in said_of(cut)


def test_lists_of_shards_end(tmp_path):
    with fails("data/bad-file", "stands for 1,000,000,000 shards"):
        load_shards(str(tmp_path / "a-{000000000..999999999}.tar"), SHAPE)
    with fails("data/bad-file", "stands for 0 shards"):
        load_shards(str(tmp_path / "a-{5..3}.tar"), SHAPE)
    with fails("data/missing-file", "a-3.tar"):
        load_shards(str(tmp_path / "a-{3..5}.tar"), SHAPE)


@pytest.mark.skipif(os.name != "posix", reason="makes a FIFO")
def test_what_never_ends_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "endless.tar")
    with fails("data/missing-file", "endless.tar"):
        load_shards(str(tmp_path / "endless.tar"), SHAPE)


def test_what_the_plan_says_is_what_was_packed(shards):
    plan = json.loads((shards / "pack.json").read_text())
    assert (plan["pictures"], plan["per-shard"], plan["classes"]) == (59, 8, ["c0", "c1", "c2"])


# A process that is killed leaves no time to save anything: what a step saw is told in a file.
KILLED = """
import hashlib, os, signal, sys
from netspec.cli import main
from netspec.runtime.models.pytorch.epoch_share import OwnShare

steps, told, last = OwnShare.steps, sys.argv[1], int(sys.argv[2])

def telling(self, epoch, order, parts):
    for part, step in zip(parts, steps(self, epoch, order, parts), strict=True):
        with open(told, "a") as file:
            (x,) = step.x.values()
            for number, image in zip(order[part], x, strict=True):
                print(epoch, number, hashlib.sha256(image.numpy().tobytes()).hexdigest(), file=file)
        with open(told) as file:
            if last and len(file.readlines()) > last:
                os.kill(os.getpid(), signal.SIGKILL)
        yield step

if __name__ == "__main__":
    OwnShare.steps = telling
    sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.heavy
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_from_shards_that_is_killed_goes_on_behind_its_last_checkpoint(
    shards, tmp_path, workers
):
    """50 pictures are 8 batches. The kill is at the start of a step, after a checkpoint every 2."""
    pytest.importorskip("torch")
    (tmp_path / "small.net").write_text(
        "net Small(classes = 3) {\n    input image: [3, 16, 16]\n"
        "    output image -> conv(4, 3, stride = 2) -> relu -> global_avg_pool -> linear(classes)\n}\n"
    )
    (tmp_path / "killed.py").write_text(KILLED)

    def told(name: str, last: int, *words: object) -> tuple[int, list[list[str]]]:
        done = subprocess.run(
            [sys.executable, "killed.py", name, str(last), "train", *map(str, words)],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr[-3000:]
        return done.returncode, [each.split() for each in (tmp_path / name).open()]

    options = ("torch", "small.net", "--data", pattern(shards), "--resize-shorter", 18, "--epochs", 2,
               "--batch", 7, "--augment", "random_resized_crop(scale=(0.3, 1))", "--workers", workers,
               "--checkpoint-every", 2, "--log-every", 1, "--threads", 1, "--device", "cpu")  # fmt: skip
    code, whole = told("whole", 0, *options, "--out", "unbroken")
    assert (code, len(whole)) == (0, 100)
    for epoch in ("1", "2"):
        assert sorted(int(line[1]) for line in whole if line[0] == epoch) == [*range(50)]
    code, first = told("first", 35, *options, "--out", "killed")  # of the sixth batch
    assert code == -signal.SIGKILL
    assert first == whole[:42]
    code, second = told("second", 0, "--resume", "killed")
    assert code == 0
    # Five steps were done, and the state was saved after four.
    assert second == whole[28:]
    weights = [tmp_path / name / "weights.safetensors" for name in ("killed", "unbroken")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert without_times(tmp_path / "killed") == without_times(tmp_path / "unbroken")
