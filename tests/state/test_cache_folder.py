"""The user's cache folder is where other programs of the user look for theirs."""

from __future__ import annotations

import sys
from pathlib import Path

import platformdirs
import pytest

from netspec.compiler.parse import tables
from netspec.files.cache_folder import cache_folder


@pytest.mark.parametrize("chosen", ["/somewhere/else", "/with a space/", "", None])
def test_it_is_the_one_that_platformdirs_names(chosen, monkeypatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if chosen is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", chosen)
    assert cache_folder() == platformdirs.user_cache_path("netspec")


@pytest.mark.skipif(sys.platform != "linux", reason="the XDG specification is Linux's")
def test_a_relative_path_is_no_choice(monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert cache_folder() == Path("~/.cache/netspec").expanduser()


@pytest.mark.skipif(sys.platform != "linux", reason="the XDG specification is Linux's")
def test_without_a_home_nothing_is_kept(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "here")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match="no home folder"):
        cache_folder()
    assert tables.load_tables().states
    assert not list(tmp_path.iterdir())
