"""Measures the bus on this machine: figures from alternating rounds, workloads, and the processes that carry them.

Used by `mycelium bench` and by `tools/bench_bus.py`, which adds other systems. Nothing else imports it.
"""
