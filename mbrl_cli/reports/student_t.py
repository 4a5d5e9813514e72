"""Quantiles and distribution function of Student's t distribution."""

from __future__ import annotations

import math


def t_quantile(probability: float, degrees: int) -> float:
    """Return the value below which t with `degrees` degrees of freedom lies with `probability`.

    The distribution function of an integer number of degrees is a finite sum (Abramowitz and
    Stegun 1964, 26.7.3 and 26.7.4), which is inverted by bisection.
    """
    if degrees < 1 or not 0.5 <= probability < 1.0:
        raise ValueError(f"{degrees} degrees of freedom, probability {probability}")
    low, high = 0.0, 1.0
    while t_probability(high, degrees) < probability:
        high *= 2.0
    for _ in range(60):
        middle = (low + high) / 2.0
        if t_probability(middle, degrees) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def t_probability(t: float, degrees: int) -> float:
    """Return the probability of a value below t >= 0."""
    angle = math.atan(t / math.sqrt(degrees))
    cos_squared = math.cos(angle) ** 2
    odd = degrees % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for k in range(degrees // 2):
        total += term
        term *= (
            cos_squared * (2 * k + 2) / (2 * k + 3)
            if odd
            else (cos_squared * (2 * k + 1) / (2 * k + 2))
        )
    central = math.sin(angle) * total
    if odd:
        central = 2.0 / math.pi * (angle + central)
    return 0.5 + central / 2.0
