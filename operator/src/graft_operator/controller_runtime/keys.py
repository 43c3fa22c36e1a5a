"""Work-queue keys: which object a worker should look at. A key never carries state."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, order=True)
class AdapterKey:
    """One LoraAdapter object."""

    kind: ClassVar[str] = "LoraAdapter"

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class BaseKey:
    """One BaseModel object."""

    kind: ClassVar[str] = "BaseModel"

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


Key = AdapterKey | BaseKey
