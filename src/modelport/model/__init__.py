"""From a checkpoint to a checked graph."""
