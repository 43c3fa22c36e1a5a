"""From a spec to a version that has passed its gate. ``plan`` is the way in: a chain of checks.

| module | its question |
|---|---|
| ``recipe`` | what makes two trainings the same, and by which recipes is a spec fulfilled |
| ``recipe_choice`` | which of them it is: a warm start from an older version, or from nothing |
| ``servability``, ``memory`` | can the base serve it, and does it fit the GPU |
| ``job``, ``current_job``, ``progress`` | which Job is due, which one is at work, and how far it is |
| ``micro_batch`` | how many rows a forward pass has once that ran out of memory |
| ``retry_policy`` | is a failed one tried again, in another way where that helps, or ended |
| ``failure_counts`` | how often has it failed alike: how long does it rest, and when is it given up as a crash loop |
| ``rank`` | is a rank too low, and which one is next |
| ``gate`` | is what was published good enough to be served |
| ``versions``, ``decision`` | what the status keeps of versions, and what a check says |
"""
