# Needs Python >= 3.11, make and a package registry; everything else goes into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Most of what is installed is never imported; Python compiles what is, the first time, and keeps it.
INSTALL = $(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test test-all docs lint torture tpu clean

demo: $(VENV)/demo
	$(BIN)/python -m benchmarks.preresnet --config configs/digits.py

test: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal

# With those that take minutes.
test-all: $(VENV)/test
	$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal -m ''

# Breaks runs in every way it can for so many minutes: MINUTES=1 in CI, hours at night.
MINUTES ?= 60
torture: $(VENV)/test
	$(BIN)/python -m tests.torture --minutes $(MINUTES)

# The site, in build/docs/index.html; warnings are errors, and nothing is fetched.
docs: $(VENV)/docs
	rm -rf docs/generated
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs build/docs

# What a TPU's compiler says of the programs, on a host without one: minutes a program.
NETWORKS ?= preresnet-20,preresnet-110,vgg,densenet-40
PRECISION ?= bfloat16
tpu: $(VENV)-tpu/ready
	$(VENV)-tpu/bin/python -m benchmarks.throughput.tpu --networks $(NETWORKS) --precision $(PRECISION)

lint: $(VENV)/test $(VENV)/docs
	$(BIN)/pre-commit run --all-files

$(VENV)/demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) .
	touch $@

$(VENV)/test: $(VENV)/demo
	$(INSTALL) '.[test]'
	touch $@

$(VENV)/docs: $(VENV)/demo
	$(INSTALL) '.[docs]'
	touch $@

# An environment of its own: jax would look for a TPU at each start.
$(VENV)-tpu/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-tpu
	$(VENV)-tpu/bin/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[tpu]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-tpu build docs/generated .mypy_cache .pytest_cache .ruff_cache
