"""Holds the right to a run of a store until its stdin is closed.

python hold_lease.py URI EXPERIMENT RUN FOLDER BEAT ENDS TAKEN
"""

import logging
import sys
from pathlib import Path

from handwriting.tracking import Store, leases

if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    uri, experiment, run, folder = sys.argv[1:5]
    leases.BEAT, leases.ENDS, leases.TAKEN = map(float, sys.argv[5:])
    store = Store(uri)
    store.folder = Path(folder)  # another machine's
    right = leases.right_to(store, experiment, run)
    right.acquire()
    print("holds", flush=True)
    sys.stdin.read()
    right.release()
