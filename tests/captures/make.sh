#!/bin/bash
# Makes the captures in this folder, or in another, anew: ffmpeg publishes to nginx-rtmp and ffmpeg plays it, on the loopback of a network
# namespace of its own, in MTU-sized packets. Beside each capture goes the list of its video messages as tshark reads them.
# Needs root (for the namespace) and the packages ffmpeg, nginx-light, libnginx-mod-rtmp, tcpdump, tshark, ethtool, iproute2.
# Usage: sudo tests/captures/make.sh [FOLDER [SECONDS]]    here, and 1.2 seconds of video
# Whether what is in FOLDER is read as tshark reads it:
#   LIVECTL_CAPTURES=FOLDER cargo test --release -p livectl-wire --features capture real_captures -- --nocapture
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if [ "${1-}" != inside ]; then
    folder=$(cd "${1:-$here}" && pwd)
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    chmod 755 "$scratch"
    unshare --net --pid --fork --kill-child --mount-proc bash "$0" inside "$scratch" "$folder" "${2:-1.2}"
    for capture in "$folder"/rtmp-*.pcap*; do
        python3 "$here/tshark_list.py" "$capture" >"${capture%.pcap*}.tsv"
    done
    wc -c "$folder"/rtmp-*
    exit
fi

scratch=$2 folder=$3 seconds=$4
cd "$scratch"
ip link set lo up mtu 1500
ethtool -K lo tso off gso off gro off >ethtool.log

# One server for each chunk size; nginx takes chunk_size for a whole server.
cat >nginx.conf <<CONF
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off;
pid $scratch/nginx.pid;
error_log $scratch/nginx.log info;
events { worker_connections 64; }
rtmp {
    access_log off;
    server { listen 127.0.0.1:1935; chunk_size 128; application live { live on; } }
    server { listen 127.0.0.2:1935; chunk_size 4096; application live { live on; } }
    server { listen 127.0.0.3:1935; chunk_size 60000; application live { live on; } }
    server { listen [::1]:1935; chunk_size 4096; application live { live on; } }
}
CONF
nginx -p "$scratch" -c "$scratch/nginx.conf" &
nginx=$!

# until CONDITION...: waits for it, at most ten seconds.
until_true() {
    for _ in $(seq 200); do
        if "$@"; then return; fi
        sleep 0.05
    done
    echo "timed out: $*" >&2
    exit 1
}
listening() { ss -Hltn 'sport = :1935' | grep -qF "$1:1935"; }
capturing() { grep -q 'listening on' "$1.log"; }
playing() { grep -q "play: name='$1'" nginx.log; }
for address in 127.0.0.1 127.0.0.2 127.0.0.3 "[::1]"; do until_true listening "$address"; done

# capture NAME ADDRESS [PRECISION]
capture() {
    # Without --immediate-mode the last second of packets stays in the kernel's buffer when tcpdump is stopped.
    tcpdump -i lo -w "$1.pcap" -U --immediate-mode --time-stamp-precision="${3:-nano}" -s 0 "host $2 and tcp port 1935" 2>"$1.log" &
    dump=$!
    until_true capturing "$1"
}
stop_capture() {
    kill -INT "$dump"
    wait "$dump" || true
}
# play ADDRESS NAME: waits in front of the server for what will be published.
play() {
    ffmpeg -v error -nostdin -rw_timeout 10000000 -i "rtmp://$1/live/$2" -c copy -f null - 2>"player-$2.log" &
    players+=($!)
    until_true playing "$2"
}
# publish ADDRESS NAME SIZE FFMPEG-OPTIONS…
publish() {
    local to="rtmp://$1/live/$2" size=$3
    shift 3
    ffmpeg -v error -nostdin -re -f lavfi -i "testsrc2=size=$size:rate=6" -f lavfi -i sine=frequency=440:sample_rate=22050 -t "$seconds" "$@" \
        -f flv "$to"
}
players=()

capture rtmp-128-flv1 127.0.0.1
play 127.0.0.1 a
publish 127.0.0.1 a 64x48 -map 0 -c:v flv1 -g 5
stop_capture

capture rtmp-4096-h264-aac 127.0.0.2
play 127.0.0.2 b
publish 127.0.0.2 b 224x160 -c:v libx264 -preset veryfast -tune zerolatency -g 6 -c:a aac -b:a 24k
stop_capture

capture rtmp-60000-two-streams 127.0.0.3
play 127.0.0.3 c
play 127.0.0.3 d
publish 127.0.0.3 c 80x64 -c:v libx264 -preset veryfast -bf 2 -g 6 -c:a aac -b:a 24k &
first=$!
publish 127.0.0.3 d 64x48 -map 0 -c:v flv1 -g 6
wait "$first"
stop_capture

capture rtmp-4096-ipv6-vlan ::1 micro
play "[::1]" e
publish "[::1]" e 80x64 -c:v libx264 -preset veryfast -tune zerolatency -g 6 -c:a aac -b:a 24k
stop_capture

kill "${players[@]}" 2>/dev/null || true
wait "${players[@]}" 2>/dev/null || true
kill -QUIT "$nginx"
wait "$nginx" || true
cp rtmp-128-flv1.pcap rtmp-4096-h264-aac.pcap "$folder/"
# The third as pcapng, so that a real one is among them.
editcap -F pcapng rtmp-60000-two-streams.pcap "$folder/rtmp-60000-two-streams.pcapng"
# The fourth with VLAN tags, as a trunk would have them: put in afterwards, since not every kernel has VLANs.
python3 - rtmp-4096-ipv6-vlan.pcap "$folder/rtmp-4096-ipv6-vlan.pcap" <<'TAG'
import struct, sys
data, at = open(sys.argv[1], "rb").read(), 24
with open(sys.argv[2], "wb") as out:
    out.write(data[:at])
    while at < len(data):
        seconds, fraction, captured, original = struct.unpack_from("<IIII", data, at)
        frame = data[at + 16 : at + 16 + captured]
        out.write(struct.pack("<IIII", seconds, fraction, captured + 4, original + 4))
        out.write(frame[:12] + bytes.fromhex("8100002a") + frame[12:])
        at += 16 + captured
TAG
chmod 644 "$folder"/rtmp-*.pcap*
