"""A sweep's result as one folder or zip that opens anywhere: page, tables, figures, and how it was made.

The way through the room: `bundle` lets `cleaning` take out what is nobody else's business, writes the
`records` of the runs and the report's own files beside them, says in `about` what all that is, and lets
`placing` put it in its place. `check_place` answers at once; `bundling.bundle` imports pandas and Matplotlib,
so a command imports it once it has to.
"""

from handwriting.bundling.placing import check_place

__all__ = ["check_place"]
