"""``trace``: the first stage of a port, and in it the first node, that departs from the source."""
