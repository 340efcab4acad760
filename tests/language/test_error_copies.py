"""`NetspecError` copied and pickled: an error of a worker process arrives unchanged in its parent."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

import netspec
from netspec import NetspecError, codes
from netspec.compiler.driver import Request, compile_request
from netspec.diagnostics import Diagnostic, Source, Span, render, to_json

BAD = sorted((Path(__file__).parent / "bad").glob("*.net"))
MISTAKE = "net A {\n    input x: [4]\n    output x -> lineer(3) -> relu(y)\n}\n"
COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {protocol}": lambda item, protocol=protocol: pickle.loads(
            pickle.dumps(item, protocol)
        )
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}
copies = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)


@pytest.fixture(scope="module")
def errors() -> list[NetspecError]:
    """Return the errors of the bad files."""
    requests = (Request(source=Source(path.name, path.read_text("utf-8"))) for path in BAD)
    return [NetspecError(compile_request(request).diagnostics) for request in requests]


@copies
def test_every_error_of_the_bad_files_is_equal_to_its_copy(
    copied: Callable[[NetspecError], NetspecError], errors: list[NetspecError]
) -> None:
    for error in errors:
        again = copied(error)
        assert type(again) is NetspecError
        assert again.diagnostics == error.diagnostics
        assert str(again) == str(error)
        for d, e in zip(again.diagnostics, error.diagnostics, strict=True):
            assert to_json(d) == to_json(e)
            assert (d.severity, d.code.summary) == (e.severity, e.code.summary)


@copies
def test_every_diagnostic_is_drawn_like_its_copy(
    copied: Callable[[Diagnostic], Diagnostic], errors: list[NetspecError]
) -> None:
    for d in (d for error in errors for d in error.diagnostics):
        assert render(copied(d)) == render(d)


@copies
def test_spans_and_sources_are_equal_to_their_copies(copied: Callable[[Span], Span]) -> None:
    span = Span(Source("a.net", "net A\n"), 4, 5)
    assert span.line == 1  # its lines are counted now, but that is not copied
    again = copied(span)
    assert again == span
    assert hash(again) == hash(span)
    assert (again.text, again.where) == (span.text, span.where)
    assert again != Span(Source("b.net", "net A\n"), 4, 5)


def test_notes_of_an_error_are_copied_with_it() -> None:
    error = NetspecError.simple(codes.MODEL_SEED, "no", "a help")
    error.add_note("seen in epoch 3")
    for copied in COPIES.values():
        assert copied(error).__notes__ == ["seen in epoch 3"]
        assert copied(error).diagnostics == error.diagnostics


def expected() -> tuple[Diagnostic, ...]:
    with pytest.raises(NetspecError) as error:
        netspec.loads(MISTAKE)
    return error.value.diagnostics


def test_a_pool_raises_the_error_of_a_net_in_its_parent() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        answer = pool.map_async(netspec.loads, [MISTAKE])
        with pytest.raises(NetspecError) as error:
            answer.get(timeout=60)
    assert error.value.diagnostics == expected()


def test_a_process_pool_executor_raises_the_error_and_goes_on() -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        for _ in range(2):
            with pytest.raises(NetspecError) as error:
                executor.submit(netspec.loads, MISTAKE).result(timeout=60)
            assert error.value.diagnostics == expected()
