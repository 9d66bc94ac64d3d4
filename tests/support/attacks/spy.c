/*
 * A process of a container that watches /proc for processes that are not of the container yet.
 *
 * spy MARKER SECRET: until /stop exists, look at every process but those that are there from the beginning. /found gets
 * a line for each kind of thing of the host that one of them showed: the file MARKER below its root or working directory,
 * a descriptor above 2 that leads to a file or directory, the text SECRET in its environment, its executed file opened
 * for writing, privileges that we do not have, in a process that may make any system call.
 * spy stop: send SIGSTOP to every process that comes, until /stop exists.
 * spy trace: attach to every process that comes as a debugger does, which stops it too.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *marker, *secret;
static char known[1 << 22]; /* pids that were there at the beginning, and who was seen */
static int seen;  /* how many; /seen says so all the time */

static void find(const char *kind, int pid, const char *what)
{
	static char told[64][32];
	static int count;
	FILE *file;

	for (int i = 0; i < count; i++)
		if (!strcmp(told[i], kind))
			return;
	if (count < 64)
		snprintf(told[count++], sizeof told[0], "%s", kind);
	file = fopen("/found", "a");
	fprintf(file, "%s %d %s\n", kind, pid, what);
	fclose(file);
}

static void look_below(int pid, const char *link)
{
	char path[4096];

	snprintf(path, sizeof path, "/proc/%d/%s%s", pid, link, marker);
	if (!access(path, F_OK))
		find(link, pid, path);
	snprintf(path, sizeof path, "/proc/%d/%s/../../../../../../../../../../../..%s", pid, link, marker);
	if (!access(path, F_OK))
		find("above", pid, path);
}

static void look_at_descriptors(int pid)
{
	char path[4096], target[4096];
	struct stat status;
	struct dirent *entry;
	DIR *directory;
	ssize_t length;

	snprintf(path, sizeof path, "/proc/%d/fd", pid);
	if (!(directory = opendir(path)))
		return;
	while ((entry = readdir(directory))) {
		if (!isdigit(entry->d_name[0]) || atoi(entry->d_name) < 3)
			continue;
		snprintf(path, sizeof path, "/proc/%d/fd/%s", pid, entry->d_name);
		length = readlink(path, target, sizeof target - 1);
		if (length < 0 || stat(path, &status) || !(S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)))
			continue;
		target[length] = 0;
		find("descriptor", pid, target);
	}
	closedir(directory);
}

static size_t content(int pid, const char *name, char *buffer, size_t size)
{
	char path[64];
	ssize_t length;
	int file;

	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	if ((file = open(path, O_RDONLY)) < 0)
		return 0;
	length = read(file, buffer, size - 1);
	close(file);
	buffer[length > 0 ? length : 0] = 0;
	return length > 0 ? length : 0;
}

static unsigned long long field(const char *status, const char *name, int base)
{
	const char *line = strstr(status, name);

	return line ? strtoull(line + strlen(name), NULL, base) : 0;
}

static void look_at_privileges(int pid)
{
	static char ours[8192], theirs[8192];

	if (!content(getpid(), "status", ours, sizeof ours) || !content(pid, "status", theirs, sizeof theirs))
		return;
	if (field(theirs, "CapPrm:", 16) & ~field(ours, "CapPrm:", 16) && field(theirs, "Seccomp:", 10) != 2)
		find("privileges", pid, "more than ours");
}

static void look_at(int pid)
{
	static char environment[1 << 16];
	char path[64];
	int file;

	look_below(pid, "root");
	look_below(pid, "cwd");
	look_at_descriptors(pid);
	look_at_privileges(pid);
	if (memmem(environment, content(pid, "environ", environment, sizeof environment), secret, strlen(secret)))
		find("environ", pid, secret);
	snprintf(path, sizeof path, "/proc/%d/exe", pid);
	if ((file = open(path, O_WRONLY)) >= 0) {
		find("exe", pid, path);
		close(file);
	}
}

static void each(void (*act)(int), int first)
{
	DIR *directory = opendir("/proc");
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		int pid = atoi(entry->d_name);

		if (pid <= 0 || pid == getpid() || pid >= (int)sizeof known || known[pid] == 1)
			continue;
		if (first)
			known[pid] = 1;
		else {
			if (!known[pid])
				seen++;
			if (known[pid] < 2)
				known[pid] = 2;
			act(pid);
		}
	}
	if (directory)
		closedir(directory);
}

static void stop(int pid)
{
	kill(pid, SIGSTOP);
}

static void trace(int pid)
{
	if (known[pid] == 2 && !ptrace(PTRACE_ATTACH, pid, NULL, NULL))
		known[pid] = 3;
}

int main(int count, char **words)
{
	char text[16];
	int told = -1, file = open("/seen", O_WRONLY | O_CREAT | O_TRUNC, 0644);

	marker = words[1];
	secret = count > 2 ? words[2] : "";
	each(NULL, 1);
	close(open("/ready", O_WRONLY | O_CREAT, 0644));
	while (access("/stop", F_OK)) {
		if (told != seen)
			pwrite(file, text, snprintf(text, sizeof text, "%d\n", told = seen), 0);
		each(count > 2 ? look_at : strcmp(marker, "trace") ? stop : trace, 0);
	}
	pwrite(file, text, snprintf(text, sizeof text, "%d\n", seen), 0);
	return 0;
}
