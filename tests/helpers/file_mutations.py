"""Mutations of structured files: of their bytes, and of JSON, pickles, archives and chunks."""

from __future__ import annotations

import io
import json
import pickletools
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

NUMBERS = [0, 1, 2, 3, 7, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**48, 2**63 - 1, 2**63, 2**64,
           10**30, 10**400, -1, -2, -(2**31), -(2**63)]  # fmt: skip
TEXTS = ["", "a", "x" * 5000, "\0", "\ud800", "\U0001f600", "..", "/", "a/../../b", "\x1b[31m", "nan",
         "1", "true", "[" * 3000, "digits", "adam", "weights"]  # fmt: skip
# Bytes that the copies of one part may take together: more would be growth of the fuzzer's own.
MOST_COPIED = 8 * 2**20


def nested(rng: random.Random) -> Any:
    value: Any = rng.choice(NUMBERS)
    for _ in range(rng.choice([1, 3, 40, 900])):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def odd_value(rng: random.Random) -> Any:
    """Return a value that JSON and pickles can hold, but that is rarely expected."""
    return rng.choice(
        [
            lambda: rng.choice(NUMBERS),
            lambda: rng.choice(TEXTS),
            lambda: rng.choice([None, True, False, 0.5, -0.0, 1e308, float("nan"), float("inf")]),
            lambda: rng.choice([[], {}, [[]], [0] * 3000, {str(i): i for i in range(3000)}]),
            lambda: nested(rng),
        ]
    )()


def copies(rng: random.Random, numbers: list[int], size: int) -> int:
    """Return how often a part of `size` bytes is repeated: one of `numbers`, of a large part fewer."""
    return min(rng.choice(numbers), max(1, MOST_COPIED // max(1, size)))


# ----------------------------------------------------------------------------------------- bytes


def change_bytes(rng: random.Random, raw: bytes) -> bytes:
    """Return a file after some edits of its bytes."""
    data = bytearray(raw)
    for _ in range(rng.choice([1, 1, 1, 3, 10])):
        if data:
            start = _place(rng, len(data))
            rng.choice(_EDITS)(rng, data, start, min(start + rng.choice([1, 2, 8, 100]), len(data)))
    return bytes(data)


def _place(rng: random.Random, size: int) -> int:
    """Return a position that is mostly near the beginning or the end, where most of what matters
    is.
    """
    ends = [min(64, size), size]
    return (
        rng.randrange(rng.choice(ends))
        if rng.random() < 0.8
        else max(0, size - 1 - rng.randrange(64))
    )


def _flip(rng: random.Random, data: bytearray, start: int, end: int) -> None:
    data[start] ^= 1 << rng.randrange(8)


def _number(rng: random.Random, data: bytearray, start: int, end: int) -> None:
    size = rng.choice([1, 2, 4, 8])
    order = rng.choice(["little", "big"])
    value = rng.choice(NUMBERS) % (1 << 8 * size)
    data[start : start + size] = value.to_bytes(size, order)  # type: ignore[arg-type]


def _cut(rng: random.Random, data: bytearray, start: int, end: int) -> None:
    del data[start:]


def _drop(rng: random.Random, data: bytearray, start: int, end: int) -> None:
    del data[start:end]


def _double(rng: random.Random, data: bytearray, start: int, end: int) -> None:
    data[start:start] = data[start:end] * rng.choice([1, 1, 2, 1000])


def _insert(rng: random.Random, data: bytearray, start: int, end: int) -> None:
    data[start:start] = rng.randbytes(rng.choice([1, 4, 1000]))


def _swap(rng: random.Random, data: bytearray, start: int, end: int) -> None:
    other = rng.randrange(len(data))
    data[start], data[other] = data[other], data[start]


_EDITS: list[Callable[[random.Random, bytearray, int, int], None]] = [
    _flip, _flip, _number, _number, _cut, _drop, _double, _insert, _swap,
]  # fmt: skip


# ------------------------------------------------------------------------------------------ JSON


def change_json(rng: random.Random, value: Any) -> Any:
    """Return a JSON value after some edits anywhere in it."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice([1, 1, 2, 5])):
        value = _edited(rng, value)
    return value


def _edited(rng: random.Random, value: Any) -> Any:
    inside = isinstance(value, list | dict) and value
    if not inside or rng.random() < 0.05:
        return odd_value(rng)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = rng.choice(keys)
    what = rng.random()
    if what < 0.15:
        del value[key]
    elif what < 0.25 and isinstance(value, list):
        value.append(rng.choice(value))
    elif what < 0.25:
        value[rng.choice([*TEXTS, *keys])] = value[key]
    elif what < 0.3:
        other = rng.choice(keys)
        value[key], value[other] = value[other], value[key]
    else:
        value[key] = _edited(rng, value[key])
    return value


def to_json(value: Any) -> bytes:
    """Return the text of a JSON value, which may have numbers of any length, and NaN."""
    return json.dumps(value).encode()


# ---------------------------------------------------------------------------------------- pickles


def change_pickle(rng: random.Random, raw: bytes) -> bytes:
    """Return a pickle after some edits of its operations."""
    try:
        places = [place or 0 for *_, place in pickletools.genops(raw)]
    except ValueError:
        return change_bytes(rng, raw)
    steps = [raw[a:b] for a, b in zip(places, [*places[1:], len(raw)], strict=True)]
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(len(steps))
        what = rng.random()
        if what < 0.2:
            del steps[at : at + rng.choice([1, 1, 3])]
        elif what < 0.35:
            part = steps[at : at + rng.choice([1, 3, 10])]
            steps[at:at] = part * copies(rng, [1, 1, 300], sum(map(len, part)))
        elif what < 0.5:
            other = rng.randrange(len(steps))
            steps[at], steps[other] = steps[other], steps[at]
        elif what < 0.7:
            steps[at] = rng.choice(_OPERATIONS)
        elif what < 0.85:
            steps[at:at] = [rng.choice(_OPERATIONS)] * rng.choice([1, 1, 1, 5000])
        else:
            steps[at] = change_bytes(rng, steps[at])
        if not steps:
            break
    return b"".join(steps)


def _long(value: int) -> bytes:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw if len(raw) < 256 else b"K\x01"


_OPERATIONS = [
    b"(", b")", b"]", b"}", b"t", b"\x85", b"\x86", b"\x87", b"R", b"b", b"Q", b"s", b"u", b"a", b"e",
    b"N", b"\x88", b"\x89", b"\x81", b"\x93", b"\x94", b"h\x00", b"h\x01", b"q\x00", b"q\x01", b"0",
    b"2", b".", b"K\x00", b"K\x01", b"U\x00", b"U\x01a", b"X\x01\x00\x00\x00a", b"T\xff\xff\xff\x7f",
    b"cos\nsystem\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n",
    b"ccollections\nOrderedDict\n", b"cnumpy\nndarray\n", b"c_codecs\nencode\n", b"G?\xf0" + bytes(6),
    *(_long(number) for number in NUMBERS),
]  # fmt: skip


# --------------------------------------------------------------------------------------- archives


def change_archive(
    rng: random.Random,
    members: dict[str, bytes],
    change: Callable[[random.Random, str, bytes], bytes],
) -> bytes:
    """Return a zip archive of members, after a change of one of them, or of their names or number."""
    listed = list(members.items())
    at = rng.randrange(len(listed))
    name, content = listed[at]
    what = rng.random()
    if what < 0.6:
        listed[at] = name, change(rng, name, content)
    elif what < 0.7:
        del listed[at]
    elif what < 0.8:
        listed.insert(rng.randrange(len(listed) + 1), (name, change(rng, name, content)))
    elif what < 0.9:
        listed[at] = (
            rng.choice([name.removesuffix(".npy"), name + "x", "/" + name, *TEXTS]),
            content,
        )
    else:
        listed[at] = name, rng.choice(listed)[1]
    kinds = [
        zipfile.ZIP_STORED,
        zipfile.ZIP_STORED,
        zipfile.ZIP_DEFLATED,
        zipfile.ZIP_BZIP2,
        zipfile.ZIP_LZMA,
    ]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", rng.choice(kinds)) as file:
        for name, content in listed:
            file.writestr(
                name.encode("utf-8", "replace").decode().replace("\0", "0") or "e", content
            )
    raw = buffer.getvalue()
    return change_bytes(rng, raw) if rng.random() < 0.3 else raw


# ----------------------------------------------------------------------------------------- chunks


def change_png(rng: random.Random, raw: bytes) -> bytes:
    """Return a PNG file after an edit of its chunks. Their checksums are correct."""
    chunks, at = [], 8
    while at + 8 <= len(raw):
        (length,) = struct.unpack(">I", raw[at : at + 4])
        chunks.append((raw[at + 4 : at + 8], raw[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return change_bytes(rng, raw)
    i = rng.randrange(len(chunks))
    kind, content = chunks[i]
    what = rng.random()
    if what < 0.4:
        chunks[i] = kind, change_bytes(rng, content)
    elif what < 0.5:
        del chunks[i]
    elif what < 0.6:
        chunks[i:i] = [(kind, content)] * copies(rng, [1, 2, 30_000], len(content))
    elif what < 0.7:
        chunks[i] = rng.choice(_CHUNKS), content
    elif what < 0.8:
        packed = zlib.compress(bytes(rng.choice([0, 10, 10**6, 10**8])), 1)
        chunks.insert(i, (rng.choice(_CHUNKS), b"a\0\0" + packed))
    elif what < 0.9:
        chunks.insert(i, (rng.choice(_CHUNKS), rng.randbytes(rng.choice([0, 4, 30, 3000]))))
    else:
        return change_bytes(rng, raw)
    body = b"".join(
        struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks
    )
    return raw[:8] + body


_CHUNKS = [
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"iCCP", b"zTXt", b"iTXt", b"tEXt", b"eXIf",
    b"acTL", b"fcTL", b"fdAT", b"sBIT", b"pHYs", b"abCd", b"sRGB", b"cHRM", b"CgBI",
]  # fmt: skip


def change_jpeg(rng: random.Random, raw: bytes) -> bytes:
    """Return a JPEG file after an edit of its segments."""
    places = [i for i in range(len(raw) - 3) if raw[i] == 0xFF and raw[i + 1] not in (0, 0xFF)]
    if not places:
        return change_bytes(rng, raw)
    at = rng.choice(places)
    what = rng.random()
    data = bytearray(raw)
    if what < 0.2:
        data[at + 1] = rng.choice(
            [0xC0, 0xC2, 0xC4, 0xDA, 0xDB, 0xDD, 0xD9, 0xE0, 0xE1, 0xE2, 0xED, 0xEE]
        )
    elif what < 0.4:
        data[at + 2 : at + 4] = rng.choice(NUMBERS[:9]).to_bytes(4, "big")[-2:]
    elif what < 0.5:
        part = data[at : rng.choice(places)]
        data[at:at] = part * copies(rng, [1, 2, 300], len(part))
    elif what < 0.7:
        marker = rng.choice([0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE, 0xDD])
        start = rng.choice(
            [
                b"Exif\0\0II*\0\x08\0\0\0",
                b"ICC_PROFILE\0",
                b"MPF\0MM\0*",
                b"JFIF\0",
                b"Adobe",
                b"Photoshop 3.0\0",
                b"",
            ]
        )
        content = (start + rng.randbytes(rng.choice([0, 10, 300, 60_000])))[:65_000]
        data[2:2] = bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
    else:
        return change_bytes(rng, raw)
    return bytes(data)


# ------------------------------------------------------------------------------------ ONNX models


def change_onnx(rng: random.Random, model: Any) -> bytes:
    """Return a model with other numbers, operators, sizes and wires in some places."""
    graph = model.graph
    wires = [wire for node in graph.node for wire in node.output]
    wires += [tensor.name for tensor in graph.initializer] + [""]
    sizes = [number for number in NUMBERS if -(2**63) <= number < 2**63] + [1000, 100_000]
    for _ in range(rng.choice([1, 1, 2, 5])):
        node, tensor = rng.choice(graph.node), rng.choice(graph.initializer)
        what = rng.random()
        if what < 0.15:
            node.op_type = rng.choice([rng.choice(graph.node).op_type, *_OPERATORS])
        elif what < 0.35 and node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice(wires)
        elif what < 0.4:
            node.input.append(rng.choice(wires))
        elif what < 0.5 and node.attribute:
            del node.attribute[rng.randrange(len(node.attribute))]
        elif what < 0.65 and node.attribute:
            attribute = rng.choice(node.attribute)
            attribute.i = rng.choice(sizes)
            if attribute.ints:
                attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(sizes)
        elif what < 0.75:
            tensor.dims.append(rng.choice(sizes))
        elif what < 0.8:
            tensor.data_type = rng.randrange(25)
        elif what < 0.85:
            text = rng.choice(TEXTS).encode("utf-8", "replace").decode().replace("\0", "0")
            node.name = tensor.name = text
        elif what < 0.9:
            tensor.raw_data = change_bytes(rng, tensor.raw_data)
        elif what < 0.95:
            graph.node.extend([node] * copies(rng, [1, 300], node.ByteSize()))
        else:
            rng.choice(graph.input).type.tensor_type.shape.dim.add().dim_value = rng.choice(sizes)
    content: bytes = model.SerializeToString()
    return content


_OPERATORS = [
    "Expand",
    "Tile",
    "Range",
    "Pad",
    "ConstantOfShape",
    "Loop",
    "If",
    "Resize",
    "Gather",
    "Own",
]
