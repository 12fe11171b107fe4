# make demo   translate with the built-in model, INT8 beside float
# make test   the tests, against the installed package
# make bench  translation engines side by side; writes docs/benchmarks-translate.*, figures into benchmarks/results
# make docs   the site of the documents, with the tutorials run, into build/site
# make wheel  the wheel that is published, for Linux with glibc 2.28 and later, into dist
# All use one .venv, made if missing.
PYTHON ?= python3
# What is installed: this folder, or a wheel made from it.
PACKAGE ?= .
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
PYTEST_ARGS ?= -m "not slow"
# Files of tests run side by side in as many processes.
TEST_PROCESSES ?= 2
SOURCES := pyproject.toml CMakeLists.txt $(shell find keras_int8nmt -type f \
	-not -path '*/_native/*' -not -path '*/__pycache__/*')

.PHONY: demo test bench lint docs wheel native clean

demo: $(VENV)/.installed
	$(BIN)/keras-int8nmt demo

# Run inside .venv, so that no Python that a test starts finds the source folder before the package.
test: $(VENV)/.installed-test
	cd $(VENV) && bin/pytest --rootdir=.. -c ../pyproject.toml -n $(TEST_PROCESSES) --dist loadfile \
		$(PYTEST_ARGS) ../tests

bench: $(VENV)/.installed-bench
	$(BIN)/keras-int8nmt bench translate --docs docs

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	git ls-files '*.cc' '*.h' | xargs $(BIN)/clang-format --dry-run --Werror
	$(BIN)/mypy

docs: $(VENV)/.installed-docs
	$(BIN)/python scripts/build_docs.py $(DOCS_ARGS)

wheel:
	PYTHON=$(PYTHON) scripts/build_wheel.sh

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip

$(VENV)/.installed: $(SOURCES) | $(BIN)/python
	$(PIP) install '$(PACKAGE)'
	touch $@

$(VENV)/.installed-test: $(SOURCES) | $(BIN)/python
	$(PIP) install '$(PACKAGE)[test,marian]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: $(SOURCES) | $(BIN)/python
	$(PIP) install '$(PACKAGE)[bench]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: $(SOURCES) | $(BIN)/python
	$(PIP) install '$(PACKAGE)[docs]'
	touch $@ $(VENV)/.installed

# Tools only; what is linted need not be built.
$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(PIP) install --quiet ruff mypy clang-format pre-commit numpy
	touch $@

# For developers: the library into this checkout, with the oneDNN of $(PYTHON).
native:
	cmake -S . -B build/native -DCMAKE_BUILD_TYPE=Release -DKERAS_INT8NMT_TESTS=ON \
		-DPython_EXECUTABLE="$$(command -v $(PYTHON))"
	cmake --build build/native --parallel 2
	cmake --install build/native --prefix .

clean:
	rm -rf build $(VENV) keras_int8nmt/_native
