PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A build for the CPU will do: make TORCH='torch --index-url ...' takes it from elsewhere.
TORCH ?= torch==2.13.0
# Two processes, each of which takes whole files.
PARALLEL ?= -n 2 --dist loadfile

.PHONY: demo test test-jax test-torch docs lint format clean

demo: $(VENV)/.demo
	$(BIN)/python recipes/demo.py

test: $(VENV)/.test lint
	$(BIN)/python -m pytest $(PARALLEL)
	$(MAKE) test-jax

test-jax: $(VENV)/.test
	KERAS_BACKEND=jax $(LIBRARY_TESTS)

test-torch: $(VENV)/.torch
	KERAS_BACKEND=torch $(LIBRARY_TESTS)

# What runs on every backend. Occlusion is the same code everywhere, and JAX compiles every shape.
LIBRARY_TESTS = $(BIN)/python -m pytest $(PARALLEL) -m "not tensorflow" -k "not occlusion" \
	tests/backend/test_backend.py tests/layers/test_layers.py tests/layers/test_dau.py tests/layers/test_dynamic_linear.py \
	tests/layers/test_rescale.py tests/layers/test_encoding.py tests/test_losses.py tests/models/test_coda_net.py \
	tests/training/test_optimizers.py tests/training/test_annealing.py tests/models/test_growth.py tests/training/test_schedules.py \
	tests/models/test_map_penalty.py tests/models/test_pretrained.py tests/utils/test_checks.py tests/training/test_confusion.py \
	tests/explanation/test_explanation.py tests/explanation/test_dataset.py tests/explanation/test_channels.py \
	tests/attribution/test_values.py tests/data/test_images.py tests/data/test_image_files.py \
	tests/data/test_numpy_batches.py tests/training/test_plain_run.py tests/layers/test_alignment.py

# Into build/site; the notebooks run. The tests do the same.
docs: $(VENV)/.test
	NO_MKDOCS_2_WARNING=1 TF_CPP_MIN_LOG_LEVEL=3 \
		$(BIN)/python -m mkdocs build --strict --quiet --config-file docs/reference/mkdocs.yml

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The links of an installed clone name files: a new file needs another installation.
FOLDERS := $(shell find coda_keras recipes export -type d -not -name __pycache__)

$(VENV)/.demo: setup.py setup.cfg pyproject.toml $(FOLDERS)
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("Python 3.10 or later is needed; name one with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[demo]'
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

$(VENV)/.torch: $(VENV)/.test
	$(BIN)/pip install --quiet --disable-pip-version-check $(TORCH)
	touch $@

clean:
	rm -rf $(VENV) demo build *.egg-info
