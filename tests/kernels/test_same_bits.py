from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.kernels.cases import digest

# glibc 2.33 renamed the switches; a version ignores the names that it does not know.
NO_FMA = "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F,-AVX2_Usable,-FMA_Usable,-AVX512F_Usable"


@pytest.mark.long
@pytest.mark.parametrize(
    "environment", [{"NUMBA_CPU_NAME": "generic"}, {"GLIBC_TUNABLES": NO_FMA}], ids=["generic", "no-fma"]
)
def test_bits_are_the_same_on_a_simpler_cpu(environment: dict[str, str]) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "tests.kernels.cases"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.strip() == digest()


def test_bits_are_the_same_in_several_threads() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert {future.result() for future in [pool.submit(digest) for _ in range(4)]} == {digest()}
