"""Learns which answer is better: from pairs (DPO), or from answers that are wanted or not (KTO).

`rendering` makes two rows of each preference, `batches` puts them together, `losses` has the formulas, `likelihoods`
what they are made of, `reference` the model that the adapter is held near, `trainer` the step, and `scores` judges the
finished adapter. How rows say what is preferred is in `graft_trainer.data.preferences`.
"""
