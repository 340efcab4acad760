"""The user's cache folder of netspec: what lies there is found again quickly, and no loss if it goes."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Where it is; it need not exist.

    platformdirs knows it for every system. For Linux the XDG specification is read here: `check`
    looks for the tables of the grammar each time, and the import would take a twentieth of its time.

    Raises:
        OSError: the user has no home folder.
    """
    if sys.platform == "linux" and not hasattr(sys, "getandroidapilevel"):
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
