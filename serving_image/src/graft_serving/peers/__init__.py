"""How the pods of one base know one another: each shows a token of its ServiceAccount, for an audience that is theirs.

`tokens` decides by a token alone, with the API server's public keys (`signing_keys`); `identity` is the pod's own side
of it: the token that it shows, and what it makes of the tokens of others.
"""
