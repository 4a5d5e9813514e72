"""Values of gymnasium spaces: batches of them, and the way back from flat vectors."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


def split_batch(space: gymnasium.Space[Any], batch: Any) -> list[Any]:
    """Return the n values of a batch.

    Args:
        space: the space of one value.
        batch: a list of n values; or, as vectorized environments return it, one value whose arrays
            have a further leading axis n.
    """
    if isinstance(batch, list):
        return batch
    if isinstance(space, spaces.Dict):
        parts = [split_batch(part, batch[key]) for key, part in space.spaces.items()]
        return [dict(zip(space.spaces, values, strict=True)) for values in zip(*parts, strict=True)]
    if isinstance(space, spaces.Tuple):
        parts = [split_batch(p, b) for p, b in zip(space.spaces, batch, strict=True)]
        return list(zip(*parts, strict=True))
    values = np.asarray(batch)
    if values.ndim != len(space.shape or ()) + 1:
        expected = ", ".join(map(str, ("n", *(space.shape or ()))))
        raise ValueError(
            f"a batch has the shape {list(values.shape)}; it must be [{expected}], or a list of "
            "single values"
        )
    return list(values)


def unflatten(space: gymnasium.Space[Any], flat: NDArray[Any]) -> Any:
    """Return flat vectors [..., O] in the structure of the space; each array is [..., *shape].

    The parts of a Dict are dicts, those of a Tuple tuples. A one-hot block gives the number of its
    largest entry. Other entries stay real numbers, also where the space has integers, because they
    may be means.
    """
    return _unflatten(space, flat, one_hot_to_number=True)


def unflatten_spread(space: gymnasium.Space[Any], flat: NDArray[Any]) -> Any:
    """Return the standard deviations [..., O] of flat vectors in the structure of the space.

    A one-hot block keeps one value for each of its entries.
    """
    return _unflatten(space, flat, one_hot_to_number=False)


def _unflatten(space: gymnasium.Space[Any], flat: NDArray[Any], one_hot_to_number: bool) -> Any:
    if isinstance(space, spaces.Dict):
        values = _parts(list(space.spaces.values()), flat, one_hot_to_number)
        return dict(zip(space.spaces, values, strict=True))
    if isinstance(space, spaces.Tuple):
        return tuple(_parts(list(space.spaces), flat, one_hot_to_number))
    leading = flat.shape[:-1]
    if isinstance(space, spaces.Discrete) and one_hot_to_number:
        return flat.argmax(-1) + space.start
    if isinstance(space, spaces.MultiDiscrete) and one_hot_to_number:
        blocks = np.split(flat, np.cumsum(space.nvec.reshape(-1))[:-1], axis=-1)
        numbers = np.stack([block.argmax(-1) for block in blocks], axis=-1)
        return numbers.reshape(*leading, *space.shape) + space.start
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return flat
    return flat.reshape(*leading, *(space.shape or ()))


def _parts(
    parts: list[gymnasium.Space[Any]], flat: NDArray[Any], one_hot_to_number: bool
) -> list[Any]:
    ends = np.cumsum([spaces.flatdim(part) for part in parts])[:-1]
    blocks = np.split(flat, ends, axis=-1)
    return [
        _unflatten(part, block, one_hot_to_number)
        for part, block in zip(parts, blocks, strict=True)
    ]
