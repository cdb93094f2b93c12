"""A PyTorch training loop on digits out of a Zarr store; run by test_torch_loop.py, in several processes.

    python -m tests.training.train_torch STORE STATE [--batches 70]

Goes on from the folder STATE, if there is something in it, up to so many batches of the whole run or to its end, and
leaves there what the next one goes on from. Prints a JSON line: where it stands, a hash of the weights, the accuracy.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

from daskaug import ImageDataGenerator
from daskaug.demo import load_digits

TRAIN, EPOCHS = 1500, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("state", type=Path)
    parser.add_argument("--batches", type=int, default=10**9)
    options = parser.parse_args()

    import torch  # here, for pytest looks for examples in this module where there is no torch

    from daskaug.adapters.torch import TorchBatches

    torch.manual_seed(7)
    torch.set_num_threads(1)
    images, labels = load_digits()
    datagen = ImageDataGenerator(
        featurewise_center=True, featurewise_std_normalization=True, rotation_range=10, width_shift_range=0.1
    ).fit(options.store)
    flow = datagen.flow(options.store, labels[:TRAIN], batch_size=32, seed=3, shuffle_unit=64, shuffle_mix=4)
    batches = TorchBatches(flow)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)

    done = 0
    if (options.state / "place.json").exists():
        weights = torch.load(options.state / "weights.pt")
        model.load_state_dict(weights["model"])
        optimizer.load_state_dict(weights["optimizer"])
        place = json.loads((options.state / "place.json").read_text())
        done = place["done"]
        batches.load_state_dict(place["batches"])

    while flow.epoch < EPOCHS and done < options.batches:
        for pixels, targets in batches:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(pixels), targets).backward()
            optimizer.step()
            done += 1
            if done == options.batches:
                break

    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, options.state / "weights.pt")
    place = {"done": done, "batches": batches.state_dict()}
    (options.state / "place.json").write_text(json.dumps(place))
    with torch.no_grad():
        unseen = torch.from_numpy(datagen.standardize(images[TRAIN:].astype("float32")))
        right = model(unseen).argmax(1) == torch.from_numpy(labels[TRAIN:])
    digest = hashlib.sha256(b"".join(each.numpy().tobytes() for each in model.state_dict().values())).hexdigest()
    found = {"epoch": place["batches"]["epoch"], "position": place["batches"]["position"], "done": done}
    print(json.dumps(found | {"weights": digest, "accuracy": right.float().mean().item()}))


if __name__ == "__main__":
    main()
