"""What the page knows, for Prometheus: beside distributed's own names at the scheduler's ``/metrics``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from daskaug.dashboard.state import ALL_STAGES, State


class Exported:
    """Metrics at the scheduler's ``/metrics``, until they are closed.

    Parameters
    ----------
    collector : Collector or None
        None where ``prometheus_client`` is not installed.
    """

    def __init__(self, collector: Any) -> None:
        self._collector = collector

    def close(self) -> None:
        """Export them no longer."""
        if self._collector is not None:
            from prometheus_client import REGISTRY

            with contextlib.suppress(KeyError):
                REGISTRY.unregister(self._collector)
            self._collector = None


class _Collector:
    """Asked by ``prometheus_client`` whenever somebody scrapes."""

    def __init__(self, state: State) -> None:
        self._state = state

    def describe(self) -> list[Any]:
        """Nothing is asked when it is registered."""
        return []

    def collect(self) -> Iterator[Any]:
        """Totals since the scheduler began."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        seconds = CounterMetricFamily(
            "daskaug_stage_seconds", "Seconds that threads of workers spent at a stage", labels=["stage"]
        )
        images = CounterMetricFamily("daskaug_stage_images", "Images that went through a stage", labels=["stage"])
        nbytes = CounterMetricFamily("daskaug_stage_bytes", "Decoded bytes of these images", labels=["stage"])
        for stage in ALL_STAGES:
            totals = self._state.totals(stage)
            for family, value in zip((seconds, images, nbytes), totals, strict=True):
                family.add_metric([stage], value)
        yield from (seconds, images, nbytes)
        jobs = [job for job in self._state.jobs.values() if job.ended is None]
        running = GaugeMetricFamily("daskaug_jobs_running", "Fits, materialisations and iterators", labels=["kind"])
        for kind in sorted({job.kind for job in jobs}):
            running.add_metric([kind], sum(job.kind == kind for job in jobs))
        yield running
        sample = self._state.history[-1] if self._state.history else None
        yield GaugeMetricFamily(
            "daskaug_images_per_second",
            "Of all jobs, over the last seconds",
            value=0.0 if sample is None else sample.images,
        )
        waited = GaugeMetricFamily(
            "daskaug_consumer_waited_ratio", "Share of the last seconds that the consumer waited; the worst of them"
        )
        if sample is not None and sample.waited == sample.waited:
            waited.add_metric([], sample.waited)
        yield waited


def export(state: State) -> Exported:
    """Add what is known on a scheduler to what its process exports; of the first scheduler, where there are several."""
    try:
        from prometheus_client import REGISTRY
    except ImportError:
        return Exported(None)
    if any(isinstance(each, _Collector) for each in list(REGISTRY._collector_to_names)):
        return Exported(None)
    collector = _Collector(state)
    REGISTRY.register(collector)
    return Exported(collector)
