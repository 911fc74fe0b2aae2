"""The command line: its verbs, its one-line errors, its exit codes, and how little it imports."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import sysconfig
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from ray_jobs import cli
from ray_jobs.generation.finish import told_failures
from tests import ROOT
from tests.ldm.tiny_model import working_model

HEAVY = ("torch", "ray", "monai", "pyarrow", "pandas", "boto3", "nibabel", "scipy")
Run = Callable[[argparse.Namespace], int]


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Run], None]:
    """Puts a verb `press` with --n (needed) and --sampler into the table; it does `run`."""

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("uri", nargs="?")
        parser.add_argument("--n", type=int, required=True)
        parser.add_argument("--sampler", choices=["ddim", "ddpm"], default="ddim")

    def install(run: Run) -> None:
        module = types.ModuleType("press_of_the_test", "A verb of the test.")
        vars(module).update(add_arguments=add_arguments, run=run)
        monkeypatch.setitem(sys.modules, "press_of_the_test", module)
        monkeypatch.setitem(cli.VERBS, "press", cli.Verb("press_of_the_test", "prints", cli.PRINT))

    return install


def python(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        timeout=120,
        check=False,
    )


def test_the_help_lists_every_verb_under_its_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, verb in cli.VERBS.items():
        assert f"  {name} " in shown
        assert verb.help in shown
    assert shown.index("Train a model") < shown.index("Print a release")
    assert shown.index("Print a release") < shown.index("Read a release")


def test_no_verb_at_all_shows_the_help_and_is_wrong_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main([]) == 2
    assert "Read a release" in capsys.readouterr().out


@pytest.mark.parametrize("name", cli.VERBS)
def test_the_help_of_a_verb_imports_nothing_heavy(name: str) -> None:
    done = python(
        "-c",
        f"import sys; from ray_jobs.cli import main; code = main([{name!r}, '--help']);"
        f" print('HEAVY', *sorted(set({HEAVY}) & set(sys.modules))); sys.exit(code)",
    )
    assert done.returncode == 0, done.stderr
    assert f"usage: brainpress {name}" in done.stdout
    assert done.stdout.splitlines()[-1].strip() == "HEAVY"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["genrate"], "brainpress: unknown verb 'genrate'; did you mean 'generate'?"),
        (["train"], "unknown verb 'train': a model is trained by prepare, train-auto"),
        (["encode"], "unknown verb 'encode'; did you mean 'encode-latents'?"),
        (["sample"], "unknown verb 'sample'; did you mean 'generate'?"),
        (["--verson"], "brainpress: unknown option '--verson' (see brainpress --help)"),
        (["xyzzy"], "brainpress: unknown verb 'xyzzy' (see brainpress --help)"),
        (["press", "--smapler", "ddim"], "unknown option '--smapler'; did you mean '--sampler'?"),
        (["press", "--sampler=ddim", "--N=3"], "unknown option '--N'"),
        (["press", "-q", "--n", "1"], "unknown option '-q'"),
        (["press", "--n", "1", "a", "b"], "unexpected argument 'b'"),
        (["press"], "the following arguments are required: --n (see brainpress press --help)"),
        (["press", "--n", "many"], "press: --n: invalid int value: 'many'"),
        (["press", "--n", "1", "--sampler", "euler"], "--sampler: invalid choice: 'euler'"),
        (["press", "--n", "1", "--samp", "ddim"], "unknown option '--samp'"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line_and_exits_2(
    words: list[str],
    line: str,
    verb: Callable[[Run], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    verb(lambda arguments: pytest.fail("a wrong command line must not run"))
    assert cli.main(words) == 2
    told = capsys.readouterr()
    assert line in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


def test_a_negative_number_and_words_after_two_dashes_reach_the_verb(
    verb: Callable[[Run], None],
) -> None:
    seen = {}
    verb(lambda arguments: seen.update(vars(arguments)) or 0)
    assert cli.main(["press", "--n", "-5", "--", "--odd"]) == 0
    assert seen == {"n": -5, "sampler": "ddim", "uri": "--odd"}


@pytest.mark.parametrize(
    "words",
    [
        ["RELEASE", "SELECT 1", "--format", "csv"],
        ["RELEASE", "--format", "csv", "SELECT 1"],
        ["--format", "csv", "RELEASE", "SELECT 1"],
    ],
)
def test_options_may_stand_before_between_and_after_the_words(words: list[str]) -> None:
    found = cli.parser_of("query").parse_all(words)
    assert (found.release, found.sql, found.format) == ("RELEASE", "SELECT 1", "csv")


def test_what_a_verb_returns_is_the_exit_code(verb: Callable[[Run], None]) -> None:
    verb(lambda arguments: arguments.n)
    assert [cli.main(["press", "--n", str(code)]) for code in (0, 1)] == [0, 1]


class OutOfPaperError(Exception):
    exit_code = 1


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OutOfPaperError("no paper"), 1, "brainpress press: no paper\n"),
        (PermissionError(13, "Permission denied", "/x"), 1, "press: /x: Permission denied\n"),
        (OSError(28, "No space left on device"), 1, "press: No space left on device\n"),
        (
            ModuleNotFoundError("No module named 'ray'", name="ray.util"),
            2,
            "press: needs ray: pip install '.[press]' in a checkout of brainpress\n",
        ),
        (KeyboardInterrupt(), 130, "press: interrupted; the same command continues it\n"),
    ],
)
def test_an_error_that_a_user_can_mend_is_one_line(
    error: BaseException,
    code: int,
    line: str,
    verb: Callable[[Run], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(arguments: argparse.Namespace) -> int:
        raise error

    verb(run)
    assert cli.main(["press", "--n", "1"]) == code
    told = capsys.readouterr().err
    assert told.endswith(line)
    assert told.count("\n") == 1


@pytest.mark.parametrize("error", [KeyError("index"), ModuleNotFoundError("", name="ldm.gone")])
def test_a_fault_of_ours_keeps_its_traceback(error: Exception, verb: Callable[[Run], None]) -> None:
    def run(arguments: argparse.Namespace) -> int:
        raise error

    verb(run)
    with pytest.raises(type(error)):
        cli.main(["press", "--n", "1"])


def test_a_reader_who_leaves_early_gets_no_traceback() -> None:
    program = (
        "import sys, types; from ray_jobs import cli;"
        "press = types.ModuleType('press'); press.add_arguments = lambda parser: None;"
        "press.run = lambda arguments: [print('row', i) for i in range(200_000)] and 0;"
        "sys.modules['press'] = press;"
        "cli.VERBS['press'] = cli.Verb('press', 'prints', cli.PRINT);"
        "sys.exit(cli.main(['press']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"row 0\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 1


SCRIPTS = sorted(
    v.module.removeprefix("ray_jobs.") for v in cli.VERBS.values() if "ray_" in v.module
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_job_is_also_a_script_of_a_checkout_that_is_not_installed(
    name: str, tmp_path: Path
) -> None:
    packages = sysconfig.get_path("purelib")  # as a path alone, which leaves out what is editable
    done = subprocess.run(
        [sys.executable, "-S", ROOT / "ray_jobs" / f"{name}.py", "--no-such-option"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": packages},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    verb = name.replace("_", "-")
    assert done.returncode == 2
    assert done.stderr.startswith(f"brainpress {verb}: unknown option '--no-such-option'")
    assert done.stderr.count("\n") == 1


def test_a_script_does_not_leave_its_siblings_importable_as_top_level_modules(
    monkeypatch: pytest.MonkeyPatch, verb: Callable[[Run], None]
) -> None:
    paths: list[str] = []
    verb(lambda arguments: paths.extend(sys.path) or 0)
    monkeypatch.setenv("PYTHONPATH", "/some/where")
    monkeypatch.setattr(sys, "path", [str(ROOT / "ray_jobs"), *sys.path])
    monkeypatch.setattr(sys, "argv", ["ray_jobs/press.py", "--n", "1"])
    assert cli.script("press") == 0
    assert paths[0] == str(ROOT)
    assert str(ROOT / "ray_jobs") not in paths
    assert os.environ["PYTHONPATH"] == os.pathsep.join([str(ROOT), "/some/where"])


def test_a_terminal_that_lacks_the_letters_of_a_path_gets_their_escapes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from ray_jobs.cli import main; print('x'); main(['--version']); "
         "print('größe')"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("gr\\xf6\\xdfe\n")


def test_commands_to_copy_are_what_a_shell_takes_for_one_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "it's größe 100% 🧠"
    told_failures(1, 2, str(place))
    command = capsys.readouterr().err.partition("see them with: ")[2]
    assert shlex.split(command)[:4] == ["brainpress", "query", str(place), "--where"]
    model = working_model(tmp_path / "model")
    assert cli.main(["export-bundle", str(tmp_path / "model"), str(place)]) == 0
    said = capsys.readouterr().out
    assert f"model {model.name} as a MONAI bundle: {place}" in said
    assert shlex.split(said.partition("next  ")[2])[:3] == ["cd", str(place), "&&"]
