# Every target first brings what is missing (scripts/bootstrap.sh: system libraries, uv, the environment).
export PATH := $(CURDIR)/.tools/bin:$(PATH)
# A user without a home that can be written (containers, system users): uv's cache stays in the checkout.
ifeq ($(UV_CACHE_DIR),)
ifneq ($(shell mkdir -p "$${XDG_CACHE_HOME:-$$HOME/.cache}" 2>/dev/null && test -w "$${XDG_CACHE_HOME:-$$HOME/.cache}" && echo yes),yes)
export UV_CACHE_DIR := $(CURDIR)/.tools/cache
endif
endif

# Large pages for what a network computes: without them page faults take half of a CPU's time (docs/acting.md).
GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=4294967296:glibc.malloc.top_pad=67108864
export GLIBC_TUNABLES

.PHONY: help setup demo test test-robots test-wheel lint docs gallery notebooks parity format

help:  ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 13

setup:  ## brings system libraries, uv and the environment; nothing to do: nothing said
	@sh scripts/bootstrap.sh

demo: setup  ## demonstrations, training, serving and evaluation on LIBERO, with a report in runs/demo/
	uv run python -m scripts.demo.main

test: setup  ## the default tests (PYTEST_ARGS="-m slow" and the like add to the command line)
	uv run pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-robots: setup  ## the robot examples on their simulated robots' real protocols, each in its own environment
	sh scripts/robot_environments.sh
	uv run pytest -m robot tests/examples $(PYTEST_ARGS)

test-wheel: setup  ## the wheel in an empty environment (EXTRAS=train,sim PYTHON=3.12: with these extras, that Python)
	uv run --no-sync python tests/external/check_wheel.py --extras "$(EXTRAS)" --python "$(or $(PYTHON),3.11)"

lint: setup  ## formatting, lint rules, types, layers
	uv run ruff format --check .
	uv run ruff check .
	uv run pyright
	uv run lint-imports --no-logo

docs: setup  ## the documentation site, in runs/site; a broken link or reference is an error
	NO_MKDOCS_2_WARNING=1 uv run --group docs mkdocs build --strict

gallery: setup  ## the pictures of docs/gallery.md, from runs of the commands that they show (Chromium, three minutes)
	uv run python docs/build/gallery.py

notebooks: setup  ## executes the notebooks of examples/notebooks and stores their outputs (15 minutes on two cores)
	uv run --group notebooks jupyter execute --inplace examples/notebooks/*.ipynb

parity: setup  ## the golden vectors, and the largest differences seen into docs/parity.md
	XLA_FLAGS= INSPIRE_FAST_PARITY=docs/parity.md uv run pytest tests/golden -m "slow or not slow"

format: setup  ## rewrites formatting and what the linter can mend by itself
	uv run ruff check --fix .
	uv run ruff format .
