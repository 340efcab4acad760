"""Names of a net that mean something to the tools that read what is compiled from it.

`nets` puts them wherever a name can be, several in a net, so that every target can be tried with all of
them in little time.
"""

from __future__ import annotations

from collections.abc import Iterator

# Words of C and C++, functions and macros of their headers, and names of the C files themselves.
C = """
NULL EOF errno exp static_assert inline restrict main int auto bool complex signed register asm fortran
linux unix stdin stdout I NAN INFINITY HUGE_VAL M_PI FP_NAN REAL real FILE size_t uint64_t int8_t NDEBUG
EDOM RAND_MAX BUFSIZ INT_MAX SIZE_MAX offsetof setjmp va_start isnan memset memcpy getc j0 y1 IN OUT CONST
VOID TRUE min max template namespace operator this private typename nullptr char8_t concept co_await
export alignas noreturn thread_local xor and_eq wchar_t
a_predict_int8 a_real A_X_NUMBERS A_X_SCALE
a_predict a_predict_batch a_classify a_class_name a_loss_and_grads a_save a_load a_use_weights a_forward
a_backward a_initial_parameters a_adam_step a_shuffle A_ARENA_NUMBERS A_ARENA_BYTES A_H A_BATCH A_TENSORS
n count best number weights gradients labels loss scores dscores arena x y i t t2 x0 x_size
text tensors tensors_header initial random_state random_bits next_sign read_list PARALLEL
PARALLEL_IF_LARGE SPECIALISED AT_SCRATCH TRAIN_SCRATCH TRAIN_SCORES P_X AT_X conv copy place relu real_exp
""".split()
# Python's words, and names of its generated files.
PYTHON = """
class def lambda pass None True yield match case print type list float tuple range len super getattr
isinstance module self torch nn F np numpy kernels out weight bias forward training object property
staticmethod annotations Tensor Mapping Path Any b p g scratch sum __init__ __class__ __a x__a _b _
""".split()
# What ONNX calls its own, and the names that netspec gives its operators there.
ONNX = (
    "graph node input_1 N batch Conv Identity Relu sizes netspec ai_onnx output tensor Loop".split()
)
LONG = ["n" * 200, "N" * 200, "n" * 120 + "a", "n" * 120 + "b"]
NAMES = [*dict.fromkeys([*C, *PYTHON, *ONNX, *LONG])]
NETS = """
Class New Int Main Exp Null NULL EOF NAN REAL Real Conv Linear Softmax Attention Rnn Lstm Gru Max_pool
Batch_norm Random Str Is P AT TRAIN Net Arena Text Read Next Tensor Module Model Program F None_ I
""".split()  # fmt: skip
# Words of the language, which no name can be.
LANGUAGE = frozenset(
    "net block input output return init assert for in if else layer from import language and or not"
    " true false none".split()
)
AT_ONCE = 8


def nets() -> Iterator[str]:
    """Yield the texts of nets called `A` that have all names in all places."""
    own = [name for name in NAMES if name not in LANGUAGE and name != "inp"]
    for at in range(0, len(own), AT_ONCE):
        yield _net(*(own[(at + more) % len(own) :][:AT_ONCE] for more in (0, 40, 80, 120)))


def _net(inputs: list[str], outputs: list[str], labels: list[str], arguments: list[str]) -> str:
    """Return a net with these names; labels are those of layers in containers too."""
    taken = {*inputs, *arguments}
    results = [name for name in outputs if name not in taken]
    stages = " -> ".join(
        f"q.{name}: conv(2, 1) -> {name}.q: conv(2, 1)" for name in _labels(labels)
    )
    given = ", ".join(f"{name} = 2" for name in arguments if name not in inputs)
    sizes = " -> ".join(f"conv({name}, 1)" for name in arguments if name not in inputs)
    lines = [
        *(f"input {name}: [2, 3, 3]" for name in inputs),
        f"inp_sum = {' + '.join(inputs)}",
        f"inp_sum = inp_sum -> {stages} -> {sizes} -> dropout(0.1)",
        *(f"output {name} = inp_sum -> batch_norm -> relu" for name in results),
    ]
    return "\n".join([f"net A({given}) {{", *lines, "}"])


def alone(name: str) -> str:
    """Return a net with one input and one output of scores with this name, for more options."""
    return (
        f"net A {{\n input {name}: [2, 3, 3]\n parameter w: [2, 1, 1] = ones\n"
        f" output {name} = {name} * w -> q.{name}: conv(2, 3) -> flatten -> linear(3)\n}}"
    )


def parameters(names: list[str]) -> str:
    """Return a net with parameters of these names."""
    lines = [f"parameter {name}: [2, 3, 3] = ones\ninp = inp * {name}" for name in names]
    return "\n".join(["net A {", "input inp: [2, 3, 3]", *lines, "output inp -> relu", "}"])


def named(name: str) -> str:
    """Return a net of this name."""
    body = "conv(2, 3) -> batch_norm -> relu -> flatten -> linear(3)"
    return f"net {name} {{\n input inp: [2, 3, 3]\n output inp -> {body}\n}}"


def _labels(names: list[str]) -> list[str]:
    from netspec.compiler.syntax import labels

    return [name for name in names if labels.problem(name) is None] or ["free"]
