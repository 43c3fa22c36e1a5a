"""The optimisation: the loop, what it writes down as it goes, and how it begins again where it was killed."""
