"""Uploads in parts: how files beyond 64 MiB go there."""

from typing import Any

from graft_registry.doctor.objects import right
from graft_registry.doctor.requests import Attempt, Scratch
from graft_registry.documents import Finding
from graft_registry.s3.advice import DOCUMENT, WHEN_REQUIRED

_PART = b"the only part, which may have any size"


def parts(scratch: Scratch) -> tuple[Finding, ...]:
    """Upload in parts, complete the same key again on a condition, and abandon an upload."""
    first, upload = finished(scratch, "parts")
    if not first.worked:
        return (refused(first), *abandon(scratch, upload))
    head = scratch.attempt("head_object", **scratch.at("parts"))
    found = "yes" if head.answer.get("ContentLength") == len(_PART) else f"size {head.answer.get('ContentLength')}"
    whole = Finding(check="multipart uploads", found=found, verdict="Ok" if found == "yes" else "Failed")
    return (whole, checked(scratch), *conditional(scratch))


def finished(scratch: Scratch, name: str, **condition: str) -> tuple[Attempt, str | None]:
    """Upload one part and complete it; return what came of it, and the upload's id."""
    checks = {"ChecksumAlgorithm": "SHA256"} if scratch.sends_checksums else {}
    created = scratch.attempt("create_multipart_upload", **scratch.at(name), **checks, **scratch.written_with)
    if not created.worked:
        return created, None
    upload = str(created.answer["UploadId"])
    sent = scratch.attempt("upload_part", **scratch.at(name), UploadId=upload, PartNumber=1, Body=_PART, **checks)
    if not sent.worked:
        return sent, upload
    told = {name: sent.answer[name] for name in ("ETag", "ChecksumSHA256") if name in sent.answer}
    listed: dict[str, Any] = {"Parts": [{"PartNumber": 1, **told}]}
    done = scratch.attempt(
        "complete_multipart_upload", **scratch.at(name), UploadId=upload, MultipartUpload=listed, **condition
    )
    return done, upload


def refused(attempt: Attempt) -> Finding:
    """Say why nothing can be uploaded in parts. Pure."""
    fix = attempt.advice or f"allow s3:PutObject on the objects below the prefix ({DOCUMENT})"
    if attempt.code == "SignatureDoesNotMatch":  # other requests were signed right
        fix = WHEN_REQUIRED
    follows = f"files beyond 64 MiB can't be stored: {attempt.error}"
    return Finding(check="multipart uploads", found=attempt.says(), verdict="Failed", follows=follows, fix=fix)


def checked(scratch: Scratch) -> Finding:
    """Say whether parts are held to their checksums: the store then keeps a checksum of those."""
    check, read_back = "checksums of parts", "large files are read back and compared after their upload"
    if not scratch.sends_checksums:
        return Finding(check=check, found="switched off", follows=read_back)
    mode = scratch.attempt("head_object", **scratch.at("parts"), ChecksumMode="ENABLED")
    if "-" in mode.answer.get("ChecksumSHA256", ""):
        return Finding(check=check, found="verified")
    return Finding(check=check, found="not kept", verdict="Note", follows=read_back)


def conditional(scratch: Scratch) -> tuple[Finding, ...]:
    """Complete an upload to a key that is taken, on the condition that it is not; then abandon one."""
    done, upload = finished(scratch, "parts", IfNoneMatch="*")
    check, unused = "conditional multipart", "nothing: what is uploaded in parts is named by its content"
    if done.status in (412, 409):
        finding = Finding(check=check, found=f"honoured ({done.status})")
    else:
        found = "ignored" if done.worked else f"refused ({done.says()})"
        finding = Finding(check=check, found=found, verdict="Note", follows=unused)
    if done.worked or upload is None:
        created = scratch.attempt("create_multipart_upload", **scratch.at("abandoned"), **scratch.written_with)
        return (finding, *abandon(scratch, created.answer.get("UploadId"), "abandoned"))
    return (finding, *abandon(scratch, upload))


def abandon(scratch: Scratch, upload: str | None, name: str = "parts") -> tuple[Finding, ...]:
    """Abandon an upload, which is a right of its own."""
    if upload is None:
        return ()
    aborted = scratch.attempt("abort_multipart_upload", **scratch.at(name), UploadId=upload)
    gone = aborted.status == 404  # some stores end an upload whose completion they refuse
    return (Finding(check="right s3:AbortMultipartUpload", found="yes") if gone else right("Abort", aborted),)
