"""Losses, as nets that take the targets as an input: the batch is the first axis of one image."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from tests.pytorch_samples.functions import Sample, arguments, writes
from tests.pytorch_samples.written import InexpressibleError, Written, number, reduced


def _reduction(reduction: str | None, size_average: Any, reduce: Any) -> str:
    if reduce is False:
        return "none"
    if size_average is False:
        return "sum"
    return reduction or "mean"


def of_classes(
    to: Written, scores: torch.Tensor, logs: str, sample: list[Any], smoothing: float = 0.0
) -> str:
    """The negative log-likelihood of whole targets, with class weights and an ignored class.

    `logs` are the log-probabilities as [N, classes, places].
    """
    target, weight, ignore, reduction = sample
    n, classes, places = _shape(scores)
    t = to.whole(target, (n, 1, places))
    ignore = -100 if ignore is None else ignore
    if reduction == "mean" and bool((target == ignore).all()):
        raise InexpressibleError("the mean of no targets: NaN, with a slope of 0")
    to.lines += [
        f"kept = where(abs({t} - {number(float(ignore))}) - 0.5, 1, 0)",
        f"at = {t} * kept",
        f"picked = gather({logs}, at, axis = 2)",
    ]
    if weight is not None:
        w = to.whole(weight, (1, len(weight), 1))
        spread = f"expand({w}, {[n, -1, places]})"
        to.lines.append(f"weights = kept * gather({spread}, at, axis = 2)")
    else:
        to.lines.append("weights = kept")
    to.lines.append("losses = -picked * weights")
    if smoothing:
        each = logs if weight is None else f"{logs} * {w}"
        to.lines += [
            f"spread = -sum({each}, 2, keep = true) * kept * {smoothing / classes!r}",
            f"losses = {1 - smoothing!r} * losses + spread",
        ]
    if reduction == "none":
        return "losses"
    total = "sum(losses, [1, 2, 3], keep = true)"
    return total if reduction == "sum" else f"{total} / sum(weights, [1, 2, 3], keep = true)"


def _shape(scores: torch.Tensor) -> tuple[int, int, int]:
    if scores.ndim == 1:
        return 1, len(scores), 1
    return scores.shape[0], scores.shape[1], scores[0, 0].numel()


@writes("nn.functional.nll_loss")
def _nll_loss(to: Written, s: Sample) -> str:
    target, weight, ignore, reduction = arguments(
        s, "target", "weight", "ignore_index", "reduction", reduction="mean"
    )
    logs = to.whole(s.input, _shape(s.input))
    return of_classes(to, s.input, logs, [target, weight, ignore, reduction])


@writes("nn.functional.cross_entropy")
def _cross_entropy(to: Written, s: Sample) -> str:
    target, weight, ignore, reduction, smoothing = arguments(
        s, "target", "weight", "ignore_index", "reduction", "label_smoothing", reduction="mean"
    )
    shape = _shape(s.input)
    scores = to.whole(s.input, shape)
    to.lines.append(f"logs = log_softmax({scores}, axis = 2)")
    if not target.is_floating_point():
        rest = [target, weight, ignore, reduction]
        return of_classes(to, s.input, "logs", rest, smoothing or 0.0)
    q = to.whole(target, shape)
    if smoothing:
        q = f"({q} * {1 - smoothing!r} + {smoothing / shape[1]!r})"
    if weight is not None:
        q = f"{q} * {to.whole(weight, (1, len(weight), 1))}"
    to.lines.append(f"losses = -sum(logs * {q}, 2)")
    if reduction == "none":
        return "losses"
    total = "sum(losses, [1, 2], keep = true)"
    return total if reduction == "sum" else f"{total} / {float(shape[0] * shape[2])!r}"


def _paired(formula: str, *names: str, **defaults: Any) -> Any:
    """A loss of each element from the input x and the target t."""

    def write(to: Written, s: Sample) -> str:
        target, weight, reduction, average, reduce, *rest = arguments(
            s, "target", "weight", "reduction", "size_average", "reduce", *names, **defaults
        )
        x, t = to.aligned([s.input, target])
        shown = dict(zip(names, map(number, rest), strict=True))
        value = formula.format(x=x, t=t, **shown)
        rank = max(1, s.input.ndim)
        if weight is not None:
            shape = (1,) * (s.input.ndim - weight.ndim) + tuple(weight.shape)
            value = f"({value}) * {to.whole(weight, shape or None)}"
        return reduced(f"({value})", _reduction(reduction, average, reduce), rank)

    return write


writes("nn.functional.mse_loss")(_paired("square({x} - {t})"))
writes("nn.functional.l1_loss")(_paired("abs({x} - {t})"))
writes("nn.functional.binary_cross_entropy")(
    _paired("-{t} * maximum(log({x}), -100) - (1 - {t}) * maximum(log(1 - {x}), -100)")
)
writes("nn.functional.soft_margin_loss")(_paired("softplus(-{t} * {x}, threshold = 1000)"))
writes("nn.functional.huber_loss")(
    _paired(
        "where(abs({x} - {t}) - {delta}, {delta} * (abs({x} - {t}) - 0.5 * {delta}),"
        " 0.5 * square({x} - {t}))",
        "delta", delta=1.0,
    )
)  # fmt: skip


@writes("nn.functional.smooth_l1_loss")
def _smooth_l1_loss(to: Written, s: Sample) -> str:
    beta = s.kwargs.get("beta", 1.0)
    if beta == 0:
        kwargs = {k: v for k, v in s.kwargs.items() if k != "beta"}
        plain = SimpleNamespace(input=s.input, args=s.args, kwargs=kwargs)
        written: str = _paired("abs({x} - {t})")(to, plain)
        return written
    return _paired(
        "where(abs({x} - {t}) - {beta}, abs({x} - {t}) - 0.5 * {beta},"
        " square({x} - {t}) * 0.5 / {beta})",
        "beta", beta=1.0,
    )(to, s)  # fmt: skip


@writes("nn.functional.binary_cross_entropy_with_logits")
def _with_logits(to: Written, s: Sample) -> str:
    target, weight, average, reduce, reduction, positive = arguments(
        s, "target", "weight", "size_average", "reduce", "reduction", "pos_weight"
    )
    given = [s.input, target, *(w for w in (positive, weight) if w is not None)]
    x, t, *more = to.aligned(given)
    gain = "1" if positive is None else f"(1 + ({more.pop(0)} - 1) * {t})"
    value = f"(1 - {t}) * {x} + {gain} * softplus(-{x}, threshold = 1000)"
    if weight is not None:
        value = f"({value}) * {more.pop(0)}"
    kind = _reduction(reduction, average, reduce)
    return reduced(f"({value})", kind, max(1, s.input.ndim))


@writes("nn.functional.kl_div")
def _kl_div(to: Written, s: Sample) -> str:
    target, average, reduce, reduction, logs = arguments(
        s, "target", "size_average", "reduce", "reduction", "log_target"
    )
    x, t = to.aligned([s.input, target])
    # The slope of t log t has no bound at 0, where its value is 0.
    value = f"exp({t}) * ({t} - {x})" if logs else f"({t} * log({t}) - {t} * {x})"
    rank = max(1, s.input.ndim)
    if reduction == "batchmean":
        count = s.input.shape[0] if s.input.ndim else 1
        return f"{reduced(f'({value})', 'sum', rank)} / {float(count)!r}"
    return reduced(f"({value})", _reduction(reduction, average, reduce), rank)


@writes("nn.functional.multi_margin_loss")
def _multi_margin_loss(to: Written, s: Sample) -> str:
    target, p, margin, weight, average, reduce, reduction = arguments(
        s, "target", "p", "margin", "weight", "size_average", "reduce", "reduction",
        p=1, margin=1.0,
    )  # fmt: skip
    n, classes = s.input.shape if s.input.ndim == 2 else (1, max(1, s.input.numel()))
    x, t = to.whole(s.input, (n, classes)), to.whole(target, (n, 1))
    to.lines += [
        f"own = gather({x}, {t}, axis = 2)",
        f"hot = reshape(one_hot({t}, {classes}), {[n, classes]})",
        f"gaps = (1 - hot) * relu({x} - own + {number(margin)})",
    ]
    value = "square(gaps)" if p == 2 else "gaps"
    if weight is not None:
        w = f"expand({to.whole(weight, (1, classes))}, {[n, -1]})"
        value = f"{value} * gather({w}, {t}, axis = 2)"
    to.lines.append(f"losses = mean({value}, 2)")
    return reduced("losses", _reduction(reduction, average, reduce), 1)
