"""Wrong inputs to `generate`: one clear line and an exit code each, before anything starts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from manifests.ledger import Ledger
from manifests.storage import open_store
from ray_jobs import cli
from ray_jobs.cluster import Cluster
from ray_jobs.generation.options import Device, Options
from ray_jobs.generation.start import begin, check, fields_of
from ray_jobs.generation.worker.environment import Native
from tests.e2e.running import tiny_model
from tests.servers import S3Server


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these is told before Ray is asked for anything."""

    def refuse(options: Options) -> Cluster:
        raise AssertionError("Ray was started for a wrong input")

    monkeypatch.setattr("ray_jobs.generation.job.connect", refuse)


def told(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """The exit code and the one line that the command ends with."""
    code = cli.main(["generate", *map(str, words)])
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1, said.err
    assert said.err.startswith("brainpress generate: ")
    return code, said.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--n", "0"], "--n 0: expected at least 1"),
        (["--n", "-5"], "--n -5: expected at least 1"),
        (["--n", "4", "--stepz", "9"], "unknown option '--stepz'; did you mean '--steps'?"),
        (["--n", "4", "--sampler", "euler"], "invalid choice: 'euler'"),
        (["--n", "4", "--fix", "age"], "expected name=value"),
        (["--n", "4", "--fix", "agee=70"], "did you mean age"),
        (["--n", "4", "--fix", "age=old"], "age is 'old'"),
        (["--n", "4", "--fix", "sex=X"], "expected one of F, M"),
        (["--n", "4", "--covariates", "nobody.csv"], "nobody.csv: no such file"),
        (["--n", "4", "--covariates", "cohorte"], "expected cohort, uniform, or a .csv or .tsv"),
        (["--n", "4", "--shard-size", "7", "--batch-size", "2"], "a multiple, such as 8"),
        (["--n", "4", "--steps", "1001"], "1001"),
        (["--n", "4", "--eta", "0.5", "--sampler", "dpm++2m"], "only ddim takes an eta"),
        (["--n", "4", "--eta", "1.5"], "eta 1.5: expected 0 (deterministic) to 1"),
        (["--n", "4", "--guidance", "3"], "trained with its conditions always given"),
        (["--n", "4", "--guidance", "0"], "model.sample(unconditional=True)"),
    ],
)
def test_a_wrong_option_gets_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str],
    model: Path,
    tmp_path: Path,
    words: list[str],
    message: str,
) -> None:
    code, line = told(
        capsys,
        "--model",
        model,
        "--out",
        tmp_path / "out",
        "--device",
        "cpu",
        "--precision",
        "fp32",
        *words,
    )
    assert code == 2
    assert message in line
    assert not (tmp_path / "out").exists()


def test_an_out_nobody_can_write_to_is_refused(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    code, line = told(capsys, "--n", 4, "--model", model, "--out", tmp_path / "file" / "release")
    assert (code, "cannot write" in line) == (2, True)


def test_a_bucket_that_does_not_exist_is_refused(
    capsys: pytest.CaptureFixture[str], model: Path, s3: S3Server
) -> None:
    code, line = told(capsys, "--n", 4, "--model", model, "--out", "s3://no-such-bucket/release")
    assert code == 2
    assert "bucket 'no-such-bucket' does not exist" in line


def test_wrong_credentials_are_refused_and_never_shown(
    capsys: pytest.CaptureFixture[str], model: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    code, line = told(capsys, "--n", 4, "--model", model, "--out", f"s3://{bucket}/release")
    assert code == 2
    assert "credentials" in line
    assert "not-the-secret" not in line


@pytest.mark.parametrize(
    "damage", ["model.json", "covariates.json", "denoiser.safetensors", "autoencoder.safetensors"]
)
@pytest.mark.parametrize("how", ["missing", "truncated"])
def test_a_damaged_model_folder_is_refused_with_the_file_named(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path, damage: str, how: str
) -> None:
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    if how == "missing":
        (copy / damage).unlink()
    else:
        data = (copy / damage).read_bytes()
        (copy / damage).write_bytes(data[: len(data) // 2])
    code, line = told(capsys, "--n", 4, "--model", copy, "--out", tmp_path / "out")
    assert code == 2
    assert damage in line
    assert not (tmp_path / "out").exists()


def test_no_model_at_all_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, line = told(capsys, "--n", 4, "--model", "nowhere", "--out", tmp_path / "out")
    assert (code, "no model 'nowhere'" in line) == (2, True)


def begun(model: Path, out: Path, **changes: object) -> None:
    """A release begun at `out` and left at once."""
    options = Options(**{"n": 20, "out": str(out), "model": str(model), **changes})  # type: ignore[arg-type]
    request = check(options)
    begin(request, fields_of(request, device=Device.CPU, native=Native(precision="fp32")))


def test_another_fingerprint_is_refused_and_every_field_that_differs_is_named(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    begun(model, tmp_path / "out")
    code, line = told(
        capsys,
        "--n",
        20,
        "--model",
        model,
        "--out",
        tmp_path / "out",
        "--seed",
        1,
        "--steps",
        20,
        "--fix",
        "age=70",
        "--batch-size",
        2,
    )
    assert code == 2
    for difference in ("seed is 0 there and 1 now", "steps is 50 there and 20 now"):
        assert difference in line
    for name in ("fixed", "batch_size"):
        assert name in line
    for same in ("model", "sampler", "shard_size", "precision", "device"):
        assert f"{same} is" not in line


def test_another_model_is_refused_by_name(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    begun(model, tmp_path / "out")
    other = tiny_model(tmp_path / "other", name="other")
    code, line = told(capsys, "--n", 20, "--model", other, "--out", tmp_path / "out")
    assert (code, "model is 'tiny' there and 'other' now" in line) == (2, True)


def test_a_smaller_n_than_was_begun_is_refused(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    begun(model, tmp_path / "out")
    code, line = told(capsys, "--n", 9, "--model", model, "--out", tmp_path / "out")
    assert code == 2
    assert "was begun with --n 20 and is not finished" in line
    assert Ledger(open_store(tmp_path / "out")).target() == 20


def test_a_folder_that_holds_something_else_is_refused(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("\\begin{document}")
    options = Options(n=4, out=str(tmp_path), model=str(model))
    request = check(options)
    with pytest.raises(ValueError, match=r"holds thesis\.tex"):
        begin(request, fields_of(request, device=Device.CPU, native=Native(precision="fp32")))


def test_sizes_device_and_precision_left_out_are_those_of_the_plan_that_is_there(
    model: Path, tmp_path: Path
) -> None:
    begun(model, tmp_path / "out", batch_size=5, shard_size=10, precision="bf16")
    request = check(Options(n=20, out=str(tmp_path / "out"), model=str(model)))
    fields = fields_of(request, device=Device.CUDA)
    assert (fields["batch_size"], fields["shard_size"]) == (5, 10)
    assert (fields["device"], fields["precision"]) == ("cpu", "bf16")
    assert begin(request, fields).pending == [0, 1]


NO_COMPILER = "RuntimeError: Failed to find C compiler"


@pytest.mark.parametrize(
    ("n", "device", "compile_option", "not_compiled", "compiled"),
    [
        (256, Device.CUDA, "auto", None, True),
        (255, Device.CUDA, "auto", None, False),
        (256, Device.CUDA, "auto", NO_COMPILER, False),
        (256, Device.CPU, "auto", None, False),
        (256, Device.CUDA, "off", None, False),
        (4, Device.CPU, "on", None, True),
    ],
)
def test_networks_are_compiled_on_a_gpu_for_releases_worth_it_or_where_asked(
    model: Path,
    tmp_path: Path,
    n: int,
    device: Device,
    compile_option: str,
    not_compiled: str | None,
    compiled: bool,
) -> None:
    request = check(Options(n=n, out=str(tmp_path), model=str(model), compile=compile_option))
    native = Native(precision="bf16", not_compiled=not_compiled)
    fields = fields_of(request, device=device, native=native)
    assert fields.get("compiled", False) == compiled
    assert ("compiled" in fields) == compiled  # older plans have no such field, and stay equal


def test_a_release_goes_on_compiled_as_it_was_begun(model: Path, tmp_path: Path) -> None:
    options = {"out": str(tmp_path / "out"), "model": str(model)}
    first = check(Options(n=4, **options, compile="on"))
    begin(first, fields_of(first, device=Device.CPU, native=Native(precision="fp32")))
    again = check(Options(n=8, **options))
    assert fields_of(again, device=Device.CPU)["compiled"] is True
    other = check(Options(n=8, **options, compile="off"))
    with pytest.raises(ValueError, match="compiled"):
        begin(other, fields_of(other, device=Device.CPU))


@pytest.mark.parametrize(("gib", "batch"), [(80, 16), (None, 8)])
def test_a_gpus_batch_is_what_its_memory_holds(
    model: Path, tmp_path: Path, gib: int | None, batch: int
) -> None:
    request = check(Options(n=64, out=str(tmp_path), model=str(model)))
    memory = None if gib is None else gib * 2**30
    fields = fields_of(request, device=Device.CUDA, native=Native(memory_bytes=memory))
    assert (fields["batch_size"], fields["shard_size"]) == (batch, 64)
