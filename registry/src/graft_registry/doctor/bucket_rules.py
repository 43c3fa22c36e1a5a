"""What the bucket does by itself: versions, locks, lifecycle rules, who pays. Pure, but for the asking."""

from collections.abc import Mapping, Sequence
from typing import Any

from graft_registry.doctor.requests import Attempt, Scratch
from graft_registry.documents import Finding
from graft_registry.s3.advice import DOCUMENT

_ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")
_UNFINISHED = "add a lifecycle rule AbortIncompleteMultipartUpload of 7 days"


def bucket_rules(scratch: Scratch) -> tuple[Finding, ...]:
    """Ask for the bucket's own rules; a key that may not see them, and a store that has none, are no trouble."""
    own = scratch.config.prefix
    return (
        versioning(scratch.of_bucket("get_bucket_versioning")),
        object_lock(scratch.of_bucket("get_object_lock_configuration")),
        *lifecycle(scratch.of_bucket("get_bucket_lifecycle_configuration"), f"{own}/" if own else ""),
        requester_pays(scratch.of_bucket("get_bucket_request_payment")),
    )


def not_seen(check: str, attempt: Attempt, action: str) -> Finding:
    """Say that a rule is not known, and whether it may matter. Pure."""
    if attempt.is_forbidden:
        found, fix = "may not be seen", f"allow {action}, or look yourself"
        return Finding(check=check, found=found, verdict="Note", fix=fix)
    return Finding(check=check, found=f"none ({attempt.says()})" if attempt.is_not_known else "none")


def versioning(answer: Attempt) -> Finding:
    """Say whether deleted objects stay as older versions. Pure."""
    if not answer.worked:
        return not_seen("versioning", answer, "s3:GetBucketVersioning")
    if answer.answer.get("Status") != "Enabled":
        return Finding(check="versioning", found="off")
    return Finding(
        check="versioning",
        found="on",
        verdict="Note",
        follows="what Graft deletes stays as an older version, checkpoints above all, and is paid for",
        fix="add a lifecycle rule NoncurrentVersionExpiration",
    )


def object_lock(answer: Attempt) -> Finding:
    """Say whether objects are locked by themselves when they are written. Pure."""
    configuration = answer.answer.get("ObjectLockConfiguration", {})
    if not answer.worked:
        absent = answer.status == 404
        found = Finding(check="object lock", found="off")
        return found if absent else not_seen("object lock", answer, "s3:GetBucketObjectLockConfiguration")
    retention = configuration.get("Rule", {}).get("DefaultRetention")
    if not retention:
        return Finding(check="object lock", found="off by default")
    term = f"{retention['Days']} days" if "Days" in retention else f"{retention.get('Years')} years"
    return Finding(
        check="object lock",
        found=f"{retention.get('Mode')}, {term}",
        verdict="Warning",
        follows="checkpoints and deleted adapters stay until then (in a bucket with versions, behind delete markers)",
        fix="use a bucket without default retention, or a short one in mode GOVERNANCE",
    )


def lifecycle(answer: Attempt, own: str) -> tuple[Finding, ...]:
    """Say whether a rule deletes or archives what is below ``own``, and whether abandoned uploads go. Pure."""
    if not answer.worked and answer.status != 404:
        return (not_seen("lifecycle", answer, "s3:GetLifecycleConfiguration"),)
    rules = [rule for rule in answer.answer.get("Rules", ()) if rule.get("Status") == "Enabled" and touches(rule, own)]
    found = tuple(finding for rule in rules for finding in harm(rule))
    if any("AbortIncompleteMultipartUpload" in rule for rule in rules):
        return found or (Finding(check="lifecycle", found="abandoned uploads go"),)
    follows = "uploads of large files that break off stay, and are paid for"
    return (*found, Finding(check="lifecycle", found="keeps all", verdict="Note", follows=follows, fix=_UNFINISHED))


def touches(rule: Mapping[str, Any], own: str) -> bool:
    """Whether a rule is about objects below a prefix that anybody needs. Graft tags none. Pure."""
    narrowed = rule.get("Filter", {})
    prefix = rule.get("Prefix", narrowed.get("Prefix", narrowed.get("And", {}).get("Prefix", "")))
    tagged = "Tag" in narrowed or "Tags" in narrowed.get("And", {})
    is_ours = own.startswith(prefix) or prefix.startswith(own)
    return is_ours and not tagged and not prefix.startswith(f"{own}.probe/")


def harm(rule: Mapping[str, Any]) -> Sequence[Finding]:
    """Say what a rule does to objects that are in use. Pure."""
    name, found = rule.get("ID", "without a name"), []
    expiration = rule.get("Expiration", {})
    if "Days" in expiration or "Date" in expiration:
        when = f"after {expiration['Days']} days" if "Days" in expiration else f"on {expiration['Date']}"
        found.append(
            Finding(
                check="lifecycle",
                found=f"rule {name} deletes {when}",
                verdict="Failed",
                follows="versions and bases that are served would vanish, and be trained and imported anew",
                fix=f"take the registry's prefix out of that rule ({DOCUMENT})",
            )
        )
    if any(move.get("StorageClass") in _ARCHIVES for move in rule.get("Transitions", ())):
        found.append(
            Finding(
                check="lifecycle",
                found=f"rule {name} archives",
                verdict="Failed",
                follows="archived versions and bases can't be read (InvalidObjectState)",
                fix="let that rule move objects to STANDARD_IA or GLACIER_IR at most, or take the prefix out of it",
            )
        )
    return found


def requester_pays(answer: Attempt) -> Finding:
    """Say who pays. Pure."""
    if not answer.worked:
        return not_seen("requester pays", answer, "s3:GetBucketRequestPayment")
    if answer.answer.get("Payer") != "Requester":
        return Finding(check="requester pays", found="no")
    return Finding(
        check="requester pays",
        found="yes",
        verdict="Warning",
        follows="keys of other accounts than the bucket's are refused (403): Graft does not offer to pay",
        fix="turn it off for this bucket, or copy what is read into one without it",
    )
