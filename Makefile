# make train DATA=mnist MODEL=lenet5 EPOCHS=3 SEED=1 AUGMENT=default THREADS=2; flags of the compiler: nncore/_build.py, csrc/Makefile.
PYTHON = python3
VENV = .venv
PY = $(VENV)/bin/python
NNCORE = $(PY) -m nncore
RUN = $(patsubst %/,%,$(dir $(lastword $(sort $(wildcard runs/*/model.safetensors)))))
SOURCES := pyproject.toml nncore/_build.py $(shell find csrc -name '*.[ch]')
PIP = $(PY) -m pip --disable-pip-version-check -q install
quote = '$(subst ','\'',$(1))'
option = $(if $($(2)),--$(1) $(call quote,$($(2))))
machine = $(call option,threads,THREADS)
settings = $(call option,data,DATA) $(call option,model,MODEL) $(call option,epochs,EPOCHS) $(call option,hidden,HIDDEN) \
    $(call option,seed,SEED) $(call option,augment,AUGMENT) $(call option,batch,BATCH) $(call option,lr,LR) $(call option,out,OUT) $(machine)
stop = { echo "nncore: $(1)" >&2; exit 1; }

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 24
	@echo "Variables: DATA (a name or a folder) MODEL EPOCHS HIDDEN SEED AUGMENT THREADS BATCH LR OUT PYTHON"
build: $(VENV)/built ## make .venv, compile the kernels, install
train: $(VENV)/built ## train and evaluate; the prediction files land here
	@$(NNCORE) train $(settings) --predictions .
test: $(VENV)/dev ## all tests: Python and C
	@$(PY) -m pytest -q -n auto --dist worksteal; python=$$?; $(MAKE) --no-print-directory -j$$(getconf _NPROCESSORS_ONLN) -C csrc test && exit $$python
score: $(VENV)/built; @$(NNCORE) score test_predictions.csv --data $(call quote,$(or $(DATA),fashion-mnist)) ## count that file against DATA's labels
predict: $(VENV)/built ## predict DATA with the latest run, or with RUN=folder
	@test -n "$(RUN)" || $(call stop,no run yet: make train first)
	@$(NNCORE) predict $(call quote,$(RUN)) $(call option,data,DATA) $(machine) --output test_predictions.csv
report: $(VENV)/report ## one HTML file about the latest run, or RUN=folder
	@test -n "$(RUN)" || $(call stop,no run yet: make train first)
	@$(NNCORE) report $(call quote,$(RUN)) $(machine)
lab: $(VENV)/report; @mkdir -p runs && $(NNCORE) lab all --report runs/lab.html ## experiments on rounding and training, as a page: two minutes
bench: $(VENV)/built; @$(NNCORE) bench $(machine) --out runs/bench ## measure kernels and training here: two minutes
bench-peers: $(VENV)/built .venv-peers/built ## the same against PyTorch, NumPy, scikit-learn, by turns: half an hour
	@$(NNCORE) bench limits kernels train latency assignment --data fashion-mnist --against torch,numpy,sklearn $(machine) --out runs/bench
test-san: ; @$(MAKE) --no-print-directory -j$$(getconf _NPROCESSORS_ONLN) -C csrc test CI=1 ## the C tests under the sanitizers, warnings as errors
test-exhaustive: ; @$(MAKE) --no-print-directory -C csrc $@ ## every float through every elementary function (long)
test-matrix: ## all tests with every compiler and Python found here (long)
	@for c in gcc clang; do ! command -v $$c || $(MAKE) -C csrc test CC=$$c OUT=build/$$c || exit 1; done
	@for v in 10 11 12 13 14; do p=python3.$$v; ! command -v $$p || $(MAKE) test PYTHON=$$p VENV=.venv-3.$$v || exit 1; done
lint: $(VENV)/dev; @$(PY) -m ruff check . ## style of the Python files
size: ## lines per folder
	@for d in csrc csrc/ops csrc/vec csrc/io nncore nncore/*/ tests tests/*/ examples; do test ! -d $$d || \
	    printf '%7d  %s\n' $$(find $$d -maxdepth 1 -name '*.[chp]*' ! -name '*.pyc' -type f -exec cat {} + | wc -l) $$d; done
clean: ## remove .venv and all that was built; runs/ stays
	@rm -rf .venv .venv-3.* build csrc/build *.egg-info nncore/*.so .pytest_cache .ruff_cache .hypothesis
	@find nncore tests examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
$(VENV)/built: $(SOURCES)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    $(call stop,Python 3.10 or later is needed: make PYTHON=python3.12 ...)
	@command -v cc >/dev/null || command -v "$${CC:-gcc}" >/dev/null || \
	    $(call stop,no C compiler found. Debian and Ubuntu: apt install build-essential; macOS: xcode-select --install)
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "nncore: venv is missing. Debian and Ubuntu: apt install python3-venv python3-dev" >&2; exit 1; }
	@echo "building nncore ..." >&2; $(PIP) -e . || $(call stop,the build failed; what pip says is above)
	@$(PY) -m compileall -q nncore; touch $@
$(VENV)/dev $(VENV)/report: $(VENV)/built; @$(PIP) -e '.[$(@F)]' && touch $@
.venv-peers/built: $(VENV)/built
	@$(PYTHON) -m venv .venv-peers && .venv-peers/bin/python -m pip --disable-pip-version-check -q install $$($(PY) -c \
	    'from importlib.metadata import requires as r; print(*(x.split(";")[0] for x in r("nncore") if "peers" in x))') && touch $@
.PHONY: help build train test score predict report lab bench bench-peers test-san test-exhaustive test-matrix lint size clean
