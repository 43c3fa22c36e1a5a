"""The table of docs/methods.md, from the manifests of published versions."""

from __future__ import annotations

from pathlib import Path

from graft_registry.documents import VersionManifest

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

SERVED = {"MultiAdapter": "beside others", "Merged": "merged", "None": "not served"}


class MethodsTable:
    """One row for each version."""

    def __init__(self, *, steps: int) -> None:
        self._steps = steps
        self._rows: list[str] = []

    def add(self, manifest: VersionManifest) -> None:
        """Add a version."""
        metrics, merge = manifest.metrics, manifest.merge
        size = next(file.size for file in manifest.files if file.path == "adapter_model.safetensors")
        cells = (
            manifest.method,
            f"{metrics.eval_loss:.3f}",
            f"{manifest.shape.trainable_parameters:,}",
            f"{size / 1000:.1f}",
            str(manifest.shape.rank or "–"),
            SERVED[manifest.servable],
            "–" if merge is None else f"{merge.mean_kl:.1e}",
            "–" if merge is None else f"{merge.max_logit_difference:.1e}",
        )
        self._rows.append(f"| {' | '.join(cells)} |")

    def write(self, path: Path) -> None:
        """Replace the table between the marks of a document."""
        before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        path.write_text(f"{before}{BEGIN}\n{self._text()}\n{END}{after}", encoding="utf-8")

    def _text(self) -> str:
        columns = (
            "method",
            "evaluation loss",
            "trained parameters",
            "adapter (kB)",
            "published rank",
            "engines serve it",
            "merged: mean KL (nats)",
            "largest logit difference",
        )
        head = f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
        return f"After {self._steps} steps:\n\n{head}\n" + "\n".join(self._rows)
