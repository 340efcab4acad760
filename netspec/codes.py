"""The catalogue: every code of an error or a warning, declared once.

A code is declared with its severity and a one-line summary. Code that reports it names the
declaration: `Diagnostic(codes.SHAPE_RANK, message, span)`,
`NetspecError.simple(codes.MODEL_DTYPE, message)`. The page that `netspec explain` shows for it is the
section with its name in `netspec/explain/AREA.md`, with an example that produces it.

To add an error:

1. Declare it here, in alphabetical order. Its name follows from the code: `shape/rank` is
   `SHAPE_RANK`. A code that only one op reports is declared in the file of that op instead.
2. Write its page. For a code of an op, one of the op's `bad_examples` serves as the example; without a
   section of its own the page is made from the summary and that example.
3. Report it, and add a file to `tests/language/bad` if it is about a mistake in a `.net` file.

`tests/language/test_codes.py` checks that the catalogue, the pages and the places that report agree.
"""

from __future__ import annotations

from netspec.diagnostics import Code

ALLOW_CODE = Code.warning("allow/code", "an `# allow:` comment names a code that is not a warning")

ASSERT_FAILED = Code.error("assert/failed", "an `assert` of the file is false")

BLOCK_NO_RETURN = Code.error("block/no-return", "a block without a `return`")

CALL_INFERRED_SIZE = Code.error(
    "call/inferred-size", "an argument for the size of the input, which the layer infers"
)
CALL_INPUT_SIZE = Code.warning(
    "call/input-size", "a first argument that is probably meant as the size of the input"
)
CALL_INPUTS = Code.error("call/inputs", "more or fewer input values than the layer or block takes")
CALL_MISSING = Code.error("call/missing", "an argument without a default was not given")
CALL_NOT_A_LAYER = Code.error(
    "call/not-a-layer", "a call of something that is not a layer or a block"
)
CALL_SHARED = Code.error(
    "call/shared", "arguments in a call of a shared layer, which already has its own"
)
CALL_TOO_MANY = Code.error("call/too-many", "more arguments than the layer or block takes")
CALL_TWICE = Code.error("call/twice", "one argument is given twice")
CALL_UNKNOWN_ATTRIBUTE = Code.error("call/unknown-attribute", "there is no argument with this name")
CALL_VALUE = Code.error("call/value", "an argument of the wrong kind, or out of its range")

COMPILE_C_FAILED = Code.error("compile/c-failed", "a C compiler refused the C file of a net")
COMPILE_CACHE = Code.error("compile/cache", "a folder for machine code that cannot be used")
COMPILE_CLASS_NAME = Code.error(
    "compile/class-name", "a net or a block whose name cannot be the name of a Python class"
)
COMPILE_HALF = Code.error("compile/half", "a weight that is too large for half precision")
COMPILE_NO_C = Code.error("compile/no-c", "something in a net that a C file cannot have")
COMPILE_NO_COMPILER = Code.error("compile/no-compiler", "there is no C compiler")
COMPILE_NO_ONNX = Code.error("compile/no-onnx", "a layer that has no ONNX form")
COMPILE_NO_TORCH = Code.error("compile/no-torch", "a layer that has no form in PyTorch")
COMPILE_OPSET = Code.error("compile/opset", "a version of ONNX's operators that is not written")
COMPILE_OVER_BUDGET = Code.error(
    "compile/over-budget", "a C file that needs more memory than there is"
)
COMPILE_PASS = Code.error("compile/pass", "there is no compiler pass with this name")
COMPILE_SHARED_BLOCK = Code.error(
    "compile/shared-block", "a shared block that cannot be one PyTorch module"
)
COMPILE_STANDALONE = Code.error(
    "compile/standalone", "the net cannot be compiled to a standalone file"
)
COMPILE_TARGET = Code.error("compile/target", "there is no target with this name")

CONSTANT_INDEX = Code.error("constant/index", "a list has no item at this index")
CONSTANT_TYPE = Code.error(
    "constant/type", "an operation on constants that does not support these operands"
)
CONSTANT_ZERO_DIVISION = Code.error("constant/zero-division", "a division by zero")

DATA_BAD_FILE = Code.error("data/bad-file", "the data can be read, but are not valid")
DATA_MISSING_FILE = Code.error(
    "data/missing-file", "the data were not found, and could not be downloaded"
)
DATA_SHAPE = Code.error("data/shape", "arrays of a shape or type that does not fit")
DATA_UNKNOWN_NAME = Code.error("data/unknown-name", "there is no data set with this name")

FILE_NO_NET = Code.error("file/no-net", "the file defines no net")
FILE_NO_SUCH_NET = Code.error("file/no-such-net", "the file has no net with this name")
FILE_NOT_TEXT = Code.error("file/not-text", "the file is not UTF-8 text")
FILE_REVISION = Code.error("file/revision", "Git has no such file or commit")
FILE_SEVERAL_NETS = Code.error("file/several-nets", "the file has several nets, and one is needed")
FILE_UNREADABLE = Code.error("file/unreadable", "the file does not exist, or cannot be opened")

GRADCHECK_GRADIENT = Code.error("gradcheck/gradient", "a gradient is not the slope of the loss")
GRADCHECK_INCONCLUSIVE = Code.error("gradcheck/inconclusive", "too few probes are conclusive")
GRADCHECK_LABEL = Code.error(
    "gradcheck/label", "no layer or block with this name for `--from` or `--to`"
)
GRADCHECK_OPTION = Code.error(
    "gradcheck/option", "options that do not go together, or do not apply to the net"
)
GRADCHECK_PARAMS = Code.error("gradcheck/params", "`--params` matches nothing")
GRADCHECK_VALUE = Code.error(
    "gradcheck/value", "the program computes a different value from the reference"
)

GRAPH_REPLACED = Code.warning(
    "graph/replaced", "values that the next turn of a loop replaces before anything reads them"
)
GRAPH_UNREAD = Code.warning("graph/unread", "nothing reads what a layer computes")
GRAPH_UNUSED = Code.warning("graph/unused", "nothing reads the value of a name")

IMPORT_CYCLE = Code.error("import/cycle", "files that import each other")
IMPORT_DIFFERS = Code.error(
    "import/differs", "an imported net that does not compute what the model does"
)
IMPORT_INEXPRESSIBLE = Code.error(
    "import/inexpressible", "an operator in a model that no layer can express"
)
IMPORT_MISSING = Code.error("import/missing", "there is no file at the path of an import")
IMPORT_MODULE = Code.error("import/module", "a PyTorch model that cannot be made or traced")
IMPORT_NAME = Code.error("import/name", "the imported file defines no block with this name")
IMPORT_OUTSIDE = Code.error("import/outside", "an import leads out of the folder of the file")
IMPORT_PATH = Code.error(
    "import/path", "the path of an import is not a relative path to a `.net` file"
)

INIT_ARGUMENTS = Code.error(
    "init/arguments", "an init rule with wrong arguments, or an invalid list of initial values"
)
INIT_ROLE = Code.error("init/role", "there is no kind of parameter with this name")
INIT_RULE = Code.error("init/rule", "initial values that are neither an init rule nor a list")
INIT_SHAPE = Code.error("init/shape", "initial values that no parameter of this shape can have")

INPUT_BATCH = Code.warning("input/batch", "the shape of an input looks as if it held the batch")
INPUT_CHANNELS_LAST = Code.warning(
    "input/channels-last", "the shape of an input looks like height, width, channels"
)
INPUT_NO_CHANNELS = Code.warning(
    "input/no-channels", "the shape of an input looks like that of a picture without channels"
)
INPUT_SHAPE = Code.error(
    "input/shape", "the shape of an input or a parameter is not a list of sizes"
)
INPUT_TYPE = Code.error("input/type", "an input of a type that there is not")

LABEL_INVALID = Code.error("label/invalid", "a label that cannot be part of a parameter's name")
LABEL_MISSPELT = Code.warning("label/misspelt", "a word of a label that looks like a typing error")
LABEL_RESERVED = Code.error(
    "label/reserved", "a label that is an attribute of every PyTorch module"
)
LABEL_SHARED = Code.error("label/shared", "a label for a layer that already has its name")
LABEL_TWICE = Code.error("label/twice", "two layers in one body with the same label")

LAYER_SHARED_SHAPE = Code.error(
    "layer/shared-shape", "a shared layer is called with inputs of different sizes"
)
LAYER_TIED = Code.error("layer/tied", "a parameter of another layer that does not fit this one")

LIBRARY_LIGHTNING = Code.error("library/lightning", "Lightning is not installed")
LIBRARY_MATPLOTLIB = Code.error("library/matplotlib", "Matplotlib is not installed")
LIBRARY_MLFLOW = Code.error("library/mlflow", "MLflow is not installed")
LIBRARY_ONNX = Code.error("library/onnx", "the package onnx is not installed")
LIBRARY_ONNXRUNTIME = Code.error("library/onnxruntime", "onnxruntime is not installed")
LIBRARY_OPTUNA = Code.error("library/optuna", "Optuna is not installed")
LIBRARY_PILLOW = Code.error("library/pillow", "Pillow is not installed")
LIBRARY_PYGLS = Code.error("library/pygls", "pygls is not installed")
LIBRARY_RESVG = Code.error("library/resvg", "resvg-py or Matplotlib is not installed")
LIBRARY_TOKENIZERS = Code.error("library/tokenizers", "the package tokenizers is not installed")
LIBRARY_WANDB = Code.error("library/wandb", "the client of Weights & Biases is not installed")

LIMIT_ERRORS = Code.error("limit/errors", "too many errors: the compiler stopped looking for more")
LIMIT_FILE_SIZE = Code.error("limit/file-size", "the file is too large")
LIMIT_FILES = Code.error("limit/files", "too many imports, or imports nested too deeply")
LIMIT_LAYERS = Code.error("limit/layers", "a net with more layers than a program is made of")
LIMIT_LIST = Code.error("limit/list", "a list or a string that is too long or nested too deeply")
LIMIT_LOOP = Code.error("limit/loop", "a loop with too many iterations")
LIMIT_MEMORY = Code.error("limit/memory", "work that needs more memory than there is")
LIMIT_NAME = Code.error("limit/name", "a name that is too long")
LIMIT_NESTING = Code.error("limit/nesting", "brackets, bodies or calls that are nested too deeply")
LIMIT_NUMBER = Code.error("limit/number", "a number that is too large")
LIMIT_SIZE = Code.error("limit/size", "a value or a parameter that is too large for any memory")
LIMIT_WORK = Code.error("limit/work", "loops and blocks that multiply to too many steps")

LOOP_ITERABLE = Code.error(
    "loop/iterable", "a loop over something that is neither a list nor a `range`"
)
LOOP_NO_TURN = Code.warning("loop/no-turn", "a loop that never runs")

MODEL_BATCH = Code.error("model/batch", "a batch that is too small for batch normalisation")
MODEL_DTYPE = Code.error("model/dtype", "a number type that models do not compute in")
MODEL_INPUT_SHAPE = Code.error("model/input-shape", "an array does not have the shape of the input")
MODEL_INPUT_TYPE = Code.error("model/input-type", "an input that is not an array of real numbers")
MODEL_INPUTS = Code.error("model/inputs", "more, fewer or other inputs than the net has")
MODEL_NOT_COMPILED = Code.error(
    "model/not-compiled", "a net is used where a compiled model is needed"
)
MODEL_NOT_FINITE = Code.error("model/not-finite", "scores that are infinite or NaN")
MODEL_OPEN_SIZE = Code.error(
    "model/open-size", "the net leaves a size open that must be known here"
)
MODEL_OUTPUTS = Code.error("model/outputs", "a loss reads one output, and the net has several")
MODEL_PLACES = Code.error(
    "model/places", "a token, or another whole number, for which a layer has no vector"
)
MODEL_SCORES = Code.error("model/scores", "the output is no scores of the kind that is needed")
MODEL_SEED = Code.error("model/seed", "a seed that is not a whole number of at least 0")

NAME_CASE = Code.error(
    "name/case", "a net or a block whose name does not begin with a capital letter"
)
NAME_TWICE = Code.error("name/twice", "a name is defined twice")
NAME_UNDEFINED = Code.error("name/undefined", "nothing has this name here")
NAME_UNKNOWN_LAYER = Code.error("name/unknown-layer", "there is no layer or block with this name")

NET_NO_INPUT = Code.error("net/no-input", "a net without an `input`")
NET_NO_OUTPUT = Code.error("net/no-output", "a net without an `output`")

ONNX_FILE = Code.error("onnx/file", "an ONNX file that is broken, or that holds what is not read")
ONNX_INPUT = Code.error("onnx/input", "the shape of an ONNX model's input that is not known")

OUTPUT_DISK_FULL = Code.error("output/disk-full", "there is no space left to write to")
OUTPUT_EXISTS = Code.error("output/exists", "the file to write already exists")
OUTPUT_IS_SOURCE = Code.error("output/is-source", "the file to write is one that is also read")
OUTPUT_NOT_GENERATED = Code.error(
    "output/not-generated", "the file to write already exists, and netspec did not generate it"
)
OUTPUT_UNWRITABLE = Code.error("output/unwritable", "a file or the output cannot be written")

PLOT_FILTERS = Code.error("plot/filters", "weights that are not filters, or cannot be drawn")
PLOT_NOTHING = Code.error("plot/nothing", "a run that has nothing to draw yet")

PLOT_PICTURES = Code.error("plot/pictures", "an array that cannot be shown as pictures")
PROCESS_LOST = Code.error(
    "process/lost", "another process of the training run ended, or cannot be reached"
)

RECIPE_KEY = Code.error("recipe/key", "there is no training option with this name")
RECIPE_SYNTAX = Code.error("recipe/syntax", "the recipe is not valid TOML")
RECIPE_VALUE = Code.error("recipe/value", "an option in a recipe has an invalid value")

REQUIRE_ASSERT = Code.error("require/assert", "a net that does not meet an `--assert`")
REQUIRE_INPUT = Code.error("require/input", "a net whose inputs are not those of `--input`")
REQUIRE_LAYER = Code.error(
    "require/layer", "a layer that `--forbid` names, or none that `--require` does"
)
REQUIRE_OP = Code.error("require/op", "`--forbid` or `--require` of a layer that does not exist")
REQUIRE_OUTPUT = Code.error("require/output", "a net whose outputs are not those of `--output`")
REQUIRE_SHAPE = Code.error(
    "require/shape", "`--input` or `--output` with something that is no shape"
)
REQUIRE_TEXT = Code.error("require/text", "an `--assert` that is no condition")

RUN_CHECKPOINT = Code.error(
    "run/checkpoint", "a checkpoint that is damaged, or belongs to another run"
)
RUN_DAMAGED = Code.error("run/damaged", "a file of a run is damaged")
RUN_DATA_CHANGED = Code.error(
    "run/data-changed", "the images are not the ones that the run was started with"
)
RUN_EXISTS = Code.error("run/exists", "the folder for a new run is not empty")
RUN_FIXED = Code.error("run/fixed", "an option that cannot be changed when a run is resumed")
RUN_IN_USE = Code.error("run/in-use", "another process is training the run in this folder")
RUN_MISSING = Code.error("run/missing", "there is no run in this folder")
RUN_NO_TENSORBOARD = Code.error("run/no-tensorboard", "TensorBoard is not installed")
RUN_TRACK = Code.error("run/track", "a tracker cannot take the run")

SCAN_RANDOM = Code.error("scan/random", "random numbers in the steps of a scan block")
SCAN_STATE = Code.error("scan/state", "a state that the steps of a scan block cannot hand on")
SETTING_FORM = Code.error("setting/form", "a setting that is not of the form `name=value`")
SETTING_TWICE = Code.error("setting/twice", "the same argument is set twice")
SETTING_VALUE = Code.error("setting/value", "a setting whose value is not a single constant")

SHAPE_AXIS = Code.error("shape/axis", "the value has no axis with this number")
SHAPE_BATCH = Code.error("shape/batch", "a parameter whose shape depends on the batch")
SHAPE_COMMENT = Code.warning("shape/comment", "a shape comment that is false")
SHAPE_COMMENT_VALUE = Code.warning(
    "shape/comment-value", "a shape comment with a size that cannot be computed"
)
SHAPE_GROUPS = Code.error("shape/groups", "groups that do not divide the channels")
SHAPE_KERNEL_TOO_LARGE = Code.error(
    "shape/kernel-too-large", "a window that is larger than the padded picture"
)
SHAPE_ONE_CLASS = Code.warning("shape/one-class", "a softmax over an axis that has one place alone")
SHAPE_OPEN_PARAMETER = Code.error(
    "shape/open-parameter", "a parameter whose shape depends on a size that is left open"
)
SHAPE_POOL_PADDING = Code.error("shape/pool-padding", "padding of more than half of the window")
SHAPE_RANK = Code.error("shape/rank", "a value whose number of axes the layer does not take")
SHAPE_SLICE = Code.error("shape/slice", "a slice that reaches outside the axis")
SHAPE_SOFTMAX_AXIS = Code.warning(
    "shape/softmax-axis", "weights of a softmax along another axis than is summed over"
)
SHAPE_UNREAD_ROWS = Code.warning(
    "shape/unread-rows", "rows or columns at the edge that no window reads"
)

STATEMENT_PLACE = Code.error("statement/place", "a statement that does not belong here")

SYNTAX_BRACKET = Code.error("syntax/bracket", "a bracket without its counterpart")
SYNTAX_CHARACTER = Code.error("syntax/character", "a character that is not part of the language")
SYNTAX_KEYWORD = Code.error("syntax/keyword", "a word of the language used as a name")
SYNTAX_STRING = Code.error(
    "syntax/string", "a string that is not closed on its line, or an unknown escape"
)
SYNTAX_UNEXPECTED_END = Code.error(
    "syntax/unexpected-end", "the file ends in the middle of a definition"
)
SYNTAX_UNEXPECTED_TOKEN = Code.error(
    "syntax/unexpected-token", "a word or symbol that is not allowed at this point"
)
SYNTAX_VERSION = Code.error(
    "syntax/version", "a version of the language that this netspec does not know"
)

TESTING_INPUTS = Code.error(
    "testing/inputs", "arrays that `check_layer` needs are missing, or it does not take them"
)
TESTING_LIKE = Code.error("testing/like", "there is no layer with this name to compare with")
TESTING_SHAPE = Code.error("testing/shape", "an array whose shape does not fit the layer")

TORCH_MISSING = Code.error("torch/missing", "PyTorch is not installed")

TRAIN_BAD_OPTION = Code.error("train/bad-option", "a training option has an invalid value")
TRAIN_DIVERGED = Code.error("train/diverged", "the loss became infinite or NaN")
TRAIN_OUT_OF_MEMORY = Code.error(
    "train/out-of-memory", "a training step needs more memory than there is"
)

USAGE_BENCH = Code.error(
    "usage/bench", "`bench` was not told what to measure, or what to compare it with"
)
USAGE_CHECK = Code.error("usage/check", "`--check` without a file to compare with")
USAGE_CODE = Code.error("usage/code", "there is no error or warning with this code")
USAGE_COLUMN = Code.error("usage/column", "there is no column with this name")
USAGE_DIFF = Code.error("usage/diff", "a file cannot be compared with a folder")
USAGE_FIX = Code.error("usage/fix", "`--fix` of something that is not a file")
USAGE_MEMORY = Code.error("usage/memory", "options that do not go with `--memory`")
USAGE_NET = Code.error("usage/net", "no net with this name comes with netspec")
USAGE_PICTURE = Code.error(
    "usage/picture", "the file name of a picture has not the ending of a known format"
)
USAGE_PLOT = Code.error("usage/plot", "nothing to draw, or both curves and filters")
USAGE_TARGET = Code.error("usage/target", "options that belong to another target")
USAGE_TRAIN = Code.error(
    "usage/train", "options of a new run and of a resumed one together, or neither given"
)
USAGE_WEIGHTS = Code.error("usage/weights", "a net without weights, where trained ones are needed")

USE_FILE = Code.error("use/file", "a file of ops that cannot be loaded")
USE_NAME = Code.error("use/name", "`use` names neither a file of ops nor an installed package")
USE_NOT_ALLOWED = Code.error(
    "use/not-allowed", "a file uses ops that are Python code, which nobody allowed to run"
)
USE_TWICE = Code.error("use/twice", "one file of ops, or one op of two files, is used twice")

VALUE_ATTRIBUTE = Code.error("value/attribute", "the value has no attribute with this name")
VALUE_NOT_A_CONSTANT = Code.error(
    "value/not-a-constant", "a value of the net where a constant is needed"
)
VALUE_NOT_A_TENSOR = Code.error(
    "value/not-a-tensor", "a constant or a layer where a value of the net is needed"
)
VALUE_OPERATOR = Code.error("value/operator", "an operator that values of the net do not support")
VALUE_SEVERAL = Code.error("value/several", "several values where there must be one")
VALUE_TYPE = Code.error("value/type", "a layer cannot take what its input holds, such as booleans")

VERIFY_GRADIENT = Code.error("verify/gradient", "two implementations compute different gradients")
VERIFY_VALUE = Code.error("verify/value", "two implementations compute different values")

WEIGHTS_BAD_FILE = Code.error(
    "weights/bad-file", "the weights file cannot be read, or is not valid"
)
WEIGHTS_BAD_TENSOR = Code.error(
    "weights/bad-tensor", "a number type that cannot be saved as weights"
)
WEIGHTS_MISMATCH = Code.error("weights/mismatch", "the weights do not fit this net")
WEIGHTS_NO_NORMALIZATION = Code.error(
    "weights/no-normalization", "the weights do not say how images were normalised"
)
