#!/usr/bin/env bash
# Measures live-controller beside the other OpenFlow controllers that are found on this machine, all by turns and in one run.
#
#   controller/bench/compare.sh [DIRECTORY] [-- OPTIONS OF live-controller bench]
#
# DIRECTORY (default: controller-bench in cargo's target directory) gets table.txt, results.csv, results.json and, with gnuplot, flat.svg. Examples:
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
# loopback, on free ports. Two runs follow each other: all controllers with 1 and 16 switches, of which ovs-testcontroller takes no more; and
# live-controller and no-work with 1 to 256, which shows whether the cost depends on how many there are.
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
bench flat "${scaling[@]}" --openflow 1.0,1.3 --switches 1,16,64,256 --macs 1000,100000 --pause 0.001 "$@"

if command -v gnuplot >/dev/null; then
    gnuplot <<PLOT
set terminal svg size 800,500
set output "$directory/flat.svg"
set datafile separator ","
set logscale x 2
set yrange [0:*]
set xlabel "switches"
set ylabel "answers per second"
set key outside
plot for [macs in "1000 100000"] "< grep -E '^direct,open,1.0,[0-9]+,".macs.",' '$directory/flat.csv'" \
    using 4:7 with points title macs." addresses"
PLOT
fi
echo "Written to $directory: $(cd "$directory" && echo *)"
