"""The forms in C of the kernels that plans call, by the kernels' names."""

from netspec.compiler.c_backend.forms.table import FORMS, Form

__all__ = ["FORMS", "Form"]
