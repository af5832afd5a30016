"""The HTTP service: its application, its queues of searches, and the processes that run it.

Its modules need the libraries of the extra `serve`, so that only `genir.serve` imports them, once it has checked that.
"""
