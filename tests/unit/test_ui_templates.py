"""What the templates, the style sheet and the script must never hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controlplane.ui.web import SECURITY_HEADERS, TEMPLATES, local_path

UI = Path(__file__).parents[2] / "controlplane" / "ui"
PAGES = sorted((UI / "templates").glob("*.html"))
STYLE = (UI / "static" / "style.css").read_text()
SCRIPT = (UI / "static" / "live.js").read_text()
TEXTS = ("text", "muted", "accent", "ok", "warn", "bad", "busy", "act")
SOFT = ("ok", "warn", "bad", "busy", "act")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_template_has_no_way_around_the_policy(page: Path) -> None:
    text = page.read_text()
    assert not re.search(r"\|\s*safe|autoescape|Markup", text)
    assert not re.search(r"\sstyle\s*=|\son[a-z]+\s*=|javascript:", text)
    assert re.findall(r"<script[^>]*>", text) in ([], ['<script src="/static/live.js" defer>'])
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_attribute_is_quoted_and_every_table_head_has_a_scope(page: Path) -> None:
    text = page.read_text()
    markup = re.sub(r"\{[{%#].*?[}%#]\}|>[^<]*<", "", text)
    assert "=" not in re.sub(r'=(\s*)"[^"]*"', "", markup)
    assert all("scope=" in head for head in re.findall(r"<th\b[^>]*>", text))


def test_templates_escape_everything() -> None:
    assert TEMPLATES.autoescape is True
    assert TEMPLATES.from_string("{{ x }}").render(x="<script>\"'") == "&lt;script&gt;&#34;&#39;"


def test_the_policy_allows_nothing_inline_and_nothing_foreign() -> None:
    policy = SECURITY_HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"https?:|data:|\*", policy)


def test_the_script_evaluates_nothing() -> None:
    assert not re.search(r"innerHTML|outerHTML\s*=|insertAdjacent|document\.write|eval\(|new Function", SCRIPT)


def test_nothing_is_loaded_from_elsewhere() -> None:
    assert not re.search(r"@import|url\(|https?:", STYLE)
    assert "http" not in SCRIPT


def palette(scheme: str) -> dict[str, str]:
    light, dark = STYLE.split("@media (prefers-color-scheme: dark)")[:2]
    found = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", light))
    return (
        found if scheme == "light" else found | dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", dark.split("}")[0]))
    )


def luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(scheme: str) -> None:
    colours = palette(scheme)
    pairs = [(text, ground) for text in TEXTS for ground in ("surface", "bg")]
    pairs += [(tone, f"{tone}-soft") for tone in SOFT] + [("muted", "idle-soft")]
    weak = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("place", ["//evil.example", "/\\evil.example", "https://evil.example", "", "/a\nb", "evil"])
def test_signing_in_leads_nowhere_else(place: str) -> None:
    assert local_path(place) == "/"
