"""The one table of what can be chosen about a training run.

The command line, the schema of a recipe, what a run remembers and what may change when it goes on
are all read from here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from netspec.runtime.data.augment_draws import KINDS as AUGMENTATIONS
from netspec.runtime.data.catalog import NAMES
from netspec.runtime.data.choices import is_number, require
from netspec.runtime.data.input_normalization import KINDS as NORMALIZATIONS
from netspec.runtime.models.numpy_model import DTYPES
from netspec.runtime.optim.losses import LOSSES
from netspec.runtime.optim.lr_schedules import SCHEDULES
from netspec.runtime.optim.optimizers import OPTIMIZERS
from netspec.runtime.runs.option_types import Choice, Flag, Kind, ListOf, Number, Text, Whole
from netspec.runtime.training.best_weights import KEEP

Group = Literal["data", "training", "run", "PyTorch"]
# What happens to an option when a run goes on: it must be the run's, it may differ and is said to,
# or it has no influence on the result.
OnResume = Literal["fixed", "said", "free"]


@dataclass(frozen=True)
class Option:
    """Something to choose.

    Attributes:
        name: In a recipe and, behind two dashes, on the command line.
        kind: What values it takes.
        about: A line for `--help`, with the default.
        group: Where `--help` shows it.
        default: Its value where nobody says anything; None leaves it to what reads it.
        of: The choice that it belongs to. One that the command line changes takes what the recipe
            says of this along with it; options of an optimizer, schedule or loss are its keyword
            arguments.
        keyword: Whether it is such a keyword argument.
        recipe: Whether a recipe may say it: machines and folders are nobody else's.
        on_resume: See `OnResume`.
        check: Raises for a value out of range.
    """

    name: str
    kind: Kind
    about: str
    group: Group = "training"
    default: Any = None
    of: str = ""
    keyword: bool = False
    recipe: bool = True
    on_resume: OnResume = "said"
    check: Callable[[Any], None] | None = None

    @property
    def key(self) -> str:
        """Its name as Python has it."""
        return self.name.replace("-", "_")


def positive(what: str) -> Callable[[Any], None]:
    """A check that a number is more than 0."""

    def check(value: Any) -> None:
        require(is_number(value) and value > 0, f"{what} must be more than 0, not {value!r}")

    return check


def not_negative(what: str) -> Callable[[Any], None]:
    """A check that a number is at least 0."""

    def check(value: Any) -> None:
        require(is_number(value) and value >= 0, f"{what} must be at least 0, not {value!r}")

    return check


_DATA = (
    Option("data", Text(), f"{', '.join(NAMES)}, an .npz file with x_train, y_train, x_test,"
           " y_test, a folder with such .npy files, or one with a folder of pictures for each class"
           " (default digits)",
           "data", "digits"),
    Option("data-dir", Text("DIR"), "where to look for it first",
           "data", recipe=False, on_resume="free"),
    Option("normalize", Choice((*NORMALIZATIONS, "weights")), "what is done to the images (default"
           " channel); weights: what was done for those of --weights",
           "data", "channel", on_resume="fixed"),
    Option("val", Whole(0), "hold out the last N training images for validation",
           "data", 0, of="data", on_resume="fixed"),
    Option("train-limit", Whole(1), "train on the first N images only",
           "data", of="data", on_resume="fixed"),
    Option("resize", Flag(), "stretch the pictures of a folder to the net's input",
           "data", False, of="data", on_resume="fixed"),
    Option("augment", ListOf(Choice(AUGMENTATIONS)), f"random changes: {','.join(AUGMENTATIONS)}",
           "data", (), of="data"),
)  # fmt: skip

_TRAINING = (
    Option("epochs", Whole(1), "(default 10)", default=10),
    Option("batch", Whole(1), "images in a step, over all processes (default 64)",
           default=64, on_resume="fixed"),
    Option("optimizer", Choice(tuple(OPTIMIZERS)), "(default adam)",
           default="adam", on_resume="fixed"),
    Option("lr", Number("RATE"), "learning rate (default: the optimizer's)",
           of="optimizer", check=positive("the learning rate")),
    Option("momentum", Number(), "of momentum and nesterov (default 0.9)",
           of="optimizer", keyword=True),
    Option("alpha", Number(), "of rmsprop: how much of its average stays (default 0.99)",
           of="optimizer", keyword=True),
    Option("beta1", Number(), "of adam and adamw (default 0.9)", of="optimizer", keyword=True),
    Option("beta2", Number(), "of adam and adamw (default 0.999)", of="optimizer", keyword=True),
    Option("eps", Number(), "of rmsprop, adam and adamw (default 1e-8)",
           of="optimizer", keyword=True),
    Option("weight-decay", Number(), "of adamw, beside the loss (default 0.01)",
           of="optimizer", keyword=True),
    Option("schedule", Choice(tuple(SCHEDULES)), "how the rate changes (default cosine)",
           default="cosine"),
    Option("milestones", ListOf(Whole(0)), "epochs after which the multi-step schedule lowers the"
           " rate", of="schedule", keyword=True),
    Option("every", Whole(1), "epochs between two steps of the step schedule",
           of="schedule", keyword=True),
    Option("gamma", Number("G"), "what a step of the schedule multiplies the rate by",
           of="schedule", keyword=True),
    Option("minimum", Number("RATE"), "what the cosine ends at (default 0)",
           of="schedule", keyword=True),
    Option("warmup", Whole(0), "let the rate rise over the first N epochs", default=0),
    Option("loss", Choice(tuple(LOSSES)), "(default softmax, the cross-entropy)",
           default="softmax", on_resume="fixed"),
    Option("label-smoothing", Number("E"), "give the other classes E of the softmax's target",
           of="loss", keyword=True),
    Option("delta", Number(), "the margin of the svm (default 1)", of="loss", keyword=True),
    Option("l2", Number(), "add R/2 sum(W^2) over the weights to the loss",
           default=0.0, check=not_negative("l2")),
    Option("clip-norm", Number(), "scale longer gradients down to this norm",
           check=positive("clip_norm")),
    Option("dtype", Choice(tuple(DTYPES)), "(default float32)",
           default="float32", on_resume="fixed"),
    Option("seed", Whole(0), "equal seeds give equal weights, bit for bit (default 0)",
           default=0, on_resume="fixed"),
    Option("threads", Whole(1), "threads for the arithmetic (default: the libraries')",
           recipe=False),
    Option("weights", Text("FILE"), "start from these, a safetensors file or PyTorch's .pth: what"
           " matches by name and shape is loaded", recipe=False, on_resume="fixed"),
    Option("freeze", ListOf(Text("PATTERN"), repeated=True, metavar="PATTERN"), "leave the"
           " parameters alone whose names match, such as 'layer1.*'; may be repeated",
           default=(), on_resume="fixed"),
    Option("keep", Choice(KEEP), "the weights to save: of the last step (default), or of the epoch"
           " with the best validation accuracy", default="last", of="data", on_resume="fixed"),
)  # fmt: skip

_RUN = (
    Option("out", Text("DIR"), "the folder of the run (default runs/NET-TIME); FILE.safetensors"
           " saves the weights alone, none nothing", "run", recipe=False, on_resume="fixed"),
    Option("checkpoint-every", Whole(1), "save the state of the run every N steps too, not only"
           " after each epoch", "run", on_resume="free"),
    Option("log-every", Whole(1), "steps in a line of metrics.jsonl (default 50), and off a terminal"
           " a line of output for each", "run", on_resume="free"),
    Option("tensorboard", Flag(), "write event files for TensorBoard too", "run",
           False, recipe=False, on_resume="free"),
    Option("quiet", Flag(), "show nothing but warnings, errors and the result", "run",
           False, recipe=False, on_resume="free"),
)  # fmt: skip

_TORCH = (
    Option("device", Choice(("auto", "cpu", "cuda")), "(default auto: a GPU where there is one)",
           "PyTorch", "auto", recipe=False),
    Option("amp", Choice(("bf16", "fp16", "off")), "mixed precision (default off)",
           "PyTorch", "off", recipe=False),
    Option("compile", Flag(), "use torch.compile", "PyTorch", False, recipe=False),
    Option("channels-last", Flag(), "store pictures with the channels last, faster on GPUs",
           "PyTorch", False, recipe=False),
)  # fmt: skip

OPTIONS: dict[str, Option] = {o.name: o for o in (*_DATA, *_TRAINING, *_RUN, *_TORCH)}
# A line of metrics holds the mean of so many steps, where nobody says otherwise.
LOG_EVERY = 50


def keywords(choice: str) -> list[Option]:
    """The options that are keyword arguments of an `optimizer`, a `schedule` or a `loss`."""
    return [option for option in OPTIONS.values() if option.of == choice and option.keyword]
