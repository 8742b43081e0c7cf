#!/usr/bin/env bash
# Tests of livectl on a real kernel: in the guest of vagrant/guest.sh, with netem links and the kernel datapath of Open vSwitch.
# As root; about fifteen minutes, and three more if the guest's image is still to be made:
#
#   sudo tests/guest.sh
#
# Prints one line `ok NAME` or `not ok NAME` for each test, with the reason below it. Exit code 1 if one failed. It is not part of
# `./run.sh test`: it loads the machine for longer than all of that.
#
# shellcheck disable=SC2016,SC2317  # it is the guest's shell that expands these texts; a trap calls finish
set -uo pipefail

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
guest=$checkout/vagrant/guest.sh
failed=0 ours=0

# in_guest SHELL-TEXT
in_guest() { "$guest" exec "$1"; }
finish() { ((ours == 0)) || "$guest" stop >/dev/null 2>&1 || true; }
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# check NAME SHELL-TEXT…: each text, run in the guest, must end with status 0.
check() {
  local name=$1 text said
  shift
  for text; do
    if ! said=$(in_guest "$text" 2>&1); then
      printf 'not ok %s\n  %s\n%s\n' "$name" "$text" "$(tail -n 15 <<<"$said" | sed 's/^/  | /')"
      failed=1
      return
    fi
  done
  printf 'ok %s\n' "$name"
}

"$guest" start || exit 1
ours=1

check "doctor finds netem and the kernel's Open vSwitch" \
  'livectl doctor >/tmp/doctor' \
  'grep -q "^fine *netem *a netem queue was set up" /tmp/doctor' \
  'grep -q "^fine *openvswitch module *the kernel.s datapath answers" /tmp/doctor'

# Unfit (6) is what emulated processors may make of it.
check "smoke.yaml takes netem and the kernel datapath by itself and delivers every frame" \
  'livectl run recipes/smoke.yaml || [ $? = 6 ]' \
  'ls -d results/smoke/* | tail -n 1 >/tmp/run' \
  'python3 -c "
import csv, json, sys
run = open(\"/tmp/run\").read().strip()
manifest = json.load(open(run + \"/manifest.json\"))
assert manifest[\"link\"][\"used\"] == \"netem\", manifest[\"link\"]
assert manifest[\"datapath\"][\"used\"] == \"kernel\", manifest[\"datapath\"]
rows = list(csv.DictReader(open(run + \"/summary.csv\")))
assert [(r[\"scheme\"], r[\"frames\"], r[\"missing\"]) for r in rows] == [(\"direct\", \"150\", \"0\"), (\"bypass\", \"150\", \"0\")], rows
assert float(rows[1][\"peer_offload\"]) > 0.3, rows[1]
"' \
  'livectl verify "$(cat /tmp/run)"'

check "--link emulated works there as well" \
  'livectl run recipes/smoke.yaml --link emulated || [ $? = 6 ]' \
  'grep -q "\"used\": *\"emulated\"" "$(ls -d results/smoke/* | tail -n 1)/manifest.json"'

# The kernel's own words while a trial runs, beside livectl's own comparison of them with the plan.
check "links, offloads and the switch are what the recipe says" \
  'livectl run recipes/smoke.yaml --link netem --scheme direct >/tmp/log 2>&1 &
   for _ in $(seq 60); do grep -q "streaming" /tmp/log && break; sleep 1; done
   livectl exec hs tc qdisc show dev hs-eth0 | tee /tmp/tc
   livectl exec hs ethtool -k hs-eth0 >/tmp/offloads
   lsmod | grep "^openvswitch .* [1-9]" >/tmp/module
   wait' \
  'grep -q "netem 10: root .*limit 1005 delay 15ms rate 4Mbit" /tmp/tc' \
  '! grep -E "^(tcp|generic)-(segmentation|receive)-offload: on" /tmp/offloads'

check "live-controller answers mn's pingall on the kernel datapath in OpenFlow 1.0 and 1.3" \
  'sudo DATAPATH=kernel controller/tests/mininet.sh /usr/local/lib/livectl/live-controller pingall | tee /tmp/pingall' \
  '[ "$(grep -c ": 0% dropped" /tmp/pingall)" = 6 ]'

state='ip -brief link; ip netns; tc qdisc show; sudo ovs-dpctl show 2>&1; mount | wc -l; lsmod | awk "/^(openvswitch|sch_netem)/ { print \$1, \$3 }"'
check "kill -9 leaves no process, interface, queueing discipline or datapath" \
  "($state) >/tmp/before" \
  '(sudo /usr/local/lib/livectl/livectl run recipes/smoke.yaml --link netem >/tmp/log 2>&1 &)
   for _ in $(seq 60); do grep -q "first picture" /tmp/log && break; sleep 1; done
   sudo kill -9 "$(pgrep -o -f "^/usr/local/lib/livectl/livectl run")"
   for _ in $(seq 20); do pgrep -x "livectl|live-controller|live-agent|ovs-vswitchd|mn|nginx|mplayer|ffmpeg|tcpdump" >/dev/null || exit 0; sleep 0.5; done
   ps -ef; exit 1' \
  "($state) >/tmp/after; diff /tmp/before /tmp/after"

check "provisioning once more changes nothing" \
  'find /etc /usr/local /usr/bin /usr/sbin -type f -not -name "*.pyc" | sort | xargs -d "\n" sudo sha256sum >/tmp/before' \
  'sudo /livectl/vagrant/provision.sh --programs /root/programs /livectl vagrant' \
  'find /etc /usr/local /usr/bin /usr/sbin -type f -not -name "*.pyc" | sort | xargs -d "\n" sudo sha256sum | diff /tmp/before -'

exit "$failed"
