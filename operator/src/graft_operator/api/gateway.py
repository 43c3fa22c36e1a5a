"""Serving behind a Gateway: what an InferencePool of the Gateway API inference extension needs to be told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from graft_operator.api.meta import ApiModel, ObjectName


class EndpointPickerReference(ApiModel):
    """The endpoint picker, which a Gateway asks for the pod that is to answer a request."""

    name: ObjectName
    """Service of the endpoint picker, in the same namespace."""
    port: int = Field(default=9002, ge=1, le=65535)
    """Port of that Service, on which the picker speaks Envoy's external processing protocol."""
    failure_mode: Literal["FailOpen", "FailClose"] = "FailOpen"
    """What a Gateway does while the picker is away: with FailOpen it chooses a pod by itself, which does no harm since
    each answers for every adapter; with FailClose it refuses requests."""


class Gateway(ApiModel):
    """The way of Gateways to the serving pods."""

    endpoint_picker_ref: EndpointPickerReference
    """The endpoint picker; an InferencePool can't be without one."""
