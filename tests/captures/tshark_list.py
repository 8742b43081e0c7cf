#!/usr/bin/env python3
"""Prints the RTMP video messages of a capture as tshark reads them, one a line, tab-separated:

time of the packet that completes it (seconds), source, destination, timestamp (ms), payload bytes, first two payload bytes.

tshark takes chunk sizes above its preference rtmpt.max_packet_size (32768) for an error, so that is raised here. Should it fall out
of step all the same, this fails rather than print what is not there.

Usage: tshark_list.py CAPTURE
"""

import subprocess
import sys
import xml.etree.ElementTree as ET

VIDEO = 9


# The message types of the specification.
KNOWN_TYPES = {1, 2, 3, 4, 5, 6, 8, 9, 15, 16, 17, 18, 19, 20, 22}


def field(node, name):
    """The first field of that name below a PDML node, or None."""
    return node.find(f".//field[@name='{name}']")


def main(capture):
    # Out-of-order segments are put in order; the default is not to.
    command = ["tshark", "-r", capture, "-d", "tcp.port==1935,rtmpt", "-o", "tcp.reassemble_out_of_order:TRUE",
               "-o", "rtmpt.max_packet_size:16777215"]
    pdml = subprocess.run([*command, "-T", "pdml"], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    known = {}
    for packet in ET.fromstring(pdml).iter("packet"):
        protocols = list(packet.iter("proto"))
        of = {p.get("name"): p for p in protocols}
        if "tcp" not in of:
            continue
        time = field(of["frame"], "frame.time_epoch").get("show")
        ends = []
        for side in ("src", "dst"):
            port = field(of["tcp"], f"tcp.{side}port").get("show")
            if "ip" in of:
                ends.append(f"{field(of['ip'], f'ip.{side}').get('show')}:{port}")
            else:
                ends.append(f"[{field(of['ipv6'], f'ipv6.{side}').get('show')}]:{port}")
        for rtmp in (p for p in protocols if p.get("name") == "rtmpt"):
            csid = field(rtmp, "rtmpt.header.csid")
            if csid is None:
                continue  # handshake
            key = (*ends, csid.get("show"))
            # Headers of type 2 and 3 leave out type and size: they are those of the message before.
            kind, size = field(rtmp, "rtmpt.header.typeid"), field(rtmp, "rtmpt.header.bodysize")
            if kind is not None:
                known[key] = (int(kind.get("show"), 0), int(size.get("show")))
            kind, size = known.get(key, (None, None))
            if kind not in KNOWN_TYPES:
                sys.exit(f"{capture}: tshark is out of step with {ends[0]} to {ends[1]} at {time}")
            if kind != VIDEO:
                continue
            control, data = field(rtmp, "rtmpt.video.control"), field(rtmp, "rtmpt.video.data")
            head = control.get("value") + data.get("value")[:2]
            timestamp = field(rtmp, "rtmpt.header.timestamp").get("show")
            print(time, *ends, timestamp, size, head, sep="\t")


if __name__ == "__main__":
    main(*sys.argv[1:])
