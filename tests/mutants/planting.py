"""Plants a fault in the syntax tree of a module.

A fault stands in a function and is a pattern and what stands there instead, both Python
source: an expression or statements. How the source is laid out does not matter. Names that
the pattern has from the module, its imports or Python are meant as they are. If the
function has no such place, every other name of the pattern stands for any one name, the
same wherever it occurs, so a local that was renamed does not matter either.
"""

import ast
import builtins
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple


class Fault(NamedTuple):
    """Fields:
    name: what is wrong.
    function: where it is, with the functions and classes around it: "Run.train"; "" is
        the module.
    old: the pattern, which has one place there.
    new: what stands there instead; "" is nothing.
    """

    name: str
    function: str
    old: str
    new: str


class Module(NamedTuple):
    """Fields:
    path: of the source.
    tests: pytest's arguments: what the faults meet first.
    faults: in the order of the source.
    """

    path: str
    tests: tuple[str, ...]
    faults: tuple[Fault, ...]


def module(path: str, tests: str, *faults: tuple[str, str, str, str]) -> Module:
    """Each fault: its name, its function, the pattern and what stands there instead."""
    files, _, names = tests.partition(" -k ")
    chosen = ("-k", names) if names else ()
    return Module(path, (*files.split(), *chosen), tuple(Fault(*f) for f in faults))


class Place(NamedTuple):
    """Statements of a list, or an expression of a field, of a node of the tree."""

    node: ast.AST
    field: str
    start: int | None
    count: int
    names: dict[str, str]


# Python 3.11 counts the depth of what it parses for all threads in one place.
PARSING = threading.Lock()


def planted(source: str, fault: Fault) -> str:
    """The source with the fault. Raises ValueError unless there is one place for it."""
    with PARSING:
        return _planted(source, fault)


def _planted(source: str, fault: Fault) -> str:
    tree = ast.parse(source)
    within = function_in(tree, fault.function)
    if within is None:
        raise ValueError(f"{fault.name}: no function {fault.function!r} here.")
    pattern, instead = parsed(fault.old), parsed(fault.new)
    if isinstance(pattern, list) or isinstance(instead, list):
        pattern, instead = _statements(pattern), _statements(instead)
    places = list(places_of(pattern, within, None))
    if not places:
        fixed = known_names(tree) | set(dir(builtins))
        places = list(places_of(pattern, within, fixed))
    if len(places) != 1:
        raise ValueError(
            f"{fault.name}: expected one place for {fault.old!r} in "
            f"{fault.function or 'the module'}, got {len(places)}."
        )
    if lost := unknown_names(tree, fault.function, instead) - set(places[0].names):
        raise ValueError(f"{fault.name}: {', '.join(sorted(lost))} is no name there.")
    put(places[0], instead)
    text = ast.unparse(ast.fix_missing_locations(tree))
    if text == ast.unparse(ast.parse(source)):
        raise ValueError(f"{fault.name}: expected something else in its place.")
    return text + "\n"


def parsed(text: str) -> ast.expr | list[ast.stmt]:
    """An expression, or statements."""
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        return ast.parse(text).body


def _statements(code: ast.expr | list[ast.stmt]) -> list[ast.stmt]:
    return code if isinstance(code, list) else [ast.Expr(code)]


def function_in(tree: ast.AST, name: str) -> ast.AST | None:
    """The function or class of this name, with those around it."""
    first, _, rest = name.partition(".")
    if not first:
        return tree
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in inside(tree, kinds):
        if node.name == first and (found := function_in(node, rest)) is not None:
            return found
    return None


def inside(tree: ast.AST, kinds: tuple) -> Iterator[Any]:
    """Nodes of these kinds that are in no other of them."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, kinds):
            yield node
        else:
            yield from inside(node, kinds)


def known_names(tree: ast.Module) -> set[str]:
    """The names that the module defines and imports."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {a.asname or a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        else:
            stored = (n for n in ast.walk(node) if isinstance(n, ast.Name))
            found |= {n.id for n in stored if isinstance(n.ctx, ast.Store)}
    return found


def unknown_names(
    tree: ast.Module, function: str, instead: ast.expr | list[ast.stmt]
) -> set[str]:
    """Names that are read in `instead`, but are known neither there nor in the function,
    one around it, the module or Python: they would fail whatever the fault is."""
    whole = ast.Module(
        instead if isinstance(instead, list) else [ast.Expr(instead)], []
    )
    names = [node for node in ast.walk(whole) if _named(node)]
    read = {n.id for n in names if isinstance(n, ast.Name) and _read(n)}
    own = {n.arg if isinstance(n, ast.arg) else n.id for n in names if not _read(n)}
    around = function_in(tree, function.partition(".")[0])
    assert around is not None
    for node in ast.walk(around):
        if isinstance(node, ast.Name):
            own.add(node.id)
        elif isinstance(node, ast.arg):
            own.add(node.arg)
        elif isinstance(node, ast.alias):
            own.add(node.asname or node.name.split(".")[0])
        elif isinstance(node, ast.FunctionDef):
            own.add(node.name)
    return read - own - known_names(tree) - set(dir(builtins))


def places_of(
    pattern: ast.expr | list[ast.stmt], within: ast.AST, fixed: set[str] | None
) -> Iterator[Place]:
    """Where the pattern is; `fixed` are the names meant as they are, None: all."""
    for node in ast.walk(within):
        for field, value in ast.iter_fields(node):
            if isinstance(pattern, list):
                yield from _windows(pattern, node, field, value, fixed)
                continue
            listed = isinstance(value, list)
            for n, one in enumerate(value if listed else [value]):
                names: dict[str, str] = {}
                if same(pattern, one, fixed, names):
                    yield Place(node, field, n if listed else None, 1, names)


def _windows(pattern, node, field, value, fixed) -> Iterator[Place]:
    if not (isinstance(value, list) and value and isinstance(value[0], ast.stmt)):
        return
    for start in range(len(value) - len(pattern) + 1):
        window, names = value[start : start + len(pattern)], {}
        if same(pattern, window, fixed, names):
            yield Place(node, field, start, len(pattern), names)


def same(a: Any, b: Any, fixed: set[str] | None, names: dict[str, str]) -> bool:
    """Whether the pattern `a` matches `b`; fills in what its names stand for."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        both = zip(a, b, strict=False)
        return len(a) == len(b) and all(same(x, y, fixed, names) for x, y in both)
    if not isinstance(a, ast.AST):
        return a == b
    if isinstance(a, ast.Name | ast.arg):
        old, new = (n.id if isinstance(n, ast.Name) else n.arg for n in (a, b))
        free = fixed is not None and old not in fixed and new not in fixed
        taken = new in names.values() and names.get(old) != new
        if (old != new and not free) or taken or names.setdefault(old, new) != new:
            return False
    fields = [f for f in a._fields if f not in ("id", "arg") or not _named(a)]
    return all(same(getattr(a, f), getattr(b, f), fixed, names) for f in fields)


def _named(node: ast.AST) -> bool:
    return isinstance(node, ast.Name | ast.arg)


def _read(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)


def put(place: Place, instead: ast.expr | list[ast.stmt]) -> None:
    """Puts the replacement in its place."""
    for node in instead if isinstance(instead, list) else [instead]:
        for name in filter(_named, ast.walk(node)):
            field = "id" if isinstance(name, ast.Name) else "arg"
            old = getattr(name, field)
            setattr(name, field, place.names.get(old, old))
    value = getattr(place.node, place.field)
    if place.start is None:
        setattr(place.node, place.field, instead)
        return
    if not isinstance(value[place.start], ast.stmt):
        value[place.start] = instead
        return
    assert isinstance(instead, list)
    value[place.start : place.start + place.count] = instead
    if not value:
        value.append(ast.Pass())
