"""The player once more, as the processor has it: clone3, then the calls of a score.

The child of a fork gets a copy of its maker's page tables, and of each page that its Python writes
to. These forty instructions touch registers and the score, and no stack. So their child may run on
the engine's own memory (CLONE_VM), as that of vfork(2) does, while the engine goes on.

A line is the place, the bytes, the instruction, and what it is for. A call of a score is nine
numbers (`layout.py`): its own, six arguments, result, mask. syscall(2) says where they go: on
x86_64 the number to rax, arguments to rdi, rsi, rdx, r10, r8, r9, the result to rax, while rcx and
r11 are lost; on aarch64 the number to x8, arguments to x0 to x5, the result to x0.
"""

import os

from labkit.linux import door

TYPE_CHECKING = False  # importing typing would be a third of the engine's start
if TYPE_CHECKING:
    from collections.abc import Callable

LISTINGS = {
    "x86_64": """
00  b8 b3 01 00 00  mov eax, 0x1b3                    clone3; rdi and rsi are our own arguments
05  0f 05           syscall                           from here on there may be two of us
07  85 c0           test eax, eax
09  74 04           je 0xf                            0: we are the child
0b  48 63 c0        movsxd rax, eax
0e  c3              ret                               the PID, or minus an errno, to Python
0f  48 89 fd        mov rbp, rdi                      the child: where the score begins
12  48 89 d3        mov rbx, rdx                      our third argument is the first call
15  8b 53 40        mov edx, dword ptr [rbx + 0x40]   a call: the registers in its mask
18  83 e2 3f        and edx, 0x3f
1b  0f bc ca        bsf ecx, edx                      the lowest of them
1e  74 14           je 0x34                           none is left
20  48 8b 74 cb 08  mov rsi, qword ptr [rbx + rcx*8 + 8]
25  48 8b 74 f5 00  mov rsi, qword ptr [rbp + rsi*8]  what stands at that place of the score
2a  48 89 74 cb 08  mov qword ptr [rbx + rcx*8 + 8], rsi
2f  0f b3 ca        btr edx, ecx
32  eb e7           jmp 0x1b                          on to the next register
34  48 8b 03        mov rax, qword ptr [rbx]          the number and the six arguments
37  48 8b 7b 08     mov rdi, qword ptr [rbx + 8]
3b  48 8b 73 10     mov rsi, qword ptr [rbx + 0x10]
3f  48 8b 53 18     mov rdx, qword ptr [rbx + 0x18]
43  4c 8b 53 20     mov r10, qword ptr [rbx + 0x20]
47  4c 8b 43 28     mov r8, qword ptr [rbx + 0x28]
4b  4c 8b 4b 30     mov r9, qword ptr [rbx + 0x30]
4f  0f 05           syscall
51  48 89 43 38     mov qword ptr [rbx + 0x38], rax   note its result
55  48 85 c0        test rax, rax
58  7f 2a           jg 0x84
5a  74 22           je 0x7e
5c  f6 43 40 40     test byte ptr [rbx + 0x40], 0x40  refused: may a file be missing, or be there?
60  74 0f           je 0x71                           no: that is the end
62  83 f8 fe        cmp eax, -2                       ENOENT
65  74 1d           je 0x84
67  83 f8 ec        cmp eax, -0x14                    ENOTDIR
6a  74 18           je 0x84
6c  83 f8 ef        cmp eax, -0x11                    EEXIST
6f  74 13           je 0x84
71  bf 7d 00 00 00  mov edi, 0x7d                     exit_group(125)
76  b8 e7 00 00 00  mov eax, 0xe7
7b  0f 05           syscall
7d  f4              hlt                               a filter forbids even that: SIGSEGV
7e  f6 43 40 80     test byte ptr [rbx + 0x40], 0x80  0: must there be something to read?
82  75 ed           jne 0x71                          yes: the gate was closed, the engine is gone
84  48 83 c3 48     add rbx, 0x48                     on to the next call
88  eb 8b           jmp 0x15
""",
    "aarch64": """
00  e9 03 00 aa     mov x9, x0                        where the score begins
04  68 36 80 d2     mov x8, #0x1b3                    clone3; x0 and x1 are our own arguments
08  01 00 00 d4     svc #0                            from here on there may be two of us
0c  40 00 00 b4     cbz x0, #0x14                     0: we are the child
10  c0 03 5f d6     ret                               the PID, or minus an errno, to Python
14  f3 03 09 aa     mov x19, x9                       the child
18  f4 03 02 aa     mov x20, x2                       our third argument is the first call
1c  95 42 40 b9     ldr w21, [x20, #0x40]             a call: the registers in its mask
20  b6 16 00 12     and w22, w21, #0x3f
24  56 01 00 34     cbz w22, #0x4c                    none is left
28  d7 02 c0 5a     rbit w23, w22                     the lowest of them
2c  f7 12 c0 5a     clz w23, w23
30  98 0e 17 8b     add x24, x20, x23, lsl #3
34  19 07 40 f9     ldr x25, [x24, #8]
38  79 7a 79 f8     ldr x25, [x19, x25, lsl #3]       what stands at that place of the score
3c  19 07 00 f9     str x25, [x24, #8]
40  d7 06 00 51     sub w23, w22, #1
44  d6 02 17 0a     and w22, w22, w23
48  f7 ff ff 17     b #0x24                           on to the next register
4c  88 02 40 f9     ldr x8, [x20]                     the number and the six arguments
50  80 86 40 a9     ldp x0, x1, [x20, #8]
54  82 8e 41 a9     ldp x2, x3, [x20, #0x18]
58  84 96 42 a9     ldp x4, x5, [x20, #0x28]
5c  01 00 00 d4     svc #0
60  80 1e 00 f9     str x0, [x20, #0x38]              note its result
64  e0 00 f8 b7     tbnz x0, #0x3f, #0x80
68  a0 01 00 b5     cbnz x0, #0x9c
6c  95 01 38 36     tbz w21, #7, #0x9c            0: must there be something to read?
70  a0 0f 80 d2     mov x0, #0x7d                 exit_group(125)
74  c8 0b 80 d2     mov x8, #0x5e
78  01 00 00 d4     svc #0
7c  00 00 00 00     udf #0                        a filter forbids even that: SIGILL
80  95 ff 37 36     tbz w21, #6, #0x70            refused: may a file be missing, or be there?
84  1f 08 00 b1     cmn x0, #2                    ENOENT
88  a0 00 00 54     b.eq #0x9c
8c  1f 50 00 b1     cmn x0, #0x14                 ENOTDIR
90  60 00 00 54     b.eq #0x9c
94  1f 44 00 b1     cmn x0, #0x11                 EEXIST
98  c1 fe ff 54     b.ne #0x70
9c  94 22 01 91     add x20, x20, #0x48           on to the next call
a0  df ff ff 17     b #0x1c
""",
}


def code(machine: str) -> bytes:
    """The bytes of a listing."""
    return bytes.fromhex("".join(line[4:18] for line in LISTINGS[machine].splitlines()))


def load() -> "Callable[[int, int, int], int] | None":
    """The player: (clone arguments, their size, first call) -> the PID, or minus an errno.

    The score must begin with the clone arguments. None if the kernel gives us no memory to execute.
    The code is written to a file that is then mapped: no memory is ever both writable and
    executable, which is what strict machines forbid (PR_SET_MDWE, SELinux's execmem).
    """
    try:
        fd = os.memfd_create("labkit-player")
        try:
            os.write(fd, code(os.uname().machine))
            return door.map_code(fd)
        finally:
            os.close(fd)
    except OSError:
        return None
