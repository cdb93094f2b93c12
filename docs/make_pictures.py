"""Make the pictures of the documentation again: ``python docs/make_pictures.py``, or ``… flow`` for the drawing alone.

The drawing of the flow is text. That of the guide to statistics is made of crops of the photographs that come inside
scikit-image and scikit-learn, always the same, and takes about a minute.
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from daskaug import ImageDataGenerator
from daskaug.demo import load_photographs

IMAGES = Path(__file__).parent / "images"

SIZE, CROPS = 64, 4096

SHOWN = ((10, 82), (28, 66), (22, 112), (62, 128), (170, 128), (20, 110), (30, 68), (78, 121))
"""Top and left of the crops that are shown, one of each photograph."""

MAGNIFIED = 2

RANKS = (16, 128, 1024)
"""Directions that are kept, a row of the picture for each."""

EPSILON = 10_000.0
"""Of the row in which weak directions are damped and not left out."""

DIRECTIONS = (
    ("strongest directions", (1, 2, 3, 4, 5, 6, 8, 11)),
    ("weaker directions", (16, 32, 64, 128, 256, 512, 1024, 2048)),
)

MARGIN, GAP, TITLES = 10, 6, 168
BACKGROUND, INK = "white", "black"

# --- the flow ----------------------------------------------------------------------------------------------------

GREY, BLUE, RED = ("#f2f4f7", "#8d99ae"), ("#e3edf7", "#4a7fb5"), ("#fbe9eb", "#d1495b")
"""Fill and outline of boxes: where images come from, what is done to them, what comes of it."""

Box = tuple[int, int, int, int, tuple[str, str], str, tuple[str, ...]]
"""Left, top, width, height, colours, title, and lines below it."""

SOURCES: tuple[Box, ...] = tuple(
    (20, 60 + 62 * row, 150, 50, GREY, title, (line,))
    for row, (title, line) in enumerate(
        (
            ("NumPy", "an array in memory"),
            ("Zarr", "array, group, store"),
            ("dask", "a lazy array"),
            ("image files", "a folder, a table"),
        )
    )
)
STEPS: tuple[Box, ...] = (
    (232, 110, 140, 136, BLUE, "plan", ("blocks of rows,", "along the chunks,", "within the memory")),
    (404, 110, 140, 136, BLUE, "draw", ("from seed, epoch,", "sample id and", "operation alone")),
    (576, 110, 140, 136, BLUE, "transform", ("augment and", "standardise,", "block by block")),
)
SINKS: tuple[Box, ...] = (
    (778, 48, 182, 70, RED, "fit", ("statistics:", "mean, std, whitening")),
    (778, 143, 182, 70, RED, "flow", ("batches: Keras,", "PyTorch, JAX, TensorFlow")),
    (778, 240, 182, 70, RED, "materialize", ("an augmented store,", "resumable, verified")),
)


def flow() -> str:
    """The way of an image, as SVG: from sources, over plan, draws and transform, to what comes of it."""
    boxes = [*SOURCES, *STEPS, *SINKS]
    middle = 178
    lines = [f"M{left + width} {top + height // 2} L206 {middle}" for left, top, width, height, *_ in SOURCES]
    arrows = [f"M206 {middle} L230 {middle}"]
    arrows += [f"M{left + width} {middle} L{left + width + 30} {middle}" for left, _, width, *_ in STEPS[:2]]
    lines.append(f"M716 {middle} L744 {middle}")
    arrows += [f"M744 {middle} L776 {top + height // 2}" for _, top, _, height, *_ in SINKS]
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 980 356" role="img" font-family="Helvetica, Arial, '
            'DejaVu Sans, sans-serif">',
            "<title>Source, plan, draw, transform; then statistics, batches or a store</title>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#5c677d"/></marker></defs>',
            '<rect width="980" height="356" fill="white"/>',
            '<rect x="388" y="88" width="344" height="180" rx="12" fill="none" stroke="#8d99ae" '
            'stroke-dasharray="5 4"/>',
            _text(560, 78, "threads here, or workers of a cluster: the same bits", 13, "#5c677d"),
            _text(95, 42, "source", 15, "#33415c", bold=True),
            *(f'<path d="{line}" fill="none" stroke="#5c677d" stroke-width="1.4"/>' for line in lines),
            *(
                f'<path d="{arrow}" fill="none" stroke="#5c677d" stroke-width="1.4" marker-end="url(#head)"/>'
                for arrow in arrows
            ),
            '<path d="M869 310 L869 334 L95 334 L95 300" fill="none" stroke="#8d99ae" stroke-width="1.2" '
            'stroke-dasharray="5 4" marker-end="url(#head)"/>',
            _text(474, 328, "a store is a source, too", 13, "#5c677d"),
            *(_box(box) for box in boxes),
            "</svg>\n",
        ]
    )


def _box(box: Box) -> str:
    left, top, width, height, (fill, outline), title, lines = box
    center, first = left + width // 2, top + (height - 17 * len(lines) - 8) // 2 + 4
    parts = [
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="8" fill="{fill}" stroke="{outline}"/>',
        _text(center, first + 6, title, 15, "#1b263b", bold=True),
    ]
    parts += [_text(center, first + 25 + 17 * i, line, 13, "#33415c") for i, line in enumerate(lines)]
    return "\n".join(parts)


def _text(x: int, y: int, text: str, size: int, color: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{color}" text-anchor="middle"{weight}>{escape(text)}</text>'


# --- whitening ---------------------------------------------------------------------------------------------------


def crops_of(photographs: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """(CROPS, SIZE, SIZE, 3): of each photograph in turn; first those that are shown, then such as cover it evenly."""
    crops = np.empty((CROPS, SIZE, SIZE, 3), np.uint8)
    for number in range(CROPS):
        round_, which = divmod(number, len(photographs))
        height, width = (extent - SIZE for extent in photographs[which].shape[:2])
        # Multiples of the plastic number's powers, modulo 1, fill a square more evenly than chance does.
        y, x = round(round_ * 0.7548776662 % 1 * height), round(round_ * 0.5698402910 % 1 * width)
        if round_ == 0:
            y, x = SHOWN[which]
        crop = photographs[which][y : y + SIZE, x : x + SIZE]
        crops[number] = crop[:, ::-1] if round_ % 2 else crop
    return crops


def grey(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Numbers about 0 as pixels about 128; the few beyond three times the root of their mean square are clipped."""
    return np.clip(127.5 + values * (127.5 / 3 / np.sqrt(np.mean(values**2))), 0, 255).astype(np.uint8)


Row = tuple[str, list[NDArray[np.uint8]], tuple[int, ...]]
"""Title, pictures, and numbers to write into them."""


def whitening_rows(crops: NDArray[np.uint8]) -> list[Row]:
    """The first crops before and after whitening, and the directions of the whitening as images."""
    shown = crops[: len(SHOWN)]
    generator = ImageDataGenerator(featurewise_center=True, zca_whitening=True, dtype="float64")
    generator.fit(crops, zca_route="samples", zca_components=len(crops))
    assert generator.statistics is not None
    assert generator.mean is not None
    whitening = generator.statistics.whitening
    assert whitening is not None
    scale = whitening.scale
    u = whitening.u * np.where(whitening.u.sum(axis=0) < 0, -1, 1)  # which sign they come with is chance
    coordinates = (shown - generator.mean).reshape(len(shown), -1) @ u

    def images(weights: NDArray[np.float64]) -> list[NDArray[np.uint8]]:
        flat = (coordinates * weights) @ u.T
        return [grey(image) for image in flat.reshape(shown.shape)]

    root = np.sqrt(len(crops))
    weights = {f"{rank:,} directions": np.where(np.arange(len(scale)) < rank, scale, 0) for rank in RANKS}
    weights[f"all {len(scale):,} directions"] = scale
    weights[f"all, epsilon {EPSILON:,.0f}"] = root / (root / scale + EPSILON)
    rows: list[Row] = [("photographs", list(shown), ())]
    rows += [(title, images(weight), ()) for title, weight in weights.items()]
    for title, numbers in DIRECTIONS:
        directions = [grey(u[:, number - 1].reshape(crops.shape[1:])) for number in numbers]
        rows.append((title, directions, numbers))
    return rows


def drawn(rows: list[Row]) -> Image.Image:
    """The rows below one another."""
    side = SIZE * MAGNIFIED
    width = TITLES + len(SHOWN) * (side + GAP) - GAP + MARGIN
    sheet = Image.new("RGB", (width, 2 * MARGIN + len(rows) * (side + GAP) - GAP), BACKGROUND)
    pen, large, small = ImageDraw.Draw(sheet), ImageFont.load_default(15), ImageFont.load_default(13)
    for number, (title, pictures, numbers) in enumerate(rows):
        top = MARGIN + number * (side + GAP)
        pen.text((MARGIN, top + side // 2), title, fill=INK, font=large, anchor="lm")
        for column, pixels in enumerate(pictures):
            left = TITLES + column * (side + GAP)
            picture = Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST)
            sheet.paste(picture, (left, top))
            if numbers:
                label = f"{numbers[column]:,}"
                box = pen.textbbox((left + 4, top + 3), label, font=small)
                pen.rectangle((left, top, box[2] + 3, box[3] + 3), fill=BACKGROUND)
                pen.text((left + 4, top + 3), label, fill=INK, font=small)
    return sheet


def main() -> None:
    """Write the pictures."""
    (IMAGES / "flow.svg").write_text(flow(), encoding="utf-8")
    if sys.argv[1:] == ["flow"]:
        return
    photographs = [np.asarray(Image.fromarray(photograph).reduce(2)) for photograph in load_photographs()]
    drawn(whitening_rows(crops_of(photographs))).save(IMAGES / "whitening.png", optimize=True)


if __name__ == "__main__":
    main()
