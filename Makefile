# From a bare checkout with Python 3.11 and make: `make demo` and `make test`.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
# vLLM's own: .venv and what vLLM adds to it.  TRL imports vLLM wherever it finds it.
VLLM_VENV ?= .venv-vllm
# Core and games on another Python: an environment without torch.
PYTHON_VERSION ?= 3.13
OTHER_VENV ?= .venv-$(PYTHON_VERSION)
PURELIB := "import sysconfig; print(sysconfig.get_path('purelib'))"
# Processes that share the tests, a file at a time.
WORKERS ?= 2
PLAYING := playpen-core playpen-games-clembench
PACKAGES := $(PLAYING) playpen-trainers
# Two OpenMP threads spin against each other on a busy machine.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help install demo test test-all test-python test-browser test-vllm coverage lint format \
	bench wheels version docs clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

install: $(VENV)/.developed  ## an environment with everything, in .venv

$(VENV)/.installed: constraints.txt $(addsuffix /pyproject.toml,$(PACKAGES))
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt pip hatchling editables
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation \
		$(addprefix -e ./,$(PACKAGES))
	touch $@

$(VENV)/.developed: $(VENV)/.installed pyproject.toml
	$(BIN)/python -m pip install --quiet -c constraints.txt --group dev
	touch $@

demo: $(VENV)/.installed  ## a tiny model learns a game of the pack (minutes, on a CPU)
	$(BIN)/playpen demo

test: install  ## the test suite
	$(BIN)/python -m pytest -m "not slow and not vllm and not browser" -n $(WORKERS) --dist loadfile

test-all: install  ## the test suite with what is marked slow
	$(BIN)/python -m pytest -m "not vllm and not browser"

test-python: $(OTHER_VENV)/.installed  ## core and games without torch: PYTHON_VERSION=3.13
	$(OTHER_VENV)/bin/python -m pytest -m "not torch and not slow and not vllm and not browser" \
		-n $(WORKERS) --dist loadfile tests/core tests/clembench

$(OTHER_VENV)/.installed: constraints.txt pyproject.toml $(addsuffix /pyproject.toml,$(PLAYING))
	test -x $(OTHER_VENV)/bin/python \
		|| { python=$$(.ci/find-python $(PYTHON_VERSION)) && "$$python" -m venv $(OTHER_VENV); }
	$(OTHER_VENV)/bin/python -m pip install --quiet -c constraints.txt pip hatchling editables
	$(OTHER_VENV)/bin/python -m pip install --quiet -c constraints.txt --no-build-isolation \
		$(addprefix -e ./,$(PLAYING))
	$(OTHER_VENV)/bin/python -m pip install --quiet -c constraints.txt --group test
	touch $@

test-browser: install  ## reports and the viewer in Chromium (/usr/bin/chromium)
	$(BIN)/python -m pytest -m browser tests/browser

test-vllm: $(VLLM_VENV)/.installed  ## the tests that run a real vLLM (minutes, on a CPU)
	$(VLLM_VENV)/bin/python -m pytest -m vllm

$(VLLM_VENV)/.installed: $(VENV)/.developed requirements-vllm.txt
	$(BIN)/python -m venv --clear --without-pip $(VLLM_VENV)
	echo "import site; site.addsitedir('$$($(BIN)/python -c $(PURELIB))')" \
		> $$($(VLLM_VENV)/bin/python -c $(PURELIB))/developed.pth
	$(BIN)/python -m pip --python $(VLLM_VENV)/bin/python install --quiet --no-deps \
		-r requirements-vllm.txt
	touch $@

coverage: install  ## lines of core and games that their tests run: a table, and htmlcov/index.html
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not slow and not vllm and not browser" \
		-n $(WORKERS) --dist loadfile tests/core tests/clembench
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered
	$(BIN)/coverage html --quiet

lint: install  ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install  ## let ruff format and mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install  ## benchmarks, side by side with clemcore
	for name in startup overhead games grpo_step turns endurance scoring report engines; do $(BIN)/python tests/benchmarks/$$name.py || exit 1; done

wheels: install  ## the three distributions as wheels, in dist/
	for package in $(PACKAGES); do \
		$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation -w dist ./$$package \
		|| exit 1; done

version:  ## write a version into all files that have one: make version VERSION=0.3.0
	@echo "$(VERSION)" | grep -qE '^[0-9]+\.[0-9]+\.[0-9]+$$' \
		|| { echo "which one? make version VERSION=0.3.0" >&2; exit 2; }
	sed -i.before -E -e 's/^version = .*/version = "$(VERSION)"/' \
		-e 's/"(playpen-core(\[hf\])?)~=[^"]*"/"\1~=$(VERSION)"/' \
		$(addsuffix /pyproject.toml,$(PACKAGES))
	sed -i.before -E 's/^version: .*/version: $(VERSION)/' CITATION.cff
	rm CITATION.cff.before $(addsuffix /pyproject.toml.before,$(PACKAGES))

docs: install  ## the pages that are made from code
	$(BIN)/python docs/make_reference.py

clean:  ## remove what was built
	rm -rf dist .coverage* htmlcov .pytest_cache .mypy_cache .ruff_cache .hypothesis runs/demo
	find . -name __pycache__ -not -path "./$(VENV)/*" -exec rm -rf {} +
