/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * A KVM that only keeps attributes, behind wrapped system calls, with answers that a
 * test can script.  It stands in for errors that a real kernel does not return on
 * demand, never for the feature.
 */
#ifndef TESTS_FAKE_KVM_H
#define TESTS_FAKE_KVM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PAGE		4096ul
#define FAKE_PAGES	64
#define FAKE_FILES	8
#define FAKE_GPA	0x100000ul

/* Calls that can be scripted and counted. */
enum fake_call {
	CALL_CONVERT,		/* KVM_SET_MEMORY_ATTRIBUTES2, on a file or the VM */
	CALL_ATTRIBUTES,	/* KVM_SET_MEMORY_ATTRIBUTES */
	CALL_GET,		/* KVM_GET_MEMORY_ATTRIBUTES2 */
	CALL_CREATE,
	CALL_SLOT,
	CALL_PUNCH,
	CALL_MEMFD,
	CALL_TRUNCATE,
	CALL_MMAP,
	CALL_MADVISE,
	NR_CALLS,
};

/* Calls @from to @from + @count - 1, counted from 0, fail with @error. */
struct fake_answer {
	enum fake_call call;
	unsigned int from;
	unsigned int count;
	int error;
	uint64_t where;
};

struct fake_file {
	int fd;
	/* Identifies duplicates of it. */
	ino_t inode;
	/* Made with GUEST_MEMFD_FLAG_MMAP. */
	bool in_place;
	bool is_private[FAKE_PAGES];
	/* How often a page was converted, and punched. */
	unsigned int converted[FAKE_PAGES];
	unsigned int punched[FAKE_PAGES];
};

struct fake_slot {
	bool used;
	uint32_t flags;
	uint64_t hva;
	uint64_t gpa;
	uint64_t size;
	uint64_t offset;
	int fd;
};

extern struct fake {
	int vm_fd;
	/* What this kernel knows. */
	bool knows_convert;
	bool knows_policies;
	bool knows_convert_of_vm;
	bool knows_two_backings;
	bool knows_error_offset;
	bool knows_get;
	/* The most pages for which it answers at once, as during conversions; 0: all. */
	unsigned int get_pages;
	uint32_t to_shared;
	uint32_t to_private;
	/* The capability, whatever the calls do. */
	int capability;

	unsigned int calls[NR_CALLS];
	struct fake_answer answers[8];
	unsigned int nr_answers;
	struct fake_file files[FAKE_FILES];
	unsigned int nr_files;
	/* The last hole in a file, of whatever kind. */
	struct { int fd; uint64_t offset, size; } hole;
	struct fake_slot slots[16];
	/* By guest page from FAKE_GPA on, for two backings. */
	bool vm_private[FAKE_PAGES];
	_Atomic uint64_t now_ms;
	/* 0, or when the clock stops for waiting threads other than this one. */
	_Atomic uint64_t stop_ms;
	pthread_t does_not_stop;
	/* In the order of calls: c convert, a attribute, p punch; tests add their own. */
	char trace[256];
	/* The page cache refuses these, as pinned; by file offset / PAGE. */
	bool held[FAKE_FILES][FAKE_PAGES];
	/* 0 or the errno of a call that is not KVM's; NULL: there is none. */
	int (*other_call)(int fd, unsigned long request, void *arg);
	/* The guest does not agree that these become shared. */
	bool refused[FAKE_FILES][FAKE_PAGES];
} fake;

void fake_start(void);
void fake_stop(void);
void fake_fail(enum fake_call call, unsigned int from, unsigned int count, int error);
void fake_note(char what);
struct fake_file *fake_file(int fd);

#endif
