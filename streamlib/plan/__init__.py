"""Flows as values: nodes, streams, binding, explanation, guarantees."""
