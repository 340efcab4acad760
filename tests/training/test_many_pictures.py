"""Pictures in numbers, and hostile ones: what the pages promise of data, all at once."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.runtime.data.batches import epoch_order, share
from netspec.runtime.data.packing import Packing, pack
from tests.conftest import ROOT
from tests.helpers.mixed_pictures import make_mixed

image_module = pytest.importorskip("PIL.Image")

NET = """\
net Small(classes = 3) {
    input image: [3, 32, 32]

    output image -> conv(4, 3, stride = 2) -> relu -> global_avg_pool -> linear(classes)
}
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


# ----------------------------------------------------------------------------------- in numbers


def hashes(name: str, size: int, workers: int, first: int = 0) -> list[tuple[int, int, int, str]]:
    """Return batch, number, label and pixels' hash of each sample of an epoch's processes."""
    torch = pytest.importorskip("torch")
    from netspec.runtime.models.pytorch.batches import job_feeds
    from netspec.runtime.models.pytorch.epoch_share import OwnShare
    from netspec.runtime.models.pytorch.processes import ProcessGroup
    from netspec.runtime.training.plan import TrainingOptions, plan_training

    model = netspec.loads(NET).compile()
    data = netspec.load_data(name, input_shape=(3, 32, 32), resize=36, on_demand=True)
    options = TrainingOptions(
        batch=64, seed=7, workers=workers, normalize="imagenet",
        augment=("random_resized_crop(scale=(0.3, 1))", "horizontal_flip"),
    )  # fmt: skip
    planned = plan_training(model, data, options)
    job, parts = planned.job, planned.parts[first:]
    order = epoch_order(len(job.data.x_train), job.seed, 1)
    found = []
    for rank in range(size):
        feed = job_feeds(job, model.graph, torch.device("cpu"))["steps"]
        own = OwnShare(job, model.graph, ProcessGroup(rank, size), feed, torch.device("cpu"))
        steps = own.steps(1, order, parts)
        for part, step in zip(parts, steps, strict=True):
            mine, weight = share(part, rank, size)
            (x,) = step.x.values()
            for number, image, label in zip(order[mine].tolist(), x, step.y.tolist(), strict=True):
                if weight:
                    pixels = hashlib.sha256(image.numpy().tobytes()).hexdigest()
                    found.append((part.start, number, label, pixels))
    return sorted(found, key=lambda each: each[0])


@pytest.mark.heavy
def test_three_thousand_pictures_give_the_same_batches_from_folder_and_shards(tmp_path):
    make_mixed(tmp_path / "pictures", 3000, most=200)
    packed = pack(tmp_path / "pictures", tmp_path / "shards", Packing(per_shard=700))
    assert (packed.shards, packed.pictures) == (5, 3000)  # the last one has 200
    expected = hashes(str(tmp_path / "pictures"), 1, 0)
    assert sorted(number for _, number, _, _ in expected) == [*range(3000)]
    shards = str(tmp_path / "shards/train-{000000..000004}.tar")
    for size in (1, 2, 3):
        for workers in (0, 2):
            assert hashes(shards, size, workers) == expected
    assert hashes(str(tmp_path / "pictures"), 3, 2) == expected
    after = hashes(shards, 2, 2, first=20)
    assert after == [each for each in expected if each[0] >= 20 * 64]


# -------------------------------------------------------------------------------------- hostile


def chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png(width: int, height: int, data: bytes, *extra: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", head), *extra, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def jpeg(width: int = 40, height: int = 40) -> bytes:
    content = io.BytesIO()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    image_module.fromarray(pixels).save(content, "JPEG")
    return content.getvalue()


def hostile_pictures() -> dict[str, bytes]:
    whole = jpeg()
    at = whole.index(b"\xff\xc0")
    tall = whole[: at + 5] + struct.pack(">HH", 65000, 65000) + whole[at + 9 :]
    gif = io.BytesIO()
    image_module.new("L", (9, 9)).save(gif, "GIF")
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(1 << 20)))
    return {
        "bomb.png": png(60000, 60000, zlib.compress(bytes(1 << 24), 9)),
        "claims.jpg": tall,
        "cut.jpg": whole[: len(whole) // 2],
        "cut.png": png(40, 40, zlib.compress(bytes(4840)))[:60],
        "lies.png": png(400, 400, zlib.compress(bytes(1000))),
        "profiles.png": png(8, 8, zlib.compress(bytes(200)), *[profile] * 50),
        "chunks.png": png(8, 8, zlib.compress(bytes(200)), *[chunk(b"tEXt", b"")] * 70000),
        "scans.jpg": jpeg(1000, 1000)[:-2] + bytes.fromhex("ffda0008010100003f00") * 1200,
        "empty.png": b"",
        "other.png": gif.getvalue(),
    }


# Says what is wrong with each of the data sets that are named, and how much memory that took.
LOAD = """
import json, sys
import netspec

said = {}
for name in sys.argv[1:]:
    try:
        data = netspec.load_data(name, input_shape=(3, 8, 8), resize=True, on_demand=True)
        said[name] = [data.x_train[:].shape[0]]
    except netspec.NetspecError as error:
        said[name] = [f"{d.code}: {d.message}" for d in error.diagnostics]
lines = open("/proc/self/status").read().splitlines()
most = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
print(json.dumps([most, said]))
"""


def load_apart(place: Path, *names: str) -> tuple[int, dict[str, list[str]]]:
    """Load data sets in a process of their own; returns its memory in bytes, and what it says."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *names], cwd=place, capture_output=True, text=True,
        check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    most, said = json.loads(done.stdout)
    return most * 1024, said


def tar(path: Path, name: str, kind: bytes = tarfile.REGTYPE) -> str:
    with tarfile.open(path, "w") as made:
        for each, content in (("a.png", jpeg()), ("a.cls", b"0")):
            member = tarfile.TarInfo(each)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
        last = tarfile.TarInfo(name)
        last.type, last.linkname = kind, "/etc/passwd"
        made.addfile(last)
    return path.name


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures memory as Linux does")
def test_hostile_pictures_and_archives_are_named_and_take_little_memory(tmp_path):
    place = tmp_path / "place"
    wrong = hostile_pictures()
    for i, (name, content) in enumerate(wrong.items()):
        path = place / "pictures" / f"c{i % 2}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for i in range(2):
        (place / "pictures" / f"c{i}" / "sound.jpg").write_bytes(jpeg())
    os.mkfifo(place / "endless.tar")
    bomb = bytearray(Path(place, tar(place / "huge.tar", "b.png")).read_bytes())
    header = bytes(bomb[:512])
    claims = header[:124] + b"77777777777\0" + header[136:148] + b" " * 8 + header[156:]
    checked = claims[:148] + b"%06o\0 " % sum(claims) + claims[156:]
    (place / "huge.tar").write_bytes(checked + bytes(bomb[512:]))
    archives = {
        tar(place / "link.tar", "b.png", tarfile.SYMTYPE): "is a symbolic link",
        tar(place / "device.tar", "b.png", tarfile.CHRTYPE): "is a device",
        tar(place / "out.tar", "../../b.png"): "leads out of a folder",
        "huge.tar": "ends in the middle of a file",
        "endless.tar": "no such file",
        "list-{000000000..999999999}.tar": "stands for 1,000,000,000 shards",
    }
    before = sorted(path for path in tmp_path.rglob("*") if "cache" not in path.parts)
    memory, said = load_apart(place, "pictures/", *archives)
    named = {Path(each.split(": ")[1]).name for each in said["pictures/"]}
    assert named == {*wrong}
    for name, reason in archives.items():
        (only,) = said[name]
        assert name in only
        assert reason in only
    assert sorted(path for path in tmp_path.rglob("*") if "cache" not in path.parts) == before
    assert memory < 1 << 30
