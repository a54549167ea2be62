# Luthier. `make run` is all that a person needs; `make help` lists the rest.
PYTHON ?= python3
CHAT := .venv/bin/python
ENGINE := .engine-cpu/bin/python
CHAT_TESTS ?= tests
ENGINE_TESTS ?= tests/engine
# In a process of their own: while a browser is open, Playwright holds the event loop that asyncio's tests need.
BROWSER_TESTS ?= tests/browser
PYTEST_ARGS ?=

.PHONY: run prepare azure test check bench mutate hammer faults newcomer newcomer-azure locks clean help
.DEFAULT_GOAL := help

run: ## set everything up and serve the chat at http://127.0.0.1:8000
	@exec $(PYTHON) -m install run

prepare: ## the set-up alone
	@$(PYTHON) -m install prepare

azure: ## add what running on Azure needs: its client libraries
	@$(PYTHON) -m install azure

test: ## set up what the tests need, and run them all
	@$(PYTHON) -m install test
	$(ENGINE) -m pytest $(ENGINE_TESTS) -W "ignore:Unknown config option" $(PYTEST_ARGS)
	$(CHAT) -m pytest $(BROWSER_TESTS) $(PYTEST_ARGS)
	$(CHAT) -m pytest $(CHAT_TESTS) --ignore tests/engine --ignore tests/browser $(PYTEST_ARGS)

check: ## lint, types (once for each environment), the walls between the rooms, the house rules
	@$(PYTHON) -m install checks
	$(CHAT) -m ruff check .
	$(CHAT) -m pyright --pythonpath $(CHAT)
	$(CHAT) -m pyright --project tools/engine/pyrightconfig.json --pythonpath $(ENGINE)
	$(CHAT) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"
	$(CHAT) -m pytest tests/test_house.py tests/test_docs.py tests/test_floors.py -q

bench: ## the figures: a table with machine, versions, medians and ratios
	@$(PYTHON) -m install checks
	$(CHAT) -m bench.run $(BENCH)

mutate: ## take each condition of the gate away in turn; at least one test must fail
	@$(PYTHON) -m install checks
	$(CHAT) -m tests.mutate $(MUTATE)

hammer: ## the long forms of the audit log's tests: 500 kills, every byte, a million records
	@$(PYTHON) -m install checks
	$(CHAT) -m tests.hammer $(HAMMER)

newcomer: ## clone into an empty folder with an empty home, follow the README, time each milestone
	@$(PYTHON) -m install newcomer $(NEWCOMER)

newcomer-azure: ## the same with a run on Azure, for which the tests' stand-in stands: prepare, train, fetch, serve, ask, tear down
	@$(PYTHON) -m install checks
	@$(PYTHON) -m install newcomer-azure $(NEWCOMER)

faults: ## the long forms of the fault tests: every point, every call, the bundled model killed at random steps and resumed
	@$(PYTHON) -m install checks
	LUTHIER_FAULTS=1 $(CHAT) -m pytest tests/faults tests/azure/test_killed.py
	LUTHIER_FAULTS=1 $(ENGINE) -m pytest tests/engine/test_killed.py -W "ignore:Unknown config option"

locks: ## write locks/*.txt anew from locks/*.in
	@$(PYTHON) -m install locks

clean: ## remove the environments, the bundled model and everything else that can be made again
	rm -rf .venv .venv.part .venv.old .engine-cpu .engine-cpu.part .engine-cpu.old .engine-cuda .engine-cuda.part .engine-cuda.old
	rm -rf .bundled .bundled.part out .pytest_cache .ruff_cache .hypothesis .import_linter_cache .files
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
