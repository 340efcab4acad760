"""The archive of the playground: it is all that the front end needs."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tomllib
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path

import pytest

import netspec
from netspec.compiler.ops import registry
from netspec.highlight.words import words
from netspec.testing.op_examples import net_of
from tests.conftest import ROOT
from website.playground.archive import archive
from website.playground.build import CannotBuildError, build, made_sources
from website.stage import stage

# Runs on the archive alone: no package of the environment, no cache of the user.
SCRIPT = """\
import json, sys, zlib

sys.path.insert(0, sys.argv[1])
import engine

playground = engine.Playground()
told = []
for name, text in json.load(sys.stdin):
    found = json.loads(playground.check(text, name))
    found["fixes"] = json.loads(playground.fixes())
    for pane in ("summary", "picture", "torch", "numpy", "plain"):
        shown = json.loads(playground.pane(pane, ""))
        found[pane] = [shown["form"], zlib.crc32(shown["content"].encode()), shown["content"][:200]]
    told.append(found)
heavy = {"numpy", "lark", "networkx", "platformdirs"} & {n.partition(".")[0] for n in sys.modules}
print(json.dumps([told, sorted(heavy)]))
"""
MISTAKE = (ROOT / "docs/mistake.net").read_text("utf-8")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    with zipfile.ZipFile(io.BytesIO(archive())) as held:
        held.extractall(folder)
    return folder


def answers(folder: Path, texts: list[tuple[str, str]]) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", SCRIPT, str(folder)], input=json.dumps(texts),
        capture_output=True, text=True, check=False, cwd=folder,
        env={"XDG_CACHE_HOME": str(folder / "cache"), "HOME": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    told, heavy = json.loads(done.stdout)
    assert not heavy
    return told  # type: ignore[no-any-return]


def test_the_archive_is_all_that_the_front_end_needs(unpacked: Path) -> None:
    nets = [("lenet.net", (ROOT / "networks/lenet.net").read_text("utf-8")), ("m.net", MISTAKE)]
    first = [(op.name, net_of(e.call, e.inputs)) for op in registry().values()
             for e in op.examples[:1]]  # fmt: skip
    lenet, mistake, *ops = answers(unpacked, nets + first)
    assert lenet["problems"] == []
    assert lenet["totals"] == {"LeNet": "44,426 parameters · 281,640 MACs"}
    assert [lenet[pane][0] for pane in ("summary", "picture", "torch")] == ["html", "svg", "text"]
    (problem,) = mistake["fixes"]
    assert problem["code"] == "shape/add-mismatch"
    (fix,) = problem["fixes"]
    (edit,) = fix["edits"]
    text = MISTAKE[: edit["from"]] + edit["insert"] + MISTAKE[edit["to"] :]
    assert netspec.loads(text).summary().parameters == 17_738
    assert mistake["picture"][0] == "svg"  # what is known of it is drawn
    assert [mistake[pane][0] for pane in ("summary", "torch", "numpy")] == ["error"] * 3
    for (name, text), told in zip(first, ops, strict=True):
        net = netspec.loads(text, name=name)
        for pane, plain in (("numpy", False), ("plain", True)):
            source = net.source("numpy", plain=plain)
            assert told[pane][1] == zlib.crc32(source.encode()), (name, pane)
        assert [told[pane][0] for pane in ("picture", "torch", "numpy", "plain")] == [
            "svg", "text", "text", "text"
        ], name  # fmt: skip


def test_the_words_of_the_page_are_those_of_the_language() -> None:
    made = made_sources()
    known = json.loads(made["words.json"])
    assert {kind: tuple(each) for kind, each in known.items()} == asdict(words())
    script = (ROOT / "website/playground/src/language.js").read_text("utf-8")
    for kind in known:
        assert f"words.{kind}" in script, kind
    assert json.loads(made["examples.json"])["lenet"] == (ROOT / "networks/lenet.net").read_text(
        "utf-8"
    )


@pytest.mark.parametrize("missing", ["node", "npm"])
def test_what_is_missing_to_build_is_said(
    missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: None if tool == missing else f"/{tool}")
    with pytest.raises(CannotBuildError, match=f"needs {missing}"):
        build(tmp_path / "site", tmp_path / "work")
    assert not [*tmp_path.iterdir()]


def test_the_site_is_staged_with_and_without_a_playground(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("layer_pages", "code_pages", "gallery_pages"):
        monkeypatch.setattr(f"website.stage.{name}", lambda has_playground: {})
    for name, has_playground in (("with", True), ("without", False)):
        playground = tmp_path / name / "playground"
        playground.mkdir(parents=True)
        (playground / "index.html").write_text("a page", "utf-8")
        stage(tmp_path / name, {"playground": playground} if has_playground else {})
        settings = tomllib.loads((tmp_path / name / "zensical.toml").read_text("utf-8"))
        entries = [title for entry in settings["project"]["nav"] for title in entry]
        assert ("Playground" in entries) == has_playground
        assert (tmp_path / name / "docs/playground/index.html").exists() == has_playground
