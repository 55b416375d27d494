# Two commands for a fresh machine with Python 3.11 or later:
#   make leaderboard   installs into .venv and trains and scores every model at mini scale
#   make test          the same installation, then the tests

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
UNSLOTH := $(VENV)/.unsloth

.PHONY: leaderboard test check unsloth clean

leaderboard: $(STAMP)
	$(BIN)/bench run --models all

test: $(STAMP)
	$(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# torch first and by itself: pip then takes a CPU build where one is offered.
$(STAMP): pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt torch
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	touch $(STAMP)

# Unsloth on a machine without a GPU: its CUDA-only dependencies (xformers, torchvision) are not needed there.
unsloth: $(UNSLOTH)
$(UNSLOTH): $(STAMP)
	$(BIN)/pip install -q --no-deps -c constraints.txt unsloth unsloth_zoo \
		cut_cross_entropy tyro hf_transfer sentencepiece protobuf einops msgspec docstring-parser typeguard shtab wheel
	touch $(UNSLOTH)

clean:
	rm -rf $(VENV) build dist *.egg-info
