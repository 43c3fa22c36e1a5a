"""Where an agent is to be asked, and that it could not be."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PodAddress:
    """A serving pod that may be asked. `ip` is `status.podIP`."""

    namespace: str
    name: str
    uid: str
    ip: str

    @property
    def host(self) -> str:
        """The address as it stands in a URL."""
        return f"[{self.ip}]" if ":" in self.ip else self.ip


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The agent gave no usable answer, for the reason in `message`."""

    message: str
