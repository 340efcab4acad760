"""What a command line of `netspec train` means: a new run, or a run to resume."""

from __future__ import annotations

import argparse
import logging
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec import codes
from netspec.cli.common import arguments_of, checked_net
from netspec.diagnostics import NetspecError
from netspec.records import record
from netspec.runtime.runs.options import LOG_EVERY, OPTIONS
from netspec.runtime.runs.resume import Note, shown

if TYPE_CHECKING:
    from netspec.net import Net
    from netspec.runtime.data.dataset import Dataset
    from netspec.runtime.data.vocabulary import Vocabulary
    from netspec.runtime.runs.checkpoint import Checkpoint
    from netspec.runtime.runs.folder import Facts
    from netspec.runtime.runs.folder_lock import FolderLock
    from netspec.runtime.runs.recipe import Recipe
    from netspec.runtime.runs.recorder import RunRecorder
    from netspec.runtime.runs.resolve import Settings
    from netspec.runtime.runs.resume import Resumed

_LOG = logging.getLogger(__name__)

# The packages whose versions are recorded with a run.
_PACKAGES = {
    "numpy": ("netspec-dsl", "numpy", "numexpr"),
    "c": ("netspec-dsl", "numpy"),
    "torch": ("netspec-dsl", "numpy", "torch"),
}


@record
class TrainingPlan:
    """A run that is completely specified, before anything is computed.

    Attributes:
        target: `numpy`, `c` or `torch`.
        net: The net.
        arguments: The arguments of the net.
        settings: A value for every option.
        notes: Notes to log before training starts.
        folder: Where the run is kept; None if it is not kept.
        weights: The weights file to save; None for none.
        recipe: The name of the recipe; empty without one.
        resumed: The run to resume; None for a new run.
        sources: The files that are read, which must never be overwritten.
        force: True if a file that netspec did not make may be overwritten.
        is_named: True if the user named the folder.
        lock: Holds the folder of a resumed run.
        asked: The data that the command line itself names; None if it names none.
        threads_before: The number of threads of the run that is repeated.
        named: The words of the command line that name the net, and those that define its ops.
    """

    target: str
    net: Net
    arguments: Mapping[str, Any]
    settings: Settings
    notes: tuple[Note, ...]
    folder: Path | None
    weights: Path | None
    recipe: str = ""
    resumed: Resumed | None = None
    sources: tuple[Path, ...] = ()
    force: bool = False
    is_named: bool = True
    lock: FolderLock | None = None
    asked: str | None = None
    threads_before: int | None = None
    named: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The state to resume from; None for a new run."""
        return self.resumed.checkpoint if self.resumed is not None else None

    @property
    def threads(self) -> int | None:
        """The number of threads asked for.

        A resumed run keeps its number, and one that is repeated gives it, so that results are
        bit-identical.
        """
        if self.settings["threads"] is not None:
            return self.settings["threads"]  # type: ignore[no-any-return]
        return self.threads_before if self.resumed is None else self.resumed.facts.threads

    @property
    def tokens(self) -> str:
        """The kind of tokens of a text; a resumed run reads its own copy of a tokenizer's file.

        Raises:
            NetspecError: `run/damaged` if a resumed run lacks it.
        """
        from netspec.runtime.runs.resume import tokens_of

        if self.resumed is None:
            return self.settings["tokens"]  # type: ignore[no-any-return]
        return tokens_of(self.resumed)

    @contextmanager
    def placed(self) -> Iterator[TrainingPlan]:
        """Context manager: reserve a folder for the run that no other run can get.

        A place that could not be saved to after hours of training is refused now.

        Raises:
            NetspecError: `output/unwritable`, `output/is-source`, `output/not-generated`,
                `run/exists`.
        """
        from netspec.cli.output_place import check_output
        from netspec.runtime.runs.folder import (
            WEIGHTS,
            check_place,
            reserved_name,
        )

        if self.folder is not None and self.resumed is None:
            check_place(self.folder)
        elif self.folder is None and self.weights is not None:
            check_output(self.weights, self.sources, force=self.force)
        if self.is_named:
            yield self
            return
        with reserved_name(self.net.name) as folder:
            yield replace(self, folder=folder, weights=folder / WEIGHTS)

    def doctor(self) -> str:
        """Return the command that examines the net as this run trains it."""
        from netspec.cli.doctor import TAKEN

        net, ops = self.named
        if self.folder is not None:  # it knows all that a command would say
            return shlex.join(["netspec", "doctor", str(self.folder), *ops])
        words = ["netspec", "doctor", *net, *ops]
        for name in TAKEN:
            value = self.settings[name]
            if name == "lr" or value != OPTIONS[name].default:
                words += _as_words(name, value)
        return shlex.join(words)

    def recorder(
        self, data: Dataset, threads: int, processes: int, writes: bool
    ) -> RunRecorder | None:
        """Return the object that records the run; None if nothing is kept.

        Raises:
            NetspecError: `run/data-changed` if a run would be resumed with other images;
                `run/no-tensorboard`, `library/mlflow`, `library/wandb`.
        """
        if self.folder is None:
            return None
        from netspec.runtime.runs.folder import fingerprint
        from netspec.runtime.runs.listing import matters
        from netspec.runtime.runs.recorder import Keeping, RunRecorder
        from netspec.runtime.runs.resume import check_data, processes_note
        from netspec.runtime.runs.tracking import tensorboard
        from netspec.runtime.runs.tracking.trackers import require_clients

        settings = self.settings
        if settings["tensorboard"]:
            tensorboard.require_tensorboard()
        require_clients(settings["track"])
        found = fingerprint(data)
        if self.resumed is not None:
            check_data(self.resumed.facts.data, found)
            if (note := processes_note(self.resumed.facts, processes)) is not None:
                _LOG.log(note.level, "%s", note.text)
        facts = self._facts(found, threads, processes)
        keeping = Keeping(
            self.folder,
            self._files(facts, data.vocabulary),
            self.checkpoint,
            settings["checkpoint-every"],
            settings["log-every"] or LOG_EVERY,
            settings["tensorboard"],
            writes,
            {name: settings[name] for name in OPTIONS if matters(name)},
            settings["track"],
            self.lock,
            self.net.graph,
            is_changed=self.resumed is not None
            and any(OPTIONS[name].on_resume == "said" for name in settings.given),
        )
        return RunRecorder(keeping)

    def _facts(self, data: Mapping[str, Any], threads: int, processes: int) -> Facts:
        """Return the facts that the run is started or resumed with."""
        from netspec.runtime.runs.folder import Facts, net_files
        from netspec.runtime.runs.resume import options_before

        now = _versions(self.target)
        options = {name: self.settings[name] for name in OPTIONS}
        if self.resumed is not None:
            return replace(
                self.resumed.facts, before=options_before(self.resumed),
                options=options, threads=threads, processes=processes, versions=now,
            )  # fmt: skip
        return Facts(
            target=self.target,
            net=self.net.name,
            file=net_files(self.net.written)[0],
            written_as=self.net.written.module.source.name,
            arguments=dict(self.arguments),
            options=options,
            data=data,
            threads=threads,
            processes=processes,
            versions=now,
            started=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            recipe=self.recipe,
            started_in=str(Path.cwd()),
        )

    def _files(self, facts: Facts, vocabulary: Vocabulary | None) -> dict[str, bytes]:
        """Return the files in the run's folder that describe it, by name."""
        from netspec.runtime.runs.folder import FACTS, NET, TOKENIZER, facts_text, net_files
        from netspec.runtime.runs.recipe import before_lines, recipe_text
        from netspec.runtime.runs.recipe_place import RECIPE

        about = f"The recipe for a run of {facts.written_as}, as it was resolved."
        about += "".join(f"\n{line}" for line in before_lines(facts.before))
        text = recipe_text(self.settings.values, self.arguments, about)
        described = {FACTS: facts_text(facts).encode(), RECIPE: text.encode()}
        tokenizer = vocabulary.file() if vocabulary is not None else None
        if tokenizer is not None:
            described[TOKENIZER] = tokenizer
        if self.resumed is not None:
            return described
        files = net_files(self.net.written)[1]
        return {**described, **{f"{NET}/{name}": content for name, content in files.items()}}


def _as_words(name: str, value: Any) -> list[str]:
    """Return an option as the command line takes it."""
    if isinstance(value, bool):
        return [f"--{name}"] if value else []
    if isinstance(value, float):
        value = f"{value:g}"
    return [] if value is None else [f"--{name}", shown(value)]


def _named(options: argparse.Namespace) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words that name the net, and those that define its ops."""
    net = [str(options.file), *(["--net", options.net] if options.net else [])]
    net += [word for each in options.set for word in ("--set", each)]
    return tuple(net), tuple(word for each in options.ops for word in ("--ops", each))


def _versions(target: str) -> dict[str, str]:
    """Return the versions of what computes a run."""
    from netspec.runtime.weights.host import versions

    found = versions(*_PACKAGES[target])
    if target == "c":
        from netspec.runtime.engine.native.c_compiler import this_compiler

        found["C compiler"] = this_compiler().version
    return found


def make_plan(options: argparse.Namespace, *, writes: bool = True) -> TrainingPlan:
    """Interpret a command line.

    Args:
        options: The parsed command line.
        writes: True if this process, of several, is the one that writes.

    Raises:
        NetspecError: for anything wrong with the command line, the recipe, the net or the run;
            `run/in-use`.
    """
    _look_for_run(options)
    if options.resume is None:
        return _new(options)
    from netspec.runtime.runs.folder_lock import FolderLock

    # Locked before anything is read: a run that another process is writing must not be resumed.
    return _going_on(options, FolderLock(options.resume) if writes else None)


def _look_for_run(options: argparse.Namespace) -> None:
    """Continue the run of a command that is restartable, if an earlier start of it has made the run.

    Processes that train together find the same: the first one makes the folder after all have looked.

    Raises:
        NetspecError: `usage/train` for a restartable run that is not kept in a folder with a name.
    """
    if not options.restartable or options.resume is not None:
        return
    out = options.out
    if out is None or out == "none" or out.endswith(".safetensors"):
        message = "--restartable needs the folder of the run, the same at each start"
        raise NetspecError.simple(codes.USAGE_TRAIN, message, "--out DIR")
    from netspec.runtime.runs.folder import FACTS

    if (Path(out) / FACTS).is_file():
        options.resume, options.recipe, options.no_recipe = Path(out), None, False


def _new(options: argparse.Namespace) -> TrainingPlan:
    from netspec.cli.named_run import named_run, with_data_of_run
    from netspec.cli.training_options import given
    from netspec.runtime.runs.folder import WEIGHTS, free_name
    from netspec.runtime.runs.resolve import check_arguments, resolve
    from netspec.runtime.runs.resume import changed_note

    if options.file is None:
        message = "which net? netspec train FILE"
        raise NetspecError.simple(codes.USAGE_TRAIN, message, "or continue a run: --resume RUN")
    recipe = _recipe(options)
    settings = with_data_of_run(
        resolve(given(options), recipe), options.file, given(options),
        keeps_recipe=options.recipe is None and not options.no_recipe,
    )  # fmt: skip
    _check_target(options.target, settings)
    arguments = {**(recipe.arguments if recipe else {}), **arguments_of(options)}
    try:
        net = checked_net(options, arguments)
    except NetspecError as error:
        if recipe is None:
            raise
        raise check_arguments(recipe, error) from None
    out = settings["out"]
    folder = weights = None
    if out is None or not (out == "none" or out.endswith(".safetensors")):
        folder = Path(out) if out is not None else free_name(net.name)
        weights = folder / WEIGHTS
    elif out != "none":
        weights = Path(out)
    notes = tuple(_about(recipe, settings))
    if _are_fed_as_they_are(settings, recipe):
        settings = replace(settings, values={**settings.values, "normalize": "none"})
        if net.graph.real_inputs:
            notes = (*notes, Note(f"inputs are left as they are, as {settings['weights']} says that the"
                                  " net takes them: --normalize none"))  # fmt: skip
    run = named_run(options.file)
    if run is not None and (changed := changed_note(run.folder, run.facts)) is not None:
        notes = (*notes, changed)
    repeated = None if options.no_recipe or options.recipe is not None else run
    name = recipe.name if recipe is not None else ""
    return TrainingPlan(
        options.target, net, arguments, settings, notes, folder, weights, name,
        sources=tuple(_sources(net, options, settings)), force=options.force,
        is_named=out is not None,
        threads_before=None if repeated is None else repeated.facts.threads,
        asked=options.data,
        named=_named(options),
    )  # fmt: skip


def _are_fed_as_they_are(settings: Settings, recipe: Recipe | None) -> bool:
    """Whether the weights to start from say that nothing is done with inputs, and nobody says otherwise.

    A net that normalises by its own layers would else do it a second time.
    """
    from netspec.runtime.weights.weights_file import load_weights

    said = settings.given | (recipe.values.keys() if recipe is not None else set())
    if settings["weights"] is None or said & {"normalize", "mean", "std"}:
        return False
    try:
        normalization = load_weights(settings["weights"]).normalization
    except NetspecError:  # told where they are loaded
        return False
    return normalization is not None and normalization.kind == "none"


def _sources(net: Net, options: argparse.Namespace, settings: Settings) -> Iterator[Path]:
    """Yield the files that a new run reads."""
    from netspec.cli.output_place import net_sources
    from netspec.runtime.data.catalog import path_of
    from netspec.runtime.data.vocabularies import tokenizer_file

    yield from net_sources(net, options.recipe)
    if settings["weights"] is not None:
        yield Path(settings["weights"])
    data = path_of(settings["data"])
    tokens = tokenizer_file(settings["tokens"] or "")
    yield from filter(None, (data, tokens))


def _recipe(options: argparse.Namespace) -> Recipe | None:
    """Return the recipe that was named, or else the one beside the net."""
    from netspec.runtime.runs.recipe import read_recipe
    from netspec.runtime.runs.recipe_place import recipe_of

    if options.recipe is not None and options.no_recipe:
        raise NetspecError.simple(
            codes.USAGE_TRAIN, "--recipe and --no-recipe contradict each other"
        )
    path = options.recipe or recipe_of(options.file)
    return read_recipe(path) if path is not None and not options.no_recipe else None


def _about(recipe: Recipe | None, settings: Settings) -> Iterator[Note]:
    """Yield notes: where the settings come from, and which of them are probably a mistake."""
    if recipe is not None:
        yield Note(_about_recipe(recipe, settings))
    warmup, epochs = settings["warmup"], settings["epochs"]
    if warmup >= epochs and warmup:
        yield Note(
            f"the warm-up takes {warmup} epochs, and the run has only {epochs}: give a shorter --warmup",
            logging.WARNING,
        )


def _about_recipe(recipe: Recipe, settings: Settings) -> str:
    """Describe the recipe, and which of its options the command line overrides."""
    said = recipe.values
    other = [f"--{n}" for n in settings.given if n in said and settings[n] != said[n]]
    text = f"recipe {recipe.name}"
    if other:
        text += f", except for {', '.join(other)}"
    if settings.left_out:
        text += " and the options that belong to them: " if other else ", except for "
        text += ", ".join(settings.left_out)
    return text


def _check_target(target: str, settings: Settings) -> None:
    """Refuse options that only PyTorch has.

    Raises:
        NetspecError: `train/bad-option`.
    """
    wrong = [n for n in settings.given if OPTIONS[n].group == "PyTorch"]
    if target != "torch" and wrong:
        flags = ", ".join(f"--{name}" for name in OPTIONS if name in wrong)
        raise NetspecError.simple(
            codes.TRAIN_BAD_OPTION, f"{flags}: for `netspec train torch` only"
        )


def _going_on(options: argparse.Namespace, lock: FolderLock | None) -> TrainingPlan:
    from netspec.cli.training_options import given
    from netspec.runtime.runs.folder import net_files
    from netspec.runtime.runs.resume import changed_note, check_source, take_up, version_notes

    if options.recipe is not None or options.no_recipe:
        message = "a resumed run keeps its recipe: leave out --recipe and --no-recipe"
        raise NetspecError.simple(codes.USAGE_TRAIN, message)
    resumed = take_up(
        options.resume, given(options), options.target, arguments_of(options), options.net
    )
    facts, folder = resumed.facts, resumed.folder
    _check_target(facts.target, resumed.settings)
    arguments = facts.constants
    file, options.net = options.file, facts.net
    if file is not None:
        check_source(facts, folder, net_files(checked_net(options, arguments).written)[1])
    options.file = folder.net_file(facts)
    net = checked_net(options, arguments)
    changed = changed_note(folder, facts) if file is None else None
    notes = [*resumed.notes, *([changed] if changed else [])]
    notes += version_notes(facts, _versions(facts.target))
    return TrainingPlan(
        facts.target, net, arguments, resumed.settings, tuple(notes), folder.path,
        folder.weights, facts.recipe, resumed, lock=lock, asked=options.data,
        named=_named(options),
    )  # fmt: skip
