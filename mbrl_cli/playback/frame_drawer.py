"""One frame of a video: the image with the plan drawn over it, and a panel of numbers beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mbrl_cli.playback.played_step import PlayedStep

MIN_HEIGHT, MAX_HEIGHT = 320, 480  # pixels of a frame
PANEL_WIDTH = 260
MARGIN = 14
FONT_SIZE = 15
LINE = 22  # pixels from one line of text to the next
CHART_STEPS = 20, 100  # fewest and most steps that the chart of rewards has space for
BACKGROUND, TEXT, PALE = (255, 255, 255), (30, 30, 30), (120, 120, 120)
REAL, PREDICTED = (0, 114, 178), (213, 94, 0)  # blue and vermilion of Okabe and Ito (2008)
REAL_COLUMN, PREDICTED_COLUMN = 150, PANEL_WIDTH - MARGIN  # right ends of numbers


class FrameDrawer:
    """Draws the frames of episodes, in their order; all frames of an environment have one size."""

    def __init__(self) -> None:
        self._font = ImageFont.load_default(FONT_SIZE)
        self._episode = -1
        self._real: list[float] = []  # rewards of the episode
        self._predicted: list[float] = []  # NaN where there is no prediction
        self._predicted_return: float | None = None  # of the newest plan that has one

    def frame(self, step: PlayedStep) -> NDArray[np.uint8]:
        """Return the frame of a step [height, width, 3]; height and width are even.

        It shows the image before the step.
        """
        if step.episode != self._episode:
            self._episode, self._real, self._predicted = step.episode, [], []
            self._predicted_return = None
        self._real.append(step.reward)
        predicted = step.predicted_reward
        self._predicted.append(np.nan if predicted is None else predicted)
        if step.predicted_return is not None:
            self._predicted_return = step.predicted_return
        scene, scale = _scaled(step.image)
        if step.path is not None:
            _draw_path(ImageDraw.Draw(scene), step.path * scale)
        return self._composed(scene, step, "")

    def last_frame(self, step: PlayedStep) -> NDArray[np.uint8]:
        """Return the frame after the last step of an episode; call `frame` before."""
        assert step.last_image is not None
        return self._composed(_scaled(step.last_image)[0], step, f", {step.end}")

    def _composed(self, scene: Image.Image, step: PlayedStep, end: str) -> NDArray[np.uint8]:
        width, height = scene.width + PANEL_WIDTH, max(scene.height, MIN_HEIGHT)
        canvas = Image.new("RGB", (width + width % 2, height + height % 2), BACKGROUND)
        canvas.paste(scene, (0, (canvas.height - scene.height) // 2))
        panel = Image.new("RGB", (PANEL_WIDTH, canvas.height), BACKGROUND)
        self._draw_panel(ImageDraw.Draw(panel), panel.height, step, end)
        canvas.paste(panel, (scene.width, 0))
        return np.asarray(canvas)

    def _draw_panel(
        self, draw: ImageDraw.ImageDraw, height: int, step: PlayedStep, end: str
    ) -> None:
        top = MARGIN

        def line(text: str, colour: tuple[int, int, int] = TEXT) -> None:
            nonlocal top
            draw.text((MARGIN, top), text, colour, self._font)
            top += LINE

        def numbers(name: str, real: float | None, predicted: float | None) -> None:
            for value, column, colour in (
                (real, REAL_COLUMN, REAL), (predicted, PREDICTED_COLUMN, PREDICTED)
            ):  # fmt: skip
                if value is not None:
                    draw.text((column, top), _number(value), colour, self._font, anchor="ra")
            line(name)

        has_plan = step.horizon > 0 or self._predicted_return is not None
        draw.line((0, 0, 0, height), (200, 200, 200))
        line(f"episode {step.episode + 1}, step {step.step + 1}{end}")
        line(f"action {_action(step.action)}")
        top += LINE // 2
        draw.text((REAL_COLUMN, top), "real", REAL, self._font, anchor="ra")
        if has_plan:
            draw.text((PREDICTED_COLUMN, top), "predicted", PREDICTED, self._font, anchor="ra")
        top += LINE
        numbers("reward", step.reward, step.predicted_reward)
        numbers("return", step.episode_return, None)
        if has_plan:
            top += LINE // 2
            steps = f", {step.horizon} steps" if step.horizon else ""
            line(f"plan{steps}")
            numbers("  return", None, self._predicted_return)
            if step.path is not None and not end:
                draw.line((MARGIN + 6, top + 9, MARGIN + 32, top + 9), PREDICTED, 2)
                _dot(draw, MARGIN + 19, top + 9, 4, PREDICTED)
                draw.text((MARGIN + 42, top), "imagined states", TEXT, self._font)
                top += LINE
        self._draw_chart(draw, top + LINE // 2, height - MARGIN)

    def _draw_chart(self, draw: ImageDraw.ImageDraw, top: int, bottom: int) -> None:
        """Draw the rewards of the last steps, the real ones over the predicted ones."""
        fewest, most = CHART_STEPS
        real, predicted = self._real[-most:], self._predicted[-most:]
        space = max(fewest, len(real))
        draw.text((MARGIN, top), f"reward, last {space} steps", TEXT, self._font)
        top += LINE + 4
        values = np.array([real, predicted])
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        # Rounding errors of a model that is right do not fill the chart.
        missing = 0.1 * max(1.0, abs(low), abs(high)) - (high - low)
        if missing > 0.0:
            low, high = low - missing / 2.0, high + missing / 2.0
        labels = [_number(high), _number(low)]
        left = MARGIN + 8 + int(max(draw.textlength(text, self._font) for text in labels))
        right = PANEL_WIDTH - MARGIN
        draw.text((left - 6, top), labels[0], PALE, self._font, anchor="rt")
        draw.text((left - 6, bottom), labels[1], PALE, self._font, anchor="rb")
        draw.rectangle((left, top, right, bottom), outline=(200, 200, 200))
        for row, colour, width in ((predicted, PREDICTED, 3), (real, REAL, 1)):
            points = [
                (
                    left + 2 + (right - left - 4) * index / (space - 1),
                    bottom - 3 - (bottom - top - 6) * (value - low) / (high - low),
                )
                for index, value in enumerate(row)
                if np.isfinite(value)
            ]
            if len(points) > 1:
                draw.line(points, colour, width)
            elif points:
                _dot(draw, *points[0], 2, colour)


def _scaled(image: NDArray[np.uint8]) -> tuple[Image.Image, float]:
    """Return an image whose height fits into a frame, and its factor."""
    picture = Image.fromarray(image)
    if picture.height < MIN_HEIGHT:  # keeps sharp pixels
        factor = float(-(-MIN_HEIGHT // picture.height))
        resample = Image.Resampling.NEAREST
    elif picture.height > MAX_HEIGHT:
        factor, resample = MAX_HEIGHT / picture.height, Image.Resampling.LANCZOS
    else:
        return picture, 1.0
    size = round(picture.width * factor), round(picture.height * factor)
    return picture.resize(size, resample), factor


def _draw_path(draw: ImageDraw.ImageDraw, path: NDArray[np.float64]) -> None:
    """Draw the present state as a ring and the imagined ones as dots [n, 2] on a line."""
    points = [
        (float(column), float(row)) for column, row in path if np.isfinite([column, row]).all()
    ]
    if len(points) > 1:
        draw.line(points, BACKGROUND, 5)
        draw.line(points, PREDICTED, 2)
    for radius, colour in ((4, BACKGROUND), (3, PREDICTED)):  # all edges below all dots
        for column, row in points[1:]:
            _dot(draw, column, row, radius, colour)
    if points:
        column, row = points[0]
        for radius, colour, width in ((9, BACKGROUND, 7), (7, PREDICTED, 3)):
            ring = (column - radius, row - radius, column + radius, row + radius)
            draw.ellipse(ring, outline=colour, width=width)


def _dot(
    draw: ImageDraw.ImageDraw, column: float, row: float, radius: int, colour: tuple[int, int, int]
) -> None:
    draw.ellipse((column - radius, row - radius, column + radius, row + radius), fill=colour)


def _action(action: Any) -> str:
    values = np.asarray(action).reshape(-1)
    if np.issubdtype(values.dtype, np.integer):
        texts = [str(value) for value in values]
    else:
        texts = [f"{value:.2f}" for value in values]
    more = " ..." if len(texts) > 4 else ""
    return " ".join(texts[:4]) + more


def _number(value: float) -> str:
    """Return a number in at most seven characters or so."""
    if value == round(value) and abs(value) < 1e5:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) < 1e4 else f"{value:.2e}"
