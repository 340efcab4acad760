"""Combines options: the command line takes precedence, then the recipe, then the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from netspec import codes
from netspec.diagnostics import Diagnostic, NetspecError
from netspec.runtime.data.augmentations import parse_augmentation
from netspec.runtime.data.input_normalization import ChannelStatistics, InputNormalization
from netspec.runtime.data.pictures import Resize
from netspec.runtime.optim.losses import make_loss
from netspec.runtime.optim.lr_schedules import make_schedule
from netspec.runtime.optim.optimizers import OPTIMIZERS, check_optimizer
from netspec.runtime.runs.choice_defaults import choice_defaults
from netspec.runtime.runs.options import OPTIONS, keywords
from netspec.runtime.runs.recipe import ARGUMENTS, Recipe
from netspec.runtime.training.plan import TrainingOptions


@dataclass(frozen=True)
class Settings:
    """The settings of a run: a value for every option, by its name.

    Attributes:
        values: The values.
        given: The names of options given on the command line.
        left_out: The names of the recipe's options that were dropped because the command line
            changes the choice that they belong to.
    """

    values: Mapping[str, Any]
    given: frozenset[str] = frozenset()
    left_out: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def normalize(self) -> str | ChannelStatistics:
        """The kind of normalization, or the given `mean` and `std`."""
        if self["mean"] is None:
            return str(self["normalize"])
        return ChannelStatistics.of((self["mean"], self["std"]))

    @property
    def normalize_without_weights(self) -> str | ChannelStatistics:
        """The normalization before there are weights to determine it: for examining an untrained net."""
        return "channel" if self.normalize == "weights" else self.normalize

    @property
    def resize(self) -> Resize:
        """How pictures of another size than the net's input are resized."""
        shorter: int | None = self["resize-shorter"]
        return bool(self["resize"]) if shorter is None else shorter

    @property
    def decodes_on_demand(self) -> bool:
        """Whether the pictures of a folder are decoded when they are needed, and not all before."""
        changes = parse_augmentation(self["augment"] or ())
        return self["workers"] is not None or bool(changes.of_pictures)

    def training_options(self, normalization: InputNormalization | None = None) -> TrainingOptions:
        """Return what `netspec.fit` takes of them.

        Args:
            normalization: the one to use, if it is known: that of a checkpoint or of weights.
        """
        names = ("epochs", "batch", "optimizer", "lr", "schedule", "loss", "l2", "clip-norm",
                 "accumulate", "ema", "seed", "val", "train-limit", "warmup", "keep", "eval-every",
                 "test-every", "early-stopping", "monitor", "per-class", "sample", "whiten", "crop-pad",
                 "crop-edges", "cutout-size")  # fmt: skip
        return TrainingOptions(
            **{OPTIONS[name].key: self[name] for name in names},
            normalize=normalization or self.normalize,
            augment=self["augment"] or (),
            tta=self["tta"] or (),
            workers=self["workers"],
            rates=self["rates"] or {},
            decays=self["decays"] or {},
            also=self["also"] or (),
            optimizer_options=self.keywords("optimizer"),
            schedule_options=self.keywords("schedule"),
            loss_options=self.keywords("loss"),
        )

    def keywords(self, choice: str) -> dict[str, Any]:
        """Return the keyword arguments of the `optimizer`, the `schedule` or the `loss`."""
        found = {o.key: self.values[o.name] for o in keywords(choice)}
        return {name: value for name, value in found.items() if value is not None}


def resolve(given: Mapping[str, Any], recipe: Recipe | None = None) -> Settings:
    """Return the values of all options, with the defaults of the chosen optimizer, schedule and loss.

    Options in the recipe that belong to a choice (the learning rate of an optimizer, the validation
    part of a data set) are dropped if the command line changes that choice, because they were meant
    for the recipe's. So are options that an option of the command line replaces.

    Args:
        given: The options of the command line, by name.
        recipe: The recipe, already checked by itself.

    Raises:
        NetspecError: `recipe/value` for an option of the recipe that its optimizer, schedule or
            loss does not have, or not with this value, and for two options of which one replaces
            the other; `train/bad-option` for those of the command line.
    """
    said = dict(recipe.values) if recipe is not None else {}
    _check_alternatives(given, None)
    _check_alternatives(said, recipe)
    changed = {n for n, value in given.items() if n in said and said[n] != value}
    replaced = replaced_by(given)
    left_out = tuple(
        n for n in said if (OPTIONS[n].of in changed or n in replaced) and n not in given
    )
    kept = {name: value for name, value in said.items() if name not in left_out}
    chosen = {**kept, **given}
    values = {**_defaults(replaced_by(chosen)), **chosen}
    if values["lr"] is None:
        values["lr"] = OPTIMIZERS[values["optimizer"]].default_lr
    settings = Settings(values, frozenset(given), left_out)
    for name, value in given.items():
        check = OPTIONS[name].check
        if check is not None:
            check(value)
    _check_keywords(settings, recipe)
    _check_statistics(settings, recipe)
    unsaid = {n: v for n, v in choice_defaults(values).items() if values[n] is None}
    return replace(settings, values={**values, **unsaid})


def _defaults(without: frozenset[str]) -> dict[str, Any]:
    """Return the defaults of all options; None for those that another option replaces."""
    return {n: None if n in without else option.default for n, option in OPTIONS.items()}


def replaced_by(values: Mapping[str, Any]) -> frozenset[str]:
    """Return the options that these replace; an option that is switched off replaces none."""
    told = (name for name, value in values.items() if value is not None and value is not False)
    return frozenset(other for name in told for other in OPTIONS[name].instead_of)


def _check_alternatives(values: Mapping[str, Any], recipe: Recipe | None) -> None:
    """Refuse an option together with one that it replaces."""
    replaced = replaced_by(values)
    for name, value in values.items():
        others = [n for n in OPTIONS[name].instead_of if n in values]
        if name in replaced and others and value is not None and value is not False:
            mark = "--" if recipe is None else ""
            message = f"{mark}{name} and {mark}{others[0]}: give one or the other"
            error = NetspecError.simple(codes.TRAIN_BAD_OPTION, message)
            raise error if recipe is None else recipe.relocated(error, name)


def _check_statistics(settings: Settings, recipe: Recipe | None) -> None:
    """Check that `mean` and `std` are given together."""
    present = [name for name in ("mean", "std") if settings[name] is not None]
    if not present:
        return
    try:
        if len(present) == 1:
            (missing,) = {"mean", "std"} - {*present}
            message = f"{present[0]} is given without {missing}"
            raise NetspecError.simple(codes.TRAIN_BAD_OPTION, message, f"give {missing} too")
        _ = settings.normalize
    except NetspecError as error:
        said = [n for n in present if n not in settings.given]
        raise (
            recipe.relocated(error, said[-1]) if recipe is not None and said else error
        ) from None


def _check_keywords(settings: Settings, recipe: Recipe | None) -> None:
    """Check each keyword argument separately, so that an error points at the one that is wrong."""
    wrong: list[Diagnostic] = []
    for choice in ("optimizer", "schedule", "loss"):
        for option in keywords(choice):
            value = settings[option.name]
            if value is None:
                continue
            try:
                _check_keyword(settings, choice, {option.key: value})
            except NetspecError as error:
                if recipe is None or option.name in settings.given:
                    raise
                wrong += recipe.relocated(error, option.name).diagnostics
    if wrong:
        raise NetspecError(wrong)


def _check_keyword(settings: Settings, choice: str, options: dict[str, Any]) -> None:
    name = settings[choice]
    if choice == "optimizer":
        check_optimizer(name, options)
    elif choice == "loss":
        make_loss(name, **options)
    else:
        make_schedule(name, settings["lr"], settings["epochs"], 1, **options)


def check_arguments(recipe: Recipe, error: NetspecError) -> NetspecError:
    """Convert an error of the net about an argument set by the recipe: it points into the recipe."""
    found = []
    for d in error.diagnostics:
        named = (n for n in recipe.arguments if f"no argument `{n}`" in d.message)
        path = (ARGUMENTS, next(named, ""))
        if d.code == codes.CALL_UNKNOWN_ATTRIBUTE and d.span is None and path in recipe.places.keys:
            span = recipe.places.keys[path]
            d = Diagnostic(codes.RECIPE_KEY, d.message, span, hints=d.hints)
        found.append(d)
    return NetspecError(found)
