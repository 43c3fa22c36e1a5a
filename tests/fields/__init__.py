"""Every field of the CRDs, at its limits and beyond: ``make test-fields``.

`schema` walks the schemas of crds/, `values` makes values for a field from its schema alone: at its limits, and
nonsense. `cases` puts them into an object that is valid but for them. `against_server` sends each to a real API server:
it is taken, or refused with a message that names the field; and a field that is changed while its object lives, and
changed back, leaves the object as it was. `against_operator` does the same to living objects with the operator at work,
which must say clearly what it makes of each, and be as before once the field is.
"""
