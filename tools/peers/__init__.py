"""The other systems that `tools/bench_bus.py` compares with: one a module, each runnable as a client process."""
