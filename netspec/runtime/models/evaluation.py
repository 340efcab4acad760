"""How good a trained net is: loss, accuracy, and which classes it confuses."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netspec import codes
from netspec.compiler.ir.graph import Graph, Shape
from netspec.diagnostics import NetspecError
from netspec.runtime.data.choices import check_name, kind_of
from netspec.runtime.data.dataset import IGNORED, Dataset
from netspec.runtime.data.input_normalization import (
    InputNormalization,
    NormalizationChoice,
    fit_normalization,
    images_to_fit,
    no_normalization,
)
from netspec.runtime.data.samples import by_input, number_types, packed
from netspec.runtime.data.views import PLAIN, View, mean_scores, views
from netspec.runtime.engine.floating_point import as_ieee
from netspec.runtime.models.classifier_shape import (
    gives_probabilities,
    require_sizes,
    require_targets,
    require_views,
    scores_output,
    scores_shape,
)
from netspec.runtime.models.confusions import MOST_CLASSES, Confusions
from netspec.runtime.models.inputs import Inputs, whole_fields
from netspec.runtime.models.odd_pixels import pixel_doubt
from netspec.runtime.optim.class_counts import OF_A_CLASS, ClassCounts, known
from netspec.runtime.optim.losses import (
    LOSSES_OF_CLASSES,
    AnyLoss,
    Loss,
    SoftmaxCrossEntropy,
    chosen_loss,
)
from netspec.runtime.optim.targets import BEST, OF_CLASSES, among_best, class_axis, targets_of
from netspec.runtime.weights.data_facts import (
    TrainedOn,
    class_names,
    complete,
    has_names,
    image_type,
    labels_by_name,
    require_same_pixels,
)
from netspec.text import html
from netspec.text.printable import printable_lines
from netspec.text.table import Column, name_column, table_lines

BATCH = 128
# Of a net with many scores for each image, such as one for each token of a long text, fewer images are
# evaluated at a time: as many as have this many numbers, at least one.
_MOST_SCORES = 1 << 25
# A confusion matrix with more classes is too large to read, but the most frequent mistakes are not.
_LARGEST_MATRIX = 20
_MISTAKES = 10
# What targets belong to, by the number of their axes.
_PLACES = {1: "images", 2: "steps", 3: "pixels"}

Array = NDArray[Any]


class Scorer(Protocol):
    """A model of either backend."""

    @property
    def graph(self) -> Graph:
        """The net."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        ...

    def forward(self, x: ArrayLike | Mapping[str, ArrayLike], /) -> Any:
        """Return the outputs of a batch in evaluation mode; a dict by name if there are several."""
        ...


class Trained(Scorer, Protocol):
    """A model that may know what its weights were trained on."""

    trained_on: TrainedOn | None

    @property
    def classes(self) -> int:
        """The number of classes that each image, or each place in it, has scores for."""
        ...


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """The results for a set of images.

    Attributes:
        names: the names of the classes.
        loss: the mean over the targets that count, without an L2 term.
        confusions: how many targets of each class were taken for which.
        what: what the targets are: `images`, or the places in them.
        perplexity: exp of the mean cross-entropy, for scores of a sequence.
        top5: the share whose label is among the five highest scores; None for up to five classes.
        not_finite: how many images have scores without a highest one, NaN or infinity: what is measured
            of them means nothing.
    """

    names: tuple[str, ...]
    loss: float
    confusions: Confusions
    what: str = "images"
    perplexity: float | None = None
    top5: float | None = None
    not_finite: int = 0

    @property
    def images(self) -> int:
        """The number of images, or of places that count."""
        return self.confusions.total

    @property
    def confusion(self) -> NDArray[np.int64]:
        """(K, K), how many targets of class i (row) were taken for class j (column).

        Raises:
            NetspecError: `train/bad-option` for more than 4,096 classes.
        """
        return self.confusions.matrix()

    @property
    def _right(self) -> int:
        return int(self.confusions.right.sum())

    @property
    def accuracy(self) -> float:
        """The share of images whose highest score is at their label."""
        return self._right / self.images

    @cached_property
    def counts(self) -> ClassCounts:
        """How many targets of each class were found."""
        return self.confusions.by_class()

    @property
    def support(self) -> NDArray[np.int64]:
        """(K,), the number of images of each class."""
        return self.counts.wanted

    @property
    def recall(self) -> NDArray[np.float64]:
        """See `ClassCounts`."""
        return self.counts.recall

    @property
    def precision(self) -> NDArray[np.float64]:
        """See `ClassCounts`."""
        return self.counts.precision

    @property
    def f1(self) -> NDArray[np.float64]:
        """See `ClassCounts`."""
        return self.counts.f1

    @property
    def macro_f1(self) -> float:
        """See `ClassCounts`."""
        return self.counts.macro_f1

    def _rows(self) -> Iterator[tuple[str, list[float], int]]:
        """Yield the name, precision, recall and F1, and support of each class; of those that occur, if
        there are more than fit a table.
        """
        support, columns = self.support, (self.precision, self.recall, self.f1)
        occurs = self.counts.occurs()
        for k, name in enumerate(self.names):
            if occurs[k] or len(self.names) <= MOST_CLASSES:
                yield name, [float(column[k]) for column in columns], int(support[k])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dict, for JSON."""
        is_small = len(self.names) <= MOST_CLASSES
        perplexity = {} if self.perplexity is None else {"perplexity": known(self.perplexity)}
        return {
            self.what: self.images,
            **perplexity,
            "accuracy": self.accuracy,
            **({} if self.top5 is None else {"top5": self.top5}),
            "macro_f1": self.macro_f1,
            "loss": self.loss if np.isfinite(self.loss) else None,
            "not_finite": self.not_finite,
            "classes": self.counts.to_list(self.names, every=is_small),
            "confusion": self.confusion.tolist() if is_small else None,
        }

    def __str__(self) -> str:
        return printable_lines(self.text())

    def __repr__(self) -> str:
        return f"<netspec.Evaluation: accuracy {self.accuracy:.2%} of {self.images:,} {self.what}>"

    def _repr_html_(self) -> str:
        rows = [[name, *map(_percent, shares), f"{n:,}"] for name, shares, n in self._rows()]
        classes = ""
        if len(self.names) <= MOST_CLASSES:
            classes = html.table(["class", *OF_A_CLASS, self.what], rows)
        head = f"<p>accuracy {self.accuracy:.2%}, loss {self.loss:.4f}</p>"
        if len(self.names) > _LARGEST_MATRIX:
            mistakes = "\n".join(self._mistakes())
            return (
                head + classes + html.folded("most frequent mistakes", html.preformatted(mistakes))
            )
        matrix = [
            [name, *row] for name, row in zip(self.names, self.confusion.tolist(), strict=True)
        ]
        shown = html.table(["", *self.names], matrix)
        return head + classes + html.folded("rows: true class, columns: predicted class", shown)

    def text(self, width: int | None = None) -> str:
        """Return everything as text; names are shortened to fit the tables to `width`."""
        return "\n".join(self._lines(width))

    def _lines(self, width: int | None) -> Iterator[str]:
        yield f"accuracy  {self.accuracy:.2%} ({self._right:,} of {self.images:,})"
        if self.top5 is not None:
            yield f"top-5     {self.top5:.2%}"
        yield f"macro F1  {self.macro_f1:.2%}"
        yield f"loss      {self.loss:.4f}"
        if self.perplexity is not None:
            yield f"perplexity {self.perplexity:.4g}"
        yield ""
        if len(self.names) <= MOST_CLASSES:
            columns = [name_column("class"), *map(Column, (*OF_A_CLASS, self.what))]
            rows = [[name, *map(_percent, shares), f"{n:,}"] for name, shares, n in self._rows()]
            yield from table_lines(columns, rows, width=width)
            yield ""
        if len(self.names) <= _LARGEST_MATRIX:
            yield "rows: true class, columns: predicted class"
            yield from self._matrix(width)
        else:
            yield "most frequent mistakes"
            yield from self._mistakes()

    def _matrix(self, width: int | None) -> Iterator[str]:
        """Format the confusion matrix; if the names do not fit side by side, columns have numbers."""
        body = [[f"{count}" for count in row] for row in self.confusion]
        rows = [[n, *r] for n, r in zip(self.names, body, strict=True)]
        whole = [*table_lines([name_column(""), *map(Column, self.names)], rows)]
        if width is None or max(map(len, whole)) <= width:
            yield from whole
            return
        columns = [Column(""), name_column(""), *(Column(f"{i}") for i in range(len(body)))]
        rows = [[f"{i}", *row] for i, row in enumerate(rows)]
        yield from table_lines(columns, rows, width=width)

    def _mistakes(self) -> Iterator[str]:
        for count, label, taken in self.confusions.mistakes(_MISTAKES):
            yield f"{count:>6,}  {self.names[label]} taken for {self.names[taken]}"


def evaluated_at_a_time(graph: Graph) -> int:
    """Return how many images of a net of known sizes are evaluated at a time."""
    return max(1, min(BATCH, _MOST_SCORES // math.prod(scores_shape(graph))))


def evaluate(
    model: Scorer,
    x: Array,
    y: NDArray[np.int64],
    normalization: InputNormalization,
    names: tuple[str, ...],
    *,
    loss: Loss | None = None,
    batch: int | None = None,
    of: Sequence[View] = PLAIN,
    advance: Callable[[int], object] = lambda images: None,  # noqa: ARG005
) -> Evaluation:
    """Evaluate a model on images, in evaluation mode.

    Args:
        model: a model of either backend.
        x: (N, C, H, W) or (N, F), as stored; N at least 1.
        y: labels (N,), or (N, ...) with one for each place of a sequence or map.
        normalization: the normalization that the model was trained with.
        names: the names of the classes, one for each score.
        loss: the loss; by default the cross-entropy of the softmax.
        batch: the number of images at a time; by default 128, or fewer if there are many scores.
        of: the views of the pictures over which scores are averaged.
        advance: called with the number of images of each batch.
    """
    objective = loss or SoftmaxCrossEntropy()
    confusions = Confusions.none(len(names))
    kind = targets_of(objective) or OF_CLASSES
    total, weighed, counted, among, lost = 0.0, 0.0, 0, 0, 0
    batch = batch or evaluated_at_a_time(model.graph)
    for start in range(0, len(x), batch):
        part = slice(start, start + batch)
        score = partial(scores, model)
        found = mean_scores(score, x[part], normalization, model.dtype, of)
        with as_ieee():
            kept = y[part] != IGNORED
            weight = float(kind.counts(y[part]).sum())
            total += objective.value(found, y[part]) * weight
        axis = class_axis(found.ndim)
        best = found.argmax(axis=axis)
        lost += not_finite(found.max(axis=axis))
        among += int(among_best(found, y[part])[kept].sum())
        confusions += Confusions.counted(len(names), y[part][kept], best[kept])
        weighed, counted = weighed + weight, counted + int(kept.sum())
        advance(len(found))
    mean = total / (weighed or 1)
    sequences = y.ndim == 2 and isinstance(objective, SoftmaxCrossEntropy)
    what = _PLACES.get(y.ndim, "places")
    perplexity = float(np.exp(mean)) if sequences else None
    top5 = among / max(1, counted) if len(names) > BEST else None
    return Evaluation(names, mean, confusions, what, perplexity, top5, lost)


def not_finite(values: Array) -> int:
    """Return how many images (N, ...) have values that are NaN or infinite."""
    return int((~np.isfinite(values)).reshape(len(values), -1).any(axis=1).sum())


def about_not_finite(lost: int, images: int) -> str | None:
    """Return a warning of images whose scores are not finite; None if there are none."""
    if not lost:
        return None
    return (
        f"the scores of {lost:,} of {images:,} images are not finite, so what is measured means nothing:"
        " the weights are damaged, or the images are not what the net was trained on"
    )


# How the images that are given are to be normalized; None for what the weights were trained with.
Normalize = NormalizationChoice | None


def evaluate_part(
    model: Trained,
    data: Dataset | tuple[ArrayLike, ArrayLike],
    part: str = "test",
    *,
    loss: AnyLoss = "softmax",
    normalize: Normalize = None,
    tta: Sequence[str] = (),
) -> Evaluation:
    """Evaluate a model on the test or the training images of a data set.

    Args:
        model: a model of either backend.
        data: the data set; or a pair of images and labels, which are its test images.
        part: `test` or `train`.
        loss: a loss over classes, its name, or a function.
        normalize: as for `netspec.fit`, fitted to the training images; by default what the weights
            were trained with.
        tta: some of `flip`, `shift`: average the scores over mirrored and shifted copies.

    Raises:
        NetspecError: `data/shape` if data and model do not fit, `data/missing-file` for a part
            without images, `weights/no-normalization`, `train/bad-option`.
    """
    data = _data_set(data, model)
    check_name("part", part, ("test", "train"))
    if isinstance(loss, str):
        check_name("loss", loss, LOSSES_OF_CLASSES)
    loss = chosen_loss(loss)
    require_sizes(model.graph)
    data = data.fit_to_inputs(model.graph.inputs)
    require_targets(model.graph, data, targets_of(loss) or OF_CLASSES)
    x, y = (data.x_test, data.y_test) if part == "test" else (data.x_train, data.y_train)
    if not len(x):
        raise NetspecError.simple(codes.DATA_MISSING_FILE, f"{data.name} has no {part} images")
    about = model.trained_on.about if model.trained_on else {}
    if normalize is None:
        require_same_pixels(data.name, number_types(x), image_type(about))
        _warn_of_pixels(model, x)
    elif not isinstance(normalize, InputNormalization):
        images = images_to_fit(normalize, data.x_train, data.x_test)
        normalize = _fitted(model, normalize, images)
    y = labels_by_name(data, y, about)
    names = (
        class_names(about, model.classes)
        if has_names(about)
        else complete(data.class_names, model.classes)
    )
    require_views(tta, data, model.graph)
    known = _known_normalization(model, normalize, x)
    found = evaluate(model, x, y, known, names, loss=loss, of=views(tta))
    if doubt := about_not_finite(found.not_finite, len(x)):
        warnings.warn(doubt, UserWarning, stacklevel=3)
    return found


def _data_set(data: object, model: Trained) -> Dataset:
    """Return the data that are given; a pair of images and labels as its test images.

    Raises:
        NetspecError: `train/bad-option` for anything else, with what to write; `data/shape`.
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, tuple) and len(data) == 2:
        x, y = data
        return Dataset("the pair", None, None, x, y, model.classes)  # type: ignore[arg-type]
    hint = "images and labels are one argument, a pair: evaluate((x, y))"
    if isinstance(data, str):
        hint = f"load it: netspec.load_data({data!r})"
    message = f"evaluate takes a netspec.Dataset or a pair (images, labels), not {kind_of(data)}"
    raise NetspecError.simple(codes.TRAIN_BAD_OPTION, message, hint)


def predicted(
    model: Trained, images: ArrayLike | Mapping[str, ArrayLike], normalize: Normalize = None
) -> NDArray[np.int64]:
    """Return the class with the highest score of each image, or of each place in it.

    Args:
        model: a model of either backend.
        images: (N, ...), as stored: they are normalized as those that the weights were trained on;
            a mapping of such arrays for a net with several inputs.
        normalize: how else to normalize them: `none`, or a `Normalization`.

    Returns:
        (N,) for scores (N, K), (N, T) for those of sequences, (N, H, W) for those of maps.

    Raises:
        NetspecError: `model/input-shape`, `model/input-type`, `data/shape`, `model/not-finite`,
            `weights/no-normalization`, `train/bad-option`.
    """
    x = _samples(model, images)
    if normalize is None and model.trained_on is not None:
        require_same_pixels("the array", number_types(x), image_type(model.trained_on.about))
        _warn_of_pixels(model, x)
    if normalize is not None and not isinstance(normalize, InputNormalization):
        normalize = _fitted(model, normalize, x)
    normalization = _known_normalization(model, normalize, x)
    best = []
    batch = evaluated_at_a_time(model.graph)
    for start in range(0, len(x), batch):
        found = scores(model, normalization.apply(x[start : start + batch], model.dtype))
        _require_finite(found)
        best.append(found.argmax(axis=class_axis(found.ndim)))
    return np.concatenate(best)


def _samples(model: Trained, images: ArrayLike | Mapping[str, ArrayLike]) -> Array:
    """Return samples as they are normalized: one array, with a field for each of several inputs.

    Raises:
        NetspecError: `model/inputs` and its like, see `Inputs.check`.
    """
    inputs = Inputs(model.graph, model.dtype)
    if isinstance(images, Mapping):
        inputs.check(images)
        return packed("the samples", "given", images)
    x = np.asarray(images)
    wanted = tuple(model.graph.inputs.values())
    if x.ndim and wanted == ((math.prod(x.shape[1:]),),):
        x = x.reshape(len(x), *wanted[0])  # pictures for a net that takes them flattened
    inputs.check(x)
    return x


def _fitted(
    model: Scorer, kind: str | tuple[Sequence[float], Sequence[float]], x: Array
) -> InputNormalization:
    """Return a normalization fitted to samples, of the inputs that are not whole numbers."""
    return fit_normalization(kind, x, whole_fields(model.graph, by_input(x)))


def _warn_of_pixels(model: Trained, x: Array) -> None:
    """Warn the caller of `evaluate` or `predict` of pixels that are not those of training."""
    known = model.trained_on
    if known is not None and (odd := pixel_doubt(x, image_type(known.about), known.normalization)):
        warnings.warn(odd, UserWarning, stacklevel=4)


def _known_normalization(
    model: Trained, given: InputNormalization | None, x: Array
) -> InputNormalization:
    if given is not None:
        return given
    inputs = model.graph.inputs
    if len(whole_fields(model.graph, inputs)) == len(inputs):  # tokens are never normalized
        return no_normalization(inputs)
    if model.trained_on is None and not _may_be_pictures(inputs, x):
        return no_normalization(inputs)
    if model.trained_on is None:
        raise NetspecError.simple(
            codes.WEIGHTS_NO_NORMALIZATION,
            f"nobody told this model of {model.graph.name} how its images are normalised",
            "train it, or load weights that say so: model.load_state_dict(netspec.load_weights(path));"
            ' or give normalize="none" for images that are',
        )
    return model.trained_on.normalization


def _may_be_pictures(inputs: Mapping[str, Shape], x: Array) -> bool:
    """Whether samples are pictures, or the bytes of flattened ones, which every net has normalized."""
    of_bytes = any(array.dtype == np.uint8 for array in by_input(x).values())
    return of_bytes or any(len(shape) == 3 for shape in inputs.values())


def scores(model: Scorer, x: ArrayLike | Mapping[str, ArrayLike]) -> Array:
    """Return the scores (N, K) of a normalized batch; the net may have other outputs too."""
    return scores_among(model.graph, model.forward(x))


def scores_among(graph: Graph, outputs: Array | Mapping[str, Array]) -> Array:
    """Return the scores among what `forward` returned: the one output, or several by name."""
    return outputs[scores_output(graph)] if isinstance(outputs, Mapping) else outputs


def class_probabilities(model: Scorer, x: Array | Mapping[str, Array]) -> NDArray[np.float64]:
    """Return the probabilities (N, K) of a normalized batch: the softmax of scores, or the net's own.

    Raises:
        NetspecError: `model/not-finite`.
    """
    found = scores(model, x)
    own = gives_probabilities(model.graph) and bool(np.isfinite(found).all())
    return found.astype(np.float64) if own else probabilities(found)


def probabilities(found: Array) -> NDArray[np.float64]:
    """Return the softmax of scores (N, K).

    Raises:
        NetspecError: `model/not-finite` for scores that have no softmax.
    """
    _require_finite(found)
    with as_ieee():
        powers = np.exp(found.astype(np.float64) - found.max(axis=1, keepdims=True))
        shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _require_finite(found: Array) -> None:
    if not np.isfinite(found).all():
        raise NetspecError.simple(
            codes.MODEL_NOT_FINITE,
            "the scores are not finite",
            "the weights are damaged, or the images are not what the net was trained on",
        )


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.1%}"
