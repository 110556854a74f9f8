# The two that matter: `make nightly` (a night on generated events, from nothing) and `make test`.
# Both install what the machine lacks, and do nothing twice. `make help` lists the rest.

# What a night is made of; each can be overridden: make nightly USERS=100000 LAKE=/data/lake
USERS ?= 5000
DAYS  ?= 400
SEED  ?= 1
DATE  ?= 2025-06-30
# A night before it, in which the models were trained that DATE's candidates are held to.
WEEK_BEFORE ?= 2025-06-23
RAW   ?= $(CURDIR)/raw
LAKE  ?= $(CURDIR)/lake

# What `make bench-peers` compares: make bench-peers BENCH=history MEMORY=1GiB BENCH_USERS=20000 BENCH_PAYMENTS=400000
BENCH ?= snapshot history incremental
BENCH_DIR ?= $(or $(TMPDIR),/tmp)/scorehouse-bench
BENCH_USERS ?= 1000000
BENCH_PAYMENTS ?= 20000000
BENCH_SPINE ?= 2000000
BENCH_DAYS ?= 400
BENCH_HISTORIES ?= 100 200 400
BENCH_TURNS ?= 5
MEMORY ?=

# What `make torture` does: mutants of files, and killed nights: make torture TORTURE=1000 KILLS=200 SEED=7
TORTURE ?= 10000
KILLS ?= 1000

# Tools and build products live outside the checkout, so that a fresh clone builds only what is ours.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/scorehouse
export SCOREHOUSE_TOOLS ?= $(CACHE)/tools
export SCOREHOUSE_PEERS ?= $(CACHE)/peers
export CARGO_TARGET_DIR ?= $(CACHE)/target

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
WITH_TOOLS := . "$(SCOREHOUSE_TOOLS)/env.sh";
SCOREHOUSE := "$(CARGO_TARGET_DIR)/debug/scorehouse"
READERS := "$(SCOREHOUSE_TOOLS)/readers/bin/python"
PEERS := "$(SCOREHOUSE_PEERS)/bin/python"
READERS_LAKE := $(CARGO_TARGET_DIR)/readers
PAGES := $(CARGO_TARGET_DIR)/pages
# What the nights of the readers' lake tell of lineage, which tests/interop holds to the published schemas.
TOLD := OPENLINEAGE__TRANSPORT__TYPE=file OPENLINEAGE__TRANSPORT__LOG_FILE_PATH="$(READERS_LAKE)/lineage.jsonl"

.PHONY: help setup servers build dist nightly test unit torture check gate-check readers docs pages fmt lint interop \
    bench bench-backfill bench-learning bench-peers bench-s3 airflow ballista mlflow clean-lake
.NOTPARALLEL:

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

setup: ## install what a build needs and the machine lacks
	@orchestration/setup.sh

servers: ## install the servers that tests of object storage run against; they say so where one cannot be had
	@orchestration/servers.sh install s3 || true
	@orchestration/servers.sh install azure || true

build: setup ## build the binary
	@$(WITH_TOOLS) cargo build --locked

dist: build ## dist/: the binary without symbols, its checksum and bill of materials, completions, manual pages
	@$(WITH_TOOLS) orchestration/dist.sh $(SCOREHOUSE) dist

nightly: build ## generate events, run the night on a local lake, show what was written
	@$(SCOREHOUSE) generate --users $(USERS) --days $(DAYS) --seed $(SEED) --date $(DATE) --raw "$(RAW)"
	@$(SCOREHOUSE) nightly --date $(DATE) --raw "$(RAW)" --lake "$(LAKE)"

test: unit check readers docs pages ## every test but those that install servers and peers of their own

unit: setup servers ## unit and integration tests (T=name for some of them)
	@$(WITH_TOOLS) cargo test --locked $(T)

torture: setup ## 10,000 mutated files and definitions (TORTURE=n), then nights killed at random (KILLS=1000 SEED=1)
	@$(WITH_TOOLS) SCOREHOUSE_TORTURE=$(TORTURE) cargo test --locked --lib torture -- --nocapture
	@$(WITH_TOOLS) SCOREHOUSE_TORTURE_KILLS=$(KILLS) SCOREHOUSE_TORTURE_SEED=$(SEED) \
	    cargo test --locked --test it torture -- --include-ignored --nocapture

check: build ## type-check the shipped definitions and run their examples
	@$(SCOREHOUSE) check

gate-check: build ## two small nights a week apart: the shipped models' candidates pass the gate (part of readers)
	@rm -rf "$(READERS_LAKE)"
	@$(SCOREHOUSE) generate --users 4000 --days 400 --seed 1 --date $(DATE) --raw "$(READERS_LAKE)/raw"
	@$(TOLD) $(SCOREHOUSE) nightly --date $(WEEK_BEFORE) --raw "$(READERS_LAKE)/raw" --lake "$(READERS_LAKE)/lake"
	@cp -a "$(READERS_LAKE)/lake" "$(READERS_LAKE)/first"
	@$(TOLD) $(SCOREHOUSE) nightly --date $(DATE) --raw "$(READERS_LAKE)/raw" --lake "$(READERS_LAKE)/lake"

readers: gate-check ## verify a small night's features; deltalake, DuckDB and Polars read its lake, schemas take definitions
	@orchestration/setup.sh readers
	@$(SCOREHOUSE) verify --date $(DATE) --raw "$(READERS_LAKE)/raw" --lake "$(READERS_LAKE)/lake"
	@$(SCOREHOUSE) verify --date $(DATE) --raw "$(READERS_LAKE)/raw" --lake "$(READERS_LAKE)/lake" --sample 25
	@mkdir -p "$(READERS_LAKE)/learn"
	@$(WITH_TOOLS) SCOREHOUSE_LEARN_INTEROP="$(READERS_LAKE)/learn" cargo test --locked -q --lib write_artifacts_for_python
	@SCOREHOUSE=$(SCOREHOUSE) SCOREHOUSE_LAKE="$(READERS_LAKE)/lake" SCOREHOUSE_RAW="$(READERS_LAKE)/raw" \
	    SCOREHOUSE_LEARN_INTEROP="$(READERS_LAKE)/learn" SCOREHOUSE_LINEAGE="$(READERS_LAKE)/lineage.jsonl" \
	    $(READERS) -m pytest -q -p no:cacheprovider tests/interop

docs: readers ## README.md and docs/ do what they say: each command is run, each link followed; what `make dist` hands out
	@$(WITH_TOOLS) SCOREHOUSE=$(SCOREHOUSE) SCOREHOUSE_PREPARED="$(READERS_LAKE)" \
	    $(READERS) -m pytest -q -p no:cacheprovider tests/docs

pages: readers ## reports in a headless Chromium: a sample with every section, and those of the small night
	@orchestration/setup.sh browser
	@rm -rf "$(PAGES)"
	@$(WITH_TOOLS) SCOREHOUSE_PAGES="$(PAGES)" cargo test --quiet --locked --lib pages_are_written
	@SCOREHOUSE_PAGES="$(PAGES):$(READERS_LAKE)/lake/reports" $(READERS) -m pytest -q -p no:cacheprovider tests/browser

fmt: setup ## format the code
	@$(WITH_TOOLS) cargo fmt

lint: setup ## format, clippy and documentation, warnings denied
	@$(WITH_TOOLS) cargo fmt --check
	@$(WITH_TOOLS) cargo clippy --locked --all-targets -- -D warnings
	@$(WITH_TOOLS) RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

interop: readers ## readers of the lake, PySpark too, and object storage on a server; all of them must be there
	@benches/peers.sh
	@SCOREHOUSE_LAKE="$(READERS_LAKE)/lake" SCOREHOUSE_RAW="$(READERS_LAKE)/raw" SCOREHOUSE_READERS=pyspark \
	    $(PEERS) -m pytest -q -p no:cacheprovider tests/interop/test_lake.py
	@orchestration/servers.sh install s3
	@orchestration/servers.sh install azure
	@$(WITH_TOOLS) SCOREHOUSE_SERVERS=required cargo test --locked --test it storage -- --nocapture

airflow: build ## nights run by Airflow itself, which is installed first (300 MB); not part of `make test`
	@orchestration/setup.sh readers
	@orchestration/airflow.sh install
	@SCOREHOUSE=$(SCOREHOUSE) $(READERS) -m pytest -q -p no:cacheprovider tests/airflow

mlflow: build ## two nights that tell an MLflow server of their models; it is installed first (600 MB); not part of `make test`
	@orchestration/mlflow.sh install
	@SCOREHOUSE=$(SCOREHOUSE) tests/mlflow/run.sh "$(CARGO_TARGET_DIR)/mlflow" $(WEEK_BEFORE) $(DATE)

# A target directory of its own: with the feature, dependencies have others, and each build would undo the other.
ballista: setup ## nights on a cluster, an executor of which is killed; Flight SQL by ADBC; half an hour of building first
	@orchestration/setup.sh protoc
	@orchestration/setup.sh readers
	@$(READERS) -m pip install --quiet --disable-pip-version-check adbc-driver-flightsql==1.13.0
	@$(WITH_TOOLS) CARGO_TARGET_DIR="$(CARGO_TARGET_DIR)/ballista" cargo build --locked --features ballista,flight-sql
	@SCOREHOUSE="$(CARGO_TARGET_DIR)/ballista/debug/scorehouse" $(READERS) -m pytest -q -p no:cacheprovider tests/ballista

bench: build ## a night on 100,000 users and 400 days, timed
	@benches/night.sh $(SCOREHOUSE)

bench-s3: build servers ## a night in a bucket beside the same night on disk, in turns
	@benches/s3.sh $(SCOREHOUSE)

bench-backfill: build ## fourteen nights by one backfill beside the same nights one after the other
	@benches/backfill.sh $(SCOREHOUSE)

bench-peers: build ## point-in-time features beside DuckDB, Polars and PySpark
	@$(WITH_TOOLS) cargo build --locked --example scorehouse-bench
	@benches/peers.sh
	@$(PEERS) benches/point_in_time/data.py --out "$(BENCH_DIR)/data" --users $(BENCH_USERS) \
	    --payments $(BENCH_PAYMENTS) --spine $(BENCH_SPINE) --days $(BENCH_DAYS)
	@$(PEERS) benches/point_in_time/run.py --data "$(BENCH_DIR)/data" --work "$(BENCH_DIR)/work" --bench $(BENCH) \
	    --histories $(BENCH_HISTORIES) --repeat $(BENCH_TURNS) $(if $(MEMORY),--memory-limit $(MEMORY)) \
	    --scorehouse $(SCOREHOUSE) --scorehouse-bench "$(CARGO_TARGET_DIR)/debug/examples/scorehouse-bench" \
	    --results benches/RESULTS.md

bench-learning: build ## training and scoring beside Python LightGBM, from the same Parquet
	@$(WITH_TOOLS) cargo build --locked --example scorehouse-bench
	@benches/peers.sh
	@$(PEERS) benches/learning/data.py --out "$(BENCH_DIR)/learning"
	@$(PEERS) benches/learning/run.py --data "$(BENCH_DIR)/learning" --work "$(BENCH_DIR)/learning-work" \
	    --scorehouse-bench "$(CARGO_TARGET_DIR)/debug/examples/scorehouse-bench" --results benches/RESULTS.md

clean-lake: ## remove the generated events and the lake that `make nightly` wrote
	rm -rf "$(RAW)" "$(LAKE)"
