# What one does with this checkout. `make` lists it; README.md tells the two commands to start with.
# PYTHON=python3.12 chooses an interpreter, and gives it a virtual environment of its own.

ifdef PYTHON
VENV := .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
export PYTHON
else
VENV := .venv
endif
READY := $(VENV)/.ready
BIN := $(VENV)/bin
PROJECTS := $(wildcard sparts-*/pyproject.toml)
VERSION = $(shell $(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
CODE = $(shell find sparts-*/src tests bench soak examples scripts -name '*.py' -not -path '*/.*')

# What is built from source, with system packages: locked by itself, in requirements-glib.lock.
BUILT := pygobject pycairo

# What may differ where a system has no epoll, pidfd, inotify or /proc.
PORTABLE := $(addprefix tests/core/,test_system.py test_select_loop.py test_select_processes.py test_select_task.py \
  test_pidfile.py test_daemon.py test_testing_processes.py test_directory_watcher.py) \
  tests/dev/test_reload.py tests/net/test_asyncio_server.py tests/kernel/test_inbox.py tests/thrift/test_nbserver.py tests/tornado/test_http.py tests/tornado/test_console.py tests/asgi/test_requests.py \
  tests/grpc/test_calls.py tests/twisted/test_command.py tests/twisted/test_reactor_contract.py \
  tests/rpc/test_contract.py::TestHTTP tests/rpc/test_contract.py::TestThrift

PORT ?= 8000
JOBS ?= 4
ARGS ?=
ONLY ?=
RELEASE ?=
SECONDS ?= 600

.DEFAULT_GOAL := help
.PHONY: help setup serve test test-portable system-packages glib check types docs format bench soak known dist lock changelog release audit pictures clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 18

setup: $(READY) ## Make the virtual environment (quick when nothing has changed)

$(READY): pyproject.toml $(PROJECTS) requirements.lock scripts/setup
	@scripts/setup $(VENV)

serve: $(READY) ## Run the HTTP service of examples/ on port 8000 (another: PORT=8080)
	$(BIN)/python examples/http_by_name.py --http-port $(PORT)

test: $(READY) glib ## Run the tests (some of them: ARGS="tests/kernel -k name")
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

test-portable: $(READY) ## Run the tests that matter on macOS, without what Linux alone has
	PYTHONPATH=tests/without_linux $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -k "not epoll and not inotify" $(PORTABLE) $(ARGS)

system-packages: $(READY) ## Install the system packages that tests need, or say what is missing
	$(BIN)/python -m scripts.system_packages

glib: system-packages ## Install what the GLib loop needs, where it can be built
	@scripts/setup_glib $(VENV)

check: $(READY) ## Run the static checks: ruff, mypy --strict, and the words of what people read
	@status=0; \
	$(BIN)/ruff check . || status=1; \
	$(BIN)/ruff format --check . || status=1; \
	$(BIN)/mypy --python-version $(VERSION) $(CODE) || status=1; \
	$(BIN)/python -m scripts.check_words || status=1; \
	exit $$status

types: $(READY) ## Verify that a type checker knows all public types (pyright's --verifytypes)
	$(BIN)/python -m scripts.verify_types

docs: $(READY) ## Build the documentation into build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	$(BIN)/python -m scripts.check_site build/site

format: $(READY) ## Format the code and mend what can be mended by machine
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## Run the benchmarks (one of them: ONLY=counters); writes docs/performance.md
	SPARTS_DISABLE_PLUGINS=$${SPARTS_DISABLE_PLUGINS-otel,reload} $(BIN)/python -m bench.run $(ONLY)

soak: $(READY) ## Run a service that does everything for SECONDS=600, with faults; report into docs/reliability.md
	$(BIN)/python -m soak.http_restarts asgi
	$(BIN)/python -m soak.http_restarts tornado
	$(BIN)/python -m soak.grpc_restarts --every 5
	$(BIN)/python -m soak.grpc_restarts --every 5 --kept
	$(BIN)/python -m soak.run --seconds $(SECONDS) --report

known: $(READY) ## Write which distribution provides which task and command
	$(BIN)/python -m scripts.known_providers

dist: $(READY) ## Build the wheels and sdists of all into dist/
	$(BIN)/python -m scripts.build_distributions dist

pictures: $(READY) ## Make the pictures of the docs (they need chromium)
	PICTURES=1 $(BIN)/python -m pytest -n 0 -q tests -k pictures

lock: $(READY) ## Choose the newest versions again, into requirements.lock
	UV_CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-annotate \
	  $(foreach name,$(PROJECTS:/pyproject.toml=),--no-emit-package $(name)) \
	  $(foreach name,$(BUILT),--no-emit-package $(name)) \
	  --all-extras --group dev --group bench --group docs --output-file requirements.lock $(PROJECTS)
	UV_CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-annotate \
	  $(foreach name,$(PROJECTS:/pyproject.toml=) dbus-fast pluggy,--no-emit-package $(name)) \
	  --extra glib --output-file requirements-glib.lock sparts-dbus/pyproject.toml

changelog: $(READY) ## Show the changelog's next section, made of changes/
	$(BIN)/towncrier build --draft --version next

release: $(READY) ## Make a release up to its upload: RELEASE=1.2.0 (see docs/releasing.md)
	@$(BIN)/python -m scripts.release "$(RELEASE)"

audit: $(READY) ## Ask the registry whether a locked version is known to be vulnerable
	@$(BIN)/python -m scripts.audit

clean: ## Remove what was built (not the virtual environments)
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
