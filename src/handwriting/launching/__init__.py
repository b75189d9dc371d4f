"""The jobs of a sweep at work: in processes of this machine, on the nodes of a cluster, in Slurm's queue.

A job is done in the same way everywhere, by a worker process (`worker`), which a node minds (`node`). What
hands jobs over differs: `processes`, `dispatch` to a cluster, `batch` to Slurm.

Hydra's launchers, in src/hydra_plugins, are adapters of this room, and its sweeper of `sweeps`.
"""

from handwriting.launching.progress import called

__all__ = ["called"]
