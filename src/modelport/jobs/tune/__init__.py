"""``tune``: the fastest setting whose accuracy holds."""
