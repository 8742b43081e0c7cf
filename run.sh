#!/usr/bin/env bash
# livectl from a fresh checkout: installs what is missing, builds, runs.
#
#   sudo ./run.sh                         run recipes/p2p.yaml; the plot is results/delay-plot.png
#   sudo ./run.sh RECIPE.yaml… [OPTION…]  run these recipes; options are those of `livectl run`
#   sudo ./run.sh test [OPTION…]          run all tests; options are those of `cargo test`
#   sudo ./run.sh packages                install the missing Debian packages, tests' included, and stop
#        ./run.sh build                   build, and say where the programs are
#        ./run.sh package                 build a Debian package, and say where it is
#        ./run.sh doctor                  build, then say what this machine lacks (`livectl doctor`)
#        ./run.sh lint                    what a change must pass besides the tests: rustfmt, clippy, shellcheck, rustdoc, cargo deny
#        ./run.sh --help                  this text
#
# Under sudo, everything is built by the user who called sudo, with that user's Rust, and what a run leaves in this
# checkout belongs to that user again, also when it fails or is interrupted. CARGO_TARGET_DIR is respected.
#
# Exit codes: livectl's own (0 all done, 2 wrong usage, 4 this machine lacks something, 6 a trial is unfit,
# 130 interrupted, …; see README.md), 1 when the build or a test fails.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
came_from=$(pwd -P)
default_recipe=recipes/p2p.yaml

say() { printf 'run.sh: %s\n' "$*" >&2; }
# fail CODE MESSAGE [WHAT TO DO…]
fail() {
  local code=$1
  printf 'run.sh: error: %s\n' "$2" >&2
  shift 2
  (($# == 0)) || printf '  %s\n' "$@" >&2
  exit "$code"
}
help() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$root/run.sh"; }

# ---- one child at a time, in a process group of its own ------------------------------------------------------------
# So that a signal reaches every process of it exactly once, whether it came from a terminal or from `kill`, and so that
# this script lives on to hand files back to their owner.

child=0
interruptions=0
stopped_by=0

forward() {
  interruptions=$((interruptions + 1))
  stopped_by=$2
  ((child == 0)) || kill -s "$1" -- "-$child" 2>/dev/null || true
}

# Runs a command to its end; its exit status, also when that is because of a signal that was passed on.
supervise() {
  local status seen
  ((stopped_by == 0)) || return "$stopped_by"
  set -m
  "$@" </dev/null &
  child=$!
  set +m
  while :; do
    seen=$interruptions
    status=0
    wait "$child" || status=$?
    ((interruptions != seen)) || break # `wait` also returns when a signal was passed on
  done
  child=0
  return "$status"
}

# ---- who builds ----------------------------------------------------------------------------------------------------

builder_uid=$EUID
builder_gid=$(id -g)
builder_name=$(id -un 2>/dev/null || printf '%s' "$EUID")
builder_home=${HOME:-/}
builder_env=() # NAME=VALUE: the whole environment builds run in; empty: the one this script has

# Environment variables that the caller of this script may set for the build, whoever builds.
passed_on=(CARGO_TARGET_DIR CARGO_BUILD_JOBS CARGO_NET_OFFLINE CARGO_INCREMENTAL RUSTFLAGS RUSTUP_TOOLCHAIN CI
  http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY CARGO_HTTP_CAINFO SSL_CERT_FILE)

run_as_user() { setpriv --reuid="$builder_uid" --regid="$builder_gid" --init-groups -- "$@"; }

# Under sudo the environment is root's. What the user's own login shell would have: where cargo, rustup and proxies are.
login_environment() {
  local entry name shell plain=() found=() after_mark=0
  shell=$(getent passwd "$builder_uid" | cut -d: -f7)
  plain=("HOME=$builder_home" "USER=$builder_name" "LOGNAME=$builder_name" "SHELL=${shell:-/bin/sh}"
    "PATH=/usr/local/bin:/usr/bin:/bin" "TERM=${TERM:-dumb}" "LANG=${LANG:-C.UTF-8}")
  # A profile may print what it likes: the environment is what follows the mark.
  while IFS= read -r -d '' entry; do
    if ((after_mark)); then
      case $entry in _=* | SHLVL=* | PWD=* | OLDPWD=*) ;; *) found+=("$entry") ;; esac
    elif [[ $entry == *livectl-environment ]]; then
      after_mark=1
    fi
  done < <(run_as_user env -i "${plain[@]}" timeout 20 "${shell:-/bin/sh}" -l -c \
    'printf "%s\0" livectl-environment; /usr/bin/env -0' </dev/null 2>/dev/null || true)
  ((${#found[@]})) || found=("${plain[@]}") # a shell that takes no -l -c, or nologin
  for name in "${passed_on[@]}"; do
    [[ -z ${!name+set} ]] || found+=("$name=${!name}")
  done
  builder_env=("${found[@]}")
}

find_builder() {
  [[ $EUID == 0 && ${SUDO_UID:-0} != 0 ]] || return 0
  local entry name home
  entry=$(getent passwd "$SUDO_UID") || fail 4 "sudo was called by user $SUDO_UID, whom this machine does not know."
  IFS=: read -r name _ _ _ _ home _ <<<"$entry"
  builder_uid=$SUDO_UID builder_gid=${SUDO_GID:-$(id -g "$name")} builder_name=$name builder_home=$home
  if ! run_as_user test -w "$root"; then
    if [[ $(stat -c %u "$root") == 0 ]]; then
      # A checkout of root's own, from a root shell that sudo opened: there is no user's target folder to spoil.
      builder_uid=0 builder_gid=0 builder_name=root builder_home=$(getent passwd 0 | cut -d: -f6)
      return 0
    fi
    fail 4 "$name cannot write to $root, where the build goes." \
      "Give the checkout to $name (sudo chown -R $name: '$root') or call this script as its owner."
  fi
  login_environment
}

# Runs a command as the builder, in the builder's environment; VAR=value may precede it.
as_builder() {
  if ((${#builder_env[@]})); then
    run_as_user env -i "${builder_env[@]}" "$@"
  else
    env "$@"
  fi
}

# The value of a variable in the builder's environment; nothing if it is not set.
builder_var() {
  local entry value=
  if ((${#builder_env[@]} == 0)); then
    printf '%s' "${!1-}"
    return
  fi
  for entry in "${builder_env[@]}"; do
    case $entry in "$1="*) value=${entry#*=} ;; esac
  done
  printf '%s' "$value"
}

# ---- Rust ----------------------------------------------------------------------------------------------------------

cargo=
target_dir=

# Whether version $1 is at least $2, both dotted numbers.
at_least() { [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]; }

# Finds a cargo that is new enough: in the builder's PATH, then where rustup puts it, then in this script's own PATH.
find_cargo() {
  local needed candidate version answer seen=' ' too_old='' silent='' folders folder
  [[ -z $cargo ]] || return 0
  case $(uname -m) in
    x86_64 | aarch64) ;;
    *) fail 4 "this is a $(uname -m) machine; livectl is built and tested for x86_64 and aarch64." ;;
  esac
  needed=$(sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' "$root/Cargo.toml" | head -n 1)
  IFS=: read -r -a folders <<<"$(builder_var PATH):$(builder_var CARGO_HOME)/bin:$builder_home/.cargo/bin:$PATH"
  for folder in "${folders[@]}"; do
    candidate=$folder/cargo
    [[ $folder == /* && $seen != *" $candidate "* ]] || continue
    seen+="$candidate "
    as_builder test -x "$candidate" || continue
    answer=$(cd "$root" && as_builder "$candidate" --version 2>&1) || true
    version=$(sed -n 's/^cargo \([0-9][0-9.]*\).*/\1/p' <<<"$answer")
    if [[ -z $version ]]; then
      silent+="$candidate: ${answer%%$'\n'*}; "
    elif at_least "$version" "$needed"; then
      cargo=$candidate
      # Its rustc is beside it; another one may come earlier in the PATH.
      if ((${#builder_env[@]})); then
        builder_env+=("PATH=$folder:$(builder_var PATH)")
      else
        PATH=$folder:$PATH
      fi
      return 0
    else
      too_old+="$candidate is $version; "
    fi
  done
  local how=("Rust comes with rustup, as $builder_name, without sudo:"
    "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y")
  if [[ -n $silent ]]; then
    fail 4 "livectl needs Rust $needed or newer; there is a cargo here that gives no version (${silent%; })." \
      "If that is rustup without a toolchain: rustup default stable" "${how[@]}"
  elif [[ -n $too_old ]]; then
    fail 4 "livectl needs Rust $needed or newer, and ${too_old%; }." \
      "If rustup is installed: rustup update stable" "${how[@]}"
  fi
  fail 4 "no cargo was found for $builder_name, and livectl has to be built." "${how[@]}"
}

# Where this checkout's build goes: CARGO_TARGET_DIR, cargo's configuration, or target/.
find_target_dir() {
  local metadata
  metadata=$(cd "$root" && as_builder "$cargo" metadata --no-deps --format-version 1 --locked --offline) ||
    fail 1 "cargo could not read $root/Cargo.toml (its message is above)."
  target_dir=$(sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p' <<<"$metadata")
  [[ -n $target_dir ]] || fail 1 "cargo metadata named no target_directory."
}

# compile WHAT ARGUMENT…: calls cargo with these arguments, as the builder.
compile() {
  local what=$1
  shift
  local started=$SECONDS status=0
  command -v cc >/dev/null || fail 4 "there is no C compiler (cc), which Rust links with." \
    "sudo ./run.sh packages   # or: sudo apt-get install gcc libc6-dev"
  if [[ -d $target_dir/release ]]; then
    say "building $what"
  else
    say "building $what for the first time: about 10 minutes on two cores; from then on seconds"
  fi
  supervise as_builder "$cargo" "$@" || status=$?
  ((status == 0)) || stop_or_fail "$status" "the build failed (cargo's message is above)."
  say "built in $((SECONDS - started)) s"
}

# After a signal: leave with its code. Otherwise explain.
stop_or_fail() {
  ((stopped_by == 0)) || exit "$stopped_by"
  fail 1 "$2" "cargo ended with status $1."
}

build() {
  cd "$root"
  find_cargo
  find_target_dir
  compile livectl build --release --locked --workspace --bins "$@"
  [[ -x $target_dir/release/livectl ]] ||
    fail 1 "the build left no $target_dir/release/livectl." "Is build.target set in cargo's configuration? Unset it."
}

# ---- packages, ownership -------------------------------------------------------------------------------------------

packages() {
  local status=0
  supervise "$root/install/packages.sh" install "$@" || status=$?
  ((stopped_by == 0)) || exit "$stopped_by"
  ((status == 0)) || exit "$status"
}

# Gives back to the builder what root made in the checkout, in the target folder and among cargo's own files.
hand_back() {
  [[ $EUID == 0 && $builder_uid != 0 ]] || return 0
  local folder cargo_home
  cargo_home=$(builder_var CARGO_HOME)
  for folder in "$root" "$root/results" "$target_dir" "${cargo_home:-$builder_home/.cargo}"; do
    [[ -n $folder && -d $folder ]] || continue
    find "$folder" -xdev -uid 0 -exec chown --no-dereference "$builder_uid:$builder_gid" {} + || true
  done
}

scratch=
finish() {
  local status=$?
  trap '' INT TERM HUP
  hand_back
  [[ -z $scratch ]] || rm -rf "$scratch"
  exit "$status"
}

need_root() {
  local what=$1
  shift
  ((EUID == 0)) || fail 4 "$what needs root: it makes network namespaces and captures packets." "sudo ./run.sh${*:+ $*}"
}

# ---- the commands --------------------------------------------------------------------------------------------------

run_recipes() {
  local arguments=() argument recipes=0 plot=$root/results/delay-plot.png status=0
  case " $* " in
    *' --dry-run '*) ;;
    *)
      need_root "a run" "$@"
      find_cargo
      packages build run
      ;;
  esac
  for argument in "$@"; do
    case $argument in *.yaml | *.yml) recipes=1 ;; esac
    # Files are meant from where the caller stands; livectl is started in the checkout.
    if [[ $came_from != "$root" && $argument != [-/]* && -e $came_from/$argument ]]; then
      argument=$came_from/$argument
    fi
    arguments+=("$argument")
  done
  ((recipes)) || arguments+=("$default_recipe")
  build
  scratch=$(mktemp -d) # its time is when the run began
  supervise "$target_dir/release/livectl" run "${arguments[@]}" || status=$?
  if [[ -e $plot && ! $scratch -nt $plot ]]; then say "the plot: results/delay-plot.png"; fi
  return "$status"
}

# tool NAME@VERSION [OPTION…]: a program of cargo's, which the builder's cargo installs unless it is there in that version or a newer one.
tool() {
  local name=${1%@*} needed=${1#*@} version status=0
  version=$(as_builder "$cargo" "${name#cargo-}" --version 2>/dev/null) || true
  if [[ -n $version ]] && at_least "${version##* }" "$needed"; then return; fi
  say "installing $name $needed: some minutes, once"
  supervise as_builder "$cargo" install --locked "$@" || status=$?
  ((status == 0)) || stop_or_fail "$status" "$name could not be installed (cargo's message is above)."
}

# A package of the release this runs on, and of newer ones.
package() {
  local made name status=0 deb
  find_cargo
  ((EUID != 0)) || packages build deb
  # Without it cargo-deb only warns, and the package would not depend on the C library.
  command -v dpkg-shlibdeps >/dev/null || fail 4 "dpkg-shlibdeps is not installed." "sudo apt-get install dpkg-dev"
  build
  tool cargo-deb@3.8.0
  tool cargo-about@0.9.3 --features cli
  compile "what prints the manual pages" build --release --locked --package live-agent --package live-controller --examples
  made=$target_dir/release/package
  rm -rf "$made"
  as_builder mkdir -p "$made"
  say "writing manual pages, completions and notices"
  "$target_dir/release/livectl" man >"$made/livectl.1"
  for name in agent controller; do
    "$target_dir/release/examples/${name}_man" >"$made/live-$name.1"
  done
  gzip -9n "$made"/*.1
  "$target_dir/release/livectl" completions bash >"$made/livectl.bash"
  "$target_dir/release/livectl" completions zsh >"$made/_livectl"
  "$target_dir/release/livectl" completions fish >"$made/livectl.fish"
  "$target_dir/release/livectl" schema >"$made/recipe.schema.json"
  gzip -9n <CHANGELOG.md >"$made/CHANGELOG.md.gz"
  # It reads the manifests of all crates, also of those that only other systems need and that no build here has fetched.
  supervise as_builder "$cargo" fetch --locked || status=$?
  ((status == 0)) || stop_or_fail "$status" "the crates of other systems could not be fetched (cargo's message is above)."
  supervise as_builder "$cargo" about generate --workspace --locked --offline --fail --config install/debian/about.toml \
    --output-file "$made/notices" install/debian/about.hbs || status=$?
  ((status == 0)) || stop_or_fail "$status" "the licences of what is linked in could not be collected."
  gzip -9n "$made/notices"
  supervise copying_to "$made/said" as_builder "$cargo" deb --no-build --locked || status=$?
  ((status == 0)) || stop_or_fail "$status" "cargo deb made no package."
  deb=$(tail -n 1 "$made/said")
  [[ -f $deb ]] || fail 1 "cargo deb named no package."
  say "the package: $deb"
  say "to install it: sudo apt-get install $deb"
}

doctor() {
  build
  supervise "$target_dir/release/livectl" doctor "$@"
}

# The sums over all `test result:` lines of cargo test in file $1: passed, failed, ignored.
count_results() {
  sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed; \([0-9]*\) ignored.*/\1 \2 \3/p' "$1" |
    awk '{ passed += $1; failed += $2; ignored += $3 } END { print passed + 0, failed + 0, ignored + 0 }'
}

# cargo test as root, in this script's environment, but with the builder's toolchain and folders, so that everything
# that was compiled before is found fresh.
cargo_test_as_root() {
  local name value settings=()
  for name in CARGO_HOME RUSTUP_HOME "${passed_on[@]}"; do
    value=$(builder_var "$name")
    [[ -z $value ]] || settings+=("$name=$value")
  done
  if [[ $builder_uid != "$EUID" ]]; then
    settings+=("HOME=$(getent passwd 0 | cut -d: -f6)")
    [[ -n $(builder_var CARGO_HOME) ]] || settings+=("CARGO_HOME=$builder_home/.cargo")
    [[ -n $(builder_var RUSTUP_HOME) || ! -d $builder_home/.rustup ]] || settings+=("RUSTUP_HOME=$builder_home/.rustup")
    settings+=("PATH=$PATH:${cargo%/*}")
  fi
  # Snapshots are compared, never written.
  env "${settings[@]}" INSTA_UPDATE=no "$cargo" test --release --locked --workspace --no-fail-fast "$@"
}

# copying_to FILE COMMAND…: the command's status; what it prints on stdout also goes to the file.
copying_to() {
  local file=$1
  shift
  # The copier must outlive what it copies from, so it does not listen to signals.
  "$@" | (trap '' INT TERM HUP && exec tee "$file")
  return "${PIPESTATUS[0]}"
}

# The tests have livectl itself without optimisation, which would take most of the time. What it depends on is optimised, the same as elsewhere. The program
# left behind says of itself what it is, and the next `build` puts the other in its place.
quickly=(--config profile.release.package.livectl.opt-level=0)

run_tests() {
  local status=0 passed failed ignored more_passed more_failed log
  need_root "the test suite" test "$@"
  find_cargo
  packages build run test slurm
  # livectl starts live-controller and live-agent from beside itself, and cargo test alone would not build them there.
  build "${quickly[@]}"
  compile "the tests" test --release --locked --workspace --no-run "${quickly[@]}" "$@"

  scratch=$(mktemp -d)
  log=$scratch/cargo-test
  say "cargo test, as root"
  supervise copying_to "$log" cargo_test_as_root "${quickly[@]}" "$@" || status=$?
  ((stopped_by == 0)) || exit "$stopped_by"
  read -r passed failed ignored < <(count_results "$log")
  # A test program that was killed, or never got to its end, has no summary of its own.
  ((status == 0 || failed > 0)) || failed=1
  if ((passed + failed == 0)); then
    say "no test ran"
    failed=1
  fi

  if (($# == 0)); then
    say "tests of the scripts"
    supervise copying_to "$scratch/scripts" "$root/tests/ops.sh" || true
    ((stopped_by == 0)) || exit "$stopped_by"
    more_passed=$(grep -c '^ok ' "$scratch/scripts" || true)
    more_failed=$(grep -c '^not ok ' "$scratch/scripts" || true)
    ((more_passed + more_failed > 0)) || more_failed=1
    passed=$((passed + more_passed)) failed=$((failed + more_failed))

    if as_builder "$cargo" fmt --version >/dev/null 2>&1; then
      if supervise as_builder "$cargo" fmt --all --check; then
        say "formatting: ok"
        passed=$((passed + 1))
      else
        say "formatting: cargo fmt would change the files above"
        failed=$((failed + 1))
      fi
    else
      say "formatting: not checked, this toolchain has no rustfmt (rustup component add rustfmt)"
      ignored=$((ignored + 1))
    fi
  fi

  if ((ignored)); then
    printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$ignored"
  else
    printf '%d passed, %d failed\n' "$passed" "$failed"
  fi
  ((failed == 0))
}

# checked WHAT COMMAND…: runs a check to its end, and says what came of it; the check's own output is above that.
lint_status=0
checked() {
  local what=$1 status=0
  shift
  supervise "$@" || status=$?
  ((stopped_by == 0)) || exit "$stopped_by"
  if ((status == 0)); then
    say "$what: ok"
  else
    say "$what: failed, see above"
    lint_status=1
  fi
}

# Everything that a change must pass besides the tests. Clippy and rustdoc share what they need of the dependencies.
lint() {
  local what=(advisories bans licenses sources)
  cd "$root"
  find_cargo
  ((EUID != 0)) || packages build lint
  command -v shellcheck >/dev/null || fail 4 "shellcheck is not installed." "sudo apt-get install shellcheck"
  checked formatting as_builder "$cargo" fmt --all --check
  checked shellcheck shellcheck run.sh .ci/run install/*.sh tests/*.sh fuzz/*.sh controller/tests/*.sh controller/bench/*.sh \
    vagrant/*.sh vagrant/livectl
  # The Vagrantfile is Ruby; who has no Ruby has no Vagrant either.
  if command -v ruby >/dev/null; then checked Vagrantfile ruby -c vagrant/Vagrantfile; fi
  checked clippy as_builder "$cargo" clippy --release --locked --workspace --all-targets -- -D warnings
  checked rustdoc as_builder RUSTDOCFLAGS='-D warnings -A rustdoc::private-intra-doc-links' "$cargo" doc --release --locked --workspace --no-deps
  # Building it takes longer than all of the above, so nobody is made to.
  if as_builder "$cargo" deny --version >/dev/null 2>&1; then
    # The advisories need a database, which comes from the network; what could not be fetched leaves an empty folder.
    has_advisories || what=(bans licenses sources)
    checked "cargo deny check ${what[*]}" as_builder "$cargo" deny --workspace --locked --offline --config .ci/deny.toml check "${what[@]}"
    ((${#what[@]} == 4)) || say "advisories: not checked, they were never fetched (cargo deny fetch)"
  else
    say "licences, sources, duplicates, advisories: not checked, cargo-deny is not installed (cargo install --locked cargo-deny@0.20.2)"
  fi
  return "$lint_status"
}

# Whether cargo-deny has a database of advisories.
has_advisories() {
  local cargo_home
  cargo_home=$(builder_var CARGO_HOME)
  [[ -n $(as_builder find "${cargo_home:-$builder_home/.cargo}/advisory-dbs" -mindepth 2 -maxdepth 2 -name .git 2>/dev/null) ]]
}

trap 'forward INT 130' INT
trap 'forward TERM 143' TERM
trap 'forward HUP 129' HUP

case ${1-} in
  -h | --help | help)
    help
    exit 0
    ;;
  '' | -* | *.yaml | *.yml | test | packages | package | build | doctor | lint) ;;
  *)
    printf 'run.sh: error: unknown command: %s\n\n' "$1" >&2
    help >&2
    exit 2
    ;;
esac

trap finish EXIT
find_builder
case ${1-} in
  test)
    shift
    run_tests "$@"
    ;;
  packages)
    ((EUID == 0)) || fail 4 "installing packages needs root." "sudo ./run.sh packages"
    packages build run test slurm
    ;;
  build)
    build
    say "the programs: $target_dir/release/livectl, $target_dir/release/live-controller, $target_dir/release/live-agent"
    ;;
  package) package ;;
  doctor)
    shift
    doctor "$@"
    ;;
  lint) lint ;;
  *) run_recipes "$@" ;;
esac
