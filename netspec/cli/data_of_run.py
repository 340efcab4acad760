"""What to do where the data that a run was trained with are not where they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from netspec import codes
from netspec.diagnostics import Hint, NetspecError


@contextmanager
def data_of_run(
    run: Path | None, data: str, given: str | None, option: str = "--data"
) -> Iterator[None]:
    """Say which option names data that were moved since a run was trained with them.

    Args:
        run: the folder of the run, if the data are those of one.
        data: what is loaded.
        given: the data that the command line names, which are not the run's; None if it names none.
        option: what names other data.

    Raises:
        NetspecError: the same error, with help.
    """
    try:
        yield
    except NetspecError as error:
        first = error.diagnostics[0]
        moved = first.code in (codes.DATA_MISSING_FILE, codes.DATA_UNKNOWN_NAME)
        if run is None or given is not None or not moved or first.span is not None:
            raise
        from netspec.runtime.data.catalog import NAMES

        note = f"{run} was trained with {data}"
        if data in NAMES:
            option = "--data-dir"
        elif not Path(data).expanduser().is_absolute():
            note += f", which is looked for in {Path.cwd()}"
        hint = Hint(f"if the data were moved, name them: {option} PATH")
        known = replace(first, notes=(*first.notes, note), hints=(hint, *first.hints))
        raise NetspecError([known, *error.diagnostics[1:]]) from None
