"""A short run of the fuzzer of files; `python -m tests.helpers.fuzz_files` runs it fully."""

from __future__ import annotations

import pickle
import random
import struct
import subprocess
import sys
import zlib

import pytest

from tests.helpers.file_mutations import MOST_COPIED, change_jpeg, change_pickle, change_png
from tests.helpers.fuzz_core import ROOT


@pytest.mark.parametrize(
    ("seconds", "seed"), [(5, 1), pytest.param(30, 2, marks=pytest.mark.heavy)]
)
def test_files_of_all_kinds_are_fuzzed(tmp_path, seconds, seed) -> None:
    """It runs in a process of its own, so that only its memory is measured."""
    pytest.importorskip("PIL")
    command = [sys.executable, "-m", "tests.helpers.fuzz_files", "--worker"]
    command += ["--seconds", str(seconds), "--seed", str(seed), "--out", str(tmp_path / "found")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = "\n".join(p.read_text() for p in sorted((tmp_path / "found").glob("*.txt"))[:3])
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}\n{found}"


def test_copies_of_a_large_part_are_bounded() -> None:
    """A picture's 400 KB, 30,000 times, were 13 GB of the fuzzer's own."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        length, crc = len(content), zlib.crc32(kind + content)
        return struct.pack(">I", length) + kind + content + struct.pack(">I", crc)

    picture = b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", bytes(400_000)) + chunk(b"IEND", b"")
    jpeg = b"\xff\xd8\xff\xe0" + bytes(400_000) + b"\xff\xd9\xff\xd9"
    pickled = pickle.dumps([bytes(400_000), [1, 2]])
    changes = ((change_png, picture), (change_jpeg, jpeg), (change_pickle, pickled))
    # Some 200,000 bytes for a chunk of 10**8 zeros that a case packs.
    most = len(picture) + MOST_COPIED + 2**20
    sizes = {
        change.__name__: max(len(change(random.Random(seed), raw)) for seed in range(100))
        for change, raw in changes
    }
    assert max(sizes.values()) <= most, sizes
    assert sizes["change_png"] > 5 * len(picture), "and parts are still copied"
