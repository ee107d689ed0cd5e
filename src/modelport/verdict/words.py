"""The words of a verdict and of each check."""

PASS, FAIL, INCONCLUSIVE, INCOMPLETE = "pass", "fail", "inconclusive", "incomplete"
NOT_APPLICABLE = "not_applicable"  # decides nothing
