"""`netspec data info NAME` and `netspec data pack FOLDER -o SHARDS`."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from netspec.cli import OK
from netspec.cli.common import add_color_option, emit, tell
from netspec.cli.output_place import add_force_option, check_output
from netspec.diagnostics import plural
from netspec.text.width import terminal_width


def configure(parser: argparse.ArgumentParser) -> None:
    """Add a parser for each thing to do."""
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    _add_info(tasks.add_parser(
        "info", help="show samples, classes, and what looks wrong", allow_abbrev=False,
        description="Looks through a data set: its samples, sizes and classes, and what looks wrong.",
    ))  # fmt: skip
    _add_pack(tasks.add_parser(
        "pack", help="pack a folder of pictures into shards", allow_abbrev=False,
        description="Packs a folder of pictures into tar archives, which `--data` and WebDataset read."
        " A packing that was stopped goes on.",
    ))  # fmt: skip


def _add_info(parser: argparse.ArgumentParser) -> None:
    from netspec.runtime.data.catalog import NAMES

    parser.add_argument("name", metavar="NAME",
                        help=f"{', '.join(NAMES)}, a file, a folder or shards, as for"
                        " `train --data`")  # fmt: skip
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="the folder to search first")
    parser.add_argument("--val", type=_count_or_share, default=0, metavar="N",
                        help="what is held out for validation in training, N or a share")  # fmt: skip
    parser.add_argument("--picture", type=Path, metavar="OUT",
                        help="also draw the classes and some samples, as .png or .svg")  # fmt: skip
    parser.add_argument("--format", choices=("text", "json"), default="text",
                        help="(default text)")  # fmt: skip
    add_force_option(parser)
    add_color_option(parser)


def _add_pack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER",
                        help="pictures in a folder for each class, or in those of train and"
                        " test")  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR",
                        help="the folder of the shards")  # fmt: skip
    parser.add_argument("--resize-shorter", type=_whole, metavar="N",
                        help="bring the shorter side of larger pictures to N pixels; without it each"
                        " file is packed as it is")  # fmt: skip
    parser.add_argument("--quality", type=_quality, default=90, metavar="Q",
                        help="of the JPEG files of resized pictures, 1 to 95 (default 90)")  # fmt: skip
    parser.add_argument("--per-shard", type=_whole, metavar="N",
                        help="pictures in a shard (default: as many as make 256 MiB)")  # fmt: skip
    parser.add_argument("--workers", type=_whole, default=os.cpu_count() or 1, metavar="N",
                        help="how many shards are written at a time (default: one a"
                        " processor)")  # fmt: skip
    add_color_option(parser)


def run(options: argparse.Namespace) -> int:
    """Do the task."""
    return _pack(options) if options.task == "pack" else _info(options)


def _info(options: argparse.Namespace) -> int:
    from netspec.runtime.data.catalog import path_of
    from netspec.runtime.data.summary import load_to_look, require_pictures, summarize
    from netspec.runtime.plots.figures import check_picture_path, require_matplotlib

    picture = options.picture
    if picture is not None:
        check_picture_path(picture)
        require_matplotlib()
        read = filter(None, [options.data_dir, path_of(options.name)])
        check_output(picture, read, force=options.force)
    data = load_to_look(options.name, options.data_dir)
    if picture is not None:
        require_pictures(data)
    found = summarize(data, options.val)
    if options.format == "json":
        emit(json.dumps(found.to_dict(), indent=1))
    else:
        emit(found.text(terminal_width()))
    if picture is not None:
        from netspec.runtime.plots.data_picture import draw_data

        draw_data(data, picture)
    return OK


def _pack(options: argparse.Namespace) -> int:
    from netspec.runtime.data.packing import Packing, pack

    packing = Packing(options.resize_shorter, options.quality, options.per_shard, options.workers)
    found = pack(options.folder, options.output, packing, lambda name: tell(f"{name}"))
    there = f", {found.there} of them from before" if found.there else ""
    emit(
        f"{plural(found.pictures, 'picture')} in {plural(found.shards, 'shard')}{there},"
        f" {found.size / 1e6:,.1f} MB in {options.output}"
    )
    return OK


def _whole(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text}")
    return value


def _quality(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 95:
        raise argparse.ArgumentTypeError(f"must be from 1 to 95, not {text}")
    return value


def _count_or_share(text: str) -> float:
    return int(text) if text.isdecimal() else float(text)
