"""Save and load nested dicts of tensors, arrays and plain values without pickle.

A checkpoint is one safetensors file, written atomically. Tensors and arrays are its tensors,
everything else is JSON in its header. A checksum in the header covers every byte of the file; for
its computation the checksum's own digits are replaced by zeros.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from mbrl_cli.errors import UserError
from mbrl_cli.run_files import read_regular, write_atomically

FORMAT = 2
SUFFIX = ".safetensors"
# One metadata entry holds everything, because safetensors writes several in random order.
_ENTRY = "mbrl"
# Bytes of JSON in a file. JSON takes about 100 times its length in memory.
MAX_HEADER = 2**23
_BLANK_CHECKSUM = "0" * 64


def save_checkpoint(folder: Path, name: str, state: dict[str, Any]) -> Path:
    """Write `state` to `folder/name.safetensors`; a crash leaves the old file or the new one.

    The state may hold tensors, numpy arrays, None, bool, int, float, str, lists, tuples and dicts
    (with str or int keys). Raises TypeError, with the key, for anything else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}{SUFFIX}"
    write_atomically(path, encode_checkpoint(name, state))
    return path


def encode_checkpoint(name: str, state: dict[str, Any]) -> bytearray:
    """Return the content of a checkpoint file; see `save_checkpoint`.

    Raises UserError if the values that are not tensors are longer than `MAX_HEADER` bytes, because
    such a file would be refused when it is loaded.
    """
    tensors: dict[str, Tensor] = {}
    entry = {"checksum": _BLANK_CHECKSUM, "format": FORMAT, "state": _pack(state, name, tensors)}
    content = bytearray(safetensors.torch.save(tensors, {_ENTRY: json.dumps(entry)}))
    length = int.from_bytes(content[:8], "little")
    if length > MAX_HEADER:
        raise UserError(f"checkpoint {name}: {length:,} bytes of plain values; use tensors")
    start = content.index(_BLANK_CHECKSUM.encode())
    content[start : start + len(_BLANK_CHECKSUM)] = _checksum(content)
    return content


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return what `save_checkpoint` wrote; tensors are on the CPU.

    Raises UserError if the file is missing, damaged or of another format version.
    """
    try:
        content = bytearray(read_regular(path, _physical_memory()))
    except OSError as error:
        raise UserError(f"{path}: cannot read the checkpoint ({error.strerror})") from error
    return decode_checkpoint(path, content)


def decode_checkpoint(path: Path | str, content: bytearray) -> dict[str, Any]:
    """Return the state in the content of a checkpoint file; `path` names it in errors.

    Raises UserError if the content is damaged or of another format version.
    """
    try:
        length = int.from_bytes(content[:8], "little")
        if length > MAX_HEADER:
            raise ValueError(f"a header of {length:,} bytes")
        entry = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_ENTRY])
        version, checksum = entry["format"], entry["checksum"].encode()
        start = content.index(checksum)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is damaged, or not a checkpoint of mbrl") from error
    if version != FORMAT:
        shown = str(version)[:20]
        raise UserError(f"{path} has checkpoint format {shown}; this mbrl reads format {FORMAT}")
    if len(checksum) != len(_BLANK_CHECKSUM):
        raise UserError(f"{path} is damaged: its checksum does not match")
    content[start : start + len(checksum)] = _BLANK_CHECKSUM.encode()
    if _checksum(content) != checksum:
        raise UserError(f"{path} is damaged: its checksum does not match")
    try:
        tensors = safetensors.torch.load(bytes(content))
        state = _unpack(entry["state"], tensors)
        if not isinstance(state, dict):
            raise TypeError("the state is not a dict")
    except (
        ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError
    ) as error:  # fmt: skip
        raise UserError(f"{path} is no checkpoint of mbrl, though its checksum matches") from error
    # The names of tensors start with the name that the file was written with.
    for key in tensors:
        name = key.partition(":")[2].partition(".")[0]
        if isinstance(path, Path) and name != path.name.removesuffix(SUFFIX):
            raise UserError(
                f"{path} is another file of a run, which was called {name[:80]}{SUFFIX}"
            )
    return state


def _physical_memory() -> int:
    """Return the memory of this machine in bytes, where the system tells it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return 2**40


def _checksum(content: bytearray) -> bytes:
    return hashlib.blake2b(content, digest_size=len(_BLANK_CHECKSUM) // 2).hexdigest().encode()


def _pack(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    """Return `value` as JSON and add its tensors and arrays to `tensors`.

    Scalars and lists are unchanged. Anything else becomes an object with one key, its kind. `place`
    is the dotted key of `value`.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        items = [_pack(item, f"{place}.{i}", tensors) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, dict):
        # Key-value pairs, because an optimizer's state has integer keys, which JSON lacks.
        if not all(isinstance(key, str | int) for key in value):
            raise TypeError(f"checkpoint: the keys of {place} must be str or int")
        return {"dict": [[k, _pack(v, f"{place}.{k}", tensors)] for k, v in value.items()]}
    if isinstance(value, Tensor | np.ndarray):
        kind = "tensor" if isinstance(value, Tensor) else "array"
        name = f"{len(tensors)}:{place}"  # the number keeps {"a.b": x} and {"a": {"b": x}} apart
        # Copies, because safetensors requires contiguous tensors that share no memory.
        if isinstance(value, Tensor):
            order = _axis_order(value)
            copy = value.detach().cpu().permute(order)
            tensors[name] = copy.clone(memory_format=torch.contiguous_format)
            return {kind: name} if order == sorted(order) else {"permuted": [name, order]}
        tensors[name] = torch.from_numpy(value.copy())
        return {kind: name}
    raise TypeError(f"checkpoint: {place} is a {type(value).__name__}, which cannot be saved")


def _axis_order(tensor: Tensor) -> list[int]:
    """Return the axes from the outermost in memory to the innermost.

    A matrix product of a column-major matrix has other rounding errors than one of a row-major
    matrix, so a loaded tensor needs the memory layout of the saved one.
    """
    axes = list(range(tensor.dim()))
    if tensor.is_contiguous():
        return axes
    return sorted(axes, key=tensor.stride, reverse=True)


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dict":
        return {key: _unpack(item, tensors) for key, item in content}
    if kind == "tuple":
        return tuple(_unpack(item, tensors) for item in content)
    if kind == "permuted":
        name, order = content
        if sorted(order) != list(range(tensors[name].dim())):
            raise ValueError(f"{name}: {order} is no order of its axes")
        return tensors[name].permute([order.index(axis) for axis in range(len(order))])
    return tensors[content] if kind == "tensor" else tensors[content].numpy()
