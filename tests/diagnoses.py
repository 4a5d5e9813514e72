"""Hand-made diagnoses for tests of the outputs of `mbrl diagnose`."""

import numpy as np

from mbrl_cli.diagnosis.bars import Bars
from mbrl_cli.diagnosis.curve import Curve
from mbrl_cli.diagnosis.diagnosis import Diagnosis
from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.diagnosis.section import Section
from mbrl_cli.diagnosis.section_cost import SectionCost
from mbrl_cli.diagnosis.table import Table
from mbrl_cli.reports.comparison import Estimate

NAN = float("nan")


def substitution():
    """Return a section with a problem, a note, and intervals."""
    names = ["true dynamics", "true reward", "true termination", "10 x plans", "2 x horizon"]
    gains = [311.5, 2.1, -0.4, 12.9, NAN]
    low, high = [280.2, -3.0, -4.1, -8.0, NAN], [340.9, 6.2, 3.5, 40.1, NAN]
    rows = [["as saved", 121.4, None, None, None, 16]]
    rows += [
        [n, None if g != g else 121.4 + g, g, a, b, 16]
        for n, g, a, b in zip(names, gains, low, high, strict=True)
    ]
    return Section(
        "substitution",
        "What the return gains when one part is replaced",
        [
            Finding(
                "dynamics", "problem",
                "Return 121.4 becomes 432.9 with the true dynamics: gain 311.5, 95 % interval "
                "280.2 to 340.9.", 0.975, "mbrl resume RUN total_steps=2000",
            ),
            Finding(
                "planner", "note",
                "Return 121.4 becomes 134.3 with ten times the plans: gain 12.9, 95 % interval "
                "-8.0 to 40.1: inconclusive.", 0.5,
            ),
            Finding("reward", "fine", "Nothing is lost by the learned reward.", 0.95),
        ],
        [
            Table(
                "Return of the saved agent and of its variants",
                ["variant", "return", "gain", "gain, low", "gain, high", "episodes"], rows,
                "Gain: mean difference to the saved agent over episodes from the same first "
                "states.",
            ),
            Table(
                "Shapley shares of the gain", ["part", "share", "low", "high"],
                [["dynamics", 305.0, 270.0, 335.0], ["reward", 4.0, -2.0, 9.0]],
            ),
        ],
        bars=[Bars("Gain of each variant", "gain in return", names, gains, low, high)],
        skipped=["the horizon: the environment's time limit is shorter"],
    )  # fmt: skip


def accuracy():
    """Return a section with curves and a table of 17 entries."""
    k = np.arange(1.0, 26.0)
    error = 0.01 * k**1.5
    error[10] = NAN
    return Section(
        "accuracy",
        "Model accuracy",
        [Finding("overconfident", "note", "one-step coverage is 0.41; 0.68 is calibrated")],
        [
            Table(
                "Error after 10 steps",
                ["entry", "unit", "error", "no change"],
                [[f"entry {i}", "m/s", 0.001 * 3.0**i, 0.2 * 3.0**i] for i in range(17)],
                "Useful only if well below the error of predicting no change.",
            )
        ],
        [
            Curve(
                "Error over the horizon", "imagined steps", "error, standard deviations", k,
                {"held-out episodes": error, "no change": 0.05 * k},
            )
        ],
    )  # fmt: skip


def data():
    """Return a section in which nothing is wrong."""
    return Section(
        "data",
        "Data checks",
        [
            Finding("shifted_actions", "fine", "the model fits best without a shift", 0.99),
            Finding("time_limit_as_termination", "fine", "no episode ends at a fixed length"),
        ],
        [
            Table(
                "Data checks: evidence",
                ["measured", "value", "threshold"],
                [
                    ["constant observation entries", 0, "note from 1 on"],
                    ["actions at their bound, largest entry", 0.0123, "note from 0.9 on"],
                ],
            )
        ],
    )


def diagnosis(**changes):
    """Return a diagnosis whose dynamics are wrong, with changed fields."""
    fields = {
        "folder": "outputs/RUN1",
        "choices": {"env": "cartpole", "model": "mlp", "planner": "cem", "agent": "mpc"},
        "seed": 3,
        "step": 1000,
        "fault": "dynamics",
        "verdict": "The dynamics of the model lose the return. Return 121.4 becomes 432.9 with "
        "the true dynamics: gain 311.5, 95 % interval 280.2 to 340.9.",
        "command": "mbrl resume outputs/RUN1 total_steps=2000",
        "mean_return": Estimate(121.4, 100.2, 143.0),
        "episodes": 16,
        "sections": [substitution(), accuracy(), data()],
        "seconds": 48.7,
        "costs": {"substitution": SectionCost(31.2, 412.0), "data": SectionCost(4.0)},
        "settings": ["--quick"],
    }
    return Diagnosis(**{**fields, **changes})
