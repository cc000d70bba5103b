// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * gmem who: who may hold a page of a guest_memfd, of a VM that is not ours.  The kernel
 * knows that somebody does, not who; so this looks at what could, and says of each how
 * sure it is.  Where the kernel traces conversions, it also waits for a refusal, which has
 * the references of the page.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd.h"
#include "conversion.h"
#include "grow.h"
#include "guest_memfd.h"
#include "output.h"
#include "parse.h"
#include "proc.h"
#include "text.h"
#include "wait.h"

#define MAX_PIPES	256

struct search {
	struct proc_file file;
	uint64_t offset;
	/* Where the page is mapped, in all processes. */
	struct proc_mapping *mappings;
	size_t nr_mappings;
	/*
	 * Both ends of a pipe are one holder, the process that maps the page if one does: so
	 * those of processes that map it are looked at first, and then the others.
	 */
	struct stat pipes[MAX_PIPES];
	size_t nr_pipes;
	bool of_mappers;
	/* Descriptors that could not be looked into. */
	unsigned int unseen;
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

	if (s->json) {
		printf("%s\n    { \"pid\": %d, \"name\": ", s->nr_found ? "," : "", pid);
		text_json(stdout, proc_name(pid));
		printf(", \"kind\": \"%s\", \"sure\": \"%s\", \"why\": ", kind, sure_names[sure]);
		text_json(stdout, why);
		printf(" }");
	} else {
		printf("%-8d %-16s %-9s %-7s %s\n", pid, text_plain(proc_name(pid)), kind,
		       sure_names[sure], why);
	}
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

	s->mappings = grow(s->mappings, s->nr_mappings, sizeof(*mapping));
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

/*
 * Buffers are said with their addresses in the process that registered them, as they
 * were then.  Since then it may have mapped something else there, or handed the ring on.
 */
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
				found(s, fd->pid, "io_uring", LIKELY,
				      "descriptor %d has registered buffer %u where the page is mapped: unregister that",
				      fd->fd, index);
		}
	}
	if (f)
		fclose(f);

	return false;
}

static bool has_queued(struct search *s, const struct proc_fd *fd)
{
	struct stat st;
	int copy, queued = 0;
	size_t i;

	copy = proc_copy_fd(fd->pid, fd->fd);
	if (copy < 0) {
		s->unseen++;
		return false;
	}
	if (fstat(copy, &st) || ioctl(copy, FIONREAD, &queued))
		queued = 0;
	close(copy);
	if (!queued)
		return false;

	for (i = 0; i < s->nr_pipes; i++) {
		if (s->pipes[i].st_dev == st.st_dev && s->pipes[i].st_ino == st.st_ino)
			return false;
	}
	if (s->nr_pipes < MAX_PIPES)
		s->pipes[s->nr_pipes++] = st;

	return found(s, fd->pid, "pipe", maps_it(s, fd->pid) ? LIKELY : GUESS,
		     "descriptor %d has %d bytes that nobody has read: they may lie in the page",
		     fd->fd, queued);
}

/* A pipe with a name looks like any file, but in its inode. */
static bool is_pipe(const struct proc_fd *fd)
{
	struct stat st;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", fd->pid, fd->fd);
	return !stat(path, &st) && S_ISFIFO(st.st_mode);
}

static bool has_pipe(const struct proc_fd *fd, void *arg)
{
	struct search *s = arg;

	return maps_it(s, fd->pid) == s->of_mappers && is_pipe(fd) && has_queued(s, fd);
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

	if (!strcmp(fd->target, "anon_inode:[io_uring]"))
		return has_registered_buffers(s, fd);
	if (!strncmp(fd->target, "/dev/vhost-", strlen("/dev/vhost-")) &&
	    strncmp(fd->target, "/dev/vhost-vdpa", strlen("/dev/vhost-vdpa")))
		return maps_it(s, fd->pid) &&
		       found(s, fd->pid, "vhost", GUESS,
			     "descriptor %d is a vhost device, which holds what it sends or receives for as long as that takes",
			     fd->fd);

	for (i = 0; i < sizeof(pinners) / sizeof(pinners[0]); i++) {
		if (strncmp(fd->target, pinners[i].prefix, strlen(pinners[i].prefix)))
			continue;
		/* Counted where it was mapped, so of a descriptor that was handed on by another. */
		pinned = proc_status(fd->pid, pinners[i].account);
		if (pinned)
			found(s, fd->pid, pinners[i].kind, maps_it(s, fd->pid) ? LIKELY : GUESS,
			      "descriptor %d; the process has %" PRIu64 " KiB pinned: unmap the page there",
			      fd->fd, pinned);
		else
			found(s, fd->pid, pinners[i].kind, GUESS,
			      "descriptor %d; this process has nothing pinned, another that had it may have",
			      fd->fd);
	}

	return has_pipe(fd, s);
}

/* ---- What the kernel says of a refusal ------------------------------------------ */

/*
 * Refusals of the page of its file: at its offset, or at a guest physical address, as
 * conversions of the VM's ranges are said.
 */
static void filter_refusals(const struct search *s, pid_t pid, int fd, char *filter, size_t size)
{
	struct guest_memfd_slots slots;
	uint64_t gpa;
	size_t i, n;

	n = snprintf(filter, size,
		     "result == %d && error_ino == %" PRIu64 " && ((ino != 0 && error_offset == %" PRIu64 ")",
		     -EAGAIN, (uint64_t)s->file.ino, s->offset);
	guest_memfd_read_slots(pid, fd, &slots);
	for (i = 0; i < slots.nr && size - n > 128; i++) {
		if (guest_memfd_gpa(&slots.at[i], s->offset, &gpa))
			n += snprintf(filter + n, size - n, " || (ino == 0 && error_offset == %" PRIu64 ")",
				      gpa);
	}
	snprintf(filter + n, size - n, ")");
	free(slots.at);
}

/*
 * Wait for a refusal.  False if this kernel does not trace them, or not for us, or if a
 * signal has ended it.
 */
static bool watch(const struct search *s, pid_t pid, int fd, double seconds, bool *refused,
		  struct conversion *c)
{
	enum conversions_result result;
	char filter[2048];
	uint64_t lost, deadline;

	*refused = false;
	filter_refusals(s, pid, fd, filter, sizeof(filter));
	if (conversions_open(filter, -1))
		return false;

	deadline = wait_deadline(seconds);
	do {
		result = conversions_read(c, &lost, deadline);
		*refused = result == CONVERSION && conversion_is_held(c);
	} while (result == CONVERSIONS_LOST || (result == CONVERSION && !*refused));
	conversions_close();

	return result != CONVERSIONS_SIGNAL;
}

static void say_refusal(const struct search *s, pid_t pid, int fd, double seconds)
{
	struct conversion c;
	bool refused, can_watch;

	/* It may take a while, and what was found can be read in the meantime. */
	output_flush();
	can_watch = seconds && watch(s, pid, fd, seconds, &refused, &c);
	if (s->json && can_watch && refused)
		printf(", \"refused\": { \"references\": %u, \"maps\": %u, \"pins\": %u, \"pinned\": %s }",
		       c.refs, c.maps, c.pins, c.pins ? "true" : "false");
	else if (s->json)
		printf(", \"refused\": null");
	else if (can_watch && refused)
		printf("%s\n", conversion_holders(&c));
	else if (can_watch)
		printf("no conversion was refused for it within %g s\n", seconds);
}

/* Say why the descriptor is none to look at. */
static void __attribute__((noreturn)) die_of_file(pid_t pid, int fd)
{
	bool is_missing = errno == ENOENT;

	if (is_missing && kill(pid, 0) && errno == ESRCH) {
		errno = 0;
		die("there is no process %d", pid);
	}
	if (is_missing) {
		errno = 0;
		die("process %d has no descriptor %d", pid, fd);
	}
	die("descriptor %d of process %d is not a guest_memfd that you may look at", fd, pid);
}

/* ---- The command line ---------------------------------------------------------- */

int cmd_who(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "wait", required_argument, NULL, 'w' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	struct search s = {};
	unsigned int unseen;
	double seconds = 2;
	pid_t pid;
	int c, fd;

	while ((c = getopt_long(argc, argv, "w:h", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			s.json = true;
			break;
		case 'w':
			seconds = parse_seconds(optarg, 0, PARSE_YEAR);
			break;
		case 'h':
			puts("usage: gmem who [OPTION]... PID:FD OFFSET\n"
			     "Who may hold the page at OFFSET of a guest_memfd, which is the descriptor FD of\n"
			     "the process PID.  EAGAIN names the offset.\n"
			     "  -w, --wait SECONDS  how long to wait for a conversion that the page refuses, to\n"
			     "                      learn its references, for which one has to be root; 2 unless\n"
			     "                      said otherwise, 0 does not wait\n"
			     "      --json          an object\n"
			     "  -h, --help          this");
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
		die_of_file(pid, fd);
	if (s.offset >= s.file.size)
		die_usage("0x%" PRIx64 " is beyond the end of the file, which has 0x%" PRIx64 " bytes",
			  s.offset, s.file.size);

	if (s.json)
		printf("{ \"pid\": %d, \"fd\": %d, \"offset\": %" PRIu64 ", \"holders\": [", pid, fd, s.offset);
	else
		printf("%-8s %-16s %-9s %-7s %s\n", "PID", "NAME", "HOLDS BY", "SURE", "WHY");

	proc_each_mapping(&s.file, maps, &s);
	s.of_mappers = true;
	unseen = proc_each_fd(0, may_hold, &s);
	s.of_mappers = false;
	proc_each_fd(0, has_pipe, &s);

	if (s.json)
		printf("%s], \"unseen\": %u, \"unseen_pipes\": %u", s.nr_found ? "\n  " : "", unseen,
		       s.unseen);
	else if (!s.nr_found)
		printf("nobody found; references of the kernel and of processes that have ended cannot be seen\n");
	if ((unseen || s.unseen) && !s.json)
		printf("%u processes and %u pipes could not be looked into; root may\n", unseen, s.unseen);
	free(s.mappings);
	say_refusal(&s, pid, fd, seconds);
	if (s.json)
		printf(" }\n");

	return EXIT_OK;
}
