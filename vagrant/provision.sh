#!/bin/sh
# Prepare a FreeBSD machine for runjail and its tests: packages, kernel modules, settings, a ZFS pool of one file.
#
#   sh provision.sh            as root, on any FreeBSD 14.2 or later; a second run changes nothing
#
# Environment:
#   RUNJAIL_LINUX      YES (default) or NO: Linux programs in containers
#   RUNJAIL_POOL       name of the ZFS pool that has to exist (tank); empty for none
#   RUNJAIL_POOL_FILE  file that the pool is made of when there is none (/var/db/tank.zpool)
#   RUNJAIL_POOL_SIZE  its size; blocks are taken when they are written (8G)
#   PROVISION_ROOT     directory that stands for / where files are read and written, for tests
set -eu
[ -n "${PROVISION_ROOT-}" ] || PATH=$PATH:/sbin:/usr/sbin:/usr/local/bin:/usr/local/sbin
LC_ALL=C
export PATH LC_ALL

linux=${RUNJAIL_LINUX-YES}
pool=${RUNJAIL_POOL-tank}
pool_file=${RUNJAIL_POOL_FILE-/var/db/tank.zpool}
pool_size=${RUNJAIL_POOL_SIZE-8G}
loader_conf=${PROVISION_ROOT-}/boot/loader.conf
changes=0
reboot=

fail() {
    echo "provision: $*" >&2
    exit 1
}

# change WHAT COMMAND...: run a command that changes the machine; its last line of output is the reason when it fails.
change() {
    what=$1
    shift
    said=$("$@" 2>&1) || fail "$what: $(echo "$said" | sed -n '/./h; ${ x; p; }')"
    echo "provision: changed: $what"
    changes=$((changes + 1))
}

check_system() {
    [ "$(uname -s)" = FreeBSD ] || fail "this is $(uname -s), not FreeBSD"
    [ "$(id -u)" -eq 0 ] || fail "run this as root"
    release=$(uname -r)
    case $release in
    [0-9].* | 1[0-3].* | 14.[01]-*) fail "FreeBSD $release is too old: 14.2 or later is needed" ;;
    esac
}

# -- packages

package() {
    pkg info -e "$1" 2>/dev/null || change "package $1" env ASSUME_ALWAYS_YES=yes pkg install -q "$1"
}

install_packages() {
    if ! python=$(command -v python3); then
        package python3
        hash -r
        python=$(command -v python3) || fail "package python3 brought no python3 into $PATH"
    fi
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$python is $("$python" -V 2>&1): 3.11 or newer is needed"
    flavour=$("$python" -c 'import sys; print("py%d%d" % sys.version_info[:2])')
    for name in click jsonschema psutil cryptography urllib3 pytest hypothesis; do
        package "$flavour-$name"
    done
}

# -- settings that count from the next boot on

append_loader() {
    # Not with sysrc(8): it refuses names with a dot.
    mkdir -p "$(dirname "$loader_conf")" && echo "$1" >>"$loader_conf"
}

account_for_resources() {
    enabled=$(sysctl -n kern.racct.enable 2>/dev/null) || {
        echo "provision: this kernel has no resource accounting (option RACCT): limits cannot be enforced"
        return 0
    }
    [ "$enabled" != 1 ] || return 0
    grep -Eq '^[[:space:]]*kern\.racct\.enable="?1' "$loader_conf" 2>/dev/null ||
        change "kern.racct.enable=1 in loader.conf" append_loader 'kern.racct.enable=1'
    reboot="limits need resource accounting, which is switched on at boot"
}

setting() {
    now=$(sysrc -n "$1" 2>/dev/null) || now=
    case $2:$now in
    "YES":[Yy][Ee][Ss] | "YES":[Tt][Rr][Uu][Ee] | "YES":[Oo][Nn] | "YES":1 | "$2:$2") ;;
    *) change "$1=\"$2\" in rc.conf" sysrc "$1=$2" ;;
    esac
}

# -- the running kernel

# module FILE: load a module now, and at every boot, unless it is loaded or part of the kernel.
module() {
    ! kldstat -q -m "$1" || return 0
    case $1 in
    zfs | lin*) ;; # their services load them at boot
    *) load_at_boot "$1" ;;
    esac
    change "module $1" kldload "$1"
}

load_at_boot() {
    list=$(sysrc -n kld_list 2>/dev/null) || list=
    case " $list " in
    *" $1 "*) ;;
    *) setting kld_list "${list:+$list }$1" ;;
    esac
}

load_modules() {
    for name in nullfs tmpfs fdescfs procfs if_epair if_bridge; do
        module "$name"
    done
}

enable_linux() {
    [ "$linux" = YES ] || return 0
    setting linux_enable YES
    # The service loads the modules and lets programs without a brand, such as Go's, count as Linux programs.
    kldstat -q -m linux64elf || change "service linux started" service linux start
    for name in linprocfs linsysfs; do
        module "$name"
    done
}

load_rulesets() {
    setting devfs_load_rulesets YES
    [ -z "$(devfs rule -s 4 show)" ] || return 0
    change "devfs rulesets" service devfs restart
    [ -n "$(devfs rule -s 4 show)" ] || fail "devfs ruleset 4 is still empty after: service devfs restart"
}

# -- storage

make_pool() {
    [ -n "$pool" ] || return 0
    module zfs
    setting zfs_enable YES
    ! zpool list -H -o name "$pool" >/dev/null 2>&1 || return 0
    file=${PROVISION_ROOT-}$pool_file
    if [ -e "$file" ]; then # a pool of an earlier boot or run; never written over
        change "pool $pool imported from $pool_file" zpool import -d "$file" "$pool"
    else
        change "pool $pool in $pool_file of $pool_size" create_pool
    fi
}

create_pool() {
    truncate -s "$pool_size" "$file" && zpool create "$pool" "$file" && return 0
    rm -f "$file" # or the next run would try to import it
    return 1
}

check_system
install_packages
account_for_resources
load_modules
enable_linux
load_rulesets
make_pool
[ "$changes" -gt 0 ] || echo "provision: nothing to change"
[ -z "$reboot" ] || echo "provision: reboot needed: $reboot"
