"""What is checked of a flow's connectors and operators before any of them is opened."""

from __future__ import annotations

from collections.abc import Iterator

from streamlib.core.secrets import Secret, secrets_in
from streamlib.plan.bind import BoundFlow, BoundNode
from streamlib.runners.blame import blaming


def secrets_of(flow: BoundFlow) -> Iterator[tuple[BoundNode, Secret]]:
    """The secrets of a flow, and what they were given to."""
    for bound in flow.nodes:
        for secret in secrets_in(bound.node.spec):
            yield bound, secret


def check_secrets(flow: BoundFlow) -> None:
    """Read every secret once: a missing one raises `SecretError` here, and none is ever printed."""
    for bound, secret in secrets_of(flow):
        with blaming(bound.node):
            secret.reveal()
