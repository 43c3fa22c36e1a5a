"""The way to the API server: kubeconfig, context, and errors that say what to do.

The Kubernetes client takes a second to import, so it is imported where it is needed: what works offline starts at once.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from graft_cli.client.kubeconfig import (
    ACCOUNT,
    DEFAULT,
    VARIABLE,
    InvalidKubeconfig,
    Kubeconfig,
    NoKubeconfig,
    is_in_pod,
    proxy_of,
    read_kubeconfig,
)
from graft_cli.errors import Conflict, Forbidden, Gone, GraftError, NotFound, Unreachable

if TYPE_CHECKING:
    from graft_cli.client.reader import ClusterReader

TIMEOUT: Final = (10, 60)
"""Seconds to connect, and between two bytes of an answer."""
RETRIES: Final = 3
LONGEST_PAUSE: Final = 5.0
"""Seconds before asking again, whatever the API server would like."""
MESSAGE_LIMIT: Final = 500
"""Characters of an answer that is no JSON."""


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
    """Read the kubeconfig; nothing is asked yet. Raises Unreachable where it can't be used.

    Without one, a pod asks its own cluster, as kubectl does there.
    """
    import urllib3
    import yaml
    from kubernetes import config
    from urllib3.exceptions import HTTPError

    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the person's own choice in the kubeconfig
    try:
        try:
            found = read_kubeconfig(kubeconfig, os.environ)
        except NoKubeconfig:
            if context is not None or not is_in_pod(os.environ, ACCOUNT):
                raise
            return own_cluster(ACCOUNT)
        name = found.context(context)
        chosen = found.contexts[name]
        with heard_from_client() as said:
            api = _client(found, name, found.clusters.get(str(chosen.get("cluster")), {}))
    except (
        config.ConfigException, InvalidKubeconfig, yaml.YAMLError, HTTPError,
        OSError, ValueError, TypeError, KeyError, AttributeError,
    ) as error:  # fmt: skip
        where = kubeconfig or os.environ.get(VARIABLE) or DEFAULT
        fix = "give --kubeconfig and --context, or see `kubectl config get-contexts`"
        raise Unreachable(f"kubeconfig {where}: {' '.join(str(error).split())}", fix=fix) from error
    if said:  # or the API server would be asked as nobody
        fix = f"see whether `kubectl --context {name} cluster-info` works"
        raise Unreachable(f"the login of context {name} does not work: {'; '.join(said)}", fix=fix)
    return Connection(api, str(chosen.get("namespace") or "default"), name)


def own_cluster(account: Path) -> Connection:
    """Return the connection of a pod to its own cluster. Raises ConfigException, OSError."""
    from kubernetes import client
    from kubernetes.config.incluster_config import InClusterConfigLoader

    settings = client.Configuration()
    settings.retries = patience()
    settings.proxy = None  # that of the environment is for other addresses
    InClusterConfigLoader(account / "token", account / "ca.crt").load_and_set(settings)
    namespace = (account / "namespace").read_text(encoding="utf-8").strip()
    return Connection(client.ApiClient(settings), namespace or "default", "this pod's cluster")


def _client(found: Kubeconfig, context: str, cluster: Mapping[str, Any]) -> Any:
    from kubernetes import client, config

    settings = client.Configuration()
    settings.retries = patience()
    settings.proxy = proxy_of(cluster, os.environ)
    if cluster.get("proxy-url"):
        settings.no_proxy = ""  # of the environment, which has not named this proxy
    return config.new_client_from_config(
        config_file=os.pathsep.join(found.files), context=context, persist_config=False, client_configuration=settings
    )


def patience() -> Any:
    """Return when to ask again: an API server that has too much to do says so, and has done nothing yet."""
    from urllib3.util import Retry

    class Patience(Retry):
        def get_retry_after(self, response: Any) -> float | None:
            asked = super().get_retry_after(response)
            return None if asked is None else min(asked, LONGEST_PAUSE)

    return Patience(
        total=RETRIES,
        connect=0,
        read=0,
        redirect=0,
        other=0,
        status=RETRIES,
        status_forcelist={429},
        allowed_methods=None,
        raise_on_status=False,
    )


@contextmanager
def heard_from_client() -> Iterator[list[str]]:
    """Yield what the Kubernetes client complains of: it only logs that a login has failed, and goes on without one."""
    said: list[str] = []

    class Complaints(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.module == "kube_config":
                said.append(record.getMessage())

    handler = Complaints(logging.ERROR)
    logging.root.addHandler(handler)
    try:
        yield said
    finally:
        logging.root.removeHandler(handler)


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
    except (ValueError, TypeError, LookupError, AttributeError) as error:  # what the client makes of other answers
        raise no_answer_of_the_api(what, error) from error


def no_answer_of_the_api(what: str, error: Exception | None = None) -> Unreachable:
    """Return the error for an answer that is none of the Kubernetes API's, such as a page for people."""
    detail = f" ({type(error).__name__}: {error})" if error else ""
    fix = "is there a proxy in between that wants a login? see whether `kubectl cluster-info` works"
    return Unreachable(f"can't {what}: the answer is none of the Kubernetes API{detail}", fix=fix)


def answered(what: str, status: int | None, message: str) -> GraftError:
    """Return the error for an answer of the API server."""
    if status == 404:
        return NotFound(f"can't {what}: {message}", fix="see `kubectl graft status -A`, or `kubectl graft doctor`")
    if status == 403:
        return Forbidden(f"can't {what}: {message}", fix="`kubectl graft doctor` says which rights each verb needs")
    if status == 401:
        return Forbidden(f"can't {what}: the API server does not know you", fix="log in again, as for kubectl")
    if status == 409:
        return Conflict(f"can't {what}: {message}", fix="somebody else has changed it at the same time: try again")
    if status == 410:
        return Gone(f"can't {what}: {message}", fix="try again")
    if status == 422:
        return GraftError(f"can't {what}: {message}", fix="the API server's own words name the field")
    if status == 429:
        return Unreachable(f"can't {what}: {message}", fix="try again later; the API server has too much to do")
    if status is None or status >= 500 or status == 0:
        return Unreachable(f"can't {what}: {message}", fix="try again; the API server is not well")
    return GraftError(f"can't {what}: {message}")


def message_of(body: Any) -> str:
    """Return the message of an error answer; nothing for a page that a proxy has made for a browser."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, TypeError, KeyError, RecursionError):
        text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
    return "" if text.lstrip().startswith("<") else " ".join(text.split())[:MESSAGE_LIMIT]


def root_cause(error: BaseException) -> str:
    """Return the innermost reason, without the layers of the HTTP client."""
    reason = getattr(error, "reason", None)
    return root_cause(reason) if isinstance(reason, BaseException) else str(error)
