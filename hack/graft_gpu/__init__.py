"""What a GPU has to show that is not here: one bundle to take along, and one command that takes under ten minutes.

`bundle` packs what a machine with a GPU and PyTorch lacks. `check` runs there: the tests that need a GPU, and then
trainings of random models by their shapes, each in a process of its own. ``check --dry-run`` does the same here, on a
CPU, with shapes of a few thousand weights: it proves the command, and no figure.
"""
