# Short names for what stands in scripts/; none of it needs make.

PYTHON_OF_VENV = $${VENV:-.venv}/bin/python

.PHONY: help demo test quick inner cluster keycloak soak style format types docs package bench ci

help:
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile

demo: ## the example under gunicorn, at 127.0.0.1:8000
	@sh scripts/run-example

test: ## every stage of the tests
	@sh scripts/run-tests

quick: ## the tests without servers
	@sh scripts/run-tests --quick

inner: ## of those the core's, without the long ones: under a minute
	@sh scripts/run-tests --inner

cluster: ## the example as a cluster on this machine
	@sh scripts/run-cluster

keycloak: ## a real Keycloak and an app whose logins are its, to click through
	@sh scripts/run-keycloak

soak: ## every stage with all its rounds; writes docs/soak.md
	@sh scripts/run-tests --soak --report docs/soak.md

style: ## what ruff has to say
	@sh scripts/venv check
	@$(PYTHON_OF_VENV) -m ruff check .
	@$(PYTHON_OF_VENV) -m ruff format --check .

format: ## let ruff put it right
	@sh scripts/venv check
	@$(PYTHON_OF_VENV) -m ruff check --fix .
	@$(PYTHON_OF_VENV) -m ruff format .

types: ## what mypy has to say
	@sh scripts/venv check
	@$(PYTHON_OF_VENV) -m mypy

docs: ## the docs, into build/docs
	@sh scripts/venv check
	@$(PYTHON_OF_VENV) -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "Open build/docs/index.html"

package: ## the wheel, installed alone, and each extra by itself
	@sh scripts/venv check
	@$(PYTHON_OF_VENV) scripts/check_package.py

bench: ## the benchmarks
	@sh scripts/venv bench
	@$(PYTHON_OF_VENV) -m benchmarks

ci: ## all that has to pass before a change lands
	@bash .ci/run
