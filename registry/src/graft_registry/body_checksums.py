"""What holds the bodies of requests to S3 to what they should be."""

import os
from base64 import b64encode
from typing import Any

from graft_registry.config import RegistryConfig


def checksum(sha256: str) -> str:
    """Spell a hash as S3's checksums are."""
    return b64encode(bytes.fromhex(sha256)).decode()


def s3_options(config: RegistryConfig) -> dict[str, Any]:
    """Return botocore's options for S3.

    Bodies carry checksums in headers that are signed. To sign the bodies themselves as well, as botocore does without
    TLS, would hash each a second time; it stays on where checksums are switched off.
    """
    options: dict[str, Any] = {"addressing_style": "path" if config.force_path_style else "auto"}
    if os.environ.get("AWS_REQUEST_CHECKSUM_CALCULATION", "").lower() != "when_required":
        options["payload_signing_enabled"] = False
    return options
