"""The way of an adapter's version, from the registry to proven, and out again.

`lifecycle` owns the records and takes the steps that `planning` decides; `bring_up` fetches (`cache`,
`registry_source`), has the files checked (`checks`, `finiteness`), loads, proves (`proof`), and sees that the base
answers as before (`base_answers`); `scoring` asks the probes of a rollout; `eviction` says whose files give way;
`memory` is what outlives the agent.
"""
