"""Answers of the API server, told apart by what a retry can do about them."""

import json

from graft_operator.cluster.errors import Forbidden, NamespaceTerminating, error_from_response
from graft_operator.controller_runtime.controller import TransientError


def forbidden(*causes: str) -> str:
    details = {"causes": [{"reason": cause} for cause in causes]}
    return json.dumps({"kind": "Status", "reason": "Forbidden", "message": "no", "details": details})


def test_a_namespace_on_its_way_out_passes_by_itself() -> None:
    error = error_from_response("POST /x", 403, forbidden("NamespaceTerminating"))
    assert isinstance(error, NamespaceTerminating)
    assert isinstance(error, TransientError)


def test_a_missing_right_does_not() -> None:
    error = error_from_response("POST /x", 403, forbidden())
    assert type(error) is Forbidden
    assert not isinstance(error, TransientError)
