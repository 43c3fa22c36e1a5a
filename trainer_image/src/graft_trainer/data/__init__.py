"""From whatever people have to tokens and labels.

`files` brings and reads them, `formats` and `turns` make conversations of their
rows, `dataset` holds some out, and `rendering` writes them as the base's own template does. What can't be used is a
reason with a count (`dropped_rows`).
"""
