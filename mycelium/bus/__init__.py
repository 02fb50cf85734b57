"""Delivery: the bus inside a process, the bridge to other processes, and the client. Owns every await, task and socket."""
