"""One run: `run` reads from top to bottom, and the other modules are its parts.

Importing the room imports TensorFlow and MLflow: 5 to 12 seconds.
"""

from handwriting.terminal import stderr_muted

with stderr_muted():
    from handwriting.training.building import build
    from handwriting.training.run import evaluate, fit, set_threads, train_run

__all__ = ["build", "evaluate", "fit", "set_threads", "train_run"]
