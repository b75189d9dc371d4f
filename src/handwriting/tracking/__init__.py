"""The store: what a run is known by, what is stored of it, and which run a config is.

`Store` and `names` answer at once and may be used from anywhere. `tracking.run` and `tracking.resume` import
MLflow, which takes seconds, so those who need them import them where they do.
"""

from handwriting.tracking import names
from handwriting.tracking.addresses import default_uri, local_uri, stores_of
from handwriting.tracking.sql import ROOT_SETTING
from handwriting.tracking.store import Store

__all__ = ["ROOT_SETTING", "Store", "default_uri", "local_uri", "names", "stores_of"]
