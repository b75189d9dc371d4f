"""Runs in another store: copied whole, compared by value. Importing this imports MLflow."""

from handwriting.sharing.checking import differences as differences
from handwriting.sharing.copying import Copier as Copier
