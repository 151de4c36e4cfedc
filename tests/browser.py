"""A real browser on the real UI: for tests, and for the pictures in docs/."""

import contextlib
import os
import shutil
from collections.abc import Iterator

from playwright.sync_api import Page, sync_playwright

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 120_000
"""Milliseconds that a page may take on a busy machine."""


@contextlib.contextmanager
def browsing(width: int = 1400, height: int = 800) -> Iterator[Page]:
    """An empty page in a headless Chromium of this machine."""
    program = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    assert program, "no Chromium found; make browser"
    with sync_playwright() as playwright:
        # Chromium refuses its sandbox to root.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(PATIENCE)
        yield page
        browser.close()


def show(page: Page, address: str) -> None:
    """Open an address of the UI as a fresh visit, which one that differs after # alone would not be."""
    page.goto("data:,")
    page.goto(address)


def dismiss_banner(page: Page) -> None:
    """Close the line that says that the view is a shared one."""
    page.get_by_role("button", name="Hide banner").click()
