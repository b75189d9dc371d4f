"""MLflow's server as a process of ours: its port, its places, its users, its start and its end."""

from handwriting.hosting.process import FIRST_PORT, HOST, PROXIED, end_when_told, free_port, serve

__all__ = ["FIRST_PORT", "HOST", "PROXIED", "end_when_told", "free_port", "serve"]
