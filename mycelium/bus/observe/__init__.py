"""What operators see of a bus: metrics, health, and tables over HTTP. Optional, and imported by nothing of the bus."""
