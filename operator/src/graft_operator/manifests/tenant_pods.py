"""What the platform team asks of every pod in tenants' namespaces, whatever it is for."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

from graft_operator.api.meta import ApiModel, ObjectName
from graft_operator.api.pods.settings import (
    Annotations,
    ConfigMapKeyReference,
    Labels,
    PullSecrets,
    checked_variables,
)

USER_ID: Final = 65532
"""The conventional non-root user of minimal images."""

UserId = Annotated[int, Field(ge=1, le=2_147_483_647)]


def _without_ours(variables: dict[str, str]) -> dict[str, str]:
    checked_variables(variables)
    return variables


class UserIds(ApiModel):
    """Ids that pods ask for. Those that are empty are left to the platform, such as OpenShift, which gives them."""

    run_as_user: UserId | None = None
    """User of all containers."""
    run_as_group: UserId | None = None
    """Primary group of all containers."""
    fs_group: UserId | None = None
    """Group of the volumes."""


FIXED_IDS: Final = UserIds(run_as_user=USER_ID, run_as_group=USER_ID, fs_group=USER_ID)


class TenantPods(ApiModel):
    """What holds for every pod besides what its object asks for."""

    labels: Labels = Field(default_factory=dict)
    """Labels; those of the object win."""
    annotations: Annotations = Field(default_factory=dict)
    """Annotations; those of the object win."""
    env: Annotated[dict[str, str], AfterValidator(_without_ours)] = Field(default_factory=dict)
    """Environment of every container; that of the object wins."""
    image_pull_secrets: PullSecrets = ()
    """Secrets that images are pulled with, which tenants keep in their namespaces. One that is missing does no harm."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of pods whose object names none."""
    user_ids: UserIds = FIXED_IDS
    """User and group of the pods."""
    ca_bundle: ConfigMapKeyReference | None = None
    """Certificates that every container trusts, in a ConfigMap that each namespace has."""

    def changes(self) -> dict[str, Any]:
        """Return what is not as it is by default: with it the pods of a Job that is stuck may start."""
        default = TenantPods().to_wire()
        return {name: value for name, value in self.to_wire().items() if value != default.get(name)}
