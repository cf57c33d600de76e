"""The hidden ends of a flow: the sinks into which operators send the records that failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from streamlib.core.canonical import canonical
from streamlib.core.contracts import OperatorSpec, Sink, StreamType
from streamlib.core.errors import DefinitionError, TypeMismatchError
from streamlib.core.letters import LETTERS
from streamlib.core.policies import DeadLetter, ErrorPolicy, Retry, dead_letter_of
from streamlib.plan.node import Node, Port, WriteLetters

LETTERS_TYPE = StreamType(LETTERS)


def dead_letter_ends(nodes: Sequence[Node]) -> list[Node]:
    """A sink for every name under which `nodes` send dead letters; those with the same name share it.

    Raises `DefinitionError` for two sinks under one name.
    """
    found: dict[str, tuple[DeadLetter, list[Node]]] = {}
    for node in nodes:
        letter = dead_letter_of(node.on_error)
        if letter is None:
            continue
        first, senders = found.setdefault(letter.name, (letter, []))
        if canonical(first.sink) != canonical(letter.sink):
            raise node.blame(
                DefinitionError(
                    f"two sinks of dead letters are called {letter.name!r}",
                    expected="one sink under that name",
                    found=f"{first.sink!r} and {letter.sink!r}",
                    remedy='name one of them: sl.dead_letter(sink, name="...")',
                )
            )
        senders.append(node)
    return [
        Node(
            WriteLetters(letter.sink),
            tuple(Port(node, len(node.spec.outputs)) for node in senders),
            name,
            senders[0].where,
        )
        for name, (letter, senders) in found.items()
    ]


def shares_columns(schema: pa.Schema) -> bool:
    """Whether rows of this schema are dead letters."""
    return schema.names == LETTERS.names and schema.types == LETTERS.types


def with_sink(policy: ErrorPolicy, sinks: dict[str, Sink]) -> ErrorPolicy:
    """The policy with the sink of its dead letters replaced, where `sinks` has one of that name."""
    letter = dead_letter_of(policy)
    return policy if letter is None or letter.name not in sinks else without_sink(policy, sinks[letter.name])


def without_sink(policy: ErrorPolicy, stand_in: Any) -> ErrorPolicy:
    """The policy with `stand_in` for the sink of its dead letters."""
    letter = dead_letter_of(policy)
    if letter is None:
        return policy
    other = replace(letter, sink=stand_in)
    return replace(policy, then=other) if isinstance(policy, Retry) else other


def check_policy(node: Node, inputs: Sequence[StreamType]) -> None:
    """Raise where the node can't do what its policy says."""
    spec, policy = node.spec, node.on_error
    if policy == "fail":
        return
    if isinstance(spec, OperatorSpec) and spec.stateful and not spec.isolates:
        raise DefinitionError(
            f"{spec.kind} keeps state, so a batch that failed half-way can't be tried again",
            expected='on_error="fail"',
            found=f"on_error={policy!r}",
            remedy="check the records before it, in an operator of their own",
        )
    if dead_letter_of(policy) is not None and any(stream.changes is not None for stream in inputs):
        raise TypeMismatchError(
            "changes can't be dead letters: run again later, they would undo newer ones",
            expected="an append-only stream",
            found="a changelog",
            remedy='put it before the aggregate, or use on_error="skip"',
        )
