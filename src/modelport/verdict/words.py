"""The words of a verdict and of each check."""

PASS, FAIL, INCONCLUSIVE, INCOMPLETE = "pass", "fail", "inconclusive", "incomplete"
NOT_APPLICABLE = "not_applicable"  # decides nothing


def unit_word(unit: object) -> str:
    """Return what a tolerance's unit is called behind a figure; of one that is not told, points."""
    return "%" if unit == "percent_of_reference" else "points"
