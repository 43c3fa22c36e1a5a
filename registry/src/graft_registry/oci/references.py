"""What names an artifact: ``oci://registry/repository:tag@digest``. Pure."""

import re
from dataclasses import dataclass
from typing import Final, Self

from graft_registry.errors import InvalidArtifact

SCHEME: Final = "oci://"
_DOCKER_HUB: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)(:[0-9]{1,5})?")
_REPOSITORY: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_LOCAL: Final = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|\[::1\]")


@dataclass(frozen=True, slots=True)
class Reference:
    """A registry's host with its port, a repository in it, and a tag, a digest, or both: then the digest counts."""

    host: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference as people write it, with or without ``oci://``; without a tag it is ``latest``.

        Raises:
            InvalidArtifact: it is none; the message says which part is wrong.
        """
        rest, at, digest = text.removeprefix(SCHEME).partition("@")
        if at and not _DIGEST.fullmatch(digest):
            raise InvalidArtifact(f"{text}: the digest must be sha256: and 64 lowercase hex digits, got {digest!r}")
        host, repository, tag = _split(rest, has_host=text.startswith(SCHEME))
        host, repository = _as_docker_does(host, repository)
        if "://" in rest or not _HOST.fullmatch(host):
            raise InvalidArtifact(f"{text}: not of the form oci://registry/repository:tag")
        if not repository or not _REPOSITORY.fullmatch(repository):
            hint = f"; did you mean {repository.lower()}?" if repository != repository.lower() else ""
            raise InvalidArtifact(f"{text}: {repository!r} is not a repository's name (lowercase, / between){hint}")
        if tag is not None and not _TAG.fullmatch(tag):
            raise InvalidArtifact(f"{text}: {tag!r} is not a tag (letters, digits, _ . -, at most 128)")
        return cls(host, repository, tag if tag or digest else "latest", digest or None)

    @property
    def is_local(self) -> bool:
        """Whether the registry is on this machine, where nobody expects TLS."""
        return _LOCAL.fullmatch(re.sub(r":[0-9]+$", "", self.host)) is not None

    @property
    def wanted(self) -> str:
        """What is asked for at the registry: the digest, or else the tag."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        """Spell it as people do."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{SCHEME}{self.host}/{self.repository}{tag}{f'@{self.digest}' if self.digest else ''}"


def _split(rest: str, *, has_host: bool) -> tuple[str, str, str | None]:
    """Part host, repository and tag. Without a scheme the first segment is a host if docker takes it for one."""
    head, slash, tail = rest.partition("/")
    if not has_host and (not slash or not (set(head) & {".", ":"} or head == "localhost")):
        head, tail = "docker.io", rest
    repository, colon, tag = tail.rpartition(":")
    return (head, repository, tag) if colon else (head, tail, None)


def _as_docker_does(host: str, repository: str) -> tuple[str, str]:
    if host not in _DOCKER_HUB:
        return host, repository
    return "registry-1.docker.io", repository if "/" in repository else f"library/{repository}"
