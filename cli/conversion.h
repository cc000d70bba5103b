/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The kernel's event kvm_gmem/kvm_gmem_convert, one for each conversion; gmem-trace(1) has its format. */
#ifndef GMEM_CONVERSION_H
#define GMEM_CONVERSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct conversion {
	/* Of CLOCK_MONOTONIC. */
	uint64_t time_us;
	/* The thread that asked for it. */
	pid_t thread;
	char thread_name[32];
	/* The process that created the VM, and the file; 0 if the range is of the VM. */
	pid_t vm;
	uint64_t ino;
	/* In bytes, in the file or guest physical. */
	uint64_t start;
	uint64_t size;
	uint64_t attributes;
	uint64_t policy;
	uint64_t changed;
	/* 0 or -errno, and which page refused, of which file, or of none. */
	int result;
	uint64_t error_offset;
	uint64_t error_ino;
	unsigned int refs;
	unsigned int maps;
	unsigned int pins;
	/* 0 if it was not measured. */
	uint64_t took_ns;
	uint64_t locked_ns;
};

/*
 * Begin to watch those that match @filter, in the language of the kernel's filters,
 * until the process of the pidfd @process ends, unless that is -1.  Returns NULL, or why
 * this is impossible; errno is 0 if the kernel lacks it.
 */
const char *conversions_open(const char *filter, int process);
void conversions_close(void);
/* For how many seconds they were watched. */
double conversions_seconds(void);

enum conversions_result {
	CONVERSION,
	/*
	 * The kernel has dropped *@lost events for lack of room; 0: it does not know how
	 * many.
	 */
	CONVERSIONS_LOST,
	CONVERSIONS_TIMEOUT,
	CONVERSIONS_SIGNAL,
	CONVERSIONS_ENDED,
	CONVERSIONS_STOPPED,
};

/* Wait for the next until wait_deadline(). */
enum conversions_result conversions_read(struct conversion *c, uint64_t *lost, uint64_t deadline_ns);

/* "EAGAIN" and the like; "" for 0. */
const char *conversion_error(const struct conversion *c);

/* Was it refused because of a page that somebody holds?  Only then there are references. */
bool conversion_is_held(const struct conversion *c);

/* "references 1026, maps 1, pins 1: looks like a pin"; in a static buffer. */
const char *conversion_holders(const struct conversion *c);

/* False if @line is not such an event. */
bool conversion_parse(const char *line, struct conversion *c);

#endif
