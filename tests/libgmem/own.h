/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * A VMM that has its own files, mapping and slots, on the fake KVM, and one memory made of
 * them.
 */
#ifndef TESTS_LIBGMEM_OWN_H
#define TESTS_LIBGMEM_OWN_H

#include "kvm_abi.h"
#include "unit_vm.h"

#define NR_PAGES	16u
#define SIZE		(NR_PAGES * PAGE)

/* What the VMM has; in place the two files are the same. */
extern struct own {
	int private_fd;
	int shared_fd;
	char *hva;
} own;
extern struct gmem *gmem;
/* What adopt() uses; the mapping at first. */
extern struct gmem_adopt_opts opts;
extern struct gmem_bind_opts no_slot;
/* It replays. */
extern struct picture picture;

int make_guest_memfd(uint64_t size, uint64_t flags);
bool in_place(void);

/* Files and a mapping, all shared, and a VM of the library without memories. */
void start_own(enum gmem_mechanism mechanism);
/* To @gmem. */
int adopt(void);
/* And nothing of the VMM's is lost. */
void stop_own(void);

/* Bits of pages that the library has as private. */
uint64_t private_pages(void);

#define FOR_EACH_MECHANISM(m) for (m = GMEM_TWO_BACKINGS; m <= GMEM_IN_PLACE; m++)

#endif
