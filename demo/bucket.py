"""The S3 bucket: uploading what the demo trains on, and looking at what Graft has stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from demo.environment import ObjectStorage


class Bucket:
    """One bucket, as this machine reaches it."""

    def __init__(self, storage: ObjectStorage) -> None:
        self.name = storage.bucket
        self._client = boto3.client(
            "s3",
            endpoint_url=storage.endpoint,
            region_name=storage.region,
            aws_access_key_id=storage.access_key,
            aws_secret_access_key=storage.secret_key,
        )

    def uri(self, key: str) -> str:
        """Return ``s3://bucket/key``."""
        return f"s3://{self.name}/{key}"

    def upload(self, source: Path, prefix: str) -> int:
        """Upload a file, or a folder's files, below ``prefix`` unless they are there; return how many were sent."""
        files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
        root = source.parent if source.is_file() else source
        there = {entry["Key"]: entry["ETag"].strip('"') for entry in self._entries(prefix)}
        sent = 0
        for path in files:
            key, content = f"{prefix}/{path.relative_to(root).as_posix()}", path.read_bytes()
            if there.get(key) != hashlib.md5(content, usedforsecurity=False).hexdigest():
                self.put(key, content)
                sent += 1
        return sent

    def put(self, key: str, content: bytes) -> None:
        """Store one object."""
        self._client.put_object(Bucket=self.name, Key=key, Body=content)

    def read(self, key: str) -> bytes:
        """Return a stored object's content."""
        content: bytes = self._client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return content

    def read_json(self, key: str) -> Any:
        """Return a stored JSON document."""
        return json.loads(self.read(key))

    def keys(self, prefix: str) -> list[str]:
        """Return all keys below a prefix."""
        return [str(entry["Key"]) for entry in self._entries(prefix)]

    def clear(self, prefix: str) -> None:
        """Delete everything below a prefix."""
        for key in self.keys(prefix):
            self._client.delete_object(Bucket=self.name, Key=key)

    def _entries(self, prefix: str) -> Iterator[dict[str, Any]]:
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
            yield from page.get("Contents", ())
