"""The file by which the folder of a run is known, for what must not load the runtime to know it."""

from __future__ import annotations

RUN_FACTS = "run.json"
