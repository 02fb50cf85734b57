"""What is seen of a bus from outside: metrics, health, tables, traces. Optional, and imported where it is asked for."""
