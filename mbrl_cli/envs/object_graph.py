"""Search for objects that an environment holds, for example its random generators."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from torch import Tensor

MAX_OBJECTS = 100_000
_LEAVES = (
    str, bytes, int, float, complex, bool, type(None), type, types.ModuleType, np.ndarray, Tensor,
    types.FunctionType, types.BuiltinFunctionType, spaces.Space,
)  # fmt: skip


def find_objects(root: object, kinds: tuple[type, ...]) -> list[Any]:
    """Return the objects of these kinds that `root` refers to, in a fixed order, each once.

    Attributes, containers and the objects of bound methods are searched; spaces and modules are
    not.
    """
    found, seen, queue = [], {id(root)}, deque([root])
    while queue and len(seen) < MAX_OBJECTS:
        item = queue.popleft()
        if isinstance(item, kinds):
            found.append(item)
        for child in _children(item):
            if id(child) not in seen and (
                isinstance(child, kinds) or not isinstance(child, _LEAVES)
            ):
                seen.add(id(child))
                queue.append(child)
    return found


def _children(item: Any) -> list[Any]:
    if isinstance(item, types.ModuleType):  # not part of an environment
        return []
    if isinstance(item, Mapping):
        return list(item.values())
    if isinstance(item, list | tuple | set | frozenset | deque):
        return list(item)
    if isinstance(item, types.MethodType):
        return [item.__self__]
    return list(getattr(item, "__dict__", {}).values())
