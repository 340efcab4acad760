"""Nets and blocks of all files of a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netspec.language_server import workspace_symbols as module
from netspec.language_server.texts import OpenTexts
from netspec.language_server.workspace_symbols import workspace_symbols


def shown(folder: Path, query: str, opened: OpenTexts | None = None) -> list[tuple[str, str]]:
    """Return the names that are found, with those of their files, and check where they are said to be."""
    files = workspace_symbols([folder], (opened or OpenTexts()).all(), query)
    for file in files:
        assert all(file.text[each.start : each.end] == each.name for each in file.found)
    return [
        (each.name, file.uri.removeprefix(f"{folder.as_uri()}/"))
        for file in files
        for each in file.found
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place in ("deep/er", ".git", "node_modules", "odd.net"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "a.net").write_text("net ResNet {\n}\n# block Not\ninline block Basic x {\r\n}\n")
    (tmp_path / "deep/er/b.net").write_text("scan block Bottleneck(n) x { return x -> \nnet A {")
    for hidden in (".git/c.net", "node_modules/c.net", "c.txt"):
        (tmp_path / hidden).write_text("net Hidden {}")
    (tmp_path / "bad.net").write_bytes(b"net Bad \xff")
    os.mkfifo(tmp_path / "pipe.net")
    return tmp_path


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["ResNet", "Basic", "Bottleneck", "A"]),
        ("b", ["Basic", "Bottleneck"]),
        ("bnk", ["Bottleneck"]),
        ("kb", []),
        ("resnet", ["ResNet"]),
    ],
)
def test_nets_and_blocks_are_found_by_letters(folder: Path, query: str, names: list[str]) -> None:
    assert [name for name, _ in shown(folder, query)] == names


def test_an_open_text_counts_in_place_of_its_file(folder: Path) -> None:
    opened = OpenTexts()
    path = folder / "a.net"
    opened.put(path.as_uri(), path, "net Typed {", 1)
    assert shown(folder, "", opened) == [
        ("Typed", "a.net"), ("Bottleneck", "deep/er/b.net"), ("A", "deep/er/b.net"),
    ]  # fmt: skip
    assert shown(folder / "none", "", opened)[0][0] == "Typed"


def test_no_more_is_looked_at_than_may_be(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(30):
        (folder / f"deep/n{i:02}.net").write_text(f"net N{i} {{}}\n" * 20)
    monkeypatch.setattr(module, "_MAX_FOUND", 50)
    assert len(shown(folder, "n")) == 50
    monkeypatch.setattr(module, "MAX_ENTRIES", 8)
    assert {file for _, file in shown(folder, "")} == {"a.net"}
