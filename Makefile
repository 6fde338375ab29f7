PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-jax lint format clean

demo: $(VENV)/.demo
	$(BIN)/python recipes/demo.py

test: $(VENV)/.test lint
	$(BIN)/python -m pytest
	$(MAKE) test-jax

test-jax: $(VENV)/.test
	KERAS_BACKEND=jax $(BIN)/python -m pytest -m "not tensorflow" $(LIBRARY_TESTS)

LIBRARY_TESTS := tests/test_dau.py tests/test_dynamic_linear.py tests/test_net.py \
	tests/test_explanation.py tests/test_losses.py tests/test_rescale.py tests/test_encoding.py

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/.demo: setup.py
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("Python 3.10 or later is needed; name one with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[demo]'
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo build *.egg-info
