# `make demo` runs something, `make test` and `make test-all` test it. All make .venv first.
PYTHON ?= python3.11
BIN := .venv/bin
# One thread a process: model workers share the cores, and torch's threads would fight over them.
export OMP_NUM_THREADS ?= 1

PYTEST := $(BIN)/pytest --dist loadscope --durations=25
QUICK := -n 2 -m 'not full' --hypothesis-profile=quick
COVERED := --cov --cov-report=term:skip-covered

.PHONY: demo test test-all coverage coverage-all check format benchmark clean

demo: .venv/installed
	$(BIN)/zsd-ray run configs/digits.yaml

# Of each kind something: a run on Ray, a resumed one, a store, a few examples of each property.
test: .venv/installed
	$(PYTEST) $(QUICK)

test-all: .venv/installed
	$(PYTEST) -n 3

# Apart from the tests: to measure branches doubles the time of the pure Python ones.
coverage: .venv/installed
	$(PYTEST) $(QUICK) $(COVERED) --cov-fail-under=85

coverage-all: .venv/installed
	$(PYTEST) -n 3 $(COVERED) --cov-fail-under=95

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: .venv/installed
	$(BIN)/python benchmarks/overhead.py

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

clean:
	rm -rf .venv runs
