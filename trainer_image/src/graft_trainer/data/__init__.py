"""From whatever people have to tokens and labels.

`sources` brings the files, `file_types` and `record_files` read them, `formats` and `turns` make conversations of their
rows, `dataset` holds some out, and `rendering` writes them as the base's own template does. What can't be used is a
reason with a count (`dropped_rows`).
"""
