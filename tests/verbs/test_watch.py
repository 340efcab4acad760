"""`netspec watch`: a round for every save, and a page that only this machine can read."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

from netspec.cli.live_page import HOST, LivePage
from netspec.cli.watch import rounds, stamps
from tests.conftest import ROOT

NET = "net A {\n    input x: [3, 8, 8]\n    output x -> B(4)\n}\n"
USES = f'from "b.net" import B\n{NET}'
BLOCK = "block B(n) x {\n    return x -> conv(n, 3)\n}\n"


def test_a_round_for_every_change_of_the_file_or_an_import(tmp_path: Path) -> None:
    path, block = tmp_path / "a.net", tmp_path / "b.net"
    path.write_text(USES)
    found = rounds(Namespace(file=path, net=None, set=[], ops=[]))
    assert [d.code for d in next(found)[1].diagnostics] == ["import/missing"]
    block.write_text(BLOCK)
    assert not next(found)[1].diagnostics
    block.write_text(BLOCK.replace("conv(n, 3)", "conv(n, 99)"))
    assert next(found)[1].errors
    path.unlink()
    assert [d.code for d in next(found)[1].diagnostics] == ["file/unreadable"]
    path.write_text(NET.replace("B(4)", "relu"))
    (graph,) = next(found)[1].graphs.values()
    assert graph.name == "A"


def test_a_file_that_is_gone_has_a_stamp_too(tmp_path: Path) -> None:
    path = tmp_path / "a.net"
    assert stamps({path}) == {path: None}
    path.write_text("x")
    assert stamps({path})[path] is not None


@pytest.fixture
def page() -> Iterator[LivePage]:
    served = LivePage()
    yield served
    served.close()


def get(page: LivePage, path: str, host: str | None = None) -> tuple[int, str]:
    port = int(page.address.rstrip("/").rpartition(":")[2])
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host if host is not None else f"{HOST}:{port}")
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_the_page_shows_the_newest_state(page: LivePage) -> None:
    assert page.address.startswith("http://127.0.0.1:")
    page.show({"A": "<p>one</p>", "B/../x": "<p>two</p>"}, "nothing wrong")
    status, text = get(page, "/state?after=0")
    state = json.loads(text)
    assert (status, state["said"], state["pages"]) == (200, "nothing wrong", ["A", "B/../x"])
    assert get(page, "/page/A?1") == (200, "<p>one</p>")
    assert get(page, "/page/B%2F..%2Fx") == (200, "<p>two</p>")
    assert get(page, "/page/C")[0] == get(page, "/../etc/passwd")[0] == 404
    assert "<iframe" in get(page, "/")[1]
    for odd in ("/state?after=-1", "/state?after=x", "/state"):
        assert get(page, odd)[0] == 200


def test_a_page_that_waits_hears_of_a_change(page: LivePage) -> None:
    answers: list[tuple[int, str]] = []
    waiting = threading.Thread(target=lambda: answers.append(get(page, "/state?after=0")))
    waiting.start()
    page.show({"A": "x"}, "")
    waiting.join(10)
    assert [(status, json.loads(text)["number"]) for status, text in answers] == [(200, 1)]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "", "localhost"])
def test_a_request_under_another_name_is_refused(page: LivePage, host: str) -> None:
    page.show({"A": "secret"}, "secret")
    for path in ("/", "/page/A", "/state?after=0"):
        status, text = get(page, path, host)
        assert status == 421
        assert "secret" not in text


def test_the_verb_tells_a_round_for_a_save_and_ends_when_it_is_told_to(tmp_path: Path) -> None:
    path = tmp_path / "a.net"
    path.write_text(NET.replace("B(4)", "nothing"))
    command = [sys.executable, "-m", "netspec", "watch", "--draw", "a.net"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stderr.readline()
        assert first.startswith("the picture is at http://127.0.0.1:")
        for line in process.stderr:
            if "a.net: 1 error" in line:
                break
        path.write_text(NET.replace("B(4)", "conv(4, 3)"))
        assert process.stderr.readline().rstrip().endswith("a.net: ok")
        assert process.stdout.readline().startswith("A (x: [N, 3, 8, 8])")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
