"""Takes a picture of a page of the admin UI: python docs/screenshot.py URL TOKEN_FILE OUT.png [dark] [width] [full].

TOKEN_FILE holds a token, or is a data folder's credentials.json. A page wears Inter where it is installed
(Debian: fonts-inter), else the system's font.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.parse import urljoin

from playwright.sync_api import sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]  # fmt: skip


def token_in(file: Path) -> str:
    """The token in a file, or the admin token in a credentials file."""
    text = file.read_text().strip()
    return str(json.loads(text)["admin"]) if text.startswith("{") else text


def take(url: str, token: str, out: Path, *, dark: bool = False, width: int = 1360, full: bool = False) -> None:
    """Sign in as a person would, open the page, and write the picture."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        scheme = "dark" if dark else "light"
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, device_scale_factor=2)
        page.goto(urljoin(url, "/login"))
        page.fill("#token", token)
        page.click("main button")
        page.wait_for_selector("#live")
        page.goto(url)
        page.wait_for_selector("main")
        page.screenshot(path=str(out), full_page=full)
        browser.close()


if __name__ == "__main__":
    address, token_file, target, *options = sys.argv[1:]
    wide = next((int(option) for option in options if option.isdigit()), 1360)
    take(address, token_in(Path(token_file)), Path(target), dark="dark" in options, width=wide, full="full" in options)
