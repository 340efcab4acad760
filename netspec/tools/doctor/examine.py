"""`netspec doctor`: runs one check after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from netspec.diagnostics import plural
from netspec.runtime.data.choices import is_number, require
from netspec.runtime.data.dataset import Dataset
from netspec.runtime.data.input_normalization import fit_normalization
from netspec.runtime.models.classifier_shape import (
    require_sizes,
    require_targets,
    require_training_batch,
)
from netspec.runtime.models.inputs import by_net_input, whole_fields
from netspec.runtime.models.room import require_room, require_room_for_parameters
from netspec.runtime.optim.losses import make_loss
from netspec.runtime.optim.optimizers import check_optimizer
from netspec.runtime.optim.targets import OF_CLASSES
from netspec.tools.agreement.case import HasGraph
from netspec.tools.doctor import initial_checks as checks
from netspec.tools.doctor import training_checks as learning
from netspec.tools.doctor.examinee import Patient
from netspec.tools.doctor.report import DoctorReport, Symptom

# More images give little more information, and a large net takes its time for each.
IMAGES = 64

# A model and its gradients, Adam's state, and the model of an earlier training to compare with.
PARAMETER_COPIES = 6


def examine(
    net: HasGraph,
    data: Dataset,
    *,
    optimizer: str = "adam",
    lr: float | None = None,
    optimizer_options: Mapping[str, object] | None = None,
    batch: int = 64,
    l2: float = 0.0,
    clip_norm: float | None = None,
    warms_up: bool = False,
    loss: str = "softmax",
    normalize: str | tuple[Sequence[float], Sequence[float]] = "channel",
    seed: int = 0,
    dtype: str = "float32",
    advance: Callable[[str], object] = lambda check: None,  # noqa: ARG005
) -> DoctorReport:
    """Look for problems of a net before it is trained for hours, using a few images of its data.

    Most arguments are those of `netspec.fit`, and describe the planned training.

    Args:
        net: a net, as returned by `netspec.load`.
        data: the data set it is to be trained on.
        optimizer: its name.
        lr: the highest learning rate; None takes the optimizer's default.
        optimizer_options: its keyword arguments.
        batch: the number of images in a step.
        l2: the coefficient of l2/2 * sum(W^2).
        clip_norm: the norm that longer gradients are scaled down to.
        warms_up: whether the learning rate rises at the beginning.
        loss: its name.
        normalize: how the images are normalized.
        seed: of the initial weights.
        dtype: of the training, `float32` or `float64`.
        advance: called with each check's name before it begins.

    Raises:
        NetspecError: for arguments out of range, `data/shape` if net and data do not fit,
            `model/batch`, `limit/memory`.
    """
    graph = net.graph
    check_optimizer(optimizer, optimizer_options or {})
    lr = learning.default_rate(optimizer) if lr is None else lr
    require(is_number(lr) and lr > 0, f"the learning rate must be more than 0, not {lr!r}")
    require(is_number(l2) and l2 >= 0, f"l2 must be at least 0, not {l2!r}")
    require_sizes(graph)
    data = data.for_training().fit_to_inputs(graph.inputs)
    require_targets(graph, data, OF_CLASSES)
    whole = whole_fields(graph, data.input_shapes)
    normalization = fit_normalization(normalize, data.x_train, whole)
    shown = normalization.apply(data.x_train[:IMAGES], dtype)
    y = data.y_train[:IMAGES]
    require_training_batch(graph, min(len(y), batch))
    patient = Patient(
        graph=graph,
        x=shown if isinstance(shown, Mapping) else by_net_input(graph, shown),
        y=y,
        loss=make_loss(loss),
        l2=l2,
        optimizer=optimizer,
        options=dict(optimizer_options or {}),
        lr=lr,
        warms_up=warms_up,
        clip_norm=clip_norm,
        batch=batch,
        seed=seed,
    )
    _require_room(patient)
    title = (
        f"{graph.name} on {plural(len(y), 'image')} of {data.name} ({normalization.kind}),"
        f" trained with {optimizer} at learning rate {patient.lr:g}"
    )
    report = DoctorReport(title)
    for name, check in _checks(patient, report):
        advance(name)
        report.findings.append(check())
    return report


def _require_room(patient: Patient) -> None:
    """Refuse a net whose short trainings do not fit into memory.

    Raises:
        NetspecError: `limit/memory`.
    """
    graph, itemsize = patient.graph, patient.dtype.itemsize
    # Before the first model is made, because its values take time.
    require_room_for_parameters(graph, itemsize, PARAMETER_COPIES)
    model = patient.model()
    kept = PARAMETER_COPIES * model.flat_parameters.nbytes

    def needed(images: int) -> int:
        return kept + model.step_bytes(images, images)

    require_room(graph, needed, len(patient.y), "examining")


def _checks(patient: Patient, report: DoctorReport) -> list[tuple[str, Callable[[], Symptom]]]:
    shown = report.pictured
    return [
        ("initial loss", lambda: checks.initial_loss(patient, shown)),
        ("loss with L2", lambda: checks.loss_with_l2(patient)),
        ("scores", lambda: checks.scores(patient)),
        ("gradients", lambda: checks.gradient_sizes(patient, shown)),
        ("dead units", lambda: checks.dead(patient, shown)),
        ("learning rate", lambda: learning.learning_rate(patient, shown)),
        ("small batch", lambda: learning.small_batch(patient, shown)),
        ("gradient check", lambda: learning.gradient_check(patient)),
    ]
