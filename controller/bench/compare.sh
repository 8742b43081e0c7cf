#!/usr/bin/env bash
# Measures live-controller beside the other OpenFlow controllers that are found on this machine, all by turns and in one run.
#
#   controller/bench/compare.sh [DIRECTORY] [-- OPTIONS OF live-controller bench]
#
# DIRECTORY (default: controller-bench in cargo's target directory) gets table.txt, the measurements as CSV and JSON and, with gnuplot, flat.svg. Examples:
#
#   controller/bench/compare.sh
#   controller/bench/compare.sh /tmp/quick -- --repetitions 3 --duration 0.5
#
# Needs: cargo, taskset (util-linux), ss (iproute2). Controllers that are measured when they are there:
#   ovs-testcontroller   apt-get install openvswitch-testcontroller; stop the service that the package starts
#   os-ken               pip install os-ken==2.8.1, and OSKEN_APP=/path/to/simple_switch.py: a copy of os_ken/app/simple_switch.py from
#                        https://opendev.org/openstack/os-ken, which the package lacks; OSKEN_MANAGER if osken-manager is not in the PATH
# Any other one that runs already: OTHERS="name=127.0.0.1:6633@PID ...".
# A plot needs gnuplot-nox.
#
# Controllers run on one core (CONTROLLER_CORE, default 0), the generator on another (GENERATOR_CORE, default 1); everything listens on
# loopback, on free ports. Three runs follow each other: all controllers with 1 and 16 switches, of which ovs-testcontroller takes no more; and
# live-controller and no-work with 1 to 256 switches, and with 100 to 1,000,000 addresses, which show whether the cost depends on how many there are.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
directory=
if [[ $# -gt 0 && $1 != -- ]]; then
    directory=$1
    shift
fi
[[ ${1:-} != -- ]] || shift
controller_core=${CONTROLLER_CORE:-0}
generator_core=${GENERATOR_CORE:-1}

for tool in cargo taskset ss; do
    command -v "$tool" >/dev/null || { echo "compare.sh: $tool is not installed" >&2; exit 1; }
done
cargo build --quiet --release --package live-controller --manifest-path "$here/../Cargo.toml"
metadata=$(cargo metadata --format-version 1 --no-deps --manifest-path "$here/../Cargo.toml")
target=${metadata##*\"target_directory\":\"}
target=${target%%\"*}
live=$target/release/live-controller
directory=${directory:-$target/controller-bench}
mkdir -p "$directory"

pids=()
targets=()
runtime=$(mktemp -d)

# Only what was started here, by its process id.
end_all() {
    local pid
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in "${pids[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$runtime"
}
trap end_all EXIT

# A port that nobody listens on, and that was not given out before.
next_port=16653
free_port() {
    while [[ -n $(ss -Hltn "sport = :$next_port") ]]; do
        next_port=$((next_port + 1))
    done
    port=$next_port
    next_port=$((next_port + 1))
}

# start NAME PORT COMMAND...: runs it on the controllers' core until it listens, for at most 20 s.
start() {
    local name=$1 port=$2
    shift 2
    taskset -c "$controller_core" "$@" >"$directory/$name.log" 2>&1 &
    local pid=$!
    pids+=("$pid")
    local end=$((SECONDS + 20))
    while [[ -z $(ss -Hltn "sport = :$port") ]]; do
        if ! kill -0 "$pid" 2>/dev/null || ((SECONDS > end)); then
            echo "compare.sh: $name does not listen on port $port; see $directory/$name.log. It is left out." >&2
            return 0
        fi
        sleep 0.05
    done
    targets+=("$name=127.0.0.1:$port@$pid")
}

if command -v ovs-testcontroller >/dev/null; then
    free_port
    start ovs-testcontroller "$port" ovs-testcontroller "ptcp:$port:127.0.0.1" "--unixctl=$runtime/ovs.ctl"
else
    echo "compare.sh: without ovs-testcontroller (apt-get install openvswitch-testcontroller)" >&2
fi
for scheme in direct bypass; do
    free_port
    start "$scheme" "$port" "$live" --listen "127.0.0.1:$port" --scheme "$scheme"
done
osken=${OSKEN_MANAGER:-osken-manager}
if [[ -n ${OSKEN_APP:-} ]] && command -v "$osken" >/dev/null; then
    free_port
    start os-ken "$port" "$osken" --ofp-listen-host 127.0.0.1 --ofp-tcp-listen-port "$port" "$OSKEN_APP"
else
    echo "compare.sh: without os-ken (set OSKEN_APP; see the head of this script)" >&2
fi
free_port
start no-work "$port" "$live" bench --respond "127.0.0.1:$port"
read -ra others <<<"${OTHERS:-}"

# bench NAME OPTIONS...: a controller that does not take so many switches is told in the table, and no failure.
bench() {
    local name=$1
    shift
    local status=0
    taskset -c "$generator_core" "$live" bench --csv "$directory/$name.csv" --json "$directory/$name.json" "$@" |
        tee -a "$directory/table.txt" || status=$?
    ((status <= 1)) || exit "$status"
}

: >"$directory/table.txt"
bench results "${targets[@]}" ${others[@]+"${others[@]}"} --openflow 1.0,1.3 --switches 1,16 --macs 1000,100000 "$@"

scaling=()
for one in "${targets[@]}"; do
    case $one in direct=* | no-work=*) scaling+=("$one") ;; esac
done
bench switches "${scaling[@]}" --openflow 1.0,1.3 --switches 1,16,64,256 --macs 1000,100000 --pause 0.001 "$@"
bench addresses "${scaling[@]}" --openflow 1.0,1.3 --switches 16 --macs 100,1000,10000,100000,1000000 --pause 0.001 "$@"

# points FILE LOOP OPENFLOW COLUMN [MACS]: what was measured of `direct`, as one line for each number of switches or addresses, which is in
# that column, with the median, the least and the largest answers per second.
points() {
    awk -F, -v drive="$2" -v openflow="$3" -v column="$4" -v macs="${5:-}" '
        $1 == "direct" && $2 == drive && $3 == openflow && (macs == "" || $5 == macs) && $7 != "" { print $column, $7 }' "$1" |
        sort -k1,1n -k2,2n |
        awk '
            function flush() { if (n) print x, (v[int((n + 1) / 2)] + v[int(n / 2) + 1]) / 2, v[1], v[n] }
            $1 != x { flush(); n = 0; x = $1 }
            { v[++n] = $2 }
            END { flush() }'
}

if command -v gnuplot >/dev/null; then
    for drive in open closed; do
        for openflow in 1.0 1.3; do
            points "$directory/switches.csv" "$drive" "$openflow" 4 1000 >"$runtime/switches-$drive-$openflow-1000"
            points "$directory/switches.csv" "$drive" "$openflow" 4 100000 >"$runtime/switches-$drive-$openflow-100000"
            points "$directory/addresses.csv" "$drive" "$openflow" 5 >"$runtime/addresses-$drive-$openflow"
        done
    done
    gnuplot <<PLOT
set terminal svg size 1000,640 background "white"
set output "$directory/flat.svg"
set multiplot layout 2,2
set yrange [0:*]
set format y "%.1s %c"
set grid ytics
set key bottom left
do for [drive in "open closed"] {
    set ylabel drive." loop, answers per second"
    set xlabel "switches"
    set logscale x 2
    set xrange [0.8:320]
    set xtics (1, 16, 64, 256)
    plot for [version in "1.0 1.3"] for [macs in "1000 100000"] "$runtime/switches-".drive."-".version."-".macs \
        using 1:2:3:4 with yerrorlines title version.", ".macs." addresses"
    set xlabel "addresses at each of 16 switches"
    set logscale x 10
    set xrange [70:1400000]
    set xtics ("100" 100, "1,000" 1000, "10,000" 10000, "100,000" 100000, "1,000,000" 1000000)
    plot for [version in "1.0 1.3"] "$runtime/addresses-".drive."-".version using 1:2:3:4 with yerrorlines title version
}
unset multiplot
PLOT
fi
echo "Written to $directory: $(cd "$directory" && echo *)"
