"""Who takes part: the reference pipeline in each library, and the bare loops that bound it.

A contestant is a function ``(images, threads) -> run``, where ``run(count)`` makes `count` batches of 32 from
``images``, (n, size, size, 3) uint8. It imports its library itself, so that each process loads one library only.

The reference pipeline: rotation 20°, shifts 0.1, shear 10°, zoom 0.2, horizontal flip, channel shift 20, brightness
0.8–1.2, featurewise centre and std; uint8 in, float32 out. Where a library has no such operation, it does its nearest.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

BATCH = 32
MEAN, STD = (120.0, 115.0, 105.0), (60.0, 58.0, 62.0)
AUGMENTING = {
    "rotation_range": 20,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
    "shear_range": 10,
    "zoom_range": 0.2,
    "horizontal_flip": True,
    "channel_shift_range": 20,
    "brightness_range": (0.8, 1.2),
}
OPTIONS = AUGMENTING | {"featurewise_center": True, "featurewise_std_normalization": True}

Run = Callable[[int], Any]


def repeated(batch: Callable[[int], Any], threads: int) -> Run:
    """Make batch 0, 1, 2 …, on as many threads as there are."""
    if threads == 1:
        return lambda count: collections.deque(map(batch, range(count)), maxlen=0)
    pool = ThreadPoolExecutor(threads)
    return lambda count: collections.deque(pool.map(batch, range(count)), maxlen=0)


def rows_of(i: int, n: int) -> np.ndarray:
    """Rows of batch i: scattered, as a shuffled epoch reads them."""
    return (np.arange(i * BATCH, (i + 1) * BATCH) * 7919) % n


def some_matrices(images: np.ndarray) -> np.ndarray:
    """(n, 2, 3) of the reference pipeline, for those who do not draw."""
    from daskaug.config import Config
    from daskaug.transforms.affine import matrices
    from daskaug.transforms.draws import draw

    size = images.shape[1:3]
    names = ("rotation_range", "width_shift_range", "height_shift_range", "shear_range", "zoom_range")
    return matrices(draw(Config(**{name: OPTIONS[name] for name in names}), size, 1, 0, np.arange(len(images))), size)


# --- whole pipelines ---------------------------------------------------------------------------------------------


def daskaug(images: np.ndarray, threads: int, **options: Any) -> Run:
    from daskaug import ImageDataGenerator

    batches = fitted(ImageDataGenerator(**OPTIONS, **options)).flow(images, batch_size=BATCH, seed=1)

    def run(count: int) -> None:
        batches.close()  # what was computed ahead in the pause is not to be had for nothing
        for _ in range(count):
            next(batches)

    return run


def keras(images: np.ndarray, threads: int, **options: Any) -> Run:
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    batches = fitted(ImageDataGenerator(**OPTIONS, **options)).flow(images, batch_size=BATCH, seed=1)
    return repeated(lambda i: batches[i % len(batches)], threads)


def fitted(generator: Any) -> Any:
    generator.mean, generator.std = (np.array(values, np.float32).reshape(1, 1, 3) for values in (MEAN, STD))
    return generator


def daskaug_cubic(images: np.ndarray, threads: int) -> Run:
    return daskaug(images, threads, interpolation_order=3)


def keras_cubic(images: np.ndarray, threads: int) -> Run:
    return keras(images, threads, interpolation_order=3)


def albumentations(images: np.ndarray, threads: int) -> Run:
    import albumentations as A
    import cv2

    cv2.setNumThreads(1)
    kept = threading.local()

    def pipeline() -> Any:
        if not hasattr(kept, "pipeline"):
            affine = A.Affine(
                scale={"x": (0.8, 1.2), "y": (0.8, 1.2)},
                translate_percent={"x": (-0.1, 0.1), "y": (-0.1, 0.1)},
                rotate=(-20, 20),
                shear={"x": (-10, 10), "y": (0, 0)},
                keep_ratio=False,
                border_mode=cv2.BORDER_REPLICATE,
                p=1,
            )
            shift = A.RGBShift((-20, 20), (-20, 20), (-20, 20), p=1)
            brightness = A.RandomBrightnessContrast(brightness_range=(-0.2, 0.2), contrast_range=(0, 0), p=1)
            flip, normalize = A.HorizontalFlip(p=0.5), A.Normalize(MEAN, STD, max_pixel_value=1.0)
            kept.pipeline = A.Compose([affine, shift, flip, brightness, normalize], telemetry=False, seed=1)
        return kept.pipeline

    def batch(i: int) -> np.ndarray:
        made, rows = pipeline(), rows_of(i, len(images))
        out = np.empty((BATCH, *images.shape[1:]), np.float32)
        for k, row in enumerate(rows):
            out[k] = made(image=images[row])["image"]
        return out

    return repeated(batch, threads)


def kornia(images: np.ndarray, threads: int) -> Run:
    import kornia.augmentation as K
    import torch

    torch.set_num_threads(1)
    shift = (-20 / 255, 20 / 255)
    pipeline = torch.nn.Sequential(
        K.RandomAffine(
            degrees=20, translate=(0.1, 0.1), scale=(0.8, 1.2, 0.8, 1.2), shear=10, padding_mode="border", p=1.0
        ),
        K.RandomRGBShift(shift, shift, shift, p=1.0),
        K.RandomHorizontalFlip(p=0.5),
        K.RandomBrightness((0.8, 1.2), p=1.0),
        K.Normalize(torch.tensor(MEAN) / 255, torch.tensor(STD) / 255),
    )

    @torch.inference_mode()
    def batch(i: int) -> Any:
        block = torch.from_numpy(images[rows_of(i, len(images))])
        return pipeline(block.permute(0, 3, 1, 2).contiguous().float() / 255)

    return repeated(batch, threads)


def torch_by_hand(images: np.ndarray, threads: int) -> Run:
    """Written by hand around ``grid_sample``, with drawn parameters that cost nothing."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)
    height, width = images.shape[1:3]
    grids = torch.from_numpy(for_grid_sample(some_matrices(images), height, width))
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (MEAN, STD))

    @torch.inference_mode()
    def batch(i: int) -> Any:
        rows = rows_of(i, len(images))
        block = torch.from_numpy(images[rows]).permute(0, 3, 1, 2).contiguous().float()
        flip = torch.rand(BATCH, 1, 1) < 0.5
        theta = torch.where(flip, grids[rows] * torch.tensor([-1.0, 1.0, 1.0]), grids[rows])
        grid = functional.affine_grid(theta, block.shape, align_corners=True)
        block = functional.grid_sample(block, grid, padding_mode="border", align_corners=True)
        low, high = (extreme(block, (1, 2, 3), True) for extreme in (torch.amin, torch.amax))
        block.add_(torch.rand(BATCH, 1, 1, 1) * 40 - 20).clamp_(low, high)
        block.mul_(torch.rand(BATCH, 1, 1, 1) * 0.4 + 0.8).clamp_(0, 255)
        return block.sub_(mean).div_(std)

    return repeated(batch, threads)


def for_grid_sample(matrices: np.ndarray, height: int, width: int) -> np.ndarray:
    """Matrices in pixels (row, column) to ones in (x, y) from -1 to 1, float32."""
    to_pixels = np.array([[(width - 1) / 2, 0, (width - 1) / 2], [0, (height - 1) / 2, (height - 1) / 2], [0, 0, 1]])
    swapped = matrices[:, ::-1][:, :, [1, 0, 2]]
    whole = np.concatenate([swapped, np.broadcast_to([[[0.0, 0, 1]]], (len(matrices), 1, 3))], axis=1)
    return (np.linalg.inv(to_pixels) @ whole @ to_pixels)[:, :2].astype(np.float32)


def tf_data(images: np.ndarray, threads: int) -> Run:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    from keras import layers

    augment = [
        layers.RandomRotation(20 / 360, fill_mode="nearest"),
        layers.RandomTranslation(0.1, 0.1, fill_mode="nearest"),
        layers.RandomShear(10 / 45, 0.0, fill_mode="nearest"),
        layers.RandomZoom(0.2, 0.2, fill_mode="nearest"),
        layers.RandomFlip("horizontal"),
        layers.RandomBrightness(0.2, value_range=(0, 255)),
    ]
    normalize = layers.Normalization(mean=MEAN, variance=np.square(STD))

    def transform(block: Any) -> Any:
        block = tf.cast(block, tf.float32)
        for layer in augment:
            block = layer(block, training=True)
        return normalize(block)

    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    options.threading.max_intra_op_parallelism = 1
    options.experimental_optimization.inject_prefetch = False  # what is computed in the pause would not be counted
    dataset = tf.data.Dataset.from_tensor_slices(images).repeat().batch(BATCH)
    dataset = dataset.map(transform, num_parallel_calls=None if threads == 1 else threads).with_options(options)
    batches = iter(dataset)  # only one: starting takes longer than many a batch

    def run(count: int) -> None:
        for _ in range(count):
            next(batches).numpy()

    return run


# --- bare loops --------------------------------------------------------------------------------------------------


def scipy_affine(images: np.ndarray, threads: int) -> Run:
    from scipy import ndimage

    matrices = some_matrices(images)

    def batch(i: int) -> np.ndarray:
        out = np.empty((BATCH, *images.shape[1:]), np.float32)
        for k, row in enumerate(rows_of(i, len(images))):
            for channel in range(3):
                ndimage.affine_transform(
                    images[row, :, :, channel],
                    matrices[row, :, :2],
                    matrices[row, :, 2],
                    output=out[k, :, :, channel],
                    order=1,
                    mode="nearest",
                )
        return out

    return repeated(batch, threads)


def opencv_warp(images: np.ndarray, threads: int) -> Run:
    """float32 to float32, a few images again and again into the same memory: nothing to convert or to fetch."""
    import cv2

    cv2.setNumThreads(1)
    floats, matrices = images[:4].astype(np.float32), for_opencv(some_matrices(images))
    size = images.shape[2], images.shape[1]
    kept = threading.local()
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def batch(i: int) -> None:
        if not hasattr(kept, "out"):
            kept.out = np.empty(images.shape[1:], np.float32)
        for row in rows_of(i, len(images)):
            cv2.warpAffine(floats[row % 4], matrices[row], size, kept.out, flags, cv2.BORDER_REPLICATE)

    return repeated(batch, threads)


def for_opencv(matrices: np.ndarray) -> np.ndarray:
    """Matrices in (row, column) to ones in (x, y)."""
    return np.ascontiguousarray(matrices[:, ::-1][:, :, [1, 0, 2]])


def copy(images: np.ndarray, threads: int) -> Run:
    """uint8 to float32 into the same memory again and again: nobody who reads and writes all pixels is faster."""
    kept = threading.local()

    def batch(i: int) -> None:
        if not hasattr(kept, "out"):
            kept.out = np.empty(images.shape[1:], np.float32)
        for row in rows_of(i, len(images)):
            np.copyto(kept.out, images[row])

    return repeated(batch, threads)


# --- the same matrix ---------------------------------------------------------------------------------------------


def warp_daskaug(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    from daskaug.kernels.images import transform_images

    out = np.empty((1, *image.shape), np.float32)
    return transform_images(image[np.newaxis], [0], matrices=matrix[np.newaxis], out=out)[0]


def warp_scipy(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    channels = [
        ndimage.affine_transform(plane, matrix[:, :2], matrix[:, 2], order=1, mode="nearest", output=np.float64)
        for plane in np.moveaxis(image, 2, 0)
    ]
    return np.stack(channels, axis=2)


def warp_torch(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    import torch
    from torch.nn import functional

    theta = torch.from_numpy(for_grid_sample(matrix[np.newaxis], *image.shape[:2]))
    block = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    grid = functional.affine_grid(theta, block.shape, align_corners=True)
    found = functional.grid_sample(block, grid, padding_mode="border", align_corners=True)
    return found[0].permute(1, 2, 0).numpy()


def warp_kornia(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """By the function that its random affine transform calls, which takes the inverse of the matrix."""
    import torch
    from kornia.geometry.transform import warp_affine

    forward = np.linalg.inv(np.vstack([for_opencv(matrix[np.newaxis])[0], [0, 0, 1]]))[:2]
    block = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    found = warp_affine(
        block, torch.from_numpy(forward)[None].float(), image.shape[:2], padding_mode="border", align_corners=True
    )
    return found[0].permute(1, 2, 0).numpy()


def warp_opencv(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    import cv2

    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    inverse = for_opencv(matrix[np.newaxis])[0]
    size = image.shape[1], image.shape[0]
    return cv2.warpAffine(image.astype(np.float32), inverse, size, None, flags, cv2.BORDER_REPLICATE)


def warp_albumentations(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """By the OpenCV function that it calls, on 8 bits as it does."""
    import cv2

    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    inverse = for_opencv(matrix[np.newaxis])[0]
    return cv2.warpAffine(image, inverse, image.shape[1::-1], None, flags, cv2.BORDER_REPLICATE).astype(np.float32)


def warp_keras(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """By the parameters that the matrix is made of, which :data:`PARAMETERS` holds."""
    from keras.src.legacy.preprocessing.image import apply_affine_transform

    axes = {"row_axis": 0, "col_axis": 1, "channel_axis": 2}
    return apply_affine_transform(image.astype(np.float32), **PARAMETERS, **axes, fill_mode="nearest", order=1)


PARAMETERS = {"theta": 13.0, "tx": 4.5, "ty": -3.25, "shear": 7.0, "zx": 0.9, "zy": 1.1}


def matrix_of_parameters(size: tuple[int, int]) -> np.ndarray:
    from daskaug.transforms.affine import matrices
    from daskaug.transforms.draws import Draws

    return matrices(Draws.from_dicts([PARAMETERS]), size)[0]


@dataclass(frozen=True)
class Contestant:
    """`kind` is "pipeline", "by hand" (one to be written), "bare" (a loop to compare with) or "spline" (of order 3)."""

    prepare: Callable[[np.ndarray, int], Run]
    kind: str
    warp: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    sizes: tuple[int, ...] | None = None


CONTESTANTS = {
    "daskaug": Contestant(daskaug, "pipeline", warp_daskaug),
    "Keras": Contestant(keras, "pipeline", warp_keras),
    "AlbumentationsX": Contestant(albumentations, "pipeline", warp_albumentations),
    "kornia": Contestant(kornia, "pipeline", warp_kornia),
    "tf.data + Keras layers": Contestant(tf_data, "pipeline"),
    "torch, by hand": Contestant(torch_by_hand, "by hand", warp_torch),
    "OpenCV warpAffine": Contestant(opencv_warp, "bare", warp_opencv),
    "SciPy affine_transform": Contestant(scipy_affine, "bare", warp_scipy),
    "copy to float32": Contestant(copy, "bare"),
    "daskaug, order 3": Contestant(daskaug_cubic, "spline", sizes=(96,)),
    "Keras, order 3": Contestant(keras_cubic, "spline", sizes=(96,)),
}
