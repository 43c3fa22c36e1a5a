"""How sources are reached: the variables of the import pod.

A variable named ``SOURCE_<NAME>`` is about the source alone and wins over ``<NAME>``, which is also about the
registry. So a source in another store, with other credentials, can be imported in one pod.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from graft_registry.config import Credentials, RegistryConfig
from graft_registry.errors import Forbidden, NoSuchBucket, NotFound, Unavailable
from graft_registry.sources.source_files import SourceError, SourceProblem

PREFIX = "SOURCE_"


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
    except Forbidden as error:
        raise SourceError(SourceProblem.FORBIDDEN, str(error), field) from error
    except (NotFound, NoSuchBucket) as error:
        raise SourceError(SourceProblem.NOT_FOUND, str(error), field) from error
    except Unavailable as error:
        raise SourceError(SourceProblem.UNAVAILABLE, str(error), field) from error
