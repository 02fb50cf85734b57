"""Delivery: the bus inside a process, the bridge to other processes, and the client; every await and socket is here."""
