"""`make bench`: what training, tracking and reporting cost on this machine, whatever is compared in turn."""
