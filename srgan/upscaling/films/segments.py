"""The files in which the segments of a film wait until all are there: packets, and what was seen.

A record for each packet, then a table of them as JSON, then the table's length in eight bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import av
from av.packet import PacketSideData, packet_sidedata_type_from_literal

ALPHA: Final = "matroska_block_additional"
"""VP9 keeps transparency in a second packet beside the first."""

_LENGTH = struct.Struct("<q")


class PacketRecord(NamedTuple):
    """A packet of a segment."""

    time: int
    """When its frame is shown, in units of the source's stream."""
    is_key: bool
    size: int
    alpha_size: int


@dataclass(frozen=True)
class SegmentTable:
    """What a segment's file holds."""

    packets: Sequence[PacketRecord]
    errors: int
    """How often the decoder failed."""
    notes: Sequence[str] = field(default=())
    """What the result does not keep, or how frames were changed; a line each."""


class SegmentWriter:
    """Writes a segment's file, packet by packet; `finish` makes it whole."""

    def __init__(self, path: Path) -> None:
        """Begin the file."""
        self._file = open(path, "wb")  # noqa: SIM115
        self._records: list[PacketRecord] = []

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, time: int, packet: av.Packet) -> None:
        """Add a packet of PyAV whose frame is shown at that time, in the source's units."""
        content, alpha = bytes(packet), b""
        if packet.has_sidedata(ALPHA):
            alpha = bytes(packet.get_sidedata(ALPHA))
        self._file.write(content)
        self._file.write(alpha)
        self._records.append(PacketRecord(time, packet.is_keyframe, len(content), len(alpha)))

    def finish(self, errors: int, notes: Sequence[str]) -> SegmentTable:
        """Write the table; its fields are those of SegmentTable."""
        table = SegmentTable(self._records, errors, notes)
        text = json.dumps(asdict(table), allow_nan=False).encode()
        self._file.write(text)
        self._file.write(_LENGTH.pack(len(text)))
        return table


def read_table(path: Path) -> SegmentTable:
    """The table at the end of a segment's file."""
    with open(path, "rb") as file:
        end = file.seek(-_LENGTH.size, 2)
        (length,) = _LENGTH.unpack(file.read())
        file.seek(end - length)
        found = json.loads(file.read(length))
    packets = [PacketRecord(*record) for record in found["packets"]]
    return SegmentTable(packets, found["errors"], found["notes"])


def read_packets(path: Path, table: SegmentTable) -> Iterator[av.Packet]:
    """PyAV's packets of a segment's file, without stream and unit of time."""
    with open(path, "rb") as file:
        for record in table.packets:
            packet = av.Packet(file.read(record.size))
            if record.alpha_size:
                kind = packet_sidedata_type_from_literal(ALPHA)
                data = PacketSideData(kind, record.alpha_size)  # type: ignore[call-arg]
                data.update(file.read(record.alpha_size))
                data.to_packet(packet, move=True)
            packet.pts = packet.dts = record.time
            packet.is_keyframe = record.is_key
            yield packet
