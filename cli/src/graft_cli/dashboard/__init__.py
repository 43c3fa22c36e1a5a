"""``kubectl graft dashboard``: what the API server tells of bases and adapters, as a page that keeps up by itself.

A small HTTP server on the person's own machine reads with the person's own rights and changes nothing. ``access`` says
who may ask it, ``rows``, ``details``, ``curves`` and ``holdings`` what the page is told: all pure. ``board`` looks at
the cluster and knows what has changed since, ``workloads`` asks pods, and ``server`` answers. ``page`` is what the
browser gets: HTML, CSS and ES modules as they stand there, without a build and without anything from elsewhere.
"""
