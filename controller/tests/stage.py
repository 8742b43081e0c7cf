"""A Mininet network under live-controller with a livestream's programs on it, for the scripts that mininet.sh runs.

The controller's event lines are in /tmp/events; what a program prints is in /tmp/NAME.log.
"""

import json
import os
import subprocess
import time

from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.node import OVSSwitch, RemoteController

NGINX = """
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off;
pid /tmp/nginx.pid;
error_log /tmp/nginx.log info;
events { worker_connections 256; }
rtmp { access_log off; server { listen 1935; chunk_size 4096; ping 0; application live { live on; } } }
"""

# A notification service: a heartbeat every second, or as often as the first argument says (in seconds); every 0.1 s for 2 s after an agent has
# asked for it.
SERVICE = r"""
import socket, sys, threading, time
usual = float(sys.argv[1]) if len(sys.argv) > 1 else 1
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(('', 42857))
listener.listen(128)
def serve(connection):
    hastened, asked = [0], threading.Event()
    def hear():
        for line in connection.makefile('rb'):
            if line.split()[2:] == [b'hasten']:
                hastened[0] = time.monotonic() + 2
                asked.set()
    threading.Thread(target=hear, daemon=True).start()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for sequence in range(1000000):
        connection.sendall(('livectl/1 %010d -' % sequence).ljust(127).encode() + b'\n')
        if time.monotonic() < hastened[0]:
            time.sleep(min(0.1, usual))
        else:
            asked.wait(usual)
            asked.clear()
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
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


def said(name):
    return open('/tmp/%s.log' % name).read()


class Stage:
    """Hosts hb, hv, cdn and as many others as are wanted on switch s1; in the layout `line` the CDN is behind a second switch."""

    def __init__(self, port, protocol, layout, others=0):
        setLogLevel('error')
        self.net = net = Mininet(controller=None, autoSetMacs=True)
        net.addController('c0', controller=RemoteController, ip='127.0.0.1', port=port)
        # In one go: through the host's terminal a command has at most 4096 characters.
        self.s1 = s1 = net.addSwitch('s1', cls=OVSSwitch, datapath=os.environ['DATAPATH'], protocols=protocol,
                                     batch=True)
        self.hb, self.hv, self.cdn = hosts = [net.addHost(name) for name in ('hb', 'hv', 'cdn')]
        net.addLink(self.hb, s1)
        net.addLink(self.hv, s1)
        if layout == 'line':
            s2 = net.addSwitch('s2', cls=OVSSwitch, datapath=os.environ['DATAPATH'], protocols=protocol)
            net.addLink(s1, s2)
            net.addLink(self.cdn, s2)
        else:
            net.addLink(self.cdn, s1)
        self.others = [net.addHost('v%d' % (n + 1)) for n in range(others)]
        for host in self.others:
            net.addLink(host, s1)
        net.start()
        for host in hosts + self.others:
            # Open vSwitch's user datapath drops segments whose checksum was left to the hardware.
            host.cmd('ethtool -K %s-eth0 tx off' % host.name)
        until('the switches connect', lambda: len(events('switch_connected')) == len(net.switches))
        self.started = []

    def start(self, host, arguments, name):
        log = open('/tmp/%s.log' % name, 'w')
        process = host.popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self.started.append(process)
        return process

    def start_cdn(self):
        open('/tmp/nginx.conf', 'w').write(NGINX)
        self.start(self.cdn, ['nginx', '-p', '/tmp', '-c', '/tmp/nginx.conf'], 'nginx-out')
        self.listens(self.cdn, 1935)

    def listens(self, host, port):
        until('port %d opens' % port, lambda: ':%d ' % port in host.cmd('ss -Hltn'))

    def address(self):
        return 'rtmp://%s/live/hb' % self.cdn.IP()

    def start_service(self, usual=1):
        self.start(self.cdn, ['/usr/bin/python3', '-c', SERVICE, str(usual)], 'service')
        self.listens(self.cdn, 42857)

    def start_encoder(self, seconds, rate='1M'):
        return self.start(self.hb, [
            'ffmpeg', '-v', 'error', '-nostdin', '-re', '-f', 'lavfi', '-i', 'testsrc2=size=320x240:rate=30',
            '-t', str(seconds), '-c:v', 'flv1', '-b:v', rate, '-g', '30', '-f', 'flv', self.address()], 'encoder')

    def start_player(self):
        return self.start(self.hv, ['mplayer', '-really-quiet', '-vo', 'null', '-ao', 'null', '-dumpstream',
                                    '-dumpfile', '/tmp/dump.flv', self.address()], 'player')

    def stop(self):
        for process in self.started:
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=10)
        self.net.stop()
