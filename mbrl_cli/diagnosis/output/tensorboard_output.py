"""A diagnosis for TensorBoard: verdict and tables as text, numbers as scalars, charts as images."""

from __future__ import annotations

import re
from pathlib import Path

from mbrl_cli.diagnosis.diagnosis import Diagnosis
from mbrl_cli.diagnosis.output.diagnosis_text import diagnosis_text
from mbrl_cli.diagnosis.output.figure_image import bars_image, curve_image
from mbrl_cli.errors import UserError
from mbrl_cli.event_file import EVENT_FILES, EventFile
from mbrl_cli.metrics_csv import METRICS_CSV

GRADES = {"fine": 0.0, "note": 1.0, "problem": 2.0}


def check_event_folder(folder: Path) -> None:
    """Raise UserError if the folder is that of a run, whose event file must not change."""
    if (folder / METRICS_CSV).exists():
        raise UserError(
            f"--tensorboard {folder}: is the folder of a run, which a diagnosis does not change; "
            f"type another folder, such as {folder}_diagnosis"
        )


def write_events(diagnosis: Diagnosis, folder: Path) -> None:
    """Add the diagnosis to the event file of a folder; its step is that of the weights.

    Raises:
        UserError: if the folder is that of a run.
    """
    from torch.utils.tensorboard.summary import text

    check_event_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    existing = sorted(folder.glob(EVENT_FILES))
    events = EventFile(folder, existing[0].stat().st_size if existing else 0)
    step = diagnosis.step
    try:
        if diagnosis.mean_return is not None:
            events.add_scalar(step, "diagnosis/return", diagnosis.mean_return.value)
        for finding in reversed(diagnosis.findings()):  # the worst grade of a fault is the last
            events.add_scalar(step, f"diagnosis/grade/{finding.fault}", GRADES[finding.severity])
        block = f"```\n{diagnosis_text(diagnosis)}```"
        summary = text("diagnosis", block)  # type: ignore[no-untyped-call]
        summary.value[0].tag = "diagnosis"  # torch appends "/text_summary"
        events.add_summary(summary, step)
        for section in diagnosis.sections:
            images = [(bars.title, bars_image(bars)) for bars in section.bars]
            images += [(curve.title, curve_image(curve)) for curve in section.curves]
            for title, image in images:
                if image is not None:
                    tag = f"diagnosis/{section.name}/{_tag(title)}"
                    events.add_video(step, tag, image[None])
    finally:
        events.close()


def _tag(title: str) -> str:
    return re.sub(r"[^\w.-]+", "_", title).strip("_")
