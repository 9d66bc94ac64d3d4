#!/bin/sh
# Run `make test` on FreeBSD and fetch its JUnit file to .vagrant-results/. Exits as `make test` does.
#
#   test.sh                   in the Vagrant machine (see Vagrantfile for RUNJAIL_FREEBSD and the rest), which is made,
#                             prepared and, if need be, rebooted; VAGRANT_DESTROY=1 removes it afterwards
#   test.sh SSH_ARGUMENT...   as root on any FreeBSD machine that `ssh SSH_ARGUMENT...` reaches, for example one that
#                             qemu.sh booted: test.sh -p 2222 root@127.0.0.1. Its ~/runjail is replaced.
#
# Environment: PYTEST_ARGS for pytest, such as "-m freebsd"; no quotes in it.
set -eu
here=$(cd -- "$(dirname -- "$0")" && pwd)
top=$(dirname "$here")
results=$top/.vagrant-results
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

say() { echo "vagrant-test: $*"; }

# -- the two kinds of machine: each defines inside, sync and reboot

use_vagrant() {
    machine=freebsd${RUNJAIL_FREEBSD:-15}
    cd -- "$here" # for vagrant, which looks for the Vagrantfile
    command -v vagrant >/dev/null || { say "vagrant is not installed" >&2 && exit 1; }
    say "starting $machine"
    vagrant up --no-provision "$machine"
    vagrant ssh-config "$machine" >"$scratch/ssh"
    # sh -c, so that all of a command runs as root
    inside() { ssh -F "$scratch/ssh" "$machine" "cd runjail && sudo sh -c '$1'"; }
    sync() { vagrant rsync "$machine"; }
    reboot() { vagrant reload --no-provision "$machine"; }
}

use_ssh() {
    machine=ssh
    command -v ssh >/dev/null || { say "ssh is not installed" >&2 && exit 1; }
    printf '%s\n' "$@" >"$scratch/arguments"
    inside() { reach "cd runjail && $1"; }
    sync() {
        # Everything goes but a virtual environment that an earlier run made: making it takes long.
        clean='mkdir -p runjail && find runjail -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +'
        tar -C "$top" -cf - --exclude ./.git --exclude ./.venv --exclude ./.demo --exclude ./.vagrant-results \
            --exclude .vagrant --exclude __pycache__ --exclude './.*_cache' . |
            reach "$clean && tar -C runjail -xof -"
    }
    reboot() { say "not rebooted: do that and run this again, or limits are not tested"; }
}

reach() {
    command=$1
    set --
    while IFS= read -r argument; do set -- "$@" "$argument"; done <"$scratch/arguments"
    # shellcheck disable=SC2029  # put together here, run there
    ssh "$@" "$command"
}

# -- the same for both

if [ $# -eq 0 ]; then use_vagrant; else use_ssh "$@"; fi
sync
inside "sh vagrant/provision.sh"
if [ "$(inside "sysctl -n kern.racct.enable")" = 0 ]; then
    reboot
    inside "sh vagrant/provision.sh" # what ends with the running kernel
fi

status=0
inside "rm -f junit.xml; make test PYTEST_ARGS=\"--junitxml=junit.xml ${PYTEST_ARGS-}\"" || status=$?
mkdir -p "$results"
if inside "cat junit.xml" >"$results/$machine.xml"; then
    say "results in .vagrant-results/$machine.xml"
else
    rm -f "$results/$machine.xml"
    say "make test wrote no results" >&2
    [ "$status" -ne 0 ] || status=1
fi
if [ "$machine" != ssh ] && [ -n "${VAGRANT_DESTROY-}" ]; then
    vagrant destroy --force "$machine"
fi
exit "$status"
