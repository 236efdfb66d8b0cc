# `make demo` and `make test` need Python 3.10 or 3.11, git and make; they install the rest into .venv.
PYTHON ?= $(shell for p in python3.11 python3.10 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
.DEFAULT_GOAL := help
.PHONY: help setup demo lessons notebooks quiz test fuzz train figures benchmark lint clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make the environment in .venv

$(READY): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ] || ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))' 2>/dev/null; then \
		echo "MXNet 1.9.1 needs Python 3.10 or 3.11, and '$(PYTHON)' is neither: install python3.11, or name one with make PYTHON=..."; exit 1; fi
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make environments: install its venv module (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@$(RUN) -c 'import mxnet' 2>$(VENV)/import.log || { \
		if grep -qE 'libgomp|libquadmath' $(VENV)/import.log; then \
			echo "MXNet needs two system libraries: install libgomp1 and libquadmath0 (Debian, Ubuntu: apt install libgomp1 libquadmath0)"; \
		else cat $(VENV)/import.log; fi; exit 1; }
	@touch $@

demo: $(READY) ## explain one scene with VGG16 and ResNet50v2 and write demo.png
	@$(RUN) examples/demo.py demo.png

# One OpenMP thread for each of the two workers: more threads than cores slow MXNet down many times over.
test lessons notebooks train fuzz: export OMP_NUM_THREADS := 1
test: $(READY) ## run the tests, and every lesson as a test
	$(RUN) -m pytest -n 2 --dist worksteal --nbmake tests lessons

fuzz: $(READY) ## load 1000 damaged files of parameters of each kind
	@$(RUN) tests/fuzz_weights.py 1000 2>fuzz.log && rm fuzz.log || { tail -20 fuzz.log; exit 1; }

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
.PHONY: assignments grade
assignments grade: export OMP_NUM_THREADS := 1
assignments grade: export COURSE := $(COURSE)
grade: export SUBMISSIONS := $(SUBMISSIONS)
assignments: $(READY) ## build the problem sets for students (COURSE=folder)
	$(RUN) lessons/assignments/classroom.py build --course "$$COURSE"

grade: $(READY) ## grade SUBMISSIONS=folder, which holds student/set/set.ipynb: CSV and feedback (COURSE=folder)
	@if [ -z "$$SUBMISSIONS" ]; then echo "say which: make grade SUBMISSIONS=folder"; exit 1; fi
	$(RUN) lessons/assignments/classroom.py grade "$$SUBMISSIONS" --course "$$COURSE"

train: $(READY) ## train both embedded networks (resumes; about an hour on 2 cores) and measure them
	$(RUN) -m training.train resnet50_v2 & first=$$!; $(RUN) -m training.train vgg16 && wait $$first
	$(RUN) -m training.release

figures: $(READY) ## make the pictures in docs/ from the demo and the notebooks
	$(RUN) examples/figures.py

benchmark: $(READY) ## compare speeds, as ratios, and float32 with float64
	@$(RUN) benchmarks/speed.py
	@$(RUN) benchmarks/precision.py

lint: $(READY) ## check style
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

clean: ## remove the environment and everything built
	rm -rf $(VENV) build demo.png *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -exec rm -rf {} +
