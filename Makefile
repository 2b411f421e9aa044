# make demo, make test: each does all set-up on a machine with Python 3.11+ and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n 2
# The torch to test against; any recent build will do.
TORCH ?= torch==2.13.0

.PHONY: demo examples test slow nightly mutants claims claims-quick lint types bench clean

demo: $(VENV)/.examples
	$(BIN)/python examples/agreement.py --distances both

examples: $(VENV)/.examples
	$(BIN)/python examples/digits.py
	$(BIN)/python examples/forecast.py
	$(BIN)/python examples/sweep.py
	$(BIN)/python examples/char_lm.py

test: $(VENV)/.dev
	$(PYTEST) -m "not slow and not nightly"

slow: $(VENV)/.dev $(VENV)/.peers
	JAXRNN_PEERS=1 $(PYTEST) -m "slow and not nightly"
	XLA_FLAGS= $(PYTEST) -m "not slow and not nightly" -k "not stack and not bidirectional" \
		tests/laws/test_time.py tests/laws/test_gates.py

nightly: $(VENV)/.dev $(VENV)/.peers
	JAXRNN_PEERS=1 $(PYTEST) -m nightly

mutants: $(VENV)/.dev $(VENV)/.peers
	$(BIN)/python -m tests.mutants

# What has a result already is not made again, so this goes on where it was cut off.
claims: $(VENV)/.examples
	$(BIN)/python -m experiments
	$(BIN)/python -m experiments.page

claims-quick: $(VENV)/.examples
	$(BIN)/python -m experiments --quick

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/pyright

bench: $(VENV)/.dev $(VENV)/.peers
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.ragged
	$(BIN)/python -m benchmarks.long
	$(BIN)/python -m benchmarks.population
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.ragged_fit
	$(BIN)/python -m benchmarks.sigmoid
	$(BIN)/python -m benchmarks.page

# One stamp for each set of packages, made again when pyproject.toml changes.
$(VENV)/.venv:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.examples: pyproject.toml $(VENV)/.venv
	$(BIN)/pip install --quiet --editable ".[examples]"
	touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.venv
	$(BIN)/pip install --quiet --editable ".[dev]"
	touch $@

$(VENV)/.peers: pyproject.toml $(VENV)/.venv
	$(BIN)/pip install --quiet $(TORCH) --editable ".[dev,peers]"
	touch $@

clean:
	rm -rf $(VENV) out .pytest_cache .ruff_cache
