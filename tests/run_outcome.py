"""The results of a run that must not depend on interruptions."""

from mbrl_cli.checkpoint_store import load_newest_replay


def outcome(folder):
    """Return the results that must be equal: weights, generators, rows, transitions."""
    rows = (folder / "metrics.csv").read_text().splitlines()
    stored, episodes = load_newest_replay(folder)
    return {
        "weights": (folder / "checkpoint.safetensors").read_bytes(),
        "rows": [row for row in rows if ",time/" not in row],
        "replay": {name: part.tolist() for name, part in stored.items()},
        "episodes": episodes,
    }


def assert_same_outcome(one, other):
    left, right = outcome(one), outcome(other)
    assert [key for key in left if left[key] != right[key]] == []
