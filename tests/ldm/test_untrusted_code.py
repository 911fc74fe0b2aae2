"""No code of ours runs what it reads: a search through every module for what could."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests import ROOT

MODULES = sorted(
    path
    for package in ("ldm", "manifests", "ray_jobs", "infra")
    for path in (ROOT / package).rglob("*.py")
)
# A call by its dotted name, and the keyword (with its value) without which it is refused.
NEEDS: dict[str, tuple[str, object]] = {
    "torch.load": ("weights_only", True),
    "tarfile.open": ("mode", "r|"),  # to read through, uncompressed; what unpacks is refused below
    "zipfile.ZipFile.extractall": ("", None),
}
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load",
    "yaml.unsafe_load",
    "pickle.load", "pickle.loads", "pickle.Unpickler", "dill.load", "dill.loads", "joblib.load",
    "cloudpickle.load", "cloudpickle.loads", "shelve.open", "marshal.load", "marshal.loads",
    "torch.hub.load", "torch.jit.load", "pd.read_pickle", "pandas.read_pickle",
    "monai.bundle.run", "monai.bundle.load", "shutil.unpack_archive",
}  # fmt: skip
FORBIDDEN_KEYWORDS = {("shell", True), ("allow_pickle", True), ("trust_remote_code", True)}
FORBIDDEN_METHODS = {"extract", "extractall", "get_parsed_content"}  # archives', MONAI's


def dangers(source: str) -> Iterator[str]:
    """What in a module could run what it reads, with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names]
            module = getattr(node, "module", None)
            if {module, *names} & {"dill", "joblib", "cloudpickle", "marshal", "shelve"}:
                yield f"{node.lineno}: imports {module or names}"
            if module == "pickle":
                yield f"{node.lineno}: names of pickle by themselves"
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in FORBIDDEN_CALLS or name.rpartition(".")[2] in FORBIDDEN_METHODS:
            yield f"{node.lineno}: {name}"
        given = {k.arg: getattr(k.value, "value", "computed") for k in node.keywords}
        for keyword, value in FORBIDDEN_KEYWORDS:
            if keyword in given and given[keyword] != (not value):
                yield f"{node.lineno}: {name}({keyword}={given[keyword]})"
        if name in NEEDS and given.get(NEEDS[name][0], object()) != NEEDS[name][1]:
            yield f"{node.lineno}: {name} without {NEEDS[name][0] or 'leave'}"


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "pickle.loads(data)",
        "from pickle import loads",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "eval(text)",
        "yaml.load(text)",
        "subprocess.run(text, shell=True)",
        "archive.extractall(folder)",
        "archive.extract(member, folder)",
        "tarfile.open(path)",
        "tarfile.open(path, mode='r:gz')",
        "import joblib",
    ],
)
def test_the_search_finds_what_it_searches_for(line: str) -> None:
    assert list(dangers(line))


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path, weights_only=True)",
        "np.load(path, mmap_mode='r')",
        "np.load(path, allow_pickle=False)",
        "network.eval()",
        "tarfile.open(fileobj=stream, mode='r|')",
        "re.compile(text)",
        "try:\n    pass\nexcept pickle.UnpicklingError:\n    pass",
    ],
)
def test_the_search_lets_pass_what_is_harmless(line: str) -> None:
    assert list(dangers(line)) == []


def test_no_module_runs_what_it_reads() -> None:
    assert len(MODULES) > 100
    found = {str(p.relative_to(ROOT)): list(dangers(p.read_text())) for p in MODULES}
    assert {path: lines for path, lines in found.items() if lines} == {}
