"""Single changes of preprocessing, labels and outputs: what ``probe`` tries, and what faults of these kinds are."""
