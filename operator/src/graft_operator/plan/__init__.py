"""The decisions, all pure: a snapshot and the time go in, actions and a status come out.

| room | its question |
|---|---|
| ``snapshot``, ``jobs`` | what is known of one adapter, or of one base, when it is decided about |
| ``adapter/`` | what is next for one adapter: puts the answers of the rooms together, and says what is true |
| ``training/`` | which version should exist, and what to do so that it does |
| ``rollout/`` | where the alias points: to the next version, step by step, and back |
| ``base/`` | what is next for one base: its source, its revisions, what it grants its adapters |
| ``placement/`` | which pods hold which version, when there are more than they have places for |
| ``actions`` | what a plan may ask for |
| ``events``, ``rejections`` | what people are told of a change, and of an object that the API server refuses |
"""
