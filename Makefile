# Two commands matter: `make demo` and `make test`. Each sets up .venv by itself, from the lock.

PYTHON ?= python3
UV ?= uv
PIP_AUDIT ?= pip-audit
PROMTOOL ?= promtool
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

SPEED ?= 30
RUNS ?= 20
EXAMPLES ?= 500
STEPS ?= 50
DEMO := JOBS IMAGE PROMPT RESOLUTION DURATION SPEED PROVIDER
PROOF := PICTURES ANSWERS REQUESTS CASES SEED DATABASE MINUTES HOURS RATE SHORT HOLD ONLY TABLE RUNS PLACES EXAMPLES STEPS FIGURES

# What is given for a run reaches it as it was typed: make expands no $ in it, and the shell reads it from the
# environment, in quotes, never as text of a command.
$(foreach name,$(DEMO) $(PROOF),$(eval override $(name) := $$(value $(name))))
export $(DEMO) $(PROOF)

.DEFAULT_GOAL := help
.PHONY: help demo up test check-ops browser fuzz fuzz-gateway fuzz-doors node chaos soak watch mutants failpoints model bench bench-quick lint types imports audit release lock clean
.DELETE_ON_ERROR:

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r target text; do printf '%-16s %s\n' "$$target" "$$text"; done

demo: $(STAMP) ## run generations to real films: JOBS IMAGE PROMPT RESOLUTION DURATION SPEED PROVIDER
	@exec $(BIN)/python -m workers demo \
	  $${JOBS:+"--jobs=$$JOBS"} $${IMAGE:+"--image=$$IMAGE"} $${PROMPT:+"--prompt=$$PROMPT"} \
	  $${RESOLUTION:+"--resolution=$$RESOLUTION"} $${DURATION:+"--duration=$$DURATION"} \
	  $${SPEED:+"--speed=$$SPEED"} $${PROVIDER:+"--provider=$$PROVIDER"}

up: $(STAMP) ## run the whole stack on this machine until Ctrl-C
	@exec $(BIN)/python -m workers up

# In their order: the longest tests are alone in their files, and begun last they would run when all others are done.
test: lint types imports ## what has to hold at every change: lint, types, import rules, tests
	@exec $(BIN)/python -m pytest -n 5 --dist loadfile --no-loadscope-reorder

check-ops: $(STAMP) ## what surrounds the stack: alerts, dashboards, image, compose file, manifests (needs promtool)
	@command -v "$(PROMTOOL)" >/dev/null || { echo "reelworks: promtool is not found: install Prometheus (Debian, Ubuntu: apt install prometheus), or name yours with make PROMTOOL=/path/to/promtool" >&2; exit 1; }
	$(PROMTOOL) check config --syntax-only ops/prometheus/prometheus.yml
	$(PROMTOOL) check rules ops/prometheus/alerts.yml
	$(PROMTOOL) test rules ops/prometheus/tests/*.yml
	$(BIN)/hadolint ops/Dockerfile
	$(BIN)/python -m pytest -q $(addprefix tests/contract/test_,alerts.py compose.py dashboards.py kubernetes.py runbooks.py)

browser: $(STAMP) ## look at the gateway's and Flower's pages with Chromium, by mouse and keyboard: PICTURES (a folder)
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { echo "reelworks: Chromium is not found: apt-get install chromium chromium-driver" >&2; exit 1; }
	@REELWORKS_PICTURES="$$PICTURES" exec $(BIN)/python -m pytest -q tests/browser/walk.py tests/browser/flower.py

fuzz: $(STAMP) ## random answers and requests, much of it wrong on purpose: ANSWERS REQUESTS SEED
	@exec $(BIN)/python -m tests.fuzz \
	  $${ANSWERS:+"--answers=$$ANSWERS"} $${REQUESTS:+"--requests=$$REQUESTS"} $${SEED:+"--seed=$$SEED"}

fuzz-gateway: $(STAMP) ## calls of the gateway, by its OpenAPI document and against it: CASES (for each operation)
	@REELWORKS_SCHEMA_CASES=$${CASES:-700} exec $(BIN)/python -m pytest -q tests/integration/test_gateway_schema.py

fuzz-doors: $(STAMP) ## strange stream entries, Celery messages, commands and calls of the provider: CASES SEED
	@REELWORKS_DOOR_CASES=$${CASES:-10000} REELWORKS_DOOR_SEED=$${SEED:-7} \
	  exec $(BIN)/python -m pytest -q tests/integration/test_doors_fuzz.py -k sqlite

node: $(STAMP) ## run the README's programs in Node against a whole stack (needs node, npm and a network)
	@command -v npm >/dev/null || { echo "reelworks: npm is not found: install Node" >&2; exit 1; }
	@mkdir -p var/node && cp tests/node/package.json tests/node/package-lock.json var/node/
	@cd var/node && npm ci --ignore-scripts --no-audit --no-fund
	@REELWORKS_NODE_NEEDED=1 exec $(BIN)/python -m pytest -q tests/integration/test_node.py

chaos: $(STAMP) ## break everything on purpose, compare with the bill: SEED JOBS DATABASE MINUTES
	@exec $(BIN)/python -m tests.chaos run \
	  $${SEED:+"--seed=$$SEED"} $${JOBS:+"--jobs=$$JOBS"} $${DATABASE:+"--database=$$DATABASE"} \
	  $${MINUTES:+"--minutes=$$MINUTES"}

soak: $(STAMP) ## a steady rate of jobs with kills, for hours: HOURS RATE SEED DATABASE
	@exec $(BIN)/python -m tests.chaos soak \
	  $${HOURS:+"--hours=$$HOURS"} $${RATE:+"--rate=$$RATE"} $${SEED:+"--seed=$$SEED"} \
	  $${DATABASE:+"--database=$$DATABASE"}

watch: $(STAMP) ## Prometheus over real stacks: panels under load, every alert made to fire: MINUTES RATE SHORT HOLD ONLY TABLE
	@command -v prometheus >/dev/null || { echo "reelworks: prometheus is not found: install it (Debian, Ubuntu: apt install prometheus)" >&2; exit 1; }
	@[ -n "$$ONLY" ] || $(BIN)/python -m tests.watch panels $${MINUTES:+"--minutes=$$MINUTES"} $${RATE:+"--rate=$$RATE"}
	@exec $(BIN)/python -m tests.watch alerts $${SHORT:+"--short=$$SHORT"} $${HOLD:+"--hold=$$HOLD"} \
	  $${ONLY:+"--only=$$ONLY"} $${TABLE:+"--table=$$TABLE"}

lint: $(STAMP) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

imports: $(STAMP) ## which room may import which
	$(BIN)/lint-imports

audit: ## look the locked packages up among known vulnerabilities (needs pip-audit and a network)
	@$(PYTHON) -m ops.audit requirements-otel.lock --pip-audit "$(PIP_AUDIT)"

mutants: $(STAMP) ## take out one guard after the other and see each of them missed by a test
	@exec $(BIN)/python -m tests.mutants

failpoints: $(STAMP) ## have processes die at every named place, and compare ledger and bill: RUNS DATABASE PLACES
	@exec $(BIN)/python -m tests.failpoints "$$RUNS" $$PLACES $${DATABASE:+"--database=$$DATABASE"}

model: $(STAMP) ## everything that can happen to a job, in any order, against a model: EXAMPLES, STEPS
	@exec $(BIN)/python -m tests.model "$$EXAMPLES" "$$STEPS"

bench: $(STAMP) ## figures of speed beside those of others, into var/bench.json: FIGURES
	@exec $(BIN)/python -m tests.bench $$FIGURES

bench-quick: $(STAMP) ## the same figures on smaller runs, within five minutes: FIGURES
	@exec $(BIN)/python -m tests.bench --quick $$FIGURES

release: $(STAMP) ## build a version into dist/: wheel, sdist, image context, its packages (CycloneDX), checksums
	@exec $(BIN)/python -m ops.release

lock: ## resolve the lock files anew from pyproject.toml and the rivals' list (needs uv)
	@command -v $(UV) >/dev/null || { echo "reelworks: uv is not found: pip install uv, or name yours with make UV=/path/to/uv" >&2; exit 1; }
	$(UV) pip compile --quiet --universal --generate-hashes --no-header --extra workers \
	  pyproject.toml -o requirements.lock
	$(UV) pip compile --quiet --universal --generate-hashes --no-header --extra workers --extra otel \
	  -c requirements.lock pyproject.toml -o requirements-otel.lock
	$(UV) pip compile --quiet --universal --generate-hashes --no-header --extra workers --extra otel --extra dev --extra browser \
	  -c requirements.lock pyproject.toml -o requirements-dev.lock
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  tests/bench/rivals.in -o tests/bench/rivals.lock

clean: ## remove .venv, caches and builds; var/ with its films and bills stays
	rm -rf $(VENV) .venv-rivals build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find schemas tasks workers ops tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements-dev.lock pyproject.toml
	@sh ops/prerequisites.sh "$(PYTHON)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
