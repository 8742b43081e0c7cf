#!/bin/bash
# Real networks under live-controller: pingall on several topologies in OpenFlow 1.0 and 1.3, livestreams under bypass, and a
# controller that is killed and started again.
# Everything happens in namespaces of its own, with its own Open vSwitch; the host's is not touched.
# Needs root and the packages mininet, openvswitch-switch, ethtool, iproute2, iperf, iputils-ping, nginx-light, libnginx-mod-rtmp, ffmpeg, mplayer.
# Usage: sudo [DATAPATH=kernel] [VERSIONS=OpenFlow13] controller/tests/mininet.sh path/to/live-controller [loops|pingall|bypass|crowd|restart]
# Open vSwitch forwards in user space, which every kernel can, or with DATAPATH=kernel in the kernel, whose module that needs.
set -euo pipefail
export DATAPATH=${DATAPATH:-user} VERSIONS=${VERSIONS:-OpenFlow10 OpenFlow13}
here=$(cd "$(dirname "$0")" && pwd)

fail() {
    echo "mininet.sh: $*" >&2
    exit 1
}

if [ "${1-}" != inside ]; then
    controller=$(realpath "${1:?which live-controller?}")
    [ "$(id -u)" = 0 ] || fail "needs root, for network namespaces and Open vSwitch"
    for tool in mn timeout ovs-vswitchd ovsdb-server ovs-vsctl ethtool ip iperf ping unshare nginx ffmpeg mplayer; do
        command -v "$tool" >/dev/null || PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null || fail "$tool is not installed"
    done
    # From inside, the kernel would not load it.
    [ "$DATAPATH" != kernel ] || modprobe openvswitch || fail "this kernel has no openvswitch module"
    exec unshare --net --mount --pid --ipc --fork --kill-child --mount-proc \
        bash "$0" inside "$controller" "${2-all}"
fi

controller=$2 what=$3
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
cd /
mount -t tmpfs tmpfs /run/openvswitch 2>/dev/null || { mkdir -p /run/openvswitch && mount -t tmpfs tmpfs /run/openvswitch; }
# The program and this script may lie in /tmp, which is about to be hidden.
mkdir /run/openvswitch/live
cp "$controller" /run/openvswitch/live/live-controller
cp "$here"/*.py /run/openvswitch/live/
mount -t tmpfs tmpfs /tmp
ip link set lo up

export OVS_RUNDIR=/run/openvswitch OVS_DBDIR=/tmp OVS_LOGDIR=/tmp OVS_SYSCONFDIR=/tmp
ovsdb-tool create /tmp/conf.db /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server /tmp/conf.db --remote=punix:/run/openvswitch/db.sock --pidfile --detach --log-file=/tmp/ovsdb.log 2>/dev/null
ovs-vsctl --no-wait init
ovs-vswitchd --pidfile --detach --log-file=/tmp/vswitchd.log 2>/dev/null

# start SCHEME [OPTION…]: a controller on any free port, whose event lines go to /tmp/events.
start() {
    local scheme=$1
    shift
    rm -f /tmp/events
    /run/openvswitch/live/live-controller --listen 127.0.0.1:0 --scheme "$scheme" --log warn "$@" \
        >/tmp/events 2>/tmp/controller.log &
    pid=$!
    echo "$pid" >/tmp/controller.pid
    for _ in $(seq 100); do
        if grep -qs '"listening"' /tmp/events; then
            port=$(sed -n 's/.*"listening","address":"127.0.0.1:\([0-9]*\)".*/\1/p' /tmp/events)
            return
        fi
        sleep 0.05
    done
    fail "the controller does not start: $(cat /tmp/controller.log)"
}

stop() {
    kill -TERM "$pid"
    wait "$pid" || fail "the controller ended with code $?: $(cat /tmp/controller.log)"
}

pingall() {
    local version=$1 topology=$2
    start direct
    timeout 600 /usr/bin/python3 /usr/bin/mn --topo "$topology" --controller "remote,ip=127.0.0.1,port=$port" \
        --switch "ovs,datapath=$DATAPATH,protocols=$version" --nolistenport --test pingall >/tmp/mn.log 2>&1 ||
        fail "$version $topology: $(cat /tmp/mn.log)"
    stop
    ! grep -F '*** Error' /tmp/mn.log | grep -v 'resource limits' || fail "$version $topology"
    grep -q '^\*\*\* Results: 0% dropped' /tmp/mn.log || fail "$version $topology: $(cat /tmp/mn.log)"
    ! grep -F '"error"' /tmp/events || fail "$version $topology: the switch reports errors"
    echo "$version $topology: $(sed -n 's/^\*\*\* Results: //p' /tmp/mn.log)," \
        "$(grep -c '"switch_connected"' /tmp/events) switches"
}

# The network with loops of the README: Open vSwitch's own spanning tree breaks them up.
loops() {
    start direct
    # Some 30 s until STP has settled; a ping now and then until one comes back, or for two minutes.
    {
        echo 'h1x1 seq 60 | while read -r n; do ping -c 1 -W 2 h2x2 >/dev/null && break; done'
        echo 'h1x1 ping -c 3 -W 2 h2x2'
        echo exit
    } | timeout 300 /usr/bin/python3 /usr/bin/mn --topo torus,3,3 --controller "remote,ip=127.0.0.1,port=$port" \
        --switch "ovs,datapath=$DATAPATH,stp=1,failMode=standalone" --nolistenport >/tmp/mn.log 2>&1 ||
        fail "torus: $(cat /tmp/mn.log)"
    stop
    grep -q ' 0% packet loss' /tmp/mn.log || fail "torus: $(cat /tmp/mn.log)"
    echo 'torus: 0% packet loss'
}

case $what in
all | loops)
    loops
    ;;&
all | pingall)
    for version in $VERSIONS; do
        for topology in single,3 linear,8 tree,3,3; do
            pingall "$version" "$topology"
        done
    done
    ;;&
all | bypass)
    for version in $VERSIONS; do
        for layout in one line; do
            start bypass
            timeout 180 /usr/bin/python3 /run/openvswitch/live/bypass.py "$port" "$version" "$layout" ||
                fail "bypass $version $layout: $(cat /tmp/controller.log)"
            stop
        done
    done
    ;;&
all | crowd)
    for version in $VERSIONS; do
        start bypass
        timeout 400 /usr/bin/python3 /run/openvswitch/live/crowd.py "$port" "$version" ||
            fail "crowd $version: $(cat /tmp/controller.log)"
        stop
    done
    ;;&
all | restart)
    # The second controller is no child of this shell.
    cat >/tmp/start-controller <<'END'
#!/bin/bash
: >/tmp/events
setsid /run/openvswitch/live/live-controller --listen "127.0.0.1:$1" --scheme bypass --hard-timeout 3 --log warn \
    >/tmp/events 2>/tmp/controller.log </dev/null &
echo $! >/tmp/controller.pid
END
    chmod +x /tmp/start-controller
    for version in $VERSIONS; do
        start bypass --hard-timeout 3
        timeout 180 /usr/bin/python3 /run/openvswitch/live/restart.py "$port" "$version" ||
            fail "restart $version: $(cat /tmp/controller.log /tmp/events)"
        kill -TERM "$(cat /tmp/controller.pid)"
        wait "$pid" 2>/dev/null || true # it was killed
    done
    ;;
esac
