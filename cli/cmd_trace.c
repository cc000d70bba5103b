// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* gmem trace: the conversions of all VMs of this host, or of one, as they happen. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd.h"
#include "conversion.h"
#include "guest_memfd.h"
#include "human.h"
#include "kvm_abi.h"
#include "parse.h"
#include "proc.h"
#include "summary.h"
#include "text.h"
#include "wait.h"

#define NR_WHOSE	64
#define WHOSE_US	1000000

/* What was looked up about a file, and when; it is valid for a second. */
struct whose {
	pid_t vm;
	uint64_t ino;
	uint64_t time_us;
	char name[32];
	/* Its descriptor, or -1. */
	int fd;
};

static const struct whose *look_up(const struct conversion *c)
{
	static struct whose cache[NR_WHOSE];
	struct whose *whose = &cache[(c->vm ^ c->ino) % NR_WHOSE];

	if (whose->vm == c->vm && whose->ino == c->ino && c->time_us - whose->time_us < WHOSE_US)
		return whose;

	*whose = (struct whose){ .vm = c->vm, .ino = c->ino, .time_us = c->time_us, .fd = -1 };
	snprintf(whose->name, sizeof(whose->name), "%s", proc_name(c->vm));
	/* The process may have ended, and its thread's name is better than none. */
	if (!strcmp(whose->name, "?"))
		snprintf(whose->name, sizeof(whose->name), "%s", c->thread_name);
	if (c->ino)
		whose->fd = guest_memfd_find(c->vm, c->ino);
	return whose;
}

static bool to_private(const struct conversion *c)
{
	return c->attributes & KVM_MEMORY_ATTRIBUTE_PRIVATE;
}

/* How far the event's clock is behind the time of day. */
static uint64_t clock_offset_us(void)
{
	struct timespec day, clock;

	clock_gettime(CLOCK_REALTIME, &day);
	clock_gettime(CLOCK_MONOTONIC, &clock);
	return (day.tv_sec - clock.tv_sec) * 1000000ull + (day.tv_nsec - clock.tv_nsec) / 1000;
}

static void print_heading(void)
{
	printf("%-15s %-15s %-15s %-27s %-16s %-10s %-9s %-9s %s\n", "TIME", "PID:FD", "NAME",
	       "START+SIZE", "TO", "CHANGED", "TOOK", "LOCKED", "RESULT");
}

static void print_text(const struct conversion *c, const struct whose *whose, uint64_t time_us)
{
	time_t seconds = time_us / 1000000;
	char file[48], range[64], to[32], when[16];
	struct tm tm;

	strftime(when, sizeof(when), "%H:%M:%S", localtime_r(&seconds, &tm));
	if (!c->ino)
		snprintf(file, sizeof(file), "%d:gpa", c->vm);
	else if (whose->fd < 0)
		snprintf(file, sizeof(file), "%d:ino=%" PRIu64, c->vm, c->ino);
	else
		snprintf(file, sizeof(file), "%d:%d", c->vm, whose->fd);
	snprintf(range, sizeof(range), "0x%" PRIx64 "+0x%" PRIx64, c->start, c->size);
	snprintf(to, sizeof(to), "%s,%s", to_private(c) ? "private" : "shared", gmem_policy_name(c->policy));

	printf("%s.%06u %-15s %-15s %-27s %-16s 0x%-8" PRIx64 " %-9s %-9s ", when,
	       (unsigned int)(time_us % 1000000), file, text_plain(whose->name), range, to, c->changed,
	       c->took_ns ? human_time(c->took_ns) : "-", c->locked_ns ? human_time(c->locked_ns) : "-");
	if (!c->result)
		printf("ok\n");
	else
		printf("%s at 0x%" PRIx64 "%s%s\n", conversion_error(c), c->error_offset,
		       conversion_is_held(c) ? ", " : "", conversion_is_held(c) ? conversion_holders(c) : "");
}

static void print_json(const struct conversion *c, const struct whose *whose, uint64_t time_us)
{
	printf("{ \"time\": %" PRIu64 ".%06u, \"pid\": %d, \"name\": ", time_us / 1000000,
	       (unsigned int)(time_us % 1000000), c->vm);
	text_json(stdout, whose->name);
	printf(", \"thread\": %d, \"fd\": ", c->thread);
	if (whose->fd < 0)
		printf("null");
	else
		printf("%d", whose->fd);
	printf(", \"ino\": %" PRIu64 ", \"start\": %" PRIu64 ", \"size\": %" PRIu64 ", \"to\": \"%s\", "
	       "\"policy\": \"%s\", \"changed\": %" PRIu64 ", \"result\": %d, \"error\": ", c->ino, c->start,
	       c->size, to_private(c) ? "private" : "shared", gmem_policy_name(c->policy), c->changed,
	       c->result);
	if (c->result)
		printf("\"%s\", \"error_offset\": %" PRIu64 ", \"error_ino\": %" PRIu64,
		       conversion_error(c), c->error_offset, c->error_ino);
	else
		printf("null, \"error_offset\": null, \"error_ino\": null");
	if (conversion_is_held(c))
		printf(", \"references\": %u, \"maps\": %u, \"pins\": %u, \"pinned\": %s", c->refs, c->maps,
		       c->pins, c->pins ? "true" : "false");
	printf(", \"took_ns\": %" PRIu64 ", \"locked_ns\": %" PRIu64 " }\n", c->took_ns, c->locked_ns);
}

static void say_lost(uint64_t lost, bool json)
{
	char number[24] = "some";

	if (lost)
		snprintf(number, sizeof(number), "%" PRIu64, lost);
	if (json)
		printf("{ \"lost\": %" PRIu64 " }\n", lost);
	else
		printf("-- %s events lost here, as they came faster than they were read\n", number);
}

/* A reader that has seen enough is not a failure, nor is a signal while nobody reads. */
static void flush(void)
{
	if (!fflush(stdout))
		return;
	if (errno == EPIPE || errno == EINTR)
		exit(EXIT_OK);
	die("cannot write to standard output");
}

/* Until the time is over, a signal arrives, or nobody reads any more. */
static void watch(struct summary *summary, uint64_t deadline, bool json)
{
	uint64_t offset_us = clock_offset_us(), lost;
	struct conversion c;

	for (;;) {
		switch (conversions_read(&c, &lost, deadline)) {
		case CONVERSION:
			summary_add(summary, &c);
			(json ? print_json : print_text)(&c, look_up(&c), c.time_us + offset_us);
			break;
		case CONVERSIONS_LOST:
			summary->lost += lost;
			say_lost(lost, json);
			break;
		case CONVERSIONS_STOPPED:
			errno = 0;
			die("somebody has turned this trace off");
		case CONVERSIONS_TIMEOUT:
		case CONVERSIONS_SIGNAL:
		case CONVERSIONS_ENDED:
			return;
		}
		flush();
	}
}

/*
 * What the kernel is to trace: the VMs of the files of a process, or the conversions that
 * change one of the files, or that it refused.  Freed by the caller.
 */
static char *make_filter(pid_t pid, int fd)
{
	struct guest_memfds list;
	const char *problem = guest_memfd_list(pid, fd, &list), *separator = "";
	pid_t vm, before = 0;
	char *text = NULL;
	size_t size, i;
	FILE *to;

	if (problem)
		die("%s", problem);
	to = open_memstream(&text, &size);
	if (!to)
		die("no memory");
	if (fd >= 0)
		fprintf(to, "ino == %ju || error_ino == %ju", (uintmax_t)list.at[0].file.ino,
			(uintmax_t)list.at[0].file.ino);
	for (i = 0; i < list.nr && fd < 0; i++) {
		/* The number in another namespace, or of a thread, differs from the process's. */
		vm = proc_fdinfo(pid, list.at[i].fd, "gmem-vm");
		if (!vm)
			vm = pid;
		if (vm != before)
			fprintf(to, "%svm == %d", separator, vm);
		before = vm;
		separator = " || ";
	}
	if (fclose(to))
		die("no memory");
	free(list.at);

	return text;
}

static void usage(void)
{
	puts("usage: gmem trace [OPTION]... [PID[:FD]]\n"
	     "Print the conversions of all VMs on this host, of those of the process PID, or of its\n"
	     "guest_memfd FD, as they happen.\n"
	     "  -s, --summary    at the end, print numbers, sizes, times and refusals by error\n"
	     "  -n, --seconds N  end after this time; a signal or the end of PID ends it, too\n"
	     "      --json       print an object on each line\n"
	     "  -h, --help       print this help");
}

int cmd_trace(int argc, char **argv)
{
	static const struct option options[] = {
		{ "summary", no_argument, NULL, 's' },
		{ "seconds", required_argument, NULL, 'n' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	bool json = false, summarize = false;
	static struct summary summary;
	const char *problem;
	uint64_t deadline;
	char *filter = NULL;
	double seconds = 0;
	int c, fd, process = -1;
	pid_t pid;

	while ((c = getopt_long(argc, argv, "sn:h", options, NULL)) != -1) {
		switch (c) {
		case 's':
			summarize = true;
			break;
		case 'n':
			seconds = parse_seconds(optarg, 0.001, PARSE_YEAR);
			break;
		case 'j':
			json = true;
			break;
		case 'h':
			usage();
			return EXIT_OK;
		default:
			return EXIT_USAGE;
		}
	}
	if (argc - optind > 1)
		die_usage("trace takes one PID or PID:FD at most");
	if (optind < argc) {
		parse_file(argv[optind], &pid, &fd);
		if (fd == PARSE_GPA)
			die_usage("'%s' is neither PID nor PID:FD", argv[optind]);
		process = proc_open(pid);
		filter = make_filter(pid, fd);
	}

	problem = conversions_open(filter ? filter : "", process);
	free(filter);
	if (problem) {
		if (!errno)
			die_unsupported(problem);
		die("%s", problem);
	}
	deadline = seconds ? wait_deadline(seconds) : UINT64_MAX;
	if (!json) {
		print_heading();
		flush();
	}
	watch(&summary, deadline, json);
	conversions_close();
	if (summarize)
		summary_print(&summary, conversions_seconds(), json);
	flush();

	return EXIT_OK;
}
