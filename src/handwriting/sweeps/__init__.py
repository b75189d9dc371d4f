"""Many runs: arms by seeds, checked before the first starts, handed to a launcher, and told in a table.

A tuning is two of these: one that finds each arm's best setting, and one that judges them.
"""

from handwriting.sweeps.plan import JobsFailed

__all__ = ["JobsFailed"]
