#!/usr/bin/env python3
"""Writes first inputs of the fuzz targets into fuzz/seeds, from what real programs sent: the captures of the tests and the
messages of Open vSwitch. Standard library only.

    python3 fuzz/seeds.py
"""
import struct
from pathlib import Path

HERE = Path(__file__).resolve().parent
CAPTURES = HERE.parent / "tests" / "captures"
HANDSHAKE = 1 + 1536 + 1536


def write(target, name, data):
    folder = HERE / "seeds" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def packets(path):
    """Ethernet frames of a classic little-endian capture."""
    data = path.read_bytes()
    assert data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"), path
    at = 24
    while at + 16 <= len(data):
        length = struct.unpack_from("<I", data, at + 8)[0]
        yield data[at + 16 : at + 16 + length]
        at += 16 + length


def segments(path):
    """(client to server?, connection, sequence number, SYN, payload, frame) of TCP over IPv4."""
    for frame in packets(path):
        if frame[12:14] != b"\x08\x00" or frame[23] != 6:
            continue
        ip = 14 + 4 * (frame[14] & 15)
        end = 14 + struct.unpack_from(">H", frame, 16)[0]
        source, target, seq = struct.unpack_from(">HHI", frame, ip)
        payload = frame[ip + 4 * (frame[ip + 12] >> 4) : end]
        yield target == 1935, max(source, target), seq, bool(frame[ip + 13] & 2), payload, frame


def streams(path):
    """Each direction's bytes; in these captures nothing is lost."""
    found = {}
    for up, connection, seq, syn, payload, _ in segments(path):
        begin, pieces = found.setdefault((connection, up), [seq + 1 if syn else seq, {}])
        if payload:
            pieces[(seq - begin) & 0xFFFFFFFF] = payload
    for key, (_, pieces) in sorted(found.items()):
        stream = b""
        for offset, payload in sorted(pieces.items()):
            if offset <= len(stream):
                stream += payload[len(stream) - offset :]
        yield key, stream


def assembler(path):
    """A connection's segments in the short form of the target, with some of them twice and some swapped."""
    steps = []
    for up, _, seq, syn, payload, _ in segments(path):
        if not up:
            steps.append((seq & 0xFFFF, min(255, len(payload) // 8), int(syn)))
    steps = steps[:200]
    for n in range(5, len(steps) - 1, 7):
        steps[n], steps[n + 1] = steps[n + 1], steps[n]
    steps[20:20] = steps[10:12]
    return b"\0\0\0\0" + b"".join(struct.pack(">HBB", *step) for step in steps)


def chunk_payloads(stream):
    """Whatever looks like the beginning of an AMF0 command or of metadata."""
    at = 0
    while (at := stream.find(b"\x02\x00", at)) >= 0:
        length = stream[at + 2] if at + 2 < len(stream) else 0
        if 3 < length < 16 and stream[at + 3 : at + 3 + length].isalpha():
            yield stream[at : at + 300]
        at += 1


def main():
    for path in sorted(CAPTURES.glob("*.pcap")):
        scheme = b""
        for n, (up, _, _, _, _, frame) in enumerate(segments(path)):
            if n >= 60:
                break
            port = 1 if up else 2
            scheme += struct.pack(">BBH", port << 2, 3, len(frame)) + frame
        write("scheme", path.stem, scheme)
        write("assembler", path.stem, assembler(path))
        for (connection, up), stream in streams(path):
            name = f"{path.stem}-{connection}-{'up' if up else 'down'}"
            write("rtmp", name, bytes([0, 200]) + stream[HANDSHAKE : HANDSHAKE + 6000])
            write("rtmp", name + "-handshake", bytes([3, 255]) + stream[: HANDSHAKE + 1000])
            for n, payload in enumerate(chunk_payloads(stream[HANDSHAKE : HANDSHAKE + 6000])):
                write("amf0", f"{name}-{n}", payload)
            # The same payloads as FLV tags.
            tags = b"FLV\1\5\0\0\0\x09\0\0\0\0"
            for n in range(6):
                payload = stream[HANDSHAKE + n * 100 : HANDSHAKE + n * 130 + 50]
                tag = bytes([(8, 9, 18)[n % 3]]) + struct.pack(">I", len(payload))[1:] + bytes([0, 0, n, 0, 0, 0, 0]) + payload
                tags += tag + struct.pack(">I", len(tag))
            write("flv", name, b"\x40" + tags)
    hello = {"1.0": bytes.fromhex("0100000800000001"), "1.3": bytes.fromhex("04000010000000010001000800000012")}
    for version in hello:
        text = (HERE.parent / "controller" / "testdata" / f"ovs-3.1-openflow-{version}.hex").read_text()
        messages = [line.split(" ")[1] for line in text.splitlines() if line and not line.startswith("#")]
        for n, message in enumerate(messages):
            write("openflow", f"{version}-{n}", b"\x30" + hello[version] + bytes.fromhex(message))
        write("openflow", version, b"\xc8" + hello[version] + bytes.fromhex("".join(messages)))


main()
