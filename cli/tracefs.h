/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * One event of the kernel, as lines of text.  It is enabled in an instance of tracefs of
 * our own, so that nobody else's tracing changes, and that is removed at the end.
 *
 * libtracefs is not used: it brings libtraceevent's loader of plugins into gmem, and the
 * linker warns of its dlopen() in each build, as gmem is static; and it has to look into
 * the buffer of each CPU again and again, where trace_pipe waits and merges them.
 */
#ifndef GMEM_TRACEFS_H
#define GMEM_TRACEFS_H

#include <stddef.h>
#include <stdint.h>

/*
 * Begin to trace @event, a "system/name", where @filter holds, or always if it is "", until
 * the process of the pidfd @process ends, unless that is -1.
 * NULL, or what stands against it and what to do, with errno 0 if the kernel lacks it.
 * From here on SIGINT, SIGTERM and SIGHUP end the waiting.
 */
const char *tracefs_open(const char *event, const char *filter, int process);

/* At the end of the program it is called anyway. */
void tracefs_close(void);

enum tracefs_result {
	TRACEFS_LINE,
	/* The deadline is over, a signal came, the process ended, or somebody stopped the instance. */
	TRACEFS_TIMEOUT,
	TRACEFS_SIGNAL,
	TRACEFS_ENDED,
	TRACEFS_STOPPED,
};

/*
 * Wait for a line until CLOCK_MONOTONIC is @deadline_ns, which may be UINT64_MAX.  At the
 * end, whatever it is, nothing more is traced, and what was traced before is read first; a
 * signal that comes meanwhile ends that.
 */
enum tracefs_result tracefs_read(char *line, size_t size, uint64_t deadline_ns);

/* For how many seconds it has traced, up to its end. */
double tracefs_seconds(void);

#endif
