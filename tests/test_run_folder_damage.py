"""Run folders whose config, logs or checkpoints were changed or damaged."""

import shutil

import pytest
from omegaconf import OmegaConf
from run_folders import forge, newest, refused

from mbrl_cli.checkpoint import load_checkpoint, save_checkpoint
from mbrl_cli.errors import UserError
from mbrl_cli.event_records import records_are_intact
from mbrl_cli.run_files import write_atomically

# --- config and checkpoints -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("seed: 3\n", "seed: 4\n", "seed=3, not 4"),
        ("seed: 3\n", "", "seed=3, not (missing)"),
        ("max_episode_steps: 10\n", "max_episode_steps: 11\n", "env.max_episode_steps=10, not 11"),
        ("total_steps: 60\n", "total_steps: 70\n", "total_steps=60, not 70"),
    ],
)
def test_a_config_that_is_not_that_of_the_checkpoint_is_refused(mbrl, killed_run, old, new, text):
    config = killed_run / "config.yaml"
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))
    for command in ("resume", "eval"):
        refused(mbrl(command, "run"), text)
    config.write_text(f"# a comment\n{config.read_text().replace(new, old) if new else ''}")
    if new:
        assert mbrl("eval", "run").code == 0  # comments do not count


def test_a_run_killed_while_its_settings_change_can_be_resumed_with_either(
    mbrl, killed_run, monkeypatch, tmp_path
):
    """The kill happens before or after config.yaml is replaced."""
    real = write_atomically

    def crash(path, content):
        if path.name == "config.yaml" and crash.before:
            raise KeyboardInterrupt
        real(path, content)
        if path.name == "config.yaml":
            raise KeyboardInterrupt

    for crash.before in (True, False):
        with monkeypatch.context() as patch:
            patch.setattr("mbrl_cli.config.train.write_atomically", crash)
            assert mbrl("resume", "run", "total_steps=70").code == 130
        total = "60" if crash.before else "70"
        assert f"total_steps: {total}\n" in (killed_run / "config.yaml").read_text()
        shutil.copytree(killed_run, tmp_path / f"copy{total}")
        assert mbrl("resume", f"copy{total}").code == 0


def test_the_model_of_another_run_is_read_once(mbrl, tiny_run, tmp_path, monkeypatch):
    assert mbrl("train", "env=pendulum", *tiny_run, "hydra.run.dir=source").code == 0
    new = ["train", "env=pendulum", *tiny_run, "prefill_steps=0", "model_from=source",
           "model_from_replay=true"]  # fmt: skip
    assert mbrl(*new, "hydra.run.dir=whole").code == 0
    assert mbrl(*new, "hydra.run.dir=cut", "keep_checkpoints=20").code == 0
    config = OmegaConf.load(tmp_path / "cut" / "config.yaml")
    assert config.model_from == str(tmp_path / "source")
    cut = tmp_path / "cut"
    (cut / "checkpoint.safetensors").unlink()
    for path in (cut / "checkpoints").glob("*[1-9]*.safetensors"):
        path.unlink()  # all but that of step 0: as if the run had been killed in its first episode
    shutil.rmtree(tmp_path / "source")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = mbrl("resume", "../cut")
    assert done.code == 0, done
    assert "from step 0" in done.out
    rows = [
        [row for row in (folder / "metrics.csv").read_text().splitlines() if ",time/" not in row]
        for folder in (tmp_path / "whole", cut)
    ]
    assert rows[0] == rows[1]


# --- logs -------------------------------------------------------------------------------------


def test_a_flipped_byte_in_any_record_of_the_event_file_is_found(killed_run):
    (path,) = killed_run.glob("events*")
    content = path.read_bytes()
    assert records_are_intact(content, len(content))
    assert not records_are_intact(content, len(content) - 1)
    for i in range(len(content)):
        flipped = content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :]
        assert not records_are_intact(flipped, len(content))


def test_a_damaged_event_file_is_reported_and_rebuilt(mbrl, killed_run):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    (path,) = killed_run.glob("events*")
    with path.open("r+b") as file:
        file.seek(20)
        file.write(b"X")
    done = mbrl("resume", "run")
    assert done.code == 0
    assert "the event file is damaged or missing; it is rebuilt" in done.out
    values = [e for e in EventFileLoader(str(path)).Load() if e.summary.value]
    rows = (killed_run / "metrics.csv").read_text().splitlines()[1:]
    assert len(values) >= len(rows)


@pytest.mark.parametrize("change", ["row", "digit"])
def test_a_changed_metrics_csv_is_refused(mbrl, killed_run, change):
    path = killed_run / "metrics.csv"
    lines = path.read_text().splitlines(keepends=True)
    digit = lines[1][:-2] + ("1" if lines[1][-2] != "1" else "2") + "\n"
    lines[1] = "x" + lines[1] if change == "row" else digit
    path.write_text("".join(lines))
    text = "row 2 is damaged" if change == "row" else "a number changed after it was written"
    refused(mbrl("resume", "run"), f"metrics.csv: {text}")


def test_eval_names_a_damaged_checkpoint(mbrl, killed_run):
    newest(killed_run).write_bytes(newest(killed_run).read_bytes()[:-1])
    done = mbrl("eval", "run")
    assert done.code == 0
    assert f"{newest(killed_run).name} is damaged" in done.out
    assert "the checkpoint of step 10 is used" in done.out


def test_the_saved_state_of_another_shape_is_named(killed_run):
    forge(newest(killed_run), lambda state: state.update(agent={"x": 1}))
    assert load_checkpoint(newest(killed_run))["agent"] == {"x": 1}
    with pytest.raises(UserError, match="plain values"):
        save_checkpoint(killed_run, "big", {"x": "y" * 2**24})
