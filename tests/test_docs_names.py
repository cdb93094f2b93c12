"""Every public name is described, with the shapes of its arrays and the errors that it raises."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from pathlib import Path

import pytest

import daskaug
from daskaug import ImageDataGenerator, errors, image
from tests.documents import module_of

DOCS = Path(__file__).parent.parent / "docs"

FOR_OTHER_MODULES = {"block_transform", "state"}
"""Methods of the generator that are named like public ones, since iterators call them."""

FORMULAS = {
    f"daskaug.{name}"
    for name in (
        "ImageDataGenerator.plan_zca", "statistics.FloatTotals", "statistics.IntegerMoments.variance",
        "statistics.Interval", "statistics.Whitening",
    )
}  # fmt: skip
"""What is computed by a formula that somebody else has found."""

SHAPE = re.compile(r"\([^)]*\)|\brank\b|of the same shape|broadcast|\b1-D\b")
ARRAY = re.compile(r"NDArray|ArrayLike|np\.ndarray|Vector|Matrix|Counts")


def listing():
    return module_of(DOCS / "public_names.py")


NAMES = listing().importable_names()


def sections(document: str) -> dict[str, str]:
    """The text of a docstring under each of its headings; what comes before the first is called "".

    A plain reading of the form, so that it needs no package; numpydoc itself is asked by docs/check_docstrings.py.
    """
    parts = re.split(r"^([A-Z][A-Za-z ]+)\n-{3,}\n", document, flags=re.M)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def entries(text: str) -> dict[str, str]:
    """What is said of each name of a section."""
    found = {}
    for entry in re.split(r"^(?=\S)", text, flags=re.M):
        head = entry.partition("\n")[0].partition(" : ")[0]
        found |= {name.strip().lstrip("*"): entry for name in head.split(",")}
    return found


def documents(name: str) -> tuple[str, dict[str, str]]:
    text = inspect.getdoc(listing().resolve(name)) or ""
    owner, _, member = name.rpartition(".")
    holder = listing().resolve(owner)
    if inspect.isclass(holder):
        text = inspect.getdoc(inspect.getattr_static(holder, member)) or text
    return text, sections(text)


def raised_by(function) -> set[str]:
    """Names of the exceptions in the raise statements of a function, those of functions within it left out."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    found, left = set(), list(tree.body)
    while left:
        node = left.pop()
        if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            found.add(ast.unparse(raised).rpartition(".")[2])
        left += ast.iter_child_nodes(node)
    return {name for name in found if name[0].isupper() and name not in ("NotImplementedError", "StopIteration")}


# --- all of them -------------------------------------------------------------------------------------------------


def test_there_are_names():
    assert len(NAMES) > 150


def test_top_level_names_have_a_page():
    described = {name.removeprefix("daskaug.") for name in listing().public_names()}
    assert {*daskaug.__all__} - described == {"__version__", "image"}


def test_methods_of_the_generator_have_a_page():
    methods = {name for name, held in inspect.getmembers(ImageDataGenerator, callable) if not name.startswith("_")}
    described = {name.rpartition(".")[2] for name in NAMES if name.startswith("daskaug.ImageDataGenerator.")}
    assert methods - described - FOR_OTHER_MODULES == set()


def test_image_functions_have_a_page():
    functions = {name for name in image.__all__ if inspect.isfunction(getattr(image, name))}
    assert {f"daskaug.image.{name}" for name in functions} <= set(NAMES)
    assert len(functions) == 18


def test_errors_have_a_page():
    classes = {name for name, kind in vars(errors).items() if inspect.isclass(kind)}
    assert {f"daskaug.errors.{name}" for name in classes} <= set(NAMES)


# --- each of them ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_errors_are_documented(name):
    text, parts = documents(name)
    told = parts.get("Raises", "")
    missing = [
        raised
        for function in listing().functions_of(name)
        for raised in raised_by(function)
        if not re.search(rf"\b{raised}\b", told)
    ]
    assert missing == [], text


@pytest.mark.parametrize("name", NAMES)
def test_arrays_have_shapes(name):
    _, parts = documents(name)
    told = entries(parts.get("Parameters", "")) | entries(parts.get("Attributes", ""))
    without = []
    for function in listing().functions_of(name):
        hints = inspect.get_annotations(function)
        returned = str(hints.pop("return", ""))
        without += [each for each, hint in hints.items() if ARRAY.search(str(hint)) and not SHAPE.search(told[each])]
        if ARRAY.match(returned):
            said = parts.get("Returns", parts[""])
            without += [] if SHAPE.search(said) else ["what is returned"]
    found = listing().resolve(name)
    if inspect.isclass(found):
        fields = {each: str(hint) for each, hint in inspect.get_annotations(found).items() if each in told}
        without += [each for each, hint in fields.items() if ARRAY.search(hint) and not SHAPE.search(told[each])]
    assert without == []


@pytest.mark.parametrize("name", NAMES)
def test_formulas_have_a_source(name):
    text, _ = documents(name)
    if name in FORMULAS or re.search(r"[√Σ]", text):
        assert re.search(r"^References\n-", text, re.M), text
