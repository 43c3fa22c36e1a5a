"""Where a version is to be brought. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self


class Place(StrEnum):
    """The kinds of places, as they are spelled before ``:``."""

    OCI = "oci"
    HUB = "hf"
    DIRECTORY = "dir"
    MLFLOW = "mlflow"
    WANDB = "wandb"


FORMS: Final = {
    Place.OCI: "oci://registry/repository:tag",
    Place.HUB: "hf://organisation/repository",
    Place.DIRECTORY: "dir:/path",
    Place.MLFLOW: "mlflow://registered-model",
    Place.WANDB: "wandb://entity/project/name",
}


@dataclass(frozen=True, slots=True)
class Destination:
    """A place, and the name there."""

    place: Place
    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``--to``.

        Raises:
            ValueError: it has none of the ``FORMS``.
        """
        scheme, colon, rest = text.partition(":")
        name = rest.removeprefix("//")
        if not colon or scheme not in set(Place) or not name:
            raise ValueError(f"--to {text!r} is none of {', '.join(FORMS.values())}")
        place = Place(scheme)
        expected = FORMS[place].removeprefix(f"{place}://").count("/")
        if place in (Place.HUB, Place.MLFLOW, Place.WANDB) and (
            name.count("/") != expected or not all(name.split("/"))
        ):
            raise ValueError(f"--to {text!r} is not of the form {FORMS[place]}")
        return cls(place, name)

    def __str__(self) -> str:
        """Spell it as it was given."""
        return f"{self.place}:{self.name}" if self.place is Place.DIRECTORY else f"{self.place}://{self.name}"
