"""Fit ZCA whitening, beside Keras' singular value decomposition of the same images.

    python -m benchmarks.zca small [--images 10000] [--with-keras]     tiles of 32×32×3
    python -m benchmarks.zca large [--images 4096] [--route samples]   crops of 224×224×3, out of a Zarr store

Each measurement is a process of its own; the peak of memory is the operating system's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peak import peak_nbytes

SMALL, LARGE = 32, 224
APPLIED = 128


def fit(x: Any, store: Path | None = None, **options: Any) -> tuple[Any, dict[str, Any]]:
    """A fitted generator, and what it took."""
    from daskaug import ImageDataGenerator

    generator = ImageDataGenerator(featurewise_center=True, zca_whitening=True)
    plan = generator.plan_zca(x, **options)
    began = time.perf_counter()
    generator.fit(x, zca_store=store, **options)
    seconds = time.perf_counter() - began
    whitening = generator.statistics.whitening
    return generator, {
        "plan": str(plan),
        "seconds": seconds,
        "peak": peak_nbytes(),
        "rank": whitening.rank,
        "captured": whitening.captured,
        "error": whitening.error,
    }


def second_moment(generator: Any, images: np.ndarray) -> float:
    """How far the second moment of the whitened images is from the identity, on the kept directions."""
    whitening = generator.statistics.whitening
    centred = images.reshape(len(images), -1) - np.tile(generator.mean.ravel(), images[0].size // 3)
    whitened = (centred @ whitening.u) * whitening.scale
    return float(np.abs(whitened.T @ whitened / len(images) - np.eye(whitening.rank)).max())


def small(images: int, route: str | None) -> dict[str, Any]:
    from benchmarks.images import photograph_crops

    x = photograph_crops(images, SMALL)
    fit(x[:64])  # to load and compile
    generator, answer = fit(x, zca_route=route)
    return answer | {"identity": second_moment(generator, x) if images <= 10000 else None}


def small_with_keras(images: int, _: str | None) -> dict[str, Any]:
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    from benchmarks.images import photograph_crops

    x = photograph_crops(images, SMALL)
    generator = ImageDataGenerator(featurewise_center=True, zca_whitening=True)
    began = time.perf_counter()
    generator.fit(x)
    return {"seconds": time.perf_counter() - began, "peak": peak_nbytes(), "rank": min(x.shape[0], x[0].size)}


def large(images: int, route: str | None) -> dict[str, Any]:
    from benchmarks.store import photographs_store

    folder = Path(tempfile.gettempdir()) / "daskaug-bench"
    folder.mkdir(parents=True, exist_ok=True)
    store = photographs_store(folder / f"photographs-{images}.zarr", images)
    with tempfile.TemporaryDirectory() as place:
        generator, answer = fit(store, Path(place, "directions.zarr"), zca_route=route)
        rows = photographs(store)
        whitening = generator.statistics.whitening
        answer["orthogonality"] = float(np.abs(whitening.u.T @ whitening.u - np.eye(whitening.rank)).max())
        answer["scale"] = whitening.scale[[0, 1, 9, 99, -1]].tolist()
        answer["projected"] = checksum(whitening, rows)
        plain = rate(type(generator)(featurewise_center=True, rotation_range=20).fit(store), rows)
        rotating = type(generator)(featurewise_center=True, zca_whitening=True, rotation_range=20)
        rotating.statistics = generator.statistics
        whitened = rate(rotating, rows)
        return answer | {"augmenting": plain, "and whitening": whitened}


def photographs(store: Any) -> np.ndarray:
    import zarr

    return np.asarray(zarr.open_array(str(store), mode="r")[:APPLIED])


def checksum(whitening: Any, rows: np.ndarray) -> list[float]:
    """Mean squares of some images in the first 8, 64, 128 directions, whitened: equal where the subspaces are."""
    centred = rows[:32].reshape(32, -1).astype(np.float32)
    centred -= centred.mean()
    squares = ((centred @ whitening.u) * whitening.scale) ** 2
    return [float(squares[:, :k].mean()) for k in (8, 64, 128)]


def rate(generator: Any, rows: np.ndarray) -> float:
    """Images a second through ``flow``."""
    batches = generator.flow(rows, batch_size=32, seed=1)
    for _ in range(4):
        next(batches)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < 5:
        count += len(next(batches))
    return count / (time.perf_counter() - began)


KINDS = {"small": small, "keras": small_with_keras, "large": large}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["small", "large"])
    parser.add_argument("--images", type=int)
    parser.add_argument("--route", nargs="+", choices=["features", "samples", "randomized"], default=[None])
    parser.add_argument("--with-keras", action="store_true", help="Keras too, on the small ones")
    parser.add_argument("--measure", nargs=3, metavar=("KIND", "IMAGES", "ROUTE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        kind, images, route = options.measure
        answer = KINDS[kind](int(images), None if route == "None" else route)
        print(json.dumps(answer))
        return
    images = options.images or {"small": 10000, "large": 4096}[options.kind]
    runs = [(options.kind, route) for route in options.route]
    if options.with_keras:
        runs.append(("keras", None))
    for kind, route in runs:
        command = [sys.executable, "-m", "benchmarks.zca", options.kind, "--measure", kind, str(images), str(route)]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | {"KERAS_BACKEND": "jax"}
        )
        answer = json.loads(done.stdout.splitlines()[-1])
        print(f"{kind}, {images} images, route {route}:")
        for name, value in answer.items():
            print(f"    {name}: {value / 1e9:.2f} GB" if name == "peak" else f"    {name}: {value}")


if __name__ == "__main__":
    main()
