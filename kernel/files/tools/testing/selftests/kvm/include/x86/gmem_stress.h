/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Everything that can be done to the same pages at once, for the stress test: threads that
 * convert, touch, pin, punch and poison, and vCPUs.  Results are judged on the spot, and a
 * wrong one ends the process with a reason.
 */
#ifndef SELFTEST_KVM_GMEM_STRESS_H
#define SELFTEST_KVM_GMEM_STRESS_H

#include "gmem_util.h"

#define STRESS_PAGES	64
#define STRESS_SIZE	(STRESS_PAGES * PAGE_SIZE)
#define STRESS_VCPUS	4

/* How long a guest may make no access, or a count stay unchanged, before that is a failure. */
#define STUCK_SECONDS	60

struct stress_counts {
	u64 conversions;
	u64 refused;
	u64 transient;
	u64 pins;
	u64 poisoned;
	u64 guest_runs;
	char failure[160];
};

/* Of this process. */
extern struct stress {
	struct gmem_vm g;
	struct kvm_vcpu *vcpus[STRESS_VCPUS];
	u64 nr_vcpus;
	/* Set before what the threads use is taken away, as errors are expected from then on. */
	bool stop;
	/* In memory that the processes share, for the parent to print. */
	struct stress_counts *counts;
} stress;

u64 dice(unsigned int *state, u64 sides);

/* Creates the VM with its vCPUs, and lets all threads run until @stop. */
void stress_begin(unsigned int seed);
void stress_end(void);

#endif /* SELFTEST_KVM_GMEM_STRESS_H */
