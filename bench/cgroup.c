// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Memory as the kernel charges it: a child in a memory cgroup of its own. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define CGROUP_ROOT	"/sys/fs/cgroup"

static char group[64];

static void write_file(const char *dir, const char *name, const char *text)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die("writing %s to %s", text, path);
	close(fd);
}

static uint64_t read_number(const char *name, const char *label)
{
	char path[PATH_MAX], line[128];
	uint64_t value = 0;
	bool found = false;
	FILE *from;

	snprintf(path, sizeof(path), "%s/%s", group, name);
	from = fopen(path, "re");
	if (!from)
		die("reading %s", path);
	while (!found && fgets(line, sizeof(line), from)) {
		size_t skip = label ? strlen(label) : 0;

		found = !label || (!strncmp(line, label, skip) && line[skip] == ' ');
		value = strtoull(line + skip, NULL, 10);
	}
	fclose(from);
	if (!found)
		die("%s has no %s", path, label ? label : "value");

	return value;
}

uint64_t cgroup_current(void)
{
	return read_number("memory.current", NULL);
}

uint64_t cgroup_peak(void)
{
	return read_number("memory.peak", NULL);
}

uint64_t cgroup_kernel(void)
{
	/* Each CPU's own counts are added up every two seconds. */
	sleep(3);
	return read_number("memory.stat", "slab");
}

/*
 * What @run records in the child is lost, so it returns its results in @arg,
 * memory that both share.
 */
void in_cgroup(void (*run)(void *), void *arg)
{
	char pid[16];
	int status;
	pid_t child;

	write_file(CGROUP_ROOT, "cgroup.subtree_control", "+memory");
	snprintf(group, sizeof(group), CGROUP_ROOT "/gmem-bench-%d", getpid());
	/* An old cgroup would keep its old peak. */
	if (mkdir(group, 0755))
		die("mkdir of %s", group);

	fflush(NULL);
	child = fork();
	if (child < 0)
		die("fork");
	if (!child) {
		snprintf(pid, sizeof(pid), "%d", getpid());
		write_file(group, "cgroup.procs", pid);
		run(arg);
		_exit(0);
	}
	if (waitpid(child, &status, 0) != child || status)
		die("the child in a cgroup ended with status %#x", status);
	if (rmdir(group))
		die("rmdir of %s", group);
}
