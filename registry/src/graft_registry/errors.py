"""What can go wrong at the registry. Nothing outside this package sees a boto3 exception."""

# The names are the ones that S3 and Kubernetes clients are known by, and read as the answer they stand for.


class RegistryError(Exception):
    """Any failure of the registry. Raised itself only for answers that no subclass describes."""


class NotFound(RegistryError):
    """The object isn't there (the bucket is)."""


class Forbidden(RegistryError):
    """The credentials are missing, wrong or lack a permission. Retrying alone won't help."""


class Unavailable(RegistryError):
    """The store can't be reached, times out or throttles. Worth a retry."""


class NoSuchBucket(Unavailable):
    """The store answers, but has no bucket of this name. Someone must create it or correct the name."""


class Archived(Unavailable):
    """The object is there, in a storage class that can't be read. Someone must restore it."""


class Unfit(RegistryError):
    """The store, or the key, lacks something that Graft can't do without."""


class Corrupt(RegistryError):
    """Stored content isn't what was published under this name."""

    def __init__(self, key: str, expected: str, actual: str) -> None:
        super().__init__(f"{key} is corrupt: expected {expected}, found {actual}")
        self.key = key
        self.expected = expected
        self.actual = actual


class VersionConflict(RegistryError):
    """A write would break immutability, or a version number could not be won."""


class Unsafe(RegistryError):
    """A file that must never be published or unpacked: a pickle, a link, a path that escapes, an unknown name."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path


class InvalidModel(RegistryError):
    """A directory isn't a usable Hugging Face model, or a tensor file isn't valid."""


class InvalidArtifact(InvalidModel):
    """What a registry's reference names holds no adapter, or not in a form that can be read; or it is no reference."""
