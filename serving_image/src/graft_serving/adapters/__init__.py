"""The life of an adapter's version on this pod: fetched, loaded, proven, drained and unloaded.

`lifecycle` owns the records of all versions and takes the steps that `planning` decides. `bring_up` is one such step:
it fetches the files (`cache`, `registry_source` with keys from `credentials`), checks them (`checks`, `finiteness`),
loads them, proves by golden prompts that the adapter is applied (`proof`), and checks that the base's own answers have
not changed (`base_answers`). `asking` bounds how many prompts of all that are in the engine at once. `scoring` asks the
probes of a rollout, `eviction` chooses which files to delete, and `saved_state` is what survives a restart.
"""
