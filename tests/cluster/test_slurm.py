"""cluster/slurm: its script and its job, on a real controller and three nodes, all on this machine."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster import recipes, services

pytestmark = pytest.mark.slurm

EPOCHS = 30
"""Enough for a run to be under way when a job is cancelled."""


@pytest.fixture(scope="module")
def env(certificates, tmp_path_factory) -> Iterator[dict[str, str]]:
    """The environment of a login node: certificates, the recipe's file, and what is different here."""
    configuration = tmp_path_factory.mktemp("configuration")
    scratch = tmp_path_factory.mktemp("scratch")
    shutil.copy(certificates / "dask.yaml", configuration)
    shutil.copy(recipes.RECIPES / "slurm/jobqueue.yaml", configuration)
    here = {
        "cores": 1,
        "memory": "1GB",
        "interface": "lo",
        "local-directory": str(scratch),
        "log-directory": str(scratch),
        "scheduler-options": {"dashboard_address": "127.0.0.1:0"},
    }
    # Files are read in the order of their names.
    (configuration / "this_machine.yaml").write_text(yaml.safe_dump({"jobqueue": {"slurm": here}}))
    with services.slurm(tmp_path_factory.mktemp("slurm")) as found:
        yield found | {"DASK_CONFIG": str(configuration), "DASK_INTERFACE": "lo"}


def script(jobs: int, source: Path, target: Path, epochs: int = 1) -> list[object]:
    return [sys.executable, recipes.RECIPES / "slurm/slurm.py", jobs, source, target, *recipes.options(epochs)]


def seconds(written: str) -> int:
    """Of ``01:00:00`` or ``50m``."""
    if written.endswith("m"):
        return 60 * int(written[:-1])
    hours, minutes, rest = map(int, written.split(":"))
    return 3600 * hours + 60 * minutes + rest


def test_workers_leave_before_their_time_is_up():
    given = yaml.safe_load((recipes.RECIPES / "slurm/jobqueue.yaml").read_text())["jobqueue"]["slurm"]
    words = given["worker-extra-args"]
    lifetime, stagger = (seconds(words[words.index(f"--{name}") + 1]) for name in ("lifetime", "lifetime-stagger"))
    assert lifetime + stagger + 120 <= seconds(given["walltime"])


def jobs(env: dict[str, str]) -> list[str]:
    """Numbers of those that run, the oldest first."""
    return services.asked(["squeue", "--noheader", "--states=running", "--sort=i", "--format=%A"], env).split()


def test_the_script(env, source, tmp_path):
    target = tmp_path / "y.zarr"
    recipes.run(script(2, source, target), tmp_path / "log", env)
    assert recipes.outcome(target) == recipes.expected(source)
    recipes.until(lambda: not jobs(env), "jobs are left behind")


def test_a_job_that_is_cancelled_costs_nothing_but_time(env, source, tmp_path):
    target = tmp_path / "y.zarr"
    shards = EPOCHS * 192 // recipes.SMALL["shard_rows"]
    with recipes.running(script(2, source, target, EPOCHS), tmp_path / "log", env) as run:
        recipes.until(
            lambda: (len(jobs(env)) == 2 and recipes.shards_written(target) >= 5) or not run.is_running,
            "two jobs that write shards",
        )
        assert run.is_running, run.output
        victim = jobs(env)[0]
        services.asked(["scancel", victim], env)
        written = recipes.shards_written(target)
        assert 5 <= written < shards, run.output
        recipes.until(lambda: victim not in jobs(env), "the job did not end")
        run.finish()
    assert recipes.outcome(target) == recipes.expected(source, EPOCHS)


def state(job: str, env: dict[str, str]) -> str:
    """As COMPLETED."""
    words = services.asked(["scontrol", "show", "job", job], env).split()
    return next((word.partition("=")[2] for word in words if word.startswith("JobState=")), "")


def test_scheduler_and_workers_in_one_job(env, source, tmp_path):
    target, log = tmp_path / "y.zarr", tmp_path / "job.out"
    submit = ["sbatch", "--parsable", "--ntasks=2", "--cpus-per-task=1", "--mem-per-cpu=1G", f"--output={log}"]
    connect = ["python", recipes.RECIPES / "connect.py", source, target, *recipes.options()]
    job = recipes.run([*submit, recipes.RECIPES / "slurm/job.sh", *connect], tmp_path / "log", env).strip()
    # sbatch --wait would ask only now and then.
    recipes.until(lambda: state(job, env) not in ("PENDING", "RUNNING", "COMPLETING", ""), "the job does not end")
    assert state(job, env) == "COMPLETED", log.read_text(errors="replace")[-4000:]
    assert recipes.outcome(target) == recipes.expected(source)
    assert not [*tmp_path.glob("scheduler-*.json")]
