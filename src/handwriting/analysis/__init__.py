"""From runs in the store to an answer: read → comparable → paired → compare → verdict → figures → page."""
