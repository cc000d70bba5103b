// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * gmem who: who may hold a page of a guest_memfd, of a VM that is not ours.  The kernel
 * knows that somebody does, not who; so this looks at what could, and says of each how
 * sure it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmd.h"
#include "proc.h"

#define MAX_MAPPINGS	64
#define MAX_PIPES	256

struct search {
	struct proc_file file;
	uint64_t offset;
	/* Where the page is mapped, in all processes. */
	struct proc_mapping mappings[MAX_MAPPINGS];
	size_t nr_mappings;
	/* Both ends of a pipe are one holder. */
	unsigned long pipes[MAX_PIPES];
	size_t nr_pipes;
	bool json;
	size_t nr_found;
};

static const char *const sure_names[] = { "guess", "likely", "known" };

enum sure {
	/* It could, and so could others. */
	GUESS,
	/* It could, and it has the file or pins memory. */
	LIKELY,
	/* It is said somewhere. */
	KNOWN,
};

__attribute__((format(printf, 5, 6)))
static bool found(struct search *s, pid_t pid, const char *kind, enum sure sure,
		  const char *format, ...)
{
	char why[512];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);

	if (s->json)
		printf("%s\n    { \"pid\": %d, \"name\": \"%s\", \"kind\": \"%s\", \"sure\": \"%s\", \"why\": \"%s\" }",
		       s->nr_found ? "," : "", pid, proc_name(pid), kind, sure_names[sure], why);
	else
		printf("%-8d %-16s %-9s %-7s %s\n", pid, proc_name(pid), kind, sure_names[sure], why);
	s->nr_found++;
	return false;
}

/* ---- Those who have it in their page tables ---------------------------------- */

static bool maps(const struct proc_mapping *mapping, void *arg)
{
	uint64_t address, size = mapping->end - mapping->start;
	struct search *s = arg;

	if (s->offset < mapping->offset || s->offset - mapping->offset >= size)
		return false;

	if (s->nr_mappings < MAX_MAPPINGS)
		s->mappings[s->nr_mappings++] = *mapping;
	address = mapping->start + (s->offset - mapping->offset);
	if (proc_is_present(mapping->pid, address))
		found(s, mapping->pid, "mapped", KNOWN,
		      "at 0x%" PRIx64 "; a conversion unmaps that, so it is no obstacle", address);
	return false;
}

static bool maps_it(const struct search *s, pid_t pid)
{
	size_t i;

	for (i = 0; i < s->nr_mappings; i++) {
		if (s->mappings[i].pid == pid)
			return true;
	}

	return false;
}

/* ---- Descriptors whose owner can pin ------------------------------------------ */

/* Buffers are said with their addresses in the process that registered them. */
static bool has_registered_buffers(struct search *s, const struct proc_fd *fd)
{
	char path[64], line[256];
	uint64_t start, size;
	unsigned int index;
	size_t i;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", fd->pid, fd->fd);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, " %u: 0x%" SCNx64 "/%" SCNu64, &index, &start, &size) != 3)
			continue;
		for (i = 0; i < s->nr_mappings; i++) {
			const struct proc_mapping *m = &s->mappings[i];
			uint64_t address = m->start + (s->offset - m->offset);

			if (m->pid == fd->pid && address + PAGE > start && address < start + size)
				found(s, fd->pid, "io_uring", KNOWN,
				      "descriptor %d has it in registered buffer %u: unregister that",
				      fd->fd, index);
		}
	}
	if (f)
		fclose(f);

	return false;
}

static bool has_queued(struct search *s, const struct proc_fd *fd)
{
	unsigned long pipe = strtoul(fd->target + strlen("pipe:["), NULL, 10);
	int pidfd, copy, queued = 0;
	size_t i;

	for (i = 0; i < s->nr_pipes; i++) {
		if (s->pipes[i] == pipe)
			return false;
	}

	/* A copy of the descriptor: opening it anew would be one more reader. */
	pidfd = syscall(SYS_pidfd_open, fd->pid, 0);
	copy = pidfd < 0 ? -1 : syscall(SYS_pidfd_getfd, pidfd, fd->fd, 0);
	if (copy >= 0 && ioctl(copy, FIONREAD, &queued))
		queued = 0;
	if (copy >= 0)
		close(copy);
	if (pidfd >= 0)
		close(pidfd);
	if (!queued)
		return false;

	if (s->nr_pipes < MAX_PIPES)
		s->pipes[s->nr_pipes++] = pipe;
	return found(s, fd->pid, "pipe", maps_it(s, fd->pid) ? LIKELY : GUESS,
		     "descriptor %d, %s, has %d bytes that nobody has read: they may lie in the page",
		     fd->fd, fd->target, queued);
}

static bool may_hold(const struct proc_fd *fd, void *arg)
{
	static const struct {
		const char *prefix;
		const char *kind;
		/* Where the process accounts what it pins. */
		const char *account;
	} pinners[] = {
		{ "/dev/iommu", "iommufd", "VmPin" },
		{ "/dev/vfio/vfio", "vfio", "VmLck" },
		{ "/dev/vhost-vdpa", "vdpa", "VmPin" },
		{ "/dev/infiniband/", "rdma", "VmPin" },
	};
	struct search *s = arg;
	uint64_t pinned;
	size_t i;

	if (!strncmp(fd->target, "pipe:[", strlen("pipe:[")))
		return has_queued(s, fd);
	if (!strcmp(fd->target, "anon_inode:[io_uring]"))
		return has_registered_buffers(s, fd);
	if (!strncmp(fd->target, "/dev/vhost-", strlen("/dev/vhost-")) &&
	    strncmp(fd->target, "/dev/vhost-vdpa", strlen("/dev/vhost-vdpa")))
		return maps_it(s, fd->pid) &&
		       found(s, fd->pid, "vhost", GUESS,
			     "descriptor %d, %s, holds what it sends or receives, for as long as that takes",
			     fd->fd, fd->target);

	for (i = 0; i < sizeof(pinners) / sizeof(pinners[0]); i++) {
		if (strncmp(fd->target, pinners[i].prefix, strlen(pinners[i].prefix)))
			continue;
		pinned = proc_status(fd->pid, pinners[i].account);
		if (!pinned)
			continue;
		found(s, fd->pid, pinners[i].kind, maps_it(s, fd->pid) ? LIKELY : GUESS,
		      "descriptor %d, %s; the process has %" PRIu64 " KiB pinned: unmap the page there",
		      fd->fd, fd->target, pinned);
	}

	return false;
}

/* ---- The command line ---------------------------------------------------------- */

static uint64_t parse_number(const char *text, const char *what)
{
	uint64_t number;
	char *end;

	errno = 0;
	number = strtoull(text, &end, 0);
	if (errno || end == text || *end)
		die_usage("'%s' is not %s", text, what);

	return number;
}

static void parse_file(char *text, pid_t *pid, int *fd)
{
	char *colon = strchr(text, ':');

	if (!colon)
		die_usage("'%s' is not PID:FD", text);
	*colon = '\0';
	*pid = parse_number(text, "a process");
	*fd = parse_number(colon + 1, "a descriptor");
}

int cmd_who(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	struct search s = {};
	unsigned int unseen;
	pid_t pid;
	int c, fd;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			s.json = true;
			break;
		case 'h':
			puts("usage: gmem who [--json] PID:FD OFFSET\n"
			     "Who may hold the page at OFFSET of a guest_memfd, which is the descriptor FD of\n"
			     "the process PID.  EAGAIN names the offset.");
			return EXIT_OK;
		default:
			return EXIT_USAGE;
		}
	}
	if (argc - optind != 2)
		die_usage("who takes PID:FD and OFFSET");
	parse_file(argv[optind], &pid, &fd);
	s.offset = parse_number(argv[optind + 1], "an offset") & ~(PAGE - 1);

	errno = 0;
	if (!proc_is_guest_memfd(pid, fd, &s.file))
		die("descriptor %d of process %d is not a guest_memfd that you may look at", fd, pid);

	if (s.json)
		printf("{ \"pid\": %d, \"fd\": %d, \"offset\": %" PRIu64 ", \"holders\": [", pid, fd, s.offset);
	else
		printf("%-8s %-16s %-9s %-7s %s\n", "PID", "NAME", "HOLDS BY", "SURE", "WHY");

	proc_each_mapping(&s.file, maps, &s);
	unseen = proc_each_fd(0, may_hold, &s);

	if (s.json)
		printf("%s], \"unseen\": %u }\n", s.nr_found ? "\n  " : "", unseen);
	else if (!s.nr_found)
		printf("nobody who can be seen; what a kernel thread or a finished process left is not\n");
	if (unseen && !s.json)
		printf("%u processes could not be looked into; root may\n", unseen);

	return EXIT_OK;
}
