"""Many viewers of one broadcaster under live-controller's bypass scheme, in a real Mininet: run by mininet.sh.

Usage: crowd.py PORT PROTOCOL; the controller's event lines are in /tmp/events, its process id is in /tmp/controller.pid.

All viewers play a stream before it is published. Their agents and the broadcaster's hasten, and must hear of each other soon. Then the viewers
pause, as those do who have the stream from a peer; some of them leave. After 75 s of silence the controller must still know who is there, and must
know who is not.
"""

import ctypes
import os
import selectors
import socket
import struct
import sys
import time

from stage import Stage, events, until

VIEWERS = 63
HASTEN_EVERY = 1.5


def in_namespace(host, what):
    """What a function returns that is called in a host's network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.open('/proc/self/ns/net', os.O_RDONLY)
    there = os.open('/proc/%d/ns/net' % host.pid, os.O_RDONLY)
    try:
        for namespace in there, own:
            if libc.setns(namespace, 0x40000000) != 0:
                raise OSError(ctypes.get_errno(), 'setns')
            if namespace is there:
                result = what()
        return result
    finally:
        os.close(own)
        os.close(there)


def amf(value):
    """AMF0, as far as RTMP commands need it."""
    if value is None:
        return b'\5'
    if isinstance(value, bool):
        return bytes([1, value])
    if isinstance(value, (int, float)):
        return b'\0' + struct.pack('>d', value)
    if isinstance(value, str):
        return b'\2' + struct.pack('>H', len(value)) + value.encode()
    pairs = b''.join(struct.pack('>H', len(key)) + key.encode() + amf(of) for key, of in value.items())
    return b'\3' + pairs + b'\0\0\x09'


def command(stream, *values):
    """A command as one chunk; none here is longer than 128 bytes."""
    body = b''.join(amf(value) for value in values)
    assert len(body) <= 128
    return b'\3\0\0\0' + struct.pack('>I', len(body))[1:] + b'\x14' + struct.pack('<I', stream) + body


class Viewer:
    """Plays live/hb at a CDN and throws away what it gets."""

    def __init__(self, host, cdn):
        self.host = host
        self.socket = in_namespace(host, lambda: socket.create_connection((cdn, 1935), 10))
        self.socket.sendall(b'\3' + bytes(1536))
        answer = b''
        while len(answer) < 1 + 2 * 1536:
            came = self.socket.recv(1 + 2 * 1536 - len(answer))
            assert came, 'the CDN closed the connection'
            answer += came
        self.socket.sendall(answer[1:1537] + command(0, 'connect', 1, {'app': 'live', 'tcUrl': 'rtmp://%s/live' % cdn})
                            + command(0, 'createStream', 2, None) + command(1, 'play', 3, None, 'hb'))
        self.socket.setblocking(False)
        self.got = 0
        self.heard_at = 0

    def hear(self):
        came = self.socket.recv(1 << 16)
        assert came, 'the CDN closed the connection'
        self.got += len(came)
        self.heard_at = time.monotonic()

    def pause(self, is_on):
        self.socket.sendall(command(1, 'pause', 0, None, is_on, 0))

    def leave(self, at_once):
        if at_once:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.socket.close()


class Agent:
    """Hastens, notes who it is told of, and answers as soon as it may."""

    def __init__(self, host, cdn):
        self.host = host
        self.socket = in_namespace(host, lambda: socket.create_connection((cdn, 42857), 10))
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b''
        self.lines = 0
        self.told = {}
        self.answers = False
        self.hastened = 0
        self.hastens = True

    def say(self, text):
        self.socket.sendall(text.ljust(127).encode() + b'\n')

    def look(self):
        if self.hastens and time.monotonic() > self.hastened + HASTEN_EVERY:
            self.hastened = time.monotonic()
            self.say('livectl/1 %010d hasten' % self.lines)

    def hear(self):
        came = self.socket.recv(1 << 16)
        assert came, 'the service closed the connection'
        self.buffer += came
        while len(self.buffer) >= 128:
            line, self.buffer = self.buffer[:128].decode().split(), self.buffer[128:]
            self.lines += 1
            if line[2] == 'peer':
                for peer in line[4].split(','):
                    self.told.setdefault(peer, time.time())
                if self.answers:
                    self.say('livectl/1 %s ack %s' % (line[1], ' '.join(line[2:])))


class Crowd:
    """All sockets, in one process."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.agents = []

    def add(self, one):
        self.selector.register(one.socket, selectors.EVENT_READ, one)
        if isinstance(one, Agent):
            self.agents.append(one)

    def live(self, seconds, until=lambda: False):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not until():
            for agent in self.agents:
                agent.look()
            for key, _ in self.selector.select(0.05):
                key.data.hear()
        return until()


def processor_time():
    """What the controller has used, in seconds."""
    fields = open('/proc/%d/stat' % int(open('/tmp/controller.pid').read())).read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def main():
    port, protocol = int(sys.argv[1]), sys.argv[2]
    stage = Stage(port, protocol, 'one', VIEWERS)
    cdn = stage.cdn.IP()
    stage.start_cdn()
    stage.start_service()
    crowd = Crowd()
    broadcaster = Agent(stage.hb, cdn)
    agents = [Agent(host, cdn) for host in stage.others]
    for agent in [broadcaster] + agents:
        crowd.add(agent)
    viewers = [Viewer(host, cdn) for host in stage.others]
    for viewer in viewers:
        crowd.add(viewer)
    crowd.live(20, lambda: len(events('viewer')) == VIEWERS)
    assert len(events('viewer')) == VIEWERS, len(events('viewer'))

    # Nobody answers yet, so that every heartbeat is rewritten.
    encoder = stage.start_encoder(600, '100k')
    heard = lambda: len(broadcaster.told) == VIEWERS and all(agent.told for agent in agents)
    assert crowd.live(30, heard), (len(broadcaster.told), [len(agent.told) for agent in agents])
    published = events('broadcaster')[0]['time_ns'] / 1e9
    first_heard = [min(agent.told.values()) - published for agent in agents]
    last_heard = max(broadcaster.told.values()) - published
    # The viewers, a heartbeat and a half later: 0.1 s; the broadcaster, of six in each: 1 s. A busy machine takes longer, but not the 30 s of a wait.
    assert max(first_heard) < 3 and last_heard < 10, (first_heard, last_heard)

    def load(seconds):
        lines, used = sum(agent.lines for agent in crowd.agents), processor_time()
        crowd.live(seconds)
        lines = (sum(agent.lines for agent in crowd.agents) - lines) / seconds
        return lines, 100 * (processor_time() - used) / seconds
    rewriting = load(5)
    for agent in crowd.agents:
        agent.answers = True
    assert crowd.live(20, lambda: len(events('acknowledged')) == 2 * VIEWERS), len(events('acknowledged'))
    passing = load(5)
    for agent in crowd.agents:
        agent.hastens = False
    # For 2 s more; what a busy machine is late with comes after that.
    crowd.live(6)
    usual = load(5)
    assert rewriting[0] > 400 and passing[0] > 400 and usual[0] < 100, (rewriting, passing, usual)
    assert rewriting[1] < 20, rewriting

    # A third stays, a third leaves by a reset and a third by a FIN while they have flows that hide it.
    for viewer in viewers:
        viewer.pause(True)
    crowd.live(20, lambda: time.monotonic() > max(viewer.heard_at for viewer in viewers) + 2)
    stay, reset, close = viewers[0::3], viewers[1::3], viewers[2::3]
    for gone, at_once in (reset, True), (close, False):
        for viewer in gone:
            crowd.selector.unregister(viewer.socket)
            viewer.leave(at_once)
    silent_since = time.monotonic()
    assert not events('left'), events('left')
    left = lambda: sorted(event['host'] for event in events('left'))
    expected = sorted(viewer.host.IP() for viewer in reset + close)
    got = [viewer.got for viewer in stay]
    assert crowd.live(180, lambda: left() == expected), (left(), expected)
    noticed = time.monotonic() - silent_since
    crowd.live(15)
    assert left() == expected, left()
    assert {event['why'] for event in events('left')} == {'closed'}, events('left')
    assert [viewer.got for viewer in stay] == got, 'they were silent'

    # Those who stayed go on and are not introduced again.
    introduced = len(events('introduced'))
    for viewer in stay:
        viewer.pause(False)
    assert crowd.live(10, lambda: all(viewer.got > before + 10000 for viewer, before in zip(stay, got)))
    crowd.live(2)
    assert len(events('introduced')) == introduced and len(events('viewer')) == VIEWERS
    assert encoder.poll() is None and not events('error'), events('error')
    assert not [event for event in events('not_introduced') if event['why'] != 'no_broadcaster'], events('not_introduced')
    print('crowd %s: from the publish to %d viewers told %.0f ms at most, to the broadcaster told of all %.0f ms; '
          'of a processor, rewriting %.0f heartbeats a second %.1f %%, passing %.0f on %.1f %%, %.0f %.1f %%; '
          '%d of %d gone were noticed within %.0f s, %d that paused are known'
          % ((protocol, VIEWERS, 1000 * max(first_heard), 1000 * last_heard) + rewriting + passing + usual
             + (len(left()), len(expected), noticed, len(stay))))
    stage.stop()


main()
