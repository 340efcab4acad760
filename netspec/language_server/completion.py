"""What can stand at a place of a text, also in text that does not parse."""

from __future__ import annotations

from collections.abc import Callable as Function
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Literal

from netspec.compiler.elaborate.statements import ROLES
from netspec.compiler.explain_codes import explanations
from netspec.compiler.ir import constants, initializers
from netspec.compiler.ir.attributes import Bool
from netspec.compiler.ir.net_facts import NET_FACTS
from netspec.compiler.ops import registry
from netspec.compiler.parse.loader import Loader
from netspec.diagnostics import DiagnosticSink, Edit, NetspecError, Source
from netspec.highlight.words import words
from netspec.language_server.analysis import Analysis
from netspec.language_server.callables import Argument, Callable, callables
from netspec.language_server.heads import Head, heads, names_before
from netspec.language_server.neighbours import offers
from netspec.language_server.tokens import Token, before, follows_arrow, opening

Kind = Literal[
    "layer", "block", "value", "attribute", "choice", "word", "function", "rule", "file", "code"
]

# The words that begin a definition, and those that begin a statement of a body.
_DEFINITIONS = ("block", "from", "inline", "language", "net", "scan", "use")
_STATEMENTS = ("assert", "buffer", "constant", "for", "if", "init", "input", "layer", "parameter")
_ENDS = {"net": ("output",), "block": ("return",)}
_OF_VALUES = ("channels", "features", "height", "rank", "receptive_field", "shape", "width")
_TYPES = ("bool", "int")
_MAX_FILES = 200
_JOINS = ("->", "+", "-", "*", "/", "//", "%", "**", "<", ">", "==", "!=", "<=", ">=", "=")
# What is offered behind a blank that nobody has asked for: what an argument is called, and can be.
# A list that opens by itself takes the next Enter, so it must not open where a line may end.
_BEHIND_BLANK = ("attribute", "choice", "rule", "code")

# How a statement and a definition are written, `$` and a number where the cursor goes.
_SNIPPETS = {
    "net": "net ${1:Name} {\n    input ${2:image}: [${3:3, 32, 32}]\n    output $2 -> $0\n}",
    "block": "block ${1:Name}(${2:channels}) ${3:x} {\n    return $3 -> $0\n}",
    "for": "for ${1:i} in range(${2:3}) {\n    $0\n}",
    "if": "if ${1:condition} {\n    $0\n}",
}


@dataclass(frozen=True, slots=True)
class Completion:
    """A word that can stand at a place.

    Attributes:
        label: the word.
        kind: what it is.
        detail: a few words beside it.
        about: more, in Markdown.
        insert: what is written for it.
        takes: whether brackets with arguments must follow.
        snippet: what is written in place of `insert` where an editor knows places in it.
        imports: the change elsewhere in the text that makes the word known.
    """

    label: str
    kind: Kind
    detail: str = ""
    about: str = ""
    insert: str = ""
    takes: bool = False
    snippet: str = ""
    imports: Edit | None = None


@dataclass(frozen=True, slots=True)
class Completions:
    """The words for the range [start, end) of a text, which one of them would replace, in an order:
    what is likeliest comes first among those of a kind.
    """

    start: int
    end: int
    items: tuple[Completion, ...]


def completions(analysis: Analysis, offset: int, trigger: str = "") -> Completions:
    """Return what can stand at a place, all of it: an editor picks what begins as the user types.

    Args:
        analysis: the text.
        offset: the place.
        trigger: the character that was typed, if nobody has asked; then only what is likely there.
    """
    found = analysis.tokens
    at = before(found, offset)
    start = end = offset
    last = found[at - 1] if at else None
    if last is not None and last.end >= offset and last.kind in ("name", "comment", "string"):
        at -= 1
        start, end = last.start, last.end
    place = _Place(analysis, found, at, offset)
    if last is not None and last.kind == "comment" and start <= offset:
        items, start = place.in_comment(last)
        end = offset
    elif last is not None and last.kind == "string" and start < offset and _is_inside(last, offset):
        items = place.in_string()
        start, end = last.start + 1, last.end - last.text[1:].endswith('"')
    elif last is not None and last.kind == "number" and last.end >= offset:
        items = ()
    else:
        items = place.in_code()
    if trigger in ("/", '"') and not (last is not None and last.kind == "string"):
        items = ()
    elif trigger == " ":
        items = place.behind_blank(items)
    following = _following(found, end)
    return Completions(start, end, tuple(_fitted(each, following) for each in _once(items)))


def _once(items: Iterable[Completion]) -> Iterable[Completion]:
    """Return each word once. The first one counts, which is the nearest to the place; an argument and
    a value of one name are both there, and the blocks of one name that several files have.
    """
    found: dict[tuple[str, str], Completion] = {}
    for item in items:
        what = "attribute" if item.kind == "attribute" else ""
        if (item.label, "attribute") in found and item.kind != "value":
            continue
        if item.imports is not None and (item.label, "") not in found:
            what = item.detail
        found.setdefault((item.label, what), item)
    return found.values()


def _following(found: Sequence[Token], end: int) -> str:
    """Return the token behind a place."""
    at = before(found, end)
    return found[at].text if at < len(found) else ""


def _fitted(item: Completion, following: str) -> Completion:
    """Return a word without what follows it already: the brackets of a call, the `=` of an argument."""
    if item.takes and following == "(":
        return replace(item, takes=False)
    if item.kind == "attribute" and following == "=":
        return replace(item, insert=item.label)
    return item


def _is_inside(token: Token, offset: int) -> bool:
    return offset < token.end or not token.text[1:].endswith('"')


def _goes_on(last: Token, following: Token | None) -> bool:
    """Whether a statement goes on behind the end of a line: behind its last token, or because of what
    follows.
    """
    goes_on = following is not None and following.text in (*_JOINS, "and", "or", "else")
    return goes_on or last.text in (*_JOINS, ",", "and")


class _Place:
    """A place in a text: before the token `at`, or in it."""

    def __init__(self, analysis: Analysis, found: Sequence[Token], at: int, offset: int) -> None:
        self.analysis = analysis
        self.found = found
        self.at = at
        self.offset = offset
        self.known = callables(analysis)
        every = heads(found[:at])
        self.head: Head | None = every[-1] if every else None

    def behind_blank(self, items: Iterable[Completion]) -> Iterable[Completion]:
        """Return what is offered behind a blank of all that can stand here."""
        previous = self.found[self.at - 1].text if self.at else ""
        if previous in ("->", "from", "import"):
            return items
        return (item for item in items if item.kind in _BEHIND_BLANK)

    # -- outside code

    def in_comment(self, comment: Token) -> tuple[Iterable[Completion], int]:
        """Return the codes of warnings in `# allow: `, and where the code begins."""
        said = comment.text[: self.offset - comment.start]
        if "allow:" not in said:
            return (), self.offset
        word = said.partition("allow:")[2].rpartition(",")[2].lstrip()
        codes = (
            Completion(str(e.code), "code", e.code.summary)
            for e in explanations().values()
            if e.code.severity == "warning"
        )
        return codes, self.offset - len(word)

    def in_string(self) -> Iterable[Completion]:
        """Return the files that an import can name."""
        folder = self.analysis.request.folder
        if folder is None or not self.at or self.found[self.at - 1].text != "from":
            return ()
        return (Completion(name, "file") for name in _files(folder, self.analysis.source.name))

    # -- code

    def in_code(self) -> Iterable[Completion]:
        """Return what can stand here by the tokens before."""
        bracket = opening(self.found, self.at)
        inside = self.found[bracket].text if bracket is not None else ""
        if follows_arrow(self.found, self.at):
            return self._called()
        previous = self._previous()
        if previous is not None and previous.text == ".":
            return (Completion(name, "attribute", "of a value") for name in _OF_VALUES)
        if inside == "(":
            assert bracket is not None
            return self._in_brackets(bracket)
        if inside == "[":
            assert bracket is not None
            indexed = self.found[bracket - 1] if bracket else None
            follows = indexed is not None and indexed.end == self.found[bracket].start
            is_index = follows and indexed is not None and indexed.text not in ("(", "[")
            return self._constant() if is_index else self._expression()
        if inside == "{":
            return self._in_body()
        return self._outside()

    def _previous(self) -> Token | None:
        """Return the token before, line breaks left out."""
        for token in reversed(self.found[: self.at]):
            if token.kind not in ("line", "comment"):
                return token
        return None

    def _line(self) -> list[Token]:
        """Return the tokens of the statement so far: those of the line, and of lines before that it
        continues.
        """
        line: list[Token] = []
        following: Token | None = None
        ends = False
        for i in range(self.at - 1, -1, -1):
            token = self.found[i]
            if token.kind == "line":
                ends = True
                continue
            if token.text in ("{", "}") or (ends and not _goes_on(token, following)):
                break
            ends, following = False, token
            if token.kind != "comment":
                line.append(token)
        return line[::-1]

    # -- what there is

    def _called(self) -> Iterator[Completion]:
        for called in self._callable():
            yield _call(called)
        for name in self._layers():
            yield Completion(name, "value", "layer of this body")
        for offer in offers(self.analysis):
            detail = f"block of {offer.file}, which is imported"
            yield Completion(offer.name, "block", detail, takes=True, imports=offer.edit)

    def _callable(self) -> Iterator[Callable]:
        """Yield all that can be called here: a block cannot call itself."""
        own = self.head.name if self.head is not None and self.head.kind == "block" else ""
        return (called for called in self.known.values() if called.name != own)

    def _layers(self) -> list[str]:
        pairs = zip(self.found[: self.at], self.found[1 : self.at], strict=False)
        return [name.text for word, name in pairs if word.text == "layer" and name.kind == "name"]

    def _names(self) -> Iterator[Completion]:
        if self.head is not None:
            of = f"of {self.head.kind} {self.head.name}"
            for name in names_before(self.found, self.head, self.at):
                yield Completion(name, "value", of)

    def _constant(self) -> Iterator[Completion]:
        """Yield what a constant is made of: no layers, which give values of the net."""
        yield from self._names()
        for name in constants.FUNCTIONS:
            yield Completion(name, "function", "of constants", insert=name, takes=True)
        yield from _of_words((*words().constants, "not"))

    def _expression(self) -> Iterator[Completion]:
        yield from self._constant()
        for called in self._callable():
            yield _call(called)

    # -- brackets

    def _in_brackets(self, bracket: int) -> Iterator[Completion]:
        if self.head is not None and self.head.start < bracket < self.head.body:
            previous = self._previous()
            if previous is not None and previous.text == "=":
                yield from self._constant()
            return
        inside = self.found[bracket + 1 : self.at]
        argument = _last_argument(inside)
        name = self.found[bracket - 1].text if bracket else ""
        yield from self._arguments(name, argument, _given(inside))
        if argument and argument[-1].kind in ("name", "number", "string"):
            yield from _of_words(("if", "else", "and", "or"))
        elif [token.text for token in argument[1:2]] == ["="] or self._takes_constants(bracket):
            yield from self._constant()
        else:
            yield from self._expression()

    def _takes_constants(self, bracket: int) -> bool:
        """Whether brackets hold constants alone: those of `range`, and those of a stage whose one value
        is in front of the arrow.
        """
        name = self.found[bracket - 1].text if bracket else ""
        if name in constants.FUNCTIONS:
            return True
        if not follows_arrow(self.found, bracket - 1):
            return False
        module = self.analysis.readable[0].module
        if module is not None and name in module.blocks:
            return len(module.blocks[name][0].inputs) == 1
        op = registry().get(name)
        return op is not None and op.arity == 1 and not op.optional

    def _arguments(
        self, name: str, argument: Sequence[Token], given: _Given
    ) -> Iterator[Completion]:
        """Yield the arguments that a call has left, or what the one that is begun can be."""
        called = self.known.get(name) if name not in self._layers() else None
        if called is not None and not argument:
            own = {item.label for item in self._names()}
            for each in called.arguments[given.positional :]:
                if each.name not in given.names:
                    yield _attribute(each, own)
            for rule in called.rules:
                if rule not in given.names and rule not in _names_of(called):
                    about = "the initial values, or the parameter of another layer"
                    yield Completion(rule, "attribute", about, insert=f"{rule} = ")
        elif called is not None and len(argument) == 2 and argument[1].text == "=":
            yield from _values(called, argument[0].text)
            if argument[0].text in called.rules:
                yield from _rules()
        elif name in initializers.RULES and not argument:
            yield from _of_rule(name, given.names)

    # -- statements

    def _in_body(self) -> Iterable[Completion]:
        line = self._line()
        if not line:
            return self._statement()
        first, last = line[0].text, line[-1]
        by_word: Mapping[str, Function[[], Iterable[Completion]]] = {
            "init": lambda: self._init(last),
            "layer": lambda: self._called() if last.text == "=" else (),
            "input": lambda: _of_words(_TYPES) if last.text == ":" else (),
            **dict.fromkeys(words().declared, lambda: self._declared(last)),
            "for": lambda: self._for(line),
        }
        if first in by_word and (
            first not in words().declared or len(line) < 2 or line[1].kind == "name"
        ):
            return by_word[first]()
        if last.kind in ("name", "number", "string") or last.text in (")", "]"):
            if last.text in ("output", "return", "assert", "if", "in", "and", "or", "not", "else"):
                facts = NET_FACTS if first == "assert" else ()
                of_net = (Completion(name, "attribute", "of the net") for name in facts)
                return chain(of_net, self._expression())
            return _of_words(("if", "else", "and", "or", "for")) if len(line) > 1 else ()
        return self._expression()

    def _statement(self) -> Iterator[Completion]:
        kind = self.head.kind if self.head is not None else "net"
        yield from _beginning((*_ENDS[kind], *_STATEMENTS))
        previous = self._previous()
        if previous is not None and previous.text == "}":
            yield from _of_words(("else",))
        for name in self._names():
            yield Completion(name.label, name.kind, name.detail)

    def _init(self, last: Token) -> Iterator[Completion]:
        if last.text in ("init", ","):
            for role in ROLES:
                yield Completion(role, "attribute", "role of a parameter", insert=f"{role} = ")
        elif last.text == "=":
            yield from _rules()

    def _declared(self, last: Token) -> Iterator[Completion]:
        if last.text == "=":
            yield from _rules()

    def _for(self, line: Sequence[Token]) -> Iterator[Completion]:
        named = any(token.text == "in" for token in line[1:])
        if named:
            yield from self._expression()
        elif len(line) > 1 and line[-1].kind == "name":
            yield from _of_words(("in",))

    # -- outside of bodies

    def _outside(self) -> Iterable[Completion]:
        line = self._line()
        texts = [token.text for token in line]
        if not line:
            return _beginning(_DEFINITIONS)
        if texts in (["inline"], ["scan"]):
            return _beginning(("block",))
        if texts[0] == "from":
            if len(line) == 2:
                return _of_words(("import",))
            return self._importable(line) if texts[-1] in ("import", ",") else ()
        return ()

    def _importable(self, line: Sequence[Token]) -> Iterator[Completion]:
        folder = self.analysis.request.folder
        module = self.analysis.readable[0].module
        path = line[1].text.strip('"')
        if folder is None:
            return
        for name in _blocks_of(folder, path, self.analysis):
            yield Completion(name, "block", f"block of {path}")
        for name, (_, home) in module.blocks.items() if module is not None else ():
            if home is not module and home.source.file_name == Path(path).name:
                yield Completion(name, "block", f"block of {path}")


def _call(called: Callable) -> Completion:
    kind: Kind = "block" if called.kind == "block" else "layer"
    takes = any(argument.is_needed for argument in called.arguments)
    return Completion(called.name, kind, called.signature, called.about, called.name, takes)


def _attribute(argument: Argument, own: set[str]) -> Completion:
    """Return an argument: with the value of its name, where a body has one, as is mostly meant."""
    insert = f"{argument.name} = {argument.name if argument.name in own else ''}"
    return Completion(argument.name, "attribute", argument.written, argument.about, insert)


def _values(called: Callable, name: str) -> Iterator[Completion]:
    for argument in called.arguments:
        if argument.name == name:
            choices = argument.kind.words if argument.kind is not None else ()
            if isinstance(argument.kind, Bool):
                choices = ("true", "false")
            for word in choices:
                yield Completion(word, "choice", f"for `{name}`")


def _rules() -> Iterator[Completion]:
    for name, rule in initializers.RULES.items():
        about = " ".join((rule.__doc__ or "").split())
        yield Completion(name, "rule", "initial values", about)


def _of_rule(rule: str, given: set[str]) -> Iterator[Completion]:
    fields: tuple[str, ...] = initializers.RULES[rule].__match_args__
    for name in fields:
        if name not in given:
            yield Completion(name, "attribute", f"of {rule}", insert=f"{name} = ")


def _of_words(found: Iterable[str]) -> Iterator[Completion]:
    return (Completion(word, "word") for word in found)


def _beginning(found: Iterable[str]) -> Iterator[Completion]:
    """Yield words that begin a statement or a definition."""
    return (Completion(word, "word", snippet=_SNIPPETS.get(word, "")) for word in found)


def _last_argument(found: Sequence[Token]) -> list[Token]:
    """Return the tokens of the last argument in brackets that are still open."""
    depth = 0
    argument: list[Token] = []
    for token in found:
        if token.kind in ("line", "comment"):
            continue
        if token.text == "," and depth == 0:
            argument = []
            continue
        depth += (token.text in ("(", "[")) - (token.text in (")", "]"))
        argument.append(token)
    return argument


@dataclass(frozen=True, slots=True)
class _Given:
    """The arguments that brackets hold so far: how many without a name, and the names of others."""

    positional: int
    names: set[str]


def _given(found: Sequence[Token]) -> _Given:
    depth, commas = 0, 0
    names: set[str] = set()
    for token, following in pairwise([*found, Token("line", "", 0)]):
        depth += (token.text in ("(", "[")) - (token.text in (")", "]"))
        commas += depth == 0 and token.text == ","
        if depth == 0 and token.kind == "name" and following.text == "=":
            names.add(token.text)
    return _Given(max(0, commas - len(names)), names)


def _names_of(called: Callable) -> set[str]:
    return {argument.name for argument in called.arguments}


def _files(folder: Path, own: str) -> list[str]:
    """Return the files that can be imported: of the folder, and of the folders in it."""
    near = islice(chain(folder.glob("*.net"), folder.glob("[!.]*/*.net")), _MAX_FILES)
    return sorted({path.relative_to(folder).as_posix() for path in near} - {own})


def _blocks_of(folder: Path, path: str, analysis: Analysis) -> list[str]:
    """Return the blocks of a file that an import names; none if it cannot be read."""
    loader = Loader(folder, DiagnosticSink(), {}, analysis.request.buffers)
    text = f'from "{path}" import _\n'
    try:
        loader.module(Source(analysis.source.name, text), folder)
    except NetspecError:
        return []
    return [
        name
        for module in loader.modules.values()
        for name, (_, home) in module.blocks.items()
        if home is module and module.source.file_name == Path(path).name
    ]
