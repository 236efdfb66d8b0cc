# `make demo` and `make test` need Python 3.10 to 3.14 (or uv), git and make; they install the rest into .venv.
FITS := import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info < (3, 15))
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3.10 python3.14 python3; do \
	$$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
.DEFAULT_GOAL := help
# What `make short` runs: the start, the core, the command line and one lesson.
SHORT := tests/test_startup.py tests/core/test_rules.py tests/pictures/test_gradcam.py tests/cli lessons/03_*.ipynb
.PHONY: help setup demo lessons notebooks quiz test short fuzz train figures benchmark lint clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make the environment in .venv

# MXNet by itself, since from Python 3.13 on no other package brings it (pyproject.toml says why).
$(READY): pyproject.toml constraints.txt
	@python="$(PYTHON)"; \
	if [ -n "$$python" ] && "$$python" -c '$(FITS)' 2>/dev/null; then "$$python" -m venv --clear $(VENV); \
	elif [ -z "$$python" ] && command -v uv >/dev/null; then uv venv --quiet --clear --seed --python 3.12 $(VENV); \
	else echo "No Python from 3.10 to 3.14 that can make environments ($${python:-python3.13 and others were tried}): install one" \
		"(Debian, Ubuntu: apt install python3-venv libgomp1 libquadmath0; Fedora: dnf install python3.13 libgomp libquadmath;" \
		"macOS: brew install python@3.13), or uv, or name one with make PYTHON=..."; exit 1; fi
	@$(RUN) -c 'import platform, sys; sys.exit(platform.machine() != "x86_64")' || { \
		echo "MXNet 1.9.1 works on x86-64 processors only: docs/install.md shows a container for all others"; exit 1; }
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps mxnet
	@$(RUN) -c 'import cam' 2>$(VENV)/import.log || { \
		sed -n 's/^ImportError: \(MXNet.*\)/\1/p' $(VENV)/import.log | grep . || cat $(VENV)/import.log; exit 1; }
	@touch $@

demo: $(READY) ## explain a scene and a photograph and write demo.png
	@$(RUN) examples/demo.py demo.png

# One OpenMP thread for each of the two workers: more threads than cores slow MXNet down many times over.
test short lessons notebooks train fuzz: export OMP_NUM_THREADS := 1
test: $(READY) ## run the tests, and every lesson as a test
	$(RUN) -m pytest -n 2 --dist worksteal --nbmake tests lessons

short: $(READY) ## run a part of the tests: the start, the core, the command line and one lesson
	$(RUN) -m pytest -n 2 --dist worksteal --nbmake $(SHORT)

fuzz: $(READY) ## load 1000 damaged files of parameters of each kind
	@$(RUN) tests/helpers/fuzz_weights.py 1000 2>fuzz.log && rm fuzz.log || { tail -20 fuzz.log; exit 1; }

lessons: $(READY) ## execute every lesson, write nothing
	@if ls lessons/[0-9]*.ipynb >/dev/null 2>&1; then $(RUN) -m pytest -n 2 --nbmake lessons; else echo "no lessons yet"; fi

# Two steps: jupytext's own --execute would put the outputs of the last run back over the new ones.
notebooks: $(READY) ## execute every lesson and write its notebook with outputs
	$(RUN) lessons/quiz.py write
	$(RUN) -m jupytext --quiet --to ipynb --update lessons/[0-9]*.py
	$(RUN) -m nbconvert --log-level WARN --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False \
		$(or $(LESSON),lessons/[0-9]*.ipynb)

quiz: $(READY) ## write the quizzes of all lessons for Moodle (build/quiz.gift)
	@mkdir -p build
	@$(RUN) lessons/quiz.py gift build/quiz.gift

# nbgrader's folder of sources, release, gradebook and feedback. `make clean` removes build/, so keep a real course elsewhere.
COURSE ?= build/assignments
.PHONY: assignments handout grade
assignments handout grade: export OMP_NUM_THREADS := 1
assignments handout grade: export COURSE := $(COURSE)
grade: export SUBMISSIONS := $(SUBMISSIONS)
assignments: $(READY) ## build the problem sets for students (COURSE=folder)
	$(RUN) lessons/assignments/classroom.py build "$$COURSE"

handout: $(READY) ## zip what students need: wheel, lessons, released sets, a page on installing (COURSE=folder)
	$(RUN) lessons/assignments/classroom.py handout "$$COURSE"

grade: $(READY) ## grade SUBMISSIONS=folder, which holds student/set/set.ipynb: CSV and feedback (COURSE=folder)
	@if [ -z "$$SUBMISSIONS" ]; then echo "say which: make grade SUBMISSIONS=folder"; exit 1; fi
	$(RUN) lessons/assignments/classroom.py grade "$$SUBMISSIONS" "$$COURSE"

train: $(READY) ## train both embedded networks (resumes; about an hour on 2 cores) and measure them
	$(RUN) -m training.train resnet50_v2 & first=$$!; $(RUN) -m training.train vgg16 && wait $$first
	$(RUN) -m training.release

# Sphinx, and what writes graphs for browsers and drives them, live in an environment of their own, which learners do not need.
SITE := build/site-venv
.PHONY: site test-site playground playground.html test-playground
$(SITE)/.ready: docs/requirements.txt constraints.txt pyproject.toml | $(READY)
	$(RUN) -m venv --clear $(SITE)
	@$(SITE)/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "the site needs Python 3.11 or newer: make site PYTHON=python3.13 VENV=build/newer"; exit 1; }
	$(SITE)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r docs/requirements.txt -e .
	$(SITE)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps mxnet
	@touch $@

site playground playground.html test-site test-playground: export OMP_NUM_THREADS := 1
site: $(SITE)/.ready ## make the course as a site with its playground (build/site/index.html); nothing is executed
	@$(SITE)/bin/python docs/site/build.py build/site

playground: $(SITE)/.ready ## write the playground, a net in the browser, for a web server (build/playground/)
	@$(SITE)/bin/python docs/playground/bundle.py build/playground

playground.html: $(SITE)/.ready ## write the playground as one file that opens from a disk (build/playground.html)
	@$(SITE)/bin/python docs/playground/bundle.py build/playground.html

test-site: site ## check the site's links, and look at pages and playground in Chromium and Firefox
	$(SITE)/bin/python -m pytest -rs tests/site

test-playground: $(SITE)/.ready ## compare the playground in Chromium and Firefox with cam
	$(SITE)/bin/python -m pytest -rs tests/site/test_playground.py

figures: $(READY) ## make the pictures in docs/ from the demo and the notebooks
	$(RUN) docs/figures.py

# The peers we compare with. pytorch-grad-cam and torch-cam ask for torchvision, which nothing here needs.
PEERS := build/peers-venv
CALLS ?= 100
$(PEERS)/.ready: benchmarks/peers.txt | $(READY)
	$(RUN) -m venv --clear $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers.txt
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps grad-cam==1.5.7 torchcam==0.5.0
	@touch $@

.PHONY: reference crosscheck
benchmark: $(READY) $(PEERS)/.ready ## measure speed beside Captum, memory and precision (20 minutes, an idle machine)
	@$(RUN) benchmarks/speed.py --peers $(PEERS)/bin/python --write
	@$(RUN) benchmarks/memory.py --calls $(CALLS) --write
	@$(RUN) benchmarks/precision.py --write

crosscheck: $(READY) $(PEERS)/.ready ## compare every map with three peers', and all methods over scenes (20 minutes)
	@$(RUN) benchmarks/crosscheck.py --peers $(PEERS)/bin/python --write
	@$(RUN) benchmarks/lesson_10_in_cam.py build/same.npz
	@$(PEERS)/bin/python benchmarks/lesson_10_in_pytorch.py build/same.npz
	@$(RUN) benchmarks/methods.py --write

reference: $(READY) $(PEERS)/.ready ## store the peers' maps of the embedded nets anew, for the tests
	$(RUN) benchmarks/store_references.py export build/peer.npz
	$(PEERS)/bin/python benchmarks/store_references.py captum build/peer.npz tests/captum_reference.npz
	$(PEERS)/bin/python benchmarks/store_references.py methods build/peer.npz tests/maps/relatives_reference.npz

# Numpydoc asks for Sphinx, which its validation does without.
$(VENV)/.numpydoc: | $(READY)
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps numpydoc==1.11.0
	@touch $@

lint: $(VENV)/.numpydoc ## check style, types, docstrings, and that imports run downwards only
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports
	$(RUN) docs/docstrings.py
	@$(RUN) docs/architecture.py $(VENV)/architecture.md && cmp -s $(VENV)/architecture.md docs/architecture.md || { \
		echo "docs/architecture.md is not what docs/architecture.py makes of cam/: run it again"; exit 1; }

clean: ## remove the environment and everything built
	rm -rf $(VENV) build demo.png *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -exec rm -rf {} +
