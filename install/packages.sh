#!/usr/bin/env bash
# The Debian and Ubuntu packages livectl needs, as install/packages.txt lists them.
#
#   install/packages.sh list    GROUP…   every package of these groups, the first choice of each
#   install/packages.sh missing GROUP…   those that are not installed; touches nothing, needs no network
#   install/packages.sh install GROUP…   installs those (root); does nothing at all when none is missing
#   install/packages.sh depends GROUP…   all of them with their alternatives, as a Debian package names what it depends on
#
# GROUP is build, run, test, slurm, obs, screens, tools, lint, deb or guest. Exit codes: 0 done, 2 wrong usage, 4 the packages cannot be had here.
#
# Some of these packages bring a service that Debian starts at once and at every boot: nginx on port 80, Open vSwitch.
# livectl starts its own copies of both inside its sandbox and needs neither service, so `install` does not start them
# and leaves them disabled. A service that was there before is not touched.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
list_file=$here/packages.txt
machine=${LIVECTL_MACHINE:-} # a folder that stands for / in the tests
# Where a machine's administrator (or a container's builder) says which services packages may start.
policy=$machine/usr/sbin/policy-rc.d
policy_before=$policy.before-livectl
policy_mark='# livectl: in place only while install/packages.sh runs apt-get'
# Services these packages may bring.
services=(nginx openvswitch-switch ovs-vswitchd ovsdb-server ovs-record-hostname munge slurmctld slurmd)

say() { printf 'packages: %s\n' "$*" >&2; }
fail() {
  printf 'packages: error: %s\n' "$1" >&2
  shift
  (($# == 0)) || printf '  %s\n' "$@" >&2
  exit 4
}
usage() {
  sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | sed '/^set /d' >&2
  exit 2
}

# The lines of these groups, without comments: `PACKAGE|ALTERNATIVE…`.
wanted() {
  local when packages
  while read -r when packages; do
    case " $* " in *" $when "*) printf '%s\n' "$packages" ;; esac
  done < <(sed -e 's/#.*//' -e 's/[[:space:]]*$//' -e '/^$/d' "$list_file")
}

installed() {
  [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# Those lines of `wanted` of which no alternative is installed.
missing() {
  local line package
  while read -r line; do
    for package in ${line//|/ }; do
      installed "$package" && continue 2
    done
    printf '%s\n' "$line"
  done < <(wanted "$@")
}

# Whether apt knows a version of a package that it could install.
obtainable() {
  local candidate
  candidate=$(LC_ALL=C apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: //p')
  [[ -n $candidate && $candidate != '(none)' ]]
}

# The first obtainable alternative of each line given; fails, naming the line, if one has none.
choose() {
  local line package
  for line in "$@"; do
    for package in ${line//|/ }; do
      if obtainable "$package"; then
        printf '%s\n' "$package"
        continue 2
      fi
    done
    printf '%s\n' "$line" >&2
    return 1
  done
}

apt_options=(-o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 -q)

update() {
  say "fetching the package lists (apt-get update)"
  apt-get "${apt_options[@]}" update >&2 || fail "apt-get update failed, so the package lists could not be fetched." \
    "Is the network up, and does /etc/apt/sources.list* name a mirror that can be reached?" \
    "Behind a proxy: echo 'Acquire::http::Proxy \"http://HOST:PORT\";' | sudo tee /etc/apt/apt.conf.d/80proxy"
}

# Only what is missing, and never at the price of something that is there.
apt_install() {
  DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
    apt-get "${apt_options[@]}" install --yes --no-install-recommends --no-remove "$@" </dev/null >&2
}

restore_policy() {
  if [[ -e $policy_before || -L $policy_before ]]; then
    mv -f "$policy_before" "$policy"
  elif [[ -f $policy ]] && grep -qF "$policy_mark" "$policy"; then
    rm -f "$policy"
  fi
}

# Keeps the services named from being started by the packages that bring them; asks the machine's own policy about all others.
hold_services() {
  restore_policy # of an earlier run that was killed
  if [[ -e $policy || -L $policy ]]; then mv "$policy" "$policy_before"; fi
  cat >"$policy" <<POLICY
#!/bin/sh
$policy_mark
for argument in "\$@"; do
  case \$argument in
    --*) ;;
    *) service=\${argument%.service}; break ;;
  esac
done
case " $* " in *" \$service "*) exit 101 ;; esac
if [ -x "$policy_before" ]; then exec "$policy_before" "\$@"; fi
exit 0
POLICY
  chmod 755 "$policy"
}

# Whether the machine has this service, running or not, enabled or not.
has_service() {
  local folder
  for folder in /lib/systemd/system /usr/lib/systemd/system /etc/systemd/system; do
    [[ ! -e $machine$folder/$1.service ]] || return 0
  done
  # A package that was removed leaves its init script behind, so this alone proves nothing where systemd is in charge.
  [[ ! -d $machine/run/systemd/system && -e $machine/etc/init.d/$1 ]]
}

# Services that came just now would start at the next boot.
disable_services() {
  local service
  for service in "$@"; do
    has_service "$service" || continue
    if command -v systemctl >/dev/null; then
      # --root: by its links, so that it also works where systemd is installed but not running.
      systemctl --root=/ --quiet disable "$service.service" >/dev/null 2>&1 || say "warning: could not disable $service.service"
    elif [[ -e $machine/etc/init.d/$service ]]; then # some services are systemd's alone, whose init script has another name
      update-rc.d "$service" disable >/dev/null 2>&1 || say "warning: could not disable /etc/init.d/$service"
    fi
  done
}

install_packages() {
  local lines packages=() new_services=() service unknown

  mapfile -t lines < <(missing "$@")
  ((${#lines[@]})) || return 0
  ((EUID == 0)) || fail "these packages are missing, and installing them needs root: ${lines[*]%%|*}" \
    "sudo apt-get install --no-install-recommends ${lines[*]%%|*}"

  # A machine whose lists know every package is not asked to fetch them again.
  unknown=$(choose "${lines[@]}" 2>&1 >/dev/null) || update
  unknown=$(choose "${lines[@]}" 2>&1 >/dev/null) || fail "this release's package lists have no $unknown." \
    "On Ubuntu it is in 'universe': sudo add-apt-repository universe" \
    "On Debian it is in 'main': look at /etc/apt/sources.list and /etc/apt/sources.list.d/"
  mapfile -t packages < <(choose "${lines[@]}")

  for service in "${services[@]}"; do
    has_service "$service" || new_services+=("$service")
  done
  trap restore_policy EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  ((${#new_services[@]} == 0)) || hold_services "${new_services[@]}"

  say "installing ${packages[*]}"
  if ! apt_install "${packages[@]}"; then
    # The commonest cause: lists so old that the mirror no longer has these versions.
    update
    apt_install "${packages[@]}" || fail "apt-get could not install: ${packages[*]}" \
      "Its own message is above. Packages are never removed to make room for these; if that is what it wanted, or if" \
      "an earlier installation was cut short, settle it by hand and start again:" \
      "sudo dpkg --configure -a && sudo apt-get install --no-install-recommends ${packages[*]}"
  fi
  disable_services ${new_services[@]+"${new_services[@]}"}

  mapfile -t lines < <(missing "$@")
  ((${#lines[@]} == 0)) || fail "apt-get said it was done, but these are still missing: ${lines[*]}"
  if ((${#new_services[@]})); then
    say "done; services that came with them were not started: livectl and its tests run their own"
  else
    say "done"
  fi
}

(($# >= 2)) || usage
action=$1
shift
for group in "$@"; do
  case $group in build | run | test | slurm | obs | screens | tools | lint | deb | guest) ;; *) usage ;; esac
done
if [[ $action != list && $action != depends ]] && ! command -v dpkg-query >/dev/null; then
  fail "this is not a Debian or Ubuntu machine (no dpkg-query), so packages cannot be looked up or installed." \
    "Install what $list_file lists by other means, then build with 'cargo build --release'."
fi
case $action in
  list) wanted "$@" | sed 's/|.*//' ;;
  missing) missing "$@" | sed 's/|.*//' ;;
  depends) wanted "$@" | sed 's/|/ | /g' | awk '!seen[$0]++' ;;
  install) install_packages "$@" ;;
  *) usage ;;
esac
