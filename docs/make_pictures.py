"""Make the picture of the guide to statistics again: ``python docs/make_pictures.py``.

Crops of the photographs that come inside scikit-image and scikit-learn, always the same. It takes about a minute.
"""

from __future__ import annotations

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
    """Write the picture."""
    photographs = [np.asarray(Image.fromarray(photograph).reduce(2)) for photograph in load_photographs()]
    drawn(whitening_rows(crops_of(photographs))).save(IMAGES / "whitening.png", optimize=True)


if __name__ == "__main__":
    main()
