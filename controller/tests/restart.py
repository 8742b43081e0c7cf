"""A network whose controller is killed and started again, and whose controller is beset by bad switches: run by mininet.sh.

Usage: restart.py PORT PROTOCOL; the controller listens on PORT, its pid is in /tmp/controller.pid, and /tmp/start-controller PORT starts
another one. Streams must go on, pings must come back within 5 s, and bad switches must cost none.
"""

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time

from stage import Stage, events, said, until

FRAMES = 20 * 30
HELLO = {'OpenFlow10': b'\x01\x00\x00\x08\0\0\0\1', 'OpenFlow13': b'\x04\x00\x00\x08\0\0\0\1'}


def pid():
    return int(open('/tmp/controller.pid').read())


def resident():
    """What the controller occupies, in MiB."""
    status = open('/proc/%d/status' % pid()).read()
    return int(re.search(r'VmRSS:\s+(\d+)', status).group(1)) / 1024


def replies(name):
    """The sequence numbers that were answered, and when (seconds of the wall clock)."""
    return [(int(n), float(t)) for t, n in re.findall(r'\[([\d.]+)\].*icmp_seq=(\d+)', said(name))]


def video_tags(path):
    """How many FLV tags of pictures there are."""
    data, at, pictures = open(path, 'rb').read(), 13, 0
    while at + 11 <= len(data):
        size = int.from_bytes(data[at + 1:at + 4], 'big')
        if data[at] == 9 and at + 11 + size <= len(data):
            pictures += 1
        at += 11 + size + 4
    return pictures


def bad_switches(port, hello, number):
    """Connections that send garbage, half a message, a huge length, nothing, or much without ever reading."""
    features = struct.pack('>BBHIQ', hello[0], 6, 32, 2, 0xbad000) + b'\0' * 16
    if hello[0] == 1:
        features = struct.pack('>BBHIQIB3xII', 1, 6, 32, 2, 0xbad000, 256, 1, 0, 0)
    packet = {
        1: struct.pack('>BBHIIHHBx', 1, 10, 18 + 60, 3, 0xffffffff, 60, 1, 0) + os.urandom(60),
        4: struct.pack('>BBHIIHBBQHHI', 4, 10, 42 + 60, 3, 0xffffffff, 60, 0, 0, 0, 1, 12, 0x80000004)
        + struct.pack('>I4x2x', 1) + os.urandom(60),
    }[hello[0]]
    kinds = [os.urandom(5000), hello[:5], hello + b'\x01\x0a\xff\xff' + b'\0' * 4, b'', hello + features + packet * 20000]
    connections = []
    for n in range(number):
        connection = socket.create_connection(('127.0.0.1', port))
        connection.setblocking(False)
        try:
            connection.send(kinds[n % len(kinds)])
        except BlockingIOError:
            pass
        connections.append(connection)
    return connections


def main():
    port, protocol = int(sys.argv[1]), sys.argv[2]
    stage = Stage(port, protocol, 'one')
    stage.start_cdn()
    player, encoder = stage.start_player(), None
    until('the viewer is known', lambda: events('viewer'))
    encoder = stage.start_encoder(FRAMES // 30)
    # Two hosts that stream, and two that nothing else concerns.
    stage.start(stage.hb, ['ping', '-n', '-D', '-i', '0.1', stage.cdn.IP()], 'ping')
    stage.start(stage.hv, ['ping', '-n', '-D', '-i', '0.1', stage.hb.IP()], 'ping-peers')
    until('the broadcaster is known', lambda: events('broadcaster'))
    until('the video comes', lambda: os.path.exists('/tmp/dump.flv') and os.path.getsize('/tmp/dump.flv') > 200000)

    os.kill(pid(), signal.SIGKILL)
    until('the controller is gone', lambda: not os.path.exists('/proc/%d/fd' % pid()))
    # Flows outlive the controller, but not for long: mininet.sh has it end them after 3 s.
    both = 'ping', 'ping-peers'
    until('pings cease', lambda: all(replies(name)[-1][1] < time.time() - 1 for name in both))
    restarted = time.time()
    subprocess.run(['/tmp/start-controller', str(port)], check=True)
    until('the switch connects again', lambda: events('switch_connected'))
    connected, recovered = events('switch_connected')[0]['time_ns'] / 1e9 - restarted, 0
    for name in both:
        until('pings come again', lambda: replies(name)[-1][1] > restarted, 10)
        recovered = max(recovered, next(at for _, at in replies(name) if at > restarted) - restarted)
    # How soon a switch tries again is its own affair: Open vSwitch waits 1, 2, 4 and then 8 s between attempts.
    assert recovered - connected < 5, 'pings came again %.1f s after the switch' % (recovered - connected)
    if encoder.wait(timeout=40) != 0:
        raise SystemExit('the encoder failed: ' + said('encoder'))
    # mplayer keeps up to 2 kB at the end of an RTMP stream to itself: the last frame.
    try:
        pictures = until('all frames arrive', lambda: video_tags('/tmp/dump.flv') >= FRAMES - 1 and FRAMES - 1, 20)
    except SystemExit:
        raise SystemExit('%d of %d frames arrived' % (video_tags('/tmp/dump.flv'), FRAMES)) from None
    assert not events('error'), events('error')
    assert player.poll() is None or player.returncode == 0
    print('restart %s: the switch is back after %.2f s, pings after %.2f s, at least %d of %d frames played'
          % (protocol, connected, recovered, pictures, FRAMES))

    before, first = resident(), replies('ping')[-1][0]
    bad = bad_switches(port, HELLO[protocol], 200)
    # New conversations, which need the controller, among them.
    for host in stage.hb, stage.hv:
        host.cmd('ip neigh flush all')
    assert '0% packet loss' in stage.hv.cmd('ping -n -c 20 -i 0.2 %s' % stage.cdn.IP())
    last = until('pings go on', lambda: replies('ping')[-1][0] > first + 60 and replies('ping')[-1][0])
    answered = {n for n, _ in replies('ping')}
    lost = [n for n in range(first, last) if n not in answered]
    assert not lost, 'pings %s were lost' % lost
    grown = resident() - before
    assert grown < 64, '%.0f MiB for 200 bad connections' % grown
    print('bad switches %s: 200 of them, %d pings of %d lost, %.1f MiB more' % (protocol, len(lost), last - first, grown))
    for connection in bad:
        connection.close()

    stage.start(stage.hv, ['iperf', '-s'], 'iperf-server')
    stage.listens(stage.hv, 5001)
    measured = stage.hb.cmd('iperf -f m -t 3 -c %s' % stage.hv.IP())
    rate = re.search(r'([\d.]+) Mbits/sec', measured)
    assert rate and float(rate.group(1)) > 1, measured
    print('iperf %s: %s Mbit/s' % (protocol, rate.group(1)))
    stage.stop()


main()
