"""How an adapter learns: what each method is (`table`) and how it is attached to a base (`adapters`)."""
