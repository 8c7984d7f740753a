PYTHON ?= python3
VENV := .venv

.PHONY: test
test: $(VENV)/installed
	$(VENV)/bin/python -m pytest $(ARGS)

$(VENV)/installed: envs/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet -r envs/requirements.txt
	touch $@
