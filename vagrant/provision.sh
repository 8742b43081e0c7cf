#!/usr/bin/env bash
# Makes a Debian or Ubuntu machine ready for livectl: packages, Rust, build, and livectl, live-controller and live-agent on PATH. Run
# as root:
#
#   vagrant/provision.sh [--packages | --programs FOLDER] [CHECKOUT [USER]]
#
# CHECKOUT: the folder with run.sh; by default the one this script lies in. USER: who builds and who will use livectl; by
# default whoever called sudo. Running it again brings everything up to date and changes nothing else.
#
#   --packages          install the packages that running recipes needs, and stop
#   --programs FOLDER   install the three programs from FOLDER; nothing is built, so neither Rust nor a compiler comes
#
# What it makes: /usr/local/lib/livectl (the three programs), /usr/local/bin/livectl, live-controller and live-agent, completions and
# the man page, /etc/sudoers.d/livectl, /etc/profile.d/livectl.sh, /var/cache/livectl (the build, if any). Rust goes to USER's home
# folder if USER has none.
set -euo pipefail

programs_from=
only_packages=0
groups=(build run)
case ${1-} in
  --packages)
    only_packages=1 groups=(run)
    shift
    ;;
  --programs)
    programs_from=${2:?--programs needs a folder} groups=(run)
    shift 2
    ;;
esac
# Vagrant runs a copy of this script from elsewhere, and names the checkout.
checkout=${1:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)}
user=${2:-${SUDO_USER:-}}
programs=/usr/local/lib/livectl
names=(livectl live-controller live-agent)
cache=/var/cache/livectl

say() { printf '==> %s\n' "$*"; }
fail() {
  printf 'provision: error: %s\n' "$1" >&2
  shift
  (($# == 0)) || printf '  %s\n' "$@" >&2
  exit 4
}

((EUID == 0)) || fail "this installs packages and programs, which needs root." "sudo $0 $*"
for name in "${names[@]}"; do
  [[ -z $programs_from || -x $programs_from/$name ]] ||
    fail "$programs_from has no $name; ${names[*]} must be there." "./run.sh build   # says where it puts them"
done
[[ -x $checkout/run.sh ]] || fail "$checkout is no checkout of livectl: it has no run.sh." \
  "In a Vagrant guest that means that the shared folder is not mounted: vagrant reload"
if ((only_packages == 0)); then
  [[ -n $user ]] || fail "for whom? No user was named, and sudo did not call this." "sudo $0 $checkout USER"
  home=$(getent passwd "$user" | cut -d: -f6) || true
  [[ -d $home ]] || fail "there is no user $user with a home folder on this machine."
fi

# as_user COMMAND…: in the environment of a login of that user.
as_user() { runuser --login "$user" --command "$(printf '%q ' "$@")"; }

build_programs() {
  local installer
  say "Rust for $user"
  if [[ ! -x $home/.cargo/bin/cargo ]] && ! as_user command -v cargo >/dev/null 2>&1; then
    installer=$(mktemp)
    # shellcheck disable=SC2064  # the file is known now, and only now
    trap "rm -f '$installer'" EXIT
    curl --proto '=https' --tlsv1.2 --silent --show-error --fail --retry 3 --output "$installer" https://sh.rustup.rs ||
      fail "rustup could not be fetched." "Is the network up? Rust can also be installed by hand, as $user: https://rustup.rs"
    chmod 755 "$installer"
    as_user sh "$installer" -y --no-modify-path --profile minimal --default-toolchain stable
  fi

  say "building, as $user"
  install -d -o "$user" -g "$(id -g "$user")" "$cache" "$cache/target"
  # As if that user had called sudo: run.sh finds the user's Rust and tells what to do when it is too old.
  SUDO_USER=$user SUDO_UID=$(id -u "$user") SUDO_GID=$(id -g "$user") CARGO_TARGET_DIR=$cache/target "$checkout/run.sh" build
  programs_from=$cache/target/release
}

say "packages"
"$checkout/install/packages.sh" install "${groups[@]}"
# xauth: X11 over ssh. curl and certificates: rustup. The rest of this script's own needs is on every Debian.
extra=()
wanted=(xauth sudo)
[[ -n $programs_from ]] || ((only_packages)) || wanted+=(curl ca-certificates)
for package in "${wanted[@]}"; do
  [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || extra+=("$package")
done
if ((${#extra[@]})); then
  apt-get -q -o DPkg::Lock::Timeout=120 update
  DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 install --yes \
    --no-install-recommends "${extra[@]}"
fi

((only_packages == 0)) || exit 0

[[ -n $programs_from ]] || build_programs

say "installing ${names[*]}"
install -d "$programs"
for name in "${names[@]}"; do
  install -m 755 "$programs_from/$name" "$programs/"
done
ln -sfn "$programs/live-controller" "$programs/live-agent" /usr/local/bin/
install -m 755 "$checkout/vagrant/livectl" /usr/local/bin/livectl

# No password is asked for livectl. As livectl runs programs as root, that is as much as giving the user root; a Vagrant guest's
# user has it anyway.
sudoers=$(mktemp)
printf '%s ALL=(root) NOPASSWD: %s/livectl\n' "$user" "$programs" >"$sudoers"
visudo --check --quiet --file="$sudoers" || fail "sudo would not take the line for $user: $(cat "$sudoers")"
install -m 440 "$sudoers" /etc/sudoers.d/livectl
rm -f "$sudoers"

# A login lands in the checkout, so that `vagrant ssh -c 'livectl run recipes/p2p.yaml'` means the checkout's recipe.
cat >/etc/profile.d/livectl.sh <<PROFILE
if [ "\$(id -un)" = "$user" ] && [ "\$PWD" = "\$HOME" ] && [ -d "$checkout" ]; then cd "$checkout"; fi
PROFILE

install -d /usr/local/share/bash-completion/completions /usr/local/share/man/man1
"$programs/livectl" completions bash >/usr/local/share/bash-completion/completions/livectl
"$programs/livectl" man >/usr/local/share/man/man1/livectl.1

say "ready: livectl run recipes/p2p.yaml"
