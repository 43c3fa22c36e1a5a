"""What registries answer to somebody whom they don't know yet."""

from __future__ import annotations

import pytest

from graft_registry.oci.authorization import challenges


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        # Docker Hub, GHCR, Harbor, ECR, Artifactory, GitLab: as their registries spell it.
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull"',
            [("bearer", {"realm": "https://auth.docker.io/token", "service": "registry.docker.io",
                         "scope": "repository:a/b:pull"})],
        ),
        (
            'Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:user/image:pull"',
            [("bearer", {"realm": "https://ghcr.io/token", "service": "ghcr.io",
                         "scope": "repository:user/image:pull"})],
        ),
        ('Basic realm="https://1.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr.amazonaws.com"',
         [("basic", {"realm": "https://1.dkr.ecr.eu-west-1.amazonaws.com/", "service": "ecr.amazonaws.com"})]),
        ('Basic realm="Registry Realm"', [("basic", {"realm": "Registry Realm"})]),
        ("bearer realm=https://r/token, service=x, error=\"invalid_token\"",
         [("bearer", {"realm": "https://r/token", "service": "x", "error": "invalid_token"})]),
        ('Basic realm="a", Bearer realm="https://b",service="c, d"',
         [("basic", {"realm": "a"}), ("bearer", {"realm": "https://b", "service": "c, d"})]),
        (r'Basic realm="say \"hi\""', [("basic", {"realm": 'say "hi"'})]),
        ("Negotiate", []),
        ("", []),
    ],
)  # fmt: skip
def test_challenges_are_read(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(found.scheme, found.parameters) for found in challenges(header)] == expected
