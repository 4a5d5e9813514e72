# Commands for contributors. Activate a virtual environment first.
.PHONY: install format lint site test test-all

install: # the package in editable mode, with the development tools
	pip install -c constraints.txt -e ".[dev]"

format:
	ruff check --fix .
	ruff format .

lint:
	ruff check .
	ruff format --check .
	mypy

site: # the documentation site, in site/
	mkdocs build --strict

test: # the fast tests: no learning runs, no killed processes, no wheel
	pytest -m "not learn and not resume and not wheel and not gpu"

test-all: lint # everything that .ci/run checks, in the present environment
	pytest
