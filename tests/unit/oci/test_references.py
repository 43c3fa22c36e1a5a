"""What people write as the name of an artifact."""

from __future__ import annotations

import pytest

from graft_registry.errors import InvalidArtifact
from graft_registry.oci.references import Reference

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "host", "repository", "tag", "digest"),
    [
        ("oci://ghcr.io/acme/loras/support:v7", "ghcr.io", "acme/loras/support", "v7", None),
        ("ghcr.io/acme/support", "ghcr.io", "acme/support", "latest", None),
        (f"harbor.example.com:8443/ml/support@{DIGEST}", "harbor.example.com:8443", "ml/support", None, DIGEST),
        (f"quay.io/acme/a_b/c-d.e:1.0@{DIGEST}", "quay.io", "acme/a_b/c-d.e", "1.0", DIGEST),
        ("localhost:5001/support:v1", "localhost:5001", "support", "v1", None),
        ("localhost/support", "localhost", "support", "latest", None),
        ("[::1]:5000/support:v1", "[::1]:5000", "support", "v1", None),
        ("acme/support:v1", "registry-1.docker.io", "acme/support", "v1", None),
        ("docker.io/support", "registry-1.docker.io", "library/support", "latest", None),
        ("1.dkr.ecr.eu-west-1.amazonaws.com/a/b:v1", "1.dkr.ecr.eu-west-1.amazonaws.com", "a/b", "v1", None),
        # With the scheme, as Helm spells it, the first part is the host whatever it looks like.
        ("oci://registry/team/support:v1", "registry", "team/support", "v1", None),
    ],
)  # fmt: skip
def test_references_are_read_as_docker_does(
    text: str, host: str, repository: str, tag: str | None, digest: str | None
) -> None:
    assert Reference.parse(text) == Reference(host, repository, tag, digest)
    assert Reference.parse(str(Reference.parse(text))) == Reference.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://ghcr.io/acme/support:v1", "not of the form oci://"),
        ("oci://ghcr.io", "'' is not a repository's name"),
        ("ghcr.io/Acme/Support:v1", "did you mean acme/support"),
        ("ghcr.io/acme/support:", "is not a tag"),
        ("ghcr.io/acme/support:a b", "is not a tag"),
        ("ghcr.io/acme/support@sha256:abc", "64 lowercase hex digits"),
        ("ghcr.io/acme/support@", "64 lowercase hex digits"),
        ("ghcr.io/acme//support", "is not a repository's name"),
        ("ghcr.io/../support", "is not a repository's name"),
        ("user:secret@ghcr.io/acme/support", "the digest must be"),
        ("evil.com\r\nX: 1/acme/support", "not of the form"),
        ("", "repository's name"),
    ],
)
def test_what_is_no_reference_is_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(InvalidArtifact, match=message):
        Reference.parse(text)


def test_only_this_machine_needs_no_tls() -> None:
    local = ("localhost:5001/a", "127.0.0.1/a", "127.3.2.1:80/a", "[::1]:5000/a")
    assert all(Reference.parse(text).is_local for text in local)
    remote = ("localhost.example.com/a", "127.0.0.1.nip.io/a", "10.0.0.1:5000/a", "registry:5000/a")
    assert not any(Reference.parse(text).is_local for text in remote)
