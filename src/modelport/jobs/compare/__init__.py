"""Results side by side: what changed for certain, and what cannot be told."""
