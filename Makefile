VENV = .venv

.PHONY: bench
bench: ## Run the benchmarks (one of them: ONLY=counters)
	$(VENV)/bin/python -m tests.bench.run $(ONLY)
