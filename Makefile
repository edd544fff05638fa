# Thin on purpose: dev.py does the work, so that `python dev.py test` is the same without make.
PYTHON ?= python3

TARGETS := demo test test-all check format bench bench-full chaos audit lock setup setup-deploy
.PHONY: help $(TARGETS)

help:
	@$(PYTHON) dev.py --help

# Pass arguments on with ARGS, for example: make test ARGS="-k journal -x"
$(TARGETS):
	@$(PYTHON) dev.py $@ $(ARGS)
