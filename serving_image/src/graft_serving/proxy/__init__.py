"""The way of a request, from a client of the pod to an engine and back.

`router` lists the API's paths and reads what a request asks for (`generation_request`, `api_keys`); `routing` decides
who answers; `waiting_room` lets it wait for an adapter that is loaded on demand; `relay` and `forwarding` carry it out,
to the engine or to another pod; `answers` puts the name that was asked for into what comes back.
"""
