"""Checkpoints on disk: manifests, state files, the fence between two runs of a job, retention.

`store.StateStore` is the one door; the other modules are its parts.
"""
