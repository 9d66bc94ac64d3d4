"""A small machine that runs the device programs as the kernel would: only the instructions that they are made of."""

import struct

SIZE = 8
WORD = 2**64 - 1
TYPES = {"b": 1, "c": 2}
ACCESS = {"m": 1, "r": 2, "w": 4}


def run(program: bytes, kind: str, major: int, minor: int, access: str) -> bool:
    """Return what a program answers about one device. Raises ValueError where the kernel would not load it."""
    context = struct.pack("=III", sum(ACCESS[letter] for letter in access) << 16 | TYPES[kind], major, minor)
    registers: dict[int, int] = {}
    at = 0
    while True:
        code, pair, offset, number = struct.unpack_from("<BBhi", program, at * SIZE)
        target, source = pair & 15, pair >> 4
        at += 1
        if code == 0x95:
            return registers[0] == 1
        if code == 0x61:
            if source != 1 or offset not in (0, 4, 8):
                raise ValueError("reads what is not there")
            registers[target] = struct.unpack_from("=I", context, offset)[0]
        elif code == 0xB7:
            registers[target] = number & WORD
        elif code == 0x57:
            registers[target] &= number & WORD
        elif code == 0x77:
            registers[target] >>= number
        elif code in (0x15, 0x55):
            if offset < 0:
                raise ValueError("jumps back")
            if (registers[target] == number & WORD) == (code == 0x15):
                at += offset
        else:
            raise ValueError(f"knows no instruction {code:#x}")


def check(program: bytes) -> None:
    """Refuse what the kernel's verifier would: a jump out of the program, an end that is missing, unreachable code."""
    count = len(program) // SIZE
    reached, pending = set(), [0]
    while pending:
        at = pending.pop()
        if at in reached:
            continue
        if not 0 <= at < count:
            raise ValueError("runs out of the program")
        reached.add(at)
        code, _, offset, _ = struct.unpack_from("<BBhi", program, at * SIZE)
        pending += [] if code == 0x95 else [at + 1] + [at + 1 + offset] * (code in (0x15, 0x55))
    if len(program) % SIZE or len(reached) != count:
        raise ValueError("has instructions that nothing leads to")
