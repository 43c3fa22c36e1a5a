"""The way to the API server: kubeconfig, context, and errors that say what to do.

The Kubernetes client takes a second to import, so it is imported where it is needed: what works offline starts at once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from graft_cli.errors import Forbidden, GraftError, NotFound, Unreachable

if TYPE_CHECKING:
    from graft_cli.client.reader import ClusterReader

TIMEOUT: Final = (10, 60)
"""Seconds to connect, and between two bytes of an answer."""


@dataclass(frozen=True, slots=True)
class Connection:
    """An API server, as one person reaches it."""

    api: Any
    """``kubernetes.client.ApiClient``."""
    namespace: str
    """The context's namespace."""
    context: str = ""
    """Its name in the kubeconfig."""


def connect(*, kubeconfig: str | None = None, context: str | None = None) -> ClusterReader:
    """Return a client of the cluster that kubectl would take. Raises Unreachable where no kubeconfig can be used."""
    from graft_cli.client.reader import ClusterReader

    return ClusterReader(open_connection(kubeconfig=kubeconfig, context=context))


def open_connection(*, kubeconfig: str | None = None, context: str | None = None) -> Connection:
    """Read the kubeconfig; nothing is asked yet. Raises Unreachable where it can't be used."""
    import urllib3
    from kubernetes import client, config
    from kubernetes.config import kube_config

    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the person's own choice in the kubeconfig
    for name in ("urllib3", "root"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what they warn of becomes an error of ours
    settings = client.Configuration()
    settings.retries = 0
    try:
        api = config.new_client_from_config(
            config_file=kubeconfig, context=context, persist_config=False, client_configuration=settings
        )
        contexts, current = config.list_kube_config_contexts(config_file=kubeconfig)
    except (config.ConfigException, OSError, ValueError, TypeError, KeyError) as error:
        where = kubeconfig or kube_config.KUBE_CONFIG_DEFAULT_LOCATION
        fix = "give --kubeconfig and --context, or see `kubectl config get-contexts`"
        raise Unreachable(f"kubeconfig {where}: {error}", fix=fix) from error
    chosen = next((item for item in contexts if item["name"] == context), current)
    namespace = str((chosen.get("context") or {}).get("namespace") or "default")
    return Connection(api, namespace, str(chosen.get("name") or ""))


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn errors of the client into ours; ``what`` is what was tried, such as ``read LoraAdapter team-a/support``."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        raise answered(what, error.status, message_of(error.body) or str(error.reason)) from error
    except (HTTPError, OSError) as error:
        fix = "see whether `kubectl cluster-info` works"
        raise Unreachable(f"can't {what}: the API server does not answer ({root_cause(error)})", fix=fix) from error


def answered(what: str, status: int | None, message: str) -> GraftError:
    """Return the error for an answer of the API server."""
    if status == 404:
        return NotFound(f"can't {what}: {message}", fix="see `kubectl graft status -A`, or `kubectl graft doctor`")
    if status == 403:
        return Forbidden(f"can't {what}: {message}", fix="`kubectl graft doctor` says which rights each verb needs")
    if status == 401:
        return Forbidden(f"can't {what}: the API server does not know you", fix="log in again, as for kubectl")
    if status == 422:
        return GraftError(f"can't {what}: {message}", fix="the API server's own words name the field")
    if status is None or status >= 500 or status == 0:
        return Unreachable(f"can't {what}: {message}", fix="try again; the API server is not well")
    return GraftError(f"can't {what}: {message}")


def message_of(body: Any) -> str:
    """Return the message of an error answer."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, TypeError, KeyError):
        return str(body or "").strip()


def root_cause(error: BaseException) -> str:
    """Return the innermost reason, without the layers of the HTTP client."""
    reason = getattr(error, "reason", None)
    return root_cause(reason) if isinstance(reason, BaseException) else str(error)
