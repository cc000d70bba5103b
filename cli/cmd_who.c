// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * gmem who: who may hold a page of another VM's guest_memfd.  The kernel knows that
 * somebody does, not who; so this looks for everything that could, and says how certain it
 * is of each.  If the kernel traces conversions, it also waits for a refusal, which has
 * the references of the page.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
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
	/* The process that the command line names, and its descriptor of the file. */
	pid_t pid;
	int fd;
	struct proc_file file;
	uint64_t offset;
	struct guest_memfd_slots slots;
	/* Where the page is mapped, in all processes. */
	struct proc_mapping *mappings;
	size_t nr_mappings;
	/*
	 * Both ends of a pipe are one holder, which is the process that maps the page if one
	 * does: so processes that map it are examined first, and then the others.
	 */
	struct stat pipes[MAX_PIPES];
	size_t nr_pipes;
	bool of_mappers;
	/* Descriptors that could not be examined. */
	unsigned int unseen;
	bool json;
	size_t nr_found;
	size_t nr_holders;
};

static const char *const sure_names[] = { "no holder", "guess", "likely" };

enum sure {
	/* It maps the page, and does not prevent a conversion. */
	NO_HOLDER,
	/* It could, and so could others. */
	GUESS,
	/* It could, and it has the file or pins memory. */
	LIKELY,
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
		printf("%-8d %-16s %-9s %-9s %s\n", pid, text_plain(proc_name(pid)), kind,
		       sure_names[sure], why);
	}
	s->nr_found++;
	s->nr_holders += sure != NO_HOLDER;
	return false;
}

/* ---- Processes with the page in their page tables, if the kernel says so --------- */

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
		found(s, mapping->pid, "mapped", NO_HOLDER,
		      "at 0x%" PRIx64 "; a conversion unmaps that", address);
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
 * Buffers are listed with their addresses in the process that registered them, as they
 * were then.  Since then it may have mapped something else there, or handed on the ring.
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
		     "descriptor %d has %d unread bytes, which may be in the page: read them",
		     fd->fd, queued);
}

/* A named pipe looks like any file, except in its inode. */
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
		/* Where the memory that the process pins is accounted. */
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
			     "descriptor %d is a vhost device, which holds pages while it sends or receives them",
			     fd->fd);

	for (i = 0; i < sizeof(pinners) / sizeof(pinners[0]); i++) {
		if (strncmp(fd->target, pinners[i].prefix, strlen(pinners[i].prefix)))
			continue;
		/*
		 * It is counted in the process that mapped it, so another may have handed on the
		 * descriptor.
		 */
		pinned = proc_status(fd->pid, pinners[i].account);
		if (pinned)
			found(s, fd->pid, pinners[i].kind, maps_it(s, fd->pid) ? LIKELY : GUESS,
			      "descriptor %d; the process has %" PRIu64 " KiB pinned: unmap the page there",
			      fd->fd, pinned);
		else
			found(s, fd->pid, pinners[i].kind, GUESS,
			      "descriptor %d; this process has nothing pinned, but another that had the descriptor may have",
			      fd->fd);
	}

	return has_pipe(fd, s);
}

/* ---- What the kernel says about a refusal ------------------------------------------ */

/*
 * Refusals of the page in its file: at its offset, or at a guest physical address,
 * which conversions of the VM's ranges have.
 */
static void filter_refusals(const struct search *s, char *filter, size_t size)
{
	uint64_t gpa;
	size_t i, n;

	n = snprintf(filter, size,
		     "result == %d && error_ino == %" PRIu64 " && ((ino != 0 && error_offset == %" PRIu64 ")",
		     -EAGAIN, (uint64_t)s->file.ino, s->offset);
	for (i = 0; i < s->slots.nr && size - n > 128; i++) {
		if (guest_memfd_gpa(&s->slots.at[i], s->offset, &gpa))
			n += snprintf(filter + n, size - n, " || (ino == 0 && error_offset == %" PRIu64 ")",
				      gpa);
	}
	snprintf(filter + n, size - n, ")");
}

/* Wait for a refusal, which is then in @c.  Returns NULL, or why this is impossible. */
static const char *watch(const struct search *s, int process, double seconds, struct conversion *c,
			 enum conversions_result *result)
{
	const char *problem;
	char filter[2048];
	uint64_t lost, deadline;

	filter_refusals(s, filter, sizeof(filter));
	problem = conversions_open(filter, process);
	if (problem)
		return problem;

	deadline = wait_deadline(seconds);
	do
		*result = conversions_read(c, &lost, deadline);
	while (*result == CONVERSIONS_LOST || (*result == CONVERSION && !conversion_is_held(c)));
	conversions_close();

	return NULL;
}

static void print_outcome(const struct search *s, enum conversions_result result, double seconds,
			  const struct conversion *c)
{
	switch (result) {
	case CONVERSION:
		printf("%s\n", conversion_holders(c));
		break;
	case CONVERSIONS_SIGNAL:
		printf("a signal came before a conversion was refused for it\n");
		break;
	case CONVERSIONS_ENDED:
		printf("process %d has ended\n", s->pid);
		break;
	case CONVERSIONS_STOPPED:
		printf("somebody has turned off the trace that was waiting for a refusal\n");
		break;
	default:
		printf("no conversion was refused for it within %g s", seconds);
		if (proc_is_stopped(s->pid))
			printf(" (process %d is stopped)", s->pid);
		putchar('\n');
	}
}

static void say_refusal(const struct search *s, int process, double seconds)
{
	enum conversions_result result = CONVERSIONS_SIGNAL;
	const char *problem = NULL;
	struct conversion c;
	int error;

	/* It may take a while, and the results so far can be read in the meantime. */
	output_flush();
	if (seconds)
		problem = watch(s, process, seconds, &c, &result);
	error = errno;

	if (s->json) {
		printf(", \"watched\": %s, \"refused\": ",
		       result == CONVERSIONS_SIGNAL || result == CONVERSIONS_STOPPED ? "false" : "true");
		if (result == CONVERSION)
			printf("{ \"references\": %u, \"maps\": %u, \"pins\": %u, \"pinned\": %s }",
			       c.refs, c.maps, c.pins, c.pins ? "true" : "false");
		else
			printf("null");
	} else if (problem) {
		printf("cannot watch for refusals: %s%s%s\n", problem, error ? ": " : "",
		       error ? strerror(error) : "");
	} else if (seconds) {
		print_outcome(s, result, seconds, &c);
	}
}

/* ---- The page ------------------------------------------------------------------- */

/* The file that has the guest physical address, and the offset; NULL if none has it. */
static const struct guest_memfd *find_address(const struct guest_memfds *list, pid_t pid, uint64_t gpa,
					      uint64_t *offset)
{
	const struct guest_memfd *found = NULL, *at;
	struct guest_memfd_slots slots;
	size_t i;

	for (at = list->at; at < list->at + list->nr && !found; at++) {
		guest_memfd_read_slots(pid, at->fd, &slots);
		for (i = 0; i < slots.nr && !found; i++)
			found = guest_memfd_offset(&slots.at[i], gpa, offset) ? at : NULL;
		free(slots.at);
	}

	return found;
}

static void __attribute__((noreturn)) die_of_many(const struct guest_memfds *list, pid_t pid)
{
	char text[256];
	size_t i, n = 0;

	for (i = 0; i < list->nr && n < sizeof(text) - 32; i++)
		n += snprintf(text + n, sizeof(text) - n, "%s%d:%d", i ? ", " : "", pid, list->at[i].fd);
	die_usage("process %d has %zu guest_memfds: %s%s", pid, list->nr, text, i < list->nr ? ", ..." : "");
}

/* Find the file and the offset or address that the command line names. */
static void find_page(struct search *s, const char *file, const char *where)
{
	uint64_t number = parse_number(where, "an offset");
	const struct guest_memfd *at;
	struct guest_memfds list;
	const char *problem;

	parse_file(file, &s->pid, &s->fd);
	problem = guest_memfd_list(s->pid, s->fd, &list);
	if (problem)
		die("%s", problem);
	at = list.at;
	if (s->fd == PARSE_GPA) {
		at = find_address(&list, s->pid, number, &number);
		errno = 0;
		if (!at)
			die("no guest_memfd of process %d has the guest physical address %s", s->pid, where);
	} else if (list.nr > 1) {
		die_of_many(&list, s->pid);
	}
	if (number >= at->file.size)
		die_usage("0x%" PRIx64 " is not within the file, which has 0x%" PRIx64
			  " bytes; a guest physical address goes with %d:gpa", number, at->file.size, s->pid);

	s->fd = at->fd;
	s->file = at->file;
	s->offset = number & ~(PAGE - 1);
	guest_memfd_read_slots(s->pid, s->fd, &s->slots);
	free(list.at);
}

static void print_page(const struct search *s)
{
	bool is_bound = false;
	uint64_t gpa;
	size_t i;

	for (i = 0; i < s->slots.nr && !is_bound; i++)
		is_bound = guest_memfd_gpa(&s->slots.at[i], s->offset, &gpa);
	if (s->json) {
		printf("{ \"pid\": %d, \"fd\": %d, \"offset\": %" PRIu64 ", \"gpa\": ", s->pid, s->fd,
		       s->offset);
		if (is_bound)
			printf("%" PRIu64, gpa);
		else
			printf("null");
		printf(", \"holders\": [");
		return;
	}

	printf("page 0x%" PRIx64 " of %d:%d", s->offset, s->pid, s->fd);
	if (is_bound)
		printf(", guest physical 0x%" PRIx64, gpa);
	printf("\n%-8s %-16s %-9s %-9s %s\n", "PID", "NAME", "HOLDS BY", "SURE", "WHY");
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
	int c, process;

	while ((c = getopt_long(argc, argv, "w:h", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			s.json = true;
			break;
		case 'w':
			seconds = parse_seconds(optarg, 0, PARSE_YEAR);
			break;
		case 'h':
			puts("usage: gmem who [OPTION]... PID[:FD] OFFSET\n"
			     "       gmem who [OPTION]... PID:gpa ADDRESS\n"
			     "Find who may hold the page at OFFSET of a guest_memfd, which is the descriptor FD of\n"
			     "the process PID, or its only one; or at a guest physical ADDRESS.  EAGAIN reports it.\n"
			     "  -w, --wait SECONDS  how long to wait for a conversion that the page refuses, which\n"
			     "                      shows its references and needs root (default 2; 0: do not\n"
			     "                      wait)\n"
			     "      --json          print an object\n"
			     "  -h, --help          print this help");
			return EXIT_OK;
		default:
			return EXIT_USAGE;
		}
	}
	if (argc - optind != 2)
		die_usage("who takes PID[:FD] and OFFSET, or PID:gpa and ADDRESS");
	find_page(&s, argv[optind], argv[optind + 1]);
	process = proc_open(s.pid);
	print_page(&s);

	proc_each_mapping(&s.file, maps, &s);
	s.of_mappers = true;
	unseen = proc_each_fd(0, may_hold, &s);
	s.of_mappers = false;
	proc_each_fd(0, has_pipe, &s);

	if (s.json)
		printf("%s], \"unseen\": %u, \"unseen_pipes\": %u", s.nr_found ? "\n  " : "", unseen,
		       s.unseen);
	else if (!s.nr_holders)
		printf("no holder found; references of the kernel and of processes that have ended cannot be seen\n");
	if ((unseen || s.unseen) && !s.json)
		printf("%u processes and %u pipes could not be examined, which needs root\n", unseen, s.unseen);
	say_refusal(&s, process, seconds);
	free(s.mappings);
	free(s.slots.at);
	close(process);
	if (s.json)
		printf(" }\n");

	return EXIT_OK;
}
