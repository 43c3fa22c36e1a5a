"""What an object store and a key can do, tried on a scratch prefix ``.probe/<random>/`` that is deleted again.

``examination`` puts the questions; each of the other modules asks some (``connection``, ``objects``, ``parts``,
``lists``, ``bucket_rules``) by ``requests``, and says what follows. ``table`` is for people.
"""

from graft_registry.doctor.examination import examine

__all__ = ["examine"]
