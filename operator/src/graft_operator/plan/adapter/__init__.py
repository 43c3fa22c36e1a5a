"""One adapter: what is done next, and what is said of it. ``plan`` is the way in.

``fast_path`` tells the many adapters of which nothing is to be done, ``conditions`` says what is true, ``pins`` what is
true under a pin, ``advice`` what is legal and yet seldom meant, and ``deletion`` what is cleaned up when an adapter
goes.
"""
