"""Imitations of stores: what each refuses, ignores and does not tell, mostly by the errors that the SDK's users report.

None was held against the maker's own server, and releases differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import parse_qs, urlsplit

Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came. Names of headers are in lower case."""

    method: str
    path: str
    headers: Headers
    body: bytes
    bucket_in_host: str = ""

    @property
    def query(self) -> dict[str, str]:
        """The parameters, those without a value, too."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.path).query, keep_blank_values=True).items()}

    @property
    def path_with_bucket(self) -> str:
        """The path as a server that knows no virtual hosts wants it."""
        return f"/{self.bucket_in_host}{self.path}" if self.bucket_in_host else self.path

    @property
    def is_upload(self) -> bool:
        """Whether it writes an object, or a part of one."""
        return self.method == "PUT" and self.path_with_bucket.partition("?")[0].count("/") > 1

    @property
    def begins_object(self) -> bool:
        """Whether it writes an object, or begins to write one in parts."""
        begins_parts = self.method == "POST" and "uploads" in self.query
        return begins_parts or (self.is_upload and "partNumber" not in self.query)

    @property
    def is_chunked(self) -> bool:
        """Whether a checksum comes behind the body."""
        return self.headers.get("content-encoding") == "aws-chunked"

    @property
    def deletes_together(self) -> bool:
        """Whether it deletes several objects."""
        return self.method == "POST" and "delete" in self.query

    def with_body(self, body: bytes, headers: Headers) -> Request:
        """Return the same request with another body."""
        return replace(self, body=body, headers=headers)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. Names of headers are in lower case."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that a store gives by itself."""

    when: Callable[[Request], bool]
    status: int
    code: str
    message: str

    def answer(self) -> Answer:
        """Return it as S3's errors are."""
        text = f"<Error><Code>{self.code}</Code><Message>{self.message}</Message></Error>"
        return Answer(self.status, {"content-type": "application/xml"}, text.encode())


@dataclass(frozen=True, slots=True)
class Told:
    """An answer of another form that a store gives by itself."""

    when: Callable[[Request], bool]
    status: int
    text: str

    def answer(self) -> Answer:
        """Return it."""
        return Answer(self.status, {"content-type": "application/xml"}, self.text.encode())


@dataclass(frozen=True, kw_only=True)
class StoreKind:
    """One kind of store."""

    name: str
    documented: str
    """What is imitated, in the words by which it is found; not every detail is in the maker's documents."""
    refusals: tuple[Refusal | Told, ...] = ()
    ignored: re.Pattern[str] = re.compile(r"(?!)")
    """Names of request headers that mean nothing to it."""
    untold: re.Pattern[str] = re.compile(r"(?!)")
    """Names of headers that its answers never have."""
    told: Headers = field(default_factory=dict)
    """Headers that its answers have besides."""
    ignores_conditions_of: Callable[[Request], bool] = lambda request: False
    changed: Callable[[Request, Answer], Answer] = lambda request, answer: answer
    """What it makes of an answer at last."""

    def answer(self, request: Request, pass_on: Callable[[Request], Answer]) -> Answer:
        """Answer as this store does."""
        refusal = next((refusal for refusal in self.refusals if refusal.when(request)), None)
        if refusal is not None:
            return refusal.answer()
        answer = pass_on(request)
        headers = {name: value for name, value in answer.headers.items() if not self.untold.match(name)}
        told = replace(answer, headers={**headers, **self.told} if answer.status < 300 else headers)
        return self.changed(request, told)

    def understood(self, request: Request) -> Request:
        """Return a request without what means nothing to the store."""
        ignored = {name for name in request.headers if self.ignored.match(name)}
        if self.ignores_conditions_of(request):
            ignored.add("if-none-match")
        return replace(request, headers={n: value for n, value in request.headers.items() if n not in ignored})


def asks_for(*parameters: str) -> Callable[[Request], bool]:
    """Say whether a request is for one of the bucket's own rules."""
    return lambda request: request.method == "GET" and bool(set(parameters) & request.query.keys())


def _conditional_upload(request: Request) -> bool:
    return request.is_upload and "if-none-match" in request.headers


def _without_md5(request: Request) -> bool:
    return request.deletes_together and "content-md5" not in request.headers


def completes(request: Request) -> bool:
    return request.method == "POST" and "uploadId" in request.query


CHECKSUMS: Final = re.compile(r"x-amz-(sdk-)?checksum-")
_CONDITIONS_AND_CHECKSUMS: Final = re.compile(r"if-none-match|x-amz-(sdk-)?checksum-")
_MISSING_MD5: Final = "Missing required header for this request: Content-Md5."
_MISMATCH: Final = "The provided 'x-amz-content-sha256' header does not match what was computed."
_RULES: Final = ("versioning", "object-lock", "lifecycle", "requestPayment")

AWS: Final = StoreKind(
    name="AWS S3",
    documented="API reference; encrypts by itself since 2023",
    told={"x-amz-server-side-encryption": "AES256"},
)
AWS_STRICT: Final = StoreKind(
    name="AWS S3 with a policy that insists on encryption",
    documented="User guide, bucket policies: Deny where s3:x-amz-server-side-encryption is Null",
    refusals=(
        Refusal(
            lambda request: request.begins_object and "x-amz-server-side-encryption" not in request.headers,
            403,
            "AccessDenied",
            "User is not authorized to perform: s3:PutObject with an explicit deny in a resource-based policy",
        ),
    ),
    told={"x-amz-server-side-encryption": "AES256"},
)
MINIO_OLD: Final = StoreKind(
    name="MinIO before 2023",
    documented="knows no If-None-Match on writes, no checksums; MissingContentMD5, XAmzContentSHA256Mismatch",
    refusals=(
        Refusal(_without_md5, 400, "MissingContentMD5", _MISSING_MD5),
        Refusal(lambda request: request.is_chunked, 400, "XAmzContentSHA256Mismatch", _MISMATCH),
    ),
    ignored=_CONDITIONS_AND_CHECKSUMS,
    untold=CHECKSUMS,
)
MINIO: Final = StoreKind(name="MinIO", documented="S3 API compatibility: conditional writes and checksums")
CEPH: Final = StoreKind(
    name="Ceph RGW (Reef)",
    documented="If-None-Match on PutObject only; checksums since Squid; XAmzContentSHA256Mismatch of trailers",
    refusals=(Refusal(lambda request: request.is_chunked, 400, "XAmzContentSHA256Mismatch", _MISMATCH),),
    ignored=CHECKSUMS,
    untold=CHECKSUMS,
    ignores_conditions_of=completes,
)
R2: Final = StoreKind(
    name="Cloudflare R2",
    documented="S3 API compatibility: no versioning, locks, payment; header x-amz-checksum-algorithm not implemented",
    refusals=(
        Refusal(
            lambda request: "x-amz-checksum-algorithm" in request.headers,
            501,
            "NotImplemented",
            "Header 'x-amz-checksum-algorithm' with value 'SHA256' not implemented",
        ),
        Refusal(
            lambda request: request.is_chunked,
            501,
            "NotImplemented",
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER not implemented",
        ),
        Refusal(asks_for("versioning", "object-lock", "requestPayment"), 501, "NotImplemented", "not implemented"),
    ),
    ignores_conditions_of=completes,
)
GCS: Final = StoreKind(
    name="Google Cloud Storage (XML API)",
    documented="conditions by x-goog-if-generation-match only; SignatureDoesNotMatch of trailers; no DeleteObjects",
    refusals=(
        Refusal(
            lambda request: request.is_chunked,
            403,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided.",
        ),
        Refusal(lambda request: request.deletes_together, 501, "NotImplemented", "not implemented"),
        Refusal(asks_for("object-lock", "requestPayment"), 400, "InvalidArgument", "Invalid query parameter(s)"),
    ),
    ignored=_CONDITIONS_AND_CHECKSUMS,
    untold=CHECKSUMS,
)
OSS: Final = StoreKind(
    name="Alibaba Cloud OSS",
    documented="Use AWS SDKs to access OSS: virtual hosts only, no chunked encoding, Content-MD5; 501 to If-None-Match",
    refusals=(
        Refusal(
            lambda request: not request.bucket_in_host,
            403,
            "SecondLevelDomainForbidden",
            "Please use virtual hosted style to access.",
        ),
        Refusal(
            lambda request: request.is_chunked,
            400,
            "InvalidArgument",
            "aws-chunked encoding is not supported with the specified x-amz-content-sha256 value.",
        ),
        Refusal(
            _conditional_upload,
            501,
            "NotImplemented",
            "A header you provided implies functionality that is not implemented.",
        ),
        Refusal(_without_md5, 400, "MissingArgument", "Missing Some Required Arguments."),
    ),
    ignored=_CONDITIONS_AND_CHECKSUMS,
    untold=CHECKSUMS,
)
POWERSCALE: Final = StoreKind(
    name="Dell PowerScale",
    documented="OneFS S3 API guide: no bucket rules, Content-MD5 for DeleteObjects, no conditions",
    refusals=(
        Refusal(_without_md5, 400, "MissingContentMD5", _MISSING_MD5),
        Refusal(
            lambda request: request.is_chunked,
            501,
            "NotImplemented",
            "A header you provided implies functionality that is not implemented: x-amz-trailer",
        ),
        Refusal(asks_for(*_RULES), 501, "NotImplemented", "not implemented"),
    ),
    ignored=_CONDITIONS_AND_CHECKSUMS,
    untold=CHECKSUMS,
)
KINDS: Final = (AWS, AWS_STRICT, MINIO, MINIO_OLD, CEPH, R2, GCS, OSS, POWERSCALE)
