# make demo    sets itself up and shows the main job in virtual time; no root
# make test    everything, the hot code pure and compiled; as root it first installs the Debian packages the tests use
# make check   the fast loop: lint, types, layers, fast tests; under two minutes
# make fuzz    attacks the stack with 10 million segments; an hour
# make bench   against named peers, in one run, compiled
# make image   the image for Docker and compose; without an image registry where there is none (docs/compose.md)
# make image-bundle   the same as a file, for machines without a network
# make proto   regenerates tcplab/v1 from proto/, and the blocking face of the SDK from the asyncio one
# make clean   removes what the others made, runs excepted

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Outside CI a component that cannot be had leaves its tests out, and the last lines say which; in CI it fails.
MISSING := $(if $(CI),,--allow-missing)

# Tests start hundreds of processes; where this is set each would compile all modules anew.
export PYTHONDONTWRITEBYTECODE :=

# Tests in real time share the cores with each other, and there a frame can be late or lost for want of time. What failed
# is named and runs once more with the machine to itself; only what fails then too fails the build.
real_time = $(BIN)/pytest $(MISSING) -m real_time -n $(1) $(2) || { [ $$? -eq 1 ] && \
	echo "What failed runs again, alone:" && \
	$(BIN)/pytest $(MISSING) -m real_time -rA --last-failed --last-failed-no-failures none $(2); }

.PHONY: demo test check static fuzz bench proto clean user dev

demo: user
	@$(BIN)/tcplab run demo --out runs/demo --replace
	@$(BIN)/tcplab show runs/demo
	@$(BIN)/tcplab plot runs/demo

test: packages dev static
	$(BIN)/pytest -n auto --dist worksteal $(MISSING) -m "not real_time"
	$(BIN)/pytest -n auto $(MISSING) --compiled -m "not real_time and not slow" tests/nodes tests/fuzz tests/lab/links tests/lab/attacks
	$(call real_time,3,--ignore=tests/contract --ignore=tests/docker)
	$(call real_time,2,tests/contract tests/docker)

check: dev static
	$(BIN)/pytest -n auto --dist worksteal $(MISSING) -m "not slow and not real_time"

static: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	cd proto && ../$(BIN)/buf lint

fuzz: dev
	$(BIN)/python -m tests.fuzz

bench:
	@tools/packages mininet:mn bridge-utils:brctl
	@tools/setup .venv-bench $(PYTHON) sim,netns bench
	PYTHONPATH=$$(TCPLAB_OPT_LEVEL=2 .venv-bench/bin/python tools/compiled.py) .venv-bench/bin/python bench/run.py

proto: dev
	$(BIN)/python proto/generate.py
	$(BIN)/python tools/sync_client.py

user:
	@tools/setup $(VENV) $(PYTHON) all

dev:
	@tools/setup $(VENV) $(PYTHON) all dev

.PHONY: image image-bundle
image:
	@tools/image

image-bundle: image
	@tools/image-bundle

.PHONY: packages
packages:
	@tools/packages tshark nodejs:node npm iproute2:ip tcpdump iperf3 nginx-light:nginx curl netcat-openbsd:nc \
		openssl mininet:mn bridge-utils:brctl openvswitch-switch:ovs-vswitchd docker.io:dockerd debootstrap \
		docker-compose graphviz:dot

clean:
	rm -rf .venv .venv-* build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
