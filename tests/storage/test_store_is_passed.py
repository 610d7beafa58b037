"""Inside the package a store is always passed; its defaults are for those who call from outside."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from pathlib import Path

import zsd_ray

ROOT = Path(zsd_ray.__file__).parent


def test_every_call_inside_the_package_passes_its_store() -> None:
    calls = [call for path in ROOT.rglob("*.py") for call in calls_without_store(path)]
    assert calls == []


def calls_without_store(path: Path) -> list[str]:
    """Calls of this package's functions with a `store` whose arguments name none."""
    tree = ast.parse(path.read_text())
    imported = imports(tree)
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        target = imported.get(ast.unparse(node.func))
        given = " ".join(ast.unparse(each) for each in (*node.args, *node.keywords))
        if target is not None and "store" not in given.lower() and takes_store(*target):
            found.append(f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}")
    return found


def imports(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """What names in a module's calls mean: (module, name), of this package alone."""
    found = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("zsd_ray"):
            continue
        assert node.module is not None
        for alias in node.names:
            local, whole = alias.asname or alias.name, f"{node.module}.{alias.name}"
            found[local] = node.module, alias.name
            file = ROOT.parent / f"{whole.replace('.', '/')}.py"
            if file.is_file():
                names = [d.name for d in ast.parse(file.read_text()).body if hasattr(d, "name")]
                found |= {f"{local}.{name}": (whole, name) for name in names}
    return found


def takes_store(module: str, name: str) -> bool:
    if (ROOT.parent / f"{module.replace('.', '/')}/{name}.py").is_file():
        return False  # a module
    thing = getattr(import_module(module), name, None)
    return callable(thing) and "store" in signature(thing)


def signature(thing: object) -> list[str]:
    try:
        return list(inspect.signature(thing).parameters)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return []
