"""Lives of the operator on a bad day: ``make test-chaos`` (RUNS, CHAOS_SEED, CHAOS_PARALLEL).

`faults` draws by a seed what befalls each request. Between the operator and the two servers that it needs stand
`api_proxy`, which also knows watch streams line by line, and `s3_proxy`. `script` draws by the same seed what people do
in one life, `life` does it, `checks` says what must be true once the faults are over, and `__main__` runs many lives.

What befalls the n-th request of a kind to a path depends on the seed alone, so a seed can be run again. How requests of
different paths fall between each other is up to the machine: a rare interleaving may need the seed a few times.
"""
