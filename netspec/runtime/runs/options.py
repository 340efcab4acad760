"""The table of all options of a training run.

The command line, the schema of a recipe, the record of a run, and what may change when a run is
resumed are all derived from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from netspec.kernels.parallel import MOST_THREADS
from netspec.runtime.data.augment_draws import EDGES
from netspec.runtime.data.augment_draws import KINDS as IN_BATCHES
from netspec.runtime.data.augmentations import (
    MIXES,
    OF_PICTURES,
    OPTIONS_INSTEAD,
    parse_augmentation,
)
from netspec.runtime.data.augmentations import NAMES as CHANGES
from netspec.runtime.data.batches import SAMPLES
from netspec.runtime.data.catalog import NAMES
from netspec.runtime.data.choices import is_number, require
from netspec.runtime.data.dataset import IGNORED
from netspec.runtime.data.input_normalization import KINDS as NORMALIZATIONS
from netspec.runtime.data.input_normalization import check_deviations
from netspec.runtime.data.plain_vocabulary import KINDS as TOKENS
from netspec.runtime.data.views import KINDS as VIEWS
from netspec.runtime.models.history import MONITORS
from netspec.runtime.models.numpy_model import DTYPES
from netspec.runtime.optim.class_weights import BALANCED
from netspec.runtime.optim.losses import LOSSES, SoftmaxCrossEntropy, output_loss
from netspec.runtime.optim.lr_schedules import SCHEDULES
from netspec.runtime.optim.muon import OTHERS, SCALES
from netspec.runtime.optim.optimizers import OPTIMIZERS
from netspec.runtime.runs.option_types import (
    Bool,
    Call,
    Choice,
    CountOrShare,
    Int,
    Kind,
    ListOf,
    Real,
    TableOf,
    Text,
    WordOrFile,
    WordOrList,
)
from netspec.runtime.training.best_weights import KEEP

Group = Literal["data", "training", "run", "PyTorch"]
# What happens to an option when a run is resumed. `fixed`: it must keep its value. `said`: it may
# change, and the change is reported. `free`: it does not affect the result. `forgotten`: it does
# not affect the result and concerns a single command, so it is not stored with the run.
OnResume = Literal["fixed", "said", "free", "forgotten"]


@dataclass(frozen=True)
class Option:
    """An option of a training run.

    Attributes:
        name: Its name in a recipe and, after two dashes, on the command line.
        kind: The type of its values.
        about: A line for `--help`, with the default.
        group: Its group in `--help`.
        default: The default value; None leaves it to the code that reads it.
        of: The choice that it belongs to. If the command line changes that choice, the recipe's
            value of this option is dropped. Options of an optimizer, schedule or loss are its
            keyword arguments.
        keyword: True if it is such a keyword argument.
        recipe: True if a recipe may set it; a machine or a folder concerns only one user.
        on_resume: See `OnResume`.
        check: Raises an error for a value out of range.
        metavar: Its placeholder in a usage line; by default a word for its type.
        instead_of: Options that it replaces. Giving both is an error, and a recipe's values for
            them are dropped if the command line gives this option.
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
    metavar: str | None = None
    instead_of: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Its name as a Python identifier."""
        return self.name.replace("-", "_")


def positive(what: str) -> Callable[[Any], None]:
    """Return a check that a number is more than 0."""

    def check(value: Any) -> None:
        require(is_number(value) and value > 0, f"{what} must be more than 0, not {value!r}")

    return check


def not_negative(what: str) -> Callable[[Any], None]:
    """Return a check that a number is at least 0."""

    def check(value: Any) -> None:
        require(is_number(value) and value >= 0, f"{what} must be at least 0, not {value!r}")

    return check


def _decay(value: Any) -> None:
    require(is_number(value) and 0 < value < 1, f"ema must be between 0 and 1, not {value!r}")


def _augmentation(texts: Any) -> None:
    """Check that each text is a change that there is."""
    parse_augmentation(texts or ())


def _output_losses(texts: Any) -> None:
    """Check that each text names an output with its loss and weight."""
    for text in texts or ():
        output_loss(text, SoftmaxCrossEntropy())


def _factors(table: Any) -> None:
    """Check the numbers that rates or decays are multiplied by."""
    for pattern, value in (table or {}).items():
        require(
            is_number(value) and value >= 0,
            f"the factor of `{pattern}` must be at least 0, not {value!r}",
        )


_DATA = (
    Option("data", Text(), f"{', '.join(NAMES)}, an .npz file with x_train, y_train, x_test,"
           " y_test, a text in a .txt file, a folder with such .npy files, or one of pictures in a folder"
           " for each class (default digits)",
           "data", "digits"),
    Option("data-dir", Text(), "the folder to search first",
           "data", recipe=False, on_resume="free", metavar="DIR"),
    Option("normalize", Choice((*NORMALIZATIONS, "weights")), "how the images are normalised (default"
           " channel, by mean and std of each index of the first axis); unit: divided by 255 or by the"
           " largest magnitude; mean-image: less the mean image; imagenet: the mean and std of ImageNet,"
           " as torchvision's weights expect; weights: as for those that --weights was trained on",
           "data", "channel", on_resume="fixed", instead_of=("mean", "std")),
    Option("mean", ListOf(Real()), "of each channel, for pixels from 0 to 1, such as 0.5,0.5,0.5, or in"
           " the unit of other data; with --std in place of --normalize",
           "data", on_resume="fixed", instead_of=("normalize",)),
    Option("std", ListOf(Real()), "the standard deviation of each channel, likewise",
           "data", on_resume="fixed", check=check_deviations, instead_of=("normalize",)),
    Option("val", CountOrShare(), "hold out the last N training images for validation, or a share of each"
           " class drawn with the seed, such as 0.1",
           "data", 0, of="data", on_resume="fixed"),
    Option("train-limit", Int(1, None), "train on the first N images only",
           "data", of="data", on_resume="fixed"),
    Option("resize", Bool(), "stretch the pictures of a folder to the net's input",
           "data", False, of="data", on_resume="fixed", instead_of=("resize-shorter",)),
    Option("resize-shorter", Int(1, None), "resize them, in proportion, until the shorter side has N"
           " pixels, and crop the centre (torchvision's Resize(N) and CenterCrop)",
           "data", of="data", on_resume="fixed", instead_of=("resize",)),
    Option("ignore-index", Int(-(1 << 15), (1 << 16) - 1), "a label that is neither trained nor counted,"
           " such as 255 at the edges of objects (default -100)",
           "data", IGNORED, of="data", on_resume="fixed", metavar="LABEL"),
    Option("tokens", WordOrFile(TOKENS, ".json"), "what a text is made of: its characters, bytes, or the"
           " tokens of a tokenizer.json (default char)",
           "data", "char", of="data", on_resume="fixed", metavar="TOKENS"),
    Option("augment", ListOf(Call((*CHANGES, *OPTIONS_INSTEAD))),
           "random changes, such as 'flip,mixup(0.2)':"
           f" {', '.join((*IN_BATCHES, *MIXES))}; for torch also {', '.join(OF_PICTURES)}",
           "data", (), of="data", check=_augmentation),
    Option("crop-pad", Int(1, None), "of crop: the pixels that it adds on each side, by which it moves a"
           " picture at most (default 4)", "data", 4, of="augment"),
    Option("crop-edges", Choice(EDGES), "of crop: what these are; mirror: the picture in the mirror"
           " (default black)", "data", "black", of="augment"),
    Option("cutout-size", Int(1, None), "of cutout: the side of its square (default half that of the"
           " picture)", "data", of="augment"),
    Option("tta", ListOf(Choice(VIEWS)), "average the scores of validation and test images over copies,"
           " mirrored and shifted by a pixel: flip,shift", "data", ()),
    Option("sample", Choice(SAMPLES), "once: each image in each epoch (default); balanced: as many, drawn"
           " so that all classes are as likely", "data", "once", of="data", on_resume="fixed"),
)  # fmt: skip


def _default_rates() -> str:
    """Describe the default learning rate of each optimizer."""
    names: dict[float, list[str]] = {}
    for name, optimizer in OPTIMIZERS.items():
        names.setdefault(optimizer.default_lr, []).append(name)
    return "; ".join(f"{rate:g} for {', '.join(which)}" for rate, which in names.items())


_TRAINING = (
    Option("epochs", Int(1, None), "(default 10)", default=10),
    Option("batch", Int(1, None), "images in a step, over all processes (default 64)",
           default=64, on_resume="fixed"),
    Option("optimizer", Choice(tuple(OPTIMIZERS)), "(default adam)",
           default="adam", on_resume="fixed"),
    Option("lr", Real(), f"learning rate (default {_default_rates()})",
           of="optimizer", check=positive("the learning rate"), metavar="RATE"),
    Option("momentum", Real(), "of momentum and nesterov (default 0.9), rmsprop (default 0) and muon"
           " (default 0.95)", of="optimizer", keyword=True),
    Option("dampening", Real(), "of momentum: the share of each gradient that its average leaves out"
           " (default 0)", of="optimizer", keyword=True),
    Option("centered", Bool(), "of rmsprop: divide by the deviation of the gradient",
           of="optimizer", keyword=True),
    Option("amsgrad", Bool(), "of adam and adamw: keep the largest average of the squares",
           of="optimizer", keyword=True),
    Option("alpha", Real(), "of rmsprop: the decay of its average (default 0.99)",
           of="optimizer", keyword=True),
    Option("beta1", Real(), "of adam, adamw, lion, lamb and muon (default 0.9)",
           of="optimizer", keyword=True),
    Option("beta2", Real(), "of adam, adamw, lamb and muon (default 0.999), and of lion (default 0.99)",
           of="optimizer", keyword=True),
    Option("eps", Real(), "of rmsprop, adam, adamw and muon (default 1e-8), and of lamb (default 1e-6)",
           of="optimizer", keyword=True),
    Option("weight-decay", Real(), "decoupled weight decay of adamw, lamb and muon (default 0.01) and"
           " lion (default 0)", of="optimizer", keyword=True),
    Option("scale", Choice(tuple(SCALES)), "of muon: what the rate of a matrix is multiplied by (default"
           " match-rms-adamw, with which rates are adamw's)", of="optimizer", keyword=True),
    Option("ns-steps", Int(1, 99), "of muon: steps of the iteration that makes a matrix orthogonal"
           " (default 5)", of="optimizer", keyword=True),
    Option("ns-coefficients", ListOf(Real()), "of muon: its three coefficients",
           of="optimizer", keyword=True),
    Option("fixed-norm", Bool(), "of muon: scale a matrix of A rows to the norm sqrt(A) before a step,"
           " for layers in front of a norm", of="optimizer", keyword=True),
    Option("plain", ListOf(Text()), "of muon: matrices whose names match, such as 'head.*', have the rule"
           " of what is no matrix", of="optimizer", keyword=True, metavar="PATTERNS"),
    Option("others", Choice(OTHERS), "of muon: the rule of what is no matrix (default adamw)",
           of="optimizer", keyword=True),
    Option("others-momentum", Real(), "of muon: the momentum of others = nesterov (default 0.9)",
           of="optimizer", keyword=True),
    Option("rates", TableOf(Real()), "multiply the rate of parameters whose names match, such as"
           " 'head.*=10'", check=_factors, on_resume="fixed"),
    Option("decays", TableOf(Real()), "multiply their weight decay and l2 (otherwise 1 for weights, 0 for"
           " biases and norms), such as 'embed.*=0'", check=_factors, on_resume="fixed"),
    Option("schedule", Choice(tuple(SCHEDULES)), "how the rate changes (default cosine)",
           default="cosine"),
    Option("milestones", ListOf(Int(0, None)), "epochs after which the multi-step schedule lowers the"
           " rate", of="schedule", keyword=True),
    Option("every", Int(1, None), "epochs between two steps of the step schedule",
           of="schedule", keyword=True),
    Option("gamma", Real(), "the factor of each step of the schedule",
           of="schedule", keyword=True, metavar="G"),
    Option("patience", Int(0, None), "epochs without a better one before the plateau schedule lowers the"
           " rate (default 5)", of="schedule", keyword=True),
    Option("cycle", Int(1, None), "epochs in a cycle of the schedules cosine-restarts and cyclic (default"
           " a third of the run)", of="schedule", keyword=True),
    Option("multiply", Int(1, None), "each cycle of cosine-restarts takes N times as long as the one"
           " before it (default 1)", of="schedule", keyword=True),
    Option("power", Real(), "of the polynomial schedule (default 2)", of="schedule", keyword=True),
    Option("rise", Real(), "the share of the steps in which the rate of one-cycle rises (default 0.3)",
           of="schedule", keyword=True),
    Option("start-divisor", Real(), "one-cycle starts at the rate divided by this (default 25)",
           of="schedule", keyword=True),
    Option("final-divisor", Real(), "and ends at its first rate divided by this (default 10000)",
           of="schedule", keyword=True),
    Option("minimum", Real(), "the lowest rate of cosine, cosine-restarts and linear (default 0), and of"
           " cyclic (default a tenth of the rate)",
           of="schedule", keyword=True, metavar="RATE"),
    Option("warmup", Int(0, None), "raise the rate linearly over the first N epochs; the schedule"
           " goes over those that are left", default=0),
    Option("loss", Choice(tuple(LOSSES)), "(default softmax, the cross-entropy); focal: looks at hard"
           " targets; mse, smooth-l1: errors of the scores; bce: of answers of 0 and 1; ctc: of sequences"
           " without places; ntxent: of two views of each image; value: the output",
           default="softmax", on_resume="fixed"),
    Option("label-smoothing", Real(), "label smoothing: give the other classes E of the softmax's target",
           of="loss", keyword=True, metavar="E"),
    Option("class-weights", WordOrList((BALANCED,), Real()), "of softmax and focal: how much each class"
           " counts, such as 1,2.5,1; balanced: all as much", of="loss", keyword=True,
           on_resume="fixed", metavar="WEIGHTS"),
    Option("focal-gamma", Real(), "of focal: its exponent (default 2)", of="loss", keyword=True,
           metavar="G"),
    Option("temperature", Real(), "of ntxent: what its cosines are divided by (default 0.5)",
           of="loss", keyword=True, metavar="T"),
    Option("delta", Real(), "the margin of the svm (default 1)", of="loss", keyword=True),
    Option("beta", Real(), "of smooth-l1: the error from which it is no longer squared (default 1)",
           of="loss", keyword=True, metavar="B"),
    Option("also", ListOf(Text()), "train other outputs too: NAME=WEIGHT or NAME=LOSS*WEIGHT,...",
           on_resume="fixed", check=_output_losses, metavar="OUTPUTS"),
    Option("l2", Real(), "add R/2 sum(W^2) over the weights to the loss",
           default=0.0, check=not_negative("l2")),
    Option("clip-norm", Real(), "clip gradients to this norm",
           check=positive("clip_norm")),
    Option("accumulate", Int(1, None), "compute the images of a step in N parts, one after the other,"
           " which takes less memory", default=1, on_resume="fixed"),
    Option("ema", Real(), "keep and measure an average of the weights over the steps, with this decay,"
           " such as 0.999", check=_decay, on_resume="fixed", metavar="D"),
    Option("dtype", Choice(tuple(DTYPES)), "(default float32)",
           default="float32", on_resume="fixed"),
    Option("seed", Int(0, None), "equal seeds give equal weights, bit for bit (default 0)",
           default=0, on_resume="fixed"),
    Option("threads", Int(1, MOST_THREADS), "threads for the arithmetic (default: the libraries')",
           recipe=False),
    Option("weights", Text(), "start from these weights, such as a safetensors file or PyTorch's .pth;"
           " tensors that match by name and shape are loaded",
           recipe=False, on_resume="fixed", metavar="FILE", instead_of=("whiten",)),
    Option("rename", ListOf(Text(), repeated=True), "give tensors of --weights whose whole names match a"
           r" regular expression another name, such as 'encoder\.(.*)=\1'; may be repeated",
           default=(), of="weights", recipe=False, on_resume="fixed", metavar="PATTERN=NAME"),
    Option("whiten", Text(), "a convolution of the pictures starts with filters that whiten those of the"
           " data", of="data", on_resume="fixed", metavar="LAYER", instead_of=("weights",)),
    Option("freeze", ListOf(Text(), repeated=True), "do not train the parameters whose names match,"
           " such as 'layer1.*'; may be repeated",
           default=(), on_resume="fixed", metavar="PATTERN"),
    Option("train-only", ListOf(Text(), repeated=True), "train the parameters alone whose names match,"
           " such as 'head.*', and freeze the others; may be repeated",
           default=(), on_resume="fixed", metavar="PATTERN"),
    Option("keep", Choice(KEEP), "the weights to save: of the last step (default), or of the best epoch"
           " in validation, see --monitor", default="last", of="data", on_resume="fixed"),
)  # fmt: skip

_RUN = (
    Option("out", Text(), "the folder of the run (default runs/NET-TIME); FILE.safetensors"
           " saves the weights alone, none nothing",
           "run", recipe=False, on_resume="fixed", metavar="DIR"),
    Option("checkpoint-every", Int(1, None), "save the state of the run every N steps too, not only"
           " after each epoch", "run", on_resume="free"),
    Option("eval-every", Int(0, None), "epochs between two measurements of accuracy and loss on training"
           " and validation images; 0: at the end alone (default 1)", "run", 1),
    Option("test-every", Int(0, None), "epochs between two on test images (default 0: once, at the end,"
           " with the weights that are saved)", "run", 0, on_resume="free"),
    Option("max-seconds", Real(), "end after the step in which training has taken so many"
           " seconds, and save as at the end; --resume goes on for as long again", "run",
           check=positive("max_seconds"), on_resume="free", metavar="S"),
    Option("early-stopping", Int(1, None), "end when the accuracy on validation images (without these,"
           " the loss), or what --monitor says, was not better in the last N measurements", "run",
           of="data"),
    Option("monitor", Choice(tuple(MONITORS)), "what early stopping, --keep best and the schedule plateau"
           " follow: the accuracy on validation images (default val), their loss or macro F1", "run",
           "val", of="data", on_resume="fixed"),
    Option("per-class", Bool(), "write precision, recall and F1 of each class on validation and test"
           " images to metrics.jsonl too", "run", False, on_resume="free"),
    Option("log-every", Int(1, None), "steps in a line of metrics.jsonl (default 50), and off a terminal"
           " a line of output for each", "run", on_resume="free"),
    Option("tensorboard", Bool(), "write event files for TensorBoard too", "run",
           False, recipe=False, on_resume="free"),
    Option("track", ListOf(Choice(("mlflow", "wandb"))), "tell MLflow or Weights & Biases the numbers of"
           " metrics.jsonl too, by their own clients", "run",
           (), recipe=False, on_resume="free", metavar="mlflow,wandb"),
    Option("quiet", Bool(), "show nothing but warnings, errors and the result", "run",
           False, recipe=False, on_resume="forgotten"),
)  # fmt: skip

_TORCH = (
    Option("device", Choice(("auto", "cpu", "cuda")), "(default auto: a GPU if there is one)",
           "PyTorch", "auto", recipe=False),
    Option("workers", Int(0, None), "decode the pictures of a folder when they are needed, in N processes"
           " (0: in this one)", "PyTorch", recipe=False, on_resume="free"),
    Option("sync-batch-norm", Bool(), "batch norm over the images of all processes, not those of each",
           "PyTorch", False, on_resume="fixed"),
    Option("amp", Choice(("bf16", "fp16", "off")), "mixed precision (default off)",
           "PyTorch", "off", recipe=False),
    Option("compile", Bool(), "use torch.compile", "PyTorch", False, recipe=False),
    Option("compile-mode", Choice(("default", "reduce-overhead", "max-autotune")), "of --compile:"
           " reduce-overhead records CUDA graphs, max-autotune tries kernels too (default default)",
           "PyTorch", "default", recipe=False),
    Option("fused", Choice(("auto", "on", "off")), "one kernel for the optimizer's step, which sgd and"
           " adam have (default auto: on a GPU)", "PyTorch", "auto", recipe=False),
    Option("channels-last", Bool(), "store pictures with the channels last, faster on GPUs",
           "PyTorch", False, recipe=False),
)  # fmt: skip

OPTIONS: dict[str, Option] = {o.name: o for o in (*_DATA, *_TRAINING, *_RUN, *_TORCH)}
# What a run can be computed by.
TARGETS = ("numpy", "c", "torch")
# The default number of steps in one line of the metrics.
LOG_EVERY = 50


def keywords(choice: str) -> list[Option]:
    """Return the options that are keyword arguments of an `optimizer`, a `schedule` or a `loss`."""
    return [option for option in OPTIONS.values() if option.of == choice and option.keyword]
