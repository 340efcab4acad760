# Everything runs in .venv, made at the first call. PYTHON is what makes it (3.11 or later).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := python -m pip install --quiet --disable-pip-version-check
PIP := $(BIN)/$(INSTALL)
# Each process takes a half and then from what is left, so that what a file prepares is prepared once.
PYTEST := python -m pytest -n 2 --dist worksteal

# Some machines forbid compiled modules to be kept. Each of the many processes that the tests start would
# compile all of netspec anew, which takes longer than what most of them do.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-op test-all test-lowest test-without-torch site fuzz walk lint schemas dist clean

# LeNet on the handwritten digits that come with netspec: no torch, no download.
demo: $(VENV)/base
	$(BIN)/netspec train numpy networks/lenet.net --data digits --epochs 20 --batch 32 --l2 1e-3
	@echo 'To call netspec in this shell: source $(BIN)/activate'

test: $(VENV)/dev
	$(BIN)/$(PYTEST)

# The tests that walk over all ops.
OF_OPS := tests/ops $(addprefix tests/, c_backend/test_ops.py imports/test_circle.py \
	imports_onnx/test_recognition.py numpy_backend/test_plain.py numpy_backend/test_recording.py \
	onnx_backend/test_op_forms.py project/test_docs.py torch_backend/test_honoured_arguments.py \
	torch_backend/test_initial_values.py torch_backend/test_source.py training/test_model_methods.py \
	verbs/test_gradcheck.py)

# All that is about one op, in every program that it can become: NAME=glu.
test-op: $(VENV)/dev
	$(BIN)/$(PYTEST) -m "" -k "$(or $(NAME),$(error which op? make test-op NAME=glu))" $(OF_OPS)

# The heavy tests too: those that build the distribution and install it, and those with large packages.
test-all: $(VENV)/all
	$(BIN)/$(PYTEST) -m ""

# With the lowest version of each dependency that pyproject.toml allows.
test-lowest: $(VENV)-lowest/dev
	$(VENV)-lowest/bin/$(PYTEST)

test-without-torch: $(VENV)-without-torch/dev
	$(VENV)-without-torch/bin/$(PYTEST)

# `netspec check` on files that nobody wrote, then all other files. What fails is kept in found/.
fuzz: SECONDS ?= 600
fuzz: SEED ?= 0
fuzz: $(VENV)/dev
	$(BIN)/python -m tests.helpers.fuzz --seconds $(SECONDS) --seed $(SEED) --out found
	$(BIN)/python -m tests.helpers.fuzz_files --seconds $(SECONDS) --seed $(SEED) --out found

# The Python API and the command line, used in an order that nobody thought of.
walk: SECONDS ?= 3600
walk: SEED ?= 0
walk: $(VENV)/dev
	$(BIN)/python -m tests.walk --seconds $(SECONDS) --seed $(SEED)

lint: $(VENV)/dev schemas
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# GitHub's files and pre-commit's, which run nowhere here, held to their schemas.
schemas: $(VENV)/dev
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema custom.github-workflows-require-timeout \
		.github/workflows/ci.yml .github/workflows/nightly.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms \
		$(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	$(BIN)/pre-commit validate-config
	$(BIN)/pre-commit validate-manifest

# The documents, a page for each layer, net and message, and the Python interface, in build/site/site;
# the playground too, where there are node and npm, and the page to draw digits on, where there are clang,
# wasi-libc and MNIST, or a network to download it from.
site: $(VENV)/base
	$(PIP) --editable '.[site]'
	$(BIN)/python -m website build/site

dist: $(VENV)/dev
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist

# Stamps: what is installed is installed again only when pyproject.toml changes.
$(VENV)/base: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/dev: $(VENV)/base
	$(PIP) --editable '.[dev]'
	touch $@

$(VENV)/all: $(VENV)/dev
	$(PIP) --editable '.[dev,heavy]'
	touch $@

$(VENV)-lowest/dev: pyproject.toml
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/$(INSTALL) uv
	$(@D)/bin/uv pip install --quiet --python $(@D)/bin/python --resolution lowest-direct --editable '.[test,torch,images,plot,tensorboard]'
	touch $@

$(VENV)-without-torch/dev: pyproject.toml
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/$(INSTALL) --editable '.[test,images,plot]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-without-torch build dist found \
		*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
