"""A colleague moves a slider of the demonstration model, in a real browser.

Skipped where there is no Chromium (Debian: apt install chromium).
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"]
PATIENCE_MS = 120_000  # a second on an idle core
MEASURED = "#status:has-text('and measured')"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    words = [sys.executable, "-m", "ray_jobs.cli", "view", "demo", "--no-browser"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as view:
        assert view.stdout is not None
        lines = [view.stdout.readline() for _ in range(2)]
        assert lines[0] == "model: demo\n"
        yield lines[1].split()[1]
        view.send_signal(signal.SIGINT)
        assert view.wait(timeout=60) == 0


@pytest.fixture
def page() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(PATIENCE_MS)
        yield page
        browser.close()


def pictures(page: Any) -> list[str]:
    read = "(canvases) => canvases.map((canvas) => canvas.toDataURL())"
    return list(page.eval_on_selector_all("#planes canvas", read))


def cell(page: Any, name: str, column: int) -> str:
    return str(page.inner_text(f"#compared tr:has(th:text-is('{name}')) td >> nth={column}"))


def test_larger_ventricles_are_drawn_measured_and_made_a_command(page: Any, address: str) -> None:
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_selector(MEASURED)
    assert page.locator("#covariates .covariate").count() == 4
    assert page.locator("#covariates input[type=range]").count() == 3
    before, small = pictures(page), float(cell(page, "ventricular volume", 1).split()[0])
    assert len(set(before)) == 3

    page.click("#command-button")
    assert page.inner_text("#command").split()[-4:] == ["--n", "16", "--out", "such-people"]
    field = page.locator("[aria-label='ventricular_volume in mm3']")
    field.fill("70000")
    field.press("Enter")
    age = page.locator("#of-age")
    age.fill("75")
    assert cell(page, "age", 1) == "…", "an old measure stands beside what is asked now"
    page.wait_for_selector(MEASURED)
    assert cell(page, "ventricular volume", 0) == "70 mL"
    assert cell(page, "age", 0) == "75 year"
    large = float(cell(page, "ventricular volume", 1).split()[0])
    assert large > small + 10
    assert not set(pictures(page)) & set(before)
    words = shlex.split(page.inner_text("#command"))
    fixed = [words[i + 1] for i, word in enumerate(words) if word == "--fix"]
    assert sorted(fixed) == ["age=75", "ventricular_volume=70000"]

    field.fill("-5")
    field.press("Enter")
    page.wait_for_selector("#status:has-text('ventricular_volume is -5: expected')")
    refused = [text for text in complaints if "400" not in text]
    assert refused == []
    assert {url.split("/")[2] for url in asked} == {address.split("/")[2]}

    page.click("#reset")
    page.wait_for_selector(MEASURED)
    assert pictures(page) == before, "one noise and the same people give the same picture"
