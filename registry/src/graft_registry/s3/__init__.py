"""The object store: ``store`` over boto3, with ``s3_client`` (how it is spoken to), ``s3_errors`` (what its answers
mean), ``transfers``, ``deletions``, and ``stored_documents``, which trusts nothing that it reads.
"""
