"""Checkpoint files: exact round trips, refusal of damaged files, atomic writing, no pickle."""

from __future__ import annotations

import json
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mbrl_cli.checkpoint import load_checkpoint, save_checkpoint
from mbrl_cli.errors import UserError


def assert_same(left: Any, right: Any) -> None:
    """Assert equal types, dtypes, shapes and values."""
    assert type(left) is type(right)
    if isinstance(left, dict):
        assert list(left) == list(right)
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, list | tuple):
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            assert_same(a, b)
    elif isinstance(left, torch.Tensor | np.ndarray):
        assert left.dtype == right.dtype
        assert left.shape == right.shape
        assert np.array_equal(np.asarray(left), np.asarray(right))
    else:
        assert repr(left) == repr(right)  # repr: equal for two NaN, different for different floats


def small_state() -> dict[str, Any]:
    return {"step": 7, "weights": torch.arange(3.0)}


def rewrite(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


@pytest.mark.parametrize(
    "value",
    [
        {"none": None, "yes": True, "one": 1, "third": 1 / 3, "word": "Grüße \"'\\\n"},
        {"nan": float("nan"), "inf": float("-inf"), "big": 2**127 + 1, "tiny": 5e-324},
        {"nested": {"list": [1, [2.0, "x"], {}], "tuple": (0.9, 0.999), "empty": []}},
        {0: "integer key", "0": "string key", "a.b": torch.ones(1), "a": {"b": torch.zeros(1)}},
    ],
    ids=["plain", "numbers", "nested", "keys"],
)
def test_plain_values_come_back_exactly(tmp_path: Path, value: dict[str, Any]) -> None:
    assert_same(load_checkpoint(save_checkpoint(tmp_path, "last", {"x": value}))["x"], value)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint64", "int64", "float16", "float64"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (2, 3)])
def test_tensors_and_arrays_keep_kind_dtype_and_shape(
    tmp_path: Path, dtype: str, shape: tuple[int, ...]
) -> None:
    array = np.array(np.arange(np.prod(shape, dtype=int)).reshape(shape) % 2, dtype)
    state = {"array": array, "tensor": torch.tensor(array)}
    assert_same(load_checkpoint(save_checkpoint(tmp_path, "last", state)), state)


def test_views_shared_and_gradient_tensors_are_saved_by_value(tmp_path: Path) -> None:
    base = torch.arange(6.0).reshape(2, 3)
    array = np.arange(6)
    state = {"base": base, "same": base, "t": base.T, "row": base[1], "backwards": array[::-1]}
    loaded = load_checkpoint(
        save_checkpoint(tmp_path, "last", {**state, "w": torch.nn.Parameter(base)})
    )
    assert_same(loaded, {**state, "w": base})
    loaded["base"] += 1
    loaded["backwards"] += 1  # loaded tensors are writable and share no memory
    assert_same(loaded["same"], base)


def test_restored_random_generators_continue_their_sequence(tmp_path: Path) -> None:
    generator, rng = torch.Generator().manual_seed(3), np.random.default_rng(3)
    state = {"torch": generator.get_state(), "numpy": rng.bit_generator.state}
    loaded = load_checkpoint(save_checkpoint(tmp_path, "last", state))
    expected = torch.rand(4, generator=generator), rng.random(4)

    generator.set_state(loaded["torch"])
    rng.bit_generator.state = loaded["numpy"]
    assert_same((torch.rand(4, generator=generator), rng.random(4)), expected)


def test_a_restored_adam_takes_the_same_step(tmp_path: Path) -> None:
    def step(weight: torch.nn.Parameter, adam: torch.optim.Adam) -> None:
        adam.zero_grad()
        (weight**2).sum().backward()
        adam.step()

    weight = torch.nn.Parameter(torch.ones(2))
    adam = torch.optim.Adam([weight])
    step(weight, adam)
    state = {"weight": weight, "adam": adam.state_dict()}
    loaded = load_checkpoint(save_checkpoint(tmp_path, "last", state))
    step(weight, adam)

    other = torch.nn.Parameter(loaded["weight"])
    other_adam = torch.optim.Adam([other])
    other_adam.load_state_dict(loaded["adam"])
    step(other, other_adam)
    assert torch.equal(weight, other)


def test_the_same_state_gives_the_same_bytes(tmp_path: Path) -> None:
    first = save_checkpoint(tmp_path, "first", {"x": small_state()})
    other = save_checkpoint(tmp_path / "other", "first", {"x": small_state()})
    assert first.read_bytes() == other.read_bytes()


def test_any_flipped_byte_is_refused(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, "last", small_state())
    content = path.read_bytes()
    for i in range(len(content)):
        path.write_bytes(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :])
        with pytest.raises(UserError, match=r"last\.safetensors") as refusal:
            load_checkpoint(path)
        assert "\n" not in str(refusal.value)


def test_any_truncation_is_refused(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, "last", small_state())
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(UserError, match=r"last\.safetensors"):
            load_checkpoint(path)


def test_another_format_version_is_named(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, "last", small_state())
    rewrite(path, rb"\"format\": 2", rb"\"format\": 3")
    with pytest.raises(UserError, match=r"last\.safetensors has checkpoint format 3; .* format 2"):
        load_checkpoint(path)


def test_a_missing_file_and_a_foreign_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.safetensors: cannot read"):
        load_checkpoint(tmp_path / "nowhere.safetensors")
    foreign = tmp_path / "foreign.safetensors"
    header = json.dumps({"__metadata__": {"format": "pt"}}).encode()
    foreign.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(UserError, match="not a checkpoint of mbrl"):
        load_checkpoint(foreign)


def test_an_error_while_writing_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_checkpoint(tmp_path, "last", small_state())

    def crash(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("mbrl_cli.run_files.os.fsync", crash)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(tmp_path, "last", {"step": 8})
    assert_same(load_checkpoint(path), small_state())


def test_a_value_that_cannot_be_saved_is_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"last\.agent\.0 is a set"):
        save_checkpoint(tmp_path, "last", {"agent": [{1, 2}]})
    with pytest.raises(TypeError, match=r"keys of last\.agent"):
        save_checkpoint(tmp_path, "last", {"agent": {(1, 2): 3}})
    assert not list(tmp_path.iterdir())


def test_files_are_no_pickle(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, "last", small_state())
    with pytest.raises(ValueError, match=r"opcode|pickle"):
        list(pickletools.genops(path.read_bytes()))
    source = Path(load_checkpoint.__code__.co_filename).read_text()
    assert "import pickle" not in source
    assert "torch.save" not in source.replace("safetensors.torch.save", "")


def test_the_memory_layout_of_a_tensor_is_kept(tmp_path):
    """A product with a column-major matrix has other rounding errors than with a row-major one."""
    rows = torch.arange(24.0).view(2, 3, 4)
    state = {"row major": rows, "permuted": rows.permute(2, 0, 1), "vector": rows[0, 0]}
    loaded = load_checkpoint(save_checkpoint(tmp_path, "layout", state))
    for name, tensor in state.items():
        assert torch.equal(loaded[name], tensor)
        assert loaded[name].stride() == tensor.stride()
