"""Adapters that were trained elsewhere: what is imported, on which base, and when there is something new.

| module | its question |
|---|---|
| ``origin`` | is a version imported or trained, and for which base was what the source holds imported |
| ``recipe`` | what makes two imports the same |
| ``looks`` | when is the source looked at again, and what has the last look found |
| ``checks`` | what keeps an import from being made, or from being served |

An import is a Job as a training is, and what comes of it a version like any other: its failures are counted by
``training/retry_policy``, its gate is that of ``training/gate``, and ``rollout`` moves the alias.
"""
