"""The bucket that measurements read and write, on a real server of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
from tests.versitygw import versitygw

from graft_registry.config import RegistryConfig

ACCESS_KEY, SECRET_KEY = "bench", "bench-secret"


@contextmanager
def object_store(folder: Path) -> Iterator[RegistryConfig]:
    """Serve a bucket below ``folder`` until the block ends; its credentials are in the environment."""
    os.environ |= {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    folder.mkdir(parents=True)
    with versitygw(folder, access_key=ACCESS_KEY, secret_key=SECRET_KEY) as endpoint:
        config = RegistryConfig(endpoint=endpoint, bucket="graft")
        boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket=config.bucket)
        yield config
