"""Images: Graft's own and what they stand on, built or pulled, and the registry that nodes pull them from."""
