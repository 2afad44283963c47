"""What the stand-in does not have fails to import with a sentence that says what it has."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

HOME = Path(__file__).parent


class Finder:
    """Finds the modules of the stand-in, as packages: `from fla.x import y` then asks for fla.x.y before it fails."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        root = sys.modules.get("fla")
        if not fullname.startswith("fla.") or root is None or Path(str(root.__file__)).parent != HOME:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None:
            # without `name`: importlib would take the error for "no such submodule" and forget the sentence
            raise ModuleNotFoundError(sentence(fullname))
        if spec.submodule_search_locations is None:
            spec.submodule_search_locations = []
        return spec


def sentence(fullname: str) -> str:
    """Why `fullname` cannot be imported, and what can from where it would be."""
    parent, _, name = fullname.rpartition(".")
    module = sys.modules.get(parent)
    names = {x for x in dir(module) if not x.startswith("_") and getattr(vars(module)[x], "__module__", "") != "typing"}
    public = getattr(module, "__all__", None) or sorted(names - {"annotations", "torch", "nn", "functional", "Tensor"})
    paths = getattr(module, "__path__", [])
    modules = [x.name for x in pkgutil.iter_modules(paths) if not x.name.startswith("_") and x.name not in public]
    has = ", ".join([*public, *(f"{x} (a module)" for x in modules)]) or "nothing"
    return (
        f"Expected something that the torch stand-in for flash-linear-attention has, but got `{name}` from `{parent}`, "
        f"which has: {has}. Use one of these, or write `{name}` in torch."
    )


def install() -> None:
    """Puts the finder before all others, once."""
    if Finder not in sys.meta_path:
        sys.meta_path.insert(0, Finder)
