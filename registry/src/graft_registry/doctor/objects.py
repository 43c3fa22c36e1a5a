"""Single objects: rights, conditions, checksums, encryption."""

import hashlib
from dataclasses import dataclass
from typing import Final

from graft_registry.doctor.requests import Attempt, Scratch
from graft_registry.documents import Finding
from graft_registry.s3.advice import DOCUMENT, WHEN_REQUIRED
from graft_registry.s3.s3_client import checksum

FIRST, SECOND = b"first", b"second"
_ONE_WRITER: Final = (
    "two publishers of one adapter at the same moment can overwrite each other's version; Graft looks before it writes "
    "and reads back afterwards, which leaves a moment"
)
_ANOTHER_STORE: Final = (
    "let one operator at a time use the prefix, and nothing else write there; or use a store that honours conditional "
    "writes (AWS S3, MinIO, Ceph, Cloudflare R2, versitygw)"
)
_RIGHTS: Final = {
    "List": ("s3:ListBucket", "nothing that is not there can be told from what may not be seen"),
    "Get": ("s3:GetObject", "nothing can be read"),
    "Put": ("s3:PutObject", "nothing can be published, and verdicts are not kept"),
    "Delete": ("s3:DeleteObject", "old checkpoints, and adapters that are deleted, stay for ever"),
    "Abort": ("s3:AbortMultipartUpload", "uploads of large files that break off stay, and are paid for"),
}


def right(name: str, attempt: Attempt) -> Finding:
    """Say whether the key has a right. Pure."""
    action, follows = _RIGHTS[name]
    if attempt.worked or not attempt.is_forbidden:
        found = "yes" if attempt.worked else attempt.says()
        verdict = "Ok" if attempt.worked else "Failed"
        trouble = "" if attempt.worked else str(attempt.trouble(".probe/"))
        return Finding(check=f"right {action}", found=found, verdict=verdict, follows=trouble)
    where = "on the bucket, below the prefix" if name == "List" else "on the objects below the prefix"
    return Finding(
        check=f"right {action}",
        found="no",
        verdict="Failed",
        follows=follows,
        fix=f"allow {action} {where} ({DOCUMENT})",
    )


def condition(first: Attempt, second: Attempt, *, check: str = "conditional writes") -> tuple[Finding, bool]:
    """Say what a store makes of ``If-None-Match: *``, by two writes of one key, and whether it honours it. Pure."""
    if first.worked and second.status in (412, 409):
        return Finding(check=check, found=f"honoured ({second.status})"), True
    refusal = second if first.worked else first
    found = "ignored" if refusal.worked else f"refused ({refusal.says()})"
    return Finding(check=check, found=found, verdict="Warning", follows=_ONE_WRITER, fix=_ANOTHER_STORE), False


@dataclass(frozen=True, slots=True)
class Written:
    """What came of the first writes."""

    findings: tuple[Finding, ...]
    conditional: bool | None
    """None: nothing can be written, so nothing is known."""


def writes(scratch: Scratch) -> Written:
    """Try to write, on a condition and without one, and what is asked for on the way."""
    first = scratch.upload("a", FIRST, IfNoneMatch="*")
    plain = first if first.worked else scratch.upload("a", FIRST)
    if not plain.worked:
        return Written((*refused_write(scratch, plain),), None)
    second = scratch.upload("a", SECOND, IfNoneMatch="*")
    conditions, honoured = condition(first, second)
    return Written((right("Put", plain), conditions, *checksums(scratch), encryption_of(scratch)), honoured)


def refused_write(scratch: Scratch, plain: Attempt) -> tuple[Finding, ...]:
    """Find out why nothing can be written: a checksum that is not understood, encryption, or the right."""
    if scratch.sends_checksums and (plain.is_about_checksums or plain.code == "SignatureDoesNotMatch"):
        return (
            Finding(check="checksums", found="refused", verdict="Failed", follows=str(plain.error), fix=WHEN_REQUIRED),
        )
    if plain.is_forbidden and not scratch.written_with:
        for kind in ("AES256", "aws:kms"):
            if scratch.upload("a", FIRST, ServerSideEncryption=kind).worked:
                follows = "nothing can be written without it"
                fix = f"set registry.serverSideEncryption: {kind}"
                return (Finding(check="encryption", found="required", verdict="Failed", follows=follows, fix=fix),)
    return (right("Put", plain),)


def checksums(scratch: Scratch) -> tuple[Finding, ...]:
    """Say whether the store holds what arrives to its checksum: a wrong one has to be refused."""
    if not scratch.sends_checksums:
        follows = "each file is read back and compared after its upload"
        return (Finding(check="checksums", found="switched off", follows=follows),)
    wrong = checksum(hashlib.sha256(b"something else").hexdigest())
    attempt = scratch.upload("wrong", FIRST, ChecksumSHA256=wrong)
    if attempt.status == 400:
        return (Finding(check="checksums", found="verified"),)
    found = "not verified" if attempt.worked else attempt.says()
    follows = "each file is read back and compared after its upload"
    return (Finding(check="checksums", found=found, verdict="Note", follows=follows),)


def encryption_of(scratch: Scratch) -> Finding:
    """Say how the store has encrypted what was written."""
    head = scratch.attempt("head_object", **scratch.at("a"))
    asked = scratch.config.server_side_encryption
    kind = head.answer.get("ServerSideEncryption")
    if not head.worked:
        return Finding(check="encryption", found="not known", verdict="Note", follows=head.says())
    if asked and kind != asked:
        found = f"{asked} asked for, {kind or 'nothing'} said"
        return Finding(
            check="encryption",
            found=found,
            verdict="Warning",
            follows="the store may not encrypt as registry.serverSideEncryption says",
            fix="look at the bucket's default encryption, or unset registry.serverSideEncryption",
        )
    return Finding(check="encryption", found=str(kind or "not told"))


def reads(scratch: Scratch) -> tuple[Finding, ...]:
    """Try to read what is there, and what is not."""
    there = scratch.attempt("get_object", **scratch.at("a"))
    if there.worked:
        there.answer["Body"].close()
    missing = scratch.attempt("get_object", **scratch.at("missing"))
    return (right("Get", there), *absent(there, missing))


def absent(there: Attempt, missing: Attempt) -> tuple[Finding, ...]:
    """Say what a store answers of an object that is not there. Pure."""
    check = "missing objects"
    if missing.status == 404 and missing.code in ("NoSuchKey", "404", "NoSuchVersion"):
        return (Finding(check=check, found=f"404 {missing.code}"),)
    if missing.is_forbidden and there.worked:
        return (
            Finding(
                check=check,
                found=missing.says(),
                verdict="Failed",
                follows="what is not there can't be told from what may not be read, so nothing can be looked for",
                fix=f"allow s3:ListBucket on the bucket, below the prefix ({DOCUMENT})",
            ),
        )
    return () if not there.worked else (Finding(check=check, found=missing.says(), verdict="Note"),)
