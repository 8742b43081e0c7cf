#!/usr/bin/env bash
# A Debian guest with a stock Debian kernel, for trying livectl on netem links and the kernel datapath of Open vSwitch where
# the machine's own kernel has neither. It is a Debian machine with root and packages as vagrant/provision.sh makes them; no
# Vagrant, VirtualBox or processor with virtualisation is needed. Run as root, on Debian or Ubuntu:
#
#   sudo vagrant/guest.sh run COMMAND…   boot, run a command, bring its results back, shut down
#   sudo vagrant/guest.sh start          boot, and leave the guest running
#   sudo vagrant/guest.sh exec COMMAND…  run a command in the running guest
#   sudo vagrant/guest.sh stop           bring the results back, shut down
#   sudo vagrant/guest.sh image          make the disk image, if there is none yet, and stop
#   sudo vagrant/guest.sh clean          remove the image and all that was fetched for it
#
#   sudo vagrant/guest.sh run livectl doctor
#   sudo vagrant/guest.sh run 'livectl run recipes/smoke.yaml && livectl verify results'
#   sudo vagrant/guest.sh --release trixie run livectl doctor
#
# The guest is Debian 12; `--release trixie`, before the command, makes it Debian 13. Each release has an image of its own.
#
# COMMAND is run like by `vagrant ssh -c`: as the user vagrant, in a login shell, in /livectl, which is a copy of this checkout. One
# argument is shell text; several are a program and its arguments. Its exit code is this script's. What it leaves in
# /livectl/results comes into results/ here. Each boot starts from the same image: nothing else is kept.
#
# The first run makes the image: about five minutes. Without virtualisation (/dev/kvm) the guest's processors are emulated, ten to
# twenty times slower than real ones: enough to try what a kernel does, too slow for delays to be trusted, and
# livectl says so (`unfit`).
#
# Settings, by environment variable:
#   LIVECTL_CPUS         processors of the guest                       default 2
#   LIVECTL_MEMORY       its memory in MiB                             default 4096
#   LIVECTL_ACCELERATOR  kvm, or tcg for emulated processors           default kvm where the processor has it
#   LIVECTL_MIRROR       where Debian's packages come from             default http://deb.debian.org/debian
#   LIVECTL_RELEASE      Debian's release, as --release says it        default bookworm
#   LIVECTL_GUEST_CACHE  where the images go, about 2 GiB each         default /var/cache/livectl/guest
#   LIVECTL_PROGRAMS     a folder with the three programs              default: ./run.sh build
#
# Exit codes: COMMAND's own; 2 wrong usage; 4 this machine lacks something; 1 the guest could not be made, or did not boot.
set -euo pipefail

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cache=${LIVECTL_GUEST_CACHE:-/var/cache/livectl/guest}
mirror=${LIVECTL_MIRROR:-http://deb.debian.org/debian}
release=${LIVECTL_RELEASE:-bookworm}
cpus=${LIVECTL_CPUS:-2}
memory=${LIVECTL_MEMORY:-4096}
accelerator=${LIVECTL_ACCELERATOR:-}
names=(livectl live-controller live-agent)
boot_patience=600 # s; 31 s is usual under emulation on two cores

say() { printf 'guest: %s\n' "$*" >&2; }
fail() {
  local code=$1
  printf 'guest: error: %s\n' "$2" >&2
  shift 2
  (($# == 0)) || printf '  %s\n' "$@" >&2
  exit "$code"
}
usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

# step WHAT COMMAND…: a line before, the time after; the command's output goes to the log and is shown only if it fails. The command
# runs in a process group of its own, so that an interruption reaches all of it.
step() {
  local what=$1 started=$SECONDS status=0
  shift
  printf 'guest: %s … ' "$what" >&2
  set -m
  "$@" </dev/null >"$cache/log" 2>&1 &
  child=$!
  set +m
  wait "$child" || status=$?
  child=0
  if ((status)); then
    printf 'failed\n' >&2
    tail -n 20 "$cache/log" >&2
    fail 1 "$what: failed after $((SECONDS - started)) s; the end of its output is above." "All of it: $cache/log"
  fi
  printf '%d s\n' $((SECONDS - started)) >&2
}

# Whatever way this script ends: nothing of it goes on, and what was mounted is not.
child=0 mounted='' guest_is_ours=0
finish() {
  local status=$?
  trap '' INT TERM HUP
  ((child == 0)) || kill -- "-$child" 2>/dev/null || true
  [[ -z $mounted ]] || unmount "$mounted"
  ((guest_is_ours == 0)) || shut_down
  exit "$status"
}

# ---- qemu ----------------------------------------------------------------------------------------------------------

# The command that starts qemu, as an array. The machine's own if there is one. Else Debian's package, unpacked with all it needs
# beside the image: installing it can conflict with what the machine has, and would leave services behind.
find_qemu() {
  local room=$cache/qemu loader
  if command -v qemu-system-x86_64 >/dev/null; then
    qemu=(qemu-system-x86_64)
    return
  fi
  if [[ ! -e $room/ready ]]; then
    command -v apt-get >/dev/null ||
      fail 4 "there is no qemu-system-x86_64 on this machine." "Install it: it is in the package qemu or qemu-system-x86."
    step "fetching qemu" fetch_qemu "$room"
  fi
  loader=$room/lib64/ld-linux-x86-64.so.2
  export QEMU_MODULE_DIR=$room/usr/lib/x86_64-linux-gnu/qemu
  qemu=("$loader" --library-path "$room/usr/lib/x86_64-linux-gnu:$room/lib/x86_64-linux-gnu:$room/usr/lib/x86_64-linux-gnu/pulseaudio"
    "$room/usr/bin/qemu-system-x86_64" -L "$room/usr/share/seabios" -L "$room/usr/share/qemu" -L "$room/usr/lib/ipxe/qemu")
}

fetch_qemu() {
  local room=$1 fetched=$1.packages uri name package
  rm -rf "$room" "$fetched"
  mkdir -p "$room" "$fetched"
  apt-get -q update || return
  # With no package counted as installed, apt names everything down to the C library.
  apt-get -q -o Dir::State::status=/dev/null --no-install-recommends --print-uris --yes install qemu-system-x86 >"$fetched/list" || return
  while read -r uri name _; do
    [[ $uri == \'* ]] || continue
    printf '%s\n' "$name"
    /usr/lib/apt/apt-helper download-file "${uri//\'/}" "$fetched/$name" || return
  done <"$fetched/list"
  # Debian's base has links like /lib -> usr/lib, which `dpkg --extract` would replace by folders.
  mkdir -p "$room/usr/lib" "$room/usr/lib64"
  ln -s usr/lib "$room/lib"
  ln -s usr/lib64 "$room/lib64"
  for package in "$fetched"/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$room" --keep-directory-symlink || return
  done
  [[ -x $room/usr/bin/qemu-system-x86_64 ]] || return
  rm -rf "$fetched"
  touch "$room/ready"
}

# ---- the image -----------------------------------------------------------------------------------------------------

# What the image is made from. When that changes, so does the name of its folder, and it is made anew.
image_name() {
  printf '%s-' "$release"
  cat "$checkout/vagrant/provision.sh" "$checkout"/install/packages.* <(sed -n '/^# ---- the image/,/^# ---- the guest/p' "${BASH_SOURCE[0]}") |
    sha256sum | cut -c1-16
}

make_image() {
  image=$cache/image-$(image_name)
  [[ ! -e $image/ready ]] || return 0
  local started=$SECONDS root=$image/root
  "$checkout/install/packages.sh" install guest
  remove "$cache/image-$release"-*
  mkdir -p "$root"
  say "making an image of Debian $release in $image"
  step "debootstrap" debootstrap --variant=minbase --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
    --include=systemd-sysv,udev,dbus,openssh-server,ca-certificates "$release" "$root" "$mirror"
  # debootstrap has made the devices that packages need; the machine's own are not lent out.
  mounted=$root
  mount -t proc proc "$root/proc"
  step "kernel" in_root "$root" apt-get -q install --yes --no-install-recommends linux-image-amd64 initramfs-tools
  install -D -t "$root/livectl" "$checkout/run.sh"
  cp -a "$checkout/install" "$checkout/vagrant" "$root/livectl/"
  step "packages, as vagrant/provision.sh installs them" in_root "$root" /livectl/vagrant/provision.sh --packages /livectl
  step "settings" configure "$root"
  unmount "$root"
  mounted=
  # A file system is made from the folder, so no loop device is needed.
  step "disk" make_disk "$root"
  rm -rf "$root"
  touch "$image/ready"
  say "image made in $((SECONDS - started)) s, $(du -sh "$image" | cut -f1)"
}

in_root() {
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
    ${http_proxy:+http_proxy="$http_proxy"} chroot "$1" "${@:2}"
}

unmount() {
  ! mountpoint -q "$1/proc" || umount --lazy "$1/proc"
}

# remove FOLDER…: also those that a killed run left with something mounted in them.
remove() {
  local folder
  for folder; do
    unmount "$folder/root"
    rm --one-file-system -rf "$folder"
  done
}

configure() {
  local root=$1
  printf 'livectl\n' >"$root/etc/hostname"
  printf '127.0.0.1 localhost livectl\n' >"$root/etc/hosts"
  printf '/dev/vda / ext4 noatime 0 1\n' >"$root/etc/fstab"
  # qemu's user network; the guest is always 10.0.2.15.
  printf '[Match]\nType=ether\n[Network]\nAddress=10.0.2.15/24\n' >"$root/etc/systemd/network/10-qemu.network"
  systemctl --root="$root" enable systemd-networkd ssh
  systemctl --root="$root" mask apt-daily.timer apt-daily-upgrade.timer man-db.timer e2scrub_all.timer fstrim.timer systemd-networkd-wait-online.service
  # As in a Vagrant box: a user vagrant, who may become root.
  in_root "$root" useradd --create-home --shell /bin/bash vagrant
  printf 'vagrant ALL=(ALL) NOPASSWD: ALL\n' >"$root/etc/sudoers.d/vagrant"
  ssh-keygen -q -t ed25519 -N '' -C livectl-guest -f "$image/key"
  local home
  for home in root home/vagrant; do
    install -d -m 700 "$root/$home/.ssh"
    install -m 600 "$image/key.pub" "$root/$home/.ssh/authorized_keys"
  done
  in_root "$root" chown -R vagrant: /home/vagrant
  printf 'livectl-guest %s\n' "$(cat "$root/etc/ssh/ssh_host_ed25519_key.pub")" >"$image/known_hosts"
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
}

make_disk() {
  cp -L "$1/vmlinuz" "$image/kernel"
  cp -L "$1/initrd.img" "$image/initrd"
  truncate -s 8G "$image/disk"
  mkfs.ext4 -q -F -E lazy_itable_init=1 -d "$1" "$image/disk"
}

# ---- the guest -----------------------------------------------------------------------------------------------------

pid_of_guest() {
  local pid
  pid=$(cat "$cache/pid" 2>/dev/null) || return 1
  # The number may be another program's by now.
  tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "guest=livectl" || return 1
  printf '%s' "$pid"
}

free_port() {
  local port
  for port in $(seq 2222 2322); do
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      printf '%s' "$port"
      return
    fi
  done
  fail 4 "ports 2222 to 2322 are all in use on 127.0.0.1; ssh into the guest needs one."
}

# boot [PROGRAM…]: qemu is started by this program, which may see to its end.
boot() {
  local started=$SECONDS port pid
  port=$(free_port)
  find_qemu
  # /dev/kvm can be there and open, and yet run nothing: inside another virtual machine, where the flag is missing.
  if [[ -z $accelerator ]]; then
    if [[ -w /dev/kvm ]] && grep -qwE 'vmx|svm' /proc/cpuinfo; then accelerator=kvm; else accelerator=tcg; fi
  fi
  say "booting: $cpus processors ($accelerator), $memory MiB, ssh on 127.0.0.1:$port"
  rm -f "$cache/console"
  # Writes go to a temporary file that qemu removes at once; restrict: the guest reaches nothing but this machine's ssh.
  # An emulated processor has no side channels to close, and closing them costs it most.
  setsid "$@" "${qemu[@]}" -name guest=livectl -machine q35 -cpu max -smp "$cpus" -m "$memory" \
    -accel "$([[ $accelerator == kvm ]] && echo kvm || echo tcg,thread=multi)" \
    -nodefaults -no-user-config -display none -monitor none -serial "file:$cache/console" -device virtio-rng-pci \
    -kernel "$image/kernel" -initrd "$image/initrd" \
    -append "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet$([[ $accelerator == kvm ]] || echo ' mitigations=off tsc=reliable')" \
    -drive "file=$image/disk,format=raw,if=virtio,snapshot=on,cache=unsafe" \
    -netdev "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:$port-:22" -device virtio-net-pci,netdev=net,romfile= \
    </dev/null >"$cache/log" 2>&1 &
  pid=$!
  printf '%s' "$pid" >"$cache/pid"
  printf '%s' "$port" >"$cache/port"
  printf '%s' "$image" >"$cache/booted"
  until ssh_in root true 2>/dev/null; do
    kill -0 "$pid" 2>/dev/null || fail 1 "qemu ended while the guest booted. The end of what it and the console said:" \
      "$(tail -n 3 "$cache/log")" "$(tail -n 5 "$cache/console" 2>/dev/null)"
    if ((SECONDS - started >= boot_patience)); then
      kill "$pid"
      fail 1 "the guest did not answer to ssh within $boot_patience s; it was stopped. The end of its console:" "$(tail -n 5 "$cache/console")"
    fi
    sleep 0.5
  done
  say "up after $((SECONDS - started)) s"
}

ssh_in() {
  local who=$1
  shift
  ssh -q -F none -i "$image/key" -p "$(cat "$cache/port")" -o UserKnownHostsFile="$image/known_hosts" -o HostKeyAlias=livectl-guest \
    -o IdentitiesOnly=yes -o ConnectTimeout=60 -o ServerAliveInterval=30 -o ServerAliveCountMax=20 "$who@127.0.0.1" "$@"
}

install_livectl() {
  local programs=${LIVECTL_PROGRAMS:-} name
  if [[ -z $programs ]]; then
    "$checkout/run.sh" build 2>&1 | tee "$cache/log" >&2
    programs=$(sed -n 's/^run.sh: the programs: \(.*\)\/livectl, .*/\1/p' "$cache/log")
  fi
  for name in "${names[@]}"; do
    [[ -x $programs/$name ]] || fail 4 "there is no $name in ${programs:-LIVECTL_PROGRAMS}; ${names[*]} must be there."
  done
  step "copying the checkout and the programs in" copy_in "$programs"
  step "vagrant/provision.sh --programs" ssh_in root /livectl/vagrant/provision.sh --programs /root/programs /livectl vagrant
}

copy_in() {
  tar -C "$checkout" -c --exclude=./target --exclude=./.git --exclude='./results/*' . | ssh_in root 'rm -rf /livectl && mkdir /livectl && tar -C /livectl -x'
  tar -C "$1" -c "${names[@]}" | ssh_in root 'mkdir -p programs && tar -C programs -x'
  ssh_in root 'mkdir -p /livectl/results && chown -R vagrant: /livectl'
}

# As `vagrant ssh -c` does it.
command_in_guest() {
  local text terminal=()
  if (($# == 1)); then text=$1; else text=$(printf '%q ' "$@"); fi
  if [[ -t 0 && -t 1 ]]; then terminal=(-t); fi
  ssh_in vagrant "${terminal[@]}" "bash -l -c $(printf '%q' "$text")"
}

bring_back() {
  ssh_in root 'tar -C /livectl/results -c .' | tar -C "$checkout/results" -x --no-same-owner || fail 1 "the results could not be brought back."
  # What root unpacked belongs to whom the checkout belongs to.
  find "$checkout/results" -xdev -uid 0 -exec chown --no-dereference --reference="$checkout" {} +
}

shut_down() {
  local pid waited=0
  pid=$(pid_of_guest) || return 0
  ssh_in root 'systemctl poweroff' >/dev/null 2>&1 || true
  while kill -0 "$pid" 2>/dev/null && ((waited++ < 120)); do sleep 0.5; done
  kill "$pid" 2>/dev/null || true
  rm -f "$cache/pid" "$cache/port" "$cache/booted"
}

# ---- the commands --------------------------------------------------------------------------------------------------

need_guest() {
  pid_of_guest >/dev/null || fail 1 "no guest is running." "sudo vagrant/guest.sh start"
  # The scripts may have changed since, and whoever asks need not know the release.
  image=$(cat "$cache/booted")
}

# start [PROGRAM…]: see boot.
start() {
  make_image
  boot "$@"
  install_livectl
}

case ${1-} in
  --release)
    (($# > 1)) || fail 2 "--release needs a name." "sudo vagrant/guest.sh --release trixie run livectl doctor"
    release=$2
    shift 2
    ;;
  --release=*)
    release=${1#*=}
    shift
    ;;
esac
action=${1-}
(($# == 0)) || shift
case $action in
  -h | --help | help)
    usage
    exit 0
    ;;
  run | exec) (($# > 0)) || fail 2 "$action needs a command." "sudo vagrant/guest.sh $action livectl doctor" ;;
  start | stop | image | clean) (($# == 0)) || fail 2 "$action takes no argument: $*" ;;
  *)
    usage >&2
    exit 2
    ;;
esac
[[ $cpus =~ ^[1-9][0-9]*$ ]] || fail 2 "LIVECTL_CPUS=$cpus: must be a number of processors"
[[ $memory =~ ^[1-9][0-9]*$ ]] || fail 2 "LIVECTL_MEMORY=$memory: must be a number of MiB"
[[ $release =~ ^(bookworm|trixie)$ ]] || fail 2 "release $release: must be bookworm (Debian 12) or trixie (Debian 13)"
[[ $accelerator =~ ^(kvm|tcg)?$ ]] || fail 2 "LIVECTL_ACCELERATOR=$accelerator: must be kvm or tcg"
((EUID == 0)) || fail 4 "making a Debian system needs root." "sudo vagrant/guest.sh $action"
[[ $(uname -m) == x86_64 ]] || fail 4 "this is a $(uname -m) machine; the guest is an x86_64 one."
mkdir -p "$cache"

trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
case $action in
  run | start) ! pid_of_guest >/dev/null || fail 1 "a guest is running already." "sudo vagrant/guest.sh stop" ;;
esac
case $action in
  image) make_image ;;
  clean)
    ! pid_of_guest >/dev/null || fail 1 "the guest is running." "sudo vagrant/guest.sh stop"
    remove "$cache"/image-* "$cache"
    ;;
  start) start ;;
  exec)
    need_guest
    command_in_guest "$@"
    ;;
  stop)
    need_guest
    bring_back
    shut_down
    ;;
  run)
    # Also if this script is killed, no guest stays behind.
    guest_is_ours=1
    start setpriv --pdeathsig KILL
    status=0
    command_in_guest "$@" || status=$?
    bring_back
    exit "$status"
    ;;
esac
