"""Livestreams under live-controller's bypass scheme, in a real Mininet: run by mininet.sh.

Usage: bypass.py PORT PROTOCOL LAYOUT; the controller's event lines are in /tmp/events.
LAYOUT is `one` (all on one switch) or `line` (the CDN behind a second switch).
"""

import json
import re
import subprocess
import sys
import time

from mininet.net import Mininet
from mininet.node import OVSSwitch, RemoteController
from mininet.log import setLogLevel

SERVICE = r"""
import socket, threading, time
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(('', 42857))
listener.listen()
def serve(connection):
    for sequence in range(1000000):
        connection.sendall(('livectl/1 %010d -' % sequence).ljust(127).encode() + b'\n')
        time.sleep(0.2)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""

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

NGINX = """
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off;
pid /tmp/nginx.pid;
error_log /tmp/nginx.log info;
events { worker_connections 64; }
rtmp { access_log off; server { listen 1935; chunk_size 4096; application live { live on; } } }
"""


def until(what, condition, seconds=20):
    """Waits for a condition; says in the end what did not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise SystemExit('%s did not happen within %d s; events:\n%s' % (what, seconds, open('/tmp/events').read()))


def events(name):
    lines = [json.loads(line) for line in open('/tmp/events').read().splitlines()]
    return [line for line in lines if line['event'] == name]


def main():
    port, protocol, layout = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    setLogLevel('error')
    net = Mininet(controller=None, autoSetMacs=True)
    net.addController('c0', controller=RemoteController, ip='127.0.0.1', port=port)
    s1 = net.addSwitch('s1', cls=OVSSwitch, datapath='user', protocols=protocol)
    hosts = hb, hv, cdn = [net.addHost(name) for name in ('hb', 'hv', 'cdn')]
    net.addLink(hb, s1)
    net.addLink(hv, s1)
    if layout == 'line':
        s2 = net.addSwitch('s2', cls=OVSSwitch, datapath='user', protocols=protocol)
        net.addLink(s1, s2)
        net.addLink(cdn, s2)
    else:
        net.addLink(cdn, s1)
    net.start()
    for host in hosts:
        # Open vSwitch's user datapath drops segments whose checksum was left to the hardware.
        host.cmd('ethtool -K %s-eth0 tx off' % host.name)
    until('the switches connect', lambda: len(events('switch_connected')) == len(net.switches))
    started = []

    def start(host, arguments, name):
        log = open('/tmp/%s.log' % name, 'w')
        process = host.popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        started.append(process)
        return process

    def said(name):
        return open('/tmp/%s.log' % name).read()

    open('/tmp/nginx.conf', 'w').write(NGINX)
    start(cdn, ['nginx', '-p', '/tmp', '-c', '/tmp/nginx.conf'], 'nginx-out')
    start(cdn, ['/usr/bin/python3', '-c', SERVICE], 'service')
    for listening in 1935, 42857:
        until('port %d opens' % listening, lambda: ':%d ' % listening in cdn.cmd('ss -Hltn'))
    for host in hb, hv:
        start(host, ['/usr/bin/python3', '-c', AGENT, cdn.IP()], 'agent-' + host.name)
        until('heartbeats pass', lambda: ' -' in said('agent-' + host.name))

    address = 'rtmp://%s/live/hb' % cdn.IP()
    player = ['mplayer', '-really-quiet', '-vo', 'null', '-ao', 'null', '-dumpstream', '-dumpfile', '/tmp/dump.flv']
    encoder = ['ffmpeg', '-v', 'error', '-nostdin', '-re', '-f', 'lavfi', '-i', 'testsrc2=size=320x240:rate=30',
               '-t', '12', '-c:v', 'flv1', '-b:v', '1M', '-g', '30', '-f', 'flv', address]
    start(hb, encoder, 'encoder')
    until('the broadcaster is known', lambda: events('broadcaster'))
    start(hv, player + [address], 'player')
    until('the viewer is known', lambda: events('viewer'))

    to_viewer = 'peer broadcaster %s:2000 live/hb' % hb.IP()
    to_broadcaster = 'peer viewer %s:2000 live/hb' % hv.IP()
    until('the viewer is told', lambda: to_viewer in said('agent-hv'))
    until('the broadcaster is told', lambda: to_broadcaster in said('agent-hb'))
    until('both acknowledge', lambda: len(events('acknowledged')) == 2)
    for name in 'agent-hv', 'agent-hb':
        told = len(re.findall('peer', said(name)))
        until('heartbeats go on', lambda: len(re.findall(' -', said(name).split('peer')[-1])) > 3)
        assert len(re.findall('peer', said(name))) == told, 'told again after it acknowledged'
        assert 3 <= told <= 4, said(name)

    # The video is in the flows, and not in the controller.
    if started[-2].wait(timeout=30) != 0:
        raise SystemExit('the encoder failed: ' + said('encoder'))
    size = until('the video arrives', lambda: len(open('/tmp/dump.flv', 'rb').read()), 20)
    flows = s1.dpctl('dump-flows', '-O', protocol)
    by_flows = sum(int(n) for n in re.findall(r'n_bytes=(\d+), idle_timeout=60[^\n]*tp_src=1935', flows))
    assert by_flows > size > 1000000, '%d bytes by flows of %d played:\n%s' % (by_flows, size, flows)
    for switch in net.switches:
        lasting = re.findall(r'idle_timeout=60[^\n]*', switch.dpctl('dump-flows', '-O', protocol))
        assert len(lasting) >= 4 and not any('hard_timeout' in flow for flow in lasting), lasting
    assert not events('error'), events('error')
    cdn_place = events('cdn')[0]
    assert (cdn_place['host'], cdn_place['dpid']) == (cdn.IP(), 2 if layout == 'line' else 1), cdn_place
    member = {kind: events(kind)[0] for kind in ('broadcaster', 'viewer')}
    assert [(m['dpid'], m['port']) for m in member.values()] == [(1, 1), (1, 2)], member
    print('bypass %s %s: %d packets of the publishing and %d of the playing connection reached the controller; '
          '%d bytes of video did not' % (protocol, layout, member['broadcaster']['packets'],
                                         member['viewer']['packets'], by_flows))
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=10)
    net.stop()


main()
