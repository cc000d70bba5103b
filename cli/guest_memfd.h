/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* What can be known about a guest_memfd that another process has open. */
#ifndef GMEM_GUEST_MEMFD_H
#define GMEM_GUEST_MEMFD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "proc.h"

/* Where a part of it is in the guest; in bytes. */
struct guest_memfd_slot {
	int number;
	uint64_t gpa;
	uint64_t size;
	uint64_t offset;
};

/* All bindings. */
struct guest_memfd_slots {
	struct guest_memfd_slot *at;
	size_t nr;
};

/* Is it one?  Then which. */
bool guest_memfd_is(const struct proc_fd *fd, struct proc_file *file);

/* The guest_memfds of a process, each with one of its descriptors. */
struct guest_memfd {
	int fd;
	struct proc_file file;
};

struct guest_memfds {
	struct guest_memfd *at;
	size_t nr;
};

/*
 * List those of @pid, or only its descriptor @fd if that is not -1.  Returns NULL, or why
 * there is none, in a static buffer; errno is 0 unless it says more.  The caller frees
 * @list.
 */
const char *guest_memfd_list(pid_t pid, int fd, struct guest_memfds *list);

/* Read them from the fdinfo of a descriptor; @slots is freed by the caller. */
void guest_memfd_read_slots(pid_t pid, int fd, struct guest_memfd_slots *slots);

/* Add the one that a line of fdinfo says, if it is such a line. */
void guest_memfd_add_slot(struct guest_memfd_slots *slots, const char *key, const char *value);

/* Where the slot has @offset; false if it does not. */
bool guest_memfd_gpa(const struct guest_memfd_slot *slot, uint64_t offset, uint64_t *gpa);

/* The other way round. */
bool guest_memfd_offset(const struct guest_memfd_slot *slot, uint64_t gpa, uint64_t *offset);

/* "slots": and an array. */
void guest_memfd_json_slots(FILE *to, const struct guest_memfd_slots *slots);

/* How far the state at @offset reaches; 0 or -errno, of which ENOTTY: nothing tells. */
int guest_memfd_range(int copy, uint64_t offset, uint64_t *end, bool *is_private);

/* The descriptor of @pid that is the file @ino, or -1. */
int guest_memfd_find(pid_t pid, ino_t ino);

#endif
