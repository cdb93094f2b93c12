"""The generated tables of the documentation are complete and up to date, and every proof they name is there."""

from __future__ import annotations

import ast
import functools
import inspect
from pathlib import Path

import pytest

from daskaug import ImageDataGenerator
from daskaug.migration import ROWS
from tests.documents import module_of

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def builder():
    return module_of(DOCS / "build_tables.py")


@functools.cache
def functions_in(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def keras_class():
    from keras.src.legacy.preprocessing.image import ImageDataGenerator as KerasGenerator

    return KerasGenerator


@pytest.mark.parametrize("page", ["arguments.md", "faults.md", "migrating-from-keras.md"])
def test_tables_are_up_to_date(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    assert builder().built(text) == text, "run: python docs/build_tables.py"


def test_every_table_is_on_a_page():
    pages = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    assert [
        name for name, table in builder().tables().items() if f"<!-- table: {name} -->\n\n{table}" not in pages
    ] == []


def test_every_public_method_of_keras_has_a_table():
    methods = {name for name in vars(keras_class()) if not name.startswith("_")} | {"ImageDataGenerator"}
    assert set(builder().arguments()) == methods


@pytest.mark.parametrize("method", builder().arguments())
def test_every_argument_of_keras_has_a_row_with_its_default(method):
    name = "__init__" if method == "ImageDataGenerator" else method
    theirs = dict(list(inspect.signature(getattr(keras_class(), name)).parameters.items())[1:])
    assert list(builder().arguments()[method]) == list(theirs)
    ours = inspect.signature(getattr(ImageDataGenerator, name)).parameters
    assert {argument: ours[argument].default for argument in theirs} == {
        argument: parameter.default for argument, parameter in theirs.items()
    }


@pytest.mark.parametrize("method", builder().arguments())
def test_every_row_has_a_meaning_and_tests_that_exist(method):
    for argument, (meaning, *proofs) in builder().arguments()[method].items():
        assert meaning.endswith("."), argument
        proved(argument, proofs)


def proved(what: str, proofs: list[str]) -> None:
    assert proofs, what
    for proof in proofs:
        file, _, function = proof.partition("::")
        assert function.startswith("test_"), proof
        assert Path(file).name.startswith("test_"), proof  # pytest collects no other
        assert function in functions_in(file), proof


FAULTS = [
    "A worker is killed",
    "A worker runs out of memory",
    "The scheduler is killed",
    "The client is killed",
    "A disk runs full",
    "A chunk of the source is damaged",
    "A chunk of the source is missing",
    "Permission is denied",
    "A store is removed under the run",
    "Clocks differ",
    "Versions differ",
]


def test_every_fault_has_a_row():
    assert list(builder().faults()) == FAULTS


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_says_of_each_job_what_happens_and_which_tests_do_it(fault):
    cells = builder().faults()[fault]
    assert list(cells) == ["fit", "stream", "materialize"]
    for job, (text, *proofs) in cells.items():
        assert text.endswith("."), job
        proved(job, proofs)


def test_every_row_of_the_guide_has_its_test():
    assert [name for name in ROWS if f"test_{name}" not in functions_in("test_migration.py")] == []
