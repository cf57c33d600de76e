"""Classes of Protocol Buffers messages, made of descriptors: no protoc is needed."""

from __future__ import annotations

from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    message_factory,
    timestamp_pb2,
    wrappers_pb2,
)

F = descriptor_pb2.FieldDescriptorProto


def message_classes() -> dict[str, Any]:
    """`Bid` with a field of every kind, `Tree` that holds itself, `Old` of proto2 with a required field."""
    pool = descriptor_pool.DescriptorPool()
    for known in (timestamp_pb2, duration_pb2, wrappers_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(name="bids.proto", package="t", syntax="proto3")
    file.dependency.extend(known.DESCRIPTOR.name for known in (timestamp_pb2, duration_pb2, wrappers_pb2))
    kind = file.enum_type.add(name="Kind")
    kind.value.add(name="UNKNOWN", number=0)
    kind.value.add(name="HOT", number=5)
    item = file.message_type.add(name="Item")
    _field(item, "name", 1, F.TYPE_STRING)
    _field(item, "tags", 2, F.TYPE_STRING, repeated=True)
    bid = file.message_type.add(name="Bid")
    _field(bid, "auction", 1, F.TYPE_INT64)
    _field(bid, "price", 2, F.TYPE_DOUBLE, optional=True)
    _field(bid, "kind", 3, F.TYPE_ENUM, of=".t.Kind")
    _field(bid, "at", 4, F.TYPE_MESSAGE, of=".google.protobuf.Timestamp")
    _field(bid, "item", 5, F.TYPE_MESSAGE, of=".t.Item")
    _field(bid, "items", 6, F.TYPE_MESSAGE, of=".t.Item", repeated=True)
    _field(bid, "counts", 7, F.TYPE_MESSAGE, of=".t.Bid.CountsEntry", repeated=True)
    _field(bid, "note", 8, F.TYPE_MESSAGE, of=".google.protobuf.StringValue")
    _field(bid, "took", 9, F.TYPE_MESSAGE, of=".google.protobuf.Duration")
    _field(bid, "data", 10, F.TYPE_BYTES)
    _field(bid, "small", 11, F.TYPE_FLOAT)
    _field(bid, "ids", 12, F.TYPE_UINT32, repeated=True)
    entry = bid.nested_type.add(name="CountsEntry")
    entry.options.map_entry = True
    _field(entry, "key", 1, F.TYPE_STRING)
    _field(entry, "value", 2, F.TYPE_INT64)
    tree = file.message_type.add(name="Tree")
    _field(tree, "left", 1, F.TYPE_MESSAGE, of=".t.Tree")
    pool.Add(file)
    old = descriptor_pb2.FileDescriptorProto(name="old.proto", package="o", syntax="proto2")
    record = old.message_type.add(name="Old")
    record.field.add(name="id", number=1, type=F.TYPE_INT64, label=F.LABEL_REQUIRED)
    record.field.add(name="name", number=2, type=F.TYPE_STRING, label=F.LABEL_OPTIONAL)
    pool.Add(old)
    names = ("t.Bid", "t.Item", "t.Tree", "o.Old")
    return {name[2:]: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names}


def _field(
    message: Any,
    name: str,
    number: int,
    kind: Any,
    *,
    of: str | None = None,
    repeated: bool = False,
    optional: bool = False,
) -> None:
    label = F.LABEL_REPEATED if repeated else F.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, type=kind, label=label, type_name=of)
    if optional:
        field.proto3_optional = True
        field.oneof_index = len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")
