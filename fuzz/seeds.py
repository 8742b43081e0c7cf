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


def simple_captures():
    """Those of plain IPv4 in classic files."""
    return [path for path in sorted(CAPTURES.glob("*.pcap")) if any(segments(path))]


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


LITTLE, BIG = "<", ">"


def classic(order, magic, unit, link, frames, more=b""):
    """A classic capture of (nanoseconds, bytes); `more` ends each packet's header."""
    file = struct.pack(order + "IHHIIII", magic, 2, 4, 0, 0, 262144, link)
    for time, frame in frames:
        file += struct.pack(order + "IIII", time // 10**9, time % 10**9 // unit, len(frame), len(frame)) + more + frame
    return file


def pcapng(order, link, frames):
    """A pcapng of one section and two interfaces; the second counts from an offset, and the packets came over it."""

    def block(kind, body):
        body += bytes(-len(body) % 4)
        length = struct.pack(order + "I", len(body) + 12)
        return struct.pack(order + "I", kind) + length + body + length

    file = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    file += block(1, struct.pack(order + "HHI", link, 0, 0))
    options = struct.pack(order + "HHB3xHHqHH", 9, 1, 9, 14, 8, 10**9, 0, 0)
    file += block(1, struct.pack(order + "HHI", link, 0, 0) + options)
    file += block(5, bytes(12))
    for time, frame in frames:
        time -= 10**18
        file += block(6, struct.pack(order + "IIIII", 1, time >> 32, time & 0xFFFFFFFF, len(frame), len(frame)) + frame)
    return file


def rejoined(path, up_to):
    """The first direction from the server, from its SYN, in few packets: a handshake takes two of 1460 bytes."""
    first, wanted = None, None
    for up, connection, seq, syn, payload, frame in segments(path):
        if up or wanted not in (None, connection):
            continue
        wanted = connection
        if syn:
            first, stream = (seq + 1, frame), b""
        elif first and payload and (seq - first[0]) & 0xFFFFFFFF == len(stream):
            stream += payload
    syn = first[1][:54]
    yield ethernet(syn, first[0] - 1, 2, b"")
    for at in range(0, up_to, 1460):
        yield ethernet(syn, first[0] + at, 16, stream[at : min(at + 1460, up_to)])


def ethernet(like, seq, flags, payload):
    """A packet of the same connection, without options."""
    head = bytearray(like)
    struct.pack_into(">H", head, 16, 40 + len(payload))
    struct.pack_into(">I", head, 38, seq & 0xFFFFFFFF)
    head[46], head[47] = 0x50, flags
    return bytes(head) + payload


def peers():
    """A peer connection: request and reply, the reply's second packet twice and its third before it."""
    tag = b"\x09" + struct.pack(">I", 40)[1:] + bytes([0, 0, 33, 0, 0, 0, 0]) + b"\x12" + bytes(39) + struct.pack(">I", 51)
    reply = b"FLV\1\1\0\0\0\x09\0\0\0\0" + 3 * tag
    head = bytes.fromhex("020000000001020000000002080045000028000000004006000000000000") + bytes([0] * 24)
    ends = [(b"\x0a\0\0\3\x0a\0\0\1", 40000, 2000), (b"\x0a\0\0\1\x0a\0\0\3", 2000, 40000)]
    for (addresses, source, target), what in zip(ends, (b"livectl/1 play live/hb\n", reply)):
        like = bytearray(head)
        like[26:34] = addresses
        struct.pack_into(">HH", like, 34, source, target)
        yield ethernet(like, 99, 2, b"")
        parts = [(at, what[at : at + 50]) for at in range(0, len(what), 50)]
        if len(parts) > 3:
            parts[1:4] = [parts[2], parts[1], parts[1], parts[3]]
        for at, part in parts:
            yield ethernet(like, 100 + at, 16, part)


def captures():
    """(name, capture) in all the forms of a file and of a packet."""
    connections = {path.stem: list(rejoined(path, 7500)) for path in simple_captures()}
    connections["peers"] = list(peers())
    begin = 1_764_000_000_123_456_789
    for name, frames in connections.items():
        timed = [(begin + 1000 * n, frame) for n, frame in enumerate(frames)]
        for order, text in ((LITTLE, "le"), (BIG, "be")):
            yield f"{name}-us-{text}", classic(order, 0xA1B2C3D4, 1000, 1, timed)
            yield f"{name}-ns-{text}", classic(order, 0xA1B23C4D, 1, 1, timed)
            yield f"{name}-ng-{text}", pcapng(order, 1, timed)
        yield f"{name}-modified", classic(LITTLE, 0xA1B2CD34, 1000, 1, timed, bytes(8))
        vlan = [(time, frame[:12] + bytes.fromhex("8100002a") + frame[12:]) for time, frame in timed]
        yield f"{name}-vlan", classic(LITTLE, 0xA1B23C4D, 1, 1, vlan)
        v6 = [(time, frame[:12] + b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, len(frame) - 34, 6, 64)
               + bytes(12) + frame[26:30] + bytes(12) + frame[30:]) for time, frame in timed]
        yield f"{name}-v6", classic(LITTLE, 0xA1B23C4D, 1, 1, v6)
        for link, prefix in ((101, b""), (113, bytes(14) + b"\x08\0"), (276, b"\x08\0" + bytes(18))):
            yield f"{name}-link-{link}", classic(LITTLE, 0xA1B23C4D, 1, link, [(t, prefix + f[14:]) for t, f in timed])
    for path in CAPTURES.glob("*.pcap*"):
        yield f"{path.stem}-cut", path.read_bytes()[:8000]


def datagrams():
    """(name, steps) of the target: tags whose parts come in order, reversed, twice, with one missing, and of two publications."""
    parts = [(number, part) for number in range(40) for part in range(3)]
    orders = {
        "in-order": parts,
        "reversed": parts[::-1],
        "twice": [one for one in parts for _ in range(2)],
        "some-missing": [one for n, one in enumerate(parts) if n % 7],
        "swapped": [parts[n ^ 1] for n in range(len(parts))],
    }
    for name, order in orders.items():
        for later in (0, 1, 40):
            for kind, session, size in ((0, 0, 0), (0, 64, 255), (0x30, 0, 0), (0x80, 128, 9)):
                steps = b"".join(
                    bytes([kind, number, session if n > 60 else 0, size, part, n & 255, later, 0])
                    for n, (number, part) in enumerate(order)
                )
                yield f"{name}-{later}-{kind}-{session}", steps + bytes([15, 40, session, 0, 0, 120, 0, 0])
    yield "bytes", b"LVD\1" + bytes(3) + b"\1" + bytes(16) + b"\x09\0\0\3" + bytes(4) + b"abc"


def main():
    for name, steps in datagrams():
        write("datagram", name, steps)
    for name, file in captures():
        write("capture", name, bytes([100, 128]) + file)
    for path in simple_captures():
        scheme = b""
        for n, (up, _, _, _, _, frame) in enumerate(segments(path)):
            if n >= 60:
                break
            port = 1 if up else 2
            scheme += struct.pack(">BBH", port << 2, 3, len(frame)) + frame
            if up:
                said = frame
        write("scheme", path.stem, scheme)
        # The client falls silent, is asked for a while, and answers.
        write("scheme", path.stem + "-silent", scheme + b"".join(
            struct.pack(">BBH", kind << 5 | 1 << 2, later, len(said)) + said for kind, later in ((5, 0), (0, 50), (0, 50))))
        write("assembler", path.stem, assembler(path))
        for (connection, up), stream in streams(path):
            name = f"{path.stem}-{connection}-{'up' if up else 'down'}"
            write("rtmp", name, bytes([0, 200]) + stream[HANDSHAKE : HANDSHAKE + 6000])
            write("rtmp", name + "-handshake", bytes([3, 255]) + stream[: HANDSHAKE + 1000])
            write("agent", name, bytes([1, 200]) + stream[: HANDSHAKE + 5000])
            for n, payload in enumerate(chunk_payloads(stream[HANDSHAKE : HANDSHAKE + 6000])):
                write("amf0", f"{name}-{n}", payload)
            # The same payloads as FLV tags.
            tags = b"FLV\1\5\0\0\0\x09\0\0\0\0"
            for n in range(6):
                payload = stream[HANDSHAKE + n * 100 : HANDSHAKE + n * 130 + 50]
                tag = bytes([(8, 9, 18)[n % 3]]) + struct.pack(">I", len(payload))[1:] + bytes([0, 0, n, 0, 0, 0, 0]) + payload
                tags += tag + struct.pack(">I", len(tag))
            write("flv", name, b"\x40" + tags)
    identity = "00112233445566778899aabbccddeeff"
    for n, since in enumerate(("", " live", f" after 33 {identity}", f" after 33 {identity} live", " waiting 250", " waiting 250 live")):
        write("peer", f"play-{n}", f"livectl/1 play live/hb{since}\n".encode())
    for n, line in enumerate(("stream - - -", "stream 12 0 33", "stream 0 3 4294967295", "error the stream has ended")):
        write("peer", f"answer-{n}", f"livectl/1 {line}\n".encode() + b"FLV\1\5\0\0\0\x09")
    for n, news in enumerate(("-", "hasten", "peer child 10.0.0.2:2000,10.0.0.3:2000 live/hb", "ack peer parent 10.0.0.1:2000 live/hb")):
        write("peer", f"heartbeat-{n}", f"livectl/1 {n:010} {news}".ljust(127).encode() + b"\n")
    hello = {"1.0": bytes.fromhex("0100000800000001"), "1.3": bytes.fromhex("04000010000000010001000800000012")}
    for version in hello:
        text = (HERE.parent / "controller" / "testdata" / f"ovs-3.1-openflow-{version}.hex").read_text()
        messages = [line.split(" ")[1] for line in text.splitlines() if line and not line.startswith("#")]
        for n, message in enumerate(messages):
            write("openflow", f"{version}-{n}", b"\x30" + hello[version] + bytes.fromhex(message))
        write("openflow", version, b"\xc8" + hello[version] + bytes.fromhex("".join(messages)))


main()
