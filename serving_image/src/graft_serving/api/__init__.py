"""The API that clients see, on the pod's port for them and on the one for other pods.

`router` lists the paths and answers what the agent itself answers (`model_list`, `errors`); `authentication` knows who
may ask, of clients by `api_keys`, and `cors` which pages may; `intake` bounds what is taken in; `waiting_room` lets a
request wait for an adapter that is loaded on demand. What is left goes to `graft_serving.proxy`.
"""
