/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * A sample of the VMs of this host that have a guest_memfd, whoever started them, as far
 * as /proc shows them.
 */
#ifndef GMEM_VMS_H
#define GMEM_VMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "guest_memfd.h"
#include "proc.h"
#include "vm_stats.h"

/* Bytes. */
struct vms_sizes {
	uint64_t size;
	uint64_t private;
	uint64_t shared;
	uint64_t allocated;
	/* Of the kernel's own memory. */
	uint64_t tracking;
};

/* A guest_memfd, which may have many descriptors. */
struct vms_file {
	/* The thread that created its VM. */
	pid_t vm;
	struct proc_file id;
	/* One of its descriptors, the creator's own if possible. */
	pid_t pid;
	int fd;
	unsigned int nr_fds;
	uint64_t flags;
	bool in_place;
	struct vms_sizes sizes;
	struct guest_memfd_slots slots;
};

/* The VMs that one thread created. */
struct vms_vm {
	pid_t pid;
	char name[32];
	const struct vms_file *files;
	size_t nr_files;
	/* The sums of the files'. */
	struct vms_sizes sizes;
	/* NULL if they cannot be read. */
	const struct vm_stats *stats;
};

struct vms {
	/* Sorted by pid. */
	struct vms_vm *vms;
	size_t nr_vms;
	/* Sorted by VM. */
	struct vms_file *files;
	size_t nr_files;
	struct vm_stats_list stats;
	/* Entries of @vms without them, and what helps, or NULL. */
	size_t nr_without_stats;
	const char *stats_hint;
	/* Processes that cannot be examined, and files that vanished meanwhile. */
	unsigned int unseen;
	unsigned int gone;
	/* When the counters were read, by two clocks; seconds. */
	double time;
	double monotonic;
};

/* Take a sample.  Exits if this kernel does not show what is in its guest_memfds. */
void vms_read(struct vms *vms);
void vms_free(struct vms *vms);

/*
 * The rate per second of @counter since @before, which may be NULL.  NAN if it is not
 * known: @before does not have the VM or its statistics, or one of several VMs has ended.
 */
double vms_rate(const struct vms *now, const struct vms *before, const struct vms_vm *vm,
		enum vm_counter counter);
double vms_rate_refused(const struct vms *now, const struct vms *before,
			const struct vms_vm *vm);

/* One object, on one line; with rates unless @before is NULL. */
void vms_json(FILE *to, const struct vms *now, const struct vms *before);

#endif
