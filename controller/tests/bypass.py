"""Livestreams under live-controller's bypass scheme, in a real Mininet: run by mininet.sh.

Usage: bypass.py PORT PROTOCOL LAYOUT; the controller's event lines are in /tmp/events.
LAYOUT is `one` (all on one switch) or `line` (the CDN behind a second switch).
"""

import re
import sys

from stage import Stage, events, said, until

# Prints each heartbeat; acknowledges the third time it is told the same.
AGENT = r"""
import socket, sys
connection = socket.create_connection((sys.argv[1], 42857))
told = {}
buffer = b''
while True:
    came = connection.recv(4096)
    if not came:
        sys.exit('closed')
    buffer += came
    while len(buffer) >= 128:
        line, buffer = buffer[:128].decode().rstrip(), buffer[128:]
        print(line, flush=True)
        words = line.split()
        if words[2] == 'peer':
            key = ' '.join(words[2:])
            told[key] = told.get(key, 0) + 1
            if told[key] == 3:
                connection.sendall(('livectl/1 %s ack %s' % (words[1], key)).ljust(127).encode() + b'\n')
"""

def main():
    port, protocol, layout = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    stage = Stage(port, protocol, layout)
    hb, hv, cdn, s1 = stage.hb, stage.hv, stage.cdn, stage.s1
    stage.start_cdn()
    stage.start_service(0.2)
    for host in hb, hv:
        stage.start(host, ['/usr/bin/python3', '-c', AGENT, cdn.IP()], 'agent-' + host.name)
        until('heartbeats pass', lambda: ' -' in said('agent-' + host.name))

    encoder = stage.start_encoder(12)
    until('the broadcaster is known', lambda: events('broadcaster'))
    stage.start_player()
    until('the viewer is known', lambda: events('viewer'))

    to_viewer = 'peer parent %s:2000 live/hb' % hb.IP()
    to_broadcaster = 'peer child %s:2000 live/hb' % hv.IP()
    until('the viewer is told', lambda: to_viewer in said('agent-hv'))
    until('the broadcaster is told', lambda: to_broadcaster in said('agent-hb'))
    until('both acknowledge', lambda: len(events('acknowledged')) == 2)
    for name in 'agent-hv', 'agent-hb':
        told = len(re.findall('peer', said(name)))
        until('heartbeats go on', lambda: len(re.findall(' -', said(name).split('peer')[-1])) > 3)
        assert len(re.findall('peer', said(name))) == told, 'told again after it acknowledged'
        assert 3 <= told <= 4, said(name)

    # The video is in the flows, and not in the controller.
    if encoder.wait(timeout=30) != 0:
        raise SystemExit('the encoder failed: ' + said('encoder'))
    size = until('the video arrives', lambda: len(open('/tmp/dump.flv', 'rb').read()), 20)
    flows = s1.dpctl('dump-flows', '-O', protocol)
    by_flows = sum(int(n) for n in re.findall(r'n_bytes=(\d+), idle_timeout=75[^\n]*tp_src=1935', flows))
    assert by_flows > size > 500000, '%d bytes by flows of %d played:\n%s' % (by_flows, size, flows)
    for switch in stage.net.switches:
        lasting = re.findall(r'idle_timeout=75[^\n]*', switch.dpctl('dump-flows', '-O', protocol))
        assert len(lasting) >= 4 and not any('hard_timeout' in flow for flow in lasting), lasting
    assert not events('error'), events('error')
    cdn_place = events('cdn')[0]
    assert (cdn_place['host'], cdn_place['dpid']) == (cdn.IP(), 2 if layout == 'line' else 1), cdn_place
    member = {kind: events(kind)[0] for kind in ('broadcaster', 'viewer')}
    assert [(m['dpid'], m['port']) for m in member.values()] == [(1, 1), (1, 2)], member
    print('bypass %s %s: %d packets of the publishing and %d of the playing connection reached the controller; '
          '%d bytes of video did not' % (protocol, layout, member['broadcaster']['packets'],
                                         member['viewer']['packets'], by_flows))
    stage.stop()


main()
