"""Curves of a diagnosis, drawn in one figure."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Curve:
    """Lines over one axis.

    Attributes:
        title: what the figure shows.
        x_label: name and unit of the horizontal axis.
        y_label: name and unit of the vertical axis.
        x: [n].
        lines: name -> values [n]; NaN: no point.
    """

    title: str
    x_label: str
    y_label: str
    x: NDArray[np.float64]
    lines: dict[str, NDArray[np.float64]] = field(default_factory=dict)
