"""Holds the right to a run of a store until its stdin is closed.

python hold_lease.py URI EXPERIMENT RUN BEAT ENDS TAKEN
"""

import logging
import sys

from handwriting.tracking import Store, leases

if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    uri, experiment, run = sys.argv[1:4]
    leases.BEAT, leases.ENDS, leases.TAKEN = map(float, sys.argv[4:])
    right = leases.right_to(Store(uri), experiment, run)
    right.acquire()
    print("holds", flush=True)
    sys.stdin.read()
    right.release()
