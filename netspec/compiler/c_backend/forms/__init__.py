"""The forms in C of the kernels that plans call, by the kernels' names."""

from netspec.compiler.c_backend.forms.table import BATCH_FORMS, FORMS, Form

__all__ = ["BATCH_FORMS", "FORMS", "Form"]
