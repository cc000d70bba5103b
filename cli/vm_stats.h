/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * What KVM counts of conversions in the VMs of other processes.  KVM identifies a VM by
 * the thread that created it; VMs of one creator cannot be told apart, and are added up.
 */
#ifndef GMEM_VM_STATS_H
#define GMEM_VM_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Each, and how KVM calls it after "gmem_": see the kernel's <linux/kvm_gmem_stats.h>. */
#define VM_COUNTERS(C)						\
	C(CONVERSIONS_TO_PRIVATE, conversions_to_private)	\
	C(CONVERSIONS_TO_SHARED, conversions_to_shared)		\
	C(PAGES_TO_PRIVATE, pages_to_private)			\
	C(PAGES_TO_SHARED, pages_to_shared)			\
	C(REFUSED_HELD, refused_held)				\
	C(REFUSED_POISON, refused_poison)			\
	C(REFUSED_MEMORY, refused_memory)			\
	C(REFUSED_POLICY, refused_policy)			\
	C(REFUSED_CONSENT, refused_consent)			\
	C(PAGES_FILLED, pages_filled)

#define VM_COUNTER(counter, name)	counter,
enum vm_counter { VM_COUNTERS(VM_COUNTER) NR_VM_COUNTERS };

extern const char *const vm_counter_names[NR_VM_COUNTERS];

struct vm_stats {
	/* The thread that created the VMs. */
	pid_t creator;
	/* How many VMs are added up. */
	unsigned int nr_vms;
	uint64_t counters[NR_VM_COUNTERS];
	/* The descriptor through which they were read; pid 0 for debugfs. */
	pid_t pid;
	int fd;
};

struct vm_stats_list {
	struct vm_stats *entries;
	size_t nr;
};

/* Add the VM behind the descriptor @fd of @pid, if its statistics can be read. */
void vm_stats_add_fd(struct vm_stats_list *list, pid_t pid, int fd);

/* Add all VMs of this host.  NULL, or what helps if we cannot look into debugfs. */
const char *vm_stats_add_debugfs(struct vm_stats_list *list);

/* When all are added: leave one entry for each creator, sorted. */
void vm_stats_unify(struct vm_stats_list *list);

/* The entry of @creator, or NULL; after vm_stats_unify(). */
const struct vm_stats *vm_stats_find(const struct vm_stats_list *list, pid_t creator);

/* The sum of the refusals, for whichever reason. */
uint64_t vm_stats_refused(const uint64_t *counters);

void vm_stats_free(struct vm_stats_list *list);

#endif
