# Every target sets up .venv by itself. Another Python: make PYTHON=python3.12 test
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp
DEBIAN_PACKAGES := libgl1 libglib2.0-0

.DEFAULT_GOAL := test
.DELETE_ON_ERROR:
.PHONY: demo docs test test-fast coverage fuzz versions gpu check bench faults clean

demo: $(STAMP)
	$(BIN)/rl-vae demo --out runs/demo

# One torch thread per test process: two processes with two threads each fight for two cores.
# One process more than cores: some tests wait for other processes or the disk.
PYTEST := OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/pytest -q -n $$(( $$(nproc) + 1 )) --dist worksteal

test: $(STAMP)
	$(PYTEST)

test-fast: $(STAMP)
	$(PYTEST) -m "not slow"

coverage: $(STAMP)
	rm -f .coverage .coverage.*
	OMP_NUM_THREADS=1 PYTHONPATH=tests COVERAGE_FILE=$(CURDIR)/.coverage $(BIN)/coverage run -m pytest -q -n auto --dist worksteal
	$(BIN)/coverage combine -q
	$(BIN)/coverage json -q --fail-under 0 -o .coverage.json
	@$(BIN)/python -c 'import json; t = json.load(open(".coverage.json"))["totals"]; print( \
		"lines %.1f %%, branches %.1f %%" % tuple(t["percent_%s_covered" % k] \
		for k in ("statements", "branches")))'
	$(BIN)/coverage report

fuzz: $(STAMP)
	$(BIN)/pytest -q --fuzz 20000 tests/test_fuzz.py tests/test_properties.py

versions: $(STAMP)
	$(BIN)/python benchmarks/check_versions.py

gpu: $(STAMP)
	$(BIN)/python benchmarks/check_gpu.py

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(STAMP)
	@test -e runs/demo || $(MAKE) demo  # bench_watch measures its agent
	@set -e; for script in benchmarks/bench_*.py; do \
		test -e "$$script" || { echo "no benchmarks/bench_*.py yet"; break; }; \
		echo "== $$script"; $(BIN)/python "$$script"; \
	done

faults: $(STAMP)
	PYTHONPATH=tests $(BIN)/python -m faults --full --json runs/faults.json

clean:
	rm -rf .venv build dist runs *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov
	find . -name .git -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

# opencv-python loads libGL and glib, which a bare machine lacks.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "expected Python 3.11 or newer as '$(PYTHON)', got $$($(PYTHON) --version 2>&1);" \
			"name one that is: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c constraints.txt -e '.[box2d,envpool,atari,compress,hub,import,minigrid,zoo,docs,dev]'
	@$(BIN)/python -c 'import cv2' || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update && \
			DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(DEBIAN_PACKAGES) && \
			$(BIN)/python -c 'import cv2'; \
		else \
			echo "OpenCV does not load here, most often for want of libGL and glib." \
				"On Debian or Ubuntu: sudo apt-get install $(DEBIAN_PACKAGES)" >&2; exit 1; \
		fi; }
	@touch $@
