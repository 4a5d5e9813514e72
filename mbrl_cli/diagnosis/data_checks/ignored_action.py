"""Whether the environment ignores its action altogether."""

from __future__ import annotations

from mbrl_cli.diagnosis.data_checks.action_probe import ActionProbe
from mbrl_cli.diagnosis.data_checks.check_result import CheckResult
from mbrl_cli.diagnosis.finding import Finding

MIN_PROBES = 5


def ignored_action(probe: ActionProbe | None) -> CheckResult:
    """Check whether one changed action ever changes an episode.

    Args:
        probe: differences in fresh environments; None: no fresh environment was played.
    """
    result = CheckResult()
    if probe is None or not probe.reproducible:
        result.skipped.append(
            "ignored actions: equal reset seeds and actions give different observations, so the "
            "effect of an action cannot be seen"
        )
        return result
    number = len(probe.obs_lags)
    if number < MIN_PROBES:
        result.skipped.append(
            f"ignored actions: {number} pairs of fresh episodes were long enough; {MIN_PROBES} are "
            "needed"
        )
        return result
    effects = int(((probe.obs_lags >= 0) | (probe.reward_lags >= 0)).sum())
    result.evidence.append(
        ("fresh episodes that one changed action changes", f"{effects} of {number}", "problem at 0")
    )
    if probe.no_effect:
        result.findings.append(
            Finding(
                "ignores_action",
                "problem",
                f"the environment ignores its action: in {number} pairs of episodes with equal "
                "seeds, one changed action changed no observation and no reward",
                0.99,
            )
        )
    else:
        result.findings.append(
            Finding(
                "ignores_action",
                "fine",
                f"one changed action changed {effects} of {number} fresh episodes",
            )
        )
    return result
