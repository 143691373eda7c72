# What people and machines do with a checkout. `make install` once; every other target installs what it needs first.
# PYTHON picks the interpreter for a new .venv: any Python 3.11 or newer.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-installed
DEVELOPMENT := $(VENV)/.development-installed
GUEST := $(VENV)/guest
GUEST_READY := $(VENV)/.guest-unpacked
COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options
# Compiled modules are kept whatever the environment says: without them each start of a program compiles them all again,
# which takes longer than everything else that it does, and tests start thousands.
export PYTHONDONTWRITEBYTECODE :=
# Tests wait more than they compute; each has a directory and servers of its own
PARALLEL := -n 4 --dist worksteal
SOURCES := qmpd tests iotests benchmarks

# Debian packages of the programs that the black-box tests and the benchmarks run
# (of PostgreSQL only the programs are used: the tests start servers of their own)
PACKAGES := qemu-utils qemu-system-common qemu-system-x86 libnbd-bin socat netcat-openbsd postgresql postgresql-client \
	e2fsprogs grub-common
PROGRAMS := qemu-img qemu-io qemu-storage-daemon qemu-system-x86_64 nbdinfo nbdcopy socat nc psql /usr/sbin/mke2fs grub-mkimage
# A test runs a guest that is made of these and of Debian's kernel
GUEST_PACKAGES := busybox-static e2fsck-static grub-pc-bin

.PHONY: install develop tools programs demo test iotests soak bench lint schema lock clean

install: $(RUNTIME)

develop: $(DEVELOPMENT)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "qmpd needs Python 3.11 or newer; run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q qmpd
	@touch $@

$(DEVELOPMENT): requirements-dev.lock $(RUNTIME)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

tools: programs $(GUEST_READY)

# Root gets the missing programs installed; everybody else is told the one command.
programs:
	@for program in $(PROGRAMS); do command -v $$program >/dev/null || missing=yes; done; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing=yes; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ]; then \
			{ apt-get update -qq && \
			DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(PACKAGES); } >/dev/null; \
		else \
			echo "programs are missing; run: sudo apt-get install -y $(PACKAGES)" >&2; exit 1; \
		fi; \
	fi

# Unpacked in the environment, not installed. The package of the kernel has another name with each version.
$(GUEST_READY): | $(BIN)/python programs
	@rm -rf $(GUEST) && mkdir -p $(GUEST)/packages
	@if [ "$$(id -u)" = 0 ]; then apt-get update -qq; fi
	@cd $(GUEST)/packages && \
		kernel=$$(LC_ALL=C apt-cache depends linux-image-cloud-amd64 | sed -n 's/^  Depends: //p') && [ -n "$$kernel" ] && \
		apt-get -qq -o APT::Sandbox::User=root download $$kernel $(GUEST_PACKAGES) || \
		{ echo "packages cannot be fetched; run: sudo apt-get update" >&2; exit 1; }
	@for package in $(GUEST)/packages/*.deb; do dpkg-deb --extract $$package $(GUEST) || exit 1; done
	@rm -r $(GUEST)/packages && touch $@

demo: install
	$(BIN)/python -m qmpd.ctl.demo

test: develop tools
	$(BIN)/python -m pytest $(PARALLEL) tests iotests

iotests: develop tools
	$(BIN)/python -m pytest $(PARALLEL) iotests

soak: develop tools
	QMPD_SOAK=1 $(BIN)/python -m pytest $(PARALLEL) tests iotests

bench: develop programs
	$(BIN)/python -m benchmarks

lint: develop
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy qmpd
	$(BIN)/mypy --strict iotests benchmarks

schema: develop
	$(BIN)/python -m qmpd.qapi schema/qapi-schema.json qmpd/api --reference docs/qmp-reference.md

lock: develop
	$(COMPILE) --build-deps-for editable --output-file requirements.lock pyproject.toml
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"], sep="\n")' \
		| $(COMPILE) --constraint requirements.lock --output-file requirements-dev.lock -

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis benchmarks/results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
