"""Many runs: arms by seeds, checked before the first starts, run in processes, and told in a table.

A tuning is two of these: one that finds each arm's best setting, and one that judges them.

Hydra's plug-ins for it, in src/hydra_plugins, are adapters of this room.
"""

from handwriting.sweeps.plan import JobsFailed
from handwriting.sweeps.progress import called

__all__ = ["JobsFailed", "called"]
