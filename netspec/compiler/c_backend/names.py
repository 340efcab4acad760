"""Identifiers of a C file for names of any origin."""

from __future__ import annotations

import re
from collections.abc import Iterable

from netspec.compiler.c_backend.library import function_names
from netspec.compiler.c_backend.templates import constants_of_net, defined, functions_of_net
from netspec.text.free_name import take_name

# Words of C and C++, and names that headers of either may define as macros.
_WORDS = """
alignas alignof and and_eq asm assert auto bitand bitor bool break case catch char class compl
complex concept const consteval constexpr constinit const_cast continue co_await co_return co_yield
decltype default delete do double dynamic_cast else enum errno explicit export extern false far
float for friend goto huge if imaginary import inline int interrupt linux long main module mutable
namespace near new noexcept noreturn not not_eq nullptr operator or or_eq pascal private protected
public real register reinterpret_cast requires restrict return short signal signed sizeof
static static_assert static_cast stderr stdin stdout struct switch template this thread_local throw
true try typedef typeid typename typeof typeof_unqual union unix unsigned using virtual void
volatile wchar_t while xor xor_eq I char8_t char16_t char32_t int8_t int16_t int32_t int64_t max min
offsetof ptrdiff_t size_t uint8_t uint16_t uint32_t uint64_t
"""
# Functions that compilers know, whether or not their header is included.
_FUNCTIONS = """
abort abs acos acosh alloca asin asinh assert atan atan2 atanh atof atoi atol bcmp bcopy bsearch
bzero cabs calloc carg cbrt ccos ceil cexp cimag clog conj copysign cos cosh cpow cproj creal csin
csqrt ctan div drem erf erfc errno exit exp exp10 exp2 expm1 fabs fdim ffs finite floor fma fmax
fmin fmod fopen fprintf free frexp gamma getenv hypot ilogb index isalpha isdigit isfinite isgreater
isinf isless isnan isnormal isunordered j0 j1 jn labs ldexp ldiv lgamma llabs llrint llround log
log10 log1p log2 logb lrint lround main malloc memchr memcmp memcpy memmove memset mempcpy modf nan
nearbyint nextafter pow pow10 printf putchar puts qsort rand realloc remainder remquo rindex rint
round scalb scalbln scalbn signbit significand sin sincos sinh sprintf sqrt srand sscanf stpcpy
strcat strchr strcmp strcpy strcspn strdup strlen strncat strncmp strncpy strspn strstr strtod
strtol system tan tanh tgamma time trunc vprintf y0 y1 yn
"""
WORDS = frozenset(_WORDS.split()) | frozenset(_FUNCTIONS.split())
# What functions and constants of the net are called, behind its name, beside those of templates.
_FUNCTIONS_OF_NET = """
backward class_name classify classify_int8 classify_uint8 forward initial_parameters
loss_and_grads predict predict_batch predict_int8 predict_uint8 real use_weights weights_digest
"""
_CONSTANTS_OF_NET = (
    "ARENA_BYTES ARENA_NUMBERS BATCH CLASSES DECAYED H PARAMETERS PIXELS SAVED STACK_BYTES TRAINED"
    " WEIGHTS_DIGEST"
)
# Names of a file that are not the net's, and of variables where the caller's arrays and sizes are
# parameters.
_OF_FILE = """
arena best count dscores dy gradients i i2 i3 initial j j2 j3 k k2 k3 l l2 l3 labels least loss m mask
mean most n names number parameters places random_state random_step same scores sum t t2 t3 t4 t5 t6 t7 t8
value weights x y
AT_SCRATCH TRAIN_DSCORES TRAIN_SCORES TRAIN_SCRATCH
APART AT_WORK INLINE LOOP NUMBERS ONCE PARALLEL PARALLEL_IF_LARGE PRODUCTS REAL SCRATCH SHARE THIS_THREAD
THREADS VECTOR_BYTES WORK Pass Team Turns me once real
"""
MOST = 60


def identifier(text: str) -> str:
    """Return an ASCII identifier that resembles a text; see `Names` for a free one."""
    if not text.isascii():
        text = re.sub(r"[^\x00-\x7f]", lambda found: f"u{ord(found.group()):04x}", text)
    name = re.sub(r"\W+", "_", text).strip("_") or "value"
    return f"n{name}" if name[0].isdigit() else name


def _no_macro(text: str) -> str:
    """Return an identifier for a text. One in capitals becomes small: it could be a macro of any header,
    as `NAN` and `IN` are.
    """
    wanted = identifier(text)[:MOST]
    return wanted.lower() if len(wanted) > 1 and wanted.isupper() else wanted


class Names:
    """Gives names that are not taken yet, and mean nothing to C, C++ or the file.

    Args:
        net: what the net is called.

    Attributes:
        net: what the names of the net's functions begin with, and in capitals those of its constants.
    """

    def __init__(self, net: str) -> None:
        self._taken = {*WORDS, *_OF_FILE.split(), *function_names(), *defined()}
        self.net = self._net_name(identifier(net).lower())
        self._own = frozenset(self._functions(self.net))
        self._taken |= self._own
        constants = {*_CONSTANTS_OF_NET.split(), *constants_of_net()}
        self._taken |= {f"{self.net.upper()}_{ending}" for ending in constants}

    def _net_name(self, wanted: str) -> str:
        """Return a name none of whose functions is taken: a net `Gru` has no `gru_backward`."""
        return f"{wanted}_net" if self._functions(wanted) & self._taken else wanted

    def _functions(self, net: str) -> set[str]:
        return {f"{net}_{end}" for end in (*_FUNCTIONS_OF_NET.split(), *functions_of_net())}

    def free(self, text: str) -> str:
        """Return an identifier for a text, which is no macro, and take it."""
        return take_name(_no_macro(text), self._taken)

    def declared(self, names: Iterable[str], taken: Iterable[str]) -> list[str]:
        """Return what the parameters of a declared function are called.

        Nothing but other parameters and their type is near them there, so that an input `x` is `x`.

        Args:
            names: inputs and then outputs, which may have the name of an input.
            taken: what the other parameters are called.
        """
        used = {*WORDS, *self._own, *taken}
        return [take_name(_no_macro(name), used) for name in names]

    def constant(self, text: str) -> str:
        """Return an identifier in capitals for a text, and take it."""
        return take_name(identifier(text)[:MOST].upper(), self._taken)
