"""The object store: ``store`` over boto3, with ``s3_client`` (how a client is made), ``s3_errors`` (what its answers
mean), ``transfers``, ``deletions``, and ``stored_documents``, which trusts nothing that it reads.
"""
