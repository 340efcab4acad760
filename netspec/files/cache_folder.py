"""netspec's folder in the user's cache: files that save time, and can be deleted without loss."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Return the path of the folder, which need not exist.

    platformdirs determines it on every system. On Linux, and in a browser, it is determined here,
    by the XDG specification: `check` looks for the grammar's tables there each time, and importing
    platformdirs would take a twentieth of its time.

    Raises:
        OSError: if the user has no home folder.
    """
    if sys.platform in ("linux", "emscripten") and not hasattr(sys, "getandroidapilevel"):
        chosen = os.environ.get("XDG_CACHE_HOME", "")
        caches = Path(chosen if os.path.isabs(chosen) else os.path.expanduser("~/.cache"))
        if not caches.is_absolute():
            raise FileNotFoundError("the user has no home folder")
        return caches / "netspec"
    from platformdirs import user_cache_path

    try:
        return user_cache_path("netspec")
    except RuntimeError as error:
        raise FileNotFoundError(str(error)) from None
