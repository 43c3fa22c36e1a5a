"""Several processes that train one adapter: how they start, meet, share out weights, and end as one."""
