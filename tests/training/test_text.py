"""Texts as data, and texts that trained nets write."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.diagnostics import NetspecError
from netspec.runtime.data import load
from netspec.runtime.data.plain_vocabulary import PlainVocabulary
from netspec.runtime.data.vocabularies import from_json
from netspec.runtime.models.generation import Sampling

NET = """
net Writer(classes = 5) {
    input tokens: int[8]
    output tokens -> embedding(classes, 16) -> gru(24) -> linear(classes)
}
"""
TEXT = "abcd\n" * 120


@pytest.fixture
def book(tmp_path: Path) -> Path:
    (tmp_path / "book.txt").write_text(TEXT)
    (tmp_path / "writer.net").write_text(NET)
    return tmp_path / "book.txt"


def test_windows_follow_each_other_and_targets_come_next(book: Path) -> None:
    data = load(book, None, (8,))
    tokens = [data.vocabulary.characters.index(c) for c in TEXT]
    x = np.concatenate([data.x_train, data.x_test])
    y = np.concatenate([data.y_train, data.y_test])
    assert x.ravel().tolist() == tokens[: x.size]
    assert y.ravel().tolist() == tokens[1 : x.size + 1]
    assert (len(x), len(data.x_test), data.classes) == (74, 7, 5)
    assert data.vocabulary.characters == "\nabcd"
    assert "67 training and 7 test windows [8]" in repr(data)


def test_bytes_and_characters_are_read_back() -> None:
    text = "Grüße, \U0001f600\n"
    for kind in ("char", "byte"):
        vocabulary = PlainVocabulary.of(kind, text)
        assert from_json(vocabulary.to_json()) == vocabulary
        tokens = vocabulary.encode(text, "text").tolist()
        assert vocabulary.decode(tokens) == text
        assert max(tokens) < vocabulary.size == len(vocabulary.names())
    assert PlainVocabulary("byte").decode([0xC3, 0x41, 0xE2]) == "\ufffdA\ufffd"


WRONG_FILES = {
    "no text": ("char", b"abc\xff" * 40, "is not UTF-8 text: byte 3"),
    "a short text": ("byte", b"abcdef", "too few for two windows of 8"),
    "an empty text": ("byte", b"", "too few for two windows"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_files_that_are_no_such_text_are_refused(case: str, tmp_path: Path) -> None:
    tokens, content, message = WRONG_FILES[case]
    (tmp_path / "b.txt").write_bytes(content)
    with pytest.raises(NetspecError, match=message):
        load(tmp_path / "b.txt", None, (8,), tokens=tokens)


def test_bytes_are_those_of_any_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 2
    (tmp_path / "b.txt").write_bytes(content)
    data = load(tmp_path / "b.txt", None, (8,), tokens="byte")
    x = np.concatenate([data.x_train, data.x_test])
    assert x.ravel().tolist() == list(content)[: x.size]
    again = load(tmp_path / "b.txt", None, (8,), vocabulary=data.vocabulary)
    assert np.array_equal(again.x_train, data.x_train)


@pytest.mark.parametrize(("val", "held"), [(3, 3), (0.25, 5), (0.01, 1)])
def test_the_last_windows_are_held_out(book: Path, val: float, held: int) -> None:
    data = load(book, None, (8,)).limit(20)
    for seed in (0, 1):
        rest, x, y = data.split(val, seed)
        assert np.array_equal(x, data.x_train[-held:])
        assert np.array_equal(y, data.y_train[-held:])
        assert len(rest.x_train) == 20 - held


# A byte of the command line that is no UTF-8, and half of a surrogate pair.
@pytest.mark.parametrize(("bad", "wanted"), [("\udcff", [0x61, 0xFF]), ("\ud800", None)])
def test_a_prompt_that_is_no_text_is_located(bad: str, wanted: list[int] | None) -> None:
    with pytest.raises(NetspecError, match=r"the prompt has the character '\\ud.* in line 2"):
        PlainVocabulary.of("char", "a\n").encode(f"\na{bad}", "the prompt")
    if wanted is not None:
        assert PlainVocabulary("byte").encode(f"a{bad}", "the prompt").tolist() == wanted
    else:
        with pytest.raises(NetspecError, match=r"the prompt has '\\ud800' in line 2"):
            PlainVocabulary("byte").encode(f"\na{bad}", "the prompt")


def test_a_text_that_is_too_large_is_refused(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netspec.runtime.data.text.MAX_BYTES", 100)
    with pytest.raises(NetspecError, match="larger than 100 bytes"):
        load(book, None, (8,))


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"kind": "char", "characters": "ba"}', '{"kind": "char", "characters": ""}',
     '{"kind": "byte", "characters": "a"}', '{"kind": "x", "characters": ""}',
     '{"kind": "char", "characters": "\\ud800"}', "[" * 100_000],
)  # fmt: skip
def test_a_damaged_vocabulary_is_refused(text: str) -> None:
    with pytest.raises(NetspecError, match="vocabulary is damaged"):
        from_json(text)


def test_a_character_that_was_not_learnt_is_located() -> None:
    with pytest.raises(NetspecError, match=r"the prompt has the character '\\xe9' in line 2"):
        PlainVocabulary.of("char", TEXT).encode("a\né", "the prompt")


def test_what_is_drawn_is_limited() -> None:
    scores = np.log(np.array([0.1, 0.4, 0.2, 0.3]))

    def drawn(**options: Any) -> set[int]:
        sampling, rng = Sampling(**options), np.random.default_rng(0)
        return {sampling.draw(scores, rng) for _ in range(300)}

    assert drawn() == {0, 1, 2, 3}
    assert drawn(temperature=0) == drawn(top_k=1) == drawn(top_p=0.1) == drawn(top_p=0.4) == {1}
    assert drawn(known=1) == {0}
    assert drawn(known=3) == {0, 1, 2}
    assert drawn(top_k=2) == drawn(top_p=0.41) == drawn(top_p=0.7) == {1, 3}
    assert drawn(top_k=3) == drawn(top_p=0.9) == {1, 2, 3}
    rng = np.random.default_rng(0)
    counts = np.bincount([Sampling().draw(scores, rng) for _ in range(4000)]) / 4000
    assert np.allclose(counts, np.exp(scores), atol=0.03)
    for wrong in ({"temperature": -1}, {"top_k": 0}, {"top_p": 0}, {"top_p": 1.5}, {"seed": -1}):
        with pytest.raises(NetspecError):
            Sampling(**wrong)


def test_both_backends_write_the_same() -> None:
    pytest.importorskip("torch")
    net = netspec.loads(NET)
    ours, theirs = net.compile(dtype="float64"), net.compile("torch", dtype="float64")
    theirs.load_state_dict(ours.state_dict())
    found = [[*m.generate([1, 2], 40, Sampling(seed=3))] for m in (ours, theirs)]
    assert found[0] == found[1]
    assert found[0] == [*islice(ours.generate([1, 2], sampling=Sampling(seed=3)), 40)]
    assert found[0] != [*ours.generate([1, 2], 40, Sampling(seed=4))]
    # The last tokens are all that it reads, and what fills the input up is not seen.
    whole = ours.forward(np.array([[4, 3, 2, 1, 0, 1, 2, 3]]))[0, -1]
    sampling = Sampling(temperature=0)
    assert [*ours.generate([9 % 5, 4, 3, 2, 1, 0, 1, 2, 3], 1, sampling)] == [whole.argmax()]


@pytest.mark.parametrize("prompt", ["ab", [1.5], [True], [[1]], [1 << 70]])
def test_a_prompt_of_other_things_is_refused(prompt: Any) -> None:
    with pytest.raises(NetspecError, match=r"the prompt holds .* at 0, and takes whole numbers"):
        next(netspec.loads(NET).compile().generate(prompt))


@pytest.mark.parametrize(
    "text",
    ["net A { input x: [4]\n output x -> linear(3) }",
     "net A { input x: int[4]\n output x -> embedding(5, 3) -> flatten -> linear(5) }"],
)  # fmt: skip
def test_nets_that_write_nothing_are_refused(text: str) -> None:
    with pytest.raises(NetspecError, match=r"a net that makes \[N, T, classes\] of \[N, T\]"):
        next(netspec.loads(text).compile().generate([1]))


def test_a_run_of_a_text_writes_and_is_evaluated(run: Any, book: Path, tmp_path: Path) -> None:
    done = run(
        "train", "numpy", tmp_path / "writer.net", "--data", book, "--epochs", 40, "--batch", 16,
        "--lr", "0.02", "--val", 7, "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "60 of 67 training windows, 7 for validation, 7 test windows at the end" in done.err
    assert " windows/s" in done.err
    assert "images" not in done.err
    options = ("generate", tmp_path / "run", "--length", 14, "--temperature", "0.1")
    written = run(*options, "--prompt", "ab")
    assert written.out == "abcd\nabcd\nabcd\na\n", written.err
    found = json.loads(run(*options, "--prompt", "ab", "--format", "json").out)
    assert found["text"] == "cd\nabcd\nabcd\na"
    assert len(found["tokens"]) == 14
    weights = ("--weights", tmp_path / "run/weights.safetensors")
    again = run("generate", tmp_path / "writer.net", *weights, *options[2:], "--prompt", "ab")
    assert again.out == written.out
    assert "which is not one of the 5" in run(*options, "--prompt", "xy").err
    evaluated = json.loads(run("eval", tmp_path / "run", "--format", "json").out)
    assert evaluated["perplexity"] < 1.5
    (tmp_path / "other.txt").write_text("dcba\n" * 40)
    other = json.loads(
        run("eval", tmp_path / "run", "--data", tmp_path / "other.txt", "--format", "json").out
    )
    assert other["perplexity"] > evaluated["perplexity"]


def test_a_net_with_scores_for_more_tokens_writes_those_of_the_text(
    run: Any, book: Path, tmp_path: Path
) -> None:
    words = ("train", "numpy", tmp_path / "writer.net", "--set", "classes=90", "--data", book)
    done = run(*words, "--epochs", 1, "--out", tmp_path / "run", "--quiet")
    assert done.code == 0, done.err
    written = run("generate", tmp_path / "run", "--length", 50, "--temperature", 5, "--prompt", "a")
    assert written.code == 0, written.err
    assert set(written.out) == set("abcd\n")


def test_a_net_with_too_few_scores_is_told_how_many_tokens_there_are(
    run: Any, book: Path, tmp_path: Path
) -> None:
    words = ("train", "numpy", tmp_path / "writer.net", "--set", "classes=4", "--data", book)
    refused = run(*words, "--out", "none")
    assert refused.code == 1
    assert "book has 5 different tokens, the network only 4 outputs" in refused.err
    assert "give the embedding and the last layer 5" in refused.err


def test_weights_without_a_vocabulary_write_nothing(run: Any, book: Path, tmp_path: Path) -> None:
    model = netspec.loads(NET).compile()
    netspec.save_weights(tmp_path / "w.safetensors", model.state_dict())
    done = run("generate", tmp_path / "writer.net", "--weights", tmp_path / "w.safetensors")
    assert done.code == 2
    assert "does not say what its tokens stand for" in done.err


def test_a_text_need_not_have_every_byte(run: Any, book: Path, tmp_path: Path) -> None:
    words = ("train", "numpy", tmp_path / "writer.net", "--data", book, "--tokens", "byte")
    few = run(*words, "--epochs", 1, "--out", "none")
    assert "give the embedding and the last layer 256" in few.err
    enough = run(*words, "--set", "classes=256", "--epochs", 1, "--out", "none")
    assert enough.code == 0, enough.err
    assert "no training image" not in enough.err
