"""What a person can do about a store's refusals, and about a connection that fails. Pure."""

import re
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError, ProxyConnectionError, SSLError
from urllib3.exceptions import NameResolutionError

WHEN_REQUIRED: Final = "set AWS_REQUEST_CHECKSUM_CALCULATION=when_required beside the store's keys"
DOCUMENT: Final = "docs/object-store.md"
_CLOCK: Final = "the clocks of this machine and of the store are too far apart: let both follow NTP"
_REGION: Final = "correct registry.region (or registry.endpoint)"
_VIRTUAL_HOST: Final = "this store takes the bucket's name in the host alone: set registry.forcePathStyle: false"
_KEY_IS_NOT_KNOWN: Final = "the store does not know this key: correct AWS_ACCESS_KEY_ID"
_KMS: Final = "the key may not use this KMS key, or it is disabled or elsewhere: see registry.kmsKeyId"
_KMS_OF_READS: Final = (
    "the KMS key that the object is encrypted with is disabled, deleted or elsewhere: enable it, or copy the object in "
    "clear"
)
_KMS_RIGHT: Final = re.compile(r"\bkms:[A-Za-z*]+")
_CUSTOMER_KEY: Final = re.compile(r"form of Server Side Encryption|customer.provided|SSE-C\b", re.IGNORECASE)
_NEEDS_CUSTOMER_KEY: Final = (
    "the object is encrypted with a key of whoever wrote it (SSE-C), and Graft has none: copy it onto itself without"
)
ARCHIVED: Final = (
    "the object is archived and can't be read as it is: restore it (s3api restore-object, then copy it onto itself in "
    "class STANDARD), and take this prefix out of the lifecycle rule that archives"
)
NOT_A_STORE: Final = (
    "the answer is not that of an S3 store, so look at registry.endpoint, and at HTTPS_PROXY and NO_PROXY where there "
    "is a proxy"
)

_BY_CODE: Final = {
    "InvalidBucketName": "no store has a bucket of this name: correct it",
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
    "InvalidAccessKeyId": _KEY_IS_NOT_KNOWN,
    "InvalidClientTokenId": _KEY_IS_NOT_KNOWN,
    "InvalidObjectState": ARCHIVED,
    "PermanentRedirect": _REGION,
    "TemporaryRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "SecondLevelDomainForbidden": _VIRTUAL_HOST,
    "VirtualHostDomainRequired": _VIRTUAL_HOST,
    "PathStyleRequestNotAllowed": _VIRTUAL_HOST,
    "ExpiredToken": "the session's token has run out: renew AWS_SESSION_TOKEN, or use workload identity",
    "KMS.DisabledException": _KMS,
    "KMS.NotFoundException": _KMS,
    "KMS.KMSInvalidStateException": _KMS,
    "XMinioStorageFull": "the store is full: delete what nobody needs, or give it room",
    "QuotaExceeded": "the bucket has a quota, and it is used up: raise it, or delete what nobody needs",
    "BucketQuotaExceeded": "the bucket has a quota, and it is used up: raise it, or delete what nobody needs",
}

_CHECKSUM_WORDS: Final = re.compile(
    r"checksum|aws-chunked|trailer|STREAMING-|x-amz-sdk|multichunked|content-sha256|Transfer-Encoding", re.IGNORECASE
)
_CHECKSUM_CODES: Final = frozenset({"XAmzContentSHA256Mismatch", "MissingContentLength"})
_DAMAGED: Final = frozenset({"BadDigest", "XAmzContentChecksumMismatch"})
"""What was sent is not what arrived: the checksum was understood."""
_READS: Final = frozenset({"GetObject", "HeadObject"})
_UPLOADS: Final = frozenset({"PutObject", "UploadPart", "CreateMultipartUpload", "CompleteMultipartUpload"})
_LOCKED: Final = re.compile(r"object lock|retention|legal hold|\bWORM\b|ObjectLocked", re.IGNORECASE)
_CERTIFICATES: Final = (
    ("certificate has expired", "renew the store's certificate"),
    ("hostname mismatch", "the certificate is for another name: correct registry.endpoint, or the certificate"),
    ("ip address mismatch", "the certificate is for another name: correct registry.endpoint, or the certificate"),
    ("wrong_version_number", "the store speaks no TLS at this port: let registry.endpoint begin with http://"),
    ("record layer failure", "the store speaks no TLS at this port: let registry.endpoint begin with http://"),
    ("no such file", "AWS_CA_BUNDLE names a file that is not there, or holds no certificate: mount it, or unset it"),
    ("no certificate or crl", "AWS_CA_BUNDLE names a file that is not there, or holds no certificate: mount it"),
)


def code_of(error: ClientError) -> str:
    """Return the error code of an answer; the status where it has none."""
    return str(error.response.get("Error", {}).get("Code", ""))


def refuses_checksums(error: ClientError) -> bool:
    """Whether an upload is refused for how it carries its checksum."""
    if error.operation_name not in _UPLOADS or code_of(error) in _DAMAGED:
        return False
    return code_of(error) in _CHECKSUM_CODES or bool(_CHECKSUM_WORDS.search(str(error)))


def advice_for(error: ClientError) -> str | None:
    """Return what to do about an answer that says by its code what is wrong, None for any other."""
    code = code_of(error)
    if refuses_checksums(error):
        return f"the store does not take checksums as they are sent: {WHEN_REQUIRED}"
    if code == "SignatureDoesNotMatch":
        return (
            "correct AWS_SECRET_ACCESS_KEY; if it is right, something on the way changes requests, or the store knows "
            f"no checksums behind a body (Google Cloud Storage): {WHEN_REQUIRED}"
        )
    if (place := error.response.get("Error", {}).get("Region") or _region_header(error)) and _BY_CODE.get(
        code, _REGION if _is_redirect(error) else ""
    ) == _REGION:
        return f"the bucket is in region {place}: set registry.region: {place}"
    if _LOCKED.search(str(error)):
        return f"the object is locked until its retention ends: keep object lock off this prefix ({DOCUMENT})"
    return _about_encryption(error) or _BY_CODE.get(code) or (_REGION if _is_redirect(error) else None)


def _about_encryption(error: ClientError) -> str | None:
    """Return what to do about an answer that is about the key by which an object is encrypted, None for any other."""
    if right := _KMS_RIGHT.search(str(error)):
        return f"the key lacks {right[0]} on the KMS key that the object is encrypted with ({DOCUMENT})"
    if error.operation_name not in _READS:
        return None
    if code_of(error).startswith("KMS."):
        return _KMS_OF_READS
    return _NEEDS_CUSTOMER_KEY if _CUSTOMER_KEY.search(str(error)) else None


def is_no_stores_answer(error: ClientError) -> bool:
    """Whether a refusal came in a form that no store uses: it has no code but the status, as of HTML.

    Answers to HEAD have no room for a code.
    """
    code = code_of(error)
    return not error.operation_name.startswith("Head") and (not code or code.isdigit())


def connection_advice(error: BotoCoreError) -> str | None:
    """Return what to do about a request that was never answered, None where waiting is all that helps."""
    cause, text = error.kwargs.get("error"), str(error).lower()
    if isinstance(error, ProxyConnectionError):
        return (
            "the proxy of HTTPS_PROXY or HTTP_PROXY does not answer: correct it, or name the store's host in NO_PROXY"
        )
    if isinstance(error, SSLError):
        return next(
            (advice for words, advice in _CERTIFICATES if words in text),
            "the store's certificate is signed by a CA that is not known here: mount the CA's certificate and name its "
            f"file in AWS_CA_BUNDLE ({DOCUMENT})",
        )
    if isinstance(cause, NameResolutionError):
        return (
            "the name can't be resolved: correct registry.endpoint of the chart, or AWS_ENDPOINT_URL where you call "
            "this yourself (with registry.forcePathStyle: false the bucket is part of the name)"
        )
    return None


def _is_redirect(error: ClientError) -> bool:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in (301, 307, 308)


def _region_header(error: ClientError) -> str | None:
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return headers.get("x-amz-bucket-region") if _is_redirect(error) else None
