"""Random words after `mbrl train` give one line or a valid config, never a traceback."""

import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from mbrl_cli.config.composition import compose_choice
from mbrl_cli.config.groups import GROUPS, choices, config_dir


def keys():
    """Return every key of every choice of every group, and of the run level."""
    found = [
        k for k in OmegaConf.load(config_dir() / "train.yaml") if k not in ("defaults", "hydra")
    ]
    for group in GROUPS:
        for name in choices(group):
            found += [f"{group}.{key}" for key in compose_choice(group, name)]
    return sorted({str(key) for key in found} | {"nonsense", "model.nonsense"})


VALUES = st.one_of(
    st.integers(-2, 40).map(str),
    st.sampled_from(
        [
            str(10**18),
            str(10**400),
            "1e300",
            "-1e300",
            "nan",
            "inf",
            "null",
            "true",
            "''",
            "[]",
            "{}",
        ]
    ),
    st.floats().map(str),
    st.text(max_size=8),
    st.sampled_from(
        ["[1,2]", "{a:1}", "known", "../../x", "/", "${seed}", "${nope}", "${oc.env:X}"]
    ),
)
CHOICES = st.sampled_from(
    [f"{group}={name}" for group in GROUPS for name in choices(group)]
    + ["env=../env/gym", "model="]
)
OVERRIDE = st.one_of(
    CHOICES,
    st.builds(
        "{}{}={}".format,
        st.sampled_from(["", "", "", "+", "++", "~"]),
        st.sampled_from(keys()),
        VALUES,
    ),
    st.text(max_size=12),
)


@settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(st.lists(OVERRIDE, min_size=1, max_size=4))
def test_random_overrides_give_one_line_or_a_valid_config(mbrl, tmp_path, overrides):
    """All checks before a run, without the run itself: never a traceback."""
    words = [word for word in overrides if not word.startswith("-")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mbrl_cli.config.train.start_run", lambda *arguments: 0.0)
        done = mbrl("train", *words, "hydra.run.dir=new")
    assert done.code in (0, 2), done
    assert "Traceback" not in done.err + done.out
    if done.code == 2:
        assert done.err.startswith("mbrl: "), done
        assert len(done.err.splitlines()) == 1, done
        assert list(tmp_path.iterdir()) == []
    shutil.rmtree(tmp_path / "new", ignore_errors=True)
