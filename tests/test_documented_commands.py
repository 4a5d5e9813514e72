"""Every command of the documentation is run, or says why not.

`mbrl train` and plug-ins: test_documentation.py. Here: the commands about saved runs, on tiny runs;
`mbrl list`; scripts and targets that commands name. A block with other commands has a line
`<!-- not run: REASON -->` above it.
"""

import re
import shlex
import shutil

import pytest
from diagnoses import diagnosis
from test_documentation import DOCUMENTS, ROOT, blocks, commands

import mbrl_cli
from mbrl_cli.commands import play

EXECUTED = ("eval", "resume", "play", "runs", "compare", "diagnose", "list")
ELSEWHERE = (
    "train",
    "reproduce",
    "check",
    "search",
    "fork",
)  # test_documentation.py, test_check_command.py
SMALL = [
    "total_steps=60", "prefill_steps=20", "eval_every=25", "eval_episodes=1",
    "final_eval_episodes=1", "planner.horizon=3", "planner.population=12", "agent.fit_every=10",
    "model.max_steps=5", "model.hidden=[8]", "model.termination_steps=5",
    "env.max_episode_steps=10", "console=false", "device=cpu",
]  # fmt: skip
# Pages whose commands need what their own tests set up.
OWN_TEST = {
    "own_model.md": "test_documentation.py",
    "check.md": "test_check_command.py",
    "fork.md": "test_documentation.py",
    "sweeps.md": "test_documentation.py",
}


OF_SWEEPS = {("resume", "outputs/SWEEP")}  # test_sweep.py


def found(subcommand):
    """Return the words of each documented command, without repetitions."""
    pages = [path for path in DOCUMENTS if path.name not in OWN_TEST]
    words = [(subcommand, *words) for path in pages for words in commands(path, subcommand)]
    return [command for command in dict.fromkeys(words) if command not in OF_SWEEPS]


COMMANDS = [words for subcommand in EXECUTED for words in found(subcommand)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a folder with outputs/RUN, outputs/RUN2, outputs/GRID and a sweep outputs/SWEEP."""
    folder = tmp_path_factory.mktemp("documented")
    outputs = folder / "outputs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))
        patch.chdir(folder)
        for name, *words in (
            ("SWEEP/cem", "env=cartpole", "planner=cem"),
            ("SWEEP/random_shooting", "env=cartpole", "planner=random_shooting"),
            ("GRID", "env=gridworld", "planner=cem"),
        ):
            mbrl_cli.train([*words, *SMALL, f"hydra.run.dir=outputs/{name}"])
    shutil.copytree(outputs / "SWEEP" / "cem", outputs / "RUN")
    shutil.copytree(outputs / "SWEEP" / "random_shooting", outputs / "RUN2")
    return folder


def smaller(words):
    """Return the words of a command with a shorter run, and for a grid world where it needs one."""
    words = [re.sub(r"^total_steps=.*", "total_steps=80", word) for word in words]
    words = [re.sub(r"^at=.*", "at=40", word) for word in words]
    if "--model-figure" in words:
        words = [word.replace("/RUN", "/GRID") for word in words]
    return words


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_about_saved_runs_works(mbrl, runs, tmp_path, monkeypatch, words):
    """The command runs as it stands; a diagnosis is not computed, and one video is drawn.

    test_diagnose.py and test_play.py have whole diagnoses, and episodes in a window.
    """
    shutil.copytree(runs / "outputs", tmp_path / "outputs")
    monkeypatch.setattr("mbrl_cli.commands.diagnose._diagnose", lambda *_: diagnosis())
    words = smaller(words)
    if words[0] == "play" and len(words) != 4:  # play RUN --video FILE, or --model-figure FILE
        assert play._parse(words[1:]).run_dir.is_dir()
        return
    done = mbrl(*words)
    assert done.code == 0, done.err
    for option in ("--html", "--png", "--pdf", "--csv", "--json", "--video", "--model-figure"):
        if option in words:
            assert (tmp_path / words[words.index(option) + 1]).stat().st_size > 0


def test_a_recipe_of_the_documentation_states_its_result(mbrl, tmp_path):
    recipe, published = blocks(ROOT / "docs" / "reproduce.md", "yaml")
    for group, text in (("experiment", recipe), ("published", published)):
        path = tmp_path / "my_configs" / group / "fast_pendulum.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    shown = mbrl("list", "experiment", "--config-dir", "my_configs").out
    assert re.search(r"fast_pendulum .*stated -333.3 ± 188.1", shown)


def marked_blocks(path):
    """Return the bash blocks of a page, each with whether a line above it says `not run`."""
    text = path.read_text(encoding="utf-8")
    marks = r" *(<!-- (?:not run: [^\n]+|test-command) -->\n)?"
    found = re.findall(rf"{marks}^ *```bash\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    return [(bool(mark), block) for mark, block in found]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_block_of_other_commands_says_why_it_is_not_run(path):
    for is_marked, block in marked_blocks(path):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if not words or is_marked:
                continue
            assert words[0] in ("mbrl", "python", "bash"), (
                f"{line}: add <!-- not run: REASON --> above"
            )
            if words[0] == "mbrl":
                assert words[1] in (*EXECUTED, *ELSEWHERE), line
            else:  # a benchmark: the script has each option
                script = (ROOT / words[1]).read_text(encoding="utf-8")
                if words[0] == "bash":
                    continue
                options = [word for word in words[2:] if re.match(r"--\w", word)]
                assert [option for option in options if f'"{option}"' not in script] == [], line


PYTHON_TESTS = {
    "README.md": "test_documentation.py, test_python_api_examples.py",
    "check.md": "test_check_command.py",
    "play.md": "test_play.py",
    "python_api.md": "test_python_api_examples.py",
}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_python_of_a_page_is_run_by_a_test(path):
    if blocks(path, "python") and not path.name.startswith("own_") and path.parent.name == "docs":
        assert path.name in PYTHON_TESTS
