"""The way of a request to an engine and back.

`body` finds the model that it names; `routing` decides which version answers, and `attempts` where the request may go
and what may follow a try that failed; `dispatch` carries that out, try by try, and asks last for a while who has failed
(`ejection`); `relay` is one try, on one of the `connections`, and `engine_target` what answers it in this pod's engine;
`reports` says in words and figures what became of the tries;
`answers` puts the name that was asked for into what comes back, and counts it; `headers` are those of pods among
themselves.
"""
