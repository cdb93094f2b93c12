"""What is noted of a task's stages, by whichever thread, and that nothing is where nobody asks."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import zarr
from PIL import Image

from daskaug import ImageDataGenerator, open_images, stages
from daskaug.execution import threads_executor
from daskaug.sources import ImageFiles
from daskaug.stages import Collected, carried, collecting, offer, stage
from tests import pictures


def told(collected: Collected) -> dict[str, tuple[int, int]]:
    return {name: (images, nbytes) for name, (_, images, nbytes) in collected.told().items()}


def test_reading_and_decoding_are_told_apart(tmp_path):
    x = pictures.tiles(16, 6)
    for i, image in enumerate(x):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    collected = Collected()
    with collecting(collected):
        read = ImageFiles([f"{i}.png" for i in range(6)], tmp_path).read(0, 6)
    assert np.array_equal(read, x)
    assert told(collected) == {"read": (6, 0), "decode": (6, x.nbytes)}


def test_the_rows_of_a_zarr_array_are_counted_as_they_are_read(tmp_path):
    x = pictures.tiles(16, 12)
    source = open_images(zarr.create_array(tmp_path / "x.zarr", data=x, chunks=(4, 16, 16, 3)))
    collected = Collected()
    with collecting(collected):
        source.read(2, 9)
    source.read(0, 12)  # nobody collects
    assert told(collected) == {"read": (7, x[2:9].nbytes)}


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self, monkeypatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(stages, "time", SimpleNamespace(perf_counter=lambda: self.now))


def seconds(collected: Collected) -> dict[str, float]:
    return {name: amounts[0] for name, amounts in collected.told().items()}


def test_seconds_go_to_the_innermost_stage_and_images_count_once(monkeypatch):
    clock, collected = Clock(monkeypatch), Collected()
    with collecting(collected):
        with stage("transform", 5, 50):
            clock.now += 1
            with stage("transform", 5, 50), stage("read", 3, 30):
                clock.now += 20
            clock.now += 300
        clock.now += 4000
    assert told(collected) == {"transform": (5, 50), "read": (3, 30)}
    assert seconds(collected) == {"transform": 301, "read": 20}


def test_the_seconds_of_what_is_under_way_count_so_far(monkeypatch):
    clock, collected = Clock(monkeypatch), Collected()
    with collecting(collected), stage("transform", 2):
        clock.now += 1
        with stage("read", 2):
            clock.now += 20
            assert seconds(collected) == {"transform": 1, "read": 20}
            assert told(collected) == {"transform": (0, 0), "read": (0, 0)}
        clock.now += 300
        assert seconds(collected) == {"transform": 301, "read": 20}
    clock.now += 4000
    assert seconds(collected) == {"transform": 301, "read": 20}
    assert told(collected) == {"transform": (2, 0), "read": (2, 0)}


def test_an_error_counts_no_images_and_leaves_the_stages_around_it_right():
    collected = Collected()
    with collecting(collected):
        with pytest.raises(ValueError, match="broken"), stage("decode", 1):
            raise ValueError("broken")
        with stage("decode", 2):
            pass
    assert told(collected) == {"decode": (2, 0)}


def test_threads_of_a_task_count_for_the_task_if_they_are_given_carried_functions():
    collected, together = Collected(), threading.Barrier(4)

    def work(images: int) -> None:
        with stage("transform", images):
            together.wait(30)

    with ThreadPoolExecutor(4) as pool:
        with collecting(collected):
            list(pool.map(carried(work), [1, 2, 3, 4]))
        list(pool.map(carried(work), [10, 20, 30, 40]))  # nobody collects any more
    assert told(collected) == {"transform": (10, 0)}


def test_an_iterator_that_a_task_makes_counts_for_the_task(tmp_path):
    x = pictures.tiles(16, 20)
    zarr.create_array(tmp_path / "x.zarr", data=x, chunks=(20, 16, 16, 3))
    collected = Collected()
    with collecting(collected):
        flow = ImageDataGenerator(rotation_range=9).flow(tmp_path / "x.zarr", batch_size=5, seed=1)
        for _ in flow.one_epoch():
            pass
    flow.close()
    assert told(collected)["transform"][0] >= 20  # and perhaps the first batches of the next epoch
    assert threads_executor().submit(lambda block: block, open_images(x).reader(0, 1), (), "x").result().shape[0] == 1


def test_one_finished_image_is_shown_and_a_mask_or_an_unfinished_one_never_is():
    x = pictures.tiles(16, 4)
    collected = Collected(wants_picture=True)
    with collecting(collected):
        with stage("transform", 4):
            offer(x[1:], np.arange(1, 4), 0, "channels_last")  # of a transform within this one
        offer(x, np.array([7, 8, 9, 10]), 3, "channels_last")
        offer(x[2:], np.array([9, 10]), 3, "channels_last")
    assert collected.picture is not None
    assert (collected.picture.sample, collected.picture.epoch) == (7, 3)
    assert np.array_equal(collected.picture.image, x[0])
    shown = Collected()
    with collecting(shown):
        offer(x, np.arange(4), 0, "channels_last")
    assert shown.picture is None


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("size", [(1000, 700), (5, 3000), (128, 128)])
def test_of_a_large_image_few_pixels_are_kept_in_its_shape(data_format, size):
    first = data_format == "channels_first"
    height, width = np.mgrid[: size[0], : size[1]]
    image = np.stack([height, width, height + width], axis=0 if first else 2)
    collected = Collected(wants_picture=True)
    with collecting(collected):
        offer(image[None], np.array([0]), 0, data_format)
    assert collected.picture is not None
    kept = collected.picture.image
    assert kept.base is None  # the batch is not kept with it
    rows, columns = (kept[0], kept[1]) if first else (kept[..., 0], kept[..., 1])
    every = -(-max(size) // 128)
    assert max(rows.shape) <= 128
    assert rows.max() > size[0] - 1 - every
    assert columns.max() > size[1] - 1 - every
    assert set(np.diff(rows, axis=0).flat) | set(np.diff(columns, axis=1).flat) == {every}
