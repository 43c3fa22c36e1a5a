"""What the operator costs with thousands of adapters: ``make bench-scale`` (docs/scale.md).

The API server, etcd and the S3 server are real, the rest is played (`tests.simulator`). The operator is the process
that runs in a cluster, seen from outside: its objects, its metrics, its memory, and a proxy that counts what it asks of
S3.

`fleet` makes the objects: some are trained and served by the operator itself, and most are copies, written with
status and version as the operator and a trainer would have left them. `measuring` says when the operator is at rest
and what it used until then. `steps` are the steps, in the order of `__main__`; `neighbours` are those with a tenant who
costs the others something. `report` writes the table.
"""
