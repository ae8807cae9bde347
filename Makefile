# make demo   find people in the pictures of examples/ (no training packages needed)
# make web    the page's engine, for litepose serve
# make test   everything that should hold, in a fresh environment
# Each environment is made once and made again when the requirements change.

PYTHON ?= python3
DEMO_ENV := .venv
TEST_ENV := .venv-test
DEMO_OUT := out/demo
WORKERS ?= 2
# One thread for each worker: two workers with all threads each are slower than one.
export OMP_NUM_THREADS ?= 1

.PHONY: demo web pictures test test-slow test-all lint clean

demo: $(DEMO_ENV)/up-to-date
	$(DEMO_ENV)/bin/litepose predict examples/astronaut.jpg examples/scene.jpg -m lpn_50 -o $(DEMO_OUT) --json $(DEMO_OUT)/people.json
	@echo
	@echo "The people are drawn into the pictures of $(CURDIR)/$(DEMO_OUT):"
	@ls -1 $(DEMO_OUT)

# The browser's engine for `litepose serve`, from the npm registry; WEBGPU=1 adds the one for graphics cards.
web: $(DEMO_ENV)/up-to-date
	$(DEMO_ENV)/bin/python -m litepose.web.engine_files $(if $(WEBGPU),--webgpu)

# The pictures of the README, after new weights.
pictures: demo
	cp $(DEMO_OUT)/astronaut.jpg $(DEMO_OUT)/scene.jpg docs/images/

test: lint
	$(TEST_ENV)/bin/python -m pytest -n $(WORKERS) -m "not slow" $(PYTEST_ARGS)

# Only what `make test` leaves out; pytest's code 5 says that no test is marked slow, which is all right.
test-slow: $(TEST_ENV)/up-to-date
	$(TEST_ENV)/bin/python -m pytest -n $(WORKERS) -m slow $(PYTEST_ARGS) || test $$? -eq 5

test-all: lint
	$(TEST_ENV)/bin/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

lint: $(TEST_ENV)/up-to-date
	$(TEST_ENV)/bin/ruff check .
	$(TEST_ENV)/bin/ruff format --check .
	$(TEST_ENV)/bin/mypy

# An old Python ends here, with a sentence; venv and pip would say something else.
CHECK_PYTHON = $(PYTHON) -c "import sys; v = sys.version_info[:2]; sys.exit(None if v >= (3, 11) else f'litepose needs Python 3.11 or newer; $(PYTHON) is {v}. Call: make PYTHON=python3.11')"

$(DEMO_ENV)/up-to-date: pyproject.toml constraints.txt
	$(CHECK_PYTHON)
	$(PYTHON) -m venv --clear $(DEMO_ENV)
	$(DEMO_ENV)/bin/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

# torch first and alone: so pip takes the plain build that it finds, and nothing that follows changes it.
$(TEST_ENV)/up-to-date: pyproject.toml constraints.txt
	$(CHECK_PYTHON)
	$(PYTHON) -m venv --clear $(TEST_ENV)
	$(TEST_ENV)/bin/python -m pip install --quiet torch==2.13.0
	$(TEST_ENV)/bin/python -m pip install --quiet -c constraints.txt -e ".[train,dev]"
	@touch $@

clean:
	rm -rf $(DEMO_ENV) $(TEST_ENV) out
