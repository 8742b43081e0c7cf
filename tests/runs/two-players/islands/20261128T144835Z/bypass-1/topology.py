"""The network of trial bypass-1, written by livectl. By hand, with a controller on port 6653:

    mn --custom topology.py --topo livectl --controller remote,ip=127.0.0.1,port=6653 --nolistenport
Its links are emulated: `livectl internal emulator` must have made their TAP devices before.
"""

from ipaddress import ip_interface
from shlex import quote

from mininet.link import Intf, Link, TCIntf
from mininet.log import error
from mininet.node import Host, OVSSwitch
from mininet.topo import Topo


def expect_silence( node, command ):
    "Runs a command that says nothing when all is well."
    said = node.cmd( command ).strip()
    if said:
        error( '*** Error: %s: %s: %s\n' % ( node.name, command, said ) )


def write_setting( node, setting, value ):
    "Writes a value below /proc/sys, where the kernel has it."
    path = '/proc/sys/' + setting
    expect_silence( node, '[ ! -e %s ] || echo %s > %s' % ( path, value, path ) )


class Peer( Host ):
    "A host without IPv6, whose solicitations and reports would travel over the links, and with its TCP as planned."

    def __init__( self, name, congestion_control, initial_window, **params ):
        Host.__init__( self, name, **params )
        for scope in 'all', 'default':
            write_setting( self, 'net/ipv6/conf/%s/disable_ipv6' % scope, 1 )
        # With several interfaces: each answers for its own address only, and asks with its own (the kernel's
        # ip-sysctl documentation, arp_ignore and arp_announce).
        write_setting( self, 'net/ipv4/conf/all/arp_ignore', 1 )
        write_setting( self, 'net/ipv4/conf/all/arp_announce', 2 )
        # Bytes that TCP may keep in each direction (least, at first, most): Linux's own defaults, whatever this machine has been
        # tuned to, since they decide how fast a connection's window opens.
        write_setting( self, 'net/ipv4/tcp_rmem', '4096 131072 6291456' )
        write_setting( self, 'net/ipv4/tcp_wmem', '4096 16384 4194304' )
        self.congestion_control, self.initial_window = congestion_control, initial_window
        available = self.cmd( 'cat /proc/sys/net/ipv4/tcp_available_congestion_control' ).split()
        if congestion_control not in available:
            error( '*** Error: %s: no TCP congestion control %s in this kernel, which has: %s\n'
                   % ( name, congestion_control, ' '.join( available ) ) )


class Port( TCIntf ):
    """An end of a link. Open vSwitch clears an interface's qdisc when it takes the interface as a port; Mininet then
       configures every TCIntf once more, so all of this can be done twice."""

    def config( self, hw=None, shape=(), **params ):
        write_setting( self.node, 'net/ipv6/conf/%s/disable_ipv6' % self.name, 1 )
        if hw:
            self.setMAC( hw )
        result = Intf.config( self, **params )
        if isinstance( self.node, Peer ):
            # By route, since only the machine's administrator may widen the choice for sysctl in other network namespaces
            # (ip-sysctl, tcp_allowed_congestion_control); locked, so that it holds for every connection (ip-route(8)).
            subnet = ip_interface( '%s/%s' % ( self.ip, self.prefixLen ) ).network
            expect_silence( self.node, 'ip route change %s dev %s proto kernel scope link src %s congctl lock %s initcwnd %d'
                            % ( subnet, self.name, self.ip, quote( self.node.congestion_control ),
                                self.node.initial_window ) )
        # Captures are to show what a wire would carry: no merged segments, real checksums. Open vSwitch's user
        # datapath moreover drops TCP segments whose checksum was left to the hardware.
        self.cmd( 'ethtool -K %s tso off gso off gro off lro off tx off rx off > /dev/null 2>&1' % self.name )
        if shape:
            self.cmd( 'tc qdisc del dev %s root 2> /dev/null' % self.name )
            for arguments in shape:
                expect_silence( self.node, 'tc ' + arguments )
        return result


class Cable( Link ):
    "Joins two TAP devices that exist already: the emulator behind them is the cable."

    def __init__( self, *args, **params ):
        # Otherwise Mininet takes the interfaces to be in their hosts already and does not move them.
        params.update( fast=False, cls1=Port, cls2=Port )
        Link.__init__( self, *args, **params )

    @classmethod
    def makeIntfPair( cls, *_args, **_params ):
        "Nothing to make."


class Experiment( Topo ):
    "4 hosts, 2 switches, 5 links."

    def build( self, *_args, **_params ):
        self.addSwitch( "s1", cls=OVSSwitch, dpid="0000000000000001", datapath="user",
                        protocols='OpenFlow10', failMode='secure' )
        self.addSwitch( "s2", cls=OVSSwitch, dpid="0000000000000002", datapath="user",
                        protocols='OpenFlow10', failMode='secure' )
        # Addresses belong to interfaces, below; without None Mininet would give each host one more.
        self.addHost( "hb", cls=Peer, ip=None, mac=None, congestion_control="cubic",
                      initial_window=10 )
        self.addHost( "hs", cls=Peer, ip=None, mac=None, congestion_control="cubic",
                      initial_window=10 )
        self.addHost( "hv1", cls=Peer, ip=None, mac=None, congestion_control="cubic",
                      initial_window=10 )
        self.addHost( "hv2", cls=Peer, ip=None, mac=None, congestion_control="cubic",
                      initial_window=10 )
        self.addLink( "hb", "s1", cls=Cable,
                      intfName1="hb-eth0", port1=0, params1={"hw":"02:00:0a:00:01:01","ip":"10.0.1.1/24"},
                      intfName2="s1-eth1", port2=1, params2={} )
        self.addLink( "hs", "s1", cls=Cable,
                      intfName1="hs-eth0", port1=0, params1={"hw":"02:00:0a:00:01:02","ip":"10.0.1.2/24"},
                      intfName2="s1-eth2", port2=2, params2={} )
        self.addLink( "hs", "s2", cls=Cable,
                      intfName1="hs-eth1", port1=1, params1={"hw":"02:00:0a:00:02:01","ip":"10.0.2.1/24"},
                      intfName2="s2-eth1", port2=1, params2={} )
        self.addLink( "hv1", "s1", cls=Cable,
                      intfName1="hv1-eth0", port1=0, params1={"hw":"02:00:0a:00:01:03","ip":"10.0.1.3/24"},
                      intfName2="s1-eth3", port2=3, params2={} )
        self.addLink( "hv2", "s2", cls=Cable,
                      intfName1="hv2-eth0", port1=0, params1={"hw":"02:00:0a:00:02:02","ip":"10.0.2.2/24"},
                      intfName2="s2-eth2", port2=2, params2={} )


topos = { 'livectl': Experiment }
