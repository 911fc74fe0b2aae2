"""The pictures of docs/page.md: a release's page on a desktop, and on a phone in the dark.

    python -m tests.benchmarks.page_pictures RELEASE docs

RELEASE is a published folder with label maps; Chromium is the system's.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import io
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

SIDE, GAP = 720, 16  # height of a picture and space between its panels, in pixels
DESKTOP = {"viewport": {"width": 1080, "height": 1080}, "color_scheme": "light"}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "color_scheme": "dark",
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 2,
}
FILTER, SAMPLE = "where.age=40..", "sub-000003"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("release", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    with served(arguments.release) as url, chromium() as browser:
        desktop = [
            shot(browser, url, DESKTOP),
            shot(browser, f"{url}#{FILTER}", DESKTOP, at="#filters"),
        ]
        phone = [
            shot(browser, url, PHONE),
            shot(browser, f"{url}#{FILTER}", PHONE, at="#filters", opened="#filters"),
            shot(browser, f"{url}#{FILTER}", PHONE, at="#images"),
            shot(browser, f"{url}#sample={SAMPLE}", PHONE, regions=True),
        ]
    beside(desktop).save(arguments.out / "page.png", optimize=True)
    beside(phone).save(arguments.out / "page-phone.png", optimize=True)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """`python -m http.server`, without its log."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/index.html"
    server.shutdown()


@contextmanager
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        path = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def shot(
    browser: Any,
    url: str,
    how: dict[str, Any],
    *,
    at: str | None = None,
    opened: str | None = None,
    regions: bool = False,
) -> Image.Image:
    """The page as it is seen, scrolled to `at`, with the details `opened` open."""
    page = browser.new_context(reduced_motion="reduce", **how).new_page()
    page.goto(url)
    page.wait_for_selector("#rows tbody a", state="attached")
    if opened:
        page.evaluate("(part) => { document.querySelector(part).open = true; }", opened)
    if at:
        page.evaluate("(part) => document.querySelector(part).scrollIntoView()", at)
    if regions:
        page.wait_for_selector("#planes:not(.empty)")
        page.check("#viewer-regions-on")
    page.wait_for_timeout(1500)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def beside(panels: Sequence[Image.Image]) -> Image.Image:
    """The panels at one height, beside each other, in the few colours that they have."""
    scaled = [
        panel.resize((round(panel.width * SIDE / panel.height), SIDE), Image.Resampling.LANCZOS)
        for panel in panels
    ]
    width = sum(panel.width for panel in scaled) + GAP * (len(scaled) - 1)
    whole = Image.new("RGB", (width, SIDE), "gray")
    left = 0
    for panel in scaled:
        whole.paste(panel, (left, 0))
        left += panel.width + GAP
    return whole.quantize(256, dither=Image.Dither.NONE)


if __name__ == "__main__":
    main()
