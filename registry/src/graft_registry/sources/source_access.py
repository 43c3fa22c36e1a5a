"""How sources are reached: the variables of the import pod.

A variable named ``SOURCE_<NAME>`` is about the source alone and wins over ``<NAME>``, which is also about the
registry. So a source in another store, with other credentials, can be imported in one pod.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Self

from graft_registry.config import Credentials, RegistryConfig
from graft_registry.errors import Archived, Forbidden, NoSuchBucket, NotFound, RegistryError, Unavailable
from graft_registry.sources.source_files import SourceError, SourceProblem

PREFIX = "SOURCE_"

_SETTINGS: Final = {"registry.region": f"{PREFIX}AWS_REGION", "registry.endpoint": f"{PREFIX}AWS_ENDPOINT_URL"}
"""What the registry's settings are called where they are about a source."""
_PROBLEMS: Final[tuple[tuple[type[RegistryError], SourceProblem], ...]] = (
    (Forbidden, SourceProblem.FORBIDDEN),
    (NotFound, SourceProblem.NOT_FOUND),
    (NoSuchBucket, SourceProblem.NOT_FOUND),
    (Archived, SourceProblem.INVALID),  # Waiting restores nothing.
    (Unavailable, SourceProblem.UNAVAILABLE),
    (RegistryError, SourceProblem.INVALID),  # Asked again, the place would say the same.
)
"""What a place's answer means for a source; the first that fits counts."""


@dataclass(frozen=True, slots=True)
class SourceAccess:
    """Endpoints and credentials for sources. Null: as for the registry, or the hub's own default."""

    s3_endpoint: str | None = None
    s3_region: str | None = None
    s3_credentials: Credentials | None = None
    hub_endpoint: str | None = None
    hub_token: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read AWS's and the hub's own variables under the prefix; the hub's also without it.

        ``GRAFT_SOURCE_ENDPOINT`` is the same as ``SOURCE_AWS_ENDPOINT_URL``.

        Raises:
            ValueError: an access key without its secret key.
        """
        return cls(
            s3_endpoint=environ.get(f"{PREFIX}AWS_ENDPOINT_URL") or environ.get("GRAFT_SOURCE_ENDPOINT"),
            s3_region=environ.get(f"{PREFIX}AWS_REGION"),
            s3_credentials=_s3_credentials(environ),
            hub_endpoint=environ.get(f"{PREFIX}HF_ENDPOINT") or environ.get("HF_ENDPOINT"),
            hub_token=environ.get(f"{PREFIX}HF_TOKEN") or environ.get("HF_TOKEN"),
        )

    def s3(self, registry: RegistryConfig) -> RegistryConfig:
        """Return the registry's store with what is different about the source's."""
        return registry.model_copy(
            update={"endpoint": self.s3_endpoint or registry.endpoint, "region": self.s3_region or registry.region}
        )


def _s3_credentials(environ: Mapping[str, str]) -> Credentials | None:
    access_key = environ.get(f"{PREFIX}AWS_ACCESS_KEY_ID")
    secret_key = environ.get(f"{PREFIX}AWS_SECRET_ACCESS_KEY")
    if not access_key and not secret_key:
        return None
    if not access_key or not secret_key:
        raise ValueError("the source's credentials need both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    return Credentials(access_key, secret_key, environ.get(f"{PREFIX}AWS_SESSION_TOKEN"))


@contextmanager
def blaming_the_source(field: str) -> Iterator[None]:
    """Turn what a store answers about a source into a SourceError that names ``field`` of the spec."""
    try:
        yield
    except RegistryError as error:
        problem = next(problem for kind, problem in _PROBLEMS if isinstance(error, kind))
        raise SourceError(problem, _with_settings_of_sources(str(error)), field) from error


def _with_settings_of_sources(advice: str) -> str:
    """Name in an advice the variables that are about the source, where it names settings of the registry."""
    return re.sub("|".join(map(re.escape, _SETTINGS)), lambda found: _SETTINGS[found[0]], advice)
