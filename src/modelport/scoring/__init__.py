"""From outputs to figures, and from figures to a verdict."""
