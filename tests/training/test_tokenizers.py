"""Texts by the tokens of a `tokenizer.json`, which may come from anywhere."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import netspec
from netspec.diagnostics import NetspecError
from netspec.runtime.data import load
from netspec.runtime.data.held_stderr import held_stderr
from netspec.runtime.data.tokenizer_vocabulary import TokenizerVocabulary
from netspec.runtime.data.vocabularies import from_json

tokenizers = pytest.importorskip("tokenizers")

NET = """
net Writer(classes = 300) {
    input tokens: int[8]
    output tokens -> embedding(classes, 16) -> gru(24) -> linear(classes)
}
"""
TEXT = "the cat sat on the mat, Grüße \U0001f600\n" * 90


def bytes_tokenizer() -> Any:
    """Return pairs of bytes, merged by how often they occur (BPE), as GPT-2 has them."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=290, initial_alphabet=alphabet, special_tokens=["<end>"], show_progress=False
    )
    made.train_from_iterator([TEXT], trainer)
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<end> $A", special_tokens=[("<end>", 0)]
    )
    made.enable_truncation(4)
    made.enable_padding(length=4)
    return made


def words_tokenizer() -> Any:
    """Return whole words with the space in front, as Llama's; the first space is left out."""
    words = ["\u2581the", "\u2581cat", "\u2581sat", "<unk>"]
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    made.decoder = tokenizers.decoders.Metaspace()
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bytes_tokenizer().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "book.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "writer.net").write_text(NET)
    return tmp_path


def test_a_text_is_read_and_written_by_a_tokenizers_tokens(folder: Path) -> None:
    """Nothing is added, cut off or filled up, and what needs several tokens comes with its last."""
    data = load(folder / "book.txt", None, (8,), tokens=str(folder / "tokenizer.json"))
    plain = bytes_tokenizer()
    plain.no_truncation()
    plain.no_padding()
    wanted = plain.encode(TEXT, add_special_tokens=False).ids
    x = np.concatenate([data.x_train, data.x_test])
    assert x.ravel().tolist() == wanted[: x.size]
    vocabulary = data.vocabulary
    assert data.classes == vocabulary.size == plain.get_vocab_size() == len(vocabulary.names())
    tokens = vocabulary.encode("Grüße \u00f1 \U0001f600!", "text").tolist()
    decoder = vocabulary.decoder()
    pieces = [decoder.next(token) for token in tokens]
    assert "".join(pieces) == vocabulary.decode(tokens) == "Grüße \u00f1 \U0001f600!"
    assert "" in pieces
    assert vocabulary.decode(vocabulary.encode("\U0001f600", "text").tolist()[:-1]) == "\ufffd"
    for other in (
        from_json(vocabulary.to_json()), copy.deepcopy(vocabulary),
        pickle.loads(pickle.dumps(vocabulary)),
    ):  # fmt: skip
        assert other == vocabulary
        assert other.encode(TEXT, "text").tolist() == wanted


def test_a_prompt_that_is_no_text_is_located() -> None:
    vocabulary = TokenizerVocabulary(bytes_tokenizer().to_str())
    with pytest.raises(NetspecError, match=r"the prompt has '\\udcff' in line 2"):
        vocabulary.encode("a\nb\udcff", "the prompt")


def test_a_space_in_front_is_kept_behind_a_prompt() -> None:
    vocabulary = TokenizerVocabulary(words_tokenizer().to_str())
    assert vocabulary.decode([0, 1]) == "the cat"
    assert vocabulary.decode([1, 2], [0]) == " cat sat"


DAMAGED = {
    "nothing": "",
    "no JSON": "{",
    "a list": "[]",
    "no model": "{}",
    "much in each other": "[" * 100_000,
    "an unknown model": '{"version": "1.0", "model": {"type": "Eval", "vocab": {}}}',
    "no tokens": json.dumps({"version": "1.0", "added_tokens": [], "model": {
        "type": "WordLevel", "vocab": {}, "unk_token": "?"}}),
    "a token far off": json.dumps({"version": "1.0", "added_tokens": [], "model": {
        "type": "WordLevel", "vocab": {"a": 4_000_000_000}, "unk_token": "a"}}),
    "a merge of unknown tokens": json.dumps({"version": "1.0", "added_tokens": [], "model": {
        "type": "BPE", "vocab": {"a": 0}, "merges": [["b", "c"]]}}),
    "a map that is none": json.dumps({"version": "1.0", "added_tokens": [], "model": {
        "type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"},
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}),
    "a merge of its own": json.dumps({"version": "1.0", "added_tokens": [], "model": {
        "type": "BPE", "vocab": {"a": 0}, "merges": [["a", "a"]]}}),
    "a wrong pattern": json.dumps({"version": "1.0", "added_tokens": [], "model": {
        "type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"},
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated",
                          "invert": False}}),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_tokenizer_is_an_ordinary_error(
    case: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.json").write_text(DAMAGED[case])
    with pytest.raises(NetspecError, match=r"data/bad-file.*bad\.json: the tokenizer"):
        load(folder / "book.txt", None, (8,), tokens=str(folder / "bad.json"))
    assert capfd.readouterr().err == ""  # panics in Rust describe themselves


def test_standard_error_is_held_back(capfd: pytest.CaptureFixture[str]) -> None:
    with held_stderr():
        os.write(2, b"shown ")
        with held_stderr():
            os.write(2, b"at the end ")
        assert capfd.readouterr().err == ""
    with pytest.raises(KeyboardInterrupt), held_stderr():  # noqa: PT012
        os.write(2, b"a backtrace")
        raise KeyboardInterrupt
    os.write(2, b"as before")
    assert capfd.readouterr().err == "shown at the end as before"


def test_a_closed_standard_error_stays_closed() -> None:
    code = (
        "import os; os.close(2)\n"
        "from netspec.runtime.data.held_stderr import held_stderr\n"
        "with held_stderr(): pass\n"
        "try: os.fstat(2)\n"
        "except OSError: print('closed')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "closed\n"


@pytest.mark.parametrize(
    ("unknown", "more"),
    [("missing", {}), ("a", {"pre_tokenizer": {"type": "FixedLength", "length": 0}})],
)
def test_a_tokenizer_that_cannot_encode_a_text_is_an_ordinary_error(
    unknown: str, more: dict[str, object], folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = {"version": "1.0", "added_tokens": [], **more, "model": {
        "type": "WordLevel", "vocab": {"a": 0}, "unk_token": unknown}}  # fmt: skip
    (folder / "bad.json").write_text(json.dumps(content))
    is_unknown = "pre_tokenizer" in more and tokenizers.__version__.startswith("0.20.")
    why = "is not one that can be used" if is_unknown else r"fails at book\.txt"
    with pytest.raises(NetspecError, match=f"the tokenizer {why}"):
        load(folder / "book.txt", None, (8,), tokens=str(folder / "bad.json"))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "packed", ["", "@", "AAAA", "eJwDAAAAAAE=", 5, "x" * 10],
)  # fmt: skip
def test_a_damaged_tokenizer_in_a_weights_file_is_refused(packed: object) -> None:
    with pytest.raises(NetspecError, match="vocabulary is damaged"):
        from_json(json.dumps({"kind": "tokenizers", "packed": packed}))


def test_a_packed_tokenizer_that_unpacks_to_much_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = TokenizerVocabulary.of_file(folder / "tokenizer.json").to_json()
    monkeypatch.setattr("netspec.runtime.data.tokenizer_vocabulary.MAX_BYTES", 1000)
    with pytest.raises(NetspecError, match="more than 1,000 bytes"):
        from_json(stored)
    with pytest.raises(NetspecError, match="larger than 1,000 bytes"):
        TokenizerVocabulary.of_file(folder / "tokenizer.json")


def test_training_and_writing_with_a_tokenizer(run: Any, folder: Path) -> None:
    tokenizer = folder / "tokenizer.json"
    command = ("train", "numpy", folder / "writer.net", "--data", folder / "book.txt")
    options = ("--tokens", tokenizer, "--epochs", 60, "--batch", 16, "--lr", "0.03", "--quiet")
    done = run(*command, *options, "--out", folder / "run")
    assert done.code == 0, done.err
    over = run(*command, *options, "--out", tokenizer, "--force")
    assert over.code != 0
    tokenizer.unlink()
    written = run(
        "generate", folder / "run", "--prompt", "the cat", "--length", 9, "--temperature", 0
    )
    assert written.out.startswith("the cat sat on the mat,"), written.err
    evaluated = json.loads(run("eval", folder / "run", "--format", "json").out)
    assert evaluated["perplexity"] < 1.5
    assert run(*command, *options, "--out", "none").err.count("no such file") == 1
    wrong = run(*command, "--tokens", "words")
    assert wrong.code == 2
    assert "must be one of char, byte, or a .json file" in wrong.err
    with mock.patch.dict(sys.modules, {"tokenizers": None}):
        missing = run("generate", folder / "run", "--prompt", "a")
    assert missing.code == 1
    assert "pip install 'netspec-dsl[tokenizers]'" in missing.err


def test_a_resumed_run_has_its_tokenizer(run: Any, folder: Path) -> None:
    tokenizer = folder / "tokenizer.json"
    command = ("train", "numpy", folder / "writer.net", "--data", folder / "book.txt")
    options = ("--tokens", tokenizer, "--epochs", 1, "--quiet", "--out", folder / "run")
    assert run(*command, *options).code == 0
    kept = folder / "run/tokenizer.json"
    assert kept.read_text() == tokenizer.read_text()
    content = tokenizer.read_text()
    # The file of the user may be another by now, or gone: the run has its own.
    tokenizer.write_text(words_tokenizer().to_str())
    resume = ("train", "--resume", folder / "run", "--quiet", "--epochs")
    assert run(*resume, 2).code == 0
    tokenizer.unlink()
    done = run(*resume, 3)
    assert done.code == 0, done.err
    kept.unlink()
    missing = run(*resume, 4)
    assert missing.code == 1
    assert "has no tokenizer.json, and" in missing.err
    assert f"put the tokenizer that the run was started with back, as {kept}" in missing.err
    kept.write_text(content)
    assert run(*resume, 4).code == 0
    kept.unlink()
    kept.symlink_to(folder / "book.txt")
    assert "not a file of the run's own" in run(*resume, 5).err


def test_a_net_trained_on_arrays_of_tokens_writes_with_a_tokenizer(run: Any, folder: Path) -> None:
    data = load(folder / "book.txt", None, (8,), tokens=str(folder / "tokenizer.json"))
    arrays = {name: getattr(data, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    np.savez(folder / "tokens.npz", **arrays)
    command = ("train", "numpy", folder / "writer.net", "--data", folder / "tokens.npz")
    options = ("--epochs", 60, "--batch", 16, "--lr", "0.03", "--quiet", "--out", folder / "run")
    assert run(*command, *options).code == 0
    writing = ("generate", folder / "run", "--prompt", "the cat", "--length", 9)
    assert "does not say what its tokens stand for" in run(*writing).err
    written = run(*writing, "--temperature", 0, "--tokens", folder / "tokenizer.json")
    assert written.out.startswith("the cat sat on the mat,"), written.err
    book = ("--data", folder / "book.txt", "--tokens", "byte", "--out", folder / "other")
    assert run(*command[:3], *book, "--epochs", 1, "--quiet").code == 0
    both = run("generate", folder / "other", "--tokens", folder / "tokenizer.json")
    assert both.code == 2
    assert "says itself what its tokens stand for" in both.err


def test_the_base_install_reads_plain_texts(folder: Path) -> None:
    with mock.patch.dict(sys.modules, {"tokenizers": None}):
        assert netspec.load_data(folder / "book.txt").vocabulary.size < 40
