"""Reading a script for Keras, without running any of it."""

from __future__ import annotations

import ast
import collections
import dataclasses
import inspect
import operator
from collections.abc import Callable, Iterator
from typing import Any

from daskaug.config import Config
from daskaug.errors import ConfigError

FLOWS = ("flow", "flow_from_directory", "flow_from_dataframe")
IMAGE_METHODS = ("apply_transform", "random_transform", "get_random_transform", "standardize")
MODEL_METHODS = {
    # Leading positional arguments, as far as they matter here.
    "fit": ("x", "y", "batch_size", "epochs"),
    "evaluate": ("x", "y", "batch_size"),
    "predict": ("x", "batch_size"),
    "fit_generator": ("generator", "steps_per_epoch", "epochs"),
    "evaluate_generator": ("generator", "steps"),
    "predict_generator": ("generator", "steps"),
}
METHODS = (*FLOWS, *IMAGE_METHODS, *MODEL_METHODS)

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()
"""Value of what is no literal."""


@dataclasses.dataclass(frozen=True)
class Argument:
    """An argument of a call.

    Attributes
    ----------
    value : object
        UNKNOWN where it is no literal.
    text : str
        As it is written.
    meant : str
        The same; for a name that is bound once, what it stands for.
    divides : bool
        It is a true division.
    """

    value: Any
    text: str
    meant: str
    divides: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """A call of something that matters here.

    Attributes
    ----------
    line : int
        From 1.
    method : str
        ``"ImageDataGenerator"`` or the name of a method.
    receiver : str
        What the method is called on, as it is written.
    arguments : dict
        By name, of :class:`Argument`.
    unread : tuple of str
        What could not be taken apart, such as ``**options``.
    text : str
    """

    line: int
    method: str
    receiver: str
    arguments: dict[str, Argument]
    unread: tuple[str, ...]
    text: str

    def value(self, name: str, default: Any = None) -> Any:
        """Value of an argument, UNKNOWN where it is no literal, or the default."""
        return self.arguments[name].value if name in self.arguments else default

    def written(self, *names: str) -> tuple[str, ...]:
        """Those of the arguments that were given, as ``name=value``."""
        return tuple(f"{name}={self.arguments[name].text}" for name in names if name in self.arguments)


@dataclasses.dataclass(frozen=True)
class Script:
    """What a script does with generators and models.

    Attributes
    ----------
    is_call : bool
        It is a single ``ImageDataGenerator(...)``, so nothing is known about its use.
    generators, flows, image_calls, model_calls, fits : list of Call
        `fits` are calls of a generator's ``fit``, `model_calls` those of a model.
    bound : dict
        The variables that hold the generators.
    on_the_spot : dict
        Generators that are used where they are made, by the call of their method.
    assigned : set of str
        Everything that is assigned to, ``datagen.mean`` too.
    imports : list of (line, text)
    loops : list of (line, text)
        Loops over a flow without a ``break``.
    indexed : list of (line, text)
        Batches of a flow taken by their number.
    """

    is_call: bool
    generators: list[Call]
    flows: list[Call]
    image_calls: list[Call]
    model_calls: list[Call]
    fits: list[Call]
    bound: dict[Call, str]
    on_the_spot: dict[Call, Call]
    assigned: frozenset[str]
    imports: list[tuple[int, str]]
    loops: list[tuple[int, str]]
    indexed: list[tuple[int, str]]

    def name_of(self, generator: Call) -> str:
        """The variable that holds a generator, or the call itself where it is used on the spot."""
        return self.bound.get(generator, generator.text)

    def of(self, generator: Call, calls: list[Call]) -> list[Call]:
        """Those of the calls that are made on the generator."""
        return [call for call in calls if self.generator_of(call) is generator]

    def generator_of(self, call: Call) -> Call | None:
        """The generator on which a method is called, if it is in the script: of several of that name the last before.

        In a function that stands above the generator, the first.
        """
        if call in self.on_the_spot:
            return self.on_the_spot[call]
        named = [made for made in self.generators if call.receiver == self.bound.get(made)]
        before = [made for made in named if made.line <= call.line]
        return before[-1] if before else next(iter(named), None)


def read_script(code: str) -> Script:
    """Take a script apart.

    Parameters
    ----------
    code : str
        Python: one call, or a whole script.

    Raises
    ------
    ConfigError
        Where it is no Python.
    """
    try:
        tree = ast.parse(code.strip() if "\n" not in code.strip() else code)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"This is not Python: {error}. Pass a call, 'ImageDataGenerator(rotation_range=20)', or the path of a .py "
            "file."
        ) from error
    return _Reader(tree).script()


class _Reader:
    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._nodes = list(ast.walk(tree))
        self._constants = _constants(self._nodes)
        self._aliases = {"ImageDataGenerator"} | {
            alias.asname
            for node in self._nodes
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if alias.name == "ImageDataGenerator" and alias.asname
        }

    def script(self) -> Script:
        calls = {id(node): self._read(node) for node in self._nodes if isinstance(node, ast.Call)}
        found = sorted((call for call in calls.values() if call is not None), key=lambda call: call.line)
        generators = [call for call in found if call.method == "ImageDataGenerator"]
        bound: dict[Call, str] = {}
        names: list[str] = []
        for node in self._nodes:
            if not isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) or node.value is None:
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names += [ast.unparse(target) for target in targets]
            if (made := self._made_in(node.value, calls)) is not None:
                bound[made] = ast.unparse(targets[0])
        on_the_spot = {}
        for node in self._nodes:
            call = calls.get(id(node))
            if call is not None and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                made = self._made_in(node.func.value, calls)
                if made is not None:
                    on_the_spot[call] = made
        own = [call for call in found if call in on_the_spot or call.receiver in bound.values()]
        fits = [call for call in own if call.method == "fit"]
        return Script(
            is_call=_is_single_call(self._tree) and len(found) == len(generators) == 1,
            generators=generators,
            flows=[call for call in found if call.method in FLOWS],
            image_calls=[call for call in own if call.method in IMAGE_METHODS],
            model_calls=[call for call in found if call.method in MODEL_METHODS and call not in fits],
            fits=fits,
            bound=bound,
            on_the_spot=on_the_spot,
            assigned=frozenset(names),
            imports=list(self._imports()),
            loops=list(self._endless_loops()),
            indexed=list(self._indexed(calls)),
        )

    def _made_in(self, node: ast.AST, calls: dict[int, Call | None]) -> Call | None:
        """The generator that an expression makes: ``ImageDataGenerator(...)``, perhaps with ``.fit(x)`` behind it."""
        while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "fit":
            node = node.func.value
        call = calls.get(id(node))
        return call if call is not None and call.method == "ImageDataGenerator" else None

    # --- calls ---------------------------------------------------------------------------------------------------

    def _read(self, node: ast.Call) -> Call | None:
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)
        if name in self._aliases:
            name = "ImageDataGenerator"
        parameters = (
            parameters_of(name) if isinstance(function, ast.Attribute) or name == "ImageDataGenerator" else None
        )
        if name is None or parameters is None:
            return None
        arguments: dict[str, Argument] = {}
        unread: list[str] = []
        for position, given in enumerate(node.args):
            if isinstance(given, ast.Starred) or position >= len(parameters):
                unread.append(ast.unparse(given))
            else:
                arguments[parameters[position]] = self._argument(given)
        for keyword in node.keywords:
            if keyword.arg is not None:
                arguments[keyword.arg] = self._argument(keyword.value)
                continue
            options = self._dictionary(keyword.value)
            if options is None:
                unread.append(f"**{ast.unparse(keyword.value)}")
            else:
                arguments |= {key: self._argument(value) for key, value in options.items()}
        receiver = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
        return Call(node.lineno, str(name), receiver, arguments, tuple(unread), ast.unparse(node))

    def _argument(self, node: ast.expr) -> Argument:
        meant = self._meant(node)
        divides = isinstance(meant, ast.BinOp) and isinstance(meant.op, ast.Div)
        return Argument(self._value(node), ast.unparse(node), ast.unparse(meant), divides)

    def _value(self, node: ast.expr) -> Any:
        """What a literal, or arithmetic on numbers, comes to."""
        node = self._meant(node)
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            pass
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            # A name within the arithmetic is left unknown: it could stand for the arithmetic itself.
            left, right = (
                UNKNOWN if isinstance(side, ast.Name) else self._value(side) for side in (node.left, node.right)
            )
            if isinstance(left, int | float) and isinstance(right, int | float):
                try:
                    return _ARITHMETIC[type(node.op)](left, right)
                except ArithmeticError:
                    return UNKNOWN
        return UNKNOWN

    def _meant(self, node: ast.expr) -> ast.expr:
        """What a name stands for, if it is bound once; else the node itself."""
        followed: set[str] = set()
        while isinstance(node, ast.Name) and node.id in self._constants and node.id not in followed:
            followed.add(node.id)
            node = self._constants[node.id]
        return node

    def _dictionary(self, node: ast.expr) -> dict[str, ast.expr] | None:
        """Keys and values of ``{...}``, ``dict(...)`` or a name for one of them, if all keys are known."""
        node = self._meant(node)
        if isinstance(node, ast.Dict):
            keys = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
            if all(isinstance(key, str) for key in keys):
                return dict(zip(map(str, keys), node.values, strict=True))
        is_dict = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict"
        if is_dict and isinstance(node, ast.Call) and not node.args and all(k.arg for k in node.keywords):
            return {str(keyword.arg): keyword.value for keyword in node.keywords}
        return None

    # --- the rest ------------------------------------------------------------------------------------------------

    def _imports(self) -> Iterator[tuple[int, str]]:
        for node in self._nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield node.lineno, ast.unparse(node)

    def _endless_loops(self) -> Iterator[tuple[int, str]]:
        flows = _names_of_flows(self._nodes)
        for node in self._nodes:
            if not isinstance(node, ast.For):
                continue
            over = node.iter
            is_flow = _is_flow(over) or (isinstance(over, ast.Name) and over.id in flows)
            if is_flow and not any(_breaks(statement) for statement in node.body):
                yield node.lineno, f"for {ast.unparse(node.target)} in {ast.unparse(over)}:"

    def _indexed(self, calls: dict[int, Call | None]) -> Iterator[tuple[int, str]]:
        flows = _names_of_flows(self._nodes)
        for node in self._nodes:
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in flows:
                yield node.lineno, ast.unparse(node)


def parameters_of(name: str | None) -> tuple[str, ...] | None:
    """Names of the positional parameters of a function that matters here, else None."""
    if name == "ImageDataGenerator":
        return tuple(field.name for field in dataclasses.fields(Config))
    if name in MODEL_METHODS:
        return MODEL_METHODS[name]
    if name in FLOWS + IMAGE_METHODS:
        from daskaug.generator import ImageDataGenerator

        method = getattr(ImageDataGenerator, name, None)
        return () if method is None else tuple(inspect.signature(method).parameters)[1:]
    return None


def _constants(nodes: list[ast.AST]) -> dict[str, ast.expr]:
    """What names stand for that are bound once, by an assignment."""
    bound: collections.Counter[str] = collections.Counter()
    values: dict[str, ast.expr] = {}
    for node in nodes:
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound[node.id] += 1
        elif isinstance(node, ast.arg):
            bound[node.arg] += 1
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            values[node.targets[0].id] = node.value
    return {name: value for name, value in values.items() if bound[name] == 1}


def _is_single_call(tree: ast.Module) -> bool:
    return len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr | ast.Assign)


def _is_flow(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in FLOWS


def _names_of_flows(nodes: list[ast.AST]) -> set[str]:
    return {
        target.id
        for node in nodes
        if isinstance(node, ast.Assign) and _is_flow(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _breaks(node: ast.stmt) -> bool:
    """Whether a statement may leave the loop that it stands in; inner loops have breaks of their own."""
    if isinstance(node, ast.Break | ast.Return | ast.Raise):
        return True
    if isinstance(node, ast.For | ast.AsyncFor | ast.While):
        return any(_breaks(child) for child in node.orelse) or _returns(node)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return False
    blocks = [getattr(node, field, []) for field in ("body", "orelse", "finalbody")]
    blocks += [handler.body for handler in getattr(node, "handlers", [])]
    blocks += [case.body for case in getattr(node, "cases", [])]
    return any(_breaks(child) for block in blocks for child in block)


def _returns(node: ast.AST) -> bool:
    return any(isinstance(child, ast.Return | ast.Raise) for child in ast.walk(node))
