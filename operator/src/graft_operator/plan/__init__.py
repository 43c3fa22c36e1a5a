"""The decisions, all pure: a snapshot and the time go in, actions and a status come out.

| part | its question |
|---|---|
| ``adapter/`` | what is next for one adapter: puts the answers of the other parts together, and says what is true |
| ``training/`` | which version should exist, and what to do so that it does |
| ``imports/`` | the same of an adapter that was trained elsewhere: what is imported, for which base, what is new |
| ``preparation/`` | whether a Job of its own prepares a training's rows |
| ``rollout/`` | where the alias points: to the next version, step by step, and back |
| ``base/`` | what is next for one base: its source, its revisions, whom it lets train anew |
| ``placement/`` | which pods hold which version, when there are more than they have places for |
| ``snapshot``, ``jobs``, ``known`` | what a decision depends on: all, a Job and its pods, what is stored elsewhere |
| ``actions`` | what a plan may ask for |
| ``events`` | what people are told of a change |
| ``queueing``, ``pod_problems``, ``pod_hints``, ``engine_start`` | why something does not run yet, and what may help |
| ``rejections`` | what waits for an object that the API server refuses, and what the conditions say of it |

One version has a name for each part that it plays. For the registry it is *published*; it *fulfils* a recipe, and the
one that fulfils the spec's is the *current* one. The gate lets a *candidate* through. In a rollout it is the *target*,
and the one that answered before, and answers again after a rollback, is the *previous* one (*stable*, once nothing
moves). The alias points to the *live* one.
"""
