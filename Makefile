PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# With these JAX compiles the tests' small programs faster; a JAX that knows other flags goes without.
XLA ?= --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false
# A build for the CPU will do: make TORCH='torch --index-url ...' takes it from elsewhere.
TORCH ?= torch==2.13.0
# What runs exported nets in Node, where there is one.
ONNXRUNTIME_WEB ?= onnxruntime-web@1.30.0
# Two processes, each of which takes whole files, in the order of tests/conftest.py.
PARALLEL ?= -n 2 --dist loadfile --no-loadscope-reorder
# An installed clone has a link for every file: another set of files needs another installation.
FILES := $(shell find coda_keras recipes export -type f -not -name '*.pyc' | sort | cksum | cut -d' ' -f1)
DEMO := $(VENV)/.demo-$(FILES)
PYTEST = $(BIN)/python -m pytest $(PARALLEL)

.PHONY: install demo test quick test-jax test-torch docs tables portability lint types format clean

install: $(DEMO)

demo: $(DEMO)
	$(BIN)/python recipes/demo.py

# The whole, in the order of CI. Ray's tests wait much, so that there is one more process beside them.
test: lint types
	$(PYTEST) -n 3
	$(MAKE) test-jax

# For every edit: without other processes, browsers, notebooks, trainings and wheels.
quick: $(VENV)/.test
	$(PYTEST) -m "not process"

# Every test but those that are marked; tests/conftest.py says what the marks mean.
test-jax: $(VENV)/.test
	! XLA_FLAGS='$(XLA)' $(BIN)/python -c 'import jax; jax.devices()' 2>/dev/null || \
		export XLA_FLAGS='$(XLA)'; \
	KERAS_BACKEND=jax $(PYTEST) -m "not tensorflow and not once and not slow_on_jax"

test-torch: $(VENV)/.torch
	KERAS_BACKEND=torch $(PYTEST) -m "not tensorflow and not once"

# Into build/site; the notebooks run. The tests do the same.
docs: $(VENV)/.test
	NO_MKDOCS_2_WARNING=1 TF_CPP_MIN_LOG_LEVEL=3 \
		$(BIN)/python -m mkdocs build --strict --config-file docs/reference/mkdocs.yml

# Writes the tables of README.md and docs/ anew, from stored results.
tables: $(VENV)/.test
	PYTHONPATH=tests $(BIN)/python -m docs.tables

# Exported nets in their runtimes beside Keras, in less than ten minutes.
portability: $(VENV)/.test
	$(BIN)/python benchmarks/portability.py --output benchmarks/results/portability.json

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	$(BIN)/basedpyright --pythonpath $(BIN)/python

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(DEMO): setup.py setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; (3, 10) <= sys.version_info < (3, 14) or sys.exit("Python 3.10 to 3.13 is needed; name one with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[demo]'
	touch $@

$(VENV)/.test: $(DEMO)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	! command -v npm >/dev/null || npm install --silent --prefix $(VENV)/node $(ONNXRUNTIME_WEB) || \
		echo "There is no onnxruntime-web; its tests are left out."
	touch $@

$(VENV)/.torch: $(VENV)/.test
	$(BIN)/pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[captum]'
	touch $@

clean:
	rm -rf $(VENV) demo build *.egg-info
