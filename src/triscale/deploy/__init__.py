"""Running networks: engines, prediction, latency."""
