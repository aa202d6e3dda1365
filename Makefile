# Each target sets up what it needs, on a machine with Python 3.11 or newer and make. Downloads are kept in
# SIGHTLINE_CACHE (by default ~/.cache/sightline), packages of Python in .venv.

SHELL := bash
STARTED := $(shell date +%s)
PYTHON := .venv/bin/python
SET_UP := pyproject.toml constraints.txt tools/set_up.sh
PICTURE_SOURCES := fonts-noto-color-emoji unicode-cldr-core unicode-data
# So that the demonstration's picture can show queries in any alphabet.
LETTERS := fonts-dejavu-core fonts-wqy-microhei fonts-lohit-deva
CODE := sightline services training benchmarks tests deploy tools/contract.py tools/settings_page.py tools/chart_schema.py

# Dozens of processes are started: none should compile its libraries anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo observe images test check prove cluster cluster-down test-cluster protos chart pins clean
.DEFAULT_GOAL := help

help:  ## List what can be made.
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: .venv/.demo  ## Search 1,840 pictures with a cluster on this machine: set-up, index, six queries, then serve.
	@tools/unpack_debs.sh $(PICTURE_SOURCES) redis-server
	@tools/unpack_debs.sh $(LETTERS) || echo "The pictures will be labelled with the fonts that this machine has."
	@$(PYTHON) -m services.local demo --started $(STARTED)

images:  ## Build the services' images with buildah, without a registry. Needs root. More: deploy/images.py --help.
	@python3 deploy/images.py --out dist/images

observe: .venv/.dev  ## Watch that cluster with a real Prometheus, under load, until Ctrl-C.
	@tools/unpack_debs.sh $(PICTURE_SOURCES) redis-server prometheus
	@$(PYTHON) -m benchmarks.observe

# In two processes, since those that wait for clusters leave a core to the others.
test: .venv/.dev  ## Run all tests, with real processes, a real Redis and a real browser.
	@tools/unpack_debs.sh $(PICTURE_SOURCES) redis-server chromium prometheus
	@tools/s3-server --version >/dev/null || echo "Without Go there is no S3 server: what needs one is skipped."
	@printf '%s\n' tests/e2e --ignore=tests/e2e | xargs -P 2 -L 1 $(PYTHON) -m pytest

check: .venv/.dev  ## Check style, types, layering, stubs, the settings page and the chart's schema.
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@$(PYTHON) -m mypy $(CODE)
	@.venv/bin/lint-imports
	@tools/protos.sh --check
	@$(PYTHON) tools/contract.py --check
	@$(PYTHON) tools/settings_page.py --check
	@$(PYTHON) -m deploy.observability --check
	@$(PYTHON) -m tools.chart_schema --check

prove: .venv/.dev  ## Measure the bars, or one: make prove BAR=name. Figures go to benchmarks/results/.
	@tools/unpack_debs.sh $(PICTURE_SOURCES) $(LETTERS) redis-server chromium prometheus
	@tools/s3-server --version >/dev/null || echo "Without Go there is no S3 server: the bar object-store fails."
	@$(PYTHON) -m benchmarks $(BAR)

cluster: .venv/.dev  ## Start a real Kubernetes cluster on this machine, closed off: built once, then up in seconds. Needs root.
	@$(PYTHON) deploy/images.py --model emoji
	@deploy/cluster/up.sh

cluster-down:  ## End that cluster, without a trace.
	@deploy/cluster/down.sh

test-cluster: .venv/.dev  ## Test the chart on that cluster, or on the one that KUBECONFIG names.
	@$(PYTHON) -m pytest tests/cluster

protos: .venv/.dev  ## Write the Python stubs of protos/, the contract's descriptor set, docs/settings.md, the chart's schema.
	@tools/protos.sh
	@$(PYTHON) tools/contract.py
	@$(PYTHON) tools/settings_page.py
	@$(PYTHON) -m tools.chart_schema

chart: .venv/.dev  ## Write the schema of the chart's values, from deploy/helm/values.schema.yaml and the settings.
	@$(PYTHON) -m tools.chart_schema

pins: .venv/.dev  ## Renew constraints.txt, the versions that set-up installs.
	@PATH="$$PATH:$${SIGHTLINE_CACHE:-$$HOME/.cache/sightline}/uv/bin" uv pip compile --quiet --upgrade --universal \
	  --python-version 3.11 --no-header --no-annotate --no-emit-index-url --extra dev --output-file constraints.txt pyproject.toml

clean:  ## Remove what was made in the checkout, but not the downloads.
	rm -rf .venv .cache .run .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist

.venv/.demo: $(SET_UP)
	@tools/set_up.sh demo
	@touch $@

.venv/.dev: $(SET_UP)
	@tools/set_up.sh dev
	@touch .venv/.demo $@
