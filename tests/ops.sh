#!/usr/bin/env bash
# Tests of run.sh, install/packages.sh and the scripts in vagrant/, as root, with stand-ins for dpkg, apt, cargo and livectl: what is installed
# when, who builds, whose the files are afterwards, what a signal does, what is said when something is missing.
#
#   tests/ops.sh [NAME…]     all tests, or those whose name contains one of these words
#
# Prints one line `ok NAME` or `not ok NAME` for each, with the reason below it. Exit code 1 if one failed.
set -uo pipefail

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
user=nobody
user_uid=$(id -u "$user")
user_gid=$(id -g "$user")

# ---- a small world -------------------------------------------------------------------------------------------------

# In $world: a checkout with the scripts, a home folder, programs that only pretend, and files that say what to pretend.
make_world() {
  world=$(mktemp -d)
  chmod 755 "$world"
  place=$world/checkout machine=$world/machine sbin=$world/machine/usr/sbin bin=$world/bin state=$world/state home=$world/home
  mkdir -p "$place/recipes" "$place/results" "$place/tests" "$bin" "$sbin" \
    "$machine/run/systemd/system" "$machine/lib/systemd/system" "$state/installed" "$state/known" "$home/.cargo/bin"
  cp -a "$checkout/run.sh" "$checkout/install" "$checkout/vagrant" "$checkout/.ci" "$place/"
  printf '[workspace.package]\nrust-version = "1.89"\n' >"$place/Cargo.toml"
  printf '#!/bin/sh\necho "ok a script"\n' >"$place/tests/ops.sh"
  chmod 755 "$place/tests/ops.sh"
  touch "$place/recipes/p2p.yaml" "$place/recipes/other.yaml" "$place/CHANGELOG.md"
  echo 1.95.0 >"$state/cargo-version"
  echo 0 >"$state/cargo-test-status"
  echo 99.0.0 >"$state/cargo-deb-version"
  echo cargo-about 99.0.0 >"$state/cargo-about-version"
  : >"$state/log"
  chmod 666 "$state/log"
  for package in $("$checkout/install/packages.sh" list build run test slurm lint deb); do
    touch "$state/installed/$package" "$state/known/$package"
  done

  program "$bin/dpkg-query" <<'PROGRAM'
for package; do :; done
[ -e "$state/installed/$package" ] && printf installed
PROGRAM
  program "$bin/apt-cache" <<'PROGRAM'
[ -e "$state/known/$2" ] && candidate=1.0 || candidate='(none)'
printf '%s:\n  Installed: (none)\n  Candidate: %s\n' "$2" "$candidate"
PROGRAM
  program "$bin/apt-get" <<'PROGRAM'
echo "apt-get $*" >>"$state/log"
policy() { [ ! -x "$machine/usr/sbin/policy-rc.d" ] || "$machine/usr/sbin/policy-rc.d" "$@"; }
policy nginx start; echo "nginx start: $?" >>"$state/log"
policy --quiet cron.service restart; echo "cron restart: $?" >>"$state/log"
action=
while [ $# -gt 0 ]; do
  case $1 in
    -o) shift ;;
    -*) ;;
    update | install) action=$1 ;;
    *) touch "$state/wish/$1" ;;
  esac
  shift
done
case $action in
  update)
    [ ! -e "$state/no-network" ] || { echo "E: Failed to fetch" >&2; exit 100; }
    for package in $(cat "$state/known-after-update" 2>/dev/null); do touch "$state/known/$package"; done
    touch "$state/updated"
    ;;
  install)
    if [ -e "$state/stale" ] && [ ! -e "$state/updated" ]; then echo "E: 404 Not Found" >&2; exit 100; fi
    [ ! -e "$state/install-fails" ] || { echo "E: Packages need to be removed but remove is disabled." >&2; exit 100; }
    [ ! -e "$state/wish/nginx-light" ] || touch "$machine/lib/systemd/system/nginx.service"
    for wish in "$state"/wish/*; do touch "$state/installed/${wish##*/}"; done
    ;;
esac
PROGRAM
  mkdir -p "$state/wish"
  program "$bin/systemctl" <<'PROGRAM'
echo "systemctl $*" >>"$state/log"
PROGRAM
  program "$bin/getent" <<PROGRAM
case \$2 in
  $user_uid) echo "$user:x:$user_uid:$user_gid::$home:/bin/bash" ;;
  0) echo "root:x:0:0:root:/root:/bin/bash" ;;
  *) exit 2 ;;
esac
PROGRAM
  program "$bin/shellcheck" <<'PROGRAM'
echo "shellcheck $*" >>"$state/log"
[ ! -e "$state/shellcheck-complains" ]
PROGRAM
  cargo_at "$home/.cargo/bin/cargo"
}

# Writes a stand-in that knows $state, $place, $home and $machine; the body comes on stdin.
program() {
  {
    printf '#!/bin/sh\nstate=%s place=%s home=%s machine=%s\n' "$state" "$place" "$home" "$machine"
    cat
  } >"$1"
  chmod 755 "$1"
}

# A cargo that builds a livectl which notes how it is called.
cargo_at() {
  program "$1" <<'PROGRAM'
target=${CARGO_TARGET_DIR:-$place/target}
case $1 in
  --version) echo "cargo $(cat "$state/cargo-version") (0123456 2026-01-01)"; exit ;;
  metadata) echo "{\"packages\":[],\"target_directory\":\"$target\",\"version\":1}"; exit ;;
  fmt) [ "$2" = --version ] || [ ! -e "$state/unformatted" ]; exit ;;
  deny) [ "$2" != --version ] || { [ -e "$state/cargo-deny" ]; exit; } ;;
  deb | about) [ "$2" != --version ] || { cat "$state/cargo-$1-version"; exit; } ;;
esac
echo "cargo $* by $(id -u) home $HOME" >>"$state/log"
mkdir -p "$target/release"
case "$*" in
  *--examples)
    mkdir -p "$target/release/examples"
    for name in agent_man controller_man; do cp "$state/livectl" "$target/release/examples/$name"; done
    ;;
  build*)
    [ ! -e "$state/build-fails" ] || { echo "error: could not compile" >&2; exit 101; }
    for name in livectl live-controller live-agent; do cp "$state/livectl" "$target/release/$name"; done
    ;;
  about*)
    [ ! -e "$state/licence-fails" ] || exit 1
    : >"$target/release/package/notices"
    ;;
  deb*)
    mkdir -p "$target/debian"
    : >"$target/debian/livectl.deb"
    echo "$target/debian/livectl.deb"
    ;;
  *--no-run*) ;;
  test*)
    touch "$target/release/made-by-tests"
    [ ! -e "$state/cargo-test-output" ] || cat "$state/cargo-test-output"
    exit "$(cat "$state/cargo-test-status")"
    ;;
esac
PROGRAM
  program "$state/livectl" <<'PROGRAM'
echo "livectl $* by $(id -u) in $PWD" >>"$state/log"
mkdir -p "$place/results/p2p/20260101T000000Z"
echo table >"$place/results/p2p/20260101T000000Z/summary.csv"
[ -e "$state/no-plot" ] || echo plot >"$place/results/delay-plot.png"
if [ -e "$state/runs-long" ]; then
  trap 'echo "livectl got INT" >>"$state/log"; exit 130' INT
  trap 'echo "livectl got TERM" >>"$state/log"; exit 143' TERM
  : >"$state/running"
  patience=200
  while [ "$patience" -gt 0 ]; do sleep 0.05; patience=$((patience - 1)); done
  exit 99
fi
[ ! -e "$state/livectl-status" ] || exit "$(cat "$state/livectl-status")"
PROGRAM
}

# run ARGUMENT…: run.sh as root without sudo. run_sudo: as sudo of $user would call it. Both leave $status and $output.
run() { called_in "$place" env -u SUDO_UID -u SUDO_GID -u SUDO_USER HOME="$home" "${settings[@]}" ./run.sh "$@"; }
run_sudo() {
  called_in "$place" env HOME=/root SUDO_USER="$user" SUDO_UID="$user_uid" SUDO_GID="$user_gid" "${settings[@]}" ./run.sh "$@"
}
called_in() {
  local folder=$1
  shift
  output=$(cd "$folder" && PATH=$bin:/usr/sbin:/usr/bin:/sbin:/bin CARGO_HOME='' RUSTUP_HOME='' \
    LIVECTL_MACHINE=$machine env --default-signal=HUP,INT,TERM -u CARGO_TARGET_DIR -u CARGO_HOME -u RUSTUP_HOME "$@" 2>&1)
  status=$?
}
settings=(A=b)

give_to_user() { chown -R "$user_uid:$user_gid" "$place" "$home"; }

# ---- assertions: the first that fails ends its test ----------------------------------------------------------------

wrong() {
  printf '    %s\n' "$@"
  printf '    | %s\n' "status ${status-}" "${output//$'\n'/$'\n    | '}"
  printf '    log: %s\n' "$(sed 's/^/      /' "$state/log")"
  exit 1
}
status_is() { [[ $status == "$1" ]] || wrong "the status should be $1"; }
says() { [[ $output == *"$1"* ]] || wrong "this is not said: $1"; }
says_not() { [[ $output != *"$1"* ]] || wrong "this should not be said: $1"; }
last_line_is() { [[ ${output##*$'\n'} == "$1" ]] || wrong "the last line should be: $1"; }
logged() { grep -qF -- "$1" "$state/log" || wrong "this did not happen: $1"; }
not_logged() { ! grep -qF -- "$1" "$state/log" || wrong "this should not have happened: $1"; }
owned_by_user() {
  local others
  others=$(find "$place" "$@" ! -uid "$user_uid")
  [[ -z $others ]] || wrong "these do not belong to $user: $others"
}

# ---- packages ------------------------------------------------------------------------------------------------------

test_nothing_missing_leaves_apt_alone() {
  run
  status_is 0
  not_logged apt-get
}

test_only_what_is_missing_is_installed() {
  rm "$state/installed/ffmpeg" "$state/installed/tshark"
  run
  status_is 0
  grep -q 'apt-get .* install .* ffmpeg$' "$state/log" || wrong "ffmpeg and nothing else should have been installed"
  not_logged ' update'
  not_logged tshark # for the tests only
}

test_the_tests_packages_come_with_the_tests() {
  rm "$state/installed/tshark"
  echo "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out" >"$state/cargo-test-output"
  run test
  status_is 0
  grep -q 'apt-get .* install .* tshark$' "$state/log" || wrong "tshark should have been installed"
}

test_an_alternative_that_is_installed_will_do() {
  rm "$state/installed/nginx-light"
  touch "$state/installed/nginx-full"
  run
  status_is 0
  not_logged apt-get
}

test_the_first_alternative_the_release_has_is_taken() {
  rm "$state/installed/nginx-light" "$state/known/nginx-light"
  touch "$state/known/nginx"
  run packages
  status_is 0
  grep -q 'install .* nginx$' "$state/log" || wrong "nginx should have been installed"
}

test_unknown_packages_make_it_fetch_the_lists_once() {
  rm "$state/installed/ffmpeg" "$state/known/ffmpeg"
  echo ffmpeg >"$state/known-after-update"
  run packages
  status_is 0
  [[ $(grep -c ' update$' "$state/log") == 1 ]] || wrong "there should have been one apt-get update"
}

test_stale_lists_are_fetched_and_tried_again() {
  rm "$state/installed/ffmpeg"
  touch "$state/stale"
  run packages
  status_is 0
  [[ $(grep -c ' update$' "$state/log") == 1 ]] || wrong "there should have been one apt-get update"
}

test_without_network_it_says_so() {
  rm "$state/installed/ffmpeg" "$state/known/ffmpeg"
  touch "$state/no-network"
  run
  status_is 4
  says "apt-get update failed"
  not_logged cargo
}

test_a_package_the_release_lacks_is_named() {
  rm "$state/installed/mininet" "$state/known/mininet"
  run
  status_is 4
  says "no mininet"
  says universe
}

test_a_failing_installation_is_explained() {
  rm "$state/installed/ffmpeg"
  touch "$state/install-fails"
  run
  status_is 4
  says "apt-get could not install: ffmpeg"
  says "dpkg --configure -a"
}

test_new_services_are_not_started_and_others_are() {
  rm "$state/installed/nginx-light"
  run packages
  status_is 0
  logged "nginx start: 101"
  logged "cron restart: 0"
  logged "systemctl --root=/ --quiet disable nginx.service"
  [[ ! -e $sbin/policy-rc.d ]] || wrong "the policy should be gone again"
}

test_without_systemctl_init_scripts_are_disabled_where_there_are_some() {
  rm "$state/installed/nginx-light" "$bin/systemctl"
  mkdir "$world/without-systemctl"
  ln -sf /usr/sbin/* /usr/bin/* "$world/without-systemctl"
  rm -f "$world/without-systemctl/systemctl"
  settings=("PATH=$bin:$world/without-systemctl")
  program "$bin/update-rc.d" <<'PROGRAM'
echo "update-rc.d $*" >>"$state/log"
[ -e "$machine/etc/init.d/$1" ]
PROGRAM
  run packages
  status_is 0
  not_logged update-rc.d
  [[ $output != *warning* ]] || wrong "a service without an init script should not be warned of"
  rm "$state/installed/nginx-light" "$machine/lib/systemd/system/nginx.service"
  mkdir -p "$machine/etc/init.d"
  touch "$machine/etc/init.d/nginx"
  run packages
  status_is 0
  logged "update-rc.d nginx disable"
}

test_services_that_were_there_are_not_held() {
  rm "$state/installed/nginx-light" "$state/installed/ffmpeg"
  touch "$machine/lib/systemd/system/nginx.service" # of another package, say
  run packages
  status_is 0
  logged "nginx start: 0"
  not_logged "disable nginx.service"
}

test_the_machines_own_policy_is_asked_and_kept() {
  rm "$state/installed/nginx-light"
  printf '#!/bin/sh\nexit 42\n' >"$sbin/policy-rc.d"
  chmod 755 "$sbin/policy-rc.d"
  cp -a "$sbin/policy-rc.d" "$state/policy-as-it-was"
  run packages
  status_is 0
  logged "nginx start: 101"
  logged "cron restart: 42"
  cmp -s "$sbin/policy-rc.d" "$state/policy-as-it-was" || wrong "the machine's policy should be back as it was"
  [[ ! -e $sbin/policy-rc.d.before-livectl ]] || wrong "a copy of the policy is left behind"
}

test_the_machines_own_policy_is_back_after_a_failure() {
  rm "$state/installed/nginx-light"
  touch "$state/install-fails"
  printf '#!/bin/sh\nexit 42\n' >"$sbin/policy-rc.d"
  chmod 755 "$sbin/policy-rc.d"
  run packages
  status_is 4
  grep -q 'exit 42' "$sbin/policy-rc.d" || wrong "the machine's policy should be back"
}

test_every_line_of_the_package_list_is_understood() {
  local odd
  odd=$(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$place/install/packages.txt" |
    grep -vE '^(build|run|test|slurm|obs|screens|tools|lint|deb|guest) +[a-z0-9.+-]+(\|[a-z0-9.+-]+)*[[:space:]]*$')
  [[ -z $odd ]] || wrong "these lines are not WHEN PACKAGE|ALTERNATIVE: $odd"
}

# What an array of Cargo.toml's section on the Debian package lists, a string a line.
of_the_package() {
  sed -n "/^\[package.metadata.deb\]/,/^\[profile/{/^$1 = \[/,/^\]/s/^ *\"\(.*\)\",\$/\1/p}" "$checkout/Cargo.toml"
}

test_the_debian_package_depends_on_the_list() {
  local depends
  depends=$("$place/install/packages.sh" depends run)
  [[ $(of_the_package depends) == $'$auto\n'"$depends" ]] ||
    wrong "depends in Cargo.toml differs from packages.sh depends run:" "$(diff <(of_the_package depends) <(echo "$depends"))"
  # What is needed anyway is not suggested as well.
  depends=$("$place/install/packages.sh" depends obs screens tools | grep -vxF "$depends")
  [[ $(of_the_package suggests) == "$depends" ]] ||
    wrong "suggests in Cargo.toml differs from packages.sh depends obs screens tools:" "$(diff <(of_the_package suggests) <(echo "$depends"))"
}

test_the_debian_package_has_the_version_of_livectl() {
  local version
  version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' "$checkout/Cargo.toml")
  [[ $(head -n 1 "$checkout/install/debian/changelog") == "livectl ($version) "* ]] ||
    wrong "install/debian/changelog does not begin with version $version"
}

# ---- cargo ---------------------------------------------------------------------------------------------------------

test_without_cargo_it_says_how_to_get_it() {
  rm "$home/.cargo/bin/cargo" "$state/installed/ffmpeg"
  run
  status_is 4
  not_logged apt-get # what cannot be built is not installed for
  says "no cargo was found"
  says "https://sh.rustup.rs"
}

test_an_old_cargo_is_named_with_its_version() {
  echo 1.63.0 >"$state/cargo-version"
  run
  status_is 4
  says "1.89 or newer"
  says "$home/.cargo/bin/cargo is 1.63.0"
  says "rustup update stable"
}

test_rustup_without_a_toolchain_is_explained() {
  printf '#!/bin/sh\necho "error: rustup could not choose a version of cargo to run" >&2\nexit 1\n' >"$home/.cargo/bin/cargo"
  run
  status_is 4
  says "rustup default stable"
  says "could not choose a version"
}

test_a_later_new_cargo_is_taken_before_an_early_old_one() {
  program "$bin/cargo" <<'PROGRAM'
echo "cargo 1.63.0"
PROGRAM
  run
  status_is 0
  logged "cargo build --release --locked --workspace --bins"
}

# The machine's own may be missing: a user's `run.sh test` has no need of it.
has_shlibdeps() {
  printf '#!/bin/sh\n' >"$bin/dpkg-shlibdeps"
  chmod 755 "$bin/dpkg-shlibdeps"
}

test_a_package_is_made_with_the_tools_that_are_there() {
  has_shlibdeps
  give_to_user
  run_sudo package
  status_is 0
  says "the package: $place/target/debian/livectl.deb"
  logged "cargo fetch --locked by" # or cargo about fails where cargo has only built
  logged "cargo about generate"
  not_logged "cargo install"
  logged "livectl man by"
  owned_by_user
}

test_a_package_is_not_made_without_what_names_its_libraries() {
  mkdir "$world/without-shlibdeps"
  ln -sf /usr/sbin/* /usr/bin/* "$world/without-shlibdeps"
  rm -f "$world/without-shlibdeps/dpkg-shlibdeps" "$state/installed/dpkg-dev"
  settings=("PATH=$bin:$world/without-shlibdeps")
  run package
  status_is 4
  logged "--no-remove dpkg-dev"
  says "apt-get install dpkg-dev"
  not_logged "cargo build"
}

test_a_package_gets_the_tools_that_are_missing_or_old() {
  has_shlibdeps
  echo 1.40.0 >"$state/cargo-deb-version"
  run package
  status_is 0
  logged "cargo install --locked cargo-deb@"
  not_logged "cargo install --locked cargo-about@"
  rm "$state/cargo-deb-version"
  run package
  not_logged "cargo install --locked cargo-about@"
}

test_a_licence_that_is_not_accepted_stops_the_package() {
  has_shlibdeps
  touch "$state/licence-fails"
  run package
  status_is 1
  says "could not be collected"
  not_logged "cargo deb --no-build"
}

test_a_failing_build_ends_it() {
  touch "$state/build-fails"
  run
  status_is 1
  says "could not compile"
  says "the build failed"
  not_logged "livectl run"
}

# ---- lint and the continuous integration ---------------------------------------------------------------------------

test_lint_checks_everything_and_fails_if_one_does() {
  touch "$state/shellcheck-complains" "$state/cargo-deny"
  run lint
  status_is 1
  says "shellcheck: failed"
  says "clippy: ok"
  logged "cargo clippy --release --locked --workspace --all-targets -- -D warnings"
  logged "cargo doc --release"
  logged "cargo deny --workspace --locked --offline --config .ci/deny.toml check bans licenses sources"
  says "advisories: not checked"
  rm "$state/shellcheck-complains"
  # A fetch that failed leaves a folder without a database.
  mkdir -p "$home/.cargo/advisory-dbs"
  run lint
  says "advisories: not checked"
  mkdir -p "$home/.cargo/advisory-dbs/advisory-db-1/.git"
  run lint
  status_is 0
  logged "cargo deny --workspace --locked --offline --config .ci/deny.toml check advisories bans licenses sources"
}

test_lint_says_what_it_cannot_check() {
  run lint
  status_is 0
  says "not checked, cargo-deny is not installed"
}

test_the_continuous_integration_lints_tests_and_ends_with_the_counts() {
  echo "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out" >"$state/cargo-test-output"
  ci() { called_in "$place" env -u SUDO_UID -u SUDO_GID -u SUDO_USER HOME="$home" .ci/run; }
  ci
  status_is 0
  last_line_is "5 passed, 0 failed"
  touch "$state/shellcheck-complains"
  ci
  status_is 1
  last_line_is "5 passed, 0 failed"
}

# ---- running -------------------------------------------------------------------------------------------------------

test_without_arguments_it_runs_p2p_and_names_the_plot() {
  run
  status_is 0
  logged "livectl run recipes/p2p.yaml by 0 in $place"
  says "the plot: results/delay-plot.png"
}

test_an_old_plot_is_not_announced() {
  touch -d '1 hour ago' "$place/results/delay-plot.png"
  touch "$state/no-plot"
  run
  says_not "the plot:"
}

test_recipes_and_options_are_passed_on() {
  run recipes/other.yaml --jobs 2
  logged "livectl run recipes/other.yaml --jobs 2 by"
}

test_options_alone_go_with_p2p() {
  run --jobs 2
  logged "livectl run --jobs 2 recipes/p2p.yaml by"
}

test_files_are_meant_from_where_the_caller_stands() {
  touch "$home/mine.yaml"
  called_in "$home" env -u SUDO_UID HOME="$home" "$place/run.sh" mine.yaml
  status_is 0
  logged "livectl run $home/mine.yaml by 0 in $place"
}

test_livectls_exit_code_is_the_scripts() {
  echo 6 >"$state/livectl-status"
  run
  status_is 6
}

# The commands of SCRIPT that README, docs and the like name, one a line, without what a shell would take for something else.
documented() {
  find "$checkout" -maxdepth 3 -name '*.md' -not -path '*/target/*' -not -path '*/.*' -exec cat {} + |
    grep -oE "(^|[ \`])(sudo )?$1( [^\`#|>…]*)?" | sed -E "s/^[ \`]*(sudo )?//; s/  .*//; s/[ ,.;:)]*\$//" | sort -u
}

test_documented_commands_of_run_sh_exist() {
  local line words count=0
  while read -r line; do
    read -ra words <<<"${line#./run.sh}"
    # With recipes and options it is `livectl run`, whose parser a test of livectl asks.
    case ${words[0]-} in -* | *.yaml*) continue ;; esac
    count=$((count + 1))
    : >"$state/log"
    run "${words[@]}"
    [[ $status != 2 && $output != *"unknown command"* ]] || wrong "this is documented: $line"
  done < <(documented '\./run\.sh')
  ((count >= 7)) || wrong "only $count documented commands were found"
}

test_documented_commands_of_packages_sh_exist() {
  local line words package count=0
  while read -r line; do
    read -ra words <<<"${line#install/packages.sh}"
    [[ ${words[0]-} == @(install|list) && $line != *[A-Z]* ]] || continue
    count=$((count + 1))
    for package in $("$checkout/install/packages.sh" list "${words[@]:1}"); do
      touch "$state/installed/$package" "$state/known/$package"
    done
    called_in "$place" install/packages.sh "${words[@]}"
    [[ $status == 0 ]] || wrong "this is documented: $line"
  done < <(documented 'install/packages\.sh')
  ((count >= 4)) || wrong "only $count documented commands were found"
}

test_an_unknown_command_is_wrong_usage() {
  run nonsense
  status_is 2
  says "unknown command: nonsense"
}

test_without_root_a_run_says_sudo() {
  give_to_user
  called_in "$place" setpriv --reuid="$user_uid" --regid="$user_gid" --clear-groups env HOME="$home" ./run.sh
  status_is 4
  says "sudo ./run.sh"
}

test_without_root_a_dry_run_and_doctor_work() {
  give_to_user
  local as_user=(setpriv --reuid="$user_uid" --regid="$user_gid" --clear-groups env HOME="$home")
  called_in "$place" "${as_user[@]}" ./run.sh --dry-run recipes/p2p.yaml
  status_is 0
  logged "livectl run --dry-run recipes/p2p.yaml by $user_uid"
  called_in "$place" "${as_user[@]}" ./run.sh doctor
  status_is 0
  logged "livectl doctor by $user_uid"
}

# ---- sudo ----------------------------------------------------------------------------------------------------------

test_under_sudo_the_user_builds_and_root_runs() {
  give_to_user
  run_sudo
  status_is 0
  logged "cargo build --release --locked --workspace --bins by $user_uid home $home"
  logged "livectl run recipes/p2p.yaml by 0"
  owned_by_user "$place"
}

test_under_sudo_files_are_the_users_also_after_a_failure() {
  give_to_user
  echo 1 >"$state/livectl-status"
  run_sudo
  status_is 1
  owned_by_user "$place"
}

test_under_sudo_the_tests_run_as_root_and_leave_nothing_of_roots() {
  local quickly='--config profile.release.package.livectl.opt-level=0'
  give_to_user
  echo "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out" >"$state/cargo-test-output"
  run_sudo test
  status_is 0
  logged "cargo build --release --locked --workspace --bins $quickly by $user_uid home $home"
  logged "cargo test --release --locked --workspace --no-run $quickly by $user_uid home $home"
  logged "cargo test --release --locked --workspace --no-fail-fast $quickly by 0 home /root"
  owned_by_user "$place"
}

test_under_sudo_the_target_folder_is_respected() {
  give_to_user
  mkdir "$world/elsewhere"
  chown "$user_uid:$user_gid" "$world/elsewhere"
  settings=(CARGO_TARGET_DIR="$world/elsewhere")
  run_sudo
  status_is 0
  [[ -x $world/elsewhere/release/livectl && ! -e $place/target ]] || wrong "the build should be in elsewhere"
  owned_by_user "$world/elsewhere"
}

test_under_sudo_the_login_shells_settings_count() {
  give_to_user
  mv "$home/.cargo" "$home/.rust"
  printf 'echo "a talkative profile"\nexport CARGO_HOME=%s/.rust\n' "$home" >"$home/.profile"
  run_sudo
  status_is 0
  says_not talkative
  logged "livectl run"
}

test_under_sudo_a_user_without_a_login_shell_builds_all_the_same() {
  give_to_user
  sed -i 's|:/bin/bash"|:/usr/sbin/nologin"|' "$bin/getent"
  run_sudo
  status_is 0
  logged "cargo build --release --locked --workspace --bins by $user_uid home $home"
}

test_under_sudo_a_checkout_of_roots_is_built_by_root() {
  cp -a "$home/.cargo/bin/cargo" "$bin/cargo"
  chown -R "$user_uid" "$home"
  run_sudo
  status_is 0
  logged "cargo build --release --locked --workspace --bins by 0"
}

test_under_sudo_a_checkout_of_somebody_elses_is_refused() {
  chown -R 12345 "$place"
  chown -R "$user_uid" "$home"
  run_sudo
  status_is 4
  says "cannot write to $place"
}

# ---- signals -------------------------------------------------------------------------------------------------------

# Starts run.sh under "sudo", waits until livectl runs, sends it a signal, waits for its end.
interrupt_with() {
  local pid deadline=$((SECONDS + 20))
  give_to_user
  touch "$state/runs-long"
  (
    run_sudo
    printf '%s\n' "$status" "$output" >"$state/ended"
  ) &
  until [[ -e $state/running ]]; do
    ((SECONDS < deadline)) || wrong "livectl did not start"
    sleep 0.05
  done
  pid=$(pgrep -f -- "^bash ./run.sh$" | while read -r candidate; do
    [[ $(readlink "/proc/$candidate/cwd") != "$place" ]] || printf '%s\n' "$candidate"
  done | head -n 1)
  kill -s "$1" "$pid"
  wait
  { read -r status && output=$(cat); } <"$state/ended"
}

test_an_interrupt_reaches_livectl_once_and_files_are_handed_back() {
  interrupt_with INT
  status_is 130
  [[ $(grep -c "livectl got INT" "$state/log") == 1 ]] || wrong "livectl should have got one INT"
  owned_by_user "$place"
}

test_termination_reaches_livectl_and_files_are_handed_back() {
  interrupt_with TERM
  status_is 143
  logged "livectl got TERM"
  owned_by_user "$place"
}

# ---- test results --------------------------------------------------------------------------------------------------

test_the_last_line_adds_up_all_results() {
  printf '%s\n' "running 3 tests" \
    "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s" \
    "test result: ok. 40 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s" \
    >"$state/cargo-test-output"
  run test
  status_is 0
  last_line_is "45 passed, 0 failed, 1 skipped" # with one script and the formatting
}

test_a_failed_test_fails_it() {
  echo "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out" >"$state/cargo-test-output"
  echo 101 >"$state/cargo-test-status"
  run test
  status_is 1
  last_line_is "5 passed, 2 failed"
}

test_a_killed_test_program_fails_it() {
  echo "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out" >"$state/cargo-test-output"
  echo 101 >"$state/cargo-test-status"
  run test
  status_is 1
  last_line_is "5 passed, 1 failed"
}

test_no_test_at_all_fails_it() {
  run test
  status_is 1
  says "no test ran"
  last_line_is "2 passed, 1 failed"
}

test_formatting_counts() {
  echo "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out" >"$state/cargo-test-output"
  touch "$state/unformatted"
  run test
  status_is 1
  last_line_is "4 passed, 1 failed"
}

# ---- vagrant/ ------------------------------------------------------------------------------------------------------

# What these say before anything is made. The guest itself: tests/guest.sh.
guest() { called_in "$place" env LIVECTL_GUEST_CACHE="$world/guest" "${settings[@]}" vagrant/guest.sh "$@"; }
provision() { called_in "$place" env -u SUDO_USER "${settings[@]}" vagrant/provision.sh "$@"; }

test_guest_without_a_command_is_wrong_usage_and_shows_it() {
  guest
  status_is 2
  says "vagrant/guest.sh run COMMAND"
  guest run
  status_is 2
  says "run needs a command"
  guest stop now
  status_is 2
}

test_guest_settings_are_checked_before_anything_is_made() {
  local setting
  for setting in LIVECTL_CPUS=two LIVECTL_MEMORY=4G LIVECTL_ACCELERATOR=hvf; do
    settings=("$setting")
    guest start
    status_is 2
    says "$setting: must be"
  done
  [[ ! -e $world/guest ]] || wrong "something was made"
}

test_guest_that_does_not_run_is_told() {
  guest exec true
  status_is 1
  says "no guest is running"
  # A number left from before may be another program's by now.
  mkdir -p "$world/guest"
  echo $$ >"$world/guest/pid"
  guest stop
  status_is 1
  says "no guest is running"
}

test_guest_needs_root() {
  give_to_user
  called_in "$place" setpriv --reuid "$user_uid" --regid "$user_gid" --clear-groups vagrant/guest.sh run true
  status_is 4
  says "sudo vagrant/guest.sh run"
}

test_provisioning_names_what_is_missing() {
  provision --programs "$world/nothing" "$place" root
  status_is 4
  says "has no livectl; livectl live-controller live-agent must be there"
  mkdir -p "$world/older"
  cp "$state/livectl" "$world/older/livectl"
  cp "$state/livectl" "$world/older/live-controller"
  provision --programs "$world/older" "$place" root
  status_is 4
  says "has no live-agent"
  provision "$world/nothing" root
  status_is 4
  says "is no checkout of livectl"
  provision "$place"
  status_is 4
  says "for whom?"
  provision "$place" nobody-at-all
  status_is 4
  says "there is no user nobody-at-all"
}

# ---- the runner ----------------------------------------------------------------------------------------------------

if ((EUID != 0)); then
  echo "not ok tests of run.sh: they change owners and users, which needs root; call them by sudo" && exit 1
fi

failed=0 ran=0 world=
trap 'rm -rf "$world"' EXIT
for name in $(declare -F | sed -n 's/^declare -f test_//p'); do
  (($# == 0)) || for word in "$@" ''; do
    [[ -n $word ]] || continue 2
    [[ $name != *"$word"* ]] || break
  done
  ran=$((ran + 1))
  make_world
  if reason=$("test_$name"); then
    echo "ok ${name//_/ }"
  else
    failed=$((failed + 1))
    printf 'not ok %s\n%s\n' "${name//_/ }" "$reason"
  fi
  rm -rf "$world"
done
((ran)) || echo "no test has a name with: $*"
((ran > 0 && failed == 0))
