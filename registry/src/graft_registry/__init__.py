"""The registry: immutable, content-addressed, verified bases and adapter versions in an S3 store.

``BaseRegistry``, ``AdapterRegistry`` and the stores of ``runs`` keep ``documents`` and files in the store (``s3``), at
the keys of ``layout``. ``models`` and ``adapters`` tell what such files are and whether they fit together. ``sources``
reads where bases, adapters and rows come from: ``base_import`` makes a base of one, and ``base_fetch`` provides it in a
pod.
"""
