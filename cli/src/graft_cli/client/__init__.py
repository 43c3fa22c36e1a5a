"""A read-only client of Graft's objects, for programs of your own.

    from graft_cli.client import connect

    graft = connect()                       # the kubeconfig and context that kubectl would take
    for adapter in graft.adapters("team-a"):
        print(adapter.metadata.name, adapter.status.served_version)

Statuses are the operator's own models (``graft_operator.api``), so fields are typed and documented. ``spec`` is the
plain mapping that the API server holds: one of a newer release must not keep a program from reading. Code that takes a
``GraftReader`` can be tested with ``FakeGraft``, which holds objects in memory:

    graft = FakeGraft([{"apiVersion": "graft.dev/v1alpha1", "kind": "LoraAdapter", "metadata": {...}, "spec": {...}}])

``WatchedGraft`` reads the same from memory, kept up to date by watches, for programs that look often.

Errors are those of ``graft_cli.errors``: NotFound, Forbidden and Unreachable, each with ``message`` and ``fix``.
"""

from graft_cli.client.connection import Connection, connect, open_connection
from graft_cli.client.fake import FakeGraft
from graft_cli.client.objects import Adapter, Base
from graft_cli.client.reader import ClusterReader, GraftReader
from graft_cli.client.watching import WatchedGraft

__all__ = [
    "Adapter",
    "Base",
    "ClusterReader",
    "Connection",
    "FakeGraft",
    "GraftReader",
    "WatchedGraft",
    "connect",
    "open_connection",
]
