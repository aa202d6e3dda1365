"""Holds the contract that callers rely on: protos/sightline.binpb, the descriptor set of protos/sightline/v1.

    python tools/contract.py            write it, unless that breaks what is in it
    python tools/contract.py --check    tell whether it is up to date, and whether the protos break it
    python tools/contract.py --break    write it anyway: for a new major version

Additions are welcome. Whatever a caller of today may have compiled, sent or stored stays: names, numbers, types, JSON
names, services, methods, and which way they stream.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

CHECKOUT = Path(__file__).resolve().parents[1]
PROTOS = CHECKOUT / "protos"
CONTRACT = PROTOS / "sightline.binpb"


def main() -> int:
    """Writes or checks the contract; returns the exit code."""
    kept = CONTRACT.read_bytes() if CONTRACT.exists() else b""
    fresh = compiled(PROTOS)
    broken = breaks(FileDescriptorSet.FromString(kept), FileDescriptorSet.FromString(fresh))
    if broken and sys.argv[1:] != ["--break"]:
        print("\n".join(["The protos break the contract:", *broken]), file=sys.stderr)
        return 1
    if sys.argv[1:] == ["--check"]:
        if fresh != kept:
            print("protos/sightline.binpb is out of date: run make protos", file=sys.stderr)
        return int(fresh != kept)
    CONTRACT.write_bytes(fresh)
    return 0


def compiled(protos: Path) -> bytes:
    """Returns the descriptor set of the public files under a folder, with what they import."""
    files = sorted(str(file) for file in (protos / "sightline" / "v1").glob("*.proto"))
    with TemporaryDirectory() as folder:
        made = Path(folder) / "set"
        command = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(protos)]
        command += ["--include_imports", f"--descriptor_set_out={made}", *files]
        subprocess.run(command, check=True)
        return made.read_bytes()


def breaks(old: FileDescriptorSet, new: FileDescriptorSet) -> list[str]:
    """Returns what the old contract says and the new one does not, a line for each."""
    stays = dict(facts(new))
    return [
        f"{what}: was {was}, {'is ' + stays[what] if what in stays else 'is gone'}"
        for what, was in facts(old)
        if stays.get(what) != was
    ]


def facts(contract: FileDescriptorSet) -> Iterator[tuple[str, str]]:
    """Everything that a caller may rely on: what it is about, and what holds."""
    for file in contract.file:
        yield from _of_file(file)


def _of_file(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for message in file.message_type:
        yield from _of_message(f"{file.package}.{message.name}", message)
    for enum in file.enum_type:
        yield from _of_enum(f"{file.package}.{enum.name}", enum)
    for service in file.service:
        name = f"{file.package}.{service.name}"
        yield f"service {name}", "there"
        for method in service.method:
            asked = f"{'stream ' * method.client_streaming}{method.input_type}"
            answered = f"{'stream ' * method.server_streaming}{method.output_type}"
            yield f"rpc {name}/{method.name}", f"({asked}) returns ({answered})"


def _of_message(name: str, message: DescriptorProto) -> Iterator[tuple[str, str]]:
    yield f"message {name}", "there"
    for field in message.field:
        yield f"field {field.number} of {name}", _described(field, message)
    for nested in message.nested_type:
        yield from _of_message(f"{name}.{nested.name}", nested)
    for enum in message.enum_type:
        yield from _of_enum(f"{name}.{enum.name}", enum)


def _described(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    label = FieldDescriptorProto.Label.Name(field.label).removeprefix("LABEL_").lower()
    kind = field.type_name or FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
    return " ".join(filter(None, [label, kind, field.name, f"json {field.json_name}", oneof and f"in oneof {oneof}"]))


def _of_enum(name: str, enum: EnumDescriptorProto) -> Iterator[tuple[str, str]]:
    yield f"enum {name}", "there"
    for value in enum.value:
        yield f"value {value.number} of {name}", value.name


if __name__ == "__main__":
    sys.exit(main())
