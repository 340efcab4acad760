"""Names of layers, and the modules that they are in, from what a file has of either.

A file of netspec's own or of PyTorch's newer exporter says both. Else they are in the names of the
parameters (`layer1.0.conv1.weight`) or of the operators (`/layer1/layer1.0/conv1/Conv`).
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from netspec.compiler.ir.onnx_read import FileValue
from netspec.compiler.ops import registry
from netspec.imports.imported_net import Scope
from netspec.imports.onnx.recognition import FoundLayer
from netspec.text.python_tree import parse_expression

_SCOPES = "pkg.torch.onnx.name_scopes"
_CLASSES = "pkg.torch.onnx.class_hierarchy"
_LAYERS = "torch.nn.modules."
_CONTAINERS = ("torch.nn.modules.container.",)

# What names of parameters end in, besides the op's own.
_ENDS = re.compile(
    r"[._/](w|b|s|rm|riv|weights?|bias(es)?|scale|gamma|beta|mean|var|variance|kernel|running_mean"
    r"|running_var|moving_mean|moving_variance|slope|alpha)(_?\d+)?$",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"(node_?)?[A-Za-z]*_?\d*")
_LONGEST = 200

# Modules whose parts are to this share the same have the same class.
_ALIKE = 0.6


@dataclass(frozen=True)
class LayerName:
    """The whole path of a layer, empty if the file has none, and the modules that enclose it."""

    path: str
    scopes: tuple[Scope, ...] = ()


def layer_names(layers: Sequence[FoundLayer]) -> list[LayerName]:
    """Return a name for each layer."""
    around = _with_several(layers)
    found = [_said(layer, around) or _written(layer) for layer in layers]
    prefix = _common([name.path for name in found if name.path])
    paths = [_usual(name.path[len(prefix) :]) for name in found]
    taken = {path for path, layer in zip(paths, layers, strict=True) if layer.parameters}
    return [
        LayerName(_beside(path, taken), name.scopes)
        for path, name in zip(paths, found, strict=True)
    ]


def _beside(path: str, layers: Container[str]) -> str:
    """Return `conv1_bn` for `conv1.bn` where `conv1` is a layer, in which no other one can lie."""
    at = path.find(".")
    while at >= 0:
        if path[:at] in layers:
            return path[:at] + "_" + path[at + 1 :].replace(".", "_")
        at = path.find(".", at + 1)
    return path


def _with_several(layers: Sequence[FoundLayer]) -> Container[str]:
    """Return the paths of the modules that hold others, or several layers with parameters."""
    found: set[str] = set()
    learned: dict[str, set[frozenset[str]]] = {}
    for layer in layers:
        *outer, path = _texts(layer.root.metadata.get(_SCOPES, ""))[:-1] or [""]
        found.update(outer)
        if layer.parameters:  # a layer that is called again is one
            names = frozenset(held.value.name for held in layer.parameters.values())
            learned.setdefault(path, set()).add(names)
    return found | {path for path, layers_of in learned.items() if len(layers_of) > 1}


def _said(layer: FoundLayer, around: Container[str]) -> LayerName | None:
    """Return the name that a file's notes give. `around` are the modules that are no layers."""
    root = layer.root
    paths, kinds = (_texts(root.metadata.get(key, "")) for key in (_SCOPES, _CLASSES))
    if root.layer:
        calls = zip(paths, kinds, strict=False) if paths else _calls(root.scopes)
        scopes = tuple(_called(path, kind) for path, kind in calls if path)
        return LayerName(_usual(root.layer.partition("@")[0]), scopes[:-1] if paths else scopes)
    if not paths or len(paths) != len(kinds):
        return None
    pairs = [(p, k) for p, k in zip(paths[:-1], kinds[:-1], strict=True) if p]
    path = ""
    if pairs and pairs[-1][1].startswith(_LAYERS) and pairs[-1][0] not in around:
        path, _ = pairs.pop()
    own = (Scope(_usual(p), k.rpartition(".")[2], only_holds=_holds(k)) for p, k in pairs)
    if not layer.parameters:
        path = ""
    elif path:
        path = _by_weights(layer, path)
    else:
        path = _inside(pairs[-1][0] if pairs else "", _of_parameters(layer), paths[-1])
    return LayerName(path, tuple(own))


def _by_weights(layer: FoundLayer, path: str) -> str:
    """Return the path in the names of parameters instead of another one beside it: a convolution
    with a batch norm in it is noted as the batch norm.
    """
    written = _of_parameters(layer)
    first = next(iter(layer.parameters.values())).numbers
    is_new = first is None or bool((first == first.flat[0]).all())  # equal ones are stored once
    is_beside = written != "" and _module(written) == _module(path)
    return written if is_beside and not is_new else path


def _inside(module: str, path: str, name: str) -> str:
    """Return the path of a layer in a module, by its parameters or else by its operator. These may
    have the name of another module's, which has equal ones.
    """
    if not module or path.startswith(f"{module}."):
        return path
    return f"{module}.{path.rpartition('.')[2] or re.sub(r'_[0-9]+$', '', name)}"


def _called(path: str, kind: str) -> Scope:
    """Return a call of a block as netspec writes it: `head@2` is the second one of `head`."""
    name, *further = path.split("@")
    call = 0
    for number in further:
        call = call * 1000 + (int(number) - 1 if number.isdecimal() else 0) % 1000
    return Scope(_usual(name), kind, call)


def _holds(kind: str) -> bool:
    return kind.startswith(_CONTAINERS)


def _calls(scopes: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """Yield the whole path of each call of a function, and its kind."""
    path = ""
    for call, kind in scopes:
        path = f"{path}.{call}" if path else call
        yield path, kind


def _texts(text: str) -> list[str]:
    """Return the texts of a list in Python's syntax; none if it is no such list."""
    if not text or len(text) > 10_000:
        return []
    try:
        found = ast.literal_eval(parse_expression(text))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    return [str(each) for each in found] if isinstance(found, (list, tuple)) else []


def _written(layer: FoundLayer) -> LayerName:
    """Return the name that is in those of parameters or of the operator."""
    if layer.root.name.startswith("/"):
        module = _module_path(layer.root.name)
        return LayerName(_of_parameters(layer) or module) if layer.parameters else LayerName(module)
    if not layer.parameters:
        return LayerName("")
    if "" in layer.parameters:  # an array of its own has the whole name
        held = layer.parameters[""].value.name
        return LayerName("" if _NUMBERED.fullmatch(held) else held)
    path = _of_parameters(layer) or _stem(layer)
    if not path and not _NUMBERED.fullmatch(layer.root.name):
        path = layer.root.name
    return LayerName(path)


def _module_path(name: str) -> str:
    """Return `layer1.0.conv1` for `/layer1/layer1.0/conv1/Conv`."""
    parts: list[str] = []
    before = ""
    for part in name.split("/")[1:-1]:
        if before and part.startswith(f"{before}."):
            parts[-1] = part
        else:
            parts.append(part)
        before = part
    return ".".join(parts)


def _of_parameters(layer: FoundLayer) -> str:
    """Return what the names of all parameters begin with, where these end in the op's own names."""
    found = set()
    for own, held in layer.parameters.items():
        name = held.value.name
        # PyTorch's exporter calls so what it makes of a batch norm behind a layer.
        end = ".weight_bias" if own == "bias" and name.endswith(".weight_bias") else f".{own}"
        if not name.endswith(end):
            return ""
        found.add(name.removesuffix(end))
    return found.pop() if len(found) == 1 else ""


def _stem(layer: FoundLayer) -> str:
    """Return the name of the first parameter without its end, such as `_w_0`."""
    first = next(iter(layer.parameters.values())).value.name
    stem = _ENDS.sub("", first)
    return stem if stem != first else ""


def _common(paths: Sequence[str]) -> str:
    """Return what all names begin with, if it ends at a border of a module."""
    if len(paths) < 3 or not all("/" in path for path in paths):
        return ""
    prefix = "".join(_shared(paths))
    return prefix[: prefix.rfind("/") + 1]


def _shared(given: Sequence[Sequence[str]]) -> list[str]:
    """Return what all sequences begin with."""
    found: list[str] = []
    for each in zip(*given, strict=False):
        if len(set(each)) > 1:
            break
        found.append(each[0])
    return found


def _usual(path: str) -> str:
    """Return a path as a label can be: letters, digits and `_` between dots."""
    parts = (
        re.sub(r"[^\w-]", "_", part, flags=re.ASCII)
        for part in re.split(r"[./:]+", path[:_LONGEST])
    )
    return ".".join(_usual_part(part.strip("_-")) for part in parts if part.strip("_-"))


def _usual_part(part: str) -> str:
    """Return a part as one of a label, which begins with a letter or is a number: `conv3x3`."""
    return f"conv{part}" if part[0].isdigit() and not part.isdigit() else part


def _only_with_inputs(layers: Sequence[FoundLayer], names: Sequence[LayerName]) -> list[LayerName]:
    """Return names without the modules that read no value: a block has one to work on."""
    made: dict[FileValue, tuple[str, ...]] = {}
    reads: set[str] = set()
    for layer, name in zip(layers, names, strict=True):
        paths = tuple(scope.path for scope in name.scopes)
        made[layer.value] = paths
        if "" not in layer.parameters:
            outside = [made.get(value, ()) for value in layer.inputs]
            reads.update(path for path in paths if any(path not in each for each in outside))
    return [
        replace(name, scopes=tuple(scope for scope in name.scopes if scope.path in reads))
        for name in names
    ]


def with_modules(layers: Sequence[FoundLayer], names: Sequence[LayerName]) -> list[LayerName]:
    """Return names with modules, which follow from the paths where a file does not say them."""
    if any(name.scopes for name in names):
        return _only_with_inputs(layers, names)
    in_functions = _in_functions(layers, names)
    if in_functions is not None:
        return _only_with_inputs(layers, in_functions)
    learned = [n.path for n, layer in zip(names, layers, strict=True) if layer.parameters]
    kinds = _kinds(learned)
    modules = _modules(layers, names, learned, kinds)
    modules = _without_tails(layers, names, modules, kinds)
    modules, kinds = _unbroken(layers, modules, kinds)
    found = [
        LayerName(name.path if layer.parameters or layer.root.layer else "", _scopes(module, kinds))
        for layer, name, module in zip(layers, names, modules, strict=True)
    ]
    return _only_with_inputs(layers, found)


def _in_functions(
    layers: Sequence[FoundLayer], names: Sequence[LayerName]
) -> list[LayerName] | None:
    """Return names in the functions of a file that hold several layers, which are modules.

    None if there are none: exporters write single operators as functions, too.
    """
    calls = [[(_usual(p), k) for p, k in _calls(layer.root.scopes)] for layer in layers]
    counts = Counter(path for each in calls for path, _ in each)
    if not any(count > 1 for count in counts.values()):
        return None
    found = []
    for layer, name, own_calls in zip(layers, names, calls, strict=True):
        around = [(path, kind) for path, kind in own_calls if path and counts[path] > 1]
        path = name.path
        if around and layer.parameters:
            path = f"{around[-1][0]}.{_usual(layer.root.name.rpartition('.')[2]) or layer.op.name}"
        scopes = tuple(Scope(path, _class_name(kind)) for path, kind in around)
        found.append(LayerName(path if layer.parameters else "", scopes))
    return found


def _class_name(kind: str) -> str:
    """Return the name of a function as that of a block."""
    words = re.findall(r"[A-Za-z0-9]+", kind[:_LONGEST])
    joined = "".join(word[:1].upper() + word[1:] for word in words)
    return joined if joined[:1].isalpha() else f"Block{joined}"


def _modules(
    layers: Sequence[FoundLayer],
    names: Sequence[LayerName],
    learned: Sequence[str],
    kinds: Container[str],
) -> list[str]:
    """Return the module with a class that each layer is in.

    A layer without a path is in the module of most of what it reads; but a branch that begins with
    such a layer is in the module of the layers that read the same value and that read the layer.
    """
    around = {path[:i] for path in learned for i, c in enumerate(path) if c == "."}
    own: list[str | None] = []
    for layer, name in zip(layers, names, strict=True):
        is_bare = not layer.parameters and name.path in around  # code of the module itself
        at = name.path if is_bare else _module(name.path)
        own.append(_nearest(at, kinds) if name.path else None)
    places = {layer.value: i for i, layer in enumerate(layers)}
    found: list[str] = []
    for layer, module in zip(layers, own, strict=True):
        read = [found[places[value]] for value in layer.inputs if value in places]
        usual = max(reversed(read), key=Counter(read).__getitem__, default="")
        found.append(usual if module is None else module)
    readers: dict[FileValue, list[int]] = {}
    for i, layer in enumerate(layers):
        for value in layer.inputs:
            readers.setdefault(value, []).append(i)
    for i, layer in enumerate(layers):
        behind = {found[at] for at in readers.get(layer.value, ())} if own[i] is None else set()
        beside = (found[at] for value in set(layer.inputs) for at in readers[value] if at != i)
        if len(behind) == 1 and next(iter(behind)) in beside:
            (found[i],) = behind
    return found


def _module(path: str) -> str:
    return path.rpartition(".")[0]


def _nearest(module: str, kinds: Container[str]) -> str:
    """Return the innermost module around that has a class; empty for the net."""
    while module and module not in kinds:
        module = _module(module)
    return module


def _scopes(module: str, kinds: Mapping[str, str]) -> tuple[Scope, ...]:
    found = [Scope(path, kinds[path]) for path in _around(module) if path in kinds]
    return tuple(reversed(found))


def _without_tails(
    layers: Sequence[FoundLayer],
    names: Sequence[LayerName],
    modules: Sequence[str],
    kinds: Mapping[str, str],
) -> list[str]:
    """Return modules of which each ends where others of its class do.

    What has no path and follows the last of them belongs to the net.
    """
    found = list(modules)
    tails: dict[str, list[int]] = {}
    for i, (name, module) in enumerate(zip(names, modules, strict=True)):
        if name.path:
            tails[module] = []
        else:
            tails.setdefault(module, []).append(i)
    by_kind: dict[str, list[str]] = {}
    for module in tails:
        by_kind.setdefault(kinds.get(module, module), []).append(module)
    for members in by_kind.values():
        ops = [[layers[i].op.name for i in tails[module]] for module in members]
        keep = len(_shared(ops))
        for module in members:
            for i in tails[module][keep:]:
                found[i] = _nearest(_module(module), kinds)
    return found


def _unbroken(
    layers: Sequence[FoundLayer], modules: Sequence[str], kinds: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Return modules that are each run in one go.

    What stands between the layers of one, and reads nothing else, belongs to it; a module with
    something else in between is none.
    """
    found, kept = list(modules), dict(kinds)
    made = {layer.value: i for i, layer in enumerate(layers)}
    inside: dict[str, set[int]] = {}
    for i, module in enumerate(modules):
        for path in _around(module):
            inside.setdefault(path, set()).add(i)
    for path in sorted(kinds, key=len, reverse=True):
        members = inside.get(path, set())
        between = set(range(min(members), max(members))) - members if members else set()
        for i in sorted(between):
            read = (made.get(value, -1) for value in layers[i].inputs)
            if not layers[i].parameters and members.issuperset(read):
                members.add(i)
        if members.issuperset(between):
            for i in between:
                found[i] = path
                for outer in _around(path):
                    inside[outer].add(i)
        else:
            del kept[path]
    return [_nearest(module, kept) for module in found], kept


def _around(module: str) -> Iterator[str]:
    """Yield a path and those that enclose it."""
    while module:
        yield module
        module = _module(module)


def _kinds(paths: Sequence[str]) -> dict[str, str]:
    """Return the class of each module that is one: equal ones are those with mostly equal parts."""
    layers = set(paths)
    parts: dict[str, set[str]] = {}
    for path in paths:
        while "." in path:
            path, _, last = path.rpartition(".")
            parts.setdefault(path, set()).add(last)
    groups: list[tuple[set[str], list[str]]] = []
    for path, own in parts.items():
        if path in layers or all(part.isdigit() for part in own):
            continue
        for shared, members in groups:
            if len(own & shared) >= _ALIKE * len(own | shared):
                members.append(path)
                break
        else:
            groups.append((own, [path]))
    found: dict[str, str] = {}
    taken: set[str] = set()
    for _, members in groups:
        if len(members) < 2:
            continue
        wanted = kind = _kind_name(members[0])
        number = 1
        while kind in taken or kind.lower() in registry():
            number += 1
            kind = f"{wanted}Block{number if number > 2 else ''}"
        taken.add(kind)
        found.update(dict.fromkeys(members, kind))
    return found


def _kind_name(path: str) -> str:
    """Return `Layer` for `layer1.0`."""
    for part in reversed(path.split(".")):
        word = re.search(r"[A-Za-z]{2,}", part)
        if word is not None:
            return word[0].capitalize()
    return "Part"
