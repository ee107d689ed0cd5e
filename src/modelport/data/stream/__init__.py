"""Samples → batches, ahead of the engine, in order, in bounded memory."""
