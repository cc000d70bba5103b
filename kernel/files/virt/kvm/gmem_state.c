// SPDX-License-Identifier: GPL-2.0
/* The initial state of a guest_memfd. */
#include <linux/kvm_host.h>

#include "gmem_state.h"

/*
 * KVM_CAP_GUEST_MEMFD_FLAGS has the flags that are valid by themselves.  A file
 * that the host cannot map is the private half of memory in two halves and cannot
 * begin shared; a file that it can map can.
 */
bool kvm_gmem_flags_are_valid(struct kvm *kvm, u64 flags)
{
	if (kvm_arch_has_private_mem(kvm) &&
	    flags == (GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED))
		return true;

	return !(flags & ~kvm_gmem_get_supported_flags(kvm));
}

void kvm_gmem_state_init(struct kvm_gmem_state *state, struct kvm *kvm,
			 loff_t size, u64 flags)
{
	state->in_place = kvm_arch_has_private_mem(kvm) && flags & GUEST_MEMFD_FLAG_MMAP;
	state->owner = kvm->mm;
	state->kvm = kvm;
	kvm_gmem_bitmap_init(&state->private, size >> PAGE_SHIFT,
			     !(flags & GUEST_MEMFD_FLAG_INIT_SHARED));
	kvm_gmem_bitmap_init(&state->none, size >> PAGE_SHIFT, false);
	seqcount_init(&state->private_seq);
	state->none_byte = kvm_arch_gmem_none_byte(kvm);
}

void kvm_gmem_state_destroy(struct kvm_gmem_state *state)
{
	kvm_gmem_bitmap_destroy(&state->private);
	kvm_gmem_bitmap_destroy(&state->none);
}
