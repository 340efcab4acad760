"""A run named in place of a `.net` file: it knows its net, arguments, data and weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.cli.common import tell
from netspec.cli.picture_options import RESIZE
from netspec.files.run_facts import RUN_FACTS
from netspec.records import record

if TYPE_CHECKING:
    from netspec.runtime.data.input_normalization import InputNormalization
    from netspec.runtime.runs.folder import Facts, RunFolder
    from netspec.runtime.runs.resolve import Settings
    from netspec.runtime.weights.safetensors_file import Weights


@record
class NamedRun:
    """A run that the command line names.

    Attributes:
        folder, facts: Where the run is, and the facts it was started with.
        settings: A value for every training option.
    """

    folder: RunFolder
    facts: Facts
    settings: Settings

    @property
    def net_file(self) -> Path:
        """The run's own copy of the net."""
        return self.folder.net_file(self.facts)

    @property
    def weights(self) -> Path:
        """The file with the final weights.

        Raises:
            NetspecError: `usage/weights` if the run has not finished.
        """
        return self.folder.final_weights()

    @property
    def resize(self) -> dict[str, Any]:
        """How the run resized pictures: `resize` or `resize-shorter` with its value, if it did."""
        own = {name: self.settings[name] for name in RESIZE}
        return {name: value for name, value in own.items() if value}

    def with_arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Merge the run's arguments of the net with the given ones; note on stderr where they differ."""
        for name, value in given.items():
            self._say(f"--set {name}", self.facts.constants.get(name), value)
        return {**self.facts.constants, **given}

    def settings_with(
        self, given: Mapping[str, Any], names: Mapping[str, str] | None = None
    ) -> Settings:
        """Merge the run's training options with the given ones; notes on stderr where they differ.

        If a choice such as the loss is changed, the run's options that belong to the old choice are
        left out. So are options that a given one replaces.

        Args:
            given: training options by their names.
            names: what options are called on the command line, where they have other names there.
        """
        from netspec.runtime.runs.options import OPTIONS
        from netspec.runtime.runs.resolve import replaced_by, resolve
        from netspec.runtime.runs.resume import is_same

        replaced = replaced_by(given)
        other = {n for n, value in given.items() if not is_same(self.settings[n], value)}
        for name in given:
            if (
                name in other
                and not OPTIONS[name].of
                and OPTIONS[name].on_resume in ("fixed", "said")
            ):
                self._say((names or {}).get(name, f"--{name}"), self.settings[name], given[name])
        own = {
            n: v
            for n, v in self.settings.values.items()
            if OPTIONS[n].of not in other and n not in replaced
        }
        known = {name: value for name, value in {**own, **given}.items() if value is not None}
        return resolve(known)

    def say_normalization(self, own: InputNormalization | None, given: InputNormalization) -> None:
        """Note on stderr if images are normalized differently than in the run, where that is known."""
        from netspec.runtime.data.input_normalization import KINDS

        if own is None:
            return
        what = f"--normalize {given.kind}" if given.kind in KINDS else "--mean and --std"
        if own.kind != given.kind:
            _note(f"{what}: {self.folder.path} was trained with {own.kind}")
        elif not given.is_like(own):
            _note(f"{what}: {self.folder.path} was trained with other numbers")

    def say_weights(self, given: Path) -> None:
        """Note on stderr if the given weights are not the run's."""
        if run_around(given) != self:
            _note(f"--weights {given}: not those of {self.folder.path}")

    def complete(self, weights: Weights) -> Weights:
        """Return weights of elsewhere with what the run's own say of its data, where they say nothing.

        Weights that a loop of one's own trained further are PyTorch's: they know no normalization and
        no class names. A note on stderr says what was taken from the run.
        """
        from netspec.runtime.weights.data_facts import known_of_data
        from netspec.runtime.weights.weights_file import load_weights

        if weights.normalization is not None or not self.folder.weights.is_file():
            return weights
        own = load_weights(self.folder.weights)
        if own.normalization is not None:
            _note(
                "the weights do not say how images were normalised;"
                f" {self.folder.path} does: {own.normalization.kind}"
            )
        about = {**known_of_data(own.metadata), **weights.metadata}
        return replace(weights, normalization=own.normalization, metadata=about)

    def _say(self, what: str, own: Any, given: Any) -> None:
        from netspec.runtime.runs.resume import is_same, shown

        if not is_same(own, given):
            _note(f"{what} {shown(given)}: {self.folder.path} was trained with {shown(own)}")


def named_run(path: Path | None) -> NamedRun | None:
    """Return the run in a folder; None if the folder is not a run.

    Raises:
        NetspecError: `run/damaged`.
    """
    if path is None or not (path / RUN_FACTS).is_file():
        return None
    from netspec.runtime.runs.folder import RunFolder
    from netspec.runtime.runs.resolve import resolve
    from netspec.runtime.runs.resume import checked_options

    folder = RunFolder(path)
    facts = folder.facts()
    options = checked_options(folder, facts)
    known = {name: value for name, value in options.items() if value is not None}
    return NamedRun(folder, facts, resolve(known))


def path_of_run(run: NamedRun | None) -> Path | None:
    """Return the folder of a run, if there is one."""
    return None if run is None else run.folder.path


def with_data_of_run(
    settings: Settings, path: Path | None, given: Mapping[str, Any], *, keeps_recipe: bool = True
) -> Settings:
    """Return settings for a run that is named in place of a net, which knows where its data are.

    Its recipe, which others may use too, does not say that.

    Args:
        settings: The settings.
        path: What is named.
        given: The options of the command line, by name.
        keeps_recipe: Whether the recipe is the run's own.

    Raises:
        NetspecError: `run/damaged`.
    """
    run = named_run(path)
    if run is None:
        return settings
    known = dict(settings.values)
    if "data" not in given and keeps_recipe:
        known["data"] = run.settings["data"]
    if "data-dir" not in given and known["data"] == run.settings["data"]:
        known["data-dir"] = run.settings["data-dir"]
    return replace(settings, values=known)


def run_around(weights: Path | None) -> NamedRun | None:
    """Return the run that a weights file belongs to, or that is named in its place; else None.

    Raises:
        NetspecError: `run/damaged`.
    """
    if weights is None:
        return None
    places = (weights, weights.parent, weights.parent.parent)
    return next((run for place in places if (run := named_run(place)) is not None), None)


def setting_text(value: Any) -> str:
    """Format a constant as `--set` accepts it."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _note(text: str) -> None:
    tell(f"note: {text}")
