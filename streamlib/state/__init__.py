"""Keyed state: key groups (which worker owns which key) and the codec of state tables."""
