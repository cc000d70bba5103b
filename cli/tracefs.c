// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cmd.h"
#include "tracefs.h"
#include "wait.h"

/* Its directory, "" for none, and what is read there. */
static char instance[PATH_MAX];
static int trace_pipe = -1;

/* When tracing started and stopped, and why it stopped; TRACEFS_LINE while it is on. */
static uint64_t began_ns, stopped_ns;
static enum tracefs_result stopped;
/* A pidfd, or -1. */
static int traced = -1;

/* What was read and is not handed out yet. */
static char buffer[16384];
static size_t nr_buffered;

/* Where it is mounted, or NULL. */
static const char *find_tracefs(void)
{
	static const char *const places[] = { "/sys/kernel/tracing", "/sys/kernel/debug/tracing" };
	struct statfs fs;
	size_t i;

	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (!statfs(places[i], &fs) && fs.f_type == TRACEFS_MAGIC)
			return places[i];
	}

	return NULL;
}

__attribute__((format(printf, 2, 3)))
static bool write_to(const char *text, const char *format, ...)
{
	char path[PATH_MAX];
	va_list args;
	ssize_t r;
	int fd, n;

	n = snprintf(path, sizeof(path), "%s/", instance);
	va_start(args, format);
	vsnprintf(path + n, sizeof(path) - n, format, args);
	va_end(args);

	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return false;
	r = write(fd, text, strlen(text));
	n = errno;
	close(fd);
	errno = n;

	return r >= 0;
}

/*
 * A new instance inherits the top one's options, whose format a user may have changed.
 */
static void choose_format(void)
{
	static const char *const options[] = {
		"context-info", "noraw", "nohex", "nobin", "nofields", "nolatency-format",
	};
	size_t i;

	for (i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		write_to(options[i], "trace_options");
	/* A clock on which all CPUs agree, and that can be converted to the time of day. */
	write_to("mono", "trace_clock");
	/* Wake us for the first line, not for half a buffer. */
	write_to("0", "buffer_percent");
}

static const char *start(const char *event, const char *filter)
{
	char path[PATH_MAX + 16];

	choose_format();
	if (*filter && !write_to(filter, "events/%s/filter", event))
		return "the kernel does not take the filter of the event";
	snprintf(path, sizeof(path), "%s/trace_pipe", instance);
	trace_pipe = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (trace_pipe < 0)
		return "cannot read the instance of tracefs";
	if (!write_to("1", "events/%s/enable", event))
		return "cannot enable the event";
	began_ns = wait_deadline(0);
	stopped = TRACEFS_LINE;

	return NULL;
}

const char *tracefs_open(const char *event, const char *filter, int process)
{
	static char lacking[256];
	const char *place = find_tracefs(), *problem;
	int error;

	if (!place) {
		errno = 0;
		return "tracefs is not mounted: mount -t tracefs tracefs /sys/kernel/tracing, "
		       "on a kernel with CONFIG_EVENT_TRACING";
	}
	snprintf(instance, sizeof(instance), "%s/events/%s", place, event);
	if (access(instance, F_OK)) {
		if (errno == ENOENT)
			errno = 0;
		if (errno == EACCES)
			snprintf(lacking, sizeof(lacking), "only root may trace: cannot read %s", place);
		else
			snprintf(lacking, sizeof(lacking), errno ? "cannot read %s" :
				 "%s does not exist: load the module kvm of a kernel with in-place conversion",
				 instance);
		*instance = '\0';
		return lacking;
	}

	/* Signals may arrive only once tracefs_close() knows the instance. */
	wait_catch(false);
	/*
	 * A reader that has gone is seen as EPIPE, after which the instance must still be
	 * removed.
	 */
	signal(SIGPIPE, SIG_IGN);
	atexit(tracefs_close);
	snprintf(instance, sizeof(instance), "%s/instances/gmem-%d.XXXXXX", place, getpid());
	if (!mkdtemp(instance)) {
		error = errno;
		snprintf(lacking, sizeof(lacking), "cannot make an instance in %s/instances", place);
		*instance = '\0';
		tracefs_close();
		errno = error;
		return lacking;
	}
	traced = process;
	problem = start(event, filter);
	if (problem) {
		error = errno;
		tracefs_close();
		errno = error;
	}

	return problem;
}

void tracefs_close(void)
{
	if (trace_pipe >= 0)
		close(trace_pipe);
	trace_pipe = -1;
	if (*instance)
		rmdir(instance);
	*instance = '\0';
	nr_buffered = 0;
	wait_release();
}

double tracefs_seconds(void)
{
	return ((stopped == TRACEFS_LINE ? wait_deadline(0) : stopped_ns) - began_ns) / 1e9;
}

/* Otherwise events that arrive fast enough would be read without end. */
static void stop(enum tracefs_result why)
{
	write_to("0", "tracing_on");
	stopped_ns = wait_deadline(0);
	stopped = why;
	/* With another signal, the user does not want the rest either. */
	wait_catch(false);
}

/* Why it is to stop, or TRACEFS_LINE. */
static enum tracefs_result reason(uint64_t deadline_ns)
{
	struct pollfd process = { .fd = traced, .events = POLLIN };

	if (wait_is_ended())
		return TRACEFS_SIGNAL;
	if (wait_deadline(0) >= deadline_ns)
		return TRACEFS_TIMEOUT;
	return poll(&process, 1, 0) > 0 ? TRACEFS_ENDED : TRACEFS_LINE;
}

enum tracefs_result tracefs_read(char *line, size_t size, uint64_t deadline_ns)
{
	struct pollfd fds[] = { { .fd = trace_pipe, .events = POLLIN }, { .fd = traced, .events = POLLIN } };
	enum tracefs_result why;
	char *end;
	ssize_t n;

	while (!(end = memchr(buffer, '\n', nr_buffered))) {
		why = reason(deadline_ns);
		if (stopped == TRACEFS_LINE && why != TRACEFS_LINE)
			stop(why);
		else if (why == TRACEFS_SIGNAL)
			return why;

		/* No line of the kernel is that long. */
		if (nr_buffered == sizeof(buffer))
			nr_buffered = 0;
		n = read(trace_pipe, buffer + nr_buffered, sizeof(buffer) - nr_buffered);
		if (n > 0)
			nr_buffered += n;
		else if (n < 0 && errno != EAGAIN && errno != EINTR)
			die("cannot read the instance of tracefs");
		else if (stopped != TRACEFS_LINE)
			return stopped;
		else if (!n)
			return TRACEFS_STOPPED;
		else
			wait_for(fds, 2, deadline_ns);
	}

	n = end - buffer;
	snprintf(line, size, "%.*s", (int)n, buffer);
	nr_buffered -= n + 1;
	memmove(buffer, end + 1, nr_buffered);

	return TRACEFS_LINE;
}
