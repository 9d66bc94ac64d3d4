"""A small machine that runs seccomp programs as the kernel would: classic BPF over struct seccomp_data."""

import struct

ALLOW, ERRNO, KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
X86_64, AARCH64 = 0xC000003E, 0xC00000B7


def run(program: bytes, number: int, args: tuple[int, ...] = (), architecture: int = X86_64) -> int:
    """Return what a program answers to one system call: SECCOMP_RET_ and data. Raises ValueError for other code."""
    data = struct.pack("=iIQ6Q", number, architecture, 0, *args, *(0,) * (6 - len(args)))
    rows = list(struct.iter_unpack("=HBBI", program))
    scratch = [0] * 16
    at = accumulator = 0
    while True:
        code, true, false, value = rows[at]
        at += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            accumulator = struct.unpack_from("=I", data, value)[0]
        elif code == 0x05:
            at += value
        elif code == 0x54:
            accumulator &= value
        elif code == 0x02:
            scratch[value] = accumulator
        elif code == 0x60:
            accumulator = scratch[value]
        elif code in (0x15, 0x25, 0x35, 0x45):
            holds = {
                0x15: accumulator == value,
                0x25: accumulator > value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }[code]
            at += true if holds else false
        else:
            raise ValueError(f"knows no instruction {code:#x}")
