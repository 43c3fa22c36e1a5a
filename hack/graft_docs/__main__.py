"""``python -m graft_docs``: write the generated pages that have changed."""

from __future__ import annotations

import sys

from graft_docs.reference import ROOT, generated_pages


def main() -> int:
    """Write the pages."""
    for path, content in generated_pages().items():
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
