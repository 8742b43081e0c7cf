#!/usr/bin/env python3
"""How fast livectl and tshark read the same capture, side by side on one core: the time, timestamp and size of every video message.

Makes the capture (four viewers of one CDN, MTU-sized packets, chunks of 4096 bytes, with retransmissions and packets out of order),
reads it with both in turn, compares what they found, and prints a table of medians. Then a capture four times as large, which must
take no more memory but for its list of messages, and one of empty packets. Needs cargo, taskset and tshark, and room for five
times SIZE in the folder for temporary files (TMPDIR).

Usage: wire/benches/captures.py [--megabytes SIZE] [--format pcap|pcapng] [--rounds N] [--core N]
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCH = ["cargo", "bench", "--quiet", "--package", "livectl-wire", "--features", "testbed", "--bench", "captures"]
FIELDS = ["frame.time_epoch", "ip.src", "tcp.srcport", "ip.dst", "tcp.dstport",
          "rtmpt.header.typeid", "rtmpt.header.timestamp", "rtmpt.header.bodysize"]
VIDEO = "0x09"


def run(command, **options):
    return subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True, **options).stdout


def livectl(core, capture, found=None):
    """(seconds, bytes, packets, messages, peak KiB)"""
    out = run(["taskset", "-c", core, *BENCH, "--", "read", str(capture), *([str(found)] if found else [])])
    return tuple(float(value) for value in out.split())


def tshark(core, capture, found):
    """Seconds. The filter spares it from printing what is not asked for."""
    command = ["taskset", "-c", core, "tshark", "-n", "-r", str(capture), "-d", "tcp.port==1935,rtmpt",
               "-o", "tcp.reassemble_out_of_order:TRUE", "-o", "rtmpt.max_packet_size:16777215",
               "-Y", "rtmpt.header.typeid == 9", "-T", "fields"]
    for name in FIELDS:
        command += ["-e", name]
    begin = time.monotonic()
    with open(found, "w") as out:
        subprocess.run(command, check=True, stdout=out, stderr=subprocess.DEVNULL)
    return time.monotonic() - begin


def messages_of_tshark(path):
    """{(source, destination, timestamp, size): time}"""
    for line in open(path):
        at, source, sport, target, tport, *columns = line.rstrip("\n").split("\t")
        kinds, timestamps, sizes = (column.split(",") for column in columns)
        # Now and then it gives the timestamp of a message twice.
        n = 1
        while len(timestamps) > len(kinds) and n < len(timestamps):
            if timestamps[n] == timestamps[n - 1]:
                del timestamps[n]
            else:
                n += 1
        if not len(kinds) == len(timestamps) == len(sizes):
            sys.exit(f"tshark's output cannot be understood: {line}")
        for kind, timestamp, size in zip(kinds, timestamps, sizes):
            if kind == VIDEO:
                yield (f"{source}:{sport}", f"{target}:{tport}", int(timestamp), int(size)), at


def messages_of_livectl(path):
    for line in open(path):
        at, source, target, timestamp, size = line.rstrip("\n").split("\t")
        yield (source, target, int(timestamp), int(size)), at


def compare(ours, theirs):
    """Fails unless both found the same messages, with the same times.

    Of a message behind a gap livectl says when its own last byte came, tshark when the gap was filled, which is later."""
    ours, theirs = dict(messages_of_livectl(ours)), dict(messages_of_tshark(theirs))
    if ours.keys() != theirs.keys():
        one = min(ours.keys() ^ theirs.keys())
        sys.exit(f"livectl found {len(ours)} messages, tshark {len(theirs)}; one that only one of them found: {one}")
    later = [key for key, at in ours.items() if at != theirs[key]]
    if any(ours[key] > theirs[key] for key in later):
        sys.exit("livectl takes a message for complete later than tshark")
    same = len(ours) - len(later)
    print(f"Both found the same {len(ours)} messages; {same} with the same time, {len(later)} behind a gap and later for tshark.\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=int, default=1000, metavar="SIZE")
    parser.add_argument("--format", choices=["pcap", "pcapng"], default="pcap")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--core", default="0", metavar="N")
    options = parser.parse_args()
    for program in ("taskset", "tshark"):
        if not shutil.which(program):
            sys.exit(f"{program} is missing: sudo apt install {'util-linux' if program == 'taskset' else program}")
    run([*BENCH, "--no-run"])
    with tempfile.TemporaryDirectory(prefix="livectl-captures-") as scratch:
        capture, ours, theirs = (Path(scratch) / name for name in ("capture", "livectl", "tshark"))
        size = options.megabytes * 10**6

        def make(nbytes, shape):
            if shutil.disk_usage(scratch).free < 1.1 * nbytes:
                sys.exit(f"{scratch} has no room for {nbytes / 1e9:.1f} GB; set TMPDIR to a folder that has")
            run([*BENCH, "--", "write", str(capture), str(nbytes), shape])

        make(size, options.format)
        # Both read from memory, not from the disk, from the first round on.
        livectl(options.core, capture)
        rounds = [(livectl(options.core, capture, ours), tshark(options.core, capture, theirs)) for _ in range(options.rounds)]
        compare(ours, theirs)
        # In kibibytes: the largest of all programs that were waited for, and tshark is that.
        theirs_peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        _, nbytes, packets, messages, peak = rounds[0][0]
        seconds, tshark_seconds = (statistics.median(column) for column in zip(*((a[0], b) for a, b in rounds)))
        print(f"{os.cpu_count()} cores, core {options.core} used; {options.format}; medians of {options.rounds}\n")
        print("capture                     program      seconds      MB/s   packets/s   messages   peak MB")

        def row(what, program, seconds, nbytes, packets, messages, peak):
            rates = f"{nbytes / seconds / 1e6:9.0f} {packets / seconds:11.0f}"
            print(f"{what:<27} {program:<9} {seconds:10.2f} {rates} {messages:10.0f} {peak * 1024 / 1e6:9.1f}", flush=True)

        row(f"{nbytes / 1e6:.0f} MB", "livectl", seconds, nbytes, packets, messages, peak)
        row(f"{nbytes / 1e6:.0f} MB", "tshark", tshark_seconds, nbytes, packets, messages, theirs_peak)
        for factor, shape in ((4, options.format), (0.2, "acks")):
            make(int(factor * size), shape)
            livectl(options.core, capture)
            runs = [livectl(options.core, capture) for _ in range(options.rounds)]
            of = sorted(runs)[len(runs) // 2]
            what = f"{of[1] / 1e6:.0f} MB" + (" of empty packets" if shape == "acks" else "")
            row(what, "livectl", of[0], of[1], of[2], of[3], of[4])
        print(f"\nlivectl reads {tshark_seconds / seconds:.1f} times as fast as tshark.")


main()
