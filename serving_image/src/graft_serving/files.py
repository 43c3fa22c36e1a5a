"""Small files that must survive a crash of the agent: whole, or not there.

They live no longer than the pod, so nothing is forced to the disk: a crash of the node takes them all.
"""

from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file's content in one step; its folder is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    incoming = path.with_name(f".{path.name}.incoming")
    incoming.write_bytes(content)
    incoming.replace(path)


def read_if_there(path: Path) -> bytes | None:
    """The file's content, or None if there is no such file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
