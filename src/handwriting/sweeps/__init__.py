"""Many runs: arms by seeds, checked before the first starts, run in processes, and told in a table.

Hydra's plug-ins for it, in src/hydra_plugins, are adapters of this room.
"""

from handwriting.sweeps.plan import JobsFailed
from handwriting.sweeps.progress import called

__all__ = ["JobsFailed", "called"]
