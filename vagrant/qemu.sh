#!/bin/sh
# Boot a virtual machine image of FreeBSD with plain QEMU; ssh reaches it through a port of this machine.
#
#   qemu.sh IMAGE [SEED]
#
# IMAGE: an unpacked amd64 image from the FreeBSD project (VM-IMAGES, qcow2 or raw), downloaded by you. It stays as it
# is: changes go to IMAGE.runjail beside it, which is used again next time; remove that file to start afresh.
# SEED: for a BASIC-CLOUDINIT image, an ISO image labelled cidata with two files: an empty `meta-data`, and `user-data`
# with a script that lets you in as root:
#
#   #!/bin/sh
#   mkdir -p /root/.ssh && echo 'ssh-ed25519 AAAA...' >/root/.ssh/authorized_keys
#   sysrc sshd_enable=YES && echo 'PermitRootLogin prohibit-password' >>/etc/ssh/sshd_config && service sshd restart
#
# With any other image log in on the console and type those lines. Then: vagrant/test.sh -p 2222 root@127.0.0.1
#
# Environment: RUNJAIL_CPUS (2), RUNJAIL_MEMORY in MiB (4096), RUNJAIL_DISK (20G), RUNJAIL_SSH_PORT (2222),
# RUNJAIL_ACCELERATOR (kvm where it can be used, else the slow tcg), RUNJAIL_HEADLESS=1 for no window: then only images
# with a serial console can be watched.
set -eu

fail() {
    echo "qemu: $*" >&2
    exit 1
}

[ $# -eq 1 ] || [ $# -eq 2 ] || {
    echo "usage: qemu.sh IMAGE [SEED]" >&2
    exit 2
}
image=$1
seed=${2-}
case $image in *.xz | *.zst | *.gz) fail "$image is compressed: unpack it first" ;; esac
for file in "$image" ${seed:+"$seed"}; do
    [ -r "$file" ] || fail "$file: no such file, or not readable"
done
for program in qemu-system-x86_64 qemu-img; do
    command -v "$program" >/dev/null || fail "$program is not installed"
done

overlay=$image.runjail
if [ ! -e "$overlay" ]; then
    format=$(qemu-img info "$image" | sed -n 's/^file format: //p')
    # The backing file is named relative to the overlay, which lies beside it. FreeBSD grows into the disk by itself.
    qemu-img create -q -f qcow2 -b "$(basename "$image")" -F "${format:-raw}" "$overlay" "${RUNJAIL_DISK:-20G}" ||
        fail "$overlay could not be made"
fi

accelerator=tcg
[ ! -w /dev/kvm ] || accelerator=kvm
accelerator=${RUNJAIL_ACCELERATOR:-$accelerator}
port=${RUNJAIL_SSH_PORT:-2222}
echo "qemu: $image with $accelerator; ssh -p $port root@127.0.0.1"
set -- -machine q35 -accel "$accelerator" -cpu max -smp "${RUNJAIL_CPUS:-2}" -m "${RUNJAIL_MEMORY:-4096}" \
    -drive "if=virtio,format=qcow2,discard=unmap,file=$overlay" \
    -netdev "user,id=net,hostfwd=tcp:127.0.0.1:$port-:22" -device virtio-net-pci,netdev=net \
    -device virtio-rng-pci -serial mon:stdio
[ -z "$seed" ] || set -- "$@" -drive "media=cdrom,readonly=on,format=raw,file=$seed"
[ -z "${RUNJAIL_HEADLESS-}" ] || set -- "$@" -display none
exec qemu-system-x86_64 "$@"
