/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* What can be known of a guest_memfd that another process has open. */
#ifndef GMEM_GUEST_MEMFD_H
#define GMEM_GUEST_MEMFD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Where the guest sees a part of it; in bytes. */
struct guest_memfd_slot {
	int id;
	uint64_t gpa;
	uint64_t size;
	uint64_t offset;
};

/* All bindings, to be freed; how many. */
size_t guest_memfd_slots(pid_t pid, int fd, struct guest_memfd_slot **slots);

/* Which slot has @offset, or NULL. */
const struct guest_memfd_slot *guest_memfd_slot(const struct guest_memfd_slot *slots, size_t nr,
						uint64_t offset);

/*
 * A copy of the descriptor, or -errno.  It keeps the memory of a VM that has ended, so it
 * is closed soon.
 */
int guest_memfd_copy(pid_t pid, int fd);

/* How far the state at @offset reaches; 0 or -errno, of which ENOTTY: nothing tells. */
int guest_memfd_range(int copy, uint64_t offset, uint64_t *end, bool *is_private);

/* The descriptor of @pid that is the file @ino, or -1. */
int guest_memfd_find(pid_t pid, ino_t ino);

#endif
