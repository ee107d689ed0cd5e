"""``history``: the results of a folder tree, in the order in which they were made."""
