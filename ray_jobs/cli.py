"""The command line `brainpress VERB ...`: the table of verbs, and how their errors are told."""

from __future__ import annotations

import argparse
import difflib
import importlib
import io
import os
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple, NoReturn

from ray_jobs.places import refuse_fleeting

COMPLETE, INCOMPLETE, USAGE, INTERRUPTED = 0, 1, 2, 130


class Verb(NamedTuple):
    """One verb: the module that has its `add_arguments` and `run`, and its line in the help."""

    module: str
    help: str
    group: str


TRAIN, PRINT, READ = "Train a model", "Print a release", "Read a release"
PUBLISH = "Publish a release"

VERBS: dict[str, Verb] = {
    "preset": Verb("ray_jobs.preset", "write a preset out as a file, to be edited", TRAIN),
    "prepare": Verb("ray_jobs.prepare", "a BIDS cohort becomes prepared volumes", TRAIN),
    "train-autoencoder": Verb(
        "ray_jobs.train_autoencoder", "train the autoencoder on prepared volumes", TRAIN
    ),
    "encode-latents": Verb(
        "ray_jobs.encode_latents", "encode the prepared volumes once, for train-diffusion", TRAIN
    ),
    "train-diffusion": Verb(
        "ray_jobs.train_diffusion", "train the diffusion model on the latents", TRAIN
    ),
    "train-private": Verb(
        "ray_jobs.train_private", "tune a public model on people, with differential privacy", TRAIN
    ),
    "train-decoder": Verb(
        "ray_jobs.train_decoder", "train a refiner, which draws a model's fine structure", TRAIN
    ),
    "train-gan": Verb(
        "ray_jobs.train_gan", "train a baseline, LSGAN or VAE-GAN, on prepared volumes", TRAIN
    ),
    "calibrate": Verb(
        "ray_jobs.calibrate", "make a model follow what is asked, by its evaluation", TRAIN
    ),
    "generate": Verb("ray_jobs.generate", "print N synthetic volumes into a release", PRINT),
    "status": Verb("ray_jobs.status", "how far a release or a training is", PRINT),
    "segment": Verb("ray_jobs.segment", "label maps of the images of a release", PRINT),
    "evaluate": Verb(
        "ray_jobs.evaluate", "Table 1, conditioning, privacy: a release against real people", PRINT
    ),
    "export-bundle": Verb(
        "ray_jobs.export_bundle", "write a model as a MONAI bundle, which MONAI alone runs", PRINT
    ),
    "publish": Verb(
        "manifests.commands.publish", "check it, stamp it, give it a page, open it", PUBLISH
    ),
    "withdraw": Verb("manifests.commands.withdraw", "take out samples found bad later", PUBLISH),
    "unpublish": Verb("manifests.commands.unpublish", "close a public release again", PUBLISH),
    "info": Verb("ray_jobs.info", "what a release, model, cohort or run is, and how made", READ),
    "view": Verb("ray_jobs.view", "look at a release, report, cohort or model", READ),
    "query": Verb("manifests.commands.query", "rows of the manifest, by a filter or SQL", READ),
    "download": Verb("manifests.commands.download", "a release, or a part of it, to disk", READ),
    "verify": Verb("manifests.commands.verify", "check every byte of a release", READ),
    "mirror": Verb("manifests.commands.mirror", "the same release in another place", READ),
    "diff": Verb("manifests.commands.diff", "how two versions or releases differ", READ),
    "shards": Verb("manifests.commands.shards", "a release as WebDataset shards, to train", READ),
}

# What people say for a verb.
MEANT = {
    **dict.fromkeys(("sample", "print", "make", "synthesize", "synthesise"), "generate"),
    **dict.fromkeys(("show", "open", "serve", "browse", "look", "demo"), "view"),
    **dict.fromkeys(("check", "validate"), "verify"),
    **dict.fromkeys(("fetch", "pull", "get"), "download"),
    **dict.fromkeys(("metrics", "eval", "test"), "evaluate"),
    **dict.fromkeys(("select", "filter", "sql"), "query"),
    **dict.fromkeys(("describe", "ls", "list"), "info"),
    "encode": "encode-latents",
    "export": "export-bundle",
    "copy": "mirror",
}
TRAINING = (
    "a model is trained by prepare, train-autoencoder, encode-latents and train-diffusion, in this "
    "order; train-gan trains a baseline"
)

_OWN_PACKAGES = frozenset({"ldm", "manifests", "ray_jobs"})


class UsageError(Exception):
    """A wrong command line: one line that says what was found and what was expected."""

    exit_code = USAGE


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `UsageError`, and names the closest option it knows."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message.removeprefix('argument ')} (see {self.prog} --help)")

    def parse_all(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse `argv`; a misspelt option is told before whatever else is missing.

        Raises:
            UsageError: an unknown option or argument, or a value that does not fit.
        """
        before_dashes = argv[: argv.index("--")] if "--" in argv else argv
        for word in before_dashes:
            option = word.split("=", 1)[0]
            if option.startswith("--") and option not in self._option_string_actions:
                self.error(_unknown("option", option, self._option_string_actions))
        # Python 3.11 does not know "--" among words that options stand between.
        parse = self.parse_known_args if "--" in argv else self.parse_known_intermixed_args
        namespace, left = parse(argv)
        if left and left[0].startswith("-"):
            self.error(_unknown("option", left[0], self._option_string_actions))
        if left:
            self.error(f"unexpected argument {left[0]!r}")
        return namespace


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        0 complete, 1 incomplete or a check failed, 2 wrong usage, 130 interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    _show_what_cannot_be_encoded()
    if not words or words[0] in ("-h", "--help", "help"):
        print(help_text(), end="")
        return COMPLETE if words else USAGE
    if words[0] == "--version":
        print(f"brainpress {_version()}")
        return COMPLETE
    name = words[0]
    if name not in VERBS:
        kind = "option" if name.startswith("-") else "verb"
        print(f"brainpress: {_unknown(kind, name, VERBS)} (see brainpress --help)", file=sys.stderr)
        return USAGE
    return _run(name, words[1:])


def script(verb: str) -> int:
    """Run `verb` with the options of this process: `ray_jobs/VERB.py` as a script ends with it.

    A script's own folder is on its import path, where `status.py` and its siblings would be
    top-level modules; the checkout's root takes its place, for the processes of an own Ray too.
    """
    here = Path(__file__).resolve().parent
    root = str(here.parent)
    others = (path for path in sys.path if Path(path or ".").resolve() not in (here, here.parent))
    sys.path[:] = [root, *others]
    inherited = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if root not in inherited:
        os.environ["PYTHONPATH"] = os.pathsep.join([root, *inherited])
    return main([verb, *sys.argv[1:]])


def parser_of(name: str) -> Parser:
    """The parser of one verb, with all its options; imports only that verb's module."""
    module = importlib.import_module(VERBS[name].module)
    parser = Parser(
        prog=f"brainpress {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    return parser


def help_text() -> str:
    """The verbs by group, one line each."""
    width = max(map(len, VERBS))
    lines = ["usage: brainpress VERB [options]        brainpress VERB --help", ""]
    for group in dict.fromkeys(verb.group for verb in VERBS.values()):
        lines.append(f"{group}:")
        members = [(name, verb) for name, verb in VERBS.items() if verb.group == group]
        lines += [f"  {name:<{width}}  {verb.help}" for name, verb in members]
        lines.append("")
    lines.append("Exit codes: 0 complete, 1 incomplete or a check failed, 2 wrong usage,")
    lines.append("130 and 143 stopped by Ctrl-C or SIGTERM: the same command goes on.")
    return "\n".join(lines) + "\n"


def _run(name: str, words: Sequence[str]) -> int:
    """Parse and run one verb; an error that a user can mend becomes one line."""
    try:
        try:
            arguments = parser_of(name).parse_all(words)
        except SystemExit as stop:  # --help
            return int(stop.code or 0)
        refuse_fleeting(arguments)
        code: int = importlib.import_module(VERBS[name].module).run(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _tell(name, "interrupted; the same command continues it", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INCOMPLETE
    except Exception as error:
        told = _explain(error)
        if told is None or os.environ.get("BRAINPRESS_TRACEBACK"):
            raise
        return _tell(name, *told)


def _explain(error: Exception) -> tuple[str, int] | None:
    """The line and exit code of an error that a user can mend; None for a fault of ours."""
    exit_code = getattr(error, "exit_code", None)
    if isinstance(exit_code, int):
        return str(error), exit_code
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.split(".")[0]
        if package not in _OWN_PACKAGES:  # the light install, asked for a verb of the press
            return f"needs {package}: pip install '.[press]' in a checkout of brainpress", USAGE
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{error.strerror}", INCOMPLETE
    return None


def _show_what_cannot_be_encoded() -> None:
    """A terminal that lacks a letter of a path gets its escape, as stderr does, not an error."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _tell(name: str, message: str, code: int) -> int:
    """One line on stderr: no control characters of a stranger's, and no credentials."""
    from manifests.text import printable, without_credentials

    print(f"brainpress {name}: {printable(without_credentials(message))}", file=sys.stderr)
    return code


def _unknown(kind: str, word: str, known: Iterable[str]) -> str:
    """`unknown option '--nn'; did you mean '--n'?`"""
    if kind == "verb" and word == "train":
        return f"unknown verb {word!r}: {TRAINING}"
    if kind == "verb" and word in MEANT:
        return f"unknown verb {word!r}; did you mean {MEANT[word]!r}?"
    closest = difflib.get_close_matches(word, [k for k in known if k], n=1, cutoff=0.5)
    hint = f"; did you mean {closest[0]!r}?" if closest else ""
    return f"unknown {kind} {word!r}{hint}"


def _version() -> str:
    try:
        return version("brainpress")
    except PackageNotFoundError:  # a checkout on PYTHONPATH, as `--working-dir .` makes it
        return "(not installed)"


if __name__ == "__main__":
    raise SystemExit(main())
