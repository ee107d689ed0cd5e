"""A result in one sentence: the word, and why: what is lost at most and how many images it took, or another reason."""

from __future__ import annotations

from modelport.core.values import Check
from modelport.report.result import Result
from modelport.verdict.alignment import NAME as ALIGNED
from modelport.verdict.chance import ABOVE_CHANCE
from modelport.verdict.words import FAIL, INCONCLUSIVE, PASS, unit_word

AGAINST = "_vs_source"


def sentence(result: Result) -> str:
    """Return it: the first reason of a verdict that is none of a loss; of one without any interval what it rests on."""
    check = subject(result)
    if check is None:
        return f"{result.verdict}: {result.rests_on}"
    if not _tells(check):
        return f"{result.verdict}: {check.name}: {check.why}"
    metric = check.name.removesuffix(AGAINST)
    got, want = result.metrics[metric], result.source.metrics[metric]
    digits = 2 if got.unit == "percent" else 4
    figures = f"{metric} is {got.value:.{digits}f}, the source's {want.value:.{digits}f}"
    return f"{result.verdict}: {figures}; {_loss(result, check)} ({_sample(result)})"


def where_to_look(result: Result) -> list[str]:
    """Return which command finds the cause of what did not pass; none where all did, or more samples would do."""
    if any(check.verdict == FAIL for check in result.checks):
        return [
            "where and why: `modelport trace` names the stage and the node that depart from the source, `modelport "
            "probe` the setting that explains the figures"
        ]
    doubted = (check.name for check in result.checks if check.verdict == INCONCLUSIVE)
    if any(name == ALIGNED or name.endswith(ABOVE_CHANCE) for name in doubted):
        return [
            "`modelport probe` tries labels, preprocessing and layout, and names the setting that explains the figures"
        ]
    return []


def subject(result: Result) -> Check | None:
    """Return the check that the sentence is about; None where it says what the verdict rests on."""
    reason = next((check for check in result.checks if check.verdict == result.verdict), None)
    if reason is not None and result.verdict in (FAIL, INCONCLUSIVE) and not _tells(reason):
        return reason
    return telling(result)


def telling(result: Result) -> Check | None:
    """Return the check whose interval tells most: the first that fails, else is not settled, else passes."""
    told = list(filter(_tells, result.checks))
    return next((check for word in (FAIL, INCONCLUSIVE, PASS) for check in told if check.verdict == word), None)


def _tells(check: Check) -> bool:
    """Whether a check tells of a loss."""
    return check.name.endswith(AGAINST) and check.interval is not None


def _loss(result: Result, check: Check) -> str:
    """Return between which bounds the loss lies, and what is tolerated."""
    tolerance = result.further.get("statistics", {}).get("tolerance", {})
    unit = unit_word(tolerance.get("unit"))
    assert check.interval is not None
    low, high = ("an unknown number" if end is None else f"{end:.2f}" for end in check.interval)
    allowed = f"{tolerance['value']:g} {unit} may be lost" if "value" in tolerance else "more than may be"
    if check.verdict == PASS:
        return f"at most {high} {unit} are lost, {allowed}"
    if check.verdict == FAIL:
        return f"at least {low} {unit} are lost, {allowed}"
    wanted = "" if check.needed_n is None else f": some {check.needed_n} images would tell"
    return f"between {low} and {high} {unit} are lost, {allowed}{wanted}"


def _sample(result: Result) -> str:
    """Return how many images it took, and how sure it is."""
    told = result.further.get("statistics", {})
    sure = f"{told.get('confidence', 0.95):.0%} sure"
    if told.get("rule") == "full_set":
        return f"the full published set of {result.n} images, where the observed figure decides"
    if told.get("stopped_at") is not None:
        return f"decided at {told['stopped_at']} of {told['n_planned']} images, {sure}"
    return f"{result.n} images, {sure}"
