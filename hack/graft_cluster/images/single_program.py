"""Images of one static program and nothing else, made without a build."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from graft_cluster.docker.client import Docker
from graft_cluster.steps import Step


def import_program(
    docker: Docker, step: Step, program: Path, reference: str, *, place: str = "", user: str = "0:0"
) -> None:
    """Make an image of one static program, started by its bare name or by default, or by the ``place`` it is put at."""
    archive = step.log.with_suffix(".tar")
    place = place or f"usr/local/bin/{program.name}"
    with tarfile.open(archive, "w") as tar:
        content = program.read_bytes()
        for name, mode in (("tmp", 0o1777), ("etc", 0o755)):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            tar.addfile(folder)
        member = tarfile.TarInfo(place)
        member.size, member.mode = len(content), 0o755
        tar.addfile(member, io.BytesIO(content))
    changes = ("-c", "ENV PATH=/usr/local/bin", "-c", f'ENTRYPOINT ["/{place}"]', "-c", f"USER {user}")
    docker.run(step, "import", *changes, archive, reference)
    archive.unlink()
