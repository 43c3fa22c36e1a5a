"""The way of a request to an engine and back.

`body` finds the model that it names; `routing` decides who answers and `attempts` in which order others may follow;
`dispatch` carries that out, try by try, and leaves out for a while who has failed (`ejection`); `relay` is one try;
`answers` puts the name that was asked for into what comes back, and counts it; `headers` are those of pods among
themselves.
"""
