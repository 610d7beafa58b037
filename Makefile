# Two commands do everything: `make demo` and `make test`. Both make .venv first.
PYTHON ?= python3.11
BIN := .venv/bin
# One thread a process: model workers share the cores, and torch's threads would fight over them.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test coverage check format benchmark clean

demo: .venv/installed
	$(BIN)/zsd-ray run configs/digits.yaml

test: .venv/installed
	$(BIN)/pytest -n 3 --dist loadscope

# Apart from `test`: measuring branches doubles the time of the pure Python tests.
coverage: .venv/installed
	$(BIN)/pytest -n 3 --dist loadscope --cov --cov-report=term:skip-covered --cov-fail-under=90

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
