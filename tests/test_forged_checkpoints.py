"""Forged checkpoints with correct checksums give one line."""

import json
import os
import time

import pytest
import torch
from run_folders import forge, newest, refused

FORGED = {
    "env_step": [-1, True, 10**30, "1", 1.5],
    "rows": [-1, 10**11, None],
    "episodes": [0, -1, 10**30],
    "segments": [[[0, 10]] * 10**5, [[0, 10], [0, 20]], [[0]], [0], ["x"], [[0, -5]],
                 [[0, 10**11]]],
    "seconds": [{"env": "x"}, {"\x1b[2J": 1.0}, {"env": None}],
    "log": [{}, {"csv": -1, "events": 0}, {"csv": "x", "events": 0}, {"csv": 10**30, "events": 0}],
    "generators": [{}, {"prefill": torch.zeros(3)}, {"prefill": 1, "policy": 2}],
    "configs": [1, [1], ["x"], ["[" * 10**5]],
    "agent": [[], None, {"weights": "x"}],
}  # fmt: skip


@pytest.mark.parametrize("key", FORGED)
def test_a_forged_value_gives_one_line(mbrl, killed_run, key):
    for path in sorted((killed_run / "checkpoints").iterdir())[:-1]:
        path.unlink()
    path, content = newest(killed_run), newest(killed_run).read_bytes()
    for value in FORGED[key]:
        path.write_bytes(content)
        forge(path, lambda state, value=value: state.update({key: value}))
        done = mbrl("resume", "run")
        assert done.code == 2, (value, done)
        assert done.err.count("\n") == 1
        assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b"{}", b'{"__metadata__": {"mbrl": "[]"}}', b'{"__metadata__": 5}', b"\xff",
     json.dumps({"__metadata__": {"mbrl": "[" * 100_000}}).encode()],
    ids=range(6),
)  # fmt: skip
@pytest.mark.parametrize("length", [None, 2**63, 2**24])
def test_a_header_that_is_no_checkpoint_gives_one_line(mbrl, killed_run, content, length):
    header = (len(content) if length is None else length).to_bytes(8, "little")
    for path in (killed_run / "checkpoints").iterdir():
        path.write_bytes(header + content)
    for command in ("resume", "eval"):
        refused(mbrl(command, "run"), "is damaged, or not a checkpoint of mbrl")


def test_a_sparse_file_is_not_read(mbrl, killed_run):
    for path in (killed_run / "checkpoints").iterdir():
        os.truncate(path, 2**33)
    start = time.process_time()
    assert mbrl("resume", "run").code == 2
    assert time.process_time() - start < 5
