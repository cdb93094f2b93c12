"""What came out: numbers as JSON, tables as Markdown, a plot."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import platform
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.contestants import CONTESTANTS

LIBRARIES = (
    "numpy", "numba", "scipy", "keras", "albumentationsx", "opencv-python-headless", "kornia", "torch", "tensorflow",
    "tensorflow-cpu",
)  # fmt: skip


@dataclass
class Results:
    """Everything that was measured.

    Attributes
    ----------
    machine : dict
        Processor, number of cores, versions.
    rounds : dict
        ``rounds[threads][size][name]`` are the answers of each round, see :func:`benchmarks.contest.measured`.
    differences : dict
        Largest difference from SciPy for the same matrix, in grey levels; None where a matrix cannot be given.
    missing : dict
        Contestants that are not installed, and why.
    """

    machine: dict[str, object]
    rounds: dict[str, dict[str, dict[str, list[dict[str, float]]]]] = field(default_factory=dict)
    differences: dict[str, float | None] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_this_machine(cls, cores: int) -> Results:
        versions = {}
        for library in LIBRARIES:
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                versions[library] = importlib.metadata.version(library)
        return cls({"processor": processor(), "cores": cores, "python": platform.python_version(), **versions})

    def add(self, threads: int, size: int, name: str, answer: dict[str, float]) -> None:
        sizes = self.rounds.setdefault(str(threads), {})
        sizes.setdefault(str(size), {}).setdefault(name, []).append(answer)


def processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@dataclass
class Line:
    """A contestant at one size: medians, and the ratio of our rate to its (`ours`), of its rate to Keras' (`keras`)."""

    name: str
    rate: float
    milliseconds: float
    spread: float
    keras: float | None
    ours: float | None
    copy: float | None


def lines(rounds: dict[str, list[dict[str, float]]], kind: str | None = None) -> list[Line]:
    """The contestants of one size, the fastest first, those of one kind only if it is given."""

    def paired(name: str, other: str, ratio: Callable[[float, float], float]) -> float | None:
        if other not in rounds or name not in rounds:
            return None
        pairs = zip(rounds[name], rounds[other], strict=True)
        return statistics.median(ratio(one["rate"], two["rate"]) for one, two in pairs)

    found = []
    for name, answers in rounds.items():
        if kind is not None and CONTESTANTS[name].kind != kind:
            continue
        rates = sorted(answer["rate"] for answer in answers)
        rate = statistics.median(rates)
        quarter = len(rates) // 4
        reference = "Keras, order 3" if CONTESTANTS[name].kind == "spline" else "Keras"
        found.append(
            Line(
                name,
                rate,
                1e3 / rate,
                (rates[-1 - quarter] - rates[quarter]) / rate,
                paired(name, reference, lambda one, two: one / two),
                paired("daskaug", name, lambda one, two: one / two),
                paired(name, "copy to float32", lambda one, two: one / two),
            )
        )
    return sorted(found, key=lambda line: -line.rate)


def best_peer(rounds: dict[str, list[dict[str, float]]]) -> tuple[str, float] | None:
    """The fastest pipeline that is not ours, and by how much ours is faster."""
    for line in lines(rounds, "pipeline"):
        if line.name != "daskaug" and line.ours is not None:
            return line.name, line.ours
    return None


def overview(sizes: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """Images per second of everybody at every size, and how much faster ours is."""
    names = list(dict.fromkeys(name for rounds in sizes.values() for name in rounds if name != "copy to float32"))
    rows = ["| images/s (daskaug is faster by) | " + " | ".join(f"{size}×{size}×3" for size in sizes) + " |"]
    rows.append("| --- |" + " ---: |" * len(sizes))
    for name in names:
        if CONTESTANTS[name].kind == "spline":
            continue
        cells = [f"{name} (alone)" if CONTESTANTS[name].kind == "bare" else name]
        for rounds in sizes.values():
            line = next((line for line in lines(rounds) if line.name == name), None)
            ratio = "" if line is None or line.ours is None or name == "daskaug" else f" ({line.ours:.1f}×)"
            cells.append("" if line is None else f"{line.rate:,.0f}{ratio}")
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def as_markdown(results: Results) -> str:
    parts = [", ".join(f"{name} {value}" for name, value in results.machine.items()) + "."]
    for threads, sizes in results.rounds.items():
        parts += [f"## {'One core' if threads == '1' else f'{threads} cores'}", overview(sizes)]
        for size, rounds in sizes.items():
            peer = best_peer(rounds)
            number = len(next(iter(rounds.values())))
            parts.append(f"### {size}×{size}×3, {'one core' if threads == '1' else f'{threads} cores'}")
            rows = [
                "| | images/s | ms/image | spread | × Keras | daskaug is faster | share of copy limit |",
                "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
            ]
            for line in lines(rounds):
                name = f"**{line.name}**" if line.name == "daskaug" else line.name
                name += "" if CONTESTANTS[line.name].kind != "bare" else " (alone)"
                cells = (
                    name,
                    f"{line.rate:,.0f}",
                    f"{line.milliseconds:.4f}",
                    f"{line.spread:.0%}",
                    "" if line.keras is None or CONTESTANTS[line.name].kind == "bare" else f"{line.keras:.2f}",
                    "" if line.ours is None or line.name == "daskaug" else f"{line.ours:.2f}×",
                    "" if line.copy is None else f"{line.copy:.1%}",
                )
                rows.append("| " + " | ".join(cells) + " |")
            rows += [f"| {name} | not installable here | | | | | |" for name in results.missing]
            parts.append("\n".join(rows))
            if peer is not None:
                parts.append(f"Medians of {number} rounds. The best peer is {peer[0]}; daskaug is {peer[1]:.2f}×.")
    if results.differences:
        parts.append("### The same matrix\n\nLargest difference from SciPy in float64, in grey levels of 0–255.")
        rows = ["| | difference |", "| --- | ---: |"]
        for name, difference in results.differences.items():
            if CONTESTANTS[name].kind != "spline" and name != "copy to float32":
                shown = "takes no matrix" if difference is None else f"{difference:.2g}"
                rows.append(f"| {name} | {shown} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def write(results: Results, folder: Path) -> None:
    """Write the numbers, the tables and, where matplotlib is installed, the plot."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(asdict(results), indent=1))
    (folder / "results.md").write_text(as_markdown(results))
    with contextlib.suppress(ImportError):
        plot(results, folder / "performance.png")


def plot(results: Results, path: Path) -> None:
    """Images per second of the pipelines on one core, a panel for each size."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    sizes = results.rounds["1"]
    figure, axes = pyplot.subplots(1, len(sizes), figsize=(3.2 * len(sizes), 3.0), squeeze=False, layout="constrained")
    for axis, (size, rounds) in zip(axes[0], sizes.items(), strict=True):
        shown = lines(rounds, "pipeline")[::-1]
        colors = ["#d1495b" if line.name == "daskaug" else "#8d99ae" for line in shown]
        bars = axis.barh([line.name for line in shown], [line.rate for line in shown], color=colors)
        axis.bar_label(bars, [f"{line.rate:,.0f}" for line in shown], padding=3, fontsize=8)
        axis.set_xlim(0, max((line.rate for line in shown), default=1.0) * 1.3)
        axis.set_title(f"{size}×{size}×3", fontsize=10)
        axis.spines[["top", "right", "bottom"]].set_visible(False)
        axis.set_xticks([])
        axis.tick_params(left=False, labelsize=8)
    figure.suptitle("The reference pipeline through flow, images per second on one core", fontsize=11)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
