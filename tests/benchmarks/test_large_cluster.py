"""The cluster on paper obeys what can be worked out by hand, and drives the real submitting code."""

from __future__ import annotations

import itertools

import pytest

from benchmarks import huge_plans, large_cluster
from benchmarks.large_cluster import Point, described, measured, plot, simulate, sweep, table, validate
from benchmarks.virtual import Costs, Setting, VirtualCluster, drawn

FREE = Costs(0, 0, 0, 0, 0, 0, 0)


def test_without_costs_a_run_takes_its_share_of_the_work():
    out = simulate(10, 1.0, 200, costs=FREE, scatter=[1.0], latency=0).outcome
    assert out.seconds == pytest.approx(20, rel=0.01)
    assert out.efficiency == pytest.approx(1, rel=0.01)
    assert out.most_pending == 40


def test_a_scheduler_with_too_much_to_do_sets_the_pace():
    slow = Costs(0, 0, 0, 0, 0.01, 0, 0)
    out = simulate(100, 0.1, 4000, costs=slow, scatter=[1.0]).outcome
    assert out.seconds == pytest.approx(4000 * 0.01, rel=0.05)
    assert out.scheduler > 0.95
    assert Point(100, 0.1, out).bound_by == "scheduler"


def test_a_client_with_too_much_to_do_sets_the_pace():
    slow = Costs(0, 0.01, 0, 0, 0, 0, 0)
    out = simulate(100, 0.1, 4000, costs=slow, scatter=[1.0]).outcome
    assert out.seconds == pytest.approx(4000 * 0.01, rel=0.05)
    assert Point(100, 0.1, out).bound_by == "client"


def test_one_slow_task_holds_up_what_comes_after_it_only_by_the_window():
    times = itertools.chain([10.0], itertools.repeat(1.0))
    narrow = VirtualCluster(Setting(4, 1, 0, FREE), times, least_shown=0).run(80, window=lambda on: 5)
    times = itertools.chain([10.0], itertools.repeat(1.0))
    wide = VirtualCluster(Setting(4, 1, 0, FREE), times, least_shown=0).run(80, window=lambda on: 40)
    assert narrow.seconds > wide.seconds + 4
    assert wide.seconds == pytest.approx(90 / 4, abs=1.5)


def test_results_are_fetched_together_where_many_are_there():
    """A message there and back for each of them, one after the other, would take 1,000 × 0.2 s."""
    out = simulate(100, 1.0, 1000, costs=FREE, scatter=[1.0], latency=0.05).outcome
    assert out.seconds < 30


def test_the_usual_window_keeps_many_workers_busy():
    costs, tasks = measured()
    scatter = [each / max(tasks["daskaug-fit"]) for each in tasks["daskaug-fit"]]
    assert simulate(100, 5.0, 3000, costs=costs, scatter=scatter).outcome.steady > 0.85


def test_task_times_have_the_mean_that_is_asked_for():
    times = list(itertools.islice(drawn([1, 2, 3], 0.5), 3000))
    assert sum(times) / len(times) == pytest.approx(0.5, rel=0.05)
    assert set(times) == {0.25, 0.5, 0.75}


def test_a_small_sweep_is_written_down():
    points = sweep(FREE, [1.0], (2, 4), (0.1, 1.0))
    assert table(points).splitlines()[0] == "| a task takes | 2 workers | 4 workers |"
    assert "workers busy" in described(points[0])


@pytest.mark.notebooks  # which have matplotlib
def test_a_small_sweep_is_drawn(tmp_path):
    plot(sweep(FREE, [1.0], (2, 4), (0.1, 1.0)), tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").stat().st_size > 1000


def test_costs_are_told_apart():
    rows = [
        {"tasks": 100, "calls": n, "fetches": n, "client": 2 * n + 300, "scheduler": 4 * n + 500, "workers": 7}
        for n in (10, 50)
    ]
    costs = large_cluster.solved(rows)
    assert (costs.client_call, costs.client_task) == pytest.approx((1, 3))
    assert (costs.scheduler_call, costs.scheduler_task) == pytest.approx((2, 5))


@pytest.mark.faults
def test_real_workers_take_about_as_long_as_on_paper():
    """Tasks that wait and take no processor; a busy machine may take longer, and nothing can take less."""
    (row,) = validate((2,), (0.2,), 20, measured()[0])
    assert row["real"] > 20 * 0.2
    assert row["paper"] > 20 * 0.2


@pytest.mark.long
def test_plans_of_ten_terabytes_are_small():
    for name in ("fit", "materialize", "stream"):
        facts = huge_plans.alone(name, 10**8)
        assert facts["peak"] < 1.5e9, name
        assert facts["cpu"] < 60, name
