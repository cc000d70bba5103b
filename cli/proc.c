// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cmd.h"
#include "proc.h"

/* The file system that all of them are in. */
#define GUEST_MEMFD_MAGIC	0x474d454d

/* Of an entry of /proc/PID/pagemap. */
#define PAGE_PRESENT		(1ull << 63)

/* The next entry that is a number, or -1 at the end. */
static int next_number(DIR *dir)
{
	struct dirent *entry;

	while ((entry = readdir(dir))) {
		if (isdigit((unsigned char)entry->d_name[0]))
			return atoi(entry->d_name);
	}

	return -1;
}

/* 1: enough; 0: go on, also if it is gone; -1: not ours to see. */
static int each_fd_of(pid_t pid, bool (*each)(const struct proc_fd *fd, void *arg), void *arg)
{
	struct proc_fd found = { .pid = pid };
	char path[64];
	ssize_t length;
	int r = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return errno == EACCES || errno == EPERM ? -1 : 0;

	while (!r && (found.fd = next_number(dir)) >= 0) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, found.fd);
		length = readlink(path, found.target, sizeof(found.target) - 1);
		if (length < 0)
			continue;
		found.target[length] = '\0';
		r = each(&found, arg);
	}
	closedir(dir);

	return r;
}

static int each_mapping_of(pid_t pid, const struct proc_file *file,
			   bool (*each)(const struct proc_mapping *mapping, void *arg), void *arg)
{
	struct proc_mapping found = { .pid = pid };
	unsigned int major, minor;
	uint64_t ino;
	char path[64], line[4096];
	int r = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "r");
	if (!f)
		return -1;

	while (!r && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64 " %x:%x %" SCNu64,
			   &found.start, &found.end, &found.offset, &major, &minor, &ino) != 6)
			continue;
		if (ino == file->ino && makedev(major, minor) == file->dev)
			r = each(&found, arg);
	}
	fclose(f);

	return r;
}

static DIR *open_proc(void)
{
	DIR *dir = opendir("/proc");

	if (!dir)
		die("cannot read /proc");
	return dir;
}

unsigned int proc_each_fd(pid_t pid, bool (*each)(const struct proc_fd *fd, void *arg), void *arg)
{
	unsigned int unseen = 0;
	int r = 0;
	DIR *dir;

	if (pid)
		return each_fd_of(pid, each, arg) < 0;

	dir = open_proc();
	while (r <= 0 && (pid = next_number(dir)) > 0) {
		r = each_fd_of(pid, each, arg);
		unseen += r < 0;
	}
	closedir(dir);

	return unseen;
}

unsigned int proc_each_mapping(const struct proc_file *file,
			       bool (*each)(const struct proc_mapping *mapping, void *arg), void *arg)
{
	DIR *dir = open_proc();
	unsigned int unseen = 0;
	int r = 0;
	pid_t pid;

	while (r <= 0 && (pid = next_number(dir)) > 0) {
		r = each_mapping_of(pid, file, each, arg);
		unseen += r < 0;
	}
	closedir(dir);

	return unseen;
}

const char *proc_name(pid_t pid)
{
	static char name[32];
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "r");
	if (!f || !fgets(name, sizeof(name), f))
		strcpy(name, "?");
	if (f)
		fclose(f);
	name[strcspn(name, "\n")] = '\0';
	return name;
}

bool proc_exists(pid_t pid)
{
	return !kill(pid, 0) || errno != ESRCH;
}

int proc_open(pid_t pid)
{
	pid_t process = proc_status(pid, "Tgid");
	int fd = syscall(SYS_pidfd_open, process ? process : pid, 0);

	return fd < 0 ? -errno : fd;
}

int proc_copy_fd(pid_t pid, int fd)
{
	int pidfd = proc_open(pid);
	int copy, r;

	if (pidfd < 0)
		return pidfd;

	copy = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	r = copy < 0 ? -errno : copy;
	close(pidfd);

	return r;
}

bool proc_is_guest_memfd(pid_t pid, int fd, struct proc_file *file)
{
	struct statfs fs;
	struct stat st;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	if (statfs(path, &fs))
		return false;
	errno = 0;
	if (fs.f_type != GUEST_MEMFD_MAGIC || stat(path, &st))
		return false;

	*file = (struct proc_file){ .dev = st.st_dev, .ino = st.st_ino, .size = st.st_size };
	return true;
}

/* What follows "@key:" and blanks, or ""; in a static buffer. */
static const char *text_in(const char *path, const char *key)
{
	size_t length = strlen(key);
	static char line[256];
	const char *text = "";
	FILE *f = fopen(path, "r");

	while (f && !*text && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, key, length) && line[length] == ':')
			text = line + length + 1 + strspn(line + length + 1, " \t");
	}
	if (f)
		fclose(f);

	return text;
}

bool proc_is_stopped(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	return *text_in(path, "State") == 'T';
}

uint64_t proc_status(pid_t pid, const char *key)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	return strtoull(text_in(path, key), NULL, 0);
}

uint64_t proc_fdinfo(pid_t pid, int fd, const char *key)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	return strtoull(text_in(path, key), NULL, 0);
}

bool proc_each_fdinfo(pid_t pid, int fd,
		      void (*each)(const char *key, const char *value, void *arg), void *arg)
{
	char path[64], line[256], *colon;
	bool any = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	f = fopen(path, "r");
	if (!f)
		return false;

	while (fgets(line, sizeof(line), f)) {
		any = true;
		colon = strchr(line, ':');
		if (!colon)
			continue;
		*colon = '\0';
		each(line, colon + 1, arg);
	}
	fclose(f);

	return any;
}

bool proc_is_present(pid_t pid, uint64_t address)
{
	uint64_t entry = 0;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (pread(fd, &entry, sizeof(entry), address / PAGE * sizeof(entry)) != sizeof(entry))
		entry = 0;
	close(fd);

	return entry & PAGE_PRESENT;
}
