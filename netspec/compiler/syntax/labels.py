"""Checks of labels: their form, and the names that PyTorch's modules already use."""

from __future__ import annotations

import re

# Signs are only found in parts with quotes or braces. What Python, a file system or a pattern of names
# gives a meaning is left out.
_SEGMENT = re.compile(r"0|[1-9][0-9]*|(?![0-9][0-9_]*$)[A-Za-z0-9_+:=~,-]+")
MAX_LENGTH = 200
MAX_SEGMENTS = 16

# The attributes of torch.nn.Module: a layer of this name would hide one of them in the generated
# class. A test compares this list with the installed PyTorch.
MODULE_ATTRIBUTES = frozenset(
    """
    T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda double
    dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter
    get_submodule half ipu load_state_dict modules mtia named_buffers named_children named_modules
    named_parameters parameters register_backward_hook register_buffer register_forward_hook
    register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook
    register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
    register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_
    set_extra_state set_submodule share_memory state_dict to to_empty train training type xpu
    zero_grad
    """.split()
)


def problem(segment: str) -> str | None:
    """Return why a segment of a label cannot be used, or None if it can."""
    if len(segment) > MAX_LENGTH:
        return "it is too long"
    if not _SEGMENT.fullmatch(segment):
        return "its parts are names, or whole numbers such as 0 and 12, in quotes with - + : = ~ ,"
    if segment in MODULE_ATTRIBUTES or (segment.startswith("__") and segment.endswith("__")):
        return f"every PyTorch module already has an attribute `{segment}`"
    if segment.startswith("_"):
        return "names with a leading underscore belong to PyTorch's modules"
    return None
