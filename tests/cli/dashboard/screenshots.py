"""Takes the screenshots of docs/screenshots: `make dashboard-screenshots`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cli.dashboard.chromium import NARROW, chromium, go, opened_page
from tests.cli.dashboard.scene import dashboard, scene
from tests.unit.cli.objects import LATER

FOLDER = Path(__file__).resolve().parents[3] / "docs/screenshots"
WIDE: Any = {"width": 1100, "height": 760}
SHOTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("dashboard-overview", "", {"viewport": WIDE}),
    ("dashboard-adapter-dark", "adapter/team-a/topic", {"viewport": WIDE, "color_scheme": "dark"}),
    ("dashboard-base", "base/team-a/tiny", {"viewport": WIDE}),
    ("dashboard-360px", "adapter/team-a/support", {"viewport": {"width": NARROW, "height": 740}}),
)
"""Name, view, and how the browser is."""


def main() -> None:
    """Take them all."""
    FOLDER.mkdir(exist_ok=True)
    with dashboard(scene()) as server, chromium() as browser:
        for name, view, options in SHOTS:
            with opened_page(browser, **options) as page:
                page.clock.set_fixed_time(LATER)
                go(page, server.url, view)
                page.locator("#seen").evaluate("(one) => one.remove()")  # it would be another picture every time
                page.screenshot(path=FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
