/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The architecture's part of a VM: its types, its vCPU and the guest's code. Either
 * guest_x86.c or guest_arm64.c is compiled.
 */
#ifndef GMEM_GUEST_H
#define GMEM_GUEST_H

#include "cmd.h"

struct vm_type {
	const char *name;
	unsigned long number;
};

/* Ends with an entry without a name; the first one always exists. */
extern const struct vm_type vm_types[];
bool vm_type_exists(int kvm, const struct vm_type *type);

extern const struct guest_arch {
	/* The type of the commands' VM, and what a kernel without it lacks. */
	unsigned long vm_type;
	const char *vm_type_name;
	const char *needs;
	/* How the guest asks for a conversion. */
	const char *hypercall;
	/*
	 * Once the guest has touched a page, the page is its own until it agrees to share
	 * it; the guest must not touch what is shared before it has agreed.
	 */
	bool must_agree;
} guest_arch;

/* Give the vCPU its code and its first registers. */
void guest_start(struct vm *vm);

/* What NONE leaves on this type of VM in a page that held @before. */
int guest_none_leaves(int before);

/* Is this machine QEMU's emulator? */
bool cpu_is_emulated(void);

#endif
