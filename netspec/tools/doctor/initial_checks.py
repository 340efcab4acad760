"""Checks of an untrained net: its loss, its scores, its gradients, its dead units."""

from __future__ import annotations

import math

import numpy as np

from netspec.compiler.ir.graph import Node, Parameter
from netspec.diagnostics import plural
from netspec.runtime.models.classifier_shape import scores_output
from netspec.runtime.optim.targets import as_rows
from netspec.tools.doctor.examinee import Patient
from netspec.tools.doctor.report import Pictured, Symptom, Verdict
from netspec.tools.doctor.signals import dead_units, gradients, with_gates_open

# The initial loss relative to the loss of equal scores, which a net that knows nothing has.
# Measured over networks/, with each normalization: 1.00 to 1.24.
HIGHEST_LOSS, LOWEST_LOSS = 1.5, 0.5
# The tolerance for the L2 term, which is added in float32.
_L2_ROUNDING = 1e-3
# The size of gradients relative to their weights, compared between layers. Measured over networks/:
# the largest is at most 70 times the smallest, and 20 times its weights.
VANISHED = 1e-5
EXPLODED = 1e3
# From here on it is said, without being a fault.
UNEVEN = 100.0
# The share of a layer's units: if more are dead, little is left to train. For a linear layer whose
# inputs are all positive, half of the units being dead is normal.
DEAD = 0.9
# The share of the scores that are cut off at zero.
CUT_OFF = 0.05
# The share of L2 in the whole loss: with more, the weights are drawn to 0 rather than to what the
# labels require. The published Wide ResNets have 0.66.
MOST_L2 = 0.75
# The share that L2 would have with the smaller coefficient that is suggested, relative to the loss
# without L2.
SOME_SHARE = 0.1
# Scores closer together than this are the same for all classes. That alone is not a fault.
SMALL_SCORES = 1e-3
# The L2 coefficient to try if the training has none.
SOME_L2 = 1e-3


def initial_loss(patient: Patient, pictured: Pictured) -> Symptom:
    """Check that the initial loss is that of equal scores: log C for the softmax."""
    with np.errstate(over="ignore", invalid="ignore"):
        model = patient.model()
        loss = model.loss(patient.x, patient.y, loss=patient.loss, training=True)
    expected = pictured.expected = patient.expected
    text = f"{loss:.4g}; {expected:.4g} for {patient.classes} equal scores"
    verdict: Verdict = "ok"
    help = None
    if not math.isfinite(loss) or loss > HIGHEST_LOSS * expected:
        verdict = "bad"
        help = "the untrained net makes confident predictions: make the initial weights smaller"
        weight = _largest_weight(patient)
        if weight is not None:
            help += f" ({weight})"
    elif loss < LOWEST_LOSS * expected:
        verdict = "bad"
        help = "an untrained net cannot be this accurate: do the images contain the labels?"
    return Symptom(
        "initial loss", verdict, text, help,
        numbers={"loss": _known(loss), "expected": expected},
    )  # fmt: skip


def _largest_weight(patient: Patient) -> str | None:
    """Describe the weight with the largest initial values for its number of inputs."""
    worst, found = 1.0, None
    parameters = patient.model().parameters
    for p in patient.graph.parameters.values():
        usual = patient.usual_spread(p)
        if usual is None:
            continue
        spread = float(np.std(parameters[p.name]))
        if spread / usual > worst:
            worst = spread / usual
            found = spread_in_words(p, spread, usual)
    return found


def spread_in_words(parameter: Parameter, spread: float, usual: float) -> str:
    """Describe the spread of a weight, compared with He's standard deviation."""
    inputs = math.prod(parameter.shape[1:])
    return f"{parameter.name} has a standard deviation of {spread:.2g}, sqrt(2/{inputs}) is {usual:.2g}"


def loss_with_l2(patient: Patient) -> Symptom:
    """Check that L2 increases the loss by l2/2 times the sum of the squares."""
    l2 = patient.l2 or SOME_L2
    model = patient.model()
    weights = [p for p in patient.graph.parameters.values() if p.role == "weight"]
    with np.errstate(over="ignore", invalid="ignore"):
        # The same dropout masks for both.
        losses = []
        for coefficient in (0.0, l2):
            model.reseed(patient.seed)
            losses.append(
                model.loss(patient.x, patient.y, loss=patient.loss, l2=coefficient, training=True)
            )
        squares = [np.square(model.parameters[p.name], dtype=np.float64).sum() for p in weights]
    without, with_l2 = losses
    added, expected = with_l2 - without, 0.5 * l2 * float(sum(squares))
    tried = "" if patient.l2 else " (a value to test with)"
    text = f"{with_l2:.4g} with l2 = {l2:g}{tried}, {without:.4g} without"
    # A sum differs from its larger term only within the digits of float32.
    close = abs(added - expected) <= _L2_ROUNDING * expected + 1e-6 * abs(without)
    numbers = {"loss": _known(without), "with_l2": _known(with_l2), "expected": _known(expected)}
    if not math.isfinite(without):
        return Symptom("loss with L2", "unsure", "the loss is not finite", numbers=numbers)
    if patient.l2 and expected > MOST_L2 * with_l2:
        help = f"L2 is {expected / with_l2:.0%} of it, and pulls the weights to 0"
        help += f": l2 = {_one_digit(patient.l2 * SOME_SHARE * without / expected)} would be less"
        return Symptom("loss with L2", "bad", text, help, numbers=numbers)
    if close and expected > 0:
        return Symptom("loss with L2", "ok", text, numbers=numbers)
    help = f"it should be higher by {expected:.4g}"
    if expected == 0:
        help = "all weights are zero, so all units of a layer learn the same"
    return Symptom("loss with L2", "bad", text, help, numbers=numbers)


def _one_digit(value: float) -> str:
    """Format a number with one digit, rounded down."""
    power = 10.0 ** math.floor(math.log10(value))
    return f"{math.floor(value / power) * power:.0e}".replace("e-0", "e-").replace("e+0", "e+")


def scores(patient: Patient) -> Symptom:
    """Check that the scores come from a linear layer: they may be any numbers, also below zero."""
    with np.errstate(over="ignore", invalid="ignore"):
        outputs = patient.model().scores(patient.x)
    least, largest = float(outputs.min()), float(outputs.max())
    last = _last(patient)
    where = last.origin.span.where if last.origin.span is not None else None
    numbers = {"least": _known(least), "largest": _known(largest), "layer": last.name}
    if not np.isfinite(outputs).all():
        text, help = "they are not all finite", "make the initial weights smaller"
    elif least == largest:
        text, help = f"they are all {least:g}, whatever the image", _zero_weights(patient)
    elif least >= 0 and float((outputs == 0).mean()) > CUT_OFF:
        text = f"they come from `{last.name}` ({last.op}), which cuts them off at 0"
        help = "what is cut off gets no gradient: end the net with the linear layer"
    elif (
        least >= 0
        and np.allclose(as_rows(outputs).sum(axis=1), 1, atol=1e-3)
        and patient.classes > 1
    ):
        text = f"they come from `{last.name}` ({last.op}) as probabilities, which add up to 1"
        help = "the loss applies a softmax itself: remove this one"
    else:
        text = f"from {least:.3g} to {largest:.3g}"
        if largest - least < SMALL_SCORES:
            text += ", small; see `learning rate` for whether that does harm"
        return Symptom("scores", "ok", text, numbers=numbers)
    return Symptom("scores", "bad", text, help, where, numbers)


def _zero_weights(patient: Patient) -> str:
    """Describe what makes all scores equal, as a question if it is not known."""
    parameters = patient.model().parameters
    zero = [p.name for p in patient.graph.trainable() if p.role == "weight"]
    zero = [name for name in zero if not parameters[name].any()]
    if not zero:
        return "does something between the image and the scores give the same number for all?"
    which = f"{zero[-1]} and {len(zero) - 1} more are" if len(zero) > 1 else f"{zero[0]} is"
    return f"{which} all zeros: draw the initial weights at random"


def _last(patient: Patient) -> Node:
    """Return the layer that computes the scores."""
    graph = patient.graph
    return graph.by_name[graph.outputs[scores_output(graph)]]


def gradient_sizes(patient: Patient, pictured: Pictured) -> Symptom:
    """Check that every layer gets a gradient, none too small or too large to train with the others."""
    found = gradients(patient.model(), patient.x, patient.y, patient.loss)
    name = "gradients"
    if not found:
        return Symptom(name, "unsure", "there are no weights")
    broken = [g.name for g in found if not math.isfinite(g.size)]
    if broken:
        text = f"that of {broken[-1]} is not finite"
        return Symptom(name, "bad", text, "make the initial weights smaller")
    known = {g.name: g.relative for g in found if g.relative is not None}
    silent = [g.name for g in found if g.size == 0]
    opened = ""
    if silent:
        gates, found = with_gates_open(patient.model(), patient.x, patient.y, patient.loss)
        known = {g.name: g.relative for g in found if g.relative is not None and g.size > 0}
        silent = [g.name for g in found if g.size == 0]
        others = f" and {len(gates) - 1} more" if len(gates) > 1 else ""
        opened = f", once {gates[0]}{others} left the zeros to start from" if gates else ""
    pictured.gradients = known
    if silent:
        others = f" and {len(silent) - 1} more" if len(silent) > 1 else ""
        text = f"none reaches {silent[0]}{others}"
        return Symptom(name, "bad", text, "is something before the loss constant or zero?",
                       _where(patient, silent[0]), known)  # fmt: skip
    least, most = min(known, key=lambda n: known[n]), max(known, key=lambda n: known[n])
    text = f"{known[least]:.1e} ({least}) to {known[most]:.1e} ({most}) relative to the weights{opened}"
    if known[most] > EXPLODED:
        help = "they explode: make the initial weights smaller, or normalise (batch_norm)"
        return Symptom(name, "bad", text, help, _where(patient, most), known)
    if known[least] < VANISHED * known[most]:
        help = f"they vanish: try {_against_vanishing(patient)}"
        return Symptom(name, "bad", text, help, _where(patient, least), known)
    return Symptom(name, "ok", text, _uneven(known[most] / known[least]), numbers=known)


def _against_vanishing(patient: Patient) -> str:
    """Return what may make gradients larger, of what the net has not."""
    graph = patient.graph
    used = {node.op.name for node in graph.nodes}
    tries = []
    if used & {"sigmoid", "tanh"}:
        tries.append("relu instead of sigmoid or tanh")
    if not any("norm" in name for name in used):
        tries.append("batch_norm")
    if "add" not in used:
        tries.append("a skip connection")
    *others, last = [*tries, "larger initial weights"]
    return f"{', '.join(others)} or {last}" if others else last


def _uneven(ratio: float) -> str | None:
    """Return what to try if layers learn at rates that lie far apart, which need not be a fault."""
    if ratio < UNEVEN:
        return None
    return (
        f"they lie {ratio:.0f} times apart: if it learns slowly, other initial weights or batch_norm"
        " even them out"
    )


def dead(patient: Patient, pictured: Pictured) -> Symptom:
    """Check that most units give different values for different images."""
    name = "dead units"
    found = pictured.dead = dead_units(patient.model(), patient.x)
    if not found:
        return Symptom(name, "ok", "no layer can have any")
    worst = max(found, key=lambda n: found[n])
    if found[worst] == 0:
        return Symptom(name, "ok", f"none in {plural(len(found), 'layer')}", numbers=found)
    text = f"at most {found[worst]:.0%} of a layer ({worst}), in {plural(len(patient.y), 'image')}"
    if found[worst] <= DEAD:
        return Symptom(name, "ok", text, numbers=found)
    span = patient.graph.by_name[worst].origin.span
    help = "are the biases before it far below zero, or the images not normalised?"
    return Symptom(name, "bad", text, help, span.where if span else None, found)


def _where(patient: Patient, parameter: str) -> str | None:
    """Return the place of the layer that has a parameter."""
    for node in patient.graph.nodes:
        if parameter in node.parameters.values() and node.origin.span is not None:
            return node.origin.span.where
    return None


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
