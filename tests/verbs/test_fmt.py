"""The canonical style: what it is, that every layout leads to it, and that nothing is lost."""

from __future__ import annotations

import io
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.compiler.fmt.formatter import WIDTH, format_source, same_meaning
from netspec.compiler.parse import parse
from netspec.diagnostics import NetspecError, Source
from tests.conftest import ROOT, Run, Write
from tests.helpers.golden import check_golden

BEFORE = sorted((Path(__file__).parent / "fmt").glob("*.before"))
FILES = sorted(
    path
    for folder in ("networks", "tests", "docs", "benchmarks")
    for path in (ROOT / folder).rglob("*.net")
    if "bad" not in path.parts
)
NAMES = [str(path.relative_to(ROOT)) for path in FILES]
UGLY = "net A{input x:[3]\noutput x->relu}"
PRETTY = "net A {\n    input x: [3]\n\n    output x -> relu\n}\n"


def formatted(text: str) -> str:
    return format_source(Source("test.net", text))


def tree(text: str) -> object:
    return parse(Source("test.net", text))


@pytest.mark.parametrize("path", BEFORE, ids=[path.stem for path in BEFORE])
def test_style(path: Path) -> None:
    check_golden(path.with_suffix(".net"), formatted(path.read_text("utf-8")))


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_every_file_here_is_in_the_canonical_style(path: Path) -> None:
    text = path.read_bytes().decode()
    assert formatted(text) == text
    code = re.sub(r" *#.*", "", text)
    assert max(map(len, code.splitlines())) <= WIDTH


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment", "\n# two\n# comments\n\n"])
def test_files_without_code(text: str) -> None:
    assert formatted(text) == "".join(f"{line}\n" for line in text.split("\n") if line)


def test_paragraphs_of_comments_stay_apart() -> None:
    text = "\n# one\n# two\n\n\n\n# three\n\nnet A {\n\n    # a\n\n\n    # b\n\n    output 1\n}\n"
    made = "# one\n# two\n\n# three\nnet A {\n    # a\n\n    # b\n    output 1\n}\n"
    assert formatted(text) == made
    assert formatted(made) == made


def test_the_tree_comparison_sees_every_part() -> None:
    text = "net A(a = 1) {\n    input x: [3]\n    output x -> l.{a}: linear(a, bias = false)\n}\n"
    assert same_meaning(tree(text), tree(text.replace("    ", "\t")))
    for old, new in [("1", "1.0"), ("l.", "m."), ("false", "true"), ("bias", "b"), ("3]", "3, 1]"),
                     ("relu" if "relu" in text else "linear", "selu")]:  # fmt: skip
        assert not same_meaning(tree(text), tree(text.replace(old, new, 1))), old
    assert not same_meaning(tree(text), tree(f"# A doc.\n{text}"))


def test_what_would_change_the_meaning_is_never_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from netspec.compiler.fmt import formatter as formatting

    for wrong in ("net A {}\n", PRETTY + "# a comment more\n"):
        monkeypatch.setattr(formatting, "typeset", lambda document, width, wrong=wrong: wrong)
        with pytest.raises(RuntimeError, match="would change it"):
            formatted(UGLY)


def test_deep_brackets_are_no_problem() -> None:
    expression = "not a or b and c < d + e * -f ** ("
    text = f"net A {{\n    y = {expression * 46}1{')' * 46}\n}}\n"
    assert formatted(formatted(text)) == formatted(text)


# --------------------------------------------------------------------------------------- scrambling

_TOKEN = re.compile(
    r'"(?:[^"\\\n]|\\[^\n])*"|#[^\n]*|[0-9][0-9_]*(?:\.[0-9_]+)?(?:[eE][+-]?[0-9]+)?|\w+'
    r"|->|\*\*|//|[=!<>]=|\S"
)
_CONTINUES = re.compile(r"(?:->|[-+*/%<>=!]|(?:else|and|or)$)")


def scrambled(text: str, rng: random.Random, comments: bool = False) -> str:
    """Return a canonical text with other blanks and line breaks wherever they have no meaning.

    With `comments`, comments are inserted as well.
    """
    tokens = list(_TOKEN.finditer(text))
    out = [_blanks(rng) if rng.random() < 0.5 else ""]
    opened: list[str] = []
    for i, match in enumerate(tokens):
        token = match.group()
        following = tokens[i + 1] if i + 1 < len(tokens) else None
        gap = text[match.end() : following.start() if following else len(text)]
        after = following.group() if following else ""
        if token == "{":
            is_body = "\n" in gap or after in ("}", "") or after.startswith("#")
            opened.append("body" if is_body else token)
        elif token in "([":
            opened.append(token)
        elif token in ")]}":
            opened.pop()
        inside = bool(opened) and opened[-1] != "body"
        out.append(token)
        if token.startswith("#") and after.startswith("#"):  # paragraphs of comments stay
            out.append("\n" + (_lines(rng, 1) if gap.count("\n") > 1 else _blanks(rng)))
        elif token.startswith("#"):
            out.append("\n" + _lines(rng))
        elif after.startswith("#"):
            out.append(_lines(rng, 1) if "\n" in gap else _blanks(rng))
        else:
            joins = token == "{" or after == "}" or bool(_CONTINUES.match(after))
            ends = "\n" in gap and not inside and not joins
            may_end = inside or joins
            needed = (token[-1:].isalnum() and after[:1].isalnum()) or "_" in token[-1:] + after[:1]
            if not following or ends:
                out.append(_lines(rng, int(ends)))
            elif may_end and rng.random() < 0.3:
                out.append(_lines(rng) or " " * needed)
            else:
                out.append(_blanks(rng) or " " * needed)
            if comments and (ends or may_end or not following) and rng.random() < 0.1:
                said = rng.choice(["", "allow: a/"]) + str(rng.randrange(100))
                out[-1] = f"{_blanks(rng)}# {said}\n{_lines(rng)}"
    return "".join(out)


def _blanks(rng: random.Random) -> str:
    return rng.choice(["", " ", "  ", "\t", "      ", " \f"])


def _lines(rng: random.Random, least: int = 0) -> str:
    line = rng.choice(["\n", "\r\n"])
    return "".join(f"{_blanks(rng)}{line}" for _ in range(rng.randint(least, 3))) + _blanks(rng)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
@settings(max_examples=2)
@given(seed=st.integers(0, 1 << 32))
def test_a_scrambled_file_is_restored(path: Path, seed: int) -> None:
    text = path.read_text("utf-8")
    mess = scrambled(text, random.Random(seed)).replace("\r\n", "\n")
    assert same_meaning(tree(mess), tree(text)), "the scrambling is wrong"
    assert formatted(mess) == text


@pytest.mark.parametrize("path", FILES, ids=NAMES)
@settings(max_examples=2)
@given(seed=st.integers(0, 1 << 32))
def test_comments_anywhere_are_kept(path: Path, seed: int) -> None:
    text = path.read_text("utf-8")
    mess = scrambled(text, random.Random(seed), comments=True).replace("\r\n", "\n")
    once = formatted(mess)  # which compares trees and comments
    assert same_meaning(tree(mess), tree(once))
    assert formatted(once) == once


# ------------------------------------------------------------------------------------ command line


def test_fmt_rewrites_what_needs_it(run: Run, write: Write) -> None:
    ugly, pretty = write(UGLY, "a.net"), write(PRETTY, "b.net")
    ugly.chmod(0o640)
    before = pretty.stat()
    finished = run("fmt", ugly, pretty)
    assert (finished.code, finished.out, finished.err) == (0, "", f"{ugly} formatted\n")
    assert ugly.read_bytes() == PRETTY.encode()
    assert ugly.stat().st_mode & 0o777 == 0o640
    after = pretty.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert run("fmt", ugly, pretty).err == ""


def test_a_link_stays_one(run: Run, write: Write, tmp_path: Path) -> None:
    target = write(UGLY, "a.net")
    link = tmp_path / "link.net"
    link.symlink_to(target)
    assert run("fmt", link).code == 0
    assert link.is_symlink()
    assert target.read_text() == PRETTY


def test_check_writes_nothing(run: Run, write: Write) -> None:
    ugly, pretty = write(UGLY, "a.net"), write(PRETTY, "b.net")
    finished = run("fmt", "--check", pretty, ugly)
    assert finished.code == 1
    assert finished.err == f"{ugly} is not in the canonical style\n"
    assert finished.out == run("fmt", "--diff", ugly).out
    assert ugly.read_text() == UGLY
    assert run("fmt", "--check", pretty).code == 0


def test_diff_is_a_unified_one(run: Run, write: Write) -> None:
    ugly = write(UGLY)
    finished = run("fmt", "--diff", ugly)
    assert finished.code == 0
    assert finished.out == (
        f"--- {ugly}\n+++ {ugly}\n@@ -1,2 +1,5 @@\n-net A{{input x:[3]\n-output x->relu}}\n"
        "\\ No newline at end of file\n"
        + "".join(f"+{line}\n" for line in PRETTY.splitlines())
    )  # fmt: skip
    assert ugly.read_text() == UGLY
    assert run("fmt", "--diff", "--check", ugly).code == 1
    assert run("fmt", "--diff", write(PRETTY)).out == ""


@pytest.mark.parametrize("flags", [(), ("--check",), ("--diff",)])
@pytest.mark.parametrize("text", [UGLY, PRETTY])
def test_stdin(
    run: Run, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], text: str
) -> None:
    comment = "# schön\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((comment + text).encode())))
    finished = run("fmt", *flags, "-")
    assert finished.code == (text == UGLY and "--check" in flags)
    if not flags:
        assert finished.out == comment + PRETTY
    elif text == UGLY:
        assert finished.out.startswith("--- <stdin>\n+++ <stdin>\n@@ ")
    else:
        assert finished.out == ""


@pytest.mark.parametrize(
    "raw",
    [b"net A {\n  output ->\n}\n", b"net A {\r\n  output ->", b"\xff\n", b"#" * (1 << 21)],
    ids=["lines", "other line ends", "no text", "too long"],
)
def test_stdin_with_errors_comes_back_as_it_is(
    raw: bytes,
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "netspec", "fmt", "-"], input=raw, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, raw)
    assert done.stderr.startswith(b"error[")


def test_a_file_with_errors_stays_as_it_is(run: Run, write: Write) -> None:
    bad, ugly = write("net A {\n  output ->\n}\n", "a.net"), write(UGLY, "b.net")
    before = bad.read_bytes()
    finished = run("fmt", bad, ugly, "missing.net")
    assert finished.code == 1
    assert f"--> {bad}:2:" in finished.err
    assert "error[syntax/" in finished.err
    assert "error[file/unreadable]" in finished.err
    assert bad.read_bytes() == before
    assert ugly.read_text() == PRETTY


@pytest.mark.parametrize("raw", [b"\xff", b"net A {\x00}", b"#" * (1 << 21)])
def test_rubbish_is_an_ordinary_error(run: Run, tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "rubbish.net"
    path.write_bytes(raw)
    finished = run("fmt", path)
    assert finished.code == 1
    assert finished.err.startswith("error[")
    assert path.read_bytes() == raw


@pytest.mark.parametrize(
    "raw",
    [b"\xef\xbb\xbf" + PRETTY.encode(), PRETTY.rstrip("\n").encode(),
     PRETTY.replace("\n", "\r\n").replace("\r\n", "\n", 1).encode()],
)  # fmt: skip
def test_marks_and_the_last_line_end_are_canonical_too(
    run: Run, tmp_path: Path, raw: bytes
) -> None:
    path = tmp_path / "a.net"
    path.write_bytes(raw)
    assert run("fmt", "--check", path).code == 1
    assert run("fmt", "--diff", path).out != ""
    assert run("fmt", path).code == 0
    assert path.read_bytes() == PRETTY.encode()


def test_line_endings_are_kept(run: Run, tmp_path: Path) -> None:
    """Windows and `autocrlf` write CRLF, which is not a matter of style."""
    path = tmp_path / "a.net"
    path.write_bytes(PRETTY.replace("\n", "\r\n").encode())
    finished = run("fmt", "--check", path)
    assert (finished.code, finished.out) == (0, "")
    path.write_bytes(UGLY.replace("\n", "\r\n").encode())
    assert run("fmt", "--check", path).code == 1
    assert run("fmt", path).code == 0
    assert path.read_bytes() == PRETTY.replace("\n", "\r\n").encode()


def test_errors_are_raised_for_library_users() -> None:
    with pytest.raises(NetspecError, match="never closed"):
        formatted("net A {")
