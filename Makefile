# Tickgate's commands. Each takes ARGS, for example: make replay ARGS="--json"
# Needed: Python 3.11 or later, and make. The rest is installed into .venv when a hash of the
# requirement files says so. Choose an interpreter with PYTHON=/path/to/python3.
.DEFAULT_GOAL := help
.PHONY: help paper replay test test-all soak kills swaps check bench bench-peers demo-models
.PHONY: extras sessions clean
MAKEFLAGS += --no-print-directory
ARGS ?=
PYTHON ?=
RUN := .venv/bin/python
# Processes that test, more than cores, for many tests wait; files stay whole, in the order of
# tests/conftest.py.
TESTERS := -n 3 --dist loadfile --no-loadscope-reorder
ROOMS := config engine features references strategies risk venues store ml app

# $(call install,GROUP): find an interpreter, let it bring .venv up to date.
define install
@for python in "$(PYTHON)" .venv/bin/python python3.11 python3.12 python3.13 python3 python; do \
    [ -n "$$python" ] || continue; \
    "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
        >/dev/null 2>&1 && exec "$$python" requirements/install.py $(1); \
    [ "$$python" != "$(PYTHON)" ] || break; \
done; \
echo "make: no Python 3.11 or later with the venv module was found$(if $(PYTHON), at $(PYTHON))." >&2; \
echo "      Install one (Debian, Ubuntu: python3 python3-venv) or say where it is:" >&2; \
echo "      make $@ PYTHON=/path/to/python3" >&2; exit 1
endef

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo '  Each takes ARGS, for example: make replay ARGS="--json"'

paper:  ## trade on paper over live wires, on an exchange of our own (ARGS="--duration 60s")
	$(call install,core)
	@$(RUN) run_live.py --paper $(ARGS)

replay:  ## trade through data/sample (or ARGS="--replay PATH ...")
	$(call install,core)
	@$(RUN) run_live.py $(if $(findstring --replay,$(ARGS)),,--replay data/sample) $(ARGS)

test:  ## the tests, without the heavy ones
	$(call install,test)
	@$(RUN) -m pytest -q $(TESTERS) -m "not slow" $(ARGS)

test-all:  ## every test; some take minutes, and the packages of all families are installed
	$(call install,all)
	@$(RUN) -m pytest -q $(TESTERS) $(ARGS)

soak:  ## ten minutes of live orders on an embedded exchange (ARGS="--duration 60s")
	$(call install,test)
	@$(RUN) -m tests.soak $(ARGS)

kills:  ## kill -9 of a trading live session, a hundred times (ARGS="--rounds 10")
	$(call install,test)
	@$(RUN) -m tests.kills $(ARGS)

swaps:  ## twenty model swaps a minute at full speed, beside minutes without (four minutes)
	$(call install,test)
	@$(RUN) -m tests.swaps $(ARGS)

check:  ## format, lint, types, house rules, doctests
	$(call install,test)
	@status=0; \
	echo "format"; $(RUN) -m ruff format --check --quiet --output-format concise . || \
	    { echo "  run: $(RUN) -m ruff format ."; status=1; }; \
	echo "lint"; $(RUN) -m ruff check --quiet --output-format concise . || status=1; \
	echo "types"; $(RUN) -m mypy --no-error-summary || status=1; \
	echo "house rules and doctests"; \
	$(RUN) -m pytest -q --doctest-modules tests/test_tidy.py $(ROOMS) $(ARGS) || status=1; \
	exit $$status

bench:  ## the speed bars, each beside its floor
	$(call install,test)
	@$(RUN) -m benchmarks $(ARGS)

bench-peers:  ## the same work in other engines, in environments of their own
	$(call install,test)
	@$(RUN) -m benchmarks.peers $(ARGS)

demo-models:  ## train the demonstration models again
	$(call install,train)
	@$(RUN) -m app.demo_models $(ARGS)

extras:  ## add the packages that training and exporting models need (ARGS=deep: torch; ARGS=catboost)
	$(call install,$(or $(ARGS),train))

sessions:  ## write the table of exchange sessions anew (ARGS="--last 2035-12-31")
	$(call install,core)
	@$(RUN) -m venv .venvs/sessions && mkdir -p build
	@.venvs/sessions/bin/pip install -q -r requirements/sessions.txt
	@.venvs/sessions/bin/python -m app.session_table $(ARGS) > build/session_data.py
	@mv build/session_data.py engine/session_data.py

clean:  ## remove caches and generated kernels; keeps .venv, runs and data
	@find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis artifacts/kernels build
