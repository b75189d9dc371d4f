"""`make bench`: what training, tracking and reporting cost on this machine, everything compared in turn."""
